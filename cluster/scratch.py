"""Scratch folders of our own: nobody else can write, swap or read them. Dask's shared one is never used.

Dask puts the scratch folder of each member first on the path where it looks for modules, and takes its shared folder
(`dask-scratch-space` where a machine keeps temporary files) whoever owns it. Whoever made it could put modules there.

Each folder holds a record of the process that it belongs to. A process that is killed leaves its folder; the next one
of the same user that makes a folder in the same place removes it.

This file needs the standard library alone: workers without our modules run its text (`cluster.survey`), and the jobs
of batch systems run it as a program.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import sys
import tempfile
from typing import Any

PREFIX = "panelproof-"
OWNER = "owner.json"  # in a folder: the process that it belongs to
MOST_BYTES = 4096  # of such a record
OTHERS = stat.S_IWGRP | stat.S_IWOTH


def own_folder(place: str | None = None, owner: int | None = None) -> str:
    """A new folder that only we can read and write; those that killed processes left go first. Raises OSError.

    place: where it is made; None = where this machine keeps temporary files, or else the home folder. In a place where
    another user could rename it none is made. owner: the process that it belongs to; None = this one.
    """
    places = [place] if place else [tempfile.gettempdir(), os.path.expanduser("~")]
    reasons = []
    for where in map(os.path.realpath, places):
        try:
            if reason := swappable(where, os.geteuid()):
                reasons.append(reason)
                continue
            sweep(where)
            made = tempfile.mkdtemp(prefix=PREFIX, dir=where)
            claim(made, owner)
            found = os.lstat(made)
        except OSError as error:
            reasons.append(f"{where}: {error.strerror}")
            continue
        if reason := not_private(made, found.st_mode, found.st_uid, os.geteuid()):
            reasons.append(reason)
            continue
        return made
    raise OSError(f"no safe place for a scratch folder ({'; '.join(reasons)})")


def not_private(path: str, mode: int, owner: int, user: int) -> str:
    """Why something is no folder that only a user can write and read; "" where it is one."""
    if not stat.S_ISDIR(mode):
        return f"{path} is no folder"
    if owner != user:
        return f"{path} belongs to user {owner}"
    return f"{path} is open to others" if stat.S_IMODE(mode) & 0o077 else ""


def swappable(path: str, user: int) -> str:
    """Why another user could rename what a user makes in a folder; "" where none can. path: without links."""
    while True:
        found = os.stat(path)
        if reason := open_above(path, found.st_mode, found.st_uid, user):
            return reason
        if path == (path := os.path.dirname(path)):
            return ""


def open_above(path: str, mode: int, owner: int, user: int) -> str:
    """Why another user than root could rename a folder in this one; "" where none can."""
    if owner not in (0, user):
        return f"{path} belongs to user {owner}"
    return f"{path} can be written by others" if mode & OTHERS and not mode & stat.S_ISVTX else ""


def claim(folder: str, owner: int | None = None) -> None:
    """Write into a folder which process it belongs to."""
    with open(os.path.join(folder, OWNER), "x", encoding="utf-8") as file:
        file.write(record_of(os.getpid() if owner is None else owner))


def record_of(process: int) -> str:
    """What a folder says of its process: when it began, and on which machine, since which start of the machine."""
    return json.dumps({"pid": process, "began": began(process), "host": host(), "boot": boot(), "space": space()})


def is_gone(record: str) -> bool:
    """Whether a process of this machine is gone, by its record; False where this cannot be known."""
    try:
        found: Any = json.loads(record)
        process, began_then = int(found["pid"]), str(found["began"])
        then = [str(found[name]) for name in ("host", "boot", "space")]
    except (ValueError, TypeError, KeyError):
        return False
    if "" in (*then, began_then, boot(), space()) or then[0] != host():
        return False
    if then[1] != boot():
        return True
    return then[2] == space() and began(process) != began_then


def began(process: int) -> str:
    """When a process began, in ticks since the start of the machine; "" where there is none, or one that has ended."""
    fields = _text(f"/proc/{process}/stat").rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 and fields[0] not in "ZXx" else ""


def host() -> str:
    """This machine: its name alone could be that of another one too."""
    return f"{os.uname().nodename} {_text('/etc/machine-id')}".strip()


def boot() -> str:
    """Which start of this machine it is; "" where it does not say."""
    return _text("/proc/sys/kernel/random/boot_id")


def space() -> str:
    """In which space of numbers of processes we are: a container has its own; "" where the machine does not say."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(MOST_BYTES).strip()
    except OSError:
        return ""


def sweep(place: str, prefix: str = PREFIX) -> None:
    """Remove the folders of this user in a place whose processes are gone; none of another user, and by no link."""
    with contextlib.suppress(OSError):
        for name in os.listdir(place):
            if name.startswith(prefix):
                with contextlib.suppress(OSError):
                    _remove_if_left(os.path.join(place, name))


def _remove_if_left(path: str) -> None:
    """Empty and remove a folder by its descriptor: what another takes its place meanwhile keeps what it holds."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        found = os.fstat(folder)
        if not_private(path, found.st_mode, found.st_uid, os.geteuid()) or not is_gone(_record_in(folder)):
            return
        for name in sorted(os.listdir(folder), key=OWNER.__eq__):  # the record last: what fails is tried again
            if stat.S_ISDIR(os.lstat(name, dir_fd=folder).st_mode):
                shutil.rmtree(name, dir_fd=folder)
            else:
                os.unlink(name, dir_fd=folder)
        os.rmdir(path)
    finally:
        os.close(folder)


def _record_in(folder: int) -> str:
    """The record in an open folder; "" where there is none, or something else in its place."""
    try:
        file = os.open(OWNER, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError:
        return ""
    try:
        return os.read(file, MOST_BYTES).decode(errors="replace") if stat.S_ISREG(os.fstat(file).st_mode) else ""
    finally:
        os.close(file)


def main(owner: str, place: str = "") -> int:
    """Print a new folder of our own, which belongs to another process: what the job of a worker does before it starts.

    place: where it is made, in which variables of the environment are replaced; "" = as `own_folder` says.
    """
    found = os.path.expanduser(os.path.expandvars(place))
    try:
        if place and ("$" in found or not os.path.isabs(found)):
            raise OSError(f"{place!r} is no path on this node; the option scratch names another")
        print(own_folder(found or None, int(owner)))
    except OSError as error:
        print(f"panelproof: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
