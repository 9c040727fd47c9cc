"""An estimator of which some fits end their process, hang or fill memory, as a file beside it says."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass
from typing import Any, ClassVar

from estimators import Estimates, TwoWayDID
from sim import Panel, Streams

HOW = {"exits": 5, "dies": 40, "hangs": 70, "fills": 100}  # by what they do: the replication


@dataclass(frozen=True, slots=True)
class Harmful(TwoWayDID):
    """Two-way DID that does harm in the replications of `HOW`.

    harms: what it does, of the names there.
    """

    kind: ClassVar[str] = "harmful"

    harms: tuple[str, ...] = ()

    def reduction(self, schema: Any) -> None:
        """None: it takes panels as they are."""

    def __call__(self, panel: Panel, streams: Streams | None = None) -> Estimates:
        """The fit, unless it does harm."""
        assert streams is not None
        rows = range(streams.start, streams.stop)
        for harm in self.harms:
            if HOW[harm] in rows:
                _do(harm)
        return TwoWayDID(self.outcome, self.regressors, self.errors)(panel)


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
        kept.append(bytearray(b"x") * (32 << 20))
        time.sleep(0.01)
