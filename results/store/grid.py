"""The dials of a grid as axes: which cell stands at which of their values."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


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
