"""Size-adjusted power: rejection at the critical value that gives a test its nominal size in the null cell."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from results.diagnosis.fits import Tests
from results.diagnosis.measures import Measured
from results.diagnosis.reading import for_each
from results.diagnosis.worlds import Grouping, WorldSums, variance_inflation

Floats = NDArray[np.float64]
DRAWS = 2000  # of the bootstrap; its own noise is then 2% of the MCSE
TestsOfCell = Callable[[int, Set[str]], Iterator[Mapping[str, Tests]]]
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


def size_adjusted_power(nulls: Mapping[Key, int], counts: Mapping[tuple[int, str], Floats], tests: TestsOfCell,
                        alpha: float, worlds: int = 1) -> dict[tuple[int, str], Measured]:  # fmt: skip
    """Power by (cell, estimator), (E, K), NaN for terms without a null cell.

    nulls: the null cell of each (cell, estimator, term). counts: how many |t| each (cell, estimator) has, (E, K).
    tests: those of some estimators in a cell, block by block, usable fits only. The critical value is the k-th largest
    |t| of the null cell, k = floor(alpha (n + 1)). worlds: in which the replications of a cell lie. Memory: the upper
    tail of one null cell.
    """
    powers: dict[tuple[int, str], Measured] = {}
    for null in sorted(set(nulls.values())):
        users = {key: home for key, home in nulls.items() if home == null}
        names = {name for _, name, _ in users}
        tails = {name: UpperTail(counts[null, name], alpha, worlds > 1) for name in names}
        for block in tests(null, names):
            for name in names & block.keys():
                tails[name].add(block[name].statistic)
        critical = {name: tail.critical(alpha) for name, tail in tails.items()}
        of_null = _inflated(tests(null, names), critical, worlds)
        users_by_cell = {cell: {name: sorted(term for at, who, term in users if (at, who) == (cell, name))
                                for at, name, _ in users if at == cell} for cell, _, _ in users}  # fmt: skip

        def reached(
            cell: int,
            terms: Mapping[int, Mapping[str, list[int]]] = users_by_cell,
            null_tails: Mapping[str, UpperTail] = tails,
            levels: Mapping[str, Floats] = critical,
        ) -> _Reached:
            above = {name: Exceedances(null_tails[name].values, chosen) for name, chosen in terms[cell].items()}
            return _reached(tests(cell, above.keys()), above, levels, worlds)

        for cell, found in for_each(sorted(users_by_cell), reached).items():
            for name, above in found.above.items():
                power = adjusted(tails[name], above, alpha, of_null.get(name), found.inflation.get(name))
                powers[cell, name] = _only(power, users_by_cell[cell][name], powers.get((cell, name)))
    return powers


@dataclass(frozen=True, slots=True)
class _Reached:
    """Of a cell, by estimator: how many |t| reach each value of the null cell's tail, and what worlds add."""

    above: dict[str, Exceedances]
    inflation: dict[str, Floats]


def _reached(blocks: Iterator[Mapping[str, Tests]], above: dict[str, Exceedances], critical: Mapping[str, Floats],
             worlds: int) -> _Reached:  # fmt: skip
    """Both in one pass. critical: of the null cell, by estimator."""
    hits = {name: WorldSums(worlds, critical[name].shape) for name in above}
    for block in blocks:
        for name in block:
            above[name].add(block[name].statistic)
            if worlds > 1:
                _hit(hits[name], block[name], critical[name])
    return _Reached(above, {name: variance_inflation(found) for name, found in hits.items()} if worlds > 1 else {})


def _inflated(blocks: Iterator[Mapping[str, Tests]], critical: Mapping[str, Floats],
              worlds: int) -> dict[str, Floats]:  # fmt: skip
    """By how much worlds widen the variance of the share of |t| that reach critical values (E, K), by estimator."""
    if worlds == 1:
        return {}
    hits = {name: WorldSums(worlds, values.shape) for name, values in critical.items()}
    for block in blocks:
        for name in critical.keys() & block.keys():
            _hit(hits[name], block[name], critical[name])
    return {name: variance_inflation(found) for name, found in hits.items()}


def _hit(hits: WorldSums, tests: Tests, critical: Floats) -> None:
    hits.add(tests.statistic >= critical, ~np.isnan(tests.statistic), Grouping.of(tests.world))


class UpperTail:
    """The largest |t| of a null cell: as many as the critical value and its bootstrap can reach.

    clustered: where worlds may make the bootstrap's spread up to three times as wide.
    """

    def __init__(self, fits: Floats, alpha: float, clustered: bool = False) -> None:
        most = fits.max(initial=0.0)
        rank = alpha * (most + 1)
        self.n = np.zeros(fits.shape)
        self.kept = int(min(most, math.ceil(rank + (24 if clustered else 8) * math.sqrt(rank) + 20)))
        self._parts: list[list[Floats]] = [[] for _ in range(fits.size)]
        self._floor = np.full(fits.size, -np.inf)  # what is below it is not among the largest
        self._rows = 0  # since the parts were last cut to those kept

    def add(self, statistic: Floats) -> None:
        """Take in |t| (R, E, K); NaN where there is none."""
        self.n += (~np.isnan(statistic)).sum(axis=0)
        columns = np.ascontiguousarray(statistic.reshape(len(statistic), self.n.size).T)
        large = columns >= self._floor[:, None]
        for parts, values, chosen in zip(self._parts, columns, large, strict=True):
            parts.append(values[chosen])
        self._rows += int(large.sum(axis=1).max(initial=0))
        if self._rows > self.kept + 4096:
            self._rows = 0
            for at, parts in enumerate(self._parts):
                parts[:] = [_largest(parts, self.kept)]
                self._floor[at] = parts[0].min(initial=np.inf) if len(parts[0]) == self.kept else -np.inf

    @property
    def values(self) -> Floats:
        """The largest |t|, ascending, (kept, E, K); -inf where there are fewer."""
        largest = [np.sort(_largest(parts, self.kept)) for parts in self._parts]
        height = max(map(len, largest), default=0)
        filled = [np.concatenate([np.full(height - len(values), -np.inf), values]) for values in largest]
        return np.array(filled).T.reshape(height, *self.n.shape)

    def critical(self, alpha: float) -> Floats:
        """The critical values, (E, K); infinite where there are too few |t|."""
        values, rank = self.values, np.floor(alpha * (self.n + 1)).astype(np.intp)
        at = np.clip(len(values) - rank, 0, max(len(values) - 1, 0))
        if not len(values):
            return np.full(self.n.shape, np.inf)
        found = np.take_along_axis(values, at[None], axis=0)[0]
        return np.where(rank >= 1, found, np.inf)


class Exceedances:
    """How many |t| of a cell reach each of the thresholds (M, E, K), ascending; of some terms, None = all."""

    def __init__(self, thresholds: Floats, terms: Sequence[int] | None = None) -> None:
        shape = thresholds.shape[1:]
        chosen = range(shape[1]) if terms is None else terms
        self._thresholds = {(e, k): np.ascontiguousarray(thresholds[:, e, k]) for e in range(shape[0]) for k in chosen}
        self._passed = np.zeros((thresholds.shape[0] + 1, *shape))
        self.n = np.zeros(shape)

    def add(self, statistic: Floats) -> None:
        """Take in |t| (R, E, K); NaN where there is none."""
        self.n += (~np.isnan(statistic)).sum(axis=0)
        for (e, k), thresholds in self._thresholds.items():
            if not len(thresholds):
                continue
            values = np.ascontiguousarray(statistic[:, e, k])
            top = values >= thresholds[-1]  # where the search would find the end; most |t| of a term with an effect
            between = np.sort(values[~top & (values >= thresholds[0])])  # sorted ones are found several times as fast
            self._passed[:, e, k] += np.bincount(np.searchsorted(thresholds, between, side="right"),
                                                 minlength=len(self._passed))  # fmt: skip
            self._passed[-1, e, k] += np.count_nonzero(top)

    @property
    def counts(self) -> Floats:
        """How many reach the j-th largest threshold, (M, E, K), from the largest on."""
        return np.cumsum(self._passed[::-1], axis=0)[:-1]


def _largest(parts: Sequence[Floats], most: int) -> Floats:
    """The largest values of some arrays, at most so many, in any order."""
    values = np.concatenate(parts) if parts else np.empty(0)
    if len(values) <= most:
        return values
    return np.partition(values, -most)[-most:] if most else values[:0]


def adjusted(tail: UpperTail, above: Exceedances, alpha: float, of_null: Floats | None = None,
             of_cell: Floats | None = None) -> Measured:  # fmt: skip
    """Power (E, K) with its MCSE by the bootstrap over both cells.

    Resampling the null cell moves the critical value to the ceil(n U)-th largest |t| with U ~ Beta(k, n - k + 1),
    exactly; resampling the other cell adds the binomial variance. Both are applied without drawing a sample. of_null,
    of_cell (E, K): by how much worlds widen either variance, None = not; a cell of n fits then counts as n over that.
    """
    of_null, of_cell = (np.ones(tail.n.shape) if part is None else part for part in (of_null, of_cell))
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
        drawn_share = generator.beta(rank / of_null[at], (n - rank + 1) / of_null[at], DRAWS)
        reached = np.ceil(n * drawn_share).astype(np.intp).clip(1, len(share))
        drawn = share[reached - 1]
        mcse[at] = math.sqrt(drawn.var() + (drawn * (1 - drawn)).mean() * of_cell[at] / others)
    return Measured(value, mcse, above.n)


def _only(power: Measured, terms: Sequence[int], earlier: Measured | None) -> Measured:
    """The power of these terms, the rest as it was before."""
    chosen = np.zeros(power.value.shape, dtype=bool)
    chosen[:, list(terms)] = True
    before = earlier or Measured(*(np.full(power.value.shape, np.nan) for _ in range(3)))
    return Measured(*(np.where(chosen, new, old) for new, old in zip(power, before, strict=True)))
