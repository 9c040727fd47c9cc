"""DID with local spillovers: exact identities, references, brute force, and the truth on the paper's cities."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from refusals import refuses

from estimators import Status
from estimators.linear.did import TwoWayDID
from estimators.staggered.spatial_did import Rings, SpatialDID
from references.brute_force import dummies
from references.pyfixest_reference import twoway_did
from references.regressions import panel_ols
from references.small_panels import adopting, bare, located, small_panel
from sim import Panel, Roles, Streams, Wanted, Weights
from sim.presets import Paper
from sim.weights import great_circle_km

ERRORS = ("iid", "hc1", "cluster:unit", "cluster:province", "cluster:unit+period", "driscoll-kraay", "conley:300")


def on_a_map(replications: int = 1) -> Panel:
    """60 units within 8 by 8 degrees."""
    return located(small_panel(60, 7, seed=3, replications=replications), 7, (8.0, 8.0))


def eleven(single: np.ndarray, effect: np.ndarray) -> Panel:
    """11 units x 4 periods, noise-free, treated units of `single` from the third period on with `effect` on all."""
    raw = np.zeros((11, 11))
    for i in range(11):
        for j in ((i + 1) % 11, 2 * i % 11, (3 * i + 2) % 11):
            raw[i, j] = float(j != i)
    units = tuple(f"u{i}" for i in range(11))
    did = np.zeros((1, 4, 11))
    did[:, 2:] = single
    y = did[:, :, :1] * 0 + np.arange(11.0) ** 1.5 + np.sin(np.arange(4.0))[:, None]
    y = y + np.where(np.arange(4)[:, None] >= 2, effect, 0.0)
    return Panel(units, (1, 2, 3, 4), {"y": y, "did": did}, Roles("y", "did"), weights={"w": Weights.of(units, raw)})


@pytest.mark.parametrize(("rho", "plain"), [(0.0, 0.9119047619048), (0.5, 0.7441209516866)])
def test_plain_did_is_the_golden_contrast_and_its_bias_is_reported(rho: float, plain: float) -> None:
    """The worked example of 11 units: b = 1, t = .4; with rho = 0 spillovers are local and every term is exact."""
    d = np.isin(np.arange(11), (0, 1, 4, 7)).astype(float)
    w = eleven(d, d).weights["w"].dense
    v = np.linalg.solve(np.eye(11) - rho * w, d + 0.4 * w @ d)
    panel = eleven(d, v)
    did = float(TwoWayDID(errors=("iid",))(panel).estimate[0, 0])
    assert did == pytest.approx(plain, abs=1e-12)
    assert did == pytest.approx(v[d == 1].mean() - v[d == 0].mean(), abs=1e-12)
    got = SpatialDID(errors=("iid",))(panel)
    assert got.params["did"] + got.params["did_bias"] == pytest.approx(did, abs=1e-12)
    spilled = got.params["spill:treated"] - got.params["spill:untreated"]
    assert spilled == pytest.approx(got.params["did_bias"], abs=1e-12)
    if rho == 0:
        wd = w @ d
        assert got.params["did"] == pytest.approx(1.0, abs=1e-12)
        assert got.params["w_did"] == pytest.approx(0.4, abs=1e-12)
        assert got.params["att"] == pytest.approx(v[d == 1].mean(), abs=1e-12)
        assert got.params["spill:treated"] == pytest.approx(0.4 * wd[d == 1].mean(), abs=1e-12)
        assert got.params["spill:untreated"] == pytest.approx(0.4 * wd[d == 0].mean(), abs=1e-12)


def test_untreated_units_count_from_the_first_adoption_on_whoever_is_treated_then() -> None:
    panel = small_panel(20, 6)
    did = (np.random.default_rng(3).random((6, 20)) < 0.3) * 1.0
    did[[0, 3]] = 0.0
    panel = panel.with_variables({"did": did[None]})
    got, exposure = SpatialDID()(panel), did @ next(iter(panel.weights.values())).dense.T
    later = (np.arange(6) >= 1)[:, None] & (did == 0)
    assert got.params["spill:untreated"] == pytest.approx(got.params["w_did"] * exposure[later].mean(), rel=1e-9)
    assert got.statistics["unexposed"][0] == pytest.approx((exposure[later] == 0).mean(), rel=1e-9)


@pytest.mark.parametrize("estimator", [SpatialDID(), SpatialDID(lag_controls=True), Rings(ends=(80.0, 160.0)),
                                       Rings(ends=(80.0, 160.0), reach="untreated")])  # fmt: skip
def test_did_bias_is_the_gap_to_the_same_regression_without_exposures(estimator: SpatialDID | Rings) -> None:
    panel = on_a_map(4)
    got = estimator(panel)
    lags = {f"w_{name}": panel.weights["knn"].lag(panel.variables[name]) for name in panel.roles.controls}
    extra = tuple(lags) if isinstance(estimator, SpatialDID) and estimator.lag_controls else ()
    short = TwoWayDID(regressors=("did", *panel.roles.controls, *extra))(panel.with_variables(lags))
    together = got.estimate[:, got.terms.index("did")] + got.estimate[:, got.terms.index("did_bias")]
    np.testing.assert_allclose(together, short.estimate[:, 0], atol=1e-12)


@pytest.mark.parametrize("estimator", [SpatialDID(errors=ERRORS), Rings(errors=ERRORS, ends=(80.0, 160.0))])
def test_coefficients_and_errors_are_panel_ols_with_the_exposures_as_columns(estimator: SpatialDID | Rings) -> None:
    panel = on_a_map(3)
    exposures = estimator.exposed_to(panel, panel.variables["did"])
    columns = {name: exposures[:, j] for j, name in enumerate(estimator.exposures)}
    names = ("did", *columns, *panel.roles.controls)
    got = estimator(panel)
    same = panel_ols(regressors=names, errors=ERRORS, constant=False)(panel.with_variables(columns))
    np.testing.assert_allclose(got.estimate[:, : len(names)], same.estimate, atol=1e-12)
    np.testing.assert_allclose(got.se[:, :, : len(names)], same.se, rtol=1e-9)
    np.testing.assert_array_equal(got.dof[:, :, : len(names)], same.dof)
    rest = panel_ols(outcome="did", regressors=names[1:], errors=("iid",), constant=False)
    explained = rest(panel.with_variables(columns)).statistics["r2_within"]
    np.testing.assert_allclose(got.statistics["vif:did"], 1 / (1 - explained), rtol=1e-9)
    for name in ("r2", "r2_within", "sigma2", "floored:conley:300"):
        np.testing.assert_allclose(got.statistics[name], same.statistics[name], rtol=1e-10)


def test_the_att_and_its_errors_are_those_of_a_recentred_regression() -> None:
    """y on D and WD - m D, m = mean(WD | D = 1), has the coefficient b + t m of D."""
    panel = on_a_map()
    did = panel.variables["did"]
    wd = panel.weights["knn"].lag(did)
    moved = panel.with_variables({"moved": wd - wd[did > 0].mean() * did})
    got = SpatialDID(errors=ERRORS)(panel)
    same = panel_ols(regressors=("did", "moved", *panel.roles.controls), errors=ERRORS, constant=False)(moved)
    k = got.terms.index("att")
    assert got.estimate[0, k] == pytest.approx(same.estimate[0, 0], abs=1e-12)
    unfloored = [row for row, error in enumerate(ERRORS) if not same.statistics.get(f"floored:{error}", np.zeros(1))[0]]
    assert len(unfloored) >= 5
    np.testing.assert_allclose(got.se[0, unfloored, k], same.se[0, unfloored, 0], rtol=1e-9)


def test_it_agrees_with_pyfixest() -> None:
    panel = small_panel(40, 6, seed=9)
    lagged = panel.with_variables({"w_did": panel.weights["knn"].lag(panel.variables["did"])})
    names = ("did", "w_did", *panel.roles.controls)
    reference = twoway_did(lagged, regressors=names)
    got = SpatialDID()(panel)
    np.testing.assert_allclose(got.estimate[0, :4], reference.estimate, rtol=1e-8)
    for row, error in enumerate(got.errors):
        np.testing.assert_allclose(got.se[0, row, :4], reference.se[error], rtol=1e-8)


def test_rings_are_those_of_a_loop_with_dummies() -> None:
    panel = on_a_map()
    did = panel.variables["did"][0]
    distance = great_circle_km(panel.attributes["longitude"], panel.attributes["latitude"])
    names = ("untreated:0-80", "untreated:80-160", "treated:0-80", "treated:80-160")
    columns = {name: np.zeros_like(did) for name in names}
    for t, i in np.ndindex(*did.shape):
        others = [distance[i, j] for j in range(60) if j != i and did[t, j]]
        nearest = min(others, default=np.inf)
        ring = "0-80" if nearest <= 80 else "80-160" if nearest <= 160 else ""
        if ring:
            columns[f"{'treated' if did[t, i] else 'untreated'}:{ring}"][t, i] = 1.0
    controls = [panel.variables[name][0] for name in panel.roles.controls]
    x = np.column_stack([values.ravel() for values in (did, *columns.values(), *controls)])
    coefficients = np.linalg.lstsq(np.hstack([x, dummies(60, 7)]), panel.variables["y"][0].ravel())[0]
    got = Rings(ends=(80.0, 160.0))(panel)
    assert got.terms[:7] == ("did", *columns, *panel.roles.controls)
    np.testing.assert_allclose(got.estimate[0, :7], coefficients[:7], atol=1e-11)
    shares = [columns[f"treated:{ring}"][did > 0].mean() for ring in ("0-80", "80-160")]
    assert got.params["spill:treated"] == pytest.approx(coefficients[3:5] @ shares, abs=1e-11)
    after = did.any(axis=1)[:, None] & (did == 0)
    shares = [columns[f"untreated:{ring}"][after].mean() for ring in ("0-80", "80-160")]
    assert got.params["spill:untreated"] == pytest.approx(coefficients[1:3] @ shares, abs=1e-11)
    assert got.statistics["unexposed"][0] == pytest.approx(1 - sum(shares), abs=1e-12)


def test_a_coefficient_without_an_error_takes_no_other_one_with_it() -> None:
    """Degrees of latitude: treated at 0, .2, .5, 1.8 and 10; one treated unit alone is in the second ring, one beyond,
    so that the difference of both has scores of zero in every unit."""
    latitude = np.array([0.0, 0.2, 0.5, 1.8, 10.0, 0.3, -1.5, 10.3, 11.5, *range(30, 41)])
    y = np.random.default_rng(2).standard_normal((3, 6, 20))
    panel = adopting(bare({"y": y, "did": 0 * y[:1]}), (3, np.arange(5)))
    panel = replace(panel, attributes={"longitude": np.zeros(20), "latitude": latitude})
    exposures = Rings().exposed_to(panel, panel.variables["did"])
    columns = {name: exposures[:, j] for j, name in enumerate(Rings().exposures)}
    got = Rings()(panel)
    same = panel_ols(regressors=("did", *columns), errors=got.errors, constant=False)(panel.with_variables(columns))
    np.testing.assert_allclose(got.se[:, :, :5], same.se, rtol=1e-9)
    lacking = {"treated:100-200", "att", "spill:treated", "did_bias"}  # that term, and what it is part of
    for error, name in enumerate(got.errors):
        for term, se in zip(got.terms, got.se[:, error].T, strict=True):
            assert (np.isnan(se) == (name == "cluster:unit" and term in lacking)).all(), (name, term)


def test_truth_on_the_paper_design_with_local_spillovers() -> None:
    """Plain DID misses the effect on the treated here; the neighbours' treatment accounts for it."""
    design, rows, streams = Paper(spillover="paper", rho=0.0, controls="none"), 800, Streams(41, "spillovers")
    wanted = Wanted(frozenset({"icr", "did"}), ("att", "beta(did)", "beta(w_did)"))
    draw = design.settle(streams).draw(streams.tile(0, rows), wanted)
    local, plain = (kind(errors=("cluster:unit",))(draw.panel) for kind in (SpatialDID, TwoWayDID))
    for name, target in (("did", "beta(did)"), ("w_did", "beta(w_did)"), ("att", "att")):
        k = local.terms.index(name)
        miss = local.estimate[:, k] - draw.truth[target][0]
        covered = (np.abs(miss) <= 1.96 * local.se[:, 0, k]).mean()
        assert abs(miss.mean()) < 4 * miss.std() / np.sqrt(rows)
        assert abs(covered - 0.95) < 4 * np.sqrt(0.05 * 0.95 / rows) + 0.005
    bias = plain.estimate[:, 0] - draw.truth["att"][0]
    assert abs(bias.mean()) > 8 * bias.std() / np.sqrt(rows)
    foretold = local.estimate[:, local.terms.index("did")] + local.estimate[:, local.terms.index("did_bias")]
    np.testing.assert_allclose(foretold, plain.estimate[:, 0], atol=1e-11)


def test_bad_input_is_said_in_one_line() -> None:
    panel = on_a_map()
    halves = replace(panel, attributes={**panel.attributes, "country": np.zeros(60)})
    no_treatment = replace(panel, roles=Roles("y", None, ("inv", "road")))
    dose = panel.with_variables({"did": panel.variables["did"] * 0.5})
    faults = [
        (lambda: Rings(ends=(0.001, 160.0))(panel), "no untreated unit lies 0-0.001 km from the nearest other treated"),
        (lambda: Rings(ends=(80.0, 5000.0))(panel), "no treated unit lies beyond the last ring"),
        (lambda: Rings(ends=(5000.0,), reach="untreated")(panel), "no untreated unit lies beyond the last ring"),
        (lambda: Rings(ends=(80.0, 80.0))(panel), "ends = "),
        (lambda: Rings(ends=())(panel), "ends = "),
        (lambda: Rings()(small_panel()), "no coordinates"),
        (lambda: SpatialDID(weights="queen")(panel), "no weights 'queen'"),
        (lambda: SpatialDID()(replace(panel, weights={})), "no spatial weights"),
        (lambda: SpatialDID()(no_treatment), "no treatment"),
        (lambda: SpatialDID()(dose), "'did' is not 0/1"),
        (lambda: SpatialDID()(small_panel(missing=5)), "5 unit-periods are missing"),
        (lambda: SpatialDID(errors=("cluster:country",))(halves), "cluster:country has 1 cluster"),
        (lambda: SpatialDID(errors=("wild:unit",))(panel), "unknown error type 'wild:unit'"),
        (lambda: SpatialDID(errors=("cluster:nothing",))(panel), "unknown error type"),
    ]  # fmt: skip
    for call, message in faults:
        refuses(message, call)


def test_a_draw_in_which_everybody_is_exposed_alike_is_singular_alone() -> None:
    """W D that equals D's own share, as with all units treated at once, leaves no estimate and spoils no other."""
    panel = on_a_map(3)
    did = np.repeat(panel.variables["did"], 3, axis=0)
    did[1] = (np.arange(7) >= 3)[:, None]
    got = SpatialDID()(panel.with_variables({"did": did}))
    assert got.status.tolist() == [Status.OK, Status.SINGULAR, Status.OK]
    did = np.repeat(panel.variables["did"], 3, axis=0)
    did[0] = (np.arange(7) >= 3)[:, None] & (np.arange(60) == 3)  # one draw without a ring of treated units
    rings = Rings(ends=(80.0, 160.0))(panel.with_variables({"did": did}))
    assert rings.status.tolist() == [Status.SINGULAR, Status.OK, Status.OK]


def test_an_exact_fit_has_no_errors() -> None:
    panel = on_a_map()
    did = panel.variables["did"]
    y = did + 0.5 * panel.weights["knn"].lag(did) + panel.variables["inv"]
    found = SpatialDID()(panel.with_variables({"y": y}))
    assert found.params["did"] == pytest.approx(1.0, abs=1e-12)
    assert np.isnan(found.se).all()


def test_estimands_of_rings() -> None:
    """With rings around treated units D's slope is an effect without neighbours; rings themselves have no truth."""
    schema = on_a_map().schema
    both, untreated = (Rings(reach=reach).layout(schema).targets for reach in ("both", "untreated"))
    assert (both["did"], untreated["did"]) == ("beta(did)", "att")
    assert not any(":" in name and not name.startswith("spill:") for name in (*both, *untreated))


def test_without_noise_the_paper_design_is_recovered_to_the_last_digits() -> None:
    """Local spillovers of treatment and controls, staggered dates: every target is its truth."""
    design = Paper(spillover="paper", rho=0.0, sigma=0.0)
    estimator = SpatialDID(lag_controls=True)
    targets = estimator.layout(design.schema).targets
    assert {"did", "w_did", "att", "tech", "w_tech"} <= set(targets)
    wanted = Wanted(estimator.variables(design.schema), tuple(targets.values()))
    draw = design.settle(Streams(5)).draw(Streams(5), wanted)
    got = estimator(draw.panel)
    for name, target in targets.items():
        assert got.params[name] == pytest.approx(draw.truth[target][0], abs=1e-11), name
    assert got.params["did"] + got.params["spill:treated"] == pytest.approx(draw.truth["att"][0], abs=1e-11)
