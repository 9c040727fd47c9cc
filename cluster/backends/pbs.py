"""Workers as jobs of PBS, OpenPBS or Torque."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from cluster.backends.backend import bytes_of
from cluster.backends.jobs import Jobs


@dataclass(frozen=True)
class Pbs(Jobs):
    """Workers that PBS starts as jobs; the scheduler runs here. They speak TLS.

    queue, account: of each job, such as "short", "econ". resource_spec: what each job asks for, such as
    "nodes=1:ppn=4" on Torque; None = cores and memory as OpenPBS has them.
    """

    name: ClassVar[str] = "pbs"
    form: ClassVar[str] = "pbs"
    title: ClassVar[str] = "PBS"
    kind: ClassVar[str] = "PBSCluster"
    submits: ClassVar[str] = "qsub"
    lists: ClassVar[tuple[str, ...]] = ("qselect", "-u", "{user}")
    mark: ClassVar[str] = "#PBS"
    hushed: ClassVar[Mapping[str, str]] = {"PBS_DPREFIX": ""}  # how lines of heads begin
    comes_back: ClassVar[tuple[str, ...]] = ("-S /bin/bash", "-r y")
    keeps_nothing: ClassVar[tuple[str, ...]] = ("-j oe", "-o /dev/null")

    queue: str | None = None
    account: str | None = None
    resource_spec: str | None = None

    @property
    def asked(self) -> Mapping[str, Any]:
        """Where jobs run, and what they ask for."""
        from dask_jobqueue.pbs import pbs_format_bytes_ceil

        memory = pbs_format_bytes_ceil(bytes_of(self.memory))
        spec = self.resource_spec or f"select=1:ncpus={self.cores or self.processes}:mem={memory}"
        return {"queue": self.queue, "account": self.account, "resource_spec": spec}
