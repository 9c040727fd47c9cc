"""Stores of very many blocks in seconds: every block holds the numbers of one that was computed, each has its mark.

Digests cover numbers alone: one block's files are sound in every place. Marks and stamps are those of the place.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from estimators import TwoWayDID
from experiments.run.resume import origin_of
from experiments.run.runner import schema_of
from experiments.run.tasks import environment_of, runner_of
from experiments.study import Study
from results.store import BlockState, ZarrStore
from results.store.files import Mark, files_of, stamp_of
from results.store.tree import CHUNK, MARKS, META
from sim.presets import Paper

BLOCK = 64


def many_blocks(cells: int, blocks: int) -> Study:
    """A study of one estimator with so many cells and blocks a cell."""
    grid = (("effect", tuple(1e-5 * number for number in range(cells))),)
    return Study("many", Paper(controls="none"), (TwoWayDID(),), grid=grid, replications=blocks * BLOCK, block=BLOCK,
                 seed=5, worlds=1)  # fmt: skip


def fabricated(study: Study, path: Path, without: Iterable[tuple[int, int]] = ()) -> ZarrStore:
    """The store of a study with all blocks but some."""
    store = ZarrStore.create(path, schema_of(study))
    store.computed_in(origin_of(store, environment_of(study)))
    store.write(0, 0, runner_of(study, 0).run(0, study.block))
    first, parts, left_out = files_of(0, 0, store.schema.parts), store.schema.parts, set(without)
    held = [(path / file).read_bytes() for file in first]
    digests = np.frombuffer(bytes.fromhex(store.digest(0, 0)), dtype=np.uint8).reshape(len(parts), -1)
    origins = store.origins[0, 0]
    for place in store.places():
        files = files_of(*place, parts)
        looks = {}
        for file, data in zip(files, held, strict=True):
            if place not in left_out:
                looks[file] = _written(path / file, data)
        mark = path / MARKS / f"{CHUNK}{place[0]}.{place[1]}.0"
        if place in left_out:
            mark.unlink(missing_ok=True)
            for file in files:
                (path / file).unlink(missing_ok=True)
        else:
            sealed = Mark(BlockState.DONE, origins, digests, stamp_of(looks, files))
            _written(mark, sealed.chunk(study.fingerprint, *place))
    assert (path / META).exists()
    return ZarrStore.open(path)


def _written(file: Path, data: bytes) -> str:
    """Write a file, and say how it looks."""
    with open(file, "wb", buffering=0) as out:
        out.write(data)
        out.flush()
        seen = os.fstat(out.fileno())
    return f"{seen.st_size} {seen.st_mtime_ns}"
