"""The files of a store that are no results: what may be opened at all, and digests over all of them.

The root's attributes hold a SHA-256 of every other metadata file and coordinate (`files`), and one of themselves
(`digest`); the attributes of `provenance`, which change during a run, have a `digest` of their own.

The mark of a block: what became of it, what computed it, its digests, how its files looked, and whose it is.

All of it is one chunk of `block_mark (cell, block, byte)`, written last and renamed into place: a block counts with all
of it or not at all. Bytes: the state; the environment of each part (2, little-endian); the SHA-256 of each part (32);
a stamp of the sizes and times (in object stores ETags) of the block's files (8, zeros = not known); a seal (16): the
beginning of the SHA-256 over the study's fingerprint, the cell, the block and all bytes before. A mark that was copied
from another place or study does not have the seal of this one. Marks of stores of format 2 have none, and are
compressed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numcodecs import Zstd
from numpy.typing import NDArray

from estimators.core.estimator import Estimates, Layout
from results.store.bucket import SCHEMES, ObjectPath, StorePath
from results.store.disk import is_inside
from results.store.tree import CHUNK, MARKS, META, Folder, Objects, Tree, WritableTree, Zip, axes_in, json_of
from sim.errors import BadInput, bad, listed, near_file

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
                  remedy="choose another place") from error  # fmt: skip
    try:
        yield made
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
    finally:
        shutil.rmtree(made, ignore_errors=True)


# Which files a store has at a place: a folder, one zip, or an object store.


PACKED_SUFFIX = ".zip"
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # of another machine, as a path has it


def check_place(path: StorePath) -> None:
    """Raise BadInput for an address that is no object store's, before a folder of that name is made, and for a new
    place inside of a store, whose repair or growth would remove what is there."""
    if not isinstance(path, ObjectPath) and ADDRESS.match(str(path)):
        scheme = str(path).partition(":")[0]
        known = "" if scheme in SCHEMES else f", or an address that begins with {listed(f'{n}://' for n in SCHEMES)}"
        raise bad(f"{scheme}:// is no place for {'a store' if known else 'several stores'}", allowed=f"a folder{known}",
                  where=str(path).replace(":/", "://", 1), remedy="name a folder")  # fmt: skip
    if isinstance(path, ObjectPath) or os.path.exists(path):
        return
    for above in Path(os.path.realpath(path)).parents:
        if os.path.isfile(above / META) and os.path.isdir(above / MARKS):
            raise bad(f"lies in the store {above}", where=str(path), allowed="a place outside of other stores",
                      remedy="choose another place, or start in another folder")  # fmt: skip


def no_store(path: StorePath, what: str = "no such store") -> BadInput:
    """Bad input: there is no store at a place."""
    remedy = near_file(path, (".zarr", PACKED_SUFFIX), folders=True) if isinstance(path, Path) else "check the path"
    return bad(what, where=str(path), allowed="a folder that `panelproof run` made", remedy=remedy)


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
    """Raise BadInput unless every group and array is of zarr format 3 with the codecs that we write, and for a folder
    of anything else, which is not walked through."""
    if isinstance(path, Path) and not any(map(tree_of(path).has, (META, *FORMAT_2))):
        raise no_store(path, f"is no store: it has no {META}")
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
        # files that are not as they were written, are gone, or were added
        files, there = attributes["files"], fixed_files(tree)
        others = tree.read_all(file for file, digest in files.items() if there.get(file, "") != digest)
        changed = [Damage(file, "is missing" if isinstance(data, FileNotFoundError) else "does not match its digest")
                   for file, data in others.items()
                   if isinstance(data, FileNotFoundError) or _sha(data) != files[file]]  # fmt: skip
        changed += [Damage(file, "is not of this store") for file in there.keys() - files.keys()]
        found += [damage for damage in changed if damage.file not in named]
    held = read_json(tree, PROVENANCE)
    if not isinstance(held, dict) or not isinstance(held.get("attributes"), dict):
        found.append(Damage(PROVENANCE, "cannot be read: it holds environments and tracebacks"))
    elif held["attributes"].get("digest") != seal(held["attributes"]):
        found.append(Damage(PROVENANCE, "does not match its digest: environments and tracebacks are not as written"))
    return found


DIGEST_BYTES = 32
STAMP_BYTES = 8
NO_STAMP = bytes(STAMP_BYTES)
SEAL_BYTES = 16
CHECKSUM_BYTES = 4  # behind a mark, as the codec crc32c of zarr has it
ZSTD_MAGIC = bytes.fromhex("28b52ffd")
_zstd = Zstd()


class ForeignMark(ValueError):
    """The mark of another block, or of a block of another study."""


def mark_bytes(parts: int) -> int:
    """Bytes of a mark, its seal included."""
    return _body_bytes(parts) + SEAL_BYTES


def _body_bytes(parts: int) -> int:
    return 1 + parts * (2 + DIGEST_BYTES) + STAMP_BYTES


@dataclass(frozen=True, slots=True)
class Mark:
    """state: a BlockState. origins (parts,): numbers of environments. digests (parts, 32)."""

    state: int
    origins: NDArray[np.uint16]
    digests: NDArray[np.uint8]
    stamp: bytes = NO_STAMP

    def chunk(self, fingerprint: str, cell: int, index: int) -> bytes:
        """The mark as it is written for a block of a study: sealed, with a checksum behind it."""
        raw = bytes([self.state]) + self.origins.astype("<u2").tobytes() + self.digests.tobytes() + self.stamp
        raw += seal_of(raw, fingerprint, cell, index)
        return raw + google_crc32c.value(raw).to_bytes(CHECKSUM_BYTES, "little")


def seal_of(body: bytes, fingerprint: str, cell: int, index: int) -> bytes:
    """What binds the bytes of a mark to a study and a place in it."""
    return hashlib.sha256(b"%s %d %d " % (fingerprint.encode(), cell, index) + body).digest()[:SEAL_BYTES]


def _unchecked(chunk: bytes | OSError) -> bytes:
    """A chunk without its checksum; raises ValueError where this is another one, OSError where there is no chunk."""
    if isinstance(chunk, OSError):
        raise chunk
    raw = chunk[:-CHECKSUM_BYTES]
    if not raw or google_crc32c.value(raw) != int.from_bytes(chunk[-CHECKSUM_BYTES:], "little"):
        raise ValueError("a mark does not match its checksum")
    return raw


def body_of(chunk: bytes | OSError, parts: int, fingerprint: str, cell: int, index: int) -> bytes:
    """The bytes of a mark before its seal, when the chunk is that of this block of this study.

    Raises ForeignMark for that of another, ValueError for a damaged one, OSError where it cannot be read.
    """
    raw = _unchecked(chunk)
    if len(raw) != mark_bytes(parts):
        raise ForeignMark(f"a mark of {len(raw)} bytes")
    body = raw[:-SEAL_BYTES]
    if raw[-SEAL_BYTES:] != seal_of(body, fingerprint, cell, index):
        raise ForeignMark("the mark of another block")
    return body


def body_without_seal(chunk: bytes | OSError, parts: int) -> bytes:
    """The same of a store of format 2; raises ValueError or RuntimeError when it is damaged.

    A chunk that says that it opens to another size than a mark's is not opened.
    """
    raw = _unchecked(chunk)
    if (size := opened_size("zstd", raw)) != _body_bytes(parts):
        raise ValueError(f"a mark of {size} bytes")
    return bytes(_zstd.decode(raw))


@dataclass(frozen=True, slots=True)
class Marks:
    """Marks of many blocks, n of them: states (n,), origins (n, parts), digests (n, parts, 32), stamps (n, 8)."""

    states: NDArray[np.uint8]
    origins: NDArray[np.uint16]
    digests: NDArray[np.uint8]
    stamps: NDArray[np.uint8]

    @classmethod
    def of(cls, bodies: Iterable[bytes], parts: int) -> Marks:
        """The marks that such bytes are, all at once."""
        table = np.frombuffer(b"".join(bodies), dtype=np.uint8).reshape(-1, _body_bytes(parts))
        origins, digests = 1 + 2 * parts, 1 + (2 + DIGEST_BYTES) * parts
        return cls(
            table[:, 0],
            np.ascontiguousarray(table[:, 1:origins]).view("<u2").astype(np.uint16),
            table[:, origins:digests].reshape(-1, parts, DIGEST_BYTES),
            table[:, digests:],
        )


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


class Stamp:
    """A stamp of how files of a store look, which are told one after the other, in order (`Tree.looks`)."""

    __slots__ = ("_sha", "files")

    def __init__(self) -> None:
        self._sha, self.files = hashlib.sha256(), 0

    def see(self, name: str, look: str) -> None:
        """One more file."""
        self._sha.update(f"{name} {look}\n".encode())
        self.files += 1

    def of(self, files: int) -> bytes:
        """The stamp of so many files; zeros where there were fewer."""
        return self._sha.digest()[:STAMP_BYTES] if self.files == files else NO_STAMP


def stamp_of(looks: Mapping[str, str], chunks: Iterable[str]) -> bytes:
    """A stamp of some files of a store, by name; zeros where one is missing."""
    stamp, names = Stamp(), list(chunks)
    for name in names:
        if name in looks:
            stamp.see(name, looks[name])
    return stamp.of(len(names))


# The arrays of a block as they lie in a store: few files a block, each with names on its axes.
#
# An estimator has three arrays: `estimate (cell, replication, term)`, `inference (cell, replication, quantity,
# error, term)` with se, dof and what else is stored of each, and `fit (cell, replication, fact)` with the status
# and the fit statistics.


PACKED = ("estimate", "inference", "fit")  # the arrays of an estimator


def quantities(layout: Layout) -> tuple[str, ...]:
    """What `inference` holds of each error type and term, in order."""
    return ("se", "dof", *layout.stored)


def facts(layout: Layout) -> tuple[str, ...]:
    """What `fit` holds of each fit, in order."""
    return ("status", *layout.statistics)


def files_of(cell: int, index: int, parts: Iterable[str]) -> list[str]:
    """The files of a store that hold some parts of a block: "truth", and the arrays of estimators."""
    return [f"{start}{cell}.{index}{end}" for start, end in names_of(parts)]


def names_of(parts: Iterable[str]) -> list[tuple[str, str]]:
    """How the names of these files begin and end, with the cell and the block between."""
    ends = {"estimate": ".0", "inference": ".0.0.0", "fit": ".0"}
    return [(f"{array}/{CHUNK}", end) for part in parts for array, end in (
        [(part, ".0")] if part == "truth" else [(f"{part}/{name}", ends[name]) for name in PACKED])]  # fmt: skip


def packed(arrays: Mapping[str, NDArray[Any]], layouts: Mapping[str, Layout]) -> dict[str, NDArray[Any]]:
    """Arrays of a block by their own names as they lie in a store; estimators that are not there are left out."""
    found = {"truth": arrays["truth"]}
    for name, layout in layouts.items():
        if f"{name}/estimate" not in arrays:
            continue
        found[f"{name}/estimate"] = arrays[f"{name}/estimate"]
        found[f"{name}/inference"] = _stacked(arrays, name, quantities(layout))
        found[f"{name}/fit"] = _stacked(arrays, name, facts(layout))
    return found


def _stacked(arrays: Mapping[str, NDArray[Any]], name: str, parts: Sequence[str]) -> NDArray[np.float64]:
    """Arrays (R, *sizes) as one (R, P, *sizes), whose numbers of all replications lie side by side, as in a file."""
    first = arrays[f"{name}/{parts[0]}"]
    stacked = np.empty((len(parts), *first.shape[1:], len(first)))
    for place, part in enumerate(parts):
        stacked[place] = np.moveaxis(arrays[f"{name}/{part}"], 0, -1)
    return np.moveaxis(stacked, -1, 0)


def home_of(path: str, layouts: Mapping[str, Layout]) -> tuple[str, int | None]:
    """Where an array that has a name of its own lies: the array in the store, and the place on its second axis."""
    name, _, part = path.rpartition("/")
    if not name or part == "estimate":
        return path, None
    own = quantities(layouts[name])
    if part in own:
        return f"{name}/inference", own.index(part)
    return f"{name}/fit", facts(layouts[name]).index(part)


def picked(stored: NDArray[Any], path: str, place: int | None) -> NDArray[Any]:
    """An array by its own name out of the one that holds it, which it is a part of."""
    if place is None:
        return stored
    found = stored[:, place]
    if not path.endswith("/status"):
        return found
    return np.where(np.isnan(found), 0, found).astype(np.uint8)  # NaN: its chunk is missing


def unpacked(
    stored: Mapping[str, NDArray[Any]], layouts: Mapping[str, Layout], names: Iterable[str]
) -> dict[str, NDArray[Any]]:
    """What `packed` was given, of some estimators."""
    paths = [f"{name}/{part}" for name in names
             for part in ("estimate", *quantities(layouts[name]), *facts(layouts[name]))]  # fmt: skip
    homes = {path: home_of(path, layouts) for path in paths}
    return {path: picked(stored[home], path, place) for path, (home, place) in homes.items()}


def estimates_of(name: str, layout: Layout, arrays: Mapping[str, NDArray[Any]]) -> Estimates:
    """An estimator's estimates from its arrays by their own names."""
    fields: dict[str, Any] = {part: arrays[f"{name}/{part}"]
                              for part in ("estimate", "se", "dof", "status", *layout.stored)}  # fmt: skip
    statistics = {statistic: arrays[f"{name}/{statistic}"] for statistic in layout.statistics}
    return Estimates(terms=layout.terms, errors=layout.errors, statistics=statistics, **fields)
