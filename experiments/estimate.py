"""The paper's models on a real panel: the same estimators and the same runner as in a study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from estimators.did import outcome_of
from estimators.regression import check_fixed
from experiments.index_section import index_facts
from experiments.tables import (
    autocorrelation,
    baseline,
    checks,
    descriptives,
    mediation,
    robustness,
    spatial_models,
    subsamples,
)
from experiments.tables.ledger import Ledger
from results.tables.records import Agreement, Document
from sim.errors import bad

if TYPE_CHECKING:
    from experiments.spec import RealPanel

# in the order of the paper, then what a referee would ask for
TABLES = (descriptives, baseline, checks, subsamples, mediation, autocorrelation, spatial_models, robustness)


def estimate(real: RealPanel, *, cross_check: bool = False) -> Document:
    """All tables of a panel, on request held to other programs; raises BadInput when no model can be fitted."""
    panel = real.panel
    check_fixed(panel, (*panel.roles.regressors, outcome_of(None, panel.schema, "estimation")), "estimation")
    ledger = Ledger(seed=real.spec.inference.seed, notes=list(real.notes))
    for table in TABLES:
        table.add(real, ledger)
    if not ledger.records:
        raise bad("no model can be fitted", where="estimation", allowed="an outcome that varies, sound regressors",
                  remedy="; ".join(ledger.failures))  # fmt: skip
    return Document(
        _facts(real),
        tuple(ledger.records),
        tuple(ledger.statistics),
        (*ledger.notes, *ledger.failures),
        len(ledger.failures),
        tuple(ledger.figures),
        _agreements(real, ledger) if cross_check else (),
    )


def _agreements(real: RealPanel, ledger: Ledger) -> tuple[Agreement, ...]:
    from experiments.cross_check import cross_check  # linearmodels, spreg and esda are slow to import

    return cross_check(ledger.fitted, ledger.records, real.balanced() if real.panel.weights else None)


def _facts(real: RealPanel) -> dict[str, Any]:
    panel, section = real.panel, real.spec.index
    index = {} if section is None or real.index is None else {"index": index_facts(section, real.index)}
    return {
        "digest": panel.digest,
        "units": len(panel.units),
        "periods": len(panel.periods),
        "first_period": panel.periods[0],
        "last_period": panel.periods[-1],
        "nobs": panel.nobs,
        "balanced": panel.balanced,
        "synthetic": real.spec.panel.synthetic,
        "unit": real.spec.panel.unit,
        "period": real.spec.panel.period,
        "outcome": panel.roles.outcome,
        "treatment": panel.roles.treatment,
        "treatment_column": real.spec.panel.treatment or real.spec.panel.first_treated,
        "controls": list(panel.roles.controls),
        "weights": {name: {"digest": w.digest, "standardize": w.standardize} for name, w in panel.weights.items()},
        **index,
    }
