"""Another user of the machine tries every door of docs/threat-model.md while a run is on, wherever it can run.

The other user is `nobody`, so that this needs root; what he may do is tried by the standard library alone, in a process
of his own: to reach the ports of members, to read what they keep or say, and to put something in the place of their
files.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from places import opened
from real_parts import PARTS, NotHere

from experiments.run.runner import run
from studies import small_study

NOBODY = 65534
PLACES = ("local", "tcp", "tls", "ssh", "slurm", "pbs", "sge", "lsf")
SERVERS = ("sshd", "slurmctld", "slurmd", "slurmstepd", "munged")  # of the system, not ours
PLAIN = "tcp"  # on loopback it is open to every user of the machine, as the threat model says
ATTACK = r"""
import json, os, socket, ssl, sys
given = json.load(sys.stdin)
tried, found = 0, []

def door(what, attempt):
    global tried
    tried += 1
    try:
        got = attempt()
    except (OSError, ssl.SSLError, ValueError):
        return
    if got:
        found.append(f"{what}: {got!r:.80}")

def answered(place, plain):
    with socket.create_connection(place, 3) as wire:
        wire.settimeout(3)
        if plain:
            return wire.recv(8)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with context.wrap_socket(wire) as inside:
            return inside.recv(8)

def written(path, how):
    if how == "changed":
        with open(path, "r+b") as file:
            return path
    if how == "made":
        with open(os.path.join(path, "experiments.py"), "w") as file:
            return path
    if how == "moved":
        os.rename(path, path + ".mine")
        return path
    if how == "removed":
        os.unlink(path)
        return path

def read(path, most=16):
    with open(path, "rb") as file:
        return file.read(most) or b"empty"

def keys_of(command):
    words = [word.partition(b"=")[2] or word for word in read(command, -1).split(b"\0")]
    return [word for word in words if b"PRIVATE" in word or word.endswith(b".pem") and os.access(word, os.R_OK)]

for host, port in given["ports"]:
    door(f"port {port} of {host} speaks without a certificate", lambda: answered((host, port), False))
    if not given["plain"]:
        door(f"port {port} of {host} speaks in the clear", lambda: answered((host, port), True))
for path in given["secrets"]:
    door(f"{path} is read", lambda: read(path))
for path in given["folders"]:
    if "panelproof-" in path:
        door(f"{path} is listed", lambda: os.listdir(path) or ["nothing"])
    door(f"{path} takes a module", lambda: written(path, "made"))
    door(f"{path} is moved", lambda: written(path, "moved"))
for path in given["files"]:
    for how in ("changed", "moved", "removed"):
        door(f"{path} is {how}", lambda: written(path, how))
for pid in given["members"]:
    door(f"the environment of {pid} is read", lambda: read(f"/proc/{pid}/environ"))
    door(f"{pid} is stopped", lambda: os.kill(pid, 0) or "yes")
    door(f"the command line of {pid} holds a key or leads to one", lambda: keys_of(f"/proc/{pid}/cmdline"))
json.dump([tried, found], sys.stdout)
"""


def main() -> bool:
    """No door is open, in any place that this machine has."""
    if os.geteuid() != 0:
        print("  NOT TESTED HERE: only root can be another user", flush=True)
        return True
    holds = True
    for name in PLACES:
        try:
            tried, found, members = attacked(name)
        except NotHere as reason:
            print(f"  {name}: NOT TESTED HERE: {reason}", flush=True)
            continue
        holds &= not found and tried > 0
        print(f"  {name}: {members} members, {tried} doors tried, {len(found)} open", flush=True)
        for what in found:
            print(f"    {what}", flush=True)
    return holds


def attacked(name: str) -> tuple[int, list[str], int]:
    """Doors that were tried while a run was on, those that were open, and the processes of the run."""
    with tempfile.TemporaryDirectory(prefix="doors-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        with opened(folder, PARTS[name]) as executor:
            on, go_on, ended = threading.Event(), threading.Event(), list[BaseException | None]()

            def listen(_: Any) -> None:
                on.set()
                go_on.wait(120)

            def work() -> None:
                try:
                    run(small_study(1024), store=folder / "x.zarr", executor=executor, listen=listen)
                    ended.append(None)
                except BaseException as error:  # noqa: BLE001
                    ended.append(error)
                    on.set()

            thread = threading.Thread(target=work)
            thread.start()
            assert on.wait(120), "no block was finished"
            try:
                given = targets(folder, plain=name == PLAIN)
                done = subprocess.run([getattr(sys, "_base_executable", sys.executable), "-I", "-c", ATTACK],
                                      input=json.dumps(given), capture_output=True, text=True, user=NOBODY,
                                      group=NOBODY, extra_groups=[], cwd="/", timeout=120)  # fmt: skip
            finally:
                go_on.set()
                thread.join()
            assert ended == [None], f"the run ended by {ended}"
            assert done.returncode == 0, done.stderr
            tried, found = json.loads(done.stdout)
            return tried, found, len(given["members"])


def targets(folder: Path, *, plain: bool) -> dict[str, Any]:
    """What another user can see of a run: ports, folders, files and processes."""
    own = list(members())
    ports = {(at.laddr.ip, at.laddr.port) for process in own for at in process.net_connections("tcp")
             if at.status == psutil.CONN_LISTEN}  # fmt: skip
    scratch = {Path(open_file).parent for process in own for open_file in places_of(process)}
    folders = [str(path) for path in scratch if "panelproof-" in str(path)]
    beside = [path for path in folder.glob("*") if path.is_file() and ("zarr" in path.name or "lock" in path.name)]
    inside = [path for path in (folder / "x.zarr").rglob("*") if path.is_file()][:20]
    keys = [path for path in (*folder.rglob("*.pem"), *folder.rglob("*key*")) if path.is_file() and "slurm" not in
            str(path) and not path.name.endswith(".pub")]  # fmt: skip
    return {"ports": sorted(ports) if not plain else [], "plain": plain, "secrets": sorted(map(str, keys)),
            "folders": sorted({*folders, str(folder / "x.zarr"), str(folder / "x.zarr" / "block_mark")}),
            "files": sorted(map(str, [*beside, *inside, folder / "x.zarr" / "block_mark" / "lease"])),
            "members": [process.pid for process in own]}  # fmt: skip


def members() -> Iterator[psutil.Process]:
    """The processes of a run: this one, what it started, and what a batch system or an SSH server started for it."""
    for process in psutil.process_iter():
        try:
            command = " ".join(process.cmdline())
            ours = process.pid == os.getpid() or os.getpid() in {parent.pid for parent in process.parents()}
            if process.name() in SERVERS or not (ours or "distributed" in command or "dask" in command):
                continue
        except psutil.Error:
            continue
        yield process


def places_of(process: psutil.Process) -> Iterator[str]:
    """Paths that a process works in or has open."""
    try:
        yield f"{process.cwd()}/x"
        yield from (item.path for item in process.open_files())
    except psutil.Error:
        return
