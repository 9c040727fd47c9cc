"""Error rates of checks and of the verdict on the user's own panel: the same checks on twins where nothing is wrong.

Every check that re-estimates is a term of one estimator (`Differences`), so that a study of it on twins without an
effect says how often an alarm is false; the critical value is the one that the largest of all differences exceeds in
5% of further twins. What an alarm would find is told by moving the differences by what the claim needs: they are
linear in the outcome. A constant effect moves the claim and all its alternatives alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.special import ndtri

from estimators.core.estimator import Estimates, Status, critical_values
from estimators.core.inversion import p_value_errors
from estimators.sensitivity.differences import ALTERNATIVE, DIFFERENCE
from experiments.checks.case import Family
from experiments.checks.check import LEVELS, Answer, Check, answers_of, family_critical, with_departure
from experiments.trust.studies import LEVEL, TermFits, within_level
from results.diagnosis.power import Z95
from results.store import Store
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
class Rates:
    """How often twins get a verdict, and how often one that can be claimed (p up to 10%) is contradicted; None where
    the checks do not run on twins, and of the last where none can be claimed."""

    supported_without_effect: float | None = None
    supported_at_effect: float | None = None
    contradicted_without_threat: float | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Evidence:
    """What twins say of the checks: the critical value of their family, the share of twins with any alarm, the lean of
    trends, the share of twins whose joint pre-trend test is as large, and the rates of the verdict."""

    critical: float | None = None
    familywise: float | None = None
    lean: Lean | None = None
    pretrend: float | None = None
    rates: Rates = field(default_factory=Rates)


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
        return tuple(term.removeprefix(DIFFERENCE) for term in self.twins.terms if term.startswith(DIFFERENCE))

    def statistics(self, text: str) -> Floats:
        """t of a difference on twins, (R,), 0 where there is none."""
        at = self.twins.terms.index(f"{DIFFERENCE}{text}")
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.nan_to_num(self.twins.estimate[:, at] / self.twins.se[:, 0, at], posinf=0.0, neginf=0.0)

    @property
    def largest(self) -> Floats:
        """The largest |t| of all differences, (R,)."""
        return np.asarray(np.max([np.abs(self.statistics(text)) for text in self.alternatives], axis=0))

    @property
    def critical(self) -> float:
        """Of the largest difference: alarms in 5% of further twins."""
        return family_critical(self.twins, LEVEL)

    def evidence(self, effect: float) -> Evidence:
        """What twins say; effect: the one at which rates are told."""
        rates = Rates(float(self._supported(0.0).mean()), float(self._supported(effect).mean()),
                      self._wrongly_contradicted(effect))  # fmt: skip
        return Evidence(self.critical, float((self.largest > self.critical).mean()), self._lean(), rates=rates)

    def rated(self, check: Check) -> Check:
        """A check that re-estimates with its false alarms and its power."""
        texts = [text for text in check.alternatives if text in self.alternatives]
        if not texts or check.difference is None:
            return check
        alarms = np.max([np.abs(self.statistics(text)) for text in texts], axis=0) > self.critical
        shown = min(texts, key=lambda text: abs(self.own.value(text)[0] - (check.difference or 0.0)))
        found = None if check.needed is None else float(self._detected(shown, check.needed).mean())
        return replace(check, false_alarm=float(alarms.mean()), power=found)

    def _detected(self, text: str, needed: float) -> Flags:
        """Twins on which a difference gives an alarm where it is moved by as much as the claim needs, (R,)."""
        at, moved = self.twins.terms.index(f"{DIFFERENCE}{text}"), with_departure(self.twins, (text,), needed)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.abs(moved.estimate[:, at] / moved.se[:, 0, at]) > self.critical

    def _contradicted(self, sign: Floats, effect: float) -> Flags:
        """Twins on which some alternative contradicts the claim, (R,); sign: of the claims."""
        moved = np.array([not term.startswith(DIFFERENCE) for term in self.twins.terms])
        found = replace(self.twins, estimate=self.twins.estimate + effect * moved)
        answers = answers_of(found, self.alternatives, self.critical)
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
        own, drawn = -sign * d / se, self.statistics(TREND)
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
        statistics = self.statistics(TREND)
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
