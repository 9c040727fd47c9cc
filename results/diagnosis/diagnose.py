"""A diagnosis: bias, size, power, coverage and more of every estimator in a store, with Monte Carlo errors.

A pure reduction of `Records`, piece by piece: memory does not grow with replications, but for the upper tails of null
cells, which size-adjusted power keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from estimators.core.estimator import Layout, Status
from results.diagnosis import measures
from results.diagnosis.claims import Claim
from results.diagnosis.fits import Fits, Reading, Tests, fits_of, for_each, tests_of
from results.diagnosis.measures import Grouping, Measured
from results.diagnosis.own_measures import own_measures, own_rows
from results.diagnosis.passes import ByWorld, FirstPass, SecondPass, measures_by_error, measures_by_term
from results.diagnosis.power import UpperTail, null_cell, size_adjusted_power
from results.store.block import Records
from sim.arrays import Flags, Floats

PROPORTIONS = frozenset(
    {"coverage", "bias_eliminated_coverage", "rejection", "size_adjusted_power", "type_s", "convergence"}
)
WITHOUT_TRUTH = frozenset({"mean_estimate", "empirical_se", "between_worlds", "mean_se", "model_se", "rejection"})
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
    user's own measures. claims: what the study asks; () where it states nothing.
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


@dataclass(frozen=True, slots=True)
class _Judged:
    """One estimator in one cell on one sample."""

    first: FirstPass
    second: SecondPass
    by_world: ByWorld


def diagnose(
    records: Records, alpha: float = 0.05, measures: Mapping[str, Callable[..., Any]] | None = None
) -> Diagnosis:
    """Every measure of docs/measures.md; alpha is the level of tests and of intervals that are not stored.

    measures: functions of your own by name, as `results/diagnosis/own_measures.py` says. Raises BadInput for their
    faults.
    """
    own_ones = own_measures(measures)
    reader = _Reader(records, Reading(records), alpha)
    firsts = for_each(range(len(records.cells)), lambda cell: reader.first(cell, _own))
    own = {(cell, name): first for cell, by_name in firsts.items() for name, first in by_name.items()}
    nulls = _null_cells(records, own)
    tails = {(cell, name): UpperTail(own[cell, name].se.n, alpha, records.worlds > 1)
             for cell, name in sorted({(null, name) for (_, name, _), null in nulls.items()})}  # fmt: skip
    judged = for_each(firsts, lambda cell: reader.judge(cell, firsts[cell], tails))
    powers = size_adjusted_power(nulls, tails, reader.tests, alpha, records.worlds)
    parameters = _parameter_columns(records)
    rows: list[dict[str, Any]] = []
    for cell, by_name in judged.items():
        head = {"cell": cell} | {column: _scalar(records.cells[cell].get(name)) for name, column in parameters.items()}
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
                     records.worlds, records.held_fixed, tuple(one.name for one in own_ones),
                     tuple(map(Claim.of, records.claims)))  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Reader:
    """Passes over the blocks of a cell."""

    records: Records
    reading: Reading
    alpha: float

    def pieces(self, cell: int) -> Iterator[dict[str, Fits]]:
        """Fits by estimator, piece by piece."""
        for block in self.reading.pieces(cell):
            found = {name: fits_of(block, name, layout, self.alpha, self.records.worlds)
                     for name, layout in self.records.layouts.items()}  # fmt: skip
            yield {name: fits for name, fits in found.items() if fits is not None}

    def rows(self, piece: Mapping[str, Fits]) -> Grouping | None:
        """The rows of a piece by world, which are those of each estimator; None where there is one world."""
        some = next(iter(piece.values()), None)
        return Grouping.of(some.world) if some is not None and self.records.worlds > 1 else None

    def tests(self, cell: int, names: Set[str]) -> Iterator[dict[str, Tests]]:
        """The tests of some estimators, piece by piece, without the fits that failed."""
        for block in self.reading.pieces(cell):
            yield {name: tests_of(block, name, self.records.layouts[name], self.records.worlds)
                   for name in sorted(names & block.estimates.keys())}  # fmt: skip

    def judge(
        self, cell: int, firsts: Mapping[str, FirstPass], tails: Mapping[tuple[int, str], UpperTail]
    ) -> dict[tuple[str, str], _Judged]:
        """Every estimator on its own successful fits, on those that pass its screen, and on common ones where fewer.

        firsts: on its own fits. tails: take in the |t| of null cells.
        """
        own = self.second(cell, firsts, _own, tails)
        out = {(name, "own"): item for name, item in own.items()}
        if screened := [name for name in own if self.records.layouts[name].screen]:
            passing = self.second(cell, self.first(cell, _passing), _passing)
            out |= {(name, "passing"): passing[name] for name in screened}
        compared = [name for name, first in firsts.items() if first.usable]
        if all(firsts[name].usable == firsts[name].attempted for name in compared):
            return out
        shared = _Common(frozenset(compared))
        common = self.second(cell, self.first(cell, shared), shared)
        return out | {(name, "common"): common[name] for name in compared
                      if common[name].first.usable != own[name].first.usable}  # fmt: skip

    def first(self, cell: int, counts: _Sample) -> dict[str, FirstPass]:
        """Running moments by estimator."""
        firsts: dict[str, FirstPass] = {}
        for piece in self.pieces(cell):
            rows = self.rows(piece)
            for name, fits in piece.items():
                if name not in firsts:
                    _, errors, terms = fits.se.shape
                    firsts[name] = FirstPass(terms, errors, fits.beside.shape[1], self.alpha, self.records.worlds)
                firsts[name].add(fits, counts(piece, name), rows)
        return firsts

    def second(self, cell: int, firsts: Mapping[str, FirstPass], counts: _Sample,
               tails: Mapping[tuple[int, str], UpperTail] | None = None) -> dict[str, _Judged]:  # fmt: skip
        """What needs the totals of the first pass."""
        seconds = {name: SecondPass(first) for name, first in firsts.items()}
        for piece in self.pieces(cell):
            rows = self.rows(piece)
            for name, fits in piece.items():
                usable = counts(piece, name)
                seconds[name].add(fits, usable, rows)
                if tails and (cell, name) in tails:
                    tails[cell, name].add(fits.statistic if usable.all() else fits.statistic[usable])
        return {name: _Judged(first, seconds[name], ByWorld(first, seconds[name])) for name, first in firsts.items()}


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


def _null_cells(records: Records, own: Mapping[tuple[int, str], FirstPass]) -> dict[tuple[int, str, int], int]:
    """The null cell of each (cell, estimator, term) that has one."""
    zero = {key: first.truth_range.zero for key, first in own.items()}
    out = {}
    for (cell, name), first in own.items():
        for term in np.flatnonzero((first.truth.n > 0) & ~zero[cell, name]):

            def is_null(other: int, at: tuple[str, int] = (name, int(term))) -> bool:
                return (other, at[0]) in zero and bool(zero[other, at[0]][at[1]])

            null = null_cell(cell, records.cells, is_null)
            if null is not None:
                out[cell, name, int(term)] = null
    return out


@dataclass(frozen=True, slots=True)
class _Shown:
    """A measure as its rows show it, each array of one shape; worlds: that its fits lie in."""

    measured: Measured
    lower: Floats
    upper: Floats
    worlds: Floats

    @classmethod
    def of(cls, name: str, measured: Measured, by_world: ByWorld) -> _Shown:
        """With the Monte Carlo error and interval that the worlds give."""
        groups = by_world.groups(name)
        wide = by_world.widened(name, measured)
        share = name in PROPORTIONS or name == "beside"
        worlds = np.ones(measured.value.shape) if groups is None else groups
        return cls(wide, *measures.interval(wide, share, groups), worlds)

    def row(self, at: tuple[int, ...]) -> dict[str, Any]:
        """The numbers of one place."""
        value, mcse, n = (float(part[at]) for part in self.measured)
        return {"value": value, "mcse": mcse, "lower": self.lower[at], "upper": self.upper[at], "n": int(n),
                "worlds": int(self.worlds[at])}  # fmt: skip


def _rows(item: _Judged, layout: Layout, power: Measured | None) -> Iterator[dict[str, Any]]:
    """One estimator's rows, without the cell."""
    first = item.first
    by_term, by_error = _shown_by_term(item), _shown_by_error(item, power)
    for k, term in enumerate(layout.terms):
        if first.usable and not first.estimate.n[k]:
            continue  # a term of other cells
        knows_truth = bool(first.error.n[k]) or not first.usable
        shown = WITHOUT_TRUTH | ({"truth"} if first.truth.n[k] else set())
        head = {"term": term, "estimand": layout.targets.get(term, ""), "attempted": first.attempted}
        places = [("", (k,), by_term)] + [(error, (e, k), by_error) for e, error in enumerate(layout.errors)]
        for error, at, group in places:
            for name, found in group.items():
                if (name in shown or knows_truth) and not _pointless(name, found.measured, at):
                    yield head | {"error": error, "measure": name} | found.row(at)


def _shown_by_term(item: _Judged) -> dict[str, _Shown]:
    """Measures that need no error type, with the share of the variance between worlds where there are several."""
    by_world = item.by_world
    found = {name: _Shown.of(name, measured, by_world)
             for name, measured in measures_by_term(item.first, item.second).items()}  # fmt: skip
    if (between := by_world.between) is not None:
        groups = found["mean_estimate"].worlds
        found["between_worlds"] = _Shown(between.measured, between.lower, between.upper, groups)
    return found


def _shown_by_error(item: _Judged, power: Measured | None) -> dict[str, _Shown]:
    """Measures of each error type; the MCSE of a size-adjusted power has the worlds of both cells in it already."""
    by_world = item.by_world
    found = {name: _Shown.of(name, measured, by_world)
             for name, measured in measures_by_error(item.first, item.second).items()}  # fmt: skip
    if power is not None:
        groups = by_world.groups("rejection")
        worlds = np.ones(power.value.shape) if groups is None else groups
        found["size_adjusted_power"] = _Shown(power, *measures.interval(power, True, groups), worlds)
    return found


def _pointless(name: str, values: Measured, at: tuple[int, ...]) -> bool:
    """Measures that only some have: the ratio form where the truth varies, power where there is a null cell, the share
    between worlds where there are two."""
    return name in {"relative_bias_ratio", "size_adjusted_power", "between_worlds"} and bool(np.isnan(values.value[at]))


def _outcome_rows(item: _Judged, layout: Layout) -> Iterator[dict[str, Any]]:
    """How often the estimator succeeded, how many fits ended in each way, and how often tests beside terms reject."""
    first, by_world = item.first, item.by_world
    head = {"term": "", "estimand": "", "error": "", "attempted": first.attempted}
    usable = measures.proportion(np.array([float(first.usable)]), np.array([float(first.attempted)]))
    yield head | {"measure": "convergence"} | _Shown.of("convergence", usable, by_world).row((0,)) | {"n": first.usable}
    rejected = first.rejected_beside
    beside = _Shown.of("beside", measures.proportion(rejected.hits, rejected.n), by_world)
    for position, name in enumerate(layout.pvalues):
        yield head | {"measure": f"rejection:{name}"} | beside.row((position,))
    counts = {status.name.lower(): int(first.statuses[status]) for status in Status if status is not Status.NOT_RUN}
    counts |= {"ok": first.usable, NO_ESTIMATE: counts["ok"] - first.usable}
    for name, count in counts.items():
        if name == "ok" or count:
            yield head | {"measure": f"status:{name}", "value": float(count), "mcse": np.nan,
                          "lower": np.nan, "upper": np.nan, "n": count, "worlds": 1}  # fmt: skip


def _parameter_columns(records: Records) -> dict[str, str]:
    """Column of each parameter: its own name, or dial_NAME where that is taken."""
    names = dict.fromkeys(name for cell in records.cells for name in cell)
    return {name: f"dial_{name}" if name in {"cell", *COLUMNS} else name for name in names}


def _scalar(value: object) -> object:
    """A parameter as a table shows it."""
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
