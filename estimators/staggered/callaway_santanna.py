"""Effects of cohorts in periods and their averages after Callaway and Sant'Anna (2021), on R panels at once.

att(G,T) compares the change of cohort G's outcome from its base period to T with that of units not treated by then.
Standard errors come from units' influence functions and hold the covariates' propensity scores and regressions and the
cohort shares to be estimated; there is no small-sample factor, and inference is normal. In a cohort of one unit the
unit's own noise leaves no trace in them, so they are too small where very small cohorts weigh much: on the `paper`
design's calendar 95% intervals cover .94 for event(0) to event(5), overall and overall:cohort, .84 for overall:event
and overall:calendar, which rest on the earliest cohorts of one city each.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from estimators.core.estimator import Estimates, Estimator, Layout, Moments, Reduction, Status
from estimators.core.names import outcome_of, treatment_of
from estimators.core.tile import Tile, spread
from estimators.linear.covariances import membership, unit_clusters
from estimators.staggered.adoption_effects import has_error
from estimators.staggered.aggregation import Aggregation, check_terms, staggered_targets, staggered_terms, told_by_cells
from estimators.staggered.bands import Multipliers, multipliers, simultaneous_critical_values
from estimators.staggered.cohort_comparisons import Base, CohortEstimates, Comparisons, Controls, CovariateMap, MeansMap
from estimators.staggered.cohorts import Cohorts, check_clusters
from estimators.staggered.two_groups import Adjustment
from sim.arrays import Flags, Floats
from sim.design import Design
from sim.errors import BadInput, bad, one_of
from sim.panel import Panel
from sim.presets import Paper
from sim.schema import Schema
from sim.streams import Streams

FAMILIES = ("event", "cohort", "calendar", "att")  # of terms; each has a band of its own
ROWS_WITH_INFLUENCE = 64  # replications solved together when units' influences travel with them


@dataclass(frozen=True, slots=True)
class CallawaySantAnna(Estimator):
    """Staggered difference-in-differences by cohort and period, and averages of it (`staggered.aggregation`).

    outcome, treatment: names of variables; None = the panel's own roles. controls: units never treated, or not yet
    treated in either period. method: of comparison, without covariates (unconditional), or `staggered.two_groups`'.
    covariates: their variables, read in the base period; none leaves the constant, with which all methods agree. base:
    of periods before adoption (less anticipation), the preceding one or that of treated periods. anticipation: periods
    before adoption in which units may already respond. window: event terms; cohorts, years: those reported as att(G,T),
    cohort(G), calendar(T). errors: cluster:unit or cluster:ATTRIBUTE (sums of influences within). band: "" or the
    multipliers of a bootstrap (rademacher, mammen) whose critical values, simultaneous at 1 - alpha for the event
    terms, and for cohort, calendar and att terms where reported, are statistics critical:event and so on, clustered as
    the first error type. draws: of that bootstrap. alpha: one minus the level at which the band holds. label: its name
    in tables, by default its kind.

    A term that averages one treated unit, or compares with one other, has no error: `adoption_effects.has_error`.

    Statistics: cells, the number of treated att(G,T) that enter; left_out, of those that nothing identifies.

    >>> import panelproof as pp
    >>> found = pp.CallawaySantAnna()(pp.example_panel().panel)
    >>> print(f"{found.params['overall:event']:.3f} ({found.std_errors['overall:event']:.3f})")
    0.046 (0.008)
    """

    kind: ClassVar[str] = "callaway-santanna"

    outcome: str | None = None
    treatment: str | None = None
    controls: Controls = "never"
    method: Literal["unconditional", "regression", "ipw", "dr"] = "unconditional"
    covariates: tuple[str, ...] = ()
    base: Base = "varying"
    anticipation: int = 0
    window: tuple[int, int] = (-5, 5)
    cohorts: tuple[int, ...] = ()
    years: tuple[int, ...] = ()
    errors: tuple[str, ...] = ("cluster:unit",)
    band: str = ""
    draws: int = 999
    alpha: float = 0.05
    label: str = ""

    @property
    def home(self) -> tuple[Design, tuple[str, ...]]:
        """One cohort of 48 cities, and controls that are redrawn: fixed ones would be a difference in trends."""
        terms = ("event(0)", "event(5)", "overall", "overall:event", "overall:cohort", "overall:calendar")
        return Paper(calendar="single", redraw=("controls",)), terms

    def layout(self, schema: Schema) -> Layout:
        """Terms in the order of `aggregation.staggered_terms`."""
        self._check(schema)
        terms = staggered_terms(self.window, self.cohorts, self.years)
        bands = tuple(f"critical:{family}" for family in self._families) if self.band else ()
        targets = staggered_targets(terms)
        return Layout(terms, self.errors, ("cells", "left_out", *bands), targets, perhaps=told_by_cells(terms))

    @property
    def _families(self) -> tuple[str, ...]:
        terms = staggered_terms(self.window, self.cohorts, self.years)
        return tuple(family for family in FAMILIES if any(term.startswith(f"{family}(") for term in terms))

    def variables(self, schema: Schema) -> frozenset[str]:
        """Outcome, treatment and covariates."""
        return frozenset((outcome_of(self.outcome, schema, self.name), self._treatment(schema), *self.covariates))

    def _treatment(self, schema: Schema) -> str:
        return treatment_of(self.treatment, schema, self.name)

    def _check(self, schema: Schema) -> None:
        for name in self.variables(schema):
            schema.require(name, self.name)
        check_terms(self.window, self.cohorts, self.years, self.name)
        if self.covariates and self.method == "unconditional":
            raise bad("covariates without a method that uses them", where=self.name, allowed="regression, ipw, dr",
                      remedy='set method = "dr"')  # fmt: skip
        if len(set(self.covariates)) < len(self.covariates):
            raise bad(f"covariates = {list(self.covariates)} repeat", where=self.name, allowed="each variable once",
                      remedy="remove the repeated name")  # fmt: skip
        check_clusters(self.errors, schema, self.name)
        if not 0 <= self.anticipation < schema.periods:
            raise bad(f"anticipation = {self.anticipation}", where=self.name, allowed="0 or more, below T",
                      remedy="correct the number of periods")  # fmt: skip
        if self.band not in ("", *get_args(Multipliers)) or self.draws < 1 or not 0 < self.alpha < 1:
            raise bad(f"band = {self.band!r}, draws = {self.draws}, alpha = {self.alpha}", where=self.name,
                      allowed='"", rademacher or mammen; 1 or more; between 0 and 1',
                      remedy="correct them")  # fmt: skip

    def reduction(self, schema: Schema) -> CallawaySantAnnaReduction:
        """Averages and the variances of their influences."""
        families = self._families if self.band else ()
        terms = staggered_terms(self.window, self.cohorts, self.years)
        method = None if self.method == "unconditional" else self.method
        return CallawaySantAnnaReduction(
            outcome_of(self.outcome, schema, self.name), self._treatment(schema), self.controls, method,
            self.covariates, self.base, self.anticipation, terms, self.errors, bool(families), self.name,
        )  # fmt: skip

    def influence(self, panel: Panel) -> CohortEstimates:
        """Estimates (R, K) and units' influences (R, K, N), whose sums of products are the terms' covariances.

        Terms as in the layout, NaN and 0 where not identified. Raises BadInput for a panel that cannot serve.
        """
        self.layout(panel.schema)
        reduction = self.reduction(panel.schema)
        answers = [reduction.answer(one, reduction.plan(one)) for one in reduction.alike(panel)]
        return CohortEstimates(
            *(np.concatenate([getattr(a, name) for a in answers]) for name in ("estimate", "influence"))
        )

    def solve(self, plan: Any, moments: Any, schema: Schema, streams: Streams) -> Estimates:
        """Standard errors, and critical values of bands if asked for."""
        layout, status = self.layout(schema), moments.status.astype(np.uint8)
        statistics = {"cells": moments.cells, "left_out": moments.left_out}
        if self.band:
            statistics |= self._critical_values(moments.influence, layout.terms, streams)
        with np.errstate(invalid="ignore"):
            se = np.sqrt(np.where(moments.variance > 0, moments.variance, np.nan))
        return Estimates.of(layout, moments.estimate, se, np.full(se.shape, np.inf), statistics, status=status)

    def _critical_values(self, influence: Floats, terms: tuple[str, ...], streams: Streams) -> dict[str, Floats]:
        """Of each family of terms, with multipliers of each replication's own."""
        rows = len(influence)
        streams = streams if streams.replications == rows else Streams(0, "", 0, rows)
        found: dict[str, list[Floats]] = {family: [] for family in self._families}
        kind: Multipliers = "mammen" if self.band == "mammen" else "rademacher"
        for row, generator in enumerate(streams.each("multipliers")):
            drawn = multipliers(kind, self.draws, influence.shape[2], generator)
            for family, values in found.items():
                chosen = [k for k, term in enumerate(terms) if term.startswith(f"{family}(")]
                values.append(simultaneous_critical_values(influence[row : row + 1, chosen], drawn, self.alpha))
        return {f"critical:{family}": np.concatenate(values) for family, values in found.items()}


@dataclass(frozen=True, eq=False, slots=True)
class CohortMoments(Moments):
    """estimate (R, K), variance (R, E, K), status, cells, left_out (R,); influence (R, K, clusters) for bands, zero for
    terms without an error."""

    estimate: Floats
    variance: Floats
    status: Floats
    cells: Floats
    left_out: Floats
    influence: Floats | None


@dataclass(frozen=True, eq=False, slots=True)
class CallawaySantAnnaPlan:
    """What one calendar and its covariates fix: the map from outcomes, which terms have cells, counts, clusters.

    certain (E, K): whether terms have an error of each type, as in `adoption_effects`.
    """

    map: MeansMap | CovariateMap
    identified: Flags
    certain: Flags
    cells: int
    left_out: int
    clusters: tuple[Floats | None, ...]  # (N, clusters) indicators of each error type, None for units


@dataclass(frozen=True, slots=True)
class CallawaySantAnnaReduction(Reduction):
    """att(G,T) of one outcome, their averages and variances; calendars that differ are taken one by one."""

    outcome: str
    treatment: str
    controls: Controls
    method: Adjustment | None
    covariates: tuple[str, ...]
    base: Base
    anticipation: int
    terms: tuple[str, ...]
    errors: tuple[str, ...]
    keep_influence: bool
    asked_by: str = field(compare=False)

    def prepare(self, panel: Panel) -> CallawaySantAnnaPlan | None:
        """The plan of a calendar and covariates that do not change, else None; raises BadInput."""
        return self.plan(panel) if self._fixed(panel) else None

    def rows(self, plan: Any) -> int:
        """Few where influences are kept."""
        return ROWS_WITH_INFLUENCE if self.keep_influence else Reduction.rows(self, plan)

    def _fixed(self, panel: Panel) -> bool:
        return all(panel.variables[name].shape[0] == 1 for name in (self.treatment, *self.covariates))

    def alike(self, panel: Panel) -> list[Panel]:
        """The panel itself, or its replications when treatment or covariates differ."""
        return [panel] if self._fixed(panel) else [panel.replication(row) for row in range(panel.replications)]

    def plan(self, panel: Panel) -> CallawaySantAnnaPlan:
        """Comparisons and maps of the one calendar of a panel."""
        cohorts = Cohorts.of(panel, self.treatment, self.asked_by)
        possible = Comparisons.of(cohorts, self.controls, self.base, self.anticipation)
        self._check_possible(possible)
        found = possible.used_by(self.terms)
        linear: MeansMap | CovariateMap
        if self.method is None:
            linear = MeansMap.of(found, Aggregation.of(self.terms, found.cells, cohorts))
        else:
            shape = (len(cohorts.periods), len(cohorts.first), 0)
            covariates = [panel.variables[name][0] for name in self.covariates]
            x = np.stack(covariates, axis=-1) if covariates else np.empty(shape)
            linear, found = CovariateMap.of(found, self.terms, x, self.method)
            if not found.treated.any():
                raise bad(f"no cohort can be compared given {one_of(self.covariates)}", where=self.asked_by,
                          allowed="covariates that overlap and are not collinear", remedy="use fewer")  # fmt: skip
        treated = sum(len(cohorts.periods) - g for g in cohorts.firsts)
        used = int(found.treated.sum())
        aggregation = Aggregation.of(self.terms, found.cells, cohorts)
        averaged = (aggregation.weights != 0) @ (cohorts.first == np.array(cohorts.firsts)[found.cells.cohort, None])
        compared = cohorts.never if self.controls == "never" else cohorts.later
        certain = np.stack([has_error(averaged, compared, error, panel) for error in self.errors])
        codes = [None if error == "cluster:unit" else unit_clusters(error, panel) for error in self.errors]
        clusters = tuple(None if own is None else membership(own) for own in codes)
        return CallawaySantAnnaPlan(linear, aggregation.identified, certain, used, treated - used, clusters)

    def _check_possible(self, possible: Comparisons) -> None:
        cohorts = possible.cohorts
        if self.controls == "never" and not cohorts.never.any():
            raise bad("no unit is never treated", where=self.asked_by, allowed='never treated units, which '
                                                                               'controls = "never" needs',
                      remedy='set controls = "not-yet"')  # fmt: skip
        if min(cohorts.firsts) <= self.anticipation >= max(cohorts.firsts):
            raise bad(f"no period lies before an adoption and its {self.anticipation} periods of "
                      "anticipation", where=self.asked_by,
                      allowed="a base period for some cohort", remedy="lower anticipation, or add periods")  # fmt: skip
        if not possible.treated.any():
            raise bad("no unit is untreated when others are treated", where=self.asked_by,
                      allowed="units never or later treated", remedy="add units that are never treated or treated "
                                                                     "later")  # fmt: skip

    def reduce(self, plan: Any, tile: Tile) -> CohortMoments:
        """One tile's estimates and variances."""
        if plan is not None:
            return self._moments(tile.panel, plan)
        return CohortMoments.join([self._alone(panel) for panel in self.alike(tile.panel)])

    def _alone(self, panel: Panel) -> CohortMoments:
        """One replication with a calendar of its own; one that cannot serve is NaN with a status."""
        try:
            plan = self.plan(panel)
        except BadInput:
            k, e, clusters = len(self.terms), len(self.errors), int(unit_clusters(self.errors[0], panel).max()) + 1
            kept = np.full((1, k, clusters), np.nan) if self.keep_influence else None
            status = np.full(1, float(Status.REFUSED))
            missing = np.full((1, e, k), np.nan)
            return CohortMoments(missing[:, 0], missing, status, np.zeros(1), np.full(1, np.nan), kept)
        return self._moments(panel, plan)

    def _moments(self, panel: Panel, plan: CallawaySantAnnaPlan) -> CohortMoments:
        answer = self.answer(panel, plan)
        r = panel.replications
        sums = [answer.influence if c is None else answer.influence @ c for c in plan.clusters]
        variance = np.where(plan.certain, np.stack([np.vecdot(each, each) for each in sums], axis=1), np.nan)
        return CohortMoments(
            estimate=spread(answer.estimate, r),
            variance=spread(variance, r),
            status=np.full(r, float(Status.OK)),
            cells=np.full(r, float(plan.cells)),
            left_out=np.full(r, float(plan.left_out)),
            influence=spread(sums[0] * plan.certain[0][:, None], r) if self.keep_influence else None,
        )

    def answer(self, panel: Panel, plan: CallawaySantAnnaPlan) -> CohortEstimates:
        """Estimates and influences, (1 or R, K) and (1 or R, K, N), of a panel with the plan's calendar."""
        found = plan.map(panel.variables[self.outcome])
        return CohortEstimates(np.where(plan.identified, found.estimate, np.nan), found.influence)
