"""The one invariant: what a log calls committed is in the final store with that digest, and that is the serial one."""

from __future__ import annotations

from pathlib import Path

from experiments.run.resume import read_log
from results.store import ZarrStore


def committed(store: Path) -> dict[tuple[int, int], str]:
    """The digest of every block that the log of a store calls committed; raises AssertionError for two of one block."""
    found: dict[tuple[int, int], str] = {}
    for event in read_log(store):
        if event["event"] == "commit":
            place = event["cell"], event["block"]
            assert found.setdefault(place, event["digest"]) == event["digest"], f"two digests of block {place}"
    return found


def lost(store: Path) -> list[tuple[int, int]]:
    """Blocks that the log calls committed and the store, as it is now, does not hold with that digest."""
    held = ZarrStore.open(store)
    return [place for place, digest in committed(store).items()
            if not (held.intact(*place) and held.digest(*place) == digest)]  # fmt: skip


def endings(store: Path) -> list[str]:
    """How each run into a store ended, in order: "killed" where the log does not say."""
    found: list[str] = []
    running = False
    for event in read_log(store):
        if event["event"] == "start":
            found += ["killed"] if running else []
            running = True
        elif event["event"] == "end":
            found.append(str(event["how"]))
            running = False
    return found + ["killed"] * running
