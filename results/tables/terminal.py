"""Estimates on a real panel as a terminal table: coefficient, stars, standard error in brackets."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from results.tables.records import Document, Record

STARS = ((0.01, "***"), (0.05, "**"), (0.10, "*"))
STATISTICS = (("loglik", "log-likelihood"), ("r2", "R2 with effects"), ("r2_within", "R2 within"))
LABEL_WIDTH = 24
HEADINGS = {"did": "DID", "sem": "SEM", "sar": "SAR", "sdm": "SDM"}


Key = tuple[str, str | None, str | None]  # model, transform, weights


def print_estimates(document: Document, console: Console) -> None:
    """One table for each W and transform, one column a model, standard errors in brackets and named at the foot."""
    columns: dict[Key, list[Record]] = {}
    for record in document.records:
        columns.setdefault((record.model, record.transform, record.weights), []).append(record)
    shown = {key: _main_errors(records) for key, records in columns.items()}
    alone = {key: records for key, records in shown.items() if key[1] is None}
    groups = list(dict.fromkeys(key[1:] for key in shown if key[1] is not None))
    for number, group in enumerate(groups or [None]):  # type: ignore[list-item]
        beside = {key: records for key, records in shown.items() if group is not None and key[1:] == group}
        title = f"{document.panel.get('outcome')}" if group is None else (
            f"{document.panel.get('outcome')}: maximum likelihood, {group[0]}, W {group[1]}")  # fmt: skip
        console.print(_table(document, (alone if number == 0 else {}) | beside, title))
        console.print()
    console.print("Unit and time effects in every column. Standard errors in brackets, their type at the foot.")
    console.print("*** p < .01, ** p < .05, * p < .1. Effects: delta method.")
    for note in document.notes:
        console.print(note, markup=False)


def _table(document: Document, shown: dict[Key, list[Record]], title: str) -> Table:
    terms = list(dict.fromkeys(record.term for records in shown.values() for record in records))
    table = Table(box=None, pad_edge=False, header_style="bold", title=title, title_justify="left")
    table.add_column("", no_wrap=True, overflow="ellipsis", max_width=LABEL_WIDTH)
    for model, _, _ in shown:
        plain = model == "did" and document.panel.get("treatment") is None
        table.add_column("FE" if plain else HEADINGS[model], justify="right", no_wrap=True)
    for term in _ordered(terms):
        cells = [next((record for record in records if record.term == term), None) for records in shown.values()]
        table.add_row(term, *(_coefficient(record) for record in cells))
        table.add_row("", *(_error(record) for record in cells))
    for name, label in STATISTICS:
        values = [_statistic(document, key, name) for key in shown]
        if any(values):
            table.add_row(label, *values)
    firsts = [records[0] for records in shown.values()]
    table.add_row("N", *(f"{record.nobs:,}" for record in firsts))
    table.add_row("units x periods", *(f"{record.units} x {record.periods}" for record in firsts))
    table.add_row("standard errors", *(record.se_type for record in firsts))
    return table


def _main_errors(records: list[Record]) -> list[Record]:
    """The last error type of a model: clustered errors for DID."""
    kind = records[-1].se_type
    return [record for record in records if record.se_type == kind]


def _ordered(terms: list[str]) -> list[str]:
    """Coefficients, lags, spatial parameters, sigma2, then direct, indirect and total effects."""
    last = {"rho": 2, "lambda": 2, "sigma2": 3, "direct": 4, "indirect": 5, "total": 6}
    return sorted(terms, key=lambda term: last.get(term.partition(":")[0], int(term.startswith("w_"))))


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
