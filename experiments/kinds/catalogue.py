"""All that has a kind, in groups: designs, parts of designs, estimators, error types, schemes and measures."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from experiments.kinds.dials import Dial, dials_of, summary_of
from sim.errors import BadInput, bad, one_of, suggestion


@dataclass(frozen=True, slots=True)
class Entry:
    """One kind: what it is in one line, where its class is ("" where it has none), and its dials."""

    kind: str
    summary: str
    source: str = ""
    dials: tuple[Dial, ...] = ()


def catalogue() -> dict[str, tuple[Entry, ...]]:
    """Every group with its entries, sorted by kind where the group has no order of its own."""
    return {group: read() for group, read in GROUPS.items()}


def entries_called(name: str) -> dict[str, tuple[Entry, ...]]:
    """The entries of that name by group, or a plug-in "module:Object"; raises BadInput when there are none.

    "cluster" finds cluster:A too. A part is found by its slot, its kind or both: adoption, random, adoption.random.
    """
    whole = catalogue()
    called = {group: tuple(entry for entry in entries if name in _names(group, entry))
              for group, entries in whole.items()}  # fmt: skip
    found = {group: entries for group, entries in called.items() if entries}
    if not found and ":" in name:
        return _plug_in(name)
    if not found:
        classes = {known: entry.source.partition(":")[2] for group, entries in whole.items() for entry in entries
                   for known in ([entry.kind.replace(": ", ".")] if group == "parts" else [entry.kind])}  # fmt: skip
        raise bad(f"unknown kind {name!r}", where="KIND", allowed=one_of(classes), remedy=suggestion(name, classes))
    return found


def _plug_in(name: str) -> dict[str, tuple[Entry, ...]]:
    """The design or estimator that "module:Object" names, also of a module in the folder where the command runs."""
    from estimators.core.estimator import find_estimator
    from sim.design import find_design
    from sim.registry import join_search

    join_search(Path.cwd())
    try:
        return {"designs": _classes([(name, find_design(name, "KIND"))])}
    except BadInput:
        return {"estimators": _classes([(name, find_estimator(name, "KIND"))])}


def document(groups: dict[str, tuple[Entry, ...]]) -> dict[str, Any]:
    """The groups as plain data, with what discovery left out."""
    from sim.registry import problems

    entries = {group: [asdict(entry) for entry in found] for group, found in groups.items()}
    return entries | {"problems": [str(problem) for problem in problems()]}


def _names(group: str, entry: Entry) -> set[str]:
    """All by which an entry is found."""
    head, _, tail = entry.kind.partition(":")
    return {entry.kind, head} | ({tail.strip(), f"{head}.{tail.strip()}"} if group == "parts" else set())


def _designs() -> tuple[Entry, ...]:
    from sim.design import designs

    return _classes(sorted(designs().items()))


def _parts() -> tuple[Entry, ...]:
    """The parts of the `panel` design as "slot: kind", slot by slot; ranges of numbers count as allowed values."""
    from sim.world.context import slots_of
    from sim.world.panel_design import PanelDesign

    entries: list[Entry] = []
    seen = set[type]()
    for name, slot in slots_of(PanelDesign).items():
        if slot.base not in seen:  # other_weights takes the parts of weights
            seen.add(slot.base)
            kinds = sorted(slot.kinds.items())
            found = _classes((f"{name}: {kind}", cls) for kind, cls in kinds)
            entries += [_with_ranges(entry, cls) for entry, (_, cls) in zip(found, kinds, strict=True)]
    return tuple(entries)


def _with_ranges(entry: Entry, cls: Any) -> Entry:
    dials = (dial if dial.allowed or dial.name not in cls.ranges else replace(dial, allowed=(
        cls.ranges[dial.name].words,)) for dial in entry.dials)  # fmt: skip
    return replace(entry, dials=tuple(dials))


def _estimators() -> tuple[Entry, ...]:
    from estimators.core.estimator import estimators

    return _classes(sorted(estimators().items()))


def _schemes() -> tuple[Entry, ...]:
    from sim.schemes import SCHEMES

    return _classes((cls.kind, cls) for cls in SCHEMES)


def _error_types() -> tuple[Entry, ...]:
    """The registry: how each is written, what it means, who serves it, its factor in least squares."""
    from estimators.core.error_types import KINDS

    return tuple(
        Entry(
            item.written, item.meaning, f"served by: {', '.join(item.families) or 'estimators that simulate'}"
            + (f"; {item.factor.format(counted='k as cluster_k says')}" if item.factor else ""),
        )
        for item in KINDS.values()
    )  # fmt: skip


def _measures() -> tuple[Entry, ...]:
    from results.diagnosis.measures import MEANINGS

    return tuple(Entry(name, meaning) for name, meaning in MEANINGS.items())


def _classes(found: Iterable[tuple[str, type]]) -> tuple[Entry, ...]:
    return tuple(
        Entry(kind, summary_of(cls), f"{cls.__module__}:{cls.__qualname__}", dials_of(cls)) for kind, cls in found
    )


GROUPS: dict[str, Callable[[], tuple[Entry, ...]]] = {
    "designs": _designs,
    "parts": _parts,
    "estimators": _estimators,
    "error_types": _error_types,
    "schemes": _schemes,
    "measures": _measures,
}
