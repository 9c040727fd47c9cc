"""Finding designs and estimators by name: a module dropped into a package is found, with no list to edit.

A module that cannot be imported and a class that cannot be used are left out; `problems` says which, and why.
"""

from __future__ import annotations

import filecmp
import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Callable, Container, Mapping
from contextlib import AbstractContextManager, redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from sim.errors import BadInput, Problem, bad, one_of, reason, suggestion

INLINE = "inline:"  # how the kind of a class begins that was made in a script, and that no module can be asked for
INLINE_CLASSES: dict[str, type] = {}  # such classes of this process, by kind: "inline:NAME@DIGEST"
_folders: list[Path] = []  # of study files, the latest last; "module:Object" is also looked for there
_made: list[Discovery] = []  # in this process


@dataclass(frozen=True, slots=True)
class Discovery:
    """The classes of a package by kind, and what is wrong with those that are left out."""

    kinds: Mapping[str, type]
    problems: tuple[Problem, ...]
    refused: Mapping[str, Problem]  # kinds that two classes have


def lazy(package: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a package whose names are imported when they are first asked for.

    names: of each module, with spaces between them.
    """
    places = {name: module for module, held in names.items() for name in held.split()}

    def imported(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name, obj=sys.modules[package])
        return getattr(importlib.import_module(places[name]), name)

    return imported


def discover(package: str, base: type) -> dict[str, type]:
    """Every concrete subclass of `base` with a `kind` that a module of `package` or below it defines, by kind."""
    return dict(discovery(package, base).kinds)


@cache
def discovery(package: str, base: type) -> Discovery:
    """The same with the problems. A kind that two classes have is neither's: no choice is made between them."""
    modules, problems = _modules(package)
    by_kind: dict[str, list[type]] = {}
    for item in (item for module in modules for item in _defined(module, base)):
        if fault := _fault(item):
            problems = (*problems, fault)
        else:
            by_kind.setdefault(item.kind, []).append(item)
    refused = {}
    for kind, items in by_kind.items():
        if len(items) > 1:
            places = " and ".join(f"{_file(item.__module__)} (class {item.__name__})" for item in items)
            refused[kind] = Problem(f"kind {kind!r} is given to {len(items)} classes, so none of them can be used by "
                                    "that name", places, "one class for each kind",
                                    "give one of them another kind")  # fmt: skip
    kinds = {kind: items[0] for kind, items in by_kind.items() if len(items) == 1}
    found = Discovery(kinds, (*problems, *refused.values()), refused)
    _made.append(found)
    return found


def problems() -> tuple[Problem, ...]:
    """What was found wrong with the modules and classes of all packages that were searched so far, each once."""
    return tuple(dict.fromkeys(problem for found in _made for problem in found.problems))


def aside() -> AbstractContextManager[Any]:
    """Where code of others prints what it prints: it is no part of what a command prints."""
    return redirect_stdout(sys.stderr)


def forget() -> None:
    """Search packages anew when they are next asked for, as after a file was added or corrected."""
    discovery.cache_clear()
    _modules.cache_clear()
    _made.clear()


def find(package: str, base: type, kind: str, where: str) -> type:
    """The class called `kind`, or the one that "module:Object" names; raises BadInput when there is none."""
    if kind.startswith(INLINE):  # that a function of this script or session made
        made = INLINE_CLASSES.get(kind)
        if made is None or not issubclass(made, base):
            name = kind.removeprefix(INLINE).partition("@")[0]
            raise bad(f"the function {name!r} is not here, or its code is another one ({kind})", where=where,
                      allowed="a function of the script or session that runs",
                      remedy="do this from the script that made the study, or move the function to a module of its "
                             "own with @design or @estimator, which a study file names")  # fmt: skip
        return made
    if ":" in kind:
        return _named(kind, base, where)
    found = discovery(package, base)
    if kind in found.refused:
        raise BadInput(found.refused[kind])
    if kind not in found.kinds:
        classes = {known: cls.__name__ for known, cls in found.kinds.items()}
        unknown = Problem(f"unknown kind {kind!r}", where, one_of(classes, kind, "`panelproof kinds`"),
                          suggestion(kind, classes))  # fmt: skip
        raise BadInput(unknown, *found.problems)
    return found.kinds[kind]


def join_search(folder: Path) -> None:
    """Look for the module of "module:Object" in this folder too, after all other places.

    It comes last, so that a file there with the name of one of our packages or of a library takes nobody's place.
    """
    folder = folder.resolve()
    if folder in _folders:
        _folders.remove(folder)
    _folders.append(folder)
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _named(kind: str, base: type, where: str) -> type:
    """The object of a "module:Object"."""
    name, _, attribute = kind.partition(":")
    allowed = '"module:Object" of an installed package, or of a file beside the study file or in the current folder'
    try:
        with aside():
            module = importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise bad(f"cannot load {kind!r}: {reason(error)}", where=where, allowed=allowed,
                  remedy="correct the module or its name, or add its folder to PYTHONPATH") from error  # fmt: skip

    # another package, or a module of another text, may have the name of a file beside the study
    top = name.partition(".")[0]
    for beside in (_folders[-1] / f"{top}.py", _folders[-1] / top / "__init__.py") if _folders else ():
        loaded = Path(getattr(sys.modules[top], "__file__", None) or "a built-in module")
        same = loaded.resolve() == beside.resolve()
        if beside.stem == top and beside.is_file() and loaded.is_file():
            same = filecmp.cmp(loaded, beside, shallow=False)
        if beside.is_file() and not same:
            raise bad(f"{beside} has the name of another module ({loaded}), which Python finds first", where=where,
                      allowed="a name that no other module has", remedy=f"rename {beside.name}")  # fmt: skip

    found = getattr(module, attribute, None)
    if found is None:
        names = [item.__name__ for item in _defined(module, base)]
        raise bad(f"cannot load {kind!r}: {_file(module.__name__)} defines no {attribute!r}", where=where,
                  allowed=one_of(f"{name}:{item}" for item in names), remedy="correct the name")  # fmt: skip
    if not (isinstance(found, type) and issubclass(found, base)):
        plain = callable(found) and not isinstance(found, type)
        raise bad(f"{kind!r} is no class of {base.__name__}", where=where, allowed=f"a subclass of {base.__name__}",
                  remedy=f"make one of it: @panelproof.{base.__name__.lower()} above the function"
                  if plain and base.__name__ in ("Estimator", "Design") else "name another object")  # fmt: skip
    if fault := _fault(found):
        raise BadInput(fault)
    return found


def modules_in(package: str, leave_out: Container[str] = ()) -> tuple[ModuleType, ...]:
    """The modules of a package by their names, but for some; raises BadInput for one that cannot be imported."""
    found = []
    for info in pkgutil.iter_modules(importlib.import_module(package).__path__):
        if info.name in leave_out:
            continue
        try:
            with aside():
                found.append(importlib.import_module(f"{package}.{info.name}"))
        except (Exception, SystemExit) as error:
            file = str(Path(str(getattr(info.module_finder, "path", ""))) / f"{info.name}.py")
            raise bad(f"this module cannot be imported: {reason(error, file)}", where=file,
                      allowed="a module that can be imported",
                      remedy="correct it or move it elsewhere") from error  # fmt: skip
    return tuple(found)


@cache
def _modules(package: str) -> tuple[tuple[ModuleType, ...], tuple[Problem, ...]]:
    """The modules of a package and below it, and one problem for each that cannot be imported."""
    root = importlib.import_module(package)
    modules, broken = [], []
    if not hasattr(root, "__path__"):  # the module of a base class: its kinds stand there and beside it
        return _modules(package.rpartition(".")[0])
    walk = pkgutil.walk_packages(root.__path__, f"{package}.", onerror=lambda _: None)  # packages fail below, too
    for info in sorted(walk, key=lambda item: item.name):
        try:
            with aside():
                modules.append(importlib.import_module(info.name))
        except (Exception, SystemExit) as error:  # noqa: BLE001  (a draft may raise anything; the others go on)
            spec = info.module_finder.find_spec(info.name, None)
            file = str(spec.origin) if spec else info.name
            broken.append(Problem(f"this module is left out: {reason(error, file)}", file,
                                  "a module that can be imported", "correct it or move it elsewhere"))  # fmt: skip
    return tuple(modules), tuple(broken)


def _defined(module: ModuleType, base: type) -> list[Any]:
    """Public subclasses of `base` that a module itself defines, but for bases: abstract ones without an own kind."""
    return [
        item
        for name, item in inspect.getmembers(module, inspect.isclass)
        if issubclass(item, base)
        and item is not base
        and item.__module__ == module.__name__
        and not name.startswith("_")
        and not (inspect.isabstract(item) and "kind" not in vars(item))
    ]


def _fault(item: Any) -> Problem | None:
    """Why a class cannot be used, if so."""
    where, base = f"{_file(item.__module__)}, class {item.__name__}", "a frozen dataclass with a `kind`"
    if not isinstance(getattr(item, "kind", None), str):
        kind = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", item.__name__).lower()  # two-way-did
        return Problem("this class is left out: it has no `kind`", where, base, f'add kind: ClassVar[str] = "{kind}"')
    if lacking := sorted(getattr(item, "__abstractmethods__", ())):
        return Problem(f"this class is left out: it does not define {', '.join(lacking)}", where,
                       "a class that defines all of its protocol", "define what is missing")  # fmt: skip
    if not getattr(getattr(item, "__dataclass_params__", None), "frozen", False):
        return Problem("this class is left out: it is not a frozen dataclass", where, base,
                       "put @dataclass(frozen=True, slots=True) above it")  # fmt: skip
    return None


def _file(module: str) -> str:
    return str(getattr(sys.modules[module], "__file__", module))
