"""Concentrated likelihoods of spatial panel models and their maxima, for R panels at once.

SAR and SDM (Elhorst 2014, chapter 3; Lee and Yu 2010): lnL(r) = -n/2 (ln 2 pi + 1) - n/2 ln s2(r) + T ln|I - r W|, with
s2(r) = (a - 2 r b + r^2 c)/n. SEM: the same with s2(l) = e'e(l)/n, quadratic in l through y - l Wy and X - l WX.
Under Lee and Yu n = (N-1)(T-1), T - 1 stands for T, and ln|I - r W| - ln(1 - r) for the log-determinant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from estimators.spatial.spectrum import Spectrum, Transform
from sim.arrays import Floats

Rows = NDArray[np.intp] | slice
Derivatives = Callable[[Floats, Rows], tuple[Floats, Floats]]
Heights = Callable[[Floats, Rows], Floats]

MOST_STEPS = 60
SETTLED = 1e-7  # a Newton step below this leaves an error of the order of its square
GRID = np.array([-0.99, 0.0, 0.8, 0.99])  # shares of the interval where no likelihood may be higher
HIGHER = 1e-6  # of a log-likelihood, above which another one is no matter of rounding


@dataclass(frozen=True, slots=True)
class Sizes:
    """Effective numbers of observations and periods of a transform (n, T) or ((N-1)(T-1), T-1)."""

    nobs: int
    periods: int

    @classmethod
    def of(cls, units: int, periods: int, transform: Transform) -> Sizes:
        """Sizes of N units x T periods."""
        if transform == "direct":
            return cls(units * periods, periods)
        return cls((units - 1) * (periods - 1), periods - 1)


def log_likelihood(ssr: Floats, log_det: Floats, sizes: Sizes) -> Floats:
    """The concentrated log-likelihood at a residual sum of squares, (R,)."""
    n = sizes.nobs
    return np.asarray(-n / 2 * (np.log(2 * np.pi) + 1) - n / 2 * np.log(ssr / n) + sizes.periods * log_det)


@dataclass(frozen=True, slots=True)
class Maximum:
    """Where the likelihood is largest, (R,), and whether the search settled there."""

    at: Floats
    converged: NDArray[np.bool_]


def maximise(slopes: Derivatives, heights: Heights, rows: int, radius: float) -> Maximum:
    """The maximum of f on (-1/radius, 1/radius), each row on its own.

    `slopes(r, rows)` gives f' and f'' of the named rows, `heights(r, rows)` f itself. The search starts at zero, and
    once more where f is higher on a coarse grid; a row that stays below its grid has not converged.
    """
    edge = (1.0 - 1e-9) / radius
    at, converged = _climb(slopes, np.zeros(rows), np.full(rows, -edge), np.full(rows, edge))
    points = np.concatenate([[-edge], GRID / radius, [edge]])
    grid = np.stack([heights(point, slice(None)) for point in points[1:-1, None]])
    top = grid.argmax(axis=0)
    missed = np.flatnonzero(GRID[top] != 0.0)  # elsewhere the search went uphill from the grid's highest point
    if missed.size:
        missed = missed[grid[top[missed], missed] > heights(at[missed], missed) + HIGHER]
    if missed.size:
        top = top[missed]
        again, settled = _climb(slopes, points[top + 1], points[top], points[top + 2], missed)
        at[missed] = again
        converged[missed] = settled & (heights(again, missed) >= grid[top, missed] - HIGHER)
    return Maximum(at, converged & (np.abs(at) < edge - 1e-6))


def _climb(
    slopes: Derivatives, start: Floats, low: Floats, high: Floats, among: NDArray[np.intp] | None = None
) -> tuple[Floats, NDArray[np.bool_]]:
    """Safeguarded Newton for the zero of f' between low and high, (M,), and whether it settled.

    among (M,): the rows that are looked at, None = all. A row is frozen once settled, so that its bits do not depend on
    the others; a step that is not uphill or leaves the bracket of a sign change is replaced by bisection.
    """
    r, rows = start.copy(), start.size
    converged = np.zeros(rows, dtype=bool)
    active = np.arange(rows)
    for _ in range(MOST_STEPS):
        if not active.size:
            break
        pair = active if active.size > 1 else np.repeat(active, 2)  # sums over one row would be made in another order
        if among is not None:
            named: Rows = among[pair]
        else:
            named = slice(None) if active.size == rows > 1 else pair
        first, second = (derivative[: active.size] for derivative in slopes(r[pair], named))
        rising = first > 0
        low[active] = np.where(rising, r[active], low[active])
        high[active] = np.where(rising, high[active], r[active])
        with np.errstate(divide="ignore", invalid="ignore"):
            proposal = r[active] - first / second
        middle = (low[active] + high[active]) / 2
        sound = (second < 0) & (proposal > low[active]) & (proposal < high[active])
        following = np.where(sound, proposal, middle)
        settled = np.abs(following - r[active]) < SETTLED
        r[active] = following
        converged[active[settled]] = True
        lost = ~np.isfinite(first)
        r[active[lost]] = np.nan
        active = active[~settled & ~lost]
    return r, converged


def maximise_lag(a: Floats, b: Floats, c: Floats, spectrum: Spectrum, sizes: Sizes, transform: Transform) -> Maximum:
    """rho of SAR or SDM from a = e0'e0, b = e0'e1, c = e1'e1, residuals of y and Wy on the regressors; all (R,)."""

    def slopes(r: Floats, rows: Rows) -> tuple[Floats, Floats]:
        _, g, gg = spectrum.slopes(r, transform)
        s = a[rows] - 2 * r * b[rows] + r * r * c[rows]
        half = b[rows] - r * c[rows]
        first = sizes.nobs * half / s - sizes.periods * g
        second = sizes.nobs * (2 * half**2 - c[rows] * s) / s**2 - sizes.periods * gg
        return first, second

    def heights(r: Floats, rows: Rows) -> Floats:
        ssr = a[rows] - 2 * r * b[rows] + r * r * c[rows]
        return log_likelihood(ssr, spectrum.slopes(r, transform)[0], sizes)

    return maximise(slopes, heights, a.size, spectrum.weights.radius)


@dataclass(frozen=True, eq=False, slots=True)
class ErrorModel:
    """Cross products of a spatial error model at any lambda, from those of X, WX, y, Wy (all demeaned, lagged first).

    Replications come last, so that small systems are solved by long vector operations: xx, xw, ww (K, K, 1 or R):
    X'X, X'WX, (WX)'WX; xy, xwy, wxy, wxwy (K, R); yy, ywy, wyy (R,).
    """

    xx: Floats
    xw: Floats
    ww: Floats
    xy: Floats
    xwy: Floats
    wxy: Floats
    wxwy: Floats
    yy: Floats
    ywy: Floats
    wyy: Floats

    def take(self, rows: Rows) -> ErrorModel:
        """The same cross products for some of the panels."""

        def taken(part: Floats) -> Floats:  # an index would leave replications first in memory, and sums in other bits
            shared = part.shape[-1] == 1
            return part if shared else part[..., rows] if isinstance(rows, slice) else part.take(rows, axis=-1)

        return ErrorModel(**{item.name: taken(getattr(self, item.name)) for item in fields(self)})

    def fit(self, lam: Floats) -> tuple[Floats, Floats, Floats]:
        """beta (K, R), e'e (R,) and A = X*'X*, X* = Q(X - l WX), (K, K, R) at lambda (R,)."""
        a = self.xx - lam * (self.xw + self.xw.swapaxes(0, 1)) + lam**2 * self.ww
        moment = self.xy - lam * (self.xwy + self.wxy) + lam**2 * self.wxwy
        beta = solve_symmetric(a, moment)
        return beta, self.yy - 2 * lam * self.ywy + lam**2 * self.wyy - (moment * beta).sum(axis=0), a

    def derivatives(self, lam: Floats) -> tuple[Floats, Floats, Floats]:
        """e'e and its first two derivatives by lambda, beta concentrated out (envelope theorem), each (R,)."""
        beta, ssr, a = self.fit(lam)
        a_slope_beta = _apply(2 * lam * self.ww - (self.xw + self.xw.swapaxes(0, 1)), beta)
        moment_slope = 2 * lam * self.wxwy - (self.xwy + self.wxy)
        gap = moment_slope - a_slope_beta
        first = 2 * (lam * self.wyy - self.ywy) - (beta * (moment_slope + gap)).sum(axis=0)
        second = 2 * self.wyy - (4 * beta * self.wxwy - 2 * beta * _apply(self.ww, beta)).sum(axis=0)
        return ssr, first, second - 2 * (gap * solve_symmetric(a, gap)).sum(axis=0)

    def maximise(self, spectrum: Spectrum, sizes: Sizes, transform: Transform) -> Maximum:
        """lambda of the spatial error model, (R,)."""

        def slopes(lam: Floats, rows: Rows) -> tuple[Floats, Floats]:
            _, g, gg = spectrum.slopes(lam, transform)
            ssr, first, second = self.take(rows).derivatives(lam)
            ratio = first / ssr
            half = sizes.nobs / 2
            return -half * ratio - sizes.periods * g, -half * (second / ssr - ratio**2) - sizes.periods * gg

        def heights(lam: Floats, rows: Rows) -> Floats:
            return log_likelihood(self.take(rows).fit(lam)[1], spectrum.slopes(lam, transform)[0], sizes)

        return maximise(slopes, heights, self.yy.size, spectrum.weights.radius)


def solve_symmetric(a: Floats, b: Floats) -> Floats:
    """A x = b for positive definite systems, A (K, K, R), b (K, R): elimination without pivots, R at a time.

    A singular system gives infinite or NaN values, not an error.
    """
    a, x = np.array(a), np.array(b)
    k = x.shape[0]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for j in range(k):
            for i in range(j + 1, k):
                factor = a[i, j] / a[j, j]
                a[i, j + 1 :] -= factor * a[j, j + 1 :]
                x[i] -= factor * x[j]
        for i in range(k - 1, -1, -1):
            for j in range(i + 1, k):
                x[i] -= a[i, j] * x[j]
            x[i] /= a[i, i]
    return x


def _apply(matrix: Floats, vector: Floats) -> Floats:
    """(K, K, R) by (K, R) -> (K, R)."""
    return (matrix * vector).sum(axis=1)
