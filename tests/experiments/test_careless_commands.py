"""Commands that are given careless words: one clear line, and commands that can be copied."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import made_cities
import pandas as pd
import pytest

import panelproof as pp
from experiments.cli import run_command
from experiments.study import Study


def test_compare_refuses_a_level_that_is_no_number(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["compare", "a.zarr", "b.zarr", "--alpha", "nan"]) == 2
    assert "--alpha; alpha = nan; allowed: above 0, below 1" in capsys.readouterr().err


def test_init_quotes_the_next_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [
        {"city": city, "year": year, "y": 1.37 * len(city) + 0.31 * ord(city) * (year - 2009) ** 0.5}
        for city in "abc"
        for year in range(2010, 2014)
    ]
    pd.DataFrame(rows).to_csv("my panel.csv", index=False)
    assert run_command(["init", "my panel.csv"]) == 0
    assert "estimate 'my panel.csv' --spec SPEC.toml --out 'results-of-my panel'" in capsys.readouterr().out


def test_an_example_and_a_bundle_quote_the_next_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_command(["panel", "example", "my panel"]) == 0
    command = "estimate 'my panel/panel.csv' --spec 'my panel/spec.toml' --out 'my panel/out'"
    assert command in capsys.readouterr().out
    pp.run(pp.Study("mine", pp.Paper(), (pp.TwoWayDID(),), replications=64, block=64), store=Path("mine.zarr"))
    assert run_command(["replicate", "my bundle", "--from", "mine.zarr"]) == 0
    assert capsys.readouterr().out.endswith("run it again: panelproof replicate 'my bundle'\n")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["panel", "init", "x.csv"], "No such command 'init'. Did you mean `panelproof init`? See `panelproof panel"),
        (["store", "report", "x.zarr"], "Did you mean `panelproof report`?"),
        (["panel", "chek", "x.csv"], "Did you mean 'check'?"),
        (["report", "."], ".; is no store: it has no zarr.json; allowed: a folder that `panelproof run` made"),
        (["store", "info", "."], ".; is no store"),
        (["estimate", "x.csv", "--spec", "s.toml", "--format", "nosuch"],
         "format nosuch; allowed: json, csv, docx, html, rtf, tex, xlsx, pdf, png;"),
    ],
)  # fmt: skip
def test_what_is_named_in_the_wrong_place_is_one_line(
    command: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_command(command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


@pytest.mark.parametrize(("command", "option"), [
    (["run", "size"], "--store"), (["placebo", "panel.csv", "--spec", "spec.toml"], "--store"),
    (["estimate", "panel.csv", "--spec", "spec.toml"], "--out"), (["report"], "report"),
])  # fmt: skip
def test_what_is_empty_is_refused(
    command: list[str], option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "panel.csv").touch()
    (tmp_path / "spec.toml").touch()
    assert run_command([*command, *([option] if option.startswith("-") else []), ""]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"what stands behind {option} is empty" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["panel.csv", "spec.toml"]


@pytest.mark.parametrize(
    ("grid", "estimator", "lacking"),
    [({"effect": [0.1]}, pp.TwoWayDID(), "a cell"),
     ({"effect": [0.0]}, pp.SpatialPanel("sar"), "fits of one estimator and term")],
)  # fmt: skip
def test_stores_without_anything_in_common_cannot_be_compared(
    grid: dict[str, list[float]], estimator: pp.TwoWayDID, lacking: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    one = pp.Study("one", pp.Paper(), (pp.TwoWayDID(),), {"effect": [0.0]}, replications=64, block=64)
    pp.run(one, store=tmp_path / "one.zarr")
    pp.run(pp.Study("other", pp.Paper(), (estimator,), grid, replications=64, block=64), store=tmp_path / "other.zarr")
    capsys.readouterr()
    for more in ([], ["--json"]):
        assert run_command(["compare", str(tmp_path / "one.zarr"), str(tmp_path / "other.zarr"), *more]) == 2
        printed = capsys.readouterr()
        (line,) = printed.err.splitlines()
        assert printed.out == ""
        assert f"nothing can be compared: they lack {lacking} in common" in line


def test_a_folder_of_tables_needs_a_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = pp.Study("mine", pp.Paper(), (pp.TwoWayDID(),), replications=64, block=64)
    pp.run(study, store=tmp_path / "mine.zarr")
    capsys.readouterr()
    assert run_command(["report", str(tmp_path / "mine.zarr"), "--out", str(tmp_path / "out")]) == 2
    assert "--out; has no format to write; allowed: with --format: " in capsys.readouterr().err


def test_the_module_of_that_name_is_the_program_too() -> None:
    found = subprocess.run([sys.executable, "-m", "panelproof", "studies", "size"], text=True, capture_output=True,
                           check=True)  # fmt: skip
    assert found.stdout.startswith("size: ")


def test_a_reader_that_goes_away_is_no_failure() -> None:
    command = f"set -o pipefail; {sys.executable} -m experiments kinds | head -1"
    found = subprocess.run(["bash", "-c", command], text=True, capture_output=True, check=False)
    assert (found.returncode, found.stderr) == (0, "")


def test_json_and_a_table_by_dials_exclude_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pp.run(pp.Study("mine", pp.Paper(), (pp.TwoWayDID(),), replications=64, block=64), store=tmp_path / "mine.zarr")
    capsys.readouterr()
    assert run_command(["report", str(tmp_path / "mine.zarr"), "--json", "--measure", "bias"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "--json; --json beside a table by dials; allowed: one of the two" in printed.err


def test_names_in_brackets_are_shown_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A terminal's markup knows [b] and [/b]; a column's name may hold either."""
    names = {"road": "road [log]", "book": "price [/kg]", "region": "place [/b]"}
    made_cities.frame().rename(columns=names).to_csv(tmp_path / "panel.csv", index=False)
    spec = made_cities.PANEL.replace('"road", "book"', '"road [log]", "price [/kg]"') + 'groups = ["place [/b]"]\n'
    (tmp_path / "spec.toml").write_text(spec)
    files = [str(tmp_path / "panel.csv"), "--spec", str(tmp_path / "spec.toml")]
    assert run_command(["panel", "check", *files]) == 0
    assert run_command(["placebo", *files, "--draws", "99", "--scheme", "strata:place [/b]"]) == 0
    assert "scheme strata:place [/b]" in (said := capsys.readouterr().out)
    assert "\nroad [log]   control" in said
    assert "\nprice [/kg]  control" in said
    assert run_command(["twin", *files, "--method", "parametric", "--out", str(tmp_path / "twin")]) == 0
    study, store = Study.from_toml(tmp_path / "twin" / "design.toml"), tmp_path / "x.zarr"
    pp.run(dataclasses.replace(study, replications=study.block), store=store)
    assert run_command(["replay", str(store), "0", "7"]) == 0
    assert "road [log] " in (said := capsys.readouterr().out)
    assert "price [/kg] " in said
