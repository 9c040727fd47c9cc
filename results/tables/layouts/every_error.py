"""The treatment's coefficient under all error types."""

from __future__ import annotations

from collections.abc import Sequence

from estimators.core.error_types import error_label
from results.tables.columns import LIKELIHOOD, FitColumn, fit_columns, shown_numbers
from results.tables.journal_table import Heading, JournalTable, Row
from results.tables.layouts.spatial_models import TRANSFORMS
from results.tables.places import BASELINE
from results.tables.records import Record
from results.tables.setting import TableSetting
from results.tables.typography import decimals, digits, model_label, probability

_HEADS = tuple(Heading(label) for label in ("SE", "t or z", "p", "95% from", "to"))


def every_error(setting: TableSetting) -> list[JournalTable]:
    """The treatment's coefficient (the first control's without one) under all error types: table 2, then table 7."""
    main = setting.treatment or next(iter(setting.controls), None)
    if main is None:
        return []
    place = BASELINE["controls, units, periods"]
    baseline = [column for column in fit_columns(setting.document, place[0], ("did",)) if column.column == place[1]]
    tables = [_errors(setting, "two-way fixed effects", [(column, main) for column in baseline])]
    spatial = fit_columns(setting.document, "7", LIKELIHOOD)
    for weights, transform in dict.fromkeys((column.weights, column.transform) for column in spatial):
        fits = [column for column in spatial if (column.weights, column.transform) == (weights, transform)]
        shown = [(column, term) for column in fits for term in _terms(column, main)]
        method = TRANSFORMS.get(transform) or "least squares"
        tables.append(_errors(setting.balanced_part, f"spatial models, W {weights}, {method}", shown))
    return [table for table in tables if table.rows]


def _terms(column: FitColumn, main: str) -> list[str]:
    """The coefficient, its lag, and its effects as far as they are not those two again."""
    effects = ("direct", "indirect", "total") if "rho" in column.terms else ("total",)
    lagged = "rho" in column.terms or f"w_{main}" in column.terms
    wanted = (main, f"w_{main}", *(f"{effect}:{main}" for effect in effects if lagged))
    return [term for term in wanted if term in column.terms]


def _errors(setting: TableSetting, where: str, shown: Sequence[tuple[FitColumn, str]]) -> JournalTable:
    rows: list[Row] = []
    for column, term in shown:
        records = [record for record in column.records if record.term == term]
        if not records:
            continue
        kind, _, name = term.partition(":")
        label = f"{kind} effect of {setting.label(name)}" if name else setting.label(term)
        every = shown_numbers(records)
        estimate = digits(records[0].estimate, shown_numbers(records[:1]), every)
        rows.append(Row(f"{model_label(column.model)}: {label} {estimate}", kind="head"))
        rows += [Row(_method(record), _inference(record, every)) for record in records]
    title = f"The same coefficient under every standard error: {where}"
    return JournalTable("A", title, _HEADS, tuple(rows), (setting.data,), appendix=True)


def _method(record: Record) -> str:
    simulated = record.effects_method == "simulation" and record.se_type != "simulation"
    return f"{error_label(record.se_type)}{', effects by simulation' if simulated else ''}"


def _inference(record: Record, every: Sequence[float | None]) -> tuple[str, ...]:
    """Error, test and interval; every: all numbers under the same heading."""
    tested = decimals(record.statistic), probability(record.pvalue)
    beside, ends = shown_numbers([record]), (record.lower, record.upper)
    interval = (digits(end, (*beside, *ends), every) for end in ends)
    return (digits(record.se, beside, every), *tested, *interval)


TABLES = ("2", "7")
LAYOUTS = {101: every_error}
