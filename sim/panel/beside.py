"""A panel as one Parquet file that stands beside a study file: whole numbers and all digits, with units' facts and W.

Columns: `unit`, `period`, one for every variable, `unit:NAME` for every attribute of the units, and `weights:NAME`,
which holds in a unit's first row its neighbours as JSON, {"standardize": ..., "links": {unit: weight}}.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from sim.errors import Problem, bad, listed
from sim.panel.panel import Panel
from sim.weights import Weights

if TYPE_CHECKING:
    import pandas as pd

ENDING = ".parquet"
FACT, LINKS = "unit:", "weights:"


def write_beside(panel: Panel, path: Path) -> None:
    """Write a balanced panel, R = 1."""
    import pandas as pd

    periods, units = len(panel.periods), len(panel.units)
    columns: dict[str, Any] = {"unit": np.tile(panel.units, periods), "period": np.repeat(panel.periods, units)}
    columns |= {name: values[0].ravel() for name, values in panel.variables.items()}
    columns |= {f"{FACT}{name}": np.tile(values, periods) for name, values in panel.attributes.items()}
    rest = [None] * (units * (periods - 1))
    columns |= {f"{LINKS}{name}": [*_links(weights), *rest] for name, weights in panel.weights.items()}
    pd.DataFrame(columns).to_parquet(path, index=False)


def read_beside(path: Path, where: str) -> Panel:
    """The panel of such a file; raises BadInput, naming `where` it is asked for."""
    from sim.panel.files import read_frame  # pandas is slow to import

    if not path.is_file():
        raise bad(f"there is no file {path}", where=where, allowed="a Parquet file, relative to the study file",
                  remedy="correct the path, or copy the file")  # fmt: skip
    frame = read_frame(path)
    if problem := _unsound(frame, path, where):
        raise bad(problem.what, where=where, allowed=problem.allowed, remedy=problem.remedy)
    return _panel(frame, path)


def _unsound(frame: pd.DataFrame, path: Path, where: str) -> Problem | None:
    """What is wrong with a table: columns that are missing, or rows that are not one a unit and period."""
    if missing := [name for name in ("unit", "period") if name not in frame.columns]:
        return Problem(f"{path} has no column {listed(missing)}", where, "columns unit and period", "add them")
    count = frame["unit"].nunique() * frame["period"].nunique()
    if len(frame) != count or frame.duplicated(["unit", "period"]).any():
        return Problem(f"{path} is not balanced", where, "one row a unit and period", "complete the rows")
    return None


def _panel(frame: pd.DataFrame, path: Path) -> Panel:
    units = tuple(str(unit) for unit in dict.fromkeys(frame["unit"]))
    position = {unit: i for i, unit in enumerate(units)}
    frame = frame.assign(unit=frame["unit"].astype(str))
    frame = frame.iloc[np.lexsort((frame["unit"].map(position), frame["period"]))]
    periods = tuple(int(period) for period in dict.fromkeys(frame["period"]))
    shape, first = (1, len(periods), len(units)), frame.iloc[: len(units)]
    variables, attributes, weights = {}, {}, {}
    for name in frame.columns.drop(["unit", "period"]):
        if name.startswith(LINKS):
            weights[name.removeprefix(LINKS)] = _weights(units, frame[name].dropna(), name.removeprefix(LINKS))
        elif name.startswith(FACT):
            values = first[name].to_numpy()
            attributes[name.removeprefix(FACT)] = values.astype(str) if values.dtype.kind not in "fiub" else values
        else:
            variables[name] = _numbers(frame[name], path).reshape(shape)
    return Panel(units, periods, variables, attributes=attributes, weights=weights)


def _numbers(column: pd.Series[Any], path: Path) -> np.ndarray:
    try:
        return column.to_numpy(dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise bad(f"column {column.name!r} holds text", where=str(path), allowed="numbers",
                  remedy=f"name it {FACT}{column.name} where it is a fact of the units") from error  # fmt: skip


def _links(weights: Weights) -> list[str]:
    matrix = weights.matrix
    return [
        json.dumps({"standardize": weights.standardize, "links": {
            weights.units[j]: float(value) for j, value in zip(matrix.indices[start:stop], matrix.data[start:stop],
                                                               strict=True)}}, ensure_ascii=False)
        for start, stop in zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True)
    ]  # fmt: skip


def _weights(units: tuple[str, ...], texts: pd.Series[Any], name: str) -> Weights:
    rows = [json.loads(text) for text in texts]
    position = {unit: i for i, unit in enumerate(units)}
    triples = [(i, position[unit], value) for i, row in enumerate(rows) for unit, value in row["links"].items()]
    at, to, values = zip(*triples, strict=True)
    links = np.array(at, dtype=np.int32), np.array(to, dtype=np.int32)  # as W has them that were built in memory
    matrix: sp.csr_array[Any, tuple[int, int]] = sp.csr_array((np.array(values), links), shape=(len(units),) * 2)
    matrix.sort_indices()
    return Weights(units, matrix, rows[0]["standardize"], name)
