"""An estimator of which some fits end their process, hang or fill memory, as a file beside it says."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass
from typing import Any, ClassVar

from estimators import Estimates, TwoWayDID
from sim import Panel, Schema, Streams

HOW = {"exits": 5, "dies": 40, "hangs": 70, "fills": 100}  # by what they do: the replication


@dataclass(frozen=True, slots=True)
class Harmful(TwoWayDID):
    """Two-way DID that does harm in the replications of `HOW` when it solves them.

    harms: what it does, of the names there.
    """

    kind: ClassVar[str] = "harmful"

    harms: tuple[str, ...] = ()

    def solve(self, plan: Any, moments: Any, schema: Schema, streams: Streams) -> Estimates:
        """The fits, unless it does harm."""
        _harm(self.harms, streams)
        return TwoWayDID.solve(self, plan, moments, schema, streams)


@dataclass(frozen=True, slots=True)
class HarmfulTiles(TwoWayDID):
    """The same, but it takes tiles of panels as they are.

    harms: what it does, of the names there.
    """

    kind: ClassVar[str] = "harmful tiles"

    harms: tuple[str, ...] = ()

    def reduction(self, schema: Any) -> None:
        """None: it takes panels as they are."""

    def __call__(self, panel: Panel, streams: Streams | None = None) -> Estimates:
        """The fits, unless it does harm."""
        assert streams is not None
        _harm(self.harms, streams)
        return TwoWayDID(self.outcome, self.regressors, self.errors)(panel)


def _harm(harms: tuple[str, ...], streams: Streams) -> None:
    for harm in harms:
        if HOW[harm] in range(streams.start, streams.stop):
            _do(harm)


def _do(harm: str) -> None:
    if harm == "exits":
        sys.stderr.flush()
        os._exit(0)
    if harm == "dies":
        os.kill(os.getpid(), signal.SIGSEGV)
    if harm == "hangs":
        while True:
            time.sleep(0.01)
    kept = []
    while True:
        kept.append(bytearray(b"x") * (96 << 20))
        time.sleep(0.01)
