"""Pictures of a measure over a grid: curves against a dial, or dots where no dial is an axis."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product

from results.diagnosis.diagnose import Diagnosis
from results.plots.chart import (
    Axis,
    Chart,
    Facet,
    Loop,
    Point,
    ReferenceLine,
    Series,
    axis_of,
    key_of,
    percent,
    span,
)
from results.plots.grid import Dial, ShownMeasure, Value, dials, lead_terms, lines_of, place_of, subject_of, values_of
from results.text import level, number

PANELS = 12  # small multiples of one picture
LINES = 14  # direct labels that a panel has room for
WANTED_POWER = 0.8


CurveRoles = tuple[Dial | None, Dial | None, tuple[Dial, ...]]  # axis, lines (None: estimators), dials of panels


def measure_chart(diagnosis: Diagnosis, measure: ShownMeasure, *, term: str | None = None, error: str | None = None,
                  axis: str | None = None) -> Chart | None:  # fmt: skip
    """The measure over the whole grid; None where it is defined nowhere.

    term: of the estimators that have it, else each one's first key term. error: one error type of several. axis: the
    dial to draw against, else the one with the most values. Where one line would be drawn, the lines are a dial.
    """
    values = values_of(diagnosis, measure, lead_terms(diagnosis, term))
    if error is not None:
        values = [value for value in values if value.place[3] in {error, ""}]
    roles = _roles(diagnosis, measure, values, axis)
    if measure.name == "power" and not (roles[0] and _moves(roles[0], values)):
        values = [value for value in values if not value.null]  # no curve leads from size to power
        roles = _roles(diagnosis, measure, values, axis)
    if not values:
        return None
    dial, lines, multiples = roles
    if dial is None:
        panels, places = _dots(values, multiples, measure, diagnosis.alpha)
    else:
        panels, places = _curves(values, dial, lines, multiples, measure, diagnosis.alpha)
    what = _terms(values)
    return Chart(
        key_of(measure.name, what, error or "", "chart"), "dots" if dial is None else "curves",
        f"{measure.short} {'for' if measure.by_error else 'of'} {what}", places,
        value_axis(measure, values, diagnosis.alpha), panels, references(measure, diagnosis.alpha),
        _caption(measure, what, diagnosis.alpha), subject_of(values),
    )  # fmt: skip


def references(measure: ShownMeasure, alpha: float) -> tuple[ReferenceLine, ...]:
    """The lines at values that matter: nominal, and of power the level and 80%."""
    if measure.name == "power":
        return ReferenceLine(alpha, percent(alpha)), ReferenceLine(WANTED_POWER, percent(WANTED_POWER))
    if measure.nominal is None:
        return ()
    nominal = measure.nominal(alpha)
    return (ReferenceLine(nominal, percent(nominal) if measure.share else number(nominal)),)


def value_axis(measure: ShownMeasure, values: Sequence[Value], alpha: float) -> Axis:
    """An axis that holds all values with their intervals, and the nominal one; power and type S from 0 to 1."""
    ends = [end for value in values for end in (value.value, value.lower, value.upper)]
    if measure.name in {"power", "size_adjusted_power"}:
        low, high = 0.0, 1.0
    elif measure.nominal is not None:
        low, high = span([*ends, measure.nominal(alpha)])
    else:
        low, high = span([*ends, 0.0] if measure.share else ends)
    if measure.column in {"coverage", "bias_eliminated_coverage"}:
        low, high = max(min(low, 0.9), 0.0), 1.0
    if measure.name in {"size", "rejection", "type_s"}:
        low, high = 0.0, min(max(high, 2 * alpha), 1.0)
    return axis_of(measure.words, low, high, percent if measure.share else number)


def dial_axis(dial: Dial) -> Axis:
    """The axis of a dial, marked at its values, as many as there is room for."""
    places = list(zip(dial.places, dial.names, strict=True))
    step = -(-len(places) // 8)
    low, high = span(dial.places, 0.03)
    return Axis(dial.words, low, high, tuple(places[::step]))


def _roles(diagnosis: Diagnosis, measure: ShownMeasure, values: Sequence[Value], axis: str | None) -> CurveRoles:
    """The axis is a number with at least three values; a lone line gives its place to the dial with the most values."""
    grid = dials(diagnosis.cells, sorted({value.place[0] for value in values}))
    numbers = [dial for dial in grid if dial.is_number and (len(dial.values) > 2 or dial.name == axis)]
    if axis is not None:
        numbers = [dial for dial in numbers if dial.name == axis]
    if not numbers:
        return None, None, tuple(grid)
    effects = [dial for dial in numbers if _moves(dial, values)] if measure.where == "known" else []
    chosen = max(effects or numbers, key=lambda dial: len(dial.values))
    rest = [dial for dial in grid if dial is not chosen]
    by = max(rest, key=lambda dial: len(dial.values), default=None) if len(lines_of(values)) == 1 else None
    if by is not None and len(by.values) > LINES:
        by = None
    return chosen, by, tuple(dial for dial in rest if dial is not by)


def _moves(dial: Dial, values: Sequence[Value]) -> bool:
    """Whether the dial moves the truth away from 0: power is drawn against such a one."""
    by_level: dict[int, set[bool]] = {}
    for value in values:
        by_level.setdefault(dial.at[value.place[0]], set()).add(value.null)
    return len({frozenset(found) for found in by_level.values()}) > 1


def _by_setting(values: Sequence[Value], panels: Sequence[Dial]) -> list[tuple[str, list[Value]]]:
    """The values of each setting of some dials that has any, beside the setting in words, in the order of the grid."""
    found: dict[tuple[int, ...], list[Value]] = {
        setting: [] for setting in product(*(range(len(dial.values)) for dial in panels))
    }
    for value in values:
        found[tuple(dial.at[value.place[0]] for dial in panels)].append(value)
    return [(place_of(panels, here[0].place[0]), here) for here in found.values() if here]


def _curves(
    values: Sequence[Value], dial: Dial, by: Dial | None, multiples: Sequence[Dial], measure: ShownMeasure, alpha: float
) -> tuple[tuple[Facet, ...], Axis]:
    names = lines_of(values)
    panels = []
    for title, here in _by_setting(values, multiples):
        drawn: dict[tuple[str, int], list[Point]] = {}
        for value in here:
            cell, name, _, error = value.place
            line = ((f"{by.words} {by.names[by.at[cell]]}", by.at[cell]) if by is not None
                    else (names[name, error], list(names).index((name, error))))  # fmt: skip
            at = dial.at[cell]
            drawn.setdefault(line, []).append(
                point(value, measure, alpha, dial.places[at], f"{dial.words} {dial.names[at]}")
            )
        order = sorted(drawn, key=lambda line: line[1])
        series = (Series(*line, tuple(sorted(drawn[line], key=lambda one: one.at))) for line in order)
        panels.append(Facet(title, tuple(series)))
    return tuple(panels), dial_axis(dial)


def _dots(
    values: Sequence[Value], multiples: Sequence[Dial], measure: ShownMeasure, alpha: float
) -> tuple[tuple[Facet, ...], Axis]:
    """One row an estimator and error type, one panel a cell."""
    names = lines_of(values)
    errors = list(dict.fromkeys(error for _, error in names))
    rows = {key: float(row) for row, key in enumerate(names)}
    panels = []
    for title, here in _by_setting(values, multiples):
        series = []
        for value in here:
            key = value.place[1], value.place[3]
            one = point(value, measure, alpha, rows[key], "")
            series.append(Series(names[key], errors.index(key[1]), (one,)))
        panels.append(Facet(title, tuple(series)))
    label = "estimator" if len({name for name, _ in names}) > 1 else "errors"
    marks = tuple((rows[key], names[key]) for key in names)
    return tuple(panels), Axis(label, -0.5, len(rows) - 0.5, marks)


def point(value: Value, measure: ShownMeasure, alpha: float, at: float, where: str) -> Point:
    """A value at a place of the picture."""
    text = value.text(measure)
    if measure.share:
        text = text.replace(" (", "% (") if " (" in text else f"{text}%"
    clear = value.departs(measure, alpha)
    said = f"{where}: {text}" if where else text
    return Point(at, value.value, value.lower, value.upper, said + ("!" if clear else ""), clear)


def _terms(values: Sequence[Value]) -> str:
    """The terms that are shown, the most frequent one first."""
    terms = [value.place[2] for value in values]
    return " or ".join(sorted(dict.fromkeys(terms), key=lambda term: -terms.count(term)))


def _caption(measure: ShownMeasure, what: str, alpha: float) -> str:
    said: Mapping[str, str] = {
        "power": (
            f"Power: the share of {level(alpha)} tests of {what} that reject; where the truth is 0 this is the size."
        ),
        "size": f"Size: the share of {level(alpha)} tests of {what} that reject although the truth is 0.",
        "coverage": f"Coverage: the share of {level(1 - alpha)} intervals for {what} that hold the truth.",
        "bias": f"Bias of {what}: the mean of estimate minus truth; it should be 0.",
    }
    first = said.get(measure.name, f"{measure.short} of {what}: {measure.words}.")
    marked = " Filled marks depart clearly from the line." if measure.nominal is not None else ""
    return f"{first} Bars are 95% Monte Carlo intervals.{marked}"


def fits_one_picture(chart: Chart) -> bool:
    """Whether its panels and lines have room; else the nested-loop picture shows it."""
    lines = max((len(panel.series) for panel in chart.panels), default=0)
    most = PANELS if chart.form == "dots" else PANELS + 4
    return len(chart.panels) <= most and (chart.form == "dots" or lines <= LINES) and math.isfinite(chart.values.low)


# The nested-loop picture: every cell of a grid of many dials from left to right, and below which value each dial
# has.
#
# Rücker and Schwarzer (2014, BMC Medical Research Methodology 14:129).


def nested_chart(diagnosis: Diagnosis, measure: ShownMeasure, *, term: str | None = None,
                 error: str | None = None) -> Chart | None:  # fmt: skip
    """One step a cell, in the order of the grid's dials, the first the slowest; None where the measure is undefined."""
    values = values_of(diagnosis, measure, lead_terms(diagnosis, term))
    if error is not None:
        values = [value for value in values if value.place[3] in {error, ""}]
    if not values:
        return None
    cells = sorted({value.place[0] for value in values})
    grid = dials(diagnosis.cells, cells)
    order = sorted(cells, key=lambda cell: tuple(dial.at[cell] for dial in grid))
    places = {cell: float(place) for place, cell in enumerate(order)}
    names = lines_of(values)
    series = []
    for kind, key in enumerate(names):
        points = [
            point(value, measure, diagnosis.alpha, places[cell := value.place[0]],
                  place_of(grid, cell))
            for value in values if (value.place[1], value.place[3]) == key
        ]  # fmt: skip
        series.append(Series(names[key], kind, tuple(sorted(points, key=lambda one: one.at))))
    loops = tuple(Loop(dial.words, tuple(dial.at[cell] for cell in order), dial.names) for dial in grid)
    what = " or ".join(dict.fromkeys(value.place[2] for value in values))
    axis = Axis("cells of the grid", -0.5, len(order) - 0.5, ())
    caption = (f"{measure.short} of {what} in all {len(order)} cells of the grid, from left to right: the first dial "
               "changes slowest. The steps below say which value each dial has there.")  # fmt: skip
    return Chart(
        key_of("nested", measure.name, what, error or ""), "nested", f"{measure.short} of {what} in every cell", axis,
        value_axis(measure, values, diagnosis.alpha), (Facet("", tuple(series)),),
        references(measure, diagnosis.alpha), caption, subject_of(values), loops,
    )  # fmt: skip
