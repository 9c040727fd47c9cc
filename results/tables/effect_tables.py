"""Tables 1 to 5 and the robustness checks: descriptives, effects of the treatment, subsamples, mediation."""

from __future__ import annotations

from collections.abc import Sequence

from results.tables.columns import (
    FitColumn,
    bracket,
    coefficient,
    coefficient_rows,
    fit_columns,
    fit_rows,
    in_order,
    interval,
    shown_numbers,
    size_rows,
    value_rows,
)
from results.tables.journal_table import Column, JournalTable, Row
from results.tables.places import BASELINE, ROBUSTNESS
from results.tables.records import Record
from results.tables.setting import Setting
from results.tables.typography import decimals, digits, error_label, model_label, probability, split_stars

_IN_TABLE_2 = ("pooled", "random", "did")
_FIT = {
    "did": "R² counts the column's effects as explained; R² within is of the outcome net of them, period effects alone "
    "in a pooled column.",
    "random": "R² within, between and overall of random effects are squared correlations of the outcome with x'b: of "
    "deviations from unit means, of unit means, of all values.",
}
_PARTS = (("overall", ""), ("between", "_between"), ("within", "_within"))  # as xtsum
_EFFECTS = (
    ("nie", "Indirect effect (a × b)"),
    ("nde", "Direct effect"),
    ("total", "Total effect"),
    ("proportion", "Share of the total"),
)
_INTERVALS = {"delta": "delta method", "sobel": "Sobel", "monte-carlo": "Monte Carlo"}
_BOOTSTRAP = "bootstrap:"
_SENSITIVITY = {"rho_at_zero": "ρ at which a × b is 0", "r2_product_at_zero": "R² product at which a × b is 0"}
_CORRELATIONS = {"correlation": "Correlation with DID", "correlation_within": "  net of the effects"}


def descriptives(setting: Setting) -> list[JournalTable]:
    """Table 1: three rows a variable, overall, between and within units."""
    columns = fit_columns(setting.document, "1", ("descriptive",))
    values = {key: value for column in columns for key, value in column.by_term.items()}
    rows = []
    for term in dict.fromkeys(term for _, term in values):
        every = [value for (name, of), value in values.items() if of == term and name != "nobs"]
        for part, ending in _PARTS:
            cells = [digits(values.get((f"{name}{ending if name != 'mean' else ''}", term)), row=every)
                     for name in ("mean", "sd", "min", "max")]  # fmt: skip
            count = values.get(("nobs", term))
            first = part == "overall"
            shown = (cells[0] if first else "", *cells[1:], f"{count:,.0f}" if first and count is not None else "")
            if any(shown):
                rows.append(Row(setting.label(term) if first else f"  {part}", shown))
    heads = tuple(Column(label) for label in ("Mean", "SD", "Min", "Max", "N"))
    notes = ("Between: of the units' means. Within: of the deviations from them, the grand mean added.", setting.data)
    return [JournalTable("1", "Descriptive statistics", heads, tuple(rows), notes)] if rows else []


def baseline(setting: Setting) -> list[JournalTable]:
    """Table 2: columns 1 to 3 as pooled OLS and as random effects side by side, the fixed effects, then the estimators
    that the user named."""
    found = fit_columns(setting.document, "2")
    further = [column for column in found if ("2", column.column) not in BASELINE.values()]
    columns = [column for column in found if ("2", column.column) in BASELINE.values()]
    columns.sort(key=lambda column: _IN_TABLE_2.index(column.model))  # stable: by number within a model
    heads = [Column("", f"({column.column})", model_label(column.model)) for column in columns]
    heads += [Column("", f"({column.column})", column.model) for column in further]
    twice = len({column.model for column in columns} & {"pooled", "random"}) == 2
    note = ("Columns 1 to 3 are estimated twice, by pooled least squares and by random effects (Swamy-Arora): they are "
            "different estimators, and a table should say which it prints.")  # fmt: skip
    effects = {place: names for names, place in BASELINE.items()}
    given = [effects["2", column.column] + ("random" if column.model == "random" else "") for column in columns]
    given += ["-"] * len(further)
    fit = [text for model, text in _FIT.items() if any(column.model == model for column in columns)]
    title = f"Regressions of {setting.about}"
    return _regressions(setting, "2", title, [*columns, *further], heads, given, note if twice else "", *fit)


def checks(setting: Setting) -> list[JournalTable]:
    """Table 3: without capitals, and with another policy."""
    columns = fit_columns(setting.document, "3", ("did",))
    heads = []
    for column in columns:
        others = [term for term in column.terms if term not in (setting.treatment, "constant", *setting.controls)]
        words = column.sample if column.sample != "all" else f"with {', '.join(others)}"
        heads.append(Column(words, f"({column.column})"))
    together = [Row(label, tuple(_of_any_term(column, name) for column in columns))
                for name, label in _CORRELATIONS.items()]  # fmt: skip
    rows = [row for row in together if any(row.cells)]
    title = f"Other sample, other policy: {setting.about}"
    return _regressions(setting, "3", title, columns, heads, None, rows=rows)


def _of_any_term(column: FitColumn, name: str) -> str:
    """A statistic that one term alone has."""
    return next((digits(value) for (found, _), value in column.by_term.items() if found == name), "")


def subsamples(setting: Setting) -> list[JournalTable]:
    """Table 4: a column a subsample, the test of equal effects under the columns of its group."""
    columns = fit_columns(setting.document, "4", ("did",))
    tests = fit_columns(setting.document, "4", ("interaction",))
    if not columns and not tests:
        return []
    heads = [_subsample(column) for column in columns]
    alone = [test for test in tests if test.sample not in {head.group for head in heads}]
    heads += [Column("test alone", "", test.sample) for test in alone]
    columns += [FitColumn("4", 0, "interaction", None, test.sample, None, None, None) for test in alone]
    rows = _equal_effects(setting, heads, tests)
    note = ("The test of equal effects is of the fully interacted regression; its p value by permutation exchanges the "
            "group labels among treated and among untreated units.")  # fmt: skip
    return _regressions(setting, "4", f"Subsamples: {setting.about}", columns, heads, None, note if rows else "",
                        rows=rows, tests=tests)  # fmt: skip


def _subsample(column: FitColumn) -> Column:
    group, _, value = column.sample.partition(" = ")
    return Column(value or group, f"({column.column})", group if value else "")


def _equal_effects(setting: Setting, heads: Sequence[Column], tests: Sequence[FitColumn]) -> list[Row]:
    """Differences to the first value under the values, then Wald and permutation tests under the first of a group."""
    by_group = {test.sample: test for test in tests}
    firsts = [j == 0 or head.group != heads[j - 1].group for j, head in enumerate(heads)]
    treatment = setting.treatment or "did"
    differences = []
    for head in heads:
        test = by_group.get(head.group)
        differences.append(None if test is None else setting.shown(test, f"{treatment} x {head.label}"))
    rows = coefficient_rows("Difference to the first", differences) if any(differences) else []
    in_first = [by_group.get(head.group) if first else None for head, first in zip(heads, firsts, strict=True)]
    for name, label, form in (
        ("wald", "Wald χ²", decimals), ("wald_p", "p (F)", probability),
        ("permutation_p", "p by permutation", probability), ("permutation_p_mcse", "its Monte Carlo error", digits),
    ):  # fmt: skip
        cells = tuple("" if test is None else form(test.statistics.get(name)) for test in in_first)
        if any(cells):
            rows.append(Row(label, cells, "error" if name.endswith("mcse") else "value"))
    return [Row("Test of equal effects", kind="head"), *rows] if rows else []


def mediation(setting: Setting) -> list[JournalTable]:
    """Table 5: two columns a mediator, the effects through it under that of the outcome."""
    columns = fit_columns(setting.document, "5", ("mediator", "outcome"))
    found = {column.mediator: column for column in fit_columns(setting.document, "5", ("mediation",))}
    heads = [Column(str(column.mediator) if column.model == "mediator" else setting.outcome, f"({column.column})",
                    f"Mediator {column.mediator}") for column in columns]  # fmt: skip
    paths = [found.get(column.mediator) if column.model == "outcome" else None for column in columns]
    rows = [row for term, label in _EFFECTS for row in _through(term, label, paths)]
    rows += value_rows([path or FitColumn("5", 0, "", None, "", None, None, None) for path in paths], _SENSITIVITY)
    own = [_clustered(path) for path in paths]
    if any(kind and kind != column.shown_error(setting.asked) for kind, column in zip(own, columns, strict=True)):
        rows = [Row("Standard errors", tuple(own)), *rows]
    rows = [Row("Effects through the mediator", kind="head"), *rows] if rows else []
    kinds = "".join(f"{error_label(kind)}; " for kind in dict.fromkeys(filter(None, own)))
    note = (f"Effects through the mediator: {kinds}each method's standard error in brackets and 95% interval; stars by "
            "the first method. They are causal only without confounding of mediator and outcome.")  # fmt: skip
    return _regressions(
        setting, "5", f"Mediation: {setting.about}", columns, heads, None, note if rows else "", rows=rows
    )


def _clustered(path: FitColumn | None) -> str:
    """The error type that all methods of an effect through a mediator have, which the bootstrap's name tells."""
    drawn = (kind.removeprefix(_BOOTSTRAP) for kind in path.errors if kind.startswith(_BOOTSTRAP)) if path else ()
    return next((f"cluster:{name}" for name in drawn), "")


def _method(kind: str) -> str:
    """A method's name beside its errors."""
    name = kind.removeprefix(_BOOTSTRAP)
    return f"{name} bootstrap" if name != kind else _INTERVALS.get(kind, kind)


def _through(term: str, label: str, paths: Sequence[FitColumn | None]) -> list[Row]:
    """An effect with its standard error and interval: of that through the mediator by every method."""
    records = [{} if path is None else {record.se_type: record for record in path.records if record.term == term}
               for path in paths]  # fmt: skip
    kinds = list(dict.fromkeys(kind for found in records for kind in found))
    every = shown_numbers(record for found in records for record in found.values())
    rows = [Row(label, tuple(_headline(next(iter(found.values()), None), every) for found in records))] if kinds else []
    for kind in kinds if term in ("nie", "proportion") else kinds[:1]:
        chosen = [found.get(kind) for found in records]
        name = f"  {_method(kind)}"
        both = (tuple(bracket(record, every) for record in chosen),
                tuple(interval(record, every) for record in chosen))  # fmt: skip
        rows += [Row(name if number == 0 else "", cells, "error")
                 for number, cells in enumerate(dict.fromkeys(both)) if any(cells)]  # fmt: skip
    return rows


def _headline(record: Record | None, row: Sequence[float | None]) -> str:
    """An estimate; a share is not tested against 0."""
    text = coefficient(record, row)
    return split_stars(text)[0] if record is not None and record.term == "proportion" else text


def robustness(setting: Setting) -> list[JournalTable]:
    """One column a check, and how matching balances the covariates."""
    columns = [column for column in fit_columns(setting.document, ROBUSTNESS) if column.records]
    heads = [Column(column.sample, f"({column.column})") for column in columns]
    note = "Unit and period effects and the controls in every column, unless its heading says otherwise."
    return _regressions(setting, ROBUSTNESS, f"Robustness, a column a check: {setting.about}", columns, heads, [], note)


def _regressions(
    setting: Setting, name: str, title: str, columns: Sequence[FitColumn], heads: Sequence[Column],
    effects: Sequence[str] | None, *notes: str, rows: Sequence[Row] = (), tests: Sequence[FitColumn] = (),
) -> list[JournalTable]:  # fmt: skip
    """A table of fits: coefficients, effects and controls, sizes, fit, then `rows`, which `tests` gave.

    effects: what is in each column (as in places.BASELINE); None: everything in all; empty: rows left out.
    """
    if not columns:
        return []
    terms = in_order((term for column in columns for term in column.terms if column.model != "interaction"),
                     setting.document)  # fmt: skip
    body: list[Row] = []
    for term in terms:
        body += coefficient_rows(setting.label(term), [setting.shown(column, term) for column in columns])
    everything = ["controls, units, periods" if column.records else "-" for column in columns]
    body += _effects(setting, everything if effects is None else effects)
    body += size_rows(columns, setting.units, setting.periods)
    body += fit_rows(columns) + setting.error_row(columns) + list(rows)
    return [JournalTable(name, title, tuple(heads), tuple(body), setting.notes([*columns, *tests], *notes))]


def _effects(setting: Setting, given: Sequence[str]) -> list[Row]:
    words = (("controls", "Controls"), ("units", "Unit effects"), ("periods", "Period effects"))
    rows = []
    for part, label in words[0 if setting.controls else 1 :] if given else ():
        rows.append(Row(label, tuple(_given(part, names) for names in given)))
    return [Row(row.label, row.cells, rule=number == 0) for number, row in enumerate(rows)]


def _given(part: str, names: str) -> str:
    if names == "-":
        return ""
    return "yes" if part in names else "random" if part == "units" and "random" in names else "no"
