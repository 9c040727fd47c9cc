"""What careless people do: one clear line, exit code 2, no traceback, nothing written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.cli import run_command
from experiments.panel_spec.first_spec import EXAMPLE_SPEC, example_frame

Edit = Callable[[pd.DataFrame], pd.DataFrame]


@pytest.fixture(scope="module")
def example() -> pd.DataFrame:
    return example_frame()


def with_cell(column: str, value: object, row: int = 40) -> Edit:
    def edit(frame: pd.DataFrame) -> pd.DataFrame:
        frame[column] = frame[column].astype(object)
        frame.loc[row, column] = value
        return frame

    return edit


def constant(column: str, value: float) -> Edit:
    return lambda frame: frame.assign(**{column: value})


def switched_off(frame: pd.DataFrame) -> pd.DataFrame:
    city = frame.loc[frame["eip"] == 1, "city"].iloc[0]
    frame.loc[(frame["city"] == city) & (frame["year"] == 2023), "eip"] = 0
    return frame


def doubled(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([frame, frame.iloc[[7]]])


SPEC_RHO, SPEC_LAG = (EXAMPLE_SPEC.replace('"road"', f'"{name}"') for name in ("rho", "w_did"))
PANELS: dict[str, tuple[Edit, str, tuple[str, ...]]] = {
    "missing column": (lambda frame: frame.drop(columns="road"), "", ("road",)),
    "duplicated city-year": (doubled, "", ("duplicate",)),
    "unbalanced with spatial models": (lambda frame: frame.drop(index=[11]), "", ("missing", "balance")),
    "text in a number column": (with_cell("book", "many"), "", ("book", "many")),
    "infinite": (with_cell("tech", np.inf), "", ("tech", "inf")),
    "empty cell in a control": (with_cell("inv", np.nan), "", ("inv",)),
    "treatment that switches off": (switched_off, "", ("2023",)),
    "treatment that is not 0 or 1": (with_cell("eip", 2), "", ("0", "1")),
    "nobody treated": (constant("eip", 0), "", ("treated",)),
    "everybody always treated": (constant("eip", 1), "", ("treated",)),
    "control named like a term": (lambda frame: frame.rename(columns={"road": "rho"}), SPEC_RHO, ("rho",)),
    "control named like a lag": (lambda frame: frame.rename(columns={"road": "w_did"}), SPEC_LAG, ("w_did",)),
    "outcome that the effects absorb": (lambda frame: frame.assign(icr=frame["lat"]), "", ("icr", "absorbed")),
    "outcome that is a control": (lambda frame: frame.assign(icr=2 * frame["inv"]), "", ("icr", "collinear")),
    "constant control": (constant("road", 1.5), "", ("road", "constant")),
    "control that the effects absorb": (lambda frame: frame.assign(road=frame["lat"]), "", ("road", "absorbed")),
    "outcome whose squares overflow": (
        lambda frame: frame.assign(icr=1e155 * frame["icr"]),
        "",
        ("icr", "e+15", "another unit"),
    ),
    "outcome whose squares vanish": (
        lambda frame: frame.assign(icr=1e-160 * frame["icr"]),
        "",
        ("icr", "e-16", "another unit"),
    ),
    "too many draws": (
        lambda frame: frame,
        f"{EXAMPLE_SPEC}\n[inference]\ndraws = 100001\n",
        ("draws = 100001", "up to 100,000"),
    ),
    "collinear controls": (lambda frame: frame.assign(road=2 * frame["inv"] + 1), "", ("road", "collinear")),
    "year as text": (with_cell("year", "MMVI"), "", ("year",)),
    "latitude out of range": (constant("lat", 95.0), "", ("lat",)),
    "one city": (lambda frame: frame[frame["city"] == frame["city"].iloc[0]], "", ("unit",)),
    "no rows": (lambda frame: frame.iloc[:0], "", ("rows",)),
    "unknown key": (lambda frame: frame, EXAMPLE_SPEC.replace("controls", "contols"), ("contols", "controls")),
    "unknown weights": (lambda frame: frame, EXAMPLE_SPEC.replace('"knn"', '"kn"'), ("kn",)),
    "more neighbours than cities": (lambda frame: frame, EXAMPLE_SPEC.replace("k = 6", "k = 285"), ("k = 285",)),
    "negative neighbours": (lambda frame: frame, EXAMPLE_SPEC.replace("k = 6", "k = -1"), ("k",)),
    "column that is not there": (lambda frame: frame, EXAMPLE_SPEC.replace('"icr"', '"icrr"'), ("icrr", "icr")),
    "text where a list belongs": (
        lambda frame: frame,
        EXAMPLE_SPEC.replace('["inv", "road", "book", "tech"]', "3"),
        ("controls",),
    ),
    "not TOML": (lambda frame: frame, "[panel\nunit = ", ("TOML",)),
    "W of another size": (
        lambda frame: frame,
        EXAMPLE_SPEC.replace('kind = "knn"\nk = 6', 'kind = "file"\npath = "w.npy"'),
        ("285",),
    ),
    "W that is not there": (
        lambda frame: frame,
        EXAMPLE_SPEC.replace('kind = "knn"\nk = 6', 'kind = "file"\npath = "nowhere.gal"'),
        ("nowhere.gal",),
    ),
    "W with an empty row": (
        lambda frame: frame,
        EXAMPLE_SPEC.replace('kind = "knn"\nk = 6', 'kind = "file"\npath = "empty_row.npy"'),
        ("without neighbours",),
    ),
}


@pytest.mark.parametrize("name", PANELS)
def test_malformed_panel_or_spec(
    name: str, example: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit, spec, words = PANELS[name]
    panel, toml, out = tmp_path / "panel.csv", tmp_path / "spec.toml", tmp_path / "out"
    edit(example.copy()).to_csv(panel, index=False)
    toml.write_text(spec or EXAMPLE_SPEC, encoding="utf-8")
    np.save(tmp_path / "w.npy", np.ones((5, 5)) - np.eye(5))
    empty_row = np.ones((285, 285)) - np.eye(285)
    empty_row[3] = 0
    np.save(tmp_path / "empty_row.npy", empty_row)
    refused(["estimate", str(panel), "--spec", str(toml), "--out", str(out)], words, capsys)
    assert not out.exists()


STUDY = """
replications = 64
[design]
kind = "paper"
[[estimators]]
kind = "did"
"""
STUDIES: dict[str, tuple[str, tuple[str, ...]]] = {
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
    "dial that the grid overrides": (
        STUDY.replace('"paper"', '"paper"\nserial = 0.3') + "[grid]\nserial = [0.1, 0.8]\n",
        ("serial is set in [design] and in [grid]", "leave serial out of [design]"),
    ),
    "too many replications": (STUDY.replace("64", "99999999999999"), ("replications",)),
    "observed design": (STUDY.replace('"paper"', '"observed"'), ("observed", "estimate")),
    "name that leaves the folder": ('name = "../evil"\n' + STUDY, ("../evil",)),
    "object that is not there": (STUDY.replace('"did"', '"nowhere:Thing"'), ("nowhere:Thing",)),
    "regressor that is not there": (STUDY + 'regressors = ["wealth"]\n', ("wealth",)),
    "not TOML": ("= 3", ("TOML",)),
    "empty file": ("", ("design",)),
}


@pytest.mark.parametrize("name", STUDIES)
def test_malformed_study(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, words = STUDIES[name]
    file = tmp_path / "study.toml"
    file.write_text(text, encoding="utf-8")
    store = tmp_path / "x.zarr"
    refused(["run", str(file), "--cluster", "serial", "--store", str(store)], words, capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["study.toml"]


COMMANDS: dict[str, tuple[list[str], tuple[str, ...]]] = {
    "no such study": (["run", "bais"], ("bais", "bias")),
    "study file that is not there": (["run", "nowhere.toml"], ("nowhere.toml",)),
    "directory as a study": (["run", "{folder}/"], ("directory",)),
    "scheduler without a port": (["run", "bias", "--cluster", "tcp://localhost"], ("port",)),
    "page of another name": (["run", "bias", "--html", "study.toml"], (".html",)),
    "alpha that is no number": (["report", "{folder}", "--alpha", "nan"], ("alpha",)),
    "store under a file": (
        ["run", "bias", "--cluster", "serial", "--store", "{folder}/empty.csv/x.zarr"],
        ("empty.csv",),
    ),
    "unknown cluster": (["run", "bias", "--cluster", "slrm"], ("slrm", "local")),
    "another machine by plain tcp": (["run", "bias", "--cluster", "tcp://192.0.2.1:8786"], ("tls",)),
    "negative workers": (["run", "bias", "--workers", "-1"], ("workers",)),
    "workers without a local cluster": (["run", "bias", "--cluster", "serial", "--workers", "2"], ("--workers",)),
    "report of nothing": (["report", "{folder}/nothing.zarr"], ("nothing.zarr",)),
    "report of a folder that is no store": (["report", "{folder}"], ("store",)),
    "check of a folder of stores": (["store", "verify", "{folder}"], ("is no store",)),
    "run into an empty folder": (
        ["run", "bias", "--cluster", "serial", "--store", "{folder}/nobody"], ("is an empty folder, no store",)),
    "run into a folder of other files": (
        ["run", "bias", "--cluster", "serial", "--store", "{folder}"], ("is no store, and not empty",)),
    "directory as a panel": (["panel", "check", "{folder}", "--spec", "{folder}"], ("director",)),
    "empty panel file": (["init", "{folder}/empty.csv"], ("empty",)),
    "panel of an unknown kind": (["init", "{folder}/panel.pdf"], (".pdf", ".csv")),
    "unknown format": (["estimate", "p.csv", "--spec", "s.toml", "--format", "odt"], ("odt", "json")),
    "unknown command": (["estimat"], ("estimat",)),
    "replay of nothing": (["replay", "{folder}/nothing.zarr", "0", "0"], ("nothing.zarr",)),
    "misspelt command": (["estimte"], ("no command 'estimte'; did you mean 'estimate'?; allowed: estimate, ",)),
    "misspelt command of a group": (["store", "inf", "x.zarr"], ("'inf'", "info")),
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
    "page over a folder": (["report", "{folder}/other.zarr", "--html", "{folder}"], ("is a directory",)),
    "tables over a file": (["estimate", "p.csv", "--spec", "s", "--out", "{folder}/empty.csv"], ("is a file",)),
    "spec over a folder": (["init", "{folder}/panel.csv", "--out", "{folder}"], ("is a directory",)),
    "no spec": (["estimate", "{folder}/panel.csv"], ("--spec",)),
    "panel and spec in each other's place": (
        ["estimate", "{folder}/empty.toml", "--spec", "{folder}/panel.csv"], ("panel.csv", "is not valid TOML")),
    "dial that there is not": (["breakdown", "bias", "--dial", "serail"], ("did you mean 'serial'?",)),
    "kind that there is not": (["kinds", "didd"], ("did you mean 'did'?", "(all: `panelproof kinds`)")),
    "estimator that there is not, in a race": (
        ["race", "{folder}/example.csv", "--spec", "{folder}/spec.toml", "--out", "{folder}/o.json",
         "--estimator", "dod"],
        ("did you mean 'did'?",)),
    "an old name of an option": (["report", "x.zarr", "--trust"], ("called --load-code now",)),
}  # fmt: skip
LISTS = 8  # names that a message may list


@pytest.mark.parametrize("name", COMMANDS)
def test_careless_command(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, words = COMMANDS[name]
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "panel.pdf").write_text("%PDF")
    (tmp_path / "panel.csv").write_text("city,year\na,2001\n")
    (tmp_path / "empty.toml").write_text("")
    (tmp_path / "spec.toml").write_text(EXAMPLE_SPEC)
    (tmp_path / "other.zarr").mkdir()
    (tmp_path / "nobody").mkdir()
    (tmp_path / "other.zarr" / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    if "{folder}/example.csv" in arguments:
        example_frame().to_csv(tmp_path / "example.csv", index=False)
    before = sorted(tmp_path.rglob("*"))
    refused([argument.replace("{folder}", str(tmp_path)) for argument in arguments], words, capsys)
    assert sorted(tmp_path.rglob("*")) == before


def refused(arguments: list[str], words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2; every line of the message is whole, and among them stand the words."""
    code = run_command(arguments)
    captured = capsys.readouterr()
    assert code == 2, captured
    lines = captured.err.strip().splitlines()
    assert lines
    assert all(line.startswith("panelproof: ") for line in lines), captured.err
    assert "Traceback" not in captured.err
    for line in lines:
        allowed = line.partition("allowed: ")[2].partition(";")[0]
        assert allowed.count(", ") <= LISTS, line
    for word in words:
        assert word in captured.err, (word, captured.err)
