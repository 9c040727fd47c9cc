"""The store of a study: blocks, skeleton, lock, and what keeps them on disk or in memory."""

from results.store.block import Block, Records
from results.store.lease import StoreLocked
from results.store.lock import Hold, StoreGone, locked, present
from results.store.skeleton import StoreSchema
from results.store.store import BlockState, MemoryStore, Origin, Shard, Stopped, Store
from results.store.zarr_store import ZarrStore

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
