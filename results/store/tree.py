"""The files of a store by name, whether they lie in a folder or in one zip."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from sim.errors import bad

MARKS = "block_mark"
PACKED_SUFFIX = ".zip"


class Tree(Protocol):
    """Files by their paths from the store's root, with "/" between."""

    def metadata(self, names: frozenset[str]) -> Iterator[str]:
        """Files of these names, chunks left out."""
        ...

    def chunks(self, array: str) -> list[str]:
        """The chunks of an array, in order of their names."""
        ...

    def marks(self) -> Iterator[tuple[int, int, str]]:
        """(cell, block, file) of every mark; marks that are not there cost nothing."""
        ...

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        ...

    def read(self, name: str) -> bytes:
        """All of a file; raises OSError when it cannot be read."""
        ...


class Folder:
    """A store in a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def metadata(self, names: frozenset[str]) -> Iterator[str]:
        """Files of these names, chunks left out."""
        for folder, inner, files in os.walk(self.path):
            inner[:] = sorted(name for name in inner if name != "c")  # chunks have no metadata
            for name in sorted(names.intersection(files)):
                yield (Path(folder) / name).relative_to(self.path).as_posix()

    def chunks(self, array: str) -> list[str]:
        """The chunks of an array, in order of their names."""
        found = (self.path / array / "c").rglob("*")
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
        self._names = frozenset(self._zip.namelist())

    def metadata(self, names: frozenset[str]) -> Iterator[str]:
        """Files of these names, chunks left out."""
        for name in sorted(self._names):
            if name.rpartition("/")[2] in names and "/c/" not in f"/{name}":
                yield name

    def chunks(self, array: str) -> list[str]:
        """The chunks of an array, in order of their names."""
        return sorted(name for name in self._names if name.startswith(f"{array}/c/"))

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
        try:
            return self._zip.read(name)
        except (KeyError, zipfile.BadZipFile, EOFError, RuntimeError, NotImplementedError) as error:
            raise OSError(str(error)) from error


def is_packed(path: Path) -> bool:
    """Whether a path leads to a store in one zip."""
    return path.is_file() and path.suffix == PACKED_SUFFIX


def refuse_packed(path: Path) -> None:
    """Raise BadInput for a store in one zip, where something is to be written."""
    if is_packed(path):
        raise bad("is packed, and can only be read", where=str(path), allowed="a folder for what is written",
                  remedy="unzip it into a folder, and name that")  # fmt: skip


def tree_of(path: Path) -> Tree:
    """The files of a store; raises BadInput for a zip that cannot be read."""
    return Zip(path) if is_packed(path) else Folder(path)


def _numbers(folder: Path) -> Iterable[int]:
    try:
        return sorted(int(name) for name in os.listdir(folder) if name.isdecimal())
    except (FileNotFoundError, NotADirectoryError):
        return ()
