"""The mark of a block: what became of it, what computed it, its digests, and how its files looked.

All of it is one chunk of `block_mark (cell, block, byte)`, written last and renamed into place: a block counts with all
of it or not at all. Bytes: the state; the environment of each part (2, little-endian); the SHA-256 of each part (32);
a stamp of the sizes and times (in object stores ETags) of the block's files (8, zeros = not known).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numcodecs import Zstd
from numcodecs.checksum32 import CRC32C
from numpy.typing import NDArray

DIGEST_BYTES = 32
STAMP_BYTES = 8
NO_STAMP = bytes(STAMP_BYTES)
ZSTD_MAGIC = bytes.fromhex("28b52ffd")
_checksum, _zstd = CRC32C(location="end"), Zstd()


def mark_bytes(parts: int) -> int:
    """Bytes of a mark."""
    return 1 + parts * (2 + DIGEST_BYTES) + STAMP_BYTES


@dataclass(frozen=True, slots=True)
class Mark:
    """state: a BlockState. origins (parts,): numbers of environments. digests (parts, 32)."""

    state: int
    origins: NDArray[np.uint16]
    digests: NDArray[np.uint8]
    stamp: bytes = NO_STAMP

    @property
    def values(self) -> NDArray[np.uint8]:
        """The mark as it is written."""
        raw = bytes([self.state]) + self.origins.astype("<u2").tobytes() + self.digests.tobytes() + self.stamp
        return np.frombuffer(raw, dtype=np.uint8)

    @classmethod
    def of(cls, values: NDArray[np.uint8], parts: int) -> Mark:
        """The mark that `values` writes; raises ValueError for another length."""
        raw = values.tobytes()
        if len(raw) != mark_bytes(parts):
            raise ValueError(f"a mark of {len(raw)} bytes")
        origins = np.frombuffer(raw, "<u2", parts, 1).astype(np.uint16)
        digests = np.frombuffer(raw, np.uint8, parts * DIGEST_BYTES, 1 + 2 * parts).reshape(parts, DIGEST_BYTES)
        return cls(raw[0], origins, digests, raw[-STAMP_BYTES:])


def decoded(raw: bytes | OSError, parts: int) -> NDArray[np.uint8]:
    """The bytes of a mark's chunk; raises ValueError or RuntimeError when it is damaged, OSError where it is that.

    A chunk that says that it opens to another size than a mark's is not opened.
    """
    if isinstance(raw, OSError):
        raise raw
    body = bytes(_checksum.decode(raw))
    if (size := opened_size("zstd", body)) != mark_bytes(parts):
        raise ValueError(f"a mark of {size} bytes")
    return np.frombuffer(bytes(_zstd.decode(body)), dtype=np.uint8)


def opened_size(codec: str, body: bytes | memoryview) -> int:
    """Bytes to which what "blosc" or "zstd" compressed says that it opens; -1 where it does not say it.

    The headers: RFC 8878, section 3.1.1.1 (zstd), and README_CHUNK_FORMAT of c-blosc 1.
    """
    if codec == "blosc":
        return int.from_bytes(body[4:8], "little") if len(body) >= 16 else -1
    if len(body) < 6 or bytes(body[:4]) != ZSTD_MAGIC:
        return -1
    flag, single, dictionary = body[4] >> 6, body[4] >> 5 & 1, (0, 1, 2, 4)[body[4] & 3]
    size = (single, 2, 4, 8)[flag]
    start = 5 + (1 - single) + dictionary
    if not size or len(body) < start + size:
        return -1
    return int.from_bytes(body[start : start + size], "little") + (256 if flag == 1 else 0)


def stamp_of(looks: Mapping[str, str], chunks: Iterable[str]) -> bytes:
    """A stamp of how files of a store look, by name (`Tree.looks`); zeros where one is missing."""
    sha = hashlib.sha256()
    for name in chunks:
        if name not in looks:
            return NO_STAMP
        sha.update(f"{name} {looks[name]}\n".encode())
    return sha.digest()[:STAMP_BYTES]
