"""The Zarr store of one study: one writer, one chunk a block, checksums, the digest last.

Root: coordinates, grid parameters, `truth (cell, replication, estimand)`, `block_state` and `block_digest (cell,
block)`. One group an estimator: `estimate (cell, replication, term)`, `se, dof (cell, replication, error, term)`,
`pvalue, lower, upper` where they do not follow from these, `status (cell, replication)`, fit statistics. A block
counts only when its digest is there and matches what is read back. The group `provenance`, which stands outside the
promise of identical bytes, keeps environments, tracebacks and `block_origin (cell, block)`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.core.sync import sync

from estimators.core.estimator import Estimates, Layout
from results.store.block import Block, block_arrays, block_digest, digest_of
from results.store.identity import check_identity
from results.store.skeleton import StoreSchema, create_origins, schema_from, write_skeleton
from results.store.store import BlockState, Store
from sim.errors import bad

DAMAGE = (ValueError, RuntimeError, OSError, KeyError)  # a checksum fails, a chunk was cut short or an array is gone
DIGEST_BYTES = 32
ORIGIN = "provenance/block_origin"


class ZarrStore(Store):
    """A study's store on disk. Make it with `create`, `open` or `open_or_create`."""

    def __init__(self, path: Path, mode: str) -> None:
        self.path = path
        zarr.config.set({"array.write_empty_chunks": True})  # a block of fill values is a result too
        try:
            self._root = zarr.open_group(store=str(path), mode="r+" if mode == "a" else "r")
            self._load()
        except Exception as error:
            raise bad(f"not a readable store ({type(error).__name__})", where=str(path),
                      allowed="a store that `panelproof run` made", remedy="check the path") from error  # fmt: skip

    def _load(self) -> None:
        """Read the facts and the marks of all blocks, once; the digest of a block with a mark is there already."""
        self._arrays: dict[str, Any] = {}
        self._facts: dict[str, Any] = dict(self._root.attrs)
        self.schema = schema_from(self._facts)
        self.states = self._marks("block_state").astype(np.uint8)
        self.origins = self._marks(ORIGIN).astype(np.uint16)

    def _marks(self, name: str) -> NDArray[Any]:
        """An array of one number a block; zeros where it is not there or damaged."""
        marks = np.zeros((len(self.cells), self.block_count), dtype=np.int64)
        try:
            array = self._array(name)
        except KeyError:
            return marks  # a store of an earlier release does not say where its blocks were computed
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
    def create(cls, path: Path, schema: StoreSchema) -> ZarrStore:
        """A new store, made in a temporary folder and renamed into place. Raises BadInput when the path is taken."""
        if path.exists():
            raise bad("already exists", where=str(path), allowed="a new path", remedy="remove it or choose another")
        real = path.resolve()  # where a symbolic link leads to
        try:
            real.parent.mkdir(parents=True, exist_ok=True)
            made = Path(tempfile.mkdtemp(prefix=f".{real.name}.", suffix=".partial", dir=real.parent))
        except OSError as error:
            raise bad(f"cannot be written: {error.strerror}", where=str(path), allowed="a writable folder",
                      remedy="choose another --store") from error  # fmt: skip
        try:
            write_skeleton(made / "store", schema)
            os.rename(made / "store", real)
        finally:
            shutil.rmtree(made, ignore_errors=True)
        return cls(path, "a")

    @classmethod
    def open(cls, path: Path) -> ZarrStore:
        """An existing store, for reading, as it is now. Raises BadInput when there is none."""
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
        store.check_study(schema)
        if ORIGIN not in store._arrays:
            create_origins(store._root, *store.states.shape)
            store._load()
        if schema.replications > store.replications:
            store._grow(schema.replications)
        return store

    def check_study(self, schema: StoreSchema) -> None:
        """Raise BadInput, with what differs, unless the store is this study's."""
        if schema.fingerprint != self.fingerprint:
            check_identity(self._facts["identity"], json.loads(json.dumps(schema.identity)), str(self.path))

    # What is in it

    @property
    def facts(self) -> Mapping[str, Any]:
        """The root's attributes: study, fingerprint, sizes, schema version."""
        return self._facts

    def digest(self, cell: int, index: int) -> str:
        """The digest kept with a block, or an empty text."""
        kept = np.asarray(self._array("block_digest")[cell, index], dtype=np.uint8)
        return kept.tobytes().hex() if kept.any() else ""

    def sound(self, cell: int, index: int) -> Block:
        """A block that is there, read back; raises BadInput when it does not match its digest."""
        try:
            block = self.read(cell, index)
            if block_digest(block, self.layouts, self.estimands) == self.digest(cell, index):
                return block
        except DAMAGE:
            pass
        raise self._damaged(cell, index)

    def array_of(self, cell: int, index: int, name: str) -> NDArray[Any]:
        """One array of a block that is there, by its path; raises BadInput when it is damaged."""
        try:
            return self._read_arrays(cell, index, [name])[name]
        except DAMAGE as error:
            raise self._damaged(cell, index) from error

    def intact(self, cell: int, index: int) -> bool:
        """Whether a block is marked as done and what is read back has its digest."""
        try:
            return self.state(cell, index) is BlockState.DONE and bool(self.sound(cell, index))
        except Exception:  # noqa: BLE001  (whatever a damaged chunk raises, the block is not intact)
            return False

    def statuses(self, cell: int, index: int) -> Mapping[str, NDArray[np.uint8]]:
        """The status (R,) of each fit of a block that is there, by estimator; raises BadInput when it is damaged."""
        try:
            found = self._read_arrays(cell, index, [f"{name}/status" for name in self.layouts])
        except DAMAGE as error:
            raise self._damaged(cell, index) from error
        return {name: found[f"{name}/status"] for name in self.layouts}

    def _damaged(self, cell: int, index: int) -> Exception:
        return bad(f"block {index} of cell {cell} is damaged", where=str(self.path),
                   allowed="blocks that match their digests",
                   remedy="run the study again: damaged blocks are computed anew")  # fmt: skip

    def read(self, cell: int, index: int) -> Block:
        """One block as it was written; raises an error of zarr when a chunk is damaged or missing."""
        names = ["truth", *(path for name, layout in self.layouts.items() for path in _paths(name, layout))]
        found = self._read_arrays(cell, index, names)
        return Block(
            truth={name: found["truth"][:, i] for i, name in enumerate(self.estimands)},
            estimates={name: _estimates_of(name, layout, found) for name, layout in self.layouts.items()},
            tracebacks={},
            start=self.block_rows(index).start,
        )

    def _read_arrays(self, cell: int, index: int, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """A block's rows of some arrays, by path, in one turn through zarr's event loop."""
        sources = [self._array(name).async_array for name in names]
        rows = self.block_rows(index)

        async def read_all() -> list[Any]:
            return await asyncio.gather(*(source.getitem((cell, rows)) for source in sources))

        return dict(zip(names, map(np.asarray, sync(read_all())), strict=True))

    def content_hash(self) -> str:
        """SHA-256 over decoded arrays, coordinates and fingerprint: what two equal runs share."""
        sha = hashlib.sha256(self.fingerprint.encode())
        coordinates = (self.replications, self.block, self.cells, self.estimands, self._facts["layouts"])
        sha.update(json.dumps(coordinates, sort_keys=True).encode())
        for name in self._coordinates():
            sha.update(f"{name}{np.asarray(self._array(name)[:]).tolist()}".encode())
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

    def _put(self, cell: int, index: int, block: Block) -> None:
        """Write a block's arrays, then its digest, then its mark."""
        values = block_arrays(block, self.layouts, self.estimands)
        rows = self.block_rows(index)
        digest = np.frombuffer(bytes.fromhex(digest_of(values)), dtype=np.uint8)
        self._set({name: ((cell, rows), array) for name, array in values.items()})
        self._set({"block_digest": ((cell, index), digest), ORIGIN: ((cell, index), np.uint16(self._origin))})
        self._set({"block_state": ((cell, index), np.uint8(BlockState.DONE))})

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
        self._root.require_group("provenance").attrs[key] = value

    def noted(self, key: str, default: Any = None) -> Any:
        """What `note` kept."""
        try:
            return self._root["provenance"].attrs.get(key, default)
        except KeyError:
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
        blocks = -(-replications // self.block)
        for name, sizes in (("block_state", ()), ("block_digest", (DIGEST_BYTES,)), (ORIGIN, ())):
            self._array(name).resize((len(self.cells), blocks, *sizes))
        study = {**self._facts["study"], "replications": replications}
        self._root.attrs.update({"replications": replications, "study": study})
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
