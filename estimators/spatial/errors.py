"""Covariances of spatial panel estimates other than the inverse information; all but hessian one panel at a time.

hessian: the inverse of the observed Hessian. qmle: I^-1 (I + Omega) I^-1 for errors that are not normal. cluster:unit,
cluster:ATTRIBUTE, driscoll-kraay, conley:KM: I^-1 M I^-1 with M made of the scores of every unit and period, those of
rho and lambda split as martingale differences along units (Kelejian and Prucha 2001), clusters kept together. Without
that split e'Ge is forgotten, and errors of rho are too small even when all is independent. No small-sample factor, but
in SLX, which is least squares: hc1 n/(n - k), clusters G/(G - 1) (n - 1)/(n - k), k as in `TwoWayDID`. Errors that
depend on each other across clusters move rho itself, and so does heteroskedasticity between units (Lin and Lee 2010):
its interval is then about a pseudo-true value. Driscoll and Kraay's errors need many periods: with ten of them a 95%
interval of rho covers .81. Kernels and lags are those of `covariances`; a Conley meat with negative eigenvalues, in
units of the scores' root sums of squares, has them set to zero, and the statistic floored:ERROR says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from estimators.core import regression as ols
from estimators.core.tile import TAKEN_OUT, PanelEffects, demeaned
from estimators.linear.covariances import (
    absent_before,
    bartlett_lag,
    bartlett_sum,
    cancelled,
    check_periods,
    check_two_clusters,
    conley_sum,
    floor_eigenvalues,
    nearness,
    outer,
)
from estimators.spatial.cross_products import SpatialPlan, SpatialRegression, lagged_gram
from estimators.spatial.likelihood import Sizes, SpatialForm, determinant
from estimators.spatial.spectrum import Spectrum, Transform
from sim.arrays import Flags, Floats

# One panel's spatial likelihood at a point: scores by observation, information, fourth cumulants.
#
# e = Q B (A y - Z b), A = I - rho W, B = I - lambda W, G = W A^-1, H = W B^-1; one W, so that all of them commute.
# SAR and SDM have lambda = 0, SEM and SDEM rho = 0. With f = B A y - e what is fitted, effects included, the score
# of rho is [(QGf)'e + e'Ge]/s2 - T tr G, QGf = QBWy - QGe. That of lambda is e'He/s2 - T tr H; a W that is not
# row-stochastic lets the time effects d through H, which adds (QHd)'e, QHd = QW(Ay - Zb) - QHe, to it and to the
# information. Under Lee and Yu T - 1 stands for T, (N-1)(T-1) for n, Q_N G for G and Q_N H for H (Lee and Yu 2010,
# JoE 154:165).


@dataclass(frozen=True, eq=False, slots=True)
class SpatialScores:
    """Arrays of one panel at its estimate, all without the effects.

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
    effects: PanelEffects

    @classmethod
    def of_panel(cls, model: SpatialRegression, row: int, parameters: Floats) -> SpatialScores:
        """Of one of the panels; parameters (P + S + 1,): slopes, spatial parameters, sigma2."""
        y, x = model.raw
        return cls.at(y[row], x[row], parameters, model.form, model.plan.spectrum, model.transform, model.effects)

    @classmethod
    def at(
        cls, y: Floats, z: Floats, parameters: Floats, form: SpatialForm, spectrum: Spectrum, transform: Transform,
        effects: PanelEffects = "two-way",
    ) -> SpatialScores:  # fmt: skip
        """From raw y (T, N), Z (P, T, N) and parameters."""
        p, lag = z.shape[0], spectrum.weights.lag
        slopes, spatial = parameters[:p], dict(zip(form.parameters, parameters[p:-1], strict=True))
        rho, lam = spatial.get("rho", 0.0), spatial.get("lambda", 0.0)
        wy = lag(y)
        unexplained = y - rho * wy - np.tensordot(slopes, z, axes=1)
        w_unexplained = lag(unexplained)
        e = demeaned(unexplained - lam * w_unexplained, effects)
        every = {"rho": (rho, wy - lam * lag(wy)), "lambda": (lam, w_unexplained)}
        multipliers = tuple(spectrum.near_multiplier(float(every[name][0])) for name in form.parameters)
        of_determinant, at = determinant(transform, effects), np.array(parameters[p:-1])
        if of_determinant == "lee-yu":
            for g in multipliers:
                g -= g.mean(axis=0)  # Q_N G
        moved = tuple(e @ g.T for g in multipliers)
        linear = [demeaned(every[name][1] - move, effects)
                  for name, move in zip(form.parameters, moved, strict=True)]  # fmt: skip
        traces, products = np.empty(0), np.empty((0, 0))
        if at.size:
            own = spectrum.traces(at, of_determinant)
            traces, products = own.h, np.diag(own.hh + own.hth)
        if at.size == 2:
            products[0, 1] = products[1, 0] = np.sum(spectrum.joint(at[:1], at[1:], of_determinant))
        return cls(
            e=e,
            z=demeaned(z - lam * lag(z), effects),
            linear=np.reshape(linear, (len(form.parameters), *y.shape)),
            multipliers=multipliers,
            moved=moved,
            traces=traces,
            products=products,
            sigma2=float(parameters[-1]),
            sizes=Sizes.of(y.shape[1], y.shape[0], transform, effects),
            form=form,
            effects=effects,
        )

    def information(self) -> Floats:
        """The expected information, (P + S + 1, P + S + 1)."""
        t, s2, p = self.sizes.periods, self.sigma2, self.z.shape[0]
        z, linear = ols.flat(self.z), ols.flat(self.linear)
        out = np.zeros((p + linear.shape[0] + 1,) * 2)
        out[:p, :p] = z @ z.T / s2
        out[p:-1, p:-1] = linear @ linear.T / s2 + t * self.products
        across = z @ linear.T / s2
        out[:p, p:-1], out[p:-1, :p] = across, across.T
        out[p:-1, -1] = out[-1, p:-1] = t * self.traces / s2
        out[-1, -1] = self.sizes.nobs / (2 * s2**2)
        return out

    def excess(self) -> Floats:
        """Omega, what a fourth cumulant other than the normal one adds to the scores' variance (Lee and Yu 2010).

        The cumulant of demeaned residuals is shrunk by c_T c_N, c_K = (1 - 1/K)^4 + (K - 1)/K^4. Third moments do not
        matter with unit effects: regressors sum to zero over time; without them see `_skewness`. Under `direct` it
        meets T sum G_ii^2, as if effects cost nothing, like the information that it goes with: together they leave rho
        T sum (G_ii - tr G/N)^2 of it. The diagonals of Q_T x Q_N G Q_N, which Lee and Yu's form has, sum to
        tr G - 1/(1 - rho) and would add T/(N (1 - rho)^2) to that; terms of this order, to which rho's own bias
        belongs, are what `direct` neglects.
        """
        periods, units = self.e.shape
        shrunk = np.prod([(1 - 1 / k) ** 4 + (k - 1) / k**4 for k in self._means])
        fourth = np.mean(self.e**4) - 3 * np.mean(self.e**2) ** 2
        free = np.square(self.e).sum() / self._free
        kurtosis = fourth / shrunk / free**2
        f = 1 - 1 / periods if self.sizes.periods < periods else 1.0
        share = 1 - 1 / units if self.sizes.nobs < units * self.sizes.periods else 1.0
        diagonals = np.reshape([np.diagonal(g) for g in self.multipliers], (len(self.multipliers), units))
        p = self.z.shape[0]
        out = np.zeros((p + len(diagonals) + 1,) * 2)
        t = periods * f**2
        out[p:-1, p:-1] = t * diagonals @ diagonals.T
        out[p:-1, -1] = out[-1, p:-1] = t * share * diagonals.sum(axis=1) / (2 * self.sigma2)
        out[-1, -1] = t * units * share**2 / (4 * self.sigma2**2)
        return np.asarray(kurtosis * out) if "unit" in TAKEN_OUT[self.effects] else kurtosis * out + self._skewness()

    @property
    def _means(self) -> tuple[int, ...]:
        """Of how many values each mean is made that e is around: periods of a unit, units of a period, or all."""
        (periods, units), taken = self.e.shape, TAKEN_OUT[self.effects]
        return tuple(k for k, name in ((periods, "unit"), (units, "period")) if name in taken) or (periods * units,)

    @property
    def _free(self) -> int:
        """Degrees of freedom that the effects leave."""
        (periods, units), taken = self.e.shape, TAKEN_OUT[self.effects]
        return (periods - ("unit" in taken)) * (units - ("period" in taken)) - (not taken)

    def _skewness(self) -> Floats:
        """What the third moment mu3 adds to Omega: regressors that do not sum to zero over time meet diag(G).

        mu3/s2^2 times sum_it z_it G_ii for slopes by rho, sum_it (QGf)_it G_ii twice for rho itself (Lee and Yu 2010).
        """
        third = np.mean(self.e**3) / np.prod([(1 - 1 / k) * (1 - 2 / k) for k in self._means])
        p, diagonals = self.z.shape[0], np.reshape([np.diagonal(g) for g in self.multipliers], (-1, self.e.shape[1]))
        out = np.zeros((p + len(diagonals) + 1,) * 2)
        across = self.z.sum(axis=1) @ diagonals.T
        out[:p, p:-1], out[p:-1, :p] = across, across.T
        both = self.linear.sum(axis=1) @ diagonals.T
        out[p:-1, p:-1] = both + both.T
        return np.asarray(third / self.sigma2**2 * out)

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

    def by_cluster(self, clusters: NDArray[np.intp]) -> tuple[Floats, Floats, Floats]:
        """What clusters, (N,) codes, have of scores that depend on each other within them alone: a, q and all q_cd.

        e'Ge is split along an order of the clusters as by `by_observation`, and the sums of squares are averaged over
        all orders, so that no order of the units matters. Cluster c has a_c, what is its own, and of each cluster d
        that stands before it q_cd, the pairs of both. An order puts d before c in 1/2 of the cases and two clusters in
        1/3, so that the average is a_c a_c' + (a_c q_c' + q_c a_c') / 2 + q_c q_c' / 3 + sum_d q_cd q_cd' / 6, summed
        over c, with q_c = sum_d q_cd. Returned are (K, C), (K, C) and (K, C C).
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
        return sums, pairs.sum(axis=2), pairs.reshape(len(own), -1)

    def cancelled(self, clusters: NDArray[np.intp]) -> Flags:
        """Whether a slope's errors within clusters sum to nothing, as where a treatment is the same in all of few."""
        flat = self.z.reshape(len(self.z), -1)
        psi = (ols.invert((flat @ flat.T)[None])[0][0] @ flat).reshape(self.z.shape)
        u, alike = psi * self.e, np.square(psi).sum(axis=(1, 2)) * np.square(self.e).mean()
        inside = clusters[:, None] == np.arange(clusters.max() + 1)
        return cancelled(np.square(u.sum(axis=1) @ inside).sum(axis=1), u, alike)


# The observed Hessian of a spatial likelihood from cross products, for all panels of a batch at once.
#
# With A = I - rho W, B = I - lambda W, e = QB(Ay - Zb) and Z* = QBZ, minus the Hessian times s2 has Z*'Z* for the
# slopes; Z*'m_s, and (QWZ)'e more for lambda, for slopes by spatial parameters; m_s'm_u for these, with s2 T tr G^2
# (s2 T tr H^2) more on the diagonal and (QWWy)'e more for rho by lambda; m_s'e / s2 for them by s2; n / (2 s2) for
# s2. m = -de by the parameter: QBWy for rho, QW(Ay - Zb) for lambda. All are linear in y, X and their lags (Lee and
# Yu 2010, JoE 154:165).


def observed_information(model: SpatialRegression, parameters: Floats) -> Floats:
    """Minus the Hessian at slopes, spatial parameters, sigma2 (R, K) -> (R, K, K).

    Combinations of y, Wy ... X, WX ... are coefficients (..., M), y once and X with its columns an order.
    """
    form, sizes, gram = model.form, model.sizes, lagged_gram(model)
    p, s2, orders = model.slopes, parameters[:, -1, None, None], form.lags + 1
    spatial = dict(zip(form.parameters, parameters.T[p:-1, :, None, None], strict=True))
    rho, lam = (spatial.get(name, np.zeros_like(s2)) for name in ("rho", "lambda"))
    columns, k = np.eye(gram.shape[-1])[None], gram.shape[-1] // orders - 1

    def lag(v: Floats) -> Floats:
        """W times a combination that has no columns of the highest order."""
        out = np.zeros_like(v)
        out[..., 1:orders] = v[..., : orders - 1]
        out[..., orders + k :] = v[..., orders : v.shape[-1] - k]
        return out

    def filtered(v: Floats) -> Floats:
        return v - lam * lag(v) if form.error else v

    def inner(u: Floats, v: Floats) -> Floats:
        return np.asarray(np.matmul(np.matmul(u, gram), v.swapaxes(1, 2)))

    y, z = columns[:, :1], columns[:, orders : orders + p]
    wy = lag(y)
    unexplained = y - rho * wy - np.matmul(parameters[:, None, :p], z)
    e = filtered(unexplained)
    moved = {"rho": filtered(wy) + np.zeros_like(e), "lambda": lag(unexplained)}
    by_spatial = np.concatenate([e[:, :0], *(moved[name] for name in form.parameters)], axis=1)
    own = filtered(z)

    out = np.zeros((len(parameters), *2 * (parameters.shape[1],)))
    slopes, both, last = slice(0, p), slice(p, -1), -1
    out[:, slopes, slopes] = inner(own, own) / s2
    across, square = inner(own, by_spatial), inner(by_spatial, by_spatial)
    if form.error:
        across[:, :, -1:] += inner(lag(z), e)
    if form.error and form.lag:
        square += inner(lag(wy), e) * (1.0 - np.eye(2))
    out[:, slopes, both] = across / s2
    out[:, both, slopes] = out[:, slopes, both].swapaxes(1, 2)
    out[:, both, both] = square / s2
    for at, name in enumerate(form.parameters, start=p):
        out[:, at, at] += sizes.periods * model.plan.spectrum.slopes(spatial[name][:, 0, 0], model.determinant)[2]
    out[:, both, last] = out[:, last, both] = (inner(by_spatial, e) / s2**2)[:, :, 0]
    out[:, last, last] = sizes.nobs / (2 * s2[:, 0, 0] ** 2)
    return out


CONLEY = "conley:"


def independent_sums(error: str, plan: SpatialPlan) -> float:
    """How many sums of scores a covariance is made of: clusters, periods under Driscoll and Kraay; else infinite."""
    if error == "driscoll-kraay":
        return plan.periods
    return Kernel.of(error, plan).groups or np.inf if error.startswith("cluster:") else np.inf


def needs_scores(errors: tuple[str, ...]) -> bool:
    """Whether an error type is made of each panel's own scores, and not of cross products alone."""
    return not {"information", "hessian"}.issuperset(errors)


def covariances(errors: tuple[str, ...], parameters: Floats, model: SpatialRegression) -> tuple[Floats, Flags, Flags]:
    """Every error type but information at the estimate, parameters (R, K): slopes, spatial parameters, sigma2.

    Covariances of the parameters (R, E, K, K), NaN where none; whether floored, (R, E); whether a slope's scores cancel
    within clusters, (R, E, P), which leaves it an error of rounding.
    """
    rows, size = parameters.shape
    kernels = {error: Kernel.of(error, model.plan) for error in errors if error not in {"hessian", "qmle", "hc1"}}
    matrices = np.full((rows, len(errors), size, size), np.nan)
    floored = np.zeros((rows, len(errors)), dtype=bool)
    nothing = np.zeros((rows, len(errors), size - len(model.form.parameters) - 1), dtype=bool)
    if "hessian" in errors:
        information = observed_information(model, parameters)
        matrices[:, errors.index("hessian")] = ols.definite_inverse(information)  # NaN where no maximum is
    if not needs_scores(errors):
        return matrices, floored, nothing
    for row in np.flatnonzero(np.isfinite(parameters).all(axis=1)):
        scores = SpatialScores.of_panel(model, int(row), parameters[row])
        bread = ols.invert(scores.information()[None])[0][0]
        for e, error in enumerate(errors):
            kernel = kernels.get(error)
            if error == "hessian":
                continue
            if error == "qmle":
                matrices[row, e] = bread + bread @ scores.excess() @ bread
                continue
            if kernel is None:  # of least squares, whose scores have no e'Ge
                meat = outer(scores.by_observation(np.arange(scores.e.shape[1]))[None])[0]
            else:
                meat, floored[row, e] = kernel.meat(scores)
            matrices[row, e] = _factor(error, scores, kernel) * (bread @ meat @ bread)
            if kernel is not None and kernel.clusters is not None:
                nothing[row, e] = scores.cancelled(kernel.clusters)
    return matrices, floored, nothing


def cluster_influence(error: str, parameters: Floats, model: SpatialRegression) -> Floats:
    """What clusters, and pairs of them, add to the errors of the first panel's parameters (K,), (K, 2 C + C C).

    The sums of its products are the covariance under a clustered error type: with a and q as in `by_cluster` those of
    a + q/2, q/sqrt(12) and q_cd/sqrt(6) are its four summands. Raises BadInput for one cluster.
    """
    kernel, scores = Kernel.of(error, model.plan), SpatialScores.of_panel(model, 0, parameters)
    assert kernel.clusters is not None
    sums, before, pairs = scores.by_cluster(kernel.clusters)
    whole = np.concatenate([sums + before / 2, before / np.sqrt(12), pairs / np.sqrt(6)], axis=1)
    bread = ols.invert(scores.information()[None])[0][0]
    return np.asarray(np.sqrt(_factor(error, scores, kernel)) * (bread @ whole))


def _factor(error: str, scores: SpatialScores, kernel: Kernel | None) -> float:
    """The small-sample factor of least squares; 1 in models with spatial parameters."""
    if scores.form.parameters:
        return 1.0
    (periods, units), k = scores.e.shape, scores.z.shape[0]
    n = units * periods
    if error == "hc1":
        return n / (scores._free - k)
    if kernel is not None and kernel.groups is not None:
        g = kernel.groups
        return g / (g - 1) * (n - 1) / (n - k - (periods if "period" in TAKEN_OUT[scores.effects] else 1))
    return 1.0


@dataclass(frozen=True, eq=False, slots=True)
class Kernel:
    """Which scores may be correlated: within clusters, within periods near in time, or near in space.

    clusters (N,) codes; nearness (N, N) weights of pairs of units, and the order (N,) of units along which e'Ge is then
    split: by places, from west to east, so that what units are called and where a file has them does not matter;
    neither: Driscoll and Kraay, whose sums over all units no order changes. absent: as `absent_before` has it.
    """

    clusters: NDArray[np.intp] | None = None
    nearness: Floats | None = None
    order: NDArray[np.intp] | None = None
    absent: tuple[int, ...] = ()

    @classmethod
    def of(cls, error: str, plan: SpatialPlan) -> Kernel:
        """The kernel of an error type on a plan's units; raises BadInput for one cluster, two periods, no places."""
        absent = absent_before(plan.years, bartlett_lag(plan.periods))
        if error.startswith(CONLEY):
            near = nearness(error, plan.attributes)  # checks the places
            order = np.lexsort((np.array(plan.labels), plan.attributes["latitude"], plan.attributes["longitude"]))
            return cls(nearness=near, order=order.astype(np.intp), absent=absent)
        if error == "driscoll-kraay":
            check_periods(error, plan.periods)
            return cls(absent=absent)
        name = error.removeprefix("cluster:")
        if name == "unit":
            return cls(np.arange(plan.units))
        codes = np.unique(plan.attributes[name], return_inverse=True)[1]
        check_two_clusters(error, int(codes.max()) + 1, "errors")
        return cls(codes)

    @property
    def groups(self) -> int | None:
        """Number of clusters."""
        return None if self.clusters is None else int(self.clusters.max()) + 1

    def meat(self, scores: SpatialScores) -> tuple[Floats, bool]:
        """Variance of the sum of scores, (K, K), and whether negative eigenvalues were set to zero."""
        if self.clusters is not None:
            sums, before, flat = scores.by_cluster(self.clusters)
            across = sums @ before.T / 2
            meat = sums @ sums.T + across + across.T + before @ before.T / 3 + flat @ flat.T / 6
            return np.asarray(meat), False
        periods, units = scores.e.shape
        each, lag = scores.by_observation(np.arange(units) if self.order is None else self.order), bartlett_lag(periods)
        if self.nearness is None:
            return bartlett_sum(each.sum(axis=2)[None], lag, self.absent)[0], False
        scale = np.sqrt(np.square(each).sum(axis=(1, 2)))
        meat, floored = floor_eigenvalues(conley_sum(each[None], self.nearness, lag, self.absent), scale[None])
        return meat[0], bool(floored[0])
