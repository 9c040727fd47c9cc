"""Units that adopt with a probability that depends on what they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from sim.arrays import Floats
from sim.designs.parts.adoption import Absorbing, adopting, date_problems, one_date
from sim.designs.parts.adoption.random import drawn
from sim.designs.parts.ground import Ground, standard
from sim.designs.parts.part import FINITE, SHARE, Outline, fault, unknown_covariate
from sim.errors import Problem, bad

On = Literal["levels", "trends", "neighbours", "covariates", "factors"]
FARTHEST = 60.0  # intercept of a logit beyond which nobody, or everybody, adopts


@dataclass(frozen=True, slots=True)
class Propensity(Absorbing):
    """Each unit adopts with the probability of a logit on its scores, at one date or at dates that are drawn.

    on: the scores: levels (unit effects) | trends (their slopes) | neighbours (unit effects of neighbours, by W) |
    covariates (unit means of those that are named) | factors (loadings); all but factors standardised. covariates:
    names, with on = "covariates". strength: the coefficient of every score. coefficients: one of each score, in place
    of strength. intercept: of the logit; where it is not set, the expected share is share. share: of units that adopt,
    where intercept is not set. independent: whether each unit adopts on its own; else the number is share times N, and
    likelier units come first (Gumbel top-k). most: with independent, the largest number that adopt; others, chosen at
    random, are left out, and where nobody adopts so many units do. date: the first treated period; by default the one
    after the middle. last_periods: number of treated periods, in place of date. date_weights: pairs of a period and a
    weight, from which each adopter's date is drawn, in place of date.
    """

    kind: ClassVar[str] = "propensity"
    ranges: ClassVar = {"strength": FINITE, "coefficients": FINITE, "intercept": FINITE, "share": SHARE}

    on: On = "levels"
    covariates: tuple[str, ...] = ()
    strength: float = 1.0
    coefficients: tuple[float, ...] = ()
    intercept: float | None = None
    share: float = 0.5
    independent: bool = True
    most: int | None = None
    date: int | None = None
    last_periods: int | None = None
    date_weights: tuple[tuple[int, float], ...] = ()

    def faults(self, outline: Outline) -> Iterator[Problem]:
        """Names, numbers of units and dates that the panel does not have."""
        yield from date_problems(self.date, self.last_periods, outline)
        if self.on == "covariates" and not self.covariates:
            yield fault('on = "covariates" without covariates', "names of covariates", "set covariates")
        for name in self.covariates:
            if name not in outline.covariates:
                yield unknown_covariate("covariates", name, outline)
            if name in outline.moved:
                yield fault(f"covariates names {name!r}, which the treatment moves", "a covariate that comes before it",
                            "name another, or set its bad_control = false")  # fmt: skip
        if self.most is not None and not 1 <= self.most < outline.units:
            yield fault(f"most = {self.most} of {outline.units} units", f"1 to {outline.units - 1}", "correct most")
        for period, weight in self.date_weights:
            if period not in outline.periods[1:] or not 0 < weight < np.inf:
                first, last = outline.periods[0], outline.periods[-1]
                allowed = f"periods after the first, {first} to {last}, each with a weight above 0"
                yield fault(f"date_weights: [{period}, {weight:g}]", allowed, "correct date_weights")
        if self.date_weights and (self.date is not None or self.last_periods is not None):
            yield fault("date_weights beside date or last_periods", "one of the three", "leave the others out")
        if not 0 < self.share < 1 and (self.intercept is None or not self.independent):
            yield fault(f"share = {self.share:g}", "more than 0, less than 1", "correct share")

    @property
    def follows(self) -> tuple[str, ...]:
        """The covariates that are scores."""
        return self.covariates if self.on == "covariates" else ()

    def first(self, ground: Ground, rng: np.random.Generator) -> Floats:
        """One draw of who adopts and when."""
        chances = self.chances(ground)
        if self.independent:
            chosen = drawn(chances, self.most, rng)
        else:
            with np.errstate(divide="ignore"):
                odds = np.log(chances) - np.log1p(-chances)
            count = max(round(self.share * ground.units), 1)
            chosen = np.argsort(-(odds + rng.gumbel(size=ground.units)))[:count]
        if not self.date_weights:
            return adopting(ground.units, chosen, one_date(self.date, self.last_periods, ground))
        periods, weights = np.array(self.date_weights, dtype=np.float64).T
        return adopting(ground.units, chosen, rng.choice(periods, size=len(chosen), p=weights / weights.sum()))

    def chances(self, ground: Ground) -> Floats:
        """The probability of each unit, (N,)."""
        x = scores(ground, self.on, self.covariates)
        slopes = np.array(self.coefficients) if self.coefficients else np.full(x.shape[1], self.strength)
        index = x @ self._fitting(slopes, x.shape[1])
        if self.intercept is not None:
            return expit(self.intercept + index)
        at = brentq(lambda level: float(expit(level + index).mean()) - self.share, -FARTHEST - np.abs(index).max(),
                    FARTHEST + np.abs(index).max())  # fmt: skip
        return expit(at + index)

    def _fitting(self, slopes: Floats, count: int) -> Floats:
        """The coefficients; raises BadInput where there are more or fewer than scores."""
        if len(slopes) != count:
            raise bad(f"{len(slopes)} coefficients of {count} scores", where="[design.adoption] coefficients",
                      allowed=f"{count} numbers", remedy="give one a score, or set strength")  # fmt: skip
        return slopes


def scores(ground: Ground, on: On, covariates: tuple[str, ...] = ()) -> Floats:
    """What units' probabilities depend on, (N, K); standardised, but for loadings of factors."""
    levels = ground.levels
    assert levels is not None, "levels are settled before adoption"
    if on == "factors":
        return levels.loadings
    if on == "covariates":
        return np.column_stack([standard(ground.covariates[name].mean(axis=0)) for name in covariates])
    values = levels.unit if on == "levels" else levels.trend
    if on == "neighbours":
        values = ground.main_weights.lag(levels.unit[None, None])[0, 0]
    return standard(values)[:, None]
