"""Covariates: what else moves the outcome."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
from scipy.special import ndtr

from sim.arrays import Floats, beta_variates, persistent
from sim.errors import Problem
from sim.streams import LATER, Streams
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
    smooth,
    standard,
)

# Values of a covariate of one world without treatment: fixed ones (1, T, N), or drawn ones (R, T, N) where streams are
# given.
SettledCovariate = Callable[[Streams | None], Floats]


@dataclass(frozen=True, slots=True)
class Covariate(Part):
    """A covariate and what it does to the outcome."""

    default: ClassVar[str] = "normal"

    name: str = "x"
    effect: float = 0.0
    lag_effect: float = 0.0
    bad_control: bool = False
    moved: float = 1.0

    def faults(self, summary: DesignSummary) -> Iterator[Problem]:
        """Numbers out of range, a lag without W."""
        for dial in ("effect", "lag_effect", "moved"):
            if not FINITE.holds(getattr(self, dial)):
                yield fault(f"{dial} = {getattr(self, dial)}", FINITE.words, f"correct {dial}")
        if not self.name:
            yield fault("name is empty", "a name", "name the covariate")

    @property
    def held_fixed(self) -> tuple[str, ...]:
        """Its values, unless the design draws them anew."""
        return ("covariates",)

    @property
    def has_unit_part(self) -> bool:
        """Whether units differ in what stays where the covariate is drawn anew in every replication."""
        return True

    @property
    def size_attribute(self) -> str:
        """The attribute of the panel that holds sizes of units made of it; "" for none."""
        return ""

    @property
    def shift(self) -> float:
        """What the treatment adds to the covariate."""
        return self.moved if self.bad_control else 0.0

    def acting(self, values: Floats) -> Floats:
        """What the coefficients multiply, of values (1 or R, T, N)."""
        return values

    @abstractmethod
    def settle(self, context: WorldContext, streams: Streams) -> SettledCovariate:
        """Draw what the world holds fixed of it, and return what draws its values."""


# A covariate within bounds, with published moments.


@dataclass(frozen=True, slots=True)
class BoundedCovariate(Covariate):
    """A covariate with a given mean, standard deviation, smallest and largest value: a scaled beta variate.

    name: of the variable. effect: its coefficient in the outcome. lag_effect: coefficient of its spatial lag.
    bad_control: whether the treatment moves it. moved: by how much, where it does. mean, sd, low, high: of its values,
    as in a table of descriptive statistics. between: share of the variance of its score between units. trend_share:
    share of a common linear trend. on_prosperity: weight of prosperity beside one unit of noise in the units' part.
    """

    kind: ClassVar[str] = "bounded"
    ranges: ClassVar = {
        "mean": FINITE, "sd": POSITIVE, "low": FINITE, "high": FINITE, "between": SHARE, "trend_share": SHARE,
        "on_prosperity": FINITE,
    }  # fmt: skip

    mean: float = 0.5
    sd: float = 0.2
    low: float = 0.0
    high: float = 1.0
    between: float = 0.7
    trend_share: float = 0.1
    on_prosperity: float = 0.5

    def faults(self, summary: DesignSummary) -> Iterator[Problem]:
        """Moments that no variable between the bounds has, shares above one."""
        yield from Covariate.faults(self, summary)
        if not self.low < self.mean < self.high:
            yield fault(f"mean = {self.mean:g} outside {self.low:g} to {self.high:g}", "low < mean < high",
                        "correct mean, low or high")  # fmt: skip
        elif self.sd**2 >= (most := (self.mean - self.low) * (self.high - self.mean)):
            yield fault(f"sd = {self.sd:g} is too large for its bounds", f"less than {np.sqrt(most):.4g}", "correct sd")
        if self.between + self.trend_share > 1:
            yield fault("between and trend_share sum to more than 1", "a sum up to 1", "correct one of them")

    def settle(self, context: WorldContext, streams: Streams) -> SettledCovariate:
        """The units' part, and values that do not change between replications."""
        rng = streams.fixed(f"covariate {self.name}")
        unit = standard(self.on_prosperity * context.places.prosperity + rng.standard_normal(context.units))
        trend = standard(np.arange(len(context.periods), dtype=np.float64))[:, None]
        base = np.sqrt(self.between) * unit + np.sqrt(self.trend_share) * trend
        own = np.sqrt(1.0 - self.between - self.trend_share)

        def made(noise: Floats) -> Floats:
            return beta_variates(noise, self.mean, self.sd, self.low, self.high, base=base, scale=own)

        fixed = made(rng.standard_normal((1, *context.shape)))

        def values(streams: Streams | None) -> Floats:
            return fixed if streams is None else made(streams.normals(f"covariate {self.name}", *context.shape))

        return values


# A covariate of the panel that is kept.


@dataclass(frozen=True, slots=True)
class CovariateOfPanel(Covariate):
    """A variable that the panel of the geography "kept" holds, the same in every replication.

    name: of the variable. effect: its coefficient in the outcome. lag_effect: coefficient of its spatial lag.
    bad_control: whether the treatment moves it. moved: by how much, where it does. within: whether the coefficients act
    on deviations from the means of units and periods alone, so that levels hold all that lies between them.
    """

    kind: ClassVar[str] = "kept"
    held_fixed: ClassVar[tuple[str, ...]] = ()

    within: bool = False

    def faults(self, summary: DesignSummary) -> Iterator[Problem]:
        """What every covariate may have wrong, and a treatment that moves the levels too."""
        yield from Covariate.faults(self, summary)
        if self.within and self.bad_control:
            yield fault("within = true of a covariate that the treatment moves", "one of the two",
                        "leave within or bad_control out")  # fmt: skip

    def acting(self, values: Floats) -> Floats:
        """The values, or their deviations."""
        if not self.within:
            return values
        means = values.mean(axis=1, keepdims=True) + values.mean(axis=2, keepdims=True)
        return values - means + values.mean(axis=(1, 2), keepdims=True)

    def settle(self, context: WorldContext, streams: Streams) -> SettledCovariate:
        """The values, which do not change; raises BadInput where the panel lacks the variable."""
        kept = context.places.variable(self.name, f"[[design.covariates]] {self.name}")[None]

        def values(streams: Streams | None) -> Floats:
            return kept

        return values


# A normal covariate, or a function of one.


LawOfValues = Literal["normal", "uniform", "lognormal", "binary"]


@dataclass(frozen=True, slots=True)
class Normal(Covariate):
    """A covariate with a part of units, a part of groups and a part that changes over periods.

    name: of the variable. effect: its coefficient in the outcome. lag_effect: coefficient of its spatial lag.
    bad_control: whether the treatment moves it. moved: by how much, where it does. mean, sd: of its values, over all
    units where they differ by their places in W; there a lognormal one varies more.
    between: share of its variance between units. group_share: share of its variance that units of a group have in
    common in a period. serial: first-order autocorrelation of what changes over periods. spatial: spatial coefficient
    over W, of both parts. on_prosperity: correlation of the units' part with prosperity before it is spread over
    neighbours. distribution: of its values: normal | uniform | lognormal | binary (1 where the score is above 0; mean
    and sd are then not used). attribute: the name of an attribute of units, which is then exp(z), z the covariate's
    standardised mean of a unit: sizes, such as ferman-pinto:NAME takes them.
    """

    kind: ClassVar[str] = "normal"
    ranges: ClassVar = {
        "mean": FINITE, "sd": NOT_NEGATIVE, "between": SHARE, "group_share": SHARE, "serial": INSIDE,
        "spatial": INSIDE, "on_prosperity": INSIDE,
    }  # fmt: skip

    mean: float = 0.0
    sd: float = 1.0
    between: float = 0.5
    group_share: float = 0.0
    serial: float = 0.0
    spatial: float = 0.0
    on_prosperity: float = 0.0
    distribution: LawOfValues = "normal"
    attribute: str = field(default="", metadata={LATER: True})

    @property
    def size_attribute(self) -> str:
        """`attribute`."""
        return self.attribute

    def faults(self, summary: DesignSummary) -> Iterator[Problem]:
        """What every covariate may have wrong, and shares above one."""
        yield from Covariate.faults(self, summary)
        if max(self.between, self.group_share) <= 1 < self.between + self.group_share:
            yield fault("between and group_share sum to more than 1", "a sum up to 1", "correct one of them")

    @property
    def has_unit_part(self) -> bool:
        """With a share between units."""
        return self.between > 0

    def settle(self, context: WorldContext, streams: Streams) -> SettledCovariate:
        """The units' part, and values that do not change between replications."""
        rng, (periods, units), group = streams.fixed(f"covariate {self.name}"), context.shape, context.places.group
        own = np.sqrt(1 - self.on_prosperity**2) * rng.standard_normal(units)
        unit = smooth(context, self.on_prosperity * context.places.prosperity + own, self.spatial)
        count, grouped = int(group.max()) + 1, self.group_share > 0
        shocks = rng.standard_normal((1, periods, units)), rng.standard_normal((1, periods, count))

        # what brings the mean variance of the part that changes, spread over space, back to its share
        spatial, changing, shrinkage = context.spatial(self.spatial), max(1.0 - self.between, 0.0), 1.0
        if spatial is not None and changing:
            members = np.equal.outer(group, np.unique(group)).astype(np.float64)
            alone = max(changing - self.group_share, 0.0) * np.square(spatial.multiplier).sum()
            shared = self.group_share * np.square(spatial.multiplier @ members).sum()
            shrinkage = float(np.sqrt(changing * units / (alone + shared)))

        def made(own: Floats, of_groups: Floats) -> Floats:
            """Values of shocks of units (R, T, N) and of groups (R, T, G)."""
            within = max(1.0 - self.between - self.group_share, 0.0)  # -1e-17 where rounding sums shares to more than 1
            score = np.sqrt(within) * own
            if grouped:
                score += np.sqrt(self.group_share) * of_groups[:, :, group]
            score = persistent(score, self.serial)
            if spatial is not None:
                score = shrinkage * spatial.apply(score)
            return self.curve(score + np.sqrt(self.between) * unit)

        fixed = made(*shocks)

        def values(streams: Streams | None) -> Floats:
            if streams is None:
                return fixed
            own = streams.normals(f"covariate {self.name}", periods, units)
            return made(own, streams.normals(f"covariate {self.name} of groups", periods, count if grouped else 0))

        return values

    def curve(self, score: Floats) -> Floats:
        """The function of standard normal scores that the distribution is."""
        match self.distribution:
            case "normal":
                return self.mean + self.sd * score
            case "uniform":
                return np.asarray(self.mean + self.sd * np.sqrt(12) * (ndtr(score) - 0.5))
            case "lognormal":  # moved to the mean and stretched to the standard deviation of a standard score
                return np.asarray(self.mean + self.sd * (np.exp(score) - np.exp(0.5)) / np.sqrt((np.e - 1) * np.e))
            case "binary":
                return (score > 0).astype(np.float64)
