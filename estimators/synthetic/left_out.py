"""The estimate of one date without each of its units, the weights fitted anew: what a jackknife needs of P panels.

Without a control whose weight is 0 the weights of units stay, and without a treated unit those of periods. For the
others the columns that have weight mostly stay the same, and the solution without one row or column follows from that
of the whole by the formula of Sherman and Morrison (1950); it is the optimum where no sign turns wrong, which is
checked. The rest is fitted by `synthetic.simplex`, beginning with the columns of the whole.

Treated and control units of one date of adoption, and of samples of several dates, for P outcomes at once.

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

from estimators.core.estimator import Moments
from estimators.synthetic.simplex import (
    APART,
    CERTAIN,
    LEAST,
    PENALISED,
    TOLERANCE,
    by_dual,
    by_exchange,
    least_pivot,
    simplex_least_squares,
)
from sim.arrays import Codes, Flags, Floats

UnitWeights = Literal["equal", "fitted", "demeaned"]  # fitted without and with an intercept
TimeWeights = Literal["equal", "fitted", "none"]
SLIGHT = 1e-6  # zeta / sigma of weights that are hardly penalised
FEWEST_BEFORE = 2  # periods before adoption that fitted weights need
ROUNDED = 2e-15  # difference between outcomes, relative to them, up to which it is rounding: they are equal


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
class AdoptionBlock(Moments):
    """P comparisons of one date: 1 for controls and 1 for treated units, (P, N), treated cells (P,), and zeta of the
    weights of units and of periods, (P,)."""

    date: int
    controls: Floats
    treated: Floats
    cells: Floats
    zeta: Floats
    slight: Floats


@dataclass(frozen=True, eq=False, slots=True)
class ComparisonFit(Moments):
    """Weights of units (P, N) and of periods before adoption (P, T0), the treated less the synthetic path (P, T), the
    estimate (P,), contrasts of units less that of the treated (P, N), whether weights are the optimum (P,)."""

    units: Floats
    periods: Floats
    gap: Floats
    estimate: Floats
    contrasts: Floats
    optimal: Flags


def own_zetas(y: Floats, date: int, controls: Floats, cells: Floats, how: Weighting) -> tuple[Floats, Floats]:
    """zeta of the weights of units and of periods, (P,), of outcomes (P, T, N) with controls (P, N) and so many treated
    cells (P,); 0 with fewer than two periods before."""
    sigma = np.zeros(len(y))
    if date >= FEWEST_BEFORE:
        steps = np.diff(y[:, :date], axis=1)
        count = controls.sum(axis=1) * (date - 1)
        mean = np.matmul(steps, controls[:, :, None])[:, :, 0].sum(axis=1) / count
        around = np.square(steps - mean[:, None, None])
        sigma = np.sqrt(np.matmul(around, controls[:, :, None])[:, :, 0].sum(axis=1) / count)
    return cells**0.25 * sigma if how.penalised else SLIGHT * sigma, SLIGHT * sigma


def less_treated(y: Floats, block: AdoptionBlock) -> tuple[Floats, Floats, Floats, Floats]:
    """Outcomes (P, T, N) less the mean of the treated; those before adoption less their means, (P, T0, N); means after
    adoption, and these less the means before, (P, N)."""
    date, after = block.date, y.shape[1] - block.date
    own, count = block.treated[:, :, None], block.treated.sum(axis=1)[:, None, None]
    z = y - np.matmul(y, own) / count
    before = np.matmul(np.full(date, 1 / date), z[:, :date])
    post = np.matmul(np.full(after, 1 / after), z[:, date:])
    size = np.abs(y)
    unsure = ROUNDED * (size.max(axis=1, keepdims=True) + np.matmul(size, own).max(axis=1, keepdims=True) / count)
    centred, change = z[:, :date] - before[:, None], post - before
    return z, centred * (np.abs(centred) > unsure), post, change * (np.abs(change) > unsure[:, 0])


def fit_comparison(y: Floats, block: AdoptionBlock, how: Weighting) -> ComparisonFit:
    """Fit outcomes (P, T, N); NaN where there is no control or no treated unit."""
    rows, date, controls = len(y), block.date, block.controls
    z, centred, post, change = less_treated(y, block)
    total = controls.sum(axis=1)

    if how.units == "equal":
        units, fitted = controls / total[:, None], np.ones(rows, dtype=bool)
    else:
        penalty = np.broadcast_to((np.square(block.zeta) * date)[:, None], controls.shape)
        before = centred if how.units == "demeaned" else z[:, :date]
        units, fitted = simplex_least_squares(before, penalty, controls > 0)

    if how.periods == "fitted":
        left = centred - change[:, None]
        left -= np.matmul(left, controls[:, :, None]) / total[:, None, None]
        left *= controls[:, None]
        penalty = np.broadcast_to((np.square(block.slight) * total)[:, None], (rows, date))
        columns = np.ascontiguousarray(left.transpose(0, 2, 1))
        periods, optimal = simplex_least_squares(columns, penalty, np.ones((rows, date), dtype=bool))
    else:
        share = 1 / date if how.periods == "equal" else 0.0
        periods, optimal = np.full((rows, date), share), np.ones(rows, dtype=bool)

    gap = -np.matmul(z, units[:, :, None])[:, :, 0]
    contrasts = post - np.matmul(periods[:, None], z[:, :date])[:, 0]
    estimate = -np.vecdot(units, contrasts)
    sound = (total > 0) & (block.treated.sum(axis=1) > 0)
    return ComparisonFit(units, periods, gap, np.where(sound, estimate, np.nan), contrasts, fitted & optimal & sound)


# Samples of several dates: which rows have which date, and averages over dates.


@dataclass(frozen=True, eq=False, slots=True)
class SampleFit:
    """Estimates of P samples (P,), averaged over dates; of each date the samples that have it, rows (P',) of them, and
    their fit; whether all weights are optima (P,)."""

    estimate: Floats
    cells: Floats
    dates: tuple[tuple[Codes, AdoptionBlock, ComparisonFit], ...]
    optimal: Flags


def zetas_of(found: SampleFit, samples: Codes) -> dict[int, tuple[Floats, Floats]]:
    """The penalties of each date of whole samples, for samples (B,) of them, (B,); NaN where one has no such date."""
    out = {}
    for rows, block, _ in found.dates:
        both = np.full((2, len(found.estimate)), np.nan)
        both[:, rows] = block.zeta, block.slight
        out[block.date] = both[0, samples], both[1, samples]
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
        weight = own.sum(axis=1) * (periods - date)
        if zetas is None:
            zeta, slight = own_zetas(some, date, compared, weight, how)
        else:
            zeta, slight = (each[rows] for each in zetas[date])
        block = AdoptionBlock(date, compared, own, weight, zeta, slight)
        fit = fit_comparison(some, block, how)
        total[rows] += weight * fit.estimate
        cells[rows] += weight
        optimal[rows] &= fit.optimal
        fits.append((rows, block, fit))
    estimate = np.where(cells > 0, total / np.where(cells > 0, cells, 1.0), np.nan)
    return SampleFit(estimate, cells, tuple(fits), optimal & (cells > 0))


PROBLEMS_AT_ONCE = 256
NUMBERS = 2**17  # of arrays (P, N, N) that are worked on together
LEVERAGE = 1e-6  # what must be left of 1 without a row or column, for the formula


@dataclass(frozen=True, eq=False, slots=True)
class WithoutUnits:
    """What P panels need for the fits without each unit: outcomes less the treated mean, before adoption as the units'
    weights see them, base (P, T0, N), and less their means, centred (P, T0, N); mean after adoption less the mean
    before, change (P, N); the block and the fit of the whole."""

    base: Floats
    centred: Floats
    change: Floats
    block: AdoptionBlock
    fit: ComparisonFit
    how: Weighting

    def estimates(self) -> Floats:
        """The estimate without each unit, (P, N); units of neither side leave it as it is, NaN where there is none."""
        own, n = self.block.treated > 0, self.block.treated.sum(axis=1)[:, None]
        compared = self.block.controls > 0
        periods, every = self._periods(), np.arange(self.fit.units.shape[1])
        parts = np.split(every, every[:: max(1, NUMBERS // len(every))][1:])  # their weights fit into a cache
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.where(own, np.where(n > 1, -self.fit.contrasts / (n - 1), np.nan), 0.0)  # of the treated
            for missing in parts:
                units = self._units(missing)
                if self.how.periods == "none":
                    found[:, missing] -= np.matmul(units, self.fit.contrasts[:, :, None])[:, :, 0]  # after adoption
                    continue
                found[:, missing] -= np.matmul(units, self.change[:, :, None])[:, :, 0]
                before = np.matmul(units, self.centred.transpose(0, 2, 1))
                found[:, missing] += np.vecdot(before, periods[:, missing])
        return np.where(own | compared, found, self.fit.estimate[:, None])

    def _units(self, missing: Codes) -> Floats:
        """Weights of units (P, M, N): those without the unit `missing[i]`, (M,), in row i."""
        own, compared = self.block.treated > 0, self.block.controls > 0
        whole = self.fit.units
        out = np.repeat(whole[:, None], len(missing), axis=1)
        if self.how.units == "equal":
            alone = compared.sum(axis=1)[:, None, None]
            itself = (missing[:, None] == np.arange(whole.shape[1])) & compared[:, missing, None]
            with np.errstate(divide="ignore", invalid="ignore"):
                return np.where(compared[:, missing, None] & ~itself, compared[:, None] / (alone - 1), out) * ~itself
        changed = (compared & (whole > 0)) | (own & (own.sum(axis=1) > 1)[:, None])
        several = compared.sum(axis=1) > 1
        out[~several[:, None] & compared[:, missing]] = np.nan
        changed = (changed & (several[:, None] | own))[:, missing]
        if self.how.penalised:
            changed &= ~self._penalised_units(out, changed, missing)
        panels, places = np.nonzero(changed)
        for start in range(0, len(panels), PROBLEMS_AT_ONCE):  # NaN where there is no optimum
            rows, place = panels[start : start + PROBLEMS_AT_ONCE], places[start : start + PROBLEMS_AT_ONCE]
            unit = missing[place]
            line, treated = np.arange(len(rows)), own[rows, unit]
            base, eligible = self.base[rows], compared[rows]
            left = np.maximum(self.block.treated[rows].sum(axis=1) - 1, 1)
            shift = base[line, :, unit] * (treated / left)[:, None]
            base += shift[:, :, None]
            eligible[line, unit] = False
            penalty = np.broadcast_to((np.square(self.block.zeta) * self.block.date)[rows, None], eligible.shape)
            weights, optimal = simplex_least_squares(base, penalty, eligible, whole[rows] > 0)
            out[rows, place] = np.where(optimal[:, None], weights, np.nan)
        return out

    def _penalised_units(self, out: Floats, changed: Flags, missing: Codes) -> Flags:
        """Put weights into `out` (P, M, N) where the dual finds them; says where, (P, M)."""
        compared = self.block.controls > 0
        d = np.square(self.block.zeta) * self.block.date
        squares = np.where(compared, np.square(self.base).sum(axis=1), 0.0)
        scale = squares.sum(axis=1) / np.maximum(compared.sum(axis=1), 1) + d
        usable = np.isfinite(self.base).all(axis=(1, 2)) & (d > PENALISED * scale) & (self.fit.units > 0).any(axis=1)
        scale = np.where(usable, scale, 1.0)
        c = np.where(usable[:, None, None], self.base, 0.0) / np.sqrt(scale)[:, None, None]
        c, d = np.concatenate([c, compared[:, None] * 1.0], axis=1), np.where(usable, d / scale, 1.0)
        asked = changed & compared[:, missing] & usable[:, None]
        known = _downdated_units(c, d, self.fit.units > 0, compared, missing, asked, out)
        if c.shape[1] > c.shape[2]:
            return known
        rows, places = np.nonzero(changed & ~known & usable[:, None])
        for start in range(0, len(rows), PROBLEMS_AT_ONCE):
            at, place = rows[start : start + PROBLEMS_AT_ONCE], places[start : start + PROBLEMS_AT_ONCE]
            unit = missing[place]
            line, own = np.arange(len(at)), self.block.treated[at, unit] > 0
            remaining, columns = np.maximum(self.block.treated[at].sum(axis=1) - 1, 1), c[at]
            columns[:, :-1] += (columns[line, :-1, unit] * (own / remaining)[:, None])[:, :, None]
            allowed = compared[at]
            allowed[line, unit] = False
            near = (self.fit.units[at] > 0) & allowed
            near = np.where(near.any(axis=1)[:, None], near, allowed)
            u, arrived = by_dual(columns, np.broadcast_to(d[at, None], allowed.shape), allowed, near)
            total = u.sum(axis=1)
            arrived &= total > 0
            out[at[arrived], place[arrived]] = u[arrived] / total[arrived, None]
            known[at[arrived], place[arrived]] = True
        return known

    def _periods(self) -> Floats:
        """Weights of periods (P, N, T0): those without unit i in row i."""
        out = np.repeat(self.fit.periods[:, None], self.block.controls.shape[1], axis=1)
        compared = self.block.controls > 0
        if self.how.periods != "fitted":
            return out
        few = compared.sum(axis=1) < 2
        out[few[:, None] & compared] = np.nan
        changed = compared & ~few[:, None]
        left = self.centred - self.change[:, None]
        left -= np.matmul(left, self.block.controls[:, :, None]) / compared.sum(axis=1)[:, None, None]
        left *= compared[:, None]
        known = self._nearby_periods(out, np.ascontiguousarray(left.transpose(0, 2, 1)), changed)
        panel, missing = np.nonzero(changed & ~known)
        for start in range(0, len(panel), PROBLEMS_AT_ONCE):  # NaN where there is no optimum
            rows, unit = panel[start : start + PROBLEMS_AT_ONCE], missing[start : start + PROBLEMS_AT_ONCE]
            line, some, others = np.arange(len(rows)), left[rows], compared[rows]
            count = others.sum(axis=1) - 1.0
            own = some[line, :, unit]
            some += (own / count[:, None])[:, :, None]
            others[line, unit] = False
            some *= others[:, None]
            penalty = np.broadcast_to((np.square(self.block.slight[rows]) * count)[:, None], own.shape)
            columns, every = np.ascontiguousarray(some.transpose(0, 2, 1)), np.ones(own.shape, dtype=bool)
            weights, optimal = simplex_least_squares(columns, penalty, every, self.fit.periods[rows] > 0)
            out[rows, unit] = np.where(optimal[:, None], weights, np.nan)
        return out

    def _nearby_periods(self, out: Floats, left: Floats, changed: Flags) -> Flags:
        """Put weights into `out` (P, N, T0) where they follow from cross products of centred rows left (P, N, T0), less
        those of one; says where, (P, N).

        With l_i the centred row of control i of n, the sum of squares around the mean without it is that of the whole
        less n/(n - 1) l_i l_i'.
        """
        inside, count = self.fit.periods > 0, (self.block.controls > 0).sum(axis=1)
        scale = np.vecdot(left, left).sum(axis=1) / inside.shape[1]
        # of no more controls than periods, many weights fit equally well: see `simplex._solved`
        usable = np.isfinite(scale) & (scale > 0) & inside.any(axis=1) & (count > inside.shape[1])
        rows = np.where(usable[:, None, None], left, 0.0) / np.sqrt(np.where(usable, scale, 1.0))[:, None, None]
        gram = np.matmul(rows.transpose(0, 2, 1), rows) + 1.0
        small = np.square(self.block.slight) * count / np.where(usable, scale, 1.0)
        np.einsum("pii->pi", gram)[:] += np.where(usable, np.maximum(small, LEAST), 1.0)[:, None]
        factor = count / np.maximum(count - 1, 1)
        known = _downdated_periods(gram, rows, factor, inside, changed & usable[:, None], out)
        if rows.shape[1] <= rows.shape[2]:
            return known
        panel, missing = np.nonzero(changed & ~known & usable[:, None])
        for start in range(0, len(panel), PROBLEMS_AT_ONCE):
            some = slice(start, start + PROBLEMS_AT_ONCE)
            at, unit = panel[some], missing[some]
            own = rows[at, unit]
            less = gram[at]
            less -= (factor[at, None] * own)[:, :, None] * own[:, None]
            u, optimal = by_exchange(less, np.ones(own.shape, dtype=bool), inside[at])
            total = u.sum(axis=1)
            optimal &= total > 0
            out[at[optimal], unit[optimal]] = u[optimal] / total[optimal, None]
            known[at[optimal], unit[optimal]] = True
        return known


@np.errstate(divide="ignore", invalid="ignore")  # of those that are not asked for
def _downdated_units(
    c: Floats, d: Floats, inside: Flags, compared: Flags, missing: Codes, asked: Flags, out: Floats
) -> Flags:
    """Put weights without one control each, `missing` (M,), into `out` (P, M, N) where no sign turns wrong; says where.

    With K = d I + sum over columns with weight of c_j c_j', K x = e, s = C'x and u = max(0, s), without column i s
    moves by C'K^-1 c_i s_i / (1 - c_i'K^-1 c_i) (see `synthetic.simplex`).
    """
    matrix = np.matmul(c * inside[:, None], c.transpose(0, 2, 1))
    np.einsum("pii->pi", matrix)[:] += d[:, None]
    target = np.zeros((len(c), c.shape[1], 1))
    target[:, -1] = 1.0
    solved = np.linalg.solve(matrix, np.concatenate([target, c[:, :, missing]], axis=2))
    s = np.matmul(solved[:, None, :, 0], c)[:, 0]
    reach = np.matmul(solved[:, :, 1:].transpose(0, 2, 1), c)
    left = 1 - reach[:, np.arange(len(missing)), missing]
    far = left > LEVERAGE
    reach *= (s[:, missing] / np.where(far, left, 1.0))[:, :, None]
    reach += s[:, None]
    others = missing[:, None] != np.arange(inside.shape[1])
    kept = inside[:, None] & others
    wrong = (kept ^ (reach > 0)) & compared[:, None] & others
    known = asked & far & ~wrong.any(axis=2)
    u = np.where(kept, reach, 0.0)
    np.copyto(out, u / u.sum(axis=2, keepdims=True), where=known[:, :, None])
    return np.asarray(known)


@np.errstate(divide="ignore", invalid="ignore")  # of those that are not asked for
def _downdated_periods(gram: Floats, rows: Floats, factor: Floats, inside: Flags, asked: Flags, out: Floats) -> Flags:
    """Put weights without rows into `out` (P, N, T0) where no sign turns wrong; says where, (P, N)."""
    matrix = np.where(inside[:, :, None] & inside[:, None], gram, 0.0)
    np.einsum("pii->pi", matrix)[:] += ~inside
    sides = np.concatenate([np.ones((*inside.shape, 1)), rows.transpose(0, 2, 1)], axis=2) * inside[:, :, None]
    solved = np.linalg.solve(matrix, sides)
    u, reach = solved[:, None, :, 0], solved[:, :, 1:].transpose(0, 2, 1)
    rest = 1 - factor[:, None] * np.vecdot(rows, reach)
    far = (rest > LEVERAGE) & (rest * least_pivot(matrix)[:, None] > APART)
    moved = u + reach * (factor[:, None] * np.vecdot(rows, u) / np.where(far, rest, 1.0))[:, :, None]
    gradient = 1 - np.matmul(moved, gram) + rows * (factor[:, None] * np.vecdot(rows, moved))[:, :, None]
    wrong = np.where(inside[:, None], (moved <= 0) | (np.abs(gradient) > CERTAIN), gradient > -TOLERANCE)
    known = asked & far & ~wrong.any(axis=2)
    np.copyto(out, moved / moved.sum(axis=2, keepdims=True), where=known[:, :, None])
    return np.asarray(known)


def refitted(y: Floats, block: AdoptionBlock, fit: ComparisonFit, how: Weighting) -> Floats:
    """The estimate of a date without each unit, (P, N), of outcomes (P, T, N)."""
    step = max(1, NUMBERS // y.shape[2] ** 2)
    parts = []
    for start in range(0, len(y), step):
        some = slice(start, start + step)
        own = block.take(some)
        z, centred, _, change = less_treated(y[some], own)
        base = z[:, : block.date] if how.units == "fitted" else centred
        parts.append(WithoutUnits(base, centred, change, own, fit.take(some), how).estimates())
    return np.concatenate(parts)


WHOLE = 1e-12  # 1 - weight of a unit below which nothing is left without it


@np.errstate(divide="ignore", invalid="ignore")
def renormalised(block: AdoptionBlock, fit: ComparisonFit) -> Floats:
    """The estimate of a date without each unit, (P, N), with the weights of the whole sample, renormalised."""
    own = block.treated > 0
    left = np.where(1 - fit.units > WHOLE, 1 - fit.units, np.nan)
    synthetic = (-fit.estimate[:, None] - fit.units * fit.contrasts) / left
    remaining = own.sum(axis=1)[:, None] - 1
    return np.asarray(np.where(own, np.where(remaining > 0, -fit.contrasts / remaining, np.nan), 0.0) - synthetic)


@np.errstate(divide="ignore", invalid="ignore")
def jackknife(y: Floats, first: Codes, found: SampleFit, how: Weighting, *, refit: bool) -> Floats:
    """Standard errors (P,) from samples without one unit each, sqrt((n - 1)/n sum_i (tau_i - mean)^2) over n units.

    Outcomes (P, T, N), first treated periods (P, N). NaN where a unit cannot be missed: the only treated one, or a
    control with all weight that is not fitted anew.
    """
    total, cells, periods = np.zeros(first.shape), np.zeros(first.shape), y.shape[1]
    for rows, block, fit in found.dates:
        own, weight = block.treated > 0, periods - block.date
        treated = own.sum(axis=1)[:, None] - own
        taus = refitted(y[rows], block, fit, how) if refit else renormalised(block, fit)
        total[rows] += np.where(treated > 0, weight * treated * taus, 0.0)
        cells[rows] += weight * treated
    parts = first > 0
    taus = np.where(parts, total / cells, 0.0)
    n = parts.sum(axis=1)
    mean = taus.sum(axis=1) / n
    around = np.where(parts, np.square(taus - mean[:, None]), 0.0).sum(axis=1)
    return np.asarray(np.sqrt((n - 1) / n * around))
