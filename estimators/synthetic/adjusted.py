"""Outcomes less what covariates explain, and adoption, of R panels: what synthetic estimators are fitted to.

y - x b with b of the two-way regression of y on covariates x over untreated cells, those before each unit's adoption
(Arkhangelsky, Athey, Hirshberg, Imbens and Wager 2021, footnote 4; Clarke, Pailanir, Athey and Imbens 2023, section
2.4, by projection). b is that of the whole sample wherever parts of it are fitted again, as in a jackknife.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from estimators.core import regression as ols
from estimators.core.estimator import ROWS_AT_ONCE, Moments, Pieces, Reduction, Status
from estimators.core.tile import UNDATED, Tile, dates_of, spread
from estimators.staggered.aggregation import Cohorts
from estimators.staggered.dummy_regression import UntreatedFit
from sim.arrays import Codes, Flags, Floats
from sim.errors import BadInput, bad, listed
from sim.panel import Panel, check_balanced

NUMBERS_AT_ONCE = 2**23  # of outcomes that are solved together


@dataclass(frozen=True, eq=False, slots=True)
class AdjustedOutcomes(Moments):
    """Outcomes less covariates, Pieces (R, T, N); first treated periods (R, N), T = never; status (R,)."""

    y: Pieces
    first: Codes
    status: NDArray[np.uint8]


@dataclass(frozen=True, eq=False, slots=True)
class AdoptionPlan:
    """First treated periods (N,) and the fit of the covariates where no replication changes these; else None."""

    first: Codes | None
    fit: UntreatedFit | None


@dataclass(frozen=True, slots=True)
class Adjustment(Reduction):
    """Outcome, treatment and covariates of a panel; fewest: periods before adoption that every date must have."""

    outcome: str
    treatment: str
    covariates: tuple[str, ...]
    fewest: int
    asked_by: str

    def prepare(self, panel: Panel) -> AdoptionPlan:
        """What no replication changes; raises BadInput for a panel that cannot serve, and for covariates that the
        effects absorb or that cannot be told apart."""
        check_balanced(panel, self.asked_by)
        ols.check_fixed(panel, self.covariates, self.asked_by)
        if panel.variables[self.treatment].shape[0] > 1:
            return AdoptionPlan(None, None)
        cohorts = Cohorts.of(panel, self.treatment, self.asked_by, even=False)
        self.check(cohorts)
        if not self.covariates or any(panel.variables[name].shape[0] > 1 for name in self.covariates):
            return AdoptionPlan(cohorts.first, None)
        fit = UntreatedFit.of(panel, cohorts, self.covariates, self.asked_by)
        if not fit.sound:
            raise bad("the controls are collinear with one another or with the effects where nobody is treated",
                      where=self.asked_by, allowed="controls that vary over untreated cells",
                      remedy="remove some")  # fmt: skip
        return AdoptionPlan(cohorts.first, fit)

    def check(self, cohorts: Cohorts) -> None:
        """Raise BadInput for adoption that leaves nothing to compare with."""
        if not cohorts.never.any():
            raise bad("every unit is treated in the end", where=self.asked_by, allowed="units that are never treated",
                      remedy="leave out the periods in which all are treated")  # fmt: skip
        if cohorts.firsts[0] < self.fewest:
            early = [cohorts.periods[date] for date in cohorts.firsts if date < self.fewest]
            raise bad(f"units that adopt in {listed(early)} have fewer than {self.fewest} periods before",
                      where=self.asked_by, allowed=f"{self.fewest} or more periods before adoption",
                      remedy="leave out those units, or add earlier periods")  # fmt: skip

    def reduce(self, plan: AdoptionPlan, tile: Tile) -> AdjustedOutcomes:
        """One tile's outcomes, adjusted, and who adopts when."""
        panel, rows = tile.panel, tile.panel.replications
        y = spread(tile.raw(self.outcome), rows)
        fine = np.full(rows, Status.OK, dtype=np.uint8)
        if plan.first is not None and (plan.fit is not None or not self.covariates):
            first = np.broadcast_to(plan.first, (rows, plan.first.size)).copy()
            adjusted = y.copy() if plan.fit is None else without_covariates(y, plan.fit, self._values(panel))
            return AdjustedOutcomes(Pieces((adjusted,)), first, fine)
        found = dates_of(tile.raw(self.treatment)).astype(np.intp)
        first = np.broadcast_to(found, (rows, found.shape[1]))
        status = np.where(self._served(first, len(panel.periods)), Status.OK, Status.REFUSED).astype(np.uint8)
        first = np.where(first == UNDATED, len(panel.periods), first)
        if not self.covariates:
            return AdjustedOutcomes(Pieces((y.copy(),)), first, status)
        parts = [self._alone(panel.replication(row), status[row : row + 1]) for row in range(rows)]
        return AdjustedOutcomes(Pieces((np.concatenate(parts),)), first, status)

    def _served(self, first: Codes, periods: int) -> Flags:
        """Whether adoption (R, N) leaves something to compare with, (R,)."""
        dated = (first > 0) & (first < periods)
        early = dated & (first < self.fewest)
        return np.asarray((first != UNDATED).all(axis=1) & dated.any(axis=1) & (first == periods).any(axis=1)
                          & ~early.any(axis=1))  # fmt: skip

    def _values(self, panel: Panel) -> Floats:
        return np.stack([panel.variables[name][0] for name in self.covariates])

    def _alone(self, panel: Panel, status: NDArray[np.uint8]) -> Floats:
        """Adjusted outcomes of one replication, (1, T, N); notes in its status (1,) what is wrong."""
        y = panel.variables[self.outcome]
        if status[0] != Status.OK:
            return y
        try:
            cohorts = Cohorts.of(panel, self.treatment, self.asked_by, even=False)
            fit = UntreatedFit.of(panel, cohorts, self.covariates, self.asked_by)
        except BadInput:
            status[0] = Status.REFUSED
            return y
        if not fit.sound:
            status[0] = Status.SINGULAR
            return y
        return without_covariates(y, fit, self._values(panel))

    def rows(self, plan: AdoptionPlan) -> int:
        """As many outcomes as memory should hold at once."""
        return ROWS_AT_ONCE


def without_covariates(y: Floats, fit: UntreatedFit, x: Floats) -> Floats:
    """y - x b, (R, T, N), with the slopes of a fit on untreated cells; raw covariates x (C, T, N)."""
    effects = replace(fit, x=fit.x[:0], bread=fit.bread[:0, :0])
    visible = (fit.x * fit.mask).reshape(len(x), -1)
    left = effects.adjusted(y).reshape(len(y), -1, 1)
    b = np.matmul(fit.bread, np.matmul(visible, left))
    return y - np.matmul(b.transpose(0, 2, 1), x.reshape(len(x), -1)).reshape(y.shape)
