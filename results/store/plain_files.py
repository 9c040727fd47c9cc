"""Files that are files: no link is followed, no pipe or device is opened, and what a run writes to is its user's own.

In a folder that others may write, a link could lead a run to any file that it may overwrite, and a pipe would make a
reader wait for ever. Folders are entered one by one from the root of a store, each without following a link.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sim.errors import BadInput, bad

PLAIN = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe is opened without waiting, and then seen
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
LINK, PIPE = "is a link, which is not followed", "is no file"
READ = 1 << 20  # bytes at once; a plain file gives fewer only at its end
TRIES = 8  # to enter a folder that another writer makes at the same time


class NotPlain(OSError):
    """A link, a pipe, a device or a folder in the place of a file; or a name that leads out of a store."""


def is_inside(name: object) -> bool:
    """Whether a name of parts with "/" between stays below the folder that it is taken from."""
    if not isinstance(name, str) or "\\" in name or not name.isprintable():
        return False
    return all(part not in {"", ".", ".."} for part in name.split("/"))


def read_plain(path: str | Path, most: int = -1) -> bytes:
    """What a file holds, or its first bytes; raises NotPlain for all that is no plain file."""
    descriptor = open_plain(path, os.O_RDONLY)
    try:  # four calls of the system a file: a store has many
        held = os.read(descriptor, READ if most < 0 else most)
        while len(held) >= READ and most < 0 and (more := os.read(descriptor, len(held))):
            held += more
        return held
    finally:
        os.close(descriptor)


def open_plain(path: str | Path, flags: int, at: int | None = None) -> int:
    """The descriptor of a plain file, of an open folder where `at` is one; raises NotPlain for all that is none.

    One that is made can be read by others, and written by its owner alone.
    """
    try:
        descriptor = os.open(path, flags | PLAIN, 0o644, dir_fd=at)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link; a pipe or socket without a reader
            raise NotPlain(error.errno, LINK if error.errno == errno.ELOOP else PIPE, str(path)) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotPlain(errno.EINVAL, PIPE, str(path))
    return descriptor


def open_beside(path: Path, flags: int) -> int:
    """The descriptor of a file that a run keeps beside its store; raises BadInput where a link or a pipe is there."""
    try:
        return open_plain(path, flags)
    except NotPlain as error:
        raise not_ours(path, str(error.strerror)) from error


def check_own(descriptor: int, path: Path) -> None:
    """Raise BadInput for a file of another user, and for one that has another name too: it may be any file."""
    found = os.fstat(descriptor)
    if found.st_uid != os.geteuid():
        raise not_ours(path, f"belongs to user {found.st_uid}")
    if found.st_nlink > 1:
        raise not_ours(path, "has another name too")


def not_ours(path: Path, what: str) -> BadInput:
    """Bad input: what a file beside a store is that a run would write to."""
    return bad(f"{what}, and a run writes into it", where=str(path), allowed="a plain file of your own",
               remedy="find out who put it there, and remove it")  # fmt: skip


def write_beside(path: Path, data: bytes) -> None:
    """Write and flush a new file of its owner alone in the place of whatever has this name; no link is followed."""
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | PLAIN, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def folder_inside(root: Path, parts: Sequence[str], *, make: bool) -> Iterator[int]:
    """The descriptor of a folder below another, entered without following a link.

    make: a folder below root is made where there is none, and in the place of a link or a file; root never is. Without
    it raises FileNotFoundError and NotADirectoryError.
    """
    descriptor = os.open(root, FOLDER)
    try:
        for part in parts:
            inner = _entered(part, descriptor, make=make)
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


def _entered(part: str, at: int, *, make: bool) -> int:
    for _ in range(TRIES if make else 1):
        try:
            return os.open(part, FOLDER | os.O_NOFOLLOW, dir_fd=at)
        except FileNotFoundError:
            if not make:
                raise
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP) or not make:
                raise
            with contextlib.suppress(FileNotFoundError, IsADirectoryError):
                os.unlink(part, dir_fd=at)
        with contextlib.suppress(FileExistsError):
            os.mkdir(part, dir_fd=at)
    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), part)


def replace_inside(fresh: str, name: str, at: int) -> None:
    """Rename a file of a folder to a name there, also where a folder has that name."""
    try:
        os.replace(fresh, name, src_dir_fd=at, dst_dir_fd=at)
    except IsADirectoryError:
        shutil.rmtree(name, dir_fd=at)
        os.replace(fresh, name, src_dir_fd=at, dst_dir_fd=at)


def delete_inside(root: Path, name: str) -> None:
    """Delete a file, a link or a folder below a folder; it need not be there."""
    *folders, last = name.split("/")
    with (
        contextlib.suppress(FileNotFoundError, NotADirectoryError),
        folder_inside(root, folders, make=False) as at,
    ):
        try:
            os.unlink(last, dir_fd=at)
        except IsADirectoryError:
            shutil.rmtree(last, dir_fd=at)


def walked(
    root: Path, under: str = "", instead: Callable[[str], Sequence[str] | None] = lambda _: None
) -> Iterator[tuple[str, str]]:
    """(name, what is wrong with it) of all below a folder but plain folders; "" of a plain file.

    instead: the files that are named of a folder without looking into it; None where it is looked into.
    """
    try:
        found = sorted(os.scandir(os.path.join(root, under)), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in found:
        name = f"{under}/{entry.name}" if under else entry.name
        if entry.is_dir(follow_symlinks=False):
            known = instead(name)
            yield from walked(root, name, instead) if known is None else ((file, "") for file in known)
        elif entry.is_file(follow_symlinks=False):
            yield name, ""
        else:
            yield name, LINK if entry.is_symlink() else PIPE
