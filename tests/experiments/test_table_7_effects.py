"""Table 7 under several choices of effects: columns, tests between them, other programs, what is printed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2

from estimators import LMTests, SpatialPanel
from experiments.estimation import estimate, estimator_called, journal_tables
from experiments.panel_spec.spec import RealPanel, read_real_panel, read_spec, spec_of
from references.small_panels import small_panel
from results.tables.records import Document
from results.text import number
from sim import BadInput, Panel
from sim.weights import band

SPEC = """[panel]
unit = "unit"
period = "year"
outcome = "y"
treatment = "did"
controls = ["inv"]
longitude = "lon"
latitude = "lat"
[inference]
draws = 99
[[weights]]
kind = "knn"
k = 4
"""


def real_panel(folder: Path, spatial: str) -> RealPanel:
    panel = small_panel(24, 5, seed=3, rho=0.4)
    frame = pd.DataFrame({name: panel.variables[name][0].ravel() for name in ("y", "did", "inv")})
    frame["unit"], frame["year"] = np.tile(panel.units, 5), np.repeat(panel.periods, 24)
    rng = np.random.default_rng(1)
    frame["lon"], frame["lat"] = np.tile(100 + 5 * rng.random(24), 5), np.tile(30 + 5 * rng.random(24), 5)
    frame.to_csv(folder / "panel.csv", index=False)
    (folder / "spec.toml").write_text(SPEC + spatial, encoding="utf-8")
    return read_real_panel(folder / "panel.csv", read_spec(folder / "spec.toml"))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Panel, Document]:
    spatial = '[spatial]\neffects = ["two-way", "unit", "period", "none"]\n'
    real = real_panel(tmp_path_factory.mktemp("effects"), spatial)
    return real.balanced(), estimate(real, cross_check=True)


def values(document: Document, model: str, transform: str | None) -> dict[str, float | None]:
    return {item.name: item.value for item in document.statistics
            if (item.table, item.model, item.transform, item.term) == ("7", model, transform, None)}  # fmt: skip


def test_every_choice_of_effects_has_columns_of_its_own(found: tuple[Panel, Document]) -> None:
    panel, document = found
    shown = {(one.model, one.transform) for one in document.records if one.table == "7" and one.term == "did"}
    named = {"direct", "lee-yu", "direct, unit effects", "lee-yu, unit effects", "direct, period effects",
             "lee-yu, period effects", "direct, no effects"}  # fmt: skip
    assert shown == {(model, one) for model in ("sem", "sar", "sdm", "slx", "sdem", "sac") for one in named}
    for effects, transform in (("unit", "direct, unit effects"), ("none", "direct, no effects"), ("two-way", "direct")):
        got = SpatialPanel("sdm", effects=effects)(panel)
        (record,) = [one for one in document.records if (one.table, one.model, one.transform, one.term, one.se_type)
                     == ("7", "sdm", transform, "w_did", "information")]  # fmt: skip
        assert record.estimate == pytest.approx(got.params["w_did"], rel=1e-12)


@pytest.mark.parametrize("model", ["sem", "sar", "sdm", "slx", "sdem", "sac"])
def test_lr_tests_between_effects(found: tuple[Panel, Document], model: str) -> None:
    """2 (lnL - lnL0) of direct likelihoods; N - 1 = 23 and T - 1 = 4 degrees of freedom."""
    panel, document = found
    loglik = {effects: float(SpatialPanel(model, effects=effects)(panel).statistics["loglik"][0])
              for effects in ("two-way", "unit", "period", "none")}  # fmt: skip
    nested = {"direct": ("two-way", {"unit": 4, "period": 23, "none": 27}),
              "direct, unit effects": ("unit", {"none": 23}), "direct, period effects": ("period", {"none": 4}),
              "direct, no effects": ("none", {})}  # fmt: skip
    for transform, (larger, smaller) in nested.items():
        own = values(document, model, transform)
        assert {name[3:] for name in own if name.startswith("lr_")} - {"sar", "sem", "sar_p", "sem_p"} == {
            f"{name}{end}" for name in smaller for end in ("", "_df", "_p")
        }
        for name, df in smaller.items():
            statistic = 2 * (loglik[larger] - loglik[name])
            assert own[f"lr_{name}"] == pytest.approx(statistic, rel=1e-9)
            assert own[f"lr_{name}_df"] == df
            assert own[f"lr_{name}_p"] == pytest.approx(chi2.sf(statistic, df), rel=1e-9)


def test_lm_tests_have_the_same_effects(found: tuple[Panel, Document]) -> None:
    panel, document = found
    for transform, effects in ((None, ("unit", "period")), ("unit effects", ("unit",)), ("no effects", ())):
        got = LMTests(effects=effects)(panel)
        assert values(document, "lm", transform)["rlm_lag"] == pytest.approx(got.params["rlm_lag"], rel=1e-9)


def test_spreg_recomputes_unit_effects_too(found: tuple[Panel, Document]) -> None:
    (spatial,) = [one for one in found[1].cross_check if (one.table, one.what) == ("7", "estimates")]
    assert spatial.compared == 2 * (2 * 4 + 6)
    assert spatial.largest < 1e-5


def test_titles_and_notes_name_the_effects(found: tuple[Panel, Document]) -> None:
    tables = [table for table in journal_tables(found[1]) if table.title.startswith("Spatial models of")]
    titles = [table.title for table in tables]
    assert [title.partition("W knn-4, ")[2] for title in titles[:7]] == [
        "direct maximum likelihood", "Lee and Yu's transformed likelihood",
        "direct maximum likelihood, unit effects", "Lee and Yu's transformed likelihood, unit effects",
        "direct maximum likelihood, period effects", "Lee and Yu's transformed likelihood, period effects",
        "direct maximum likelihood, no effects",
    ]  # fmt: skip
    said = {title: " ".join(table.notes) for title, table in zip(titles, tables, strict=True)}
    assert "the likelihood with a constant." in said[titles[6]]
    assert "N(T - 1) observations" in said[titles[3]]
    assert "outcome net of period effects" in said[titles[4]]
    labels = [row.label for row in tables[0].rows]
    assert {"LR against unit effects alone, χ²", "LR against period effects alone, χ²"} <= set(labels)
    assert "LR against no effects, χ²" in [row.label for row in tables[2].rows]


def test_the_first_effects_are_those_of_placebos(tmp_path: Path) -> None:
    real = real_panel(tmp_path, '[spatial]\neffects = "unit"\n')
    assert estimator_called("sdm", real).effects == "unit"
    assert estimator_called("sdm", real).transform == "lee-yu"
    real = real_panel(tmp_path, '[spatial]\neffects = "none"\n')
    assert estimator_called("sar", real).transform == "direct"


@pytest.mark.parametrize(("written", "message"), [
    ("effects = []", r"effects = \[\]"),
    ('effects = ["unit", "unit"]', "effects names 'unit' twice"),
    ('effects = "twoway"', "effects"),
    ("effects = true", "effects"),
    ('effect = "unit"', "effect"),
])  # fmt: skip
def test_careless_tables_are_bad_input(tmp_path: Path, written: str, message: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        real_panel(tmp_path, f"[spatial]\n{written}\n")
    assert "[spatial]" in str(caught.value)


# One model under every W.

SEVERAL = """[[weights]]
kind = "inverse-distance"
"""


def test_slx_and_sdm_of_every_w_stand_beside_the_did(tmp_path: Path) -> None:
    document = estimate(real_panel(tmp_path, SEVERAL))
    (table,) = [table for table in journal_tables(document) if table.title.startswith("One model under every W")]
    heads = [(head.label, head.group) for head in table.columns]
    names = ("knn-4", "inverse-distance")
    assert heads == [("DID", "no W"), *((model, f"W {name}") for name in names for model in ("SLX", "SDM"))]
    rows = {row.label: row.cells for row in table.rows if row.kind == "value"}
    assert list(rows)[:6] == ["did", "W × did", "ρ", "Direct effect of did", "Indirect effect of did",
                              "Total effect of did"]  # fmt: skip
    for column, (model, weights) in enumerate([(model, name) for name in names for model in ("slx", "sdm")], start=1):
        for label, term in (("did", "did"), ("W × did", "w_did"), ("Indirect effect of did", "indirect:did")):
            found = next(one for one in document.records if (one.table, one.model, one.weights, one.term)
                         == ("7", model, weights, term) and one.se_type == "cluster:unit")  # fmt: skip
            assert float(rows[label][column].rstrip("* ")) == pytest.approx(found.estimate, abs=6e-5)
    assert rows["ρ"][1] == rows["ρ"][3] == ""
    assert rows["W × did"][0] == ""


def test_a_single_w_has_no_such_table(found: tuple[Panel, Document]) -> None:
    assert not [table for table in journal_tables(found[1]) if "every W" in table.title]


# The SDM by distance cut-off.


def test_each_cutoff_is_the_sdm_under_its_band(tmp_path: Path) -> None:
    real = real_panel(tmp_path, "[spatial]\ncutoffs = [150, 300]\n")
    document, panel = estimate(real), real.balanced()
    for column, km in ((1, 150), (2, 300)):
        places = (np.asarray(panel.attributes[name], float) for name in ("longitude", "latitude"))
        weights = band(panel.units, *places, km=km, islands="nearest")
        got = SpatialPanel("sdm", "lee-yu")(replace(panel, weights={weights.name: weights}))
        for term in ("w_did", "rho", "indirect:did"):
            (record,) = [one for one in document.records if (one.table, one.column, one.term, one.se_type)
                         == ("K", column, term, "information")]  # fmt: skip
            assert record.estimate == pytest.approx(got.params[term], rel=1e-10)
        (count,) = [one.value for one in document.statistics
                    if (one.table, one.column, one.name) == ("K", column, "neighbours")]  # fmt: skip
        assert count == pytest.approx((weights.dense != 0).sum(axis=1).mean())
    (table,) = [table for table in journal_tables(document) if table.name == "K"]
    assert [head.label for head in table.columns] == ["150 km", "300 km"]
    (figure,) = [figure for figure in document.figures if figure.name == "cutoffs"]
    assert "ρ 150 km" in figure.svg
    assert all(f"{number(got.params[term], 3)}" in figure.svg for term in ("rho", "indirect:did"))


@pytest.mark.parametrize(
    ("spatial", "said"),
    [("cutoffs = [300, 150]", "ascending order"), ("cutoffs = [0]", "cutoffs"), ("cutoffs = [150, 150]", "twice")],
)
def test_cutoffs_that_cannot_be_are_one_line(tmp_path: Path, spatial: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        real_panel(tmp_path, f"[spatial]\n{spatial}\n")


def test_cutoffs_need_coordinates() -> None:
    with pytest.raises(BadInput, match="cutoffs need coordinates"):
        spec_of({"panel": {"unit": "u", "period": "t", "outcome": "y"}, "spatial": {"cutoffs": [1.0, 2.0]}})
