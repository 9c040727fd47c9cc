"""A pilot before a run: a few tiles of each cell, and from them the time, bytes and Monte Carlo errors of all of it."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.running.runner import run, schema_of
from experiments.running.tasks import runner_of
from experiments.study.study import BLOCK_UNIT, Study
from results.diagnosis.diagnose import PROPORTIONS, diagnose
from results.store import ZarrStore
from results.verdict.bias_table import key_terms
from sim.streams import TILE, worlds_reached

TILES = 8  # of each cell: its Monte Carlo errors are then known up to a tenth
SHOWN = ("bias", "coverage", "rejection")


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a run will take and give.

    seconds: of one worker, all cells. bytes: of the store. errors: one row a cell and measure, with the largest Monte
    Carlo error of any estimator's key term after all replications (columns cell, measure, estimator, term, error,
    mcse). pilot: replications a cell that this rests on.
    """

    seconds: float
    bytes: int
    errors: pd.DataFrame
    pilot: int


def pilot(study: Study, replications: int) -> Forecast:
    """Run a few tiles of each cell and say what `replications` of them will take and give."""
    rows = min(TILES * TILE, replications)
    block = -(-rows // BLOCK_UNIT) * BLOCK_UNIT
    small = study.resized(replications=rows, block=block)
    settling = _seconds(small)  # settles worlds, which the runs below find settled
    with tempfile.TemporaryDirectory() as folder:
        empty = _bytes(Path(folder) / "empty.zarr", small, filled=False)
        begin = time.perf_counter()
        used = _bytes(Path(folder) / "pilot.zarr", small, filled=True)
        drawing = time.perf_counter() - begin
        frame = diagnose(ZarrStore.open(Path(folder) / "pilot.zarr")).frame
    reached = worlds_reached(rows, study.world_count)
    a_world = max(settling - drawing, 0.0) / reached
    seconds = drawing * replications / rows + a_world * worlds_reached(replications, study.world_count)
    size = empty + (used - empty) * replications / rows
    layouts = small.layouts(small.cells[0].design.schema)
    key = {(name, term) for name, layout in layouts.items() for term in key_terms(layout)}
    errors = pd.DataFrame(list(_errors(frame, key, study.world_count, replications / rows)),
                          columns=["cell", "measure", "estimator", "term", "error", "mcse"])  # fmt: skip
    return Forecast(seconds, int(size), errors, rows)


def _seconds(study: Study) -> float:
    """Seconds of a first run of every cell, what is settled before it included."""
    begin = time.perf_counter()
    for cell in study.cells:
        runner_of(study, cell.index).run(0, study.replications)
    return time.perf_counter() - begin


def _bytes(path: Path, study: Study, *, filled: bool) -> int:
    """Bytes of a study's store, with its results or without."""
    if filled:
        run(study, store=path)
    else:
        ZarrStore.create(path, schema_of(study))
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _errors(frame: pd.DataFrame, key: set[tuple[str, str]], worlds: int, factor: float) -> Iterator[tuple[object, ...]]:
    """The largest Monte Carlo error of each cell and measure after `factor` times as many replications."""
    own = frame[(frame["sample"] == "own") & frame["measure"].isin(SHOWN) & np.isfinite(frame["mcse"])]
    spread = frame[(frame["sample"] == "own") & (frame["measure"] == "empirical_se")]
    sd = {(row["cell"], row["estimator"], row["term"]): row["value"] for row in spread.to_dict("records")}
    largest: dict[tuple[object, object], tuple[object, ...]] = {}
    for row in own.to_dict("records"):
        if (row["estimator"], row["term"]) not in key:
            continue
        n = float(row["n"])
        share = row["measure"] in PROPORTIONS and 0 < row["value"] < 1
        alone = (row["value"] * (1 - row["value"]) / n if share
                 else sd.get((row["cell"], row["estimator"], row["term"]), math.nan) ** 2 / n)  # fmt: skip
        mcse = projected(row["mcse"], alone if row["measure"] == "bias" or share else math.nan, n, worlds, factor)
        place = row["cell"], row["measure"]
        if place not in largest or mcse > float(str(largest[place][-1])):
            largest[place] = (*place, row["estimator"], row["term"], row["error"], mcse)
    yield from largest.values()


def projected(mcse: float, alone: float, n: float, worlds: int, factor: float) -> float:
    """The Monte Carlo error after `factor` times as many replications.

    alone: the variance that independent fits would have (NaN where that is not known: the error then falls as the root
    of the replications). With worlds the excess over it, the design effect 1 + (m - 1) r of m fits a world, gives the
    correlation r of fits of one world (Kish 1965), and the later number of fits a world the later design effect.
    """
    if worlds == 1 or not alone > 0:
        return mcse / math.sqrt(factor)
    a_world, later = (count / worlds_reached(int(count), worlds) for count in (n, n * factor))
    excess = max(mcse**2 / alone - 1, 0.0)
    correlation = min(excess / max(a_world - 1, 1.0), 1.0)
    return math.sqrt(alone / factor * (1 + (later - 1) * correlation))
