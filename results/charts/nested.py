"""The nested-loop picture: every cell of a grid of many dials from left to right, and below which value each dial has.

Rücker and Schwarzer (2014, BMC Medical Research Methodology 14:129).
"""

from __future__ import annotations

from results.charts.chart import Axis, Chart, Loop, Panel, Series, key_of
from results.charts.curves import point, references, value_axis
from results.charts.grid import dials, lead_terms, lines_of, subject_of, values_of
from results.charts.measure import Measure
from results.diagnosis.diagnose import Diagnosis


def nested_chart(diagnosis: Diagnosis, measure: Measure, *, term: str | None = None,
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
                  ", ".join(f"{dial.words} {dial.names[dial.at[cell]]}" for dial in grid))
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
        value_axis(measure, values, diagnosis.alpha), (Panel("", tuple(series)),),
        references(measure, diagnosis.alpha), caption, subject_of(values), loops,
    )  # fmt: skip
