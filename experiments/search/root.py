"""Where a function that is known with Monte Carlo error crosses zero, with an interval; numbers alone.

A function y(x) is measured at chosen x with a standard error. A bracket is found first with few replications; then
replications go where the root seems to be and a window either side of it, and y is fitted there by weighted least
squares, quadratic in x (local polynomial regression; Fan and Gijbels 1996). The interval is the delta method's:

    Var(root) = c' (X' V^-1 X)^-1 c / y'(root)^2,  c = (1, d, d^2)

with V the squared standard errors of the points, times their chi-squared over its degrees of freedom where that is more
than 1, so that a fit which does not hold widens the interval. Its level is 99%: where a search looks next, and when it
ends, depend on what it has found, which costs an interval some of its level.

A search goes one way from its start, and its answer is the root or, where y has crossed before, the start: what the fit
gives on the other side of the start is moved to the start, which loses the interval none of its level.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from sim.arrays import Floats
from sim.errors import BadInput

WINDOW = 0.4  # change of y from the root to either end of the window
REACH = 1.3  # windows within which points count in a fit
CLEAR = 3.0  # standard errors from which the sign of y is believed
STEPS = 12  # at most, of each stage
GROWTH = 4.0  # at most, of replications from one stage to the next
LEVEL = 0.99  # of the interval of a root
CENTRE = 2  # replications at the root for one at either end of the window
START = 8  # the budget over the most replications that tell on which side of the level the start lies
NEAR = 0.1  # of the first step: a root that is nearer to the origin needs no shorter interval
WIDE = 4.0  # change of y that a first step may take there: one in other units than the dial's says nothing of it


@dataclass(frozen=True, slots=True)
class SearchPoint:
    """y at x with its standard error, from n replications; y is 0 where the level is met.

    apart: how many standard errors y lies from 0, where that is known better than by y / se.
    """

    x: float
    y: float
    se: float
    n: int
    apart: float | None = None

    @property
    def clear(self) -> bool:
        """Whether the sign of y is believed."""
        return abs(self.y) > CLEAR * self.se if self.apart is None else self.apart > CLEAR


MeasureAt = Callable[
    [float, int], SearchPoint
]  # y at x from so many replications; raises BadInput where x is not allowed


@dataclass(frozen=True, slots=True)
class Limits:
    """How a search goes.

    start: where it begins. step: the first step from there, negative to go down. factor: of each step over the one
    before. least, most: where x must lie. whole: whether x is a whole number. first: replications of the bracket's
    points. budget: replications in all. precision: half the interval over the distance of the root from `origin`.
    freedom: degrees of freedom of the standard errors.
    """

    start: float
    step: float
    origin: float = 0.0
    factor: float = 4.0
    least: float = -math.inf
    most: float = math.inf
    whole: bool = False
    first: int = 512
    budget: int = 200_000
    precision: float = 0.02
    freedom: float = math.inf


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found.

    state: found; passed (y has crossed at the start already); tied (y is not told from 0 at the start); not reached (no
    crossing up to `value`). value, lower, upper: the root and its interval at LEVEL. rising: whether y rises there.
    points: all that was measured, in order. short: whether the interval is as short as was wanted.
    """

    state: str
    value: float
    lower: float
    upper: float
    rising: bool
    points: tuple[SearchPoint, ...]
    short: bool = True

    @property
    def replications(self) -> int:
        """Replications of all points, each point's largest number once."""
        return sum({point.x: point.n for point in sorted(self.points, key=lambda item: item.n)}.values())


@dataclass(frozen=True, slots=True)
class CurveFit:
    """A local fit: its root, the root's standard error and the slope there."""

    root: float
    se: float
    slope: float


def search(measure: MeasureAt, limits: Limits, sign: int) -> Found:
    """The x at which y crosses zero on the way from `start`, where y has the sign `sign`; 0: whatever it has.

    A start whose sign is not believed is measured again with more replications, unless it has the sign `sign`.
    """
    points = settled(measure, limits, sign)
    begin = points[-1]
    holds = np.sign(begin.y) == sign if sign else begin.clear
    if not holds:
        return _nothing("passed" if begin.clear else "tied", limits.start, points)
    crossed = _bracket(measure, limits, points, sign or int(np.sign(begin.y)))
    if crossed is None:
        return _nothing("not reached", max(points, key=lambda item: abs(item.x - limits.start)).x, points)
    narrow(measure, limits, points, *crossed)
    return _zoom(measure, limits, points)


def settled(measure: MeasureAt, limits: Limits, sign: int) -> list[SearchPoint]:
    """The start, with ever more replications until its sign is `sign` or is believed, or an eighth of the budget is
    spent."""
    n = limits.first
    points = [measure(limits.start, n)]
    while not points[-1].clear and (not sign or np.sign(points[-1].y) != sign):
        n = int(n * GROWTH)
        if n > limits.budget / START:
            break
        points.append(measure(limits.start, n))
    return points


def _nothing(state: str, at: float, points: Sequence[SearchPoint]) -> Found:
    return Found(state, at, math.nan, math.nan, False, tuple(points))


def _bracket(
    measure: MeasureAt, limits: Limits, points: list[SearchPoint], sign: int
) -> tuple[SearchPoint, SearchPoint] | None:
    """Two points between which y crosses; None where it does not, as far as x may go.

    Ever larger steps go away from the start; where x is not allowed, half of what is left, a few times. The last point
    is measured again where y seems to have crossed and few replications cannot say so, as of a power above 99%.
    """
    last, good, step, bad = points[-1], limits.start, limits.step, math.nan
    for _ in range(STEPS):
        x = (good + bad) / 2 if math.isfinite(bad) else limits.start + step
        x = min(max(x, limits.least), limits.most)
        x = float(round(x)) if limits.whole else x
        if x == good:
            break
        try:
            new = measure(x, limits.first)
        except BadInput:
            bad = x
            continue
        points.append(new)
        if np.sign(new.y) == -sign and new.clear:
            return last, new
        last, good, step = new, x, step * limits.factor

    before = next((item for item in reversed(points) if np.sign(item.y) != -sign), None)
    while before is not None and np.sign(last.y) == -sign and last.n * GROWTH <= limits.budget / START:
        last = measure(last.x, int(last.n * GROWTH))
        points.append(last)
        if last.clear:
            return (before, last) if np.sign(last.y) == -sign else None
    return None


def narrow(measure: MeasureAt, limits: Limits, points: list[SearchPoint], a: SearchPoint, b: SearchPoint) -> None:
    """Shrink a bracket by secants and halves until both its ends are near the root, or the last point is.

    An end that noise may have put on the side of the other lies near the root: it is measured again, and that is all.
    """
    if np.sign(a.y) == np.sign(b.y):
        points.append(measure(a.x, int(a.n * GROWTH)))
        return
    for turn in range(STEPS):
        if max(abs(a.y), abs(b.y)) < 2 * WINDOW or abs(points[-1].y) < WINDOW:
            return
        share = a.y / (a.y - b.y) if turn % 2 == 0 and a.y != b.y else 0.5
        x = a.x + (b.x - a.x) * min(max(share, 0.05), 0.95)
        x = float(round(x)) if limits.whole else x
        if x in {a.x, b.x}:
            return
        new = measure(x, limits.first)
        points.append(new)
        a, b = (new, b) if np.sign(new.y) == np.sign(a.y) else (a, new)


def _zoom(measure: MeasureAt, limits: Limits, points: list[SearchPoint]) -> Found:
    """Replications where the root seems to be, until its interval is as short as wanted or the budget is spent."""
    times = float(stdtrit(limits.freedom, (1 + LEVEL) / 2))
    each, spent, half = limits.first, sum(item.n for item in points), math.inf
    fit = guess = _secant(points)
    short = False
    for _ in range(STEPS):
        new: list[SearchPoint] = []
        for x, share in _places(guess, limits):
            with suppress(BadInput):  # x is not allowed, as at an end of a window
                new.append(measure(x, share * each))
        points += new
        spent += sum(item.n for item in new)
        if not new:
            break
        fit = fitted(points, guess.root, WINDOW / abs(guess.slope)) or fit
        half = times * fit.se
        first = min(abs(limits.step), WIDE / abs(fit.slope)) if fit.slope else abs(limits.step)
        aim = limits.precision * max(abs(fit.root - limits.origin), NEAR * first)
        short = half <= aim
        if short or spent >= limits.budget:
            break
        guess = fit if math.isfinite(fit.se) and fit.slope else guess
        need = (half / aim) ** 2 if aim > 0 and math.isfinite(half) else GROWTH
        room = max(limits.budget - spent, 0) // (2 + CENTRE)
        each = max(limits.first, min(int(each * min(max(need, 1.5), GROWTH)), room))
        each = -(-each // limits.first) * limits.first

    # no part of the interval lies before the start; without a fit it is what brackets the root for sure
    ends = fit.root - half, fit.root + half
    if not math.isfinite(half):
        sure = [(a.x, b.x) for a, b in _crossings(item for item in points if item.clear)]
        ends = min(sure, key=lambda pair: pair[1] - pair[0], default=(-math.inf, math.inf))
    keep = max if limits.step > 0 else min
    value, lower, upper = (float(keep(x, limits.start)) for x in (fit.root, *ends))
    if lower == upper == limits.start:
        return _nothing("passed", limits.start, points)
    return Found("found", value, lower, upper, fit.slope > 0, tuple(points), short)


def _crossings(points: Iterable[SearchPoint]) -> list[tuple[SearchPoint, SearchPoint]]:
    """Neighbours between which y changes its sign, the last of each place, in the order of places."""
    ordered = sorted({item.x: item for item in points}.values(), key=lambda item: item.x)
    return [(a, b) for a, b in itertools.pairwise(ordered) if np.sign(a.y) != np.sign(b.y)]


def _secant(points: Sequence[SearchPoint]) -> CurveFit:
    """The root of the line through the two points that bracket it most closely."""
    a, b = min(_crossings(points), key=lambda pair: abs(pair[0].y) + abs(pair[1].y))
    slope = (b.y - a.y) / (b.x - a.x)
    return CurveFit(a.x - a.y / slope, math.inf, slope)


def _places(guess: CurveFit, limits: Limits) -> list[tuple[float, int]]:
    """The root and the ends of its window, inside of what is allowed, each with its share of replications."""
    half = WINDOW / abs(guess.slope)
    if limits.whole:
        half = max(half, 1.0)
    places: dict[float, int] = {}
    for x, share in ((guess.root - half, 1), (guess.root, CENTRE), (guess.root + half, 1)):
        inside = min(max(x, limits.least), limits.most)
        inside = float(round(inside)) if limits.whole else float(f"{inside:.6g}")
        places[inside] = max(places.get(inside, 0), share)
    return list(places.items())


def fitted(points: Sequence[SearchPoint], near: float, half: float) -> CurveFit | None:
    """The local fit to the points within reach of `near`, each x once with its most replications; None where none."""
    best = {item.x: item for item in sorted(points, key=lambda item: item.n)}
    close = [item for item in best.values() if abs(item.x - near) <= REACH * half and item.se > 0]
    if len(close) < 2:
        return None
    scale = max(abs(item.x - near) for item in close) or 1.0
    fit = _polynomial(close, near, scale, min(2, len(close) - 1))
    return _polynomial(close, near, scale, 1) if fit is None and len(close) > 2 else fit


def _polynomial(close: Sequence[SearchPoint], near: float, scale: float, degree: int) -> CurveFit | None:
    """The fit of one degree; None where its root lies outside of what was measured."""
    d, y, se = (np.array(column) for column in zip(*(((p.x - near) / scale, p.y, p.se) for p in close), strict=True))
    x = np.vander(d, degree + 1, increasing=True) / se[:, None]
    covariance = np.linalg.pinv(x.T @ x)
    beta = covariance @ (x.T @ (y / se))
    free = len(close) - degree - 1
    wide = max(1.0, float(np.square(y / se - x @ beta).sum()) / free) if free > 0 else 1.0
    root = _root_of(beta)
    powers = root ** np.arange(degree + 1)
    slope = float(np.arange(1, degree + 1) * beta[1:] @ powers[:-1])
    if not abs(root) <= REACH or slope == 0:
        return None
    se_root = math.sqrt(wide * float(powers @ covariance @ powers)) / abs(slope)
    return CurveFit(near + scale * root, scale * se_root, slope / scale)


def _root_of(beta: Floats) -> float:
    """The real root nearest to zero of a line or parabola; NaN where there is none."""
    c, b, a = (*beta, 0.0)[:3]
    inner = b * b - 4 * a * c
    if inner < 0:
        return math.nan
    under = b + math.copysign(math.sqrt(inner), b)  # the form that loses no digits where the parabola is nearly a line
    return float(-2 * c / under) if under else math.nan
