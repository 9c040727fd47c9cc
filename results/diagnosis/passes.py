"""The two passes over an estimator's fits in a cell: running moments first, then what needs their totals."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from estimators.core.estimator import Status
from results.diagnosis import measures
from results.diagnosis import measures as influence
from results.diagnosis.fits import (
    Fits,
    Reported,
    between_worlds,
    clustered,
    spread_over_worlds,
    variance_over_worlds,
    widened,
)
from results.diagnosis.measures import Extremes, Grouping, Measured, Piece, RunningMoments, Tally
from sim.arrays import Flags, Floats

OF_A_TERM = ("truth", "mean_estimate", "bias", "relative_bias", "relative_bias_ratio", "empirical_se", "between_worlds",
             "mse", "rmse")  # measures that need no error type  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class _Counted:
    """Fits with what of them counts.

    rows: by world, None where worlds are not told apart. error (R, K). found, true (R, K): fits with an estimate, and
    those with an error.
    """

    fits: Fits
    rows: Grouping | None
    error: Floats
    found: Flags
    true: Flags

    @classmethod
    def of(cls, fits: Fits, usable: Flags, rows: Grouping | None) -> _Counted:
        """usable (R,) says which fits count."""
        error, found = fits.error, usable[:, None] & np.isfinite(fits.estimate)
        return cls(fits, rows, error, found, found & np.isfinite(error))

    @property
    def true3(self) -> Flags:
        """Fits with an error, (R, 1, K)."""
        return self.true[:, None, :]

    @property
    def with_interval(self) -> Flags:
        """Fits with an error and an interval, (R, E, K)."""
        return self.true3 & ~np.isnan(self.fits.lower) & ~np.isnan(self.fits.upper)

    @property
    def significant(self) -> Flags:
        """Fits whose test rejects and whose truth is not 0, (R, E, K)."""
        fits = self.fits
        return fits.rejected & fits.decided & (self.true & (fits.truth != 0))[:, None, :]


class FirstPass:
    """Moments and counts of K terms and E error types over the usable fits of a cell, by world where there are some."""

    def __init__(self, terms: int, errors: int, beside: int, alpha: float, worlds: int = 1) -> None:
        def of_term(order: int = 2) -> RunningMoments:
            return RunningMoments((terms,), order, worlds)

        def of_error() -> RunningMoments:
            return RunningMoments((errors, terms), 2, worlds)

        self.alpha, self.worlds = alpha, worlds
        self.attempted = 0
        self.statuses = np.zeros(len(Status), dtype=np.int64)
        self.usable = 0
        self.converged, self.rejected_beside = Tally((1,), worlds), Tally((beside,), worlds)
        self.estimate, self.truth, self.truth_range = of_term(4), of_term(), Extremes((terms,))
        self.error, self.square, self.relative = of_term(4), of_term(), of_term()
        self.se, self.variance = of_error(), of_error()
        self.error_with_se, self.variance_with_error = of_error(), of_error()
        self.error_with_interval = of_error()
        self.covered, self.rejected, self.wrong_sign = (Tally((errors, terms), worlds) for _ in range(3))
        self.size_found, self.size_true = of_error(), of_error()

    def add(self, fits: Fits, usable: Flags, rows: Grouping | None = None) -> None:
        """Take in some fits; usable (R,) says which count. rows: of all of them by world, where there are several."""
        self.statuses += np.bincount(fits.status, minlength=len(Status))
        self.attempted = int(self.statuses.sum() - self.statuses[Status.NOT_RUN])
        self.usable += int(usable.sum())
        counted = _Counted.of(fits, usable, rows)
        error, found, true = counted.error, counted.found, counted.true
        self.converged.add(usable[:, None], (fits.status != Status.NOT_RUN)[:, None], rows)
        if fits.beside.size:
            self.rejected_beside.add(fits.beside <= self.alpha, usable[:, None] & np.isfinite(fits.beside), rows)
        known = found & np.isfinite(fits.truth)
        self.estimate.add(fits.estimate, found, rows)
        self.truth.add(fits.truth, known, rows)
        self.truth_range.add(fits.truth, known)
        self.square.add(error * error, true, rows)
        with np.errstate(divide="ignore", invalid="ignore"):
            self.relative.add(error / fits.truth, true & (fits.truth != 0), rows)
        of_error = Piece.of(error, true, rows, 4)
        self.error.merge(of_error)
        self._add_by_error(counted, of_error.by_error)

    def _add_by_error(self, counted: _Counted, of_error: Piece) -> None:
        """What each error type has a value of; of_error: the errors of all fits that have one."""
        fits, rows, true3, interval = counted.fits, counted.rows, counted.true3, counted.with_interval
        found3, truth = counted.found[:, None, :], fits.truth[:, None, :]

        def error_where(which: Flags) -> Piece:
            if (which == true3).all():
                return of_error
            return Piece.of(np.broadcast_to(counted.error[:, None, :], which.shape), which, rows)

        has_se, variance = found3 & np.isfinite(fits.se), fits.se * fits.se
        with_error, of_variance = has_se & true3, Piece.of(variance, has_se, rows)
        self.se.add(fits.se, has_se, rows)
        self.variance.merge(of_variance)
        same = np.array_equal(with_error, has_se)
        self.variance_with_error.merge(of_variance if same else Piece.of(variance, with_error, rows))
        self.error_with_se.merge(error_where(with_error))
        self.error_with_interval.merge(error_where(interval))
        self.covered.add((fits.lower <= truth) & (truth <= fits.upper), interval, rows)
        self.rejected.add(fits.rejected, found3 & fits.decided, rows)
        significant = counted.significant
        if not significant.any():
            return
        estimate, shape = fits.estimate[:, None, :], significant.shape
        self.wrong_sign.add(np.broadcast_to(np.sign(estimate) * np.sign(truth) < 0, shape), significant, rows)
        self.size_found.add(np.broadcast_to(np.abs(estimate), shape), significant, rows)
        self.size_true.add(np.broadcast_to(np.abs(truth), shape), significant, rows)


class SecondPass:
    """Leave-one-out values and moved intervals, which need the totals of the first pass."""

    def __init__(self, first: FirstPass) -> None:
        by_term, by_error = first.estimate.n.shape, first.se.n.shape
        self.first = first
        self.se_error = RunningMoments(by_error)
        self.relative_ratio = RunningMoments(by_term)
        self.ratio_shown = bool(truth_varies(first).any())  # elsewhere it is the relative bias, and is left out
        self.type_m = RunningMoments(by_error)
        self.covered = Tally(by_error, first.worlds)
        self.covered_above, self.covered_below = Tally(by_error), Tally(by_error)
        self.error_if_covered = np.zeros(by_error)  # sum h (e - b)
        self.window = measures.window(first.error)

    @property
    def coverage_slope(self) -> Floats:
        """Change of the coverage of moved intervals with the move, (E, K); 0 where errors do not vary."""
        gain = self.covered_above.hits - self.covered_below.hits
        width = np.where(self.window > 0, 2 * self.window, np.inf)
        return gain / np.maximum(self.covered.n, 1.0) / width

    def add(self, fits: Fits, usable: Flags, rows: Grouping | None = None) -> None:
        """Take in some fits; usable (R,) says which count. rows: of all of them by world, where there are several."""
        first, counted = self.first, _Counted.of(fits, usable, rows)
        error, significant = counted.error, counted.significant
        with np.errstate(invalid="ignore", over="ignore"):
            gap = measures.se_error(
                measures.mean_without(fits.se * fits.se, first.variance_with_error),
                measures.variance_without(error[:, None, :], first.error_with_se),
            )
            self.se_error.add(gap, counted.true3 & np.isfinite(fits.se) & np.isfinite(gap))
            if significant.any():
                size = measures.ratio(
                    measures.mean_without(np.abs(fits.estimate)[:, None, :], first.size_found),
                    measures.mean_without(np.abs(fits.truth)[:, None, :], first.size_true),
                )
                self.type_m.add(size, significant & np.isfinite(size))
            if self.ratio_shown:
                ratio = measures.ratio(
                    measures.mean_without(error, first.error), measures.mean_without(fits.truth, first.truth)
                )
                self.relative_ratio.add(ratio, counted.true & np.isfinite(ratio))
        self._add_moved_intervals(counted)

    @cached_property
    def by_world(self) -> dict[str, Influences]:
        """Sums of influences by world, for the Monte Carlo errors of what replications share; none with one world."""
        if self.first.worlds == 1:
            return {}
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return influences_by_term(self.first) | influences_by_error(self)

    def _add_moved_intervals(self, counted: _Counted) -> None:
        """Intervals moved down by the bias, and by a little more and less."""
        fits, bias, usable = counted.fits, self.first.error.mean, counted.with_interval
        truth = fits.truth[:, None, :]
        low, high = fits.lower - truth, fits.upper - truth
        covers = (low <= bias) & (bias <= high) & usable
        self.covered.add(covers, usable, counted.rows)
        for tally, move in ((self.covered_above, bias + self.window), (self.covered_below, bias - self.window)):
            tally.add((low <= move) & (move <= high), usable)
        shift = np.where(counted.true, counted.error - bias, 0.0)
        self.error_if_covered += (shift[:, None, :] * covers).sum(axis=0)


class Influences(NamedTuple):
    """Sums of the influences of fits on a measure by world, and counts of its fits; each (W, *shape)."""

    total: Floats
    n: Floats

    @property
    def groups(self) -> Floats:
        """Worlds that hold some fit of the measure."""
        return (self.n > 0).sum(axis=0).astype(np.float64)


def influences_by_term(first: FirstPass) -> dict[str, Influences]:
    """On the measures that need no error type, (W, K), or (W, S) and (W, 1) for tests beside terms and convergence."""
    error, estimate, known = first.error, first.estimate, first.error.n > 0
    spread = np.where(known, influence.of_spread(error), influence.of_spread(estimate))
    return {
        "truth": Influences(influence.of_mean(first.truth), first.truth.counts),
        "mean_estimate": Influences(influence.of_mean(estimate), estimate.counts),
        "bias": Influences(influence.of_mean(error), error.counts),
        "relative_bias": Influences(influence.of_mean(first.relative), first.relative.counts),
        "relative_bias_ratio": Influences(influence.of_ratio(error, first.truth), error.counts),
        "empirical_se": Influences(spread, np.where(known, error.counts, estimate.counts)),
        "mse": Influences(influence.of_mean(first.square), first.square.counts),
        "rmse": Influences(influence.of_root(first.square), first.square.counts),
        "convergence": _of_share(first.converged),
        "beside": _of_share(first.rejected_beside),
    }


def influences_by_error(second: SecondPass) -> dict[str, Influences]:
    """On the measures of each error type, (W, E, K).

    A fit adds h - B + B'(b) (e - b) to the coverage of moved intervals, b the bias.
    """
    first = second.first
    within, variance = first.error_with_interval, first.variance_with_error
    shift = within.totals + within.counts * (within.mean - first.error.mean)
    moved = _of_share(second.covered)
    return {
        "mean_se": Influences(influence.of_mean(first.se), first.se.counts),
        "model_se": Influences(influence.of_root(first.variance), first.variance.counts),
        "se_error": Influences(influence.of_se_error(variance, first.error_with_se), variance.counts),
        "coverage": _of_share(first.covered),
        "bias_eliminated_coverage": moved._replace(total=moved.total + second.coverage_slope * shift),
        "rejection": _of_share(first.rejected),
        "type_s": _of_share(first.wrong_sign),
        "type_m": Influences(influence.of_ratio(first.size_found, first.size_true), first.size_true.counts),
    }


def _of_share(tally: Tally) -> Influences:
    return Influences(influence.of_share(tally), tally.counts)


def truth_varies(first: FirstPass) -> Flags:
    """Terms whose truth is not the same in all draws, (K,)."""
    return ~first.truth_range.constant & (first.truth.n > 0)


def reported(second: SecondPass, name: str, measured: Measured, share: bool = False) -> Reported:
    """A measure with the Monte Carlo error and interval that its worlds give; share: whether it is a proportion."""
    if name not in second.by_world:
        return Reported(measured, *measures.interval(measured, share), np.ones(measured.value.shape))
    sums = second.by_world[name]
    wide = widened(measured, clustered(*sums))
    return Reported(wide, *measures.interval(wide, share, sums.groups), sums.groups)


def share_between_worlds(first: FirstPass) -> Reported:
    """The share of the variance of e (of estimates where the truth is unknown) between worlds, (K,)."""
    known, unknown, has = between_worlds(first.error), between_worlds(first.estimate), first.error.n > 0

    def either(a: Floats, b: Floats) -> Floats:
        return np.where(has, a, b)

    measured = Measured(*map(either, known.measured, unknown.measured))
    return Reported(measured, either(known.lower, unknown.lower), either(known.upper, unknown.upper), unknown.worlds)


def measures_by_term(second: SecondPass) -> dict[str, Measured]:
    """Measures that need no error type, each (K,)."""
    first = second.first
    varies = truth_varies(first)
    relative = measures.mean(first.relative)
    unsafe = first.truth_range.zero | (varies & first.truth_range.near_zero)
    ratio = measures.jackknifed(measures.ratio(first.error.average, first.truth.average), second.relative_ratio)
    truth = measures.mean(first.truth)
    known = first.error.n > 0
    spread = spread_over_worlds(first.error), spread_over_worlds(first.estimate)
    return {
        "truth": truth._replace(mcse=np.where(varies, truth.mcse, np.where(first.truth.n > 0, 0.0, np.nan))),
        "mean_estimate": measures.mean(first.estimate),
        "bias": measures.mean(first.error),
        "relative_bias": _where(~unsafe, relative),
        "relative_bias_ratio": _where(varies, ratio),
        "empirical_se": Measured(*(np.where(known, a, b) for a, b in zip(*spread, strict=True))),
        "mse": measures.mean(first.square),
        "rmse": measures.root_mean(first.square),
    }


def measures_by_error(second: SecondPass) -> dict[str, Measured]:
    """Measures of each error type, (E, K)."""
    first = second.first
    gap = measures.se_error(first.variance_with_error.average, variance_over_worlds(first.error_with_se))
    size = measures.ratio(first.size_found.average, first.size_true.average)
    return {
        "mean_se": measures.mean(first.se),
        "model_se": measures.root_mean(first.variance),
        "se_error": measures.jackknifed(gap, second.se_error),
        "coverage": measures.proportion(first.covered.hits, first.covered.n),
        "bias_eliminated_coverage": measures.bias_eliminated_coverage(
            second.covered, second.coverage_slope, second.error_if_covered, first.error
        ),
        "rejection": measures.proportion(first.rejected.hits, first.rejected.n),
        "type_s": measures.proportion(first.wrong_sign.hits, first.wrong_sign.n),
        "type_m": measures.jackknifed(size, second.type_m),
    }


def _where(sound: Flags, measured: Measured) -> Measured:
    return Measured(np.where(sound, measured.value, np.nan), np.where(sound, measured.mcse, np.nan), measured.n)
