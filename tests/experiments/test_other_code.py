"""Blocks of one store come from one code: edits, versions and kernels are refused on resume and on workers."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import commands
import pytest
from schedulers import started

from cluster import Environment, WorkerRefused
from estimators import TwoWayDID
from experiments.run import runner as runner_module
from experiments.run.resume import Resume, check_origins, describe_stale_blocks
from experiments.run.runner import run, schema_of
from experiments.run.tasks import ROOMS, Job, environment_of, run_job, runner_of
from experiments.study import Study
from results.store import MemoryStore, Origin, ZarrStore
from sim.errors import BadInput
from studies import SHORT, quick_study, small_study

PLUG_IN = """
from dataclasses import dataclass, replace
from typing import ClassVar
from made_up_shift import SHIFT
from estimators import TwoWayDID

@dataclass(frozen=True, slots=True)
class Shifted(TwoWayDID):
    kind: ClassVar[str] = "shifted"

    def solve(self, plan, moments, schema, streams):
        found = TwoWayDID.solve(self, plan, moments, schema, streams)
        return replace(found, estimate=found.estimate + SHIFT)
"""
STUDY = f"""{SHORT}[[estimators]]
kind = "made_up_shifted:Shifted"
label = "mine"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "made_up_shifted.py").write_text(PLUG_IN)
    (tmp_path / "made_up_shift.py").write_text("SHIFT = 0.0\n")
    (tmp_path / "study.toml").write_text(STUDY)
    return tmp_path


def panelproof(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, which finds the modules of the folder."""
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    return commands.run(folder, *arguments, env={**os.environ, "PYTHONPATH": path})


def run_study(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return panelproof(folder, "run", "study.toml", "--cluster", "serial", "--store", "x.zarr", *options)


def words(text: str) -> str:
    return " ".join(text.split())


def test_a_resume_after_an_edit_is_refused_until_it_is_accepted(folder: Path) -> None:
    assert run_study(folder).returncode == 0
    before = ZarrStore.open(folder / "x.zarr").content_hash()
    (folder / "made_up_shift.py").write_text("SHIFT = 1.0\n")
    assert run_study(folder).returncode == 0, "nothing to compute: nothing to refuse"
    for dry in ([], ["--dry-run"]):
        refused = run_study(folder, "--replications", "192", *dry)
        assert refused.returncode == 2
        assert (
            "2 blocks were computed in another environment; what differs now: other code of made_up_shifted"
            in refused.stderr
        )
        assert "--accept-code-change" in refused.stderr
        assert "Traceback" not in refused.stderr
    store = ZarrStore.open(folder / "x.zarr")
    assert (store.content_hash(), store.replications) == (before, 128)
    accepted = run_study(folder, "--replications", "192", "--accept-code-change")
    assert accepted.returncode == 0
    assert "2 blocks were computed in another environment" in words(accepted.stdout)
    store = ZarrStore.open(folder / "x.zarr")
    assert [origin.blocks for origin in store.environments] == [2, 1]
    assert [origin.differs for origin in store.environments] == [(), ("other code of made_up_shifted",)]
    info = panelproof(folder, "store", "info", "x.zarr").stdout
    assert "(2 blocks)" in info
    assert "(1 block; differs from the first: other code of made_up_shifted)" in info


def test_an_edit_before_all_blocks_are_computed_anew_mixes_nothing(folder: Path) -> None:
    assert run_study(folder).returncode == 0
    store = ZarrStore(folder / "x.zarr", "a")
    for place in store.places():
        store.poison(*place)
    (folder / "made_up_shift.py").write_text("SHIFT = 1.0\n")
    assert run_study(folder).returncode == 0
    (only,) = ZarrStore.open(folder / "x.zarr").environments
    assert only.blocks == 2


@pytest.fixture
def loaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder's modules can be imported in this process, and are forgotten afterwards."""
    monkeypatch.syspath_prepend(folder)
    yield folder
    for name in ("made_up_shifted", "made_up_shift"):
        sys.modules.pop(name, None)


def test_an_edit_in_one_session_is_seen(loaded: Path) -> None:
    """A module that is loaded anew is other code, and its new class is what runs."""
    run(Study.from_toml(loaded / "study.toml"), store=loaded / "x.zarr")
    (loaded / "made_up_shift.py").write_text("SHIFT = 100.0\n")
    for name in ("made_up_shifted", "made_up_shift"):
        del sys.modules[name]
    importlib.invalidate_caches()
    more = Study.from_toml(loaded / "study.toml").resized(replications=192)
    with pytest.raises(BadInput, match="other code of made_up_shifted"):
        run(more, store=loaded / "x.zarr")
    store = run(more, store=loaded / "x.zarr", plan=Resume(accept_code_change=True))
    means = [block.estimates["mine"].estimate.mean() for block in store.blocks(0)]
    assert max(means[:2]) < 1 < 99 < means[2]


def changed(**what: Any) -> Any:
    """`environment_of` of a process that differs from this one."""
    return lambda study: replace(environment_of(study), **what)


CHANGES = {
    "kernel": ({"blas": ("openblas 0.3 Another, threads 1",)}, "BLAS .* instead of openblas 0.3 Another, threads 1"),
    "numpy": ({"packages": (("numpy", "0.1"),)}, "numpy .* instead of 0.1"),
    "code": ({"code": (("estimators", "f00"),)}, "other code of estimators"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_resume_in_another_environment_is_refused(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there, message = CHANGES[case]
    study = small_study(replications=64)
    store = run(study, store=tmp_path / "x.zarr")
    other = changed(**there)(study)
    store.note("origins", [{"text": str(other), "facts": other.plain, "differs": []}])
    more = small_study(replications=128)
    with pytest.raises(BadInput, match=message):
        run(more, store=tmp_path / "x.zarr")
    assert ZarrStore.open(tmp_path / "x.zarr").replications == 64
    mixed = run(more, store=tmp_path / "x.zarr", plan=Resume(accept_code_change=True))
    assert [origin.blocks for origin in mixed.environments] == [2, 2]
    assert len(mixed.environments[1].differs) >= 1


def test_estimators_that_stay_in_part_of_a_block_are_of_their_own_code() -> None:
    """What is computed again of such a block is the rest of it."""
    study = quick_study(64, estimators=(TwoWayDID(), TwoWayDID(errors=("iid",), label="short")))
    there = environment_of(study)
    here = replace(there, code=(("sim", "another"), *there.code[1:]))
    store = MemoryStore(schema_of(study))
    store.computed_in(Origin(str(there), there.plain))
    whole = runner_of(study, 0).run(0, 64)
    store.write(0, 0, replace(whole, estimates={"did": whole.estimates["did"]}))
    store.write(1, 0, runner_of(study, 1).run(0, 64))
    both = [(0, 0), (1, 0)]
    said = ["1 block was computed in another environment; what differs now: other code of sim"]
    assert describe_stale_blocks(store, here, both) == said
    assert describe_stale_blocks(store, there, both) == []
    with pytest.raises(BadInput, match="1 block was computed in another environment"):
        check_origins(store, here, both, "x", ())


def test_a_store_that_does_not_say_by_which_code_is_refused_too(tmp_path: Path) -> None:
    """As one whose provenance was lost."""
    store = run(small_study(replications=64), store=tmp_path / "x.zarr")
    assert isinstance(store, ZarrStore)
    del store._root["provenance"]
    store._root.require_group("provenance")
    before = ZarrStore.open(tmp_path / "x.zarr")
    assert [(origin.text, origin.blocks) for origin in before.environments] == [("unknown", 2)]
    with pytest.raises(BadInput, match="does not say which code"):
        run(small_study(replications=128), store=tmp_path / "x.zarr")
    mixed = run(small_study(replications=128), store=tmp_path / "x.zarr", plan=Resume(accept_code_change=True))
    assert [origin.blocks for origin in mixed.environments] == [2, 2]


@pytest.mark.parametrize("case", CHANGES)
def test_a_worker_in_another_environment_refuses_its_job(case: str) -> None:
    there, message = CHANGES[case]
    study = small_study(replications=64)
    job = Job(study, 0, 0, 0, 64, changed(**there)(study))
    with pytest.raises(WorkerRefused, match=f"a worker differs from the client: .*{message}"):
        run_job(job)
    assert run_job(replace(job, environment=environment_of(study))).block.replications == 64


def test_a_mismatch_ends_the_run_and_writes_no_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "environment_of", changed(machine="another"))
    with pytest.raises(WorkerRefused, match="machine"):
        run(small_study(replications=64), store=tmp_path / "x.zarr")
    assert ZarrStore.open(tmp_path / "x.zarr").done() == []


@pytest.mark.long
def test_a_worker_with_an_edited_copy_is_refused_and_one_with_an_equal_copy_serves(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Copies of one version at another place: what counts is what their files say."""
    source = Path(runner_module.__file__).parents[2]
    for edit in (False, True):
        copy = tmp_path_factory.mktemp("copy")
        for room in ROOMS:
            shutil.copytree(source / room, copy / room, ignore=shutil.ignore_patterns("__pycache__"))
        for module in ("made_up_shifted.py", "made_up_shift.py"):
            shutil.copy(folder / module, copy / module)
        if edit:
            with (copy / "estimators" / "linear" / "did.py").open("a") as file:
                file.write("\n# a line more\n")
        with started(copy, copy) as machines:
            options = ("--cluster", machines.address, "--store", f"{copy.name}.zarr")
            ran = panelproof(folder, "run", "study.toml", *options)
        if edit:
            assert ran.returncode == 2
            assert "a worker differs from the client: other code of estimators" in words(ran.stderr)
            assert not (folder / f"{copy.name}.zarr").exists()
        else:
            assert ran.returncode == 0, ran.stderr


def test_plug_ins_are_part_of_the_environment_and_rooms_once(loaded: Path) -> None:
    here = environment_of(Study.from_toml(loaded / "study.toml"))
    assert isinstance(here, Environment)
    names = [name for name, _ in here.code]
    assert names == ["sim", "estimators", "results", "cluster", "experiments", "made_up_shifted"]
    assert all(digest for _, digest in here.code)
