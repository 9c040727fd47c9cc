"""The law of a parametric twin's errors: its parameters, and the statistics of residuals that they are fitted to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from experiments.settings import build
from experiments.twins.calibrate import Calibration, calibrated
from experiments.twins.methods import Parameter
from experiments.twins.real import Real
from experiments.twins.simulated import CommonStreams, simulated_errors
from experiments.twins.statistics import (
    Split,
    autoregression,
    group_correlation,
    kurtosis,
    moran_by_period,
    moran_curve,
    root_mean_square,
    split,
    unequal_variances,
)
from sim.designs.parts.errors.process import Process
from sim.designs.parts.ground import Ground, Places

Floats = NDArray[np.float64]

NUMBERS, FEWEST, MOST = 500_000, 64, 400  # of simulated unit-periods; least and most simulated panels
LAST = 0.995  # largest partial autocorrelation
FARTHEST = 0.95  # largest spatial coefficient
LEVEL = 0.05  # of the tests for another kurtosis than that of normal errors, for order 2, for less than a random walk
LEAST_PERIODS = 8  # of a panel whose second-order autoregression is looked at


@dataclass(frozen=True, eq=False)
class ErrorsLaw:
    """Parameters: innovation sd, p partial autocorrelations, spatial coefficient, group share, variance of log scales.

    The spatial coefficient is there with a W, the group share with groups. names: of the statistics, in that order.
    """

    real: Real
    ground: Ground
    order: int
    distribution: Literal["normal", "t5"] = "normal"
    unit_means: float = 1.0

    @classmethod
    def of(cls, real: Real) -> ErrorsLaw:
        """The law for a panel."""
        origin = np.zeros(len(real.panel.units))
        places = Places(real.panel.units, origin, origin, real.group, origin)
        ground = Ground(places, real.panel.periods, real.weights)
        return cls(real, ground, real.section.ar or 1)

    @property
    def spatial(self) -> bool:
        """With a W."""
        return self.ground.weights is not None

    @property
    def grouped(self) -> bool:
        """With groups of several units."""
        return bool(self.real.grouping)

    @cached_property
    def streams(self) -> CommonStreams:
        """As many panels as make half a million unit-periods."""
        periods, units = self.ground.shape
        count = int(np.clip(NUMBERS // (periods * units), FEWEST, MOST))
        return CommonStreams(self.real.spec.inference.seed, "twin errors", 0, count)

    @property
    def names(self) -> tuple[str, ...]:
        """The statistics in words."""
        return (
            "root mean square of the residuals",
            *(f"within-unit AR coefficient {k}" for k in range(1, self.order + 1)),
            *(["spatial coefficient of residuals, from their mean Moran's I"] if self.spatial else []),
            *(["correlation of residuals within groups"] if self.grouped else []),
            "variance of units' log mean squares",
        )

    def statistics(self, e: Floats) -> Floats:
        """The statistics of residuals (R, T, N), (R, S)."""
        columns = [root_mean_square(e), *autoregression(e, self.order).T]
        if self.ground.weights is not None:
            columns.append(self.as_coefficient(moran_by_period(e, self.ground.weights).mean(axis=1)))
        if self.grouped:
            columns.append(group_correlation(e, self.ground.places.group))
        return np.stack([*columns, unequal_variances(e)], axis=1)

    @cached_property
    def curve(self) -> tuple[Floats, Floats]:
        """Spatial coefficients and the Moran's I that each brings."""
        assert self.ground.weights is not None
        return moran_curve(self.ground.weights)

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
        rest = iter(values.tolist())
        innovation, partial = next(rest), [next(rest) for _ in range(self.order)]
        serial = coefficients(partial)
        table: dict[str, Any] = {
            "kind": "process",
            "sd": innovation / float(np.sqrt(np.prod(1 - np.square(partial)))),
            "serial": serial if self.order > 1 else serial[0],
        }
        if self.spatial:
            table["spatial"] = next(rest)
        if self.grouped:
            table["group_share"] = next(rest)
        table |= {"unit_heteroskedastic": float(np.sqrt(max(next(rest), 0.0))), "scale": 1.0}
        table |= {} if self.distribution == "normal" else {"distribution": self.distribution}
        return table | ({} if self.unit_means == 1 else {"unit_means": self.unit_means})

    def errors(self, part: Process) -> Floats:
        """Simulated errors, (R, T, N)."""
        return simulated_errors(part, self.ground, self.streams)

    def regressed(self, errors: Floats) -> Split:
        """Two-way regressions of errors on what the panel's outcome is regressed on."""
        return split(errors, self.real.regressors, self.real.removed)

    def moments(self, values: Floats) -> tuple[Floats, Floats]:
        """Mean statistics of simulated panels, with their Monte Carlo errors."""
        found = self.statistics(self.regressed(self.errors(self.part(values))).residuals)
        return found.mean(axis=0), found.std(axis=0, ddof=1) / np.sqrt(len(found))

    def fitted(self) -> Calibration:
        """The parameters at which statistics match."""
        ends = np.array([*self._ranges()])
        return calibrated(self.moments, self.target, self._start(), ends[:, 0], ends[:, 1])

    def _ranges(self) -> Iterator[tuple[float, float]]:
        size = self.target[0]
        yield (size * 1e-3, size * 10.0)
        yield from [(-LAST, LAST)] * self.order
        if self.ground.weights is not None:
            most = FARTHEST / self.ground.weights.radius
            yield (-most, most)
        if self.grouped:
            yield (0.0, 0.95)
        yield (0.0, 4.0)

    def _start(self) -> Floats:
        """Textbook corrections: Nickell's bias of a first-order autoregression, and statistics as they are."""
        periods = self.ground.shape[0]
        partial = np.zeros(self.order)
        own = float(autoregression(self.real.parts.residuals, 1)[0, 0])
        partial[0] = np.clip(own + (1 + own) / periods, -0.9, 0.95)
        start = [self.target[0] * np.sqrt(1 - partial[0] ** 2), *partial]
        at = 1 + self.order
        if self.spatial:
            start.append(float(np.clip(self.target[at], -0.5, 0.8)))
            at += 1
        if self.grouped:
            start.append(float(np.clip(self.target[at], 0.02, 0.6)))
        return np.array([*start, 0.05])

    def with_order(self) -> ErrorsLaw:
        """Of order 2 where the spec names no order and a first-order law does not bring the second coefficient."""
        if self.real.section.ar is not None or self.ground.shape[0] < LEAST_PERIODS:
            return self
        real = float(autoregression(self.real.parts.residuals, 2)[0, 1])
        drawn = autoregression(self.regressed(self.errors(self.part(self.fitted().values))).residuals, 2)[:, 1]
        low, high = np.quantile(drawn, [LEVEL / 2, 1 - LEVEL / 2])
        return self if low <= real <= high else replace(self, order=2)

    def with_distribution(self) -> tuple[ErrorsLaw, Calibration]:
        """Normal errors, or t errors with 5 degrees of freedom where the kurtosis is nearer to theirs."""
        found = self.fitted()
        real = float(kurtosis(self.real.parts.residuals)[0])
        normal = self._kurtosis(found)
        if (normal >= real).mean() >= LEVEL / 2:
            return self, found
        heavy = replace(self, distribution="t5")
        other = heavy.fitted()
        nearer = abs(np.median(heavy._kurtosis(other)) - real) < abs(np.median(normal) - real)
        return (heavy, other) if nearer else (self, found)

    def _kurtosis(self, found: Calibration) -> Floats:
        return kurtosis(self.regressed(self.errors(self.part(found.values))).residuals)

    def is_walk(self, found: Calibration) -> bool:
        """Whether errors at the edge of stationarity bring autoregressions as low as the panel's in 5% of panels."""
        values = found.values.copy()
        values[1] = LAST
        edge = self.statistics(self.regressed(self.errors(self.part(values))).residuals)
        own = slice(1, 1 + self.order)
        return bool(self.target[own].sum() >= np.quantile(edge[:, own].sum(axis=1), LEVEL))

    def parameters(self, found: Calibration) -> tuple[Parameter, ...]:
        """Each dial with its value, beside the panel's own statistic."""
        table, raw = self.table(found.values), iter(zip(self.names, self.target.tolist(), strict=True))
        serial = table["serial"] if self.order > 1 else [table["serial"]]
        values = {"errors.sd": table["sd"]}
        values |= {f"errors.serial {k}" if self.order > 1 else "errors.serial": x for k, x in enumerate(serial, 1)}
        for dial in ("spatial", "group_share", "unit_heteroskedastic"):
            values |= {f"errors.{dial}": table[dial]} if dial in table else {}
        return tuple(Parameter(dial, float(value), *next(raw)) for dial, value in values.items())


def coefficients(partial: list[float]) -> list[float]:
    """AR coefficients of partial autocorrelations inside (-1, 1): always stationary (Durbin and Levinson)."""
    out: list[float] = []
    for value in partial:
        out = [*(a - value * b for a, b in zip(out, reversed(out), strict=True)), value]
    return out
