"""What stays in a store when a run resumes, its log, which code a store may name, and one replication drawn again."""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from cluster import Environment
from cluster.numbers import PORTABLE
from estimators.core.estimator import Status
from experiments.listing import in_full, kinds_in
from experiments.run.tasks import runner_of
from experiments.study import Study
from results.store import BlockState, Origin, Shard, Store, StoreSchema, ZarrStore
from results.store.block import Block, block_arrays
from results.store.bucket import StorePath
from results.store.disk import check_own, open_beside, read_plain, write_whole
from sim.errors import amount, bad, listed, refuse, type_problems
from sim.panel import Panel, long_table
from sim.registry import INLINE, join_search
from sim.streams import TILE


def named_code(settings: Any) -> list[str]:
    """Every kind "module:Object" in a study's settings, whose module would be imported."""
    found = (in_full(kind, "kind") for kind in kinds_in(settings))
    return list(dict.fromkeys(kind for kind in found if ":" in kind and not kind.startswith(INLINE)))


def refuse_code(found: list[str], where: str, what: str) -> None:
    """Raise BadInput for a store or a bundle that names code, where there is any."""
    if found:
        known = f"if this {what} is yours" if what == "store" else "if you have read its code"
        raise bad(f"its study names code that would be imported: {listed(found)}", where=where,
                  allowed=f"a {what} of built-in kinds, or one that you trust",
                  remedy=f"say --load-code (in Python load_code=True) {known}")  # fmt: skip


# How a run goes on with a store: what is computed again, and beside which blocks.


UNKNOWN = "the store does not say which code computed them"
CODE, NUMBERS = "--accept-code-change", "--accept-other-numbers"  # what lets differences of two kinds be
BOTH = frozenset({CODE, NUMBERS})
UNDO = {
    CODE: "undo the change",
    NUMBERS: "use the processor, the settings and the --numbers of those blocks",
}
UNCHANGED = "no code has changed since then: the same fits will fail"


def origin_of(store: Store, here: Environment) -> Origin:
    """This process as the environment of blocks that the store gets from now on."""
    known = [Environment.from_plain(origin.facts) for origin in store.environments if origin.facts]
    return Origin(str(here), here.plain, here.differences(known[0]) if known else ())


def check_origins(
    store: Store, here: Environment, again: Collection[tuple[int, int]], where: str, accepted: Collection[str],
    *, growing: bool = False,
) -> None:  # fmt: skip
    """Raise BadInput when blocks that stay were computed by other code, versions, BLAS kernels or with other numbers.

    again: the blocks that will be computed, anew or for the first time; without any there is nothing to refuse, unless
    the store grows by cells or estimators, or portable numbers are asked for and others stand there. accepted: CODE and
    NUMBERS where those may differ.
    """
    some = again or growing
    for line, differing in _stale_blocks(store, here, again) if some or here.numbers == PORTABLE else ():
        kinds = (CODE, NUMBERS) if some else (NUMBERS,)
        if lacking := [flag for flag in kinds if flag in differing and flag not in accepted]:
            undo = " and ".join(UNDO[flag] for flag in lacking)
            raise bad(line, where=where, allowed="blocks from one environment",
                      remedy=f"{undo}, choose another --store, or say {' and '.join(lacking)}")  # fmt: skip


def describe_stale_blocks(store: Store, here: Environment, again: Collection[tuple[int, int]]) -> list[str]:
    """What a run says of blocks that stay from another environment, a line for each."""
    return [line for line, _ in _stale_blocks(store, here, again)]


def _stale_blocks(
    store: Store, here: Environment, again: Collection[tuple[int, int]]
) -> Iterator[tuple[str, frozenset[str]]]:
    """The same, each line with the kinds of its differences."""
    kept = (store.there & ~_mask(store, again)) | (store.states == BlockState.PARTIAL)  # whose estimators stay
    for (words, kinds), count in _differing(store, here, kept).items():
        yield (f"{amount(count, "block")} {'was' if count == 1 else 'were'} computed in another environment; what "
               f"differs now: {words}", kinds)  # fmt: skip


def retried(store: Store, here: Environment, again: Collection[tuple[int, int]]) -> str:
    """What `--retry failed` says of the blocks whose fits raised: how many, and whether the code has changed."""
    if not again:
        return "no fit raised: there is nothing to retry"
    words = [words for words, _ in _differing(store, here, _mask(store, again))]
    changed = f"what has changed since then: {'; '.join(words)}" if words else UNCHANGED
    return f"{amount(len(again), 'block')} with failed fits to compute again; {changed}"


def _mask(store: Store, places: Collection[tuple[int, int]]) -> NDArray[np.bool_]:
    """Some blocks as an array (cells, blocks); those that the store has no room for yet are left out."""
    held = np.zeros(store.states.shape, dtype=np.bool_)
    cells, blocks = held.shape
    known = [(cell, index) for cell, index in places if cell < cells and index < blocks]
    held[tuple(np.array(known, dtype=np.intp).reshape(-1, 2).T)] = True
    return held


def _differing(store: Store, here: Environment, blocks: NDArray[np.bool_]) -> dict[tuple[str, frozenset[str]], int]:
    """How this process differs from those that computed some blocks (cells, blocks), in words and kinds, with their
    number. Blocks of equal states and environments are looked at once."""
    places, said = store.places(blocks), Counter[tuple[str, frozenset[str]]]()
    if places:
        kinds = np.column_stack([store.states.T[blocks.T], store.origins.swapaxes(0, 1)[blocks.T]])
        _, first, counts = np.unique(kinds, axis=0, return_index=True, return_counts=True)
        for at, count in sorted(zip(first.tolist(), counts.tolist(), strict=True)):
            found = dict.fromkeys(_differences(origin, here) for origin in store.origins_of(*places[at]))
            said.update({each: count for each in found if each[1]})
    return dict(said)


def _differences(origin: Origin | None, here: Environment) -> tuple[str, frozenset[str]]:
    if origin is None:
        return UNKNOWN, frozenset({CODE})
    there = Environment.from_plain(origin.facts)
    kinds = {CODE: here.differences_in_code(there), NUMBERS: here.differences_in_numbers(there)}
    return ", ".join(here.differences(there)), frozenset(kind for kind, found in kinds.items() if found)


def share_of(text: str | None, until: str | None) -> Shard | None:
    """What --shard says; raises BadInput for no share, and beside --until, which judges whole cells."""
    if text is None:
        return None
    if until is not None:
        raise bad("--shard beside --until", where="--shard", allowed="one of the two",
                  remedy="a target is judged on all blocks of a cell; leave one out")  # fmt: skip
    return Shard.read(text)


@dataclass(frozen=True, slots=True)
class Resume:
    """How a run goes on with a store that is there.

    retry_failed: compute blocks with fits that raised again, as after a correction of an estimator; this implies
    accept_code_change: let blocks that were computed by other code, versions or BLAS kernels stay beside new ones;
    without it such a store is refused. accept_other_numbers: the same of blocks, and of workers, whose results differ
    in the last digits. shard: the share of the study's blocks that is computed; None = all.
    """

    retry_failed: bool = False
    accept_code_change: bool = False
    accept_other_numbers: bool = False
    shard: Shard | None = None
    reread: bool = False

    def check(self, store: ZarrStore, schema: StoreSchema, here: Environment) -> None:
        """Raise BadInput for the store of another study or another share, for a share that would grow by cells or
        estimators, and for blocks of other code; reads no block."""
        growth, held = store.check_study(schema), store.shard
        if held != self.shard and store.done():
            what = "holds the whole study, not a shard" if held is None else f"holds shard {held} of its study"
            said = "leave --shard out" if held is None else f"say --shard {held}"
            raise bad(what, where=str(store.path), allowed="one shard a store",
                      remedy=f"{said}, or choose another --store")  # fmt: skip
        if held is not None and growth is not None and growth.computes:
            raise bad(f"holds shard {held} of its study, and a shard cannot grow by cells or estimators",
                      where=str(store.path), allowed="the study that made it",
                      remedy="merge the shards first, then run the larger study into the result")  # fmt: skip
        if self.accepted == BOTH:
            return
        if growth is not None and growth.computes:
            if growth.kept:
                check_origins(store, here, (), str(store.path), self.accepted, growing=True)
        else:
            check_origins(store, here, self.expected(store, schema), str(store.path), self.accepted)

    @property
    def accepted(self) -> frozenset[str]:
        """The kinds of differences that blocks which stay may have."""
        return frozenset({CODE} if self.accept_code_change or self.retry_failed else ()) | frozenset(
            {NUMBERS} if self.accept_other_numbers else ()
        )

    def expected(self, store: ZarrStore, schema: StoreSchema) -> set[tuple[int, int]]:
        """(cell, block) of what a run will compute, by the marks of the blocks that are there and what raised.

        A block whose mark is damaged has no digest, and is computed anew.
        """
        cells, blocks = len(schema.cells), -(-max(schema.replications, store.replications) // schema.block)
        mine = np.ones((cells, blocks), dtype=np.bool_)
        if self.shard is not None:
            cell, index = np.ogrid[:cells, :blocks]
            mine &= self.shard.holds(cell, index, cells)
        there = store.marked[:cells]
        mine[: len(there), : there.shape[1]] &= ~there
        return set(store.places(mine)) | set(store.raised() if self.retry_failed else ())

    def todo(self, store: Store, here: Environment, where: str) -> list[tuple[int, int]]:
        """(cell, block) of what is to compute, what was damaged included; raises BadInput as `check` does."""
        cells = len(store.cells)
        missing = store.pending() if self.reread else store.unfinished()
        todo = [place for place in missing if self.shard is None or self.shard.holds(*place, cells)]
        if self.retry_failed:
            todo += store.raised(set(todo))
        if self.accepted != BOTH:
            check_origins(store, here, todo, where, self.accepted)
        return todo


# The log of runs into a store: a file of JSON lines beside it, outside the promise of equal bytes.


SUFFIX = ".log.jsonl"


class RunLog:
    """Appends one line an event: start, commit, again, left, poisoned, end; threads take turns.

    commit: a block is on the disk. again: a block was computed once more, and why. left: a worker went.

    A line is handed to the system before the run goes on, so that it survives a kill. A full disk ends the log, not the
    run.
    """

    def __init__(self, stream: IO[str] | None) -> None:
        self._stream = stream
        self._turn = Lock()

    def say(self, event: str, **facts: Any) -> None:
        """One event with what belongs to it."""
        if self._stream is None:
            return
        line = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **facts}
        with self._turn:
            try:
                self._stream.write(json.dumps(line) + "\n")
                self._stream.flush()
            except OSError:
                self._stream = None


@contextmanager
def logged(store: StorePath, **facts: Any) -> Iterator[RunLog]:
    """The log of a run into a store, with its start and how it ended."""
    stream = None
    if isinstance(store, Path):  # object stores cannot append
        with contextlib.suppress(OSError):
            stream = _opened(log_of(store))
    log = RunLog(stream)
    log.say("start", pid=os.getpid(), **facts)
    try:
        yield log
    except BaseException as error:
        log.say("end", how=type(error).__name__, why=str(error))
        raise
    else:
        log.say("end", how="done")
    finally:
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()


def _opened(file: Path) -> IO[str]:
    """A log, to append to; raises BadInput where it is a link, a pipe or another user's.

    A power cut can leave a part of a line, or zeros, at its end.
    """
    descriptor = open_beside(file, os.O_RDWR | os.O_APPEND | os.O_CREAT)
    try:
        check_own(descriptor, file)
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            os.write(descriptor, b"\n")
    except BaseException:
        os.close(descriptor)
        raise
    return open(descriptor, "a", encoding="utf-8")


def log_of(store: Path) -> Path:
    """Where the log of a store is."""
    real = store.resolve()
    return real.with_name(f"{real.name}{SUFFIX}")


def read_log(store: Path) -> list[dict[str, Any]]:
    """The events of all runs into a store, in order; what a kill or a power cut left of a line is left out."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for line in read_plain(log_of(store)).decode("utf-8", "replace").splitlines():
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
    return found


@dataclass(frozen=True, slots=True)
class Replay:
    """One replication: the panel (R = 1) and its fits (R = 1)."""

    cell: int
    replication: int
    panel: Panel
    block: Block


def replay(store: Store, cell: int, replication: int, *, load_code: bool = False) -> Replay:
    """Replication `replication` of cell `cell`; raises BadInput when the study has no such one.

    load_code: import the modules that the store names, those of the current folder too; without it a store that names
    any is refused. Those of a run in memory are imported already.
    """
    where = str(store.path) if isinstance(store, ZarrStore) else "the run in memory"
    for name, value, count in (("cell", cell, len(store.cells)), ("replication", replication, store.replications)):
        refuse(type_problems(value, (int, np.integer), name, where="replay", allowed=f"0 to {count - 1}"))
        if not 0 <= value < count:
            raise bad(f"no {name} {value}", where=where, allowed=f"0 to {count - 1}", remedy="choose another")
    if isinstance(store, ZarrStore) and not load_code:
        refuse_code(named_code(store.schema.study), where, "store")
    if load_code:
        join_search(Path.cwd())
    runner = runner_of(Study.from_settings(store.schema.study, where), cell)
    first = replication - replication % TILE
    whole = runner.run(first, first + TILE, tracebacks=TILE)
    row = slice(replication - first, replication - first + 1)
    block = Block(
        truth={name: values[row] for name, values in whole.truth.items()},
        estimates={name: estimates.take(row) for name, estimates in whole.estimates.items()},
        tracebacks={key: text for key, text in whole.tracebacks.items() if key[0] == replication},
        start=replication,
    )
    panel = runner.draw(first).panel
    return Replay(cell, replication, panel.replication(replication - first), block)


def compare(store: ZarrStore, again: Replay, console: Console) -> int:
    """Print the fits beside what the store holds; 1 when any number or fact differs, else 0. Raises BadInput for a
    damaged block."""
    index, kept = again.replication // store.block, None
    if store.state(again.cell, index) is not BlockState.DONE:
        console.print("the store does not hold this replication yet")
    else:
        row = again.replication - index * store.block
        kept = store.sound(again.cell, index).take(slice(row, row + 1))
    for name, found in again.block.estimates.items():
        layout = store.layouts[name]
        if not set(found.terms) <= set(layout.terms) or found.errors != layout.errors:
            raise bad(f"estimator {name} has other terms or error types by now: {listed(found.terms)}; "
                      f"{listed(found.errors)}", where=str(store.path), allowed="the code that made the store",
                      remedy="undo the change, or run its study into another store")  # fmt: skip
    mine, theirs = (block_arrays(block, store.layouts, store.estimands) for block in (again.block, kept or again.block))
    apart = {path: (here != theirs[path]) & ~(np.isnan(here) & np.isnan(theirs[path])) for path, here in mine.items()}
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("estimator", "term", "truth", "estimate", "se", "store"):
        table.add_column(heading, justify="left" if heading in {"estimator", "term"} else "right")
    differing, facts = 0, dict[str, list[str]]()
    for name, estimates in again.block.estimates.items():
        layout = store.layouts[name]
        facts[name] = [fact for fact in ("status", *layout.statistics) if apart[f"{name}/{fact}"].any()]
        differing += len(facts[name])
        for k, term in enumerate(estimates.terms):
            target, at = layout.targets.get(term, ""), layout.terms.index(term)
            truth = float(again.block.truth.get(target, np.array([np.nan]))[0])
            parts = [apart[f"{name}/{part}"][..., at] for part in ("estimate", "se", "dof", *layout.stored)]
            parts += [apart["truth"][:, store.estimands.index(target)]] if target in store.estimands else []
            differs = any(part.any() for part in parts)
            differing += differs
            verdict = "-" if kept is None else "differs" if differs else "same"
            se = f"{estimates.se[0, 0, k]:.6f}" if estimates.errors else "-"
            table.add_row(name, term, f"{truth:.6f}", f"{estimates.estimate[0, k]:.6f}", se, verdict)
    console.print(table)

    for name, estimates in again.block.estimates.items():  # how each fit that is not OK ended
        if facts[name]:
            console.print(f"{name}: the store has another {listed(facts[name])}", markup=False)
        status = Status(int(estimates.status[0]))
        if status is not Status.OK:
            console.print(f"{name}: {status.meaning}", markup=False)
        if text := again.block.tracebacks.get((again.replication, name)):
            console.print(text.rstrip(), markup=False, soft_wrap=True)
    return 1 if differing else 0


def save_panel(panel: Panel, path: Path) -> None:
    """Write a panel as a long table, .csv or .parquet; raises BadInput for another ending."""
    if path.suffix not in {".csv", ".parquet"}:
        raise bad(f"cannot save as {path.suffix or 'a file without an ending'}", where=str(path),
                  allowed=".csv, .parquet", remedy="choose one of them")  # fmt: skip
    frame = long_table(panel)
    content = str(frame.to_csv(index=False)) if path.suffix == ".csv" else frame.to_parquet(index=False)
    write_whole(path.parent, {path.name: content})
