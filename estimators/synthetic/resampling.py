"""Standard errors of synthetic estimators by samples drawn anew: placebo and bootstrap (Arkhangelsky, Athey, Hirshberg,
Imbens and Wager 2021, AER 111:4088, algorithms 2 and 4; the jackknife is `synthetic.left_out.jackknife`).

placebo: the adopters' dates are given to as many never treated units at random, the adopters are left out; the
standard deviation of the estimates, without a factor. bootstrap: units are drawn with replacement; the standard
deviation of the estimates of those samples that have treated units and controls. Weights are fitted anew in each
sample, with the penalties of the whole sample, as in the authors' program.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from estimators.synthetic.comparisons import SampleFit, Weighting, fit_samples
from sim.arrays import Codes, Floats

SAMPLES_AT_ONCE = 64
FEWEST = 2  # samples that can be fitted, of which there is a standard deviation


def placebo_samples(first: Codes, periods: int, draws: int, rng: np.random.Generator) -> tuple[Codes, Floats]:
    """First treated periods and counts, (B, N) each, of one panel's placebos; none (0, N) without enough controls."""
    controls, adopters = np.flatnonzero(first == periods), np.flatnonzero((first > 0) & (first < periods))
    if len(controls) <= len(adopters):
        return np.empty((0, first.size), dtype=np.intp), np.empty((0, first.size))
    drawn = np.full((draws, first.size), periods)
    chosen = rng.permuted(np.tile(controls, (draws, 1)), axis=1)[:, : len(adopters)]
    np.put_along_axis(drawn, chosen, np.broadcast_to(first[adopters], chosen.shape), axis=1)
    counts = np.zeros((draws, first.size))
    counts[:, controls] = 1.0
    return drawn, counts


def bootstrap_samples(first: Codes, periods: int, draws: int, rng: np.random.Generator) -> tuple[Codes, Floats]:
    """First treated periods and counts, (B, N) each, of samples of one panel's units with replacement."""
    part = np.flatnonzero(first > 0)
    counts = np.zeros((draws, first.size))
    counts[:, part] = rng.multinomial(len(part), np.full(len(part), 1 / len(part)), size=draws)
    return np.broadcast_to(first, counts.shape), counts


SAMPLES = {"placebo": placebo_samples, "bootstrap": bootstrap_samples}


def resampled_error(
    y: Floats, first: Codes, zetas: Mapping[int, tuple[float, float]], how: Weighting, kind: str, draws: int,
    rng: np.random.Generator,
) -> float:  # fmt: skip
    """The standard error of one panel: outcomes (T, N), first treated periods (N,), zetas of each date; NaN where
    fewer than two samples can be fitted."""
    drawn, counts = SAMPLES[kind](first, len(y), draws, rng)
    taus = []
    for start in range(0, len(drawn), SAMPLES_AT_ONCE):
        some = slice(start, start + SAMPLES_AT_ONCE)
        rows = len(drawn[some])
        own = {date: (np.full(rows, zeta), np.full(rows, slight)) for date, (zeta, slight) in zetas.items()}
        taus.append(fit_samples(np.broadcast_to(y, (rows, *y.shape)), drawn[some], counts[some], how, own).estimate)
    found = np.concatenate(taus) if taus else np.empty(0)
    found = found[np.isfinite(found)]
    return float(found.std()) if len(found) >= FEWEST else float("nan")


def zetas_of(found: SampleFit, row: int) -> dict[int, tuple[float, float]]:
    """The penalties of one sample's dates."""
    out = {}
    for dated, _ in found.dates:
        for at in np.flatnonzero(dated.rows == row).tolist():
            out[dated.block.date] = float(dated.block.zeta[at]), float(dated.block.slight[at])
    return out
