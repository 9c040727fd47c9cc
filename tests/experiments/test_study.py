"""Studies, of parts and from files too: what makes two of them the same, and how they travel with jobs."""

from __future__ import annotations

import pickle
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from refusals import refuses

from cluster import Executor, Outcome
from estimators import SpatialPanel, TwoWayDID
from experiments.run import tasks
from experiments.run.reporting import to_toml
from experiments.run.runner import TOLD_FIRST, run
from experiments.run.tasks import Job
from experiments.study import Study
from references.small_panels import small_panel
from results.diagnosis.diagnose import diagnose
from results.store.zarr_store import ZarrStore
from sim.presets import Paper
from sim.real_panels import Placebo
from studies import quick_study, small_study


def did_study(**changes: Any) -> Study:
    settings = {"replications": 192, "block": 64, "seed": 2} | changes
    return Study(**{"name": "did", "design": Paper(controls="none"), "estimators": (TwoWayDID(),)} | settings)


def test_numbers_are_as_their_dials_have_them() -> None:
    whole, decimal = (did_study(design=Paper(effect=zero, controls="none"), grid={"serial": [zero, 0.5]})
                      for zero in (0, 0.0))  # fmt: skip
    assert whole.fingerprint == decimal.fingerprint
    assert hash(whole) == hash(decimal)


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
    assert Study.from_settings(study.settings) == study


def test_equal_reductions_are_shared_whatever_the_labels() -> None:
    schema = Paper().schema
    assert TwoWayDID().reduction(schema) == TwoWayDID(label="other", target="contrast").reduction(schema)
    assert SpatialPanel("sar").reduction(schema) == SpatialPanel("sdm", "lee-yu").reduction(schema)


def test_blocks_of_any_size_have_the_same_bits_across_the_solving_batches() -> None:
    study = did_study(design=Paper(spillover="paper"), estimators=(SpatialPanel("sdm", "lee-yu"),), replications=1300)
    whole, parts = (
        np.concatenate([block.estimates["sdm-lee-yu"].estimate for block in run(study.resized(block=size)).blocks(0)])
        for size in (1344, 192)
    )
    np.testing.assert_array_equal(whole, parts)


def test_an_exported_study_runs_although_it_states_every_dial(tmp_path: Path) -> None:
    study = did_study(grid={"serial": [0.1, 0.8]})
    file = tmp_path / "did.toml"
    file.write_text(to_toml(study.settings), encoding="utf-8")
    assert Study.from_toml(file).fingerprint == study.fingerprint


def test_every_fault_of_a_study_file_is_said_at_once(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('replications = "x"\nsed = 4\n[design]\nkind = "papr"\n[grid]\nserial = 0.5\n'
                    '[[estimators]]\nkind = "did"\nerrors = "iid"\n[[estimators]]\nlabel = "a"\n')  # fmt: skip
    said = [line.removeprefix(str(file)) for line in str(refuses("", Study.from_toml, file)).splitlines()]
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


@pytest.mark.parametrize(("given", "said"), [
    ('adoption = {kind = "staggered", cohorts = "x"}',
     "cohorts = 'x'; allowed: a whole number, or a list of such; correct cohorts"),
    ('adoption = {kind = "staggered", cohorts = [2004.5]}',
     "cohorts[0] = 2004.5; allowed: a whole number; correct cohorts[0]"),
    ('errors = {serial = "x"}', "serial = 'x'; allowed: a number, or a list of such; correct serial"),
])  # fmt: skip
def test_of_a_dial_that_takes_a_value_or_a_list_the_form_that_was_written_is_at_fault(
    tmp_path: Path, given: str, said: str
) -> None:
    """One line by the key's own name: no key is called cohorts.int."""
    file = tmp_path / "mine.toml"
    file.write_text(f'[design]\nkind = "panel"\n{given}\n[[estimators]]\nkind = "did"\n')
    assert str(refuses("", Study.from_toml, file, count=1)).partition("; ")[2] == said


def test_absurd_sizes_are_refused_before_anything_of_that_size_is_made() -> None:
    """Some 27 million cells took the memory of the machine; 15 million blocks as many marks."""
    dials = ("effect", "sigma", "heterogeneity")
    wide = {dial: [0.001 * (i + 1) for i in range(300)] for dial in dials}
    tracemalloc.start()
    refuses("the values make 27,000,000 cells; allowed: up to 100,000 cells", lambda: small_study(grid=wide), count=1)
    refuses("1 cell of 1,000,000,000 replications: 15,625,000 blocks; allowed: up to",
            lambda: small_study(1_000_000_000, grid={}))  # fmt: skip
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()
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
    assert len({ZarrStore.open(tmp_path / name).content_hash() for name in ("whole.zarr", "x.zarr")}) == 1


def test_a_later_run_is_never_mistaken_for_an_earlier_one(tmp_path: Path) -> None:
    first, second = Recorder(), Recorder()
    for recorder, name in ((first, "a"), (second, "b")):
        run(quick_study(64), store=tmp_path / f"{name}.zarr", executor=recorder)
    names = list(tasks._studies)[-2:]
    assert names[0] != names[1]
    assert tasks.cached_study(Job(None, 0, 0, 0, 64, None, run=names[1])) is tasks._studies[names[1]]
    assert tasks.cached_study(replace(Job(None, 0, 0, 0, 64, None), run="another")) is None


# Studies of worlds made of parts, from files: the same bits for any order, workers and block size, and no bias.


STUDY = """
replications = 192
block = 64
seed = 5
[design]
kind = "panel"
periods = 6
geography = { kind = "file", path = "units.csv", group = "province" }
weights = { kind = "file", path = "links.csv" }
covariates = [{ name = "x", effect = 0.5, spatial = 0.3 }]
errors = { sd = 0.5, group_share = 0.2, distribution = "t5" }
effect = { size = 0.4, unit_sd = 0.5 }
measurement = { outcome_sd = 0.1 }
missing = { pattern = "dropout" }
[grid]
"missing.share" = [0.0, 0.15]
"adoption.kind" = ["clustered", "dose", "staggered"]
[[estimators]]
kind = "did"
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The study, whose files are gone when it runs: it holds them."""
    folder, rng = tmp_path_factory.mktemp("study"), np.random.default_rng(3)
    rows = [f"u{i},{rng.uniform(100, 120)},{rng.uniform(25, 40)},{'abcd'[i % 4]}" for i in range(24)]
    (folder / "units.csv").write_text("\n".join(["unit,longitude,latitude,province", *rows]), encoding="utf-8")
    links = [f"u{i},u{(i + k) % 24},{1 / k}" for i in range(24) for k in (1, 2, 5)]
    (folder / "links.csv").write_text("\n".join(["focal,neighbor,weight", *links]), encoding="utf-8")
    (folder / "study.toml").write_text(STUDY, encoding="utf-8")
    made = Study.from_toml(folder / "study.toml")
    for name in ("units.csv", "links.csv", "study.toml"):
        (folder / name).unlink()
    return made


@pytest.fixture(scope="module")
def reference(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reference") / "serial.zarr"
    run(study, store=path)
    return path


def test_a_study_holds_its_files_and_is_made_again_from_its_settings(study: Study) -> None:
    again = Study.from_settings(study.settings)
    assert (again.fingerprint, again.design) == (study.fingerprint, study.design)


def test_order_and_workers_do_not_matter(
    study: Study, reference: Path, tmp_path: Path, local_workers: Callable[[int], Executor]
) -> None:
    path = tmp_path / "x.zarr"
    run(study, store=path, executor=local_workers(2), shuffle=3)
    assert ZarrStore.open(path).content_hash() == ZarrStore.open(reference).content_hash()


def test_two_way_did_finds_every_effect_that_units_share(study: Study, reference: Path) -> None:
    frame = diagnose(ZarrStore.open(reference)).frame
    rows = frame[(frame["measure"] == "bias") & (frame["term"].isin(["did", "x"]))]
    doses = [cell for cell in study.cells if cell.parameters["adoption.kind"] == "dose"]
    assert len(rows) == 2 * len(study.cells) - len(doses)  # a dose whose effect differs between units has none
    for row in rows.itertuples():
        assert abs(row.value) <= 4 * row.mcse, row


def test_gaps_that_follow_the_outcome_are_fitted_one_by_one(tmp_path: Path) -> None:
    settings = {
        "name": "gaps",
        "design": {"kind": "panel", "units": 30, "periods": 6, "effect": {"size": 1.0},
                   "missing": {"share": 0.2, "pattern": "on_outcome"}},
        "estimators": [{"kind": "did", "singletons": "keep"}],
        "replications": 64,
    }  # fmt: skip
    records = run(Study.from_settings(settings), store=tmp_path / "x.zarr")
    (block,) = records.blocks(0)
    assert (block.estimates["did"].status == 1).all()
    assert np.isfinite(block.truth["att"]).all()
    assert (block.estimates["did"].statistics["nobs"] == 144).all()
