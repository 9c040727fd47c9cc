"""The store of a study: blocks, skeleton, lock, and what keeps them on disk or in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.registry import lazy

if TYPE_CHECKING:
    from results.store.block import Block, Records
    from results.store.lease import StoreLocked
    from results.store.lock import Hold, StoreGone, locked, present
    from results.store.skeleton import StoreSchema
    from results.store.store import BlockState, MemoryStore, Origin, Shard, Stopped, Store
    from results.store.zarr_store import ZarrStore
else:  # zarr is loaded where a store is
    __getattr__ = lazy(
        __name__,
        {
            "results.store.block": "Block Records",
            "results.store.lease": "StoreLocked",
            "results.store.lock": "Hold StoreGone locked present",
            "results.store.skeleton": "StoreSchema",
            "results.store.store": "BlockState MemoryStore Origin Shard Stopped Store",
            "results.store.zarr_store": "ZarrStore",
        },
    )

__all__ = [
    "Block",
    "BlockState",
    "Hold",
    "MemoryStore",
    "Origin",
    "Records",
    "Shard",
    "Stopped",
    "Store",
    "StoreGone",
    "StoreLocked",
    "StoreSchema",
    "ZarrStore",
    "locked",
    "present",
]
