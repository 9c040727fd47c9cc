"""Spatial weights: W on named units, standardised, with its eigenvalues computed once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from numpy.typing import NDArray

from sim.arrays import Floats
from sim.errors import bad, listed
from sim.threads import one_thread

try:  # the kernel behind scipy's own products, which always start from a new array of zeros
    from scipy.sparse._sparsetools import csr_matvecs
except ImportError:  # pragma: no cover  (a scipy that keeps it elsewhere: the same sums, through one array more)
    csr_matvecs = None

Standardize = Literal["row", "spectral", "none"]
ONE = 1e-10  # distance from one up to which a row sum counts as one: rounding is some 1e-16 a link
ROWS = 296  # of a product at a time: few, and 37 cache lines, an odd number, so that units do not evict another
SPARSE_BELOW = 0.15  # share of non-zero entries up to which a sparse product is the faster one


@dataclass(frozen=True, eq=False)
class Weights:
    """A spatial weights matrix with a zero diagonal, already standardised; build it with `Weights.of`.

    `matrix` is CSR, (N, N); row i holds the weights of i's neighbours. attached: units that had no neighbour of their
    own, each with the one that it was given.
    """

    units: tuple[str, ...]
    matrix: sp.csr_array
    standardize: Standardize = "row"
    name: str = "w"
    attached: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(
        cls, units: tuple[str, ...], raw: Floats | sp.sparray, standardize: Standardize = "row", name: str = "w"
    ) -> Weights:
        """Weights from raw non-negative entries, (N, N), standardised by row sums, spectral radius or not at all.

        Raises BadInput for another shape, negative or non-finite entries, a non-zero diagonal, and units without
        neighbours (a zero row).
        """
        matrix: sp.csr_array[Any, tuple[int, int]] = sp.csr_array(raw, dtype=np.float64)
        matrix.eliminate_zeros()
        matrix.sort_indices()
        _check_entries(units, matrix, name)
        if standardize not in get_args(Standardize):
            raise bad(f"standardize = {standardize!r}", where=f"weights {name}",
                      allowed=", ".join(get_args(Standardize)), remedy="choose one of them")  # fmt: skip
        if standardize == "row":
            matrix = sp.csr_array(sp.diags_array(1.0 / matrix.sum(axis=1)) @ matrix)
        elif standardize == "spectral":
            matrix = sp.csr_array(matrix / np.abs(_eigenvalues(matrix.toarray())).max())
        matrix.sort_indices()
        return cls(tuple(units), matrix, standardize, name)

    @cached_property
    def dense(self) -> Floats:
        """W as a dense array, (N, N), read-only."""
        dense = self.matrix.toarray()
        dense.flags.writeable = False
        return dense

    @cached_property
    def eigenvalues(self) -> NDArray[np.complex128] | Floats:
        """The N eigenvalues of W; real when W is similar to a symmetric matrix (contiguity, distance), else complex."""
        return _eigenvalues(self.dense)

    @cached_property
    def radius(self) -> float:
        """The spectral radius; rho is looked for in (-1/radius, 1/radius).

        It is 1 by theorem where rows sum to one (Perron and Frobenius: it lies between the smallest and the largest
        row sum) and where W was divided by it, whatever rounding makes of the eigenvalues.
        """
        if self.standardize == "spectral" or self.row_stochastic:
            return 1.0
        return float(np.abs(self.eigenvalues).max())

    @cached_property
    def row_stochastic(self) -> bool:
        """Whether every row sums to one, as Lee and Yu's transformation requires."""
        return bool(np.abs(self.matrix.sum(axis=1) - 1.0).max() <= ONE)

    @cached_property
    def operator(self) -> sp.csr_array | Floats:
        """W in the form, sparse or dense, whose products are the faster ones: `operator @ x` for x (N, M)."""
        n = len(self.units)
        return self.matrix if self.matrix.nnz <= SPARSE_BELOW * n * n else self.dense

    def lag(self, array: Floats, *, centred: bool = False) -> Floats:
        """W applied over the last axis: (..., N) -> (..., N): each period's spatial lag; `centred` around its mean."""
        flat = array.reshape(-1, array.shape[-1])
        out = np.empty_like(flat)
        for rows in chunks(flat):
            lagged = self.operator @ np.ascontiguousarray(flat[rows].T)
            if centred:
                lagged -= lagged.sum(axis=0) / len(lagged)
            out[rows] = lagged.T
        return out.reshape(array.shape)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over units and entries."""
        sha = hashlib.sha256(repr(self.units).encode())
        for part in (self.matrix.indptr.astype("<i8"), self.matrix.indices.astype("<i8"), self.matrix.data):
            sha.update(part.tobytes())
        return sha.hexdigest()

    def reordered(self, units: tuple[str, ...]) -> Weights:
        """The same weights with units in another order; raises BadInput when the sets of units differ."""
        position = {unit: i for i, unit in enumerate(self.units)}
        if set(units) != set(position) or len(units) != len(position):
            missing = [unit for unit in units if unit not in position]
            extra = [unit for unit in position if unit not in set(units)]
            raise bad(
                f"units differ: missing from W {listed(missing) or 'none'}; not in the panel {listed(extra) or 'none'}",
                where=f"weights {self.name}",
                allowed=f"the panel's {len(units)} units",
                remedy="give W for exactly the panel's units",
            )
        order = [position[unit] for unit in units]
        matrix = sp.csr_array(self.matrix[order][:, order])
        matrix.sort_indices()
        return replace(self, units=tuple(units), matrix=matrix)

    def __repr__(self) -> str:
        return f"Weights({self.name}, {len(self.units)} units, {self.matrix.nnz} links, {self.standardize})"


def _check_entries(units: tuple[str, ...], matrix: sp.csr_array, name: str) -> None:
    where = f"weights {name}"
    n = len(units)
    if matrix.shape != (n, n):
        raise bad(f"W is {matrix.shape[0]} x {matrix.shape[1]}", where=where, allowed=f"{n} x {n}, one row per unit",
                  remedy="give W for exactly the panel's units")  # fmt: skip
    if not np.isfinite(matrix.data).all() or (matrix.data < 0).any():
        raise bad("W has negative, infinite or missing entries", where=where, allowed="finite entries >= 0",
                  remedy="correct those entries")  # fmt: skip
    on_diagonal = np.flatnonzero(matrix.diagonal())
    if on_diagonal.size:
        raise bad(f"units are their own neighbours: {listed(units[i] for i in on_diagonal)}", where=where,
                  allowed="a zero diagonal", remedy="set the diagonal to zero")  # fmt: skip
    islands = np.flatnonzero(np.diff(matrix.indptr) == 0)
    if islands.size:
        raise bad(f"units without neighbours: {listed((units[i] for i in islands), 12)}", where=where,
                  allowed="at least one neighbour per unit",
                  remedy='drop those units or set islands = "nearest"')  # fmt: skip


@one_thread
def _eigenvalues(w: Floats) -> NDArray[np.complex128] | Floats:
    """Eigenvalues of W, through a symmetric similar matrix where there is one (Ord 1975): W = D^-1 C, C = C'."""
    symmetrised = _symmetric_similar(w)
    if symmetrised is not None:
        return np.asarray(scipy.linalg.eigvalsh(symmetrised), dtype=np.float64)
    return np.asarray(scipy.linalg.eigvals(w), dtype=np.complex128)


def _symmetric_similar(w: Floats) -> Floats | None:
    """D^1/2 W D^-1/2 when a diagonal D makes it symmetric, else None: d_i w_ij = d_j w_ji along a spanning forest."""
    if not np.array_equal(w != 0, w.T != 0):
        return None
    pattern = sp.csr_array(w)
    scale = np.full(w.shape[0], np.nan)
    for root in range(w.shape[0]):
        if np.isnan(scale[root]):
            scale[root] = 1.0
            order, parents = sp.csgraph.breadth_first_order(pattern, root, directed=False)
            for node in order[1:]:
                scale[node] = scale[parents[node]] * w[parents[node], node] / w[node, parents[node]]
    root_scale = np.sqrt(scale)
    similar = root_scale[:, None] * w / root_scale
    return (similar + similar.T) / 2 if np.allclose(similar, similar.T, rtol=1e-9, atol=1e-13) else None


def chunks(flat: Floats) -> Iterator[slice]:
    """The rows of (M, N), some hundreds at a time and never one alone, whose sums would be made in another order."""
    starts = range(0, max(len(flat) - 1, 1), ROWS)
    return (slice(start, len(flat) if start == starts[-1] else start + ROWS) for start in starts)


def add_product(matrix: sp.csr_array, x: Floats, out: Floats) -> None:
    """out += matrix @ x for (N, N) and C-contiguous (N, M); `out` may be x when no row that is written is also read."""
    if csr_matvecs is None:
        out += matrix @ x
        return
    rows, columns = matrix.shape
    csr_matvecs(rows, columns, x.shape[1], matrix.indptr, matrix.indices, matrix.data, x.reshape(-1), out.reshape(-1))
