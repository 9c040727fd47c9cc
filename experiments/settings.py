"""TOML files and settings: plain data read and validated, and what is built of them, and back.

Files are validated with pydantic, every fault at once and in the user's words. Settings are frozen dataclasses of
designs, parts and estimators.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from datetime import date, time
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError

from sim.design import Design
from sim.errors import BadInput, Problem, all_of, bad, closest, near_file, one_of
from sim.streams import left_out
from sim.world.context import KEPT_CLASSES, Part, Slot, slots_of

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
                  allowed=f"{what} (TOML)", remedy=near_file(path, [".toml"], remedy))  # fmt: skip
    from sim.panel_files import text_of  # pandas is slow to import

    text, _ = text_of(path, "TOML")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise bad(f"is not valid TOML: {error}", where=path.name, allowed='TOML, such as key = "text" below [table]',
                  remedy="correct that line and put texts in quotes") from error  # fmt: skip


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
            new = [_fault(model, file, item) for item in error.errors() if item["loc"] not in cut]
        else:
            return made, list(dict.fromkeys(reading.problems))
        if not new:
            return None, list(dict.fromkeys(reading.problems))
        reading.problems.extend(problem for problem, _ in new)
        for path in sorted({path for _, path in new}, reverse=True):
            data = _without(data, path)
            cut.add(path)


def _fault(model: type[Table], file: str, item: Any) -> tuple[Problem, tuple[int | str, ...]]:
    """What pydantic found, in the user's words, and the path of what is to be left out for it.

    The fault lies in the innermost table on the way through nested tables and lists of tables of several kinds.
    """
    kind, key, where, path = item["type"], item["loc"], file, tuple[int | str, ...]()
    tables: tuple[type[Table], ...] = (model,)  # several where the kind is not known
    while key and len(tables) == 1 and str(key[0]) in tables[0].model_fields:
        if not (inner := tuple(_tables_of(tables[0].model_fields[str(key[0])].annotation))):
            break
        path, key, tables = (*path, key[0]), key[1:], inner
        where = f"{file}, [{'.'.join(map(str, path))}]"
    if len(tables) > 1:
        path, key, where = (*path, key[0]), key[1:], f"{file}, [[{path[-1]}]] {key[0] + 1}"
    if len(tables) > 1 and key:  # behind the number stands the kind
        tables, key, where = tuple(one for one in tables if _kind(one) == key[0]), key[1:], f"{where} ({key[0]})"
    table, names = tables[0], list(tables[0].model_fields)
    cut = (*path, key[0]) if key and (kind == "extra_forbidden" or table.partial) else path

    if not key and len(tables) > 1 and kind.startswith("union_tag"):
        kinds, given = [_kind(one) for one in tables], item.get("ctx", {}).get("tag")
        what, remedy = f"kind = {given!r}", "add kind" if given is None else closest(given, kinds)
        what = "the key 'kind' is missing" if given is None else what
        return Problem(what, where, one_of(kinds, given or ""), remedy), cut
    if not key:
        return Problem(f"is {as_written(item['input'])}", where, f"a table with the keys {one_of(names)}",
                       "write it as a table"), cut  # fmt: skip
    if kind == "extra_forbidden":
        return unknown_key(str(key[0]), names, where), cut
    if kind == "missing" and len(key) == 1:
        return Problem(f"the key {key[0]!r} is missing", where, f"{key[0]} = ...", f"add {key[0]}"), cut
    return wrong_value(item, written_key(key), where, table.model_fields[str(key[0])].description), cut


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
    settings, slots = dict(settings), slots_of(cls)  # type: ignore[arg-type]
    for name in [name for name in slots if name in settings]:
        slot = slots[name]
        table = f"{where.removesuffix(']')}.{name}]" if where.endswith("]") else f"{where} [{name}]"
        if not slot.many:
            parts = [_part(slot, settings.pop(name), table, problems)]
        elif isinstance(given := settings.pop(name), list | tuple):
            head, _, tail = table.rpartition("[")
            places = (f"{head}[[{tail}] {number}" for number in range(1, len(given) + 1))
            parts = [_part(slot, item, place, problems) for item, place in zip(given, places, strict=True)]
        else:
            parts = []
            problems.append(Problem(f"is {as_written(given)}", table, f"tables [[{name}]]", "write them as tables"))
        sound = tuple(part for part in parts if part is not None)
        if sound or slot.many:
            settings[name] = sound if slot.many else sound[0]
    tables = {item.name for item in fields(cls) if str(item.type).startswith(PAIRS)}  # type: ignore[arg-type]
    known = {key: list(value.items()) if key in tables and isinstance(value, Mapping) else value
             for key, value in settings.items() if key in names}  # fmt: skip
    adapter: TypeAdapter[T] = _adapter(cls)  # type: ignore[arg-type]
    while True:
        wrong = set[str]()
        try:
            return adapter.validate_python(known), problems
        except ValidationError as error:
            # a value or a list of such: only the form that was written is at fault, and pydantic's name of it no key
            in_lists = [str((*item["loc"], "", "")[1]).startswith("tuple[") for item in error.errors()]
            either = {item["loc"][0] for item, in_list in zip(error.errors(), in_lists, strict=True) if in_list}
            for item, in_list in zip(error.errors(), in_lists, strict=True):
                inner, key = item.get("ctx", {}).get("error"), str(item["loc"][0]) if item["loc"] else ""
                if isinstance(inner, BadInput):  # that the settings raised themselves
                    problems += _placed(inner, where)
                elif key in tables:
                    problems.append(no_pairs(key, settings[key], where))
                elif key not in either:
                    problems.append(wrong_value(item, written_key(item["loc"]), where))
                elif isinstance(settings[key], list | tuple) == in_list:
                    said = wrong_value(item, written_key((key, *item["loc"][2:])), where)
                    problems.append(said if in_list else replace(said, allowed=f"{said.allowed}, or a list of such"))
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


# Dials of a design by name: its own settings, and those of its parts by dotted names such as "errors.serial".


def dial_names(design: Design, values: Mapping[str, Sequence[Any]]) -> tuple[str, ...]:
    """Every dial, in order. values: what a grid gives to each, so that dials of all kinds of a part are there."""
    slots, names = slots_of(type(design)), list[str]()
    for item in fields(design):  # type: ignore[arg-type]
        if item.name not in slots:
            names.append(item.name)
            continue
        for prefix, part in _parts(item.name, getattr(design, item.name)):
            slot, chosen = slots[item.name], map(str, values.get(f"{prefix}.kind", ()))
            kinds = [slot.find(kind, "[grid]") if ":" in kind else slot.kinds.get(kind) for kind in chosen]
            for cls in (type(part), *(kind for kind in kinds if kind is not None)):
                names += [f"{prefix}.{dial.name}" for dial in fields(cls)]  # type: ignore[arg-type]
            names.append(f"{prefix}.kind")
    return tuple(dict.fromkeys(names))


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
        slot = slots[path[0]]
        tables = list(changed[path[0]]) if slot.many else [changed[path[0]]]
        table = tables[place]
        name = str(value if last == "kind" else table["kind"])
        kind = slot.find(name, f"[grid] {dial}") if ":" in name else slot.kinds.get(name)
        known = {item.name for item in fields(kind)} if kind else {*table}  # type: ignore[arg-type]
        tables[place] = {key: x for key, x in {**table, last: value}.items() if key == "kind" or key in known}
        changed[path[0]] = tables if slot.many else tables[0]
    return changed


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
    for one in fields(item):
        if one.name == last:
            return one.default if one.default_factory is MISSING else one.default_factory()
    return MISSING


def _parts(slot: str, held: Any) -> Iterator[tuple[str, Part]]:
    """The parts of a slot with the names that dials have before the dot: of a list by the part's own name."""
    if isinstance(held, Part):
        yield slot, held
        return
    for number, part in enumerate(held, 1):
        yield f"{slot}.{getattr(part, 'name', '') or number}", part
