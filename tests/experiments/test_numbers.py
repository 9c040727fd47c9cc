"""Blocks of one store have one kind of numbers, and portable numbers are the same whatever the processor shows."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from masked import NO_AVX2, NO_AVX512, NO_FMA, STUDIES, hash_of, masked, panelproof, ran
from schedulers import started

from cluster import numbers
from experiments.run.places import place_of
from experiments.run.resume import Resume
from experiments.run.runner import run
from results.store import ZarrStore
from sim.errors import BadInput
from studies import small_study

FEATURES = numbers._flags() if Path("/proc/cpuinfo").is_file() else set()
V3 = pytest.mark.skipif(bool(numbers._lacking()), reason=f"no portable numbers here: {numbers._lacking()}")
V4 = pytest.mark.skipif("avx512f" not in FEATURES, reason="this processor has no AVX512 to be masked")
DIFFER = "numbers differ in the last digits although versions are equal: exp, log, pow"
PORTABLE = ("--numbers", "portable")
FEW = ("--replications", "64")
MOST = NO_AVX2 | NO_FMA | {"OPENBLAS_CORETYPE": "Prescott", "OPENBLAS_BLOCK_FACTOR": "20"}


def words(text: str) -> str:
    return " ".join(text.split())


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
    refused = ran(tmp_path, "did", portable, *PORTABLE)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "computed in another environment" in refused.stderr
    assert ran(tmp_path, "did", portable, *PORTABLE, "--accept-other-numbers").returncode == 0
    assert ZarrStore.open(tmp_path / "x.zarr").content_hash() == before


@V4
@pytest.mark.long
def test_a_resume_with_other_numbers_is_refused_until_it_is_accepted(tmp_path: Path) -> None:
    hash_of(tmp_path, "did", {})
    before = ZarrStore.open(tmp_path / "x.zarr").content_hash()
    more = ("--replications", "192")
    for options in (more, (*more, "--accept-code-change"), (*more, "--retry", "failed")):
        refused = ran(tmp_path, "did", NO_AVX512, *options)
        assert refused.returncode == 2
        assert DIFFER in refused.stderr
        assert refused.stderr.count("\n") == 1
        assert "or say --accept-other-numbers" in refused.stderr
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
    with pytest.raises(BadInput, match="although versions are equal: exp, draw"):
        run(larger, store=store, plan=Resume(accept_code_change=True))
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
        with pytest.raises(BadInput) as caught:
            run(small_study(128), store=store, plan=plan)
        assert str(caught.value).endswith(lacking)
    run(small_study(128), store=store, plan=Resume(accept_code_change=True, accept_other_numbers=True))


def test_shards_with_other_numbers_are_not_joined(tmp_path: Path) -> None:
    for shard in ("1/2", "2/2"):
        name = f"{shard[0]}.zarr"
        assert ran(tmp_path, "did", {}, "--shard", shard, store=name).returncode == 0
    other_numbers(tmp_path / "2.zarr")
    merging = ("store", "merge", "1.zarr", "2.zarr", "--out", "out.zarr")
    for options in ((), ("--accept-code-change",)):
        refused = panelproof(tmp_path, *merging, *options)
        assert refused.returncode == 2
        assert "numbers differ in the last digits: exp, draw" in refused.stderr
        assert not (tmp_path / "out.zarr").exists()
    assert panelproof(tmp_path, *merging, "--accept-other-numbers").returncode == 0
    assert "numbers differ" in panelproof(tmp_path, "store", "verify", "out.zarr").stdout


@V4
@pytest.mark.long
def test_a_worker_with_other_numbers_is_left_out_until_it_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "did.toml").write_text(STUDIES["did"])
    with started(tmp_path, **NO_AVX512) as machines:
        command = ("run", "did.toml", "--cluster", machines.address, "--store", "x.zarr")
        refused = panelproof(tmp_path, *command)
        assert refused.returncode == 2
        assert DIFFER in words(refused.stderr)
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


@V3
@pytest.mark.long
def test_workers_of_a_local_cluster_compute_portable_numbers(tmp_path: Path) -> None:
    reference = hash_of(tmp_path, "full-job", {}, *PORTABLE, *FEW)
    (tmp_path / "on.toml").write_text(f'{STUDIES["full-job"]}\n[cluster]\nwhere = "local"\nnumbers = "portable"\n')
    command = ("run", "on.toml", "--workers", "1", "-q", "--store", "local.zarr", *FEW)
    done = panelproof(tmp_path, *command, settings=MOST)
    assert done.returncode == 0, done.stderr
    assert ZarrStore.open(tmp_path / "local.zarr").content_hash() == reference


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
    refused = subprocess.run(python, cwd=tmp_path, env=masked({}), capture_output=True, text=True)
    assert refused.returncode == 1
    assert 'say eval "$(panelproof cluster numbers)" before you start Python' in refused.stderr
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
    done = panelproof(tmp_path, "run", "long.toml", "--replications", "64", "--cluster", "serial", "--store", "y.zarr",
                      "--json", *PORTABLE)  # fmt: skip
    assert done.stdout.startswith("{")
    assert done.returncode == 0


def test_what_a_command_says_goes_before_the_table_of_its_file() -> None:
    table = {"where": "local", "workers": 3, "numbers": "portable"}
    place = place_of("serial", table=table, numbers="default")
    assert (place.where, vars(place.back)) == ("serial", {"memory": None}), "options belong to the place beside them"


def test_options_of_a_command_are_written_with_either_dash(tmp_path: Path) -> None:
    (tmp_path / "hosts").touch()
    place = place_of("ssh", options=("hosts=a", f"known-hosts={tmp_path / 'hosts'}"))
    assert vars(place.back)["known_hosts"] == str(tmp_path / "hosts")
