"""Who is treated, when, and how strongly."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sim.arrays import Floats
from sim.designs.parts.ground import Ground
from sim.designs.parts.part import Outline, Part, fault
from sim.errors import Problem


class Adoption(Part):
    """The assignment of the treatment."""

    default: ClassVar[str] = "random"

    @property
    def held_fixed(self) -> tuple[str, ...]:
        """Who is treated when, unless the design draws that anew."""
        return ("adoption",)

    @property
    def absorbing(self) -> bool:
        """Whether it is a dummy that stays 1 once it is 1."""
        return False

    @property
    def continuous(self) -> bool:
        """Whether it has any strength, so that estimators find its effect a unit."""
        return False

    @property
    def treats(self) -> bool:
        """Whether there is a treatment at all."""
        return True

    @abstractmethod
    def path(self, ground: Ground, rng: np.random.Generator) -> Floats:
        """One draw of the treatment, (T, N)."""


class Absorbing(Adoption):
    """Units that adopt once and stay treated."""

    @property
    def absorbing(self) -> bool:
        """They stay treated."""
        return True

    @abstractmethod
    def first(self, ground: Ground, rng: np.random.Generator) -> Floats:
        """One draw of the label of each unit's first treated period, (N,), inf = never."""

    def path(self, ground: Ground, rng: np.random.Generator) -> Floats:
        """The dummy."""
        return (ground.years[:, None] >= self.first(ground, rng)).astype(np.float64)


def adopting(units: int, chosen: NDArray[np.intp], dates: Floats | float) -> Floats:
    """First periods (N,) of units of which some adopt at the given dates, inf for the others."""
    first = np.full(units, np.inf)
    first[chosen] = dates
    return first


def one_date(date: int | None, last_periods: int | None, ground: Ground) -> float:
    """The period of a common adoption: as dialled, or the first of the last periods; the one after the middle else."""
    if date is not None:
        return float(date)
    periods = len(ground.periods)
    return float(ground.periods[periods - (last_periods or periods // 2)])


def date_problems(date: int | None, last_periods: int | None, outline: Outline) -> Iterator[Problem]:
    """A date that is no period, or leaves none before it."""
    first, last = outline.periods[0], outline.periods[-1]
    if date is not None and date not in outline.periods[1:]:
        yield fault(f"date = {date}", f"a period after the first, {first} to {last}", "correct date")
    if last_periods is not None and not 1 <= last_periods < len(outline.periods):
        yield fault(f"last_periods = {last_periods}", f"1 to {len(outline.periods) - 1}", "correct last_periods")
    if date is not None and last_periods is not None:
        yield fault("date and last_periods are both set", "one of the two", "leave one out")


def treated_problems(treated: int | None, outline: Outline) -> Iterator[Problem]:
    """More treated units than units, or nobody."""
    if treated is not None and not 1 <= treated < outline.units:
        yield fault(f"treated = {treated} of {outline.units} units", f"1 to {outline.units - 1}", "correct treated")
