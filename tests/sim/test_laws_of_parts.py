"""Marginal laws of parts and truths of their parameters, from definitions: closed forms, sums by hand, slow programs.

Moments of many draws are within 4 of their Monte Carlo errors.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_parts import PERIODS, SEED, SILENT, UNITS, assert_close, design_of, panel_of, truth_of
from refusals import refuses
from scipy import stats
from scipy.stats import norm

from experiments.settings import build
from sim import Panel, Streams, Wanted
from sim.arrays import arma_matrix
from sim.panel_sidecars import panel_text
from sim.world.context import cities
from sim.world.panel_design import PanelDesign
from sim.world.parts.geography import CENTRE, Cities, Grid, compact_groups


def within(x: np.ndarray) -> np.ndarray:
    """Without unit and period means, (R, T, N)."""
    out = x - x.mean(axis=1, keepdims=True)
    return np.asarray(out - out.mean(axis=2, keepdims=True))


# Spatial dependence as LM tests ask for it


@pytest.mark.parametrize(("rho", "errors", "expected"), [
    (0.0, {}, 0.0), (0.0, {"spatial": -0.4}, 0.4), (0.0, {"spatial": -0.4, "spatial_kind": "ma"}, 0.4),
    (0.3, {"spatial": 0.2, "spatial_kind": "ma"}, 0.3), (0.1, {"spatial": 0.2, "spatial_kind": "ma"}, 0.2),
    (0.0, {"spatial": 0.0, "spatial_kind": "ma"}, 0.0), (0.0, {"group_share": 0.3}, np.nan),
    (0.0, {"factors": 1, "factor_share": 0.3}, np.nan), (-0.2, {"group_share": 0.3}, 0.2),
    (0.0, {"group_share": 0.3, "spatial": 0.4}, 0.4),
])  # fmt: skip
def test_dependence_is_that_of_any_spatial_process(rho: float, errors: dict[str, Any], expected: float) -> None:
    """LM tests are right to reject beside a moving average; 0 is left to errors that depend on no neighbour."""
    got = truth_of("dependence", spillover={"rho": rho}, errors=errors)
    np.testing.assert_equal(got, expected)


@pytest.mark.parametrize(("dials", "expected"), [({}, 0.4), ({"on": "treated"}, np.nan), ({"radius": 90.0}, np.nan)])
def test_spillovers_are_a_coefficient_where_they_follow_w_alone(dials: dict[str, Any], expected: float) -> None:
    np.testing.assert_equal(truth_of("beta(w_did)", spillover={"w_effect": 0.4, **dials}), expected)


# Mediators


def slopes(panel: Panel, names: tuple[str, ...]) -> np.ndarray:
    """Least squares of y on mediators without unit and period means, (R, M)."""
    y = within(panel.variables["y"]).reshape(panel.replications, -1)
    x = np.stack([within(panel.variables[name]).reshape(panel.replications, -1) for name in names], axis=2)
    return np.array([np.linalg.lstsq(a, b)[0] for a, b in zip(x, y, strict=True)])


M = {"name": "m", "b": 0.5, "sd": 0.8, "within": True}
N = {"name": "n", "b": -0.4, "sd": 1.0, "within": True}
WORLDS_OF_TOTALS: dict[str, dict[str, Any]] = {
    "plain": {},
    "lasting": {"errors": {"serial": 0.6}},
    "norm kept": {"errors": {"serial": 0.9, "keeps": "norm"}},
    "norm of arma": {"errors": {"serial": [0.3, 0.2], "moving": [0.4], "keeps": "norm", "scale": 1.5}},
    "groups": {"errors": {"group_share": 0.8}, "geography": {"groups": 3}},
    "factors": {"errors": {"factors": 1, "factor_share": 0.6}},
    "unequal": {"errors": {"unit_heteroskedastic": 0.5}},
    "spread": {"errors": {"spatial": 0.7}},
    "moving average": {"errors": {"spatial": 0.9, "spatial_kind": "ma"}},
    "paths": {"errors": {"common_paths": [[3.0, 2.0, 1.0, 0.0, 0.0, -1.0, -2.0, -3.0]]}},
}


@pytest.mark.parametrize("name", WORLDS_OF_TOTALS)
def test_a_mediator_within_totals_has_its_coefficient(name: str) -> None:
    """Errors of the outcome hold b u: regressed on the mediator, they give b, whatever the errors' process."""
    panel = panel_of(mediators=[M], **{**SILENT, **WORLDS_OF_TOTALS[name]})
    assert_close(slopes(panel, ("m",))[:, 0], 0.5)


@pytest.mark.parametrize("draw", ["resampled", "flipped"])
def test_a_mediator_within_residual_paths_has_its_coefficient(draw: str) -> None:
    """Residuals have no means of units: of four periods they keep all their variance within units, normals three
    quarters, which would give .98. Flipped paths of 30 units are so few that least squares has a bias of .01."""
    raw = np.random.default_rng(6).standard_normal((1, 4, 30))
    held = Panel(tuple(f"u{i}" for i in range(30)), (1, 2, 3, 4), {"residual.residual": within(raw)})
    panel = panel_of(
        units=None, periods=4, first_period=1, geography={"kind": "kept", "panel": panel_text(held)},
        weights={"kind": "none"}, errors={"kind": "residuals", "draw": draw, "sd": 1.2},
        mediators=[{**M, "b": 0.9, "sd": 1.0}], **SILENT,
    )  # fmt: skip
    assert slopes(panel, ("m",))[:, 0].mean() == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize("name", ["plain", "norm kept", "groups", "spread"])
def test_two_mediators_within_totals_have_theirs_together_and_alone(name: str) -> None:
    """Their errors are independent of each other, although both are in the outcome's."""
    panel = panel_of(mediators=[M, N], **{**SILENT, **WORLDS_OF_TOTALS[name]})
    both = slopes(panel, ("m", "n"))
    for got, expected in ((both[:, 0], 0.5), (both[:, 1], -0.4), (slopes(panel, ("n",))[:, 0], -0.4)):
        assert_close(got, expected)


def test_mediators_within_totals_have_their_sd_and_leave_theirs() -> None:
    settings: dict[str, Any] = {**SILENT, "errors": {"serial": 0.6, "sd": 1.5}}
    panel, without = panel_of(mediators=[M, N], **settings), panel_of(**settings)
    np.testing.assert_array_equal(panel.variables["y"], without.variables["y"])
    for name, sd in (("m", 0.8), ("n", 1.0)):
        u = panel.variables[name]
        assert_close(np.square(u).mean(axis=(1, 2)), sd**2)
        assert_close((u[:, 1:] * u[:, :-1]).mean(axis=(1, 2)), 0.6 * sd**2)
    assert_close((panel.variables["m"] * panel.variables["n"]).mean(axis=(1, 2)), 0.0)
    # in a world without errors it has its sd all the same, and no part of it is in the outcome
    panel = panel_of(mediators=[M, N], errors={"scale": 0.0}, **SILENT)
    assert not panel.variables["y"].any()
    for name, sd in (("m", 0.8), ("n", 1.0)):
        assert_close(np.square(panel.variables[name]).mean(axis=(1, 2)), sd**2)


@pytest.mark.parametrize("keeps", ["variance", "norm"])
@pytest.mark.parametrize("kappas", [(0.5,), (-0.6, 0.7)])
def test_confounding_within_totals_is_the_correlation_with_what_is_left(keeps: str, kappas: tuple[float, ...]) -> None:
    parts = [{**part, "confounding": kappa} for part, kappa in zip((M, N), kappas, strict=False)]
    settings: dict[str, Any] = {**SILENT, "errors": {"serial": 0.7, "keeps": keeps, "sd": 1.3}}
    panel = panel_of(mediators=parts, **settings)
    left = panel.variables["y"] - sum(part["b"] * panel.variables[part["name"]] for part in parts)
    for part, kappa in zip(parts, kappas, strict=True):
        u = panel.variables[part["name"]]
        spreads = np.sqrt(np.square(u).mean() * np.square(left).mean())
        assert_close((u * left).mean(axis=(1, 2)) / spreads, kappa)


@pytest.mark.parametrize("keeps", ["variance", "norm"])
def test_confounding_of_a_mediator_beside_the_errors_is_a_correlation(keeps: str) -> None:
    part = {"name": "m", "b": 0.5, "sd": 0.8, "confounding": 0.6}
    panel = panel_of(mediators=[part], errors={"serial": 0.9, "keeps": keeps}, **SILENT)
    u = panel.variables["m"]
    e = panel.variables["y"] - 0.5 * u
    assert_close(np.square(u).mean(axis=(1, 2)), 0.64)
    assert_close((u * e).mean(axis=(1, 2)) / np.sqrt(np.square(u).mean() * np.square(e).mean()), 0.6)


@pytest.mark.parametrize(("mediators", "errors", "words"), [
    ([{**M, "b": 2.0}], {}, "moves the outcome with sd 1.6, its errors with 1 in all"),
    ([{**M, "b": 2.0}], {"sd": 2.0, "scale": 0.5}, "its errors with 1 in all"),
    ([{**M, "b": -1.3}], {}, "moves the outcome with sd 1.04"),
    ([{**M, "b": 1.2}, {**N, "b": -0.4}], {}, "moves the outcome with sd 1.04"),
    ([{**M, "b": 1.1}], {"serial": 0.9, "keeps": "norm"}, "moves the outcome with sd 0.88"),
    ([{**M, "confounding": 0.8}, {**N, "confounding": -0.7}], {}, "squares of confounding"),
])  # fmt: skip
def test_a_mediator_that_totals_cannot_hold_is_bad_input(
    mediators: list[dict[str, Any]], errors: dict[str, Any], words: str
) -> None:
    (problem,) = refuses(words, design_of, mediators=mediators, errors=errors).problems
    assert words in problem.what
    assert problem.where == "worlds.toml [[design.mediators]]"
    design_of(mediators=[{**part, "within": False} for part in mediators], errors=errors)


@pytest.mark.parametrize("within", [False, True])
def test_a_mediator_follows_treatment_and_levels_around_its_own_mean(within: bool) -> None:
    """Without errors and effects the outcome is its levels."""
    mediator = {"name": "m", "mean": 3.0, "levels": 0.5, "sd": 0.0, "a": 0.4, "b": 0.0, "within": within}
    panel = panel_of(1, mediators=[mediator], levels={"mean": 7.0}, errors={"scale": 0.0}, effect={"size": 0.0})
    y, m, did = (panel.variables[name] for name in ("y", "m", "did"))
    assert 0 < did.mean() < 1
    np.testing.assert_allclose(m, 3.0 + 0.5 * (y - y.mean()) + 0.4 * did, rtol=1e-12)


@pytest.mark.parametrize(("dials", "said"), [
    ({"treated": UNITS}, f"treated = {UNITS} of {UNITS} units; allowed: 1 to {UNITS - 1}"),
    ({"share": 0.99}, f"share = 0.99 of {UNITS} units; allowed: a share of 1 unit to all but 1"),
    ({"date": 2001}, "date = 2001; allowed: a period after the first, 2001 to 2008"),
    ({"dates": [2001, 2004]}, r"dates = \[2001, 2004\]; allowed: two periods after the first"),
    ({"last_periods": PERIODS}, f"last_periods = {PERIODS}; allowed: 1 to {PERIODS - 1}"),
    ({"dates": [2002, 2004], "date": 2003}, "dates beside date or last_periods; allowed: one of the three"),
    ({"treated": 5, "independent": True}, "treated = 5 with independent = true; allowed: one of the two"),
    ({"most": 5}, "most = 5 without independent; allowed: independent = true"),
    ({"kind": "propensity", "independent": False, "most": 5}, "most = 5 without independent; allowed: independent"),
])  # fmt: skip
def test_adoption_that_leaves_nothing_to_compare_with_is_bad_input(dials: dict[str, Any], said: str) -> None:
    refuses(said, lambda: design_of(first_period=2001, adoption={"kind": "random", **dials}))
    design_of(first_period=2001, adoption={"kind": "random", "treated": UNITS - 1, "date": 2002})


NOWHERE: dict[str, Any] = {"geography": {"kind": "nowhere"}, "weights": {"kind": "none"}}


@pytest.mark.parametrize(("dials", "said"), [
    ({"units": 4, "weights": {"k": 2}, "adoption": {"kind": "clustered", "treated": 5}}, "treated = 5 of 4 groups"),
    ({**NOWHERE, "spillover": {"w_effect": 1.0, "radius": 9.0}}, "radius = 9 among units without coordinates"),
    ({**NOWHERE, "weights": {"kind": "band"}}, "distances among units without coordinates"),
    ({"covariates": [{"name": "z", "between": 1.0}], "adoption": {"kind": "instrumented"}}, "z have nothing but unit"),
])  # fmt: skip
def test_what_a_world_lacks_is_bad_input(dials: dict[str, Any], said: str) -> None:
    """All groups had adopted, all units had been neighbours, and doses had been rounding divided by itself."""
    refuses(said, lambda: panel_of(1, **dials))


def test_confounding_makes_room_for_a_mediator_in_a_total() -> None:
    """b kappa < 0: e_y = .6 and b u = 1.2 of correlation -.9 sum to errors of a smaller sd."""
    total = float(np.sqrt(0.6**2 + 1.2**2 - 2 * 0.9 * 0.6 * 1.2))
    settings: dict[str, Any] = {**SILENT, "errors": {"sd": total}}
    part = {"name": "m", "b": 1.2, "sd": 1.0, "confounding": -0.9, "within": True}
    panel = panel_of(mediators=[part], **settings)
    u, e = panel.variables["m"], panel.variables["y"]
    left = e - 1.2 * u
    assert_close((u * left).mean(axis=(1, 2)) / np.sqrt(np.square(u).mean() * np.square(left).mean()), -0.9)
    assert_close(np.square(u).mean(axis=(1, 2)), 1.0)


@pytest.mark.parametrize("serial", [[0.5, 0.5], [1.5, -0.5], [-0.5, 0.5]])
def test_errors_with_a_unit_root_are_bad_input(serial: list[float]) -> None:
    refuses("coefficients of a stationary process", lambda: design_of(errors={"serial": serial}))
    design_of(errors={"serial": [0.9 * serial[0], 0.81 * serial[1]]})


# Covariates


@pytest.mark.parametrize("redraw", [[], ["covariates"]])
def test_shares_of_a_covariate_above_one_are_bad_input(redraw: list[str]) -> None:
    x = {"name": "x", "between": 0.7, "group_share": 0.4}
    refuses(r"covariates.* 1; between and group_share sum to more than 1; allowed: ",
            lambda: design_of(covariates=[x], redraw=redraw))  # fmt: skip
    design_of(covariates=[{**x, "group_share": 0.3}], redraw=redraw)


def worlds_of(x: dict[str, Any], count: int = 60, draws: int = 6, **settings: Any) -> list[np.ndarray]:
    """The covariate in many worlds, each (draws, T, N)."""
    own = {"covariates": [{"name": "x", **x}], "redraw": ["covariates"], **settings}
    return [panel_of(draws, scope=f"world {i}", **own).variables["x"] for i in range(count)]


SPREAD: dict[str, dict[str, Any]] = {
    "plain": {},
    "spread": {"spatial": 0.8},
    "spread the other way": {"spatial": -0.7, "between": 0.2},
    "lasting": {"serial": 0.6, "between": 0.3},
    "of groups": {"group_share": 0.4, "between": 0.4},
    "spread groups": {"group_share": 0.6, "between": 0.1, "spatial": 0.7, "serial": 0.4},
    "no units' part": {"between": 0.0, "spatial": 0.8},
    "units alone": {"between": 1.0, "spatial": 0.8},
    "prosperous": {"on_prosperity": 0.7, "between": 0.5},
}


@pytest.mark.parametrize("name", SPREAD)
def test_a_covariate_has_its_mean_and_sd(name: str) -> None:
    x = worlds_of({**SPREAD[name], "mean": 2.0, "sd": 3.0})
    assert_close([values.mean() for values in x], 2.0)
    assert_close([np.square(values - 2.0).mean() for values in x], 9.0)


@pytest.mark.parametrize("spatial", [0.0, 0.6])
def test_the_part_of_a_covariate_that_changes_has_its_share_and_lasts(spatial: float) -> None:
    x = worlds_of({"between": 0.3, "serial": 0.5, "spatial": spatial}, draws=30)
    moved = [values - values.mean(axis=0) for values in x]  # the units' part is the same in all draws of a world
    assert_close([np.square(values).mean() * 30 / 29 for values in moved], 0.7)
    assert_close([(v[:, 2:] * v[:, :-2]).mean() * 30 / 29 for v in moved], 0.7 * 0.5**2)


@pytest.mark.parametrize("distribution", ["uniform", "lognormal"])
@pytest.mark.parametrize("between", [0.0, 0.5])
def test_a_curved_covariate_has_its_mean_sd_and_law(distribution: str, between: float) -> None:
    """Quantiles too: uniform on mean -+ sqrt(3) sd; exp(z) moved and stretched has P(x < x(z)) = Phi(z)."""
    x = worlds_of({"mean": -1.0, "sd": 2.0, "between": between, "distribution": distribution}, 120)
    assert_close([values.mean() for values in x], -1.0)
    assert_close([np.square(values + 1.0).mean() for values in x], 4.0)
    sd_of_exp = np.sqrt(np.exp(2.0) - np.exp(1.0))
    for share in (0.1, 0.5, 0.9):
        lognormal = -1.0 + 2.0 * (np.exp(norm.ppf(share)) - np.exp(0.5)) / sd_of_exp
        quantile = -1.0 + 2.0 * np.sqrt(3) * (2 * share - 1) if distribution == "uniform" else lognormal
        assert_close([(values < quantile).mean() for values in x], share)


def test_a_binary_covariate_is_one_half_of_the_time() -> None:
    worlds = worlds_of({"distribution": "binary"}, 120)
    assert_close([values.mean() for values in worlds], 0.5)
    assert set(np.unique(worlds[0])) == {0.0, 1.0}


def test_two_points_are_no_law_between_bounds() -> None:
    """The largest standard deviations, of halves at either bound."""
    worlds: list[dict[str, Any]] = [{"covariates": [{"kind": "bounded", "name": "x", "sd": 0.5}]},
                                    {"levels": {"kind": "bounded", "unit_sd": 0.25}}]  # fmt: skip
    for parts in worlds:
        refuses(r"sd = 0.*less than", design_of, **parts)


def test_a_bounded_covariate_has_its_moments_and_bounds() -> None:
    """A beta law: its third moment about the mean too."""
    x = worlds_of({"kind": "bounded", "mean": 3.0, "sd": 1.2, "low": 1.0, "high": 9.0}, 120)
    assert_close([values.mean() for values in x], 3.0)
    assert_close([np.square(values - 3.0).mean() for values in x], 1.44)
    assert min(values.min() for values in x) >= 1.0
    assert max(values.max() for values in x) <= 9.0
    share, variance = 0.25, (1.2 / 8) ** 2
    size = share * (1 - share) / variance - 1
    skew = 2 * (1 - 2 * share) * np.sqrt(size + 1) / ((size + 2) * np.sqrt(share * (1 - share)))
    assert_close([((values - 3.0) ** 3).mean() / 1.2**3 for values in x], skew)


@pytest.mark.parametrize("part", ["covariate", "levels"])
def test_what_follows_prosperity_is_correlated_with_it_as_dialled(part: str) -> None:
    x = [{"name": "x", "between": 1.0, "on_prosperity": 0.6}]
    settings = {"covariates": x} if part == "covariate" else {"levels": {"on_prosperity": 0.6, "period_sd": 0.0}}
    found, squares = [], []
    for context in contexts(200, **settings):
        values = context.covariates["x"][0] if part == "covariate" else context.levels.unit
        found.append((values * context.places.prosperity).mean())
        squares.append(np.square(values).mean())
    assert_close(found, 0.6)
    assert_close(squares, 1.0)


# Errors

MIXTURES: dict[str, dict[str, Any]] = {
    "t5 in groups that last": {"distribution": "t5", "group_share": 0.5, "serial": 0.5},
    "lognormal beside factors": {"distribution": "lognormal", "factors": 2, "factor_share": 0.4, "serial": [0.3, 0.2]},
    "unequal units, groups and factors": {
        "unit_heteroskedastic": 0.6, "group_share": 0.3, "factors": 1, "factor_share": 0.3,
    },
    "by a covariate": {"by_covariate": "x", "covariate_slope": 0.8},
    "all shared": {"group_share": 0.6, "factors": 3, "factor_share": 0.4, "moving": [0.5]},
}  # fmt: skip


@pytest.mark.parametrize("name", MIXTURES)
def test_errors_have_their_sd_whatever_they_are_mixed_of(name: str) -> None:
    """Over 150 worlds: loadings, sizes and places are drawn anew."""
    x = [{"name": "x"}]
    squares, means, lags = [], [], []
    for i in range(150):
        e = panel_of(4, scope=f"world {i}", errors={"sd": 1.5, **MIXTURES[name]}, covariates=x, **SILENT).variables["y"]
        squares.append(np.square(e).mean())
        means.append(e.mean())
        lags.append((e[:, 1:] * e[:, :-1]).mean())
    assert_close(squares, 2.25)
    assert_close(means, 0.0)
    lag = {"t5 in groups that last": 0.5, "lognormal beside factors": 0.3 / 0.8, "all shared": 0.5 / 1.25}
    assert_close(lags, 2.25 * lag.get(name, 0.0))


def test_t5_and_lognormal_errors_have_the_quantiles_of_their_laws() -> None:
    for distribution, quantile in (
        ("t5", stats.t.ppf(0.9, 5) * np.sqrt(3 / 5)),
        ("lognormal", (np.exp(norm.ppf(0.9)) - np.exp(0.5)) / np.sqrt(np.exp(2.0) - np.exp(1.0))),
    ):
        e = panel_of(errors={"distribution": distribution}, **SILENT).variables["y"]
        assert_close((e < quantile).mean(axis=(1, 2)), 0.9)


@pytest.mark.parametrize("moving", [[], [0.5]])
def test_the_norm_that_is_kept_gives_this_variance_to_a_period(moving: list[float]) -> None:
    """sd^2 sqrt(T) over the Frobenius norm of the correlations, here by a double loop over periods."""
    phi, theta = 0.8, (moving or [0.0])[0]
    gamma = [(1 + 2 * phi * theta + theta**2) / (1 - phi**2)]
    gamma.append(phi * gamma[0] + theta)
    gamma += [gamma[1] * phi ** (lag - 1) for lag in range(2, PERIODS)]
    total = sum((gamma[abs(s - t)] / gamma[0]) ** 2 for s in range(PERIODS) for t in range(PERIODS))
    errors = {"sd": 1.2, "serial": phi, "moving": moving, "keeps": "norm"}
    e = panel_of(errors=errors, **SILENT).variables["y"]
    assert_close(np.square(e).mean(axis=(1, 2)), 1.44 * np.sqrt(PERIODS / total))
    assert_close((e[:, 1:] * e[:, :-1]).mean(axis=(1, 2)), 1.44 * np.sqrt(PERIODS / total) * gamma[1] / gamma[0])


@pytest.mark.parametrize("gamma", [0.8, -0.5])
def test_outcomes_that_follow_their_past_have_begun_long_before(gamma: float) -> None:
    """y_t = gamma y_t-1 + e_t from as many periods before, of errors that are one process: y = L e, cov(y) = L C L'."""
    at = np.arange(2 * PERIODS)
    lags = np.subtract.outer(at, at)
    past = np.where(lags >= 0, gamma ** np.maximum(lags, 0), 0.0)[PERIODS:]
    for serial, growth in ((0.0, 0.0), (0.8, 0.0), ([0.3, 0.2], 0.0), (0.8, -0.3)):
        y = panel_of(spillover={"gamma": gamma}, errors={"serial": serial, "growth": growth}, **SILENT).variables["y"]
        correlation = np.eye(2 * PERIODS) if serial == 0 else arma_matrix(tuple(np.atleast_1d(serial)), (), 2 * PERIODS)
        sizes = np.exp(growth * (at - PERIODS - (PERIODS - 1) / 2))  # of 1 in the middle of the panel's own periods
        expected = past @ (correlation * np.outer(sizes, sizes)) @ past.T
        for s, t in ((0, 0), (0, 1), (0, PERIODS - 1), (2, 5), (PERIODS - 1, PERIODS - 1)):
            assert_close((y[:, s] * y[:, t]).mean(axis=1), expected[s, t])


def test_effects_follow_the_covariate_of_each_replication_in_every_tile_of_a_world() -> None:
    dials: dict[str, Any] = {"covariates": [{"name": "x"}], "redraw": ["covariates"],
                             "effect": {"size": 1.0, "by_covariate": "x"}}  # fmt: skip
    design, streams = design_of(**dials), Streams(SEED)
    wanted = Wanted(frozenset(design.schema.variables), ())
    world = design.settle(streams)
    first, second = (world.draw(streams.tile(start, start + 2), wanted).panel.variables["y"] for start in (0, 32))
    alone = design.settle(streams).draw(streams.tile(32, 34), wanted).panel.variables["y"]
    assert np.abs(first - second).max() > 0.1
    np.testing.assert_array_equal(second, alone)


# Effects of groups


def test_effects_of_groups_are_those_of_their_observed_treated_unit_periods_and_of_negative_doses_too() -> None:
    """A fifth of the effect of 2 in each period since adoption, by the group of a unit and by event time."""
    dials: dict[str, Any] = {
        "covariates": [{"name": "b", "distribution": "binary", "between": 1.0}],
        "effect": {"size": 2.0, "shape": "growing"}, "adoption": {"kind": "staggered"},
    }  # fmt: skip
    gaps: dict[str, Any] = {"missing": {"share": 0.4}}
    whole, seen = panel_of(1, **dials), panel_of(1, **dials, **gaps).observed
    did, b = whole.variables["did"][0], whole.variables["b"][0]
    assert seen is not None
    since = np.cumsum(did, axis=0)
    cells = (did > 0) & seen[0]
    gain = 2 * np.minimum(since / 5, 1.0)
    zero, one = (gain[cells & (b == value)].mean() for value in (0, 1))
    by_event = [gain[cells & (since == k)].mean() for k in np.unique(since[cells])]
    expected = {
        "att_of(b,1)": one, "ddd(b,0,1)": one - zero, "slope(b)": one - zero,
        "level(b)": zero + (one - zero) * b[seen[0]].mean(), "att_event": np.mean(by_event),
    }  # fmt: skip
    design, streams = design_of(**dials, **gaps), Streams(SEED)
    draw = design.settle(streams).draw(streams.tile(0, 1), Wanted(frozenset({"y"}), tuple(expected)))
    assert {name: float(value[0]) for name, value in draw.truth.items()} == pytest.approx(expected, rel=1e-12)
    covariates = [{"name": "z"}, {"name": "b", "distribution": "binary", "between": 1.0}]
    dials: dict[str, Any] = {"covariates": covariates, "adoption": {"kind": "instrumented"}, "effect": {"size": 2.0}}
    assert (panel_of(1, **dials).variables["did"] < 0).any()
    assert truth_of("unit_att_of(b,1)", **dials) == pytest.approx(2.0, rel=1e-12)
    changing = [{**covariates[1], "between": 0.5}]  # a value that units do not keep is no group of them
    assert np.isnan(truth_of("att_of(b,1)", covariates=changing, redraw=["covariates"]))


# Levels


def contexts(count: int, **settings: Any) -> Iterator[Any]:
    """What so many worlds hold."""
    for i in range(count):
        world: Any = design_of(**settings).settle(Streams(SEED, f"world {i}"))
        yield world.settled.context


def test_unit_levels_that_are_smooth_over_space_keep_their_sd_and_lie_near_each_other() -> None:
    near, apart = [], []
    for context in contexts(60, levels={"unit_sd": 2.0, "unit_spatial": 0.8, "mean": 5.0}):
        unit = context.levels.unit
        assert (np.square(unit).mean(), unit.mean()) == (pytest.approx(4.0), pytest.approx(0.0, abs=1e-9))
        near.append((unit * (context.main_weights.dense @ unit)).mean() / 4.0)
        apart.append(context.levels.total.mean())
    assert np.mean(near) > 0.3
    assert np.mean(apart) == pytest.approx(5.0, abs=0.5)


def test_bounded_and_interactive_levels_have_their_moments() -> None:
    levels = {"kind": "bounded", "mean": 0.5, "unit_sd": 0.1, "low": -0.2, "high": 0.4, "period_sd": 0.05}
    found = [context.levels for context in contexts(100, levels=levels)]
    for each in found:
        assert -0.2 <= each.unit.min() <= each.unit.max() <= 0.4
        assert np.square(each.period).mean() == pytest.approx(0.05**2)
        np.testing.assert_allclose(np.diff(each.period), each.period[1] - each.period[0])
    assert np.mean([np.square(each.unit).mean() for each in found]) == pytest.approx(0.01, rel=0.03)
    assert np.mean([each.unit.mean() for each in found]) == pytest.approx(0.0, abs=0.003)
    levels = {"unit_sd": 1.5, "period_sd": 0.0, "factors": 3, "factor_share": 0.8, "trends_sd": 0.2}
    time = np.arange(PERIODS) - (PERIODS - 1) / 2
    found = [context.levels for context in contexts(200, levels=levels)]
    assert_close([np.square(each.total - each.unit - each.trend * time[:, None]).mean() for each in found], 0.8 * 2.25)


@pytest.mark.parametrize("pattern", ["entry", "dropout"])
def test_half_of_all_is_the_most_that_late_or_lost_units_leave_out(pattern: str) -> None:
    assert design_of(missing={"share": 0.6}).missing.some
    said = rf'share = 0\.6; allowed: 0 to 0\.5 with pattern = "{pattern}"'
    refuses(said, design_of, missing={"pattern": pattern, "share": 0.6})


# Places


def test_a_grid_lies_around_its_centre_and_capitals_are_richer_than_their_regions() -> None:
    grid = Grid().places(Streams(SEED), 25)
    np.testing.assert_allclose((grid.longitude.mean(), grid.latitude.mean()), CENTRE, rtol=1e-14)
    table, found = cities(), Cities().places(Streams(SEED), 285)
    regions = [table.region == region for region in np.unique(table.region)]
    slopes = np.linalg.lstsq(np.column_stack([*regions, table.capital]), found.prosperity, rcond=None)[0]
    assert slopes[-1] > 0.7  # 1 over the spread of all, some 0.8; its error is 0.1


@pytest.mark.parametrize(("column", "cell"), [
    ("rich", ""), ("rich", "inf"), ("latitude", "90.1"), ("longitude", ""), ("longitude", "-181"), ("unit", ""),
    ("region", ""),
])  # fmt: skip
def test_units_of_a_file_are_where_numbers_say(tmp_path: Path, column: str, cell: str) -> None:
    row = {"unit": "b", "longitude": "2", "latitude": "3", "rich": "0.5", "region": "east"}
    path = tmp_path / "units.csv"
    dials = {"periods": 4, "weights": {"kind": "none"},
             "geography": {"kind": "file", "path": str(path), "prosperity": "rich", "group": "region"}}  # fmt: skip
    head = "unit,longitude,latitude,rich,region\na,1,2,0.1,west\nc,3,1,0.7,east\n"
    path.write_text(head + ",".join(row.values()) + "\n")
    assert build(PanelDesign, dials, "worlds.toml [design]").schema.units == 3
    path.write_text(head + "b,-180,90,0.5,east\n")  # a pole is a place
    assert build(PanelDesign, dials, "worlds.toml [design]").schema.units == 3
    path.write_text(head + ",".join((row | {column: cell}).values()) + "\n")
    said = f"column '{column}' (holds what is no such number|has empty cells)"
    refuses(said, build, PanelDesign, dials, "worlds.toml [design]")


@pytest.mark.parametrize(("units", "groups"), [(40, 8), (41, 5), (97, 12), (30, 1), (285, 31)])
def test_groups_are_compact_and_of_equal_size(units: int, groups: int) -> None:
    """A column after another from west to east, in each a block after another from south to north, by loops."""
    rng = np.random.default_rng(groups)
    longitude, latitude = rng.uniform(size=(2, units))
    codes = compact_groups(longitude, latitude, groups)
    sizes = [sum(1 for code in codes if code == g) for g in range(groups)]
    assert sum(sizes) == units
    assert max(sizes) - min(sizes) <= 1
    columns: list[list[int]] = [[0]]
    for g in range(1, groups):
        last = columns[-1][-1]
        if min(longitude[codes == g]) > max(longitude[np.isin(codes, columns[-1])]):
            columns.append([g])
        else:
            assert min(latitude[codes == g]) > max(latitude[codes == last])
            columns[-1].append(g)
    assert len(columns) == max(round(np.sqrt(groups)), 1)
    counts = [len(column) for column in columns]
    assert max(counts) - min(counts) <= 1


# Adoption


@pytest.mark.parametrize("on", ["levels", "trends", "neighbours", "covariates", "factors"])
def test_a_propensity_treats_its_share_whatever_it_depends_on(on: str) -> None:
    adoption = {"kind": "propensity", "on": on, "share": 0.35, "strength": 1.5, "covariates": ["x"]}
    settings: dict[str, Any] = {"covariates": [{"name": "x"}], "levels": {"trends_sd": 0.2, "factors": 2}}
    panels = (panel_of(5, scope=f"world {i}", adoption=adoption, redraw=["adoption"], **settings) for i in range(80))
    assert_close([(panel.variables["did"] > 0).any(axis=1).mean() for panel in panels], 0.35)


def test_a_propensity_with_a_cap_never_treats_more_and_has_its_log_odds() -> None:
    """exp(strength) is the odds ratio of units one standard deviation apart."""
    adoption = {"kind": "propensity", "strength": 1.2, "intercept": -0.5}
    panel = panel_of(3000, adoption=adoption, redraw=["adoption"], levels={"period_sd": 0.0}, errors={"scale": 0.0})
    ever = panel.variables["did"].any(axis=1).mean(axis=0)
    unit = panel.variables["y"][0].mean(axis=0)
    z = (unit - unit.mean()) / unit.std()
    slope, constant = np.polyfit(z, np.log(ever / (1 - ever)), 1)
    assert (slope, constant) == (pytest.approx(1.2, abs=0.06), pytest.approx(-0.5, abs=0.06))
    capped = panel_of(200, adoption={**adoption, "most": 6}, redraw=["adoption"]).variables["did"].any(axis=1)
    assert capped.sum(axis=1).max() == 6


def test_one_unit_of_a_propensity_is_chosen_by_its_odds() -> None:
    """Where a number of units is fixed the first is i with probability odds_i / sum odds_j."""
    adoption = {"kind": "propensity", "strength": 2.5, "share": 1 / UNITS, "independent": False}
    panel = panel_of(4000, adoption=adoption, redraw=["adoption"], levels={"period_sd": 0.0}, errors={"scale": 0.0})
    chosen = panel.variables["did"].any(axis=1)
    unit = panel.variables["y"][0].mean(axis=0)
    odds = np.exp(2.5 * (unit - unit.mean()) / unit.std())
    chances = odds / odds.sum()
    assert (chosen.sum(axis=1) == 1).all()
    assert (np.abs(chosen.mean(axis=0) - chances) < 4.5 * np.sqrt(chances * (1 - chances) / 4000)).all()


@pytest.mark.parametrize("prosperity", [0.0, 2.0])
def test_a_calendar_is_kept_and_prosperous_units_come_first_in_it(prosperity: float) -> None:
    """Gumbel top-k: the first unit is i with probability exp(a p_i) / sum exp(a p_j)."""
    adoption = {"kind": "calendar", "dates": [[2004, 1]], "on_prosperity": prosperity}
    design, streams = design_of(adoption=adoption, redraw=["adoption"]), Streams(SEED)
    world: Any = design.settle(streams)
    did = world.draw(streams.tile(0, 4000), Wanted(frozenset({"did"}), ())).panel.variables["did"]
    counts = did.any(axis=1).mean(axis=0)
    chances = np.exp(prosperity * world.settled.context.places.prosperity)
    chances /= chances.sum()
    assert (did.any(axis=1).sum(axis=1) == 1).all()
    assert (np.abs(counts - chances) < 4.5 * np.sqrt(chances * (1 - chances) / 4000)).all()


def test_doses_last_as_dialled() -> None:
    """Scores of doses have autocorrelation between + (1 - between) serial^k; uniform doses are Phi of them."""
    adoption = {"kind": "dose", "share": 1.0, "last_periods": 7, "between": 0.3, "serial": 0.6, "mean": 1.0, "sd": 0.5}
    did = panel_of(adoption=adoption, redraw=["adoption"], levels={"unit_sd": 0.0}).variables["did"][:, 1:]
    assert (did > 0).all()
    score = norm.ppf((did - 1.0) / (0.5 * np.sqrt(12)) + 0.5)
    for lag in (1, 3):
        assert_close((score[:, lag:] * score[:, : 7 - lag]).mean(axis=(1, 2)), 0.3 + 0.7 * 0.6**lag)


@pytest.mark.parametrize("kind", ["switching", "instrumented", "random"])
def test_treatments_need_two_periods_and_no_more(kind: str) -> None:
    dials = {"adoption": {"kind": kind}, "covariates": [{"name": "z"}]}
    assert design_of(periods=2, **dials).schema.periods == 2
    refuses("2 or more", lambda: design_of(periods=1, **dials))


def test_switching_comes_to_its_stationary_share() -> None:
    adoption = {"kind": "switching", "on": 0.3, "off": 0.5, "share": 0.5}
    did = panel_of(adoption=adoption, redraw=["adoption"], periods=20).variables["did"]
    expected = [0.5 * 0.3 / 0.8 * (1 - 0.2**t) for t in range(20)]
    for t in (1, 2, 19):
        assert_close(did[:, t].mean(axis=1), expected[t])


def test_correlations_of_two_lags_solve_the_equations_of_yule_and_walker() -> None:
    correlation = arma_matrix((0.3, 0.2), (), 8)[0]
    np.testing.assert_allclose(correlation[1], 0.3 / (1 - 0.2), rtol=1e-9)
    np.testing.assert_allclose(correlation[2:], 0.3 * correlation[1:-1] + 0.2 * correlation[:-2], rtol=1e-9)
