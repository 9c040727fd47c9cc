"""The files of a store as objects: many are asked for at once, because each answer takes its time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import zarr
from zarr.storage import ObjectStore

from results.store.bucket import HALF_MADE, ObjectPath, answered, client_of, obstore
from results.store.tree import MARKS, META, Contents, axes_in, is_chunk, marks_of

AT_ONCE = 32  # requests


class Objects:
    """A store in an object store."""

    def __init__(self, path: ObjectPath) -> None:
        self.path = path
        self._client, self._obstore = client_of(path), obstore()
        self._written: dict[str, str] = {}  # how chunks look that were put and not yet asked for

    def group(self, mode: Literal["r", "r+"]) -> zarr.Group:
        """The store as zarr sees it."""
        store = _Zarr(self._client, self.path, self._written, read_only=mode == "r")
        return zarr.open_group(store=store, mode=mode, zarr_format=3)

    def metadata(self, names: frozenset[str]) -> Iterator[str]:
        """Files of these names, chunks left out."""
        found, folders = [], [""]
        while folders:
            pages = _together(self._folder, folders)
            found += [name for _, files in pages for name in files if name.rpartition("/")[2] in names]
            held = self.read_all(f"{name}/{META}" for inner, _ in pages for name in inner)
            of_blocks = {file for file, data in held.items() if axes_in(data) > 1}
            found += [file for file in of_blocks if META in names]  # they hold an object a block: they are not listed
            folders = [file.removesuffix(f"/{META}") for file in held if file not in of_blocks]
        yield from sorted(found)

    def _folder(self, name: str) -> tuple[list[str], list[str]]:
        """The folders and the files in one."""
        with answered(self.path):
            found = self._obstore.list_with_delimiter(self._client, name or None)
        return list(found["common_prefixes"]), [held["path"] for held in found["objects"]]

    def files(self, under: str = "") -> list[str]:
        """Every file, or those of a folder, in order of their names."""
        return sorted(held["path"] for held in self._all(under))

    def _all(self, under: str = "") -> Iterator[dict[str, Any]]:
        with answered(self.path):
            for page in self._obstore.list(self._client, prefix=f"{under}/" if under else None):
                yield from page

    def chunks(self, array: str) -> list[str]:
        """The chunks of an array, in order of their names."""
        return [name for name in self.files(array) if is_chunk(name)]

    def marks(self, separator: str = ".") -> Iterator[tuple[int, int, str]]:
        """(cell, block, file) of every mark."""
        yield from marks_of(self.files(MARKS), separator)

    def odd(self, *, chunks: bool = True) -> Iterator[tuple[str, str]]:
        """Nothing: object stores have no links."""
        return iter(())

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return bool(self.looks([name]))

    def read(self, name: str) -> bytes:
        """All of a file; raises FileNotFoundError where it is not there."""
        with answered(self.path):
            return bytes(self._obstore.get(self._client, name).bytes())

    def read_all(self, names: Iterable[str]) -> Contents:
        """All of several files, or why one cannot be read."""
        wanted = list(names)
        return dict(zip(wanted, _together(self._tried, wanted), strict=True))

    def _tried(self, name: str) -> bytes | OSError:
        try:
            return self.read(name)
        except OSError as error:
            return error

    def looks(self, names: Sequence[str]) -> dict[str, str]:
        """How files look: their sizes and ETags; those that are not there are left out."""
        found = zip(names, _together(self._seen, names), strict=True)
        return {name: look for name, look in found if look}

    def looks_in(self, array: str) -> Iterator[tuple[str, str]]:
        """(name, how it looks) of every chunk of an array."""
        return ((held["path"], _look(held)) for held in self._all(array) if is_chunk(held["path"]))

    def _seen(self, name: str) -> str:
        """How a file looks; "" where it is not there. Of a chunk that was just put its answer said so."""
        if known := self._written.pop(name, ""):
            return known
        with answered(self.path):
            try:
                return _look(self._obstore.head(self._client, name))
            except FileNotFoundError:
                return ""

    def put(self, name: str, data: bytes, *, flushed: bool = True) -> None:
        """Write an object, whole or not at all; what was put is there."""
        with answered(self.path):
            self._obstore.put(self._client, name, data)

    def delete(self, name: str) -> None:
        """Delete a file, which need not be there."""
        with answered(self.path):
            try:
                self._obstore.delete(self._client, name)
            except FileNotFoundError:
                return

    def flush(self) -> None:
        """Nothing: what was put is there."""

    def take_place(self, made: Path) -> None:
        """Become the store that was made in a folder of this machine: its root's metadata are written last.

        A kill leaves the object `half-made`, by which the place counts as empty; what lies there is then deleted.
        """
        self.put(HALF_MADE, b"")
        _together(self.delete, [name for name in self.files() if name != HALF_MADE])
        names = sorted(file.relative_to(made).as_posix() for file in made.rglob("*") if file.is_file())
        _together(lambda name: self.put(name, (made / name).read_bytes()), [name for name in names if name != META])
        self.put(META, (made / META).read_bytes())
        self.delete(HALF_MADE)


class _Zarr(ObjectStore[Any]):
    """zarr's store, which says in one line when the object store does not answer."""

    def __init__(self, store: Any, path: ObjectPath, written: dict[str, str], *, read_only: bool) -> None:
        super().__init__(store, read_only=read_only)
        self._path, self._written = path, written

    def with_read_only(self, read_only: bool = False) -> _Zarr:
        return _Zarr(self.store, self._path, self._written, read_only=read_only)

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        with answered(self._path):
            return await super().get(key, prototype, byte_range)

    async def exists(self, key: str) -> bool:
        with answered(self._path):
            return await super().exists(key)

    async def set(self, key: str, value: Any) -> None:
        self._check_writable()
        with answered(self._path):
            data = value.as_buffer_like()
            put = await obstore().put_async(self.store, key, data)
        if put["e_tag"] and is_chunk(key):
            self._written[key] = _look({"size": len(value), "e_tag": put["e_tag"]})

    async def delete(self, key: str) -> None:
        with answered(self._path):
            await super().delete(key)

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:  # type: ignore[override]
        with answered(self._path):
            async for name in super().list_dir(prefix):
                yield name


def _look(held: dict[str, Any]) -> str:
    return f"{held['size']} {held['e_tag']}"


def _together[T](ask: Callable[[str], T], names: Sequence[str]) -> list[T]:
    """What is answered of each name; several at once."""
    if len(names) < 2:
        return [ask(name) for name in names]
    with ThreadPoolExecutor(min(AT_ONCE, len(names))) as pool:
        return list(pool.map(ask, names))
