"""The Zarr store of one study: one writer, one chunk a block, checksums, the digest last.

Root: coordinates, grid parameters, `truth (cell, replication, estimand)`, `block_state (cell, block)` and
`block_digest (cell, block, part)`, whose parts are the truths and each estimator. One group an estimator: `estimate
(cell, replication, term)`, `se, dof (cell, replication, error, term)`,
`pvalue, lower, upper` where they do not follow from these, `status (cell, replication)`, fit statistics. A block
counts only when its digests are there and match what is read back. The group `provenance`, which stands outside the
promise of identical bytes, keeps environments, tracebacks and `block_origin (cell, block, part)`.

A store of schema 1 has one digest and one origin a block. It is read; `run` writes it anew before it adds to it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.core.sync import sync

from estimators.core.estimator import Estimates, Layout
from results.store.block import Block, block_arrays, digest_of, part_digests
from results.store.chunk_reader import ArrayReader
from results.store.copying import fill_grown
from results.store.files import check_format, check_local, damages, root_damage, seal
from results.store.growth import Growth, growth_of
from results.store.lock import set_aside
from results.store.skeleton import DIGEST_BYTES, PIECE, StoreSchema, schema_from, seal_root, write_skeleton
from results.store.store import BlockState, Store
from results.store.workshop import beside
from sim.errors import bad

DAMAGE = (ValueError, RuntimeError, OSError, KeyError, TypeError, AttributeError, IndexError, AssertionError)
ORIGIN = "provenance/block_origin"

type Filler = Callable[[ZarrStore], None]  # writes what a new store holds from the start


class ZarrStore(Store):
    """A study's store on disk. Make it with `create`, `open` or `open_or_create`."""

    def __init__(self, path: Path, mode: str) -> None:
        self.path = path
        zarr.config.set({"array.write_empty_chunks": True})  # a block of fill values is a result too
        check_local(path)
        check_format(path)
        if (path / "zarr.json").exists() and (damage := root_damage(path)) is not None:
            raise bad(str(damage), where=str(path), allowed="a store that is whole",
                      remedy="run its study again, which rebuilds what is damaged")  # fmt: skip
        try:
            self._root = zarr.open_group(store=str(path), mode="r+" if mode == "a" else "r", zarr_format=3)
            self._load()
        except Exception as error:
            raise bad(f"not a readable store ({type(error).__name__})", where=str(path),
                      allowed="a store that `panelproof run` made", remedy="check the path") from error  # fmt: skip

    def _load(self) -> None:
        """Read the facts and the marks of all blocks, once; the digest of a block with a mark is there already."""
        self._arrays: dict[str, Any] = {}
        self._reader = ArrayReader(self.path, self._array)
        self._facts: dict[str, Any] = dict(self._root.attrs)
        self.schema = schema_from(self._facts)
        self.states = self._marks("block_state").astype(np.uint8)
        self.whole_digests = "digest" not in self._facts  # schema 1
        origins = self._marks(ORIGIN, *(() if self.whole_digests else (len(self.schema.parts),)))
        origins = origins[..., None].repeat(len(self.schema.parts), axis=2) if self.whole_digests else origins
        known = origins <= len(self.noted("origins", []))  # damaged provenance has lost what numbers mean
        self.origins = np.where(known, origins, 0).astype(np.uint16)

    def _marks(self, name: str, *sizes: int) -> NDArray[Any]:
        """An array of a few numbers a block; zeros where it is not there or damaged."""
        marks = np.zeros((len(self.cells), self.block_count, *sizes), dtype=np.int64)
        try:
            array = self._array(name)
        except DAMAGE:
            if name != ORIGIN:
                raise
            return marks  # as of a store that does not say where its blocks were computed
        try:
            return np.asarray(array[:, : self.block_count])
        except DAMAGE:
            for place in self.places():
                try:
                    marks[place] = array[place]
                except DAMAGE:
                    continue
        return marks

    @classmethod
    def create(cls, path: Path, schema: StoreSchema, fill: Filler | None = None) -> ZarrStore:
        """A new store, made in a temporary folder, filled there and renamed into place.

        Raises BadInput when the path is taken.
        """
        check_local(path)
        if path.exists():
            raise bad("already exists", where=str(path), allowed="a new path", remedy="remove it or choose another")
        with beside(path) as made:
            write_skeleton(made / "store", schema)
            if fill is not None:
                fill(cls(made / "store", "a"))
            os.rename(made / "store", path.resolve())
        return cls(path, "a")

    def replaced(self, schema: StoreSchema, fill: Filler) -> ZarrStore:
        """A store of another schema in the place of this one, made in a temporary folder and filled from this one.

        A kill leaves one of the two whole: `locked` puts this one back when the other is not yet in its place.
        """
        real = self.path.resolve()
        with beside(self.path) as made:
            write_skeleton(made / "store", schema)
            fill(ZarrStore(made / "store", "a"))
            os.rename(real, set_aside(real))
            os.rename(made / "store", real)
            shutil.rmtree(set_aside(real), ignore_errors=True)
        return ZarrStore(self.path, "a")

    @classmethod
    def open(cls, path: Path) -> ZarrStore:
        """An existing store, for reading, as it is now. Raises BadInput when there is none."""
        check_local(path)
        if not path.exists():
            raise bad("no such store", where=str(path), allowed="a folder that `panelproof run` made",
                      remedy="check the path")  # fmt: skip
        return cls(path, "r")

    @classmethod
    def open_or_create(cls, path: Path, schema: StoreSchema) -> ZarrStore:
        """The study's store, created or resumed and grown to its replications; raises BadInput for another study's."""
        if not path.exists():
            return cls.create(path, schema)
        store = cls(path, "a")
        growth = store.check_study(schema)
        if growth is not None:
            size = max(schema.replications, store.replications)
            larger = replace(schema, replications=size, study={**schema.study, "replications": size})
            return store.replaced(larger, lambda target: fill_grown(store, target, growth))
        if schema.replications > store.replications:
            store._grow(schema.replications)
        return store

    def check_study(self, schema: StoreSchema) -> Growth | None:
        """How the store must grow sideways to be this study's, None where it need not.

        Raises BadInput, with what differs, when it is another study's.
        """
        return growth_of(self.schema, schema, str(self.path))

    # What is in it

    @property
    def facts(self) -> Mapping[str, Any]:
        """The root's attributes: study, fingerprint, sizes, schema version."""
        return self._facts

    def digest(self, cell: int, index: int) -> str:
        """The digests kept with a block, one after the other, or an empty text."""
        kept = np.asarray(self._array("block_digest")[cell, index], dtype=np.uint8)
        return kept.tobytes().hex() if kept.any() else ""

    def _digests(self, cell: int, index: int) -> NDArray[np.uint8]:
        """The digests kept with a block, (parts, bytes); zeros for parts that are not there, or where damaged."""
        try:
            return np.asarray(self._array("block_digest")[cell, index], dtype=np.uint8)
        except DAMAGE:
            return np.zeros((len(self.schema.parts), DIGEST_BYTES), dtype=np.uint8)

    def sound(self, cell: int, index: int) -> Block:
        """A block that is there, read back; raises BadInput when it does not match its digests."""
        try:
            block = self.read(cell, index)
            if self._reader.known_sound(cell, index) or self._digest(block) == self.digest(cell, index):
                self._reader.keep_sound(cell, index)
                return block
        except DAMAGE:
            pass
        raise self._damaged(cell, index)

    def arrays_of(self, cell: int, index: int, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Arrays of a block that is there, by their paths; raises BadInput when one is damaged."""
        try:
            return self._read_arrays(cell, index, names)
        except DAMAGE as error:
            raise self._damaged(cell, index) from error

    def _digest(self, block: Block) -> str:
        """What `digest` is of a block."""
        arrays = block_arrays(block, self.layouts, self.estimands)
        found = {} if self.whole_digests else part_digests(arrays)
        return digest_of(arrays) if self.whole_digests else "".join(found[part] for part in self.schema.parts)

    def sound_parts(self, cell: int, index: int) -> Block | None:
        """The truths of a block and those estimators that match their digests; None where the truths do not."""
        if self.whole_digests:
            return self.sound(cell, index) if self.intact(cell, index) else None
        kept = dict(zip(self.schema.parts, self._digests(cell, index), strict=True))
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
            return (self.state(cell, index) is BlockState.DONE and self.has_origin(cell, index)
                    and bool(self.sound(cell, index)))  # fmt: skip
        except Exception:  # noqa: BLE001  (whatever a damaged chunk raises, the block is not intact)
            return False

    def has_origin(self, cell: int, index: int) -> bool:
        """Whether what is kept of a block's environments can be read, be it that they are not known."""
        if self.whole_digests or self.origins[cell, index].any():
            return True
        try:
            return bool((self.path / ORIGIN / "c" / f"{cell}" / f"{index}" / "0").is_file()
                        and self._array(ORIGIN)[cell, index] is not None)  # fmt: skip
        except DAMAGE:
            return False

    def statuses(self, cell: int, index: int) -> Mapping[str, NDArray[np.uint8]]:
        """The status (R,) of each fit of a block that is there, by estimator; raises BadInput when it is damaged."""
        found = self.arrays_of(cell, index, [f"{name}/status" for name in self.layouts])
        return {name: found[f"{name}/status"] for name in self.layouts}

    def _damaged(self, cell: int, index: int) -> Exception:
        return bad(f"block {index} of cell {cell} is damaged", where=str(self.path),
                   allowed="blocks that match their digests",
                   remedy="run the study again: damaged blocks are computed anew")  # fmt: skip

    def read(self, cell: int, index: int, names: Sequence[str] | None = None) -> Block:
        """A block as it was written, with all estimators or some; raises an error of zarr for a damaged chunk."""
        layouts = {name: self.layouts[name] for name in (self.layouts if names is None else names)}
        paths = ["truth", *(path for name, layout in layouts.items() for path in _paths(name, layout))]
        found = self._read_arrays(cell, index, paths)
        return Block(
            truth={name: found["truth"][:, i] for i, name in enumerate(self.estimands)},
            estimates={name: _estimates_of(name, layout, found) for name, layout in layouts.items()},
            tracebacks={},
            start=self.block_rows(index).start,
        )

    def _read_arrays(self, cell: int, index: int, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """A block's rows of some arrays, by path."""
        return self._reader.read(cell, index, self.block_rows(index), names)

    def content_hash(self) -> str:
        """SHA-256 over decoded arrays, coordinates and fingerprint: what two equal runs share.

        One block and one piece of a coordinate at a time are in memory.
        """
        for damage in damages(self.path):
            if not damage.file.startswith("provenance/"):  # which stands outside
                raise bad(str(damage), where=str(self.path), allowed="a store that is whole",
                          remedy="run its study again, which rebuilds what is damaged")  # fmt: skip
        sha = hashlib.sha256(self.fingerprint.encode())
        coordinates = (self.replications, self.block, self.cells, self.estimands, self._facts["layouts"])
        sha.update(json.dumps(coordinates, sort_keys=True).encode())
        for name in self._coordinates():
            array = self._array(name)
            sha.update(f"{name}{array.shape}".encode())
            for start in range(0, array.shape[0], PIECE):
                sha.update(f"{np.asarray(array[start : start + PIECE]).tolist()}".encode())
        for cell in range(len(self.cells)):
            for index in range(self.block_count):
                state = self.state(cell, index)
                if state is BlockState.DONE:
                    self.sound(cell, index)
                digest = self.digest(cell, index) if state is BlockState.DONE else ""
                sha.update(f"{cell} {index} {state} {digest}\n".encode())
        return sha.hexdigest()

    def _coordinates(self) -> list[str]:
        """Paths of the arrays that name the axes and the cells' parameters."""
        own = {"truth", "block_state", "block_digest"}
        names = [name for name, _ in self._root.arrays() if name not in own]
        return sorted([*names, *(f"{group}/{axis}" for group in self.layouts for axis in ("term", "error"))])

    def _array(self, name: str) -> Any:
        if name not in self._arrays:
            self._arrays[name] = self._root[name]
        return self._arrays[name]

    # Writing: one process only

    def _put(
        self, cell: int, index: int, block: Block, origins: NDArray[np.uint16], state: BlockState, kept: Set[str]
    ) -> None:
        """Write the arrays of a block or of some estimators, then their digests, then the block's mark."""
        values = block_arrays(block, self.layouts, self.estimands)
        parts = self.schema.parts
        digests = np.zeros((len(parts), DIGEST_BYTES), dtype=np.uint8)
        if kept:
            self._check_draws(cell, index, block)
            staying = np.isin(parts, sorted(kept))
            digests[staying] = self._digests(cell, index)[staying]
        rows = self.block_rows(index)
        for part, digest in part_digests(values).items():
            digests[parts.index(part)] = np.frombuffer(bytes.fromhex(digest), dtype=np.uint8)
        self._set({name: ((cell, rows), array) for name, array in values.items()})
        self._set({"block_digest": ((cell, index), digests), ORIGIN: ((cell, index), origins)})
        self._set({"block_state": ((cell, index), np.uint8(state))})

    def _check_draws(self, cell: int, index: int, block: Block) -> None:
        """Raise BadInput when estimators that join a block were fitted to other panels than those that are there."""
        there = self.sound_parts(cell, index)
        if there is None or not there.estimates or self._origin not in self.origins[cell, index]:
            return
        for name, values in block.truth.items():
            held = there.truth[name]
            if not (np.isnan(held).all() or np.array_equal(held, values, equal_nan=True)):
                what = f"block {index} of cell {cell} holds fits of other panels than those that are drawn now"
                raise bad(f"{what} ({name} differs)", where=str(self.path), remedy="choose another --store",
                          allowed="designs that draw the same panels again")  # fmt: skip

    def _set(self, values: Mapping[str, tuple[Any, Any]]) -> None:
        """Write values at places of arrays together: one turn through zarr's event loop instead of one an array."""
        pairs = [(self._array(name).async_array, place, value) for name, (place, value) in values.items()]

        async def write_all() -> None:
            await asyncio.gather(*(target.setitem(place, value) for target, place, value in pairs))

        sync(write_all())

    def _mark_poisoned(self, cell: int, index: int) -> None:
        self._array("block_state")[cell, index] = BlockState.POISONED

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
            self._array("block_state")[:, self.block_count - 1] = BlockState.PENDING
        for name in self._all_arrays():
            array = self._array(name)
            if "replication" in (array.metadata.dimension_names or ()):
                array.resize((array.shape[0], replications, *array.shape[2:]) if array.ndim > 1 else (replications,))
        self._array("replication")[:] = np.arange(replications)
        for name in ("block_state", "block_digest", ORIGIN):
            array = self._array(name)
            array.resize((len(self.cells), -(-replications // self.block), *array.shape[2:]))
        seal_root(self.path, replications=replications, study={**self._facts["study"], "replications": replications})
        self._root = zarr.open_group(store=str(self.path), mode="r+", zarr_format=3)
        self._load()

    def _all_arrays(self) -> list[str]:
        names = [name for name, _ in self._root.arrays()]
        return names + [f"{group}/{name}" for group in self.layouts for name, _ in self._root[group].arrays()]  # type: ignore[union-attr]


def _paths(name: str, layout: Layout) -> tuple[str, ...]:
    """The arrays of an estimator."""
    return tuple(f"{name}/{part}" for part in ("estimate", "se", "dof", "status", *layout.stored, *layout.statistics))


def _estimates_of(name: str, layout: Layout, arrays: Mapping[str, NDArray[Any]]) -> Estimates:
    def part(field_name: str) -> NDArray[Any]:
        return arrays[f"{name}/{field_name}"]

    return Estimates(
        terms=layout.terms,
        errors=layout.errors,
        estimate=part("estimate"),
        se=part("se"),
        dof=part("dof"),
        status=part("status"),
        statistics={statistic: part(statistic) for statistic in layout.statistics},
        **{field_name: part(field_name) for field_name in layout.stored},
    )
