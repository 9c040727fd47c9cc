"""Panels a second on one core with one BLAS thread, everything counted, beside the reference programs and the floor.

Run by `make bench`. Every line is measured in this run; ratios compare what was timed a moment apart.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "support"))

from cluster import environment, open_executor, pin_environment, prepare_process

pin_environment()

import numpy as np  # noqa: E402

from estimators import Estimator, SpatialPanel, TwoWayDID  # noqa: E402
from experiments.references import linearmodels as linearmodels_reference  # noqa: E402
from experiments.references import spreg as spreg_reference  # noqa: E402
from experiments.runner import run  # noqa: E402
from experiments.study import Study  # noqa: E402
from experiments.tasks import runner_of  # noqa: E402
from references import pyfixest_reference  # noqa: E402
from sim import Panel, Streams  # noqa: E402
from sim.paper import Paper  # noqa: E402

DID: tuple[Estimator, ...] = (TwoWayDID(errors=("iid", "hc1", "cluster:unit")),)
FULL = (*DID, *(SpatialPanel(m, t) for m in ("sar", "sem", "sdm") for t in ("direct", "lee-yu")))
BLOCK = 8192


def main() -> None:
    """Print all figures."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--panels", type=int, default=16 * BLOCK, help="panels a rate is measured on")
    options.add_argument("--million", action="store_true", help="also run a million panels on two Dask workers")
    chosen = options.parse_args()
    prepare_process()
    print(environment())
    floor_seconds = floor()
    print(f"floor: normals + one N x N x T product           {1 / floor_seconds:8,.0f} panels/s")
    did = rate("DID (iid, HC1, cluster)", Paper(), DID, chosen.panels)
    full = rate("DID + SAR + SEM + SDM, direct and Lee-Yu", Paper(spillover="paper"), FULL, chosen.panels)
    rate("  the same, calendar and controls redrawn", Paper(spillover="paper", redraw=("calendar", "controls")), FULL,
         min(chosen.panels, 1024))  # fmt: skip
    print(f"full job against the floor: {full / (1 / floor_seconds):.2f} of its rate")
    compare(did, full)
    if chosen.million:
        million()


def rate(label: str, design: Paper, estimators: tuple[Estimator, ...], panels: int) -> float:
    """Panels a second of a whole serial run: settling, drawing, fitting, covariances, store."""
    study = Study("bench", design, estimators, replications=panels, block=min(BLOCK, panels))
    run(study.resized(seed=99, replications=64, block=64))  # imports and first calls are not what is measured
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        run(study, store=Path(folder) / "bench.zarr")
        seconds = time.perf_counter() - begin
    print(f"{label:48s} {panels / seconds:8,.0f} panels/s")
    return panels / seconds


def floor() -> float:
    """Seconds a panel of drawing 285 x 18 normals and multiplying them by one 285 x 285 matrix."""
    streams, matrix = Streams(0), np.random.default_rng(0).standard_normal((285, 285))

    def once() -> None:
        streams.tile(0, 32).normals("floor", 18, 285).reshape(-1, 285) @ matrix

    return timed(once, 30) / 32


def compare(did_rate: float, full_rate: float) -> None:
    """Ratios to the reference programs on the same panels."""
    plain = panels_of(Paper(), 5)
    spatial = panels_of(Paper(spillover="paper"), 6)
    pyfixest = each(lambda p: pyfixest_reference.twoway_did(p, errors=("cluster:unit",)), plain)
    linearmodels = each(lambda p: linearmodels_reference.twoway_did(p, errors=("cluster:unit",)), spatial)
    spreg = sum(each(lambda p, m=m: spreg_reference.twoway_spatial(p, m), spatial) for m in ("sar", "sem", "sdm"))  # type: ignore[misc]
    for name, seconds in (("pyfixest", pyfixest), ("linearmodels", linearmodels)):
        print(f"{name}, DID with clustered errors: {seconds * 1e3:.1f} ms; panelproof's DID with three kinds of errors "
              f"{seconds * did_rate:,.0f} x")  # fmt: skip
    print(f"spreg, SAR, SEM and SDM: {spreg * 1e3:.0f} ms; linearmodels and spreg together: panelproof, all that and "
          f"Lee-Yu, {(linearmodels + spreg) * full_rate:,.0f} x")  # fmt: skip


def panels_of(design: Paper, count: int) -> list[Panel]:
    """Single panels of the design, as the study above draws them."""
    runner = runner_of(Study("bench", design, DID), 0)
    return [runner.draw(0).panel.replication(row) for row in range(count)]


def each(fit: Callable[[Panel], object], panels: list[Panel]) -> float:
    """Median seconds of a fit, the first (imports) left out."""
    fit(panels[0])
    seconds = []
    for panel in panels:
        begin = time.perf_counter()
        fit(panel)
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


def timed(call: Callable[[], object], times: int) -> float:
    """Median seconds of a call."""
    seconds = []
    for _ in range(times):
        begin = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


def million() -> None:
    """A million panels of the full job on two workers, start of the cluster included."""
    study = Study("million", Paper(spillover="paper"), FULL, replications=1_000_000, block=BLOCK)
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        pool = open_executor("local", 2)
        run(study, store=Path(folder) / "million.zarr", executor=pool)
        pool.close()
        print(f"a million panels of the full job on two workers: {time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main()
