"""The two passes over an estimator's fits in a cell: running moments first, then what needs their totals."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from estimators.core.estimator import Status
from results.diagnosis import influence, measures
from results.diagnosis.fits import Fits
from results.diagnosis.measures import Measured
from results.diagnosis.moments import Extremes, RunningMoments, Tally
from results.diagnosis.worlds import Between, Grouping, WorldSums, between_worlds, clustered, widened

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Influences = dict[str, tuple[Any, Flags]]  # (R, *shape) by measure, and which fits have one
OF_A_TERM = ("truth", "mean_estimate", "bias", "relative_bias", "relative_bias_ratio", "empirical_se", "between_worlds",
             "mse", "rmse")  # measures that need no error type  # fmt: skip


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
    """Leave-one-out values, shifted intervals and sums by world, which need the totals of the first pass."""

    def __init__(self, first: FirstPass, worlds: int = 1) -> None:
        by_term, by_error = first.estimate.n.shape, first.se.n.shape
        self.first = first
        self.se_error = RunningMoments(by_error)
        self.relative_ratio = RunningMoments(by_term)
        self.ratio_shown = bool(truth_varies(first).any())  # elsewhere it is the relative bias, and is left out
        self.type_m = RunningMoments(by_error)
        self.covered, self.covered_above, self.covered_below = Tally(by_error), Tally(by_error), Tally(by_error)
        self.error_if_covered = RunningMoments(by_error)
        self.window = measures.window(first.error)
        self.by_world = ByWorld(first, worlds)

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
            gap = measures.se_error(
                measures.mean_without(fits.se**2, first.variance_with_error),
                measures.variance_without(error[:, None, :], first.error_with_se),
            )
            size = measures.ratio(
                measures.mean_without(np.abs(fits.estimate)[:, None, :], first.size_found),
                measures.mean_without(np.abs(truth), first.size_true),
            )
            if self.ratio_shown:
                ratio = measures.ratio(
                    measures.mean_without(error, first.error), measures.mean_without(fits.truth, first.truth)
                )
                self.relative_ratio.add(ratio, true & np.isfinite(ratio))
        self.se_error.add(gap, true3 & np.isfinite(fits.se) & np.isfinite(gap))
        self.type_m.add(size, significant_fits(fits, true) & np.isfinite(size))
        self._add_moved_intervals(fits, true3 & has_interval(fits))
        self.by_world.add(fits, usable, found, true)

    def _add_moved_intervals(self, fits: Fits, usable: Flags) -> None:
        """Intervals moved by the bias, and by a little more and less; usable (R, E, K)."""
        bias = self.first.error.mean
        covers = moved(fits, bias)
        self.covered.add(covers, usable)
        self.covered_above.add(moved(fits, bias + self.window), usable)
        self.covered_below.add(moved(fits, bias - self.window), usable)
        self.error_if_covered.add(np.where(covers, (fits.error - bias)[:, None, :], 0.0), usable)


class ByWorld:
    """Sums of influences by world, for the Monte Carlo errors of what replications share; idle with one world."""

    def __init__(self, first: FirstPass, worlds: int) -> None:
        self.first, self.worlds = first, worlds
        self.sums: dict[str, WorldSums] = {}

    def add(self, fits: Fits, usable: Flags, found: Flags, true: Flags) -> None:
        """Take in a block; usable (R,), found (with an estimate) and true (with an error) (R, K)."""
        if self.worlds == 1:
            return
        rows = Grouping.of(fits.world)
        tried, beside = fits.status != Status.NOT_RUN, usable[:, None] & np.isfinite(fits.beside)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            found_here = influences_by_term(fits, found, true, self.first) | influences_by_error(
                fits, found, true, self.first
            )
            found_here["convergence"] = (usable[:, None] - self.first.usable / max(self.first.attempted, 1),
                                         tried[:, None])  # fmt: skip
            rejected = influence.of_share(fits.beside <= self.first.alpha, self.first.rejected_beside)
            found_here["beside"] = rejected, beside
            found_here |= moved_intervals(fits, true, self.first)
        for name, (values, counted) in found_here.items():
            if name not in self.sums:
                self.sums[name] = WorldSums(self.worlds, values.shape[1:])
            self.sums[name].add(values, counted, rows)

    def groups(self, name: str) -> Floats | None:
        """Worlds behind a measure; None where there is one world, or none of its fits."""
        return self.sums[name].groups if name in self.sums else None

    def widened(self, name: str, measured: Measured, slope: Floats | None = None) -> Measured:
        """A measure with the Monte Carlo error that its worlds give. slope: B' of moved intervals."""
        if name not in self.sums:
            return measured
        total, n = self.sums[name].total, self.sums[name].n
        if name == "bias_eliminated_coverage" and slope is not None:
            total = self.sums[name].around(measured.value) + slope * self.sums["shift"].total
        return widened(measured, clustered(total, n))

    @property
    def between(self) -> Between | None:
        """The share of the variance of e (of estimates where the truth is unknown) between worlds, (K,)."""
        if not self.sums:
            return None
        known = between_worlds(self.sums["bias"], self.first.error)
        unknown = between_worlds(self.sums["mean_estimate"], self.first.estimate)
        has = self.first.error.n > 0

        def either(a: Floats, b: Floats) -> Floats:
            return np.where(has, a, b)

        measured = Measured(*map(either, known.measured, unknown.measured))
        return Between(measured, either(known.lower, unknown.lower), either(known.upper, unknown.upper))


def influences_by_term(fits: Fits, found: Flags, true: Flags, first: FirstPass) -> Influences:
    """On the measures that need no error type, (R, K)."""
    error, known = fits.error, first.error.n > 0
    spread = np.where(known, influence.of_spread(error, first.error),
                      influence.of_spread(fits.estimate, first.estimate))  # fmt: skip
    relative = influence.of_mean(measures.ratio(error, fits.truth), first.relative)
    return {
        "truth": (influence.of_mean(fits.truth, first.truth), found & np.isfinite(fits.truth)),
        "mean_estimate": (influence.of_mean(fits.estimate, first.estimate), found),
        "bias": (influence.of_mean(error, first.error), true),
        "relative_bias": (relative, true & (fits.truth != 0)),
        "relative_bias_ratio": (influence.of_ratio(error, fits.truth, first.error, first.truth), true),
        "empirical_se": (spread, np.where(known, true, found)),
        "mse": (influence.of_mean(np.square(error), first.square), true),
        "rmse": (influence.of_root(np.square(error), first.square), true),
    }


def influences_by_error(fits: Fits, found: Flags, true: Flags, first: FirstPass) -> Influences:
    """On the measures of each error type, (R, E, K), but for the coverage of moved intervals."""
    found3, true3, shape = found[:, None, :], true[:, None, :], fits.se.shape
    truth, estimate, variance = fits.truth[:, None, :], fits.estimate[:, None, :], np.square(fits.se)
    error, significant = np.broadcast_to(fits.error[:, None, :], shape), significant_fits(fits, true)
    has_se = found3 & np.isfinite(fits.se)
    covered = (fits.lower <= truth) & (truth <= fits.upper)
    wrong = np.broadcast_to(estimate * truth < 0, shape)
    sizes = np.broadcast_to(np.abs(estimate), shape), np.broadcast_to(np.abs(truth), shape)
    gap = influence.of_se_error(variance, error, first.variance_with_error, first.error_with_se)
    return {
        "mean_se": (influence.of_mean(fits.se, first.se), has_se),
        "model_se": (influence.of_root(variance, first.variance), has_se),
        "se_error": (gap, has_se & true3),
        "coverage": (influence.of_share(covered, first.covered), true3 & has_interval(fits)),
        "rejection": (influence.of_share(fits.rejected, first.rejected), found3 & fits.decided),
        "type_s": (influence.of_share(wrong, first.wrong_sign), significant),
        "type_m": (influence.of_ratio(*sizes, first.size_found, first.size_true), significant),
    }


def moved_intervals(fits: Fits, true: Flags, first: FirstPass) -> Influences:
    """The parts h and e - b of the influence h - B + B'(b) (e - b) on the coverage of moved intervals, (R, E, K)."""
    usable = true[:, None, :] & has_interval(fits)
    shift = np.broadcast_to((fits.error - first.error.mean)[:, None, :], fits.se.shape)
    return {"bias_eliminated_coverage": (moved(fits, first.error.mean), usable), "shift": (shift, usable)}


def moved(fits: Fits, move: Floats) -> Flags:
    """Whether intervals cover the truth once they are moved down by `move` (K,), (R, E, K)."""
    truth = fits.truth[:, None, :]
    return (fits.lower - move <= truth) & (truth <= fits.upper - move)


def has_interval(fits: Fits) -> Flags:
    """Where there is an interval, (R, E, K)."""
    return ~np.isnan(fits.lower) & ~np.isnan(fits.upper)


def significant_fits(fits: Fits, true: Flags) -> Flags:
    """Where the test rejects and the truth is not 0, (R, E, K)."""
    return fits.rejected & fits.decided & (true & (fits.truth != 0))[:, None, :]


def truth_varies(first: FirstPass) -> Flags:
    """Terms whose truth is not the same in all draws, (K,)."""
    return ~first.truth_range.constant & (first.truth.n > 0)


def measures_by_term(first: FirstPass, second: SecondPass) -> dict[str, Measured]:
    """Measures that need no error type, each (K,)."""
    varies = truth_varies(first)
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
