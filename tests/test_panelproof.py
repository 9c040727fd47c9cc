"""One name to import: what it offers, that it is lazy, and what happens beside a user's own `sim.py`."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import made_cities
import numpy as np
import pytest

import estimators
import panelproof as pp
from estimators import Estimator
from experiments.cli import put_own_packages_first, run_command
from experiments.panel_spec.spec import RealPanel
from experiments.search.solve import Search
from sim import Design

REPOSITORY = Path(__file__).resolve().parent.parent
FOREIGN = 'raise RuntimeError("the wrong module was imported")\n'
OPENED = tuple(SimpleNamespace(blocks=number) for number in (1, 2))  # as stores that are open
CITIES = object.__new__(RealPanel)


def python(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Python in a folder, with this repository behind that folder on the search path."""
    surroundings = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=folder, env=surroundings)


@pytest.fixture(params=["sim.py", "estimators/__init__.py"])
def foreign(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A user's folder with a module or a folder of the same name as one of ours."""
    file: Path = tmp_path / request.param
    file.parent.mkdir(exist_ok=True)
    file.write_text(FOREIGN)
    return tmp_path


def test_every_public_name_resolves_and_is_listed():
    for name in pp.__all__:
        assert getattr(pp, name).__name__ == name
        assert name in dir(pp)


def test_every_discovered_class_is_there_under_its_name():
    shown = {name: getattr(pp, name) for name in dir(pp) if inspect.isclass(getattr(pp, name))}
    found = {
        *estimators.estimators().values(),
        *(cls for cls in shown.values() if issubclass(cls, Design)),
    }
    assert found <= set(shown.values())
    assert {"Paper", "TwoWayDID", "SpatialPanel", "PermutationTest"} <= set(shown)
    assert all(cls.__name__ == name for name, cls in shown.items())
    assert all(issubclass(cls, Design | Estimator) for name, cls in shown.items() if name not in pp.PLACES)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'panelproof' has no attribute 'TwoWayDid'"):
        pp.TwoWayDid  # noqa: B018


def test_a_placebo_gives_the_numbers_of_the_command_and_its_store_resumes(tmp_path, capsys):
    spec = tmp_path / "SPEC.toml"
    spec.write_text(made_cities.PANEL)
    file, store = made_cities.DATA / "cities.csv", tmp_path / "placebo.zarr"
    found = pp.placebo(file, spec, store=store, scheme="space", draws=99, seed=5)
    kept = pp.open_store(store)
    assert not kept.pending()
    again = ["placebo", str(file), "--spec", str(spec), "--scheme", "space", "--draws", "99", "--seed", "5"]
    assert run_command([*again, "--store", str(store), "--json"]) == 0
    assert f'"permutation_pvalue": {found.permutation_p}' in capsys.readouterr().out
    in_memory = pp.placebo(pp.read_panel(file, pp.read_spec(spec)), scheme="space", draws=99, seed=5)
    assert np.array_equal(in_memory.placebos, found.placebos)


def test_a_run_takes_a_store_by_its_path_as_text(tmp_path):
    study = pp.Study("mine", pp.Paper(controls="none"), (pp.TwoWayDID(),), replications=64, block=64)
    pp.run(study, store=str(tmp_path / "mine.zarr"))
    assert not pp.open_store(str(tmp_path / "mine.zarr")).pending()


def test_a_panel_file_without_a_spec_is_a_type_error():
    with pytest.raises(TypeError, match="needs its spec"):
        pp.estimate("panel.csv")


@pytest.mark.long
def test_local_workers_run_beside_a_foreign_module(tmp_path):
    for name in ("sim.py", "results.py", "cluster.py"):
        (tmp_path / name).write_text(FOREIGN)
    command = ("run", "size", "--cluster", "local", "--workers", "1", "--replications", "64", "--block", "64")
    done = python("-m", "experiments", *command, "--store", "x.zarr", folder=tmp_path)
    assert done.returncode == 0, done.stderr


def test_folders_with_foreign_modules_go_behind_our_own(foreign, monkeypatch):
    plain = str(foreign.parent / "plain")
    monkeypatch.setattr(sys, "path", [str(foreign), plain, *sys.path])
    before = sys.path.copy()
    put_own_packages_first()
    assert sys.path == [*before[1:], str(REPOSITORY), str(foreign)]
    monkeypatch.setattr(sys, "path", before[1:])
    put_own_packages_first()
    assert sys.path == before[1:]


def test_a_script_beside_a_foreign_module_is_told_so_in_one_line(foreign):
    (foreign / "script.py").write_text("import panelproof\n")
    (name,) = {path.stem for path in foreign.iterdir()} - {"script"}
    assert_told(python("script.py", folder=foreign), name, foreign)


def test_a_script_beside_a_folder_that_hides_an_editable_install_is_told_so(tmp_path):
    (tmp_path / "results").mkdir()
    hook = f"""
import sys
from importlib.machinery import PathFinder

class Editable:  # as setuptools finds the packages of an editable install: after the search path
    @staticmethod
    def find_spec(name, path=None, target=None):
        return PathFinder.find_spec(name, [{str(REPOSITORY)!r}]) if path is None else None

sys.meta_path.append(Editable)
sys.path.remove({str(REPOSITORY)!r})
import panelproof
"""
    (tmp_path / "script.py").write_text(hook)
    assert_told(python("-S", "script.py", folder=tmp_path), "results", tmp_path)


def assert_told(done: subprocess.CompletedProcess[str], name: str, folder: Path) -> None:
    """The last line of a traceback names our package and the user's file or folder."""
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"ImportError: panelproof needs its own package '{name}', but Python finds {folder}")
    assert last.endswith("rename that file or folder, or start Python elsewhere")


@pytest.mark.parametrize(("name", "search"), [("solve", "solving"), ("breakdown", "breaking")])
def test_a_search_has_the_seed_and_the_ends_that_are_given(monkeypatch: Any, name: str, search: str) -> None:
    given: list[Any] = []
    monkeypatch.setattr(f"experiments.search.searches.{search}", lambda *asked, **_: [*map(given.append, asked), 1 / 0])
    study = pp.Study("mine", pp.Paper(), (pp.TwoWayDID(),), replications=64, block=64)
    asked = {"solve": ("power:0.8", study, "effect"), "breakdown": (study, "trend_gap", "effect")}[name]
    ends = {"to_second": 0.3} if name == "breakdown" else {}
    with pytest.raises(ZeroDivisionError):
        getattr(pp, name)(*asked, low=0.1, high=0.2, precision=0.5, budget=256, seed=7, **ends)
    (searched,) = [one for one in given if isinstance(one, Search)]
    assert (given[0].seed, searched) == (7, Search(0.1, 0.2, 0.5, 256, *ends.values()))


@pytest.mark.parametrize(("name", "work", "asked", "choices", "handed"), [
    ("twin", "experiments.twins.twin.twin", (CITIES,), {"method": "factor"}, (CITIES, "factor")),
    ("compare", "results.diagnosis.comparison.compare", OPENED, {"alpha": 0.2}, (*OPENED, 0.2)),
    ("replay", "experiments.run.resume.replay", (OPENED[0], 3, 5), {"load_code": True}, (OPENED[0], 3, 5)),
    ("replicate", "experiments.replication.write_bundle", (Path("a"),), {"with_data": True, "load_code": False},
     (Path("a"), [], None, None)),
    ("replicate", "experiments.replication.write_bundle", (Path("a"),), {"with_data": False, "load_code": True},
     (Path("a"), [], None, None)),
    ("rerun", "experiments.replication.rerun", (Path("a"),), {"load_code": True}, (Path("a"),)),
])  # fmt: skip
def test_what_is_given_is_handed_on(monkeypatch: Any, name: str, work: str, asked: Any, choices: Any, handed: Any):
    monkeypatch.setattr(work, lambda *some, **more: [some, more])
    found, further = getattr(pp, name)(*asked, **choices)
    assert found == handed
    assert further == {key: value for key, value in choices.items() if key in ("with_data", "load_code")}


@pytest.mark.parametrize(("name", "work", "choices"), [
    ("placebo", "experiments.placebo.prepared", {"scheme": "time", "estimator": "sdm", "term": "w_did", "draws": 7,
     "statistic": "studentised", "seed": 3}),
    ("trust", "experiments.trust.trust.trust", {"errors": "iid", "effect": 0.1, "budget": "2m", "replications": 96,
     "benchmarks": 1, "race": False, "alone": True}),
    ("race", "experiments.trust.race.race", {"effect": 0.1, "kinds": ("bdm",), "budget": "2m", "replications": 96}),
    ("solve", "experiments.search.searches.solving", {"estimator": "a", "term": "b", "error": "c"}),
    ("breakdown", "experiments.search.searches.breaking", {"estimator": "a", "term": "b", "error": "c"}),
])  # fmt: skip
def test_every_choice_is_handed_on(monkeypatch: Any, name: str, work: str, choices: dict[str, Any]) -> None:
    given: list[Any] = []
    monkeypatch.setattr(work, lambda *some, **more: [given.append((some, more)), 1 / 0])
    study = pp.Study("mine", pp.Paper(), (pp.TwoWayDID(),), replications=64, block=64)
    asked = {"solve": ("power:0.8", study, "effect"), "breakdown": (study, "trend_gap")}.get(name, (CITIES,))
    claim = {"claim": "sdm:did"} if name in ("trust", "race") else {}
    with pytest.raises(ZeroDivisionError):
        getattr(pp, name)(*asked, **choices, **claim)
    ((some, more),) = given
    assert {key: value for key, value in more.items() if key != "context"} == choices
    assert not claim or some[1] == claim["claim"]
