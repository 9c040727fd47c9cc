"""`panelproof twin`: what it writes, what a study of a twin holds, and how like its twins a panel is."""

from __future__ import annotations

import json
import shutil
import tomllib
from dataclasses import asdict, replace
from pathlib import Path

import made_cities
import made_twins
import numpy as np
import pandas as pd
import pytest
from commands import here, refusal
from damage import at_most
from refusals import refuses, refuses_all
from verdict_worlds import World, by_method

import panelproof as pp
from estimators.linear.did import TwoWayDID
from experiments.run.resume import replay
from experiments.run.runner import run
from experiments.study import Study
from experiments.twins.real import Real, check_twins
from experiments.twins.twin import FidelityRow, Twin, misses, twin
from results.diagnosis.diagnose import diagnose
from results.store.zarr_store import ZarrStore
from sim import Panel, Streams
from sim.errors import bad
from sim.weights import Weights
from sim.world.panel_design import PanelDesign

SPEC = f"""{made_cities.PANEL}
groups = ["province"]
{made_cities.PLACES}
[[weights]]
kind = "knn"
k = 4
[twin]
rank = 2
draws = 100
replications = 64
"""
FILES = {"design.toml", "design-factor.toml", "design-residual.toml", "panel.parquet", "fidelity.json",
         "fidelity.html"}  # fmt: skip

FITTED = {"variance share of units", "variance share of periods", "variance share of the rest",
          "AR(1) of residuals", "Moran's I of residuals", "correlation of unit effects with treatment"}  # fmt: skip


def command(panel: Path, spec: Path, *options: object) -> tuple[object, ...]:
    return ("twin", panel, "--spec", spec, *options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("twin")
    made_cities.real_panel(folder, SPEC)
    here(*command(folder / "panel.csv", folder / "spec.toml", "--out", folder / "out"))
    return folder


@pytest.fixture(scope="module")
def whole(folder: Path) -> Twin:
    return pp.twin(folder / "panel.csv", folder / "spec.toml")


def test_the_folder_holds_a_study_and_what_is_kept(folder: Path, whole: Twin) -> None:
    assert {path.name for path in (folder / "out").iterdir()} == FILES
    study = Study.from_toml(folder / "out" / "design.toml")
    assert study.name == "twin-parametric"
    assert [estimator.name for estimator in study.estimators] == ["did", "sdm-lee-yu"]
    assert study.estimators[0].errors == ("iid", "hc1", "cluster:unit")  # type: ignore[attr-defined]
    assert study.fingerprint == whole.study.fingerprint
    assert isinstance(study.design, PanelDesign)
    assert study.replications == 64
    text = (folder / "out" / "design.toml").read_text(encoding="utf-8")
    assert "#" not in text
    assert tomllib.loads(text)["design"]["effect"]["size"] == pytest.approx(whole.design.effect.size_of_units)


def test_fidelity_json_has_the_fields_of_the_contract_and_the_page_what_twins_miss(folder: Path, whole: Twin) -> None:
    rows = json.loads((folder / "out" / "fidelity.json").read_text(encoding="utf-8"))
    assert {tuple(row) for row in rows} == {("method", "feature", "real", "lower", "upper", "inside")}
    assert rows == [asdict(row) for one in whole.all for row in one.fidelity]
    assert {row["method"] for row in rows} == {"parametric", "factor", "residual"}
    named = {row["feature"] for row in rows if row["method"] == "parametric"}
    assert named >= FITTED | {"AR(2) of residuals", "kurtosis of residuals", "pre-trend F",
                              "correlation of unit effects with road", "Moran's I by period (largest deviation)",
                              "log variance of units before treatment", "log variance under treatment",
                              "log variances by period (largest deviation)", "eigenvalue share 3", "1% quantile",
                              "99% quantile", "joint test (p)"}  # fmt: skip
    assert all(row["inside"] == (row["lower"] <= row["real"] <= row["upper"]) for row in rows)
    joint = {row["method"]: row["real"] for row in rows if row["feature"] == "joint test (p)"}
    assert joint == {one.method: one.joint for one in whole.all}
    assert not FITTED & {row.feature for row in whole.fidelity if not row.inside}, "what was fitted lies inside"
    page = (folder / "out" / "fidelity.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "http" not in page
    for sentence in (sentence for one in whole.all for sentence in misses(one.fidelity)):
        assert sentence.split(" (")[0].replace("'", "&#39;") in page


def test_the_command_prints_the_same_numbers(folder: Path, whole: Twin, capsys: pytest.CaptureFixture[str]) -> None:
    held = json.loads(here(*command(folder / "panel.csv", folder / "spec.toml", "--json")).out)
    assert held["fidelity"] == [asdict(row) for one in whole.all for row in one.fidelity]
    own = held["twins"][0]["parameters"]
    assert [item["dial"] for item in own] == [item.dial for item in whole.parameters]
    assert own[0]["se"] == whole.parameters[0].se > 0
    pp.show(whole)
    printed = capsys.readouterr().out
    for words in (
        *(item.dial.split("_")[0] for item in whole.parameters),
        "error",
        "Rankings of estimators can mislead",
    ):
        assert words in printed


def test_what_is_kept_real_is_in_every_draw_and_the_effect_is_the_estimate(folder: Path, whole: Twin) -> None:
    real = pp.read_panel(folder / "panel.csv", folder / "spec.toml").panel
    own = dict(TwoWayDID()(real).params)
    assert whole.design.effect.size_of_units == pytest.approx(own["did"], rel=1e-10)
    effects = {item.name: item.effect for item in whole.design.covariates}
    assert effects == pytest.approx({name: own[name] for name in ("road", "book")}, rel=1e-10)
    for one in whole.all:
        drawn = one.design.draw(Streams(1).tile(0, 2)).panel
        for name in ("did", "road", "book"):
            np.testing.assert_array_equal(drawn.variables[name], real.variables[name])
        assert drawn.weights["knn-4"].digest == real.weights["knn-4"].digest
        assert drawn.variables["y"].shape == (2, 9, 36)


@pytest.mark.parametrize("method", ["parametric", "factor", "residual"])
def test_did_is_unbiased_on_a_twin_with_the_real_calendar(whole: Twin, method: str) -> None:
    one = next(item for item in whole.all if item.method == method)
    assert one.null is (method != "residual")  # whose 36 units are 4 blocks of neighbours: 16 different panels
    found = diagnose(run(one.study.resized(replications=1024))).frame
    row = found[(found["estimator"] == "did") & (found["term"] == "did") & (found["measure"] == "bias")].iloc[0]
    assert abs(row["value"]) < 4 * row["mcse"]


def test_without_the_errors_kept_levels_are_the_real_ones(folder: Path) -> None:
    real = pp.read_panel(folder / "panel.csv", folder / "spec.toml")
    one, held = twin(real, "residual"), Real.of(real)
    signal = _without_errors(one.design).draw(Streams(1)).panel.variables["y"][0]
    left = real.panel.variables["y"][0] - signal
    first = held.policy[0].sum(axis=0)  # type: ignore[index]
    for cohort in np.unique(first):
        own = first == cohort
        treated = ~held.policy_off[:, own][:, 0]
        left[np.ix_(treated, own)] -= left[np.ix_(treated, own)].mean(axis=1, keepdims=True)
    paths = held.regression.cohorts.residuals(held.rest[None])[0]  # type: ignore[union-attr]
    np.testing.assert_allclose(left, paths, atol=1e-8)


def test_a_kept_signal_is_the_real_one_and_has_no_vote(folder: Path) -> None:
    """Y = F + M + tau D + X b + E with levels among what is kept; the calendar is kept too, so it is no null."""
    text = SPEC.replace("rank = 2", 'rank = 2\nkeep = ["covariates", "weights", "calendar", "missing", "levels"]')
    (folder / "kept.toml").write_text(text, encoding="utf-8")
    real = pp.read_panel(folder / "panel.csv", folder / "kept.toml")
    one = twin(real, "factor")
    signal = _without_errors(one.design).draw(Streams(1)).panel.variables["y"][0]
    singular = np.linalg.svd(Real.of(real).rest, compute_uv=False)
    left = real.panel.variables["y"][0] - signal
    assert np.square(left).sum() == pytest.approx(np.square(singular[2:]).sum(), rel=1e-8)
    assert not one.null
    assert any("has no vote" in note for note in one.notes)
    (folder / "drawn.toml").write_text(SPEC + '[twin.adoption]\nkind = "random"\n', encoding="utf-8")
    assert twin(pp.read_panel(folder / "panel.csv", folder / "drawn.toml"), "factor").null


def _without_errors(design: PanelDesign) -> PanelDesign:
    return replace(design, errors=replace(design.errors, scale=0.0))  # type: ignore[call-arg]


def test_a_study_is_safe_from_its_files(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "out", tmp_path / "here")
    study = Study.from_toml(tmp_path / "here" / "design.toml")
    run(study, store=tmp_path / "s.zarr")
    (tmp_path / "here" / "panel.parquet").unlink()
    refuses(r"there is no file .*panel\.parquet", lambda: Study.from_toml(tmp_path / "here" / "design.toml"))
    held = ZarrStore.open(tmp_path / "s.zarr")
    again = replay(held, 0, 5)
    assert isinstance(again.panel, Panel)
    frame = pd.read_parquet(folder / "out" / "panel.parquet")
    frame.loc[3, "road"] += 1e-9
    frame.to_parquet(tmp_path / "here" / "panel.parquet", index=False)
    other = Study.from_toml(tmp_path / "here" / "design.toml")
    assert other.fingerprint != study.fingerprint
    refuses("", lambda: run(other.resized(replications=128), store=tmp_path / "s.zarr"))


@pytest.mark.parametrize(("keep", "kinds"), [
    ('["weights", "calendar", "levels"]', ("kept", "fitted", "normal", "kept")),
    ('["covariates", "levels"]', ("knn", "fitted", "kept", "calendar")),
    ("[]", ("knn", "effects", "normal", "calendar")),
])  # fmt: skip
def test_each_kept_thing_may_be_a_fitted_process(folder: Path, keep: str, kinds: tuple[str, ...]) -> None:
    spec = folder / "other.toml"
    spec.write_text(SPEC.replace("rank = 2", f'keep = {keep}\nmethod = "parametric"'), encoding="utf-8")
    design = pp.twin(folder / "panel.csv", spec).design
    parts = (design.weights, design.levels, design.covariates[0], design.adoption)
    assert tuple(part.kind for part in parts) == kinds
    panel = design.draw(Streams(2).tile(0, 3)).panel
    assert panel.replications == 3
    share = panel.variables["did"].mean(axis=(1, 2))
    real = pp.read_panel(folder / "panel.csv", folder / "spec.toml").panel.variables["did"].mean()
    np.testing.assert_allclose(share, real, atol=1e-12)


def test_units_that_are_always_treated_stay_so_where_adoption_is_drawn_and_nobody_need_be_untreated(
    tmp_path: Path,
) -> None:
    real = by_method(World("all", units=24, periods=10, dates=((0, 5), (5, 10), (7, 9))).real(tmp_path, 1), "residual")
    assert real.spec.twin is not None
    drawn = real.spec.model_copy(update={"twin": real.spec.twin.model_copy(update={"keep": ("weights",)})})
    design = twin(replace(real, spec=drawn)).design
    for one in design.draw(Streams(2).tile(0, 2)).panel.variables["did"]:
        assert sorted(one.sum(axis=0)) == [3.0] * 9 + [5.0] * 10 + [10.0] * 5


def test_weights_in_another_unit_change_a_spatial_coefficient_alone(tmp_path: Path) -> None:
    world = World("weights", units=24, periods=8, dates=((5, 10),), ring=True)
    real, fitted = by_method(world.real(tmp_path, 1), "parametric"), list[dict[str, float]]()
    for unit in (1.0, 1e-3):
        w = Weights.of(real.panel.units, unit * real.panel.weights["ring"].dense, standardize="none", name="w")
        found = twin(replace(real, panel=replace(real.panel, weights={"w": w})))
        fitted.append({item.dial: item.value for item in found.parameters})
    assert abs(fitted[1]["errors.spatial"]) > 1.0
    for dial in ("errors.spatial", "levels.unit_spatial"):
        fitted[1][dial] *= 1e-3
    assert fitted[1] == pytest.approx(fitted[0], rel=1e-6)


def test_sentences_are_in_words() -> None:
    rows = (
        FidelityRow("factor", "AR(1) of residuals", 0.6, 0.3, 0.5, inside=False),
        FidelityRow("factor", "Moran's I by period (largest deviation)", 4.0, 0.0, 3.1, inside=False),
        FidelityRow("factor", "log variance under treatment", 0.4, -0.3, 0.3, inside=False),
        FidelityRow("factor", "kurtosis of residuals", 3.0, 2.5, 3.5, inside=True),
        FidelityRow("factor", "joint test (p)", 0.012, 0.05, 1.0, inside=False),
    )
    assert misses(rows) == (
        "AR(1) of residuals: residuals last longer in the panel than in its twins (0.6; 95% of twins lie between 0.3 "
        "and 0.5).",
        "Moran's I by period (largest deviation): periods differ more in the panel than in its twins (4; 95% of twins "
        "lie between 0 and 3.1).",
        "log variance under treatment: treated units vary more, beside their time before, in the panel than in its "
        "twins (0.4; 95% of twins lie between -0.3 and 0.3).",
        "The features of the residuals together: fewer than 5% of twins lie as far from the other twins as the panel "
        "does (p = 0.012).",
    )


LAST = "replications = 64"  # behind which a table of its own may stand
WRONG: dict[str, tuple[dict[str, str], str]] = {
    "no such method": ({"[twin]": '[twin]\nmethod = "best"'}, "method"),
    "unknown key": ({"rank = 2": "rang = 2"}, "unknown key 'rang'"),
    "rank too high": ({"rank = 2": "rank = 9"}, "rank = 9 of 36 units and 9 periods"),
    "too short for the order": ({"rank = 2": "ar = 4\n"}, ""),
    "unknown kept thing": ({"rank = 2": 'keep = ["w"]'}, "keep[0] = 'w'"),
    "no treatment": ({'treatment = "d"': ""}, "the panel has no treatment"),
    "no such indicator": ({LAST: '[twin.adoption]\nkind = "propensity"\nindicator = "law"'}, "no column 'law'"),
    "an indicator that is not 0 and 1": (
        {LAST: '[twin.adoption]\nkind = "propensity"\nindicator = "gdp"'}, "is not 0 and 1 in 2018"),
    "an indicator of another kind": (
        {LAST: '[twin.adoption]\nkind = "random"\nindicator = "pilot"'}, "indicator = 'pilot'"),
    "unknown key of the adoption": ({LAST: '[twin.adoption]\nkind = "propensity"\nof = "levels"'}, "unknown key 'of'"),
    "factors that the method lacks": (
        {"rank = 2": 'method = "residual"', LAST: '[twin.adoption]\nkind = "propensity"\non = "factors"'},
        "needs loadings"),
    "too few draws": ({"draws = 100": "draws = 10"}, "draws = 10"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_bad_input_is_one_line_and_nothing_is_written(folder: Path, tmp_path: Path, name: str) -> None:
    changes, words = WRONG[name]
    text, panel = SPEC, folder / "panel.csv"
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new, 1)
    (tmp_path / "spec.toml").write_text(text, encoding="utf-8")
    made_cities.edges().to_csv(tmp_path / "w.csv", index=False)
    if not words:
        frame = pd.read_csv(panel)
        check_twins(made_cities.real_panel(tmp_path, text, frame[frame["year"] < 2017]))  # seven periods are enough
        panel, words = tmp_path / "short.csv", "ar = 4 of 6 periods"
        frame[frame["year"] < 2016].to_csv(panel, index=False)
    assert words in refusal(*command(panel, tmp_path / "spec.toml", "--out", tmp_path / "o"))
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(("given", "said", "remedy"), [
    ("", "3 periods, too few for errors that last;", "take more periods"),
    ("ar = 1", "ar = 1 of 3 periods;", "take more periods"),
    ("ar = 2", "ar = 2 of 3 periods;", "choose a lower order, or a longer panel"),
])  # fmt: skip
def test_no_lower_order_is_advised_than_there_is(tmp_path: Path, given: str, said: str, remedy: str) -> None:
    frame = made_cities.frame()
    real = made_cities.real_panel(tmp_path, SPEC.replace("rank = 2", given), frame[frame["year"].between(2013, 2015)])
    assert str(refuses_all([said], check_twins, real)).endswith(remedy)


def test_the_command_passes_its_methods_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fitted(_: object, methods: object) -> None:
        raise bad(f"methods {methods}", where="twin", allowed="any", remedy="none")

    monkeypatch.setattr("experiments.twins.twin.twin", fitted)
    made_cities.real_panel(tmp_path, SPEC)
    asked = command(tmp_path / "panel.csv", tmp_path / "spec.toml", "--method", "factor", "--method", "residual")
    assert "methods ('factor', 'residual')" in refusal(*asked)


def test_a_panel_with_gaps_says_what_to_do(tmp_path: Path) -> None:
    made_cities.frame_with_gaps().dropna().to_csv(tmp_path / "panel.csv", index=False)
    spec = made_cities.PANEL + '[twin]\nmethod = "residual"\ndraws = 100\n'
    (tmp_path / "spec.toml").write_text(spec, encoding="utf-8")
    asked = command(tmp_path / "panel.csv", tmp_path / "spec.toml", "--out", tmp_path / "o")
    assert 'balance = "drop-units"' in here(*asked, code=2).err
    assert not (tmp_path / "o").exists()
    (tmp_path / "spec.toml").write_text(spec.replace("[twin]", 'balance = "drop-units"\n[twin]'), encoding="utf-8")
    said = " ".join(here(*asked).out.split())
    units = Study.from_toml(tmp_path / "o" / "design.toml").design.schema.units
    assert units < 36
    assert f"of the part of the panel without gaps: {units} of 36 units, " in said


@pytest.mark.parametrize("on", ["levels", "trends", "neighbours"])
def test_a_propensity_is_fitted_to_who_is_treated(tmp_path: Path, on: str) -> None:
    adoption = f'[twin.adoption]\nkind = "propensity"\non = "{on}"\n'
    real = made_cities.real_panel(tmp_path, SPEC.replace("rank = 2", 'method = "residual"') + adoption)
    design = twin(real).design
    world = design.settle(Streams(1))
    chances = design.adoption.chances(world.settled.context)  # type: ignore[attr-defined]
    treated = real.panel.variables["did"][0].any(axis=0)
    assert chances.sum() == pytest.approx(treated.sum(), rel=1e-8)
    assert design.adoption.date_weights == ((2012, 6.0), (2014, 5.0), (2016, 4.0))  # type: ignore[attr-defined]
    drawn = design.draw(Streams(3).tile(0, 20)).panel.variables["did"]
    assert len({tuple(row.any(axis=0)) for row in drawn}) > 10


def test_methods_may_be_named_in_python(tmp_path: Path) -> None:
    real = made_twins.drawn_panel(tmp_path, 3, made_twins.KNOWN | {"units": 40, "geography": {"groups": 5}})
    found = pp.twin(real, method=["residual", "factor"])
    assert [one.method for one in found.all] == ["residual", "factor"]
    refuses("method", lambda: twin(real, "best"))
    files = pp.write_twin(found, tmp_path / "out")
    assert {path.name for path in files} == {"design.toml", "design-factor.toml", "panel.parquet", "fidelity.json",
                                             "fidelity.html"}  # fmt: skip
    largest = max(path.stat().st_size for path in files)
    for path in files:
        path.write_text("another twin's")
    with at_most(largest - 1), pytest.raises(OSError, match="File too large"):
        pp.write_twin(found, tmp_path / "out")
    assert {path.read_text() for path in files} == {"another twin's"}, "no panel of one twin beside another's design"
