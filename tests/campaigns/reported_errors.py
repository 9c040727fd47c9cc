"""Reported Monte Carlo errors against the spread of reported biases over seeds: the paper's world with spillovers."""

from __future__ import annotations

import numpy as np
from scipy import stats

from estimators import TwoWayDID
from experiments.run.runner import run
from experiments.study import Study
from results.diagnosis.diagnose import diagnose
from sim.presets import Paper

SEEDS, REPLICATIONS, WORLDS = 8, 2048, (64, 32, 1)


def main() -> bool:
    """With 64 worlds the spread over seeds equals the reported error within sampling error (chi-squared, level 1%)."""
    holds = True
    for worlds in WORLDS:
        biases, errors = np.array([_bias(seed, worlds) for seed in range(1, SEEDS + 1)]).T
        spread, reported = biases.std(ddof=1), float(np.sqrt(np.square(errors).mean()))
        ratio = (SEEDS - 1) * (spread / reported) ** 2
        inside = bool(stats.chi2.ppf(0.005, SEEDS - 1) <= ratio <= stats.chi2.ppf(0.995, SEEDS - 1))
        print(f"  {worlds} worlds: bias {biases.mean():.6f}, standard deviation over {SEEDS} seeds {spread:.6f}, "
              f"reported Monte Carlo error {reported:.6f}: {'equal' if inside else 'different'}")  # fmt: skip
        holds &= inside or worlds == 1  # one world: the error is about that world alone, and the report says so
    return holds


def _bias(seed: int, worlds: int) -> tuple[float, float]:
    """The bias of two-way DID and its Monte Carlo error."""
    study = Study("seeds", Paper(spillover="paper"), (TwoWayDID(errors=("cluster:unit",)),), replications=REPLICATIONS,
                  seed=seed, worlds=worlds)  # fmt: skip
    frame = diagnose(run(study)).frame
    row = frame[(frame["measure"] == "bias") & (frame["term"] == "did") & (frame["sample"] == "own")].iloc[0]
    return float(row["value"]), float(row["mcse"])
