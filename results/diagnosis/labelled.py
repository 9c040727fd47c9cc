"""A diagnosis as labelled arrays of xarray: each measure by dials, estimator, term and error type."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from results.store.labelled import Axes, axes_of, spread
from sim.errors import bad, one_of

if TYPE_CHECKING:
    from results.diagnosis.diagnose import Diagnosis

KEYS = ("estimator", "term", "error")
NUMBERS = ("mcse", "lower", "upper", "n")  # groups beside the values, which stand at the root


def labelled(diagnosis: Diagnosis, sample: str = "own") -> xr.DataTree:
    """Values at the root, and groups of the same names for their Monte Carlo errors, intervals and numbers of fits.

    A measure has the dimensions that it needs; NaN where it is not defined. Raises BadInput for an unknown sample.
    """
    frame = diagnosis.frame[diagnosis.frame["sample"] == sample]
    if frame.empty:
        raise bad(f"no sample {sample!r}", where="to_xarray", allowed=one_of(diagnosis.frame["sample"].unique()),
                  remedy="choose one of them")  # fmt: skip
    axes = axes_of(diagnosis.cells, {*KEYS, *frame["measure"].unique()})
    parts = dict(iter(frame.groupby("measure", sort=False)))
    found = {name: xr.Dataset({str(measure): _array(rows, axes, name, len(diagnosis.cells))
                               for measure, rows in parts.items()}) for name in ("value", *NUMBERS)}  # fmt: skip
    found["value"].attrs = {"alpha": diagnosis.alpha, "worlds": diagnosis.worlds,
                            "held_fixed": ", ".join(diagnosis.held_fixed)}  # fmt: skip
    return xr.DataTree.from_dict({"/": found["value"], **{f"/{name}": found[name] for name in NUMBERS}})


def _array(rows: pd.DataFrame, axes: Axes, number: str, cells: int) -> xr.DataArray:
    """One number of one measure."""
    keys = [key for key in KEYS if key == "estimator" or (rows[key] != "").any()]
    labels = {key: list(dict.fromkeys(rows[key])) for key in keys}
    values = np.full((cells, *map(len, labels.values())), np.nan)
    places = [rows[key].map({label: at for at, label in enumerate(labels[key])}).to_numpy() for key in keys]
    values[(rows["cell"].to_numpy(), *places)] = rows[number].to_numpy(dtype=np.float64)
    coordinates = dict(zip(axes.names, axes.values, strict=True)) | {key: np.array(labels[key]) for key in keys}
    return xr.DataArray(spread(values, axes, np.nan), coordinates, (*axes.names, *keys))
