"""Numbers on parallel trends: the pre-trend test and breakdown values, held to the tests of the path itself."""

from __future__ import annotations

from dataclasses import replace

import made_cities
import numpy as np
import pytest
from scipy import stats

from estimators.staggered.callaway_santanna import CallawaySantAnna
from estimators.staggered.honest import BoundsQuestion, breakdown, relative_magnitudes
from estimators.staggered.trend_evidence import MOST, EventTimes, TrendEvidence, breakdowns
from sim import BadInput, Panel, Roles


@pytest.fixture(scope="module")
def panel() -> Panel:
    return replace(made_cities.panel(), weights={})


def test_the_test_is_that_of_the_path(panel: Panel) -> None:
    found = TrendEvidence()(panel)
    path = EventTimes.of(CallawaySantAnna(base="universal"), panel)
    covariance = path.covariance[: path.pre, : path.pre]
    wald = float(path.estimate[: path.pre] @ np.linalg.solve(covariance, path.estimate[: path.pre]))
    q, m = path.pre, path.treated
    pvalue = stats.f.sf(wald * (m - q) / (q * (m - 1)), q, m - q)
    assert 2 * stats.norm.sf(found.estimate[0, 0]) == pytest.approx(pvalue, rel=1e-6)
    assert found.pvalues["pre-trend"] == pytest.approx(pvalue, rel=1e-6)


def test_breakdowns_are_where_the_bounds_reach_zero(panel: Panel) -> None:
    """A drift-free panel with a large effect: at the value the interval's end is 0, below it it is not."""
    large = panel.with_variables({"y": panel.variables["y"] + 6.0 * panel.variables["did"]})
    path = EventTimes.of(CallawaySantAnna(base="universal"), large)
    first, mean = breakdowns(path)
    post = len(path.events) - path.pre
    for value, weights in ((first, np.eye(1, post)[0]), (mean, np.full(post, 1 / post))):
        assert 0 < value < MOST
        question = BoundsQuestion(path.estimate, path.covariance, path.pre, weights)
        assert relative_magnitudes(question, 0.99 * value)[0] > 0
        assert relative_magnitudes(question, 1.01 * value)[0] <= 0
        assert value == pytest.approx(breakdown(question, "relative magnitudes"))
    assert first > mean
    found = TrendEvidence(bounds=True)(large)
    assert found.terms == ("pre-trend", "breakdown:first", "breakdown:mean")
    assert found.estimate[0, 1:].tolist() == pytest.approx([first, mean])
    assert np.isnan(found.se[0, 0, 1:]).all()


def test_a_value_that_no_trend_reaches_is_the_largest(panel: Panel) -> None:
    quiet = panel.with_variables({"y": 1e-3 * panel.variables["y"] + 6.0 * panel.variables["did"]})
    assert TrendEvidence(bounds=True)(quiet).estimate[0, 1:].tolist() == [MOST, MOST]


def test_a_batch_is_its_panels_one_by_one(panel: Panel) -> None:
    y = panel.variables["y"]
    many = panel.with_variables({"y": y + np.random.default_rng(2).standard_normal((3, *y.shape[1:]))})
    whole = TrendEvidence(bounds=True)(many)
    for row in range(3):
        np.testing.assert_array_equal(
            whole.estimate[row], TrendEvidence(bounds=True)(many.replication(row)).estimate[0]
        )


def test_panels_that_cannot_serve(panel: Panel) -> None:
    with pytest.raises(BadInput, match="becomes treated"):
        TrendEvidence()(panel.with_variables({"did": np.zeros((1, 9, 36))}))
    with pytest.raises(BadInput, match="no variable"):
        TrendEvidence(outcome="nothing")(panel)


def test_the_test_has_its_size() -> None:
    """60 x 8, 30 treated at one date, trends parallel: 5% at 5%, 400 panels, 4 Monte Carlo errors."""
    rng, rows, n, t = np.random.default_rng(20250403), 400, 60, 8
    d = (np.arange(t)[:, None] >= 4) * (np.arange(n) < 30) * 1.0
    y = rng.standard_normal((rows, t, n)) + d
    units = tuple(f"u{i}" for i in range(n))
    found = TrendEvidence()(Panel(units, tuple(range(t)), {"y": y, "d": d[None]}, Roles("y", "d")))
    rejected = (found.estimate[:, 0] > stats.norm.ppf(0.975)).mean()
    assert abs(rejected - 0.05) < 4 * np.sqrt(0.05 * 0.95 / rows) + 0.01
