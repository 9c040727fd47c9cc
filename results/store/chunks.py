"""Blocks that workers write themselves: the arrays, not the mark, which is the client's alone.

The store must lie on a file system that all of them share, or in an object store. Each block is a set of whole chunks
of its own, so that no two workers write one file, and a chunk is renamed into place or put as one object: what a killed
worker leaves counts for nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import zarr
from numcodecs import Blosc, Zstd, blosc, zstd
from numpy.typing import NDArray
from zarr.core.sync import sync

from results.store.block import Block, block_arrays, part_digests
from results.store.bucket import ObjectPath, StorePath, StoreUnreachable
from results.store.disk import PLAIN, flush_files, read_plain, write_beside
from results.store.files import NO_STAMP, files_of, opened_size, packed, stamp_of, tree_of, writable
from results.store.skeleton import StoreSchema, schema_from
from results.store.tree import META, Folder, Tree, WritableTree
from sim.errors import NO_ROOM, BadInput, bad

# The arrays of a block, straight from and into their files: zarr's event loop and threads cost several times as
# much.
#
# The arrays of a store have one chunk a block: little-endian numbers, replications last, compressed by Blosc (by
# zstd in stores of earlier code) with a CRC-32C behind them. Any other array is left to zarr, and so is what is
# written into an object store, whose requests zarr makes together. The bytes are the same.


DECOMPRESS = {"blosc": blosc.decompress, "zstd": zstd.decompress}
SHUFFLES = {"noshuffle": Blosc.NOSHUFFLE, "shuffle": Blosc.SHUFFLE, "bitshuffle": Blosc.BITSHUFFLE}
CHECKSUM = 4  # bytes


class ChunkArrays:
    """Reads and writes the rows of a block of some arrays of a store; array_of: zarr's array at a path in it."""

    def __init__(self, store: Tree, array_of: Callable[[str], Any]) -> None:
        self._store, self._array_of = store, array_of
        self._chunks: dict[str, _Chunks | None] = {}
        self._last: dict[int, tuple[int, int]] = {}  # of each cell the block that was last read, and its `seen`

    def read(
        self, cell: int, index: int, rows: slice, names: Sequence[str], *, whole: bool = False
    ) -> dict[str, NDArray[Any]]:
        """By path; raises an error of zarr, ValueError or OSError for a damaged chunk.

        whole: also for one that is missing, in whose place fill values are read.
        """
        chunks = {name: self._chunks_of(name) for name in names}
        others = [name for name, files in chunks.items() if files is None]
        keys = {name: files.key(cell, index) for name, files in chunks.items() if files is not None}
        held = self._store.read_all(keys.values())
        gone = [keys[name] for name, files in chunks.items() if files is not None and 0 not in files.sizes
                and isinstance(held[keys[name]], FileNotFoundError)]  # fmt: skip
        if whole and gone:
            raise FileNotFoundError(gone[0])
        read = {name: files.decoded(held[keys[name]], rows) for name, files in chunks.items() if files is not None}
        found = {name: values for name, (values, _) in read.items()}
        checksums = tuple((name, checksum) for name, (_, checksum) in read.items())
        self._last[cell] = index, 0 if others else hash(checksums) % 2**64
        if not others:
            return found
        sources = [self._array_of(name).async_array for name in others]

        async def read_all() -> list[Any]:  # in one turn through zarr's event loop
            return await asyncio.gather(*(source.getitem((cell, rows)) for source in sources))

        return found | dict(zip(others, map(np.asarray, sync(read_all())), strict=True))

    def write(self, cell: int, index: int, rows: slice, values: Mapping[str, NDArray[Any]]) -> None:
        """Write the rows of a whole block, by path; raises OSError where there is no room, or no right to write."""
        others = dict(values)
        if isinstance(self._store, Folder):
            for name, files in [(name, self._chunks_of(name)) for name in values]:
                if files is not None:
                    self._store.put(files.key(cell, index), files.encoded(others.pop(name)))
        left = [(self._array_of(name).async_array, array) for name, array in others.items()]
        if not left:
            return

        async def write_all() -> None:  # in one turn through zarr's event loop, outside of which arrays were opened
            await asyncio.gather(*(array.setitem((cell, rows), given) for array, given in left))

        sync(write_all())

    def seen(self, cell: int, index: int) -> int:
        """A number of the checksums of a block's files that were just read: of equal files the same in this process.

        0 where it is not known.
        """
        block, found = self._last[cell]
        return found if block == index else 0

    def _chunks_of(self, name: str) -> _Chunks | None:
        if name not in self._chunks:
            self._chunks[name] = _Chunks.of(name, self._array_of(name))
        return self._chunks[name]


@dataclass(frozen=True, slots=True)
class _Chunks:
    """The files of an array (cell, replication, *sizes) with chunks (1, block, *sizes)."""

    name: str
    metadata: Any  # zarr's, of format 3
    shape: tuple[int, ...]  # of a chunk as it is stored
    axes: tuple[int, ...]  # which of these is which of the array's
    sizes: tuple[int, ...]
    dtype: np.dtype[Any]
    codec: str
    decompress: Callable[[Any], bytes]
    compress: Callable[[Any], bytes]

    @classmethod
    def of(cls, name: str, array: Any) -> _Chunks | None:
        """Those of an array of a store, None where they are not as we write them."""
        held = array.metadata.to_dict()
        codecs, chunk, sizes = list(held["codecs"]), tuple(array.chunks), tuple(array.shape[2:])
        order = tuple(range(len(chunk)))
        if codecs[0]["name"] == "transpose":
            order = tuple(codecs.pop(0)["configuration"]["order"])
        names = [codec["name"] for codec in codecs]
        ours = len(names) == 3 and names[::2] == ["bytes", "crc32c"] and names[1] in DECOMPRESS
        little = ours and codecs[0].get("configuration", {}).get("endian", "little") == "little"
        regular = held["chunk_grid"]["name"] == "regular"
        whole = chunk[:1] == (1,) and len(chunk) > 1 and all(a >= b for a, b in zip(chunk[2:], sizes, strict=True))
        if not (little and regular and whole):
            return None
        given = dict(codecs[1]["configuration"])
        compressor = Zstd(**given) if names[1] == "zstd" else Blosc(**given | {"shuffle": SHUFFLES[given["shuffle"]]})
        stored, axes = tuple(chunk[axis] for axis in order), tuple(int(axis) for axis in np.argsort(order))
        return cls(name, array.metadata, stored, axes, sizes, np.dtype(array.dtype), names[1],
                   DECOMPRESS[names[1]], compressor.encode)  # fmt: skip

    def key(self, cell: int, index: int) -> str:
        """The file of a block."""
        return f"{self.name}/{self.metadata.encode_chunk_key((cell, index, *(0 for _ in self.sizes)))}"

    def decoded(self, held: bytes | OSError, rows: slice) -> tuple[NDArray[Any], int]:
        """The rows of a block, read-only, and the checksum; raises ValueError or OSError where its chunk is damaged."""
        count = rows.stop - rows.start
        if isinstance(held, FileNotFoundError):  # as zarr has it: nothing but fill values
            return np.full((count, *self.sizes), self.metadata.fill_value, dtype=self.dtype), 0
        if isinstance(held, OSError):
            raise held
        data = np.frombuffer(held, dtype=np.uint8)
        body, checksum = data[:-CHECKSUM], int.from_bytes(data[-CHECKSUM:].tobytes(), "little")
        if google_crc32c.value(body) != checksum:
            raise ValueError(f"a chunk of {self.name} does not match its checksum")
        if opened_size(self.codec, body.data[:64]) != math.prod(self.shape) * self.dtype.itemsize:
            raise ValueError(f"a chunk of {self.name} opens to another size")
        values = np.frombuffer(self.decompress(body), dtype=self.dtype).reshape(self.shape).transpose(self.axes)[0]
        return values[(slice(count), *map(slice, self.sizes))], checksum

    def encoded(self, values: NDArray[Any]) -> bytes:
        """A chunk with the rows of a block (R, *sizes); what is left of it are fill values."""
        shape = tuple(self.shape[axis] for axis in self.axes)
        whole = values[None]
        if whole.shape != shape:
            whole = np.full(shape, self.metadata.fill_value, dtype=self.dtype)
            place: tuple[Any, ...] = (0, slice(len(values)), *map(slice, self.sizes))
            whole[place] = values
        stored = np.ascontiguousarray(whole.transpose(np.argsort(self.axes)), dtype=self.dtype)
        body = self.compress(stored)
        return b"".join([body, google_crc32c.value(body).to_bytes(CHECKSUM, "little")])


SEEN_SECONDS = 30.0  # in which a network file system must show what a worker wrote
KEPT_STORES = 4  # that a worker remembers
MOST_BYTES = 1 << 12  # of a token


@dataclass(frozen=True, slots=True)
class Shared:
    """A store that workers write into; token: what a file beside it says as long as this run lasts.

    root: SHA-256 of the root's metadata, "" where it is not compared. elsewhere: workers are on other machines, whose
    systems this process cannot ask to flush.
    """

    path: StorePath
    token: str
    root: str = ""
    elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """A block whose arrays are in the store: digests of its parts, and the texts of fits that raised.

    failed, bytes: fits that are not OK, and the size of its numbers.
    """

    digests: Mapping[str, str]
    tracebacks: Mapping[tuple[int, str], str]
    failed: int = 0
    bytes: int = 0


@contextmanager
def shared(path: StorePath, *, elsewhere: bool = False) -> Iterator[Shared]:
    """A store for workers to write into, with a token beside it by which they know that they see the same one."""
    real = path.resolve()
    root = "" if isinstance(real, ObjectPath) else hashlib.sha256(read_plain(real / META)).hexdigest()
    token = Shared(real, secrets.token_hex(8), root, elsewhere)
    file = token_file(real)  # of a folder no link is followed, and only its owner can read it
    try:
        if isinstance(file, Path):
            write_beside(file, token.token.encode())
        else:
            file.write_text(token.token)
        yield token
    finally:
        with contextlib.suppress(OSError, ValueError, StoreUnreachable):
            if read_text_beside(file) == token.token:  # not that of a run that has taken the store over
                file.unlink()


def write_chunks(place: Shared, cell: int, index: int, block: Block) -> Written:
    """Write the arrays of a whole block from a worker; raises BadInput where the store cannot be seen or written."""
    try:
        seen = read_text_beside(token_file(place.path))
    except (OSError, ValueError):
        seen = ""
    except StoreUnreachable as error:
        raise _unseen(place, f"a worker does not see the store: {error}") from error
    if seen != place.token or not _is_same(place):
        raise _unseen(place, "a worker does not see the store")

    try:
        tree, schema, arrays = _opened(place)
        values = block_arrays(block, schema.layouts, schema.estimands)
        rows = slice(index * schema.block, index * schema.block + block.replications)
        zarr.config.set({"array.write_empty_chunks": True})  # a block of fill values is a result too
        with tree.held() as root:
            if not _is_same(place, root):  # it went after the look before
                raise _unseen(place, "a worker does not see the store")
            arrays.write(cell, index, rows, packed(values, schema.layouts))
        if place.elsewhere and isinstance(place.path, Path):
            parts = [part for part in schema.parts if schema.estimands or part != "truth"]
            flush_files(place.path, files_of(cell, index, parts))
    except OSError as error:
        if error.errno in NO_ROOM:  # as where this process itself writes
            raise OSError(error.errno, error.strerror, str(place.path)) from error
        raise bad(f"a worker cannot write: {error.strerror or error}", where=str(place.path),
                  allowed="a store that workers may write, with room on its disk",
                  remedy="make room, run the same command again") from error  # fmt: skip
    except StoreUnreachable as error:
        raise _unseen(place, f"a worker cannot write: {error}") from error
    size = sum(array.nbytes for array in values.values())
    return Written(part_digests(values), block.tracebacks, block.failed, size)


def _is_same(place: Shared, held: int | None = None) -> bool:
    """Whether the metadata at a store's root are those of the start: into another store nothing is written.

    held: the store's folder where it is held open; else it is looked for by its path.
    """
    if not place.root or isinstance(place.path, ObjectPath):
        return True
    file = place.path / META if held is None else META
    try:
        seen = os.stat(file, dir_fd=held)
        return _sha(file, held, (seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns)) == place.root
    except OSError:
        return False


@lru_cache(maxsize=KEPT_STORES)
def _sha(file: Path | str, at: int | None, looks: tuple[int, ...]) -> str:
    """SHA-256 of a file, in an open folder where `at` is one; read once as long as it looks the same."""
    with open(os.open(file, os.O_RDONLY | PLAIN, dir_fd=at), "rb") as opened:
        return hashlib.sha256(opened.read()).hexdigest()


def _unseen(place: Shared, what: str) -> BadInput:
    allowed = "a folder on a file system that all workers share, under the same path"
    if isinstance(place.path, ObjectPath):
        allowed = "workers whose own environment has the endpoint, credentials that may write, and obstore"
    return bad(what, where=str(place.path), allowed=allowed, remedy="leave --writes workers out")


def wait_until_seen(path: StorePath, chunks: Iterable[str], what: str) -> None:
    """Wait for files that a worker wrote; raises BadInput when they do not appear here."""
    names, deadline = list(chunks), time.monotonic() + SEEN_SECONDS
    while names and stamp_of(tree_of(path).looks(names), names) == NO_STAMP:
        if time.monotonic() > deadline or not tree_of(path).has(META):
            raise bad(f"{what}, which a worker wrote, is not seen here", where=str(path),
                      allowed="a file system that all share", remedy="leave --writes workers out")  # fmt: skip
        time.sleep(0.1)


@lru_cache(maxsize=KEPT_STORES)
def _opened(place: Shared) -> tuple[WritableTree, StoreSchema, ChunkArrays]:
    """The files of a store, its schema and the arrays of its blocks; once a run and worker."""
    tree = writable(place.path)
    root = tree.group("r+")
    return tree, schema_from(dict(root.attrs)), ChunkArrays(tree, cache(root.__getitem__))


def token_file(real: StorePath) -> StorePath:
    """The file beside a store by which workers know it."""
    return real.with_name(f".{real.name}.token")


def read_text_beside(file: StorePath) -> str:
    """What a file beside a store says; raises OSError where it is not there or, in a folder, no plain file."""
    return read_plain(file, MOST_BYTES).decode("utf-8") if isinstance(file, Path) else file.read_text()
