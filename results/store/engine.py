"""How xarray opens a store by its path: an entry point of pyproject.toml, which it finds by itself.

`xarray.open_datatree(path)` and `xarray.open_dataset(path, group="did")` give what `Store.to_xarray` gives.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import xarray as xr
from xarray.backends import BackendEntrypoint

from results.store.bucket import store_path
from results.store.labelled import groups_of
from results.store.tree import META, Folder
from results.store.zarr_store import ZarrStore


class StoreEngine(BackendEntrypoint):
    """How xarray opens a store: by its folder, with dials as dimensions."""

    description = "Stores of panelproof, with the grid's dials as dimensions"
    supports_groups = True  # without it xarray never asks for a tree
    open_dataset_parameters = ("filename_or_obj", "drop_variables", "group")

    def open_dataset(self, filename_or_obj: Any, *, drop_variables: Any = None, group: str | None = None) -> xr.Dataset:
        """One group: the truths, or those of an estimator."""
        groups, path = groups_of(ZarrStore.open(store_path(filename_or_obj))), f"/{(group or '').strip('/')}"
        if path not in groups:
            raise KeyError(f"no group {group!r}; there are {', '.join(name for name in groups)}")
        return groups[path].drop_vars(drop_variables or [])

    def open_datatree(self, filename_or_obj: Any, *, drop_variables: Any = None) -> xr.DataTree:
        """All groups."""
        return xr.DataTree.from_dict(self.open_groups_as_dict(filename_or_obj, drop_variables=drop_variables))

    def open_groups_as_dict(self, filename_or_obj: Any, *, drop_variables: Any = None) -> dict[str, xr.Dataset]:
        """All groups by path."""
        found = groups_of(ZarrStore.open(store_path(filename_or_obj)))
        return {path: each.drop_vars(drop_variables or [], errors="ignore") for path, each in found.items()}

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Whether it is a folder that `panelproof run` made."""
        if not isinstance(filename_or_obj, str | Path):
            return False
        try:
            attributes = json.loads(Folder(Path(filename_or_obj)).read(META)).get("attributes", {})
        except (OSError, ValueError, AttributeError):
            return False
        return {"fingerprint", "layouts", "cells", "estimands"} <= attributes.keys()
