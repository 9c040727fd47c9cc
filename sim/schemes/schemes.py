"""Schemes: ways to assign treatment, W or a mediator again, for permutation tests and placebo designs.

A scheme is named by a text, as in `[design] scheme = "strata:region"`:

space               who is treated is permuted; cohort sizes and dates stay. Exchangeable: all units.
strata:ATTRIBUTE    the same within each value of an attribute of the units. Exchangeable: units of one value.
blocks[:WEIGHTS]    connected groups of treated units are placed again as connected groups of the same sizes, grown from
                    random seeds; each keeps its dates. A model of the process, no permutation: the real placement must
                    be one that growth could have made.
blocks[:WEIGHTS]:K  units are cut once into compact blocks of K neighbours, fewer where others shut them in; contents of
                    blocks of one size are permuted as wholes, place by place in the order in which a block grew.
                    Exchangeable: blocks of equal size; dependence within a block is kept. A block that is alone in its
                    size keeps its content.
mixed               random units, each with a date drawn uniformly from all periods but the first. A model of the
                    process: right where real dates were drawn so; where all adopt at the end, or before the first
                    period, .05 tests reject .12 to .24 of true nulls.
mixed:restricted    random units, each with a date drawn uniformly from the dates that occur. Also a model, near to
                    `space` where dates occur about equally often.
time                the treated units stay; each gets a date drawn uniformly from its own periods before adoption but
                    the first, and its treated periods are left out of the sample. A check of the time before, no
                    permutation: the real dates always come last, so they are not one draw among equals.
relabel[:WEIGHTS]   units change places in W: all variables are permuted together and W stays, which is the same.
                    Exchangeable: the units' places. The hypothesis is that W does not matter to anything.
mediator[:NAME]     units exchange the paths of a mediator (of all mediators together). Exchangeable: units.

Assignments are rows of codes (N,): unit i takes path `codes[i]` of a table of paths (Abadie, Diamond and Hainmueller
2010 and MacKinnon and Webb 2020 on permutations of who is treated; Chen, Qi and Yan 2023 on placebos in space, time
and both).
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self, cast

import numpy as np

from sim.arrays import Codes, Flags
from sim.errors import bad, closest, one_of
from sim.panel import Panel
from sim.schemes.connected import compact_blocks, connected_groups, grown_groups
from sim.schemes.randomisation import (
    Generator,
    Randomisation,
    adoption,
    check_varied,
    exchanges,
    steps,
    treated_paths,
    treatment_of,
    treatment_paths,
    weights_of,
    whole_paths,
    within_strata,
)


class Scheme(ABC):
    """Frozen settings of a scheme; `text` is its name."""

    kind: ClassVar[str]

    @property
    def text(self) -> str:
        """The name by which `scheme_of` finds it again: its kind and the settings that it has."""
        settings = (getattr(self, item.name) for item in fields(cast(Any, self)))
        return ":".join([self.kind, *(str(value) for value in settings if value)])

    @classmethod
    def parse(cls, arguments: tuple[str, ...]) -> Self:
        """A scheme from what stands behind its kind; raises ValueError for what it does not understand."""
        if len(arguments) > len(fields(cast(Any, cls))):
            raise ValueError(arguments)
        return cls(*arguments)

    @abstractmethod
    def on(self, panel: Panel) -> Randomisation:
        """The scheme at work on a panel; raises BadInput when the panel leaves nothing to draw."""


def scheme_of(text: str) -> Scheme:
    """The scheme of that name; raises BadInput when there is none."""
    kind, *arguments = text.split(":")
    known = {cls.kind: cls for cls in SCHEMES}
    if text == Strata.kind:
        raise bad("scheme strata without its attribute", where="scheme", allowed="strata:ATTRIBUTE",
                  remedy='name an attribute of the units, as in "strata:region"')  # fmt: skip
    try:
        if all(arguments):
            return known[kind].parse(tuple(arguments))
    except (KeyError, ValueError):
        pass
    raise bad(f"unknown scheme {text!r}", where="scheme", allowed=one_of(FORMS), remedy=closest(text, FORMS))


@dataclass(frozen=True, slots=True)
class Space(Scheme):
    """Who is treated is permuted."""

    kind: ClassVar[str] = "space"

    def on(self, panel: Panel) -> Randomisation:
        """All units are one stratum."""
        return within_strata(panel, np.zeros(len(panel.units), dtype=np.intp), self.text)


@dataclass(frozen=True, slots=True)
class Strata(Scheme):
    """Who is treated is permuted within the values of an attribute.

    attribute: of the units; those of one value are exchangeable.
    """

    kind: ClassVar[str] = "strata"

    attribute: str

    def on(self, panel: Panel) -> Randomisation:
        """Each value is a stratum."""
        if self.attribute not in panel.attributes:
            raise bad(f"no attribute {self.attribute!r} in the panel", where=self.text,
                      allowed=one_of(panel.attributes), remedy=closest(self.attribute, panel.attributes))  # fmt: skip
        codes = np.unique(panel.attributes[self.attribute], return_inverse=True)[1]
        return within_strata(panel, codes.astype(np.intp), self.text)


@dataclass(frozen=True, slots=True)
class Blocks(Scheme):
    """Connected groups of units are placed again.

    weights: name of the W whose links connect units; None = the panel's first. size: of fixed blocks of neighbours that
    exchange their contents, 2 or more; 0 = groups of the real sizes, grown from random seeds.
    """

    kind: ClassVar[str] = "blocks"

    weights: str | None = None
    size: int = 0

    @classmethod
    def parse(cls, arguments: tuple[str, ...]) -> Blocks:
        """Weights, size, both or none."""
        names = list(arguments)
        size = int(names.pop()) if names and names[-1].isdigit() else 0
        if len(names) > 1 or (arguments and arguments[-1].isdigit() and size < 2):
            raise ValueError(arguments)
        return cls(names[0] if names else None, size)

    def on(self, panel: Panel) -> Randomisation:
        """Groups along the links of W, in whichever direction they go."""
        weights = weights_of(panel, self.weights, self.text)
        links = np.asarray((weights.dense > 0) | (weights.dense.T > 0))
        return self._fixed(panel, links) if self.size else self._grown(panel, links)

    def _fixed(self, panel: Panel, links: Flags) -> Randomisation:
        paths, real = treatment_paths(panel, self.text)
        order = np.argsort(panel.units)  # by name: the order of a file's rows decides nothing
        blocks = [order[block] for block in compact_blocks(links[np.ix_(order, order)], self.size)]
        whole = sum(len(block) == self.size for block in blocks)
        if whole < 2:
            raise bad(f"{whole} blocks of {self.size} neighbours", where=self.text, allowed="two or more",
                      remedy="choose smaller blocks")  # fmt: skip
        sizes = sorted({len(block) for block in blocks}, reverse=True)
        found = exchanges(paths, real, [np.array([b for b in blocks if len(b) == size]) for size in sizes])
        check_varied(found.count or 0, self.text, "blocks of one size have the same content",
                     "choose another size or scheme")  # fmt: skip
        return found

    def _grown(self, panel: Panel, links: Flags) -> Randomisation:
        paths, real, treated = treated_paths(panel, self.text)
        never = int(real[~treated][0])
        groups = connected_groups(links, np.flatnonzero(treated))

        def draw(rng: Generator) -> Codes:
            codes = np.full_like(real, never)
            for old, new in zip(groups, grown_groups(links, [len(group) for group in groups], rng), strict=True):
                codes[new] = rng.permutation(real[old])
            return codes

        return Randomisation(paths, real, draw)


@dataclass(frozen=True, slots=True)
class Mixed(Scheme):
    """Random units with random dates.

    restricted: only dates that occur in the panel, else all periods but the first.
    """

    kind: ClassVar[str] = "mixed"

    restricted: bool = False

    @property
    def text(self) -> str:
        """With its restriction."""
        return f"{self.kind}:restricted" if self.restricted else self.kind

    @classmethod
    def parse(cls, arguments: tuple[str, ...]) -> Mixed:
        """`restricted` or nothing; `free` says the latter."""
        if arguments and arguments not in {("restricted",), ("free",)}:
            raise ValueError(arguments)
        return cls(arguments == ("restricted",))

    def on(self, panel: Panel) -> Randomisation:
        """As many treated units as there are."""
        treated_paths(panel, self.text)
        first, t = adoption(panel, self.text), len(panel.periods)
        treated = first < t
        dates = np.unique(first[treated]) if self.restricted else np.arange(1, t)
        n, size = len(first), int(treated.sum())

        def draw(rng: Generator) -> Codes:
            codes = np.full(n, t, dtype=np.intp)
            codes[rng.permutation(n)[:size]] = rng.choice(dates, size)
            return codes

        def every() -> Iterator[Codes]:
            for units in itertools.combinations(range(n), size):
                for chosen in itertools.product(dates, repeat=size):
                    codes = np.full(n, t, dtype=np.intp)
                    codes[list(units)] = chosen
                    yield codes

        own = all(date in dates for date in first[treated])
        count = math.comb(n, size) * len(dates) ** size if own else None
        return Randomisation({treatment_of(panel, self.text): steps(t)}, first, draw, count, every if own else None)


@dataclass(frozen=True, slots=True)
class Time(Scheme):
    """Dates before the real ones, on the sample of untreated cells."""

    kind: ClassVar[str] = "time"

    def on(self, panel: Panel) -> Randomisation:
        """Units without two periods before adoption have no date to move to and count as untreated."""
        first, t = adoption(panel, self.text), len(panel.periods)
        movable = np.flatnonzero((first > 1) & (first < t))
        if not movable.size:
            raise bad("no treated unit has two periods before its adoption", where=self.text,
                      allowed="a time before treatment", remedy="add earlier periods")  # fmt: skip
        latest = first[movable]
        count = math.prod(int(last) - 1 for last in latest)
        check_varied(count, self.text, "every treated unit has one earlier date", "add earlier periods")

        def draw(rng: Generator) -> Codes:
            codes = np.full(len(first), t, dtype=np.intp)
            codes[movable] = rng.integers(1, latest)
            return codes

        def every() -> Iterator[Codes]:
            for dates in itertools.product(*(range(1, last) for last in latest)):
                codes = np.full(len(first), t, dtype=np.intp)
                codes[movable] = dates
                yield codes

        kept = np.arange(t)[:, None] < first
        return Randomisation({treatment_of(panel, self.text): steps(t)}, first, draw, count, every, kept)


@dataclass(frozen=True, slots=True)
class Relabel(Scheme):
    """Units change places in W.

    weights: name of the W that must be there; None = the panel's first.
    """

    kind: ClassVar[str] = "relabel"

    weights: str | None = None

    def on(self, panel: Panel) -> Randomisation:
        """All variables are permuted together; every W of the panel stays."""
        weights_of(panel, self.weights, self.text)
        return whole_paths(panel, tuple(panel.variables), self.text)


@dataclass(frozen=True, slots=True)
class Mediator(Scheme):
    """Units exchange the paths of a mediator, or of all of them together.

    name: of the mediator; None = all of the panel's mediators together.
    """

    kind: ClassVar[str] = "mediator"

    name: str | None = None

    def on(self, panel: Panel) -> Randomisation:
        """Any variable of the panel may be named; without a name its mediators are meant."""
        names = panel.roles.mediators if self.name is None else (self.name,)
        if not names:
            raise bad("the panel has no mediators", where=self.text, allowed="a panel with mediators",
                      remedy='set mediators = ["..."] in [panel]')  # fmt: skip
        for name in names:
            panel.schema.require(name, self.text)
        return whole_paths(panel, names, self.text)


SCHEMES: tuple[type[Scheme], ...] = (Space, Strata, Blocks, Mixed, Time, Relabel, Mediator)
FORMS = ("space", "strata:ATTRIBUTE", "blocks", "blocks:WEIGHTS", "blocks:WEIGHTS:SIZE", "mixed", "mixed:restricted",
         "time", "relabel", "relabel:WEIGHTS", "mediator", "mediator:NAME")  # fmt: skip
