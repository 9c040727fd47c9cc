"""A file, or a panel, as a text that holds all of it, so that settings can carry it: to a store, a worker, and back.

That of a file is `FILE:NAME:BYTES`, the bytes compressed and in base 85. A setting that names a file becomes such a
text when it is made.
"""

from __future__ import annotations

import base64
import io
import json
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from sim.errors import bad, listed
from sim.panel import Panel
from sim.schema import Roles
from sim.weights import Weights

if TYPE_CHECKING:
    import pandas as pd


MARK = "FILE:"


def is_text(setting: str) -> bool:
    """Whether a setting holds a file rather than its path."""
    return setting.startswith(MARK)


def file_text(setting: str, extensions: tuple[str, ...]) -> str:
    """The text of the file at a path, with one of these extensions; a text stays one. Raises BadInput for no file."""
    if is_text(setting):
        return setting
    path, allowed = Path(setting), "a file ending in " + ", ".join(extensions) + ", its path relative to the study file"
    if not setting or not path.is_file() or path.suffix.lower() not in extensions:
        what = f"there is no file {setting}" if setting else "path is missing"
        ends = f"{path.name} ends in {path.suffix or 'nothing'}"
        raise bad(ends if path.is_file() else what, where="path", allowed=allowed, remedy="correct the path")
    return f"{MARK}{path.name}:{base64.b85encode(zlib.compress(path.read_bytes(), 9)).decode('ascii')}"


@contextmanager
def as_file(text: str) -> Iterator[Path]:
    """The file again, under its own name in a folder of its own; raises BadInput for a text that holds none."""
    name, _, packed = text.removeprefix(MARK).partition(":")
    try:
        content = zlib.decompress(base64.b85decode(packed))
    except (ValueError, zlib.error) as error:
        raise bad("path is not a file's text", where="path", allowed="a path", remedy="name the file") from error
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / Path(name).name
        path.write_bytes(content)
        yield path


# A panel as a text.


def panel_text(panel: Panel) -> str:
    """A panel (R = 1) with attributes and weights as a text: a compressed archive in base 85.

    Equal panels have equal texts as long as the compression library is the same. Raises BadInput for R > 1.
    """
    if panel.replications > 1:
        raise bad(f"{panel.replications} replications", where="a panel as text", allowed="one panel, R = 1",
                  remedy="use panel.replication(r)")  # fmt: skip
    seen = np.True_ if panel.observed is None else panel.observed
    arrays: dict[str, Any] = {f"v:{name}": np.where(seen, x, 0.0) for name, x in panel.variables.items()}
    arrays |= {f"a:{name}": x.astype(str) if x.dtype.kind == "O" else x for name, x in panel.attributes.items()}
    if panel.observed is not None:
        arrays["observed"] = panel.observed
    for name, w in panel.weights.items():
        parts = {"data": w.matrix.data, "indices": w.matrix.indices, "indptr": w.matrix.indptr}
        arrays |= {f"w:{name}:{part}": values for part, values in parts.items()}
    roles = panel.roles
    about = {
        "units": panel.units,
        "periods": [int(period) for period in panel.periods],
        "roles": [roles.outcome, roles.treatment, roles.controls, roles.mediators, *([True] * roles.continuous)],
        "variables": list(panel.variables),
        "attributes": list(panel.attributes),
        "weights": [[name, w.standardize, w.name] for name, w in panel.weights.items()],
    }
    about |= {"weight": roles.weight} if roles.weight is not None else {}
    about |= {"instruments": roles.instruments} if roles.instruments else {}
    file = io.BytesIO()
    np.savez_compressed(file, about=np.array(json.dumps(about, ensure_ascii=False)), **arrays)
    return base64.b85encode(file.getvalue()).decode("ascii")


@lru_cache(maxsize=8)
def panel_from(text: str, where: str, remedy: str) -> Panel:
    """The panel that a text of `panel_text` holds; raises BadInput, with the place and the remedy, for any other."""
    try:
        with np.load(io.BytesIO(base64.b85decode(text)), allow_pickle=False) as arrays:
            about = json.loads(str(arrays["about"]))
            units = tuple(about["units"])
            outcome, treatment, controls, mediators, *continuous = about["roles"]
            weights = {}
            for name, standardize, own in about["weights"]:
                links = (arrays[f"w:{name}:{part}"] for part in ("data", "indices", "indptr"))
                weights[name] = Weights(units, sp.csr_array(tuple(links), shape=(len(units),) * 2), standardize, own)
            roles = Roles(outcome, treatment, tuple(controls), tuple(mediators), continuous=bool(continuous),
                          instruments=tuple(about.get("instruments", ())), weight=about.get("weight"))  # fmt: skip
            return Panel(
                units=units,
                periods=tuple(about["periods"]),
                variables={name: arrays[f"v:{name}"] for name in about["variables"]},
                roles=roles,
                attributes={name: arrays[f"a:{name}"] for name in about["attributes"]},
                observed=arrays.get("observed"),
                weights=weights,
            )
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise bad("panel is not a panel's text", where=where, allowed="what panel_text wrote",
                  remedy=remedy) from error  # fmt: skip


# A panel as one Parquet file that stands beside a study file: whole numbers and all digits, with units' facts and
# W.
#
# Columns: `unit`, `period`, one for every variable, `unit:NAME` for every attribute of the units, and
# `weights:NAME`, which holds in a unit's first row its neighbours as JSON, {"standardize": ..., "links": {unit:
# weight}}.


ENDING = ".parquet"
FACT, LINKS = "unit:", "weights:"


def write_beside(panel: Panel, path: Path | IO[bytes]) -> None:
    """Write a balanced panel, R = 1, into a file, by its path or open."""
    import pandas as pd

    periods, units = len(panel.periods), len(panel.units)
    columns: dict[str, Any] = {"unit": np.tile(panel.units, periods), "period": np.repeat(panel.periods, units)}
    columns |= {name: values[0].ravel() for name, values in panel.variables.items()}
    columns |= {f"{FACT}{name}": np.tile(values, periods) for name, values in panel.attributes.items()}
    rest = [None] * (units * (periods - 1))
    for name, w in panel.weights.items():
        links = []
        for start, stop in zip(w.matrix.indptr[:-1], w.matrix.indptr[1:], strict=True):
            near = zip(w.matrix.indices[start:stop], w.matrix.data[start:stop], strict=True)
            row = {"standardize": w.standardize, "links": {w.units[j]: float(value) for j, value in near}}
            links.append(json.dumps(row, ensure_ascii=False))
        columns[f"{LINKS}{name}"] = [*links, *rest]
    pd.DataFrame(columns).to_parquet(path, index=False)


def read_beside(path: Path, where: str) -> Panel:
    """The panel of such a file; raises BadInput, naming `where` it is asked for."""
    from sim.panel_files import read_frame  # pandas is slow to import

    if not path.is_file():
        raise bad(f"there is no file {path}", where=where, allowed="a Parquet file, relative to the study file",
                  remedy="correct the path, or copy the file")  # fmt: skip
    frame = read_frame(path)
    if missing := [name for name in ("unit", "period") if name not in frame.columns]:
        raise bad(f"{path} has no column {listed(missing)}", where=where, allowed="columns unit and period",
                  remedy="add them")  # fmt: skip
    count = frame["unit"].nunique() * frame["period"].nunique()
    if len(frame) != count or frame.duplicated(["unit", "period"]).any():
        raise bad(f"{path} is not balanced", where=where, allowed="one row a unit and period",
                  remedy="complete the rows")  # fmt: skip

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
            try:
                values = frame[name].to_numpy(dtype=np.float64)
            except (TypeError, ValueError) as error:
                raise bad(f"column {name!r} holds text", where=str(path), allowed="numbers",
                          remedy=f"name it {FACT}{name} where it is a fact of the units") from error  # fmt: skip
            variables[name] = values.reshape(shape)
    return Panel(units, periods, variables, attributes=attributes, weights=weights)


def _weights(units: tuple[str, ...], texts: pd.Series[Any], name: str) -> Weights:
    rows = [json.loads(text) for text in texts]
    position = {unit: i for i, unit in enumerate(units)}
    triples = [(i, position[unit], value) for i, row in enumerate(rows) for unit, value in row["links"].items()]
    at, to, values = zip(*triples, strict=True)
    links = np.array(at, dtype=np.int32), np.array(to, dtype=np.int32)  # as W has them that were built in memory
    matrix: sp.csr_array[Any, tuple[int, int]] = sp.csr_array((np.array(values), links), shape=(len(units),) * 2)
    matrix.sort_indices()
    return Weights(units, matrix, rows[0]["standardize"], name)
