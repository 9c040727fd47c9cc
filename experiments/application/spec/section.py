"""What every table of a SPEC.toml is, the kinds of values that its keys take, and how it is read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, time
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from sim.errors import Problem, closest, one_of

PLAIN = "a text, a number, true or false"
LIST = 'a list in brackets, such as ["a", "b"]'


def _plain(value: object) -> object:
    if not isinstance(value, bool | int | float | str):
        raise PydanticCustomError("plain", PLAIN)
    return value


Name = Annotated[str, Field(min_length=1)]
Names = tuple[Name, ...]
Flag = Annotated[bool, Field(strict=True)]
Positive = Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)]
Whole = Annotated[int, Field(strict=True)]
Value = Annotated[bool | int | float | str, BeforeValidator(_plain)]
NamesByName = Annotated[
    dict[Name, Names], Field(description='lists of columns by name, such as { roads = ["a", "b"] }')
]


class Section(BaseModel):
    """A table of a SPEC.toml; unknown keys are errors. A field's description says what it takes, in a user's words."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def read_section[S: Section](
    model: type[S], data: Any, where: str, problems: list[Problem], *, partial: bool = False
) -> S | None:
    """A section, its problems added to the list; where there are any None or, `partial`, all but the wrong keys."""
    keys = list(model.model_fields)
    if not isinstance(data, Mapping):
        problems.append(Problem(f"is {as_written(data)}", where, f"a table with the keys {one_of(keys)}",
                                "write it as a table"))  # fmt: skip
        return None
    try:
        return model.model_validate(data)
    except ValidationError as error:
        items = error.errors()
    problems += dict.fromkeys(_problem(item, model, data, where) for item in items)
    wrong = {item["loc"][0] for item in items}
    return model.model_validate({key: data[key] for key in data if key not in wrong}) if partial else None


def as_written(value: object) -> str:
    """A value of a TOML file as text: true and dates as TOML has them, texts in quotes."""
    if isinstance(value, bool | date | time):
        return str(value).lower()
    return repr(value)


def _problem(item: Any, model: type[Section], data: Mapping[str, Any], where: str) -> Problem:
    first, *rest = item["loc"]
    key = str(first) + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in rest)
    keys = list(model.model_fields)
    if item["type"] == "extra_forbidden":
        return Problem(f"unknown key {key!r}", where, one_of(keys), closest(key, keys))
    if item["type"] == "missing" and not rest:
        return Problem(f"the key {key!r} is missing", where, f"{key} = ...", f"add {key}")
    if item["type"] in ("missing", "too_long"):  # of a list with so many items
        return Problem(f"{first} = {as_written(data[first])}", where, _expected(item, model), f"correct {first}")
    return Problem(f"{key} = {as_written(item['input'])}", where, _expected(item, model), f"correct {key}")


def _expected(item: Any, model: type[Section]) -> str:
    """What a complaint of the reader says is allowed, in a user's words."""
    context = item.get("ctx", {})
    match item["type"]:
        case "literal_error":
            return str(context["expected"]).replace("'", '"')
        case "string_type" | "string_too_short" | "path_type":
            return 'a text in quotes, such as "city"'
        case "bool_type":
            return "true or false"
        case "int_type":
            return "a whole number"
        case "float_type" | "finite_number":
            return "a number"
        case "greater_than_equal":
            return f"{context['ge']:g} or more"
        case "less_than_equal":
            return f"up to {context['le']:,g}"
        case "greater_than":
            return f"above {context['gt']:g}"
        case "plain":
            return PLAIN
        case "tuple_type" if len(item["loc"]) > 1 and isinstance(item["loc"][-1], str):  # in a table of lists
            return LIST
    return model.model_fields[item["loc"][0]].description or LIST
