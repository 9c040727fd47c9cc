"""The [[weights]] tables of a SPEC.toml, each of which builds its W on the panel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, override

import numpy as np
import pandas as pd
from pydantic import AfterValidator, Field, ValidationInfo

from experiments.settings import Flag, Name, Names, Positive, Table, TomlReading
from sim import weights
from sim.arrays import Floats
from sim.errors import Problem, amount, bad, gathering, listed, near_file, refuse
from sim.panel import Panel
from sim.panel_files import Rows, numbers, unit_labels
from sim.weights import CALLED, DEGREES, Coordinates, Islands, Standardize, Weights
from sim.weights_files import FileLayout, Others, from_file

FILE_ORDER = "file"  # units of a matrix without names: in the order of the panel's file


def _beside_the_spec(path: Path, info: ValidationInfo) -> Path:
    """A path relative to the folder of the spec; a file that is not there is a fault of the spec."""
    if not isinstance(info.context, TomlReading):
        return path
    whole = info.context.folder / path
    if not whole.is_file():
        where = f"{info.context.file}, [[weights]] path = {str(whole)!r}"
        remedy = near_file(whole, [whole.suffix.lower()], "correct the path")
        info.context.problems.append(
            Problem("there is no such file", where, "a file, its path relative to the spec", remedy)
        )
    return whole


Beside = Annotated[Path, AfterValidator(_beside_the_spec)]


class WeightsSection(Table):
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
        """Whether coordinates are needed; a file of distances has its own."""
        nearest = getattr(self, "islands", "error") == "nearest" and dict(self)["kind"] != "distance"
        return self.needs_places or nearest

    def build(self, panel: Panel, order: tuple[str, ...]) -> Weights:
        """W on the panel's units; `order` holds all units of the panel's file, in its order.

        Here from coordinates alone, by the function of `sim.weights` that its kind names.
        """
        settings = {key: value for key, value in self if key not in ("kind", "name")}
        make: Callable[..., Weights] = getattr(weights, str(dict(self)["kind"]).replace("-", "_"))
        return make(panel.units, *_degrees(panel), name=self.label, **settings)


class WithIslands(WeightsSection):
    """A table whose W may leave units alone.

    islands: what to do about units without neighbours: "error" refuses them, "nearest" gives each the nearest unit,
    which needs coordinates.
    """

    islands: Islands = "error"


class KnnSpec(WeightsSection):
    """The k nearest units.

    k: how many neighbours.
    """

    kind: Literal["knn"]
    k: Annotated[int, Field(ge=1, strict=True)] = 6


class InverseDistanceSpec(WithIslands):
    """1/km^power, up to a cutoff.

    power: of the distance. cutoff_km: the distance beyond which W is 0; without it all units are neighbours.
    """

    kind: Literal["inverse-distance"]
    power: Positive = 1.0
    cutoff_km: Positive | None = None


class BandSpec(WithIslands):
    """All units within a distance.

    km: the distance.
    """

    kind: Literal["band"]
    km: Positive


class ContiguitySpec(WithIslands):
    """Units that touch on a map.

    path: the file of the map, relative to the spec. unit: the map's column of unit names. rule: "queen" counts units
    that share a corner, "rook" those that share an edge; borders may have other vertices on either side, or overlap.
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
            islands=self.islands, name=self.label,
            coordinates=Coordinates(panel.units, *_degrees(panel)) if self.places else None,
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


class OfFile(WithIslands):
    """A table whose W, or distances, stand in a file.

    path: the file, relative to the spec: .csv, .xlsx or .dta with the columns focal, neighbor and weight, or a square
    matrix; .gal, .gwt, .npy or .mtx. others: what to do about units of the file that the panel lacks: "error" refuses
    them, "drop" leaves them out. sheet: of a workbook that holds several tables. focal, neighbor, weight: the columns
    of the two ends of a link and of its weight; without it those called so, or from and to, origin and destination.
    units: of a matrix without names, the order of its rows: "file" is that in which the panel's file first names its
    units, another name a column of the panel by which they are sorted, a list the units themselves. symmetric: whether
    a link that stands in the file once goes both ways.
    """

    needs_places: ClassVar[bool] = False

    path: Beside
    others: Others = "error"
    sheet: Name | None = None
    focal: Name | None = None
    neighbor: Name | None = None
    weight: Name | None = None
    units: Name | Names | None = Field(
        default=None, description='`"file"`, a column of the panel, or a list of its units'
    )
    symmetric: Flag | None = None

    @property
    def order_column(self) -> str | None:
        """The column of the panel by which the rows of a matrix are sorted."""
        return self.units if isinstance(self.units, str) and self.units != FILE_ORDER else None

    def _read(self, panel: Panel, order: tuple[str, ...], **how: Any) -> Weights:
        if self.order_column is not None:
            raise bad(f"units = {self.order_column!r} is a column of the panel's file", where="[[weights]] units",
                      allowed="the spec of a panel that was read", remedy="read the panel with this spec")  # fmt: skip
        rows = order if isinstance(self.units, str) else self.units
        return from_file(
            self.path, order, keep=panel.units, others=self.others, standardize=self.standardize, islands=self.islands,
            coordinates=Coordinates(panel.units, *_degrees(panel)) if self.places else None, name=self.label,
            layout=FileLayout(self.sheet, self.focal, self.neighbor, self.weight, rows, self.symmetric), **how,
        )  # fmt: skip


class File(OfFile):
    """An edge list or a matrix.

    meant: whether a matrix that looks like distances holds weights all the same.
    """

    kind: Literal["file"]
    meant: Flag = False

    @override
    def build(self, panel: Panel, order: tuple[str, ...]) -> Weights:
        return self._read(panel, order, meant=self.meant)


class Distance(OfFile):
    """1/d^power of a file's distances, up to a cutoff.

    islands: what to do about units without neighbours within the cutoff: "error" refuses them, "nearest" gives each the
    nearest unit of the file. power: of the distance. cutoff: the distance beyond which W is 0; without it all units are
    neighbours.
    """

    kind: Literal["distance"]
    power: Positive = 1.0
    cutoff: Positive | None = None

    @override
    def build(self, panel: Panel, order: tuple[str, ...]) -> Weights:
        limit = np.inf if self.cutoff is None else self.cutoff
        return self._read(panel, order, of_distance=lambda d: d**-self.power, cutoff=limit)


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


def place_problems(
    attributes: Mapping[str, Any], units: tuple[str, ...], named: Mapping[str, str], file: str
) -> Iterator[Problem]:
    """Coordinates that are no degrees on the globe, whatever asks for them: text, projected or exchanged columns.

    attributes: (N,) each; named: attribute -> column.
    """
    read = {name: numbers(pd.Series(attributes[name]))[0] for name in DEGREES if name in attributes}
    if len(read) < len(DEGREES):
        return
    remedy, (east, north) = "give degrees as numbers, such as 116.4 and 39.9", np.abs(list(read.values()))
    if (north > 90).any() and (east <= 90).all() and (north <= 180).all():
        remedy = f'if they are exchanged, say longitude = "{named["latitude"]}", latitude = "{named["longitude"]}"'
    for name, limit in DEGREES.items():
        wrong = np.flatnonzero(~(np.abs(read[name]) <= limit))
        if wrong.size:
            texts = [attributes[name][i] if np.isnan(read[name][i]) else f"{read[name][i]:g}" for i in wrong]
            held = listed((f"{units[i]} {text}" for i, text in zip(wrong, texts, strict=True)), 3)
            yield Problem(f"the {name} of {amount(wrong.size, 'unit')} is not on the globe: {held}",
                          f"{file}, column {named[name]!r}", f"degrees between -{limit} and {limit}",
                          remedy)  # fmt: skip


def with_orders(sections: tuple[AnyWeights, ...], frame: pd.DataFrame, rows: Rows) -> tuple[AnyWeights, ...]:
    """The tables with the units themselves for a column by which a matrix is sorted; raises BadInput where it does not
    sort them."""
    problems: list[Problem] = []
    made = []
    for section in sections:
        if isinstance(section, OfFile) and section.order_column is not None:
            with gathering(problems):
                values, wrong = numbers(frame[section.order_column])
                shown = unit_labels(frame[section.order_column]) if wrong.size else values
                keys = pd.Series(shown).groupby(rows.labels, sort=False)
                first, distinct = keys.first(), keys.nunique()
                where = f"{rows.file}, column {section.order_column!r}, for [[weights]] units"
                remedy = "name a column that numbers the units"
                if (distinct != 1).any():
                    raise bad(f"is not one value for the unit {distinct.index[distinct != 1][0]}", where=where,
                              allowed="one value per unit in all periods", remedy=remedy)  # fmt: skip
                if first.duplicated().any():
                    raise bad(f"is {first[first.duplicated()].iloc[0]} for several units", where=where,
                              allowed="another value for each unit", remedy=remedy)  # fmt: skip
                units = tuple(str(unit) for unit in first.sort_values(kind="stable").index)
                section = section.model_copy(update={"units": units})
        made.append(section)
    refuse(problems)
    return tuple(made)
