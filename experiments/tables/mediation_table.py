"""Table 5: each mediator's two equations, the effect through it with its intervals, and how fragile that effect is."""

from __future__ import annotations

import numpy as np

from estimators.core.estimator import Estimates, critical_values
from estimators.mediation.mediation import Mediation
from experiments.panel_spec.spec import RealPanel
from experiments.study import NAME
from experiments.tables.columns import clustered_enough, error_types, main_cluster, regression, unfit
from experiments.tables.ledger import Ledger
from results.tables.records import LEVEL, Fit, mediation

CORRELATIONS = tuple(step / 10 for step in range(-9, 10))  # of the two equations' errors


def add(real: RealPanel, ledger: Ledger) -> None:
    """Two columns a mediator, and the indirect effect at the second; nothing without a treatment or a mediator."""
    roles = real.panel.roles
    if roles.treatment is None:
        if roles.mediators:
            ledger.note("There is no table 5: the spec names no treatment, so mediators have no effect to pass on.")
        return
    for position, mediator in enumerate(roles.mediators):
        _add_mediator(real, ledger, mediator, position)


def _add_mediator(real: RealPanel, ledger: Ledger, mediator: str, position: int) -> None:
    panel, (first, second) = real.panel, mediation(position)
    treatment, *controls = panel.roles.regressors
    why = unfit(panel, (*panel.roles.regressors, mediator))
    if why:
        ledger.note(f"Table 5 has no columns for {mediator}: {why}.")
        return
    paths = _paths(real, mediator, position)
    errors = clustered_enough(panel, error_types(real.spec))
    equations = [
        regression(real.spec, f"{model}-{paths.label}", regressors, outcome=outcome, errors=errors)
        for model, outcome, regressors in (
            ("mediator", mediator, panel.roles.regressors),
            ("outcome", None, (treatment, mediator, *controls)),
        )
    ]
    effects = Fit(second, "mediation", mediator=mediator)
    fits = (Fit(first, "mediator", mediator=mediator), Fit(second, "outcome", mediator=mediator), effects)
    found = ledger.fit(panel, dict(zip((*equations, paths), fits, strict=True)))
    if paths in found:
        _add_sensitivity(real, ledger, paths, effects, found[paths])
        _add_note(ledger, mediator, found[paths])


def _paths(real: RealPanel, mediator: str, position: int) -> Mediation:
    """The estimator of a mediator's paths, clustered as the spec says; tables read the cluster off the bootstrap."""
    cluster = main_cluster(real.spec).removeprefix("cluster:")
    return Mediation(
        mediator,
        errors=("delta", "sobel", "monte-carlo", f"bootstrap:{cluster}"),
        draws=real.spec.inference.draws,
        cluster=cluster,
        cluster_k=real.spec.inference.cluster_k,
        label=f"mediation-{mediator if NAME.fullmatch(mediator) else position + 1}",
    )


def _add_sensitivity(real: RealPanel, ledger: Ledger, paths: Mediation, fit: Fit, found: Estimates) -> None:
    """The indirect effect and its 95% interval if the equations' errors correlated, over a grid of correlations."""
    effect, error = (values[0] for values in paths.sensitivity(real.panel, np.array(CORRELATIONS)))
    dof = found.dof[:1, found.errors.index("delta"), found.terms.index("nie")]
    margin = critical_values(dof, LEVEL) * error
    for at, nie, half in zip(CORRELATIONS, effect, margin, strict=True):
        ends = {"nie_at_rho": nie, "nie_at_rho_lower": nie - half, "nie_at_rho_upper": nie + half}
        ledger.values(fit, ends, term=f"rho = {at:g}")


def _add_note(ledger: Ledger, mediator: str, estimates: Estimates) -> None:
    """That a share of an effect which may be zero says nothing; that the share hangs on an assumption."""
    total, row = estimates.terms.index("total"), estimates.errors.index("delta")
    t = estimates.estimate[0, total] / estimates.se[0, row, total]
    if not abs(t) >= critical_values(estimates.dof[:1, row, total], LEVEL)[0]:  # as its 95% interval says
        ledger.note(f"Table 5, {mediator}: the total effect is not distinguishable from zero (t = {t:.2f}), so the "
                    "proportion mediated is not meaningful.")  # fmt: skip
    ledger.note("Table 5: an indirect effect is causal only if no unobserved variable affects both mediator and "
                "outcome. ρ at which a × b is 0 (rho_at_zero in the files) is the correlation of the two equations' "
                "errors at which the indirect effect would be zero.")  # fmt: skip
