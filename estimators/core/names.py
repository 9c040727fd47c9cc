"""What an estimator is asked to use: the outcome, the treatment, the weights, and that names exist and stand once."""

from __future__ import annotations

from estimators.core.estimator import Estimator
from sim.errors import bad, closest, one_of
from sim.schema import Schema


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


class RegressionEstimator(Estimator):
    """An estimator with settings `outcome` and `regressors`, names of variables; None = the panel's own roles."""

    outcome: str | None
    regressors: tuple[str, ...] | None

    def names(self, schema: Schema) -> tuple[str, tuple[str, ...]]:
        """Outcome and regressors; raises BadInput when no outcome is named."""
        regressors = schema.roles.regressors if self.regressors is None else self.regressors
        return outcome_of(self.outcome, schema, self.name), regressors

    def variables(self, schema: Schema) -> frozenset[str]:
        """Outcome and regressors."""
        outcome, regressors = self.names(schema)
        return frozenset((outcome, *regressors))


def slope_targets(schema: Schema, regressors: tuple[str, ...], of_treatment: str) -> dict[str, str]:
    """The estimands of slopes: a control's is its coefficient, the treatment's the given one."""
    treatment = schema.roles.treatment or "did"
    return {name: of_treatment if name == treatment else f"beta({name})" for name in regressors}


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
