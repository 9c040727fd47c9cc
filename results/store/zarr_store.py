"""The Zarr store of one study: one writer, one chunk a block, checksums, the digest last.

Root: coordinates, grid parameters, `truth (cell, replication, estimand)`, `block_state` and `block_digest (cell,
block)`. One group an estimator: `estimate (cell, replication, term)`, `se, dof (cell, replication, error, term)`,
`pvalue, lower, upper` where they do not follow from these, `status (cell, replication)`, fit statistics. A block
counts only when its digest is there and matches what is read back.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.core.sync import sync

from estimators.core.estimator import Estimates, Layout
from results.store.block import Block, block_arrays, block_digest, digest_of
from results.store.skeleton import StoreSchema, layout_of, write_skeleton
from sim.designs.placebo import Placebo
from sim.errors import BadInput, Problem, bad

MOST_LINES = 5  # about another study's settings
MOST_LETTERS = 60  # of a setting's value


class BlockState(IntEnum):
    """What became of a block."""

    PENDING = 0
    DONE = 1
    POISONED = 2


class ZarrStore:
    """A study's store on disk; satisfies `Records`. Make it with `create`, `open` or `open_or_create`."""

    def __init__(self, path: Path, mode: str) -> None:
        self.path = path
        zarr.config.set({"array.write_empty_chunks": True})  # a block of fill values is a result too
        try:
            self._root = zarr.open_group(store=str(path), mode="r+" if mode == "a" else "r")
            self._facts: dict[str, Any] = dict(self._root.attrs)
            self._facts["fingerprint"]
        except Exception as error:
            raise bad(f"not a readable store ({type(error).__name__})", where=str(path),
                      allowed="a store that `panelproof run` made", remedy="check the path") from error  # fmt: skip
        self._arrays: dict[str, Any] = {}

    @classmethod
    def create(cls, path: Path, schema: StoreSchema) -> ZarrStore:
        """A new store, made in a temporary folder and renamed into place. Raises BadInput when the path is taken."""
        if path.exists():
            raise bad("already exists", where=str(path), allowed="a new path", remedy="remove it or choose another")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            made = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent))
        except OSError as error:
            raise bad(f"cannot be written: {error.strerror}", where=str(path), allowed="a writable folder",
                      remedy="choose another --store") from error  # fmt: skip
        try:
            write_skeleton(made / "store", schema)
            os.rename(made / "store", path)
        finally:
            shutil.rmtree(made, ignore_errors=True)
        return cls(path, "a")

    @classmethod
    def open(cls, path: Path) -> ZarrStore:
        """An existing store, for reading. Raises BadInput when there is none."""
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
        if schema.replications > store.replications:
            store._grow(schema.replications)
        return store

    # What is in it

    @property
    def facts(self) -> Mapping[str, Any]:
        """The root's attributes: study, fingerprint, sizes, schema version."""
        return self._facts

    @property
    def fingerprint(self) -> str:
        """The study's fingerprint."""
        return str(self._facts["fingerprint"])

    @property
    def replications(self) -> int:
        """Replications a cell that the store has room for."""
        return int(self._facts["replications"])

    @property
    def block(self) -> int:
        """Replications a block."""
        return int(self._facts["block"])

    @cached_property
    def cells(self) -> Sequence[Mapping[str, object]]:
        """The grid parameters of each cell."""
        return tuple(self._facts["cells"])

    @cached_property
    def layouts(self) -> Mapping[str, Layout]:
        """The layout of each estimator, by name."""
        return {name: layout_of(plain) for name, plain in self._facts["layouts"].items()}

    @property
    def estimands(self) -> tuple[str, ...]:
        """Names of the true values."""
        return tuple(self._facts["estimands"])

    def block_rows(self, index: int) -> slice:
        """The replications of a block."""
        return slice(index * self.block, min((index + 1) * self.block, self.replications))

    @property
    def block_count(self) -> int:
        """Blocks a cell."""
        return -(-self.replications // self.block)

    def state(self, cell: int, index: int) -> BlockState:
        """What became of a block, by its mark alone."""
        return BlockState(int(self._array("block_state")[cell, index]))

    def digest(self, cell: int, index: int) -> str:
        """The digest kept with a block, or an empty text."""
        kept = np.asarray(self._array("block_digest")[cell, index], dtype=np.uint8)
        return kept.tobytes().hex() if kept.any() else ""

    def blocks(self, cell: int) -> Iterator[Block]:
        """The finished blocks of a cell, in order; raises BadInput for one that does not match its digest."""
        for index in range(self.block_count):
            if self.state(cell, index) is BlockState.DONE:
                yield self._sound(cell, index)[0]

    def _sound(self, cell: int, index: int) -> tuple[Block, str]:
        """A block and its digest, read back and compared."""
        try:
            block = self.read(cell, index)
            digest = block_digest(block, self.layouts, self.estimands)
        except (ValueError, RuntimeError, OSError, KeyError):
            digest = ""  # a checksum failed, a chunk was cut short or an array is gone
        if not digest or digest != self.digest(cell, index):
            raise bad(f"block {index} of cell {cell} is damaged", where=str(self.path),
                      allowed="blocks that match their digests",
                      remedy="run the study again: damaged blocks are computed anew")  # fmt: skip
        return block, digest

    def read(self, cell: int, index: int) -> Block:
        """One block as it was written; raises an error of zarr when a chunk is damaged or missing."""
        found = self._read_arrays(cell, self.block_rows(index))
        return Block(
            truth={name: found["truth"][:, i] for i, name in enumerate(self.estimands)},
            estimates={name: _estimates_of(name, layout, found) for name, layout in self.layouts.items()},
            tracebacks={},
        )

    def _read_arrays(self, cell: int, rows: slice) -> dict[str, NDArray[Any]]:
        """Some rows of every array, by path, in one turn through zarr's event loop."""
        names = ["truth", *(path for name, layout in self.layouts.items() for path in _paths(name, layout))]
        sources = [self._array(name).async_array for name in names]

        async def read_all() -> list[Any]:
            return await asyncio.gather(*(source.getitem((cell, rows)) for source in sources))

        return dict(zip(names, map(np.asarray, sync(read_all())), strict=True))

    # Writing: one process only

    def write(self, cell: int, index: int, block: Block) -> str:
        """Write a block's arrays, then its digest and mark; returns the digest."""
        rows = self.block_rows(index)
        values = block_arrays(block, self.layouts, self.estimands)
        pairs = [(self._array(name).async_array, array) for name, array in values.items()]

        async def write_all() -> None:  # together: one turn through zarr's event loop instead of fifty
            await asyncio.gather(*(target.setitem((cell, rows), array) for target, array in pairs))

        sync(write_all())
        digest = digest_of(values)
        self._array("block_digest")[cell, index] = np.frombuffer(bytes.fromhex(digest), dtype=np.uint8)
        self._array("block_state")[cell, index] = BlockState.DONE
        return digest

    def poison(self, cell: int, index: int) -> None:
        """Mark a block whose workers died of it; a later run tries again."""
        self._array("block_state")[cell, index] = BlockState.POISONED

    def note(self, key: str, value: Any) -> None:
        """Keep something that stands outside the promise of identical bytes: a run's log, tracebacks, versions."""
        group = self._root.require_group("provenance")
        group.attrs[key] = value

    def noted(self, key: str, default: Any = None) -> Any:
        """What `note` kept."""
        try:
            return self._root["provenance"].attrs.get(key, default)
        except KeyError:
            return default

    def pending(self) -> list[tuple[int, int]]:
        """(cell, block) of every block that is missing or does not match its digest, after re-hashing all others."""
        todo = []
        for index in range(self.block_count):
            todo += [(cell, index) for cell in range(len(self.cells)) if not self.intact(cell, index)]
        return todo

    def intact(self, cell: int, index: int) -> bool:
        """Whether a block is marked as done and what is read back has its digest."""
        try:
            if self.state(cell, index) is not BlockState.DONE:
                return False
            kept = self.digest(cell, index)
            return bool(kept) and kept == block_digest(self.read(cell, index), self.layouts, self.estimands)
        except Exception:  # noqa: BLE001  (whatever a damaged chunk raises, the block is not intact)
            return False

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
                digest = self._sound(cell, index)[1] if state is BlockState.DONE else ""
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

    def check_study(self, schema: StoreSchema) -> None:
        """Raise BadInput, with what differs, unless the store is this study's."""
        if schema.fingerprint == self.fingerprint:
            return
        old, new = self._facts["identity"], json.loads(json.dumps(schema.identity))
        held, asked = _of_a_panel(old), _of_a_panel(new)
        if held != asked:
            test, study = "a placebo test of a panel", "study"
            what = f"holds {test}, not this {study}" if held else f"holds a {study}, not {test}"
            raise bad(what, where=str(self.path), allowed="a store of its own", remedy="choose another --store")
        changed = _differences(old, new)
        if (rest := len(changed) - MOST_LINES + 1) > 1:
            changed = [*changed[: MOST_LINES - 1], f"{rest} more settings are others"]
        raise BadInput(
            *(Problem(f"belongs to another study: {line}", str(self.path), "the study that made it",
                      "choose another --store, or undo the change") for line in changed)
        )  # fmt: skip

    def _grow(self, replications: int) -> None:
        """Make room for more replications; a last block that was not full is run again, whole."""
        old_rows = self.block_rows(self.block_count - 1)
        for name in self._all_arrays():
            array = self._array(name)
            if "replication" in (array.metadata.dimension_names or ()):
                array.resize((array.shape[0], replications, *array.shape[2:]) if array.ndim > 1 else (replications,))
        self._array("replication")[:] = np.arange(replications)
        blocks = -(-replications // self.block)
        if old_rows.stop - old_rows.start < self.block:
            self._array("block_state")[:, self.block_count - 1] = BlockState.PENDING
        self._array("block_state").resize((len(self.cells), blocks))
        self._array("block_digest").resize((len(self.cells), blocks, 32))
        study = {**self._facts["study"], "replications": replications}
        self._root.attrs.update({"replications": replications, "study": study})
        self._facts = dict(self._root.attrs)

    def _all_arrays(self) -> list[str]:
        names = [name for name, _ in self._root.arrays()]
        return names + [f"{group}/{name}" for group in self.layouts for name, _ in self._root[group].arrays()]  # type: ignore[union-attr]


def _differences(old: Any, new: Any, path: str = "") -> list[str]:
    """One line for each setting that is not the same; of another kind the kind alone, whose settings are its own."""
    if isinstance(old, dict) and isinstance(new, dict):
        if old.get("kind") != new.get("kind"):
            return _differences(old.get("kind"), new.get("kind"), f"{path}.kind".lstrip("."))
        keys = list(dict.fromkeys((*old, *new)))
        return [line for key in keys for line in _differences(old.get(key), new.get(key), f"{path}.{key}".lstrip("."))]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = zip(old, new, strict=True)
        return [line for i, (a, b) in enumerate(pairs) for line in _differences(a, b, f"{path}[{i}]")]
    if old == new:
        return []
    was, now = _brief(old), _brief(new)
    return [f"{path} is another" if was == now else f"{path} was {was}, is now {now}"]


def _brief(value: Any) -> str:
    """A value in a few letters; long texts, such as a panel's, by their length."""
    text = json.dumps(value, ensure_ascii=False)
    if len(text) <= MOST_LETTERS:
        return text
    if isinstance(value, str):
        return f"a text of {len(value):,} letters"
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return f"{len(value)} tables"
    return text[: MOST_LETTERS - 3] + "..."


def _of_a_panel(identity: Mapping[str, Any]) -> bool:
    """Whether a study is the placebo test of a panel that it holds."""
    design = identity["design"]
    return design["kind"] == Placebo.kind and bool(design["panel"])


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
