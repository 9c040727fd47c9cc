"""The files of a store by name, whether they lie in a folder, in one zip or in an object store."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import secrets
import shutil
import stat
import zipfile
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, Self

import zarr
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import LocalStore, ObjectStore, ZipStore

from results.store.bucket import HALF_MADE, ObjectPath, StoreUnreachable, answered, client_of, obstore
from results.store.disk import (
    FOLDER,
    LINK,
    PLAIN,
    NotPlain,
    flush,
    flush_names,
    flush_open,
    folder_inside,
    is_inside,
    read_plain,
    replace_inside,
    walked,
)
from sim.errors import bad

META, MARKS, CHUNK = "zarr.json", "block_mark", "c."  # CHUNK: how the names of chunks begin
MOST_ENTERED = 4096  # folders that are known to be no links
NOT_READ = (errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE)  # errors that are no damage of a file

type Contents = dict[str, bytes | OSError]  # of files by name, or why one cannot be read


class Tree(ABC):
    """Files by their paths from the store's root, with "/" between."""

    @abstractmethod
    def group(self, mode: Literal["r", "r+"]) -> zarr.Group:
        """The store as zarr sees it; raises an error of zarr where there is none."""

    def metadata(self, names: frozenset[str]) -> Iterator[str]:
        """Files of these names, chunks left out."""
        return (name for name in self.files() if name.rpartition("/")[2] in names)

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return bool(self.looks([name]))

    @abstractmethod
    def files(self, under: str = "") -> list[str]:
        """Every file, or those of a folder, in order of their names."""

    def chunks(self, array: str) -> list[str]:
        """The chunks of an array, in order of their names."""
        return [name for name in self.files(array) if is_chunk(name)]

    def marks(self, separator: str = ".") -> Iterator[tuple[int, int, str]]:
        """(cell, block, file) of every mark; others cost nothing. separator: "/" in stores of format 2."""
        return marks_of(self.files(MARKS), separator)

    def odd(self, *, chunks: bool = True) -> Iterator[tuple[str, str]]:
        """(name, what it is) of all that is neither file nor folder; chunks: also among blocks, of which many are."""
        return iter(())

    @abstractmethod
    def read(self, name: str) -> bytes:
        """All of a file; raises OSError when it cannot be read, FileNotFoundError where it is not there."""

    def read_all(self, names: Iterable[str]) -> Contents:
        """All of several files, or why one cannot be read."""
        return {name: self.tried(name) for name in names}

    def tried(self, name: str) -> bytes | OSError:
        """All of a file, or why it cannot be read."""
        try:
            return self.read(name)
        except OSError as error:
            return error

    @abstractmethod
    def looks(self, names: Sequence[str]) -> dict[str, str]:
        """How files look without being read: sizes and times or versions; those that are not there are left out."""

    def looks_in(self, array: str) -> Iterator[tuple[str, str]]:
        """(name, how it looks) of every chunk of an array, by one listing and in no order."""
        return iter(self.looks(self.chunks(array)).items())


class WritableTree(Tree):
    """Files that can be written; for one process."""

    @abstractmethod
    def put(self, name: str, data: bytes, *, flushed: bool = False) -> None:
        """Write a file, whole or not at all; flushed: a power cut leaves the old one or the new one too."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Delete a file, which need not be there."""

    def flush(self) -> None:  # of an object store, where what was put is there, nothing need be done
        """Have all that was written on the disk; raises OSError where that fails."""

    @abstractmethod
    def take_place(self, made: Path) -> None:
        """Become the store that was made in a folder: whole or not at all, also in a power cut."""

    @contextlib.contextmanager
    def held(self) -> Iterator[int | None]:
        """Meanwhile all is written into what is there now, although its place is given to another store.

        Yields the descriptor of its folder where it is one; not for several threads.
        """
        yield None


class Folder(WritableTree):
    """A store in a folder, below which no link is followed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._root: Path | int = path  # where files are written: by its path, or the folder that is held open
        self._entered: set[str] = {""}  # folders that are no links

    @contextlib.contextmanager
    def held(self) -> Iterator[int | None]:
        """Meanwhile all is written into the folder that is there now, wherever it is moved."""
        before, held = self._root, os.open(self.path, FOLDER)
        self._root = held
        try:
            yield held
        finally:
            self._root = before
            os.close(held)

    def group(self, mode: Literal["r", "r+"]) -> zarr.Group:
        """The store as zarr sees it."""
        store = _Zarr(self.path, read_only=mode == "r", tree=self)
        return zarr.open_group(store=store, mode=mode, zarr_format=3)

    def metadata(self, names: frozenset[str]) -> Iterator[str]:
        """Files of these names, chunks left out."""

        def of_blocks(folder: str) -> list[str] | None:
            return [file for name in names if self.has(file := f"{folder}/{name}")] if self._blocks(folder) else None

        for name, what in walked(self.path, instead=of_blocks):
            if not what and name.rpartition("/")[2] in names:
                yield name

    def _blocks(self, folder: str) -> bool:
        """Whether a folder is that of an array with a chunk a block."""
        return axes_in(self.tried(f"{folder}/{META}")) > 1

    def files(self, under: str = "") -> list[str]:
        """Every file, or those of a folder, in order of their names."""
        with contextlib.suppress(OSError):
            self._enter(under)
            return sorted(name for name, what in walked(self.path, under) if not what)
        return []

    def odd(self, *, chunks: bool = True) -> Iterator[tuple[str, str]]:
        """(name, what it is) of all that is neither file nor folder."""
        found = walked(self.path, instead=lambda folder: None if chunks or not self._blocks(folder) else ())
        return ((name, what) for name, what in found if what)

    def marks(self, separator: str = ".") -> Iterator[tuple[int, int, str]]:
        """(cell, block, file) of every mark."""
        if separator == "/":
            return super().marks(separator)
        return marks_of((f"{MARKS}/{entry.name}" for entry in self._entries(MARKS)), separator)

    def _entries(self, folder: str) -> Iterator[os.DirEntry[str]]:
        """What is in a folder; nothing where there is none or it is a link."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, NotPlain):
            self._enter(folder)
            with os.scandir(os.path.join(self.path, folder)) as entries:
                yield from entries

    def _enter(self, folder: str) -> None:
        """Raise NotPlain where a folder of the store, or one above it, is a link, or lies outside."""
        if folder in self._entered:
            return
        if not is_inside(folder):
            raise NotPlain(errno.EINVAL, "is no name of a file of a store", folder)
        self._enter(folder.rpartition("/")[0])
        place = os.path.join(self.path, folder)
        mode = os.lstat(place).st_mode
        if stat.S_ISLNK(mode):
            raise NotPlain(errno.ELOOP, LINK, place)
        if not stat.S_ISDIR(mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), place)
        if len(self._entered) < MOST_ENTERED:
            self._entered.add(folder)

    def read(self, name: str) -> bytes:
        """All of a file."""
        self._enter(name.rpartition("/")[0])
        place = os.path.join(self.path, name)
        try:
            return read_plain(place)
        except OSError as error:
            if error.errno in NOT_READ:
                raise StoreUnreachable(f"{place}: {error.strerror}; correct this and try again") from error
            raise

    def looks(self, names: Sequence[str]) -> dict[str, str]:
        """How files look: their sizes and times."""
        found = {}
        for name in names:
            with contextlib.suppress(OSError):
                self._enter(name.rpartition("/")[0])
                if look := _look(os.lstat(os.path.join(self.path, name))):
                    found[name] = look
        return found

    def looks_in(self, array: str) -> Iterator[tuple[str, str]]:
        """(name, how it looks) of every chunk of an array."""
        for entry in self._entries(array):
            with contextlib.suppress(FileNotFoundError):
                if entry.name.startswith(CHUNK) and (look := _look(entry.stat(follow_symlinks=False))):
                    yield f"{array}/{entry.name}", look

    def put(self, name: str, data: bytes, *, flushed: bool = False) -> None:
        """Write a file beside its place and rename it; a link or a folder that has its name goes.

        What takes the place of another file is flushed before: a power cut would leave neither.
        """
        if not is_inside(name):
            raise NotPlain(errno.EINVAL, "is no name of a file of a store", name)
        # by no other file: who removed a store would get a folder that is none
        if name == META and isinstance(self._root, Path):
            self.path.mkdir(parents=True, exist_ok=True)
        *folders, last = name.split("/")
        fresh = f"{last}.{secrets.token_hex(4)}.partial"  # two workers may write one block
        try:
            with folder_inside(self._root, folders, make=True) as at:
                try:
                    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | PLAIN, 0o666, dir_fd=at)
                    with open(descriptor, "wb") as file:
                        file.write(data)
                        if flushed or _is_there(last, at):
                            file.flush()
                            flush_open(file.fileno())
                    replace_inside(fresh, last, at)
                    if flushed:
                        flush_open(at)
                except OSError:
                    with contextlib.suppress(OSError):
                        os.unlink(fresh, dir_fd=at)
                    raise
        except OSError as error:
            error.filename = os.path.join(self.path, name)
            raise

    def delete(self, name: str) -> None:
        """Delete a file, a link or a folder in its place; it need not be there."""
        if not is_inside(name):
            return
        *folders, last = name.split("/")
        with (
            contextlib.suppress(FileNotFoundError, NotADirectoryError),
            folder_inside(self._root, folders, make=False) as at,
        ):
            try:
                os.unlink(last, dir_fd=at)
            except IsADirectoryError:
                shutil.rmtree(last, dir_fd=at)

    def flush(self) -> None:
        """Have all that was written on the disk."""
        flush(self.path)

    def take_place(self, made: Path) -> None:
        """Become the store that was made in a folder of the same file system."""
        flush(made)
        os.rename(made, real := self.path.resolve())
        flush_names(real.parent)


class _Zarr(LocalStore):
    """zarr's store, whose files are read and written by our tree, which follows no link."""

    def __init__(self, root: Path | str, *, read_only: bool = False, tree: Folder) -> None:
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
        self._tree.put(key, value.to_bytes(), flushed=key.rpartition("/")[2] == META)

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


def _is_there(name: str, at: int) -> bool:
    try:
        os.stat(name, dir_fd=at, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _part(asked: Any, size: int) -> slice:
    """The bytes of a file of `size` that zarr asks for."""
    if isinstance(asked, RangeByteRequest):
        return slice(asked.start, asked.end)
    if isinstance(asked, OffsetByteRequest):
        return slice(asked.offset, None)
    if isinstance(asked, SuffixByteRequest):
        return slice(max(0, size - asked.suffix), None)
    return slice(None)


class Zip(Tree):
    """A store in one zip."""

    def __init__(self, path: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as error:
            raise bad(f"is no readable zip ({error})", where=str(path), allowed="what `panelproof store pack` made",
                      remedy="pack the store again") from error  # fmt: skip
        if strange := [info.filename for info in self._zip.infolist() if info.compress_type != zipfile.ZIP_STORED]:
            raise bad(f"is not opened: {strange[0]} is compressed", where=str(path), remedy="pack the store again",
                      allowed="what `panelproof store pack` made, whose files are stored as they are")  # fmt: skip
        if odd := [info.filename for info in self._zip.infolist()  # no plain files below the zip
                   if not is_inside(info.filename)
                   or stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG)]:  # fmt: skip
            raise bad(f"is not opened: {odd[0]!a} is a link, or no name of a file of a store", where=str(path),
                      allowed="what `panelproof store pack` made", remedy="pack the store again")  # fmt: skip
        self.path = path
        self._names = frozenset(self._zip.namelist())

    def group(self, mode: Literal["r", "r+"]) -> zarr.Group:
        """The store as zarr sees it."""
        return zarr.open_group(store=ZipStore(self.path, mode="r"), mode=mode, zarr_format=3)

    def files(self, under: str = "") -> list[str]:
        """Every file, or those of a folder, in order of their names."""
        return sorted(name for name in self._names if name.startswith(f"{under}/" if under else ""))

    def read(self, name: str) -> bytes:
        """All of a file; raises OSError for all that zipfile says of a name or of bytes that are damaged."""
        if name not in self._names:
            raise FileNotFoundError(name)
        try:
            return self._zip.read(name)
        except (
            zipfile.BadZipFile,
            EOFError,
            RuntimeError,
        ) as error:  # RuntimeError: encrypted, or not known to zipfile
            raise OSError(str(error)) from error

    def looks(self, names: Sequence[str]) -> dict[str, str]:
        """How files look: nobody writes into a zip."""
        return {name: "" for name in names if name in self._names}


def _look(seen: os.stat_result) -> str:
    """How a plain file looks; "" of all else."""
    return f"{seen.st_size} {seen.st_mtime_ns}" if stat.S_ISREG(seen.st_mode) else ""


def marks_of(names: Iterable[str], separator: str) -> Iterator[tuple[int, int, str]]:
    """(cell, block, file) of the chunks of marks; a file of another name is no mark."""
    for name in names:
        if place := place_in(name, f"{MARKS}/c{separator}", f"{separator}0", separator):
            yield *place, name


def place_in(name: str, start: str, end: str, separator: str = ".") -> tuple[int, int] | None:
    """The cell and the block that stand between the start and the end of a chunk's name; None of another name."""
    cell, _, block = name.removeprefix(start).removesuffix(end).partition(separator)
    if not (cell.isdecimal() and block.isdecimal()):
        return None
    place = int(cell), int(block)
    return place if name == f"{start}{place[0]}{separator}{place[1]}{end}" else None


def is_chunk(name: str) -> bool:
    """Whether a file of a store is a chunk of an array, by its name; in stores of format 2 they lie in folders."""
    return name.rpartition("/")[2].startswith(CHUNK) or "/c/" in name


def json_of(data: bytes | OSError) -> Any:
    """What a JSON file holds; None where it cannot be read."""
    try:
        return None if isinstance(data, OSError) else json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        return None


def axes_in(data: bytes | OSError) -> int:
    """How many axes an array has whose metadata these are; 0 where they are not those of an array."""
    held = json_of(data)
    is_array = isinstance(held, dict) and held.get("node_type") == "array" and isinstance(held.get("shape"), list)
    return len(held["shape"]) if is_array else 0


# The files of a store as objects: many are asked for at once, because each answer takes its time.


AT_ONCE = 32  # requests


class Objects(WritableTree):
    """A store in an object store."""

    def __init__(self, path: ObjectPath) -> None:
        self.path = path
        self._client, self._obstore = client_of(path), obstore()
        self._written: dict[str, str] = {}  # how chunks look that were put and not yet asked for

    def group(self, mode: Literal["r", "r+"]) -> zarr.Group:
        """The store as zarr sees it."""
        store = _ZarrOfObjects(self._client, self.path, self._written, read_only=mode == "r")
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

    def read(self, name: str) -> bytes:
        """All of a file; raises FileNotFoundError where it is not there."""
        with answered(self.path):
            return bytes(self._obstore.get(self._client, name).bytes())

    def read_all(self, names: Iterable[str]) -> Contents:
        """All of several files, many at once."""
        wanted = list(names)
        return dict(zip(wanted, _together(self.tried, wanted), strict=True))

    def looks(self, names: Sequence[str]) -> dict[str, str]:
        """How files look: their sizes and ETags; those that are not there are left out."""
        found = zip(names, _together(self._seen, names), strict=True)
        return {name: look for name, look in found if look}

    def looks_in(self, array: str) -> Iterator[tuple[str, str]]:
        """(name, how it looks) of every chunk of an array."""
        return ((held["path"], _look_of_object(held)) for held in self._all(array) if is_chunk(held["path"]))

    def _seen(self, name: str) -> str:
        """How a file looks; "" where it is not there. Of a chunk that was just put its answer said so."""
        if known := self._written.pop(name, ""):
            return known
        with answered(self.path):
            try:
                return _look_of_object(self._obstore.head(self._client, name))
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


class _ZarrOfObjects(ObjectStore[Any]):
    """zarr's store, which says in one line when the object store does not answer."""

    def __init__(self, store: Any, path: ObjectPath, written: dict[str, str], *, read_only: bool) -> None:
        super().__init__(store, read_only=read_only)
        self._path, self._written = path, written

    def with_read_only(self, read_only: bool = False) -> _ZarrOfObjects:
        return _ZarrOfObjects(self.store, self._path, self._written, read_only=read_only)

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
            self._written[key] = _look_of_object({"size": len(value), "e_tag": put["e_tag"]})

    async def delete(self, key: str) -> None:
        with answered(self._path):
            await super().delete(key)

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:  # type: ignore[override]
        with answered(self._path):
            async for name in super().list_dir(prefix):
                yield name


def _look_of_object(held: dict[str, Any]) -> str:
    return f"{held['size']} {held['e_tag']}"


def _together[T](ask: Callable[[str], T], names: Sequence[str]) -> list[T]:
    """What is answered of each name; several at once."""
    if len(names) < 2:
        return [ask(name) for name in names]
    with ThreadPoolExecutor(min(AT_ONCE, len(names))) as pool:
        return list(pool.map(ask, names))
