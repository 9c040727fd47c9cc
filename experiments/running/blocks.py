"""One block of one cell: draw in tiles, reduce once for all estimators that share it, solve many replications together.

Tiles are aligned to the absolute replication index and always drawn whole, so that the numbers do not depend on where a
block begins or ends.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estimators.core.estimator import Estimates, Estimator, Layout, Moments, Reduction, Status
from estimators.core.tile import Tile
from experiments.study.border import (
    asking,
    check_draw,
    check_estimates,
    check_moments,
    check_repeated,
    check_truths,
    lacking,
)
from experiments.study.study import Cell, Study
from results.store.block import Block
from sim.design import Draw, Wanted, World
from sim.designs.observed import Observed
from sim.errors import BadInput
from sim.panel import Panel, Schema
from sim.streams import Streams

TILE = 32  # replications drawn and reduced together: enough to spread calls and fixed arrays over, few for memory


MOST_TRACEBACKS = 5  # of an estimator in a block


@dataclass(frozen=True, eq=False, slots=True)
class CellRunner:
    """A settled cell with the plans of its estimators; runs any range of replications."""

    cell: Cell
    estimators: tuple[Estimator, ...]
    schema: Schema
    layouts: Mapping[str, Layout]
    wanted: Wanted
    world: World
    streams: Streams
    plans: Mapping[Reduction, Any]

    @classmethod
    def prepare(cls, study: Study, cell: Cell) -> CellRunner:
        """Settle the design and prepare every reduction on its first tile; raises BadInput if a panel cannot serve."""
        streams, wanted = cell.streams(study.seed), study.wanted(cell)
        with asking(cell.design, "settle"):
            world = cell.design.settle(streams)
        schema = cell.design.schema
        runner = cls(cell, study.estimators, schema, study.layouts(schema), wanted, world, streams, {})
        with asking(cell.design, "draw"):
            first = runner.draw(0)
        check_truths(cell.design, first.truth, TILE)
        return replace(runner, plans=_plans(study.estimators, schema, first.panel))

    def draw(self, start: int) -> Draw:
        """The tile that begins at replication `start`, a multiple of TILE; raises BadInput for a wrong one."""
        draw = self.world.draw(self.streams.tile(start, start + TILE), self.wanted)
        check_draw(self.cell.design, self.schema, draw, self.wanted, TILE)
        return draw

    def check_repeatable(self) -> None:
        """Raise BadInput when the first tile differs between this world, which has drawn before, and a fresh one."""
        fresh = self.cell.design.settle(self.streams).draw(self.streams.tile(0, TILE), self.wanted)
        check_repeated(self.cell.design, fresh, self.draw(0))

    def run(self, start: int, stop: int, tracebacks: int = MOST_TRACEBACKS) -> Block:
        """Replications `start` to `stop - 1`; `start` is a multiple of TILE. Keeps so many tracebacks an estimator."""
        truths: dict[str, list[NDArray[np.float64]]] = {name: [] for name in self.wanted.estimands}
        lanes = self._lanes(tracebacks)
        for first in range(start, stop, TILE):
            draw = self.draw(first)
            for name, values in truths.items():
                values.append(draw.truth[name])
            tile = Tile(draw.panel)
            for lane in lanes:
                lane.add(tile, first)
        for lane in lanes:
            lane.flush()
        rows = slice(0, stop - start)
        truth = {name: np.concatenate(parts) for name, parts in truths.items()}
        check_truths(self.cell.design, truth, TILE)
        collected = {name: parts for lane in lanes for name, parts in lane.parts.items()}
        return Block(
            truth={name: values[rows] for name, values in truth.items()},
            estimates={item.name: Estimates.join(collected[item.name]).take(rows) for item in self.estimators},
            tracebacks={key: text for lane in lanes for key, text in lane.tracebacks.items() if key[0] < stop},
        )

    def _lanes(self, tracebacks: int) -> list[_Lane]:
        """The estimators by their reductions."""
        found: dict[Reduction | None, list[Estimator]] = {}
        for estimator in self.estimators:
            found.setdefault(estimator.reduction(self.schema), []).append(estimator)
        return [_Lane(self, reduction, members, tracebacks) for reduction, members in found.items()]

    def checked(self, estimator: Estimator, result: Estimates, rows: int) -> Estimates:
        """What an estimator returned; raises BadInput when it is not what its layout says."""
        check_estimates(estimator, self.layouts[estimator.name], result, rows)
        return result

    def streams_of(self, estimator: Estimator, start: int, stop: int) -> Streams:
        """An estimator's own random numbers for these replications."""
        return self.streams.within(repr(estimator)).tile(start, stop)


def _plans(estimators: tuple[Estimator, ...], schema: Schema, panel: Panel) -> dict[Reduction, Any]:
    """Every reduction's work on what does not change between replications, each once."""
    plans: dict[Reduction, Any] = {}
    for estimator in estimators:
        with asking(estimator, "prepare"):
            reduction = estimator.reduction(schema)
            if reduction is not None and reduction not in plans:
                plans[reduction] = reduction.prepare(panel)
    return plans


@dataclass(eq=False, slots=True)
class _Lane:
    """The estimators of one reduction on their way through a block: moments wait here until enough rows are there."""

    runner: CellRunner
    reduction: Reduction | None
    estimators: list[Estimator]
    most_tracebacks: int
    waiting: list[Moments] = field(default_factory=list)
    begin: int = -1
    parts: dict[str, list[Estimates]] = field(default_factory=dict)
    tracebacks: dict[tuple[int, str], str] = field(default_factory=dict)

    def add(self, tile: Tile, first: int) -> None:
        """Reduce a tile; solve when the moments that wait are as many as the plan allows."""
        if self.reduction is None:
            self._whole(tile.panel, first)
            return
        plan = self.runner.plans[self.reduction]
        try:
            moments = self.reduction.reduce(plan, tile)
        except Exception:  # noqa: BLE001  (a failing fit is data: its replication is found and its traceback kept)
            self.flush()
            self._singly(tile.panel, first, self.estimators)
            return
        check_moments(self.estimators[0], moments, tile.panel.replications)
        if not self.waiting:
            self.begin = first
        self.waiting.append(moments)
        if len(self.waiting) * TILE >= self.reduction.rows(plan):
            self.flush()

    def flush(self) -> None:
        """Solve all that waits."""
        if not self.waiting:
            return
        moments = type(self.waiting[0]).join(self.waiting)
        self.waiting.clear()
        for estimator in self.estimators:
            for first, estimates in self._solved(estimator, moments, self.begin):
                self._accept(estimator, first, estimates)

    def _solved(self, estimator: Estimator, moments: Moments, first: int) -> list[tuple[int, Estimates]]:
        """Estimates with their first replication; a batch that raises is halved until the culprit stands alone."""
        rows = moments.rows
        streams = self.runner.streams_of(estimator, first, first + rows)
        assert self.reduction is not None
        try:
            result = estimator.solve(self.runner.plans[self.reduction], moments, self.runner.schema, streams)
        except Exception as error:  # noqa: BLE001
            if rows == 1:
                return [(first, self._failure(estimator, first, error))]
            half = rows // 2
            return self._solved(estimator, moments.take(slice(0, half)), first) + self._solved(
                estimator, moments.take(slice(half, rows)), first + half
            )
        return [(first, self.runner.checked(estimator, result, rows))]

    def _whole(self, panel: Panel, first: int) -> None:
        """Estimators without a reduction take the tile as it is."""
        for estimator in self.estimators:
            try:
                result = estimator(panel, self.runner.streams_of(estimator, first, first + panel.replications))
            except Exception:  # noqa: BLE001
                self._singly(panel, first, [estimator])
            else:
                self._accept(estimator, first, self.runner.checked(estimator, result, panel.replications))

    def _singly(self, panel: Panel, first: int, estimators: list[Estimator]) -> None:
        """Each replication of a tile on its own, after the tile as a whole raised."""
        for estimator in estimators:
            for row in range(panel.replications):
                at = first + row
                try:
                    result = estimator(panel.replication(row), self.runner.streams_of(estimator, at, at + 1))
                except Exception as error:  # noqa: BLE001
                    result = self._failure(estimator, at, error)
                self._accept(estimator, at, self.runner.checked(estimator, result, 1))

    def _accept(self, estimator: Estimator, first: int, estimates: Estimates) -> None:
        """Keep estimates; a fit without the numbers that its status promises has failed."""
        runner = self.runner
        observed = isinstance(runner.cell.design, Observed)
        found = lacking(estimates, runner.layouts[estimator.name], with_errors=not observed)
        for row, what in found.items():
            self._note(first + row, estimator.name, f"{estimator.name}: {what}, although the fit says OK")
        if found:
            estimates = replace(estimates, status=estimates.status.copy())
            estimates.status[list(found)] = Status.ERROR
        self.parts.setdefault(estimator.name, []).append(estimates)

    def _note(self, replication: int, name: str, text: str) -> None:
        if sum(of == name for _, of in self.tracebacks) < self.most_tracebacks:
            self.tracebacks[replication, name] = text

    def _failure(self, estimator: Estimator, replication: int, error: Exception) -> Estimates:
        refused = isinstance(error, BadInput)
        self._note(replication, estimator.name, "".join(traceback.format_exception(error)))
        layout = self.runner.layouts[estimator.name]
        return Estimates.failed(layout, Status.REFUSED if refused else Status.ERROR)
