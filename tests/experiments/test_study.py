"""Studies: what makes two of them the same, how they travel with jobs, and blocks that cannot be run."""

from __future__ import annotations

import pickle
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from cluster import Outcome
from estimators import SpatialPanel, TwoWayDID
from experiments.run import tasks
from experiments.run.reporting import to_toml
from experiments.run.runner import TOLD_FIRST, run
from experiments.run.tasks import Job
from experiments.study import Study
from references.small_panels import small_panel
from results.store import BlockState, ZarrStore
from sim import BadInput, Streams
from sim.presets import Paper
from sim.real_panels import Placebo
from studies import quick_study, small_study


def did_study(**changes: Any) -> Study:
    settings: dict[str, Any] = {
        "name": "did",
        "design": Paper(controls="none"),
        "estimators": (TwoWayDID(),),
        "block": 64,
    }
    return Study(**(settings | {"replications": 192, "seed": 2} | changes))


def test_numbers_are_as_their_dials_have_them() -> None:
    whole = did_study(design=Paper(effect=0, controls="none"), grid={"serial": [0, 0.5]})
    assert (
        whole.fingerprint
        == did_study(design=Paper(effect=0.0, controls="none"), grid={"serial": [0.0, 0.5]}).fingerprint
    )
    assert hash(whole) == hash(did_study(design=Paper(effect=0.0, controls="none"), grid={"serial": [0.0, 0.5]}))


def test_the_order_of_the_grid_is_part_of_a_study() -> None:
    one = did_study(grid={"effect": [0.0, 0.01], "serial": [0.0, 0.5]})
    two = did_study(grid={"serial": [0.0, 0.5], "effect": [0.0, 0.01]})
    assert one.fingerprint != two.fingerprint
    keys = {cell.key: dict(cell.parameters) for cell in one.cells}
    assert {cell.key: dict(cell.parameters) for cell in two.cells} == keys


def test_words_and_replications_are_not() -> None:
    study = small_study()
    assert study.fingerprint == small_study(name="other", question="?", replications=999).fingerprint
    assert study.fingerprint != small_study(seed=8).fingerprint


def test_a_study_is_made_again_from_its_settings() -> None:
    study = small_study()
    assert Study.from_settings(study.settings) == study


def test_equal_reductions_are_shared_whatever_the_labels() -> None:
    schema = Paper().schema
    assert TwoWayDID().reduction(schema) == TwoWayDID(label="other", target="contrast").reduction(schema)
    assert SpatialPanel("sar").reduction(schema) == SpatialPanel("sdm", "lee-yu").reduction(schema)


@dataclass(frozen=True, slots=True)
class Fragile(Paper):
    """A design whose draw raises from one replication on."""

    kind: ClassVar[str] = "fragile"
    breaks_at: int = 10**9

    def settle(self, streams: Streams) -> Any:
        return FragileWorld(Paper.settle(self, streams), self.breaks_at)


@dataclass(frozen=True)
class FragileWorld:
    world: Any
    breaks_at: int

    def draw(self, streams: Streams, wanted: Any) -> Any:
        if streams.stop > self.breaks_at:
            raise FloatingPointError("no such draw")
        return self.world.draw(streams, wanted)


def test_a_block_that_cannot_be_drawn_is_poisoned_and_the_rest_goes_on(tmp_path: Path) -> None:
    study = did_study(design=Fragile(controls="none", breaks_at=128))
    store = run(study, store=tmp_path / "x.zarr")
    states = [store.state(0, index) for index in range(3)]
    assert states == [BlockState.DONE, BlockState.DONE, BlockState.POISONED]
    noted = store.noted("tracebacks")
    assert "no such draw" in noted["cell 0 block 2"]


def test_blocks_of_any_size_have_the_same_bits_across_the_solving_batches() -> None:
    study = did_study(design=Paper(spillover="paper"), estimators=(SpatialPanel("sdm", "lee-yu"),), replications=1300)
    whole, parts = (
        np.concatenate([block.estimates["sdm-lee-yu"].estimate for block in run(study.resized(block=size)).blocks(0)])
        for size in (1344, 192)
    )
    np.testing.assert_array_equal(whole, parts)


WRONG = {
    "text for a list": (
        {"kind": "did", "errors": "iid"},
        r'errors = \'iid\'; allowed: a list in brackets, such as \["iid"\]; write errors = ',
    ),
    "no kind": ({"errors": ["iid"]}, r"\[\[estimators\]\] 1; kind is missing; allowed: kind = one of ancova, "),
    "text for a number": (
        {"kind": "spatial", "model": "sdm", "simulate": "x"},
        "simulate = 'x'; allowed: a whole number;",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_settings_of_an_estimator_are_said_plainly(case: str) -> None:
    table, message = WRONG[case]
    with pytest.raises(BadInput, match=message):
        Study.from_settings({"name": "x", "design": {"kind": "paper"}, "estimators": [table]})


def test_an_exported_study_runs_although_it_states_every_dial(tmp_path: Path) -> None:
    study = did_study(grid={"serial": [0.1, 0.8]})
    file = tmp_path / "did.toml"
    file.write_text(to_toml(study.settings), encoding="utf-8")
    assert Study.from_toml(file).fingerprint == study.fingerprint


def test_every_fault_of_a_study_file_is_said_at_once(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('replications = "x"\nsed = 4\n[design]\nkind = "papr"\n[grid]\nserial = 0.5\n'
                    '[[estimators]]\nkind = "did"\nerrors = "iid"\n[[estimators]]\nlabel = "a"\n')  # fmt: skip
    with pytest.raises(BadInput) as caught:
        Study.from_toml(file)
    said = [line.removeprefix(str(file)) for line in str(caught.value).splitlines()]
    expected = [
        "; grid.serial = 0.5; allowed: a list in brackets, such as [0.5]; write grid.serial = [0.5]",
        "; replications = 'x'; allowed: a whole number; correct replications",
        "; unknown key 'sed'; did you mean 'seed'?; allowed: seed, name, question, expected, cost, design, grid, "
        "estimators and 6 more",
        " [design]; unknown kind 'papr'; did you mean 'paper'?; allowed: ",
        ' [[estimators]] 1; errors = \'iid\'; allowed: a list in brackets, such as ["iid"]; write errors = ["iid"]',
        " [[estimators]] 2; kind is missing; allowed: ",
    ]
    assert len(said) == len(expected)
    assert all(line.startswith(words) for line, words in zip(said, expected, strict=True)), said


def test_a_study_file_that_is_not_there_or_no_toml(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"mine\.toml; there is no such file; allowed: a study file"):
        Study.from_toml(tmp_path / "mine.toml")
    (tmp_path / "mine.toml").write_text("[design\n")
    with pytest.raises(BadInput, match=r"is not valid TOML: .*line 1"):
        Study.from_toml(tmp_path / "mine.toml")


def test_absurd_sizes_are_refused_before_anything_of_that_size_is_made() -> None:
    """Some 27 million cells took the memory of the machine; 15 million blocks as many marks."""
    dials = ("effect", "sigma", "heterogeneity")
    wide = {dial: [0.001 * (i + 1) for i in range(300)] for dial in dials}
    tracemalloc.start()
    with pytest.raises(BadInput, match=r"the values make 27,000,000 cells; allowed: up to 100,000 cells") as refused:
        small_study(grid=wide)
    with pytest.raises(BadInput, match=r"1 cells of 1,000,000,000 replications make 15,625,000 blocks; allowed: up to"):
        small_study(1_000_000_000, grid={})
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()
    assert len(str(refused.value).splitlines()) == 1
    assert small_study(1_000_000_000, block=64 * 1024, grid={}).replications == 1_000_000_000


class Recorder:
    """Runs jobs here as a worker would, from their bytes; forgets studies before some jobs."""

    workers = 1
    address = "here"

    def __init__(self, forgets: Callable[[int], bool] = lambda _: False) -> None:
        self.sizes: list[int] = []
        self.forgets = forgets

    def run(self, function: Callable[[Any], Any], jobs: Iterable[Job], *_: object) -> Iterator[Outcome]:
        for job in jobs:
            sent = pickle.dumps(job)
            if self.forgets(len(self.sizes)):
                tasks._studies.clear()
            self.sizes.append(len(sent))
            yield Outcome(job, result=function(pickle.loads(sent)))

    def close(self) -> None:
        return


def test_later_jobs_do_not_carry_the_panel_of_a_study(tmp_path: Path) -> None:
    placebo = Placebo.of(small_panel(60, 40, model="none"), "space")
    recorder = Recorder()
    run(quick_study(64 * 12, design=placebo, grid=()), store=tmp_path / "x.zarr", executor=recorder)
    assert len(recorder.sizes) == 12
    assert min(recorder.sizes[:TOLD_FIRST]) > 20_000
    assert max(recorder.sizes[TOLD_FIRST:]) < 5_000


@pytest.mark.parametrize("every", [1, 3])
def test_a_worker_that_does_not_know_the_study_is_told(tmp_path: Path, every: int) -> None:
    study = quick_study(64 * 10)
    run(study, store=tmp_path / "whole.zarr")
    recorder = Recorder(lambda number: number >= TOLD_FIRST and number % every == 0)
    steps: list[int] = []
    run(study, store=tmp_path / "x.zarr", executor=recorder, listen=lambda step: steps.append(step.blocks))
    assert len(recorder.sizes) > 20, "some were sent again"
    assert steps == list(range(21))
    hashes = {ZarrStore.open(tmp_path / name).content_hash() for name in ("whole.zarr", "x.zarr")}
    assert len(hashes) == 1


def test_a_later_run_is_never_mistaken_for_an_earlier_one(tmp_path: Path) -> None:
    first, second = Recorder(), Recorder()
    for recorder, name in ((first, "a"), (second, "b")):
        run(quick_study(64), store=tmp_path / f"{name}.zarr", executor=recorder)
    names = list(tasks._studies)[-2:]
    assert names[0] != names[1]
    assert tasks.cached_study(Job(None, 0, 0, 0, 64, None, run=names[1])) is tasks._studies[names[1]]
    assert tasks.cached_study(replace(Job(None, 0, 0, 0, 64, None), run="another")) is None
