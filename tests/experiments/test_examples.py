"""The examples run end to end: castle-doctrine laws without any other data, the city panel where it is at hand."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import made_cities
import pandas as pd
import pytest

from experiments.cli import run_command
from experiments.panel_spec.spec import read_spec
from results.diagnosed import chart_of

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def script(*arguments: object) -> None:
    subprocess.run([sys.executable, *map(str, arguments)], check=True, capture_output=True, timeout=120)


def tables(out: Path) -> dict[str, object]:
    document: dict[str, object] = json.loads((out / "estimates.json").read_text(encoding="utf-8"))
    return document


@pytest.mark.long
def test_castle_doctrine_runs_end_to_end(tmp_path):
    script(EXAMPLES / "castle" / "make_panel.py", tmp_path)
    arguments = ["estimate", str(tmp_path / "castle.csv"), "--spec", str(tmp_path / "SPEC.toml"), "--cross-check"]
    assert run_command([*arguments, "--out", str(tmp_path / "out"), "--format", "html,tex,docx"]) == 0
    panel = pd.read_csv(tmp_path / "castle.csv")
    assert len(panel) == 48 * 11
    assert ((panel["law"] == 1) & (panel["year"] == 2010)).sum() == 20  # 21 with Alaska
    assert sorted(panel["year"][(panel["state"] == "Florida") & (panel["law"] == 1)]) == list(range(2006, 2011))
    document = tables(tmp_path / "out")
    assert document["panel"]["units"] == 48
    assert {record["table"] for record in document["records"]} == {"2", "4", "5", "6", "7"}
    assert {agreement["program"] for agreement in document["cross_check"]} == {"linearmodels", "spreg", "esda"}
    assert max(agreement["largest"] for agreement in document["cross_check"]) < 1e-6
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "estimates.json", "tables.html", "tables.tex", "tables.docx", "figure-2.svg",
        "specification-curve.svg", "warnings.md",
    }  # fmt: skip


@pytest.mark.long
def test_the_city_panel_runs_end_to_end_and_agrees_with_other_programs(shared_data, tmp_path):
    panel = tmp_path / "cities.csv"
    script(
        EXAMPLES / "city-panel" / "add_coordinates.py", shared_data / "city_panel.csv",
        shared_data / "prefectures.csv", panel,
    )  # fmt: skip
    spec = EXAMPLES / "city-panel" / "SPEC.toml"
    arguments = ["estimate", str(panel), "--spec", str(spec), "--out", str(tmp_path), "--cross-check"]
    assert run_command(arguments) == 0
    document = tables(tmp_path)
    assert (document["panel"]["units"], document["panel"]["periods"]) == (282, 18)
    assert {record["table"] for record in document["records"]} >= {"2", "3", "4", "5", "6", "7"}
    largest = {}
    for agreement in document["cross_check"]:
        program = agreement["program"]
        largest[program] = max(largest.get(program, 0.0), agreement["largest"])
    assert largest["linearmodels"] < 1e-8
    assert largest["spreg"] < 1e-6
    assert largest["esda"] < 1e-10


def test_every_table_of_the_committed_panel_agrees_with_other_programs(tmp_path):
    made_cities.real_panel(tmp_path, made_cities.WHOLE)
    arguments = ["estimate", str(tmp_path / "panel.csv"), "--spec", str(tmp_path / "spec.toml"), "--cross-check"]
    assert run_command([*arguments, "--out", str(tmp_path / "out"), "--format", "json,html,tex"]) == 0
    document = tables(tmp_path / "out")
    panel, records = document["panel"], document["records"]
    assert (panel["units"], panel["periods"], panel["unit"], panel["period"]) == (36, 9, "city", "year")
    assert panel["treatment_column"] == "d"
    assert {r["transform"] for r in records if r["model"] == "sdm"} == {"direct", "lee-yu"}
    assert {r["effects_method"] for r in records if r["term"] == "indirect:did"} == {"delta", "simulation"}
    assert {r["pvalue"] for r in records if r["term"] == "sigma2"} == {None}
    assert {s["name"] for s in document["statistics"] if s["model"] == "sar"} >= {"loglik", "r2", "r2_corr", "aic"}
    models = {r["model"] for r in records if r["table"] == "7"}
    assert models >= {"sem", "sar", "sdm", "slx", "sdem", "sac"}
    shown = {item["table"] for kind in ("records", "statistics") for item in document[kind]}
    assert shown == {"1", "2", "3", "4", "5", "6", "7", "R", "S", "S2", "S3", "S4"}
    bounds = {"linearmodels": 1e-8, "spreg": 1e-6, "esda": 1e-10}
    assert {agreement["program"] for agreement in document["cross_check"]} == set(bounds)
    for agreement in document["cross_check"]:
        assert agreement["compared"] > 0, agreement
        assert agreement["largest"] < bounds[agreement["program"]], agreement


def test_the_papers_own_spec_is_sound():
    spec = read_spec(EXAMPLES / "paper" / "SPEC.toml")
    assert spec.panel.outcome == "icr"
    assert len(spec.indicators) == 9


def test_an_own_world_prints_and_draws_a_power_curve(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    found = runpy.run_path(str(EXAMPLES / "own_world.py"))
    frame = found["diagnosis"].frame.query("measure == 'rejection'")
    power, mcse = (dict(zip(frame["effect"], frame[name], strict=True)) for name in ("value", "mcse"))
    assert list(power) == [0.0, 0.25, 0.5, 1.0]
    assert list(power.values()) == sorted(power.values())
    assert abs(power[0.0] - 0.05) < 4 * mcse[0.0]
    assert power[1.0] > 0.9
    chart = chart_of(found["diagnosis"], "power")
    (series,) = chart.panels[0].series
    assert {point.at: point.value for point in series.points} == power  # the curve is the diagnosis
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert {float(row[0]): float(row[1]) for row in printed[2:6]} == pytest.approx(power, abs=1e-6)
    assert (tmp_path / "power.pdf").read_bytes().startswith(b"%PDF")
    assert len((EXAMPLES / "own_world.py").read_text().splitlines()) < 30
