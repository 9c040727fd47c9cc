"""The sections of a SPEC.toml as frozen models, and the weights that they describe."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Annotated, Literal, override

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from estimators.linear.covariances import cluster_names
from experiments.specs.robustness import RobustnessSection
from experiments.specs.section import Flag, Name, Names, NamesByName, Positive, Section
from experiments.specs.transforms import Transform
from sim import neighbours
from sim.neighbours import Coordinates, Islands
from sim.panel import Panel
from sim.weights import Standardize, Weights
from sim.weights_files import Others, from_file

Floats = NDArray[np.float64]
Balance = Literal["error", "drop-units", "drop-periods"]


class PanelSection(Section):
    """[panel]: which columns are what, and what to do about gaps."""

    unit: Name
    period: Name
    outcome: Name | None = None  # the index, where there is one
    treatment: Name | None = None
    first_treated: Name | None = None
    controls: Names = ()
    mediators: Names = ()
    other_policy: Name | None = None
    capital: Name | None = None
    groups: Names = ()
    cluster: Name | None = None
    longitude: Name | None = None
    latitude: Name | None = None
    missing: Literal["error", "drop"] = "error"
    balance: Balance = "error"
    synthetic: Flag = False  # whether tables say that the data are

    @property
    def group_columns(self) -> tuple[str, ...]:
        """Columns of groups of units: groups, and cluster where it is not the unit."""
        return tuple(dict.fromkeys(name for name in (*self.groups, self.cluster) if name and name != self.unit))

    @property
    def attributes(self) -> dict[str, str]:
        """Attribute -> column: capital, longitude, latitude under these names, groups and cluster under their own."""
        named = {"capital": self.capital, "longitude": self.longitude, "latitude": self.latitude}
        return {name: column for name, column in named.items() if column} | {name: name for name in self.group_columns}


class IndexSection(Section):
    """[index]: the outcome as an entropy-weight index of indicators, and columns of diversification for it."""

    name: Name = "index"
    positive: Names = ()
    negative: Names = ()
    dimensions: NamesByName = Field(default_factory=dict)
    diversification: NamesByName = Field(default_factory=dict)

    @property
    def indicators(self) -> tuple[str, ...]:
        """All indicators once, the positive ones first."""
        return tuple(dict.fromkeys((*self.positive, *self.negative)))


class InferenceSection(Section):
    """[inference]: error types beside iid, HC1 and clustered ones, and how much is drawn.

    errors: as the estimators name them, e.g. "driscoll-kraay", "cluster:unit+province", "conley:200", "wild:unit".
    draws: of every bootstrap, permutation and simulation; seed: of all of them.
    """

    errors: Names = ()
    draws: Annotated[int, Field(ge=99, le=100_000, strict=True)] = 999
    seed: Annotated[int, Field(ge=0, strict=True)] = 20240601

    def clusters(self, groups: tuple[str, ...]) -> tuple[str, ...]:
        """Columns that clustered and wild error types name; `groups`: columns that are, whatever their names hold."""
        named = (name for error in self.errors for name in clustered_by(error, groups))
        return tuple(dict.fromkeys(name for name in named if name not in ("unit", "period")))


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


class Spec(Section):
    """A whole SPEC.toml: what the columns of a panel file are, new columns, an index, weights (the first: the main).

    inference and robustness: what is asked of the estimates beside the paper's own.
    """

    panel: PanelSection
    transform: tuple[Transform, ...] = ()
    index: IndexSection | None = None
    weights: tuple[AnyWeights, ...] = ()
    inference: InferenceSection = InferenceSection()
    robustness: RobustnessSection = RobustnessSection()
    file: str = "spec.toml"

    @property
    def attributes(self) -> dict[str, str]:
        """Attribute -> column of everything that is constant within units."""
        further = (*self.robustness.attributes(self.panel.unit), *self.clusters)
        return self.panel.attributes | {name: name for name in further if name != self.panel.unit}

    @property
    def group_columns(self) -> tuple[str, ...]:
        """Columns of groups of units that [panel] and [robustness] name."""
        return tuple(dict.fromkeys((*self.panel.group_columns, *self.robustness.attributes(self.panel.unit))))

    @property
    def clusters(self) -> tuple[str, ...]:
        """Columns that the error types of [inference] name."""
        return self.inference.clusters(self.group_columns)

    @property
    def mean_columns(self) -> tuple[str, ...]:
        """Columns whose unit means economic weights need."""
        return tuple(dict.fromkeys(w.variable for w in self.weights if isinstance(w, Economic | Nested)))

    @property
    def variables(self) -> tuple[str, ...]:
        """Columns that become variables, in order; the treatment under its own name."""
        own = self.panel
        outcome = own.outcome if self.index is None else None
        single = [name for name in (outcome, own.treatment, own.other_policy) if name]
        return tuple(dict.fromkeys((*single, *own.controls, *own.mediators, *self.indicators)))

    @property
    def made(self) -> frozenset[str]:
        """Columns that the spec makes and the file need not have."""
        return frozenset((*(made.name for made in self.transform), *(self.index.diversification if self.index else ())))

    @property
    def indicators(self) -> tuple[str, ...]:
        """The indicators of the index, none where there is no index."""
        return () if self.index is None else self.index.indicators


def clustered_by(error: str, groups: tuple[str, ...]) -> tuple[str, ...]:
    """What a clustered or wild error type names, none of another type."""
    kind, _, rest = error.partition(":")
    return cluster_names(error, groups) if kind == "cluster" else (rest,) if kind == "wild" else ()


def mean_of(variable: str) -> str:
    """The attribute that holds the unit means of a column."""
    return f"mean({variable})"


def _degrees(panel: Panel) -> tuple[Floats, Floats]:
    longitude, latitude = (np.asarray(panel.attributes[name], dtype=np.float64) for name in ("longitude", "latitude"))
    return longitude, latitude


def _coordinates(panel: Panel) -> Coordinates:
    return Coordinates(panel.units, *_degrees(panel))
