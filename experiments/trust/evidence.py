"""Error rates of checks and of the verdict on the user's own panel: the same checks on twins where nothing is wrong.

Every check that re-estimates is a term of one estimator (`Differences`), so that a study of it on twins without an
effect says how often an alarm is false; the critical value is the one that the largest of all differences exceeds in
5% of further twins. What an alarm would find is told by moving the differences by what is needed: they are
linear in the outcome. A constant effect moves the claim and all its alternatives alike.

Studies of a claim's estimator on twins: ordinary studies with a grid over the claim's dial, in ordinary stores.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Integral, Real
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtri

from cluster import Executor, Serial
from estimators.core.estimator import Estimates, Estimator, Status, critical_values, p_values
from estimators.core.hypotheses import p_value_errors, permutation_p_values
from estimators.sensitivity.differences import ALTERNATIVE, DIFFERENCE
from experiments.checks.case import Family
from experiments.checks.check import (
    LEVELS,
    alternatives_of,
    answers_of,
    family_critical,
    statistics_of,
    usual_of,
    with_departure,
)
from experiments.run.launch import check_store
from experiments.run.resume import Resume
from experiments.run.runner import run, schema_of
from experiments.run.tasks import runner_of
from experiments.study import Study
from experiments.trust.claim import PanelClaim
from experiments.twins.twin import Twin
from results.diagnosis.claims import POWER, interval_point
from results.diagnosis.diagnose import diagnose
from results.diagnosis.fits import variance_inflation
from results.diagnosis.measures import Z95, Grouping, Tally
from results.diagnosis.power import Detectable
from results.store import Store
from results.store.files import root_damage
from results.store.repair import replications_in
from results.store.zarr_store import ZarrStore
from results.tables.records import Answer, Check
from sim.arrays import Flags, Floats
from sim.errors import BadInput, bad, refuse, type_problems
from sim.streams import world_of

# How many replications a budget of seconds allows, from a timed pilot.


BUDGET = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h)?")
SECONDS = {None: 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
UNIT = 64  # replications come in multiples of it
LEAST, MOST = 128, 20_000
MAIN = 0.6  # share of the budget that the first method gets


def seconds_of(given: str | float) -> float:
    """A budget such as 60s, 2m or 1h, or a number of seconds, in seconds; raises BadInput for what is none or is
    zero."""
    refuse(type_problems(given, (str, Real), "budget", where="--budget", allowed="a time such as 60s, 2m or 1h"))
    found = BUDGET.fullmatch(given.strip()) if isinstance(given, str) else None
    seconds = float(found[1]) * SECONDS[found[2]] if found else 0.0 if isinstance(given, str) else float(given)
    if not 0 < seconds < float("inf"):
        raise bad(f"budget {given!r}", where="--budget", allowed="a time above zero such as 60s, 2m or 1h",
                  remedy="use 60s")  # fmt: skip
    return seconds


def check_asked(effect: object, replications: object, where: str) -> None:
    """Raise BadInput for an effect or replications that are no numbers, or fewer than a pilot has; None is none."""
    least = f"a whole number from {UNIT}"
    sizes = () if effect is None else type_problems(effect, Real, "effect", where=where, allowed="a number")
    counts = () if replications is None else type_problems(replications, Integral, "replications", where=where,
                                                           allowed=least)  # fmt: skip
    refuse([*sizes, *counts])
    if isinstance(replications, Integral) and int(replications) < UNIT:
        raise bad(f"replications = {replications}", where=where, allowed=least, remedy="ask for more")


def timed(study: Study, replications: int) -> float:
    """Seconds a replication of a study that is kept nowhere; a first small round is not timed."""
    run(study.resized(replications=UNIT))
    begin = time.perf_counter()
    run(study.resized(replications=replications))
    return (time.perf_counter() - begin) / replications


def shared_out(costs: Mapping[str, tuple[int, float]], budget: float, workers: int = 1) -> dict[str, int]:
    """Replications a cell of each study: the first gets most of the budget, the others equal parts of the rest.

    costs: cells of each study, and seconds a replication in a cell.
    """
    first, *others = costs
    parts = {first: MAIN if others else 1.0} | dict.fromkeys(others, (1.0 - MAIN) / max(len(others), 1))
    return {
        name: int(np.clip(parts[name] * budget * workers / (cells * max(seconds, 1e-9)) // UNIT * UNIT,
                          LEAST, MOST // UNIT * UNIT))
        for name, (cells, seconds) in costs.items()
    }  # fmt: skip


# With what the studies of a claim are run: where their stores are, and on which processes.


BUDGET_FILE = (
    "budget.json"  # beside the stores: the seconds of the largest budget so far, and what they were turned into
)


@dataclass(frozen=True, eq=False, slots=True)
class RunContext:
    """folder: its folder `stores` has a store a study; None = in memory. plan: how a store that is there is resumed."""

    folder: Path | None = None
    executor: Executor = field(default_factory=Serial)
    plan: Resume = field(default_factory=Resume)

    def store(self, name: str) -> Path | None:
        """Where a study's store is."""
        return None if self.folder is None else self.folder / "stores" / f"{name}.zarr"

    def fitting(self, name: str, study: Study) -> Study:
        """The study with the replications of its store where it has one that holds more."""
        store = self.store(name)
        if store is None or not store.exists():
            return study
        damaged = root_damage(store) is not None  # which the run repairs
        held = replications_in(store, schema_of(study)) if damaged else ZarrStore.open(store).replications
        return study.resized(replications=max(held or 0, study.replications))

    def remembered(self, seconds: float) -> dict[str, int] | None:
        """Replications a cell by study, of an earlier run whose budget was as large; None where there was none.

        A pilot is never timed alike twice, so without this the same command would add replications each time.
        """
        file = None if self.folder is None else self.folder / "stores" / BUDGET_FILE
        if file is None or not file.is_file():
            return None
        try:
            held = json.loads(file.read_text(encoding="utf-8"))
            return dict(held["replications"]) if held["seconds"] >= seconds else None
        except (ValueError, KeyError, TypeError):  # a damaged note costs no more than another pilot
            return None

    def remember(self, seconds: float, replications: Mapping[str, int]) -> None:
        """Keep what a budget was turned into, beside what one as large was turned into earlier."""
        held = self.remembered(seconds) or {}
        if self.folder is None or replications.keys() <= held.keys():
            return
        file = self.folder / "stores" / BUDGET_FILE
        file.parent.mkdir(parents=True, exist_ok=True)
        kept = max(seconds, json.loads(file.read_text(encoding="utf-8"))["seconds"]) if held else seconds
        text = json.dumps({"seconds": kept, "replications": dict(replications) | held})
        file.write_text(text, encoding="utf-8")

    def check(self, name: str, study: Study) -> None:
        """Raise BadInput for a store of another study, or one that cannot be written; StoreLocked for one in use."""
        store = self.store(name)
        if store is None:
            return
        try:
            check_store(study, store, self.plan)
        except BadInput as fault:
            if not store.exists() or root_damage(store):
                raise
            if ZarrStore.open(store).fingerprint == schema_of(study).fingerprint:
                raise
            raise bad("holds the page of another panel, spec or claim", where=str(self.folder),
                      allowed="one page a folder", remedy="choose another --out, or delete it") from fault  # fmt: skip

    def run(self, name: str, study: Study) -> Store:
        """Run what is missing of a study."""
        return run(study, store=self.store(name), executor=self.executor, plan=self.plan)

    def run_all(self, studies: Mapping[str, Study]) -> dict[str, Store]:
        """Run what is missing of several studies: as many at once as there are workers, for a study of one block keeps
        one of them busy."""
        most = min(self.executor.workers, len(studies))
        if most < 2:
            return {name: self.run(name, study) for name, study in studies.items()}
        with ThreadPoolExecutor(most) as pool:
            return dict(zip(studies, pool.map(self.run, studies, studies.values()), strict=True))


BLOCK = 256  # replications stored together: what an interruption can cost
SHARES = (0.5, 1.0, 2.0)  # of the estimate at which power is simulated
AROUND = (0.6, 0.8, 1.0, 1.2, 1.5)  # of the expected minimum detectable effect
NEAR = 0.02  # relative distance of two effects of which one is enough
DETECTED = 2.8  # standard deviations that a 5% test finds with a power of about 80%
LEVEL = 0.05
BEYOND = 2.0  # Monte Carlo errors above 5% from which a simulated p value is clearly above it


@dataclass(frozen=True, slots=True)
class MeasureWithError:
    """A measure with its Monte Carlo error, from n fits."""

    value: float
    mcse: float
    n: int = 0


@dataclass(frozen=True, eq=False, slots=True)
class TermFits:
    """What one estimator said of one term on R panels: estimate, se, dof, pvalue (R,), NaN where a fit failed."""

    estimate: Floats
    se: Floats
    dof: Floats
    pvalue: Floats

    @property
    def statistic(self) -> Floats:
        """t, or where an error type has none, the normal quantile of its p value with the estimate's sign."""
        return statistic_of(self.estimate, self.se, self.pvalue)

    def moved(self, effect: float) -> TermFits:
        """The fits if an effect moved every estimate by so much: by t, or where there is no standard error, with the
        one that the p value of the unmoved estimate implies, and no p value below the least of all fits, or of 5% where
        none is below it: those of a few placebos come in steps, and reach 5% where they are run."""
        with np.errstate(divide="ignore", invalid="ignore"):
            known = np.isfinite(self.se)
            se = np.where(known, self.se, self.estimate / self.statistic)
            dof, estimate = np.where(known, self.dof, np.inf), self.estimate + effect
            least = np.min(self.pvalue, where=~known & np.isfinite(self.pvalue), initial=LEVEL)
            pvalue = np.maximum(p_values(estimate / se, dof), np.where(known, 0.0, least))
            return TermFits(estimate, self.se, self.dof, pvalue)


def statistic_of(estimate: Floats, se: Floats, pvalue: Floats) -> Floats:
    """t statistics (R,); where there is no standard error, the normal quantile of p with the sign of the estimate."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.isfinite(se), estimate / se, np.sign(estimate) * -ndtri(pvalue / 2))


def fits_of(store: Store, cell: int, estimator: str, term: str, error: str) -> TermFits:
    """One term under one error type in a cell of a store."""
    return fits_in([block.estimates[estimator] for block in store.blocks(cell)], term, error)


def fits_in(found: Sequence[Estimates], term: str, error: str) -> TermFits:
    """One term under one error type of consecutive fits."""
    parts = []
    for fits in found:
        k, e = fits.terms.index(term), fits.errors.index(error)
        estimate, se, dof = fits.estimate[:, k], fits.se[:, e, k], fits.dof[:, e, k]
        with np.errstate(divide="ignore", invalid="ignore"):
            p = p_values(estimate / se, dof) if fits.pvalue is None else fits.pvalue[:, e, k]
            p = np.where(np.isfinite(p), p, p_values(estimate / se, dof))
        parts.append(np.where(fits.status == Status.OK, [estimate, se, dof, p], np.nan))
    return TermFits(*np.concatenate(parts, axis=1))


def calibrated(statistic: float, null: Floats, world: NDArray[np.intp] | None = None) -> MeasureWithError:
    """The p value (1 + number of |t*| >= |t|) / (B + 1); panels without a t count as extreme.

    statistic: the claim's t; null (B,): those of twins with a zero effect. world (B,): in which each twin lies, None =
    one; where there are several, the error is as much wider as they make the variance of a share.
    """
    p = permutation_p_values(np.array([statistic]), null[None])
    wide = 1.0
    if world is not None and world.any():
        large = Tally((1,), int(world.max()) + 1)
        large.add(~(np.abs(null) < abs(statistic))[:, None], np.ones((len(null), 1), dtype=bool), Grouping.of(world))
        wide = float(np.sqrt(variance_inflation(large)[0]))
    return MeasureWithError(float(p[0]), wide * float(p_value_errors(p, len(null))[0]), len(null))


def is_least(calibrated: MeasureWithError) -> bool:
    """Whether no twin was as large, so that more twins might give a smaller p value."""
    return calibrated.value * (calibrated.n + 1) < 1.5


def within_level(pvalue: Floats | float, mcse: Floats | float) -> Flags:
    """Whether simulated p values are not clearly above 5%; not where there is none."""
    return np.asarray(pvalue - BEYOND * mcse <= LEVEL)


@dataclass(frozen=True, eq=False)
class SimulatedStudy:
    """What the study of one method found. effects (D,): of its cells, the first 0. votes: its twins are a null."""

    method: str
    study: Study
    store: Store
    term: str
    votes: bool = True

    @property
    def estimator(self) -> str:
        """Its name in the store."""
        return self.study.estimators[0].name

    @property
    def effects(self) -> tuple[float, ...]:
        """The values of the dial, 0 first."""
        return tuple(float(value) for value in self.study.grid[0][1])

    @property
    def errors(self) -> tuple[str, ...]:
        """Error types."""
        return self.store.layouts[self.estimator].errors

    @property
    def replications(self) -> int:
        """A cell."""
        return self.store.replications

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The diagnosis of the term."""
        found = diagnose(self.store, LEVEL).frame
        return found[(found["term"] == self.term) & (found["sample"] == "own")]

    def measure(self, name: str, error: str = "", cell: int = 0) -> MeasureWithError:
        """A measure of a cell under an error type; NaN where there is none."""
        rows = self.frame
        here = rows[(rows["measure"] == name) & (rows["error"] == error) & (rows["cell"] == cell)]
        if here.empty:
            return MeasureWithError(float("nan"), float("nan"))
        row = here.iloc[0]
        return MeasureWithError(float(row["value"]), float(row["mcse"]), int(row["n"]))

    def size(self, error: str) -> MeasureWithError:
        """How often a 5% test rejects where the effect is zero."""
        return self.measure("rejection", error)

    def fits(self, error: str, cell: int = 0) -> TermFits:
        """Estimates and tests of every replication of a cell."""
        return fits_of(self.store, cell, self.estimator, self.term, error)

    def world(self, cell: int = 0) -> NDArray[np.intp]:
        """The world in which each replication of a cell lies."""
        every = [block.start + np.arange(len(block.estimates[self.estimator].status))
                 for block in self.store.blocks(cell)]  # fmt: skip
        return np.asarray(world_of(np.concatenate(every), self.study.world_count), dtype=np.intp)


def study_of(claim: PanelClaim, twin: Twin, effects: Sequence[float], replications: int) -> Study:
    """The claim's estimator on a twin, a cell an effect."""
    return Study(
        f"trust-{twin.method}", twin.design, (claim.estimator,), grid=((claim.dial, tuple(effects)),),
        replications=replications, block=BLOCK, seed=claim.real.spec.inference.seed,
        question=f"How does the estimator of the claim {claim.text} do on twins by the method {twin.method}?",
    )  # fmt: skip


def study_on_twins(study: Study, name: str, estimators: Sequence[Estimator], effect: float, replications: int) -> Study:
    """Further estimators on the same twins, at one effect; without an effect the draws are those of the study."""
    dial = study.grid[0][0]
    return Study(name, study.design, tuple(estimators), grid=((dial, (effect,)),), replications=replications,
                 block=BLOCK, seed=study.seed, question="What do the checks of the claim say on twins?")  # fmt: skip


def effects_of(claim: PanelClaim, sd: float, asked: float | None = None) -> tuple[float, ...]:
    """Zero, half the estimate, the estimate, twice the estimate, the effect that is asked for, and effects around the
    expected detectable one."""
    sign = -1.0 if claim.estimate < 0 else 1.0
    wanted = [share * abs(claim.estimate) for share in SHARES]
    wanted += [] if asked is None else [abs(asked)]
    for share in AROUND:
        effect = share * DETECTED * sd
        if all(abs(effect - other) > NEAR * effect for other in wanted):
            wanted.append(effect)
    return (0.0, *(sign * effect for effect in sorted({*wanted} - {0.0})))


def rejections(found: SimulatedStudy, error: str) -> tuple[Floats, Floats, Floats]:
    """Effects, rejections and fits of every cell, (D,) each.

    Where worlds widen the errors of shares, all fits count by one factor less: a fit through few worlds is the same,
    and its interval is as wide as they make it.
    """
    shares = [found.measure("rejection", error, cell) for cell in range(len(found.effects))]
    widened = []  # the variance of each share over that of independent fits, 1 or more
    for share in shares:
        alone = share.value * (1 - share.value) / share.n if share.n else 0.0
        widened.append(max(share.mcse**2 / alone, 1.0) if alone > 0 else 1.0)
    counts = np.array([float(share.n) for share in shares]) / np.mean(widened)
    return np.array(found.effects), np.array([share.value for share in shares]) * counts, counts


LEAN = 0.10  # one-sided level at which a trend before adoption that explains the claim leaves it undecided
TREND = "trend"  # the alternative that allows for the treated units' trend before adoption
PRETREND = "pre-trend"  # the joint test of cohort-wise effects before adoption
BOUNDS = {"honest-breakdown:first": "breakdown:first", "honest-breakdown": "breakdown:mean"}  # checks, terms


@dataclass(frozen=True, slots=True)
class Lean:
    """How far trends before adoption lean the claim's way: the share of twins with as much, the estimate without the
    trend with its interval, and whether the trend explains the claim."""

    pvalue: float
    estimate: float
    lower: float
    upper: float
    explains: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """What twins say of the checks; None where these do not run on twins.

    critical: value of their family. familywise: share of twins with any alarm. lean: of trends. pretrend: share of
    twins whose joint pre-trend test is as large. supported_...: shares of twins with that verdict. contradicted_...:
    share of those whose effect can be claimed (p up to 10%), None where none can.
    """

    critical: float | None = None
    familywise: float | None = None
    lean: Lean | None = None
    pretrend: float | None = None
    supported_without_effect: float | None = None
    supported_at_effect: float | None = None
    contradicted_without_threat: float | None = None


@dataclass(frozen=True, eq=False)
class Rehearsal:
    """The differences on the panel and on R twins without an effect, beside the claim's fits on the same twins.

    own: of all alternatives; twins: of those that twins can have, in Estimates whose rows are replications.
    calibrating: twins behind the calibrated p value of the page. safe: whether what the recommended errors need is
    there; without it the verdict is never "supported".
    """

    own: Family
    twins: Estimates
    claim: TermFits
    estimate: float
    calibrating: int
    safe: bool = True

    @classmethod
    def of(
        cls, own: Family, store: Store, name: str, claim: TermFits, estimate: float, calibrating: int, *, safe: bool
    ) -> Rehearsal:
        """store: of the study of the differences; name: of their estimator there."""
        found = Estimates.join([block.estimates[name] for block in store.blocks(0)])
        lost = (found.status != Status.OK)[:, None]
        twins = replace(found, estimate=np.where(lost, np.nan, found.estimate))
        return cls(own, twins, claim, estimate, calibrating, safe)

    @property
    def alternatives(self) -> tuple[str, ...]:
        """Those that run on twins."""
        return alternatives_of(self.twins)

    @cached_property
    def usual(self) -> dict[str, float]:
        """Mean t on twins of differences that belong to them."""
        return usual_of(self.twins)

    def alarms(self, found: Estimates, alternatives: Sequence[str]) -> Flags:
        """On which panels some difference is beyond what is usual, (R,)."""
        return np.asarray((np.abs(statistics_of(found, alternatives, self.usual)) > self.critical).any(axis=1))

    @cached_property
    def critical(self) -> float:
        """Of the largest difference: alarms in 5% of further twins."""
        return family_critical(self.twins, LEVEL, self.usual)

    def evidence(self, effect: float) -> Evidence:
        """What twins say; effect: the one at which rates are told."""
        moved = self.claim.moved(effect)
        with np.errstate(invalid="ignore"):
            claimed = moved.pvalue <= max(LEVELS)
        wrongly = self._contradicted(np.sign(moved.estimate), effect)[claimed]

        lean = None
        if TREND in self.alternatives:
            sign = -1.0 if self.estimate < 0 else 1.0
            d, se, _ = self.own.value(TREND)
            own, drawn = -sign * d / se, statistics_of(self.twins, (TREND,))[:, 0]
            alike = float((np.abs(drawn) >= own).sum())  # the law of the null is that of either sign
            pvalue = (1.0 + alike) / (2.0 * (1.0 + len(drawn))) if own > 0 else 1.0
            estimate, error, dof = self.own.value(TREND, ALTERNATIVE)
            half = float(critical_values(np.array([dof]), LEVEL)[0]) * error
            lean = Lean(pvalue, estimate, estimate - half, estimate + half,
                        bool(pvalue <= LEAN and estimate * sign <= half))  # fmt: skip
        return Evidence(
            critical=self.critical,
            familywise=float(self.alarms(self.twins, self.alternatives).mean()),
            lean=lean,
            supported_without_effect=float(self._supported(0.0).mean()),
            supported_at_effect=float(self._supported(effect).mean()),
            contradicted_without_threat=float(wrongly.mean()) if len(wrongly) else None,
        )

    def rated(self, check: Check) -> Check:
        """A check that re-estimates with its false alarms and its power."""
        texts = [text for text in check.alternatives if text in self.alternatives]
        if not texts or check.difference is None:
            return check
        alarms = self.alarms(self.twins, texts)
        shown = min(texts, key=lambda text: abs(self.own.value(text)[0] - (check.difference or 0.0)))
        moved = self.twins if check.needed is None else with_departure(self.twins, (shown,), check.needed)
        found = None if check.needed is None else float(self.alarms(moved, (shown,)).mean())
        return replace(check, false_alarm=float(alarms.mean()), power=found)

    def _contradicted(self, sign: Floats, effect: float) -> Flags:
        """Twins on which some alternative contradicts the claim, (R,); sign: of the claims."""
        moved = np.array([not term.startswith(DIFFERENCE) for term in self.twins.terms])
        found = replace(self.twins, estimate=self.twins.estimate + effect * moved)
        answers = answers_of(found, self.alternatives, self.critical, usual=self.usual)
        own = found.estimate[:, 0] * sign > 0  # as signed as the claim that is told of
        return np.asarray((answers == "contradicts").any(axis=1) & own)

    def _supported(self, effect: float) -> Flags:
        """Which twins get the verdict "supported" with an effect, (R,)."""
        moved = self.claim.moved(effect)
        null, sign = np.sort(np.nan_to_num(np.abs(self.claim.statistic))), np.sign(moved.estimate)
        with np.errstate(invalid="ignore"):
            ranks = (len(null) - np.searchsorted(null, np.abs(moved.statistic))) / len(null)
            small = moved.pvalue <= LEVEL
        small &= within_level(ranks, p_value_errors(ranks, self.calibrating)) & self.safe
        supported = small & ~self._contradicted(sign, effect)
        if TREND in self.alternatives:  # but for twins with a trend before adoption that explains the claim
            statistics = statistics_of(self.twins, (TREND,))[:, 0]
            bound = float(np.quantile(np.abs(statistics), 1 - 2 * LEAN))
            at = self.twins.terms.index(f"{ALTERNATIVE}{TREND}")
            half = critical_values(self.twins.dof[:, 0, at], LEVEL) * self.twins.se[:, 0, at]
            without = (self.twins.estimate[:, at] + effect) * sign
            supported &= ~((-sign * statistics >= bound) & (without <= half))
        return np.asarray(supported)


@dataclass(frozen=True, eq=False, slots=True)
class Benchmarks:
    """Evidence on trends of twins whose trends are parallel and whose effect is the estimate, by term, (R,) each."""

    values: Mapping[str, Floats] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, stores: Mapping[str, Store]) -> Benchmarks:
        """From stores of `TrendEvidence`, by its name; of a term in several, those of the first."""
        out, notes = dict[str, Floats](), []
        for name, store in stores.items():
            found = Estimates.join([block.estimates[name] for block in store.blocks(0)])
            sound = found.estimate[found.status == Status.OK]
            if len(sound) < len(found.estimate) / 2:
                notes.append(f"What {name} shows on sound panels is not known: {len(found.estimate) - len(sound)} of "
                             f"{len(found.estimate)} fits failed.")  # fmt: skip
                continue
            told = {term: values[np.isfinite(values)] for term, values in zip(found.terms, sound.T, strict=True)}
            out = {term: values for term, values in told.items() if len(values)} | out
        return cls(out, tuple(notes))

    def rated(self, check: Check) -> Check:
        """A breakdown value with its benchmark, the median on sound panels, and how many of these show as little; the
        joint test with the share of sound panels on which it is significant."""
        term = BOUNDS.get(check.name, "")
        if check.name == PRETREND and PRETREND in self.values:
            return replace(check, false_alarm=float((self.values[PRETREND] > Z95).mean()))
        found = check.numbers.get("breakdown")
        if term not in self.values or found is None:
            return check
        drawn = self.values[term]
        share, middle = float((drawn <= found).mean()), float(np.median(drawn))
        said = f"{check.sentence} Of twins with parallel trends and this effect, {share:.0%} show as little."
        answer: Answer = "consistent" if share >= LEVEL else "cannot tell"
        numbers = {**check.numbers, "share_of_twins": share, "median_of_twins": middle}
        return replace(check, sentence=said, answer=answer, benchmark=middle, numbers=numbers)

    def pretrend(self, checks: Sequence[Check]) -> float | None:
        """The share of sound panels whose joint test before adoption is as large as the panel's."""
        found = next((check.numbers.get("pvalue") for check in checks if check.name == PRETREND), None)
        if found is None or PRETREND not in self.values:
            return None
        drawn = self.values[PRETREND]
        return float((1.0 + (drawn >= -ndtri(found / 2.0)).sum()) / (1.0 + len(drawn)))


# The fitted world is an estimate: what the claim's test does in worlds that could as well have been fitted.
#
# The worlds are twins of twins: the fit repeated on panels drawn from the fitted world (`Twin.nearby`), all on the
# draws of one seed, so that what differs between them is the world alone. Sizes, p values and the detectable effect
# then have a sampling variance beside the simulation's (Beran 1988; Davidson and MacKinnon 2007), and a worst case
# (Advani, Kitagawa and Sloczynski 2019).


SLOW = ("driscoll-kraay",)  # and errors clustered in two ways


@dataclass(frozen=True, eq=False, slots=True)
class Nearby:
    """Fits on panels without an effect, by error type: of the fitted world, and of B worlds near it on its draws."""

    fitted: dict[str, TermFits] = field(default_factory=dict)
    others: tuple[dict[str, TermFits], ...] = ()

    def size(self, error: str, found: MeasureWithError) -> tuple[float, float]:
        """The ends of the size of a 5% test; found: its size on twins with the simulation's error.

        NaN for an error type that does not run there.
        """
        if self.others and error not in self.fitted:
            return float("nan"), float("nan")
        return _around(found, [world[error].pvalue <= LEVEL for world in self.others])

    def pvalue(self, error: str, statistic: float, found: MeasureWithError) -> tuple[float, float]:
        """The ends of the calibrated p value of a t statistic."""
        return _around(found, [np.abs(world[error].statistic) >= abs(statistic) for world in self.others])

    def detectable(self, error: str, found: Detectable) -> Detectable:
        """The detectable effect with an interval for both kinds of uncertainty, on the scale of its logarithm."""
        if not self.others or not found.value > 0:
            return found
        spread = float(np.log(self.effects(error)).std(ddof=1))
        own = float(np.log(found.upper / found.lower)) / (2 * Z95) if found.lower > 0 else np.inf
        factor = float(np.exp(_half(spread, own, len(self.others))))
        return replace(found, lower=found.value / factor, upper=found.value * factor)

    def effects(self, error: str) -> Floats:
        """Detectable effects in the other worlds over that in the fitted one, (B,)."""
        own = detected(self.fitted[error])
        return np.array([detected(world[error]) / own for world in self.others])

    def worst(self, error: str, size: MeasureWithError, mde: Detectable) -> dict[str, float | None]:
        """The largest size and detectable effect in any of these worlds."""
        if not self.others:
            return {"size": None, "mde": None}
        own = np.mean(self.fitted[error].pvalue <= LEVEL)
        sizes = np.array([np.mean(world[error].pvalue <= LEVEL) for world in self.others])
        return {"size": float(np.clip(size.value + max(sizes.max() - own, 0.0), 0.0, 1.0)),
                "mde": float(mde.value * max(self.effects(error).max(), 1.0))}  # fmt: skip


def detected(null: TermFits) -> float:
    """The effect that a 5% test finds with a power of 80%, from panels without one: an effect moves an estimate by
    itself and changes no error, so that panel r finds every effect beyond c se_r - b_r."""
    sound = np.isfinite(null.se)
    if not sound.any():
        return float(np.nanstd(null.estimate))
    critical = critical_values(null.dof[sound], LEVEL) * null.se[sound]
    return float(np.quantile([critical - null.estimate[sound], critical + null.estimate[sound]], POWER))


def nearby_of(claim: PanelClaim, twin: Twin, keep: Sequence[str], replications: int = BLOCK) -> Nearby:
    """The claim's estimator in the fitted world and in those of `twin.nearby`, without an effect, in memory.

    keep: error types that run there in any case; of the others those that cost next to nothing.
    """
    errors = tuple(error for error in claim.errors if error in keep or (error not in SLOW and "+" not in error))
    quick = replace(claim, errors=errors)
    pilot = study_of(quick, twin, (0.0,), replications)
    worlds = []
    for design in (twin.design, *twin.nearby):  # no store, and no second draw, as a user's design would need
        block = runner_of(replace(pilot, design=design), 0).run(0, pilot.replications)
        found = block.estimates[pilot.estimators[0].name]
        worlds.append({error: fits_in([found], quick.term, error) for error in found.errors})
    return Nearby(worlds[0], tuple(worlds[1:]))


def _half(spread: float, own: float, worlds: int) -> float:
    """Half an interval: the spread over so many worlds, by t for their number, and the simulation's error."""
    return float(np.hypot(interval_point(worlds) * spread, Z95 * own))


def _around(found: MeasureWithError, hits: Sequence[Flags]) -> tuple[float, float]:
    """The ends of a share: the spread of its log odds over worlds, and the simulation's error.

    hits (R,): of each world, whose share is kept from its ends by half a count. Log odds of 0 and 1 are infinite: their
    other end is that of the share of which `mcse` is the error (Agresti and Coull's, sqrt(2) share / 1.96 = mcse up to
    terms that vanish).
    """
    never, always = found.value <= 0, found.value >= 1
    near = min(found.mcse * Z95 / np.sqrt(2.0), 0.5)
    share = near if never else 1 - near if always else found.value
    if not 0 < share < 1:  # no error, or no share
        return found.value, found.value
    odds = [float(logit((np.sum(one) + 0.5) / (len(one) + 1.0))) for one in hits]
    spread = float(np.std(odds, ddof=1)) if hits else 0.0
    own = found.mcse / (share * (1 - share))
    half = _half(spread, own if np.isfinite(own) else 0.0, len(hits))
    lower, upper = expit(logit(share) - half), expit(logit(share) + half)
    return 0.0 if never else float(lower), 1.0 if always else float(upper)
