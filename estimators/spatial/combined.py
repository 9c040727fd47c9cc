"""The concentrated likelihood of lag and error together (SAC), and its maximum by Newton steps in two dimensions.

y = rho W y + X b + effects + u, u = lambda W u + e, one W for both. lnL = -n/2 (ln 2 pi + 1) - n/2 ln(e'e/n)
+ T (ln|I - rho W| + ln|I - lambda W|), b concentrated out (LeSage and Pace 2009, chapter 3; Lee and Yu 2010). The
likelihood may have several maxima, one in each pair of signs of rho and lambda: the search starts in all four.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from estimators.spatial.likelihood import SETTLED, Sizes, solve_symmetric
from estimators.spatial.spectrum import Spectrum, Transform
from sim.arrays import Floats

MOST_STEPS = 60
HALVINGS = 30
APART = 1e-3  # of rho or lambda between two maxima
GRID = (0.15, 0.4, 0.65, 0.9)  # of |rho|, |lambda| as shares of the interval, where starts are looked for


@dataclass(frozen=True, eq=False, slots=True)
class CombinedMaximum:
    """Where the likelihood is largest: rho, lambda, e'e (R,), slopes (R, K), and whether the search settled there.

    gap (R,): how much lower the log-likelihood is at the next best maximum; NaN where there is no other.
    """

    rho: Floats
    lam: Floats
    ssr: Floats
    slopes: Floats
    converged: NDArray[np.bool_]
    gap: Floats


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

    def maximise(self) -> CombinedMaximum:
        """The highest of the maxima that the four starts lead to."""
        model = self if self.gram.shape[-1] > 1 else self.take(np.zeros(2, dtype=np.intp))  # sums are then made alike
        ends = [model._climb(*model._start(signs)) for signs in ((1, 1), (1, -1), (-1, 1), (-1, -1))]
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
        return CombinedMaximum(rho[rows], lam[rows], ssr[rows], slopes[rows], settled[rows], gap[rows])

    def _start(self, signs: tuple[int, int]) -> tuple[Floats, Floats]:
        """The best point of a grid within one pair of signs, each (R,)."""
        radius, rows = self.spectrum.weights.radius, self.gram.shape[-1]
        points = [(signs[0] * a / radius, signs[1] * b / radius) for a in GRID for b in GRID]
        heights = np.stack([self.log_likelihood(np.full(rows, a), np.full(rows, b)) for a, b in points])
        chosen = np.array(points)[heights.argmax(axis=0)]
        return chosen[:, 0], chosen[:, 1]

    def _climb(self, rho: Floats, lam: Floats) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        """Newton steps uphill, halved while they do not rise; each row on its own, frozen once settled."""
        at = np.stack([rho, lam])
        edge = (1.0 - 1e-9) / self.spectrum.weights.radius
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
            still, risen = np.abs(step).max(axis=0) < SETTLED, moved > 0
            converged[pair[still]] = True
            active = active[(~still & risen)[: active.size]]
        inside = (np.abs(at) < edge - 1e-6).all(axis=0)
        return at[0], at[1], converged & inside

    def _halved(self, at: Floats, step: Floats, edge: float) -> Floats:
        """at + step, the step halved until it stays inside and does not fall; at itself when it never does."""
        base = self.log_likelihood(*at)
        share = np.ones(at.shape[1])
        tiny = np.abs(step).max(axis=0) < 1e3 * SETTLED  # differences of the likelihood are then mere rounding
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


def _apply(matrix: Floats, vector: Floats) -> Floats:
    """(A, B, R) by (B, R) -> (A, R)."""
    return np.asarray((matrix * vector).sum(axis=1))
