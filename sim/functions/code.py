"""A digest of the code of functions that no module can be asked for again: written in a script, a cell or a call.

It covers the compiled code, so that comments and places do not count, and all that the code reaches by name: other
functions, constants, arrays, modules beside it. Installed packages are left out: their versions are compared elsewhere.
"""

from __future__ import annotations

import dis
import hashlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

DIGITS = 12
GLOBAL = {"LOAD_GLOBAL", "LOAD_NAME"}


def code_digest(*items: Any) -> str:
    """A digest of functions and values: equal for the same code and the same values it can reach."""
    sha = hashlib.sha256()
    seen: set[int] = set()
    for item in items:
        for text in _texts(item, seen):
            sha.update(text.encode() + b"\x1f")
    return sha.hexdigest()[:DIGITS]


def _texts(item: Any, seen: set[int]) -> Iterator[str]:
    """All that decides what a value does, as texts."""
    match item:
        case None | bool() | int() | float() | complex() | str() | bytes():
            yield f"{type(item).__name__} {item!r}"
        case np.ndarray():
            yield f"array {item.dtype} {item.shape} {hashlib.sha256(np.ascontiguousarray(item).tobytes()).hexdigest()}"
        case CodeType():
            yield from _of_code(item, seen)
        case _ if id(item) in seen:
            yield "again"
        case FunctionType():
            seen.add(id(item))
            yield from _of_function(item, seen)
        case ModuleType() | type():
            seen.add(id(item))
            yield from _of_module(item, seen)
        case tuple() | list():
            yield f"{type(item).__name__} {len(item)}"
            for part in item:
                yield from _texts(part, seen)
        case set() | frozenset():
            yield f"set {sorted(map(repr, item))}"
        case Mapping():
            yield f"mapping {len(item)}"
            for key, part in item.items():
                yield repr(key)
                yield from _texts(part, seen)
        case _:
            yield f"{type(item).__module__}.{type(item).__qualname__}"
            for name in [part.name for part in fields(item)] if is_dataclass(item) else ():
                yield from _texts(getattr(item, name), seen)


def _of_function(function: FunctionType, seen: set[int]) -> Iterator[str]:
    if _installed(function.__module__):
        yield f"installed {function.__module__}.{function.__qualname__}"
        return
    yield from _texts(function.__code__, seen)
    yield from _texts((function.__defaults__, function.__kwdefaults__), seen)
    for cell in function.__closure__ or ():
        yield from _texts(cell.cell_contents, seen)
    for name in sorted(_globals_of(function.__code__)):
        if name in function.__globals__:
            yield name
            yield from _texts(function.__globals__[name], seen)


def _of_code(code: CodeType, seen: set[int]) -> Iterator[str]:
    yield f"code {code.co_code.hex()} {code.co_names} {code.co_varnames} {code.co_freevars}"
    for constant in code.co_consts:
        yield from _texts(constant, seen)


def _of_module(item: ModuleType | type, seen: set[int]) -> Iterator[str]:
    """A module or class: its file where it has one of its own, else the functions of the class."""
    name = item.__name__ if isinstance(item, ModuleType) else item.__module__
    yield f"{name} {item.__name__}"
    if _installed(name):
        return
    file = getattr(sys.modules.get(name), "__file__", None)
    if name != "__main__" and file and Path(file).is_file():
        yield hashlib.sha256(Path(file).read_bytes().replace(b"\r\n", b"\n")).hexdigest()
    elif isinstance(item, type):
        for key, member in vars(item).items():
            inner = getattr(member, "__func__", getattr(member, "fget", member))
            if isinstance(inner, FunctionType):
                yield key
                yield from _texts(inner, seen)


def _globals_of(code: CodeType) -> set[str]:
    """Names that code looks up in its module, that of inner functions included."""
    own = {step.argval for step in dis.get_instructions(code) if step.opname in GLOBAL}
    return own.union(*(_globals_of(part) for part in code.co_consts if isinstance(part, CodeType)))


def _installed(module: str | None) -> bool:
    """Whether a module comes with Python, with an installed package or with this program."""
    top = (module or "").partition(".")[0]
    loaded = sys.modules.get(top)
    file = getattr(loaded, "__file__", None)
    if top == "__main__":
        return False
    if top in sys.stdlib_module_names or (loaded is not None and file is None and not hasattr(loaded, "__path__")):
        return True
    places = [file] if file else [*getattr(loaded, "__path__", ())]
    ours = Path(__file__).resolve().parents[2]
    rooms = {ours / room for room in ("sim", "estimators", "results", "cluster", "experiments")}
    resolved = [Path(place).resolve() for place in places]
    return any("site-packages" in path.parts or rooms & {*path.parents} or path == ours / "panelproof.py"
               for path in resolved)  # fmt: skip
