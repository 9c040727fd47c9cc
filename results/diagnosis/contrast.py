"""Paired contrasts of two estimators on the same draws, far more precise than the difference of two diagnoses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from estimators.core.estimator import Status
from estimators.core.frames import usual_error
from results.diagnosis import influence, measures
from results.diagnosis.fits import fits_of
from results.diagnosis.measures import Measured
from results.diagnosis.moments import RunningMoments
from results.diagnosis.worlds import Grouping, WorldSums, clustered, widened
from results.store.block import Records
from results.store.grid import label
from sim.errors import bad, closest, one_of

if TYPE_CHECKING:
    from results.diagnosis.diagnose import Diagnosis

Floats = NDArray[np.float64]
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
    moments = {name: RunningMoments((1,)) for name in names}
    attempted = 0
    for one, other, both in _pairs(records, a, b, cell, places, alpha):
        attempted += int((one.attempted & other.attempted).sum())
        moments["bias"].add(one.error - other.error, both)
        moments["mse"].add(one.error**2 - other.error**2, both)
        covered = one.covered - other.covered
        moments["coverage"].add(covered, both & np.isfinite(covered))
        moments["a"].add(one.error, both)
        moments["b"].add(other.error, both)
    without = RunningMoments((1,))
    by_world = {name: WorldSums(records.worlds, (1,)) for name in (*names[:3], "precision")}
    for one, other, both in _pairs(records, a, b, cell, places, alpha):
        rest = (measures.variance_without(side.error, moments[key]) for side, key in ((one, "a"), (other, "b")))
        gain = measures.relative_precision(*rest)
        without.add(gain, both & np.isfinite(gain))
        rows = Grouping.of(one.world)
        by_world["bias"].add(one.error - other.error, both, rows)
        by_world["mse"].add(one.error**2 - other.error**2, both, rows)
        covered = one.covered - other.covered
        by_world["coverage"].add(covered, both & np.isfinite(covered), rows)
        by_world["precision"].add(
            influence.of_precision(one.error, other.error, moments["a"], moments["b"]), both, rows
        )
    gain = measures.relative_precision(moments["a"].variance, moments["b"].variance)
    measured = {f"{name}_difference": (measures.mean(moments[name]), by_world[name].around(moments[name].mean),
                                       by_world[name]) for name in names[:3]}  # fmt: skip
    precision = by_world["precision"]
    measured["relative_precision"] = measures.jackknifed(gain, without), precision.total, precision
    return _table(measured, records.worlds, attempted)


def contrasts(diagnosis: Diagnosis, a: str | Target, b: str | Target, cell: int | None = None) -> pd.DataFrame:
    """The same in every cell or in one, a row a cell and measure under the cell's dials.

    a, b: (estimator, term, error type), or an estimator for its key term and usual errors. Raises BadInput.
    """
    records = diagnosis.records
    one, other = (_target(records, each, name) for name, each in (("a", a), ("b", b)))
    if cell is not None and cell not in range(len(records.cells)):
        raise bad(f"no cell {cell}", where="contrast", allowed=f"0 to {len(records.cells) - 1}",
                  remedy="choose one of them, or leave cell out")  # fmt: skip
    frames = []
    for number in range(len(records.cells)) if cell is None else [cell]:
        found = contrast(records, one, other, number, diagnosis.alpha)
        labels = [_shown(value) for value in records.cells[number].values()]
        levels: list[Any] = [pd.Index([value] * len(found), name=name)
                             for name, value in zip(diagnosis.parameters, labels, strict=True)]  # fmt: skip
        frames.append(found.set_index([*levels, "measure"]))
    return pd.concat(frames)


def _shown(value: object) -> object:
    """A dial's value as an index has it: numbers and texts as they are."""
    return value if isinstance(value, int | float | str) else label(value)


def _target(records: Records, given: str | Target, argument: str) -> Target:
    """A triple as it is; of an estimator its key term and its usual error type."""
    if not isinstance(given, str):
        if len(given) != 3:
            raise bad(f"{given!r}", where=f"contrast {argument}", remedy="give one of the two",
                      allowed="an estimator, or (estimator, term, error type)")  # fmt: skip
        return given
    if given not in records.layouts:
        raise bad(f"no estimator {given!r}", where=f"contrast {argument}", allowed=one_of(records.layouts),
                  remedy=closest(given, records.layouts))  # fmt: skip
    from results.report.bias_table import key_terms  # it stands on diagnoses

    layout = records.layouts[given]
    return given, key_terms(layout)[0], usual_error(layout.errors)


def _table(measured: Mapping[str, tuple[Measured, Floats, WorldSums]], worlds: int, attempted: int) -> pd.DataFrame:
    """One row a measure, from it, its sums of influences and counts by world."""
    rows = []
    for name, (values, total, sums) in measured.items():
        groups = sums.groups if worlds > 1 else None
        if groups is not None:
            values = widened(values, clustered(total, sums.n))
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
