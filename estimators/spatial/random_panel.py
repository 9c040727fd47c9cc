"""Spatial panels with random unit effects by maximum likelihood, and the spatial Hausman test against fixed ones.

    SAR, SDM   y = rho W y + a + X b (+ W X c) + mu + e
    SEM        y = a + X b + u,   u = lambda W u + mu + e          (Kapoor, Kelejian and Prucha 2007)

with mu_i and e_it independent normal, variances s_mu^2 and s^2. With s_1^2 = T s_mu^2 + s^2 and phi^2 = s^2 / s_1^2

    lnL = - n/2 (ln 2 pi + 1) - n/2 ln(e'e / n) + N/2 ln phi^2 + T ln|I - r W|,   e'e = e_w'e_w + phi^2 e_b'e_b

where e_w are residuals around unit means and e_b those means, once a period (Elhorst 2014, chapter 3; in the SEM there
mu does not pass through the filter, here it does). All of it follows from the products of y, Wy, X and WX within units
and between them. Given phi the maximum is that of a model without effects on products so weighted; given the rest
phi^2 = e_w'e_w / ((T - 1) e_b'e_b) (Breusch 1987). The iteration starts at both ends, phi = 0 and 1, and the higher of
the ends stands; phi is 1 at most, for s_mu^2 is not negative. The constant is concentrated out and not reported.

Hausman's statistic compares slopes with those of fixed unit effects, d'(V_f - V_r)^-1 d (Hausman 1978; Mutl and
Pfaffermayr 2011): chi-square with as many degrees of freedom where regressors are free of the effects. Both covariances
are inverse observed Hessians with the sigma2 of the random effects; the statistic is NaN where their difference is not
positive definite. The spatial parameter is left out: fixed effects hardly move it, and the difference of its variances
is mostly noise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
from scipy.special import chdtrc

from estimators.core import regression as ols
from estimators.core.estimator import (
    Estimates,
    Home,
    Layout,
    Moments,
    Reduction,
    RegressionEstimator,
    Status,
    check_names,
    weights_of,
)
from estimators.core.tile import PanelEffects, Tile
from estimators.linear.instruments import definite_wald
from estimators.spatial.cross_products import SpatialCrossProducts, SpatialPlan, SpatialRegression
from estimators.spatial.cross_products import lagged_gram as products_of
from estimators.spatial.fits import effect_variances, effects_of, jacobian
from estimators.spatial.likelihood import (
    FORMS,
    ErrorModel,
    Sizes,
    SpatialForm,
    log_likelihood,
    maximise_lag,
    targets_of,
)
from estimators.spatial.spectrum import Spectrum
from sim.arrays import Flags, Floats
from sim.errors import BadInput, bad, listed
from sim.panel import Panel
from sim.schema import Schema
from sim.streams import Streams
from sim.world.panel_design import PanelDesign
from sim.world.parts.adoption import Random
from sim.world.parts.covariates import Normal
from sim.world.parts.effect import Effect
from sim.world.parts.errors import Process
from sim.world.parts.geography import Grid
from sim.world.parts.levels import Effects
from sim.world.parts.spillover import Neighbours
from sim.world.parts.weights import Contiguity

RandomModel = Literal["sar", "sem", "sdm"]
MOST_STEPS = 200  # of Breusch's iteration
SETTLED = 1e-11  # change of phi^2 at which it has arrived
STATISTICS = ("loglik", "phi", "hausman", "hausman_df", "hausman_p")


@dataclass(frozen=True, eq=False, slots=True)
class RandomMoments(Moments):
    """Products of [y, Wy, X, WX], (R, M, M) each: of deviations from unit means, and of these means once a period."""

    within: Floats
    between: Floats


@dataclass(frozen=True, slots=True)
class RandomCrossProducts(Reduction):
    """The products of the models with unit effects, and with a constant, which holds those between units too."""

    within: SpatialCrossProducts
    total: SpatialCrossProducts

    def prepare(self, panel: Panel) -> tuple[SpatialPlan, SpatialPlan]:
        """Raises BadInput as `SpatialCrossProducts` does: regressors must vary within units, as fixed effects need."""
        return self.within.prepare(panel), self.total.prepare(panel)

    def rows(self, plan: tuple[SpatialPlan, SpatialPlan]) -> int:
        """As many as the products allow."""
        return self.within.rows(plan[0])

    def reduce(self, plan: tuple[SpatialPlan, SpatialPlan], tile: Tile) -> RandomMoments:
        """One tile's products."""
        parts = zip(plan, (self.within, self.total), strict=True)
        within, total = (products_of(SpatialRegression(FORMS["sdm"], "direct", one, part.reduce(one, tile)))
                         for one, part in parts)  # fmt: skip
        return RandomMoments(within, total - within)


# Slopes (R, P), the spatial parameter r, phi^2, e'e, loglik (R,), and whether the search settled, (R,).
RandomFit = tuple[Floats, Floats, Floats, Floats, Floats, Flags]


@dataclass(frozen=True, eq=False, slots=True)
class RandomLikelihood:
    """One model on R panels: K regressors, W's spectrum, sizes n = NT, T, and N."""

    form: SpatialForm
    moments: RandomMoments
    regressors: int
    spectrum: Spectrum
    sizes: Sizes
    units: int

    @property
    def slopes(self) -> int:
        """P."""
        return self.form.slopes(self.regressors)

    def gram(self, phi2: Floats) -> Floats:
        """Products weighted by phi^2 (R,), (R, M, M)."""
        return self.moments.within + phi2[:, None, None] * self.moments.between

    def given(self, phi2: Floats) -> tuple[Floats, Floats, Floats, Flags]:
        """Slopes, the spatial parameter, coefficients of e in the columns (R, M), and whether it was found."""
        gram, p, k = self.gram(phi2), self.slopes, self.regressors
        if self.form.lag:
            z = slice(2, 2 + p)
            bread, sound = ols.invert(gram[:, z, z])
            own = np.matmul(gram[:, :2, z], bread)
            left = gram[:, :2, :2] - np.matmul(own, gram[:, z, :2])
            a, b, c = (np.ascontiguousarray(left[:, i, j]) for i, j in ((0, 0), (0, 1), (1, 1)))
            r, found = maximise_lag(a, b, c, self.spectrum, self.sizes, "direct")
            slopes = own[:, 0] - r[:, None] * own[:, 1]
            e = np.zeros(gram.shape[:2])
            e[:, 0], e[:, 1], e[:, z] = 1.0, -r, -slopes
            return slopes, r, e, found & sound
        last = np.ascontiguousarray(np.moveaxis(gram, 0, -1))
        x, wx = slice(2, 2 + k), slice(2 + k, 2 + 2 * k)
        model = ErrorModel(
            xx=last[x, x], xw=last[x, wx], ww=last[wx, wx], xy=last[x, 0], xwy=last[x, 1], wxy=last[wx, 0],
            wxwy=last[wx, 1], yy=last[0, 0], ywy=last[0, 1], wyy=last[1, 1],
        )  # fmt: skip
        sound = ols.invert(gram[:, x, x])[1]
        r, found = model.maximise(self.spectrum, self.sizes, "direct")
        pair = model if r.size > 1 else model.take(np.zeros(2, dtype=np.intp))  # sums are then made alike
        slopes = np.ascontiguousarray(pair.fit(np.resize(r, max(r.size, 2)))[0][:, : r.size].T)
        return slopes, r, self._filtered(slopes, r), found & sound

    def _filtered(self, slopes: Floats, r: Floats) -> Floats:
        """Coefficients of (I - r W)(y - X b), (R, M)."""
        own = np.concatenate([np.ones((len(r), 1)), -r[:, None], -slopes, r[:, None] * slopes], axis=1)
        return np.ascontiguousarray(own)

    def maximum(self) -> RandomFit:
        """The higher of the maxima that both starts lead to."""
        one, other = (self._climb(np.full(len(self.moments.within), start)) for start in (1e-8, 1.0))
        higher = np.where(np.isfinite(one[4]), one[4], -np.inf) >= other[4]
        slopes = np.where(higher[:, None], one[0], other[0])
        r, phi2, ssr, loglik, settled = (np.where(higher, *pair) for pair in zip(one[1:], other[1:], strict=True))
        return slopes, r, phi2, ssr, loglik, settled

    def _climb(self, phi2: Floats) -> RandomFit:
        """Breusch's iteration from phi^2 (R,); each row on its own, frozen once settled."""
        settled = np.zeros(len(phi2), dtype=bool)
        active = np.arange(len(phi2))
        for _ in range(MOST_STEPS):
            if not active.size:
                break
            some = self
            if active.size < len(phi2):
                some = replace(self, moments=self.moments.take(active))
            e = some.given(phi2[active])[2]
            within, between = (_square(part, e) for part in (some.moments.within, some.moments.between))
            following = np.minimum(within / ((self.sizes.periods - 1) * between), 1.0)
            still = np.abs(following - phi2[active]) < SETTLED
            phi2[active] = following
            settled[active[still]] = True
            active = active[~still & np.isfinite(following)]
        slopes, r, e, found = self.given(phi2)
        ssr = _square(self.gram(phi2), e)
        log_det = self.spectrum.slopes(r, "direct")[0]
        loglik = log_likelihood(ssr, log_det, self.sizes) + self.units / 2 * np.log(phi2)
        return slopes, r, phi2, ssr, loglik, settled & found

    def information(
        self, slopes: Floats, r: Floats, sigma2: Floats, sigma2_1: Floats, *, fixed: bool = False
    ) -> Floats:
        """Minus the Hessian by slopes, r, sigma2 and sigma2_1, (R, P + 3, P + 3).

        fixed: that of Lee and Yu's likelihood with fixed unit effects, which cost a period.
        """
        p, k, t = self.slopes, self.regressors, self.sizes.periods
        rows, size = slopes.shape[0], self.moments.within.shape[1]
        columns = np.zeros((rows, p + 1, size))
        at = np.arange(p)
        if self.form.lag:
            e = np.zeros((rows, size))
            e[:, 0], e[:, 1], e[:, 2 : 2 + p] = 1.0, -r, -slopes
            columns[:, at, 2 + at] = 1.0
            columns[:, p, 1] = 1.0
            lagged = None
        else:
            e = self._filtered(slopes, r)
            columns[:, at, 2 + at], columns[:, at, 2 + k + at] = 1.0, -r[:, None]
            columns[:, p, 1], columns[:, p, 2 + k : 2 + 2 * k] = 1.0, -slopes
            lagged = np.zeros_like(columns[:, :p])
            lagged[:, at, 2 + k + at] = 1.0
        out = np.zeros((rows, p + 3, p + 3))
        parts = ((self.moments.within, sigma2, t - 1), (self.moments.between, sigma2_1, 1))
        for place, (gram, variance, periods) in enumerate(parts, start=p + 1):
            moved = np.matmul(columns, gram)
            out[:, : p + 1, : p + 1] += np.matmul(moved, columns.swapaxes(1, 2)) / variance[:, None, None]
            if lagged is not None:
                met = np.matmul(np.matmul(lagged, gram), e[:, :, None])[:, :, 0] / variance[:, None]
                out[:, :p, p] += met
                out[:, p, :p] += met
            along = np.matmul(moved, e[:, :, None])[:, :, 0] / variance[:, None] ** 2
            out[:, : p + 1, place] = out[:, place, : p + 1] = along
            out[:, place, place] = _square(gram, e) / variance**3 - self.units * periods / (2 * variance**2)
        out[:, p, p] += (t - fixed) * self.spectrum.slopes(r, "direct")[2]
        return out

    def hausman(self, own: Floats, settled: Flags, covariance: Floats, sigma2: Floats) -> dict[str, Floats]:
        """The statistic of own slopes against fixed unit effects, its degrees of freedom and p value, (R,) each."""
        p = self.slopes
        nothing = RandomMoments(self.moments.within, np.zeros_like(self.moments.between))
        fixed = replace(self, moments=nothing)
        slopes, r, _, found = fixed.given(np.ones_like(sigma2))
        information = fixed.information(slopes, r, sigma2, np.ones_like(sigma2), fixed=True)
        of_fixed = ols.invert(information[:, : p + 2, : p + 2])[0][:, :p, :p]
        usable = (found & settled)[:, None, None]
        difference = np.where(usable, of_fixed - covariance[:, :p, :p], np.nan)
        statistic = definite_wald(slopes - own, difference)
        df = np.full_like(statistic, float(p))
        return {"hausman": statistic, "hausman_df": df, "hausman_p": chdtrc(p, statistic)}


def _square(gram: Floats, e: Floats) -> Floats:
    """e'Me, (R,)."""
    return np.asarray(np.vecdot(np.matmul(gram, e[:, :, None])[:, :, 0], e))


@dataclass(frozen=True, slots=True)
class SpatialRandomEffects(RegressionEstimator):
    """SAR, SEM or SDM with random unit effects by maximum likelihood, with Hausman's test against fixed ones.

    model: sar (rho) | sem (lambda, through which the unit effects pass too) | sdm (rho, WX). outcome, regressors: names
    of variables; None = the panel's own roles; they must vary within units, as the fixed effects beside them need.
    weights: name of the panel's W; None = its first. terms: those that are reported, None = all. label: its name in
    tables, by default random-MODEL.

    Terms: slopes, rho or lambda, sigma2 (of e), sigma2_unit (of unit effects), direct, indirect and total effects.
    Errors: hessian. Statistics: loglik; phi, 1 without unit effects, where sigma2_unit is 0 and has no error; hausman,
    hausman_df, hausman_p.

    >>> import panelproof as pp
    >>> found = pp.SpatialRandomEffects(model="sar")(pp.example_panel().panel)
    >>> print(f"{found.params['rho']:.3f} ({found.std_errors['rho']:.3f})")
    0.472 (0.035)
    """

    kind: ClassVar[str] = "spatial-random"
    gaps: ClassVar[bool] = False
    effects: ClassVar[PanelEffects] = "unit"

    model: RandomModel = "sdm"
    outcome: str | None = None
    regressors: tuple[str, ...] | None = None
    weights: str | None = None
    terms: tuple[str, ...] | None = None
    label: str = ""

    @property
    def name(self) -> str:
        """Its label, or e.g. random-sdm."""
        return self.label or f"random-{self.model}"

    @property
    def home(self) -> Home:
        """Random effects that spread as the errors do."""
        own = {"sar": ("rho", "indirect:did"), "sem": ("lambda",), "sdm": ("rho", "w_did", "indirect:did")}
        spatial, durbin, error = 0.4, self.model == "sdm", self.model == "sem"
        design = PanelDesign(
            units=144,
            periods=8,
            first_period=2001,
            geography=Grid(),
            weights=Contiguity(),
            levels=Effects(unit_sd=0.7, period_sd=0.0, unit_spatial=spatial),  # unit effects pass through W
            covariates=(Normal("x", 0.5, 0.3 if durbin else 0.0),),
            errors=Process(sd=0.8, spatial=spatial if error else 0.0),
            adoption=Random(share=0.5, dates=(2003, 2007)),
            effect=Effect(size=1.0),
            spillover=Neighbours(w_effect=0.5 if durbin else 0.0, rho=0.0 if error else spatial),
        )
        return design, ("did", "sigma2", "total:did", *own[self.model])

    @property
    def form(self) -> SpatialForm:
        """Which spatial terms the model has."""
        return FORMS[self.model]

    def layout(self, schema: Schema) -> Layout:
        """Slopes, rho or lambda, variances, effects."""
        outcome, names = self.names(schema)
        check_names(schema, outcome, names, self.name)
        weights_of(self.weights, schema, self.name)
        found = targets_of(self.form, names, (*self.form.parameters, "sigma2", "sigma2_unit"))
        targets = dict(found)
        if len(targets) < len(found):
            raise bad(f"regressors have the names of terms of the model among {listed(names)}", where=self.name,
                      allowed="names other than rho, lambda, sigma2, sigma2_unit, w_NAME, direct:NAME, ...",
                      remedy="rename the columns")  # fmt: skip
        terms = tuple(targets)
        del targets["sigma2_unit"]  # no estimand
        return Layout(terms, ("hessian",), STATISTICS, targets).only(self.terms, self.name)

    def reduction(self, schema: Schema) -> Reduction:
        """Products within units, and around the mean of all."""
        (outcome, names), weights = self.names(schema), weights_of(self.weights, schema, self.name)
        return RandomCrossProducts(SpatialCrossProducts(outcome, names, weights, False, 1, "unit"),
                                   SpatialCrossProducts(outcome, names, weights, False, 1, "none"))  # fmt: skip

    @np.errstate(divide="ignore", invalid="ignore")  # a degenerate draw is NaN with a status
    def solve(self, plan: Any, moments: Any, schema: Schema, streams: Streams) -> Estimates:
        """The maximum, effects and Hausman's test."""
        assert isinstance(moments, RandomMoments)
        own, form = plan[0], self.form
        if form.durbin and own.useless_lags:
            raise BadInput(*own.useless_lags)
        if own.periods < 2:
            raise bad("the panel has 1 period", where=self.name, allowed="2 or more", remedy="add periods")
        names, spectrum = self.names(schema)[1], own.spectrum
        sizes = Sizes.of(own.units, own.periods, "direct")
        likelihood = RandomLikelihood(form, moments, len(names), spectrum, sizes, own.units)
        slopes, spatial, phi2, ssr, loglik, settled = likelihood.maximum()
        sigma2 = ssr / sizes.nobs
        sigma2_1 = sigma2 / phi2
        information, bound = likelihood.information(slopes, spatial, sigma2, sigma2_1), phi2 >= 1
        information[bound, -2] += information[bound, -1]  # there sigma2_1 is sigma2: one parameter in both places
        information[bound, :, -2] += information[bound, :, -1]
        information[bound, -1] = information[bound, :, -1] = 0.0
        information[bound, -1, -1] = 1.0
        covariance = ols.invert(information)[0]
        covariance[bound, -1, -1] = 0.0
        rho = spatial if form.lag else np.zeros_like(sigma2)
        traces = spectrum.traces(np.ascontiguousarray(rho), "direct")
        effects = effects_of(slopes, rho, traces, own.units, form)
        moved = np.zeros((len(rho), effects.shape[1], covariance.shape[1]))
        moved[:, :, :-1] = jacobian(slopes, rho, traces, own.units, form)
        unit = (sigma2_1 - sigma2) / own.periods
        parameters = np.concatenate([slopes, np.stack([spatial, sigma2, unit], axis=1)], axis=1)
        variance = np.diagonal(covariance, axis1=1, axis2=2).copy()
        of_unit = variance[:, -1] + variance[:, -2] - 2 * covariance[:, -1, -2]
        variance[:, -1] = of_unit / own.periods**2
        estimate = np.concatenate([parameters, effects], axis=1)
        variances = np.concatenate([variance, effect_variances(moved, covariance)], axis=1)
        se = np.sqrt(np.where(variances >= 0, variances, np.nan))[:, None, :]
        finite = np.isfinite(estimate).all(axis=1) & np.isfinite(se).all(axis=(1, 2))
        status = np.select([finite & settled, np.isfinite(parameters).all(axis=1) & ~settled & finite],
                           [Status.OK, Status.NOT_CONVERGED], Status.SINGULAR)  # fmt: skip
        se[bound, 0, parameters.shape[1] - 1] = np.nan  # a variance at its bound
        statistics = {"loglik": loglik, "phi": np.sqrt(phi2)} | likelihood.hausman(slopes, settled, covariance, sigma2)
        terms = tuple(dict(targets_of(form, names, (*form.parameters, "sigma2", "sigma2_unit"))))
        found = Estimates(terms, ("hessian",), estimate, se, np.full_like(se, np.inf),
                          status.astype(np.uint8), statistics)  # fmt: skip
        return found if self.terms is None else found.only(self.terms)
