"""Two stores side by side: replication by replication where their draws are the same, apart elsewhere.

Cells with equal fingerprints (design, key, seed and worlds) draw the same panels, so that the difference of two
estimates of one replication is free of what the panels share: its Monte Carlo error is that of the mean of the
differences. Other cells with equal parameters are compared by their means, whose squared Monte Carlo errors add up.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from estimators.core.estimator import Status, check_level
from results.diagnosis import measures
from results.diagnosis import measures as influence
from results.diagnosis.fits import Fits, clustered, fits_of, mean_over_worlds, variance_over_worlds, widened
from results.diagnosis.measures import Grouping, Measured, RunningMoments
from results.store.block import Block, Records
from results.store.skeleton import differences
from results.store.store import BlockState, Store
from sim.arrays import Floats
from sim.errors import bad, closest, one_of
from sim.streams import world_of

# Paired contrasts of two estimators on the same draws, far more precise than the difference of two diagnoses.


Target = tuple[str, str, str]  # estimator, term, error type


def contrast(records: Records, a: Target, b: Target, cell: int, alpha: float = 0.05,
             blocks: Sequence[Block] | None = None) -> pd.DataFrame:  # fmt: skip
    """A minus B on the draws where both succeeded, with paired Monte Carlo errors.

    a, b: (estimator, term, error type). blocks: of the cell, by default all that are there. Rows: bias_difference,
    mse_difference, coverage_difference and relative_precision (of B over A, %: positive where B is more precise);
    columns measure, value, mcse, lower, upper (95%), n, attempted. Raises BadInput for an estimator, term or error type
    that the records lack.
    """
    for target, argument in ((a, "contrast a"), (b, "contrast b")):
        _check(records, target, argument)
    names = ("bias", "mse", "coverage", "a", "b")
    moments = {name: RunningMoments((1,), worlds=records.worlds) for name in names}
    attempted = 0
    for one, other, both in _pairs(records.blocks(cell) if blocks is None else blocks, records, (a, b), alpha):
        attempted += int(((one.status != Status.NOT_RUN) & (other.status != Status.NOT_RUN)).sum())
        rows = Grouping.of(one.world) if records.worlds > 1 else None
        moments["bias"].add(one.error - other.error, both, rows)
        moments["mse"].add(one.error**2 - other.error**2, both, rows)
        covered = np.full_like(one.estimate, np.nan)  # of an estimator without errors
        if one.covered.shape[1] and other.covered.shape[1]:
            covered = one.covered[:, 0] - other.covered[:, 0]
        moments["coverage"].add(covered, both & np.isfinite(covered), rows)
        moments["a"].add(one.error, both, rows)
        moments["b"].add(other.error, both, rows)
    without = RunningMoments((1,))
    for one, other, both in _pairs(records.blocks(cell) if blocks is None else blocks, records, (a, b), alpha):
        rest = (measures.variance_without(side.error, moments[key]) for side, key in ((one, "a"), (other, "b")))
        gain = measures.relative_precision(*rest)
        without.add(gain, both & np.isfinite(gain))
    gain = measures.relative_precision(variance_over_worlds(moments["a"]), variance_over_worlds(moments["b"]))
    gaps = {name: measures.mean(moments[name]) for name in names[:3]}
    gaps["coverage"] = measures.not_exact(gaps["coverage"])
    measured = {f"{name}_difference": (gap, influence.of_mean(moments[name]), moments[name].counts)
                for name, gap in gaps.items()}  # fmt: skip
    precision = influence.of_precision(moments["a"], moments["b"])
    measured["relative_precision"] = measures.jackknifed(gain, without), precision, moments["a"].counts
    table = []
    for name, (values, total, counts) in measured.items():
        groups = None
        if records.worlds > 1:
            groups, values = (counts > 0).sum(axis=0).astype(np.float64), widened(values, clustered(total, counts))
        low, high = measures.interval(values, False, groups)
        table.append({"measure": name, "value": values.value[0], "mcse": values.mcse[0], "lower": low[0],
                      "upper": high[0], "n": int(values.n[0]), "attempted": attempted})  # fmt: skip
    return pd.DataFrame(table)


def _check(records: Records, target: Target, argument: str) -> None:
    """Raise BadInput for an estimator, term or error type that the records lack."""
    name, term, error = target
    layouts = records.layouts
    if name not in layouts:
        raise bad(f"no estimator {name!r}", where=argument, allowed=one_of(layouts, name),
                  remedy=closest(name, layouts, "choose one of them"))  # fmt: skip
    errors = layouts[name].errors or ("",)  # without errors there are no intervals either
    for what, value, allowed in (("term", term, layouts[name].terms), ("error type", error, errors)):
        if value not in allowed:
            raise bad(f"{name} has no {what} {value!r}", where=argument, allowed=one_of(allowed, value),
                      remedy=closest(value, allowed, "choose one of them"))  # fmt: skip


def _pairs(blocks: Iterable[Block], records: Records, targets: tuple[Target, Target],
           alpha: float) -> Iterator[tuple[Fits, Fits, NDArray[np.bool_]]]:  # fmt: skip
    """The fits of both sides in every block that holds both, of one term and error type, and where both are usable."""
    for block in blocks:
        sides = []
        for name, term, error in targets:
            layout = records.layouts[name]
            fits = fits_of(block, name, layout, alpha, records.worlds)
            if fits is not None:
                errors = [layout.errors.index(error)] if error else []
                sides.append(fits.part(errors, [layout.terms.index(term)]))
        if len(sides) == 2:
            one, other = sides
            finite = np.isfinite(one.error[:, 0]) & np.isfinite(other.error[:, 0])
            yield one, other, (one.ok & other.ok & finite)[:, None]


COLUMNS = ("cell", "estimator", "term", "error", "measure", "a", "b", "difference", "mcse", "n_a", "n_b", "paired")
DRAWN = ("design", "seed", "worlds", "common_random_numbers", "grid")  # settings that decide what is drawn


@dataclass(frozen=True, slots=True)
class CellPair:
    """A cell of both stores, by its index in each. why: why its draws are not common; "" where they are."""

    a: int
    b: int
    why: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two stores say of the same things.

    cells: the cells of both. frame: one row a cell (position in `cells`), estimator, term, error type and measure, with
    the columns of `COLUMNS`; difference is B minus A, n_a and n_b are usable fits. only_a, only_b: in words, what one
    of the two has alone.
    """

    cells: tuple[CellPair, ...]
    frame: pd.DataFrame
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Rows:
    """Fits of one estimator: absolute replications (R,), measures (R, E, K), NaN where a fit has none, truths (R,)."""

    replications: NDArray[np.intp]
    values: Mapping[str, Floats]
    truths: Mapping[str, Floats]

    def take(self, at: NDArray[np.intp]) -> _Rows:
        return _Rows(self.replications[at], {key: values[at] for key, values in self.values.items()},
                     {key: values[at] for key, values in self.truths.items()})  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Shared:
    """An estimator of both stores: its terms and error types that both have."""

    name: str
    terms: tuple[str, ...]
    errors: tuple[str, ...]
    alpha: float

    def rows(self, store: Store, cell: int, start: int, stop: int) -> _Rows | None:
        """The fits of replications `start` to `stop - 1` that a store holds; None where it holds none."""
        indices = range(start // store.block, min(-(-stop // store.block), store.block_count))
        layout, found = store.layouts[self.name], []
        for block in (store.sound(cell, i) for i in indices if store.state(cell, i) is BlockState.DONE):
            fits = fits_of(block, self.name, layout, self.alpha, store.worlds)
            assert fits is not None
            part = fits.part([layout.errors.index(error) for error in self.errors],
                             [layout.terms.index(term) for term in self.terms])  # fmt: skip
            values = {
                "estimate": part.estimate[:, None],
                "bias": part.error[:, None],
                "mean_se": part.se,
                "coverage": part.covered,
                "rejection": np.where(part.decided, part.rejected, np.nan),
            }
            values = {key: np.where(fits.ok[:, None, None], held, np.nan) for key, held in values.items()}
            found.append(_Rows(block.start + np.arange(len(fits.status)), values, block.truth))
        if not found:
            return None
        joined = _Rows(
            np.concatenate([rows.replications for rows in found]),
            {key: np.concatenate([rows.values[key] for rows in found]) for key in found[0].values},
            {key: np.concatenate([rows.truths[key] for rows in found]) for key in found[0].truths},
        )
        inside = (joined.replications >= start) & (joined.replications < stop)
        return joined.take(np.flatnonzero(inside))


def compare(a: Store, b: Store, alpha: float = 0.05) -> Comparison:
    """B minus A for every cell, estimator, term and error type that both stores hold.

    Measures: estimate (its mean), bias, mean_se, coverage and rejection at level `alpha`. Raises BadInput for a damaged
    block.
    """
    check_level(alpha, "compare")
    shared = []
    for name, layout in a.layouts.items():
        if (other := b.layouts.get(name)) is not None:
            terms = tuple(term for term in layout.terms if term in other.terms)
            errors = tuple(error for error in layout.errors if error in other.errors)
            shared.append(_Shared(name, terms, errors, alpha))
    pairs, rows = [], []
    for position, pair in enumerate(_cells(a, b)):
        pairs.append(pair)
        for one in shared:
            found, why = _compared(one, a, b, pairs[-1])
            pairs[-1] = CellPair(pair.a, pair.b, why)
            rows += [(position, one.name, *row, not why) for row in found]
    only = [tuple(_lacking(x, y, {getattr(p, side) for p in pairs})) for x, y, side in ((a, b, "a"), (b, a, "b"))]
    return Comparison(tuple(pairs), pd.DataFrame(rows, columns=list(COLUMNS)), only[0], only[1])


def _cells(a: Store, b: Store) -> Iterator[CellPair]:
    """Cells of both: those with equal fingerprints, then those with equal parameters."""
    at = {print_: index for index, print_ in enumerate(b.schema.cell_prints)}
    common = {i: at[print_] for i, print_ in enumerate(a.schema.cell_prints) if print_ in at}
    texts = {json.dumps(cell, sort_keys=True): i for i, cell in enumerate(b.cells) if i not in common.values()}
    why = "a store of an earlier format does not say what its draws are"  # cells of equal parameters have other ones
    if a.schema.cell_prints and b.schema.cell_prints:
        one, other = ({key: s.schema.identity.get(key) for key in DRAWN} for s in (a, b))
        why = next(iter(differences(one, other)), "their designs differ")
    for i, cell in enumerate(a.cells):
        text = json.dumps(cell, sort_keys=True)
        if i in common:
            yield CellPair(i, common[i], "")
        elif text in texts:
            yield CellPair(i, texts[text], why)


def _compared(one: _Shared, a: Store, b: Store, pair: CellPair) -> tuple[list[tuple[object, ...]], str]:
    """The rows of one estimator in one cell, and why they are not paired."""
    paired = pair.why or _paired(one, a, b, pair)
    if not isinstance(paired, str):
        return list(_rows(one, *paired)), ""
    means: list[dict[str, Measured]] = []
    for store, cell in ((a, pair.a), (b, pair.b)):
        moments: dict[str, RunningMoments] = {}
        for start in range(0, store.replications, store.block):
            if (rows := one.rows(store, cell, start, start + store.block)) is not None:
                for key, values in rows.values.items():
                    _take_in(moments, key, values, rows.replications, store.worlds)
        found = {key: mean_over_worlds(own) for key, own in moments.items()}
        for key in found.keys() & {"coverage", "rejection"}:  # a share of 0 or 1 is not known exactly
            own = found[key]
            share = measures.proportion(np.round(own.value * own.n), own.n)
            found[key] = own._replace(mcse=np.fmax(own.mcse, share.mcse))
        means.append(found)
    differences_ = {
        key: Measured(means[1][key].value - held.value, np.hypot(held.mcse, means[1][key].mcse), held.n)
        for key, held in means[0].items()
        if key in means[1]
    }
    return list(_rows(one, means[0], means[1], differences_)), paired


def _paired(one: _Shared, a: Store, b: Store, pair: CellPair) -> tuple[dict[str, Measured], ...] | str:
    """A, B and B minus A on replications where both have a number; where truths differ, as after a change of the code,
    why they are not paired."""
    sides: tuple[dict[str, RunningMoments], ...] = ({}, {}, {})
    step = math.lcm(a.block, b.block)
    for start in range(0, min(a.replications, b.replications), step):
        x, y = one.rows(a, pair.a, start, start + step), one.rows(b, pair.b, start, start + step)
        if x is None or y is None:
            continue
        _, at_x, at_y = np.intersect1d(x.replications, y.replications, return_indices=True)
        x, y = x.take(at_x), y.take(at_y)
        for name in [name for name in x.truths if name in y.truths]:
            asked = not any(np.isnan(rows.truths[name]).all() for rows in (x, y))
            if asked and not np.array_equal(x.truths[name], y.truths[name], equal_nan=True):
                return f"their draws differ ({name}), as those of other code may"
        for key in x.values:
            both = np.isfinite(x.values[key]) & np.isfinite(y.values[key])
            held = [np.where(both, side.values[key], np.nan) for side in (x, y)]
            for side, values in zip(sides, (*held, held[1] - held[0]), strict=True):
                _take_in(side, key, values, x.replications, a.worlds)
    found = tuple({key: mean_over_worlds(moments) for key, moments in side.items()} for side in sides)
    for key in found[2].keys() & {"coverage", "rejection"}:
        found[2][key] = measures.not_exact(found[2][key])
    return found


def _take_in(
    means: dict[str, RunningMoments], key: str, values: Floats, replications: NDArray[np.intp], worlds: int
) -> None:
    """Take values (R, E, K), NaN where there is none, into the mean of a measure."""
    rows = Grouping.of(world_of(replications, worlds)) if worlds > 1 else None
    moments = means.setdefault(key, RunningMoments(values.shape[1:], worlds=worlds))
    moments.add(values, np.isfinite(values), rows)


def _rows(
    one: _Shared, a: Mapping[str, Measured], b: Mapping[str, Measured], difference: Mapping[str, Measured]
) -> Iterator[tuple[object, ...]]:
    """(term, error, measure, a, b, difference, mcse, n_a, n_b); the error type is "" for what has none."""
    for key, measured in difference.items():
        for e in range(measured.value.shape[0]):
            for k, term in enumerate(one.terms):
                if not np.isfinite(measured.value[e, k]):
                    continue
                error = one.errors[e] if key in ("mean_se", "coverage", "rejection") else ""
                yield (term, error, key, float(a[key].value[e, k]), float(b[key].value[e, k]),
                       float(measured.value[e, k]), float(measured.mcse[e, k]), int(a[key].n[e, k]),
                       int(b[key].n[e, k]))  # fmt: skip


def _lacking(own: Store, other: Store, cells: set[int]) -> Iterator[str]:
    """What the other store lacks, in words."""
    for name, layout in own.layouts.items():
        if name not in other.layouts:
            yield f"estimator {name}"
            continue
        there = other.layouts[name]
        yield from (f"{name}: term {term}" for term in layout.terms if term not in there.terms)
        yield from (f"{name}: error type {error}" for error in layout.errors if error not in there.errors)
    for index, cell in enumerate(own.cells):
        if index not in cells:
            yield "cell " + (", ".join(f"{dial} = {value}" for dial, value in cell.items()) or str(index))
