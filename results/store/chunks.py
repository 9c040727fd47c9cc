"""Blocks that workers write themselves: the arrays, not the mark, which is the client's alone.

The store must lie on a file system that all of them share, or in an object store. Each block is a set of whole chunks
of its own, so that no two workers write one file, and a chunk is renamed into place or put as one object: what a killed
worker leaves counts for nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import zarr

from estimators.core.estimator import Status
from results.store.block import Block, block_arrays, part_digests
from results.store.bucket import ObjectPath, StorePath, StoreUnreachable
from results.store.chunk_arrays import ChunkArrays
from results.store.flushing import flush_files
from results.store.marks import NO_STAMP, stamp_of
from results.store.packing import files_of, packed
from results.store.place import tree_of
from results.store.plain_files import read_plain, write_beside
from results.store.skeleton import StoreSchema, schema_from
from results.store.tree import META
from sim.errors import BadInput, bad

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
    root = "" if isinstance(real, ObjectPath) else _sha(real / META)
    token = Shared(real, secrets.token_hex(8), root, elsewhere)
    try:
        write_text_beside(token_file(real), token.token)
        yield token
    finally:
        with contextlib.suppress(OSError, ValueError, StoreUnreachable):
            if read_text_beside(token_file(real)) == token.token:  # not that of a run that has taken the store over
                token_file(real).unlink()


def write_chunks(place: Shared, cell: int, index: int, block: Block) -> Written:
    """Write the arrays of a whole block from a worker; raises BadInput where the store cannot be seen or written."""
    _check_seen(place)
    try:
        schema, arrays = _opened(place)
        values = block_arrays(block, schema.layouts, schema.estimands)
        rows = slice(index * schema.block, index * schema.block + block.replications)
        zarr.config.set({"array.write_empty_chunks": True})  # a block of fill values is a result too
        arrays.write(cell, index, rows, packed(values, schema.layouts))
        if place.elsewhere and isinstance(place.path, Path):
            parts = [part for part in schema.parts if schema.estimands or part != "truth"]
            flush_files(place.path, files_of(cell, index, parts))
    except OSError as error:
        raise bad(f"a worker cannot write: {error.strerror or error}", where=str(place.path),
                  allowed="a store that workers may write, with room on its disk",
                  remedy="make room, run the same command again") from error  # fmt: skip
    except StoreUnreachable as error:
        raise _unseen(place, f"a worker cannot write: {error}") from error
    failed = sum(int((found.status != Status.OK).sum()) for found in block.estimates.values())
    size = sum(array.nbytes for array in values.values())
    return Written(part_digests(values), block.tracebacks, failed, size)


def _check_seen(place: Shared) -> None:
    """Raise BadInput in a worker that does not see the store."""
    try:
        seen = read_text_beside(token_file(place.path))
    except (OSError, ValueError):
        seen = ""
    except StoreUnreachable as error:
        raise _unseen(place, f"a worker does not see the store: {error}") from error
    if seen != place.token or not _is_same(place):
        raise _unseen(place, "a worker does not see the store")


def _is_same(place: Shared) -> bool:
    """Whether the metadata at a store's root are those of the start: into another store nothing is written."""
    if not place.root or isinstance(place.path, ObjectPath):
        return True
    try:
        seen = os.stat(file := place.path / META)
        return _kept_sha(file, (seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns)) == place.root
    except OSError:
        return False


def _sha(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@lru_cache(maxsize=KEPT_STORES)
def _kept_sha(file: Path, looks: tuple[int, ...]) -> str:
    """SHA-256 of a file, read once as long as it looks the same."""
    return _sha(file)


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
def _opened(place: Shared) -> tuple[StoreSchema, ChunkArrays]:
    """The schema of a store and the arrays of its blocks; once a run and worker."""
    tree = tree_of(place.path)
    root = tree.group("r+")
    return schema_from(dict(root.attrs)), ChunkArrays(tree, cache(root.__getitem__))


def token_file(real: StorePath) -> StorePath:
    """The file beside a store by which workers know it."""
    return real.with_name(f".{real.name}.token")


def write_text_beside(file: StorePath, text: str) -> None:
    """Write a file beside a store anew; of a folder no link is followed, and only its owner can read it."""
    if isinstance(file, Path):
        write_beside(file, text.encode())
    else:
        file.write_text(text)


def read_text_beside(file: StorePath) -> str:
    """What a file beside a store says; raises OSError where it is not there or, in a folder, no plain file."""
    return read_plain(file, MOST_BYTES).decode("utf-8") if isinstance(file, Path) else file.read_text()
