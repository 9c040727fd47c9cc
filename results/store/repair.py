"""Metadata, labels and other coordinates of a store written again, from what the store or its study says."""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from results.store.bucket import StorePath
from results.store.disk import write_beside
from results.store.files import (
    PACKED,
    PROVENANCE,
    Damage,
    Mark,
    Marks,
    body_of,
    check_format,
    check_place,
    damages,
    fixed_files,
    folder_beside,
    is_packed,
    no_store,
    read_json,
    refuse_packed,
    strange,
    tree_of,
    writable,
)
from results.store.skeleton import FORMAT_2, StoreSchema, schema_from, seal_root, write_skeleton
from results.store.store import BlockState, numbers_apart
from results.store.tree import META, Folder, WritableTree, is_chunk
from results.store.zarr_store import ZarrStore
from sim.errors import bad

SIGNS = (META, PROVENANCE, f"truth/{META}")  # a place without any of these files is no store, not even a damaged one


def check_repairable(path: StorePath, schema: StoreSchema) -> list[Damage]:
    """What is damaged of a store beside its blocks; raises BadInput where a run of the study cannot repair it.

    The study must be the one that made the store: where the root's metadata are damaged, what is left of the others
    says so.
    """
    refuse_packed(path)
    if not any(map(tree_of(path).has, SIGNS)):
        some = not isinstance(path, Path) or path.is_file() or any(path.iterdir())
        raise bad("is no store, and not empty" if some else "is an empty folder, no store", where=str(path),
                  allowed="a new folder, or the store of this study",
                  remedy="choose another --store" if some else "remove it, or choose another --store")  # fmt: skip
    found = damages(path)
    if found and _is_earlier(path):
        raise bad(f"is of an earlier format and damaged: {found[0]}", where=str(path), allowed="a store that is whole",
                  remedy="repair it with the version that made it, or choose another --store")  # fmt: skip
    if not any(damage.file == META for damage in found):
        return found
    said = set()
    for name in schema.layouts:
        held = read_json(writable(path), f"{name}/{META}")
        attributes = held.get("attributes") if isinstance(held, dict) else None
        said |= {attributes.get("study")} if isinstance(attributes, dict) else set()
    said.discard(None)
    if said != {schema.fingerprint} or replications_in(path, schema) is None:
        nobody = "not a readable store: its metadata are damaged or missing, and nothing says whose study it is"
        what = "its metadata are damaged, and what is left of them is not of this study" if said else nobody
        raise bad(what, where=str(path), allowed="the very study that made the store",
                  remedy="run that study, or choose another --store")  # fmt: skip
    return found


def repair(path: StorePath, schema: StoreSchema) -> list[Damage]:
    """Write again what is damaged beside the blocks, and return what that was; raises BadInput as the check does.

    Of damaged provenance nothing can be made again: its blocks then come from environments that are not known. What is
    left of the file is kept beside the store.
    """
    found = check_repairable(path, schema)
    if not found:
        return []
    names = {damage.file for damage in found}
    if META in names:
        size = replications_in(path, schema)
        assert size is not None
        whole = replace(schema, replications=size, study={**schema.study, "replications": size})
    else:
        whole = schema_from(read_json(writable(path), META)["attributes"])
    if PROVENANCE in names and writable(path).has(PROVENANCE):
        kept, data = kept_provenance(path), writable(path).read(PROVENANCE)
        write_beside(kept, data) if isinstance(kept, Path) else kept.write_bytes(data)
    with folder_beside(path) as made:
        write_skeleton(made / "store", whole)
        if META in names:
            expected = fixed_files(tree_of(made / "store"))
            there = fixed_files(tree_of(path))
            names |= {file for file in expected.keys() | there.keys() if expected.get(file) != there.get(file)}
        for name in sorted(names - {PROVENANCE}):
            _restore(Folder(made / "store"), writable(path), name)
        check_format(path)
        if PROVENANCE in names:  # numbers of environments go before others can get them
            # nothing says any longer what the numbers of environments in marks mean
            tree, parts = writable(path), len(whole.parts)
            for cell, index, file in tree.marks():
                with contextlib.suppress(OSError, ValueError):  # a damaged mark: its block is computed again
                    held = Marks.of([body_of(tree.read(file), parts, whole.fingerprint, cell, index)], parts)
                    mark = Mark(int(held.states[0]), 0 * held.origins[0], held.digests[0], held.stamps[0].tobytes())
                    tree.put(file, mark.chunk(whole.fingerprint, cell, index))
            writable(path).flush()
            _restore(Folder(made / "store"), writable(path), PROVENANCE)
    writable(path).flush()
    seal_root(path)
    return found


def kept_provenance(path: StorePath) -> StorePath:
    """Where damaged provenance of a store is kept: beside it."""
    real = path.resolve()
    return real.with_name(f"{real.name}.provenance.json")


def rebuilt(path: StorePath, damage: Damage) -> str:
    """What a run says of a damage before it repairs it."""
    if damage.file != PROVENANCE:
        return f"{damage}; it is rebuilt"
    kept = f"; what is left of it is kept as {kept_provenance(path).name}" if writable(path).has(PROVENANCE) else ""
    return f"{damage}; it begins anew: which code computed the blocks there, and why fits failed, is lost{kept}"


def _restore(source: Folder, target: WritableTree, name: str) -> None:
    """Put one file in its place again, or all of a coordinate, whose chunks belong together."""
    array = name.rpartition("/")[0]
    held = read_json(source, f"{array}/{META}") if array else None
    together = bool(held and len(held.get("shape") or ()) == 1)
    wanted = source.files(array) if together else [name] if source.has(name) else []
    for stray in set(target.files(array) if together else [name]).difference(wanted):
        target.delete(stray)  # it is not of this store
    for file in wanted:
        target.put(file, source.read(file))


def _is_earlier(path: StorePath) -> bool:
    """Whether a store is of format 2, by its root, or where that is damaged by how an array names its chunks."""
    root = read_json(writable(path), META)
    said = root.get("attributes") if isinstance(root, dict) else None
    if isinstance(said, dict) and {"fingerprint", "digest"} <= said.keys():
        return said.get("format", FORMAT_2) == FORMAT_2
    array = read_json(writable(path), f"truth/{META}")
    named = array.get("chunk_key_encoding") if isinstance(array, dict) else None
    return bool(isinstance(named, dict) and named.get("configuration") == {"separator": "/"})


def replications_in(path: StorePath, schema: StoreSchema) -> int | None:
    """Replications a cell of a store, as most of its arrays have them; None where no array of its cells says it."""
    arrays = ["truth", *(f"{name}/{part}" for name in schema.layouts for part in PACKED)]
    sizes = [held["shape"][1] for held in (read_json(writable(path), f"{array}/{META}") for array in arrays)
             if isinstance(held, dict) and isinstance(held.get("shape"), list) and len(held["shape"]) > 1
             and held["shape"][0] == len(schema.cells)]  # fmt: skip
    return max(set(sizes), key=sizes.count) if sizes else None


# Whether all of a store is as it was written: blocks, labels, dials, metadata, provenance.


STATES = (
    (BlockState.PENDING, "not run"),
    (BlockState.PARTIAL, "without some estimators"),
    (BlockState.POISONED, "poisoned"),
    (BlockState.DONE, "damaged"),
)
FOREIGN, DAMAGED = "is the block of another place or study", "does not match its digest"
UNSEALED = "marks do not name their study and place in this earlier format; `run` with the study writes it anew"


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found: a line for each damage and one about blocks; sound where nothing is damaged or missing."""

    lines: tuple[str, ...]
    sound: bool


def verified(path: StorePath) -> Verified:
    """Read all of a store. Raises BadInput where there is none, or none that may be opened."""
    check_place(path)
    if not path.exists() or (isinstance(path, Path) and path.is_file() and not is_packed(path)):
        raise no_store(path)
    if not any(map(tree_of(path).has, SIGNS)):
        raise no_store(path, "is no store")
    found = damages(path)
    named = {damage.file for damage in found}
    found += [damage for damage in strange(path) if damage.file not in named]
    lines = [str(damage) for damage in found]
    if any(not is_chunk(damage.file) for damage in found):
        lines.append("blocks were not read: `run` with the study rebuilds metadata, then verify again")
        return Verified(tuple(lines), False)
    store = ZarrStore.open(path)
    wanted = frozenset(store.wanted())
    missing = [place for place in store.pending() if place in wanted]
    odd = [f"{name}: {what}" for name, what in tree_of(path).odd()]
    lines += odd
    counts = Counter(store.state(*place) for place in missing)
    for cell, index in missing:
        if store.state(cell, index) is BlockState.DONE:
            lines.append(f"cell {cell} block {index}: {FOREIGN if (cell, index) in store.foreign else DAMAGED}")
    words = [f"{counts[state]} {word}" for state, word in STATES if counts[state] or state is not BlockState.PARTIAL]
    lines.append(", ".join([f"{len(wanted) - len(missing)} of {len(wanted)} blocks sound", *words]))
    if apart := numbers_apart([*store.environments, *store.partial_environments]):
        lines.append(f"blocks come from several environments: {apart}")
    if store.schema.store_format == FORMAT_2:
        lines.append(UNSEALED)
    return Verified(tuple(lines), not missing and not found and not odd)
