"""Measuring at a value of a dial: one store a value, run and resumed by the ordinary runner.

A point is read from the first replications of its store alone, so that a search which is repeated or resumed takes the
same steps whatever its stores hold already.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cluster import Executor
from experiments.running.runner import run
from experiments.running.until import Selection
from experiments.searching.question import Question
from experiments.searching.root import Point
from experiments.study.study import Study
from results.diagnosis.diagnose import diagnose
from results.store import Store
from sim.streams import TILE

BLOCK = 256  # replications stored together in a search: its steps are small
FIRST = 512  # replications of a point of the bracket

Listener = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Taken:
    """What was measured at values of the dials: the measure, its Monte Carlo error, from n replications in a store."""

    dials: Mapping[str, Any]
    value: float
    mcse: float
    n: int
    store: str


@dataclass(eq=False, slots=True)
class Bench:
    """Where points of a study are measured.

    study: its grid is left out. folder: of the stores; None keeps them in memory. taken: what was measured, in order.
    stores: of the points, by name.
    """

    study: Study
    question: Question
    folder: Path | None
    executor: Executor | None = None
    listen: Listener | None = None
    taken: list[Taken] = field(default_factory=list)
    stores: dict[str, Store] = field(default_factory=dict)

    @property
    def first(self) -> int:
        """Replications of a point of the bracket: a tile in every world, in whole blocks."""
        return -(-max(FIRST, self.study.world_count * TILE) // BLOCK) * BLOCK

    @property
    def freedom(self) -> float:
        """Degrees of freedom of a Monte Carlo error: worlds less one."""
        return float(self.study.world_count - 1) if self.study.world_count > 1 else float("inf")

    def study_at(self, dials: Mapping[str, Any], replications: int) -> Study:
        """The study of one cell; its draws are independent of those of other values."""
        return replace(self.study, grid=tuple((dial, (value,)) for dial, value in dials.items()), block=BLOCK,
                       replications=replications, common_random_numbers=False)  # fmt: skip

    def measure(self, dials: Mapping[str, Any], replications: int) -> Taken:
        """The measure at some values of dials, from so many replications; raises BadInput for values that it lacks."""
        study = self.study_at(dials, replications)
        name = f"{study.cells[0].key or 'all'}.zarr"
        held = self.stores.get(name)
        if held is None or held.replications < replications:
            place = None if self.folder is None else self.folder / "points" / name
            held = self.stores[name] = run(study, store=place, executor=self.executor)
        value, mcse = self.question.value(diagnose(Selection(held, 0, range(replications // BLOCK))).frame)
        taken = Taken(dials, value, mcse, replications, "" if self.folder is None else f"points/{name}")
        self.taken.append(taken)
        if self.listen:
            words = ", ".join(
                f"{dial} = {x:g}" if isinstance(x, float) else f"{dial} = {x}" for dial, x in dials.items()
            )
            found = f"{self.question.measure} {value:.4g} (MCSE {mcse:.2g}), {replications:,} replications"
            self.listen(f"{words or 'pilot'}: {found}")
        return taken

    def store_at(self, dials: Mapping[str, Any]) -> Store:
        """The store of a point that was measured."""
        return self.stores[f"{self.study_at(dials, BLOCK).cells[0].key or 'all'}.zarr"]

    def along(self, dial: str, others: Mapping[str, Any], whole: bool) -> Callable[[float, int], Point]:
        """The distance from the level as a function of one dial, the others as given."""

        def measure(x: float, replications: int) -> Point:
            taken = self.measure({**others, dial: int(x) if whole else x}, replications)
            return Point(x, *self.question.distance(taken.value, taken.mcse, taken.n), taken.n)

        return measure


def settings_of_rest(study: Study, dials: Sequence[str]) -> list[dict[str, Any]]:
    """The values of the other dials of a study's grid in each of its cells; one empty set without such dials."""
    found: dict[str, dict[str, Any]] = {}
    for cell in study.cells:
        rest = {name: value for name, value in cell.parameters.items() if name not in dials}
        found.setdefault(repr(rest), rest)
    return list(found.values())
