"""The Zarr store of a study: blocks, skeleton, lock, writer and reader."""

from results.store.block import Block, Records
from results.store.lock import StoreLocked, locked
from results.store.skeleton import StoreSchema
from results.store.zarr_store import BlockState, ZarrStore

__all__ = ["Block", "BlockState", "Records", "StoreLocked", "StoreSchema", "ZarrStore", "locked"]
