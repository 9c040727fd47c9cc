"""One estimator's fits in one block, on the terms of its layout, with intervals and decisions filled in."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import lru_cache, partial
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri, fdtri

from estimators.core.estimator import Layout, Status, critical_values
from results.diagnosis import measures
from results.diagnosis.measures import Grouping, Measured, RunningMoments, Tally
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
    estimate, se = placed(record.estimate, record.terms, layout), placed(record.se, record.terms, layout)
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
        """The tests of some estimators, piece by piece, without the fits that failed."""
        for block in self.pieces(cell):
            yield {name: tests_of(block, name, self.records.layouts[name], self.records.worlds)
                   for name in sorted(names & block.estimates.keys())}  # fmt: skip

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
