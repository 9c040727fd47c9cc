"""The task that workers run, one block of one cell of a study, and the search for a fit that ended its process.

A block that ended its process is computed again in children, so that what it costs is found down to one fit: it is
halved until single tiles remain, a tile is tried estimator by estimator, and an estimator replication by replication. A
fit that ends its process gets the status ERROR with the reason, and so do all fits of a tile whose draw ends it; all
others keep their numbers.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from cluster import Environment, Executor, JobDied, Serial, TwoPhaseTask, WorkerRefused, environment, prepare_process
from cluster.child import Child, Guarded
from estimators.core.estimator import Estimates, Estimator, Status
from estimators.core.tile import Tile
from experiments.listing import kinds_in
from experiments.run.blocks import CellRunner, one_at_a_time
from experiments.study import Study
from results.store.block import Block
from results.store.chunks import Shared, Written, write_chunks
from sim.errors import BadInput
from sim.streams import TILE, world_of

if TYPE_CHECKING:
    from cluster.survey import Worker

KEPT_STUDIES = 4  # that a worker remembers
KEPT_CELLS = 8  # cells a worker remembers
KEPT_WORLDS = 160  # settled worlds of them, some MB each
PACKAGES = ("numpy", "scipy", "panelproof")  # whose versions decide the bits
ROOMS = ("sim", "estimators", "results", "cluster", "experiments")  # whose code does
BY_VALUE = "__main__"  # the module that a script is: its classes travel to workers with each job


@dataclass(frozen=True, slots=True)
class Job:
    """Replications `start` to `stop - 1` of a cell, in an environment like the client's; None: the client runs it.

    study: the study, which may hold a panel, or None where the worker knows it from an earlier job of the same run.
    only: the estimators to compute; None = all of the study. into: the store that the worker writes into itself. run:
    the run that it belongs to. panel: the numbers of a variable in one panel, periods x units.
    """

    study: Study | None
    cell: int
    index: int
    start: int
    stop: int
    environment: Environment | None
    only: tuple[str, ...] | None = None
    into: Shared | None = None
    run: str = ""
    panel: int = 1

    @property
    def known(self) -> Study:
        """The study of a job that brings it."""
        assert self.study is not None
        return self.study

    @property
    def kind(self) -> int:
        """Jobs of one cell take about equally long."""
        return self.cell

    @property
    def size(self) -> int:
        """How much there is to compute, next to jobs of other cells."""
        return (self.stop - self.start) * self.panel


@dataclass(frozen=True, slots=True)
class Result:
    """A block, or what a worker that wrote it says of it, and the seconds it took.

    None in place of the block: the worker does not know the study and must be told. computing: the processor's seconds
    of drawing and fitting alone, 0 where they were not taken. made_in: the worker's environment, where its numbers may
    differ from the client's.
    """

    block: Block | Written | None
    seconds: float
    computing: float = 0.0
    made_in: Environment | None = None


def environment_of(study: Study) -> Environment:
    """All that decides the numbers of a study in this process: versions, kernels, our code and that of its plug-ins."""
    plug_ins = {kind.partition(":")[0].partition(".")[0] for kind in kinds_in(study.settings) if ":" in kind}
    return environment(PACKAGES, (*ROOMS, *sorted(plug_ins - set(ROOMS))))


_runners: OrderedDict[tuple[object, ...], CellRunner] = OrderedDict()


def runner_of(study: Study, cell: int) -> CellRunner:
    """The (cached) settled cell of a study in this process; anew for classes that were loaded anew."""
    key = (study.fingerprint, cell, type(study.design), *map(type, study.estimators))
    with one_at_a_time:
        if key not in _runners:
            _runners[key] = CellRunner.prepare(study, study.cells[cell])
        _runners.move_to_end(key)
        while len(_runners) > 1:
            worlds = sum(len(runner.settled) for runner in _runners.values())
            if len(_runners) <= KEPT_CELLS and worlds <= KEPT_WORLDS:
                break
            _runners.popitem(last=False)
        return _runners[key]


_studies: OrderedDict[str, Study] = OrderedDict()  # studies that jobs brought, by their runs


def cached_study(job: Job) -> Study | None:
    """The study of a job, which it brings or an earlier job of its run brought to this process; else None."""
    with one_at_a_time:
        if job.study is not None and job.run:
            _studies[job.run] = job.study
            while len(_studies) > KEPT_STUDIES:
                _studies.popitem(last=False)
        return job.study or _studies.get(job.run)


def check_environment(client: Environment | None) -> Environment | None:
    """Raise WorkerRefused when this process is not like the client's.

    Returns this process where the client takes any numbers, so that it can say whose they are; else None.
    """
    if client is None:
        return None
    names = [name for name, _ in client.packages]
    here = environment(names, [name for name, _ in client.code if name != BY_VALUE])
    if differences := here.differences(client):
        raise WorkerRefused(f"a worker differs from the client: {', '.join(differences)}; {here.remedy(client)}")
    return None if client.probe else here


def computed(job: Job) -> Result:
    """The first part of a job, which draws and fits, one at a time where a worker has several threads.

    Raises WorkerRefused when this process is not like the client's.
    """
    prepare_process()
    made_in = check_environment(job.environment)
    study = cached_study(job)
    if study is None:
        return Result(None, 0.0)
    begin = time.perf_counter()
    with one_at_a_time:
        runner, busy = runner_of(study, job.cell), time.thread_time()
        block = runner.run(job.start, job.stop, only=job.only)
        computing = time.thread_time() - busy
    return Result(block, time.perf_counter() - begin, computing, made_in)


def written(job: Job, result: Result) -> Result:
    """The second part, which writes the block where workers write themselves."""
    if job.into is None or not isinstance(result.block, Block):
        return result
    begin = time.perf_counter()
    kept = write_chunks(job.into, job.cell, job.index, result.block)
    return replace(result, block=kept, seconds=result.seconds + time.perf_counter() - begin)


run_job = TwoPhaseTask(computed, written)  # what executors run; a function of a job as well


# Before a new store is filled: estimators that are not panelproof's own fit two replications twice.
#
# They do so where blocks are computed, so that what ends its process there does not end this one.


@dataclass(frozen=True, slots=True)
class Trial:
    """A study on its first replications, in an environment like the client's; None: the client runs it."""

    timed: ClassVar[bool] = False  # it says nothing of how long a block takes

    study: Study
    environment: Environment | None


def try_fits(trial: Trial) -> None:
    """Fit twice; raises BadInput for a wrong answer and for two that differ."""
    prepare_process()
    check_environment(trial.environment)
    runner_of(trial.study, 0).try_fits(trial.study.own_estimators)


def let_be(trial: Trial, seconds: float | None, memory: int | None) -> None:
    """What a trial that ended its process is followed by: nothing, because the run finds that fit and names it."""


def check_fits(study: Study, executor: Executor, here: Environment | None) -> None:
    """Raise BadInput when an estimator of the user's gives a wrong answer, or two answers to one question."""
    for outcome in executor.run(try_fits, [Trial(study, here)], let_be):
        if isinstance(outcome.error, BadInput | WorkerRefused):
            raise outcome.error


# Which workers may compute a study: those that are like the client. The others are named, with what to do.


def ask(pool: Any, here: Environment, *, ship: bool) -> list[Worker]:
    """Every worker of a pool of Dask, held against this process.

    ship: send them the code of this process first, where only that differs.
    """
    from cluster import survey

    packages, modules = [name for name, _ in here.packages], [name for name, _ in here.code if name != BY_VALUE]
    found = [_judged(worker, here) for worker in survey.survey(pool, packages, modules)]
    if ship and any(item.why and item.code_alone for item in found):
        size = survey.ship(pool, modules)
        pool.say(f"sent {size / 1e6:.1f} MB of code to the workers")
        found = [_judged(worker, here) for worker in survey.survey(pool, packages, modules)]
    return found


def _judged(worker: Worker, here: Environment) -> Worker:
    """A worker with the reason why it may not compute, "" where it may, and whether its code is all that differs."""
    found = worker.environment
    if found is None:
        return replace(worker, code_alone="no module" in worker.why)
    missing = [name for name, digest in found.code if not digest and dict(here.code).get(name)]
    if missing and found.differs_in_code_alone(here):
        names = ", ".join(missing)
        why = f"it has no module {names}, which the study needs: install it there, or say --ship-code"
        return replace(worker, why=why, code_alone=True)
    differences = found.differences(here)
    why = f"a worker differs from the client: {', '.join(differences)}; {found.remedy(here)}" if differences else ""
    return replace(worker, why=why, code_alone=found.differs_in_code_alone(here))


def admit(executor: Executor, study: Study, *, ship: bool, any_numbers: bool = False) -> None:
    """Leave workers out that are not like this process; ship: send them the code first, where only that differs.

    any_numbers: their numbers may differ from those of this process in the last digits. Raises WorkerRefused when none
    is left. An executor that is this machine's own processes has nothing to ask.
    """
    if isinstance(executor, Serial | Guarded):  # without Dask, which takes long to load
        return
    from cluster.dask_pool import DaskPool

    if not isinstance(executor, DaskPool):
        return
    here = environment_of(study)
    here = here.of_any_numbers if any_numbers else here
    for item in ask(executor, here, ship=ship):
        if item.why:
            executor.refuse(item.address, item.why)


LOST = "the fit ended its process: "  # how the text of such a fit begins
LOST_DRAW = "the draw of its tile ended its process: "
LEAST_SECONDS = 10.0  # that a piece of a block may take
FACTOR = 20.0  # times what was seen a piece may take
MOST_DEAD_DRAWS = 2  # of a block: more, and the world itself is at fault


class DrawDied(RuntimeError):
    """Draws ended their process again and again, so that the block cannot be computed."""


@dataclass(frozen=True, slots=True)
class JobPiece:
    """Replications of a job: of all its estimators, or one.

    way: "whole"; "draw" and "reduce", which only try whether the process survives; "alone" and "from moments", one
    replication after the other.
    """

    job: Job
    start: int
    stop: int
    way: str
    estimator: str = ""


def compute_piece(piece: JobPiece) -> Block | None:
    """In the child: the block of a piece, or None of one that only tries whether the process survives."""
    job = piece.job
    check_environment(job.environment)
    runner = runner_of(job.known, job.cell)
    chosen = (piece.estimator,) if piece.estimator else tuple(item.name for item in _estimators(job))
    runner = replace(runner, estimators=tuple(item for item in job.known.estimators if item.name in chosen))
    if piece.way == "whole":
        return runner.run(piece.start, piece.stop)
    if piece.way not in ("draw", "reduce"):
        return runner.run_singly(piece.start, piece.stop, reduced=piece.way == "from moments")
    panel = runner.draw(piece.start).panel
    if piece.way == "reduce":
        plans = runner.plan(int(world_of(piece.start, runner.worlds)), panel)
        reduction = runner.estimators[0].reduction(runner.schema)
        if reduction is not None and reduction in plans:
            reduction.reduce(plans[reduction], Tile(panel))
    return None


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
    # in the main thread, as in a run without workers: a copy of this process then holds no lock of other threads
    child: Child = field(default_factory=lambda: Child(fork=threading.current_thread() is threading.main_thread()))
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
        """The replications of a tile one by one, also those whose fit ends its process: halving them would hang again
        at each step."""
        blocks = []
        for at in range(start, stop):
            try:
                blocks.append(self.call(at, at + 1, way, item.name))
            except JobDied as error:
                runner = runner_of(self.job.known, self.job.cell)
                first = at - at % TILE
                truth = {name: values[at - first : at - first + 1] for name, values in runner.draw(first).truth.items()}
                failed = Estimates.failed(runner.layouts[item.name], Status.ERROR)
                blocks.append(Block(truth, {item.name: failed}, {(at, item.name): f"{LOST}{error}"}, at))
        return Block.join(blocks)


def _estimators(job: Job) -> list[Estimator]:
    """Those that a job fits."""
    return [item for item in job.known.estimators if job.only is None or item.name in job.only]
