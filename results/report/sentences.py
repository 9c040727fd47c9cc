"""One sentence a claim: who holds, who fails by how much and where, what is harmless and what cannot be told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from results.diagnosis.claims import Claim
from results.diagnosis.judging import beyond, within
from results.report.bias_table import in_order, plain
from results.report.verdicts import Grade, Judged, Needed, Verdict, needed
from results.report.wording import (
    Subject,
    bias_text,
    errors_text,
    joined,
    of_errors,
    per_cent,
    region,
    span_text,
)

Dials = Sequence[Mapping[str, object]]
MOST_NAMED = 5  # estimators or error types that a sentence describes one by one
MOST_ASKED = 1e7  # replications that a sentence asks for
MOST_TERMS = 4  # that are named at its head


def claim_sentence(claim: Claim, found: Sequence[Verdict], dials: Dials, alpha: float) -> str:
    """The answer to a claim of bias, coverage or size from its verdicts, the worst first.

    dials: those of each cell. alpha: the level.
    """
    by_grade = {grade: [item for item in found if item.grade is grade] for grade in Grade}
    parts = [
        _holds(by_grade[Grade.HOLDS], found, dials),
        _fails(by_grade[Grade.FAILS], found, dials),
        _harmless(by_grade[Grade.HARMLESS], found),
        _open(by_grade[Grade.OPEN], found),
    ]
    return f"{head(claim, found, alpha)}: {'; '.join(part for part in parts if part)}."


def head(claim: Claim, found: Sequence[Verdict], alpha: float) -> str:
    """What a sentence is about: the measure and the terms, where they are few."""
    terms = in_order(item.term for item in found)
    of = f"of {joined(terms)}" if len(terms) <= MOST_TERMS else f"of {len(terms)} terms"
    level = f"{100 * alpha:g}%"
    return {
        "bias": f"Bias {of}",
        "coverage": f"{100 * (1 - alpha):g}% intervals {of}",
        "size": f"{level} tests {of} where the truth is 0",
        "power": f"Power of the {level} test {of}",
        "screen": "Screens",
    }[claim.measure]


@dataclass(frozen=True, slots=True)
class Group:
    """Verdicts of one estimator, or of one of its error types where those are told apart.

    who: as sentences call it. link: between a term and it. whole: whether these are all of its verdicts. terms: whether
    terms must be named.
    """

    who: Subject
    link: str
    verdicts: list[Verdict]
    whole: bool
    terms: bool

    @property
    def subject(self) -> Subject:
        """The group as the subject of a sentence."""
        if self.whole:
            return self.who
        terms = joined([item.term for item in self.verdicts], 4)
        return Subject(f"{terms} {self.link} {self.who.text}", plural=len(self.verdicts) > 1)

    def one(self, verdict: Verdict) -> Subject:
        """One of its verdicts as the subject of a sentence."""
        return Subject(f"{verdict.term} {self.link} {self.who.text}") if self.terms else self.who


def groups_of(chosen: Sequence[Verdict], found: Sequence[Verdict]) -> list[Group]:
    """The verdicts by what sentences call them.

    chosen: some of the verdicts of a claim. found: all, which say what must be told apart.
    """
    own: dict[tuple[str, str], list[Verdict]] = {}
    every: dict[str, list[Verdict]] = {}
    for item in found:
        every.setdefault(item.estimator, []).append(item)
    for item in chosen:
        told = len({other.error for other in every[item.estimator]}) > 1
        own.setdefault((item.estimator, item.error if told else ""), []).append(item)
    groups = []
    for (name, error), verdicts in own.items():
        whole = [item for item in every[name] if not error or item.error == error]
        alone = len(every) == 1 and bool(error)
        who = of_errors(error) if alone else Subject(f"{name} with {of_errors(error).text}" if error else name)
        several = len({item.term for item in whole}) > 1
        groups.append(Group(who, "with" if alone else "of", verdicts, len(verdicts) == len(whole), several))
    return groups


def naming(found: Sequence[Verdict]) -> Callable[[Verdict], str]:
    """What sentences call each verdict of a claim."""
    groups = groups_of(found, found)
    names = {id(item): group.one(item).text for group in groups for item in group.verdicts}
    return lambda item: names[id(item)]


def _together(groups: Sequence[Group]) -> Subject:
    found = [group.subject for group in groups]
    return Subject(joined([item.text for item in found], MOST_NAMED), plural=len(found) > 1 or found[0].plural)


def _holds(chosen: Sequence[Verdict], found: Sequence[Verdict], dials: Dials) -> str:
    if not chosen:
        return ""
    subject = _together(groups_of(chosen, found))
    return f"{subject.does('hold')} ({span_of(chosen)}{_over(chosen[0].claim, dials)})"


def _harmless(chosen: Sequence[Verdict], found: Sequence[Verdict]) -> str:
    if not chosen:
        return ""
    subject = _together(groups_of(chosen, found))
    return f"{subject.is_} off by so little that it does not matter ({span_of(chosen)})"


def _open(chosen: Sequence[Verdict], found: Sequence[Verdict]) -> str:
    if not chosen:
        return ""
    worst = max(chosen, key=lambda item: item.times)
    subject = _together(groups_of(chosen, found))
    where = ""
    if len(chosen) == 1 and len(chosen[0].cells) > 1:
        where = f" in {len(worst.of_grade(Grade.OPEN))} of {len(worst.cells)} cells"
    return f"cannot be told for {subject.text}{where} ({_interval(worst, worst.worst)})"


def _interval(verdict: Verdict, worst: Judged) -> str:
    """What is known where it cannot be told."""
    row = worst.row
    lost = 1 - row["n"] / row["attempted"]
    when = f" when {row['setting']}" if row["setting"] else ""
    if worst.value != worst.value or within(
        worst.lower - verdict.nominal, worst.upper - verdict.nominal, verdict.tolerance
    ):
        return f"{per_cent(lost)} of fits failed{when}" if lost else f"only {row['n']:,.0f} fits{when}"
    more = _beyond(verdict, worst) or f"; {needs_text(needed(verdict, worst))}"
    if verdict.measure == "bias":
        return f"Monte Carlo interval {worst.lower:.2f} to {worst.upper:.2f} standard errors{when}{more}"
    return f"Monte Carlo interval {per_cent(worst.lower)} to {per_cent(worst.upper)}{when}{more}"


def needs_text(found: Needed) -> str:
    """What would tell, in words: "needs about 1,700 replications"."""
    if found.replications < MOST_ASKED:
        at = "at this value needs" if found.at_value else "needs"
        return f"{at} about {found.replications:,.0f} replications"
    if found.worlds:
        return f"needs more worlds, about {found.worlds:,}, not more replications"
    return "too near the tolerance to tell"


def _beyond(verdict: Verdict, worst: Judged) -> str:
    """Why an interval that lies beyond the tolerance does not yet fail: it must be clear of the Monte Carlo error."""
    if beyond(worst.lower - verdict.nominal, worst.upper - verdict.nominal, verdict.tolerance):
        return "; this probably fails, and more replications make it clear"
    return ""


def _fails(chosen: Sequence[Verdict], found: Sequence[Verdict], dials: Dials) -> str:
    groups = groups_of(chosen, found)
    if not groups:
        return ""
    named, rest = groups[:MOST_NAMED], groups[MOST_NAMED:]
    said = [(_failure(group), *where_it_fails(_worst(group), dials)) for group in named]
    if len(said) > 1 and len({when for _, when, _ in said}) == 1:  # the cell is said once, at the end
        _, when, extent = said[0]
        same = extent if len({extent for *_, extent in said}) == 1 else ""
        text = f"{joined([what for what, *_ in said], MOST_NAMED)}, {'both' if len(said) == 2 else 'all'}{when}"
        text += _extent(same, plural=True)
    else:
        text = "; ".join(
            what + when + _extent(extent, plural=group.one(_worst(group)).plural)
            for group, (what, when, extent) in zip(named, said, strict=True)
        )
    return text + (f"; {_together(rest).does('fail')} too" if rest else "")


def _extent(extent: str, *, plural: bool) -> str:
    return f" ({'fail' if plural else 'fails'} {extent})" if extent else ""


def _worst(group: Group) -> Verdict:
    return max(group.verdicts, key=lambda item: item.times)


def _failure(group: Group) -> str:
    """What the worst verdict of a group says."""
    verdict = _worst(group)
    about, worst = group.one(verdict), verdict.worst
    others = [item.term for item in group.verdicts if item is not verdict]
    if verdict.measure == "bias":
        return f"{about.is_} {bias_text(worst.row, worst.value, f'{joined(others, 3)} too' if others else '')}"
    too = f" ({joined(others, 3)} too)" if others else ""
    return f"{about.does('cover' if verdict.measure == 'coverage' else 'reject')} {per_cent(worst.value)}{too}"


def where_it_fails(verdict: Verdict, dials: Dials) -> tuple[str, str]:
    """The worst cell, and the cells that fail where they are several: " when serial = 0.8", "with serial from 0.4"."""
    failing, worst = verdict.of_grade(Grade.FAILS), verdict.worst.row["setting"]
    if not worst or len(failing) == 1:
        return (f" when {worst}" if worst else ""), ""
    common = region([item.cell for item in failing], [item.cell for item in verdict.cells], dials)
    if not common and len(failing) == len(verdict.cells):
        return f" when {worst}", "in every cell"
    return f" when {worst}", f"with {common}" if common else f"in {len(failing)} of {len(verdict.cells)} cells"


def span_of(chosen: Sequence[Verdict]) -> str:
    """The values of some verdicts together."""
    ends = [item.span for item in chosen]
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    if chosen[0].measure == "bias":
        return f"at most {errors_text(max(abs(low), abs(high)))}"
    return span_text(low, high)


def _over(claim: Claim, dials: Dials) -> str:
    """The values of the dial along which a claim asks, where they are numbers: " over serial 0 to 0.8"."""
    values = [value for cell in dials if isinstance(value := cell.get(claim.over), int | float)]
    if not values or min(values) == max(values):
        return ""
    return f" over {claim.over} {plain(min(values))} to {plain(max(values))}"
