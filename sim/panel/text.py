"""A panel as a text that holds every number of it, so that settings can carry it: to a store, to a worker, and back."""

from __future__ import annotations

import base64
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sim.errors import bad
from sim.panel.panel import Panel
from sim.panel.schema import Roles
from sim.weights import Weights


def panel_text(panel: Panel) -> str:
    """A panel (R = 1) with attributes and weights as a text: a compressed archive in base 85.

    Equal panels have equal texts as long as the compression library is the same. Raises BadInput for R > 1.
    """
    if panel.replications > 1:
        raise bad(f"{panel.replications} replications", where="a panel as text", allowed="one panel, R = 1",
                  remedy="use panel.replication(r)")  # fmt: skip
    arrays: dict[str, Any] = {f"v:{name}": np.where(_shown(panel), x, 0.0) for name, x in panel.variables.items()}
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
        "roles": [roles.outcome, roles.treatment, roles.controls, roles.mediators],
        "variables": list(panel.variables),
        "attributes": list(panel.attributes),
        "weights": [[name, w.standardize, w.name] for name, w in panel.weights.items()],
    }
    file = io.BytesIO()
    np.savez_compressed(file, about=np.array(json.dumps(about, ensure_ascii=False)), **arrays)
    return base64.b85encode(file.getvalue()).decode("ascii")


@lru_cache(maxsize=8)
def panel_from(text: str, where: str, remedy: str) -> Panel:
    """The panel that a text of `panel_text` holds; raises BadInput, with the place and the remedy, for any other."""
    try:
        with np.load(io.BytesIO(base64.b85decode(text)), allow_pickle=False) as arrays:
            return _unpacked(arrays)
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise bad("panel is not a panel's text", where=where, allowed="what panel_text wrote",
                  remedy=remedy) from error  # fmt: skip


def _unpacked(arrays: Mapping[str, Any]) -> Panel:
    about = json.loads(str(arrays["about"]))
    units = tuple(about["units"])
    outcome, treatment, controls, mediators = about["roles"]
    weights = {}
    for name, standardize, own in about["weights"]:
        data, indices, indptr = (arrays[f"w:{name}:{part}"] for part in ("data", "indices", "indptr"))
        matrix: sp.csr_array[Any, tuple[int, int]] = sp.csr_array((data, indices, indptr), shape=(len(units),) * 2)
        weights[name] = Weights(units, matrix, standardize, own)
    return Panel(
        units=units,
        periods=tuple(about["periods"]),
        variables={name: arrays[f"v:{name}"] for name in about["variables"]},
        roles=Roles(outcome, treatment, tuple(controls), tuple(mediators)),
        attributes={name: arrays[f"a:{name}"] for name in about["attributes"]},
        observed=arrays.get("observed"),
        weights=weights,
    )


def _shown(panel: Panel) -> NDArray[np.bool_]:
    return np.ones(1, dtype=bool) if panel.observed is None else panel.observed
