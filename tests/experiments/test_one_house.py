"""What is printed on a real panel is what the studies prove: the same kinds of estimators, the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from made_cities import WHOLE, real_panel

from estimators.core.estimator import Estimator, estimators
from estimators.linear.did import TwoWayDID
from experiments.estimation import estimate
from experiments.panel_spec.spec import RealPanel
from experiments.run.runner import run
from experiments.study import Study, builtin_names, builtin_study
from experiments.tables import ledger as ledger_module
from sim.real_panels import Observed

# kinds that `estimate` prints and no built-in study runs, each with the reason
NOT_IN_STUDIES: dict[str, str] = {
    "differences": "its rates are those of its tests, and on twins of the user's own panel those of the page",
}


@pytest.fixture
def real(tmp_path: Path) -> RealPanel:
    return real_panel(tmp_path, WHOLE)


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[Estimator]:
    """Every estimator that is called while tables are made, whether the runner calls it or a table does."""
    seen: list[Estimator] = []
    for cls in estimators().values():
        for method in ("__call__", "solve", *(("estimates",) if hasattr(cls, "estimates") else ())):
            monkeypatch.setattr(cls, method, _watched(getattr(cls, method), seen))
    return seen


def _watched(method: Any, seen: list[Estimator]) -> Any:
    def watched(self: Estimator, *arguments: Any, **named: Any) -> Any:
        seen.append(self)
        return method(self, *arguments, **named)

    return watched


def kinds_of_studies() -> set[str]:
    """Kinds that built-in studies run, of a permutation test the kind of its estimator too."""
    chosen = [item for name in builtin_names() for item in builtin_study(name).estimators]
    return {item.kind for item in chosen} | {getattr(item, "estimator", item.kind) for item in chosen}


def test_every_column_is_fitted_by_an_estimator_that_a_study_proves(real: RealPanel, used: list[Estimator]) -> None:
    document = estimate(real)
    printed = {record.table for record in document.records}
    assert {"2", "3", "4", "5", "6", "7", "R", "S"} <= printed
    found = {item.kind for item in used}
    assert {"did", "spatial", "mediation", "random", "interaction"} <= found
    assert found <= set(estimators()), "a class that discovery does not know has no conformance suite"
    assert found - kinds_of_studies() == set(NOT_IN_STUDIES)
    for kind in found:
        design, terms = next(item for item in used if item.kind == kind).home
        layout = next(item for item in used if item.kind == kind).layout(real.panel.schema)
        assert terms or layout.tests, kind
        assert design.schema.units > 1


def test_a_study_on_the_same_panel_gives_the_same_bits(real: RealPanel, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[Any] = []
    keep = ledger_module.Ledger.fit

    def watched(self: Any, panel: Any, fits: Any) -> Any:
        fitted.extend(fits)
        return keep(self, panel, fits)

    monkeypatch.setattr(ledger_module.Ledger, "fit", watched)
    document = estimate(real)
    own = next(item for item in fitted if item.name == "table-2-column-5-did")
    plain = TwoWayDID(errors=tuple(error for error in own.errors if not error.startswith("wild:")))
    for estimator in (own, plain):
        study = Study("one cell", Observed(real.panel), (estimator,), replications=1, block=64, seed=3)
        found = next(iter(run(study).blocks(0))).estimates[estimator.name]
        for row, error in enumerate(found.errors):
            record = next(item for item in document.records if item.table == "2" and item.column == 5
                          and item.term == real.panel.roles.treatment and item.se_type == error)  # fmt: skip
            assert record.estimate == found.estimate[0, 0]
            assert record.se == found.se[0, row, 0]
