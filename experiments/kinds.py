"""The dials of a settings dataclass: type, default and allowed values from its fields, meanings from its docstring."""

from __future__ import annotations

import contextlib
import inspect
import re
import types
from collections.abc import Callable, Iterable
from dataclasses import MISSING, asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAliasType, Union, get_args, get_origin, get_type_hints

from experiments.listing import first_sentence, in_full, offered, offered_rows, paragraphs
from sim.errors import ALIASES, BadInput, bad, one_of, suggestion
from sim.world.context import Part, Slot

REQUIRED = "(required)"
PLAIN = {int: "whole number", float: "number", str: "text", bool: "true or false", type(None): "none"}


@dataclass(frozen=True, slots=True)
class DialEntry:
    """A setting in words; `allowed` is empty where the type says all, `meaning` where the docstring says nothing."""

    name: str
    type: str
    default: str
    allowed: tuple[str, ...]
    meaning: str


def dials_of(cls: type) -> tuple[DialEntry, ...]:
    """Every setting that a user can give, in order."""
    hints = get_type_hints(cls)
    settings = [item for item in fields(cls) if item.init]
    meanings = meanings_of(cls, [item.name for item in settings])
    return tuple(
        DialEntry(
            item.name, type_text(hints[item.name]), _default(item), allowed(hints[item.name]), meanings[item.name]
        )
        for item in settings
    )


def meanings_of(cls: type, names: list[str]) -> dict[str, str]:
    """What the docstrings of a class and its bases say of each setting: all that follows "name:", or "a, b:".

    A meaning ends where that of another setting, or another paragraph, begins.
    """
    found: dict[str, str] = dict.fromkeys(names, "")
    name = "|".join(sorted(map(re.escape, names), key=len, reverse=True)) or "(?!)"
    head = re.compile(rf"(?:^|(?<=[.;)] ))((?:{name})(?:, (?:{name}))*): ")
    for base in cls.__mro__:
        for paragraph in paragraphs(vars(base).get("__doc__") or ""):
            heads = list(head.finditer(paragraph))
            ends = [*(one.start() for one in heads[1:]), len(paragraph)]
            for one, end in zip(heads, ends, strict=False):
                for each in one[1].split(", "):
                    found[each] = found[each] or paragraph[one.end() : end].strip()
    return found


def summary_of(item: object) -> str:
    """The first sentence of a docstring, on one line."""
    return first_sentence(inspect.getdoc(item) or "")


def type_text(hint: Any) -> str:
    """A type in words."""
    if isinstance(hint, TypeAliasType):
        return type_text(hint.__value__)
    origin, arguments = get_origin(hint), get_args(hint)
    if isinstance(hint, type) and issubclass(hint, Part):
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
    if isinstance(hint, type) and issubclass(hint, Part):
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


# All that has a kind, in groups: designs, parts of designs, estimators, error types, schemes and measures.


@dataclass(frozen=True, slots=True)
class Entry:
    """One kind: what it is in one line, where its class is ("" where it has none), and its dials."""

    kind: str
    summary: str
    source: str = ""
    dials: tuple[DialEntry, ...] = ()


def catalogue() -> dict[str, tuple[Entry, ...]]:
    """Every group with its entries, sorted by kind where the group has no order of its own.

    Parts of the `panel` design are "slot: kind", slot by slot; ranges of numbers count as allowed values. Of an error
    type: how it is written, what it means, who serves it, its factor in least squares.
    """
    from estimators.core.error_types import KINDS
    from estimators.core.estimator import estimators
    from results.diagnosis.measures import MEANINGS
    from sim.design import designs
    from sim.schemes import SCHEMES
    from sim.world.context import slots_of
    from sim.world.panel_design import PanelDesign

    parts, seen = list[Entry](), set[type]()
    for name, slot in slots_of(PanelDesign).items():
        if slot.base in seen:  # other_weights takes the parts of weights
            continue
        seen.add(slot.base)
        kinds = sorted(slot.kinds.items())
        found = _classes((f"{name}: {kind}", cls) for kind, cls in kinds)
        for entry, (_, cls) in zip(found, kinds, strict=True):
            dials = (dial if dial.allowed or dial.name not in cls.ranges
                     else replace(dial, allowed=(cls.ranges[dial.name].words,)) for dial in entry.dials)  # fmt: skip
            parts.append(replace(entry, dials=tuple(dials)))
    error_types = []
    for item in KINDS.values():
        factor = f"; {item.factor.format(counted='k as cluster_k says')}" if item.factor else ""
        served = f"served by: {', '.join(item.families) or 'estimators that simulate'}"
        error_types.append(Entry(item.written, item.meaning, f"{served}{factor}"))
    return {
        "designs": _classes(sorted(designs().items())),
        "parts": tuple(parts),
        "estimators": _classes(sorted(estimators().items())),
        "error_types": tuple(error_types),
        "schemes": _classes((cls.kind, cls) for cls in SCHEMES),
        "measures": tuple(Entry(name, meaning) for name, meaning in MEANINGS.items()),
    }


WRITTEN = ("error_types", "schemes")  # what has more behind a colon: cluster:unit, strata:region


def entries_called(name: str) -> dict[str, tuple[Entry, ...]]:
    """The entries of that name by group, or a plug-in, by the name under which its package offers it or as
    "module:Object"; raises BadInput when there are none.

    "cluster" finds cluster:A too, and so does cluster:unit. A part is found by its slot, its kind or both: adoption,
    random, adoption.random. A value that a dial lists, such as sdm, finds those that have the dial.
    """
    whole = catalogue()
    called = {group: tuple(entry for entry in entries if name in _names(group, entry))
              for group, entries in whole.items()}  # fmt: skip
    found = {group: entries for group, entries in called.items() if entries}
    if not found and ":" in (full := in_full(name, "KIND")):
        head = name.partition(":")[0]
        written = {group: tuple(entry for entry in whole[group] if head in _names(group, entry)) for group in WRITTEN}
        try:
            return _plug_in(full)
        except BadInput:
            found = {group: entries for group, entries in written.items() if entries}
            if not found:
                raise
    if not found:
        found = {group: tuple(replace(entry, summary=f'{name} is {dial.name} = "{name}" of it. {entry.summary}')
                              for entry in sorted(entries, key=lambda entry: entry.kind != ALIASES.get(name))
                              for dial in entry.dials if name in dial.allowed)
                 for group, entries in whole.items()}  # fmt: skip
        found = {group: entries for group, entries in found.items() if entries}
    if not found:
        known = {name: name for name in offered()}
        known |= {name: entry.source.partition(":")[2] for group, entries in whole.items() for entry in entries
                  for name in ([entry.kind.replace(": ", ".")] if group == "parts" else [entry.kind])}  # fmt: skip
        raise bad(
            f"unknown kind {name!r}",
            where="KIND",
            allowed=one_of(known, name, "`panelproof kinds`"),
            remedy=suggestion(name, known),
        )
    return found


def _plug_in(name: str) -> dict[str, tuple[Entry, ...]]:
    """The design, part or estimator of a "module:Object", also of a module in the folder where the command runs."""
    from estimators.core.estimator import find_estimator
    from sim.design import find_design
    from sim.registry import find, join_search

    join_search(Path.cwd())
    finders: dict[str, Callable[[str, str], type]] = {"designs": find_design, "parts": partial(find, "sim", Part),
                                                      "estimators": find_estimator}  # fmt: skip
    for group, found in finders.items():
        with contextlib.suppress(BadInput):
            return {group: _classes([(name, found(name, "KIND"))])}
    return {"estimators": _classes([(name, find_estimator(name, "KIND"))])}  # which says what is wrong


def document(groups: dict[str, tuple[Entry, ...]]) -> dict[str, Any]:
    """The groups as plain data, with what other packages offer and what discovery left out."""
    from sim.registry import problems

    entries = {group: [asdict(entry) for entry in found] for group, found in groups.items()}
    others = {"offered": [{"kind": kind, "place": place} for kind, place in rows]} if (rows := offered_rows()) else {}
    return entries | others | {"problems": [str(problem) for problem in problems()]}


def _names(group: str, entry: Entry) -> set[str]:
    """All by which an entry is found."""
    head, _, tail = entry.kind.partition(":")
    tail = tail.strip()
    return {entry.kind, head} | ({tail, f"{head}.{tail}", f"{head}:{tail}"} if group == "parts" else set())


def _classes(found: Iterable[tuple[str, type]]) -> tuple[Entry, ...]:
    return tuple(
        Entry(kind, summary_of(cls), f"{cls.__module__}:{cls.__qualname__}", dials_of(cls)) for kind, cls in found
    )
