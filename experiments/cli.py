"""`panelproof`: the command line.

Exit codes: 0 done, 1 a check failed, 2 bad input, 3 done in part, 75 the store is locked, 130/143 interrupted.
"""

from __future__ import annotations

import atexit
import errno
import importlib
import os
import re
import signal
import sys
from collections.abc import Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import click

COMMANDS = {
    "studies": "the built-in studies: what each asks, its cells and cost",
    "kinds": "designs, estimators, error types, schemes, measures, and every dial of one",
    "run": "run or resume a study",
    "cluster": "back ends and their options; check a cluster before a run",
    "report": "bias report of a store",
    "compare": "two stores side by side, paired where their draws are common",
    "solve": "the effect, units or replications at which a measure reaches a level",
    "breakdown": "the departure at which a measure passes a level, or a frontier of two",
    "estimate": "the paper's tables on a real panel",
    "placebo": "permutation and placebo tests on a real panel",
    "twin": "a panel design fitted to a real panel, and how like it is",
    "trust": "is my result safe? one page from twins, placebos and the panel itself",
    "race": "which estimator misses an effect least on panels like this one",
    "replicate": "a bundle for a journal's archive: make it, or run it again and compare",
    "replay": "draw and fit one replication again",
    "init": "read a panel file and write a SPEC.toml to edit",
    "panel": "check a panel file, or write an example",
    "store": "verify, hash, describe or merge stores",
    "completion": "the completion script of a shell",
}

OF_PANELS = ("estimate", "placebo", "twin", "trust", "race", "replicate", "init", "panel")
RESUMED = ("run", "solve", "breakdown", "placebo", "trust", "replicate")  # commands that keep what they had finished
PLACED = {"run": "--store", "placebo": "--store", "replicate": "folder"}  # where stores lie; of others, in their --out
KEPT = "what a run had finished is kept, and the same command resumes it"
IN_PART, LOCKED, INTERRUPTED, TERMINATED = 3, 75, 130, 143


class Terminated(BaseException):
    """SIGTERM was received."""


class _Commands(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        place = "panel" if name in OF_PANELS else "study"
        command: click.Command = getattr(importlib.import_module(f"experiments.commands.{place}_commands"), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first word names; raises BadInput for one that there is not."""
        if args[0] in COMMANDS or args[0].startswith("-") or ctx.resilient_parsing:
            return super().resolve_command(ctx, args)
        from sim.errors import bad, closest, one_of

        allowed = one_of(COMMANDS, args[0], "`panelproof --help`")
        raise bad(f"no command {args[0]!r}", where="panelproof", allowed=allowed,
                  remedy=closest(args[0], COMMANDS))  # fmt: skip

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="panelproof")
def panelproof() -> None:
    """Prove panel estimators: on your own city panel and on synthetic panels whose true effects are known."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    put_own_packages_first()
    from cluster.process import keep_printing, pin_environment

    pin_environment()
    for size in ("COLUMNS", "LINES"):
        if not os.environ.get(size, "").strip("0"):  # 0, of a terminal that has no size; rich would print nothing
            os.environ.pop(size, None)
    open_closed_streams()
    os.umask(os.umask(0o077) & 0o077)  # what a run makes it must be able to open itself
    keep_printing()
    signal.signal(signal.SIGTERM, _terminate)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # nohup ignores it
        signal.signal(signal.SIGHUP, _terminate)
    sys.exit(printed(run_command(arguments), resumed=_is_resumed(arguments)))


def open_closed_streams() -> None:
    """Let nothing that a run or its workers open get the number of a standard stream that was closed by who started it,
    and let Python have a stream there too.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest number that is free
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8", closefd=False))


def printed(code: int, *, resumed: bool) -> int:
    """The exit code, once all is printed: not 0 where standard output took not all of it.

    A reader that has gone, as behind `| head`, wanted no more.
    """
    from cluster.process import output_of

    out = output_of(sys.stdout)
    if out is None:
        return code
    sys.stdout.flush()
    if out.failed is None or out.failed.errno == errno.EPIPE:
        return code
    again = "what was computed is kept, and the same command prints it" if resumed else "print it elsewhere"
    return _emit(f"standard output: {out.failed.strerror}; not all was printed: {again}", code or IN_PART)


def put_own_packages_first() -> None:
    """Move folders that hold another `sim`, `results`, ... to the end of the search path, behind our own packages.

    `python -m` puts the folder where it runs first, and worker processes take over the search path of their parent.
    """
    root = Path(__file__).resolve().parent.parent
    rooms = ("sim", "estimators", "results", "cluster", "experiments")
    foreign = [
        entry
        for entry in sys.path
        if Path(entry).resolve() != root and any(PathFinder.find_spec(room, [entry]) for room in rooms)
    ]
    if foreign:
        sys.path[:] = [*(entry for entry in sys.path if entry not in foreign), str(root), *foreign]


def _terminate(*_: Any) -> None:
    raise Terminated


def run_command(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code, errors said on stderr, then what discovery left out."""
    said: set[object] = set()
    try:
        return _outcome(arguments, said)
    finally:
        if "sim.registry" in sys.modules:
            from sim.registry import problems

            for problem in problems():
                if problem not in said:
                    click.echo(f"panelproof: warning: {problem}", err=True)


def _outcome(arguments: Sequence[str] | None, said: set[object]) -> int:
    """The exit code; problems that are said join `said`."""
    words = sys.argv[1:] if arguments is None else arguments
    if "" in words:  # Path("") is the folder where the command runs
        before = next((word for word in reversed(words[: words.index("")]) if word), "the command")
        return _emit(f"what stands behind {before} is empty; allowed: a value; leave it out, or see whether a variable "
                     "of the shell is set", 2)  # fmt: skip
    resumed = _is_resumed(arguments)
    kept = f"; {KEPT}" if resumed else ""
    try:
        code = panelproof.main(args=arguments, prog_name="panelproof", standalone_mode=False)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        return _usage(error, words)
    except (KeyboardInterrupt, click.Abort):
        if arguments is None:  # a further Ctrl-C, or a cluster that had only begun to start, would end in a traceback
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            if deployed := sys.modules.get("distributed.deploy.spec"):
                atexit.unregister(deployed.close_clusters)
        return _emit(f"interrupted{kept}", INTERRUPTED)
    except Terminated:
        return _emit(f"terminated{kept}", TERMINATED)
    except Exception as error:
        if arguments is None:
            from cluster.numbers import OtherSettings, restart

            if isinstance(error.__cause__, OtherSettings):  # settings are all that this process lacks
                restart()
        said.update(getattr(error, "problems", ()))
        code = _expected(error, resumed=resumed, option=PLACED.get(words[0] if words else "", "--out"))
        if code is None:
            raise
        return code
    return code if isinstance(code, int) else 0


def _is_resumed(arguments: Sequence[str] | None) -> bool:
    """Whether the command, the first argument that is no option, goes on where it was stopped."""
    given = sys.argv[1:] if arguments is None else arguments
    command = next((word for word in given if not word.startswith("-")), None)
    makes_bundle = command == "replicate" and any(word.startswith(("--from", "--panel")) for word in given)
    return command in RESUMED and not makes_bundle  # what there was of a bundle is removed


def _usage(error: click.ClickException, words: Sequence[str]) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message())
        return 2
    context = getattr(error, "ctx", None)
    # Of an option without its value click does not say which command it stands behind.
    command = next((f" {word}" for word in words if word in COMMANDS), "")
    path = context.command_path if context else f"panelproof{command}"
    text = " ".join(error.format_message().split())
    if (asked := re.match("No such command '([^']+)'", text)) and asked[1] in COMMANDS:  # below another command
        text += f" Did you mean `panelproof {asked[1]}`?"
    if isinstance(error, click.exceptions.NoSuchOption) and path == "panelproof":
        text += " Options of a command stand behind its name, as in `panelproof run STUDY --workers 2`."
    text = text if text.endswith(("?", ")", ".")) else f"{text}."
    return _emit(f"{text} See `{path} --help`.", 2)


def _expected(error: Exception, *, resumed: bool, option: str = "--store") -> int | None:
    """The exit code of an error that users cause or can correct, after saying it; None for any other. option: of the
    command, by which its stores lie elsewhere."""
    from cluster.executor import ClusterLost, WorkerRefused
    from results.store.bucket import StoreSilent, StoreUnreachable
    from results.store.lease import StoreLocked
    from results.store.lock import StoreGone
    from sim.errors import NO_ROOM, NO_THREAD, BadInput

    if isinstance(error, BadInput):
        for problem in error.problems:
            _emit(str(problem).replace("another --store", f"another {option}"), 2)
        return IN_PART if getattr(error.__cause__, "errno", None) in NO_ROOM else 2
    if isinstance(error, StoreLocked):
        return _emit(str(error), LOCKED)
    if isinstance(error, StoreGone):
        return _emit(str(error), IN_PART)
    if isinstance(error, StoreUnreachable):
        return _emit(f"{error}; {KEPT}" if resumed and isinstance(error, StoreSilent) else str(error), 2)
    if isinstance(error, ClusterLost):
        return _emit(f"{error}; {KEPT}", IN_PART)
    if isinstance(error, MemoryError) or NO_THREAD in str(error):
        lacks, limit = ("memory", "-v") if isinstance(error, MemoryError) else ("threads", "-u, -v")
        kept = f"; {KEPT}" if resumed else ""
        if zarr := sys.modules.get("zarr.core.sync"):
            atexit.unregister(zarr.cleanup_resources)  # it waits for a thread that perhaps never began
        return _emit(f"the system gives this process no more {lacks}: raise its limits (`ulimit {limit}`), or use "
                     f"fewer workers{kept}", IN_PART)  # fmt: skip
    if isinstance(error, OSError) and error.errno is not None:
        code = IN_PART if error.errno in NO_ROOM else 2
        name = error.filename2 if code == IN_PART and error.filename2 else error.filename  # of a copy: to where
        if not name and error.errno == errno.ENOENT:
            try:
                Path.cwd()
            except FileNotFoundError:
                name = "the folder where the command runs"
        place = f"{name}: " if name else ""
        kept = "nothing that was finished is lost: " if resumed else ""
        return _emit(f"{place}{error.strerror}; {kept}correct this and try again", code)
    if isinstance(error, WorkerRefused):
        return _emit(str(error), 2)
    return None


def _emit(text: str, code: int) -> int:
    from sim.errors import visible

    click.echo(visible(f"panelproof: {text}"), err=True)
    return code
