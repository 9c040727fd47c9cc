"""Blocks that workers write themselves: the same store, kills included, and refusals of folders that are not shared."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from real_parts import wait_until

from cluster import Executor
from experiments.cli import run_command
from experiments.run.runner import run
from results.store import ZarrStore
from results.store import chunks as chunks_of_workers
from results.store.chunks import Shared, write_chunks
from results.store.repair import verified
from sim.errors import BadInput
from studies import quick_study, small_study

SCRIPT = Path(__file__).resolve().parent.parent / "support" / "run_small_study.py"


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("reference") / "serial.zarr"
    run(small_study(), store=path)
    return ZarrStore.open(path).content_hash()


@pytest.fixture
def pool(local_workers: Callable[[int], Executor]) -> Executor:
    return local_workers(2)


@pytest.mark.parametrize("writes", ["workers", None])
def test_the_store_is_the_same_and_the_client_writes_marks_alone(
    reference: str, tmp_path: Path, pool: Executor, monkeypatch: pytest.MonkeyPatch, writes: str | None
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("the client wrote a block")

    monkeypatch.setattr(ZarrStore, "_put", never)
    run(small_study(), store=tmp_path / "x.zarr", executor=pool, shuffle=3, writes=writes)
    store = ZarrStore.open(tmp_path / "x.zarr")
    assert store.content_hash() == reference
    assert store.unfinished() == []
    assert [origin.blocks for origin in store.environments] == [8]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.zarr", "x.zarr.log.jsonl"], "the token is gone"


def test_elsewhere_the_client_writes(tmp_path: Path, pool: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("the client marked what a worker wrote")

    monkeypatch.setattr(ZarrStore, "commit", never)
    run(quick_study(128), store=tmp_path / "asked.zarr", executor=pool, writes="client")
    run(quick_study(128), store=tmp_path / "client.zarr", client=pool.client)  # type: ignore[attr-defined]
    found = {ZarrStore.open(tmp_path / name).content_hash() for name in ("asked.zarr", "client.zarr")}
    assert len(found) == 1


def test_more_replications_and_estimators_join_what_workers_wrote(tmp_path: Path, pool: Executor) -> None:
    path, few = tmp_path / "x.zarr", small_study(estimators=small_study().estimators[:2])
    run(few, store=path, executor=pool, writes="workers")
    run(small_study(300), store=path, executor=pool, writes="workers")
    run(small_study(300), store=tmp_path / "whole.zarr")
    assert ZarrStore.open(path).content_hash() == ZarrStore.open(tmp_path / "whole.zarr").content_hash()


def test_a_worker_that_does_not_see_the_store_ends_the_run_in_one_line(
    tmp_path: Path, pool: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks_of_workers, "token_file", lambda real: tmp_path / f"elsewhere-{os.getpid()}")
    with pytest.raises(BadInput, match=r"a worker does not see the store.*a file system that all workers share"):
        run(quick_study(128), store=tmp_path / "x.zarr", executor=pool, writes="workers")
    assert ZarrStore.open(tmp_path / "x.zarr").done() == []


def test_the_token_of_a_run_that_has_taken_the_store_over_stays(tmp_path: Path) -> None:
    run(quick_study(64), store=tmp_path / "x.zarr")
    with chunks_of_workers.shared(tmp_path / "x.zarr") as place:
        token = chunks_of_workers.token_file(place.path)
        token.write_text("another run's")
    assert token.read_text() == "another run's"


def test_a_block_that_the_client_does_not_see_is_no_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks_of_workers, "SEEN_SECONDS", 0.2)
    run(quick_study(128), store=tmp_path / "x.zarr")
    store = ZarrStore(tmp_path / "x.zarr", "a")
    with chunks_of_workers.shared(tmp_path / "x.zarr") as place:
        written = write_chunks(place, 0, 0, store.sound(0, 0))
    (tmp_path / "x.zarr" / "did" / "fit" / "c.0.0.0").unlink()
    with pytest.raises(BadInput, match="block 0 of cell 0, which a worker wrote, is not seen here"):
        store.commit(0, 0, written)
    with pytest.raises(BadInput, match="a worker does not see the store"):
        write_chunks(Shared(tmp_path / "x.zarr", "another run"), 0, 0, store.sound(1, 1))


def test_bad_requests_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BadInput, match="workers cannot write into memory"):
        run(quick_study(128), writes="workers")
    with pytest.raises(BadInput, match=r"writes = 'worker'.*did you mean 'workers'"):
        run(quick_study(128), store=tmp_path / "x.zarr", writes="worker")
    assert run_command(["run", "bias", "--writes", "nobody", "--store", str(tmp_path / "x.zarr")]) == 2
    assert capsys.readouterr().err.strip().count("\n") == 0


def marks(store: Path) -> int:
    return len([path for path in store.glob("block_mark/c.*.0") if path.is_file()])


@pytest.mark.long
def test_kills_lose_nothing(reference: str, tmp_path: Path) -> None:
    """Of a worker, without which the run goes on, and then of the client."""
    path = tmp_path / "x.zarr"
    command = [sys.executable, str(SCRIPT), str(path), "2", "workers"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    wait_until(lambda: marks(path) or process.poll() is not None, 60, "the first block")
    workers = [child for child in psutil.Process(process.pid).children(recursive=True)
               if "spawn_main" in " ".join(child.cmdline())]  # fmt: skip
    workers[0].kill()
    there = marks(path)
    wait_until(lambda: marks(path) > there + 2 or process.poll() is not None, 60, "blocks after a worker was killed")
    assert process.poll() is None, "the run ended before it was killed"
    process.kill()
    process.wait()
    found = verified(path)
    assert not [line for line in found.lines if "does not match" in line], "what is marked is whole"
    assert len(ZarrStore.open(path).done()) < 8
    run(small_study(), store=path)
    assert ZarrStore.open(path).content_hash() == reference
