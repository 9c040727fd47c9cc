"""The lock beside a store in a folder, one holder through any path; the lease inside it, which is made, renewed, taken
over and lost; what a lost machine leaves; and two runs that miss each other, of which one writes."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
import zarr
from holders import is_refused, most_at_once
from other_host import PAUSED, Host, host
from refusals import refuses

from experiments.run.resume import Resume, read_log
from experiments.run.runner import Progress, run
from results.store import StoreLocked, ZarrStore, lease, lock, locked
from results.store.chunks import shared, token_file
from results.store.files import folder_beside
from results.store.lease import Held, InFolder, Lease
from results.store.lock import check_free
from results.store.merge import pack
from results.store.repair import verified
from results.store.tree import Folder
from sim.errors import BadInput
from studies import quick_study


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEWED", 0.2)
    monkeypatch.setattr(lease, "EXPIRES", 1.2)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes what follows run on another host, whose locks see no other."""

    def go() -> None:
        monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
        monkeypatch.setattr(lock, "_flock", lambda *_: None)

    return go


def file_of(store: Path) -> Path:
    return store / "block_mark" / "lease"


def left_by(store: Path, *, age: float = 100.0, text: str | None = None, **changes: Any) -> Path:
    """The lease of a run on another machine that was not renewed for so long."""
    said = {"host": "elsewhere", "pid": 7, "since": "2026-01-01 10:00:00+01:00", "machine": "elsewhere 1 2",
            "boot": lease._boot(), "expires": 60.0, "run": "another", "count": 1} | changes  # fmt: skip
    file = file_of(store)
    file.write_text(json.dumps(said) if text is None else text, encoding="latin-1")
    os.utime(file, (time.time() - age, time.time() - age))
    return file


def leases(store: Path) -> list[str]:
    return sorted(file.name for file in (store / "block_mark").iterdir() if file.name.startswith("lease"))


def test_it_says_who_holds_it_and_nothing_is_left(store: Path) -> None:
    with locked(store):
        said = json.loads(file_of(store).read_text())
        assert (said["host"], said["pid"], said["boot"]) == (socket.gethostname(), os.getpid(), lease._boot())
        assert (said["machine"].split()[1], leases(store)) == (said["boot"], ["lease"])
    assert leases(store) == []
    with pytest.raises(ZeroDivisionError), locked(store):
        raise ZeroDivisionError
    assert (leases(store), [file.name for file in store.parent.iterdir()]) == ([], ["x.zarr"])


def test_nothing_that_reads_a_store_sees_it(store: Path, made: Path, tmp_path: Path) -> None:
    whole = ZarrStore.open(made).content_hash()
    with locked(store), warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ZarrStore.open(store).content_hash() == whole
        assert verified(store).sound
        assert sorted(name for name, _ in zarr.open_group(store, mode="r").members(max_depth=None))
        xr.open_datatree(store).close()
        xr.open_datatree(store, engine="zarr", consolidated=False).close()
    left_by(store)
    assert pack(store, tmp_path / "x.zip") == len(Folder(made).files()), "that of a run that is gone is not packed"
    assert verified(tmp_path / "x.zip").sound


def test_a_store_that_may_only_be_read_is_packed_once_nobody_uses_it(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As another user's, or on a read-only disk: nothing is written into it or beside it."""
    access, opened, out = os.access, lock.open_beside, tmp_path / "out" / "x.zip"

    def open_beside(file: Path, flags: int) -> int:
        if file.parent == store.parent and flags != os.O_RDONLY:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return opened(file, flags)

    with locked(store):
        monkeypatch.setattr(os, "access", lambda place, mode: Path(place) != store and access(place, mode))
        monkeypatch.setattr(lock, "open_beside", open_beside)
        file_of(store).unlink()  # the lock says it too
        with pytest.raises(StoreLocked, match=f"process {os.getpid()} on"):
            pack(store, out)
    left = store.with_name("x.zarr.lock")  # of a run that was killed
    left.touch()
    assert pack(store, out) == len(Folder(store).files())
    assert (leases(store), left.exists()) == ([], True)
    refuses("choose another place", lambda: pack(store, out.with_name(f"{'x' * 251}.zip")))  # its lock has 5 more


@pytest.mark.parametrize("zone", ["UTC+99", "CET-24:59"])
def test_a_zone_a_day_away_stops_no_run(store: Path, zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        with locked(store):
            assert re.search(r" \d\d:\d\d:\d\d[+-]\d{4}$", json.loads(file_of(store).read_text())["since"])
    finally:
        monkeypatch.undo()
        time.tzset()


def test_the_copy_of_a_store_in_use_is_not_in_use(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: Callable[[], None]
) -> None:
    """A file system that gives a file another number on each host shows such leases too: so it is watched."""
    monkeypatch.setattr(lease, "EXPIRES", 3.0)
    said = list[str]()
    with locked(store) as hold:
        copy = shutil.copytree(store, tmp_path / "y.zarr")
        check_free(copy)
        run(quick_study(192), store=copy, tell=said.append)
        assert ["is watched for 1 s" in line for line in said] == [True]
        elsewhere()
        is_refused(store, "in use")
        hold.check()
    assert verified(copy).sound
    assert verified(store).sound


def test_a_second_run_is_told_who_holds_it_and_when_it_may_take_over(
    store: Path, elsewhere: Callable[[], None]
) -> None:
    left_by(store, age=20.0)
    for attempt in (lambda: run(quick_study(192), store=store), lambda: check_free(store)):
        with pytest.raises(StoreLocked) as caught:
            attempt()
        said = str(caught.value)
        assert f"{store} is in use by another run (process 7 on elsewhere, since 2026-01-01 10:00:00+01:00)" in said
        assert "this command takes over in 40 seconds" in said or "takes over in 39 seconds" in said
        assert said.endswith(f"or at once if you delete {file_of(store)}")
    assert leases(store) == ["lease"], "the probe of the time is gone"
    file_of(store).unlink()
    with locked(store):
        pass


def test_one_that_was_not_renewed_is_watched_and_taken_over_or_free(store: Path) -> None:
    left_by(store, expires=0.9)
    said = list[str]()
    begun = time.monotonic()
    with locked(store, said.append) as hold:
        assert time.monotonic() - begun >= 0.3
        assert json.loads(file_of(store).read_text())["pid"] == os.getpid()
        assert not hold.unclean, "this machine stayed up"
        assert leases(store) == ["lease"]
    (line,) = said
    assert "process 7 on elsewhere" in line
    assert leases(store) == []
    file = left_by(store, expires=3.0)
    threading.Timer(0.2, file.unlink).start()
    with locked(store) as hold:
        hold.check()
        assert json.loads(file.read_text())["pid"] == os.getpid()


def test_one_that_is_renewed_while_it_is_watched_is_in_use(store: Path) -> None:
    """Its times are old, because the clock of its holder is slow."""
    file, ended = left_by(store, expires=3.0), threading.Event()

    def renew() -> None:
        while not ended.wait(0.3):
            os.utime(file, (time.time() - 3600, time.time() - 3600))

    renewing = threading.Thread(target=renew)
    renewing.start()
    try:
        is_refused(store, r"\(process 7 on elsewhere, .*which renews .*block_mark/lease")
    finally:
        ended.set()
        renewing.join()
    assert json.loads(file.read_text())["pid"] == 7


def test_one_of_the_future_counts_from_when_it_is_seen(store: Path) -> None:
    """The clock of its holder was fast, or was set back since: it would be waited for as long as that."""
    file = left_by(store, age=-86400.0)
    is_refused(store, r"\(process 7 on elsewhere, .*takes over in (60|59) seconds")
    assert abs(file.stat().st_mtime - time.time()) < 30
    file = left_by(store, age=-30.0)
    is_refused(store, r"takes over in (90|89) seconds")


def test_it_is_renewed(store: Path, short: None, elsewhere: Callable[[], None]) -> None:
    with locked(store) as hold:
        elsewhere()
        for _ in range(4):
            time.sleep(0.5)
            is_refused(store, "in use by another run")
            hold.check()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host": 1}', "\xff", "[" * 4000, '{"expires": "soon", "pid": -1}'])
def test_one_that_does_not_say_who_holds_it_holds_all_the_same(store: Path, text: str) -> None:
    left_by(store, age=30.0, text=text)
    is_refused(store, r"in use by another run \(process .* on .*takes over in [23]\d seconds")


@pytest.mark.parametrize("pid", [-1, 0, 2**70, True, "1", None])
def test_a_strange_process_is_not_looked_for(store: Path, pid: object) -> None:
    left_by(store, age=0.0, pid=pid, machine=lease._machine())
    is_refused(store, "in use")


@pytest.mark.parametrize("how", ["link", "pipe", "folder"])
def test_what_is_no_file_is_refused_and_left_alone(store: Path, tmp_path: Path, how: str) -> None:
    victim, file = tmp_path / "victim", file_of(store)
    victim.write_text("mine")
    {"link": lambda: file.symlink_to(victim), "pipe": lambda: os.mkfifo(file), "folder": file.mkdir}[how]()
    for attempt in (lambda: run(quick_study(192), store=store), lambda: check_free(store)):
        refuses(f"{file}; .*a run writes into it|a run writes into it.*{file}", attempt)
    assert victim.read_text() == "mine"


def test_who_takes_over_looks_again_at_what_was_renamed(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its holder wakes up at this moment, renews it and goes on: it is put back, and its holder never knows."""
    held = Lease(store, InFolder(store))
    held.take(lambda _: None)
    os.utime(file_of(store), (1.0, 1.0))
    real = os.rename

    def woken(*names: Any, **folders: Any) -> None:
        held.renew()
        real(*names, **folders)

    other = InFolder(store)
    found = other.look()
    assert found is not None
    monkeypatch.setattr(lease.os, "rename", woken)
    assert other.take_over(found, b"{}") is None
    held.check()
    assert leases(store) == ["lease"]
    other.close()
    assert held.end()


def test_one_that_another_run_has_just_made_is_not_made_again(store: Path) -> None:
    first, second = InFolder(store), InFolder(store)
    assert second.look() is None, "so it would make one"
    assert first.make(b"{}") is not None
    text = file_of(store).read_bytes()
    assert second.make(b'{"run": "second"}') is None
    assert file_of(store).read_bytes() == text
    assert first.is_own()
    for place in (first, second):
        place.close()


def test_of_many_that_take_over_one_alone_does(store: Path) -> None:
    for _ in range(10):
        left_by(store)
        places = [InFolder(store) for _ in range(6)]
        found, start = [place.look() for place in places], threading.Barrier(len(places))

        def takes(place: InFolder, seen: Any, start: Any = start) -> bool:
            start.wait()
            return place.take_over(seen, b"{}") is not None

        with ThreadPoolExecutor(len(places)) as pool:
            won = [place for place, took in zip(places, pool.map(takes, places, found), strict=True) if took]
        assert sum(place.is_own() for place in won) <= 1 <= len(won), "who lost it meanwhile sees that"
        for place in places:
            place.close()
        file_of(store).unlink(missing_ok=True)


def test_who_lost_it_writes_no_further_mark(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def another_takes_over(step: Progress) -> None:
        if step.blocks == 6:
            file_of(store).rename(store / "block_mark" / "lease.0.left")
            left_by(store, age=0.0)

    with pytest.raises(
        StoreLocked, match="was taken over while this run did not answer; held by process 7 on elsewhere"
    ):
        run(quick_study(320), store=store, listen=another_takes_over)
    assert len(ZarrStore.open(store).done()) == 6
    assert json.loads(file_of(store).read_text())["pid"] == 7, "the lease of another is left alone"


def test_who_loses_it_while_numbers_are_written_writes_no_mark(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, left = Folder.put, [store]

    def taken(tree: Folder, name: str, data: bytes, *, flushed: bool = False) -> None:
        real(tree, name, data, flushed=flushed)
        if name.startswith("did/fit/c.") and left:
            file_of(left.pop()).unlink()
            left_by(store, age=0.0)

    monkeypatch.setattr(Folder, "put", taken)
    with pytest.raises(StoreLocked, match="was taken over"):
        run(quick_study(320), store=store)
    assert len(ZarrStore.open(store).done()) == 4


@pytest.mark.parametrize("slept", [(31.0, 1.0), (-31.0, 1.0), (1.0, 31.0)])
def test_who_has_slept_renews_before_it_looks(
    store: Path, monkeypatch: pytest.MonkeyPatch, slept: tuple[float, float]
) -> None:
    """So that another run that takes over at this moment sees that it woke up; either clock shows it."""
    monkeypatch.setattr(lease, "_clocks", lambda: (0.0, 0.0))
    with locked(store) as hold:
        os.utime(file_of(store), (1.0, 1.0))
        monkeypatch.setattr(lease, "_clocks", lambda: (1.0, 1.0))
        hold.check()
        assert file_of(store).stat().st_mtime == 1.0
        monkeypatch.setattr(lease, "_clocks", lambda: slept)
        hold.check()
        assert file_of(store).stat().st_mtime > 1.0


@pytest.mark.parametrize("how", ["deleted", "another file", "another folder", "the folder is put back"])
def test_another_lease_or_none_in_its_place_ends_the_run(store: Path, how: str) -> None:
    """As another run makes it, or a tool that puts files back."""
    marks, away = store / "block_mark", store.parent / "away"
    with locked(store) as hold:
        text = file_of(store).read_bytes()
        if how == "deleted":
            file_of(store).unlink()
        elif how == "another file":
            file_of(store).rename(marks / "kept")
            file_of(store).write_bytes(text)
        else:
            marks.rename(away)
            away.rename(marks) if how == "the folder is put back" else shutil.copytree(away, marks)
        said = {"deleted": "held by nobody: its lease was deleted", "the folder is put back": ""}
        with pytest.raises(StoreLocked, match=said.get(how, "was taken over")) if said.get(how, "x") else nullcontext():
            hold.check()
    assert how != "another file" or file_of(store).read_bytes() == text


def test_a_file_system_without_locks_is_used_with_the_lease_alone(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(number: int) -> None:
        fault = OSError(number, os.strerror(number))
        monkeypatch.setattr(lock.fcntl, "flock", lambda *_: (_ for _ in ()).throw(fault))

    for number in (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS):
        fails(number)
        said = list[str]()
        with locked(store, said.append):
            is_refused(store, "in use by another run")
        assert re.fullmatch(f"the file system of {store.parent} has no locks.*", *said)
    fails(errno.EIO)
    is_refused(store, "cannot be written: Input/output error", BadInput)


# A machine that lost power


def garble(store: Path) -> Path:
    """Numbers of a block that a power cut left as zeros, with the size and the time that its mark notes."""
    chunk = sorted((store / "did" / "estimate").glob("c.*"))[1]
    seen = chunk.stat()
    chunk.write_bytes(bytes(seen.st_size))
    os.utime(chunk, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    return chunk


@pytest.mark.parametrize("boot", ["another", "", None])
def test_a_run_whose_machine_may_have_lost_power_has_its_blocks_read(store: Path, made: Path, boot: str | None) -> None:
    garble(store)
    run(quick_study(128), store=store)
    assert not verified(store).sound, "a usual run reads no block that looks as noted"
    left_by(store, expires=0.3, boot=boot)
    said, again = list[str](), list[str]()
    run(quick_study(128), store=store, tell=said.append)
    assert said[-1].endswith("its machine or its disk may have failed: every block is read")
    assert verified(store).sound
    assert (ZarrStore.open(store).content_hash(), leases(store)) == (ZarrStore.open(made).content_hash(), [])
    run(quick_study(128), store=store, tell=again.append)
    assert again == []


def test_a_lease_that_was_cut_is_of_a_machine_that_lost_power(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a store that is made beside an unclean one cleans nothing."""
    monkeypatch.setattr(lease, "EXPIRES", 0.3)
    beside = Path(shutil.copytree(store, tmp_path / "beside"))
    left_by(store, text="")
    with locked(store) as hold:
        assert hold.unclean
        hold.follow(beside)
        assert hold.unclean


@pytest.mark.parametrize("machine", [None, "elsewhere 1 2"])
def test_a_killed_run_on_a_machine_that_stayed_up_has_its_blocks_taken(store: Path, machine: str | None) -> None:
    left_by(store, expires=0.3, machine=machine or lease._machine(), pid=2**22 + 1)
    with locked(store) as hold:
        assert not hold.unclean


def test_it_stays_unclean_until_a_run_has_ended(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run that reads every block may be stopped too: then the next one does."""
    left_by(store, expires=0.3, boot="another")

    def stop(_: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(quick_study(256), store=store, listen=stop)
    assert [name.endswith(".unread") for name in leases(store)] == [True]
    with locked(store) as hold:
        assert hold.unclean, "nobody has read them"
    plans = list[bool]()
    real = Resume.todo
    monkeypatch.setattr(Resume, "todo", lambda plan, *rest: (plans.append(plan.reread), real(plan, *rest))[1])
    run(quick_study(256), store=store)
    run(quick_study(256), store=store)
    assert (plans, leases(store)) == ([True, False], [])


# Stores that take a place


def test_a_store_that_another_run_has_just_made_is_not_overwritten(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, real = tmp_path / "y.zarr", Folder.take_place

    def late(tree: Folder, at: Path) -> None:
        shutil.copytree(store, target)
        real(tree, at)

    monkeypatch.setattr(Folder, "take_place", late)
    with pytest.raises(StoreLocked, match=r"y\.zarr was made by another run meanwhile"):
        run(quick_study(320), store=target)
    assert (len(ZarrStore.open(target).done()), leases(target)) == (4, [])
    assert not list(tmp_path.glob(".y*"))


@pytest.mark.parametrize("when", ["between", "before"])
def test_a_new_store_is_held_before_it_takes_its_place(
    store: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: Callable[[], None], when: str
) -> None:
    """At every step of a growth another run is refused, and takes nothing away."""
    real, tried = os.rename, list[str]()

    def watched(source: Any, target: Any, **folders: Any) -> None:
        if when == "before":
            refused(source)
        real(source, target, **folders)
        if when == "between":
            refused(source)

    def refused(source: Any) -> None:
        if not str(source).endswith(("x.zarr", "store")):
            return
        with monkeypatch.context() as there:
            there.setattr(os, "rename", real)
            there.setattr(socket, "gethostname", lambda: "elsewhere")
            there.setattr(lock, "_flock", lambda *_: None)
            is_refused(store, "in use by another run")
        tried.append(str(source))

    monkeypatch.setattr(os, "rename", watched)
    run(quick_study(128, grid=(("effect", (0.0, 0.02, 0.04)),)), store=store)
    assert len(tried) == 2
    assert verified(store).sound
    assert leases(store) == []


def test_a_run_that_lost_its_lease_does_not_grow(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from results.store import zarr_store

    real = zarr_store.fill_grown

    def slow(*arguments: Any) -> None:
        real(*arguments)
        file_of(store).unlink()
        left_by(store, age=0.0)

    monkeypatch.setattr(zarr_store, "fill_grown", slow)
    with pytest.raises(StoreLocked, match="was taken over"):
        run(quick_study(128, grid=(("effect", (0.0, 0.02, 0.04)),)), store=store)
    assert len(ZarrStore.open(store).cells) == 2
    assert json.loads(file_of(store).read_text())["pid"] == 7


def test_a_store_that_was_set_aside_is_taken_back_by_who_holds_its_lease(store: Path) -> None:
    aside = store.with_name(".x.zarr.replaced")
    store.rename(aside)
    left_by(aside, age=0.0)
    is_refused(store, "in use by another run")
    assert not store.exists()
    os.utime(aside / "block_mark" / "lease", (1.0, 1.0))
    left_by(aside, expires=0.3)
    with locked(store) as hold:
        hold.check()
        assert leases(store) == ["lease"]
    assert not aside.exists()


def test_the_name_of_a_store_is_no_pattern(tmp_path: Path) -> None:
    (other := tmp_path / ".x.zarr.1.partial").mkdir()
    run(quick_study(64), store=(store := tmp_path / "[xy].zarr"))
    (own := tmp_path / f".{store.name}.1.partial").mkdir()
    with locked(store):
        assert other.exists()
        assert not own.exists()


def test_what_another_run_makes_beside_is_swept_by_the_holder_alone(store: Path, tmp_path: Path) -> None:
    for name in (".x.zarr.1.partial", ".y.zarr.1.partial"):
        (tmp_path / name).mkdir()
    left_by(store, age=0.0)
    (tmp_path / ".x.zarr.token").write_text("of its workers")
    is_refused(store)
    with locked(tmp_path / "y.zarr"):
        pass
    assert (tmp_path / ".x.zarr.1.partial").exists()
    assert (tmp_path / ".x.zarr.token").exists()
    assert (tmp_path / ".y.zarr.1.partial").exists(), "perhaps another run makes the store there"
    file_of(store).unlink()
    run(quick_study(64), store=tmp_path / "y.zarr")
    with locked(store):
        pass
    left = sorted(file.name for file in tmp_path.iterdir())
    assert left == ["x.zarr", "y.zarr", "y.zarr.log.jsonl"]


@pytest.mark.parametrize("harm", ["no folder of marks", "a link to one"])
def test_a_store_whose_marks_are_gone_is_held_once_it_is_repaired(store: Path, made: Path, harm: str) -> None:
    shutil.rmtree(store / "block_mark")
    if harm == "a link to one":
        other = shutil.copytree(made / "block_mark", store.parent / "other")
        (store / "block_mark").symlink_to(other)
    held = list[bool]()
    run(quick_study(128), store=store, listen=lambda _: held.append(file_of(store).is_file()))
    assert set(held) == {True}
    assert not (store / "block_mark").is_symlink()
    assert verified(store).sound


def test_a_folder_that_is_no_store_gets_no_lease(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "text").write_text("mine")
    refuses("is no store, and not empty", run, quick_study(64), store=tmp_path / "mine")
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["text"]


# The lock beside a store

HOLD = """
import sys
from pathlib import Path
from results.store import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_folder_that_a_killed_run_made_beside_its_store_goes(tmp_path: Path) -> None:
    (store := tmp_path / "x.zarr").mkdir()
    with folder_beside(store) as made, locked(store):
        assert not made.exists()


def test_a_process_of_another_user_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "kill", lambda *_: (_ for _ in ()).throw(PermissionError))
    assert not Held({"machine": lease._machine(), "pid": 1}, None, 0.0).is_dead


def test_the_token_of_a_run_that_took_over_stays(tmp_path: Path) -> None:
    (tmp_path / "zarr.json").write_text("{}")
    with shared(tmp_path):
        (token := token_file(tmp_path)).write_text("of another")
    assert token.exists()
    token.unlink()


@pytest.mark.parametrize("link", ["store", "folder"])
def test_a_symbolic_link_leads_to_the_same_lock(tmp_path: Path, link: str) -> None:
    (tmp_path / "real" / "x.zarr").mkdir(parents=True)
    (tmp_path / "linked").symlink_to(tmp_path / "real" / ("x.zarr" if link == "store" else "."))
    other = tmp_path / "linked" if link == "store" else tmp_path / "linked" / "x.zarr"
    for one, same in ((tmp_path / "real" / "x.zarr", other), (other, tmp_path / "real" / "x.zarr")):
        with locked(one):
            is_refused(same)


def test_another_process_holds_it_until_it_dies(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path / "x.zarr")]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    is_refused(tmp_path / "x.zarr", "in use")
    holder.kill()
    holder.communicate()
    assert list(tmp_path.iterdir()), "a killed holder leaves its file, and nobody minds"
    with locked(tmp_path / "x.zarr"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_it_says_who_holds_it_and_how_to_take_over(tmp_path: Path) -> None:
    with locked(tmp_path / "x.zarr"):
        said = is_refused(tmp_path / "x.zarr")
    assert f"(process {os.getpid()} on {socket.gethostname()}, since 2" in said
    assert said.endswith(f"remove {tmp_path / 'x.zarr.lock'}")
    assert "\n" not in said


def test_a_lock_that_does_not_say_who_holds_it_holds_all_the_same_until_its_file_is_removed(tmp_path: Path) -> None:
    with locked(tmp_path / "x.zarr"):
        for text in ("", "{", "[]", '{"host": 1}', "\xff"):
            (tmp_path / "x.zarr.lock").write_text(text, encoding="latin-1")
            is_refused(tmp_path / "x.zarr", "in use by another run; wait")
        (tmp_path / "x.zarr.lock").unlink()
        with locked(tmp_path / "x.zarr"):
            assert (tmp_path / "x.zarr.lock").exists()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_whose_file_was_removed_meanwhile_is_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between opening and locking, the holder before us removes the file, and another run makes and locks a new one."""
    file = tmp_path / "x.zarr.lock"
    real, others = fcntl.flock, []

    def slow(descriptor: int, how: int) -> None:
        if not others:
            file.unlink()
            others.append(os.open(file, os.O_RDWR | os.O_CREAT))
            real(others[0], fcntl.LOCK_EX)
        real(descriptor, how)

    monkeypatch.setattr(lock.fcntl, "flock", slow)
    is_refused(tmp_path / "x.zarr", "in use")
    os.close(others[0])


def test_there_is_never_more_than_one_holder(tmp_path: Path) -> None:
    most, entered = most_at_once(lambda: locked(tmp_path / "x.zarr"), threads=4, tries=200)
    assert most == 1
    assert entered >= 1
    assert list(tmp_path.iterdir()) == []


# Two processes

SHORT = ("--expires", "3")
IN_USE = "StoreLocked: {} is in use by another run (process {} on {}, since "


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> str:
    store = tmp_path_factory.mktemp("reference") / "x.zarr"
    run(quick_study(640), store=store)
    return ZarrStore.open(store).content_hash()


@pytest.fixture
def mounts() -> None:
    asked = ["unshare", "-m", "true"]
    if os.geteuid() or not shutil.which(asked[0]) or subprocess.run(asked, capture_output=True, check=False).returncode:
        pytest.skip("MOUNTS ARE NOT TESTED HERE: only root can make them, and this system must have mount namespaces")


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


@pytest.mark.long
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


@pytest.mark.long
@pytest.mark.parametrize("ways", ["parent", "two"])
def test_mounts_of_one_store(tmp_path: Path, reference: str, mounts: None, ways: str) -> None:
    """A bind mount of the folder that holds the store, and two namespaces with paths of their own."""
    real = tmp_path / "real" / "x.zarr"
    run(quick_study(64), store=real)
    mine, yours = tmp_path / "mine", tmp_path / "yours"
    mine.mkdir()
    yours.mkdir()
    first_path, first_mounts, what, path = {
        "parent": (real, [], real.parent, yours / "x.zarr"),
        "two": (mine, [f"mount --bind {real} {mine}"], real, yours),
    }[ways]
    with host(first_path, "--flock", "seen", "--pause", "5", mounts=first_mounts) as first:
        first.until(PAUSED)
        refused_while(first, os.uname().nodename, path, "--flock", "seen", mounts=[f"mount --bind {what} {yours}"])
    assert sound(real, reference)


@pytest.mark.long
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
    return {str(mark): mark.stat().st_mtime_ns for mark in (store / "block_mark").rglob("*")
            if mark.is_file() and not mark.name.startswith("lease")}  # fmt: skip


@pytest.mark.long
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
