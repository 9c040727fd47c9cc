"""Whether all of a store is as it was written: blocks, labels, dials, metadata, provenance."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from results.store.bucket import StorePath
from results.store.files import damages, strange
from results.store.place import check_place, is_packed, tree_of
from results.store.skeleton import FORMAT_2
from results.store.store import BlockState, numbers_apart
from results.store.tree import META, is_chunk
from results.store.zarr_store import ZarrStore
from sim.errors import bad

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
        raise bad("no such store", where=str(path), allowed="a folder that `panelproof run` made",
                  remedy="check the path")  # fmt: skip
    if not any(True for _ in tree_of(path).metadata(frozenset({META}))):
        raise bad("is no store", where=str(path), allowed="a folder that `panelproof run` made",
                  remedy="check the path")  # fmt: skip
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
