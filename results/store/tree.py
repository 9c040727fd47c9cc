"""The files of a store by name, whether they lie in a folder, in one zip or, in `results.store.objects`, elsewhere."""

from __future__ import annotations

import contextlib
import os
import secrets
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

import zarr
from zarr.storage import ZipStore

from sim.errors import bad

META, MARKS = "zarr.json", "block_mark"

type Contents = dict[str, bytes | OSError]  # of files by name, or why one cannot be read


class Tree(Protocol):
    """Files by their paths from the store's root, with "/" between."""

    def group(self, mode: Literal["r", "r+"]) -> zarr.Group:
        """The store as zarr sees it; raises an error of zarr where there is none."""
        ...

    def metadata(self, names: frozenset[str]) -> Iterator[str]:
        """Files of these names, chunks left out."""
        ...

    def chunks(self, array: str) -> list[str]:
        """The chunks of an array, in order of their names."""
        ...

    def marks(self) -> Iterator[tuple[int, int, str]]:
        """(cell, block, file) of every mark, and of those that are being put in place; others cost nothing."""
        ...

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        ...

    def files(self, under: str = "") -> list[str]:
        """Every file, or those of a folder, in order of their names."""
        ...

    def read(self, name: str) -> bytes:
        """All of a file; raises OSError when it cannot be read, FileNotFoundError where it is not there."""
        ...

    def read_all(self, names: Iterable[str]) -> Contents:
        """All of several files."""
        ...

    def looks(self, names: Sequence[str]) -> dict[str, str]:
        """How files look without being read: sizes and times or versions; those that are not there are left out."""
        ...


class WritableTree(Tree, Protocol):
    """Files that can be written; for one process."""

    def put(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all."""
        ...

    def delete(self, name: str) -> None:
        """Delete a file, which need not be there."""
        ...

    def take_place(self, made: Path) -> None:
        """Become the store that was made in a folder: whole or not at all."""
        ...


class Folder:
    """A store in a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def group(self, mode: Literal["r", "r+"]) -> zarr.Group:
        """The store as zarr sees it."""
        return zarr.open_group(store=str(self.path), mode=mode, zarr_format=3)

    def metadata(self, names: frozenset[str]) -> Iterator[str]:
        """Files of these names, chunks left out."""
        for folder, inner, files in os.walk(self.path):
            inner[:] = sorted(name for name in inner if name != "c")  # chunks have no metadata
            for name in sorted(names.intersection(files)):
                yield (Path(folder) / name).relative_to(self.path).as_posix()

    def chunks(self, array: str) -> list[str]:
        """The chunks of an array, in order of their names."""
        return self.files(f"{array}/c")

    def files(self, under: str = "") -> list[str]:
        """Every file, or those of a folder, in order of their names."""
        found = (self.path / under).rglob("*")
        return sorted(at.relative_to(self.path).as_posix() for at in found if at.is_file())

    def marks(self) -> Iterator[tuple[int, int, str]]:
        """(cell, block, file) of every mark."""
        top = f"{MARKS}/c"
        for cell in _numbers(self.path / top):
            for block in _numbers(self.path / top / str(cell)):
                yield cell, block, f"{top}/{cell}/{block}/0"

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return (self.path / name).is_file()

    def read(self, name: str) -> bytes:
        """All of a file."""
        return (self.path / name).read_bytes()

    def read_all(self, names: Iterable[str]) -> Contents:
        """All of several files."""
        return {name: _tried(self, name) for name in names}

    def looks(self, names: Sequence[str]) -> dict[str, str]:
        """How files look: their sizes and times."""
        found = {}
        for name in names:
            with contextlib.suppress(OSError):
                seen = os.stat(os.path.join(self.path, name))
                found[name] = f"{seen.st_size} {seen.st_mtime_ns}"
        return found

    def put(self, name: str, data: bytes) -> None:
        """Write a file beside its place and rename it."""
        place = os.path.join(self.path, name)
        fresh = f"{place}.{secrets.token_hex(4)}.partial"  # two workers may write one block
        try:
            with self._fresh_file(fresh, first=name == META) as file:
                file.write(data)
            os.replace(fresh, place)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(fresh)
            raise

    def _fresh_file(self, path: str, *, first: bool) -> BinaryIO:
        """A file that was not there, for writing; its folder is made where it is not there either.

        The store's own folder is made for its first file alone, the root's metadata: who removed the store would get a
        folder that is none.
        """
        try:
            return open(path, "xb")
        except FileNotFoundError:
            if not (first or self.path.is_dir()):
                raise
            os.makedirs(os.path.dirname(path), exist_ok=True)
            return open(path, "xb")

    def delete(self, name: str) -> None:
        """Delete a file, which need not be there."""
        (self.path / name).unlink(missing_ok=True)

    def take_place(self, made: Path) -> None:
        """Become the store that was made in a folder of the same file system."""
        os.rename(made, self.path.resolve())


class Zip:
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
        self.path = path
        self._names = frozenset(self._zip.namelist())

    def group(self, mode: Literal["r", "r+"]) -> zarr.Group:
        """The store as zarr sees it."""
        return zarr.open_group(store=ZipStore(self.path, mode="r"), mode=mode, zarr_format=3)

    def metadata(self, names: frozenset[str]) -> Iterator[str]:
        """Files of these names, chunks left out."""
        for name in sorted(self._names):
            if name.rpartition("/")[2] in names and "/c/" not in f"/{name}":
                yield name

    def chunks(self, array: str) -> list[str]:
        """The chunks of an array, in order of their names."""
        return self.files(f"{array}/c")

    def files(self, under: str = "") -> list[str]:
        """Every file, or those of a folder, in order of their names."""
        return sorted(name for name in self._names if name.startswith(f"{under}/" if under else ""))

    def marks(self) -> Iterator[tuple[int, int, str]]:
        """(cell, block, file) of every mark."""
        for name in self.chunks(MARKS):
            cell, block = name.split("/")[2:4]
            yield int(cell), int(block), name

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return name in self._names

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

    def read_all(self, names: Iterable[str]) -> Contents:
        """All of several files."""
        return {name: _tried(self, name) for name in names}

    def looks(self, names: Sequence[str]) -> dict[str, str]:
        """How files look: nobody writes into a zip."""
        return {name: "" for name in names if name in self._names}


def _tried(tree: Tree, name: str) -> bytes | OSError:
    try:
        return tree.read(name)
    except OSError as error:
        return error


def _numbers(folder: Path) -> Iterable[int]:
    try:
        return sorted(int(name) for name in os.listdir(folder) if name.isdecimal())
    except (FileNotFoundError, NotADirectoryError):
        return ()
