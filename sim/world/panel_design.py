"""A settled `panel` design: it draws tiles of replications with their truths.

Truths of a world of parts: every estimand from the potential outcomes of the draw, or a parameter of the world.

Besides the means of `policy_truths`, whose effects include what neighbours' treatment does:

    att_own               mean over treated unit-periods of what their own treatment does, others untreated
    spill(treated)        att - att_own
    spill(untreated)      mean effect on untreated unit-periods from the first adoption on
    spill(never)          the same over units that are never treated
    nie, nie(M)           mean over treated unit-periods of what goes through mediators, or through M alone
    nde, nde(M)           att less that
    direct, indirect, total(X)   average impacts of S (b I + c W) (LeSage and Pace 2009)
    long_direct, ...(X)   those of ((1 - gamma) I - (rho + eta) W)^-1 (b I + c W): the same without lags in time
    contrast              what two-way DID estimates with one date
    slope(X), level(X)    over treated unit-periods, the slope of the effect on a covariate or mediator X, and what the
                          line says of the mean of X over all unit-periods (least squares of the effect on X)
    att_of(A,V)           mean over treated unit-periods of the units whose attribute, or covariate, A is V
    ddd(A,V,U)            att_of(A,U) less att_of(A,V)
    unit_nie, unit_...    of nie, nde, slope, level, att_of, ddd: means of effects a unit of the treatment, which is
                          what regressions on a continuous treatment find

With unit-periods that are not observed, means are over those that are, and there is no contrast. Where the outcome is
an index of indicators, effects are those of the index, and what is no total effect (att_own, spill(treated), nde, nie,
coefficients, parameters of the errors) does not exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar

import numpy as np

from sim.arrays import Floats
from sim.design import A_UNIT, LONG_RUN, Draw, Estimand, Wanted
from sim.panel import Panel, group_labels
from sim.streams import Streams
from sim.world.dials import PanelDials
from sim.world.draw import POLICY_MEANS, DrawnWorld, Settled, ratio, settled

NONE = np.array([np.nan])
IMPACTS = frozenset({"direct", "indirect", "total"})
KINDS_A_UNIT = frozenset({"nie", "nde", "slope", "level", "att_of", "ddd"})
MEANS = POLICY_MEANS | KINDS_A_UNIT | {"contrast", "att_own", "spill"}  # of unit-periods that a draw may lack
ROUNDING = 1e-12  # of the parts of a truth: less than this is what they leave where they cancel
OF_VALUES = ("slope(", "level(", "att_of(", "ddd(")  # of covariates or mediators, which may be drawn anew


def truths(tile: DrawnWorld, names: tuple[str, ...], index: Floats | None) -> Mapping[str, Floats]:
    """The true values in each replication, (R,) each; NaN throughout for what the world lacks.

    index: what the treatment adds to an outcome that is an index, (R, T, N).
    """
    rows = tile.streams.replications

    def compute() -> dict[str, Floats]:
        truth = Truth(tile, index)
        values = {name: truth.of(Estimand.parse(name)) for name in names}
        return {name: np.repeat(value, rows) if value.size == 1 else value for name, value in values.items()}

    interacts = any(item.interaction for item in tile.design.mediators)
    of_values = any(name.removeprefix(A_UNIT).startswith(OF_VALUES) for name in names)
    drawn = ["mediators"] * (interacts or of_values) + ["covariates"] * of_values
    if index is None and tile.fixed("adoption", "effects", "missing", *drawn):
        return tile.world.once(("truths", names, rows), compute)
    return compute()


def _mean_of(values: Floats, weights: Floats) -> Floats:
    """Weighted means (R,) of values and weights (1 or R, T, N), NaN without weights."""
    return ratio((values * weights).sum(axis=(1, 2)), weights.sum(axis=(1, 2)))


class Truth:
    """The truths of one tile; a_unit: of effects over the treatment of their unit-period."""

    def __init__(self, tile: DrawnWorld, index: Floats | None, *, a_unit: bool = False) -> None:
        self.tile, self.world, self.design, self.index, self.a_unit = tile, tile.world, tile.design, index, a_unit
        self._takes_sizes = tile.sizes.shape[2] > 1  # whether units' effects differ although the dose is the treatment

    def of(self, ask: Estimand) -> Floats:
        """The true value of one estimand, (1 or R,); 0 where nothing but rounding is left of parts that cancel."""
        value, parts = self._value(ask), np.zeros(1)
        if ask.kind in MEANS and ask.kind != "slope":
            parts = self._largest
        elif ask.kind in (*IMPACTS, *LONG_RUN) and len(ask.arguments) == 1:
            parts = np.abs(self._pair(*ask.arguments)).sum(keepdims=True)
        return np.where(np.abs(value) < ROUNDING * parts, 0.0, value)

    def _value(self, ask: Estimand) -> Floats:
        if ask.kind in POLICY_MEANS:
            return self._mean(self._gain, ask)
        if (kind := ask.kind.removeprefix(A_UNIT)) in KINDS_A_UNIT and kind != ask.kind:
            return Truth(self.tile, self.index, a_unit=True).of(Estimand(kind, ask.arguments))
        match ask.kind, ask.arguments:
            case "contrast", ():  # where all is observed
                whole = self.design.adoption.absorbing and self.tile.seen is None
                return self.tile.adoption.contrast(self._gain) if whole else NONE
            case "spill", (("untreated" | "never") as who,):
                treated = self.tile.did != 0
                begun = np.logical_or.accumulate(treated.any(axis=2, keepdims=True), axis=1)  # from the first adoption
                among = ~treated if who == "untreated" else ~treated.any(axis=1, keepdims=True)
                weights = (among & begun) * (1.0 if self.tile.seen is None else self.tile.seen)
                return _mean_of(self._gain, weights)
            case (("slope" | "level"), (name,)):
                return self._line(name)[ask.kind]
            case "att_of", (name, value):
                return self._of_group(name, value)
            case "ddd", (name, first, second):
                return self._of_group(name, second) - self._of_group(name, first)
            case _ if self.index is not None:
                return NONE
            case "att_own", ():
                return self._mean(self._own_gain, Estimand("att", ()))
            case "spill", ("treated",):
                return self.of(Estimand("att", ())) - self.of(Estimand("att_own", ()))
            case (("nde" | "nie"), _):
                return self._mediated(ask)
            case kind, (name,) if kind in LONG_RUN:
                return self.world.once(ask, lambda: np.array([self._long_impact(kind, name)]))
            case kind, (name,) if kind in IMPACTS:
                if self._takes_sizes and name == self.design.treatment:
                    return self._impact(kind, name)
                return self.world.once(ask, lambda: self._impact(kind, name))
            case _:
                return self.world.once(ask, lambda: np.array([self._parameter(ask)]))

    @property
    def _gain(self) -> Floats:
        """Y(d) - Y(0) of the outcome, be it an index or not."""
        return self._a_unit(self.tile.gain if self.index is None else self.index)

    @cached_property
    def _largest(self) -> Floats:
        """The largest sum of the sizes of what makes an effect, (1 or R,)."""
        tile, parts = self.tile, np.abs(self.tile.path if self.index is None else self.index)
        if self.index is None:
            parts = parts + sum(np.abs(tile.through(part)) for part in self.design.mediators)
            parts = parts + sum(abs(item.shift * item.effect) * np.abs(tile.did) for item in self.design.covariates)
        return np.asarray(self._a_unit(parts).max(axis=(1, 2)))

    def _a_unit(self, gain: Floats) -> Floats:
        if not self.a_unit:
            return gain
        gain, did = np.broadcast_arrays(gain, self.tile.did)
        return np.divide(gain, did, out=np.zeros(gain.shape), where=did != 0)

    def _mean(self, gain: Floats, ask: Estimand) -> Floats:
        """A mean over treated unit-periods; that of cohorts and event times only where units stay treated."""
        if (ask.kind != "att" or ask.arguments) and not self.design.adoption.absorbing:
            return NONE
        return self.tile.adoption.mean_effect(gain, ask)

    def _line(self, name: str) -> Mapping[str, Floats]:
        """The line of effects on a covariate or mediator over treated unit-periods, (1 or R,)."""
        mediator = name in self.tile.untreated_mediators  # one within the outcome's errors has no line
        if not mediator and name not in self.tile.covariates:
            return {"slope": NONE, "level": NONE}
        values = self.tile.mediators[name] if mediator else self.tile.covariates[name]
        seen = np.ones((1, 1, 1)) if self.tile.seen is None else self.tile.seen
        weights = (self.tile.did != 0) * seen
        gain, x, weights, seen = np.broadcast_arrays(self._gain, values, weights, seen)
        centre, effect = (_mean_of(each, weights) for each in (x, gain))
        left = (x - centre[:, None, None]) * weights
        spread, shared = (left * x).sum(axis=(1, 2)), (left * gain).sum(axis=(1, 2))
        apart = np.abs((gain - effect[:, None, None]) * (weights != 0)).max(axis=(1, 2))
        slope = ratio(np.where(apart < ROUNDING * self._largest, 0.0, shared), spread)
        return {"slope": slope, "level": effect + slope * (_mean_of(x, seen) - centre)}

    def _of_group(self, name: str, value: str) -> Floats:
        """The mean effect on treated unit-periods of the units with a value, (1 or R,)."""
        covariate, facts = self.tile.covariates.get(name), self.world.frame.attributes
        if name not in facts and covariate is None:
            return NONE
        if covariate is not None and (covariate != covariate[0, 0]).any():  # no value that units keep
            return NONE
        held = group_labels(facts[name] if covariate is None else covariate[0, 0])
        on = (self.tile.did != 0) * (1.0 if self.tile.seen is None else self.tile.seen) * (held == value)
        return _mean_of(*np.broadcast_arrays(self._gain, on))

    @cached_property
    def _own_gain(self) -> Floats:
        """What each unit's own treatment does to it, (1 or R, T, N): diagonals of the world's impact matrices."""
        tile, spillover = self.tile, self.design.spillover
        if self.world.dynamics is not None:  # what comes back from neighbours depends on the time since
            return np.full((1, 1, 1), np.nan)
        interactions = np.zeros((1, 1, 1))  # what the product of the treatment and the untreated mediator adds
        for part in self.design.mediators:
            if part.interaction:
                interactions = interactions + part.interaction * tile.did * tile.untreated_mediators[part.name]
        added = tile.sizes * tile.dose
        for part in self.design.mediators:
            added = added if part.within else added + tile.through(part)
        for item in self.design.covariates:
            added = added + item.shift * item.effect * tile.did
        if self.world.multiplier is None:
            return added + interactions
        multiplier = self.world.multiplier.multiplier
        own = np.diag(multiplier) * (added + interactions)
        if spillover.reaches:  # what a neighbour's neighbour gives back
            felt = spillover.felt(tile.dose)
            own = own + np.einsum("ij,ji->i", multiplier, spillover.alone(self.world.context)) * felt
        lags = sum(item.shift * item.lag_effect for item in self.design.covariates)
        lagged = np.einsum("ij,ji->i", multiplier, self.world.context.main_weights.dense) if lags else 0.0
        return own + lags * lagged * tile.did

    def _mediated(self, ask: Estimand) -> Floats:
        """Natural indirect effects through all mediators or one; direct effects are the rest."""
        named = [part for part in self.design.mediators if (part.name,) == ask.arguments]
        parts = named or list(self.design.mediators)
        if not parts:
            return NONE
        within = Estimand("att", () if named else ask.arguments)
        through = self.world.spread(np.sum([self.tile.through(part) for part in parts], axis=0))
        return self._mean(self._a_unit(through if ask.kind == "nie" else self.tile.gain - through), within)

    def _impact(self, kind: str, name: str) -> Floats:
        """Average direct, indirect and total impacts of S (b I + c W)."""
        if not self.design.weights.exists:
            return NONE
        own, lagged = self._pair(name)
        n = self.world.context.units
        effects = np.full((1, n), own)
        if name == self.design.treatment and self._takes_sizes:
            effects = effects + (self.tile.sizes[:, 0, :] - self.design.effect.size_of_units)
        if self.world.multiplier is None:
            direct = effects.mean(axis=1)
            total = direct + (lagged * self.world.context.main_weights.matrix.sum() / n if lagged else 0.0)
        else:
            s = self.world.multiplier.multiplier
            sw = self.world.once("sw", lambda: s @ self.world.context.main_weights.dense)
            direct = (effects * np.diag(s)).mean(axis=1) + lagged * np.trace(sw) / n
            total = (effects * s.sum(axis=0)).mean(axis=1) + lagged * sw.sum() / n
        return {"direct": direct, "total": total, "indirect": total - direct}[kind]

    def _long_impact(self, kind: str, name: str) -> float:
        """Average impacts of a lasting change in the long run; NaN where units' effects differ."""
        if not self.design.weights.exists or (name == self.design.treatment and self._takes_sizes):
            return float("nan")
        dynamics, w = self.world.dynamics, self.world.context.main_weights.dense
        own, lagged = self._pair(name)
        if dynamics is not None:
            long = dynamics.long_run
        else:
            long = np.eye(len(w)) if self.world.multiplier is None else self.world.multiplier.multiplier
        effects = own * long + lagged * long @ w
        direct, total = float(np.trace(effects)) / len(w), float(effects.sum()) / len(w)
        return {"long_direct": direct, "long_total": total, "long_indirect": total - direct}[kind]

    def _pair(self, name: str) -> tuple[float, float]:
        """The coefficients of a regressor and of its spatial lag; NaN when the world has no such regressor."""
        for item in self.design.covariates:
            if item.name == name:
                return item.effect, item.lag_effect
        for part in self.design.mediators:
            if part.name == name:
                return (float("nan") if part.interaction else part.b), 0.0
        if name != self.design.schema.roles.treatment or self.tile.dose is not self.tile.did:
            return float("nan"), float("nan")  # where the dose is not the treatment, no coefficient is the effect
        outside = [part for part in self.design.mediators if not part.within]  # which may be no regressors
        through = float("nan") if any(part.interaction for part in outside) else sum(p.a * p.b for p in outside)
        own, size = self.design.effect.size_of_units + through, abs(self.design.effect.size_of_units)
        return 0.0 if abs(own) < ROUNDING * size else own, self.design.spillover.lag

    def _parameter(self, ask: Estimand) -> float:
        """A coefficient or a parameter of the errors."""
        if ask.kind == "beta" and len(ask.arguments) == 1:
            name = ask.arguments[0]
            known = {self.design.treatment, *self.design.summary.covariates, *self.design.summary.mediators}
            if name not in known and name.startswith("w_"):
                return self._pair(name[2:])[1] if self.design.weights.exists else float("nan")
            return self._pair(name)[0] if name != self.design.treatment or not self._takes_sizes else float("nan")
        rho, errors = self.design.spillover.rho, self.design.errors
        gamma, eta = self.design.spillover.past
        values = {"sigma2": errors.sigma2, "gamma": gamma}
        if self.design.weights.exists:
            own = errors.dependence
            values |= {
                "rho": rho,
                "eta": eta,
                "lambda": errors.lam,
                "dependence": float(np.fmax(abs(rho), own)) if rho else own,
            }
        return float("nan") if ask.arguments else values.get(ask.kind, float("nan"))


@dataclass(frozen=True, eq=False, slots=True)
class PanelWorld:
    """A world of parts with all that it holds fixed; known: truths that a preset states itself, by name."""

    settled: Settled
    known: Mapping[str, float] = field(default_factory=dict)

    def draw(self, streams: Streams, wanted: Wanted) -> Draw:
        """One tile; the outcome is always drawn, a mediator when wanted or when the outcome depends on it."""
        world, design = self.settled, self.settled.design
        tile = DrawnWorld(world, streams)
        names = [part.name for part in design.mediators if part.name in wanted.variables]
        drawn = {name: tile.mediators[name] for name in names}
        outcome, gain = tile.outcome(names), None
        shape, indicators, seen = tile.context.shape, design.indicators, design.measurement
        if indicators.names:  # the outcome is their index H(Y(d)), each index scaled and weighted on its own
            untreated, errors = outcome - tile.gain, indicators.errors(shape, streams)
            values = indicators.values(outcome, untreated, errors)
            score = indicators.index(values, world.observed)
            without = indicators.index(indicators.values(untreated, untreated, errors), world.observed)
            outcome, gain = np.nan_to_num(score), np.nan_to_num(score - without)  # no score where not observed
            drawn |= {name: x for name, x in values.items() if name in wanted.variables}
        error = streams.normals("measurement of the outcome", *shape) if seen.outcome_sd else None
        drawn[design.outcome] = seen.seen(outcome, error, seen.outcome_sd)
        if design.missing.follows_outcome:
            tile.seen = design.missing.drawn(drawn[design.outcome], streams)
        found = truths(tile, wanted.estimands, gain)
        stated = {name: np.full(streams.replications, x) for name, x in self.known.items() if name in found}
        return Draw(_panel(tile, drawn), {**found, **stated})


def _panel(tile: DrawnWorld, drawn: Mapping[str, Floats]) -> Panel:
    """The panel of a tile with what was drawn besides treatment and covariates, hidden where nothing is observed."""
    world, design = tile.world, tile.design

    def regressors() -> dict[str, Floats]:
        treatment = {design.treatment: tile.did} if design.adoption.treats else {}
        return _shown({**treatment, **tile.measured_covariates}, tile.seen)

    if not tile.fixed("missing") and tile.seen is not None:
        whole = regressors() | _shown(drawn, tile.seen)
        return replace(world.frame, observed=tile.seen > 0, variables=whole)
    if tile.fixed("adoption", "covariates"):
        frame = world.once("panel", lambda: world.frame.with_variables(regressors()))
        return frame.with_variables(_shown(drawn, tile.seen))
    return world.frame.with_variables(regressors() | _shown(drawn, tile.seen))


def _shown(values: Mapping[str, Floats], seen: Floats | None) -> dict[str, Floats]:
    """Variables that are NaN where unit-periods (1 or R, T, N) are not observed."""
    return dict(values) if seen is None else {name: np.where(seen > 0, x, np.nan) for name, x in values.items()}


# The `panel` design: a world made of parts, each with its own dials.
#
#     y = a_i + l_t + (trend, factors) + confounding + S (X b + W X c + tau_i dose + spillover + sum_m b_m m + S_l e)
#
# with S = (I - rho W)^-1 and S_l = (I - lambda W)^-1. Every part is a table of the design, may be left out, and is
# one of the kinds in its slot, a module of `sim/world/parts`. The truth of every estimand follows from the
# potential outcomes of the drawn world (`panel_truths`).


@dataclass(frozen=True, slots=True)
class PanelDesign(PanelDials):
    """A world of your own, made of parts.

    units: N; 100 unless the geography decides it. periods: T. first_period: the label of the first one. outcome,
    treatment: names of these variables. geography: where units are and how they group. weights: the true W.
    other_weights: further W that estimators may assume by name. levels: unit and period effects. covariates: what else
    moves the outcome. errors: the law of its errors. adoption: who is treated, when. effect: what the treatment does to
    its own unit. spillover: what it does to others. mediators: channels of the effect. indicators: what the outcome is
    made of, if it is an index. missing: unit-periods that are not observed. measurement: errors of what is seen.
    redraw: what changes between replications besides the errors: "adoption", "covariates".
    """

    kind: ClassVar[str] = "panel"

    def settle(self, streams: Streams) -> PanelWorld:
        """Draw places, levels, covariates and the calendar of one world."""
        return PanelWorld(settled(self, streams))
