"""Estimates on a real panel as a terminal table: coefficient, stars, standard error in brackets."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from results.estimates import Document, Record

STARS = ((0.01, "***"), (0.05, "**"), (0.10, "*"))
HEADINGS = {"did": "DID", "sem": "SEM", "sar": "SAR", "sdm": "SDM"}


def print_estimates(document: Document, console: Console) -> None:
    """One column a model; under each coefficient its standard error, whose type stands at the foot of the column."""
    columns: dict[tuple[str, str | None, str | None], list[Record]] = {}
    for record in document.records:
        columns.setdefault((record.model, record.transform, record.weights), []).append(record)
    shown = {key: _main_errors(records) for key, records in columns.items()}
    terms = list(dict.fromkeys(record.term for records in shown.values() for record in records))
    table = Table(
        box=None, pad_edge=False, header_style="bold", title=document.panel.get("outcome"), title_justify="left"
    )
    table.add_column("")
    for model, transform, weights in shown:
        table.add_column("\n".join(filter(None, (HEADINGS[model], transform, weights))), justify="right")
    for term in _ordered(terms):
        cells = [next((record for record in records if record.term == term), None) for records in shown.values()]
        table.add_row(term, *(_coefficient(record) for record in cells))
        table.add_row("", *(_error(record) for record in cells))
    for name, label in (("loglik", "log-likelihood"), ("r2", "R2 (effects included)"), ("r2_within", "R2 within")):
        table.add_row(label, *(_statistic(document, key, name) for key in shown))
    firsts = [records[0] for records in shown.values()]
    table.add_row("N", *(f"{record.nobs:,}" for record in firsts))
    table.add_row("units", *(str(record.units) for record in firsts))
    table.add_row("periods", *(str(record.periods) for record in firsts))
    table.add_row("standard error", *(record.se_type for record in firsts))
    console.print(table)
    console.print(
        "\nUnit and time effects in every column. Standard errors in brackets; *** p < .01, ** p < .05, * p < .1."
    )
    for note in document.notes:
        console.print(note, markup=False)


def _main_errors(records: list[Record]) -> list[Record]:
    """The last error type of a model: clustered errors for DID."""
    kind = records[-1].se_type
    return [record for record in records if record.se_type == kind]


def _ordered(terms: list[str]) -> list[str]:
    """Coefficients, lags, spatial parameters, then effects."""
    last = {"rho": 1, "lambda": 1, "sigma2": 2}
    return sorted(terms, key=lambda term: (3 if ":" in term else last.get(term, 0), term.startswith("w_")))


def _coefficient(record: Record | None) -> str:
    if record is None:
        return ""
    stars = next((mark for level, mark in STARS if record.pvalue is not None and record.pvalue < level), "")
    return f"{_digits(record.estimate)}{'' if record.term == 'sigma2' else stars}"


def _error(record: Record | None) -> str:
    return "" if record is None or record.se is None else f"({_digits(record.se)})"


def _digits(value: float) -> str:
    return f"{value:.4f}" if value == 0 or abs(value) >= 0.001 else f"{value:.2e}"


def _statistic(document: Document, key: tuple[str, str | None, str | None], name: str) -> str:
    for item in document.statistics:
        if (item.model, item.transform, item.weights) == key and item.name == name and item.value is not None:
            return f"{item.value:,.3f}"
    return ""
