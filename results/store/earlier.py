"""What stores of schema 1 say of their blocks: a state, one digest and one environment each, in arrays of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

DAMAGE = (ValueError, RuntimeError, OSError, KeyError, TypeError, AttributeError, IndexError, AssertionError)
STATE, DIGEST, ORIGIN = "block_state", "block_digest", "provenance/block_origin"
BYTES = 32


def earlier_marks(
    root: Any, size: tuple[int, int], parts: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint16], NDArray[np.uint8]]:
    """States (cells, blocks), environments (cells, blocks, parts) and digests (cells, blocks, 1, 32).

    Raises an error of zarr where there are no states; what is damaged, or not said of environments, is zero.
    """
    states = _marks(root[STATE], size)
    try:
        origins = _marks(root[ORIGIN], size)
    except DAMAGE:
        origins = np.zeros(size, dtype=np.int64)  # as of a store that does not say where its blocks were computed
    digests = _marks(root[DIGEST], (*size, BYTES))
    return (states.astype(np.uint8), origins[..., None].repeat(parts, axis=2).astype(np.uint16),
            digests[:, :, None].astype(np.uint8))  # fmt: skip


def _marks(array: Any, size: tuple[int, ...]) -> NDArray[Any]:
    """An array of some numbers a block; zeros where it is damaged."""
    try:
        return np.asarray(array[:, : size[1]])
    except DAMAGE:
        found = np.zeros(size, dtype=np.int64)
        for place in np.ndindex(*size[:2]):
            try:
                found[place] = array[place]
            except DAMAGE:
                continue
        return found
