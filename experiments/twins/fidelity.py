"""How like its twins a panel is: each feature of the panel beside the band of the twins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.twins.real import Real
from experiments.twins.statistics import (
    autoregression,
    correlation,
    kurtosis,
    lead_dummies,
    moran_by_period,
    pretrend_f,
    split,
    variance_shares,
)
from sim.design import Wanted
from sim.designs.panel import PanelDesign
from sim.errors import listed
from sim.panel import Panel
from sim.streams import Streams

Floats = NDArray[np.float64]

WORLDS = 50  # among which the twins are spread where a world draws what it holds fixed
NUMBERS = 1_000_000  # of unit-periods that are drawn at once
LEADS = 3
BAND = (0.025, 0.975)
MORAN = "Moran's I of residuals"
ROUNDING = 1e-9  # by which a feature that is the same in all twins may differ from the panel's

# What it means that the panel's feature lies below, or above, those of the twins.
MEANINGS = {
    "variance share of units": ("units differ less", "units differ more"),
    "variance share of periods": ("periods differ less", "periods differ more"),
    "variance share of the rest": ("changes within units are smaller", "changes within units are larger"),
    "AR(1)": ("residuals last less", "residuals last longer"),
    "AR(2)": ("residuals depend less on those two periods before", "residuals depend more on those two periods before"),
    "Moran's I": ("neighbours' residuals are less alike", "neighbours' residuals are more alike"),
    "kurtosis": ("extreme residuals are rarer", "extreme residuals are more frequent"),
    "pre-trend F": ("treated units keep closer to the others before adoption",
                    "treated units move further apart from the others before adoption"),
    "correlation of unit effects with": ("the correlation is lower", "the correlation is higher"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """A feature of the panel and the band that 95% of the twins lie in."""

    method: str
    feature: str
    real: float
    lower: float
    upper: float
    inside: bool

    @property
    def record(self) -> dict[str, Any]:
        """As fidelity.json has it."""
        return asdict(self)

    @property
    def says(self) -> str:
        """How the panel differs from its twins, in words; "" where it does not."""
        if self.inside:
            return ""
        below, above = next(words for name, words in MEANINGS.items() if self.feature.startswith(name))
        return below if self.real < self.lower else above


def misses(rows: tuple[Row, ...]) -> tuple[str, ...]:
    """In plain words, what twins miss; Moran's I of single periods in one sentence a direction."""
    named = [row for row in rows if not row.inside and not row.feature.startswith(f"{MORAN} ")]
    out = [
        f"{row.feature}: {row.says} in the panel than in its twins ({row.real:.3g}; 95% of twins lie between "
        f"{row.lower:.3g} and {row.upper:.3g})."
        for row in named
    ]
    by_period = [row for row in rows if row.feature.startswith(f"{MORAN} ")]
    for words in dict.fromkeys(row.says for row in by_period if row.says):
        periods = [row.feature.removeprefix(f"{MORAN} ") for row in by_period if row.says == words]
        out.append(f"{MORAN} in {listed(periods, 4)}: {words} in the panel than in its twins ({len(periods)} of "
                   f"{len(by_period)} periods).")  # fmt: skip
    return tuple(out)


def fidelity(real: Real, method: str, design: PanelDesign) -> tuple[Row, ...]:
    """Every feature of the panel beside those of `draws` twins."""
    own = features(real, real.panel, real.y)
    twins: dict[str, list[Floats]] = {name: [] for name in own}
    for panel in drawn(real, design):
        for name, values in features(real, panel, panel.variables[real.outcome]).items():
            twins[name].append(values)
    rows = (_row(method, name, float(values[0]), np.concatenate(twins[name])) for name, values in own.items())
    return tuple(row for row in rows if row is not None)


def drawn(real: Real, design: PanelDesign) -> Iterator[Panel]:
    """`draws` twins in tiles: of fifty worlds, of one where all that a world holds fixed is kept real."""
    draws, schema = real.section.draws, design.schema
    worlds = WORLDS if design.held_fixed else 1
    wanted = Wanted(frozenset(schema.variables), ())
    tile = max(NUMBERS // (schema.units * schema.periods), 1)
    for number, part in enumerate(np.array_split(np.arange(draws), worlds)):
        streams = Streams(real.spec.inference.seed, f"twin {number}")
        world = design.settle(streams)
        for start in range(0, len(part), tile):
            stop = min(start + tile, len(part))
            yield world.draw(streams.tile(start, stop), wanted).panel


def features(real: Real, panel: Panel, y: Floats) -> dict[str, Floats]:
    """Each feature of R panels, (R,), by name; y (R, T, N): their outcome."""
    policy = None if real.policy is None else panel.variables[real.treatment]
    controls = [panel.variables[name] for name in real.covariates]
    parts = split(y, [*([] if policy is None else [policy]), *controls], real.removed)
    shares = variance_shares(y)
    out = {f"variance share of {what}": shares[:, k] for k, what in enumerate(("units", "periods", "the rest"))}
    out["AR(1) of residuals"] = autoregression(parts.residuals, 1)[:, 0]
    out["AR(2) of residuals"] = autoregression(parts.residuals, 2)[:, 1]
    if real.weights is not None:
        by_period = moran_by_period(parts.residuals, panel.weights[next(iter(real.panel.weights))])
        out[MORAN] = by_period.mean(axis=1)
        out |= {f"{MORAN} {year}": by_period[:, t] for t, year in enumerate(real.panel.periods)}
    out["kurtosis of residuals"] = kurtosis(parts.residuals)
    if policy is not None:
        leads = max(sum(x.any() for x in lead_dummies(real.panel.variables[real.treatment], LEADS)), 1)
        out["pre-trend F"] = pretrend_f(y, policy, controls, int(leads))
        out["correlation of unit effects with treatment"] = correlation(parts.units, policy.mean(axis=1))
    return out | {
        f"correlation of unit effects with {name}": correlation(parts.units, panel.variables[name].mean(axis=1))
        for name in real.covariates
    }


def _row(method: str, feature: str, real: float, twins: Floats) -> Row | None:
    """None for a feature that the panel, or most twins, do not have."""
    known = twins[np.isfinite(twins)]
    if not np.isfinite(real) or len(known) < len(twins) / 2:
        return None
    lower, upper = np.quantile(known, BAND).tolist()
    slack = ROUNDING * max(abs(lower), abs(upper), 1.0)
    return Row(method, feature, real, lower, upper, lower - slack <= real <= upper + slack)
