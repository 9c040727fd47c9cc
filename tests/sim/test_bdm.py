"""The designs `bdm` and `clustered`: their moments, and the rejection rates that their papers print."""

from __future__ import annotations

import numpy as np
import pytest

from estimators import Estimates
from estimators.linear.did import TwoWayDID
from references.regressions import panel_ols
from sim import BadInput, Panel, Streams, Wanted
from sim.design import Design
from sim.presets import PUBLISHED_DRAWS, PUBLISHED_SIZES, BertrandDufloMullainathan, Clustered

EVERYTHING = Wanted(frozenset({"y", "did", "x"}), ())


def drawn(design: Design, replications: int, seed: int = 2004) -> Panel:
    return design.settle(Streams(seed)).draw(Streams(seed, "", 0, replications), EVERYTHING).panel


def test_half_of_the_units_get_the_law_in_one_year_from_1985_to_1995() -> None:
    panel = drawn(BertrandDufloMullainathan(), 2200)
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
    with pytest.raises(BadInput, match="serial = 1"):
        BertrandDufloMullainathan(serial=1.0)
    for faulty in ({"groups": 1}, {"size": 0}, {"effect": np.inf}):
        with pytest.raises(BadInput, match=next(iter(faulty))):
            Clustered(**faulty)


def rejection(serial: float, replications: int, tile: int = 200) -> float:
    """How often |t| > 1.96 with plain errors, n - k degrees of freedom with all effects in k."""
    world, streams = BertrandDufloMullainathan(serial).settle(Streams(2004)), Streams(2004, f"bdm {serial}")
    estimator, hits = TwoWayDID(errors=("iid",)), 0
    for start in range(0, replications, tile):
        got = estimator(world.draw(streams.tile(start, start + tile), EVERYTHING).panel)
        hits += int((np.abs(got.estimate[:, 0] / got.se[:, 0, 0]) > 1.96).sum())
    return hits / replications


@pytest.mark.long
def test_plain_errors_reject_as_often_as_published() -> None:
    """At 20,000 replications: .0052, .0512, .1059, .1756, .2772, .3988 (seed 2004)."""
    rows = 2000
    for serial, published in PUBLISHED_SIZES.items():
        rate = rejection(serial, rows)
        error = np.sqrt(rate * (1 - rate) / rows + published * (1 - published) / PUBLISHED_DRAWS)
        print(f"serial {serial:4}: {rate:.4f} published {published:.3f}, {(rate - published) / error:+.2f} errors")
        assert abs(rate - published) <= 3 * error


@pytest.mark.long
def test_errors_clustered_by_unit_hold_the_level_at_fifty_units() -> None:
    world, rows = BertrandDufloMullainathan(0.8).settle(Streams(2004)), 2000
    parts = [
        TwoWayDID(errors=("cluster:unit",))(world.draw(Streams(2004, "", a, a + 200), EVERYTHING).panel)
        for a in range(0, rows, 200)
    ]
    got = Estimates.join(parts)
    rate = float((np.abs(got.estimate[:, 0] / got.se[:, 0, 0]) > 2.0096).mean())  # t(49)
    print(f"clustered by unit, serial .8: {rate:.4f}")
    assert abs(rate - 0.05) < 4 * np.sqrt(0.05 * 0.95 / rows)


@pytest.mark.parametrize(("groups", "expected"), [(5, 0.21), (10, 0.13)])
def test_few_groups_make_clustered_errors_too_small(groups: int, expected: float) -> None:
    rows = 4000
    panel = drawn(Clustered(groups), rows, seed=2008)
    got = panel_ols(effects=(), errors=("iid", "cluster:group"))(panel)
    t = np.abs(got.estimate[:, None, 0] - 1.0) / got.se[:, :, 0]
    plain, clustered = (t > 1.96).mean(axis=0)
    print(f"{groups} groups: plain {plain:.4f}, CR1 against 1.96 {clustered:.4f}")
    assert plain > 0.4
    assert abs(clustered - expected) <= 0.02
