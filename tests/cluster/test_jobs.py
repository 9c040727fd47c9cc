"""What batch systems are asked for: the heads of jobs, what their scripts do, when workers leave and come back."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import json
import os
import shlex
import stat
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import batch_system
import psutil
import pytest
from commands import refusal
from real_parts import ENVIRONMENT, PARTS, PATH, ROOT, Cluster, NotHere, made_batch_system, marked, wait_until
from slow_jobs import double, double_slowly

from cluster import ClusterLost, Refused, WorkerRefused, back_end, dask_cluster, dask_pool
from cluster.backends.jobs import Jobs, seconds_of
from cluster.backends.lsf import Lsf
from cluster.backends.pbs import Pbs
from cluster.backends.sge import Sge
from cluster.backends.slurm import Slurm
from cluster.dask_cluster import Certificates, starting, written

queued = pytest.importorskip("cluster.queued", reason="JOBS ARE NOT TESTED HERE: dask-jobqueue is not installed")

KINDS: dict[str, type[Jobs]] = {"slurm": Slurm, "pbs": Pbs, "sge": Sge, "lsf": Lsf}


def script_of(back: Jobs, folder: Path, certificates: Certificates | None = None) -> str:
    """What the batch system would get."""
    with starting(str(folder)):
        cluster = back.cluster(certificates or written(folder)[0])
    try:
        return str(cluster.job_script())
    finally:
        cluster.close()


def worker_of(script: str) -> str:
    (command,) = [line for line in script.splitlines() if "distributed.cli.dask_worker" in line]
    return command


def head_of(script: str, back: Jobs) -> list[str]:
    """The head without the name of the job."""
    lines = [line.removeprefix(back.mark).strip() for line in script.splitlines() if line.startswith(back.mark)]
    return [line for line in lines if line not in {"-J dask-worker", "-N dask-worker"}]


@pytest.mark.parametrize(
    ("walltime", "seconds"),
    [("90", 5400), ("90:30", 5430), ("120:30", 7230), ("02:00:00", 7200), ("100:00:00", 360000),
     ("1-00:00:00", 86400), ("2-12", 216000), ("1-01:30", 91800)],
)  # fmt: skip
def test_times_are_taken_and_read_as_slurm_reads_them(walltime: str, seconds: int) -> None:
    assert seconds_of(walltime) == seconds
    assert [fault.what for fault in Slurm(walltime=walltime).faults("here") if "walltime" in fault.what] == []


@pytest.mark.parametrize(
    ("options", "jobs"), [({}, (4, 4)), ({"least": 3}, (2, 4)), ({"least": 0}, (0, 4)), ({"least": 99}, (4, 4))]
)
def test_whole_jobs_are_asked_for_and_a_worker_has_its_share_of_the_memory(
    options: dict[str, Any], jobs: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[Any]()
    made = SimpleNamespace(adapt=lambda **given: asked.append(given), hopeless=None, close=lambda timeout: None)

    def pool(client: Any, owned: Any, pace: Any, memory: int, *rest: Any, **named: Any) -> None:
        asked.append(memory)
        owned.close()

    monkeypatch.setattr(Slurm, "cluster", lambda self, certificates: made)
    monkeypatch.setattr(dask_cluster, "client_of", lambda owned, first, *rest, **named: asked.append(first))
    monkeypatch.setattr(dask_pool, "DaskPool", pool)
    Slurm(workers=7, memory="4GB", processes=2, directory=str(tmp_path), **options).open()
    given, first, memory = asked
    assert (given["minimum_jobs"], given["maximum_jobs"]) == jobs
    assert first == 1, "a run begins with its first worker"
    assert memory == 2_000_000_000
    assert list(tmp_path.iterdir()) == [], "certificates go with their cluster"


ONE = {
    "slurm": (Slurm(partition="short", account="econ", walltime="02:00:00", memory="3GB", lines=("--nice=1",)),
              ["-p short", "-A econ", "-n 1", "--cpus-per-task=1", "--mem=3G", "-t 02:00:00", "--requeue",
               "--output=/dev/null", "--nice=1"]),
    "pbs": (Pbs(queue="short", account="econ", walltime="02:00:00", memory="3GB", lines=("-m n",)),
            ["-q short", "-A econ", "-l select=1:ncpus=1:mem=2862MB", "-l walltime=02:00:00", "-S /bin/bash", "-r y",
             "-j oe", "-o /dev/null", "-m n"]),
    "sge": (Sge(queue="short.q", project="econ", walltime="02:00:00", memory="3GB", resource_spec="h_vmem=3G",
                lines=("-m n",)),
            ["-q short.q", "-P econ", "-l h_vmem=3G", "-l h_rt=02:00:00", "-cwd", "-j y", "-S /bin/bash", "-r y",
             "-o /dev/null", "-m n"]),
    "lsf": (Lsf(queue="short", project="econ", walltime="02:00:01", memory="3GB", lines=("-N",)),
            ["-q short", '-P "econ"', "-n 1", "-M 3000000", "-W 2:01", "-r", "-o /dev/null", "-N"]),
}  # fmt: skip
MANY = {
    "slurm": (Slurm(processes=4, cores=6, memory="8GB"),
              ["-n 1", "--cpus-per-task=6", "--mem=8G", "-t 01:00:00", "--requeue"]),
    "pbs": (Pbs(processes=4, cores=6, memory="8GB"),
            ["-l select=1:ncpus=6:mem=7630MB", "-l walltime=01:00:00", "-S /bin/bash", "-r y"]),
    "sge": (Sge(processes=4, cores=6, memory="8GB", pe="smp"),
            ["-l h_rt=01:00:00", "-cwd", "-j y", "-S /bin/bash", "-r y", "-pe smp 6"]),
    "lsf": (Lsf(processes=4, cores=6, memory="8GB"),
            ["-n 6", '-R "span[hosts=1]"', "-M 8000000", "-W 1:00", "-r"]),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_the_head_of_a_job_says_what_was_asked_for(kind: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("LSF_ENVDIR", str(tmp_path))  # no lsf.conf: kilobytes
    back, head = ONE[kind]
    script = script_of(back, tmp_path)
    assert head_of(script, back) == head
    leaves = f"--lifetime {6901 if kind == 'lsf' else 6900}s --lifetime-stagger 4m"
    assert leaves in worker_of(script), "before the end of its job"


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_of_several_workers_asks_for_its_cores_and_each_worker_has_one_thread(
    kind: str, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("LSF_ENVDIR", str(tmp_path))
    given, head = MANY[kind]
    back = KINDS[kind](**{**vars(given), "log": str(tmp_path / "logs")})
    script = script_of(back, tmp_path)
    logs = [line for line in head_of(script, back) if str(tmp_path / "logs") in line]
    assert len(logs) == 2
    assert {line.split()[0] for line in logs} == {"-e", "-o"}
    assert [line for line in head_of(script, back) if line not in logs] == head
    command = worker_of(script)
    assert "--nworkers 4" in command
    assert "--nthreads 1 " in command
    assert "--memory-limit 1.86GiB" in command
    assert "/dev/null" not in script


@pytest.mark.parametrize("asked", [{"processes": 3}, {"cores": 3}])
@pytest.mark.parametrize(("kind", "three"), [
    ("slurm", "--cpus-per-task=3"),
    ("pbs", "-l select=1:ncpus=3:mem=1908MB"),
    ("sge", "-pe smp 3"),
    ("lsf", "-n 3"),
])  # fmt: skip
def test_a_job_asks_for_its_cores_and_one_that_names_none_for_one_a_worker(
    kind: str, three: str, asked: dict[str, Any], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("LSF_ENVDIR", str(tmp_path))
    back = KINDS[kind](**asked, **({"pe": "smp"} if kind == "sge" else {}))
    assert three in head_of(script_of(back, tmp_path), back)
    assert not [fault for fault in replace(back, processes=3, cores=3).faults("here") if "cores" in fault.what]


@pytest.mark.parametrize(
    ("walltime", "seconds"), [("02:00:00", 6900), ("00:20:00", 900), ("00:19:59", 899), ("00:12:00", 540), ("4", 180)]
)
def test_of_a_short_job_a_quarter_is_left_and_of_others_five_minutes(
    walltime: str, seconds: int, tmp_path: Path
) -> None:
    command = worker_of(script_of(Slurm(walltime=walltime), tmp_path)).split()
    at = command.index("--lifetime")
    assert command[at + 1] == f"{seconds}s"
    assert ("--lifetime-stagger 4m" in " ".join(command)) == (seconds > 899)


@pytest.mark.parametrize(
    ("options", "heeded"),
    [({}, {"ACCOUNT", "PARTITION"}), ({"partition": "short"}, {"ACCOUNT"}), ({"account": "econ"}, {"PARTITION"})],
)
def test_no_variable_outdoes_an_option_of_slurm_or_hides_its_jobs(
    options: dict[str, Any], heeded: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"TIMELIMIT", "MEM_PER_NODE", "MEM_PER_CPU", "NO_REQUEUE", "OUTPUT", "ERROR", "ACCOUNT", "PARTITION"}
    for name in (*(f"SBATCH_{name}" for name in asked), "SQUEUE_STATES", "SQUEUE_PARTITION", "SQUEUE_ACCOUNT"):
        monkeypatch.setenv(name, "other")
    with starting(str(tmp_path)):
        cluster = Slurm(**options).cluster(written(tmp_path)[0])
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    for name in ("sbatch", "squeue"):
        (tmp_path / name).write_text('#!/bin/sh\nenv\necho "$@"\n')
        (tmp_path / name).chmod(0o700)
    took, listed = (subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
                    for command in (shlex.split(cluster.job_cls.submit_command), cluster.lists))  # fmt: skip
    assert {line.partition("=")[0] for line in took if line.startswith("SBATCH_")} == {
        f"SBATCH_{name}" for name in heeded
    }
    assert not [line for line in listed if line.startswith("SQUEUE_")]
    assert "--all" in listed[-1], "hidden partitions too"
    assert f"--user={getpass.getuser()}" in listed[-1], "whose jobs"
    cluster.close()


@pytest.mark.parametrize(("kind", "names"), [  # a job's number comes late or not at all, or its head is not read
    ("slurm", ["SBATCH_WAIT", "SBATCH_ARRAY_INX"]), ("pbs", ["PBS_DPREFIX"]),
    ("lsf", ["BSUB_QUIET", "BSUB_CHK_RESREQ", "LSB_BJOBS_FORMAT"]),
])  # fmt: skip
def test_no_variable_changes_how_a_job_is_taken_or_listed(kind: str, names: list[str], tmp_path: Path) -> None:
    with starting(str(tmp_path)):
        cluster = KINDS[kind]().cluster(written(tmp_path)[0])
    words = {*shlex.split(cluster.job_cls.submit_command), *cluster.lists}
    assert {f"--unset={name}" for name in names} <= words
    cluster.close()


def test_why_lsf_takes_no_job_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """dask-jobqueue sends it to /dev/null."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "bsub").write_text("#!/bin/sh\necho no such queue >&2\nexit 255\n")
    (tmp_path / "bsub").chmod(0o700)
    with starting(str(tmp_path)):
        cluster = Lsf().cluster(written(tmp_path)[0])
    with pytest.raises(RuntimeError) as said:
        asyncio.run(cluster._dummy_job._submit_job(str(tmp_path / "bsub")))
    assert queued.worded(str(said.value)) == "no such queue"
    cluster.close()


@pytest.mark.parametrize(("interface", "alone"), [(None, True), ("lo", False)])
def test_workers_listen_here_alone_where_no_other_machine_can_take_part(
    interface: str | None, alone: bool, tmp_path: Path
) -> None:
    back = Slurm(host="127.0.0.1", interface=interface)
    assert ("--host 127.0.0.1" in worker_of(script_of(back, tmp_path))) is alone
    assert "--host" not in worker_of(script_of(Slurm(interface=interface), tmp_path))


def test_certificates_are_named_by_their_whole_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job begins in another folder."""
    _, folder = written(tmp_path)
    monkeypatch.chdir(folder)
    given = Certificates.given({"ca": "ca.pem", "cert": "cert.pem", "key": "key.pem"}, "tls")
    assert given is not None
    lines = [line for line in script_of(Slurm(), tmp_path, given).splitlines() if "COMM__TLS__" in line]
    assert sorted(line.partition("=")[2] for line in lines) == [
        str(folder / name) for name in ("ca.pem", "cert.pem", "key.pem")
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_script_exports_first_and_names_no_key_in_a_command(kind: str, tmp_path: Path) -> None:
    """In a folder whose name a shell would take apart."""
    shared = tmp_path / "my $folder's"
    shared.mkdir()
    certificates, folder = written(shared)
    script = script_of(KINDS[kind](before=("module load python",), python="/opt/my python", scratch="/a b/$JOB"),
                       tmp_path, certificates)  # fmt: skip
    command = worker_of(script)
    assert command.startswith("'/opt/my python' -m")
    assert script.index("module load python") < script.index("cluster.scratch"), "which needs Python"
    for module in ("cluster.steady_tls", "cluster.orphans"):
        assert f"--preload {module} --preload-nanny {module}" in command
    assert "tls" not in command.replace("steady_tls", "").replace("tls://", "")
    assert (folder / "key.pem").read_text() not in script
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    shown = script.replace(command, 'env; echo "PANELPROOF_SCRATCH=$PANELPROOF_SCRATCH"')
    shown = shown.replace("module load python", "env | grep -c OPENBLAS_NUM_THREADS=1")
    shown = shown.replace("'/opt/my python' -m cluster.scratch", "printf '%s|'")
    ran = subprocess.run(["bash"], input=shown, text=True, check=True, stdout=-1, env={"PATH": os.environ["PATH"]})
    assert ran.stdout.startswith("1\n"), "what is exported comes before the user's own commands"
    said = dict(line.partition("=")[::2] for line in ran.stdout.splitlines())
    assert said["DASK_DISTRIBUTED__COMM__TLS__WORKER__KEY"] == str(folder / "key.pem")
    assert said["DASK_DISTRIBUTED__COMM__TLS__WORKER__CERT"] == str(folder / "cert.pem")
    assert said["DASK_DISTRIBUTED__COMM__TLS__CA_FILE"] == str(folder / "ca.pem")
    assert said["DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION"] == "True"
    owner, place, _ = said["PANELPROOF_SCRATCH"].split("|")
    assert owner.isdigit()
    assert place == "/a b/$JOB", "the node replaces variables, no shell does"


@pytest.mark.parametrize("scratch", [None, "$HERE/below it"])
def test_the_worker_of_a_job_has_a_scratch_folder_of_its_own(tmp_path: Path, scratch: str | None) -> None:
    """The job is run as a batch system runs it, with a worker that says where it would work."""
    shown, tmp = tmp_path / "shown", tmp_path / "tmp"
    tmp.mkdir(mode=0o1777)
    (tmp / "below it").mkdir()
    below = tmp / "below it" if scratch else tmp
    script = script_of(Slurm(host="127.0.0.1", python=sys.executable, scratch=scratch), tmp_path)
    command = worker_of(script)
    assert '--local-directory "$PANELPROOF_SCRATCH"' in command
    job = tmp_path / "job.sh"
    job.write_text(script.replace(command, f'echo $$ > {shown}; stat --format "%a %u %n" "$PANELPROOF_SCRATCH" >> '
                                           f'{shown}; cat "$PANELPROOF_SCRATCH/owner.json" >> {shown}'))  # fmt: skip
    environment = os.environ | {"TMPDIR": str(tmp), "PYTHONPATH": str(ROOT), "HERE": str(tmp)}
    subprocess.run(["bash", str(job)], env=environment, check=True, cwd=tmp_path, timeout=60)
    process, found, record = shown.read_text().splitlines()
    mode, owner, place = found.split(maxsplit=2)
    assert (mode, owner) == ("700", str(os.geteuid()))
    assert Path(place).parent == below
    assert f'"pid": {process},' in record, "it belongs to the job, not to the program that made it"
    assert [path for path in below.iterdir() if path.name != "below it"] == [], "it goes with the job"
    below.chmod(0o777)  # where another user could rename it
    shown.unlink()
    ran = subprocess.run(["bash", str(job)], env=environment | {"HOME": str(tmp)}, capture_output=True, text=True,
                         cwd=tmp_path, timeout=60)  # fmt: skip
    assert ran.returncode == 2
    assert "no safe place for a scratch folder" in ran.stderr
    assert not shown.exists(), "no worker starts"
    if scratch:
        del environment["HERE"]
        ran = subprocess.run(["bash", str(job)], env=environment, capture_output=True, text=True, timeout=60)
        assert ran.returncode == 2
        (line,) = ran.stderr.strip().splitlines()
        assert "'$HERE/below it' is no path on this node; the option scratch names another" in line
        assert not shown.exists()


@pytest.fixture
def submitting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has the commands of all batch systems."""
    for name in ("sbatch", "qsub", "bsub"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.usefixtures("submitting")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("options", "what", "allowed"), [
    ({"walltime": "2 hours"}, "walltime = '2 hours'", "02:00:00"),
    ({"walltime": "00:00:00"}, "walltime = '00:00:00'", "a second or more"),
    ({"memory": "4"}, "memory = '4'", "a size such as 4GB"),
    ({"memory": 4}, "memory = 4", "a text in quotes"),
    ({"memory": "4MB"}, "memory = '4MB' for 1 of processes", "100MB or more"),
    ({"memory": "200MB", "processes": 4, "pe": "smp"}, "memory = '200MB' for 4 of processes", "100MB or more"),
    ({"processes": 0}, "processes = 0", "1 or more"),
    ({"cores": 0}, "cores = 0", "1 or more"),
    ({"processes": 4, "cores": 2, "pe": "smp"}, "cores = 2 for processes = 4", "as many cores as processes"),
    ({"workers": 0}, "workers = 0", "1 or more"),
    ({"workers": "-1"}, "workers = -1", "1 or more"),
    ({"least": -1}, "least = -1", "0 or more"),
    ({"wait": "soon"}, "wait = 'soon'", "a number"),
    ({"wait": True}, "wait = True", "a number"),
    ({"wait": float("inf")}, "wait = inf", "1 or more"),
    ({"wait": "nan"}, "wait = nan", "1 or more"),
    ({"lines": ["#SBATCH --nice"]}, "'#SBATCH --nice' for the head of a job", "what stands after"),
    ({"lines": ["  #SBATCH --nice"]}, "'  #SBATCH --nice' for the head of a job", "what stands after"),
    ({"lines": ["--nice\nrm -rf x"]}, "for the head of a job", "one line each"),
    ({"interface": "ib0; reboot"}, "interface = 'ib0; reboot'", "without spaces"),
    ({"log": "my logs"}, "log = 'my logs'", "without spaces"),
    ({"host": "$(reboot)"}, "host = '$(reboot)'", "without spaces"),
    ({"proceses": 2}, "unknown option 'proceses'", "processes"),
])  # fmt: skip
def test_a_careless_option_is_one_clear_line(kind: str, options: dict[str, Any], what: str, allowed: str) -> None:
    given = {name: value for name, value in options.items() if name != "pe" or kind == "sge"}
    with pytest.raises(Refused) as refused:
        back_end(kind, given)
    (fault,) = refused.value.faults
    assert what in fault.what
    assert allowed in fault.allowed
    assert fault.remedy


@pytest.mark.usefixtures("submitting")
@pytest.mark.parametrize(("kind", "options", "what"), [
    ("pbs", {"walltime": "90"}, "walltime = '90'"),  # seconds to PBS, minutes to Slurm
    ("pbs", {"walltime": "00:75:00"}, "walltime = '00:75:00'"),
    ("lsf", {"walltime": "02:00"}, "walltime = '02:00'"),  # hours to LSF, minutes to Slurm
    ("sge", {"processes": 2}, "2 cores without a parallel environment"),
    ("slurm", {"queue": "short"}, "unknown option 'queue'"),
    ("pbs", {"queue": "short\nreboot"}, "queue = 'short\\nreboot'"),
    ("pbs", {"resource_spec": "nodes=1\nreboot"}, "'nodes=1\\nreboot' for the head of a job"),
    ("lsf", {"project": 'a"b'}, "project = 'a\"b'"),
])  # fmt: skip
def test_what_means_another_thing_elsewhere_is_refused(kind: str, options: dict[str, Any], what: str) -> None:
    with pytest.raises(Refused) as refused:
        back_end(kind, options)
    (fault,) = refused.value.faults
    assert fault.what == what


@pytest.mark.parametrize(("kind", "command"), [("slurm", "sbatch"), ("pbs", "qsub"), ("sge", "qsub"), ("lsf", "bsub")])
def test_without_its_command_a_batch_system_is_one_line(
    kind: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    line = refusal("cluster", "check", kind)
    assert f"there is no command {command} on this machine" in line
    assert "run this on a login node" in line


@contextlib.contextmanager
def batch(kind: str, folder: Path, **options: Any) -> Iterator[tuple[Cluster, Jobs]]:
    """A made batch system, and a back end on it; its nodes keep temporary files in tmp."""
    tmp = folder / "tmp"
    tmp.mkdir()
    with made_batch_system(folder, kind) as cluster:
        before = [f"export PYTHONPATH={PATH} TMPDIR={tmp}"]
        back = back_end(kind, {**cluster.options, "scratch": str(tmp), **options, "before": before})
        assert isinstance(back, Jobs)
        yield cluster, back


def members(folder: Path) -> list[psutil.Process]:
    """Keepers, nannies and workers of a made batch system."""
    return marked("TMPDIR", f"{folder}/tmp")


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs are looked at twice a second."""
    monkeypatch.setattr(queued, "LOOK_SECONDS", 0.5)


@pytest.mark.long
def test_workers_of_a_made_batch_system_join_work_and_leave_nothing(tmp_path: Path) -> None:
    """Two workers in one job, over TLS, on the loopback address, in a folder of ours, with a kept log."""
    asked: dict[str, Any] = {"processes": 2, "log": str(tmp_path / "logs")}
    with batch("lsf", tmp_path, **asked) as (_, back):
        with contextlib.closing(back.open()) as pool:
            pool.client.wait_for_workers(2, timeout=60)
            assert sorted(outcome.result for outcome in pool.run(double, range(4))) == [0, 2, 4, 6]
            assert len(batch_system.numbers(tmp_path)) == 1, "both are in one job"
            (made,) = (tmp_path / "tmp").glob("panelproof-*")
            assert stat.S_IMODE(made.stat().st_mode) == 0o700
            found = pool.client.run(lambda dask_worker: (dask_worker.local_directory, dask_worker.state.nthreads))
            for address, (place, threads) in found.items():
                assert threads == 1
                assert address.startswith("tls://127.0.0.1:")
                assert Path(place).is_relative_to(made)
            inside = [process for process in members(tmp_path) if "dask_worker" in " ".join(process.cmdline())
                      or "spawn_main" in " ".join(process.cmdline())]  # fmt: skip
            assert len(inside) >= 3, "a nanny and its two workers"
            ports = [item.laddr.ip for process in inside for item in process.net_connections("tcp")
                     if item.status == psutil.CONN_LISTEN]  # fmt: skip
            assert set(ports) == {"127.0.0.1"}
            assert not [process for process in inside if "key.pem" in " ".join(process.cmdline())]
        wait_until(lambda: not batch_system.numbers(tmp_path), 20, "the end of the job")
        wait_until(lambda: not members(tmp_path), 20, "the end of all members")
        assert not list(tmp_path.glob(".panelproof-*")), "certificates go with the cluster"
        logs = list((tmp_path / "logs").iterdir())
        assert logs
        assert "Registered to" in "".join(log.read_text() for log in logs)


@pytest.mark.long
@pytest.mark.usefixtures("soon")
def test_a_preempted_job_waits_for_its_turn_and_its_worker_joins_again(tmp_path: Path) -> None:
    """Longer than the 15 s after which Dask would cancel it."""
    with batch("pbs", tmp_path, workers=1) as (_, back):
        (tmp_path / "waits").write_text("18")
        with contextlib.closing(back.open()) as pool:
            outcomes = pool.run(double_slowly, range(60))
            results = [next(outcomes).result]
            (number,) = batch_system.numbers(tmp_path)
            batch_system.run_again(tmp_path, number)
            results += [outcome.result for outcome in outcomes]
            assert sorted(results) == [2 * job for job in range(60)]
            assert batch_system.numbers(tmp_path) == [number], "the same job, and no other"
            assert (tmp_path / f"{number}.starts").read_text() == "xx"
            assert not (tmp_path / f"{number}.deleted").exists()


CLIENT = """
import json, sys
from cluster import back_end
back_end(sys.argv[1], json.loads(sys.argv[2])).open().client.wait_for_workers(2, timeout=60)
print("up", flush=True)
input()
"""


@pytest.mark.long
def test_a_killed_client_leaves_no_job_and_the_next_start_no_certificate(tmp_path: Path) -> None:
    with batch("pbs", tmp_path, processes=2) as (_, back):
        options = json.dumps({name: value for name, value in vars(back).items() if value is not None})
        process = subprocess.Popen([sys.executable, "-c", CLIENT, "pbs", options], env=ENVIRONMENT, stdin=-1, stdout=-1)
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        (kept,) = tmp_path.glob(".panelproof-*")
        assert len(batch_system.numbers(tmp_path)) == 1
        process.kill()
        process.communicate()
        wait_until(lambda: not batch_system.numbers(tmp_path), 30, "the end of the job")
        wait_until(lambda: not members(tmp_path), 5, "the end of all members")
        assert not list((tmp_path / "tmp").glob("panelproof-*")), "the job removes its scratch folder"
        assert kept.exists(), "nobody was there to remove it"
        _, folder = written(tmp_path)
        assert list(tmp_path.glob(".panelproof-*")) == [folder]


@pytest.mark.long
@pytest.mark.usefixtures("soon")
def test_a_job_of_two_workers_that_ends_is_asked_for_again(tmp_path: Path) -> None:
    with batch("sge", tmp_path, processes=2, pe="smp") as (_, back), contextlib.closing(back.open()) as pool:
        (number,) = batch_system.numbers(tmp_path)
        batch_system.delete(tmp_path, number)
        assert sorted(outcome.result for outcome in pool.run(double, range(3))) == [0, 2, 4]
        assert batch_system.numbers(tmp_path) == [number + 1]


@pytest.mark.long
@pytest.mark.parametrize(
    ("why", "words"),
    [("ends", "Grid Engine: its jobs end before a worker is there; the output of its jobs is in {}/logs"),
     ("refuses", "Grid Engine: it took no job: Unable to run job: no such queue.; the output of its jobs is in")],
)  # fmt: skip
def test_no_worker_is_waited_for_that_cannot_come(
    why: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    make = Jobs.cluster
    monkeypatch.setattr(Jobs, "cluster", lambda *given: made.append(make(*given)) or made[-1])
    monkeypatch.setattr(queued, "LOOK_SECONDS", 0.3)
    with batch("sge", tmp_path, log=str(tmp_path / "logs"), python=sys.executable if why == "refuses" else "/bin/false",
               wait=50.0) as (_, back):  # fmt: skip
        if why == "refuses":
            (tmp_path / "refuses").write_text("Unable to run job: no such queue.\n")
        begin = time.monotonic()
        with pytest.raises(ClusterLost, match=words.format(tmp_path)):
            back.open()
        assert time.monotonic() - begin < 45
        assert [str(cluster.status) for cluster in made] == ["Status.closed"]
        assert not list(tmp_path.glob(".panelproof-*"))


@pytest.mark.long
@pytest.mark.usefixtures("soon")
def test_the_kept_output_is_named_when_workers_are_gone_or_refused(tmp_path: Path) -> None:
    assert Slurm().kept == "the option log names a folder in which the output of jobs is kept"
    asked: dict[str, Any] = {"log": str(tmp_path / "logs"), "workers": 1, "wait": 70.0}
    with batch("lsf", tmp_path, **asked) as (_, back), contextlib.closing(back.open()) as pool:
        assert pool.absence == 70.0, "as long as for the first worker"
        pool.absence = 2.0
        outcomes = pool.run(double_slowly, range(1000))
        assert next(outcomes).result is not None
        (tmp_path / "refuses").write_text("no more jobs\n")
        batch_system.delete(tmp_path, batch_system.numbers(tmp_path)[0])
        with pytest.raises(ClusterLost, match=f"no workers at .*; the output of its jobs is in {tmp_path}/logs$"):
            list(outcomes)
        (tmp_path / "refuses").unlink()
        pool.client.wait_for_workers(1, timeout=60)
        with pytest.raises(WorkerRefused, match=f"it is odd; the output of its jobs is in {tmp_path}/logs$"):
            pool.refuse(next(iter(pool.client.scheduler_info()["workers"])), "it is odd")


def looked(listed: list[str | None], workers: list[list[str]], *, processes: int = 1) -> tuple[Any, list[str]]:
    """A cluster of one job, number 7, after looks at which it was listed so and had these workers; jobs asked for."""
    closed: list[str] = []
    answers = iter(listed)

    class Job:
        job_id = "7"

        async def close(self) -> None:
            closed.append(self.job_id)

        @classmethod
        async def _call(cls, command: list[str]) -> str:
            said = next(answers)
            if said is None:
                raise RuntimeError("stderr:\nthe batch system does not answer\n")
            return said

    cluster: Any = queued.Queued.__new__(queued.Queued)
    cluster.workers, cluster.job_cls, cluster.lists = {"w": Job()}, Job, ("list",)
    cluster.ended, cluster.missed, cluster.refusal = Counter(), Counter(), ""

    async def looks() -> None:
        for names in workers:
            cluster.scheduler_info = {"workers": {name: {"name": name} for name in names}}
            await cluster.look()

    asyncio.run(looks())
    return cluster, closed


@pytest.mark.parametrize(("listed", "workers", "given_up"), [
    (["7\n"] * 5, [[]] * 5, False),  # it waits
    (["17\n77\n"] * 2, [[]] * 2, True),  # others of the same digits
    ([""], [[]], False),  # a list may lag
    (["", "7.head\n", ""], [[]] * 3, False),
    ([None] * 5, [[]] * 5, False),  # the batch system is silent
    (["job-ID prior\n------\n 7 0.5 x\n"] * 3, [[]] * 3, False),
    ([""] * 3, [["w"]] * 3, False),
    ([""] * 3, [["w-1"]] * 3, False),  # one of several workers is there
    (["", ""], [["w1-0"], ["w1-0"]], True),  # of another job
])  # fmt: skip
def test_a_job_is_given_up_when_its_batch_system_no_longer_lists_it(
    listed: list[str | None], workers: list[list[str]], given_up: bool
) -> None:
    cluster, closed = looked(listed, workers)
    assert (closed == ["7"]) == given_up
    assert bool(cluster.workers) != given_up


def test_jobs_that_end_without_a_worker_are_asked_for_less_and_less_often() -> None:
    cluster, _ = looked(["", ""], [[]] * 2)
    assert (cluster.ended["w"], cluster.hopeless()) == (1, "")
    job = SimpleNamespace(job_id=None)  # it could not even be submitted
    job.close = lambda: asyncio.sleep(0)
    needed = []
    cluster._known = lambda: asyncio.sleep(0, result=set())
    for _ in range(8):
        cluster.workers = {"w": job}
        for count in range(1, 1000):
            asyncio.run(queued.Queued.look(cluster))
            if not cluster.workers:
                needed.append(count)
                break
    assert needed == [4, 8, 16, 32, 64, 64, 64, 64]
    cluster.workers = {"w": job}
    assert cluster.hopeless() == "its jobs end before a worker is there"
    cluster.scheduler_info = {"workers": {"w": {"name": "w"}}}
    asyncio.run(queued.Queued.look(cluster))
    assert cluster.hopeless() == "", "a worker is there"


def test_a_job_over_a_limit_does_not_end_the_wait_for_those_that_were_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, _ = looked([], [])
    cluster.ended["w"] = 9  # of two jobs one alone ends at once
    cluster.refusal = "sbatch: error: QOSMaxSubmitJobPerUserLimit"
    cluster.workers["another"] = SimpleNamespace(job_id=None)
    assert cluster.hopeless() == ""
    job = cluster.workers.pop("w")
    assert cluster.hopeless() == "it took no job: sbatch: error: QOSMaxSubmitJobPerUserLimit"
    taken = queued.JobQueueCluster._correct_state_internal
    monkeypatch.setattr(queued.JobQueueCluster, taken.__name__, lambda self: asyncio.sleep(0))
    asyncio.run(cluster._correct_state_internal())
    assert cluster.hopeless() == "", "it takes jobs again"
    assert queued.worded("sbatch exited with 1\nstderr:\n \n") == "sbatch exited with 1 stderr:"
    cluster.workers, cluster.missed["w"], cluster.scheduler_info = {"w": job}, 99, {"workers": {}}
    cluster._known = lambda: asyncio.sleep(0, result=cluster.workers.clear() or set())
    asyncio.run(cluster.look())  # which another has given up meanwhile


@pytest.mark.server
def test_a_job_of_slurm_that_is_requeued_comes_back_with_its_worker(tmp_path: Path) -> None:
    """On real Slurm that requeues no job by itself."""
    try:
        with (
            PARTS["slurm"](tmp_path) as cluster,
            contextlib.closing(back_end("slurm", {**cluster.options, "workers": 1}).open()) as pool,
        ):
            listing = ["squeue", "--noheader", "--format=%A"]
            (number,) = subprocess.run(listing, capture_output=True, text=True, check=True).stdout.split()
            outcomes = pool.run(double_slowly, range(20))
            results = [next(outcomes).result]
            subprocess.run(["scontrol", "requeue", number], check=True)
            results += [outcome.result for outcome in outcomes]
            assert sorted(results) == [2 * job for job in range(20)]
            assert subprocess.run(listing, capture_output=True, text=True, check=True).stdout.split() == [number]
    except NotHere as reason:
        pytest.skip(f"SLURM IS NOT TESTED HERE: {reason}")
