"""Who is whose neighbour: the true W, and others that estimators may assume."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from sim.errors import BadInput, Problem, bad, one_of
from sim.panel_sidecars import as_file, file_text
from sim.weights import CALLED, DEGREES, Standardize, Weights, band, inverse_distance, knn, touching_cells
from sim.world.context import POSITIVE, DesignSummary, Part, Places, cities, city_weights, fault, whole_from


class WeightsPart(Part):
    """A spatial weights matrix of the world's places.

    exists: whether there is one.
    """

    default: ClassVar[str] = "knn"
    exists: ClassVar[bool] = True

    name: str

    @property
    def label(self) -> str:
        """What the panel calls W."""
        return self.name or CALLED.get(self.kind, self.kind).format(w=self)

    @abstractmethod
    def build(self, places: Places) -> Weights | None:
        """W, by the name `label`, None where there is none; raises BadInput when the places do not allow it."""


# All units within a distance.


@dataclass(frozen=True, slots=True)
class Band(WeightsPart):
    """Neighbours are all units within a great-circle distance, with equal weights, row-standardised.

    km: the distance. islands: what becomes of a unit that has no neighbour: nearest (it gets its nearest unit) | error
    (the world is refused). name: what the panel calls W; "" is band-KM.
    """

    kind: ClassVar[str] = "band"
    on_places: ClassVar[bool] = True
    ranges: ClassVar = {"km": POSITIVE}

    km: float = 300.0
    islands: Literal["nearest", "error"] = "nearest"
    name: str = ""

    def build(self, places: Places) -> Weights:
        """W of the places."""
        return band(places.names, places.longitude, places.latitude, km=self.km, islands=self.islands, name=self.label)


# Units whose regions touch.


FEWEST = 4  # units of which regions can be drawn


@dataclass(frozen=True, slots=True)
class Contiguity(WeightsPart):
    """Neighbours are units whose regions touch, with equal weights, row-standardised.

    On the geography `grid` the regions are its squares. Elsewhere they are Voronoi cells within the rectangle around
    all units: every place belongs to the unit that is nearest to it. Real borders come from a file of weights.

    rule: queen (a common corner is enough) | rook (a common edge). name: what the panel calls W; "" is the rule.
    """

    kind: ClassVar[str] = "contiguity"
    on_places: ClassVar[bool] = True

    rule: Literal["queen", "rook"] = "queen"
    name: str = ""

    def faults(self, summary: DesignSummary) -> Iterator[Problem]:
        """Too few units for regions."""
        if summary.units < FEWEST:
            yield fault(f"regions of {summary.units} units", f"{FEWEST} units or more", "add units, or use knn")

    def build(self, places: Places) -> Weights:
        """W of the places."""
        if places.lattice is None:
            return touching_cells(places.names, places.longitude, places.latitude, rule=self.rule, name=self.label)
        steps = np.abs(places.lattice[:, None] - places.lattice)
        near = steps.sum(axis=2) == 1 if self.rule == "rook" else steps.max(axis=2) == 1
        return Weights.of(places.names, near.astype(np.float64), "row", self.label)


# W from a file.


FILES = (".csv", ".gal", ".gwt", ".npy", ".mtx")


@dataclass(frozen=True, slots=True)
class WeightsOfFile(WeightsPart):
    """A matrix or a list of links that a file holds.

    path: a file beside the study file, .csv (columns focal, neighbor, weight, or a square matrix with names), .gal,
    .gwt, .npy or .mtx (N x N in the order of the units); a store holds the file itself, as a text. standardize: row
    (rows sum to one) | spectral (the largest eigenvalue is one) | none. islands: what becomes of a unit without links:
    error (the world is refused) | nearest (it gets its nearest unit). name: what the panel calls W; "" is the file's.
    """

    kind: ClassVar[str] = "file"
    paths: ClassVar[tuple[str, ...]] = ("path",)

    path: str = ""
    standardize: Standardize = "row"
    islands: Literal["error", "nearest"] = "error"
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", file_text(self.path, FILES))

    @property
    def label(self) -> str:
        """The file's name without its extension."""
        return self.name or self.path.split(":")[1].rpartition(".")[0]

    def faults(self, summary: DesignSummary) -> Iterator[Problem]:
        """A file that cannot be read, or a matrix of another N."""
        from sim.weights_files import matrix_size  # pandas is slow to import

        try:
            with as_file(self.path) as path:
                size = matrix_size(path)
        except BadInput as error:
            yield from error.problems
            return
        if size not in (None, (summary.units, summary.units)):
            found, units = " x ".join(map(str, size or ())), summary.units
            yield fault(f"W is {found}, but the world has {units} units",
                        f"{units} x {units}, in the order of the units", "name another file")  # fmt: skip

    def build(self, places: Places) -> Weights:
        """W of the places; raises BadInput where the file is of other units."""
        from sim.weights import Coordinates
        from sim.weights_files import AS_IT_STANDS, from_file

        placed = DEGREES.keys() <= places.attributes.keys()
        where = Coordinates(places.names, places.longitude, places.latitude) if placed else None
        try:
            with as_file(self.path) as path:
                return from_file(path, places.names, standardize=self.standardize, islands=self.islands,
                                 coordinates=where, name=self.label, layout=AS_IT_STANDS)  # fmt: skip
        except BadInput as error:
            first = error.problems[0]
            raise bad(f"{first.where}: {first.what}", where="[design.weights] path", allowed=first.allowed,
                      remedy="correct the file, or name another") from error  # fmt: skip


# The nearer, the stronger.


@dataclass(frozen=True, slots=True)
class InverseDistance(WeightsPart):
    """Weights are a negative power of the great-circle distance.

    power: of the distance. cutoff_km: distance beyond which weights are 0; none leaves all. standardize: row (rows sum
    to one) | spectral (the largest eigenvalue is one) | none. islands: what becomes of a unit with no other within the
    cutoff: nearest (it gets its nearest unit) | error (the world is refused). name: what the panel calls W; "" is
    inverse-distance.
    """

    kind: ClassVar[str] = "inverse-distance"
    on_places: ClassVar[bool] = True
    ranges: ClassVar = {"power": POSITIVE, "cutoff_km": POSITIVE}

    power: float = 1.0
    cutoff_km: float | None = None
    standardize: Standardize = "row"
    islands: Literal["nearest", "error"] = "nearest"
    name: str = ""

    def build(self, places: Places) -> Weights:
        """W of the places."""
        return inverse_distance(places.names, places.longitude, places.latitude, power=self.power,
                                cutoff_km=self.cutoff_km, standardize=self.standardize, islands=self.islands,
                                name=self.label)  # fmt: skip


# W of the panel that is kept.


@dataclass(frozen=True, slots=True)
class WeightsOfPanel(WeightsPart):
    """A matrix that the panel of the geography "kept" holds.

    name: of the matrix there, and in the panels that are drawn.
    """

    kind: ClassVar[str] = "kept"

    name: str = "w"

    def build(self, places: Places) -> Weights:
        """The matrix; raises BadInput where the panel has none of this name."""
        held = places.held("[design.weights]").weights
        if self.name not in held:
            raise bad(f"the panel that is kept has no weights {self.name!r}", where="[design.weights] name",
                      allowed=one_of(held), remedy="correct name")  # fmt: skip
        return held[self.name]


# The k nearest units.


@dataclass(frozen=True, slots=True)
class Knn(WeightsPart):
    """Each unit's k nearest units by great-circle distance, row-standardised.

    k: how many neighbours. name: what the panel calls W; "" is knn-K.
    """

    kind: ClassVar[str] = "knn"
    on_places: ClassVar[bool] = True
    ranges: ClassVar = {"k": whole_from(1)}

    k: int = 6
    name: str = ""

    def faults(self, summary: DesignSummary) -> Iterator[Problem]:
        """More neighbours than other units."""
        if self.k >= summary.units:
            yield fault(
                f"k = {self.k} of {summary.units} units", f"1 to {summary.units - 1}", "choose fewer neighbours"
            )

    def build(self, places: Places) -> Weights:
        """W of the places; that of the embedded cities is built once."""
        if places.longitude is cities().longitude and not self.name:
            return city_weights(self.k)
        return knn(places.names, places.longitude, places.latitude, k=self.k, name=self.label)


# No W.


@dataclass(frozen=True, slots=True)
class NoWeights(WeightsPart):
    """A world in which nobody has neighbours: no part may use W.

    name: not used.
    """

    kind: ClassVar[str] = "none"
    exists: ClassVar[bool] = False

    name: str = ""

    def build(self, places: Places) -> None:
        """There is none."""
        return
