"""The paper's models on a real panel: the same estimators and the same runner as in a study."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.application.estimable import check_estimable
from experiments.application.spec.index import index_facts
from experiments.application.tables.ledger import Ledger
from experiments.checks import checks_of
from experiments.checks.case import Case
from results.tables.records import Agreement, Document
from sim.errors import Problem, bad, refuse
from sim.panel import seen_in

if TYPE_CHECKING:
    from estimators.core.estimator import Estimator
    from experiments.application.spec.spec import RealPanel
    from sim.panel import Panel

LARGEST, SMALLEST = 1e60, 1e-60  # numbers that statistics of fourth powers can still be made of


def estimate(real: RealPanel, *, cross_check: bool = False, estimators: Sequence[str] = ()) -> Document:
    """All tables of a panel, on request held to other programs; raises BadInput when no model can be fitted.

    estimators: names of further ones, each a column of table 2.
    """
    ledger = ledger_of(real, estimators)
    warnings = checks_of(Case.of(real, ledger))
    return Document(
        _facts(real),
        tuple(ledger.records),
        tuple(ledger.statistics),
        (*ledger.notes, *ledger.failures),
        len(ledger.failures),
        tuple(ledger.figures),
        _agreements(real, ledger) if cross_check else (),
        warnings,
        tuple(ledger.specifications),
    )


def ledger_of(real: RealPanel, estimators: Sequence[str] = (), *, pictures: bool = True) -> Ledger:
    """The tables that a spec asks for, and a column for each further estimator; raises BadInput as `estimate` does."""
    chosen = _chosen(real, estimators) if estimators else {}
    _check_sizes(real.panel)
    check_estimable(real)
    ledger = Ledger(real.spec.inference.seed, pictures, notes=list(real.notes))
    for name in _asked_for(real):
        import_module(f"experiments.application.tables.{name}").add(real, ledger)
    if chosen:
        import_module("experiments.application.tables.regressions").add_chosen(ledger, chosen)
    _say_counting(real, ledger)
    if not ledger.records:
        raise bad("no model can be fitted", where="estimation", allowed="an outcome that varies, sound regressors",
                  remedy="; ".join(ledger.failures))  # fmt: skip
    return ledger


def _chosen(real: RealPanel, names: Sequence[str]) -> dict[Estimator, Panel]:
    """Estimators by their names, each with its panel; raises BadInput for a name that does not exist."""
    from experiments.application.chosen import estimator_called, panel_for  # most families: slow to import

    return {estimator_called(name, real): panel_for(name, real) for name in names}


def _asked_for(real: RealPanel) -> Iterator[str]:
    """Modules of the tables that the spec asks for, as the paper orders them, then a referee's: others stay unread."""
    roles, spec = real.panel.roles, real.spec
    asked = {
        "descriptives": True, "regressions": True, "mediation": roles.mediators, "autocorrelation": real.panel.weights,
        "spatial_models": real.panel.weights, "staggered": spec.robustness.staggered,
        "robustness": spec.robustness.model_fields_set,
    }  # fmt: skip
    return (name for name, wanted in asked.items() if wanted)


def _say_counting(real: RealPanel, ledger: Ledger) -> None:
    """A note on the columns whose estimators have no choice of cluster_k."""
    section, cluster_k = real.spec.robustness, real.spec.inference.cluster_k
    if cluster_k != "nonnested" and (section.psm is not None or section.staggered):
        ledger.note(f'cluster_k = "{cluster_k}" does not apply to PSM, event studies, Sun-Abraham and stacks: their '
                    "clustered errors always count the effects that are not nested in the clusters.")  # fmt: skip


def _check_sizes(panel: Panel) -> None:
    """Raise BadInput for variables whose fourth powers, as in the errors of a variance, overflow or vanish."""
    seen, problems = seen_in(panel), []
    names = (panel.roles.outcome, *panel.roles.regressors, *panel.roles.mediators)
    for name in dict.fromkeys(name for name in names if name is not None):
        values = panel.variables[name][0][seen]
        largest, spread = float(np.abs(values).max()), float(values.max() / 2 - values.min() / 2)
        if largest > LARGEST or 0 < spread < SMALLEST:
            said = f"holds numbers up to {largest:.1e}" if largest > LARGEST else f"varies by only {2 * spread:.1e}"
            allowed = f"sizes from {SMALLEST:g} to {LARGEST:g}"
            problems.append(Problem(f"variable {name!r} {said}", "estimation", allowed, "measure it in another unit"))
    refuse(problems)


def _agreements(real: RealPanel, ledger: Ledger) -> tuple[Agreement, ...]:
    from experiments.application.cross_check import cross_check  # linearmodels, spreg and esda are slow to import

    return cross_check(ledger.fitted, ledger.records, real.balanced() if real.panel.weights else None)


def _facts(real: RealPanel) -> dict[str, Any]:
    panel, section = real.panel, real.spec.index
    cut = panel.weights or (real.spec.robustness.staggered and real.spec.panel.balance != "error")
    balanced = real.balanced() if cut and not panel.balanced else None
    part = {} if balanced is None else {"balanced_part": _size(balanced)}
    dated = {"first_treated": real.spec.panel.first_treated} if real.spec.panel.first_treated else {}
    index = {} if section is None or real.index is None else {"index": index_facts(section, real.index)}
    return {
        "digest": panel.digest,
        **_size(panel),
        "balanced": panel.balanced,
        "cluster_k": real.spec.inference.cluster_k,
        "synthetic": real.spec.panel.synthetic,
        "unit": real.spec.panel.unit,
        "period": real.spec.panel.period,
        "outcome": panel.roles.outcome,
        "treatment": panel.roles.treatment,
        "treatment_column": real.spec.panel.treatment or real.spec.panel.first_treated,
        "controls": list(panel.roles.controls),
        "weights": {name: {"digest": w.digest, "standardize": w.standardize} for name, w in panel.weights.items()},
        **dated,
        **part,
        **index,
    }


def _size(panel: Panel) -> dict[str, int]:
    return {
        "units": len(panel.units),
        "periods": len(panel.periods),
        "first_period": panel.periods[0],
        "last_period": panel.periods[-1],
        "nobs": panel.nobs,
    }
