"""A diagnosis: bias, size, power, coverage and more of every estimator in a store, with Monte Carlo errors.

A pure reduction of `Records`, block by block: memory does not grow with replications (size-adjusted power keeps the
upper tail of one null cell at a time).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from estimators.estimator import Layout, Status
from results.diagnosis import measures
from results.diagnosis.fits import Fits, Flags, fits_of
from results.diagnosis.measures import Measured
from results.diagnosis.passes import FirstPass, SecondPass, measures_by_error, measures_by_term
from results.diagnosis.power import null_cell, size_adjusted_power
from results.store.block import Records

PROPORTIONS = frozenset(
    {"coverage", "bias_eliminated_coverage", "rejection", "size_adjusted_power", "type_s", "convergence"}
)
WITHOUT_TRUTH = frozenset({"mean_estimate", "empirical_se", "mean_se", "model_se", "rejection"})
COLUMNS = ("estimator", "term", "estimand", "error", "sample", "measure", "value", "mcse", "lower", "upper", "n",
           "attempted")  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Diagnosis:
    """Every measure of a study.

    frame: one row a (cell, estimator, term, error, sample, measure), with columns cell, the cell's parameters,
    estimator, term, estimand, error ("" where the measure has no error type), sample ("own": the estimator's successful
    fits; "common": those where all estimators that ever succeed in the cell did, given where it differs), measure,
    value, mcse, lower, upper (95% Monte Carlo interval), n (fits behind the value), attempted. Convergence and counts
    by status have term "". cells: their parameters. parameters: names of the parameters' columns. layouts: by
    estimator. nulls: the null cell that gave the size-adjusted power of a (cell, estimator, term).
    """

    frame: pd.DataFrame
    alpha: float
    cells: tuple[Mapping[str, object], ...]
    parameters: tuple[str, ...]
    layouts: Mapping[str, Layout]
    nulls: Mapping[tuple[int, str, str], int]


@dataclass(frozen=True, slots=True)
class _Judged:
    """One estimator in one cell on one sample."""

    first: FirstPass
    second: SecondPass
    sample: str


def diagnose(records: Records, alpha: float = 0.05) -> Diagnosis:
    """Every measure of docs/measures.md; alpha is the level of tests and of intervals that are not stored."""
    reader = _Reader(records, alpha)
    judged = {cell: reader.judge(cell) for cell in range(len(records.cells))}
    own = {(cell, one): item for cell, by_name in judged.items() for (one, sample), item in by_name.items()
           if sample == "own"}  # fmt: skip
    nulls = _null_cells(records, own)
    counts = {key: item.first.se.n for key, item in own.items()}
    powers = size_adjusted_power(nulls, counts, reader.usable_blocks, alpha)
    parameters = _parameter_columns(records)
    rows: list[dict[str, Any]] = []
    for cell, by_name in judged.items():
        head = {"cell": cell} | {column: _scalar(records.cells[cell].get(name)) for name, column in parameters.items()}
        for (name, sample), item in by_name.items():
            power = powers.get((cell, name)) if sample == "own" else None
            rows += [head | {"estimator": name} | row for row in _rows(item, records.layouts[name], power)]
    frame = pd.DataFrame(rows, columns=["cell", *parameters.values(), *COLUMNS])
    terms = {name: layout.terms for name, layout in records.layouts.items()}
    named = {(cell, name, terms[name][term]): null for (cell, name, term), null in nulls.items()}
    return Diagnosis(frame, alpha, tuple(records.cells), tuple(parameters.values()), records.layouts, named)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Passes over the blocks of a cell."""

    records: Records
    alpha: float

    def blocks(self, cell: int) -> Iterator[dict[str, Fits]]:
        """Fits by estimator, block by block."""
        for block in self.records.blocks(cell):
            found = {name: fits_of(block, name, layout, self.alpha) for name, layout in self.records.layouts.items()}
            yield {name: fits for name, fits in found.items() if fits is not None}

    def usable_blocks(self, cell: int) -> Iterator[dict[str, Fits]]:
        """The same without the fits that failed."""
        for block in self.blocks(cell):
            yield {name: _succeeded(fits) for name, fits in block.items()}

    def judge(self, cell: int) -> dict[tuple[str, str], _Judged]:
        """Every estimator on its own successful fits, and on the common ones where these are fewer."""
        own = self._passes(cell, None)
        compared = frozenset(name for name, item in own.items() if item.first.usable)
        out = {(name, "own"): item for name, item in own.items()}
        if all(own[name].first.usable == own[name].first.attempted for name in compared):
            return out
        shared = self._count_common(cell, compared)
        if any(own[name].first.usable != shared for name in compared):
            common = self._passes(cell, compared)
            out |= {(name, "common"): item for name, item in common.items()
                    if name in compared and own[name].first.usable != shared}  # fmt: skip
        return out

    def _count_common(self, cell: int, compared: frozenset[str]) -> int:
        return sum(int(_usable(block, None, compared).sum()) for block in self.blocks(cell) if compared & block.keys())

    def _passes(self, cell: int, compared: frozenset[str] | None) -> dict[str, _Judged]:
        firsts: dict[str, FirstPass] = {}
        for block in self.blocks(cell):
            for name, fits in block.items():
                shape = fits.se.shape
                firsts.setdefault(name, FirstPass(shape[2], shape[1])).add(fits, _usable(block, name, compared))
        seconds = {name: SecondPass(first) for name, first in firsts.items()}
        for block in self.blocks(cell):
            for name, fits in block.items():
                seconds[name].add(fits, _usable(block, name, compared))
        sample = "own" if compared is None else "common"
        return {name: _Judged(first, seconds[name], sample) for name, first in firsts.items()}


def _usable(block: Mapping[str, Fits], name: str | None, compared: frozenset[str] | None) -> Flags:
    """Which fits of a block count, (R,): the estimator's own successes, or those of all compared."""
    if compared is None:
        assert name is not None
        return block[name].ok
    return np.logical_and.reduce([block[other].ok for other in sorted(compared & block.keys())])


def _succeeded(fits: Fits) -> Fits:
    keep = fits.ok
    if keep.all():
        return fits
    names = ("estimate", "truth", "se", "lower", "upper", "statistic", "rejected", "decided", "status")
    return Fits(**{name: getattr(fits, name)[keep] for name in names}, tests=fits.tests)


def _null_cells(records: Records, own: Mapping[tuple[int, str], _Judged]) -> dict[tuple[int, str, int], int]:
    """The null cell of each (cell, estimator, term) that has one."""
    zero = {key: item.first.truth_range.zero for key, item in own.items()}
    out = {}
    for (cell, name), item in own.items():
        for term in np.flatnonzero((item.first.truth.n > 0) & ~zero[cell, name]):

            def is_null(other: int, at: tuple[str, int] = (name, int(term))) -> bool:
                return (other, at[0]) in zero and bool(zero[other, at[0]][at[1]])

            null = null_cell(cell, records.cells, is_null)
            if null is not None:
                out[cell, name, int(term)] = null
    return out


def _rows(item: _Judged, layout: Layout, power: Measured | None) -> Iterator[dict[str, Any]]:
    """One estimator's rows, without the cell."""
    first = item.first
    if item.sample == "own":
        yield from _outcome_rows(first)
    by_term = measures_by_term(first, item.second)
    by_error = measures_by_error(first, item.second)
    if power is not None:
        by_error["size_adjusted_power"] = power
    limits = {name: measures.interval(values, name in PROPORTIONS) for name, values in (by_term | by_error).items()}
    for k, term in enumerate(layout.terms):
        if first.usable and not first.estimate.n[k]:
            continue  # a term of other cells
        knows_truth = bool(first.error.n[k]) or not first.usable
        shown = WITHOUT_TRUTH | ({"truth"} if first.truth.n[k] else set())
        head = {"term": term, "estimand": layout.targets.get(term, ""), "sample": item.sample,
                "attempted": first.attempted}  # fmt: skip
        places = [("", (k,), by_term)] + [(error, (e, k), by_error) for e, error in enumerate(layout.errors)]
        for error, at, group in places:
            for name, values in group.items():
                if (name in shown or knows_truth) and not _pointless(name, values, at):
                    low, high = limits[name]
                    yield head | {"error": error, "measure": name, "value": values.value[at], "mcse": values.mcse[at],
                                  "lower": low[at], "upper": high[at], "n": int(values.n[at])}  # fmt: skip


def _pointless(name: str, values: Measured, at: tuple[int, ...]) -> bool:
    """Measures that only some terms have: the ratio form where the truth varies, power where there is a null cell."""
    return name in {"relative_bias_ratio", "size_adjusted_power"} and bool(np.isnan(values.value[at]))


def _outcome_rows(first: FirstPass) -> Iterator[dict[str, Any]]:
    """How often the estimator succeeded, and how many fits ended in each way."""
    head = {"term": "", "estimand": "", "error": "", "sample": "own", "attempted": first.attempted}
    shape = np.array([float(first.statuses[Status.OK])]), np.array([float(first.attempted)])
    share = measures.proportion(*shape)
    low, high = measures.interval(share, True)
    yield head | {"measure": "convergence", "value": share.value[0], "mcse": share.mcse[0], "lower": low[0],
                  "upper": high[0], "n": int(first.statuses[Status.OK])}  # fmt: skip
    for status in Status:
        count = int(first.statuses[status])
        if status is Status.OK or (count and status is not Status.NOT_RUN):
            yield head | {"measure": f"status:{status.name.lower()}", "value": float(count), "mcse": np.nan,
                          "lower": np.nan, "upper": np.nan, "n": count}  # fmt: skip


def _parameter_columns(records: Records) -> dict[str, str]:
    """Column of each parameter: its own name, or dial_NAME where that is taken."""
    names = dict.fromkeys(name for cell in records.cells for name in cell)
    return {name: f"dial_{name}" if name in {"cell", *COLUMNS} else name for name in names}


def _scalar(value: object) -> object:
    """A parameter as a table shows it."""
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
