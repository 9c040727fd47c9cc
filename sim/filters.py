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
ROUNDS = 4  # of elimination; after them somewhat less than half of the units are left, and their system is dense


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

    x = up (I, core) down u: `down` (CSR, N x N) is the forward elimination, with units in elimination order as its
    rows; `core` is the inverse for the units that are never eliminated, the last ones; `up` (CSR) substitutes back.
    """

    down: sp.csr_array
    core: Floats
    up: sp.csr_array

    @classmethod
    @one_thread
    def of(cls, weights: Weights, rho: float) -> Elimination:
        """Eliminate in an order that depends on W's pattern alone."""
        n = len(weights.units)
        rounds = _independent_rounds(weights.matrix)
        taken = np.concatenate(rounds)
        order = np.concatenate([taken, np.setdiff1d(np.arange(n), taken)]).astype(np.intp)
        down, up = np.eye(n)[order], np.eye(n)
        rest = (np.eye(n) - rho * weights.dense)[np.ix_(order, order)]
        steps, begin = [], 0
        for chosen in rounds:
            size, end = len(chosen), begin + len(chosen)
            pivot = np.diag(rest)[:size].copy()
            down[end:] -= (rest[size:, :size] / pivot) @ down[begin:end]
            steps.append((slice(begin, end), pivot[:, None], rest[:size, size:]))
            rest = rest[size:, size:] - (rest[size:, :size] / pivot) @ rest[:size, size:]
            begin = end
        for here, pivot, to_rest in reversed(steps):
            up[here] = (up[here] - to_rest @ up[here.stop :]) / pivot
        return cls(sp.csr_array(down), np.linalg.inv(rest), sp.csr_array(up[np.argsort(order)]))

    def solve(self, u: Floats) -> Floats:
        """x for right-hand sides (M, N) -> (M, N)."""
        x = self.down @ np.ascontiguousarray(u.T)
        dense = slice(-len(self.core), None)
        x[dense] = self.core @ x[dense]
        return np.ascontiguousarray((self.up @ x).T)


def _independent_rounds(matrix: sp.csr_array) -> list[NDArray[np.intp]]:
    """Sets of units without links among them, each from what the rounds before left (few links first)."""
    links = matrix.toarray() != 0
    links |= links.T
    np.fill_diagonal(links, False)
    left = np.arange(len(links))
    rounds: list[NDArray[np.intp]] = []
    for _ in range(ROUNDS):
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
