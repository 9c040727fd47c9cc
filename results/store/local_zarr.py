"""zarr's view of a store in a folder: it reads and writes through our tree, which follows no link."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol, Self

from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import LocalStore


class Files(Protocol):
    """What zarr's store needs of a tree."""

    def read(self, name: str) -> bytes:
        """All of a file."""
        ...

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        ...

    def put(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all."""
        ...

    def delete(self, name: str) -> None:
        """Delete a file, which need not be there."""
        ...


class PlainStore(LocalStore):
    """A folder whose files are read and written by a tree of ours."""

    def __init__(self, root: Path | str, *, read_only: bool = False, tree: Files) -> None:
        super().__init__(root, read_only=read_only)
        self._tree = tree

    def with_read_only(self, read_only: bool = False) -> Self:
        return type(self)(self.root, read_only=read_only, tree=self._tree)

    def get_sync(self, key: str, *, prototype: Any = None, byte_range: Any = None) -> Any:
        """A file or a part of it; None where it is not there. Raises NotPlain for a link."""
        try:
            data = self._tree.read(key)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return (prototype or default_buffer_prototype()).buffer.from_bytes(data[_part(byte_range, len(data))])

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
        return await asyncio.to_thread(self.get_sync, key, prototype=prototype, byte_range=byte_range)

    async def get_partial_values(self, prototype: Any, key_ranges: Iterable[tuple[str, Any]]) -> list[Any]:
        return [await self.get(key, prototype, part) for key, part in key_ranges]

    async def exists(self, key: str) -> bool:
        return await asyncio.to_thread(self._tree.has, key)

    def set_sync(self, key: str, value: Any) -> None:
        self._check_writable()
        self._tree.put(key, value.to_bytes())

    async def _set(self, key: str, value: Any, exclusive: bool = False) -> None:
        if exclusive and await self.exists(key):
            raise FileExistsError(key)
        await asyncio.to_thread(self.set_sync, key, value)

    def delete_sync(self, key: str) -> None:
        self._check_writable()
        with contextlib.suppress(FileNotFoundError):
            self._tree.delete(key)

    async def delete(self, key: str) -> None:
        await asyncio.to_thread(self.delete_sync, key)


def _part(asked: Any, size: int) -> slice:
    """The bytes of a file of `size` that zarr asks for."""
    if isinstance(asked, RangeByteRequest):
        return slice(asked.start, asked.end)
    if isinstance(asked, OffsetByteRequest):
        return slice(asked.offset, None)
    if isinstance(asked, SuffixByteRequest):
        return slice(max(0, size - asked.suffix), None)
    return slice(None)
