"""Who is whose neighbour: the true W, and others that estimators may assume."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from sim.designs.parts.ground import Places
from sim.designs.parts.part import Part
from sim.weights import Weights


class WeightsPart(Part):
    """A spatial weights matrix of the world's places."""

    default: ClassVar[str] = "knn"

    name: str

    @property
    @abstractmethod
    def label(self) -> str:
        """What the panel calls W."""

    @abstractmethod
    def build(self, places: Places) -> Weights:
        """W, by the name `label`; raises BadInput when the places do not allow it."""
