"""Real parts of clusters on this machine: Dask from its command line, TLS, Slurm on one node, sshd on loopback."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import batch_system
import psutil

SUPPORT = Path(__file__).resolve().parent
ROOT = SUPPORT.parent.parent
PATH = os.pathsep.join([str(ROOT), str(SUPPORT), *filter(None, [os.environ.get("PYTHONPATH")])])
ENVIRONMENT = {**os.environ, "PYTHONPATH": PATH, "OPENBLAS_NUM_THREADS": "1"}


class NotHere(Exception):
    """This machine cannot offer a part; the text says why."""


@dataclass
class Cluster:
    """How to reach what was started: the text of --cluster, its options, and its processes by name."""

    where: str
    options: dict[str, Any] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)


def wait_until(condition: Any, seconds: float, what: str) -> None:
    """Poll until it holds; AssertionError with what was waited for."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds:.0f} s"
        time.sleep(0.05)


def marked(variable: str, value: str) -> list[psutil.Process]:
    """The running processes in whose environment a variable has this value."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(variable) == value and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def free_port() -> int:
    """A port of the loopback address that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ended(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to end, then make it."""
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def needs(*programs: str) -> None:
    """Raise NotHere when a program is missing."""
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        raise NotHere(f"not installed: {', '.join(missing)}")


def start(folder: Path, *command: str, **environment: str) -> subprocess.Popen[bytes]:
    """A program in a folder, its output in a file there."""
    with (folder / "output.txt").open("ab") as output:
        return subprocess.Popen(command, cwd=folder, env=ENVIRONMENT | environment, stdout=output, stderr=output)


def certificates(folder: Path) -> dict[str, str]:
    """Certificates of an authority of their own: files ca, cert and key."""
    from distributed import Security

    made, folder = Security.temporary(), folder / "tls"
    folder.mkdir(mode=0o700)
    texts = {"ca": made.tls_ca_file, "cert": made.tls_client_cert, "key": made.tls_client_key}
    for name, text in texts.items():
        (folder / f"{name}.pem").write_text(text)
    return {name: str(folder / f"{name}.pem") for name in texts}


@contextmanager
def by_command_line(folder: Path, *, workers: int = 2, tls: bool = False, path: str = PATH, nanny: bool = True,
                    **settings: str) -> Iterator[Cluster]:  # fmt: skip
    """A scheduler and workers started by `dask scheduler` and `dask worker`; `path`: where workers look for modules.

    settings: further variables of their environment.
    """
    files, options = [], {}
    if tls:
        options["tls"] = certificates(folder)
        files = [word for part, name in (("ca-file", "ca"), ("cert", "cert"), ("key", "key"))
                 for word in (f"--tls-{part}", options["tls"][name])]  # fmt: skip
        files += ["--preload", "cluster.steady_tls"]
    protocol, file = "tls" if tls else "tcp", folder / "scheduler.json"
    here = ("--host", "127.0.0.1", "--no-dashboard", "--protocol", protocol, *files)
    dask = (sys.executable, "-m", "dask")
    scheduler = (*dask, "scheduler", *here, "--port", "0", "--scheduler-file", str(file))
    processes = {"scheduler": start(folder, *scheduler, DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0", **settings)}
    try:
        wait_until(lambda: file.exists() and file.read_text(), 60, "the start of a scheduler")
        address = json.loads(file.read_text())["address"]
        kind: tuple[str, ...] = ("--nthreads", "1", "--nanny" if nanny else "--no-nanny")
        if tls and nanny:
            kind += ("--preload-nanny", "cluster.steady_tls")
        for number in range(workers):
            own = {"PYTHONPATH": path, **settings}
            processes[f"worker {number}"] = start(folder, *dask, "worker", address, *kind, *here, **own)
        yield Cluster(address, options, processes)
    finally:
        for process in reversed(processes.values()):
            ended(process)


@contextmanager
def slurm(folder: Path) -> Iterator[Cluster]:
    """Slurm on one node: munged, slurmctld and slurmd with private keys, sockets, ports and folders."""
    needs("munged", "slurmctld", "slurmd", "sbatch", "sinfo")
    if os.geteuid() != 0:
        raise NotHere("slurmd runs jobs only when root starts it")
    host, key = socket.gethostname().partition(".")[0], folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    folder.chmod(0o755)
    munge = start(folder, "munged", "--foreground", "--force", "--key-file", str(key),
                  *(f"--{name}={folder}/munge.{name.partition('-')[0]}"
                    for name in ("socket", "pid-file", "log-file", "seed-file")))  # fmt: skip
    lines = [
        "ClusterName=made", f"SlurmctldHost={host}(127.0.0.1)", "AuthType=auth/munge",
        f"AuthInfo=socket={folder}/munge.socket,cred_expire=5", "JobRequeue=0",
        "CredType=cred/munge", "ProctrackType=proctrack/linuxproc",
        "TaskPlugin=task/none", "SelectType=select/cons_tres", "SelectTypeParameters=CR_CPU", "SlurmUser=root",
        "SlurmdUser=root", f"StateSaveLocation={folder}/state", f"SlurmdSpoolDir={folder}/spool",
        f"SlurmctldPort={free_port()}", f"SlurmdPort={free_port()}", f"SlurmctldPidFile={folder}/slurmctld.pid",
        f"SlurmdPidFile={folder}/slurmd.pid", f"SlurmctldLogFile={folder}/slurmctld.log",
        f"SlurmdLogFile={folder}/slurmd.log", "SchedulerParameters=sched_interval=1,batch_sched_delay=0",
        "ReturnToService=2", "KillWait=5", "MailProg=/bin/true", "SlurmdParameters=config_overrides",
        f"NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=4000 State=UNKNOWN",
        "PartitionName=short Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:4",
    ]  # fmt: skip
    conf = folder / "slurm.conf"
    conf.write_text("\n".join(lines) + "\n")
    for name in ("state", "spool"):
        (folder / name).mkdir()
    processes = {"munged": munge}
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = ENVIRONMENT["SLURM_CONF"] = str(conf)
    try:
        wait_until((folder / "munge.socket").exists, 20, "the start of munged")
        processes["slurmctld"] = start(folder, "slurmctld", "-D")
        processes["slurmd"] = start(folder, "slurmd", "-D")
        wait_until(lambda: "idle" in _said("sinfo", "--noheader", "--format=%T"), 30, "an idle node of Slurm")
        options = {"partition": "short", "host": "127.0.0.1", "directory": str(folder), "memory": "1GB", "wait": 60.0,
                   "before": [f"export PYTHONPATH={PATH}"]}  # fmt: skip
        yield Cluster("slurm", options, processes)
    finally:
        with contextlib.suppress(subprocess.SubprocessError):
            _said("scancel", "--user", getpass.getuser())
        for process in reversed(processes.values()):
            ended(process)
        del os.environ["SLURM_CONF"], ENVIRONMENT["SLURM_CONF"]
        if before is not None:
            os.environ["SLURM_CONF"] = before


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=20, env=ENVIRONMENT).stdout


@contextmanager
def sshd(folder: Path) -> Iterator[Cluster]:
    """An SSH server on the loopback address with keys of its own: sshd, and where there is none one in Python."""
    server = shutil.which("sshd") or shutil.which("/usr/sbin/sshd")
    needs("ssh-keygen")
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    port = free_port()
    (folder / "sshd_config").write_text("\n".join([
        f"Port {port}", "ListenAddress 127.0.0.1", f"HostKey {folder}/host", f"AuthorizedKeysFile {folder}/user.pub",
        "UsePAM no", "StrictModes no", f"PidFile {folder}/sshd.pid", "PasswordAuthentication no",
        "Subsystem sftp internal-sftp", "MaxStartups 50",
    ]) + "\n")  # fmt: skip
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    in_python = (sys.executable, str(SUPPORT / "ssh_server.py"), str(folder), str(port))
    process = start(folder, *((server, "-D", "-e", "-f", str(folder / "sshd_config")) if server else in_python))
    try:
        wait_until(lambda: _listens(port), 20, "the start of sshd")
        options = {"hosts": ("127.0.0.1",), "workers": 2, "port": port, "user": getpass.getuser(),
                   "key": str(folder / "user"), "known_hosts": str(folder / "known_hosts"),
                   "python": f"env PYTHONPATH={PATH} {sys.executable}"}  # fmt: skip
        yield Cluster("ssh", {**options, "hosts": list(options["hosts"])}, {"sshd": process})
    finally:
        ended(process)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def made_batch_system(folder: Path, kind: str) -> Iterator[Cluster]:
    """A batch system of our own that runs jobs on this machine: PBS, Grid Engine and LSF cannot be had here."""
    needs("bash")
    before = os.environ["PATH"]
    os.environ["PATH"] = ENVIRONMENT["PATH"] = f"{batch_system.install(folder, kind)}{os.pathsep}{before}"
    try:
        options = {"host": "127.0.0.1", "directory": str(folder), "memory": "1GB", "wait": 60.0,
                   "before": [f"export PYTHONPATH={PATH}"]}  # fmt: skip
        yield Cluster(kind, options)
    finally:
        batch_system.stop(folder)
        os.environ["PATH"] = ENVIRONMENT["PATH"] = before


@contextmanager
def nothing(where: str, **options: Any) -> Iterator[Cluster]:
    """A back end that needs no part of its own."""
    yield Cluster(where, options)


PARTS: dict[str, Any] = {  # by back end: what must run before it can be opened
    "serial": lambda _: nothing("serial"),
    "local": lambda _: nothing("local", workers=2),
    "tcp": lambda folder: by_command_line(folder, workers=1),
    "tls": lambda folder: by_command_line(folder, workers=1, tls=True),
    "slurm": slurm,
    "pbs": lambda folder: made_batch_system(folder, "pbs"),
    "sge": lambda folder: made_batch_system(folder, "sge"),
    "lsf": lambda folder: made_batch_system(folder, "lsf"),
    "ssh": sshd,
}
