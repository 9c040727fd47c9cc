"""The [[weights]] tables of a SPEC.toml, each of which builds its W on the panel."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, override

import numpy as np
from pydantic import AfterValidator, Field, ValidationInfo

from experiments.toml_files import Flag, Name, Positive, Table, TomlReading
from sim import weights
from sim.arrays import Floats
from sim.errors import Problem
from sim.panel import Panel
from sim.weights import CALLED, Coordinates, Islands, Others, Standardize, Weights, from_file


def _beside_the_spec(path: Path, info: ValidationInfo) -> Path:
    """A path relative to the folder of the spec; a file that is not there is a fault of the spec."""
    if not isinstance(info.context, TomlReading):
        return path
    whole = info.context.folder / path
    if not whole.is_file():
        where = f"{info.context.file}, [[weights]] path = {str(whole)!r}"
        info.context.problems.append(
            Problem("there is no such file", where, "a file, its path relative to the spec", "correct the path")
        )
    return whole


Beside = Annotated[Path, AfterValidator(_beside_the_spec)]


class WeightsSection(Table, ABC):
    """What every [[weights]] table may say.

    name: by which tables and estimators know W; without it one made of the kind. standardize: "row" makes rows sum to
    1, "spectral" divides by the spectral radius, "none" keeps W.
    """

    needs_places: ClassVar[bool] = True

    name: Name | None = None
    standardize: Standardize = "row"

    @property
    def label(self) -> str:
        """The name of the weights in the panel."""
        return self.name or CALLED[str(dict(self)["kind"])].format(w=self)

    @property
    def places(self) -> bool:
        """Whether coordinates are needed."""
        return self.needs_places or getattr(self, "islands", "error") == "nearest"

    @abstractmethod
    def build(self, panel: Panel, order: tuple[str, ...]) -> Weights:
        """W on the panel's units; `order` holds all units of the panel's file, in its order."""


class WithIslands(WeightsSection, ABC):
    """A table whose W may leave units alone.

    islands: what to do about units without neighbours: "error" refuses them, "nearest" gives each the nearest unit,
    which needs coordinates.
    """

    islands: Islands = "error"


class ByDistance(WeightsSection):
    """W from coordinates alone, by the function of `sim.weights` that its kind names."""

    @override
    def build(self, panel: Panel, order: tuple[str, ...]) -> Weights:
        settings = {key: value for key, value in self if key not in ("kind", "name")}
        make: Callable[..., Weights] = getattr(weights, str(dict(self)["kind"]).replace("-", "_"))
        return make(panel.units, *_degrees(panel), name=self.label, **settings)


class KnnSpec(ByDistance):
    """The k nearest units.

    k: how many neighbours.
    """

    kind: Literal["knn"]
    k: Annotated[int, Field(ge=1, strict=True)] = 6


class InverseDistanceSpec(ByDistance, WithIslands):
    """1/km^power, up to a cutoff.

    power: of the distance. cutoff_km: the distance beyond which W is 0; without it all units are neighbours.
    """

    kind: Literal["inverse-distance"]
    power: Positive = 1.0
    cutoff_km: Positive | None = None


class BandSpec(ByDistance, WithIslands):
    """All units within a distance.

    km: the distance.
    """

    kind: Literal["band"]
    km: Positive


class ContiguitySpec(WithIslands):
    """Units that touch on a map.

    path: the file of the map, relative to the spec. unit: the map's column of unit names. rule: "queen" counts units
    that share a corner, "rook" those that share an edge.
    """

    needs_places: ClassVar[bool] = False

    kind: Literal["contiguity"]
    path: Beside
    unit: Name
    rule: Literal["queen", "rook"] = "queen"

    @override
    def build(self, panel: Panel, order: tuple[str, ...]) -> Weights:
        return weights.contiguity(
            panel.units, self.path, unit=self.unit, rule=self.rule, standardize=self.standardize,
            islands=self.islands, coordinates=_coordinates(panel) if self.places else None, name=self.label,
        )  # fmt: skip


class Economic(WeightsSection):
    """1/|gap| between the unit means of a column.

    variable: the column.
    """

    needs_places: ClassVar[bool] = False

    kind: Literal["economic"]
    variable: Name

    @override
    def build(self, panel: Panel, order: tuple[str, ...]) -> Weights:
        level = panel.attributes[mean_of(self.variable)]
        return weights.economic(panel.units, level, standardize=self.standardize, name=self.label)


class Nested(WeightsSection):
    """1/(km x |gap|), with the gap between the unit means of a column.

    variable: the column.
    """

    kind: Literal["nested"]
    variable: Name

    @override
    def build(self, panel: Panel, order: tuple[str, ...]) -> Weights:
        level = panel.attributes[mean_of(self.variable)]
        return weights.nested(panel.units, *_degrees(panel), level, standardize=self.standardize, name=self.label)


class OfFile(WithIslands, ABC):
    """A table whose W, or distances, stand in a file."""

    needs_places: ClassVar[bool] = False

    path: Beside
    others: Others = "error"

    def _read(self, panel: Panel, order: tuple[str, ...], **how: Any) -> Weights:
        return from_file(
            self.path, order, keep=panel.units, others=self.others, standardize=self.standardize, islands=self.islands,
            coordinates=_coordinates(panel) if self.places else None, name=self.label, **how,
        )  # fmt: skip


class File(OfFile):
    """An edge list or a matrix.

    path: the file, relative to the spec: .csv with the columns focal, neighbor and weight, .gal, .gwt, .npy or .mtx.
    others: what to do about units of the file that the panel lacks: "error" refuses them, "drop" leaves them out.
    meant: whether a matrix that looks like distances holds weights all the same.
    """

    kind: Literal["file"]
    meant: Flag = False

    @override
    def build(self, panel: Panel, order: tuple[str, ...]) -> Weights:
        return self._read(panel, order, meant=self.meant)


class Distance(OfFile):
    """1/d^power of a file's distances, up to a cutoff.

    path: the file, relative to the spec, as of the kind file, with distances for weights. others: as of the kind file.
    power: of the distance. cutoff: the distance beyond which W is 0; without it all units are neighbours.
    """

    kind: Literal["distance"]
    power: Positive = 1.0
    cutoff: Positive | None = None

    @override
    def build(self, panel: Panel, order: tuple[str, ...]) -> Weights:
        limit = np.inf if self.cutoff is None else self.cutoff
        return self._read(panel, order, of_distance=lambda d: np.where(d <= limit, d**-self.power, 0.0))


AnyWeights = Annotated[
    KnnSpec | InverseDistanceSpec | BandSpec | ContiguitySpec | Economic | Nested | File | Distance,
    Field(discriminator="kind"),
]


def mean_of(variable: str) -> str:
    """The attribute that holds the unit means of a column."""
    return f"mean({variable})"


def _degrees(panel: Panel) -> tuple[Floats, Floats]:
    longitude, latitude = (np.asarray(panel.attributes[name], dtype=np.float64) for name in ("longitude", "latitude"))
    return longitude, latitude


def _coordinates(panel: Panel) -> Coordinates:
    return Coordinates(panel.units, *_degrees(panel))
