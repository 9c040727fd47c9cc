"""Discovery: whatever a draft in a package does, it is named in one line and everything else is found."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from refusals import refuses

import sim.world
from estimators.core.error_types import KINDS
from estimators.core.estimator import Estimator, estimators
from sim import BadInput, Design
from sim.design import designs, find_design
from sim.errors import ALIASES, Problem, naming
from sim.registry import find, forget, join_search, problems

SOUND = """
from dataclasses import dataclass
from typing import ClassVar
from sim.presets import BertrandDufloMullainathan

@dataclass(frozen=True, slots=True)
class Draft(BertrandDufloMullainathan):
    '''A draft.'''
    kind: ClassVar[str] = "draft"
"""
HEAD = "from dataclasses import dataclass\nfrom typing import ClassVar\nfrom sim import Design\n"
WRONG = {
    "a syntax error": ("def f(:\n", "SyntaxError"),
    "a failing import": ("import no_such_library\n", "No module named 'no_such_library' (draft.py, line 1)"),
    "an exception": ("x = 1\ny = x / 0\n", "ZeroDivisionError: division by zero (draft.py, line 2)"),
    "an exit": ("raise SystemExit(3)\n", "SystemExit: 3"),
    "no kind": (SOUND.replace('ClassVar[str] = "draft"', "ClassVar[int] = 3"), "has no `kind`"),
    "parts that lack": (HEAD + "@dataclass(frozen=True)\nclass D(Design):\n    kind: ClassVar = 'draft'\n", "settle"),
    "settings that change": (HEAD + "class D(Design):\n    kind = 'draft'\n    schema = None\n    settle = None\n",
                             "not a frozen dataclass"),
}  # fmt: skip


@contextmanager
def modules_as_they_are() -> Iterator[None]:
    """What is imported meanwhile is forgotten."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose files are modules of `sim.world` while the test lasts."""
    monkeypatch.setattr(sim.world, "__path__", [*sim.world.__path__, str(tmp_path)])
    forget()
    with modules_as_they_are():
        yield tmp_path
    forget()


def test_our_own_packages_leave_nothing_out_and_aliases_stand_for_estimators_or_error_types() -> None:
    assert {"paper", "bdm"} <= set(designs())
    assert {"did", "spatial"} <= set(estimators())
    assert problems() == ()
    assert set(ALIASES.values()) <= {*estimators(), *(kind.written for kind in KINDS.values())}
    assert not set(ALIASES) & set(estimators())


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_draft_is_named_in_one_line_and_the_rest_is_found(folder: Path, what: str) -> None:
    text, said = WRONG[what]
    (folder / "draft.py").write_text(text)
    (folder / "sound.py").write_text(SOUND.replace('"draft"', '"sound"'))
    assert {"paper", "bdm", "sound"} <= set(designs())
    (problem,) = problems()
    assert str(folder / "draft.py") in str(problem)
    assert said in str(problem)
    assert "\n" not in str(problem)


def test_an_unknown_kind_is_explained_by_the_drafts_that_are_left_out(folder: Path) -> None:
    (folder / "draft.py").write_text("import no_such_library\n")
    assert len(refuses("no_such_library", find_design, "draft").problems) == 2


def test_a_second_class_of_a_kind_is_refused_naming_both_files(folder: Path) -> None:
    (folder / "draft.py").write_text(SOUND.replace('"draft"', '"paper"'))
    assert "bdm" in designs()
    assert "paper" not in designs()
    line = str(refuses("'paper'", find_design, "paper"))
    for words in ("'paper'", str(folder / "draft.py"), str(Path("sim") / "presets.py")):
        assert words in line
    assert [str(problem) for problem in problems()] == [line]


def test_a_class_that_inherits_its_kind_is_a_second_one(folder: Path) -> None:
    (folder / "draft.py").write_text(SOUND.replace('    kind: ClassVar[str] = "draft"\n', ""))
    refuses(r"kind 'bdm' is given to 2 classes", lambda: find_design("bdm"))


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a study file, which joins the search."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    with modules_as_they_are():
        join_search(tmp_path)
        yield tmp_path


@pytest.mark.parametrize(("name", "text", "said"), [
    ("my_world_a:Gone", SOUND, "defines no 'Gone'.*my_world_a:Draft"),
    ("my_world_b:HEAD", "HEAD = 3\n", "is no class of Design.*name another object"),
    ("my_world_f:draw", "def draw(rng):\n    pass\n", "is no class of Design.*@panelproof.design above the function"),
    ("my_world_c:Draft", "import no_such_library\n", "no_such_library"),
    ("my_world_d:Draft", "def f(:\n", "SyntaxError"),
    ("my_world_nowhere:Draft", "", r"No module named 'my_world_nowhere'(?!.*, line ).*PYTHONPATH"),
    ("my_world_e:D", WRONG["parts that lack"][0], "does not define schema, settle"),
])  # fmt: skip
def test_a_wrong_module_beside_the_study_file_is_named_in_one_line(
    beside: Path, name: str, text: str, said: str
) -> None:
    if text:
        (beside / f"{name.partition(':')[0]}.py").write_text(text)
    assert len(refuses(said, find_design, name).problems) == 1


def test_a_module_has_a_name_of_its_own(beside: Path, tmp_path: Path) -> None:
    (beside / "sim.py").write_text(SOUND)
    refuses(r"sim\.py has the name of another module .* rename sim\.py", lambda: find_design("sim:Draft"))
    assert "bdm" in designs()
    (beside / "my_twice.py").write_text(SOUND)
    assert find_design("my_twice:Draft").kind == "draft"
    other = tmp_path / "other"
    other.mkdir()
    (other / "my_twice.py").write_text(SOUND.replace('"draft"', '"other"'))
    join_search(other)
    refuses(r"my_twice\.py has the name of another module", lambda: find_design("my_twice:Draft"))


def test_what_a_module_prints_is_no_part_of_an_answer(beside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (beside / "my_talker.py").write_text(f"{SOUND}\nprint('hello')\n")
    find_design("my_talker:Draft")
    assert capsys.readouterr() == ("", "hello\n")


SUGGESTED = {
    "did": "TwoWayDID reghdfe xtreg twfe", "spatial": "SpatialPanel xsmle splm", "imputation": "did_imputation",
    "callaway-santanna": "csdid callaway_santana", "two-stage": "did2s Two-Stage", "sun-abraham": "sunab",
    "synthetic-did": "sdid synthdid", "synthetic-control": "sc scpi", "demeaned-synthetic-control": "difp",
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, names in SUGGESTED.items() for name in names.split()]
)
def test_suggestions_know_classes_and_other_programs(kind: str, name: str) -> None:
    refuses(f"did you mean '{kind}'", lambda: find("estimators", Estimator, name, "here"))
    refuses(r"correct the name$", lambda: find("sim", Design, "zzzzzz", "here"))


def test_a_problem_without_a_place_is_in_that_of_who_asks() -> None:
    with pytest.raises(BadInput) as caught, naming("study.toml"):
        raise BadInput(Problem("no", "", "yes", "say yes"), Problem("no", "[grid]", "yes", "say yes"))
    assert [problem.where for problem in caught.value.problems] == ["study.toml", "study.toml, [grid]"]
