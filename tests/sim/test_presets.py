"""The presets `paper`, `bdm` and `clustered`: published facts, the parts that their dials are, and what is true there.

What those parts draw and what is true of them is held to a slow program in `test_worlds_of_parts`.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from covering import Row, covering_rows
from refusals import refuses
from scipy.signal import lfilter

from estimators import TwoWayDID
from references.regressions import panel_ols
from sim import Design, Draw, Streams, Wanted
from sim.design import Estimand
from sim.presets import COHORTS, PUBLISHED_DRAWS, PUBLISHED_SIZES, BertrandDufloMullainathan, Clustered, Paper
from sim.world.draw import DrawnAdoption
from sim.world.parts.adoption import sizes_of

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


def draw(
    design: Design, replications: int = 1, estimands: tuple[str, ...] = (), seed: int = SEED, scope: str = "paper"
) -> Draw:
    streams = Streams(seed, scope)
    world = design.settle(streams)
    return world.draw(streams.tile(0, replications), Wanted(frozenset(design.schema.variables), estimands))


@pytest.mark.parametrize("seed", [1, 2])
def test_48_cities_are_treated_in_396_city_years_from_2008_to_2020(seed: int) -> None:
    panel = draw(Paper(), seed=seed).panel
    did = panel.variables["did"][0]
    assert (did.shape, set(np.unique(did)), int(did.any(axis=0).sum())) == ((18, 285), {0.0, 1.0}, 48)
    assert (int(did.sum()), did.mean()) == (396, pytest.approx(0.0772, abs=5e-5))
    assert did.std(ddof=1) == pytest.approx(0.2668, abs=2e-4)
    assert (np.diff(did, axis=0) >= 0).all()
    years = np.array(panel.periods)[did.argmax(axis=0)][did.any(axis=0)]
    assert {int(year): int((years == year).sum()) for year in np.unique(years)} == COHORTS


def test_a_calendar_at_once_or_of_any_size_treats_cities_of_the_same_order() -> None:
    staggered, single = (
        draw(Paper()).panel.variables["did"][0],
        draw(Paper(calendar="single")).panel.variables["did"][0],
    )
    np.testing.assert_array_equal(staggered.any(axis=0), single.any(axis=0))
    assert len(np.unique(single.argmax(axis=0)[single.any(axis=0)])) == 1
    # the published calendar at any share of treated cities: the 14 are among the 48, these among the 142
    few, some, many = (draw(Paper(treated=n), 1).panel.variables["did"][0].any(axis=0) for n in (14, 48, 142))
    assert (few <= some).all()
    assert (some <= many).all()
    assert draw(Paper(), 2).panel.digest == draw(Paper(assignment="rich", treated=48), 2).panel.digest


@pytest.mark.parametrize("name", MOMENTS)
def test_moments_of_table_1(name: str) -> None:
    """Averaged over worlds; those of mediators are a little further away."""
    design = Paper(mediator="ent" if name == "ent" else "gpat")
    values = [draw(design, seed=seed).panel.variables[name] for seed in SEEDS]
    mean, sd, *_ = MOMENTS[name]
    near = 0.05 if name in ("gpat", "ent") else 0.03
    assert np.mean([x.mean() for x in values]) == pytest.approx(mean, abs=near * sd)
    assert np.mean([x.std() for x in values]) == pytest.approx(sd, rel=near)


def test_levels_are_clustered_in_space() -> None:
    """Moran's I of each year in levels about .35, as the study's .29 to .43; averaged over worlds."""
    found = []
    for seed in SEEDS:
        panel = draw(Paper(spillover="paper"), seed=seed).panel
        z = panel.variables["icr"][0] - panel.variables["icr"][0].mean(axis=1, keepdims=True)
        lagged = panel.weights["knn-6"].lag(z)
        found.append(((z * lagged).sum(axis=1) / (z * z).sum(axis=1)).mean())
    assert 0.28 <= np.mean(found) <= 0.45


@pytest.mark.parametrize(("dials", "message"), [
    ({"spillover": "durbin"}, "none, paper, lag, error"), ({"redraw": ("controls", "outcome")}, "calendar, controls"),
    ({"serial": 1.0}, "allowed: more than -1, less than 1"), ({"sigma": -0.1}, "0 or more"),
    ({"treated": 0}, "allowed: 1 to 284"), ({"treated": 285}, "allowed: 1 to 284"),
    ({"anticipation": 18}, "allowed: 0 to 17"), ({"confounding": 2.0}, "allowed: more than -1, less than 1"),
    ({"assignment": "poor"}, "design paper"),
])  # fmt: skip
def test_impossible_dials_are_refused(dials: dict[str, object], message: str) -> None:
    refuses(message, Paper, **dials)


NOWHERE = (
    "event(-1)", "event(16)", "event(1.5)", "event", "event(1,2)", "cohort(2006)", "cohort(2021)", "calendar(2007)",
    "calendar(x)", "att(2016,2010)", "att(2016)", "att_event(1)",
)  # fmt: skip


@pytest.mark.parametrize("redraw", [(), ("calendar",)])
def test_what_a_world_lacks_is_nan(redraw: tuple[str, ...]) -> None:
    for heterogeneity in (0.0, 0.5):
        truth = draw(Paper(heterogeneity=heterogeneity, redraw=redraw), 2, NOWHERE).truth  # type: ignore[arg-type]
        assert {name for name, values in truth.items() if np.isnan(values).all() and len(values) == 2} == set(NOWHERE)


def test_a_draw_without_a_treated_unit_has_no_effect_on_the_treated() -> None:
    did = np.zeros((2, 4, 3))
    did[1, 2:, 0] = 1.0
    adoption = DrawnAdoption(did, np.arange(4.0))
    gain = np.arange(24.0).reshape(2, 4, 3)
    for name in ("att", "att_event", "att_cohort", "att_calendar"):
        values = adoption.mean_effect(gain, Estimand(name, ()))
        assert np.isnan(values[0])
        assert values[1] == pytest.approx(gain[1, 2:, 0].mean(), rel=1e-15)


def test_cohorts_keep_their_proportions() -> None:
    published = np.array(list(COHORTS.values()))
    for treated in (0, 1, 14, 29, 48, 71, 80, 96, 142, 284):  # by whole numbers: of equal remainders the earlier counts
        sizes, remainders = published * treated // 48, published * treated % 48
        sizes[np.argsort(-remainders, kind="stable")[: treated - sizes.sum()]] += 1
        np.testing.assert_array_equal(sizes_of(published / 48, treated), sizes)


def test_two_way_did_misses_effects_that_grow() -> None:
    """With staggered adoption it compares with cities whose effect still grows."""
    drawn = draw(Paper(shape="growing", heterogeneity=0.5, controls="none"), 512, ("att",))
    miss = TwoWayDID(errors=("iid",))(drawn.panel).estimate[:, 0] - drawn.truth["att"]
    assert miss.mean() < -10 * miss.std() / np.sqrt(512)


PUBLISHED = {  # spillover: policy, its lag, controls, their lags, rho, lambda, of tables 2 and 7
    "none": (0.0157, 0.0, (0.0763, -0.0027, 0.0072, -0.0025), (0.0, 0.0, 0.0, 0.0), 0.0, 0.0),
    "error": (0.0150, 0.0, (0.0750, 0.0010, 0.0076, -0.0029), (0.0, 0.0, 0.0, 0.0), 0.0, 0.1657),
    "lag": (0.0152, 0.0, (0.0755, -0.0007, 0.0073, -0.0029), (0.0, 0.0, 0.0, 0.0), 0.1680, 0.0),
    "paper": (0.0128, 0.0124, (0.0774, 0.0027, 0.0069, -0.0033), (0.0425, -0.0740, -0.0108, 0.0048), 0.1492, 0.0),
}
CHANNELS = {"gpat": (0.0925, 0.0072, 0.19), "ent": (-0.0478, -0.0148, 0.11)}  # policy on it, it on outcome, own sd
DIALS: dict[str, tuple[Any, ...]] = {
    "effect": (0.0157, -0.03), "spillover": tuple(PUBLISHED), "rho": (None, 0.4), "spatial_error": (None, 0.3),
    "shape": ("constant", "growing", "fading"), "heterogeneity": (0.0, 0.5), "anticipation": (0, 3),
    "trend_gap": (0.0, 0.002), "serial": (0.0, -0.4), "sigma": (0.029, 0.004, 0.0), "calendar": ("staggered", "single"),
    "controls": ("paper", "none"), "redraw": ((), ("calendar",), ("controls",), ("calendar", "controls")),
    "mediator": ("gpat", "ent"), "confounding": (0.0, 0.5), "assignment": ("rich", "random"), "treated": (48, 20, 142),
}  # fmt: skip


@pytest.mark.parametrize("dials", covering_rows(DIALS))
def test_dials_of_the_paper_are_these_parts(dials: Row) -> None:
    assert set(dials) == {item.name for item in fields(Paper)}
    parts: Any = Paper(**dials).parts
    did, w_did, own, lagged, rho, lam = PUBLISHED[dials["spillover"]]
    scale = dials["effect"] / 0.0157
    rho = rho if dials["rho"] is None else dials["rho"]
    lam = lam if dials["spatial_error"] is None else dials["spatial_error"]
    numbers = (parts.effect.size, parts.spillover.w_effect, parts.spillover.rho, parts.errors.spatial)
    assert numbers == pytest.approx((did * scale, w_did * scale, rho, lam), rel=1e-12)
    for name in ("shape", "anticipation", "trend_gap"):
        assert getattr(parts.effect, name) == dials[name]
    assert (parts.effect.unit_sd, parts.errors.sd, parts.errors.serial) == (
        dials["heterogeneity"], dials["sigma"], dials["serial"])  # fmt: skip
    controls = zip(("inv", "road", "book", "tech"), own, lagged, strict=True)
    wanted = [*controls] if dials["controls"] == "paper" else []
    assert [(part.name, part.effect, part.lag_effect) for part in parts.covariates] == wanted
    assert sum(count for _, count in parts.adoption.dates) == dials["treated"]
    assert (len(parts.adoption.dates) == 1) == (dials["calendar"] == "single")
    assert (parts.adoption.on_prosperity > 0) == (dials["assignment"] == "rich")
    assert set(parts.redraw) == {{"calendar": "adoption", "controls": "covariates"}[name] for name in dials["redraw"]}
    a, b, sd = CHANNELS[dials["mediator"]]
    room = dials["sigma"] > abs(b * sd) and lam == 0  # its errors are a part of the outcome's
    found = [(part.name, part.a, part.b, part.sd, part.confounding, part.within) for part in parts.mediators]
    channel = (dials["mediator"], pytest.approx(a * scale, rel=1e-12), b, sd, dials["confounding"], True)
    assert found == ([channel] if room else [])


# Bertrand, Duflo and Mullainathan; Cameron, Gelbach and Miller

EVERYTHING = Wanted(frozenset({"y", "did", "x"}), ())


def test_half_of_the_units_get_the_law_in_one_year_from_1985_to_1995() -> None:
    panel = draw(BertrandDufloMullainathan(), 2200, seed=2004, scope="").panel
    did, years = panel.variables["did"], np.array(panel.periods)
    assert (years[0], years[-1], len(panel.units)) == (1979, 1999, 50)
    np.testing.assert_array_equal(did.any(axis=1).sum(axis=1), 25)
    first = years[did.any(axis=2).argmax(axis=1)]
    np.testing.assert_array_equal(did.sum(axis=(1, 2)), 25 * (2000 - first))
    found, counts = np.unique(first, return_counts=True)
    np.testing.assert_array_equal(found, np.arange(1985, 1996))
    assert (np.abs(counts - 200) < 4 * np.sqrt(200)).all()
    treated = did.any(axis=1).sum(axis=0)
    assert (np.abs(treated - 1100) < 4 * np.sqrt(550)).all()


def test_bad_dials_are_bad_input() -> None:
    refuses("serial = 1", lambda: BertrandDufloMullainathan(serial=1.0))
    for faulty in ({"groups": 1}, {"size": 0}, {"effect": np.inf}):
        refuses(next(iter(faulty)), Clustered, **faulty)


def rejection(serial: float, error: str, critical: float, replications: int = 2000, tile: int = 200) -> float:
    """How often |t| of two-way DID is larger where the law does nothing."""
    world, streams = BertrandDufloMullainathan(serial).settle(Streams(2004)), Streams(2004, f"bdm {serial}")
    estimator, hits = TwoWayDID(errors=(error,)), 0
    for start in range(0, replications, tile):
        got = estimator(world.draw(streams.tile(start, start + tile), EVERYTHING).panel)
        hits += int((np.abs(got.estimate[:, 0] / got.se[:, 0, 0]) > critical).sum())
    return hits / replications


@pytest.mark.long
def test_plain_errors_reject_as_often_as_published() -> None:
    """n - k degrees of freedom, all effects in k. At 20,000: .0052, .0512, .1059, .1756, .2772, .3988 (seed 2004)."""
    rows = 2000
    for serial, published in PUBLISHED_SIZES.items():
        rate = rejection(serial, "iid", 1.96)
        error = np.sqrt(rate * (1 - rate) / rows + published * (1 - published) / PUBLISHED_DRAWS)
        print(f"serial {serial:4}: {rate:.4f} published {published:.3f}, {(rate - published) / error:+.2f} errors")
        assert abs(rate - published) <= 3 * error


@pytest.mark.long
def test_errors_clustered_by_unit_hold_the_level_at_fifty_units() -> None:
    rate = rejection(0.8, "cluster:unit", 2.0096)  # t(49)
    print(f"clustered by unit, serial .8: {rate:.4f}")
    assert abs(rate - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 2000)


@pytest.mark.parametrize(("groups", "expected"), [(5, 0.21), (10, 0.13)])
def test_few_groups_make_clustered_errors_too_small(groups: int, expected: float) -> None:
    rows = 4000
    panel = draw(Clustered(groups), rows, seed=2008, scope="").panel
    got = panel_ols(effects=(), errors=("iid", "cluster:group"))(panel)
    t = np.abs(got.estimate[:, None, 0] - 1.0) / got.se[:, :, 0]
    plain, clustered = (t > 1.96).mean(axis=0)
    print(f"{groups} groups: plain {plain:.4f}, CR1 against 1.96 {clustered:.4f}")
    assert plain > 0.4
    assert abs(clustered - expected) <= 0.02


TILE = Streams(11, "truths", 5, 9)
UNKNOWN = ("rho", "lambda", "dependence", "nde", "nie", "direct(did)", "total(did)", "indirect(x)", "beta(w_did)",
           "beta(nothing)")  # fmt: skip


def drawn_truths(design: Design, names: tuple[str, ...]) -> Draw:
    return design.settle(TILE).draw(TILE, Wanted(frozenset(design.schema.variables), names))


@pytest.mark.parametrize("serial", [0.0, 0.8, -0.4])
def test_a_placebo_law_changes_nothing(serial: float) -> None:
    """The outcome is the stationary error alone, so that every effect that a law has is 0."""
    years = range(1979, 2000)
    cells = {f"att({law},{year})": (law, year) for law in (1985, 1990, 1995) for year in (1984, 1990, 1999)}
    means = ("att", "att_event", "att_cohort", "att_calendar", "contrast", "beta(did)")
    draw = drawn_truths(BertrandDufloMullainathan(serial), (*means, *cells, "cohort(1989)", "event(14)", "sigma2",
                                                            *UNKNOWN))  # fmt: skip
    shocks = TILE.normals("errors", 21, 50)
    for row in range(4):
        fresh = np.concatenate([shocks[row, :1], np.sqrt(1 - serial**2) * shocks[row, 1:]])
        y, did = (draw.panel.variables[name][row] for name in ("y", "did"))
        np.testing.assert_allclose(y, lfilter([1.0], [1.0, -serial], fresh, axis=0), rtol=0, atol=1e-12)
        own = years[int(did.any(axis=1).argmax())]
        wanted = {name: own == law and year >= law for name, (law, year) in cells.items()}
        wanted |= {"cohort(1989)": own == 1989, "event(14)": own == 1985}
        for name, there in wanted.items():
            np.testing.assert_array_equal(draw.truth[name][row], 0.0 if there else np.nan, err_msg=name)
    for name in means:  # all laws of a draw are of one year
        np.testing.assert_array_equal(draw.truth[name], 0.0)
    assert all(np.isnan(draw.truth[name]).all() for name in UNKNOWN)
    if serial == 0:
        np.testing.assert_array_equal(draw.truth["sigma2"], 1.0)


@pytest.mark.parametrize("effect", [1.0, -0.3])
def test_clustered_outcomes_are_the_effect_and_two_shocks(effect: float) -> None:
    draw = drawn_truths(Clustered(groups=5, size=4, effect=effect), ("beta(x)", "sigma2", "att", *UNKNOWN))
    shared, own = TILE.normals("errors of groups", 1, 5), TILE.normals("errors", 1, 20)
    x_shared, x_own = TILE.normals("covariate x of groups", 1, 5), TILE.normals("covariate x", 1, 20)
    for row in range(4):
        for unit in range(20):
            x = x_shared[row, 0, unit // 4] + x_own[row, 0, unit]
            assert draw.panel.variables["x"][row, 0, unit] == pytest.approx(x, abs=1e-12)
            y = effect * x + shared[row, 0, unit // 4] + own[row, 0, unit]
            assert draw.panel.variables["y"][row, 0, unit] == pytest.approx(y, abs=1e-12)
    np.testing.assert_array_equal(draw.truth["beta(x)"], effect)
    np.testing.assert_array_equal(draw.truth["sigma2"], 1.0 + 1.0)  # of both shocks
    assert all(np.isnan(draw.truth[name]).all() for name in ("att", *UNKNOWN))
