"""Tables of regressions: 2, 3, 4 and R, and how matching balances the samples of some of R."""

from __future__ import annotations

from collections.abc import Sequence

from results.tables.journal_table import (
    FitColumn,
    Heading,
    JournalTable,
    Row,
    TableSetting,
    coefficient_rows,
    fit_columns,
    fit_rows,
    in_order,
    size_rows,
)
from results.tables.records import BASELINE, EQUAL_EFFECTS, ROBUSTNESS
from results.tables.typography import decimals, digits, legend, model_label, probability

_IN_TABLE_2 = ("pooled", "random", "did")
_FIT = {
    "did": "R² counts the column's effects as explained; R² within is that of the outcome net of these "
    "effects (in a pooled column, of period effects alone).",
    "random": "R² within, between and overall of random effects are squared correlations of the outcome with x'b, for "
    "deviations from unit means, for unit means, and for all values.",
}
_CORRELATIONS = {"correlation": "Correlation with DID", "correlation_within": "  net of the effects"}
_WHEN = {"before": "Before matching", "after": "After matching", "": "Logit of treatment"}
_EFFECTS = {"controls": "Controls", "units": "Unit effects", "periods": "Period effects"}


def regressions(
    setting: TableSetting, name: str, title: str, columns: Sequence[FitColumn], heads: Sequence[Heading],
    effects: Sequence[str] | None, *notes: str, rows: Sequence[Row] = (), tests: Sequence[FitColumn] = (),
) -> tuple[JournalTable, ...]:  # fmt: skip
    """A table of fits, if any: coefficients, effects and controls, sizes, fit, then `rows`, which `tests` gave.

    effects: what is in each column (as in places.BASELINE); None: everything in all; empty: rows left out.
    """
    if not columns:
        return ()
    terms = in_order((term for column in columns for term in column.terms if column.model != "interaction"),
                     setting.document)  # fmt: skip
    body: list[Row] = []
    for term in terms:
        body += coefficient_rows(setting.full_label(term), [setting.shown(column, term) for column in columns])
    everything = ["controls, units, periods" if column.records else "-" for column in columns]
    body += _effects(setting, everything if effects is None else effects)
    body += size_rows(columns, setting.units, setting.periods)
    body += fit_rows(columns) + setting.error_row(columns) + list(rows)
    return (JournalTable(name, title, tuple(heads), tuple(body), setting.notes([*columns, *tests], *notes)),)


def _effects(setting: TableSetting, given: Sequence[str]) -> list[Row]:
    parts = [part for part in _EFFECTS if part != "controls" or setting.controls] if given else []
    return [Row(_EFFECTS[part], tuple(_given(part, names) for names in given), rule=part == parts[0]) for part in parts]


def _given(part: str, names: str) -> str:
    if names == "-":
        return ""
    return "yes" if part in names else "random" if part == "units" and "random" in names else "no"


def baseline(setting: TableSetting) -> list[JournalTable]:
    """Table 2: columns 1 to 3 as pooled OLS and as random effects side by side, the fixed effects, then the estimators
    that the user named."""
    found = fit_columns(setting.document, "2")
    further = [column for column in found if column.place not in BASELINE.values()]
    columns = [column for column in found if column.place in BASELINE.values()]
    columns.sort(key=lambda column: _IN_TABLE_2.index(column.model))  # stable: by number within a model
    heads = [Heading("", f"({column.column})", model_label(column.model)) for column in columns]
    heads += [Heading("", f"({column.column})", column.model) for column in further]
    twice = len({column.model for column in columns} & {"pooled", "random"}) == 2
    note = ("Columns 1 to 3 are estimated twice, by pooled least squares and by random effects (Swamy-Arora). These "
            "are different estimators, and a table should name the one that it prints.")  # fmt: skip
    effects = {place: names for names, place in BASELINE.items()}
    given = [effects[column.place] + "random" * (column.model == "random") for column in columns]
    given += ["-"] * len(further)
    fit = [text for model, text in _FIT.items() if any(column.model == model for column in columns)]
    title = f"Regressions of {setting.about}"
    said = (note if twice else "", *fit, legend(term for column in further for term in column.terms))
    return [*regressions(setting, "2", title, [*columns, *further], heads, given, *said)]


def checks(setting: TableSetting) -> list[JournalTable]:
    """Table 3: without capitals, and with another policy."""
    columns = fit_columns(setting.document, "3", ("did",))
    heads = []
    for column in columns:
        others = [term for term in column.terms if term not in (setting.treatment, "constant", *setting.controls)]
        words = column.sample if column.sample != "all" else f"with {', '.join(others)}"
        heads.append(Heading(words, f"({column.column})"))
    together = [Row(label, tuple(_of_any_term(column, name) for column in columns))
                for name, label in _CORRELATIONS.items()]  # fmt: skip
    rows = [row for row in together if any(row.cells)]
    title = f"Other sample, other policy: {setting.about}"
    return [*regressions(setting, "3", title, columns, heads, None, rows=rows)]


def _of_any_term(column: FitColumn, name: str) -> str:
    """A statistic that one term alone has."""
    return next((digits(value) for (found, _), value in column.by_term.items() if found == name), "")


def subsamples(setting: TableSetting) -> list[JournalTable]:
    """Table 4: a column a subsample, the test of equal effects under the columns of its group."""
    columns = fit_columns(setting.document, "4", ("did",))
    tests = fit_columns(setting.document, "4", ("interaction",))
    heads = [_subsample(column) for column in columns]
    alone = [test for test in tests if test.sample not in {head.group for head in heads}]
    heads += [Heading("test alone", "", test.sample) for test in alone]
    columns += [FitColumn(EQUAL_EFFECTS, "interaction", sample=test.sample) for test in alone]
    rows = _equal_effects(setting, heads, tests)
    note = ("The test of equal effects is that of the fully interacted regression. For its p value by permutation, "
            "group labels are permuted among treated units and among untreated units.")  # fmt: skip
    title, said = f"Subsamples: {setting.about}", note if rows else ""
    return [*regressions(setting, "4", title, columns, heads, None, said, rows=rows, tests=tests)]


def _subsample(column: FitColumn) -> Heading:
    group, _, value = column.sample.partition(" = ")
    return Heading(value or group, f"({column.column})", group if value else "")


def _equal_effects(setting: TableSetting, heads: Sequence[Heading], tests: Sequence[FitColumn]) -> list[Row]:
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


def robustness(setting: TableSetting) -> list[JournalTable]:
    """Table R: a column a robustness check."""
    columns = [column for column in fit_columns(setting.document, ROBUSTNESS) if column.records]
    heads = [Heading(column.sample, f"({column.column})") for column in columns]
    note = "Every column has unit and period effects and the controls, unless its heading says otherwise."
    title = f"Robustness checks, one per column: {setting.about}"
    return [*regressions(setting, ROBUSTNESS, title, columns, heads, [], note)]


def balance(setting: TableSetting) -> list[JournalTable]:
    """How matching balances the covariates, a table a method."""
    tables = []
    for column in fit_columns(setting.document, ROBUSTNESS, ("psm",)):
        names = list(dict.fromkeys(name for name, _ in column.by_term))
        names.sort(key=lambda name: [*_WHEN].index(_when(name)))  # stable
        heads = tuple(Heading(name.removesuffix(f"_{_when(name)}").replace("_", " "), "", _WHEN[_when(name)])
                      for name in names)  # fmt: skip
        values = {term: [column.by_term.get((name, term)) for name in names]
                  for term in dict.fromkeys(term for _, term in column.by_term)}  # fmt: skip
        rows = tuple(Row(setting.label(term), tuple(digits(value, row=found) for value in found))
                     for term, found in values.items())  # fmt: skip
        counts = ", ".join(f"{name.replace('_', ' ')} {value:,.6g}" for name, value in column.statistics.items())
        notes = (f"{counts}.", setting.data) if counts else (setting.data,)
        title = f"Balance of covariates: {column.sample}"
        tables.append(JournalTable("A", title, heads, rows, notes, appendix=True))
    return [table for table in tables if table.rows]


def _when(name: str) -> str:
    return next((when for when in _WHEN if when and name.endswith(f"_{when}")), "")


TABLES = ("2", "3", "4", ROBUSTNESS)
LAYOUTS = {2: baseline, 3: checks, 4: subsamples, 20: robustness, 106: balance}
