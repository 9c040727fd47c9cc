"""A block that ended its process, computed again in child processes: what it costs is found down to one fit.

The block is halved until single tiles remain, a tile is tried estimator by estimator, and an estimator replication by
replication. A fit that ends its process gets the status ERROR with the reason, and so do all fits of a tile whose draw
ends it; all others keep their numbers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from cluster import JobDied
from cluster.child import Child
from estimators.core.estimator import Estimates, Estimator, Status
from estimators.core.tile import Tile
from experiments.run.blocks import CellRunner
from experiments.run.tasks import Job, Result, cached_study, check_environment, runner_of
from results.store.block import Block
from sim.streams import TILE, world_of

LOST = "the fit ended its process: "  # how the text of such a fit begins
LOST_DRAW = "the draw of its tile ended its process: "
LEAST_SECONDS = 10.0  # that a piece of a block may take
FACTOR = 20.0  # times what was seen a piece may take
MOST_DEAD_DRAWS = 2  # of a block: more, and the world itself is at fault


class DrawDied(RuntimeError):
    """Draws ended their process again and again, so that the block cannot be computed."""


@dataclass(frozen=True, slots=True)
class JobPiece:
    """Replications of a job: of all its estimators, or one, in the way that a name of `WAYS` says."""

    job: Job
    start: int
    stop: int
    way: str
    estimator: str = ""


def _draw(runner: CellRunner, piece: JobPiece) -> None:
    runner.draw(piece.start)


def _reduce(runner: CellRunner, piece: JobPiece) -> None:
    panel = runner.draw(piece.start).panel
    plans = runner.plan(int(world_of(piece.start, runner.worlds)), panel)
    reduction = runner.estimators[0].reduction(runner.schema)
    if reduction is not None and reduction in plans:
        reduction.reduce(plans[reduction], Tile(panel))


WAYS: dict[str, Callable[[CellRunner, JobPiece], Block | None]] = {
    "whole": lambda runner, piece: runner.run(piece.start, piece.stop),
    "draw": _draw,
    "reduce": _reduce,
    "from moments": lambda runner, piece: runner.run_singly(piece.start, piece.stop, reduced=True),
    "alone": lambda runner, piece: runner.run_singly(piece.start, piece.stop, reduced=False),
}


def compute_piece(piece: JobPiece) -> Block | None:
    """In the child: the block of a piece, or None of one that only tries whether the process survives."""
    job = piece.job
    check_environment(job.environment)
    runner = runner_of(job.known, job.cell)
    chosen = (piece.estimator,) if piece.estimator else tuple(item.name for item in _estimators(job))
    runner = replace(runner, estimators=tuple(item for item in job.known.estimators if item.name in chosen))
    return WAYS[piece.way](runner, piece)


def run_carefully(job: Job, seconds: float | None, memory: int | None) -> Result:
    """Run a job in children of this process, within limits: seconds of the block, bytes of memory.

    Raises DrawDied when panels could not be drawn, and what a job raises.
    """
    study = cached_study(job)
    if study is None:
        return Result(None, 0.0)
    job = replace(job, study=study)
    begin = time.perf_counter()
    search = FaultBisection(job, seconds, memory)
    try:
        first = min(job.start + TILE, job.stop)
        blocks = [search.block(job.start, first)]  # how long a tile takes says how long the rest may
        if first < job.stop:
            blocks.append(search.block(first, job.stop))
    finally:
        search.child.close()
    made_in = check_environment(job.environment)
    return Result(Block.join(blocks), time.perf_counter() - begin, made_in=made_in)


@dataclass(eq=False, slots=True)
class FaultBisection:
    """The search for the fits of a job that end their process; slowest: seconds of a replication so far."""

    job: Job
    seconds: float | None
    memory: int | None
    child: Child = field(default_factory=lambda: Child(fork=_alone()))
    slowest: float = 0.0
    dead_draws: int = 0

    def call(self, start: int, stop: int, way: str, estimator: str = "") -> Any:
        """A piece in a child, for at most a multiple of what such a piece took so far."""
        limit = self.seconds
        if limit is not None and self.slowest:
            limit = min(limit, max(LEAST_SECONDS, FACTOR * self.slowest * max(stop - start, TILE)))
        begin = time.perf_counter()
        found = self.child.call(compute_piece, JobPiece(self.job, start, stop, way, estimator), limit, self.memory)
        if way != "draw":
            self.slowest = max(self.slowest, (time.perf_counter() - begin) / (stop - start))
        return found

    def block(self, start: int, stop: int) -> Block:
        """All replications from `start` on, a multiple of TILE."""
        try:
            return self.call(start, stop, "whole")
        except JobDied:
            tiles = -(-(stop - start) // TILE)
            if tiles == 1:
                return self.tile(start, stop)
            middle = start + tiles // 2 * TILE
            return Block.join([self.block(start, middle), self.block(middle, stop)])

    def tile(self, start: int, stop: int) -> Block:
        """One tile, estimator by estimator."""
        try:
            self.call(start, stop, "draw")
        except JobDied as error:
            return self.without_draw(start, stop, error)
        blocks = [self.of_estimator(item, start, stop) for item in _estimators(self.job)]
        estimates = {name: found for block in blocks for name, found in block.estimates.items()}
        texts = {key: text for block in blocks for key, text in block.tracebacks.items()}
        return Block(blocks[0].truth, estimates, texts, start)

    def without_draw(self, start: int, stop: int, error: JobDied) -> Block:
        """A tile that cannot be drawn: no truth, and no fit."""
        self.dead_draws += 1
        if self.dead_draws > MOST_DEAD_DRAWS:
            raise DrawDied(f"cell {self.job.cell}: drawing panels ended the process {self.dead_draws} times: {error}")
        runner = runner_of(self.job.known, self.job.cell)
        names = [item.name for item in _estimators(self.job)]
        failed = {name: Estimates.failed(runner.layouts[name], Status.ERROR) for name in names}
        return Block(
            {name: np.full(stop - start, np.nan) for name in runner.wanted.estimands},
            {name: Estimates.join([one] * (stop - start)) for name, one in failed.items()},
            {(start, name): f"{LOST_DRAW}{error}" for name in names},
            start,
        )

    def of_estimator(self, item: Estimator, start: int, stop: int) -> Block:
        """One estimator on a tile; each replication on its own when the tile ends the process."""
        if len(_estimators(self.job)) > 1:  # the tile as a whole has ended it already
            try:
                return self.call(start, stop, "whole", item.name)
            except JobDied:
                pass
        try:
            self.call(start, stop, "reduce", item.name)
        except JobDied:
            return self.singly(item, start, stop, "alone")
        return self.singly(item, start, stop, "from moments")

    def singly(self, item: Estimator, start: int, stop: int, way: str) -> Block:
        """The replications of a tile one by one: halving them would hang again at each step."""
        return Block.join([self.one(item, at, way) for at in range(start, stop)])

    def one(self, item: Estimator, at: int, way: str) -> Block:
        """One replication, or that its fit ended the process."""
        try:
            return self.call(at, at + 1, way, item.name)
        except JobDied as error:
            return self.lost(item, at, error)

    def lost(self, item: Estimator, at: int, error: JobDied) -> Block:
        """The replication whose fit ended its process."""
        runner = runner_of(self.job.known, self.job.cell)
        first = at - at % TILE
        truth = {name: values[at - first : at - first + 1] for name, values in runner.draw(first).truth.items()}
        failed = Estimates.failed(runner.layouts[item.name], Status.ERROR)
        return Block(truth, {item.name: failed}, {(at, item.name): f"{LOST}{error}"}, at)


def _estimators(job: Job) -> list[Estimator]:
    """Those that a job fits."""
    return [item for item in job.known.estimators if job.only is None or item.name in job.only]


def _alone() -> bool:
    """Whether this is the main thread, as in a run without workers: a copy of it holds no lock of other threads."""
    return threading.current_thread() is threading.main_thread()
