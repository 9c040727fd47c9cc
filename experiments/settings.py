"""Settings: frozen dataclasses of designs, parts and estimators from plain data, and back to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from functools import lru_cache
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from experiments.toml_files import as_written, no_pairs, unknown_key, written_key, wrong_value
from sim.errors import BadInput, Problem, all_of, bad, one_of
from sim.world.context import KEPT_CLASSES, Part, Slot, left_out, slots_of

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
