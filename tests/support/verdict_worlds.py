"""Panels of worlds whose law is known, in plain numpy: none of the parts that twins are made of draws them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from estimators.core.estimator import critical_values
from estimators.linear.did import TwoWayDID
from experiments.panel_spec.sections import TwinSection
from experiments.panel_spec.spec import RealPanel, read_spec
from sim import Streams
from sim.panel import Panel
from sim.schema import Roles
from sim.weights import Weights

Floats = NDArray[np.float64]


def walks(rng: np.random.Generator, count: int, periods: int) -> Floats:
    """Random walks with steps of sd 1, (count, T)."""
    return rng.standard_normal((count, periods)).cumsum(axis=1)


SPEC = """
[panel]
unit = "unit"
period = "period"
outcome = "y"
treatment = "did"
{groups}
[inference]
seed = {seed}
[twin]
draws = 200
"""
POWER, LEVEL = 0.80, 0.05
DRAWS, TILE = 4000, 500  # panels behind a known size or detectable effect


@dataclass(frozen=True)
class World:
    """A law of panels. dates: first treated period (from 0) and number of units; errors are AR(1) with innovations of
    sd 1 unless said.

    treated: factor of the errors of units that are treated at some time. post: of those in treated cells. growth: of
    the log sd from the first period to the last. factor: sd of loadings on a random walk, which is drawn for each panel
    unless a calendar gives its value in every period. groups: of equal size, and
    sd of shocks that a group shares in a period. whole: whole groups adopt. heavy: t errors with 4 degrees of freedom.
    ramp: the effect starts at a fraction and is whole in the last period. spill: share that neighbours on a ring get.
    selected: by how much the loadings of treated units are larger, in sd. ring: whether the panel has the ring as W.
    """

    name: str
    units: int = 100
    periods: int = 14
    dates: tuple[tuple[int, int], ...] = ((6, 14), (8, 13), (10, 13))
    ar: float = 0.3
    treated: float = 1.0
    post: float = 1.0
    growth: float = 0.0
    factor: float = 0.0
    calendar: tuple[float, ...] = ()
    groups: int = 0
    group_sd: float = 0.0
    group_ar: float = 0.0
    whole: bool = False
    heavy: bool = False
    ramp: bool = False
    spill: float = 0.0
    selected: float = 0.0
    ring: bool = False
    family: bool = True
    biased: bool = False

    @property
    def group(self) -> NDArray[np.intp]:
        """The group of every unit, (N,): blocks of neighbouring units."""
        return np.arange(self.units) * max(self.groups, 1) // self.units

    @property
    def first(self) -> NDArray[np.intp]:
        """The first treated period of every unit, (N,), `periods` for never."""
        out = np.full(self.units, self.periods)
        order = np.arange(self.units)
        if not self.whole:  # spread over the groups
            order = np.argsort((np.arange(self.units) * 37) % self.units, kind="stable")
        start = 0
        for date, count in self.dates:
            out[order[start : start + count]] = date
            start += count
        return out

    @property
    def dose(self) -> Floats:
        return (np.arange(self.periods)[:, None] >= self.first).astype(float)

    def noise(self, rng: np.random.Generator, count: int) -> Floats:
        """Outcomes without an effect, (R, T, N)."""
        shape = (count, self.periods + 20, self.units)
        shocks = rng.standard_t(4, size=shape) / np.sqrt(2) if self.heavy else rng.standard_normal(shape)
        e = shocks * 1.0
        for t in range(1, shape[1]):
            e[:, t] += self.ar * e[:, t - 1]
        e = e[:, 20:]
        scale = np.where(self.first < self.periods, self.treated, 1.0) * np.where(self.dose > 0, self.post, 1.0)
        e = e * scale * np.exp(self.growth * np.linspace(-0.5, 0.5, self.periods))[:, None]
        if self.factor:
            paths = np.reshape(self.calendar or walks(rng, count, self.periods), (-1, self.periods, 1))
            loadings = rng.standard_normal((count, 1, self.units)) + self.selected * (self.first < self.periods)
            e = e + self.factor * paths * loadings
        if self.group_sd:
            shared = rng.standard_normal((count, self.periods + 20, self.groups))
            for t in range(1, shared.shape[1]):
                shared[:, t] += self.group_ar * shared[:, t - 1]
            e = e + self.group_sd * shared[:, 20:][:, :, self.group]
        return e + 2 * rng.standard_normal((count, 1, self.units)) + rng.standard_normal((count, self.periods, 1))

    def on_calendar_of(self, number: int) -> World:
        """The world in which all panels have the random walk of the panel of this number."""
        rng = np.random.default_rng([number, *self.name.encode()])
        rng.standard_normal((1, self.periods + 20, self.units))  # its errors, which are drawn before
        return replace(self, calendar=tuple(walks(rng, 1, self.periods)[0].tolist()))

    @property
    def reach(self) -> Floats:
        """What an effect of 1 does to every unit-period, its own and that of neighbours, (T, N)."""
        dose = self.dose
        if self.ramp:
            since = np.arange(self.periods)[:, None] - self.first + 1.0
            dose = dose * np.clip(since / 6.0, 0.0, 1.0)
            dose = dose * self.dose.sum() / dose.sum()
        return dose + self.spill * (np.roll(dose, 1, axis=1) + np.roll(dose, -1, axis=1)) / 2

    def outcome(self, noise: Floats, effect: float, drift: float = 0.0) -> Floats:
        """With an effect and a drift of the treated a period, whether they are treated or not yet."""
        ever = self.first < self.periods
        return noise + effect * self.reach + drift * np.arange(self.periods)[:, None] * ever

    def att(self, effect: float) -> float:
        """The mean effect on treated unit-periods, that of their neighbours' treatment in it."""
        return effect * float(self.reach[self.dose > 0].mean())

    def panel(self, y: Floats) -> Panel:
        """y (R, T, N) as a panel."""
        names = tuple(f"u{i:03d}" for i in range(self.units))
        attributes = {"group": np.array([f"g{code:02d}" for code in self.group])} if self.groups else {}
        around = np.roll(np.eye(self.units), 1, axis=0) + np.roll(np.eye(self.units), -1, axis=0)
        weights = {"ring": Weights.of(names, around, name="ring")} if self.ring else {}
        return Panel(names, tuple(range(2001, 2001 + self.periods)), {"y": y, "did": self.dose[None]},
                     Roles("y", "did"), attributes, weights=weights)  # fmt: skip

    def real(self, folder: Path, number: int, effect: float = 0.0, drift: float = 0.0) -> RealPanel:
        """One panel as a user has it."""
        spec = folder / f"{self.name.replace(' ', '-')}.toml"
        groups = 'groups = ["group"]' if self.groups else ""
        spec.write_text(SPEC.format(groups=groups, seed=number + 1), encoding="utf-8")
        rng = np.random.default_rng([number, *self.name.encode()])
        panel = self.panel(self.outcome(self.noise(rng, 1), effect, drift))
        return RealPanel(panel, read_spec(spec), panel.units, ())

    def null(self, errors: tuple[str, ...]) -> dict[str, tuple[Floats, Floats, Floats]]:
        """Estimates, errors and degrees of freedom of the DID on panels without an effect, (R,) each, by error type."""
        estimator, parts = TwoWayDID(errors=errors), []
        rng = np.random.default_rng([1, *self.name.encode()])
        for _ in range(DRAWS // TILE):
            parts.append(estimator(self.panel(self.outcome(self.noise(rng, TILE), 0.0)), Streams(1)))
        return {error: (np.concatenate([part.estimate[:, 0] for part in parts]),
                        *(np.concatenate([getattr(part, name)[:, k, 0] for part in parts]) for name in ("se", "dof")))
                for k, error in enumerate(errors)}  # fmt: skip

    def size(self, error: str = "cluster:unit") -> float:
        """How often the 5% test rejects without an effect."""
        estimate, se, dof = known(self, error)
        return float((np.abs(estimate) > critical_values(dof, LEVEL) * se).mean())

    def detectable(self, error: str = "cluster:unit") -> float:
        """The effect that the 5% test finds with a power of 80%."""
        estimate, se, dof = known(self, error)
        width = critical_values(dof, LEVEL) * se
        return float(np.quantile([width - estimate, width + estimate], POWER))

    def drift_of(self, estimate: float) -> float:
        """The drift that the DID takes for an effect of this size."""
        still = replace(self, ar=0.0)
        one = TwoWayDID(errors=("iid",))(still.panel(still.outcome(np.zeros((1, self.periods, self.units)), 0.0, 1.0)),
                                         Streams(1))  # fmt: skip
        return estimate / float(one.estimate[0, 0])


def by_method(real: RealPanel, *method: str) -> RealPanel:
    """The panel with twins by these methods alone, and the fewest in a report of likeness, which nobody reads here."""
    section = real.spec.twin or TwinSection()
    twins = section.model_copy(update={"method": method, "draws": 100})
    return replace(real, spec=real.spec.model_copy(update={"twin": twins}))


@cache
def known(world: World, error: str) -> tuple[Floats, Floats, Floats]:
    """`World.null` of one error type."""
    return world.null((error,))[error]


SMALL = {"units": 50, "periods": 10}
LARGE = {"units": 285, "periods": 18}
ONE_CALENDAR = tuple(walks(np.random.default_rng(1), 1, 14)[0].tolist())
WORLDS = (
    World("staggered"),
    World("common", dates=((7, 40),)),
    World("small staggered", **SMALL, dates=((4, 7), (6, 7), (8, 6))),
    World("small common", **SMALL, dates=((6, 20),), ar=0.0),
    World("large staggered", **LARGE, dates=((6, 40), (9, 40), (12, 39)), ar=0.5),
    World("lasting", ar=0.8),
    World("noise rises when treated", post=1.5),
    World("noisier treated", treated=1.7),
    World("variance grows", growth=1.0),
    World("heavy tails", heavy=True),
    World("group shocks", groups=20, group_sd=0.7),
    World("ramped effects", ramp=True),
    World("factors", factor=0.3, family=False),
    World("factors of one calendar", factor=0.3, calendar=ONE_CALENDAR, family=False),
    World("spillovers", spill=0.3, family=False),
    World("ten treated", dates=((7, 10),)),
    World("few treated", dates=((7, 4),)),
    World("whole groups", groups=20, group_sd=1.4, group_ar=0.3, whole=True, dates=((7, 50),)),
)
