"""The sentence on power: which effect 80% of panels find, and how often the simulated effects are found."""

from __future__ import annotations

from collections.abc import Sequence

from results.diagnosis.claims import POWER
from results.report.detectable import Curve
from results.report.numbers import is_test, number
from results.report.sentences import head, naming
from results.report.verdicts import Verdict
from results.report.wording import joined, per_cent, span_text

Drawn = Sequence[tuple[Verdict, Sequence[Curve]]]
MOST = 4  # tests that a sentence describes one by one


def power_sentence(drawn: Drawn, wrong_size: set[tuple[str, str, str]], alpha: float) -> str:
    """The power of each test whose size is not wrong; of the others it is not worth stating.

    drawn: verdicts on power with their curves. wrong_size: (estimator, term, error type) of tests whose size fails.
    """
    found = [verdict for verdict, _ in drawn]
    names = naming(found)
    sound = [(item, curves) for item, curves in drawn if (item.estimator, item.term, item.error) not in wrong_size]
    wrong = [names(item) for item, _ in drawn if (item.estimator, item.term, item.error) in wrong_size]
    parts = [(f"{names(item)}: " if len(found) > 1 else "") + _of_curves(item, curves) for item, curves in sound[:MOST]]
    if len(sound) > MOST:
        rest = [item for item, _ in sound[MOST:]]
        ends = [item.span for item in rest]
        span = span_text(min(low for low, _ in ends), max(high for _, high in ends))
        parts.append(f"{len(rest)} more tests find an effect in {span} of panels")
    if wrong:
        parts.append(f"not stated for {joined(wrong, MOST)}, because a test of the wrong size has no power to speak of")
    return f"{head(found[0].claim, found, alpha)}: {'; '.join(parts)}."


def _of_curves(verdict: Verdict, curves: Sequence[Curve]) -> str:
    """What the curves of one test say together."""
    if is_test(verdict.cells[0].row):
        return f"rejects in {span_text(*verdict.span)} of panels where its null hypothesis is false"
    told = sorted((curve for curve in curves if curve.mde == curve.mde), key=lambda curve: curve.mde)
    largest = max(abs(item.row["truth"]) for item in verdict.told)
    share = f"{POWER:.0%} of panels find"
    beyond = [curve for curve in curves if curve.beyond]
    low, high = verdict.span
    found = f"the simulated effects are found in {span_text(low, high)} of panels"
    if not told:
        more = f"; {share} only effects above {_plain(largest)}" if beyond else ""
        return found + more
    if len(curves) == 1:
        (curve,) = told
        ends = f"{_plain(curve.lower)} to {_plain(curve.upper)}"
        at = f"an effect of {_plain(largest)} is found in {per_cent(curve.largest.value)} of panels"
        return f"{at}; {share} an effect of {_plain(curve.mde)} (Monte Carlo interval {ends})"
    first, last = told[0], told[-1]
    text = f"{share} an effect of {_plain(first.mde)} when {first.setting}"
    if beyond:
        cells = f"{len(beyond)} of {len(curves)} settings"
        return f"{text}, and in {cells} only effects above {_plain(largest)}"
    if _plain(first.mde) == _plain(last.mde):
        return f"{share} an effect of {_plain(first.mde)} in every setting"
    return f"{text}, and only one of {_plain(last.mde)} when {last.setting}"


def _plain(value: float) -> str:
    return number(value, ".2g" if abs(value) < 0.1 or abs(value) >= 1 else ".2f")
