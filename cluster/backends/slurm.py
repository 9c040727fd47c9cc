"""Workers as jobs of Slurm."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from cluster.backends.jobs import Jobs
from cluster.options import LASTING


@dataclass(frozen=True)
class Slurm(Jobs):
    """Workers that Slurm starts as jobs; the scheduler runs here. They speak TLS.

    partition, account: of each job, such as "short", "econ". walltime may also be minutes, MM:SS or D-HH:MM:SS.
    """

    name: ClassVar[str] = "slurm"
    form: ClassVar[str] = "slurm"
    title: ClassVar[str] = "Slurm"
    kind: ClassVar[str] = "SLURMCluster"
    submits: ClassVar[str] = "sbatch"
    lists: ClassVar[tuple[str, ...]] = (
        *(
            "env",
            *(f"--unset=SQUEUE_{name}" for name in ("ACCOUNT", "LICENSES", "NAMES", "PARTITION", "QOS", "STATES")),
        ),
        *("squeue", "--all", "--noheader", "--format=%A", "--user={user}"),  # those of hidden partitions too
    )
    hushed: ClassVar[Mapping[str, str]] = {
        "SBATCH_PARTITION": "partition", "SBATCH_ACCOUNT": "account", "SBATCH_TIMELIMIT": "walltime",
        "SBATCH_MEM_PER_NODE": "memory", "SBATCH_MEM_PER_CPU": "memory", "SBATCH_MEM_PER_GPU": "memory",
        **dict.fromkeys(("SBATCH_NO_REQUEUE", "SBATCH_OUTPUT", "SBATCH_ERROR", "SBATCH_WAIT", "SBATCH_ARRAY_INX"), ""),
    }  # fmt: skip
    mark: ClassVar[str] = "#SBATCH"
    comes_back: ClassVar[tuple[str, ...]] = ("--requeue",)
    keeps_nothing: ClassVar[tuple[str, ...]] = ("--output=/dev/null",)
    times: ClassVar[tuple[re.Pattern[str], str]] = (LASTING, "a time such as 02:00:00 (Slurm's form)")

    partition: str | None = None
    account: str | None = None

    @property
    def asked(self) -> Mapping[str, Any]:
        """Where jobs run, and on how many cores."""
        return {"queue": self.partition, "account": self.account, "job_cpu": self.cores}
