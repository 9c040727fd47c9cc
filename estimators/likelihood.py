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

from estimators.spectrum import Spectrum, Transform

Floats = NDArray[np.float64]
Slopes = Callable[[Floats, NDArray[np.intp]], tuple[Floats, Floats]]

MOST_STEPS = 60
SETTLED = 1e-7  # a Newton step below this leaves an error of the order of its square


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


def maximise(slopes: Slopes, rows: int, radius: float) -> Maximum:
    """Safeguarded Newton for the zero of f' on (-1/radius, 1/radius), each row on its own.

    `slopes(r, rows)` gives f' and f'' of the named rows. A row is frozen once settled, so that its bits do not depend
    on the others; a step that is not uphill or leaves the bracket of a sign change is replaced by bisection.
    """
    edge = (1.0 - 1e-9) / radius
    low, high = np.full(rows, -edge), np.full(rows, edge)
    r = np.zeros(rows)
    converged = np.zeros(rows, dtype=bool)
    active = np.arange(rows)
    for _ in range(MOST_STEPS):
        if not active.size:
            break
        pair = active if active.size > 1 else np.repeat(active, 2)  # sums over one row would be made in another order
        first, second = (derivative[: active.size] for derivative in slopes(r[pair], pair))
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
    return Maximum(r, converged & (np.abs(r) < edge - 1e-6))


def maximise_lag(a: Floats, b: Floats, c: Floats, spectrum: Spectrum, sizes: Sizes, transform: Transform) -> Maximum:
    """rho of SAR or SDM from a = e0'e0, b = e0'e1, c = e1'e1, residuals of y and Wy on the regressors; all (R,)."""

    def slopes(r: Floats, rows: NDArray[np.intp]) -> tuple[Floats, Floats]:
        _, g, gg = spectrum.slopes(r, transform)
        s = a[rows] - 2 * r * b[rows] + r * r * c[rows]
        half = b[rows] - r * c[rows]
        first = sizes.nobs * half / s - sizes.periods * g
        second = sizes.nobs * (2 * half**2 - c[rows] * s) / s**2 - sizes.periods * gg
        return first, second

    return maximise(slopes, a.size, spectrum.weights.radius)


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

    def take(self, rows: NDArray[np.intp]) -> ErrorModel:
        """The same cross products for some of the panels."""
        parts = {item.name: getattr(self, item.name) for item in fields(self)}
        return ErrorModel(**{key: part if part.shape[-1] == 1 else part[..., rows] for key, part in parts.items()})

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

        def slopes(lam: Floats, rows: NDArray[np.intp]) -> tuple[Floats, Floats]:
            _, g, gg = spectrum.slopes(lam, transform)
            ssr, first, second = (self if rows.size == self.yy.size else self.take(rows)).derivatives(lam)
            ratio = first / ssr
            half = sizes.nobs / 2
            return -half * ratio - sizes.periods * g, -half * (second / ssr - ratio**2) - sizes.periods * gg

        return maximise(slopes, self.yy.size, spectrum.weights.radius)


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
