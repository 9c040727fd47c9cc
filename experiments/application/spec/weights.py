"""The [[weights]] tables of a SPEC.toml, each of which builds its W on the panel."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Annotated, Literal, override

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from experiments.application.spec.section import Name, Positive, Section
from sim.panel import Panel
from sim.weights import Standardize, Weights, neighbours
from sim.weights.neighbours import Coordinates, Islands
from sim.weights.weights_files import Others, from_file

Floats = NDArray[np.float64]


class WeightsSection(Section, ABC):
    """What every [[weights]] table may say."""

    name: Name | None = None
    standardize: Standardize = "row"

    @property
    def label(self) -> str:
        """The name of the weights in the panel."""
        return self.name or self.default_name

    @property
    @abstractmethod
    def default_name(self) -> str:
        """Their name when none is given."""

    @property
    def places(self) -> bool:
        """Whether coordinates are needed."""
        return True

    @abstractmethod
    def build(self, panel: Panel, order: tuple[str, ...]) -> Weights:
        """W on the panel's units; `order` holds all units of the panel's file, in its order."""


class Knn(WeightsSection):
    """The k nearest units."""

    kind: Literal["knn"]
    k: Annotated[int, Field(ge=1, strict=True)] = 6

    @property
    @override
    def default_name(self) -> str:
        return f"knn-{self.k}"

    @override
    def build(self, panel: Panel, order: tuple[str, ...]) -> Weights:
        longitude, latitude = _degrees(panel)
        return neighbours.knn(panel.units, longitude, latitude, k=self.k, standardize=self.standardize, name=self.label)


class InverseDistance(WeightsSection):
    """1/km^power, up to a cutoff."""

    kind: Literal["inverse-distance"]
    power: Positive = 1.0
    cutoff_km: Positive | None = None
    islands: Islands = "error"

    @property
    @override
    def default_name(self) -> str:
        return "inverse-distance"

    @override
    def build(self, panel: Panel, order: tuple[str, ...]) -> Weights:
        longitude, latitude = _degrees(panel)
        return neighbours.inverse_distance(
            panel.units, longitude, latitude, power=self.power, cutoff_km=self.cutoff_km,
            standardize=self.standardize, islands=self.islands, name=self.label,
        )  # fmt: skip


class Band(WeightsSection):
    """All units within a distance."""

    kind: Literal["band"]
    km: Positive
    islands: Islands = "error"

    @property
    @override
    def default_name(self) -> str:
        return f"band-{self.km:g}"

    @override
    def build(self, panel: Panel, order: tuple[str, ...]) -> Weights:
        longitude, latitude = _degrees(panel)
        return neighbours.band(
            panel.units, longitude, latitude, km=self.km,
            standardize=self.standardize, islands=self.islands, name=self.label,
        )  # fmt: skip


class Contiguity(WeightsSection):
    """Units that touch on a map; `unit` is the map's column of unit names."""

    kind: Literal["contiguity"]
    path: Path
    unit: Name
    rule: Literal["queen", "rook"] = "queen"
    islands: Islands = "error"

    @property
    @override
    def default_name(self) -> str:
        return self.rule

    @property
    @override
    def places(self) -> bool:
        return self.islands == "nearest"

    @override
    def build(self, panel: Panel, order: tuple[str, ...]) -> Weights:
        return neighbours.contiguity(
            panel.units, self.path, unit=self.unit, rule=self.rule, standardize=self.standardize,
            islands=self.islands, coordinates=_coordinates(panel) if self.places else None, name=self.label,
        )  # fmt: skip


class Economic(WeightsSection):
    """1/|gap| between the unit means of a column."""

    kind: Literal["economic"]
    variable: Name

    @property
    @override
    def default_name(self) -> str:
        return "economic"

    @property
    @override
    def places(self) -> bool:
        return False

    @override
    def build(self, panel: Panel, order: tuple[str, ...]) -> Weights:
        level = panel.attributes[mean_of(self.variable)]
        return neighbours.economic(panel.units, level, standardize=self.standardize, name=self.label)


class Nested(WeightsSection):
    """1/(km x |gap|)."""

    kind: Literal["nested"]
    variable: Name

    @property
    @override
    def default_name(self) -> str:
        return "nested"

    @override
    def build(self, panel: Panel, order: tuple[str, ...]) -> Weights:
        longitude, latitude = _degrees(panel)
        level = panel.attributes[mean_of(self.variable)]
        return neighbours.nested(panel.units, longitude, latitude, level, standardize=self.standardize, name=self.label)


class File(WeightsSection):
    """An edge list or a matrix."""

    kind: Literal["file"]
    path: Path
    others: Others = "error"
    islands: Islands = "error"

    @property
    @override
    def default_name(self) -> str:
        return self.path.stem

    @property
    @override
    def places(self) -> bool:
        return self.islands == "nearest"

    @override
    def build(self, panel: Panel, order: tuple[str, ...]) -> Weights:
        return from_file(
            self.path, order, keep=panel.units, others=self.others, standardize=self.standardize,
            islands=self.islands, coordinates=_coordinates(panel) if self.places else None, name=self.label,
        )  # fmt: skip


AnyWeights = Knn | InverseDistance | Band | Contiguity | Economic | Nested | File
KINDS: dict[str, type[WeightsSection]] = {
    "knn": Knn, "inverse-distance": InverseDistance, "band": Band, "contiguity": Contiguity,
    "economic": Economic, "nested": Nested, "file": File,
}  # fmt: skip


def mean_of(variable: str) -> str:
    """The attribute that holds the unit means of a column."""
    return f"mean({variable})"


def _degrees(panel: Panel) -> tuple[Floats, Floats]:
    longitude, latitude = (np.asarray(panel.attributes[name], dtype=np.float64) for name in ("longitude", "latitude"))
    return longitude, latitude


def _coordinates(panel: Panel) -> Coordinates:
    return Coordinates(panel.units, *_degrees(panel))
