"""Two runs into one store, in every way in which they can miss each other: one writes, and the other says so."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from other_host import PAUSED, Host, host

from experiments.run.resume import read_log
from experiments.run.runner import run
from results.store import StoreLocked, ZarrStore, lock
from results.store.repair import verified
from studies import quick_study

pytestmark = pytest.mark.long  # each starts several processes

SHORT = ("--expires", "3")
IN_USE = "StoreLocked: {} is in use by another run (process {} on {}, since "


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> str:
    store = tmp_path_factory.mktemp("reference") / "x.zarr"
    run(quick_study(640), store=store)
    return ZarrStore.open(store).content_hash()


@pytest.fixture
def mounts() -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("MOUNTS ARE NOT TESTED HERE: only root can make them")
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("MOUNTS ARE NOT TESTED HERE: this system has no mount namespaces for us")


def sound(store: Path, reference: str) -> bool:
    return verified(store).sound and ZarrStore.open(store).content_hash() == reference


def refused_while(first: Host, name: str, path: Path, *options: str, **places: list[str]) -> None:
    """A second run is refused while the first, which is paused, holds the store; then the first ends well."""
    with host(path, *options, **places) as second:
        said = second.end()
        assert said.startswith(IN_USE.format(path, first.process.pid, name)), said
        assert "\n" not in said
    first.go_on()
    assert first.end() == "done"


def test_locks_that_others_do_not_see(tmp_path: Path, reference: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same path and symbolic links; a lock beside the store is seen by neither host."""
    real = tmp_path / "real" / "x.zarr"
    real.parent.mkdir()
    (tmp_path / "store").symlink_to(real)
    (tmp_path / "folder").symlink_to(real.parent)
    with host(real, "--name", "one", "--flock", "local", "--pause", "5") as first:
        first.until(PAUSED)
        monkeypatch.setattr(lock, "_flock", lambda *_: None)
        monkeypatch.setattr(socket, "gethostname", lambda: "two")
        for path in (tmp_path / "store", tmp_path / "folder" / "x.zarr"):
            with pytest.raises(StoreLocked, match=rf"in use by another run \(process {first.process.pid} on one"):
                run(quick_study(640), store=path)
        refused_while(first, "one", real, "--name", "two", "--flock", "local")
    assert sound(real, reference)
    assert sorted(file.name for file in real.parent.iterdir()) == ["x.zarr", "x.zarr.log.jsonl"]
    assert [file.name for file in (real / "block_mark").glob("lease*")] == []


@pytest.mark.parametrize("ways", ["parent", "two"])
def test_mounts_of_one_store(tmp_path: Path, reference: str, mounts: None, ways: str) -> None:
    """A bind mount of the folder that holds the store, and two namespaces with paths of their own."""
    real = tmp_path / "real" / "x.zarr"
    run(quick_study(64), store=real)
    mine, yours = tmp_path / "mine", tmp_path / "yours"
    mine.mkdir()
    yours.mkdir()
    what = real.parent if ways == "parent" else real
    first_path = mine if ways == "two" else real
    first_mounts = [f"mount --bind {real} {mine}"] if ways == "two" else []
    path = yours / "x.zarr" if ways == "parent" else yours
    with host(first_path, "--flock", "seen", "--pause", "5", mounts=first_mounts) as first:
        first.until(PAUSED)
        refused_while(first, os.uname().nodename, path, "--flock", "seen", mounts=[f"mount --bind {what} {yours}"])
    assert sound(real, reference)


def test_a_holder_that_sleeps_until_another_has_taken_over_writes_no_further_mark(
    tmp_path: Path, reference: str
) -> None:
    store = tmp_path / "x.zarr"
    with host(store, "--name", "one", *SHORT, "--pause", "5") as first:
        first.until(PAUSED)
        first.send(signal.SIGSTOP)
        first.go_on()
        time.sleep(3.1)
        with host(store, "--name", "two", *SHORT, "--pause", "12") as second:
            said = second.until(PAUSED)
            assert any("told a run left" in line and "process" in line for line in said)
            marks = looks(store)
            first.send(signal.SIGCONT)
            ended = first.end()
            assert ended.startswith(f"StoreLocked: {store} was taken over while this run did not answer; held by")
            assert f"process {second.process.pid} on two" in ended
            assert looks(store) == marks
            second.go_on()
            assert second.end() == "done"
    assert sound(store, reference)
    events = read_log(store)
    assert [event.get("how") for event in events if event["event"] == "end"] == ["StoreLocked", "done"]
    said = [(event["cell"], event["block"]) for event in events if event["event"] == "commit"]
    assert sorted(said) == [(cell, block) for cell in range(2) for block in range(10)], "each by one run alone"


def looks(store: Path) -> dict[str, int]:
    """When each mark was written."""
    return {str(mark): mark.stat().st_mtime_ns for mark in (store / "block_mark").rglob("*")
            if mark.is_file() and not mark.name.startswith("lease")}  # fmt: skip


def test_of_hosts_that_make_one_store_at_once_one_alone_does(tmp_path: Path, reference: str) -> None:
    store = tmp_path / "x.zarr"
    with (
        host(store, "--name", "one", "--flock", "none", "--pause", "5") as first,
        host(store, "--name", "two", "--flock", "none", "--pause", "5") as second,
    ):
        both = (first, second)
        said = [one.until(PAUSED, "end ")[-1] for one in both]
        assert sorted(line == PAUSED for line in said) == [False, True], said
        winner, lost = both[said.index(PAUSED)], said[1 - said.index(PAUSED)]
        assert "was made by another run meanwhile" in lost or "is in use by another run" in lost
        winner.go_on()
        assert winner.end() == "done"
    assert sound(store, reference)
    assert list(tmp_path.glob(".x*")) == []
