"""The verdict: supported, contradicted, not decided or no claim, with the reason in the same line.

The rules are chosen by their error rates on known worlds (docs/studies/verdicts.md). Power at the estimate is no rule:
it is a function of the p value (Hoenig and Heisey 2001). What a convention says is called a benchmark.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from experiments.checks.check import LEVELS
from experiments.checks.two_stages import DISAGREE
from experiments.trust.recommend import errors_named
from experiments.trust.studies import BEYOND, LEVEL, is_least, within_level
from experiments.trust.trust import Trust

AnswerOfVerdict = Literal["supported", "contradicted", "not decided", "no claim"]
CLAIMED = max(LEVELS)  # p value up to which an effect is one that is claimed
RARE = 0.01  # share of sound twins with as large a joint test before adoption that leaves a claim undecided
PARALLEL = ("The verdict assumes parallel trends where the data cannot speak: they hold by construction in twins, and "
            "the trends before adoption are all that tests them.")  # fmt: skip
EXOGENOUS = ("The verdict assumes that changes of the treatment have nothing to do with what else moves the outcome: "
             "it holds by construction in twins.")  # fmt: skip


@dataclass(frozen=True, slots=True)
class TrustVerdict:
    """The answer, its reason, and further sentences."""

    answer: AnswerOfVerdict
    reason: str
    sentences: tuple[str, ...]

    @property
    def line(self) -> str:
        """Both in one line."""
        return f"{self.answer.capitalize()}: {self.reason[:1].lower()}{self.reason[1:]}"


def verdict(found: Trust) -> TrustVerdict:
    """The answer of the first rule with a reason; reasons of later rules are sentences."""
    said = [(answer, reason) for answer, reasons in RULES for reason in reasons(found)]
    answer, reason = said[0] if said else ("supported", _support(found))
    more = [] if answer == "no claim" else [other for _, other in said[1:]]
    assumed = EXOGENOUS if found.claim.panel.roles.continuous else PARALLEL
    return TrustVerdict(
        answer, reason, (*_two_stages(found), *opening(found), *dict.fromkeys(more), *_rates(found), assumed)
    )


def _two_stages(found: Trust) -> list[str]:
    """That 2SLS with the spec's instruments gives another estimate, which is no rule: its error rates are not known."""
    return [check.sentence for check in found.checks if check.name == DISAGREE and check.severity]


def _no_claim(found: Trust) -> list[str]:
    """No effect is significant at 10% with the printed errors, nor with the recommended ones."""
    p = [record.pvalue for record in (found.record, found.advised)]
    if any(value is not None and value <= CLAIMED for value in p):
        return []
    shown = next((value for value in p if value is not None), None)
    said = "there is no p value" if shown is None else f"p = {shown:.2f} with {errors_named(found.printed)}"
    detected = f"{abs(found.mde.value):.3g} with a power of {found.mde.power:.0%}"
    return [f"No effect is claimed ({said}). Your panel detects an effect of {detected}."]


def _contradictions(found: Trust) -> list[str]:
    """Checks that contradict the claim, those of trends first."""
    said = [check for check in found.checks if check.answer == "contradicts"]
    return [check.sentence for check in sorted(said, key=lambda check: check.name != "unequal-trends")]


def _leaning(found: Trust) -> list[str]:
    """Trends before adoption that lean the claim's way by more than nine in ten twins, and explain it."""
    lean = found.evidence.lean
    if lean is None or not lean.explains:
        return []
    rest = f"{lean.estimate:.4g} ({lean.lower:.4g} to {lean.upper:.4g})"
    return [f"Trends before adoption lean the claim's way: as much or more in {lean.pvalue:.1%} of twins that have no "
            f"such trend. Without it the estimate is {rest}."]  # fmt: skip


def _pretrends(found: Trust) -> list[str]:
    """A joint test before adoption that is larger than on 99 of 100 sound twins."""
    share = found.evidence.pretrend
    if share is None or share > RARE:
        return []
    return [f"Treated and other units move apart before adoption: the joint test is as large in {share:.1%} of twins "
            "with parallel trends."]  # fmt: skip


def _not_significant(found: Trust) -> list[str]:
    """The p value with the recommended errors."""
    p = found.advised.pvalue
    if p is not None and p <= LEVEL:
        return []
    said = "there is no p value" if p is None else f"p = {p:.3f}"
    return [f"With {errors_named(found.recommended)} {said}."]


def _calibrated(found: Trust) -> list[str]:
    """The calibrated p value of each method that has a vote, where it is clearly above 5%."""
    out = []
    for one in found.voters:
        p = found.calibrated(one)
        if not within_level(p.value, p.mcse):
            out.append(f"Twins by the method {one.method} without an effect give a test statistic as large in "
                       f"{p.value:.1%} of cases (Monte Carlo error {p.mcse:.1%}).")  # fmt: skip
    return out


def _no_safe_errors(found: Trust) -> list[str]:
    """No error type of which what it needs is there."""
    if found.recommended not in found.forbidden:
        return []
    return [f"No error type is safe on this panel: {found.forbidden[found.recommended]}."]


# Answers, each with its reasons: sentences, the most serious first; none = the rule does not apply.
RULES: tuple[tuple[AnswerOfVerdict, Callable[[Trust], Sequence[str]]], ...] = (
    ("no claim", _no_claim),
    ("contradicted", _contradictions),
    ("not decided", _leaning),
    ("not decided", _pretrends),
    ("not decided", _no_safe_errors),
    ("not decided", _not_significant),
    ("not decided", _calibrated),
)


def _support(found: Trust) -> str:
    """Why a claim is supported."""
    p, own = found.calibrated(), found.advised.pvalue
    answers = [check.answer for check in found.checks if check.difference is not None]
    vague = answers.count("cannot tell")
    few = f"; {vague} of them cannot tell" if vague else ""
    beside = "; 2SLS with the spec's instruments, which disagrees, is not among them" if _two_stages(found) else ""
    checks = f", and none of {len(answers)} other estimates contradicts it{few}{beside}" if answers else beside
    least = "at most " if is_least(p) else ""
    return (f"p is {own:.3g} with {errors_named(found.recommended)} and {least}{p.value:.3g} calibrated on twins"
            f"{checks}{_differing(found)}.")  # fmt: skip


def _differing(found: Trust) -> str:
    """How many other estimates differ from the claim by more than chance, and the one that takes most of it away."""
    rows = [check for check in found.checks if check.difference is not None and check.answer == "differs"]
    if not rows:
        return ""
    said = "1 of them differs" if len(rows) == 1 else f"{len(rows)} of them differ"
    own = found.claim.estimate
    far = max(rows, key=lambda check: -np.sign(own) * (check.difference or 0.0))
    left = own + (far.difference or 0.0)
    most = f" ({far.alternative or far.name}: {left:.3g} instead of {own:.3g})" if abs(left) < abs(own) else ""
    return f"; {said} by more than chance{most}"


def opening(found: Trust) -> tuple[str, ...]:
    """The claim as it is printed, the size of its test, and the error type to print."""
    record, size = found.record, found.main.size(found.printed)
    named = found.claim.called if found.claim.text == record.term else record.term
    p = record.pvalue
    level = next((level for level in (0.01, 0.05, 0.10) if p is not None and p <= level), None)
    said = f"significant at {level:.0%}" if level else "not significant at 10%"
    value = "no p value" if p is None else f"p = {p:.3g}"
    out = [
        f"The estimate of {named} in table {record.table}, column {record.column} is {found.claim.estimate:.4g}, "
        f"{said} with {errors_named(found.printed)} ({value}).",
        f"On panels like yours, this 5% test rejects in {size.value:.1%} of cases where there is no effect"
        f"{_others(found)}.",
    ]
    if found.recommended in found.forbidden:
        out.append(f"{found.reason[:1].upper()}{found.reason[1:]}.")
    elif found.recommended != found.printed:
        out.append(f"Print {errors_named(found.recommended)}: {found.reason}.")
    if found.race is not None and found.race.better:
        out += [found.race.reason, found.race.advice]
    elif found.race is not None and not found.race.valid(found.race.own):
        out.append(found.race.answer)
    return tuple(out)


def _others(found: Trust) -> str:
    """The size of the test on twins of other methods, where it is another by more than chance."""
    main, said = found.main.size(found.printed), []
    for one in found.voters:
        size = one.size(found.printed)
        if abs(size.value - main.value) > BEYOND * float(np.hypot(size.mcse, main.mcse)):
            said.append(f"in {size.value:.1%} by the method {one.method}")
    return f" ({', '.join(said)})" if said else ""


def _rates(found: Trust) -> tuple[str, ...]:
    """How often panels like this one get a verdict."""
    rates = found.evidence
    if rates.supported_without_effect is None:
        return ()
    at = f"{rates.supported_at_effect:.1%} where the effect is {found.asked:.3g}"
    sound = rates.contradicted_without_threat
    said = "" if sound is None else f"; {sound:.1%} of claims that nothing is wrong with are contradicted"
    return (f"On twins of your panel a claim is supported in {rates.supported_without_effect:.1%} of cases without an "
            f"effect and in {at}{said}.",)  # fmt: skip
