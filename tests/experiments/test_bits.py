"""The same bits whatever the block size, order, workers, kills and resumes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from cluster import Executor
from experiments.run.runner import run
from experiments.run.tasks import runner_of
from results.store.zarr_store import BlockState, ZarrStore
from studies import small_study


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("reference") / "serial.zarr"
    run(small_study(), store=path)
    return ZarrStore.open(path).content_hash()


def test_order_does_not_matter(reference: str, tmp_path: Path) -> None:
    run(small_study(), store=tmp_path / "x.zarr", shuffle=5)
    assert ZarrStore.open(tmp_path / "x.zarr").content_hash() == reference


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_do_not_matter(
    reference: str, tmp_path: Path, local_workers: Callable[[int], Executor], workers: int
) -> None:
    run(small_study(), store=tmp_path / "x.zarr", executor=local_workers(workers), shuffle=workers)
    assert ZarrStore.open(tmp_path / "x.zarr").content_hash() == reference


def test_block_size_does_not_matter() -> None:
    study = small_study()
    runner = runner_of(study, 1)
    whole, parts = runner.run(0, 192), [runner.run(start, start + 64) for start in (0, 64, 128)]
    for name, estimates in whole.estimates.items():
        np.testing.assert_array_equal(
            estimates.estimate, np.concatenate([part.estimates[name].estimate for part in parts])
        )
        np.testing.assert_array_equal(estimates.se, np.concatenate([part.estimates[name].se for part in parts]))


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
@pytest.mark.parametrize("after", [1, 5])
def test_a_killed_client_loses_nothing(reference: str, tmp_path: Path, after: int) -> None:
    store = tmp_path / "x.zarr"
    process = start_run(store, workers=2)
    marked = wait_for_blocks(store, after, process)
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


@pytest.mark.long
def test_interruption_is_resumable(reference: str, tmp_path: Path) -> None:
    store = tmp_path / "x.zarr"
    process = start_run(store, workers=0)
    wait_for_blocks(store, 2, process)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) != 0
    run(small_study(), store=store)
    assert ZarrStore.open(store).content_hash() == reference
