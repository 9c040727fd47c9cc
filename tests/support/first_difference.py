"""A first-difference DID as a user's module holds it: no kernel, no reduction, one panel after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from estimators import Estimates, Estimator, Layout, Status
from sim.design import Design
from sim.panel import Panel
from sim.presets import Paper
from sim.schema import Schema
from sim.streams import Streams


@dataclass(frozen=True, slots=True)
class FirstDifference(Estimator):
    """Changes of the outcome on changes of the treatment and of the controls, with period effects; iid errors."""

    kind: ClassVar[str] = "first-difference"

    @property
    def name(self) -> str:
        return self.kind

    @property
    def home(self) -> tuple[Design, tuple[str, ...]]:
        """The `paper` design."""
        return Paper(), ("did",)

    def layout(self, schema: Schema) -> Layout:
        treatment = schema.roles.treatment or ""
        return Layout((treatment,), ("iid",), (), {treatment: "att"})

    def variables(self, schema: Schema) -> frozenset[str]:
        return frozenset((schema.roles.outcome or "", *schema.roles.regressors))

    def __call__(self, panel: Panel, streams: Streams | None = None) -> Estimates:
        fits = np.array([one_fit(panel.replication(row)) for row in range(panel.replications)])
        shape = (panel.replications, 1, 1)
        dof = np.full(shape, (len(panel.periods) - 1) * (len(panel.units) - 1) - len(panel.roles.regressors))
        status = np.full(panel.replications, Status.OK, dtype=np.uint8)
        return Estimates(self.layout(panel.schema).terms, ("iid",), fits[:, :1], fits[:, 1].reshape(shape), dof, status)


def one_fit(panel: Panel) -> tuple[float, float]:
    """Coefficient of the treatment and its standard error."""

    def change(name: str) -> np.ndarray:
        step = np.diff(panel.variables[name][0], axis=0)
        return (step - step.mean(axis=1, keepdims=True)).ravel()

    y, x = change(panel.roles.outcome or ""), np.column_stack([change(name) for name in panel.roles.regressors])
    bread = np.linalg.inv(x.T @ x)
    beta = bread @ x.T @ y
    e = y - x @ beta
    free = (len(panel.periods) - 1) * (len(panel.units) - 1) - x.shape[1]
    return float(beta[0]), float(np.sqrt(bread[0, 0] * (e @ e) / free))
