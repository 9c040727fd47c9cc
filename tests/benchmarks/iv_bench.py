"""2SLS, panels a second on one core: 285 units x 18 periods, one control, three instruments, redrawn doses.

Ours are the fits of a study: whole tiles on one plan, errors of three types and all tests. linearmodels
fits one panel after another, twice: with dummies for units and periods, as its IV2SLS has no effects to absorb, and on
variables whose effects our program took out beforehand, outside of the time that is measured. Either way it computes
errors of three types, Sargan's and Wu and Hausman's tests. Panels are drawn beforehand; time is that of the processor.
Run by `make bench`.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable

from cluster import environment, pin_environment, prepare_process

pin_environment()

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from linearmodels.iv import IV2SLS  # noqa: E402

from estimators import PanelIV  # noqa: E402
from estimators.core.tile import Tile  # noqa: E402
from experiments.references import linearmodels  # noqa: E402
from experiments.references.reference import long_frame  # noqa: E402
from sim import Panel, Streams, Wanted  # noqa: E402
from sim.streams import TILE  # noqa: E402
from sim.world.panel_design import PanelDesign  # noqa: E402
from sim.world.parts.adoption import InstrumentedDose  # noqa: E402
from sim.world.parts.covariates import Normal  # noqa: E402

INSTRUMENTS = ("z1", "z2", "z3")
TILES, REPEATS = 4, 3
WANTED_RATIO = 100  # of our panels a second to those of linearmodels
DESIGN = PanelDesign(
    units=285, periods=18, covariates=(Normal("x", 0.5), *map(Normal, INSTRUMENTS)),
    adoption=InstrumentedDose(instruments=INSTRUMENTS, concentration=300.0),
)  # fmt: skip


def main() -> None:
    prepare_process()
    print(environment())
    streams = Streams(5, "bench")
    world, wanted = DESIGN.settle(streams), Wanted(frozenset(DESIGN.schema.variables), ())
    panels = [world.draw(streams.tile(start, start + TILE), wanted).panel for start in range(0, TILES * TILE, TILE)]
    estimator = PanelIV()
    reduction = estimator.reduction(DESIGN.schema)
    assert reduction is not None
    plan = reduction.prepare(panels[0])

    def ours() -> list[float]:
        found = [estimator.solve(plan, reduction.reduce(plan, Tile(panel)), panel.schema, streams) for panel in panels]
        return [float(each.estimate[0, 0]) for each in found]

    rate = TILES * TILE / best_of(ours)
    print(f"285 x 18, 2SLS with three error types and all tests: {rate:,.0f} panels a second")
    one = panels[0].replication(0)
    for name, call in {"dummies": lambda: by_dummies(one), "variables without effects": by_within(one)}.items():
        theirs = 1 / best_of(call)
        print(f"linearmodels, {name}: {theirs:,.2f} panels a second; ours {rate / theirs:,.0f} times as many "
              f"(wanted: {WANTED_RATIO}); estimates {abs(call() - ours()[0]):.1e} apart")  # fmt: skip


def by_dummies(panel: Panel) -> float:
    """The reference of the cross-check."""
    found = linearmodels.two_stages(panel, outcome="y", regressors=("x",), endogenous=("did",), instruments=INSTRUMENTS)
    return float(found.estimate[0])


def by_within(panel: Panel) -> Callable[[], float]:
    """The same on variables from which effects were taken out; its errors count no effects."""
    tile, frame = Tile(panel), long_frame(panel, ("y", "did", "x", *INSTRUMENTS))
    data = pd.DataFrame({name: tile.within(name)[0].ravel() for name in ("y", "did", "x", *INSTRUMENTS)})
    clusters = frame["unit"].to_numpy()

    def fit() -> float:
        model = IV2SLS(data["y"], data[["x"]], data[["did"]], data[list(INSTRUMENTS)])
        fits = [model.fit(cov_type=kind, debiased=True, **more) for kind, more in (
            ("unadjusted", {}), ("robust", {}), ("clustered", {"clusters": clusters}))]  # fmt: skip
        return float(fits[0].params["did"] + 0 * sum(np.asarray(each.std_errors).sum() for each in fits)
                     + 0 * (fits[0].sargan.stat + fits[0].wu_hausman().stat))  # fmt: skip

    return fit


def best_of(call: Callable[[], object]) -> float:
    """Processor seconds of the quickest of some calls, after one that is not counted."""
    best = float("inf")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        call()
        for _ in range(REPEATS):
            begin = time.process_time()
            call()
            best = min(best, time.process_time() - begin)
    return best


if __name__ == "__main__":
    main()
