"""The parameters of a user's function: those with a default are settings, the others are given to it by name."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import GenericAlias
from typing import Any, get_args, get_origin, get_type_hints

from sim.errors import BadInput, Problem, bad, listed

Function = Callable[..., Any]
BASIC = (bool, int, float, str)


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a function takes: names without a default, in order, and settings as (name, type, default)."""

    given: tuple[str, ...]
    settings: tuple[tuple[str, Any, Any], ...]

    @property
    def dials(self) -> tuple[str, ...]:
        """Names of the settings."""
        return tuple(name for name, _, _ in self.settings)


def parameters_of(function: Function, reserved: Collection[str] = ()) -> Parameters:
    """Read a signature; raises BadInput for what cannot be called by name and for settings with a reserved name.

    The type of a setting is its annotation, else that of its default: a whole number may then become a decimal one.
    """
    where = place_of(function)
    hints = _hints(function)
    problems, given, settings = [], list[str](), list[tuple[str, Any, Any]]()
    for item in _signature(function, where):
        if item.kind not in (item.POSITIONAL_OR_KEYWORD, item.KEYWORD_ONLY):
            problems.append(Problem(f"parameter {item}", where, "parameters with names of their own",
                                    "write each parameter out"))  # fmt: skip
        elif item.default is item.empty:
            given.append(item.name)
        elif item.name in reserved or item.name.startswith("_"):
            problems.append(Problem(f"the setting {item.name!r} has a reserved name", where,
                                    f"other names than {listed(sorted(reserved), 20)}",
                                    "rename the parameter"))  # fmt: skip
        else:
            hint = _setting_type(hints.get(item.name, item.empty), item.default)
            if hint is None:
                problems.append(Problem(f"the setting {item.name!r} has the default {item.default!r}", where,
                                        "numbers, text, true or false, None, and lists of them",
                                        "change the default, or make it within the function"))  # fmt: skip
            default = tuple(item.default) if isinstance(item.default, list) else item.default
            settings.append((item.name, hint, default))
    if problems:
        raise BadInput(*problems)
    return Parameters(tuple(given), tuple(settings))


def annotation_of(function: Function, name: str) -> Any:
    """What a parameter is annotated with; None where it is not."""
    return _hints(function).get(name)


def called_by_name(function: Function, offers: Mapping[str, Any]) -> Any:
    """What a function returns when each of its parameters gets what is offered under its name.

    Raises BadInput for a parameter that nothing is offered for.
    """
    where, chosen = place_of(function), {}
    for item in _signature(function, where):
        if item.name in offers:
            chosen[item.name] = offers[item.name]
        elif item.default is item.empty:
            raise bad(f"parameter {item.name!r} is not known", where=where, allowed=", ".join(offers),
                      remedy="rename the parameter, or give it a default")  # fmt: skip
    return function(**chosen)


def name_of(function: Function, otherwise: str) -> str:
    """A function's own name, another one for a lambda or an object that is called."""
    name = getattr(function, "__name__", "<none>")
    return name if name.isidentifier() else otherwise


def dashed(name: str) -> str:
    """my_world -> my-world."""
    return re.sub(r"_+", "-", name.strip("_"))


def place_of(function: Function) -> str:
    """A function as messages call it, e.g. "function draw (study.py, line 12)"."""
    name = getattr(function, "__name__", type(function).__name__)
    code = getattr(function, "__code__", None)
    at = f" ({Path(code.co_filename).name}, line {code.co_firstlineno})" if code else ""
    return f"function {name}{at}"


def made_class(
    name: str, base: type, settings: Iterable[tuple[str, Any, Any]], members: Mapping[str, Any], function: Function
) -> Any:
    """A frozen dataclass of `base` with these settings and members, named and documented as the function is."""
    columns = [(setting, hint, dataclasses.field(default=default)) for setting, hint, default in settings]
    made = dataclasses.make_dataclass(name, columns, bases=(base,), namespace=dict(members), frozen=True)
    made.__module__ = function.__module__
    made.__qualname__ = getattr(function, "__qualname__", name)
    made.__doc__ = inspect.getdoc(function) or f"The {place_of(function)}."
    return made


def _signature(function: Function, where: str) -> Iterable[inspect.Parameter]:
    if not inspect.isfunction(function):
        raise bad(f"{function!r} is no function", where=where, allowed="a function, by def or lambda",
                  remedy="wrap it in one")  # fmt: skip
    return inspect.signature(function).parameters.values()


def _hints(function: Function) -> dict[str, Any]:
    """Annotations as types; those that name nothing that is there are left out."""
    try:
        return get_type_hints(function)
    except (NameError, TypeError):
        return {}


def _setting_type(hint: Any, default: Any) -> Any:
    """The type of a setting; None when it cannot be one."""
    if hint is not inspect.Parameter.empty:
        return _tuple_of(get_args(hint)[0]) if get_origin(hint) is list and get_args(hint) else hint
    if isinstance(default, bool) or type(default) in (float, str):
        return type(default)
    if isinstance(default, int):
        return int | float
    if default is None:
        return bool | int | float | str | None
    if isinstance(default, list | tuple) and all(type(item) in BASIC for item in default):
        kinds = {type(item) for item in default} or {*BASIC}
        union: Any = int | float if kinds <= {int, float} else bool | int | float | str
        return _tuple_of(kinds.pop() if kinds in ({str}, {bool}) else union)
    return None


def _tuple_of(item: Any) -> Any:
    """The type of a list of so many items of a type as one likes."""
    return GenericAlias(tuple, (item, ...))
