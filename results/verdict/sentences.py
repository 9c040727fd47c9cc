"""One sentence a claim: who holds, who fails by how much and where, what is harmless and what cannot be told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from results.diagnosis.claims import POWER, Claim, beyond, within
from results.diagnosis.power import told_effect
from results.text import (
    Subject,
    dial_names,
    dial_value,
    fixed,
    joined,
    level,
    of_errors,
    per_cent,
    plain_dial,
    region,
    rounded,
    setting_text,
    share,
    span_text,
    standard_errors,
    written,
)
from results.verdict.verdicts import LEAST_FITS, Grade, Judged, Needed, RowOfTable, Verdict, in_order, is_null, needed

Dials = Sequence[Mapping[str, object]]
MOST_NAMED = 5  # estimators or error types that a sentence describes one by one
MOST_ASKED = 1e7  # replications that a sentence asks for
MOST_TERMS = 4  # that are named at its head


def claim_sentence(claim: Claim, found: Sequence[Verdict], dials: Dials, alpha: float) -> str:
    """The answer to a claim of bias, coverage or size from its verdicts, the worst first.

    dials: those of each cell. alpha: the level.
    """
    holding, failing, harmless, unsure = (_of_grade(found, grade) for grade in (
        Grade.HOLDS, Grade.FAILS, Grade.HARMLESS, Grade.OPEN))  # fmt: skip
    parts = []
    if holding:
        subject = _together(groups_of(holding, found), MOST_NAMED)
        values = [value for cell in dials if isinstance(value := cell.get(claim.over), int | float)]
        over = ""  # the values of the dial along which a claim asks, where they are numbers
        if values and min(values) != max(values):
            over = f" over {claim.over} {dial_value(min(values))} to {dial_value(max(values))}"
        parts.append(f"{subject.does('hold')} ({span_of(holding)}{over})")
    if failing:
        parts.append(_fails(groups_of(failing, found), dials))
    if harmless:
        subject = _together(groups_of(harmless, found), MOST_NAMED)
        parts.append(f"{subject.is_} off by so little that it does not matter ({span_of(harmless)})")
    if unsure:
        worst, where = max(unsure, key=lambda item: item.times), ""
        if len(unsure) == 1 and len(worst.cells) > 1:
            where = f" in {len(worst.of_grade(Grade.OPEN))} of {len(worst.cells)} cells"
        subject = _together(groups_of(unsure, found), MOST_NAMED)
        parts.append(f"cannot be told for {subject.text}{where} ({_interval(worst, worst.worst)})")
    return f"{head(claim, found, alpha)}: {'; '.join(parts)}."


def _of_grade(found: Sequence[Verdict], *grades: Grade) -> list[Verdict]:
    return [item for grade in grades for item in found if item.grade is grade]


def head(claim: Claim, found: Sequence[Verdict], alpha: float) -> str:
    """What a sentence is about: the measure and the terms, where they are few."""
    terms = in_order(item.term for item in found)
    of = f"of {joined(terms)}" if len(terms) <= MOST_TERMS else f"of {len(terms)} terms"
    return {
        "bias": f"Bias {of}",
        "coverage": f"{level(1 - alpha)} intervals {of}",
        "size": f"{level(alpha)} tests {of} where the truth is 0",
        "power": f"Power of the {level(alpha)} test {of}",
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


def _together(groups: Sequence[Group], most: int) -> Subject:
    """The groups as one subject; beyond `most` the rest is counted."""
    found = [group.subject for group in groups]
    return Subject(joined([item.text for item in found], most), plural=len(found) > 1 or found[0].plural)


def _interval(verdict: Verdict, worst: Judged) -> str:
    """What is known where it cannot be told."""
    row = worst.row
    lost = 1 - row["n"] / row["attempted"]
    when = f" when {row['setting']}" if row["setting"] else ""
    if worst.value != worst.value or within(
        worst.lower - verdict.nominal, worst.upper - verdict.nominal, verdict.tolerance
    ):
        return f"{per_cent(lost)} of fits failed{when}" if lost else f"only {row['n']:,.0f} fits{when}"
    more = f"; {needs_text(needed(verdict, worst))}"
    if beyond(worst.lower - verdict.nominal, worst.upper - verdict.nominal, verdict.tolerance):
        more = "; this probably fails, and more replications make it clear"  # it is not clear of its Monte Carlo error
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


def _fails(groups: Sequence[Group], dials: Dials) -> str:
    named, rest = groups[:MOST_NAMED], groups[MOST_NAMED:]
    said = []
    for group in named:  # what the worst verdict of a group says, and where
        verdict = _worst(group)
        about, worst = group.one(verdict), verdict.worst
        others = [item.term for item in group.verdicts if item is not verdict]
        too = f"{joined(others, 3)} too" if others else ""
        if verdict.measure == "bias":
            what = f"{about.is_} {bias_text(worst.row, worst.value, too)}"
        else:
            what = f"{about.does('cover' if verdict.measure == 'coverage' else 'reject')} {per_cent(worst.value)}"
            what += f" ({too})" if too else ""
        said.append((what, *where_it_fails(verdict, dials)))
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
    return text + (f"; {_together(rest, MOST_NAMED).does('fail')} too" if rest else "")


def _extent(extent: str, *, plural: bool) -> str:
    return f" ({'fail' if plural else 'fails'} {extent})" if extent else ""


def _worst(group: Group) -> Verdict:
    return max(group.verdicts, key=lambda item: item.times)


def bias_text(row: RowOfTable, standardised: float, beside: str = "") -> str:
    """A bias in words: its side, size, standard errors and share of the truth, and what else the brackets hold."""
    form = fixed((row["truth"], row["mean_estimate"]), row["bias_mcse"])
    shares = [f"{standard_errors(abs(standardised))}"] if abs(standardised) < float("inf") else []
    if not is_null(row) and row["truth"]:
        shares.append(f"{rounded(100 * abs(row['bias'] / row['truth']))}% of the true {written(row['truth'], form)}")
    inside = "; ".join(part for part in (", ".join(shares), beside) if part)
    rest = f" ({inside})" if inside else ""
    return f"too {'high' if row['bias'] > 0 else 'low'} by {abs(row['bias']):{form}}{rest}"


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
        return f"at most {standard_errors(max(abs(low), abs(high)))}"
    return span_text(low, high)


# A claim by its marks, beside the chips that name who has each.


def grade_texts(claim: Claim, found: Sequence[Verdict], dials: Dials) -> dict[Grade, str]:
    """What each grade of a claim on bias, coverage or size comes to, the best first; shares have one decimal."""
    texts = {}
    for grade in (Grade.HOLDS, Grade.HARMLESS):
        if fine := _of_grade(found, grade):
            low, high = min(item.span[0] for item in fine), max(item.span[1] for item in fine)
            far = f"at most {max(abs(low), abs(high)):.2f} standard errors"
            texts[grade] = far if claim.measure == "bias" else f"{share(low)} to {share(high)}"
    if unsure := _of_grade(found, Grade.OPEN):
        # what would tell: the most that one of them needs, worlds where no number of replications is enough
        cells = [item for verdict in unsure for item in verdict.of_grade(Grade.OPEN)]
        counts = [needed(item, item.worst) for item in unsure if item.worst.value == item.worst.value]
        counts = [item for item in counts if item.worlds or (not item.at_value and item.replications < MOST_ASKED)]
        asked = f", {needs_text(max(counts, key=lambda item: (item.replications, item.worlds)))}" if counts else ""
        every = sum(len(verdict.cells) for verdict in unsure)
        what = "cells" if len(unsure) == 1 else "numbers"
        texts[Grade.OPEN] = f"in {len(cells)} of {every} {what}{asked}" if every > 1 else asked.removeprefix(", ")
    if failed := _of_grade(found, Grade.FAILS):
        verdict = max(failed, key=lambda item: item.times)  # the worst, and where
        (group,) = groups_of([verdict], found)
        about, worst = group.one(verdict), verdict.worst
        if verdict.measure == "bias":
            side = "low" if worst.value < 0 else "high"
            said = f"{about.is_} too {side} by {abs(worst.value):.2f} standard errors"
        else:
            said = f"{about.does('cover' if verdict.measure == 'coverage' else 'reject')} {share(worst.value)}"
        setting = setting_text(dials[worst.cell], dials, plain_dial)
        texts[Grade.FAILS] = f"at worst {said}" + (f" when {setting}" if setting else "")
    return texts


# Power over the effects of a grid, and the smallest effect that 80% of panels find, for each setting of the rest.


LEAST_CHANGE = 0.2  # of the largest truth: what changes less is chance of the draws


@dataclass(frozen=True, slots=True)
class PowersBySize:
    """Powers of one test at several effects, in cells that differ in nothing else.

    dial: the one that moves the effect; "" where there is none. setting: the other dials. cells: by size of the effect,
    the one without an effect included. mde: the smallest effect that is found with power `POWER`, with the ends of its
    95% Monte Carlo interval; NaN where the simulated effects do not tell. beyond: the mde is larger than every
    simulated effect.
    """

    dial: str
    setting: str
    cells: tuple[Judged, ...]
    mde: float
    lower: float
    upper: float
    beyond: bool


def effect_dial(truths: Mapping[int, float], cells: Sequence[Mapping[str, object]]) -> str:
    """The dial along which the truth changes most while the others stand still; "" where none changes it by a fifth.

    truths: by cell, where they are known.
    """
    largest = max((abs(value) for value in truths.values()), default=0.0)
    spans = {}
    for name in dial_names(cells):
        groups = [[truths[cell] for cell in group if cell in truths] for group in _groups(name, cells)]
        spans[name] = max((max(group) - min(group) for group in groups if group), default=0.0)
    dial = max(spans, key=lambda name: spans[name], default="")
    return dial if dial and spans[dial] > LEAST_CHANGE * largest else ""


def curves(verdict: Verdict, cells: Sequence[Mapping[str, object]]) -> Iterator[PowersBySize]:
    """The curve of a verdict on power for each setting of the other dials, in the order of the grid."""
    known = {item.cell: item for item in verdict.cells}
    dial = verdict.claim.over or effect_dial({cell: item.row["truth"] for cell, item in known.items()}, cells)
    for group in _groups(dial, cells):
        own = sorted((known[cell] for cell in group if cell in known), key=lambda item: abs(item.row["truth"]))
        if any(not is_null(item.row) for item in own):
            dials = {name: value for name, value in cells[own[0].cell].items() if name != dial}
            setting = setting_text(dials, cells)
            effects = np.array([abs(item.row["truth"]) for item in own])
            shares = np.array([item.value for item in own])
            counts = []  # independent fits whose share has the Monte Carlo error of a cell, which worlds may widen
            for item in own:
                n, p = float(item.row["n_error"]), item.value
                counts.append(min(n, p * (1 - p) / item.mcse**2) if 0 < p < 1 and item.mcse > 0 else n)
            # the search for the standard deviation begins at that of the estimates; what estimates nothing has none
            spread = [item.row["empirical_se"] for item in own if item.row["empirical_se"] > 0]
            start = float(np.median(spread)) if spread else float(effects.max()) / 3
            found = told_effect(effects, shares, np.array(counts), start, POWER)
            if found is None or not np.isfinite(found.value):
                yield PowersBySize(dial, setting, tuple(own), np.nan, np.nan, np.nan, beyond=found is not None)
            else:
                yield PowersBySize(dial, setting, tuple(own), found.value, found.lower, found.upper, beyond=False)


def _groups(dial: str, cells: Sequence[Mapping[str, object]]) -> list[list[int]]:
    """Cells that differ in nothing but a dial."""
    found: dict[str, list[int]] = {}
    for index, cell in enumerate(cells):
        found.setdefault(repr({name: value for name, value in cell.items() if name != dial}), []).append(index)
    return list(found.values())


# The sentence on power: which effect 80% of panels find, and how often the simulated effects are found.


Drawn = Sequence[tuple[Verdict, Sequence[PowersBySize]]]
MOST = 4  # tests that a sentence describes one by one


def power_sentence(drawn: Drawn, wrong_size: set[tuple[str, str, str]], alpha: float) -> str:
    """The power of each test whose size is not wrong and that has fits enough; of the others it is not worth stating.

    drawn: verdicts on power with their curves. wrong_size: (estimator, term, error type) of tests whose size fails.
    """
    found = [verdict for verdict, _ in drawn]
    names = {id(item): group.one(item).text for group in groups_of(found, found) for item in group.verdicts}
    few = {id(item): names[id(item)] for item in found
           if not any(cell.row["n_error"] >= LEAST_FITS for cell in item.cells)}  # fmt: skip
    wrong = {id(item): names[id(item)] for item in found
             if (item.estimator, item.term, item.error) in wrong_size and id(item) not in few}  # fmt: skip
    sound = [(item, curves) for item, curves in drawn if id(item) not in few | wrong]
    parts = [(f"{names[id(item)]}: " if len(found) > 1 else "") + _of_curves(item, curves)
             for item, curves in sound[:MOST]]  # fmt: skip
    if len(sound) > MOST:
        rest = [item for item, _ in sound[MOST:]]
        ends = [item.span for item in rest]
        span = span_text(min(low for low, _ in ends), max(high for _, high in ends))
        parts.append(f"{len(rest)} more tests find an effect in {span} of panels")
    for items, why in ((wrong, "a test of the wrong size has no power to speak of"),
                       (few, f"no cell has {LEAST_FITS} usable fits")):  # fmt: skip
        if items:
            parts.append(f"not stated for {joined(list(items.values()), MOST)}, because {why}")
    return f"{head(found[0].claim, found, alpha)}: {'; '.join(parts)}."


def _of_curves(verdict: Verdict, curves: Sequence[PowersBySize]) -> str:
    """What the curves of one test say together."""
    if verdict.cells[0].row["tests"]:
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
        size = _plain(largest)  # of either sign, where both were simulated
        shares = [cell.value for cell in curve.cells if _plain(abs(cell.row["truth"])) == size]
        at = f"an effect of {size} is found in {span_text(min(shares), max(shares))} of panels"
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
    return written(value, ".2g" if abs(value) < 0.1 or abs(value) >= 1 else ".2f")
