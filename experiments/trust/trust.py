"""Is a result safe? The claim, its twins, their studies, placebos and threats, put together."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from cluster import Executor
from experiments.application.spec.spec import RealPanel
from experiments.running.launch import check_store
from experiments.running.resume import Resume
from experiments.running.runner import run
from experiments.study.study import Study
from experiments.trust.budget import Cost, shared_out, timed
from experiments.trust.calibrated import Calibrated, calibrated
from experiments.trust.claim import HEADLINE, Claim, claim_of
from experiments.trust.placebos import PlaceboTest, placebos_of
from experiments.trust.power import Curve, Detectable, detectable, fitted_curve
from experiments.trust.recommend import recommended
from experiments.trust.studies import (
    Measure,
    Simulated,
    effects_of,
    pilot_of,
    rejections,
    resized,
    short_effects_of,
    simulated,
    spread_of,
    store_of,
    study_of,
)
from experiments.trust.threats import Case, Threat, threats_of
from experiments.twins.twin import Twin, twin
from results.store import Store
from results.tables.records import Record
from sim.errors import bad

TIMED = 128  # replications of a timed pilot

Say = Callable[[str], None]


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
    folder: Path | None = None,
    executor: Executor | None = None,
    workers: int = 1,
    accept: bool = False,
    placebos: bool = True,
    threats: bool = True,
    say: Say = lambda line: None,
) -> Trust:
    """All of it. budget: seconds of the simulations; replications: a cell, in place of the budget. folder: of stores.

    Raises BadInput before anything is written.
    """
    begin = time.perf_counter()
    asked = claim_of(real, claim, errors)
    fitted = twin(real)
    shown = asked.on(asked.panel)
    studies = _planned(asked, fitted, budget, replications, folder, workers, say)
    for study, store in studies.values():
        if store is not None:
            check_store(study, store, Resume(accept_code_change=accept))
    found = []
    for method, (study, store) in studies.items():
        say(f"{method}: {len(study.cells)} cells of {study.replications:,} replications")
        found.append(simulated(method, study, asked.term, store, executor, accept))
    tests, without = placebos_of(asked) if placebos else ((), ())
    best = recommended_of(found[0], asked.printed)
    case = Case(asked, shown[best], asked.printed, best, fitted, found[0], _simulate(folder, executor, accept))
    dangers, unjudged = threats_of(case) if threats else ((), ())
    notes = (*fitted.notes, *without, *unjudged)
    return Trust(asked, fitted, shown, tuple(found), tests, dangers, notes, time.perf_counter() - begin)


def recommended_of(main: Simulated, printed: str) -> str:
    """The error type to print."""
    return recommended({error: main.size(error) for error in main.errors}, printed)


def _planned(
    claim: Claim, twins: Twin, budget: float, replications: int | None, folder: Path | None, workers: int, say: Say
) -> dict[str, tuple[Study, Path | None]]:
    """The study of each method and its store, after a timed pilot of each."""
    pilots = {one.method: pilot_of(claim, one) for one in twins.all}
    sd = spread_of(claim, _pilot(pilots[twins.method]))
    effects = {one.method: effects_of(claim, sd) if one is twins.all[0] else short_effects_of(claim)
               for one in twins.all}  # fmt: skip
    if replications is None:
        costs = {name: Cost(len(effects[name]), timed(partial(_in_memory, pilot), TIMED))
                 for name, pilot in pilots.items()}  # fmt: skip
        counts = shared_out(costs, budget, workers)
        say(f"budget {budget:g} s: " + ", ".join(f"{name} {count:,}" for name, count in counts.items())
            + " replications a cell")  # fmt: skip
    else:
        counts = dict.fromkeys(pilots, replications)
    planned = {}
    for one in twins.all:
        store = store_of(folder, one.method)
        planned[one.method] = resized(study_of(claim, one, effects[one.method], counts[one.method]), store), store
    return planned


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


def _simulate(folder: Path | None, executor: Executor | None, accept: bool) -> Callable[[str, Study], Store]:
    """How threats run a study of their own."""

    def simulate(name: str, study: Study) -> Store:
        store = store_of(folder, name)
        return run(study, store=store, executor=executor, plan=Resume(accept_code_change=accept))

    return simulate
