"""Which files a store has at a place: a folder, one zip, or an object store."""

from __future__ import annotations

import re
from pathlib import Path

from results.store.bucket import SCHEMES, ObjectPath, StorePath
from results.store.objects import Objects
from results.store.tree import Folder, Tree, WritableTree, Zip
from sim.errors import bad, listed

PACKED_SUFFIX = ".zip"
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # of another machine, as a path has it


def check_place(path: StorePath) -> None:
    """Raise BadInput for an address that is no object store's, before a folder of that name is made."""
    if not isinstance(path, ObjectPath) and ADDRESS.match(str(path)):
        scheme = str(path).partition(":")[0]
        known = "" if scheme in SCHEMES else f", or an address that begins with {listed(f'{n}://' for n in SCHEMES)}"
        raise bad(f"{scheme}:// is no place for {'a store' if known else 'several stores'}", allowed=f"a folder{known}",
                  where=str(path).replace(":/", "://", 1), remedy="name a folder")  # fmt: skip


def is_packed(path: StorePath) -> bool:
    """Whether a path leads to a store in one zip."""
    return isinstance(path, Path) and path.is_file() and path.suffix == PACKED_SUFFIX


def refuse_packed(path: StorePath) -> None:
    """Raise BadInput for a store in one zip, where something is to be written."""
    if is_packed(path):
        raise bad("is packed, and can only be read", where=str(path), allowed="a folder for what is written",
                  remedy="unzip it into a folder, and name that")  # fmt: skip


def tree_of(path: StorePath) -> Tree:
    """The files of a store; raises BadInput for a zip that cannot be read."""
    return Zip(path) if isinstance(path, Path) and is_packed(path) else writable(path)


def writable(path: StorePath) -> WritableTree:
    """The files of a store that is no zip."""
    return Folder(path) if isinstance(path, Path) else Objects(path)
