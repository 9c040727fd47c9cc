"""W from a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from sim.designs.parts.ground import Places
from sim.designs.parts.part import Outline, fault
from sim.designs.parts.weights import WeightsPart
from sim.errors import BadInput, Problem, bad
from sim.panel.file_text import as_file, file_text
from sim.weights import Standardize, Weights

FILES = (".csv", ".gal", ".gwt", ".npy", ".mtx")


@dataclass(frozen=True, slots=True)
class File(WeightsPart):
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

    def faults(self, outline: Outline) -> Iterator[Problem]:
        """A file that cannot be read, or a matrix of another N."""
        from sim.weights.weights_files import matrix_size  # pandas is slow to import

        try:
            with as_file(self.path) as path:
                size = matrix_size(path)
        except BadInput as error:
            yield from error.problems
            return
        if size not in (None, (outline.units, outline.units)):
            found, units = " x ".join(map(str, size or ())), outline.units
            yield fault(f"W is {found}, but the world has {units} units",
                        f"{units} x {units}, in the order of the units", "name another file")  # fmt: skip

    def build(self, places: Places) -> Weights:
        """W of the places; raises BadInput where the file is of other units."""
        from sim.weights.neighbours import Coordinates
        from sim.weights.weights_files import from_file

        where = Coordinates(places.names, places.longitude, places.latitude)
        try:
            with as_file(self.path) as path:
                return from_file(path, places.names, standardize=self.standardize, islands=self.islands,
                                 coordinates=where, name=self.label)  # fmt: skip
        except BadInput as error:
            first = error.problems[0]
            raise bad(f"{first.where}: {first.what}", where="[design.weights] path", allowed=first.allowed,
                      remedy="correct the file, or name another") from error  # fmt: skip
