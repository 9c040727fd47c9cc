"""The verdict: holds, fragile or fails, by one table of rules, each with its reason in plain words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from estimators.core.error_types import error_label
from experiments.trust.studies import LEVEL
from experiments.trust.threats import dependence
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
    """A grade that a claim cannot be better than where there are reasons: sentences, none = it does not apply."""

    grade: Grade
    reasons: Callable[[Trust], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The grade and the sentences that give it."""

    grade: Grade
    sentences: tuple[str, ...]


def _advised(found: Trust, above: float, up_to: float, said: str) -> list[str]:
    """The p value with the recommended errors, where it lies in a range."""
    p = 1.0 if found.advised.pvalue is None else found.advised.pvalue
    inside = above < p <= up_to
    return [f"With errors {error_label(found.recommended)} the claim is {said} (p = {p:.3f})."] if inside else []


def _calibrated(found: Trust, above: float, up_to: float) -> list[str]:
    """The calibrated p value, where it lies in a range."""
    p = found.calibrated().pvalue
    inside = above < p <= up_to
    return [f"Twins without an effect give a t statistic as large in {p:.1%} of cases."] if inside else []


def _wrong_size(found: Trust) -> list[str]:
    """The printed test's size, where it is clearly outside 3% to 7%."""
    size = found.main.size(found.printed)
    if size.value + 2 * size.mcse >= SMALL and size.value - 2 * size.mcse <= LARGE:
        return []
    return [f"The printed test has the wrong size: errors {error_label(found.printed)} reject in {size.value:.1%} of "
            "panels without an effect, not in 5%."]  # fmt: skip


def _weak(found: Trust) -> list[str]:
    """The power at the estimate, where it is low."""
    power = found.power_at_estimate.value
    return [] if power >= POWER else [f"Power at the estimate is only {power:.0%}."]


def _overturned(found: Trust) -> list[str]:
    """Threats that overturn the claim; the size of its test has a rule of its own."""
    return [one.sentence for one in found.threats if one.overturns and one.name != dependence.NAME]


def _placebos(found: Trust) -> list[str]:
    """Placebo tests that the estimate does not pass."""
    return [f"Treatments assigned anew by {one.scheme} give an estimate as large with p = {one.pvalue:.3f}; the mean "
            f"of their estimates is {one.mean:.4g}." for one in found.placebos if one.pvalue > WEAK]  # fmt: skip


def _biased(found: Trust) -> list[str]:
    """Methods whose twins bias the claim."""
    return [f"On twins by the method {name} the estimator is biased by {bias:.4g}, towards the claim."
            for name, bias in biased(found)]  # fmt: skip


def _disagree(found: Trust) -> list[str]:
    """Methods that say something else."""
    others = disagreeing(found)
    if not others:
        return []
    return [f"The methods disagree: the calibrated p value by {listed(others)} lies on the other side of 5%."]


RULES: tuple[Rule, ...] = (
    Rule("fails", lambda found: _advised(found, WEAK, 1.0, "not significant")),
    Rule("fails", lambda found: _calibrated(found, WEAK, 1.0)),
    Rule("fragile", lambda found: _advised(found, LEVEL, WEAK, "significant at 10% alone")),
    Rule("fragile", lambda found: _calibrated(found, LEVEL, WEAK)),
    Rule("fragile", _wrong_size),
    Rule("fragile", _weak),
    Rule("fragile", _overturned),
    Rule("fragile", _placebos),
    Rule("fragile", _biased),
    Rule("fragile", _disagree),
)


def verdict(found: Trust) -> Verdict:
    """The worst grade of the rules that apply; the claim first, then the reasons, then what it rests on."""
    said = [(rule.grade, reason) for rule in RULES for reason in rule.reasons(found)]
    grade = max((grade for grade, _ in said), key=ORDER.index, default=ORDER[0])
    reasons = [reason for _, reason in said]
    if not reasons:
        reasons = ["No rule speaks against the claim. The size of the test is right, power is sufficient, and the "
                   "calibrated p value is below 5%. No threat that was examined overturns the claim."]  # fmt: skip
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
    if found.recommended != found.printed and (found.advised.pvalue or 0.0) <= LEVEL:
        right = found.main.size(found.recommended).value
        out.append(f"With errors {error_label(found.recommended)}, whose test rejects in {right:.1%}, p is "
                   f"{found.advised.pvalue or 0.0:.3f}.")  # fmt: skip
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
