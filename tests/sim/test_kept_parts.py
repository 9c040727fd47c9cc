"""Parts that keep a real panel, adoption by propensities, residual paths, and errors whose norm is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_cities
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from refusals import refuses
from scipy.special import expit

from experiments.settings import build
from sim import Panel, Roles, Streams, Wanted
from sim.panel_sidecars import panel_text, read_beside, write_beside
from sim.weights import Weights
from sim.world.context import LevelParts, Places, WorldContext
from sim.world.panel_design import PanelDesign, PanelWorld
from sim.world.parts.adoption import Propensity
from sim.world.parts.effect import Effect
from sim.world.parts.errors import Process, Residuals, blocks

STREAMS = Streams(4, "kept")
SEEN = np.arange(9 * 36).reshape(1, 9, 36) > 0  # without the first unit-period


def held() -> Panel:
    """The committed cities, with made-up levels and residuals."""
    rng = np.random.default_rng(3)
    base = made_cities.panel()
    shape = base.variables["y"].shape
    made = {f"factor.{name}": rng.standard_normal(shape) for name in ("additive", "interactive")}
    made |= {"residual.residual": rng.standard_normal(shape)}
    region = np.array([f"r{i % 3}" for i in range(shape[2])])
    facts = {"factor.factor1": rng.standard_normal(shape[2]), "region": region}
    return replace(base, variables={**base.variables, **made}, attributes=facts, roles=Roles())


def design(**parts: Any) -> PanelDesign:
    dials = {
        "periods": made_cities.PERIODS, "first_period": 2010, "treatment": "did",
        "geography": {"kind": "kept", "panel": panel_text(held()), "groups": "region"},
        "weights": {"kind": "kept", "name": "grid"}, "levels": {"kind": "fitted"},
        "adoption": {"kind": "kept", "variable": "did"},
    }  # fmt: skip
    return build(PanelDesign, dials | parts, "test")


def settled(one: PanelDesign) -> PanelWorld:
    world = one.settle(STREAMS)
    assert isinstance(world, PanelWorld)
    return world


def draw(one: PanelDesign, count: int = 3) -> Panel:
    return settled(one).draw(STREAMS.tile(0, count), Wanted(frozenset(one.schema.variables), ())).panel


PANELS: dict[str, Callable[[], Panel]] = {
    "facts that are true or not": lambda: replace(
        held(), attributes={**held().attributes, "capital": np.arange(36) % 5 == 0}),
    "units in no order": lambda: Panel(
        ("b", "c", "a"), (1, 2), {"y": np.arange(6.0).reshape(1, 2, 3)}, attributes={"n": np.arange(3.0)}),
    "weights of another kind": lambda: replace(
        held(), weights={"grid": Weights.of(held().units, held().weights["grid"].matrix, "spectral")}),
}  # fmt: skip


@pytest.mark.parametrize("what", PANELS)
def test_a_file_gives_back_every_number_in_its_order(tmp_path: Path, what: str) -> None:
    panel = PANELS[what]()
    write_beside(panel, tmp_path / "p.parquet")
    again = read_beside(tmp_path / "p.parquet", "here")
    assert again.digest == replace(panel, roles=again.roles).digest
    assert {name: w.standardize for name, w in again.weights.items()} == {
        name: w.standardize for name, w in panel.weights.items()}  # fmt: skip


def test_a_row_twice_does_not_make_up_for_one_that_lacks(tmp_path: Path) -> None:
    write_beside(held(), tmp_path / "p.parquet")
    table = pd.read_parquet(tmp_path / "p.parquet")
    pd.concat([table.iloc[:-1], table.iloc[:1]]).to_parquet(tmp_path / "p.parquet", index=False)
    refuses("is not balanced", lambda: read_beside(tmp_path / "p.parquet", "here"))
    refuses(r"there is no file .*q\.parquet", lambda: read_beside(tmp_path / "q.parquet", "here"))


def test_what_is_kept_is_the_same_in_every_draw() -> None:
    one = design(covariates=[{"kind": "kept", "name": "road", "effect": 2.0}])
    panel, real = draw(one), held()
    for name in ("did", "road"):
        np.testing.assert_array_equal(panel.variables[name], real.variables[name])
    assert panel.weights["grid"].digest == real.weights["grid"].digest
    assert (panel.attributes["region"] == real.attributes["region"]).all()
    assert panel.variables["y"].shape[0] == 3


@pytest.mark.parametrize(("additive", "interactive"), [(1, 1), (0, 1), (1, 0), (0, 0)])
def test_the_outcome_without_errors_is_the_sum_of_its_parts(additive: int, interactive: int) -> None:
    levels = {"kind": "fitted", "additive": additive, "interactive": interactive}
    covariates = [{"kind": "kept", "name": "road", "effect": 2.0}]
    one = design(levels=levels, errors={"sd": 0.0}, effect={"size": 0.5}, covariates=covariates)
    x = held().variables
    expected = additive * x["factor.additive"] + interactive * x["factor.interactive"] + 2 * x["road"] + 0.5 * x["did"]
    np.testing.assert_allclose(draw(one).variables["y"], np.broadcast_to(expected, (3, 9, 36)), atol=1e-12)


def test_a_covariate_may_act_within_units_and_periods_alone() -> None:
    def outcome(within: bool) -> np.ndarray:
        covariates = [{"kind": "kept", "name": "road", "effect": 2.0, "within": within}]
        return draw(design(covariates=covariates, errors={"sd": 0.0}), 1).variables["y"][0]

    gap = outcome(within=False) - outcome(within=True)
    road = held().variables["road"][0]
    means = road.mean(axis=0) + road.mean(axis=1)[:, None] - road.mean()
    np.testing.assert_allclose(gap, 2 * means, atol=1e-12)


@pytest.mark.parametrize(("parts", "words"), [
    ({"geography": {"kind": "kept"}}, "panel is missing"),
    ({"geography": {"kind": "kept", "panel": "nonsense"}}, "not a panel's text"),
    ({"geography": {"kind": "kept", "panel": panel_text(held()), "groups": "rigion"}}, "groups = 'rigion'"),
    ({"geography": {"kind": "kept", "panel": panel_text(replace(held(), observed=SEEN))}}, "is kept has gaps"),
    ({"periods": 5}, "the panel that is kept has 9"), ({"units": 12}, "the geography 'kept' has 36"),
    ({"adoption": {"kind": "propensity", "share": 0.0}}, "share = 0"),
    ({"adoption": {"kind": "propensity", "on": "covariates"}}, "without covariates"),
    ({"adoption": {"kind": "propensity", "date_weights": [[1999, 1.0]]}}, "date_weights: [1999, 1]"),
    ({"errors": {"kind": "residuals", "block": 30}}, "block = 30 of 36 units"),
])  # fmt: skip
def test_what_is_wrong_with_dials_is_one_line(parts: dict[str, Any], words: str) -> None:
    assert any(words in str(problem) for problem in refuses(".", design, **parts).problems)


@pytest.mark.parametrize(("parts", "words"), [
    ({"adoption": {"kind": "kept", "variable": "law"}}, "no variable 'law'"),
    ({"adoption": {"kind": "kept", "variable": "road"}}, "'road' is not 0 before adoption and 1 from then on"),
    ({"weights": {"kind": "kept", "name": "queen"}}, "no weights 'queen'"),
    ({"levels": {"kind": "fitted", "method": "other"}}, "no variable 'other.additive'"),
    ({"geography": {"kind": "grid"}, "weights": {"kind": "knn"}}, "no panel is kept"),
    ({"weights": {"kind": "none"}, "spillover": {"rho": 0.3}}, "the world has no weights"),
])  # fmt: skip
def test_what_a_panel_lacks_is_named(parts: dict[str, Any], words: str) -> None:
    refuses(words, lambda: settled(design(**parts)))


def context(unit: np.ndarray, loadings: np.ndarray) -> WorldContext:
    zeros = np.zeros(len(unit))
    places = Places(tuple(map(str, range(len(unit)))), zeros, zeros, zeros.astype(np.intp), zeros)
    levels = LevelParts(unit, np.zeros(8), zeros, loadings, np.zeros((8, len(unit))))
    return WorldContext(places, tuple(range(2001, 2009)), None, levels)


def adopters(part: Propensity, at: WorldContext, draws: int) -> np.ndarray:
    rng = np.random.default_rng(8)
    return np.isfinite([part.first(at, rng) for _ in range(draws)])


def test_units_adopt_with_the_probability_of_a_logit() -> None:
    """Shares of 4,000 draws, up to 4 Monte Carlo errors each."""
    rng = np.random.default_rng(1)
    at = context(rng.standard_normal(30), rng.standard_normal((30, 2)))
    part = Propensity(on="factors", coefficients=(1.0, -0.5), intercept=-0.3)
    chances = expit(-0.3 + at.levels.loadings @ np.array([1.0, -0.5]))  # type: ignore[union-attr]
    drawn = adopters(part, at, 4000)
    np.testing.assert_allclose(part.chances(at), chances, rtol=1e-12)
    assert (np.abs(drawn.mean(axis=0) - chances) < 4 * np.sqrt(chances * (1 - chances) / 4000)).all()
    assert abs(np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1]) < 4 / np.sqrt(4000)


def test_the_cap_keeps_so_many_at_random_and_nobody_becomes_so_many() -> None:
    at = context(np.zeros(20), np.zeros((20, 0)))
    many = adopters(Propensity(strength=0.0, intercept=3.0, most=4), at, 2000)
    assert (many.sum(axis=1) == 4).all()
    assert np.ptp(many.mean(axis=0)) < 8 * np.sqrt(0.2 * 0.8 / 2000)
    none = adopters(Propensity(strength=0.0, intercept=-20.0, most=4), at, 500)
    assert (none.sum(axis=1) == 4).all()
    few = adopters(Propensity(strength=0.0, intercept=-2.5, most=4), at, 500).sum(axis=1)
    assert set(few) == {1, 2, 3, 4}


def test_an_intercept_that_is_not_set_brings_the_share() -> None:
    at = context(np.random.default_rng(2).standard_normal(50), np.zeros((50, 0)))
    for share in (0.1, 0.6):
        assert Propensity(strength=2.0, share=share).chances(at).mean() == pytest.approx(share)
    counted = adopters(Propensity(strength=2.0, share=0.3, independent=False), at, 200)
    assert (counted.sum(axis=1) == 15).all()
    assert np.corrcoef(counted.mean(axis=0), at.levels.unit)[0, 1] > 0.7  # type: ignore[union-attr]


def test_dates_are_drawn_by_their_weights() -> None:
    at = context(np.zeros(400), np.zeros((400, 0)))
    part = Propensity(intercept=9.0, date_weights=((2003, 3.0), (2006, 1.0)))
    first = part.first(at, np.random.default_rng(6))
    treated = first[np.isfinite(first)]
    assert set(treated) == {2003.0, 2006.0}
    assert abs((treated == 2003).mean() - 0.75) < 4 * np.sqrt(0.75 * 0.25 / len(treated))


def test_neighbours_and_trends_are_scores() -> None:
    base = settled(design()).settled.context
    levels = base.levels
    assert levels is not None
    z = base.main_weights.dense @ levels.unit
    expected = expit(-1 + 0.7 * (z - z.mean()) / z.std())
    np.testing.assert_allclose(Propensity(on="neighbours", strength=0.7, intercept=-1.0).chances(base), expected)
    t = np.arange(9) - 4.0
    slopes = t @ levels.total / (t @ t)
    expected = expit((slopes - slopes.mean()) / slopes.std())
    np.testing.assert_allclose(Propensity(on="trends", intercept=0.0).chances(base), expected)


def test_effects_count_periods_whatever_their_labels() -> None:
    annual = context(np.zeros(5), np.zeros((5, 0)))
    biennial = replace(annual, periods=tuple(range(2001, 2017, 2)))
    did = (np.arange(8)[:, None] >= np.array([2, 3, 5, 7, 8]))[None].astype(float)
    part = Effect(1.0, by_cohort=0.5, shape="fading", anticipation=1, trend_gap=0.1)
    np.testing.assert_allclose(part.sizes(annual, did, None, STREAMS)[0, 0], [2.0, 2.5, 3.5, 4.5, 1.0], rtol=1e-15)
    np.testing.assert_array_equal(part.sizes(biennial, did, None, STREAMS), part.sizes(annual, did, None, STREAMS))
    np.testing.assert_allclose(part.dose(annual, did)[0, :5, 1], [0.0, 0.0, 0.5, 1.0, 0.8], rtol=1e-15)
    np.testing.assert_array_equal(part.dose(biennial, did), part.dose(annual, did))
    gap = part.confounding(biennial, did)
    assert gap is not None
    np.testing.assert_allclose(np.diff(gap[0], axis=0), 0.1 * np.array([[1, 1, 1, 1, 0]] * 7), rtol=1e-12)


def of_size_one() -> np.ndarray:
    """The residuals that are kept, of mean square one, (T, N)."""
    real = held().variables["residual.residual"][0]
    return np.asarray(real / np.sqrt(np.square(real).mean()))


def donors_of(real: np.ndarray, drawn: np.ndarray) -> list[int]:
    """The unit whose residuals each unit's drawn path is, (N,)."""
    return [int(np.abs(real - path[:, None]).max(axis=0).argmin()) for path in drawn.T]


def residual_paths(**dials: Any) -> np.ndarray:
    one = design(errors={"kind": "residuals", **dials}, levels={"kind": "fitted", "additive": 0, "interactive": 0})
    return draw(one, 200).variables["y"]


def test_resampled_errors_are_whole_paths_of_units() -> None:
    """Each path is that of one unit; units are drawn with replacement, each equally often."""
    real, drawn = of_size_one(), residual_paths(sd=1.0)
    donors = np.array([donors_of(real, row) for row in drawn])
    np.testing.assert_allclose(np.moveaxis(real[:, donors], 0, 1), drawn, atol=1e-12)
    counts = np.bincount(donors.ravel(), minlength=36)
    assert np.abs(counts - 200).max() < 5 * np.sqrt(200)
    assert any(len(set(row)) < 36 for row in donors.tolist())


def test_flipped_errors_keep_their_unit_and_blocks_flip_together() -> None:
    real = held().variables["residual.residual"][0]
    drawn = residual_paths(sd=float(np.sqrt(np.square(real).mean())), draw="flipped", block=6)
    signs = drawn[:, 0] / real[0]
    np.testing.assert_allclose(np.abs(signs), 1.0)
    np.testing.assert_allclose(drawn, signs[:, None] * real, atol=1e-12)
    members = blocks(settled(design()).settled.context, 6)
    for block in members:
        own = signs[:, block[block >= 0]]
        assert (own == own[:, :1]).all()
    assert abs(signs.mean()) < 4 / np.sqrt(200 * len(members) / 2)


def test_blocks_hold_every_unit_once_and_neighbours() -> None:
    at = settled(design()).settled.context
    members = blocks(at, 6)
    assert sorted(members[members >= 0].tolist()) == list(range(36))
    linked = at.main_weights.dense > 0
    for block in members:
        inside = block[block >= 0]
        assert len(inside) == 1 or linked[np.ix_(inside, inside)].any(axis=1).all()
    one_way = replace(at.main_weights, matrix=sp.csr_array(np.triu(at.main_weights.dense)))
    np.testing.assert_array_equal(blocks(replace(at, weights=one_way), 6), members)


def test_resampled_blocks_come_from_blocks() -> None:
    real, drawn = of_size_one(), residual_paths(sd=1.0, block=6)
    members = blocks(settled(design()).settled.context, 6)
    home = {int(unit): b for b, block in enumerate(members) for unit in block if unit >= 0}
    for r in range(20):
        donors = donors_of(real, drawn[r])
        for block in members:
            assert len({home[donors[unit]] for unit in block if unit >= 0}) == 1


@pytest.mark.parametrize("serial", [0.6, (0.3, -0.2)])
def test_the_norm_of_the_covariance_is_kept(serial: float | tuple[float, ...]) -> None:
    """||Sigma|| = sd^2 sqrt(T) whatever serial is; the empirical covariance of 20,000 paths."""
    at = context(np.zeros(200), np.zeros((200, 0)))
    part = Process(sd=1.5, serial=serial, keeps="norm")
    paths = part.settle(at, STREAMS).draw(STREAMS.tile(0, 100))
    covariance = np.einsum("rtn,rsn->ts", paths, paths) / (100 * 200)
    assert np.linalg.norm(covariance) == pytest.approx(1.5**2 * np.sqrt(8), rel=0.02)
    assert Residuals().sigma2 != Residuals().sigma2  # NaN: they have no variance that estimators could find
