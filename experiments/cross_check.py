"""The user's own panel through linearmodels, spreg and esda: how far their numbers are from ours, table by table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from estimators.linear.did import TwoWayDID
from estimators.linear.panel_ols import PanelOLS
from estimators.linear.random_effects import RandomEffects
from estimators.spatial.spatial_panel import SpatialPanel
from experiments.references import esda, linearmodels, spreg
from experiments.references.reference import Floats, Reference
from experiments.tables.ledger import Fitted
from results.tables.records import Agreement, Record
from sim.panel import Panel

ERRORS = ("iid", "hc1", "cluster:unit")


def cross_check(fitted: Sequence[Fitted], records: Sequence[Record], square: Panel | None) -> tuple[Agreement, ...]:
    """Largest differences by table and program: of errors relative, of estimates in units of estimate or error.

    fitted: what our estimators were asked and said; records: all that was kept, `square` the balanced panel that
    autocorrelation was measured on. Regressions are compared with all effects counted in clustered errors, which is
    what linearmodels can do; spatial models under the likelihood with dummies, which is what spreg can do.
    """
    differences: dict[tuple[str, str, str], list[float]] = {}
    for one in fitted:
        for program, what, values in _of_fit(one):
            differences.setdefault((one.fit.place[0], program, what), []).extend(values)
    if square is not None:
        for record in records:
            if record.model in ("moran", "geary") and record.se_type in ("normality", "randomisation"):
                for what, value in _of_autocorrelation(record, square):
                    differences.setdefault((record.table, "esda", what), []).append(value)
    return tuple(
        Agreement(table, program, what, len(values), max(values))
        for (table, program, what), values in sorted(differences.items())
    )


def _of_fit(one: Fitted) -> Iterator[tuple[str, str, list[float]]]:
    """(program, what, relative differences) of one fit, nothing for what no program can do."""
    reference: Reference
    match one.estimator:
        case PanelOLS() as ols if set(ols.effects) <= {"unit", "period"}:
            reference = linearmodels.least_squares(
                one.panel, outcome=ols.outcome, regressors=ols.regressors, effects=ols.effects,
                constant=ols.constant, errors=ERRORS,
            )  # fmt: skip
            ours = replace(ols, errors=ERRORS, cluster_k="all")(one.panel)
        case TwoWayDID() as did:
            reference = linearmodels.least_squares(
                one.panel, outcome=did.outcome, regressors=did.regressors, errors=ERRORS
            )  # fmt: skip
            ours = replace(did, errors=ERRORS, cluster_k="all")(one.panel)
        case RandomEffects() as random if not random.periods:
            reference = linearmodels.random_effects(one.panel, outcome=random.outcome, regressors=random.regressors)
            ours = one.estimates
        case SpatialPanel(model="sar" | "sem" | "sdm" as model, transform="direct") as spatial:
            reference = spreg.twoway_spatial(
                one.panel, model, outcome=spatial.outcome, regressors=spatial.regressors, weights=spatial.weights
            )
            ours = one.estimates
        case _:
            return
    errors = next(iter(reference.se.values()))
    scale = np.maximum(np.abs(reference.estimate), errors)
    yield reference.program, "estimates", _relative(reference.ours(one.estimates), reference.estimate, scale)
    for error, values in reference.se.items():
        if error in ours.errors:
            yield reference.program, f"errors {error}", _relative(reference.our_se(ours, error), values, values)


def _of_autocorrelation(record: Record, square: Panel) -> Iterator[tuple[str, float]]:
    if record.year is None or record.weights is None or square.roles.outcome is None:
        return
    values = square.variables[square.roles.outcome][0, square.periods.index(record.year)]
    found = esda.autocorrelation(values, square.weights[record.weights], record.model)  # type: ignore[arg-type]
    yield record.model, float(abs(record.estimate / found.estimate[0] - 1))
    if record.se is not None:
        yield f"sd under {record.se_type}", abs(record.se / float(found.se[record.se_type][0]) - 1)


def _relative(ours: Floats, theirs: Floats, scale: Floats) -> list[float]:
    return [float(value) for value in np.abs(ours - theirs) / scale]
