"""The cross-check on panels that other programs find hard, and what it says when they give up; and the examples from
end to end: castle-doctrine laws without any other data, the city panel where it is at hand."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_cities
import numpy as np
import pandas as pd
import pytest
from commands import here

from experiments.cli import run_command
from experiments.panel_spec.spec import read_spec
from experiments.references import linearmodels, pysal
from experiments.references.reference import ReferenceFit
from references.small_panels import small_panel
from results.diagnosed import chart_of
from sim.panel import Panel

SPEC = made_cities.spec("did")
NAMES = ("did", "inv")


def table(cities: int = 12, level: float = 0.0, unit: float = 1.0) -> pd.DataFrame:
    """Ten years; a third of the cities is treated from 2012 on; the control in other units and at a level."""
    rng = np.random.default_rng(8)
    own, year = np.repeat(np.arange(cities), 10), np.tile(np.arange(2008, 2018), cities)
    did = ((own < max(cities // 3, 1)) & (year >= 2012)).astype(int)
    x = rng.normal(size=own.size) + rng.normal(size=cities)[own]
    y = did + 0.5 * x + rng.normal(size=own.size) + rng.normal(size=cities)[own]
    return pd.DataFrame({"city": [f"c{i:02d}" for i in own], "year": year, "y": y, "did": did, "x": level + unit * x})


Ask = Callable[..., tuple[dict[str, Any], str]]


@pytest.fixture
def estimated(tmp_path: Path) -> Ask:
    """`panelproof estimate --cross-check` of a table, which ends with a code: document, and what went to stderr."""

    def ask(frame: pd.DataFrame, keys: str = "", code: int = 0) -> tuple[dict[str, Any], str]:
        panel, spec = tmp_path / "panel.csv", tmp_path / "spec.toml"
        frame.to_csv(panel, index=False)
        spec.write_text(SPEC + keys, encoding="utf-8")
        out, err = here("estimate", panel, "--spec", spec, "--cross-check", "--json", code=code)
        return json.loads(out), err

    return ask


def moved(panel: Panel, level: float, unit: float) -> Panel:
    """All but the treatment in other units and at a level."""
    variables = {name: values if name == "did" else level + unit * values for name, values in panel.variables.items()}
    return replace(panel, variables=variables)


@pytest.mark.parametrize(("level", "unit"), [(3e14, 4e13), (1e8, 1.0), (0.0, 1e-12)])
def test_controls_in_any_unit_are_recomputed(estimated: Ask, level: float, unit: float) -> None:
    document, said = estimated(table(level=level, unit=unit))
    assert said == ""
    found = {item["what"]: item for item in document["cross_check"]}
    assert set(found) == {"estimates", "errors iid", "errors hc1", "errors cluster:unit"}
    assert found["estimates"]["compared"] == 19  # all columns, random effects among them
    assert max(item["largest"] for item in found.values()) < 1e-6


@pytest.mark.parametrize("effects", [(), ("period",), ("unit", "period")])
@pytest.mark.parametrize("constant", [False, True])
def test_linearmodels_reference_follows_levels_and_units(effects: tuple[str, ...], constant: bool) -> None:
    """y = m + s y*, x = m + s x*: slopes stay, the treatment's is times s; no level without constant and effects."""
    plain = small_panel(20, 6, seed=2, missing=9)
    level, unit = (3e14 if effects or constant else 0.0), 4.0e13
    ask: dict[str, Any] = {"regressors": NAMES, "effects": effects, "constant": constant}
    near = linearmodels.least_squares(plain, **ask)
    far = linearmodels.least_squares(moved(plain, level, unit), **ask)
    times = np.array([unit, 1.0])
    np.testing.assert_allclose(far.estimate[:2], near.estimate[:2] * times, rtol=1e-8)
    for error, values in near.se.items():
        np.testing.assert_allclose(far.se[error][:2], values[:2] * times, rtol=1e-8, err_msg=error)
    assert far.statistics["ssr"] == pytest.approx(near.statistics["ssr"] * unit**2, rel=1e-8)
    if constant:
        there = level * (1 - near.estimate[1]) + unit * near.estimate[2]
        assert far.estimate[2] == pytest.approx(there, rel=1e-8)


def test_linearmodels_reference_counts_effects_where_it_is_asked_to() -> None:
    """120 rows, 2 slopes and 20 + 6 - 1 effects: the divisor of clustered variances is 120 - 27 or 120 - 2."""
    plain = small_panel(20, 6, seed=2)
    ask: dict[str, Any] = {"regressors": NAMES, "errors": ("cluster:unit",)}
    every = linearmodels.least_squares(plain, **ask, cluster_k="all").se["cluster:unit"]
    slopes = linearmodels.least_squares(plain, **ask, cluster_k="slopes").se["cluster:unit"]
    np.testing.assert_allclose(slopes / every, np.sqrt(93 / 118), rtol=1e-10)


@pytest.mark.parametrize("model", ["sem", "sdm"])
def test_spreg_reference_follows_levels_and_units(model: Any) -> None:
    plain, unit = small_panel(20, 6, seed=2), 4096.0
    near = pysal.spatial_panel(plain, model, regressors=NAMES)
    far = pysal.spatial_panel(moved(plain, 1e8, unit), model, regressors=NAMES)
    by_name = {"did": unit, "w_did": unit, "sigma2": unit**2}
    times = np.array([by_name.get(term, 1.0) for term in near.terms])
    np.testing.assert_allclose(far.estimate, near.estimate * times, rtol=1e-5, atol=1e-6)  # of its search
    np.testing.assert_allclose(far.se["information"], near.se["information"] * times, rtol=1e-5)
    assert far.statistics["loglik"] == pytest.approx(near.statistics["loglik"] - 120 * np.log(unit), rel=1e-8)


def test_what_cannot_be_recomputed_is_said_by_column(estimated: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> ReferenceFit:
        raise ZeroDivisionError("no full rank. Set check_rank=False.\nMore.")

    monkeypatch.setattr(linearmodels, "random_effects", refuse)
    document, said = estimated(table())
    assert said == ""
    lost = [item for item in document["cross_check"] if not item["compared"]]
    assert [item["what"] for item in lost] == [
        f"column {column} could not be recomputed: no full rank" for column in (1, 2)
    ]
    assert {item["largest"] for item in lost} == {0.0}
    assert sum(item["compared"] for item in document["cross_check"] if item["what"] == "estimates") == 14


def with_errors(change: Callable[[np.ndarray], np.ndarray]) -> Callable[..., ReferenceFit]:
    """linearmodels with other clustered errors."""
    ask = linearmodels.least_squares

    def answer(*arguments: Any, **keywords: Any) -> ReferenceFit:
        found = ask(*arguments, **keywords)
        return replace(found, se={**found.se, "cluster:unit": change(found.se["cluster:unit"])})

    return answer


def test_numbers_that_are_none_are_not_compared(estimated: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linearmodels, "least_squares", with_errors(lambda se: se * np.nan))
    document, _ = estimated(table())
    lost = [item["what"] for item in document["cross_check"] if not item["compared"]]
    assert "column 5 could not be recomputed: errors cluster:unit are not finite there" in lost


def test_two_units_have_no_clustered_errors_beside_period_effects(estimated: Ask) -> None:
    document, said = estimated(table(2))
    assert said == ""
    assert max(item["largest"] for item in document["cross_check"]) < 1e-6
    assert min(item["compared"] for item in document["cross_check"]) == 14
    found = {(r["column"], r["term"]): r for r in document["records"] if r["se_type"] == "cluster:unit"}
    for column in (3, 5):
        for term in ("did", "x"):
            one = found[column, term]
            assert [one[name] for name in ("se", "statistic", "pvalue", "lower", "upper")] == [None] * 5
    assert found[4, "did"]["se"] > 1e-3
    assert any(note.startswith("With two units and period effects, coefficients have no") for note in document["notes"])
    assert not any("wild cluster bootstrap is the remedy" in note for note in document["notes"])


def test_an_error_that_only_we_lack_is_a_difference(estimated: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linearmodels, "least_squares", with_errors(lambda se: np.where(se < 1e-9, 0.3, se)))
    document, _ = estimated(table(2), code=1)
    assert max(item["largest"] for item in document["cross_check"] if item["what"] == "errors cluster:unit") > 0.01


def test_a_part_of_two_units_says_what_has_no_error(estimated: Ask) -> None:
    frame = table(9)
    frame["zone"] = np.where(frame["city"].isin(["c02", "c03"]), "east", "west")
    document, _ = estimated(frame, 'groups = ["zone"]\n')
    (note,) = (note for note in document["notes"] if "has no cluster:unit error" in note)
    where = "Table 4, column 1 (zone = east)"
    assert note == f"{where} has no cluster:unit error of did, x, constant: it is zero up to rounding."
    assert not any(note.startswith("With two units") for note in document["notes"])


PLACES = f'{made_cities.PLACES}[[weights]]\nkind = "knn"\nk = 4\n'
# What each program recomputes: columns of table 2 with their terms (did, x and a constant, where there is one).
TERMS_OF_2 = {"1 pooled": 2, "1 random": 2, "2 pooled": 3, "2 random": 3, "3": 3, "4": 3, "5": 3}
YEARS = 10


def test_everything_that_other_programs_can_do_is_compared_and_counted(estimated: Ask) -> None:
    """The list of agreements in full: a program, a table or a number that is left out changes it."""
    frame, rng = table(14), np.random.default_rng(1)
    own = np.repeat(np.arange(14), YEARS)
    frame["lon"], frame["lat"] = rng.uniform(100, 120, 14)[own], rng.uniform(25, 40, 14)[own]
    uneven = '[[weights]]\nkind = "inverse-distance"\nstandardize = "none"\n'  # a radius far from one
    document, said = estimated(frame, f'{PLACES}{uneven}[spatial]\neffects = ["two-way", "unit"]\n')
    assert said == ""
    found = {(item["table"], item["program"], item["what"]): item["compared"] for item in document["cross_check"]}
    everything = sum(TERMS_OF_2.values())
    least_squares = everything - TERMS_OF_2["1 random"] - TERMS_OF_2["2 random"]
    by_year = 2 * 2 * YEARS  # two W, Moran's I and Geary's c, under normality and under randomisation
    assert found == {
        ("2", "linearmodels", "estimates"): everything,
        ("2", "linearmodels", "errors iid"): everything,
        ("2", "linearmodels", "errors hc1"): least_squares,
        ("2", "linearmodels", "errors cluster:unit"): least_squares,
        ("6", "esda", "moran"): by_year,
        ("6", "esda", "geary"): by_year,
        ("6", "esda", "sd under normality"): by_year,
        ("6", "esda", "sd under randomisation"): by_year,
        # SEM: did, x, lambda, sigma2; SAR: did, x, rho, sigma2; SDM: the two lags besides. Of the uneven W the SEM with
        # period effects is not spreg's.
        ("7", "spreg", "estimates"): 4 * (4 + 4 + 6) - 4,
        ("7", "spreg", "errors information"): 4 * (4 + 4 + 6) - 4,
    }
    assert max(item["largest"] for item in document["cross_check"]) < 1e-6


EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def script(*arguments: object) -> None:
    subprocess.run([sys.executable, *map(str, arguments)], check=True, capture_output=True, timeout=120)


def agrees(document: dict[str, Any]) -> None:
    """Every number with that of every program."""
    bounds = {"linearmodels": 1e-8, "spreg": 1e-6, "esda": 1e-10}
    assert {agreement["program"] for agreement in document["cross_check"]} == set(bounds)
    for agreement in document["cross_check"]:
        assert agreement["compared"] > 0, agreement
        assert agreement["largest"] < bounds[agreement["program"]], agreement


@pytest.mark.long
def test_castle_doctrine_runs_end_to_end(tmp_path):
    script(EXAMPLES / "castle" / "make_panel.py", tmp_path)
    arguments = ["estimate", str(tmp_path / "castle.csv"), "--spec", str(tmp_path / "SPEC.toml"), "--cross-check"]
    assert run_command([*arguments, "--out", str(tmp_path / "out"), "--format", "html,tex,docx"]) == 0
    panel = pd.read_csv(tmp_path / "castle.csv")
    assert len(panel) == 48 * 11
    assert ((panel["law"] == 1) & (panel["year"] == 2010)).sum() == 20  # 21 with Alaska
    assert sorted(panel["year"][(panel["state"] == "Florida") & (panel["law"] == 1)]) == list(range(2006, 2011))
    document = json.loads((tmp_path / "out" / "estimates.json").read_text(encoding="utf-8"))
    assert document["panel"]["units"] == 48
    assert {record["table"] for record in document["records"]} == {"2", "4", "5", "6", "7"}
    agrees(document)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "estimates.json", "tables.html", "tables.tex", "tables.docx", "figure-2.svg",
        "specification-curve.svg", "warnings.md",
    }  # fmt: skip


@pytest.mark.long
def test_the_city_panel_runs_end_to_end_and_agrees_with_other_programs(shared_data, tmp_path):
    panel = tmp_path / "cities.csv"
    files = [shared_data / name for name in ("city_panel.csv", "prefectures.csv")]
    script(EXAMPLES / "city-panel" / "add_coordinates.py", *files, panel)
    spec = EXAMPLES / "city-panel" / "SPEC.toml"
    arguments = ["estimate", str(panel), "--spec", str(spec), "--out", str(tmp_path), "--cross-check"]
    assert run_command(arguments) == 0
    document = json.loads((tmp_path / "estimates.json").read_text(encoding="utf-8"))
    assert (document["panel"]["units"], document["panel"]["periods"]) == (282, 18)
    assert {record["table"] for record in document["records"]} >= {"2", "3", "4", "5", "6", "7"}
    agrees(document)


def test_every_table_of_the_committed_panel_agrees_with_other_programs(tmp_path):
    made_cities.real_panel(tmp_path, made_cities.WHOLE)
    arguments = ["estimate", str(tmp_path / "panel.csv"), "--spec", str(tmp_path / "spec.toml"), "--cross-check"]
    assert run_command([*arguments, "--out", str(tmp_path / "out"), "--format", "json,html,tex"]) == 0
    document = json.loads((tmp_path / "out" / "estimates.json").read_text(encoding="utf-8"))
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
    agrees(document)


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
