"""Difference-in-differences on a sample matched on propensity scores (PSM-DID), on R panels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from estimators.core.error_types import check_error_types, groups_of, may_be_floored
from estimators.core.estimator import Estimates, Layout, Status
from estimators.core.logit import Logit, logit
from estimators.core.names import RegressionEstimator, check_names, slope_targets
from estimators.core.regression import check_fixed
from estimators.linear.covariances import cells_of
from estimators.matching import matching
from estimators.matching.weighted_within import weighted_two_way
from sim.arrays import Flags, Floats
from sim.design import Design
from sim.errors import bad
from sim.panel import Panel, part, seen_in
from sim.presets import Paper
from sim.schema import Schema
from sim.streams import Streams

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
    matched treated units and two of controls, as in `staggered.adoption_effects.has_error`. Source: Heckman, Ichimura
    and Todd (1997), with two-way effects.

    >>> import panelproof as pp
    >>> found = pp.PsmDID()(pp.example_panel().panel)
    >>> print(f"{found.params['did']:.3f} ({found.std_errors['did']:.3f})")
    0.027 (0.005)
    """

    kind: ClassVar[str] = "psm-did"

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

    @property
    def home(self) -> tuple[Design, tuple[str, ...]]:
        """The `paper` design without spillovers."""
        return Paper(), ("did",)

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
        return frozenset((outcome, *regressors, *names))

    def used(self, panel: Panel) -> Panel:
        """The matched units."""
        return part(panel, self.match(panel).units, np.ones(len(panel.periods), dtype=bool))

    def match(self, panel: Panel) -> Matched:
        """The matching in the first replication of a panel; raises BadInput when no year lies before all treatment."""
        seen = seen_in(panel)
        counted = seen & self.window(panel)[:, None]
        x = np.stack([_mean(panel.variables[name][0], counted) for name in self._covariates(panel.schema)], axis=1)
        treated = (_treated(panel) & seen).any(axis=0)
        candidates = counted.any(axis=0)
        fit = logit(x[candidates], treated[candidates])
        supported, weights = np.zeros_like(treated), np.zeros(treated.size)
        if fit.converged:
            supported[candidates] = matching.on_support(fit.score, treated[candidates])
            eligible = candidates & (supported | ~treated)
            score = np.full(treated.size, np.nan)
            score[candidates] = fit.score
            links = self._links(score[supported], score[candidates & ~treated])
            weights = matching.matching_weights(links, treated, eligible)
        return Matched(x, treated, candidates, supported, weights, fit)

    def _links(self, of: Floats, among: Floats) -> Floats:
        match self.method:
            case "nearest":
                return matching.nearest_links(of, among, self.neighbours, self.caliper, self.replacement)
            case "radius":
                return matching.radius_links(of, among, self.caliper)
            case "kernel":
                return matching.kernel_links(of, among, self.bandwidth)

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
        estimates = weighted_two_way(panel, outcome, regressors, self.errors, found.weights)
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


def _mean(x: Floats, counted: Flags) -> Floats:
    """Means over the periods that count, (T, N) -> (N,); NaN for a unit without any."""
    count = counted.sum(axis=0)
    total = np.where(counted, x, 0.0).sum(axis=0)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))
