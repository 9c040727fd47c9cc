"""A diagnosis: bias, size, power, coverage and more of every estimator in a store, with Monte Carlo errors.

A pure reduction of `Records`, block by block: memory does not grow with replications (size-adjusted power keeps the
upper tail of one null cell at a time).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from estimators.core.estimator import Layout, Status
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
NO_ESTIMATE = "no_estimate"  # fits of which the status says fitted although no estimate is finite
COLUMNS = ("estimator", "term", "estimand", "error", "sample", "measure", "value", "mcse", "lower", "upper", "n",
           "attempted")  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Diagnosis:
    """Every measure of a study.

    frame: one row a (cell, estimator, term, error, sample, measure), with columns cell, the cell's parameters,
    estimator, term, estimand, error ("" where the measure has no error type), sample ("own": the estimator's successful
    fits; "common": those where all estimators that ever succeed in the cell did, given where it differs; "passing":
    those that pass the estimator's screen, such as a test of pre-trends), measure, value, mcse, lower, upper (95% Monte
    Carlo interval), n (fits behind the value), attempted. Convergence, counts by status and how often a test beside the
    terms rejects (rejection:STATISTIC) have term "". cells: their parameters. parameters: names of the parameters'
    columns. layouts: by estimator. nulls: the null cell that gave the size-adjusted power of a (cell, estimator, term).
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
            head |= {"estimator": name, "sample": sample}
            if sample == "own":
                rows += [head | row for row in _outcome_rows(item.first, records.layouts[name])]
            rows += [head | row for row in _rows(item, records.layouts[name], power)]
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
            yield {name: fits.take(fits.ok) for name, fits in block.items()}

    def judge(self, cell: int) -> dict[tuple[str, str], _Judged]:
        """Every estimator on its own successful fits, on those that pass its screen, and on common ones where fewer."""
        own = self._passes(cell, _own)
        out = {(name, "own"): item for name, item in own.items()}
        if screened := [name for name in own if self.records.layouts[name].screen]:
            passing = self._passes(cell, _passing)
            out |= {(name, "passing"): passing[name] for name in screened}
        compared = [name for name, item in own.items() if item.first.usable]
        if all(own[name].first.usable == own[name].first.attempted for name in compared):
            return out
        common = self._passes(cell, _Common(frozenset(compared)))
        return out | {(name, "common"): common[name] for name in compared
                      if common[name].first.usable != own[name].first.usable}  # fmt: skip

    def _passes(self, cell: int, counts: _Sample) -> dict[str, _Judged]:
        firsts: dict[str, FirstPass] = {}
        for block in self.blocks(cell):
            for name, fits in block.items():
                new = FirstPass(fits.se.shape[2], fits.se.shape[1], fits.beside.shape[1], self.alpha)
                firsts.setdefault(name, new).add(fits, counts(block, name))
        seconds = {name: SecondPass(first) for name, first in firsts.items()}
        for block in self.blocks(cell):
            for name, fits in block.items():
                seconds[name].add(fits, counts(block, name))
        return {name: _Judged(first, seconds[name]) for name, first in firsts.items()}


_Sample = Callable[[Mapping[str, Fits], str], Flags]  # which fits of a block count for an estimator, (R,)


def _own(block: Mapping[str, Fits], name: str) -> Flags:
    """The estimator's successes."""
    return block[name].ok


def _passing(block: Mapping[str, Fits], name: str) -> Flags:
    """Those of them that its screen lets through."""
    return block[name].ok & block[name].passed


@dataclass(frozen=True, slots=True)
class _Common:
    """Draws where all of some estimators succeeded."""

    compared: frozenset[str]

    def __call__(self, block: Mapping[str, Fits], name: str) -> Flags:
        return np.logical_and.reduce([block[other].ok for other in sorted(self.compared & block.keys())])


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
        head = {"term": term, "estimand": layout.targets.get(term, ""), "attempted": first.attempted}
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


def _outcome_rows(first: FirstPass, layout: Layout) -> Iterator[dict[str, Any]]:
    """How often the estimator succeeded, how many fits ended in each way, and how often tests beside terms reject."""
    head = {"term": "", "estimand": "", "error": "", "attempted": first.attempted}
    names = ["convergence", *(f"rejection:{name}" for name in layout.pvalues)]
    hits = np.append(float(first.usable), first.rejected_beside.hits)
    share = measures.proportion(hits, np.append(float(first.attempted), first.rejected_beside.n))
    behind = np.append(hits[0], share.n[1:])
    for name, *numbers in zip(names, share.value, share.mcse, *measures.interval(share, True), behind, strict=True):
        yield head | {"measure": name} | dict(zip(("value", "mcse", "lower", "upper", "n"), numbers, strict=True))
    counts = {status.name.lower(): int(first.statuses[status]) for status in Status if status is not Status.NOT_RUN}
    counts |= {"ok": first.usable, NO_ESTIMATE: counts["ok"] - first.usable}
    for name, count in counts.items():
        if name == "ok" or count:
            yield head | {"measure": f"status:{name}", "value": float(count), "mcse": np.nan,
                          "lower": np.nan, "upper": np.nan, "n": count}  # fmt: skip


def _parameter_columns(records: Records) -> dict[str, str]:
    """Column of each parameter: its own name, or dial_NAME where that is taken."""
    names = dict.fromkeys(name for cell in records.cells for name in cell)
    return {name: f"dial_{name}" if name in {"cell", *COLUMNS} else name for name in names}


def _scalar(value: object) -> object:
    """A parameter as a table shows it."""
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
