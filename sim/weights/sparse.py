"""Sparse products for panels: units come first, and a product may be added to an array that is there already."""

from __future__ import annotations

from collections.abc import Iterator

import scipy.sparse as sp

from sim.arrays import Floats

try:  # the kernel behind scipy's own products, which always start from a new array of zeros
    from scipy.sparse._sparsetools import csr_matvecs
except ImportError:  # pragma: no cover  (a scipy that keeps it elsewhere: the same sums, through one array more)
    csr_matvecs = None

ROWS = (
    296  # at a time: few enough for the cache, and 37 of its lines, an odd number, so that units do not evict another
)


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
