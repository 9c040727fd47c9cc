"""The bias table on a terminal: a compact table a cell, Monte Carlo errors in brackets beside every diagnosis."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from textwrap import fill
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from results.diagnosis.diagnose import Diagnosis
from results.report.answer import Answer, answer
from results.report.beside import NOT_JUDGED, passing_fits, side_tests
from results.report.bias_table import bias_table, by_cell, failures, settings
from results.report.facts import ReportFacts
from results.report.notices import missing
from results.report.numbers import (
    DASH,
    EXTREMES,
    LEAST_FITS,
    TOO_FEW,
    bracketed,
    departures,
    fixed,
    has_test,
    is_biased,
    is_off,
    is_wrong_size,
    number,
    own_text,
    percent,
    truth_text,
)
from results.report.short import print_short, replications_of
from results.report.worlds import worlds_reached
from sim.errors import visible
from sim.estimands import null_hypothesis

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
    full: bool = False, command: str = FULL,
) -> None:  # fmt: skip
    """Print the answer with the rows that matter on one screen, or with `full` or `all_terms` everything.

    all_terms: controls too. command: what prints everything, for the line that says what is left out.
    """
    table = bias_table(diagnosis, all_terms=all_terms)
    found = answer(diagnosis, table)
    own_width = console.width
    if not console.is_terminal:
        console.width = max(own_width, PLAIN_WIDTH)
    try:
        if full or all_terms:
            _print_all(diagnosis, table, found, console, facts)
        else:
            print_short(diagnosis, table, found, list(_head(diagnosis, table, facts)), console, command, facts)
    finally:
        console.width = own_width


def _print_all(
    diagnosis: Diagnosis, table: pd.DataFrame, found: Answer, console: Console, facts: ReportFacts | None
) -> None:
    for line in _head(diagnosis, table, facts):
        _print(console, line)
    for sentence in (*found.sentences, *found.notes):
        style = "yellow" if sentence == found.failures or sentence in found.notes[1:] else ""
        _print(console, Text(fill(f"- {sentence}", console.width, subsequent_indent="  "), style=style))
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
    for test in side_tests(diagnosis):
        tests.setdefault((test.cell, test.estimator), []).append(f"{test.test} {test.rejects}")
    for (cell, one), shares in tests.items():
        found.setdefault(cell, []).append(Text(f"  {one}: rejects % (MCSE) by {', '.join(shares)}"))
    for item in passing_fits(diagnosis):
        found.setdefault(item.cell, []).append(Text(f"  {item.estimator}: {item.sentence}"))
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
        line = _by_error(row, alpha) | {f"{name} (MCSE)": Text(own_text(row, name)) for name in own}
        if (row["estimator"], row["term"]) != above:
            line |= _by_term(row)
            if row["estimator"] != above[0]:
                line["estimator"] = Text(row["estimator"], style="bold")
        above = row["estimator"], row["term"]
        lines.append(line)
    return lines


def _by_term(row: Mapping[Hashable, Any]) -> dict[str, Text]:
    form = fixed((row["truth"], row["mean_estimate"]), row["bias_mcse"])
    level = ".2e" if form == ".1e" else form
    bias = bracketed(row["bias"], row["bias_mcse"], form)
    fits = DASH if row["attempted"] != row["attempted"] else f"{int(row['n']):,}/{int(row['attempted']):,}"
    return {
        "term": Text(row["term"]),
        "truth": Text(truth_text(row, level)),
        "mean": Text(number(row["mean_estimate"], level)),
        "bias (MCSE)": _flagged(bias, is_biased(row)),
        "emp. SE": Text(number(row["empirical_se"], level)),
        "worlds %": Text(number(100 * row["between_worlds"], ".1f")),
        "fits": Text(fits, style="" if row["n"] == row["attempted"] else "yellow"),
    }


def _by_error(row: Mapping[Hashable, Any], alpha: float) -> dict[str, Text]:
    form = fixed((row["truth"], row["mean_estimate"]), row["bias_mcse"])
    rejected = percent(row, "rejection") if has_test(row["term"]) else DASH
    return {
        "errors": Text(row["error"]),
        "mean SE": Text(number(row["mean_se"], ".2e" if form == ".1e" else form)),
        "cover % (MCSE)": _flagged(percent(row, "coverage"), is_off(row, "coverage", 1 - alpha)),
        "reject % (MCSE)": _flagged(rejected, is_wrong_size(row, alpha)),
    }


def _flagged(text: str, flag: bool) -> Text:
    """A trailing mark keeps numbers aligned: every cell has the same place for it."""
    return Text(f"{text}!", style="bold red") if flag else Text(f"{text} ")
