"""The files of a store that are no results: what may be opened at all, and digests over all of them.

The root's attributes hold a SHA-256 of every other metadata file and coordinate (`files`), and one of themselves
(`digest`); the attributes of `provenance`, which change during a run, have a `digest` of their own.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results.store.bucket import SCHEMES, ObjectPath, StorePath
from results.store.disk import is_inside
from results.store.tree import META, Folder, Objects, Tree, WritableTree, Zip, axes_in, json_of
from sim.errors import BadInput, bad, listed

# Temporary folders in which a store is made before it takes its place: beside it, so that it can be renamed.


@contextmanager
def folder_beside(path: StorePath) -> Iterator[Path]:
    """A temporary folder beside a store, which `locked` sweeps after a kill; raises BadInput where none can be.

    For a store in an object store it lies where this machine keeps temporary files.
    """
    if isinstance(path, ObjectPath):
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
        return
    real = path.resolve()  # where a symbolic link leads to
    try:
        real.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{real.name}.", suffix=".partial", dir=real.parent))
    except OSError as error:
        raise bad(f"cannot be written: {error.strerror}", where=str(path), allowed="a writable folder",
                  remedy="choose another --store") from error  # fmt: skip
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


# Which files a store has at a place: a folder, one zip, or an object store.


PACKED_SUFFIX = ".zip"
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # of another machine, as a path has it


def check_place(path: StorePath) -> None:
    """Raise BadInput for an address that is no object store's, before a folder of that name is made."""
    if not isinstance(path, ObjectPath) and ADDRESS.match(str(path)):
        scheme = str(path).partition(":")[0]
        known = "" if scheme in SCHEMES else f", or an address that begins with {listed(f'{n}://' for n in SCHEMES)}"
        raise bad(f"{scheme}:// is no place for {'a store' if known else 'several stores'}", allowed=f"a folder{known}",
                  where=str(path).replace(":/", "://", 1), remedy="name a folder")  # fmt: skip


def no_store(path: StorePath, what: str = "no such store") -> BadInput:
    """Bad input: there is no store at a place."""
    return bad(what, where=str(path), allowed="a folder that `panelproof run` made", remedy="check the path")


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


PROVENANCE = f"provenance/{META}"
CODECS = {"bytes", "blosc", "zstd", "crc32c", "transpose", "vlen-utf8"}  # those that we write
TYPES = {"float64", "uint8", "uint16", "int64", "string"}
FORMAT_2 = (".zarray", ".zgroup", ".zmetadata")
NAMING = ("files", "layouts")  # attributes of the root whose keys are names of files and folders
ROOT_KEYS = {"attributes", "zarr_format", "node_type", "consolidated_metadata"}


@dataclass(frozen=True, slots=True)
class Damage:
    """A file of a store, by its path in it, and what is wrong with it."""

    file: str
    what: str

    def __str__(self) -> str:
        return f"{self.file}: {self.what}"


def check_format(path: StorePath) -> None:
    """Raise BadInput unless every group and array is of zarr format 3 with the codecs that we write."""
    for damage in strange(path):
        raise bad(f"is not opened: {damage.file} {damage.what}", where=str(path),
                  remedy="use a store that `panelproof run` made",
                  allowed=f"zarr format 3 with the codecs {', '.join(sorted(CODECS))}")  # fmt: skip


def strange(path: StorePath) -> Iterator[Damage]:
    """Metadata that are not of zarr format 3 with the codecs that we write.

    It reads text alone: nothing that a crafted store names is looked up or run.
    """
    tree = tree_of(path)
    held_by_name = tree.read_all(tree.metadata(frozenset({META, *FORMAT_2})))
    found = {name: json_of(data) for name, data in held_by_name.items()}  # None of what cannot be read
    for file, held in found.items():
        if file.rpartition("/")[2] in FORMAT_2:
            yield Damage(file, "is of zarr format 2")
            continue
        if held is not None and (reason := _reason(held)):  # what cannot be read is named by `damages`
            yield Damage(file, reason)
    root = found.get(META)
    attributes = root.get("attributes") if isinstance(root, dict) else None
    names = attributes.get("layouts") if isinstance(attributes, dict) else None
    for name in names if isinstance(names, dict) else ():  # folders of arrays with blocks are not looked into
        steps = name.split("/")
        for file in ("/".join((*steps[: count + 1], META)) for count in range(len(steps))):
            if isinstance(held := found.get(file), dict) and held.get("node_type") == "array":
                yield Damage(file, "holds an array in the place of an estimator")


def _reason(held: Any) -> str:
    """Why metadata are not those of a group or array that we write; "" where they are."""
    if not isinstance(held, dict):
        return "holds no metadata"
    if held.get("zarr_format") != 3:
        return f"is of zarr format {held.get('zarr_format')}"
    if held.get("consolidated_metadata"):
        return "holds metadata of other files"
    if held.get("node_type") == "group":
        return ""
    codecs = held.get("codecs")
    named = (
        [item.get("name") if isinstance(item, dict) else item for item in codecs] if isinstance(codecs, list) else []
    )
    if strange := [str(name) for name in named if name not in CODECS]:
        return f"names the codec {strange[0]!r}"
    kind = held.get("data_type")
    if not named or not isinstance(kind, str) or kind not in TYPES or held.get("storage_transformers"):
        return "holds an array of another kind"
    return ""


def read_json(tree: Tree, name: str) -> Any:
    """What a JSON file of a store holds; None where it cannot be read."""
    return json_of(tree.read_all([name])[name])


def arrays_at_root(tree: Tree) -> list[str]:
    """The arrays that stand at the root, in order of their names, whatever became of groups beside them."""
    names = [name for name in tree.metadata(frozenset({META})) if name.count("/") == 1]
    return sorted(name.partition("/")[0] for name, data in tree.read_all(names).items() if axes_in(data))


def seal(attributes: Mapping[str, Any]) -> str:
    """SHA-256 of attributes without their own digest."""
    rest = {key: value for key, value in attributes.items() if key != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def fixed_files(tree: Tree) -> dict[str, str]:
    """SHA-256 of every metadata file but the root's and that of `provenance`, and of every coordinate's chunks."""
    held = tree.read_all(tree.metadata(frozenset({META, *FORMAT_2})))
    kept = {file: data for file, data in held.items() if file not in (META, PROVENANCE)}
    lines = [file for file, data in kept.items() if axes_in(data) == 1]  # coordinates
    kept |= tree.read_all(chunk for file in lines for chunk in tree.chunks(file.removesuffix(f"/{META}")))
    return {file: _sha(data) for file, data in sorted(kept.items())}


def _sha(data: bytes | OSError) -> str:
    """SHA-256 of a file, which is at most one chunk; "" where it cannot be read."""
    return "" if isinstance(data, OSError) else hashlib.sha256(data).hexdigest()


def root_damage(path: StorePath) -> Damage | None:
    """What is wrong with the root's metadata, which say what the study is."""
    held = read_json(tree_of(path), META)
    if not isinstance(held, dict) or not isinstance(held.get("attributes"), dict):
        return Damage(META, "cannot be read: it holds the study, its cells and its settings")
    attributes = held["attributes"]
    if "digest" not in attributes:
        return Damage(
            META,
            "holds no digest: it is damaged, of another program, or of version 0.1.0, whose stores are no longer read",
        )
    if not held.keys() <= ROOT_KEYS or held.get("node_type") != "group" or attributes.get("digest") != seal(attributes):
        return Damage(META, "does not match its digest: the study, its cells or its settings are not as written")
    if not all(isinstance(attributes.get(key), dict) and all(map(is_inside, attributes[key])) for key in NAMING):
        return Damage(META, "names no files, or files outside of the store")
    return None


def damages(path: StorePath) -> list[Damage]:
    """All that is wrong with metadata, labels, dials, other coordinates and provenance; not with blocks."""
    found = list(filter(None, [root_damage(path)]))
    tree = tree_of(path)
    if not found:
        attributes = read_json(tree, META)["attributes"]
        found += [Damage(name, what) for name, what in tree.odd(chunks=False)]
        named = {damage.file for damage in found}
        found += [damage for damage in _changed(tree, attributes["files"]) if damage.file not in named]
    held = read_json(tree, PROVENANCE)
    if not isinstance(held, dict) or not isinstance(held.get("attributes"), dict):
        found.append(Damage(PROVENANCE, "cannot be read: it holds environments and tracebacks"))
    elif held["attributes"].get("digest") != seal(held["attributes"]):
        found.append(Damage(PROVENANCE, "does not match its digest: environments and tracebacks are not as written"))
    return found


def _changed(tree: Tree, files: Mapping[str, str]) -> Iterator[Damage]:
    """Files that are not as they were written, are gone, or were added."""
    there = fixed_files(tree)
    others = tree.read_all(file for file, digest in files.items() if there.get(file, "") != digest)
    for file, data in others.items():
        if isinstance(data, FileNotFoundError):
            yield Damage(file, "is missing")
        elif _sha(data) != files[file]:
            yield Damage(file, "does not match its digest")
    for file in there.keys() - files.keys():
        yield Damage(file, "is not of this store")
