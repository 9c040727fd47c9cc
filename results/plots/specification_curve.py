"""The effect in table 2's columns, for the head of a page, and the specification curve.

The curve is the effect in every way it was estimated, from the lowest to the highest, with intervals.

Above, an estimate a way with its 95% interval, filled where it is significant at 5%, half filled at 10%; below, a row
of ticks for every group of ways (Simonsohn, Simmons and Nelson 2020).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from results.plots.chart import Axis, Chart, Facet, Point, Series, axis_of
from results.plots.chart import span as ends
from results.plots.paper import BLUE, INK, RED, SOFT, figure, frame, span
from results.tables.chinese import wording
from results.tables.journal_table import TableSetting, coefficient, fit_columns, interval
from results.tables.records import BASELINE, Document, Figure, Specification
from results.tables.typography import in_style, model_label
from results.text import number, p_value
from sim.errors import amount

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

NAME = "specification-curve"
WIDTH, HEIGHT, ROW = 518.4, 230.0, 12.0  # points
KINDS = {
    "errors": "error type", "sample": "sample (tables 3, 4)", "effects": "other effects", "controls": "controls",
    "check": "check (table R)", "estimator": "estimator (table S)", "W": "W and spatial model", "left out": "left out",
}  # fmt: skip


def effect_chart(document: Document, errors: str | None = None) -> Chart | None:
    """The effect of the treatment in each column of table 2, with its interval; None without the main one.

    errors: the error type that is shown where a column has it. Random effects are left to the table.
    """
    setting, words = TableSetting(document, errors), wording(document)
    main = setting.main
    if main is None or main.estimate is None:
        return None
    points: list[Point] = []
    marks: list[tuple[float, str]] = []
    given = {place: beside for beside, place in BASELINE.items()}  # what else is in the regression of a column
    for column in (column for column in fit_columns(document, main.table) if column.model != "random"):
        record = setting.shown_record(column, str(setting.treatment))
        if record is None or record.estimate is None:
            continue
        way = given.get(column.place, model_label(column.model)).replace("units, periods", "both effects")
        row, label = float(len(points)), f"({column.column}) {words(way)}"
        low, high = (math.nan if end is None else end for end in (record.lower, record.upper))
        said = " ".join(in_style(cell, document.style) for cell in (coefficient(record), interval(record))).strip()
        points.append(Point(row, record.estimate, low, high, f"{label}: {said}", record.identity == main.identity))
        marks.append((row, label))
    low, high = ends([0.0, *(value for one in points for value in (one.value, one.low, one.high))])
    name = setting.treatment_name
    return Chart(
        "effect-in-table-2", "dots", words(f"Effect of {name} on {setting.outcome}"),
        Axis(words("column of table 2"), -0.5, len(points) - 0.5, tuple(marks)), axis_of(words("estimate"), low, high),
        (Facet("", (Series("", 0, tuple(points)),)),), ((0.0, "0"),),
        words("Estimates of table 2 by what else is in the regression, with 95% intervals; the filled one is that "
              "above."),
    )  # fmt: skip


def curve_figure(every: Sequence[Specification], effect: float, outcome: str) -> Figure:
    """The figure of all specifications, the same bytes for the same numbers; effect: the one that is claimed."""
    title = f"Effect on {outcome} in {len(every)} specifications"
    same, at5, at10 = counts(every, effect)
    caption = (
        f"Estimates with 95% intervals; the dashed line is the effect of table 2, {number(effect)}. Of {len(every)}, "
        f"{same} have its sign, {at5} of them are significant at 5% (filled) and {at10} at 10% (dark edge). Ticks "
        "below say what differs from table 2."
    )
    ordered = sorted(every, key=lambda one: (one.estimate, one.kind, one.label))
    kinds = [kind for kind in KINDS if any(one.kind == kind for one in every)]
    size = WIDTH, HEIGHT + ROW * len(kinds)
    # the scale holds all estimates, zero and the effect; of many intervals not the widest
    finite = [end for one in ordered for end in (one.lower, one.upper) if math.isfinite(end)]
    inside = np.quantile(finite, [0.02, 0.98]).tolist() if len(finite) > 50 else finite
    low, high = span([*inside, *(one.estimate for one in ordered)], [0.0, effect])
    if cut := sum(one.lower < low or one.upper > high for one in ordered):
        caption += f" The picture cuts {amount(cut, 'interval')} that would need a wider scale."
    paint = partial(_paint, ordered=ordered, kinds=kinds, effect=effect, scale=(low, high), title=title)
    return figure(NAME, size, title, caption, paint)


def counts(every: Sequence[Specification], effect: float) -> tuple[int, int, int]:
    """How many have the sign of the effect, and of those are significant at 5% and at 10%."""
    same = [one for one in every if one.estimate * effect > 0]
    return len(same), sum(one.pvalue < 0.05 for one in same), sum(one.pvalue < 0.10 for one in same)


def _paint(
    canvas: Canvas, ordered: Sequence[Specification], kinds: Sequence[str], effect: float,
    scale: tuple[float, float], title: str,
) -> dict[str, str]:  # fmt: skip
    whole = HEIGHT + ROW * len(kinds)
    foot = (16.0 + ROW * len(kinds)) / whole
    axes = frame(canvas, (0.2, foot, 0.78, 0.93 - foot), title)
    rows = canvas.add_axes((0.2, 6.0 / whole, 0.78, ROW * len(kinds) / whole), facecolor="none", sharex=axes)
    said = {}
    for x, one in enumerate(ordered):
        colour = BLUE if one.estimate * effect > 0 else RED
        if math.isfinite(one.lower + one.upper):
            axes.plot([x, x], [one.lower, one.upper], color=colour, linewidth=0.8, alpha=0.55, zorder=2)
        axes.plot([x], [one.estimate], linestyle="", marker="o", markersize=3.4, color=colour, zorder=4,
                  markerfacecolor=colour if one.pvalue < 0.05 else "none", gid=f"way-{x}",
                  markeredgewidth=1.0 if one.pvalue < 0.10 else 0.4)  # fmt: skip
        said[f"way-{x}"] = f"{one.label}: {number(one.estimate)}, {p_value(one.pvalue)} ({one.se_type})"
        rows.plot([x], [kinds.index(one.kind)], linestyle="", marker="|", markersize=6.5, color=colour, zorder=3)
    axes.set(xlim=(-1.0, len(ordered)), ylim=scale, ylabel="effect")
    axes.axhline(0.0, color=INK, linewidth=0.9, zorder=1)
    axes.axhline(effect, color=SOFT, linewidth=0.9, linestyle=(0, (5, 3)), zorder=1)
    axes.yaxis.set_major_formatter(lambda value, _: number(value, 3))
    axes.tick_params(axis="x", length=0, labelbottom=False)
    axes.grid(axis="y")
    rows.set_ylim(len(kinds) - 0.5, -0.5)
    rows.set_yticks(range(len(kinds)), [KINDS[kind] for kind in kinds])
    rows.tick_params(axis="both", length=0, labelbottom=False)
    rows.spines[:].set_visible(False)
    return said
