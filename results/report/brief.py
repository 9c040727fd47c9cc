"""A claim in two lines, for a screen whose tables show the numbers: who holds, who fails and by how much at worst."""

from __future__ import annotations

from collections.abc import Sequence

from results.diagnosis.claims import Claim
from results.report.sentences import MOST_ASKED, Group, groups_of, head, needs_text, span_of
from results.report.verdicts import Grade, Verdict, needed
from results.report.wording import Subject, errors_text, joined, per_cent

MOST_NAMED = 3  # of those that hold or are open
MOST_FAILED = 6


def brief_sentence(claim: Claim, found: Sequence[Verdict], alpha: float) -> str:
    """The answer to a claim of bias, coverage or size from its verdicts, the worst first; alpha: the level."""
    by_grade = {grade: [item for item in found if item.grade is grade] for grade in Grade}
    fine = by_grade[Grade.HOLDS] + by_grade[Grade.HARMLESS]
    parts = []
    if fine:
        subject = _named(groups_of(fine, found))
        parts.append(f"{subject.does('hold')} ({span_of(fine)})")
    if failed := by_grade[Grade.FAILS]:
        parts.append(_failed(groups_of(failed, found)))
    if unsure := by_grade[Grade.OPEN]:
        parts.append(f"{len(unsure)} of {len(found)} cannot be told{_needs(unsure)}")
    return f"{head(claim, found, alpha)}: {'; '.join(parts)}."


def _needs(unsure: Sequence[Verdict]) -> str:
    """The most replications that one of them is planned to need; "" where all have so many."""
    counts = [needed(item, item.worst) for item in unsure if item.worst.value == item.worst.value]
    counts = [item for item in counts if not item.at_value and item.replications < MOST_ASKED]
    return f" ({needs_text(max(counts, key=lambda item: item.replications))})" if counts else ""


def _named(groups: Sequence[Group]) -> Subject:
    """Those of which all terms are meant come first."""
    names = [group.subject.text for group in sorted(groups, key=lambda group: not group.whole)]
    return Subject(joined(names, MOST_NAMED), plural=len(names) > 1 or groups[0].subject.plural)


def _failed(groups: Sequence[Group]) -> str:
    """Who fails, and the worst of it."""
    every = joined([group.who.text for group in groups], MOST_FAILED)
    verdict = max((item for group in groups for item in group.verdicts), key=lambda item: item.times)
    (group,) = (group for group in groups if verdict in group.verdicts)
    about, worst = group.one(verdict), verdict.worst
    if verdict.measure == "bias":
        said = f"{about.is_} too {'low' if worst.value < 0 else 'high'} by {errors_text(abs(worst.value))}"
    else:
        said = f"{about.does('cover' if verdict.measure == 'coverage' else 'reject')} {per_cent(worst.value)}"
    when = f" when {worst.row['setting']}" if worst.row["setting"] else ""
    return f"{Subject(every, plural=len(groups) > 1).does('fail')} (at worst {said}{when})"
