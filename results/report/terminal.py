"""The bias table on a terminal: a compact table a cell, Monte Carlo errors in brackets beside every diagnosis."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from results.diagnosis.comparison import Comparison
from results.diagnosis.diagnose import Diagnosis
from results.report.grids import (
    BRIEFLY,
    DOT,
    MARKS,
    NOT_JUDGED,
    PLAIN_DOT,
    PLAIN_MARKS,
    ReportFacts,
    ShortTable,
    glances,
    own_tables,
    passing_fits,
    short_table,
    side_tests,
)
from results.store.store import Store
from results.text import DASH, PLAIN_DIALS, in_columns, last_part, plain_dial, plain_error, varying
from results.verdict.answer import Answer, answer, by_estimator, missing, worlds_reached
from results.verdict.verdicts import (
    EXTREMES,
    LEAST_FITS,
    NORMAL,
    TOO_FEW,
    Grade,
    bias_table,
    clear,
    departures,
    failures,
    key_terms,
    own_text,
    row_texts,
    settings,
)
from sim.design import null_hypothesis
from sim.errors import amount, listed
from sim.streams import world_of

# The short report of a terminal: the question, the answer, and of each claim the rows that matter, on one screen.


MOST_LINES = 58  # of a report; a command may add where its files are
MOST_SAID = 12  # lines of the answer and what is expected
MOST_CHIP_ROWS = 4  # of a claim; where there are more they are counted, and the table has them
UNBROKEN = "\N{NO-BREAK SPACE}"  # in a name, at which no line is broken
LEAST_ROWS = 2  # of a table; where fewer fit it is left out
AROUND = 3  # lines of a table besides its rows: a blank one, the title and the heads
NARROW = 100  # letters, below which a title may take two lines

Marks = Mapping[Grade, str]


def print_short(
    diagnosis: Diagnosis, table: pd.DataFrame, found: Answer, head: Sequence[Text], console: Console, command: str,
    facts: ReportFacts | None,
) -> None:  # fmt: skip
    """Print at most `MOST_LINES` lines.

    table: the bias table. head: the lines that name the study and its question. command: what prints the rest.
    """
    # the marks that the terminal can show, and what stands between chips
    marks, between = (PLAIN_MARKS, PLAIN_DOT) if console.options.ascii_only else (MARKS, DOT)
    width = console.width
    said = _claim_lines(found, diagnosis, marks, between, width)

    # failures, then the claims, then what a reader must know beside them, and what the study expects, where it has room
    first = [Text(f"- {text}", style="yellow") for text in (found.failures, found.nothing) if text]
    last = [Text(f"- {note}", style="yellow" if place else "") for place, note in enumerate(found.notes)]
    lines = [*_wrapped(first, width), *said, *_wrapped(last, width)]
    if facts is not None and facts.expected:
        beside = _wrapped([Text(f"Expected: {facts.expected}", style="dim")], width)
        lines += beside if len(lines) + len(beside) <= MOST_SAID else []
    lines = [*_wrapped(head, width), *lines]

    names = varying(diagnosis.cells)
    named = partial(last_part, names=names) if width < NARROW else str
    tables = [short_table(part, diagnosis.cells, named) for part in found.claims]
    tables += own_tables(table, diagnosis.own)

    legend = ", ".join(f"{marks[grade]} {words}" for grade, words in BRIEFLY.items())
    legend = f"Marks: {legend}; Monte Carlo errors are in --full."
    in_words = [f"{name}: {plain_dial(name)}" for name in names if name in PLAIN_DIALS]
    closing = [legend, f"Dials in words: {'; '.join(in_words)}." * bool(in_words), _left_out(99, 99, command)]
    room = MOST_LINES - len(lines) - 1 - len(_wrapped(map(Text, closing), width))
    counts = shared_out([len(table.rows) for table in tables], room, AROUND + (width < NARROW))
    for item, rows in zip(tables, counts, strict=True):
        if rows:
            lines += ["", *_table_lines(item, rows, width, marks)]  # type: ignore[list-item]
    closing[-1] = _left_out_of(tables, counts, command)
    shown = [Text(text, style="dim") for text in closing[0 if any(counts) else -1 :] if text]
    lines += ["", *_wrapped(shown, width)]  # type: ignore[list-item]
    for line in lines[:MOST_LINES]:
        console.print(line, crop=True, no_wrap=True, overflow="crop")


def shared_out(rows: Sequence[int], room: int, around: int = AROUND) -> list[int]:
    """How many rows of each table fit into so many lines: evenly, and none of a table that gets too few.

    around: lines of a table besides its rows.
    """
    counts = [0] * len(rows)
    for place, many in enumerate(rows):
        least = min(many, LEAST_ROWS)
        if many and room >= least + around:
            counts[place], room = least, room - least - around
    while room > 0 and any(0 < count < many for count, many in zip(counts, rows, strict=True)):
        for place, many in enumerate(rows):
            if room > 0 and 0 < counts[place] < many:
                counts[place] += 1
                room -= 1
    return counts


def _wrapped(items: Iterable[Text], width: int, indent: str = "  ") -> list[Text]:
    lines = []
    for item in items:
        parts = in_columns(item.plain, width, rest=indent) or [""]
        lines += [Text(part.replace(UNBROKEN, " "), style=item.style) for part in parts]
    return lines


def _claim_lines(found: Answer, diagnosis: Diagnosis, marks: Marks, between: str, width: int) -> list[Text]:
    """Of each claim its chips and what its marks come to; of one that is only stated its sentence."""
    lines = []
    for item in glances(found, diagnosis.cells, diagnosis.alpha):
        if not item.rows:
            lines += _wrapped([Text(f"- {item.sentence}", style="bold")], width)
            continue
        rows = []
        for label, own in item.rows:
            chips = (f"{chip.name} {marks[chip.grade]}".rstrip().replace(" ", UNBROKEN) for chip in own)
            rows.append(f"{label}: " * bool(label) + between.join(chips))
        if len(rows) > MOST_CHIP_ROWS:
            counts = between.join(f"{marks[grade]} {count:,}" for grade, count in item.counts.items())
            rows = [f"{counts} of {sum(item.counts.values()):,}"]
        one = f"- {item.title}: {rows[0]}"
        shown = [one] if len(rows) == 1 and len(one) <= width else [f"- {item.title}:", *(f"  {row}" for row in rows)]
        texts = "; ".join(f"{marks[grade]} {BRIEFLY[grade]}{text and f': {text}'}" for grade, text in item.texts)
        for row in shown:
            lines += _wrapped([Text(row, style="bold")], width, "    ")
        lines += _wrapped([Text(f"  {texts}")], width)
    return lines


def _table_lines(table: ShortTable, count: int, width: int, marks: Marks) -> list[Text]:
    """The title, the heads and the first rows; names are shortened where the width asks for it."""
    rows = [(*names, *(entry.marked(marks) for entry in entries)) for names, entries in table.rows[:count]]
    widths = [max(len(row[place]) for row in (table.heads, *rows)) for place in range(len(table.heads))]
    spare = sum(widths) + 2 * (len(widths) - 1) - width
    for place in sorted(range(table.names), key=lambda place: -widths[place]):
        cut = min(max(spare, 0), max(widths[place] - 12, 0))
        widths[place], spare = widths[place] - cut, spare - cut
    of = f" ({count} of {len(table.rows)} rows, {table.first} first)" if count < len(table.rows) else ""
    by = f", by {plain_dial(table.dial)}" if table.dial else ""
    by += f" ({table.dial})" if table.dial in PLAIN_DIALS else ""

    def line(row: Sequence[str]) -> str:
        cells = [text if len(text) <= wide else f"{text[: wide - 2]}.." for text, wide in zip(row, widths, strict=True)]
        names = [text.ljust(wide) for text, wide in zip(cells, widths[: table.names], strict=False)]
        numbers = [text.rjust(wide) for text, wide in zip(cells, widths, strict=True)][table.names :]
        return "  ".join([*names, *numbers]).rstrip()

    return [*_wrapped([Text(f"{table.title}{by}{of}", style="bold")], width), Text(line(table.heads), style="dim"),
            *(Text(line(row)) for row in rows)]  # fmt: skip


def _left_out_of(tables: Sequence[ShortTable], counts: Sequence[int], command: str) -> str:
    """What of some tables is left out, and the command that shows it."""
    rows = sum(len(table.rows) - count for table, count in zip(tables, counts, strict=True) if count)
    return _left_out(rows, sum(not count for count in counts), command)


def _left_out(rows: int, tables: int, command: str) -> str:
    parts = [amount(count, name) for count, name in ((rows, "row"), (tables, "table")) if count]
    what = f"{' and '.join(parts)} of this page, and " if parts else ""
    return f"Left out: {what}all measures of every cell; `{command}` prints them."


PLAIN_WIDTH = 120  # of output that is not a terminal
# Column heads, in order; `SPARED` go first where the terminal is narrow (truth + bias gives the mean).
HEADS = ("estimator", "term", "truth", "mean", "bias (MCSE)", "emp. SE", "worlds %", "errors", "mean SE",
         "cover % (MCSE)", "reject % (MCSE)", "fits")  # fmt: skip
SPARED = ("mean", "emp. SE", "truth", "mean SE", "worlds %")
BETWEEN = "Worlds %: the share of the variance of estimate minus truth that lies between worlds."
FULL = "panelproof report STORE --full"
SHORT = {"cover % (MCSE)": "cover %", "reject % (MCSE)": "reject %"}


def print_bias_table(
    diagnosis: Diagnosis, console: Console, facts: ReportFacts | None = None, *, all_terms: bool = False,
    full: bool = False, command: str = FULL, titled: bool = True,
) -> None:  # fmt: skip
    """Print the answer with the rows that matter on one screen, or with `full` or `all_terms` everything.

    all_terms: controls too. command: what prints everything, for the line that says what is left out. titled: the
    study's name and question stand first; not where they were printed already.
    """
    table = bias_table(diagnosis, all_terms=all_terms)
    raised = facts.raised if facts is not None else ()
    found, head = answer(diagnosis, table), list(_head(diagnosis, table, facts))[not titled and facts is not None :]
    found = replace(found, failures=" ".join([found.failures, *raised])) if found.failures else found
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
    show = partial(console.print, crop=False, overflow="fold")
    for line in head:
        show(line)
    for sentence in (*found.sentences, *found.notes):
        style = "yellow" if sentence == found.failures or sentence in found.notes[1:] else ""
        show(Text("\n".join(in_columns(f"- {sentence}", console.width, at_hyphens=True)), style=style))
    if facts is not None and facts.expected:
        show(Text(f"Expected: {facts.expected}"))
    by_cell = dict(list(table.groupby("cell")))
    cells = [by_cell.get(cell, table.iloc[:0]) for cell in range(len(diagnosis.cells))]
    # whether all fits of a cell succeeded, and none lacks a number; so it is said of a cell without rows
    whole = [rows.empty or (bool((rows["n"] == rows["attempted"]).all()) and rows["attempted"].nunique() == 1
                            and not any(missing(by_estimator(rows)))) for rows in cells]  # fmt: skip
    lines = [_lines(rows, diagnosis.alpha, diagnosis.own) for rows in cells]
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
            show(title)
        show(_table(lines[cell], heads))
        for line in remarks.get(cell, ()):
            show(line)
    console.print()
    for text in _legend(diagnosis, table):
        show(Text(text, style="dim"))


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


def _head(diagnosis: Diagnosis, table: pd.DataFrame, facts: ReportFacts | None) -> Iterator[Text]:
    """The study, its question, its size, and what makes its numbers doubtful as a whole."""
    attempted = table["attempted"].dropna()
    count = "no" if attempted.empty else f"{int(attempted.min()):,}"
    if not attempted.empty and attempted.min() != attempted.max():
        count += f" to {int(attempted.max()):,}"
    cells, size = len(diagnosis.cells), f"{count} replication{'s' * (count != '1')}"
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
            "errors": Text(plain_error(row["error"]) if row["error"] else ""),
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


MOST_ROWS = 60  # of a table without --all
WORDS = {"estimate": "mean estimate", "mean_se": "mean SE"}


def print_comparison(found: Comparison, a: Store, b: Store, console: Console, *, everything: bool = False) -> None:
    """Print which cells are paired, what one store lacks, and a table of differences.

    everything: all terms and rows; without it the terms a reader looks at first, and only marked rows of a long table.
    """
    # how many cells are paired, why others are not, and what one store lacks
    paired = "paired: the draws are common, so B - A is taken replication by replication"
    whys = Counter(f"unpaired: {pair.why}" if pair.why else paired for pair in found.cells)
    lines = [f"{count:,} cell{'s are' if count != 1 else ' is'} {why}"
             for why, count in sorted(whys.items(), key=lambda item: item[0] != paired)]  # fmt: skip
    lines += [f"only in {side}: {listed(lacking)}" for side, lacking in (("A", found.only_a), ("B", found.only_b))
              if lacking]  # fmt: skip
    for line in lines:
        console.print(line, markup=False)

    table = found.frame if everything else key_rows(found.frame, a)
    finished = [np.repeat(one.there.any(axis=0), one.block)[: one.replications] for one in (a, b)]
    reached = [np.unique(world_of(np.flatnonzero(finished[k]), one.worlds)).size for k, one in enumerate((a, b))]
    errors = clear(min((worlds for worlds in reached if worlds > 1), default=1))
    marked = table[far(table, errors)]
    rows = marked if len(table) > MOST_ROWS and not everything else table
    for position in sorted(set(rows["cell"])):
        pair = found.cells[position]
        name = ", ".join(f"{dial} = {value}" for dial, value in a.cells[pair.a].items()) or "the only cell"
        console.print(Text(f"\n{name}", style="bold"), Text(" (unpaired)" if pair.why else " (paired)"), sep="")
        for estimator, own in rows[rows["cell"] == position].groupby("estimator", sort=False):
            console.print(Text(str(estimator)), _table_of_difference(own, errors, console.width), sep="\n")
    same = int((table["difference"] == 0).sum())
    many = f"{errors:,.1f}".removesuffix(".0")
    console.print(f"\n{amount(len(table), 'number')}: {same:,} are equal, {len(marked):,} differ by more than {many} "
                  f"Monte Carlo errors (!){'; --all shows the others too' if rows is not table else ''}.", markup=False,
                  soft_wrap=True)  # fmt: skip


def key_rows(frame: pd.DataFrame, a: Store) -> pd.DataFrame:
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


def far(frame: pd.DataFrame, errors: float) -> pd.Series:
    """Whether a difference is larger than so many Monte Carlo errors, or exact and not 0."""
    return (frame["difference"].abs() > errors * frame["mcse"].fillna(math.inf)) & (frame["difference"] != 0)


def comparison_json(found: Comparison, a: Store, b: Store) -> str:
    """All of it as one JSON document (NaN as null)."""
    cells = [{"a": pair.a, "b": pair.b, "parameters": dict(a.cells[pair.a]), "paired": not pair.why, "why": pair.why}
             for pair in found.cells]  # fmt: skip
    return json.dumps({"a": a.fingerprint, "b": b.fingerprint, "cells": cells, "rows": json_rows(found.frame),
                       "only_a": list(found.only_a), "only_b": list(found.only_b)}, ensure_ascii=False)  # fmt: skip


def json_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame with all digits of their numbers, in any units; None for what is no finite number."""
    found: list[dict[str, Any]] = json.loads(json.dumps(frame.to_dict("records")), parse_constant=lambda _: None)
    return found


def _table_of_difference(rows: pd.DataFrame, errors: float, room: int) -> Table:
    """Of one estimator; where there is little room names break anywhere, and other cells between their words."""
    marks = far(rows, errors).tolist()
    cells = [["term", "errors", "measure", "A", "B", "B - A (MCSE)", "fits A, B"]]
    for row, mark in zip(rows.to_dict("records"), marks, strict=True):
        name = WORDS.get(str(row["measure"]), str(row["measure"]))
        numbers = ["-" if math.isnan(row[key]) else f"{row[key]:.3g}" for key in ("a", "b", "difference", "mcse")]
        change = "0 (same)" if row["difference"] == 0 and row["mcse"] == 0 else f"{numbers[2]} ({numbers[3]})"
        cells.append([str(row["term"]), str(row["error"]), name, numbers[0], numbers[1],
                      change + "!" * bool(mark), f"{row['n_a']:,}, {row['n_b']:,}"])  # fmt: skip
    columns = list(zip(*cells, strict=True))
    widths = [max(map(cell_len, column)) for column in columns]
    for place in (2, 6, 5):
        if sum(widths) + len(widths) - 1 > room:
            widths[place] = max(cell_len(word) for text in columns[place] for word in text.split())
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for place, column in enumerate(columns):
        width = widths[place] if place > 1 else None
        table.add_column(column[0], justify="left" if place < 3 else "right", overflow="fold", width=width)
    for texts in cells[1:]:
        table.add_row(*map(Text, texts))
    return table
