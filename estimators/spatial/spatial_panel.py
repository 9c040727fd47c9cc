"""Spatial lag, error and Durbin panels with fixed effects by maximum likelihood (equation 10 of the study).

Time effects are demeaned after the spatial lag (equal to time dummies; in the error models only for a row-stochastic W,
else the dummies themselves would be filtered). `transform = "direct"` maximises the likelihood with dummies; "lee-yu"
that of the orthonormal transformation (Lee and Yu 2010), whose rho and sigma2 are not biased by the effects and which
needs a row-stochastic W where there are period effects. The effects are those of units and periods, of one of them, or
a constant alone, which needs no transformation: both forms of the likelihood are then one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from scipy.special import chdtrc, fdtrc

from estimators.core import regression as ols
from estimators.core.error_types import check_error_types
from estimators.core.estimator import (
    Estimates,
    Estimator,
    Home,
    Layout,
    Reduction,
    Status,
    TermCovariance,
    WeightUse,
    check_names,
    outcome_of,
    weights_of,
)
from estimators.core.tile import TAKEN_OUT, PanelEffects, Tile, TreatmentKernel
from estimators.linear.instruments import wald
from estimators.spatial.cross_products import SpatialCrossProducts, SpatialMoments, SpatialPlan, SpatialRegression
from estimators.spatial.errors import (
    cluster_influence,
    covariances,
    independent_sums,
    needs_scores,
)
from estimators.spatial.fits import (
    FIT_STATISTICS,
    SpatialFit,
    effect_variances,
    fit_model,
    fit_statistics,
    jacobian,
    simulate,
)
from estimators.spatial.likelihood import FORMS, Model, Sizes, SpatialForm, determinant, log_likelihood, targets_of
from estimators.spatial.redrawn_sdm import DurbinKernel, RedrawnDurbin, RedrawnDurbinPlan, terms_of
from estimators.spatial.spectrum import Transform
from sim.arrays import Flags, Floats
from sim.design import Design
from sim.errors import BadInput, bad, listed
from sim.panel import Panel
from sim.presets import LEVELS, Paper
from sim.schema import Schema
from sim.streams import LATER, Streams
from sim.world.parts.levels import Effects

# Tests between nested spatial models, what they choose, and information criteria.
#
# The Durbin model becomes SAR under t = 0 and SEM under t + rho b = 0 (Elhorst 2014, chapter 2; LeSage and Pace
# 2009). LR tests hold for independent, homoskedastic, normal errors alone; Wald tests hold under whatever the
# covariance that they are given allows for.


NESTED = ("sar", "sem")  # in the SDM
CRITERIA = ("aic", "bic")
LEVEL = 0.05  # of the tests that choose a model
ROUNDED = 1e-12  # share of the outcome's variation that cross products may leave of no residuals at all


def wald_names(error: str) -> dict[str, str]:
    """By nested model, the statistic of the Wald test with the covariance of an error type; its p value ends in _p."""
    ending = "" if error == "information" else f":{error}"
    return {model: f"wald_{model}{ending}" for model in NESTED}


def wald_tests(
    parameters: Floats, covariance: Floats, error: str = "information", sums: float = np.inf
) -> dict[str, Floats]:
    """Whether the Durbin model, (R, 2 K + 2) with covariance (R, 2 K + 2, 2 K + 2), may be a lag or an error model.

    g'(J V J')^-1 g of g = t for SAR and g = t + rho b for SEM, whose J comes from the delta method: dg_k/db_k = rho,
    dg_k/dt_k = 1, dg_k/drho = b_k. (R,) each, named by `wald_names`; NaN where J V J' is singular.

    sums: m, the sums of scores that V is made of: clusters, or periods under Driscoll and Kraay. V has rank m - 1 at
    most, and its estimate moves the statistic: (m - K) / (K (m - 1)) times it is compared with F(K, m - K), which is
    Hotelling's (1931) T squared of m sums; there is no test for m <= K. Without m: chi-square, K degrees of freedom.
    """
    k = parameters.shape[1] // 2 - 1
    b, t, rho = parameters[:, :k], parameters[:, k : 2 * k], parameters[:, 2 * k]
    of_lag = np.zeros((len(parameters), k, 2 * k + 2))
    at = np.arange(k)
    of_lag[:, at, at + k] = 1.0
    of_error = of_lag.copy()
    of_error[:, at, at] = rho[:, None]
    of_error[:, :, 2 * k] = b
    names = wald_names(error)
    out: dict[str, Floats] = {}
    for model, g, slopes in (("sar", t, of_lag), ("sem", t + rho[:, None] * b, of_error)):
        statistic = wald(g, np.matmul(np.matmul(slopes, covariance), slopes.transpose(0, 2, 1)))
        if np.isinf(sums):
            pvalue = chdtrc(k, statistic)
        elif sums > k:
            pvalue = fdtrc(k, sums - k, statistic * (sums - k) / (k * (sums - 1)))
        else:
            statistic = pvalue = np.full_like(statistic, np.nan)
        out |= {names[model]: statistic, f"{names[model]}_p": pvalue}
    return out


def likelihood_ratio(larger: float, smaller: float, df: int) -> tuple[float, float]:
    """2 (lnL - lnL0), not below 0, and its p value by the chi-square distribution with df degrees of freedom."""
    statistic = max(2.0 * (larger - smaller), 0.0)
    return statistic, float(chdtrc(df, statistic))


def variance_inflation(tile: Tile, names: tuple[str, ...], weights: str, effects: PanelEffects = "two-way") -> Floats:
    """Variance inflation factors (2 K,) of [QX, QWX] of the first replication: 1 / (1 - R2) of each on the others.

    The diagonal of X'X times that of its inverse (Belsley, Kuh and Welsch 1980), infinite where they are collinear.
    """
    parts = [tile.within(name, effects)[:1] for name in names]
    parts += [tile.within_lag(name, weights, effects)[:1] for name in names]
    gram = ols.gram(ols.stack(parts))
    inverse, sound = ols.invert(gram)
    return np.where(sound[0], np.diagonal(gram[0]) * np.diagonal(inverse[0]), np.inf)


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The nested models that the tests do not reject, the one that LM tests point to, and the model chosen.

    chosen: sdm | sar | sem, or None for the model without spatial terms.
    """

    kept: tuple[str, ...]
    pointed: str | None
    chosen: str | None


def choose_model(pvalues: Mapping[str, float], lagrange: Mapping[str, float]) -> ModelChoice:
    """What tests of the SDM against nested models, p values by model, and LM tests choose at 5% (Elhorst 2010).

    Both restrictions of the SDM rejected: the SDM. One of them not rejected: that model if the LM tests point to it,
    else the SDM, which nests both. Neither rejected: what the LM tests point to, if anything. A restriction that has no
    p value counts as rejected.

    LM tests point to the larger of the robust statistics, to neither where no simple one rejects. The simple ones
    decide where there are no robust ones, for WXb lies in the space of X.
    """
    kept = tuple(model for model in NESTED if pvalues.get(model, 0.0) >= LEVEL)
    pointed = None
    if min(lagrange["lm_lag_p"], lagrange["lm_err_p"]) < LEVEL:
        robust = "r" if np.isfinite(lagrange["rlm_lag"]) else ""
        pointed = "sar" if lagrange[f"{robust}lm_lag"] >= lagrange[f"{robust}lm_err"] else "sem"
    if pointed in kept:
        return ModelChoice(kept, pointed, pointed)
    return ModelChoice(kept, pointed, None if pointed is None and len(kept) == len(NESTED) else "sdm")


HOMES = {
    "sar": Paper(spillover="lag"), "sem": Paper(spillover="error"), "sdm": Paper(spillover="paper"),
    "slx": Paper(spillover="paper", rho=0.0), "sdem": Paper(spillover="paper", rho=0.0, spatial_error=0.3),
    "sac": Paper(spillover="lag", rho=0.5, spatial_error=-0.3, sigma=0.003),
}  # fmt: skip


@dataclass(frozen=True, slots=True, repr=False)
class SpatialPanel(Estimator):
    """SAR, SEM, SDM, SLX, SDEM or SAC with unit and time effects, one of them, or neither.

    model: sar (rho) | sem (lambda) | sdm (rho, WX) | slx (WX, least squares) | sdem (lambda, WX) | sac (rho, lambda).
    transform: direct | lee-yu. outcome, regressors: names of variables; None = the panel's own roles. weights: name of
    the panel's W; None = its first. full_fit: also the R2 variants that need predictions (squared correlations;
    slower), AIC, BIC, in the SDM Wald tests of SAR and SEM by every error type, in the SAC mode_gap: its likelihood
    often has a second maximum with rho and lambda nearly exchanged, and where that is hardly lower they are not
    identified. errors: any of
    information (the inverse expected information), hessian (observed), qmle, cluster:unit, cluster:ATTRIBUTE,
    driscoll-kraay, conley:KM, in SLX also hc1; see `spatial.errors`. simulate: a number of draws from the normal
    distribution with the covariance of the first error type, which add the error type "simulation" with quantiles as
    intervals. label: its name in tables, by default MODEL-TRANSFORM. A fit is OK when its estimates and the errors of
    the first type are sound; another type may be NaN, as where the observed Hessian is not that of a maximum. terms:
    those that are reported, None = all; of the SDM the treatment's and rho alone with errors from the Hessian are quick
    where the treatment alone is redrawn. effects: two-way | unit | period | none (a constant).

    >>> import panelproof as pp
    >>> found = pp.SpatialPanel(model="sdm")(pp.example_panel().panel)
    >>> print(f"{found.params['rho']:.3f} ({found.std_errors['rho']:.3f})")
    0.071 (0.055)
    """

    kind: ClassVar[str] = "spatial"
    weight_use: ClassVar[WeightUse] = "ignored"
    gaps: ClassVar[bool] = False

    model: Model = "sdm"
    transform: Transform = "direct"
    outcome: str | None = None
    regressors: tuple[str, ...] | None = None
    weights: str | None = None
    full_fit: bool = False
    label: str = ""
    errors: tuple[str, ...] = ("information",)
    simulate: int = 0
    terms: tuple[str, ...] | None = None
    effects: PanelEffects = field(default="two-way", metadata={LATER: True})

    def __post_init__(self) -> None:
        Estimator.__post_init__(self)
        if self.simulate < 0 or self.simulate == 1:
            raise bad(f"simulate = {self.simulate}", where="spatial estimator", allowed="0, or 2 or more draws",
                      remedy="use some thousand draws: they give two digits of a quantile")  # fmt: skip

    @property
    def name(self) -> str:
        """Its label, or e.g. sdm-lee-yu, sdm-lee-yu-unit."""
        return self.label or f"{self.model}-{self.transform}{'' if self.effects == 'two-way' else f'-{self.effects}'}"

    @property
    def home(self) -> Home:
        """The `paper` design with this model's own spillovers and effects.

        rho and lambda are right under Lee-Yu alone, and where there are no effects.
        """
        own = ("did", "direct:did")
        rest = {"sar": ("rho", "indirect:did", "total:did"), "sem": ("lambda",),
                "sdm": ("rho", "w_did", "indirect:did", "total:did"), "slx": ("w_did", "indirect:did", "total:did"),
                "sdem": ("lambda", "w_did", "indirect:did", "total:did"),
                "sac": ("rho", "lambda", "indirect:did", "total:did")}  # fmt: skip
        design: Design = HOMES[self.model]
        if self.effects != "two-way":  # levels of the same size with these effects alone
            taken = TAKEN_OUT[self.effects]
            levels = Effects(LEVELS.mean, LEVELS.unit_sd * ("unit" in taken), LEVELS.period_sd * ("period" in taken))
            design = replace(HOMES[self.model].parts, levels=levels)
        return design, own + (rest[self.model] if self.transform == "lee-yu" or self.effects == "none" else ())

    @property
    def form(self) -> SpatialForm:
        """Which spatial terms the model has."""
        return FORMS[self.model]

    def _names(self, schema: Schema) -> tuple[str, tuple[str, ...], str]:
        regressors = schema.roles.regressors if self.regressors is None else self.regressors
        weights = weights_of(self.weights, schema, self.name)
        return outcome_of(self.outcome, schema, self.name), regressors, weights

    def layout(self, schema: Schema) -> Layout:
        """Slopes, their spatial lags (Durbin), rho, lambda, sigma2, then direct, indirect and total effects."""
        outcome, names, _ = self._names(schema)
        check_names(schema, outcome, names, self.name)
        check_error_types(self.errors, schema, self.name, "spatial" if self.form.parameters else "durbin-least-squares")
        found = targets_of(self.form, names)
        terms, targets = [term for term, _ in found], dict(found)
        if repeated := [term for term in targets if terms.count(term) > 1]:
            raise bad(f"regressors have the names of terms of the model: {listed(repeated)}", where=self.name,
                      allowed="names other than rho, lambda, sigma2, w_NAME, direct:NAME, indirect:NAME, total:NAME",
                      remedy="rename the columns")  # fmt: skip

        kinds = dict.fromkeys(("information", *self.errors))
        walds = (name for kind in kinds for test in wald_names(kind).values() for name in (test, f"{test}_p"))
        own = {"sdm": tuple(walds), "sac": ("mode_gap",)}.get(self.model, ())
        statistics = (
            "loglik", "r2", "r2_within", *((*FIT_STATISTICS, *CRITERIA, *own) if self.full_fit else ()),
            *(f"floored:{error}" for error in self.errors if error.startswith("conley:")),
            *(("rejected_draws",) if self.simulate else ()),
        )  # fmt: skip
        errors = (*self.errors, "simulation") if self.simulate else self.errors
        stored = ("lower", "upper") if self.simulate else ()
        return Layout(tuple(targets), errors, statistics, targets, stored).only(self.terms, self.name)

    def variables(self, schema: Schema) -> frozenset[str]:
        """Outcome and regressors."""
        outcome, names, _ = self._names(schema)
        return frozenset((outcome, *names))

    def reduction(self, schema: Schema) -> Reduction:
        """Cross products of y, Wy, X and WX, shared by all models and transforms; of W^2 too in SDEM and SAC."""
        products, treatment = self._products(schema), schema.roles.treatment
        plain = self.errors == ("hessian",) and not self.full_fit and not self.simulate
        if self._has_kernel(schema, self.terms) and plain:
            return RedrawnDurbin(products, str(treatment), self.transform)
        return products

    def _products(self, schema: Schema) -> SpatialCrossProducts:
        outcome, names, weights = self._names(schema)
        arrays = self.full_fit or needs_scores(self.errors)
        return SpatialCrossProducts(outcome, names, weights, arrays, self.form.lags, self.effects)

    def _has_kernel(self, schema: Schema, terms: tuple[str, ...] | None) -> bool:
        """Whether these terms follow from the products of the treatment and its lag, all else being fixed."""
        treatment, names = schema.roles.treatment, self._names(schema)[1]
        known = terms is not None and treatment in names and set(terms) <= set(terms_of(str(treatment)))
        return known and self.model == "sdm" and self.effects == "two-way"

    def for_redrawn_treatments(self, schema: Schema) -> Estimator:
        """Of the SDM the treatment's terms and rho, with errors from the observed Hessian."""
        if self.model != "sdm" or self.effects != "two-way" or schema.roles.treatment not in self._names(schema)[1]:
            return self
        terms = terms_of(str(schema.roles.treatment))
        return replace(self, terms=terms, errors=("hessian",), full_fit=False, simulate=0)

    def treatment_kernel(self, panel: Panel, terms: tuple[str, ...], *, errors: bool) -> TreatmentKernel | None:
        """Of the SDM the treatment's terms and rho, studentised by the observed Hessian."""
        self.layout(panel.schema)
        studentised = self.errors[-1] == "hessian" and not self.simulate
        if not self._has_kernel(panel.schema, terms) or not panel.balanced or (errors and not studentised):
            return None
        return DurbinKernel.of(panel, self._products(panel.schema), str(panel.roles.treatment), self.transform)

    @np.errstate(divide="ignore", invalid="ignore")  # a degenerate draw is NaN with a status
    def solve(self, plan: Any, moments: Any, schema: Schema, streams: Streams) -> Estimates:
        """The maximum of the concentrated likelihood, the effects, and errors of every type."""
        assert isinstance(plan, SpatialPlan | RedrawnDurbinPlan)
        self._check(plan)
        if isinstance(plan, RedrawnDurbinPlan):
            own, statistics = plan.solve(moments)
            se = own.se[:, None, :]
            found = Estimates(plan.kernel.terms, self.errors, own.estimate, se, np.full_like(se, np.inf), own.status,
                              statistics)  # fmt: skip
        else:
            assert isinstance(moments, SpatialMoments)
            found = self._fitted(plan, moments, schema, streams)
        return found if self.terms is None else found.only(self.terms)

    def _fitted(self, plan: SpatialPlan, moments: SpatialMoments, schema: Schema, streams: Streams) -> Estimates:
        """All terms."""
        model = SpatialRegression(self.form, self.transform, plan, moments)
        fit = fit_model(model)
        estimate = fit.estimate
        others = tuple(error for error in self.errors if error != "information")
        matrices, floored, nothing = covariances(others, fit.parameters, model)
        se = self._standard_errors(fit, plan, matrices)
        sound = np.isfinite(estimate).all(axis=1) & np.isfinite(se[:, 0]).all(axis=1)
        sound &= fit.ssr > ROUNDED * moments.yy  # a fit without residuals has no likelihood
        own = [e for e, error in enumerate(self.errors) if error != "information"]
        se[:, own] = np.where(self._cancelled(nothing), np.nan, se[:, own])
        status = np.select(
            [sound & fit.converged, ~fit.converged & np.isfinite(fit.spatial).all(axis=1)],
            [Status.OK, Status.NOT_CONVERGED],
            Status.SINGULAR,
        )
        statistics = self._statistics(fit, model, others, matrices, floored)
        terms, errors = tuple(dict(targets_of(self.form, self._names(schema)[1]))), self.errors
        whole = Estimates(terms, errors, estimate, se, np.full_like(se, np.inf), status.astype(np.uint8), statistics)
        if not self.simulate:
            return whole

        # the error type "simulation", whose intervals do not follow from estimate and se; the same standard normals
        # for every replication
        first = fit.covariance() if self.errors[0] == "information" else matrices[:, 0]
        normals = streams.fixed("simulated effects").standard_normal((self.simulate, fit.parameters.shape[1]))
        *drawn, rejected = simulate(fit.parameters, first, normals, self.form, plan.spectrum)
        follows = np.full_like(se, np.nan)
        se, lower, upper = (np.concatenate([before, last[:, None]], axis=1)
                            for before, last in zip((se, follows, follows), drawn, strict=True))  # fmt: skip
        return replace(whole, errors=(*errors, "simulation"), se=se, dof=np.full_like(se, np.inf), lower=lower,
                       upper=upper, statistics={**statistics, "rejected_draws": rejected})  # fmt: skip

    def influence(self, panel: Panel, error: str = "cluster:unit") -> tuple[Floats, Floats]:
        """Terms of one panel (K,), and what clusters and pairs of them add to their errors, (K, M).

        The sums of its products are the covariance of the terms under a clustered error type: the sandwich of scores,
        effects by the delta method. Raises BadInput for a panel that cannot serve.
        """
        model, fit = self._fit_of(panel, error)
        if not fit.converged[0]:
            raise bad("the likelihood has no maximum inside its bounds", where=self.name, allowed="a fit",
                      remedy="choose another model or W")  # fmt: skip
        psi = cluster_influence(error, fit.parameters[0], model)
        moved = jacobian(fit.slopes, fit.rho(self.form), fit.traces, len(panel.units), self.form)[0] @ psi
        return fit.estimate[0], np.concatenate([psi, moved])

    def covariance(self, panel: Panel, error: str) -> TermCovariance:
        """The covariance of all its terms, effects by the delta method, under one of its error types but simulation."""
        model, fit = self._fit_of(panel, error)
        found, nothing = fit.covariance(), np.zeros((1, 1), dtype=bool)
        if error != "information":
            matrices, _, cancelled = covariances((error,), fit.parameters, model)
            found, nothing = matrices[:, 0], self._cancelled(cancelled)[:, 0]
        moved = jacobian(fit.slopes, fit.rho(self.form), fit.traces, len(panel.units), self.form)
        whole = np.concatenate([np.broadcast_to(np.eye(found.shape[1]), (len(found), *found.shape[1:])), moved], axis=1)
        matrix = whole @ found @ whole.transpose(0, 2, 1)
        matrix = np.where(nothing[..., :, None] | nothing[..., None, :], np.nan, matrix)
        return TermCovariance(tuple(dict(targets_of(self.form, self._names(panel.schema)[1]))), matrix, np.inf)

    def _fit_of(self, panel: Panel, error: str) -> tuple[SpatialRegression, SpatialFit]:
        """The model of one panel and its fit; raises BadInput for an error type or a panel that cannot serve."""
        own = replace(self, errors=(error,), full_fit=False, simulate=0, terms=None)
        own.layout(panel.schema)
        products = own._products(panel.schema)
        plan = products.prepare(panel)
        own._check(plan)
        model = SpatialRegression(self.form, self.transform, plan, products.reduce(plan, Tile(panel)))
        return model, fit_model(model)

    def _check(self, plan: SpatialPlan | RedrawnDurbinPlan) -> None:
        """Raise BadInput for a W, or lags of regressors, that this model cannot serve."""
        weights = plan.spectrum.weights
        where = f"{self.name}, weights {weights.name}"
        likelihood = determinant(self.transform, self.effects)
        if likelihood == "lee-yu" and not weights.row_stochastic:
            raise bad("Lee-Yu's transformation needs a row-stochastic W", where=where, allowed='standardize = "row"',
                      remedy='use transform = "direct"')  # fmt: skip
        if isinstance(plan, SpatialPlan):
            nobs = Sizes.of(plan.units, plan.periods, "lee-yu", self.effects).nobs - (self.effects == "none")
            if nobs <= (slopes := self.form.slopes(len(plan.names))):
                raise bad(f"{nobs} observations beside the effects for {slopes} slopes", where=self.name,
                          allowed="more observations than slopes", remedy="drop effects or regressors")  # fmt: skip
            if self.form.durbin and plan.useless_lags:
                raise BadInput(*plan.useless_lags)
        if self.form.parameters and plan.spectrum.is_flat(likelihood):
            raise bad(f"W links all units equally or almost equally: the transformed likelihood hardly depends on "
                      f"{' and '.join(self.form.parameters)}", where=where, allowed="weights that differ between "
                                                                                    "near and far units",
                      remedy="choose fewer neighbours")  # fmt: skip

    def _standard_errors(self, fit: SpatialFit, plan: SpatialPlan, matrices: Floats) -> Floats:
        """Of parameters and effects by error type, (R, E, K); effects by the delta method."""
        variances = []
        if matrices.shape[1]:
            moved = jacobian(fit.slopes, fit.rho(self.form), fit.traces, plan.units, self.form)
            for e in range(matrices.shape[1]):
                own = np.diagonal(matrices[:, e], axis1=1, axis2=2)
                variances.append(np.concatenate([own, effect_variances(moved, matrices[:, e])], axis=1))
        if "information" in self.errors:
            variances.insert(self.errors.index("information"), fit.variance)
        stacked = np.stack(variances, axis=1)
        return np.sqrt(np.where(stacked >= 0, stacked, np.nan))

    def _cancelled(self, slopes: Flags) -> Flags:
        """Terms by error type, (R, E, K), that rest on slopes (R, E, P) whose scores cancel within clusters."""
        names = slopes.shape[2] // 2
        either = slopes[..., :names] | slopes[..., names:] if self.form.durbin else slopes
        spatial = np.zeros((*slopes.shape[:2], len(self.form.parameters) + 1), dtype=bool)
        return np.concatenate([slopes, spatial, np.tile(either, len(self.form.effect_kinds))], axis=2)

    def _statistics(
        self, fit: SpatialFit, model: SpatialRegression, others: tuple[str, ...], matrices: Floats, floored: Flags
    ) -> dict[str, Floats]:
        """matrices, floored: of the other error types than information."""
        sizes, moments = model.sizes, model.moments
        out = {
            "loglik": log_likelihood(fit.ssr, fit.log_det, sizes),
            "r2": 1.0 - fit.ssr / moments.tss,
            "r2_within": 1.0 - fit.ssr / moments.yy,
        }
        if self.full_fit:
            out |= fit_statistics(model, fit.slopes, fit.rho(self.form))
            # -2 lnL + 2 k and -2 lnL + k ln n (Burnham and Anderson 2002): k counts slopes, spatial parameters and
            # sigma2, not the effects, of which every model has as many; n is the transform's, NT, or (N-1)(T-1) under
            # Lee and Yu. They compare models of one panel, W aside, within one transform.
            deviance, k = -2 * out["loglik"], fit.parameters.shape[1]
            out |= {"aic": deviance + 2 * k, "bic": deviance + k * np.log(sizes.nobs)}
            if fit.mode_gap is not None:
                out["mode_gap"] = fit.mode_gap
            if self.model == "sdm":
                out |= wald_tests(fit.parameters, fit.covariance())
        flags = zip(others, floored.T, strict=True)
        out |= {f"floored:{error}": flag.astype(float) for error, flag in flags if error.startswith("conley:")}
        if self.full_fit and self.model == "sdm":
            for e, error in enumerate(others):
                sums = independent_sums(error, model.plan)
                out |= wald_tests(fit.parameters, matrices[:, e], error, sums)
        return out
