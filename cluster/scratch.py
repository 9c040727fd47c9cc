"""Scratch folders of our own: nobody else can write, swap or read them. Dask's shared one is never used.

Dask puts the scratch folder of each member first on the path where it looks for modules, and takes its shared folder
(`dask-scratch-space` where a machine keeps temporary files) whoever owns it. Whoever made it could put modules there.

This file needs the standard library alone: workers without our modules run its text (`cluster.shipping`), and the jobs
of Slurm run it as a program.
"""

from __future__ import annotations

import os
import stat
import sys
import tempfile

PREFIX = "panelproof-"
OTHERS = stat.S_IWGRP | stat.S_IWOTH


class NoSafePlace(OSError):
    """There is no folder below which another user could not swap ours."""


def own_folder(place: str | None = None) -> str:
    """A new folder that only we can read and write; raises NoSafePlace.

    place: where it is made; None = where this machine keeps temporary files, or else the home folder. In a place where
    another user could rename it none is made.
    """
    places = [place] if place else [tempfile.gettempdir(), os.path.expanduser("~")]
    reasons = []
    for where in map(os.path.realpath, places):
        if reason := swappable(where, os.geteuid()):
            reasons.append(reason)
            continue
        try:
            made = tempfile.mkdtemp(prefix=PREFIX, dir=where)
        except OSError as error:
            reasons.append(f"{where}: {error.strerror}")
            continue
        found = os.lstat(made)
        if reason := not_private(made, found.st_mode, found.st_uid, os.geteuid()):
            reasons.append(reason)
            continue
        return made
    raise NoSafePlace(f"no safe place for a scratch folder ({'; '.join(reasons)})")


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


def main() -> int:
    """Print a new folder of our own: what the job of a worker does before it starts it."""
    try:
        print(own_folder())
    except NoSafePlace as error:
        print(f"panelproof: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
