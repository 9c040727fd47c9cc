"""A crew: clients that fill one store together, each with a part of its own.

Beside the store lies a folder with the part of each client, which is a store, and a folder of claims: a file for each
unit, a few blocks that one client computes, which says whose they are and whether they are done. A claim holds as long
as a run holds that part (`results.store.lock`); there is no other sign of life. Claims save work and guard nothing: a
block that two clients computed has the same bytes in both parts. At the end one client, which holds the store as every
run does, takes in what the parts hold.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from results.store.disk import LINK, PIPE, NotPlain, flush, not_ours, open_plain, read_plain, write_beside
from results.store.lease import EXPIRES, StoreLocked
from results.store.lock import SUFFIX as LOCK
from results.store.lock import check_free
from results.store.zarr_store import ZarrStore
from sim.errors import BadInput

type PlaceOfBlock = tuple[int, int]  # cell, block

SUFFIX = ".parts"  # of the store's name: the folder beside it
CLAIMS = "claims"
MOST_UNITS = 1024  # of a study: so many files at most are looked through
LOOK = 1.0  # seconds between two looks at what others do
MOST_BYTES = 1 << 10  # that are read of a claim


class Crew:
    """The folder of the clients that fill a store together."""

    def __init__(self, store: Path) -> None:
        real = store.resolve()
        self.store, self.folder = store, real.with_name(f"{real.name}{SUFFIX}")

    def parts(self) -> list[Path]:
        """The parts that are there; raises BadInput where the folder is a link, a file or another user's."""
        if not os.path.lexists(self.folder):
            return []
        self._check_own()
        return sorted(self.folder.glob("[!.]*.zarr"))

    def new_part(self) -> Path:
        """Where another client makes its part; raises BadInput as `parts` does."""
        with contextlib.suppress(FileExistsError):
            self.folder.mkdir(0o700, parents=True)
        self._check_own()
        return self.folder / f"{secrets.token_hex(6)}.zarr"

    def _check_own(self) -> None:
        seen = os.lstat(self.folder)
        what = LINK if self.folder.is_symlink() else PIPE if not self.folder.is_dir() else ""
        if what or seen.st_uid != os.geteuid():
            raise not_ours(self.folder, what or f"belongs to user {seen.st_uid}")

    def check_free(self) -> None:
        """Raise StoreLocked while clients of the crew compute."""
        busy = sum(is_used(part) for part in self.parts())
        if busy:
            clients = "a client fills" if busy == 1 else f"{busy} clients fill"
            raise StoreLocked(f"{clients} {self.store} together; say --together to help, or wait for them")

    def clear(self, parts: Iterable[Path]) -> None:
        """Remove parts that the store has taken in and nobody uses, and with the last client the folder."""
        for part in parts:
            if not is_used(part) and part.exists():
                os.rename(part, part.with_name(f".{part.name}.joined"))  # a part that is there is whole
        flush(self.folder)
        for part in parts:
            shutil.rmtree(part.with_name(f".{part.name}.joined"), ignore_errors=True)
            if not part.exists():
                for beside in self.folder.glob(f"{part.name}.*"):
                    beside.unlink(missing_ok=True)
        starting = [lock.with_name(lock.name.removesuffix(LOCK)) for lock in self.folder.glob(f"*{LOCK}")]
        if not self.parts() and not any(map(is_used, starting)):
            shutil.rmtree(self.folder, ignore_errors=True)


def is_used(part: Path) -> bool:
    """Whether a run holds a part."""
    try:
        check_free(part)
    except StoreLocked:
        return True
    return False


class Claims:
    """Which blocks this client computes, and which other clients do.

    places: (cell, block) of every block of the study, as all clients count them. missing: those that the store lacks.
    others: of the missing blocks, how many other clients have done.
    """

    def __init__(
        self, crew: Crew, part: Path, places: Sequence[PlaceOfBlock], missing: Iterable[PlaceOfBlock],
        tell: Callable[[str], None],
    ) -> None:  # fmt: skip
        lacking, size = set(missing), -(-len(places) // MOST_UNITS)
        units = (places[start : start + size] for start in range(0, len(places), size))
        self._units = {
            number: wanted for number, unit in enumerate(units) if (wanted := [p for p in unit if p in lacking])
        }
        self._unit_of = {place: number for number, unit in self._units.items() for place in unit}
        self._crew, self._part, self._tell = crew, part, tell
        self._own: dict[int, set[PlaceOfBlock]] = {}  # units that are on their way here, with what is left of each
        self._done: set[int] = set()
        self._empty: dict[int, float] = {}  # since when a claim says nothing
        self._turn = threading.Lock()
        self.others = 0

    def rounds(self, still: Callable[[], None]) -> Iterator[Iterator[PlaceOfBlock]]:
        """Blocks that nobody else computes, as they are asked for; again where another client is gone, until all are
        done. still: is asked while this one waits."""
        told = False
        while len(self._done) < len(self._units):
            still()
            places = self._free()
            first = next(places, None)
            if first is not None:
                yield itertools.chain([first], places)
            elif len(self._done) < len(self._units):
                if not told:
                    self._tell(
                        "other clients compute the last blocks; this one waits, and takes over from any that ends"
                    )
                told = True
                time.sleep(LOOK)

    def kept(self, place: PlaceOfBlock) -> None:
        """A block of this client is in its part; with the last one of its unit, that is done."""
        unit = self._unit_of[place]
        with self._turn:
            left = self._own[unit]
            left.discard(place)
        if not left:
            self._finish(unit)

    def _finish(self, unit: int) -> None:
        write_claim(self._claim(unit), {"part": self._part.name, "done": True})
        with self._turn:
            del self._own[unit]
            self._done.add(unit)

    def _free(self) -> Iterator[PlaceOfBlock]:
        """Blocks of units that are taken now, one unit after the other."""
        used: dict[str, bool] = {}
        for unit, places in self._units.items():
            with self._turn:
                settled = unit in self._done or unit in self._own
            if settled:
                continue
            left = self._taken(unit, places, used)
            if left is None:
                continue
            with self._turn:
                self._own[unit] = set(left)
                self.others += len(places) - len(left)
            if not left:
                self._finish(unit)
            yield from left

    def _taken(self, unit: int, places: Sequence[PlaceOfBlock], used: dict[str, bool]) -> Sequence[PlaceOfBlock] | None:
        """The blocks of a unit that are to be computed, now that it is this client's; None where it is not.

        Of a client that is gone, what is in its part stays there. used: whether parts are in use, as far as known.
        """
        claim = self._claim(unit)
        if self._make(claim):
            return places
        held = read_claim(claim)
        if held is None:
            since = self._empty.setdefault(unit, time.monotonic())
            if time.monotonic() - since < EXPIRES:
                return None  # it is being made, or its maker was killed that very moment
        elif held.get("done") is True:
            with self._turn:
                self._done.add(unit)
                self.others += len(places)
            return None
        name = str((held or {}).get("part", ""))
        part = self._crew.folder / Path(name).name
        if held is not None and used.setdefault(name, is_used(part)):
            return None
        with contextlib.suppress(FileNotFoundError):  # another client was sooner
            os.rename(claim, aside := claim.with_name(f"{claim.name}.{secrets.token_hex(4)}.left"))
            aside.unlink(missing_ok=True)
        if not self._make(claim):
            return None
        there = done_in(part) if held is not None else set()
        return [place for place in places if place not in there]

    def _claim(self, unit: int) -> Path:
        return self._crew.folder / CLAIMS / str(unit)

    def _make(self, claim: Path) -> bool:
        """Whether this client could make a claim that was not there."""
        claim.parent.mkdir(exist_ok=True)
        try:
            descriptor = open_plain(claim, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        except FileExistsError:
            return False
        with open(descriptor, "wb") as file:
            file.write(json.dumps({"part": self._part.name}).encode())
        return True


def write_claim(claim: Path, said: Mapping[str, Any]) -> None:
    """Say anew of a unit whose it is, whole or not at all."""
    fresh = claim.with_name(f"{claim.name}.{secrets.token_hex(4)}")
    write_beside(fresh, json.dumps(said).encode())
    os.replace(fresh, claim)


def read_claim(claim: Path) -> dict[str, Any] | None:
    """What a claim says; None where it says nothing (yet)."""
    try:
        held = json.loads(read_plain(claim, MOST_BYTES))
    except (FileNotFoundError, NotPlain, ValueError):
        return None
    return held if isinstance(held, dict) else None


def done_in(part: Path) -> set[PlaceOfBlock]:
    """(cell, block) of the blocks that a part holds, by their marks."""
    with contextlib.suppress(BadInput):  # it is gone, or so damaged that nothing of it is known
        return set(ZarrStore.open(part).done())
    return set()
