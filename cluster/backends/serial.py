"""Jobs one after the other, in a child of this process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cluster.backends.backend import BackEnd, Say, bytes_of, silent
from cluster.child import Guarded
from cluster.executor import Executor, Pace


@dataclass(frozen=True)
class InOneProcess(BackEnd):
    """One job after the other on this machine.

    memory: what a block may take, such as 4GB; None = no limit.
    """

    name: ClassVar[str] = "serial"
    form: ClassVar[str] = "serial"

    memory: str | None = None

    def open(self, limit: float | None = None, say: Say = silent) -> Executor:
        """Nothing is started before the first job."""
        return Guarded(Pace(limit), bytes_of(self.memory))
