"""The `paper` design: published facts, whom it treats, and what it has no truth of."""

from __future__ import annotations

import numpy as np
import pytest

from estimators import TwoWayDID
from sim import BadInput, Draw, Streams, Wanted
from sim.design import Estimand
from sim.presets import COHORTS, Paper
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


def draw(design: Paper, replications: int = 1, estimands: tuple[str, ...] = (), seed: int = SEED) -> Draw:
    streams = Streams(seed, "paper")
    world = design.settle(streams)
    return world.draw(streams.tile(0, replications), Wanted(frozenset(design.schema.variables), estimands))


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


@pytest.mark.parametrize("name", MOMENTS)
def test_moments_of_table_1(name: str) -> None:
    """Averaged over worlds; those of mediators are a little further away."""
    design = Paper(mediator="ent" if name == "ent" else "gpat")
    values = [draw(design, seed=seed).panel.variables[name] for seed in SEEDS]
    mean, sd, *_ = MOMENTS[name]
    near = 0.05 if name in ("gpat", "ent") else 0.03
    assert np.mean([x.mean() for x in values]) == pytest.approx(mean, abs=near * sd)
    assert np.mean([x.std() for x in values]) == pytest.approx(sd, rel=near)


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


def test_errors_that_last_leave_sigma2_without_a_truth() -> None:
    """Effects take up a part of them: two-way residuals hold less than their variance."""
    assert np.isnan(draw(Paper(serial=0.6), 2, ("sigma2", "rho")).truth["sigma2"]).all()
    assert (draw(Paper(serial=0.6), 2, ("sigma2", "rho")).truth["rho"] == 0).all()


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
        ({"assignment": "poor"}, "design paper"),
    ],
)
def test_impossible_dials_are_refused(dials: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Paper(**dials)  # type: ignore[arg-type]


def test_no_controls_means_none_in_schema_and_draws() -> None:
    design = Paper(controls="none")
    assert design.schema.roles.controls == ()
    assert set(draw(design).panel.variables) == {"icr", "did", "gpat"}


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


def test_random_assignment_has_no_favourites() -> None:
    """Eastern cities among the treated: as many as among all, where the rich are favoured 15 points more."""
    shares = {}
    for assignment in ("rich", "random"):
        design = Paper(assignment=assignment, redraw=("calendar",))  # type: ignore[arg-type]
        panel = draw(design, 400).panel
        treated = panel.variables["did"].any(axis=1)
        east = panel.attributes["region"] == "east"
        shares[assignment] = (treated & east).sum() / treated.sum() - east.mean()
    sd = np.sqrt(0.25 / (400 * 48))
    assert abs(shares["random"]) < 4 * sd
    assert shares["rich"] > 0.10


def test_new_dials_leave_the_numbers_of_the_defaults_alone() -> None:
    """The published calendar at any share of treated cities: the 14 are among the 48, these among the 142."""
    few, some, many = (draw(Paper(treated=n), 1).panel.variables["did"][0].any(axis=0) for n in (14, 48, 142))
    assert (few <= some).all()
    assert (some <= many).all()
    assert draw(Paper(), 2).panel.digest == draw(Paper(assignment="rich", treated=48), 2).panel.digest


def test_two_way_did_misses_effects_that_grow() -> None:
    """With staggered adoption it compares with cities whose effect still grows."""
    drawn = draw(Paper(shape="growing", heterogeneity=0.5, controls="none"), 512, ("att",))
    miss = TwoWayDID(errors=("iid",))(drawn.panel).estimate[:, 0] - drawn.truth["att"]
    assert miss.mean() < -10 * miss.std() / np.sqrt(512)
