"""The report of a study as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from results.diagnosis.diagnose import Diagnosis
from results.diagnosis.measures import Z95
from results.figures.style import span
from results.page import page
from results.report.answer import answer
from results.report.beside import NOT_JUDGED, side_tests
from results.report.bias_table import bias_table, by_cell, failures, in_order, key_terms, settings
from results.report.facts import ReportFacts
from results.report.numbers import (
    DASH,
    LEAST_FITS,
    TOO_FEW,
    bracketed,
    departures,
    fixed,
    has_test,
    is_biased,
    is_null,
    is_off,
    is_test,
    is_wrong_size,
    marked,
    number,
    own_text,
    percent,
    share_ends,
    truth_text,
)
from results.report.svg import KIND, Axis, Group, Point, dot_chart
from results.report.worlds import said, worlds_reached
from sim.estimands import null_hypothesis

__all__ = ["ReportFacts", "html_report"]

Rows = list[dict[Any, Any]]
CellTable = tuple[str, list[dict[str, Any]]]  # the cell's setting and its rows as text
CHARTED = 8  # key terms with charts; sigma2 is left to the tables
LEAST_COVERAGE, MOST_SIZE = 0.8, 0.25  # ends of axes; what lies beyond is an arrow


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart and what stands under it."""

    svg: Markup
    caption: str


@dataclass(frozen=True, slots=True)
class TermCharts:
    """The charts of one term; says: what it estimates or tests."""

    term: str
    says: str
    charts: tuple[Chart, ...]


def html_report(diagnosis: Diagnosis, about: ReportFacts) -> str:
    """Verdicts, charts, tables, how to read them and provenance; no scripts, no links to other files."""
    table = bias_table(diagnosis)
    attempted = table["attempted"].dropna()
    names = [name or "all draws" for name in settings(diagnosis)]
    return page("results.report").get_template("report.html").render(
        about=about,
        alpha=diagnosis.alpha,
        departures=departures(diagnosis.alpha, worlds_reached(diagnosis)),
        worlds=worlds_reached(diagnosis),
        held_fixed=said(diagnosis.held_fixed),
        too_few=TOO_FEW,
        least_fits=LEAST_FITS,
        cells=len(diagnosis.cells),
        own=diagnosis.own,
        replications="" if attempted.empty else f"{int(attempted.max()):,}",
        answer=answer(diagnosis, table),
        charts=list(_charts(diagnosis, table)),
        tables=_cell_tables(diagnosis, table),
        common=_shown(_cell_tables(diagnosis, bias_table(diagnosis, sample="common"))),
        not_judged=NOT_JUDGED,
        beside=[(names[test.cell], test) for test in side_tests(diagnosis)],
        passing=_shown(_cell_tables(diagnosis, bias_table(diagnosis, sample="passing"))),
        failures=[(names[cell], *rest) for cell, *rest in failures(diagnosis)],
    )  # fmt: skip


def _charts(diagnosis: Diagnosis, table: pd.DataFrame) -> Iterator[TermCharts]:
    terms = in_order(term for layout in diagnosis.layouts.values() for term in key_terms(layout))
    kinds = list(dict.fromkeys(table["error"]))  # an error type looks the same in every chart
    for term in [term for term in terms if has_test(term)][:CHARTED]:
        rows: Rows = table[table["term"] == term].to_dict("records")
        rows = [row | {"kind": kinds.index(row["error"])} for row in rows]
        made = (
            _bias_chart(rows, term),
            _coverage_chart(rows, term, diagnosis.alpha),
            _size_chart(rows, term, diagnosis.alpha),
            _power_chart(rows, term, diagnosis.alpha),
        )
        if charts := [chart for chart in made if chart]:
            yield TermCharts(term, _purpose(rows), tuple(charts))


def _purpose(rows: Rows) -> str:
    """What a term is for: "estimates att, beta(did)", "tests rho = 0"; "" where that has no name."""
    named = [row for row in rows if row["estimand"]]
    estimated = dict.fromkeys(row["estimand"] for row in named if not is_test(row))
    tested = dict.fromkeys(null_hypothesis(row["estimand"]) for row in named if is_test(row))
    parts = (("estimates", estimated), ("tests", tested))
    return "; ".join(f"{verb} {', '.join(names)}" for verb, names in parts if names)


def _bias_chart(rows: Rows, term: str) -> Chart | None:
    known = [row for row in rows if np.isfinite(row["bias"])]
    known = list({(row["cell"], row["estimator"]): row for row in known}.values())
    if not known:
        return None
    half = [0.0 if np.isnan(row["bias_mcse"]) else Z95 * row["bias_mcse"] for row in known]
    ends = [row["bias"] + side * wide for row, wide in zip(known, half, strict=True) for side in (-1, 1)]
    low, high = span(ends, [0.0])

    def point(row: dict[Any, Any]) -> Point:
        form = fixed((row["truth"], row["mean_estimate"]), row["bias_mcse"])
        share = "" if is_null(row) or not row["truth"] else f"  {100 * row['bias'] / row['truth']:+.1f}%"
        wide, clear = Z95 * row["bias_mcse"], is_biased(row)
        text = f"{bracketed(row['bias'], row['bias_mcse'], form)}{'!' if clear else ''}{share}"
        return Point(row["estimator"], 0, "", row["bias"], row["bias"] - wide, row["bias"] + wide, text, clear)

    axis = Axis(low, high, f"bias of {term}", 0.0, lambda value: f"{value:.4g}".replace("-", "\N{MINUS SIGN}"),
                left=KIND + 8)  # fmt: skip
    caption = (f"Bias of {term}: mean of estimate minus truth, with 1.96 Monte Carlo standard errors on either side. "
               "Numbers: bias (MCSE), and bias in percent of the truth where that is not 0.")  # fmt: skip
    return _chart(known, point, axis, f"bias-{term}", f"Bias of {term}", caption)


def _coverage_chart(rows: Rows, term: str, alpha: float) -> Chart | None:
    nominal = 1 - alpha
    low = (
        min(LEAST_COVERAGE, nominal - 0.1) if any(row["coverage"] < 0.9 for row in rows) else min(0.88, nominal - 0.07)
    )
    axis = Axis(max(low, 0.0), 1.0, f"coverage of {100 * nominal:g}% intervals", nominal, _percent_tick)
    caption = (f"Coverage of {100 * nominal:g}% intervals for {term}, with 1.96 Monte Carlo standard errors on "
               "either side; the line is the nominal level. An arrow marks a value beyond the axis.")  # fmt: skip
    return _share_chart(rows, "coverage", axis, f"Coverage for {term}", caption,
                        lambda row: is_off(row, "coverage", nominal))  # fmt: skip


def _size_chart(rows: Rows, term: str, alpha: float) -> Chart | None:
    null = [row for row in rows if is_null(row)]
    most = max((row["rejection"] for row in null if np.isfinite(row["rejection"])), default=0.0)
    axis = Axis(0.0, min(max(2.2 * alpha, most + 0.03), max(MOST_SIZE, 3 * alpha)), "rejected where the truth is 0",
                alpha, _percent_tick)  # fmt: skip
    caption = (
        f"Size: how often a {100 * alpha:g}% test of {term} rejects where the truth is 0, with 1.96 Monte Carlo "
        "standard errors on either side; the line is the nominal level. An arrow marks a value beyond the axis."
    )
    return _share_chart(null, "rejection", axis, f"Size of the test of {term}", caption,
                        lambda row: is_wrong_size(row, alpha))  # fmt: skip


def _power_chart(rows: Rows, term: str, alpha: float) -> Chart | None:
    real = [row for row in rows if not is_null(row) and np.isfinite(row["truth"])]
    axis = Axis(0.0, 1.0, "rejected where the truth is not 0", alpha, _percent_tick)
    caption = (f"Power: how often a {100 * alpha:g}% test of {term} rejects where the truth is not 0, with 1.96 Monte "
               "Carlo standard errors on either side. Power says little where the size is wrong.")  # fmt: skip
    return _share_chart(real, "rejection", axis, f"Power of the test of {term}", caption, lambda row: False)


def _share_chart(rows: Rows, name: str, axis: Axis, title: str, caption: str,
                 departs: Callable[[dict[Any, Any]], bool]) -> Chart | None:  # fmt: skip
    """A chart of proportions, one line an estimator and error type; None where there are none."""
    known = [row for row in rows if np.isfinite(row[name])]
    if not known:
        return None

    def point(row: dict[Any, Any]) -> Point:
        clear = departs(row)
        text = percent(row, name).replace(" (", "% (") + ("!" if clear else "")
        return Point(row["estimator"], row["kind"], row["error"], row[name], *share_ends(row, name), text, clear)

    return _chart(known, point, axis, f"{name}-{title}", title, caption)


def _chart(
    rows: Rows, point: Callable[[dict[Any, Any]], Point], axis: Axis, key: str, title: str, caption: str
) -> Chart:
    cells: dict[tuple[int, str], list[Point]] = {}
    for row in rows:
        cells.setdefault((row["cell"], row["setting"]), []).append(point(row))
    groups = [Group(name, tuple(points)) for (_, name), points in cells.items()]
    said = "; ".join(f"{item.name} {item.kind_name}".strip() + f" {item.text}"
                     for group in groups for item in group.points[:12])  # fmt: skip
    key = "".join(letter if letter.isalnum() else "-" for letter in key.lower())
    svg = dot_chart(groups, axis, title=title, description=f"{caption} Values: {said}.", key=key)
    return Chart(svg, caption)


def _percent_tick(value: float) -> str:
    return f"{100 * value:g}%"


def _cell_tables(diagnosis: Diagnosis, table: pd.DataFrame) -> list[CellTable]:
    """The table of each cell."""
    cells = zip(settings(diagnosis), by_cell(table, len(diagnosis.cells)), strict=True)
    return [(name or "All draws", _cell_rows(rows, diagnosis.alpha, diagnosis.own)) for name, rows in cells]


def _shown(tables: list[CellTable]) -> list[CellTable]:
    return [(caption, rows) for caption, rows in tables if rows]


def _cell_rows(table: pd.DataFrame, alpha: float, own: tuple[str, ...]) -> list[dict[str, Any]]:
    """Rows as text; `flags` names the measures that clearly depart, `new` is a new estimator, `again` the same term."""
    rows = []
    above: tuple[str, str] = ("", "")
    for row in table.to_dict("records"):
        here = row["estimator"], row["term"]
        own_ones = {name: own_text(row, name) for name in own}
        rows.append(_texts(row, alpha) | own_ones | {"new": here[0] != above[0], "again": here == above})
        above = here
    return rows


def _texts(row: dict[Any, Any], alpha: float) -> dict[str, Any]:
    form = fixed((row["truth"], row["mean_estimate"]), row["bias_mcse"])
    level = ".2e" if form == ".1e" else form
    tested = has_test(row["term"])
    return {
        **{name: row[name] for name in ("estimator", "term", "error")},
        "purpose": _purpose([row]),
        "flags": marked(row, alpha),
        "truth": truth_text(row, level),
        "mean": number(row["mean_estimate"], level),
        "bias": bracketed(row["bias"], row["bias_mcse"], form),
        "relative_bias": percent(row, "relative_bias"),
        "empirical_se": bracketed(row["empirical_se"], row["empirical_se_mcse"], form),
        "between_worlds": bracketed(100 * row["between_worlds"], 100 * row["between_worlds_mcse"], ".1f"),
        "rmse": bracketed(row["rmse"], row["rmse_mcse"], form),
        "mean_se": number(row["mean_se"], level),
        "se_error": bracketed(row["se_error"], row["se_error_mcse"], ".1f"),
        "coverage": percent(row, "coverage"),
        "bias_eliminated_coverage": percent(row, "bias_eliminated_coverage"),
        "rejection": percent(row, "rejection") if tested else DASH,
        "size_adjusted_power": percent(row, "size_adjusted_power") if tested else DASH,
        "type_s": percent(row, "type_s") if tested else DASH,
        "type_m": bracketed(row["type_m"], row["type_m_mcse"], ".3f") if tested else DASH,
        "fits": DASH if np.isnan(row["n"]) else f"{int(row['n']):,}/{int(row['attempted']):,}",
    }
