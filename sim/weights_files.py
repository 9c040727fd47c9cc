"""Weights from files: edge lists and matrices as csv, Excel, Stata, GAL, GWT, NumPy and Matrix Market.

What a file leaves open is asked about: in which order its rows stand, which column holds weights, whether a list names
each link once, and whether its numbers are distances.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from sim.arrays import Floats
from sim.errors import UNREADABLE, BadInput, amount, bad, check_file, closest, first_line, listed, number_in
from sim.panel_files import (
    TablePlace,
    cell_text,
    numbers,
    read_csv_text,
    read_frame,
    separator_of,
    text_of,
    unit_labels,
)
from sim.weights import Coordinates, Islands, Standardize, Strength, Weights, connected

Others = Literal["error", "drop"]
FILES = (".csv", ".xlsx", ".dta", ".gal", ".gwt", ".npy", ".mtx")
ENDS = (
    ("focal", "neighbor"), ("focal", "neighbour"), ("from", "to"), ("origin", "destination"), ("orig", "dest"),
    ("source", "target"), ("起点", "终点"), ("出发", "到达"),
)  # words of the names of two columns that are the ends of a link  # fmt: skip
LOOSE = (("i", "j"), ("1", "2"), ("o", "d"), ("a", "b"))  # the same, in a table that is no matrix
DISTANCES = ("distance", "dist", "km", "miles", "meters", "metres", "距离", "公里")
STRENGTHS = ("weight", "weights", "w", "wij", "value", "权重", *DISTANCES)
NUMBERED = re.compile(r"[^\d]*(\d+)")
LINES = {".gal": "UTF-8 (or GB18030), names without spaces, and for each unit a line with its number of "
                 "neighbours and one of their names",
         ".gwt": "UTF-8 (or GB18030), names without spaces, and below the first line a unit, a neighbour and a number "
                 "in each"}  # fmt: skip
SHAPES = "a square matrix with names in the first row and column, or columns focal, neighbor, weight"


@dataclass(frozen=True, slots=True)
class FileLayout:
    """What a user says of a file of weights; None = what it says itself, where that leaves no doubt.

    sheet: of a workbook. focal, neighbor, weight: columns of a list of links. order: the units of the rows of a matrix
    without names. symmetric: whether a link that stands there once goes both ways.
    """

    sheet: str | None = None
    focal: str | None = None
    neighbor: str | None = None
    weight: str | None = None
    order: tuple[str, ...] | None = None
    symmetric: bool | None = None


AS_IT_STANDS = FileLayout(symmetric=False)


@dataclass(frozen=True, eq=False, slots=True)
class Edges:
    """Links of a file: labels of focal units and their neighbours, weights, each (links,); named: all units in it.

    read: what was found out about its columns, in words. distances: whether a column is called so.
    """

    focal: NDArray[np.object_]
    neighbor: NDArray[np.object_]
    weight: Floats
    named: frozenset[str]
    read: str = ""
    distances: bool = False


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
    of_distance: Strength | None = None,
    cutoff: float = np.inf,
    meant: bool = False,
    layout: FileLayout | None = None,
) -> Weights:
    """Weights from a file, standardised whatever the file holds unless told not to; named after the file.

    .csv, .xlsx, .dta: an edge list with columns focal, neighbor, weight (1 when there is none) or of names that say
    the same, a square matrix with unit names in the first row and column, or one without names whose order `layout`
    says; .gal and .gwt: as libpysal reads them, units named, or numbered from 0 or 1 in the order of `units`; .npy and
    .mtx: N x N in the order of `units`. Raw entries are read for `units` and cut down to `keep` (with its
    `coordinates`) before they are standardised. others: what to do with units of the file that are not in `units`.
    of_distance: the file holds distances, and this makes weights of them, of those up to the cutoff; the nearest unit
    of an island is then that of the file. Raises BadInput, also for links that stand there in one direction alone, and
    for numbers that look like distances unless they are `meant` as they are.
    """
    path, layout = Path(path), layout or FileLayout()
    check_file(path, FILES)
    name = name or path.stem
    content = _read(path, layout)
    if isinstance(content, Edges):
        edges: Edges | None = _in_order(content, units, path, layout)
    elif layout.order is not None:
        edges = _named(_square(content, layout.order, path), layout.order)
    else:
        edges = None
    raw = _square(content, units, path) if edges is None else _from_edges(edges, units, others, path)
    _check_entries(raw, units, path, distances=of_distance is not None)
    raw = _both_ways(raw, units, layout.symmetric, path, distances=of_distance is not None)
    if edges is not None and islands == "error" and (absent := [u for u in keep or units if u not in edges.named]):
        raise bad(f"has no row for {listed(absent, 12)}", where=path.name, allowed="links of every unit of the panel",
                  remedy='add them, leave those units out, or set islands = "nearest"')  # fmt: skip
    if keep is not None and keep != units:
        position = {unit: i for i, unit in enumerate(units)}
        rows = [position[unit] for unit in keep]
        raw = sp.csr_array(raw[rows][:, rows])
    kept, distances = keep or units, None
    if of_distance is not None:
        distances, raw = raw, _from_distances(raw, kept, lambda d: np.where(d <= cutoff, of_distance(d), 0.0), path)
    elif not meant and (look_like_distances(raw) or (edges is not None and edges.distances)):
        raise bad("farther units weigh more: these look like distances", where=path.name,
                  allowed="weights, of which near units have larger ones",
                  remedy='say kind = "distance", or meant = true if they are weights')  # fmt: skip
    made = connected(raw, kept, islands, coordinates, standardize, name, of_distance, distances)
    read = _reading_note(path, content, edges, units, layout)
    if of_distance is None and not meant and (held := _of_geoda(raw, path)):
        read = f"{read} {held}".lstrip()
    return replace(made, read=read)


def _reading_note(
    path: Path, content: Edges | sp.csr_array | Floats, edges: Edges | None, units: tuple[str, ...], layout: FileLayout
) -> str:
    """What a reader should know of how a file was read: nothing where it leaves no choice."""
    if edges is not None and edges is content:
        return edges.read
    if layout.order is None or layout.order == units:
        return _in_file_order(path, units)
    return f"{path.name} names no units: its rows are taken for {listed(layout.order, 3)}."


def _in_file_order(path: Path, units: tuple[str, ...]) -> str:
    return (f"{path.name} names no units: its rows are taken for those of the panel's file in its order "
            f"({listed(units, 3)}).")  # fmt: skip


def _of_geoda(raw: sp.csr_array, path: Path) -> str:
    """What to doubt of the unequal numbers of a .gwt file; nothing of another file."""
    if path.suffix.lower() != ".gwt" or not raw.nnz or np.ptp(raw.data) == 0:
        return ""
    return (f"The numbers {raw.data.min():g} to {raw.data.max():g} of {path.name} are taken for weights. GeoDa writes "
            'distances into .gwt files: say kind = "distance" if they are, meant = true if not.')  # fmt: skip


TRIPLES = 20_000  # in which distances are looked for
APART = 10.0  # the largest distance over the smallest, at least; weights that are nearly equal are no distances
ALIKE = 0.9  # correlation of the two directions, at least, of distances by road


def look_like_distances(raw: sp.csr_array) -> bool:
    """Whether a matrix (N, N) is full, nearly symmetric, unequal and keeps the triangle inequality
    d_ij <= d_ik + d_kj."""
    n = raw.shape[0]
    if n < 3 or raw.nnz < 0.9 * n * (n - 1):
        return False
    d = raw.toarray()
    apart = ~np.eye(n, dtype=bool)
    off, back = d[apart], d.T[apart]
    positive = off[off > 0]
    if np.diag(d).any() or len(positive) < 0.9 * len(off) or positive.max() < APART * positive.min():
        return False
    if not np.allclose(off, back, rtol=1e-6) and np.corrcoef(off, back)[0, 1] < ALIKE:
        return False
    i, j, k = np.random.default_rng(1).integers(0, n, (3, TRIPLES))
    different = (i != j) & (j != k) & (i != k)
    i, j, k = i[different], j[different], k[different]
    return bool((d[i, j] <= (d[i, k] + d[k, j]) * (1 + 1e-6)).mean() > 0.999)


def _from_distances(raw: sp.csr_array, units: tuple[str, ...], strength: Strength, path: Path) -> sp.csr_array:
    """Weights of distances, links that the file does not hold left out; raises BadInput for units at one place."""
    dense = raw.toarray()
    together = np.argwhere((dense <= 0) & ~np.eye(len(units), dtype=bool))
    if raw.nnz > 0.9 * len(units) * (len(units) - 1) and together.size:
        a, b = (units[i] for i in together[0])
        raise bad(f"the distance of {a} and {b} is {dense[tuple(together[0])]:g}", where=path.name,
                  allowed="distances above 0", remedy="correct it")  # fmt: skip
    linked = sp.coo_array(raw)
    apart = (linked.row != linked.col) & (linked.data != 0)
    weight = strength(np.asarray(linked.data[apart], dtype=np.float64))
    return sp.csr_array((weight, (linked.row[apart], linked.col[apart])), shape=raw.shape)


def _check_entries(raw: sp.csr_array, units: tuple[str, ...], path: Path, *, distances: bool) -> None:
    """Raise BadInput for negative distances, and for weights that `Weights.of` refuses whatever they are made of."""
    links = sp.coo_array(raw)
    negative = np.flatnonzero(links.data < 0)
    if negative.size:
        a, b = units[links.row[negative[0]]], units[links.col[negative[0]]]
        what = "distance" if distances else "weight"
        raise bad(f"the {what} of {a} and {b} is {links.data[negative[0]]:g}: there are negative entries",
                  where=path.name, allowed="distances above 0" if distances else "finite entries >= 0",
                  remedy="correct those entries")  # fmt: skip
    own = np.flatnonzero(raw.diagonal())
    if own.size:
        raise bad(f"units are their own neighbours: {listed(units[i] for i in own)}", where=path.name,
                  allowed="a zero diagonal", remedy="set the diagonal to zero")  # fmt: skip


def _both_ways(
    raw: sp.csr_array, units: tuple[str, ...], symmetric: bool | None, path: Path, *, distances: bool
) -> sp.csr_array:
    """Entries (N, N) as they are, or in both directions; raises BadInput for a doubt, and for two that differ."""
    forward = sp.csr_array(raw)
    forward.eliminate_zeros()
    back = sp.csr_array(forward.T)
    both = forward.multiply(back)
    if symmetric is None and both.nnz == 0 and forward.nnz > 1:
        i, j = (int(part[0]) for part in forward.nonzero())
        raise bad(f"each of {forward.nnz} links goes one way alone, such as {units[i]} to {units[j]}", where=path.name,
                  allowed="links in both directions, or a word on it",
                  remedy="say symmetric = true if each goes both ways, or symmetric = false if they are meant as they "
                  "stand")  # fmt: skip
    gap = sp.csr_array(abs(forward - back).multiply(both > 0))
    gap.data[gap.data <= 1e-6 * max(float(abs(forward).max()) if forward.nnz else 0.0, 1e-300)] = 0
    gap.eliminate_zeros()
    if gap.nnz and (symmetric or (symmetric is None and distances)):
        i, j = (int(part[0]) for part in gap.nonzero())
        raise bad(f"{units[i]} to {units[j]} is {raw[i, j]:g}, and {units[j]} to {units[i]} is {raw[j, i]:g}",
                  where=path.name, allowed="the same number in both directions",
                  remedy="correct them, or say symmetric = false if both are meant")  # fmt: skip
    return sp.csr_array(forward.maximum(back)) if symmetric else raw


def keys_of_file(path: Path, units: tuple[str, ...]) -> tuple[dict[str, Any], list[str]]:
    """Keys by which a file gives weights of these units, and what is to be asked about each, in words.

    Raises BadInput for a file that cannot be read. What no key can mend is asked about as well.
    """
    check_file(path, FILES)
    keys: dict[str, Any] = {"kind": "file"}
    asked, layout = [], FileLayout()
    try:
        content = named = _read(path, layout)
        if isinstance(content, Edges):
            content = _in_order(content, units, path, layout)
        counted = content is not named
    except BadInput as error:
        counted, layout = False, replace(layout, order=units)
        content = _read(path, layout)
        if isinstance(content, Edges):
            content = _in_order(content, units, path, layout)
            if not set(units) & content.named:
                raise
        first = error.problems[0]
        keys["units"] = "file"
        asked.append(f"units: {first.what}; are its rows in the order of the panel's file ({listed(units, 3)})? If "
                     "they follow a column of the panel, name it")  # fmt: skip
    if isinstance(content, Edges):
        edges = content
        if edges.read:
            asked.append(edges.read.rstrip(".") + "?")
        if counted:
            asked.append(_in_file_order(path, units).rstrip(".") + "?")
    else:
        edges = _named(_square(content, units, path), units)
        if "units" not in keys:
            asked.append(_in_file_order(path, units).rstrip(".") + "?")
    unknown = [label for label in edges.named if label not in set(units)]
    if unknown and set(units) <= edges.named:
        keys["others"] = "drop"
        asked.append(f"others: {amount(len(unknown), "unit")} not in the panel, such as {listed(sorted(unknown), 3)}: "
                     "leave them out?")  # fmt: skip
    try:
        raw = _from_edges(edges, units, keys.get("others", "error"), path)
        if held := _of_geoda(raw, path):
            asked.append(f"kind: {held}")
        distances = edges.distances or look_like_distances(raw) or look_like_distances(sp.csr_array(raw + raw.T))
        if distances:
            keys["kind"] = "distance"
            asked.append("kind: its numbers look like distances; weights are made 1/distance (power = 1)")
        try:
            _both_ways(raw, units, None, path, distances=distances)
        except BadInput as error:
            once = sp.csr_array(raw).multiply(raw.T).nnz == 0
            keys["symmetric"] = once
            question = "does each link go both ways?" if once else "are both meant?"
            asked.append(f"symmetric: {error.problems[0].what}; {question}")
        _check_entries(raw, units, path, distances=distances)
    except BadInput as error:
        asked += [f"{problem.what}; {problem.remedy}" for problem in error.problems]
    return keys, asked


def matrix_size(path: Path) -> tuple[int, ...] | None:
    """The shape of the matrix that a file holds; None for links between units that it names. Raises BadInput."""
    content = _read(path, AS_IT_STANDS)
    return None if isinstance(content, Edges) else content.shape


def _read(path: Path, layout: FileLayout) -> Edges | sp.csr_array | Floats:
    """What a file holds; raises BadInput for one that cannot be read."""
    try:
        match path.suffix.lower():
            case ".npy":
                return np.asarray(np.load(path, allow_pickle=False))
            case ".mtx":
                from scipy.io import mmread

                return sp.csr_array(mmread(path, spmatrix=False))
            case ".csv" | ".xlsx" | ".dta":
                return _of_table(path, layout)
            case extension:
                from libpysal.graph import read_gal, read_gwt

                text, _ = text_of(path, extension[1:])
                with TemporaryDirectory() as folder:  # libpysal reads the encoding of the system alone
                    copy = Path(folder) / path.name
                    copy.write_text(text, encoding="locale")
                    links = (read_gal if extension == ".gal" else read_gwt)(copy).adjacency.reset_index()
                # libpysal reads 01001 as 1001. An island appears as its own neighbour with weight 0.
                ids = {str(int(word)): word for word in text.split() if re.fullmatch("0[0-9]+", word)}
                focal, neighbor = (np.array([ids.get(label, label) for label in unit_labels(links[end])], object)
                                   for end in ("focal", "neighbor"))  # fmt: skip
                weight = links["weight"].to_numpy(np.float64)
                return Edges(focal, neighbor, weight, frozenset((*focal, *neighbor)))
    except BadInput:
        raise
    except (*UNREADABLE, UnicodeError) as error:
        lines = LINES.get(path.suffix.lower())  # whose errors are libpysal's own, and say nothing to a user
        raise bad(f"cannot be read as {path.suffix[1:]}" + ("" if lines else f" ({first_line(error)})"),
                  where=path.name, allowed=lines or "an edge list or an N x N matrix of numbers",
                  remedy="save it again") from error  # fmt: skip


def _of_table(path: Path, layout: FileLayout) -> Edges | Floats:
    """Links or a matrix of a table; raises BadInput for a matrix without names whose order nobody says."""
    plain = _without_header(path, layout.sheet)
    if plain is not None:
        heads = numbers(plain.iloc[0])[0]
        counted = len(plain) == len(plain.columns) + 1 and (np.diff(heads) == 1).all() and heads[0] in (0, 1)
        table, links = plain.iloc[int(counted) :].reset_index(drop=True), False  # without numbers of the columns
        first = 1 + int(counted)
    else:
        first, table = 2, read_csv_text(path) if path.suffix.lower() == ".csv" else read_frame(path, layout.sheet)
        table.columns = pd.Index([str(name).strip() for name in table.columns])
        links = bool(layout.focal or layout.neighbor or _ends(list(table.columns), ENDS))
        if not links and (named := _named_matrix(table, path)) is not None:
            return named
    square = not links and len(table) == len(table.columns) > 2
    text = any(numbers(table[name])[1].size for name in table.columns)
    if plain is None and (text or not square):
        return _edge_list(table, path, layout)
    if plain is not None and not square:
        raise _no_names(path, f"is {len(plain)} x {len(plain.columns)} numbers without names")
    if layout.order is None and not text:
        raise _no_names(path, "has no names in its first row" if plain is not None else "has no names of its rows")
    return np.column_stack([_weights_of(table.iloc[:, j], path, j, first=first) for j in range(len(table.columns))])


def _no_names(path: Path, what: str) -> BadInput:
    return bad(what, where=path.name, allowed=SHAPES,
               remedy='add the units\' names, or say units = "file" (rows in the order of the panel\'s file) or '
               'units = "COLUMN" (in that of a column of the panel)')  # fmt: skip


def _named(matrix: sp.csr_array, order: tuple[str, ...]) -> Edges:
    """The links of a matrix whose rows have these names."""
    links, names = sp.coo_array(matrix), np.array(order, dtype=object)
    return Edges(names[links.row], names[links.col], np.asarray(links.data), frozenset(order))


def _without_header(path: Path, sheet: str | None) -> pd.DataFrame | None:
    """A table whose first row holds numbers alone, so that it is no header; None for others."""
    if path.suffix.lower() == ".dta":
        return None
    if path.suffix.lower() == ".csv":
        text, _ = text_of(path)
        header = text.lstrip("\r\n").partition("\n")[0].split(separator_of(text))
        if len(header) < 3 or not all(map(_is_number, header)):
            return None
        return read_csv_text(path, TablePlace(header=0))
    table = read_frame(path, sheet, place=TablePlace(header=0))
    first = table.iloc[0].tolist()
    return table if len(first) > 2 and all(map(_is_number, map(str, first))) else None


def _is_number(cell: str) -> bool:
    return bool(np.isfinite(number_in(cell.strip().strip('"').replace(",", "."))))


def _named_matrix(table: pd.DataFrame, path: Path) -> Edges | None:
    """The links of a square matrix whose first column and header name its units; None for another table.

    The header may number the columns in place of names: v1, v2, ... in the order of the rows.
    """
    if len(table.columns) != len(table) + 1 or len(table) < 2:
        return None
    named = [str(name).strip() for name in table.columns[1:]]
    plain = [name[:-2] if name.endswith(".0") and name[:-2].isdecimal() else name for name in named]  # 1.0 is 1
    rows, heads = unit_labels(table.iloc[:, 0]), unit_labels(pd.Series(plain))
    counted = [int(match[1]) for head in heads if (match := NUMBERED.fullmatch(str(head)))]
    if len(table) > 2 and sorted(rows) != sorted(heads) and sorted(counted) == [*range(1, len(rows) + 1)]:
        if counted != sorted(counted):
            raise bad(f"its columns are numbered out of order: {listed(named, 5)}", where=path.name,
                      allowed="names of units, or numbers in the order of the rows",
                      remedy="write the units' names into the first row")  # fmt: skip
        heads = rows
    if sorted(rows) != sorted(heads) or "" in rows or len(set(rows)) < len(rows):
        return None
    weights = np.column_stack([_weights_of(table.iloc[:, j + 1], path, j, blank=True) for j in range(len(rows))])

    # an empty diagonal and an empty triangle are zeros, other gaps are none
    gaps = np.isnan(weights)
    for part in (np.eye(len(rows), dtype=bool), np.triu(np.ones_like(gaps), 1), np.tril(np.ones_like(gaps), -1)):
        if gaps[part].all():
            weights = np.where(part, 0.0, weights)
    left = np.argwhere(np.isnan(weights))
    if left.size:
        i, j = (int(at) for at in left[0])
        raise bad("a weight is missing", where=f"{path.name}, column {table.columns[j + 1]!r}, row {i + 2}",
                  allowed="numbers >= 0", remedy="fill the cell")  # fmt: skip
    row, column = np.nonzero(weights)
    return Edges(rows[row], heads[column], weights[row, column], frozenset(rows))


def _ends(columns: list[str], pairs: tuple[tuple[str, str], ...] = (*ENDS, *LOOSE)) -> tuple[str, str] | None:
    """The two columns whose names say that they are the ends of a link: from, to; city_i, city_j; id1, id2."""
    parts = {tuple(re.findall(r"[^\W\d_]+|\d+", name.lower())): name for name in columns}
    for one, other in pairs:
        for words, name in parts.items():
            swapped = tuple(other if word == one else word for word in words)
            if one in words and swapped in parts:
                return name, parts[swapped]
    return None


def _edge_list(table: pd.DataFrame, path: Path, layout: FileLayout) -> Edges:
    columns = [str(name) for name in table.columns]
    found = _ends(columns) or ("focal", "neighbor")
    ends = (layout.focal or found[0], layout.neighbor or found[1])
    for key, wanted in zip(("focal", "neighbor"), ends, strict=True):
        if wanted not in columns:
            raise bad(f"there is no column {wanted!r} among {listed(columns)}", where=path.name,
                      allowed=f"columns focal, neighbor, weight, or {SHAPES.partition(', or')[0]}",
                      remedy=closest(wanted, columns, f'name it: {key} = "..."'))  # fmt: skip
    called = _strength(columns, ends, layout, path)
    weight = np.ones(len(table)) if called is None else _weights_of(table[called], path)
    focal, neighbor = unit_labels(table[ends[0]]), unit_labels(table[ends[1]])
    pairs = pd.MultiIndex.from_arrays([focal, neighbor])
    twice = pairs[pairs.duplicated()]
    if len(twice):
        raise bad(f"links appear more than once: {listed((f'{a} to {b}' for a, b in twice), 3)}", where=path.name,
                  allowed="one row per link", remedy="remove the duplicates")  # fmt: skip
    usual = ends == ("focal", "neighbor") and called in (None, "weight")
    said = "all alike" if called is None else f"by {called!r}"
    return Edges(focal, neighbor, weight, frozenset((*focal, *neighbor)),
                 read="" if usual else f"links of {path.name} go from {ends[0]!r} to {ends[1]!r}, {said}.",
                 distances=called is not None and _words(called, DISTANCES))  # fmt: skip


def _words(name: str, words: tuple[str, ...]) -> bool:
    parts = re.findall(r"[^\W\d_]+", name.lower())
    return any(word in parts or (not word.isascii() and word in name) for word in words)


def _strength(columns: list[str], ends: tuple[str, str], layout: FileLayout, path: Path) -> str | None:
    """The column of weights of a list of links, None where it has none; raises BadInput for a doubt."""
    left = [name for name in columns if name not in ends and not name.startswith("Unnamed")]
    if layout.weight is not None:
        if layout.weight not in columns:
            raise bad(f"there is no column {layout.weight!r} among {listed(columns)}", where=path.name,
                      allowed="a column of weights", remedy=closest(layout.weight, columns))  # fmt: skip
        return layout.weight
    known = [name for name in left if name.lower() == "weight"] or [name for name in left if _words(name, STRENGTHS)]
    if len(known) == 1 or (not known and len(left) == 1):
        return (known or left)[0]
    if left:
        raise bad(f"which column holds the weights: {listed(known or left)}?", where=path.name,
                  allowed="one of them", remedy=f'say weight = "{(known or left)[0]}"')  # fmt: skip
    return None


def _weights_of(
    column: pd.Series[Any], path: Path, number: int | None = None, *, blank: bool = False, first: int = 2
) -> Floats:
    """A column of weights, (rows,), of which the first is in that row of the file; raises BadInput for text and gaps.

    blank: whether gaps stay NaN.
    """
    values, wrong = numbers(column)
    unusable = wrong if blank else np.union1d(wrong, np.flatnonzero(~np.isfinite(values)))
    if unusable.size:
        at = int(unusable[0])
        called = repr(column.name) if number is None or isinstance(column.name, str) else str(number + 1)
        raise bad(f"a weight is {cell_text(column.iloc[at])}", where=f"{path.name}, column {called}, row {at + first}",
                  allowed="numbers >= 0, their digits without commas", remedy="correct the cell")  # fmt: skip
    return values


def _in_order(edges: Edges, units: tuple[str, ...], path: Path, layout: FileLayout) -> Edges:
    """Links between units by name, where the file numbers them all from 0 or 1 and these are not their names.

    Raises BadInput for a table whose order nobody says; .gal and .gwt are in that of the units.
    """
    ids = {*edges.named}
    order = layout.order or units
    for first in (0, 1):
        named = {str(first + i): unit for i, unit in enumerate(order)}
        if ids == named.keys() and not ids & set(units):
            if layout.order is None and path.suffix.lower() not in (".gal", ".gwt"):
                raise _no_names(path, f"numbers its units from {first}")
            focal, neighbor = (np.array([named[i] for i in column], object) for column in (edges.focal, edges.neighbor))
            return Edges(focal, neighbor, edges.weight, frozenset(order), edges.read, edges.distances)
    return edges


def _from_edges(edges: Edges, units: tuple[str, ...], others: Others, path: Path) -> sp.csr_array:
    position = {unit: i for i, unit in enumerate(units)}
    unknown = list(dict.fromkeys(label for label in (*edges.focal, *edges.neighbor) if label not in position))
    if unknown and (others == "error" or not position.keys() & {*edges.focal}):
        raise bad(f"{amount(len(unknown), "unit")} not in the panel: {listed(unknown)}", where=path.name,
                  allowed=f"the panel's units, such as {listed(units, 3)}",
                  remedy='correct the names, or leave the others out with others = "drop"')  # fmt: skip
    inside = np.array([a in position and b in position for a, b in zip(edges.focal, edges.neighbor, strict=True)], bool)
    i, j = ([position[label] for label in labels[inside]] for labels in (edges.focal, edges.neighbor))
    return sp.csr_array((edges.weight[inside], (i, j)), shape=(len(units), len(units)))


def _square(matrix: sp.csr_array | Floats, units: tuple[str, ...], path: Path) -> sp.csr_array:
    n = len(units)
    if matrix.shape != (n, n) or matrix.dtype.kind not in "fiub":
        size = " x ".join(map(str, matrix.shape)) or "a single number"
        raise bad(f"W is {size} of {matrix.dtype}", where=path.name,
                  allowed=f"{n} x {n} numbers, one row per unit in the panel's order",
                  remedy="give W for exactly the panel's units")  # fmt: skip
    return sp.csr_array(matrix, dtype=np.float64)
