"""The SHA-256 that equal runs share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from results.store.skeleton import PIECE
from results.store.store import BlockState, Store


def content_hash(
    store: Store, layouts: Mapping[str, Any], digest: Callable[[int, int], str], coordinates: Iterable[tuple[str, Any]]
) -> str:
    """SHA-256 over a store's fingerprint, coordinates and blocks, each of which is read once and compared.

    layouts: of the estimators, as the store keeps them. digest: of a block. coordinates: arrays by their paths, of
    which a piece at a time is read. Raises BadInput for a damaged block.
    """
    sha = hashlib.sha256(store.fingerprint.encode())
    said = (store.replications, store.block, store.cells, store.estimands, layouts)
    sha.update(json.dumps(said, sort_keys=True).encode())
    for name, array in coordinates:
        sha.update(f"{name}{array.shape}".encode())
        for start in range(0, array.shape[0], PIECE):
            sha.update(f"{np.asarray(array[start : start + PIECE]).tolist()}".encode())
    for cell in range(len(store.cells)):
        for index in range(store.block_count):
            state = store.state(cell, index)
            if state is BlockState.DONE:
                store.sound(cell, index)
            found = digest(cell, index) if state is BlockState.DONE else ""
            sha.update(f"{cell} {index} {state} {found}\n".encode())
    return sha.hexdigest()
