"""An empty store: its arrays, coordinates and attributes, one chunk a block."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.buffer import Buffer
from zarr.codecs import BloscCodec, Crc32cCodec, TransposeCodec, ZstdCodec
from zarr.storage import MemoryStore

from estimators.core.estimator import Layout
from results.store.bucket import StorePath
from results.store.files import facts, fixed_files, mark_bytes, quantities, seal, tree_of
from results.store.tree import MARKS, Folder
from sim.errors import BadInput, Problem, bad
from sim.real_panels import Placebo

# Whether a store is a study's, and if not, what differs.


MOST_LINES = 5  # about another study's settings
MOST_LETTERS = 60  # of a setting's value


def check_identity(old: Mapping[str, Any], new: Mapping[str, Any], where: str) -> None:
    """Raise BadInput for the store at `where`, which `old` describes, with what differs in another study."""
    # whether a study is the placebo test of a panel that it holds
    held, asked = (said["design"]["kind"] == Placebo.kind and bool(said["design"]["panel"]) for said in (old, new))
    if held != asked:
        test, study = "a placebo test of a panel", "study"
        what = f"holds {test}, not this {study}" if held else f"holds a {study}, not {test}"
        raise bad(what, where=where, allowed="a store of its own", remedy="choose another --store")
    changed = differences(old, new)
    if (rest := len(changed) - MOST_LINES + 1) > 1:
        changed = [*changed[: MOST_LINES - 1], f"{rest} more settings differ"]
    raise BadInput(
        *(Problem(f"belongs to another study: {line}", where, "the study that made it",
                  "choose another --store, or undo the change") for line in changed)
    )  # fmt: skip


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """One line for each setting that is not the same; of another kind the kind alone, whose settings are its own."""
    if isinstance(old, dict) and isinstance(new, dict):
        if old.get("kind") != new.get("kind"):
            return differences(old.get("kind"), new.get("kind"), f"{path}.kind".lstrip("."))
        keys = list(dict.fromkeys((*old, *new)))
        return [line for key in keys for line in differences(old.get(key), new.get(key), f"{path}.{key}".lstrip("."))]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = zip(old, new, strict=True)
        return [line for i, (a, b) in enumerate(pairs) for line in differences(a, b, f"{path}[{i}]")]
    if old == new:
        return []
    was, now = _brief(old), _brief(new)
    return [f"{path} is another" if was == now else f"{path} was {was}, is now {now}"]


def _brief(value: Any) -> str:
    """A value in a few letters; long texts, such as a panel's, by their length."""
    text = json.dumps(value, ensure_ascii=False)
    if len(text) <= MOST_LETTERS:
        return text
    if isinstance(value, str):
        return f"a text of {len(value):,} letters"
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return f"{len(value)} tables"
    return text[: MOST_LETTERS - 3] + "..."


STORE_FORMAT = 3  # of the files: a chunk is one file in the folder of its array, a mark is sealed
FORMAT_2 = 2  # the one before: each number in the name of a chunk was a folder
KEYS: Any = {"name": "default", "separator": "."}  # of chunks: "c.CELL.BLOCK.0"
CODECS = (ZstdCodec(level=1), Crc32cCodec())
NUMBERS = (BloscCodec(typesize=8, cname="lz4", clevel=5, shuffle="shuffle"), Crc32cCodec())
PIECE = 1 << 16  # of a coordinate, in one chunk and read at once


@dataclass(frozen=True, slots=True)
class StoreSchema:
    """All that a store is created from: what the study is, its cells, layouts and sizes."""

    study: Mapping[str, Any]  # the study's settings, plain data
    identity: Mapping[str, Any]  # what the fingerprint covers
    fingerprint: str
    cells: tuple[Mapping[str, Any], ...]
    layouts: Mapping[str, Layout]  # the union over cells
    estimands: tuple[str, ...]
    replications: int
    block: int
    worlds: int = 1  # in how many what a cell holds fixed was drawn
    held_fixed: tuple[str, ...] = ()  # what that is, in words
    cell_prints: tuple[str, ...] = ()  # of each cell, the fingerprint of all that its draws hang on
    estimator_prints: Mapping[str, str] = field(default_factory=dict)  # of each estimator, that of its settings
    store_format: int = STORE_FORMAT

    @property
    def parts(self) -> tuple[str, ...]:
        """What a block consists of, each with a digest of its own: the truths, and each estimator's arrays."""
        return ("truth", *self.layouts)


def write_skeleton(path: Path, schema: StoreSchema) -> None:
    """An empty store with all arrays, coordinates and attributes, and digests over them."""
    held: dict[str, Buffer] = {}  # a folder would cost a turn through zarr's threads a file
    root = zarr.create_group(MemoryStore(held), attributes=json.loads(json.dumps(_attributes(schema))))
    root.create_group("provenance", attributes={"digest": seal({})})
    blocks = -(-schema.replications // schema.block)
    _coordinate(root, "estimand", schema.estimands, str)
    _coordinate(root, "cell", np.arange(len(schema.cells)), "i8")
    _coordinate(root, "replication", np.arange(schema.replications), "i8")
    for dial in schema.cells[0]:
        values = [cell[dial] for cell in schema.cells]
        number = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        name = dial if dial not in {"cell", "truth", "replication", "estimand"} else f"dial_{dial}"
        _coordinate(root, name, values if number else list(map(str, values)), "f8" if number else str, "cell")
    _results(schema, root, "truth", ("estimand",), (len(schema.estimands),))
    size = mark_bytes(len(schema.parts))
    root.create_array(MARKS, shape=(len(schema.cells), blocks, size), chunks=(1, 1, size), dtype="u1", fill_value=0,
                      dimension_names=("cell", "block", "byte"), compressors=(Crc32cCodec(),),
                      chunk_key_encoding=KEYS)  # fmt: skip
    for name, layout in schema.layouts.items():
        said = {"fingerprint": schema.estimator_prints.get(name, ""), "study": schema.fingerprint}
        group = root.create_group(name, attributes=said)
        _coordinate(group, "term", layout.terms, str)
        _coordinate(group, "error", layout.errors, str)
        _coordinate(group, "quantity", quantities(layout), str)
        _coordinate(group, "fact", facts(layout), str)
        inference = len(quantities(layout)), len(layout.errors), len(layout.terms)
        _results(schema, group, "estimate", ("term",), (len(layout.terms),))
        _results(schema, group, "inference", ("quantity", "error", "term"), inference)
        _results(schema, group, "fit", ("fact",), (len(facts(layout)),))
    for name, file in held.items():
        Folder(path).put(name, file.to_bytes())
    seal_root(path)


def seal_root(path: StorePath, **changes: Any) -> None:
    """Change attributes of the root, and state digests over all of them and over every file that is no result."""
    tree = tree_of(path)
    root = tree.group("r+")
    held = {**dict(root.attrs), **json.loads(json.dumps(changes)), "files": fixed_files(tree)}
    root.update_attributes({**held, "digest": seal(held)})


def _results(schema: StoreSchema, group: Any, name: str, axes: tuple[str, ...], sizes: tuple[int, ...]) -> None:
    """An array of results, with one chunk a block."""
    group.create_array(
        name,
        shape=(len(schema.cells), schema.replications, *sizes),
        chunks=(1, schema.block, *(max(size, 1) for size in sizes)),
        dtype="f8",
        fill_value=float("nan"),
        dimension_names=("cell", "replication", *axes),
        filters=(TransposeCodec(order=(0, *range(2, 2 + len(sizes)), 1)),),  # numbers of one kind together
        compressors=NUMBERS,
        chunk_key_encoding=KEYS,
    )


def _coordinate(group: Any, name: str, values: Sequence[Any] | NDArray[Any], kind: Any, axis: str = "") -> None:
    """An array of labels (str) or numbers along an axis, which has its name where none is given."""
    chunks: Any = (min(max(len(values), 1), PIECE),) if kind == "i8" else "auto"
    array = group.create_array(name, shape=(len(values),), chunks=chunks, dtype=kind, compressors=CODECS,
                               dimension_names=(axis or name,), chunk_key_encoding=KEYS,
                               config={"write_empty_chunks": True})  # fmt: skip
    if len(values):
        array[:] = np.array(values, dtype=object if kind is str else kind)


def _attributes(schema: StoreSchema) -> dict[str, Any]:
    return {
        "format": schema.store_format,
        "study": schema.study,
        "identity": schema.identity,
        "fingerprint": schema.fingerprint,
        "cells": list(schema.cells),
        "layouts": {name: {
            "terms": list(layout.terms),
            "errors": list(layout.errors),
            "statistics": list(layout.statistics),
            "targets": dict(layout.targets),
            "stored": list(layout.stored),
            "tests": layout.tests,
            "screen": layout.screen,
        } for name, layout in schema.layouts.items()},
        "estimands": list(schema.estimands),
        "replications": schema.replications,
        "block": schema.block,
        "worlds": schema.worlds,
        "held_fixed": list(schema.held_fixed),
        "fingerprints": {"cells": list(schema.cell_prints), "estimators": dict(schema.estimator_prints)},
    }  # fmt: skip


def schema_from(attributes: Mapping[str, Any]) -> StoreSchema:
    """What a store was created from, as its attributes say."""
    prints, layouts = attributes["fingerprints"], {}
    for name, plain in attributes["layouts"].items():
        parts = {key: tuple(plain[key]) for key in ("terms", "errors", "statistics", "stored")}
        layouts[name] = Layout(targets=dict(plain["targets"]), tests=plain["tests"], screen=plain["screen"], **parts)
    return StoreSchema(
        study=attributes["study"],
        identity=attributes["identity"],
        fingerprint=str(attributes["fingerprint"]),
        cells=tuple(attributes["cells"]),
        layouts=layouts,
        estimands=tuple(attributes["estimands"]),
        replications=int(attributes["replications"]),
        block=int(attributes["block"]),
        worlds=int(attributes["worlds"]),
        held_fixed=tuple(attributes["held_fixed"]),
        cell_prints=tuple(prints["cells"]),
        estimator_prints=dict(prints["estimators"]),
        store_format=int(attributes.get("format", FORMAT_2)),
    )
