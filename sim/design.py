"""The design protocol: a world with known truth that draws panels, and with each the true value of every estimand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from sim.discovery import discover, find
from sim.panel import Panel, Schema
from sim.streams import Streams

WORLDS = 32  # of a design that draws what its cells hold fixed: errors clustered by so many are good to an eighth


@dataclass(frozen=True, slots=True)
class Draw:
    """A tile of R replications: the panel and the truth of every estimand that was asked for, (R,); NaN where none."""

    panel: Panel
    truth: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a study needs of each draw: names of variables and of estimands."""

    variables: frozenset[str]
    estimands: tuple[str, ...]


class World(Protocol):
    """A design with everything settled that its replications share (usually W, calendar, controls).

    A cell has one world or several, and each of its replications lies in one of them (`sim.streams.world_of`).
    """

    def draw(self, streams: Streams, wanted: Wanted) -> Draw:
        """R = streams.replications panels with their truths; the streams are the cell's, the same in every world."""
        ...


class Design(ABC):
    """Frozen settings ("dials") of a world. Subclasses are frozen dataclasses with a `kind`."""

    kind: ClassVar[str]

    @property
    @abstractmethod
    def schema(self) -> Schema:
        """Sizes, names and roles of the panels to come."""

    @abstractmethod
    def settle(self, streams: Streams) -> World:
        """Draw what a world holds fixed, from `streams.fixed(...)`, and return the world that draws the rest.

        A study calls it once a world, with streams of that world's own.
        """

    def draw(self, streams: Streams, wanted: Wanted | None = None) -> Draw:
        """Settle and draw in one step; a whole schema and no truths unless `wanted` says otherwise."""
        everything = Wanted(frozenset(self.schema.variables), ())
        return self.settle(streams).draw(streams, wanted or everything)

    @property
    def held_fixed(self) -> tuple[str, ...]:
        """In words, what `settle` draws and a world holds fixed, such as "calendar"; () where it draws nothing.

        Facts that are never drawn, such as real cities or a real panel, are not in it.
        """
        return ()

    @property
    def default_worlds(self) -> int:
        """In how many worlds a study draws what is held fixed unless it says otherwise; 1 where nothing is."""
        return WORLDS if self.held_fixed else 1

    @property
    def noiseless(self) -> bool:
        """Whether nothing random is in its outcomes, so that estimates differ from the truth by rounding alone."""
        return False

    @property
    def identity(self) -> Mapping[str, Any] | None:
        """What stands for this design in a fingerprint besides its dials, e.g. the digest of a real panel."""
        return None


def designs() -> dict[str, type[Design]]:
    """Every design that sim/ holds, by kind."""
    return discover("sim", Design)


def find_design(kind: str, where: str = "[design] kind") -> type[Design]:
    """The design called `kind` or named "module:Object"; raises BadInput."""
    return find("sim", Design, kind, where)
