"""What a referee asks for behind the tables: the same coefficient under every standard error, z by every method."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from results.tables.columns import LIKELIHOOD, FitColumn, fit_columns, shown_numbers
from results.tables.journal_table import Column, JournalTable, Row, without_empty
from results.tables.places import BASELINE, ROBUSTNESS
from results.tables.records import Agreement, Record
from results.tables.setting import Setting
from results.tables.space_tables import ALL_PERIODS, MEASURES, TRANSFORMS, years_of
from results.tables.typography import decimals, digits, error_label, model_label, probability

FALSE_DISCOVERIES = 0.05
QUADRANTS = {1: "High among high", 3: "Low among low", 2: "Low among high", 4: "High among low"}  # esda's codes
_WHEN = {"before": "Before matching", "after": "After matching", "": "Logit of treatment"}
_HEADS = tuple(Column(label) for label in ("SE", "t or z", "p", "95% from", "to"))


def every_error(setting: Setting) -> list[JournalTable]:
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
        tables.append(_errors(setting.square, f"spatial models, W {weights}, {method}", shown))
    return [table for table in tables if table.rows]


def _terms(column: FitColumn, main: str) -> list[str]:
    """The coefficient, its lag, and its effects as far as they are not those two again."""
    effects = ("direct", "indirect", "total") if "rho" in column.terms else ("total",)
    lagged = "rho" in column.terms or f"w_{main}" in column.terms
    wanted = (main, f"w_{main}", *(f"{effect}:{main}" for effect in effects if lagged))
    return [term for term in wanted if term in column.terms]


def _errors(setting: Setting, where: str, shown: Sequence[tuple[FitColumn, str]]) -> JournalTable:
    rows: list[Row] = []
    for column, term in shown:
        records = [record for record in column.records if record.term == term]
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


def agreement(setting: Setting) -> list[JournalTable]:
    """How far other programs' numbers are from ours, where they were asked."""
    heads = tuple(Column(label) for label in ("numbers", "largest difference"))
    asked = setting.document.cross_check
    rows = [row for table, found in groupby((item for item in asked if item.compared), lambda item: item.table)
            for row in (Row(f"Table {table}", kind="head"), *(_agreement(item) for item in found))]  # fmt: skip
    silent = tuple(f"Table {item.table}, {item.program}: {item.what}." for item in asked if not item.compared)
    notes = (
        "Largest relative difference between this program's numbers and the other's, on this panel.",
        "Not recomputed: Lee and Yu's likelihood, SLX, SDEM, SAC, direct, indirect, total and mediated effects, "
        "errors other than those named, tests of equal effects, permutations, bootstraps, matching and tables S.",
        *silent,
    )
    return [JournalTable("", "Agreement with other programs", heads, tuple(rows), notes)] if asked else []


def _agreement(item: Agreement) -> Row:
    return Row(f"{item.program}: {item.what}", (f"{item.compared:,}", f"{item.largest:.1e}"))


def every_moment(setting: Setting) -> list[JournalTable]:
    """z and p of table 6 by every method, with Holm's p values."""
    setting, tables = setting.square, []
    for model, (name, _) in MEASURES.items():
        columns = fit_columns(setting.document, "6", (model,))
        for weights in dict.fromkeys(column.weights for column in columns):
            of_weights = [column for column in columns if column.weights == weights]
            kinds = list(dict.fromkeys(kind for column in of_weights for kind in column.errors))
            by_year = {column.year: column for column in of_weights}
            heads = [Column(label, "", kind) for kind in kinds for label in ("sd", "z", "p", "Holm p")]
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


def local_clusters(setting: Setting) -> list[JournalTable]:
    """The units whose local Moran's I is clear of chance at a false discovery rate of 5%."""
    setting, tables = setting.square, []
    for column in fit_columns(setting.document, "6", ("local-moran",)):
        units = dict.fromkeys(unit for _, unit in column.by_term)
        clear = [unit for unit in units if column.by_term.get(("fdr_p", unit), 1.0) <= FALSE_DISCOVERIES]
        rows: list[Row] = []
        for code, kind in QUADRANTS.items():
            members = [unit for unit in clear if column.by_term.get(("quadrant", unit)) == code]
            rows += [Row(kind, kind="head"), *(Row(unit, _local(column, unit)) for unit in members)]
        heads = tuple(Column(label) for label in ("local I", "p", "p, false discovery rate"))
        note = (
            "Units with a p value below 0.05 after Benjamini and Hochberg's adjustment; p by conditional permutation."
        )
        title = f"Local Moran clusters of {setting.outcome}, {column.year}, W {column.weights}"
        tables.append(JournalTable("A", title, heads, without_empty(rows), (note, setting.data), appendix=True))
    return [table for table in tables if table.rows]


def _local(column: FitColumn, unit: str) -> tuple[str, ...]:
    values = [column.by_term.get((name, unit)) for name in ("local_i", "p", "fdr_p")]
    return digits(values[0]), probability(values[1]), probability(values[2])


def confounded_mediation(setting: Setting) -> list[JournalTable]:
    """The indirect effect were mediator and outcome confounded: under each correlation of the two equations' errors."""
    tables = []
    for column in fit_columns(setting.document, "5", ("mediation",)):
        names = ("nie_at_rho", "nie_at_rho_lower", "nie_at_rho_upper")
        terms = list(dict.fromkeys(term for name, term in column.by_term if name == names[0]))
        rows = tuple(Row(term.replace("rho", "ρ"), _alike([column.by_term.get((name, term)) for name in names]))
                     for term in terms)  # fmt: skip
        title = f"Indirect effect through {column.mediator} by the correlation ρ of the two equations' errors"
        heads = (Column("Indirect effect"), Column("95% from"), Column("to"))
        note = "ρ = 0 is table 5: no unobserved cause of both mediator and outcome (Imai, Keele and Yamamoto, 2010)."
        tables.append(JournalTable("A", title, heads, rows, (note, setting.data), appendix=True))
    return [table for table in tables if table.rows]


def _alike(values: Sequence[float | None]) -> tuple[str, ...]:
    return tuple(digits(value, values) for value in values)


def balance(setting: Setting) -> list[JournalTable]:
    """How matching balances the covariates, a table a method."""
    tables = []
    for column in fit_columns(setting.document, ROBUSTNESS, ("psm",)):
        names = list(dict.fromkeys(name for name, _ in column.by_term))
        names.sort(key=lambda name: [*_WHEN].index(_when(name)))  # stable
        terms = dict.fromkeys(term for _, term in column.by_term)
        heads = tuple(
            Column(name.removesuffix(f"_{_when(name)}").replace("_", " "), "", _WHEN[_when(name)]) for name in names
        )
        values = {term: [column.by_term.get((name, term)) for name in names] for term in terms}
        rows = tuple(Row(setting.label(term), tuple(digits(value, row=found) for value in found))
                     for term, found in values.items())  # fmt: skip
        counts = ", ".join(f"{name.replace('_', ' ')} {value:,.6g}" for name, value in column.statistics.items())
        title = f"Balance of covariates: {column.sample}"
        tables.append(JournalTable("A", title, heads, rows, tuple(filter(None, (f"{counts}." if counts else "",
                                   setting.data))), appendix=True))  # fmt: skip
    return [table for table in tables if table.rows]


def _when(name: str) -> str:
    return next((when for when in _WHEN if when and name.endswith(f"_{when}")), "")
