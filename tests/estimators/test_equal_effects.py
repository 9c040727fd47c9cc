"""The test of equal effects: subsamples, dummies, another program, its own permutations one by one, its size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from agreement import in_another_order, of_units
from numpy.typing import NDArray
from refusals import refuses
from scipy import stats

from estimators import Status, TwoWayDID
from estimators.linear.equal_effects import InteractionTest
from experiments.references.reference import long_frame
from references.pyfixest_reference import feols
from references.regressions import panel_ols
from references.small_panels import small_panel
from sim import Panel, Streams
from sim.panel import group_labels

VALUES = ("a", "b", "c")
TEST = InteractionTest("zone", VALUES, errors=("iid", "hc1", "cluster:province", "cluster:unit"))


def grouped(n: int = 48, t: int = 6, *, missing: int = 0, seed: int = 3, replications: int = 1) -> Panel:
    """A small panel with zones a, b, c of unequal size that cut across its provinces."""
    panel = small_panel(n, t, seed=seed, missing=missing, replications=replications, model="none")
    zone = np.random.default_rng(seed).permutation(np.repeat(VALUES, [n // 2, n // 3, n - n // 2 - n // 3]))
    return replace(panel, attributes={**panel.attributes, "zone": zone}, weights={})


def with_zone(panel: Panel, zone: NDArray[np.str_]) -> Panel:
    return replace(panel, attributes={**panel.attributes, "zone": zone})


@pytest.mark.parametrize("missing", [0, 25])
def test_dummies_give_the_same_numbers(missing: int) -> None:
    """Least squares on slopes by zone and dummies of units and of zones by period, with sandwiches written out."""
    panel = grouped(missing=missing)
    frame = long_frame(panel, ("y", "did", "inv", "road"))
    in_zone = frame["zone"].to_numpy()[:, None] == np.array(VALUES)
    slopes = np.concatenate([frame[[name]].to_numpy() * in_zone for name in ("did", "inv", "road")], axis=1)
    cells = (frame["zone"] + frame["period"].astype(str)).to_numpy()
    dummies = [(codes[:, None] == np.unique(codes)).astype(float) for codes in (frame["unit"].to_numpy(), cells)]
    x = np.concatenate([slopes, *dummies], axis=1)
    y = frame["y"].to_numpy()
    bread = np.linalg.pinv(x.T @ x, rcond=1e-12, hermitian=True)
    beta = bread @ x.T @ y
    e = y - x @ beta
    rank, n = int(np.linalg.matrix_rank(x)), len(y)
    contrast = np.zeros((3, x.shape[1]))
    contrast[[0, 1, 2, 1, 2], [0, 1, 2, 0, 0]] = [1, 1, 1, -1, -1]
    found = TEST(panel)
    np.testing.assert_allclose(found.estimate[0], contrast @ beta, rtol=1e-10)
    counted = rank - 47  # not the effects of 48 units, but the constant
    for e_index, error in enumerate(TEST.errors):
        if error == "iid":
            meat = e @ e / (n - rank) * x.T @ x
        elif error == "hc1":
            meat = n / (n - rank) * (x * e[:, None] ** 2).T @ x
        else:
            codes = frame[error.removeprefix("cluster:")].to_numpy()
            scores = (codes == np.unique(codes)[:, None]).astype(float) @ (x * e[:, None])
            g = len(scores)
            meat = g / (g - 1) * (n - 1) / (n - counted) * scores.T @ scores
        covariance = contrast @ bread @ meat @ bread @ contrast.T
        np.testing.assert_allclose(found.se[0, e_index], np.sqrt(np.diag(covariance)), rtol=1e-9, err_msg=error)
    d = (contrast @ beta)[1:]
    wald = d @ np.linalg.solve(covariance[1:, 1:], d)
    np.testing.assert_allclose(found.statistics["wald"], wald, rtol=1e-9)
    np.testing.assert_allclose(found.statistics["wald_p"], stats.f.sf(wald / 2, 2, g - 1), rtol=1e-9)


def test_pyfixest_agrees() -> None:
    panel = grouped()
    frame = long_frame(panel, ("y", "did", "inv", "road"))
    for value in VALUES:
        for name in ("did", "inv", "road"):
            frame[f"{name}_{value}"] = frame[name] * (frame["zone"] == value)
    frame["cell"] = frame["zone"] + frame["period"].astype(str)
    others = " + ".join(f"{name}_{value}" for name in ("inv", "road") for value in VALUES)
    fit = feols(f"y ~ did + did_b + did_c + {others} | unit + cell", frame, {"CRV1": "unit"})
    found = TEST(panel)
    terms = ["did", "did_b", "did_c"]
    np.testing.assert_allclose(found.estimate[0], fit.coef()[terms], rtol=1e-9)
    fewer = np.sqrt((288 - 9 - 18) / (288 - 9 - 16))  # it counts a redundant effect in two of three zones
    np.testing.assert_allclose(found.se[0, -1], fewer * fit.se()[terms], rtol=1e-9)


@pytest.mark.parametrize("missing", [0, 25])
def test_every_error_is_that_of_the_fully_interacted_regression(missing: int) -> None:
    """PanelOLS on the first zone's slopes and all differences, also where eigenvalues are floored."""
    panel = grouped(missing=missing)
    rng = np.random.default_rng(5)
    places = {"longitude": rng.uniform(100, 120, 48), "latitude": rng.uniform(25, 40, 48)}
    panel = replace(panel, attributes={**panel.attributes, **places})
    errors = ("iid", "hc1", "cluster:unit", "cluster:province+period", "cluster:unit+period", "driscoll-kraay",
              "conley:300", "conley:900:bartlett", "conley:1500")  # fmt: skip
    names = ("did", "inv", "road")
    within = {
        f"{name} x {value}": panel.variables[name] * (panel.attributes["zone"] == value)
        for value in VALUES[1:]
        for name in names
    }
    whole = panel_ols(regressors=(*names, *within), effects=("unit", "zone-by-period"), errors=errors)(
        panel.with_variables(within)
    )
    found = replace(TEST, errors=errors)(panel)
    columns = [whole.terms.index(term) for term in found.terms]
    np.testing.assert_allclose(found.estimate, whole.estimate[:, columns], rtol=1e-10)
    np.testing.assert_allclose(found.se, whole.se[:, :, columns], rtol=1e-8)
    np.testing.assert_array_equal(found.dof, whole.dof[:, :, columns])
    flags = {name: values[0] for name, values in found.statistics.items() if name.startswith("floored:")}
    assert flags == {name: values[0] for name, values in whole.statistics.items() if name.startswith("floored:")}
    assert set(flags.values()) == {0.0, 1.0}


def test_singletons_are_left_out_as_in_the_regression_with_all_interactions() -> None:
    panel = replace(grouped(), observed=np.ones((1, 6, 48), dtype=bool))
    observed = panel.observed
    assert observed is not None
    observed = observed.copy()
    observed[0, 1:, ::5] = False  # seen once
    panel = replace(panel, observed=observed)
    two = replace(TEST, values=("a", "b"), errors=("cluster:unit",))
    found = two(panel)
    zone = panel.attributes["zone"]
    kept = of_units(panel, np.isin(zone, ("a", "b")))
    names = panel.roles.regressors
    b = (kept.attributes["zone"] == "b") * 1.0
    whole = kept.with_variables({f"b_{name}": kept.variables[name] * b for name in names})
    wide = TwoWayDID(regressors=(*names, *(f"b_{name}" for name in names)), errors=("cluster:unit",),
                     effects=("unit", "zone-by-period"))(whole)  # fmt: skip
    at = wide.terms.index(f"b_{panel.roles.treatment}")
    assert found.estimate[0, 1] == pytest.approx(wide.estimate[0, at], rel=1e-8)
    assert found.se[0, 0, 1] == pytest.approx(wide.se[0, 0, at], rel=1e-8)
    assert found.dof[0, 0, 1] == wide.dof[0, 0, at]


def test_two_groups_have_the_p_value_of_their_term() -> None:
    found = replace(TEST, values=("a", "c"))(grouped())
    t = found.estimate[0, 1] / found.se[0, -1, 1]
    np.testing.assert_allclose(found.statistics["wald"], t**2, rtol=1e-12)
    np.testing.assert_allclose(found.statistics["wald_p"], 2 * stats.t.sf(abs(t), found.dof[0, -1, 1]), rtol=1e-10)


@pytest.mark.parametrize("missing", [0, 12])
def test_the_permutation_p_value_one_assignment_at_a_time(missing: int) -> None:
    panel, draws = grouped(missing=missing), 50
    found = replace(TEST, draws=draws)(panel, Streams(7))
    zone = panel.attributes["zone"]
    seen = panel.variables["did"][0] > 0
    treated = (seen if panel.observed is None else seen & panel.observed[0]).any(axis=0)
    rng = next(iter(Streams(7).each("permutation")))
    exceeded = 0
    for start in (0, 32):
        shuffled = np.tile(zone, (min(32, draws - start), 1))
        for stratum in (treated, ~treated):
            shuffled[:, stratum] = rng.permuted(shuffled[:, stratum], axis=1)
        for labels in shuffled:
            other = TEST(with_zone(panel, labels)).statistics["wald"][0]
            exceeded += int(other >= found.statistics["wald"][0] * (1 - 1e-9))
    p = (1 + exceeded) / (draws + 1)
    assert 0.02 < p < 0.98
    np.testing.assert_allclose(found.statistics["permutation_p"], p, rtol=1e-14)
    np.testing.assert_allclose(found.statistics["permutation_p_mcse"], np.sqrt(p * (1 - p) / draws), rtol=1e-14)


def test_order_of_units_scale_and_added_effects_change_nothing() -> None:
    panel = grouped(missing=10)
    test = replace(TEST, draws=99)
    found = test(panel, Streams(5))
    zone_period = np.random.default_rng(2).normal(size=(1, 6, 3))[
        :, :, np.searchsorted(VALUES, panel.attributes["zone"])
    ]
    moved = panel.with_variables({"y": 100.0 * panel.variables["y"] + zone_period + np.arange(48.0)})
    for other, scale in ((in_another_order(panel)[0], 1.0), (moved, 100.0)):
        got = test(other, Streams(5))
        np.testing.assert_allclose(got.estimate, scale * found.estimate, rtol=1e-9)
        np.testing.assert_allclose(got.se, scale * found.se, rtol=1e-9)
        np.testing.assert_allclose(got.statistics["wald"], found.statistics["wald"], rtol=1e-9)
        assert got.statistics["permutation_p"] == found.statistics["permutation_p"]


def test_a_batch_is_its_replications() -> None:
    panel = grouped(replications=3)
    test = replace(TEST, draws=40)
    whole = test(panel, Streams(9).tile(4, 7))
    for row in range(3):
        alone = test(panel.replication(row), Streams(9).tile(4 + row, 5 + row))
        np.testing.assert_array_equal(whole.estimate[row], alone.estimate[0])
        np.testing.assert_array_equal(whole.statistics["permutation_p"][row], alone.statistics["permutation_p"][0])


def test_a_group_without_treated_units_is_singular() -> None:
    panel = grouped()
    did = np.where(panel.attributes["zone"] == "b", 0.0, panel.variables["did"])
    assert TEST(panel.with_variables({"did": did})).status[0] == Status.SINGULAR


def test_a_group_whose_period_effects_absorb_a_control_is_singular() -> None:
    panel = grouped()
    paths = np.arange(6.0)[:, None] + 1e-6 * np.random.default_rng(2).standard_normal((6, 48))  # 1e-13 of it is left
    control = np.where(panel.attributes["zone"] == "b", paths, panel.variables["inv"])
    assert TEST(panel.with_variables({"inv": control})).status[0] == Status.SINGULAR


def test_two_units_have_no_clustered_variance() -> None:
    panel = grouped()
    treated = panel.variables["did"][0].any(axis=0)
    pair = [np.flatnonzero(treated)[0], np.flatnonzero(~treated)[0]]
    zone = np.where(np.isin(np.arange(48), pair), "c", "a")
    found = replace(TEST, values=("a", "c"), errors=("iid",), draws=19)(with_zone(panel, zone))
    assert np.isfinite(found.estimate).all()
    assert found.status[0] == Status.SINGULAR
    assert np.isnan(found.statistics["permutation_p"][0])


def test_assignments_without_a_statistic_count_as_large() -> None:
    """Zone c has the one of its treated units that adopts later; six of eight that may take its place always were."""
    panel, did = grouped(), np.zeros((1, 6, 48))
    a, c = (np.flatnonzero(panel.attributes["zone"] == name) for name in ("a", "c"))
    did[:, :, a[:6]] = 1.0
    did[:, 3:, [a[6], c[0]]] = 1.0
    found = replace(TEST, values=("a", "c"), errors=("iid",), draws=199)(panel.with_variables({"did": did}), Streams(4))
    assert found.statistics["permutation_p"][0] > 0.6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"values": ("a",)}, "values = \\['a'\\]"),
        ({"values": ("a", "z")}, "no unit has zone = z"),
        ({"group": "planet"}, "group is 'planet'"),
        ({"errors": ("cluster:zone",)}, "1 cluster under cluster:zone"),
        ({"errors": ("hc7",)}, "unknown error type 'hc7'"),
        ({"regressors": ("inv",)}, "treatment is 'did'"),
    ],
)
def test_bad_input(settings: dict[str, object], message: str) -> None:
    refuses(message, lambda: replace(TEST, **settings)(grouped()))


def test_labels_of_numbers_and_words() -> None:
    assert group_labels(np.array([1.0, 2.0])).tolist() == ["1", "2"]
    assert group_labels(np.array([0.5, 2.0])).tolist() == ["0.5", "2.0"]
    assert group_labels(np.array([True, False])).tolist() == ["True", "False"]
    assert group_labels(np.array(["东部"])).tolist() == ["东部"]


def test_differences_are_unbiased_and_their_intervals_cover() -> None:
    """800 panels with a difference of 1.5: mean error and coverage within 4 Monte Carlo errors."""
    size = 800
    panel = grouped(n=120, t=5, seed=21, replications=size)
    more = 1.5 * panel.variables["did"] * (panel.attributes["zone"] == "b")
    found = replace(TEST, errors=("iid",))(panel.with_variables({"y": panel.variables["y"] + more}))
    error = found.estimate[:, 1] - 1.5
    assert abs(error.mean()) <= 4 * error.std() / np.sqrt(size)
    covered = (np.abs(error) <= stats.t.ppf(0.975, found.dof[:, 0, 1]) * found.se[:, 0, 1]).mean()
    assert abs(covered - 0.95) <= 4 * np.sqrt(0.95 * 0.05 / size)


@pytest.mark.long
def test_size_when_groups_differ_in_variance() -> None:
    """Of 400 panels without a difference, 5% are rejected by permutation, within 4 Monte Carlo errors."""
    size = 400
    panel = grouped(n=60, t=5, seed=11, replications=size)
    noise = np.random.default_rng(12).standard_normal((size, 5, 60)).cumsum(axis=1)
    test = replace(TEST, values=("a", "b"), errors=("cluster:unit",), draws=99)
    for y in (noise, noise * np.where(panel.attributes["zone"] == "b", 2.0, 1.0)):
        p = test(panel.with_variables({"y": y}), Streams(13).tile(0, size)).statistics["permutation_p"]
        assert abs((p <= 0.05).mean() - 0.05) <= 4 * np.sqrt(0.05 * 0.95 / size)
