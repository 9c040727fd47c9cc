"""What users get wrong in panels, specs, study files, worlds and commands: each is told in whole lines, with exit code
2 and nothing written; and names that are unusual but fine."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import made_cities
import numpy as np
import pandas as pd
import pytest
from commands import here
from long_tables import load_panel

import panelproof as pp
from estimators import SpatialPanel, TwoWayDID
from experiments.panel_spec.first_spec import EXAMPLE_SPEC, example_frame
from experiments.panel_spec.spec import read_spec
from experiments.run.runner import run
from experiments.study import Study
from sim.real_panels import Observed

Edit = Callable[[pd.DataFrame], pd.DataFrame]
Words = tuple[str, ...]


def refused(arguments: list[str], words: Words) -> list[str]:
    """Every line of the message is whole, and among them stand the words."""
    out, err = here(*arguments, code=2)
    assert out == "" or arguments[0] == "panel"  # which shows the panel that it read
    lines = err.strip().splitlines()
    assert lines
    assert all(line.startswith("panelproof: ") for line in lines), err
    assert max(line.partition("allowed: ")[2].partition(";")[0].count(", ") for line in lines) <= 8, err
    assert [word for word in words if word not in err] == [], err
    return [line.removeprefix("panelproof: ") for line in lines]


# Panels and specs

MORE = f'{made_cities.PLACES}[inference]\ndraws = 99\n[[weights]]\nkind = "knn"\nk = 3\n'
SPEC = made_cities.spec("law", ("x", "z"), MORE)


def table() -> pd.DataFrame:
    """Twelve cities over six years; four adopt in 2003."""
    frame = pd.DataFrame({"code": np.repeat(np.arange(12), 6), "year": np.tile(np.arange(2000, 2006), 12)})
    frame["city"] = [f"c{code}" for code in frame["code"]]
    frame["law"] = ((frame["code"] < 4) & (frame["year"] >= 2003)).astype(int)
    frame["start"] = np.where(frame["code"] < 4, 2003, np.nan)
    frame[["y", "x", "z"]] = np.random.default_rng(8).normal(size=(72, 3))
    frame["lon"], frame["lat"] = frame["code"] % 4, frame["code"] // 4 + 0.1 * frame["code"]
    return frame


def cell(column: str, value: object, row: int = 40) -> Edit:
    """Another value in one cell."""
    return lambda frame: frame.assign(**{column: [value if at == row else old for at, old in enumerate(frame[column])]})


def spec(old: str, new: str) -> str:
    assert old in SPEC
    return SPEC.replace(old, new)


def w_of(path: str) -> str:
    return spec('kind = "knn"\nk = 3', f'kind = "file"\npath = "{path}"')


def same(frame: pd.DataFrame) -> pd.DataFrame:
    return frame


FIRST, EXTREME = spec('treatment = "law"', 'first_treated = "start"'), ("column 'y'", "another unit")
PANELS: dict[str, tuple[str, Edit, Words]] = {  # the spec, what is wrong with the panel, what is said
    "duplicated city-year": (SPEC, lambda f: pd.concat([f, f.iloc[[7]]]), ("duplicate",)),
    "text in a number column": (SPEC, cell("x", "many"), ("'x'", "many")),
    "infinite": (SPEC, cell("z", np.inf), ("'z'", "inf")),
    "empty cell in a control": (SPEC, cell("z", np.nan), ("'z'",)),
    "treatment that switches off": (SPEC, cell("law", 0, 5), ("2005",)),
    "treatment that is not 0 or 1": (SPEC, cell("law", 2), ("the treatment is 2", "0 or 1")),
    "nobody treated": (SPEC, lambda f: f.assign(law=0), ("treated",)),
    "everybody always treated": (SPEC, lambda f: f.assign(law=1), ("treated",)),
    "treatment of all at once": (SPEC, lambda f: f.assign(law=(f["year"] > 2002).astype(int)),
                                 ("panel.csv, column 'law'; is absorbed by the unit and time effects",)),
    "the same by its first year": (FIRST, lambda f: f.assign(start=2003.0),
                                   ("panel.csv, column 'start'; is absorbed",)),
    "first years as a treatment": (spec('treatment = "law"', 'treatment = "start"'),
                                   lambda f: f.assign(start=f["start"].fillna(0) + (f["code"] == 9) * 2002),
                                   ('it looks like first treated periods: say first_treated = "start"',)),
    "constant outcome": (SPEC, lambda f: f.assign(y=1.0),
                         ("panel.csv, column 'y'; is constant", "name another outcome")),
    "outcome that the effects absorb": (SPEC, lambda f: f.assign(y=f["lat"]), ("column 'y'", "absorbed")),
    "outcome of the controls": (SPEC, lambda f: f.assign(y=f["x"] - f["z"]),
                                ("column 'y'; is collinear with law, x, z", "remove the controls that determine it")),
    "outcome of the treatment": (SPEC, lambda f: f.assign(y=2.0 * f["law"] + 1),
                                 ("column 'y'; is collinear with law and the effects", "name another outcome")),
    "outcome whose squares overflow": (SPEC, lambda f: f.assign(y=1e155 * f["y"]), EXTREME),
    "outcome whose squares vanish": (SPEC, lambda f: f.assign(y=1e-160 * f["y"]), EXTREME),
    "constant control": (SPEC, lambda f: f.assign(z=1.0), ("column 'z'; is constant", "remove it from the controls")),
    "control that the effects absorb": (SPEC, lambda f: f.assign(z=f["lat"]), ("'z'", "absorbed")),
    "collinear controls": (SPEC, lambda f: f.assign(z=2 * f["x"] + 1), ("'z'", "collinear")),
    "gaps and weights": (SPEC, lambda f: f.drop(index=7), ("1 unit-period is missing: c1 in 2001", "drop-units")),
    "year as text": (SPEC, cell("year", "MMVI"), ("'year'",)),
    "latitude out of range": (SPEC, lambda f: f.assign(lat=95.0), ("lat",)),
    "one city": (SPEC, lambda f: f[f["code"] == 0], ("unit",)),
    "no rows": (SPEC, lambda f: f.iloc[:0], ("rows",)),
    "one cluster": (spec("[inference]", 'cluster = "land"\n[inference]'), lambda f: f.assign(land="a"),
                    ("spec.toml, [panel] cluster; cluster:land has 1 cluster; allowed: 2 or more clusters",)),
    "one cluster of an error type": (spec("draws = 99", 'draws = 99\nerrors = ["wild:land"]'),
                                     lambda f: f.assign(land="a"),
                                     ("spec.toml, [inference] errors; wild:land has 1 cluster",)),
    "nothing to estimate": (spec('treatment = "law"\n', "").replace('"x", "z"', "").partition("[[")[0], same,
                            ("spec.toml, [panel]; there is neither a treatment nor a control",)),
    "unknown key": (spec("controls", "contols"), same, ("contols", "controls")),
    "column that is not there": (spec('"y"', '"yy"'), same, ("yy", "y")),
    "not TOML": ("[panel\nunit = ", same, ("TOML",)),
    "W of another size": (w_of("w.npy"), same, ("12",)),
    "W with an empty row": (w_of("empty_row.npy"), same, ("without neighbours",)),
}  # fmt: skip


def said(folder: Path, case: tuple[str, Edit, Words]) -> list[str]:
    """What both commands say of a panel and a spec, by line; they must say the same, and write nothing."""
    text, edit, words = case
    edit(table()).to_csv(folder / "panel.csv", index=False)
    (folder / "spec.toml").write_text(text, encoding="utf-8")
    np.save(folder / "w.npy", np.ones((5, 5)) - np.eye(5))
    np.save(folder / "empty_row.npy", (np.ones((12, 12)) - np.eye(12)) * (np.arange(12) != 3)[:, None])
    files = [str(folder / "panel.csv"), "--spec", str(folder / "spec.toml")]
    lines = refused(["panel", "check", *files], words)
    assert refused(["estimate", *files, "--out", str(folder / "out")], words) == lines
    assert not (folder / "out").exists()
    return lines


@pytest.mark.parametrize("name", PANELS)
def test_both_commands_refuse_in_the_users_names(name: str, tmp_path: Path) -> None:
    (line,) = said(tmp_path, PANELS[name])
    assert "'did" not in line


def test_everything_at_once(tmp_path: Path) -> None:
    lines = said(tmp_path, (SPEC, lambda f: f.assign(y=2.0, z=f["code"]).drop(index=7), ()))
    assert [line.partition(";")[0] for line in lines] == [
        "a model of this panel's balanced part", "panel.csv, column 'z'", "panel.csv, column 'y'",
    ]  # fmt: skip


NAMES = {"x": "人均GDP(元)", "z": "GDP (yuan, 2000)", "y": "f(x"}


def named(folder: Path, text: str, names: dict[str, str]) -> list[str]:
    """Files of the panel and a spec with other names of columns."""
    for plain, odd in names.items():
        text = text.replace(f'"{plain}"', f'"{odd}"')
    table().rename(columns=names).to_csv(folder / "panel.csv", index=False)
    (folder / "spec.toml").write_text(text, encoding="utf-8")
    return [str(folder / "panel.csv"), "--spec", str(folder / "spec.toml")]


def test_any_name_goes_through_all_of_estimate(tmp_path: Path) -> None:
    found = []
    for names in ({}, NAMES):
        files = named(tmp_path, spec('"x", "z"]', '"x"]\nmediators = ["z"]'), names)
        options = ["--out", tmp_path, "--format", "html,tex,docx"] if names else []
        found.append(json.loads(here("estimate", *files, "--json", *options).out)["records"])

    def renamed(term: str | None) -> str | None:
        return term and re.sub(r"^(direct:|indirect:|total:|w_)?([xyz])$", lambda m: (m[1] or "") + NAMES[m[2]], term)

    assert len(found[0]) > 100
    for one, other in zip(*found, strict=True):
        assert one["estimate"] == other["estimate"]
        assert renamed(one["term"]) == other["term"]


def test_any_name_goes_through_a_study_and_its_store(tmp_path: Path) -> None:
    panel_file, _, spec_file = named(tmp_path, SPEC, NAMES)
    estimators: tuple[Any, ...] = (TwoWayDID(), SpatialPanel("sdm"))
    study = Study("odd names", Observed(load_panel(panel_file, read_spec(spec_file))), estimators, replications=1,
                  block=64)  # fmt: skip
    kept, stored = run(study), run(study, store=tmp_path / "odd.zarr")
    for estimator in estimators:
        one, other = (next(iter(store.blocks(0))).estimates[estimator.name] for store in (kept, stored))
        assert "GDP (yuan, 2000)" in other.terms
        assert one.terms == other.terms
        np.testing.assert_array_equal(one.estimate, other.estimate)


# Study files

STUDY = """
replications = 64
[design]
kind = "paper"
[[estimators]]
kind = "did"
"""
STUDIES: dict[str, tuple[str, Words]] = {
    "unknown estimator": (STUDY.replace('"did"', '"dod"'), ("dod", "did")),
    "unknown design": (STUDY.replace('"paper"', '"papers"'), ("papers", "paper")),
    "unknown dial": (STUDY.replace('"paper"', '"paper"\nefect = 1'), ("efect", "effect")),
    "dial of another type": (STUDY.replace('"paper"', '"paper"\neffect = "big"'), ("effect", "big")),
    "dial out of range": (STUDY.replace('"paper"', '"paper"\nserial = 1.5'), ("serial", "1.5")),
    "negative replications": (STUDY.replace("64", "-64"), ("replications = -64",)),
    "replications as text": (STUDY.replace("64", '"many"'), ("replications", "many")),
    "block that is no multiple of 64": ("block = 100\n" + STUDY, ("block = 100", "multiple of 64")),
    "grid over nothing": (STUDY + "[grid]\neffct = [0.0]\n", ("effct", "effect")),
    "grid without a list": (STUDY + "[grid]\neffect = 0.0\n", ("effect", "list")),
    "unknown key": ("replicatons = 3\n" + STUDY, ("replicatons", "replications")),
    "no estimators": (STUDY.partition("[[")[0], ("estimators",)),
    "two estimators of one name": (STUDY + '[[estimators]]\nkind = "did"\n', ("did", "label")),
    "unknown error type": (STUDY + 'errors = ["hc9"]\n', ("hc9", "hc1")),
    "no error types": (STUDY + "errors = []\n", ("errors",)),
    "label of the store's own": (STUDY + 'label = "truth"\n', ("truth", "label")),
    "label that leaves the store": (STUDY + 'label = "../x"\n', ("../x", "label")),
    "target that is no estimand": (STUDY + 'target = "att("\n', ("att(",)),
    "dial that is not finite": (STUDY.replace('"paper"', '"paper"\neffect = nan'), ("effect = nan", "finite")),
    "values of a dial that are one": (STUDY + "[grid]\neffect = [0, 0.0]\n", ("values of effect repeat",)),
    "dial that the grid overrides": (STUDY.replace('"paper"', '"paper"\nserial = 0.3') + "[grid]\nserial = [0.1]\n",
                                     ("serial is set in [design] and in [grid]", "leave serial out of [design]")),
    "too many replications": (STUDY.replace("64", "99999999999999"), ("replications",)),
    "observed design": (STUDY.replace('"paper"', '"observed"'), ("observed", "estimate")),
    "name that leaves the folder": ('name = "../evil"\n' + STUDY, ("../evil",)),
    "object that is not there": (STUDY.replace('"did"', '"nowhere:Thing"'), ("nowhere:Thing",)),
    "regressor that is not there": (STUDY + 'regressors = ["wealth"]\n', ("wealth",)),
}  # fmt: skip


@pytest.mark.parametrize("name", STUDIES)
def test_malformed_study(name: str, tmp_path: Path) -> None:
    text, words = STUDIES[name]
    (tmp_path / "study.toml").write_text(text, encoding="utf-8")
    refused(["run", str(tmp_path / "study.toml"), "--cluster", "serial", "--store", str(tmp_path / "x.zarr")], words)
    assert [path.name for path in tmp_path.iterdir()] == ["study.toml"]


# Commands

COMMANDS: dict[str, tuple[list[str], Words]] = {
    "no such study": (["run", "bais"], ("bais", "bias")),
    "directory as a study": (["run", "{folder}/"], ("directory",)),
    "scheduler without a port": (["run", "bias", "--cluster", "tcp://localhost"], ("port",)),
    "page of another name": (["run", "bias", "--html", "study.toml"], (".html",)),
    "alpha that is no number": (["report", "{folder}", "--alpha", "nan"], ("alpha",)),
    "alpha of a comparison": (["compare", "a.zarr", "b.zarr", "--alpha", "nan"],
                              ("--alpha; alpha = nan; allowed: a number between 0 and 1",)),
    "store under a file": (["run", "bias", "--cluster", "serial", "--store", "{folder}/empty.csv/x.zarr"],
                           ("empty.csv",)),
    "unknown cluster": (["run", "bias", "--cluster", "slrm"], ("slrm", "local")),
    "another machine by plain tcp": (["run", "bias", "--cluster", "tcp://192.0.2.1:8786"], ("tls",)),
    "negative workers": (["run", "bias", "--workers", "-1"], ("workers",)),
    "workers without a local cluster": (["run", "bias", "--cluster", "serial", "--workers", "2"], ("--workers",)),
    "report of nothing": (["report", "{folder}/nothing.zarr"], ("nothing.zarr",)),
    "report of a folder that is no store": (
        ["report", "{folder}"], ("; is no store: it has no zarr.json; allowed: a folder that `panelproof run` made",)),
    "check of a folder of stores": (["store", "verify", "{folder}"], ("is no store",)),
    "run into an empty folder": (["run", "bias", "--cluster", "serial", "--store", "{folder}/nobody"],
                                 ("is an empty folder, no store",)),
    "directory as a panel": (["panel", "check", "{folder}", "--spec", "{folder}"], ("director",)),
    "empty panel file": (["init", "{folder}/empty.csv"], ("empty",)),
    "panel of an unknown kind": (["init", "{folder}/panel.pdf"], (".pdf", ".csv")),
    "unknown format": (["estimate", "p.csv", "--spec", "s.toml", "--format", "odt"],
                       ("format odt; allowed: json, csv, docx, html, rtf, tex, xlsx, pdf, png;",)),
    "a format without a folder": (["estimate", "p.csv", "--spec", "s.toml", "--format", "html"], ("--out",)),
    "errors that no model has": (["estimate", "{folder}/example.csv", "--spec", "{folder}/spec.toml", "--errors", "hc9",
                                  "--out", "{folder}/o"], ("hc9", "cluster:unit")),
    "replay of nothing": (["replay", "{folder}/nothing.zarr", "0", "0"], ("nothing.zarr",)),
    "misspelt command": (["estimte"], ("no command 'estimte'; did you mean 'estimate'?; allowed: estimate, ",)),
    "misspelt command of a group": (["store", "inf", "x.zarr"], ("'inf'", "info")),
    "command of no group": (["panel", "init", "x.csv"],
                            ("No such command 'init'. Did you mean `panelproof init`? See `panelproof panel",)),
    "command of another group": (["store", "report", "x.zarr"], ("Did you mean `panelproof report`?",)),
    "spec below a file": (["init", "{folder}/example.csv", "--out", "{folder}/example.csv/S.toml"],
                          ("example.csv; cannot be written: example.csv is a file; allowed: a writable folder",)),
    "option without its value": (["report", "x.zarr", "--html"], ("See `panelproof report --help`",)),
    "near command of a group": (["panel", "chek", "x.csv"], ("Did you mean 'check'?",)),
    "misspelt option": (["run", "bias", "--workrs", "2"], ("--workrs", "--workers")),
    "options before the command": (["--workers", "2", "run", "bias"], ("stand behind its name",)),
    "no workers": (["run", "bias", "--workers", "0"], ("--workers", "x>=1")),
    "no replications": (["run", "bias", "--replications", "0"], ("--replications",)),
    "replications in words": (["run", "bias", "--replications", "many"], ("'many'",)),
    "two studies": (["run", "bias", "size"], ("size",)),
    "no study": (["run"], ("STUDY",)),
    "empty study file": (["run", "{folder}/empty.toml"], ("no design is named", "no estimators")),
    "folder as a study, without a slash": (["run", "{folder}"], ("is a directory",)),
    "table as a study": (["run", "{folder}/panel.csv"], ("is not valid TOML",)),
    "store as a study": (["run", "{folder}/other.zarr"], ("is a store and no study", "panelproof report")),
    "study as a store": (["report", "bias"], ("is a study and no store", "runs/bias.zarr")),
    "study file as a store": (["compare", "{folder}/empty.toml", "b.zarr"], ("is a study and no store",)),
    "store of another program": (["store", "info", "{folder}/other.zarr"], ("of another program",)),
    "panel as a store": (["report", "{folder}/panel.csv"], ("panel.csv; ", "`panelproof run` made")),
    "one store to compare": (["compare", "{folder}/other.zarr"], ("'B'",)),
    "stores without a common cell": (["compare", "{stores}/one.zarr", "{stores}/cell.zarr"],
                                     ("nothing can be compared: they lack a cell in common",)),
    "stores without a common fit, as JSON": (
        ["compare", "{stores}/one.zarr", "{stores}/fit.zarr", "--json"],
        ("nothing can be compared: they lack fits of one estimator and term in common",)),
    "a folder of tables without a format": (["report", "{stores}/one.zarr", "--out", "{folder}/out"],
                                            ("--out; has no format to write; allowed: with --format: ",)),
    "JSON beside a table by dials": (["report", "{stores}/one.zarr", "--json", "--measure", "bias"],
                                     ("--json; --json beside a table by dials; allowed: one of the two",)),
    "page over a folder": (["report", "{folder}/other.zarr", "--html", "{folder}"], ("is a directory",)),
    "tables over a file": (["estimate", "p.csv", "--spec", "s", "--out", "{folder}/empty.csv"], ("is a file",)),
    "spec over a folder": (["init", "{folder}/panel.csv", "--out", "{folder}"], ("is a directory",)),
    "no spec": (["estimate", "{folder}/panel.csv"], ("--spec",)),
    "panel and spec in each other's place": (["estimate", "{folder}/empty.toml", "--spec", "{folder}/panel.csv"],
                                             ("panel.csv", "is not valid TOML")),
    "empty name of a study's store": (["run", "size", "--store", ""], ("what stands behind --store is empty",)),
    "empty name of placebos' store": (["placebo", "{folder}/panel.csv", "--spec", "{folder}/spec.toml", "--store", ""],
                                      ("what stands behind --store is empty",)),
    "empty name of a folder": (["estimate", "{folder}/panel.csv", "--spec", "{folder}/spec.toml", "--out", ""],
                               ("what stands behind --out is empty",)),
    "empty name of a store": (["report", ""], ("what stands behind report is empty",)),
    "dial that there is not": (["breakdown", "bias", "--dial", "serail"], ("did you mean 'serial'?",)),
    "kind that there is not": (["kinds", "didd"], ("did you mean 'did'?", "(all: `panelproof kinds`)")),
    "estimator that there is not, in a race": (["race", "{folder}/example.csv", "--spec", "{folder}/spec.toml", "--out",
                                                "{folder}/o.json", "--estimator", "dod"], ("did you mean 'did'?",)),
    "an old name of an option": (["report", "x.zarr", "--trust"], ("called --load-code now",)),
}  # fmt: skip


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three stores: one study, one of another cell, one of another estimator."""
    folder = tmp_path_factory.mktemp("stores")
    made = {"one": (0.0, TwoWayDID()), "cell": (0.1, TwoWayDID()), "fit": (0.0, SpatialPanel("sar"))}
    for name, (effect, estimator) in made.items():
        run(Study(name, pp.Paper(), (estimator,), {"effect": [effect]}, replications=64, block=64),
            store=folder / f"{name}.zarr")  # fmt: skip
    return folder


WRITTEN = {"empty.csv": "", "panel.pdf": "%PDF", "panel.csv": "city,year\na,2001\n", "empty.toml": "",
           "spec.toml": EXAMPLE_SPEC,
           "other.zarr/zarr.json": '{"zarr_format": 3, "node_type": "group", "attributes": {}}'}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_careless_command(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    arguments, words = COMMANDS[name]
    for folder in ("other.zarr", "nobody"):
        (tmp_path / folder).mkdir()
    for file, text in WRITTEN.items():
        (tmp_path / file).write_text(text)
    if "{folder}/example.csv" in arguments:
        example_frame().to_csv(tmp_path / "example.csv", index=False)
    made = request.getfixturevalue("stores") if "{stores}" in " ".join(arguments) else ""
    before = sorted(tmp_path.rglob("*"))
    refused([word.replace("{folder}", str(tmp_path)).replace("{stores}", str(made)) for word in arguments], words)
    assert sorted(tmp_path.rglob("*")) == before


def test_commands_that_are_printed_can_be_copied(stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names with spaces are quoted."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(stores / "one.zarr", "mine.zarr")
    for arguments, command in (
        (["panel", "example", "my panel"],
         "estimate 'my panel/panel.csv' --spec 'my panel/spec.toml' --out 'my panel/out'"),
        (["init", "my panel.csv"], "estimate 'my panel.csv' --spec SPEC.toml --out 'results-of-my panel'"),
        (["replicate", "my bundle", "--from", "mine.zarr"], "run it again: panelproof replicate 'my bundle'\n"),
    ):  # fmt: skip
        table().drop(columns="code").to_csv("my panel.csv", index=False)
        assert command in here(*arguments).out


def test_the_module_of_that_name_is_the_program_too() -> None:
    words = [sys.executable, "-m", "panelproof", "studies", "size"]
    assert subprocess.run(words, text=True, capture_output=True, check=True).stdout.startswith("size: ")


def test_names_in_brackets_are_shown_as_they_are(tmp_path: Path) -> None:
    """A terminal's markup knows [b] and [/b]; a column's name may hold either."""
    names = {"road": "road [log]", "book": "price [/kg]", "region": "place [/b]"}
    made_cities.frame().rename(columns=names).to_csv(tmp_path / "panel.csv", index=False)
    text = made_cities.PANEL.replace('"road", "book"', '"road [log]", "price [/kg]"') + 'groups = ["place [/b]"]\n'
    (tmp_path / "spec.toml").write_text(text)
    files, store = (tmp_path / "panel.csv", "--spec", tmp_path / "spec.toml"), tmp_path / "x.zarr"
    shown = here("panel", "check", *files).out
    assert "\nroad [log]   control" in shown
    assert "\nprice [/kg]  control" in shown
    assert "scheme strata:place [/b]" in here("placebo", *files, "--draws", 99, "--scheme", "strata:place [/b]").out
    here("twin", *files, "--method", "parametric", "--out", tmp_path / "twin")
    study = Study.from_toml(tmp_path / "twin" / "design.toml")
    run(dataclasses.replace(study, replications=study.block), store=store)
    shown = here("replay", store, 0, 7).out
    assert "road [log] " in shown
    assert "price [/kg] " in shown


# Worlds

WORLDS: dict[str, tuple[str, tuple[str, ...]]] = {  # name: what stands in the file, and a part of each line
    "negative sizes": ("units = -5\nperiods = 0",
                       ("[design]; units = -5; allowed: a whole number, 2 to 20,000", "periods = 0")),
    "a single period": ("periods = 1", ("[design.adoption]; periods = 1; allowed: 2 or more; correct periods",)),
    "cohorts of a single period": ('periods = 1\n[design.adoption]\nkind = "staggered"',
                                   ("[design.adoption]; periods = 1; allowed: 2 or more",)),
    "too large": ("units = 50000", ("units = 50000",)),
    "a size that is text": ('units = "many"', ("units",)),
    "an unknown part": ("[design.weather]\nsun = 1", ("'weather'",)),
    "an unknown kind": ('[design.adoption]\nkind = "lottery"', ("unknown kind 'lottery'",)),
    "a misspelt dial": ("[design.errors]\nseriel = 0.5", ("did you mean 'serial'?",)),
    "a part that is a number": ("adoption = 3", ("[design.adoption]",)),
    "a list that is a table": ('[design.covariates]\nname = "x"', ("tables [[covariates]]",)),
    "explosive errors": ("[design.errors]\nserial = 1.0", ("serial = 1.0",)),
    "negative sd": ("[design.errors]\nsd = -1.0\n[design.levels]\nunit_sd = -1.0",
                    ("[design.errors]; sd = -1", "[design.levels]; unit_sd = -1")),
    "a correlation of 1.2": ('[[design.mediators]]\nname = "m"\nconfounding = 1.2',
                             ("[[design.mediators]] 1; confounding = 1.2",)),
    "shares above one": ("[design.errors]\ngroup_share = 0.7\nfactor_share = 0.6\nfactors = 1",
                         ("sum to more than 1",)),
    "too many factors": ("units = 50\nperiods = 6\n[design.levels]\nfactors = 7\n[design.errors]\nfactors = 9",
                         ("[design.levels]; factors = 7", "[design.errors]; factors = 9")),
    "more treated than units": ("units = 20\n[design.adoption]\ntreated = 21", ("treated = 21 of 20 units",)),
    "a calendar of too many": ('[design.adoption]\nkind = "calendar"\ndates = [[2005, 80], [2030, 40]]',
                               ("dates: 2030", "dates treat 120")),
    "a calendar of one date": ('units = 20\n[design.adoption]\nkind = "calendar"\ndates = [[2005, 20]]',
                               ("dates treat 20 of 20 units; allowed: up to 20, not all from one date on",)),
    "more cohorts than periods": ('periods = 4\n[design.adoption]\nkind = "staggered"\ncohorts = 4',
                                  ("cohorts = 4 in 4 periods",)),
    "shares of other cohorts": (
        '[design.adoption]\nkind = "staggered"\ncohorts = [2004, 2006]\nshares = [0.5]\nnever = 1.0',
        ("2 shares that sum to 1", "never = 1")),
    "groups that are none": ('[design.geography]\ngroups = 1\n[design.adoption]\nkind = "clustered"',
                             ("the geography has 1",)),
    "more groups than there are": ('[design.geography]\ngroups = 4\n[design.adoption]\nkind = "clustered"\ntreated = 4',
                                   ("treated = 4 of 4",)),
    "doses below zero": ('[design.adoption]\nkind = "dose"\nsd = 2.0', ("sd = 2",)),
    "a growing dose": ('[design.adoption]\nkind = "dose"\n[design.effect]\nshape = "growing"',
                       ("where units do not stay treated",)),
    "an effect of a covariate that is not there": (
        '[design.effect]\nby_covariate = "gdp"\n[design.errors]\nby_covariate = "gdp"',
        ("[design.errors]; by_covariate names no covariate: 'gdp'", "[design.effect]; by_covariate names no covariate"),
    ),
    "adoption on what the treatment moves": (
        '[[design.covariates]]\nname = "x"\nbad_control = true\n'
        '[design.adoption]\nkind = "propensity"\non = "covariates"\ncovariates = ["x"]\n'
        '[design.effect]\nby_covariate = "x"',
        ("[design.adoption]; covariates names 'x', which the treatment moves",
         "[design.effect]; by_covariate = 'x', which the treatment moves"),
    ),
    "errors that follow what is drawn later": (
        'redraw = ["covariates"]\n[[design.covariates]]\nname = "x"\n[design.errors]\nby_covariate = "x"',
        ("follows the covariate 'x'",)),
    "names that are taken": ('[[design.covariates]]\nname = "m"\n[[design.mediators]]\nname = "m"',
                             ("share the name 'm'",)),
    "an indicator that is not there": ('[design.indicators]\nnames = ["a", "b"]\nnegative = ["c"]\nloadings = [1.0]',
                                       ("1 loadings of 2 indicators", "negative names no indicator: 'c'")),
    "gaps that need the outcome of an index": (
        '[design.indicators]\nnames = ["a", "b"]\n[design.missing]\nshare = 0.1\npattern = "on_outcome"',
        ("on_outcome",)),
    "everything missing": ("[design.missing]\nshare = 1.0", ("share = 1",)),
    "half of it late": ('[design.missing]\nshare = 0.6\npattern = "entry"', ("share = 0.6",)),
    "an unknown pattern": ('[design.missing]\nshare = 0.1\npattern = "mondays"', ("pattern",)),
    "negative measurement": ("[design.measurement]\noutcome_sd = -0.1\nrounding = -1.0",
                             ("outcome_sd = -0.1", "rounding = -1")),
    "a matrix of another N": ('units = 20\n[design.weights]\nkind = "file"\npath = "seven.npy"',
                              ("W is 7 x 7, but the world has 20 units",)),
    "a matrix of other units": ('units = 7\n[design.weights]\nkind = "file"\npath = "others.csv"',
                                ("units not in the panel",)),
    "a file that is not there": ('[design.weights]\nkind = "file"\npath = "nowhere.gal"\n[design.errors]\nsd = -2.0',
                                 ("there is no file", "sd = -2")),
    "a table without coordinates": ('[design.geography]\nkind = "file"\npath = "units.csv"\nlatitude = "lat"',
                                    ("the table has no column 'lat'", "k = 6 of 4 units")),
    "another N than the table's": ('units = 9\n[design.geography]\nkind = "file"\npath = "units.csv"',
                                   ("units = 9, but the geography",)),
    "too many neighbours": ("units = 6\n[design.weights]\nk = 6", ("k = 6 of 6 units",)),
    "spillovers without W": ('[design.weights]\nkind = "none"\n[design.spillover]\nrho = 0.4',
                             ("the world has no weights",)),
    "a radius without an effect": ("[design.spillover]\nradius = 50.0", ("without w_effect",)),
    "rho out of range": ("[design.spillover]\nrho = 1.5\nw_effect = inf", ("rho = 1.5", "w_effect = inf")),
    "many faults": (
        "units = 1\n[design.errors]\nsd = -1.0\nserial = 2.0\n[design.adoption]\nshare = 1.5\n"
        "[design.effect]\nanticipation = 99\n[[design.covariates]]\nbetween = 2.0",
        ("units = 1;", "sd = -1", "serial = 2.0", "share = 1.5", "anticipation = 99", "between = 2"),
    ),
}  # fmt: skip


def written(folder: Path, world: str) -> Path:
    """A study file with that world; top-level settings of the design come first, its tables after them."""
    np.save(folder / "seven.npy", np.ones((7, 7)) - np.eye(7))
    (folder / "others.csv").write_text("focal,neighbor\n" + "\n".join(f"a{i},a{(i + 1) % 7}" for i in range(7)))
    (folder / "units.csv").write_text("unit,longitude,latitude\nA,100,30\nB,101,31\nC,102,30\nD,103,32\n")
    path = folder / "study.toml"
    path.write_text(STUDY.replace('kind = "paper"', f'kind = "panel"\n{world}'), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", WORLDS)
def test_a_malformed_world_is_one_line_a_fault(name: str, tmp_path: Path) -> None:
    world, expected = WORLDS[name]
    study, store = written(tmp_path, world), tmp_path / "runs" / "x.zarr"
    out, err = here("run", study, "--store", store, "--cluster", "serial", code=2)
    lines = err.splitlines()
    for part in expected:
        assert sum(part in line for line in lines) == 1, (part, lines)
    assert len(lines) == len(expected), lines
    assert all("allowed: " in line and "study.toml" in line and len(line) < 700 for line in lines), lines
    assert not store.parent.exists()
    assert "Traceback" not in err + out
