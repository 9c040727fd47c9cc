"""Two-way regressions on dummies of adoption and fixed controls, prepared once for all outcomes of a calendar."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_array

from estimators.core import regression as ols
from estimators.core.tile import ScaledWithin, WeightedWithin, WithinTransform
from estimators.staggered.adoption_effects import LinearFit
from estimators.staggered.aggregation import Cohorts
from sim.arrays import Codes, Flags, Floats
from sim.errors import bad, listed
from sim.panel import Panel

# The first stage of imputation and two-stage estimators: effects and controls fitted on untreated observations.
#
# y_it = mu_i + lambda_t + x_it'b over untreated (i, t), extended to all (i, t) of the units; the adjusted outcome
# u_it = y_it - mu_i - lambda_t - x_it'b is the residual where untreated and the imputed effect where treated. A
# weighted sum w'u is linear in y, w'u = v'y with v = w - Z0 (Z0'Z0)^-1 Z'w on untreated rows, v = w elsewhere
# (Borusyak, Jaravel and Spiess 2024, proposition 2). With weights W of untreated rows the fit is weighted least
# squares and v = w - W Z0 (Z0'W Z0)^-1 Z'w there.


@dataclass(frozen=True, eq=False, slots=True)
class UntreatedFit:
    """Prepared effects and controls of the untreated observations.

    mask (T, N): 1, or the unit's weight, where untreated and used; solver (T, T) of its time effects; x (C, T, N):
    controls less the effects fitted on untreated rows, in all rows; bread (C, C): inverse of their cross products over
    untreated rows, by weight. sound: the controls can be told apart there.
    """

    mask: Floats
    solver: Floats
    x: Floats
    bread: Floats
    sound: bool

    @classmethod
    def of(cls, panel: Panel, cohorts: Cohorts, controls: tuple[str, ...], asked_by: str) -> UntreatedFit:
        """The fit of a panel's first replication; raises BadInput for periods in which every unit is treated.

        Units treated from the first period on have no untreated observation and take no part.
        """
        t = len(cohorts.periods)
        mask = (np.arange(t)[:, None] < cohorts.first).astype(np.float64)
        empty = [period for period, row in zip(cohorts.periods, mask, strict=True) if not row.any()]
        if empty:
            raise bad(f"no unit is untreated in {listed(empty)}", where=asked_by,
                      allowed="a never or not yet treated unit in every period",
                      remedy="leave out those periods, or add untreated units")  # fmt: skip
        if cohorts.weights is not None:
            mask = mask * cohorts.weights
            solver = WeightedWithin.of(mask).solver
        else:
            solver = WithinTransform.of(replace(panel, observed=mask[None] > 0)).time_solver
        empty_fit = cls(mask, solver, np.empty((0, *mask.shape)), np.empty((0, 0)), sound=True)
        if not controls:
            return empty_fit
        raw = np.stack([panel.variables[name][0] for name in controls])
        x = empty_fit.adjusted(raw)
        root = np.sqrt(mask[mask > 0])
        bread, sound = invert_partialled(root * raw[:, mask > 0], root * x[:, mask > 0])
        return cls(mask, solver, x, bread, sound)

    @property
    def seen(self) -> Floats:
        """1 where untreated and used, (T, N)."""
        return (self.mask > 0).astype(np.float64)

    @property
    def _per_unit(self) -> Floats:
        total = self.mask.sum(axis=0)
        return np.asarray(np.where(total > 0, total, 1.0))

    def adjusted(self, y: Floats) -> Floats:
        """u of outcomes, (R, T, N) -> (R, T, N); without meaning for units without untreated rows."""
        per_unit = self._per_unit
        visible = y * self.mask
        mean = visible.sum(axis=1) / per_unit
        time = (visible.sum(axis=2) - mean @ self.mask.T) @ self.solver
        u = y - (mean - time @ self.mask / per_unit)[:, None, :]
        u -= time[:, :, None]
        return self.without_controls(u)

    def without_controls(self, u: Floats) -> Floats:
        """u less the part that the controls explain on untreated rows."""
        if not len(self.x):
            return u
        visible = (self.x * self.mask).reshape(len(self.x), -1)
        b = u.reshape(len(u), u.shape[1] * u.shape[2]) @ visible.T @ self.bread
        return u - np.reshape(b @ self.x.reshape(len(self.x), -1), u.shape)

    def first_stage(self, w: Floats) -> Floats:
        """Z0 (Z0'Z0)^-1 Z'w, what a weighted sum w'u owes to the first stage, (K, T, N) -> (K, T, N)."""
        per_unit = self._per_unit
        unit, time = w.sum(axis=1), w.sum(axis=2)
        dual_time = (time - (unit / per_unit) @ self.mask.T) @ self.solver
        dual_unit = (unit - dual_time @ self.mask) / per_unit
        owed = (dual_unit[:, None, :] + dual_time[:, :, None]) * self.mask
        if not len(self.x):
            return owed
        through = w.reshape(len(w), -1) @ self.x.reshape(len(self.x), -1).T @ self.bread
        return owed + np.reshape(through @ (self.x * self.mask).reshape(len(self.x), -1), owed.shape)


def invert_partialled(raw: Floats, left: Floats) -> tuple[Floats, bool]:
    """Inverse cross products of what is left of regressors (C, n) after a projection, and whether they are sound.

    NaN when nothing is left of one, `raw` (C, n) being what there was, or when they are collinear.
    """
    before = np.square(raw - raw.mean(axis=1, keepdims=True)).sum(axis=1)
    absorbed = (np.square(left).sum(axis=1) <= ols.ABSORBED * before).any()
    bread, sound = ols.invert((left @ left.T)[None])
    if absorbed or not sound[0]:
        return np.full_like(bread[0], np.nan), False
    return bread[0], True


@dataclass(frozen=True, eq=False, slots=True)
class Averages:
    """Group means of adjusted outcomes over some cells, and what is left after them.

    cells (n,): flat places in (T, N); codes (n,): group of each, 0, 1, ...; every group has a cell. weights (n,): of
    the means, None = simple ones.
    """

    cells: Codes
    codes: Codes
    weights: Floats | None = None

    @classmethod
    def of(cls, groups: Codes, weights: Floats | None = None) -> Averages:
        """The averages over groups (T, N); a negative group is left alone. weights (N,): of units."""
        cells = np.flatnonzero(groups.ravel() >= 0)
        own = None if weights is None else np.broadcast_to(weights, groups.shape).ravel()[cells]
        return cls(cells, np.unique(groups.ravel()[cells], return_inverse=True)[1], own)

    @property
    def sizes(self) -> Codes:
        """Cells in each group."""
        return np.bincount(self.codes)

    def residuals(self, u: Floats) -> Floats:
        """u less the mean of its group, (R, T, N) -> (R, T, N)."""
        member = self.codes[:, None] == np.arange(self.codes.max() + 1)
        share = member / self.sizes
        if self.weights is not None:
            share = member * self.weights[:, None] / (self.weights @ member)
        out = u.copy()
        flat = out.reshape(len(u), -1)
        among = flat[:, self.cells]
        flat[:, self.cells] = among - (among @ share)[:, self.codes]
        return out

    def alone(self, w: Floats) -> Flags:
        """Terms whose weights (K, T, N) fall on groups of one cell only, (K,)."""
        weights = w.reshape(len(w), -1)[:, self.cells] != 0
        return np.asarray(weights.any(axis=1) & ~weights[:, self.sizes[self.codes] > 1].any(axis=1))


def sums_by_unit(e: Floats, by_unit: Floats) -> Floats:
    """sum_t v_it e_it, (R, K, N), of e (R, T, N) and weights with units first, (N, T, K)."""
    return np.matmul(e.transpose(2, 0, 1), by_unit).transpose(1, 2, 0)


def units_first(v: Floats) -> Floats:
    """(K, T, N) -> (N, T, K), contiguous."""
    return np.ascontiguousarray(v.transpose(2, 1, 0))


@dataclass(frozen=True, eq=False, slots=True)
class Shares:
    """What units add to errors through estimated weights of cohorts: derivatives (P, K, G + 1) of terms with respect to
    the number of units in a cohort, by the dummies' slopes, the last for units of none; cohort (N,): place of each;
    weights (N,): of units, None = 1."""

    derivatives: Floats
    cohort: Codes
    weights: Floats | None = None

    def __call__(self, slopes: Floats) -> Floats:
        """Slopes (R, P) -> contributions (R, K, N)."""
        each = np.tensordot(slopes, self.derivatives, axes=1)[:, :, self.cohort]
        return np.asarray(each if self.weights is None else each * self.weights)


@dataclass(frozen=True, eq=False, slots=True)
class DummyRegression(LinearFit):
    """y on dummies, controls, unit and period effects by least squares; terms are combinations of the dummies' slopes.

    dummies (P, T N), sparse; x (C, T, N): controls less the effects; solution (P + C, P + C): inverse cross products of
    both less the effects; combine (K, P + C); psi (N, T, K): theta = psi'y. Contributions are psi_it e_it summed over a
    unit's periods. root (T, N): of weights, None = none; all columns and outcomes are then times it.
    """

    within: WithinTransform | ScaledWithin
    dummies: csr_array
    x: Floats
    solution: Floats
    combine: Floats
    psi: Floats
    shares: Shares | None = None
    root: Floats | None = None

    @classmethod
    def of(
        cls, panel: Panel, cells: Flags, dummies: Floats, controls: tuple[str, ...], combine: Floats, compared: Flags,
        certain: Flags | None = None, shares: Shares | None = None, root: Floats | None = None,
    ) -> DummyRegression:  # fmt: skip
        """The regression on some cells (T, N) of dummies (P, T, N); combine (K, P), NaN for what is not identified.

        compared (N,), certain (K,) as in `LinearFit`, None = all; root (T, N): of weights, None = none.

        The factor of clusters counts slopes and period effects, as `did` does by default.
        """
        own = None if root is None else root * cells
        within = WithinTransform.of(replace(panel, observed=cells[None])) if own is None else ScaledWithin.of(own)
        scale = cells if own is None else own
        raw = np.concatenate([dummies, *(panel.variables[name][:1] for name in controls)]) * scale
        x = within(raw)
        solution, sound = invert_partialled(raw[:, cells], x[:, cells])
        identified = np.isfinite(combine).all(axis=1)
        padded = np.column_stack([np.nan_to_num(combine), np.zeros((len(combine), len(controls)))])
        psi = np.reshape(padded @ solution @ x.reshape(len(x), -1), (len(combine), *cells.shape))
        periods = int(cells.any(axis=1).sum())
        return cls(
            identified=identified,
            certain=identified if certain is None else certain,
            used=cells.any(axis=0),
            treated=dummies.any(axis=(0, 1)),
            compared=compared,
            averaged=(np.nan_to_num(combine) != 0) @ (dummies * cells).any(axis=1),
            sample=(int(cells.sum()), len(x) + periods),
            sound=sound,
            within=within,
            dummies=csr_array((dummies if own is None else dummies * own).reshape(len(dummies), -1)),
            x=x[len(dummies) :],
            solution=solution,
            combine=padded,
            psi=units_first(psi),
            shares=shares,
            root=own,
        )

    def __call__(self, y: Floats) -> tuple[Floats, Floats]:
        """Terms (R, K) and contributions (R, K, N)."""
        qy = self.within(y if self.root is None else y * self.root)
        flat = qy.reshape(len(y), -1)
        slopes = np.column_stack([(self.dummies @ flat.T).T, ols.inner(self.x[None], qy)]) @ self.solution
        split = self.dummies.shape[0]
        explained = np.reshape((self.dummies.T @ slopes[:, :split].T).T, qy.shape)
        e = ols.residual(qy - self.within(explained), self.x[None], slopes[:, split:])
        contributions = sums_by_unit(e, self.psi)
        if self.shares is not None:
            contributions = contributions + self.shares(slopes[:, :split])
        return slopes @ self.combine.T, contributions
