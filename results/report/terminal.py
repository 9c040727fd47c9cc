"""The bias table on a terminal: a compact table a cell, Monte Carlo errors in brackets beside every diagnosis."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from results.diagnosis.comparison import Comparison
from results.diagnosis.diagnose import Diagnosis
from results.report.facts import NOT_JUDGED, ReportFacts, passing_fits, side_tests
from results.store.store import Store
from results.text import DASH, dial_value, in_columns, setting_text, varying, written
from results.verdict.answer import Answer, ClaimAnswer, answer, missing, worlds_reached
from results.verdict.sentences import Dials, PowersBySize, brief_sentence
from results.verdict.verdicts import Grade, Judged, Verdict
from results.verdict.wording import (
    EXTREMES,
    LEAST_FITS,
    NORMAL,
    TOO_FEW,
    bias_table,
    by_cell,
    departures,
    failures,
    key_terms,
    own_text,
    row_texts,
    settings,
)
from sim.design import null_hypothesis
from sim.errors import listed, visible

# The tables of the short report: one a claim, with the rows that matter, a dial of the grid in its columns.


MOST_COLUMNS = 7  # values of a dial side by side
MARKS = {Grade.FAILS: "!", Grade.OPEN: "?", Grade.HARMLESS: "~", Grade.HOLDS: "", Grade.STATED: ""}
UNITS = {
    "bias": "in standard errors",
    "coverage": "in %",
    "size": "rejected, in %",
    "power": "found, in %",
    "screen": "",
}


@dataclass(frozen=True, slots=True)
class ShortTable:
    """A table as text. names: how many of the first columns are names, on the left. first: which row comes first."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    names: int
    first: str = "the worst"


def short_table(part: ClaimAnswer, dials: Dials) -> ShortTable:
    """The table of a claim: rows by verdict, the worst first, and by the dials that are not in the columns."""
    if part.claim.measure == "screen":
        return _of_screens(part)
    dial = column_dial(part, dials)
    values = _values(dial, [item.cell for verdict in part.verdicts for item in verdict.cells], dials)
    rows = list(_of_power(part, dial, values, dials) if part.curves else _of_verdicts(part, dial, values, dials))
    first = "the smallest effect" if part.curves else "the worst"
    by = f", by {dial}" if dial else ""
    title = f"{part.claim.measure.capitalize()} {UNITS[part.claim.measure]}{by}"
    own = ("estimator", "term", "errors", "setting")
    kept = [place for place in range(len(own)) if _tells(rows, place)] or [0]
    heads = (*(own[place] for place in kept), *(values or ["value"]), *(["80% found"] if part.curves else []))
    shown = tuple((*(row[place] for place in kept), *row[len(own) :]) for row in rows)
    return ShortTable(title, heads, shown, len(kept), first)


def _tells(rows: Sequence[tuple[str, ...]], place: int) -> bool:
    """Whether a column of names tells rows apart; terms and error types only those of one estimator."""
    if place not in (1, 2):
        return len({row[place] for row in rows}) > 1
    return len({(row[0], row[place]) for row in rows}) > len({row[0] for row in rows})


def column_dial(part: ClaimAnswer, dials: Dials) -> str:
    """The dial whose values are the columns: that of the claim, else the one with most values that fit."""
    cells = sorted({item.cell for verdict in part.verdicts for item in verdict.cells})
    counts = {name: len(_values(name, cells, dials)) for name in varying([dials[cell] for cell in cells])}
    if part.curves:
        (_, drawn), *_ = part.curves
        dial = drawn[0].dial if drawn else ""
    else:
        dial = part.claim.over
    if 1 < counts.get(dial, 0) <= MOST_COLUMNS:
        return dial
    fitting = {name: count for name, count in counts.items() if 1 < count <= MOST_COLUMNS}
    return max(fitting, key=lambda name: fitting[name], default="")


def _values(dial: str, cells: Sequence[int], dials: Dials) -> list[str]:
    """The values of a dial over cells, as text; none where there is no dial."""
    return list(dict.fromkeys(dial_value(dials[cell].get(dial)) for cell in sorted(set(cells)))) if dial else []


def _names(verdict: Verdict, setting: str) -> tuple[str, str, str, str]:
    return verdict.estimator, verdict.term, verdict.error, setting


def _of_verdicts(part: ClaimAnswer, dial: str, values: Sequence[str], dials: Dials) -> Iterator[tuple[str, ...]]:
    """A row for each verdict and setting of the other dials; within a verdict the worst first."""
    for verdict in part.verdicts:
        by_setting: dict[str, dict[str, Judged]] = {}
        own_dials = [dials[item.cell] for item in verdict.cells]
        for item in verdict.cells:
            rest = {name: value for name, value in dials[item.cell].items() if name != dial}
            by_setting.setdefault(setting_text(rest, own_dials), {})[dial_value(dials[item.cell].get(dial))] = item

        def badness(cells: Mapping[str, Judged], own: Verdict = verdict) -> tuple[int, float]:
            return max((item.grade.rank, item.departure(own.nominal)) for item in cells.values())

        for setting, cells in sorted(by_setting.items(), key=lambda pair: badness(pair[1]), reverse=True):
            columns = values or [dial_value(dials[0].get(dial))]
            yield *_names(verdict, setting), *(_cell(verdict, cells.get(value)) for value in columns)


def _cell(verdict: Verdict, item: Judged | None) -> str:
    if item is None:
        return f"{DASH} "
    mark = MARKS[item.grade] or " "
    if verdict.measure == "bias":
        return f"{written(item.value, '.2f')}{mark}"
    return f"{written(100 * item.value, '.1f')}{mark}"


def _of_power(part: ClaimAnswer, dial: str, values: Sequence[str], dials: Dials) -> Iterator[tuple[str, ...]]:
    """A row a curve, the smallest detectable effect first."""
    rows = [(verdict, curve) for verdict, drawn in part.curves for curve in drawn]
    for verdict, curve in sorted(rows, key=lambda row: (row[1].beyond, row[1].mde != row[1].mde, row[1].mde)):
        cells = {dial_value(dials[item.cell].get(dial)): item for item in curve.cells}
        shown = [_cell(verdict, cells.get(value)) for value in values] or [_cell(verdict, curve.largest)]
        yield *_names(verdict, curve.setting), *shown, _detectable(curve)


def _detectable(curve: PowersBySize) -> str:
    if curve.beyond:
        return f"above {abs(curve.largest.row['truth']):.3g}"
    return written(curve.mde, ".3g")


def _of_screens(part: ClaimAnswer) -> ShortTable:
    heads = ("estimator", "setting", "rejects %", "bias of all", "bias of fits that pass")
    found = sorted(part.screens, key=lambda item: -abs(item.passing) if item.passing == item.passing else 0.0)
    rows = tuple(
        (item.estimator, item.setting, written(100 * item.rejects, ".1f"), written(item.bias, ".2f"),
         written(item.passing, ".2f"))
        for item in found
    )  # fmt: skip
    return ShortTable("Screens; bias in standard errors", heads, rows, 2)


def own_tables(table: pd.DataFrame, own: Sequence[str]) -> list[ShortTable]:
    """The measures of the user's own, from the bias table; no table where there are none."""
    rows = table[table["n"] > 0].to_dict("records") if own else []
    if not rows:
        return []
    names = ("estimator", "term", "error", "setting")
    kept = [name for name in names if len({row[name] for row in rows}) > 1] or ["estimator"]
    shown = tuple((*(row[name] for name in kept), *(own_text(row, name) for name in own)) for row in rows)
    heads = (*(name.replace("error", "errors") for name in kept), *(f"{name} (MCSE)" for name in own))
    return [ShortTable("Your own measures", heads, shown, len(kept), "the first cells")]


# The short report of a terminal: the question, the answer, and of each claim the rows that matter, on one screen.


MOST_LINES = 58  # of a report; a command may add where its files are
MOST_SAID = 12  # lines of the answer and what is expected
LONG = 4  # lines of a sentence, of which a brief one takes two or three
BRIEF = frozenset({"bias", "coverage", "size"})  # measures that have such sentences
LEAST_ROWS = 2  # of a table; where fewer fit it is left out
AROUND = 3  # lines of a table besides its rows: a blank one, the title and the heads
MARKED = ("Marks: ! fails, ? cannot be told, ~ detectable but too small to matter. Monte Carlo errors are in the full "
          "report.")  # fmt: skip


def print_short(
    diagnosis: Diagnosis, table: pd.DataFrame, found: Answer, head: Sequence[Text], console: Console, command: str,
    facts: ReportFacts | None,
) -> None:  # fmt: skip
    """Print at most `MOST_LINES` lines.

    table: the bias table. head: the lines that name the study and its question. command: what prints the rest.
    """
    width = console.width
    lines = [*_wrapped(head, width), *_answer_lines(found, "" if facts is None else facts.expected, diagnosis, width)]
    tables = [short_table(part, diagnosis.cells) for part in found.claims]
    tables += own_tables(table, diagnosis.own)
    room = MOST_LINES - len(lines) - 1 - len(_wrapped([Text(MARKED), Text(_left_out(99, 99, command))], width))
    counts = shared_out([len(table.rows) for table in tables], room)
    for item, rows in zip(tables, counts, strict=True):
        if rows:
            lines += ["", *_table_lines(item, rows, width)]  # type: ignore[list-item]
    lines += ["", *_closing(tables, counts, command, width)]  # type: ignore[list-item]
    for line in lines[:MOST_LINES]:
        console.print(line, crop=True, no_wrap=True, overflow="crop")


def shared_out(rows: Sequence[int], room: int) -> list[int]:
    """How many rows of each table fit into so many lines: evenly, and none of a table that gets too few."""
    counts = [0] * len(rows)
    for place, many in enumerate(rows):
        least = min(many, LEAST_ROWS)
        if many and room >= least + AROUND:
            counts[place], room = least, room - least - AROUND
    while room > 0 and any(0 < count < many for count, many in zip(counts, rows, strict=True)):
        for place, many in enumerate(rows):
            if room > 0 and 0 < counts[place] < many:
                counts[place] += 1
                room -= 1
    return counts


def _wrapped(items: Sequence[Text], width: int) -> list[Text]:
    lines = []
    for item in items:
        parts = in_columns(item.plain, width) or [""]
        lines += [Text(part, style=item.style) for part in parts]
    return lines


def _answer_lines(found: Answer, expected: str, diagnosis: Diagnosis, width: int) -> list[Text]:
    """Failures, then a sentence a claim, then what a reader must know beside them, and what the study expects.

    Where they are more than `MOST_SAID` lines, long sentences are told in brief, as the tables have their numbers, and
    what is expected gives way to the answer.
    """
    first = [Text(f"- {text}", style="yellow") for text in (found.failures, found.nothing) if text]
    last = [Text(f"- {note}", style="yellow" if place else "") for place, note in enumerate(found.notes)]
    beside = _wrapped([Text(f"Expected: {expected}", style="dim")], width) if expected else []
    said = [Text(f"- {part.sentence}", style="bold") for part in found.claims]
    lines = _wrapped([*first, *said, *last], width)
    if len(lines) + len(beside) <= MOST_SAID:
        return lines + beside
    for place, part in enumerate(found.claims):
        if part.claim.measure in BRIEF and len(_wrapped([said[place]], width)) > LONG:
            said[place] = Text(f"- {brief_sentence(part.claim, part.verdicts, diagnosis.alpha)}", style="bold")
    shorter = _wrapped([*first, *said, *last], width)
    return shorter if len(shorter) < len(lines) else lines + beside


def _table_lines(table: ShortTable, count: int, width: int) -> list[Text]:
    """The title, the heads and the first rows; names are shortened where the width asks for it."""
    rows = table.rows[:count]
    widths = [max(len(row[place]) for row in (table.heads, *rows)) for place in range(len(table.heads))]
    spare = sum(widths) + 2 * (len(widths) - 1) - width
    for place in sorted(range(table.names), key=lambda place: -widths[place]):
        cut = min(max(spare, 0), max(widths[place] - 12, 0))
        widths[place], spare = widths[place] - cut, spare - cut
    of = f" ({count} of {len(table.rows)} rows, {table.first} first)" if count < len(table.rows) else ""

    def line(row: Sequence[str]) -> str:
        cells = [_fitted(text, wide, left=place < table.names)
                 for place, (text, wide) in enumerate(zip(row, widths, strict=True))]  # fmt: skip
        return "  ".join(cells).rstrip()

    return [Text(f"{table.title}{of}", style="bold"), Text(line(table.heads), style="dim"),
            *(Text(line(row)) for row in rows)]  # fmt: skip


def _fitted(text: str, wide: int, *, left: bool) -> str:
    text = text if len(text) <= wide else f"{text[: wide - 2]}.."
    return text.ljust(wide) if left else text.rjust(wide)


def _closing(tables: Sequence[ShortTable], counts: Sequence[int], command: str, width: int) -> list[Text]:
    """What marks mean and what is left out, with the command that shows it."""
    rows = sum(len(table.rows) - count for table, count in zip(tables, counts, strict=True) if count)
    gone = sum(not count for count in counts)
    marks = [Text(MARKED, style="dim")] if any(counts) else []
    return _wrapped([*marks, Text(_left_out(rows, gone, command), style="dim")], width)


def _left_out(rows: int, tables: int, command: str) -> str:
    parts = [f"{count} {name}{'s' * (count != 1)}" for count, name in ((rows, "row"), (tables, "table")) if count]
    what = f"{' and '.join(parts)} of this page, and " if parts else ""
    return f"Left out: {what}all measures of every cell; `{command}` prints them."


def replications_of(table: pd.DataFrame) -> str:
    """How many replications the cells have, in words."""
    attempted = table["attempted"].dropna()
    count = "no" if attempted.empty else f"{int(attempted.min()):,}"
    if not attempted.empty and attempted.min() != attempted.max():
        count += f" to {int(attempted.max()):,}"
    return f"{count} replication{'s' * (count != '1')}"


PLAIN_WIDTH = 120  # of output that is not a terminal
# Column heads, in order; `SPARED` go first where the terminal is narrow (truth + bias gives the mean).
HEADS = ("estimator", "term", "truth", "mean", "bias (MCSE)", "emp. SE", "worlds %", "errors", "mean SE",
         "cover % (MCSE)", "reject % (MCSE)", "fits")  # fmt: skip
SPARED = ("mean", "emp. SE", "truth", "mean SE", "worlds %")
BETWEEN = "Worlds %: the share of the variance of estimate minus truth that lies between worlds."
FULL = "panelproof report STORE --full"
SHORT = {"cover % (MCSE)": "cover %", "reject % (MCSE)": "reject %"}


class NamesConsole(Console):
    """A terminal on which names of a store are text: what they hold moves no cursor and changes no colour."""

    def render(self, renderable: Any, options: Any = None) -> Iterator[Segment]:
        """What is printed, in pieces, without control characters but those of rich."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))


def print_bias_table(
    diagnosis: Diagnosis, console: Console, facts: ReportFacts | None = None, *, all_terms: bool = False,
    full: bool = False, command: str = FULL, titled: bool = True,
) -> None:  # fmt: skip
    """Print the answer with the rows that matter on one screen, or with `full` or `all_terms` everything.

    all_terms: controls too. command: what prints everything, for the line that says what is left out. titled: the
    study's name and question stand first; not where they were printed already.
    """
    table = bias_table(diagnosis, all_terms=all_terms)
    found, head = answer(diagnosis, table), list(_head(diagnosis, table, facts))[not titled and facts is not None :]
    own_width = console.width
    if not console.is_terminal:
        console.width = max(own_width, PLAIN_WIDTH)
    try:
        if full or all_terms:
            _print_all(diagnosis, table, found, head, console, facts)
        else:
            print_short(diagnosis, table, found, head, console, command, facts)
    finally:
        console.width = own_width


def _print_all(diagnosis: Diagnosis, table: pd.DataFrame, found: Answer, head: Sequence[Text], console: Console,
               facts: ReportFacts | None) -> None:  # fmt: skip
    for line in head:
        _print(console, line)
    for sentence in (*found.sentences, *found.notes):
        style = "yellow" if sentence == found.failures or sentence in found.notes[1:] else ""
        _print(console, Text("\n".join(in_columns(f"- {sentence}", console.width, at_hyphens=True)), style=style))
    if facts is not None and facts.expected:
        _print(console, Text(f"Expected: {facts.expected}"))
    cells = by_cell(table, len(diagnosis.cells))
    whole, lines = [_whole(rows) for rows in cells], [_lines(rows, diagnosis.alpha, diagnosis.own) for rows in cells]
    heads = _heads([cell for cell in lines if cell], all(whole), console, diagnosis.own)
    remarks = _remarks(diagnosis)
    for cell, (name, rows) in enumerate(zip(settings(diagnosis), cells, strict=True)):
        title = Text(name, style="bold")
        if rows.empty:
            console.print(title, Text("  no finished replications", style="dim"), sep="")
            continue
        if whole[cell]:
            note = f"{int(rows['attempted'].iloc[0]):,} fits, all usable"
            title.append(f"  ({note})" if title.plain else f"({note})", style="not bold dim")
        console.print()
        if title.plain:
            _print(console, title)
        _print(console, _table(lines[cell], heads))
        for line in remarks.get(cell, ()):
            _print(console, line)
    _print_legend(diagnosis, table, console)


def _remarks(diagnosis: Diagnosis) -> dict[int, list[Text]]:
    """By cell what stands under its table: fits that failed, tests beside the terms, the fits that pass."""
    found: dict[int, list[Text]] = {}
    for cell, one, count, attempted, reasons in failures(diagnosis):
        line = f"  {one}: {count:,} of {attempted:,} fits failed: {reasons}"
        found.setdefault(cell, []).append(Text(line, style="yellow"))
    tests: dict[tuple[int, str], list[str]] = {}
    for cell, one, test, rejects in side_tests(diagnosis):
        tests.setdefault((cell, one), []).append(f"{test} {rejects}")
    for (cell, one), shares in tests.items():
        found.setdefault(cell, []).append(Text(f"  {one}: rejects % (MCSE) by {', '.join(shares)}"))
    for cell, one, sentence in passing_fits(diagnosis):
        found.setdefault(cell, []).append(Text(f"  {one}: {sentence}"))
    return found


def _whole(rows: pd.DataFrame) -> bool:
    """Whether all fits of a cell succeeded, and none lacks a number; true of a cell without rows."""
    if rows.empty:
        return True
    return bool((rows["n"] == rows["attempted"]).all()) and rows["attempted"].nunique() == 1 and not any(missing(rows))


def _print(console: Console, item: Text | Table) -> None:
    console.print(item, crop=False, overflow="fold")


def _head(diagnosis: Diagnosis, table: pd.DataFrame, facts: ReportFacts | None) -> Iterator[Text]:
    """The study, its question, its size, and what makes its numbers doubtful as a whole."""
    cells, size = len(diagnosis.cells), replications_of(table)
    size = f"{cells} cells, {size} each" if cells > 1 else size
    if facts is None:
        yield Text(size)
        return
    yield Text(f"{facts.study}: {facts.question}" if facts.question else facts.study, style="bold")
    kind = "Synthetic data" if facts.synthetic else "Re-randomised real data"
    seed = "" if facts.seed is None else f", seed {facts.seed}"
    yield Text(f"{kind}, {size}{seed}", style="dim")
    if facts.stopped:
        yield Text(facts.stopped[:1].upper() + facts.stopped[1:], style="dim")
    for line in facts.warnings:
        yield Text(line, style="yellow")


def _print_legend(diagnosis: Diagnosis, table: pd.DataFrame, console: Console) -> None:
    console.print()
    for line in _legend(diagnosis, table):
        _print(console, Text(line, style="dim"))


def _legend(diagnosis: Diagnosis, table: pd.DataFrame) -> Iterator[str]:
    yield (
        "Bias is the mean of estimate minus the truth of its own draw. Monte Carlo standard errors (MCSE) are in "
        "brackets."
    )
    if any(table[name].isin([0.0, 1.0]).any() for name in ("coverage", "rejection")):
        yield EXTREMES
    if diagnosis.normal:
        yield NORMAL
    worlds = worlds_reached(diagnosis)
    if worlds > 1:
        yield BETWEEN
    yield f"! marks {departures(diagnosis.alpha, worlds)}"
    if side_tests(diagnosis):
        yield NOT_JUDGED
    if (table["n"] < LEAST_FITS).any():
        yield f"{TOO_FEW} where there are fewer than {LEAST_FITS} usable fits; nothing is marked there."
    tests = table[table["tests"]]
    if not tests.empty:
        nulls = dict(zip(tests["term"], map(null_hypothesis, tests["estimand"]), strict=True))
        listed = ", ".join(f"{term} tests {null}" for term, null in nulls.items())
        yield (
            f"Test statistics have no bias ({listed}). Truth 0: the null hypothesis is true. Mean: the mean of "
            "the statistic."
        )
    if table["bias"].isna().any():
        yield f"{DASH} marks what is not defined: the bias of a term without a truth, or a measure without fits."
    if (diagnosis.frame["sample"] == "common").any():
        yield "Some fits failed; measures on the draws where all estimators succeeded are in the HTML and JSON reports."


def _heads(lines: list[list[dict[str, Text]]], whole: bool, console: Console, own: tuple[str, ...]) -> list[str]:
    """The most columns with which the width holds the tables of all cells; `whole` where every fit is usable.

    own: measures of the user's own, whose columns stand before the number of fits.
    """
    every = [*HEADS[:-1], *(f"{name} (MCSE)" for name in own), HEADS[-1]]
    left_out = {"fits"} if whole else set()
    if all(line["worlds %"].plain == DASH for cell in lines for line in cell if "worlds %" in line):
        left_out.add("worlds %")
    wide = console.options.update(width=1000)
    heads = every
    for spared in ("", *SPARED):
        left_out.add(spared)
        heads = [head for head in every if head not in left_out]
        if all(console.measure(_table(cell, heads), options=wide).maximum <= console.width for cell in lines):
            break
    return heads


def _table(lines: list[dict[str, Text]], heads: list[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False, header_style="bold")
    left = {"estimator", "term", "errors"}
    for head in heads:
        table.add_column(SHORT.get(head, head), justify="left" if head in left else "right", no_wrap=True)
    for line in lines:
        table.add_row(*(line.get(head, Text()) for head in heads), end_section=False)
    return table


def _lines(rows: pd.DataFrame, alpha: float, own: tuple[str, ...]) -> list[dict[str, Text]]:
    """Cells of the table by head; what repeats from the line above is left blank."""
    lines = []
    above: tuple[str, str] = ("", "")
    for row in rows.to_dict("records"):
        texts = row_texts(row, alpha)
        line = {
            "errors": Text(row["error"]),
            "mean SE": Text(texts["mean_se"]),
            "cover % (MCSE)": _flagged(texts, "coverage"),
            "reject % (MCSE)": _flagged(texts, "rejection"),
        }
        line |= {f"{name} (MCSE)": Text(own_text(row, name)) for name in own}
        if (row["estimator"], row["term"]) != above:
            line |= {
                "term": Text(row["term"]),
                "truth": Text(texts["truth"]),
                "mean": Text(texts["mean"]),
                "bias (MCSE)": _flagged(texts, "bias"),
                "emp. SE": Text(texts["spread"]),
                "worlds %": Text(texts["between_worlds"].partition(" (")[0]),
                "fits": Text(texts["fits"], style="" if row["n"] == row["attempted"] else "yellow"),
            }
            if row["estimator"] != above[0]:
                line["estimator"] = Text(row["estimator"], style="bold")
        above = row["estimator"], row["term"]
        lines.append(line)
    return lines


def _flagged(texts: Mapping[str, Any], name: str) -> Text:
    """A measure with a trailing mark or a blank, so that numbers stay aligned."""
    return Text(f"{texts[name]}!", style="bold red") if name in texts["flags"] else Text(f"{texts[name]} ")


# What two stores say of the same things, as the terminal prints it.


FAR = 4.0  # Monte Carlo errors by which a difference is marked
MOST_ROWS = 60  # of a table without --all
WORDS = {"estimate": "mean estimate", "mean_se": "mean SE"}


def print_comparison(found: Comparison, a: Store, b: Store, console: Console, *, everything: bool = False) -> None:
    """Print which cells are paired, what one store lacks, and a table of differences.

    everything: all terms and rows; without it the terms a reader looks at first, and only marked rows of a long table.
    """
    for line in sentences(found):
        console.print(line, markup=False, soft_wrap=True)
    table = found.frame if everything else shown(found.frame, a)
    marked = table[far(table)]
    rows = marked if len(table) > MOST_ROWS and not everything else table
    for position in sorted(set(rows["cell"])):
        pair = found.cells[position]
        name = ", ".join(f"{dial} = {value}" for dial, value in a.cells[pair.a].items()) or "the only cell"
        console.print(Text(f"\n{name}", style="bold"), Text(" (unpaired)" if pair.why else " (paired)"), sep="")
        console.print(_table_of_difference(rows[rows["cell"] == position]))
    same = int((table["difference"] == 0).sum())
    console.print(f"\n{len(table):,} numbers: {same:,} are equal, {len(marked):,} differ by more than {FAR:g} Monte "
                  f"Carlo errors (!){'; --all shows the others too' if rows is not table else ''}.", markup=False,
                  soft_wrap=True)  # fmt: skip


def shown(frame: pd.DataFrame, a: Store) -> pd.DataFrame:
    """The rows of terms that a reader looks at first; the mean estimate only where there is no bias."""
    key = {(name, term) for name, layout in a.layouts.items() for term in key_terms(layout)}
    place = ["cell", "estimator", "term"]
    known = set(map(tuple, frame.loc[frame["measure"] == "bias", place].values.tolist()))
    rows = [
        (row["estimator"], row["term"]) in key
        and not (row["measure"] == "estimate" and (row["cell"], row["estimator"], row["term"]) in known)
        for row in frame.to_dict("records")
    ]
    return frame[pd.Series(rows, index=frame.index, dtype=bool)]


def far(frame: pd.DataFrame) -> pd.Series:
    """Whether a difference is larger than `FAR` Monte Carlo errors, or exact and not 0."""
    return (frame["difference"].abs() > FAR * frame["mcse"].fillna(math.inf)) & (frame["difference"] != 0)


def sentences(found: Comparison) -> Iterator[str]:
    """How many cells are paired, why others are not, and what one store lacks."""
    paired = sum(not pair.why for pair in found.cells)
    if paired:
        yield f"{_cells(paired)} paired: the draws are common, so B - A is taken replication by replication"
    for why, count in Counter(pair.why for pair in found.cells if pair.why).items():
        yield f"{_cells(count)} unpaired: {why}"
    for side, lacking in (("A", found.only_a), ("B", found.only_b)):
        if lacking:
            yield f"only in {side}: {listed(lacking)}"


def comparison_json(found: Comparison, a: Store, b: Store) -> str:
    """All of it as one JSON document (NaN as null)."""
    cells = [{"a": pair.a, "b": pair.b, "parameters": dict(a.cells[pair.a]), "paired": not pair.why, "why": pair.why}
             for pair in found.cells]  # fmt: skip
    rows = json.loads(found.frame.to_json(orient="records", double_precision=15))
    return json.dumps({"a": a.fingerprint, "b": b.fingerprint, "cells": cells, "rows": rows,
                       "only_a": list(found.only_a), "only_b": list(found.only_b)}, ensure_ascii=False)  # fmt: skip


def _cells(count: int) -> str:
    return f"{count:,} cell{'s are' if count != 1 else ' is'}"


def _table_of_difference(rows: pd.DataFrame) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("estimator", "term", "errors", "measure", "A", "B", "B - A (MCSE)", "fits A, B"):
        table.add_column(heading, justify="left" if heading in {"estimator", "term", "errors", "measure"} else "right")
    marks = far(rows).tolist()
    for row, mark in zip(rows.to_dict("records"), marks, strict=True):
        name = WORDS.get(str(row["measure"]), str(row["measure"]))
        numbers = [_number(float(row[key])) for key in ("a", "b", "difference", "mcse")]
        change = "0 (same)" if row["difference"] == 0 and row["mcse"] == 0 else f"{numbers[2]} ({numbers[3]})"
        texts = [str(row["estimator"]), str(row["term"]), str(row["error"]), name, numbers[0], numbers[1],
                 change + "!" * bool(mark), f"{row['n_a']:,}, {row['n_b']:,}"]  # fmt: skip
        table.add_row(*map(Text, texts))
    return table


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3g}"
