"""Table 4: a column a group of units, and the tests of equal effects."""

from __future__ import annotations

from collections.abc import Sequence

from results.tables.columns import FitColumn, coefficient_rows, fit_columns
from results.tables.journal_table import Heading, JournalTable, Row
from results.tables.places import EQUAL_EFFECTS
from results.tables.regressions import regressions
from results.tables.setting import TableSetting
from results.tables.typography import decimals, digits, probability


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
            "group "
            "labels are permuted among treated units and among untreated units.")  # fmt: skip
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


TABLES = ("4",)
LAYOUTS = {4: subsamples}
