"""The size of the house only falls: files, functions, classes and names that stand twice.

Where a figure falls, the number here falls with it; where one must rise, the reason stands in the change.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
ROOMS = ("sim", "estimators", "results", "cluster", "experiments")
PLUG_INS = (  # found by being there, or named by another program: they may be short
    "cluster/backends/", "experiments/checks/", "experiments/tables/", "experiments/twins/methods/",
    "sim/world/parts/", "results/store/engine.py", "experiments/__main__.py",
)  # fmt: skip
MOST = {"files": 278, "functions": 4621, "classes": 626, "class names twice": 0, "file names twice": 5}
SHORT = {"cluster/steady_tls.py"}  # it is loaded by name in schedulers and workers of Dask


def _files() -> Iterator[Path]:
    yield REPOSITORY / "panelproof.py"
    for room in ROOMS:
        yield from sorted((REPOSITORY / room).rglob("*.py"))


def _is(node: ast.AST, *kinds: type[ast.AST]) -> bool:
    return isinstance(node, kinds)


def test_the_house_does_not_grow() -> None:
    trees = {file: ast.parse(file.read_text(encoding="utf-8")) for file in _files()}
    nodes = [node for tree in trees.values() for node in ast.walk(tree)]
    public = Counter(node.name for tree in trees.values() for node in tree.body
                     if isinstance(node, ast.ClassDef) and not node.name.startswith("_"))  # fmt: skip
    stems = Counter(file.name for file in trees if file.name != "__init__.py")
    found = {
        "files": len(trees),
        "functions": sum(_is(node, ast.FunctionDef, ast.AsyncFunctionDef) for node in nodes),
        "classes": sum(_is(node, ast.ClassDef) for node in nodes),
        "class names twice": sum(count > 1 for count in public.values()),
        "file names twice": sum(count > 1 for count in stems.values()),
    }
    assert {name: count for name, count in found.items() if count > MOST[name]} == {}


def test_short_files_are_plug_ins() -> None:
    names = {file.relative_to(REPOSITORY).as_posix(): file for file in _files() if file.name != "__init__.py"}
    short = {name for name, file in names.items()
             if len(file.read_text(encoding="utf-8").splitlines()) < 60 and not name.startswith(PLUG_INS)}  # fmt: skip
    assert short - SHORT == set()
