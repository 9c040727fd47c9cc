"""The recipes hold: their templates work in a copy of the program by being put there, and compute what they say."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import made_cities
import numpy as np
import pytest

from estimators import Estimates, TwoWayDID
from references.small_panels import small_panel
from sim import BadInput, Panel, Roles

REPOSITORY = Path(__file__).resolve().parent.parent
RECIPES = REPOSITORY / "docs" / "recipes"
TEMPLATE = RECIPES / "first_difference.py"
ROOMS = ("sim", "estimators", "results", "cluster", "experiments")
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
    spec = importlib.util.spec_from_file_location("first_difference_template", TEMPLATE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program in another folder, to which the template and the design of its page were added, one file each."""
    folder = tmp_path_factory.mktemp("copy")
    for name in (*ROOMS, "tests/support", "tests/data"):
        shutil.copytree(REPOSITORY / name, folder / name)
    for name in ("pyproject.toml", "tests/conftest.py", "tests/estimators/test_conformance.py",
                 "tests/sim/test_design_conformance.py"):  # fmt: skip
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy2(REPOSITORY / name, folder / name)
    shutil.copy2(TEMPLATE, folder / "estimators" / "linear")
    page = (RECIPES / "design.md").read_text(encoding="utf-8")
    (folder / "sim" / "designs" / "two_groups.py").write_text(page.split("```python\n")[1].split("```")[0])
    return folder


def in_copy(folder: Path, *arguments: str) -> str:
    """What a module of Python prints in the copy, which must end well."""
    done = subprocess.run([sys.executable, "-m", *arguments], cwd=folder, capture_output=True, text=True, check=False,
                          env=os.environ | {"PYTHONPATH": str(folder), "COLUMNS": "200"}, timeout=240)  # fmt: skip
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


def test_of_two_periods_it_is_two_way_did(template: ModuleType) -> None:
    panel = small_panel(30, 2, seed=3, model="none")
    got, wanted = template.FirstDifference()(panel), TwoWayDID(errors=("iid",))(panel)
    np.testing.assert_allclose(got.estimate, wanted.estimate, rtol=1e-9)
    np.testing.assert_allclose(got.se[:, 0], wanted.se[:, 0], rtol=1e-9)


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


@pytest.mark.slow
def test_a_new_estimator_passes_conformance_by_being_there(copy: Path) -> None:
    said = in_copy(copy, "pytest", "-q", "-p", "no:cacheprovider", "tests/estimators/test_conformance.py",
                   "-k", "first-difference")  # fmt: skip
    assert "passed" in said
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


@pytest.mark.slow
def test_a_new_design_passes_conformance_by_being_there(copy: Path) -> None:
    said = in_copy(copy, "pytest", "-q", "-p", "no:cacheprovider", "tests/sim/test_design_conformance.py",
                   "-k", "two-groups")  # fmt: skip
    assert "passed" in said
    assert "failed" not in said
