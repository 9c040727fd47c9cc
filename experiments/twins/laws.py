"""The law of a parametric twin's errors: its parameters, and the statistics of residuals that they are fitted to.

By indirect inference they have the values at which a simulated panel's statistics are those of the real one:
Gourieroux, Monfort and Renault (1993). The statistics need not be unbiased for anything: within-unit autoregressions,
Moran's I of residuals and the like are biased in short panels, and equally so in the simulated ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from experiments.settings import build
from experiments.twins.real import Real
from experiments.twins.statistics import (
    Split,
    autoregression,
    correlation,
    group_correlation,
    kurtosis,
    moran_by_period,
    moran_curve,
    moran_of_thirds,
    root_mean_square,
    unequal_variances,
)
from sim.arrays import Flags, Floats
from sim.streams import Streams
from sim.world.context import WorldContext, standard
from sim.world.parts.errors import Process, SettledProcess

# Errors of many small worlds on common random numbers, by the part of the design that draws them in studies.


@dataclass(frozen=True, slots=True)
class CommonStreams(Streams):
    """Streams that remember their normals, so that they are drawn once for all parameters."""

    drawn: dict[Any, Floats] = field(default_factory=dict, compare=False, repr=False)

    def normals(self, purpose: str, *shape: int) -> Floats:
        """A copy of the same numbers whenever they are asked for, (R, *shape)."""
        key = (purpose, shape)
        if key not in self.drawn:
            self.drawn[key] = Streams.normals(self, purpose, *shape)
        return self.drawn[key].copy()


def simulated_errors(
    part: Process, context: WorldContext, streams: CommonStreams, treatment: Floats | None = None
) -> Floats:
    """Errors (R, T, N) of R worlds under a treatment (1, T, N), each with scales of its own for the units."""
    scales = np.ones((streams.replications, 1, 1))
    if part.unit_heteroskedastic:
        logs = part.unit_heteroskedastic * streams.normals("scales of units", context.units)
        scales = (np.exp(logs) / np.sqrt(np.square(np.exp(logs)).mean(axis=1, keepdims=True)))[:, None, :]
    spatial = context.spatial(part.spatial)
    loadings = np.zeros((0, context.units))
    process = SettledProcess(part, context, loadings, part.size * scales, True, spatial, None)
    errors = process.spread(process.draw(streams))
    cells = part.cells(np.zeros((1, *context.shape)) if treatment is None else treatment)
    return errors if cells is None else errors * cells


State = tuple[Floats, Floats, Floats]  # parameters, statistics, their Monte Carlo errors
Moments = Callable[[Floats], tuple[Floats, Floats]]

MOST_STEPS, HALVINGS = 30, 6
WIDTH = 1e-3  # of a difference quotient, as a share of the parameter's range of sense
LEAST = 1e-12  # Monte Carlo error that is taken for none


@dataclass(frozen=True, eq=False, slots=True)
class Calibration:
    """What Newton's method found: parameters (P,), their statistics (S,) with Monte Carlo errors, and how it ended.

    edge (P,): parameters at an end of their range that would go beyond. matched: every mismatch is below its Monte
    Carlo error. slopes (S, P): of the statistics by the parameters, in units of the ranges.
    """

    values: Floats
    statistics: Floats
    mcse: Floats
    edge: Flags
    matched: bool
    steps: int
    slopes: Floats


def calibrated(
    moments: Moments, target: Floats, start: Floats, low: Floats, high: Floats, short: Moments | None = None
) -> Calibration:
    """Damped Newton steps from `start` within [low, high] until mismatches are below their Monte Carlo errors.

    moments: parameters -> mean statistics (as many as parameters, each with the one that moves it most) and their Monte
    Carlo errors, on common random numbers, so that differences between parameters are those of the parameters. short:
    the same of fewer panels, which is enough for slopes. Slopes are brought up to date by each step (Broyden 1965), and
    taken anew at the end and where a step does not bring the statistics nearer. A step is halved until it does. A
    parameter that would leave its range stays at its end, and its own statistic is left as it is.
    """
    at, ends = np.clip(start, low, high), (low, high)
    now, mcse = moments(at)
    slopes, fresh = _slopes(short or moments, at, ends), True
    free = np.ones(len(at), dtype=bool)
    for step in range(MOST_STEPS):
        gap = (target - now) / np.maximum(mcse, LEAST)
        move, free = _newton(slopes / np.maximum(mcse, LEAST)[:, None], gap, at, low, high)
        matched = bool((np.abs(gap[free]) <= 1.0).all())
        following = None if matched else _damped(moments, target, (at, now, mcse), move, free, ends)
        if following is None and fresh:
            return Calibration(at, now, mcse, ~free, matched, step, slopes)
        if following is None:
            slopes, fresh = _slopes(short or moments, at, ends), True
            continue
        moved = (following[0] - at) / (high - low)
        slopes = slopes + np.outer(following[1] - now - slopes @ moved, moved) / max(float(moved @ moved), LEAST**2)
        fresh = False
        at, now, mcse = following
    return Calibration(at, now, mcse, ~free, matched=False, steps=MOST_STEPS, slopes=slopes)


def neighbourhood(found: Calibration, statistics: Floats, low: Floats, high: Floats) -> Floats:
    """Parameters that panels of the fitted world would give in one Newton step each, (R, P).

    statistics (R, S): those of panels at the fit, on the common random numbers. theta_r = theta + J^+ (s_r - mean s),
    within the ranges; parameters at an end of theirs stay there and their statistics are left out.
    """
    free = ~found.edge
    out = np.tile(found.values, (len(statistics), 1))
    apart = statistics[:, free] - statistics[:, free].mean(axis=0)
    scale = np.maximum(apart.std(axis=0), LEAST)
    inverse = np.linalg.pinv(found.slopes[np.ix_(free, free)] / scale[:, None], rcond=1e-8)
    out[:, free] += (apart / scale) @ inverse.T * (high - low)[free]
    return np.asarray(np.clip(out, low, high))


def few_of(draws: Floats, count: int, low: Floats, high: Floats) -> Floats:
    """The first draws (count, P) of (R, P), moved so that their means and covariances are those of all draws.

    Few draws of a fixed seed would have a spread of their own, the same for every panel of a size. With A = C^1/2
    C_few^-1/2, symmetric roots of covariances: mean + A (draw - mean of the few), within the ranges (P,). Below half of
    its mean m a parameter whose range begins above 0, such as a standard deviation, falls in proportion: m e^(2x/m - 1)
    / 2 in place of x, for a straight line would take it to the end of its range, a world that has next to no errors.
    Draws that are no more than the parameters stay as they are.
    """
    some = draws[:count]
    if len(some) <= draws.shape[1] + 1:
        return some
    scale = np.maximum(draws.std(axis=0), LEAST)
    every, own = draws / scale, some / scale
    move = _root(np.cov(every, rowvar=False), 0.5) @ _root(np.cov(own, rowvar=False), -0.5)
    found = (every.mean(axis=0) + (own - own.mean(axis=0)) @ move.T) * scale
    middle = draws.mean(axis=0)
    falls = np.where(low > 0, 2 * found / np.where(low > 0, middle, 1.0) - 1, 0.0)
    found = np.where(falls < 0, middle / 2 * np.exp(np.minimum(falls, 0.0)), found)
    return np.where(draws.std(axis=0) > LEAST, np.clip(found, low, high), some)


def _root(covariance: Floats, power: float) -> Floats:
    """A symmetric power of a covariance (P, P), 0 in directions without variance."""
    values, vectors = np.linalg.eigh(np.atleast_2d(covariance))
    kept = values > 1e-9 * max(float(values.max()), LEAST)
    return np.asarray((vectors[:, kept] * values[kept] ** power) @ vectors[:, kept].T)


def _slopes(moments: Moments, at: Floats, ends: tuple[Floats, Floats]) -> Floats:
    """Difference quotients (S, P) in units of the ranges, inwards from their ends."""
    now, spans, columns = moments(at)[0], ends[1] - ends[0], []
    for k in range(len(at)):
        share = WIDTH if at[k] + WIDTH * spans[k] <= ends[1][k] else -WIDTH
        other = at.copy()
        other[k] += share * spans[k]
        columns.append((moments(other)[0] - now) / share)
    return np.stack(columns, axis=1)


def _newton(slopes: Floats, gap: Floats, at: Floats, low: Floats, high: Floats) -> tuple[Floats, Flags]:
    """The step, and which parameters take part in it: one that would leave its range from an end of it does not.

    Slopes are in units of the ranges, so that a parameter's unit of measurement does not matter.
    """
    spans = high - low
    free = np.ones(len(at), dtype=bool)
    move = np.zeros(len(at))
    for _ in range(len(at)):
        move = np.zeros(len(at))
        move[free] = np.linalg.lstsq(slopes[np.ix_(free, free)], gap[free], rcond=1e-8)[0] * spans[free]
        outwards = ((at <= low) & (move < 0)) | ((at >= high) & (move > 0))
        if not (outwards & free).any():
            break
        free &= ~outwards
    return move, free


def _damped(
    moments: Moments, target: Floats, state: State, move: Floats, free: Flags, ends: tuple[Floats, Floats]
) -> State | None:
    """The first of the step, its half, its quarter, ... that brings the statistics nearer; None where none does."""
    at, now, mcse = state
    distance = np.linalg.norm((target - now)[free] / np.maximum(mcse[free], LEAST))  # in Monte Carlo errors
    for half in range(HALVINGS):
        there = np.clip(at + move / 2**half, *ends)
        found, mcse = moments(there)
        apart = np.linalg.norm((target - found)[free] / np.maximum(mcse[free], LEAST))
        if np.isfinite(found).all() and apart < distance:
            return there, found, mcse
    return None


NUMBERS, FEWEST, MOST = 500_000, 64, 400  # of simulated unit-periods; least and most simulated panels
LAST = 0.995  # largest partial autocorrelation
FARTHEST = 0.95  # largest spatial coefficient
LEVEL = 0.05  # of the tests for another kurtosis than that of normal errors, for order 2, for less than a random walk
LARGEST_RATIO = 2.5  # of logarithms of sizes
SHORTER = 4  # of the simulated panels, as many are enough for slopes
COMPARED = (
    ("treated_scale", "log ratio of mean squares, units before treatment to never treated ones"),
    ("post_scale", "log ratio of mean squares, treated unit-periods to untreated ones of the same units"),
    ("growth", "slope over periods of untreated unit-periods' log mean squares"),
)  # dials, with the statistics that they move most
LEAST_PERIODS = 8  # of a panel whose second-order autoregression is looked at


@dataclass(frozen=True, eq=False)
class ErrorsLaw:
    """Parameters: innovation sd, p partial autocorrelations, spatial coefficient, group share, logarithms of
    treated_scale and of post_scale, growth, variance of log scales.

    The spatial coefficient is there with a W, the group share with groups, scales and growth where there are enough
    residuals to compare. These enter whether or not the panel's variances are told from equal ones: a test before would
    leave differences that it misses, and the uncertainty about them, out of the twin and of its intervals. names: of
    the statistics, in that order.
    """

    real: Real
    context: WorldContext
    order: int
    distribution: Literal["normal", "t5"] = "normal"
    unit_means: float = 1.0
    _last: dict[str, tuple[Floats, Floats]] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(cls, real: Real) -> ErrorsLaw:
        """The law for a panel."""
        return cls(real, real.ground, real.section.ar or 1)

    @property
    def compared(self) -> list[tuple[int, str, str]]:
        """Statistics of variances by treatment and period: place in `Status.ratios`, dial, words."""
        here = (self.real.status.compares_units, self.real.status.compares_cells, self.real.status.compares_periods)
        return [(k, *item) for k, (item, known) in enumerate(zip(COMPARED, here, strict=True)) if known]

    @property
    def dials(self) -> tuple[str, ...]:
        """What each parameter is a dial of, or decides with others."""
        return (
            "sd",
            *["serial"] * self.order,
            *(["spatial"] if self.context.weights is not None else []),
            *(["group_share"] if self.real.grouping else []),
            *(dial for _, dial, _ in self.compared),
            "unit_heteroskedastic",
        )

    @cached_property
    def streams(self) -> CommonStreams:
        """As many panels as make half a million unit-periods."""
        periods, units = self.context.shape
        count = int(np.clip(NUMBERS // (periods * units), FEWEST, MOST))
        return CommonStreams(self.real.spec.inference.seed, "twin errors", 0, count)

    @property
    def names(self) -> tuple[str, ...]:
        """The statistics in words."""
        return (
            "root mean square of the residuals",
            *(f"within-unit AR coefficient {k}" for k in range(1, self.order + 1)),
            *(
                ["spatial coefficient of residuals, from their mean Moran's I"]
                if self.context.weights is not None
                else []
            ),
            *(["correlation of residuals within groups"] if self.real.grouping else []),
            *(words for _, _, words in self.compared),
            "variance of units' log mean squares",
        )

    def statistics(self, e: Floats) -> Floats:
        """The statistics of residuals (R, T, N), (R, S)."""
        columns = [root_mean_square(e), *autoregression(e, self.order).T]
        if self.context.weights is not None:
            columns.append(self.as_coefficient(moran_by_period(e, self.context.weights).mean(axis=1)))
        if self.real.grouping:
            columns.append(group_correlation(e, self.context.places.group))
        ratios = self.real.status.ratios(e)
        columns += [ratios[:, k] for k, _, _ in self.compared]
        group = self.real.status.ever[0].astype(np.intp) if self.real.status.compares_units else None
        return np.stack([*columns, unequal_variances(e, group)], axis=1)

    @cached_property
    def curve(self) -> tuple[Floats, Floats]:
        """Spatial coefficients and the Moran's I that each brings."""
        assert self.context.weights is not None
        return moran_curve(self.context.weights)

    def as_coefficient(self, moran: Floats) -> Floats:
        """Moran's I as the spatial coefficient that brings it: on this scale averages of panels are linear in it."""
        coefficients, means = self.curve
        return np.interp(moran, means, coefficients)

    @cached_property
    def target(self) -> Floats:
        """The real panel's statistics, (S,)."""
        return self.statistics(self.real.parts.residuals)[0]

    def part(self, values: Floats) -> Process:
        """The part of the design at these parameters."""
        return build(Process, {key: x for key, x in self.table(values).items() if key != "kind"}, "twin")

    def table(self, values: Floats) -> dict[str, Any]:
        """The table [design.errors] at these parameters."""
        by_dial: dict[str, list[float]] = {}
        for dial, value in zip(self.dials, values.tolist(), strict=True):
            by_dial.setdefault(dial, []).append(value)
        partial = by_dial.pop("serial")
        serial = coefficients(partial)
        table: dict[str, Any] = {
            "kind": "process",
            "sd": by_dial.pop("sd")[0] / float(np.sqrt(np.prod(1 - np.square(partial)))),
            "serial": serial if self.order > 1 else serial[0],
        }
        unequal = float(np.sqrt(max(by_dial.pop("unit_heteroskedastic")[0], 0.0)))
        for dial, (value,) in by_dial.items():
            table[dial] = float(np.exp(value)) if dial.endswith("_scale") else value
        table |= {"unit_heteroskedastic": unequal, "scale": 1.0}
        table |= {} if self.distribution == "normal" else {"distribution": self.distribution}
        return table | ({} if self.unit_means == 1 else {"unit_means": self.unit_means})

    def errors(self, part: Process, streams: CommonStreams | None = None) -> Floats:
        """Simulated errors, (R, T, N)."""
        return simulated_errors(part, self.context, streams or self.streams, self.real.policy)

    def residuals(self, values: Floats) -> Floats:
        """Residuals of simulated errors at these parameters, (R, T, N); those of the last ones are remembered."""
        if (held := self._last.get("residuals")) is None or not np.array_equal(held[0], values):
            self._last["residuals"] = (values.copy(), self._residuals(values, self.streams))
        return self._last["residuals"][1]

    def _residuals(self, values: Floats, streams: CommonStreams) -> Floats:
        """The regression of errors on what the panel's outcome is regressed on."""
        return self.real.regression(self.errors(self.part(values), streams)).residuals

    def moments(self, values: Floats) -> tuple[Floats, Floats]:
        """Mean statistics of simulated panels, with their Monte Carlo errors."""
        return means(self.statistics(self.residuals(values)))

    def fitted(self, start: Floats | None = None) -> Calibration:
        """The parameters at which statistics match; start: by default textbook corrections, Nickell's of the bias of a
        first-order autoregression, and other statistics as they are."""
        if start is None:
            partial, at = np.zeros(self.order), 1 + self.order
            own = float(autoregression(self.real.parts.residuals, 1)[0, 0])
            partial[0] = np.clip(own + (1 + own) / self.context.shape[0], -0.9, 0.95)
            begin = [self.target[0] * np.sqrt(1 - partial[0] ** 2), *partial]
            if self.context.weights is not None:
                radius = self.context.weights.radius
                begin.append(float(np.clip(self.target[at], -0.5 / radius, 0.8 / radius)))
                at += 1
            if self.real.grouping:
                begin.append(float(np.clip(self.target[at], 0.02, 0.6)))
            start = np.array([*begin, *[0.0] * len(self.compared), 0.05])
        first = replace(self.streams, stop=max(self.streams.replications // SHORTER, FEWEST // 2), drawn={})

        def short(values: Floats) -> tuple[Floats, Floats]:  # moments of the first panels, enough for slopes
            return means(self.statistics(self._residuals(values, first)))

        return calibrated(self.moments, self.target, start, *self.ends, short=short)

    @cached_property
    def ends(self) -> tuple[Floats, Floats]:
        """The ranges of the parameters, (P,) each."""
        size, periods = self.target[0], self.context.shape[0]
        ranges = [(size * 1e-3, size * 10.0), *[(-LAST, LAST)] * self.order]
        if self.context.weights is not None:
            most = FARTHEST / self.context.weights.radius
            ranges.append((-most, most))
        if self.real.grouping:
            ranges.append((0.0, 0.95))
        for _, dial, _ in self.compared:
            most = LARGEST_RATIO / periods if dial == "growth" else LARGEST_RATIO
            ranges.append((-most, most))
        low, high = np.array([*ranges, (0.0, 4.0)]).T
        return low, high

    def nearby(self, found: Calibration) -> Floats:
        """Parameters that panels of the fitted world would give, (R, P)."""
        return neighbourhood(found, self.statistics(self.residuals(found.values)), *self.ends)

    def fit(self) -> tuple[ErrorsLaw, Calibration]:
        """The law of the order and the distribution that residuals need, with its parameters: normal errors, or t
        errors with 5 degrees of freedom where the kurtosis is nearer to theirs."""
        found = self.fitted()
        law = self.with_order(found)
        if law is not self:
            found = law.fitted(np.insert(found.values, 1 + self.order, 0.0))

        real = float(kurtosis(self.real.parts.residuals)[0])
        normal = kurtosis(law.residuals(found.values))
        if (normal >= real).mean() >= LEVEL / 2:
            return law, found
        heavy = replace(law, distribution="t5")
        other = heavy.fitted(found.values)
        nearer = abs(np.median(kurtosis(heavy.residuals(other.values))) - real) < abs(np.median(normal) - real)
        return (heavy, other) if nearer else (law, found)

    def with_order(self, found: Calibration) -> ErrorsLaw:
        """Of order 2 where the spec names no order and a first-order law does not bring the second coefficient."""
        if self.real.section.ar is not None or self.context.shape[0] < LEAST_PERIODS:
            return self
        real = float(autoregression(self.real.parts.residuals, 2)[0, 1])
        drawn = autoregression(self.residuals(found.values), 2)[:, 1]
        low, high = np.quantile(drawn, [LEVEL / 2, 1 - LEVEL / 2])
        return self if low <= real <= high else replace(self, order=2)

    def is_walk(self, found: Calibration) -> bool:
        """Whether errors at the edge of stationarity bring autoregressions as low as the panel's in 5% of panels."""
        values = found.values.copy()
        values[1] = LAST
        edge = self.statistics(self._residuals(values, self.streams))
        own = slice(1, 1 + self.order)
        return bool(self.target[own].sum() >= np.quantile(edge[:, own].sum(axis=1), LEVEL))

    def named(self, values: Floats) -> dict[str, float]:
        """The dials at these parameters, in the order of the statistics."""
        table = self.table(values)
        serial = table["serial"] if self.order > 1 else [table["serial"]]
        named = {f"errors.serial {k}" if self.order > 1 else "errors.serial": x for k, x in enumerate(serial, 1)}
        others = {f"errors.{dial}": table[dial] for dial in self.dials[1 + self.order :]}
        return {"errors.sd": table["sd"]} | named | others


def means(statistics: Floats) -> tuple[Floats, Floats]:
    """Means over panels (R, S), with their Monte Carlo errors."""
    return statistics.mean(axis=0), statistics.std(axis=0, ddof=1) / np.sqrt(len(statistics))


def coefficients(partial: list[float]) -> list[float]:
    """AR coefficients of partial autocorrelations inside (-1, 1): always stationary (Durbin and Levinson)."""
    out: list[float] = []
    for value in partial:
        out = [*(a - value * b for a, b in zip(out, reversed(out), strict=True)), value]
    return out


# The law of a parametric twin's levels, given its errors: unit and period effects, by their means over the panel.


CLOSEST = 0.95  # largest correlation of unit effects with who is treated, before they spread over neighbours


@dataclass(frozen=True, eq=False)
class LevelsLaw:
    """Parameters: unit_sd, period_sd, with a W unit_spatial, with a treatment on_prosperity (of the time treated)."""

    real: Real
    errors: ErrorsLaw
    part: Process

    @property
    def dials(self) -> tuple[str, ...]:
        """Of [design.levels]."""
        spatial = ("unit_spatial",) if self.errors.context.weights is not None else ()
        return ("unit_sd", "period_sd", *spatial, *(("on_prosperity",) if self.treated is not None else ()))

    @property
    def names(self) -> tuple[str, ...]:
        """The statistics in words."""
        words = {
            "unit_sd": "standard deviation of fitted unit effects",
            "period_sd": "standard deviation of fitted period effects",
            "unit_spatial": "spatial coefficient of fitted unit effects, from the Moran's I of thirds of the panel",
            "on_prosperity": "correlation of fitted unit effects with treatment",
        }
        return tuple(words[dial] for dial in self.dials)

    @cached_property
    def treated(self) -> Floats | None:
        """The standardised share of treated periods, (N,), None without a treatment."""
        return None if self.real.policy is None else standard(self.real.policy[0].mean(axis=0))

    def statistics(self, parts: Split) -> Floats:
        """The statistics of two-way regressions, (R, S)."""
        columns = [parts.units.std(axis=1), parts.periods.std(axis=1)]
        if self.errors.context.weights is not None:
            columns.append(self.errors.as_coefficient(moran_of_thirds(parts, self.errors.context.weights)))
        if self.treated is not None:
            columns.append(correlation(parts.units, self.treated[None]))
        return np.nan_to_num(np.stack(columns, axis=1))

    @cached_property
    def target(self) -> Floats:
        """The real panel's statistics, (S,)."""
        return self.statistics(self.real.parts)[0]

    @cached_property
    def noise(self) -> Split:
        """Two-way regressions of simulated errors: what they add to fitted effects."""
        return self.real.regression(self.errors.errors(self.part))

    def drawn(self, values: Floats) -> Floats:
        """Statistics of simulated panels, (R, S)."""
        named = self.table(values)
        periods, units = self.errors.context.shape
        streams, noise = self.errors.streams, self.noise
        common = named.get("on_prosperity", 0.0)
        own = np.sqrt(1 - common**2) * streams.normals("levels of units", 1, units)
        own += common * (0.0 if self.treated is None else self.treated)
        spatial = self.errors.context.spatial(named.get("unit_spatial", 0.0))
        unit = own[:, 0]
        if spatial is not None:
            # `smooth` gives each draw the standard deviation asked for. Here draws share one factor, so that nothing
            # jumps where neighbours begin to be alike, and draws differ as panels do.
            spread = spatial.apply(own)[:, 0]
            spread = spread - spread.mean(axis=1, keepdims=True)
            unit = spread * (unit.std(axis=1).mean() / spread.std(axis=1).mean())
        period = named["period_sd"] * streams.normals("levels of periods", periods)
        return self.statistics(
            Split(noise.slopes, noise.residuals, noise.units + named["unit_sd"] * unit, noise.periods + period)
        )

    def moments(self, values: Floats) -> tuple[Floats, Floats]:
        """Mean statistics of simulated panels, with their Monte Carlo errors."""
        return means(self.drawn(values))

    def nearby(self, found: Calibration) -> Floats:
        """Parameters that panels of the fitted world would give, (R, P)."""
        return neighbourhood(found, self.drawn(found.values), *self.ends)

    def fitted(self) -> Calibration:
        """The parameters at which statistics match."""
        low, high = self.ends
        start = np.where(np.arange(len(low)) < 2, self.target, np.clip(self.target, 0.9 * low, 0.9 * high))
        return calibrated(self.moments, self.target, start, low, high)

    @cached_property
    def ends(self) -> tuple[Floats, Floats]:
        """The ranges of the parameters, (P,) each."""
        weights = self.errors.context.weights
        most = FARTHEST / weights.radius if weights is not None else 0.0  # neighbours are alike, or independent
        sizes = [max(10 * size, 1e-9) for size in self.target[:2]]
        ends = {"unit_sd": (0.0, sizes[0]), "period_sd": (0.0, sizes[1]), "unit_spatial": (0.0, most),
                "on_prosperity": (-CLOSEST, CLOSEST)}  # fmt: skip
        low, high = np.array([ends[dial] for dial in self.dials]).T
        return low, high

    def table(self, values: Floats) -> dict[str, float]:
        """Dials of [design.levels]."""
        return dict(zip(self.dials, values.tolist(), strict=True))

    def named(self, values: Floats) -> dict[str, float]:
        """The dials at these parameters."""
        return {f"levels.{dial}": value for dial, value in self.table(values).items()}
