"""The documents: what they name exists, and they name all that has a kind."""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import grammar
import pytest
import zarr

from estimators import Layout
from experiments.kinds import catalogue
from experiments.run.runner import run
from experiments.study import Study
from results.store import StoreSchema, ZarrStore

REPOSITORY = Path(__file__).resolve().parent.parent
ROOMS = "sim|estimators|results|cluster|experiments|tests"
DOCUMENT = re.compile(r"(?<![\w/])docs/[\w./-]*\w")
PYTHON = re.compile(rf"\b(?:{ROOMS})/(?!(?:\w+/)*NAME\.py)[\w/]+\.py\b")  # recipes write NAME for a module to come
LINK = re.compile(r"\]\(([^)#]+)\)")
FOLDER = re.compile(rf"`((?:{ROOMS}|docs)(?:/\w+)+)/?`")
CODE = re.compile(r"`([^`\n]+)`")
REGISTRIES = {  # group of the catalogue: the page and the heading whose table has a row for each of its kinds
    "estimators": ("docs/formulas/README.md", "## Estimators"),
    "error_types": ("docs/formulas/README.md", "## Error types"),
    "schemes": ("docs/formulas/placebo.md", "## Schemes"),
    "measures": ("docs/measures.md", "## Measures"),
}


def documents() -> list[Path]:
    """Every page of docs/ and of the top folder."""
    return [*REPOSITORY.glob("*.md"), *sorted((REPOSITORY / "docs").rglob("*.md"))]


def modules() -> list[Path]:
    return [
        *REPOSITORY.glob("*.py"),
        *(path for room in ROOMS.split("|") for path in (REPOSITORY / room).rglob("*.py")),
    ]


def named(pattern: re.Pattern[str], files: list[Path]) -> Iterator[tuple[str, str]]:
    """Every (file, match) of a pattern."""
    for path in files:
        for match in pattern.findall(path.read_text(encoding="utf-8")):
            yield str(path.relative_to(REPOSITORY)), match


def rows_of(page: str, heading: str) -> list[list[str]]:
    """The cells of all table rows under a heading, without heads and rules."""
    section = (REPOSITORY / page).read_text(encoding="utf-8").split(f"\n{heading}\n")[1].split("\n## ")[0]
    lines = section.splitlines()
    tables = [line for line in lines if line.startswith("|")]
    heads = {line for line, below in itertools.pairwise(lines) if below.startswith("|---")}
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in tables
            if line not in heads and not line.startswith("|---")]  # fmt: skip


def first_column(page: str, heading: str) -> list[str]:
    """The code in the first cells of the table under a heading, one a row."""
    return [code for row in rows_of(page, heading) for code in CODE.findall(row[0])]


def word(written: str) -> str:
    """The kind alone: "cluster:A or cluster:A+B" and "strata:ATTRIBUTE" have what follows the kind too."""
    return re.split(r"[:\[]", written)[0]


NAMED: dict[str, tuple[re.Pattern[str], bool, tuple[str, str]]] = {  # what is named, in the code too, and one of them
    "documents": (DOCUMENT, True, ("results/diagnosis/diagnose.py", "docs/measures.md")),
    "modules and tests": (PYTHON, False, ("docs/formulas/linear.md", "estimators/core/tile.py")),
    "folders": (FOLDER, False, ("docs/architecture.md", "results/store")),
}


@pytest.mark.parametrize("what", NAMED)
def test_what_documents_name_exists(what: str) -> None:
    pattern, in_code, example = NAMED[what]
    found = list(named(pattern, documents() + (modules() if in_code else [])))
    assert example in found
    assert [pair for pair in found if not (REPOSITORY / pair[1]).exists()] == []
    assert what != "folders" or all((REPOSITORY / name).is_dir() for _, name in found)


def test_links_between_documents_lead_somewhere_and_indices_have_every_page() -> None:
    found = [pair for pair in named(LINK, documents()) if "://" not in pair[1]]
    assert [(page, link) for page, link in found if not (REPOSITORY / page).parent.joinpath(link).exists()] == []
    for folder, pattern, beside in (("formulas", "*.md", "../measures.md"), ("recipes", "*.*", "../architecture.md")):
        pages = {path.name for path in (REPOSITORY / "docs" / folder).glob(pattern) if path.is_file()} - {"README.md"}
        index = (REPOSITORY / "docs" / folder / "README.md").read_text(encoding="utf-8").split("## Notation")[0]
        assert set(LINK.findall(index)) - {beside} == pages


@pytest.mark.parametrize("group", REGISTRIES)
def test_tables_hold_kinds_that_there_are(group: str) -> None:
    written = [word(name) for name in first_column(*REGISTRIES[group])]
    found = {word(entry.kind) for entry in catalogue()[group]}
    assert set(written) == found


@pytest.mark.parametrize("group", ["estimators", "error_types"])
def test_the_page_beside_a_kind_names_it(group: str) -> None:
    index = REPOSITORY / "docs" / "formulas" / "README.md"
    rows = [line for line in index.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    pages = {CODE.findall(row)[0]: LINK.findall(row) for row in rows}
    for entry in catalogue()[group]:
        kind = word(entry.kind)
        for page in pages.get(kind, ()):  # that all error types have one is tested above
            text = (index.parent / page).read_text(encoding="utf-8")
            assert kind in {word(code) for code in CODE.findall(text)}, (kind, page)


def test_the_page_of_worlds_has_every_part_with_every_dial() -> None:
    """Written anew by `python tests/support/grammar.py`."""
    _, mark, rest = grammar.PAGE.read_text(encoding="utf-8").partition(grammar.MARK)
    assert mark + rest == grammar.grammar()


def test_the_study_on_the_page_of_worlds_runs(tmp_path: Path) -> None:
    text = grammar.PAGE.read_text(encoding="utf-8").split("```toml\n")[1].split("```")[0]
    (tmp_path / "study.toml").write_text(text.replace("replications = 2000", "replications = 64"), encoding="utf-8")
    study = Study.from_toml(tmp_path / "study.toml")
    assert len(study.cells) == 4
    for block in run(study).blocks(0):
        assert set(block.estimates) == {"did", "callaway-santanna"}
        assert all((found.status == 1).all() for found in block.estimates.values())


def test_the_architecture_has_every_package() -> None:
    rooms = [row for row in rows_of("docs/architecture.md", "## Rooms") if len(row) == 3]
    written = {code for row in rooms for code in (*CODE.findall(row[0]), *CODE.findall(row[2]))}
    found = {
        path.parent.relative_to(REPOSITORY).as_posix()
        for room in ROOMS.split("|")
        for path in (REPOSITORY / room).rglob("__init__.py")
        if room != "tests"
    }
    assert written == found


def test_the_core_records_of_the_architecture_stand_in_their_modules() -> None:
    rows = rows_of("docs/architecture.md", "## Core records")
    texts = {name: (REPOSITORY / name).read_text(encoding="utf-8") for row in rows for name in CODE.findall(row[1])}
    pairs = [(record, CODE.findall(row[1])) for row in rows for record in CODE.findall(row[0])]
    assert len(pairs) > 20
    for record, files in pairs:
        assert any(re.search(rf"^class {record}\b", texts[name], re.MULTILINE) for name in files), record


def test_the_architecture_has_the_contracts_of_import_linter() -> None:
    rows = {row[0]: row[1] for row in rows_of("docs/architecture.md", "## Rooms") if len(row) == 2}
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    contracts = {contract["name"]: contract for contract in settings["contracts"]}
    assert set(rows) == set(contracts)
    for name, contract in contracts.items():
        layers = [set(layer.split(" | ")) for layer in reversed(contract.get("layers", ()))]
        places = [[rows[name].index(part) for part in layer] for layer in layers]
        assert all(max(low) < min(high) for low, high in itertools.pairwise(places)), name


def test_the_architecture_has_every_array_of_a_store(tmp_path: Path) -> None:
    layout = Layout(("did",), ("iid",), ("STATISTIC",), {"did": "att"}, ("pvalue", "lower", "upper"))
    schema = StoreSchema({}, {}, "", ({"effect": 1.0},), {"NAME": layout}, ("att",), 64, 64)
    ZarrStore.create(tmp_path / "x.zarr", schema)
    root = zarr.open_group(str(tmp_path / "x.zarr"), mode="r")
    arrays = {name: item.metadata.dimension_names for name, item in root.members(max_depth=None)
              if isinstance(item, zarr.Array)}  # fmt: skip
    rows = [row for row in rows_of("docs/architecture.md", "## Store") if len(row) == 3]
    written = {code: tuple(row[1].split(", ")) for row in rows for code in CODE.findall(row[0])}
    assert written == {name: axes for name, axes in arrays.items() if len(axes) > 1}
