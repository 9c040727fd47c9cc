"""Two-way regressions on dummies of adoption and fixed controls, prepared once for all outcomes of a calendar."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_array

from estimators.core import regression as ols
from estimators.core.within import WithinTransform
from estimators.staggered.adoption_effects import LinearFit
from estimators.staggered.untreated_fit import invert_partialled, sums_by_unit, units_first
from sim.arrays import Codes, Flags, Floats
from sim.panel import Panel


@dataclass(frozen=True, eq=False, slots=True)
class Shares:
    """What units add to errors through estimated weights of cohorts: derivatives (P, K, G + 1) of terms with respect to
    the number of units in a cohort, by the dummies' slopes, the last for units of none; cohort (N,): place of each."""

    derivatives: Floats
    cohort: Codes

    def __call__(self, slopes: Floats) -> Floats:
        """Slopes (R, P) -> contributions (R, K, N)."""
        return np.asarray(np.tensordot(slopes, self.derivatives, axes=1)[:, :, self.cohort])


@dataclass(frozen=True, eq=False, slots=True)
class DummyRegression(LinearFit):
    """y on dummies, controls, unit and period effects by least squares; terms are combinations of the dummies' slopes.

    dummies (P, T N), sparse; x (C, T, N): controls less the effects; solution (P + C, P + C): inverse cross products of
    both less the effects; combine (K, P + C); psi (N, T, K): theta = psi'y. Contributions are psi_it e_it summed over a
    unit's periods.
    """

    within: WithinTransform
    dummies: csr_array
    x: Floats
    solution: Floats
    combine: Floats
    psi: Floats
    shares: Shares | None = None

    @classmethod
    def of(
        cls, panel: Panel, cells: Flags, dummies: Floats, controls: tuple[str, ...], combine: Floats, compared: Flags,
        certain: Flags | None = None, shares: Shares | None = None,
    ) -> DummyRegression:  # fmt: skip
        """The regression on some cells (T, N) of dummies (P, T, N); combine (K, P), NaN for what is not identified.

        compared (N,), certain (K,) as in `LinearFit`, None = all.

        The factor of clusters counts slopes and period effects, as `did` does by default.
        """
        within = WithinTransform.of(replace(panel, observed=cells[None]))
        raw = np.concatenate([dummies, *(panel.variables[name][:1] for name in controls)]) * cells
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
            dummies=csr_array(dummies.reshape(len(dummies), -1)),
            x=x[len(dummies) :],
            solution=solution,
            combine=padded,
            psi=units_first(psi),
            shares=shares,
        )

    def __call__(self, y: Floats) -> tuple[Floats, Floats]:
        """Terms (R, K) and contributions (R, K, N)."""
        qy = self.within(y)
        flat = qy.reshape(len(y), -1)
        slopes = np.column_stack([(self.dummies @ flat.T).T, ols.inner(self.x[None], qy)]) @ self.solution
        split = self.dummies.shape[0]
        explained = np.reshape((self.dummies.T @ slopes[:, :split].T).T, qy.shape)
        e = ols.residual(qy - self.within(explained), self.x[None], slopes[:, split:])
        contributions = sums_by_unit(e, self.psi)
        if self.shares is not None:
            contributions = contributions + self.shares(slopes[:, :split])
        return slopes @ self.combine.T, contributions
