"""The event-study figure as a document: well-formed, the same bytes each time, every number where it belongs."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from svg_text import SVG, path, places, said, texts

from estimators import TwoWayDID
from estimators.staggered.event_study import EventStudy, SunAbraham
from estimators.staggered.imputation import Imputation
from references.staggered_panels import staggered_panel
from results.plots.event_plot import EventPath, event_figure, event_path
from sim import BadInput


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
    notes = said(figure.svg)
    for index, fit in enumerate(paths()):
        assert fit.name in described
        assert sum(text.startswith(f"{fit.name}, ") for text in notes.values()) == len(fit.known)
        assert f"fit-{index}-at-0" in notes
        assert any(text.startswith(fit.name) for text in texts(figure.svg))


def test_markers_stand_at_the_estimates_and_whiskers_end_at_the_intervals() -> None:
    fit = paths()[0]
    svg = event_figure([fit], "icr").svg
    where = np.array([places(svg, f"fit-0-at-{event}")[0] for event in fit.events])
    slope, start = np.polyfit(fit.estimate, where[:, 1], 1)
    assert slope < 0
    np.testing.assert_allclose(start + slope * fit.estimate, where[:, 1], atol=1e-3)
    steps = np.diff(where[:, 0]) / np.diff(fit.events)
    np.testing.assert_allclose(steps, steps[0], atol=1e-3)
    for place, event in enumerate(fit.events):
        for width, uniform in (("2.0", False), ("0.8", True)):
            ends = path(svg, f"fit-0-at-{event}-whisker-{width}")[:, 1]
            np.testing.assert_allclose(ends, start + slope * np.array(fit.ends(place, uniform=uniform)), atol=1e-3)


def test_missing_event_times_and_intervals_are_left_out() -> None:
    fit = paths()[0]
    estimate, se = fit.estimate.copy(), fit.se.copy()
    estimate[0] = se[0] = se[1] = np.nan
    figure = event_figure([replace(fit, estimate=estimate, se=se, uniform=np.nan)], "a < b")
    assert len(said(figure.svg)) == len(fit.events) - 1
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
