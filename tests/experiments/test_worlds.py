"""Studies of several worlds, and who draws what in a study: bits do not depend on how it is cut; honest errors."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from refusals import refuses

from estimators import Estimates, Estimator, Mediation, SpatialPanel, Status, TwoWayDID
from estimators.linear.did import LeastSquares
from estimators.permutation import PermutationTest
from experiments.run import blocks, tasks
from experiments.run.blocks import CellRunner
from experiments.run.launch import unreached
from experiments.run.runner import run
from experiments.study import Study, builtin_names, builtin_study
from references.regressions import panel_ols
from results.diagnosis.diagnose import diagnose
from results.store import ZarrStore
from results.store.block import Block
from sim import Panel, Streams, Wanted
from sim.design import Design
from sim.presets import BertrandDufloMullainathan, Clustered, Paper
from sim.real_panels import Observed, Placebo
from sim.streams import TILE
from sim.world.panel_design import PanelDesign
from sim.world.parts.covariates import Normal
from sim.world.parts.effect import Effect
from sim.world.parts.errors import Process
from sim.world.parts.indicators import Entropy
from sim.world.parts.measurement import Classical
from sim.world.parts.mediators import Linear
from sim.world.parts.missing import Pattern
from sim.world.parts.spillover import Neighbours

SMALL = PanelDesign(units=24, periods=6, covariates=(Normal("x", 0.5),), spillover=Neighbours(rho=0.3, w_effect=0.2))
WILD = TwoWayDID(errors=("cluster:unit", "wild:group"), draws=39)
ESTIMATORS: tuple[Estimator, ...] = (WILD, SpatialPanel("sdm", "lee-yu"))


def study(worlds: int | None = 3, replications: int = 320) -> Study:
    """Ten tiles in three worlds; the wild bootstrap draws numbers of its own in each replication."""
    return Study("worlds", SMALL, ESTIMATORS, replications=replications, block=64, seed=7, worlds=worlds)


def of_the_paper(worlds: int, replications: int) -> Study:
    return replace(study(worlds, replications), design=Paper(spillover="paper"), estimators=(TwoWayDID(),))


def fresh(worlds: int = 3) -> CellRunner:
    asked = study(worlds)
    return CellRunner.prepare(asked, asked.cells[0])


@cache
def whole() -> Block:
    """All replications of the study in one piece."""
    return fresh().run(0, 320)


def arrays(estimates: Estimates) -> dict[str, np.ndarray]:
    found = {name: getattr(estimates, name) for name in ("estimate", "se", "pvalue", "lower", "upper", "status")}
    return {name: values for name, values in found.items() if values is not None}


@pytest.mark.parametrize("size", [64, 160])
def test_bits_do_not_depend_on_where_blocks_begin(size: int) -> None:
    """Every block by a runner of its own, the last first: plans are made of whichever tile comes first in a world."""
    parts = [fresh().run(start, start + size) for start in reversed(range(0, 320, size))][::-1]
    assert [part.start for part in parts] == list(range(0, 320, size))
    for name, estimates in whole().estimates.items():
        together = arrays(Estimates.join([part.estimates[name] for part in parts]))
        for key, values in arrays(estimates).items():
            np.testing.assert_array_equal(values, together[key], err_msg=f"{name} {key}")
    for name, values in whole().truth.items():
        np.testing.assert_array_equal(values, np.concatenate([part.truth[name] for part in parts]))


def test_bits_do_not_depend_on_which_worlds_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    every = whole()
    monkeypatch.setattr(blocks, "KEPT_WORLDS", 1)
    runner = fresh()
    again = runner.run(0, 320), runner.run(0, 320)
    assert len(runner.settled) == 1
    for block in again:
        for name, estimates in every.estimates.items():
            np.testing.assert_array_equal(block.estimates[name].estimate, estimates.estimate)
            np.testing.assert_array_equal(block.estimates[name].se, estimates.se)


def test_a_worker_remembers_few_worlds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cells of three worlds each are more than five: the first cell is forgotten, the one in use never."""
    asked = replace(study(), grid=(("effect.size", (0.0, 0.5)),), estimators=(TwoWayDID(),))
    monkeypatch.setattr(tasks, "_runners", OrderedDict())
    monkeypatch.setattr(tasks, "KEPT_WORLDS", 5)
    tasks.runner_of(asked, 0).run(0, 96)
    tasks.runner_of(asked, 1).run(0, 96)
    assert len(tasks._runners) == 2
    last = tasks.runner_of(asked, 1)
    assert list(tasks._runners.values()) == [last]
    assert len(last.settled) == 3


def test_replications_lie_in_the_world_of_their_tile_in_the_order_of_replications() -> None:
    """Tile by tile by hand: world t mod 3 is settled with streams of its own, the draw takes those of the cell."""
    asked = study()
    (block,) = run(asked.resized(block=320)).blocks(0)
    cell, did = asked.cells[0], block.estimates["did"]
    streams = cell.streams(asked.seed)
    for tile in range(10):
        world = cell.design.settle(streams.within(f"world {tile % 3}"))
        rows = slice(tile * TILE, tile * TILE + TILE)
        wanted = Wanted(WILD.variables(cell.design.schema), ("att",))
        draw = world.draw(streams.tile(rows.start, rows.stop), wanted)
        np.testing.assert_array_equal(block.truth["att"][rows], draw.truth["att"])
        own = streams.within(repr(WILD)).tile(rows.start, rows.stop)
        alone = WILD(draw.panel, own)
        np.testing.assert_allclose(did.estimate[rows], alone.estimate, rtol=1e-10)
        np.testing.assert_allclose(did.pvalue[rows], alone.pvalue, atol=1e-10)  # type: ignore[index, arg-type]


def test_a_study_that_is_extended_keeps_its_bits(tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    run(study(replications=100), store=path)
    run(study(replications=320), store=path)
    run(study(replications=320), store=tmp_path / "y.zarr", shuffle=3)
    assert ZarrStore.open(path).content_hash() == ZarrStore.open(tmp_path / "y.zarr").content_hash()


def test_a_store_of_other_worlds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    run(of_the_paper(3, 64), store=path)
    refuses("worlds was 3, is now 4", lambda: run(of_the_paper(4, 64), store=path))
    store = ZarrStore.open(path)
    assert (store.worlds, store.held_fixed) == (3, ("calendar", "controls", "city levels"))


def test_the_number_of_worlds_is_part_of_a_study() -> None:
    asked = study(None)
    assert asked.worlds == asked.world_count == 32
    assert asked == study(32)
    assert Study.from_settings(asked.settings) == asked
    assert len({study(worlds).fingerprint for worlds in (1, 3, 32)}) == 3
    assert study(32).fingerprint == asked.fingerprint


def test_a_design_that_holds_nothing_fixed_has_one_world() -> None:
    asked = Study("x", BertrandDufloMullainathan(), (TwoWayDID(),))
    assert (asked.world_count, asked.held_fixed) == (1, ())


@pytest.mark.parametrize("worlds", [0, -1])
def test_a_number_of_worlds_that_is_none(worlds: int) -> None:
    refuses(f"worlds = {worlds}.*a whole number from 1", lambda: study(worlds))


def test_an_observed_panel_has_no_worlds() -> None:
    panel = Observed(Paper(sigma=0.0).draw(Streams(1)).panel.replication(0))
    ask = {"design": panel, "estimators": (TwoWayDID(),), "replications": 1}
    refuses("worlds = 2 of an observed panel", lambda: Study("x", **ask, worlds=2))
    assert Study("x", **ask).world_count == 1


def test_too_few_replications_for_the_worlds_are_said() -> None:
    (line,) = unreached(study(32), 100)
    assert line == ("100 replications reach 4 of 32 worlds, because each 32 in turn lie in the next world; 1,024 reach "
                    "all")  # fmt: skip
    assert not list(unreached(study(32), 1024))
    assert next(unreached(study(32), 1)).startswith("1 replication reaches 1 of 32 worlds")


@pytest.mark.parametrize("name", builtin_names())
def test_built_in_studies_reach_all_their_worlds(name: str) -> None:
    asked = builtin_study(name)
    assert asked.world_count >= 16
    assert not list(unreached(asked, asked.replications))


SEEDS = range(1, 9)


def biases(worlds: int) -> tuple[np.ndarray, np.ndarray]:
    """Reported bias of two-way DID against att where the policy spills over, and its error, under eight seeds."""
    rows = []
    for seed in SEEDS:
        asked = Study("eight", Paper(spillover="paper"), (TwoWayDID(errors=("cluster:unit",)),),
                      replications=1024, seed=seed, worlds=worlds)  # fmt: skip
        frame = diagnose(run(asked)).frame
        row = frame[(frame["term"] == "did") & (frame["measure"] == "bias")].iloc[0]
        rows.append((row["value"], row["mcse"]))
    values, mcse = np.array(rows).T
    return values, mcse


@pytest.mark.long
def test_a_monte_carlo_error_says_how_far_another_seed_would_move_a_number() -> None:
    """Eight seeds: (7 s^2 / MCSE^2) is chi-square with 7 degrees of freedom, .26 to 29.9 but for 1 in 10,000 each.

    With one world, the spread is several times the error, which is then conditional on what was drawn once.
    """
    values, mcse = biases(32)
    ratio = 7 * values.var(ddof=1) / np.square(mcse).mean()
    assert 0.26 < ratio < 29.9
    assert mcse.max() < 1.6 * mcse.min()
    once, conditional = biases(1)
    assert once.std(ddof=1) > 3 * conditional.max()


# Who draws what in a study: no two cells, estimators or purposes share a stream, and no failure moves one.


ROWS, BLOCK = 150, 64  # two blocks and a part, whose last tile is cut
PAPER = Paper(controls="none")


@dataclass(frozen=True, slots=True)
class Echo(TwoWayDID):
    """Two-way DID that returns a standard normal of its own stream in place of its estimate.

    `most` panels, which tests change, are solved together; more raise.
    """

    kind: ClassVar[str] = "echo"
    most: ClassVar[int] = 10**9

    def solve(self, plan: Any, moments: Any, schema: Any, streams: Streams) -> Estimates:
        found = TwoWayDID.solve(self, plan, moments, schema, streams)
        if moments.rows > self.most:
            raise ArithmeticError("cannot be solved")
        return replace(found, estimate=streams.normals("errors", len(found.terms)))


def echo_study(**changes: Any) -> Study:
    settings: dict[str, Any] = {"name": "echo", "design": PAPER, "estimators": (Echo(),), "seed": 3}
    return Study(**(settings | {"replications": ROWS, "block": BLOCK} | changes))


def collected(study: Study) -> dict[tuple[int, str], Estimates]:
    records = run(study)
    return {(cell, item.name): Estimates.join([block.estimates[item.name] for block in records.blocks(cell)])
            for cell in range(len(study.cells)) for item in study.estimators}  # fmt: skip


def test_cells_estimators_and_replications_have_streams_of_their_own() -> None:
    study = echo_study(estimators=(Echo(), Echo(label="other")), grid={"effect": [0.0, 0.01, 0.02]})
    numbers = np.concatenate([found.estimate[:, 0] for found in collected(study).values()])
    assert len(np.unique(numbers)) == numbers.size == 3 * 2 * ROWS
    for cell in study.cells:
        errors = cell.streams(study.seed).tile(0, ROWS).normals("errors", 18, 285)
        assert not np.isin(numbers, errors).any()


def test_a_replication_draws_from_the_stream_of_its_estimator_and_absolute_number() -> None:
    study = echo_study(grid={"effect": [0.0, 0.01]})
    for cell in study.cells:
        own = Streams(3, cell.key).within(repr(Echo()))
        expected = [own.tile(r, r + 1).normals("errors", 1)[0, 0] for r in range(ROWS)]
        np.testing.assert_array_equal(collected(study)[cell.index, "did"].estimate[:, 0], expected)


@pytest.mark.parametrize("dial", [{"effect": [0.0, 0.01]}, {"treated": [48, 20]}, {"shape": ["constant", "growing"]}])
def test_cells_share_their_errors_only_when_told_to(dial: dict[str, list[Any]]) -> None:
    """The outcome's errors of two cells, (R, T, N): the worlds differ by nothing else."""
    found = []
    for flag in (False, True):
        asked = echo_study(grid=dial, common_random_numbers=flag)
        for cell in asked.cells:
            streams, wanted = cell.streams(asked.seed), Wanted(frozenset({"icr"}), ())
            loud, silent = (design.settle(streams).draw(streams.tile(0, 4), wanted).panel.variables["icr"]
                            for design in (cell.design, replace(cell.design, sigma=0.0)))  # fmt: skip
            found.append(loud - silent)
    one, other, *common = found
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 4 / np.sqrt(one.size)
    np.testing.assert_allclose(*common, rtol=0, atol=1e-13)


def test_common_numbers_are_common_to_cells_and_not_to_estimators() -> None:
    both = (Echo(), Echo(label="other"))
    found = collected(echo_study(estimators=both, grid={"effect": [0.0, 0.01]}, common_random_numbers=True))
    np.testing.assert_array_equal(found[0, "did"].estimate, found[1, "did"].estimate)
    assert not np.isin(found[0, "did"].estimate, found[0, "other"].estimate).any()


class Recorder:
    """Notes the purposes for which streams are used."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fixed: list[str] = []
        self.each: list[str] = []
        own_fixed, own_each = Streams.fixed, Streams.each

        def fixed(streams: Streams, purpose: str) -> np.random.Generator:
            self.fixed.append(purpose)
            return own_fixed(streams, purpose)

        def each(streams: Streams, purpose: str) -> Iterator[np.random.Generator]:
            self.each.append(purpose)
            return own_each(streams, purpose)

        monkeypatch.setattr(Streams, "fixed", fixed)
        monkeypatch.setattr(Streams, "each", each)


CONTROLS = {f"covariate {name}" for name in ("inv", "road", "book", "tech")}
EVERYTHING = PanelDesign(
    covariates=(Normal("x"),), errors=Process(group_share=0.2, factors=1, factor_share=0.2),
    effect=Effect(1.0, unit_sd=0.5), mediators=(Linear("m"),), indicators=Entropy(("one", "two")),
    missing=Pattern(0.1), measurement=Classical(0.1, 0.1),
)  # fmt: skip
NOWHERE = {"places", "levels", "errors", "adoption"}
FIXED = {"cities", "levels", "errors", "adoption", *CONTROLS}
PURPOSES: dict[str, tuple[Design, set[str], set[str]]] = {
    "paper": (Paper(), FIXED, {"errors", "mediator gpat"}),
    "paper redrawn": (
        Paper(redraw=("calendar", "controls"), spillover="paper"),
        FIXED, {"errors", "mediator gpat", "adoption", *CONTROLS},
    ),
    "bdm": (BertrandDufloMullainathan(), NOWHERE, {"adoption", "errors"}),
    "clustered": (
        Clustered(), NOWHERE | {"covariate x"}, {"covariate x", "covariate x of groups", "errors", "errors of groups"},
    ),
    "parts": (
        EVERYTHING, {"places", "levels", "errors", "adoption", "missing", "covariate x", "measurement of x"},
        {"errors", "errors of groups", "errors of factors", "heterogeneity", "mediator m", "indicator one",
         "indicator two", "measurement of the outcome"},
    ),
    "gaps": (
        PanelDesign(missing=Pattern(0.1, "on_outcome")), {"places", "levels", "errors", "adoption"},
        {"errors", "missing"},
    ),
    "placebo": (Placebo(), set(), {"assignment"}),
}  # fmt: skip


@pytest.mark.parametrize("name", PURPOSES)
def test_every_purpose_of_a_design_has_its_own_stream(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    design, fixed, each = PURPOSES[name]
    wanted = Wanted(frozenset(design.schema.variables), ("att",))
    streams = Streams(5, "purposes")
    noted = Recorder(monkeypatch)
    world = design.settle(streams)
    world.draw(streams.tile(0, 3), wanted)
    assert sorted(noted.fixed) == sorted(fixed)
    assert sorted(noted.each) == sorted(each)


@pytest.mark.parametrize("most", [1, 40])
def test_a_halved_batch_goes_on_with_the_streams_of_each_replication(most: int, monkeypatch: Any) -> None:
    expected = collected(echo_study(grid={"effect": [0.0, 0.01]}))
    monkeypatch.setattr(Echo, "most", most)
    got = collected(echo_study(grid={"effect": [0.0, 0.01]}))
    for key, whole in expected.items():
        np.testing.assert_array_equal(got[key].estimate, whole.estimate)
        assert (got[key].status == Status.OK).all()


def test_a_tile_that_cannot_be_reduced_is_fitted_one_by_one_with_the_same_streams(monkeypatch: Any) -> None:
    expected = collected(echo_study(estimators=(Echo(), Echo(label="other"))))
    own = LeastSquares.reduce

    def reduce(self: LeastSquares, plan: Any, tile: Any) -> Any:
        if tile.panel.replications > 1:
            raise MemoryError("too many")
        return own(self, plan, tile)

    monkeypatch.setattr(LeastSquares, "reduce", reduce)
    got = collected(echo_study(estimators=(Echo(), Echo(label="other"))))
    for key, whole in expected.items():
        np.testing.assert_array_equal(got[key].estimate, whole.estimate)


def test_tiles_after_one_that_cannot_be_reduced_keep_their_streams(monkeypatch: Any) -> None:
    expected = collected(echo_study(block=192, worlds=1))
    own, calls = LeastSquares.reduce, []

    def reduce(self: LeastSquares, plan: Any, tile: Any) -> Any:
        if tile.panel.replications == 2:  # a user's estimator is tried before the run
            return own(self, plan, tile)
        calls.append(tile.panel.replications)
        if len(calls) == 2:
            raise MemoryError("too many")
        return own(self, plan, tile)

    monkeypatch.setattr(LeastSquares, "reduce", reduce)
    got = collected(echo_study(block=192, worlds=1))
    assert calls[:3] == [32, 32, 1]
    for key, whole in expected.items():
        np.testing.assert_array_equal(got[key].estimate, whole.estimate)
        assert (got[key].status == Status.OK).all()


WHOLE: dict[str, Estimator] = {
    "wild bootstrap": panel_ols(errors=("wild:region",), draws=99),
    "permutation": PermutationTest.of(TwoWayDID(errors=("cluster:unit",)), draws=99, common=False),
    "mediation, simulated": Mediation(errors=("monte-carlo",), draws=99),
    "mediation, resampled": Mediation(errors=("bootstrap:province",), draws=99),
}


@pytest.mark.parametrize("name", WHOLE)
def test_real_estimators_draw_the_same_when_a_batch_is_taken_apart(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    estimator = WHOLE[name]
    null = Paper(effect=0.0, controls="none")  # p values spread
    study = echo_study(design=null, estimators=(estimator,), replications=40)
    ((_, whole),) = collected(study).items()
    own = type(estimator).__call__

    def call(self: Any, panel: Panel, streams: Streams | None = None) -> Estimates:
        if panel.replications > 1:  # so that each replication is fitted on its own
            raise MemoryError("too many")
        return own(self, panel, streams)

    monkeypatch.setattr(type(estimator), "__call__", call)
    ((_, single),) = collected(study).items()
    assert (single.status == Status.OK).all()
    for stored in ("pvalue", "lower", "upper"):
        np.testing.assert_allclose(getattr(single, stored), getattr(whole, stored), rtol=1e-6, err_msg=stored)
    assert len(np.unique(whole.pvalue[:, 0, 0])) > 10
