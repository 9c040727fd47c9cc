"""Power cuts at some points of recorded work, in two models of a disk; `make faults` cuts hundreds, and real disks."""

from __future__ import annotations

import ctypes
import errno
import itertools
import json
import os
import random
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

import cuts
from power import MODELS, Recorder, Step

from cluster import Executor, Outcome, Serial
from cluster.executor import Careful, Work
from experiments.cli import run_command
from experiments.run.resume import log_of, logged, read_log
from experiments.run.runner import run, schema_of
from results.store import ZarrStore, disk, locked
from results.store.chunks import Shared, shared, write_chunks
from results.store.disk import acknowledged
from results.store.files import PROVENANCE, Marks, body_of, damages
from results.store.merge import pack
from results.store.repair import repair, verified
from results.store.tree import Folder
from studies import SHORT, quick_study

TRIES = 12  # states after one cut


@pytest.mark.long
@pytest.mark.parametrize(("work", "syncfs"), [*((work, True) for work in cuts.WORKS), ("run", False)])
def test_a_power_cut_loses_nothing_that_was_acknowledged(work: str, syncfs: bool, tmp_path: Path) -> None:
    """syncfs: also where files are flushed one by one."""
    found = cuts.cut_in_a_model(work, 8, tmp_path, cuts.reference_of(work, tmp_path), syncfs=syncfs)
    assert found.cuts == 8
    assert not found.lost
    assert found.acknowledged or syncfs


def recorded(place: Path, work: Callable[[], object]) -> Recorder:
    recorder = Recorder(place)
    with recorder.recording():
        work()
    return recorder


def states(recorder: Recorder, folder: Path, cut: int | None = None, tries: int = TRIES) -> Iterator[Path]:
    """States that a cut may leave, in both models."""
    chance = random.Random(3)
    for number in range(tries):
        into = folder / f"state-{number}"
        into.mkdir(parents=True)
        recorder.leave(len(recorder.steps) if cut is None else cut, MODELS[number % 2], chance, into)
        yield into


@pytest.mark.parametrize("flushes", [(), ("file",), ("folder",), ("file", "folder")])
def test_the_model_loses_what_was_not_flushed(flushes: tuple[str, ...], tmp_path: Path) -> None:
    (place := tmp_path / "disk").mkdir()
    (place / "x").write_bytes(b"old")
    recorder = Recorder(place)
    with recorder.recording():
        with open(place / "y", "wb") as file:
            file.write(b"newer")
            file.flush()
            if "file" in flushes:
                os.fsync(file.fileno())
        os.rename(place / "y", place / "x")
        if "folder" in flushes:
            disk.flush_names(place)
    found = {(into / "x").read_bytes() for into in states(recorder, tmp_path)}
    assert b"newer" in found
    assert (b"old" in found) == ("folder" not in flushes)
    assert ("file" in flushes) == (found <= {b"old", b"newer"})


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "disk").mkdir()
    run(quick_study(128), store=tmp_path / "disk" / "x.zarr")
    return tmp_path / "disk" / "x.zarr"


WRITTEN: dict[str, tuple[Callable[[ZarrStore], None], Callable[[ZarrStore], bool]]] = {
    "a note": (lambda store: store.note("measures", ["mine"]), lambda store: store.noted("measures") == ["mine"]),
    "a mark in the place of another": (lambda store: store.renew_stamp(0, 1), lambda store: store.intact(0, 1)),
}


@pytest.mark.parametrize("what", WRITTEN)
def test_what_stands_beside_the_blocks_is_there_when_it_was_written(what: str, store: Path, tmp_path: Path) -> None:
    write, is_there = WRITTEN[what]
    recorder = recorded(store.parent, lambda: write(ZarrStore(store, "a")))
    for into in states(recorder, tmp_path):
        assert is_there(ZarrStore.open(into / "x.zarr"))


def test_a_worker_elsewhere_flushes_its_block_before_it_answers(store: Path, tmp_path: Path) -> None:
    block, digest = ZarrStore.open(store).sound(1, 1), ZarrStore.open(store).digest(1, 1)
    written = [*store.glob("did/*/c.1.1.*"), store / "truth" / "c.1.1.0"]
    assert len(written) == 4
    for path in written:
        os.rename(path, tmp_path / f"{path.parent.name}-gone")
    with shared(store, elsewhere=True) as place:
        recorder = Recorder(store.parent)
        with recorder.recording():
            write_chunks(Shared(place.path, place.token, place.root, elsewhere=True), 1, 1, block)
    assert not any(step.what == "flush" and step.node is None for step in recorder.steps), "each file and folder"
    for into in states(recorder, tmp_path):
        there = ZarrStore.open(into / "x.zarr")
        assert there.intact(1, 1)
        assert there.digest(1, 1) == digest


def test_a_new_store_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    new = tmp_path / "disk" / "x.zarr"
    recorder = recorded(new.parent, lambda: ZarrStore.create(new, schema_of(quick_study(128))))
    ends = [number for number, step in enumerate(recorder.steps, 1) if step.target and step.target[1] == "x.zarr"]
    made = 0
    for cut in (*ends, len(recorder.steps)):
        for into in states(recorder, tmp_path / str(cut), cut):
            if (into / "x.zarr").exists():
                made += 1
                assert not damages(into / "x.zarr")
    assert made > TRIES, "at the end it is always there"


def test_a_store_is_there_whole_or_not_at_all(store: Path, tmp_path: Path) -> None:
    """A smaller one before, a larger one after: at no point of growth are both missing."""
    larger = quick_study(128, grid=(("effect", (-0.01, 0.0, 0.02)),))
    recorder = recorded(store.parent, lambda: ZarrStore.open_or_create(store, schema_of(larger)))
    last = len(recorder.steps)
    gone = [number for number, step in enumerate(recorder.steps, 1) if step.source and step.source[1] == store.name]
    for cut in (*range(gone[0] - 1, gone[0] + 6), last - 30, last - 1, last):
        for into in states(recorder, tmp_path / str(cut), cut, 6):
            with locked(into / store.name):
                found = ZarrStore.open(into / store.name)
            assert sum(found.sound_parts(*place) is not None for place in found.places()) == 4, cut
            assert not damages(found.path)


def test_a_store_that_grows_has_one_size(store: Path, tmp_path: Path) -> None:
    """Until its root says otherwise it is taken back to the old one, and then all is there."""
    larger = schema_of(quick_study(256))
    recorder = recorded(store.parent, lambda: ZarrStore.open_or_create(store, larger))
    sizes = set[int]()
    for cut in range(len(recorder.steps) - 8, len(recorder.steps) + 1):
        for into in states(recorder, tmp_path / str(cut), cut, 6):
            root = json.loads((into / store.name / "zarr.json").read_text())["attributes"]["replications"]
            sizes.add(root)
            assert root == 128 or not damages(into / store.name)
            repair(into / store.name, larger)
            found = ZarrStore.open(into / store.name)
            assert found.replications == root
            assert all(found.intact(*place) for place in found.places() if place[1] < 2)
    assert sizes == {128, 256}


def test_a_zip_is_there_whole_or_not_at_all(store: Path, tmp_path: Path) -> None:
    recorder = recorded(store.parent, lambda: pack(store, store.parent / "x.zip"))
    made = 0
    for cut in range(1, len(recorder.steps) + 1):
        for into in states(recorder, tmp_path / str(cut), cut, 2):
            if (into / "x.zip").exists():
                made += 1
                assert verified(into / "x.zip").sound
            shutil.rmtree(into)
    assert made
    for into in states(recorder, tmp_path / "end"):
        assert (into / "x.zip").exists(), "the command has ended"


def test_a_block_written_during_a_flush_waits_for_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told, seen = list[int](), list[list[int]]()

    def flush(*_: object) -> None:
        seen.append(list(told))
        if len(seen) == 1:
            written(number=2)

    monkeypatch.setattr(disk, "_flush", flush)
    with acknowledged(tmp_path, lambda number: told.append(number)) as written:
        written(number=1)
    assert (seen, told) == ([[]], [1]), "a block that comes during the last flush belongs to no run"
    monkeypatch.setattr(disk, "LEAST_PAUSE", 0.0)
    told.clear(), seen.clear()
    with acknowledged(tmp_path, lambda number: told.append(number)) as written:
        written(number=1)
        while len(told) < 2:
            time.sleep(0.001)
    assert (seen, told) == ([[], [1]], [1, 2])


def test_a_failed_flush_is_said_to_the_next_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = threading.Event()

    def failing(*_: object) -> None:
        failed.set()
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(disk, "_flush", failing)
    monkeypatch.setattr(disk, "LEAST_PAUSE", 0.0)
    told, blocks = list[int](), list[int]()

    def work(more: bool) -> None:
        with acknowledged(tmp_path, lambda number: told.append(number)) as written:
            written(number=1)
            assert failed.wait(10)
            deadline = time.monotonic() + 10
            while more and time.monotonic() < deadline:
                written(number=2)
                blocks.append(2)
                time.sleep(0.001)

    for more in (True, False):
        failed.clear()
        begin = time.monotonic()
        with pytest.raises(OSError, match="Input/output"):
            work(more)
        assert time.monotonic() < begin + 5, "the run ends at its next block"
    assert not told


def test_an_error_of_the_system_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_: int) -> int:
        ctypes.set_errno(errno.EIO)
        return -1

    monkeypatch.setattr(disk, "SYNCFS", failing)
    with pytest.raises(OSError, match="Input/output"):
        disk.flush(tmp_path)


class Elsewhere:
    """Workers on other machines, as a run sees them."""

    workers = 1
    address = "tcp://elsewhere"

    def run(self, function: Work, jobs: Iterable[Any], careful: Careful | None = None) -> Iterator[Outcome]:
        return Serial().run(function, jobs, careful)

    def close(self) -> None:
        """Nothing was started."""


@pytest.mark.parametrize(("where", "count"), [(Serial(), 0), (Elsewhere(), 4)], ids=["here", "elsewhere"])
def test_workers_flush_where_this_machine_cannot(
    where: Executor, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed = list[Path]()
    monkeypatch.setattr("results.store.chunks.flush_files", lambda root, names: flushed.append(root))
    run(quick_study(128), store=tmp_path / "x.zarr", executor=where, writes="workers")
    assert flushed == count * [tmp_path / "x.zarr"]


def test_lost_provenance_never_gives_old_blocks_to_a_new_environment(store: Path, tmp_path: Path) -> None:
    (store / PROVENANCE).write_bytes(b"")
    recorder = recorded(store.parent, lambda: repair(store, schema_of(quick_study(128))))
    whole = 0
    names = [
        number
        for number, step in enumerate(recorder.steps, 1)
        if step.target and path_of(step).startswith("x.zarr/block_mark/")
    ]
    assert len(names) == 8, "four marks, each written beside its place and renamed"
    for cut in (*names, *range(names[-1] + 1, len(recorder.steps) + 1, 2)):
        for into in states(recorder, tmp_path / str(cut), cut, 2):
            path = into / "x.zarr"
            if any(damage.file == PROVENANCE for damage in damages(path)):
                continue
            whole += 1
            schema = schema_of(quick_study(128))
            for cell, index, file in Folder(path).marks():
                body = body_of(Folder(path).read(file), len(schema.parts), schema.fingerprint, cell, index)
                assert not Marks.of([body], len(schema.parts)).origins.any(), (cell, index)
    assert whole


def path_of(step: Step) -> str:
    """Where a step puts a file, from the top of what is recorded."""
    assert step.target is not None
    folder, path = step.target
    while folder.at is not None:
        path, folder = f"{folder.at[1]}/{path}", folder.at[0]
    return path


def test_a_block_is_logged_as_committed_after_a_flush(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen = tmp_path / "x.zarr", list[tuple[int, int]]()

    def flush(_: int) -> int:
        there = len(ZarrStore.open(path).done()) if path.exists() else 0
        seen.append((there, sum(event["event"] == "commit" for event in read_log(path))))
        return 0

    monkeypatch.setattr(disk, "SYNCFS", flush)
    monkeypatch.setattr(disk, "LEAST_PAUSE", 0.0)
    run(quick_study(640), store=path)
    assert all(commits <= before[0] for before, (_, commits) in itertools.pairwise(seen))
    assert seen[-1][0] == 20, "the last flush comes after the last block"
    assert seen[-1][1] < 20
    assert [event["event"] for event in read_log(path)][-1] == "end"
    assert sum(event["event"] == "commit" for event in read_log(path)) == 20


@pytest.mark.parametrize(("number", "code", "at"), [(errno.EIO, 2, 0), (errno.ENOSPC, 3, 1)])
def test_a_disk_that_fails_to_flush_ends_the_run_in_one_line(
    number: int, code: int, at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """at: the first flush of blocks, or a later one; those that were flushed before are committed."""
    monkeypatch.chdir(tmp_path)
    study = SHORT.replace("replications = 128", "replications = 1280") + '[[estimators]]\nkind = "did"\n'
    Path("study.toml").write_text(study)
    plain, calls = disk._flush, list[int]()

    def failing(descriptor: int, place: Path, since: float) -> None:
        if place.suffix == ".zarr":  # not the new store, which is flushed before it is in its place
            calls.append(len(ZarrStore.open(place).done()))
            if len(calls) > at:
                raise OSError(number, os.strerror(number), str(place))
        plain(descriptor, place, since)

    monkeypatch.setattr(disk, "_flush", failing)
    monkeypatch.setattr(disk, "LEAST_PAUSE", 0.0)
    assert run_command(["run", "study.toml", "--cluster", "serial", "--store", "x.zarr", "-q"]) == code
    said = capsys.readouterr().err.strip()
    assert said.count("\n") == 0
    assert os.strerror(number) in said
    assert sum(event["event"] == "commit" for event in read_log(tmp_path / "x.zarr")) <= sum(calls[:at])
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert run_command(["run", "study.toml", "--cluster", "serial", "--store", "x.zarr"]) == 0
    assert "every block is read" in " ".join("".join(capsys.readouterr()).split())  # nobody has to say --reread
    assert run_command(["run", "study.toml", "--cluster", "serial", "--store", "x.zarr"]) == 0
    assert "every block is read" not in " ".join("".join(capsys.readouterr()).split())


def test_flushes_take_a_small_part_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed = list[float]()

    def slow(*_: object) -> None:
        flushed.append(time.monotonic())
        time.sleep(0.03)

    monkeypatch.setattr(disk, "_flush", slow)
    monkeypatch.setattr(disk, "LEAST_PAUSE", 0.01)
    begin, told = time.monotonic(), list[int]()
    with acknowledged(tmp_path, lambda number: told.append(number)) as written:
        number = 0
        while time.monotonic() < begin + 1.0:
            written(number=number)
            number += 1
            time.sleep(0.01)
        assert len(flushed) == 1, "the next comes after 50 times 0.03 s"
        assert 0 < len(told) < number
    assert len(flushed) == 2
    assert told == list(range(number))


@pytest.mark.parametrize("end", [KeyboardInterrupt, OSError])
def test_a_run_that_ends_early_commits_what_it_wrote(end: type[BaseException], tmp_path: Path) -> None:
    told = list[int]()

    def work() -> None:
        with acknowledged(tmp_path, lambda number: told.append(number)) as written:
            written(number=1)
            raise end

    with pytest.raises(end):
        work()
    assert told == [1]


@pytest.mark.parametrize("left", [b'{"event": "commit", "ce', b"\0\0\0\0", b"\xff\xfe{"])
def test_a_log_goes_on_behind_what_a_power_cut_left_of_it(left: bytes, tmp_path: Path) -> None:
    store = tmp_path / "x.zarr"
    with logged(store):
        pass
    with open(log_of(store), "ab") as file:
        file.write(left)
    with logged(store):
        pass
    assert [event["event"] for event in read_log(store)] == ["start", "end", "start", "end"]


def test_files_that_were_not_written_since_are_not_flushed_again(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "SYNCFS", None)
    flushed = list[str]()
    plain: Callable[[Path, int], None] = disk._flush_one
    monkeypatch.setattr(disk, "_flush_one", lambda path, flags: (flushed.append(path.name), plain(path, flags)))
    os.utime(store / "zarr.json")
    for file in store.rglob("*"):
        assert file.stat().st_ctime > time.time() - 60
    with mock.patch.object(disk, "CLOCK", 0.0):
        time.sleep(0.05)
        (store / "new").write_text("x")
        now = (store / "new").stat().st_ctime
        descriptor = os.open(store, disk.FOLDER)
        disk._flush(descriptor, store, now)
        os.close(descriptor)
    assert flushed == ["new", "x.zarr"]
