"""The sample of a claim: the part of a real panel that its fit used, with the outcome and the controls of that fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from estimators.core.estimator import RegressionEstimator
from experiments.application.spec.spec import RealPanel, Spec, with_weights
from experiments.application.tables.columns import clustered_enough, error_types, main_cluster
from experiments.application.tables.ledger import Fitted, reasons
from sim.arrays import Floats
from sim.errors import BadInput, bad, listed, one_of
from sim.panel import Panel
from sim.schema import Roles
from sim.weights import Weights


def sample_of(real: RealPanel, fitted: Fitted) -> RealPanel:
    """The panel and spec of what a fit used, so that a twin of it is a twin of that sample; `real` where it is all.

    Units and periods are those of the fit. The fit's outcome is the outcome, and every further regressor, such as
    another policy, is a control, for a twin holds no other variables. W is built anew for the units; where it cannot
    be, the sample has none. Error types and the main cluster go where the sample has fewer than two clusters. The
    sample's last notes say what differs from the whole panel. Raises BadInput for a fit on variables that are neither.
    """
    panel, own = fitted.panel, real.panel.roles
    outcome, controls = _variables(real, fitted)
    if panel is real.panel and (outcome, controls) == (own.outcome, own.controls):
        return real
    roles = Roles(outcome, own.treatment, controls, continuous=own.continuous)
    weights, without = _weights(real, panel)
    part = replace(panel, roles=roles, weights=weights)
    spec = _spec(real.spec, part, own.outcome)
    notes = (*real.notes, *_notes(real.panel, part, fitted), *without)
    return replace(real, panel=part, spec=spec, notes=notes, further=_further(real, part))


def _variables(real: RealPanel, fitted: Fitted) -> tuple[str | None, tuple[str, ...]]:
    """The fit's outcome, and the panel's controls with the fit's further regressors; raises BadInput for others."""
    roles, own, schema = real.panel.roles, fitted.estimator, fitted.panel.schema
    outcome, named = roles.outcome, tuple[str, ...]()
    if isinstance(own, RegressionEstimator):
        outcome, named = own.names(schema)
    controls = tuple(dict.fromkeys((*roles.controls, *(name for name in named if name != roles.treatment))))
    lacking = sorted(own.variables(schema) - {str(outcome), str(roles.treatment), *controls})
    if lacking:
        raise bad(f"twins do not have {one_of(lacking)}, which {own.name} uses", where=fitted.fit.where,
                  allowed="estimators that use the outcome, the treatment and controls",
                  remedy="choose a term of a regression, such as did")  # fmt: skip
    return outcome, controls


def _weights(real: RealPanel, panel: Panel) -> tuple[Mapping[str, Weights], tuple[str, ...]]:
    """W of the sample's units, and in words why there is none."""
    if panel.weights or panel.units == real.panel.units:
        return panel.weights or real.panel.weights, ()
    try:
        return with_weights(panel, real.spec, real.order).weights, ()
    except BadInput as refusal:
        return {}, (f"Twins of the claim's sample have no spatial weights: {reasons(refusal)}.",)


def _spec(spec: Spec, panel: Panel, outcome: str | None) -> Spec:
    """The spec with the sample's outcome, controls and error types; an index is the outcome of the whole alone."""
    sound = clustered_enough(panel, error_types(spec))
    changes = {"outcome": panel.roles.outcome, "controls": panel.roles.controls, "mediators": ()}
    section = spec.panel.model_copy(update=changes | ({} if main_cluster(spec) in sound else {"cluster": None}))
    inference = spec.inference.model_copy(
        update={"errors": tuple(error for error in spec.inference.errors if error in sound)}
    )
    index = spec.index if panel.roles.outcome == outcome else None
    return spec.model_copy(update={"panel": section, "inference": inference, "index": index})


def _further(real: RealPanel, panel: Panel) -> dict[str, Floats]:
    """Variables beside the panel's on the sample's units and periods."""
    units = [real.panel.units.index(unit) for unit in panel.units]
    periods = [real.panel.periods.index(period) for period in panel.periods]
    return {name: values[:, periods][:, :, units] for name, values in real.further.items()}


def _notes(whole: Panel, panel: Panel, fitted: Fitted) -> Iterator[str]:
    """What the twins of the sample are of, where this is not the whole panel, and what they take for a control."""
    cut = (whole.units, whole.periods, whole.nobs) != (panel.units, panel.periods, panel.nobs)
    changed = not cut and any(
        not np.array_equal(values, panel.variables[name], equal_nan=True) for name, values in whole.variables.items()
    )
    if cut or changed or whole.roles.outcome != panel.roles.outcome:
        named = "" if fitted.fit.sample == "all" else f" ({fitted.fit.sample})"
        yield (f"Twins are of the claim's own sample{named}: {len(panel.units)} of {len(whole.units)} units, "
               f"{panel.periods[0]} to {panel.periods[-1]}, outcome {panel.roles.outcome}.")  # fmt: skip
    further = [name for name in panel.roles.controls if name not in whole.roles.controls]
    if further:
        yield f"Twins take {listed(further)} for a control, as the claim's regression does."
