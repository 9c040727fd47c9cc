"""The arrays of a block, straight from and into their files: zarr's event loop and threads cost several times as much.

The arrays of a store have one chunk a block: little-endian numbers, replications last, compressed by Blosc (by zstd in
stores of earlier code) with a CRC-32C behind them. Any other array is left to zarr, and so is what is written into an
object store, whose requests zarr makes together. The bytes are the same.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import google_crc32c
import numpy as np
from numcodecs import Blosc, Zstd, blosc, zstd
from numpy.typing import NDArray
from zarr.core.sync import sync

from results.store.marks import opened_size
from results.store.tree import Folder, Tree

DECOMPRESS = {"blosc": blosc.decompress, "zstd": zstd.decompress}
SHUFFLES = {"noshuffle": Blosc.NOSHUFFLE, "shuffle": Blosc.SHUFFLE, "bitshuffle": Blosc.BITSHUFFLE}
CHECKSUM = 4  # bytes


class ChunkArrays:
    """Reads and writes the rows of a block of some arrays of a store; array_of: zarr's array at a path in it."""

    def __init__(self, store: Tree, array_of: Callable[[str], Any]) -> None:
        self._store, self._array_of = store, array_of
        self._chunks: dict[str, _Chunks | None] = {}
        self._last: dict[int, tuple[int, int]] = {}  # of each cell the block that was last read, and its `seen`

    def read(self, cell: int, index: int, rows: slice, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """By path; raises an error of zarr, ValueError or OSError for a damaged chunk."""
        chunks = {name: self._chunks_of(name) for name in names}
        others = [name for name, files in chunks.items() if files is None]
        keys = {name: files.key(cell, index) for name, files in chunks.items() if files is not None}
        held = self._store.read_all(keys.values())
        read = {name: files.decoded(held[keys[name]], rows) for name, files in chunks.items() if files is not None}
        found = {name: values for name, (values, _) in read.items()}
        checksums = tuple((name, checksum) for name, (_, checksum) in read.items())
        self._last[cell] = index, 0 if others else hash(checksums) % 2**64
        return found | self._through_zarr((cell, rows), others) if others else found

    def write(self, cell: int, index: int, rows: slice, values: Mapping[str, NDArray[Any]]) -> None:
        """Write the rows of a whole block, by path; raises OSError where there is no room, or no right to write."""
        others = dict(values)
        if isinstance(self._store, Folder):
            for name, files in [(name, self._chunks_of(name)) for name in values]:
                if files is not None:
                    self._store.put(files.key(cell, index), files.encoded(others.pop(name)))
        write_together((self._array_of(name), (cell, rows), array) for name, array in others.items())

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

    def _through_zarr(self, place: tuple[int, slice], names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """In one turn through zarr's event loop."""
        sources = [self._array_of(name).async_array for name in names]

        async def read_all() -> list[Any]:
            return await asyncio.gather(*(source.getitem(place) for source in sources))

        return dict(zip(names, map(np.asarray, sync(read_all())), strict=True))


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
        stored, axes = tuple(chunk[axis] for axis in order), tuple(int(axis) for axis in np.argsort(order))
        return cls(name, array.metadata, stored, axes, sizes, np.dtype(array.dtype), names[1],
                   DECOMPRESS[names[1]], _compressor(codecs[1]).encode)  # fmt: skip

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


def _compressor(codec: Mapping[str, Any]) -> Any:
    """numcodecs' compressor with the settings of a codec of zarr."""
    given = dict(codec["configuration"])
    if codec["name"] == "zstd":
        return Zstd(**given)
    return Blosc(**given | {"shuffle": SHUFFLES[given["shuffle"]]})


def write_together(values: Iterable[tuple[Any, Any, Any]]) -> None:
    """Write (array, place, values) together: one turn through zarr's event loop instead of one an array."""
    all_values = [(array.async_array, place, value) for array, place, value in values]  # opened outside that loop
    if not all_values:
        return

    async def write_all() -> None:
        await asyncio.gather(*(array.setitem(place, value) for array, place, value in all_values))

    sync(write_all())
