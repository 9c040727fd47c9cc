"""Two-way effects and slopes of covariates from untreated cells, on B panels whose calendars may all differ.

Where one calendar serves many outcomes, `estimators/staggered/dummy_regression.py` prepares it once; here every panel
has a mask of its own, as in samples of units and in folds of cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from estimators.core import regression as ols
from estimators.core.tile import TINY
from estimators.synthetic.unit_samples import UnitSamples
from sim.arrays import Codes, Flags, Floats


@dataclass(frozen=True, eq=False, slots=True)
class UnitPanels:
    """B panels: outcomes y (B, T, N), covariates x (1 or B, K, T, N), first treated periods first (B, N), T = never."""

    y: Floats
    x: Floats
    first: Codes

    def sampled(self, samples: UnitSamples) -> UnitPanels:
        """The panels of samples of units."""
        x = samples.of(self.x) if self.x.shape[1] else np.empty((1, 0, 0, 0))
        return UnitPanels(samples.of(self.y), x, samples.first)

    def take(self, rows: Codes | Flags) -> UnitPanels:
        """Some of the panels."""
        return UnitPanels(self.y[rows], self.x if len(self.x) == 1 else self.x[rows], self.first[rows])

    @property
    def untreated(self) -> Floats:
        """1 before adoption, (B, T, N)."""
        return (np.arange(self.y.shape[1])[:, None] < self.first[:, None, :]).astype(np.float64)

    @property
    def treated(self) -> Floats:
        """1 from adoption on, (B, T, N), without units that are treated all the time."""
        return (1 - self.untreated) * (self.first > 0)[:, None, :]

    def without_covariates(self, b: Floats) -> Floats:
        """y - X b, (B, T, N), of slopes (B, K)."""
        if not b.shape[1]:
            return self.y
        rows = ols.flat(self.x)
        return self.y - np.reshape(b[:, None, :] @ rows, self.y.shape)

    def effect(self, completed: Floats) -> Floats:
        """Mean over treated cells of y less its completion (B, T, N), (B,)."""
        cells = self.treated
        gap = np.where(cells > 0, self.y - completed, 0.0)
        return np.asarray(_total(gap) / _total(cells))


def _total(x: Floats) -> Floats:
    """Sum over T and N, (B,)."""
    return np.asarray(ols.flat(x).sum(axis=1))


@dataclass(frozen=True, eq=False, slots=True)
class CellEffects:
    """Unit and period effects by least squares over the cells of masks.

    mask (B, T, N): 1 where used; of_units (B, N), of_periods (B, T): how many cells, at least 1; cells (B,): how many
    in all; solver (B, T, T): of the period effects, the normal equations after unit means are taken out.
    """

    mask: Floats
    of_units: Floats
    of_periods: Floats
    cells: Floats
    solver: Floats

    @classmethod
    def of(cls, mask: Floats) -> CellEffects:
        """Prepare masks."""
        units, periods = mask.sum(axis=1), mask.sum(axis=2)
        shared = (mask / np.maximum(units, 1.0)[:, None, :]) @ mask.transpose(0, 2, 1)
        normal = periods[:, :, None] * np.eye(mask.shape[1]) - shared
        solver = np.linalg.pinv(normal, rcond=TINY, hermitian=True)
        return cls(mask, np.maximum(units, 1.0), np.maximum(periods, 1.0), _total(mask), solver)

    def __call__(self, y: Floats) -> tuple[Floats, Floats]:
        """Effects of units (B, N), zero for one without a cell, and of periods (B, T), of outcomes (B, T, N)."""
        seen = np.where(self.mask > 0, y, 0.0)
        mean = seen.sum(axis=1) / self.of_units
        owed = seen.sum(axis=2) - (self.mask @ mean[:, :, None])[:, :, 0]
        period = (self.solver @ owed[:, :, None])[:, :, 0]
        unit = mean - (period[:, None, :] @ self.mask)[:, 0] / self.of_units
        return unit, period

    def residual(self, y: Floats) -> Floats:
        """y less its effects in the cells, zero elsewhere, (B, T, N)."""
        unit, period = self(y)
        return np.where(self.mask > 0, y - unit[:, None, :] - period[:, :, None], 0.0)


def untreated_slopes(panels: UnitPanels, effects: CellEffects) -> Floats:
    """Slopes (B, K) of covariates in the two-way regression over untreated cells; NaN where they are absorbed or
    collinear there."""
    count = panels.x.shape[1]
    if not count:
        return np.zeros((len(panels.y), 0))
    x = np.broadcast_to(panels.x, (len(panels.y), *panels.x.shape[1:]))
    left = np.stack([effects.residual(x[:, k]) for k in range(count)], axis=1)
    seen = ols.flat(np.where(effects.mask[:, None] > 0, x, 0.0))
    total = np.vecdot(seen, seen)
    spread = total - np.square(seen.sum(axis=2)) / effects.cells[:, None]
    return slopes(ols.flat(left), ols.flat(effects.residual(panels.y)), spread, total)


def slopes(x: Floats, y: Floats, spread: Floats, total: Floats) -> Floats:
    """Least squares of y (B, n) on x (B, K, n), (B, K); spread, total (B, K): sums of squares of x around its mean and
    as it is, before effects were taken out. NaN where x is absorbed or collinear."""
    gram = x @ x.transpose(0, 2, 1)
    inverse, sound = ols.invert(gram)
    lost = ols.absorbed(np.diagonal(gram, axis1=1, axis2=2), spread, total).any(axis=1)
    b = (inverse @ np.vecdot(x, y[:, None])[:, :, None])[:, :, 0]
    return np.where((sound & ~lost)[:, None], b, np.nan)
