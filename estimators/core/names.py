"""What an estimator is asked to use: the outcome, the treatment, the weights, and that names exist and stand once."""

from __future__ import annotations

from sim.errors import bad, closest, one_of
from sim.panel import Schema


def outcome_of(outcome: str | None, schema: Schema, asked_by: str) -> str:
    """The outcome asked for, or the panel's own; raises BadInput when neither is named."""
    name = outcome or schema.roles.outcome
    if name is None:
        raise bad("no outcome is named", where=asked_by, allowed=one_of(schema.variables),
                  remedy='set outcome = "..."')  # fmt: skip
    return name


def treatment_of(treatment: str | None, schema: Schema, asked_by: str) -> str:
    """The treatment asked for, or the panel's own; raises BadInput when neither is named."""
    name = treatment or schema.roles.treatment
    if name is None:
        raise bad("the panel has no treatment", where=asked_by, allowed=one_of(schema.variables),
                  remedy='set treatment = "..."')  # fmt: skip
    return name


def check_names(schema: Schema, outcome: str, regressors: tuple[str, ...], asked_by: str) -> None:
    """Raise BadInput for variables that the panel lacks, that repeat, or when there are none to explain with."""
    for name in (outcome, *regressors):
        schema.require(name, asked_by)
    if not regressors:
        raise bad("there are no regressors", where=asked_by, allowed="a treatment, controls or both",
                  remedy="name at least one")  # fmt: skip
    if outcome in regressors or len(set(regressors)) < len(regressors):
        raise bad(f"a variable is used twice among {one_of((outcome, *regressors))}", where=asked_by,
                  allowed="each variable once", remedy="remove the repeated name")  # fmt: skip


def weights_of(weights: str | None, schema: Schema, asked_by: str) -> str:
    """The weights asked for, or the panel's first; raises BadInput when the panel has none or not these."""
    if not schema.weights:
        raise bad("the panel has no spatial weights", where=asked_by, allowed="one or more [[weights]]",
                  remedy="add a [[weights]] table")  # fmt: skip
    name = weights or schema.weights[0]
    if name not in schema.weights:
        raise bad(f"no weights {name!r}", where=asked_by, allowed=one_of(schema.weights),
                  remedy=closest(name, schema.weights))  # fmt: skip
    return name
