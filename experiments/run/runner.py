"""Running a study: what is missing is computed wherever the executor says, and written by this process alone.

Stopping at a target: a cell ends at the first checkpoint where its Monte Carlo errors are small enough.

Checkpoints are fixed numbers of whole blocks, and a cell is judged on all blocks before one of them, never on fewer: so
what a run keeps depends neither on the order in which blocks end nor on kills and resumes. Blocks beyond a checkpoint
are not computed before it is judged.
"""

from __future__ import annotations

import hashlib
import math
import random
import secrets
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cluster import Environment, Executor, Outcome, Serial, WorkerRefused, executor_of, prepare_process
from cluster.child import Guarded
from estimators.core.estimator import Layout
from experiments.plugin_contracts import PluginRaised
from experiments.run.places import require_numbers
from experiments.run.resume import CODE, NUMBERS, Resume, RunLog, logged, origin_of
from experiments.run.tasks import Job, Result, check_fits, environment_of, run_carefully, run_job, runner_of
from experiments.settings import kind_of, to_settings
from experiments.study import Study, canonical_json
from results.diagnosis.diagnose import diagnose
from results.diagnosis.fits import OF_A_TERM, bound_factor
from results.diagnosis.measures import MEANINGS
from results.store import (
    BlockState,
    Hold,
    MemoryStore,
    Stopped,
    Store,
    StoreLocked,
    StoreSchema,
    ZarrStore,
    locked,
    present,
)
from results.store.block import Block, union_of_layouts
from results.store.bucket import ObjectPath, StorePath, store_path
from results.store.chunks import Shared, Written, shared
from results.store.disk import acknowledged
from results.store.lock import check_free
from results.store.merge import LOOK, Crew, Tickets, is_used, take_in
from results.store.repair import check_repairable, repair
from results.verdict.verdicts import key_terms
from sim.errors import BadInput, Problem, amount, bad, closest, number_in, one_of, refuse, type_problems
from sim.streams import TILE

LEAST = 512  # replications of the first checkpoint: a Monte Carlo error from fewer is itself a guess
GROWTH = 1.5  # from one checkpoint to the next: Monte Carlo errors end at most a fifth below the target
OF_TWO_CELLS = "size_adjusted_power"  # needs another cell
JUDGED = tuple(name for name in MEANINGS if name != OF_TWO_CELLS)  # measures that one cell gives
FORM = "MEASURE:MCSE or MEASURE:ERROR TYPE OR TERM:MCSE"


@dataclass(frozen=True, slots=True)
class Until:
    """Targets that all must be met in a cell; rule: the text they were read from.

    targets: a measure, one error type or one term of it ("" for all), and the Monte Carlo error that it may have.
    """

    rule: str
    targets: tuple[tuple[str, str, float], ...]

    @classmethod
    def read(cls, rule: str, layouts: Mapping[str, Layout], where: str = "--until") -> Until:
        """From "coverage:0.005,bias:did:1e-4"; raises BadInput with all that is wrong."""
        refuse(type_problems(rule, str, "until", where=where, allowed='a text, such as "coverage:0.005"'))
        names = dict.fromkeys(name for layout in layouts.values() for name in (*layout.errors, *layout.terms))
        targets: list[tuple[str, str, float]] = []
        problems: list[Problem] = []
        for text in map(str.strip, rule.split(",")):
            found = list(_problems(text, layouts, tuple(names), where))
            problems += found
            if not found:
                measure, *middle, mcse = text.split(":")
                targets.append((measure.strip(), ":".join(middle).strip(), float(mcse)))
        if problems:
            raise BadInput(*problems)
        rules = (f"{measure}{':' * bool(which)}{which}:{most:g}" for measure, which, most in targets)
        return cls(",".join(rules), tuple(targets))

    def met(self, store: Store, cell: int, blocks: int) -> bool:
        """Whether the first `blocks` blocks of a cell meet every target, for every estimator's key terms.

        Where replications share worlds it is the upper confidence bound of a Monte Carlo error that is held against the
        target: the error itself is a guess from a few worlds, and a run would stop where it is small by luck.
        """
        frame = diagnose(store.only(cell, range(blocks))).frame
        frame = frame[(frame["sample"] == "own") & (frame["n"] > 0)]
        key = {(name, term) for name, layout in store.layouts.items() for term in key_terms(layout)}
        for measure, which, most in self.targets:
            rows = frame[frame["measure"] == measure]
            named = (rows["term"] == which) | (rows["error"] == which)
            pairs = zip(rows["estimator"], rows["term"], strict=True)
            chosen = named if which else np.array([pair in key or not pair[1] for pair in pairs], dtype=bool)
            bounds = (rows["mcse"].to_numpy() * bound_factor(rows["worlds"].to_numpy()))[np.asarray(chosen)]
            if not len(bounds) or not bool((bounds <= most).all()):  # NaN is no small error
                return False
        return True


def _problems(text: str, layouts: Mapping[str, Layout], names: tuple[str, ...], where: str) -> Iterator[Problem]:
    """What is wrong with one target."""
    measure, *middle = (part.strip() for part in text.split(":"))
    which = ":".join(middle[:-1])
    if not middle:
        yield Problem(f"target {text!r}", where, FORM, 'write for instance "coverage:0.005,bias:1e-4"')
        return
    if measure not in JUDGED:
        yield Problem(f"measure {measure!r}", where, one_of(JUDGED), closest(measure, JUDGED))
    if which and which not in names:
        yield Problem(f"{which!r} is no error type and no term of this study", where, one_of(names, which),
                      closest(which, names))  # fmt: skip
    elif which and measure in OF_A_TERM and not any(which in layout.terms for layout in layouts.values()):
        yield Problem(f"{measure} has no error types, so {which!r} does not fit", where, f"{measure}:TERM:MCSE",
                      "leave the error type out")  # fmt: skip
    if not 0 < number_in(middle[-1]) < math.inf:
        yield Problem(f"Monte Carlo error {middle[-1]!r}", where, "a number above 0", "correct the number")


def checkpoints(blocks: int, block: int, worlds: int) -> tuple[int, ...]:
    """Numbers of blocks after which a cell is judged; the last is all of them.

    The first has 512 replications, and a tile in every world: Monte Carlo errors need the spread between worlds.
    """
    found = [min(blocks, math.ceil(max(LEAST, worlds * TILE) / block))]
    while found[-1] < blocks:
        found.append(min(blocks, math.ceil(found[-1] * GROWTH)))
    return tuple(found)


@dataclass(eq=False, slots=True)
class Stopping:
    """Which blocks of a store a run still needs, round by round, and where each cell stopped.

    missing: (cell, block) of what is to compute; who computes one takes it out. ended: by cell the blocks at which it
    stopped and whether the targets were met there; None where a block of it cannot be computed.
    """

    store: Store
    until: Until
    missing: set[tuple[int, int]]
    ended: dict[int, tuple[int, bool] | None] = field(default_factory=dict)
    at: dict[int, int] = field(default_factory=dict)  # position of the checkpoint that a cell is on its way to

    def next_round(self) -> list[tuple[int, int]]:
        """(cell, block) of what all cells that go on need to their next checkpoint; empty when all have ended."""
        marks = checkpoints(self.store.block_count, self.store.block, self.store.worlds)
        needed = {cell: self._needed(cell, marks) for cell in range(len(self.store.cells)) if cell not in self.ended}
        most = max(map(len, needed.values()), default=0)
        return [(cell, blocks[i]) for i in range(most) for cell, blocks in needed.items() if i < len(blocks)]

    def _needed(self, cell: int, marks: tuple[int, ...]) -> list[int]:
        """Blocks of a cell to its next checkpoint, judging it at those that it has reached."""
        while cell not in self.ended:
            count = marks[self.at.setdefault(cell, 0)]
            if needed := [index for index in range(count) if (cell, index) in self.missing]:
                return needed
            if any(self.store.state(cell, index) is not BlockState.DONE for index in range(count)):
                self.ended[cell] = None
            elif self.until.met(self.store, cell, count):
                self.ended[cell] = count, True
            elif count == marks[-1]:
                self.ended[cell] = count, False
            else:
                self.at[cell] += 1
        return []

    @property
    def stopped(self) -> Stopped:
        """What the store keeps of where its cells stopped."""
        whole = self.store.block_count
        found = [self.ended.get(cell) or (whole, False) for cell in range(len(self.store.cells))]
        counts = tuple(min(blocks * self.store.block, self.store.replications) for blocks, _ in found)
        return Stopped(self.until.rule, counts, tuple(met for _, met in found), self.store.worlds)


WRITES = ("client", "workers")
TOLD_FIRST = 8  # jobs a worker that bring the study, which may hold a panel; later ones name it
PREPARED_BEFORE = 16  # cells whose panels are tried before anything is written
REMOVED = 1.0  # seconds that the rest of a store may take to go after its lease, where somebody removes it
_repeatable: set[str] = set()  # fingerprints of studies whose first tile gave equal bits twice in this process


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: blocks done of all, replications done of all (over cells), and what just happened.

    poisoned: blocks that have no result. failed, bytes: of this run, fits that have no estimate, and what it received.
    """

    blocks: int
    of_blocks: int
    replications: int
    of_replications: int
    poisoned: int
    failed: int
    bytes: int
    cell: int = -1
    block: int = -1


ProgressListener = Callable[[Progress], None]  # a thread calls it, for one block after the other


def schema_of(study: Study) -> StoreSchema:
    """What the study's store is created from."""
    return StoreSchema(
        study=study.settings,
        identity=study.identity,
        fingerprint=study.fingerprint,
        cells=tuple(to_settings(cell.parameters) for cell in study.cells),
        layouts=union_of_layouts([study.layouts(cell.design.schema) for cell in study.cells]),
        estimands=tuple(dict.fromkeys(name for cell in study.cells for name in study.wanted(cell).estimands)),
        replications=study.replications,
        block=study.block,
        worlds=study.world_count,
        held_fixed=study.held_fixed,
        # all that a cell's draws hang on, and the settings of estimators: what another study has in common with a store
        cell_prints=tuple(
            _sha({"design": {"kind": kind_of(cell.design, "sim"), **to_settings(cell.design)},
                  "design_identity": cell.design.identity, "key": cell.key, "seed": study.seed,
                  "worlds": study.world_count}) for cell in study.cells),
        estimator_prints={item.name: _sha({"kind": kind_of(item, "estimators"), **to_settings(item)})
                          for item in study.estimators},
    )  # fmt: skip


def _sha(value: object) -> str:
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def preflight(study: Study) -> None:
    """Settle the first cells, try their panels, and draw the first again; raises BadInput."""
    for cell in study.cells[:PREPARED_BEFORE]:
        runner_of(study, cell.index)
    if study.fingerprint not in _repeatable:
        runner_of(study, 0).check_repeatable()
        _repeatable.add(study.fingerprint)


def run(
    study: Study,
    *,
    store: str | StorePath | None = None,
    executor: Executor | None = None,
    client: object = None,
    listen: ProgressListener | None = None,
    shuffle: int | None = None,
    plan: Resume | None = None,
    until: str | None = None,
    writes: str | None = None,
    numbers: str | None = None,
    together: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> Store:
    """Run what is missing of a study and return its records, in a Zarr store at `store` or in memory.

    `client` is a running Dask Client, which is used and left open. `shuffle` seeds another order of blocks. `listen` is
    called by a thread, after each block that is kept. A block that kills its workers or whose design raises is
    poisoned: left out, its traceback kept, tried again by the next run. `plan` says how a store that is there is
    resumed. `until`, as in "coverage:0.005,bias:1e-4", ends each cell once its Monte Carlo errors are that small; the
    study's replications are then the most. `writes`: who writes blocks into the store, "client" (this process) or
    "workers", which all must see it under one path; by default the workers of a local cluster do. `numbers`: "portable"
    refuses to run unless this process was started with the settings of portable numbers. `together`: fill the store
    with other clients that are started in the same way, on whatever machines reach its folder; each computes blocks
    that no other has taken, and returns when all are done. `tell` is called with a line
    for what is unusual of the store: an earlier run lost its machine, no locks. Raises BadInput
    (before anything is written for what the first sixteen cells show), StoreLocked when another run holds the store,
    StoreGone when it was removed, moved or replaced meanwhile, WorkerRefused when no worker is like this process,
    ClusterLost when the cluster is gone (the store resumes).
    """
    prepare_process()
    require_numbers(numbers, "run")
    where, plan = _executor(executor, client), plan or Resume()
    if writes is not None and writes not in WRITES:
        raise bad(f"writes = {writes!r}", where="run", allowed=one_of(WRITES, writes), remedy=closest(writes, WRITES))
    if writes == "workers" and store is None:
        raise bad("workers cannot write into memory", where="run", allowed="a store in a folder that all share",
                  remedy="name a store")  # fmt: skip
    by = writes or ("workers" if getattr(where, "on_this_machine", False) else "client")
    schema = schema_of(study)
    target = None if until is None else Until.read(until, schema.layouts)
    preflight(study)
    place = None if store is None else store_path(store)
    if together:
        check_together(place, plan, until, shuffle)
    # one process without earlier blocks has nothing to be compared with
    here = None if place is None and type(where) is Serial else environment_of(study)
    asked = here.of_any_numbers if here is not None and plan.accept_other_numbers else here
    if study.own_estimators and (place is None or not place.exists()):
        check_fits(study, where, asked)
    if place is None or here is None:
        memory = MemoryStore(schema)
        _Filling(study, memory, here, asked, where, listen, target).fill(plan, shuffle)
        return memory
    running = _Running(study, place, here, asked, where, listen, target, plan, by, shuffle, tell)
    return running.together() if together else running.fill(place)


def check_together(place: StorePath | None, plan: Resume, until: str | None, shuffle: int | None = None) -> None:
    """Raise BadInput for what several clients cannot do together: a store of objects or in memory, a shard, a target
    for whole cells, fits that are tried again, another order."""
    if not isinstance(place, Path):
        where = "--together" if place is None else str(place)
        raise bad("clients fill a store together in a folder alone", where=where,
                  allowed="a store in a folder that all clients reach", remedy="name one, or use --shard")  # fmt: skip
    beside = {"--shard": plan.shard, "--until": until, "--retry failed": plan.retry_failed or None, "shuffle": shuffle}
    if found := [flag for flag, given in beside.items() if given is not None]:
        raise bad(f"--together beside {found[0]}", where="--together", allowed="one of the two",
                  remedy=f"leave {found[0]} out, or run alone")  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Running:
    """A run into a store on the disk, as `run` is asked for it. here, asked: as of `_Filling`. by: who writes."""

    study: Study
    place: StorePath
    here: Environment
    asked: Environment | None
    executor: Executor
    listen: ProgressListener | None
    until: Until | None
    plan: Resume
    by: str
    shuffle: int | None
    tell: Callable[[str], None]

    def fill(
        self, path: StorePath, share: Callable[[ZarrStore], Tickets] | None = None, *, ended: bool = False
    ) -> ZarrStore:
        """Take what a crew has left of a store into it, and compute what is missing.

        share: of the part of a client, which blocks are this client's. ended: the clients of the crew have tried every
        block, and what they could not compute is not tried again.
        """
        crew = Crew(path) if share is None and isinstance(path, Path) else None
        with locked(path, self.tell) as hold:
            if crew and not ended:
                crew.check_free()
            parts, plan = self._parts(crew) if crew else [], self.plan
            study = self.study.resized(replications=(kept := self._opened(path, hold)).replications)
            if hold.unclean:
                self.tell(f"the last run into {path} did not end, and its machine or its disk may have failed: every "
                          "block is read")  # fmt: skip
                plan = replace(plan, reread=True)
            with _watched(kept, hold, self.executor, self.by) as those:
                filling = _Filling(study, kept, self.here, self.asked, self.executor, self.listen, self.until,
                                   tickets=None if share is None else share(kept), **those)  # fmt: skip
                if parts and not kept.there.all():
                    self.tell(f"the blocks of {amount(len(parts), 'client')} are joined")
                    for cell, index in take_in(kept, parts, CODE in plan.accepted, NUMBERS in plan.accepted):
                        filling.written(cell=cell, block=index, digest=kept.digest(cell, index))
                filling.fill(plan, self.shuffle, poisoned=not ended)
            if crew and crew.folder.exists():
                crew.clear(parts)
        return kept

    def _opened(self, path: StorePath, hold: Hold) -> ZarrStore:
        """The store of the study, held: created, or repaired, checked and grown."""
        schema = schema_of(self.study)
        if path.exists():
            hold.enter()
            repair(path, schema)

        def check(store: ZarrStore) -> None:
            hold.enter()  # of a store that another run made just now, or whose marks were repaired
            self.plan.check(store, schema, self.here)

        return ZarrStore.open_or_create(path, schema, check, hold.follow)

    def _parts(self, crew: Crew) -> list[Path]:
        """The parts of a crew; those that nobody fills any more are repaired and have room for as many replications.

        Raises BadInput where they cannot be joined, before a store is made.
        """
        if not (parts := crew.parts()):
            return []
        schema = schema_of((sized := self._as_large_as(crew.store)).study)
        sized._check_alike(parts, schema)
        for part in parts:
            if part.exists() and not is_used(part):
                held = _readable(part)
                if held is None or held.replications < schema.replications or check_repairable(part, schema):
                    with suppress(StoreLocked), locked(part, self.tell) as hold:
                        sized._opened(part, hold)
        return parts

    def _check_alike(self, stores: Iterable[StorePath], schema: StoreSchema) -> None:
        """Raise BadInput unless a store and parts are of this study, and no part has more replications or is filled
        with fewer; what is damaged is repaired later."""
        for path in stores:
            if (held := _readable(path)) is None:
                continue
            self.plan.check(held, schema, self.here)
            if path == self.place:
                if held.check_study(schema) is not None:
                    raise bad("must grow by cells or estimators first", where=str(path), allowed="one client for that",
                              remedy="run once without --together")  # fmt: skip
                continue
            size, wanted = held.replications, schema.replications
            if size > wanted or (size < wanted and isinstance(path, Path) and is_used(path)):
                raise bad(f"another client computes {size:,} replications a cell, this one {wanted:,}", where=str(path),
                          allowed="clients of one size", remedy=f"say --replications {size}")  # fmt: skip

    def _as_large_as(self, place: StorePath) -> _Running:
        """The same for as many replications as a store has, if it has more."""
        held = _readable(place)
        size = max(self.study.replications, 0 if held is None else held.replications)
        return replace(self, study=self.study.resized(replications=size))

    def together(self) -> ZarrStore:
        """Fill a part of the store beside other clients; when all blocks are done, the store from all parts."""
        assert isinstance(self.place, Path)
        crew, place = Crew(self.place), self.place
        self._when_free(self._repaired, "")
        one = self._as_large_as(place)
        schema = schema_of(one.study)
        one._check_alike([place, *crew.parts()], schema)
        part = crew.new_part()

        def share(kept: ZarrStore) -> Tickets:
            missing = self.plan.expected(ZarrStore.open(place), schema) if place.exists() else kept.places()
            return Tickets(crew, part, kept.places(), missing, self.tell)

        def join() -> ZarrStore:
            if place.exists() and not crew.parts():  # another client has taken all in
                store = ZarrStore.open(place)
                if store.replications >= schema.replications and store.states.all():
                    return store
            return one.fill(place, ended=True)

        one.fill(part, share)
        return self._when_free(join, "all blocks are done; another client joins them: ")

    def _when_free[T](self, act: Callable[[], T], why: str) -> T:
        """Do something to the store as soon as no other run holds it; the first time it says that it waits."""
        told = False
        while True:
            try:
                return act()
            except StoreLocked as error:
                if not told:
                    self.tell(f"{why}{error}; this client waits")
                told = True
                time.sleep(LOOK)

    def _repaired(self) -> None:
        """See to it that what is damaged of the store beside its blocks is repaired; raises StoreLocked."""
        check_free(self.place)
        schema = schema_of(self.study)
        if self.place.exists() and check_repairable(self.place, schema):
            with locked(self.place, self.tell):
                repair(self.place, schema)


def _readable(path: StorePath) -> ZarrStore | None:
    """A store; None where there is none, or one that is to be repaired."""
    with suppress(BadInput):
        return ZarrStore.open(path)
    return None


@contextmanager
def _watched(kept: ZarrStore, hold: Hold, where: Executor, by: str) -> Iterator[dict[str, Any]]:
    """What `_Filling` needs of a store on the disk: who writes, the log, whether it is still there, what is flushed.

    At the end all is on the disk. If the disk fails, the next run reads every block. Without workers this process
    writes into an object store itself: a copy of a process cannot use its connections.
    """
    one_process = isinstance(where, Serial | Guarded)
    here = one_process or getattr(where, "on_this_machine", False)
    alone = one_process and isinstance(kept.path, ObjectPath)

    def own() -> None:
        there()
        try:
            hold.check()
        except StoreLocked:
            time.sleep(REMOVED)
            there()
            raise

    with (
        kept.held(),
        present(kept.path) as there,
        logged(kept.path, on=where.address, writes=by) as log,
        shared(kept.path, elsewhere=not here) if by == "workers" and not alone else nullcontext() as into,
    ):
        kept.before_mark = own
        try:
            with acknowledged(kept.path, partial(log.say, "commit")) as written:
                yield {"into": into, "log": log, "still": own, "written": written}
        except (BadInput, OSError) as error:
            own()  # a store that went meanwhile is the reason
            if isinstance(error, OSError):
                hold.doubt()
            raise
        finally:
            kept.before_mark = lambda: None  # the store outlives the run
        own()
    hold.settle()


def _executor(executor: Executor | None, client: object) -> Executor:
    """Where to run; raises BadInput for what is no executor and no client."""
    if client is not None and executor is not None:
        raise bad("both executor and client are given", where="run", allowed="one of them", remedy="leave one out")
    if client is not None:
        found = executor_of(client)
        if found is None:
            raise bad(f"client is a {type(client).__name__} that cannot be used", where="run",
                      allowed="a running Dask Client that is not asynchronous", remedy="start one")  # fmt: skip
        return found
    if executor is not None and not isinstance(executor, Executor):
        raise bad(f"executor is a {type(executor).__name__}", where="run", allowed="what cluster.open_executor returns",
                  remedy="pass a Dask Client as client=")  # fmt: skip
    return executor or Serial()


@dataclass(frozen=True, slots=True)
class _Filling:
    """A study on its way into a store.

    here: this process, for comparison; None where there is nothing to compare. asked: the same as workers must be, and
    without its numbers where they may have others. until: the target at which cells stop. into: the store that workers
    write into themselves. log: is told of what went wrong. still: raises StoreLocked when the store is no longer this
    run's, StoreGone when it is there no more. written: is told of every block in a store, and raises OSError when an
    earlier one did not come to the disk. tickets: which blocks are this client's, where others compute too. run: a name
    of this run, by which workers know its study.
    """

    study: Study
    store: Store
    here: Environment | None
    asked: Environment | None
    executor: Executor
    listen: ProgressListener | None
    until: Until | None
    into: Shared | None = None
    log: RunLog | None = None
    still: Callable[[], None] = lambda: None
    written: Callable[..., None] = lambda **_: None
    tickets: Tickets | None = None
    run: str = field(default_factory=lambda: secrets.token_hex(8))

    def fill(self, plan: Resume, shuffle: int | None, *, poisoned: bool = True) -> None:
        """Compute and write what is missing. poisoned: blocks that could not be computed are tried again."""
        where = str(getattr(self.store, "path", "memory"))
        todo = self.store.pending() if self.here is None else plan.todo(self.store, self.here, where)
        if not poisoned:
            todo = [place for place in todo if self.store.state(*place) is not BlockState.POISONED]
        self.store.stop(None)
        self.store.take_share(plan.shard)
        tally = _Tally(self.study, len(self.store.wanted()), len(todo), self.listen)
        if todo and self.here is not None:
            self.store.computed_in(origin_of(self.store, self.here))
        judged_by = {"measures": list(self.study.measures), "claims": [claim.settings for claim in self.study.claims]}
        for name, stated in judged_by.items():
            if stated != self.store.noted(name, []):
                self.store.note(name, stated)
        if self.tickets is not None:
            for free in self.tickets.rounds(self.still):
                self._send(free, tally)
            tally.end(len(self.store.wanted()), len(self.study.cells) * self.study.replications)
            return
        if self.until is None:
            self._send(todo, tally, shuffle=shuffle)
            return
        stopping = Stopping(self.store, self.until, set(todo))
        while places := stopping.next_round():
            self._send(places, tally, shuffle=shuffle)
            stopping.missing.difference_update(places)
        self.store.stop(stopping.stopped)
        tally.end(len(self.store.wanted()), sum(stopping.stopped.replications))

    def _send(
        self, places: Iterable[tuple[int, int]], tally: _Tally, *, shuffle: int | None = None, tell: int | None = None
    ) -> None:
        """Compute and write some blocks.

        tell: how many jobs, the first ones, bring the study; None = eight a worker. A job whose worker does not know
        the study is sent again, with it.
        """
        if shuffle is not None:
            places = list(places)
            random.Random(shuffle).shuffle(places)
        tell = TOLD_FIRST * self.executor.workers if tell is None else tell
        again: list[tuple[int, int]] = []
        outcomes = self.executor.run(run_job, self._jobs(places, tell), run_carefully)

        def known() -> Iterator[Outcome]:
            for outcome in outcomes:
                if outcome.error is None and outcome.result.block is None:
                    again.append((outcome.job.cell, outcome.job.index))
                else:
                    yield outcome

        def keep(outcome: Outcome) -> None:
            self._keep(outcome)
            tally.count(outcome)
            if self.tickets is not None:
                self.tickets.kept((outcome.job.cell, outcome.job.index))
                tally.elsewhere = self.tickets.others

        try:
            one_behind(keep, known())
        finally:
            if isinstance(outcomes, Generator):
                outcomes.close()  # jobs that are on their way are called off now, not when memory is cleared
        if again:
            self._send(again, tally, tell=len(again))

    def _jobs(self, todo: Iterable[tuple[int, int]], tell: int) -> Iterator[Job]:
        size, panels = self.study.block, dict[int, int]()
        for number, (cell, index) in enumerate(todo):
            start = index * size
            stop = min(start + size, self.study.replications)
            lacking = self.store.lacking(cell, index)  # all, also where fits raised and are tried again
            only = lacking if 0 < len(lacking) < len(self.store.layouts) else None
            into = self.into if only is None else None  # estimators that join a block are compared with it here
            study = self.study if number < tell else None
            if cell not in panels:
                schema = self.study.cells[cell].design.schema
                panels[cell] = schema.periods * schema.units
            yield Job(study, cell, index, start, stop, self.asked, only, into, self.run, panels[cell])

    def _keep(self, outcome: Outcome) -> None:
        """Write what became of a job; raises what concerns the whole run."""
        job: Job = outcome.job
        self.still()
        if isinstance(outcome.error, BadInput | WorkerRefused) and not isinstance(outcome.error, PluginRaised):
            raise outcome.error
        if self.log is not None:
            for worker in outcome.left:
                self.log.say("left", worker=worker)
            if outcome.again:
                self.log.say("again", cell=job.cell, block=job.index, why=outcome.again)
        if outcome.error is None:
            result: Result = outcome.result
            if result.made_in is not None and self.here is not None:
                made_in = replace(self.here, numbers=result.made_in.numbers, probe=result.made_in.probe)
                self.store.computed_in(origin_of(self.store, made_in))
            if isinstance(result.block, Written):
                assert isinstance(self.store, ZarrStore)
                self.store.commit(job.cell, job.index, result.block)
            else:
                assert result.block is not None, "asked again in _send"
                self.store.write(job.cell, job.index, result.block)
            if isinstance(self.store, ZarrStore):
                digest = self.store.digest(job.cell, job.index)
                self.written(cell=job.cell, block=job.index, digest=digest, seconds=round(result.seconds, 4),
                             computing=round(result.computing, 4))  # fmt: skip
        else:  # its workers died, or its design raised: the other blocks go on
            self.store.poison(job.cell, job.index, "".join(traceback.format_exception(outcome.error)))
            if self.log:
                self.log.say("poisoned", cell=job.cell, block=job.index, died=outcome.died, why=str(outcome.error))


class _Tally:
    """Counts blocks for the listener, those that were there before included."""

    def __init__(self, study: Study, wanted: int, missing: int, listen: ProgressListener | None) -> None:
        self._listen, self._block = listen, study.block
        self._of_blocks = wanted
        self._of_replications = min(wanted * study.block, len(study.cells) * study.replications)
        self._blocks = self._of_blocks - missing
        self._replications = min(self._blocks * study.block, self._of_replications)
        self._poisoned = self._failed = self._bytes = 0
        self.elsewhere = 0  # blocks that other clients have done
        if listen:
            listen(self._now(-1, -1))

    def count(self, outcome: Outcome) -> None:
        """One more block."""
        job: Job = outcome.job
        self._blocks += 1
        self._poisoned += outcome.error is not None
        if outcome.error is None:
            block: Block | Written = outcome.result.block
            if isinstance(block, Written):
                self._failed, self._bytes = self._failed + block.failed, self._bytes + block.bytes
            else:
                of_fits = ("estimate", "se", "dof", "status", "pvalue", "lower", "upper")
                arrays = [*block.truth.values()]
                for found in block.estimates.values():
                    arrays += [*(getattr(found, name) for name in of_fits), *found.statistics.values()]
                self._failed += block.failed
                self._bytes += sum(values.nbytes for values in arrays if values is not None)
        self._replications = min(self._replications + job.stop - job.start, self._of_replications)
        if self._listen:
            self._listen(self._now(job.cell, job.index))

    def end(self, blocks: int, replications: int) -> None:
        """All that is wanted is there: so many blocks and replications."""
        self._blocks, self._of_blocks, self.elsewhere = blocks, blocks, 0
        self._replications = self._of_replications = replications
        if self._listen:
            self._listen(self._now(-1, -1))

    def _now(self, cell: int, block: int) -> Progress:
        more = min(self.elsewhere * self._block, self._of_replications - self._replications)
        done = self._blocks + self.elsewhere, self._of_blocks, self._replications + more, self._of_replications
        return Progress(*done, self._poisoned, self._failed, self._bytes, cell, block)


def one_behind[T](work: Callable[[T], None], items: Iterator[T]) -> None:
    """Do some work on each item, in a thread, while the next one is being made; raises what the work raises."""
    with ThreadPoolExecutor(1) as pool:
        behind: Future[None] | None = None
        for item in items:
            if behind is not None:
                behind.result()
            behind = pool.submit(work, item)
        if behind is not None:
            behind.result()
