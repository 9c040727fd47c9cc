"""Standard errors by drawing units anew: placebo, jackknife and bootstrap of a statistic of R panels at once.

Arkhangelsky, Athey, Hirshberg, Imbens and Wager (2021, section 5, algorithms 2 to 4), with S draws:

| error type | samples | squared error |
|---|---|---|
| placebo:unit | never treated units alone; dates of the treated fall on some of them at random | mean (t - mean t)^2 |
| jackknife:unit | each unit left out in turn | (N - 1)/N sum (t - mean t)^2 |
| bootstrap:unit | N units with replacement; without a treated or an untreated one, drawn again | mean (t - mean t)^2 |

Intervals are normal. Placebo is the only one with a single treated unit, and takes units to be equally variable; it
needs more never treated units than treated ones. The others need two treated units and two to compare them with. Where
a type cannot serve, its error is NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.arrays import Codes, Flags, Floats
from sim.errors import bad
from sim.streams import Streams

FEWEST_DRAWS = 20
AT_ONCE = 300_000  # numbers of outcomes in samples that are computed together: they stay in the cache
MOST_ROUNDS = 200  # in which bootstrap samples without treated or untreated units are drawn again


@dataclass(frozen=True, eq=False, slots=True)
class UnitSamples:
    """B samples of M units each, of R panels.

    rows (B,): the panel of each; chosen (B, M): its units; first (B, M): their first treated period, T = never, which
    in placebos is not their own; seeds (B,): of what a statistic itself draws at random, None in a jackknife.
    """

    rows: Codes
    chosen: Codes
    first: Codes
    seeds: NDArray[np.int64] | None = None

    def of(self, x: Floats) -> Floats:
        """Values (1 or R, ..., N) of the sampled units, (B, ..., M)."""
        by_row = x[self.rows] if len(x) > 1 else np.broadcast_to(x, (len(self.rows), *x.shape[1:]))
        at = self.chosen.reshape(len(self.rows), *(1,) * (x.ndim - 2), -1)
        return np.take_along_axis(by_row, at, axis=-1)

    def take(self, some: slice) -> UnitSamples:
        """Some of the samples."""
        seeds = None if self.seeds is None else self.seeds[some]
        return UnitSamples(self.rows[some], self.chosen[some], self.first[some], seeds)


SampleStatistic = Callable[[UnitSamples], Floats]  # B samples -> (B,), NaN where there is none


def check_draws(draws: int, asked_by: str) -> None:
    """Raise BadInput for too few draws of placebo and bootstrap."""
    if draws < FEWEST_DRAWS:
        raise bad(f"draws = {draws}", where=asked_by, allowed=f"{FEWEST_DRAWS} or more (200 is a good choice)",
                  remedy="draw more")  # fmt: skip


def standard_error(
    error: str, first: Codes, periods: int, statistic: SampleStatistic, streams: Streams, draws: int
) -> Floats:
    """The error (R,) of a statistic of R = streams.replications panels.

    first (1 or R, N): first treated period, T = `periods` for never, 0 for units treated all the time, which take no
    part in placebos. draws: of placebo and bootstrap; each replication draws from a stream of its own. A draw without a
    value does not count; there is no error with fewer than two that have one.
    """
    rows = streams.replications
    dates = np.broadcast_to(first, (rows, first.shape[1]))
    if error == "jackknife:unit":
        return _jackknife(dates, periods, statistic)
    found = np.full(rows, np.nan)
    sampler = _placebos if error == "placebo:unit" else _bootstraps
    for group, samples in sampler(dates, periods, streams, draws):
        values = _computed(samples, periods, statistic).reshape(len(group), draws)
        known = np.isfinite(values)
        enough = known.sum(axis=1) > 1
        found[group[enough]] = values[enough].std(axis=1, where=known[enough])
    return found


def _computed(samples: UnitSamples, periods: int, statistic: SampleStatistic) -> Floats:
    """The statistic of all samples, so many at a time as fit."""
    step = max(1, AT_ONCE // (periods * samples.chosen.shape[1]))
    parts = [statistic(samples.take(slice(k, k + step))) for k in range(0, len(samples.rows), step)]
    return np.concatenate(parts)


def _enough(dates: Codes, periods: int) -> Flags:
    """Whether two units or more adopt, and two or more are untreated when the first does, (R,)."""
    adopts = (dates > 0) & (dates < periods)
    earliest = np.where(adopts, dates, periods).min(axis=1)
    return np.asarray((adopts.sum(axis=1) > 1) & ((dates > earliest[:, None]).sum(axis=1) > 1))


def _jackknife(dates: Codes, periods: int, statistic: SampleStatistic) -> Floats:
    rows, units = dates.shape
    found, able = np.full(rows, np.nan), np.flatnonzero(_enough(dates, periods))
    if not able.size:
        return found
    left = np.arange(units - 1) + (np.arange(units - 1) >= np.arange(units)[:, None])  # (N, N - 1)
    samples = UnitSamples(
        np.repeat(able, units), np.tile(left, (len(able), 1)), dates[able][:, left].reshape(-1, units - 1)
    )
    values = _computed(samples, periods, statistic).reshape(len(able), units)
    found[able] = np.sqrt((units - 1) * values.var(axis=1))
    return found


def _bootstraps(dates: Codes, periods: int, streams: Streams, draws: int) -> Iterator[tuple[Codes, UnitSamples]]:
    """All replications that have enough units, with their samples."""
    able, units = _enough(dates, periods), dates.shape[1]
    chosen, seeds = [], []
    for row, generator in enumerate(streams.each("bootstrap:unit")):
        if able[row]:
            chosen.append(_with_both(dates[row], periods, generator, draws))
            seeds.append(generator.integers(0, 2**62, draws))
    group = np.flatnonzero(able)
    if group.size:
        rows, picked = np.repeat(group, draws), np.concatenate(chosen)
        first = np.take_along_axis(dates[rows], picked, axis=1).reshape(-1, units)
        yield group, UnitSamples(rows, picked, first, np.concatenate(seeds))


def _with_both(dates: Codes, periods: int, generator: np.random.Generator, draws: int) -> Codes:
    """Samples (S, N) with replacement, each with a unit that adopts and one that is untreated then."""
    units = len(dates)
    chosen = generator.integers(0, units, (draws, units))
    for _ in range(MOST_ROUNDS):
        first = dates[chosen]
        earliest = np.where((first > 0) & (first < periods), first, periods).min(axis=1)
        lacking = np.flatnonzero(~(first > earliest[:, None]).any(axis=1))
        if not lacking.size:
            break
        chosen[lacking] = generator.integers(0, units, (len(lacking), units))
    return chosen


def _placebos(dates: Codes, periods: int, streams: Streams, draws: int) -> Iterator[tuple[Codes, UnitSamples]]:
    """Replications with so many never treated units each, with their samples."""
    by_count: dict[int, list[tuple[int, UnitSamples]]] = {}
    for row, generator in enumerate(streams.each("placebo:unit")):
        never = np.flatnonzero(dates[row] == periods)
        real = dates[row][(dates[row] > 0) & (dates[row] < periods)]
        if 0 < len(real) < len(never):
            order = np.argsort(generator.random((draws, len(never))), axis=1)
            first = np.full((draws, len(never)), periods)
            first[:, : len(real)] = real
            seeds = generator.integers(0, 2**62, draws)
            samples = UnitSamples(np.full(draws, row), never[order], first, seeds)
            by_count.setdefault(len(never), []).append((row, samples))
    for items in by_count.values():
        group, parts = zip(*items, strict=True)
        arrays = [np.concatenate([getattr(part, name) for part in parts]) for name in UnitSamples.__slots__]
        yield np.array(group), UnitSamples(*arrays)
