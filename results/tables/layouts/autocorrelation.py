"""Table 6: spatial autocorrelation by year; in the appendix, by every method and unit by unit."""

from __future__ import annotations

from collections.abc import Sequence

from results.tables.journal_table import FitColumn, Heading, JournalTable, Row, TableSetting, fit_columns, without_empty
from results.tables.records import Record
from results.tables.typography import decimals, digits, moment_label, probability

MEASURES = {
    "moran": ("Moran's I", "I"),
    "geary": ("Geary's C", "C"),
    "moran-residuals": ("Moran's I of residuals", "I"),
}
ALL_PERIODS = "All periods"
_PREFERRED = {"moran": "randomisation", "geary": "randomisation", "moran-residuals": "permutation"}
FALSE_DISCOVERIES = 0.05
QUADRANTS = {1: "High among high", 3: "Low among low", 2: "Low among high", 4: "High among low"}  # esda's codes


def autocorrelation(setting: TableSetting) -> list[JournalTable]:
    """Table 6: a row a year; Moran's I, Geary's C, and Moran's I of the two-way residuals."""
    setting, columns = setting.balanced_part, fit_columns(setting.document, "6", MEASURES)
    return [_by_year(setting, name, [column for column in columns if column.weights == name])
            for name in dict.fromkeys(column.weights for column in columns)]  # fmt: skip


def _by_year(setting: TableSetting, weights: str | None, columns: Sequence[FitColumn]) -> JournalTable:
    models = [model for model in MEASURES if any(column.model == model for column in columns)]
    found = {(column.model, column.year): column for column in columns}
    years = years_of(columns)
    heads: list[Heading] = []
    cells: dict[int | None, list[str]] = {year: [] for year in years}
    kinds: dict[str, None] = {}
    for model in models:
        group, sign = MEASURES[model]
        heads += [Heading(sign, "", group), Heading("z", "", group), Heading("p", "", group)]
        adjusted = any(column.by_term for column in columns if column.model == model)
        heads += [Heading("Holm p", "", group)] if adjusted else []
        for year in years:
            column = found.get((model, year))
            record = None if column is None else _preferred(column, setting.asked)
            cells[year] += _tested(record)
            if record is not None:
                kinds[f"{group} {moment_label(record.se_type)}{_whose(model, year)}"] = None
            if adjusted:
                holm = None if column is None or record is None else column.by_term.get(("holm", record.se_type))
                cells[year].append(probability(holm))
    rows = tuple(Row(ALL_PERIODS if year is None else str(year), tuple(cells[year])) for year in years)
    notes = (f"z and p: {'; '.join(kinds)}. p is two-sided; Holm p allows for the number of periods.",
             setting.data)  # fmt: skip
    title = f"Spatial autocorrelation of {setting.outcome}, W {weights}"
    return JournalTable("6", title, tuple(heads), rows, notes)


def _whose(model: str, year: int | None) -> str:
    """The rows of a measure that is tested in two ways."""
    if model != "moran-residuals":
        return ""
    return f' (row "{ALL_PERIODS}")' if year is None else " (single periods)"


def years_of(columns: Sequence[FitColumn]) -> list[int | None]:
    """The years of fits, in order, all of them together last."""
    return sorted({column.year for column in columns}, key=lambda year: (year is None, year or 0))


def _preferred(column: FitColumn, asked: str | None) -> Record | None:
    by_kind = {record.se_type: record for record in column.records}
    for kind in (asked, _PREFERRED[column.model], *by_kind):
        if kind in by_kind:
            return by_kind[kind]
    return None


def _tested(record: Record | None) -> list[str]:
    if record is None:
        return ["", "", ""]
    return [digits(record.estimate), decimals(record.statistic), probability(record.pvalue)]


def every_moment(setting: TableSetting) -> list[JournalTable]:
    """z and p of table 6 by every method, with Holm's p values."""
    setting, tables = setting.balanced_part, []
    for model, (name, _) in MEASURES.items():
        columns = fit_columns(setting.document, "6", (model,))
        for weights in dict.fromkeys(column.weights for column in columns):
            of_weights = [column for column in columns if column.weights == weights]
            kinds = list(dict.fromkeys(kind for column in of_weights for kind in column.errors))
            by_year = {column.year: column for column in of_weights}
            heads = [Heading(label, "", kind) for kind in kinds for label in ("sd", "z", "p", "Holm p")]
            rows = tuple(Row(ALL_PERIODS if year is None else str(year), _moments(by_year[year], kinds))
                         for year in years_of(of_weights))  # fmt: skip
            tables.append(JournalTable("A", f"{name}, {setting.outcome}, by every method, W {weights}", tuple(heads),
                                       rows, (setting.data,), appendix=True))  # fmt: skip
    return tables


def _moments(column: FitColumn, kinds: Sequence[str]) -> tuple[str, ...]:
    cells: list[str] = []
    for kind in kinds:
        record = next((record for record in column.records if record.se_type == kind), None)
        if record is None:
            cells += ["", "", "", ""]
            continue
        holm = column.by_term.get(("holm", kind))
        cells += [digits(record.se), decimals(record.statistic), probability(record.pvalue), probability(holm)]
    return tuple(cells)


def local_clusters(setting: TableSetting) -> list[JournalTable]:
    """The units whose local Moran's I is clear of chance at a false discovery rate of 5%."""
    setting, tables = setting.balanced_part, []
    for column in fit_columns(setting.document, "6", ("local-moran",)):
        units = dict.fromkeys(unit for _, unit in column.by_term)
        clear = [unit for unit in units if column.by_term.get(("fdr_p", unit), 1.0) <= FALSE_DISCOVERIES]
        rows: list[Row] = []
        for code, kind in QUADRANTS.items():
            members = [unit for unit in clear if column.by_term.get(("quadrant", unit)) == code]
            rows += [Row(kind, kind="head"), *(Row(unit, _local(column, unit)) for unit in members)]
        heads = tuple(Heading(label) for label in ("local I", "p", "p, false discovery rate"))
        note = (
            "Units with a p value below 0.05 after Benjamini and Hochberg's adjustment; p by conditional permutation."
        )
        title = f"Local Moran clusters of {setting.outcome}, {column.year}, W {column.weights}"
        tables.append(JournalTable("A", title, heads, without_empty(rows), (note, setting.data), appendix=True))
    return [table for table in tables if table.rows]


def _local(column: FitColumn, unit: str) -> tuple[str, ...]:
    values = [column.by_term.get((name, unit)) for name in ("local_i", "p", "fdr_p")]
    return digits(values[0]), probability(values[1]), probability(values[2])


TABLES = ("6",)
LAYOUTS = {6: autocorrelation, 104: every_moment, 105: local_clusters}
