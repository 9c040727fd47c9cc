"""The arrays of a block as they lie in a store: few files a block, each with names on its axes.

An estimator has three arrays: `estimate (cell, replication, term)`, `inference (cell, replication, quantity, error,
term)` with se, dof and what else is stored of each, and `fit (cell, replication, fact)` with the status and the fit
statistics.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estimators.core.estimator import Estimates, Layout
from results.store.tree import CHUNK

PACKED = ("estimate", "inference", "fit")  # the arrays of an estimator


def quantities(layout: Layout) -> tuple[str, ...]:
    """What `inference` holds of each error type and term, in order."""
    return ("se", "dof", *layout.stored)


def facts(layout: Layout) -> tuple[str, ...]:
    """What `fit` holds of each fit, in order."""
    return ("status", *layout.statistics)


def single_paths(name: str, layout: Layout) -> tuple[str, ...]:
    """The arrays of an estimator by their own names, as digests know them."""
    return tuple(f"{name}/{part}" for part in ("estimate", *quantities(layout), *facts(layout)))


def packed_paths(name: str) -> tuple[str, ...]:
    """The arrays of an estimator in a store."""
    return tuple(f"{name}/{part}" for part in PACKED)


def files_of(cell: int, index: int, parts: Iterable[str]) -> list[str]:
    """The files of a store that hold some parts of a block: "truth", and the arrays of estimators."""
    return [f"{start}{cell}.{index}{end}" for start, end in names_of(parts)]


def names_of(parts: Iterable[str]) -> list[tuple[str, str]]:
    """How the names of these files begin and end, with the cell and the block between."""
    ends = {"estimate": ".0", "inference": ".0.0.0", "fit": ".0"}
    return [(f"{array}/{CHUNK}", end) for part in parts for array, end in (
        [(part, ".0")] if part == "truth" else [(f"{part}/{name}", ends[name]) for name in PACKED])]  # fmt: skip


def packed(arrays: Mapping[str, NDArray[Any]], layouts: Mapping[str, Layout]) -> dict[str, NDArray[Any]]:
    """Arrays of a block by their own names as they lie in a store; estimators that are not there are left out."""
    found = {"truth": arrays["truth"]}
    for name, layout in layouts.items():
        if f"{name}/estimate" not in arrays:
            continue
        found[f"{name}/estimate"] = arrays[f"{name}/estimate"]
        found[f"{name}/inference"] = _stacked(arrays, name, quantities(layout))
        found[f"{name}/fit"] = _stacked(arrays, name, facts(layout))
    return found


def _stacked(arrays: Mapping[str, NDArray[Any]], name: str, parts: Sequence[str]) -> NDArray[np.float64]:
    """Arrays (R, *sizes) as one (R, P, *sizes), whose numbers of all replications lie side by side, as in a file."""
    first = arrays[f"{name}/{parts[0]}"]
    stacked = np.empty((len(parts), *first.shape[1:], len(first)))
    for place, part in enumerate(parts):
        stacked[place] = np.moveaxis(arrays[f"{name}/{part}"], 0, -1)
    return np.moveaxis(stacked, -1, 0)


def home_of(path: str, layouts: Mapping[str, Layout]) -> tuple[str, int | None]:
    """Where an array that has a name of its own lies: the array in the store, and the place on its second axis."""
    name, _, part = path.rpartition("/")
    if not name or part == "estimate":
        return path, None
    own = quantities(layouts[name])
    if part in own:
        return f"{name}/inference", own.index(part)
    return f"{name}/fit", facts(layouts[name]).index(part)


def picked(stored: NDArray[Any], path: str, place: int | None) -> NDArray[Any]:
    """An array by its own name out of the one that holds it, which it is a part of."""
    if place is None:
        return stored
    found = stored[:, place]
    if not path.endswith("/status"):
        return found
    return np.where(np.isnan(found), 0, found).astype(np.uint8)  # NaN: its chunk is missing


def unpacked(
    stored: Mapping[str, NDArray[Any]], layouts: Mapping[str, Layout], names: Iterable[str]
) -> dict[str, NDArray[Any]]:
    """What `packed` was given, of some estimators."""
    homes = {path: home_of(path, layouts) for name in names for path in single_paths(name, layouts[name])}
    return {path: picked(stored[home], path, place) for path, (home, place) in homes.items()}


def estimates_of(name: str, layout: Layout, arrays: Mapping[str, NDArray[Any]]) -> Estimates:
    """An estimator's estimates from its arrays by their own names."""

    def part(field_name: str) -> NDArray[Any]:
        return arrays[f"{name}/{field_name}"]

    return Estimates(
        terms=layout.terms,
        errors=layout.errors,
        estimate=part("estimate"),
        se=part("se"),
        dof=part("dof"),
        status=part("status"),
        statistics={statistic: part(statistic) for statistic in layout.statistics},
        **{field_name: part(field_name) for field_name in layout.stored},
    )
