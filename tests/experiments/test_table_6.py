"""Table 6 on small panels read from files: what is kept, what it is equal to, and what is left out with a word."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import esda
import libpysal
import made_cities
import numpy as np
import pandas as pd
import pytest
from ledgers import fact, filled
from scipy.stats import norm

from estimators.core.estimator import holm
from experiments.panel_spec.spec import RealPanel
from experiments.tables import autocorrelation_table
from experiments.tables.ledger import Ledger
from results.tables.records import Record
from sim.schema import Roles

N, T = 36, 5
PANEL = '[panel]\nunit = "city"\nperiod = "year"\noutcome = "y"\ntreatment = "eip"\ncontrols = ["x"]\n'
PLACES = 'longitude = "lon"\nlatitude = "lat"\n'
KNN = '[[weights]]\nkind = "knn"\nk = 4\n'
DISTANCE = '[[weights]]\nkind = "inverse-distance"\nstandardize = "spectral"\n'


def frame() -> pd.DataFrame:
    """A square of cities half a degree apart; y follows the longitude."""
    rng = np.random.default_rng(8)
    cities = [f"城{i:02d}" for i in range(N)]
    table = pd.DataFrame({"city": np.repeat(cities, T), "year": np.tile(np.arange(2019, 2019 + T), N)})
    table["lon"] = np.repeat(110 + 0.5 * (np.arange(N) % 6), T)
    table["lat"] = np.repeat(30 + 0.5 * (np.arange(N) // 6) + 0.01 * rng.random(N), T)
    table["eip"] = ((np.repeat(np.arange(N) % 3, T) == 0) & (table["year"] >= 2021)).astype(int)
    table["x"] = rng.standard_normal(N * T)
    table["y"] = 0.8 * (table["lon"] - 111) + 0.3 * table["eip"] + rng.standard_normal(N * T)
    return table


def read(folder: Path, spec: str, table: pd.DataFrame | None = None) -> RealPanel:
    return made_cities.real_panel(folder, spec + "[inference]\ndraws = 199\n", frame() if table is None else table)


table_6 = partial(filled, autocorrelation_table.add, seed=3)


def value(ledger: Ledger, record: Record, name: str) -> float:
    keys = ("model", "weights", "year")
    return fact(ledger, name=name, term=record.se_type, **{key: getattr(record, key) for key in keys})


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> RealPanel:
    return read(tmp_path_factory.mktemp("table6"), PANEL + PLACES + KNN + DISTANCE)


@pytest.fixture(scope="module")
def ledger(real: RealPanel) -> Ledger:
    return table_6(real)


def test_every_year_every_w_every_null_distribution(ledger: Ledger) -> None:
    found = [(r.model, r.weights, r.year, r.se_type) for r in ledger.records]
    years, ws = range(2019, 2019 + T), ("knn-4", "inverse-distance")
    nulls = ("normality", "randomisation", "permutation")
    wanted = {(model, w, year, null) for model in ("moran", "geary") for w in ws for year in years for null in nulls}
    wanted |= {("moran-residuals", w, year, "simulation") for w in ws for year in years}
    wanted |= {("moran-residuals", w, None, null) for w in ws for null in ("projection", "permutation")}
    assert len(found) == len(set(found))
    assert set(found) == wanted
    assert {(r.table, r.column, r.model) for r in ledger.records} == {
        ("6", 1, "moran"), ("6", 2, "geary"), ("6", 3, "moran-residuals")}  # fmt: skip
    assert {(r.nobs, r.units, r.periods) for r in ledger.records} == {(N, N, 1), (N * T, N, T)}
    assert not ledger.failures


def test_z_and_p_follow_from_what_stands_beside_them(ledger: Ledger) -> None:
    for record in ledger.records:
        assert record.statistic is not None
        assert record.pvalue is not None
        assert record.se is not None
        z = (record.estimate - value(ledger, record, "expected")) / record.se
        np.testing.assert_allclose(record.statistic, z, rtol=1e-12)
        if record.se_type in {"normality", "randomisation", "projection"}:
            np.testing.assert_allclose(record.pvalue, 2 * norm.sf(abs(z)), rtol=1e-10)
        else:
            assert 2 / 200 <= record.pvalue <= 1
        assert record.lower is None
        assert record.upper is None


def test_holm_is_over_the_years_of_one_test(ledger: Ledger) -> None:
    groups: dict[tuple[str, str | None, str], list[Record]] = {}
    for record in ledger.records:
        if record.year is not None:
            groups.setdefault((record.model, record.weights, record.se_type), []).append(record)
    assert all(len(records) == T for records in groups.values())
    for records in groups.values():
        wanted = holm(np.array([record.pvalue for record in records]))
        np.testing.assert_allclose([value(ledger, record, "holm") for record in records], wanted, rtol=1e-12)


def test_every_year_is_that_of_esda(real: RealPanel, ledger: Ledger) -> None:
    for record in ledger.records:
        if record.model == "moran-residuals" or record.se_type == "permutation":
            continue
        w = libpysal.weights.full2W(real.panel.weights[record.weights or ""].dense)
        y = real.panel.variables["y"][0, real.panel.periods.index(record.year or 0)]
        short = "norm" if record.se_type == "normality" else "rand"
        kind = esda.Moran if record.model == "moran" else esda.Geary
        one = kind(y, w, transformation="O", permutations=0)
        index, sd = (one.I, f"seI_{short}") if record.model == "moran" else (one.C, f"seC_{short}")
        np.testing.assert_allclose((record.estimate, record.se), (index, getattr(one, sd)), rtol=1e-10)
        np.testing.assert_allclose(record.statistic, getattr(one, f"z_{short}"), rtol=1e-9)


def test_residuals_are_those_of_the_regression_with_dummies(real: RealPanel, ledger: Ledger) -> None:
    panel = real.panel
    dummies = np.hstack([np.kron(np.ones((T, 1)), np.eye(N)), np.kron(np.eye(T), np.ones((N, 1)))])
    z = np.column_stack([dummies, panel.variables["did"][0].ravel(), panel.variables["x"][0].ravel()])
    m = np.eye(N * T) - z @ np.linalg.pinv(z, rcond=1e-10)
    e = m @ panel.variables["y"][0].ravel()
    for name, weights in panel.weights.items():
        wide = np.kron(np.eye(T), (weights.dense + weights.dense.T) / 2)
        index = N * T / wide.sum() * (e @ wide @ e) / (e @ e)
        rank, a, scale = np.trace(m), m @ wide @ m, N * T / wide.sum()
        mean = scale * np.trace(a) / rank
        variance = scale**2 * (2 * np.trace(a @ a) + np.trace(a) ** 2) / (rank * (rank + 2)) - mean**2
        record = next(r for r in ledger.records if (r.weights, r.se_type) == (name, "projection"))
        got = (record.estimate, value(ledger, record, "expected"), record.se)
        np.testing.assert_allclose(got, (index, mean, np.sqrt(variance)), rtol=1e-9)
        exchanged = next(r for r in ledger.records if (r.model, r.weights, r.se_type)
                         == ("moran-residuals", name, "permutation"))  # fmt: skip
        assert value(ledger, exchanged, "expected") == -1 / (N - 1)


def test_local_moran_of_the_last_year_under_the_main_w(real: RealPanel, ledger: Ledger) -> None:
    own = [item for item in ledger.statistics if item.model == "local-moran"]
    assert {(item.year, item.weights) for item in own} == {(2018 + T, "knn-4")}
    w = libpysal.weights.full2W(real.panel.weights["knn-4"].dense)
    wanted = esda.Moran_Local(real.panel.variables["y"][0, -1], w, transformation="O", permutations=0)
    found = {name: [item.value for item in own if item.name == name] for name in ("local_i", "quadrant", "p", "fdr_p")}
    np.testing.assert_allclose(np.array(found["local_i"], dtype=float), wanted.Is, rtol=1e-10)
    assert found["quadrant"] == wanted.q.tolist()
    assert [item.term for item in own if item.name == "p"] == list(real.panel.units)
    assert all(p <= q for p, q in zip(found["p"], found["fdr_p"], strict=True))  # type: ignore[operator]


def test_the_figure_tells_its_numbers(ledger: Ledger) -> None:
    (figure,) = ledger.figures
    assert figure.name == "figure-2"
    index = next(r for r in ledger.records if (r.model, r.year, r.weights) == ("moran", 2018 + T, "knn-4")).estimate
    assert f"Moran's I = {index:.3f}" in figure.caption
    assert "(b) Local Moran" in figure.caption


def test_only_what_is_drawn_depends_on_the_seed(real: RealPanel, ledger: Ledger) -> None:
    again, other = table_6(real), table_6(real, seed=4)
    assert (again.records, again.statistics, again.figures) == (ledger.records, ledger.statistics, ledger.figures)
    drawn = {"permutation", "simulation"}
    for one, two in zip(ledger.records, other.records, strict=True):
        assert one.estimate == two.estimate
        assert (one.se == two.se) == (one.se_type not in drawn)


def test_no_regressors_leave_the_two_way_deviations(tmp_path: Path) -> None:
    real = read(tmp_path, PANEL + PLACES + KNN)
    bare = replace(real, panel=replace(real.panel, roles=Roles("y", None)))
    pooled = [r for r in table_6(bare).records if r.se_type == "projection"]
    assert len(pooled) == 1


Change = Callable[[pd.DataFrame], pd.DataFrame]
ODD: dict[str, tuple[str, Change, str, Callable[[Record], object], set[object]]] = {
    "no weights": (PANEL, pd.DataFrame.copy, "", lambda r: r.model, set()),
    "a year without variation": (
        PANEL + PLACES + KNN, lambda t: t.assign(y=t["y"].mask(t["year"] == 2020, 0.1)),
        "y is the same for all units in 2020: Moran's I and Geary's C are not defined.",
        lambda r: (r.model == "geary") * (r.year or 0), {0, 2019, 2021, 2022, 2023}),
    "an outcome of effects alone": (
        PANEL + PLACES + KNN, lambda t: t.assign(y=3.0 * t["lon"] + t["year"] ** 2),
        "There is no Moran's I of residuals: the regression fits the outcome without residuals.",
        lambda r: r.model, {"moran", "geary"}),
    "gaps": (
        PANEL + PLACES + 'balance = "drop-units"\n' + KNN, lambda t: t.drop(index=[7, 8]),
        f"Table 6 uses the balanced part, {N - 1} units x {T} periods.", lambda r: r.units, {N - 1}),
    "three units": (
        PANEL + PLACES + KNN.replace("4", "2"), lambda t: t.query("city in ['城00', '城01', '城08']"),
        "No table 6: 3 units are too few for Moran's I.", lambda r: r.model, set()),
    "W that links all alike": (
        PANEL + PLACES + KNN.replace("4", str(N - 1)) + DISTANCE, pd.DataFrame.copy,
        f"Table 6 leaves out W knn-{N - 1}", lambda r: r.weights, {"inverse-distance"}),
}  # fmt: skip


@pytest.mark.parametrize("case", ODD)
def test_what_an_odd_panel_has_no_numbers_of_is_said(tmp_path: Path, case: str) -> None:
    spec, change, note, what, left = ODD[case]
    ledger = table_6(read(tmp_path, spec, change(frame())))
    assert {what(record) for record in ledger.records} == left
    assert any(said.startswith(note) for said in ledger.notes) == bool(note)
    assert bool(ledger.figures) == (case not in ("no weights", "three units", "W that links all alike"))


def test_an_index_that_no_permutation_changes_has_no_z(tmp_path: Path) -> None:
    table = frame()
    table["y"] = (table["city"] == "城05").astype(float) + 0.1 * table["x"] * (table["year"] > 2019)
    units = sorted(table["city"].unique())
    edges = [(units[i], units[(i + step) % N], 1.0) for i in range(N) for step in (1, -1)]
    pd.DataFrame(edges, columns=["focal", "neighbor", "weight"]).to_csv(tmp_path / "ring.csv", index=False)
    ledger = table_6(read(tmp_path, PANEL + '[[weights]]\nkind = "file"\npath = "ring.csv"\n', table))
    found = {(r.model, r.se_type): r for r in ledger.records if r.year == 2019}
    for model in ("moran", "geary"):
        for null in ("randomisation", "permutation"):
            assert (found[model, null].statistic, found[model, null].pvalue) == (None, None)
            assert value(ledger, found[model, null], "holm") == 1.0
        assert found[model, "normality"].statistic is not None


def test_a_map_of_polygons_is_drawn(tmp_path: Path) -> None:
    features = [
        {"type": "Feature", "properties": {"name": f"城{i:02d}"}, "geometry": {"type": "Polygon", "coordinates": [
            [[x, y] for x, y in zip((a, a + 1, a + 1, a, a), (b, b, b + 1, b + 1, b), strict=True)]]}}
        for i in range(N + 2) for a, b in [(i % 6, i // 6)]
    ]  # fmt: skip
    (tmp_path / "map.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    ledger = table_6(read(tmp_path, PANEL + '[[weights]]\nkind = "contiguity"\npath = "map.geojson"\nunit = "name"\n'))
    assert "on the map hatched" in ledger.figures[0].svg
    assert "(b) Local Moran" in ledger.figures[0].caption


def test_notes_on_draws(real: RealPanel, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too few for the map, or for Holm's p values (those of the spec are just enough); what the last row exchanges."""
    assert any('The row "All periods" shows the permutation of whole histories' in note for note in ledger.notes)
    assert autocorrelation_table.least_draws(T) == 199
    assert not any("pass alone" in note or "Holm p-value over" in note for note in ledger.notes)
    spec = real.spec.model_copy(update={"inference": real.spec.inference.model_copy(update={"draws": 198})})
    monkeypatch.setattr(autocorrelation_table, "LOCAL_DRAWS", 99)
    notes = table_6(replace(real, spec=spec)).notes
    (note,) = (note for note in notes if "Holm p-value over" in note)
    assert all(words in note for words in ("with 198 draws", f"over {T} periods", "draws = 199 or more"))
    assert any("with draws = 1439, a unit can pass alone" in note for note in notes)


def test_cigarettes(shared_data: Path, tmp_path: Path) -> None:
    w = pd.read_csv(shared_data / "cigarettes_w46.csv", index_col=0)
    w.index = w.columns
    edges = w.stack().reset_index().set_axis(["focal", "neighbor", "weight"], axis=1).query("weight != 0")
    edges.to_csv(tmp_path / "w46.csv", index=False)
    spec = ('[panel]\nunit = "name"\nperiod = "year"\noutcome = "logc"\ncontrols = ["logp", "logy"]\n'
            '[[weights]]\nkind = "file"\npath = "w46.csv"\n')  # fmt: skip
    ledger = table_6(read(tmp_path, spec, pd.read_csv(shared_data / "cigarettes.csv")))
    found = {(r.term, r.year, r.se_type): (r.estimate, r.statistic) for r in ledger.records if r.model in r.term}
    for key, wanted in {
        ("moran", 1963, "normality"): (0.26243674, 2.699608), ("moran", 1963, "randomisation"): (0.26243674, 2.753314),
        ("geary", 1963, "normality"): (0.69647921, -2.724629),
        ("geary", 1992, "randomisation"): (0.66512406, -2.955749),
        ("moran", 1992, "randomisation"): (0.34257575, 3.485764),
    }.items():  # fmt: skip
        np.testing.assert_allclose(found[key], wanted, atol=6e-7)
