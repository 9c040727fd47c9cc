"""Errors whose size follows treatment and time, and paths on which loadings are drawn anew."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from experiments.settings import build, to_settings
from experiments.study import Study
from sim import BadInput, Panel, Streams, Wanted
from sim.world.panel_design import PanelDesign
from sim.world.parts.errors import Process

WORLD: dict[str, Any] = {
    "units": 40,
    "periods": 8,
    "levels": {"unit_sd": 0.0, "period_sd": 0.0},
    "effect": {"size": 0.0},
    "adoption": {"kind": "staggered", "cohorts": (2004, 2006)},
}
SIZES = {"treated_scale": 1.5, "post_scale": 0.6, "growth": 0.1}


def panel_of(replications: int = 400, **settings: Any) -> Panel:
    design, streams = build(PanelDesign, WORLD | settings, "[design]"), Streams(2027)
    wanted = Wanted(frozenset(design.schema.variables), ())
    return design.settle(streams).draw(streams.tile(0, replications), wanted).panel


@pytest.mark.parametrize("redraw", [(), ("adoption",)])
def test_errors_are_those_of_one_size_times_the_factors(redraw: tuple[str, ...]) -> None:
    """Neighbours' and groups' shares change with the unit-period; adoption that is drawn anew is followed."""
    dials = {"sd": 1.3, "serial": 0.4, "spatial": 0.5, "group_share": 0.3}
    plain, sized = (panel_of(20, errors=dials | more, redraw=redraw) for more in ({}, SIZES))
    did = sized.variables["did"]
    assert len(did) == (20 if redraw else 1)
    expected = np.empty_like(plain.variables["y"])
    for r in range(20):
        own = did[r % len(did)]
        for t in range(8):
            for i in range(40):
                factor = np.exp(0.1 * (t - 3.5)) * (1.5 if own[:, i].any() else 1.0) * (0.6 if own[t, i] else 1.0)
                expected[r, t, i] = factor * plain.variables["y"][r, t, i]
    np.testing.assert_allclose(sized.variables["y"], expected, rtol=1e-12, atol=1e-14)


def test_variances_are_the_squares_of_the_factors() -> None:
    """Means of squares of 400 draws within 4 Monte Carlo errors, for each kind of unit-period."""
    panel = panel_of(errors={"sd": 2.0, "treated_scale": 1.5, "post_scale": 0.6})
    e, did = panel.variables["y"], panel.variables["did"][0]
    ever = np.broadcast_to(did.any(axis=0), did.shape)
    for mask, sd in ((~ever, 2.0), (ever & (did == 0), 3.0), (did > 0, 1.8)):
        squares = np.square(e[:, mask]).mean(axis=1)
        assert abs(squares.mean() - sd**2) < 4 * squares.std(ddof=1) / 20


def test_loadings_on_paths_are_drawn_anew() -> None:
    """The covariance over periods is sd^2 I + the paths' outer products, that of a unit with itself in another
    replication, and with another unit, 0; scale takes all."""
    paths = [[1.0, 0.5, 0.0, -0.5, -1.0, -0.5, 0.0, 0.5], [0.0, 0.0, 0.0, 0.0, 2.0, 2.0, 2.0, 2.0]]
    e = panel_of(2000, errors={"sd": 0.5, "common_paths": paths}).variables["y"]
    held = np.array(paths)
    covariance = np.einsum("rtn,rsn->ts", e, e) / (2000 * 40)
    np.testing.assert_allclose(covariance, 0.25 * np.eye(8) + held.T @ held, atol=4 * 4.25 * np.sqrt(2 / 80_000))
    again = np.einsum("rtn,rsn->ts", e[1:], e[:-1]) / (1999 * 40)
    others = np.einsum("rtn,rsn->ts", e[:, :, 1:], e[:, :, :-1]) / (2000 * 39)
    for cross in (again, others):
        np.testing.assert_allclose(cross, 0.0, atol=4.5 * 4.25 / np.sqrt(78_000))
    halved = panel_of(4, errors={"sd": 0.5, "common_paths": paths, "scale": 0.5}).variables["y"]
    np.testing.assert_allclose(halved, 0.5 * e[:4])


def test_parameters_of_errors_are_truths_only_where_they_hold() -> None:
    assert build(Process, {"sd": 2.0}, "errors").sigma2 == 4.0
    for more in ({"post_scale": 2.0}, {"treated_scale": 2.0}, {"growth": 0.1}, {"common_paths": ((1.0, 2.0),)}):
        part = Process(sd=2.0, spatial=0.3, **more)  # type: ignore[arg-type]
        assert np.isnan(part.sigma2)
        assert np.isnan(part.lam) == ("common_paths" not in more)
        assert Process(**more).lam == 0.0  # type: ignore[arg-type]


def test_new_dials_at_their_defaults_are_no_part_of_a_study() -> None:
    """Studies that do not set them keep the fingerprints that they had before there were such dials."""
    table = {"name": "x", "design": {"kind": "panel"}, "estimators": [{"kind": "did"}], "replications": 64}
    written = {**table, "design": {"kind": "panel", "errors": {"post_scale": 1.0, "growth": 0.0}}}
    one, two = Study.from_settings(table, "x"), Study.from_settings(written, "x")
    assert one.fingerprint == two.fingerprint
    assert "post_scale" not in one.settings["design"]["errors"]
    own = to_settings(Process())
    assert not {"treated_scale", "post_scale", "growth", "common_paths"} & {*own}
    assert to_settings(Process(post_scale=1.5))["post_scale"] == 1.5
    assert build(Process, {k: v for k, v in to_settings(Process(growth=0.1)).items() if k != "kind"}, "x").growth == 0.1


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"errors": {"common_paths": [[1.0, 2.0]]}}, "common_paths: one of 2 numbers"),
        ({"errors": {"common_paths": [[float("inf")] * 8]}}, "common_paths"),
        ({"errors": {"growth": 3.0}}, "growth = 3"),
        ({"errors": {"post_scale": -1.0}}, "post_scale = -1"),
        ({"errors": {"post_scale": 2.0}, "mediators": [{"name": "m"}]}, "beside mediators"),
    ],
)
def test_bad_dials_are_refused(more: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        build(PanelDesign, WORLD | more, "[design]")
