"""The page of `panelproof trust`: HTML that needs nothing else, and tables for Word, from the numbers of trust.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from estimators.core.error_types import error_label
from results.figures.power import PowerPlot, power_figure
from results.page import page
from results.tables.journal_table import Heading, JournalTable, Row
from results.tables.records import Document
from results.tables.word import word_tables

GRADES = {"holds": "The claim holds", "fragile": "The claim is fragile", "fails": "The claim fails"}
MARKS = {"holds": "holds", "fragile": "open", "fails": "departs"}  # classes of the stylesheet
NOTHING = "–"


def number(value: float | None, digits: int = 3) -> str:
    """Significant digits with a true minus sign; a dash for none."""
    if value is None:
        return NOTHING
    return f"{value:.{digits}g}".replace("-", "\N{MINUS SIGN}")


def share(value: float | None) -> str:
    """A share in per cent with one decimal."""
    return NOTHING if value is None else f"{value:.1%}"


def probability(value: float | None) -> str:
    """A p value with three decimals."""
    if value is None:
        return NOTHING
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def p_value(value: float | None) -> str:
    """A p value in a sentence: "p = 0.034", "p < 0.001"."""
    text = probability(value)
    return f"p < {text[1:]}" if text.startswith("<") else f"p = {text}"


def trust_page(held: Mapping[str, Any]) -> str:
    """The page; held: trust.json as plain data."""
    pages = page("results.report", number=number, share=share, probability=probability, p_value=p_value,
                 label=error_label)  # fmt: skip
    return pages.get_template("trust.html").render(
        held=held, title=GRADES[held["verdict"]["grade"]], mark=MARKS[held["verdict"]["grade"]], figure=figure(held),
        advised=advised(held), printed=next(row for row in held["errors"] if row["printed"]), marked=marked(held),
    )  # fmt: skip


def advised(held: Mapping[str, Any]) -> Mapping[str, Any]:
    """The row of the recommended error type."""
    return next(row for row in held["errors"] if row["recommended"])


def marked(held: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Rows of the power table: half the estimate, the estimate, twice the estimate, in words."""
    estimate = held["claim"]["estimate"]
    wanted = {"half the estimate": 0.5, "the estimate": 1.0, "twice the estimate": 2.0}
    return [(words, min(held["power"], key=lambda row: abs(row["effect"] - ratio * estimate)))
            for words, ratio in wanted.items()]  # fmt: skip


def figure(held: Mapping[str, Any]) -> Markup:
    """The power curve."""
    rows, sign = held["power"], -1.0 if held["claim"]["estimate"] < 0 else 1.0
    plot = PowerPlot(
        [row["effect"] for row in rows], [row["power"] for row in rows], [row["mcse"] for row in rows],
        [(x, y) for x, y in held["curve"]], held["claim"]["estimate"], sign * held["mde"]["value"],
        held["mde"]["power"],
    )  # fmt: skip
    return Markup(power_figure(plot))


def trust_word(held: Mapping[str, Any]) -> bytes:
    """The same tables and sentences as a Word file."""
    tables = [_errors_table(held), _power_table(held), _threats_table(held), _studies_table(held)]
    notes = (GRADES[held["verdict"]["grade"]] + ".", *held["verdict"]["sentences"],
             *(threat["sentence"] for threat in held["threats"]),
             *(sentence for one in held["misses"] for sentence in one["sentences"]), *held["limits"])  # fmt: skip
    return word_tables(Document({"outcome": held["claim"]["outcome"]}, (), notes=notes), tables)


def _errors_table(held: Mapping[str, Any]) -> JournalTable:
    columns = ("size", "MC error", "s.e.", "p", "from", "to")
    rows = tuple(
        Row(error_label(row["se_type"]) + (" (recommended)" if row["recommended"] else ""),
            (share(row["size"]), share(row["mcse"]), number(row["se"]), probability(row["pvalue"]),
             number(row["lower"]), number(row["upper"])))
        for row in held["errors"]
    )  # fmt: skip
    return JournalTable("1", "Size of every error type on the twin, and the claim with it",
                        tuple(map(Heading, columns)), rows)  # fmt: skip


def _power_table(held: Mapping[str, Any]) -> JournalTable:
    rows = tuple(
        Row(number(row["effect"]), (share(row["power"]), share(row["mcse"]), number(row["type_m"]),
                                    share(row["type_s"])))
        for row in held["power"]
    )  # fmt: skip
    mde = held["mde"]
    note = (f"Effect found with a power of {mde['power']:.0%}: {number(mde['value'])} "
            f"({number(mde['lower'])} to {number(mde['upper'])}).")  # fmt: skip
    heads = tuple(map(Heading, ("power", "MC error", "overstated", "wrong sign")))
    return JournalTable("2", "Power by true effect", heads, rows, (note,))


def _threats_table(held: Mapping[str, Any]) -> JournalTable:
    rows = tuple(
        Row(row["name"], (number(row["needed"]), number(row["found"]), "yes" if row["overturns"] else "no"))
        for row in held["threats"]
    )
    return JournalTable("3", "Threats: what overturns the claim, and what is found",
                        tuple(map(Heading, ("needed", "found", "overturns"))), rows,
                        tuple(f"{row['name']}: {row['unit']}." for row in held["threats"]))  # fmt: skip


def _studies_table(held: Mapping[str, Any]) -> JournalTable:
    rows = tuple(
        Row(row["method"], (f"{row['replications']:,}", share(row["size"]), share(row["power"]),
                            share(row["coverage"]), probability(row["calibrated"])))
        for row in held["studies"]
    )  # fmt: skip
    heads = tuple(map(Heading, ("replications", "size", "power", "coverage", "calibrated p")))
    return JournalTable("4", "The methods", heads, rows)
