"""Least squares on variables that are made of a panel's own: products, means over periods.

What such an estimator adds to `TwoWayDID` is a panel: that of the new variables. Plans, moments, error types and
degrees of freedom are those of the regression on it.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from estimators.core.error_types import kind_of
from estimators.core.estimator import Estimates, Layout, Reduction, TermCovariance, TreatmentEstimator, WeightUse
from estimators.core.tile import Tile, weight_root
from estimators.linear.did import TwoWayDID
from estimators.linear.few_clusters import PLACEBOS
from estimators.linear.least_squares import LeastSquares, LinearMoments, LinearPlan
from sim.arrays import Floats
from sim.errors import bad
from sim.panel import Panel
from sim.schema import Schema
from sim.streams import Streams


class DerivedRegression(TreatmentEstimator):
    """A regression on the panel that `derived` makes of another one, weighted where that one has a weight."""

    weight_use: ClassVar[WeightUse] = "used"

    errors: tuple[str, ...]

    @abstractmethod
    def regression(self, schema: Schema) -> TwoWayDID:
        """The regression on the panel that is made of one of this schema; raises BadInput when it cannot serve."""

    @abstractmethod
    def derived(self, panel: Panel) -> Panel:
        """The panel (R replications) with the variables of the regression; raises BadInput when it cannot be made."""

    @abstractmethod
    def derived_schema(self, schema: Schema) -> Schema:
        """What is known of that panel before its numbers."""

    @abstractmethod
    def targets(self, schema: Schema) -> dict[str, str]:
        """The estimand of each term that has one."""

    def layout(self, schema: Schema) -> Layout:
        """That of the regression, with targets of its own."""
        for name in sorted(self.variables(schema)):
            schema.require(name, self.name)
        placebos = [error for error in self.errors if kind_of(error) in PLACEBOS]
        if placebos:
            raise bad(f"{placebos[0]} of a treatment beside its products", where=f"{self.name} errors",
                      allowed="error types that need no placebos", remedy="choose another error type")  # fmt: skip
        whole = self.regression(schema).layout(self.derived_schema(schema))
        targets = self.targets(schema)
        return replace(whole, targets={term: targets[term] for term in whole.terms if term in targets})

    def used(self, panel: Panel) -> Panel:
        """The part of the panel that is made, without singletons where they are dropped."""
        return self.regression(panel.schema).used(self.derived(panel))

    def reduction(self, schema: Schema) -> Reduction:
        """Least squares on the panel that is made."""
        return DerivedLeastSquares(self, self.regression(schema).reduction(self.derived_schema(schema)))

    def solve(self, plan: Any, moments: Any, schema: Schema, streams: Streams) -> Estimates:
        """The answers of the regression."""
        return self.regression(schema).solve(plan, moments, self.derived_schema(schema), streams)

    def covariance(self, panel: Panel, error: str) -> TermCovariance:
        """Those of the regression."""
        self.layout(panel.schema)
        return self.regression(panel.schema).covariance(self.derived(panel), error)


@dataclass(frozen=True, slots=True)
class DerivedLeastSquares(Reduction):
    """Least squares on the panel that an estimator makes of a tile's."""

    estimator: DerivedRegression
    inner: LeastSquares

    def prepare(self, panel: Panel) -> LinearPlan:
        """The plan of the regression. Raises BadInput for what it cannot serve, such as collinear regressors."""
        return self.inner.prepare(self.estimator.derived(panel))

    def reduce(self, plan: LinearPlan, tile: Tile) -> LinearMoments:
        """The moments of the regression."""
        found = self.inner.reduce(plan, Tile(self.estimator.derived(tile.panel)))
        assert isinstance(found, LinearMoments)
        return found

    def rows(self, plan: LinearPlan) -> int:
        """As the regression."""
        return self.inner.rows(plan)


def with_variables(schema: Schema, *names: str) -> Schema:
    """A schema with variables at its end that it has not."""
    return replace(schema, variables=tuple(dict.fromkeys((*schema.variables, *names))))


def observed_mean(panel: Panel, name: str) -> Floats:
    """The mean of a variable over observed unit-periods, by weight where the panel has one, (1 or R, 1, 1)."""
    values, root = panel.variables[name], weight_root(panel)
    if root is not None:
        seen = np.where(root > 0, values, 0.0) * np.square(root)
        return np.asarray(seen.sum(axis=(1, 2), keepdims=True) / np.square(root).sum())
    if panel.observed is None:
        return np.asarray(values.mean(axis=(1, 2), keepdims=True))
    total = np.where(panel.observed, values, 0.0).sum(axis=(1, 2), keepdims=True)
    return np.asarray(total / panel.observed.sum(axis=(1, 2), keepdims=True))
