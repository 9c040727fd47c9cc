"""What all checks share: the panel, its tables, the effect that is claimed, and the demeaned arrays behind it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from estimators.core.within import WithinTransform, observed_mask
from estimators.linear.covariances import cells_of
from estimators.sensitivity.leave_one_out import LeftOut, leave_one_out
from experiments.application.spec.spec import RealPanel
from experiments.application.tables.columns import main_cluster
from experiments.application.tables.ledger import Fitted, Ledger
from results.tables.places import BASELINE
from results.tables.records import Record
from sim.arrays import Codes, Floats
from sim.panel import Panel
from sim.streams import Streams

NEVER = "never treated"  # the label of units that no cohort holds
SIGNIFICANT = 0.10  # up to which an effect is one that the reader may claim


@dataclass(frozen=True, eq=False)
class Case:
    """A panel and its tables. effect: that of table 2's two-way column with the main errors, if any."""

    real: RealPanel
    ledger: Ledger
    effect: Record | None

    @classmethod
    def of(cls, real: RealPanel, ledger: Ledger) -> Case:
        """The case of a panel whose tables are made."""
        place, main = BASELINE["controls, units, periods"], main_cluster(real.spec)
        found = [
            r
            for r in ledger.records
            if r.place == place and r.term == real.panel.roles.treatment is not None and r.estimate is not None
        ]
        own = [record for record in found if record.se_type == main] or found
        return cls(real, ledger, own[0] if own else None)

    @property
    def panel(self) -> Panel:
        """The panel."""
        return self.real.panel

    @property
    def claimed(self) -> Record | None:
        """The effect, if it is significant at 10%."""
        effect = self.effect
        if effect is None or effect.pvalue is None:
            return None
        return effect if effect.pvalue <= SIGNIFICANT else None

    @property
    def unit(self) -> str:
        """What a unit is called."""
        return self.real.spec.panel.unit

    @property
    def main_error(self) -> str:
        """The main error type."""
        return main_cluster(self.real.spec)

    def random(self, purpose: str) -> np.random.Generator:
        """The generator of one purpose."""
        return Streams(self.ledger.seed, "warnings").fixed(purpose)

    @cached_property
    def mask(self) -> Floats:
        """1 where observed, (T, N)."""
        return observed_mask(self.panel)

    @cached_property
    def _transform(self) -> WithinTransform:
        return WithinTransform.of(self.panel)

    def within(self, name: str) -> Floats:
        """A variable without unit and period effects, (T, N), zero where unobserved."""
        return np.asarray(self._transform(self.panel.variables[name][:1])[0])

    @cached_property
    def outcome(self) -> Floats:
        """The demeaned outcome."""
        return self.within(str(self.panel.roles.outcome))

    @cached_property
    def treatment(self) -> Floats:
        """The demeaned treatment."""
        return self.within(str(self.panel.roles.treatment))

    @cached_property
    def controls(self) -> Floats:
        """The demeaned controls, (K, T, N)."""
        names = self.panel.roles.controls
        return np.stack([self.within(name) for name in names]) if names else np.empty((0, *self.mask.shape))

    @cached_property
    def clusters(self) -> Codes:
        """The main cluster of every unit, coded 0, 1, ..., (N,)."""
        name = self.main_error.removeprefix("cluster:")
        return np.asarray(cells_of(name, self.panel)[0])

    @cached_property
    def _around_unit_means(self) -> Floats:
        """Treatment, controls and outcome around unit means, (P, T, N), zero where unobserved."""
        names = (*self.panel.roles.regressors, str(self.panel.roles.outcome))
        raw = np.stack([np.where(self.mask > 0, self.panel.variables[name][0], 0.0) for name in names])
        return np.asarray((raw - raw.sum(axis=1, keepdims=True) / self.mask.sum(axis=0)) * self.mask)

    def left_out(self, codes: Codes) -> LeftOut:
        """The effect without each group of units, codes (N,), with the main errors."""
        return leave_one_out(
            self._around_unit_means, codes, self.clusters, None if self.panel.balanced else self.mask,
            counted=len(self.panel.roles.regressors), cluster_k=self.real.spec.inference.cluster_k,
        )  # fmt: skip

    @cached_property
    def cohorts(self) -> tuple[Codes, tuple[str, ...]]:
        """The cohort of every unit, coded (N,), and the cohorts' first treated periods, NEVER among them."""
        treated = (self.panel.variables[str(self.panel.roles.treatment)][0] > 0) & (self.mask > 0)
        first = np.where(treated.any(axis=0), treated.argmax(axis=0), len(self.panel.periods))
        values, codes = np.unique(first, return_inverse=True)
        labels = (*map(str, self.panel.periods), NEVER)
        return np.asarray(codes), tuple(labels[value] for value in values)

    @property
    def groups(self) -> dict[str, Codes]:
        """Groups of units, by the name of their column: more than one, of more than one unit, coded (N,)."""
        found = {}
        spec = self.real.spec
        for name in dict.fromkeys((*spec.panel.group_columns, *spec.group_columns)):
            if name in self.panel.attributes:
                codes = np.unique(self.panel.attributes[name], return_inverse=True)[1]
                if 1 < int(codes.max()) + 1 < len(codes):
                    found[name] = codes
        return found

    def fitted(self, table: str) -> list[Fitted]:
        """The fits of a table."""
        return [one for one in self.ledger.fitted if one.fit.table == table]


def without(e: Floats, x: Floats) -> Floats:
    """What regressors (K, T, N) leave of a demeaned variable (T, N), by least squares."""
    if not len(x):
        return e
    columns = x.reshape(len(x), -1).T
    slopes = np.linalg.lstsq(columns, e.ravel())[0]
    return np.asarray((e.ravel() - columns @ slopes).reshape(e.shape))
