"""Rejection at another null than 0, equivalence tests and N(0,1) as measures of studies."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from estimators import TwoWayDID
from experiments.cli import run_command
from experiments.run.runner import run
from experiments.study import Study, load_measures
from results.diagnosis.diagnose import diagnose
from results.diagnosis.own_measures import Equivalence, RejectionAt
from sim.errors import BadInput
from sim.world.panel_design import PanelDesign
from sim.world.parts.adoption import Random
from sim.world.parts.effect import Effect
from studies import quick_study

EFFECT = 0.5


@pytest.fixture(scope="module")
def records() -> Any:
    """Few units, so that t and the normal distribution differ."""
    design = PanelDesign(units=12, periods=6, adoption=Random(treated=6), effect=Effect(size=EFFECT))
    return run(Study("nulls", design, (TwoWayDID(errors=("cluster:unit", "wild:unit"), draws=99),), replications=1024,
                     block=512))  # fmt: skip


def rows(records: Any, measure: str, **choices: Any) -> dict[str, dict[str, Any]]:
    frame = diagnose(records, **choices).frame
    found = frame[(frame["measure"] == measure) & (frame["term"] == "did")]
    return {row["error"]: row for row in found.to_dict("records")}


def arrays(records: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    found = [block.estimates["did"] for block in records.blocks(0)]
    return tuple(np.concatenate([getattr(one, name)[..., 0] for one in found]) for name in ("estimate", "se", "dof"))  # type: ignore[return-value]


def test_rejection_at_a_null_is_that_of_t(records: Any) -> None:
    estimate, se, dof = arrays(records)
    for null in (0.0, EFFECT, 0.8):
        found = rows(records, "rejects", measures={"rejects": RejectionAt({"did": null})})
        wanted = np.abs(estimate - null) / se[:, 0] >= stats.t.ppf(0.975, dof[:, 0])
        assert found["cluster:unit"]["value"] == wanted.mean()
        assert found["cluster:unit"]["n"] == 1024
    own = rows(records, "rejects", measures={"rejects": RejectionAt({"did": 0.0})})
    built = rows(records, "rejection")
    assert own["cluster:unit"]["value"] == built["cluster:unit"]["value"]


def test_at_the_truth_rejection_is_one_less_coverage(records: Any) -> None:
    """Of stored intervals too, which invert the bootstrap's test."""
    size = rows(records, "rejects", measures={"rejects": RejectionAt({"did": EFFECT})})
    coverage = rows(records, "coverage")
    for error in ("cluster:unit", "wild:unit"):
        assert size[error]["value"] == pytest.approx(1 - coverage[error]["value"], abs=1e-12)
    assert abs(size["wild:unit"]["value"] - 0.05) <= 4 * size["wild:unit"]["mcse"] + 0.02  # 12 clusters


def test_equivalence_is_two_one_sided_tests(records: Any) -> None:
    estimate, se, dof = arrays(records)
    found = rows(records, "same", measures={"same": Equivalence({"did": (-0.2, 1.2)})})
    both = [stats.t.sf((estimate + 0.2) / se[:, 0], dof[:, 0]), stats.t.sf((1.2 - estimate) / se[:, 0], dof[:, 0])]
    assert found["cluster:unit"]["value"] == (np.maximum(*both) < 0.05).mean()
    assert "wild:unit" not in found  # it has no standard error
    stricter = rows(records, "same", alpha=0.01, measures={"same": Equivalence({"did": (-0.2, 1.2)})})
    assert stricter["cluster:unit"]["value"] == (np.maximum(*both) < 0.01).mean()


def test_an_equivalence_test_on_its_bound_keeps_its_level(records: Any) -> None:
    """The effect is on the upper bound; the other bound is far away."""
    found = rows(records, "same", measures={"same": Equivalence({"did": (-9.0, EFFECT)})})["cluster:unit"]
    assert abs(found["value"] - 0.05) <= 4 * found["mcse"] + 0.02


def test_the_normal_distribution_rejects_more_often_and_leaves_what_is_stored(records: Any) -> None:
    estimate, se, _ = arrays(records)
    usual, normal = rows(records, "rejection"), rows(records, "rejection", normal=True)
    assert normal["cluster:unit"]["value"] == (np.abs(estimate) / se[:, 0] >= stats.norm.ppf(0.975)).mean()
    assert normal["wild:unit"]["value"] == usual["wild:unit"]["value"]
    coverage = rows(records, "coverage", normal=True)["cluster:unit"]["value"]
    assert coverage == (np.abs(estimate - EFFECT) <= stats.norm.ppf(0.975) * se[:, 0]).mean()
    assert coverage < rows(records, "coverage")["cluster:unit"]["value"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("null:did", "write it so"),
        ("null:=0", "write it so"),
        ("null:did=x", "write it so"),
        ("null:did=inf", "write it so"),
        ("equivalence:did<0.1", "write it so"),
        ("equivalence:0.1<did<x", "write it so"),
        ("equivalence:0.1<did<-0.1", "the lower bound is not below the upper"),
        ("nul:did=0", "nul cannot be imported"),
    ],
)
def test_mistakes_are_one_line(text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        load_measures([text], "--measure")
    assert len(str(caught.value).splitlines()) == 1


def test_a_term_that_no_estimator_has_is_refused(records: Any) -> None:
    with pytest.raises(BadInput, match=r"no estimator has the term 'dit'.*did you mean 'did'"):
        diagnose(records, measures={"rejects": RejectionAt({"dit": 0.0})})


def test_the_command_line_and_a_study_take_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = str(tmp_path / "s.zarr")
    study = replace(quick_study(128, grid=()), measures=("null:did=0.0157",))
    run(study, store=tmp_path / "s.zarr")
    words = ["report", store, "--json", "--normal", "--measure", "equivalence:-1<did<1"]
    assert run_command(words) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["study"]["critical_values"] == "normal"
    found = {(row["measure"], row["term"]): row["value"] for row in document["measures"]
             if row["measure"] in ("rejection_at_null", "equivalence")}  # fmt: skip
    assert found["equivalence", "did"] == 1.0
    assert set(found) == {("equivalence", "did"), ("rejection_at_null", "did")}
    assert run_command(["report", store, "--measure", "null:dit=0"]) == 2
