"""Settings: frozen dataclasses of designs, parts and estimators from plain data, and back to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass, replace
from functools import lru_cache
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from experiments.toml_files import as_written, no_pairs, unknown_key, written_key, wrong_value
from sim.design import Design
from sim.errors import BadInput, Problem, all_of, bad, one_of
from sim.streams import left_out
from sim.world.context import KEPT_CLASSES, Part, Slot, slots_of

PAIRS = "tuple[tuple[str,"  # how the type of a setting begins that a table can give: pairs of name and value


def build[T](cls: type[T], settings: Mapping[str, Any], where: str) -> T:
    """An instance of a settings dataclass; raises BadInput with every unknown key and wrong value.

    A table stands for the pairs of a setting that holds pairs: {errors = ["hc1"]} is [["errors", ["hc1"]]]. In a slot
    of a design a table stands for a part.
    """
    made, problems = _built(cls, settings, where)
    if problems or made is None:
        raise BadInput(*dict.fromkeys(problems))
    return made


def to_settings(value: Any) -> Any:
    """Plain data (dict, list, str, number, bool, None) of settings."""
    if is_dataclass(value) and not isinstance(value, type):
        shown = [item for item in fields(value) if item.init and item.repr and not left_out(item, value)]
        own = {item.name: to_settings(getattr(value, item.name)) for item in shown}
        return {"kind": kind_of(value, "sim"), **own} if isinstance(value, Part) else own
    if isinstance(value, Mapping):
        return {str(key): to_settings(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_settings(item) for item in value]
    return value


def kind_of(item: object, room: str) -> str:
    """The name by which `find` will find this object's class again: its kind, if `room` has the class."""
    cls = type(item)
    if found_as := str(getattr(cls, "found_as", "")):
        return found_as
    kind: str = cls.kind  # type: ignore[attr-defined]
    return kind if cls.__module__.startswith(f"{room}.") else f"{cls.__module__}:{cls.__qualname__}"


def _built[T](cls: type[T], settings: Mapping[str, Any], where: str) -> tuple[T | None, list[Problem]]:
    """An instance, None where there is none, and everything that is wrong.

    A part is made of its sound settings when others are wrong, so that a design can say what is wrong between parts.
    """
    names = [item.name for item in fields(cls) if item.init]  # type: ignore[arg-type]
    problems = [unknown_key(key, names, where, all_of(cls)) for key in settings if key not in names]
    settings = _with_parts(cls, settings, where, problems)
    tables = {item.name for item in fields(cls) if str(item.type).startswith(PAIRS)}  # type: ignore[arg-type]
    known = {key: _pairs(value) if key in tables else value for key, value in settings.items() if key in names}
    adapter: TypeAdapter[T] = _adapter(cls)  # type: ignore[arg-type]
    while True:
        wrong = set[str]()
        try:
            return adapter.validate_python(known), problems
        except ValidationError as error:
            for item in error.errors():
                inner, key = item.get("ctx", {}).get("error"), str(item["loc"][0]) if item["loc"] else ""
                if isinstance(inner, BadInput):  # that the settings raised themselves
                    problems += _placed(inner, where)
                elif key in tables:
                    problems.append(no_pairs(key, settings[key], where))
                else:
                    problems.append(wrong_value(item, written_key(item["loc"]), where))
                wrong.add(key)
        except BadInput as error:
            problems += _placed(error, where)
        if not (issubclass(cls, Part) and wrong and wrong <= known.keys()):
            return None, problems
        known = {key: value for key, value in known.items() if key not in wrong}


@lru_cache(maxsize=KEPT_CLASSES)
def _adapter(cls: type) -> TypeAdapter[Any]:
    """What makes instances of a class; pydantic takes long to settle it."""
    return TypeAdapter(cls, config=None if is_dataclass(cls) else ConfigDict(extra="forbid"))


def _with_parts(cls: type, settings: Mapping[str, Any], where: str, problems: list[Problem]) -> dict[str, Any]:
    """Settings in which every table of a part is the part; those of which none can be made are left out."""
    made = dict(settings)
    for name in [name for name in slots_of(cls) if name in settings]:
        slot = slots_of(cls)[name]
        table = f"{where.removesuffix(']')}.{name}]" if where.endswith("]") else f"{where} [{name}]"
        if not slot.many:
            parts = [_part(slot, made.pop(name), table, problems)]
        elif isinstance(given := made.pop(name), list | tuple):
            head, _, tail = table.rpartition("[")
            places = (f"{head}[[{tail}] {number}" for number in range(1, len(given) + 1))
            parts = [_part(slot, item, place, problems) for item, place in zip(given, places, strict=True)]
        else:
            parts = []
            problems.append(Problem(f"is {as_written(given)}", table, f"tables [[{name}]]", "write them as tables"))
        sound = tuple(part for part in parts if part is not None)
        if sound or slot.many:
            made[name] = sound if slot.many else sound[0]
    return made


def _part(slot: Slot, given: Any, where: str, problems: list[Problem]) -> Part | None:
    """The part that a table describes, None where it describes none; adds what is wrong to the problems."""
    if isinstance(given, Part):
        return given
    try:
        if not isinstance(given, Mapping):
            raise bad(f"is {as_written(given)}", where=where, allowed=f"a table with a kind: {one_of(slot.kinds)}",
                      remedy="write it as a table")  # fmt: skip
        cls = slot.find(str(given.get("kind", slot.base.default)), f"{where} kind")
    except BadInput as error:
        problems += error.problems
        return None
    made, wrong = _built(cls, {key: value for key, value in given.items() if key != "kind"}, where)
    problems += wrong
    return made


def _placed(error: BadInput, where: str) -> list[Problem]:
    """Problems that settings raised, where they were written: in the table that they name, else in their own."""
    file = where.rpartition("[")[0].removesuffix("[")
    return [
        replace(item, where=f"{file}{item.where}" if item.where.startswith("[") and file else where)
        for item in error.problems
    ]


def _pairs(value: Any) -> Any:
    return list(value.items()) if isinstance(value, Mapping) else value


# Dials of a design by name: its own settings, and those of its parts by dotted names such as "errors.serial".


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
        if last == "kind" and item is not None:
            return kind_of(item, "sim")
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
