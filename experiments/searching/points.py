"""Measuring at a value of a dial: one store a value, run and resumed by the ordinary runner.

A point is read from the first replications of its store alone, so that a search which is repeated or resumed takes the
same steps whatever its stores hold already.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from cluster import Executor
from experiments.running.runner import run
from experiments.running.tasks import runner_of
from experiments.running.until import Selection
from experiments.searching.question import Question
from experiments.searching.root import Point
from experiments.study.study import Study
from results.diagnosis.diagnose import diagnose
from results.store import Store
from sim.arrays import Floats
from sim.streams import TILE

BLOCK = 256  # replications stored together in a search: its steps are small
FIRST = 512  # replications of a point of the bracket

Listener = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Taken:
    """What was measured at values of the dials: the measure, its Monte Carlo error, from n replications in a store.

    fits: of the replications, those that the measure is a mean of.
    """

    dials: Mapping[str, Any]
    value: float
    mcse: float
    n: int
    store: str
    fits: int


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
        """The measure at some values of dials, from so many replications in whole blocks; raises BadInput for values
        that it lacks."""
        replications = -(-replications // BLOCK) * BLOCK
        study = self.study_at(dials, replications)
        name, place = self._place(study)
        held = self.stores.get(name)
        if held is None or held.replications < replications:
            held = self.stores[name] = run(study, store=place, executor=self.executor)
        value, mcse, fits = self.question.value(diagnose(Selection(held, 0, range(replications // BLOCK))).frame)
        taken = Taken(dials, value, mcse, replications, "" if self.folder is None else f"points/{name}", fits)
        if taken in self.taken:
            return taken
        self.taken.append(taken)
        if self.listen:
            words = ", ".join(
                f"{dial} = {x:g}" if isinstance(x, float) else f"{dial} = {x}" for dial, x in dials.items()
            )
            found = f"{self.question.measure} {value:.4g} (MCSE {mcse:.2g}), {replications:,} replications"
            self.listen(f"{words or 'pilot'}: {found}")
        return taken

    def truth(self, dials: Mapping[str, Any]) -> tuple[str, Floats]:
        """The estimand that is asked of, and one tile of its truth at values of the dials; none of a term without."""
        study = self.study_at(dials, BLOCK)
        target = study.layouts(study.cells[0].design.schema)[self.question.estimator].targets.get(self.question.term)
        return ("", np.empty(0)) if target is None else (target, runner_of(study, 0).draw(0).truth[target])

    def check(self, dials: Mapping[str, Any]) -> None:
        """Raise BadInput for a measure that cannot be had of the truth at values of the dials."""
        target, truth = self.truth(dials)
        if target:
            where = ", ".join(f"{dial} = {value}" for dial, value in dials.items())
            self.question.check_truth(truth, target, where)

    def probe(self, dials: Mapping[str, Any]) -> None:
        """Fit one tile unless that place was measured before; raises BadInput where fits that succeed have no such
        measure, as of an error type without intervals."""
        study = self.study_at(dials, TILE)
        name, place = self._place(study)
        if name in self.stores or (place is not None and place.exists()):
            return
        frame = diagnose(run(study, executor=self.executor)).frame
        mine = frame[frame["estimator"] == self.question.estimator]
        if bool(mine[mine["measure"] == "convergence"]["n"].any()):
            column = {"type_s": "rejection"}.get(self.question.column, self.question.column)
            replace(self.question, measure=column, share=False).value(frame)

    def _place(self, study: Study) -> tuple[str, Path | None]:
        """The name of a point's store, and where it is kept."""
        name = f"{study.cells[0].key or 'all'}.zarr"
        return name, None if self.folder is None else self.folder / "points" / name

    def store_at(self, dials: Mapping[str, Any]) -> Store:
        """The store of a point that was measured."""
        return self.stores[self._place(self.study_at(dials, BLOCK))[0]]

    def along(self, dial: str, others: Mapping[str, Any], whole: bool) -> Callable[[float, int], Point]:
        """The distance from the level as a function of one dial, the others as given."""

        def measure(x: float, replications: int) -> Point:
            taken = self.measure({**others, dial: int(x) if whole else x}, replications)
            found = taken.value, taken.mcse, taken.fits
            return Point(x, *self.question.distance(*found), taken.n, self.question.apart(*found))

        return measure


def settings_of_rest(study: Study, dials: Sequence[str]) -> list[dict[str, Any]]:
    """The values of the other dials of a study's grid in each of its cells; one empty set without such dials."""
    found: dict[str, dict[str, Any]] = {}
    for cell in study.cells:
        rest = {name: value for name, value in cell.parameters.items() if name not in dials}
        found.setdefault(repr(rest), rest)
    return list(found.values())
