"""Table 7: against spreg on two panels of cities, published tests on cigarettes, the conclusion, notes and effects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import made_cities
import numpy as np
import pandas as pd
import pytest
from ledgers import by_term, fact, facts, filled, one, records
from scipy.stats import chi2, norm

import panelproof as pp
from estimators import LMTests, SpatialPanel
from experiments.estimation import estimate, estimator_called, journal_tables
from experiments.panel_spec.spec import RealPanel
from experiments.references import pysal
from experiments.tables import spatial_models
from experiments.tables.ledger import Ledger
from experiments.tables.spatial_models import conclusion
from references import brute_force
from references.small_panels import small_panel
from results import text
from results.tables.records import Document
from results.tables.typography import decimals
from sim import BadInput, Panel, Roles
from sim.weights import band

MODELS = ("sem", "sar", "sdm", "slx", "sdem", "sac")
KINDS = ("direct", "indirect", "total")


table = partial(filled, spatial_models.add)


def values(of: Ledger | Document, model: str, transform: str | None, weights: str) -> dict[str, Any]:
    """Of a column, where there are such: SAC's `mode_gap` has no value where the likelihood has one maximum."""
    found = facts(of, table="7", model=model, transform=transform, weights=weights)
    return {name: value for name, value in found.items() if value is not None}


MADE: dict[str, Any] = {
    "panel": {"unit": "city", "period": "year", "outcome": "y", "treatment": "d", "controls": ["road", "book"],
              "cluster": "province", "longitude": "lon", "latitude": "lat"},
    "inference": {"errors": ["driscoll-kraay", "conley:300", "wild:unit", "cluster:province+period"], "draws": 199},
    "weights": [{"kind": "knn", "k": 6}, {"kind": "inverse-distance", "cutoff_km": 500, "standardize": "spectral"}],
}  # fmt: skip
CITIES = MADE | {
    "panel": {"unit": "city_code", "period": "year", "outcome": "deposit_gdp", "treatment": "lowcarbon_did",
              "controls": ["fiscal_exp_gdp", "fiscal_self_suff", "div_inv_hhi_3sector"], "cluster": "province",
              "longitude": "lon_centroid", "latitude": "lat_centroid"},
    "weights": [MADE["weights"][0], MADE["weights"][1] | {"cutoff_km": 1500}],
}  # fmt: skip


@pytest.fixture(scope="module", params=["committed", "shared"])
def cities(request: pytest.FixtureRequest) -> RealPanel:
    if request.param == "committed":
        return pp.read_panel(made_cities.frame(), MADE)
    shared_data: Path = request.getfixturevalue("shared_data")
    frame = pd.read_csv(shared_data / "city_panel.csv")
    places = pd.read_csv(shared_data / "prefectures.csv")[["adcode", "lon_centroid", "lat_centroid"]]
    frame = frame.merge(places, left_on="city_code", right_on="adcode")
    return pp.read_panel(frame, CITIES)


@pytest.fixture(scope="module")
def of_cities(cities: RealPanel) -> Ledger:
    return table(cities)


@pytest.fixture(scope="module")
def of_made() -> Ledger:
    return table(pp.read_panel(made_cities.frame(), MADE))


@pytest.mark.parametrize("model", ["sar", "sem", "sdm"])
def test_cities_equal_spreg_with_time_dummies(cities: RealPanel, of_cities: Ledger, model: str) -> None:
    theirs = pysal.spatial_panel(cities.panel, model, weights="knn-6")  # type: ignore[arg-type]
    own = {"model": model, "transform": "direct", "weights": "knn-6", "se_type": "information"}
    ours = [one(of_cities, term=term, **own) for term in theirs.terms]
    np.testing.assert_allclose([record.estimate for record in ours], theirs.estimate, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(np.array([record.se for record in ours]), theirs.se["information"], rtol=1e-6)
    assert values(of_cities, model, "direct", "knn-6")["loglik"] == pytest.approx(theirs.statistics["loglik"], rel=1e-9)


def test_every_column_has_its_place_weights_errors_and_notes(of_made: Ledger) -> None:
    assert not of_made.failures
    columns = {(r.table, r.column, r.model, r.transform, r.weights) for r in of_made.records}
    knn = [("7", column, model, transform, "knn-6") for column, model in enumerate(MODELS, 1)
           for transform in ("direct", "lee-yu")]  # fmt: skip
    distance = [("7", column, model, "direct", "inverse-distance") for column, model in enumerate(MODELS, 1)]
    assert columns == {*knn, *distance}
    asked = ["information", "hessian", "qmle", "cluster:province", "driscoll-kraay", "conley:300"]
    for model in MODELS:
        own = records(of_made, model=model, transform="direct", weights="knn-6", term="did")
        assert [record.se_type for record in own] == asked
        assert all(record.se is not None and record.se > 0 for record in own)
    notes = "\n".join(of_made.notes)
    assert ("Weights inverse-distance: there are no Lee-Yu columns, because the transformation needs rows that sum to "
            "one. In SEM, SDEM and SAC the period effects stand outside of the filter") in notes  # fmt: skip
    assert "Weights knn-6: there are no Lee-Yu" not in notes
    assert "Weights inverse-distance: every unit is treated or has a treated neighbour" in notes
    assert "Weights knn-6: every unit" not in notes
    for column in ("knn-6, direct", "knn-6, lee-yu", "inverse-distance, direct"):
        assert f"Weights {column}: LR tests reject SAR" in notes
    assert "LR statistics compare log-likelihoods of one W and one transform" in notes


def test_effects_say_how_their_errors_are_made(of_made: Ledger) -> None:
    simulated = records(of_made, se_type="simulation")
    assert {record.effects_method for record in simulated} == {"simulation"}
    assert {record.term.partition(":")[0] for record in simulated} == set(KINDS)
    for record in (record for record in of_made.records if record.se_type != "simulation"):
        assert record.effects_method == ("delta" if record.term.partition(":")[0] in KINDS else None)
    for kind in KINDS:
        pair = {"model": "sdm", "transform": "lee-yu", "weights": "knn-6", "term": f"{kind}:did"}
        delta, drawn = (one(of_made, se_type=name, **pair) for name in ("information", "simulation"))
        assert drawn.estimate == delta.estimate
        assert drawn.se == pytest.approx(delta.se, rel=0.2)  # 199 draws


def by_file(folder: Path, edges: pd.DataFrame, **panel: Any) -> dict[str, Any]:
    """A spec whose W are the links (focal, neighbor, weight) in a file."""
    edges.set_axis(["focal", "neighbor", "weight"], axis=1).to_csv(folder / "w.csv", index=False)
    return {"panel": panel | {"period": "year"}, "inference": {"draws": 99},
            "weights": [{"kind": "file", "path": str(folder / "w.csv")}]}  # fmt: skip


@pytest.fixture(scope="module")
def of_cigarettes(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    folder = tmp_path_factory.mktemp("cigarettes")
    w = pd.read_csv(shared_data / "cigarettes_w46.csv", index_col=0)
    edges = w.rename_axis("focal").reset_index().melt("focal", var_name="neighbor", value_name="weight")
    spec = by_file(folder, edges[edges["weight"] > 0], unit="name", outcome="logc", controls=["logp", "logy"])
    return table(pp.read_panel(pd.read_csv(shared_data / "cigarettes.csv"), spec))


@pytest.mark.parametrize(("transform", "sar", "sem"), [("direct", 15.9035, 8.6402), ("lee-yu", 18.1887, 7.3195)])
def test_likelihood_ratios_of_cigarettes(of_cigarettes: Ledger, transform: str, sar: float, sem: float) -> None:
    got = values(of_cigarettes, "sdm", transform, "w")
    np.testing.assert_allclose([got["lr_sar"], got["lr_sem"]], [sar, sem], rtol=0, atol=1e-4)
    assert got["lr_sar_p"] == pytest.approx(np.exp(-got["lr_sar"] / 2), rel=1e-9)  # two degrees of freedom
    if transform == "lee-yu":
        assert (got["wald_sar"], got["wald_sem"]) == pytest.approx((17.6332, 7.4376), abs=1e-4)


def test_lm_tests_of_cigarettes(of_cigarettes: Ledger) -> None:
    got = values(of_cigarettes, "lm", None, "w")
    names = ("lm_lag", "lm_err", "rlm_lag", "rlm_err")
    np.testing.assert_allclose([got[name] for name in names], [60.33, 72.92, 1.11, 13.70], atol=0.0051)
    elhorst = [got[f"{name}_elhorst"] for name in names]
    np.testing.assert_allclose(elhorst, [47.07, 54.65, 1.17, 8.75], atol=0.0051)
    chosen = "LR tests reject SAR (15.90, p < .001) and SEM (8.64, p = .013): they choose the SDM."
    assert f"Weights w, direct: {chosen}" in of_cigarettes.notes


def lm(lag: float, error: float, robust_lag: float, robust_error: float) -> dict[str, float]:
    """LM statistics with 1 and 0 for rejected and not."""
    named = dict(zip(("lm_lag", "lm_err", "rlm_lag", "rlm_err"), (lag, error, robust_lag, robust_error), strict=True))
    return named | {f"{name}_p": 0.5 if value < 3.84 else 0.01 for name, value in named.items()}


LAG, ERROR, NEITHER = lm(20, 15, 9, 1), lm(15, 20, 1, 9), lm(1, 1, 1, 1)


@pytest.mark.parametrize(
    ("sar_p", "sem_p", "lagrange", "chosen"),
    [
        (0.01, 0.01, LAG, "reject SAR (9.00, p = .010) and SEM (9.00, p = .010): they choose the SDM."),
        (0.01, 0.01, NEITHER, "choose the SDM."),
        (0.30, 0.01, LAG, "do not reject SAR (9.00, p = .300) and reject SEM (9.00, p = .010), and the LM tests "
                          "point to SAR: they choose the SAR."),
        (0.30, 0.01, ERROR, "but the LM tests point to SEM: they choose the SDM, which nests both."),
        (0.01, 0.30, ERROR, "point to SEM: they choose the SEM."),
        (0.30, 0.30, LAG, "do not reject SAR (9.00, p = .300) and SEM (9.00, p = .300), and the LM tests point to "
                          "SAR: they choose the SAR."),
        (0.30, 0.30, ERROR, "they choose the SEM."),
        (0.30, 0.30, NEITHER, "and the LM tests find no spatial dependence: they choose the model without spatial "
                              "terms."),
        (0.30, 0.01, NEITHER, "but the LM tests find no spatial dependence: they choose the SDM, which nests both."),
    ],
)  # fmt: skip
def test_conclusion(sar_p: float, sem_p: float, lagrange: dict[str, float], chosen: str) -> None:
    ratios = {"lr_sar": 9.0, "lr_sar_p": sar_p, "lr_sem": 9.0, "lr_sem_p": sem_p}
    assert conclusion(ratios, lagrange).endswith(chosen)


def blocks(folder: Path, links: Sequence[tuple[int, int]] = (), *, ring: bool = True) -> RealPanel:
    """Four rings of six units, two of them treated as a whole from the third of 6 years on, and further links."""
    rng = np.random.default_rng(2)
    units, years = np.meshgrid(np.arange(24), np.arange(6), indexing="ij")
    did = ((units < 12) & (years >= 2)).astype(float)
    frame = pd.DataFrame({"unit": [f"u{u:02d}" for u in units.ravel()], "year": years.ravel(), "did": did.ravel()})
    frame["x"] = rng.standard_normal(len(frame))
    frame["y"] = frame["did"] + frame["x"] + rng.standard_normal(len(frame))
    rings = [(6 * b + i, 6 * b + (i + step) % 6) for b in range(4) for i in range(6) for step in (1, 5)]
    edges = pd.DataFrame([(f"u{a:02d}", f"u{b:02d}", 1.0) for a, b in (*(rings if ring else ()), *links)])
    return pp.read_panel(frame, by_file(folder, edges, unit="unit", outcome="y", treatment="did", controls=["x"]))


@pytest.mark.usefixtures("rounding")
def test_a_treatment_that_clusters_in_space_is_noted(tmp_path: Path) -> None:
    ledger = table(blocks(tmp_path, [(0, 20), (20, 0)]))
    (vif,) = (item for item in ledger.statistics if item.name == "vif" and item.transform == "lee-yu")
    assert (vif.model, vif.term) == ("sdm", "w_did")
    assert vif.value > 10
    assert any("collinear with the other regressors (variance inflation" in note for note in ledger.notes)
    assert not any("every unit is treated" in note for note in ledger.notes)


@pytest.mark.usefixtures("rounding")
def test_a_lag_that_is_the_treatment_itself_leaves_the_other_columns(tmp_path: Path) -> None:
    ledger = table(blocks(tmp_path))
    assert {record.model for record in ledger.records} == {"sem", "sar", "sac"}
    assert any("variance inflation inf" in note for note in ledger.notes)
    refused = [note for note in ledger.notes if note.startswith("No column ")]
    assert ["spatial lag of 'did'" in note for note in refused] == [True] * 6
    assert not ledger.failures
    assert not any("LR tests" in note for note in ledger.notes)


@pytest.fixture(scope="module")
def of_regions(tmp_path_factory: pytest.TempPathFactory) -> Document:
    """Forty units on a ring, ten regions, persistent shocks to regions: errors by the information matrix are small."""
    folder = tmp_path_factory.mktemp("regions")
    rng = np.random.default_rng(5)
    n, t = 40, 12
    units, years = np.meshgrid(np.arange(n), np.arange(t), indexing="ij")
    did = ((units % 3 == 0) & (years >= 6)).astype(float)
    shocks = np.cumsum(rng.standard_normal((10, t)), axis=1)[units // 4, years]
    x = rng.standard_normal((n, t))
    frame = pd.DataFrame({"unit": [f"u{u:02d}" for u in units.ravel()], "year": years.ravel(), "did": did.ravel(),
                          "x": x.ravel(), "region": [f"r{u // 4}" for u in units.ravel()]})  # fmt: skip
    w = sum(np.roll(np.eye(n), step, axis=1) for step in (1, 2, -1)) / 3
    spread = np.linalg.solve(np.eye(n) - 0.75 * w, did)
    frame["y"] = (0.5 * did + 2 * spread + x + shocks + 0.3 * rng.standard_normal((n, t))).ravel()
    edges = pd.DataFrame([(f"u{a:02d}", f"u{(a + step) % n:02d}", 1.0) for a in range(n) for step in (1, 2, -1)])
    spec = by_file(folder, edges, unit="unit", outcome="y", treatment="did", controls=["x"], cluster="region")
    return estimate(pp.read_panel(frame, spec))


@pytest.mark.parametrize(
    ("asked", "ending", "label"),
    [(None, ":cluster:region", "clustered by region"), ("information", "", "from the information matrix"),
     ("qmle", ":qmle", "of the quasi-likelihood, robust to non-normal errors")],
)  # fmt: skip
def test_the_choice_of_models_uses_the_printed_errors(
    of_regions: Document, asked: str | None, ending: str, label: str
) -> None:
    shown = next(table for table in journal_tables(of_regions, asked) if table.name == "7a")
    notes = shown.notes
    by_f = "; the p values of Wald tests are by F, as Hotelling's T squared, which allows for the number of clusters"
    by_f *= "cluster" in ending
    assert any(note.startswith(f"Wald tests use the covariance of standard errors {label}{by_f}.") for note in notes)
    (chosen,) = (note for note in notes if note.startswith("Wald tests with"))
    own, lagrange = (facts(of_regions, model=model, transform=transform)
                     for model, transform in (("sdm", "direct"), ("lm", None)))  # fmt: skip
    kept = [model for model in ("sar", "sem") if own[f"wald_{model}{ending}_p"] >= 0.05]
    pointed = "sar" if lagrange["rlm_lag"] >= lagrange["rlm_err"] else "sem"
    model = pointed if pointed in kept else "sdm"
    assert min(lagrange["lm_lag_p"], lagrange["lm_err_p"]) < 0.05
    assert f"they choose the {model.upper()}" in chosen
    assert f"standard errors {label}" in chosen
    at = [column.label for column in shown.columns].index("SDM")
    cells = {row.label: row.cells[at] for row in shown.rows if row.cells}
    for name in ("sar", "sem"):
        assert cells[f"Wald against {name.upper()}, χ²"] == decimals(own[f"wald_{name}{ending}"])
        assert f"{name.upper()} ({own[f'wald_{name}{ending}']:.2f}, p " in chosen


def test_uniform_weights_leave_a_note_and_no_lee_yu_column(tmp_path: Path) -> None:
    every = [(a, b) for a in range(24) for b in range(24) if a != b]
    ledger = table(blocks(tmp_path, every, ring=False))
    assert not [record for record in ledger.records if record.transform == "lee-yu" and record.model != "slx"]
    (sar,) = (note for note in ledger.notes if note.startswith("No column sar-lee-yu-w"))
    assert "hardly depends on rho" in sar


def test_links_of_islands_are_those_of_the_units_that_are_kept(tmp_path: Path) -> None:
    """On a ring on which both neighbours of c12 have gaps, and on one street, where c12 is nearest to c14."""
    links = pd.DataFrame(
        {"focal": [f"c{i:02}" for i in range(24)], "neighbor": [f"c{(i + 1) % 24:02}" for i in range(24)]}
    )
    links.to_csv(tmp_path / "ring.csv", index=False)
    panel = small_panel(24, 5, seed=3)
    frame = pd.DataFrame({name: panel.variables[name][0].ravel() for name in ("y", "did", "inv")})
    frame["unit"], frame["year"] = np.tile([f"c{i:02}" for i in range(24)], 5), np.repeat(panel.periods, 24)
    frame["lon"], frame["lat"] = np.tile(100 + np.sqrt(np.arange(24)), 5), 30.0
    ring = {"kind": "file", "path": str(tmp_path / "ring.csv"), "symmetric": True, "islands": "nearest", "name": "w"}
    spec = EFFECTS | {"panel": EFFECTS["panel"] | {"balance": "drop-units"}, "weights": [ring]}
    real = pp.read_panel(frame[(frame["year"] > panel.periods[0]) | ~frame["unit"].isin(["c11", "c13"])], spec)
    assert not [note for note in real.notes if note.startswith("Weights")]
    said = (
        "Weights w, of the units that are kept: links to the nearest unit of those without neighbours are c12 to c14."
    )
    assert said in table(real).notes


def test_nothing_without_weights(tmp_path: Path) -> None:
    real = blocks(tmp_path)
    bare = replace(real, panel=replace(real.panel, weights={}), spec=real.spec.model_copy(update={"weights": ()}))
    ledger = table(bare)
    assert [*ledger.records, *ledger.statistics, *ledger.notes] == []


EFFECTS: dict[str, Any] = {
    "panel": {"unit": "unit", "period": "year", "outcome": "y", "treatment": "did", "controls": ["inv"],
              "longitude": "lon", "latitude": "lat"},
    "inference": {"draws": 99}, "weights": [{"kind": "knn", "k": 4}],
}  # fmt: skip


def with_effects(*weights: dict[str, Any], **spatial: Any) -> RealPanel:
    """With further W."""
    panel = small_panel(24, 5, seed=3, rho=0.4)
    frame = pd.DataFrame({name: panel.variables[name][0].ravel() for name in ("y", "did", "inv")})
    frame["unit"], frame["year"] = np.tile(panel.units, 5), np.repeat(panel.periods, 24)
    rng = np.random.default_rng(1)
    frame["lon"], frame["lat"] = np.tile(100 + 5 * rng.random(24), 5), np.tile(30 + 5 * rng.random(24), 5)
    spec = EFFECTS | {"weights": [*EFFECTS["weights"], *weights]} | ({"spatial": spatial} if spatial else {})
    return pp.read_panel(frame, spec)


@pytest.fixture(scope="module")
def effects() -> tuple[Panel, Document]:
    real = with_effects(effects=["two-way", "unit", "period", "none"])
    return real.balanced(), estimate(real, cross_check=True)


def test_every_choice_of_effects_has_columns_of_its_own(effects: tuple[Panel, Document]) -> None:
    panel, document = effects
    shown = {(one.model, one.transform) for one in document.records if one.table == "7" and one.term == "did"}
    named = {"direct", "lee-yu", "direct, unit effects", "lee-yu, unit effects", "direct, period effects",
             "lee-yu, period effects", "direct, no effects"}  # fmt: skip
    assert shown == {(model, one) for model in MODELS for one in named}
    for effects, transform in (("unit", "direct, unit effects"), ("none", "direct, no effects"), ("two-way", "direct")):
        got = SpatialPanel("sdm", effects=effects)(panel)
        record = one(document, table="7", model="sdm", transform=transform, term="w_did", se_type="information")
        assert record.estimate == pytest.approx(got.params["w_did"], rel=1e-12)


@pytest.mark.parametrize("model", MODELS)
def test_lr_tests_between_effects(effects: tuple[Panel, Document], model: str) -> None:
    """2 (lnL - lnL0) of direct likelihoods; N - 1 = 23 and T - 1 = 4 degrees of freedom."""
    panel, document = effects
    loglik = {effects: float(SpatialPanel(model, effects=effects)(panel).statistics["loglik"][0])
              for effects in ("two-way", "unit", "period", "none")}  # fmt: skip
    nested = {"direct": ("two-way", {"unit": 4, "period": 23, "none": 27}),
              "direct, unit effects": ("unit", {"none": 23}), "direct, period effects": ("period", {"none": 4}),
              "direct, no effects": ("none", {})}  # fmt: skip
    for transform, (larger, smaller) in nested.items():
        own = values(document, model, transform, "knn-4")
        assert {name[3:] for name in own if name.startswith("lr_")} - {"sar", "sem", "sar_p", "sem_p"} == {
            f"{name}{end}" for name in smaller for end in ("", "_df", "_p")
        }
        for name, df in smaller.items():
            statistic = 2 * (loglik[larger] - loglik[name])
            found = [own[f"lr_{name}{end}"] for end in ("", "_df", "_p")]
            assert found == pytest.approx([statistic, df, chi2.sf(statistic, df)], rel=1e-9)


def test_lm_tests_have_the_same_effects(effects: tuple[Panel, Document]) -> None:
    panel, document = effects
    for transform, effects in ((None, ("unit", "period")), ("unit effects", ("unit",)), ("no effects", ())):
        got = LMTests(effects=effects)(panel)
        assert values(document, "lm", transform, "knn-4")["rlm_lag"] == pytest.approx(got.params["rlm_lag"], rel=1e-9)


def test_spreg_recomputes_unit_effects_too(effects: tuple[Panel, Document]) -> None:
    (spatial,) = [one for one in effects[1].cross_check if (one.table, one.what) == ("7", "estimates")]
    assert spatial.compared == 2 * (2 * 4 + 6)
    assert spatial.largest < 1e-5


def test_titles_and_notes_name_the_effects(effects: tuple[Panel, Document]) -> None:
    tables = [table for table in journal_tables(effects[1]) if table.title.startswith("Spatial models of")]
    assert not [table for table in journal_tables(effects[1]) if "every W" in table.title], "of a single W"
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


def test_the_first_effects_are_those_of_placebos() -> None:
    real = with_effects(effects="unit")
    assert (estimator_called("sdm", real).effects, estimator_called("sdm", real).transform) == ("unit", "lee-yu")
    assert estimator_called("sar", with_effects(effects="none")).transform == "direct"


@pytest.mark.parametrize(("spatial", "message"), [
    ({"effects": []}, r"effects = \[\]"),
    ({"effects": ["unit", "unit"]}, "effects names 'unit' twice"),
    ({"effects": "twoway"}, "effects"),
    ({"effects": True}, "effects"),
    ({"effect": "unit"}, "effect"),
    ({"cutoffs": [300, 150]}, "ascending order"),
    ({"cutoffs": [0]}, "cutoffs"),
    ({"cutoffs": [150, 150]}, "twice"),
])  # fmt: skip
def test_careless_tables_are_bad_input(spatial: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        with_effects(**spatial)
    assert "[spatial]" in str(caught.value)


def test_slx_and_sdm_of_every_w_stand_beside_the_did() -> None:
    names = ("knn-4", "距离 1/km")  # no name of a store's group
    document = estimate(with_effects({"kind": "inverse-distance", "name": names[1]}))
    (table,) = [table for table in journal_tables(document) if table.title.startswith("One model under every W")]
    heads = [(head.label, head.group) for head in table.columns]
    assert heads == [("DID", "no W"), *((model, f"W {name}") for name in names for model in ("SLX", "SDM"))]
    rows = {row.label: row.cells for row in table.rows if row.kind == "value"}
    assert list(rows)[:6] == ["did", "W × did", "ρ", "Direct effect of did", "Indirect effect of did",
                              "Total effect of did"]  # fmt: skip
    for column, (model, weights) in enumerate([(model, name) for name in names for model in ("slx", "sdm")], start=1):
        for label, term in (("did", "did"), ("W × did", "w_did"), ("Indirect effect of did", "indirect:did")):
            effect, *_ = records(document, table="7", model=model, weights=weights, term=term, se_type="cluster:unit")
            assert float(rows[label][column].rstrip("* ")) == pytest.approx(effect.estimate, abs=6e-5)
    assert rows["ρ"][1] == rows["ρ"][3] == ""
    assert rows["W × did"][0] == ""


def test_models_under_every_w_name_other_effects_than_those_of_the_did() -> None:
    document = estimate(with_effects({"kind": "knn", "k": 3}, effects=["unit", "two-way"]))
    (table,) = [table for table in journal_tables(document) if table.title.startswith("One model under every W")]
    assert [head.group for head in table.columns] == ["no W", *[f"W knn-{k}, unit effects" for k in (4, 4, 3, 3)]]


def test_hypotheses_name_effects_and_w_by_all_of_their_words() -> None:
    tests = ("7.3 direct, unit effects next door: w_did", "7.3 next door lee-yu: w_did", "7.3 direct knn-4: w_did")
    real = with_effects({"kind": "knn", "k": 3, "name": "next door"}, effects=["two-way", "unit"])
    inference = real.spec.inference.model_copy(update={"tests": tests})
    real = replace(real, spec=real.spec.model_copy(update={"inference": inference}))
    found = [record.estimate for record in estimate(real).records if record.table == "T"]
    fits = (SpatialPanel("sdm", effects="unit", weights="next door"),
            SpatialPanel("sdm", "lee-yu", weights="next door"), SpatialPanel("sdm", weights="knn-4"))  # fmt: skip
    np.testing.assert_allclose(found, [fit(real.panel).params["w_did"] for fit in fits], rtol=1e-12)


def test_each_cutoff_is_the_sdm_under_its_band() -> None:
    real = with_effects(cutoffs=[150, 300])
    document, panel = estimate(real), real.balanced()
    for column, km in ((1, 150), (2, 300)):
        places = (np.asarray(panel.attributes[name], float) for name in ("longitude", "latitude"))
        weights = band(panel.units, *places, km=km, islands="nearest")
        got = SpatialPanel("sdm", "lee-yu")(replace(panel, weights={weights.name: weights}))
        for term in ("w_did", "rho", "indirect:did"):
            record = one(document, table="K", column=column, term=term, se_type="information")
            assert record.estimate == pytest.approx(got.params[term], rel=1e-10)
        count = fact(document, table="K", column=column, name="neighbours")
        assert count == pytest.approx((weights.dense != 0).sum(axis=1).mean())
    (table,) = [table for table in journal_tables(document) if table.name == "K"]
    assert [head.label for head in table.columns] == ["150 km", "300 km"]
    assert table.notes[1].startswith("SDM with unit and period effects, controls and their lags, by Lee and Yu's")
    (figure,) = [figure for figure in document.figures if figure.name == "cutoffs"]
    assert "ρ 150 km" in figure.svg
    assert all(f"{text.number(got.params[term], 3)}" in figure.svg for term in ("rho", "indirect:did"))


# Every number of table 7 on the committed panel against slow programs that share no code with the estimators.


TRANSFORMS = ("direct", "lee-yu")
WEIGHTS = '\n[inference]\ndraws = 99\n[[weights]]\nkind = "file"\npath = "w.csv"\n[[weights]]\nkind = "knn"\nk = 4\n'
CONTROLS = 'controls = ["road", "book"]'
REGRESSORS = {3: ("did", "road", "book"), 1: ("did",)}  # by their number
SPECS = dict.fromkeys(REGRESSORS, f"{made_cities.PANEL}{made_cities.PLACES}{WEIGHTS}")
SPECS[1] = SPECS[1].replace(CONTROLS, "")


@pytest.fixture(scope="module", params=REGRESSORS, ids=lambda k: f"{k} regressors")
def printed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Panel, Ledger]:
    """Number of regressors, the panel and its table 7 with the neighbours on the grid (`w`) and knn-4."""
    real = made_cities.real_panel(tmp_path_factory.mktemp("table7"), SPECS[request.param])
    ledger = table(real)
    assert not ledger.failures
    return request.param, real.panel, ledger


@cache
def slow(regressors: tuple[str, ...], weights: str, model: str, transform: str) -> brute_force.Reference:
    return brute_force.spatial_panel(panel_of(regressors, weights), model, transform)  # type: ignore[arg-type]


@cache
def panel_of(regressors: tuple[str, ...], weights: str) -> Panel:
    """The committed panel with one W alone, read without the program's own spec reader."""
    panel = made_cities.panel()
    renamed = {"did" if name == "d" else name: values for name, values in panel.variables.items()}
    links = {"w": panel.weights["grid"], "knn-4": made_cities.nearest(4)}[weights]
    roles = Roles("y", "did", tuple(name for name in regressors if name != "did"))
    return replace(panel, variables=renamed, roles=roles, weights={weights: links})


@pytest.mark.parametrize(("transform", "weights"), [("direct", "w"), ("lee-yu", "knn-4")])
@pytest.mark.parametrize("model", MODELS)
def test_columns(printed: tuple[int, Panel, Ledger], model: str, transform: str, weights: str) -> None:
    """Estimate, error, z, p and 95% interval of every term, effects included, and the log-likelihood."""
    k, _, ledger = printed
    twin = slow(REGRESSORS[k], weights, model, transform)
    found = by_term(ledger, model=model, transform=transform, weights=weights, se_type="information")
    assert set(found) == set(twin.terms)
    for term, value, se in zip(twin.terms, twin.estimate, twin.se["information"], strict=True):
        record = found[term]
        assert record.estimate == pytest.approx(value, rel=1e-6, abs=1e-8), term
        assert record.se == pytest.approx(se, rel=1e-6), term
        if term != "sigma2":
            assert record.statistic == pytest.approx(value / se, rel=2e-6, abs=1e-6), term
            assert record.pvalue == pytest.approx(2 * norm.sf(abs(value / se)), rel=1e-4, abs=1e-12), term
        assert record.lower == pytest.approx(value - norm.ppf(0.975) * se, rel=1e-5, abs=1e-7), term
        assert record.upper == pytest.approx(value + norm.ppf(0.975) * se, rel=1e-5, abs=1e-7), term
        assert (record.nobs, record.units, record.periods) == (324, 36, 9)
    assert values(ledger, model, transform, weights)["loglik"] == pytest.approx(twin.statistics["loglik"], abs=1e-7)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_likelihood_ratios_have_a_degree_of_freedom_a_regressor(
    printed: tuple[int, Panel, Ledger], transform: str
) -> None:
    k, _, ledger = printed
    got = values(ledger, "sdm", transform, "w")
    loglik = {model: slow(REGRESSORS[k], "w", model, transform).statistics["loglik"] for model in ("sdm", "sar", "sem")}
    for smaller in ("sar", "sem"):
        ratio = 2 * (loglik["sdm"] - loglik[smaller])
        assert got[f"lr_{smaller}"] == pytest.approx(ratio, abs=1e-6)
        assert got[f"lr_{smaller}_p"] == pytest.approx(chi2.sf(ratio, k), rel=1e-5)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_wald_tests(printed: tuple[int, Panel, Ledger], transform: str) -> None:
    """t = 0 and t + rho b = 0 from the slow program's estimates and covariance, the Jacobian by differences."""
    k, _, ledger = printed
    twin = slow(REGRESSORS[k], "w", "sdm", transform)
    theta = twin.estimate[: 2 * k + 2]
    covariance = brute_force.covariance(panel_of(REGRESSORS[k], "w"), "sdm", transform)  # type: ignore[arg-type]
    restrictions = {"sar": lambda at: at[k : 2 * k], "sem": lambda at: at[k : 2 * k] + at[2 * k] * at[:k]}
    got = values(ledger, "sdm", transform, "w")
    for smaller, g in restrictions.items():
        steps = 1e-6 * np.eye(theta.size)
        jacobian = np.array([(g(theta + step) - g(theta - step)) / 2e-6 for step in steps]).T
        wald = g(theta) @ np.linalg.solve(jacobian @ covariance @ jacobian.T, g(theta))
        assert got[f"wald_{smaller}"] == pytest.approx(wald, rel=1e-5)
        assert got[f"wald_{smaller}_p"] == pytest.approx(chi2.sf(wald, k), rel=1e-4)


def test_information_criteria(printed: tuple[int, Panel, Ledger]) -> None:
    k, _, ledger = printed
    for transform, n in (("direct", 36 * 9), ("lee-yu", 35 * 8)):
        for model, own in (("sar", k), ("sem", k), ("sdm", 2 * k), ("slx", 2 * k - 1), ("sdem", 2 * k), ("sac", k + 1)):
            got, parameters = values(ledger, model, transform, "w"), own + 2  # rho or lambda, sigma2
            loglik = slow(REGRESSORS[k], "w", model, transform).statistics["loglik"]
            assert got["aic"] == pytest.approx(2 * parameters - 2 * loglik, abs=1e-6)
            assert got["bic"] == pytest.approx(np.log(n) * parameters - 2 * loglik, abs=1e-6)


@pytest.mark.parametrize("weights", ["w", "knn-4"])
def test_lm_tests_have_one_degree_of_freedom(printed: tuple[int, Panel, Ledger], weights: str) -> None:
    """Both forms of the estimator, which tests of its own hold to dense matrices and to spreg."""
    k, _, ledger = printed
    panel, got = panel_of(REGRESSORS[k], weights), values(ledger, "lm", None, weights)
    forms = {ending: LMTests(form)(panel).params for form, ending in (("exact", ""), ("elhorst", "_elhorst"))}
    names = ("lm_lag", "lm_err", "rlm_lag", "rlm_err")
    assert set(got) == {f"{name}{ending}{p}" for name in names for ending in forms for p in ("", "_p")}
    for ending, params in forms.items():
        for name in names:
            assert got[f"{name}{ending}"] == pytest.approx(params[name], rel=1e-10), name
            assert got[f"{name}{ending}_p"] == pytest.approx(chi2.sf(params[name], 1), rel=1e-6), name


def test_the_conclusion_quotes_those_numbers(printed: tuple[int, Panel, Ledger]) -> None:
    k, _, ledger = printed
    loglik = {model: slow(REGRESSORS[k], "w", model, "direct").statistics["loglik"] for model in ("sdm", "sar", "sem")}
    (note,) = (note for note in ledger.notes if note.startswith("Weights w, direct: LR tests"))
    for smaller in ("sar", "sem"):
        assert f"{smaller.upper()} ({2 * (loglik['sdm'] - loglik[smaller]):.2f}, p " in note


def test_variance_inflation_of_the_treatments_lag(printed: tuple[int, Panel, Ledger]) -> None:
    """1 / (1 - R2) of the lag on the dummies and all other regressors."""
    k, _, ledger = printed
    panel, n, t = panel_of(REGRESSORS[k], "w"), 36, 9
    x = np.column_stack([panel.variables[name][0].ravel() for name in panel.roles.regressors])
    units, periods = np.tile(np.eye(n), (t, 1))[:, 1:], np.repeat(np.eye(t), n, axis=0)[:, 1:]
    d = np.hstack([np.ones((n * t, 1)), units, periods])
    lags = np.kron(np.eye(t), panel.weights["w"].dense) @ x
    q = np.eye(len(d)) - d @ np.linalg.pinv(d, rcond=1e-10)
    others = q @ np.hstack([x, lags[:, 1:]])
    target = q @ lags[:, 0]
    rest = target - others @ np.linalg.lstsq(others, target)[0]
    (vif,) = (item for item in ledger.statistics
              if (item.name, item.transform, item.weights) == ("vif", "lee-yu", "w"))  # fmt: skip
    assert vif.term == "w_did"
    assert vif.value == pytest.approx((target @ target) / (rest @ rest), rel=1e-8)
