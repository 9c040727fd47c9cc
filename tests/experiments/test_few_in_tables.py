"""Errors for few clusters and few treated units, and what `cluster_k` counts, from a spec to the tables."""

from __future__ import annotations

from pathlib import Path

import made_cities
import numpy as np
import pandas as pd
import pytest
from ledgers import filled
from refusals import refuses

from estimators.linear.did import TwoWayDID
from experiments.estimation import check_estimable, estimate, journal_tables
from experiments.panel_spec.spec import RealPanel, read_real_panel, read_spec
from experiments.references import linearmodels
from experiments.tables import robustness_table
from experiments.tables.ledger import Ledger, few_clusters, two_way
from experiments.tables.regressions import add_baseline, add_subsamples
from results.tables.records import Document, Fit
from results.tables.typography import error_note

ERRORS = ("cv3:province", "cr2:province", "conley-taber", "ferman-pinto:people")


def frame(*, treated: tuple[int, ...] = (0, 1, 5), units: int = 24) -> pd.DataFrame:
    """Cities of six provinces over eight years, some treated from the fifth on, and how many people they have."""
    rng = np.random.default_rng(6)
    city, year = np.divmod(np.arange(units * 8), 8)
    d = (np.isin(city, treated) & (year >= 4)).astype(int)
    return pd.DataFrame(
        {"city": city, "year": 2010 + year, "d": d, "x": rng.standard_normal(units * 8), "province": city % 6,
         "people": 1.0 + city % 5, "y": rng.standard_normal(units * 8) + 0.5 * d}
    )  # fmt: skip


def real(
    tmp_path: Path, data: pd.DataFrame, errors: tuple[str, ...] = ERRORS, more: str = "", groups: tuple[str, ...] = ()
) -> RealPanel:
    data.to_csv(tmp_path / "panel.csv", index=False)
    (tmp_path / "spec.toml").write_text(
        '[panel]\nunit = "city"\nperiod = "year"\noutcome = "y"\ntreatment = "d"\ncontrols = ["x"]\n'
        f"groups = {list(groups)}\n[inference]\ndraws = 99\nerrors = {list(errors)}\n{more}"
    )
    return read_real_panel(tmp_path / "panel.csv", read_spec(tmp_path / "spec.toml"))


def test_every_two_way_column_has_them_and_others_what_they_can(tmp_path: Path) -> None:
    panel, ledger = real(tmp_path, frame()), Ledger(1)
    check_estimable(panel)
    add_baseline(panel, ledger)
    assert not ledger.failures
    kinds: dict[tuple[int, str], list[str]] = {}
    for record in ledger.records:
        if record.table == "2":
            kinds.setdefault((record.column, record.model), []).append(record.se_type)
    for (column, model), found in kinds.items():
        kept = set(ERRORS if column in (1, 5) and model == "did" else () if model == "random" else ERRORS[:2])
        assert set(found) & set(ERRORS) == kept, (column, model)
    assert any("Random effects have no cv3:province, cr2:province, conley-taber" in note for note in ledger.notes)
    assert not any("conley-taber error of" in note for note in ledger.notes)


def test_thirty_clusters_are_not_few(tmp_path: Path) -> None:
    said = [tuple(few_clusters(real(tmp_path, frame(units=units), ()))) for units in (29, 30)]
    assert [len(sentences) for sentences in said] == [1, 0]


def test_the_numbers_are_those_of_the_estimator(tmp_path: Path) -> None:
    panel, ledger = real(tmp_path, frame()), Ledger(1)
    add_baseline(panel, ledger)
    own = TwoWayDID(errors=ERRORS, constant=True)(panel.panel)
    column = max(record.column for record in ledger.records if record.table == "2" and record.model == "did")
    found = {r.se_type: r for r in ledger.records if (r.table, r.column, r.term) == ("2", column, "did")}
    for row, error in enumerate(ERRORS[:2]):
        assert found[error].se == pytest.approx(own.se[0, row, 0])
    assert found["conley-taber"].se is None
    assert found["conley-taber"].pvalue is not None
    assert found["conley-taber"].lower is not None
    counts = {r.term or r.name: r.value for r in ledger.statistics if r.column == column and r.table == "2"}
    assert counts["clusters:cv3:province"] == counts["clusters:cr2:province"] == 6


def test_a_column_of_one_treated_cluster_says_why_it_has_no_jackknife(tmp_path: Path) -> None:
    ledger = filled(add_baseline, real(tmp_path, frame(treated=(0, 6, 12))))
    why = "error of did: without one of the clusters there is no such coefficient."
    wanted = [f"Table 2, column {column} (all) has no {error}:province {why}"
              for column in (1, 2, 3, 4, 5) for error in ("cv3", "cr2")]  # fmt: skip
    assert [note for note in ledger.notes if why in note] == wanted


def test_what_placebos_need_is_said_before_any_table(tmp_path: Path) -> None:
    data = frame(treated=tuple(range(23)))
    data.loc[data["city"] < 10, "d"] = (data["year"] >= 2012).astype(int)
    refuses("conley-taber with 1 unit never treated; allowed: a treatment, and 2 or more",
            lambda: check_estimable(real(tmp_path, data, ("conley-taber",))))  # fmt: skip
    for wrong, said in (("ferman-pinto:", "unknown"), ("ferman-pinto:city", "is the unit"), ("cr2:year", "is the")):
        refuses(said, lambda wrong=wrong: real(tmp_path, frame(), (wrong,)))
    uneven = frame().assign(people=lambda rows: np.arange(len(rows)))
    refuses("people", lambda: real(tmp_path, uneven, ("ferman-pinto:people",)))


def test_notes_of_tables_say_what_they_are() -> None:
    assert error_note("cv3:province", likelihood=False) == (
        "Standard errors in brackets, clustered by province, by the cluster jackknife (CV3): factor (G - 1)/G on "
        "squared changes of the estimate; t with G - 1 degrees of freedom."
    )
    assert "degrees of freedom of Imbens and Kolesar (2016)" in error_note("cr2:unit", likelihood=False)
    for error in ("conley-taber", "ferman-pinto:people"):
        said = error_note(error, likelihood=False)
        assert said.startswith("Brackets hold 95% intervals, not standard errors: ")
        assert "restricted" not in said
    assert "restricted wild" in error_note("wild:unit", likelihood=False)


def test_clusters_that_are_one_without_singletons_cost_their_errors_alone(tmp_path: Path) -> None:
    """Effects of a group in a period fit a cluster of one unit; periods without others fit one that is seen once."""
    data = frame()
    data["zone"] = np.where(data["city"] == 0, "alone", "others")
    data["half"] = np.where(data["city"] == 0, "alone", np.where(data["city"] % 2 == 1, "odd", "even"))
    more = '[robustness]\nregion_by_period = "half"\n'
    ledger = filled(robustness_table.add, real(tmp_path, data, ("cluster:zone",), more))
    lacks = "has no cluster:zone errors: they need 2 clusters."
    assert ledger.notes[1:] == [f"Table R, column 1 (half-by-year effects) {lacks}"]
    once = data[(data["city"] > 0) | (data["year"] == 2010)]
    panel, ledger = real(tmp_path, once, ("cluster:zone",)).panel, Ledger(1)
    fit = Fit(("4", 1), "did", sample="all")
    assert two_way(real(tmp_path, once, ("cluster:zone",)), ledger, panel, fit)
    assert f"Table 4, column 1 (all) {lacks}" in ledger.notes
    assert {record.se_type for record in ledger.records} == {"iid", "hc1", "cluster:unit"}


def test_a_sample_without_placebos_says_what_it_lacks(tmp_path: Path) -> None:
    data = frame()
    data["part"] = data["city"].isin([0, 1, 2, 5]).astype(int)  # three treated units and one other
    ledger = filled(add_subsamples, real(tmp_path, data, ("conley-taber",), groups=("part",)))
    said = "Table 4, column 2 (part = 1) has no conley-taber errors: they need 2 units that are never treated."
    assert said in ledger.notes


def test_two_periods_leave_out_errors_that_sum_over_them(tmp_path: Path) -> None:
    data = frame().query("2013 <= year <= 2015")  # three periods, of which a lag leaves two
    errors = ("driscoll-kraay", "cluster:unit+period")
    found = estimate(real(tmp_path, data, errors, "[robustness]\nlag = 1\n"))
    lagged = "Table R, column 1 (treatment and controls lagged by 1 period)"
    assert f"{lagged} has no driscoll-kraay and cluster:unit+period errors: they need 3 periods." in found.notes
    kinds = {record.se_type for record in found.records if record.table == "R"}
    assert kinds == {"iid", "hc1", "cluster:unit"}
    assert set(errors) < {record.se_type for record in found.records if record.table == "2"}
    caught = refuses("", check_estimable, real(tmp_path, data.query("year < 2015"), errors))
    assert str(caught).splitlines() == [
        f"spec.toml, [inference] errors; {error} with 2 periods; allowed: 3 periods or more; choose another error type"
        for error in errors
    ]


def test_groups_of_one_unit_count_for_no_cluster_beside_their_own_periods(tmp_path: Path) -> None:
    data = frame()
    data["province"] = np.where(data["city"] < 20, 0, data["city"])  # one of twenty units, and four of one
    found = estimate(real(tmp_path, data, ("cluster:unit+province",), '[robustness]\nregion_by_period = "province"\n'))
    note = "Table R, column 1 (province-by-year effects) has no cluster:unit+province errors: they need 2 clusters."
    assert note in found.notes
    assert {record.se_type for record in found.records if record.table == "R"} == {"iid", "hc1", "cluster:unit"}


CLUSTER_K = f"""
inference = {{ cluster_k = "CHOICE", draws = 99 }}
robustness = {{ unit_trends = true, staggered = true, psm = {{ methods = ["kernel"] }} }}
weights = {{ kind = "knn", k = 4 }}
{made_cities.PANEL}
mediators = ["patents"]
groups = ["region"]
{made_cities.PLACES}"""
WORDS = {"slopes": "effects not counted in k", "nonnested": "effects nested in clusters not counted in k",
         "all": "all effects counted in k"}  # fmt: skip


def spec_file(folder: Path, choice: str) -> Path:
    (folder / "SPEC.toml").write_text(CLUSTER_K.replace("CHOICE", choice))
    return folder / "SPEC.toml"


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Document]:
    folder = tmp_path_factory.mktemp("cluster_k")
    file = made_cities.DATA / "cities.csv"
    return {choice: estimate(read_real_panel(file, read_spec(spec_file(folder, choice)))) for choice in WORDS}


def clustered(document: Document) -> dict[tuple[object, ...], float]:
    """Standard errors clustered by unit (of mediation: delta), by place and term."""
    return {
        (item.table, item.column, item.model, item.transform, item.sample, item.term): item.se
        for item in document.records
        if item.se is not None and item.se_type in ("cluster:unit", "delta") and item.se > 0
    }


@pytest.mark.parametrize("choice", ["slopes", "all"])
def test_column_5_of_table_2_has_the_errors_of_linearmodels(choice, documents, tmp_path):
    panel = read_real_panel(made_cities.DATA / "cities.csv", read_spec(spec_file(tmp_path, choice))).panel
    theirs = linearmodels.least_squares(panel, errors=("cluster:unit",), cluster_k=choice)
    ours = clustered(documents[choice])
    for term, error in zip(theirs.terms, theirs.se["cluster:unit"], strict=True):
        if term != "constant":
            assert ours[("2", 5, "did", None, "all", term)] == pytest.approx(error, rel=1e-9)


def test_the_choice_reaches_every_estimator_that_has_it(documents):
    default, every = clustered(documents["nonnested"]), clustered(documents["all"])
    assert default.keys() == every.keys()
    wider = {place[2] for place, error in every.items() if error > default[place] * 1.001}
    same = {place[2] for place, error in every.items() if error == default[place]}
    assert {"did", "mediation", "interaction", "spatial-did", "rings"} <= wider
    assert {"pooled", "random", "sdm", "event-study", "psm"} & wider == set()
    assert "pooled" in same
    assert wider | same == {place[2] for place in every}


def test_tables_say_what_is_counted_and_another_word_is_refused(documents, tmp_path):
    for choice, document in documents.items():
        notes = " ".join(note for table in journal_tables(document, "cluster:unit") for note in table.notes)
        assert [words for words in WORDS.values() if f"(n - k), {words}" in notes] == [WORDS[choice]]
        told = any("does not apply to PSM" in note for note in document.notes)
        assert told == (choice != "nonnested")

    refuses(
        r'cluster_k = .nested.; allowed: "slopes", "nonnested" or "all"',
        lambda: read_spec(spec_file(tmp_path, "nested")),
    )
