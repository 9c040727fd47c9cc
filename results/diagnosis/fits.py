"""One estimator's fits in one block, on the terms of its layout, with intervals and decisions filled in.

The two passes over an estimator's fits in a cell: running moments first, then what needs their totals.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache, partial
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri, fdtri

from estimators.core.estimator import Layout, Status, critical_values
from results.diagnosis import measures
from results.diagnosis import measures as influence
from results.diagnosis.measures import Extremes, Grouping, Measured, Piece, RunningMoments, Tally
from results.store.block import Block, Records, SomeBlocks
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

    @property
    def covered(self) -> Floats:
        """1 where the interval holds the truth, 0 where it misses it, NaN where either is unknown, (R, E, K)."""
        truth = self.truth[:, None, :]
        unknown = np.isnan(self.lower) | np.isnan(self.upper) | np.isnan(truth)
        return np.where(unknown, np.nan, (self.lower <= truth) & (truth <= self.upper))

    def part(self, errors: list[int], terms: list[int]) -> Fits:
        """Some of the error types and terms, by position."""
        by_error = {name: getattr(self, name)[:, errors][:, :, terms]
                    for name in ("se", "lower", "upper", "statistic", "rejected", "decided")}  # fmt: skip
        return replace(self, estimate=self.estimate[:, terms], truth=self.truth[:, terms], **by_error)

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
    estimate, se, dof = (placed(values, record.terms, layout) for values in (record.estimate, record.se, record.dof))
    absent = np.full(len(estimate), np.nan)
    truth = np.array([block.truth.get(layout.targets.get(term, ""), absent) for term in layout.terms]).T
    truth = truth.reshape(estimate.shape)
    critical = _critical(dof, alpha)
    statistic, half = _statistic(estimate, se), critical * se
    lower, upper = estimate[:, None, :] - half, estimate[:, None, :] + half
    rejected, decided = statistic >= critical, statistic > -np.inf
    if record.lower is not None and record.upper is not None:
        stored = placed(record.lower, record.terms, layout), placed(record.upper, record.terms, layout)
        known = ~np.isnan(stored[0]) & ~np.isnan(stored[1])
        lower, upper = np.where(known, stored[0], lower), np.where(known, stored[1], upper)
    if record.pvalue is not None:
        pvalue = placed(record.pvalue, record.terms, layout)
        known = ~np.isnan(pvalue)
        rejected, decided = np.where(known, pvalue <= alpha, rejected), known | decided
    beside = np.array([record.statistics[key] for key in layout.pvalues]).reshape(-1, len(estimate)).T
    passed = record.statistics[layout.screen] > alpha if layout.screen else np.ones(len(estimate), dtype=bool)
    world = world_of(block.start + np.arange(len(estimate)), worlds)
    return Fits(estimate, truth, se, lower, upper, statistic, rejected, decided, beside, passed, record.status, world,
                layout.tests)  # fmt: skip


type Tests = tuple[Floats, NDArray[np.intp]]  # of usable fits |t| (R, E, K), NaN where there is no se; worlds (R,)


def _statistic(estimate: Floats, se: Floats) -> Floats:
    """|t| (R, E, K), NaN where there is no se."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.abs(estimate)[:, None, :] / se)


def placed(values: Floats, terms: tuple[str, ...], layout: Layout) -> Floats:
    """Values (R, ..., own terms) of some terms on the layout's terms, NaN where a cell has no such term.

    The numbers of all replications lie side by side, as in a store: sums are fast, and of the same bits whatever holds
    the records.
    """
    if terms != layout.terms:
        own, values = values, np.full((*values.shape[:-1], len(layout.terms)), np.nan)
        values[..., [layout.terms.index(term) for term in terms]] = own
    if values.strides[0] == values.itemsize:
        return values
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(values, 0, -1)), -1, 0)


def with_normal(records: Records) -> Records:
    """The same records with the normal distribution in place of t: dof = inf wherever there is one."""

    def read(cell: int) -> Iterator[Block]:
        for block in records.blocks(cell):
            estimates = {name: replace(found, dof=np.where(np.isnan(found.dof), np.nan, np.inf))
                         for name, found in block.estimates.items()}  # fmt: skip
            yield replace(block, estimates=estimates)

    return SomeBlocks.of(records, records.cells, read)


def _critical(dof: Floats, alpha: float) -> Floats:
    """Critical values (R or 1, E, K): degrees of freedom seldom change between replications, and sorting them costs."""
    dof = np.asarray(dof, dtype=np.float64)  # whose bytes are read below
    one = dof[:1]
    if len(dof) and ((dof == one).all() or np.array_equal(dof, np.broadcast_to(one, dof.shape), equal_nan=True)):
        return _critical_of(one.tobytes(), one.shape, alpha)
    return critical_values(dof, alpha)


@lru_cache(maxsize=256)
def _critical_of(dof: bytes, shape: tuple[int, ...], alpha: float) -> Floats:
    return critical_values(np.frombuffer(dof).reshape(shape), alpha)


# How the passes of a diagnosis read: cells beside each other, and each block once where all of a cell has room.


BUDGET = 256 * 2**20  # bytes of blocks that are kept between passes
PIECE = 8192  # replications that are judged together, at most: memory is then that of a piece
JOINED = 8192  # replications of small blocks that are judged together
WORKERS = 4  # at most, and no more than cores: each holds a block and what is made of it


class Reading:
    """The blocks of records for several passes: of cells that fit into the budget they are read and checked once.

    alpha: the level of tests and of intervals that are not stored. budget: bytes, None = `BUDGET`.
    """

    def __init__(self, records: Records, alpha: float = 0.05, budget: int | None = None) -> None:
        self.records, self.alpha = records, alpha
        self._left = BUDGET if budget is None else budget
        self._kept: dict[int, list[Block]] = {}
        self._lock = Lock()

    def pieces(self, cell: int) -> Iterator[Block]:
        """The finished blocks of a cell, in order and in pieces of about equal size."""
        for block in self._blocks(cell):
            if block.replications <= PIECE:
                yield block
            else:
                yield from (block.take(slice(start, start + PIECE)) for start in range(0, block.replications, PIECE))

    def fits(self, cell: int) -> Iterator[tuple[dict[str, Fits], Grouping | None]]:
        """Fits by estimator, piece by piece, with the rows of each piece by world; None where there is one world."""
        layouts = self.records.layouts

        def read(block: Block, name: str) -> Fits | None:
            return fits_of(block, name, layouts[name], self.alpha, self.records.worlds)

        for block in self.pieces(cell):
            found = self.per_estimator(layouts, partial(read, block))
            known = {name: fits for name, fits in found.items() if fits is not None}
            some = next(iter(known.values()), None)
            yield known, Grouping.of(some.world) if some is not None and self.records.worlds > 1 else None

    def per_estimator[T](self, names: Iterable[str], work: Callable[[str], T]) -> dict[str, T]:
        """What some work makes of each estimator of a piece: several at once where cells leave cores idle."""
        return for_each(names, work, _cores() // max(len(self.records.cells), 1))

    def tests(self, cell: int, names: Set[str]) -> Iterator[dict[str, Tests]]:
        """The tests of some estimators, piece by piece, without the fits that failed: what of `fits_of` size-adjusted
        power needs."""
        for block in self.pieces(cell):
            world = world_of(block.start + np.arange(block.replications), self.records.worlds)
            tests: dict[str, Tests] = {}
            for name in sorted(names & block.estimates.keys()):
                record, layout = block.estimates[name], self.records.layouts[name]
                estimate, se = placed(record.estimate, record.terms, layout), placed(record.se, record.terms, layout)
                statistic = _statistic(estimate, se)
                ok = (record.status == Status.OK) & np.isfinite(estimate).any(axis=1)
                tests[name] = (statistic, world) if ok.all() else (statistic[ok], world[ok])
            yield tests

    def _blocks(self, cell: int) -> Iterator[Block]:
        if cell in self._kept:
            yield from self._kept[cell]
            return
        held: list[Block] | None = []
        taken = 0
        blocks = together(self.records.blocks(cell))
        for block in ahead(blocks) if len(self.records.cells) < _cores() else blocks:
            size = size_of(block)
            if held is not None and self._take(size):
                taken += size
                held.append(block)
            elif held is not None:  # the cell has no room: what was kept of it makes room for others
                held = None
                self._take(-taken)
            yield block
        if held is not None:
            self._kept[cell] = held

    def _take(self, size: int) -> bool:
        """Take bytes of the budget, which all threads share, or give them back."""
        with self._lock:
            if size > self._left:
                return False
            self._left -= size
            return True


def together(blocks: Iterator[Block]) -> Iterator[Block]:
    """Small blocks that follow one another joined, because each piece costs a pass as much as thousands of rows."""
    held: list[Block] = []
    for block in blocks:
        end = held[-1].start + held[-1].replications if held else block.start
        if held and (block.start != end or end + block.replications - held[0].start > JOINED):
            yield Block.join(held)
            held = []
        held.append(block)
    if held:
        yield Block.join(held)


def size_of(block: Block) -> int:
    """Bytes of a block's arrays."""
    arrays = [*block.truth.values()]
    for fits in block.estimates.values():
        further = (part for part in (fits.pvalue, fits.lower, fits.upper) if part is not None)
        arrays += [fits.estimate, fits.se, fits.dof, *further, *fits.statistics.values()]
    return sum(array.nbytes for array in arrays)


def ahead[T](items: Iterator[T]) -> Iterator[T]:
    """The same, while a thread gets the next one: where cells are fewer than cores, one of these has nothing to do."""
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(list, itertools.islice(items, 1))
        while item := following.result():
            following = pool.submit(list, itertools.islice(items, 1))
            yield item[0]


def _cores() -> int:
    """On how many cells are read beside each other."""
    return min(os.cpu_count() or 1, WORKERS)


def for_each[K, T](items: Iterable[K], work: Callable[[K], T], most: int | None = None) -> dict[K, T]:
    """What some work makes of each item, on several cores, `most` of them; numpy lets threads run beside each other."""
    wanted = list(items)
    workers = min(len(wanted), _cores() if most is None else most)
    if workers < 2:
        return {item: work(item) for item in wanted}
    with ThreadPoolExecutor(workers) as pool:
        return dict(zip(wanted, pool.map(work, wanted), strict=True))


# Monte Carlo errors where replications share worlds: sums of influences by world, and the sandwich over worlds.
#
# The influence of a fit on a measure m is what it adds to n (m - its expectation), up to terms that vanish. Fits of
# one world share what the world holds fixed, so that the sums S_w of the influences of G worlds, not the
# influences, are independent (Liang and Zeger 1986; Cameron, Gelbach and Miller 2011):
#
#     MCSE^2 = G / (G - 1) sum_w S_w^2 / n^2
#
# Memory is one number a world, whatever the number of replications.


def clustered(total: Floats, n: Floats) -> Floats:
    """The MCSE of the module's formula from sums of influences and counts, (W, *shape); NaN below two worlds."""
    groups, fits = (n > 0).sum(axis=0), n.sum(axis=0)
    factor = np.where(groups > 1, groups / np.maximum(groups - 1.0, 1.0), np.nan)
    return np.sqrt(factor * np.square(total).sum(axis=0)) / np.maximum(fits, 1.0)


def widened(measured: Measured, by_world: Floats) -> Measured:
    """A measure whose MCSE is the clustered one, but no less than that of independent fits.

    Given its world a fit is independent of the others of it, so that influences within a world cannot be negatively
    correlated: a clustered MCSE below that of independent fits is noise, of which few worlds give much. Where nothing
    varies (0) or no two worlds are there (NaN) the MCSE stays as it is.
    """
    mcse = np.where(measured.mcse > 0, np.fmax(measured.mcse, by_world), measured.mcse)
    return measured._replace(mcse=mcse)


def bound_factor(worlds: Floats) -> Floats:
    """How many times a clustered MCSE its upper 97.5% confidence bound is, from the numbers of worlds behind it.

    sqrt((G - 1) / q) with q the 2.5% point of chi-squared with G - 1 degrees of freedom, exact for normal worlds; 1 for
    a lone world, whose fits are independent and many.
    """
    freedom = np.maximum(np.asarray(worlds, dtype=np.float64) - 1, 1.0)
    return np.where(np.asarray(worlds) > 1, np.sqrt(freedom / chdtri(freedom, 0.975)), 1.0)


def variance_inflation(hits: Tally) -> Floats:
    """The clustered variance of a share over that of independent fits, 1 or more; 1 where it cannot be told."""
    share = hits.hits / np.maximum(hits.n, 1.0)
    alone = share * (1 - share) / np.maximum(hits.n, 1.0)
    together = clustered(hits.hits_by_world - hits.counts * share, hits.counts) ** 2
    return np.where(alone > 0, np.fmax(together / np.where(alone > 0, alone, 1.0), 1.0), 1.0)


class _Parts(NamedTuple):
    """Mean squares of a one-way analysis of variance by world, with their degrees of freedom, each (K,).

    size: n_0, the fits of a world (their effective number where worlds differ). few: where there are not two worlds
    with more fits than worlds; all else is then without meaning.
    """

    between: Floats
    within: Floats
    df_between: Floats
    df_within: Floats
    size: Floats
    few: Flags


def _parts(moments: RunningMoments) -> _Parts:
    """The mean squares of x, from moments that keep sums by world."""
    counts = moments.counts
    groups, n = (counts > 0).sum(axis=0).astype(np.float64), counts.sum(axis=0)
    between = (np.square(moments.totals) / np.maximum(counts, 1.0)).sum(axis=0)
    few = (groups < 2) | (n <= groups)
    df_b, df_w = np.where(few, 1.0, groups - 1), np.where(few, 1.0, n - groups)
    size = np.where(few, 1.0, (n - np.square(counts).sum(axis=0) / np.maximum(n, 1.0)) / df_b)
    return _Parts(between / df_b, np.maximum(moments.second - between, 0.0) / df_w, df_b, df_w, size, few)


def variance_over_worlds(moments: RunningMoments) -> Floats:
    """The variance of x over all that is drawn, sigma_b^2 + sigma_w^2, without bias however few the worlds are, (K,).

    The sample variance leaves out a part sigma_b^2 / G of it: G worlds lie about their own mean. Here it is
    MSB / n_0 + (1 - 1 / n_0) MSW, whose expectation is the sum of both components for worlds of any size (Searle 1971,
    Linear Models, 10.1). The sample variance where worlds are not told apart, or there are not two.
    """
    if not len(moments.counts):
        return moments.variance
    parts = _parts(moments)
    both = parts.between / parts.size + (1 - 1 / parts.size) * parts.within
    return np.where(parts.few, moments.variance, both)


def spread_over_worlds(moments: RunningMoments) -> Measured:
    """The standard deviation of x over all that is drawn, from moments of order 4 that keep sums by world, (K,).

    Its MCSE is that of independent fits, or where it is larger that of normal worlds: the variance of the sum above is
    2 (MSB / n_0)^2 / (G + 1) + 2 ((1 - 1 / n_0) MSW)^2 / (n - G + 2), unbiased for normal x. The kurtosis of a few
    worlds cannot be seen in their own spread, so that a sandwich alone is too small by sqrt((G - 2) / (G - 1)).
    """
    alone = measures.empirical_se(moments)
    if not len(moments.counts):
        return alone
    value, parts = np.sqrt(variance_over_worlds(moments)), _parts(moments)
    of_between = np.square(parts.between / parts.size) / (parts.df_between + 2)
    of_within = np.square((1 - 1 / parts.size) * parts.within) / (parts.df_within + 2)
    normal = measures.ratio(np.sqrt(2 * (of_between + of_within)), 2 * value)
    mcse = np.where(parts.few | ~(alone.mcse > 0), alone.mcse, np.fmax(alone.mcse, normal))
    return Measured(value, mcse, alone.n)


class Reported(NamedTuple):
    """A measure as it is reported: with its 95% interval and the worlds that its fits lie in, each of one shape."""

    measured: Measured
    lower: Floats
    upper: Floats
    worlds: Floats

    def row(self, at: tuple[int, ...]) -> dict[str, float]:
        """The numbers of one place."""
        value, mcse, n = (float(part[at]) for part in self.measured)
        return {"value": value, "mcse": mcse, "lower": self.lower[at], "upper": self.upper[at], "n": int(n),
                "worlds": int(self.worlds[at])}  # fmt: skip


def mean_over_worlds(moments: RunningMoments) -> Measured:
    """The mean of x, with the Monte Carlo error of its worlds where moments keep sums by world."""
    alone = measures.mean(moments)
    return widened(alone, clustered(moments.totals, moments.counts)) if len(moments.counts) else alone


def between_worlds(moments: RunningMoments) -> Reported:
    """The share of the variance of x that lies between worlds, (K,), from moments that keep sums by world.

    One-way analysis of variance: sigma_b^2 / (sigma_b^2 + sigma_w^2) with sigma_b^2 = (MSB - MSW) / n_0, clipped to
    [0, 1]; its MCSE is that of Swiger et al. (1964, Biometrics 20:818), its interval Searle's (1971, Linear Models,
    9.6) from F = MSB / MSW, exact for normal x and worlds of one size.
    """
    msb, msw, df_b, df_w, size, few = _parts(moments)
    n, groups = moments.counts.sum(axis=0), (moments.counts > 0).sum(axis=0)
    few |= (msb <= 0) & (msw <= 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = msb / msw

        def share(of: Floats) -> Floats:
            return np.where(few, np.nan, np.where(np.isinf(of), 1.0, np.clip((of - 1) / (of - 1 + size), 0.0, 1.0)))

        value = share(ratio)
        lower, upper = (share(ratio / fdtri(df_b, df_w, p)) for p in (0.975, 0.025))
        spread = 2 * (n - 1) * np.square((1 - value) * (1 + (size - 1) * value)) / (np.square(size) * df_w * df_b)
    return Reported(Measured(value, np.where(few, np.nan, np.sqrt(spread)), n), lower, upper, groups.astype(np.float64))


OF_A_TERM = ("truth", "mean_estimate", "bias", "relative_bias", "relative_bias_ratio", "empirical_se", "between_worlds",
             "mse", "rmse")  # measures that need no error type  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class _Counted:
    """Fits with what of them counts.

    rows: by world, None where worlds are not told apart. error (R, K). found, true (R, K): fits with an estimate, and
    those with an error.
    """

    fits: Fits
    rows: Grouping | None
    error: Floats
    found: Flags
    true: Flags

    @classmethod
    def of(cls, fits: Fits, usable: Flags, rows: Grouping | None) -> _Counted:
        """usable (R,) says which fits count."""
        error, found = fits.error, usable[:, None] & np.isfinite(fits.estimate)
        return cls(fits, rows, error, found, found & np.isfinite(error))

    @property
    def with_interval(self) -> Flags:
        """Fits with an error and an interval, (R, E, K)."""
        return self.true[:, None, :] & ~np.isnan(self.fits.lower) & ~np.isnan(self.fits.upper)

    @property
    def significant(self) -> Flags:
        """Fits whose test rejects and whose truth is not 0, (R, E, K)."""
        fits = self.fits
        return fits.rejected & fits.decided & (self.true & (fits.truth != 0))[:, None, :]


class FirstPass:
    """Moments and counts of K terms and E error types over the usable fits of a cell, by world where there are some."""

    def __init__(self, terms: int, errors: int, beside: int, alpha: float, worlds: int = 1) -> None:
        of_term = partial(RunningMoments, (terms,), worlds=worlds)
        of_error = partial(RunningMoments, (errors, terms), worlds=worlds)
        self.alpha, self.worlds = alpha, worlds
        self.attempted = 0
        self.statuses = np.zeros(len(Status), dtype=np.int64)
        self.usable = 0
        self.converged, self.rejected_beside = Tally((1,), worlds), Tally((beside,), worlds)
        self.estimate, self.truth, self.truth_range = of_term(4), of_term(), Extremes((terms,))
        self.error, self.square, self.relative = of_term(4), of_term(), of_term()
        self.se, self.variance = of_error(), of_error()
        self.error_with_se, self.variance_with_error = of_error(), of_error()
        self.error_with_interval = of_error()
        self.covered, self.rejected, self.wrong_sign = (Tally((errors, terms), worlds) for _ in range(3))
        self.size_found, self.size_true = of_error(), of_error()

    def add(self, fits: Fits, usable: Flags, rows: Grouping | None = None) -> None:
        """Take in some fits; usable (R,) says which count. rows: of all of them by world, where there are several."""
        self.statuses += np.bincount(fits.status, minlength=len(Status))
        self.attempted = int(self.statuses.sum() - self.statuses[Status.NOT_RUN])
        self.usable += int(usable.sum())
        counted = _Counted.of(fits, usable, rows)
        error, found, true = counted.error, counted.found, counted.true
        self.converged.add(usable[:, None], (fits.status != Status.NOT_RUN)[:, None], rows)
        if fits.beside.size:
            self.rejected_beside.add(fits.beside <= self.alpha, usable[:, None] & np.isfinite(fits.beside), rows)
        known = found & np.isfinite(fits.truth)
        self.estimate.add(fits.estimate, found, rows)
        self.truth.add(fits.truth, known, rows)
        self.truth_range.add(fits.truth, known)
        self.square.add(error * error, true, rows)
        with np.errstate(divide="ignore", invalid="ignore"):
            self.relative.add(error / fits.truth, true & (fits.truth != 0), rows)
        of_all = Piece.of(error, true, rows, 4)
        self.error.merge(of_all)

        # what each error type has a value of, (R, E, K)
        of_error, interval = of_all.by_error, counted.with_interval
        found3, true3, truth = found[:, None, :], true[:, None, :], fits.truth[:, None, :]

        def error_where(which: Flags) -> Piece:
            if (which == true3).all():
                return of_error
            return Piece.of(np.broadcast_to(error[:, None, :], which.shape), which, rows)

        has_se, variance = found3 & np.isfinite(fits.se), fits.se * fits.se
        with_error, of_variance = has_se & true3, Piece.of(variance, has_se, rows)
        self.se.add(fits.se, has_se, rows)
        self.variance.merge(of_variance)
        same = np.array_equal(with_error, has_se)
        self.variance_with_error.merge(of_variance if same else Piece.of(variance, with_error, rows))
        self.error_with_se.merge(error_where(with_error))
        self.error_with_interval.merge(error_where(interval))
        self.covered.add((fits.lower <= truth) & (truth <= fits.upper), interval, rows)
        self.rejected.add(fits.rejected, found3 & fits.decided, rows)
        significant = counted.significant
        if not significant.any():
            return
        estimate, shape = fits.estimate[:, None, :], significant.shape
        self.wrong_sign.add(np.broadcast_to(np.sign(estimate) * np.sign(truth) < 0, shape), significant, rows)
        self.size_found.add(np.broadcast_to(np.abs(estimate), shape), significant, rows)
        self.size_true.add(np.broadcast_to(np.abs(truth), shape), significant, rows)


class SecondPass:
    """Leave-one-out values and moved intervals, which need the totals of the first pass."""

    def __init__(self, first: FirstPass) -> None:
        by_term, by_error = first.estimate.n.shape, first.se.n.shape
        self.first = first
        self.se_error = RunningMoments(by_error)
        self.relative_ratio = RunningMoments(by_term)
        self.ratio_shown = bool(truth_varies(first).any())  # elsewhere it is the relative bias, and is left out
        self.type_m = RunningMoments(by_error)
        self.covered = Tally(by_error, first.worlds)
        self.covered_above, self.covered_below = Tally(by_error), Tally(by_error)
        self.error_if_covered = np.zeros(by_error)  # sum h (e - b)
        self.window = measures.window(first.error)

    @property
    def coverage_slope(self) -> Floats:
        """Change of the coverage of moved intervals with the move, (E, K); 0 where errors do not vary."""
        gain = self.covered_above.hits - self.covered_below.hits
        width = np.where(self.window > 0, 2 * self.window, np.inf)
        return gain / np.maximum(self.covered.n, 1.0) / width

    def add(self, fits: Fits, usable: Flags, rows: Grouping | None = None) -> None:
        """Take in some fits; usable (R,) says which count. rows: of all of them by world, where there are several."""
        first, counted = self.first, _Counted.of(fits, usable, rows)
        error, significant = counted.error, counted.significant
        with np.errstate(invalid="ignore", over="ignore"):
            gap = measures.se_error(
                measures.mean_without(fits.se * fits.se, first.variance_with_error),
                measures.variance_without(error[:, None, :], first.error_with_se),
            )
            self.se_error.add(gap, counted.true[:, None, :] & np.isfinite(fits.se) & np.isfinite(gap))
            if significant.any():
                size = measures.ratio(
                    measures.mean_without(np.abs(fits.estimate)[:, None, :], first.size_found),
                    measures.mean_without(np.abs(fits.truth)[:, None, :], first.size_true),
                )
                self.type_m.add(size, significant & np.isfinite(size))
            if self.ratio_shown:
                ratio = measures.ratio(
                    measures.mean_without(error, first.error), measures.mean_without(fits.truth, first.truth)
                )
                self.relative_ratio.add(ratio, counted.true & np.isfinite(ratio))
        fits, bias, usable = counted.fits, self.first.error.mean, counted.with_interval
        truth = fits.truth[:, None, :]
        low, high = fits.lower - truth, fits.upper - truth
        covers = (low <= bias) & (bias <= high) & usable
        self.covered.add(covers, usable, counted.rows)
        for tally, move in ((self.covered_above, bias + self.window), (self.covered_below, bias - self.window)):
            tally.add((low <= move) & (move <= high), usable)
        shift = np.where(counted.true, counted.error - bias, 0.0)
        self.error_if_covered += (shift[:, None, :] * covers).sum(axis=0)

    @cached_property
    def by_world(self) -> dict[str, Influences]:
        """Sums of influences by world, for the Monte Carlo errors of what replications share; none with one world."""
        if self.first.worlds == 1:
            return {}
        first, error, estimate, known = self.first, self.first.error, self.first.estimate, self.first.error.n > 0
        within, variance = first.error_with_interval, first.variance_with_error
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            spread = np.where(known, influence.of_spread(error), influence.of_spread(estimate))
            # a fit adds h - B + B'(b) (e - b) to the coverage of moved intervals, b the bias
            shift = within.totals + within.counts * (within.mean - error.mean)
            moved = _of_share(self.covered)
            return {
                # those that need no error type, (W, K), or (W, S) and (W, 1) for tests beside terms and convergence
                "truth": Influences(influence.of_mean(first.truth), first.truth.counts),
                "mean_estimate": Influences(influence.of_mean(estimate), estimate.counts),
                "bias": Influences(influence.of_mean(error), error.counts),
                "relative_bias": Influences(influence.of_mean(first.relative), first.relative.counts),
                "relative_bias_ratio": Influences(influence.of_ratio(error, first.truth), error.counts),
                "empirical_se": Influences(spread, np.where(known, error.counts, estimate.counts)),
                "mse": Influences(influence.of_mean(first.square), first.square.counts),
                "rmse": Influences(influence.of_root(first.square), first.square.counts),
                "convergence": _of_share(first.converged),
                "beside": _of_share(first.rejected_beside),
                # those of each error type, (W, E, K)
                "mean_se": Influences(influence.of_mean(first.se), first.se.counts),
                "model_se": Influences(influence.of_root(first.variance), first.variance.counts),
                "se_error": Influences(influence.of_se_error(variance, first.error_with_se), variance.counts),
                "coverage": _of_share(first.covered),
                "bias_eliminated_coverage": moved._replace(total=moved.total + self.coverage_slope * shift),
                "rejection": _of_share(first.rejected),
                "type_s": _of_share(first.wrong_sign),
                "type_m": Influences(influence.of_ratio(first.size_found, first.size_true), first.size_true.counts),
            }


class Influences(NamedTuple):
    """Sums of the influences of fits on a measure by world, and counts of its fits; each (W, *shape)."""

    total: Floats
    n: Floats

    @property
    def groups(self) -> Floats:
        """Worlds that hold some fit of the measure."""
        return (self.n > 0).sum(axis=0).astype(np.float64)


def _of_share(tally: Tally) -> Influences:
    return Influences(influence.of_share(tally), tally.counts)


def truth_varies(first: FirstPass) -> Flags:
    """Terms whose truth is not the same in all draws, (K,)."""
    return ~first.truth_range.constant & (first.truth.n > 0)


def reported(second: SecondPass, name: str, measured: Measured, share: bool = False) -> Reported:
    """A measure with the Monte Carlo error and interval that its worlds give; share: whether it is a proportion."""
    if name not in second.by_world:
        return Reported(measured, *measures.interval(measured, share), np.ones(measured.value.shape))
    sums = second.by_world[name]
    wide = widened(measured, clustered(*sums))
    return Reported(wide, *measures.interval(wide, share, sums.groups), sums.groups)


def share_between_worlds(first: FirstPass) -> Reported:
    """The share of the variance of e (of estimates where the truth is unknown) between worlds, (K,)."""
    known, unknown, has = between_worlds(first.error), between_worlds(first.estimate), first.error.n > 0
    value, mcse, n, lower, upper = (np.where(has, a, b) for a, b in
                                    zip((*known.measured, known.lower, known.upper),
                                        (*unknown.measured, unknown.lower, unknown.upper), strict=True))  # fmt: skip
    return Reported(Measured(value, mcse, n), lower, upper, unknown.worlds)


def measures_by_term(second: SecondPass) -> dict[str, Measured]:
    """Measures that need no error type, each (K,)."""
    first = second.first
    varies = truth_varies(first)
    relative = measures.mean(first.relative)
    unsafe = first.truth_range.zero | (varies & first.truth_range.near_zero)
    ratio = measures.jackknifed(measures.ratio(first.error.average, first.truth.average), second.relative_ratio)
    truth = measures.mean(first.truth)
    known = first.error.n > 0
    spread = spread_over_worlds(first.error), spread_over_worlds(first.estimate)
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


def measures_by_error(second: SecondPass) -> dict[str, Measured]:
    """Measures of each error type, (E, K)."""
    first = second.first
    gap = measures.se_error(first.variance_with_error.average, variance_over_worlds(first.error_with_se))
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
