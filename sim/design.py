"""The design protocol: a world with known truth that draws panels, and with each the true value of every estimand."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from sim.panel import Panel
from sim.registry import discover, find
from sim.schema import Schema
from sim.streams import Streams

# Names of estimands, e.g. `att`, `att(2010,2012)`, `beta(w_did)`, `direct(did)`.
#
# `dependence` is the larger of |rho| and the size of the errors' spatial coefficient, lambda or that of a moving
# average: zero where there is spatial dependence of no kind, NaN where units share shocks that no such coefficient
# describes.


LONG_RUN = ("long_direct", "long_indirect", "long_total")  # of a world with lags in time
A_UNIT = "unit_"  # begins the names of effects a unit of the treatment, e.g. `unit_nie`
OF_A_VARIABLE = frozenset({"beta", "direct", "indirect", "total", *LONG_RUN})
NULLS = {"dependence": "rho = lambda = 0"}  # what a test of an estimand says, where it is not "NAME = 0"
_CALL = re.compile(r"(?P<kind>[a-z0-9_]+)(?:\((?P<arguments>.*)\))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Estimand:
    """A parsed name: what is asked (`kind`) and of what (`arguments`)."""

    kind: str
    arguments: tuple[str, ...]

    @classmethod
    def parse(cls, name: str) -> Estimand:
        """Read a name; raises ValueError when it is not of the form `kind` or `kind(a, b)`.

        A kind of `OF_A_VARIABLE` has one argument, all within the outermost parentheses: a variable may have any name.
        """
        match = _CALL.fullmatch(name)
        if match is None:
            raise ValueError(f"not the name of an estimand: {name!r}")
        kind, arguments = match["kind"], match["arguments"]
        if not arguments:
            return cls(kind, ())
        return cls(kind, (arguments,) if kind in OF_A_VARIABLE else tuple(map(str.strip, arguments.split(","))))


def null_hypothesis(name: str) -> str:
    """What a test of an estimand takes for true, e.g. "rho = 0"."""
    return NULLS.get(name, f"{name} = 0")


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
