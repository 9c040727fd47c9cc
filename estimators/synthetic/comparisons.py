"""Treated and control units of one date of adoption, and of samples of several dates, for P outcomes at once.

Of units that adopt at one date, T0 periods before it, and units that are never treated: the weights of control units
omega and of periods before adoption lambda are least squares on the simplex (`synthetic.simplex`),

    omega: min sum_{t <= T0} (a + sum_i omega_i y_it - ybar_t)^2 + zeta^2 T0 sum_i omega_i^2
    lambda: min sum_i (b + sum_t lambda_t y_it - ypost_i)^2 + zeta_l^2 N_co sum_t lambda_t^2

ybar the mean of the treated, ypost of the periods after adoption, i the controls; a = 0 where there is no intercept.
With the contrast of a unit d_i = ypost_i - sum_t lambda_t y_it the estimate is mean_treated d - sum_i omega_i d_i
(Arkhangelsky, Athey, Hirshberg, Imbens and Wager 2021, AER 111:4088, algorithm 1). sigma is the standard deviation
about its mean of the first differences of the controls before adoption, zeta = (N_tr (T - T0))^(1/4) sigma or 1e-6
sigma, zeta_l = 1e-6 sigma. Of several dates the estimates are averaged by treated cells (Clarke, Pailanir, Athey and
Imbens 2023, section 2.3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from estimators.synthetic.simplex import simplex_least_squares
from sim.arrays import Codes, Flags, Floats

UnitWeights = Literal["equal", "fitted", "demeaned"]  # fitted without and with an intercept
TimeWeights = Literal["equal", "fitted", "none"]
SLIGHT = 1e-6  # zeta / sigma of weights that are hardly penalised
FEWEST_BEFORE = 2  # periods before adoption that fitted weights need


@dataclass(frozen=True, slots=True)
class Weighting:
    """How units and periods are weighted; penalised: whether zeta is that of synthetic DID."""

    units: UnitWeights
    periods: TimeWeights
    penalised: bool

    @property
    def fewest_before(self) -> int:
        """Periods before adoption that are needed."""
        fitted = {self.units, self.periods} & {"fitted", "demeaned"}
        return FEWEST_BEFORE if fitted else 1


@dataclass(frozen=True, eq=False, slots=True)
class AdoptionBlock:
    """P comparisons of one date: 1 for controls and 1 for treated units, (P, N), and zeta of the weights of units and
    of periods, (P,)."""

    date: int
    controls: Floats
    treated: Floats
    zeta: Floats
    slight: Floats


@dataclass(frozen=True, eq=False, slots=True)
class ComparisonFit:
    """Weights of units (P, N) and of periods before adoption (P, T0), the treated less the synthetic path (P, T), the
    estimate (P,), contrasts of units less that of the treated (P, N), whether weights are the optimum (P,)."""

    units: Floats
    periods: Floats
    gap: Floats
    estimate: Floats
    contrasts: Floats
    optimal: Flags


def noise_level(y: Floats, controls: Floats, date: int) -> Floats:
    """sigma of outcomes (P, T, N) with controls (P, N), (P,); 0 with fewer than two periods before."""
    if date < FEWEST_BEFORE:
        return np.zeros(len(y))
    steps = np.diff(y[:, :date], axis=1)
    cells = controls.sum(axis=1) * (date - 1)
    mean = np.matmul(steps, controls[:, :, None])[:, :, 0].sum(axis=1) / cells
    around = np.square(steps - mean[:, None, None])
    return np.asarray(np.sqrt(np.matmul(around, controls[:, :, None])[:, :, 0].sum(axis=1) / cells))


def comparison_of(y: Floats, date: int, controls: Floats, treated: Floats, how: Weighting) -> AdoptionBlock:
    """A comparison with the zetas of its own sample."""
    sigma = noise_level(y, controls, date)
    cells = treated.sum(axis=1) * (y.shape[1] - date)
    return AdoptionBlock(
        date, controls, treated, cells**0.25 * sigma if how.penalised else SLIGHT * sigma, SLIGHT * sigma
    )


def fit_comparison(y: Floats, block: AdoptionBlock, how: Weighting) -> ComparisonFit:
    """Fit outcomes (P, T, N); NaN where there is no control or no treated unit."""
    date, controls, after = block.date, block.controls, y.shape[1] - block.date
    z = y - np.matmul(y, block.treated[:, :, None]) / block.treated.sum(axis=1)[:, None, None]
    before = np.matmul(np.full(date, 1 / date), z[:, :date])
    post = np.matmul(np.full(after, 1 / after), z[:, date:])
    centred = z[:, :date] - before[:, None]
    units, fitted = _unit_weights(z[:, :date], centred, block, how)
    periods, optimal = _time_weights(centred, post - before, block, how)
    gap = -np.matmul(z, units[:, :, None])[:, :, 0]
    contrasts = post - np.matmul(periods[:, None], z[:, :date])[:, 0]
    estimate = -np.vecdot(units, contrasts)
    sound = (controls.sum(axis=1) > 0) & (block.treated.sum(axis=1) > 0)
    return ComparisonFit(units, periods, gap, np.where(sound, estimate, np.nan), contrasts, fitted & optimal & sound)


def _unit_weights(before: Floats, centred: Floats, block: AdoptionBlock, how: Weighting) -> tuple[Floats, Flags]:
    """omega (P, N) and whether it is the optimum, of outcomes before adoption less those of the treated, and the same
    less their means, (P, T0, N)."""
    if how.units == "equal":
        return block.controls / block.controls.sum(axis=1)[:, None], np.ones(len(before), dtype=bool)
    penalty = np.broadcast_to((np.square(block.zeta) * block.date)[:, None], block.controls.shape)
    found = simplex_least_squares(centred if how.units == "demeaned" else before, penalty, block.controls > 0)
    return found.weights, found.optimal


def _time_weights(centred: Floats, change: Floats, block: AdoptionBlock, how: Weighting) -> tuple[Floats, Flags]:
    """lambda (P, T0) and whether it is the optimum, of outcomes before adoption and the mean after it, both less the
    mean before adoption, (P, T0, N) and (P, N)."""
    rows, date = len(centred), block.date
    if how.periods != "fitted":
        share = 1 / date if how.periods == "equal" else 0.0
        return np.full((rows, date), share), np.ones(rows, dtype=bool)
    left, total = centred - change[:, None], block.controls.sum(axis=1)
    left -= np.matmul(left, block.controls[:, :, None]) / total[:, None, None]
    left *= block.controls[:, None]
    penalty = np.broadcast_to((np.square(block.slight) * total)[:, None], (rows, date))
    columns = np.ascontiguousarray(left.transpose(0, 2, 1))
    found = simplex_least_squares(columns, penalty, np.ones((rows, date), dtype=bool))
    return found.weights, found.optimal


# Samples of several dates: which rows have which date, and averages over dates.


@dataclass(frozen=True, eq=False, slots=True)
class DatedComparison:
    """The comparison of one date in those samples that have it, rows (P',) of them, and treated cells (P',)."""

    rows: Codes
    block: AdoptionBlock
    cells: Floats


@dataclass(frozen=True, eq=False, slots=True)
class SampleFit:
    """Estimates of P samples (P,), averaged over dates; the fit of each date; whether all weights are optima (P,)."""

    estimate: Floats
    cells: Floats
    dates: tuple[tuple[DatedComparison, ComparisonFit], ...]
    optimal: Flags


def zetas_of(found: SampleFit, samples: Codes) -> dict[int, tuple[Floats, Floats]]:
    """The penalties of each date of whole samples, for samples (B,) of them, (B,); NaN where one has no such date."""
    out = {}
    for dated, _ in found.dates:
        both = np.full((2, len(found.estimate)), np.nan)
        both[:, dated.rows] = dated.block.zeta, dated.block.slight
        out[dated.block.date] = both[0, samples], both[1, samples]
    return out


def fit_samples(
    y: Floats, first: Codes, how: Weighting, zetas: Mapping[int, tuple[Floats, Floats]] | None = None
) -> SampleFit:
    """Fit P samples: outcomes (P, T, N), first treated periods (P, N), T = never.

    zetas: of each date, of units' and of periods' weights (P,), None = of the samples themselves. Units treated from
    the first period on take no part. NaN where a sample has no treated unit, no control, or too few periods before.
    """
    periods = y.shape[1]
    controls = (first == periods).astype(np.float64)
    total, cells, optimal = np.zeros(len(y)), np.zeros(len(y)), np.ones(len(y), dtype=bool)
    possible = controls.any(axis=1)
    fits = []
    for date in np.unique(first[(first > 0) & (first < periods)]).tolist():
        treated = (first == date).astype(np.float64)
        rows = np.flatnonzero(treated.any(axis=1) & possible)
        if not rows.size:
            continue
        if date < how.fewest_before:
            total[rows] = np.nan
            continue
        some, compared, own = y[rows], controls[rows], treated[rows]
        if zetas is None:
            block = comparison_of(some, date, compared, own, how)
        else:
            zeta, slight = zetas[date]
            block = AdoptionBlock(date, compared, own, zeta[rows], slight[rows])
        fit = fit_comparison(some, block, how)
        weight = own.sum(axis=1) * (periods - date)
        total[rows] += weight * fit.estimate
        cells[rows] += weight
        optimal[rows] &= fit.optimal
        fits.append((DatedComparison(rows, block, weight), fit))
    estimate = np.where(cells > 0, total / np.where(cells > 0, cells, 1.0), np.nan)
    return SampleFit(estimate, cells, tuple(fits), optimal & (cells > 0))
