"""The spatial multiplier S = (I - rho W)^-1 and what it does to panels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import scipy.sparse as sp

from sim.arrays import Codes, Floats
from sim.errors import bad
from sim.weights import SPARSE_BELOW, Weights, add_product, chunks, one_thread

EDGE = 1e-12  # distance of |rho| from the inverse radius, relative to it, below which rounding would decide
KEPT = 8  # filters that are remembered
ROUNDS = 8  # of elimination; after them about a quarter of the units are left, and their system is dense


@dataclass(frozen=True, eq=False)
class SpatialFilter:
    """(I - rho W)^-1 for one W and rho; the identity at rho = 0. `multiplier` is S, (N, N)."""

    weights: Weights
    rho: float

    @classmethod
    @lru_cache(maxsize=KEPT)
    def of(cls, weights: Weights, rho: float) -> SpatialFilter:
        """The filter, whose multiplier and elimination all worlds of a cell share; raises BadInput when rho is outside
        (-1/radius, 1/radius) or within EDGE of its ends."""
        if not abs(rho) * weights.radius < 1 - EDGE:
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

    def apply(self, array: Floats, *, overwrite: bool = False) -> Floats:
        """S over the last axis: (R, T, N) -> (R, T, N); `overwrite` allows the array to become the result."""
        if not self.rho:
            return array
        flat = array.reshape(-1, array.shape[-1])
        if self._elimination is not None:
            out = flat if overwrite else np.empty_like(flat)
            return self._elimination.solve(flat, out).reshape(array.shape)
        return np.reshape(flat @ self._transposed, array.shape)


@dataclass(frozen=True, eq=False)
class SpaceTimeFilter:
    """m_t = rho W m_t + gamma m_t-1 + eta W m_t-1 + u_t over the periods of a panel (Yu, de Jong and Lee 2008)."""

    space: SpatialFilter
    gamma: float
    eta: float

    @classmethod
    def of(cls, weights: Weights, rho: float, gamma: float, eta: float) -> SpaceTimeFilter:
        """The filter; raises BadInput where it is not stable: an eigenvalue of (I - rho W)^-1 (gamma I + eta W) has
        modulus 1 or more, or rho is outside its range."""
        space = SpatialFilter.of(weights, rho)
        eigenvalues = weights.eigenvalues
        root = float(np.abs((gamma + eta * eigenvalues) / (1 - rho * eigenvalues)).max())
        if not root < 1 - EDGE:
            raise bad(f"gamma = {gamma:g}, eta = {eta:g}, rho = {rho:g}: the largest root is {root:.4g}",
                      where=f"weights {weights.name}", allowed="a root below 1, such that the process is stable",
                      remedy="choose a smaller gamma or eta")  # fmt: skip
        return cls(space, gamma, eta)

    @cached_property
    @one_thread
    def _transition(self) -> Floats:
        """The transpose of A = (gamma I + eta W) S, (N, N)."""
        w = self.space.weights.dense
        return np.ascontiguousarray(((self.gamma * np.eye(len(w)) + self.eta * w) @ self.space.multiplier).T)

    @cached_property
    @one_thread
    def long_run(self) -> Floats:
        """((1 - gamma) I - (rho + eta) W)^-1: what a lasting u makes in the end, (N, N)."""
        w = self.space.weights.dense
        return np.linalg.inv((1 - self.gamma) * np.eye(len(w)) - (self.space.rho + self.eta) * w)

    def apply(self, array: Floats, before: Floats | None = None) -> Floats:
        """m of u over the last axis, (R, T, N); before (R, N): m a period earlier, None = as u's first period, had it
        lasted for ever."""
        if before is None:
            before = array[:, 0] @ self.long_run.T
        out = np.array(self.space.apply(array))
        for t in range(out.shape[1]):
            out[:, t] += before @ self._transition
            before = out[:, t]
        return out


@dataclass(frozen=True, eq=False, slots=True)
class Elimination:
    """(I - rho W) x = u for sparse W: rounds of independent sets are eliminated, the rest is solved densely; exact.

    `down` and `up` (CSR, N x N) hold one step a round: what an eliminated set adds to the units that are left, and what
    those give back to it. `scale` (N, 1) divides by the pivots; `core` is the inverse for the units `left` at the end.
    """

    down: tuple[sp.csr_array, ...]
    scale: Floats
    core: Floats
    left: Codes
    up: tuple[sp.csr_array, ...]

    @classmethod
    @one_thread
    def of(cls, weights: Weights, rho: float) -> Elimination:
        """Eliminate in an order that depends on W's pattern alone."""
        n = len(weights.units)
        system = np.eye(n) - rho * weights.dense
        left, scale = np.arange(n), np.ones((n, 1))
        down, up = [], []
        for chosen in _independent_rounds(weights):
            left = np.setdiff1d(left, chosen)
            pivot = np.diag(system)[chosen].copy()
            scale[chosen, 0] = 1 / pivot
            back = system[np.ix_(chosen, left)]
            to_left = -system[np.ix_(left, chosen)] / pivot
            system[np.ix_(left, left)] += to_left @ back
            down.append(_placed(to_left, left, chosen, n))
            up.append(_placed(-back / pivot[:, None], chosen, left, n))
        return cls(tuple(down), scale, np.linalg.inv(system[np.ix_(left, left)]), left, tuple(reversed(up)))

    def solve(self, u: Floats, out: Floats) -> Floats:
        """x for right-hand sides (M, N), written into out, which may be u."""
        for rows in chunks(u):
            x = np.ascontiguousarray(u[rows].T)
            for step in self.down:
                add_product(step, x, x)
            core = self.core @ x[self.left]
            x *= self.scale
            x[self.left] = core
            for step in self.up:
                add_product(step, x, x)
            out[rows] = x.T
        return out


def _placed(block: Floats, rows: Codes, columns: Codes, n: int) -> sp.csr_array:
    """The N x N matrix whose rows and columns of these numbers are a block, and whose others are 0."""
    i, j = np.nonzero(block)
    at = rows.astype(np.int32)[i], columns.astype(np.int32)[j]
    found = sp.csr_array((block[i, j], at), shape=(n, n))
    found.sort_indices()  # sums are taken in the order of the units
    return found


@lru_cache(maxsize=KEPT)
def _independent_rounds(weights: Weights) -> list[Codes]:
    """Sets of units without links among them, each from what the rounds before left (few links first)."""
    links = weights.matrix.toarray() != 0
    links |= links.T
    np.fill_diagonal(links, False)
    left = np.arange(len(links))
    rounds: list[Codes] = []
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
