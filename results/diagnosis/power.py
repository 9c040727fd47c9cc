"""Size-adjusted power: rejection at the critical value that gives a test its nominal size in the null cell."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from results.diagnosis.fits import Fits
from results.diagnosis.measures import Measured

Floats = NDArray[np.float64]
DRAWS = 2000  # of the bootstrap; its own noise is then 2% of the MCSE
FitsOfCell = Callable[[int], Iterator[Mapping[str, Fits]]]
Key = tuple[int, str, int]  # cell, estimator, position of the term


def null_cell(cell: int, cells: Sequence[Mapping[str, object]], is_null: Callable[[int], bool]) -> int | None:
    """The cell that differs in one parameter and whose truth is 0; if several, one where that parameter itself is 0."""
    near = []
    for other, parameters in enumerate(cells):
        changed = [name for name in parameters if parameters[name] != cells[cell].get(name)]
        if other != cell and len(changed) == 1 and is_null(other):
            value = parameters[changed[0]]
            near.append((not (isinstance(value, int | float) and value == 0), other))
    return min(near)[1] if near else None


def size_adjusted_power(nulls: Mapping[Key, int], counts: Mapping[tuple[int, str], Floats], fits: FitsOfCell,
                        alpha: float) -> dict[tuple[int, str], Measured]:  # fmt: skip
    """Power by (cell, estimator), (E, K), NaN for terms without a null cell.

    nulls: the null cell of each (cell, estimator, term). counts: how many |t| each (cell, estimator) has, (E, K).
    fits: the blocks of a cell, usable fits only. The critical value is the k-th largest |t| of the null cell,
    k = floor(alpha (n + 1)). Memory: the upper tail of one null cell.
    """
    powers: dict[tuple[int, str], Measured] = {}
    for null in sorted(set(nulls.values())):
        users = {key: home for key, home in nulls.items() if home == null}
        names = {name for _, name, _ in users}
        tails = {name: UpperTail(counts[null, name], alpha) for name in names}
        for block in fits(null):
            for name in names & block.keys():
                tails[name].add(block[name].statistic)
        for cell in sorted({cell for cell, _, _ in users}):
            here = {name for at, name, _ in users if at == cell}
            above = {name: Exceedances(tails[name].values) for name in here}
            for block in fits(cell):
                for name in here & block.keys():
                    above[name].add(block[name].statistic)
            for name in here:
                terms = [term for at, who, term in users if (at, who) == (cell, name)]
                power = adjusted(tails[name], above[name], alpha)
                earlier = powers.get((cell, name))
                powers[cell, name] = _only(power, terms, earlier)
    return powers


class UpperTail:
    """The largest |t| of a null cell: as many as the critical value and its bootstrap can reach."""

    def __init__(self, fits: Floats, alpha: float) -> None:
        most = fits.max(initial=0.0)
        rank = alpha * (most + 1)
        self.n = np.zeros(fits.shape)
        self.kept = int(min(most, math.ceil(rank + 8 * math.sqrt(rank) + 20)))
        self._parts: list[Floats] = []
        self._rows = 0

    def add(self, statistic: Floats) -> None:
        """Take in |t| (R, E, K); NaN where there is none."""
        self.n += (~np.isnan(statistic)).sum(axis=0)
        self._parts.append(np.where(np.isnan(statistic), -np.inf, statistic))
        self._rows += len(statistic)
        if self._rows > 2 * self.kept + 4096:
            self._parts, self._rows = [self.values], self.kept

    @property
    def values(self) -> Floats:
        """The largest |t|, ascending, (kept, E, K)."""
        together = np.concatenate(self._parts) if self._parts else np.empty((0, *self.n.shape))
        return np.sort(together, axis=0)[len(together) - min(self.kept, len(together)) :]


class Exceedances:
    """How many |t| of a cell reach each of the thresholds (M, E, K), ascending."""

    def __init__(self, thresholds: Floats) -> None:
        self._thresholds = thresholds
        self._passed = np.zeros((thresholds.shape[0] + 1, *thresholds.shape[1:]))
        self.n = np.zeros(thresholds.shape[1:])

    def add(self, statistic: Floats) -> None:
        """Take in |t| (R, E, K); NaN where there is none."""
        for at in np.ndindex(*self.n.shape):
            values = statistic[(slice(None), *at)]
            values = values[~np.isnan(values)]
            passed = np.searchsorted(self._thresholds[(slice(None), *at)], values, side="right")
            self._passed[(slice(None), *at)] += np.bincount(passed, minlength=len(self._passed))
            self.n[at] += values.size

    @property
    def counts(self) -> Floats:
        """How many reach the j-th largest threshold, (M, E, K), from the largest on."""
        return np.cumsum(self._passed[::-1], axis=0)[:-1]


def adjusted(tail: UpperTail, above: Exceedances, alpha: float) -> Measured:
    """Power (E, K) with its MCSE by the bootstrap over both cells.

    Resampling the null cell moves the critical value to the ceil(n U)-th largest |t| with U ~ Beta(k, n - k + 1),
    exactly; resampling the other cell adds the binomial variance. Both are applied without drawing a sample.
    """
    generator = np.random.default_rng(20240229)  # fixed: a diagnosis is a function of the store
    value, mcse = np.full(tail.n.shape, np.nan), np.full(tail.n.shape, np.nan)
    counts = above.counts
    for at in np.ndindex(*tail.n.shape):
        n, others = int(tail.n[at]), above.n[at]
        rank = math.floor(alpha * (n + 1))
        if rank < 1 or others < 1 or not len(counts):
            continue
        share = counts[(slice(None), *at)] / others
        value[at] = share[rank - 1]
        reached = np.ceil(n * generator.beta(rank, n - rank + 1, DRAWS)).astype(np.intp).clip(1, len(share))
        drawn = share[reached - 1]
        mcse[at] = math.sqrt(drawn.var() + (drawn * (1 - drawn)).mean() / others)
    return Measured(value, mcse, above.n)


def _only(power: Measured, terms: Sequence[int], earlier: Measured | None) -> Measured:
    """The power of these terms, the rest as it was before."""
    chosen = np.zeros(power.value.shape, dtype=bool)
    chosen[:, list(terms)] = True
    before = earlier or Measured(*(np.full(power.value.shape, np.nan) for _ in range(3)))
    return Measured(*(np.where(chosen, new, old) for new, old in zip(power, before, strict=True)))
