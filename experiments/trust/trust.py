"""Is a result safe? The claim, its twins, their studies, the checks and what twins say of them, put together."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Integral
from typing import Any

import numpy as np

from estimators.core.estimator import Status
from estimators.staggered.trend_evidence import TrendEvidence
from experiments.checks import checks_of
from experiments.checks.case import Case
from experiments.estimation import ledger_of
from experiments.panel_spec.spec import RealPanel
from experiments.run.runner import run
from experiments.trust.claim import EFFECT, HEADLINE, PanelClaim, claim_of
from experiments.trust.evidence import (
    BLOCK,
    LEAST,
    Benchmarks,
    Evidence,
    MeasureWithError,
    Nearby,
    Rehearsal,
    RunContext,
    SimulatedStudy,
    calibrated,
    check_asked,
    effects_of,
    fits_of,
    nearby_of,
    rejections,
    seconds_of,
    shared_out,
    statistic_of,
    study_of,
    study_on_twins,
    timed,
)
from experiments.trust.race import OVER_W, QUICK, TRENDS, Lineup, Race
from experiments.trust.recommend import advice, forbidden_of, placebos_of
from experiments.twins.twin import Twin, twin
from results.diagnosis.power import Curve, Detectable, detectable, fitted_curve
from results.store.store import BlockState
from results.tables.records import Check, Record
from sim.errors import BadInput, amount, bad, refuse, type_problems
from sim.streams import Streams
from sim.world.context import LARGEST

TIMED = 128  # replications of a timed pilot
REHEARSED = 512  # twins on which the checks run, and fewer where a budget allows no more for the claim itself
NEARBY = 0.15  # share of the budget for worlds near the fitted one, and as much for the checks on twins
RACE = 0.2  # share of the budget for a race of a few estimators
BENCHMARKS = "a whole number from 0"
RACED = 256  # panels of a race, at most
RACING = "race "  # before the names of its estimators where replications are remembered

SayLine = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked. errors: the error type that the user prints. effect: the size that matters. budget: seconds of the
    simulations; replications: a cell, in place of a budget. benchmarks: twins behind what bounds under unequal trends
    show on sound panels. race: whether other estimators race on the twins. alone: without placebos, checks, worlds
    nearby and race."""

    errors: str | None = None
    effect: float | None = None
    budget: float = 60.0
    replications: int | None = None
    benchmarks: int = 64
    race: bool = True
    alone: bool = False


@dataclass(frozen=True)
class Trust:
    """What was found. shown: the claim under each error type; simulated: a study a method, the first one's first;
    recommended: the error type to print, with its reason; forbidden: why others may not be printed, by error type."""

    claim: PanelClaim
    ask: Ask
    twin: Twin
    shown: dict[str, Record]
    simulated: tuple[SimulatedStudy, ...]
    recommended: str
    reason: str
    forbidden: Mapping[str, str]
    placebos: tuple[dict[str, Any], ...] = ()
    checks: tuple[Check, ...] = ()
    evidence: Evidence = field(default_factory=Evidence)
    nearby: Nearby = field(default_factory=Nearby)
    race: Race | None = None
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def main(self) -> SimulatedStudy:
        """The study of the first method."""
        return self.simulated[0]

    @property
    def voters(self) -> tuple[SimulatedStudy, ...]:
        """Studies on twins that serve as a null."""
        return tuple(one for one in self.simulated if one.votes)

    @property
    def printed(self) -> str:
        """The error type of the table."""
        return self.claim.printed

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

    def statistic(self, error: str) -> float:
        """t of the claim under an error type."""
        record = self.shown[error]
        values = (np.nan if value is None else value for value in (record.estimate, record.se, record.pvalue))
        return float(statistic_of(*(np.array([value]) for value in values))[0])

    def calibrated(self, by: SimulatedStudy | None = None) -> MeasureWithError:
        """The calibrated p value of the recommended error type, on the first method's twins unless said."""
        one = by or self.main
        return calibrated(self.statistic(self.recommended), one.fits(self.recommended).statistic, one.world())

    @cached_property
    def calibrated_interval(self) -> tuple[float, float]:
        """Ends of the calibrated p value."""
        return self.nearby.pvalue(self.recommended, self.statistic(self.recommended), self.calibrated())

    @cached_property
    def curve(self) -> Curve:
        """The fitted power curve."""
        return fitted_curve(*rejections(self.main, self.recommended), self.main.measure("empirical_se").value)

    @cached_property
    def simulated_mde(self) -> Detectable:
        """The minimum detectable effect of the fitted world, with the simulation's error alone."""
        return detectable(self.curve)

    @cached_property
    def mde(self) -> Detectable:
        """The minimum detectable effect, with the uncertainty of the fitted world."""
        return self.nearby.detectable(self.recommended, self.simulated_mde)

    @property
    def asked(self) -> float:
        """The effect at which rates are told, as the claim signed: the one asked for, else the detectable one."""
        sign = -1.0 if self.claim.estimate < 0 else 1.0
        return sign * abs(self.ask.effect) if self.ask.effect is not None else sign * self.simulated_mde.value


def trust(
    real: RealPanel,
    claim: str = HEADLINE,
    *,
    context: RunContext | None = None,
    say: SayLine = lambda line: None,
    **asked: object,
) -> Trust:
    """What a page holds; asked: fields of `Ask`. Raises BadInput before anything is written."""
    begin, context, ask = time.perf_counter(), context or RunContext(), Ask(**asked)  # type: ignore[arg-type]
    ask = replace(ask, budget=seconds_of(ask.budget))
    check_asked(ask.effect, ask.replications, "trust")
    refuse(type_problems(ask.benchmarks, Integral, "benchmarks", where="trust", allowed=BENCHMARKS))
    if ask.benchmarks < 0:
        raise bad(f"benchmarks = {ask.benchmarks}", where="trust", allowed=BENCHMARKS, remedy="use 64")
    if ask.effect is not None and not 0 < abs(ask.effect) < LARGEST:
        raise bad(f"effect {ask.effect:g}", where="--effect",
                  allowed=f"a number other than 0, below {LARGEST:g} in size", remedy="correct it")  # fmt: skip
    named = claim_of(real, claim, ask.errors)
    if ask.effect is not None and ask.effect < 0 < named.estimate:
        raise bad(f"effect {ask.effect:g}, and the claim is {named.estimate:.4g}", where="--effect",
                  allowed="an effect with the sign of the claim", remedy="name its size alone")  # fmt: skip
    fitted = twin(named.sample)
    shown = named.on(named.panel)
    forbidden = forbidden_of(tuple(shown), named.panel)
    found = _simulated(named, fitted, ask, context, say)
    sizes = {error: found[0].size(error) for error in found[0].errors}
    best = advice(sizes, named.printed, forbidden)
    plain = Trust(
        named, ask, fitted, shown, found, *best, forbidden, notes=(*named.notes, *fitted.notes, *_lost(found))
    )
    if not ask.alone:
        say("checks, placebos and worlds near the fitted one")
        plain = _examined(plain, context)
    if ask.race and not ask.alone and named.dial == EFFECT:
        plain = _raced(plain, context, say)
    return replace(plain, seconds=time.perf_counter() - begin)


def _examined(found: Trust, context: RunContext) -> Trust:
    """With placebos, the checks with their rates, and the uncertainty of the fitted world."""
    tests, without = placebos_of(found.claim)
    near = nearby_of(found.claim, found.twin, (found.printed, found.recommended), _share(found))
    found = replace(found, placebos=tests, nearby=near, notes=(*found.notes, *without))
    claim = found.claim
    ledger, dof = ledger_of(claim.sample), claim.dof(found.recommended)
    case = Case.of_claim(claim.sample, ledger, claim.fitted, claim.term, found.advised, dof)
    rehearsal = _rehearsed(found, case, context)
    checks = checks_of(case) if rehearsal is None else checks_of(case, rehearsal.critical, rehearsal.usual)
    if rehearsal is not None:
        sound = _benchmarks(found, case, context) if case.dated else Benchmarks()  # else there are no event times
        checks = tuple(sound.rated(rehearsal.rated(check)) for check in checks)
        evidence = replace(rehearsal.evidence(found.asked), pretrend=sound.pretrend(checks))
        found = replace(found, evidence=evidence, notes=(*found.notes, *sound.notes))
    return replace(found, checks=tuple(sorted(checks, key=lambda check: -check.severity)))


def _raced(found: Trust, context: RunContext, say: SayLine) -> Trust:
    """With a race of quick estimators on the twins."""
    claim, ask = found.claim, found.ask
    try:
        lineup = Lineup.of(claim, (TRENDS, *([OVER_W] if claim.panel.weights else []), *QUICK), fitted=found.twin)
    except BadInput as fault:
        return replace(found, notes=(*found.notes, f"No other estimators race: {fault.problems[0].what}."))
    counts = {} if ask.replications else context.remembered(ask.budget) or {}
    counts = {name.removeprefix(RACING): count for name, count in counts.items() if name.startswith(RACING)}
    if ask.replications:
        counts = dict.fromkeys(lineup.field, min(ask.replications, RACED))
    elif not counts:
        pilot = lineup.replications(RACE * ask.budget, context)
        counts = {name: min(count, RACED) for name, count in pilot.items()}
        context.remember(ask.budget, {f"{RACING}{name}": count for name, count in counts.items()})
    return replace(found, race=lineup.run(counts, context, say))


def _rehearsed(found: Trust, case: Case, context: RunContext) -> Rehearsal | None:
    """The differences on the panel and on twins; None for a claim whose dial does not move it one for one, and for one
    without differences."""
    if found.claim.dial != EFFECT or case.family is None:
        return None
    twin = found.main.study.design.draw(Streams(found.main.study.seed, "one twin", 0, 1)).panel
    family = case.family.estimator.served(twin)
    if not family.alternatives:
        return None
    study = study_on_twins(
        found.main.study, "trust-checks", (found.claim.estimator, family), 0.0, _share(found, REHEARSED)
    )
    store = context.run("checks", study)
    claim = fits_of(store, 0, study.estimators[0].name, found.claim.term, found.recommended)
    return Rehearsal.of(case.family, store, study.estimators[1].name, claim, found.claim.estimate,
                        found.main.replications, safe=found.recommended not in found.forbidden)  # fmt: skip


def _benchmarks(found: Trust, case: Case, context: RunContext) -> Benchmarks:
    """What event times before adoption, and bounds that rest on them, show on twins with the effect as estimated."""
    count = min(found.ask.benchmarks, found.main.replications) // 32 * 32
    error = case.main_error if case.main_error.startswith("cluster:") else "cluster:unit"
    estimators = [TrendEvidence(error=error)]
    estimators += [TrendEvidence(error=error, bounds=True, tolerance=1e-3, label="bounds")] if count else []
    parts = {}
    least = max(_share(found), LEAST)  # of fewer twins than 99 the joint test is never among the rarest hundredth
    for one, replications in zip(estimators, (least, count), strict=False):
        study = study_on_twins(found.main.study, f"trust-{one.label}", (one,), found.claim.estimate, replications)
        try:
            parts[one.label] = context.run(one.label, study)
        except BadInput:  # dates that are not final, or no event times
            return Benchmarks()
    return Benchmarks.of(parts)


def _share(found: Trust, most: int = 256) -> int:
    """Replications of what stands beside the main study: as many as a cell of it, and at most so many."""
    return min(found.main.replications, most)


def _simulated(
    claim: PanelClaim, fitted: Twin, ask: Ask, context: RunContext, say: SayLine
) -> tuple[SimulatedStudy, ...]:
    """The study of each method, after a timed pilot of each, run."""
    pilots = {one.method: study_of(claim, one, (0.0,), BLOCK) for one in fitted.all}  # without an effect
    block = next(iter(run(pilots[fitted.method]).blocks(0)))
    fits = block.estimates[claim.estimator.name]
    if (fits.status == Status.OK).sum() < len(fits.status) / 2:
        said = "".join(f": {text.strip().rpartition(chr(10))[2]}" for text in list(block.tracebacks.values())[:1])
        raise bad(f"the claim's estimator fails on most twins{said}", where="the pilot",
                  allowed="an estimator that fits them",
                  remedy="choose another claim, or another method in [twin]")  # fmt: skip
    values = fits.estimate[fits.status == Status.OK, fits.terms.index(claim.term)]
    sd = float(f"{np.std(values, ddof=1):.1e}")  # two digits, so that a grid does not hang on rounding
    effects = {one.method: effects_of(claim, sd, ask.effect) if one is fitted.all[0] else (0.0, claim.estimate)
               for one in fitted.all}  # fmt: skip
    counts = None if ask.replications else context.remembered(ask.budget)
    if counts is not None and counts.keys() >= pilots.keys():
        say(f"replications as in an earlier run with a budget of {ask.budget:g} s or more")
    elif ask.replications is None:
        costs = {name: (len(effects[name]), timed(pilot, TIMED)) for name, pilot in pilots.items()}
        counts = shared_out(costs, ask.budget * (1 - 2 * NEARBY - RACE), context.executor.workers)
        say(f"budget {ask.budget:g} s: " + ", ".join(f"{name} {count:,}" for name, count in counts.items())
            + " replications a cell")  # fmt: skip
    else:
        counts = dict.fromkeys(pilots, ask.replications)
    studies = {one.method: context.fitting(one.method, study_of(claim, one, effects[one.method], counts[one.method]))
               for one in fitted.all}  # fmt: skip

    for method, study in studies.items():
        context.check(method, study)
    if ask.replications is None:
        context.remember(ask.budget, {method: study.replications for method, study in studies.items()})
    found = []
    votes = {one.method: one.null for one in fitted.all}
    for method, study in studies.items():
        say(f"{method}: {amount(len(study.cells), 'cell')} of {amount(study.replications, 'replication')}")
        found.append(SimulatedStudy(method, study, context.run(method, study), claim.term, votes[method]))
    return tuple(found)


def _lost(found: Sequence[SimulatedStudy]) -> Iterator[str]:
    """A sentence for each method with blocks that could not be computed."""
    for one in found:
        lost = sum(one.store.state(*place) is BlockState.POISONED for place in one.store.places())
        if lost:
            yield (f"{amount(lost, 'block')} of the study by the method {one.method} could not be computed; the "
                   "same command tries again.")  # fmt: skip
