"""Randomisations: assignments of paths to units, drawn one by one or enumerated, and what they are made of."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sim.arrays import Codes, Flags, Floats
from sim.errors import bad, closest, one_of
from sim.panel import Panel
from sim.panel.panel import seen_in
from sim.weights import Weights

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
    """Permutations of the treatment's paths within strata, (N,) coded 0, 1, ..."""
    paths, real = treatment_paths(panel, asked_by)
    places = [np.flatnonzero(strata == label)[:, None] for label in range(int(strata.max()) + 1)]
    found = exchanges(paths, real, places)
    check_varied(found.count or 0, asked_by, "all exchangeable units have the same treatment",
            "choose another scheme, or a coarser attribute")  # fmt: skip
    return found


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
    if not panel.balanced:
        raise bad("the panel is unbalanced", where=asked_by, allowed="every unit in every period",
                  remedy='set balance = "drop-units" or "drop-periods"')  # fmt: skip
    n = len(panel.units)
    paths = {name: np.ascontiguousarray(_fixed(panel, name, asked_by).T) for name in names}
    real = np.arange(n)
    return Randomisation(paths, real, lambda rng: rng.permutation(n), math.factorial(n), lambda: permutations(real))


def adoption(panel: Panel, asked_by: str) -> Codes:
    """Index of each unit's first treated period, T = never, (N,); raises BadInput unless 0/1, absorbing and fixed."""
    did, seen = _fixed(panel, treatment_of(panel, asked_by), asked_by), seen_in(panel)
    path = np.where(seen, did, 0.0)
    first = np.where(path.any(axis=0), path.argmax(axis=0), len(panel.periods)).astype(np.intp)
    absorbing = np.arange(len(panel.periods))[:, None] >= first
    if (np.where(seen, did, absorbing) != absorbing).any():
        raise bad("the treatment is not 0/1 and absorbing", where=asked_by, allowed="0 before adoption, 1 after",
                  remedy='code it so, or use scheme = "space"')  # fmt: skip
    return first


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
    """Distinct paths of the treatment (P, T) and each unit's, (N,); gaps of an absorbing treatment are filled."""
    name = treatment_of(panel, asked_by)
    table = _fixed(panel, name, asked_by).T
    if not panel.balanced:
        table = steps(len(panel.periods))[adoption(panel, asked_by)]
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


def steps(periods: int) -> Floats:
    """Paths of adoption at each index 0..T, the last of them never: (T + 1, T)."""
    return (np.arange(periods) >= np.arange(periods + 1)[:, None]).astype(np.float64)


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
        raise bad(f"no weights {name!r}", where=asked_by, allowed=one_of(panel.weights),
                  remedy=closest(name, panel.weights))  # fmt: skip
    return panel.weights[name]


def check_varied(count: int, asked_by: str, what: str, remedy: str) -> None:
    """Raise BadInput, saying why, unless there are two assignments or more."""
    if count < 2:
        raise bad(f"{what}: there is nothing to permute", where=asked_by, allowed="two or more distinct assignments",
                  remedy=remedy)  # fmt: skip
