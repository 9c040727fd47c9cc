"""One block of one cell: draw in tiles, reduce once for all estimators that share it, solve many replications together.

Tiles are aligned to the absolute replication index and always drawn whole, so that the numbers do not depend on where a
block begins or ends. Each lies in one of the cell's worlds (`sim.streams`); a block goes through them one after the
other, because plans and what is solved together belong to one world.
"""

from __future__ import annotations

import threading
import traceback
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster import prepare_process
from estimators.core.estimator import Estimates, Estimator, Layout, Moments, Reduction, Status
from estimators.core.tile import Tile
from experiments.plugin_contracts import (
    WrongAnswer,
    asking,
    check_draw,
    check_estimates,
    check_fitted_again,
    check_moments,
    check_repeated,
    check_truths,
    lacking,
)
from experiments.study import Cell, Study
from results.store.block import Block
from sim.design import Draw, Wanted, World
from sim.errors import BadInput
from sim.panel import Panel
from sim.real_panels import Observed
from sim.schema import Schema
from sim.streams import TILE, Streams, world_of

MOST_TRACEBACKS = 5  # of an estimator in a block
KEPT_WORLDS = 64  # of a cell, while other blocks may ask for them
KEPT_PLANS = 4  # of studies
_PLANNED: OrderedDict[Hashable, tuple[Panel, Mapping[Reduction, Any]]] = OrderedDict()  # the last ones of this process
one_at_a_time = threading.RLock()  # runners, their plans and the kernels' work space belong to the whole process
PLANNED_ON = 2  # replications of the panel that plans are made of: enough to tell what differs, few for memory


@dataclass(frozen=True, eq=False, slots=True)
class CellRunner:
    """A cell with its worlds and the plans of its estimators; runs any range of replications.

    worlds: how many there are. settled: those that were settled and are remembered, by index, each with what its fixed
    variables give each reduction, its plans, which are made when first needed.
    """

    cell: Cell
    estimators: tuple[Estimator, ...]
    schema: Schema
    layouts: Mapping[str, Layout]
    wanted: Wanted
    streams: Streams
    worlds: int
    settled: OrderedDict[int, tuple[World, dict[Reduction, Any]]] = field(default_factory=OrderedDict)

    @classmethod
    def prepare(cls, study: Study, cell: Cell) -> CellRunner:
        """Settle the first world and prepare every reduction on its first tile; raises BadInput if a panel cannot
        serve."""
        streams, wanted, schema = cell.streams(study.seed), study.wanted(cell), cell.design.schema
        runner = cls(cell, study.estimators, schema, study.layouts(schema), wanted, streams, study.world_count)
        with asking(cell.design, "settle"):
            runner.world(0)
        with asking(cell.design, "draw"):
            first = runner.draw(0)
        check_truths(cell.design, first.truth, TILE)
        runner.plan(0, first.panel)
        return runner

    def world(self, index: int) -> tuple[World, dict[Reduction, Any]]:
        """A world and its plans, settled now unless it is remembered.

        The random numbers of one do not depend on how many there are.
        """
        if index not in self.settled:
            self.settled[index] = self.cell.design.settle(self.streams.of_world(index)), {}
            while len(self.settled) > KEPT_WORLDS:
                self.settled.popitem(last=False)
        self.settled.move_to_end(index)
        return self.settled[index]

    def plan(self, index: int, panel: Panel) -> Mapping[Reduction, Any]:
        """Every reduction's work on what does not change in a world, each once; the panel is any tile of it.

        Worlds and cells that hold the same fixed, such as those of twins of one panel, share it.
        """
        _, plans = self.world(index)
        if not plans:
            first, key = first_rows(panel), (self.estimators, self.schema, self.worlds)
            last = _PLANNED.get(key)
            if last is None or not _fixed_alike(last[0], first):
                last = first, _plans(self.estimators, self.schema, first, self.worlds)
                _PLANNED[key] = last
                while len(_PLANNED) > KEPT_PLANS:
                    _PLANNED.popitem(last=False)
            plans |= last[1]
        return plans

    def draw(self, start: int) -> Draw:
        """The tile that begins at replication `start`, a multiple of TILE; raises BadInput for a wrong one."""
        world, _ = self.world(int(world_of(start, self.worlds)))
        draw = world.draw(self.streams.tile(start, start + TILE), self.wanted)
        check_draw(self.cell.design, self.schema, draw, self.wanted, TILE)
        return draw

    def check_repeatable(self) -> None:
        """Raise BadInput when the first tile differs between its world, which has drawn before, and a fresh one."""
        fresh = self.cell.design.settle(self.streams.of_world(0)).draw(self.streams.tile(0, TILE), self.wanted)
        check_repeated(self.cell.design, fresh, self.draw(0))

    def try_fits(self, estimators: Iterable[Estimator]) -> None:
        """Fit the first replications twice; raises BadInput for a wrong answer, and for another one the second time.

        What raises here is left to the run, which keeps tracebacks.
        """
        panel = first_rows(self.draw(0).panel)
        rows = panel.replications
        for estimator in estimators:
            try:
                first, again = (estimator(panel, self.streams_of(estimator, 0, rows)) for _ in range(2))
            except Exception:  # noqa: BLE001
                continue
            for found in (first, again):
                self.checked(estimator, found, rows)
            check_fitted_again(estimator, first, again)

    def run(
        self, start: int, stop: int, tracebacks: int = MOST_TRACEBACKS, only: tuple[str, ...] | None = None
    ) -> Block:
        """Replications `start` to `stop - 1`; `start` is a multiple of TILE. Keeps so many tracebacks an estimator.

        only: names of the estimators to fit, on the panels that all of them would get; None = all.
        """
        estimators = tuple(item for item in self.estimators if only is None or item.name in only)
        builder = BlockBuilder(tracebacks, estimators)
        by_world: dict[int, list[int]] = {}
        for first in range(start, stop, TILE):
            by_world.setdefault(int(world_of(first, self.worlds)), []).append(first)
        for index, tiles in by_world.items():
            batches: list[ReductionBatch] = []
            for first in tiles:
                draw = self.draw(first)
                batches = batches or self._batches(self.plan(index, draw.panel), builder)
                builder.tiles.append(np.arange(first, first + draw.panel.replications))
                builder.truths.append(draw.truth)
                tile = Tile(draw.panel)
                for batch in batches:
                    batch.add(tile, first)
            for batch in batches:
                batch.flush()
        order = np.argsort(np.concatenate(builder.tiles), kind="stable")[: stop - start]
        truth = {name: np.concatenate([part[name] for part in builder.truths])[order]
                 for name in self.wanted.estimands}  # fmt: skip
        check_truths(self.cell.design, truth, TILE)
        return Block(
            truth=truth,
            estimates={item.name: builder.estimates_of(item.name, stop - start) for item in estimators},
            tracebacks={key: text for key, text in builder.tracebacks.items() if key[0] < stop},
            start=start,
        )

    def run_singly(self, start: int, stop: int, *, reduced: bool) -> Block:
        """Replications of one tile, each fitted on its own; reduced: after the work that the whole tile shares."""
        first, builder = start - start % TILE, BlockBuilder(MOST_TRACEBACKS, self.estimators)
        draw, rows = self.draw(first), range(start - first, stop - first)
        for batch in self._batches(self.plan(int(world_of(first, self.worlds)), draw.panel), builder):
            batch.singly(draw.panel, first, rows, reduced=reduced)
        truth = {name: draw.truth[name][rows.start : rows.stop] for name in self.wanted.estimands}
        estimates = {item.name: builder.estimates_of(item.name, stop - start) for item in self.estimators}
        return Block(truth, estimates, builder.tracebacks, start)

    def _batches(self, plans: Mapping[Reduction, Any], builder: BlockBuilder) -> list[ReductionBatch]:
        """The estimators by their reductions, with the plans of a world."""
        found: dict[Reduction | None, list[Estimator]] = {}
        for estimator in builder.estimators:
            reduction = estimator.reduction(self.schema)
            found.setdefault(reduction if reduction in plans else None, []).append(estimator)
        return [ReductionBatch(self, plans, reduction, members, builder) for reduction, members in found.items()]

    def checked(self, estimator: Estimator, result: Estimates, rows: int) -> Estimates:
        """What an estimator returned; raises WrongAnswer when it is not what its layout says."""
        check_estimates(estimator, self.layouts[estimator.name], result, rows)
        return result

    def streams_of(self, estimator: Estimator, start: int, count: int) -> Streams:
        """An estimator's own random numbers for so many replications from `start` on, all of one world."""
        return self.streams.within(repr(estimator)).in_worlds(self.worlds).tile(start, start + count)


def fit_panel(panel: Panel, estimators: Iterable[Estimator], seed: int) -> Mapping[str, Estimates]:
    """Estimates on one panel by estimator: what a study of one replication of it would keep, to the bit.

    A fit that raises has a status that says so. Raises BadInput for estimators of one name, for a panel that cannot
    serve, and for an estimator that is not panelproof's own and gives a wrong answer, or two to one question.
    """
    prepare_process()
    study = Study("estimate", Observed(panel), tuple(estimators), replications=1, block=64, seed=seed)
    with one_at_a_time:
        runner = CellRunner.prepare(study, study.cells[0])
        runner.try_fits(study.own_estimators)
        return runner.run(0, 1).estimates


def _plans(estimators: tuple[Estimator, ...], schema: Schema, panel: Panel, worlds: int) -> dict[Reduction, Any]:
    """Every reduction's work on what does not change between replications, each once.

    Where replications have gaps of their own they are fitted one by one: there is no plan, but a first one is tried.
    """
    plans: dict[Reduction, Any] = {}
    alone = panel.observed is not None and len(panel.observed) > 1
    for estimator in estimators:
        with asking(estimator, "prepare"):
            reduction = estimator.reduction(schema)
            if reduction is not None and reduction not in plans:
                plan = reduction.prepare(panel.replication(0) if alone else panel)
                plans[reduction] = reduction.for_worlds(plan, worlds)
    return {} if alone else plans


def _fixed_alike(a: Panel, b: Panel) -> bool:
    """Whether two panels are equal in all that does not differ between their replications."""
    if a.variables.keys() != b.variables.keys():
        return False
    same_gaps = a.observed is b.observed
    if a.observed is not None and b.observed is not None:
        same_gaps = np.array_equal(a.observed, b.observed)
    pairs = [(values, b.variables[name]) for name, values in a.variables.items()]
    return (
        same_gaps
        and all(len(x) == len(y) for x, y in pairs)
        and all(np.array_equal(x, y, equal_nan=True) for x, y in pairs if len(x) == 1)
        and a.attributes.keys() == b.attributes.keys()
        and all(np.array_equal(values, b.attributes[name]) for name, values in a.attributes.items())
        and a.weights.keys() == b.weights.keys()
        and all(w is b.weights[name] or w.digest == b.weights[name].digest for name, w in a.weights.items())
    )


def first_rows(panel: Panel, rows: int = PLANNED_ON) -> Panel:
    """The first replications of a tile: a plan that keeps its panel then keeps little."""
    few = {name: values if len(values) == 1 else values[:rows].copy() for name, values in panel.variables.items()}
    seen = panel.observed
    if seen is not None and len(seen) > 1:
        return replace(panel, variables=few, observed=seen[:rows].copy())
    return panel.with_variables(few)


@dataclass(eq=False, slots=True)
class BlockBuilder:
    """What a block has so far, in the order in which it was computed.

    estimators: that are fitted. tiles: replications of each tile. truths: of each tile. parts: estimates of an
    estimator with their replications.
    """

    most_tracebacks: int
    estimators: tuple[Estimator, ...]
    tiles: list[NDArray[np.intp]] = field(default_factory=list)
    truths: list[Mapping[str, NDArray[np.float64]]] = field(default_factory=list)
    parts: dict[str, list[tuple[NDArray[np.intp], Estimates]]] = field(default_factory=dict)
    tracebacks: dict[tuple[int, str], str] = field(default_factory=dict)

    def estimates_of(self, name: str, rows: int) -> Estimates:
        """An estimator's first rows in the order of replications."""
        replications, parts = zip(*self.parts[name], strict=True)
        order = np.argsort(np.concatenate(replications), kind="stable")[:rows]
        return Estimates.join(parts).take(order)

    def note(self, replication: int, name: str, text: str) -> None:
        """Keep a traceback, unless there are enough of this estimator."""
        if sum(of == name for _, of in self.tracebacks) < self.most_tracebacks:
            self.tracebacks[replication, name] = text


@dataclass(eq=False, slots=True)
class ReductionBatch:
    """The estimators of one reduction on their way through a world: moments wait here until enough rows are there."""

    runner: CellRunner
    plans: Mapping[Reduction, Any]
    reduction: Reduction | None
    estimators: list[Estimator]
    builder: BlockBuilder
    waiting: list[Moments] = field(default_factory=list)
    replications: list[NDArray[np.intp]] = field(default_factory=list)  # of what waits

    def add(self, tile: Tile, first: int) -> None:
        """Reduce a tile, and solve when the moments that wait are as many as the plan allows; estimators without a
        reduction take the tile as it is."""
        panel, rows = tile.panel, tile.panel.replications
        replications = np.arange(first, first + rows)
        if self.reduction is None:
            for estimator in self.estimators:
                try:
                    result = estimator(panel, self.runner.streams_of(estimator, first, rows))
                    result = self.runner.checked(estimator, result, rows)
                except Exception:  # noqa: BLE001
                    self._singly(panel, first, [estimator], range(rows))
                else:
                    self._accept(estimator, replications, result)
            return
        plan = self.plans[self.reduction]
        try:
            moments = self.reduction.reduce(plan, tile)
        except Exception:  # noqa: BLE001  (a failing fit is data: its replication is found and its traceback kept)
            self.flush()
            self._singly(panel, first, self.estimators, range(rows))
            return
        check_moments(self.estimators[0], moments, rows)
        self.waiting.append(moments)
        self.replications.append(replications)
        if len(self.waiting) * TILE >= self.reduction.rows(plan):
            self.flush()

    def flush(self) -> None:
        """Solve all that waits."""
        if not self.waiting:
            return
        moments = type(self.waiting[0]).join(self.waiting).locked()
        replications = np.concatenate(self.replications)
        self.waiting.clear()
        self.replications.clear()
        for estimator in self.estimators:
            self._solve(estimator, moments, replications)

    def _solve(self, estimator: Estimator, moments: Moments, replications: NDArray[np.intp]) -> None:
        """Solve what waited; a batch that raises is halved until the culprit stands alone."""
        rows = len(replications)
        streams = self.runner.streams_of(estimator, int(replications[0]), rows)
        assert self.reduction is not None
        try:
            result = estimator.solve(self.plans[self.reduction], moments, self.runner.schema, streams)
            result = self.runner.checked(estimator, result, rows)
        except Exception as error:  # noqa: BLE001
            if rows == 1:
                self._accept(estimator, replications, self._failure(estimator, int(replications[0]), error))
                return
            for half in (slice(0, rows // 2), slice(rows // 2, rows)):
                self._solve(estimator, moments.take(half), replications[half])
            return
        self._accept(estimator, replications, result)

    def singly(self, panel: Panel, first: int, rows: range, *, reduced: bool) -> None:
        """Some replications of a tile, each on its own; reduced: solved from the moments of the whole tile."""
        if self.reduction is None or not reduced:
            self._singly(panel, first, self.estimators, rows)
            return
        moments = self.reduction.reduce(self.plans[self.reduction], Tile(panel)).locked()
        for estimator in self.estimators:
            for row in rows:
                self._solve(estimator, moments.take(slice(row, row + 1)), np.array([first + row]))

    def _singly(self, panel: Panel, first: int, estimators: list[Estimator], rows: range) -> None:
        """Replications of a tile on their own, after the tile as a whole raised."""
        for estimator in estimators:
            for row in rows:
                at = first + row
                try:
                    result = estimator(panel.replication(row), self.runner.streams_of(estimator, at, 1))
                    result = self.runner.checked(estimator, result, 1)
                except Exception as error:  # noqa: BLE001
                    result = self._failure(estimator, at, error)
                self._accept(estimator, np.array([at]), result)

    def _accept(self, estimator: Estimator, replications: NDArray[np.intp], estimates: Estimates) -> None:
        """Keep estimates; a fit without the numbers that its status promises has failed."""
        runner = self.runner
        observed = isinstance(runner.cell.design, Observed)
        found = lacking(estimates, runner.layouts[estimator.name], with_errors=not observed)
        for row, what in found.items():
            what = f"{estimator.name}: {what}, although the fit says OK"
            self.builder.note(int(replications[row]), estimator.name, what)
        if found:
            estimates = replace(estimates, status=estimates.status.copy())
            estimates.status[list(found)] = Status.ERROR
        self.builder.parts.setdefault(estimator.name, []).append((replications, estimates))

    def _failure(self, estimator: Estimator, replication: int, error: Exception) -> Estimates:
        wrong = isinstance(error, WrongAnswer)  # our own traceback says nothing of the estimator
        refused = isinstance(error, BadInput) and not wrong
        text = str(error) if wrong else "".join(traceback.format_exception(error))
        self.builder.note(replication, estimator.name, text)
        layout = self.runner.layouts[estimator.name]
        return Estimates.failed(layout, Status.REFUSED if refused else Status.ERROR)
