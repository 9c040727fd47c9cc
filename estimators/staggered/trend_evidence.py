"""Evidence on parallel trends that needs the whole path of effects: the pre-trend test, and bounds under other trends.

`EventTimes` is that path with its covariance. `TrendEvidence` makes numbers of it that can be had on many panels, so
that what a sound panel shows is known: the largest change of trends before adoption is the largest of noisy numbers,
and grows with the noise and the number of periods even where trends are parallel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from estimators.core.estimator import Estimates, Estimator, Layout, Status
from estimators.core.names import outcome_of, treatment_of
from estimators.linear.covariances import membership, unit_clusters
from estimators.staggered.adoption_effects import pretrend_tests
from estimators.staggered.aggregation import event_of
from estimators.staggered.callaway_santanna import CallawaySantAnna
from estimators.staggered.cohorts import Cohorts, check_clusters
from estimators.staggered.honest import BoundsQuestion, breakdown
from sim.arrays import Flags, Floats
from sim.design import Design
from sim.errors import BadInput
from sim.panel import Panel, part
from sim.presets import Paper
from sim.schema import Schema
from sim.streams import Streams

MOST = 20.0  # breakdown value that stands for all larger ones
TERMS = ("pre-trend", "breakdown:first", "breakdown:mean")


@dataclass(frozen=True, eq=False, slots=True)
class EventTimes:
    """Effects by event time around the reference period -1 and their clustered covariance.

    events (P,): without -1, ascending and without gaps; estimate (P,); covariance (P, P). treated: clusters that hold
    treated units. without_error: of the event times beside the reference period, -2 and 0, those without an error where
    both have an estimate.
    """

    events: NDArray[np.int_]
    estimate: Floats
    covariance: Floats
    treated: int
    without_error: tuple[int, ...] = ()

    @classmethod
    def of(cls, estimator: CallawaySantAnna, panel: Panel) -> EventTimes:
        """Of one panel: the window's event times that have an error, next to the reference period without gaps."""
        return cls.each(estimator, panel)[0]

    @classmethod
    def each(cls, estimator: CallawaySantAnna, panel: Panel) -> list[EventTimes]:
        """Of every replication of a panel, whose treatment is the same in all; each with the bits that it has alone."""
        reduction = estimator.reduction(panel.schema)
        plan, certain = reduction.plan(panel), np.isfinite(estimator(panel).se[:, 0])
        answers = [reduction.answer(panel.replication(row), plan) for row in range(panel.replications)]
        events = [event_of(term) for term in estimator.layout(panel.schema).terms]
        codes = unit_clusters(estimator.errors[0], panel)
        member = membership(codes)
        treated = len(np.unique(codes[panel.variables[str(panel.roles.treatment)][0].any(axis=0)]))
        return [
            cls._one(events, answer.estimate[0], answer.influence[0] @ member, known, treated)
            for answer, known in zip(answers, certain, strict=True)
        ]

    @classmethod
    def _one(
        cls, named: Sequence[int | None], estimate: Floats, sums: Floats, certain: Flags, treated: int
    ) -> EventTimes:
        """named: event times of the terms, None for others; sums (K, G): of the clusters' influences."""
        estimated = {event for event, value in zip(named, estimate, strict=True) if np.isfinite(value)}
        known = {event: k for k, event in enumerate(named) if event is not None and certain[k]}
        early, late = -2, 0
        while early in known:
            early -= 1
        while late in known:
            late += 1
        events = [event for event in range(early + 1, late) if event != -1]
        places = [known[event] for event in events]
        return cls(
            np.array(events, dtype=np.int_),
            estimate[places],
            sums[places] @ sums[places].T,
            treated,
            tuple(event for event in (-2, 0) if event not in known) if {-2, 0} <= estimated else (),
        )

    @property
    def pre(self) -> int:
        """How many event times lie before the reference period."""
        return int((self.events < 0).sum())

    @property
    def lacking(self) -> str:
        """Why there are not event times with an error on both sides of the reference period."""
        if not self.without_error:
            return "they need event times before and after adoption"
        return (
            f"there is no error of {' and '.join(f'event({event})' for event in self.without_error)}: an error needs "
            "two or more clusters of treated units and two or more clusters of comparison units"
        )

    def pretrend(self) -> tuple[float, float, float]:
        """Wald statistic of no effect before adoption, its chi-squared p value and that of Hotelling's T^2."""
        own = self.covariance[None, : self.pre, : self.pre]
        wald, usual, hotelling = pretrend_tests(self.estimate[None, : self.pre], own, np.inf, self.treated)[0]
        return float(wald), float(usual), float(hotelling)


def reference_estimator(core: Panel, errors: tuple[str, ...]) -> CallawaySantAnna:
    """Against never treated units, or against those not treated yet where all are treated in the end."""
    never = bool((core.variables[str(core.roles.treatment)][0] == 0).all(axis=0).any())
    return CallawaySantAnna(controls="never" if never else "not-yet", base="universal", errors=errors[:1])


def core_of(panel: Panel, treatment: str, asked_by: str) -> Panel:
    """A balanced panel without units that are treated from the first period on; raises BadInput where dates are not
    final."""
    cohorts = Cohorts.of(panel, treatment, asked_by)
    return part(panel, cohorts.first > 0, np.ones(len(panel.periods), dtype=bool))


def breakdowns(path: EventTimes, tolerance: float = 1e-8) -> tuple[float, float]:
    """The Mbar of relative magnitudes at which the effect of the first period after adoption, and the mean over all
    later event times, are not told from zero (Rambachan and Roth 2023); tolerance: relative one. Raises BadInput
    without event times on both sides."""
    post = len(path.events) - path.pre
    weights = (np.eye(1, post)[0] if post else np.zeros(0), np.full(post, 1.0 / max(post, 1)))
    questions = (BoundsQuestion(path.estimate, path.covariance, path.pre, own) for own in weights)
    first, mean = (breakdown(one, "relative magnitudes", tolerance=tolerance) for one in questions)
    return first, mean


@dataclass(frozen=True, slots=True)
class TrendEvidence(Estimator):
    """The joint pre-trend test of cohort-wise effects, and on request the breakdown values of their bounds.

    Terms: pre-trend, the |z| of the test's p value (that of Hotelling's T^2); breakdown:first and breakdown:mean, the
    Mbar of relative magnitudes for the first period after adoption and for the mean, at most 20, without an error. The
    test's target says in which worlds nothing is treated. Units treated from the first period on are left out.

    outcome, treatment: names of variables; None = the panel's own roles. error: cluster:unit or cluster:ATTRIBUTE.
    bounds: whether there are breakdown values, of some tens of milliseconds each. tolerance: relative one of these.
    label: its name in tables.
    """

    kind: ClassVar[str] = "trend-evidence"

    outcome: str | None = None
    treatment: str | None = None
    error: str = "cluster:unit"
    bounds: bool = False
    tolerance: float = 1e-8
    label: str = "trend-evidence"

    @property
    def home(self) -> tuple[Design, tuple[str, ...]]:
        """One cohort, and controls that are redrawn; no term is an estimate."""
        return Paper(calendar="single", redraw=("controls",)), ()

    def layout(self, schema: Schema) -> Layout:
        """The test, and breakdown values on request."""
        for name in self.variables(schema):
            schema.require(name, self.name)
        check_clusters((self.error,), schema, self.name)
        terms = TERMS if self.bounds else TERMS[:1]
        return Layout(terms, (self.error,), (), {TERMS[0]: "att"}, tests=True, perhaps=terms[1:])

    def variables(self, schema: Schema) -> frozenset[str]:
        """Outcome and treatment."""
        return frozenset((outcome_of(self.outcome, schema, self.name), self._treatment(schema)))

    def _treatment(self, schema: Schema) -> str:
        return treatment_of(self.treatment, schema, self.name)

    def __call__(self, panel: Panel, streams: Streams | None = None) -> Estimates:
        """One replication at a time; raises BadInput for a real panel that cannot serve."""
        layout = self.layout(panel.schema)
        outcome, treatment = outcome_of(self.outcome, panel.schema, self.name), self._treatment(panel.schema)
        roles = replace(panel.roles, outcome=outcome, treatment=treatment, controls=(), mediators=())
        bare = replace(panel, variables={name: panel.variables[name] for name in (outcome, treatment)}, roles=roles,
                       weights={})  # fmt: skip
        found = []
        for path in self._paths(bare):
            try:
                if isinstance(path, BadInput):
                    raise path
                found.append(self._one(path, layout))
            except BadInput:
                if panel.replications == 1:
                    raise
                found.append(Estimates.failed(layout, Status.REFUSED))
        return Estimates.join(found)

    def _paths(self, panel: Panel) -> Iterator[EventTimes | BadInput]:
        """Of every replication, together where all have one treatment; or why there is none."""
        treatment = str(panel.roles.treatment)
        alike = len(panel.variables[treatment]) == 1 and (panel.observed is None or len(panel.observed) == 1)
        for one in [panel] if alike else [panel.replication(row) for row in range(panel.replications)]:
            try:
                core = core_of(one, treatment, self.name)
                yield from EventTimes.each(reference_estimator(core, (self.error,)), core)
            except BadInput as refusal:
                yield from [refusal] * one.replications

    def _one(self, path: EventTimes, layout: Layout) -> Estimates:
        pvalue = path.pretrend()[2] if path.pre else float("nan")
        values = [abs(float(ndtri(pvalue / 2.0)))]
        if self.bounds:
            values += [min(value, MOST) for value in breakdowns(path, self.tolerance)]
        estimate = np.array(values)[None]
        se = np.where(np.arange(len(values)) == 0, 1.0, np.nan)[None, None]
        return Estimates.of(layout, estimate, se, np.full(se.shape, np.inf), {})
