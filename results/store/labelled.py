"""Stores as labelled arrays of xarray: dials, replications, terms and error types are dimensions, read when asked for.

`Store.to_xarray` is for Python; `results/store/engine.py` is how xarray opens a store by its path.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from estimators.core.estimator import Layout

# The dials of a grid as axes: which cell stands at which of their values.


@dataclass(frozen=True, slots=True, eq=False)
class Axes:
    """names: of the dials. values: the labels of each, an array a dial. at: the number of the cell at each place, of
    the shape of the labels; -1 where the study has no such cell."""

    names: tuple[str, ...]
    values: tuple[NDArray[Any], ...]
    at: NDArray[np.intp]


def axes_of(cells: Sequence[Mapping[str, object]], taken: Collection[str] = ()) -> Axes:
    """One axis a dial, its values in the order of the study.

    A dial that some cells lack is NaN there, or "none" where its values are no numbers. Grids that are no full product
    leave places without a cell. taken: names that mean something else; a dial of such a name is called dial_NAME.
    """
    dials = list(dict.fromkeys(name for cell in cells for name in cell))
    columns = {dial: [cell.get(dial) for cell in cells] for dial in dials}
    labels = {dial: _labels(values) for dial, values in columns.items()}
    distinct = {dial: list(dict.fromkeys(map(_key, found.tolist()))) for dial, found in labels.items()}
    at = np.full([len(keys) for keys in distinct.values()], -1, dtype=np.intp)
    for cell in range(len(cells)):
        at[tuple(distinct[dial].index(_key(labels[dial][cell].item())) for dial in dials)] = cell
    first = {dial: [list(map(_key, labels[dial].tolist())).index(key) for key in distinct[dial]] for dial in dials}
    return Axes(tuple(f"dial_{dial}" if dial in taken else dial for dial in dials),
                tuple(labels[dial][first[dial]] for dial in dials), at)  # fmt: skip


def _labels(values: Sequence[object]) -> NDArray[Any]:
    """Values of a dial as one array: truth values, numbers (NaN where there is none), else text."""
    kinds = {type(value) for value in values}
    if kinds == {bool}:
        return np.array(values, dtype=bool)
    if kinds == {int}:
        return np.array(values, dtype=np.int64)
    if kinds <= {int, float, type(None)} and kinds != {type(None)}:
        return np.array([math.nan if value is None else value for value in values], dtype=np.float64)
    return np.array([label(value) for value in values])


def label(value: object) -> str:
    """A dial's value as text."""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "none" if value is None else str(value)


def _key(value: Any) -> Any:
    """A label that equals itself."""
    return None if isinstance(value, float) and math.isnan(value) else value


def spread[Number: np.generic](values: NDArray[Number], axes: Axes, missing: Any) -> NDArray[Number]:
    """An array (cells, ...) with the dials as its first axes; `missing` where there is no cell."""
    out = values[axes.at]
    out[axes.at < 0] = missing
    return out


ROOT = ("truth",)
DIMENSIONS = ("replication", "estimand", "term", "error")
BEHIND: dict[str, tuple[str, ...]] = {  # the dimensions of an array behind cell and replication, where it has any
    "truth": ("estimand",),
    "estimate": ("term",),
    **dict.fromkeys(("se", "dof", "pvalue", "lower", "upper"), ("error", "term")),
}
FACTS = ("fingerprint", "replications", "block", "worlds", "held_fixed")


def groups_of(store: Any) -> dict[str, xr.Dataset]:
    """The truths at the root and one group an estimator, by path, as xarray names and reads them; blocks that are not
    there are NaN, their status 0."""
    arrays = (name for layout in store.layouts.values() for name in _arrays(layout))
    axes = axes_of(store.cells, {*DIMENSIONS, *ROOT, *store.layouts, *arrays})
    found = {"/": _dataset(store, axes, "", ROOT, {"replication": np.arange(store.replications),
                                                   "estimand": np.array(store.estimands, dtype=str)})}  # fmt: skip
    study = store.schema.study  # what is known of it, as attributes that any file format takes
    said = {key: study[key] for key in ("name", "question", "seed") if study.get(key) not in (None, "")}
    plain = {key: getattr(store, key) for key in FACTS}
    found["/"].attrs = said | plain | {"held_fixed": ", ".join(store.held_fixed)}
    for name, layout in store.layouts.items():
        labels = {"replication": np.arange(store.replications), "term": np.array(layout.terms, dtype=str),
                  "error": np.array(layout.errors, dtype=str)}  # fmt: skip
        found[f"/{name}"] = _dataset(store, axes, f"{name}/", _arrays(layout), labels)
        found[f"/{name}"].attrs = {f"target:{term}": target for term, target in layout.targets.items()}
    return found


def _arrays(layout: Layout) -> tuple[str, ...]:
    return ("estimate", "se", "dof", *layout.stored, "status", *layout.statistics)


def _dataset(store: Any, axes: Axes, group: str, names: Iterable[str], labels: Mapping[str, Any]) -> xr.Dataset:
    """One group of the store, its arrays unread."""
    variables = {}
    for name in names:
        behind = BEHIND.get(name, ())
        sizes = tuple(len(labels[axis]) for axis in behind)
        kind = np.dtype("u1" if name == "status" else "f8")
        array = _Spread(store, axes, group + name, (*axes.at.shape, store.replications, *sizes), kind)
        chunks = dict.fromkeys(axes.names, 1) | {"replication": store.block}  # what is read together
        dimensions = (*axes.names, "replication", *behind)
        unread = indexing.LazilyIndexedArray(array)
        variables[name] = xr.Variable(dimensions, unread, encoding={"preferred_chunks": chunks})
    return xr.Dataset(variables, dict(zip(axes.names, axes.values, strict=True)) | dict(labels))


@dataclass(frozen=True, eq=False)
class _Spread(BackendArray):
    """An array of the store with the dials as its first axes; what is asked for is read."""

    store: Any
    axes: Axes
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        """The cross product of one key an axis: whole numbers, slices, arrays of places."""
        dials, rest = key[: self.axes.at.ndim], key[self.axes.at.ndim :]
        at = self.axes.at[
            np.ix_(*(np.atleast_1d(np.arange(n)[k]) for k, n in zip(dials, self.axes.at.shape, strict=True)))
        ]
        rows = np.atleast_1d(np.arange(self.store.replications)[rest[0]])
        missing = 0 if self.dtype.kind == "u" else np.nan
        parts = []
        for cell in at.ravel().tolist():  # of -1, and in blocks that are not there, what is missing
            part = np.full((rows.size, *self.shape[self.axes.at.ndim + 1 :]), missing, self.dtype)
            there = self.store.there[cell, rows // self.store.block] if cell >= 0 else np.zeros(rows.size, dtype=bool)
            for index in np.unique(rows[there] // self.store.block).tolist():
                of_block = there & (rows // self.store.block == index)
                held = self.store.arrays_of(cell, index, [self.name])[self.name]
                part[of_block] = held[rows[of_block] - index * self.store.block]
            parts.append(part)
        found = np.stack(parts) if parts else np.empty((0, rows.size, *self.shape[self.axes.at.ndim + 1 :]), self.dtype)
        found = found.reshape(*at.shape, *found.shape[1:])
        for axis, k in enumerate(rest[1:], start=at.ndim + 1):
            found = np.take(found, np.atleast_1d(np.arange(found.shape[axis])[k]), axis=axis)
        return found[tuple(0 if isinstance(k, int | np.integer) else slice(None) for k in key)]
