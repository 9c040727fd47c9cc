"""Differences of other estimates to a two-way one: held to stacked regressions on dummies, refits and simulations."""

from __future__ import annotations

from dataclasses import replace

import made_cities
import numpy as np
import pytest
from agreement import assert_agree, assert_batch_is_its_panels, in_another_order
from covering import covered
from refusals import refuses

from estimators.linear.did import TwoWayDID
from estimators.sensitivity.differences import FORMS, Alternative, Differences
from estimators.spatial.spatial_panel import SpatialPanel
from estimators.staggered.callaway_santanna import CallawaySantAnna
from estimators.staggered.imputation import Imputation
from references.staggered_panels import dummies
from sim import Panel, Roles
from sim.panel import part, seen_part

FIXED = (
    "effects:province-by-period", "effects:unit-trend", "controls:none", "controls:-road", "without:province=P2",
    "without-cohort:2014", "neighbours:grid", "trend", "lead:1", "lead:2", "cohort-wise", "imputed",
    "outcome:second",
)  # fmt: skip


@pytest.fixture(scope="module")
def panel() -> Panel:
    """The made-up cities with their provinces and a second outcome; the treatment is `did`."""
    frame = made_cities.frame().sort_values(["city", "year"])
    own = made_cities.panel()
    second = frame["second"].to_numpy(float).reshape(36, 9).T[None].copy()
    provinces = frame.drop_duplicates("city")["province"].to_numpy(str)
    return replace(own.with_variables({"second": second}), attributes={"province": provinces})


@pytest.fixture(scope="module")
def gaps(panel: Panel) -> Panel:
    """The same with some cells missing."""
    seen = np.random.default_rng(3).random((1, 9, 36)) > 0.08
    seen[:, :, :12] = True
    d = panel.variables["did"][0]
    seen[0, d.argmax(axis=0), np.arange(36)] = True  # whose dates are seen
    return replace(panel, observed=seen, weights={})


def long(panel: Panel, cells: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Columns of the observed cells, or of some of them."""
    seen = panel.observed[0] if panel.observed is not None else np.ones((9, 36), bool)
    chosen = seen if cells is None else seen & cells
    time, unit = (grid[chosen] for grid in np.indices(chosen.shape))
    out = {name: values[0][chosen] for name, values in panel.variables.items()}
    return out | {"unit": unit, "time": time, "province": panel.attributes["province"][unit].astype(str)}


class Plain:
    """A regression on dummies: the coefficient of its first column, and each unit's part of its error."""

    def __init__(self, data: dict[str, np.ndarray], x: list[np.ndarray], effects: list[np.ndarray], y: str = "y"):
        design = np.column_stack([*x, *effects])
        inverse = np.linalg.pinv(design, rcond=1e-10)
        e, weights = data[y] - design @ (inverse @ data[y]), inverse[0]
        self.b, self.k = float(weights @ data[y]), len(x)
        self.parts = np.bincount(data["unit"], weights * e, minlength=36)
        self.weights, self.n, self.data = weights, len(e), data
        self.periods, self.units = len(np.unique(data["time"])), len(np.unique(data["unit"]))

    def factor(self, effects: int) -> float:
        """With period effects counted and those of units, nested in clusters, not."""
        return self.units / (self.units - 1) * (self.n - 1) / (self.n - self.k - effects)


def two_way(data: dict[str, np.ndarray]) -> list[np.ndarray]:
    return [dummies(data["unit"]), dummies(data["time"])]


def claim_of(panel: Panel) -> Plain:
    data = long(panel)
    return Plain(data, [data["did"], data["road"], data["book"]], two_way(data))


def alternatives_by_hand(panel: Panel) -> dict[str, tuple[float, np.ndarray]]:
    """Estimate and units' parts of every alternative, by regressions on dummies."""
    data, claim = long(panel), claim_of(panel)
    first = np.where(panel.variables["did"][0].any(axis=0), panel.variables["did"][0].argmax(axis=0), 9)
    never = first == 9
    x = [data["did"], data["road"], data["book"]]
    cells_of_pairs = np.array([f"{p}-{t}" for p, t in zip(data["province"], data["time"], strict=True)])
    trends = dummies(data["unit"]) * (data["time"] - 4.0)[:, None]
    found = {
        "effects:province-by-period": Plain(data, x, [dummies(data["unit"]), dummies(cells_of_pairs)]),
        "effects:unit-trend": Plain(data, x, [*two_way(data), trends]),
        "controls:none": Plain(data, x[:1], two_way(data)),
        "controls:-road": Plain(data, [x[0], x[2]], two_way(data)),
    }
    provinces = panel.attributes["province"].astype(str)
    for text, units in (("without:province=P2", provinces == "P2"), ("without-cohort:2014", first == 4)):
        rest = long(panel, np.broadcast_to(~units, (9, 36)))
        found[text] = Plain(rest, [rest["did"], rest["road"], rest["book"]], two_way(rest))
    out = {text: (one.b, one.parts) for text, one in found.items()}
    untreated = np.arange(9)[:, None] < first
    rest = long(panel, untreated)
    ever = ~never
    slope = Plain(rest, [ever[rest["unit"]] * rest["time"], rest["road"], rest["book"]], two_way(rest))
    kappa = float(claim.weights @ (ever[data["unit"]] * data["time"]))
    out["trend"] = claim.b - kappa * slope.b, claim.parts - kappa * slope.parts
    for k in (1, 2):
        moved = np.where(ever, first - k, 9)
        rest = long(panel, untreated & (moved > 0))
        placebo = Plain(rest, [(rest["time"] >= moved[rest["unit"]]) * 1.0, rest["road"], rest["book"]], two_way(rest))
        out[f"lead:{k}"] = claim.b - placebo.b, claim.parts - placebo.parts
    return out


@pytest.mark.parametrize("masked", [False, True])
def test_differences_are_those_of_stacked_regressions(panel: Panel, gaps: Panel, masked: bool) -> None:
    used = gaps if masked else panel
    claim, hand = claim_of(used), alternatives_by_hand(used)
    found = Differences(alternatives=tuple(hand))(used)
    factor = claim.factor(9)
    assert found.estimate[0, 0] == pytest.approx(claim.b, rel=1e-9)
    for text, (estimate, parts) in hand.items():
        at = found.terms.index(f"difference:{text}")
        assert found.estimate[0, at] == pytest.approx(estimate - claim.b, abs=1e-9), text
        se = np.sqrt(factor * np.square(parts - claim.parts).sum())
        assert found.se[0, 0, at] == pytest.approx(se, rel=1e-7), text
        assert found.dof[0, 0, at] == 35
        assert found.estimate[0, at + 1] == pytest.approx(estimate, rel=1e-9), text


def test_own_errors_are_those_of_the_estimator(panel: Panel) -> None:
    keep, own_errors = panel.attributes["province"].astype(str) != "P2", TwoWayDID(errors=("cluster:unit",))
    refits = {
        "effects:province-by-period": (replace(own_errors, effects=("unit", "province-by-period")), panel),
        "controls:none": (replace(own_errors, regressors=("did",)), panel),
        "without:province=P2": (own_errors, part(panel, keep, np.ones(9, bool))),
    }
    found = Differences(alternatives=tuple(refits))(panel)
    own = own_errors(panel)
    assert (found.estimate[0, 0], found.se[0, 0, 0]) == pytest.approx((own.estimate[0, 0], own.se[0, 0, 0]), rel=1e-12)
    for text, (estimator, used) in refits.items():
        at, other = found.terms.index(f"alternative:{text}"), estimator(used)
        assert found.estimate[0, at] == pytest.approx(other.estimate[0, 0], rel=1e-10)
        assert found.se[0, 0, at] == pytest.approx(other.se[0, 0, 0], rel=1e-10)
        assert found.dof[0, 0, at] == other.dof[0, 0, 0]


@pytest.mark.parametrize("cluster_k", ["slopes", "nonnested", "all"])
def test_clusters_and_their_factor_are_those_of_the_claim(panel: Panel, cluster_k: str) -> None:
    error, text = "cluster:province", "controls:none"
    found = Differences(alternatives=(text,), error=error, cluster_k=cluster_k)(panel)
    own = TwoWayDID(errors=(error,), cluster_k=cluster_k)(panel)
    assert found.se[0, 0, 0] == pytest.approx(own.se[0, 0, 0], rel=1e-10)
    assert found.dof[0, 0].tolist() == [8.0] * 3
    claim, other = claim_of(panel), long(panel)
    alone = Plain(other, [other["did"]], two_way(other))
    groups = np.unique(panel.attributes["province"].astype(str), return_inverse=True)[1]
    sums = np.bincount(groups, alone.parts - claim.parts)
    counted = {"slopes": 3, "nonnested": 3 + 9 - 1 + 1, "all": 3 + 9 + 36 - 1}[cluster_k]
    factor = 9 / 8 * (324 - 1) / (324 - counted)
    assert found.se[0, 0, 1] == pytest.approx(np.sqrt(factor * np.square(sums).sum()), rel=1e-8)


def test_the_neighbours_treatment_is_one_more_regressor(panel: Panel) -> None:
    data = long(panel)
    exposure = (panel.variables["did"][0] @ panel.weights["grid"].dense.T)[data["time"], data["unit"]]
    hand = Plain(data, [data["did"], data["road"], data["book"], exposure], two_way(data))
    found = Differences(alternatives=("neighbours:grid",))(panel)
    assert found.estimate[0, 2] == pytest.approx(hand.b, rel=1e-9)


def test_cohort_by_cohort_is_compared_with_two_way_without_controls(panel: Panel) -> None:
    """Alternative = claim + (Callaway and Sant'Anna - two-way without controls), like with like."""
    found = Differences(alternatives=("cohort-wise",))(panel)
    cohort_wise = CallawaySantAnna()
    data, (estimate, influence) = long(panel), cohort_wise.influence(panel)
    at = cohort_wise(panel).terms.index("overall")
    alone, claim = Plain(data, [data["did"]], two_way(data)), claim_of(panel)
    assert found.estimate[0, 1] == pytest.approx(estimate[0, at] - alone.b, rel=1e-9)
    factor = claim.factor(9)
    parts = influence[0, at] - np.sqrt(factor) * alone.parts
    assert found.se[0, 0, 1] == pytest.approx(np.sqrt(np.square(parts).sum()), rel=1e-9)
    bare = replace(panel, roles=Roles("y", "did"))
    assert Differences(alternatives=("cohort-wise",))(bare).estimate[0, 2] == pytest.approx(estimate[0, at])


def test_the_imputed_effect_is_that_of_imputation(panel: Panel) -> None:
    found = Differences(alternatives=("imputed",))(panel)
    own = Imputation(controls=("road", "book"))
    assert found.estimate[0, 2] == pytest.approx(own(panel).params["overall"], rel=1e-9)
    assert found.se[0, 0, 2] == pytest.approx(own(panel).std_errors["overall"], rel=1e-9)
    fit, claim = own.fit(panel), claim_of(panel)
    _, parts = fit(panel.variables["y"])
    parts = parts[0, own.terms().index("overall")] - np.sqrt(claim.factor(9)) * claim.parts
    assert found.se[0, 0, 1] == pytest.approx(np.sqrt(np.square(parts).sum()), rel=1e-9)


def test_another_outcome_has_the_scale_of_the_first(panel: Panel) -> None:
    found = Differences(alternatives=("outcome:second",))(panel)
    other = TwoWayDID("second", ("did", "road", "book"))(panel)
    scale = panel.variables["y"].std() / panel.variables["second"].std()
    assert found.estimate[0, 2] == pytest.approx(other.estimate[0, 0] * scale, rel=1e-10)
    assert found.se[0, 0, 2] == pytest.approx(other.std_errors["did"] * scale, rel=1e-9)
    twice = panel.with_variables({"other": 5.0 * panel.variables["y"] + 7.0})
    same = Differences(alternatives=("outcome:other",))(twice)
    assert same.estimate[0, 1] == pytest.approx(0.0, abs=1e-12)


def test_units_without_gaps_and_controls_may_be_asked_about(gaps: Panel, panel: Panel) -> None:
    found = Differences(alternatives=("balanced",))(gaps)
    whole = gaps.observed[0].all(axis=0)
    other = TwoWayDID()(seen_part(gaps, np.broadcast_to(whole, (9, 36))))
    assert 12 <= whole.sum() < 36
    assert found.estimate[0, 2] == pytest.approx(other.estimate[0, 0], rel=1e-10)
    found = Differences(term="road", alternatives=("controls:-book", "trend"))
    reasons = found.available(panel)
    assert reasons["controls:-book"] == ""
    assert "'road' is not the treatment" in reasons["trend"]
    alone = replace(found, alternatives=("controls:none",))(panel)
    assert alone.terms[0] == "road"
    assert alone.estimate[0, 2] == pytest.approx(TwoWayDID(regressors=("did", "road"))(panel).estimate[0, 1], rel=1e-9)


def test_an_alternative_of_two_units_is_an_estimate_without_an_error() -> None:
    """Their scores cancel, so that it has no variance; it is not zero for that."""
    d = (np.arange(8)[:, None] >= [4, 9, 5, 9]).astype(float)[None]
    y = d + np.random.default_rng(0).normal(size=d.shape)
    groups = {"g": np.array(["x", "x", "z", "z"])}
    four = Panel(tuple("abcd"), tuple(range(8)), {"y": y, "d": d}, Roles("y", "d"), groups)
    found = Differences(alternatives=("without:g=x",))(four)
    two = TwoWayDID()(part(four, groups["g"] == "z", np.ones(8, dtype=bool))).estimate[0, 0]
    np.testing.assert_allclose(found.estimate[0], [found.estimate[0, 0], two - found.estimate[0, 0], two], rtol=1e-9)
    assert np.isnan(found.se[0, 0]).tolist() == [False, False, True]


def test_a_batch_is_its_panels_one_by_one(panel: Panel) -> None:
    y, noise = panel.variables["y"], np.random.default_rng(1).standard_normal((5, 9, 36))
    many = panel.with_variables({"y": np.concatenate([y, y + noise])})
    assert_batch_is_its_panels(Differences(alternatives=FIXED), many, atol=1e-12)


def test_redrawn_adoption_is_fitted_one_by_one(panel: Panel) -> None:
    rng = np.random.default_rng(4)
    d = np.stack([panel.variables["did"][0][:, rng.permutation(36)] for _ in range(4)])
    d[2, :, :] = np.where(np.arange(9)[:, None] >= 4, 1.0, 0.0) * (np.arange(36) % 2)  # one cohort
    many = panel.with_variables({"did": d})
    estimator = Differences(alternatives=("trend", "cohort-wise"))
    found = estimator(many)
    assert found.status.tolist() == [1, 1, 1, 1]
    assert np.isnan(found.estimate[2, 3:]).all()
    assert np.isfinite(np.delete(found.estimate, 2, axis=0)).all()
    for row in (0, 1, 3):
        np.testing.assert_allclose(found.estimate[row], estimator(many.replication(row)).estimate[0], rtol=1e-10)


def test_order_and_scale_change_nothing_else(panel: Panel) -> None:
    estimator = Differences(alternatives=FIXED)
    found = estimator(panel)
    assert_agree(estimator(in_another_order(panel, 2)[0]), found, rtol=1e-8)
    scaled = estimator(panel.with_variables({"y": -3.0 * panel.variables["y"] + 8.0}))
    own = [not term.endswith("outcome:second") for term in found.terms]  # another outcome keeps its scale
    np.testing.assert_allclose(scaled.estimate[:, own], -3.0 * found.estimate[:, own], rtol=1e-6)
    np.testing.assert_allclose(scaled.se[:, :, own], 3.0 * found.se[:, :, own], rtol=1e-7)


def test_covariances_are_those_of_the_stack(panel: Panel) -> None:
    estimator = Differences(alternatives=("controls:none", "trend"))
    stacked, found, hand = estimator.stacked(panel), estimator(panel), alternatives_by_hand(panel)
    claim = claim_of(panel)
    np.testing.assert_allclose(np.sqrt(stacked.variance), found.se[:, 0], rtol=1e-12)
    product = (hand["controls:none"][1] - claim.parts) @ (hand["trend"][1] - claim.parts)
    assert stacked.influence[0, 1] @ stacked.influence[0, 3] == pytest.approx(claim.factor(9) * product, rel=1e-7)


@pytest.mark.parametrize("text", [
    "", "trends", "lead:", "lead:0", "lead:x", "controls:road", "without:province", "effects:province", "trend:1",
])  # fmt: skip
def test_unknown_alternatives_are_bad_input(text: str) -> None:
    assert FORMS[0] in str(refuses("alternative", Alternative.parse, text))


def test_what_a_panel_cannot_have_is_said(panel: Panel, gaps: Panel) -> None:
    asked = ("balanced", "controls:-cars", "neighbours:far", "without:province=nowhere", "without-unit:C99", "lead:8",
             "outcome:y", "trend", "effects:unit-trend")  # fmt: skip
    reasons = Differences(alternatives=asked).available(panel)
    assert reasons["balanced"] == "balanced: no cell is missing"
    assert "controls:-cars" in reasons["controls:-cars"]
    assert all(reasons[text] for text in asked[:-2])
    assert [reasons[text] for text in asked[-2:]] == ["", ""]
    refuses("no cell is missing", lambda: Differences(alternatives=("balanced",))(panel))
    every = panel.with_variables({"did": np.where(np.arange(9)[:, None] >= 5 + np.arange(36) % 3, 1.0, 0.0)[None]})
    assert "never treated" in Differences(alternatives=("trend",)).available(every)["trend"]
    late = np.arange(9)[:, None] >= np.where(np.arange(36) < 6, 1, 9)
    second = panel.with_variables({"did": np.float64(late)[None]})
    short = Differences(alternatives=("trend", "lead:1")).available(second)
    assert short["trend"] == "trend: no treated unit is seen in two periods before adoption"
    assert short["lead:1"] == "lead:1: no treated unit is seen earlier than 1 period before adoption"
    after = panel.with_variables({"road": panel.variables["road"] * panel.variables["did"]})
    assert "effects absorb a control" in Differences(alternatives=("imputed",)).available(after)["imputed"]
    dose = panel.with_variables({"did": panel.variables["did"] * 0.5})
    assert "0/1" in Differences(alternatives=("lead:1",)).available(dose)["lead:1"]
    assert "cells are missing" in Differences(alternatives=("neighbours:grid",)).available(
        replace(gaps, weights=panel.weights))["neighbours:grid"]  # fmt: skip


def test_the_alternatives_that_a_panel_can_have(panel: Panel) -> None:
    asked = Differences(alternatives=("balanced", "trend", "outcome:nothing", "controls:none"))
    assert asked.served(panel) == replace(asked, alternatives=("trend", "controls:none"))


def test_a_placebo_counts_time_by_the_calendar(panel: Panel) -> None:
    """In a panel that lacks 2013, one period before 2014 is no cell, and two periods before it is 2012."""
    years, first = np.array(panel.periods), panel.variables["did"][0].argmax(axis=0)
    adopted = np.where(panel.variables["did"][0].any(axis=0), years[first], 9999)
    short = part(panel, np.ones(36, dtype=bool), years != 2013)
    for lead in (1, 2):
        kept = np.array(short.periods)[:, None]
        moved = replace(short.with_variables({"did": np.float64(kept >= adopted - lead)[None]}), weights={})
        cells = (kept < adopted) & (adopted - lead > years[0])
        placebo = TwoWayDID()(seen_part(moved, cells)).estimate[0, 0]
        found = Differences(alternatives=(f"lead:{lead}",))(short)
        assert found.estimate[0, found.terms.index(f"difference:lead:{lead}")] == pytest.approx(-placebo, abs=1e-12)


def test_units_without_time_before_a_placebo_are_left_out(panel: Panel) -> None:
    """The first cohort adopts in the third period: three periods earlier it has no time before the placebo."""
    first = np.where(panel.variables["did"][0].any(axis=0), panel.variables["did"][0].argmax(axis=0), 9)
    lead = int(first.min())
    kept = first > lead
    rest = long(panel, (np.arange(9)[:, None] < first) & kept)
    moved = np.where(first < 9, first - lead, 9)
    x = [(rest["time"] >= moved[rest["unit"]]) * 1.0, rest["road"], rest["book"]]
    hand = Plain(rest, x, two_way(rest))
    found = Differences(alternatives=(f"lead:{lead}",))(panel)
    assert 0 < kept.sum() < 36
    assert found.estimate[0, 1] == pytest.approx(-hand.b, rel=1e-8)


@covered(error=["cluster:unit", "cluster:province"], model=["sar", "sem", "sdm", "slx"])
def test_squares_of_influence_are_the_clustered_variances(panel: Panel, model: str, error: str) -> None:
    estimator = SpatialPanel(model=model, transform="direct", errors=(error,))
    estimate, influence = estimator.influence(panel, error)
    found = estimator(panel)
    np.testing.assert_allclose(estimate, found.estimate[0], rtol=1e-12)
    np.testing.assert_allclose(np.sqrt(np.square(influence).sum(axis=1)), found.se[0, 0], rtol=1e-9)
