"""The dials of a settings dataclass: type, default and allowed values from its fields, meanings from its docstring."""

from __future__ import annotations

import inspect
import re
import types
from dataclasses import MISSING, dataclass, fields
from typing import Any, Literal, TypeAliasType, Union, get_args, get_origin, get_type_hints

from sim.world.context import Part, Slot

REQUIRED = "(required)"
PLAIN = {int: "whole number", float: "number", str: "text", bool: "true or false", type(None): "none"}


@dataclass(frozen=True, slots=True)
class Dial:
    """A setting in words; `allowed` is empty where the type says all, `meaning` where the docstring says nothing."""

    name: str
    type: str
    default: str
    allowed: tuple[str, ...]
    meaning: str


def dials_of(cls: type) -> tuple[Dial, ...]:
    """Every setting that a user can give, in order."""
    hints = get_type_hints(cls)
    settings = [item for item in fields(cls) if item.init]
    meanings = meanings_of(cls, [item.name for item in settings])
    return tuple(
        Dial(item.name, type_text(hints[item.name]), _default(item), allowed(hints[item.name]), meanings[item.name])
        for item in settings
    )


def meanings_of(cls: type, names: list[str]) -> dict[str, str]:
    """What the docstrings of a class and its bases say of each setting: all that follows "name:", or "a, b:".

    A meaning ends where that of another setting, or another paragraph, begins.
    """
    found: dict[str, str] = dict.fromkeys(names, "")
    for base in cls.__mro__:
        for paragraph in _paragraphs(vars(base).get("__doc__") or ""):
            for name, meaning in _meanings(paragraph, names):
                found[name] = found[name] or meaning
    return found


def summary_of(item: object) -> str:
    """The first sentence of a docstring, on one line."""
    first = next(iter(_paragraphs(inspect.getdoc(item) or "")), "")
    return re.split(r"(?<=[.]) (?=[A-Z])", first, maxsplit=1)[0]


def type_text(hint: Any) -> str:
    """A type in words."""
    if isinstance(hint, TypeAliasType):
        return type_text(hint.__value__)
    origin, arguments = get_origin(hint), get_args(hint)
    if _is_part(hint):
        return "part"
    if origin is Literal:
        return " or ".join(dict.fromkeys(PLAIN.get(type(value), type(value).__name__) for value in arguments))
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(type_text(part) for part in arguments))
    if origin is tuple and arguments:
        parts = [part for part in arguments if part is not Ellipsis]
        inner = type_text(parts[0]) if len(set(parts)) == 1 else ", ".join(map(type_text, parts))
        return f"list of {inner}" if Ellipsis in arguments else f"{len(parts)} values: {inner}"
    return PLAIN.get(hint, getattr(hint, "__name__", str(hint)))


def allowed(hint: Any) -> tuple[str, ...]:
    """The values that a type lists, wherever in it they stand; of a slot for parts their kinds."""
    if isinstance(hint, TypeAliasType):
        return allowed(hint.__value__)
    if _is_part(hint):
        return tuple(sorted(Slot(hint, many=False).kinds))
    if get_origin(hint) is Literal:
        return tuple(map(str, get_args(hint)))
    return tuple(dict.fromkeys(value for part in get_args(hint) for value in allowed(part)))


def _default(item: Any) -> str:
    if item.default is not MISSING:
        value = item.default
    elif item.default_factory is not MISSING:
        value = item.default_factory()
    else:
        return REQUIRED
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Part):
        return value.kind
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return {None: "none", "": '""'}.get(value, str(value))


def _is_part(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Part)


def _paragraphs(text: str) -> list[str]:
    """Paragraphs, each on one line; a list belongs to the paragraph before it."""
    parts = re.split(r"\n\s*\n(?!\s*- )", inspect.cleandoc(text))
    return [" ".join(part.split()) for part in parts]


def _meanings(paragraph: str, names: list[str]) -> list[tuple[str, str]]:
    """(name, meaning) of every setting that a paragraph explains."""
    name = "|".join(sorted(map(re.escape, names), key=len, reverse=True)) or "(?!)"
    heads = list(re.finditer(rf"(?:^|(?<=[.;)] ))((?:{name})(?:, (?:{name}))*): ", paragraph))
    ends = [*(head.start() for head in heads[1:]), len(paragraph)]
    return [
        (each, paragraph[head.end() : end].strip())
        for head, end in zip(heads, ends, strict=False)
        for each in head[1].split(", ")
    ]
