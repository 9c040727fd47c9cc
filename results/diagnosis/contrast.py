"""Paired contrasts of two estimators on the same draws, far more precise than the difference of two diagnoses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from estimators.core.estimator import Status
from results.diagnosis import influence, measures
from results.diagnosis.fits import fits_of
from results.diagnosis.grouping import Grouping
from results.diagnosis.measures import Measured
from results.diagnosis.moments import RunningMoments
from results.diagnosis.worlds import clustered, variance_over_worlds, widened
from results.store.block import Records
from sim.arrays import Floats
from sim.errors import bad, one_of

Target = tuple[str, str, str]  # estimator, term, error type


@dataclass(frozen=True, slots=True)
class _Side:
    """One of the two: errors e (R, 1), 1 or 0 for covered, NaN without an interval (R, 1); the rest (R,)."""

    error: Floats
    covered: Floats
    ok: NDArray[np.bool_]
    attempted: NDArray[np.bool_]
    world: NDArray[np.intp]


def contrast(records: Records, a: Target, b: Target, cell: int, alpha: float = 0.05) -> pd.DataFrame:
    """A minus B on the draws where both succeeded, with paired Monte Carlo errors.

    a, b: (estimator, term, error type). Rows: bias_difference, mse_difference, coverage_difference and
    relative_precision (of B over A, %: positive where B is more precise); columns measure, value, mcse, lower, upper
    (95%), n, attempted. Raises BadInput for an estimator, term or error type that the store lacks.
    """
    places = _place(records, a, "a"), _place(records, b, "b")
    names = ("bias", "mse", "coverage", "a", "b")
    moments = {name: RunningMoments((1,), worlds=records.worlds) for name in names}
    attempted = 0
    for one, other, both in _pairs(records, a, b, cell, places, alpha):
        attempted += int((one.attempted & other.attempted).sum())
        rows = Grouping.of(one.world) if records.worlds > 1 else None
        moments["bias"].add(one.error - other.error, both, rows)
        moments["mse"].add(one.error**2 - other.error**2, both, rows)
        covered = one.covered - other.covered
        moments["coverage"].add(covered, both & np.isfinite(covered), rows)
        moments["a"].add(one.error, both, rows)
        moments["b"].add(other.error, both, rows)
    without = RunningMoments((1,))
    for one, other, both in _pairs(records, a, b, cell, places, alpha):
        rest = (measures.variance_without(side.error, moments[key]) for side, key in ((one, "a"), (other, "b")))
        gain = measures.relative_precision(*rest)
        without.add(gain, both & np.isfinite(gain))
    gain = measures.relative_precision(variance_over_worlds(moments["a"]), variance_over_worlds(moments["b"]))
    measured = {f"{name}_difference": (measures.mean(moments[name]), influence.of_mean(moments[name]),
                                      moments[name].counts) for name in names[:3]}  # fmt: skip
    precision = influence.of_precision(moments["a"], moments["b"])
    measured["relative_precision"] = measures.jackknifed(gain, without), precision, moments["a"].counts
    return _table(measured, records.worlds, attempted)


def _table(measured: Mapping[str, tuple[Measured, Floats, Floats]], worlds: int, attempted: int) -> pd.DataFrame:
    """One row a measure, from it, its sums of influences and counts by world."""
    rows = []
    for name, (values, total, counts) in measured.items():
        groups = None
        if worlds > 1:
            groups, values = (counts > 0).sum(axis=0).astype(np.float64), widened(values, clustered(total, counts))
        low, high = measures.interval(values, False, groups)
        rows.append({"measure": name, "value": values.value[0], "mcse": values.mcse[0], "lower": low[0],
                     "upper": high[0], "n": int(values.n[0]), "attempted": attempted})  # fmt: skip
    return pd.DataFrame(rows)


def _place(records: Records, target: Target, argument: str) -> tuple[int, int]:
    """Positions of the error type and term in the estimator's layout."""
    name, term, error = target
    layouts = records.layouts
    if name not in layouts:
        raise bad(f"no estimator {name!r}", where=f"contrast {argument}", allowed=one_of(layouts),
                  remedy="choose one of them")  # fmt: skip
    errors = layouts[name].errors or ("",)  # without errors there are no intervals either
    for what, value, allowed in (("term", term, layouts[name].terms), ("error type", error, errors)):
        if value not in allowed:
            raise bad(f"{name} has no {what} {value!r}", where=f"contrast {argument}", allowed=one_of(allowed),
                      remedy="choose one of them")  # fmt: skip
    return errors.index(error), layouts[name].terms.index(term)


def _pairs(records: Records, a: Target, b: Target, cell: int, places: tuple[tuple[int, int], tuple[int, int]],
           alpha: float) -> Iterator[tuple[_Side, _Side, NDArray[np.bool_]]]:  # fmt: skip
    """Both sides of every block that holds both, and where both are usable, (R, 1)."""
    for block in records.blocks(cell):
        sides = []
        for (name, _, _), (error, term) in zip((a, b), places, strict=True):
            fits = fits_of(block, name, records.layouts[name], alpha, records.worlds)
            if fits is not None:
                truth, ends = fits.truth[:, term], (fits.lower, fits.upper)
                lower, upper = (end[:, error, term] if end.shape[1] else np.full(truth.shape, np.nan) for end in ends)
                covered = np.where(np.isnan(lower) | np.isnan(upper), np.nan, (lower <= truth) & (truth <= upper))
                sides.append(_Side(fits.error[:, [term]], covered[:, None], fits.ok, fits.status != Status.NOT_RUN,
                                   fits.world))  # fmt: skip
        if len(sides) == 2:
            one, other = sides
            finite = np.isfinite(one.error[:, 0]) & np.isfinite(other.error[:, 0])
            yield one, other, (one.ok & other.ok & finite)[:, None]
