"""`cluster_k` of [inference]: every column whose estimator has it counts parameters as it says, and tables say so."""

from __future__ import annotations

from pathlib import Path

import made_cities
import pytest

from experiments.estimation import estimate, journal_tables
from experiments.panel_spec.spec import read_real_panel, read_spec
from experiments.placebo import question
from experiments.references import linearmodels
from results.tables.records import Document
from sim.errors import BadInput

SPEC = (
    made_cities.PANEL
    + f"""
mediators = ["patents"]
groups = ["region"]
{made_cities.PLACES}
[inference]
cluster_k = "CHOICE"
draws = 99

[robustness]
unit_trends = true
staggered = true

[robustness.psm]
methods = ["kernel"]

[[weights]]
kind = "knn"
k = 4
"""
)
WORDS = {"slopes": "effects not counted in k", "nonnested": "effects nested in clusters not counted in k",
         "all": "all effects counted in k"}  # fmt: skip


def spec_file(folder: Path, choice: str) -> Path:
    (folder / "SPEC.toml").write_text(SPEC.replace("CHOICE", choice))
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


def test_tables_say_what_is_counted(documents):
    for choice, document in documents.items():
        notes = " ".join(note for table in journal_tables(document, "cluster:unit") for note in table.notes)
        assert [words for words in WORDS.values() if f"(n - k), {words}" in notes] == [WORDS[choice]]
        told = any("does not apply to PSM" in note for note in document.notes)
        assert told == (choice != "nonnested")


def test_a_placebo_counts_in_the_same_way(tmp_path):
    real = read_real_panel(made_cities.DATA / "cities.csv", read_spec(spec_file(tmp_path, "all")))
    assert question(real, draws=99).estimator.cluster_k == "all"  # type: ignore[attr-defined]


def test_another_word_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r'cluster_k = .nested.; allowed: "slopes", "nonnested" or "all"'):
        read_spec(spec_file(tmp_path, "nested"))
