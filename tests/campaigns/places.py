"""One study in every place where it can be computed: the content hash of each store, and its seconds."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from object_server import BUCKET, served
from real_parts import PARTS, NotHere, nothing

from cluster import Executor, Serial, back_end
from experiments.run.resume import Resume
from experiments.run.runner import run
from results.store import Shard, ZarrStore
from results.store.bucket import StorePath, store_path
from results.store.merge import merge
from studies import small_study

REPLICATIONS = 1024
SHARDS = 4
Place = Callable[[Path], str]  # runs the study in a folder of its own, and returns the hash of its store


def main() -> bool:
    """Every place gives one hash."""
    found: dict[str, str] = {}
    for name, place in PLACES.items():
        with tempfile.TemporaryDirectory(prefix="places-") as folder:
            begin = time.monotonic()
            try:
                found[name] = place(Path(folder))
            except NotHere as reason:
                print(f"  {name}: NOT TESTED HERE: {reason}", flush=True)
                continue
            print(f"  {name}: {found[name]} ({time.monotonic() - begin:.1f} s)", flush=True)
    print(f"  {len(found)} places, {len(set(found.values()))} hash")
    return len(set(found.values())) == 1


@contextmanager
def opened(folder: Path, part: Callable[[Path], Any]) -> Iterator[Executor]:
    """The executor of a place, whose parts are started before."""
    with part(folder) as cluster, closing(back_end(cluster.where, cluster.options).open()) as executor:
        yield executor


def on(part: Callable[[Path], Any], writes: str = "client") -> Place:
    """A place that a back end opens."""

    def hash_there(folder: Path) -> str:
        with opened(folder, part) as executor:
            return stored(folder / "x.zarr", executor, writes=writes)

    return hash_there


def stored(store: StorePath, executor: Executor, plan: Resume | None = None, writes: str = "client") -> str:
    """Run the study into a store; its hash."""
    run(small_study(REPLICATIONS), store=store, executor=executor, plan=plan, writes=writes)
    return ZarrStore.open(store).content_hash()


def in_shards(folder: Path) -> str:
    """Four shards, each a run of its own, joined."""
    paths = [folder / f"{number}.zarr" for number in range(SHARDS)]
    for number, path in enumerate(paths, 1):
        stored(path, Serial(), Resume(shard=Shard(number, SHARDS)))
    merge(paths, folder / "x.zarr")
    return ZarrStore.open(folder / "x.zarr").content_hash()


def in_a_bucket(part: Callable[[Path], Any], writes: str) -> Place:
    """A store in S3, on a server of this machine."""

    def hash_there(folder: Path) -> str:
        with served() as variables, patch.dict(os.environ, variables), opened(folder, part) as executor:
            return stored(store_path(f"s3://{BUCKET}/x.zarr"), executor, writes=writes)

    return hash_there


PLACES: dict[str, Place] = {
    "this process": lambda folder: stored(folder / "x.zarr", Serial()),
    "local x 1": on(lambda _: nothing("local", workers=1)),
    **{"local x 2" if name == "local" else name: on(part) for name, part in PARTS.items()},
    f"{SHARDS} shards, merged": in_shards,
    "workers write": on(PARTS["local"], writes="workers"),
    "S3": in_a_bucket(PARTS["local"], writes="client"),
    "S3, workers write": in_a_bucket(PARTS["local"], writes="workers"),
}
