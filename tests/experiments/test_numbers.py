"""Blocks of one store come from one code, one environment and one kind of numbers; portable ones are the same."""

from __future__ import annotations

import importlib
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import commands
import numpy as np
import pytest
from commands import words
from masked import NO_AVX2, NO_AVX512, NO_FMA, STUDIES, hash_of, masked, panelproof, ran
from refusals import refuses
from schedulers import started

from cluster import numbers
from estimators import TwoWayDID
from experiments.run.places import place_of
from experiments.run.resume import Resume, check_origins, describe_stale_blocks, origin_of
from experiments.run.runner import run, schema_of
from experiments.run.tasks import environment_of, runner_of
from experiments.study import Study
from results.store import MemoryStore, Origin, ZarrStore
from studies import SHORT, quick_study, small_study

FEATURES = numbers._flags() if Path("/proc/cpuinfo").is_file() else set()
V3 = pytest.mark.skipif(bool(numbers._lacking()), reason=f"no portable numbers here: {numbers._lacking()}")
V4 = pytest.mark.skipif("avx512f" not in FEATURES, reason="this processor has no AVX512 to be masked")
DIFFER = "numbers differ in the last digits although versions are equal: exp, log, pow"
PORTABLE = ("--numbers", "portable")
FEW = ("--replications", "64")
MOST = NO_AVX2 | NO_FMA | {"OPENBLAS_CORETYPE": "Prescott", "OPENBLAS_BLOCK_FACTOR": "20"}


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The one line by which a command has refused."""
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    return line


@V3
@pytest.mark.long
def test_portable_numbers_have_one_hash(tmp_path: Path) -> None:
    """Of estimators of all kinds, each of which the masks must change."""
    reference = hash_of(tmp_path, "together", {}, *PORTABLE, *FEW)
    assert hash_of(tmp_path, "together", MOST, *PORTABLE, *FEW, store="masked.zarr") == reference
    hash_of(tmp_path, "together", MOST, *FEW, store="default.zarr")
    portable, default = (ZarrStore.open(tmp_path / name).read(0, 0).estimates for name in ("x.zarr", "default.zarr"))
    same = [name for name in portable if np.array_equal(portable[name].estimate, default[name].estimate)]
    assert same == []
    (made_in,) = ZarrStore.open(tmp_path / "masked.zarr").environments
    assert made_in.facts["numbers"] == "portable"
    assert "portable numbers" in made_in.text


@V3
@pytest.mark.long
def test_a_complete_store_of_default_numbers_is_none_of_portable_ones(tmp_path: Path) -> None:
    before, portable = hash_of(tmp_path, "did", MOST), numbers.check_machine()
    assert "computed in another environment" in refused(ran(tmp_path, "did", portable, *PORTABLE))
    assert ran(tmp_path, "did", portable, *PORTABLE, "--accept-other-numbers").returncode == 0
    assert ZarrStore.open(tmp_path / "x.zarr").content_hash() == before


@V4
@pytest.mark.long
def test_a_resume_with_other_numbers_is_refused_until_it_is_accepted(tmp_path: Path) -> None:
    hash_of(tmp_path, "did", {})
    before = ZarrStore.open(tmp_path / "x.zarr").content_hash()
    more = ("--replications", "192")
    for options in (more, (*more, "--accept-code-change"), (*more, "--retry", "failed")):
        said = refused(ran(tmp_path, "did", NO_AVX512, *options))
        assert DIFFER in said
        assert "or say --accept-other-numbers" in said
    assert ZarrStore.open(tmp_path / "x.zarr").content_hash() == before
    assert ran(tmp_path, "did", NO_AVX512, *more, "--accept-other-numbers").returncode == 0
    store = ZarrStore.open(tmp_path / "x.zarr")
    assert [origin.blocks for origin in store.environments] == [2, 1]
    assert store.environments[1].differs[0].startswith(DIFFER)
    assert f"differs from the first: {DIFFER}" in panelproof(tmp_path, "store", "info", "x.zarr").stdout
    verified = panelproof(tmp_path, "store", "verify", "x.zarr")
    assert verified.returncode == 0
    assert "blocks come from several environments: numbers differ in the last digits: exp, log, pow" in verified.stdout
    assert "the blocks come from 2 environments" in words(panelproof(tmp_path, "report", "x.zarr").stdout)


def other_numbers(path: Path, **changes: object) -> None:
    """Let a store say that its blocks were computed with other numbers."""
    store = ZarrStore(path, "a")
    (own,) = store.noted("origins")
    facts = own["facts"] | changes | {"probe": own["facts"]["probe"] | {"exp": "other", "draw": "other"}}
    store.note("origins", [own | {"facts": facts}])


def test_growth_beside_other_numbers_is_refused(tmp_path: Path) -> None:
    store, estimators = tmp_path / "x.zarr", small_study().estimators
    run(small_study(64, estimators=estimators[:1]), store=store)
    other_numbers(store)
    larger = small_study(64, estimators=estimators[:2])
    refuses("although versions are equal: exp, draw",
            lambda: run(larger, store=store, plan=Resume(accept_code_change=True)))  # fmt: skip
    mixed = run(larger, store=store, plan=Resume(accept_other_numbers=True))
    assert len(mixed.environments) == 2


def test_both_kinds_of_differences_are_accepted_one_by_one(tmp_path: Path) -> None:
    store = tmp_path / "x.zarr"
    run(small_study(64), store=store)
    other_numbers(store, code={"estimators": "f00"})
    for plan, lacking in (
        (Resume(), "or say --accept-code-change and --accept-other-numbers"),
        (Resume(accept_code_change=True), "or say --accept-other-numbers"),
        (Resume(accept_other_numbers=True), "or say --accept-code-change"),
    ):
        refuses(f"{lacking}$", partial(run, small_study(128), store=store, plan=plan))
    run(small_study(128), store=store, plan=Resume(accept_code_change=True, accept_other_numbers=True))


def test_shards_with_other_numbers_are_not_joined(tmp_path: Path) -> None:
    for shard in ("1/2", "2/2"):
        name = f"{shard[0]}.zarr"
        assert ran(tmp_path, "did", {}, "--shard", shard, store=name).returncode == 0
    other_numbers(tmp_path / "2.zarr")
    merging = ("store", "merge", "1.zarr", "2.zarr", "--out", "out.zarr")
    for options in ((), ("--accept-code-change",)):
        assert "numbers differ in the last digits: exp, draw" in refused(panelproof(tmp_path, *merging, *options))
        assert not (tmp_path / "out.zarr").exists()
    assert panelproof(tmp_path, *merging, "--accept-other-numbers").returncode == 0
    assert "numbers differ" in panelproof(tmp_path, "store", "verify", "out.zarr").stdout


@V4
@pytest.mark.long
def test_a_worker_with_other_numbers_is_left_out_until_it_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "did.toml").write_text(STUDIES["did"])
    with started(tmp_path, **NO_AVX512) as machines:
        command = ("run", "did.toml", "--cluster", machines.address, "--store", "x.zarr")
        out = panelproof(tmp_path, *command)
        assert out.returncode == 2
        assert DIFFER in words(out.stderr)
        assert not (tmp_path / "x.zarr").exists()
        asked = panelproof(tmp_path, *command, *PORTABLE)
        assert asked.returncode == 2
        assert "start the worker with the settings that `panelproof cluster numbers` prints" in words(asked.stderr)
        accepted = panelproof(tmp_path, *command, "--accept-other-numbers")
        assert accepted.returncode == 0, accepted.stderr
    (theirs,) = ZarrStore.open(tmp_path / "x.zarr").environments
    hash_of(tmp_path, "did", NO_AVX512, store="same.zarr")
    (own,) = ZarrStore.open(tmp_path / "same.zarr").environments
    assert theirs.facts == own.facts, "blocks say whose numbers they have"
    assert ZarrStore.open(tmp_path / "x.zarr").content_hash() == ZarrStore.open(tmp_path / "same.zarr").content_hash()


SCRIPT = """
import panelproof as pp
study = pp.Study("mine", pp.Paper(), (pp.TwoWayDID(),), replications=64, block=64)
try:
    print(pp.run(study, store="py.zarr", numbers="portable").content_hash())
except pp.BadInput as error:
    raise SystemExit(f"refused: {error}")
"""


@V3
@pytest.mark.long
def test_a_study_from_python_says_how_to_start(tmp_path: Path) -> None:
    python = [sys.executable, "-c", SCRIPT]
    failed = subprocess.run(python, cwd=tmp_path, env=masked({}), capture_output=True, text=True)
    assert failed.returncode == 1
    assert 'say eval "$(panelproof cluster numbers)" before you start Python' in failed.stderr
    assert not (tmp_path / "py.zarr").exists()
    command = shlex.join([sys.executable, "-m", "experiments", "cluster", "numbers"])
    shell = f'eval "$({command})" && {shlex.join(python)}'
    done = subprocess.run(["sh", "-c", shell], cwd=tmp_path, env=masked(MOST), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert ZarrStore.open(tmp_path / "py.zarr").environments[0].facts["numbers"] == "portable"
    assert done.stdout.strip() == ZarrStore.open(tmp_path / "py.zarr").content_hash()


@V3
@pytest.mark.long
def test_the_process_stays_the_same_when_it_starts_anew(tmp_path: Path) -> None:
    """Its number, its exit codes, its signals, what it prints and where."""
    (tmp_path / "bad.toml").write_text(STUDIES["did"].replace('kind = "did"', 'kind = "dod"'))
    assert panelproof(tmp_path, "run", "bad.toml", *PORTABLE).returncode == 2
    (tmp_path / "long.toml").write_text(STUDIES["did"].replace("replications = 128", "replications = 4000000"))
    command = [sys.executable, "-m", "experiments", "run", "long.toml", "--cluster", "serial", *PORTABLE, "--store"]
    process = subprocess.Popen([*command, "x.zarr"], cwd=tmp_path, env=masked(NO_FMA), stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip
    try:
        log, deadline = tmp_path / "x.zarr.log.jsonl", time.monotonic() + 120
        while not (log.exists() and "commit" in log.read_text()) and time.monotonic() < deadline:
            time.sleep(0.1)
        environment = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
        assert b"PANELPROOF_NUMBERS=portable" in environment
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 143
    assert "terminated" in err
    assert out.startswith("long"), "what it says is said once, on standard output"


def test_what_a_command_says_with_either_dash_goes_before_the_table_of_its_file(tmp_path: Path) -> None:
    table = {"where": "local", "workers": 3, "numbers": "portable"}
    place = place_of("serial", table=table, numbers="default")
    assert (place.where, vars(place.back)) == ("serial", {"memory": None}), "options belong to the place beside them"
    (tmp_path / "hosts").touch()
    place = place_of("ssh", options=("hosts=a", f"known-hosts={tmp_path / 'hosts'}"))
    assert vars(place.back)["known_hosts"] == str(tmp_path / "hosts")


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
SHIFTED_STUDY = f"""{SHORT}[[estimators]]
kind = "made_up_shifted:Shifted"
label = "mine"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "made_up_shifted.py").write_text(PLUG_IN)
    (tmp_path / "made_up_shift.py").write_text("SHIFT = 0.0\n")
    (tmp_path / "study.toml").write_text(SHIFTED_STUDY)
    return tmp_path


def run_study(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return commands.run(folder, "run", "study.toml", "--cluster", "serial", "--store", "x.zarr", *options)


def test_a_resume_after_an_edit_is_refused_until_it_is_accepted(folder: Path) -> None:
    assert run_study(folder).returncode == 0
    before = ZarrStore.open(folder / "x.zarr").content_hash()
    (folder / "made_up_shift.py").write_text("SHIFT = 1.0\n")
    assert run_study(folder).returncode == 0, "nothing to compute: nothing to refuse"
    for dry in ([], ["--dry-run"]):
        said = refused(run_study(folder, "--replications", "192", *dry))
        assert "2 blocks were computed in another environment; what differs now: other code of made_up_shifted" in said
        assert "--accept-code-change" in said
    store = ZarrStore.open(folder / "x.zarr")
    assert (store.content_hash(), store.replications) == (before, 128)
    accepted = run_study(folder, "--replications", "192", "--accept-code-change")
    assert accepted.returncode == 0
    assert "2 blocks were computed in another environment" in words(accepted.stdout)
    store = ZarrStore.open(folder / "x.zarr")
    assert [origin.blocks for origin in store.environments] == [2, 1]
    assert [origin.differs for origin in store.environments] == [(), ("other code of made_up_shifted",)]
    info = commands.run(folder, "store", "info", "x.zarr").stdout
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
    study = Study.from_toml(loaded / "study.toml")
    names, digests = zip(*environment_of(study).code, strict=True)  # plug-ins belong to it, and rooms once
    assert names == ("sim", "estimators", "results", "cluster", "experiments", "made_up_shifted")
    assert all(digests)
    run(study, store=loaded / "x.zarr")
    (loaded / "made_up_shift.py").write_text("SHIFT = 100.0\n")
    for name in ("made_up_shifted", "made_up_shift"):
        del sys.modules[name]
    importlib.invalidate_caches()
    more = Study.from_toml(loaded / "study.toml").resized(replications=192)
    refuses("other code of made_up_shifted", lambda: run(more, store=loaded / "x.zarr"))
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
    refuses(message, lambda: run(more, store=tmp_path / "x.zarr"))
    assert ZarrStore.open(tmp_path / "x.zarr").replications == 64
    mixed = run(more, store=tmp_path / "x.zarr", plan=Resume(accept_code_change=True))
    assert [origin.blocks for origin in mixed.environments] == [2, 2]
    assert len(mixed.environments[1].differs) >= 1
    assert origin_of(mixed, environment_of(more)).differs == mixed.environments[1].differs


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
    assert (describe_stale_blocks(store, here, both), describe_stale_blocks(store, there, both)) == (said, [])
    refuses("1 block was computed in another environment", lambda: check_origins(store, here, both, "x", ()))


def test_a_store_that_does_not_say_by_which_code_is_refused_too(tmp_path: Path) -> None:
    """As one whose provenance was lost."""
    store = run(small_study(replications=64), store=tmp_path / "x.zarr")
    assert isinstance(store, ZarrStore)
    del store._root["provenance"]
    store._root.require_group("provenance")
    before = ZarrStore.open(tmp_path / "x.zarr")
    assert [(origin.text, origin.blocks) for origin in before.environments] == [("unknown", 2)]
    refuses("does not say which code", lambda: run(small_study(replications=128), store=tmp_path / "x.zarr"))
    mixed = run(small_study(replications=128), store=tmp_path / "x.zarr", plan=Resume(accept_code_change=True))
    assert [origin.blocks for origin in mixed.environments] == [2, 2]
