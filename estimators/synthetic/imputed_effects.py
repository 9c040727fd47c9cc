"""Estimators that complete the untreated outcomes of treated cells: what they share."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from estimators.core import regression as ols
from estimators.core.error_types import check_error_types
from estimators.core.estimator import Estimates, Layout, Status, TreatmentEstimator, check_names
from estimators.core.tile import UNDATED, dates_of, spread
from estimators.staggered.aggregation import Cohorts
from estimators.synthetic.unit_samples import UnitSamples, check_draws, standard_error
from estimators.synthetic.untreated import UnitPanels
from sim.arrays import Codes, Flags, Floats
from sim.errors import bad, listed
from sim.panel import Panel, check_balanced
from sim.schema import Schema
from sim.streams import Streams
from sim.world.panel_design import PanelDesign
from sim.world.parts.adoption import Random
from sim.world.parts.covariates import Normal
from sim.world.parts.effect import Effect
from sim.world.parts.errors import Process
from sim.world.parts.geography import Nowhere
from sim.world.parts.levels import Effects
from sim.world.parts.weights import NoWeights

OVERALL = "overall"


@dataclass(frozen=True, eq=False, slots=True)
class Completion:
    """What R panels would be without treatment.

    outcome (R, T, N); tuning (R,): what was chosen from the data, held in samples of units; slopes (R, K); statistics
    by name, (R,); converged (R,).
    """

    outcome: Floats
    tuning: Floats
    slopes: Floats
    statistics: dict[str, Floats]
    converged: Flags


@dataclass(frozen=True, slots=True)
class ImputedEffects(TreatmentEstimator):
    """Base of estimators of the mean effect over all treated cells, as observed less completed outcomes.

    outcome, controls: names of variables; None = the panel's own roles. errors: placebo:unit, jackknife:unit,
    bootstrap:unit. draws: of placebo and bootstrap. label: its name in tables.
    """

    gaps: ClassVar[bool] = False

    outcome: str | None = None
    controls: tuple[str, ...] | None = None
    errors: tuple[str, ...] = ("jackknife:unit",)
    draws: int = 200
    label: str = ""

    @abstractmethod
    def own_statistics(self) -> tuple[str, ...]:
        """Names of the statistics."""

    @abstractmethod
    def complete(self, panels: UnitPanels, streams: Streams) -> Completion:
        """Complete R panels; whatever is chosen from the data is chosen here."""

    @abstractmethod
    def complete_again(self, panels: UnitPanels, samples: UnitSamples, whole: Completion) -> Completion:
        """Complete B samples of units; whole: the completion of the R panels that they come from."""

    @abstractmethod
    def check_calendar(self, first: Codes, periods: tuple[int, ...]) -> None:
        """Raise BadInput for dates (N,) that leave nothing to complete from."""

    def layout(self, schema: Schema) -> Layout:
        """The term `overall`; raises BadInput for names and error types that do not exist."""
        outcome, treatment, controls = self.names(schema)
        check_names(schema, outcome, (treatment, *controls), self.name)
        check_error_types(self.errors, schema, self.name, "synthetic")
        check_draws(self.draws, self.name)
        return Layout((OVERALL,), self.errors, self.own_statistics(), {OVERALL: "att"})

    @np.errstate(divide="ignore", invalid="ignore")  # a degenerate draw is NaN with a status
    def completed(self, panel: Panel, streams: Streams | None = None) -> Floats:
        """Outcomes without treatment, (R, T, N), for the paths of treated units and their gaps; raises as a fit."""
        self.layout(panel.schema)
        panels, _ = self._panels(panel)
        return self.complete(panels, _for(streams, panel)).outcome

    @np.errstate(divide="ignore", invalid="ignore")
    def __call__(self, panel: Panel, streams: Streams | None = None) -> Estimates:
        """Fit R panels; raises BadInput for an unbalanced one, a calendar that leaves nothing to complete from, and
        controls that the effects absorb or that are collinear."""
        layout, streams = self.layout(panel.schema), _for(streams, panel)
        panels, dated = self._panels(panel)
        whole = self.complete(panels, streams)
        estimate = panels.effect(whole.outcome)

        def statistic(samples: UnitSamples) -> Floats:
            sampled = panels.sampled(samples)
            return sampled.effect(self.complete_again(sampled, samples, whole).outcome)

        se = np.stack([standard_error(error, panels.first, panels.y.shape[1], statistic, streams, self.draws)
                       for error in self.errors], axis=1)  # fmt: skip
        known = np.isfinite(estimate)
        status = np.where(known, np.where(whole.converged, Status.OK, Status.NOT_CONVERGED), Status.SINGULAR)
        status = np.where(dated, status, Status.REFUSED).astype(np.uint8)
        se = np.where(known[:, None], se, np.nan)[:, :, None]
        return Estimates.of(layout, estimate[:, None], se, np.full(se.shape, np.inf), whole.statistics, status=status)

    def _panels(self, panel: Panel) -> tuple[UnitPanels, Flags]:
        """The R panels, and which of them have dates of adoption."""
        outcome, treatment, controls = self.names(panel.schema)
        check_balanced(panel, self.name)
        ols.check_fixed(panel, controls, self.name)
        d, rows = panel.variables[treatment], panel.replications
        if len(d) == 1:
            self.check_calendar(Cohorts.of(panel, treatment, self.name, even=False).first, panel.periods)
        dates = dates_of(d).astype(np.intp)
        dated = (dates != UNDATED).all(axis=1)
        first = np.broadcast_to(np.where(dated[:, None], dates, d.shape[1]), (rows, d.shape[2]))
        x = ols.stack([panel.variables[name] for name in controls])
        return UnitPanels(spread(panel.variables[outcome], rows), x, first), np.broadcast_to(dated, rows)


def _for(streams: Streams | None, panel: Panel) -> Streams:
    """Streams of as many replications as the panel has."""
    streams = streams or Streams(0)
    return streams.tile(streams.start, streams.start + panel.replications)


def check_untreated(first: Codes, periods: tuple[int, ...], asked_by: str) -> None:
    """Raise BadInput for periods in which every unit is treated."""
    empty = [period for t, period in enumerate(periods) if not (first > t).any()]
    if empty:
        raise bad(f"no unit is untreated in {listed(empty)}", where=asked_by,
                  allowed="a never or not yet treated unit in every period",
                  remedy="leave out those periods, or add untreated units")  # fmt: skip


def small_world(factors: int = 0) -> PanelDesign:
    """A small world with one covariate, a common date and as many common factors as said."""
    return PanelDesign(
        units=30, periods=14, geography=Nowhere(), weights=NoWeights(),
        levels=Effects(factors=factors, factor_share=4.0),
        covariates=(Normal(name="x", effect=0.5),), errors=Process(sd=1.0),
        adoption=Random(treated=10, last_periods=5), effect=Effect(size=0.5),
    )  # fmt: skip
