"""Dynamic panels with a spatial lag, a time lag and a space-time lag, and what fixed effects do to them.

    y_t = rho W y_t + gamma y_t-1 + eta W y_t-1 + X_t b + W X_t c + unit effects + time effects + e_t,   t = 1, ..., T

given y_0: the first period of the panel is spent on the lag. Unit effects are concentrated out, time effects by the
transformation F_N of Lee and Yu (2010, Econometric Theory 26:564), for which W must be row-stochastic. With S = (I -
rho W)^-1, G = W S and A = S (gamma I + eta W) the scores of the likelihood have means that do not vanish, because
unit means of lags and of errors are correlated (Nickell 1981). With a_i, s_i, g_i the eigenvalues of A, S and G,

    E score_gamma = - sum_i f(a_i) s_i                 f(a) = (1/T) sum_h (T - 1 - h) a^h,  h = 0, ..., T - 2
    E score_eta   = - sum_i f(a_i) g_i
    E score_rho   = - sum_i (g_i + f(a_i) a_i g_i)     E score_sigma2 = - n / (2 T sigma2)

over all units, under time effects over all eigenvalues but that of the constant. As T grows f(a) becomes 1 / (1 - a):
these are the a of Yu, de Jong and Lee (2008, Journal of Econometrics 146:118, theorem 3), and without spatial terms
Hahn and Kuersteiner's (2002) bias -(1 + gamma)/T. The corrections:

    none        the maximum of the likelihood, off by a multiple of 1/T
    analytic    the maximum plus I^-1 a, one step (Yu, de Jong and Lee 2008; Lee and Yu 2010; Hahn and Kuersteiner 2002)
    score       the root of the scores less their means for this very T: right for any T (Dhaene and Jochmans 2016,
                Yang 2018, Journal of Econometrics 205:423); a maximum of an adjusted likelihood
    jackknife   twice the maximum less the mean of those of the two half-panels (Dhaene and Jochmans 2015, Review of
                Economic Studies 82:991); of an odd T over both ways to halve it

Errors come from the observed Hessian, for `score` that of the adjusted likelihood. Effects in the long run are those of
((1 - gamma) I - (rho + eta) W)^-1 (b I + c W); the process is stable where all |a_i| < 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

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
from estimators.core.tile import TAKEN_OUT, PanelEffects, Tile, demeaned, spread
from estimators.spatial.cross_products import OTHER_MODEL
from estimators.spatial.fits import effect_variances, effects_of, jacobian
from estimators.spatial.likelihood import (
    SETTLED,
    Sizes,
    SpatialForm,
    determinant,
    log_likelihood,
    maximise_lag,
    targets_of,
)
from estimators.spatial.spectrum import Spectrum, Traces, Transform, spectrum_of
from sim.arrays import Flags, Floats
from sim.errors import BadInput, bad, listed
from sim.panel import Panel, check_balanced, check_steps
from sim.schema import Schema
from sim.streams import Streams
from sim.world.panel_design import PanelDesign
from sim.world.parts.adoption import Calendar
from sim.world.parts.covariates import Normal
from sim.world.parts.effect import Effect
from sim.world.parts.errors import Process
from sim.world.parts.geography import Grid
from sim.world.parts.levels import Effects
from sim.world.parts.spillover import Neighbours
from sim.world.parts.weights import Contiguity

DynamicModel = Literal["sdm", "sar", "ar"]
Correction = Literal["score", "analytic", "jackknife", "none"]
FORMS = {
    "sdm": SpatialForm(durbin=True, lag=True, error=False),
    "sar": SpatialForm(durbin=False, lag=True, error=False),
    "ar": SpatialForm(durbin=False, lag=False, error=False),
}
LEAST_PERIODS = 3  # of a panel: the first is spent on the lag, two leave variation within units
MOST_STEPS = 50  # of Newton's method
HALVINGS = 12
ROWS = 1024  # replications solved together: some ten arrays of so many by N complex numbers


@dataclass(frozen=True, eq=False, slots=True)
class DynamicMoments(Moments):
    """Cross products of [y, Wy, y_-1, Wy_-1, X, WX], those that the model has, demeaned, (R, windows, M, M).

    tss (R,): total sum of squares of y over the periods that are explained.
    """

    gram: Floats
    tss: Floats


@dataclass(frozen=True, eq=False, slots=True)
class DynamicPlan:
    """What a cell's fixed variables give: periods T that are explained, units N, W's spectrum, None without W."""

    units: int
    periods: int
    spectrum: Spectrum | None


def windows_of(periods: int, *, halves: bool) -> tuple[slice, ...]:
    """The periods that are fitted: all; for the jackknife the half-panels too, of an odd T halved in both ways."""
    cuts = sorted({periods // 2, periods - periods // 2}) if halves else []
    return (slice(0, periods), *(part for cut in cuts for part in (slice(0, cut), slice(cut, periods))))


@dataclass(frozen=True, slots=True)
class DynamicCrossProducts(Reduction):
    """The T x N work of a dynamic panel. lags: of outcome, which of rho, gamma, eta; weights: "" without W."""

    outcome: str
    names: tuple[str, ...]
    weights: str
    lags: tuple[str, ...]
    durbin: bool
    effects: PanelEffects
    halves: bool

    def prepare(self, panel: Panel) -> DynamicPlan:
        """Check the panel. Raises BadInput for missing cells and periods, too few periods, and fixed regressors that
        the effects absorb."""
        asked_by = f"dynamic panel of {self.outcome}"
        check_balanced(panel, asked_by)
        check_steps(panel, asked_by)
        least = 2 * LEAST_PERIODS - 1 if self.halves else LEAST_PERIODS
        if len(panel.periods) < least:
            raise bad(f"the panel has {len(panel.periods)} periods", where=asked_by, allowed=f"{least} or more",
                      remedy="the first one is spent on the time lag" if not self.halves
                      else 'each half needs two beside the lag: set correction = "score"')  # fmt: skip
        tile, fixed = Tile(panel), [name for name in self.names if panel.variables[name].shape[0] == 1]
        explained = [(name, tile.raw(name)[:, 1:]) for name in fixed]
        columns = [ols.RegressorColumn(name, f"variable {name!r}", raw, demeaned(raw, self.effects))
                   for name, raw in explained]  # fmt: skip
        if self.durbin:
            lags = [(name, tile.lag(name, self.weights)[:, 1:]) for name in fixed]
            columns += [ols.RegressorColumn(f"w_{name}", f"the spatial lag of {name!r}", lag,
                                            demeaned(lag, self.effects), OTHER_MODEL)
                        for name, lag in lags]  # fmt: skip
        if problems := ols.useless(columns, asked_by, two_way=self.effects == "two-way"):
            raise BadInput(*problems)
        spectrum = spectrum_of(panel.weights[self.weights]) if self.weights else None
        return DynamicPlan(len(panel.units), len(panel.periods) - 1, spectrum)

    def rows(self, plan: DynamicPlan) -> int:
        """So many that arrays of eigenvalues stay small."""
        return ROWS

    def reduce(self, plan: DynamicPlan, tile: Tile) -> DynamicMoments:
        """One tile's cross products."""
        rows, y = tile.panel.replications, tile.raw(self.outcome)
        wy = tile.lag(self.outcome, self.weights) if self.weights else y
        of_outcome = {"rho": wy[:, 1:], "gamma": y[:, :-1], "eta": wy[:, :-1]}
        parts = [y[:, 1:], *(of_outcome[name] for name in self.lags)]
        explaining = [tile.raw(name) for name in self.names]
        explaining += [tile.lag(name, self.weights) for name in self.names] if self.durbin else []
        parts += [values[:, 1:] for values in explaining]
        grams = []
        for window in windows_of(plan.periods, halves=self.halves):
            raw = [values[:, window] for values in parts]
            within = [demeaned(values, self.effects) for values in raw]
            gram = ols.gram(ols.stack([spread(values, rows) for values in within]))
            spreads, totals = (np.stack(np.broadcast_arrays(*map(of, raw)), axis=1) for of in (_spread, _total))
            absorbed = ols.absorbed(np.diagonal(gram, axis1=1, axis2=2), spreads, totals)
            absorbed[:, 0] = False  # an outcome without variation has no error
            gram[absorbed[:, :, None] | absorbed[:, None, :]] = 0.0
            grams.append(gram)
        tss = spread(_spread(y[:, 1:]), rows)
        return DynamicMoments(np.stack(grams, axis=1), tss)


def _spread(values: Floats) -> Floats:
    """Sums of squares around the mean of each panel, (R,)."""
    return _total(values - values.mean(axis=(1, 2), keepdims=True))


def _total(values: Floats) -> Floats:
    """Sums of squares of each panel, (R,)."""
    return ols.sum_of_squares(np.ascontiguousarray(values))


@dataclass(frozen=True, eq=False, slots=True)
class DynamicLikelihood:
    """The likelihood of one window: periods T, eigenvalues (N,) or (N - 1,) of W in the space that effects leave.

    lags: which of rho, gamma, eta the model has. Parameters p (R, L) are those, in this order.
    """

    lags: tuple[str, ...]
    eigenvalues: Floats
    periods: int
    spectrum: Spectrum | None
    transform: Transform  # of the log-determinant

    @classmethod
    def of(cls, plan: DynamicPlan, periods: int, lags: tuple[str, ...], effects: PanelEffects) -> DynamicLikelihood:
        """That of so many periods of a plan."""
        spectrum, transform = plan.spectrum, determinant("lee-yu", effects)
        if spectrum is None:
            left = np.zeros(plan.units - (transform == "lee-yu"))
        else:
            left = np.asarray(spectrum.weights.eigenvalues)
            if transform == "lee-yu":
                left = np.delete(left, np.abs(left - 1).argmin())
        return cls(lags, left, periods, spectrum, transform)

    def nobs(self, *, corrected: bool) -> int:
        """n, or with what unit effects cost taken off."""
        return len(self.eigenvalues) * (self.periods - corrected)

    def coefficients(self, p: Floats) -> tuple[Floats, Floats, Floats]:
        """rho, gamma and eta (R, 1) each, zero where the model has none."""
        none = np.zeros((len(p), 1))
        rho, gamma, eta = (p[:, [self.lags.index(name)]] if name in self.lags else none
                           for name in ("rho", "gamma", "eta"))  # fmt: skip
        return rho, gamma, eta

    def roots(self, p: Floats) -> tuple[Floats, Floats, Floats]:
        """Eigenvalues a, s, g of A, S and G, (R, N) each."""
        rho, gamma, eta = self.coefficients(p)
        s = 1.0 / (1.0 - rho * self.eigenvalues)
        return (gamma + eta * self.eigenvalues) * s, s, self.eigenvalues * s

    def largest_root(self, p: Floats) -> Floats:
        """max |a_i|, (R,): below 1 where the process is stable; of W's unit root too, which effects take out."""
        rho, gamma, eta = self.coefficients(p)
        largest = np.abs(self.roots(p)[0]).max(axis=1)
        if self.transform == "lee-yu" and self.spectrum is not None:
            largest = np.maximum(largest, np.abs((gamma + eta) / (1.0 - rho))[:, 0])
        return np.asarray(largest)

    def inside(self, p: Floats) -> Flags:
        """Where the process is stable and rho within its interval, (R,)."""
        radius = 1.0 if self.spectrum is None else self.spectrum.weights.radius
        rho = self.coefficients(p)[0][:, 0]
        return (np.abs(rho) * radius < 1) & (self.largest_root(p) < 1)

    def maximum(self, gram: Floats) -> tuple[Floats, Flags, Floats]:
        """The uncorrected maximum: p (R, L), whether it was found, and the log-likelihood there (R,)."""
        lag = int(self.lags[0] == "rho")
        at = 1 + lag
        bread, sound = ols.invert(gram[:, at:, at:])
        own, count = gram[:, :at, at:], len(self.lags)
        moved = np.matmul(own, bread)
        left = gram[:, :at, :at] - np.matmul(moved, own.swapaxes(1, 2))
        sizes = Sizes(self.nobs(corrected=False), self.periods)
        rest = moved[:, :, : count - lag]
        if not lag or self.spectrum is None:
            found, log_det = np.isfinite(left[:, 0, 0]), np.zeros(len(gram))
            p, ssr = rest[:, 0], left[:, 0, 0]
        else:
            a, b, c = (np.ascontiguousarray(left[:, i, j]) for i, j in ((0, 0), (0, 1), (1, 1)))
            rho, found = maximise_lag(a, b, c, self.spectrum, sizes, self.transform)
            p = np.concatenate([rho[:, None], rest[:, 0] - rho[:, None] * rest[:, 1]], axis=1)
            ssr, log_det = a - 2 * rho * b + rho**2 * c, self.spectrum.slopes(rho, self.transform)[0]
        return np.where(sound[:, None], p, np.nan), found & sound, log_likelihood(ssr, log_det, sizes)

    def means(self, p: Floats, *, corrected: bool) -> tuple[Floats, Floats]:
        """What v_j'e/s2 is set to, (R, L), and its derivatives by p, (R, L, L): of the likelihood T tr G for rho alone,
        of the adjusted scores their means for this T."""
        a, s, g = self.roots(p)
        t = self.periods
        value, slope = np.zeros((2, *a.shape))
        # (1/T) sum_h (T - 1 - h) a^h, h = 0 to T - 2, and its slope, by Horner's rule
        for k in range(1, t if corrected else 1):
            slope, value = slope * a + value, value * a + k
        value, slope = value / t, slope / t
        moving = {
            "rho": (t - corrected) * g - g * a * value, "gamma": -s * value, "eta": -g * value,
        }  # fmt: skip
        along = a * slope + value
        second = {
            ("rho", "rho"): (t - corrected) * g**2 - g**2 * a * (2 * value + a * slope),
            ("rho", "gamma"): -s * g * along, ("rho", "eta"): -(g**2) * along,
            ("gamma", "gamma"): -(s**2) * slope, ("gamma", "eta"): -s * g * slope, ("eta", "eta"): -(g**2) * slope,
        }  # fmt: skip
        first = np.stack([moving[name].real.sum(axis=1) for name in self.lags], axis=1)
        out = np.empty((len(p), len(self.lags), len(self.lags)))
        for i, one in enumerate(self.lags):
            for j, other in enumerate(self.lags[i:], start=i):
                out[:, i, j] = out[:, j, i] = second[one, other].real.sum(axis=1)
        return first, out

    def score_bias(self, p: Floats, sigma2: Floats) -> tuple[Floats, Floats]:
        """a of Yu, de Jong and Lee times N: minus the means of the scores of p (R, L) and sigma2 (R,), T large."""
        a, s, g = self.roots(p)
        bias = {"rho": g / (1 - a), "gamma": s / (1 - a), "eta": g / (1 - a)}  # g + g a / (1 - a) = g / (1 - a)
        own = np.stack([bias[name].real.sum(axis=1) for name in self.lags], axis=1)
        return own, len(self.eigenvalues) / (2 * sigma2)

    def root(self, k: Floats, start: Floats) -> tuple[Floats, Flags]:
        """The root of the adjusted scores nearest to a start (R, L), and whether it is a maximum that was found.

        k (R, 1 + L, 1 + L): cross products of y and its lags, regressors projected out. Newton steps, halved until they
        stay stable; each row on its own, frozen once settled.
        """
        p, settled = start.copy(), np.zeros(len(start), dtype=bool)
        active = np.flatnonzero(np.isfinite(start).all(axis=1) & np.isfinite(k).all(axis=(1, 2)) & self.inside(start))
        for _ in range(MOST_STEPS):
            if not active.size:
                break
            gradient, curvature = self._adjusted(k[active], p[active])
            step = _solved(curvature, gradient)
            for _ in range(HALVINGS):
                outside = ~self.inside(p[active] + step)
                if not outside.any():
                    break
                step[outside] /= 2
            p[active] += np.where(outside[:, None], 0.0, step)
            still = np.abs(step).max(axis=1) < SETTLED
            settled[active[still]] = True
            active = active[~still & ~outside & np.isfinite(step).all(axis=1)]
        curvature = self._adjusted(k, np.where(settled[:, None], p, 0.0))[1]
        safe = np.where(
            (settled & np.isfinite(curvature).all(axis=(1, 2)))[:, None, None], curvature, -np.eye(p.shape[1])
        )
        return p, settled & (np.linalg.eigvalsh(safe)[:, 0] > 0)

    def _adjusted(self, k: Floats, p: Floats) -> tuple[Floats, Floats]:
        """Adjusted scores of p, sigma2 and slopes concentrated out, (R, L), and minus their derivatives, (R, L, L)."""
        n = self.nobs(corrected=True)
        c = np.concatenate([np.ones((len(p), 1)), -p], axis=1)
        products = np.matmul(k, c[:, :, None])[:, :, 0]
        sigma2 = (c * products).sum(axis=1) / n
        own = products[:, 1:] / sigma2[:, None]
        first, second = self.means(p, corrected=True)
        return own - first, k[:, 1:, 1:] / sigma2[:, None, None] - 2 * own[:, :, None] * own[:, None, :] / n + second


def _solved(matrix: Floats, vector: Floats) -> Floats:
    """M^-1 v, (R, L); NaN where M is singular."""
    return np.matmul(ols.invert(matrix)[0] if matrix.shape[1] > 1 else 1.0 / matrix, vector[:, :, None])[:, :, 0]


@dataclass(frozen=True, eq=False, slots=True)
class DynamicFit:
    """slopes (R, P), p (R, L), sigma2 (R,), minus the Hessian (R, P + L + 1, P + L + 1), found (R,), loglik (R,)."""

    slopes: Floats
    p: Floats
    sigma2: Floats
    information: Floats
    found: Flags
    loglik: Floats

    @property
    def parameters(self) -> Floats:
        """Slopes, lags of the outcome, sigma2, (R, P + L + 1)."""
        return np.concatenate([self.slopes, self.p, self.sigma2[:, None]], axis=1)


def _at(
    likelihood: DynamicLikelihood, gram: Floats, k: Floats, on_slopes: Floats, p: Floats, found: Flags, loglik: Floats,
    *, corrected: bool,
) -> DynamicFit:  # fmt: skip
    """Slopes, sigma2 and minus the Hessian at given lags of the outcome."""
    c = np.concatenate([np.ones((len(p), 1)), -p], axis=1)
    slopes = np.matmul(c[:, None, :], on_slopes)[:, 0]
    sigma2 = np.vecdot(np.matmul(c[:, None, :], k)[:, 0], c) / likelihood.nobs(corrected=corrected)
    information = _information(likelihood, gram, slopes, p, sigma2, corrected=corrected)
    return DynamicFit(slopes, p, sigma2, information, found, loglik)


def _information(
    likelihood: DynamicLikelihood, gram: Floats, slopes: Floats, p: Floats, sigma2: Floats, *, corrected: bool
) -> Floats:
    """Minus the Hessian of the likelihood, or of the adjusted one, by slopes, lags and sigma2."""
    lags, count = len(likelihood.lags), slopes.shape[1]
    order = np.r_[1 + lags : 1 + lags + count, 1 : 1 + lags]
    e = np.concatenate([np.ones((len(p), 1)), -p, -slopes], axis=1)
    s2 = sigma2[:, None]
    out = np.zeros((len(p), count + lags + 1, count + lags + 1))
    out[:, :-1, :-1] = gram[:, order[:, None], order] / s2[:, None]
    out[:, count:-1, count:-1] += likelihood.means(p, corrected=corrected)[1]
    products = np.matmul(gram, e[:, :, None])[:, :, 0]
    out[:, :-1, -1] = out[:, -1, :-1] = products[:, order] / s2**2
    # n / (2 sigma2^2) where sigma2 is e'e / n, which it is not after one step or the jackknife
    out[:, -1, -1] = np.vecdot(products, e) / sigma2**3 - likelihood.nobs(corrected=corrected) / (2 * sigma2**2)
    return out


def dynamic_world(effects: PanelEffects, *, spatial: bool, units: int = 256) -> PanelDesign:
    """Units on a grid over 19 periods, with lags in time and, if spatial, in space, a policy and a covariate."""
    taken, cohort = TAKEN_OUT[effects], units * 45 // 256
    lags = Neighbours(rho=0.3, w_effect=0.4, gamma=0.4, eta=-0.15) if spatial else Neighbours(gamma=0.5)
    return PanelDesign(
        units=units,
        periods=19,
        first_period=2001,
        geography=Grid(),
        weights=Contiguity(),
        levels=Effects(unit_sd=1.0 * ("unit" in taken), period_sd=0.5 * ("period" in taken)),
        covariates=(Normal("x", 1.0, -0.3 if spatial else 0.0),),
        errors=Process(sd=0.5),
        adoption=Calendar(dates=((2005, cohort), (2009, cohort), (2014, cohort))),
        effect=Effect(size=1.0),
        spillover=lags,
    )


@dataclass(frozen=True, slots=True)
class DynamicSpatialPanel(RegressionEstimator):
    """Dynamic spatial panel by corrected quasi maximum likelihood: time lag, spatial lag, space-time lag.

    model: sdm (rho, WX) | sar (rho) | ar (no spatial terms: a dynamic panel without W). correction: of the bias that
    unit effects bring: score (right for any T) | analytic (one step) | jackknife (half-panels) | none. effects: two-way
    | unit. space_time: whether neighbours' past outcomes are in the model (eta); never in ar. outcome, regressors:
    names of variables; None = the panel's own roles. weights: name of the panel's W; None = its first. terms: those
    that are reported, None = all. label: its name in tables, by default e.g. dynamic-sdm-score.

    Terms: slopes, rho, gamma (own past), eta (neighbours' past), sigma2; direct, indirect and total effects within the
    period, and in the long run (long_direct:NAME, ...), with errors by the delta method. Errors: hessian. Statistics:
    loglik (of the uncorrected maximum), r2 (given the lags, effects included), largest_root (the process is stable
    below 1). A fit that is not stable has not converged. The errors of the jackknife are those of many periods, and too
    small with few (study `dynamic`).

    >>> import panelproof as pp
    >>> found = pp.DynamicSpatialPanel(model="ar")(pp.example_panel().panel)
    >>> print(f"{found.params['gamma']:.2f} ({found.std_errors['gamma']:.2f})")
    0.07 (0.03)
    """

    kind: ClassVar[str] = "dynamic-spatial"
    gaps: ClassVar[bool] = False

    model: DynamicModel = "sdm"
    correction: Correction = "score"
    effects: Literal["two-way", "unit"] = "two-way"
    space_time: bool = True
    outcome: str | None = None
    regressors: tuple[str, ...] | None = None
    weights: str | None = None
    terms: tuple[str, ...] | None = None
    label: str = ""

    @property
    def name(self) -> str:
        """Its label, or e.g. dynamic-sdm-score, dynamic-sdm-score-unit."""
        ending = "" if self.effects == "two-way" else f"-{self.effects}"
        return self.label or f"dynamic-{self.model}-{self.correction}{ending}"

    @property
    def home(self) -> Home:
        """Eighteen periods beside the first; all is right by adjusted scores, by others in longer panels alone."""
        exact = self.correction == "score" and self.model != "sar"
        design = dynamic_world(self.effects, spatial=self.model != "ar", units=256 if exact else 36)
        own = ("did", "gamma", "sigma2", "long_total:did")
        spatial = ("w_did", "rho", "eta", "indirect:did", "long_direct:did", "long_indirect:did")
        right = own + (spatial if self.model == "sdm" else ())
        return design, right if exact else ()

    @property
    def form(self) -> SpatialForm:
        """Which spatial terms the model has."""
        return FORMS[self.model]

    @property
    def lags(self) -> tuple[str, ...]:
        """Parameters of lags of the outcome."""
        if self.model == "ar":
            return ("gamma",)
        return ("rho", "gamma", "eta") if self.space_time else ("rho", "gamma")

    def _targets(self, names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
        """All terms with their estimands, effects in the long run among them."""
        kinds = ("direct", "indirect", "total") if self.form.lag else ()
        kinds = (*kinds, *(f"long_{kind}" for kind in kinds or ("total",)))
        return targets_of(self.form, names, (*self.lags, "sigma2"), kinds)

    def layout(self, schema: Schema) -> Layout:
        """Slopes, lags of the outcome, sigma2, effects within the period and in the long run."""
        outcome, names = self.names(schema)
        check_names(schema, outcome, names, self.name)
        if self.model != "ar":
            weights_of(self.weights, schema, self.name)
        found = self._targets(names)
        targets = dict(found)
        if len(targets) < len(found):  # names are not distinct
            raise bad(f"regressors have the names of terms of the model among {listed(names)}", where=self.name,
                      allowed="names other than rho, gamma, eta, sigma2, w_NAME, direct:NAME, long_direct:NAME, ...",
                      remedy="rename the columns")  # fmt: skip
        statistics = ("loglik", "r2", "largest_root")
        return Layout(tuple(targets), ("hessian",), statistics, targets).only(self.terms, self.name)

    def reduction(self, schema: Schema) -> Reduction:
        """Cross products of y, its lags, X and WX."""
        (outcome, names), spatial = self.names(schema), self.model != "ar"
        weights = weights_of(self.weights, schema, self.name) if spatial else ""
        return DynamicCrossProducts(outcome, names, weights, self.lags, self.form.durbin, self.effects,
                                    self.correction == "jackknife")  # fmt: skip

    @np.errstate(divide="ignore", invalid="ignore", over="ignore")  # a degenerate draw is NaN with a status
    def solve(self, plan: Any, moments: Any, schema: Schema, streams: Streams) -> Estimates:
        """The maximum, its correction, and effects."""
        assert isinstance(plan, DynamicPlan)
        assert isinstance(moments, DynamicMoments)
        # a W that period effects cannot be taken out with
        if plan.spectrum is not None and self.effects != "unit":
            weights = plan.spectrum.weights
            where = f"{self.name}, weights {weights.name}"
            if not weights.row_stochastic:
                raise bad("period effects are taken out by a transformation that needs a row-stochastic W", where=where,
                          allowed='standardize = "row"', remedy='use effects = "unit"')  # fmt: skip
            if plan.spectrum.is_flat("lee-yu"):
                raise bad("W links all units equally or almost equally: the likelihood hardly depends on rho",
                          where=where, allowed="weights that differ between near and far units",
                          remedy="choose fewer neighbours")  # fmt: skip
        fit = self._fit(plan, moments)
        whole = DynamicLikelihood.of(plan, plan.periods, self.lags, self.effects)
        covariance, sound = ols.invert(fit.information)
        definite = np.diagonal(covariance, axis1=1, axis2=2).min(axis=1) > 0
        effects, moved = self._effects(fit, plan)
        estimate = np.concatenate([fit.parameters, effects], axis=1)
        variance = np.concatenate([np.diagonal(covariance, axis1=1, axis2=2), effect_variances(moved, covariance)],
                                  axis=1)  # fmt: skip
        se = np.sqrt(np.where(variance >= 0, variance, np.nan))[:, None, :]
        stable, finite = whole.inside(fit.p), np.isfinite(estimate).all(axis=1) & np.isfinite(se).all(axis=(1, 2))
        identified = np.isfinite(fit.p).all(axis=1)
        status = np.select([finite & fit.found & stable & sound & definite, identified & np.isfinite(fit.loglik)],
                           [Status.OK, Status.NOT_CONVERGED], Status.SINGULAR)  # fmt: skip
        e = np.concatenate([np.ones((len(fit.p), 1)), -fit.p, -fit.slopes], axis=1)
        ssr = np.vecdot(np.matmul(moments.gram[:, 0], e[:, :, None])[:, :, 0], e)
        statistics = {"loglik": fit.loglik, "r2": 1 - ssr / moments.tss, "largest_root": whole.largest_root(fit.p)}
        terms = tuple(dict(self._targets(self.names(schema)[1])))
        found = Estimates(terms, ("hessian",), estimate, se, np.full_like(se, np.inf), status.astype(np.uint8),
                          statistics)  # fmt: skip
        return found if self.terms is None else found.only(self.terms)

    def _window(
        self, plan: DynamicPlan, moments: DynamicMoments, at: int, window: slice, correction: Correction
    ) -> DynamicFit:
        """One window, with a correction other than the jackknife."""
        likelihood = DynamicLikelihood.of(plan, window.stop - window.start, self.lags, self.effects)
        gram, first = moments.gram[:, at], 1 + len(self.lags)  # of the regressors, after y and its lags
        p, found, loglik = likelihood.maximum(gram)
        bread = ols.invert(gram[:, first:, first:])[0]
        across = gram[:, :first, first:]
        on_slopes = np.matmul(across, bread)
        k = gram[:, :first, :first] - np.matmul(on_slopes, across.swapaxes(1, 2))
        plain = _at(likelihood, gram, k, on_slopes, p, found, loglik, corrected=False)
        if correction == "none":
            return plain
        bias, of_sigma2 = likelihood.score_bias(p, plain.sigma2)
        scores = np.concatenate([np.zeros_like(plain.slopes), bias, of_sigma2[:, None]], axis=1)
        moved = plain.parameters + _solved(plain.information, scores)
        slopes, last = plain.slopes.shape[1], moved.shape[1] - 1
        own, start, sigma2 = moved[:, :slopes], moved[:, slopes:last], moved[:, last]
        if correction == "analytic":
            information = _information(likelihood, gram, own, start, sigma2, corrected=False)
            return DynamicFit(own, start, sigma2, information, found, loglik)
        p, settled = likelihood.root(k, np.where(likelihood.inside(start)[:, None], start, p))
        return _at(likelihood, gram, k, on_slopes, p, found & settled, loglik, corrected=True)

    def _fit(self, plan: DynamicPlan, moments: DynamicMoments) -> DynamicFit:
        """The fit of the whole panel, by the jackknife with those of its halves."""
        if self.correction != "jackknife":
            return self._window(plan, moments, 0, slice(0, plan.periods), self.correction)
        windows = windows_of(plan.periods, halves=True)
        whole, *halves = (self._window(plan, moments, w, window, "none") for w, window in enumerate(windows))
        mean = np.mean([half.parameters for half in halves], axis=0)
        corrected = 2 * whole.parameters - mean
        slopes, p, sigma2 = np.split(corrected, [whole.slopes.shape[1], corrected.shape[1] - 1], axis=1)
        likelihood = DynamicLikelihood.of(plan, plan.periods, self.lags, self.effects)
        information = _information(likelihood, moments.gram[:, 0], slopes, p, sigma2[:, 0], corrected=False)
        found = np.logical_and.reduce([one.found for one in (whole, *halves)])
        return DynamicFit(slopes, p, sigma2[:, 0], information, found, whole.loglik)

    def _effects(self, fit: DynamicFit, plan: DynamicPlan) -> tuple[Floats, Floats]:
        """Effects within the period and in the long run, (R, F), and their derivatives by the parameters.

        In the long run they are those of a static model with rho = (rho + eta) / (1 - gamma), over 1 - gamma.
        """
        rows, count = fit.slopes.shape
        gamma = fit.p[:, self.lags.index("gamma")]
        if plan.spectrum is None:
            long = fit.slopes / (1 - gamma)[:, None]
            moved = np.zeros((rows, count, count + 2))
            moved[:, np.arange(count), np.arange(count)] = 1 / (1 - gamma)[:, None]
            moved[:, :, count] = long / (1 - gamma)[:, None]
            return long, moved
        rho = np.ascontiguousarray(fit.p[:, 0])
        eta = fit.p[:, 2] if self.space_time else np.zeros_like(rho)
        at = (rho + eta) / (1 - gamma)
        beyond = np.isfinite(at) & ~(np.abs(at) * plan.spectrum.weights.radius < 1)  # and yet stable, as roots say
        short, slopes_of_short = self._static(fit.slopes, plan.spectrum.traces(rho, "direct"), rho, plan)
        traces = plan.spectrum.traces(np.where(beyond, np.nan, at), "direct")
        long, slopes_of_long = self._static(fit.slopes, traces, at, plan)
        for row in np.flatnonzero(beyond):
            one = slice(row, row + 1)
            traces = plan.spectrum.at(float(at[row]))
            long[one], slopes_of_long[one] = self._static(fit.slopes[one], traces, at[one], plan)
        long, slopes_of_long = long / (1 - gamma)[:, None], slopes_of_long / (1 - gamma)[:, None, None]
        size = count + len(self.lags) + 1
        moved = np.zeros((rows, short.shape[1] + long.shape[1], size))
        first = slice(0, short.shape[1])
        moved[:, first, : count + 1] = slopes_of_short[:, :, : count + 1]
        by_rho = slopes_of_long[:, :, count] / (1 - gamma)[:, None]
        second = moved[:, short.shape[1] :]
        second[:, :, :count] = slopes_of_long[:, :, :count]
        second[:, :, count] = by_rho
        second[:, :, count + 1] = by_rho * at[:, None] + long / (1 - gamma)[:, None]
        if self.space_time:
            second[:, :, count + 2] = by_rho
        return np.concatenate([short, long], axis=1), moved

    def _static(self, slopes: Floats, traces: Traces, rho: Floats, plan: DynamicPlan) -> tuple[Floats, Floats]:
        """Effects of a static model (R, F) and their derivatives by slopes, rho and sigma2."""
        effects = effects_of(slopes, rho, traces, plan.units, self.form)
        return effects, jacobian(slopes, rho, traces, plan.units, self.form)
