"""Synthetic estimators, panels a second on one core: 50 units x 40 periods, 10 treated, and the 285 cities x 18 years.

Panels are drawn beforehand; fits and errors are timed, by the clock of the processor. Run by `make bench`. With
`--peer` it times estimates of synthetic DID alone, without errors, beside those of two other packages on the same
50 x 40 panels, in one run, and compares the estimates. No part of panelproof needs these packages: synthdid-py is a
port of the R package by the estimator's authors, diff-diff a library whose weights are compiled.
"""

from __future__ import annotations

import argparse
import importlib
import time
from collections.abc import Callable
from typing import Any

from cluster import environment, pin_environment, prepare_process

pin_environment()

import numpy as np  # noqa: E402

from estimators import DemeanedSyntheticControl, Estimator, SyntheticControl, SyntheticDID  # noqa: E402
from estimators.core.estimator import Tile  # noqa: E402
from estimators.synthetic.left_out import fit_samples  # noqa: E402
from estimators.synthetic.synthetic_did import PANELS_AT_ONCE  # noqa: E402
from sim import Design, Panel, Streams, Wanted  # noqa: E402
from sim.presets import Paper  # noqa: E402
from sim.world.panel_design import PanelDesign  # noqa: E402
from sim.world.parts.adoption import Random  # noqa: E402
from sim.world.parts.levels import Effects  # noqa: E402

PANELS, REPEATS = 512, 3
WANTED_RATIO = 100  # of our panels a second to those of a peer
PEER_PANELS = 64  # that a peer fits one by one
NEAR = 0.01  # of sigma, the standard deviation of first differences: what stopping rules may move an estimate by
STATES = PanelDesign(units=50, periods=40, levels=Effects(factors=3), adoption=Random(treated=10, last_periods=10))
CALIFORNIA = PanelDesign(units=39, periods=31, levels=Effects(factors=3), adoption=Random(treated=1, last_periods=12))
ESTIMATORS: dict[str, Estimator] = {
    "synthetic DID, jackknife of renormalised weights": SyntheticDID(refit=False),
    "synthetic DID, jackknife of refitted weights": SyntheticDID(),
    "synthetic control, renormalised": SyntheticControl(refit=False),
    "demeaned synthetic control, renormalised": DemeanedSyntheticControl(refit=False),
}
Block = tuple[np.ndarray, int, int]  # outcomes (N, T) with treated units last, number of controls, of periods before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", action="store_true", help="compare with other packages instead")
    asked = parser.parse_args()
    prepare_process()
    print(environment())
    if asked.peer:
        for name in PEERS:
            compare(name)
        return
    for name, design in {"50 x 40": STATES, "285 x 18, one date": Paper(calendar="single", controls="none")}.items():
        panel = drawn(design)
        for label, estimator in ESTIMATORS.items():
            print(f"{name:20s} {label:50s} {PANELS / seconds(estimator, panel):7,.0f} panels a second")


def drawn(design: Design, panels: int = PANELS) -> Panel:
    """Replications of one world."""
    streams = Streams(5, "bench")
    wanted = Wanted(ESTIMATORS["synthetic control, renormalised"].variables(design.schema), ())
    return design.settle(streams).draw(streams.tile(0, panels), wanted).panel


def seconds(estimator: Estimator, panel: Panel) -> float:
    """The best of some calls, after one that is not counted."""
    return best_of(lambda: estimator(panel, Streams(1)))


def estimates_of(panel: Panel) -> np.ndarray:
    """Estimates of synthetic DID without errors, (R,): what the estimator does before it comes to these."""
    estimator = SyntheticDID()
    reduction = estimator.reduction(panel.schema)
    moments = reduction.reduce(reduction.prepare(panel), Tile(panel))
    return np.concatenate([fit_samples(y, moments.first[some], estimator.weighting).estimate
                           for some, y in moments.y.chunks(PANELS_AT_ONCE)])  # fmt: skip


def best_of(call: Callable[[], object]) -> float:
    """Processor seconds of the quickest of some calls, after one that is not counted."""
    call()
    best = float("inf")
    for _ in range(REPEATS):
        begin = time.process_time()
        call()
        best = min(best, time.process_time() - begin)
    return best


# Other packages: each estimates one block of outcomes.


def blocks_of(panel: Panel, count: int) -> list[Block]:
    """The first panels as other packages take them."""
    y, treated = panel.variables["y"], panel.variables["did"][0].any(axis=0)
    before = int((panel.variables["did"][0].sum(axis=1) == 0).sum())
    order = np.concatenate([np.flatnonzero(~treated), np.flatnonzero(treated)])
    return [(np.ascontiguousarray(y[k][:, order].T), int((~treated).sum()), before) for k in range(count)]


def sigma_of(block: Block) -> float:
    """Standard deviation of first differences of controls before adoption."""
    y, controls, before = block
    return float(np.diff(y[:controls, :before], axis=1).std(ddof=1))


def by_port(package: Any, block: Block) -> float:
    """The port of the authors' R package."""
    return float(package.synthdid_estimate(*block))


def by_library(package: Any, block: Block) -> float:
    """The functions that `diff_diff.SyntheticDiD.fit` calls for its estimate, which no errors go with."""
    y, controls, before = block
    utils, sigma = importlib.import_module(f"{package.__name__}.utils"), sigma_of(block)
    own, others = y[controls:].mean(axis=0), np.ascontiguousarray(y[:controls].T)
    zeta = ((len(y) - controls) * (y.shape[1] - before)) ** 0.25 * sigma
    units = utils.compute_sdid_unit_weights(others[:before], own[:before], zeta_omega=zeta, min_decrease=1e-5 * sigma)
    periods = utils.compute_time_weights(
        others[:before], others[before:], zeta_lambda=1e-6 * sigma, min_decrease=1e-5 * sigma
    )
    return float(
        utils.compute_sdid_estimator(others[:before], others[before:], own[:before], own[before:], units, periods)
    )


PEERS: dict[str, tuple[str, Callable[[Any, Block], float]]] = {
    "synthdid-py": ("synthdid", by_port), "diff-diff": ("diff_diff", by_library),
}  # fmt: skip


def compare(name: str) -> None:
    """Print panels a second of both, their ratio, and how far their estimates are apart; how to install what lacks."""
    module, estimate = PEERS[name]
    try:
        package = importlib.import_module(module)
    except ImportError:
        print(f"{name}: not installed; in an environment of its own: pip install . {name}")
        return
    panel = drawn(STATES)
    blocks = blocks_of(panel, PEER_PANELS)
    own = PANELS / best_of(lambda: estimates_of(panel))
    theirs = PEER_PANELS / best_of(lambda: [estimate(package, block) for block in blocks])
    ratio = own / theirs
    print(f"{name} {getattr(package, '__version__', '')}, 50 x 40: {own:,.0f} panels a second, {name} {theirs:,.1f}: "
          f"{ratio:,.0f} times as many (wanted: {WANTED_RATIO})")  # fmt: skip
    for label, made in {"50 x 40": panel, "39 x 31, one treated": drawn(CALIFORNIA, PEER_PANELS)}.items():
        found = estimates_of(made)[:PEER_PANELS]
        apart = [abs(estimate(package, block) - found[k]) / sigma_of(block)
                 for k, block in enumerate(blocks_of(made, PEER_PANELS))]  # fmt: skip
        print(f"{name}, {label}: estimates at most {max(apart):.5f} sigma apart, {np.median(apart):.5f} in the median"
              f" ({'within' if max(apart) <= NEAR else 'beyond'} {NEAR})")  # fmt: skip


if __name__ == "__main__":
    main()
