"""Concentrated likelihoods of spatial panel models and their maxima, for R panels at once.

SAR and SDM (Elhorst 2014, chapter 3; Lee and Yu 2010): lnL(r) = -n/2 (ln 2 pi + 1) - n/2 ln s2(r) + T ln|I - r W|, with
s2(r) = (a - 2 r b + r^2 c)/n. SEM: the same with s2(l) = e'e(l)/n, quadratic in l through y - l Wy and X - l WX.
Under Lee and Yu n = (N-1)(T-1), T - 1 stands for T, and ln|I - r W| - ln(1 - r) for the log-determinant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from estimators.spectrum import Spectrum, Transform

Floats = NDArray[np.float64]
Slopes = Callable[[Floats, NDArray[np.intp]], tuple[Floats, Floats]]

MOST_STEPS = 60
SETTLED = 1e-9  # a Newton step below this leaves an error of its square


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

    `slopes(r, rows)` gives f' and f'' of the named rows. A row is frozen once settled, so that its bits do not depend on
    the others; a step that is not uphill or leaves the bracket of a sign change is replaced by bisection.
    """
    edge = (1.0 - 1e-9) / radius
    low, high = np.full(rows, -edge), np.full(rows, edge)
    r = np.zeros(rows)
    converged = np.zeros(rows, dtype=bool)
    active = np.arange(rows)
    for _ in range(MOST_STEPS):
        if not active.size:
            break
        first, second = slopes(r[active], active)
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


@dataclass(frozen=True, slots=True)
class ErrorModel:
    """Cross products of a spatial error model at any lambda, from those of X, WX, y, Wy (all demeaned, lagged first).

    xx, xw, ww (1 or R, K, K): X'X, X'WX, (WX)'WX; xy, xwy, wxy, wxwy (R, K); yy, ywy, wyy (R,).
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

    def gram(self, lam: Floats, rows: NDArray[np.intp] | slice = slice(None)) -> Floats:
        """A(l) = X*'X* with X* = Q(X - l WX), (R, K, K)."""
        xx, xw, ww = (m if m.shape[0] == 1 else m[rows] for m in (self.xx, self.xw, self.ww))
        scale = lam[:, None, None]
        return np.asarray(xx - scale * (xw + xw.transpose(0, 2, 1)) + scale**2 * ww)

    def fit(self, lam: Floats, rows: NDArray[np.intp] | slice = slice(None)) -> tuple[Floats, Floats, Floats]:
        """beta (R, K), e'e (R,) and A (R, K, K) at lambda (R,)."""
        moment = self._moment(lam, rows)
        a = self.gram(lam, rows)
        beta = _solve(a, moment)
        s = self.yy[rows] - 2 * lam * self.ywy[rows] + lam**2 * self.wyy[rows] - (moment * beta).sum(axis=1)
        return beta, s, a

    def _moment(self, lam: Floats, rows: NDArray[np.intp] | slice) -> Floats:
        scale = lam[:, None]
        linear = self.xwy[rows] + self.wxy[rows]
        return np.asarray(self.xy[rows] - scale * linear + scale**2 * self.wxwy[rows])

    def maximise(self, spectrum: Spectrum, sizes: Sizes, transform: Transform) -> Maximum:
        """lambda of the spatial error model, (R,)."""

        def slopes(lam: Floats, rows: NDArray[np.intp]) -> tuple[Floats, Floats]:
            _, g, gg = spectrum.slopes(lam, transform)
            beta, s, a = self.fit(lam, rows)
            xw, ww = (m if m.shape[0] == 1 else m[rows] for m in (self.xw, self.ww))
            scale = lam[:, None]
            a_slope = 2 * scale[:, :, None] * ww - (xw + xw.transpose(0, 2, 1))
            moment_slope = 2 * scale * self.wxwy[rows] - (self.xwy[rows] + self.wxy[rows])
            a_slope_beta = np.matmul(a_slope, beta[:, :, None])[:, :, 0]
            ww_beta = np.matmul(ww, beta[:, :, None])[:, :, 0]
            s_slope = (
                2 * (lam * self.wyy[rows] - self.ywy[rows])
                - 2 * (beta * moment_slope).sum(axis=1)
                + (beta * a_slope_beta).sum(axis=1)
            )
            gap = moment_slope - a_slope_beta
            s_curve = (
                2 * self.wyy[rows]
                - 4 * (beta * self.wxwy[rows]).sum(axis=1)
                + 2 * (beta * ww_beta).sum(axis=1)
                - 2 * (gap * _solve(a, gap)).sum(axis=1)
            )
            first = -sizes.nobs / 2 * s_slope / s - sizes.periods * g
            second = -sizes.nobs / 2 * (s_curve / s - (s_slope / s) ** 2) - sizes.periods * gg
            return first, second

        return maximise(slopes, self.yy.size, spectrum.weights.radius)


def _solve(a: Floats, b: Floats) -> Floats:
    """A x = b for stacks of small systems; NaN where A is singular or not finite."""
    if b.shape[1] == 0:
        return b
    try:
        return np.asarray(np.linalg.solve(a, b[:, :, None])[:, :, 0])
    except np.linalg.LinAlgError:  # numpy refuses the whole stack for one singular matrix
        if len(b) == 1:
            return np.full_like(b, np.nan)
        half = len(b) // 2
        return np.concatenate([_solve(a[:half], b[:half]), _solve(a[half:], b[half:])])
