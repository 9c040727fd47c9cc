"""Workers as jobs of Slurm, by dask-jobqueue."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from cluster.backends.backend import NO_LIMITS, BackEnd, Clocks, Say, bytes_of, silent
from cluster.executor import ClusterLost, Executor
from cluster.options import LASTING, Fault, checked_form, checked_numbers
from cluster.process import member_environment

if TYPE_CHECKING:
    from cluster.certificates import Certificates

SCRATCH = "cluster.scratch"  # the module that makes a scratch folder on a node
STAGGER = "4m"  # workers of one start do not leave together
LEAVE_SECONDS = 300  # before the end of its time a worker finishes its task and leaves


@dataclass(frozen=True)
class Slurm(BackEnd):
    """Workers that Slurm starts, each as a job of one core; the scheduler runs here. They speak TLS.

    workers: how many; with `least` the most. least: as many stay when there is little to do; None = all stay.
    partition, account, walltime, memory: of each job, such as "short", "econ", "02:00:00", "2GB". walltime: a worker
    leaves five minutes before its end, and another is asked for. interface: the network that the nodes reach this
    machine by, such as ib0; host: this machine's address there. directory: a folder that all nodes share, for
    temporary certificates; None = this folder. log: a folder for the output of jobs; None = none is kept. lines:
    further lines for the head of the job, such as "--constraint=haswell". before: shell commands before the worker,
    such as "module load python". python: the interpreter on the nodes; None = this one. wait: seconds until the first
    worker must be there. tls: files {ca, cert, key} in PEM; None = temporary certificates.
    """

    name: ClassVar[str] = "slurm"
    form: ClassVar[str] = "slurm"
    needs: ClassVar[tuple[str, str] | None] = ("dask_jobqueue", "slurm")

    workers: int = 2
    least: int | None = None
    partition: str | None = None
    account: str | None = None
    walltime: str = "01:00:00"
    memory: str = "2GB"
    interface: str | None = None
    host: str | None = None
    directory: str | None = None
    log: str | None = None
    lines: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    python: str | None = None
    wait: float = 600.0
    tls: dict[str, Any] | None = field(default=None)

    def faults(self, where: str) -> Iterable[Fault]:
        """What is wrong with the options."""
        yield from checked_numbers(self, {"workers": 1, "least": 0, "wait": 1}, where)
        yield from self._memory_faults(where)
        yield from checked_form(self, "walltime", LASTING, "a time such as 02:00:00 (Slurm's form)", where)
        if shutil.which("sbatch") is None:
            yield Fault("there is no command sbatch on this machine", "--cluster", "a machine that can submit to Slurm",
                        "run this on a login node")  # fmt: skip

    def open(self, clocks: Clocks = NO_LIMITS, say: Say = silent) -> Executor:
        """Ask Slurm for workers, and wait for the first."""
        from cluster.dask_cluster import client_of, made_scratch, starting
        from cluster.dask_pool import DaskPool

        certificates, folder = self._certificates()
        owned = _WithFolder(folder, made_scratch())
        with starting(owned.scratch):
            try:
                owned.cluster = cluster = self.cluster(certificates)
                self._scale(cluster)
            except (OSError, RuntimeError) as error:
                owned.close()
                raise ClusterLost(f"Slurm took no jobs: {error}") from error
        client = client_of(owned, 1, "Slurm", self.wait, cluster=cluster)
        return DaskPool(client, owned, clocks.pace, bytes_of(self.memory), say)

    def _certificates(self) -> tuple[Certificates, Path | None]:
        """Those that are given, or temporary ones and the folder that holds them, which all nodes see."""
        from cluster.certificates import Certificates, written

        given = Certificates.given(self.tls, "[cluster] tls") if self.tls is not None else None
        return (given, None) if given is not None else written(Path(self.directory or ".").expanduser().resolve())

    def cluster(self, certificates: Certificates) -> Any:
        """The cluster without workers; its `job_script()` is what Slurm will get."""
        from dask_jobqueue.slurm import SLURMCluster

        from cluster.orphans import MODULE as ORPHANS
        from cluster.steady_tls import MODULE as STEADY

        host = {"host": self.host} if self.host else {}
        return SLURMCluster(
            cores=1,
            processes=1,
            memory=self.memory,
            queue=self.partition,
            account=self.account,
            walltime=self.walltime,
            interface=self.interface,
            scheduler_options={"dashboard_address": "127.0.0.1:0", **host},
            worker_extra_args=["--no-dashboard", *_preloads(STEADY, ORPHANS), *self._leaving()],
            job_extra_directives=[*self.lines, *([] if self.log else ["--output=/dev/null"])],
            job_script_prologue=[*_exports(), *self.before, *self._scratch],
            log_directory=self.log,
            python=self._python,
            local_directory='"$PANELPROOF_SCRATCH"',
            security=certificates.security,
            protocol="tls://",
        )

    @property
    def _python(self) -> str:
        return shlex.quote(self.python or sys.executable)

    @property
    def _scratch(self) -> list[str]:
        """A folder of our own on the node, which goes with the job; without one no worker starts."""
        return [f'PANELPROOF_SCRATCH="$({self._python} -m {SCRATCH})" || exit 2',
                """trap 'rm -rf -- "$PANELPROOF_SCRATCH"' EXIT"""]  # fmt: skip

    def _leaving(self) -> list[str]:
        """A worker leaves before its time is over, and not at the same moment as the others."""
        seconds = seconds_of(self.walltime)
        if seconds < 4 * LEAVE_SECONDS:
            return ["--lifetime", f"{max(seconds - LEAVE_SECONDS, seconds * 3 // 4)}s"]
        return ["--lifetime", f"{seconds - LEAVE_SECONDS}s", "--lifetime-stagger", STAGGER]

    def _scale(self, cluster: Any) -> None:
        """Ask for workers; adaptively, so that those that leave or die are asked for again."""
        least = self.workers if self.least is None else min(self.least, self.workers)
        cluster.adapt(minimum_jobs=least, maximum_jobs=self.workers, wait_count=6)


def _exports() -> list[str]:
    """What a member must start with, as lines of a shell."""
    return [f"export {name}={shlex.quote(value)}" for name, value in member_environment().items()]


def _preloads(*modules: str) -> list[str]:
    """What `dask worker` is told, so that worker and nanny load modules before they start."""
    return [word for module in modules for option in ("--preload", "--preload-nanny") for word in (option, module)]


@dataclass(eq=False)
class _WithFolder:
    """A cluster, the folder of its certificates and its scheduler's scratch folder, which go with it."""

    folder: Path | None
    scratch: str
    cluster: Any = None

    def close(self, timeout: float | None = None) -> None:
        """Stop the cluster and remove the folders."""
        from cluster.dask_cluster import removed_scratch

        if self.cluster is not None:
            with contextlib.suppress(Exception):
                self.cluster.close(timeout=timeout)
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
        removed_scratch(self.scratch)


def seconds_of(walltime: str) -> int:
    """Seconds of a time as Slurm has it: minutes, MM:SS, HH:MM:SS or D-HH:MM:SS."""
    days, _, rest = walltime.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if days:
        hours, minutes, seconds = (*parts, 0, 0)[:3]
        return int(days) * 86400 + hours * 3600 + minutes * 60 + seconds
    if len(parts) == 1:
        return parts[0] * 60
    return sum(part * unit for part, unit in zip(reversed(parts), (1, 60, 3600), strict=False))
