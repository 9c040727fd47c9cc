"""A run whose store is removed, moved, replaced or overwritten meanwhile ends in one line, and harms nothing else."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from refusals import refuses

from cluster import Executor
from experiments.cli import run_command
from experiments.run.runner import Progress, run
from results.store import StoreGone, ZarrStore, lease, present
from results.store.chunks import ChunkArrays, shared, write_chunks
from results.store.disk import folder_inside
from results.store.repair import verified
from results.store.tree import Folder
from studies import quick_study

type Harm = Callable[[Path], None]


def remove(store: Path) -> None:
    shutil.rmtree(store, ignore_errors=True)


def remove_bit_by_bit(store: Path) -> None:
    """As `rm -r` does: the lease goes before the root's metadata."""
    (store / "block_mark" / "lease").unlink()
    threading.Timer(0.3, remove, [store]).start()


def move(store: Path) -> None:
    os.rename(store, store.with_name("moved.zarr"))


def replace(store: Path) -> None:
    """By a copy, which has all marks of this moment and another folder."""
    put_in_place(shutil.copytree(store, store.with_name("copy.zarr")), store)


def put_another(store: Path) -> None:
    put_in_place(shutil.copytree(store.with_name("other.zarr"), store.with_name("copy.zarr")), store)


def put_in_place(copy: Path, store: Path) -> None:
    """At once: into a folder that is copied bit by bit a worker would write, and the copy itself would fail."""
    move(store)
    os.rename(copy, store)


def overwrite(store: Path) -> None:
    for inner in store.iterdir():
        shutil.rmtree(inner) if inner.is_dir() else inner.unlink()
    shutil.copytree(store.with_name("other.zarr"), store, dirs_exist_ok=True)


def empty(store: Path) -> None:
    for inner in store.iterdir():
        shutil.rmtree(inner, ignore_errors=True) if inner.is_dir() else inner.unlink()


HARMS: dict[str, tuple[Harm, str]] = {
    "removed": (remove, r"x\.zarr was removed while this run wrote into it$"),
    "removed bit by bit": (remove_bit_by_bit, r"x\.zarr was (removed while this run wrote into it|emptied: .*)$"),
    "moved": (move, r"x\.zarr was moved to \S+/moved\.zarr while .*is kept, and --store \S+/moved\.zarr resumes it$"),
    "replaced": (replace, r"x\.zarr is another folder than the one .* was moved to \S+/moved\.zarr"),
    "another": (put_another, r"x\.zarr is another folder than the one .* was moved to \S+/moved\.zarr"),
    "overwritten": (overwrite, r"x\.zarr was overwritten: its zarr\.json is not the one that this run found$"),
    "emptied": (empty, r"x\.zarr was emptied: its zarr\.json is gone$"),
}


def harmed_after(count: int, store: Path, harm: Harm) -> Callable[[Progress], None]:
    """A listener that does harm once so many blocks are there."""
    left = [True]

    def listen(step: Progress) -> None:
        if step.blocks >= count and left:
            left.clear()
            harm(store)

    return listen


@pytest.fixture(scope="module")
def another(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    run(quick_study(320, seed=12), store=(store := tmp_path_factory.mktemp("another") / "x.zarr"))
    return store, ZarrStore.open(store).content_hash()


@pytest.fixture
def hash_of_other(another: tuple[Path, str], tmp_path: Path) -> str:
    shutil.copytree(another[0], tmp_path / "other.zarr")
    return another[1]


def is_other(store: Path, hash_of_other: str) -> bool:
    return ZarrStore.open(store).content_hash() == hash_of_other and verified(store).sound


@pytest.mark.parametrize("how", HARMS)
def test_a_run_notices_before_its_next_mark(how: str, tmp_path: Path, hash_of_other: str) -> None:
    (harm, words), store, moved, seen = HARMS[how], tmp_path / "x.zarr", tmp_path / "moved.zarr", list[Progress]()
    listen = harmed_after(4, store, harm)
    with pytest.raises(StoreGone, match=words) as gone:
        run(quick_study(640), store=store, listen=lambda step: (seen.append(step), listen(step))[1])
    assert "\n" not in str(gone.value)
    assert seen[-1].blocks == 4, "no block was acknowledged after the harm"
    if how == "removed":
        assert not store.exists(), "nothing is written where there is no store any more"
    if moved.exists():
        assert len(ZarrStore.open(moved).done()) == 4
        run(quick_study(640), store=moved)
        assert verified(moved).sound
    if how in ("another", "overwritten"):
        assert is_other(store, hash_of_other), "the other study's store is as it was"


def test_workers_write_into_no_other_store(
    tmp_path: Path, hash_of_other: str, local_workers: Callable[[int], Executor]
) -> None:
    (harm, words), store = HARMS["another"], tmp_path / "x.zarr"
    with pytest.raises(StoreGone, match=words):
        run(quick_study(3200), store=store, executor=local_workers(2), listen=harmed_after(4, store, harm))
    time.sleep(0.5)  # of workers that still write
    assert is_other(store, hash_of_other)


def test_a_worker_leaves_a_store_of_another_study_alone(tmp_path: Path, hash_of_other: str) -> None:
    run(quick_study(128), store=(store := tmp_path / "x.zarr"))
    block = ZarrStore.open(store).sound(0, 0)
    with shared(store) as place:
        write_chunks(place, 0, 0, block)
        move(store)
        refuses("a worker does not see the store", lambda: write_chunks(place, 0, 0, block))
        assert not store.exists()
        shutil.copytree(tmp_path / "other.zarr", store)
        refuses("a worker does not see the store", lambda: write_chunks(place, 0, 0, block))
    assert is_other(store, hash_of_other)


@pytest.mark.parametrize("who", ["this process", "worker"])
def test_what_is_written_after_the_last_look_goes_into_no_other_store(
    who: str, tmp_path: Path, hash_of_other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The place is given to another store between the look and the write."""
    store, write, put = tmp_path / "x.zarr", ChunkArrays.write, list[object]()
    run(quick_study(128), store=store)
    block = ZarrStore.open(store).sound(0, 0)

    def late(arrays: ChunkArrays, *given: Any) -> None:
        if not put:
            put.append(put_another(store))
        write(arrays, *given)

    monkeypatch.setattr(ChunkArrays, "write", late)
    if who == "worker":
        with shared(store) as place:
            write_chunks(place, 0, 0, block)
    else:
        with pytest.raises(StoreGone, match="is another folder"):
            run(quick_study(320), store=store)
    assert put
    assert is_other(store, hash_of_other)
    monkeypatch.setattr(ChunkArrays, "write", write)
    run(quick_study(320), store=tmp_path / "moved.zarr")
    assert verified(tmp_path / "moved.zarr").sound


def test_a_place_that_is_given_away_before_a_worker_holds_it_is_left_alone(
    tmp_path: Path, hash_of_other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, held = tmp_path / "x.zarr", Folder.held
    run(quick_study(128), store=store)
    block = ZarrStore.open(store).sound(0, 0)
    with shared(store) as place:
        monkeypatch.setattr(Folder, "held", lambda folder: (put_another(store), held(folder))[1])
        refuses("a worker does not see the store", lambda: write_chunks(place, 0, 0, block))
    assert is_other(store, hash_of_other)


def test_a_write_makes_no_folder_of_a_store_that_is_gone(tmp_path: Path) -> None:
    tree = Folder(tmp_path / "x.zarr")
    with pytest.raises(FileNotFoundError):
        tree.put("did/fit/c.0.0", b"numbers")
    assert not tree.path.exists()
    with pytest.raises(FileNotFoundError), folder_inside(tree.path, ["did"], make=True):
        pass  # a store that goes after it was looked for: nothing is made above the folders of arrays
    assert not tree.path.exists()
    tree.path.mkdir()
    tree.put("did/fit/c.0.0", b"numbers")
    assert tree.read("did/fit/c.0.0") == b"numbers"


def test_the_last_look_is_after_the_last_block(tmp_path: Path) -> None:
    store, study = tmp_path / "x.zarr", quick_study(128)
    with pytest.raises(StoreGone, match="was removed"):
        run(study, store=store, listen=harmed_after(4, store, remove))


def test_a_store_that_goes_is_one_line_and_no_exit_code_of_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from experiments.run.progress import Lines

    store, told = tmp_path / "x.zarr", Lines.step
    harm = harmed_after(4, store, move)
    monkeypatch.setattr(Lines, "step", lambda self, step: (told(self, step), harm(step))[0])
    (tmp_path / "study.toml").write_text(
        'replications = 640\nblock = 64\n[design]\nkind = "paper"\ncontrols = "none"\n[[estimators]]\nkind = "did"\n'
    )
    command = ["run", str(tmp_path / "study.toml"), "--cluster", "serial", "--store", str(store)]
    assert run_command(command) == 3
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert re.search(r"panelproof: .*x\.zarr was moved to .*moved\.zarr", line)


def test_a_store_that_may_no_longer_be_entered_is_not_called_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(quick_study(128), store=(store := tmp_path / "x.zarr"))
    stat = os.stat

    def refused(place: Any, *, dir_fd: int | None = None, **how: Any) -> os.stat_result:
        if dir_fd is not None:  # as after `chmod 000`, of whoever is not root
            raise PermissionError(errno.EACCES, "Permission denied")
        return stat(place, **how)

    with present(store) as check:
        monkeypatch.setattr(os, "stat", refused)
        with pytest.raises(StoreGone, match=r"x\.zarr cannot be reached: Permission denied$"):
            check()


def test_what_a_killed_run_was_writing_goes_with_the_next_run(tmp_path: Path) -> None:
    run(quick_study(128), store=(store := tmp_path / "x.zarr"))
    halves = [store / "zarr.json.0a1b2c3d.partial", store / "did" / "fit" / "c.0.0.0.0a1b2c3d.partial"]
    for half in halves:
        half.write_bytes(b"half")
    (killed := subprocess.Popen(["true"])).wait()
    said = {"machine": lease._machine(), "boot": lease._boot(), "pid": killed.pid}
    (store / "block_mark" / "lease").write_text(json.dumps(said))
    run(quick_study(128), store=store)
    assert [half for half in halves if half.exists()] == []
    assert verified(store).sound


def test_equal_metadata_written_again_and_a_moved_link_are_told_apart(tmp_path: Path) -> None:
    store, link = tmp_path / "x.zarr", tmp_path / "link.zarr"
    run(quick_study(128), store=store)
    link.symlink_to(store)
    with present(link) as check:
        root = store / "zarr.json"
        text = root.read_bytes()
        root.unlink()
        root.write_bytes(text)  # as a backup does that puts files back
        check()
        check()
        shutil.copytree(store, tmp_path / "y.zarr")
        link.unlink()
        link.symlink_to(tmp_path / "y.zarr")
        with pytest.raises(StoreGone, match="is another folder"):
            check()
