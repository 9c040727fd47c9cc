"""Worlds and estimators that are plain functions: in Python, in modules beside a study file, in scripts, in stores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import commands
import numpy as np
import pandas as pd
import pytest
from refusals import refuses

import panelproof as pp
from estimators import Status, TwoWayDID, find_estimator
from experiments.cli import run_command
from experiments.run.runner import run
from experiments.study import Study
from results.diagnosis.diagnose import diagnose
from sim import BadInput, Panel, Roles, Streams, Wanted, find_design
from sim.functions import code_digest, trial_panel
from sim.weights import knn

PERIODS, UNITS = 6, 12
DID = np.outer(np.arange(PERIODS) >= 3, np.arange(UNITS) < 6) * 1.0


def draw(rng, effect: float = 0.5, sd=1):
    return {"y": effect * DID + sd * rng.standard_normal((PERIODS, UNITS)), "did": DID}


def fit(y, did):
    """Of one panel, (T, N), or of many."""
    change = y[..., 3:, :].mean(axis=-2) - y[..., :3, :].mean(axis=-2)
    mine, others = change[..., :6], change[..., 6:]
    se = np.sqrt(mine.var(axis=-1, ddof=1) / 6 + others.var(axis=-1, ddof=1) / 6)
    return mine.mean(axis=-1) - others.mean(axis=-1), se, 10


def two_way(df):
    y, d = (df.pivot(index="period", columns="unit", values=name).to_numpy() for name in ("y", "did"))
    y, d = (v - v.mean(axis=0) - v.mean(axis=1, keepdims=True) + v.mean() for v in (y, d))
    return {"did": (d * y).sum() / (d * d).sum()}


def small(**changes: Any) -> Study:
    settings = {"draw": draw, "fit": fit, "truth": "effect", "replications": 128, "block": 64, "seed": 5}
    return pp.Study.from_functions(**(settings | changes))  # type: ignore[arg-type]


def estimates(records: Any, name: str, cell: int = 0, field: str = "estimate") -> np.ndarray:
    return np.concatenate([getattr(block.estimates[name], field) for block in records.blocks(cell)])


def test_every_replication_is_the_two_functions_on_its_own_generator() -> None:
    study = small(grid={"effect": [0, 1]})
    assert [type(cell.design).kind for cell in study.cells] == ["draw", "draw"]
    records = run(study)
    for cell in study.cells:
        found, errors, dof = (estimates(records, "fit", cell.index, field) for field in ("estimate", "se", "dof"))
        truths = np.concatenate([block.truth["att"] for block in records.blocks(cell.index)])
        for r in (0, 31, 32, 127):
            (generator,) = cell.streams(study.seed).tile(r, r + 1).each("draw")
            panel = draw(generator, effect=cell.parameters["effect"], sd=1)
            assert (found[r, 0], errors[r, 0, 0], dof[r, 0, 0]) == fit(**panel)
        assert (truths == cell.parameters["effect"]).all()


def test_estimates_agree_with_the_batch_estimator_on_the_same_panels() -> None:
    records = run(small(fit={"mine": two_way, "theirs": TwoWayDID()}))
    np.testing.assert_allclose(estimates(records, "mine"), estimates(records, "did"), rtol=1e-12)
    layouts = records.layouts
    assert layouts["mine"].targets == layouts["did"].targets == {"did": "att"}
    assert layouts["mine"].errors == ()
    frame = diagnose(records).frame
    bias = frame[(frame.measure == "bias") & (frame.estimator == "mine")]
    assert (abs(bias.value) < 4 * bias.mcse).all()


def as_dict(rng, effect=0.5):
    return draw(rng, effect) | {"region": np.repeat(["a", "b", "c"], 4), "periods": range(2001, 2007)}


def as_frame(rng, effect=0.5):
    arrays = draw(rng, effect)
    units = [f"{number}" for number in range(1, UNITS + 1)]
    return pd.DataFrame({
        "city": np.tile(units, PERIODS), "year": np.repeat(range(2001, 2007), UNITS),
        "region": np.tile(np.repeat(["a", "b", "c"], 4), PERIODS),
        **{name: values.ravel() for name, values in arrays.items()},
    })  # fmt: skip


def as_panel(rng, effect=0.5):
    arrays = {name: values[None].copy() for name, values in draw(rng, effect).items()}
    units = tuple(str(number) for number in range(1, UNITS + 1))
    return Panel(units, tuple(range(2001, 2007)), arrays, attributes={"region": np.repeat(["a", "b", "c"], 4)})


def test_a_table_a_dict_and_a_panel_are_one_world() -> None:
    errors = ("cluster:region",)
    found = [run(small(draw=way, fit=[fit, TwoWayDID(errors=errors)], unit="city", period="year"))
             for way in (as_dict, as_frame, as_panel)]  # fmt: skip
    for other in found[1:]:
        for name, field in (("fit", "estimate"), ("did", "estimate"), ("did", "se")):
            assert np.array_equal(estimates(found[0], name, 0, field), estimates(other, name, 0, field))
    assert (estimates(found[0], "did", 0, "se") > 0).all()
    panels = [trial_panel(small(draw=way, unit="city", period="year").design) for way in (as_dict, as_frame, as_panel)]
    assert len({panel.digest for panel in panels}) == 1


def by_panel(panel):
    return fit(panel.variables["y"][0], panel.variables["did"][0])


def by_annotation(sample: Panel):
    return by_panel(sample)


def by_table(data):
    return two_way(data)["did"]


def test_a_fit_is_given_what_its_parameter_names() -> None:
    records = run(small(fit=[fit, by_panel, by_annotation, by_table]))
    for name in ("by-panel", "by-annotation"):
        assert np.array_equal(estimates(records, "fit"), estimates(records, name))
    np.testing.assert_allclose(estimates(records, "fit"), estimates(records, "by-table"), rtol=1e-12)


def test_errors_by_name_stand_under_their_names() -> None:
    @pp.estimator(terms=["did"], errors=["hc1", "cluster"])
    def by_error_type(y, did):
        return fit(y, did)[0], {"cluster": 2.0, "hc1": 1.0}, {"hc1": 9}

    found = by_error_type()(as_panel(np.random.default_rng(1)))
    np.testing.assert_array_equal(found.se[0, :, 0], [1, 2])
    np.testing.assert_array_equal(found.dof[0, :, 0], [9, np.inf])


def test_a_fit_that_draws_has_a_generator_of_its_own_in_every_replication() -> None:
    def noisy(rng, y, did, scale=0.1):
        return fit(y, did)[0] + scale * rng.standard_normal(), scale

    study = small(fit=noisy)
    one, other = run(study), run(small(fit=noisy, block=128))
    assert np.array_equal(estimates(one, "noisy"), estimates(other, "noisy"))
    added = estimates(one, "noisy") - estimates(run(small()), "fit")
    assert abs(added.std() / 0.1 - 1) < 4 / np.sqrt(2 * 128)


TRUTHS = {
    "a number": (0.5, {"att": 0.5}),
    "a dial": ("effect", {"att": 0.5}),
    "a dict": ({"att": "effect", "beta(did)": 0.5, "rho": 0}, {"att": 0.5, "beta(did)": 0.5, "rho": 0.0}),
    "a function of dials": (lambda effect, sd: {"att": effect * sd}, {"att": 0.5}),
    "a function of the panel": (lambda panel: panel.variables["did"].sum(), {"att": 18.0}),
    "a function of what was drawn": ({"cells": lambda data: data["did"].sum()}, {"cells": 18.0}),
    "nothing": (None, {}),
}


@pytest.mark.parametrize("case", TRUTHS)
def test_a_truth_is(case: str) -> None:
    truth, wanted = TRUTHS[case]
    design = small(truth=truth).design
    names = ("att", "beta(did)", "rho", "cells")
    drawn = design.draw(Streams(1, stop=3), Wanted(frozenset(), names)).truth
    for name in names:
        np.testing.assert_array_equal(drawn[name], np.full(3, wanted.get(name, np.nan)))


def test_a_draw_may_return_its_truth_beside_the_panel() -> None:
    def own(rng, sd=1.0):
        effect = rng.standard_normal()
        return {"y": effect * DID + sd * rng.standard_normal(DID.shape), "did": DID}, effect

    def scaled(y, did):
        return fit(y, did)

    records = run(small(draw=own, truth=None, fit=scaled, replications=1024))
    truths = np.concatenate([block.truth["att"] for block in records.blocks(0)])
    refuses("returned a truth beside truth = ", lambda: small(draw=own, truth="sd", fit=scaled).design.schema)
    errors = estimates(records, "scaled")[:, 0] - truths
    assert truths.std() > 0.9
    assert abs(errors.mean()) < 4 * errors.std() / np.sqrt(errors.size)
    assert errors.std() < 0.7


def test_what_a_fixed_generator_draws_is_the_same_in_every_replication_and_another_in_every_cell() -> None:
    def fixed_places(rng, fixed_rng, spread: float = 1.0):
        x = spread * fixed_rng.standard_normal(UNITS)
        return {"y": x + rng.standard_normal((PERIODS, UNITS)), "x": np.tile(x, (PERIODS, 1)), "place": x}

    study = small(draw=fixed_places, truth=None, fit=lambda y: y.mean(), grid={"spread": [1.0, 2.0]})
    assert (study.design.held_fixed, small().design.held_fixed) == (("what fixed_rng draws",), ())
    tiles = [cell.design.settle(cell.streams(5)).draw(cell.streams(5).tile(32, 64), study.wanted(cell)).panel
             for cell in study.cells]  # fmt: skip
    for panel in tiles:
        assert (panel.variables["x"] == panel.variables["x"][:1]).all()
        assert panel.variables["y"].std(axis=0).min() > 0.1
        np.testing.assert_array_equal(panel.attributes["place"], panel.variables["x"][0, 0])
    assert not np.allclose(tiles[1].attributes["place"], 2 * tiles[0].attributes["place"])


@pp.design(truth={"att": "effect", "beta(did)": "effect"}, batched=True)
def many(streams, effect: float = 0.5):
    """A world that draws all replications at once."""
    return {"y": effect * DID + streams.normals("errors", PERIODS, UNITS), "did": DID[None]}


@pp.estimator(batched=True, terms=["did"])
def batch_fit(y, did):
    return fit(y, did)


def test_batched_functions_give_the_numbers_of_single_ones() -> None:
    study = pp.Study("many", many(), (batch_fit(), small().estimators[0], TwoWayDID()), replications=256, block=64)
    records = run(study)
    for name in ("fit", "did"):
        np.testing.assert_allclose(estimates(records, "batch-fit"), estimates(records, name), rtol=1e-12)
    both = (estimates(records, name, 0, "se") for name in ("fit", "batch-fit"))
    np.testing.assert_allclose(*both, rtol=1e-12)
    again = run(pp.Study("many", many(), (batch_fit(),), replications=256, block=256))
    assert np.array_equal(estimates(records, "batch-fit"), estimates(again, "batch-fit"))


def test_fits_that_fail_are_counted_and_keep_their_reason() -> None:
    def fragile(y, did):
        if y[0, 0] > 1.5:
            raise ZeroDivisionError("made up")
        return None if y[0, 0] < -1.5 else fit(y, did)

    records = run(small(fit=fragile, replications=256))
    counts = Counter(estimates(records, "fragile", 0, "status").tolist())
    assert counts[Status.OK] + counts[Status.ERROR] + counts[Status.NOT_CONVERGED] == 256
    assert counts[Status.ERROR] > 5 < counts[Status.NOT_CONVERGED]
    texts = [text for block in records.blocks(0) for text in block.tracebacks.values()]
    assert texts
    assert all("made up" in text and "fragile" in text for text in texts)


def test_several_terms_and_error_types() -> None:
    def error_types(y, did):
        estimate, se, _ = fit(y, did)
        level = (y.mean(), {"welch": 1.0, "double": 2.0})
        return {"did": (estimate, {"welch": se, "double": 2 * se}, 10), "level": level}

    one = small(truth={"slope": "effect"})  # of one estimand, which an estimate without a term is held to
    (layout,) = one.layouts(one.design.schema).values()
    assert (layout.terms, layout.targets) == (("slope",), {"slope": "slope"})
    study = small(fit=error_types)
    (layout,) = study.layouts(study.design.schema).values()
    assert (layout.terms, layout.errors) == (("did", "level"), ("welch", "double"))
    assert layout.targets == {"did": "att", "level": "level"}
    block = next(iter(run(study).blocks(0))).estimates["error-types"]
    np.testing.assert_allclose(block.se[:, 1, 0], 2 * block.se[:, 0, 0])
    assert np.unique(block.dof, axis=0).tolist() == [[[10.0, np.inf]] * 2]


def test_controls_and_weights_serve_other_estimators() -> None:
    def weighted(rng, effect=0.5):
        where = np.random.default_rng(3).uniform(size=(2, UNITS)) * 10
        w = knn(tuple(str(number) for number in range(1, UNITS + 1)), *where, k=3)
        return draw(rng, effect) | {"knn-3": w, "x": rng.standard_normal((PERIODS, UNITS))}

    study = small(draw=weighted, fit=[pp.SpatialPanel("sdm"), fit], controls=["x"])
    records = run(study.resized(replications=64))
    assert study.design.schema.weights == ("knn-3",)
    assert all((item.status == Status.OK).all() for item in next(iter(records.blocks(0))).estimates.values())


def with_gaps(rng, effect=0.5, share=0.2):
    arrays = draw(rng, effect)
    seen = rng.uniform(size=DID.shape) > share
    seen[[0, -1]] = True
    return {"y": np.where(seen, arrays["y"], np.nan), "did": DID, "observed": seen}


def rows_of_gaps(rng, effect=0.5):
    """Rows are missing anywhere, so that another unit is the first in each draw."""
    keys = {"period": np.repeat(range(PERIODS), UNITS), "unit": [f"u{i}" for i in range(UNITS)] * PERIODS}
    frame = pd.DataFrame(keys | {name: values.ravel() for name, values in draw(rng, effect).items()})
    return frame[rng.uniform(size=len(frame)) > 0.05]


def rows_seen(df):
    return {"rows": len(df), "did": df["y"].mean()}


@pytest.mark.parametrize("way", [with_gaps, rows_of_gaps])
def test_gaps_of_each_draw_are_its_own_and_units_in_one_order(way: Any) -> None:
    study = small(draw=way, fit=[rows_seen, TwoWayDID(errors=("iid",))], replications=64)
    (block,) = (block.estimates for block in run(study).blocks(0))
    counts = block["rows-seen"].estimate[:, 0]
    np.testing.assert_array_equal(counts, block["did"].statistics["nobs"])
    assert counts.std() > 1
    drawn = study.design.draw(Streams(4, stop=3)).panel
    assert np.diff([int(unit.removeprefix("u")) for unit in drawn.units]).tolist() == [1] * (UNITS - 1)
    (generator,) = Streams(4).tile(2, 3).each("draw")
    fitted = TwoWayDID(errors=("iid",))(drawn.replication(2))
    np.testing.assert_allclose(fitted.estimate, trial_of(way(generator)), rtol=1e-10)


def trial_of(drawn: Any) -> float:
    """Two-way DID by dummies on the rows that were drawn."""
    if isinstance(drawn, dict):
        t, i = np.nonzero(drawn["observed"])
        y, d = drawn["y"][t, i], drawn["did"][t, i]
    else:
        t, y, d = (drawn[name].to_numpy() for name in ("period", "y", "did"))
        i = drawn["unit"].str[1:].astype(int).to_numpy()
    x = np.column_stack([d, np.eye(UNITS)[i], np.eye(PERIODS)[t][:, 1:]])
    return float(np.linalg.lstsq(x, y, rcond=None)[0][0])


def test_a_world_whose_trial_draw_is_whole_has_no_gaps_later() -> None:
    def seldom(rng, effect=0.5):
        drawn = draw(rng, effect)
        return drawn | ({"observed": np.arange(UNITS) + 0 * DID > 0} if rng.uniform() > 0.9 else {})

    refuses(r"a draw has gaps, and the trial draw had none; .*observed", lambda: run(small(draw=seldom)))


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
scale = 1
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A study file and the module that it names."""
    (tmp_path / "made_up_plug.py").write_text(MODULE)
    (tmp_path / "study.toml").write_text(STUDY)
    yield tmp_path
    sys.modules.pop("made_up_plug", None)
    if str(tmp_path) in sys.path:
        sys.path.remove(str(tmp_path))


def panelproof(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return commands.run(folder, *arguments, env={**os.environ, "COLUMNS": "200"})


def test_functions_of_a_module_are_classes_like_others(folder: Path) -> None:
    study = Study.from_toml(folder / "study.toml")
    world, estimator = find_design("made_up_plug:two_groups"), find_estimator("made_up_plug:change")
    assert (world.kind, world.__name__, world.__module__) == ("two-groups", "two_groups", "made_up_plug")
    assert study.design == world(units=12, effect=0.5)  # type: ignore[call-arg]
    assert (study.estimators[0].terms, study.estimators[0].errors) == (("att",), ("own",))  # type: ignore[attr-defined]
    assert estimator(scale=2.0).label == "change"  # type: ignore[call-arg, attr-defined]
    assert Study.from_settings(study.settings).fingerprint == study.fingerprint
    for dial, words in (({"size": 3}, r"unknown key 'size'.*units, effect"), ({"units": "many"}, "units")):
        wrong = study.settings | {"design": {"kind": "made_up_plug:two_groups"} | dial}
        refuses(words, lambda wrong=wrong: Study.from_settings(wrong))


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
    assert (run_command(command), run_command([*command, "--load-code"])) == (2, 0)


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


@pytest.mark.long
def test_functions_of_a_script_run_on_workers_resume_and_are_replayed(tmp_path: Path) -> None:
    """There alone; a report of its store is made anywhere."""
    printed = []
    longer = SCRIPT.replace("if __name__", "print('another line of the script')\n\nif __name__")
    for text, *arguments in ((SCRIPT, "serial", 256), (SCRIPT, "workers", 128, "workers"), (longer, "workers", 256)):
        (tmp_path / str(arguments[0])).mkdir(exist_ok=True)
        (tmp_path / "mine.py").write_text(text)
        done = subprocess.run([sys.executable, "mine.py", *map(str, arguments)], cwd=tmp_path, capture_output=True,
                              env=os.environ | {"PYTHONPATH": str(Path(pp.__file__).parent)}, text=True,
                              timeout=240)  # fmt: skip
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout.split()[-1])
    assert printed[0] == printed[2]
    assert "change" in panelproof(tmp_path / "serial", "report", "x.zarr").stdout
    refused = panelproof(tmp_path / "serial", "replay", "x.zarr", "0", "1")
    assert refused.returncode == 2
    assert "the function 'draw' is not here" in refused.stderr
    assert "do this from the script" in " ".join(refused.stderr.split())


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


def mean(y):
    return y.mean()


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
    "a mask": ({"draw": lambda rng: {"y": np.ma.masked_equal(np.eye(3), 1), "did": np.eye(3)}}, "variable 'y' is nan"),
    "not finite": ({"draw": lambda rng: {"y": np.full((2, 3), np.nan)}}, "variable 'y' is nan"),
    "no such outcome": ({"outcome": "z"}, "no variable 'z'; allowed: y, did"),
    "no such dial of the truth": ({"truth": "efect"}, "the truth of att is 'efect', which is no dial; .*'effect'"),
    "a truth that is a list": ({"truth": lambda effect: [1, 2]}, r"the truth of att is of shape \(2,\)"),
    "a truth of an unknown parameter": ({"truth": lambda size: size}, "parameter 'size' is not known; allowed: effect"),
    "a name of an estimand": ({"truth": {"My ATT": 1.0}}, "'My ATT' is no name of an estimand"),
    "no such dial": ({"grid": {"efect": [1]}}, "no dial 'efect'"),
    "no such dial in dials": ({"dials": {"efect": 1}}, "no dial 'efect'; allowed: effect"),
    "other sizes": ({"draw": lambda rng: {"y": rng.standard_normal((6, 12 + int(rng.integers(2))))}},
                    "units differ between draws"),
    "other attributes": ({"draw": lambda rng: draw(rng) | {"place": rng.standard_normal(12)}},
                         "place of units differ between draws; .* fixed_rng"),
    "global numbers": ({"draw": lambda rng: {"y": np.random.standard_normal((6, 12)), "did": DID}},  # noqa: NPY002
                       "other numbers of y when the same replications were drawn twice"),
    "a raise": ({"draw": lambda rng: {}["y"]}, "draw raised KeyError: 'y'"),
    "a fit of nothing": ({"fit": lambda: 1}, "no parameter without a default; allowed: panel, df"),
    "a fit of an unknown variable": ({"fit": lambda z: 1}, "parameter 'z' is nothing of the panel; .* rng, y, did"),
    "a fit that raises": ({"fit": lambda y: y["no"]}, "a trial fit raised IndexError"),
    "a fit without an answer": ({"fit": lambda y: None}, "a trial fit gave no answer"),
    "a fit that returns text": ({"fit": lambda y: "no"}, "returned str; allowed: an estimate"),
    "a fit that returns a list": ({"fit": lambda y: [1.0, 0.5]}, "returned list; allowed: an estimate"),
    "a fit that returns four": ({"fit": lambda y: (1.0, 0.5, 9, 3)}, "returned tuple; allowed: an estimate"),
    "two errors without names": ({"fit": lambda y: (1.0, [1.0, 2.0])}, "returned 2 standard errors of a term"),
    "no fit": ({"fit": None}, "fit is NoneType; allowed: a function or an estimator"),
    "a name that is no text": ({"fit": {1: mean}}, "fit has the name 1; allowed: .* texts"),
    "a variable called as its units are": ({"draw": lambda rng: draw(rng) | {"unit": DID}, "fit": lambda df: 1.0},
                                           "a variable is called 'unit', .*unit = "),
    "two of one name": ({"fit": [mean, mean]}, "estimators share a name: mean"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_in_one_line(case: str) -> None:
    changes, message = WRONG[case]
    settings: dict[str, Any] = {"draw": draw, "fit": mean, "replications": 64, "block": 64}
    with pytest.raises(BadInput, match=message) as error:
        run(pp.Study.from_functions(**(settings | changes)))
    for line in str(error.value).splitlines():
        assert line.count("; ") >= 2


@pytest.mark.parametrize(("answer", "said"), [
    ((1.0, {"hc1": 0.5, "cl": 0.6}, {"hc1": 10, "cluster": 5}), "the error type cluster; allowed: hc1, cl"),
    ((1.0, {"hc1": 0.5, "cl": 0.6, "hc3": 0.7}), "the error type hc3; allowed: hc1, cl"),
    ((1.0 + 2.0j, {"hc1": 0.5, "cl": 0.6}), "returned complex numbers; allowed: real numbers"),
    (np.sqrt(-4 + 0j), "returned complex numbers"),
])  # fmt: skip
def test_what_a_function_says_beyond_its_terms_and_errors_is_refused(answer: Any, said: str) -> None:
    fit = pp.estimator(terms=["did"], errors=["hc1", "cl"])(lambda df: answer)()
    with pytest.raises(BadInput, match=said):
        fit(pp.example_panel().panel)


@pytest.mark.parametrize("answer", [(1.0, np.array([0.5, 0.6])), (1.0, "half"), (np.array([1.0, 2.0]), 0.5)])
def test_numbers_that_are_not_of_one_fit_are_one_line(answer: tuple[Any, ...]) -> None:
    fit = pp.estimator(terms=["did"])(lambda df: answer)()
    refuses("returned no numbers of one fit for did; allowed: an estimate", lambda: fit(pp.example_panel().panel))


def test_a_batch_is_not_one_number() -> None:
    """A mean over all axes would be the estimate of every panel; of one panel it is its own."""
    panel = Panel(("a", "b"), (1, 2), {"y": np.arange(12.0).reshape(3, 2, 2)}, Roles("y"))
    fit = pp.estimator(terms=["mean"], errors=[], batched=True)(lambda y: y.mean())()
    refuses(r"returned one number for 3 panels; allowed: an array \(3,\)", fit, panel)
    assert fit(panel.replication(2)).estimate.item() == 9.5


@pytest.mark.parametrize(("answer", "place"), [((np.ma.masked, 1.0), 0), (np.ma.masked, 0), ((1.0, np.ma.masked), 1)])
def test_what_is_masked_has_no_number(answer: Any, place: int) -> None:
    found = pp.estimator(terms=["did"])(lambda df: answer)()(pp.example_panel().panel)
    assert np.isnan([found.estimate[0, 0], found.se[0, 0, 0]][place])


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
    study = pp.Study.from_functions(draw=draw, fit=mean, replications=64, block=64)
    same = Study.from_settings(study.settings)
    assert (same.fingerprint, same.design) == (study.fingerprint, study.design)
    np.testing.assert_array_equal(*(estimates(run(one), "mean") for one in (same, study)))


def test_terms_of_a_decorator_serve_every_function_that_it_is_put_on() -> None:
    decorated = pp.estimator(terms=iter(["did", "other"]))
    assert [decorated(fit)().recipe.terms for _ in range(2)] == [("did", "other")] * 2
    single = pp.estimator(terms="did", errors="hc1")(fit)()  # a text is one name, and not its letters
    assert (single.terms, single.errors) == (("did",), ("hc1",))
    for name in ("terms", "errors", "targets", "label"):  # what is wrong is said where it is written
        refuses(f"{name} = 5", pp.estimator, **{name: 5})


def test_an_answer_that_could_be_misread_is_refused() -> None:
    panel = small().draw(0, 0)
    lone = pp.estimator(terms=["did"])(lambda y: y.mean())
    refuses("no standard error of did, but does not say errors=", lambda: lone()(panel))
    assert np.isnan(pp.estimator(terms=["did"])(lambda y: np.nan)()(panel).estimate).all()
    refuses("a dict with 'estimate', 'se'", small, fit=lambda y: {"estimate": y.mean(), "se": 1.0})
    named = pp.estimator(terms=["estimate", "se"], errors=[])(lambda y: {"estimate": 1.0, "se": 2.0})
    assert named()(panel).estimate.tolist() == [[1.0, 2.0]]
