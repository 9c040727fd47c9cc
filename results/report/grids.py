"""What a report says of a study besides its numbers: facts, a line of chips a claim, and a table with marks.

One record a claim for the terminal and the page, which therefore have the same names, units and decimals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

import pandas as pd

from results.diagnosis.diagnose import Diagnosis
from results.page import SYNTHETIC
from results.plots.grid import MEASURES, ShownMeasure, dials, lead_terms, values_of
from results.text import (
    DASH,
    bracketed,
    dial_value,
    fixed,
    level,
    plain_error,
    setting_text,
    share_text,
    varying,
    written,
)
from results.verdict.answer import Answer, ClaimAnswer
from results.verdict.sentences import Dials, grade_texts, head
from results.verdict.verdicts import (
    Grade,
    Judged,
    Verdict,
    first_rows,
    key_terms,
    own_text,
    percent,
    worst_first,
    worst_of,
)

# Which measure and term answer a study's question, and which picture its page opens with.


def lead_of(diagnosis: Diagnosis) -> tuple[ShownMeasure, str | None]:
    """The measure and term of the first claim that a picture can show.

    None for a term: each estimator's first, where the claim is about all of these.
    Of a study that states none: size where every truth is 0, power where a dial takes the truth through several values
    from 0 on, bias else.
    """
    firsts = set(lead_terms(diagnosis).values())
    for claim in diagnosis.claims:
        for term in claim.terms if firsts - set(claim.terms) and claim.terms else (None,):
            if claim.measure in MEASURES and values_of(diagnosis, MEASURES[claim.measure], lead_terms(diagnosis, term)):
                return MEASURES[claim.measure], term
    terms = lead_terms(diagnosis)
    truths = values_of(diagnosis, MEASURES["truth"], terms)
    if not truths or not values_of(diagnosis, MEASURES["power"], terms):
        return MEASURES["bias" if values_of(diagnosis, MEASURES["bias"], terms) else "mean_estimate"], None
    if all(value.null for value in truths):
        return MEASURES["size"], None
    levels = {value.value for value in truths if value.place[1] == truths[0].place[1]}
    numbers = [dial for dial in dials(diagnosis.cells) if dial.is_number and len(dial.values) > 2]
    through = any(value.null for value in truths) and len(levels) > 2 and bool(numbers)
    return MEASURES["power" if through else "bias"], None


def opened_by(diagnosis: Diagnosis, found: Answer) -> tuple[ShownMeasure, str | None]:
    """The measure and term of the first picture of a page: of the worst of the first failing claim, else `lead_of`."""
    failing = [item for part in found.claims for item in worst_first(part.verdicts) if item.grade is Grade.FAILS]
    firsts = lead_terms(diagnosis)
    for item in failing:
        term = None if firsts.get(item.estimator) == item.term else item.term
        if item.measure in MEASURES and values_of(diagnosis, MEASURES[item.measure], lead_terms(diagnosis, term)):
            return MEASURES[item.measure], term
    return lead_of(diagnosis)


@dataclass(frozen=True, slots=True)
class ReportFacts:
    """The study behind a diagnosis.

    study: its name. question: what it asks. expected: the answer that is expected, and why.
    description: anything else, plain text. seed, fingerprint: its identity.
    synthetic: whether its data were drawn from a design (and not re-randomised from a real panel). provenance: facts of
    the run by name (versions, machine, dates). toml: the study as TOML. done, blocks: how many of its blocks are there,
    and how many it has. environments: every code and machine that computed some of its blocks. stopped: at which target
    its cells stopped, in one line; "" where there was none. shard: which share of the study's blocks this is, in one
    line; "" where it is all of them. raised: the most frequent reason of failed fits, a sentence
    an estimator.
    """

    study: str
    question: str = ""
    description: str = ""
    seed: int | None = None
    fingerprint: str = ""
    synthetic: bool = True
    provenance: Mapping[str, object] = field(default_factory=dict)
    toml: str = ""
    done: int = 0
    blocks: int = 0
    environments: tuple[str, ...] = ()
    expected: str = ""
    stopped: str = ""
    shard: str = ""
    raised: tuple[str, ...] = ()

    @property
    def mixed(self) -> str:
        """That its blocks come from different code or machines, or that nothing says whether they do, in one line; ""
        where they come from one."""
        if self.environments == ("unknown",):  # their facts were damaged: there may have been several
            return "the store does not say any longer which code and machines computed its blocks"
        if len(self.environments) < 2:
            return ""
        return f"the blocks come from {len(self.environments)} environments: {' | '.join(self.environments)}"

    @property
    def warnings(self) -> list[str]:
        """What makes its numbers doubtful as a whole: blocks that are missing, and where others come from."""
        there = f"{self.done:,} of {self.blocks:,} blocks {'is' if self.done == 1 else 'are'} finished"
        missing = f"incomplete: {there}; the same run command resumes the study" if self.done < self.blocks else ""
        return [line for line in (missing, self.shard, self.mixed) if line]

    @property
    def data_statement(self) -> str:
        """One sentence on where the data come from."""
        if self.synthetic:
            return SYNTHETIC
        return "The data are re-randomised from a real panel."


# Tests beside the terms, such as one of pre-trends: how often they reject, and what estimates are worth that pass.


REJECTION = "rejection:"
NOT_JUDGED = (
    "Rejections by tests beside the terms are never marked, because the report does not know where their "
    "null hypothesis is true."
)


def side_tests(diagnosis: Diagnosis) -> list[tuple[int, str, str, str]]:
    """(cell, estimator, test, how often it rejects in percent) of every test that was made, in their order."""
    frame = diagnosis.frame[diagnosis.frame["measure"].str.startswith(REJECTION) & (diagnosis.frame["n"] > 0)]
    columns = ("cell", "estimator", "measure", "value", "mcse", "lower", "upper")
    return [
        (cell, name, measure.removeprefix(REJECTION).removesuffix("_p"), share_text(*share))
        for cell, name, measure, *share in zip(*(frame[key] for key in columns), strict=True)
    ]


def passing_fits(diagnosis: Diagnosis) -> Iterator[tuple[int, str, str]]:
    """(cell, estimator, a sentence on bias and coverage of its first term over the fits that pass its screen)."""
    passing, own = first_rows(diagnosis, "passing"), first_rows(diagnosis, "own")
    for cell in range(len(diagnosis.cells)):
        for name, layout in diagnosis.layouts.items():
            place = cell, name, key_terms(layout)[0]
            if layout.screen and place in own and place in passing and passing[place]["n"]:
                both = passing[place], own[place]
                form = fixed((own[place]["truth"], own[place]["mean_estimate"]), passing[place]["bias_mcse"])
                bias, of_all = (bracketed(row["bias"], row["bias_mcse"], form) for row in both)
                covered, by_all = (percent(row, "coverage") for row in both)
                fits, test = f"{int(passing[place]['n']):,}", layout.screen.removesuffix("_p")
                yield cell, name, (
                    f"in the {fits} fits that pass {test}, the bias of {place[2]} is {bias} (all fits: {of_all}) and "
                    f"{level(1 - diagnosis.alpha)} intervals cover {covered} (all fits: {by_all})")  # fmt: skip


# Chips: who holds, who fails and who cannot be told, in one line.


MARKS = {Grade.HOLDS: "\N{CHECK MARK}", Grade.HARMLESS: "~", Grade.OPEN: "?", Grade.FAILS: "\N{BALLOT X}",
         Grade.STATED: ""}  # fmt: skip
PLAIN_MARKS = MARKS | {Grade.HOLDS: "ok", Grade.FAILS: "!"}  # for a terminal without these letters
DOT, PLAIN_DOT = " \N{MIDDLE DOT} ", " | "
BRIEFLY = {Grade.HOLDS: "holds", Grade.HARMLESS: "detectable but too small to matter", Grade.OPEN: "cannot be told",
           Grade.FAILS: "fails"}  # fmt: skip
BEST_FIRST = tuple(BRIEFLY)
MOST_CHIPS = 8  # of a claim on the first screen of a page


@dataclass(frozen=True, slots=True)
class Chip:
    """A name with the worst grade of what it stands for. key: how files and options call it, where that differs."""

    name: str
    grade: Grade
    key: str = ""


@dataclass(frozen=True, slots=True)
class Glance:
    """A claim at a glance. title: what was judged. grade: the worst. rows: its chips. texts: what each grade comes to.

    sentence: all of it in words. measure: of the claim. called: the measure, or what tells it from another claim's.
    """

    measure: str
    called: str
    title: str
    grade: Grade
    rows: tuple[tuple[str, tuple[Chip, ...]], ...]
    texts: tuple[tuple[Grade, str], ...]
    sentence: str

    @property
    def is_long(self) -> bool:
        """Whether its chips are so many that a page counts them and folds them."""
        return sum(len(chips) for _, chips in self.rows) > MOST_CHIPS

    @property
    def counts(self) -> dict[Grade, int]:
        """How many chips have each grade, the best first."""
        every = [chip.grade for _, chips in self.rows for chip in chips]
        return {grade: every.count(grade) for grade in BEST_FIRST if grade in every}


def glances(found: Answer, dials: Dials, alpha: float) -> tuple[Glance, ...]:
    """The claims of an answer, in their order; what is only stated has no chips."""
    measures = [part.claim.measure for part in found.claims]
    seen = []
    for part in found.claims:
        measure, title = part.claim.measure, head(part.claim, part.verdicts, alpha)
        rows = tuple(chip_rows(part.verdicts)) if part.claim.is_judged else ()
        texts = tuple(grade_texts(part.claim, part.verdicts, dials).items()) if part.claim.is_judged else ()
        called = measure if measures.count(measure) < 2 else title
        seen.append(Glance(measure, called, title, part.grade, rows, texts, part.sentence))
    return tuple(seen)


def chip_rows(found: Sequence[Verdict]) -> Iterator[tuple[str, tuple[Chip, ...]]]:
    """The verdicts of a claim as rows of chips, the best first in a row and the worst row first.

    A row has the label of its estimator, or "" where it is of the whole claim and each estimator is one chip.
    A chip is an error type where an estimator has several, else a term where it has several, else an estimator.
    """
    errors, terms = ({(item.estimator, key(item)) for item in found}
                     for key in (attrgetter("error"), attrgetter("term")))  # fmt: skip
    names = {item.estimator for item in found}
    by_error, by_term = len(errors) > len(names), len(terms) > len(names)
    rows: dict[str, dict[tuple[str, str], list[Grade]]] = {}
    for item in found:
        if by_error:
            label = " ".join([item.estimator] * (len(names) > 1) + [item.term] * by_term)
            chip = plain_error(item.error), item.error
        elif by_term:
            label, chip = item.estimator if len(names) > 1 else "", (item.term, "")
        else:
            label, chip = "", (item.estimator, "")
        rows.setdefault(label, {}).setdefault(chip, []).append(item.grade)
    for label, own in rows.items():
        chips = [
            Chip(name, worst_of(grades), key if key.lower() != name.lower() else "")
            for (name, key), grades in own.items()
        ]
        yield label, tuple(sorted(chips, key=lambda chip: chip.grade.rank))


# The tables of the answer: one a claim, the worst row first, a dial of the grid in the columns.


NAMES = ("estimator", "term", "errors", "setting")
PlainNames = tuple[str, str, str, str]
RowOfEntries = tuple[PlainNames, tuple["MarkedNumber", ...]]
MOST_COLUMNS = 7  # values of a dial side by side
UNITS = {
    "bias": "in standard errors",
    "coverage": "in %",
    "size": "rejected, in %",
    "power": "found, in %",
    "screen": "",
}


@dataclass(frozen=True, slots=True)
class MarkedNumber:
    """A number as text and its grade, which is its mark."""

    text: str
    grade: Grade = Grade.STATED

    def marked(self, marks: Mapping[Grade, str]) -> str:
        """The number with a mark, or a blank in its place; what holds has none."""
        return f"{self.text}{marks[self.grade] if self.grade in (Grade.FAILS, Grade.OPEN, Grade.HARMLESS) else ' '}"


@dataclass(frozen=True, slots=True)
class ShortTable:
    """A table: of each row its names, which stand on the left, and its entries.

    heads: of the names, then of the entries. dial: whose values the entries' heads are; "" where they are none.
    first: which row comes first.
    """

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[tuple[str, ...], tuple[MarkedNumber, ...]], ...]
    names: int
    dial: str = ""
    first: str = "the worst"


def short_table(part: ClaimAnswer, dials: Dials, named: Callable[[str], str] = str) -> ShortTable:
    """The table of a claim: rows by verdict, the worst first, and by the dials that are not in the columns.

    named: how the settings of rows call a dial.
    """
    if part.claim.measure == "screen":
        heads: tuple[str, ...] = ("estimator", "setting", "rejects %", "bias, all fits", "bias, passing")
        screens = sorted(part.screens, key=lambda item: -abs(item.passing) if item.passing == item.passing else 0.0)
        numbers = [(written(100 * item.rejects, ".1f"), written(item.bias, ".2f"), written(item.passing, ".2f"))
                   for item in screens]  # fmt: skip
        own = tuple(((item.estimator, setting_text(dials[item.cell], dials, named)), tuple(map(MarkedNumber, texts)))
                    for item, texts in zip(screens, numbers, strict=True))  # fmt: skip
        return ShortTable("Screens; bias in standard errors", heads, own, 2)
    # whether a power is known at several sizes of the effect; else it is a number a cell, like other measures
    sized = any(len(curve.cells) > 1 for _, drawn in part.curves for curve in drawn)
    dial = column_dial(part, dials, sized)
    values = _values(dial, [item.cell for verdict in part.verdicts for item in verdict.cells], dials)
    make = _of_power if sized else _of_verdicts
    rows = list(make(part, dial, values, dials, named))
    first = "the smallest effect" if sized else "the worst"
    title = f"{part.claim.measure.capitalize()} {UNITS[part.claim.measure]}"
    names = [row for row, _ in rows]
    kept = []  # columns of names that tell rows apart; terms and error types only those of one estimator
    for place, name in enumerate(NAMES):
        within = 1 if name in ("term", "errors") else 0
        if len({(row[:within], row[place]) for row in names}) > len({row[:within] for row in names}):
            kept.append(place)
    kept = kept or [0]
    found = ["80% found"] if sized else []
    heads = (*(NAMES[place] for place in kept), *(values or ["largest effect" if sized else "value"]), *found)
    shown = tuple((tuple(row[place] for place in kept), entries) for row, entries in rows)
    return ShortTable(title, heads, shown, len(kept), dial, first)


def column_dial(part: ClaimAnswer, dials: Dials, sized: bool) -> str:
    """The dial whose values are the columns: that of the claim, else the one with most values that fit.

    sized: whether rows are curves over sizes of the effect.
    """
    cells = sorted({item.cell for verdict in part.verdicts for item in verdict.cells})
    counts = {name: len(_values(name, cells, dials)) for name in varying([dials[cell] for cell in cells])}
    dial = (
        next((curve.dial for _, drawn in part.curves for curve in drawn if curve.dial), "")
        if sized
        else part.claim.over
    )
    if 1 < counts.get(dial, 0) <= MOST_COLUMNS:
        return dial
    if sized:  # a row is a curve over sizes, which the values of another dial would mix
        return ""
    fitting = {name: count for name, count in counts.items() if 1 < count <= MOST_COLUMNS}
    return max(fitting, key=lambda name: fitting[name], default="")


def _values(dial: str, cells: Sequence[int], dials: Dials) -> list[str]:
    """The values of a dial over cells, as text; none where there is no dial."""
    return list(dict.fromkeys(dial_value(dials[cell].get(dial)) for cell in sorted(set(cells)))) if dial else []


def _names(verdict: Verdict, setting: str) -> PlainNames:
    return verdict.estimator, verdict.term, plain_error(verdict.error) if verdict.error else "", setting


def _of_verdicts(
    part: ClaimAnswer, dial: str, values: Sequence[str], dials: Dials, named: Callable[[str], str]
) -> Iterator[RowOfEntries]:
    """A row for each verdict and setting of the other dials; within a verdict the worst first."""
    for verdict in part.verdicts:
        by_setting: dict[str, dict[str, Judged]] = {}
        own_dials = [dials[item.cell] for item in verdict.cells]
        for item in verdict.cells:
            rest = {name: value for name, value in dials[item.cell].items() if name != dial}
            own = by_setting.setdefault(setting_text(rest, own_dials, named), {})
            own[dial_value(dials[item.cell].get(dial))] = item

        worst = {setting: max((item.grade.rank, item.departure(verdict.nominal)) for item in cells.values())
                 for setting, cells in by_setting.items()}  # fmt: skip
        for setting in sorted(by_setting, key=worst.__getitem__, reverse=True):
            cells = by_setting[setting]
            columns = values or [dial_value(dials[0].get(dial))]
            yield _names(verdict, setting), tuple(_cell(verdict, cells.get(value)) for value in columns)


def _cell(verdict: Verdict, item: Judged | None) -> MarkedNumber:
    if item is None:
        return MarkedNumber(DASH)
    if verdict.measure == "bias":
        return MarkedNumber(written(item.value, ".2f"), item.grade)
    return MarkedNumber(written(100 * item.value, ".1f"), item.grade)


def _of_power(
    part: ClaimAnswer, dial: str, values: Sequence[str], dials: Dials, named: Callable[[str], str]
) -> Iterator[RowOfEntries]:
    """A row a curve, the smallest detectable effect first."""
    rows = [(verdict, curve) for verdict, drawn in part.curves for curve in drawn]
    for verdict, curve in sorted(rows, key=lambda row: (row[1].beyond, row[1].mde != row[1].mde, row[1].mde)):
        cells, largest = {dial_value(dials[item.cell].get(dial)): item for item in curve.cells}, curve.cells[-1]
        shown = [_cell(verdict, cells.get(value)) for value in values] or [_cell(verdict, largest)]
        rest = {name: value for name, value in dials[largest.cell].items() if name != curve.dial}
        smallest = f"above {abs(largest.row['truth']):.3g}" if curve.beyond else written(curve.mde, ".3g")
        yield _names(verdict, setting_text(rest, dials, named)), (*shown, MarkedNumber(smallest))


def own_tables(table: pd.DataFrame, own: Sequence[str]) -> list[ShortTable]:
    """The measures of the user's own, from the bias table; no table where there are none."""
    rows = table[table["n"] > 0].to_dict("records") if own else []
    if not rows:
        return []
    names = ("estimator", "term", "error", "setting")
    kept = [name for name in names if len({row[name] for row in rows}) > 1] or ["estimator"]
    shown = tuple((tuple(plain_error(row[name]) if name == "error" and row[name] else row[name] for name in kept),
                   tuple(MarkedNumber(own_text(row, name)) for name in own)) for row in rows)  # fmt: skip
    heads = (*(name.replace("error", "errors") for name in kept), *(f"{name} (MCSE)" for name in own))
    return [ShortTable("Your own measures", heads, shown, len(kept), first="the first cells")]
