"""No module of the five rooms imports itself by way of others, imports in functions and for types alone included."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOMS = ("sim", "estimators", "results", "cluster", "experiments")
REPOSITORY = Path(__file__).resolve().parent.parent
EXPECTED: set[tuple[str, str]] = set()  # (module, imports module): edges that a cycle still needs


def modules(root: Path, rooms: tuple[str, ...]) -> dict[str, Path]:
    """Every module by its dotted name; a package is called as its folder."""
    found = {}
    for file in (file for room in rooms for file in sorted((root / room).rglob("*.py"))):
        parts = file.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imported(source: str, known: set[str]) -> set[str]:
    """The known modules that a source names in any import, wherever it stands."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {item.name for item in node.names} & known
        elif isinstance(node, ast.ImportFrom) and node.module:
            for item in node.names:
                deeper = f"{node.module}.{item.name}"
                found |= ({deeper} & known) or ({node.module} & known)
    return found


def graph(root: Path, rooms: tuple[str, ...]) -> dict[str, set[str]]:
    """What each module imports, without the edges that are expected."""
    files = modules(root, rooms)
    edges = {name: imported(file.read_text(encoding="utf-8"), set(files)) - {name} for name, file in files.items()}
    return {name: {other for other in others if (name, other) not in EXPECTED} for name, others in edges.items()}


def cycle(edges: dict[str, set[str]]) -> list[str]:
    """A cycle, as the modules along it, or nothing."""
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_module_imports_itself_by_way_of_others() -> None:
    edges = graph(REPOSITORY, ROOMS)
    assert len(edges) > 150
    assert cycle(edges) == []


@pytest.mark.parametrize(
    "late",
    [
        "from room.first import a",
        "def f():\n    from room.first import a",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import room.first",
        "from room import first",
    ],
)
def test_a_cycle_is_found_wherever_the_import_stands(tmp_path: Path, late: str) -> None:
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "__init__.py").write_text("")
    (tmp_path / "room" / "first.py").write_text("from room.second import b\n")
    (tmp_path / "room" / "second.py").write_text(f"{late}\n")
    assert set(cycle(graph(tmp_path, ("room",)))) == {"room.first", "room.second"}
