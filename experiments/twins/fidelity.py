"""How like its twins a panel is: each feature of the panel beside the band of the twins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from experiments.twins.real import Real
from experiments.twins.statistics import (
    CohortRegression,
    TreatmentStatus,
    autoregression,
    correlation,
    eigenvalue_shares,
    kurtosis,
    lead_dummies,
    moran_by_period,
    pretrend_f,
    tails,
    variance_shares,
)
from sim.arrays import Floats
from sim.design import Wanted
from sim.panel import Panel
from sim.streams import Streams
from sim.world.panel_design import PanelDesign

WORLDS = 50  # among which the twins are spread where a world draws what it holds fixed
NUMBERS = 1_000_000  # of unit-periods that are drawn at once
LEADS = 3
BAND, LEVEL = (0.025, 0.975), 0.05
EIGENVALUES, TAIL = 3, 0.01
MORAN = "Moran's I of residuals"
MORAN_BY_PERIOD = "Moran's I by period (largest deviation)"
VARIANCE_BY_PERIOD = "log variances by period (largest deviation)"
JOINT = "joint test (p)"
OF_LEVELS = (
    "variance share",
    "correlation of unit effects",
)  # features that estimators with two-way effects do not see
ROUNDING = 1e-9  # by which a feature that is the same in all twins may differ from the panel's

# What it means that the panel's feature lies below, or above, those of the twins.
MEANINGS = {
    "variance share of units": ("units differ less", "units differ more"),
    "variance share of periods": ("periods differ less", "periods differ more"),
    "variance share of the rest": ("changes within units are smaller", "changes within units are larger"),
    "AR(1)": ("residuals last less", "residuals last longer"),
    "AR(2)": ("residuals depend less on those two periods before", "residuals depend more on those two periods before"),
    "Moran's I by period": ("periods differ less", "periods differ more"),
    "log variances by period": ("periods differ less", "periods differ more"),
    "log variance of units before treatment": ("units that will be treated vary less, beside the others,",
                                               "units that will be treated vary more, beside the others,"),
    "log variance under treatment": ("treated units vary less, beside their time before,",
                                     "treated units vary more, beside their time before,"),
    "eigenvalue share": ("residuals share less movement over periods", "residuals share more movement over periods"),
    "1% quantile": ("the lowest residuals lie farther out", "the lowest residuals lie nearer"),
    "99% quantile": ("the highest residuals lie nearer", "the highest residuals lie farther out"),
    "joint test": ("fewer than 5% of twins lie as far from the other twins as the panel does", ""),
    "Moran's I": ("neighbours' residuals are less alike", "neighbours' residuals are more alike"),
    "kurtosis": ("extreme residuals are rarer", "extreme residuals are more frequent"),
    "pre-trend F": ("treated units keep closer to the others before adoption",
                    "treated units move further apart from the others before adoption"),
    "correlation of unit effects with": ("the correlation is lower", "the correlation is higher"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class FidelityRow:
    """A feature of the panel and the band that 95% of the twins lie in."""

    method: str
    feature: str
    real: float
    lower: float
    upper: float
    inside: bool

    @property
    def says(self) -> str:
        """How the panel differs from its twins, in words; "" where it does not."""
        if self.inside:
            return ""
        below, above = next(words for name, words in MEANINGS.items() if self.feature.startswith(name))
        return below if self.real < self.lower else above


def misses(rows: tuple[FidelityRow, ...]) -> tuple[str, ...]:
    """In plain words, what twins miss."""
    return tuple(
        f"{row.feature}: {row.says} in the panel than in its twins ({row.real:.3g}; 95% of twins lie between "
        f"{row.lower:.3g} and {row.upper:.3g})."
        if row.feature != JOINT else
        f"The features of the residuals together: {row.says} (p = {row.real:.3g})."
        for row in rows if not row.inside
    )  # fmt: skip


def fidelity(real: Real, method: str, design: PanelDesign) -> tuple[tuple[FidelityRow, ...], float]:
    """Every feature of the panel beside those of `draws` twins, and the p value of the residuals' features together."""
    own = features(real, real.panel, real.y)
    found = [features(real, panel, panel.variables[real.outcome]) for panel in drawn(real, design)]
    twins = {name: np.concatenate([tile[name] for tile in found]) for name in own}
    for name in (MORAN_BY_PERIOD, VARIANCE_BY_PERIOD):
        if name in own:
            own[name], twins[name] = largest_deviation(own[name], twins[name])
    known = {name: values for name, values in twins.items() if _known(own[name][0], values)}
    rows = [_row(method, name, float(own[name][0]), values) for name, values in known.items()]
    judged = [name for name in known if not name.startswith(OF_LEVELS)]
    p = joint_test(np.array([own[name][0] for name in judged]), np.stack([known[name] for name in judged], axis=1))
    return (*rows, FidelityRow(method, JOINT, p, LEVEL, 1.0, p >= LEVEL)), p


def joint_test(real: Floats, twins: Floats) -> float:
    """p value of the largest standardised difference between a panel's features (F,) and those of the twins (R, F).

    The panel's is compared with that of every twin among the others (max-t): (1 + number as large) / (1 + R). Features
    that are the same in all twins are left out.
    """
    largest, among = largest_deviation(real[None], twins)
    return float((1 + (among >= largest[0]).sum()) / (1 + len(among)))


def largest_deviation(real: Floats, twins: Floats) -> tuple[Floats, Floats]:
    """Largest |value - mean| / sd over columns: of the panel (1, K) among the twins (R, K), and of each twin among the
    others, (1,) and (R,). NaN where a value is missing is no deviation."""
    spread = np.nanstd(twins, axis=0)
    used = spread > ROUNDING * np.maximum(np.abs(np.nanmean(twins, axis=0)), ROUNDING)
    if not used.any():
        return np.zeros(1), np.zeros(len(twins))
    real, twins = real[:, used], twins[:, used]
    count = np.isfinite(twins).sum(axis=0)
    apart = twins - np.nanmean(twins, axis=0)
    squares = np.nansum(np.square(apart), axis=0)
    without = squares - np.square(apart) * count / (count - 1)  # sum of squares around the mean of the others
    among = np.abs(apart) * count / (count - 1) / np.sqrt(np.maximum(without, ROUNDING * squares) / (count - 2))
    own = np.abs(real - np.nanmean(twins, axis=0)) / np.sqrt(squares / (count - 1))
    return np.nanmax(own, axis=1), np.nanmax(np.nan_to_num(among), axis=1)


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
    """Each feature of R panels, (R,), by name, those by period (R, T); y (R, T, N): their outcome."""
    policy = None if real.policy is None else panel.variables[real.treatment]
    controls = [panel.variables[name] for name in real.covariates]
    cohorts = real.regression.cohorts is not None
    regression = CohortRegression.of(policy, controls, controls_out=real.controls_out, by_cohort=cohorts)
    parts = regression(y)
    shares = variance_shares(y)
    out = {f"variance share of {what}": shares[:, k] for k, what in enumerate(("units", "periods", "the rest"))}
    out |= _of_residuals(real, panel, parts.residuals, policy)
    if policy is not None and not real.panel.roles.continuous:
        leads = max(sum(x.any() for x in lead_dummies(panel.variables[real.treatment][:1], LEADS)), 1)
        out["pre-trend F"] = pretrend_f(y, regression, policy, int(leads))
    if policy is not None:
        out["correlation of unit effects with treatment"] = correlation(parts.units, policy.mean(axis=1))
    return out | {
        f"correlation of unit effects with {name}": correlation(parts.units, panel.variables[name].mean(axis=1))
        for name in real.covariates
    }


def _of_residuals(real: Real, panel: Panel, e: Floats, policy: Floats | None) -> dict[str, Floats]:
    """The features of residuals (R, T, N)."""
    out = {"AR(1) of residuals": autoregression(e, 1)[:, 0], "AR(2) of residuals": autoregression(e, 2)[:, 1]}
    if real.weights is not None:
        by_period = moran_by_period(e, panel.weights[next(iter(real.panel.weights))])
        out |= {MORAN: by_period.mean(axis=1), MORAN_BY_PERIOD: by_period}
    plain = policy is None or real.panel.roles.continuous
    status = TreatmentStatus.of(
        np.zeros((1, *e.shape[1:]), dtype=bool) if plain else np.asarray(policy) != 0, real.freedom
    )
    groups = status.by_group(e)
    if real.status.compares_units:
        out["log variance of units before treatment"] = groups[:, 1] - groups[:, 0]
    if real.status.compares_cells:
        out["log variance under treatment"] = groups[:, 2] - groups[:, 1]
    out[VARIANCE_BY_PERIOD] = status.by_period(e)
    out |= {f"eigenvalue share {k}": share for k, share in enumerate(eigenvalue_shares(e, EIGENVALUES).T, 1)}
    out["kurtosis of residuals"] = kurtosis(e)
    return out | dict(zip(("1% quantile", "99% quantile"), tails(e, TAIL).T, strict=True))


def _known(real: float, twins: Floats) -> bool:
    """False for a feature that the panel, or most twins, do not have."""
    return bool(np.isfinite(real)) and bool(np.isfinite(twins).mean() >= 0.5)


def _row(method: str, feature: str, real: float, twins: Floats) -> FidelityRow:
    """The band of the twins that have the feature; a largest deviation has no lower end."""
    known = twins[np.isfinite(twins)]
    band = (0.0, 1 - LEVEL) if feature in {MORAN_BY_PERIOD, VARIANCE_BY_PERIOD} else BAND
    lower, upper = np.quantile(known, band).tolist()
    lower = lower if band == BAND else 0.0
    slack = ROUNDING * max(abs(lower), abs(upper), 1.0)
    return FidelityRow(method, feature, real, lower, upper, lower - slack <= real <= upper + slack)
