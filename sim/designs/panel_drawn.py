"""One tile of replications of a world of parts, from its fixed facts and the replications' own random numbers."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from functools import cached_property

import numpy as np

from sim.arrays import Floats
from sim.designs.panel_dials import PanelDials
from sim.designs.panel_settled import Settled
from sim.designs.parts.adoption import Absorbing
from sim.designs.parts.ground import Ground
from sim.designs.parts.mediators import MediatorPart, structural_sd
from sim.designs.policy_truths import Adoption
from sim.streams import Streams

ROUNDING = 1e-14  # of a variance, relative to that before others were taken from it


class Drawn:
    """One tile of R replications; arrays are (1 or R, T, N), with a leading 1 where nothing differs between them."""

    def __init__(self, world: Settled, streams: Streams) -> None:
        self.world, self.streams = world, streams
        self.design, self.ground = world.design, world.ground
        self.seen: Floats | None = world.observed  # (1 or R, T, N), 1 where observed; None where all is

    def fixed(self, *what: str) -> bool:
        """Whether none of these differs between replications: adoption, covariates, effects, mediators, missing."""
        changes: set[str] = {*self.design.redraw}
        follows = "covariates" in changes and bool(self.design.effect.covariate)
        changes |= {"effects"} if self.design.effect.varies or follows else set()
        changes |= {"mediators"} if any(not item.within for item in self.design.mediators) else set()
        changes |= {"missing"} if self.design.missing.follows_outcome else set()
        return not changes & {*what}

    def _once[T](self, name: Hashable, compute: Callable[[], T], *what: str) -> T:
        """What is computed once in the world if none of `what` differs between replications, else for this tile."""
        return self.world.once(name, compute) if self.fixed(*what) else compute()

    @cached_property
    def did(self) -> Floats:
        """The treatment."""
        if "adoption" not in self.design.redraw:
            return self.world.treatment
        return drawn_treatments(self.design, self.ground, self.streams)

    @cached_property
    def dose(self) -> Floats:
        """How strongly unit-periods are treated."""
        return self._once("dose", lambda: self.design.effect.dose(self.ground, self.did), "adoption")

    @cached_property
    def adoption(self) -> Adoption:
        """The treatment as truths of policies read it."""

        def compute() -> Adoption:
            return Adoption((self.did != 0).astype(np.float64), self.ground.years, self.seen)

        return self._once("policy", compute, "adoption", "missing")

    @cached_property
    def sizes(self) -> Floats:
        """Units' effects of a dose of one, (1 or R, 1, N or 1)."""

        def compute() -> Floats:
            followed = self.covariates[effect.covariate] if effect.covariate else None
            return effect.sizes(self.ground, self.did, followed, self.streams)

        effect = self.design.effect
        return self._once("sizes", compute, "adoption", "effects")

    @cached_property
    def path(self) -> Floats:
        """What doses add to the outcome before S: tau_i dose, and what neighbours' doses add."""

        def compute() -> Floats:
            spillover = self.design.spillover
            own = self.sizes * self.dose
            return own + spillover.added(self.ground, self.dose) if spillover.reaches else own

        return self._once("path", compute, "adoption", "effects")

    @cached_property
    def covariates(self) -> Mapping[str, Floats]:
        """Covariates as they are seen: those that the treatment moves are moved."""

        def compute() -> dict[str, Floats]:
            streams = self.streams if "covariates" in self.design.redraw else None
            values = {name: item.values(streams) for name, item in self.world.covariates.items()}
            return {part.name: values[part.name] + part.shift * self.did if part.shift else values[part.name]
                    for part in self.design.covariates}  # fmt: skip

        return self._once("covariates", compute, "adoption", "covariates")

    @cached_property
    def untreated_mediators(self) -> Mapping[str, Floats]:
        """Mediators without treatment: level and own error; only those that add to the outcome's errors."""
        return {
            item.name: self._level(item) + self._own_error(item) for item in self.design.mediators if not item.within
        }

    @cached_property
    def mediators(self) -> Mapping[str, Floats]:
        """Mediators as they are seen."""
        return {
            item.name: self._within(item) if item.within else self.untreated_mediators[item.name] + item.a * self.did
            for item in self.design.mediators
        }

    @cached_property
    def innovations(self) -> Floats:
        """The outcome's errors before they spread over space, (R, T, N)."""
        return self.world.errors.draw(self.streams)

    def outcome(self, wanted: list[str]) -> Floats:
        """The outcome, (R, T, N); it takes the place of the errors unless a mediator that is wanted is made of them."""
        needed = wanted or any(not item.within for item in self.design.mediators)
        mediated = self._mediated() if needed else None
        noise = self.world.errors.spread(self.innovations)
        if noise is self.innovations and needed:
            noise = noise.copy()
        sizes = self._once("cells", lambda: self.design.errors.cells(self.did), "adoption")
        if sizes is not None:
            noise *= sizes
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

    def through(self, part: MediatorPart) -> Floats:
        """What the treatment adds to the outcome through a mediator, before S: NIE of each unit-period."""
        return part.a * self.did * (part.b + part.interaction * self.did)

    @cached_property
    def gain(self) -> Floats:
        """Y(d) - Y(0): what the treatment, the neighbours' too, adds to the outcome."""

        def compute() -> Floats:
            added = self.path
            for item in self.design.covariates:
                if item.shift:
                    added = added + item.effect * item.shift * self.did
                if item.shift and item.lag_effect:
                    added = added + item.lag_effect * item.shift * self.world.lag(self.did)
            for part in self.design.mediators:
                if not part.within:
                    added = added + self.through(part)
                    if part.interaction:
                        added = added + part.interaction * self.did * self.untreated_mediators[part.name]
            return self.world.spread(added)

        interacts = any(item.interaction for item in self.design.mediators)
        return self._once("gain", compute, "adoption", "effects", *(["mediators"] if interacts else []))

    def _signal(self) -> Floats:
        """X b + W X c and the path of the policy, before S."""
        signal, path = self.world.covariate_signal(self.covariates), self.path
        if len(path) > len(signal):
            return signal + path
        signal += path
        return signal

    def _levels(self) -> Floats:
        confounding = self.design.effect.confounding(self.ground, self.did)
        return self.world.levels[None] if confounding is None else self.world.levels + confounding

    def _mediated(self) -> Floats | None:
        """What mediators add to the outcome before S; None where totals hold it already."""
        added = [part.b * self.mediators[part.name] + (part.interaction * self.did * self.mediators[part.name]
                 if part.interaction else 0.0) for part in self.design.mediators if not part.within]  # fmt: skip
        return np.sum(added, axis=0) if added else None

    def _level(self, part: MediatorPart) -> Floats:
        """The mediator's mean with its share in the outcome's levels, (T, N)."""
        levels = self.world.levels
        return self.world.once(("level", part.name), lambda: part.mean + part.levels * (levels - levels.mean()))

    def _fresh(self, part: MediatorPart) -> Floats:
        """Standard errors of a mediator, (R, T, N), as persistent as the outcome's; within them shared as they are."""
        purpose = f"mediator {part.name}"
        shocks = self.streams.normals(purpose, *self.ground.shape)
        return self.design.errors.like(
            self.world.errors.mixed(shocks, self.streams, purpose) if part.within else shocks
        )

    def _own_error(self, part: MediatorPart) -> Floats:
        """A mediator's error u, correlated with the outcome's."""
        own = np.sqrt(1 - part.confounding**2) * self._fresh(part)
        if part.confounding and (sd := self._period_sd):
            own = own + part.confounding / sd * self.innovations
        spatial = self.world.mediator_filters[part.name]
        return part.sd * (own if spatial is None else spatial.apply(own))

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


def semidefinite_root(matrix: Floats) -> Floats:
    """The lower triangular root of a positive semidefinite matrix (M, M); a pivot that is rounding counts as zero."""
    out = np.zeros_like(matrix)
    for k in range(len(matrix)):
        left = matrix[k:, k] - out[k:, :k] @ out[k, :k]
        if left[0] > ROUNDING * matrix[k, k]:
            out[k, k] = np.sqrt(left[0])
            out[k + 1 :, k] = left[1:] / out[k, k]
    return out


def drawn_treatments(design: PanelDials, ground: Ground, streams: Streams) -> Floats:
    """The treatment of each replication, (R, T, N)."""
    adoption = design.adoption
    if isinstance(adoption, Absorbing):
        first = np.stack([adoption.first(ground, rng) for rng in streams.each("adoption")])
        return (ground.years[:, None] >= first[:, None, :]).astype(np.float64)
    return np.stack([adoption.path(ground, rng) for rng in streams.each("adoption")])
