"""Studies of several worlds: the same bits however they are cut, what a study says of them, and honest errors."""

from __future__ import annotations

import io
from collections import OrderedDict
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from estimators import Estimates, SpatialPanel, TwoWayDID
from estimators.core.estimator import Estimator
from experiments.run import blocks, tasks
from experiments.run.blocks import CellRunner
from experiments.run.launch import unreached
from experiments.run.reporting import print_report
from experiments.run.resume import compare, replay
from experiments.run.runner import run
from experiments.study import Study, builtin_names, builtin_study
from results.diagnosis.diagnose import diagnose
from results.store import ZarrStore
from results.store.block import Block
from sim import BadInput, Streams, Wanted
from sim.presets import BertrandDufloMullainathan, Paper
from sim.real_panels import Observed
from sim.streams import TILE
from sim.world.panel_design import PanelDesign
from sim.world.parts.covariates import Normal
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


def test_a_world_does_not_depend_on_how_many_there_are() -> None:
    """Tile 1 lies in world 1 of two and of seven; tile 2 in world 0 of two and world 2 of seven."""
    two, seven = (fresh(worlds).run(0, 96).estimates["did"].estimate for worlds in (2, 7))
    np.testing.assert_array_equal(two[:64], seven[:64])
    assert (two[64:] != seven[64:]).all()


def test_a_study_that_is_extended_keeps_its_bits(tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    run(study(replications=100), store=path)
    run(study(replications=320), store=path)
    run(study(replications=320), store=tmp_path / "y.zarr", shuffle=3)
    assert ZarrStore.open(path).content_hash() == ZarrStore.open(tmp_path / "y.zarr").content_hash()


def test_a_store_of_other_worlds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    run(of_the_paper(3, 64), store=path)
    with pytest.raises(BadInput, match="worlds was 3, is now 4"):
        run(of_the_paper(4, 64), store=path)
    store = ZarrStore.open(path)
    assert (store.worlds, store.held_fixed) == (3, ("calendar", "controls", "city levels"))


def test_one_replication_again(tmp_path: Path) -> None:
    """Replication 200 lies in the seventh tile, which is in world 0 of three; 150 in the fifth, world 1."""
    run(study(), store=tmp_path / "x.zarr")
    store = ZarrStore.open(tmp_path / "x.zarr")
    for replication in (200, 150):
        assert compare(store, replay(store, 0, replication), Console(file=io.StringIO())) == 0


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
    with pytest.raises(BadInput, match=f"worlds = {worlds}.*a whole number from 1"):
        study(worlds)


def test_an_observed_panel_has_no_worlds() -> None:
    panel = Paper(sigma=0.0).draw(Streams(1)).panel.replication(0)
    with pytest.raises(BadInput, match="worlds = 2 of an observed panel"):
        Study("x", Observed(panel), (TwoWayDID(),), replications=1, worlds=2)
    assert Study("x", Observed(panel), (TwoWayDID(),), replications=1).world_count == 1


def test_too_few_replications_for_the_worlds_are_said() -> None:
    (line,) = unreached(study(32), 100)
    assert line == ("100 replications reach 4 of 32 worlds, because each 32 in turn lie in the next world; 1,024 reach "
                    "all")  # fmt: skip
    assert not list(unreached(study(32), 1024))


@pytest.mark.parametrize("name", builtin_names())
def test_built_in_studies_reach_all_their_worlds(name: str) -> None:
    asked = builtin_study(name)
    assert asked.world_count >= 16
    assert not list(unreached(asked, asked.replications))


def report_of(worlds: int, tmp_path: Path) -> str:
    out = io.StringIO()
    store = run(of_the_paper(worlds, 128), store=tmp_path / f"{worlds}.zarr")
    assert isinstance(store, ZarrStore)
    print_report(store, Console(file=out, width=150, color_system=None), full=True)
    return " ".join(out.getvalue().split())


def test_the_first_lines_say_what_was_held_fixed(tmp_path: Path) -> None:
    one, four = report_of(1, tmp_path), report_of(4, tmp_path)
    conditional = ("All numbers are conditional on one drawn world: calendar, controls and city levels were drawn "
                   "once.")  # fmt: skip
    averaged = ("Calendar, controls and city levels were drawn in 4 worlds: numbers are averages over such worlds, and "
                "Monte Carlo errors include them.")  # fmt: skip
    assert conditional in one
    assert "worlds %" not in one
    assert averaged in four
    assert "worlds %" in four
    assert four.index(averaged) < four.index("reject %")


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
