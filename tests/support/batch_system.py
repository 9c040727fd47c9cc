"""A made batch system on this machine: PBS, Grid Engine and LSF as far as dask-jobqueue and panelproof use them.

Their commands are links to this file, named as they are. Jobs run at once, each by a keeper of its own, in a session,
a folder and an environment of their own. A folder holds for each job N: N.sh, N.pid of its keeper, N.ended afterwards.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = {"pbs": ("qsub", "qdel", "qselect"), "sge": ("qsub", "qdel", "qstat"), "lsf": ("bsub", "bkill", "bjobs")}
SAYS = {"pbs": "{}.head", "sge": 'Your job {} ("dask-worker") has been submitted',
        "lsf": "Job <{}> is submitted to default queue <short>."}  # fmt: skip
MARKS = {"pbs": "#PBS ", "sge": "#$ ", "lsf": "#BSUB "}
WAITS = 1.0  # seconds until a job that runs again does so, unless a file "waits" says more


def install(folder: Path, kind: str) -> Path:
    """Make the commands of a batch system; the folder to put first on the path."""
    commands = folder / "bin"
    commands.mkdir()
    for name in COMMANDS[kind]:
        command = commands / name
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" "{folder}" {kind} {name} "$@"\n')
        command.chmod(0o755)
    return commands


def numbers(folder: Path) -> list[int]:
    """Jobs that have not ended."""
    found = sorted(int(path.stem) for path in folder.glob("*.sh"))
    return [number for number in found if not (folder / f"{number}.ended").exists()]


def run_again(folder: Path, number: int) -> None:
    """Preempt a job: it is killed and, if its head allows that, runs again after a while."""
    (folder / f"{number}.again").touch()
    _signal(folder, number, signal.SIGKILL)


def stop(folder: Path) -> None:
    """End all jobs and their keepers."""
    for number in numbers(folder):
        (folder / f"{number}.again").unlink(missing_ok=True)
        _signal(folder, number, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while numbers(folder) and time.monotonic() < deadline:
        time.sleep(0.05)


def _signal(folder: Path, number: int, which: int) -> None:
    try:
        os.killpg(int((folder / f"{number}.job").read_text()), which)
    except (OSError, ValueError):
        return


def _directives(script: str, kind: str) -> list[str]:
    mark = MARKS[kind]
    return [line.removeprefix(mark).strip() for line in script.splitlines() if line.startswith(mark)]


def submit(folder: Path, kind: str, script: str) -> int:
    if (folder / "refuses").exists():
        print((folder / "refuses").read_text(), file=sys.stderr)
        return 1
    number = 1 + max((int(path.stem) for path in folder.glob("*.sh")), default=100)
    (folder / f"{number}.sh").write_text(script)
    subprocess.Popen([sys.executable, __file__, str(folder), kind, "keep", str(number)], start_new_session=True,
                     stdin=-3, stdout=-3, stderr=-3)  # fmt: skip
    deadline = time.monotonic() + 20
    while not (folder / f"{number}.job").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    print(SAYS[kind].format(number))
    return 0


def keep(folder: Path, kind: str, number: int) -> int:
    """Run a job, and again when it was preempted and may run again."""
    asked = _directives((folder / f"{number}.sh").read_text(), kind)
    shell = "/bin/bash" if kind == "lsf" or "-S /bin/bash" in asked else "/bin/false"  # a shell that knows no export
    outputs = [line.removeprefix("-o ").replace("%J", str(number)) for line in asked if line.startswith("-o ")]
    output = Path(outputs[0]) if outputs else folder / f"{number}.mail"
    output = output / f"{number}.out" if output.is_dir() else output
    environment = {name: os.environ[name] for name in ("HOME", "TMPDIR", "MARK_OF_A_TEST") if name in os.environ}
    again = {"pbs": "-r y", "sge": "-r y", "lsf": "-r"}[kind] in asked
    while True:
        with output.open("ab") as file, subprocess.Popen(
            [shell, str(folder / f"{number}.sh")], cwd="/", start_new_session=True, stdin=-3, stdout=file, stderr=file,
            env=environment | {"PATH": "/usr/bin:/bin", "JOB": str(number)},
        ) as job:  # fmt: skip
            (folder / f"{number}.job").write_text(str(job.pid))
            (folder / f"{number}.starts").open("a").write("x")
            job.wait()
        mark = folder / f"{number}.again"
        if not (again and mark.exists()):
            (folder / f"{number}.ended").touch()
            return 0
        mark.unlink()
        waits = folder / "waits"
        deadline = time.monotonic() + (float(waits.read_text()) if waits.exists() else WAITS)
        while time.monotonic() < deadline:
            time.sleep(0.05)
            if (folder / f"{number}.deleted").exists():
                (folder / f"{number}.ended").touch()
                return 0


def delete(folder: Path, number: int) -> int:
    if number not in numbers(folder):
        print("there is no such job", file=sys.stderr)
        return 1
    (folder / f"{number}.deleted").touch()
    _signal(folder, number, signal.SIGTERM)
    time.sleep(0.2)
    _signal(folder, number, signal.SIGKILL)
    return 0


def show(folder: Path, command: str) -> int:
    found = numbers(folder)
    if command == "qstat" and found:
        print("job-ID  prior   name       user         state\n-------------------------------------------")
    if command == "bjobs":
        if not found:
            print("No unfinished job found", file=sys.stderr)
            return 255
        print("JOBID   USER    STAT  QUEUE")
    for number in found:
        print(f"{number}.head" if command == "qselect" else f" {number} 0.5 dask-worker x r")
    return 0


def main(where: str, kind: str, command: str, *words: str) -> int:
    folder = Path(where)
    if command == "keep":
        return keep(folder, kind, int(words[0]))
    if command in {"qsub", "bsub"}:
        return submit(folder, kind, Path(words[-1]).read_text() if words else sys.stdin.read())
    if command in {"qdel", "bkill"}:
        return delete(folder, int(re.sub(r"\D.*", "", words[-1])))
    return show(folder, command)


if __name__ == "__main__":
    if shutil.which("bash") is None:
        sys.exit("no bash")
    sys.exit(main(*sys.argv[1:]))
