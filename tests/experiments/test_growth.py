"""The same bits whatever the order, workers, kills and resumes; a user's own Dask Client; and stores that grow: what is
there is reused, and the store equals one run of the larger study."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from commands import here, words
from distributed import Client, LocalCluster
from refusals import refuses

from cluster import Executor, Serial
from estimators import Mediation, SpatialPanel, TwoWayDID
from experiments.run import tasks
from experiments.run.blocks import CellRunner
from experiments.run.runner import run, schema_of
from experiments.study import Study
from results.store import BlockState, ZarrStore
from results.store.repair import verified
from results.store.tree import Folder
from results.store.zarr_store import growth_of
from sim.errors import BadInput
from sim.presets import Paper
from sim.world.panel_design import PanelDesign
from sim.world.parts.covariates import Normal
from sim.world.parts.mediators import Linear
from studies import SHORT, small_study


def hash_of(path: Path) -> str:
    return ZarrStore.open(path).content_hash()


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("reference") / "serial.zarr"
    run(small_study(), store=path)
    return hash_of(path)


def test_order_workers_and_threads_do_not_matter(
    serial: str, tmp_path: Path, local_workers: Callable[[int], Executor]
) -> None:
    run(small_study(), store=tmp_path / "x.zarr", executor=local_workers(2), shuffle=2)
    assert hash_of(tmp_path / "x.zarr") == serial
    start_run(tmp_path / "y.zarr", workers=0, OPENBLAS_NUM_THREADS="8").wait(timeout=120)
    assert hash_of(tmp_path / "y.zarr") == serial


def start_run(store: Path, workers: int, **environment: str) -> subprocess.Popen[bytes]:
    """The study in a process of its own, slow enough to be killed in the middle."""
    script = Path(__file__).resolve().parent.parent / "support" / "run_small_study.py"
    return subprocess.Popen([sys.executable, script, store, str(workers)], env={**os.environ, **environment},
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)  # fmt: skip


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
def test_a_killed_client_loses_nothing(serial: str, tmp_path: Path) -> None:
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
    assert hash_of(store) == serial
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".partial")]


@pytest.mark.long
def test_a_killed_worker_loses_nothing(serial: str, tmp_path: Path) -> None:
    store = tmp_path / "x.zarr"
    process = start_run(store, workers=2)
    wait_for_blocks(store, 1, process)
    workers = [child for child in psutil.Process(process.pid).children(recursive=True) if is_worker(child)]
    assert workers, "no worker to kill"
    workers[0].kill()
    assert process.wait(timeout=120) == 0
    assert hash_of(store) == serial


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


def test_a_running_client_is_used_and_left_open(client: Client, serial: str, tmp_path: Path) -> None:
    run(small_study(), store=tmp_path / "x.zarr", client=client)
    assert (client.status, client.submit(sum, [1, 2]).result()) == ("running", 3)
    assert hash_of(tmp_path / "x.zarr") == serial


def test_what_is_no_executor_is_said_in_one_line(client: Client) -> None:
    closed = Client(client.scheduler.address)
    closed.close()
    for given, message in (
        ({"executor": client}, "executor is a Client; .*pass a Dask Client as client="),
        ({"executor": "local"}, "executor is a str; allowed: what cluster.open_executor returns"),
        ({"client": Serial()}, "client is a Serial that cannot be used; allowed: a running Dask Client"),
        ({"client": closed}, "a running Dask Client"),
        ({"client": client, "executor": Serial()}, "leave one out"),
    ):
        refuses(message, lambda given=given: run(small_study(), **given), count=1)


SMALL = Study("grows", Paper(), (TwoWayDID(errors=("iid",)),), grid=(("effect", (0.0, 0.02)),), replications=160,
              block=64, seed=3)  # fmt: skip
LARGE = replace(
    SMALL,
    estimators=(SpatialPanel("sar"), TwoWayDID(errors=("iid", "hc1"))),
    grid=(("effect", (-0.01, 0.0, 0.02)),),
    replications=220,
)
STEPS: dict[str, Callable[[Study], Study]] = {
    "estimator": lambda study: replace(study, estimators=(SpatialPanel("sar"), *study.estimators)),
    "errors": lambda study: replace(study, estimators=(*study.estimators[:-1], TwoWayDID(errors=("iid", "hc1")))),
    "cell": lambda study: replace(study, grid=LARGE.grid),
    "replications": lambda study: study.resized(replications=LARGE.replications),
}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("reference") / "x.zarr"
    run(LARGE, store=path)
    return hash_of(path)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("small") / "x.zarr"
    run(SMALL, store=path)
    return path


@pytest.fixture
def store(small: Path, tmp_path: Path) -> Path:
    shutil.copytree(small, tmp_path / "x.zarr")
    return tmp_path / "x.zarr"


ORDERS = [tuple(list(STEPS)[at] for at in order) for order in ((0, 1, 3, 2), (2, 3, 1, 0))]


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_a_store_that_grew_in_any_order_equals_one_run(reference: str, store: Path, order: tuple[str, ...]) -> None:
    study = SMALL
    for step in order:
        study = STEPS[step](study)
        run(study, store=store)
        assert not ZarrStore.open(store).pending(), step
    assert study == LARGE
    assert hash_of(store) == reference


@pytest.mark.parametrize(
    ("asked", "size", "last"), [(64, 160, "PARTIAL"), (160, 160, "PARTIAL"), (220, 220, "PENDING")]
)
def test_growth_sideways_keeps_whole_blocks_and_loses_no_replications(
    store: Path, asked: int, size: int, last: str
) -> None:
    """The last block of 160 is half of one: of 220 it is another."""
    wider = replace(SMALL, estimators=(SpatialPanel("sar"), *SMALL.estimators)).resized(replications=asked)
    grown = ZarrStore.open_or_create(store, schema_of(wider))
    assert grown.replications == size
    states = [[grown.state(cell, index).name for index in range(3)] for cell in range(2)]
    assert states == [["PARTIAL", "PARTIAL", last]] * 2
    assert grown.lacking(1, 0) == ("sar-direct",)


def test_terms_of_new_cells_leave_the_fits_that_are_there() -> None:
    """Cells with controls have more terms: nothing of the others is computed again."""
    small = replace(SMALL, grid=(("controls", ("none",)),))
    large = replace(SMALL, grid=(("controls", ("none", "paper")),))
    growth = growth_of(schema_of(small), schema_of(large), "x")
    assert (growth.kept, growth.again, growth.added, growth.new_cells) == (("did",), (), (), 1)


def test_all_at_once_and_with_workers_it_is_the_same(
    reference: str, store: Path, tmp_path: Path, local_workers: Callable[[int], Executor]
) -> None:
    run(LARGE, store=store, executor=local_workers(2), shuffle=4)
    assert hash_of(store) == reference
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.zarr", "x.zarr.log.jsonl"]


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    """(cell, estimator) of all that is fitted from now on, one entry a block."""
    found: list[tuple[int, str]] = []
    real = CellRunner.run

    def noting(runner: CellRunner, *args: object, **options: object) -> object:
        block = real(runner, *args, **options)  # type: ignore[arg-type]
        found.extend((runner.cell.index, name) for name in block.estimates)
        return block

    monkeypatch.setattr(tasks, "_runners", type(tasks._runners)())
    monkeypatch.setattr(CellRunner, "run", noting)
    return found


def test_only_what_is_new_is_computed(store: Path, fitted: list[tuple[int, str]]) -> None:
    study, blocks = SMALL, 3  # of each cell
    for step, new in (("estimator", [(0, "sar-direct"), (1, "sar-direct")]), ("cell", [(0, "did"), (0, "sar-direct")]),
                      ("errors", [(0, "did"), (1, "did"), (2, "did")])):  # fmt: skip
        study = STEPS[step](study)
        run(study, store=store)
        assert sorted(fitted) == sorted(new * blocks)
        fitted.clear()
    before, held = hash_of(store), ZarrStore.open(store).read(0, 1).estimates["did"].se
    refuses(
        "estimators of the store would be lost: sar-direct", lambda: run(replace(SMALL, grid=LARGE.grid), store=store)
    )
    assert hash_of(store) == before
    run(replace(study, grid=(("effect", (0.02, 0.0, -0.01)),)), store=store)  # another order alone computes nothing
    assert fitted == []
    np.testing.assert_array_equal(ZarrStore.open(store).sound(2, 1).estimates["did"].se, held)


@pytest.mark.parametrize(("changes", "words"), [
    ({"grid": (("effect", (0.0, 0.5)),)}, "1 of 2 cells of the store would be lost: effect = 0.02"),
    ({"estimators": (TwoWayDID(errors=("hc1",)),)}, r'estimator did.errors\[0\] was "iid", is now "hc1"'),
    ({"estimators": (TwoWayDID(errors=("iid",)), TwoWayDID(errors=("iid",), label="b")), "seed": 4}, "seed was 3"),
    ({"estimators": (TwoWayDID(errors=("iid",), constant=True), SpatialPanel("sar"))}, "did.constant was"),
    ({"grid": (("effect", (0.0, 0.02)), ("rho", (0.0, 0.1)))}, "grid"),
])  # fmt: skip
def test_what_is_no_growth_is_refused_and_leaves_the_store(store: Path, changes: dict[str, object], words: str) -> None:
    before = hash_of(store)
    refuses(words, lambda: run(replace(SMALL, **changes), store=store))
    assert hash_of(store) == before


def test_a_damaged_block_is_computed_whole_and_the_rest_reused(
    reference: str, store: Path, fitted: list[tuple[int, str]]
) -> None:
    chunk = store / "did" / "inference" / "c.1.2.0.0.0"
    chunk.write_bytes(chunk.read_bytes()[:-2])
    run(STEPS["estimator"](SMALL), store=store)
    assert (fitted.count((1, "did")), fitted.count((0, "did"))) == (1, 0)
    run(LARGE, store=store)
    assert hash_of(store) == reference


def test_estimators_never_join_fits_of_other_panels(store: Path) -> None:
    """A design that draws other numbers now, although nothing that is compared says so."""
    found = ZarrStore(store, "a")
    block = found.sound(1, 0)
    found.computed_in(found.known_origins[0])
    found.write(1, 0, replace(block, truth={name: values + 1 for name, values in block.truth.items()}))
    with pytest.raises(BadInput, match="block 0 of cell 1 holds fits of other panels than those that are drawn now"):
        run(STEPS["estimator"](SMALL), store=store)
    assert ZarrStore.open(store).state(1, 0) is BlockState.PARTIAL


GROWS = """
import sys, time
from pathlib import Path
from experiments.run.runner import run
sys.path.insert(0, sys.argv[2])
from test_growth import LARGE
run(LARGE, store=Path(sys.argv[1]), listen=lambda _: time.sleep(0.15))
"""


def test_kills_while_it_grows_lose_nothing(reference: str, store: Path, tmp_path: Path) -> None:
    """kill -9 after half of the blocks that the larger study adds."""
    command = [sys.executable, "-c", GROWS, str(store), str(Path(__file__).parent)]
    path = os.pathsep.join(sys.path)
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.PIPE)
    deadline, done = time.monotonic() + 60, -1
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(BadInput):  # between the two renames nothing has this name
            seen = ZarrStore.open(store)
            done = len(seen.done()) if len(seen.cells) == 3 else -1
        if done >= 6:
            break
        time.sleep(0.02)
    assert process.poll() is None, (process.stderr and process.stderr.read(), done)
    process.kill()
    process.communicate()
    held = ZarrStore.open(store)
    assert (len(held.done()), len(held.cells)) != (12, 3)
    for cell, index in held.done():
        held.sound(cell, index)
    run(LARGE, store=store)
    assert hash_of(store) == reference
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.zarr", "x.zarr.log.jsonl"]


@pytest.mark.parametrize("begun", ["0.12345678.partial", None])
def test_a_mark_that_was_not_renamed_into_place_is_none(reference: str, store: Path, begun: str | None) -> None:
    """A kill after the folder of a mark, or the file beside its place, was made: the block is one that was not run."""
    run(LARGE, store=store)
    mark = store / "block_mark" / "c.2.1.0"
    if begun is None:
        mark.unlink()
    else:
        mark.rename(mark.with_name(begun))
    held = ZarrStore.open(store)
    assert held.state(2, 1) is BlockState.PENDING
    assert (2, 1) not in held.done()
    assert [line for line in verified(store).lines if "does not match" in line] == []
    run(LARGE, store=store)
    assert hash_of(store) == reference


def test_a_mark_that_goes_while_a_store_is_opened_is_none(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process removes it between the list of marks and a look at this one."""
    run(LARGE, store=store)
    mark, real = "block_mark/c.2.1.0", Folder.read_all
    monkeypatch.setattr(Folder, "read_all", lambda tree, names: {**real(tree, names), mark: FileNotFoundError(mark)})
    assert ZarrStore.open(store).state(2, 1) is BlockState.PENDING


@pytest.mark.parametrize("renamed", [1, 2])
def test_a_kill_between_the_two_stores_puts_the_old_one_back(
    reference: str, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renamed: int
) -> None:
    real, count = os.rename, [0]

    def stop(*paths: object) -> None:
        count[0] += 1
        if count[0] == renamed:
            raise KeyboardInterrupt
        real(*paths)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "rename", stop)
    before = hash_of(store)
    with pytest.raises(KeyboardInterrupt):
        run(LARGE, store=store)
    assert store.exists() == (renamed == 1)
    monkeypatch.undo()
    run(SMALL, store=store)
    assert hash_of(store) == before
    run(LARGE, store=store)
    assert hash_of(store) == reference
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.zarr", "x.zarr.log.jsonl"]


def test_the_command_says_what_is_reused_and_what_is_computed(tmp_path: Path) -> None:
    file, store = tmp_path / "s.toml", tmp_path / "x.zarr"
    study = f'{SHORT}[[estimators]]\nkind = "did"\nerrors = ["iid"]\n'
    file.write_text(study)
    command = ("run", file, "--cluster", "serial", "--store", store)
    here(*command)
    before = hash_of(store)
    file.write_text(study.replace('["iid"]', '["iid", "hc1"]') + '[[estimators]]\nkind = "spatial"\nmodel = "sar"\n')
    assert ("the store grows; reused: nothing; computed: sar-direct (new), did (again: its error types or terms "
            "changed)") in words(here(*command, "--dry-run").out)  # fmt: skip
    assert hash_of(store) == before
    here(*command)
    assert list(ZarrStore.open(store).layouts) == ["did", "sar-direct"]
    here("store", "verify", store)


def test_an_estimator_that_asks_for_more_variables_finds_the_same_panels(tmp_path: Path) -> None:
    world = PanelDesign(units=24, periods=6, covariates=(Normal("x", effect=0.5),), mediators=(Linear("m", 0.3, 0.4),))
    study = Study("many", world, (TwoWayDID(regressors=("did",)),), replications=128, block=64, seed=5)
    run(study, store=tmp_path / "x.zarr")
    for name in ("x.zarr", "y.zarr"):
        run(replace(study, estimators=(*study.estimators, Mediation())), store=tmp_path / name)
    assert hash_of(tmp_path / "x.zarr") == hash_of(tmp_path / "y.zarr")
