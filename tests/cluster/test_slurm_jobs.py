"""What Slurm is asked for: the head of a job, and when its worker leaves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from real_parts import ROOT

from cluster.backends.slurm import Slurm, seconds_of
from cluster.certificates import written
from cluster.dask_cluster import starting

pytest.importorskip("dask_jobqueue", reason="JOBS OF SLURM ARE NOT TESTED HERE: dask-jobqueue is not installed")


@pytest.mark.parametrize(
    ("walltime", "seconds"),
    [("90", 5400), ("90:30", 5430), ("02:00:00", 7200), ("1-00:00:00", 86400), ("2-12", 216000), ("1-01:30", 91800)],
)
def test_times_are_read_as_slurm_reads_them(walltime: str, seconds: int) -> None:
    assert seconds_of(walltime) == seconds


@pytest.mark.parametrize(
    ("walltime", "leaves"),
    [("02:00:00", "--lifetime 6900s --lifetime-stagger 4m"), ("00:12:00", "--lifetime 540s"), ("4", "--lifetime 180s")],
)
def test_a_job_asks_for_what_is_said_and_its_worker_leaves_before_its_end(
    walltime: str, leaves: str, tmp_path: Path
) -> None:
    certificates, folder = written(tmp_path)
    back = Slurm(walltime=walltime, partition="short", account="econ", memory="3GB", host="127.0.0.1",
                 lines=("--constraint=haswell",), before=("module load python",), python="/opt/my python")  # fmt: skip
    with starting(str(tmp_path)):
        cluster = back.cluster(certificates)
    try:
        script = cluster.job_script()
    finally:
        cluster.close()
    head = [line.removeprefix("#SBATCH ") for line in script.splitlines() if line.startswith("#SBATCH")]
    assert {"-p short", "-A econ", f"-t {walltime}", "--constraint=haswell", "--output=/dev/null"} <= set(head)
    (command,) = [line for line in script.splitlines() if "distributed.cli.dask_worker" in line]
    assert command.startswith("'/opt/my python' -m")
    assert leaves in command
    for module in ("cluster.steady_tls", "cluster.orphans"):
        assert f"--preload {module} --preload-nanny {module}" in command
    assert "module load python" in script[: script.index(command)]
    assert "export OPENBLAS_NUM_THREADS=1" in script
    assert f"{folder}/key.pem" in command
    assert (folder / "key.pem").read_text() not in script
    assert folder.stat().st_mode & 0o077 == 0


def test_the_worker_of_a_job_has_a_scratch_folder_of_its_own(tmp_path: Path) -> None:
    """The job is run as Slurm runs it, with a worker that says where it would work: in a folder that goes with it."""
    certificates, _ = written(tmp_path)
    shown, tmp = tmp_path / "shown", tmp_path / "tmp"
    tmp.mkdir(mode=0o1777)
    back = Slurm(host="127.0.0.1", python=sys.executable)
    with starting(str(tmp_path)):
        cluster = back.cluster(certificates)
    try:
        script = cluster.job_script()
    finally:
        cluster.close()
    (command,) = [line for line in script.splitlines() if "distributed.cli.dask_worker" in line]
    assert '--local-directory "$PANELPROOF_SCRATCH"' in command
    job = tmp_path / "job.sh"
    job.write_text(script.replace(command, f'stat --format "%a %u %n" "$PANELPROOF_SCRATCH" > {shown}'))
    environment = os.environ | {"TMPDIR": str(tmp), "PYTHONPATH": str(ROOT)}
    subprocess.run(["bash", str(job)], env=environment, check=True, cwd=tmp_path, timeout=60)
    mode, owner, place = shown.read_text().split()
    assert (mode, owner) == ("700", str(os.geteuid()))
    assert Path(place).parent == tmp
    assert list(tmp.iterdir()) == [], "it goes with the job"
    tmp.chmod(0o777)  # where another user could rename it
    shown.unlink()
    ran = subprocess.run(["bash", str(job)], env=environment | {"HOME": str(tmp)}, capture_output=True, text=True,
                         cwd=tmp_path, timeout=60)  # fmt: skip
    assert ran.returncode == 2
    assert "no safe place for a scratch folder" in ran.stderr
    assert not shown.exists(), "no worker starts"
