"""Frozen settings from plain data and back, with errors in the user's words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from sim.errors import BadInput, Problem, closest, one_of

PAIRS = "tuple[tuple[str,"  # how the type of a setting begins that a table can give: pairs of name and value
PLAIN = {"int": "a whole number", "float": "a number", "string": "text", "bool": "true or false"}


def build[T](cls: type[T], settings: Mapping[str, Any], where: str) -> T:
    """An instance of a settings dataclass; raises BadInput with every unknown key and wrong value.

    A table stands for the pairs of a setting that holds pairs: {errors = ["hc1"]} is [["errors", ["hc1"]]].
    """
    names = [item.name for item in fields(cls) if item.init]  # type: ignore[arg-type]
    problems = [
        Problem(f"unknown key {key!r}", where, one_of(names), closest(key, names))
        for key in settings
        if key not in names
    ]
    tables = {item.name for item in fields(cls) if str(item.type).startswith(PAIRS)}  # type: ignore[arg-type]
    known = {key: _pairs(value) if key in tables else value for key, value in settings.items() if key in names}
    try:
        made: T = _adapter(cls).validate_python(known)
    except ValidationError as error:
        found = error.errors()
        wrong = [name for name in known if name in tables and any(item["loc"][:1] == (name,) for item in found)]
        problems += [_no_table(name, settings[name], where) for name in wrong]
        others = [item for item in found if item["loc"][:1] not in {(name,) for name in wrong}]
        problems += [problem for item in others for problem in _problems(item, where)]
    except BadInput as error:
        problems += [Problem(p.what, where, p.allowed, p.remedy) for p in error.problems]
    if problems:
        raise BadInput(*problems)
    return made


def to_settings(value: Any) -> Any:
    """Plain data (dict, list, str, number, bool, None) of settings."""
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: to_settings(getattr(value, item.name)) for item in fields(value) if item.init and item.repr}
    if isinstance(value, Mapping):
        return {str(key): to_settings(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_settings(item) for item in value]
    return value


def _pairs(value: Any) -> Any:
    return list(value.items()) if isinstance(value, Mapping) else value


def _no_table(name: str, value: Any, where: str) -> Problem:
    """One line for a setting that should be a table, however many of its parts are wrong, with the table to write."""
    parts: list[Any] = list(value) if isinstance(value, list | tuple) and value else [None]
    right = "{NAME = VALUE}"
    if all(isinstance(part, Mapping) for part in parts):
        pairs = [pair for part in parts for pair in part.items()]
        right = (
            "{" + ", ".join(f"{key} = {json.dumps(item, ensure_ascii=False, default=str)}" for key, item in pairs) + "}"
        )
    allowed = "a table of settings, each true or false, a number, text, or a list of texts or of whole numbers"
    return Problem(f"{name} = {value!r}", where, allowed, f"write {name} = {right}")


def _adapter[T](cls: type[T]) -> TypeAdapter[T]:
    return TypeAdapter(cls, config=None if is_dataclass(cls) else ConfigDict(extra="forbid"))


def _problems(item: Any, where: str) -> list[Problem]:
    """What pydantic found, in our words; a BadInput that settings raised themselves keeps its own."""
    inner = item.get("ctx", {}).get("error")
    if isinstance(inner, BadInput):
        return [Problem(problem.what, where, problem.allowed, problem.remedy) for problem in inner.problems]
    path = ".".join(str(part) for part in item["loc"])
    value, remedy = item["input"], f"correct {path}"
    allowed = str(item.get("ctx", {}).get("expected") or item["msg"].removeprefix("Value error, "))
    kind, _, fault = item["type"].partition("_")
    if fault in {"type", "parsing", "from_float"}:
        allowed = PLAIN.get(kind, allowed)
    if kind in {"tuple", "list"} and fault == "type":
        example = json.dumps([value], ensure_ascii=False, default=str)
        allowed, remedy = f"a list, e.g. {example}", f"write {path} = {example}"
    return [Problem(f"{path} = {value!r}", where, allowed[0].lower() + allowed[1:], remedy)]
