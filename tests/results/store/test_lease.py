"""The lock of a store in an object store: one holder, taken over when its holder is gone, given back in the end."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import pytest
from holders import most_at_once

from experiments.run.runner import run
from results.store import StoreLocked, lease, locked
from results.store.bucket import ObjectPath
from results.store.zarr_store import ZarrStore
from sim.errors import BadInput
from studies import quick_study


def lock_of(place: ObjectPath) -> ObjectPath:
    return place.with_name("x.zarr.lock")


def held_by(place: ObjectPath, **changes: Any) -> None:
    """A lock of a run on another machine."""
    said = {"host": "elsewhere", "pid": 7, "since": "2026-01-01 10:00:00+01:00", "machine": "elsewhere 1 2",
            "expires": 60.0, "run": "another", "count": 1} | changes  # fmt: skip
    lock_of(place).write_text(json.dumps(said))


def beside(place: ObjectPath) -> list[str]:
    """Everything that a test left."""
    from obstore import list as listed

    from results.store.bucket import client_of

    return [held["path"] for page in listed(client_of(place.parent)) for held in page]


def test_a_lock_that_was_not_renewed_is_taken_over(place: ObjectPath) -> None:
    held_by(place, expires=2.0)
    with pytest.raises(StoreLocked, match=r"takes over in [12] seconds"), locked(place):
        pass
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            with locked(place):
                assert json.loads(lock_of(place).read_text())["pid"] == os.getpid()
            break
        except StoreLocked:
            time.sleep(0.2)
    else:
        pytest.fail("never taken over")
    assert beside(place) == []


def test_a_lock_that_is_renewed_is_not_taken_over(place: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEWED", 0.2)
    monkeypatch.setattr(lease, "EXPIRES", 2.0)
    with locked(place) as hold:
        for _ in range(5):
            time.sleep(0.5)
            with pytest.raises(StoreLocked, match="in use"), locked(place):
                pass
            hold.check()
        assert json.loads(lock_of(place).read_text())["count"] > 5


@pytest.mark.parametrize("machine", ["elsewhere 1 2", None])
def test_a_process_of_another_machine_is_not_looked_for_here(place: ObjectPath, machine: str | None) -> None:
    held_by(place, pid=2**22 + 1, machine=machine)  # no process has this number
    with pytest.raises(StoreLocked, match="in use"), locked(place):
        pass


def test_who_lost_its_lock_writes_no_further_block(place: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    def another_takes_over(step: Any) -> None:
        if step.blocks == 2:
            held_by(place)
            monkeypatch.setattr(lease, "EXPIRES", 0.0)  # as after a sleep: the lock is looked at before each block

    with pytest.raises(StoreLocked, match="was taken over while this run did not answer; held by process 7"):
        run(quick_study(256), store=place, listen=another_takes_over)
    assert len(ZarrStore.open(place).done()) == 2
    assert json.loads(lock_of(place).read_text())["host"] == "elsewhere", "the lock of another is left alone"


def test_an_answer_that_was_lost_is_no_loss_of_the_lock(place: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that succeeded is sent again by obstore, and is then refused because of itself."""
    real = ObjectPath.write_bytes

    def twice(self: ObjectPath, data: bytes, mode: Any = "overwrite") -> dict[str, Any]:
        if b'"run"' in data:
            real(self, data, mode)
        return real(self, data, mode)

    monkeypatch.setattr(ObjectPath, "write_bytes", twice)
    with locked(place) as hold:
        monkeypatch.setattr(lease, "EXPIRES", 0.0)
        hold.check()
        hold.check()
    assert beside(place) == []


def test_an_object_store_without_conditions_is_refused(place: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    real = ObjectPath.write_bytes
    monkeypatch.setattr(ObjectPath, "write_bytes", lambda self, data, mode="overwrite": real(self, data))
    with pytest.raises(BadInput, match="does not support conditional writes"), locked(place):
        pass
    assert beside(place) == []


def test_there_is_never_more_than_one_holder(place: ObjectPath) -> None:
    most, entered = most_at_once(lambda: locked(place), threads=3, tries=15)
    assert most == 1
    assert entered >= 1
    assert beside(place) == []
