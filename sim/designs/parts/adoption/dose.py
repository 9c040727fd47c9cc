"""A treatment of any strength."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from scipy.special import ndtr

from sim.arrays import Floats
from sim.designs.parts.adoption import Adoption, date_problems, one_date
from sim.designs.parts.ground import Ground
from sim.designs.parts.part import INSIDE, POSITIVE, SHARE, Outline, fault
from sim.designs.parts.scores import persistent
from sim.errors import Problem


@dataclass(frozen=True, slots=True)
class Dose(Adoption):
    """A continuous treatment: some units, chosen at random, get positive doses from one date on.

    Its effect is effect.size a unit of dose, the truth of beta(TREATMENT); an estimator of a dose has that as its
    target. att is the mean effect over unit-periods with a dose.

    share: of units that get doses. date: the first period with doses; by default the one after the middle.
    last_periods: number of periods with doses, in place of date. mean, sd: of doses. distribution: of doses: uniform |
    lognormal. between: share of the variance of their score between units; 1 gives each unit one dose. serial:
    autocorrelation over periods of the rest.
    """

    kind: ClassVar[str] = "dose"
    ranges: ClassVar = {"share": SHARE, "mean": POSITIVE, "sd": POSITIVE, "between": SHARE, "serial": INSIDE}

    share: float = 0.5
    date: int | None = None
    last_periods: int | None = None
    mean: float = 1.0
    sd: float = 0.5
    distribution: Literal["uniform", "lognormal"] = "uniform"
    between: float = 0.5
    serial: float = 0.0

    @property
    def continuous(self) -> bool:
        """Doses are any positive numbers."""
        return True

    def faults(self, outline: Outline) -> Iterator[Problem]:
        """Nobody with a dose, dates that the panel does not have, doses below 0."""
        yield from date_problems(self.date, self.last_periods, outline)
        if round(self.share * outline.units) < 1:
            yield fault(f"share = {self.share:g} of {outline.units} units", "a share of 1 unit or more",
                        "correct share")  # fmt: skip
        if self.distribution == "uniform" and not self.sd * np.sqrt(3) < self.mean:
            most = f"less than {self.mean / np.sqrt(3):.4g} with this mean, for doses are positive"
            yield fault(f"sd = {self.sd:g}", most, "correct sd, or use lognormal")

    def path(self, ground: Ground, rng: np.random.Generator) -> Floats:
        """Doses of those that are chosen, 0 of the others."""
        (periods, units), out = ground.shape, np.zeros(ground.shape)
        chosen = rng.permutation(units)[: round(self.share * units)]
        own, shocks = rng.standard_normal(len(chosen)), rng.standard_normal((periods, len(chosen)))
        score = np.sqrt(self.between) * own + np.sqrt(1 - self.between) * persistent(shocks, self.serial)
        treated = ground.years >= one_date(self.date, self.last_periods, ground)
        out[:, chosen] = treated[:, None] * self._doses(score)
        return out

    def _doses(self, score: Floats) -> Floats:
        """Doses of standard normal scores."""
        if self.distribution == "uniform":
            return np.asarray(self.mean + self.sd * np.sqrt(12) * (ndtr(score) - 0.5))
        spread = np.log1p((self.sd / self.mean) ** 2)
        return np.asarray(self.mean * np.exp(np.sqrt(spread) * score - spread / 2))
