"""Spatial lag, error and Durbin panels with two-way effects by maximum likelihood (equation 10 of the study).

Time effects are demeaned after the spatial lag (equal to time dummies; in the error model only for a row-stochastic W,
else the dummies themselves would be filtered). `transform = "direct"` maximises the likelihood with dummies; "lee-yu"
that of the orthonormal transformation (Lee and Yu 2010), whose rho and sigma2 are not biased by the effects and which
needs a row-stochastic W. Errors come from the information matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from estimators import regression as ols
from estimators.cross_products import SpatialCrossProducts, SpatialMoments, SpatialPlan
from estimators.did import check_names, outcome_of
from estimators.effects import Slopes, impacts
from estimators.estimator import Estimates, Estimator, Layout, Reduction, Status
from estimators.fit import FIT_STATISTICS, fit_statistics
from estimators.information import RedrawnForms
from estimators.likelihood import ErrorModel, Sizes, log_likelihood, maximise_lag
from estimators.spectrum import Transform
from sim.design import Design
from sim.errors import bad, closest, listed, one_of
from sim.panel import Schema
from sim.paper import Paper
from sim.streams import Streams

Floats = NDArray[np.float64]
Model = Literal["sar", "sem", "sdm"]
HOMES = {"sar": "lag", "sem": "error", "sdm": "paper"}


@dataclass(frozen=True, slots=True)
class SpatialPanel(Estimator):
    """SAR, SEM or SDM with unit and time effects.

    model: sar | sem | sdm. transform: direct | lee-yu. outcome, regressors: names of variables; None = the panel's own
    roles. weights: name of the panel's W; None = its first. full_fit: also the R2 variants that need predictions
    (squared correlations; slower). label: its name in tables, by default MODEL-TRANSFORM.
    """

    kind: ClassVar[str] = "spatial"

    model: Model = "sdm"
    transform: Transform = "direct"
    outcome: str | None = None
    regressors: tuple[str, ...] | None = None
    weights: str | None = None
    full_fit: bool = False
    label: str = ""

    def __post_init__(self) -> None:
        for name, allowed in (("model", HOMES), ("transform", ("direct", "lee-yu"))):
            if getattr(self, name) not in allowed:
                raise bad(f"{name} = {getattr(self, name)!r}", where="spatial estimator", allowed=one_of(allowed),
                          remedy=closest(getattr(self, name), allowed))  # fmt: skip

    @property
    def name(self) -> str:
        """Its label, or e.g. sdm-lee-yu."""
        return self.label or f"{self.model}-{self.transform}"

    @property
    def home(self) -> tuple[Design, tuple[str, ...]]:
        """The `paper` design with this model's own spillovers; rho and sigma2 are right under Lee-Yu alone."""
        own = ("did", "direct:did")
        rest = {"sar": ("rho", "indirect:did", "total:did"), "sem": ("lambda",),
                "sdm": ("rho", "w_did", "indirect:did", "total:did")}  # fmt: skip
        return Paper(spillover=HOMES[self.model]), own + (rest[self.model] if self.transform == "lee-yu" else ())  # type: ignore[arg-type]

    @property
    def coefficient(self) -> str:
        """The spatial parameter's name: rho, or lambda in the error model."""
        return "lambda" if self.model == "sem" else "rho"

    def _names(self, schema: Schema) -> tuple[str, tuple[str, ...], str]:
        regressors = schema.roles.regressors if self.regressors is None else self.regressors
        if not schema.weights:
            raise bad("the panel has no spatial weights", where=self.name, allowed="one or more [[weights]]",
                      remedy="add a [[weights]] table")  # fmt: skip
        weights = self.weights or schema.weights[0]
        if weights not in schema.weights:
            raise bad(f"no weights {weights!r}", where=self.name, allowed=one_of(schema.weights),
                      remedy=closest(weights, schema.weights))  # fmt: skip
        return outcome_of(self.outcome, schema, self.name), regressors, weights

    def layout(self, schema: Schema) -> Layout:
        """Coefficients, spatial lags (SDM), rho or lambda, sigma2, then direct, indirect and total effects."""
        outcome, names, _ = self._names(schema)
        check_names(schema, outcome, names, self.name)
        lagged = tuple(f"w_{name}" for name in names) if self.model == "sdm" else ()
        slopes = (*names, *lagged)
        effects = [(kind, name) for kind in self._effect_kinds for name in names]
        own = (*slopes, self.coefficient, "sigma2", *(f"{kind}:{name}" for kind, name in effects))
        if repeated := [term for term in dict.fromkeys(own) if own.count(term) > 1]:
            raise bad(f"regressors are named like terms of the model: {listed(repeated)}", where=self.name,
                      allowed="names other than rho, lambda, sigma2, w_NAME, direct:NAME, indirect:NAME, total:NAME",
                      remedy="rename the columns")  # fmt: skip
        targets = {term: f"beta({term})" for term in slopes} | {self.coefficient: self.coefficient, "sigma2": "sigma2"}
        targets |= {f"{kind}:{name}": f"{kind}({name})" for kind, name in effects}
        statistics = ("loglik", "r2", "r2_within", *(FIT_STATISTICS if self.full_fit else ()))
        return Layout(tuple(targets), ("information",), statistics, targets)

    @property
    def _effect_kinds(self) -> tuple[str, ...]:
        return ("direct", "total") if self.model == "sem" else ("direct", "indirect", "total")

    def variables(self, schema: Schema) -> frozenset[str]:
        """Outcome and regressors."""
        outcome, names, _ = self._names(schema)
        return frozenset((outcome, *names))

    def reduction(self, schema: Schema) -> Reduction:
        """Cross products of y, Wy, X and WX, shared by all models and transforms."""
        outcome, names, weights = self._names(schema)
        return SpatialCrossProducts(outcome, names, weights, self.full_fit)

    @np.errstate(divide="ignore", invalid="ignore")  # a degenerate draw is NaN with a status
    def solve(self, plan: Any, moments: Any, schema: Schema, streams: Streams) -> Estimates:
        """The maximum of the concentrated likelihood, its information matrix and the effects."""
        assert isinstance(plan, SpatialPlan)
        assert isinstance(moments, SpatialMoments)
        if self.transform == "lee-yu" and not plan.spectrum.weights.row_stochastic:
            raise bad("Lee-Yu's transformation needs a row-stochastic W", where=f"{self.name}, weights "
                      f"{plan.spectrum.weights.name}", allowed='standardize = "row"',
                      remedy='use transform = "direct"')  # fmt: skip
        sizes = Sizes.of(plan.units, plan.periods, self.transform)
        fit = self._error_fit if self.model == "sem" else self._lag_fit
        slopes, ssr, rho, converged, covariance = fit(plan, moments, sizes)
        traces = plan.spectrum.traces(rho, self.transform)
        sigma2 = ssr / sizes.nobs
        spread = sizes.periods * (traces.hh + traces.hth) - 2 * (sizes.periods * traces.h) ** 2 / sizes.nobs
        rho_variance = 1.0 / (spread + covariance.curvature(sigma2))
        sigma2_variance = (
            2 * sigma2**2 / sizes.nobs + (2 * sigma2 * sizes.periods * traces.h / sizes.nobs) ** 2 * rho_variance
        )
        variances = covariance.variances(sigma2, rho_variance)
        own = Slopes(slopes, sigma2, rho, rho_variance, covariance.bread, covariance.tilt)
        effects, effect_variances = impacts(own, traces, plan.units, self.model)
        estimate = np.concatenate([slopes, rho[:, None], sigma2[:, None], effects], axis=1)
        variance = np.concatenate(
            [variances, rho_variance[:, None], sigma2_variance[:, None], effect_variances], axis=1
        )
        se = np.sqrt(np.where(variance >= 0, variance, np.nan))[:, None, :]
        sound = np.isfinite(estimate).all(axis=1) & np.isfinite(se).all(axis=(1, 2))
        status = np.select(
            [sound & converged, ~converged & np.isfinite(rho)], [Status.OK, Status.NOT_CONVERGED], Status.SINGULAR
        )
        layout = self.layout(schema)
        statistics = {
            "loglik": log_likelihood(ssr, traces.log_det, sizes),
            "r2": 1.0 - ssr / moments.tss,
            "r2_within": 1.0 - ssr / moments.yy,
        }
        if self.full_fit:
            statistics |= fit_statistics(self.model, slopes, rho, moments, plan.spectrum)
        return Estimates(
            layout.terms, layout.errors, estimate, se, np.full_like(se, np.inf), status.astype(np.uint8), statistics
        )

    def _lag_fit(
        self, plan: SpatialPlan, m: SpatialMoments, sizes: Sizes
    ) -> tuple[Floats, Floats, Floats, NDArray[np.bool_], Covariance]:
        """SAR and SDM: slopes (R, P), e'e, rho, whether converged, and the slopes' covariance."""
        p = len(plan.names) if self.model == "sar" else 2 * len(plan.names)
        zz = (plan.gram if m.gram is None else m.gram)[:, :p, :p]
        bread, _ = ols.invert(zz)
        zy, zwy = m.zy[:, :p], m.zwy[:, :p]
        b0, b1 = _times(bread, zy), _times(bread, zwy)
        a = m.yy - (zy * b0).sum(axis=1)
        b = m.ywy - (zy * b1).sum(axis=1)
        c = m.wyy - (zwy * b1).sum(axis=1)
        best = maximise_lag(a, b, c, plan.spectrum, sizes, self.transform)
        rho = best.at
        slopes = b0 - rho[:, None] * b1
        drift = None if m.drift is None else m.drift[:, 0] - rho[:, None] * m.drift[:, 1]
        if plan.forms is not None:
            zgzb, quadratic = plan.forms[p](rho, slopes, drift)
        else:
            assert m.z is not None
            zgzb, quadratic = RedrawnForms(np.ascontiguousarray(m.z[:, :p]), plan.spectrum)(rho, slopes, drift)
        tilt = _times(bread, zgzb)
        left = quadratic - (zgzb * tilt).sum(axis=1)
        ssr = a - 2 * rho * b + rho**2 * c
        return slopes, ssr, rho, best.converged, Covariance(bread, tilt, left)

    def _error_fit(
        self, plan: SpatialPlan, m: SpatialMoments, sizes: Sizes
    ) -> tuple[Floats, Floats, Floats, NDArray[np.bool_], Covariance]:
        """SEM: the same with lambda, whose information is block-diagonal with that of the slopes."""
        k = len(plan.names)
        gram = plan.gram if m.gram is None else m.gram
        last = np.ascontiguousarray(np.moveaxis(gram, 0, -1))
        zy, zwy = np.ascontiguousarray(m.zy.T), np.ascontiguousarray(m.zwy.T)
        model = ErrorModel(
            xx=last[:k, :k], xw=last[:k, k:], ww=last[k:, k:],
            xy=zy[:k], xwy=zwy[:k], wxy=zy[k:], wxwy=zwy[k:], yy=m.yy, ywy=m.ywy, wyy=m.wyy,
        )  # fmt: skip
        best = model.maximise(plan.spectrum, sizes, self.transform)
        beta, ssr, at_lambda = model.fit(best.at)
        slopes = np.ascontiguousarray(beta.T)
        at_lambda = np.ascontiguousarray(np.moveaxis(at_lambda, -1, 0))
        bread, sound = ols.invert(at_lambda)
        slopes, ssr = np.where(sound[:, None], slopes, np.nan), np.where(sound, ssr, np.nan)
        lam = np.where(sound, best.at, np.nan)
        return slopes, ssr, lam, best.converged & sound, Covariance(bread, np.zeros_like(slopes), np.zeros_like(ssr))


@dataclass(frozen=True, eq=False, slots=True)
class Covariance:
    """The slopes' part of the partitioned inverse information.

    bread (1 or R, P, P) = (Z'Z)^-1; tilt (R, P) = (Z'Z)^-1 Z'GZb, so that cov(b, rho) = -tilt var(rho); left (R,) =
    what of |QGZb|^2 the regressors do not explain.
    """

    bread: Floats
    tilt: Floats
    left: Floats

    def curvature(self, sigma2: Floats) -> Floats:
        """The regressors' part of rho's information."""
        return self.left / sigma2

    def variances(self, sigma2: Floats, rho_variance: Floats) -> Floats:
        """var(b_k) = s2 (Z'Z)^-1_kk + tilt_k^2 var(rho), (R, P)."""
        diagonal = np.diagonal(self.bread, axis1=1, axis2=2)
        return np.asarray(sigma2[:, None] * diagonal + rho_variance[:, None] * self.tilt**2)


def _times(matrix: Floats, vectors: Floats) -> Floats:
    return np.asarray(np.matmul(matrix, vectors[:, :, None])[:, :, 0])
