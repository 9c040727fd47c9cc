"""Is a result safe? The claim, its twins, their studies, placebos and threats, put together."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

from experiments.application.spec.spec import RealPanel
from experiments.running.runner import run
from experiments.study.study import Study
from experiments.trust.budget import Cost, shared_out, timed
from experiments.trust.calibrated import Calibrated, calibrated
from experiments.trust.claim import HEADLINE, Claim, claim_of
from experiments.trust.means import Means
from experiments.trust.placebos import PlaceboTest, placebos_of
from experiments.trust.recommend import recommended
from experiments.trust.studies import (
    Measure,
    Simulated,
    effects_of,
    pilot_of,
    rejections,
    short_effects_of,
    spread_of,
    study_of,
)
from experiments.trust.threats import Case, Threat, threats_of
from experiments.twins.twin import Twin, twin
from results.diagnosis.power_curve import Curve, Detectable, detectable, fitted_curve
from results.store import Store
from results.store.store import BlockState
from results.tables.records import Record
from sim.errors import bad

TIMED = 128  # replications of a timed pilot

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Plan:
    """How much is simulated: seconds, or replications a cell."""

    budget: float
    replications: int | None


@dataclass(frozen=True)
class Trust:
    """What was found. shown: the claim under each error type; simulated: a study a method, the first one's first."""

    claim: Claim
    twin: Twin
    shown: dict[str, Record]
    simulated: tuple[Simulated, ...]
    placebos: tuple[PlaceboTest, ...]
    threats: tuple[Threat, ...]
    notes: tuple[str, ...]
    seconds: float

    @property
    def main(self) -> Simulated:
        """The study of the first method."""
        return self.simulated[0]

    @property
    def printed(self) -> str:
        """The error type of the table."""
        return self.claim.printed

    @cached_property
    def recommended(self) -> str:
        """The error type to print."""
        return recommended_of(self.main, self.printed)

    @property
    def in_part(self) -> bool:
        """Whether blocks of some study could not be computed."""
        return bool([*_lost(self.simulated)])

    @property
    def record(self) -> Record:
        """The claim as it is printed."""
        return self.shown[self.printed]

    @property
    def advised(self) -> Record:
        """The claim under the recommended error type."""
        return self.shown[self.recommended]

    def calibrated(self, by: Simulated | None = None, error: str | None = None) -> Calibrated:
        """The calibrated p value, of the recommended error type on the first method's twins unless said."""
        error = error or self.recommended
        statistic = self.shown[error].statistic
        return calibrated(float("nan") if statistic is None else statistic,
                          (by or self.main).null_statistics(error))  # fmt: skip

    @cached_property
    def curve(self) -> Curve:
        """The fitted power curve."""
        cells = rejections(self.main, self.recommended)
        sd = self.main.measure("empirical_se").value
        return fitted_curve(cells["effects"], cells["rejected"], cells["counts"], sd)

    @cached_property
    def mde(self) -> Detectable:
        """The minimum detectable effect."""
        return detectable(self.curve)

    @property
    def power_at_estimate(self) -> Measure:
        """The power at the estimate."""
        cell = min(range(len(self.main.effects)), key=lambda k: abs(self.main.effects[k] - self.claim.estimate))
        return self.main.measure("rejection", self.recommended, cell)


def trust(
    real: RealPanel,
    claim: str = HEADLINE,
    *,
    errors: str | None = None,
    budget: float = 60.0,
    replications: int | None = None,
    means: Means | None = None,
    alone: bool = False,
    say: Say = lambda line: None,
) -> Trust:
    """All of it; raises BadInput before anything is written.

    errors: the error type that the user prints. budget: seconds of the simulations; replications: a cell, in place of a
    budget. alone: without placebos and threats.
    """
    begin, means = time.perf_counter(), means or Means()
    asked = claim_of(real, claim, errors)
    fitted = twin(asked.sample)
    shown = asked.on(asked.panel)
    studies = _planned(asked, fitted, _Plan(budget, replications), means, say)
    for method, study in studies.items():
        means.check(method, study)
    if replications is None:
        means.remember(budget, {method: study.replications for method, study in studies.items()})
    found = []
    for method, study in studies.items():
        say(f"{method}: {len(study.cells)} cells of {study.replications:,} replications")
        found.append(Simulated(method, study, means.run(method, study), asked.term))
    tests, without = ((), ()) if alone else placebos_of(asked)
    best = recommended_of(found[0], asked.printed)
    case = Case(asked, shown[best], asked.printed, best, fitted, found[0], means.run)
    dangers, unjudged = ((), ()) if alone else threats_of(case)
    notes = (*asked.notes, *fitted.notes, *_lost(found), *without, *unjudged)
    return Trust(asked, fitted, shown, tuple(found), tests, dangers, notes, time.perf_counter() - begin)


def recommended_of(main: Simulated, printed: str) -> str:
    """The error type to print."""
    return recommended({error: main.size(error) for error in main.errors}, printed)


def _planned(claim: Claim, twins: Twin, plan: _Plan, means: Means, say: Say) -> dict[str, Study]:
    """The study of each method, after a timed pilot of each."""
    pilots = {one.method: pilot_of(claim, one) for one in twins.all}
    sd = spread_of(claim, _pilot(pilots[twins.method]))
    effects = {one.method: effects_of(claim, sd) if one is twins.all[0] else short_effects_of(claim)
               for one in twins.all}  # fmt: skip
    counts = None if plan.replications else means.remembered(plan.budget)
    if counts is not None and counts.keys() >= pilots.keys():
        say(f"replications as in an earlier run with a budget of {plan.budget:g} s or more")
    elif plan.replications is None:
        costs = {name: Cost(len(effects[name]), timed(partial(_in_memory, pilot), TIMED))
                 for name, pilot in pilots.items()}  # fmt: skip
        counts = shared_out(costs, plan.budget, means.executor.workers)
        say(f"budget {plan.budget:g} s: " + ", ".join(f"{name} {count:,}" for name, count in counts.items())
            + " replications a cell")  # fmt: skip
    else:
        counts = dict.fromkeys(pilots, plan.replications)
    return {
        one.method: means.fitting(one.method, study_of(claim, one, effects[one.method], counts[one.method]))
        for one in twins.all
    }


def _in_memory(study: Study, replications: int) -> Store:
    return run(study.resized(replications=replications))


def _pilot(study: Study) -> Store:
    """A run in memory of which the estimates are looked at; raises BadInput where none was fitted."""
    store = run(study)
    fits = next(iter(store.blocks(0))).estimates[study.estimators[0].name]
    if (fits.status == 1).sum() < len(fits.status) / 2:
        raise bad("the claim's estimator fails on most twins", where="the pilot", allowed="an estimator that fits them",
                  remedy="choose another claim, or another method in [twin]")  # fmt: skip
    return store


def _lost(found: Sequence[Simulated]) -> Iterator[str]:
    """A sentence for each method with blocks that could not be computed."""
    for one in found:
        lost = sum(one.store.state(*place) is BlockState.POISONED for place in one.store.places())
        if lost:
            yield (f"{lost} blocks of the study by the method {one.method} could not be computed; the same command "
                   "tries again.")  # fmt: skip
