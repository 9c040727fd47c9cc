"""Weights from files: edge lists and matrices as csv, GAL, GWT, NumPy and Matrix Market."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from sim.arrays import Codes, Floats
from sim.errors import BadInput, bad, closest, first_line, listed
from sim.panel_files import UNREADABLE, check_file, csv_text, numbers, read_csv_text, separator_of, shown, unit_labels
from sim.weights import Coordinates, Islands, Standardize, Weights, connected

Others = Literal["error", "drop"]
FILES = (".csv", ".gal", ".gwt", ".npy", ".mtx")


@dataclass(frozen=True, eq=False, slots=True)
class Edges:
    """Links of a file: labels of focal units and their neighbours, weights, each (links,); named: all units in it."""

    focal: NDArray[np.object_]
    neighbor: NDArray[np.object_]
    weight: Floats
    named: frozenset[str]

    @classmethod
    def between(cls, focal: NDArray[np.object_], neighbor: NDArray[np.object_], weight: Floats) -> Self:
        """Links of a file that names the units of its links alone."""
        return cls(focal, neighbor, weight, frozenset((*focal, *neighbor)))


def from_file(
    path: str | Path,
    units: tuple[str, ...],
    *,
    keep: tuple[str, ...] | None = None,
    others: Others = "error",
    standardize: Standardize = "row",
    islands: Islands = "error",
    coordinates: Coordinates | None = None,
    name: str | None = None,
) -> Weights:
    """Weights from a file, standardised whatever the file holds unless told not to; named after the file.

    .csv: an edge list with columns focal, neighbor, weight (1 when there is none), or a square matrix with unit names
    in the first row and column; .gal and .gwt: as libpysal reads them, units named, or numbered from 0 or 1 in the
    order of `units`; .npy and .mtx: N x N in the order of `units`. Raw entries are read for `units` and cut down to
    `keep` (with its `coordinates`) before they are standardised. others: what to do with units of the file that are
    not in `units`. Raises BadInput.
    """
    path = Path(path)
    check_file(path, FILES)
    name = name or path.stem
    content = _read(path)
    if isinstance(content, Edges):
        edges = _in_order(content, units) if path.suffix.lower() in (".gal", ".gwt") else content
        raw = _from_edges(edges, units, others, path)
        if islands == "error":
            _check_whole(edges, keep or units, path)
    else:
        raw = _square(content, units, path)
    if keep is not None and keep != units:
        position = {unit: i for i, unit in enumerate(units)}
        rows = [position[unit] for unit in keep]
        raw = sp.csr_array(raw[rows][:, rows])
    kept = keep or units
    return connected(raw, kept, islands, coordinates, standardize, name)


def matrix_size(path: Path) -> tuple[int, ...] | None:
    """The shape of the matrix that a file holds; None for links between units that it names. Raises BadInput."""
    content = _read(path)
    return None if isinstance(content, Edges) else content.shape


def _read(path: Path) -> Edges | sp.csr_array | Floats:
    """What a file holds; raises BadInput for one that cannot be read."""
    try:
        return _content(path)
    except BadInput:
        raise
    except (*UNREADABLE, UnicodeError) as error:
        raise bad(f"cannot be read as {path.suffix[1:]} ({first_line(error)})", where=path.name,
                  allowed="an edge list or an N x N matrix of numbers", remedy="save it again") from error  # fmt: skip


def _content(path: Path) -> Edges | sp.csr_array | Floats:
    match path.suffix.lower():
        case ".npy":
            return np.asarray(np.load(path, allow_pickle=False))
        case ".mtx":
            from scipy.io import mmread

            return sp.csr_array(mmread(path, spmatrix=False))
        case ".csv":
            return _csv(path)
        case extension:
            from libpysal.graph import read_gal, read_gwt

            adjacency = (read_gal if extension == ".gal" else read_gwt)(path).adjacency.reset_index()
            # An island appears as its own neighbour with weight 0.
            return Edges.between(unit_labels(adjacency["focal"]), unit_labels(adjacency["neighbor"]),
                                 adjacency["weight"].to_numpy(np.float64))  # fmt: skip


def _csv(path: Path) -> Edges:
    text = csv_text(path)
    header = text.lstrip("\r\n").partition("\n")[0].split(separator_of(text))
    if len(header) > 2 and all(map(_is_number, header)):
        raise bad("has no names in its first row", where=path.name, allowed="a square matrix with names in the first "
                  "row and column, or columns focal, neighbor, weight", remedy="add the units' names (without names, "
                  "in the order of the panel, save it as .npy or .mtx)")  # fmt: skip
    table = read_csv_text(path)
    columns = [str(name).strip() for name in table.columns]
    table.columns = pd.Index(columns)
    if "focal" in columns or "neighbor" in columns or len(columns) < 4 or len(columns) != len(table) + 1:
        return _edge_list(table, path)
    rows = unit_labels(table.iloc[:, 0])
    if sorted(rows) != sorted(unit_labels(pd.Series(columns[1:]))):
        return _edge_list(table, path)
    weights = np.empty((len(rows), len(rows)))
    for j in range(len(rows)):
        weights[:, j] = _weights_of(table.iloc[:, j + 1], path)
    row, column = np.nonzero(weights)
    return Edges(rows[row], unit_labels(pd.Series(columns[1:]))[column], weights[row, column], frozenset(rows))


def _is_number(cell: str) -> bool:
    try:
        float(cell.strip().strip('"').replace(",", "."))
    except ValueError:
        return False
    return True


def _edge_list(table: pd.DataFrame, path: Path) -> Edges:
    columns = [str(name) for name in table.columns]
    for wanted in ("focal", "neighbor"):
        if wanted not in columns:
            raise bad(f"there is no column {wanted!r} among {listed(columns)}", where=path.name,
                      allowed="columns focal, neighbor, weight, or a square matrix with names in first row and column",
                      remedy=closest(wanted, columns))  # fmt: skip
    weight = _weights_of(table["weight"], path) if "weight" in columns else np.ones(len(table))
    edges = Edges.between(unit_labels(table["focal"]), unit_labels(table["neighbor"]), weight)
    pairs = pd.MultiIndex.from_arrays([edges.focal, edges.neighbor])
    twice = pairs[pairs.duplicated()]
    if len(twice):
        raise bad(f"links appear more than once: {listed((f'{a} to {b}' for a, b in twice), 3)}", where=path.name,
                  allowed="one row per link", remedy="remove the duplicates")  # fmt: skip
    return edges


def _weights_of(column: pd.Series[Any], path: Path) -> Floats:
    values, wrong = numbers(column)
    unusable = np.union1d(wrong, np.flatnonzero(~np.isfinite(values)))
    if unusable.size:
        row = int(unusable[0])
        raise bad(f"a weight is {shown(column.iloc[row])}", where=f"{path.name}, column {column.name!r}, row {row + 2}",
                  allowed="numbers >= 0", remedy="correct the cell")  # fmt: skip
    return values


def _in_order(edges: Edges, units: tuple[str, ...]) -> Edges:
    """Links between units by name, where the file numbers them all from 0 or 1 and these are not their names."""
    ids = {*edges.focal, *edges.neighbor}
    for first in (0, 1):
        named = {str(first + i): unit for i, unit in enumerate(units)}
        if ids == named.keys() and not ids & set(units):
            focal, neighbor = (np.array([named[i] for i in column], object) for column in (edges.focal, edges.neighbor))
            return Edges.between(focal, neighbor, edges.weight)
    return edges


def _from_edges(edges: Edges, units: tuple[str, ...], others: Others, path: Path) -> sp.csr_array:
    position = {unit: i for i, unit in enumerate(units)}
    unknown = list(dict.fromkeys(label for label in (*edges.focal, *edges.neighbor) if label not in position))
    if unknown and (others == "error" or not position.keys() & {*edges.focal}):
        raise bad(f"{len(unknown)} units are not in the panel: {listed(unknown)}", where=path.name,
                  allowed=f"the panel's units, such as {listed(units, 3)}",
                  remedy='correct the names, or leave the others out with others = "drop"')  # fmt: skip
    inside = np.array([a in position and b in position for a, b in zip(edges.focal, edges.neighbor, strict=True)], bool)
    i, j = (_positions(labels[inside], position) for labels in (edges.focal, edges.neighbor))
    return sp.csr_array((edges.weight[inside], (i, j)), shape=(len(units), len(units)))


def _check_whole(edges: Edges, units: tuple[str, ...], path: Path) -> None:
    absent = [unit for unit in units if unit not in edges.named]
    if absent:
        raise bad(f"has no row for {listed(absent, 12)}", where=path.name, allowed="links of every unit of the panel",
                  remedy='add them, leave those units out, or set islands = "nearest"')  # fmt: skip


def _positions(labels: Iterable[str], position: dict[str, int]) -> Codes:
    return np.array([position[label] for label in labels], dtype=np.intp)


def _square(matrix: sp.csr_array | Floats, units: tuple[str, ...], path: Path) -> sp.csr_array:
    n = len(units)
    if matrix.shape != (n, n) or matrix.dtype.kind not in "fiub":
        size = " x ".join(map(str, matrix.shape)) or "a single number"
        raise bad(f"W is {size} of {matrix.dtype}", where=path.name,
                  allowed=f"{n} x {n} numbers, one row per unit in the panel's order",
                  remedy="give W for exactly the panel's units")  # fmt: skip
    return sp.csr_array(matrix, dtype=np.float64)
