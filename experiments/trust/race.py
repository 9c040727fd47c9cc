"""Estimators raced on the twins of a panel: which one misses the effect least there, and what each says of the panel.

Every estimator that serves the claim's estimand is fitted to the same draws of each world (`race_worlds`), and of each
an error type is taken whose intervals cover in these worlds. An estimator is valid in a world where bias and
coverage allow to recommend it; those that are valid are held against one another by the model confidence set.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from estimators.core.estimator import Estimates, Estimator, Layout, estimators, find_estimator, usual_error
from estimators.core.functions import FunctionEstimator
from estimators.linear.did import TwoWayDID
from experiments.estimation import asked_estimators
from experiments.listing import in_full, offered
from experiments.panel_spec.spec import RealPanel
from experiments.plugin_contracts import asks_for_a_trial, lacking
from experiments.run.blocks import first_rows
from experiments.run.reporting import without_nan
from experiments.run.tasks import runner_of
from experiments.study import Study, names_no_store_takes
from experiments.tables.ledger import treated_units, why_failed, why_no_error
from experiments.trust.claim import EFFECT, HEADLINE, PanelClaim, claim_of
from experiments.trust.evidence import BLOCK, UNIT, RunContext, SimulatedStudy, check_asked, seconds_of
from experiments.trust.race_worlds import SELECTION, departures_of, worlds_of
from experiments.trust.recommend import FEW_TREATED, errors_named, forbidden_of, rank_of
from experiments.twins.twin import Twin
from results.diagnosis.fits import Fits, fits_of
from results.store.block import Block
from results.text import DASH, bracketed, fixed, joined, share
from sim.arrays import Floats
from sim.design import Estimand
from sim.errors import BadInput, amount, bad, closest, one_of, reason
from sim.panel import card
from sim.streams import TILE, Streams
from sim.world.context import LARGEST
from sim.world.panel_design import PanelDesign

if TYPE_CHECKING:
    import pandas as pd

CONTESTANTS = ("imputation", "two-stage", "callaway-santanna", "sun-abraham", "synthetic-did", "synthetic-control",
               "demeaned-synthetic-control", "matrix-completion", "interactive-effects")  # fmt: skip
QUICK = ("imputation", "callaway-santanna", "synthetic-did")  # of which a page of trust has room beside the claim
OVER_W = "spatial-did"  # where the panel has W
JACKKNIFE, PLACEBO = "jackknife:unit", "placebo:unit"  # of synthetic estimators
OTHERS = ("total", "event", "cohort", "calendar")  # effects with those on neighbours, and of one time or cohort
TRENDS = "unit-trends"  # the two-way regression with a linear trend a unit
LEVEL, NOMINAL = 0.10, 0.95
LEAST_COVERAGE = 0.90  # of nominal 95% intervals, below which an estimator is not recommended
MOST_BIAS = 0.5  # of its standard deviation, above which an estimator is not recommended
BEYOND = 2.0  # Monte Carlo errors within which a bound is not exceeded
SAMPLES = 999  # of the bootstrap behind the model confidence set
LEAST, MOST = TILE, 2048  # replications of an estimator in a world
ENOUGH = 64  # replications from which an estimator may be recommended
SOON = 1.0  # seconds that a longer pilot may take
LONG = 5.0  # seconds of a panel from which on the pilot ends: many at once would not be quicker
WORLDS_NEARBY = 8  # in which the recommended estimator is held against the claim's own
FOR_NEARBY = 0.25  # of the time of a race is left for them
NONE = float("nan")
SAME = 1e-12  # of the largest mean loss: what rounding leaves of no difference
RACES, COVERED, FIXED = 600, 0.928, 0.947  # docs/studies/races.md
COST = (
    f"Picking an estimator is a selection. In {RACES} races on panels of six known worlds the 95% intervals of the "
    f"recommended estimator covered the effect in {COVERED:.1%}, those of the best one, fixed beforehand, in "
    f"{FIXED:.1%}."
)
IN_THE_SET = (
    "In the set: the p value that an estimator misses the effect no more than the best one does; below "
    f"{LEVEL:.2f} it misses more. Not valid: its bias is above half its standard deviation, or its 95% intervals cover "
    f"on less than {LEAST_COVERAGE:.0%} of all panels, those on which it fails among them, by more than "
    f"{BEYOND:.0f} Monte Carlo errors."
)
NAME_WIDTH, WIDE = 20, 90  # of an estimator in a table of 80 columns; of a terminal with room between columns
TOO_FEW = "its samples, placebos or clusters are too few"
CLEAR = 0.05  # of the root mean squared error, by which another estimator must be smaller


@dataclass(frozen=True, slots=True)
class RaceResult:
    """How an estimator did in a world: its misses of the effect, with Monte Carlo errors.

    spread: standard deviation of its estimates. coverage, width: of its 95% intervals; power: how often it rejects 0.
    failures: share of fits without an answer, which the others leave out; n: fits. confidence: p value of the model
    confidence set, NaN outside of the race for it.
    """

    world: str
    estimator: str
    error: str
    bias: float = NONE
    bias_mcse: float = NONE
    rmse: float = NONE
    rmse_mcse: float = NONE
    spread: float = NONE
    coverage: float = NONE
    coverage_mcse: float = NONE
    width: float = NONE
    power: float = NONE
    failures: float = NONE
    n: int = 0
    confidence: float = NONE

    @property
    def valid(self) -> bool:
        """Whether bias and coverage allow to recommend it; a fit that failed covers nothing. The doubt of its coverage
        is at most that of as many independent panels: errors of few worlds are vague, and an estimator is not to gain
        by that. There is none of its bias, of which a sound estimator shows far less than the bound."""
        doubt = BEYOND * min(self.coverage_mcse, 0.5 / np.sqrt(max(self.n, 1)))
        covered = self.coverage * (1.0 - np.nan_to_num(self.failures))
        return bool(covered + doubt >= LEAST_COVERAGE and abs(self.bias) <= MOST_BIAS * self.spread)


@dataclass(frozen=True, slots=True)
class OnPanel:
    """What an estimator says of the panel: estimate, standard error, 95% interval; left_out: why it did not race."""

    estimator: str
    error: str = ""
    estimate: float = NONE
    se: float = NONE
    lower: float = NONE
    upper: float = NONE
    left_out: str = ""


@dataclass(frozen=True)
class Race:
    """What was found. own: the claim's estimator. effect: that was planted. best: the estimator to use, the claim's own
    where none is clearly better; agree: whether all worlds say so. nearby: in how many of the worlds near a fitted one
    it misses less than the claim's own, and how many there were; around: which. notes: what a reader should know.
    passed_over: who would be the best, had it errors that are safe on the panel as the claim's own has."""

    claim: PanelClaim
    own: str
    effect: float
    results: tuple[RaceResult, ...]
    panel: tuple[OnPanel, ...]
    best: str
    agree: bool
    nearby: tuple[int, int] = (0, 0)
    around: str = ""
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    passed_over: str = ""

    def __repr__(self) -> str:
        ran = f"{amount(len(self.panel), 'estimator')} in {amount(len(self.worlds), 'world')}"
        return f"Race({ran}; use {self.best}; pp.show prints it)"

    def _repr_html_(self) -> str:
        facts = [("effect in the worlds", self.effect), ("decided in the world", self.decisive)]
        rows = [(row["estimator"], row["bias"], row["rmse"], row["coverage"], row["estimate"], row["se"])
                for row in rows_of(self)]  # fmt: skip
        out = [f"Left out: {one.estimator}: {one.left_out}." for one in self.panel if one.left_out]
        heads = ("estimator", "bias", "RMSE", "coverage", "estimate", "std. error")
        return card("Race of estimators", facts, heads, rows, [*out, *self.notes], answer=[self.answer])

    @property
    def worlds(self) -> tuple[str, ...]:
        """In the order of the race."""
        return tuple(dict.fromkeys(result.world for result in self.results))

    @cached_property
    def frame(self) -> pd.DataFrame:
        """A row a world and estimator."""
        import pandas as pd  # loaded where a table is asked for

        return pd.DataFrame([_plain(one) for one in self.results])

    def result(self, world: str, estimator: str) -> RaceResult:
        """How an estimator did in a world."""
        return next(one for one in self.results if (one.world, one.estimator) == (world, estimator))

    def valid(self, estimator: str) -> bool:
        """Whether bias and coverage of an estimator are good in every world."""
        return all(one.valid for one in self.results if one.estimator == estimator)

    @property
    def better(self) -> bool:
        """Whether another estimator than the claim's own is to be used."""
        return self.best != self.own and self.valid(self.best)

    @property
    def answer(self) -> str:
        """The race in a few sentences."""
        if len({one.estimator for one in self.results}) == 1:
            valid = joined([one.world for one in self.results if not one.valid])
            said = f"not valid in {valid}" if valid else "valid in every world"
            return f"No other estimator raced beside your {self.own}, which is {said}."
        if not self.valid(self.best):
            faulty = joined([one.world for one in self.results if one.estimator == self.own and not one.valid])
            said = f"; your {self.own} is not in {faulty}" if faulty else ""
            least = f" In the world {self.decisive} {self._misses} It is not valid in every world itself."
            least = "" if self.best == self.own else least
            few = [name for name in dict.fromkeys(one.estimator for one in self.results) if self.valid(name)]
            enough = f" on {ENOUGH} panels or more" if few else ""
            more = f" On fewer panels {joined(few)} {'is' if len(few) == 1 else 'are'}: give more time." if few else ""
            return (
                f"On panels like yours no estimator that raced{enough} is valid in every world{said}.{more}{least}"
                f"{self._dissent()}"
            )
        over = self.passed_over
        other = f" {over} misses less, but its errors are not safe on this panel." if over else ""
        if self.best == self.own:
            where, safe = "" if self.agree else " in every world", " with safe errors" if over else ""
            return (
                f"On panels like yours no estimator{safe} is clearly better than your {self.own}{where}, which is "
                f"valid there.{other}{self._dissent()}"
            )
        return f"{self.reason} {self.advice}{other}{self._dissent()}"

    @property
    def reason(self) -> str:
        """The misses of the best and of the claim's own estimator where these differ most, in a sentence."""
        behind = any(self.result(one, self.own).rmse < self.result(one, self.best).rmse for one in self.worlds)
        where = "" if self.agree and not behind else f" (world {self.decisive})"
        return f"On panels like yours{where} {self._misses}"

    @property
    def _misses(self) -> str:
        ours, theirs = self.result(self.decisive, self.own), self.result(self.decisive, self.best)
        faults = [f"bias {ours.bias:.3g}"] if abs(ours.bias) > BEYOND * ours.bias_mcse else []
        if ours.coverage + BEYOND * ours.coverage_mcse < LEAST_COVERAGE:
            faults.append(f"its 95% intervals cover {ours.coverage:.0%}")
        faults += [f"it fails on {ours.failures:.0%} of them"] if ours.failures > 1 - LEAST_COVERAGE else []
        said = f" ({', '.join(faults)})" if faults else ""
        yours = f"by {ours.rmse:.3g}{said}" if np.isfinite(ours.rmse) else "is not judged"
        return f"{self.best} misses the effect by {theirs.rmse:.3g}, your {self.own} {yours}."

    @property
    def advice(self) -> str:
        """What to use, with what it says of the panel, and how it does in worlds nearby."""
        here = next(one for one in self.panel if one.estimator == self.best)
        error = f"error {here.se:.3g}, " if np.isfinite(here.se) else ""
        count, tried = self.nearby
        fitted = "fitted one" if self.agree and self.around == self.decisive else f"world {self.around}"
        near = f" It misses less than {self.own} in {count} of {tried} worlds near the {fitted}." if tried else ""
        unsafe = forbidden_of((here.error,), self.claim.panel).get(here.error, "")
        care = f" Its errors are not safe on this panel: {unsafe}." if unsafe else ""
        return (f"Use {self.best} with {errors_named(here.error)}: {here.estimate:.4g}, {error}interval "
                f"{here.lower:.4g} to {here.upper:.4g}.{care}{near}")  # fmt: skip

    @property
    def decisive(self) -> str:
        """The world in which the claim's own estimator fares worst beside the best: one where it is not valid first."""
        fares = {}
        for world in self.worlds:
            ours, theirs = self.result(world, self.own), self.result(world, self.best)
            times = float(np.nan_to_num(ours.rmse / theirs.rmse, nan=np.inf))  # where it is not judged
            fares[world] = (bool(np.isfinite(theirs.rmse)), not ours.valid, times)
        return max(fares, key=fares.__getitem__)

    def _dissent(self) -> str:
        """Who misses least where the worlds do not agree."""
        leaders = {}
        for world in self.worlds:
            sound = [one for one in self.results if one.world == world and one.valid]
            if sound:
                leaders[world] = min(sound, key=lambda one: one.rmse).estimator
        if self.agree or len(set(leaders.values())) < 2:
            return ""
        said = [f"{name} in the world {world}" for world, name in leaders.items()]
        return f" The worlds disagree: the least miss is that of {joined(said)}."


def race(
    real: RealPanel,
    claim: str = HEADLINE,
    *,
    effect: float | None = None,
    kinds: str | Estimator | Sequence[str | Estimator] = (),
    budget: str | float = 120.0,
    replications: int | None = None,
    context: RunContext | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Race:
    """Race every estimator that can serve a claim on twins of its panel.

    effect: planted in the twins; None = as estimated. kinds: estimators that race beside the claim's own, by kind,
    "module:Object" or as they are, none = all that serve. budget: seconds of the simulations, turned into replications
    by a pilot; replications: in its place.
    Raises BadInput for claims that are no effect, unknown estimators, and panels of which no twin can be made.
    """
    context, seconds = context or RunContext(), seconds_of(budget)
    check_asked(effect, replications, "race")

    several = asked_estimators(kinds, "kinds", "race")  # raises BadInput for those that there are not
    if refused := [*names_no_store_takes((kind.name for kind in several if isinstance(kind, Estimator)), "race")]:
        raise BadInput(*refused)
    kinds = tuple(in_full(kind, "--estimator") if isinstance(kind, str) else kind for kind in several)
    found, names = (*estimators(), TRENDS), [kind for kind in kinds if isinstance(kind, str)]
    if unknown := [kind for kind in names if kind not in found and ":" not in kind]:
        known = (*found, *offered())
        raise bad(f"no estimator {unknown[0]!r}", where="--estimator",
                  allowed=f"{one_of(sorted(known), unknown[0], '`panelproof kinds`')}, or module:Object",
                  remedy=closest(unknown[0], known))  # fmt: skip
    for kind in (kind for kind in names if ":" in kind):
        find_estimator(kind, "--estimator")

    if effect is not None and not abs(effect) < LARGEST:
        raise bad(f"effect {effect:g}", where="--effect", allowed=f"a number below {LARGEST:g} in size",
                  remedy="correct it")  # fmt: skip
    named = claim_of(real, claim)
    if named.dial != EFFECT:
        raise bad(f"the claim {claim!r} is no effect of the treatment itself", where="--claim",
                  allowed="did, or another estimate of the effect", remedy="leave --claim out")  # fmt: skip
    lineup = Lineup.of(named, kinds, effect)
    if replications is not None:
        return lineup.run(dict.fromkeys(lineup.field, replications), context, say)
    return lineup.run(lineup.replications(seconds, context), context, say, until=lineup.begun + seconds)


# Who races.


@dataclass(frozen=True, eq=False, slots=True)
class Contestant:
    """An estimator that races: its term that is the effect, the error type that it prints, and its fit of the panel."""

    name: str
    estimator: Estimator
    term: str
    printed: str
    found: Estimates

    def on_panel(self, error: str) -> OnPanel:
        """What it says of the panel under an error type."""
        k, fits = self.found.terms.index(self.term), self.found.with_errors(error)
        lower, upper = fits.conf_int().to_numpy()[k].tolist()
        return OnPanel(self.name, error, float(fits.estimate[0, k]), float(fits.se[0, 0, k]), lower, upper)

    @property
    def endless(self) -> dict[str, str]:
        """Error types without a finite interval on the panel, as placebos of few units may be, with the reason."""
        shown = {error: self.on_panel(error) for error in self.found.errors}
        return {error: "its interval has no end" for error, one in shown.items()
                if not np.isfinite([one.lower, one.upper]).all()}  # fmt: skip


Field = Mapping[str, Contestant]


def contestants(claim: PanelClaim, kinds: Sequence[str | Estimator] = ()) -> tuple[Field, tuple[OnPanel, ...]]:
    """The estimators that can serve a claim's panel by name, the claim's own first, and why others cannot."""
    every = (TRENDS, *([OVER_W] if claim.panel.weights else []), *CONTESTANTS)
    field: dict[str, Contestant] = {}
    left_out: list[OnPanel] = []

    few = bool(treated_units(claim.panel).sum() < FEW_TREATED)
    made: list[Estimator] = []  # as they are given, or by their kind at its defaults
    for kind in kinds or every:
        if kind == TRENDS:
            made.append(TwoWayDID(errors=("cluster:unit",), effects=("unit", "period", "unit-trend"), label=TRENDS))
        elif isinstance(kind, str):
            plain: Any = find_estimator(kind, "--estimator")()
            placebos = few and JACKKNIFE in getattr(plain, "errors", ())
            made.append(replace(plain, errors=(PLACEBO,)) if placebos else plain)
        else:
            made.append(kind)

    own, asked = claim.estimator, dict[str, Estimator]()
    for estimator in (own, *made):
        name = getattr(claim.fitted.estimator, "kind", "") if estimator is own else estimator.name
        if name in field:
            claimed = name == next(iter(field)) and name in kinds
            if kinds and not claimed and estimator not in (own, asked[name]):
                raise bad(f"two estimators are called {name!r}", where="race", allowed="a name of its own for each",
                          remedy="give one a label, or leave it out")  # fmt: skip
            continue
        asked[name] = estimator
        try:
            tried = estimator.tried_on(claim.panel, claim.panel.schema) if asks_for_a_trial(estimator) else estimator
            field[name] = _contestant(claim, tried, name, claim.term if estimator is own else "")
        except (Exception, SystemExit) as fault:
            if estimator is own:
                raise
            why = fault.problems[0].what if isinstance(fault, BadInput) else f"it fails on this panel: {reason(fault)}"
            left_out.append(OnPanel(name, left_out=why))
    return field, tuple(left_out)


def _contestant(claim: PanelClaim, estimator: Estimator, name: str, term: str) -> Contestant:
    """An estimator fitted to the panel; raises BadInput for one that cannot serve."""
    layout = estimator.layout(claim.panel.schema)
    term = term or _effect(layout, estimator, str(claim.panel.roles.treatment))
    if not layout.errors:
        raise bad("it has no standard errors", where=name, allowed="estimators with errors", remedy="leave it out")
    found = estimator(claim.panel, Streams(claim.real.spec.inference.seed, "race"))
    if isinstance(estimator, FunctionEstimator) and (said := lacking(found, layout, with_errors=True)):
        raise bad(f"on this panel {said[0]}", where=name, allowed="panels that it fits", remedy="leave it out")
    if not np.isfinite(found.estimate[0, found.terms.index(term)]):
        raise bad(f"it has no estimate on this panel: {why_failed(found)}", where=name, allowed="panels that it fits",
                  remedy="leave it out")  # fmt: skip
    printed = claim.printed if claim.printed in layout.errors else usual_error(layout.errors)
    made = Contestant(name, estimator, term, printed, found)
    if set(layout.errors) <= set(made.endless):
        raise bad(f"it has no error on this panel: {why_no_error(printed, TOO_FEW)}", where=name,
                  allowed="panels that it fits", remedy="leave it out")  # fmt: skip
    return made


def _effect(layout: Layout, estimator: Estimator, treatment: str) -> str:
    """The term that is held to the average effect on the treated, that of their neighbours' treatment in it; of a
    treatment of any strength to that of a unit of it. Raises BadInput where there is none."""
    for wanted in ("att", f"beta({treatment})"):
        terms = [term for term, target in layout.targets.items() if target == wanted]
        if terms:
            return treatment if treatment in terms else terms[0]
    raise bad("it does not estimate the average effect on the treated", where=estimator.name,
              allowed="estimators of the effect", remedy="leave it out")  # fmt: skip


def cost_of(study: Study) -> float:
    """Seconds of drawing and fitting a panel, many at once where that takes little time; what a first one costs beside
    is no part of it."""
    runner, estimator, done, spent = runner_of(study, 0), study.estimators[0], 0, list[float]()
    panel = runner.draw(0).panel
    for rows in (1, 1, 3):
        begin = time.perf_counter()
        with contextlib.suppress(Exception):  # the race counts it
            estimator(first_rows(panel, rows), runner.streams_of(estimator, 0, rows))
        spent.append(time.perf_counter() - begin)
        if spent[-1] > LONG * rows:
            return spent[-1] / rows
    if TILE * (once := (spent[2] - spent[1]) / 2) > SOON:
        return once
    for count in (TILE, UNIT):
        begin = time.perf_counter()
        runner.run(done, done + count)
        once = max((time.perf_counter() - begin) / count, 1e-9)
        done += count
        if UNIT * once > SOON:
            break
    return once


def shared(costs: Mapping[str, float], seconds: float, own: str) -> dict[str, int]:
    """Panels of each estimator: `LEAST`, and equal shares of the time that is left, what quick ones leave going to
    slower ones; costs: seconds a panel. The slowest are left out until the others can have `LEAST` each; `own` stays.
    """
    order = sorted(costs, key=lambda name: costs[name])
    while (slow := [name for name in order if name != own]) and LEAST * sum(costs[name] for name in order) > seconds:
        order.remove(slow[-1])
    left, counts = max(seconds - LEAST * sum(costs[name] for name in order), 0.0), dict[str, int]()
    for place, name in enumerate(order):
        count = LEAST + int(min(left / (len(order) - place) / costs[name], MOST - LEAST))
        counts[name] = count // TILE * TILE
        left -= (counts[name] - LEAST) * costs[name]
    return counts


@dataclass(frozen=True, eq=False, slots=True)
class Lineup:
    """What races where. effect: in the worlds. field: estimators by name, the claim's own first. worlds: designs by
    name. near: worlds near these, by name. left_out: estimators that cannot serve. notes: what stands in the worlds.
    begun: when the panel was first fitted."""

    claim: PanelClaim
    effect: float
    field: Field
    worlds: Mapping[str, PanelDesign]
    near: Mapping[str, Sequence[PanelDesign]]
    left_out: tuple[OnPanel, ...]
    notes: tuple[str, ...]
    begun: float

    @classmethod
    def of(
        cls,
        claim: PanelClaim,
        kinds: Sequence[str | Estimator] = (),
        effect: float | None = None,
        fitted: Twin | None = None,
    ) -> Lineup:
        """Of a claim that is an effect; see `race`. fitted: the twin of its sample, where it is there.

        Raises BadInput for an effect that is no average over the treated: others would answer another question.
        """
        target = Estimand.parse(claim.fitted.estimator.layout(claim.panel.schema).targets[claim.term])
        if target.kind in OTHERS:
            raise bad(f"the claim {claim.text!r} is no average effect on the treated, which others estimate",
                      where="--claim", allowed="did, or another estimate of that average",
                      remedy="leave --claim out")  # fmt: skip
        begun, size = time.perf_counter(), claim.estimate if effect is None else effect
        field, left_out = contestants(claim, kinds)
        departures, untold = departures_of(claim)
        worlds, near, notes = worlds_of(claim.sample, departures, size, fitted)
        return cls(claim, size, field, worlds, near, left_out, (*notes, *untold), begun)

    @property
    def own(self) -> str:
        """The claim's own estimator."""
        return next(iter(self.field))

    def study(self, world: str, design: PanelDesign, one: Contestant, count: int) -> Study:
        """One estimator in one world; others of the same world get the same draws."""
        return Study(f"race-{world.replace(' ', '-')}-{one.name}", design, (one.estimator,),
                     grid=((self.claim.dial, (self.effect,)),), replications=count,
                     block=UNIT if count <= BLOCK else BLOCK,
                     seed=self.claim.real.spec.inference.seed,
                     question="How do estimators of the effect do on twins?")  # fmt: skip

    def replications(self, budget: float, context: RunContext) -> dict[str, int]:
        """Panels a world for each estimator, as measured by a pilot in the first world; none for those too slow.

        budget: seconds from the first fit of the panel on; what is left of them, or a quarter where that is more, is
        for these panels and for worlds nearby. context: the processes of the race.
        """
        design = next(iter(self.worlds.values()))
        costs = {name: cost_of(self.study("pilot", design, one, UNIT)) for name, one in self.field.items()}
        left = max(budget - (time.perf_counter() - self.begun), budget / 4)
        left *= (1 - FOR_NEARBY) * context.executor.workers
        counts = shared(costs, left / len(self.worlds), self.own)
        return {name: counts[name] for name in self.field if name in counts}

    def run(
        self, counts: Mapping[str, int], context: RunContext, say: Callable[[str], None] = lambda line: None,
        until: float = math.inf,
    ) -> Race:  # fmt: skip
        """The race; counts: panels a world of those that run. until: when to try no further world nearby."""
        racing = {name: self.field[name] for name in counts}
        by_world: dict[str, dict[str, SimulatedStudy]] = {}
        for world, design in self.worlds.items():
            say(f"{world}: {amount(len(racing), 'estimator')} on up to {max(counts.values()):,} panels")
            wanted = {name: self.study(world, design, one, counts[name]) for name, one in racing.items()}
            studies = {name: context.fitting(study.name, study) for name, study in wanted.items()}
            stores = context.run_all({study.name: study for study in studies.values()})
            by_world[world] = {name: SimulatedStudy(world, study, stores[study.name], racing[name].term)
                               for name, study in studies.items()}  # fmt: skip
        errors = {name: best_error([held[name] for held in by_world.values()], one.printed,
                                   one.endless | forbidden_of(one.found.errors, self.claim.panel))
                  for name, one in racing.items()}  # fmt: skip
        results: list[RaceResult] = []
        for held in by_world.values():
            of_world = [result_of(one, name, errors[name]) for name, one in held.items()]
            losses = {name: losses_of(one) for name, one in held.items()}
            results += with_confidence(of_world, losses, self.claim.real.spec.inference.seed)
        unsafe = [name for name, error in errors.items() if forbidden_of((error,), self.claim.panel)]
        (best, agree), first = chosen(results, self.own, unsafe), chosen(results, self.own)[0]
        fewer = [f"{name} on {count:,}" for name, count in counts.items() if count < max(counts.values())]
        notes = (*self.notes, f"Slow estimators raced on fewer panels: {joined(fewer)}.") if fewer else self.notes
        judged = {one.estimator for one in results if np.isfinite(one.bias) or one.failures == 1}
        notes += tuple(f"{name} is not judged: where effects differ, what it estimates has no one true value."
                       for name in racing if name not in judged)  # fmt: skip
        notes += tuple(f"{name} failed on every panel of the worlds." for name in racing
                       if all(one.failures == 1 for one in results if one.estimator == name))  # fmt: skip
        failed = {name: max(one.failures for one in results if one.estimator == name) for name in racing}
        notes += tuple(f"{name} failed on {share(part)} of the panels of a world: its numbers are those of the others."
                       for name, part in failed.items() if 0 < part < 1)  # fmt: skip
        slow = (OnPanel(name, left_out="too slow for this budget") for name in self.field if name not in counts)
        said = (*(one.on_panel(errors[name]) for name, one in racing.items()), *self.left_out, *slow)
        found = Race(self.claim, self.own, self.effect, tuple(results), said, best, agree, notes=notes,
                     passed_over="" if first == best else first)  # fmt: skip
        if found.better:
            found = replace(found, notes=(*notes, COST))
        known = best != self.own and np.isfinite(found.result(found.decisive, self.own).rmse)
        around = next((name for name in (found.decisive, *self.near) if name in self.near), "")
        if found.decisive == SELECTION:  # it has none nearby: adoption hangs on factors
            around = ""
        nearby = self._nearby(around, racing[best], context, until) if known and around else (0, 0)
        return replace(found, nearby=nearby, around=around, seconds=time.perf_counter() - self.begun)

    def _nearby(self, world: str, best: Contestant, context: RunContext, until: float) -> tuple[int, int]:
        """In how many worlds near that of a name an estimator misses less than the claim's own, of how many."""
        designs = self.near[world][:WORLDS_NEARBY]
        context, missed = replace(context, folder=None), list[list[float]]()
        for some in itertools.batched(enumerate(designs), context.executor.workers):
            if missed and time.perf_counter() > until:
                break
            pairs = [[self.study(f"near {place}", design, one, UNIT) for one in (self.field[self.own], best)]
                     for place, design in some]  # fmt: skip
            stores = context.run_all({study.name: study for pair in pairs for study in pair})
            missed += [[float(np.nanmean(losses_of(SimulatedStudy(world, study, stores[study.name], one.term))))
                        for study, one in zip(pair, (self.field[self.own], best), strict=True)]
                       for pair in pairs]  # fmt: skip
        return sum(found < own for own, found in missed), len(missed)


# What a race found: misses in each world, the model confidence set, and whom to use.


def fits_of_term(found: SimulatedStudy) -> Fits:
    """Every fit of a study of one estimator in a world, its term alone."""
    layout = found.store.layouts[found.estimator]
    fits = fits_of(Block.join(list(found.store.blocks(0))), found.estimator, layout, 1 - NOMINAL)
    assert fits is not None
    return fits.part(list(range(len(layout.errors))), [layout.terms.index(found.term)])


def losses_of(found: SimulatedStudy) -> Floats:
    """Squared misses of the effect, (R,), NaN where a fit failed."""
    fits = fits_of_term(found)
    return np.asarray(np.where(fits.ok, np.square(fits.estimate - fits.truth)[:, 0], np.nan))


def result_of(found: SimulatedStudy, name: str, error: str) -> RaceResult:
    """What a study of one estimator in a world says, its Monte Carlo errors clustered by worlds as in every report."""
    bias, rmse, coverage = found.measure("bias"), found.measure("rmse"), found.measure("coverage", error)
    fits, at = fits_of_term(found), found.errors.index(error)
    widths = (fits.upper - fits.lower)[fits.ok, at]
    return RaceResult(
        found.method, name, error, bias.value, bias.mcse, rmse.value, rmse.mcse, found.measure("empirical_se").value,
        coverage.value, coverage.mcse, float(np.mean(widths)) if widths.size else NONE,
        found.measure("rejection", error).value, float(np.mean(~fits.ok)), bias.n,
    )  # fmt: skip


def best_error(worlds: Sequence[SimulatedStudy], printed: str, forbidden: Mapping[str, str]) -> str:
    """The error type of an estimator: of those that may be printed and whose intervals cover in every world the printed
    one, else that which assumes least; where none covers, the printed one."""
    allowed = []
    for error in (error for error in worlds[0].errors if error not in forbidden):
        held = [one.measure("coverage", error) for one in worlds]
        if np.nan_to_num(min(one.value + BEYOND * one.mcse for one in held)) >= LEAST_COVERAGE:
            allowed.append(error)
    return printed if printed in allowed else min(allowed, key=rank_of, default=printed)


def with_confidence(found: Sequence[RaceResult], losses: Mapping[str, Floats], seed: int) -> list[RaceResult]:
    """Results of one world with the model confidence set of those that are valid.

    losses: squared misses by name, (R,). One that ran on fewer panels is held against all that ran on as many; of
    several such sets the least p value counts, times their number (Bonferroni), but none of fewer than `ENOUGH` panels
    for those that ran on more.
    """
    sound = [one for one in found if one.valid]
    known: dict[str, list[float]] = {one.estimator: [] for one in sound}
    for count in sorted({len(losses[one.estimator]) for one in sound}):
        field = [one.estimator for one in sound if len(losses[one.estimator]) >= count]
        if len(field) < 2:
            continue
        held = np.column_stack([losses[name][:count] for name in field])
        held = held[np.isfinite(held).all(axis=1)]
        if len(held) < 2:
            continue
        p = confidence_set(held, np.random.default_rng(seed))
        for name, value in zip(field, p.tolist(), strict=True):
            if count >= ENOUGH or len(losses[name]) == count:
                known[name].append(value)
    told = {name: min(1.0, len(values) * min(values)) if values else 1.0 for name, values in known.items()}
    return [replace(one, confidence=told.get(one.estimator, NONE)) for one in found]


def confidence_set(losses: Floats, rng: np.random.Generator, samples: int = SAMPLES) -> Floats:
    """p values of the model confidence set of losses (R, M): those of at least a level stay in it, (M,).

    Hansen, Lunde and Nason (2011, Econometrica 79(2)), with their statistic T_max: the model whose mean loss lies most
    standard errors above the mean of those that are left goes first; rows are independent, and are drawn anew.
    """
    rows, models = losses.shape
    weights = rng.multinomial(rows, np.full(rows, 1 / rows), size=samples) / rows
    means, drawn = losses.mean(axis=0), weights @ losses
    left, p, so_far = list(range(models)), np.ones(models), 0.0
    while len(left) > 1:
        apart = means[left] - means[left].mean()
        moved = drawn[:, left] - drawn[:, left].mean(axis=1, keepdims=True) - apart
        scale = np.sqrt(np.square(moved).mean(axis=0))
        if not (scale > SAME * means[left].max()).all():  # models whose losses are the same
            break
        worst = int(np.argmax(apart / scale))
        so_far = max(so_far, float(np.mean((moved / scale).max(axis=1) >= (apart / scale).max())))
        p[left[worst]] = so_far
        del left[worst]
    return p


def chosen(results: Sequence[RaceResult], own: str, unsafe: Collection[str] = ()) -> tuple[str, bool]:
    """The estimator to use, and whether all worlds agree. unsafe: those without errors that are safe on the panel,
    which do not displace the claim's own where its errors are safe and it is valid in every world.

    The claim's own stays where it is valid in every world and in no world clearly behind: in the model confidence set,
    or within 5% of the least root mean squared error. Else it is the estimator, valid in most worlds, whose root mean
    squared error is on average the fewest times that of the best valid one. Those that ran on few panels are not
    recommended.
    """
    if own not in unsafe and all(one.valid for one in results if one.estimator == own):
        results = [one for one in results if one.estimator not in unsafe]
    by_name: dict[str, list[RaceResult]] = {}
    for one in results:
        if one.estimator == own or one.n >= ENOUGH:
            by_name.setdefault(one.estimator, []).append(one)
    able = [one for of_name in by_name.values() for one in of_name]
    worlds = list(dict.fromkeys(one.world for one in able))
    least = {}
    for world in worlds:
        here = [one for one in able if one.world == world and one.rmse == one.rmse]
        least[world] = min(
            (one.rmse for one in here if one.valid), default=min((one.rmse for one in here), default=NONE)
        )
    agreed = [name for name, of_name in by_name.items()
              if all(one.valid and (one.confidence > LEVEL or one.rmse <= (1 + CLEAR) * least[one.world])
                     for one in of_name)]  # fmt: skip
    if own in agreed:
        return own, True
    times = {name: np.nan_to_num([one.rmse / least[one.world] for one in of_name], nan=np.inf)
             for name, of_name in by_name.items()}  # fmt: skip
    ratios = {name: (-sum(one.valid for one in of_name), times[name].mean()) for name, of_name in by_name.items()}
    best = min(agreed or ratios, key=lambda name: ratios[name])
    return best, bool(agreed)


# What is printed and kept.


def document(found: Race) -> dict[str, Any]:
    """Every number that is shown, as plain data."""
    return {
        "claim": found.claim.text,
        "estimator": found.own,
        "effect": found.effect,
        "best": found.best,
        "better": found.better,
        "agree": found.agree,
        "nearby": list(found.nearby),
        "answer": found.answer,
        "reason": found.reason if found.better else "",
        "advice": found.advice if found.better else "",
        "worlds": [without_nan(_plain(one)) for one in found.results],
        "panel": [without_nan(asdict(one)) for one in found.panel],
        "notes": list(found.notes),
        "legend": IN_THE_SET,
        "seconds": found.seconds,
    }


def rows_of(found: Race) -> list[dict[str, Any]]:
    """A row an estimator in the decisive world, with what it says of the panel, the one to use marked best."""
    rows = []
    for here in (one for one in found.panel if not one.left_out):
        one = found.result(found.decisive, here.estimator)
        plain = {name: value for name, value in _plain(one).items() if not name.endswith("_mcse") and name != "error"}
        errors = {name: getattr(one, f"{name}_mcse") for name in ("bias", "rmse", "coverage")}
        rows.append(without_nan(plain | {"errors": one.error, "mcse": errors, "best": one.estimator == found.best,
                                         "estimate": here.estimate, "se": here.se, "lower": here.lower,
                                         "upper": here.upper}))  # fmt: skip
    return rows


def _plain(one: RaceResult) -> dict[str, Any]:
    return asdict(one) | {"valid": one.valid}


def print_race(found: Race, console: Console) -> None:
    """The answer, a table a world, and the estimators on the panel."""
    console.print(Text(found.answer, style="bold"))
    for world in found.worlds:
        console.print()
        console.print(Text(f"In the world {world}, effect {found.effect:.4g}"))
        padding = (0, 1) if console.width >= WIDE else (0, 1, 0, 0)
        table = Table("estimator", "bias", "RMSE", "coverage", "power", "in the set", box=None, pad_edge=False,
                      padding=padding)  # fmt: skip
        rows = sorted(
            (one for one in found.results if one.world == world), key=lambda one: (np.isnan(one.rmse), one.rmse)
        )
        for one in rows:
            within = f"{one.confidence:.2f}" if one.valid else "not valid" if np.isfinite(one.rmse) else DASH
            misses = (bracketed(value, mcse, fixed([value], mcse)) for value, mcse in
                      ((one.bias, one.bias_mcse), (one.rmse, one.rmse_mcse)))  # fmt: skip
            shares = (f"{value:.1%}" if np.isfinite(value) else DASH for value in (one.coverage, one.power))
            table.add_row(fill(one.estimator, NAME_WIDTH), *misses, *shares, within)  # fmt: skip
        console.print(table)
    console.print()
    console.print(Text("On the panel itself"))
    table = Table("estimator", "errors", "estimate", "s.e.", "95% interval", box=None, pad_edge=False)
    for here in (one for one in found.panel if not one.left_out):
        se = f"{here.se:.3g}" if np.isfinite(here.se) else DASH
        table.add_row(here.estimator, here.error, f"{here.estimate:.4g}", se, f"{here.lower:.4g} to {here.upper:.4g}")
    console.print(table)
    for here in (one for one in found.panel if one.left_out):
        console.print(Text(f"Left out: {here.estimator}: {here.left_out}."))
    for note in (IN_THE_SET, *found.notes):
        console.print(Text(note, style="dim"))
