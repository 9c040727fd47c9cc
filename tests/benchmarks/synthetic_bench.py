"""Synthetic estimators, panels a second on one core: 50 units x 40 periods, 10 treated, and the 285 cities x 18 years.

Panels are drawn beforehand; fits and errors are timed, by the clock of the processor. Run by `make bench`.
"""

from __future__ import annotations

import time

from cluster import environment, pin_environment, prepare_process

pin_environment()

from estimators import DemeanedSyntheticControl, Estimator, SyntheticControl, SyntheticDID  # noqa: E402
from sim import Design, Panel, Streams, Wanted  # noqa: E402
from sim.presets import Paper  # noqa: E402
from sim.world.panel_design import PanelDesign  # noqa: E402
from sim.world.parts.adoption import Random  # noqa: E402
from sim.world.parts.levels import Effects  # noqa: E402

PANELS, REPEATS = 512, 3
STATES = PanelDesign(units=50, periods=40, levels=Effects(factors=3), adoption=Random(treated=10, last_periods=10))
ESTIMATORS: dict[str, Estimator] = {
    "synthetic DID, jackknife of renormalised weights": SyntheticDID(refit=False),
    "synthetic DID, jackknife of refitted weights": SyntheticDID(),
    "synthetic control, renormalised": SyntheticControl(refit=False),
    "demeaned synthetic control, renormalised": DemeanedSyntheticControl(refit=False),
}


def main() -> None:
    """Print all figures."""
    prepare_process()
    print(environment())
    for name, design in {"50 x 40": STATES, "285 x 18, one date": Paper(calendar="single", controls="none")}.items():
        panel = drawn(design)
        for label, estimator in ESTIMATORS.items():
            print(f"{name:20s} {label:50s} {PANELS / seconds(estimator, panel):7,.0f} panels a second")


def drawn(design: Design) -> Panel:
    """Replications of one world."""
    streams = Streams(5, "bench")
    wanted = Wanted(ESTIMATORS["synthetic control, renormalised"].variables(design.schema), ())
    return design.settle(streams).draw(streams.tile(0, PANELS), wanted).panel


def seconds(estimator: Estimator, panel: Panel) -> float:
    """The best of some calls, after one that is not counted."""
    estimator(panel, Streams(1))
    best = float("inf")
    for _ in range(REPEATS):
        begin = time.process_time()
        estimator(panel, Streams(1))
        best = min(best, time.process_time() - begin)
    return best


if __name__ == "__main__":
    main()
