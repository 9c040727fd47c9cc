"""Measures of a user's own by name: "measures.py:worst_case", a function of a file, or "package.module:function"."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from results.diagnosis.own_measures import own_measures
from sim.errors import BadInput, Problem, bad, closest, gathering, reason

Function = Callable[..., Any]


def resolved(text: str, folder: Path) -> str:
    """The same name with the file's whole path, where it is a file of the folder."""
    place, colon, name = text.rpartition(":")
    return f"{(folder / place).resolve()}{colon}{name}" if place.endswith(".py") else text


def load_measures(texts: Iterable[str], where: str) -> dict[str, Function]:
    """The functions by name; raises BadInput with every one that cannot be used."""
    found: dict[str, Function] = {}
    problems: list[Problem] = []
    for text in texts:
        with gathering(problems):
            name, function = _load(text, where)
            if name in found and found[name] is not function:
                raise bad(f"two measures are called {name!r}", where=where, allowed="a name of its own for each",
                          remedy="rename one of the functions")  # fmt: skip
            found[name] = function
    with gathering(problems):
        own_measures(found)
    if problems:
        raise BadInput(*problems)
    return found


def _load(text: str, where: str) -> tuple[str, Function]:
    """The name and function of one text."""
    place, colon, name = text.rpartition(":")
    if not colon or not place or not name:
        raise bad(f"measure {text!r}", where=where, allowed="FILE.py:FUNCTION or MODULE:FUNCTION",
                  remedy='write for instance "measures.py:worst_case"')  # fmt: skip
    module = _of_file(Path(place), where) if place.endswith(".py") else _of_module(place, where)
    names = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
    if not callable(function := getattr(module, name, None)):
        raise bad(f"{place} has no function {name!r}", where=where, allowed=", ".join(names) or "(it has none)",
                  remedy=closest(name, names))  # fmt: skip
    return name, function


def _of_file(path: Path, where: str) -> ModuleType:
    if not path.is_file():
        raise bad(f"no file {path}", where=where, allowed="a Python file", remedy="check the path")
    spec = importlib.util.spec_from_file_location(f"measures_of_{path.stem}", path)
    assert spec is not None and spec.loader is not None  # noqa: PT018  (its name ends in .py)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise bad(f"{path.name} cannot be imported: {reason(error, str(path))}", where=where,
                  allowed="a file that Python can import", remedy="correct it") from error  # fmt: skip
    return module


def _of_module(name: str, where: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise bad(f"{name} cannot be imported: {reason(error)}", where=where, allowed="a module that Python finds",
                  remedy="install it, or name a file that ends in .py") from error  # fmt: skip
