"""What a panel design settles, draws and lets be seen, and the truths of it.

Truths of staggered policies: every estimand is a weighted mean of unit-periods' effects Y(d) - Y(0).

The weights are those of Callaway and Sant'Anna (2021, section 3) with the draw's own cohort sizes:

    att             treated unit-periods alike
    att(G,T)        units first treated in G, in period T
    event(K)        units that are observed K periods after adoption (0 is its own), in that period
    cohort(G)       unit-periods of cohort G from G on;       calendar(T)    units treated in T
    att_event       mean of event(K) over K >= 0;             att_calendar   mean of calendar(T) over T
    att_cohort      mean of cohort(G) by cohort size

Effects before adoption are no part of any of them: att(G,T) with T < G and event(K) with K < 0 are NaN. Where some
unit-periods are not observed, all of these are means over those that are.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial, wraps
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from sim.arrays import Floats, arma_matrix
from sim.design import Estimand
from sim.filters import SpaceTimeFilter, SpatialFilter
from sim.panel import Panel
from sim.schema import period_step
from sim.streams import Streams
from sim.world.context import WorldContext, first_treated, standard
from sim.world.dials import PanelDials
from sim.world.parts.adoption import Absorbing, InstrumentedDose
from sim.world.parts.covariates import SettledCovariate
from sim.world.parts.errors import ErrorProcess, Process
from sim.world.parts.mediators import MediatorPart, structural_sd

POLICY_MEANS = frozenset({"att", "event", "cohort", "calendar", "att_event", "att_cohort", "att_calendar"})


@dataclass(frozen=True, eq=False)
class DrawnAdoption:
    """An absorbing policy: the dummy `did` (1 or R, T, N) and the periods' labels `years` (T,).

    seen: 1 where unit-periods are observed, (1 or R, T, N); None where all are.
    """

    did: Floats
    years: Floats
    seen: Floats | None = None
    _weights: dict[Estimand, Floats] = field(default_factory=dict)
    _cells: dict[Estimand, tuple[NDArray[np.intp], Floats]] = field(default_factory=dict)

    def mean_effect(self, gain: Floats, ask: Estimand) -> Floats:
        """The estimand of effects `gain` (1 or R, T, N), (1 or R,); NaN where no unit-period has such an effect.

        Many draws of one calendar are summed over the few unit-periods that have a weight.
        """
        if ask not in self._weights:
            self._weights[ask] = self._compute_weights(ask)
        weights = self._weights[ask]
        if weights.shape[0] > 1 or gain.shape[0] == 1:
            return ratio((gain * weights).sum(axis=(1, 2)), weights.sum(axis=(1, 2)))
        if ask not in self._cells:
            flat = weights.ravel()
            self._cells[ask] = (cells := np.flatnonzero(flat)), flat[cells]
        cells, weight = self._cells[ask]
        effects = gain.reshape(gain.shape[0], -1).take(cells, axis=1)
        return ratio(np.vecdot(effects, weight), np.full(1, weight.sum()))

    def contrast(self, gain: Floats) -> Floats:
        """What two-way DID estimates with one date, (1 or R,): the effect's change at it, treated less untreated units.

        NaN in replications with other dates, or with nobody or nothing to compare.
        """
        after, ever = (self.did.any(axis=axis).astype(np.float64) for axis in (2, 1))
        before, never = 1 - after, 1 - ever
        effect = ratio((gain * after[:, :, None]).sum(axis=1), after.sum(axis=1, keepdims=True))
        effect = effect - ratio((gain * before[:, :, None]).sum(axis=1), before.sum(axis=1, keepdims=True))
        treated = ratio((effect * ever).sum(axis=1), ever.sum(axis=1))
        found = treated - ratio((effect * never).sum(axis=1), never.sum(axis=1))
        one_date = (self.did == ever[:, None, :] * after[:, :, None]).all(axis=(1, 2))
        return np.where(one_date, found, np.nan)

    def _compute_weights(self, ask: Estimand) -> Floats:
        """Weights up to scale, (1 or R, T, N); all zero when the world has no such estimand."""
        try:
            numbers = tuple(map(int, ask.arguments))
        except ValueError:
            return np.zeros_like(self.did)
        match ask.kind, numbers:
            case "att", ():
                return self._on
            case "att", (cohort, year):
                return self._on * (self._first == cohort)[:, None, :] * (self.years == year)[:, None]
            case "event", (since,):
                return self._on * (self._since == since)
            case "cohort", (cohort,):
                return self._on * (self._first == cohort)[:, None, :]
            case "calendar", (year,):
                return self._on * (self.years == year)[:, None]
            case "att_event", ():
                weights = np.zeros_like(self._on)  # equal ones of every K >= 0, shared by the units that are seen at K
                for k in range(self.years.size):
                    among = (self._since == k) * self._on
                    weights += ratio(among, among.sum(axis=(1, 2), keepdims=True), 0.0)
                return weights
            case "att_cohort", ():
                return self._shared_by_cohort()
            case "att_calendar", ():
                return ratio(self._on, self._on.sum(axis=2, keepdims=True), 0.0)
            case _:
                return np.zeros_like(self.did)

    @property
    def _on(self) -> Floats:
        """The dummy where it is observed."""
        return self.did if self.seen is None else self.did * self.seen

    @property
    def _first(self) -> Floats:
        """First treated period, (1 or R, N), inf = never."""
        return first_treated(self.years, self.did)

    @property
    def _since(self) -> Floats:
        """Periods since adoption, (1 or R, T, N), -inf = never."""
        return (self.years[:, None] - self._first[:, None, :]) / period_step(self.years.astype(np.int64))

    def _shared_by_cohort(self) -> Floats:
        """Weights of cohorts by their units that are observed under treatment, shared by their unit-periods."""
        on = self._on
        if self.seen is None:  # the lives of a cohort's units are of one length
            return ratio(on, on.sum(axis=1, keepdims=True), 0.0)
        weights, lives = np.zeros_like(on), on.any(axis=1)
        for cohort in np.unique(self._first[np.isfinite(self._first)]):
            among = on * (self._first == cohort)[:, None, :]
            size = (lives * (self._first == cohort)).sum(axis=1)[:, None, None]
            weights += size * ratio(among, among.sum(axis=(1, 2), keepdims=True), 0.0)
        return weights


def ratio(numerator: Floats, denominator: Floats, empty: float = np.nan) -> Floats:
    """numerator / denominator, `empty` where the denominator is 0."""
    shape = np.broadcast(numerator, denominator).shape
    return np.divide(numerator, denominator, out=np.full(shape, empty), where=denominator > 0)


# What a world of parts holds fixed: places, levels, covariates, who is treated when.


IN_CACHE = 4  # replications of a panel of 285 units and 18 periods


@dataclass(frozen=True, eq=False)
class Settled:
    """What a world of parts holds fixed.

    levels: all that units and periods bring along, (T, N). treatment: the fixed one, (1, T, N). frame: units, periods,
    attributes and weights without variables. multiplier: S, None where outcomes do not depend on those of neighbours.
    followed: errors that mediators and doses follow, the outcome's without common paths.
    dynamics: S and the lags in time, None without such lags.
    observed: 1 where unit-periods are seen, (1, T, N), None where all are or where that differs between replications.
    streams: those that the world was drawn from.
    """

    design: PanelDials
    context: WorldContext
    frame: Panel
    levels: Floats
    covariates: Mapping[str, SettledCovariate]
    errors: ErrorProcess
    followed: ErrorProcess
    multiplier: SpatialFilter | None
    mediator_filters: Mapping[str, SpatialFilter | None]
    treatment: Floats
    observed: Floats | None
    streams: Streams
    dynamics: SpaceTimeFilter | None = None
    _kept: dict[Hashable, Any] = field(default_factory=dict)

    def once[T](self, name: Hashable, compute: Callable[[], T]) -> T:
        """What is computed once in a world."""
        if name not in self._kept:
            self._kept[name] = compute()
        return cast(T, self._kept[name])

    def spread(self, values: Floats, *, overwrite: bool = False) -> Floats:
        """S over the last axis, and the lags in time; `overwrite` allows the array to become the result."""
        if self.dynamics is not None:
            return self.dynamics.apply(values)
        return values if self.multiplier is None else self.multiplier.apply(values, overwrite=overwrite)

    def covariate_signal(self, covariates: Mapping[str, Floats]) -> Floats:
        """X b + W X c, (1 or R, T, N)."""
        parts, shape = self.design.covariates, self.context.shape
        acting = [part.acting(covariates[part.name]) for part in parts]
        signal = _weighted([(part.effect, x) for part, x in zip(parts, acting, strict=True) if part.effect], shape)
        lags = [(part.lag_effect, x) for part, x in zip(parts, acting, strict=True) if part.lag_effect]
        return signal + self.context.main_weights.lag(_weighted(lags, shape)) if lags else signal


def _weighted(terms: list[tuple[float, Floats]], shape: tuple[int, int]) -> Floats:
    """A weighted sum of arrays (1 or R, T, N); a few replications at a time stay in the processor's cache."""
    rows = max((len(x) for _, x in terms), default=1)
    out = np.zeros((rows, *shape))
    for start in range(0, rows, IN_CACHE):
        some = slice(start, start + IN_CACHE)
        for factor, x in terms:
            out[some] += factor * (x if len(x) < rows else x[some])
    return out


def settled(design: PanelDials, streams: Streams) -> Settled:
    """Draw what a world holds fixed: places, levels, covariates, who is treated when."""
    places = design.geography.places(streams, design.size)
    built = {item.label: item.build(places) for item in (design.weights, *design.other_weights)}
    context = WorldContext(places, design.labels, built[design.weights.label])
    weights = {name: w for name, w in built.items() if w is not None}
    levels = design.levels.settle(context, streams)
    covariates = {item.name: item.settle(context, streams) for item in design.covariates}
    context = replace(context, levels=levels, covariates={name: x(None)[0] for name, x in covariates.items()})
    gaps = design.missing.some and not design.missing.follows_outcome
    observed = design.missing.fixed(context, streams.fixed("missing"))[None] if gaps else None
    facts = {name: places.attributes[name] for name in design.geography.attributes}
    for part in design.covariates:
        if part.size_attribute:
            facts[part.size_attribute] = np.exp(standard(context.covariates[part.name].mean(axis=0)))
    frame = Panel(places.names, design.labels, {}, design.schema.roles, facts,
                  None if observed is None else observed > 0, weights)  # fmt: skip
    (gamma, eta), rho = design.spillover.past, design.spillover.rho
    law, errors = design.errors, design.errors.settle(context, streams)
    world = Settled(
        design=design,
        context=context,
        frame=frame,
        levels=levels.total,
        covariates=covariates,
        errors=errors,
        followed=replace(law, common_paths=()).settle(context, streams)
        if isinstance(law, Process) and law.common_paths
        else errors,
        multiplier=context.spatial(rho),
        mediator_filters={item.name: context.spatial(item.spatial) for item in design.mediators},
        treatment=design.adoption.path(context, streams.fixed("adoption"))[None],
        observed=observed,
        streams=streams,
        dynamics=SpaceTimeFilter.of(context.main_weights, rho, gamma, eta) if gamma or eta else None,
    )
    if not design.levels.holds_mean:
        return world
    fixed = {name: values[None] for name, values in context.covariates.items()}
    return replace(world, levels=levels.total - world.spread(world.covariate_signal(fixed)).mean())


# One tile of replications of a world of parts, from its fixed facts and the replications' own random numbers.


ROUNDING = 1e-14  # of a variance, relative to that before others were taken from it


def held[T](*what: str) -> Callable[[Callable[[DrawnWorld], T]], cached_property[T]]:
    """A property of a tile that is computed once in the world if none of `what` differs between replications."""

    def made(compute: Callable[[DrawnWorld], T]) -> cached_property[T]:
        @wraps(compute)
        def found(tile: DrawnWorld) -> T:
            if tile.fixed(*what):
                return tile.world.once(compute.__name__, partial(compute, tile))
            return compute(tile)

        return cached_property(found)

    return made


class DrawnWorld:
    """One tile of R replications; arrays are (1 or R, T, N), with a leading 1 where nothing differs between them."""

    def __init__(self, world: Settled, streams: Streams) -> None:
        self.world, self.streams = world, streams
        self.design, self.context = world.design, world.context
        self._covariate_streams = streams if "covariates" in self.design.redraw else None  # None: they are fixed
        self.seen: Floats | None = world.observed  # (1 or R, T, N), 1 where observed; None where all is

    def fixed(self, *what: str) -> bool:
        """Whether none of these differs between replications: adoption, covariates, effects, mediators, interactions
        with them, missing."""
        changes: set[str] = {*self.design.redraw}
        follows = "covariates" in changes and bool(self.design.effect.covariate)
        changes |= {"effects"} if self.design.effect.varies or follows else set()
        changes |= {"mediators"} if any(not item.within for item in self.design.mediators) else set()
        interact = any(item.interaction for item in self.design.mediators)
        changes |= {"interactions"} if interact and "mediators" in changes else set()
        changes |= {"missing"} if self.design.missing.follows_outcome else set()
        changes |= {"adoption"} if self.design.adoption.endogenous else set()
        return not changes & {*what}

    @cached_property
    def did(self) -> Floats:
        """The treatment: that of the world, one that follows instruments and the outcome's errors, or one drawn anew,
        (R, T, N)."""
        part = self.design.adoption
        if isinstance(part, InstrumentedDose):
            own = self.design.errors.like(self.streams.normals("adoption", *self.context.shape))
            errors = self.innovations / self._period_sd if self._period_sd else np.zeros_like(own)
            instruments = [self.world.covariates[name](self._covariate_streams) for name in part.instruments]
            return part.dose(part.signal(instruments), self.world.levels, errors, own)
        if "adoption" not in self.design.redraw:
            return self.world.treatment
        if isinstance(part, Absorbing):
            first = np.stack([part.first(self.context, rng) for rng in self.streams.each("adoption")])
            return (self.context.years[:, None] >= first[:, None, :]).astype(np.float64)
        return np.stack([part.path(self.context, rng) for rng in self.streams.each("adoption")])

    @held("adoption")
    def dose(self) -> Floats:
        """How strongly unit-periods are treated."""
        return self.design.effect.dose(self.context, self.did)

    @held("adoption", "missing")
    def adoption(self) -> DrawnAdoption:
        """The treatment as truths of policies read it."""
        return DrawnAdoption((self.did != 0).astype(np.float64), self.context.years, self.seen)

    @held("adoption", "effects")
    def sizes(self) -> Floats:
        """Units' effects of a dose of one, (1 or R, 1, N or 1)."""
        effect = self.design.effect
        followed = self.covariates[effect.covariate] if effect.covariate else None
        return effect.sizes(self.context, self.did, followed, self.streams)

    @held("adoption", "effects")
    def path(self) -> Floats:
        """What doses add to the outcome before S: tau_i dose, and what neighbours' doses add."""
        spillover, own = self.design.spillover, self.sizes * self.dose
        return own + spillover.added(self.context, self.dose) if spillover.reaches else own

    @held("adoption", "covariates")
    def covariates(self) -> Mapping[str, Floats]:
        """Covariates as they are seen: those that the treatment moves are moved."""
        values = {name: item(self._covariate_streams) for name, item in self.world.covariates.items()}
        return {part.name: values[part.name] + part.shift * self.did if part.shift else values[part.name]
                for part in self.design.covariates}  # fmt: skip

    @held("adoption", "covariates")
    def measured_covariates(self) -> Mapping[str, Floats]:
        """Covariates as they are measured; their errors are fixed in the world unless covariates are drawn anew."""
        part, found = self.design.measurement, {}
        for name, values in self.covariates.items():
            error, purpose, shape = None, f"measurement of {name}", self.context.shape
            if part.covariate_sd and "covariates" in self.design.redraw:
                error = self.streams.normals(purpose, *shape)
            elif part.covariate_sd:  # drawn once, whatever else is drawn anew
                fixed = self.world.streams.fixed(purpose)
                error = np.asarray(self.world.once(purpose, partial(fixed.standard_normal, size=(1, *shape))))
            found[name] = part.seen(values, error, part.covariate_sd)
        return found

    @cached_property
    def untreated_mediators(self) -> Mapping[str, Floats]:
        """Mediators without treatment: level and own error; only those that add to the outcome's errors."""
        found = {}
        for part in (part for part in self.design.mediators if not part.within):
            own = np.sqrt(1 - part.confounding**2) * self._fresh(part)
            if part.confounding and (sd := self._period_sd):  # correlated with the outcome's
                own = own + part.confounding / sd * self.innovations
            spatial = self.world.mediator_filters[part.name]
            found[part.name] = self._level(part) + part.sd * (own if spatial is None else spatial.apply(own))
        return found

    @cached_property
    def mediators(self) -> Mapping[str, Floats]:
        """Mediators as they are seen."""
        return {
            item.name: self._within(item) if item.within else self.untreated_mediators[item.name] + item.a * self.did
            for item in self.design.mediators
        }

    @cached_property
    def innovations(self) -> Floats:
        """The outcome's errors before they spread over space, (R, T, N), without common paths."""
        return self.world.followed.draw(self.streams)

    def outcome(self, wanted: list[str]) -> Floats:
        """The outcome, (R, T, N); it takes the place of the errors unless a mediator that is wanted is made of them."""
        needed = wanted or any(not item.within for item in self.design.mediators) or self.design.adoption.endogenous
        added = []  # before S, by mediators; totals hold what goes through those within them
        for part in self.design.mediators if needed else ():
            if not part.within:
                mediator = self.mediators[part.name]
                product = part.interaction * self.did * mediator if part.interaction else 0.0
                added.append(part.b * mediator + product)
        mediated = np.sum(added, axis=0) if added else None

        process, law = self.world.errors, self.design.errors
        past = None
        if self.world.dynamics is not None:  # errors of as many periods before the first, (R, T, N)
            past = process.draw(self.streams.within("before the first period"))
            if isinstance(law, Process) and (law.ar or law.moving):
                own, later = self.world.once("past", partial(going_before, law, past.shape[1]))
                past = own @ past + later @ self.innovations
            past = process.spread(past)
            if (sizes := law.cells(self.did, earlier=True)) is not None:
                past = past * sizes
        noise = process.spread(self.innovations if process is self.world.followed else process.draw(self.streams))
        if noise is self.innovations and needed:
            noise = noise.copy()
        if self._cells is not None:
            noise *= self._cells

        if self.world.dynamics is not None and past is not None:
            before = self.world.dynamics.apply(past, np.zeros_like(past[:, 0]))[:, -1]
            steady = self._signal() if mediated is None else self._signal() + mediated
            return self.world.dynamics.apply(noise, before) + self.world.spread(steady) + self._levels()

        if mediated is None and self.fixed("adoption", "covariates", "effects"):
            outcome = self.world.spread(noise, overwrite=True)
            outcome += self.world.once("base", lambda: self._levels() + self.world.spread(self._signal()))
            return outcome
        noise += self._signal()
        if mediated is not None:
            noise += mediated
        outcome = self.world.spread(noise, overwrite=True)
        outcome += self._levels()
        return outcome

    @held("adoption")
    def _cells(self) -> Floats | None:
        """Sizes of the errors of unit-periods that follow the treatment."""
        return self.design.errors.cells(self.did)

    def through(self, part: MediatorPart) -> Floats:
        """What the treatment adds to the outcome through a mediator, before S: NIE of each unit-period."""
        return part.a * self.did * (part.b + part.interaction * self.did)

    @held("adoption", "effects", "interactions")
    def gain(self) -> Floats:
        """Y(d) - Y(0): what the treatment, the neighbours' too, adds to the outcome."""
        added = self.path
        for item in self.design.covariates:
            if item.shift:
                added = added + item.effect * item.shift * self.did
            if item.shift and item.lag_effect:
                added = added + item.lag_effect * item.shift * self.context.main_weights.lag(self.did)
        for part in self.design.mediators:
            if not part.within:
                added = added + self.through(part)
                if part.interaction:
                    added = added + part.interaction * self.did * self.untreated_mediators[part.name]
        return self.world.spread(added)

    def _signal(self) -> Floats:
        """X b + W X c and the path of the policy, before S."""
        signal, path = self.world.covariate_signal(self.covariates), self.path
        if len(path) > len(signal):
            return signal + path
        signal += path
        return signal

    def _levels(self) -> Floats:
        confounding = self.design.effect.confounding(self.context, self.did)
        return self.world.levels[None] if confounding is None else self.world.levels + confounding

    def _level(self, part: MediatorPart) -> Floats:
        """The mediator's mean with its share in the outcome's levels, (T, N)."""
        levels = self.world.levels
        return self.world.once(("level", part.name), lambda: part.mean + part.levels * (levels - levels.mean()))

    def _fresh(self, part: MediatorPart) -> Floats:
        """Standard errors of a mediator, (R, T, N), as persistent as the outcome's; within them shared as they are."""
        purpose = f"mediator {part.name}"
        shocks = self.streams.normals(purpose, *self.context.shape)
        return self.design.errors.like(
            self.world.errors.mixed(shocks, self.streams, purpose) if part.within else shocks
        )

    @property
    def _period_sd(self) -> float:
        """The standard deviation of the outcome's errors in a period, before they spread over space."""
        return self.design.errors.period_sd(self.design.periods)

    def _within(self, part: MediatorPart) -> Floats:
        """A mediator drawn given the outcome's total error e = e_y + sum b u, so that wanting it changes nothing else.

        u = slope e + row of the root times fresh shocks of the mediators up to this one, all independent of e_y but for
        their confounding. All parts of u have the errors' serial correlation, are shared by groups and spread over
        space as they do, so that e_y is as free of other unit-periods' u as of its own.
        """
        parts = [item for item in self.design.mediators if item.within]
        slopes, root = self.world.once("within", lambda: given_totals(parts, self._period_sd))
        at = parts.index(part)
        spread = self.world.errors.spread
        out = self._level(part) + part.a * self.did + spread(slopes[at] * self.innovations)
        for before, share in zip(parts[: at + 1], root[at], strict=False):
            if share:
                out = out + spread(share * self._fresh(before))
        return out


def given_totals(parts: list[MediatorPart], total: float) -> tuple[Floats, Floats]:
    """Means and Cholesky root of the errors u (M,) of mediators given an outcome's error e of sd `total`.

    c = cov(u, e) = b sd^2 + kappa sd sd_y; u given e has mean c e / total^2 and variance diag(sd^2) - c c' / total^2.
    """
    b, sd, kappa = (np.array([getattr(part, dial) for part in parts]) for dial in ("b", "sd", "confounding"))
    if not total:  # the outcome has no errors: mediators have theirs alone
        return np.zeros(len(parts)), np.diag(sd)
    with_outcome = b * sd**2 + kappa * sd * max(structural_sd(parts, total), 0.0)
    slopes = with_outcome / total**2
    return slopes, semidefinite_root(np.diag(sd**2) - np.outer(slopes, with_outcome))


def going_before(law: Process, periods: int) -> tuple[Floats, Floats]:
    """What makes errors e of the T periods before those of T periods, of errors u drawn alone and the later ones v:
    e = own u + later v, matrices (T, T), by the law of e given v."""
    joint = arma_matrix(law.ar, law.moving, 2 * periods)
    both = joint[periods:, :periods]
    later = np.linalg.solve(joint[periods:, periods:], both).T
    alone = np.linalg.inv(np.linalg.cholesky(joint[:periods, :periods]))
    return semidefinite_root(joint[:periods, :periods] - later @ both) @ alone, later


def semidefinite_root(matrix: Floats) -> Floats:
    """The lower triangular root of a positive semidefinite matrix (M, M); a pivot that is rounding counts as zero."""
    out = np.zeros_like(matrix)
    for k in range(len(matrix)):
        left = matrix[k:, k] - out[k:, :k] @ out[k, :k]
        if left[0] > ROUNDING * matrix[k, k]:
            out[k, k] = np.sqrt(left[0])
            out[k + 1 :, k] = left[1:] / out[k, k]
    return out
