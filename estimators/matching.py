"""Difference-in-differences on a sample matched on propensity scores (PSM-DID), on R panels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from scipy.special import stdtr

from estimators.core import regression as ols
from estimators.core.error_types import check_error_types, groups_of, may_be_floored
from estimators.core.estimator import (
    Estimates,
    Home,
    Layout,
    RegressionEstimator,
    Status,
    WeightUse,
    check_names,
    slope_targets,
    status_where,
)
from estimators.core.regression import Logit, check_fixed, logit
from estimators.core.tile import WeightedWithin, spread, weight_root, without_singletons
from estimators.linear.covariances import Sample, cells_of, covariance
from sim.arrays import Flags, Floats
from sim.errors import bad
from sim.panel import Panel, part, seen_in
from sim.presets import Paper
from sim.schema import Schema
from sim.streams import Streams

# Matching of units on propensity scores, and how alike the matched groups are.
#
# A link matrix (treated, controls) holds what each control weighs in the comparison of each treated unit; its rows
# sum to one, or to zero for a treated unit without a match. A control's matching weight is its column's sum, a
# matched treated unit's is one: the weights of the effect on the treated (Heckman, Ichimura and Todd 1997;
# Rosenbaum and Rubin 1983).


DIGITS = 12  # of scores and their distances, beyond which they differ by rounding, as means over other years do


def on_support(score: Floats, treated: Flags) -> Flags:
    """Treated units whose score lies within the range of the controls' scores, (N,) (Dehejia and Wahba 1999)."""
    score = np.round(score, DIGITS)
    controls = score[~treated]
    return np.asarray(treated & (score >= controls.min()) & (score <= controls.max()))


def nearest_links(of: Floats, among: Floats, neighbours: int, caliper: float, replacement: bool) -> Floats:
    """Each treated unit linked to its `neighbours` nearest controls within the caliper, equally.

    of (treated,) and among (controls,): scores; caliper: the largest distance of two scores, inf = none. Without
    replacement the treated choose in descending order of their scores, and a control serves once. Of controls at equal
    distance the first is taken.
    """
    distance = np.round(np.abs(of[:, None] - among), DIGITS)
    distance[distance > caliper] = np.inf
    chosen = np.zeros(distance.shape, dtype=bool)
    if replacement:
        order = np.argsort(distance, axis=1, kind="stable")[:, :neighbours]
        np.put_along_axis(chosen, order, True, axis=1)
        return _shares(chosen & np.isfinite(distance))
    for row in np.argsort(-np.round(of, DIGITS), kind="stable"):
        order = np.argsort(distance[row], kind="stable")[:neighbours]
        taken = order[np.isfinite(distance[row, order])]
        chosen[row, taken] = True
        distance[:, taken] = np.inf
    return _shares(chosen)


def radius_links(of: Floats, among: Floats, radius: float) -> Floats:
    """Each treated unit linked to all controls whose scores are within the radius, equally."""
    return _shares(np.round(np.abs(of[:, None] - among), DIGITS) <= radius)


def kernel_links(of: Floats, among: Floats, bandwidth: float) -> Floats:
    """Each treated unit linked to all controls by the Epanechnikov kernel of the distance of scores / bandwidth."""
    ratio = (of[:, None] - among) / bandwidth
    return _shares(np.maximum(1.0 - ratio**2, 0.0))


def matching_weights(links: Floats, treated: Flags, eligible: Flags) -> Floats:
    """Weights (N,) of a link matrix between the eligible treated and the eligible controls; 0 = not matched."""
    weights = np.zeros(treated.size)
    weights[treated & eligible] = (links.sum(axis=1) > 0).astype(np.float64)
    weights[~treated & eligible] = links.sum(axis=0)
    return weights


def _shares(strength: Floats | Flags) -> Floats:
    """Rows that sum to one, or to zero where nothing is linked."""
    total = strength.sum(axis=1, keepdims=True)
    return np.asarray(strength / np.where(total > 0, total, 1.0), dtype=np.float64)


@np.errstate(divide="ignore", invalid="ignore")  # a group of one has no variance, nor has one of equal units
def balance(x: Floats, treated: Flags, weights: Floats, *, before: Flags) -> Mapping[str, Floats]:
    """How alike treated and controls are in each covariate, before matching and after, each (K,).

    x (N, K); weights (N,) of the matching; before (N,): the units that were to be matched. bias_*: standardised bias in
    percent, 100 (mean_1 - mean_0) / sqrt((s_1^2 + s_0^2) / 2), with the variances of the unmatched groups both times
    (Rosenbaum and Rubin 1985). variance_ratio_*: s_1^2 / s_0^2 with s^2 = n / (n - 1) sum w (x - mean)^2 / sum w.
    t_*, p_*: t-test of equal means from the (weighted) regression on a dummy, with n - 2 degrees of freedom.
    """
    whole = before.astype(np.float64)
    first, second = _contrast(x, treated, whole), _contrast(x, treated, weights)
    pooled = np.sqrt((first["variance_1"] + first["variance_0"]) / 2)
    out: dict[str, Floats] = {}
    for when, found in (("before", first), ("after", second)):
        out |= {
            f"mean_treated_{when}": found["mean_1"],
            f"mean_control_{when}": found["mean_0"],
            f"bias_{when}": 100 * (found["mean_1"] - found["mean_0"]) / pooled,
            f"variance_ratio_{when}": found["variance_1"] / found["variance_0"],
            f"t_{when}": found["t"],
            f"p_{when}": found["p"],
        }
    return out


def _contrast(x: Floats, treated: Flags, weights: Floats) -> Mapping[str, Floats]:
    """Weighted means and variances of both groups and the t-test of their difference, each (K,)."""
    out: dict[str, Floats] = {}
    squares, inverse_sizes = np.zeros(x.shape[1]), 0.0
    for group, members in ((1, treated & (weights > 0)), (0, ~treated & (weights > 0))):
        w, count = weights[members], int(members.sum())
        mean = w @ x[members] / w.sum()
        deviation = w @ (x[members] - mean) ** 2
        out[f"mean_{group}"] = mean
        out[f"variance_{group}"] = deviation / w.sum() * (count / np.float64(count - 1))
        squares += deviation
        inverse_sizes += 1.0 / float(w.sum())
    dof = int((weights > 0).sum()) - 2
    out["t"] = (out["mean_1"] - out["mean_0"]) / np.sqrt(squares / np.float64(dof) * inverse_sizes)
    out["p"] = 2 * stdtr(dof, -np.abs(out["t"]))
    return out


# Two-way regressions with weights: weighted least squares after the weighted within transformation.


@np.errstate(divide="ignore", invalid="ignore")  # a degenerate draw is NaN with a status
def weighted_two_way(
    panel: Panel, outcome: str, regressors: tuple[str, ...], errors: tuple[str, ...], weights: Floats
) -> Estimates:
    """A two-way regression of R panels by weights of units (N,) or of cells (T, N); those of weight 0 are left out.

    Coefficients minimise the weighted sum of squares; the constant, the last term, is ybar - xbar'b in weighted means.
    errors: of `linear.covariances`, with weights as inverse variances under iid and in the scores w x e of all
    others; the factor of clusters counts regressors and the effects that are not nested in a cluster. Weights are
    rescaled to sum to n, which changes sigma2 alone. r2 are shares of weighted sums of squares; floored:ERROR is 1
    where negative eigenvalues of the slopes' matrix were set to zero. A variance that is zero up to rounding, as that
    of two units' scores, which cancel, is NaN. A panel with a regressor that the effects absorb, or that is collinear,
    among the units that are left, or whose outcome is fitted without error, is SINGULAR.
    """
    fit = _WeightedFit.of(panel, outcome, regressors, weights)
    r, k = len(fit.beta), len(regressors)
    sample = Sample.of(fit.used, errors, k, fit.effects, ("unit", "period"), "nonnested")
    found = [covariance(error, fit.psi[:, :-1], fit.e, sample) for error in errors]

    # variances: the slopes' from their own matrix, the constant's from all; NaN where they cannot be told from rounding
    ssr, rounding = ols.sum_of_squares(fit.e), ols.ROUNDING * fit.raw_squares
    least = np.square(fit.psi).sum(axis=(2, 3)) * rounding[:, None]
    variances = []
    for error, own in zip(errors, found, strict=True):
        constant = covariance(error, fit.psi, fit.e, sample).matrix[:, -1, -1]
        variance = np.column_stack([np.diagonal(own.matrix, axis1=1, axis2=2), constant])
        variances.append(np.where(variance > least, variance, np.nan))

    r2 = 1.0 - ssr / fit.total
    statistics = {
        "r2": r2,
        "r2_within": 1.0 - ssr / fit.within,
        "r2_adjusted": 1.0 - (1.0 - r2) * (sample.nobs - 1) / sample.free,
        "sigma2": ssr / sample.free,
    }
    floored = {
        f"floored:{error}": spread(one.floored.astype(np.float64), r)
        for error, one in zip(errors, found, strict=True)
        if may_be_floored(error, tuple(panel.attributes))
    }
    return Estimates(
        terms=(*regressors, "constant"),
        errors=errors,
        estimate=fit.beta,
        se=np.sqrt(np.stack(variances, axis=1)),
        dof=np.stack([np.full((r, k + 1), float(one.dof)) for one in found], axis=1),
        status=status_where(np.isfinite(fit.beta).all(axis=1) & (ssr > rounding)),
        statistics=statistics | floored,
    )


@dataclass(frozen=True, eq=False, slots=True)
class _WeightedFit:
    """Coefficients beta (R, K + 1), the constant last, their weights psi (1 or R, K + 1, T, N), residuals e (R, T, N).

    used: the panel of cells with a weight, without singletons; effects: how many were taken out. Sums of squares of the
    outcome by weight, (R,): raw_squares as they are, total around their mean, within after the effects.
    """

    used: Panel
    effects: int
    beta: Floats
    psi: Floats
    e: Floats
    raw_squares: Floats
    total: Floats
    within: Floats

    @classmethod
    def of(cls, panel: Panel, outcome: str, regressors: tuple[str, ...], weights: Floats) -> _WeightedFit:
        """Least squares by weights, rescaled to sum to their number; NaN where regressors are absorbed or collinear."""
        cells = np.broadcast_to(weights, (len(panel.periods), len(panel.units)))
        if panel.observed is not None:
            cells = cells * panel.observed[0]
        cells = cells * seen_in(without_singletons(replace(panel, observed=cells[None] > 0), ("unit", "period")))
        cells = cells * ((cells > 0).sum() / cells.sum())
        root, mass, has = np.sqrt(cells), cells.sum(), cells > 0
        raw_x = ols.stack([np.where(has, panel.variables[name], 0.0) for name in regressors])
        raw_y = spread(np.where(has, panel.variables[outcome], 0.0), panel.replications)
        xbar, ybar = ((cells * values).sum(axis=(-2, -1)) / mass for values in (raw_x, raw_y))

        within = WeightedWithin.of(cells)
        x = root * within(raw_x.reshape(-1, *cells.shape)).reshape(raw_x.shape)
        y = root * within(raw_y)
        gram, around = ols.gram(x), (cells * np.square(raw_x - xbar[:, :, None, None])).sum(axis=(2, 3))
        gram[(np.diagonal(gram, axis1=1, axis2=2) <= ols.ABSORBED * around).any(axis=1)] = np.nan
        bread, _ = ols.invert(gram)
        slopes, psi = ols.solved(bread, x, y), ols.influences(bread, x)

        constant = root / mass - np.einsum("rk,rktn->rtn", xbar, psi)
        level = ybar - np.vecdot(slopes, np.broadcast_to(xbar, slopes.shape))
        return cls(
            used=replace(panel, observed=has[None]),
            effects=within.effects,
            beta=np.column_stack([slopes, level]),
            psi=np.concatenate([psi, constant[:, None]], axis=1),
            e=ols.residual(y, x, slopes),
            raw_squares=ols.sum_of_squares(root * raw_y),
            total=(cells * np.square(raw_y - ybar[:, None, None])).sum(axis=(1, 2)),
            within=ols.sum_of_squares(y),
        )


Method = Literal["nearest", "radius", "kernel"]
LEAST_CLUSTERS = 2  # of matched treated units, and of controls; one alone shows not how much it moves by itself


@dataclass(frozen=True, eq=False, slots=True)
class Matched:
    """The units of one panel after matching.

    x (N, K): covariates, means over the years before treatment; treated (N,): ever treated in the panel; candidates
    (N,): units seen in those years; supported (N,): treated candidates on common support; weights (N,): 0 = not
    matched; logit: of the candidates.
    """

    x: Floats
    treated: Flags
    candidates: Flags
    supported: Flags
    weights: Floats
    logit: Logit

    @property
    def units(self) -> Flags:
        """Units with a positive weight, (N,)."""
        return self.weights > 0

    def clusters(self, error: str, panel: Panel) -> tuple[int, int] | None:
        """How many clusters hold matched treated units and how many matched controls, the smaller of two groupings.

        None for an error type that does not cluster units.
        """
        names = groups_of(error, tuple(panel.attributes))
        groups = (self.units & self.treated, self.units & ~self.treated)
        codes = [cells_of(name, panel)[0] for name in names if name != "period"]
        counts = [(len(np.unique(code[groups[0]])), len(np.unique(code[groups[1]]))) for code in codes]
        return min(counts, key=min) if counts else None

    @property
    def status(self) -> Status:
        """Whether there is a matched sample: a propensity score and at least one pair."""
        if not self.logit.converged:
            return Status.SINGULAR
        return Status.OK if self.units.any() else Status.REFUSED


@dataclass(frozen=True, slots=True)
class PsmDID(RegressionEstimator):
    """Two-way DID on the sample matched on the propensity score, weighted by the matching.

    Units are matched once, on the covariates' means over `years` (first and last, both included) or, by default, over
    the years before anybody is treated, so that every treated unit is compared in years untouched by the policy.
    Treated are the units ever treated; controls those never treated. The score is a logit; treated units out of the
    range of the controls' scores are left out.

    outcome, regressors: names of variables; None = the panel's own roles. method: nearest, radius (all controls within
    the caliper) or kernel (Epanechnikov). neighbours: controls that `nearest` matches to a treated unit. caliper: the
    largest distance between scores, of nearest and radius. replacement: whether `nearest` may use a control again.
    bandwidth: of the kernel, in units of the score. years: first and last year of the covariates' means; None = those
    before anybody is treated. target: the estimand that the treatment's coefficient is held to. label: its name in
    tables. covariates: None = the panel's controls. errors: see `linear.covariances`; they take the matching weights as
    given. A panel that has no error of some type is REFUSED: clustered ones of the treatment take two clusters of
    matched treated units and two of controls, as in `staggered.adoption_effects.has_error`. Source: Heckman,
    Ichimura and Todd (1997), with two-way effects.

    Where the panel has a weight, the regression is weighted by its product with the matching weights, and the matching
    is not weighted (DuGoff, Schuler and Stuart 2014, Health Services Research 49:284).

    >>> import panelproof as pp
    >>> found = pp.PsmDID()(pp.example_panel().panel)
    >>> print(f"{found.params['did']:.3f} ({found.std_errors['did']:.3f})")
    0.027 (0.005)
    """

    kind: ClassVar[str] = "psm-did"
    weight_use: ClassVar[WeightUse] = "used"
    # home: the `paper` design without spillovers
    home: ClassVar[Home] = (Paper(), ("did",))

    outcome: str | None = None
    regressors: tuple[str, ...] | None = None
    covariates: tuple[str, ...] | None = None
    method: Method = "nearest"
    neighbours: int = 1
    caliper: float = 0.05
    replacement: bool = True
    bandwidth: float = 0.06
    years: tuple[int, int] | None = None
    errors: tuple[str, ...] = ("iid", "hc1", "cluster:unit")
    target: str = "att"
    label: str = "psm-did"

    def _covariates(self, schema: Schema) -> tuple[str, ...]:
        return schema.roles.controls if self.covariates is None else self.covariates

    def layout(self, schema: Schema) -> Layout:
        """That of the two-way regression, with the numbers of matched treated and control units."""
        if schema.roles.treatment is None:
            raise bad("the panel has no treatment", where=self.label, allowed="a treatment to match on",
                      remedy="name the treatment")  # fmt: skip
        covariates = self._covariates(schema)
        for name in covariates:
            schema.require(name, self.label)
        if not covariates or len(set(covariates)) < len(covariates):
            raise bad(f"covariates = {list(covariates)}", where=self.label, allowed="one or more distinct variables",
                      remedy="name covariates, or controls")  # fmt: skip
        if self.neighbours < 1 or not self.caliper > 0 or not self.bandwidth > 0:
            raise bad(f"neighbours = {self.neighbours}, caliper = {self.caliper}, bandwidth = {self.bandwidth}",
                      where=self.label, allowed="positive numbers", remedy="correct them")  # fmt: skip
        outcome, regressors = self.names(schema)
        check_names(schema, outcome, regressors, self.label)
        check_error_types(self.errors, schema, self.label, "least-squares")
        targets = slope_targets(schema, regressors, self.target)
        floored = tuple(f"floored:{error}" for error in self.errors if may_be_floored(error, schema.attributes))
        statistics = ("r2", "r2_within", "r2_adjusted", "sigma2", *floored, "treated_matched", "controls_matched")
        return Layout((*regressors, "constant"), self.errors, statistics, targets)

    def variables(self, schema: Schema) -> frozenset[str]:
        """Outcome, regressors, covariates and the treatment."""
        names = (*self._covariates(schema), *([schema.roles.treatment] if schema.roles.treatment else []))
        outcome, regressors = self.names(schema)
        return frozenset((outcome, *regressors, *names, *self.weight(schema)))

    def used(self, panel: Panel) -> Panel:
        """The matched units without singletons."""
        matched = part(panel, self.match(panel).units, np.ones(len(panel.periods), dtype=bool))
        return without_singletons(matched, ("unit", "period"))

    def match(self, panel: Panel) -> Matched:
        """The matching in the first replication of a panel; raises BadInput when no year lies before all treatment."""
        seen = seen_in(panel)
        counted = seen & self.window(panel)[:, None]
        values, count = [panel.variables[name][0] for name in self._covariates(panel.schema)], counted.sum(axis=0)
        totals = np.stack([np.where(counted, one, 0.0).sum(axis=0) for one in values], axis=1)
        x = np.where(count[:, None] > 0, totals / np.maximum(count, 1)[:, None], np.nan)
        treated = (_treated(panel) & seen).any(axis=0)
        candidates = counted.any(axis=0)
        fit = logit(x[candidates], treated[candidates])
        supported, weights = np.zeros_like(treated), np.zeros(treated.size)
        if fit.converged:
            supported[candidates] = on_support(fit.score, treated[candidates])
            eligible = candidates & (supported | ~treated)
            score = np.full(treated.size, np.nan)
            score[candidates] = fit.score
            of, among = score[supported], score[candidates & ~treated]
            match self.method:
                case "nearest":
                    links = nearest_links(of, among, self.neighbours, self.caliper, self.replacement)
                case "radius":
                    links = radius_links(of, among, self.caliper)
                case "kernel":
                    links = kernel_links(of, among, self.bandwidth)
            weights = matching_weights(links, treated, eligible)
        return Matched(x, treated, candidates, supported, weights, fit)

    def window(self, panel: Panel) -> Flags:
        """The years (T,) over which covariates are averaged; raises BadInput when there are none."""
        periods = np.asarray(panel.periods)
        if self.years is not None:
            chosen = (periods >= self.years[0]) & (periods <= self.years[1])
            if not chosen.any():
                raise bad(f"no period lies in years = {list(self.years)}", where=self.label,
                          allowed=f"within {periods[0]}-{periods[-1]}", remedy="correct the years")  # fmt: skip
            return np.asarray(chosen)
        before = ~np.logical_or.accumulate((_treated(panel) & seen_in(panel)).any(axis=1))
        if not before.any():
            raise bad(f"some units are treated in {periods[0]}, the first period", where=self.label,
                      allowed="a period before the first adoption", remedy="name the years to match on")  # fmt: skip
        return before

    def __call__(self, panel: Panel, streams: Streams | None = None) -> Estimates:
        """Match and fit R panels, matching once when treatment and covariates are the same in all of them.

        Raises BadInput for regressors that the effects absorb in the whole panel; one that they absorb among the
        matched units alone makes the panel SINGULAR.
        """
        layout = self.layout(panel.schema)
        check_fixed(panel, layout.terms[:-1], self.label)
        used = (*self._covariates(panel.schema), panel.roles.treatment or "")
        if all(panel.variables[name].shape[0] == 1 for name in used):
            return self._fit(panel, layout)
        return Estimates.join([self._fit(panel.replication(row), layout) for row in range(panel.replications)])

    def _fit(self, panel: Panel, layout: Layout) -> Estimates:
        """Estimates on panels that share one matching."""
        found = self.match(panel)
        if found.status is not Status.OK:
            return Estimates.join([Estimates.failed(layout, found.status)] * panel.replications)
        estimates = self.fit(panel, found)
        refused = (estimates.status == Status.OK) & np.isnan(estimates.se).any(axis=(1, 2))
        return replace(estimates, status=np.where(refused, Status.REFUSED, estimates.status).astype(np.uint8))

    def fit(self, panel: Panel, found: Matched) -> Estimates:
        """The regression of R panels on a matched sample; errors that there are not are NaN and change no status."""
        outcome, regressors = self.names(panel.schema)
        root = weight_root(panel)
        weights = found.weights if root is None else found.weights * np.square(root)
        estimates = weighted_two_way(panel, outcome, regressors, self.errors, weights)
        clusters = [found.clusters(error, panel) for error in self.errors]
        lacking = np.array([count is not None and min(count) < LEAST_CLUSTERS for count in clusters])
        own = np.array([term == panel.roles.treatment for term in estimates.terms])
        sizes = {"treated_matched": found.treated, "controls_matched": ~found.treated}
        further = {
            name: np.full(panel.replications, float((group & found.units).sum())) for name, group in sizes.items()
        }
        return replace(
            estimates,
            se=np.where(lacking[:, None] & own, np.nan, estimates.se),
            statistics={**estimates.statistics, **further},
        )


def _treated(panel: Panel) -> Flags:
    """Which unit-periods are treated, (T, N)."""
    return np.asarray(panel.variables[panel.roles.treatment or ""][0] > 0)
