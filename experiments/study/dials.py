"""Dials of a design by name: its own settings, and those of its parts by dotted names such as "errors.serial"."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

from sim.design import Design
from sim.world.context import Part, slots_of


def dial_names(design: Design, values: Mapping[str, Sequence[Any]]) -> tuple[str, ...]:
    """Every dial, in order. values: what a grid gives to each, so that dials of all kinds of a part are there."""
    return tuple(dict.fromkeys(_names(design, values)))


def _names(design: Design, values: Mapping[str, Sequence[Any]]) -> Iterator[str]:
    slots = slots_of(type(design))
    for item in fields(design):  # type: ignore[arg-type]
        if item.name not in slots:
            yield item.name
            continue
        for prefix, part in _parts(item.name, getattr(design, item.name)):
            kinds = [slots[item.name].kinds.get(str(kind)) for kind in values.get(f"{prefix}.kind", ())]
            for cls in (type(part), *(kind for kind in kinds if kind is not None)):
                yield from (f"{prefix}.{dial.name}" for dial in fields(cls))  # type: ignore[arg-type]
            yield f"{prefix}.kind"


def value_of(design: Design, dial: str) -> Any:
    """The value of a dial; None where the kind of its part has no such dial."""
    *path, last = dial.split(".")
    item: Any = design
    if path:
        item = dict(_parts(path[0], getattr(design, path[0]))).get(".".join(path))
    return getattr(item, last, None)


def with_dials(design: Design, settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a design with dials set to other values.

    A part that becomes another kind keeps the dials that both kinds have, and a dial that the kind lacks is left out.
    """
    changed = dict(settings)
    slots = slots_of(type(design))
    for dial, value in sorted(changes.items(), key=lambda item: not item[0].endswith(".kind")):  # kinds first
        *path, last = dial.split(".")
        if not path:
            changed[dial] = value
            continue
        place = [prefix for prefix, _ in _parts(path[0], getattr(design, path[0]))].index(".".join(path))
        tables = list(changed[path[0]]) if slots[path[0]].many else [changed[path[0]]]
        tables[place] = _with(slots[path[0]].kinds, tables[place], last, value)
        changed[path[0]] = tables if slots[path[0]].many else tables[0]
    return changed


def _with(kinds: Mapping[str, type[Part]], table: Mapping[str, Any], dial: str, value: Any) -> dict[str, Any]:
    kind = kinds.get(str(value if dial == "kind" else table["kind"]))
    known = {item.name for item in fields(kind)} if kind else {*table}  # type: ignore[arg-type]
    return {key: x for key, x in {**table, dial: value}.items() if key == "kind" or key in known}


def is_written(table: Mapping[str, Any], dial: str) -> bool:
    """Whether a design's table in a study file sets a dial."""
    *path, last = dial.split(".")
    held: Any = table
    if path:
        held = table.get(path[0], {})
        if isinstance(held, list):
            named = {name: part for number, part in enumerate(held, 1) for name in (str(number), part.get("name"))}
            held = named.get(path[-1], {})
    return last in held


def default_of(design: Design, dial: str) -> Any:
    """What a dial is where nobody sets it; for a dial of a part, in the part's own kind."""
    *path, last = dial.split(".")
    item: Any = dict(_parts(path[0], getattr(design, path[0]))).get(".".join(path)) if path else design
    for field in fields(item):
        if field.name == last:
            return field.default if field.default_factory is MISSING else field.default_factory()
    return MISSING


def _parts(slot: str, held: Any) -> Iterator[tuple[str, Part]]:
    """The parts of a slot with the names that dials have before the dot: of a list by the part's own name."""
    if isinstance(held, Part):
        yield slot, held
        return
    for number, part in enumerate(held, 1):
        yield f"{slot}.{getattr(part, 'name', '') or number}", part
