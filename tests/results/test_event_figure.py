"""The event-study figure as a document: well-formed, the same bytes each time, every number where it belongs."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest

from estimators import TwoWayDID
from estimators.staggered.event_study import EventStudy
from estimators.staggered.imputation import Imputation
from estimators.staggered.sun_abraham import SunAbraham
from references.staggered_panels import staggered_panel
from results.report.event_figure import FOOT, TOP, EventPath, event_figure, event_path
from sim import BadInput

SVG = "{http://www.w3.org/2000/svg}"


def paths() -> list[EventPath]:
    panel = staggered_panel()
    return [event_path(model(panel), model.name) for model in (EventStudy(), Imputation(), SunAbraham())]


def test_paths_hold_the_fit() -> None:
    fit = EventStudy(errors=("cluster:unit", "cluster:province"))(staggered_panel())
    path = event_path(fit, "two-way")
    assert path.events.tolist() == [-5, -4, -3, -2, 0, 1, 2, 3, 4, 5]
    assert path.reference == -1
    low, high = path.ends(4, uniform=False)
    column = fit.terms.index("event(0)")
    assert (low + high) / 2 == pytest.approx(fit.estimate[0, column])
    assert (high - low) / 2 == pytest.approx(2.0639 * fit.se[0, 0, column], rel=1e-4)  # t of 25 - 1
    wide = path.ends(4, uniform=True)
    assert wide[1] - wide[0] == pytest.approx(2 * fit.statistics["uniform"][0] * fit.se[0, 0, column])
    other = event_path(fit, "two-way", error="cluster:province")
    assert np.isnan(other.uniform)
    assert np.isnan(event_path(fit, "two-way", level=0.9).uniform)
    assert event_path(Imputation()(staggered_panel()), "imputation").reference is None


def test_the_figure_is_a_document_of_its_numbers() -> None:
    figure = event_figure(paths(), "icr")
    root = ET.fromstring(figure.svg)
    assert figure.svg == event_figure(paths(), "icr").svg
    assert root.find(f"{SVG}title").text == "Effect on icr by periods since adoption"  # type: ignore[union-attr]
    described = root.find(f"{SVG}desc").text or ""  # type: ignore[union-attr]
    assert described.startswith(figure.caption)
    for path in paths():
        assert path.name in described
        shown = [item for item in root.iter(f"{SVG}title") if (item.text or "").startswith(f"{path.name}, ")]
        assert len(shown) == len(path.known)
    heights = [float(item.get(side, "0")) for item in root.iter(f"{SVG}line") for side in ("y1", "y2")]
    assert min(heights) >= TOP - 0.1
    axis = [height for height in heights if height <= FOOT]
    assert len(axis) > 40


def test_markers_stand_at_the_estimates() -> None:
    path = paths()[0]
    root = ET.fromstring(event_figure([path], "icr").svg)
    groups = list(root.iter(f"{SVG}g"))
    heights = np.array([float(group.find(f"{SVG}circle").get("cy", "")) for group in groups])  # type: ignore[union-attr]
    places = np.array([float(group.find(f"{SVG}circle").get("cx", "")) for group in groups])  # type: ignore[union-attr]
    slope = np.polyfit(path.estimate, heights, 1)
    np.testing.assert_allclose(np.polyval(slope, path.estimate), heights, atol=0.06)
    assert slope[0] < 0
    steps = np.diff(places) / np.diff(path.events)
    np.testing.assert_allclose(steps, steps[0], atol=0.11)


def test_missing_event_times_and_intervals_are_left_out() -> None:
    path = paths()[0]
    estimate, se = path.estimate.copy(), path.se.copy()
    estimate[0] = se[0] = se[1] = np.nan
    figure = event_figure([replace(path, estimate=estimate, se=se, uniform=np.nan)], "a < b")
    root = ET.fromstring(figure.svg)
    assert len(list(root.iter(f"{SVG}g"))) == len(path.events) - 1
    assert "nan" not in figure.svg
    assert "uniform" not in figure.caption


def test_bad_input() -> None:
    panel = staggered_panel(replications=2)
    with pytest.raises(BadInput, match="2 fits"):
        event_path(EventStudy()(panel), "event-study")
    with pytest.raises(BadInput, match="no terms event"):
        event_path(TwoWayDID()(staggered_panel()), "did")
    with pytest.raises(BadInput, match="no error type 'hc1'"):
        event_path(EventStudy()(staggered_panel()), "event-study", error="hc1")
    with pytest.raises(BadInput, match="5 fits"):
        event_figure([paths()[0]] * 5, "icr")
