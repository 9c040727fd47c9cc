"""Each dial of a part moves what it names, and by as much as it says: moments of many draws, within 4 of their errors.

Also the truth against what a huge world without noise shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import made_worlds
import numpy as np
import pytest
from drawn_parts import SEED, SILENT, assert_close, design_of, panel_of
from refusals import refuses

from estimators import TwoWayDID
from experiments.settings import build, to_settings
from experiments.study import Study
from sim import Streams, Wanted
from sim.world.context import WorldContext
from sim.world.draw import DrawnWorld
from sim.world.parts.errors import Process


def errors(**dials: Any) -> np.ndarray:
    """Errors alone, (R, T, N)."""
    return panel_of(errors=dials, **SILENT).variables["y"]


@pytest.mark.parametrize("kind", ["ar", "ma"])
def test_spatial_covariances_are_those_of_the_filter(kind: str) -> None:
    settings = {"errors": {"spatial": 0.5, "spatial_kind": kind}, **SILENT}
    panel = panel_of(**settings)
    w = panel.weights["knn-6"].dense
    a = np.linalg.inv(np.eye(40) - 0.5 * w) if kind == "ar" else np.eye(40) + 0.5 * w
    covariance, e = a @ a.T, panel.variables["y"]
    assert_close(np.square(e).mean(axis=(1, 2)), float(np.trace(covariance)) / 40)
    moran = (e * (e @ w.T)).mean(axis=(1, 2))
    assert_close(moran, float((covariance * w).sum()) / 40)
    plain = errors()
    assert_close((plain * (plain @ w.T)).mean(axis=(1, 2)), 0.0)


def test_groups_and_factors_take_their_shares_of_the_variance() -> None:
    settings = {"geography": {"groups": 5}, "errors": {"group_share": 0.4}, **SILENT}
    panel = panel_of(**settings)
    group, e = np.unique(panel.attributes["group"], return_inverse=True)[1], panel.variables["y"]
    same = (group[:, None] == group) & ~np.eye(40, dtype=bool)
    products = np.einsum("rti,rtj->rij", e, e) / 8
    assert_close(products[:, same].mean(axis=1), 0.4)
    assert_close(products[:, group[:, None] != group].mean(axis=1), 0.0)
    assert_close(np.square(e).mean(axis=(1, 2)), 1.0)
    loadings = Streams(SEED).fixed("errors").standard_normal((2, 40))
    shared = 0.5 / 2 * loadings.T @ loadings
    f = errors(factors=2, factor_share=0.5)
    apart = ~np.eye(40, dtype=bool)
    assert_close(
        (np.einsum("rti,rtj->rij", f, f) / 8 * shared)[:, apart].mean(axis=1), float((shared**2)[apart].mean())
    )


def test_units_differ_in_the_size_of_their_errors_and_not_on_average() -> None:
    e = errors(unit_heteroskedastic=0.8)
    assert_close(np.square(e).mean(axis=(1, 2)), 1.0)
    logs = np.log(np.square(e).mean(axis=(0, 1))) / 2
    assert 0.5 < logs.std() < 1.1
    x = [{"name": "x", "between": 1.0}]
    by = panel_of(covariates=x, errors={"by_covariate": "x", "covariate_slope": 0.5}, **SILENT)
    logs = np.log(np.square(by.variables["y"]).mean(axis=(0, 1))) / 2
    slope = np.polyfit(by.variables["x"][0].mean(axis=0), logs, 1)[0] * by.variables["x"][0].mean(axis=0).std()
    assert slope == pytest.approx(0.5, abs=0.05)


def test_units_keep_the_share_of_their_mean_error() -> None:
    whole, half, none = (errors(serial=0.9, unit_means=share) for share in (1.0, 0.5, 0.0))
    np.testing.assert_allclose(half.mean(axis=1), whole.mean(axis=1) / 2, atol=1e-12)
    np.testing.assert_allclose(none.mean(axis=1), 0.0, atol=1e-12)
    np.testing.assert_allclose(none, whole - whole.mean(axis=1, keepdims=True), atol=1e-12)


def levels_of(count: int, periods: int, **dials: float) -> Iterator[Any]:
    """Levels of so many worlds."""
    design = design_of(periods=periods, levels=dials)
    for number in range(count):
        streams = Streams(SEED, f"world {number}")
        places = design.geography.places(streams, design.size)
        yield design.levels.settle(WorldContext(places, design.labels, design.weights.build(places)), streams)


def test_levels_have_their_spread() -> None:
    """Unit effects, period effects and trends of 400 worlds."""
    found = list(levels_of(400, 8, unit_sd=2.0, period_sd=0.5, trends_sd=0.3))
    for name, expected in (("unit", 4.0), ("period", 0.25), ("trend", 0.09)):
        assert_close([np.square(getattr(levels, name)).mean() for levels in found], expected)


def test_factors_rise_by_their_drift() -> None:
    """Who loads more on a factor grows faster by its drift; a large one leaves a line."""

    def slopes_on_loadings(drift: float, worlds: int) -> np.ndarray:
        dials = {"unit_sd": 1.0, "period_sd": 0.0, "factors": 1, "factor_drift": drift}
        paths = [(one.total - one.unit) @ one.loadings[:, 0] for one in levels_of(worlds, 20, **dials)]
        return np.array([np.corrcoef(path, np.arange(20.0))[0, 1] for path in paths])

    assert_close(slopes_on_loadings(0.0, 200), 0.0)
    rising = slopes_on_loadings(0.3, 200)
    assert rising.mean() > 0.5
    assert (rising > 0).mean() > 0.8
    np.testing.assert_allclose(slopes_on_loadings(1e4, 20), 1.0, atol=1e-6)


def test_a_covariate_is_the_size_of_units() -> None:
    """Errors whose variance is one over the size, which Ferman and Pinto's rescaling is told."""
    z = {"name": "z", "between": 1.0, "attribute": "people"}
    panel = panel_of(covariates=[z], errors={"by_covariate": "z", "covariate_slope": -0.5, "sd": 2.0}, **SILENT)
    means = panel.variables["z"][0].mean(axis=0)
    people = np.asarray(panel.attributes["people"])
    np.testing.assert_allclose(np.log(people), (means - means.mean()) / means.std(), atol=1e-12)
    assert "people" in design_of(covariates=[z]).schema.attributes
    variances = np.square(panel.variables["y"]).mean(axis=1)  # (R, N)
    expected = 4.0 / people / (1 / people).mean()
    for unit in (int(people.argmin()), int(people.argmax())):
        assert_close(variances[:, unit], float(expected[unit]))
    refuses("attributes share the name 'people'", lambda: design_of(covariates=[z, z | {"name": "x"}]))


def test_dials_that_came_later_are_no_settings_of_worlds_that_leave_them() -> None:
    """Studies of worlds without them keep their fingerprints."""
    held = to_settings(design_of(levels={"factors": 1}, covariates=[{"name": "z"}]))
    assert "factor_drift" not in held["levels"]
    assert "attribute" not in held["covariates"][0]
    moved = to_settings(design_of(levels={"factors": 1, "factor_drift": 0.1}, covariates=[{"attribute": "size"}]))
    assert (moved["levels"]["factor_drift"], moved["covariates"][0]["attribute"]) == (0.1, "size")
    # studies that do not set them keep the fingerprints that they had before there were such dials
    table = {"name": "x", "design": {"kind": "panel"}, "estimators": [{"kind": "did"}], "replications": 64}
    written = {**table, "design": {"kind": "panel", "errors": {"post_scale": 1.0, "growth": 0.0}}}
    one, two = Study.from_settings(table, "x"), Study.from_settings(written, "x")
    assert one.fingerprint == two.fingerprint
    assert "post_scale" not in one.settings["design"]["errors"]
    own = to_settings(Process())
    assert not {"treated_scale", "post_scale", "growth", "common_paths"} & {*own}
    assert to_settings(Process(post_scale=1.5))["post_scale"] == 1.5
    assert build(Process, {k: v for k, v in to_settings(Process(growth=0.1)).items() if k != "kind"}, "x").growth == 0.1


COUNTS: dict[str, tuple[dict[str, Any], float]] = {  # adoption: units that are ever treated, of 40
    "random": ({"share": 0.3}, 12), "treated": ({"treated": 7}, 7),
    "independent": ({"independent": True, "share": 0.3}, 12),
    "staggered": ({"kind": "staggered", "never": 0.25}, 30), "dose": ({"kind": "dose", "share": 0.2}, 8),
    "clustered": ({"kind": "clustered", "treated": 2}, 10),
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTS)
def test_so_many_units_are_treated(name: str) -> None:
    dials, expected = COUNTS[name]
    did = panel_of(adoption=dials, redraw=["adoption"]).variables["did"]
    ever = did.any(axis=1)
    if name == "independent":
        assert_close(ever.sum(axis=1).astype(float), expected)
    else:
        assert (ever.sum(axis=1) == expected).all()
    assert not did[:, 0].any()
    share = ever.mean(axis=0)
    assert np.abs(share - expected / 40).max() < 5 * np.sqrt(0.25 / 400)  # 40 units, any as likely as another
    if name == "staggered":
        first = did.argmax(axis=1)[ever].reshape(400, -1)
        assert all(np.unique(row, return_counts=True)[1].tolist() == [10, 10, 10] for row in first)
        assert np.unique(first).tolist() == [2, 4, 6]


def test_whole_groups_adopt() -> None:
    panel = panel_of(50, adoption={"kind": "clustered", "share": 0.5}, redraw=["adoption"])
    group = panel.attributes["group"]
    ever = panel.variables["did"].any(axis=1)
    for name in np.unique(group):
        assert (ever[:, group == name].all(axis=1) == ever[:, group == name].any(axis=1)).all()


def test_a_treatment_switches_at_its_rates() -> None:
    did = panel_of(adoption={"kind": "switching", "on": 0.3, "off": 0.2}, redraw=["adoption"]).variables["did"] > 0
    before, after = did[:, :-1], did[:, 1:]
    assert_close((after & ~before).sum(axis=(1, 2)) - 0.3 * (~before).sum(axis=(1, 2)), 0.0)
    assert_close((~after & before).sum(axis=(1, 2)) - 0.2 * before.sum(axis=(1, 2)), 0.0)


@pytest.mark.parametrize("distribution", ["uniform", "lognormal"])
def test_doses_have_their_mean_and_spread(distribution: str) -> None:
    dials = {"kind": "dose", "mean": 2.0, "sd": 0.8, "between": 0.3, "distribution": distribution}
    did = panel_of(adoption=dials, redraw=["adoption"]).variables["did"]
    given = did[did > 0].reshape(400, -1)
    assert given.shape[1] == 20 * 4
    assert_close(given.mean(axis=1), 2.0)
    assert_close(np.square(given - 2.0).mean(axis=1), 0.64)


@cache
def complete_outcome(number: int) -> np.ndarray:
    return panel_of(1, scope=f"w{number}").variables["y"][0]


@pytest.mark.parametrize("pattern", ["random", "entry", "dropout", "on_outcome"])
def test_the_share_that_is_missing(pattern: str) -> None:
    shares, low = [], []
    for number in range(100):
        panel = panel_of(1, missing={"share": 0.25, "pattern": pattern, "slope": 2.0}, scope=f"w{number}")
        whole = complete_outcome(number)
        assert panel.observed is not None
        seen = panel.observed[0]
        shares.append(1 - seen.mean())
        low.append(whole[seen].mean() - whole[~seen].mean())
        assert seen.any(axis=0).all()
        steps = np.diff(seen.astype(int), axis=0)
        assert pattern != "entry" or (steps >= 0).all()
        assert pattern != "dropout" or (steps <= 0).all()
        np.testing.assert_array_equal(panel.variables["y"][0][seen], whole[seen])
    if pattern in ("random", "on_outcome"):
        np.testing.assert_allclose(shares, 0.25)
    else:
        assert_close(np.array(shares), 0.25)
    assert (np.mean(low) < -0.5) == (pattern == "on_outcome")
    if pattern != "on_outcome":
        assert_close(np.array(low), 0.0)


@pytest.mark.parametrize("share", [0.25, 0.7])
def test_the_highest_outcomes_are_missing_and_of_a_unit_that_would_lose_all_the_lowest_stays(share: float) -> None:
    seen = panel_of(1, missing={"share": share, "pattern": "on_outcome", "slope": 1e9}, scope="w0").observed
    assert seen is not None
    whole = complete_outcome(0)
    lowest = whole == whole.min(axis=0)
    assert whole[seen[0] & ~lowest].max() < whole[~seen[0]].min()
    assert seen[0][lowest].all()


def test_errors_of_measurement_are_added_to_what_is_seen_alone() -> None:
    x = [{"name": "x", "effect": 1.0}]
    plain = panel_of(covariates=x, redraw=["covariates"])
    noisy = panel_of(covariates=x, redraw=["covariates"], measurement={"outcome_sd": 0.5, "covariate_sd": 0.3})
    for name, sd in (("y", 0.5), ("x", 0.3)):
        gap = noisy.variables[name] - plain.variables[name]
        assert_close(np.square(gap).mean(axis=(1, 2)), sd**2)
        assert_close(gap.mean(axis=(1, 2)), 0.0)
        assert_close((gap * plain.variables[name]).mean(axis=(1, 2)), 0.0)
    rounded = panel_of(covariates=x, redraw=["covariates"], measurement={"rounding": 0.25})
    np.testing.assert_array_equal(rounded.variables["y"], np.round(plain.variables["y"] / 0.25) * 0.25)


def test_adding_a_part_changes_no_numbers_of_the_others() -> None:
    plain = panel_of(5, covariates=[{"name": "x"}])
    more = panel_of(
        5, covariates=[{"name": "x"}, {"name": "z"}], mediators=[{"name": "m"}], indicators={"names": ["one"]},
        other_weights=[{"kind": "band", "km": 500.0}], measurement={"covariate_sd": 0.0},
    )  # fmt: skip
    for name in ("x", "did"):
        np.testing.assert_array_equal(plain.variables[name], more.variables[name])
    with_z = panel_of(5, covariates=[{"name": "x"}, {"name": "z"}], mediators=[{"name": "m"}])
    np.testing.assert_array_equal(plain.variables["y"], with_z.variables["y"])


@pytest.mark.long
def test_two_way_did_has_the_truth_of_a_dose_as_its_target() -> None:
    design = design_of(adoption={"kind": "dose"}, effect={"size": 0.7}, redraw=["adoption"])
    estimator = TwoWayDID(errors=("iid",))
    target = estimator.layout(design.schema).targets["did"]
    assert target == "beta(did)"
    streams = Streams(SEED)
    draw = design.settle(streams).draw(streams.tile(0, 400), Wanted(frozenset({"y", "did"}), (target, "att")))
    assert_close(estimator(draw.panel).estimate[:, 0] - draw.truth[target], 0.0)
    np.testing.assert_array_equal(draw.truth[target], 0.7)
    mean = np.array([x[x > 0].mean() for x in draw.panel.variables["did"]])
    np.testing.assert_allclose(draw.truth["att"], 0.7 * mean)


def test_contiguity_on_a_lattice_is_that_of_its_squares() -> None:
    for rule, most, inner in (("rook", 4, 4), ("queen", 8, 8)):
        panel = panel_of(1, units=36, geography={"kind": "grid"}, weights={"kind": "contiguity", "rule": rule})
        count = (panel.weights[rule].dense > 0).sum(axis=1).reshape(6, 6)
        assert count.max() == most
        assert (count[1:-1, 1:-1] == inner).all()
        assert count[0, 0] == (2 if rule == "rook" else 3)
    cells = panel_of(1, weights={"kind": "contiguity", "rule": "rook"}).weights["rook"].dense > 0
    assert (cells == cells.T).all()


def test_files_say_what_a_world_and_its_weights_are(tmp_path: Path) -> None:
    row = {dial: next(iter(values)) for dial, values in made_worlds.PARTS.items()}
    design = made_worlds.world_of(row | {"geography": "file", "weights": "file"})
    world: Any = design.settle(Streams(SEED))
    places = world.settled.context.places
    assert places.names == made_worlds.NAMES
    assert design.schema.attributes == ("province", "longitude", "latitude", "gdp")
    assert places.attributes["province"].tolist() == ["abcd"[i % 4] for i in range(20)]
    assert places.group.tolist() == [i % 4 for i in range(20)]
    assert np.corrcoef(places.prosperity, places.attributes["gdp"])[0, 1] == pytest.approx(1.0)
    raw = made_worlds.ring(20)
    np.testing.assert_allclose(world.settled.context.main_weights.dense, raw / raw.sum(axis=1, keepdims=True))
    assert DrawnWorld(world.settled, Streams(SEED)).did.shape == (1, 6, 20)
    path = str(made_worlds.files() / "w20.npy")
    for how, expected in (("none", made_worlds.ring(20)), ("row", made_worlds.ring(20) / 1.5)):
        panel = panel_of(1, units=20, weights={"kind": "file", "path": path, "standardize": how})
        np.testing.assert_allclose(panel.weights["w20"].dense, expected)
    np.save(tmp_path / "island.npy", np.eye(4, k=1))  # the fourth unit, which is nowhere near another
    weights = {"kind": "file", "path": str(tmp_path / "island.npy"), "islands": "nearest"}
    refuses("unit 4; allowed: coordinates", panel_of, 1, units=4, geography={"kind": "nowhere"}, weights=weights)


def test_weights_of_distances_are_their_formulas() -> None:
    kinds = {
        "band-250": {"kind": "band", "km": 250.0},
        "power": {"kind": "inverse-distance", "name": "power", "power": 2.0, "cutoff_km": 900.0},
        "spectral": {"kind": "inverse-distance", "name": "spectral", "standardize": "spectral"},
    }
    panel = panel_of(1, other_weights=[*kinds.values()])
    lon, lat = (np.radians(panel.attributes[name]) for name in ("longitude", "latitude"))
    half = np.sin((lat[:, None] - lat) / 2) ** 2
    half = half + np.cos(lat[:, None]) * np.cos(lat) * np.sin((lon[:, None] - lon) / 2) ** 2
    km = 2 * 6371.0 * np.arcsin(np.sqrt(half)) + np.diag(np.full(40, np.inf))
    near = np.where(km <= 250, 1.0, 0.0)
    alone = near.sum(axis=1) == 0
    near[alone, km[alone].argmin(axis=1)] = 1.0
    assert alone.any()
    raw = {"band-250": near, "power": np.where(km <= 900, km**-2.0, 0.0), "spectral": 1 / km}
    for name, values in raw.items():
        expected = values / np.abs(np.linalg.eigvals(values)).max() if name == "spectral" else values
        expected = expected if name == "spectral" else values / values.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(panel.weights[name].dense, expected, rtol=1e-3, atol=1e-12)  # radius of the earth


# Errors whose size follows treatment and time, and paths on which loadings are drawn anew

BY_TREATMENT: dict[str, Any] = {
    "levels": {"unit_sd": 0.0, "period_sd": 0.0},
    "effect": {"size": 0.0},
    "adoption": {"kind": "staggered", "cohorts": (2004, 2006)},
}
SIZES = {"treated_scale": 1.5, "post_scale": 0.6, "growth": 0.1}


@pytest.mark.parametrize("redraw", [(), ("adoption",)])
def test_errors_are_those_of_one_size_times_the_factors(redraw: tuple[str, ...]) -> None:
    """Neighbours' and groups' shares change with the unit-period; adoption that is drawn anew is followed."""
    dials = {"sd": 1.3, "serial": 0.4, "spatial": 0.5, "group_share": 0.3}
    plain, sized = (panel_of(20, **BY_TREATMENT, errors=dials | more, redraw=redraw) for more in ({}, SIZES))
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
    panel = panel_of(**BY_TREATMENT, errors={"sd": 2.0, "treated_scale": 1.5, "post_scale": 0.6})
    e, did = panel.variables["y"], panel.variables["did"][0]
    ever = np.broadcast_to(did.any(axis=0), did.shape)
    for mask, sd in ((~ever, 2.0), (ever & (did == 0), 3.0), (did > 0, 1.8)):
        squares = np.square(e[:, mask]).mean(axis=1)
        assert abs(squares.mean() - sd**2) < 4 * squares.std(ddof=1) / 20


def test_loadings_on_paths_are_drawn_anew() -> None:
    """The covariance over periods is sd^2 I + the paths' outer products, that of a unit with itself in another
    replication, and with another unit, 0; scale takes all."""
    paths = [[1.0, 0.5, 0.0, -0.5, -1.0, -0.5, 0.0, 0.5], [0.0, 0.0, 0.0, 0.0, 2.0, 2.0, 2.0, 2.0]]
    e = panel_of(2000, **BY_TREATMENT, errors={"sd": 0.5, "common_paths": paths}).variables["y"]
    held = np.array(paths)
    covariance = np.einsum("rtn,rsn->ts", e, e) / (2000 * 40)
    np.testing.assert_allclose(covariance, 0.25 * np.eye(8) + held.T @ held, atol=4 * 4.25 * np.sqrt(2 / 80_000))
    again = np.einsum("rtn,rsn->ts", e[1:], e[:-1]) / (1999 * 40)
    others = np.einsum("rtn,rsn->ts", e[:, :, 1:], e[:, :, :-1]) / (2000 * 39)
    for cross in (again, others):
        np.testing.assert_allclose(cross, 0.0, atol=4.5 * 4.25 / np.sqrt(78_000))
    halved = panel_of(4, **BY_TREATMENT, errors={"sd": 0.5, "common_paths": paths, "scale": 0.5}).variables["y"]
    np.testing.assert_allclose(halved, 0.5 * e[:4])


def test_parameters_of_errors_are_truths_only_where_they_hold() -> None:
    assert build(Process, {"sd": 2.0}, "errors").sigma2 == 4.0
    for more in ({"post_scale": 2.0}, {"treated_scale": 2.0}, {"growth": 0.1}, {"common_paths": ((1.0, 2.0),)}):
        part = Process(sd=2.0, spatial=0.3, **more)  # type: ignore[arg-type]
        assert np.isnan(part.sigma2)
        assert np.isnan(part.lam) == ("common_paths" not in more)
        assert Process(**more).lam == 0.0  # type: ignore[arg-type]


@pytest.mark.parametrize(("more", "words"), [
    ({"errors": {"common_paths": [[1.0, 2.0]]}}, "common_paths: one of 2 numbers"),
    ({"errors": {"common_paths": [[float("inf")] * 8]}}, "common_paths"), ({"errors": {"growth": 3.0}}, "growth = 3"),
    ({"errors": {"post_scale": -1.0}}, "post_scale = -1"),
    ({"errors": {"post_scale": 2.0}, "mediators": [{"name": "m"}]}, "beside mediators"),
])  # fmt: skip
def test_bad_dials_of_errors_are_refused(more: dict[str, Any], words: str) -> None:
    refuses(words, lambda: design_of(**BY_TREATMENT, **more))
