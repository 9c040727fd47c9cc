"""The spatial multiplier S = (I - rho W)^-1 and what it does to panels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.errors import bad
from sim.weights import Weights

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class SpatialFilter:
    """(I - rho W)^-1 for one W and rho; the identity at rho = 0. `multiplier` is S, (N, N)."""

    rho: float
    multiplier: Floats
    transposed: Floats

    @classmethod
    def of(cls, weights: Weights, rho: float) -> SpatialFilter:
        """The filter; raises BadInput when rho is outside (-1/radius, 1/radius)."""
        if not abs(rho) * weights.radius < 1:
            raise bad(f"spatial coefficient {rho}", where=f"weights {weights.name}",
                      allowed=f"between {-1 / weights.radius:g} and {1 / weights.radius:g}",
                      remedy="choose a smaller absolute value")  # fmt: skip
        identity = np.eye(len(weights.units))
        s = np.linalg.inv(identity - rho * weights.dense) if rho else identity
        return cls(rho, s, np.ascontiguousarray(s.T))

    def apply(self, array: Floats) -> Floats:
        """S over the last axis: (R, T, N) -> (R, T, N), as one product of (R T, N) and S'."""
        if not self.rho:
            return array
        return np.reshape(array.reshape(-1, array.shape[-1]) @ self.transposed, array.shape)
