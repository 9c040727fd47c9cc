"""Workers as jobs of Grid Engine: SGE, Univa, Son of Grid Engine, Altair."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from cluster.backends.jobs import Jobs
from cluster.options import Fault


@dataclass(frozen=True)
class Sge(Jobs):
    """Workers that Grid Engine starts as jobs; the scheduler runs here. They speak TLS.

    queue, project: of each job, such as "short.q", "econ". pe: the parallel environment of jobs with more than one
    core, such as "smp". resource_spec: what each job asks for, such as "h_vmem=2G"; None = nothing, because the name
    of memory differs from site to site.
    """

    name: ClassVar[str] = "sge"
    form: ClassVar[str] = "sge"
    title: ClassVar[str] = "Grid Engine"
    kind: ClassVar[str] = "SGECluster"
    submits: ClassVar[str] = "qsub"
    lists: ClassVar[tuple[str, ...]] = ("qstat", "-u", "{user}")
    mark: ClassVar[str] = "#$"
    comes_back: ClassVar[tuple[str, ...]] = ("-S /bin/bash", "-r y")
    keeps_nothing: ClassVar[tuple[str, ...]] = ("-o /dev/null",)

    queue: str | None = None
    project: str | None = None
    pe: str | None = None
    resource_spec: str | None = None

    def faults(self, where: str) -> Iterable[Fault]:
        """What is wrong with the options."""
        yield from super().faults(where)
        if self._cores > 1 and self.pe is None:
            yield Fault(f"{self._cores} cores without a parallel environment", where, 'pe = "smp", or its name there',
                        "add pe; qconf -spl lists them")  # fmt: skip

    @property
    def _cores(self) -> int:
        return self.cores or self.processes

    @property
    def asked(self) -> Mapping[str, Any]:
        """Where jobs run, and what they ask for."""
        return {"queue": self.queue, "project": self.project, "resource_spec": self.resource_spec}

    @property
    def directives(self) -> Iterable[str]:
        """Cores too, which dask-jobqueue does not ask for."""
        return (*super().directives, *([f"-pe {self.pe} {self._cores}"] if self._cores > 1 else []))
