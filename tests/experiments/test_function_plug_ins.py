"""Functions as plug-ins: beside a study file, from a script on workers, in stores; and what is said of wrong ones."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import commands
import numpy as np
import pytest

import panelproof as pp
from estimators import find_estimator
from experiments.cli import run_command
from experiments.run.runner import run
from experiments.study import Study
from results.store import ZarrStore
from sim import BadInput, find_design
from sim.functions import code_digest

MODULE = '''
import numpy as np
import panelproof as pp

@pp.design(truth="effect")
def two_groups(rng, units: int = 12, effect: float = 0.5):
    """Half of the units are treated in the second half of six periods.

    units: how many. effect: of the treatment.
    """
    did = np.outer(np.arange(6) >= 3, np.arange(units) < units // 2) * 1.0
    return {"y": effect * did + rng.standard_normal(did.shape), "did": did}

@pp.estimator
def change(y, did, scale: float = 1.0):
    """The change of means, treated less control.

    scale: multiplies the estimate.
    """
    step = y[3:].mean(axis=0) - y[:3].mean(axis=0)
    treated = did.any(axis=0)
    return scale * (step[treated].mean() - step[~treated].mean()), 2 / np.sqrt(3 * len(step) / 2)
'''
STUDY = """
replications = 128
block = 64
seed = 5
[design]
kind = "made_up_plug:two_groups"
units = 12
[grid]
effect = [0, 1]
[[estimators]]
kind = "made_up_plug:change"
scale = [1, 2]
label = "LABEL"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A study file and the module that it names."""
    (tmp_path / "made_up_plug.py").write_text(MODULE)
    (tmp_path / "study.toml").write_text(STUDY.replace('scale = [1, 2]\nlabel = "LABEL"', "scale = 1"))
    yield tmp_path
    sys.modules.pop("made_up_plug", None)
    if str(tmp_path) in sys.path:
        sys.path.remove(str(tmp_path))


def panelproof(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return commands.run(folder, *arguments, env={**os.environ, "COLUMNS": "200"})


def test_a_study_file_names_functions_of_a_module_beside_it(folder: Path) -> None:
    ran = panelproof(folder, "run", "study.toml", "--cluster", "local", "--workers", "1", "--store", "x.zarr")
    assert ran.returncode == 0, ran.stderr
    store = ZarrStore.open(folder / "x.zarr")
    study = Study.from_toml(folder / "study.toml")
    assert run(study, store=folder / "y.zarr").content_hash() == store.content_hash()  # type: ignore[union-attr]
    assert store.fingerprint == study.fingerprint
    again = panelproof(folder, "replay", "x.zarr", "1", "17", "--load-code")
    assert again.returncode == 0, again.stderr
    assert "same" in again.stdout
    assert "differs" not in again.stdout
    report = json.loads(panelproof(folder, "report", "x.zarr", "--json").stdout)["measures"]
    bias = [row for row in report if row["measure"] == "bias"]
    assert len(bias) == 2
    assert all(abs(row["value"]) < 4 * row["mcse"] for row in bias)
    (folder / "made_up_plug.py").write_text(MODULE.replace("scale * (", "0.5 + scale * ("))
    more = panelproof(folder, "run", "study.toml", "--cluster", "serial", "--store", "x.zarr", "--replications", "192")
    assert more.returncode == 2
    assert "other code of made_up_plug" in more.stderr


def test_functions_of_a_module_are_classes_like_others(folder: Path) -> None:
    study = Study.from_toml(folder / "study.toml")
    world, estimator = find_design("made_up_plug:two_groups"), find_estimator("made_up_plug:change")
    assert (world.kind, world.__name__, world.__module__) == ("two-groups", "two_groups", "made_up_plug")
    assert study.design == world(units=12, effect=0.5)  # type: ignore[call-arg]
    assert (study.estimators[0].terms, study.estimators[0].errors) == (("att",), ("own",))  # type: ignore[attr-defined]
    assert estimator(scale=2.0).label == "change"  # type: ignore[call-arg, attr-defined]
    assert Study.from_settings(study.settings).fingerprint == study.fingerprint
    with pytest.raises(BadInput, match=r"unknown key 'size'.*units, effect"):
        Study.from_settings(study.settings | {"design": {"kind": "made_up_plug:two_groups", "size": 3}})
    with pytest.raises(BadInput, match="units"):
        Study.from_settings(study.settings | {"design": {"kind": "made_up_plug:two_groups", "units": "many"}})


def test_a_permutation_test_takes_a_function_that_declares_its_terms(folder: Path) -> None:
    text = MODULE.replace("@pp.estimator\n", '@pp.estimator(terms=["did"])\n')
    (folder / "made_up_plug.py").write_text(text)
    study = STUDY[: STUDY.index("[[est")] + '[[estimators]]\nkind = "permutation"\nestimator = "made_up_plug:change"\n'
    (folder / "study.toml").write_text(study + "draws = 99\ninterval = false\n")
    records = run(Study.from_toml(folder / "study.toml").resized(replications=64))
    (estimates,) = next(iter(records.blocks(0))).estimates.values()
    assert estimates.pvalue is not None
    assert np.isin(np.round(100 * estimates.pvalue[:, 0], 9), np.arange(1, 101)).all()
    assert estimates.pvalue[:, 0].std() > 0.2


def test_kinds_shows_a_function_as_it_shows_a_class(folder: Path) -> None:
    shown = panelproof(folder, "kinds", "made_up_plug:two_groups")
    assert shown.returncode == 0, shown.stderr
    for words in ("Half of the units are treated", "units", "whole number", "12", "of the treatment."):
        assert words in shown.stdout
    document = json.loads(panelproof(folder, "kinds", "made_up_plug:change", "--json").stdout)
    (entry,) = document["estimators"]
    assert entry["kind"] == "made_up_plug:change"
    assert {dial["name"] for dial in entry["dials"]} == {"scale", "terms", "errors", "targets", "label"}
    assert all(dial["meaning"] for dial in entry["dials"])


@pytest.mark.parametrize("command", [["replay", "x.zarr", "1", "17"], ["replicate", "bundle", "--from", "x.zarr"]])
def test_a_module_of_a_store_is_found_in_the_current_folder(
    command: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(Study.from_toml(folder / "study.toml"), store=folder / "x.zarr")
    sys.modules.pop("made_up_plug")
    sys.path.remove(str(folder))
    monkeypatch.chdir(folder)
    assert run_command(command) == 2
    assert run_command([*command, "--load-code"]) == 0


SCRIPT = """
import sys
import numpy as np
from distributed import Client, LocalCluster
import panelproof as pp
from experiments.run.resume import replay

SHIFT = 0.0
DID = np.outer(np.arange(6) >= 3, np.arange(12) < 6) * 1.0

def noise(rng, sd):
    return sd * rng.standard_normal(DID.shape)

def draw(rng, effect=0.5, sd: float = 1.0):
    return {"y": effect * DID + noise(rng, sd), "did": DID}

@pp.estimator
def change(y, did):
    step = y[3:].mean(axis=0) - y[:3].mean(axis=0)
    return step[:6].mean() - step[6:].mean() + SHIFT, 0.5

def study(replications):
    return pp.Study.from_functions(draw=draw, fit=[change, lambda y: y.mean()], truth=lambda effect: {"att": effect},
                                   grid={"effect": [0, 1]}, replications=replications, block=64, seed=5)

if __name__ == "__main__":
    folder, replications = sys.argv[1], int(sys.argv[2])
    if len(sys.argv) > 3:
        with LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.1",
                          dashboard_address="127.0.0.1:0") as cluster, Client(cluster) as client:
            store = pp.run(study(replications), store=f"{folder}/x.zarr", client=client)
    else:
        store = pp.run(study(replications), store=f"{folder}/x.zarr")
    again = replay(store, 1, 17)
    kept = store.read(1, 0).estimates["change"].estimate[17]
    assert (again.block.estimates["change"].estimate[0] == kept).all()
    print(store.content_hash())
"""


def script(text: str, file: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    file.write_text(text)
    surroundings = {**os.environ, "PYTHONPATH": str(Path(pp.__file__).parent)}
    command = [sys.executable, str(file), *map(str, arguments)]
    return subprocess.run(command, cwd=file.parent, capture_output=True, text=True, env=surroundings, timeout=240)


@pytest.mark.long
def test_functions_of_a_script_run_on_workers_resume_and_are_replayed(tmp_path: Path) -> None:
    for name in ("serial", "workers"):
        (tmp_path / name).mkdir()
    alone = script(SCRIPT, tmp_path / "mine.py", tmp_path / "serial", 256)
    assert alone.returncode == 0, alone.stderr
    first = script(SCRIPT, tmp_path / "mine.py", tmp_path / "workers", 128, "workers")
    assert first.returncode == 0, first.stderr
    longer = SCRIPT.replace("if __name__", "print('another line of the script')\n\nif __name__")
    rest = script(longer, tmp_path / "mine.py", tmp_path / "workers", 256)
    assert rest.returncode == 0, rest.stderr
    assert rest.stdout.split()[-1] == alone.stdout.split()[-1]


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the script and of a store that it made."""
    folder = tmp_path_factory.mktemp("scripted")
    done = script(SCRIPT, folder / "mine.py", folder, 64)
    assert done.returncode == 0, done.stderr
    return folder


def test_an_edit_of_what_a_function_does_makes_another_study(scripted: Path, tmp_path: Path) -> None:
    shutil.copytree(scripted / "x.zarr", tmp_path / "x.zarr")
    before = ZarrStore.open(tmp_path / "x.zarr").content_hash()
    refused = script(SCRIPT.replace("+ SHIFT", "- SHIFT"), tmp_path / "mine.py", tmp_path, 128)
    assert refused.returncode == 1
    assert "BadInput" in refused.stderr
    assert ZarrStore.open(tmp_path / "x.zarr").content_hash() == before


def fingerprint(text: str) -> str:
    """That of the study of a script."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(text.partition("if __name__")[0], names)
    study: Study = names["study"](64)
    return study.fingerprint


EDITS = {
    "the function": ("+ SHIFT", "+ SHIFT + 1"),
    "a constant": ("SHIFT = 0.0", "SHIFT = 1.0"),
    "an array": ("< 6) * 1.0", "< 5) * 1.0"),
    "a function that it calls": ("sd * rng", "2 * sd * rng"),
    "a lambda": ("y.mean(), 0.5", "y.mean(), 0.25"),
    "the truth": ('"att": effect', '"att": -effect'),
}


@pytest.mark.parametrize("case", EDITS)
def test_a_fingerprint_covers(case: str) -> None:
    text = SCRIPT.replace("lambda y: y.mean()", "lambda y: (y.mean(), 0.5)")
    assert EDITS[case][0] in text
    assert fingerprint(text) == fingerprint(f"# a comment\n{text}")
    assert fingerprint(text) != fingerprint(text.replace(*EDITS[case]))


def test_a_store_of_a_script_is_reported_anywhere_and_replayed_there_alone(scripted: Path) -> None:
    assert "change" in panelproof(scripted, "report", "x.zarr").stdout
    refused = panelproof(scripted, "replay", "x.zarr", "0", "1")
    assert refused.returncode == 2
    assert "the function 'draw' is not here" in refused.stderr
    assert "do this from the script" in " ".join(refused.stderr.split())
    assert "Traceback" not in refused.stderr


def world(rng, effect=0.5):
    did = np.outer(np.arange(6) >= 3, np.arange(12) < 6) * 1.0
    return {"y": effect * did + rng.standard_normal(did.shape), "did": did}


def mean(y):
    return y.mean()


def of_global_numbers(rng, effect=0.5):
    return {"y": np.random.standard_normal((6, 12)) + effect, "did": world(rng)["did"]}  # noqa: NPY002


def growing(rng, effect=0.5):
    return {"y": rng.standard_normal((6, 12 + int(rng.integers(2))))}


def varying(rng, effect=0.5):
    return world(rng) | {"place": rng.standard_normal(12)}


OBJECT = object()
WRONG = {
    "no generator": ({"draw": lambda: 1}, "0 parameters without a default"),
    "two generators": ({"draw": lambda rng, effect: 1}, r"2 parameters without a default \(rng, effect\)"),
    "any keyword": ({"draw": lambda rng, **dials: 1}, r"parameter \*\*dials; allowed: parameters with names"),
    "a reserved dial": ({"draw": lambda rng, kind=1: 1}, "the setting 'kind' has a reserved name"),
    "a dial of the class": ({"draw": lambda rng, parameters=1: 1}, "the setting 'parameters' has a reserved name"),
    "a default that is no setting": ({"draw": lambda rng, w=OBJECT: 1}, "the setting 'w' has the default"),
    "no function": ({"draw": 3}, "draw is int; allowed: a function or a design"),
    "a list": ({"draw": lambda rng: [1, 2]}, "returned list; allowed: a DataFrame, a dict of arrays"),
    "a shape": ({"draw": lambda rng: {"y": np.ones((2, 3, 4))}}, r"'y' of shape \(2, 3, 4\) is no array of a panel"),
    "text": ({"draw": lambda rng: {"y": np.full((2, 3), "a")}}, "'y' holds <U1; allowed: numbers"),
    "not finite": ({"draw": lambda rng: {"y": np.full((2, 3), np.nan)}}, "variable 'y' is nan"),
    "no such outcome": ({"outcome": "z"}, "no variable 'z'; allowed: y, did"),
    "no such dial of the truth": ({"truth": "efect"}, "the truth of att is 'efect', which is no dial; .*'effect'"),
    "a truth that is a list": ({"truth": lambda effect: [1, 2]}, r"the truth of att is of shape \(2,\)"),
    "a truth of an unknown parameter": ({"truth": lambda size: size}, "parameter 'size' is not known; allowed: effect"),
    "a name of an estimand": ({"truth": {"My ATT": 1.0}}, "'My ATT' is no name of an estimand"),
    "no such dial": ({"grid": {"efect": [1]}}, "no dial 'efect'"),
    "no such dial in dials": ({"dials": {"efect": 1}}, "no dial 'efect'; allowed: effect"),
    "other sizes": ({"draw": growing}, "units differ between draws"),
    "other attributes": ({"draw": varying}, "place of units differ between draws; .* fixed_rng"),
    "global numbers": ({"draw": of_global_numbers}, "other numbers of y when the same replications were drawn twice"),
    "a raise": ({"draw": lambda rng: {}["y"]}, "draw raised KeyError: 'y'"),
    "a fit of nothing": ({"fit": lambda: 1}, "no parameter without a default; allowed: panel, df"),
    "a fit of an unknown variable": ({"fit": lambda z: 1}, "parameter 'z' is nothing of the panel; .* rng, y, did"),
    "a fit that raises": ({"fit": lambda y: y["no"]}, "a trial fit raised IndexError"),
    "a fit without an answer": ({"fit": lambda y: None}, "a trial fit gave no answer"),
    "a fit that returns text": ({"fit": lambda y: "no"}, "returned str; allowed: an estimate"),
    "two errors without names": ({"fit": lambda y: (1.0, [1.0, 2.0])}, "returned 2 standard errors of a term"),
    "two of one name": ({"fit": [mean, mean]}, "estimators share a name: mean"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_in_one_line(case: str) -> None:
    changes, message = WRONG[case]
    settings: dict[str, Any] = {"draw": world, "fit": mean, "replications": 64, "block": 64}
    with pytest.raises(BadInput, match=message) as error:
        run(pp.Study.from_functions(**(settings | changes)))
    for line in str(error.value).splitlines():
        assert line.count("; ") >= 2


def test_terms_that_change_between_fits_end_the_fit_not_the_run() -> None:
    def fickle(y):
        return {"up": y.mean()} if y[0, 0] > 0 else {"down": y.mean()}

    records = run(pp.Study.from_functions(draw=world, fit=fickle, replications=64, block=64))
    (block,) = records.blocks(0)
    ok = block.estimates["fickle"].status == 1
    assert 10 < ok.sum() < 54
    assert all("returned the terms" in text for text in block.tracebacks.values())


def test_numbers_of_earlier_code_are_said_when_quiet_too(folder: Path) -> None:
    order = ("run", "study.toml", "--cluster", "serial", "--store", "x.zarr", "--block", "128", "--quiet")
    assert panelproof(folder, *order, "--replications", "64").stderr == ""
    (folder / "made_up_plug.py").write_text(MODULE.replace("scale * (", "0.5 + scale * ("))
    differs = "what differs now: other code of made_up_plug"
    same, more, whole = (panelproof(folder, *order, "--replications", count) for count in ("64", "96", "96"))
    assert same.returncode == more.returncode == 0
    assert len(same.stderr.splitlines()) == len(more.stderr.splitlines()) == 1
    assert same.stderr.endswith(f"{differs}\n"), same.stderr
    assert f"{differs}; with more replications those from 0 on are all computed anew" in more.stderr
    assert (whole.stderr, whole.stdout) == ("", ""), "all of it is of this code"


def test_other_terms_than_declared_fail_the_run(folder: Path) -> None:
    text = MODULE.replace("@pp.estimator\n", '@pp.estimator(terms=["did"])\n')
    text = text.replace("return scale * (step[treated].mean() - step[~treated].mean())",
                        'return {"effect": step.mean()}')  # fmt: skip
    (folder / "made_up_plug.py").write_text(text.replace(", 2 / np.sqrt(3 * len(step) / 2)", ""))
    ran = panelproof(folder, "run", "study.toml", "--cluster", "serial", "--store", "x.zarr")
    assert ran.returncode == 3, ran
    said = " ".join(ran.stdout.split())
    assert "change: every fit failed: " in said
    assert "returned the terms effect; allowed: did; return the same terms for every panel" in said


def test_a_digest_is_that_of_what_code_does() -> None:
    def first(x):
        return x + 1

    def second(x):  # another name and another place
        """With words."""
        return x + 1

    def third(x):
        return x + 2

    assert code_digest(lambda x: x + 1) == code_digest(first)
    assert code_digest(first) != code_digest(third)
    assert code_digest(first) != code_digest(first, third)
    assert code_digest(np.arange(3)) != code_digest(np.arange(4))
    assert code_digest({"a": first}) != code_digest({"a": third})

    def scaled(by):
        def inner(x, *, more=by):
            return x + more

        return inner, lambda x: x + by

    for one, other in zip(scaled(1), scaled(2), strict=True):
        assert code_digest(one) != code_digest(other), "defaults of names, and what is enclosed"
    assert code_digest({"a", "b"}) == code_digest({"b", "a"}) != code_digest({"a", "c"})


def test_a_script_that_is_loaded_twice_finds_its_functions_again() -> None:
    study = pp.Study.from_functions(draw=world, fit=mean, replications=64, block=64)
    same = Study.from_settings(study.settings)
    assert same.fingerprint == study.fingerprint
    assert same.design == study.design
    np.testing.assert_array_equal(
        next(iter(run(same).blocks(0))).estimates["mean"].estimate,
        next(iter(run(study).blocks(0))).estimates["mean"].estimate,
    )
