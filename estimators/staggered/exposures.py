"""How others' treatment reaches a unit: the share of treated neighbours, or the ring around the nearest treated one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from estimators.core.error_types import PLACE
from sim.arrays import Floats
from sim.errors import bad
from sim.panel import Panel
from sim.weights import great_circle_km, within_km

Reach = Literal["both", "untreated"]


class Exposure(ABC):
    """How others' treatment reaches a unit; frozen, compared by value."""

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """The exposures' names, (J,)."""

    @property
    @abstractmethod
    def spills(self) -> tuple[str, ...]:
        """Whose mean spillovers are reported: treated, untreated."""

    @abstractmethod
    def values(self, panel: Panel, did: Floats) -> Floats:
        """E of a treatment path (1 or R, T, N), (1 or R, J, T, N)."""

    @abstractmethod
    def check(self, panel: Panel, did: Floats, asked_by: str) -> None:
        """Raise BadInput for one treatment path (T, N) on which an exposure is empty or reaches everybody."""


@dataclass(frozen=True, slots=True)
class NeighbourShare(Exposure):
    """W D."""

    weights: str

    @property
    def names(self) -> tuple[str, ...]:
        """w_did."""
        return ("w_did",)

    @property
    def spills(self) -> tuple[str, ...]:
        """Both."""
        return ("treated", "untreated")

    def values(self, panel: Panel, did: Floats) -> Floats:
        """The lag of D."""
        return panel.weights[self.weights].lag(did)[:, None]

    def check(self, panel: Panel, did: Floats, asked_by: str) -> None:
        """Every treated unit has neighbours, since W has no empty rows: collinearity alone can spoil it."""


@dataclass(frozen=True, slots=True)
class DistanceRings(Exposure):
    """Dummies of the ring that the nearest other treated unit lies in: [0, ends[0]], (ends[0], ends[1]], ... in km."""

    ends: tuple[float, ...]
    reach: Reach

    @property
    def names(self) -> tuple[str, ...]:
        """E.g. untreated:0-100 and treated:0-100."""
        rings = [f"{low:g}-{high:g}" for low, high in pairwise((0.0, *self.ends))]
        return tuple(f"{who}:{ring}" for who in reversed(self.spills) for ring in rings)

    @property
    def spills(self) -> tuple[str, ...]:
        """The untreated, and the treated if they have rings too."""
        return ("treated", "untreated") if self.reach == "both" else ("untreated",)

    def values(self, panel: Panel, did: Floats) -> Floats:
        """A ring holds a unit when one treated lies within its outer but none within its inner end."""
        distance = great_circle_km(*(panel.attributes[name].astype(np.float64) for name in PLACE))
        np.fill_diagonal(distance, np.inf)
        within = [did @ within_km(distance, end).astype(np.float64) > 0 for end in self.ends]
        rings = [within[0], *(outer & ~inner for inner, outer in pairwise(within))]
        sides = [side * ring for side in ([1 - did, did] if self.reach == "both" else [1 - did]) for ring in rings]
        return np.stack(sides, axis=1)

    def check(self, panel: Panel, did: Floats, asked_by: str) -> None:
        """Every ring holds a unit, and beyond the last lie some of those that have rings."""
        coordinates = np.array([panel.attributes[name] for name in PLACE], dtype=np.float64)
        if not np.isfinite(coordinates).all():
            raise bad("coordinates are missing", where=asked_by, allowed="longitude and latitude in degrees of every "
                      "unit", remedy="fill them")  # fmt: skip
        exposures = self.values(panel, did[None])[0]
        for name, exposure in zip(self.names, exposures, strict=True):
            if not exposure.any():
                who, _, ring = name.partition(":")
                raise bad(f"no {who} unit lies {ring} km from the nearest other treated unit", where=f"{asked_by} ends",
                          allowed="rings that hold units", remedy="widen or drop that ring"
                          + (', or set reach = "untreated"' if who == "treated" else ""))  # fmt: skip
        beyond = ~exposures.any(axis=0) & did.any(axis=1)[:, None]
        far = {"untreated": beyond & (did == 0), "treated": beyond & (did > 0)}
        for who in self.spills:
            if not far[who].any():
                raise bad(f"no {who} unit lies beyond the last ring", where=f"{asked_by} ends",
                          allowed=f"rings that leave some {who} out", remedy="end the rings earlier")  # fmt: skip
