"""Size-adjusted power: rejection at the critical value that gives a test its nominal size in the null cell."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import ndtr, xlog1py, xlogy

from results.diagnosis.claims import POWER
from results.diagnosis.fits import Tests, for_each, variance_inflation
from results.diagnosis.measures import Z95, Grouping, Measured, Tally
from sim.arrays import Floats

# The power curve between simulated effects, and the effect that a test finds with a given power.
#
# Rejections y of n panels at effects d are binomial with P(d) = Phi(|d|/s - c) + Phi(-|d|/s - c): a two-sided test
# whose estimate has the standard deviation s and whose critical value is c of them, so that P(0) = 2 Phi(-c) is its
# size. Both are fitted by maximum likelihood. The interval of the minimum detectable effect m holds the values that
# a likelihood ratio test does not reject (Venzon and Moolgavkar 1988, Applied Statistics 37:87):
#
#     2 [ l(s, c) - max over c of l(m / u(c), c) ] < 3.84,  u(c) where P(u) = power with s = 1
#
# The delta method fails where effects are few, or are found nearly always: its interval then lies between them at
# will.


STEP = 1e-5  # of difference quotients
SCORINGS, SMALL = 50, 1e-8  # steps of Fisher scoring at most, and the step at which it ends
EXPLAINED = 1e-11  # loss a panel at which none is left: every effect is found always or never
FARTHEST = (
    1e4  # times the effect, or a part of it, at which the end of an interval is looked for: beyond, there is none
)
CRITICALS = np.linspace(0.0, 8.0, 1601)  # the critical values among which the likeliest is found
COARSE = 16  # of them in one step of a first look
NEAR = 0.05  # of the logarithm of the effect: the first step away from it
WIDEST = 3.0  # times the effect that its interval may reach, or a part of it: the simulated effects do not tell more


@dataclass(frozen=True, slots=True)
class Curve:
    """A fitted power curve: sd (s) and critical value (c); covariance (2, 2) of (log s, c).

    simulated: what it was fitted to, rows of effect, rejections and panels.
    """

    sd: float
    critical: float
    covariance: tuple[tuple[float, float], tuple[float, float]]
    simulated: tuple[tuple[float, float, float], ...]

    def at(self, effects: Floats) -> Floats:
        """Power at effects (D,)."""
        return power(effects, self.sd, self.critical)


@dataclass(frozen=True, slots=True)
class Detectable:
    """The effect that is found with a power, and the ends of its 95% Monte Carlo interval: 0 and infinity where the
    simulated effects give none."""

    power: float
    value: float
    lower: float
    upper: float


def power(effects: Floats, sd: float, critical: float | Floats) -> Floats:
    """P(d) of effects; critical values of the same shape, or one."""
    shift = np.abs(effects) / sd
    return np.asarray(ndtr(shift - critical) + ndtr(-shift - critical))


def fitted_curve(effects: Floats, rejected: Floats, counts: Floats, sd: float) -> Curve:
    """The curve through rejections of `counts` panels at each effect, (D,) each; sd: where the search begins."""

    def loss(parameters: Floats) -> float:
        p = np.clip(power(effects, float(np.exp(parameters[0])), float(parameters[1])), 1e-12, 1 - 1e-12)
        return -float((rejected * np.log(p) + (counts - rejected) * np.log1p(-p)).sum())

    found = _scored(effects, rejected, counts, np.array([np.log(sd), Z95]), loss)
    slopes = _slopes(effects, found)
    p = np.clip(power(effects, float(np.exp(found[0])), float(found[1])), 1e-12, 1 - 1e-12)
    information = (slopes * (counts / (p * (1 - p)))[:, None]).T @ slopes
    covariance = np.linalg.pinv(information)
    rows = tuple((float(row[0]), float(row[1])) for row in covariance)
    simulated = tuple((float(d), float(y), float(n)) for d, y, n in zip(effects, rejected, counts, strict=True))
    return Curve(float(np.exp(found[0])), float(found[1]), (rows[0], rows[1]), simulated)


def _scored(
    effects: Floats, rejected: Floats, counts: Floats, start: Floats, loss: Callable[[Floats], float]
) -> Floats:
    """The parameters of the largest likelihood: Fisher scoring with halved steps; a simplex where that gets stuck.

    Where every effect is found always or never the likelihood has no maximum, and the search ends on its way there.
    """
    from scipy.optimize import minimize  # a tenth of a second that most runs do without

    at, here = start, loss(start)
    for _ in range(SCORINGS):
        if here <= EXPLAINED * counts.sum():
            return at
        p = np.clip(power(effects, float(np.exp(at[0])), float(at[1])), 1e-12, 1 - 1e-12)
        slopes = _slopes(effects, at)
        weight = (counts / (p * (1 - p)))[:, None]
        score = slopes.T @ ((rejected - counts * p) / (p * (1 - p)))
        step = np.clip(np.linalg.pinv((slopes * weight).T @ slopes) @ score, -1.0, 1.0)
        while np.abs(step).max() > SMALL and not (there := loss(at + step)) <= here:
            step = step / 2
        if np.abs(step).max() <= SMALL:
            return at
        at, here = at + step, there
    options = {"xatol": 1e-7, "fatol": 1e-9, "maxiter": 4000}
    return np.asarray(minimize(loss, start, method="Nelder-Mead", options=options).x)


def detectable(curve: Curve, wanted: float = POWER) -> Detectable:
    """The minimum detectable effect of a curve; 0 for a test that rejects more often than that without an effect."""
    value = curve.sd * _reach(wanted, curve.critical)[0]
    if not value > 0:
        return Detectable(wanted, 0.0, 0.0, 0.0)
    effects, rejected, counts = np.array(curve.simulated).T
    best = float(_log_likelihood(curve.at(effects), rejected, counts))
    reach = _reach(wanted)

    def root(log: float) -> float:
        likely = _profile(value * float(np.exp(log)), reach, effects, rejected, counts)
        return float(np.sqrt(2 * max(best - likely, 0.0)))

    return Detectable(wanted, float(value), *(float(value * np.exp(_end(way, root))) for way in (-1, 1)))


def _end(way: int, root: Callable[[float], float]) -> float:
    """Where an interval ends on one side, as the logarithm of its end over the effect; infinite where it does not.

    root: the signed root of the likelihood ratio, which is nearly a line.
    """
    from scipy.optimize import brentq  # a tenth of a second that most runs do without

    near, far = 0.0, way * NEAR
    while (reached := root(far)) <= Z95:
        near, far = far, far * min(max(1.2 * Z95 / max(reached, 1e-3), 1.2), 4.0)
        if abs(far) > np.log(FARTHEST):
            return way * np.inf
    return float(brentq(lambda log: root(log) - Z95, near, far, xtol=1e-8))


def _profile(effect: float, reach: Floats, effects: Floats, rejected: Floats, counts: Floats) -> float:
    """The log likelihood of curves that find an effect with a power, at the likeliest of their critical values.

    reach (C,): the effects, in standard deviations, that `CRITICALS` find with it. Between them by a parabola.
    """

    def likely(some: slice) -> Floats:
        c, shift = CRITICALS[some, None], effects * (reach[some] / effect)[:, None]
        found = _log_likelihood(ndtr(shift - c) + ndtr(-shift - c), rejected, counts)
        return np.where(reach[some] > 0, found, -np.inf)

    near = COARSE * int(np.argmax(likely(slice(None, None, COARSE))))
    values = likely(slice(max(near - COARSE, 0), near + COARSE + 1))
    at = int(np.argmax(values))
    if not 0 < at < len(values) - 1:
        return float(values[at])
    left, best, right = values[at - 1 : at + 2]
    bend = left - 2 * best + right
    return float(best - (right - left) ** 2 / (8 * bend)) if -np.inf < bend < 0 else float(best)


def _log_likelihood(p: Floats, rejected: Floats, counts: Floats) -> Floats:
    """Of rejections (D,) under powers (..., D)."""
    p = np.clip(p, 1e-12, 1 - 1e-12)
    return np.asarray((xlogy(rejected, p) + xlog1py(counts - rejected, -p)).sum(axis=-1))


@lru_cache(maxsize=256)
def _reach(wanted: float, critical: float | None = None) -> Floats:
    """The effects u, in standard deviations, that are found with a power by a critical value or by each of `CRITICALS`;
    0 where the size is above it.

    By halves: P rises in u.
    """
    criticals = CRITICALS if critical is None else np.array([critical])
    low, high = np.zeros(criticals.shape), np.maximum(criticals, 0.0) + 10.0
    for _ in range(60):
        middle = (low + high) / 2
        below = power(middle, 1.0, criticals) < wanted
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.where(2 * ndtr(-criticals) < wanted, (low + high) / 2, 0.0)


def told_effect(effects: Floats, shares: Floats, counts: Floats, sd: float, wanted: float = POWER) -> Detectable | None:
    """The minimum detectable effect of shares of `counts` panels at effects (D,), as far as these tell it.

    sd: where the search for the standard deviation begins. Infinite where it is larger than every effect; None where
    the effects do not tell, as where each is found always or never.
    """
    telling = (effects > 0) & (shares > 0) & (shares < 1)  # effects that are found always tell only an upper bound
    if np.unique(effects).size < 2 or not shares.max() > shares.min() or not telling.any():
        return None
    curve = fitted_curve(effects, shares * counts, counts, sd)
    if not curve.at(np.zeros(1))[0] < wanted:  # a test that rejects nearly always finds no effect
        return None
    found = detectable(curve, wanted)
    if found.value > effects.max():
        return Detectable(wanted, np.inf, np.inf, np.inf) if shares.max() < wanted else None
    if found.value < effects.min() or not found.value / WIDEST < found.lower < found.upper < WIDEST * found.value:
        return None
    return found


def _slopes(effects: Floats, at: Floats) -> Floats:
    """Derivatives of P by (log s, c), (D, 2)."""
    columns = []
    for step in STEP * np.eye(2):
        ends = [power(effects, float(np.exp(x[0])), float(x[1])) for x in (at + step, at - step)]
        columns.append((ends[0] - ends[1]) / (2 * STEP))
    return np.stack(columns, axis=1)


DRAWS = 2000  # of the bootstrap; its own noise is then 2% of the MCSE
TestsOfCell = Callable[[int, Set[str]], Iterator[Mapping[str, Tests]]]
Key = tuple[int, str, int]  # cell, estimator, position of the term
Tail = tuple[int, str]  # null cell, estimator


def null_cell(cell: int, cells: Sequence[Mapping[str, object]], nulls: Set[int]) -> int | None:
    """The cell that differs in one parameter and whose truth is 0; if several, one where that parameter itself is 0.

    nulls: the cells whose truth is 0.
    """
    near = []
    for other, parameters in enumerate(cells):
        changed = [name for name in parameters if parameters[name] != cells[cell].get(name)]
        if other != cell and len(changed) == 1 and other in nulls:
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
    asked: dict[int, dict[Tail, list[int]]] = {}  # by cell the terms whose power is asked, by the tail that gives it
    for (cell, name, term), null in sorted(nulls.items()):
        asked.setdefault(cell, {}).setdefault((null, name), []).append(term)
        asked.setdefault(null, {}).setdefault((null, name), [])
    critical = {key: tail.critical(alpha) for key, tail in tails.items()}
    values = {key: tail.values for key, tail in tails.items()}

    def count(cell: int) -> tuple[dict[Tail, Exceedances], dict[Tail, Tally]]:
        """How many |t| of a cell reach each value of the tails, and by world their critical values."""
        above = {key: Exceedances(values[key], terms) for key, terms in asked[cell].items() if terms}
        hits = {key: Tally(critical[key].shape, worlds) for key in asked[cell]}
        for piece in tests(cell, {name for _, name in asked[cell]}):
            for key in asked[cell]:
                if key[1] not in piece or not len(piece[key[1]][1]):
                    continue
                statistic, world = piece[key[1]]
                if key in above:
                    above[key].add(statistic)
                if worlds > 1:
                    hits[key].add(statistic >= critical[key], ~np.isnan(statistic), Grouping.of(world))
        return above, hits

    counted = for_each(sorted(asked), count)
    powers: dict[tuple[int, str], Measured] = {}
    for cell, terms in asked.items():
        for key, above in counted[cell][0].items():
            inflations = [variance_inflation(counted[at][1][key]) for at in (key[0], cell)] if worlds > 1 else []
            power = adjusted(tails[key], above, alpha, *inflations)
            chosen = np.zeros(power.value.shape, dtype=bool)  # of other terms the power is what it was before
            chosen[:, terms[key]] = True
            before = powers.get((cell, key[1])) or Measured(*(np.full(power.value.shape, np.nan) for _ in range(3)))
            parts = (np.where(chosen, new, old) for new, old in zip(power, before, strict=True))
            powers[cell, key[1]] = Measured(*parts)
    return powers


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
