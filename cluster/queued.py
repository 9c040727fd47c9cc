"""Jobs of a batch system, which come back: a job is given up when its batch system has ended it, and not before.

Dask cancels a job 15 s after its worker went, so that one which was preempted and waits for its next turn loses its
place; of a job with several workers it never asks for another. Jobs that end before a worker of theirs is there are
asked for again, each time after a longer while.
"""

from __future__ import annotations

import asyncio
import re
import shlex
from collections import Counter
from collections.abc import Sequence
from typing import Any

from dask_jobqueue.core import Job, JobQueueCluster
from distributed.core import Status
from distributed.deploy.cluster import Cluster

LOOK_SECONDS = 10.0  # between two looks at the jobs without workers
ANSWER_SECONDS = 60.0  # in which a batch system lists its jobs
MOST_LOOKS = 64  # that a job must be missing before another is asked for, however often it has ended
HOPELESS = 2  # times that every job must have ended without a worker
NO_JOBS = "No unfinished job found"  # of LSF, which calls it an error


class _OwnJob(Job):  # type: ignore[misc]
    """A job that says that it is closed, without which Dask stops in the middle of closing its cluster, and why the
    batch system did not take it."""

    async def _submit_job(self, script_filename: str) -> Any:
        if not getattr(self, "use_stdin", False):
            return await super()._submit_job(script_filename)
        # of LSF, whose reasons for taking no job dask-jobqueue throws away
        return await self._call([f"{self.submit_command} < {shlex.quote(script_filename)}"], shell=True)

    async def close(self) -> None:
        await super().close()
        self.status = Status.closed


class Queued(JobQueueCluster):  # type: ignore[misc]
    """A cluster of jobs that their batch system lists.

    lists: a command that prints a line for each job of this user that has not ended, its number first. refusal: what
    the batch system said when it took no job. ended: how often each job ended without a worker. missed: looks at
    which the batch system did not know a job.
    """

    lists: Sequence[str] = ()
    _watch: asyncio.Task[None] | None = None

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        self.refusal = ""
        self.ended, self.missed = Counter[str](), Counter[str]()
        super().__init__(*arguments, **settings)

    def hopeless(self) -> str:
        """Why no worker will come, once that is clear; "" until then."""
        jobs = dict(self.workers)
        if self.refusal and not any(job.job_id for job in jobs.values()):  # others may be over a limit of jobs
            return f"it took no job: {self.refusal}"
        if jobs and all(self.ended[name] >= HOPELESS for name in jobs):
            return "its jobs end before a worker is there"
        return ""

    def _get_worker_security(self, security: Any) -> None:
        """Nothing: the script exports where the certificates are, so that no command line names them."""

    def _update_worker_status(self, op: Any, msg: Any) -> None:
        """Note which workers there are; that one has gone is not the end of its job."""
        Cluster._update_worker_status(self, op, msg)

    async def _correct_state_internal(self) -> None:
        try:
            await super()._correct_state_internal()
            self.refusal = ""
        except (OSError, RuntimeError, ValueError) as error:
            self.refusal = worded(str(error))
            raise

    async def _start(self) -> None:
        await super()._start()
        self._watch = asyncio.ensure_future(self._looks())

    async def _close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        await super()._close()

    async def _looks(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Give up jobs without workers that the batch system knows no longer, so that others are asked for."""
        here = [str(worker["name"]) for worker in self.scheduler_info["workers"].values()]
        away = dict(self.workers)
        for name in list(away):
            if any(worker == name or worker.startswith(f"{name}-") for worker in here):
                self.ended[name] = self.missed[name] = 0
                del away[name]
        known = await self._known() if away else None
        if known is None:
            return
        for name, job in away.items():
            self.missed[name] = 0 if job.job_id in known else self.missed[name] + 1
            if self.missed[name] >= min(2 << self.ended[name], MOST_LOOKS) and self.workers.get(name) is job:
                self.ended[name] += 1
                self.missed[name] = 0
                del self.workers[name]  # Dask asks for another of this name
                await job.close()

    async def _known(self) -> set[str] | None:
        """Numbers of this user's jobs that have not ended; None where the batch system does not answer."""
        try:
            listed = await asyncio.wait_for(self.job_cls._call([*self.lists]), ANSWER_SECONDS)
        except RuntimeError as error:
            if NO_JOBS not in str(error):
                return None
            listed = ""
        except (OSError, TimeoutError):
            return None
        return set(re.findall(r"^\s*(\d+)", listed, re.MULTILINE))


def queued(kind: type[Any], lists: Sequence[str], hushed: Sequence[str] = ()) -> type[Queued]:
    """A class of dask-jobqueue, such as SLURMCluster, as one whose jobs come back.

    hushed: variables of the environment that the command that takes a job is not to see.
    """
    submits = kind.job_cls.submit_command
    if hushed:
        submits = " ".join(("env", *(f"--unset={name}" for name in hushed), submits))
    job = type(kind.job_cls.__name__, (_OwnJob, kind.job_cls), {"submit_command": submits})
    return type(kind.__name__, (Queued, kind), {"lists": tuple(lists), "job_cls": job})


def worded(error: str) -> str:
    """What a command of a batch system said when it failed, in one line."""
    _, found, said = error.partition("stderr:\n")
    return " ".join((said if found and said.strip() else error).split())
