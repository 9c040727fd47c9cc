"""Panels a second on one core with one BLAS thread, everything counted, beside the reference programs and the floor.

Run by `make bench`. Every line is measured in this run; ratios compare what was timed in turns.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent / "support"))

from cluster import environment, pin_environment, prepare_process

pin_environment()

import numpy as np  # noqa: E402

from estimators import Estimator, SpatialPanel, TwoWayDID  # noqa: E402
from experiments.references import linearmodels as linearmodels_reference  # noqa: E402
from experiments.references import pysal as spreg_reference  # noqa: E402
from experiments.run.runner import Progress, run  # noqa: E402
from experiments.run.tasks import runner_of  # noqa: E402
from experiments.study import Study  # noqa: E402
from references import pyfixest_reference  # noqa: E402
from sim import Panel, Streams  # noqa: E402
from sim.presets import Paper  # noqa: E402

DID: tuple[Estimator, ...] = (TwoWayDID(errors=("iid", "hc1", "cluster:unit")),)
FULL = (*DID, *(SpatialPanel(m, t) for m in ("sar", "sem", "sdm") for t in ("direct", "lee-yu")))
BLOCK = 8192


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--panels", type=int, default=16 * BLOCK, help="panels a rate is measured on")
    chosen = options.parse_args()
    prepare_process()
    print(environment())
    floor_seconds = floor()
    print(f"floor: normals + one N x N x T product           {1 / floor_seconds:8,.0f} panels/s")
    plain, spatial = panels_of(Paper()), panels_of(Paper(spillover="paper"))
    by_linearmodels = did_of(linearmodels_reference.least_squares)
    singles = [Reference("pyfixest, DID with clustered errors", did_of(pyfixest_reference.twoway_did), plain),
               Reference("linearmodels, DID with clustered errors", by_linearmodels, plain)]  # fmt: skip
    did = rate("DID (iid, HC1, cluster)", Paper(), DID, chosen.panels, singles)
    for each in singles:
        print(f"  {each.label}: {each.seconds * 1e3:.1f} ms; panelproof's with three kinds {each.seconds * did:,.0f} x")
    several = [
        Reference("linearmodels, DID with clustered errors", did_of(linearmodels_reference.least_squares), spatial)
    ]
    several += [Reference(f"spreg, {model}", spatial_of(model), spatial) for model in ("sar", "sem", "sdm")]
    full = rate("DID + SAR + SEM + SDM, direct and Lee-Yu", Paper(spillover="paper"), FULL, chosen.panels, several)
    together = sum(each.seconds for each in several)
    print(f"  full job against the floor: {full * floor_seconds:.2f} of its rate")
    print("  " + " + ".join(f"{each.label} {each.seconds * 1e3:.0f} ms" for each in several)
          + f": panelproof, all that and Lee-Yu, {together * full:,.0f} x")  # fmt: skip
    rate("DID in 32 worlds", Paper(), DID, chosen.panels, worlds=32)
    rate("DID + SAR + SEM + SDM in 32 worlds", Paper(spillover="paper"), FULL, chosen.panels, worlds=32)
    redrawn: tuple[tuple[str, tuple[Any, ...]], ...] = (
        ("calendar redrawn", ("calendar",)), ("calendar and controls redrawn", ("calendar", "controls")),
    )  # fmt: skip
    for words, redraw in redrawn:
        few = min(chosen.panels, 2 * BLOCK)  # to open the store, 1 s, is then a twentieth of the time
        rate(f"DID, {words}", Paper(redraw=redraw), DID, few)
        rate(f"DID + SAR + SEM + SDM, {words}", Paper(spillover="paper", redraw=redraw), FULL, few)


@dataclass(eq=False)
class Reference:
    """Another program's fit, timed on one panel after another, each after one that fills the caches."""

    label: str
    fit: Callable[[Panel], object]
    panels: list[Panel]
    timed: list[float] = field(default_factory=list)

    def once(self) -> None:
        self.fit(self.panels[0])
        panel = self.panels[len(self.timed) % len(self.panels)]
        begin = time.perf_counter()
        self.fit(panel)
        self.timed.append(time.perf_counter() - begin)

    @property
    def seconds(self) -> float:
        return statistics.median(self.timed)


def rate(
    label: str, design: Paper, estimators: tuple[Estimator, ...], panels: int, references: Sequence[Reference] = (),
    worlds: int = 1,
) -> float:  # fmt: skip
    """Panels a second of a whole serial run: settling, drawing, fitting, covariances, store.

    Each reference fits once after every block, so that both see the machine in the same states; their time is not ours.
    """
    study = Study("bench", design, estimators, replications=panels, block=min(BLOCK, panels), worlds=worlds)
    run(study.resized(seed=99, replications=64, block=64))  # imports and first calls are not what is measured
    others = 0.0

    def between(step: Progress) -> None:
        nonlocal others
        begin = time.perf_counter()
        for reference in references if step.blocks else ():
            reference.once()
        others += time.perf_counter() - begin

    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        run(study, store=Path(folder) / "bench.zarr", listen=between)
        seconds = time.perf_counter() - begin - others
    print(f"{label:48s} {panels / seconds:8,.0f} panels/s")
    return panels / seconds


def floor() -> float:
    """Seconds a panel of drawing 285 x 18 normals and multiplying them by one 285 x 285 matrix."""
    streams, matrix = Streams(0), np.random.default_rng(0).standard_normal((285, 285))

    def once() -> None:
        streams.tile(0, 32).normals("floor", 18, 285).reshape(-1, 285) @ matrix

    return timed(once, 30) / 32


def panels_of(design: Paper, count: int = 6) -> list[Panel]:
    """Single panels of the design, as the study above draws them."""
    runner = runner_of(Study("bench", design, DID), 0)
    return [runner.draw(0).panel.replication(row) for row in range(count)]


def did_of(fit: Callable[..., object]) -> Callable[[Panel], object]:
    """A program's two-way DID with errors clustered by unit."""
    return lambda panel: fit(panel, errors=("cluster:unit",))


def spatial_of(model: str) -> Callable[[Panel], object]:
    """Spreg's two-way spatial model."""
    return lambda panel: spreg_reference.spatial_panel(panel, model)


def timed(call: Callable[[], object], times: int) -> float:
    """Median seconds of a call."""
    seconds = []
    for _ in range(times):
        begin = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
