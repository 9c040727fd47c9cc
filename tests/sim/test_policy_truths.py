"""Truths of staggered estimands are means of differences of potential outcomes, taken city by city."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest

from estimators import TwoWayDID
from sim import BadInput, Draw, Streams, Wanted
from sim.design import Estimand
from sim.presets import COHORTS, Paper, cohort_sizes
from sim.world.draw import DrawnAdoption

OVERALL = ("att", "att_event", "att_cohort", "att_calendar")
NAMES = (
    *OVERALL, "event(0)", "event(3)", "event(15)", "cohort(2008)", "cohort(2020)", "calendar(2008)", "calendar(2019)",
)  # fmt: skip
WORLDS = {
    "constant": Paper(),
    "growing": Paper(shape="growing", heterogeneity=0.5),
    "fading, Durbin": Paper(shape="fading", heterogeneity=0.5, spillover="paper"),
    "redrawn": Paper(shape="growing", heterogeneity=0.5, redraw=("calendar",), spillover="paper"),
    "redrawn, all alike": Paper(shape="growing", redraw=("calendar",)),
    "half of the cities": Paper(shape="growing", heterogeneity=0.5, treated=142, assignment="random"),
    "few": Paper(shape="growing", heterogeneity=0.5, treated=14, redraw=("calendar",)),
    "single": Paper(shape="growing", heterogeneity=0.5, calendar="single"),
    "anticipated": Paper(anticipation=2, trend_gap=0.01),
}


def draw(design: Paper, replications: int, estimands: tuple[str, ...] = (), seed: int = 5) -> Draw:
    streams = Streams(seed, "truths")
    wanted = Wanted(frozenset({"icr", "did"}), estimands)
    return design.settle(streams).draw(streams.tile(0, replications), wanted)


def truths_by_hand(gain: np.ndarray, did: np.ndarray, years: tuple[int, ...]) -> dict[str, float]:
    """Callaway and Sant'Anna's aggregations of one draw, (T, N), from its att(G,T), as their section 3 writes them."""
    firsts = [years[int(did[:, i].argmax())] if did[:, i].any() else None for i in range(did.shape[1])]
    members = defaultdict(list)
    for i, first in enumerate(firsts):
        if first is not None:
            members[first].append(i)
    att = {(g, t): gain[years.index(t), who].mean() for g, who in members.items() for t in years if t >= g}
    size = {g: len(who) for g, who in members.items()}
    last = years[-1]

    def weighted(pairs: list[tuple[float, int]]) -> float:
        return sum(value * n for value, n in pairs) / sum(n for _, n in pairs) if pairs else np.nan

    found = {f"event({k})": weighted([(att[g, g + k], size[g]) for g in size if g + k <= last])
             for k in range(len(years))}  # fmt: skip
    found |= {f"cohort({g})": float(np.mean([att[g, t] for t in years if t >= g])) if g in size else np.nan
              for g in years}  # fmt: skip
    found |= {f"calendar({t})": weighted([(att[g, t], size[g]) for g in size if g <= t]) for t in years}
    found["att_event"] = float(np.nanmean([found[f"event({k})"] for k in range(len(years))]))
    found["att_cohort"] = weighted([(found[f"cohort({g})"], size[g]) for g in size])
    found["att_calendar"] = float(np.nanmean([found[f"calendar({t})"] for t in years]))
    found["att"] = weighted([(value, size[g]) for (g, _), value in att.items()])
    return found


@pytest.mark.parametrize("name", WORLDS)
def test_truths_are_callaway_and_santannas_aggregations_of_potential_outcomes(name: str) -> None:
    """The same world without an effect draws the same numbers, so that outcomes differ by Y(d) - Y(0)."""
    design = WORLDS[name]
    with_policy, without = draw(design, 3, NAMES), draw(replace(design, effect=0.0), 3, NAMES)
    gain = with_policy.panel.variables["icr"] - without.panel.variables["icr"]
    did = np.broadcast_to(with_policy.panel.variables["did"], gain.shape)
    for row in range(3):
        expected = truths_by_hand(gain[row], did[row], with_policy.panel.periods)
        for estimand in NAMES:
            np.testing.assert_allclose(with_policy.truth[estimand][row], expected[estimand], rtol=1e-9, atol=1e-14)
    for values in without.truth.values():
        assert (np.isnan(values) | (values == 0.0)).all()


def test_a_constant_effect_is_every_estimand() -> None:
    for values in draw(Paper(), 2, NAMES).truth.values():
        np.testing.assert_allclose(values, 0.0157, rtol=1e-14)


def test_growing_effects_follow_their_shape() -> None:
    names = tuple(f"event({k})" for k in range(8))
    truth = draw(Paper(shape="growing"), 1, names).truth
    shape = [min((k + 1) / 5, 1.0) for k in range(8)]
    np.testing.assert_allclose([truth[name][0] for name in names], 0.0157 * np.array(shape), rtol=1e-14)


def test_heterogeneous_effects_give_each_draw_its_own_truths() -> None:
    for name, values in draw(Paper(heterogeneity=0.5), 6, NAMES).truth.items():
        assert np.unique(values).size == 6, name


@pytest.mark.parametrize("redraw", [(), ("calendar",)])
@pytest.mark.parametrize("name", [
    "event(-1)", "event(16)", "event(1.5)", "event", "event(1,2)", "cohort(2006)", "cohort(2021)", "calendar(2007)",
    "calendar(x)", "att(2016,2010)", "att(2016)", "att_event(1)",
])  # fmt: skip
def test_what_a_world_lacks_is_nan(name: str, redraw: tuple[str, ...]) -> None:
    for heterogeneity in (0.0, 0.5):
        design = Paper(heterogeneity=heterogeneity, redraw=redraw)  # type: ignore[arg-type]
        values = draw(design, 2, (name,)).truth[name]
        assert np.isnan(values).all()
        assert values.shape == (2,)


def test_a_draw_without_a_treated_unit_has_no_effect_on_the_treated() -> None:
    did = np.zeros((2, 4, 3))
    did[1, 2:, 0] = 1.0
    adoption = DrawnAdoption(did, np.arange(4.0))
    gain = np.arange(24.0).reshape(2, 4, 3)
    for name in OVERALL:
        values = adoption.mean_effect(gain, Estimand(name, ()))
        assert np.isnan(values[0])
        assert values[1] == pytest.approx(gain[1, 2:, 0].mean(), rel=1e-15)


def test_cohorts_keep_their_proportions() -> None:
    assert cohort_sizes(48).tolist() == list(COHORTS.values())
    assert cohort_sizes(96).tolist() == [2 * n for n in COHORTS.values()]
    for treated in (1, 14, 29, 71, 142, 284):
        sizes = cohort_sizes(treated)
        assert sizes.sum() == treated
        assert (np.abs(sizes - np.array(list(COHORTS.values())) * treated / 48) < 1).all()


@pytest.mark.parametrize("treated", [14, 142])
@pytest.mark.parametrize("calendar", ["staggered", "single"])
def test_so_many_cities_are_treated(treated: int, calendar: str) -> None:
    did = draw(Paper(treated=treated, calendar=calendar), 1).panel.variables["did"][0]  # type: ignore[arg-type]
    assert did.any(axis=0).sum() == treated


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


@pytest.mark.parametrize("dials", [{"treated": 0}, {"treated": 285}, {"assignment": "poor"}])
def test_impossible_dials_are_refused(dials: dict[str, object]) -> None:
    with pytest.raises(BadInput, match="design paper"):
        Paper(**dials)  # type: ignore[arg-type]


def test_two_way_did_misses_effects_that_grow() -> None:
    """With staggered adoption it compares with cities whose effect still grows."""
    drawn = draw(Paper(shape="growing", heterogeneity=0.5, controls="none"), 512, ("att",))
    miss = TwoWayDID(errors=("iid",))(drawn.panel).estimate[:, 0] - drawn.truth["att"]
    assert miss.mean() < -10 * miss.std() / np.sqrt(512)
