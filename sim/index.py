"""An outcome made of indicators: the entropy weight method of the paper, equations 1-7, and industrial diversification.

All observed unit-periods are pooled, in every replication on its own. Notation: x an indicator, a its scaled values,
n the number of pooled unit-periods, J the number of indicators.

Rules: a value that is missing where the panel is observed is refused, and cells that are not observed are left out of
every sum and have no score (NaN). A constant indicator (all zeros included) is refused: it ranks nothing, and its
scaling would divide by zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr

from sim.arrays import Flags, Floats
from sim.errors import Problem, bad, refuse
from sim.panel import Panel

NOTHING: Mapping[str, Floats] = MappingProxyType({})
ROUNDING = 8 * np.finfo(np.float64).eps  # a range below this share of the largest value is a constant's rounding


@dataclass(frozen=True, eq=False, slots=True)
class CellNames:
    """Names for the cells of a (R|1, T, N) array in messages; positions where there are no labels."""

    where: str = "entropy index"
    units: Sequence[str] | None = None
    periods: Sequence[int] | None = None

    def at(self, t: int, i: int) -> str:
        """The unit and period of a cell."""
        unit = i if self.units is None else self.units[i]
        return f"{self.where}, unit {unit}, {f'period {t}' if self.periods is None else self.periods[t]}"


@dataclass(frozen=True, eq=False, slots=True)
class EntropyIndex:
    """An index with its weights: how much each indicator tells the unit-periods apart.

    indicators: J names, the positive ones first. negative: those of which less is better. observations (R|1,): n.
    weights, entropies, divergences (R|1, J): w, e and g = 1 - e; weights sum to one. score (R|1, T, N): H, in [0, 1],
    NaN where not observed.
    """

    indicators: tuple[str, ...]
    negative: tuple[str, ...]
    observations: NDArray[np.int64]
    weights: Floats
    entropies: Floats
    divergences: Floats
    score: Floats

    def subtotals(self, dimensions: Mapping[str, Sequence[str]]) -> dict[str, Floats]:
        """The weight of each dimension, (R|1,): the sum over its indicators; raises ValueError for an unknown one."""
        columns = {name: [self.indicators.index(part) for part in parts] for name, parts in dimensions.items()}
        return {name: self.weights[:, at].sum(axis=1) for name, at in columns.items()}


def entropy_index(
    positive: Mapping[str, Floats],
    negative: Mapping[str, Floats] = NOTHING,
    *,
    observed: Flags | None = None,
    cells: CellNames | None = None,
) -> EntropyIndex:
    """The entropy-weight index of positive and negative indicators, name -> (R|1, T, N), over the observed cells.

    Raises BadInput, all at once, for no indicator, one on both sides, other shapes, values that are missing or infinite
    where observed, and constant indicators. Source: the paper, equations 1-7.
    """
    cells, indicators = cells or CellNames(), {**positive, **negative}
    if not indicators:
        raise bad("there is no indicator", where=cells.where, allowed="one or more", remedy="name the indicators")
    refuse(Problem(f"the indicator {name!r} is positive and negative", cells.where, "one of the two",
                   "remove it from one side") for name in positive if name in negative)  # fmt: skip
    seen = _observed(indicators, observed, cells)
    scaled = [min_max(values, seen, negative=name in negative) for name, values in indicators.items()]
    columns = [entropy(a, seen) for a in scaled]
    entropies = np.stack(np.broadcast_arrays(*columns), axis=1)
    divergences = 1 - entropies  # eq. 5
    weights = divergences / divergences.sum(axis=1, keepdims=True)  # eq. 6
    return EntropyIndex(
        indicators=tuple(indicators),
        negative=tuple(negative),
        observations=seen.sum(axis=(1, 2)),
        weights=weights,
        entropies=entropies,
        divergences=divergences,
        score=np.where(seen, weighted_score(scaled, weights), np.nan),
    )


def panel_index(
    panel: Panel, positive: Sequence[str], negative: Sequence[str] = (), *, where: str = "entropy index"
) -> EntropyIndex:
    """The entropy-weight index of a panel's variables; raises BadInput as `entropy_index`, and for unknown ones."""
    for name in (*positive, *negative):
        panel.schema.require(name, where)
    return entropy_index(
        {name: panel.variables[name] for name in positive},
        {name: panel.variables[name] for name in negative},
        observed=panel.observed,
        cells=CellNames(where, panel.units, panel.periods),
    )


def min_max(values: Floats, observed: Flags, *, negative: bool = False) -> Floats:
    """An indicator scaled to [0, 1] over the observed cells, (R|1, T, N), 0 where not observed; equations 1 and 2."""
    low, high = _range(values, observed)
    distance = high - values if negative else values - low
    return np.where(observed, distance / (high - low), 0.0)


def entropy(scaled: Floats, observed: Flags) -> Floats:
    """e = -(1/ln n) sum p ln p with p = a / sum a and 0 ln 0 = 0, (R|1,), of a (R|1, T, N); equations 3 and 4."""
    pooled = np.ascontiguousarray(scaled).reshape(len(scaled), -1)
    p = pooled / pooled.sum(axis=1, keepdims=True)
    n = observed.sum(axis=(1, 2))
    return np.asarray(entr(p).sum(axis=1) / np.log(n))


def weighted_score(scaled: Sequence[Floats], weights: Floats) -> Floats:
    """H = sum_j w_j a_j, (R|1, T, N), of J arrays (R|1, T, N) and weights (R|1, J); equation 7."""
    score = np.zeros(1)
    for j, a in enumerate(scaled):
        score = score + weights[:, j, None, None] * a
    return score


def hhi_diversification(shares: Floats | Sequence[Floats]) -> Floats:
    """1/HHI = (sum s)^2 / sum s^2 of S shares, (S, ...) -> (...): 1 in a single sector, S when all are equal.

    Shares are first divided by their sum, so percentages, amounts and shares that leave a little out do as well. NaN
    where one of them is missing. Raises BadInput for negative ones and where all are zero. Source: the paper's outcome,
    industrial diversification.
    """
    stacked = np.asarray(shares, dtype=np.float64)
    wrong = np.argwhere(no_shares(stacked))
    if wrong.size:
        at = tuple(int(position) for position in wrong[0])
        raise bad(f"shares are {np.moveaxis(stacked, 0, -1)[at].tolist()}", where=f"diversification, position {at}",
                  allowed="0 or more, and not all zero", remedy="correct them, or leave one missing")  # fmt: skip
    largest = stacked.max(axis=0)
    relative = stacked / largest  # squares that neither overflow nor vanish
    return np.asarray(relative.sum(axis=0) ** 2 / (relative**2).sum(axis=0))


def no_shares(shares: Floats) -> Flags:
    """Where S numbers cannot be shares of a whole, (S, ...) -> (...): a negative or infinite one, or all zero."""
    return np.asarray((shares < 0).any(axis=0) | np.isinf(shares).any(axis=0) | (shares == 0).all(axis=0))


def _range(values: Floats, observed: Flags) -> tuple[Floats, Floats]:
    """Smallest and largest observed value, (R|1, 1, 1) each."""
    low = np.where(observed, values, np.inf).min(axis=(1, 2), keepdims=True)
    high = np.where(observed, values, -np.inf).max(axis=(1, 2), keepdims=True)
    return low, high


def _observed(indicators: Mapping[str, Floats], observed: Flags | None, cells: CellNames) -> Flags:
    """The mask, (R|1, T, N), of all cells when there is none; raises BadInput for shapes that do not go together, and
    for every indicator that misses an observed value, or is constant."""
    first = next(iter(indicators.values()))
    seen = np.ones((1, *first.shape[1:]), dtype=bool) if observed is None else observed
    shapes = {name: values.shape for name, values in indicators.items()} | {"observed": seen.shape}
    fits = [len(shape) == 3 and shape[1:] == seen.shape[1:] for shape in shapes.values()]
    if not all(fits) or len({shape[0] for shape in shapes.values()} - {1}) > 1:
        raise bad(f"shapes differ: {shapes}", where=cells.where, allowed="(R or 1, T, N), the same for all",
                  remedy="give every indicator the same replications, periods and units")  # fmt: skip
    if seen.sum(axis=(1, 2)).min(initial=2) < 2:
        raise bad("fewer than two unit-periods are observed", where=cells.where, allowed="two or more",
                  remedy="an index compares unit-periods: give it more rows")  # fmt: skip

    problems = []
    for name, values in indicators.items():
        lost = np.argwhere(seen & ~np.isfinite(values))
        if lost.size:
            r, t, i = lost[0]
            more = f" and {len(lost) - 1} more such cells" if len(lost) > 1 else ""
            problems.append(Problem(f"the indicator {name!r} is {values[min(r, len(values) - 1), t, i]}{more}",
                                    cells.at(t, i), "finite numbers", "fill it, or leave the row out "
                                    '(missing = "drop")'))  # fmt: skip
            continue
        low, high = _range(values, seen)
        constant = np.flatnonzero(high - low <= ROUNDING * np.maximum(abs(low), abs(high)))
        if constant.size:
            of = f" of replication {constant[0]}" if len(low) > 1 else ""
            problems.append(Problem(f"the indicator {name!r} is {low[constant[0], 0, 0]:g} in every row{of}",
                                    cells.where, "indicators that vary", "leave it out of the index"))  # fmt: skip
    refuse(problems)
    return seen
