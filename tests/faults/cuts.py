"""What a power cut may interrupt: runs, growth, merges, packing, repair; and what must be there after it."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Iterable, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

from power import MODELS, Recorder

from estimators import TwoWayDID
from experiments.run.resume import Resume
from experiments.run.runner import run, schema_of
from experiments.study import Study
from results.store import Shard, ZarrStore, disk, lease, locked
from results.store.merge import Crew, merge, pack
from results.store.repair import repair
from results.store.tree import MARKS
from studies import quick_study

type Block = tuple[int, int]
DONE = "done"  # acknowledged at the end of a piece of work
SMALL = quick_study(256)
LARGER: dict[str, Study] = {
    "run": SMALL,
    "replications": SMALL.resized(replications=400),
    "replications-of-a-part": SMALL.resized(replications=400),
    "cell": replace(SMALL, grid=(("effect", (-0.01, 0.0, 0.02)),)),
    "estimator": replace(SMALL, estimators=(TwoWayDID(label="more"), *SMALL.estimators)),
    "repair": SMALL,
    "together": SMALL,
}
OTHERS = ("merge", "pack")
WORKS = (*LARGER, *OTHERS)


@dataclass(frozen=True, slots=True)
class Counted:
    """Cuts of a piece of work, and the blocks that were acknowledged before them; lost: blocks, or what else went."""

    work: str
    cuts: int
    acknowledged: int
    lost: tuple[str, ...]


def before(work: str) -> Study | None:
    """The study whose store is there when a piece of work begins; None where there is none."""
    if work in ("run", "together"):
        return None
    return SMALL.resized(replications=232) if work == "replications-of-a-part" else SMALL


def prepare(work: str, folder: Path) -> None:
    """Make what is there before a piece of work."""
    if work == "merge":
        for number in (1, 2):
            run(SMALL, store=folder / f"{number}.zarr", plan=Resume(shard=Shard(number, 2)))
    elif (study := before(work)) is not None:
        run(study, store=folder / "x.zarr")
    if work == "repair":
        for name in ("did/term/c.0", "effect/zarr.json"):
            (folder / "x.zarr" / name).write_bytes(b"")


def act(work: str, folder: Path) -> None:
    """Do a piece of work, or go on with it after a cut."""
    if work == "merge":
        if not (folder / "x.zarr").exists():
            merge([folder / "1.zarr", folder / "2.zarr"], folder / "x.zarr")
    elif work == "pack":
        if not (folder / "x.zip").exists():
            pack(folder / "x.zarr", folder / "x.zip")
    else:
        run(LARGER[work], store=folder / "x.zarr", together=work == "together")


def lost(work: str, folder: Path, acknowledged: Iterable[Block | str], reference: str) -> list[str]:
    """What is missing after a cut of what was acknowledged before it; then the work is done again, to its end."""
    with _started_again(folder):
        return _lost(work, folder, set(acknowledged), reference)


@contextmanager
def _started_again(folder: Path) -> Iterator[None]:
    """A machine that starts again an hour after its power went, with another number of its start."""
    for left in folder.glob(f"**/{MARKS}/lease*"):
        os.utime(left, (then := time.time() - 3600.0, then))
    with (
        mock.patch.object(lease, "_boot", return_value="after the cut"),
        mock.patch.object(lease, "WATCHED", 0.0),
        mock.patch("results.store.merge.EXPIRES", 0.0),
    ):
        yield


def _lost(work: str, folder: Path, facts: set[Block | str], reference: str) -> list[str]:
    gone: list[str] = []
    if work in OTHERS:
        if DONE in facts and not (folder / ("x.zip" if work == "pack" else "x.zarr")).exists():
            gone.append(f"{work} was done, and is not there")
    else:
        gone += [f"block {place}" for place in _blocks_lost(work, folder / "x.zarr", facts)]
    act(work, folder)
    for name in {"merge": ("1.zarr", "2.zarr"), "pack": ("x.zip",)}.get(work, ()):
        ZarrStore.open(folder / name).content_hash()  # raises where it is not whole
    ended = ZarrStore.open(folder / ("x.zip" if work == "pack" else "x.zarr"))
    if ended.content_hash() != reference:
        gone.append("the end is another one")
    return gone


def tried(work: str, folder: Path, acknowledged: Iterable[Block | str], reference: str) -> list[str]:
    """What is lost, or why the next command did not go on."""
    try:
        return lost(work, folder, acknowledged, reference)
    except Exception as error:  # noqa: BLE001  (whatever it raises, it did not go on)
        return [f"{type(error).__name__}: {error}"]


def _blocks_lost(work: str, path: Path, facts: set[Block | str]) -> list[Block]:
    """Blocks that were acknowledged and are not sound, by what the next run finds before it computes any."""
    larger, smaller = schema_of(LARGER[work]), before(work)
    wanted = dict[tuple[str, int], Set[str]]()
    if smaller is not None:  # these were acknowledged when the smaller run ended; a last block that grows goes
        old = schema_of(smaller)
        whole = range(smaller.replications // old.block)
        wanted |= {(print_, index): old.layouts.keys() for print_ in old.cell_prints for index in whole}
    wanted |= {(larger.cell_prints[fact[0]], fact[1]): larger.layouts.keys()
               for fact in facts if not isinstance(fact, str)}  # fmt: skip
    for place in (path, *Crew(path).parts()):
        with locked(place):
            if place.exists():
                repair(place, larger)
    stores = [ZarrStore.open(place) for place in (path, *Crew(path).parts()) if place.exists()]
    found = []
    for (print_, index), names in wanted.items():
        if not any(names <= _kept(store, print_, index) for store in stores):
            found.append((larger.cell_prints.index(print_), index))
    return found


def _kept(store: ZarrStore, print_: str, index: int) -> Set[str]:
    """The estimators of a block that a store holds, by the fingerprint of the cell."""
    cells = store.schema.cell_prints
    if print_ not in cells or index >= store.block_count:
        return set()
    there = store.sound_parts(cells.index(print_), index)
    return set() if there is None else there.estimates.keys()


def cut_in_a_model(
    work: str, count: int, folder: Path, reference: str, seed: int = 1, *, syncfs: bool = True
) -> Counted:
    """Cut a recorded piece of work at so many points, in each model of a disk in turn; or at all, where they are fewer.

    syncfs: whether the system can flush all of a disk at once.
    """
    place = folder / f"{work}-recorded"
    place.mkdir()
    prepare(work, place)
    recorder = Recorder(place.resolve())
    chance, gone, said = random.Random(seed), list[str](), 0
    with _quick_flushes(syncfs):
        with recorder.recording():
            act(work, place)
            recorder.acknowledge(DONE)
        points = range(1, len(recorder.steps) + 1)
        chosen = sorted(chance.sample(points, min(count, len(points))))
        for number, cut in enumerate(chosen):
            left, model = folder / f"{work}-{number}", MODELS[number % len(MODELS)]
            left.mkdir()
            recorder.leave(cut, model, chance, left)
            facts = recorder.acknowledged(cut)
            said += len([fact for fact in facts if fact != DONE])
            gone += [f"cut {cut} ({model}): {what}" for what in tried(work, left, facts, reference)]
            shutil.rmtree(left)
    return Counted(work, len(chosen), said, tuple(gone))


@contextmanager
def _quick_flushes(syncfs: bool) -> Iterator[None]:
    """A disk of the model needs no flush of the system, and a short run many acknowledgements."""
    with (
        mock.patch.object(disk, "SYNCFS", mock.Mock(return_value=0) if syncfs else None),
        mock.patch.object(os, "fsync"),
        mock.patch.object(disk, "LEAST_PAUSE", 0.002),
        mock.patch.object(disk, "COST", 1.0),
    ):
        yield


def reference_of(work: str, folder: Path) -> str:
    """The hash of what a piece of work makes, by a serial run of its study."""
    path = folder / f"{work}-reference.zarr"
    run(LARGER.get(work, SMALL), store=path)
    return ZarrStore.open(path).content_hash()
