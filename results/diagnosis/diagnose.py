"""A diagnosis: bias, size, power, coverage and more of every estimator in a store, with Monte Carlo errors.

A pure reduction of `Records`, piece by piece: memory does not grow with replications, but for the upper tails of null
cells, which size-adjusted power keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from estimators.core.estimator import Layout, Status
from results.diagnosis import measures
from results.diagnosis.claims import Claim
from results.diagnosis.fits import (
    FirstPass,
    Fits,
    Reading,
    Reported,
    SecondPass,
    for_each,
    measures_by_error,
    measures_by_term,
    reported,
    share_between_worlds,
    with_normal,
)
from results.diagnosis.measures import Grouping, Measured
from results.diagnosis.own_measures import check_terms, own_measures, own_rows
from results.diagnosis.power import UpperTail, null_cell, size_adjusted_power
from results.store.block import Records
from results.text import dial_names
from sim.arrays import Flags

PROPORTIONS = frozenset(
    {"coverage", "bias_eliminated_coverage", "rejection", "size_adjusted_power", "type_s", "convergence"}
)
WITHOUT_TRUTH = frozenset({"mean_estimate", "empirical_se", "between_worlds", "mean_se", "model_se", "rejection"})
OF_SOME = frozenset({"relative_bias_ratio", "size_adjusted_power", "between_worlds"})  # left out where NaN
NO_ESTIMATE = "no_estimate"  # fits of which the status says fitted although no estimate is finite
COLUMNS = ("estimator", "term", "estimand", "error", "sample", "measure", "value", "mcse", "lower", "upper", "n",
           "attempted", "worlds")  # fmt: skip


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
    worlds: in how many what a cell holds fixed was to be drawn. held_fixed: what that is, in words. own: names of the
    user's own measures. claims: what the study asks; () where it states nothing. normal: whether tests and intervals
    are those of N(0,1) in place of t.
    """

    frame: pd.DataFrame
    alpha: float
    cells: tuple[Mapping[str, object], ...]
    parameters: tuple[str, ...]
    layouts: Mapping[str, Layout]
    nulls: Mapping[tuple[int, str, str], int]
    worlds: int = 1
    held_fixed: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()
    normal: bool = False


def diagnose(
    records: Records, alpha: float = 0.05, measures: Mapping[str, Callable[..., Any]] | None = None, *,
    normal: bool = False,
) -> Diagnosis:  # fmt: skip
    """Every measure of docs/measures.md; alpha is the level of tests and of intervals that are not stored.

    measures: functions of your own by name, as `results/diagnosis/own_measures.py` says. Raises BadInput for their
    faults. normal: critical values and p values of N(0,1) in place of t, where they are not stored.
    """
    own_ones = own_measures(measures)
    check_terms(own_ones, records.layouts)
    records = with_normal(records) if normal else records
    reading = Reading(records, alpha)
    firsts = for_each(range(len(records.cells)), lambda cell: _first(reading, cell, _own))
    own = {(cell, name): first for cell, by_name in firsts.items() for name, first in by_name.items()}
    nulls = _null_cells(records, own)
    tails = {(cell, name): UpperTail(own[cell, name].se.n, alpha, records.worlds > 1)
             for cell, name in sorted({(null, name) for (_, name, _), null in nulls.items()})}  # fmt: skip
    judged = for_each(firsts, lambda cell: _judged(reading, cell, firsts[cell], tails))
    powers = size_adjusted_power(nulls, tails, reading.tests, alpha, records.worlds)
    parameters = {name: f"dial_{name}" if name in {"cell", *COLUMNS} else name for name in dial_names(records.cells)}
    rows: list[dict[str, Any]] = []
    for cell, by_name in judged.items():
        head = {"cell": cell} | {
            column: ", ".join(map(str, value))
            if isinstance(value := records.cells[cell].get(name), list | tuple)
            else value
            for name, column in parameters.items()
        }
        for (name, sample), item in by_name.items():
            power = powers.get((cell, name)) if sample == "own" else None
            head |= {"estimator": name, "sample": sample}
            if sample == "own":
                rows += [head | row for row in _outcome_rows(item, records.layouts[name])]
            rows += [head | row for row in _rows(item, records.layouts[name], power)]
        rows += [head | row for row in own_rows(records, cell, own_ones, alpha)]
    frame = pd.DataFrame(rows, columns=["cell", *parameters.values(), *COLUMNS])
    terms = {name: layout.terms for name, layout in records.layouts.items()}
    named = {(cell, name, terms[name][term]): null for (cell, name, term), null in nulls.items()}
    return Diagnosis(frame, alpha, tuple(records.cells), tuple(parameters.values()), records.layouts, named,
                     records.worlds, records.held_fixed, tuple(own_ones),
                     tuple(map(Claim.of, records.claims)), normal)  # fmt: skip


_Sample = Callable[[Mapping[str, Fits], str], Flags]  # which fits of a piece count for an estimator, (R,)


def _own(piece: Mapping[str, Fits], name: str) -> Flags:
    """The estimator's successes."""
    return piece[name].ok


def _passing(piece: Mapping[str, Fits], name: str) -> Flags:
    """Those of them that its screen lets through."""
    return piece[name].ok & piece[name].passed


def _judged(
    reading: Reading, cell: int, firsts: Mapping[str, FirstPass], tails: Mapping[tuple[int, str], UpperTail]
) -> dict[tuple[str, str], SecondPass]:
    """Every estimator on its own successful fits, on those that pass its screen, and on common ones where fewer.

    firsts: on its own fits. tails: take in the |t| of null cells.
    """
    own = _second(reading, cell, firsts, _own, tails)
    out = {(name, "own"): item for name, item in own.items()}
    if screened := [name for name in own if reading.records.layouts[name].screen]:
        passing = _second(reading, cell, _first(reading, cell, _passing), _passing)
        out |= {(name, "passing"): passing[name] for name in screened}
    compared = [name for name, first in firsts.items() if first.usable]
    if all(firsts[name].usable == firsts[name].attempted for name in compared):
        return out

    def in_all(piece: Mapping[str, Fits], name: str) -> Flags:
        return np.logical_and.reduce([piece[other].ok for other in compared if other in piece])

    common = _second(reading, cell, _first(reading, cell, in_all), in_all)
    return out | {(name, "common"): common[name] for name in compared
                  if common[name].first.usable != firsts[name].usable}  # fmt: skip


def _first(reading: Reading, cell: int, counts: _Sample) -> dict[str, FirstPass]:
    """Running moments by estimator."""
    firsts: dict[str, FirstPass] = {}

    def add(piece: Mapping[str, Fits], rows: Grouping | None, name: str) -> None:
        firsts[name].add(piece[name], counts(piece, name), rows)

    for piece, rows in reading.fits(cell):
        for name, fits in piece.items():
            if name not in firsts:
                _, errors, terms = fits.se.shape
                firsts[name] = FirstPass(terms, errors, fits.beside.shape[1], reading.alpha, reading.records.worlds)
        reading.per_estimator(piece, partial(add, piece, rows))
    return firsts


def _second(reading: Reading, cell: int, firsts: Mapping[str, FirstPass], counts: _Sample,
            tails: Mapping[tuple[int, str], UpperTail] | None = None) -> dict[str, SecondPass]:  # fmt: skip
    """What needs the totals of the first pass."""
    seconds = {name: SecondPass(first) for name, first in firsts.items()}

    def add(piece: Mapping[str, Fits], rows: Grouping | None, name: str) -> None:
        fits, usable = piece[name], counts(piece, name)
        seconds[name].add(fits, usable, rows)
        if tails and (cell, name) in tails:
            tails[cell, name].add(fits.statistic if usable.all() else fits.statistic[usable])

    for piece, rows in reading.fits(cell):
        reading.per_estimator(piece, partial(add, piece, rows))
    return seconds


def _null_cells(records: Records, own: Mapping[tuple[int, str], FirstPass]) -> dict[tuple[int, str, int], int]:
    """The null cell of each (cell, estimator, term) that has one."""
    nulls: dict[tuple[str, int], set[int]] = {}  # the cells whose truth is 0, by estimator and term
    for (cell, name), first in own.items():
        for term in np.flatnonzero(first.truth_range.zero):
            nulls.setdefault((name, int(term)), set()).add(cell)
    out = {}
    for (cell, name), first in own.items():
        for term in np.flatnonzero((first.truth.n > 0) & ~first.truth_range.zero):
            null = null_cell(cell, records.cells, nulls.get((name, int(term)), set()))
            if null is not None:
                out[cell, name, int(term)] = null
    return out


def _rows(item: SecondPass, layout: Layout, power: Measured | None) -> Iterator[dict[str, Any]]:
    """One estimator's rows, without the cell."""
    first = item.first
    by_term = {name: reported(item, name, measured) for name, measured in measures_by_term(item).items()}
    if item.by_world:
        by_term["between_worlds"] = share_between_worlds(first)
    by_error = {name: reported(item, name, measured, name in PROPORTIONS)
                for name, measured in measures_by_error(item).items()}  # fmt: skip
    if power is not None:  # its MCSE has the worlds of both cells in it already
        groups = item.by_world["rejection"].groups if item.by_world else None
        by_error["size_adjusted_power"] = Reported(power, *measures.interval(power, True, groups),
                                                by_error["rejection"].worlds)  # fmt: skip
    for k, term in enumerate(layout.terms):
        if first.usable and not first.estimate.n[k]:
            continue  # a term of other cells
        knows_truth = bool(first.error.n[k]) or not first.usable
        told = WITHOUT_TRUTH | ({"truth"} if first.truth.n[k] else set())
        head = {"term": term, "estimand": layout.targets.get(term, ""), "attempted": first.attempted}
        places = [("", (k,), by_term)] + [(error, (e, k), by_error) for e, error in enumerate(layout.errors)]
        for error, at, group in places:
            for name, found in group.items():
                if (name in told or knows_truth) and not (name in OF_SOME and np.isnan(found.measured.value[at])):
                    yield head | {"error": error, "measure": name} | found.row(at)


def _outcome_rows(item: SecondPass, layout: Layout) -> Iterator[dict[str, Any]]:
    """How often the estimator succeeded, how many fits ended in each way, and how often tests beside terms reject."""
    first = item.first
    head = {"term": "", "estimand": "", "error": "", "attempted": first.attempted}
    usable = measures.proportion(np.array([float(first.usable)]), np.array([float(first.attempted)]))
    yield (
        head | {"measure": "convergence"} | reported(item, "convergence", usable, True).row((0,)) | {"n": first.usable}
    )
    rejected = first.rejected_beside
    beside = reported(item, "beside", measures.proportion(rejected.hits, rejected.n), True)
    for position, name in enumerate(layout.pvalues):
        yield head | {"measure": f"rejection:{name}"} | beside.row((position,))
    counts = {status.name.lower(): int(first.statuses[status]) for status in Status if status is not Status.NOT_RUN}
    counts |= {"ok": first.usable, NO_ESTIMATE: counts["ok"] - first.usable}
    for name, count in counts.items():
        if name == "ok" or count:
            yield head | {"measure": f"status:{name}", "value": float(count), "mcse": np.nan,
                          "lower": np.nan, "upper": np.nan, "n": count, "worlds": 1}  # fmt: skip
