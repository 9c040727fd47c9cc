"""When a measure is called off by more than its tolerance, over all that a study judges at once, and what that takes.

Nominal value m, tolerance d. A measure departs too much where it lies beyond one of the edges m - d and m + d: tests of
both edges, whose p value is twice the smaller one, and over all judgements of a study Holm's (1979, Scandinavian
Journal of Statistics 6:65) adjustment. It holds where its 95% Monte Carlo interval lies between the edges: both
one-sided tests of non-equivalence reject at 2.5% (Wellek 2010, Testing Statistical Hypotheses of Equivalence and
Noninferiority). All cells of a verdict must hold, so that this part needs no adjustment (Berger 1982, Technometrics
24:295).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

from scipy.special import betainc, ndtr, stdtr, stdtrit

from results.diagnosis.claims import POWER
from results.diagnosis.measures import Z95

FAMILYWISE = 0.05  # chance that a study in which nothing lies beyond its tolerance says "fails" somewhere
ROUNDING = 1e-12  # of shares and of standard errors: an end of an interval this near an edge lies on it
MOST = 1e9  # replications, beyond which nobody goes


@cache
def interval_point(worlds: int) -> float:
    """Monte Carlo errors on either side of a 95% interval: 1.96, or the point of t where worlds are few."""
    return float(stdtrit(worlds - 1, 0.975)) if worlds > 1 else Z95


def within(lower: float, upper: float, tolerance: float) -> bool:
    """Whether an interval of departures lies between the edges, which belong to what is tolerated; not if NaN."""
    return -tolerance - ROUNDING <= lower and upper <= tolerance + ROUNDING


def beyond(lower: float, upper: float, tolerance: float) -> bool:
    """Whether an interval of departures lies wholly beyond an edge."""
    return lower > tolerance + ROUNDING or upper < -tolerance - ROUNDING


def beyond_mean(value: float, mcse: float, worlds: int, tolerance: float) -> float:
    """The p value of a mean's departure against the nearer edge, twice that of one side; 1 between the edges."""
    over = abs(value) - tolerance
    if not over > ROUNDING:
        return 1.0
    return min(1.0, 2 * _tail(over / mcse if mcse > 0 else math.inf, worlds))


def beyond_share(value: float, mcse: float, n: float, worlds: int, low: float, high: float) -> float:
    """The p value of a share against the nearer of the edges low and high, twice that of one side; 1 between them.

    mcse, n: its Monte Carlo error and fits. The error is the one that the edge implies, as much wider than that of
    independent fits as the share's own is; the larger of the p values of t and of the binomial distribution with as
    many fits as the error is worth counts, because a share near 0 or 1 is not normal.
    """
    edge = high if value > high else low
    if low - ROUNDING <= value <= high + ROUNDING or not 0 < edge < 1:
        return 1.0
    fits = min(n, value * (1 - value) / mcse**2) if 0 < value < 1 and mcse > 0 else n
    score = abs(value - edge) * math.sqrt(fits / (edge * (1 - edge)))
    hits = fits * value
    exact = betainc(hits, fits - hits + 1, edge) if value > high else betainc(fits - hits, hits + 1, 1 - edge)
    return min(1.0, 2 * max(_tail(score, worlds), float(exact)))


def _tail(score: float, worlds: int) -> float:
    return float(stdtr(worlds - 1, -score) if worlds > 1 else ndtr(-score))


def fits_needed(nominal: float, tolerance: float, *, share: bool, cells: int = 1, worlds: int = 1,
                at: float | None = None) -> float:  # fmt: skip
    """Independent fits a cell with which all of so many cells are told right in 80% of studies; infinite if never.

    To tell right is an interval between the edges, or beyond the nearer one where the measure really lies there. share:
    whether the measure is one, else a bias in standard errors of the estimator. worlds: behind an interval, whose point
    of t is that of as many. at: what the measure really is in every cell; None: the nominal value.
    """
    real = nominal if at is None else at
    spread = max(_root(real), ROUNDING) if share else 1.0
    edges = [(abs(edge - real), _root(edge) if share else 1.0)
             for edge in (nominal - tolerance, nominal + tolerance) if not share or 0 < edge < 1]  # fmt: skip
    nearest = min(edges, default=(math.inf, 0.0))
    if not nearest[0] > ROUNDING:
        return math.inf
    if abs(real - nominal) > tolerance:
        edges = [nearest]
    point, wanted = interval_point(worlds), POWER ** (1 / cells)

    def chance(n: float) -> float:
        parts = [float(ndtr((far * math.sqrt(n) - point * own) / spread)) for far, own in edges]
        return sum(parts) - (len(parts) - 1)

    return _least(lambda n: chance(n) >= wanted)


def _root(share: float) -> float:
    return math.sqrt(max(share * (1 - share), 0.0))


def _least(enough: Callable[[float], bool]) -> float:
    """The smallest number from 1 on that is enough, up to a thousandth."""
    low, high = 1.0, MOST
    if not enough(high):
        return math.inf
    while high / low > 1.001:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def replications_needed(fits: float, n: float, inflation: float, worlds: int) -> tuple[float, int]:
    """Replications a cell that are worth so many independent fits, and worlds where only more of them help.

    n, inflation: replications so far and the factor by which worlds widen the variance. Fits of one world have the
    correlation r = (inflation - 1) / (n / G - 1) (Kish 1965), so that n replications in G worlds are worth
    n / (1 + (n / G - 1) r), never more than G / r. Where that is too few the replications are infinite, and the worlds
    those in which as many replications a world as now are worth enough; else the worlds are 0.
    """
    a_world = n / worlds
    if worlds == 1 or inflation <= 1 or a_world <= 1 or math.isinf(fits):
        return fits, 0
    r = min((inflation - 1) / (a_world - 1), 1.0)
    if fits * r < worlds:
        return fits * (1 - r) / (1 - fits * r / worlds), 0
    return math.inf, math.ceil(fits * inflation / a_world)


def about(count: float) -> float:
    """A count with two digits, rounded up."""
    unit = 10.0 ** max(math.floor(math.log10(count)) - 1, 0)
    return math.ceil(count / unit - 1e-9) * unit
