"""Estimators that complete the untreated outcomes of treated cells: what they share.

Two-way effects and slopes of covariates come from untreated cells, on B panels whose calendars may all differ. Where
one calendar serves many outcomes, `estimators/staggered/dummy_regression.py` prepares it once; here every panel has a
mask of its own, as in samples of units and in folds of cells.

Standard errors by drawing units anew: placebo, jackknife and bootstrap of a statistic of R panels at once.

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

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from estimators.core import regression as ols
from estimators.core.error_types import check_error_types
from estimators.core.estimator import Estimates, Layout, Status, TreatmentEstimator, check_names
from estimators.core.tile import TINY, UNDATED, dates_of, spread
from estimators.staggered.adoption_effects import Cohorts
from sim.arrays import Codes, Flags, Floats
from sim.errors import bad
from sim.panel import Panel, check_balanced
from sim.schema import Schema
from sim.streams import Streams
from sim.world.panel_design import PanelDesign
from sim.world.parts.adoption import Random
from sim.world.parts.covariates import Normal
from sim.world.parts.effect import Effect
from sim.world.parts.errors import Process
from sim.world.parts.geography import Nowhere
from sim.world.parts.levels import Effects
from sim.world.parts.weights import NoWeights

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
    part. draws: of placebo and bootstrap; each replication draws from a stream of its own. A draw without a
    value does not count; there is no error with fewer than two that have one.
    """
    rows = streams.replications
    dates = np.broadcast_to(first, (rows, first.shape[1]))
    if (dates == 0).any():
        return _of_those_that_adopt(error, dates, periods, statistic, streams, draws)
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


def _of_those_that_adopt(
    error: str, dates: Codes, periods: int, statistic: SampleStatistic, streams: Streams, draws: int
) -> Floats:
    """The errors of panels without their units that are treated all the time, one by one where these differ."""
    always = dates == 0
    same = bool((always == always[0]).all())
    found = []
    for rows in [np.arange(len(dates))] if same else np.arange(len(dates))[:, None]:
        kept, at = np.flatnonzero(~always[rows[0]]), streams.start + int(rows[0])

        def of_all(samples: UnitSamples, rows: Codes = rows, kept: Codes = kept) -> Floats:
            return statistic(replace(samples, rows=rows[samples.rows], chosen=kept[samples.chosen]))

        own = streams.tile(at, at + len(rows))
        found.append(standard_error(error, dates[rows][:, kept], periods, of_all, own, draws))
    return np.concatenate(found)


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
    """All replications that have enough units, with their samples, each with a unit that adopts and one that is
    untreated then."""
    able, units = _enough(dates, periods), dates.shape[1]
    drawn, seeds = [], []
    for row, generator in enumerate(streams.each("bootstrap:unit")):
        if not able[row]:
            continue
        chosen = generator.integers(0, units, (draws, units))
        for _ in range(MOST_ROUNDS):
            first = dates[row][chosen]
            earliest = np.where((first > 0) & (first < periods), first, periods).min(axis=1)
            lacking = np.flatnonzero(~(first > earliest[:, None]).any(axis=1))
            if not lacking.size:
                break
            chosen[lacking] = generator.integers(0, units, (len(lacking), units))
        drawn.append(chosen)
        seeds.append(generator.integers(0, 2**62, draws))
    group = np.flatnonzero(able)
    if group.size:
        rows, picked = np.repeat(group, draws), np.concatenate(drawn)
        first = np.take_along_axis(dates[rows], picked, axis=1).reshape(-1, units)
        yield group, UnitSamples(rows, picked, first, np.concatenate(seeds))


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


OVERALL = "overall"


@dataclass(frozen=True, eq=False, slots=True)
class Completion:
    """What R panels would be without treatment.

    outcome (R, T, N); tuning (R,): what was chosen from the data, held in samples of units; slopes (R, K); statistics
    by name, (R,); converged (R,).
    """

    outcome: Floats
    tuning: Floats
    slopes: Floats
    statistics: dict[str, Floats]
    converged: Flags


@dataclass(frozen=True, slots=True)
class ImputedEffects(TreatmentEstimator):
    """Base of estimators of the mean effect over all treated cells, as observed less completed outcomes.

    outcome, controls: names of variables; None = the panel's own roles. errors: placebo:unit, jackknife:unit,
    bootstrap:unit. draws: of placebo and bootstrap. label: its name in tables.
    """

    gaps: ClassVar[bool] = False
    own_statistics: ClassVar[tuple[str, ...]]

    outcome: str | None = None
    controls: tuple[str, ...] | None = None
    errors: tuple[str, ...] = ("jackknife:unit",)
    draws: int = 200
    label: str = ""

    @abstractmethod
    def complete(
        self, panels: UnitPanels, streams: Streams, again: tuple[UnitSamples, Completion] | None = None
    ) -> Completion:
        """Complete B panels; whatever is chosen from the data is chosen here.

        again: that these are samples of units, and the completion of the R panels that they come from.
        """

    @abstractmethod
    def check_calendar(self, first: Codes, periods: tuple[int, ...]) -> None:
        """Raise BadInput for dates (N,) that leave nothing to complete from."""

    def layout(self, schema: Schema) -> Layout:
        """The term `overall`; raises BadInput for names and error types that do not exist."""
        outcome, treatment, controls = self.names(schema)
        check_names(schema, outcome, (treatment, *controls), self.name)
        check_error_types(self.errors, schema, self.name, "synthetic")
        check_draws(self.draws, self.name)
        return Layout((OVERALL,), self.errors, self.own_statistics, {OVERALL: "att"})

    @np.errstate(divide="ignore", invalid="ignore")  # a degenerate draw is NaN with a status
    def completed(self, panel: Panel, streams: Streams | None = None) -> Floats:
        """Outcomes without treatment, (R, T, N), for the paths of treated units and their gaps; raises as a fit."""
        self.layout(panel.schema)
        panels, _ = self._panels(panel)
        return self.complete(panels, (streams or Streams(0)).rows(panel.replications)).outcome

    @np.errstate(divide="ignore", invalid="ignore")
    def __call__(self, panel: Panel, streams: Streams | None = None) -> Estimates:
        """Fit R panels; raises BadInput for an unbalanced one, a calendar that leaves nothing to complete from, and
        controls that the effects absorb or that are collinear."""
        layout, streams = self.layout(panel.schema), (streams or Streams(0)).rows(panel.replications)
        panels, dated = self._panels(panel)
        whole = self.complete(panels, streams)
        estimate = panels.effect(whole.outcome)

        def statistic(samples: UnitSamples) -> Floats:
            sampled = panels.sampled(samples)
            return sampled.effect(self.complete(sampled, streams, (samples, whole)).outcome)

        se = np.stack([standard_error(error, panels.first, panels.y.shape[1], statistic, streams, self.draws)
                       for error in self.errors], axis=1)  # fmt: skip
        known = np.isfinite(estimate)
        status = np.where(known, np.where(whole.converged, Status.OK, Status.NOT_CONVERGED), Status.SINGULAR)
        status = np.where(dated, status, Status.REFUSED).astype(np.uint8)
        se = np.where(known[:, None], se, np.nan)[:, :, None]
        return Estimates.of(layout, estimate[:, None], se, np.full(se.shape, np.inf), whole.statistics, status=status)

    def _panels(self, panel: Panel) -> tuple[UnitPanels, Flags]:
        """The R panels, and which of them have dates of adoption."""
        outcome, treatment, controls = self.names(panel.schema)
        check_balanced(panel, self.name)
        ols.check_fixed(panel, controls, self.name)
        d, rows = panel.variables[treatment], panel.replications
        if len(d) == 1:
            self.check_calendar(Cohorts.of(panel, treatment, self.name, even=False).first, panel.periods)
        dates = dates_of(d).astype(np.intp)
        dated = (dates != UNDATED).all(axis=1)
        first = np.broadcast_to(np.where(dated[:, None], dates, d.shape[1]), (rows, d.shape[2]))
        x = ols.stack([panel.variables[name] for name in controls])
        return UnitPanels(spread(panel.variables[outcome], rows), x, first), np.broadcast_to(dated, rows)


def small_world(factors: int = 0) -> PanelDesign:
    """A small world with one covariate, a common date and as many common factors as said."""
    return PanelDesign(
        units=30, periods=14, geography=Nowhere(), weights=NoWeights(),
        levels=Effects(factors=factors, factor_share=4.0),
        covariates=(Normal(name="x", effect=0.5),), errors=Process(sd=1.0),
        adoption=Random(treated=10, last_periods=5), effect=Effect(size=0.5),
    )  # fmt: skip


# Least squares on untreated cells.


@dataclass(frozen=True, eq=False, slots=True)
class UnitPanels:
    """B panels: outcomes y (B, T, N), covariates x (1 or B, K, T, N), first treated periods first (B, N), T = never."""

    y: Floats
    x: Floats
    first: Codes

    def sampled(self, samples: UnitSamples) -> UnitPanels:
        """The panels of samples of units."""
        x = samples.of(self.x) if self.x.shape[1] else np.empty((1, 0, 0, 0))
        return UnitPanels(samples.of(self.y), x, samples.first)

    def take(self, rows: Codes | Flags) -> UnitPanels:
        """Some of the panels."""
        return UnitPanels(self.y[rows], self.x if len(self.x) == 1 else self.x[rows], self.first[rows])

    @property
    def untreated(self) -> Floats:
        """1 before adoption, (B, T, N)."""
        return (np.arange(self.y.shape[1])[:, None] < self.first[:, None, :]).astype(np.float64)

    @property
    def treated(self) -> Floats:
        """1 from adoption on, (B, T, N), without units that are treated all the time."""
        return (1 - self.untreated) * (self.first > 0)[:, None, :]

    def without_covariates(self, b: Floats) -> Floats:
        """y - X b, (B, T, N), of slopes (B, K)."""
        if not b.shape[1]:
            return self.y
        rows = ols.flat(self.x)
        return self.y - np.reshape(b[:, None, :] @ rows, self.y.shape)

    def effect(self, completed: Floats) -> Floats:
        """Mean over treated cells of y less its completion (B, T, N), (B,)."""
        cells = self.treated
        gap = np.where(cells > 0, self.y - completed, 0.0)
        return np.asarray(ols.flat(gap).sum(axis=1) / ols.flat(cells).sum(axis=1))


@dataclass(frozen=True, eq=False, slots=True)
class CellEffects:
    """Unit and period effects by least squares over the cells of masks.

    mask (B, T, N): 1 where used; of_units (B, N), of_periods (B, T): how many cells, at least 1; cells (B,): how many
    in all; solver (B, T, T): of the period effects, the normal equations after unit means are taken out.
    """

    mask: Floats
    of_units: Floats
    of_periods: Floats
    cells: Floats
    solver: Floats

    @classmethod
    def of(cls, mask: Floats) -> CellEffects:
        """Prepare masks."""
        units, periods = mask.sum(axis=1), mask.sum(axis=2)
        shared = (mask / np.maximum(units, 1.0)[:, None, :]) @ mask.transpose(0, 2, 1)
        normal = periods[:, :, None] * np.eye(mask.shape[1]) - shared
        solver = np.linalg.pinv(normal, rcond=TINY, hermitian=True)
        return cls(mask, np.maximum(units, 1.0), np.maximum(periods, 1.0), ols.flat(mask).sum(axis=1), solver)

    def __call__(self, y: Floats) -> tuple[Floats, Floats]:
        """Effects of units (B, N), zero for one without a cell, and of periods (B, T), of outcomes (B, T, N)."""
        seen = np.where(self.mask > 0, y, 0.0)
        mean = seen.sum(axis=1) / self.of_units
        owed = seen.sum(axis=2) - (self.mask @ mean[:, :, None])[:, :, 0]
        period = (self.solver @ owed[:, :, None])[:, :, 0]
        unit = mean - (period[:, None, :] @ self.mask)[:, 0] / self.of_units
        return unit, period

    def residual(self, y: Floats) -> Floats:
        """y less its effects in the cells, zero elsewhere, (B, T, N)."""
        unit, period = self(y)
        return np.where(self.mask > 0, y - unit[:, None, :] - period[:, :, None], 0.0)


def untreated_slopes(panels: UnitPanels, effects: CellEffects) -> Floats:
    """Slopes (B, K) of covariates in the two-way regression over untreated cells; NaN where they are absorbed or
    collinear there."""
    count = panels.x.shape[1]
    if not count:
        return np.zeros((len(panels.y), 0))
    x = np.broadcast_to(panels.x, (len(panels.y), *panels.x.shape[1:]))
    left = ols.flat(np.stack([effects.residual(x[:, k]) for k in range(count)], axis=1))
    y = ols.flat(effects.residual(panels.y))
    gram = left @ left.transpose(0, 2, 1)
    inverse, sound = ols.invert(gram)
    b = (inverse @ np.vecdot(left, y[:, None])[:, :, None])[:, :, 0]

    seen = ols.flat(np.where(effects.mask[:, None] > 0, x, 0.0))  # before effects were taken out
    total = np.vecdot(seen, seen)
    spread = total - np.square(seen.sum(axis=2)) / effects.cells[:, None]
    lost = ols.absorbed(np.diagonal(gram, axis1=1, axis2=2), spread, total).any(axis=1)
    return np.where((sound & ~lost)[:, None], b, np.nan)
