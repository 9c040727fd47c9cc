"""Unit-periods that are not observed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from sim.arrays import Floats
from sim.errors import Problem
from sim.streams import Streams
from sim.world.context import FINITE, SHARE, DesignSummary, Part, WorldContext, fault


class MissingPart(Part):
    """Which unit-periods are observed."""

    default: ClassVar[str] = "pattern"

    @property
    @abstractmethod
    def some(self) -> bool:
        """Whether any is missing."""

    @property
    def held_fixed(self) -> tuple[str, ...]:
        """The pattern, unless it follows the outcome."""
        return ("unit-periods that are missing",) if self.some and not self.follows_outcome else ()

    @property
    @abstractmethod
    def follows_outcome(self) -> bool:
        """Whether it depends on the outcome, so that it differs between replications."""

    @abstractmethod
    def fixed(self, context: WorldContext, rng: np.random.Generator) -> Floats:
        """1 where observed, 0 elsewhere, (T, N), of a pattern that does not depend on the outcome."""

    @abstractmethod
    def drawn(self, outcome: Floats, streams: Streams) -> Floats:
        """The same of a pattern that depends on the outcome (R, T, N), (R, T, N)."""


# Gaps at random, late entry, dropout, and gaps that depend on the outcome.


@dataclass(frozen=True, slots=True)
class Pattern(MissingPart):
    """A share of unit-periods is not observed; every unit is in one period at least.

    Truths that are means over unit-periods (att, event(K), spill(...), nie, ...) are means over those that are
    observed, as on a real panel: they describe the rows that there are. What a unit would have been without treatment,
    and its adoption, are those of the whole world.

    share: of unit-periods that are missing, in expectation for entry and dropout. pattern: random (any) | entry (units
    appear late) | dropout (units disappear) | on_outcome (the higher the outcome, the likelier it is missing; drawn in
    every replication, the others once a world). slope: with on_outcome, the weight of the standardised outcome beside
    a standard normal in the score whose highest values are missing, but for the lowest of each unit.
    """

    kind: ClassVar[str] = "pattern"
    ranges: ClassVar = {"share": SHARE, "slope": FINITE}

    share: float = 0.0
    pattern: Literal["random", "entry", "dropout", "on_outcome"] = "random"
    slope: float = 1.0

    def faults(self, summary: DesignSummary) -> Iterator[Problem]:
        """More missing than leaves every unit in a period."""
        periods = len(summary.periods)
        most = 0.5 if self.pattern in ("entry", "dropout") else (periods - 1) / periods
        if self.some and periods < 2:
            yield fault(f"share = {self.share:g} of a panel of one period", "0", "leave share out")
        elif self.share > most:
            yield fault(f"share = {self.share:g}", f'0 to {most:.4g} with pattern = "{self.pattern}"', "correct share")
        if self.follows_outcome and summary.indicators:
            yield fault('pattern = "on_outcome" with indicators, whose index needs the observed unit-periods first',
                        "random, entry, dropout", "choose one of them")  # fmt: skip

    @property
    def some(self) -> bool:
        """With a share."""
        return self.share > 0

    @property
    def follows_outcome(self) -> bool:
        """on_outcome."""
        return self.some and self.pattern == "on_outcome"

    def fixed(self, context: WorldContext, rng: np.random.Generator) -> Floats:
        """One draw of the pattern."""
        (periods, units), seen = context.shape, np.ones(context.shape)
        if self.pattern == "random":
            return self._without(rng.random(context.shape))
        late = rng.permutation(units)[: round(2 * self.share * units)]
        gaps = rng.integers(1, periods, size=len(late))  # of T / 2 periods on average
        at = np.arange(periods)[:, None]
        seen[:, late] = at >= gaps if self.pattern == "entry" else at < periods - gaps
        return seen

    def drawn(self, outcome: Floats, streams: Streams) -> Floats:
        """The highest scores of each replication are missing."""
        out = np.empty(outcome.shape)
        for row, (values, rng) in enumerate(zip(outcome, streams.each("missing"), strict=True)):
            spread = values.std()
            score = (values - values.mean()) / (spread if spread > 0 else 1.0)
            out[row] = self._without(self.slope * score + rng.standard_normal(values.shape))
        return out

    def _without(self, score: Floats) -> Floats:
        """1 but for the highest scores (T, N), in their share; the lowest of each unit stays."""
        units = score.shape[1]
        kept = score.copy()
        kept[score.argmin(axis=0), np.arange(units)] = -np.inf
        seen = np.ones(score.size)
        count = min(round(self.share * score.size), score.size - units)
        seen[np.argsort(-kept, axis=None, kind="stable")[:count]] = 0.0
        return seen.reshape(score.shape)
