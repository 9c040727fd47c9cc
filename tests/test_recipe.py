"""The recipes hold: their templates work in a copy of the program by being put there, and compute what they say."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import commands
import made_cities
import numpy as np
import pytest
from scripts import module_of

from estimators import Estimates
from sim import BadInput, Panel, Roles, Streams, Wanted
from sim.presets import BertrandDufloMullainathan
from sim.world.context import slots_of
from sim.world.panel_design import PanelDesign

pytestmark = pytest.mark.documents

REPOSITORY = Path(__file__).resolve().parent.parent
RECIPES = REPOSITORY / "docs" / "recipes"
TEMPLATE = RECIPES / "first_difference.py"
SUITES = {"first-difference": "tests/estimators/test_conformance.py",
          "two-groups": "tests/sim/test_design_conformance.py"}  # fmt: skip
ROOMS = ("sim", "estimators", "results", "cluster", "experiments")
ADDED = {
    "table.md": "experiments/tables/adoption_table.py",
    "figure.md": "experiments/tables/outcome_figure.py",
    "output_format.md": "results/tables/markdown.py",
    "check.md": "experiments/checks/short_panel.py",
    "back_end.md": "cluster/backends/here.py",
}
ERRORS = ("iid", "hc1", "cluster:unit", "cluster:period")
STUDY = """
replications = 64
seed = 1

[design]
kind = "{design}"

[[estimators]]
kind = "{estimator}"
"""


@pytest.fixture(scope="module")
def template() -> ModuleType:
    """The template as a module, outside of the program."""
    return module_of(TEMPLATE, "first_difference_template")


def copied(folder: Path) -> Path:
    """The program in another folder, with the conformance suites."""
    for name in (*ROOMS, "tests/support", "tests/data"):
        shutil.copytree(REPOSITORY / name, folder / name)
    for name in ("pyproject.toml", "panelproof.py", "tests/conftest.py", "tests/long.txt", *SUITES.values()):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy2(REPOSITORY / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the program to which the template and the design of its page were added, one file each."""
    folder = copied(tmp_path_factory.mktemp("copy"))
    shutil.copy2(TEMPLATE, folder / "estimators" / "linear")
    (design,) = blocks_of("design.md", "python")
    (folder / "sim" / "two_groups.py").write_text(design, encoding="utf-8")
    (part,) = blocks_of("part.md", "python")
    (folder / "sim" / "world" / "parts" / "westward.py").write_text(part, encoding="utf-8")
    for page, place in ADDED.items():
        (block,) = blocks_of(page, "python")
        (folder / place).write_text(block, encoding="utf-8")
    return folder


def blocks_of(page: str, language: str) -> list[str]:
    """The blocks of code of a recipe."""
    text = (RECIPES / page).read_text(encoding="utf-8")
    return [part.split("```")[0] for part in text.split(f"```{language}\n")[1:]]


def apply(block: str, folder: Path) -> None:
    """Change a file as a block of lines says: "+" begins a new line, a space one that is there already."""
    first, *lines = block.splitlines()
    path = folder / first.removeprefix("--- ")
    old = "".join(f"{line[1:]}\n" for line in lines if line.startswith(" "))
    new = "".join(f"{line[1:]}\n" for line in lines)
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, block
    path.write_text(text.replace(old, new), encoding="utf-8")


def in_copy(folder: Path, *arguments: str) -> str:
    """What a module of Python prints in the copy, which must end well."""
    surroundings = os.environ | {"PYTHONPATH": str(folder), "COLUMNS": "200"}
    if arguments[0] == "experiments":
        done = commands.run(folder, *arguments[1:], env=surroundings, root=folder)
    else:
        done = subprocess.run([sys.executable, "-m", *arguments], cwd=folder, capture_output=True, text=True,
                              check=False, env=surroundings, timeout=240)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def by_dummies(panel: Panel) -> dict[str, Any]:
    """Differences on differences and dummies of all periods by numpy alone, with four covariances."""
    seen = np.ones((len(panel.periods), len(panel.units)), bool) if panel.observed is None else panel.observed[0]
    names = panel.roles.regressors
    rows = [(t, i) for t in range(1, len(seen)) for i in range(len(seen[0])) if seen[t, i] and seen[t - 1, i]]
    periods = sorted({t for t, _ in rows})

    def change(name: str) -> np.ndarray:
        values = panel.variables[name][0]
        return np.array([values[t, i] - values[t - 1, i] for t, i in rows])

    x = np.column_stack([*map(change, names), *[[float(t == p) for t, _ in rows] for p in periods]])
    y = change(panel.roles.outcome or "")
    beta = np.linalg.lstsq(x, y, rcond=None)[0]
    e, bread, (n, k) = y - x @ beta, np.linalg.inv(x.T @ x), x.shape
    scores = x * e[:, None]
    meat = {"iid": x.T @ x * (e @ e) / (n - k), "hc1": scores.T @ scores * n / (n - k)}
    for kind, codes, counted in (("unit", [i for _, i in rows], k), ("period", [t for t, _ in rows], len(names) + 1)):
        sums = np.array([scores[np.array(codes) == code].sum(axis=0) for code in sorted(set(codes))])
        meat[f"cluster:{kind}"] = sums.T @ sums * len(sums) / (len(sums) - 1) * (n - 1) / (n - counted)
    se = [np.sqrt(np.diag(bread @ each @ bread))[: len(names)] for each in meat.values()]
    return {"estimate": beta[: len(names)], "se": np.array(se), "nobs": n}


def real_panels() -> list[Panel]:
    """The committed panel, whole and with gaps."""
    roles = Roles("y", "d", ("road",))
    gaps = made_cities.frame_with_gaps().dropna(subset=["y", "d", "road"])
    return [Panel.from_frame(frame, unit="city", period="year", roles=roles) for frame in (made_cities.frame(), gaps)]


@pytest.mark.parametrize("which", [0, 1])
def test_the_template_is_a_regression_of_differences_with_dummies(template: ModuleType, which: int) -> None:
    panel = real_panels()[which]
    got: Estimates = template.FirstDifference(errors=ERRORS)(panel)
    wanted = by_dummies(panel)
    np.testing.assert_allclose(got.estimate[0], wanted["estimate"], rtol=1e-9)
    np.testing.assert_allclose(got.se[0], wanted["se"], rtol=1e-9)
    assert got.statistics["nobs"].tolist() == [wanted["nobs"]]
    assert panel.balanced == (which == 0)


def test_differences_over_a_missing_period_are_none(template: ModuleType) -> None:
    frame = made_cities.frame()
    whole, cut = (
        Panel.from_frame(part, unit="city", period="year", roles=Roles("y", "d"))
        for part in (frame, frame[frame["year"] != 2013])
    )
    got = [template.FirstDifference()(panel).statistics["nobs"][0] for panel in (whole, cut)]
    assert got == [made_cities.UNITS * (made_cities.PERIODS - 1), made_cities.UNITS * (made_cities.PERIODS - 3)]


def test_what_the_template_cannot_serve_is_one_line(template: ModuleType) -> None:
    frame = made_cities.frame()
    alone = Panel.from_frame(frame, unit="city", period="year", roles=Roles("y", None, ("road",)))
    numbers = {"y": np.array([[[1.0, 2.0], [2.0, 5.0]]]), "d": np.array([[[0.0, 0.0], [0.0, 1.0]]])}
    short = Panel(("one", "two"), (2013, 2014), numbers, Roles("y", "d"))
    sound = Panel.from_frame(frame, unit="city", period="year", roles=Roles("y", "d"))
    for panel, errors, message in ((alone, ("iid",), "the panel has no treatment"),
                                   (short, ("iid",), "2 differences for 2 parameters"),
                                   (sound, ("wild:unit",), "unknown error type 'wild:unit'")):  # fmt: skip
        with pytest.raises(BadInput, match=message):
            template.FirstDifference(errors=errors)(panel)


@pytest.mark.parametrize("kind", SUITES)
def test_what_is_new_passes_conformance_by_being_there(copy: Path, kind: str) -> None:
    said = in_copy(copy, "pytest", "-q", "-p", "no:cacheprovider", SUITES[kind], "-k", kind)
    assert re.search(r"[1-9]\d* passed", said)
    assert "failed" not in said


def test_a_new_estimator_is_listed_with_all_its_dials(copy: Path) -> None:
    assert "first-difference" in in_copy(copy, "experiments", "kinds")
    (found,) = json.loads(in_copy(copy, "experiments", "kinds", "first-difference", "--json"))["estimators"]
    assert [dial["name"] for dial in found["dials"]] == ["errors", "target", "label"]
    assert all(dial["meaning"] for dial in found["dials"])


@pytest.mark.parametrize(("design", "estimator"), [("paper", "first-difference"), ("two-groups", "did")])
def test_a_study_runs_what_is_new(copy: Path, tmp_path: Path, design: str, estimator: str) -> None:
    study = tmp_path / "study.toml"
    study.write_text(STUDY.format(design=design, estimator=estimator), encoding="utf-8")
    store = tmp_path / "x.zarr"
    in_copy(copy, "experiments", "run", str(study), "--cluster", "serial", "--store", str(store))
    rows = json.loads(in_copy(copy, "experiments", "report", str(store), "--json"))["measures"]
    (mean,) = [row for row in rows if (row["term"], row["measure"]) == ("did", "mean_estimate")]
    (bias,) = [row for row in rows if (row["term"], row["measure"]) == ("did", "bias")]
    assert (mean["estimator"], mean["n"]) == (estimator, 64)
    assert abs(bias["value"]) <= 4 * bias["mcse"]


WORLD = """
replications = 64
seed = 1

[design]
kind = "panel"
units = 40
[design.adoption]
kind = "westward"
pace = 4.0
[design.effect]
size = 0.5

[[estimators]]
kind = "did"
"""


def test_a_new_part_is_listed_checked_and_used(copy: Path, tmp_path: Path) -> None:
    (found,) = json.loads(in_copy(copy, "experiments", "kinds", "adoption.westward", "--json"))["parts"]
    assert [(dial["name"], bool(dial["meaning"])) for dial in found["dials"]] == [("treated", True), ("pace", True)]
    (tmp_path / "study.toml").write_text(WORLD, encoding="utf-8")
    store = tmp_path / "x.zarr"
    in_copy(copy, "experiments", "run", str(tmp_path / "study.toml"), "--cluster", "serial", "--store", str(store))
    rows = json.loads(in_copy(copy, "experiments", "report", str(store), "--json"))["measures"]
    (bias,) = [row for row in rows if (row["term"], row["measure"]) == ("did", "bias")]
    assert abs(bias["value"]) <= 4 * bias["mcse"]
    (tmp_path / "wrong.toml").write_text(WORLD.replace("pace = 4.0", "pace = -1.0\ntreated = 40"), encoding="utf-8")
    done = commands.run(copy, "run", tmp_path / "wrong.toml", env=os.environ | {"PYTHONPATH": str(copy)}, root=copy)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 2


def test_both_commands_on_a_real_panel_take_what_is_new(copy: Path, tmp_path: Path, template: ModuleType) -> None:
    real = made_cities.real_panel(tmp_path, made_cities.PANEL)
    wanted = by_dummies(real.panel)
    files = [str(tmp_path / "panel.csv"), "--spec", str(tmp_path / "spec.toml"), "--estimator", "first-difference"]
    records = json.loads(in_copy(copy, "experiments", "estimate", *files, "--json"))["records"]
    own = [each for each in records if each["model"] == "first-difference" and each["term"] == "did"]
    assert [each["se_type"] for each in own] == list(template.FirstDifference().errors)
    np.testing.assert_allclose([each["estimate"] for each in own], wanted["estimate"][0], rtol=1e-9)
    np.testing.assert_allclose([each["se"] for each in own], wanted["se"][: len(own), 0], rtol=1e-9)
    draws = ("--draws", "99", "--store", str(tmp_path / "placebo.zarr"), "--json")
    found = json.loads(in_copy(copy, "experiments", "placebo", *files, *draws))
    assert found["estimator"] == "first-difference"
    assert found["estimate"] == pytest.approx(wanted["estimate"][0], rel=1e-9)


def test_a_table_a_figure_a_format_and_a_check_are_one_file_each(copy: Path, tmp_path: Path) -> None:
    """They are there after the file is; the numbers of the table are those of the panel."""
    real = made_cities.real_panel(tmp_path, made_cities.PANEL)
    files = [str(tmp_path / "panel.csv"), "--spec", str(tmp_path / "spec.toml"), "--out", str(tmp_path / "out")]
    said = in_copy(copy, "experiments", "estimate", *files, "--tables", "21", "--format", "md")
    assert "Table 21. Treated units" in said
    text = (tmp_path / "out" / "tables.md").read_text(encoding="utf-8")
    rows = text.partition("## Table 21. Treated units")[2].partition("##")[0]
    found = dict(re.findall(r"\| (\d{4}) \| (\d+) \|", rows))
    treated = (real.panel.variables[str(real.panel.roles.treatment)][0] > 0).sum(axis=1).tolist()
    assert {int(period): int(number) for period, number in found.items()} == dict(
        zip(real.panel.periods, treated, strict=True)
    )
    assert "- The panel has 5 periods or more." in (tmp_path / "out" / "warnings.md").read_text(encoding="utf-8")
    document = json.loads((tmp_path / "out" / "estimates.json").read_text(encoding="utf-8"))
    assert "short-panel" in [one["code"] for one in document["warnings"]]
    assert "cells in the fullest bin" in (tmp_path / "out" / "outcome.svg").read_text(encoding="utf-8")


def refusal(copy: Path, folder: Path, place: str, text: str) -> str:
    """The one line of a command where a file with this text stands among its neighbours."""
    made_cities.real_panel(folder, made_cities.PANEL)
    added = copy / place / "file_of_mine.py"
    words = (("cluster", "kinds") if place.startswith("cluster") else
             ("estimate", folder / "panel.csv", "--spec", folder / "spec.toml", "--out", folder / "out"))  # fmt: skip
    try:
        added.write_text(text, encoding="utf-8")
        done = commands.run(copy, *words, env=os.environ | {"PYTHONPATH": str(copy)}, root=copy)
    finally:
        added.unlink()
    assert done.returncode == 2
    assert not (folder / "out").exists()
    (line,) = done.stderr.splitlines()
    return line


@pytest.mark.parametrize("place", ["results/tables", "experiments/tables", "experiments/checks", "cluster/backends"])
def test_a_draft_that_cannot_be_imported_is_one_line(copy: Path, tmp_path: Path, place: str) -> None:
    said = refusal(copy, tmp_path, place, "def broken(:\n")
    assert f"{copy / place / 'file_of_mine.py'}; this module cannot be imported: SyntaxError" in said


OUTCOME = "experiments.tables.outcome_figure"
TWIN = """
from cluster.backends.here import *
from cluster.backends.backend import BackEnd

class Second(BackEnd):
    name = "here"
"""


@pytest.mark.parametrize(
    ("place", "text", "said"),
    [
        ("results/tables", "from results.tables.markdown import FORMATS\n", "two formats have one name"),
        ("experiments/tables", "TABLES, LAYOUTS = (), {21: lambda setting: []}\n", "two tables have the place 21"),
        ("experiments/tables", f"from {OUTCOME} import LAYOUTS, TABLES, add\n", "two figures are called 'outcome'"),
        ("cluster/backends", TWIN, "two back ends are called 'here'"),
    ],
)
def test_two_of_one_name_are_refused(copy: Path, tmp_path: Path, place: str, text: str, said: str) -> None:
    assert said in refusal(copy, tmp_path, place, text)


def test_a_place_for_blocks_is_one_file(copy: Path, tmp_path: Path) -> None:
    """A study has the same hash there as in the place that is always there."""
    (tmp_path / "study.toml").write_text(STUDY.format(design="bdm", estimator="did"), encoding="utf-8")
    for place in ("here", "serial"):
        in_copy(copy, "experiments", "run", str(tmp_path / "study.toml"), "--cluster", place, "--store",
                str(tmp_path / f"{place}.zarr"))  # fmt: skip
    hashes = {in_copy(copy, "experiments", "store", "hash", str(tmp_path / f"{place}.zarr")).split()[0]
              for place in ("here", "serial")}  # fmt: skip
    assert len(hashes) == 1


NEWEY_WEST = """
from estimators import TwoWayDID
from sim import Streams, Wanted
from sim.presets import BertrandDufloMullainathan

draw = BertrandDufloMullainathan().draw(Streams(1), Wanted(frozenset(("y", "did")), ()))
print(TwoWayDID(errors=("newey-west",))(draw.panel).se.item())
"""


def test_a_new_error_type_is_an_entry_and_a_sum(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    changes = blocks_of("error_type.md", "diff")
    assert {change.splitlines()[0] for change in changes} == {
        "--- estimators/core/error_types.py", "--- estimators/linear/covariances.py"
    }  # fmt: skip
    for change in changes:
        apply(change, folder)
    (folder / "newey_west.py").write_text(NEWEY_WEST, encoding="utf-8")
    panel = BertrandDufloMullainathan().draw(Streams(1), Wanted(frozenset(("y", "did")), ())).panel
    assert float(in_copy(folder, "newey_west")) == pytest.approx(newey_west(panel), rel=1e-9)
    assert "Newey and West 1987" in in_copy(folder, "experiments", "kinds", "newey-west")


def newey_west(panel: Panel) -> float:
    """The standard error of two-way DID with one regressor by loops over units and pairs of periods."""
    x, y = (
        v - v.mean(axis=0) - v.mean(axis=1, keepdims=True) + v.mean()
        for v in (panel.variables["did"][0], panel.variables["y"][0])
    )
    t, n = x.shape
    scores = x * (y - x * (x * y).sum() / (x * x).sum())
    lag = int(4 * (t / 100) ** (2 / 9))
    near = [(a, b, 1 - abs(a - b) / (lag + 1)) for a in range(t) for b in range(t) if abs(a - b) <= lag]
    meat = sum(weight * scores[a, i] * scores[b, i] for a, b, weight in near for i in range(n))
    return float(np.sqrt(meat * t * n / (t * n - t - n)) / (x * x).sum())


def test_plain_functions_are_a_study_and_plug_ins(tmp_path: Path) -> None:
    _, module = blocks_of("functions.md", "python")  # the first is a script, which runs with the documents
    (study,) = blocks_of("functions.md", "toml")
    (tmp_path / "mine.py").write_text(module, encoding="utf-8")
    (tmp_path / "mine.toml").write_text(study, encoding="utf-8")
    surroundings = os.environ | {"PYTHONPATH": str(REPOSITORY), "COLUMNS": "200"}

    def panelproof(*arguments: str) -> str:
        done = commands.run(tmp_path, *arguments, env=surroundings)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "how many." in panelproof("kinds", "mine:two_groups")
    panelproof("run", "mine.toml", "--cluster", "serial", "--store", "mine.zarr")
    rows = json.loads(panelproof("report", "mine.zarr", "--json"))["measures"]
    means = {row["effect"]: row for row in rows if row["measure"] == "bias"}
    assert set(means) == {0.0, 1.0}
    assert all(abs(row["value"]) <= 4 * row["mcse"] for row in means.values())
    assert "coverage" not in {row["measure"] for row in rows}


def test_the_recipe_of_a_part_names_all_that_a_slot_asks_for() -> None:
    text = (RECIPES / "part.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (\w+) \| `sim/world/parts/\w+\.py` \| (.*) \|$", text, re.MULTILINE))
    slots = slots_of(PanelDesign)
    assert {*rows} == {*slots} - {"other_weights"}
    for name, said in rows.items():
        assert slots[name].base.__abstractmethods__ <= {*re.findall(r"`(\w+)`", said)}, name
