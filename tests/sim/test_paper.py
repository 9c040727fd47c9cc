"""The `paper` design: published facts, its truths as differences of potential outcomes, its mediation."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from estimators import TwoWayDID
from sim import BadInput, Draw, Streams, Wanted
from sim.presets import COHORTS, Paper

SEED = 42
SEEDS = range(100, 124)
MOMENTS = {  # table 1: mean, sd, min, max
    "icr": (0.4402, 0.1091, 0.2003, 0.8402),
    "inv": (0.0960, 0.0670, 0.0079, 0.3619),
    "road": (1.1284, 0.2081, 0.5635, 1.5337),
    "book": (3.0924, 0.4413, 2.1958, 4.4392),
    "tech": (1.5602, 1.1484, 0.2432, 6.6502),
    "gpat": (1.6339, 0.8004, 0.3012, 3.6157),
    "ent": (2.7999, 0.4880, 1.6721, 3.9084),
}


def draw(design: Paper, replications: int = 1, estimands: tuple[str, ...] = (), seed: int = SEED) -> Draw:
    streams = Streams(seed, "paper")
    world = design.settle(streams)
    return world.draw(streams.tile(0, replications), Wanted(frozenset(design.schema.variables), estimands))


@cache
def moments(name: str) -> tuple[float, float]:
    """Mean and sd of a variable, averaged over worlds."""
    design = Paper(mediator="ent" if name == "ent" else "gpat")
    values = [draw(design, seed=seed).panel.variables[name] for seed in SEEDS]
    return float(np.mean([x.mean() for x in values])), float(np.mean([x.std() for x in values]))


@pytest.mark.parametrize("seed", [1, 2])
def test_48_cities_are_treated_in_396_city_years_from_2008_to_2020(seed: int) -> None:
    panel = draw(Paper(), seed=seed).panel
    did = panel.variables["did"][0]
    assert did.shape == (18, 285)
    assert set(np.unique(did)) == {0.0, 1.0}
    assert int(did.any(axis=0).sum()) == 48
    assert int(did.sum()) == 396
    assert did.mean() == pytest.approx(0.0772, abs=5e-5)
    assert did.std(ddof=1) == pytest.approx(0.2668, abs=2e-4)
    assert (np.diff(did, axis=0) >= 0).all()
    years = np.array(panel.periods)[did.argmax(axis=0)][did.any(axis=0)]
    assert {int(year): int((years == year).sum()) for year in np.unique(years)} == COHORTS


def test_a_single_date_treats_the_same_cities_at_once() -> None:
    staggered, single = (
        draw(Paper()).panel.variables["did"][0],
        draw(Paper(calendar="single")).panel.variables["did"][0],
    )
    np.testing.assert_array_equal(staggered.any(axis=0), single.any(axis=0))
    assert len(np.unique(single.argmax(axis=0)[single.any(axis=0)])) == 1


@pytest.mark.parametrize("name", ["icr", "inv", "road", "book", "tech"])
def test_moments_of_table_1(name: str) -> None:
    mean, sd = moments(name)
    assert mean == pytest.approx(MOMENTS[name][0], abs=0.03 * MOMENTS[name][1])
    assert sd == pytest.approx(MOMENTS[name][1], rel=0.03)


@pytest.mark.parametrize("name", ["gpat", "ent"])
def test_mediators_have_about_table_1s_moments(name: str) -> None:
    mean, sd = moments(name)
    assert mean == pytest.approx(MOMENTS[name][0], abs=0.05 * MOMENTS[name][1])
    assert sd == pytest.approx(MOMENTS[name][1], rel=0.05)


@pytest.mark.parametrize("name", ["inv", "road", "book", "tech"])
def test_controls_stay_within_table_1s_range(name: str) -> None:
    values = draw(Paper()).panel.variables[name]
    _, _, low, high = MOMENTS[name]
    assert low <= values.min() < values.max() <= high


def test_levels_are_clustered_in_space() -> None:
    """Moran's I of each year in levels about .35, as the study's .29 to .43; averaged over worlds."""
    found = []
    for seed in SEEDS:
        panel = draw(Paper(spillover="paper"), seed=seed).panel
        z = panel.variables["icr"][0] - panel.variables["icr"][0].mean(axis=1, keepdims=True)
        lagged = panel.weights["knn-6"].lag(z)
        found.append(((z * lagged).sum(axis=1) / (z * z).sum(axis=1)).mean())
    assert 0.28 <= np.mean(found) <= 0.45


def test_treatment_favours_rich_eastern_cities() -> None:
    shares = []
    for seed in SEEDS:
        panel = draw(Paper(), seed=seed).panel
        treated = panel.variables["did"][0].any(axis=0)
        shares.append((panel.attributes["region"][treated] == "east").mean())
    assert np.mean(shares) > (panel.attributes["region"] == "east").mean() + 0.1


WORLDS = {
    "no spillover": Paper(),
    "lag": Paper(spillover="lag"),
    "error": Paper(spillover="error"),
    "Durbin": Paper(spillover="paper", rho=0.5),
    "growing": Paper(shape="growing", spillover="paper"),
    "fading": Paper(shape="fading"),
    "anticipated": Paper(anticipation=2, spillover="lag"),
    "redrawn calendar": Paper(spillover="paper", redraw=("calendar",)),
    "redrawn controls": Paper(spillover="paper", redraw=("controls",)),
    "unequal trends": Paper(trend_gap=0.002, serial=0.5),
}


@pytest.mark.parametrize("name", WORLDS)
def test_att_is_the_mean_difference_of_potential_outcomes(name: str) -> None:
    """The same world without an effect draws the same numbers: Y(d) - Y(0) city-year by city-year."""
    design = WORLDS[name]
    with_policy = draw(design, 3, ("att", "att(2012,2015)", "att(2016,2016)"))
    without = draw(replace(design, effect=0.0), 3, ("att",))
    gain = with_policy.panel.variables["icr"] - without.panel.variables["icr"]
    did = np.broadcast_to(with_policy.panel.variables["did"], gain.shape)
    att = (gain * did).sum(axis=(1, 2)) / did.sum(axis=(1, 2))
    np.testing.assert_allclose(with_policy.truth["att"], att, rtol=1e-9)
    np.testing.assert_array_equal(without.truth["att"], 0.0)
    years = np.array(with_policy.panel.periods)
    cohort = years[did.argmax(axis=1)] * did.any(axis=1)
    for first, year in ((2012, 2015), (2016, 2016)):
        among = (cohort == first)[:, None, :] & (years == year)[:, None]
        expected = (gain * among).sum(axis=(1, 2)) / among.sum(axis=(1, 2))
        np.testing.assert_allclose(with_policy.truth[f"att({first},{year})"], expected, rtol=1e-8)


def test_heterogeneous_effects_are_redrawn_and_their_att_follows() -> None:
    design = Paper(heterogeneity=0.5)
    with_policy, without = draw(design, 6, ("att",)), draw(replace(design, effect=0.0), 6)
    gain = with_policy.panel.variables["icr"] - without.panel.variables["icr"]
    did = with_policy.panel.variables["did"]
    np.testing.assert_allclose(with_policy.truth["att"], (gain * did).sum(axis=(1, 2)) / did.sum(), rtol=1e-9)
    assert np.unique(with_policy.truth["att"]).size == 6


@pytest.mark.parametrize("spillover", ["none", "lag", "error", "paper"])
def test_impacts_are_those_of_the_matrix_of_all_derivatives(spillover: str) -> None:
    design = Paper(spillover=spillover)  # type: ignore[arg-type]
    names = [f"{kind}({x})" for x in ("did", "inv") for kind in ("direct", "indirect", "total")]
    drawn = draw(design, 2, tuple(names))
    c, w = design.coefficients, drawn.panel.weights["knn-6"].dense
    s = np.linalg.inv(np.eye(285) - c.rho * w)
    for x, own, lagged in (("did", c.did, c.w_did), ("inv", c.controls[0], c.w_controls[0])):
        matrix = s @ (own * np.eye(285) + lagged * w)
        direct, total = np.trace(matrix) / 285, matrix.sum() / 285
        for kind, value in (("direct", direct), ("total", total), ("indirect", total - direct)):
            np.testing.assert_allclose(drawn.truth[f"{kind}({x})"], value, rtol=1e-12, atol=1e-15)


def test_parameters_are_their_own_truths() -> None:
    names = ("beta(did)", "beta(w_did)", "beta(inv)", "beta(w_tech)", "rho", "lambda", "sigma2")
    truth = draw(Paper(spillover="paper"), 2, names).truth
    values = [float(truth[name][0]) for name in names]
    assert values == pytest.approx([0.0128, 0.0124, 0.0774, 0.0048, 0.1492, 0.0, 0.029**2])


def test_errors_that_last_leave_sigma2_without_a_truth() -> None:
    """Effects take up a part of them: two-way residuals hold less than their variance."""
    assert np.isnan(draw(Paper(serial=0.6), 2, ("sigma2", "rho")).truth["sigma2"]).all()
    assert (draw(Paper(serial=0.6), 2, ("sigma2", "rho")).truth["rho"] == 0).all()


def test_errors_have_the_dialled_sd_and_autocorrelation() -> None:
    design = Paper(serial=0.6, controls="none", effect=0.0)
    with_errors, without = draw(design, 40), draw(replace(design, sigma=0.0), 1)
    errors = with_errors.panel.variables["icr"] - without.panel.variables["icr"]
    assert errors.std() == pytest.approx(0.029, rel=0.01)
    later, earlier = errors[:, 1:].ravel(), errors[:, :-1].ravel()
    assert np.corrcoef(later, earlier)[0, 1] == pytest.approx(0.6, abs=0.01)
    np.testing.assert_allclose(errors.std(axis=(0, 2)), 0.029, rtol=0.05)


@pytest.mark.parametrize("spillover", ["none", "lag", "paper"])
@pytest.mark.parametrize("mediator", ["gpat", "ent"])
def test_direct_and_indirect_effects_add_up_to_the_att(spillover: str, mediator: str) -> None:
    truth = draw(Paper(spillover=spillover, mediator=mediator), 3, ("att", "nde", "nie")).truth  # type: ignore[arg-type]
    np.testing.assert_allclose(truth["nde"] + truth["nie"], truth["att"], rtol=0, atol=1e-12)
    assert (truth["nie"] > 0).all()


def mediation(mediator: str, confounding: float, serial: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Policy -> mediator, mediator -> outcome and policy -> outcome given the mediator, (R,) each."""
    design = Paper(mediator=mediator, confounding=confounding, serial=serial)  # type: ignore[arg-type]
    panel = draw(design, 200).panel
    first = TwoWayDID(outcome=mediator, regressors=("did",), errors=("iid",))(panel)
    second = TwoWayDID(regressors=("did", *panel.roles.controls, mediator), errors=("iid",))(panel)
    return first.estimate[:, 0], second.estimate[:, -1], second.estimate[:, 0]


def is_at(estimates: np.ndarray, truth: float) -> bool:
    """Whether the mean is within 4 Monte Carlo errors of the truth."""
    return bool(abs(estimates.mean() - truth) <= 4 * estimates.std(ddof=1) / np.sqrt(estimates.size))


@pytest.mark.parametrize(("mediator", "a", "b"), [("gpat", 0.0925, 0.0072), ("ent", -0.0478, -0.0148)])
@pytest.mark.parametrize("serial", [0.0, 0.8, -0.5])
def test_mediation_regressions_recover_both_paths_without_confounding(
    mediator: str, a: float, b: float, serial: float
) -> None:
    """Also with serial correlation: the mediator's own errors have that of the outcome's."""
    to_mediator, to_outcome, direct = mediation(mediator, 0.0, serial)
    assert is_at(to_mediator, a)
    assert is_at(to_outcome, b)
    assert is_at(direct, 0.0157 - a * b)


@pytest.mark.parametrize(("mediator", "a", "b"), [("gpat", 0.0925, 0.0072), ("ent", -0.0478, -0.0148)])
@pytest.mark.parametrize("confounding", [-0.5, 0.5])
def test_confounding_biases_the_mediators_path_alone(mediator: str, a: float, b: float, confounding: float) -> None:
    to_mediator, to_outcome, _ = mediation(mediator, confounding)
    assert is_at(to_mediator, a)  # the first step does not see it
    assert not is_at(to_outcome, b)
    assert np.sign(to_outcome.mean() - b) == np.sign(confounding)


@pytest.mark.parametrize(
    ("dials", "message"),
    [
        ({"spillover": "durbin"}, "none, paper, lag, error"),
        ({"redraw": ("controls", "outcome")}, "calendar, controls"),
        ({"serial": 1.0}, "allowed: more than -1, less than 1"),
        ({"sigma": -0.1}, "0 or more"),
        ({"treated": 0}, "allowed: 1 to 284"),
        ({"treated": 285}, "allowed: 1 to 284"),
        ({"anticipation": 18}, "allowed: 0 to 17"),
        ({"confounding": 2.0}, "allowed: more than -1, less than 1"),
    ],
)
def test_impossible_dials_are_refused(dials: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Paper(**dials)  # type: ignore[arg-type]


def test_no_controls_means_none_in_schema_and_draws() -> None:
    design = Paper(controls="none")
    assert design.schema.roles.controls == ()
    assert set(draw(design).panel.variables) == {"icr", "did", "gpat"}
