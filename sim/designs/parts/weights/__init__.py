"""Who is whose neighbour: the true W, and others that estimators may assume."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from sim.designs.parts.ground import Places
from sim.designs.parts.part import Part
from sim.weights import Weights


class WeightsPart(Part):
    """A spatial weights matrix of the world's places; exists: whether there is one."""

    default: ClassVar[str] = "knn"
    exists: ClassVar[bool] = True

    name: str

    @property
    @abstractmethod
    def label(self) -> str:
        """What the panel calls W."""

    @abstractmethod
    def build(self, places: Places) -> Weights | None:
        """W, by the name `label`, None where there is none; raises BadInput when the places do not allow it."""
