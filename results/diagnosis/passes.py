"""The two passes over an estimator's fits in a cell: running moments first, then what needs their totals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from estimators.core.estimator import Status
from results.diagnosis import measures
from results.diagnosis.fits import Fits
from results.diagnosis.measures import Measured
from results.diagnosis.moments import Extremes, RunningMoments, Tally

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class FirstPass:
    """Moments and counts of K terms and E error types over the usable fits of a cell."""

    def __init__(self, terms: int, errors: int, beside: int, alpha: float) -> None:
        by_term, by_error = (terms,), (errors, terms)
        self.alpha = alpha
        self.attempted = 0
        self.statuses = np.zeros(len(Status), dtype=np.int64)
        self.usable = 0
        self.estimate, self.truth = RunningMoments(by_term, 4), RunningMoments(by_term)
        self.truth_range = Extremes(by_term)
        self.error, self.square = RunningMoments(by_term, 4), RunningMoments(by_term)
        self.relative = RunningMoments(by_term)
        self.se, self.variance = RunningMoments(by_error), RunningMoments(by_error)
        self.error_with_se, self.variance_with_error = RunningMoments(by_error), RunningMoments(by_error)
        self.covered, self.rejected = Tally(by_error), Tally(by_error)
        self.rejected_beside = Tally((beside,))
        self.wrong_sign = Tally(by_error)
        self.size_found, self.size_true = RunningMoments(by_error), RunningMoments(by_error)

    def add(self, fits: Fits, usable: Flags) -> None:
        """Take in a block; usable (R,) says which fits count."""
        self.statuses += np.bincount(fits.status, minlength=len(Status))
        self.attempted = int(self.statuses.sum() - self.statuses[Status.NOT_RUN])
        self.usable += int(usable.sum())
        found = usable[:, None] & np.isfinite(fits.estimate)
        known = found & np.isfinite(fits.truth)
        error = fits.error
        true = found & np.isfinite(error)
        self.estimate.add(fits.estimate, found)
        self.truth.add(fits.truth, known)
        self.truth_range.add(fits.truth, known)
        self.error.add(error, true)
        self.square.add(error**2, true)
        with np.errstate(divide="ignore", invalid="ignore"):
            self.relative.add(error / fits.truth, true & (fits.truth != 0))
        self.rejected_beside.add(fits.beside <= self.alpha, usable[:, None] & np.isfinite(fits.beside))
        self._add_by_error(fits, found, true)

    def _add_by_error(self, fits: Fits, found: Flags, true: Flags) -> None:
        found3, true3 = found[:, None, :], true[:, None, :]
        variance = fits.se**2
        has_se = found3 & np.isfinite(fits.se)
        self.se.add(fits.se, has_se)
        self.variance.add(variance, has_se)
        self.error_with_se.add(np.broadcast_to(fits.error[:, None, :], fits.se.shape), has_se & true3)
        self.variance_with_error.add(variance, has_se & true3)
        truth = fits.truth[:, None, :]
        self.covered.add((fits.lower <= truth) & (truth <= fits.upper), true3 & has_interval(fits))
        self.rejected.add(fits.rejected, found3 & fits.decided)
        significant = significant_fits(fits, true)
        self.wrong_sign.add(
            np.broadcast_to((fits.estimate * fits.truth < 0)[:, None, :], significant.shape), significant
        )
        self.size_found.add(np.abs(np.broadcast_to(fits.estimate[:, None, :], significant.shape)), significant)
        self.size_true.add(np.abs(np.broadcast_to(truth, significant.shape)), significant)


class SecondPass:
    """Leave-one-out values and shifted intervals, which need the totals of the first pass."""

    def __init__(self, first: FirstPass) -> None:
        by_term, by_error = first.estimate.n.shape, first.se.n.shape
        self.first = first
        self.se_error = RunningMoments(by_error)
        self.relative_ratio = RunningMoments(by_term)
        self.type_m = RunningMoments(by_error)
        self.covered, self.covered_above, self.covered_below = Tally(by_error), Tally(by_error), Tally(by_error)
        self.error_if_covered = RunningMoments(by_error)
        self.window = measures.window(first.error)

    @property
    def coverage_slope(self) -> Floats:
        """Change of the coverage of moved intervals with the move, (E, K); 0 where errors do not vary."""
        gain = self.covered_above.hits - self.covered_below.hits
        width = np.where(self.window > 0, 2 * self.window, np.inf)
        return gain / np.maximum(self.covered.n, 1.0) / width

    def add(self, fits: Fits, usable: Flags) -> None:
        """Take in a block; usable (R,) says which fits count."""
        first = self.first
        found = usable[:, None] & np.isfinite(fits.estimate)
        error = fits.error
        true = found & np.isfinite(error)
        true3, truth = true[:, None, :], fits.truth[:, None, :]
        with np.errstate(invalid="ignore", over="ignore"):
            ratio = measures.ratio(
                measures.mean_without(error, first.error), measures.mean_without(fits.truth, first.truth)
            )
            gap = measures.se_error(
                measures.mean_without(fits.se**2, first.variance_with_error),
                measures.variance_without(error[:, None, :], first.error_with_se),
            )
            size = measures.ratio(
                measures.mean_without(np.abs(fits.estimate)[:, None, :], first.size_found),
                measures.mean_without(np.abs(truth), first.size_true),
            )
        self.relative_ratio.add(ratio, true & np.isfinite(ratio))
        self.se_error.add(gap, true3 & np.isfinite(fits.se) & np.isfinite(gap))
        self.type_m.add(size, significant_fits(fits, true) & np.isfinite(size))
        self._add_moved_intervals(fits, true3 & has_interval(fits))

    def _add_moved_intervals(self, fits: Fits, usable: Flags) -> None:
        """Intervals moved by the bias, and by a little more and less; usable (R, E, K)."""
        truth, bias = fits.truth[:, None, :], self.first.error.mean

        def covers(move: Floats) -> Flags:
            return (fits.lower - move <= truth) & (truth <= fits.upper - move)

        moved = covers(bias)
        self.covered.add(moved, usable)
        self.covered_above.add(covers(bias + self.window), usable)
        self.covered_below.add(covers(bias - self.window), usable)
        self.error_if_covered.add(np.where(moved, (fits.error - bias)[:, None, :], 0.0), usable)


def has_interval(fits: Fits) -> Flags:
    """Where there is an interval, (R, E, K)."""
    return ~np.isnan(fits.lower) & ~np.isnan(fits.upper)


def significant_fits(fits: Fits, true: Flags) -> Flags:
    """Where the test rejects and the truth is not 0, (R, E, K)."""
    return fits.rejected & fits.decided & (true & (fits.truth != 0))[:, None, :]


def measures_by_term(first: FirstPass, second: SecondPass) -> dict[str, Measured]:
    """Measures that need no error type, each (K,)."""
    varies = ~first.truth_range.constant & (first.truth.n > 0)
    relative = measures.mean(first.relative)
    unsafe = first.truth_range.zero | (varies & first.truth_range.near_zero)
    ratio = measures.jackknifed(measures.ratio(first.error.average, first.truth.average), second.relative_ratio)
    truth = measures.mean(first.truth)
    known = first.error.n > 0
    spread = measures.empirical_se(first.error), measures.empirical_se(first.estimate)
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


def measures_by_error(first: FirstPass, second: SecondPass) -> dict[str, Measured]:
    """Measures of each error type, (E, K)."""
    gap = measures.se_error(first.variance_with_error.average, first.error_with_se.variance)
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
