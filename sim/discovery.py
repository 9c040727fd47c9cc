"""Finding designs and estimators by name: a module dropped into a package is found, with no list to edit."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache
from types import ModuleType
from typing import Any

from sim.errors import bad, closest, one_of


@cache
def discover(package: str, base: type) -> dict[str, type]:
    """Every concrete subclass of `base` with a `kind` that a module of `package` or below it defines, by kind."""
    root = importlib.import_module(package)
    found: dict[str, type] = {}
    for info in sorted(pkgutil.walk_packages(root.__path__, f"{package}."), key=lambda item: item.name):
        module = importlib.import_module(info.name)
        found.update({item.kind: item for item in _defined(module, base)})
    return found


def find(package: str, base: type, kind: str, where: str) -> type:
    """The class called `kind`, or the one that "module:Object" names; raises BadInput when there is none."""
    if ":" in kind:
        module_name, _, attribute = kind.partition(":")
        try:
            found = getattr(importlib.import_module(module_name), attribute)
        except (ImportError, AttributeError, ValueError, SyntaxError) as error:
            raise bad(f"cannot load {kind!r} ({error})", where=where, allowed='"module:Object" of an installed package',
                      remedy="install the package or correct the name") from error  # fmt: skip
        if not (isinstance(found, type) and issubclass(found, base)):
            raise bad(f"{kind!r} is not a {base.__name__}", where=where, allowed=f"a subclass of {base.__name__}",
                      remedy="name another object")  # fmt: skip
        return found
    kinds = discover(package, base)
    if kind not in kinds:
        raise bad(f"unknown kind {kind!r}", where=where, allowed=one_of(kinds), remedy=closest(kind, kinds))
    return kinds[kind]


def _defined(module: ModuleType, base: type) -> list[Any]:
    return [
        item
        for _, item in inspect.getmembers(module, inspect.isclass)
        if issubclass(item, base)
        and item.__module__ == module.__name__
        and not inspect.isabstract(item)
        and isinstance(getattr(item, "kind", None), str)
    ]
