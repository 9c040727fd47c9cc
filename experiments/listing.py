"""What there is, read from sources that are not run: the built-in studies, all that has a kind, and what others offer.

`panelproof studies` and `panelproof kinds` print these lists. To import every class for them takes seconds; to read the
files takes none. What `panelproof kinds KIND` and a run say of a class comes from the class itself.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sim.errors import bad

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
            if not ("ClassVar" in (text := file.read_text(encoding="utf-8")) or "Estimator):" in text):
                continue
            for node in (node for node in ast.parse(text, str(file)).body if isinstance(node, ast.ClassDef)):
                annotated = [item for item in node.body
                             if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)]  # fmt: skip
                fields = {ast.unparse(item.target): ast.unparse(item.annotation) for item in annotated}
                kind = next((item.value.value for item in annotated if ast.unparse(item.target) == "kind"
                             and isinstance(item.value, ast.Constant)), "")  # fmt: skip
                self[node.name] = ClassSource(
                    tuple(map(ast.unparse, node.bases)), str(kind), ast.get_docstring(node) or "",
                    {name: text for name, text in fields.items() if not text.startswith("ClassVar")},
                    any("frozen=True" in ast.unparse(item) for item in node.decorator_list),
                )  # fmt: skip

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


# `panelproof kinds`.


def kind_rows() -> KindRows:
    """Kind and summary of everything, in the groups and the order of `experiments.kinds.catalogue`.

    Raises SyntaxError and LookupError where sources do not say it all, as while an estimator is being written.
    """
    from estimators.core.error_types import KINDS

    tree = ast.parse(MEASURES.read_text(encoding="utf-8"))
    written = [node.value for node in tree.body
               if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "MEANINGS"]  # fmt: skip
    if not written:
        raise LookupError("MEANINGS")
    meanings: dict[str, str] = ast.literal_eval(written[0])
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
        "measures": [*meanings.items()],
    }


def _rows(found: list[ClassSource]) -> list[tuple[str, str]]:
    return [(item.kind, first_sentence(item.text)) for item in found]


# Kinds that other installed packages offer, by names that commands and study files take; stores keep "module:Object".


OFFERED = "panelproof.kinds"  # the group of entry points, NAME = "module:Object"


@cache
def offered() -> Mapping[str, Mapping[str, str]]:
    """What is offered, by name: each "module:Object" with its package and version. Nothing of theirs is imported."""
    from importlib.metadata import entry_points  # slow to load

    found: dict[str, dict[str, str]] = {}
    for point in entry_points(group=OFFERED):
        owner = "" if point.dist is None else f"{point.dist.name} {point.dist.version}"
        place = point.value.partition("[")[0].replace(" ", "")  # without extras
        if ":" in place and ":" not in point.name:
            found.setdefault(point.name, {})[place] = owner
    return found


def offered_rows() -> list[tuple[str, str]]:
    """Names that are offered, and where the objects stand; where we have a kind of that name, that ours is meant."""
    ours = _own_kinds() if offered() else frozenset()
    return [(name, " and ".join(f"{place}, of {owner}" for place, owner in places.items())
             + (f"; {name} itself is panelproof's own" if name in ours else ""))
            for name, places in sorted(offered().items())]  # fmt: skip


def in_full(kind: str, where: str) -> str:
    """The "module:Object" of a kind that only installed packages have, any other kind as it is; raises BadInput where
    several offer it."""
    places = offered().get(kind)
    if not places or kind in _own_kinds():
        return kind
    if len(places) > 1:
        said = " and ".join(f"{place} ({owner})" for place, owner in places.items())
        raise bad(f"kind {kind!r} is offered by {len(places)} packages: {said}", where=where,
                  allowed="a name that one package offers",
                  remedy=f"write {next(iter(places))!r}, or the other one")  # fmt: skip
    return next(iter(places))


def _own_kinds() -> frozenset[str]:
    """The kinds of designs, parts and estimators that panelproof has, drafts among them."""
    sources = (
        file.read_text(encoding="utf-8") for room in ("sim", "estimators") for file in (ROOT / room).rglob("*.py")
    )
    return frozenset(kind for text in sources for kind in re.findall(r'\n    kind: ClassVar\[str\] = "(.+?)"', text))


def with_kinds(settings: Any, change: Callable[[str], str]) -> Any:
    """Settings of a study, as its file or its store has them, with every kind that they name changed.

    Those are the kinds of designs, parts and estimators, what a permutation test tests, and kinds in a grid.
    """
    if isinstance(settings, list | tuple):
        return [with_kinds(item, change) for item in settings]
    if not isinstance(settings, Mapping):
        return settings
    changed = {key: with_kinds(value, change) for key, value in settings.items()}
    for key, value in changed.items():
        if key == "kind" or str(key).endswith(".kind") or (key == "estimator" and "kind" in settings):
            if isinstance(value, str):
                changed[key] = change(value)
            elif isinstance(value, list):
                changed[key] = [change(item) if isinstance(item, str) else item for item in value]
    return changed


def kinds_in(settings: Any) -> list[str]:
    """Every kind that settings of a study name, each once."""
    found: dict[str, None] = {}
    with_kinds(settings, lambda kind: str(found.setdefault(kind)) and kind)
    return list(found)


# `panelproof studies`.


def builtin_names() -> list[str]:
    """Names of the built-in studies."""
    return sorted(file.stem for file in STUDIES.glob("*.toml"))


def study_rows() -> list[tuple[str, str, int, int, str]]:
    """Name, question, cells, panels and cost of each built-in study."""
    rows = []
    for name in builtin_names():
        table = tomllib.loads((STUDIES / f"{name}.toml").read_text(encoding="utf-8"))
        grid: dict[str, list[Any]] = table.get("grid", {})
        points = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
        if any(dial.endswith(".kind") for dial in grid):  # a dial that the kind of a part lacks makes no cell
            worlds = ClassSources(ROOT / "sim")
            points = [{dial: value for dial, value in point.items() if _has(worlds, point, dial)} for point in points]
        cells = len(set(map(repr, points)))
        rows.append((name, table["question"], cells, cells * table["replications"], table["cost"]))
    return rows


def _has(worlds: ClassSources, point: Mapping[str, Any], dial: str) -> bool:
    """Whether the kind that a point of a grid names has a dial."""
    slot, _, last = dial.rpartition(".")
    kind = point.get(f"{slot}.kind")
    if kind is None or last == "kind":
        return True
    base = dict(worlds.slots())[slot]
    (name,) = [name for name, item in worlds.items() if item.kind == kind and worlds.is_a(name, base)]
    return last in worlds.fields_of(name)
