"""Indicators of which the outcome is made."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from sim.arrays import Floats
from sim.errors import Problem, closest, one_of
from sim.index import CellNames, entropy_index
from sim.streams import Streams
from sim.world.context import FINITE, NOT_NEGATIVE, DesignSummary, Part, fault


@dataclass(frozen=True, slots=True)
class IndicatorsPart(Part):
    """What an outcome that is an index is made of; without names the outcome is what the world draws."""

    default: ClassVar[str] = "entropy"

    names: tuple[str, ...] = ()

    @abstractmethod
    def errors(self, shape: tuple[int, int], streams: Streams) -> dict[str, Floats]:
        """What each indicator has of its own, (R, T, N), of a panel's shape (T, N)."""

    @abstractmethod
    def values(self, outcome: Floats, untreated: Floats, errors: dict[str, Floats]) -> dict[str, Floats]:
        """The indicators where the outcome is `outcome` (R, T, N) and would be `untreated` without treatment."""

    @abstractmethod
    def index(self, indicators: dict[str, Floats], observed: Floats | None) -> Floats:
        """The index of the indicators over the observed unit-periods (1, T, N), (R, T, N)."""


# An entropy-weight index of noisy indicators.


@dataclass(frozen=True, slots=True)
class Entropy(IndicatorsPart):
    """The outcome becomes the entropy-weight index H of indicators x_j = loading_j y + noise e_j of the world's y.

    The effect of the treatment is H(Y(d)) - H(Y(0)), each index scaled and weighted by its own indicators, so that the
    outcomes of untreated units may change too. Coefficients of y are none of H, and have no truth.

    names: of the indicators; none leaves the outcome as it is. loadings: of the indicators; 1 by default. treated:
    names of those that the treatment moves; all by default, and the others follow y without treatment. negative: names
    of those of which less is better; their loadings count with the other sign. noise: standard deviation of e_j.
    """

    kind: ClassVar[str] = "entropy"
    ranges: ClassVar = {"loadings": FINITE, "noise": NOT_NEGATIVE}

    loadings: tuple[float, ...] = ()
    treated: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()
    noise: float = 0.5

    def faults(self, summary: DesignSummary) -> Iterator[Problem]:
        """Names and loadings that do not fit, indicators that do not vary."""
        if self.loadings and len(self.loadings) != len(self.names):
            yield fault(f"{len(self.loadings)} loadings of {len(self.names)} indicators", f"{len(self.names)} numbers",
                        "give one an indicator")  # fmt: skip
        for dial in ("treated", "negative"):
            for name in getattr(self, dial):
                if name not in self.names:
                    yield fault(f"{dial} names no indicator: {name!r}", one_of(self.names, name),
                      closest(name, self.names))  # fmt: skip
        if not self.noise and 0 in self.loadings:
            yield fault("an indicator with loading 0 and noise 0 never varies", "a loading or noise", "set noise")
        if self.names and summary.units * len(summary.periods) < 2:
            yield fault("an index of one unit-period", "2 unit-periods or more", "add units or periods")

    def errors(self, shape: tuple[int, int], streams: Streams) -> dict[str, Floats]:
        """noise e."""
        return {name: self.noise * streams.normals(f"indicator {name}", *shape) for name in self.names if self.noise}

    def values(self, outcome: Floats, untreated: Floats, errors: dict[str, Floats]) -> dict[str, Floats]:
        """loading y + noise e, with the sign that makes more of y a better value."""
        found = {}
        for name, loading in zip(self.names, self.loadings or (1.0,) * len(self.names), strict=True):
            moved = not self.treated or name in self.treated
            sign = -1.0 if name in self.negative else 1.0
            found[name] = sign * loading * (outcome if moved else untreated) + errors.get(name, 0.0)
        return found

    def index(self, indicators: dict[str, Floats], observed: Floats | None) -> Floats:
        """Equations 1 to 7 of the paper, in every replication on its own."""
        positive = {name: x for name, x in indicators.items() if name not in self.negative}
        negative = {name: x for name, x in indicators.items() if name in self.negative}
        seen = None if observed is None else observed > 0
        return entropy_index(positive, negative, observed=seen, cells=CellNames("[design.indicators]")).score
