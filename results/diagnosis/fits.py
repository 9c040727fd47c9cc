"""One estimator's fits in one block, on the terms of its layout, with intervals and decisions filled in."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from estimators.core.estimator import Layout, Status
from estimators.core.inference import critical_values
from results.store.block import Block
from sim.arrays import Flags, Floats
from sim.streams import world_of


@dataclass(frozen=True, slots=True)
class Fits:
    """R fits of K terms with E error types.

    estimate, truth (R, K); se, lower, upper (R, E, K); statistic |t| (R, E, K), NaN where there is no se; rejected,
    decided (R, E, K): whether the test rejects and whether there is one; beside (R, S): p values of tests that are no
    terms; passed (R,): whether the estimator's screen lets the fit through; status (R,); world (R,) in which each lies.
    tests: whether the terms are test statistics, whose truth is what their null hypothesis sets to 0.
    """

    estimate: Floats
    truth: Floats
    se: Floats
    lower: Floats
    upper: Floats
    statistic: Floats
    rejected: Flags
    decided: Flags
    beside: Floats
    passed: Flags
    status: NDArray[np.uint8]
    world: NDArray[np.intp]
    tests: bool = False

    @property
    def ok(self) -> Flags:
        """Fits that succeeded, (R,): a status alone does not make an estimate."""
        return (self.status == Status.OK) & np.isfinite(self.estimate).any(axis=1)

    @property
    def error(self) -> Floats:
        """Estimate minus the truth of its draw, (R, K); NaN for test statistics, which estimate nothing."""
        return np.full_like(self.estimate, np.nan) if self.tests else self.estimate - self.truth

    def take(self, rows: Flags) -> Fits:
        """Some of the fits."""
        arrays = [item.name for item in fields(self) if isinstance(getattr(self, item.name), np.ndarray)]
        return replace(self, **{name: getattr(self, name)[rows] for name in arrays})


def fits_of(block: Block, name: str, layout: Layout, alpha: float, worlds: int = 1) -> Fits | None:
    """The fits of an estimator in a block, None where the block has none of it.

    worlds: in how many worlds the replications of a cell lie. Intervals and p values are the stored ones; where there
    are none they follow from estimate, se and dof at level alpha.
    """
    record = block.estimates.get(name)
    if record is None:
        return None
    place = None if record.terms == layout.terms else [layout.terms.index(term) for term in record.terms]
    estimate, se, dof = (placed(values, place, layout) for values in (record.estimate, record.se, record.dof))
    absent = np.full(len(estimate), np.nan)
    truth = np.array([block.truth.get(layout.targets.get(term, ""), absent) for term in layout.terms]).T
    truth = truth.reshape(estimate.shape)
    critical = _critical(dof, alpha)
    statistic, half = _statistic(estimate, se), critical * se
    lower, upper = estimate[:, None, :] - half, estimate[:, None, :] + half
    rejected, decided = statistic >= critical, statistic > -np.inf
    if record.lower is not None and record.upper is not None:
        stored = placed(record.lower, place, layout), placed(record.upper, place, layout)
        known = ~np.isnan(stored[0]) & ~np.isnan(stored[1])
        lower, upper = np.where(known, stored[0], lower), np.where(known, stored[1], upper)
    if record.pvalue is not None:
        pvalue = placed(record.pvalue, place, layout)
        known = ~np.isnan(pvalue)
        rejected, decided = np.where(known, pvalue <= alpha, rejected), known | decided
    beside = np.array([record.statistics[key] for key in layout.pvalues]).reshape(-1, len(estimate)).T
    passed = record.statistics[layout.screen] > alpha if layout.screen else np.ones(len(estimate), dtype=bool)
    world = _worlds_of(block, len(estimate), worlds)
    return Fits(estimate, truth, se, lower, upper, statistic, rejected, decided, beside, passed, record.status, world,
                layout.tests)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tests:
    """Of usable fits: statistic |t| (R, E, K), NaN where there is no se; world (R,) in which each lies."""

    statistic: Floats
    world: NDArray[np.intp]


def tests_of(block: Block, name: str, layout: Layout, worlds: int) -> Tests:
    """The tests of an estimator that a block holds: what of `fits_of` size-adjusted power needs."""
    record = block.estimates[name]
    place = None if record.terms == layout.terms else [layout.terms.index(term) for term in record.terms]
    estimate, se = placed(record.estimate, place, layout), placed(record.se, place, layout)
    statistic = _statistic(estimate, se)
    world = _worlds_of(block, len(estimate), worlds)
    ok = (record.status == Status.OK) & np.isfinite(estimate).any(axis=1)
    return Tests(statistic, world) if ok.all() else Tests(statistic[ok], world[ok])


def _statistic(estimate: Floats, se: Floats) -> Floats:
    """|t| (R, E, K), NaN where there is no se."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.abs(estimate)[:, None, :] / se)


def _worlds_of(block: Block, rows: int, worlds: int) -> NDArray[np.intp]:
    """The world in which each fit of a block lies, (rows,)."""
    return world_of(block.start + np.arange(rows), worlds)


def placed(values: Floats, place: list[int] | None, layout: Layout) -> Floats:
    """Values (R, ..., own terms) on the layout's terms, NaN where a cell has no such term.

    The numbers of all replications lie side by side, as in a store: sums are fast, and of the same bits whatever holds
    the records.
    """
    if place is not None:
        own, values = values, np.full((*values.shape[:-1], len(layout.terms)), np.nan)
        values[..., place] = own
    if values.strides[0] == values.itemsize:
        return values
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(values, 0, -1)), -1, 0)


def _critical(dof: Floats, alpha: float) -> Floats:
    """Critical values (R or 1, E, K): degrees of freedom seldom change between replications, and sorting them costs."""
    one = dof[:1]
    if len(dof) and ((dof == one).all() or np.array_equal(dof, np.broadcast_to(one, dof.shape), equal_nan=True)):
        return _critical_of(one.tobytes(), one.shape, alpha)
    return critical_values(dof, alpha)


@lru_cache(maxsize=256)
def _critical_of(dof: bytes, shape: tuple[int, ...], alpha: float) -> Floats:
    return critical_values(np.frombuffer(dof).reshape(shape), alpha)
