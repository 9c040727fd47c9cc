"""Error rates of checks and of the verdict on the user's own panel: the same checks on twins where nothing is wrong.

Every check that re-estimates is a term of one estimator (`Differences`), so that a study of it on twins without an
effect says how often an alarm is false; the critical value is the one that the largest of all differences exceeds in
5% of further twins. What an alarm would find is told by moving the differences by what the claim needs: they are
linear in the outcome. A constant effect moves the claim and all its alternatives alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from scipy.special import expit, logit, ndtri

from estimators.core.estimator import Estimates, Status, critical_values
from estimators.core.inversion import p_value_errors
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
from experiments.run.tasks import runner_of
from experiments.study import Study
from experiments.trust.claim import PanelClaim
from experiments.trust.studies import BLOCK, LEVEL, MeasureWithError, TermFits, fits_in, pilot_of, within_level
from experiments.twins.twin import Twin
from results.diagnosis.claims import POWER, interval_point
from results.diagnosis.measures import Z95
from results.diagnosis.power import Detectable
from results.store import Store
from results.tables.records import Answer, Check
from sim.arrays import Flags, Floats

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
        return Evidence(
            critical=self.critical,
            familywise=float(self.alarms(self.twins, self.alternatives).mean()),
            lean=self._lean(),
            supported_without_effect=float(self._supported(0.0).mean()),
            supported_at_effect=float(self._supported(effect).mean()),
            contradicted_without_threat=self._wrongly_contradicted(effect),
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

    def _wrongly_contradicted(self, effect: float) -> float | None:
        """The share of contradicted ones among twins whose effect can be claimed."""
        moved = self.claim.moved(effect)
        with np.errstate(invalid="ignore"):
            claimed = moved.pvalue <= max(LEVELS)
        found = self._contradicted(np.sign(moved.estimate), effect)[claimed]
        return float(found.mean()) if len(found) else None

    def _lean(self) -> Lean | None:
        if TREND not in self.alternatives:
            return None
        sign = -1.0 if self.estimate < 0 else 1.0
        d, se, _ = self.own.value(TREND)
        own, drawn = -sign * d / se, statistics_of(self.twins, (TREND,))[:, 0]
        alike = float((np.abs(drawn) >= own).sum())  # the law of the null is that of either sign
        pvalue = (1.0 + alike) / (2.0 * (1.0 + len(drawn))) if own > 0 else 1.0
        estimate, error, dof = self.own.value(TREND, ALTERNATIVE)
        half = float(critical_values(np.array([dof]), LEVEL)[0]) * error
        return Lean(pvalue, estimate, estimate - half, estimate + half,
                    bool(pvalue <= LEAN and estimate * sign <= half))  # fmt: skip

    def _supported(self, effect: float) -> Flags:
        """Which twins get the verdict "supported" with an effect, (R,)."""
        moved = self.claim.moved(effect)
        null, sign = np.sort(np.nan_to_num(np.abs(self.claim.statistic))), np.sign(moved.estimate)
        with np.errstate(invalid="ignore"):
            ranks = (len(null) - np.searchsorted(null, np.abs(moved.statistic))) / len(null)
            small = moved.pvalue <= LEVEL
        small &= within_level(ranks, p_value_errors(ranks, self.calibrating)) & self.safe
        return np.asarray(small & ~self._contradicted(sign, effect) & ~self._leans(sign, effect))

    def _leans(self, sign: Floats, effect: float) -> Flags:
        """Which twins have a trend before adoption that explains the claim, (R,)."""
        if TREND not in self.alternatives:
            return np.zeros(len(sign), dtype=bool)
        statistics = statistics_of(self.twins, (TREND,))[:, 0]
        bound = float(np.quantile(np.abs(statistics), 1 - 2 * LEAN))
        at = self.twins.terms.index(f"{ALTERNATIVE}{TREND}")
        half = critical_values(self.twins.dof[:, 0, at], LEVEL) * self.twins.se[:, 0, at]
        return np.asarray((-sign * statistics >= bound) & ((self.twins.estimate[:, at] + effect) * sign <= half))


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
            out = {term: sound[:, k] for k, term in enumerate(found.terms)} | out
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
    pilot = pilot_of(quick, twin).resized(replications=replications)
    designs = (twin.design, *twin.nearby)
    fitted, *others = (_fits(quick, replace(pilot, design=design)) for design in designs)
    return Nearby(fitted, tuple(others))


def _fits(claim: PanelClaim, study: Study) -> dict[str, TermFits]:
    """Of the cell of a pilot, in this process: no store, and no second draw, as a user's design would need."""
    block = runner_of(study, 0).run(0, study.replications)
    found = block.estimates[study.estimators[0].name]
    return {error: fits_in([found], claim.term, error) for error in found.errors}


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
