"""TOML files: read, validated with pydantic, every fault at once and in the user's words."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, time
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from sim.errors import Problem, bad, closest, one_of
from sim.panel_files import ENCODINGS

PLAIN = "a text, a number, true or false"
BOUNDS = {"ge": "{:g} or more", "gt": "above {:g}", "le": "up to {:,g}", "lt": "below {:g}"}


def _plain(value: object) -> object:
    if not isinstance(value, bool | int | float | str):
        raise PydanticCustomError("plain", PLAIN)
    return value


Name = Annotated[str, Field(min_length=1)]
Names = tuple[Name, ...]
Flag = Annotated[bool, Field(strict=True)]
Positive = Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Whole = Annotated[int, Field(strict=True)]
Value = Annotated[bool | int | float | str, BeforeValidator(_plain)]
NamesByName = Annotated[
    dict[Name, Names], Field(description='lists of columns by name, such as { roads = ["a", "b"] }')
]


@dataclass(frozen=True, slots=True)
class TomlReading:
    """A file that is validated: its name and folder, and what was found wrong so far."""

    file: str
    folder: Path
    problems: list[Problem] = field(default_factory=list)


class Table(BaseModel):
    """A table of a TOML file; unknown keys are faults. A field's description says what it takes, in a user's words.

    place: the table as messages name it. partial: whether its other keys are still of use when one is wrong.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    place: ClassVar[str] = ""
    partial: ClassVar[bool] = False

    def faults(self, where: str) -> Iterable[Problem]:
        """What is wrong between keys of this table that are fine on their own."""
        return ()

    @model_validator(mode="after")
    def _note_faults(self, info: ValidationInfo) -> Self:
        if isinstance(info.context, TomlReading):
            info.context.problems.extend(self.faults(f"{info.context.file}, {self.place}"))
        return self


def read_toml(path: Path, what: str, remedy: str = "check the path") -> dict[str, Any]:
    """The tables of a TOML file; raises BadInput when there is none. what: the kind of file; remedy: how to get one."""
    if not path.is_file():
        raise bad("is a directory" if path.is_dir() else "there is no such file", where=str(path),
                  allowed=f"{what} (TOML)", remedy=remedy)  # fmt: skip
    content = path.read_bytes()
    for encoding in ENCODINGS:
        try:
            return tomllib.loads(content.decode(encoding))
        except UnicodeDecodeError:
            continue
        except tomllib.TOMLDecodeError as error:
            allowed = 'TOML, such as key = "text" below [table]'
            raise bad(f"is not valid TOML: {error}", where=path.name, allowed=allowed,
                      remedy="correct that line and put texts in quotes") from error  # fmt: skip
    raise bad("is not a text in UTF-8", where=path.name, allowed="TOML in UTF-8", remedy="save it as UTF-8")


def validated[T: Table](
    model: type[T], data: Mapping[str, Any], file: str, folder: Path | None = None
) -> tuple[T | None, list[Problem]]:
    """The tables of a file, and everything that is wrong with them.

    What is wrong is left out of the tables: a key that is unknown or that belongs to a `partial` table, else the whole
    table; None when a table that must be there is wrong.
    """
    reading, cut = TomlReading(file, folder or Path()), set[tuple[int | str, ...]]()
    while True:
        try:
            made = model.model_validate(data, context=reading)
        except ValidationError as error:
            new = [(item, _Place.of(model, file, item)) for item in error.errors() if item["loc"] not in cut]
        else:
            return made, list(dict.fromkeys(reading.problems))
        if not new:
            return None, list(dict.fromkeys(reading.problems))
        for item, place in new:
            reading.problems.append(place.problem(item))
        for path in sorted({place.cut for _, place in new}, reverse=True):
            data = _without(data, path)
            cut.add(path)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a fault lies: the innermost table, what messages call it, the key within it, and what to leave out."""

    tables: tuple[type[Table], ...]  # several where the kind is not known
    where: str
    key: tuple[int | str, ...]
    cut: tuple[int | str, ...]

    @classmethod
    def of(cls, model: type[Table], file: str, item: Any) -> _Place:
        """The place of what pydantic found, by its path through nested tables and lists of tables of several kinds."""
        loc, where, path = item["loc"], file, tuple[int | str, ...]()
        tables: tuple[type[Table], ...] = (model,)
        while loc and len(tables) == 1 and (inner := _tables_below(tables[0], loc[0])):
            path, loc, tables = (*path, loc[0]), loc[1:], inner
            where = f"{file}, [{'.'.join(map(str, path))}]"
        if len(tables) > 1:
            path, loc, where = (*path, loc[0]), loc[1:], f"{file}, [[{path[-1]}]] {loc[0] + 1}"
        if len(tables) > 1 and loc:  # behind the number stands the kind
            tables, loc, where = tuple(one for one in tables if _kind(one) == loc[0]), loc[1:], f"{where} ({loc[0]})"
        only_key = loc and (item["type"] == "extra_forbidden" or tables[0].partial)
        return cls(tables, where, loc, (*path, loc[0]) if only_key else path)

    def problem(self, item: Any) -> Problem:
        """The fault in the user's words."""
        table = self.tables[0]
        names = list(table.model_fields)
        if not self.key:
            if len(self.tables) > 1 and item["type"].startswith("union_tag"):
                kinds, kind = [_kind(one) for one in self.tables], item.get("ctx", {}).get("tag")
                what = "the key 'kind' is missing" if kind is None else f"kind = {kind!r}"
                return Problem(
                    what, self.where, one_of(kinds, kind or ""), "add kind" if kind is None else closest(kind, kinds)
                )
            return Problem(f"is {as_written(item['input'])}", self.where, f"a table with the keys {one_of(names)}",
                           "write it as a table")  # fmt: skip
        if item["type"] == "extra_forbidden":
            return unknown_key(str(self.key[0]), names, self.where)
        if item["type"] == "missing" and len(self.key) == 1:
            return Problem(
                f"the key {self.key[0]!r} is missing", self.where, f"{self.key[0]} = ...", f"add {self.key[0]}"
            )
        return wrong_value(item, written_key(self.key), self.where, table.model_fields[str(self.key[0])].description)


def as_written(value: object) -> str:
    """A value of a TOML file as text: true and dates as TOML has them, texts in quotes."""
    if isinstance(value, bool | date | time):
        return str(value).lower()
    return repr(list(value) if isinstance(value, tuple) else value)


def in_toml(value: Any) -> str:
    """A value as a TOML file has it on one line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(in_toml, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {in_toml(held)}' for key, held in value.items())} }}" if value else "{}"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else f"{value}"  # JSON's escapes are TOML's


def unknown_key(key: str, names: Sequence[str], where: str, whole: str = "") -> Problem:
    """A key that is none of the names, with the nearest one; whole: where all names stand."""
    return Problem(f"unknown key {key!r}", where, one_of(names, key, whole), closest(key, names))


def written_key(loc: Sequence[int | str]) -> str:
    """A key with its path as TOML users write it: exclude.region[0]."""
    return str(loc[0]) + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc[1:])


def wrong_value(item: Any, key: str, where: str, description: str | None = None) -> Problem:
    """A value of the wrong kind, size or length. description: what the key takes, for lists and tables of some form."""
    if item["type"] == "missing":  # of a list with so many items
        key = key.rpartition("[")[0]
    remedy, nested = f"correct {key}", "." in key
    allowed = _expected(item)
    if item["type"] in ("tuple_type", "list_type") and (nested or description is None):
        scalar = isinstance(item["input"], bool | int | float | str)
        example = json.dumps([item["input"]] if scalar else ["a", "b"], ensure_ascii=False)
        allowed, remedy = f"a list in brackets, such as {example}", f"write {key} = {example}" if scalar else remedy
    elif allowed is None:
        allowed = description or str(item["msg"]).removeprefix("Value error, ")
    return Problem(f"{key} = {as_written(item['input'])}", where, allowed, remedy)


def _expected(item: Any) -> str | None:
    """What a single value may be, in a user's words; None for lists, tables and what names its own allowed values."""
    context = item.get("ctx", {})
    match str(item["type"]).partition("_")[0]:
        case "literal":
            return str(context["expected"]).replace("'", '"')
        case "string" | "path":
            return 'a text in quotes, such as "city"'
        case "bool":
            return "true or false"
        case "int":
            return "a whole number"
        case "float" | "finite":
            return "a number"
        case "plain":
            return PLAIN
        case "greater" | "less":
            ((relation, bound),) = context.items()
            return BOUNDS[relation].format(bound)
    return None


def _tables_below(model: type[Table], key: int | str) -> tuple[type[Table], ...]:
    """The tables that a key of a table may hold."""
    found = model.model_fields.get(str(key))
    return () if found is None else tuple(_tables_of(found.annotation))


def _tables_of(annotation: Any) -> list[type[Table]]:
    if isinstance(annotation, type) and issubclass(annotation, Table):
        return [annotation]
    return [table for part in get_args(annotation) for table in _tables_of(part)]


def _kind(table: type[Table]) -> str:
    """The kind of a table among several, as its field `kind` states it."""
    return str(get_args(table.model_fields["kind"].annotation)[0])


def _without(data: Any, path: tuple[int | str, ...]) -> Any:
    """Nested dicts and lists without what stands at a path, where there is anything."""
    first, *rest = path
    items = dict(data) if isinstance(data, Mapping) else dict(enumerate(data))
    inner = items.pop(first, None)
    if rest and inner is not None:
        items[first] = _without(inner, tuple(rest))
    return items if isinstance(data, Mapping) else [items[index] for index in sorted(items)]


def no_pairs(name: str, value: Any, where: str) -> Problem:
    """One line for a setting that should be a table, however many of its parts are wrong, with the table to write."""
    parts: list[Any] = list(value) if isinstance(value, list | tuple) and value else [None]
    right = "NAME = VALUE"
    if all(isinstance(part, Mapping) for part in parts):
        pairs = [pair for part in parts for pair in part.items()]
        right = ", ".join(f"{key} = {json.dumps(item, ensure_ascii=False, default=str)}" for key, item in pairs)
    allowed = "a table of settings, each true or false, a number, text, or a list of texts or of whole numbers"
    return Problem(f"{name} = {value!r}", where, allowed, f"write {name} = {{{right}}}")
