"""Several stores of one study joined into one: its shards, or the parts of a crew.

A crew is clients that fill one store together, each with a part of its own. Beside the store lies a folder with the
part of each client, which is a store, and a folder of tickets: a file for each lot, a few blocks that one client
computes, which says whose they are and whether they are done. A ticket holds as long as a run holds that part
(`results.store.lock`); there is no other sign of life. Tickets save work and guard nothing: a block that two clients
computed has the same bytes in both parts. At the end one client, which holds the store as every run does, takes in what
the parts hold.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import secrets
import shutil
import threading
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from results.store.bucket import ObjectPath, StorePath, refused
from results.store.disk import (
    STALE,
    check_own_folder,
    flush,
    flush_names,
    open_plain,
    read_plain,
    unwritable,
    write_beside,
)
from results.store.files import PACKED_SUFFIX, check_place, folder_beside, is_packed, no_store, tree_of
from results.store.lease import EXPIRES, StoreLocked, is_lease
from results.store.lock import SUFFIX as LOCK
from results.store.lock import check_free, locked, sweep
from results.store.skeleton import STORE_FORMAT, check_identity
from results.store.store import BlockState, Store, numbers_apart
from results.store.zarr_store import ZarrStore, copy_block, copy_environments
from sim.errors import BadInput, Problem, amount, bad

OF_NUMBERS = ("numbers", "probe")  # facts of an environment, which have words of their own
MOST_LINES = 5  # about overlapping blocks
PlaceOfBlock = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Merged:
    """What was joined: blocks taken of each store, blocks that several held with equal bytes, and all that are there.

    done, total: blocks of the merged store that are done, and that the study has.
    """

    taken: tuple[int, ...]
    shared: int
    done: int
    total: int

    @property
    def sentence(self) -> str:
        """What came of it, in one line."""
        text = f"{self.done:,} of {self.total:,} blocks, {' + '.join(map('{:,}'.format, self.taken))}"
        if self.shared:
            text += f"; {self.shared:,} were in more than one store with the same bytes and were taken once"
        return text


def merge(
    paths: Sequence[StorePath], out: StorePath, *, accept_code_change: bool = False, accept_other_numbers: bool = False
) -> Merged:
    """Join stores of one study into a new one at `out`; the stores themselves are left as they are.

    Raises BadInput, with nothing written, for stores of other studies, blocks that two stores hold with other bytes,
    damaged blocks, and blocks of several environments, in code or in numbers, unless that is accepted; StoreLocked for
    a store in use.
    """
    if len({path.resolve() for path in paths}) < max(2, len(paths)):
        raise bad(f"{len(paths)} stores are named, {len({path.resolve() for path in paths})} different ones",
                  where="store merge", allowed="two or more stores, each named once", remedy="name them")  # fmt: skip
    for path in paths:
        check_free(path)
    stores = [ZarrStore.open(path) for path in paths]
    _check_one_study(stores)
    _check_one_environment(stores, code=accept_code_change, numbers=accept_other_numbers)
    holders = _holders(stores)
    taken = [0] * len(stores)

    def fill(target: ZarrStore) -> None:
        numbers = [copy_environments(store, target) for store in stores]
        for place, held in holders.items():
            first = held[0]
            if not _copied(stores[first], place, target, numbers[first]):
                stores[first].sound(*place)  # it says that the block is damaged
            taken[first] += target.state(*place) is BlockState.DONE
        for name in ("measures", "claims"):
            if stated := stores[0].noted(name):
                target.note(name, stated)

    with locked(out) as hold:
        merged = ZarrStore.create(out, stores[0].schema, fill, hold.follow)
    shared = sum(len(held) > 1 and stores[held[0]].state(*place) is BlockState.DONE for place, held in holders.items())
    return Merged(tuple(taken), shared, len(merged.done()), len(merged.places()))


def take_in(target: ZarrStore, paths: Sequence[StorePath], code: bool, numbers: bool) -> list[PlaceOfBlock]:
    """Copy what a store lacks from stores of its study, which are left as they are; returns which blocks it has now.

    Of a damaged block what is sound is taken. Raises BadInput, with nothing written, as `merge` does.
    """
    stores = [target, *(ZarrStore.open(path) for path in paths)]
    _check_one_study(stores)
    _check_one_environment(stores, code=code, numbers=numbers, where=str(target.path))
    numbers_of = [copy_environments(store, target) for store in stores]
    lacking = {place: first for place, (first, *_) in _holders(stores).items() if first}
    return [place for place, first in lacking.items() if _copied(stores[first], place, target, numbers_of[first])]


def _check_one_study(stores: Sequence[ZarrStore]) -> None:
    """Raise BadInput unless all are of the study of the first, in the present format and of the same size."""
    first = stores[0]
    for store in stores:
        where = str(store.path)
        if store.schema.store_format != STORE_FORMAT:
            raise bad("is of an earlier format", where=where, allowed="stores of this version",
                      remedy="run its study into it once, which writes it anew")  # fmt: skip
        if store.fingerprint != first.fingerprint:
            check_identity(first.schema.identity, json.loads(json.dumps(store.schema.identity)), where)
        if store.replications != first.replications:
            raise bad(f"has {store.replications:,} replications a cell, {first.path} has {first.replications:,}",
                      where=where, allowed="stores of one size",
                      remedy=f"run both with --replications {max(store.replications, first.replications)}")  # fmt: skip


def _check_one_environment(
    stores: Sequence[ZarrStore], *, code: bool, numbers: bool, where: str = "store merge"
) -> None:
    """Raise BadInput when blocks of several environments would stand in one store, unless that is accepted."""
    origins = [origin for store in stores for origin in (*store.environments, *store.partial_environments)]
    if not numbers and (apart := numbers_apart(origins)):
        raise bad(f"blocks come from several environments: {apart}", where=where, allowed="blocks of one kind",
                  remedy="run some again, or say --accept-other-numbers")  # fmt: skip
    found = {json.dumps({key: value for key, value in origin.facts.items() if key not in OF_NUMBERS}, sort_keys=True):
             origin for origin in origins}  # fmt: skip
    if len(found) > 1 and not code:
        texts = " | ".join(origin.text for origin in found.values())
        what = f"blocks come from {len(found)} environments: {texts}"
        raise bad(what, where=where, allowed="blocks from one environment",
                  remedy="run some again, or say --accept-code-change")  # fmt: skip


def _holders(stores: Sequence[ZarrStore]) -> Mapping[PlaceOfBlock, list[int]]:
    """Which stores hold each block that any holds, those with most of it first; raises BadInput for overlaps.

    A damaged copy of a block does not count where another store has a sound one.
    """
    rank = (BlockState.DONE, BlockState.PARTIAL, BlockState.POISONED)
    found: dict[PlaceOfBlock, list[int]] = {}
    for place in stores[0].places():
        held = [number for number, store in enumerate(stores) if store.state(*place) in rank]
        if len(held) > 1:
            sound = [n for n in held if stores[n].state(*place) is not BlockState.DONE or stores[n].intact(*place)]
            held = sound if any(stores[n].state(*place) is BlockState.DONE for n in sound) else held
        if held:
            found[place] = sorted(held, key=lambda number: rank.index(stores[number].state(*place)))
    problems = []  # blocks that two stores hold with other bytes
    for (cell, index), held in found.items():
        done = [number for number in held if stores[number].state(cell, index) is BlockState.DONE]
        own = stores[(done or held)[0]]
        other = next((stores[n] for n in done[1:] if stores[n].digest(cell, index) != own.digest(cell, index)), None)
        if other is not None:
            problems.append(Problem(f"block {index} of cell {cell} has other bytes than in {own.path}",
                                    str(other.path), "stores that agree where they overlap",
                                    "leave one of the two out, or run that block again"))  # fmt: skip
    if problems:
        rest = len(problems) - MOST_LINES
        more = [Problem(f"{amount(rest, 'more block')} overlap", "store merge", "blocks that agree", "see above")]
        raise BadInput(*problems[:MOST_LINES], *(more if rest > 0 else []))
    return found


def _copied(source: ZarrStore, place: PlaceOfBlock, target: Store, numbers: Mapping[int, int]) -> bool:
    """Whether all of a block could be copied, its mark included."""
    state = source.state(*place)
    if state is BlockState.POISONED:
        cell, index = place
        target.poison(cell, index, source.tracebacks.get(f"cell {cell} block {index}", ""))
    else:
        copy_block(source, place, target, place, tuple(source.layouts), numbers)
    return target.state(*place) is state


# A store in one zip, which is read in place: few files for a disk quota, an archive or a journal.


def pack(path: StorePath, out: StorePath) -> int:
    """Write all files of a store into one zip at `out`, and return how many; the store stays as it is.

    Raises BadInput for a place that is taken and for damaged blocks, StoreLocked for a store in use. A store that this
    user may only read is packed as it is.
    """
    check_place(path)
    check_place(out)
    if isinstance(out, ObjectPath):
        raise refused(out, "a zip is written on this machine", "name a file with --out, and copy it")
    if out.suffix != PACKED_SUFFIX:
        raise bad(f"ends in {out.suffix or 'nothing'}", where=str(out), allowed=f"a name that ends in {PACKED_SUFFIX}",
                  remedy="choose another --out")  # fmt: skip
    if is_packed(path):
        raise bad("is packed already", where=str(path), allowed="a folder that `panelproof run` made",
                  remedy="copy the file")  # fmt: skip
    if not path.exists():
        raise no_store(path)
    if read_only := isinstance(path, Path) and bool(unwritable(path.parent) or unwritable(path)):
        check_free(path)
    with contextlib.nullcontext() if read_only else locked(path), locked(out):
        if out.exists():
            raise bad("already exists", where=str(out), allowed="a new path", remedy="remove it or choose another")
        sweep(out.resolve())  # half a zip, of a command that was killed
        before = ZarrStore.open(path).content_hash()  # which reads every block
        tree = tree_of(path)
        files = [file for file in tree.files() if not is_lease(file) and not file.endswith(".partial")]
        with folder_beside(out) as made:
            with zipfile.ZipFile(made / out.name, "w", zipfile.ZIP_STORED) as archive:  # chunks are compressed already
                for file in files:
                    entry = zipfile.ZipInfo(file)  # of 1980, because a zip holds no time before it
                    entry.external_attr = 0o600 << 16
                    archive.writestr(entry, tree.read(file))
            if ZarrStore.open(made / out.name).content_hash() != before:
                raise bad("was not written as it is", where=str(out), allowed="a sound disk", remedy="pack again")
            flush(made)
            os.rename(made / out.name, real := out.resolve())
            flush_names(real.parent)
    return len(files)


SUFFIX = ".parts"  # of the store's name: the folder beside it
TICKETS = "tickets"
PART = re.compile(r"[0-9a-f]{12}\.zarr")
OF_A_PART = re.compile(rf"\.?({PART.pattern})\..+")  # its lock, its log, and what a kill left of it
STARTING = (LOCK, ".partial")  # how files end that a client makes before its part is there
TICKET = re.compile(r"\d+(\.[0-9a-f]{8}(\.left)?)?")
MOST_LOTS = 1024  # of a study: so many files at most are looked through
LOOK = 1.0  # seconds between two looks at what others do
MOST_BYTES = 1 << 10  # that are read of a ticket


class Crew:
    """The folder of the clients that fill a store together. Nothing is removed from it but what clients make."""

    def __init__(self, store: Path) -> None:
        real = store.resolve()
        self.store, self.folder = store, real.with_name(f"{real.name}{SUFFIX}")

    def parts(self) -> list[Path]:
        """The parts that are there; raises BadInput where one or the folder is a link, a file or another user's."""
        try:
            check_own_folder(self.folder)
            found = sorted(self.folder / name for name in os.listdir(self.folder) if PART.fullmatch(name))
        except FileNotFoundError:
            return []
        for part in found:
            with contextlib.suppress(FileNotFoundError):  # it was joined meanwhile
                check_own_folder(part)
        return found

    def new_part(self) -> Path:
        """Where another client makes its part, with the file of its lock; raises BadInput as `parts` does."""
        while True:
            part = self.folder / f"{secrets.token_hex(6)}.zarr"
            for folder in (self.folder, self.folder / TICKETS):
                with contextlib.suppress(FileExistsError):
                    folder.mkdir(0o700, parents=True)
            with contextlib.suppress(FileNotFoundError):  # the last client removed the folder just now
                check_own_folder(self.folder)
                check_own_folder(self.folder / TICKETS)
                os.close(open_plain(part.with_name(f"{part.name}{LOCK}"), os.O_WRONLY | os.O_CREAT | os.O_EXCL))
                return part

    def check_free(self) -> None:
        """Raise StoreLocked while clients of the crew compute."""
        busy = sum(is_used(part) for part in self.parts())
        if busy:
            clients = "a client fills" if busy == 1 else f"{busy} clients fill"
            raise StoreLocked(f"{clients} {self.store} together; say --together to help, or wait for them")

    def clear(self, parts: Iterable[Path]) -> None:
        """Remove parts that the store has taken in and nobody uses, and with the last client the folder."""
        joined = [part for part in parts if not is_used(part)]
        for part in joined:
            with contextlib.suppress(FileNotFoundError):
                os.rename(part, part.with_name(f".{part.name}.joined"))  # a part that is there is whole
        with contextlib.suppress(FileNotFoundError):
            flush(self.folder)
            self._sweep({part.name for part in joined})

    def _sweep(self, joined: Set[str]) -> None:
        """Remove what is left of parts that are gone; where no client is left, the tickets and the folder."""
        for name in os.listdir(self.folder):
            found, path = OF_A_PART.fullmatch(name), self.folder / name
            if not found or (self.folder / found[1]).exists():
                continue
            with contextlib.suppress(OSError):  # it is gone already
                recent = time.time() - os.lstat(path).st_mtime < STALE
                if found[1] not in joined and name.endswith(STARTING) and recent:
                    continue  # it may be of a client whose part is not there yet
                remove = shutil.rmtree if path.is_dir() and not path.is_symlink() else os.unlink
                remove(path)
        if any(PART.fullmatch(name) or OF_A_PART.fullmatch(name) for name in os.listdir(self.folder)):
            return
        tickets = self.folder / TICKETS
        with contextlib.suppress(OSError):  # where there is something else, that stays, and its folder
            for name in os.listdir(tickets) if not tickets.is_symlink() else ():
                if TICKET.fullmatch(name):
                    os.unlink(tickets / name)
            tickets.rmdir()
            self.folder.rmdir()


def is_used(part: Path) -> bool:
    """Whether a run holds a part."""
    if not part.exists():
        return False  # also one that is about to be made: its lock is not touched
    try:
        check_free(part)
    except StoreLocked:
        return True
    return False


class Tickets:
    """Which blocks this client computes, and which other clients do.

    places: (cell, block) of every block of the study, as all clients count them. missing: those that the store lacks.
    others: of the missing blocks, how many other clients have done.
    """

    def __init__(
        self, crew: Crew, part: Path, places: Sequence[PlaceOfBlock], missing: Iterable[PlaceOfBlock],
        tell: Callable[[str], None],
    ) -> None:  # fmt: skip
        lacking, size = set(missing), -(-len(places) // MOST_LOTS)
        lots = (places[start : start + size] for start in range(0, len(places), size))
        self._lots = {number: wanted for number, lot in enumerate(lots) if (wanted := [p for p in lot if p in lacking])}
        self._lot_of = {place: number for number, lot in self._lots.items() for place in lot}
        self._crew, self._part, self._tell = crew, part, tell
        self._tickets = crew.folder / TICKETS
        self._own: dict[int, set[PlaceOfBlock]] = {}  # lots that are on their way here, with what is left of each
        self._done: set[int] = set()
        self._empty: dict[int, float] = {}  # since when a ticket says nothing
        self._gone = {other.name for other in crew.parts() if not is_used(other)}  # before this client came
        self._turn = threading.Lock()
        self.others = 0

    def rounds(self, still: Callable[[], None]) -> Iterator[Iterator[PlaceOfBlock]]:
        """Blocks that nobody else computes, as they are asked for; again where another client is gone, until all are
        done. still: is asked while this one waits."""
        told = False
        while len(self._done) < len(self._lots):
            still()
            places = self._free()
            first = next(places, None)
            if first is not None:
                yield itertools.chain([first], places)
            elif len(self._done) < len(self._lots):
                if not told:
                    self._tell(
                        "other clients compute the last blocks; this one waits, and takes over from any that ends"
                    )
                told = True
                time.sleep(LOOK)

    def kept(self, place: PlaceOfBlock) -> None:
        """A block of this client is in its part; with the last one of its lot, that is done."""
        lot = self._lot_of[place]
        with self._turn:
            left = self._own[lot]
            left.discard(place)
        if not left:
            self._finish(lot)

    def _finish(self, lot: int) -> None:
        write_ticket(self._tickets / str(lot), Ticket(self._part.name, True))
        with self._turn:
            del self._own[lot]
            self._done.add(lot)

    def _free(self) -> Iterator[PlaceOfBlock]:
        """Blocks of lots that are taken now, one lot after the other."""
        used = cache(is_used)  # as far as this pass looks at them
        done = cache(lambda: set[PlaceOfBlock]().union(*map(done_in, (self._crew.store, *self._crew.parts()))))
        for lot, places in self._lots.items():
            with self._turn:
                settled = lot in self._done or lot in self._own
            if settled or (left := self._taken(lot, used, done)) is None:
                continue
            with self._turn:
                self._own[lot] = set(left)
                self.others += len(places) - len(left)
            if not left:
                self._finish(lot)
            yield from left

    def _taken(
        self, lot: int, used: Callable[[Path], bool], done: Callable[[], Set[PlaceOfBlock]]
    ) -> Sequence[PlaceOfBlock] | None:
        """What is to be computed of a lot that is this client's by now; None where it is not.

        Of clients that are gone, what is in their parts stays there. used: whether a run holds a part. done: the blocks
        that are there.
        """
        ticket, places = self._tickets / str(lot), self._lots[lot]
        if self._make(ticket):
            return places
        held = read_ticket(ticket)
        # of a client that was there with this one: what it could not compute is not tried again
        is_met = held is not None and held.part not in self._gone and (self._crew.folder / held.part).exists()
        if held is None:
            since = self._empty.setdefault(lot, time.monotonic())
            if time.monotonic() - since < EXPIRES:
                return None  # it is being made, or its maker was killed that very moment
        elif held.done and (is_met or done() >= set(places)):
            with self._turn:
                self._done.add(lot)
                self.others += len(places)
            return None
        elif not held.done and used(self._crew.folder / held.part):
            return None
        if not (self._removed(ticket, held) and self._make(ticket)):
            return None
        there = done()
        return [place for place in places if place not in there]

    def _removed(self, ticket: Path, held: Ticket | None) -> bool:
        """Whether this client, and no other, removed a ticket that said so."""
        aside = ticket.with_name(f"{ticket.name}.{secrets.token_hex(4)}.left")
        try:
            os.rename(ticket, aside)
        except FileNotFoundError:
            return False
        if alike := read_ticket(aside) == held:
            self._empty.pop(int(ticket.name), None)
        with contextlib.suppress(OSError):
            if not alike:  # it is another client's by now
                os.link(aside, ticket, follow_symlinks=False)
            aside.unlink()
        return alike

    def _make(self, ticket: Path) -> bool:
        """Whether this client could make a ticket that was not there."""
        try:
            descriptor = open_plain(ticket, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        except FileExistsError:
            return False
        except FileNotFoundError:  # who removed the folder just now has not seen this client
            ticket.parent.mkdir(0o700)
            return self._make(ticket)
        with open(descriptor, "wb") as file:
            file.write(Ticket(self._part.name, False).data)
        return True


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a ticket says: whose the lot is, by the name of a part, and whether it is done."""

    part: str
    done: bool

    @property
    def data(self) -> bytes:
        """What its file holds."""
        return json.dumps(asdict(self)).encode()


def write_ticket(ticket: Path, said: Ticket) -> None:
    """Say anew of a lot whose it is, whole or not at all."""
    fresh = ticket.with_name(f"{ticket.name}.{secrets.token_hex(4)}")
    write_beside(fresh, said.data)
    os.replace(fresh, ticket)


def read_ticket(ticket: Path) -> Ticket | None:
    """What a ticket says; None where it says nothing (yet)."""
    try:
        held = json.loads(read_plain(ticket, MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    part = held.get("part") if isinstance(held, dict) else None
    if not isinstance(part, str) or not PART.fullmatch(part):
        return None
    return Ticket(part, held.get("done") is True)


def done_in(store: Path) -> set[PlaceOfBlock]:
    """(cell, block) of the blocks that a store or a part holds, by their marks."""
    with contextlib.suppress(BadInput):  # it is gone, or so damaged that nothing of it is known
        return set(ZarrStore.open(store).done())
    return set()
