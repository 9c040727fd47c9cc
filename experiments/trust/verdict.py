"""The verdict: holds, fragile or fails, by one table of rules, each with its reason in plain words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from estimators.core.error_types import error_label
from experiments.trust.studies import LEVEL
from experiments.trust.trust import Trust
from sim.errors import listed

Grade = Literal["holds", "fragile", "fails"]
ORDER: tuple[Grade, ...] = ("holds", "fragile", "fails")
LARGE_BIAS = 0.25  # of the estimate
WEAK, LARGE, SMALL, POWER = 0.10, 0.07, 0.03, 0.50
PARALLEL = ("This verdict assumes parallel trends: they hold by construction in twins by the methods parametric and "
            "residual, and no simulation of this kind can test them.")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rule:
    """A grade that a claim cannot be better than where the rule applies, and the reason as a sentence."""

    grade: Grade
    applies: Callable[[Trust], bool]
    reason: Callable[[Trust], str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The grade and the sentences that give it."""

    grade: Grade
    sentences: tuple[str, ...]


RULES: tuple[Rule, ...] = (
    Rule("fails", lambda t: _p(t) > WEAK,
         lambda t: f"With errors {error_label(t.recommended)} the claim is not significant (p = {_p(t):.3f})."),
    Rule("fails", lambda t: t.calibrated().pvalue > WEAK,
         lambda t: f"Twins without an effect give a t statistic as large in {t.calibrated().pvalue:.1%} of cases."),
    Rule("fragile", lambda t: LEVEL < _p(t) <= WEAK,
         lambda t: f"With errors {error_label(t.recommended)} it is significant at 10% alone (p = {_p(t):.3f})."),
    Rule("fragile", lambda t: LEVEL < t.calibrated().pvalue <= WEAK,
         lambda t: f"Twins without an effect give a t statistic as large in {t.calibrated().pvalue:.1%} of cases."),
    Rule("fragile", lambda t: _off(t),
         lambda t: f"The printed test has the wrong size: errors {error_label(t.printed)} reject in "
                   f"{t.main.size(t.printed).value:.1%} of panels without an effect, not in 5%."),
    Rule("fragile", lambda t: t.power_at_estimate.value < POWER,
         lambda t: f"Power at the estimate is only {t.power_at_estimate.value:.0%}, so a significant estimate "
                   "overstates the effect."),
    Rule("fragile", lambda t: any(one.overturns for one in t.threats),
         lambda t: " ".join(one.sentence for one in t.threats if one.overturns)),
    Rule("fragile", lambda t: any(one.pvalue > WEAK for one in t.placebos),
         lambda t: " ".join(f"Treatments assigned anew by {one.scheme} give an estimate as large with p = "
                            f"{one.pvalue:.3f}; their mean is {one.mean:.4g}." for one in t.placebos
                            if one.pvalue > WEAK)),
    Rule("fragile", lambda t: bool(biased(t)),
         lambda t: " ".join(f"On twins by the method {name} the estimator is biased by {bias:.4g}, towards the claim."
                            for name, bias in biased(t))),
    Rule("fragile", lambda t: bool(disagreeing(t)),
         lambda t: f"The methods disagree: the calibrated p value by {listed(disagreeing(t))} lies on the other "
                   "side of 5%."),
)  # fmt: skip


def verdict(found: Trust) -> Verdict:
    """The worst grade of the rules that apply; the claim first, then the reasons, then what it rests on."""
    matched = [rule for rule in RULES if rule.applies(found)]
    grade = max((rule.grade for rule in matched), key=ORDER.index, default=ORDER[0])
    reasons = [rule.reason(found) for rule in sorted(matched, key=lambda rule: -ORDER.index(rule.grade))]
    if not reasons:
        reasons = ["No rule speaks against it: the size of the test is right, power is sufficient, the calibrated p "
                   "value is below 5%, and no threat that was looked at overturns it."]  # fmt: skip
    return Verdict(grade, (*opening(found), *dict.fromkeys(reasons), PARALLEL))


def opening(found: Trust) -> tuple[str, ...]:
    """The claim as it is printed, the size of its test, and its power."""
    record, size = found.record, found.main.size(found.printed)
    p = record.pvalue or 0.0
    level = next((level for level in (0.01, 0.05, 0.10) if p <= level), None)
    said = f"significant at {level:.0%}" if level else "not significant at 10%"
    what = f"The estimate of {record.term} in table {record.table}, column {record.column}"
    power = found.power_at_estimate
    inflated = type_m(found)
    out = [
        f"{what} is {found.claim.estimate:.4g}, {said} with errors {error_label(found.printed)} (p = {p:.3g}).",
        f"On panels like yours, this 5% test rejects in {size.value:.1%} of cases where there is no effect.",
    ]
    over = f", and a significant estimate overstates the effect {inflated:.2f} times on average" if inflated else ""
    out.append(f"If the true effect is the estimate, power is {power.value:.0%} with errors "
               f"{error_label(found.recommended)}{over}.")  # fmt: skip
    return tuple(out)


def type_m(found: Trust) -> float | None:
    """By how much a significant estimate overstates an effect of the estimate's size."""
    effects = found.main.effects
    cell = min(range(len(effects)), key=lambda k: abs(effects[k] - found.claim.estimate))
    value = found.main.measure("type_m", found.recommended, cell).value
    return value if value == value else None


def disagreeing(found: Trust) -> tuple[str, ...]:
    """Methods whose calibrated p value lies on the other side of 5% than the first one's."""
    first = found.calibrated().pvalue <= LEVEL
    return tuple(one.method for one in found.simulated[1:] if (found.calibrated(one).pvalue <= LEVEL) != first)


def biased(found: Trust) -> tuple[tuple[str, float], ...]:
    """Methods on whose twins without an effect estimates are biased the claim's way, by a quarter of it and more."""
    sign = 1.0 if found.claim.estimate > 0 else -1.0
    out = []
    for one in found.simulated:
        bias = one.measure("bias")
        if sign * bias.value > max(LARGE_BIAS * abs(found.claim.estimate), 4 * bias.mcse):
            out.append((one.method, bias.value))
    return tuple(out)


def _p(found: Trust) -> float:
    value = found.advised.pvalue
    return 1.0 if value is None else value


def _off(found: Trust) -> bool:
    """Whether the printed test's size is clearly outside 3% to 7%."""
    size = found.main.size(found.printed)
    return size.value - 2 * size.mcse > LARGE or size.value + 2 * size.mcse < SMALL
