"""The law of a parametric twin's levels, given its errors: unit and period effects, by their means over the panel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from experiments.twins.calibrate import Calibration, calibrated, neighbourhood
from experiments.twins.errors_law import FARTHEST, ErrorsLaw, means
from experiments.twins.real import Real
from experiments.twins.statistics import Split, correlation, moran_of_thirds
from sim.arrays import Floats
from sim.world.context import standard
from sim.world.parts.errors import Process

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
        spatial = ("unit_spatial",) if self.errors.spatial else ()
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
        if self.errors.ground.weights is not None:
            columns.append(self.errors.as_coefficient(moran_of_thirds(parts, self.errors.ground.weights)))
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
        named = dict(zip(self.dials, values.tolist(), strict=True))
        periods, units = self.errors.ground.shape
        streams, noise = self.errors.streams, self.noise
        common = named.get("on_prosperity", 0.0)
        own = np.sqrt(1 - common**2) * streams.normals("levels of units", 1, units)
        own += common * (0.0 if self.treated is None else self.treated)
        spatial = self.errors.ground.spatial(named.get("unit_spatial", 0.0))
        unit = (own if spatial is None else spatial.apply(own))[:, 0]
        if spatial is not None:  # as `smooth` does: unit effects have the standard deviation asked for
            unit = unit - unit.mean(axis=1, keepdims=True)
            unit = unit / unit.std(axis=1, keepdims=True)
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
        weights = self.errors.ground.weights
        most = FARTHEST / weights.radius if weights is not None else 0.0  # neighbours are alike, or independent
        sizes = [max(10 * size, 1e-9) for size in self.target[:2]]
        ends = {"unit_sd": (0.0, sizes[0]), "period_sd": (0.0, sizes[1]), "unit_spatial": (0.0, most),
                "on_prosperity": (-CLOSEST, CLOSEST)}  # fmt: skip
        low, high = np.array([ends[dial] for dial in self.dials]).T
        return low, high

    def units_are_apart(self, found: Calibration) -> bool:
        """Whether the errors alone set the means of units further apart than those of the panel are."""
        return bool(found.values[0] <= 0.0 and found.statistics[0] > self.target[0] + found.mcse[0])

    def table(self, values: Floats) -> dict[str, float]:
        """Dials of [design.levels]."""
        return dict(zip(self.dials, values.tolist(), strict=True))

    def named(self, values: Floats) -> dict[str, float]:
        """The dials at these parameters."""
        return {f"levels.{dial}": value for dial, value in self.table(values).items()}
