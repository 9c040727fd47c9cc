"""One panel's spatial likelihood at a point: scores by observation, information, fourth cumulants.

e = Q B (A y - Z b), A = I - rho W, B = I - lambda W, G = W A^-1, H = W B^-1; one W, so that all of them commute. SAR
and SDM have lambda = 0, SEM and SDEM rho = 0. With f = B A y - e what is fitted, effects included, the score of rho is
[(QGf)'e + e'Ge]/s2 - T tr G, QGf = QBWy - QGe. That of lambda is e'He/s2 - T tr H; a W that is not row-stochastic lets
the time effects d through H, which adds (QHd)'e, QHd = QW(Ay - Zb) - QHe, to it and to the information. Under Lee and
Yu T - 1 stands for T, (N-1)(T-1) for n, Q_N G for G and Q_N H for H (Lee and Yu 2010, JoE 154:165).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from estimators.core import regression as ols
from estimators.spatial.form import SpatialForm
from estimators.spatial.likelihood import Sizes
from estimators.spatial.spectrum import Spectrum, Transform
from sim.arrays import Floats


@dataclass(frozen=True, eq=False, slots=True)
class SpatialScores:
    """Arrays of one panel at its estimate, all demeaned over units and periods.

    e (T, N); z (P, T, N) = QBZ; linear (S, T, N) = QGf and QHd, the latter 0 for a row-stochastic W; multipliers: G and
    H of the transform, (N, N) each, moved: what they make of e, (T, N) each; traces (S,) = tr G, tr H; products (S, S)
    = tr G'H + tr GH of every pair; sigma2; sizes.
    """

    e: Floats
    z: Floats
    linear: Floats
    multipliers: tuple[Floats, ...]
    moved: tuple[Floats, ...]
    traces: Floats
    products: Floats
    sigma2: float
    sizes: Sizes
    form: SpatialForm

    @classmethod
    def at(
        cls, y: Floats, z: Floats, parameters: Floats, form: SpatialForm, spectrum: Spectrum, transform: Transform
    ) -> SpatialScores:
        """From raw y (T, N), Z (P, T, N) and parameters (P + S + 1,): slopes, spatial parameters, sigma2."""
        p, lag = z.shape[0], spectrum.weights.lag
        slopes, spatial = parameters[:p], dict(zip(form.parameters, parameters[p:-1], strict=True))
        rho, lam = spatial.get("rho", 0.0), spatial.get("lambda", 0.0)
        wy = lag(y)
        unexplained = y - rho * wy - np.tensordot(slopes, z, axes=1)
        w_unexplained = lag(unexplained)
        e = demeaned(unexplained - lam * w_unexplained)
        every = {"rho": (rho, wy - lam * lag(wy)), "lambda": (lam, w_unexplained)}
        multipliers = tuple(spectrum.near_multiplier(float(every[name][0])) for name in form.parameters)
        if transform == "lee-yu":
            for g in multipliers:
                g -= g.mean(axis=0)  # Q_N G
        moved = tuple(e @ g.T for g in multipliers)
        linear = [demeaned(every[name][1] - move) for name, move in zip(form.parameters, moved, strict=True)]
        traces, products = _traces_of(np.array(parameters[p:-1]), spectrum, transform)
        return cls(
            e=e,
            z=demeaned(z - lam * lag(z)),
            linear=np.reshape(linear, (len(form.parameters), *y.shape)),
            multipliers=multipliers,
            moved=moved,
            traces=traces,
            products=products,
            sigma2=float(parameters[-1]),
            sizes=Sizes.of(y.shape[1], y.shape[0], transform),
            form=form,
        )

    def information(self) -> Floats:
        """The expected information, (P + S + 1, P + S + 1)."""
        t, s2 = self.sizes.periods, self.sigma2
        z, linear = _flat(self.z), _flat(self.linear)
        spatial = linear @ linear.T / s2 + t * self.products
        return self._assembled(z @ z.T / s2, z @ linear.T / s2, spatial, t * self.traces / s2)

    def excess(self) -> Floats:
        """Omega, what a fourth cumulant other than the normal one adds to the scores' variance (Lee and Yu 2010).

        The cumulant of demeaned residuals is shrunk by c_T c_N, c_K = (1 - 1/K)^4 + (K - 1)/K^4. Third moments do not
        matter: regressors sum to zero over time. Under `direct` it meets T sum G_ii^2, as if effects cost nothing, like
        the information that it goes with: together they leave rho T sum (G_ii - tr G/N)^2 of it. The diagonals of
        Q_T x Q_N G Q_N, which Lee and Yu's form has, sum to tr G - 1/(1 - rho) and would add T/(N (1 - rho)^2) to that;
        terms of this order, to which rho's own bias belongs, are what `direct` neglects.
        """
        periods, units = self.e.shape
        shrunk = np.prod([(1 - 1 / k) ** 4 + (k - 1) / k**4 for k in self.e.shape])
        fourth = np.mean(self.e**4) - 3 * np.mean(self.e**2) ** 2
        free = np.square(self.e).sum() / ((units - 1) * (periods - 1))
        kurtosis = fourth / shrunk / free**2
        within = self.sizes.periods < periods
        f, share = (1 - 1 / periods, 1 - 1 / units) if within else (1.0, 1.0)
        diagonals = np.reshape([np.diagonal(g) for g in self.multipliers], (len(self.multipliers), units))
        p = self.z.shape[0]
        out = np.zeros((p + len(diagonals) + 1,) * 2)
        t = periods * f**2
        out[p:-1, p:-1] = t * diagonals @ diagonals.T
        out[p:-1, -1] = out[-1, p:-1] = t * share * diagonals.sum(axis=1) / (2 * self.sigma2)
        out[-1, -1] = t * units * share**2 / (4 * self.sigma2**2)
        return np.asarray(kurtosis * out)

    def by_observation(self, order: NDArray[np.intp]) -> Floats:
        """Scores of every unit and period, (P + S + 1, T, N); each row sums to zero at the maximum.

        e'Ge is split as a martingale difference along `order`, a permutation of the units: each unit's part is made of
        its own residual and those of the units before it (Kelejian and Prucha 2001).
        """
        periods, units = self.e.shape
        s2, e = self.sigma2, self.e
        slopes = self.z * e / s2
        kept = self.sizes.periods / periods
        place = np.argsort(order)
        later = np.less.outer(place, place)  # [j, i]: j stands before i
        spatial = np.empty_like(self.linear)
        for s, (g, moved) in enumerate(zip(self.multipliers, self.moved, strict=True)):
            own, above = np.diagonal(g), later * g
            before = e @ above + (moved - e * own - e @ above.T)  # sum of (g_ij + g_ji) e_j over the units j before i
            spatial[s] = (self.linear[s] * e + e * (own * e + before) - s2 * kept * own) / s2
        variance = (e**2 - s2 * self.sizes.nobs / (units * periods)) / (2 * s2**2)
        return np.concatenate([slopes, spatial, variance[None]])

    def cluster_meat(self, clusters: NDArray[np.intp]) -> Floats:
        """Variance of the sum of scores that depend on each other within clusters alone, (K, K); clusters (N,) codes.

        e'Ge is split along an order of the clusters as by `by_observation`, and the sums of squares are averaged over
        all orders, so that no order of the units matters. Cluster c has a_c, what is its own, and of each cluster d
        that stands before it q_cd, the pairs of both. An order puts d before c in 1/2 of the cases and two clusters in
        1/3, so that the average is a_c a_c' + (a_c q_c' + q_c a_c') / 2 + q_c q_c' / 3 + sum_d q_cd q_cd' / 6, summed
        over c, with q_c = sum_d q_cd.
        """
        s2, e, kept = self.sigma2, self.e, self.sizes.periods / self.e.shape[0]
        p, together = self.z.shape[0], e.T @ e
        square = np.diagonal(together)
        inside = (clusters[:, None] == np.arange(clusters.max() + 1)).astype(np.float64)
        own = np.empty((self.z.shape[0] + len(self.multipliers) + 1, len(clusters)))
        own[:p] = (self.z * e).sum(axis=1) / s2
        own[-1] = (square - s2 * self.sizes.nobs / len(clusters)) / (2 * s2**2)
        pairs = np.zeros((len(own), inside.shape[1], inside.shape[1]))
        for s, g in enumerate(self.multipliers, p):
            own[s] = (self.linear[s - p] * e).sum(axis=0) / s2 + np.diagonal(g) * (square / s2 - len(e) * kept)
            between = (g + g.T) * together / s2
            np.fill_diagonal(between, 0.0)
            pairs[s] = inside.T @ between @ inside
        sums = own @ inside + np.diagonal(pairs, axis1=1, axis2=2) / 2
        pairs[:, np.arange(inside.shape[1]), np.arange(inside.shape[1])] = 0.0
        before = pairs.sum(axis=2)
        across = sums @ before.T / 2
        flat = pairs.reshape(len(own), -1)
        return np.asarray(sums @ sums.T + across + across.T + before @ before.T / 3 + flat @ flat.T / 6)

    def _assembled(self, slopes: Floats, across: Floats, spatial: Floats, sigma2: Floats) -> Floats:
        """Blocks of slopes, slopes by spatial, spatial, spatial by sigma2 (S,) as one matrix."""
        p = slopes.shape[0]
        out = np.zeros((p + spatial.shape[0] + 1,) * 2)
        out[:p, :p], out[p:-1, p:-1] = slopes, spatial
        out[:p, p:-1], out[p:-1, :p] = across, across.T
        out[p:-1, -1] = out[-1, p:-1] = sigma2
        out[-1, -1] = self.sizes.nobs / (2 * self.sigma2**2)
        return out


def _traces_of(at: Floats, spectrum: Spectrum, transform: Transform) -> tuple[Floats, Floats]:
    """tr G (S,), and tr G'H + tr GH of every pair (S, S), of the transform at spatial parameters (S,)."""
    if not at.size:
        return np.empty(0), np.empty((0, 0))
    own = spectrum.traces(at, transform)
    products = np.diag(own.hh + own.hth)
    if at.size == 2:
        products[0, 1] = products[1, 0] = np.sum(spectrum.joint(at[:1], at[1:], transform))
    return own.h, products


def inverse(matrix: Floats) -> Floats:
    """The inverse of an information matrix (K, K), NaN where it is singular."""
    return ols.invert(matrix[None])[0][0]


def demeaned(x: Floats) -> Floats:
    """Values (..., T, N) without unit and time effects."""
    out = x - x.mean(axis=-2, keepdims=True)
    return np.asarray(out - out.mean(axis=-1, keepdims=True))


def _flat(x: Floats) -> Floats:
    return x.reshape(x.shape[0], x.shape[1] * x.shape[2])
