"""Workers as jobs of a batch system, by dask-jobqueue: what Slurm, PBS, Grid Engine and LSF have in common."""

from __future__ import annotations

import getpass
import math
import re
import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from cluster.backends.backend import BackEnd, Say, bytes_of, silent
from cluster.executor import ClusterLost, Executor, Pace
from cluster.numbers import member_environment
from cluster.options import CLOCK, NAME, Fault, checked_form, checked_numbers, is_loopback

if TYPE_CHECKING:
    from cluster.dask_cluster import Certificates

SCRATCH = "cluster.scratch"  # the module that makes a scratch folder on a node
STAGGER = "4m"  # workers of one start do not leave together
LEAVE_SECONDS = 300  # before the end of its time a worker finishes its task and leaves
ALONE = "127.0.0.1:0"  # where the pages of members are, which ask for no certificate
LEAST_BYTES = 100_000_000  # of a worker: Python with numpy alone takes nearly as much
NAMES = ("interface", "host", "log", "partition", "queue", "account", "project", "pe")  # options that are no shell code
SHARED = """
    workers: how many, rounded up to whole jobs; with `least` the most. least: as many stay when there is little to do;
    None = all stay. walltime: of each job, such as "02:00:00"; a worker leaves five minutes before its end, and another
    is asked for. memory: of each job, such as "2GB"; its workers share it. processes: workers of each job. cores: of
    each job; None = one for each worker, which uses no more. interface: the network that the nodes reach this machine
    by, such as ib0; host: this machine's address there. directory: a folder that all nodes see, for temporary
    certificates; None = this folder. scratch: a folder on the nodes, such as "$TMPDIR", in which each job makes one
    that only you can read; None = where a node keeps temporary files. log: a folder for the output of jobs; None = none
    is kept. lines: further lines for the head of the job. before: shell commands before the worker, such as
    "module load python". python: the interpreter on the nodes; None = this one. wait: seconds until the first worker
    must be there, and that a run goes on without any. tls: files {ca, cert, key} in PEM; None = temporary certificates.
"""


@dataclass(frozen=True)
class Jobs(BackEnd):
    """Workers that a batch system starts as jobs; the scheduler runs here. They speak TLS.

    title: the batch system in messages. kind: the class of dask_jobqueue. submits: the command that takes a job.
    lists: the command that prints a line for each job of a user, named as {user}, that has not ended, its number first.
    mark: how lines for the head of a job begin. comes_back: lines with which a job that is preempted runs again.
    keeps_nothing: lines that throw the output of a job away. hushed: variables of the environment that the batch
    system heeds before the head of a job, each with the option that it is not to outdo ("": whatever is asked for).
    """

    needs: ClassVar[tuple[str, str] | None] = ("dask_jobqueue", "jobqueue")
    title: ClassVar[str] = ""
    kind: ClassVar[str] = ""
    submits: ClassVar[str] = ""
    lists: ClassVar[tuple[str, ...]] = ()
    mark: ClassVar[str] = ""
    comes_back: ClassVar[tuple[str, ...]] = ()
    keeps_nothing: ClassVar[tuple[str, ...]] = ()
    hushed: ClassVar[Mapping[str, str]] = {}
    times: ClassVar[tuple[re.Pattern[str], str]] = (CLOCK, "hours, minutes and seconds, such as 02:00:00")

    workers: int = 2
    least: int | None = None
    walltime: str = "01:00:00"
    memory: str = "2GB"
    processes: int = 1
    cores: int | None = None
    interface: str | None = None
    host: str | None = None
    directory: str | None = None
    scratch: str | None = None
    log: str | None = None
    lines: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    python: str | None = None
    wait: float = 600.0
    tls: dict[str, Any] | None = field(default=None)

    def __init_subclass__(cls) -> None:
        """Add the meaning of the options that all have."""
        cls.__doc__ = f"{(cls.__doc__ or '').rstrip()}{SHARED}"

    @property
    def asked(self) -> Mapping[str, Any]:
        """What the class of dask_jobqueue is given beside what all are given."""
        return {}

    @property
    def directives(self) -> Iterable[str]:
        """Lines for the head of a job that dask-jobqueue does not write."""
        return (*self.comes_back, *(() if self.log else self.keeps_nothing))

    def faults(self, where: str) -> Iterable[Fault]:
        """What is wrong with the options."""
        yield from checked_numbers(self, {"workers": 1, "least": 0, "processes": 1, "cores": 1, "wait": 1}, where)
        of_memory = list(super().faults(where))
        yield from of_memory
        if not of_memory and self.processes > 0 and (bytes_of(self.memory) or 0) < LEAST_BYTES * self.processes:
            yield Fault(f"memory = {self.memory!r} for {self.processes} of processes", where,
                        "100MB or more for each process", "correct memory")  # fmt: skip
        yield from checked_form(self, "walltime", *self.times, where)
        if self.times[0].fullmatch(self.walltime) and seconds_of(self.walltime) < 1:
            yield Fault(f"walltime = {self.walltime!r}", where, "a second or more", "correct walltime")
        if self.cores is not None and 1 <= self.cores < self.processes:
            yield Fault(f"cores = {self.cores} for processes = {self.processes}", where,
                        "as many cores as processes, or more", "leave cores out")  # fmt: skip
        for name in NAMES:
            if hasattr(self, name):
                yield from checked_form(self, name, NAME, "a text without spaces, quotes and other signs of a shell",
                                        where)  # fmt: skip
        for line in (*self.lines, getattr(self, "resource_spec", None) or ""):
            if line.lstrip().startswith("#") or not line.isprintable():
                yield Fault(f"{line!r} for the head of a job", where, f"what stands after {self.mark}, one line each",
                            f"leave {self.mark} out")  # fmt: skip
        if shutil.which(self.submits) is None:
            yield Fault(f"there is no command {self.submits} on this machine", "--cluster",
                        f"a machine that can submit to {self.title}", "run this on a login node")  # fmt: skip

    def open(self, limit: float | None = None, say: Say = silent) -> Executor:
        """Ask for workers, and wait for the first."""
        from cluster.dask_cluster import Certificates, Owned, client_of, made_scratch, starting, written
        from cluster.dask_pool import DaskPool

        certificates, folder = Certificates.given(self.tls, "[cluster] tls") if self.tls is not None else None, None
        if certificates is None:  # temporary ones, in a folder that all nodes see
            certificates, folder = written(Path(self.directory or ".").expanduser().resolve())
        owned = Owned(made_scratch(), folder)
        with starting(owned.scratch):
            try:
                owned.cluster = cluster = self.cluster(certificates)
                # adaptively, so that workers that leave or die are asked for again
                most = math.ceil(self.workers / self.processes)
                least = most if self.least is None else min(math.ceil(self.least / self.processes), most)
                cluster.adapt(minimum_jobs=least, maximum_jobs=most, wait_count=6)
            except (OSError, RuntimeError, ValueError) as error:
                owned.close()
                raise ClusterLost(f"{self.title}: no cluster could start: {error}") from error
        try:
            client = client_of(owned, 1, self.title, self.wait, cluster=cluster, hopeless=cluster.hopeless)
        except ClusterLost as error:
            raise ClusterLost(f"{error}; {self.kept}") from error
        memory = bytes_of(self.memory)
        share = memory and memory // self.processes
        return DaskPool(client, owned, Pace(limit), share, say, logs=self.kept, absence=self.wait)

    @property
    def kept(self) -> str:
        """Where the output of the jobs is, in words."""
        if self.log is None:
            return "the option log names a folder in which the output of jobs is kept"
        return f"the output of its jobs is in {Path(self.log).expanduser().resolve()}"

    def cluster(self, certificates: Certificates) -> Any:
        """The cluster without workers; its `job_script()` is what the batch system will get."""
        import dask_jobqueue

        from cluster.orphans import MODULE as ORPHANS
        from cluster.queued import queued
        from cluster.steady_tls import MODULE as STEADY

        host = {"host": self.host} if self.host else {}
        python = shlex.quote(self.python or sys.executable)
        preloads = [word for module in (STEADY, ORPHANS) for option in ("--preload", "--preload-nanny")
                    for word in (option, module)]  # fmt: skip
        # where no other machine can take part workers listen here alone, else where the scheduler reaches them
        alone = self.host is not None and self.interface is None and is_loopback(f"tls://{self.host}")
        listening = ["--host", "127.0.0.1"] if alone else []
        # a folder of our own on the node, which goes with the job; without one no worker starts
        place = f" {shlex.quote(self.scratch)}" if self.scratch else ""
        scratch = [f'PANELPROOF_SCRATCH="$({python} -m {SCRATCH} $${place})" || exit 2',
                   """trap 'rm -rf -- "$PANELPROOF_SCRATCH"' EXIT"""]  # fmt: skip
        lists = [word.format(user=getpass.getuser()) for word in self.lists]
        hushed = [name for name, option in self.hushed.items() if not option or getattr(self, option) is not None]
        return queued(getattr(dask_jobqueue, self.kind), lists, hushed)(
            cores=self.processes,  # each worker has one thread
            processes=self.processes,
            memory=self.memory,
            interface=self.interface,
            scheduler_options={"dashboard_address": ALONE, **host},
            worker_extra_args=["--no-dashboard", "--dashboard-address", ALONE, *preloads, *listening, *self._leaving()],
            job_extra_directives=[*self.directives, *self.lines],
            job_script_prologue=[*self._exports(certificates), *self.before, *scratch],
            log_directory=None if self.log is None else str(Path(self.log).expanduser().resolve()),
            python=python,
            local_directory='"$PANELPROOF_SCRATCH"',
            security=certificates.security,
            protocol="tls://",
            **{"walltime": self.walltime, **self.asked},
        )

    def _exports(self, certificates: Certificates) -> list[str]:
        """What a job has in its environment: all that its workers need of it."""
        tls = "DASK_DISTRIBUTED__COMM__TLS"
        files = {f"{tls}__CA_FILE": certificates.ca, f"{tls}__WORKER__CERT": certificates.cert,
                 f"{tls}__WORKER__KEY": certificates.key}  # fmt: skip
        found = {
            **member_environment(),
            "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True",
            **{name: str(Path(path).resolve()) for name, path in files.items()},
        }
        return [f"export {name}={shlex.quote(value)}" for name, value in found.items()]

    def _leaving(self) -> list[str]:
        """A worker leaves before its time is over, and not at the same moment as the others."""
        seconds = seconds_of(self.walltime)
        if seconds < 4 * LEAVE_SECONDS:
            return ["--lifetime", f"{max(seconds - LEAVE_SECONDS, seconds * 3 // 4)}s"]
        return ["--lifetime", f"{seconds - LEAVE_SECONDS}s", "--lifetime-stagger", STAGGER]


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
