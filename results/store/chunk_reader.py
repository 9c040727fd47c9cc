"""Chunks read straight from their files: what zarr's event loop and its threads cost is most of the time of a report.

The arrays of a store have one chunk a block, little-endian numbers compressed by zstd with a CRC-32C behind them. Any
other array, and any store that is no folder, is left to zarr.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numcodecs.zstd import decompress
from numpy.typing import NDArray

CODECS = ["bytes", "zstd", "crc32c"]  # in this order
CHECKSUM = 4  # bytes


@dataclass(frozen=True, slots=True)
class ChunkReader:
    """Reads chunks (block, *shape) of an array (cell, replication, *shape) in the folder of a store."""

    folder: Path
    metadata: Any  # zarr's, of format 3
    chunk: tuple[int, ...]
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, store: Path, name: str, array: Any) -> ChunkReader | None:
        """The reader of an array of a store, None where its chunks are not one a block as we write them."""
        held = array.metadata.to_dict()
        codecs, chunk = list(held["codecs"]), tuple(array.chunks)
        plain = [codec["name"] for codec in codecs] == CODECS and not held.get("storage_transformers")
        endian = codecs[0].get("configuration", {}).get("endian", "little")
        whole = len(chunk) > 1 and chunk[0] == 1 and all(a >= b for a, b in zip(chunk[2:], array.shape[2:], strict=True))
        if not (store.is_dir() and plain and whole and endian == "little" and held["chunk_grid"]["name"] == "regular"):
            return None
        return cls(store / name, array.metadata, chunk, np.dtype(array.dtype).newbyteorder("<"))

    def read(self, cell: int, index: int, rows: int, sizes: tuple[int, ...]) -> NDArray[Any]:
        """The first rows of a chunk, (rows, *sizes), read-only; raises ValueError or OSError where it is damaged."""
        key = self.metadata.encode_chunk_key((cell, index, *(0 for _ in self.chunk[2:])))
        try:
            data = np.frombuffer((self.folder / key).read_bytes(), dtype=np.uint8)
        except FileNotFoundError:  # as zarr has it: nothing but fill values
            return np.full((rows, *sizes), self.metadata.fill_value, dtype=self.dtype)
        body, checksum = data[:-CHECKSUM], data[-CHECKSUM:]
        if google_crc32c.value(body) != int.from_bytes(checksum.tobytes(), "little"):
            raise ValueError(f"{key} does not match its checksum")
        values = np.frombuffer(decompress(body), dtype=self.dtype).reshape(self.chunk[1:])
        return values[(slice(rows), *map(slice, sizes))]
