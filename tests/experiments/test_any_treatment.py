"""Treatments that are not 0 and then 1: what is asked, what is refused, and every command on a panel of an index."""

from __future__ import annotations

import html
import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyfixest
import pytest

import panelproof as pp
from estimators import TwoWayDID
from estimators.core.estimator import Estimator
from experiments.cli import run_command
from experiments.panel_spec.spec import RealPanel
from experiments.run.runner import run
from experiments.study import Study
from experiments.tables.ledger import few_treated, treated_units
from experiments.trust.recommend import forbidden_of
from experiments.twins.real import Real
from experiments.twins.twin import twin
from results.diagnosis.diagnose import diagnose
from sim.design import Wanted
from sim.panel import Panel
from sim.panel_sidecars import panel_from, panel_text
from sim.schema import Roles
from sim.streams import Streams
from sim.world.panel_design import PanelDesign
from sim.world.parts.adoption import Dose, PathsOfPanel
from sim.world.parts.effect import Effect
from sim.world.parts.errors import Process
from sim.world.parts.mediators import Linear

UNITS, PERIODS = 40, 9
SPEC = """
[panel]
unit = "city"
period = "year"
outcome = "y"
treatment = "fi"
controls = ["x"]
groups = ["region"]
longitude = "lon"
latitude = "lat"

[[weights]]
kind = "knn"
k = 4
"""
FEW_TWINS = "[twin]\ndraws = 100\n"  # the fewest that a spec may ask for


def frame(seed: int = 1, effect: float = 0.2) -> pd.DataFrame:
    """A panel of an index `fi` that grows at each unit's own pace, and of a 0/1 policy `did`."""
    rng = np.random.default_rng(seed)
    city, year = (part.ravel() for part in np.meshgrid(np.arange(UNITS), np.arange(PERIODS), indexing="ij"))
    pace = rng.normal(1.0, 0.4, UNITS)
    fi = 10 + rng.normal(0, 2, UNITS)[city] + pace[city] * year + rng.normal(0, 0.6, city.size)
    first = rng.choice([3, 5, 99], UNITS)
    x, noise = rng.normal(size=city.size), rng.normal(0, 0.5, city.size)
    return pd.DataFrame({
        "city": [f"c{i:02d}" for i in city], "year": 2000 + year, "fi": fi.round(4), "x": x,
        "did": (year >= first[city]).astype(int), "region": np.where(city % 2 == 0, "north", "south"),
        "lon": 100 + rng.uniform(0, 20, UNITS)[city], "lat": 25 + rng.uniform(0, 15, UNITS)[city],
        "y": rng.normal(size=UNITS)[city] + 0.1 * year + effect * fi + 0.3 * x + noise,
    })  # fmt: skip


def written(folder: Path, data: pd.DataFrame, spec: str = SPEC) -> tuple[str, str]:
    data.to_csv(folder / "panel.csv", index=False)
    (folder / "spec.toml").write_text(spec, encoding="utf-8")
    return str(folder / "panel.csv"), str(folder / "spec.toml")


def read(folder: Path, data: pd.DataFrame | None = None, spec: str = SPEC) -> RealPanel:
    return pp.read_panel(*written(folder, frame() if data is None else data, spec))


def kind(text: str) -> str:
    return SPEC.replace('treatment = "fi"', f'treatment = "fi"\ntreatment_kind = "{text}"')


def slipped(data: pd.DataFrame) -> pd.DataFrame:
    return data.assign(fi=data["did"].where(data.index != 7, 2))


def switching(data: pd.DataFrame) -> pd.DataFrame:
    return data.assign(fi=np.random.default_rng(3).integers(0, 2, len(data)))


Made = Callable[[pd.DataFrame], pd.DataFrame]


@pytest.mark.parametrize(
    ("made", "spec", "continuous", "said"),
    [
        (lambda d: d, SPEC, True, ["fi is a treatment of any strength", "one unit of it"]),
        (slipped, kind("continuous"), True, []),
        (lambda d: d.assign(fi=d["did"] * (1 + (d["year"] > 2006))), SPEC, True, ["(0, 1, 2, 0 to 2)"]),
        (switching, kind("switching"), True, ["fi is 0 or 1 and switches off"]),
        (lambda d: d.assign(fi=d["did"]), SPEC, False, []),
    ],
    ids=["index", "slip", "levels", "switching", "dummy"],
)
def test_a_treatment_is_taken_for_what_it_is(
    tmp_path: Path, made: Made, spec: str, continuous: bool, said: list[str]
) -> None:
    real = read(tmp_path, made(frame()), spec)
    assert real.panel.roles.continuous == continuous
    np.testing.assert_array_equal(real.panel.variables["did"][0].T.ravel(), made(frame())["fi"])
    notes = " ".join(real.notes)
    assert [words for words in said if words not in notes] == []
    assert "3 values" not in notes


@pytest.mark.parametrize(
    ("made", "spec", "said"),
    [
        (slipped, SPEC, ["the treatment is 2", 'treatment_kind = "continuous"']),
        (slipped, kind("switching"), ["the treatment is 2"]),
        (lambda d: d.assign(fi=d["did"] + 1), SPEC, ["allowed: 0 or 1"]),
        (switching, SPEC, ['treatment_kind = "switching"']),
        (lambda d: d.assign(fi=3.0), SPEC, ["the treatment is 3"]),
        (lambda d: d.assign(fi=d.groupby("city")["fi"].transform("mean")), SPEC, ["absorbed"]),
        (lambda d: d.assign(fi=d["year"] * 1.5), SPEC, ["absorbed"]),
        (lambda d: d.assign(fi=d["x"] * 2.0), SPEC, ["collinear"]),
        (lambda d: d.assign(fi=d["fi"].astype(str) + "%"), SPEC, ["allowed: numbers"]),
        (lambda d: d, SPEC.replace('treatment = "fi"', 'treatment_kind = "continuous"'),
         ["treatment_kind = 'continuous' without treatment"]),
    ],
)  # fmt: skip
def test_what_cannot_be_a_dose_is_one_line(
    tmp_path: Path, made: Made, spec: str, said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    panel, path = written(tmp_path, made(frame()), spec)
    assert run_command(["estimate", panel, "--spec", path, "--out", str(tmp_path / "out")]) == 2
    first, *rest = [line for line in capsys.readouterr().err.splitlines() if line]
    assert all(line.startswith("panelproof: ") for line in (first, *rest))
    assert [words for words in said if words not in first] == []
    assert not (tmp_path / "out").exists()


def test_table_2_of_an_index_is_pyfixest_to_1e_8(tmp_path: Path) -> None:
    tables = pp.estimate(read(tmp_path, spec=SPEC.partition("[[weights]]")[0])).frame
    column_5 = tables[(tables["table"] == "2") & (tables["column"] == 5)]
    for vcov, error in (("HC1", "hc1"), ({"CRV1": "city"}, "cluster:unit")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it uses what pandas has deprecated
            theirs = pyfixest.feols("y ~ fi + x | city + year", frame(), vcov=vcov,  # type: ignore[arg-type]
                                    ssc=pyfixest.ssc(k_fixef="nonnested"),
                                    demeaner=pyfixest.MapDemeaner(fixef_tol=1e-13, fixef_maxiter=100_000))  # fmt: skip
        own = column_5[column_5["se_type"] == error].set_index("term").loc[["did", "x"]]
        np.testing.assert_allclose(own["estimate"], theirs.coef()[["fi", "x"]], rtol=1e-8)
        np.testing.assert_allclose(own["se"], theirs.se()[["fi", "x"]], rtol=1e-8)


def test_tables_call_it_by_its_own_name_and_leave_out_what_needs_dates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = SPEC + "[robustness]\nstaggered = true\nunit_trends = true\n[robustness.psm]\n[robustness.synthetic]\n"
    panel, path = written(tmp_path, frame(), spec)
    assert run_command(["estimate", panel, "--spec", path, "--out", str(tmp_path / "out"), "--tables", "all"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    lacking = ("No table S: fi has no dates", "No table C: fi has no dates", "has no PSM columns: fi has no dates")
    assert [words for words in (*lacking, "W × fi") if words not in said] == []
    assert [words for words in ("DID", "Treated units", "treated in every period") if words in said] == []


def test_every_command_serves_a_dose(tmp_path: Path) -> None:
    panel, spec = written(tmp_path, frame(), SPEC.partition("[[weights]]")[0] + FEW_TWINS + 'method = "parametric"\n')
    out = {name: str(tmp_path / name) for name in ("placebo", "p.zarr", "twin", "trust", "race.json", "race.html")}
    for words in (
        ["placebo", "--draws", "99", "--out", out["placebo"], "--store", out["p.zarr"]],
        ["twin", "--out", out["twin"]],
        ["trust", "--out", out["trust"], "--replications", "64"],
        ["race", "--out", out["race.json"], "--html", out["race.html"], "--replications", "64",
         "--estimator", "unit-trends"],
    ):  # fmt: skip
        assert run_command([words[0], panel, "--spec", spec, *words[1:]]) == 0
    study = str(tmp_path / "twin" / "design.toml")
    options = ("--cluster", "serial", "--replications", "64", "--html", str(tmp_path / "study.html"))
    assert run_command(["run", study, "--store", str(tmp_path / "study.zarr"), *options]) == 0
    written_files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.suffix}
    assert written_files >= {
        "placebo/placebo.html", "placebo/placebo.json", "placebo/placebo.svg", "trust/trust.html", "trust/trust.json",
        "twin/design.toml", "twin/fidelity.html", "twin/fidelity.json", "twin/panel.parquet", "study.html",
    }  # fmt: skip
    assert {row["replications"] for row in json.loads((tmp_path / "trust/trust.json").read_text())["studies"]} == {64}
    race = json.loads((tmp_path / "race.json").read_text())
    assert {row["estimator"] for row in race["panel"]} >= {"did", "unit-trends"}
    page = html.unescape((tmp_path / "race.html").read_text(encoding="utf-8"))
    assert page.index(race["answer"]) < page.index("Misses in the world") < page.index("On the panel itself")


def test_twins_hold_the_real_paths_and_permuted_ones_in_their_place(tmp_path: Path) -> None:
    paths = np.broadcast_to(read(tmp_path).panel.variables["did"], (3, PERIODS, UNITS))
    for keep, same in (("", True), ('\n[twin]\nkeep = ["covariates", "weights"]\n', False)):
        made = twin(read(tmp_path, spec=SPEC + keep)).design
        assert made.adoption == PathsOfPanel(permuted=not same)
        assert made.schema.roles.continuous
        wanted = Wanted(frozenset(made.schema.variables), ())
        drawn = made.settle(Streams(4)).draw(Streams(4).tile(0, 3), wanted).panel.variables["did"]
        order = [np.argsort(one[0]) for one in (drawn[0], paths[0])]
        np.testing.assert_array_equal(drawn[0][:, order[0]], paths[0][:, order[1]])
        assert np.array_equal(np.broadcast_to(drawn, paths.shape), paths) == same
        assert np.array_equal(drawn[0], drawn[-1]) == same


@pytest.mark.parametrize("permuted", [False, True])
def test_the_effect_of_a_unit_is_found_in_worlds_of_real_paths(tmp_path: Path, permuted: bool) -> None:
    """Bias within four Monte Carlo errors, and coverage of 95% intervals of 2,000 panels."""
    design = twin(read(tmp_path)).design
    made = replace(design, adoption=PathsOfPanel(permuted=permuted), redraw=("adoption",) if permuted else ())
    study = Study("dose", made, (TwoWayDID(errors=("cluster:unit",)),), replications=2000, worlds=1)
    frame_of = diagnose(run(study)).frame
    own = frame_of[(frame_of["term"] == "did") & (frame_of["sample"] == "own")].set_index("measure")
    assert own["value"]["truth"] == pytest.approx(made.effect.size_of_units)
    assert abs(own["value"]["bias"]) < 4 * own["mcse"]["bias"]
    assert 0.93 < own["value"]["coverage"] < 0.97


def test_a_panel_text_keeps_the_strength(tmp_path: Path) -> None:
    panel = read(tmp_path).panel
    assert panel_from(panel_text(panel), "here", "none").roles == panel.roles
    plain = replace(panel, roles=replace(panel.roles, continuous=False))
    assert panel_text(plain) != panel_text(panel)


def test_few_units_whose_dose_changes_are_few_treated_units(tmp_path: Path) -> None:
    data = frame().assign(fi=lambda d: np.where(d["city"] <= "c02", d["fi"], 5.0))
    real = read(tmp_path, data, kind("continuous"))
    assert treated_units(real.panel).sum() == 3
    assert few_treated(real.panel, real.spec) == "3 treated units"
    assert "3 units are treated" in forbidden_of(("iid",), real.panel)["iid"]
    whole = read(tmp_path).panel
    assert treated_units(whole).all()
    assert "untreated" not in str(forbidden_of(("cluster:unit", "cv3:unit"), whole))


def test_residual_features_of_an_index_compare_no_treated_cells(tmp_path: Path) -> None:
    real = Real.of(read(tmp_path))
    assert real.policy_off.all()
    assert real.indicator is None
    assert not real.status.compares_units


def test_a_panel_of_doses_in_python_needs_no_file() -> None:
    data = frame()
    panel = Panel.from_frame(data, unit="city", period="year", roles=Roles("y", "fi", ("x",)))
    found = TwoWayDID(errors=("hc1",))(panel)
    assert found.terms[0] == "did"
    assert panel.roles.continuous


def slope(y: np.ndarray, did: np.ndarray) -> float:
    left = did - did.mean(0) - did.mean(1, keepdims=True) + did.mean()
    return float((left * y).sum() / (left * left).sum())


@pytest.mark.parametrize(("estimator", "targets"), [
    (pp.RandomEffects(regressors=("did",), periods=True), {"did": "beta(did)"}),
    (pp.formula("y ~ did | unit + period"), {"did": "beta(did)"}),
    (pp.estimator(terms=["did"], errors=[])(slope)(), {"did": "beta(did)"}),
    (pp.estimator(terms=["att"], errors=[])(slope)(), {"att": "beta(did)"}),
    (pp.Mediation(mediator="m", regressors=("did",), errors=("delta",)),
     {"nde": "unit_nde", "nie": "unit_nie", "total": "beta(did)"}),
], ids=["random", "formula", "function", "one answer", "mediation"])  # fmt: skip
def test_effects_of_a_dose_are_held_to_those_of_one_unit(estimator: Estimator, targets: dict[str, str]) -> None:
    """Doses are 3 on average, so that the effect on the treated is three times that of a unit."""
    design = PanelDesign(
        units=30, periods=6, adoption=Dose(share=0.6, mean=3.0), effect=Effect(size=0.5), redraw=("adoption",),
        mediators=(Linear("m", a=0.7, b=0.4, sd=0.5),), errors=Process(sd=0.3),
    )  # fmt: skip
    streams = Streams(6).tile(0, 200)
    draw = design.settle(Streams(6)).draw(
        streams, Wanted(frozenset(design.schema.variables), (*targets.values(), "att"))
    )
    layout = estimator.layout(design.schema)
    assert {term: layout.targets[term] for term in targets} == targets
    found = estimator(draw.panel, streams)
    for term, target in targets.items():
        miss = found.estimate[:, found.terms.index(term)] - draw.truth[target]
        assert abs(miss.mean()) < 4 * miss.std(ddof=1) / np.sqrt(200), term
        assert draw.truth["att"].mean() > 2 * draw.truth[target].mean()
