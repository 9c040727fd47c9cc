"""Back ends: places where jobs run, one file each, found by being there."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from cluster.backends.backend import BackEnd
from cluster.options import Fault, Refused, nearest, read_options

__all__ = ["BackEnd", "back_end", "back_ends", "forms"]


@cache
def back_ends() -> dict[str, type[BackEnd]]:
    """Every back end by its name; raises Refused for a file that cannot be imported, and a name that two have."""
    found = dict[str, type[BackEnd]]()
    for info in pkgutil.iter_modules(__path__):
        file = str(Path(__file__).with_name(f"{info.name}.py"))
        try:
            module = importlib.import_module(f"{__name__}.{info.name}")
        except (Exception, SystemExit) as error:
            what = f"this module cannot be imported: {type(error).__name__}: {error}"
            raise Refused(
                Fault(what, file, "a module that can be imported", "correct it or move it elsewhere")
            ) from error
        own = [item for item in vars(module).values() if getattr(item, "__module__", "") == module.__name__]
        for item in own:
            if isinstance(item, type) and issubclass(item, BackEnd) and item.name:
                if item.name in found:
                    raise Refused(Fault(f"two back ends are called {item.name!r}", file,
                                        "a name of its own for each", "rename one"))  # fmt: skip
                found[item.name] = item
    return found


def forms() -> tuple[str, ...]:
    """What may be said of a place, in words."""
    return tuple(sorted(kind.form for kind in back_ends().values()))


def back_end(where: str, options: Mapping[str, Any] | None = None, *, source: str = "--cluster") -> BackEnd:
    """The back end of "local", "tcp://HOST:PORT" and the like with its options; raises Refused with all faults.

    source: where the options were written, for messages.
    """
    name = where.partition("://")[0]
    kind = back_ends().get(name)
    if kind is None or ("://" in where) != ("://" in kind.form):
        raise Refused(Fault(f"cluster {where!r}", "--cluster", ", ".join(forms()),
                            nearest(name, tuple(back_ends()), "choose one of them")))  # fmt: skip
    given = dict(options or {})
    if "://" in kind.form:
        given["address"] = where
    return read_options(kind, given, source)
