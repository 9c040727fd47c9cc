"""The Zarr store of one study: one writer, one chunk a block, checksums, the mark last.

Root: coordinates, grid parameters, `truth (cell, replication, estimand)` and `block_mark (cell, block, byte)`, which
says of a block what became of it, with digests of its truths and of each estimator (`results.store.files`). One group
an estimator: `estimate (cell, replication, term)`, `inference (cell, replication, quantity, error, term)`, `fit (cell,
replication, fact)`. A block counts only when its mark is there and matches what is read back. The attributes of the
group `provenance`, which stands outside the promise of identical bytes, keep environments and tracebacks.

A store of format 2, whose chunks lie in folders and whose marks do not say whose they are, is read; `run` writes it
anew before it adds to it. A store in one zip is read in place.

A study fits a store that is its own, or has fewer of its cells, estimators and error types; then the store grows.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import zarr
from numpy.typing import NDArray

from results.store.block import Block, block_arrays, check_draws, part_digests
from results.store.bucket import ObjectPath, StorePath, StoreUnreachable, refused
from results.store.chunks import ChunkArrays, Written, wait_until_seen
from results.store.disk import flush
from results.store.files import (
    DIGEST_BYTES,
    NO_STAMP,
    PACKED,
    STAMP_BYTES,
    ForeignMark,
    Mark,
    Marks,
    Stamp,
    arrays_at_root,
    body_of,
    body_without_seal,
    check_format,
    check_place,
    damages,
    estimates_of,
    files_of,
    folder_beside,
    home_of,
    names_of,
    no_store,
    packed,
    picked,
    refuse_packed,
    root_damage,
    seal,
    stamp_of,
    tree_of,
    unpacked,
    writable,
)
from results.store.lock import set_aside, taking_place
from results.store.skeleton import (
    FORMAT_2,
    PIECE,
    STORE_FORMAT,
    StoreSchema,
    check_identity,
    differences,
    schema_from,
    seal_root,
    write_skeleton,
)
from results.store.store import BlockState, Store
from results.store.tree import CHUNK, MARKS, META, WritableTree, place_in
from sim.errors import NO_THREAD, BadInput, Problem, amount, bad, listed

ERRORS = "errors"  # the setting of an estimator that may change: it is then computed again
MOST_NAMED = 3  # of cells that would be lost


@dataclass(frozen=True, slots=True)
class Growth:
    """How a store must grow sideways.

    cells: old index by new index, of cells that are there. kept: estimators whose fits are reused there. again: those
    that are computed again, because their error types or terms changed. added: new ones. new_cells: how many.
    """

    cells: Mapping[int, int]
    kept: tuple[str, ...]
    again: tuple[str, ...]
    added: tuple[str, ...]
    new_cells: int

    @property
    def computes(self) -> bool:
        """Whether anything is computed for it."""
        return bool(self.again or self.added or self.new_cells)

    @property
    def sentence(self) -> str:
        """What is reused and what is computed, in one line."""
        if not self.computes:
            return "the store is written anew, in the present format and the order of this study; all is reused"
        places = amount(len(self.cells), "cell")
        reused = f"{', '.join(self.kept)} in {places}" if self.kept else "nothing"
        todo = [f"{name} (new)" for name in self.added]
        todo += [f"{name} (again: its error types or terms changed)" for name in self.again]
        todo += [amount(self.new_cells, "new cell")] if self.new_cells else []
        return f"the store grows; reused: {reused}; computed: {', '.join(todo)}"


def growth_of(old: StoreSchema, new: StoreSchema, where: str) -> Growth | None:
    """How a store must grow to hold a study; None where it need not.

    Raises BadInput when the study is another one, and when cells or estimators that the store holds would be lost.
    """
    if old.fingerprint == new.fingerprint:
        anew = Growth({i: i for i in range(len(old.cells))}, tuple(old.layouts), (), (), 0)
        return None if old.store_format == new.store_format else anew
    held, asked = old.identity, json.loads(json.dumps(new.identity))
    if held.get("schema") != asked.get("schema"):
        check_identity(held, asked, where)
    at = {print_: index for index, print_ in enumerate(old.cell_prints)}
    cells = {index: at[print_] for index, print_ in enumerate(new.cell_prints) if print_ in at}
    shared = [name for name in old.layouts if name in new.layouts]
    if old.block != new.block or not cells or not shared:
        check_identity(held, asked, where)

    problems, remedy = [], "put them back into the study, or choose another --store"
    kept = set(cells.values())
    if lost := [dict(cell) for index, cell in enumerate(old.cells) if index not in kept]:
        some = [", ".join(f"{dial} = {value}" for dial, value in cell.items()) for cell in lost[:MOST_NAMED]]
        some += [f"{len(lost) - MOST_NAMED} more"] if len(lost) > MOST_NAMED else []
        what = f"{len(lost)} of {len(old.cells)} cells of the store would be lost: {'; '.join(some)}"
        problems.append(Problem(what, where, "a study that keeps every cell of the store", remedy))
    if gone := [name for name in old.layouts if name not in new.layouts]:
        what = f"estimators of the store would be lost: {listed(gone)}"
        problems.append(Problem(what, where, "a study that keeps every estimator of the store", remedy))
    if problems:
        raise BadInput(*problems)

    own, theirs = (dict(zip(s.layouts, i["estimators"], strict=True)) for s, i in ((old, held), (new, asked)))
    again = [name for name in shared if _again(name, old, new, own[name], theirs[name], where)]
    return Growth(
        cells,
        tuple(name for name in new.layouts if name in shared and name not in again),
        tuple(name for name in new.layouts if name in again),
        tuple(name for name in new.layouts if name not in shared),
        len(new.cells) - len(cells),
    )


def _again(
    name: str, old: StoreSchema, new: StoreSchema, was: Mapping[str, Any], now: Mapping[str, Any], where: str
) -> bool:
    """Whether an estimator that is there must be computed again; raises BadInput for one with other settings."""
    before, after = old.layouts[name], new.layouts[name]
    if old.estimator_prints[name] == new.estimator_prints[name]:
        same = set(before.terms) <= set(after.terms)
        return not same or any(
            getattr(before, part) != getattr(after, part) for part in (ERRORS, "statistics", "stored")
        )
    changed = differences({**was, ERRORS: None}, {**now, ERRORS: None}, f"estimator {name}")
    if not changed and not set(before.errors) <= set(after.errors):
        changed = differences(was, now, f"estimator {name}")
    if changed:
        raise bad(f"belongs to another study: {changed[0]}", where=where, allowed="the estimators of the store",
                  remedy="choose another --store, undo the change, or set another label")  # fmt: skip
    return True


# Blocks from one store into another: what growth keeps, and what several stores of a study hold together.


def copy_environments(source: Store, target: Store) -> Mapping[int, int]:
    """State the environments of one store in another; returns their numbers there by those here. 0 is not known."""
    numbers = {0: 0}
    for number, origin in enumerate(source.known_origins, 1):
        numbers[number] = target.number_of(origin)
    return numbers


def copy_block(
    source: Store, at: tuple[int, int], target: Store, to: tuple[int, int], names: tuple[str, ...],
    numbers: Mapping[int, int],
) -> Block | None:  # fmt: skip
    """Write what is sound of a block into another store, some estimators of it alone; None where nothing is.

    at, to: (cell, block) here and there. numbers: of environments there, by those here.
    """
    there = source.sound_parts(*at)
    if there is None:
        return None
    kept = {name: estimates for name, estimates in there.estimates.items() if name in names}
    if not kept:
        return None
    texts = {key: text for key, text in source.tracebacks_in(*at).items() if key[1] in kept}
    block = Block(there.truth, kept, texts, there.start)
    own = dict(zip(source.schema.parts, source.origins[at].tolist(), strict=True))
    origins = {part: numbers[own[part]] for part in ("truth", *kept)}
    target.put(*to, block, origins)
    target.keep_tracebacks(*to, texts, kept)
    return block


def fill_grown(source: Store, target: Store, growth: Growth) -> None:
    """Write what a store holds into a larger one; blocks that lack an estimator are PARTIAL there."""
    numbers = copy_environments(source, target)
    for new, old in growth.cells.items():
        for index in range(min(source.block_count, target.block_count)):
            held = source.state(old, index) is not BlockState.PENDING
            if held and source.block_rows(index) == target.block_rows(index):
                copy_block(source, (old, index), target, (new, index), growth.kept, numbers)


DAMAGE = (ValueError, RuntimeError, OSError, KeyError, TypeError, AttributeError, IndexError, AssertionError)
type Filler = Callable[[ZarrStore], None]  # writes what a new store holds from the start
type Follower = Callable[[Path], None]  # holds a new store in the folder where it was made, as `Hold.follow` does


class ZarrStore(Store):
    """A study's store on disk. Make it with `create`, `open` or `open_or_create`.

    before_mark: is called right before each mark is written, and raises where the store is no longer this run's.
    """

    def __init__(self, path: StorePath, mode: str) -> None:
        self.before_mark: Callable[[], None] = lambda: None
        if mode == "a":
            refuse_packed(path)
        self.path = path
        zarr.config.set({"array.write_empty_chunks": True})  # a block of fill values is a result too
        check_place(path)
        check_format(path)
        self._tree = tree_of(path)
        if self._tree.has(META) and (damage := root_damage(path)) is not None:
            raise bad(str(damage), where=str(path), allowed="a store that is whole",
                      remedy="run its study again, which rebuilds what is damaged")  # fmt: skip
        try:
            self._root = self._tree.group("r+" if mode == "a" else "r")
            self._load()
        except (BadInput, StoreUnreachable):
            raise
        except Exception as error:
            if isinstance(error, MemoryError) or NO_THREAD in str(error):
                raise  # the store is not to blame
            if not self._tree.has(META):
                raise no_store(path, f"is no store: it has no {META}") from error
            raise bad(f"not a readable store ({type(error).__name__})", where=str(path),
                      allowed="a store that `panelproof run` made", remedy="check the path") from error  # fmt: skip

    def _load(self) -> None:
        """Read the facts and the marks of all blocks, once; the digest of a block with a mark is there already."""
        self._arrays: dict[str, Any] = {}
        self._blocks = ChunkArrays(self._tree, self._array)
        self.facts: Mapping[str, Any] = dict(self._root.attrs)  # study, fingerprint, sizes, version of the format
        self.of_schema(schema_from(self.facts))
        if (said := self.schema.store_format) not in (FORMAT_2, STORE_FORMAT):
            raise bad(f"is of format {said}, which this version does not know", where=str(self.path),
                      allowed=f"format {FORMAT_2} or {STORE_FORMAT}",
                      remedy="use the version of panelproof that made it, or a later one")  # fmt: skip
        size, parts = (len(self.cells), self.block_count), len(self.schema.parts)
        self.states = np.zeros(size, dtype=np.uint8)
        self.origins = np.zeros((*size, parts), dtype=np.uint16)
        self._digests = np.zeros((*size, parts, DIGEST_BYTES), dtype=np.uint8)
        self._stamps = np.zeros((*size, STAMP_BYTES), dtype=np.uint8)
        self._sound = np.zeros(size, dtype=np.uint64)  # of a block that was sound, what its files held
        self.foreign: set[tuple[int, int]] = set()  # blocks whose marks are of another place or study
        # what the marks that are there say of blocks
        sealed, bodies = self.schema.store_format != FORMAT_2, dict[tuple[int, int], bytes]()
        places = {file: (cell, index) for cell, index, file in self._tree.marks("." if sealed else "/")
                  if cell < len(self.cells) and index < self.block_count}  # fmt: skip
        for file, held in self._tree.read_all(places).items():
            place = places[file]
            if isinstance(held, FileNotFoundError):  # it went since the marks were listed
                continue
            self.states[place] = BlockState.DONE  # and without digests, where it is damaged
            try:
                bodies[place] = (
                    body_of(held, parts, self.fingerprint, *place) if sealed else body_without_seal(held, parts)
                )
            except ForeignMark:
                self.foreign.add(place)
            except DAMAGE:
                continue
        found, at = Marks.of(bodies.values(), parts), tuple(np.array(list(bodies), dtype=np.intp).reshape(-1, 2).T)
        self.states[at], self.origins[at] = found.states, found.origins
        self._digests[at], self._stamps[at] = found.digests, found.stamps
        strange = self.states > max(BlockState)
        self.states[strange], self._digests[strange] = BlockState.DONE, 0
        known = self.origins <= len(self.noted("origins", []))  # damaged provenance has lost what numbers mean
        self.origins = np.where(known, self.origins, 0).astype(np.uint16)

    @classmethod
    def create(
        cls, path: StorePath, schema: StoreSchema, fill: Filler | None = None, follow: Follower | None = None
    ) -> ZarrStore:
        """A new store, made in a temporary folder, filled there, held by `follow` and put in its place.

        Raises BadInput when the path is taken, StoreLocked when another run takes it meanwhile.
        """
        check_place(path)
        if path.exists():
            raise bad("already exists", where=str(path), allowed="a new path", remedy="remove it or choose another")
        with folder_beside(path) as made:
            write_skeleton(made / "store", schema)
            if fill is not None:
                fill(cls(made / "store", "a"))
            if follow is not None:  # else nobody holds the store: nothing else writes into it
                follow(made / "store")
            with taking_place(path):
                writable(path).take_place(made / "store")
        return cls(path, "a")

    def replaced(self, schema: StoreSchema, fill: Filler, follow: Follower | None = None) -> ZarrStore:
        """A store of another schema in the place of this one, made in a temporary folder and filled from this one.

        A kill or a power cut leaves one of the two whole: `locked` puts this one back when the other is not yet in its
        place. follow: holds the new store before it takes the place of this one.
        """
        real = self.path.resolve()
        assert not isinstance(real, ObjectPath), "refused by check_study"
        with folder_beside(self.path) as made:
            write_skeleton(made / "store", schema)
            fill(ZarrStore(made / "store", "a"))
            flush(made / "store")  # before the old store goes, so that none is there for a moment alone
            if follow is not None:
                follow(made / "store")
            os.rename(real, set_aside(real))
            with taking_place(self.path):
                writable(real).take_place(made / "store")
            shutil.rmtree(set_aside(real), ignore_errors=True)
        return ZarrStore(self.path, "a")

    @classmethod
    def open(cls, path: StorePath) -> ZarrStore:
        """An existing store, for reading, as it is now. Raises BadInput when there is none."""
        check_place(path)
        if not path.exists():
            raise no_store(path)
        return cls(path, "r")

    @classmethod
    def open_or_create(
        cls,
        path: StorePath,
        schema: StoreSchema,
        check: Callable[[ZarrStore], None] = lambda _: None,
        follow: Follower | None = None,
    ) -> ZarrStore:
        """The study's store, created or resumed and grown to its replications; raises BadInput for another study's.

        check: is asked about a store that is there, before anything of it changes. follow: as of `create`.
        """
        if not path.exists():
            return cls.create(path, schema, None, follow)
        store = cls(path, "a")
        check(store)
        growth = store.check_study(schema)
        if growth is not None:
            size = max(schema.replications, store.replications)
            larger = replace(schema, replications=size, study={**schema.study, "replications": size})
            return store.replaced(larger, lambda target: fill_grown(store, target, growth), follow)
        if schema.replications > store.replications:
            store._grow(schema.replications)
        return store

    def check_study(self, schema: StoreSchema) -> Growth | None:
        """How the store must grow sideways to be this study's, None where it need not.

        Raises BadInput, with what differs, when it is another study's.
        """
        growth = growth_of(self.schema, schema, str(self.path))
        if growth is not None and isinstance(self.path, ObjectPath):
            raise refused(self.path, f"{growth.sentence}; this needs a folder, because object stores cannot rename",
                          "copy the store into a folder, run there, and copy it to another address")  # fmt: skip
        return growth

    # What is in it

    def digest(self, cell: int, index: int) -> str:
        """The digests kept with a block, one after the other, or an empty text."""
        kept = self._digests[cell, index]
        return kept.tobytes().hex() if kept.any() else ""

    @property
    def marked(self) -> NDArray[np.bool_]:
        """Which blocks are there with marks that are sound, (cells, blocks)."""
        return np.asarray(self.there & self._digests.any(axis=(2, 3)))

    def sound(self, cell: int, index: int) -> Block:
        """A block that is there, read back; raises BadInput when it does not match its digests."""
        try:
            block = self.read(cell, index)
            seen = self._blocks.seen(cell, index)
            known = bool(seen) and seen == self._sound[cell, index]
            found = {} if known else part_digests(block_arrays(block, self.layouts, self.estimands))
            if known or "".join(found[part] for part in self.schema.parts) == self.digest(cell, index):
                self._sound[cell, index] = seen
                return block
        except DAMAGE:
            pass
        raise self._damaged(cell, index)

    def arrays_of(self, cell: int, index: int, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Arrays of a block that is there, by their paths; raises BadInput when one is damaged."""
        try:
            homes = {name: home_of(name, self.layouts) for name in names}
            arrays = list(dict.fromkeys(home for home, _ in homes.values()))
            held = self._blocks.read(cell, index, self.block_rows(index), arrays, whole=True)
            return {name: picked(held[home], name, place) for name, (home, place) in homes.items()}
        except DAMAGE as error:
            raise self._damaged(cell, index) from error

    def sound_parts(self, cell: int, index: int) -> Block | None:
        """The truths of a block and those estimators that match their digests; None where the truths do not."""
        kept = dict(zip(self.schema.parts, self._digests[cell, index], strict=True))
        block: Block | None = None
        for part in self.schema.parts:
            if not kept[part].any():
                continue
            try:
                found = self.read(cell, index, () if part == "truth" else (part,))
                digest = part_digests(block_arrays(found, self.layouts, self.estimands))[part]
            except DAMAGE:
                continue
            if digest == kept[part].tobytes().hex():
                block = found if block is None else replace(block, estimates={**block.estimates, **found.estimates})
            if block is None:
                return None  # the truths come first
        return block

    def intact(self, cell: int, index: int) -> bool:
        """Whether a block is marked as done and what is read back has its digest."""
        try:
            return self.state(cell, index) is BlockState.DONE and bool(self.sound(cell, index))
        except StoreUnreachable:
            raise
        except Exception:  # noqa: BLE001  (whatever a damaged chunk raises, the block is not intact)
            return False

    def unfinished(self) -> list[tuple[int, int]]:
        """(cell, block) of every block that is missing, or whose files have changed and are damaged.

        Only blocks whose files do not look as they did when they were written are read.
        """
        changed = self.changed()
        missing = [place for place in changed if not self.intact(*place)]
        for place in set(changed).difference(missing):
            self.renew_stamp(*place)
        return missing

    def changed(self) -> list[tuple[int, int]]:
        """(cell, block) of every block that is not done, or whose files do not look as they did when it was."""
        names, stamps = names_of(self._with_files(self.schema.parts)), dict[tuple[int, int], Stamp]()
        for start, end in names:  # one listing an array, whatever the number of blocks
            for name, look in self._tree.looks_in(start.removesuffix(f"/{CHUNK}")):
                if (place := place_in(name, start, end)) is not None:
                    if place not in stamps:
                        stamps[place] = Stamp()
                    stamps[place].see(name, look)
        same = np.zeros(self.states.shape, dtype=np.bool_)
        for place in zip(*(axis.tolist() for axis in np.nonzero(self.there)), strict=True):
            found = stamps[place].of(len(names)) if place in stamps else NO_STAMP
            same[place] = NO_STAMP != found == self._stamps[place].tobytes()
        return self.places(~same)

    def renew_stamp(self, cell: int, index: int) -> None:
        """Note how the files of a sound block look now, as after a copy, so that the next run need not read them."""
        self._commit(cell, index, BlockState(self.state(cell, index)), self.origins[cell, index],
                     self._digests[cell, index])  # fmt: skip

    def _with_files(self, parts: Iterable[str]) -> list[str]:
        """Those of some parts of a block that are kept in files: truths without a name are not."""
        return [name for name in parts if self.estimands or name != "truth"]

    def _damaged(self, cell: int, index: int) -> Exception:
        return bad(f"block {index} of cell {cell} is damaged", where=str(self.path),
                   allowed="blocks that match their digests",
                   remedy="run the study again with --reread: damaged blocks are computed anew")  # fmt: skip

    def read(self, cell: int, index: int, names: Sequence[str] | None = None) -> Block:
        """A block as it was written, with all estimators or some; raises an error of zarr for a damaged chunk."""
        layouts = {name: self.layouts[name] for name in (self.layouts if names is None else names)}
        arrays = ["truth", *(f"{name}/{part}" for name in layouts for part in PACKED)]
        found = self._blocks.read(cell, index, self.block_rows(index), arrays)
        found |= unpacked(found, self.layouts, layouts)
        return Block(
            truth={name: found["truth"][:, i] for i, name in enumerate(self.estimands)},
            estimates={name: estimates_of(name, layout, found) for name, layout in layouts.items()},
            tracebacks={},
            start=self.block_rows(index).start,
        )

    def content_hash(self) -> str:
        """SHA-256 over decoded arrays, coordinates and fingerprint: what two equal runs share.

        One block and one piece of a coordinate at a time are in memory.
        """
        for damage in damages(self.path):
            if not damage.file.startswith("provenance/"):  # which stands outside
                raise bad(str(damage), where=str(self.path), allowed="a store that is whole",
                          remedy="run its study again, which rebuilds what is damaged")  # fmt: skip
        sha = hashlib.sha256(self.fingerprint.encode())
        said = (self.replications, self.block, self.cells, self.estimands, self.facts["layouts"])
        sha.update(json.dumps(said, sort_keys=True).encode())
        for name, array in self.coordinates():
            sha.update(f"{name}{array.shape}".encode())
            for start in range(0, array.shape[0], PIECE):
                sha.update(f"{np.asarray(array[start : start + PIECE]).tolist()}".encode())
        for cell in range(len(self.cells)):
            for index in range(self.block_count):
                state = self.state(cell, index)
                if state is BlockState.DONE:
                    self.sound(cell, index)
                found = self.digest(cell, index) if state is BlockState.DONE else ""
                sha.update(f"{cell} {index} {state} {found}\n".encode())
        return sha.hexdigest()

    def coordinates(self) -> Iterator[tuple[str, Any]]:
        """The arrays that name the axes and the cells' parameters, in order of their paths."""
        names = [name for name in arrays_at_root(self._tree) if name not in {"truth", MARKS}]
        names += [f"{group}/{axis}" for group in self.layouts for axis in ("term", "error", "quantity", "fact")]
        return ((name, self._array(name)) for name in sorted(names))

    def _array(self, name: str) -> Any:
        if name not in self._arrays:
            self._arrays[name] = self._root[name]
        return self._arrays[name]

    # Writing: one process only

    def held(self) -> AbstractContextManager[object]:
        """Meanwhile all is written into what is there now, although its place is given to another store."""
        return cast(WritableTree, self._tree).held()

    def _put(
        self, cell: int, index: int, block: Block, origins: NDArray[np.uint16], state: BlockState, kept: Set[str]
    ) -> None:
        """Write the arrays of a block or of some estimators, then their digests, then the block's mark."""
        values = block_arrays(block, self.layouts, self.estimands)
        arrays = packed(values, self.layouts)
        if kept and (there := self.sound_parts(cell, index)) is not None:
            if self._origin in self.origins[cell, index]:
                check_draws(there, block, f"block {index} of cell {cell}", str(self.path))
            if there.truth.keys() == block.truth.keys() and all(
                np.array_equal(there.truth[name], block.truth[name], equal_nan=True) for name in there.truth
            ):
                arrays.pop("truth", None)  # it is there already
        self._blocks.write(cell, index, self.block_rows(index), arrays)
        self._commit(cell, index, state, origins, self._digests_with(cell, index, part_digests(values), kept))

    def _digests_with(self, cell: int, index: int, new: Mapping[str, str], kept: Set[str]) -> NDArray[np.uint8]:
        """The digests of a block's parts, (parts, bytes): new ones, those of parts that are kept, and zeros."""
        parts = self.schema.parts
        digests = np.zeros((len(parts), DIGEST_BYTES), dtype=np.uint8)
        staying = np.isin(parts, sorted(kept))
        digests[staying] = self._digests[cell, index][staying]
        for part, digest in new.items():
            digests[parts.index(part)] = np.frombuffer(bytes.fromhex(digest), dtype=np.uint8)
        return digests

    def _commit(
        self, cell: int, index: int, state: BlockState, origins: NDArray[np.uint16], digests: NDArray[np.uint8]
    ) -> None:
        """Write the mark of a block whose arrays are on disk."""
        there = [part for part, digest in zip(self.schema.parts, digests, strict=True) if digest.any()]
        chunks = files_of(cell, index, self._with_files(there))
        mark = Mark(state, origins, digests, stamp_of(self._tree.looks(chunks), chunks))
        tree = cast(WritableTree, self._tree)
        self.before_mark()
        tree.put(f"{MARKS}/{CHUNK}{cell}.{index}.0", mark.chunk(self.fingerprint, cell, index))
        self.foreign.discard((cell, index))
        self._digests[cell, index] = digests
        self._stamps[cell, index] = np.frombuffer(mark.stamp, dtype=np.uint8)

    def commit(self, cell: int, index: int, written: Written) -> None:
        """Mark a whole block whose arrays a worker has written; raises BadInput when they are not seen here."""
        chunks = files_of(cell, index, self._with_files(self.schema.parts))
        wait_until_seen(self.path, chunks, f"block {index} of cell {cell}")
        origins = np.full(len(self.schema.parts), self._origin, dtype=np.uint16)
        digests = self._digests_with(cell, index, written.digests, frozenset())
        self._commit(cell, index, BlockState.DONE, origins, digests)
        self.states[cell, index], self.origins[cell, index] = BlockState.DONE, origins
        self.keep_tracebacks(cell, index, written.tracebacks, self.layouts)

    def poison(self, cell: int, index: int, traceback: str = "") -> None:
        """Mark a block that cannot be computed, on disk first."""
        self._commit(cell, index, BlockState.POISONED, self.origins[cell, index], self._digests[cell, index])
        super().poison(cell, index, traceback)

    def note(self, key: str, value: Any) -> None:
        """Keep something that stands outside the promise of identical bytes, such as tracebacks or versions."""
        group = self._root.require_group("provenance")
        held = {**dict(group.attrs), key: json.loads(json.dumps(value))}
        group.update_attributes({**held, "digest": seal(held)})

    def noted(self, key: str, default: Any = None) -> Any:
        """What `note` kept."""
        try:
            return self._root["provenance"].attrs.get(key, default)
        except DAMAGE:
            return default

    def _grow(self, replications: int) -> None:
        """Make room for more replications; a last block that was not full is run again, whole."""
        if self.replications % self.block:
            for cell in map(int, np.flatnonzero(self.states[:, -1])):
                last = self.block_count - 1
                self._commit(cell, last, BlockState.PENDING, self.origins[cell, last], 0 * self._digests[cell, last])
        names = [f"{group}/{name}" for group in self.layouts for name, _ in self._root[group].arrays()]  # type: ignore[union-attr]
        for name in [*arrays_at_root(self._tree), *names]:
            array = self._array(name)
            if "replication" in (array.metadata.dimension_names or ()):
                array.resize((array.shape[0], replications, *array.shape[2:]) if array.ndim > 1 else (replications,))
        self._array("replication")[:] = np.arange(replications)
        marks = self._array(MARKS)
        marks.resize((len(self.cells), -(-replications // self.block), *marks.shape[2:]))
        writable(self.path).flush()  # until the root says so, `repair` takes the store back to its size
        seal_root(self.path, replications=replications, study={**self.facts["study"], "replications": replications})
        self._root = self._tree.group("r+")
        self._load()
