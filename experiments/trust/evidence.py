"""Error rates of checks and of the verdict on the user's own panel: the same checks on twins where nothing is wrong.

Every check that re-estimates is a term of one estimator (`Differences`), so that a study of it on twins without an
effect says how often an alarm is false; the critical value is the one at which the largest of all differences gives an
alarm in 5% of twins. What an alarm would find is told by moving the differences by what the claim needs: they are
linear in the outcome. A constant effect moves the claim and all its alternatives alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from estimators.core.estimator import Estimates, Status
from estimators.core.inference import critical_values
from experiments.checks.check import Check, answer_of
from experiments.trust.studies import LEVEL, Fits
from results.store import Store
from sim.arrays import Flags, Floats

LEAN = 0.10  # one-sided level at which a trend before adoption that explains the claim leaves it undecided
TREND = "trend"  # the alternative that allows for the treated units' trend before adoption
NEVER_CONTRADICTS = ("effects:unit-trend",)  # effects that grow look like trends there


@dataclass(frozen=True, eq=False, slots=True)
class Differences:
    """Alternatives K on R panels: difference from the claim with its error, the alternative's own estimate and the half
    width of its 95% interval, (R, K) each; NaN where a fit failed."""

    names: tuple[str, ...]
    difference: Floats
    se: Floats
    alternative: Floats
    half: Floats

    @classmethod
    def of(cls, blocks: Sequence[Estimates]) -> Differences:
        """From what the estimator of the differences said."""
        terms = blocks[0].terms
        names = tuple(term.removeprefix("difference:") for term in terms if term.startswith("difference:"))
        places = [[terms.index(f"{kind}:{name}") for name in names] for kind in ("difference", "alternative")]
        parts = []
        for block in blocks:
            sound = (block.status == Status.OK)[:, None]
            half = critical_values(block.dof[:, 0], LEVEL) * block.se[:, 0]
            columns = (block.estimate[:, places[0]], block.se[:, 0][:, places[0]], block.estimate[:, places[1]],
                       half[:, places[1]])  # fmt: skip
            parts.append([np.where(sound, column, np.nan) for column in columns])
        return cls(names, *(np.concatenate(column) for column in zip(*parts, strict=True)))

    @property
    def statistics(self) -> Floats:
        """t of the differences, (R, K); 0 where there is none."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.nan_to_num(self.difference / self.se, posinf=0.0, neginf=0.0)

    def contradicts(self, critical: float, sign: Floats, effect: float) -> Flags:
        """Which panels have an alternative that contradicts the claim, (R,); sign (R,): of the claims."""
        moved = self.alternative + effect
        far = np.abs(self.statistics) > critical
        towards = self.difference * sign[:, None] < 0
        lost = moved * sign[:, None] <= self.half
        may = np.array([name not in NEVER_CONTRADICTS for name in self.names])
        return np.asarray((far & towards & lost & may).any(axis=1))


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
    """How often twins get a verdict; None where the checks do not run on twins."""

    supported_without_effect: float | None = None
    supported_at_effect: float | None = None
    contradicted_without_threat: float | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Evidence:
    """What twins say of the checks: the critical value of their family, the share of twins with any alarm, the lean of
    trends, and the rates of the verdict."""

    critical: float | None = None
    familywise: float | None = None
    lean: Lean | None = None
    rates: Rates = Rates()


@dataclass(frozen=True, eq=False, slots=True)
class Rehearsal:
    """The checks on the panel and on R twins without an effect, beside the claim's fits on the same twins."""

    own: Differences
    twins: Differences
    claim: Fits
    estimate: float

    @classmethod
    def of(cls, own: Estimates, store: Store, family: str, claim: Fits, estimate: float) -> Rehearsal:
        """own: the differences on the panel; store: of the study; family: the estimator's name there."""
        blocks = [block.estimates[family] for block in store.blocks(0)]
        return cls(Differences.of([own]), Differences.of(blocks), claim, estimate)

    @property
    def critical(self) -> float:
        """Of the largest difference: alarms in 5% of twins."""
        return float(np.quantile(np.abs(self.twins.statistics).max(axis=1), 1 - LEVEL))

    def evidence(self, effect: float) -> Evidence:
        """All of it; effect: the one at which rates are told."""
        largest = np.abs(self.twins.statistics).max(axis=1)
        return Evidence(self.critical, float((largest > self.critical).mean()), self._lean(), self._rates(effect))

    def rated(self, check: Check) -> Check:
        """A check with its interval, answer, false alarms and power by the critical value of the twins."""
        name = check.alternative_name
        if name not in self.twins.names or check.se is None or check.difference is None:
            return check
        k, c = self.twins.names.index(name), self.critical
        d, se = self.twins.difference[:, k], self.twins.se[:, k]
        sign = -1.0 if self.estimate < 0 else 1.0
        with np.errstate(divide="ignore", invalid="ignore"):
            alarms = np.abs(d / se) > c
            found = None if check.needed is None else float(np.mean(np.abs((d - sign * check.needed) / se) > c))
        own, half = self.own.alternative[0, k], self.own.half[0, k]
        answer = str(answer_of(check.difference, check.se, c, check.needed or 0.0, sign, bool(own * sign > half)))
        if name in NEVER_CONTRADICTS and answer == "contradicts":
            answer = "cannot tell"
        return replace(check, lower=check.difference - c * check.se, upper=check.difference + c * check.se,
                       answer=answer, false_alarm=float(alarms.mean()), power=found)  # fmt: skip

    def _lean(self) -> Lean | None:
        if TREND not in self.own.names:
            return None
        k = self.own.names.index(TREND)
        sign = -1.0 if self.estimate < 0 else 1.0
        own, drawn = -sign * self.own.statistics[0, k], self.twins.statistics[:, k]
        alike = float((np.abs(drawn) >= own).sum())  # the law of the null is that of either sign
        pvalue = (1.0 + alike) / (2.0 * (1.0 + len(drawn))) if own > 0 else 1.0
        estimate, half = float(self.own.alternative[0, k]), float(self.own.half[0, k])
        return Lean(pvalue, estimate, estimate - half, estimate + half,
                    bool(pvalue <= LEAN and estimate * sign <= half))  # fmt: skip

    def _rates(self, effect: float) -> Rates:
        null = self._supported(0.0)
        there = self._supported(effect)
        sign = np.sign(self.claim.estimate + effect)
        wrong = self.twins.contradicts(self.critical, sign, effect)
        return Rates(float(null.mean()), float(there.mean()), float(wrong.mean()))

    def _supported(self, effect: float) -> Flags:
        """Which twins get the verdict "supported" with an effect, (R,)."""
        estimate = self.claim.estimate + effect
        moved = replace(self.claim, estimate=estimate)
        null, sign = np.sort(np.abs(self.claim.statistic)), np.sign(estimate)
        with np.errstate(invalid="ignore"):
            p = self._pvalue(effect)
            ranks = 1.0 - np.searchsorted(null, np.abs(moved.statistic)) / len(null)
        return np.asarray((p <= LEVEL) & (ranks <= LEVEL)
                          & ~self.twins.contradicts(self.critical, sign, effect) & ~self._leans(sign, effect))  # fmt: skip

    def _pvalue(self, effect: float) -> Floats:
        """p of the claim on twins, (R,): moved by an effect, where there are standard errors."""
        if not effect:
            return self.claim.pvalue
        width = critical_values(self.claim.dof, LEVEL) * self.claim.se
        return np.where(np.abs(self.claim.estimate + effect) > width, 0.0, 1.0)

    def _leans(self, sign: Floats, effect: float) -> Flags:
        """Which twins have a trend before adoption that explains the claim, (R,)."""
        if TREND not in self.twins.names:
            return np.zeros(len(sign), dtype=bool)
        k = self.twins.names.index(TREND)
        statistics = self.twins.statistics[:, k]
        bound = float(np.quantile(np.abs(statistics), 1 - 2 * LEAN))
        moved = self.twins.alternative[:, k] + effect
        return np.asarray((-sign * statistics >= bound) & (moved * sign <= self.twins.half[:, k]))
