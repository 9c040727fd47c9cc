"""The spatial multiplier S = (I - rho W)^-1 and what it does to panels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sim.errors import bad
from sim.threads import one_thread
from sim.weights import SPARSE_BELOW, Weights

Floats = NDArray[np.float64]
MOST_ROUNDS = 5  # of elimination; after them some 30 % of the units are left and their system is dense


@dataclass(frozen=True, eq=False)
class SpatialFilter:
    """(I - rho W)^-1 for one W and rho; the identity at rho = 0. `multiplier` is S, (N, N)."""

    weights: Weights
    rho: float

    @classmethod
    def of(cls, weights: Weights, rho: float) -> SpatialFilter:
        """The filter; raises BadInput when rho is outside (-1/radius, 1/radius)."""
        if not abs(rho) * weights.radius < 1:
            raise bad(f"spatial coefficient {rho}", where=f"weights {weights.name}",
                      allowed=f"between {-1 / weights.radius:g} and {1 / weights.radius:g}",
                      remedy="choose a smaller absolute value")  # fmt: skip
        return cls(weights, rho)

    @cached_property
    @one_thread
    def multiplier(self) -> Floats:
        """S, (N, N)."""
        identity = np.eye(len(self.weights.units))
        return np.linalg.inv(identity - self.rho * self.weights.dense) if self.rho else identity

    @cached_property
    def _transposed(self) -> Floats:
        return np.ascontiguousarray(self.multiplier.T)

    @cached_property
    def _elimination(self) -> Elimination | None:
        n = len(self.weights.units)
        sparse = self.weights.matrix.nnz <= SPARSE_BELOW * n * n / 3
        return Elimination.of(self.weights, self.rho) if sparse else None

    def apply(self, array: Floats) -> Floats:
        """S over the last axis: (R, T, N) -> (R, T, N)."""
        if not self.rho:
            return array
        flat = array.reshape(-1, array.shape[-1])
        if self._elimination is not None:
            return self._elimination.solve(flat).reshape(array.shape)
        return np.reshape(flat @ self._transposed, array.shape)


@dataclass(frozen=True, eq=False, slots=True)
class Elimination:
    """(I - rho W) x = u for sparse W: rounds of independent sets are eliminated, the rest is solved densely; exact.

    Units stand in elimination order, so that every round is a slice. `down[k]` (CSR) carries what round k leaves to the
    units after it, `up[k]` what they give back; `core` is the inverse for those that are never eliminated.
    """

    order: NDArray[np.intp]
    back: NDArray[np.intp]
    edges: tuple[int, ...]
    down: tuple[sp.csr_array, ...]
    up: tuple[sp.csr_array, ...]
    pivots: tuple[Floats, ...]
    core: Floats

    @classmethod
    @one_thread
    def of(cls, weights: Weights, rho: float) -> Elimination:
        """Eliminate in an order that depends on W's pattern alone."""
        n = len(weights.units)
        rounds = _independent_rounds(weights.matrix)
        taken = np.concatenate(rounds) if rounds else np.empty(0, dtype=np.intp)
        order = np.concatenate([taken, np.setdiff1d(np.arange(n), taken)]).astype(np.intp)
        rest = (np.eye(n) - rho * weights.dense)[np.ix_(order, order)]
        edges, down, up, pivots = [0], [], [], []
        for chosen in rounds:
            size = len(chosen)
            pivot = np.diag(rest)[:size].copy()
            down.append(sp.csr_array(rest[size:, :size] / pivot))
            up.append(sp.csr_array(rest[:size, size:] / pivot[:, None]))
            rest = rest[size:, size:] - down[-1] @ rest[:size, size:]
            pivots.append(1.0 / pivot[:, None])
            edges.append(edges[-1] + size)
        return cls(order, np.argsort(order), tuple(edges), tuple(down), tuple(up), tuple(pivots), np.linalg.inv(rest))

    def solve(self, u: Floats) -> Floats:
        """x for right-hand sides (M, N) -> (M, N)."""
        x = u.T[self.order]
        for k, down in enumerate(self.down):
            x[self.edges[k + 1] :] -= down @ x[self.edges[k] : self.edges[k + 1]]
        x[self.edges[-1] :] = self.core @ x[self.edges[-1] :]
        for k in reversed(range(len(self.up))):
            here = slice(self.edges[k], self.edges[k + 1])
            x[here] *= self.pivots[k]
            x[here] -= self.up[k] @ x[self.edges[k + 1] :]
        return np.ascontiguousarray(x[self.back].T)


def _independent_rounds(matrix: sp.csr_array) -> list[NDArray[np.intp]]:
    """Sets of units without links among them, each from what the rounds before left (few links first)."""
    links = matrix.toarray() != 0
    links |= links.T
    np.fill_diagonal(links, False)
    left = np.arange(len(links))
    rounds: list[NDArray[np.intp]] = []
    for _ in range(MOST_ROUNDS):
        degree = links[np.ix_(left, left)].sum(axis=1)
        blocked = np.zeros(len(links), dtype=bool)
        chosen = []
        for unit in left[np.argsort(degree, kind="stable")]:
            if not blocked[unit]:
                chosen.append(unit)
                blocked |= links[unit]
                blocked[unit] = True
        taken = np.array(chosen, dtype=np.intp)
        rounds.append(taken)
        left = np.setdiff1d(left, taken)
        for unit in taken:  # eliminating a unit links its neighbours with one another
            neighbours = np.flatnonzero(links[unit])
            links[np.ix_(neighbours, neighbours)] = True
        np.fill_diagonal(links, False)
    return rounds
