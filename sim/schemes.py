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

In an unbalanced panel, units exchange paths of an absorbing treatment freely, for its gaps are known. Paths of a dose
or of a treatment that switches are exchanged whole among units (and blocks) that are observed in the same periods.

Assignments are rows of codes (N,): unit i takes path `codes[i]` of a table of paths (Abadie, Diamond and Hainmueller
2010 and MacKinnon and Webb 2020 on permutations of who is treated; Chen, Qi and Yan 2023 on placebos in space, time
and both).
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, ClassVar, Self, cast

import numpy as np
import scipy.sparse as sp

from sim.arrays import Codes, Flags, Floats
from sim.design import OF_A_VARIABLE, Estimand
from sim.errors import amount, bad, closest, one_of
from sim.panel import Panel, check_balanced, seen_in
from sim.schema import Roles
from sim.weights import Weights

# Connected groups of units in a graph of neighbours: found, grown from random seeds, cut into compact blocks.


Links = Flags  # (N, N), symmetric

ATTEMPTS = 200  # to place all groups before giving up


def connected_groups(links: Links, units: Codes) -> list[Codes]:
    """The connected groups that some units, (M,) indices, form among themselves, the largest first."""
    labels = sp.csgraph.connected_components(sp.csr_array(links[np.ix_(units, units)]), directed=False)[1]
    groups = [units[labels == label] for label in range(int(labels.max()) + 1)]
    return sorted(groups, key=lambda group: (-len(group), int(group[0])))


def grown_groups(links: Links, sizes: Sequence[int], rng: np.random.Generator) -> list[Codes]:
    """Disjoint connected groups of these sizes, each grown from a random seed by one random free neighbour at a time.

    Raises BadInput when `ATTEMPTS` placements in a row leave no room for a group.
    """
    for _ in range(ATTEMPTS):
        free = np.ones(len(links), dtype=bool)
        groups = []
        for size in sizes:
            group = _grown(links, free, size, rng)
            if group is None:
                break
            free[group] = False
            groups.append(group)
        else:
            return groups
    raise bad(f"groups of {list(sizes)[:5]} units do not fit among {len(links)} units", where="scheme blocks",
              allowed="groups that fit on the map", remedy='use scheme = "space" or "strata:..."')  # fmt: skip


def compact_blocks(links: Links, size: int) -> list[Codes]:
    """All units in connected blocks of at most `size`, each in the order in which it grew, the same for the same links.

    A block begins with the free unit of fewest free neighbours and takes the free unit with most links to it, until it
    is full or shut in by others.
    """
    free = np.ones(len(links), dtype=bool)
    blocks = []
    while free.any():
        block = [_first(free, links[:, free].sum(axis=1))]
        free[block] = False
        inward = links[block[0]].astype(np.intp)
        while len(block) < size and (free & (inward > 0)).any():
            candidates = free & (inward == inward[free].max())
            block.append(_first(candidates, links[:, free].sum(axis=1)))
            free[block[-1]] = False
            inward += links[block[-1]]
        blocks.append(np.array(block, dtype=np.intp))
    return blocks


def _grown(links: Links, free: Flags, size: int, rng: np.random.Generator) -> Codes | None:
    """One group within the free units; None when the part of the map around the seed is too small."""
    seeds = np.flatnonzero(free)
    if len(seeds) < size:
        return None
    inside = np.zeros(len(links), dtype=bool)
    group = [int(seeds[rng.integers(len(seeds))])]
    inside[group] = True
    border = links[group[0]] & free
    while len(group) < size:
        candidates = np.flatnonzero(border & ~inside)
        if not candidates.size:
            return None
        group.append(int(candidates[rng.integers(len(candidates))]))
        inside[group[-1]] = True
        border |= links[group[-1]] & free
    return np.array(group, dtype=np.intp)


def _first(among: Flags, least: Codes) -> int:
    """The first unit with the least value among some."""
    places = np.flatnonzero(among)
    return int(places[np.argmin(least[places])])


# Randomisations: assignments of paths to units, drawn one by one or enumerated, and what they are made of.


Generator = np.random.Generator


@dataclass(frozen=True, eq=False, slots=True)
class Randomisation:
    """A scheme at work on one panel.

    paths: variable -> (P, T), what a unit's path can be. real (N,): the panel's own codes. draw: one assignment (N,)
    from a generator. count: distinct assignments, all equally likely; None where they are not or nobody counts them.
    every: all of them, (N,) each. kept: cells (T, N) that the sample keeps, None = all. still (N,): units that keep
    their path in every assignment, None = none of them.
    """

    paths: Mapping[str, Floats]
    real: Codes
    draw: Callable[[Generator], Codes]
    count: int | None = None
    every: Callable[[], Iterator[Codes]] | None = None
    kept: Flags | None = None
    still: Flags | None = None

    def variables(self, codes: Codes) -> dict[str, Floats]:
        """The variables under B assignments, codes (B, N) -> (B, T, N) each."""
        return {name: np.ascontiguousarray(table.T[:, codes].transpose(1, 0, 2)) for name, table in self.paths.items()}

    def sample(self, panel: Panel) -> Panel:
        """The panel with the cells that the sample keeps."""
        if self.kept is None:
            return panel
        kept = self.kept[None] if panel.observed is None else panel.observed & self.kept
        return replace(panel, observed=kept)

    def assigned(self, panel: Panel, codes: Codes) -> Panel:
        """The panel under B assignments, codes (B, N)."""
        return self.sample(panel).with_variables(self.variables(codes))


def within_strata(panel: Panel, strata: Codes, asked_by: str) -> Randomisation:
    """Permutations of the treatment's paths within strata, (N,) coded 0, 1, ..., and within `alike_in_gaps`."""
    paths, real = treatment_paths(panel, asked_by)
    strata = np.unique(np.stack([strata, alike_in_gaps(panel)]), axis=1, return_inverse=True)[1].ravel()
    places = [np.flatnonzero(strata == label)[:, None] for label in range(int(strata.max()) + 1)]
    found = exchanges(paths, real, places)
    _check_exchanged(found, panel, asked_by, "all exchangeable units have the same treatment",
                     "choose another scheme, or a coarser attribute")  # fmt: skip
    return found


def alike_in_gaps(panel: Panel) -> Codes:
    """Units that may exchange the treatment's paths as far as missing cells go, (N,) coded 0, 1, ...

    All, of a balanced panel and of an absorbing treatment, whose gaps are known. Else those observed in the same
    periods: a path is known where its unit was observed, and is exchanged whole.
    """
    if panel.balanced:
        return np.zeros(len(panel.units), dtype=np.intp)
    first = _first_treated(panel, treatment_of(panel, "scheme"), "scheme")
    if first is not None and not panel.roles.continuous:
        return np.zeros(len(panel.units), dtype=np.intp)
    return np.unique(seen_in(panel), axis=1, return_inverse=True)[1].ravel().astype(np.intp)


def _check_exchanged(found: Randomisation, panel: Panel, asked_by: str, what: str, remedy: str) -> None:
    """Raise BadInput, saying why, where units have nothing to exchange: for their gaps, or as `what` says."""
    if alike_in_gaps(panel).any():
        what = "no two exchangeable units that are observed in the same periods differ in their treatment"
        remedy = 'choose another scheme, or set balance = "drop-units" or "drop-periods"'
    check_varied(found.count or 0, asked_by, what, remedy)


def exchanges(paths: Mapping[str, Floats], real: Codes, places: Sequence[Codes]) -> Randomisation:
    """Permutations of whole contents: each of `places` (B, K) holds B groups of K units, alike but for their codes."""
    kinds, labels, still = [], [], np.ones(len(real), dtype=bool)
    for groups in places:
        contents, own = np.unique(real[groups], axis=0, return_inverse=True)
        kinds.append(contents)
        labels.append(own.ravel().astype(np.intp))
        still[groups] = (contents == contents[0]).all(axis=0)

    def placed(orders: Iterable[Codes]) -> Codes:
        codes = real.copy()
        for groups, contents, order in zip(places, kinds, orders, strict=True):
            codes[groups] = contents[order]
        return codes

    def draw(rng: Generator) -> Codes:
        return placed(rng.permutation(own) for own in labels)

    def every() -> Iterator[Codes]:
        return map(placed, itertools.product(*(list(permutations(own)) for own in labels)))

    count = math.prod(arrangements(own) for own in labels)
    return Randomisation(paths, real, draw, count, every, still=still if still.any() else None)


def whole_paths(panel: Panel, names: tuple[str, ...], asked_by: str) -> Randomisation:
    """Permutations of the units' whole paths of some variables, together."""
    check_balanced(panel, asked_by)
    n = len(panel.units)
    paths = {name: np.ascontiguousarray(_fixed(panel, name, asked_by).T) for name in names}
    real = np.arange(n)
    return Randomisation(paths, real, lambda rng: rng.permutation(n), math.factorial(n), lambda: permutations(real))


def adoption(panel: Panel, asked_by: str) -> Codes:
    """Index of each unit's first treated period, T = never, (N,); raises BadInput unless 0/1, absorbing and fixed, and
    where the panel's roles say that it is a dose or switches."""
    first = _first_treated(panel, treatment_of(panel, asked_by), asked_by)
    if first is None:
        raise bad("the treatment is not 0/1 and absorbing", where=asked_by, allowed="0 before adoption, 1 after",
                  remedy='code it so, or use scheme = "space"')  # fmt: skip
    if panel.roles.continuous:
        raise bad("the treatment is declared to be a dose or to switch, and has no dates of adoption", where=asked_by,
                  allowed="a treatment with dates of adoption",
                  remedy='say treatment_kind = "absorbing" in [panel], or use scheme = "space"')  # fmt: skip
    return first


def _first_treated(panel: Panel, name: str, asked_by: str) -> Codes | None:
    """As `adoption`, None where the treatment is not 0/1 and absorbing."""
    did, seen = _fixed(panel, name, asked_by), seen_in(panel)
    path = np.where(seen, did, 0.0)
    first = np.where(path.any(axis=0), path.argmax(axis=0), len(panel.periods)).astype(np.intp)
    absorbing = np.arange(len(panel.periods))[:, None] >= first
    return first if (np.where(seen, did, absorbing) == absorbing).all() else None


def arrangements(codes: Codes) -> int:
    """Distinct permutations of codes, (N,)."""
    counts = np.unique(codes, return_counts=True)[1]
    return math.factorial(len(codes)) // math.prod(math.factorial(int(count)) for count in counts)


def permutations(codes: Codes) -> Iterator[Codes]:
    """All distinct permutations of codes, (N,) each, in lexicographic order."""
    now = np.sort(codes)
    while True:
        yield now.copy()
        rises = np.flatnonzero(now[:-1] < now[1:])
        if not rises.size:
            return
        at = int(rises[-1])
        swap = at + 1 + int(np.flatnonzero(now[at + 1 :] > now[at])[-1])
        now[at], now[swap] = now[swap], now[at]
        now[at + 1 :] = now[at + 1 :][::-1].copy()


def treatment_paths(panel: Panel, asked_by: str) -> tuple[dict[str, Floats], Codes]:
    """Distinct paths of the treatment (P, T) and each unit's, (N,).

    Gaps of an absorbing treatment are filled; of others they are 0, which no unit shows that is observed there.
    """
    name = treatment_of(panel, asked_by)
    table = _fixed(panel, name, asked_by).T
    if not panel.balanced:
        first = None if panel.roles.continuous else _first_treated(panel, name, asked_by)
        table = np.where(seen_in(panel).T, table, 0.0) if first is None else absorbing_paths(len(panel.periods))[first]
    paths, real = np.unique(table, axis=0, return_inverse=True)
    return {name: paths}, real.ravel().astype(np.intp)


def treated_paths(panel: Panel, asked_by: str) -> tuple[dict[str, Floats], Codes, Flags]:
    """Paths and codes of an absorbing treatment and who is treated, (N,); raises BadInput when nobody or everybody."""
    paths, real = treatment_paths(panel, asked_by)
    treated = adoption(panel, asked_by) < len(panel.periods)
    if treated.all() or not treated.any():
        who = "every unit is treated" if treated.all() else "no unit is treated"
        raise bad(f"{who} at some time", where=asked_by, allowed="treated and never treated units",
                  remedy='add untreated units, or use scheme = "time"')  # fmt: skip
    return paths, real, treated


@cache
def absorbing_paths(periods: int) -> Floats:
    """Paths of absorbing treatments by their first treated period, the last of them never: (T + 1, T), read-only."""
    paths = (np.arange(periods) >= np.arange(periods + 1)[:, None]).astype(np.float64)
    paths.flags.writeable = False  # all schemes and estimators share it
    return paths


def treatment_of(panel: Panel, asked_by: str) -> str:
    """The treatment's name; raises BadInput when the panel has none."""
    name = panel.roles.treatment
    if name is None:
        raise bad("the panel has no treatment", where=asked_by, allowed="a panel with a treatment",
                  remedy='set treatment = "..." in [panel]')  # fmt: skip
    return panel.schema.require(name, asked_by)


def _fixed(panel: Panel, name: str, asked_by: str) -> Floats:
    values = panel.variables[name]
    if values.shape[0] > 1:
        raise bad(f"{name!r} differs between replications", where=asked_by, allowed="one panel",
                  remedy="take the replications one by one")  # fmt: skip
    return values[0]


def weights_of(panel: Panel, name: str | None, asked_by: str) -> Weights:
    """The panel's W of that name, None = its first; raises BadInput when there is none."""
    if not panel.weights:
        raise bad("the panel has no spatial weights", where=asked_by, allowed="one or more [[weights]]",
                  remedy="add a [[weights]] table")  # fmt: skip
    name = next(iter(panel.weights)) if name is None else name
    if name not in panel.weights:
        raise bad(f"no weights {name!r}", where=asked_by, allowed=one_of(panel.weights, name),
                  remedy=closest(name, panel.weights))  # fmt: skip
    return panel.weights[name]


def check_varied(count: int, asked_by: str, what: str, remedy: str) -> None:
    """Raise BadInput, saying why, unless there are two assignments or more."""
    if count < 2:
        raise bad(f"{what}: there is nothing to permute", where=asked_by, allowed="two or more distinct assignments",
                  remedy=remedy)  # fmt: skip


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
    raise bad(f"unknown scheme {text!r}", where="scheme", allowed=one_of(FORMS, text), remedy=closest(text, FORMS))


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
                      allowed=one_of(panel.attributes, self.attribute),
                      remedy=f"{closest(self.attribute, panel.attributes)}; a column of the file is an attribute where "
                             "[panel] groups names it")  # fmt: skip
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
        if not self.size:
            paths, real, treated = treated_paths(panel, self.text)
            never = int(real[~treated][0])
            groups = connected_groups(links, np.flatnonzero(treated))

            def draw(rng: Generator) -> Codes:
                codes = np.full_like(real, never)
                for old, new in zip(groups, grown_groups(links, [len(group) for group in groups], rng), strict=True):
                    codes[new] = rng.permutation(real[old])
                return codes

            return Randomisation(paths, real, draw)

        # fixed blocks
        paths, real = treatment_paths(panel, self.text)
        order = np.argsort(panel.units)  # by name: the order of a file's rows decides nothing
        blocks = [order[block] for block in compact_blocks(links[np.ix_(order, order)], self.size)]
        whole = sum(len(block) == self.size for block in blocks)
        if whole < 2:
            raise bad(f"{amount(whole, 'block')} of {self.size} neighbours", where=self.text, allowed="two or more",
                      remedy="choose smaller blocks")  # fmt: skip
        gaps = alike_in_gaps(panel)
        kinds = sorted({(len(block), *gaps[block].tolist()) for block in blocks}, reverse=True)
        places = [np.array([b for b in blocks if (len(b), *gaps[b].tolist()) == kind]) for kind in kinds]
        found = exchanges(paths, real, places)
        _check_exchanged(found, panel, self.text, "blocks of one size have the same content",
                         "choose another size or scheme")  # fmt: skip
        return found


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
        return Randomisation(
            {treatment_of(panel, self.text): absorbing_paths(t)}, first, draw, count, every if own else None
        )


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
        return Randomisation({treatment_of(panel, self.text): absorbing_paths(t)}, first, draw, count, every, kept)


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


# What the null hypothesis of a scheme sets to zero: estimands, and the terms of an estimator that it tests.


OF_POLICY = {"att", "att_event", "att_cohort", "att_calendar", "contrast", "nde", "nie"}
OF_PERIODS = {"att", "event", "cohort", "calendar"}  # with arguments
OF_UNITS = {"slope", "level", "att_of", "ddd"}  # likewise
OF_SPACE = {"rho", "lambda", "dependence"}


def assigned_anew(scheme: Scheme, roles: Roles) -> tuple[str, ...]:
    """The variables that a scheme assigns again; none where W alone changes."""
    if isinstance(scheme, Relabel):
        return ()
    if isinstance(scheme, Mediator):
        return roles.mediators if scheme.name is None else (scheme.name,)
    return (roles.treatment,) if roles.treatment else ()


def redraws_treatment(scheme: Scheme) -> bool:
    """Whether a scheme assigns the treatment again, and nothing else, on the same sample."""
    return not isinstance(scheme, Relabel | Mediator | Time)


def is_null(scheme: Scheme, ask: Estimand, roles: Roles) -> bool:
    """Whether an estimand is zero when what the scheme assigns again does nothing."""
    of = ask.arguments[0] if ask.kind in OF_A_VARIABLE and len(ask.arguments) == 1 else None
    if isinstance(scheme, Relabel):
        spatial = ask.kind in {"indirect", "long_indirect"} or (of or "").startswith("w_")
        known = (of or "").removeprefix("w_") in (*roles.regressors, *roles.mediators)
        return (ask.kind in OF_SPACE and not ask.arguments) or (spatial and known)
    if of is not None:
        return of in {prefix + name for name in assigned_anew(scheme, roles) for prefix in ("", "w_")}
    if isinstance(scheme, Mediator):
        return ask.kind == "nie" and not ask.arguments
    if ask.arguments:
        return ask.kind in OF_PERIODS | OF_UNITS
    return ask.kind in OF_POLICY and (ask.kind not in {"nde", "nie"} or bool(roles.mediators))


def terms_tested(scheme: Scheme, terms: Iterable[str], targets: Mapping[str, str], roles: Roles) -> tuple[str, ...]:
    """The terms that a permutation test by the scheme tests, in order.

    They are what is assigned again, terms whose target its null hypothesis sets to zero, and terms without a target,
    such as leads of an event study, but for the constant.
    """
    own = assigned_anew(scheme, roles)
    return tuple(
        term
        for term in terms
        if term in own or (is_null(scheme, Estimand.parse(targets[term]), roles) if term in targets
                           else term != "constant")
    )  # fmt: skip
