"""Workers as jobs of LSF."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from cluster.backends.jobs import Jobs, seconds_of


@dataclass(frozen=True)
class Lsf(Jobs):
    """Workers that LSF starts as jobs; the scheduler runs here. They speak TLS.

    queue, project: of each job, such as "short", "econ".
    """

    name: ClassVar[str] = "lsf"
    form: ClassVar[str] = "lsf"
    title: ClassVar[str] = "LSF"
    kind: ClassVar[str] = "LSFCluster"
    submits: ClassVar[str] = "bsub"
    lists: ClassVar[tuple[str, ...]] = ("env", "--unset=LSB_BJOBS_FORMAT", "bjobs", "-w", "-u", "{user}")
    hushed: ClassVar[Mapping[str, str]] = {"BSUB_QUIET": "", "BSUB_CHK_RESREQ": ""}  # no number; no job
    mark: ClassVar[str] = "#BSUB"
    comes_back: ClassVar[tuple[str, ...]] = ("-r",)
    keeps_nothing: ClassVar[tuple[str, ...]] = ("-o /dev/null",)

    queue: str | None = None
    project: str | None = None

    @property
    def asked(self) -> Mapping[str, Any]:
        """Where jobs run, and what they ask for; LSF counts whole minutes."""
        minutes = -(-seconds_of(self.walltime) // 60)
        return {"queue": self.queue, "project": self.project, "ncpus": self.cores,
                "walltime": f"{minutes // 60}:{minutes % 60:02}"}  # fmt: skip
