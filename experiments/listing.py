"""What there is, read from sources that are not run: the built-in studies, and all that has a kind.

`panelproof studies` and `panelproof kinds` print these lists. To import every class for them takes seconds; to read the
files takes none. What `panelproof kinds KIND` and a run say of a class comes from the class itself.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sim.registry import offered

ROOT = Path(__file__).resolve().parent.parent
STUDIES = ROOT / "experiments" / "studies"
MEASURES = ROOT / "results" / "diagnosis" / "measures.py"
KindRows = dict[str, list[tuple[str, str]]]  # of each group: kind and summary


def paragraphs(text: str) -> list[str]:
    """Paragraphs of a docstring, each on one line; a list belongs to the paragraph before it."""
    parts = re.split(r"\n\s*\n(?!\s*- )", inspect.cleandoc(text))
    return [" ".join(part.split()) for part in parts]


def first_sentence(text: str) -> str:
    """The first sentence of a docstring, on one line."""
    return re.split(r"(?<=[.]) (?=[A-Z])", paragraphs(text)[0], maxsplit=1)[0]


# Classes as their sources say them.


@dataclass(frozen=True, slots=True)
class ClassSource:
    """A class: its bases by name, the kind that it sets ("" for none), and its annotations by field."""

    bases: tuple[str, ...]
    kind: str
    text: str
    fields: Mapping[str, str]
    frozen: bool


class ClassSources(dict[str, ClassSource]):
    """The classes of a folder and below it by name; raises SyntaxError for a file that is not Python.

    Only files that say ClassVar, or begin a class of an estimator, are read: where none does, no class has a kind.
    """

    def __init__(self, folder: Path) -> None:
        for file in sorted(folder.rglob("*.py")):
            if "ClassVar" in (text := file.read_text(encoding="utf-8")) or "Estimator):" in text:
                self.update((node.name, _class_source(node)) for node in ast.parse(text, str(file)).body
                            if isinstance(node, ast.ClassDef))  # fmt: skip

    def is_a(self, name: str, base: str) -> bool:
        """Whether a class is below a base."""
        return name in self and any(other == base or self.is_a(other, base) for other in self[name].bases)

    def fields_of(self, name: str) -> dict[str, str]:
        """The annotations of a class by field, those of its bases first."""
        if name not in self:
            return {}
        inherited = [item for base in self[name].bases for item in self.fields_of(base).items()]
        return dict(inherited) | dict(self[name].fields)

    def kinds(self, base: str) -> list[ClassSource]:
        """The public classes below a base that set a kind; raises LookupError where only an import can judge them."""
        found = [item for name, item in self.items()
                 if item.kind and not name.startswith("_") and self.is_a(name, base)]  # fmt: skip
        if not all(item.frozen for item in found) or len({item.kind for item in found}) < len(found):
            raise LookupError(base)
        return found

    def slots(self) -> Iterator[tuple[str, str]]:
        """The slots of the `panel` design, and the base class of their parts."""
        for slot, annotation in self.fields_of("PanelDesign").items():
            yield from ((slot, word) for word in re.findall(r"\w+", annotation) if self.is_a(word, "Part"))


def _class_source(node: ast.ClassDef) -> ClassSource:
    annotated = [item for item in node.body if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)]
    fields = {ast.unparse(item.target): ast.unparse(item.annotation) for item in annotated}
    kind = next((item.value.value for item in annotated if ast.unparse(item.target) == "kind"
                 and isinstance(item.value, ast.Constant)), "")  # fmt: skip
    return ClassSource(
        tuple(map(ast.unparse, node.bases)), str(kind), ast.get_docstring(node) or "",
        {name: text for name, text in fields.items() if not text.startswith("ClassVar")},
        any("frozen=True" in ast.unparse(item) for item in node.decorator_list),
    )  # fmt: skip


# `panelproof kinds`.


def kind_rows() -> KindRows:
    """Kind and summary of everything, in the groups and the order of `experiments.kinds.catalogue`.

    Raises SyntaxError and LookupError where sources do not say it all, as while an estimator is being written.
    """
    from estimators.core.error_types import KINDS

    worlds, answers = ClassSources(ROOT / "sim"), ClassSources(ROOT / "estimators")
    slots: dict[str, str] = {}
    for slot, base in worlds.slots():
        slots.setdefault(base, slot)  # other_weights takes the parts of weights
    parts = [(f"{slot}: {kind}", text) for base, slot in slots.items()
             for kind, text in sorted(_rows(worlds.kinds(base)))]  # fmt: skip
    return {
        "designs": sorted(_rows(worlds.kinds("Design"))),
        "parts": parts,
        "estimators": sorted(_rows(answers.kinds("Estimator"))),
        "error_types": [(item.written, item.meaning) for item in KINDS.values()],
        "schemes": _rows(worlds.kinds("Scheme")),
        "measures": [*_literal(MEASURES, "MEANINGS").items()],
    }


def offered_rows() -> list[tuple[str, str]]:
    """Names that other installed packages offer, and where the object stands; nothing of theirs is imported."""
    return [(name, " and ".join(f"{place}, of {owner}" for place, owner in places.items()))
            for name, places in sorted(offered().items())]  # fmt: skip


@cache
def own_kinds() -> frozenset[str]:
    """The kinds of designs, parts and estimators that panelproof has; none where a draft spoils their sources."""
    try:
        rows = kind_rows()
    except (SyntaxError, LookupError):
        return frozenset()
    return frozenset(
        kind.rpartition(": ")[2] for group in ("designs", "parts", "estimators") for kind, _ in rows[group]
    )


def place_of(kind: str) -> str:
    """The "module:Object" of a kind that only an installed package has; any other kind as it is."""
    places = offered().get(kind)
    return next(iter(places)) if places and kind not in own_kinds() else kind


def _rows(found: list[ClassSource]) -> list[tuple[str, str]]:
    return [(item.kind, first_sentence(item.text)) for item in found]


def _literal(file: Path, name: str) -> Any:
    """What a module sets a name to; it must be written out."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.literal_eval(node.value)
    raise LookupError(name)


# `panelproof studies`.


def builtin_names() -> list[str]:
    """Names of the built-in studies."""
    return sorted(file.stem for file in STUDIES.glob("*.toml"))


def study_rows() -> list[tuple[str, str, int, int, str]]:
    """Name, question, cells, panels and cost of each built-in study."""
    rows = []
    for name in builtin_names():
        table = tomllib.loads((STUDIES / f"{name}.toml").read_text(encoding="utf-8"))
        cells = cell_count(table.get("grid", {}))
        rows.append((name, table["question"], cells, cells * table["replications"], table["cost"]))
    return rows


def cell_count(grid: Mapping[str, list[Any]]) -> int:
    """The number of cells of a grid; points that differ only in a dial that the kind of their part lacks are one."""
    points = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    if any(dial.endswith(".kind") for dial in grid):
        worlds = ClassSources(ROOT / "sim")
        points = [{dial: value for dial, value in point.items() if _has(worlds, point, dial)} for point in points]
    return len(Counter(map(repr, points)))


def _has(worlds: ClassSources, point: Mapping[str, Any], dial: str) -> bool:
    """Whether the kind that a point of a grid names has a dial."""
    slot, _, last = dial.rpartition(".")
    kind = point.get(f"{slot}.kind")
    if kind is None or last == "kind":
        return True
    base = dict(worlds.slots())[slot]
    (name,) = [name for name, item in worlds.items() if item.kind == kind and worlds.is_a(name, base)]
    return last in worlds.fields_of(name)
