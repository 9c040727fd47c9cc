"""The lock of a store: one holder, through any path, and nothing left behind."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from holders import most_at_once

from results.store import StoreLocked, lease, locked
from results.store import lock as module
from results.store.chunks import shared, token_file
from results.store.files import folder_beside
from results.store.lease import Held

HOLD = """
import sys
from pathlib import Path
from results.store import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_no_file_is_left_when_it_is_released(tmp_path: Path) -> None:
    with locked(tmp_path / "x.zarr"):
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "x.zarr"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_a_killed_run_made_beside_its_store_goes(tmp_path: Path) -> None:
    (store := tmp_path / "x.zarr").mkdir()
    with folder_beside(store) as made, locked(store):
        assert not made.exists()


def test_a_process_of_another_user_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", kill)
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
    with locked(tmp_path / "real" / "x.zarr"), pytest.raises(StoreLocked, match="in use"), locked(other):
        pass
    with locked(other), pytest.raises(StoreLocked, match="in use"), locked(tmp_path / "real" / "x.zarr"):
        pass


def test_another_process_holds_it_until_it_dies(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path / "x.zarr")]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(StoreLocked, match="in use"), locked(tmp_path / "x.zarr"):
        pass
    holder.kill()
    holder.communicate()
    assert list(tmp_path.iterdir()), "a killed holder leaves its file, and nobody minds"
    with locked(tmp_path / "x.zarr"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_it_says_who_holds_it_and_how_to_take_over(tmp_path: Path) -> None:
    with locked(tmp_path / "x.zarr"), pytest.raises(StoreLocked) as caught, locked(tmp_path / "x.zarr"):
        pass
    said = str(caught.value)
    assert f"(process {os.getpid()} on {socket.gethostname()}, since 2" in said
    assert said.endswith(f"remove {tmp_path / 'x.zarr.lock'}")
    assert "\n" not in said


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host": 1}', "\xff"])
def test_a_lock_that_does_not_say_who_holds_it_holds_all_the_same(tmp_path: Path, text: str) -> None:
    with locked(tmp_path / "x.zarr"):
        (tmp_path / "x.zarr.lock").write_text(text, encoding="latin-1")
        with pytest.raises(StoreLocked, match="in use by another run; wait"), locked(tmp_path / "x.zarr"):
            pass


def test_taking_over_is_removing_the_file(tmp_path: Path) -> None:
    with locked(tmp_path / "x.zarr"):
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

    monkeypatch.setattr(module.fcntl, "flock", slow)
    with pytest.raises(StoreLocked, match="in use"), locked(tmp_path / "x.zarr"):
        pass
    os.close(others[0])


def test_there_is_never_more_than_one_holder(tmp_path: Path) -> None:
    most, entered = most_at_once(lambda: locked(tmp_path / "x.zarr"), threads=4, tries=200)
    assert most == 1
    assert entered >= 1
    assert list(tmp_path.iterdir()) == []
