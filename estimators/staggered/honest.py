"""Bounds on what event-study estimates show when trends may differ (Rambachan and Roth 2023).

Estimates beta (K,) are ordered in time, the first `pre` of them before the reference period, and normal with covariance
sigma; beta = effect + delta with delta the difference in trends, zero at the reference period and no effect before it.
The question is l'effect of the later periods. Two restrictions on delta:

    smoothness(M)              second differences of delta are at most M in size: the shortest interval of fixed length
                               around a linear estimator (FLCI)
    relative magnitudes(Mbar)  first differences after the reference period are at most Mbar times the largest one up to
                               it: the range of values that the conditional test with a least-favourable first stage
                               (C-LF hybrid, Andrews, Roth and Pakes 2023) accepts for some early difference taken as
                               the largest, by the moments in which later periods occur

Their coverage holds for every delta that obeys the restriction, as far as the estimates are normal and sigma is known.
The shortest interval makes the most of noise in a sigma that is estimated from few clusters: with 4 event times before
adoption and 3 from then on, 95% intervals of smoothness(0) cover 57% with 5 treated units, 82% with 10 and 94% with 20,
where those that take trends as parallel cover 86, 89 and 95%. Relative magnitudes cover enough there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal

import numpy as np
from scipy.special import log_ndtr, ndtr, ndtri, ndtri_exp

from sim.arrays import Flags, Floats
from sim.errors import bad, closest, one_of

Restriction = Literal["smoothness", "relative magnitudes"]

SINGULAR = 1e-12  # smallest over largest eigenvalue below which a covariance counts as singular
DOUBLINGS = 60  # before a breakdown value counts as infinite
FIRST_STAGE = 0.1  # share of the hybrid test's size that its least-favourable first stage takes: alpha / 10
CELLS = 2000  # of the grid on which the ends of the accepted set are looked for, before bisection
HALVINGS = 50
CLOSE, SMALLEST = 1e-11, 1e-14  # a step of a secant whose end is exact to rounding; a bracket that rounding cannot part
NODES, NODE_WEIGHTS = np.polynomial.legendre.leggauss(200)
FAR = 10.0  # standard deviations beyond which nothing is integrated
TIED = 1e-10  # relative difference below which two knots of a path have one penalty


@dataclass(frozen=True, eq=False, slots=True)
class Sensitivity:
    """Intervals for l'effect under growing departures from parallel trends.

    original: the interval of estimate +- quantile x se, which takes trends as parallel. lower, upper (B,): ends under
    each bound, NaN where no value is compatible with the restriction. breakdown: the smallest bound whose interval
    covers the null hypothesis; 0 when already the first does, inf when none is found.
    """

    original: tuple[float, float]
    lower: Floats
    upper: Floats
    breakdown: float


@dataclass(frozen=True, eq=False, slots=True)
class BoundsQuestion:
    """Estimates beta (K,), covariance sigma (K, K), how many stand before the reference, and l (post,), checked.

    weights: l; None = the first later period alone. level: of the intervals, 1 - alpha. Raises BadInput for shapes that
    do not fit, a covariance that is not positive definite, and when no later period is asked about.
    """

    beta: Floats
    sigma: Floats
    pre: int
    weights: Floats | None = None
    level: float = 0.95

    def __post_init__(self) -> None:
        k = len(self.beta)
        faults = {
            f"sigma has shape {self.sigma.shape}, beta {self.beta.shape}": self.sigma.shape != (k, k),
            f"pre = {self.pre} of {k} estimates": not 1 <= self.pre < k,
            f"level = {self.level}": not 0.5 < self.level < 1,
        }
        if not any(faults.values()):
            values = np.linalg.eigvalsh(self.sigma) if np.isfinite(self.sigma).all() else np.zeros(1)
            symmetric = np.allclose(self.sigma, self.sigma.T, rtol=1e-8, atol=1e-10 * values[-1])
            faults["sigma is not positive definite"] = not (symmetric and values[0] > SINGULAR * values[-1])
            faults[f"weights have shape {self.later.shape} or are zero"] = (
                self.later.shape != (k - self.pre,) or not self.later.any()
            )
        for fault, present in faults.items():
            if present:
                raise bad(fault, where="honest bounds", remedy="correct it",
                          allowed="beta (K,), sigma (K, K), 1 <= pre < K, weights (K - pre,)")  # fmt: skip

    @property
    def later(self) -> Floats:
        """l, (post,)."""
        if self.weights is not None:
            return np.asarray(self.weights, dtype=np.float64)
        return np.eye(1, len(self.beta) - self.pre)[0]

    @property
    def direction(self) -> Floats:
        """l with zeros for the periods before the reference, (K,)."""
        return np.r_[np.zeros(self.pre), self.later]

    @property
    def original(self) -> tuple[float, float]:
        """The interval that takes trends as parallel."""
        margin = ndtri((1.0 + self.level) / 2.0) * np.sqrt(self.direction @ self.sigma @ self.direction)
        centre = self.direction @ self.beta
        return float(centre - margin), float(centre + margin)


def smoothness_estimator(question: BoundsQuestion, m: float) -> tuple[Floats, float]:
    """The linear estimator whose interval is shortest when slopes change by at most m a period: its weights (K,) of
    beta, and half the length of the interval; raises BadInput.

    Estimators of finite bias carry l on later periods and are zero on linear trends. Written in u_j, the weight of a
    kink j periods before the reference, u_0 is then fixed, the other u are free, the worst bias is m (c + sum |u_j|)
    and the variance is quadratic in u: the minimum of se x quantile(|N(bias / se, 1)|) lies on a lasso path.
    """
    from scipy.optimize import minimize_scalar  # a tenth of a second that most runs do without

    _check_bound(m)
    # u_j = sum_s v_{-s} (s - j)+ over periods -s; inverted, v_{-s} = u_{s-1} - 2 u_s + u_{s+1}. No bias under linear
    # trends means u_0 = sum_t t l_t. So weights are base + change (u_1, ..., u_{pre - 1}), with the bias m x fixed.
    pre, later = question.pre, question.later
    second = np.eye(pre, k=-1) - 2.0 * np.eye(pre) + np.eye(pre, k=1)
    kinks = np.column_stack([np.eye(pre, 1), second[:, : pre - 1]])
    to_weights = kinks[::-1]  # from u_0, ..., to v_{-pre}, ..., v_{-1}
    steps = np.arange(1, len(later) + 1)
    total = float(steps @ later)
    after = np.maximum(steps - steps[:-1, None], 0) @ later  # weight of a kink in each later period but the last
    base = np.r_[to_weights[:, 0] * total, later]
    change = np.vstack([to_weights[:, 1:], np.zeros((len(later), pre - 1))])
    fixed = abs(total) + float(np.abs(after).sum())
    hessian = change.T @ question.sigma @ change
    gradient = change.T @ question.sigma @ base

    def at(u: Floats) -> tuple[Floats, float]:
        weights = base + change @ u
        se = float(np.sqrt(weights @ question.sigma @ weights))
        bias = m * (fixed + float(np.abs(u).sum()))
        return weights, _half_length(bias, se, 1.0 - question.level)

    knots = _lasso_path(hessian, gradient)
    found = [at(knot) for knot in knots]
    for start, end in pairwise(knots):
        length = partial(lambda share, start, end: at(start + share * (end - start))[1], start=start, end=end)
        share = minimize_scalar(length, bounds=(0.0, 1.0), method="bounded", options={"xatol": 1e-10}).x
        found.append(at(start + share * (end - start)))
    return min(found, key=lambda one: one[1])


def smoothness(question: BoundsQuestion, m: float) -> tuple[float, float]:
    """The interval for l'effect when the slope of the difference in trends changes by at most m a period.

    m = 0 extrapolates the linear trend that fits best; a negative m is BadInput.
    """
    weights, half_length = smoothness_estimator(question, m)
    centre = float(weights @ question.beta)
    return centre - half_length, centre + half_length


def relative_magnitudes(question: BoundsQuestion, mbar: float) -> tuple[float, float]:
    """The interval for l'effect when later trends differ by at most mbar times as much a period as the worst early one.

    NaN twice when no effect is compatible with the restriction. Raises BadInput for a negative mbar.
    """
    _check_bound(mbar)
    alpha = 1.0 - question.level
    tests = Vertices.of(question, mbar)
    critical = tests.least_favourable(FIRST_STAGE * alpha)
    start, stop = tests.first_stage(critical)
    grid = np.linspace(start, stop, CELLS + 1) if start <= stop else np.empty(0)
    accepted = np.flatnonzero(tests.accept(grid, alpha, critical))
    if not accepted.size:
        return float("nan"), float("nan")
    ends = []
    for inside, step in ((accepted[0], -1), (accepted[-1], 1)):
        near, far = grid[inside], grid[min(max(inside + step, 0), CELLS)]
        for _ in range(HALVINGS if near != far else 0):
            middle = (near + far) / 2.0
            near, far = (middle, far) if tests.accept(np.array([middle]), alpha, critical)[0] else (near, middle)
        ends.append(float(near))
    return ends[0], ends[1]


@dataclass(frozen=True, eq=False, slots=True)
class Vertices:
    """Moments of the test that l'effect = theta, for each of C candidates D for the largest early first difference.

    D > 0 bounds each later first difference of the trend by Mbar D, which makes 2 post moments; the effects that theta
    leaves free are a linear programme whose dual vertices are known. With w_t the sum of l from t on and s_t+, s_t- the
    moments' standard deviations they are a (l'beta - theta) + b D for the rows (a, b)

        (1, -Mbar sum|w|) / sum_t |w_t| s_t,   (-1, -Mbar sum|w|) / sum_t |w_t| s_t,   (0, -2 Mbar) / (s_t+ + s_t-),

    the first two with s_t of the sign of w_t or of the other; the statistic is the largest of these V = post + 2 (where
    only one w_t is not zero, its third row lies between the first two and changes nothing).
    rows (C, V, 2); point (C, 2) and covariance (C, 2, 2) of (l'beta, D).
    """

    rows: Floats
    point: Floats
    covariance: Floats

    @classmethod
    def of(cls, question: BoundsQuestion, mbar: float) -> Vertices:
        """The candidates: two signs of each of the `pre` differences between neighbours up to the reference period."""
        pre, k = question.pre, len(question.beta)
        early = np.eye(pre, k, k=1) - np.eye(pre, k)
        early[-1, pre] = 0.0  # the reference period has no estimate: it is zero
        largest = np.concatenate([early, -early])  # (C, K)
        change = np.eye(k)[pre:] - np.vstack([np.zeros(k), np.eye(k)[pre:-1]])
        tails = question.later[::-1].cumsum()[::-1]
        moments = [sign * change - mbar * largest[:, None] for sign in (1.0, -1.0)]  # (C, post, K)
        sd = [np.sqrt(((one @ question.sigma) * one).sum(axis=2)) for one in moments]
        rows = np.zeros((len(largest), len(tails) + 2, 2))
        for i, sign in enumerate((1.0, -1.0)):
            scale = (np.abs(tails) * np.where(sign * tails > 0, *sd)).sum(axis=1)
            rows[:, i] = np.array([sign, -mbar * np.abs(tails).sum()]) / scale[:, None]
        rows[:, 2:, 1] = -2.0 * mbar / (sd[0] + sd[1])
        both = np.stack(np.broadcast_arrays(question.direction, largest), axis=1)  # (C, 2, K)
        return cls(rows, both @ question.beta, both @ question.sigma @ both.transpose(0, 2, 1))

    def first_stage(self, critical: Floats) -> tuple[float, float]:
        """Ends of the union of what the least-favourable first stage accepts; the first is larger when nothing is."""
        a = self.rows[:, :, 0]
        rest = (critical[:, None] - self.rows[:, :, 1] * self.point[:, 1:]) / np.where(a == 0.0, 1.0, a)
        start, stop = self.point[:, 0] - rest[:, 0], self.point[:, 0] - rest[:, 1]
        possible = (rest[:, 2:] >= 0.0).all(axis=1) & (start <= stop)
        return float(start[possible].min(initial=np.inf)), float(stop[possible].max(initial=-np.inf))

    def accept(self, theta: Floats, alpha: float, critical: Floats) -> Flags:
        """Whether the hybrid test of some candidate accepts theta, (G,); critical (C,) of the first stage.

        The second stage compares the largest vertex with its quantile given which one it is and what is independent of
        it: a normal truncated to where it stays the largest and below `critical`.
        """
        y = (self.rows @ self.point[:, :, None])[:, None, :, 0] - self.rows[:, None, :, 0] * theta[:, None]  # (C, G, V)
        which = y.argmax(axis=2)[:, :, None]
        largest = np.take_along_axis(y, which, axis=2)
        together = self.rows @ self.covariance @ self.rows.transpose(0, 2, 1)
        with_it = np.take_along_axis(together, which, axis=1)  # (C, G, V)
        variance = np.take_along_axis(with_it, which, axis=2)
        ratio = with_it / variance
        with np.errstate(divide="ignore", invalid="ignore"):
            border = (y - ratio * largest) / (1.0 - ratio)
        other = np.arange(y.shape[2]) != which
        low = np.where(other & (ratio < 1.0), border, -np.inf).max(axis=2)
        high = np.minimum(np.where(other & (ratio > 1.0), border, np.inf).min(axis=2), critical[:, None])
        statistic, sd = largest[:, :, 0], np.sqrt(variance[:, :, 0])
        size = (1.0 - FIRST_STAGE) * alpha / (1.0 - FIRST_STAGE * alpha)
        tail = np.logaddexp(np.log(size) + log_ndtr(-low / sd), np.log1p(-size) + log_ndtr(-high / sd))
        quantile = np.maximum(-sd * ndtri_exp(tail), 0.0)
        return np.asarray(((statistic <= critical[:, None]) & (statistic <= quantile)).any(axis=0))

    def least_favourable(self, size: float) -> Floats:
        """Quantiles 1 - size of the largest vertex when every moment binds, (C,), by integration over D."""
        sd = np.sqrt(self.covariance[:, 1, 1])
        slope = self.covariance[:, 0, 1] / sd  # of l'beta on D / sd
        rest = np.sqrt(np.maximum(self.covariance[:, 0, 0] - slope**2, 1e-300))
        up, down, bound = self.rows[:, 0, 0], -self.rows[:, 1, 0], -self.rows[:, 0, 1] / self.rows[:, 0, 0]
        steepest = np.maximum(-self.rows[:, 2:, 1].min(axis=1), 1e-300)

        def below(limit: Floats) -> Floats:
            """Probability that all vertices are below limit (C,)."""
            width = limit * (1.0 / up + 1.0 / down)
            with np.errstate(over="ignore"):  # what is too far is clipped
                first = np.maximum(-limit / steepest, -width / np.maximum(2.0 * bound, 1e-300)) / sd
            first = np.clip(first, -FAR, 0.0)[:, None]
            z = first + (FAR - first) * (NODES + 1.0) / 2.0
            above, under = (limit / up)[:, None], (limit / down)[:, None]
            shift, centre = (bound * sd)[:, None] * z, slope[:, None] * z
            inside = ndtr((above + shift - centre) / rest[:, None]) - ndtr((-under - shift - centre) / rest[:, None])
            density = np.exp(-np.square(z) / 2.0) / np.sqrt(2.0 * np.pi)
            return np.asarray((inside * density) @ NODE_WEIGHTS * (FAR - first[:, 0]) / 2.0)

        # secants of the logarithm of the tail, which is nearly a parabola, held between bounds that only come closer
        low, high = np.zeros(len(sd)), np.full(len(sd), FAR)
        at = np.full(len(sd), -ndtri(size))
        before, was = at - 1.0, np.full(len(sd), np.nan)
        moving = np.ones(len(sd), dtype=bool)
        for _ in range(2 * HALVINGS):
            now = np.log(np.maximum(1.0 - below(at), 1e-300) / size)
            low, high = np.where(moving & (now > 0.0), at, low), np.where(moving & (now <= 0.0), at, high)
            with np.errstate(divide="ignore", invalid="ignore"):
                step = np.where(np.isnan(was), now / (at + 1.0 / at), now * (at - before) / (was - now))
            inside = (low <= at + step) & (at + step <= high)
            further = np.where(inside, at + step, (low + high) / 2.0)
            before, was, at = at, now, np.where(moving, further, at)
            moving &= ~(inside & (np.abs(step) < CLOSE)) & (high - low > SMALLEST)
            if not moving.any():
                break
        return at


INTERVALS: dict[Restriction, Callable[[BoundsQuestion, float], tuple[float, float]]] = {
    "smoothness": smoothness,
    "relative magnitudes": relative_magnitudes,
}


def sensitivity(question: BoundsQuestion, restriction: Restriction, bounds: Floats, null: float = 0.0) -> Sensitivity:
    """Intervals at each of the bounds (B,), and the breakdown value for the conclusion that l'effect is not `null`."""
    interval = _interval_of(restriction)
    ends = np.array([interval(question, float(bound)) for bound in bounds]).reshape(-1, 2)
    return Sensitivity(question.original, ends[:, 0], ends[:, 1], breakdown(question, restriction, null))


def breakdown(question: BoundsQuestion, restriction: Restriction, null: float = 0.0, tolerance: float = 1e-8) -> float:
    """The smallest M or Mbar that allows for `null`, by bisection; 0 when M = 0 does, inf when none is found.

    Under relative magnitudes the test of `null` itself is asked, which saves the ends of its interval. tolerance:
    relative one of the bisection.
    """
    interval = _interval_of(restriction)

    def covers(bound: float) -> bool:
        if restriction == "relative magnitudes":
            tests, alpha = Vertices.of(question, bound), 1.0 - question.level
            return bool(tests.accept(np.array([null]), alpha, tests.least_favourable(FIRST_STAGE * alpha))[0])
        lower, upper = interval(question, bound)
        return lower <= null <= upper

    if covers(0.0):
        return 0.0
    high = 1.0
    if restriction == "smoothness":
        high = float(np.sqrt(question.direction @ question.sigma @ question.direction)) or 1.0
    for _ in range(DOUBLINGS):
        if covers(high):
            break
        high *= 2.0
    else:
        return float("inf")
    low, close = 0.0, tolerance * high
    while high - low > close:
        middle = (low + high) / 2.0
        low, high = (low, middle) if covers(middle) else (middle, high)
    return high


def _interval_of(restriction: Restriction) -> Callable[[BoundsQuestion, float], tuple[float, float]]:
    """The interval under a restriction; raises BadInput for one that does not exist."""
    if restriction not in INTERVALS:
        raise bad(f"restriction = {restriction!r}", where="honest bounds", allowed=one_of(INTERVALS, restriction),
                  remedy=closest(restriction, INTERVALS))  # fmt: skip
    return INTERVALS[restriction]


def _check_bound(bound: float) -> None:
    if not 0.0 <= bound < float("inf"):
        raise bad(f"bound = {bound}", where="honest bounds", allowed="0 or more, finite", remedy="correct it")


def _lasso_path(hessian: Floats, gradient: Floats) -> list[Floats]:
    """Minimisers of u'Hu/2 + g'u + penalty |u| at the knots of the path, from zero to the unpenalised one.

    Homotopy (Osborne, Presnell and Turlach 2000): between knots the minimiser is linear in the penalty. What breaks its
    conditions below some penalty enters or leaves there; of several at one penalty, as under equal variances, the first
    in order and then the next, which cannot cycle (Murty 1974, Linear Algebra and its Applications 9:19).
    """
    n = len(gradient)
    knots = [np.zeros(n)]
    penalty = float(np.abs(gradient).max(initial=0.0))
    if penalty == 0.0:
        return knots
    active = [int(np.abs(gradient).argmax())]
    signs = -np.sign(gradient)
    while penalty > 0.0:
        inner = hessian[np.ix_(active, active)]
        level, slope = -np.linalg.solve(inner, np.column_stack([gradient[active], signs[active]])).T
        constant = gradient + hessian[:, active] @ level
        linear = hessian[:, active] @ slope
        with np.errstate(divide="ignore", invalid="ignore"):  # where a derivative is the penalty, or minus it
            events = np.stack([constant / (1.0 - linear), -constant / (1.0 + linear), np.zeros(n)])
            events[:2] = np.where(np.stack([linear, -linear]) < 1.0 - TIED, events[:2], 0.0)
            events[:2, active] = 0.0
            falling = signs[active] * slope > TIED * np.abs(slope).max()
            events[2, active] = np.where(falling, -level / slope, 0.0)
        penalty = min(penalty, max(float(events.max()), 0.0))
        knot = np.zeros(n)
        knot[active] = level + penalty * slope
        which = int((events >= penalty * (1.0 - TIED)).any(axis=0).argmax())
        if penalty > 0.0 and which in active:
            active.remove(which)
            knot[which] = 0.0
        elif penalty > 0.0:
            signs[which] = -1.0 if events[0, which] > events[1, which] else 1.0
            active.append(which)
        knots.append(knot)
    return knots


def _half_length(bias: float, se: float, alpha: float) -> float:
    """se times the 1 - alpha quantile of |N(bias / se, 1)|."""
    from scipy.optimize import brentq  # a tenth of a second that most runs do without

    z = float(ndtri(1.0 - alpha))
    if bias > 6.0 * se:  # the other tail is beyond double precision
        return bias + z * se
    t = bias / se if se else 0.0
    high = t + float(ndtri(1.0 - alpha / 2.0)) + 1e-9
    return se * float(brentq(lambda c: ndtr(c - t) - ndtr(-c - t) - 1.0 + alpha, t + z - 1e-9, high, xtol=1e-14))
