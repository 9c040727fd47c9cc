"""The same bits whatever the order, workers, kills and resumes; and a user's own Dask Client."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from distributed import Client, LocalCluster

from cluster import Executor, Serial
from experiments.run.runner import run
from results.store.zarr_store import BlockState, ZarrStore
from sim.errors import BadInput
from studies import small_study


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("reference") / "serial.zarr"
    run(small_study(), store=path)
    return ZarrStore.open(path).content_hash()


def test_order_and_workers_do_not_matter(
    reference: str, tmp_path: Path, local_workers: Callable[[int], Executor]
) -> None:
    run(small_study(), store=tmp_path / "x.zarr", executor=local_workers(2), shuffle=2)
    assert ZarrStore.open(tmp_path / "x.zarr").content_hash() == reference


def test_threads_in_the_environment_do_not_matter(reference: str, tmp_path: Path) -> None:
    start_run(tmp_path / "x.zarr", workers=0, OPENBLAS_NUM_THREADS="8").wait(timeout=120)
    assert ZarrStore.open(tmp_path / "x.zarr").content_hash() == reference


def start_run(store: Path, workers: int, **environment: str) -> subprocess.Popen[bytes]:
    """The study in a process of its own, slow enough to be killed in the middle."""
    script = Path(__file__).resolve().parent.parent / "support" / "run_small_study.py"
    return subprocess.Popen(
        [sys.executable, str(script), str(store), str(workers)],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def wait_for_blocks(store: Path, count: int, process: subprocess.Popen[bytes]) -> int:
    """Wait until so many blocks are marked; returns how many there are."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        marked = len([path for path in store.glob("block_mark/c.*.0") if path.is_file()])
        if marked >= count or process.poll() is not None:
            return marked
        time.sleep(0.01)
    raise AssertionError("the run made no progress")


@pytest.mark.long
def test_a_killed_client_loses_nothing(reference: str, tmp_path: Path) -> None:
    store = tmp_path / "x.zarr"
    process = start_run(store, workers=2)
    marked = wait_for_blocks(store, 1, process)
    assert process.poll() is None, "the run ended before it was killed"
    process.kill()
    process.wait()
    assert 0 < marked < 8
    done = sum(ZarrStore.open(store).state(cell, index) is BlockState.DONE for cell in range(2) for index in range(4))
    assert done >= marked - 1
    run(small_study(), store=store)
    assert ZarrStore.open(store).content_hash() == reference
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".partial")]


@pytest.mark.long
def test_a_killed_worker_loses_nothing(reference: str, tmp_path: Path) -> None:
    store = tmp_path / "x.zarr"
    process = start_run(store, workers=2)
    wait_for_blocks(store, 1, process)
    workers = [child for child in psutil.Process(process.pid).children(recursive=True) if is_worker(child)]
    assert workers, "no worker to kill"
    workers[0].kill()
    assert process.wait(timeout=120) == 0
    assert ZarrStore.open(store).content_hash() == reference


def is_worker(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return "spawn_main" in " ".join(process.cmdline())
    return False


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """One worker with two threads, as a user may have started it."""
    with (
        LocalCluster(n_workers=1, threads_per_worker=2, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        yield client


def test_a_running_client_is_used_and_left_open(client: Client, reference: str, tmp_path: Path) -> None:
    run(small_study(), store=tmp_path / "x.zarr", client=client)
    assert client.status == "running"
    assert client.submit(sum, [1, 2]).result() == 3
    assert ZarrStore.open(tmp_path / "x.zarr").content_hash() == reference


def test_what_is_no_executor_is_said_in_one_line(client: Client) -> None:
    closed = Client(client.scheduler.address)
    closed.close()
    for given, words in (
        ({"executor": client}, "executor is a Client; .*pass a Dask Client as client="),
        ({"executor": "local"}, "executor is a str; allowed: what cluster.open_executor returns"),
        ({"client": Serial()}, "client is a Serial that cannot be used; allowed: a running Dask Client"),
        ({"client": closed}, "a running Dask Client"),
        ({"client": client, "executor": Serial()}, "leave one out"),
    ):
        with pytest.raises(BadInput, match=words) as error:
            run(small_study(), **given)  # type: ignore[arg-type]
        assert len(str(error.value).splitlines()) == 1
