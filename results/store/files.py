"""The files of a store that are no results: what may be opened at all, and digests over all of them.

The root's attributes hold a SHA-256 of every other metadata file and coordinate (`files`), and one of themselves
(`digest`); the attributes of `provenance`, which change during a run, have a `digest` of their own. A store of schema 1
has neither.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results.store.tree import Tree, tree_of
from sim.errors import bad

META = "zarr.json"
PROVENANCE = f"provenance/{META}"
CODECS = {"bytes", "blosc", "zstd", "crc32c", "transpose", "vlen-utf8"}  # those that we write
TYPES = {"float64", "uint8", "uint16", "int64", "string"}
FORMAT_2 = (".zarray", ".zgroup", ".zmetadata")
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # of another machine, as a path has it
ROOT_KEYS = {"attributes", "zarr_format", "node_type", "consolidated_metadata"}


@dataclass(frozen=True, slots=True)
class Damage:
    """A file of a store, by its path in it, and what is wrong with it."""

    file: str
    what: str

    def __str__(self) -> str:
        return f"{self.file}: {self.what}"


def check_local(path: Path) -> None:
    """Raise BadInput for an address such as s3://bucket/x.zarr, before a folder of that name is made."""
    if ADDRESS.match(str(path)):
        scheme = str(path).partition(":")[0]
        raise bad(f"{scheme}:// is no place for a store", where=str(path).replace(":/", "://", 1),
                  allowed="a folder of this machine or of a network file system",
                  remedy="name a folder, and copy it when the run is done")  # fmt: skip


def check_format(path: Path) -> None:
    """Raise BadInput unless every group and array is of zarr format 3 with the codecs that we write."""
    for damage in strange(path):
        raise bad(f"is not opened: {damage.file} {damage.what}", where=str(path),
                  remedy="use a store that `panelproof run` made",
                  allowed=f"zarr format 3 with the codecs {', '.join(sorted(CODECS))}")  # fmt: skip


def strange(path: Path) -> Iterator[Damage]:
    """Metadata that are not of zarr format 3 with the codecs that we write.

    It reads text alone: nothing that a crafted store names is looked up or run.
    """
    for file, held in _metadata(tree_of(path)):
        if file.rpartition("/")[2] in FORMAT_2:
            yield Damage(file, "is of zarr format 2")
            continue
        if held is not None and (reason := _reason(held)):  # what cannot be read is named by `damages`
            yield Damage(file, reason)


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
    if not named or held.get("data_type") not in TYPES or held.get("storage_transformers"):
        return "holds an array of another kind"
    return ""


def _metadata(tree: Tree) -> Iterator[tuple[str, Any]]:
    """Every metadata file, by its path in the store, with what it holds; None where that cannot be read."""
    for name in tree.metadata(frozenset({META, *FORMAT_2})):
        yield name, read_json(tree, name)


def read_json(tree: Tree, name: str) -> Any:
    """What a JSON file of a store holds; None where it cannot be read."""
    try:
        return json.loads(tree.read(name).decode("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def seal(attributes: Mapping[str, Any]) -> str:
    """SHA-256 of attributes without their own digest."""
    rest = {key: value for key, value in attributes.items() if key != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def fixed_files(path: Path) -> dict[str, str]:
    """SHA-256 of every metadata file but the root's and that of `provenance`, and of every coordinate's chunks."""
    return _fixed_files(tree_of(path))


def _fixed_files(tree: Tree) -> dict[str, str]:
    found = {}
    for file, held in _metadata(tree):
        if file in (META, PROVENANCE):
            continue
        found[file] = _sha(tree, file)
        if isinstance(held, dict) and len(held.get("shape") or ()) == 1:
            found |= {chunk: _sha(tree, chunk) for chunk in tree.chunks(file.removesuffix(f"/{META}"))}
    return dict(sorted(found.items()))


def _sha(tree: Tree, file: str) -> str:
    """SHA-256 of a file, which is at most one chunk; "" where it cannot be read."""
    try:
        return hashlib.sha256(tree.read(file)).hexdigest()
    except OSError:
        return ""


def root_damage(path: Path) -> Damage | None:
    """What is wrong with the root's metadata, which say what the study is."""
    held = read_json(tree_of(path), META)
    if not isinstance(held, dict) or not isinstance(held.get("attributes"), dict):
        return Damage(META, "cannot be read: it holds the study, its cells and its settings")
    attributes = held["attributes"]
    if _earlier(attributes):
        return None
    if not held.keys() <= ROOT_KEYS or held.get("node_type") != "group" or attributes.get("digest") != seal(attributes):
        return Damage(META, "does not match its digest: the study, its cells or its settings are not as written")
    return None


def damages(path: Path) -> list[Damage]:
    """All that is wrong with metadata, labels, dials, other coordinates and provenance; not with blocks."""
    found = list(filter(None, [root_damage(path)]))
    tree = tree_of(path)
    if not found:
        attributes = read_json(tree, META)["attributes"]
        if _earlier(attributes):
            return []
        found += _changed(tree, attributes["files"])
    held = read_json(tree, PROVENANCE)
    if not isinstance(held, dict) or not isinstance(held.get("attributes"), dict):
        found.append(Damage(PROVENANCE, "cannot be read: it holds environments and tracebacks"))
    elif held["attributes"].get("digest") != seal(held["attributes"]):
        found.append(Damage(PROVENANCE, "does not match its digest: environments and tracebacks are not as written"))
    return found


def _changed(tree: Tree, files: Mapping[str, str]) -> Iterator[Damage]:
    """Files that are not as they were written, are gone, or were added."""
    there = _fixed_files(tree)
    for file, digest in files.items():
        if not tree.has(file):
            yield Damage(file, "is missing")
        elif there.get(file, "") != digest and _sha(tree, file) != digest:
            yield Damage(file, "does not match its digest")
    for file in there.keys() - files.keys():
        yield Damage(file, "is not of this store")


def _earlier(attributes: Mapping[str, Any]) -> bool:
    """Whether these are the attributes of a store of schema 1, which has no digests over them."""
    identity = attributes.get("identity")
    return "digest" not in attributes and isinstance(identity, dict) and identity.get("schema") == 1
