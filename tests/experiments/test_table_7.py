"""Table 7: against spreg on two panels of cities, published tests on cigarettes, the conclusion, what notes say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import made_cities
import numpy as np
import pandas as pd
import pytest

from experiments.estimation import estimate, journal_tables
from experiments.panel_spec.spec import RealPanel, read_real_panel, read_spec
from experiments.references import pysal
from experiments.tables import spatial_models
from experiments.tables.ledger import Ledger
from experiments.tables.spatial_models import conclusion
from results.tables.records import Document, Record
from results.tables.typography import decimals

MODELS = ("sem", "sar", "sdm", "slx", "sdem", "sac")
KINDS = ("direct", "indirect", "total")


def real_panel(folder: Path, frame: pd.DataFrame, spec: str) -> RealPanel:
    frame.to_csv(folder / "panel.csv", index=False)
    (folder / "spec.toml").write_text(spec, encoding="utf-8")
    return read_real_panel(folder / "panel.csv", read_spec(folder / "spec.toml"))


def table(real: RealPanel) -> Ledger:
    ledger = Ledger(seed=1)
    spatial_models.add(real, ledger)
    return ledger


def records(ledger: Ledger, **fields: object) -> list[Record]:
    return [record for record in ledger.records if all(getattr(record, key) == value for key, value in fields.items())]


def one(ledger: Ledger, **fields: object) -> Record:
    (found,) = records(ledger, **fields)
    return found


def values(ledger: Ledger, model: str, transform: str | None, weights: str) -> dict[str, float | None]:
    return {item.name: item.value for item in ledger.statistics
            if (item.model, item.transform, item.weights, item.term) == (model, transform, weights, None)}  # fmt: skip


CITIES = """
[panel]
unit = "city_code"
period = "year"
outcome = "deposit_gdp"
treatment = "lowcarbon_did"
controls = ["fiscal_exp_gdp", "fiscal_self_suff", "div_inv_hhi_3sector"]
cluster = "province"
longitude = "lon_centroid"
latitude = "lat_centroid"

[inference]
errors = ["driscoll-kraay", "conley:300", "wild:unit", "cluster:province+period"]
draws = 199

[[weights]]
kind = "knn"
k = 6

[[weights]]
kind = "inverse-distance"
cutoff_km = 1500
standardize = "spectral"
"""


MADE = """
[panel]
unit = "city"
period = "year"
outcome = "y"
treatment = "d"
controls = ["road", "book"]
cluster = "province"
longitude = "lon"
latitude = "lat"

[inference]
errors = ["driscoll-kraay", "conley:300", "wild:unit", "cluster:province+period"]
draws = 199

[[weights]]
kind = "knn"
k = 6

[[weights]]
kind = "inverse-distance"
cutoff_km = 500
standardize = "spectral"
"""


@pytest.fixture(scope="module", params=["committed", "shared"])
def cities(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RealPanel:
    folder = tmp_path_factory.mktemp("cities")
    if request.param == "committed":
        return made_cities.real_panel(folder, MADE)
    shared_data: Path = request.getfixturevalue("shared_data")
    frame = pd.read_csv(shared_data / "city_panel.csv")
    places = pd.read_csv(shared_data / "prefectures.csv")[["adcode", "lon_centroid", "lat_centroid"]]
    frame = frame.merge(places, left_on="city_code", right_on="adcode")
    return real_panel(folder, frame, CITIES)


@pytest.fixture(scope="module")
def of_cities(cities: RealPanel) -> Ledger:
    return table(cities)


@pytest.mark.parametrize("model", ["sar", "sem", "sdm"])
def test_cities_equal_spreg_with_time_dummies(cities: RealPanel, of_cities: Ledger, model: str) -> None:
    theirs = pysal.spatial_panel(cities.panel, model, weights="knn-6")  # type: ignore[arg-type]
    own = {"model": model, "transform": "direct", "weights": "knn-6", "se_type": "information"}
    ours = [one(of_cities, term=term, **own) for term in theirs.terms]
    np.testing.assert_allclose([record.estimate for record in ours], theirs.estimate, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(np.array([record.se for record in ours]), theirs.se["information"], rtol=1e-6)
    assert values(of_cities, model, "direct", "knn-6")["loglik"] == pytest.approx(theirs.statistics["loglik"], rel=1e-9)


def test_every_column_has_its_place_weights_and_errors(of_cities: Ledger) -> None:
    assert not of_cities.failures
    columns = {(r.table, r.column, r.model, r.transform, r.weights) for r in of_cities.records}
    knn = [("7", column, model, transform, "knn-6") for column, model in enumerate(MODELS, 1)
           for transform in ("direct", "lee-yu")]  # fmt: skip
    distance = [("7", column, model, "direct", "inverse-distance") for column, model in enumerate(MODELS, 1)]
    assert columns == {*knn, *distance}
    asked = ["information", "hessian", "qmle", "cluster:province", "driscoll-kraay", "conley:300"]
    for model in MODELS:
        own = records(of_cities, model=model, transform="direct", weights="knn-6", term="did")
        assert [record.se_type for record in own] == asked
        assert all(record.se is not None and record.se > 0 for record in own)


def test_effects_say_how_their_errors_are_made(of_cities: Ledger) -> None:
    simulated = records(of_cities, se_type="simulation")
    assert {record.effects_method for record in simulated} == {"simulation"}
    assert {record.term.partition(":")[0] for record in simulated} == set(KINDS)
    rest = [record for record in of_cities.records if record.se_type != "simulation"]
    for record in rest:
        assert record.effects_method == ("delta" if record.term.partition(":")[0] in KINDS else None)
    for kind in KINDS:
        pair = {"model": "sdm", "transform": "lee-yu", "weights": "knn-6", "term": f"{kind}:did"}
        delta, drawn = (one(of_cities, se_type=name, **pair) for name in ("information", "simulation"))
        assert drawn.estimate == delta.estimate
        assert drawn.se == pytest.approx(delta.se, rel=0.2)  # 199 draws


def number(value: float | None) -> float:
    assert value is not None
    return value


def test_notes_on_cities(of_cities: Ledger) -> None:
    notes = "\n".join(of_cities.notes)
    assert ("Weights inverse-distance: there are no Lee-Yu columns, because the transformation needs rows that sum to "
            "one. In SEM, SDEM and SAC the period effects stand outside of the filter") in notes  # fmt: skip
    assert "Weights knn-6: there are no Lee-Yu" not in notes
    assert "Weights inverse-distance: every unit is treated or has a treated neighbour" in notes
    assert "Weights knn-6: every unit" not in notes
    for column in ("knn-6, direct", "knn-6, lee-yu", "inverse-distance, direct"):
        assert f"Weights {column}: LR tests reject SAR" in notes
    assert "LR statistics compare log-likelihoods of one W and one transform" in notes


CIGARETTES = """
[panel]
unit = "name"
period = "year"
outcome = "logc"
controls = ["logp", "logy"]

[inference]
draws = 99

[[weights]]
kind = "file"
path = "w46.csv"
"""


@pytest.fixture(scope="module")
def of_cigarettes(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    folder = tmp_path_factory.mktemp("cigarettes")
    w = pd.read_csv(shared_data / "cigarettes_w46.csv", index_col=0)
    edges = w.rename_axis("focal").reset_index().melt("focal", var_name="neighbor", value_name="weight")
    edges[edges["weight"] > 0].to_csv(folder / "w46.csv", index=False)
    return table(real_panel(folder, pd.read_csv(shared_data / "cigarettes.csv"), CIGARETTES))


@pytest.mark.parametrize(
    ("transform", "sar", "sem"), [("direct", 15.9035, 8.6402), ("lee-yu", 18.1887, 7.3195)]
)  # fmt: skip
def test_likelihood_ratios_of_cigarettes(of_cigarettes: Ledger, transform: str, sar: float, sem: float) -> None:
    got = values(of_cigarettes, "sdm", transform, "w46")
    np.testing.assert_allclose([number(got["lr_sar"]), number(got["lr_sem"])], [sar, sem], rtol=0, atol=1e-4)
    assert got["lr_sar_p"] == pytest.approx(np.exp(-number(got["lr_sar"]) / 2), rel=1e-9)  # two degrees of freedom
    if transform == "lee-yu":
        assert got["wald_sar"] == pytest.approx(17.6332, abs=1e-4)
        assert got["wald_sem"] == pytest.approx(7.4376, abs=1e-4)


def test_lm_tests_of_cigarettes(of_cigarettes: Ledger) -> None:
    got = values(of_cigarettes, "lm", None, "w46")
    names = ("lm_lag", "lm_err", "rlm_lag", "rlm_err")
    np.testing.assert_allclose([number(got[name]) for name in names], [60.33, 72.92, 1.11, 13.70], atol=0.0051)
    elhorst = [number(got[f"{name}_elhorst"]) for name in names]
    np.testing.assert_allclose(elhorst, [47.07, 54.65, 1.17, 8.75], atol=0.0051)
    chosen = "LR tests reject SAR (15.90, p < .001) and SEM (8.64, p = .013): they choose the SDM."
    assert f"Weights w46, direct: {chosen}" in of_cigarettes.notes


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


BLOCKS = """
[panel]
unit = "unit"
period = "year"
outcome = "y"
treatment = "did"
controls = ["x"]

[inference]
draws = 99

[[weights]]
kind = "file"
path = "w.csv"
"""


def blocks(folder: Path, links: Sequence[tuple[int, int]] = (), *, ring: bool = True) -> RealPanel:
    """Four rings of six units, two of them treated as a whole from the third of 6 years on, and further links."""
    rng = np.random.default_rng(2)
    units, years = np.meshgrid(np.arange(24), np.arange(6), indexing="ij")
    did = ((units < 12) & (years >= 2)).astype(float)
    frame = pd.DataFrame({"unit": [f"u{u:02d}" for u in units.ravel()], "year": years.ravel(), "did": did.ravel()})
    frame["x"] = rng.standard_normal(len(frame))
    frame["y"] = frame["did"] + frame["x"] + rng.standard_normal(len(frame))
    rings = [(6 * b + i, 6 * b + (i + step) % 6) for b in range(4) for i in range(6) for step in (1, 5)]
    edges = pd.DataFrame([(f"u{a:02d}", f"u{b:02d}", 1.0) for a, b in (*(rings if ring else ()), *links)],
                         columns=["focal", "neighbor", "weight"])  # fmt: skip
    edges.to_csv(folder / "w.csv", index=False)
    return real_panel(folder, frame, BLOCKS)


@pytest.mark.usefixtures("rounding")
def test_a_treatment_that_clusters_in_space_is_noted(tmp_path: Path) -> None:
    ledger = table(blocks(tmp_path, [(0, 20), (20, 0)]))
    (vif,) = (item for item in ledger.statistics if item.name == "vif" and item.transform == "lee-yu")
    assert (vif.model, vif.term) == ("sdm", "w_did")
    assert number(vif.value) > 10
    assert any("collinear with the other regressors (variance inflation" in note for note in ledger.notes)
    assert not any("every unit is treated" in note for note in ledger.notes)


@pytest.mark.usefixtures("rounding")
def test_a_lag_that_is_the_treatment_itself_leaves_the_other_columns(tmp_path: Path) -> None:
    ledger = table(blocks(tmp_path))
    assert {record.model for record in ledger.records} == {"sem", "sar", "sac"}
    assert any("variance inflation inf" in note for note in ledger.notes)
    refused = [note for note in ledger.notes if note.startswith("No column ")]
    assert len(refused) == 6
    assert all("spatial lag of 'did'" in note for note in refused)
    assert not ledger.failures
    assert not any("LR tests" in note for note in ledger.notes)


SIMULATED = """
[panel]
unit = "unit"
period = "year"
outcome = "y"
treatment = "did"
controls = ["x"]
cluster = "region"

[inference]
draws = 99

[[weights]]
kind = "file"
path = "w.csv"
"""


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
    edges = pd.DataFrame([(f"u{a:02d}", f"u{(a + step) % n:02d}", 1.0) for a in range(n) for step in (1, 2, -1)],
                         columns=["focal", "neighbor", "weight"])  # fmt: skip
    edges.to_csv(folder / "w.csv", index=False)
    return estimate(real_panel(folder, frame, SIMULATED))


def test_table_7_shows_the_main_cluster(of_regions: Document) -> None:
    """Coefficients, effects and Wald tests of the direct SDM, from the records clustered by region."""
    table_7 = next(table for table in journal_tables(of_regions) if table.name == "7a")
    assert any("Standard errors in brackets, clustered by region" in note for note in table_7.notes)
    at = [column.label for column in table_7.columns].index("SDM")
    own = {item.name: item.value for item in of_regions.statistics
           if (item.model, item.transform, item.term) == ("sdm", "direct", None)}  # fmt: skip
    labels = {row.label: row.cells[at] for row in table_7.rows if row.cells}
    assert labels["Wald against SAR, χ²"] == decimals(own["wald_sar:cluster:region"])
    assert labels["Wald against SEM, χ²"] == decimals(own["wald_sem:cluster:region"])
    assert own["wald_sar:cluster:region"] != pytest.approx(own["wald_sar"], rel=0.05)


@pytest.mark.parametrize(
    ("asked", "ending", "label"),
    [(None, ":cluster:region", "clustered by region"), ("information", "", "from the information matrix"),
     ("qmle", ":qmle", "of the quasi-likelihood, robust to non-normal errors")],
)  # fmt: skip
def test_the_choice_of_models_uses_the_printed_errors(
    of_regions: Document, asked: str | None, ending: str, label: str
) -> None:
    notes = next(table for table in journal_tables(of_regions, asked) if table.name == "7a").notes
    by_f = "; the p values of Wald tests are by F, as Hotelling's T squared of so many sums" * ("cluster" in ending)
    assert any(note.startswith(f"Wald tests use the covariance of standard errors {label}{by_f}.") for note in notes)
    (chosen,) = (note for note in notes if note.startswith("Wald tests with"))
    own = {item.name: item.value for item in of_regions.statistics
           if (item.model, item.transform, item.term) == ("sdm", "direct", None)}  # fmt: skip
    lagrange = {item.name: number(item.value) for item in of_regions.statistics if item.model == "lm"}
    kept = [model for model in ("sar", "sem") if number(own[f"wald_{model}{ending}_p"]) >= 0.05]
    pointed = "sar" if lagrange["rlm_lag"] >= lagrange["rlm_err"] else "sem"
    model = pointed if pointed in kept else "sdm"
    assert min(lagrange["lm_lag_p"], lagrange["lm_err_p"]) < 0.05
    assert f"they choose the {model.upper()}" in chosen
    assert f"standard errors {label}" in chosen
    for name in ("sar", "sem"):
        assert f"{name.upper()} ({number(own[f'wald_{name}{ending}']):.2f}, p " in chosen


def test_uniform_weights_leave_a_note_and_no_lee_yu_column(tmp_path: Path) -> None:
    every = [(a, b) for a in range(24) for b in range(24) if a != b]
    ledger = table(blocks(tmp_path, every, ring=False))
    assert not [record for record in ledger.records if record.transform == "lee-yu" and record.model != "slx"]
    (sar,) = (note for note in ledger.notes if note.startswith("No column sar-lee-yu-w"))
    assert "hardly depends on rho" in sar


def test_nothing_without_weights(tmp_path: Path) -> None:
    real = blocks(tmp_path)
    bare = read_real_panel(tmp_path / "panel.csv", real.spec.model_copy(update={"weights": ()}))
    ledger = table(bare)
    assert [*ledger.records, *ledger.statistics, *ledger.notes] == []
