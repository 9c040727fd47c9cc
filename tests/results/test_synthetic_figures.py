"""Figures of synthetic controls: lines, marks and bars stand at their numbers, and every number is told."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from svg_text import SVG, path, places, said, texts

from estimators import DemeanedSyntheticControl, SyntheticControl, SyntheticDID
from estimators.synthetic.synthetic_did import SyntheticEstimator
from references.small_panels import names
from results.plots.synthetic_plot import (
    SyntheticPlot,
    WeightsPlot,
    paths_figure,
    paths_picture,
    weights_figure,
    weights_picture,
)
from results.text import number
from sim import BadInput, Panel, Roles

PERIODS = tuple(range(1990, 2004))
ODD = "<b onload='x'>&\"y\""


def panel(dates: dict[int, int], *, units: int = 24, step: int = 1) -> Panel:
    """Random walks; `dates`: place of the first treated period by unit."""
    y = 50 + np.cumsum(np.random.default_rng(5).standard_normal((1, len(PERIODS), units)), axis=1)
    did = np.zeros_like(y)
    for unit, date in dates.items():
        did[0, date:, unit] = 1.0
    periods = tuple(1990 + step * k for k in range(len(PERIODS)))
    return Panel(names(units), periods, {"y": y, "did": did}, Roles("y", "did"))


def plot(
    dates: dict[int, int], estimator: SyntheticEstimator | None = None, outcome: str = "packs", step: int = 1
) -> SyntheticPlot:
    data, own = panel(dates, step=step), estimator or SyntheticDID()
    return SyntheticPlot(own.kind, own.paths(data), data.periods, outcome)


def assert_sound(svg: str, name: str) -> None:
    """One element with a title and a description, and finite numbers alone."""
    root = ET.fromstring(svg)
    assert (root.tag, root.get("role")) == (f"{SVG}svg", "img")
    labels = {item.get("id"): item.text or "" for item in root if item.tag in {f"{SVG}title", f"{SVG}desc"}}
    assert set(labels) == {f"{name}-t", f"{name}-d"}
    assert not re.search(r"\b(nan|inf)\b", "".join(each.get("d", "") for each in root.iter(f"{SVG}path")), re.I)
    for use in root.iter(f"{SVG}use"):
        assert np.isfinite([float(use.get(side, "nan")) for side in "xy"]).all()


@pytest.mark.parametrize("estimator", [SyntheticDID(), SyntheticControl(), DemeanedSyntheticControl()])
@pytest.mark.parametrize("dates", [{20: 8}, {20: 5, 21: 9, 22: 9}])
def test_lines_and_marks_stand_at_their_numbers(dates: dict[int, int], estimator: SyntheticEstimator) -> None:
    drawn = plot(dates, estimator)
    figure = paths_figure(drawn)
    assert_sound(figure.svg, f"paths-{estimator.kind}")
    assert paths_figure(plot(dates, estimator)) == figure
    assert len(drawn.paths) == len(set(dates.values()))
    for index, one in enumerate(drawn.paths):
        lines = {"observed": one.observed, "synthetic": one.synthetic}
        lines |= {"shifted": one.synthetic + one.shift} if drawn.weighted else {}
        corners = {name: path(figure.svg, f"{name}-{index}") for name in lines}
        slope, start = np.polyfit(one.observed, corners["observed"][:, 1], 1)
        assert slope < 0
        for name, values in lines.items():
            np.testing.assert_allclose(corners[name][:, 1], start + slope * values, atol=2e-3)
            np.testing.assert_allclose(np.diff(corners[name][:, 0]), np.diff(corners[name][:2, 0])[0], atol=2e-3)
        marks = np.array([places(figure.svg, f"synthetic-{index}-at-{at}")[0] for at in range(len(PERIODS))])
        np.testing.assert_allclose(marks, corners["synthetic"], atol=2e-3)
        before = PERIODS.index(one.adopted) - 1
        middle = corners["observed"][before : before + 2, 0].mean()
        np.testing.assert_allclose(path(figure.svg, f"adoption-{index}")[:, 0], middle, atol=2e-3)
    assert ("shifted-0" in figure.svg) == drawn.weighted == (estimator.kind != "synthetic-control")


def test_bars_are_as_high_as_the_weights_of_the_periods() -> None:
    drawn = plot({20: 8})
    svg = paths_figure(drawn).svg
    (one,) = drawn.paths
    known = np.flatnonzero(one.periods > 0)
    heights = []
    for at in known:
        (group,) = (
            each for each in ET.fromstring(svg).iter(f"{SVG}g") if (each.get("id") or "").endswith(f"-weight-0-at-{at}")
        )
        bar = np.array(re.findall(r"-?[\d.]+", next(group.iter(f"{SVG}path")).get("d", "")), dtype=float).reshape(-1, 2)
        heights.append(np.ptp(bar[:, 1]))
        centre = path(svg, "observed-0")[at, 0]
        assert bar[:, 0].min() + bar[:, 0].max() == pytest.approx(2 * centre, abs=4e-3)
        assert said(svg)[f"weight-0-at-{at}"] == f"{PERIODS[at]}: weight {one.periods[at]:.3f}"
    np.testing.assert_allclose(np.array(heights) / max(heights), one.periods[known] / one.periods.max(), atol=2e-3)
    assert svg.count("-weight-0-at-") == len(known)
    assert f"{one.periods.max():.2f}" in texts(svg)


def test_every_number_is_told() -> None:
    drawn = plot({20: 5, 21: 9, 22: 9})
    figure = paths_figure(drawn)
    notes, described = said(figure.svg), ET.fromstring(figure.svg).findtext(f"{SVG}desc") or ""
    assert described.startswith(figure.caption)
    for index, one in enumerate(drawn.paths):
        for at, period in enumerate(PERIODS):
            assert notes[f"observed-{index}-at-{at}"] == f"{period}, observed: {number(float(one.observed[at]))}"
            assert notes[f"synthetic-{index}-at-{at}"] == f"{period}, synthetic: {number(float(one.synthetic[at]))}"
        assert f"Treated from {one.adopted}: effect {number(one.estimate)}, shift {number(one.shift)}" in described
        who = one.treated[0] if len(one.treated) == 1 else "2 units"
        assert f"{who} from {one.adopted}: effect {number(one.estimate)}" in texts(figure.svg)
    assert "of 3 treated units" in figure.caption
    assert "Bars: weights" not in paths_figure(plot({20: 8}, SyntheticControl())).caption
    assert "less rain, soil;" in paths_figure(replace(drawn, adjusted=("rain", "soil"))).caption


def test_of_many_dates_those_with_the_most_cells_are_drawn_and_it_is_said() -> None:
    dates = {16: 3, 17: 4, 18: 5, 19: 6, 20: 7, 21: 8, 22: 12, 23: 12}
    drawn = plot(dates)
    assert len(drawn.paths) == 7
    assert [one.adopted for one in drawn.drawn] == [1993, 1994, 1995, 1996, 1997, 1998]  # 2002: 4 cells
    figure = paths_figure(drawn)
    assert "6 of 7 dates of adoption are drawn" in figure.caption
    assert not any("from 2002" in text for text in texts(figure.svg))
    few = paths_figure(plot({20: 5, 21: 9}))
    assert "dates of adoption are drawn" not in few.caption
    assert "observed" in texts(few.svg)  # and no mean: one unit a date


def test_periods_that_are_apart_and_odd_names() -> None:
    figure = paths_figure(plot({20: 8}, outcome=ODD, step=5))
    assert_sound(figure.svg, "paths-synthetic-did")
    assert ODD in figure.title
    assert "<b onload" not in figure.svg
    weights = {"synthetic-did": {ODD: 0.75, "u1": 0.0}, "synthetic-control": {ODD: 0.25, "u1": 0.5}}
    odd = weights_figure(WeightsPlot(weights, {"synthetic-did": 0.25, "synthetic-control": 0.25}, ODD))
    assert_sound(odd.svg, "synthetic-weights")
    assert "<b onload" not in odd.svg


def test_marks_stand_at_the_weights_and_zero_has_none() -> None:
    weights = {"synthetic-did": {"a": 0.4, "b": 0.3, "c": 0.1}, "synthetic-control": {"a": 0.0, "b": 0.9, "c": 0.05}}
    figure = weights_figure(WeightsPlot(weights, {"synthetic-did": 0.2, "synthetic-control": 0.05}, "packs"))
    notes = said(figure.svg)
    assert notes["unit-0-0"] == "a, Synthetic DID: 0.400"
    assert "unit-0-1" not in notes
    assert len(notes) == 5
    found = {gid: places(figure.svg, gid)[0] for gid in notes}
    values = np.array([list(own.values())[int(gid.split("-")[1])] for gid in found
                       for own in [list(weights.values())[int(gid.split("-")[2])]]])  # fmt: skip
    across = np.array([place[0] for place in found.values()])
    slope, start = np.polyfit(values, across, 1)
    assert slope > 0
    np.testing.assert_allclose(start + slope * values, across, atol=2e-3)
    assert found["unit-0-0"][1] < found["unit-1-0"][1] < found["unit-1-1"][1] < found["unit-2-0"][1]
    assert "Synthetic DID 0.200; Synthetic control 0.050" in figure.caption
    described = ET.fromstring(figure.svg).findtext(f"{SVG}desc") or ""
    assert "Synthetic control: b 0.900, c 0.050." in described


def test_pictures_in_python_have_the_same_words() -> None:
    drawn = plot({20: 8})
    assert paths_picture(drawn).alt == drawn.alt
    own = WeightsPlot({"synthetic-did": {"a": 1.0}}, {"synthetic-did": 0.0}, "packs")
    assert weights_picture(own).alt == own.alt
    assert 'alt="' in weights_picture(own)._repr_html_()


def test_nothing_to_draw_is_bad_input() -> None:
    with pytest.raises(BadInput, match="no date of adoption"):
        paths_figure(replace(plot({20: 8}), paths=()))
    with pytest.raises(BadInput, match="no control unit"):
        weights_figure(WeightsPlot({}, {}, "packs"))
