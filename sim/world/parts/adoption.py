"""Who is treated, when, and how strongly."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtr

from sim.arrays import Floats, persistent
from sim.errors import Problem, bad, listed
from sim.world.context import (
    FINITE,
    INSIDE,
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    DesignSummary,
    Part,
    WorldContext,
    fault,
    first_treated,
    standard,
    unknown_covariate,
)


class Adoption(Part):
    """The assignment of the treatment."""

    default: ClassVar[str] = "random"
    endogenous: ClassVar[bool] = False  # whether it follows the outcome's errors: every replication has its own
    treats: ClassVar[bool] = True  # whether there is a treatment at all
    continuous: ClassVar[bool] = False  # whether it has any strength, so that estimators find its effect a unit
    absorbing: ClassVar[bool] = False  # whether it is a dummy that stays 1 once it is 1

    @property
    def held_fixed(self) -> tuple[str, ...]:
        """Who is treated when, unless the design draws that anew."""
        return ("adoption",)

    @property
    def moved_by(self) -> tuple[str, ...]:
        """Covariates that are its instruments, and so no controls."""
        return ()

    @abstractmethod
    def path(self, context: WorldContext, rng: np.random.Generator) -> Floats:
        """One draw of the treatment, (T, N)."""


class Absorbing(Adoption):
    """Units that adopt once and stay treated."""

    absorbing: ClassVar[bool] = True

    @abstractmethod
    def first(self, context: WorldContext, rng: np.random.Generator) -> Floats:
        """One draw of the label of each unit's first treated period, (N,), inf = never."""

    def path(self, context: WorldContext, rng: np.random.Generator) -> Floats:
        """The dummy."""
        return (context.years[:, None] >= self.first(context, rng)).astype(np.float64)


def adopting(units: int, chosen: NDArray[np.intp], dates: Floats | float) -> Floats:
    """First periods (N,) of units of which some adopt at the given dates, inf for the others."""
    first = np.full(units, np.inf)
    first[chosen] = dates
    return first


def one_date(date: int | None, last_periods: int | None, context: WorldContext) -> float:
    """The period of a common adoption: as dialled, or the first of the last periods; the one after the middle else."""
    if date is not None:
        return float(date)
    periods = len(context.periods)
    return float(context.periods[periods - (last_periods or periods // 2)])


def date_problems(date: int | None, last_periods: int | None, summary: DesignSummary) -> Iterator[Problem]:
    """A date that is no period, or leaves none before it; no date does so in a single period."""
    if len(summary.periods) < 2:
        yield fault("periods = 1", "2 or more", 'correct periods, or say [design.adoption] kind = "never"')
        return
    first, last = summary.periods[0], summary.periods[-1]
    if date is not None and date not in summary.periods[1:]:
        yield fault(f"date = {date}", f"a period after the first, {first} to {last}", "correct date")
    if last_periods is not None and not 1 <= last_periods < len(summary.periods):
        yield fault(f"last_periods = {last_periods}", f"1 to {len(summary.periods) - 1}", "correct last_periods")
    if date is not None and last_periods is not None:
        yield fault("date and last_periods are both set", "one of the two", "leave one out")


def treated_problems(treated: int | None, summary: DesignSummary, most: int | None = None,
                     independent: bool = False) -> Iterator[Problem]:  # fmt: skip
    """More treated units than units, or nobody; a number of them where each unit's own draw decides it, and a bound on
    them where it does not."""
    for name, count in (("treated", treated), ("most", most)):
        if count is not None and not 1 <= count < summary.units:
            yield fault(f"{name} = {count} of {summary.units} units", f"1 to {summary.units - 1}", f"correct {name}")
    if treated is not None and independent:
        yield fault(f"treated = {treated} with independent = true", "one of the two", "leave one out")
    if most is not None and not independent:
        yield fault(f"most = {most} without independent", "independent = true", "set it, or leave most out")


# A given calendar: so many units at each date.


@dataclass(frozen=True, slots=True)
class Calendar(Absorbing):
    """Given numbers of units adopt at given dates; who does is drawn.

    dates: pairs of a period and the number of units that adopt in it, in the first one those that are always treated;
    at least two units must differ, and one adopt later. on_prosperity: how much likelier prosperous units
    adopt: the weight of prosperity beside a Gumbel draw in the score by which units are ranked; 0 is at random.
    """

    kind: ClassVar[str] = "calendar"
    ranges: ClassVar = {"on_prosperity": FINITE}

    dates: tuple[tuple[int, int], ...] = ()
    on_prosperity: float = 0.0

    def faults(self, summary: DesignSummary) -> Iterator[Problem]:
        """Dates that are no periods, more units than there are, and units that are all treated alike."""
        first, last = summary.periods[0], summary.periods[-1]
        for year, count in self.dates:
            if year not in summary.periods:
                yield fault(f"dates: {year}", f"periods, {first} to {last}", "correct dates")
            if count < 0:
                yield fault(f"dates: {count} units in {year}", "0 or more", "correct dates")
        total = sum(count for _, count in self.dates)
        found = {year for year, count in self.dates if count > 0}
        if total > summary.units or len(found) + (total < summary.units) < 2 or not found - {first}:
            what = f"dates treat {total} of {summary.units} units"
            allowed = f"up to {summary.units}, not all from one date on, and some after {first}"
            yield fault(what, allowed, "give pairs such as [2010, 12]")

    def first(self, context: WorldContext, rng: np.random.Generator) -> Floats:
        """Units by their score (Gumbel top-k), dates among them at random."""
        dates, several = _in_order(self.dates)
        score = self.on_prosperity * context.places.prosperity + rng.gumbel(size=context.units)
        chosen = (-score).argsort()[: dates.size]
        return adopting(context.units, chosen, rng.permutation(dates) if several else dates)


@lru_cache(maxsize=256)
def _in_order(dates: tuple[tuple[int, int], ...]) -> tuple[Floats, bool]:
    """The date of every unit that adopts, and whether they differ."""
    whole = np.repeat([year for year, _ in dates], [count for _, count in dates]).astype(np.float64)
    return whole, bool(np.ptp(whole))


# Whole groups that adopt together.


@dataclass(frozen=True, slots=True)
class ClusteredAdoption(Absorbing):
    """All units of some groups of the geography, chosen at random, adopt at one date.

    treated: how many groups adopt. share: of groups that adopt, where treated is not set. date: the first treated
    period; by default the one after the middle. last_periods: number of treated periods, in place of date.
    """

    kind: ClassVar[str] = "clustered"
    ranges: ClassVar = {"share": SHARE}

    treated: int | None = None
    share: float = 0.5
    date: int | None = None
    last_periods: int | None = None

    def faults(self, summary: DesignSummary) -> Iterator[Problem]:
        """Numbers of groups and dates that the panel does not have."""
        yield from date_problems(self.date, self.last_periods, summary)
        if summary.groups < 2:
            yield fault(f"whole groups adopt, but the geography has {summary.groups}", "2 groups or more",
                        "set groups in [design.geography]")  # fmt: skip
        elif not 1 <= self._count(summary.groups) < summary.groups:
            dial, value = ("share", self.share) if self.treated is None else ("treated", self.treated)
            yield fault(f"{dial} = {value:g} of {summary.groups} groups", f"1 to {summary.groups - 1} groups",
                        f"correct {dial}")  # fmt: skip

    def _count(self, groups: int) -> int:
        return round(self.share * groups) if self.treated is None else self.treated

    def first(self, context: WorldContext, rng: np.random.Generator) -> Floats:
        """One draw of the groups."""
        codes = context.places.group
        present = np.unique(codes)
        chosen = rng.permutation(present)[: self._count(len(present))]
        date = one_date(self.date, self.last_periods, context)
        return adopting(context.units, np.flatnonzero(np.isin(codes, chosen)), date)


# A treatment of any strength.


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
    continuous: ClassVar[bool] = True
    ranges: ClassVar = {"share": SHARE, "mean": POSITIVE, "sd": POSITIVE, "between": SHARE, "serial": INSIDE}

    share: float = 0.5
    date: int | None = None
    last_periods: int | None = None
    mean: float = 1.0
    sd: float = 0.5
    distribution: Literal["uniform", "lognormal"] = "uniform"
    between: float = 0.5
    serial: float = 0.0

    def faults(self, summary: DesignSummary) -> Iterator[Problem]:
        """Nobody with a dose, dates that the panel does not have, doses below 0."""
        yield from date_problems(self.date, self.last_periods, summary)
        if round(self.share * summary.units) < 1:
            yield fault(f"share = {self.share:g} of {summary.units} units", "a share of 1 unit or more",
                        "correct share")  # fmt: skip
        if self.distribution == "uniform" and not self.sd * np.sqrt(3) < self.mean:
            most = f"less than {self.mean / np.sqrt(3):.4g} with this mean, for doses are positive"
            yield fault(f"sd = {self.sd:g}", most, "correct sd, or use lognormal")

    def path(self, context: WorldContext, rng: np.random.Generator) -> Floats:
        """Doses of those that are chosen, 0 of the others."""
        (periods, units), out = context.shape, np.zeros(context.shape)
        chosen = rng.permutation(units)[: round(self.share * units)]
        own, shocks = rng.standard_normal(len(chosen)), rng.standard_normal((periods, len(chosen)))
        score = np.sqrt(self.between) * own + np.sqrt(1 - self.between) * persistent(shocks, self.serial)
        treated = context.years >= one_date(self.date, self.last_periods, context)
        if self.distribution == "uniform":
            doses = self.mean + self.sd * np.sqrt(12) * (ndtr(score) - 0.5)
        else:
            spread = np.log1p((self.sd / self.mean) ** 2)
            doses = self.mean * np.exp(np.sqrt(spread) * score - spread / 2)
        out[:, chosen] = treated[:, None] * doses
        return out


# A treatment of any strength that follows instruments, and the outcome's errors.


ROUNDING = 1e-26  # of squares, as a share of those before means were taken off, that rounding alone leaves


@dataclass(frozen=True, slots=True)
class InstrumentedDose(Adoption):
    """A continuous treatment that covariates move, its instruments, and that follows the outcome's errors.

    dose = mean + levels (unit and period effects) + strength sum z + v, v = sd (endogeneity e + sqrt(1 - endogeneity^2)
    own noise), e the outcome's error with variance 1 before it spreads, own noise as persistent as e. Its effect is
    effect.size a unit of dose, the truth of beta(TREATMENT). All units have doses.

    instruments: covariates; they are no controls of the panel. One with an effect of its own is no valid instrument.
    concentration: of the instruments, from which their common strength follows: mu^2 = strength^2 q'q / sd^2, q the sum
    of the instruments without unit and period effects (Stock, Wright and Yogo 2002): with K instruments, an expected F
    of 1 + mu^2/K where errors are independent; 0 is no relation. endogeneity: correlation of v and e. mean, sd: of the
    dose's own part. levels: factor of the outcome's unit and period effects in the dose.
    """

    kind: ClassVar[str] = "instrumented"
    endogenous: ClassVar[bool] = True
    held_fixed: ClassVar[tuple[str, ...]] = ()
    continuous: ClassVar[bool] = True
    ranges: ClassVar = {"concentration": NOT_NEGATIVE, "endogeneity": INSIDE, "mean": FINITE, "sd": POSITIVE,
                        "levels": FINITE}  # fmt: skip

    instruments: tuple[str, ...] = ("z",)
    concentration: float = 100.0
    endogeneity: float = 0.5
    mean: float = 0.0
    sd: float = 1.0
    levels: float = 1.0

    @property
    def moved_by(self) -> tuple[str, ...]:
        """The instruments."""
        return self.instruments

    def faults(self, summary: DesignSummary) -> Iterator[Problem]:
        """Instruments that are no covariates, that repeat, or that the treatment moves; too few cells."""
        if not self.instruments:
            yield fault("instruments = []", "names of covariates", "name one or more")
        for name in dict.fromkeys(self.instruments):
            if name not in summary.covariates:
                yield unknown_covariate("instruments", name, summary)
            if name in summary.moved:
                yield fault(f"instruments names {name!r}, which the treatment moves", "one that it leaves alone",
                            "name another, or set its bad_control = false")  # fmt: skip
        if len(set(self.instruments)) < len(self.instruments):
            yield fault("instruments names a covariate twice", "each once", "remove one")
        if len(summary.periods) < 2:
            yield fault("instruments that change over periods need two of them", "periods of 2 or more", "set periods")

    def signal(self, instruments: Sequence[Floats]) -> Floats:
        """What instruments (1 or R, T, N) add to the dose, of the same shape."""
        total = np.sum(np.broadcast_arrays(*instruments), axis=0)
        means = total.mean(axis=1, keepdims=True) + total.mean(axis=2, keepdims=True)
        within = total - means + total.mean(axis=(1, 2), keepdims=True)
        squares = np.square(within).sum(axis=(1, 2), keepdims=True)
        told = squares > ROUNDING * np.square(total).sum(axis=(1, 2), keepdims=True)
        strength = np.sqrt(self.concentration / np.where(told, squares, np.inf)) * self.sd
        return np.asarray(strength * total)

    def dose(self, signal: Floats, levels: Floats, errors: Floats, own: Floats) -> Floats:
        """Doses (R, T, N) of what instruments add, the outcome's levels (T, N), its errors and own noise, both with
        variance 1."""
        noise = self.endogeneity * errors + np.sqrt(1 - self.endogeneity**2) * own
        return np.asarray(self.mean + self.levels * (levels - levels.mean()) + signal + self.sd * noise)

    def path(self, context: WorldContext, rng: np.random.Generator) -> Floats:
        """What instruments give alone: doses of a replication need its errors. Raises BadInput where they are constant
        but for unit and period effects, so that no strength gives them the concentration."""
        signal = self.signal([context.covariates[name][None] for name in self.instruments])[0]
        if self.concentration and not signal.any():
            raise bad(f"instruments {listed(self.instruments)} have nothing but unit and period effects",
                      where="[design.adoption] instruments", allowed="covariates that change within units",
                      remedy="lower their between, or set concentration = 0")  # fmt: skip
        return self.mean + signal


# The treatment of the panel that is kept.


@dataclass(frozen=True, slots=True)
class AdoptionOfPanel(Absorbing):
    """The real calendar: who is treated when, as in the panel of the geography "kept".

    variable: the treatment there.
    """

    kind: ClassVar[str] = "kept"
    held_fixed: ClassVar[tuple[str, ...]] = ()

    variable: str = "did"

    def first(self, context: WorldContext, rng: np.random.Generator) -> Floats:
        """The first treated period of each unit; raises BadInput for a treatment that has none alone."""
        treatment = context.places.variable(self.variable, "[design.adoption] variable")
        first = first_treated(context.years, treatment > 0)
        if (treatment != (context.years[:, None] >= first)).any():
            raise bad(f"{self.variable!r} is not 0 before adoption and 1 from then on",
                      where="[design.adoption] variable", allowed="a treatment that stays",
                      remedy='use kind = "kept-paths"')  # fmt: skip
        return first


@dataclass(frozen=True, slots=True)
class PathsOfPanel(Adoption):
    """The real treatment of any strength, as in the panel of the geography "kept".

    Its effect is effect.size a unit of it. variable: the treatment there. permuted: whether units exchange their whole
    paths at random.
    """

    kind: ClassVar[str] = "kept-paths"
    continuous: ClassVar[bool] = True

    variable: str = "did"
    permuted: bool = False

    @property
    def held_fixed(self) -> tuple[str, ...]:
        """Nothing, unless paths are permuted and the design does not draw that anew."""
        return ("adoption",) if self.permuted else ()

    def path(self, context: WorldContext, rng: np.random.Generator) -> Floats:
        """The real paths, or the same in another order of units."""
        real = context.places.variable(self.variable, "[design.adoption] variable")
        return np.asarray(real[:, rng.permutation(context.units)] if self.permuted else real)


# No unit adopts.


@dataclass(frozen=True, slots=True)
class Never(Absorbing):
    """A panel without a treatment variable, as for models of covariates alone."""

    kind: ClassVar[str] = "never"
    held_fixed: ClassVar[tuple[str, ...]] = ()
    treats: ClassVar[bool] = False

    def first(self, context: WorldContext, rng: np.random.Generator) -> Floats:
        """Never, for all."""
        return np.full(context.units, np.inf)


# Units that adopt at random.


@dataclass(frozen=True, slots=True)
class Random(Absorbing):
    """A number of units, chosen at random, adopt at one date.

    treated: how many units adopt. share: of units that adopt, where treated is not set. independent: whether each unit
    adopts with probability share on its own, so that their number is random. most: with independent, the largest number
    that adopt; others, chosen at random, are left out, and where nobody adopts so many units do. date: the first
    treated period; by default the one after the middle. last_periods: number of treated periods, in place of date.
    dates: first and last period between which the common date is drawn, in place of date.
    """

    kind: ClassVar[str] = "random"
    ranges: ClassVar = {"share": SHARE}

    treated: int | None = None
    share: float = 0.5
    independent: bool = False
    most: int | None = None
    date: int | None = None
    last_periods: int | None = None
    dates: tuple[int, int] | None = None

    def faults(self, summary: DesignSummary) -> Iterator[Problem]:
        """Numbers of units and dates that the panel does not have."""
        yield from treated_problems(self.treated, summary, self.most, self.independent)
        yield from date_problems(self.date, self.last_periods, summary)
        if self.treated is None and not self.independent and not 1 <= round(self.share * summary.units) < summary.units:
            what = f"share = {self.share:g} of {summary.units} units"
            yield fault(what, "a share of 1 unit to all but 1", "correct share")
        if self.dates is not None:
            if self.date is not None or self.last_periods is not None:
                yield fault("dates beside date or last_periods", "one of the three", "leave the others out")
            low, high = self.dates
            if not (summary.periods[0] < low <= high <= summary.periods[-1]):
                allowed = f"two periods after the first, in order, up to {summary.periods[-1]}"
                yield fault(f"dates = [{low}, {high}]", allowed, "correct dates")

    def first(self, context: WorldContext, rng: np.random.Generator) -> Floats:
        """One draw of who adopts and when."""
        date = one_date(self.date, self.last_periods, context)
        if self.dates is not None:
            date = float(rng.integers(self.dates[0], self.dates[1] + 1))
        if self.independent:
            return adopting(context.units, drawn(np.full(context.units, self.share), self.most, rng), date)
        count = self.treated if self.treated is not None else round(self.share * context.units)
        return adopting(context.units, rng.permutation(context.units)[:count], date)


def drawn(chances: Floats, most: int | None, rng: np.random.Generator) -> np.ndarray:
    """Units that adopt with probabilities (N,), each on its own: at most `most` of them, so many where nobody does."""
    chosen = np.flatnonzero(rng.random(chances.size) < chances)
    if most is None:
        return chosen
    if not chosen.size:
        return rng.permutation(chances.size)[:most]
    return rng.permutation(chosen)[:most]


# Units that adopt with a probability that depends on what they are.


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

    def faults(self, summary: DesignSummary) -> Iterator[Problem]:
        """Names, numbers of units and dates that the panel does not have."""
        yield from date_problems(self.date, self.last_periods, summary)
        if self.on == "covariates" and not self.covariates:
            yield fault('on = "covariates" without covariates', "names of covariates", "set covariates")
        for name in self.covariates:
            if name not in summary.covariates:
                yield unknown_covariate("covariates", name, summary)
            if name in summary.moved:
                yield fault(f"covariates names {name!r}, which the treatment moves", "a covariate that comes before it",
                            "name another, or set its bad_control = false")  # fmt: skip
        yield from treated_problems(None, summary, self.most, self.independent)
        for period, weight in self.date_weights:
            if period not in summary.periods[1:] or not 0 < weight < np.inf:
                first, last = summary.periods[0], summary.periods[-1]
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

    def first(self, context: WorldContext, rng: np.random.Generator) -> Floats:
        """One draw of who adopts and when."""
        chances = self.chances(context)
        if self.independent:
            chosen = drawn(chances, self.most, rng)
        else:
            with np.errstate(divide="ignore"):
                odds = np.log(chances) - np.log1p(-chances)
            count = max(round(self.share * context.units), 1)
            chosen = np.argsort(-(odds + rng.gumbel(size=context.units)))[:count]
        if not self.date_weights:
            return adopting(context.units, chosen, one_date(self.date, self.last_periods, context))
        periods, weights = np.array(self.date_weights, dtype=np.float64).T
        return adopting(context.units, chosen, rng.choice(periods, size=len(chosen), p=weights / weights.sum()))

    def chances(self, context: WorldContext) -> Floats:
        """The probability of each unit, (N,); raises BadInput for more or fewer coefficients than scores."""
        from scipy.optimize import brentq  # a tenth of a second that most runs do without

        x = scores(context, self.on, self.covariates)
        slopes = np.array(self.coefficients) if self.coefficients else np.full(x.shape[1], self.strength)
        count = x.shape[1]
        if len(slopes) != count:
            raise bad(f"{len(slopes)} coefficients of {count} scores", where="[design.adoption] coefficients",
                      allowed=f"{count} numbers", remedy="give one a score, or set strength")  # fmt: skip
        index = x @ slopes
        if self.intercept is not None:
            return expit(self.intercept + index)
        at = brentq(lambda level: float(expit(level + index).mean()) - self.share, -FARTHEST - np.abs(index).max(),
                    FARTHEST + np.abs(index).max())  # fmt: skip
        return expit(at + index)


def scores(context: WorldContext, on: On, covariates: tuple[str, ...] = ()) -> Floats:
    """What units' probabilities depend on, (N, K); standardised, but for loadings of factors."""
    levels = context.levels
    assert levels is not None, "levels are settled before adoption"
    if on == "factors":
        return levels.loadings
    if on == "covariates":
        return np.column_stack([standard(context.covariates[name].mean(axis=0)) for name in covariates])
    values = levels.unit if on == "levels" else levels.trend
    if on == "neighbours":
        values = context.main_weights.lag(levels.unit[None, None])[0, 0]
    return standard(values)[:, None]


# Cohorts that adopt one after another.


@dataclass(frozen=True, slots=True)
class StaggeredAdoption(Absorbing):
    """Cohorts of units, chosen at random, adopt at their own dates; the others never do.

    cohorts: how many there are, evenly spaced over the periods, or a list of their first treated periods. never: share
    of units that are never treated; 0 treats all. shares: of the units that adopt, those of each cohort in order; by
    default equal ones. Sizes are rounded by largest remainders.
    """

    kind: ClassVar[str] = "staggered"
    ranges: ClassVar = {"never": SHARE, "shares": NOT_NEGATIVE}

    cohorts: int | tuple[int, ...] = 3
    never: float = 0.4
    shares: tuple[float, ...] = ()

    def faults(self, summary: DesignSummary) -> Iterator[Problem]:
        """Dates that are no periods, more cohorts than there is room for, shares that do not fit."""
        periods, first, last = summary.periods, summary.periods[0], summary.periods[-1]
        yield from date_problems(None, None, summary)
        if isinstance(self.cohorts, tuple):
            if wrong := [date for date in self.cohorts if date not in periods[1:]]:
                yield fault(f"cohorts: {wrong[0]}", f"periods after the first, {first} to {last}", "correct cohorts")
            if not self.cohorts or len(set(self.cohorts)) < len(self.cohorts):
                yield fault(f"cohorts = {[*self.cohorts]}", "one period or more, each once", "correct cohorts")
        elif len(periods) > 1 and not 1 <= self.cohorts < len(periods):
            what = f"cohorts = {self.cohorts} in {len(periods)} periods"
            yield fault(what, f"1 to {len(periods) - 1}", "choose fewer cohorts")
        if self.shares and (len(self.shares) != self.count or abs(sum(self.shares) - 1) > 1e-9):
            what = f"shares: {len(self.shares)} that sum to {sum(self.shares):g}"
            yield fault(what, f"{self.count} shares that sum to 1", "correct shares")
        if not 1 <= self.treated(summary.units) <= summary.units:
            yield fault(f"never = {self.never:g} of {summary.units} units", "a share that leaves a unit to adopt",
                        "correct never")  # fmt: skip

    @property
    def count(self) -> int:
        """How many cohorts."""
        return len(self.cohorts) if isinstance(self.cohorts, tuple) else self.cohorts

    def treated(self, units: int) -> int:
        """How many units adopt."""
        return units - round(self.never * units)

    def first(self, context: WorldContext, rng: np.random.Generator) -> Floats:
        """Units in a random order fill one cohort after the other."""
        count = self.treated(context.units)
        shares = np.array(self.shares) if self.shares else np.full(self.count, 1 / self.count)
        periods = context.periods
        if isinstance(self.cohorts, tuple):
            dates = np.array(self.cohorts, dtype=np.float64)
        else:
            at = [number * len(periods) // (self.cohorts + 1) for number in range(1, self.cohorts + 1)]
            dates = np.array([periods[max(index, 1)] for index in at], dtype=np.float64)
        dates = np.repeat(dates, sizes_of(shares, count))
        return adopting(context.units, rng.permutation(context.units)[:count], dates)


def sizes_of(shares: Floats, total: int) -> NDArray[np.intp]:
    """Whole numbers in these shares that sum to a total, by largest remainders (ties: the earlier)."""
    exact = np.round(shares * total, 9)
    sizes = np.floor(exact)
    remainders = np.round(exact - sizes, 9)  # equal ones stay equal whatever stands before the point
    sizes[np.argsort(-remainders, kind="stable")[: total - int(sizes.sum())]] += 1
    return sizes.astype(np.intp)


# A treatment that switches on and off.


@dataclass(frozen=True, slots=True)
class Switching(Adoption):
    """A dummy of some units that comes and goes; nobody is treated in the first period.

    on: probability that an untreated unit is treated in the next period. off: probability that a treated one is not.
    share: of units that may be treated at all, chosen at random. Where nobody ever is, one of them is in the last
    period.
    """

    kind: ClassVar[str] = "switching"
    ranges: ClassVar = {"on": SHARE, "off": SHARE, "share": SHARE}

    on: float = 0.2
    off: float = 0.3
    share: float = 1.0

    def faults(self, summary: DesignSummary) -> Iterator[Problem]:
        """Nobody who may be treated, or a panel of one period."""
        if len(summary.periods) < 2:
            yield fault("a treatment that switches on needs an earlier period", "periods of 2 or more", "set periods")
        if round(self.share * summary.units) < 1:
            yield fault(f"share = {self.share:g} of {summary.units} units", "a share of 1 unit or more",
                        "correct share")  # fmt: skip

    def path(self, context: WorldContext, rng: np.random.Generator) -> Floats:
        """A chain of two states a unit."""
        (periods, units), out = context.shape, np.zeros(context.shape)
        may = rng.permutation(units)[: round(self.share * units)]
        moves = rng.random((periods, len(may)))
        for t in range(1, periods):
            treated = out[t - 1, may] > 0
            out[t, may] = np.where(treated, moves[t] >= self.off, moves[t] < self.on)
        if not out.any():
            out[-1, may[0]] = 1.0
        return out
