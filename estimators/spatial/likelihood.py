"""Concentrated likelihoods of spatial panel models and their maxima, for R panels at once.

SAR and SDM (Elhorst 2014, chapter 3; Lee and Yu 2010): lnL(r) = -n/2 (ln 2 pi + 1) - n/2 ln s2(r) + T ln|I - r W|, with
s2(r) = (a - 2 r b + r^2 c)/n. SEM: the same with s2(l) = e'e(l)/n, quadratic in l through y - l Wy and X - l WX.
Under Lee and Yu n = (N-1)(T-1), T - 1 stands for T, and ln|I - r W| - ln(1 - r) for the log-determinant; with unit
effects alone n = N(T-1) and the log-determinant is W's own, with period effects alone n = (N-1)T and T stays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from estimators.core.tile import TAKEN_OUT, PanelEffects
from estimators.spatial.spectrum import Spectrum, Transform
from sim.arrays import Floats

# Which spatial terms each model of a panel has: the lag of the outcome, of the errors, of the regressors.


Model = Literal["sar", "sem", "sdm", "slx", "sdem", "sac"]


@dataclass(frozen=True, slots=True)
class SpatialForm:
    """y = rho W y + X b (+ WX t) + effects + u, u = lambda W u + e: durbin has t, lag has rho, error has lambda."""

    durbin: bool
    lag: bool
    error: bool

    @property
    def parameters(self) -> tuple[str, ...]:
        """The spatial parameters that are estimated, in the order of the terms."""
        return (*(("rho",) if self.lag else ()), *(("lambda",) if self.error else ()))

    @property
    def effect_kinds(self) -> tuple[str, ...]:
        """Effects that are reported: without lags of outcome and regressors nothing spills over."""
        return ("direct", "indirect", "total") if self.durbin or self.lag else ("direct", "total")

    @property
    def lags(self) -> int:
        """How often W is applied: the error models with further lags need W^2."""
        return 2 if self.error and (self.durbin or self.lag) else 1

    def slopes(self, regressors: int) -> int:
        """How many slopes a number of regressors has."""
        return 2 * regressors if self.durbin else regressors


@lru_cache(maxsize=256)
def targets_of(
    form: SpatialForm, names: tuple[str, ...], parameters: tuple[str, ...] = (), kinds: tuple[str, ...] = ()
) -> tuple[tuple[str, str], ...]:
    """All terms of a model of regressors of these names, with their estimands: slopes, parameters, effects; by default
    the spatial parameters and sigma2, and the effects that are reported. Names may be such that terms repeat."""
    slopes = (*names, *(f"w_{name}" for name in names)) if form.durbin else names
    return (
        *((term, f"beta({term})") for term in slopes),
        *((name, name) for name in parameters or (*form.parameters, "sigma2")),
        *((f"{kind}:{name}", f"{kind}({name})") for kind in kinds or form.effect_kinds for name in names),
    )


FORMS: dict[str, SpatialForm] = {
    "sar": SpatialForm(durbin=False, lag=True, error=False),
    "sem": SpatialForm(durbin=False, lag=False, error=True),
    "sdm": SpatialForm(durbin=True, lag=True, error=False),
    "slx": SpatialForm(durbin=True, lag=False, error=False),
    "sdem": SpatialForm(durbin=True, lag=False, error=True),
    "sac": SpatialForm(durbin=False, lag=True, error=True),
}

Rows = NDArray[np.intp] | slice
Derivatives = Callable[[Floats, Rows], tuple[Floats, Floats]]
Heights = Callable[[Floats, Rows], Floats]

MOST_STEPS = 60
SETTLED = 1e-7  # a Newton step below this leaves an error of the order of its square
GRID = np.array([-0.99, 0.0, 0.8, 0.99])  # shares of the interval where no likelihood may be higher
OF_ERRORS = np.array([-0.99, -0.93, -0.85, -0.7, -0.5, -0.25, 0.0, 0.25, 0.5, 0.7, 0.85, 0.93, 0.99])  # of error models
AT_EDGE = 1e-6  # of the interval: a maximum that is nearer to its end is none
HIGHER = 1e-6  # of a log-likelihood, above which another one is no matter of rounding


@dataclass(frozen=True, slots=True)
class Sizes:
    """Effective numbers of observations and periods of a transform (n, T) or, with both effects, ((N-1)(T-1), T-1)."""

    nobs: int
    periods: int

    @classmethod
    def of(cls, units: int, periods: int, transform: Transform, effects: PanelEffects = "two-way") -> Sizes:
        """Sizes of N units x T periods: unit effects cost a transformed panel a period, period effects a unit."""
        if transform == "lee-yu":
            taken = TAKEN_OUT[effects]
            units, periods = units - ("period" in taken), periods - ("unit" in taken)
        return cls(units * periods, periods)


def determinant(transform: Transform, effects: PanelEffects) -> Transform:
    """Whose log-determinant and traces a likelihood has: Lee and Yu's lack W's unit eigenvalue for period effects."""
    return transform if "period" in TAKEN_OUT[effects] else "direct"


def log_likelihood(ssr: Floats, log_det: Floats, sizes: Sizes) -> Floats:
    """The concentrated log-likelihood at a residual sum of squares, (R,)."""
    n = sizes.nobs
    return np.asarray(-n / 2 * (np.log(2 * np.pi) + 1) - n / 2 * np.log(ssr / n) + sizes.periods * log_det)


Maximum = tuple[Floats, NDArray[np.bool_]]  # where a likelihood is largest, (R,), and whether the search settled there


def maximise(slopes: Derivatives, heights: Heights, rows: int, radius: float, shares: Floats = GRID) -> Maximum:
    """The maximum of f on (-1/radius, 1/radius), each row on its own.

    `slopes(r, rows)` gives f' and f'' of the named rows, `heights(r, rows)` f itself. The search starts at zero, and
    once more where f is higher on a grid, shares of the interval; a row that stays below its grid has not converged.
    """
    edge = (1.0 - 1e-9) / radius
    near = SETTLED / radius
    at, converged = _climb(slopes, np.zeros(rows), np.full(rows, -edge), np.full(rows, edge), near)
    points = np.concatenate([[-edge], shares / radius, [edge]])
    grid = np.stack([heights(point, slice(None)) for point in points[1:-1, None]])
    top = grid.argmax(axis=0)
    missed = np.flatnonzero(shares[top] != 0.0)  # elsewhere the search went uphill from the grid's highest point
    if missed.size:
        missed = missed[grid[top[missed], missed] > heights(at[missed], missed) + HIGHER]
    if missed.size:
        top = top[missed]
        again, settled = _climb(slopes, points[top + 1], points[top], points[top + 2], near, missed)
        at[missed] = again
        converged[missed] = settled & (heights(again, missed) >= grid[top, missed] - HIGHER)
    return at, converged & (np.abs(at) < edge * (1 - AT_EDGE))


def _climb(
    slopes: Derivatives,
    start: Floats,
    low: Floats,
    high: Floats,
    near: float,
    among: NDArray[np.intp] | None = None,
) -> tuple[Floats, NDArray[np.bool_]]:
    """Safeguarded Newton for the zero of f' between low and high, (M,), and whether it settled.

    near: a step that is shorter settles. among (M,): the rows that are looked at, None = all. A row is frozen once
    settled, so that its bits do not depend on the others; a step that is not uphill or leaves the bracket of a sign
    change is replaced by bisection.
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
        settled = np.abs(following - r[active]) < near
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
        found = {}
        for name in (item.name for item in fields(self)):
            part = getattr(self, name)
            if part.shape[-1] > 1:  # an index would leave replications first in memory, and sums in other bits
                part = part[..., rows] if isinstance(rows, slice) else part.take(rows, axis=-1)
            found[name] = part
        return ErrorModel(**found)

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

        return maximise(slopes, heights, self.yy.size, spectrum.weights.radius, OF_ERRORS)


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
    """(A, B, R) by (B, R) -> (A, R)."""
    return np.asarray((matrix * vector).sum(axis=1))


# The concentrated likelihood of lag and error together (SAC), and its maximum by Newton steps in two dimensions.
#
# y = rho W y + X b + effects + u, u = lambda W u + e, one W for both. lnL = -n/2 (ln 2 pi + 1) - n/2 ln(e'e/n) + T
# (ln|I - rho W| + ln|I - lambda W|), b concentrated out (LeSage and Pace 2009, chapter 3; Lee and Yu 2010). The
# likelihood may have several maxima, one in each pair of signs of rho and lambda: the search starts in all four.


HALVINGS = 30
APART = 1e-3  # of rho or lambda between two maxima
GRID_OF_COMBINED = (0.15, 0.4, 0.65, 0.9)  # of |rho|, |lambda| as shares of the interval, where starts are looked for


@dataclass(frozen=True, eq=False, slots=True)
class CombinedModel:
    """Cross products (3 + 2 K, 3 + 2 K, R) of y, Wy, WWy, X, WX, all demeaned, lagged first; replications last."""

    gram: Floats
    spectrum: Spectrum
    sizes: Sizes
    transform: Transform

    @property
    def regressors(self) -> int:
        """K."""
        return (self.gram.shape[0] - 3) // 2

    def take(self, rows: NDArray[np.intp]) -> CombinedModel:
        """The same cross products for some of the panels."""
        return CombinedModel(self.gram.take(rows, axis=-1), self.spectrum, self.sizes, self.transform)

    def fit(self, rho: Floats, lam: Floats) -> tuple[Floats, Floats, Floats]:
        """b (K, R), the coefficients of e in the columns (3 + 2 K, R), and A = X*'X*, X* = Q(X - lambda WX)."""
        k = self.regressors
        x, wx = slice(3, 3 + k), slice(3 + k, None)
        one = np.ones_like(rho)
        y = np.stack([one, -(rho + lam), rho * lam])
        xx, xw, ww = self.gram[x, x], self.gram[x, wx], self.gram[wx, wx]
        a = xx - lam * (xw + xw.swapaxes(0, 1)) + lam**2 * ww
        moment = _apply(self.gram[x, :3], y) - lam * _apply(self.gram[wx, :3], y)
        beta = solve_symmetric(a, moment)
        return beta, np.concatenate([y, -beta, lam * beta]), a

    def log_likelihood(self, rho: Floats, lam: Floats) -> Floats:
        """The concentrated log-likelihood without its constant, (R,); -inf where there is none."""
        _, e, _ = self.fit(rho, lam)
        ssr = (e * _apply(self.gram, e)).sum(axis=0)
        log_det = sum(self.spectrum.slopes(value, self.transform)[0] for value in (rho, lam))
        value = -self.sizes.nobs / 2 * np.log(ssr) + self.sizes.periods * log_det
        return np.where(np.isfinite(value), value, -np.inf)

    def derivatives(self, rho: Floats, lam: Floats) -> tuple[Floats, Floats]:
        """First (2, R) and second (2, 2, R) derivatives of the concentrated log-likelihood (envelope theorem)."""
        k, n, t = self.regressors, self.sizes.nobs, self.sizes.periods
        beta, e, a = self.fit(rho, lam)
        zero, one = np.zeros_like(rho), np.ones_like(rho)
        none = np.zeros_like(beta)
        moved = [  # -de/drho, -de/dlambda
            np.concatenate([np.stack([zero, one, -lam]), none, none]),
            np.concatenate([np.stack([zero, one, -rho]), none, -beta]),
        ]
        at_e, at_moved = _apply(self.gram, e), [_apply(self.gram, v) for v in moved]
        ssr = (e * at_e).sum(axis=0)
        first = [-2 * (v * at_e).sum(axis=0) for v in moved]
        along = [v[3 : 3 + k] - lam * v[3 + k :] for v in at_moved]  # X*'moved
        along[1] = along[1] + at_e[3 + k :]
        solved = [solve_symmetric(a, v) for v in along]
        second = np.empty((2, 2, rho.size))
        for i in range(2):
            for j in range(2):
                both = (moved[i] * at_moved[j]).sum(axis=0) + (at_e[2] if i != j else 0.0)
                second[i, j] = 2 * (both - (along[i] * solved[j]).sum(axis=0))
        traces = [self.spectrum.slopes(value, self.transform) for value in (rho, lam)]
        gradient = np.stack([-n / 2 * first[i] / ssr - t * traces[i][1] for i in range(2)])
        squares = np.stack([[one * other for one in first] for other in first])
        hessian = -n / 2 * (second / ssr - squares / ssr**2)
        for i in range(2):
            hessian[i, i] -= t * traces[i][2]
        return gradient, hessian

    def maximise(self) -> tuple[Floats, Floats, Floats, Floats, NDArray[np.bool_], Floats]:
        """The highest of the maxima that the search finds from the best point of a grid within each pair of signs.

        rho, lambda, e'e (R,), slopes (R, K), whether the search settled there (R,), and how much lower the
        log-likelihood is at the next best maximum, (R,), NaN where there is no other.
        """
        model = self if self.gram.shape[-1] > 1 else self.take(np.zeros(2, dtype=np.intp))  # sums are then made alike
        radius, count, ends = self.spectrum.weights.radius, model.gram.shape[-1], []
        for one, other in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
            points = [(one * a / radius, other * b / radius) for a in GRID_OF_COMBINED for b in GRID_OF_COMBINED]
            grid = np.stack([model.log_likelihood(np.full(count, a), np.full(count, b)) for a, b in points])
            start = np.array(points)[grid.argmax(axis=0)]
            ends.append(model._climb(start[:, 0], start[:, 1]))
        heights = np.stack([model.log_likelihood(rho, lam) for rho, lam, _ in ends])
        best = heights.argmax(axis=0)
        rhos, lams, all_settled = (np.stack(values) for values in zip(*ends, strict=True))
        rho, lam, settled = (values[best, np.arange(best.size)] for values in (rhos, lams, all_settled))
        others = all_settled & (np.maximum(np.abs(rhos - rho), np.abs(lams - lam)) > APART)
        gap = heights.max(axis=0) - np.where(others, heights, -np.inf).max(axis=0)
        rho, lam = (np.where(np.isfinite(heights.max(axis=0)), value, np.nan) for value in (rho, lam))
        beta, e, _ = model.fit(rho, lam)
        ssr = (e * _apply(model.gram, e)).sum(axis=0)
        slopes, gap = np.ascontiguousarray(beta.T), np.where(np.isfinite(gap), gap, np.nan)
        rows = slice(self.gram.shape[-1])
        return rho[rows], lam[rows], ssr[rows], slopes[rows], settled[rows], gap[rows]

    def _climb(self, rho: Floats, lam: Floats) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        """Newton steps uphill, halved while they do not rise; each row on its own, frozen once settled."""
        at = np.stack([rho, lam])
        radius = self.spectrum.weights.radius
        edge = (1.0 - 1e-9) / radius
        converged = np.zeros(rho.size, dtype=bool)
        active = np.arange(rho.size)
        for _ in range(MOST_STEPS):
            if not active.size:
                break
            pair = active if active.size > 1 else np.repeat(active, 2)
            model = self.take(pair)
            gradient, hessian = model.derivatives(*at[:, pair])
            step = _uphill(gradient, hessian)
            following = model._halved(at[:, pair], step, edge)
            moved = np.abs(following - at[:, pair]).max(axis=0)
            at[:, pair] = following
            still, risen = np.abs(step).max(axis=0) < SETTLED / radius, moved > 0
            converged[pair[still]] = True
            active = active[(~still & risen)[: active.size]]
        inside = (np.abs(at) < edge * (1 - AT_EDGE)).all(axis=0)
        return at[0], at[1], converged & inside

    def _halved(self, at: Floats, step: Floats, edge: float) -> Floats:
        """at + step, the step halved until it stays inside and does not fall; at itself when it never does."""
        base = self.log_likelihood(*at)
        share = np.ones(at.shape[1])
        tiny = np.abs(step).max(axis=0) < 1e3 * SETTLED * edge  # differences of the likelihood are then mere rounding
        for _ in range(HALVINGS):
            proposal = at + share * step
            inside = (np.abs(proposal) < edge).all(axis=0)
            safe = np.where(inside, proposal, at)
            accepted = inside & (tiny | (self.log_likelihood(*safe) >= base))
            if accepted.all():
                break
            share = np.where(accepted, share, share / 2)
        return np.where(accepted, at + share * step, at)


def _uphill(gradient: Floats, hessian: Floats) -> Floats:
    """-H^-1 g with H's eigenvalues made negative, (2, R): a Newton step where the likelihood is concave."""
    a, b, d = hessian[0, 0], hessian[0, 1], hessian[1, 1]
    middle, half = (a + d) / 2, np.hypot((a - d) / 2, b)
    angle = np.arctan2(2 * b, a - d) / 2
    cosine, sine = np.cos(angle), np.sin(angle)
    along, across = cosine * gradient[0] + sine * gradient[1], cosine * gradient[1] - sine * gradient[0]
    along, across = along / np.abs(middle + half), across / np.abs(middle - half)
    step = np.stack([cosine * along - sine * across, sine * along + cosine * across])
    return np.where(np.isfinite(step), step, 0.0)
