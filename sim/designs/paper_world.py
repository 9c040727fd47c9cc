"""What a cell of the `paper` design holds fixed, and how one tile of replications is drawn from it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, ndtr

from sim.design import Draw, Wanted
from sim.designs.geography import cities, city_weights
from sim.designs.paper_dials import PaperDials
from sim.designs.paper_facts import (
    COHORTS,
    CONTROL_MOMENTS,
    FIRST_YEAR,
    MEDIATION,
    PUBLISHED_EFFECT,
    SINGLE_DATE,
    TREATED,
)
from sim.designs.policy_truths import POLICY_MEANS, Adoption
from sim.estimands import Estimand
from sim.panel import Panel
from sim.streams import Streams
from sim.weights.filters import SpatialFilter

Floats = NDArray[np.float64]

BETWEEN_SHARE, TREND_SHARE = 0.70, 0.10  # of a control's variance: between cities, and of a common trend
# The outcome's mean, cities' levels around it (mean, sd, low, high; cf. table 1: .2003 to .8402), years' trend.
ICR_MEAN, ICR_CITY, ICR_YEAR_SD = 0.4402, (0.0, 0.098, -0.20, 0.34), 0.030
FARTHEST, STEP = 6.0, 0.01  # of the grid of normal scores
RICHES = {"east": 1.0, "central": 0.2, "west": 0.0}


@dataclass(frozen=True, eq=False)
class PaperWorld:
    """A settled `paper` design. Arrays are (T, N) unless said otherwise."""

    design: PaperDials
    frame: Panel  # units, periods, attributes, weights; no variables
    levels: Floats  # city and year effects
    riches: Floats  # (N,), decides who is treated
    city_parts: Floats  # (controls, N), the cities' part of each control, standard normal
    adoption: Floats  # (N,), first year of treatment, inf = never
    fixed_controls: Floats  # (controls, T, N)
    multiplier: SpatialFilter
    error_multiplier: SpatialFilter
    _memo: dict[Hashable, Any] = field(default_factory=dict)

    def draw(self, streams: Streams, wanted: Wanted) -> Draw:
        """One tile; the outcome is always drawn, mediators only when wanted."""
        design = self.design
        did, dose = self._policy(streams)
        controls = self._controls(streams)
        effect = self._effect_path(streams, dose)
        errors = self._errors(streams)
        noise = self.error_multiplier.apply(errors)
        if noise is errors and design.mediator in wanted.variables:
            noise = errors.copy()  # the mediator is made of the errors; what follows works in place
        if not design.heterogeneity and not design.redraw:
            outcome = self.multiplier.apply(noise, overwrite=True)
            outcome += self._once("base", lambda: self._levels(did) + self._filtered(controls, effect))
        else:
            noise += effect + self._control_signal(controls)
            outcome = self.multiplier.apply(noise, overwrite=True)
            outcome += self._levels(did)
        drawn = {"icr": outcome}
        if design.mediator in wanted.variables:
            drawn[design.mediator] = self._mediator(streams, did, errors)
        regressors = {"did": did, **dict(zip(design.schema.roles.controls, controls, strict=True))}
        if design.redraw:
            panel = self.frame.with_variables(regressors | drawn)
        else:
            panel = self._once("panel", lambda: self.frame.with_variables(regressors)).with_variables(drawn)
        return Draw(panel, self._truths(wanted.estimands, did, effect, streams))

    def _once[T](self, name: Hashable, compute: Callable[[], T]) -> T:
        if name not in self._memo:
            self._memo[name] = compute()
        return cast(T, self._memo[name])

    @property
    def _years(self) -> Floats:
        return np.array(self.frame.periods, dtype=np.float64)

    def _policy(self, streams: Streams) -> tuple[Floats, Floats]:
        """The dummy and the dose, (1 or R, T, N)."""
        if "calendar" in self.design.redraw:
            adoption = np.stack([draw_adoption(self.design, self.riches, rng) for rng in streams.each("calendar")])
            return self._dummy_and_dose(adoption)
        did = self._once("did", lambda: self._dummy_and_dose(self.adoption[None])[0])
        return did, self._once("dose", lambda: self._dummy_and_dose(self.adoption[None])[1])

    def _dummy_and_dose(self, adoption: Floats) -> tuple[Floats, Floats]:
        since = self._years[:, None] - adoption[:, None, :]
        treated = since >= 0
        years = np.where(treated, since, 0.0)
        shapes = {"constant": np.ones_like(years), "growing": np.minimum((years + 1) / 5, 1.0), "fading": 0.8**years}
        early = (since >= -self.design.anticipation) & ~treated
        return treated.astype(np.float64), np.where(treated, shapes[self.design.shape], 0.5 * early)

    def _controls(self, streams: Streams) -> list[Floats]:
        if "controls" not in self.design.redraw:
            return [values[None] for values in self.fixed_controls]
        names = self.design.schema.roles.controls
        shape = (len(self.frame.periods), len(self.frame.units))
        return [
            control_values(name, part, streams.normals(f"control {name}", *shape))
            for name, part in zip(names, self.city_parts, strict=True)
        ]

    def _effect_path(self, streams: Streams, dose: Floats) -> Floats:
        """v of the module's formula, before S: (1 or R, T, N)."""
        coefficients = self.design.coefficients

        def path(effects: Floats | float) -> Floats:
            own = effects * dose
            return own + coefficients.w_did * self._lag(dose) if coefficients.w_did else own

        if self.design.heterogeneity:
            return path(self._city_effects(streams)[:, None, :])
        if "calendar" in self.design.redraw:
            return path(coefficients.did)
        return self._once("effect", lambda: path(coefficients.did))

    def _city_effects(self, streams: Streams) -> Floats:
        """tau_i, (R, N); one and the same for all cities without heterogeneity."""
        deviation = streams.normals("heterogeneity", len(self.frame.units))
        return self.design.coefficients.did * (1.0 + self.design.heterogeneity * deviation)

    def _control_signal(self, controls: list[Floats]) -> Floats:
        signal = np.zeros((1, len(self.frame.periods), len(self.frame.units)))
        coefficients = self.design.coefficients
        for values, own, lagged in zip(controls, coefficients.controls, coefficients.w_controls, strict=True):
            signal = signal + own * values + (lagged * self._lag(values) if lagged else 0.0)
        return signal

    def control_signal_mean(self) -> float:
        """The mean that the fixed controls add to the outcome."""
        return float(self.multiplier.apply(self._control_signal([x[None] for x in self.fixed_controls])).mean())

    def _filtered(self, controls: list[Floats], effect: Floats) -> Floats:
        return self.multiplier.apply(self._control_signal(controls) + effect)

    def _levels(self, did: Floats) -> Floats:
        if not self.design.trend_gap:
            return self.levels[None]
        ever = did.any(axis=1, keepdims=True)
        return self.levels + self.design.trend_gap * ever * (self._years - self._years.mean())[:, None]

    def _errors(self, streams: Streams) -> Floats:
        """AR(1) errors with variance sigma^2, (R, T, N)."""
        errors = self._persistent(streams.normals("errors", len(self.frame.periods), len(self.frame.units)))
        errors *= self.design.sigma
        return errors

    def _persistent(self, normals: Floats) -> Floats:
        """Standard normals (R, T, N) made AR(1) along time, in place."""
        if phi := self.design.serial:
            for t in range(1, normals.shape[1]):
                normals[:, t] *= np.sqrt(1 - phi**2)
                normals[:, t] += phi * normals[:, t - 1]
        return normals

    def _lag(self, values: Floats) -> Floats:
        return self.frame.weights["knn-6"].lag(values)

    def _mediator(self, streams: Streams, did: Floats, errors: Floats) -> Floats:
        """The mediator, drawn given the outcome's total error e = e_y + b u so that wanting it changes nothing else.

        Both parts of u have the errors' serial correlation, so that e_y is as free of other periods' u as of its own.
        """
        to_mediator, to_outcome, mean, sd, stretch = MEDIATION[self.design.mediator]
        scale = self.design.effect / PUBLISHED_EFFECT
        covariance = to_outcome * sd**2 + self.design.confounding * sd * self._structural_sd(to_outcome, sd)
        slope = covariance / self.design.sigma**2 if self.design.sigma else 0.0
        spread = np.sqrt(max(sd**2 - slope * covariance, 0.0))
        own = self._persistent(streams.normals("mediator", len(self.frame.periods), len(self.frame.units)))
        level = mean + stretch * (self.levels - self.levels.mean())
        return level + to_mediator * scale * did + slope * errors + spread * own

    def _structural_sd(self, to_outcome: float, sd: float) -> float:
        """sd of e_y in sigma^2 = sd_y^2 + 2 b kappa sd_m sd_y + b^2 sd_m^2."""
        half = to_outcome * self.design.confounding * sd
        return float(np.sqrt(max(half**2 + self.design.sigma**2 - (to_outcome * sd) ** 2, 0.0)) - half)

    def _truths(self, names: tuple[str, ...], did: Floats, effect: Floats, streams: Streams) -> Mapping[str, Floats]:
        """The true values in each replication, (R,) each; the same in every draw unless effects or calendar change."""

        def compute() -> dict[str, Floats]:
            rows = streams.replications
            return {name: np.repeat(v, rows) if v.size == 1 else v for name, v in values()}

        def values() -> Iterator[tuple[str, Floats]]:
            gain = cache(lambda: self.multiplier.apply(effect))
            return ((name, self._truth(Estimand.parse(name), did, gain, streams)) for name in names)

        if self.design.heterogeneity or "calendar" in self.design.redraw:
            return compute()
        return self._once(("truths", names, streams.replications), compute)

    def _truth(self, ask: Estimand, did: Floats, gain: Callable[[], Floats], streams: Streams) -> Floats:
        """The true value of one estimand, (1 or R,), from this draw's potential outcomes."""
        if ask.kind in {*POLICY_MEANS, "nde", "nie", "contrast"}:
            return self._policy_effect(ask, did, gain)
        if ask.kind in {"direct", "indirect", "total"}:
            return self._impact(ask, streams)
        return np.array([self._parameter(ask)])

    def _policy_effect(self, ask: Estimand, did: Floats, gain: Callable[[], Floats]) -> Floats:
        """A mean of Y(d) - Y(0) = S v, or of the mediator's share in it and the rest."""
        fixed = "calendar" not in self.design.redraw
        adoption = self._once("adoption", lambda: Adoption(did, self._years)) if fixed else Adoption(did, self._years)
        if ask.kind == "contrast":
            return adoption.contrast(gain()) if self.design.calendar == "single" else np.array([np.nan])
        if ask.kind in POLICY_MEANS:
            return adoption.mean_effect(gain(), ask)
        if not self.design.has_mediator:
            return np.array([np.nan])
        to_mediator, to_outcome, *_ = MEDIATION[self.design.mediator]
        scale = self.design.effect / PUBLISHED_EFFECT
        through = self.multiplier.apply(to_mediator * scale * to_outcome * did)
        share = through if ask.kind == "nie" else gain() - through
        return adoption.mean_effect(share, Estimand("att", ask.arguments))

    def _impact(self, ask: Estimand, streams: Streams) -> Floats:
        """Average direct, indirect and total impacts of S (b I + c W) (LeSage and Pace 2009)."""
        own, lagged = self._pair(ask.arguments)
        s, n = self.multiplier.multiplier, len(self.frame.units)
        sw = self._once("sw", lambda: s @ self.frame.weights["knn-6"].dense)
        effects = np.full((1, n), own)
        if ask.arguments == ("did",) and self.design.heterogeneity:
            effects = self._city_effects(streams)
        direct = (effects * np.diag(s)).mean(axis=1) + lagged * np.trace(sw) / n
        total = (effects * s.sum(axis=0)).mean(axis=1) + lagged * sw.sum() / n
        return {"direct": direct, "total": total, "indirect": total - direct}[ask.kind]

    def _pair(self, arguments: tuple[str, ...]) -> tuple[float, float]:
        """The coefficients of a regressor and of its spatial lag; NaN when the world has no such regressor."""
        coefficients = self.design.coefficients
        names = self.design.schema.roles.controls
        varies = self.design.shape != "constant" or self.design.anticipation > 0  # then the dummy is not the dose
        policy = (np.nan, np.nan) if varies else (coefficients.did, coefficients.w_did)
        own = dict(zip(names, coefficients.controls, strict=True)) | {"did": policy[0]}
        lagged = dict(zip(names, coefficients.w_controls, strict=True)) | {"did": policy[1]}
        if self.design.has_mediator:
            own[self.design.mediator], lagged[self.design.mediator] = MEDIATION[self.design.mediator][1], 0.0
        name = arguments[0] if len(arguments) == 1 else ""
        return own.get(name, np.nan), lagged.get(name, np.nan)

    def _parameter(self, ask: Estimand) -> float:
        coefficients = self.design.coefficients
        if ask.kind == "beta":
            name = ask.arguments[0] if len(ask.arguments) == 1 else ""
            if name == "did" and self.design.heterogeneity:
                return np.nan
            return self._pair((name[2:],))[1] if name.startswith("w_") else self._pair((name,))[0]
        # The effects take up errors that last: estimators find less than their variance.
        variance = np.nan if self.design.serial else self.design.sigma**2
        values = {"rho": coefficients.rho, "lambda": coefficients.lam, "sigma2": variance,
                  "dependence": max(abs(coefficients.rho), abs(coefficients.lam))}  # fmt: skip
        return np.nan if ask.arguments else values.get(ask.kind, np.nan)


def settle(design: PaperDials, streams: Streams) -> PaperWorld:
    """Draw what the cell holds fixed: city and year effects, who is treated when, the controls."""
    table, weights = cities(), city_weights()
    schema = design.schema
    frame = Panel(
        units=table.names,
        periods=tuple(range(FIRST_YEAR, FIRST_YEAR + schema.periods)),
        variables={},
        roles=schema.roles,
        attributes={name: getattr(table, name) for name in schema.attributes},
        weights={"knn-6": weights},
    )
    rng = streams.fixed("cities")
    riches = np.vectorize(RICHES.get)(table.region) + 1.0 * table.capital + 0.5 * rng.standard_normal(schema.units)
    smooth = SpatialFilter.of(weights, 0.85).apply(rng.standard_normal((1, 1, schema.units)))[0, 0]
    latent = _standard(_standard(smooth) + 0.6 * _standard(riches) + 0.80 * rng.standard_normal(schema.units))
    city = _beta_variates(latent, *ICR_CITY)
    year = _standard(np.arange(schema.periods, dtype=np.float64)) * ICR_YEAR_SD
    parts = np.array([_standard(0.5 * riches + rng.standard_normal(schema.units)) for _ in schema.roles.controls])
    shape = (schema.periods, schema.units)
    controls = np.array(
        [
            control_values(name, part, streams.fixed(f"control {name}").standard_normal(shape))
            for name, part in zip(schema.roles.controls, parts, strict=True)
        ]
    )
    coefficients = design.coefficients
    world = PaperWorld(
        design=design,
        frame=frame,
        levels=city + year[:, None],
        riches=_standard(riches),
        city_parts=parts,
        adoption=draw_adoption(design, _standard(riches), streams.fixed("calendar")),
        fixed_controls=controls,
        multiplier=SpatialFilter.of(weights, coefficients.rho),
        error_multiplier=SpatialFilter.of(weights, coefficients.lam),
    )
    return replace(world, levels=world.levels + ICR_MEAN - world.control_signal_mean())


def draw_adoption(design: PaperDials, riches: Floats, rng: np.random.Generator) -> Floats:
    """First treated year of each city, (N,), inf = never; the richer the likelier (Gumbel top-k), unless at random."""
    years = np.repeat(list(COHORTS), cohort_sizes(design.treated)).astype(np.float64)
    appeal = rng.gumbel(size=riches.size)
    if design.assignment == "rich":
        appeal = 1.5 * riches + appeal
    chosen = np.argsort(-appeal)[: years.size]
    adoption = np.full(riches.size, np.inf)
    adoption[chosen] = rng.permutation(years) if design.calendar == "staggered" else SINGLE_DATE
    return adoption


def cohort_sizes(treated: int) -> NDArray[np.intp]:
    """The published cohorts' sizes in proportion to `treated` cities, by largest remainders (ties: the earlier)."""
    exact = np.array(list(COHORTS.values())) * treated
    sizes, remainders = exact // TREATED, exact % TREATED
    sizes[np.argsort(-remainders, kind="stable")[: treated - sizes.sum()]] += 1
    return sizes.astype(np.intp)


def control_values(name: str, city: Floats, noise: Floats) -> Floats:
    """A control with table 1's mean, sd, minimum and maximum: a scaled beta variate of a normal score, (..., T, N)."""
    periods = noise.shape[-2]
    trend = _standard(np.arange(periods, dtype=np.float64))[:, None]
    own_share = 1.0 - BETWEEN_SHARE - TREND_SHARE
    score = np.sqrt(BETWEEN_SHARE) * city + np.sqrt(TREND_SHARE) * trend + np.sqrt(own_share) * noise
    return _beta_variates(score, *CONTROL_MOMENTS[name])


def _beta_variates(scores: Floats, mean: float, sd: float, low: float, high: float) -> Floats:
    """The beta variates on [low, high] with this mean and sd at normal scores, by linear interpolation of quantiles."""
    quantiles, slopes = _quantiles(mean, sd, low, high)
    position = np.clip((scores + FARTHEST) / STEP, 0.0, len(slopes) - 1e-9)
    below = position.astype(np.intp)
    return quantiles[below] + (position - below) * slopes[below]


@cache
def _quantiles(mean: float, sd: float, low: float, high: float) -> tuple[Floats, Floats]:
    """Quantiles of that beta distribution over a grid of normal scores, and their differences."""
    share, variance = (mean - low) / (high - low), (sd / (high - low)) ** 2
    size = share * (1 - share) / variance - 1
    grid = np.arange(-FARTHEST, FARTHEST + STEP / 2, STEP)
    quantiles = low + (high - low) * betaincinv(share * size, (1 - share) * size, ndtr(grid))
    return quantiles, np.diff(quantiles)


def _standard(values: Floats) -> Floats:
    return (values - values.mean()) / values.std()
