"""Microseconds a panel of DID and SDM against units, periods and controls, drawing not counted, on one core.

Run as `python tests/benchmarks/costs_bench.py`. Panels are made here: six nearest neighbours of random places, an
absorbing treatment of a sixth of the units, normal controls, rho = .4. Regressors are the same in all replications
(fixed) or others in each (redrawn). `first` is the first fit of two panels of the SAR: factors, determinants and traces
of a W that nothing is known of.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from cluster import environment, pin_environment, prepare_process

pin_environment()

import numpy as np  # noqa: E402
import scipy.sparse as sp  # noqa: E402
from scipy.sparse.linalg import splu  # noqa: E402
from scipy.spatial import cKDTree  # noqa: E402

from estimators import Estimator, SpatialPanel, Tile, TwoWayDID  # noqa: E402
from sim import Panel, Roles, Streams  # noqa: E402
from sim.weights import Weights  # noqa: E402

SIZES = ((285, 18, 4), (1000, 18, 4), (2850, 18, 4), (285, 36, 4), (285, 18, 1), (285, 18, 9))
NEIGHBOURS, RHO = 6, 0.4
CELLS = 2**18  # of a variable in one tile: 32 replications of 285 x 18 and fewer of larger panels
DID = TwoWayDID(errors=("iid", "hc1", "cluster:unit"))
SDM = SpatialPanel("sdm", "lee-yu")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5, help="times that each line is measured; the median counts")
    rounds = options.parse_args().rounds
    prepare_process()
    print(environment())
    print(f"{'units':>6} {'periods':>8} {'controls':>9} {'first SAR':>10} {'DID fixed':>10} {'redrawn':>8} "
          f"{'SDM fixed':>10} {'redrawn':>8}   us a panel, first in s")  # fmt: skip
    for units, periods, controls in SIZES:
        weights = near_weights(units)
        rows = max(2, min(32, CELLS // (units * periods)))
        fixed, redrawn = (made_panel(weights, periods, controls, rows, redrawn=kind) for kind in (False, True))
        pair = fixed.with_variables({"y": fixed.variables["y"][:2]})
        begin = time.process_time()
        SpatialPanel("sar", "lee-yu")(pair)
        first = time.process_time() - begin
        costs = [cost(estimator, panel, rounds) for estimator in (DID, SDM) for panel in (fixed, redrawn)]
        print(f"{units:6d} {periods:8d} {controls:9d} {first:10.2f} "
              + " ".join(f"{value * 1e6:{width}.0f}" for value, width in zip(costs, (10, 8, 10, 8), strict=True)),
              flush=True)  # fmt: skip


def near_weights(units: int) -> Weights:
    """Row-stochastic weights of the nearest neighbours among random places."""
    places = np.random.default_rng(1).random((units, 2))
    nearest = cKDTree(places).query(places, k=NEIGHBOURS + 1)[1][:, 1:]
    entries = (np.ones(nearest.size), (np.repeat(np.arange(units), NEIGHBOURS), nearest.ravel()))
    return Weights.of(tuple(f"u{i}" for i in range(units)), sp.csr_array(entries, shape=(units, units)))


def made_panel(weights: Weights, periods: int, controls: int, rows: int, *, redrawn: bool) -> Panel:
    """R panels."""
    rng, units = np.random.default_rng(2), len(weights.units)
    drawn, names = rows if redrawn else 1, tuple(f"x{k}" for k in range(controls))
    first = np.full((drawn, units), periods)
    treated = units // 6
    for row in first:
        row[rng.permutation(units)[:treated]] = rng.integers(2, periods - 2, treated)
    variables = {"did": (np.arange(periods)[:, None] >= first[:, None, :]).astype(np.float64)}
    variables |= {name: rng.standard_normal((drawn, periods, units)) for name in names}
    signal = 0.2 * sum(variables.values()) + rng.standard_normal((rows, periods, units))
    system = splu(sp.csc_array(sp.eye_array(units) - RHO * weights.matrix))
    y = system.solve(np.ascontiguousarray(signal.reshape(-1, units).T)).T.reshape(signal.shape)
    variables["y"] = np.ascontiguousarray(y)
    years = tuple(range(2000, 2000 + periods))
    return Panel(weights.units, years, variables, Roles("y", "did", names), weights={"w": weights})


def cost(estimator: Estimator, panel: Panel, rounds: int) -> float:
    """Seconds a panel of reducing tiles and solving their moments together, what a cell needs once not counted."""
    reduction = estimator.reduction(panel.schema)
    assert reduction is not None
    plan = reduction.prepare(panel)
    tiles = max(1, min(reduction.rows(plan), 512) // panel.replications)

    def once() -> None:
        moments = [reduction.reduce(plan, Tile(panel)) for _ in range(tiles)]
        estimator.solve(plan, type(moments[0]).join(moments), panel.schema, Streams(0))

    once()
    return float(np.median([seconds(once) for _ in range(rounds)])) / (tiles * panel.replications)


def seconds(call: Callable[[], object]) -> float:
    """Of the processor."""
    begin = time.process_time()
    call()
    return time.process_time() - begin


if __name__ == "__main__":
    main()
