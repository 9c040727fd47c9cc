"""Size-adjusted power: rejection at the critical value that gives a test its nominal size in the null cell."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence, Set

import numpy as np

from results.diagnosis.fits import Tests
from results.diagnosis.grouping import Grouping
from results.diagnosis.measures import Measured
from results.diagnosis.moments import Tally
from results.diagnosis.reading import for_each
from results.diagnosis.worlds import variance_inflation
from sim.arrays import Floats

DRAWS = 2000  # of the bootstrap; its own noise is then 2% of the MCSE
TestsOfCell = Callable[[int, Set[str]], Iterator[Mapping[str, Tests]]]
Key = tuple[int, str, int]  # cell, estimator, position of the term
Tail = tuple[int, str]  # null cell, estimator


def null_cell(cell: int, cells: Sequence[Mapping[str, object]], is_null: Callable[[int], bool]) -> int | None:
    """The cell that differs in one parameter and whose truth is 0; if several, one where that parameter itself is 0."""
    near = []
    for other, parameters in enumerate(cells):
        changed = [name for name in parameters if parameters[name] != cells[cell].get(name)]
        if other != cell and len(changed) == 1 and is_null(other):
            value = parameters[changed[0]]
            near.append((not (isinstance(value, int | float) and value == 0), other))
    return min(near)[1] if near else None


def size_adjusted_power(nulls: Mapping[Key, int], tails: Mapping[Tail, UpperTail], tests: TestsOfCell,
                        alpha: float, worlds: int = 1) -> dict[tuple[int, str], Measured]:  # fmt: skip
    """Power by (cell, estimator), (E, K), NaN for terms without a null cell.

    nulls: the null cell of each (cell, estimator, term). tails: the largest |t| of each null cell and estimator. tests:
    those of some estimators in a cell, piece by piece, usable fits only. The critical value is the k-th largest |t| of
    the null cell, k = floor(alpha (n + 1)). worlds: in which the replications of a cell lie.
    """
    counted: dict[int, _Reached] = {}
    for (cell, name, term), null in sorted(nulls.items()):
        counted.setdefault(cell, _Reached(worlds)).need((null, name), term)
        counted.setdefault(null, _Reached(worlds)).need((null, name))
    critical = {key: tail.critical(alpha) for key, tail in tails.items()}
    values = {key: tail.values for key, tail in tails.items()}

    def count(cell: int) -> None:
        counted[cell].count(tests(cell, counted[cell].names), values, critical)

    for_each(sorted(counted), count)
    powers: dict[tuple[int, str], Measured] = {}
    for cell, reached in counted.items():
        for key, above in reached.above.items():
            inflations = [counted[at].inflation(key) for at in (key[0], cell)] if worlds > 1 else []
            power = adjusted(tails[key], above, alpha, *inflations)
            powers[cell, key[1]] = _only(power, reached.terms[key], powers.get((cell, key[1])))
    return powers


class _Reached:
    """How many |t| of a cell reach each value of the tails of null cells, and by world their critical values."""

    def __init__(self, worlds: int) -> None:
        self.worlds = worlds
        self.terms: dict[Tail, list[int]] = {}  # of which power is asked, by the tail that gives it
        self.above: dict[Tail, Exceedances] = {}
        self.hits: dict[Tail, Tally] = {}

    def need(self, key: Tail, term: int | None = None) -> None:
        """Count what reaches a tail: its critical value, and of a term each of its values."""
        terms = self.terms.setdefault(key, [])
        terms += [] if term is None else [term]

    @property
    def names(self) -> set[str]:
        """Estimators of which something is counted."""
        return {name for _, name in self.terms}

    def count(self, pieces: Iterator[Mapping[str, Tests]], values: Mapping[Tail, Floats],
              critical: Mapping[Tail, Floats]) -> None:  # fmt: skip
        """Go through the cell."""
        self.above = {key: Exceedances(values[key], terms) for key, terms in self.terms.items() if terms}
        self.hits = {key: Tally(critical[key].shape, self.worlds) for key in self.terms}
        for piece in pieces:
            for key in self.terms:
                found = piece.get(key[1])
                if found is None or not len(found.world):
                    continue
                if key in self.above:
                    self.above[key].add(found.statistic)
                if self.worlds > 1:
                    there = ~np.isnan(found.statistic)
                    self.hits[key].add(found.statistic >= critical[key], there, Grouping.of(found.world))

    def inflation(self, key: Tail) -> Floats:
        """By how much worlds widen the variance of the share of |t| that reach a tail's critical values, (E, K)."""
        return variance_inflation(self.hits[key])


class UpperTail:
    """The largest |t| of a null cell: as many as the critical value and its bootstrap can reach.

    clustered: where worlds may make the bootstrap's spread up to three times as wide.
    """

    def __init__(self, fits: Floats, alpha: float, clustered: bool = False) -> None:
        most = fits.max(initial=0.0)
        rank = alpha * (most + 1)
        self.n = np.zeros(fits.shape)
        self.kept = int(min(most, math.ceil(rank + (24 if clustered else 8) * math.sqrt(rank) + 20)))
        self._parts: dict[tuple[int, int], list[Floats]] = {(e, k): [] for e, k in np.ndindex(*fits.shape)}
        self._floor = dict.fromkeys(self._parts, -np.inf)  # what is below it is not among the largest
        self._rows = dict.fromkeys(self._parts, 0)  # in the parts

    def add(self, statistic: Floats) -> None:
        """Take in |t| (R, E, K); NaN where there is none."""
        self.n += np.count_nonzero(~np.isnan(statistic), axis=0)
        for at, parts in self._parts.items():
            values = statistic[:, at[0], at[1]]
            large = values[values >= self._floor[at]]
            parts.append(large)
            self._rows[at] += len(large)
            if self._rows[at] > self.kept + max(self.kept, 4096):
                parts[:] = [_largest(parts, self.kept)]
                self._rows[at] = len(parts[0])
                self._floor[at] = parts[0].min(initial=np.inf) if len(parts[0]) == self.kept else -np.inf

    @property
    def values(self) -> Floats:
        """The largest |t|, ascending, (kept, E, K); -inf where there are fewer."""
        largest = {at: np.sort(_largest(parts, self.kept)) for at, parts in self._parts.items()}
        found = np.full((max(map(len, largest.values()), default=0), *self.n.shape), -np.inf)
        for (e, k), values in largest.items():
            found[len(found) - len(values) :, e, k] = values
        return found

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
