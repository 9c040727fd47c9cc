"""Files that stand beside a study file: dials of parts that name one get the panel in it, as a text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sim.design import find_design
from sim.errors import BadInput
from sim.panel_sidecars import ENDING, panel_text, read_beside
from sim.world.context import Slot, slots_of


def with_files(settings: Mapping[str, Any], folder: Path, where: str) -> dict[str, Any]:
    """Settings of a study in which every dial that may name a file holds its panel; raises BadInput for no such file.

    A study then holds all that it needs: it is the same for a store, for workers and for `replay`, and its fingerprint
    covers every number of the panel. Tables that are wrong are left for `Study` to refuse.
    """
    design = settings.get("design")
    if not isinstance(design, Mapping) or not isinstance(design.get("kind"), str):
        return dict(settings)
    try:
        slots = slots_of(find_design(design["kind"]))
    except BadInput:
        return dict(settings)
    held = dict(design)
    for name, slot in slots.items():
        if isinstance(table := design.get(name), Mapping):
            held[name] = slot.with_paths(_with_files(table, slot, folder, f"{where} [design.{name}]"), folder)
        elif isinstance(table, list):
            held[name] = [
                slot.with_paths(_with_files(item, slot, folder, f"{where} [[design.{name}]] {number}"), folder)
                if isinstance(item, Mapping) else item
                for number, item in enumerate(table, 1)
            ]  # fmt: skip
    return dict(settings) | {"design": held}


def _with_files(table: Mapping[str, Any], slot: Slot, folder: Path, where: str) -> dict[str, Any]:
    cls = slot.kinds.get(str(table.get("kind", slot.base.default)))
    named = {} if cls is None else {dial: str(table.get(dial, "")) for dial in cls.files}
    files = {dial: folder / name for dial, name in named.items() if name.lower().endswith(ENDING)}
    found = {dial: read_beside(file, f"{where} {dial}") for dial, file in files.items()}
    return dict(table) | {dial: panel_text(panel) for dial, panel in found.items()}
