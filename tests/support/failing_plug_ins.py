"""Estimators that fail, each in its own way, as texts of modules; and what a study with one of them ends in."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import commands
import numpy as np
import psutil

from estimators import Status
from experiments.run.runner import run
from experiments.study import Study
from results.store import ZarrStore
from studies import SHORT

AT = 40  # the replication in which a plug-in fails
REPLICATIONS = 128
SLEEPS = "97.31"  # seconds that a process sleeps which a plug-in leaves: its mark in the list of processes
MODULE = f"""
import os, signal, subprocess, sys, time
from dataclasses import dataclass, replace
from typing import ClassVar
import numpy as np
from estimators import TwoWayDID

@dataclass(frozen=True, slots=True)
class Failing(TwoWayDID):
    "Two-way DID that fails."
    kind: ClassVar[str] = "failing"

    def solve(self, plan, moments, schema, streams):
        here = {AT} in range(streams.start, streams.stop)
        found = TwoWayDID.solve(self, plan, moments, schema, streams)
        [BODY]
        return found
"""
STUDY = f"""{SHORT}[[estimators]]
kind = "did"
[[estimators]]
kind = "failing_plug_in:Failing"
label = "failing"
[cluster]
where = "[WHERE]"
memory = "700MB"
block_timeout = 3
"""


@dataclass(frozen=True, slots=True)
class Failure:
    """A plug-in that fails, and what its run ends in.

    body: what its method `solve` does, which sees `found` (sound fits) and `here` (whether replication AT is among
    them). code: the exit code. said: what one line of the output holds. lost: its fits that have no numbers; None where
    nothing is written.
    """

    body: str
    code: int
    said: str
    lost: tuple[int, ...] | None = ()


ALL = f"{REPLICATIONS} of {REPLICATIONS} panels"
NOISE = "np.random.default_rng().random(found.estimate.shape)"
SHAPE, TWICE = "estimate is wrong: shape", "when the same panels were fitted twice"
ONE, COUNTED = (AT,), f"failing failed in 1 of {REPLICATIONS} fits"
FAILURES = {
    "raises": Failure("if here: raise ArithmeticError('no such root')", 0, COUNTED, ONE),
    "NaN": Failure(f"rows = np.arange(streams.start, streams.stop)[:, None]\n        "
                   f"found = replace(found, estimate=np.where(rows == {AT}, np.nan, found.estimate))", 0, COUNTED, ONE),
    "writes into what is shared": Failure("if here: found.estimate[:] = 7.0", 0, COUNTED, ONE),
    "wrong shape": Failure("found = replace(found, estimate=found.estimate[:, 0])", 2, SHAPE, None),
    "wrong shape at times": Failure("if here: found = replace(found, se=found.se[:, 0])", 0, COUNTED, ONE),
    "exits": Failure("if here: os._exit(7)", 3, "its process exited with code 7", ONE),
    "segfault": Failure("if here: os.kill(os.getpid(), signal.SIGSEGV)", 3, "ended by SIGSEGV", ONE),
    "hangs": Failure("while here: time.sleep(0.01)", 3, "it ran longer than it may, at File", ONE),
    "takes all memory": Failure("while here: kept = [bytearray(b'x') * (32 << 20), locals().get('kept')]", 3,
                                "MiB of memory, more than", ONE),
    "sys.exit": Failure("if here: sys.exit(5)", 3, "its process exited with code 5", ONE),
    "prints": Failure("print('a fit prints', flush=True); os.write(1, b'a library prints\\n')", 0, "a library prints"),
    "forks": Failure(f"if here: subprocess.Popen(['sleep', '{SLEEPS}'], stdout=-3, stderr=-3)", 0, ALL),
    "copies itself": Failure("if here: os.fork()", 0, ALL),
    "non-deterministic": Failure(f"found = replace(found, estimate={NOISE})", 2, TWICE, None),
    "slow": Failure("time.sleep(0.4)", 0, ALL),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended, and its store, None where there is none."""

    code: int
    output: str
    errors: str
    store: ZarrStore | None

    def line(self, words: str) -> str:
        """The line that holds these words, "" where none does."""
        return next((line for line in (self.errors + self.output).splitlines() if words in line), "")


def run_with(folder: Path, failure: Failure, where: str = "serial", *options: str) -> Ended:
    """Run the study of two estimators, a sound one and this one, in a folder."""
    (folder / "failing_plug_in.py").write_text(MODULE.replace("[BODY]", failure.body))
    workers = ("--workers", "1") if where == "local" else ()
    (folder / "study.toml").write_text(STUDY.replace("[WHERE]", where))
    ran = commands.run(folder, "run", "study.toml", "--store", "x.zarr", *workers, *options,
                       env={**os.environ, "COLUMNS": "300"})  # fmt: skip
    store = folder / "x.zarr"
    return Ended(ran.returncode, ran.stdout, ran.stderr, ZarrStore.open(store) if store.exists() else None)


def arrays_of(store: ZarrStore, name: str) -> dict[str, Any]:
    """All numbers of an estimator."""
    blocks = [block.estimates[name] for block in store.blocks(0)]
    return {field: np.concatenate([getattr(block, field) for block in blocks])
            for field in ("estimate", "se", "dof", "status")}  # fmt: skip


def lost_fits(store: ZarrStore) -> tuple[int, ...]:
    """The replications of the failing estimator without numbers."""
    return tuple(np.flatnonzero(arrays_of(store, "failing")["status"] != Status.OK).tolist())


def sound_numbers(folder: Path) -> dict[str, Any]:
    """All numbers of the sound estimator in the study without the other."""
    text = SHORT + '[[estimators]]\nkind = "did"\n'
    run(Study.from_settings(tomllib.loads(text) | {"name": "study"}), store=folder / "alone.zarr")
    return arrays_of(ZarrStore.open(folder / "alone.zarr"), "did")


def harmed(ended: Ended, sound: dict[str, Any]) -> list[str]:
    """The arrays of the sound estimator that are not those of the study without the other."""
    found = sound if ended.store is None else arrays_of(ended.store, "did")
    return [name for name, values in sound.items() if not np.array_equal(values, found[name], equal_nan=True)]


def left() -> list[int]:
    """Processes that a plug-in started and that still run."""
    sleeping = [item for item in psutil.process_iter(["cmdline"]) if (item.info["cmdline"] or [])[-1:] == [SLEEPS]]
    return [item.pid for item in sleeping]
