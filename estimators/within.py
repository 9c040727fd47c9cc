"""The two-way within transformation: what is left of a variable after unit and time effects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.errors import bad
from sim.panel import Panel

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class WithinTransform:
    """Q of a pattern of observations: the closed form when balanced, else an exact projection.

    With m_it = 1 where observed, the time effects solve (diag(n_t) - M diag(1/n_i) M') l = sum_i m (x - xbar_i), the
    normal equations after unit means are taken out (Wansbeek and Kapteyn 1989); unobserved cells come out as zero.
    `effects` is the number of free unit and time effects.
    """

    effects: int
    mask: Floats | None = None  # (T, N), None = balanced
    solver: Floats | None = None  # (T, T), pseudo-inverse of the matrix above

    @classmethod
    def of(cls, panel: Panel) -> WithinTransform:
        """The transformation of a panel; raises BadInput when the mask is not the same in every replication."""
        n, t = len(panel.units), len(panel.periods)
        if panel.balanced or panel.observed is None:
            return cls(effects=n + t - 1)
        if (panel.observed != panel.observed[:1]).any():
            raise bad("replications differ in which unit-periods are observed", where="panel observed",
                      allowed="one pattern for all replications", remedy="fit the replications one by one")  # fmt: skip
        mask = panel.observed[0].astype(np.float64)
        per_unit = np.maximum(mask.sum(axis=0), 1.0)
        normal = np.diag(mask.sum(axis=1)) - (mask / per_unit) @ mask.T
        solver = np.linalg.pinv(normal, rcond=1e-10, hermitian=True)
        rank = int(np.linalg.matrix_rank(normal, tol=1e-10 * t, hermitian=True))
        return cls(int((mask.sum(axis=0) > 0).sum()) + rank, mask, solver)

    def __call__(self, x: Floats) -> Floats:
        """Q x, (R, T, N) -> (R, T, N)."""
        if self.mask is None or self.solver is None:
            out = x - x.sum(axis=1, keepdims=True) / x.shape[1]
            out -= out.sum(axis=2, keepdims=True) / x.shape[2]
            return out
        observed = np.where(self.mask > 0, x, 0.0)
        per_unit = np.maximum(self.mask.sum(axis=0), 1.0)
        out = (observed - observed.sum(axis=1, keepdims=True) / per_unit) * self.mask
        time = out.sum(axis=2) @ self.solver
        out = observed - self.mask * time[:, :, None]
        return (out - out.sum(axis=1, keepdims=True) / per_unit) * self.mask
