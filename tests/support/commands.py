"""The command line in a process of its own, without the seconds in which a new interpreter loads its libraries.

A server that has loaded them makes a copy of itself for every command. Such a process has a folder, variables, streams,
a search path, modules and an exit code of its own, as a new one has. Variables that libraries read when they are loaded
have a server each.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import io
import json
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

ROOT = Path(__file__).resolve().parents[2]
LOADED = ("sim", "estimators", "results.store", "results.diagnosis", "results.report", "experiments.run",
          "experiments.commands")  # fmt: skip
SETTINGS = ("NPY_", "GLIBC_", "OPENBLAS_", "PANELPROOF_")  # how variables begin that are read once
THREADS = "OPENBLAS_NUM_THREADS"  # which commands set themselves
BYTES = 1 << 17  # of a request at most


def words(text: str) -> str:
    """A text without the line breaks of a terminal."""
    return " ".join(text.split())


class Said(NamedTuple):
    """What a command prints."""

    out: str
    err: str


def here(*arguments: object, code: int = 0) -> Said:
    """The command line in this process, which must end with this code."""
    from experiments.cli import run_command  # this file is the program of a server too, which loads nothing first

    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        found = run_command([*map(str, arguments)])
    assert found == code, f"exit code {found}: {err.getvalue() or out.getvalue()}"
    return Said(out.getvalue(), err.getvalue())


def refusal(*arguments: object) -> str:
    """The one line by which a command says that its input is bad."""
    (line,) = here(*arguments, code=2).err.splitlines()
    return line


def run(
    folder: Path, *arguments: object, env: Mapping[str, str] | None = None, stdout: int | None = None,
    stderr: int | None = None, timeout: float = 240.0, root: Path = ROOT,
) -> subprocess.CompletedProcess[str]:  # fmt: skip
    """`python -m experiments` with these arguments in a folder, as `subprocess.run` runs it; both streams are captured.

    env: its whole environment, None = this process's. stdout, stderr: an open file to print into instead. root: where
    the program is.
    """
    words = ["experiments", *map(str, arguments)]
    pipes = {name: os.pipe() for name, file in (("out", stdout), ("err", stderr)) if file is None}
    out, err = (pipes[name][1] if file is None else file for name, file in (("out", stdout), ("err", stderr)))
    copy = Copy(folder, words, os.environ if env is None else env, out, err, root=root)
    for _, writer in pipes.values():
        os.close(writer)
    try:
        said = _read({name: reader for name, (reader, _) in pipes.items()}, time.monotonic() + timeout)
    except TimeoutError:
        copy.kill()
        raise subprocess.TimeoutExpired(words, timeout) from None
    finally:
        code = copy.wait()
    return subprocess.CompletedProcess(words, code, said.get("out"), said.get("err"))


class Copy:
    """A program that runs as a copy of a server: of a module, or of a file whose name ends in .py, with its arguments.

    pid: its number. What it starts with is that of `run`; without a file for its input there is none.
    """

    def __init__(self, folder: Path, words: Sequence[str], env: Mapping[str, str], stdout: int, stderr: int,
                 stdin: int | None = None, root: Path = ROOT) -> None:  # fmt: skip
        settings = {name: value for name, value in env.items() if name.startswith(SETTINGS) and name != THREADS}
        self._asks = _server(root, frozenset(settings.items()))
        self._code: int | None = None
        request = {"folder": str(folder), "words": list(words), "env": dict(env)}
        files = [stdout, stderr, *([] if stdin is None else [stdin])]
        socket.send_fds(self._asks, [json.dumps(request).encode()], files)
        self.pid = int(self._asks.recv(BYTES))

    def kill(self) -> None:
        if self._code is None:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        if self._code is None:
            self._asks.send(str(self.pid).encode())
            self._code = int(self._asks.recv(BYTES))
        return self._code


def _read(readers: Mapping[str, int], deadline: float) -> dict[str, str]:
    """All that comes out of pipes until nobody holds their other ends; raises TimeoutError at the deadline."""
    said = {name: bytearray() for name in readers}
    with selectors.DefaultSelector() as selector:
        for name, reader in readers.items():
            selector.register(reader, selectors.EVENT_READ, name)
        try:
            while selector.get_map():
                ready = selector.select(max(0.0, deadline - time.monotonic()))
                if not ready:
                    raise TimeoutError
                for key, _ in ready:
                    part = os.read(key.fd, 1 << 16)
                    said[key.data] += part
                    if not part:
                        selector.unregister(key.fd)
        finally:
            for reader in readers.values():
                os.close(reader)
    return {name: text.decode().replace("\r\n", "\n") for name, text in said.items()}


@cache
def _server(root: Path, settings: frozenset[tuple[str, str]]) -> socket.socket:
    """The socket of a server, which starts with its first command and ends with this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, str(Path(__file__).resolve()), str(theirs.fileno()), str(root)]
    plain = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
    process = subprocess.Popen(command, env=plain | dict(settings), pass_fds=[theirs.fileno()],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)  # fmt: skip
    theirs.close()

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def _load() -> None:
    """What commands import sooner or later."""
    from cluster.process import pin_environment

    pin_environment()
    for name in LOADED:
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            importlib.import_module(module.name)
    for name in ("cluster.dask_pool", "distributed", "zarr", "scipy.linalg", "scipy.sparse.linalg", "cluster.child"):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a copy need not look at what is there
    assert threading.active_count() == 1, "a copy has no thread but one"


def _serve(asks: socket.socket) -> Any:
    """Make a copy for each request; returns the request in the copy, and None in the server when nobody asks any more.

    A request without files is the number of a copy that is waited for.
    """
    while True:
        message, files, _, _ = socket.recv_fds(asks, BYTES, 3)
        if not message:
            return None
        if not files:
            _, status = os.waitpid(int(message), 0)
            asks.send(str(os.waitstatus_to_exitcode(status)).encode())
            continue
        with warnings.catch_warnings():  # pyarrow has a thread of its own that sleeps
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        for number, file in zip((1, 2, 0), files, strict=False):
            if pid == 0:
                os.dup2(file, number)
            os.close(file)
        if pid == 0:
            asks.close()
            return json.loads(message)
        asks.send(str(pid).encode())


def main() -> None:
    sys.path[0] = root = sys.argv.pop()
    _load()
    request = _serve(socket.socket(fileno=int(sys.argv[1])))
    if request is None:
        return
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["env"])
    further = [*filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)), root]
    os.environ["PYTHONPATH"] = os.pathsep.join(further)  # of what a command starts
    sys.path[:1] = [request["folder"], *further]
    name, *sys.argv[1:] = request["words"]
    sys.orig_argv[1:] = ["-m", *request["words"]]  # with which it may start itself anew
    if name.endswith(".py"):
        _end_with(_code_of(lambda: runpy.run_path(name, run_name="__main__")))
    _end_with(_code_of(lambda: runpy.run_module(name, run_name="__main__", alter_sys=True)))


def _code_of(work: Callable[[], object]) -> int:
    """The exit code of an interpreter that does this."""
    try:
        work()
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:  # noqa: BLE001  (as an interpreter says it)
        traceback.print_exc()
        return 1
    return 0


def _end_with(code: int) -> NoReturn:
    """End as an interpreter does, which also takes all modules apart: a second for a copy of so many."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
