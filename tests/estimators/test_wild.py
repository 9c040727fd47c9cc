"""The wild cluster bootstrap against one that refits every draw with dummies, and its size with few clusters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from estimators import Estimates
from estimators.core.estimator import critical_values
from estimators.linear.covariances import cells_of
from estimators.linear.wild import WEBB, signs
from experiments.references.reference import long_frame
from references.regressions import panel_ols
from references.small_panels import small_panel
from sim import Panel, Streams

NAMES = ("did", "inv", "road")
DRAWS = 199
EFFECTS: dict[str, tuple[str, ...]] = {
    "pooled": (),
    "unit": ("unit",),
    "two-way": ("unit", "period"),
    "province-by-period": ("unit", "province-by-period"),
    "trend": ("unit", "period", "unit-trend"),
}


class Refitted:
    """Restricted draws and t statistics by least squares with a dummy for every effect, one draw at a time."""

    def __init__(self, panel: Panel, effects: tuple[str, ...], grouping: str) -> None:
        frame = long_frame(panel, ("y", *NAMES))
        unit, period = frame["unit"].to_numpy(), frame["period"].to_numpy()
        codes = np.unique(frame["province"], return_inverse=True)[1]
        levels = {
            "unit": np.equal.outer(unit, np.unique(unit)).astype(float),
            "period": np.equal.outer(period, np.unique(period)).astype(float),
            "unit-trend": np.equal.outer(unit, np.unique(unit)) * (period - 2003.0)[:, None],
            "province-by-period": np.equal.outer(codes * 9999 + period, np.unique(codes * 9999 + period)).astype(float),
        }
        dummies = np.hstack([np.ones((len(frame), 1)), *(levels[effect] for effect in effects)])
        self.y, self.x = frame["y"].to_numpy(), np.hstack([frame[list(NAMES)].to_numpy(), dummies])
        self.group = unit if grouping == "unit" else codes
        self.inverse = np.linalg.pinv(self.x, rtol=1e-10)
        self.bread = self.inverse @ self.inverse.T

    def t(self, y: np.ndarray, k: int, null: float) -> float:
        b = self.inverse @ y
        scores = self.x * (y - self.x @ b)[:, None]
        sums = np.zeros((self.group.max() + 1, scores.shape[1]))
        np.add.at(sums, self.group, scores)
        return float((b[k] - null) / np.sqrt(np.square(sums @ self.bread[k]).sum()))

    def pvalue(self, k: int, null: float, v: np.ndarray) -> float:
        rest = np.delete(self.x, k, axis=1)
        y = self.y - null * self.x[:, k]
        fitted = rest @ np.linalg.lstsq(rest, y)[0]
        own = abs(self.t(self.y, k, null))
        draws = [self.t(fitted + null * self.x[:, k] + row[self.group] * (y - fitted), k, null) for row in v]
        return float((1 + (np.abs(draws) >= own * (1 - 1e-9)).sum()) / (1 + len(draws)))


@pytest.mark.parametrize("missing", [0, 19], ids=["balanced", "unbalanced"])
@pytest.mark.parametrize("name", EFFECTS)
@pytest.mark.parametrize("grouping", ["unit", "province"])
def test_p_values_and_intervals_equal_those_of_refits(name: str, grouping: str, missing: int) -> None:
    panel = small_panel(20, 7, seed=8, missing=missing, sigma=2.0)
    error = f"wild:{grouping}"
    ours = panel_ols(effects=EFFECTS[name], errors=("cluster:unit", error), draws=DRAWS)(panel, Streams(3))
    assert ours.pvalue is not None
    assert ours.lower is not None
    assert ours.upper is not None
    clusters = int(cells_of(grouping, panel).max()) + 1
    v = signs(next(Streams(3).each(error)), DRAWS, clusters)
    twin = Refitted(panel, EFFECTS[name], grouping)
    columns = range(3) if EFFECTS[name] else range(4)  # pooled: the constant's own test too
    for k in columns:
        assert ours.pvalue[0, 1, k] == pytest.approx(twin.pvalue(k, 0.0, v), abs=1e-12)
    lower, upper = ours.lower[0, 1, 1], ours.upper[0, 1, 1]
    step = 1e-6 * (upper - lower)
    inside, outside = (lower + step, upper - step), (lower - step, upper + step)
    assert min(twin.pvalue(1, c, v) for c in inside) > 0.05
    assert max(twin.pvalue(1, c, v) for c in outside) <= 0.05
    assert np.isnan(ours.se[0, 1]).all()
    assert np.isnan(ours.pvalue[0, 0]).all()
    assert np.isfinite(ours.se[0, 0]).all()


@pytest.mark.parametrize("units", [6, 10, 14])
def test_a_cluster_that_is_never_observed_takes_no_sign(units: int) -> None:
    """Draws, p values and intervals are those of the panel without it: with 10 units the points are Webb's."""
    panel = small_panel(units, 6, seed=3, sigma=2.0)
    seen = np.ones((1, 6, units), dtype=bool)
    seen[:, :, 3] = False
    kept = np.arange(units) != 3
    own = replace(panel, attributes={"own": np.arange(units)})
    part = replace(
        own,
        units=tuple(np.array(panel.units)[kept].tolist()),
        variables={name: values[:, :, kept] for name, values in panel.variables.items()},
        attributes={"own": np.arange(units)[kept]},
        weights={},
    )
    model = panel_ols(errors=("wild:unit", "wild:own"), draws=199)
    one, two = model(part, Streams(2)), model(replace(own, observed=seen), Streams(2))
    for name in ("pvalue", "lower", "upper"):
        np.testing.assert_allclose(getattr(two, name), getattr(one, name), rtol=1e-6, err_msg=name)
    np.testing.assert_array_equal(two.dof, one.dof)


def test_an_interval_holds_zero_exactly_when_zero_is_not_rejected() -> None:
    panel = small_panel(30, 6, seed=4, replications=12, sigma=4.0)
    ours = panel_ols(errors=("wild:unit",), draws=199)(panel, Streams(1, "", 0, 12))
    assert ours.pvalue is not None
    assert ours.lower is not None
    assert ours.upper is not None
    rejected = ours.pvalue <= 0.05
    assert 0 < rejected.sum() < rejected.size
    np.testing.assert_array_equal((ours.lower > 0) | (ours.upper < 0), rejected)
    assert ((ours.lower < ours.estimate[:, None]) & (ours.estimate[:, None] < ours.upper)).all()


def test_with_many_clusters_it_is_close_to_the_clustered_interval() -> None:
    panel = small_panel(200, 6, seed=4, model="none")
    ours = panel_ols(errors=("cluster:unit", "wild:unit"), draws=4999)(panel, Streams(1))
    assert ours.lower is not None
    assert ours.upper is not None
    margin = (critical_values(ours.dof, 0.05) * ours.se)[0, 0]
    np.testing.assert_allclose((ours.upper - ours.lower)[0, 1] / 2, margin, rtol=0.06)


def test_two_clusters_reject_nothing() -> None:
    """A sixth of Webb's draws have equal signs, whose |t*| is |t| under every hypothesis: the interval has no end."""
    panel = small_panel(12, 6, seed=3)
    halves = replace(panel, attributes={"half": np.arange(12) // 6})
    ours = panel_ols(errors=("wild:half",), draws=199)(halves)
    assert ours.pvalue is not None
    assert (ours.pvalue > 1 / 10).all()
    assert np.isinf(ours.lower).all()
    assert np.isinf(ours.upper).all()


def test_signs_have_mean_zero_and_variance_one() -> None:
    for clusters, points in ((15, 2), (9, 6)):
        v = signs(np.random.default_rng(1), 20_000, clusters)
        assert len(np.unique(v)) == points
        assert abs(v.mean()) < 0.01
        assert v.var() == pytest.approx(1.0, abs=0.01)
    assert set(np.unique(signs(np.random.default_rng(1), 500, 10))) == {-1.0, 1.0}
    np.testing.assert_allclose(WEBB**2, [0.5, 1.0, 1.5])


def test_streams_decide_the_draws() -> None:
    panel = small_panel(20, 7, seed=8, replications=4)
    estimator = panel_ols(errors=("wild:unit",), draws=99)
    whole = estimator(panel, Streams(2, "a", 0, 4))
    parts = Estimates.join([estimator(panel.replication(r), Streams(2, "a", r, r + 1)) for r in range(4)])
    np.testing.assert_array_equal(whole.pvalue, parts.pvalue)
    np.testing.assert_allclose(whole.lower, parts.lower, rtol=1e-7)
    other = estimator(panel, Streams(3, "a", 0, 4))
    assert (whole.lower != other.lower).any()


@pytest.mark.long
def test_size_and_coverage_with_eight_clusters() -> None:
    """Treatment and errors common to clusters of unequal size: t of G - 1 rejects too often, the bootstrap does not."""
    rows, sizes = 600, np.array([2, 2, 2, 3, 4, 5, 9, 13])
    group = np.repeat(np.arange(8), sizes)
    streams = Streams(12, "few", 0, rows)
    shocks = streams.normals("shocks", 6, 8)[:, :, group] + 0.5 * streams.normals("own", 6, 40)
    x = streams.normals("x", 6, 8)[:, :, group]
    x = np.exp(x)  # skewed: some clusters weigh more than others
    panel = Panel(tuple(str(i) for i in range(40)), tuple(range(6)), {"y": 0.3 * x + shocks, "x": x},
                  attributes={"group": group})  # fmt: skip
    estimator = panel_ols("y", ("x",), errors=("cluster:group", "wild:group"), draws=199, constant=False)
    got = estimator(panel, streams)
    assert got.lower is not None
    assert got.upper is not None
    critical = critical_values(got.dof[:, 0, 0], 0.05)
    miss = np.abs(got.estimate[:, 0] - 0.3) > critical * got.se[:, 0, 0]
    missed = (got.lower[:, 1, 0] > 0.3) | (got.upper[:, 1, 0] < 0.3)
    print(f"share of 95% intervals that miss the truth: t(7) {miss.mean():.4f}, wild {missed.mean():.4f}")
    assert miss.mean() > 0.08
    assert abs(missed.mean() - 0.05) < 4 * np.sqrt(0.05 * 0.95 / rows)
