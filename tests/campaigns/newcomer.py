"""A newcomer's path: the commands of README.md alone, on a fresh clone, without caches, on a terminal of 80 columns.

It prints the seconds and the widest line of every command, and how many seconds after `make demo` was typed the first
answer stood on the screen, which the bar holds to three minutes. It holds when every command also ends with 0. The
clone is of the last commit. `python tests/campaigns/newcomer.py 1` runs the first command alone.
"""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.cells import cell_len

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "docs" / "build"))

import blocks  # noqa: E402  (of docs/build)

COLUMNS = 80
BAR = 180.0  # seconds from `make demo` to the first answer
DEMO = "make demo"
ANSWER = re.compile(r"\b(holds?|rejects?|fails?|cannot be told)\b|[✓✗]")  # words and marks of a verdict
ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[ -/]*[@-~]|\][^\x07]*\x07|[@-_])")
NOT_FRESH = ("PYTHON", "PYTEST", "VIRTUAL_ENV", "COLUMNS", "LINES", "MAKE", "MPL", "PANELPROOF")


@dataclass(frozen=True)
class Step:
    """A command that was run. answered: seconds until a line told a verdict, NaN where none did."""

    command: str
    seconds: float
    code: int
    answered: float
    widest: str

    def __str__(self) -> str:
        """Seconds, columns of the widest line, exit code where it is not 0, the command."""
        failed = f"  ENDED WITH {self.code}" if self.code else ""
        return f"{self.seconds:7.1f} s  {cell_len(self.widest):3} columns  {self.command}{failed}"


def commands(page: Path) -> list[str]:
    """Every command line of the blocks of `sh` of a page, in order, whatever their marks say."""
    texts = [block.text for block in blocks.blocks_of(page.read_text(encoding="utf-8")) if block.language == "sh"]
    lines = [line.partition(" #")[0].strip() for text in texts for line in text.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def fresh(place: Path) -> dict[str, str]:
    """The environment of a machine that has not seen panelproof: no settings of Python, no environment, no caches."""
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(NOT_FRESH) and not name.endswith("_NUM_THREADS")}  # fmt: skip
    own = str(Path(sys.prefix) / "bin")
    kept["PATH"] = os.pathsep.join(folder for folder in kept["PATH"].split(os.pathsep) if folder != own)
    caches = {"PIP_NO_CACHE_DIR": "1", "XDG_CACHE_HOME": str(place / "cache"), "MPLCONFIGDIR": str(place / "mpl")}
    return kept | caches | {"TERM": "xterm-256color"}


def lines_of(terminal: int) -> Iterator[str]:
    """The lines that a terminal is shown, without colours, each as soon as it is whole or overwritten."""
    decoder, open_line = codecs.getincrementaldecoder("utf-8")("replace"), ""
    while True:
        try:
            got = os.read(terminal, 65536)
        except OSError:  # the other end is closed
            got = b""
        *whole, open_line = re.split(r"[\r\n]+", open_line + decoder.decode(got))
        yield from (ESCAPES.sub("", line).rstrip() for line in whole)
        if not got:
            yield ESCAPES.sub("", open_line).rstrip()
            return


def walk(command: str, folder: Path, environment: Mapping[str, str]) -> tuple[Step, dict[str, str]]:
    """Type a command on a terminal in a folder; what became of it, and the environment that it leaves."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    left, begin = folder.parent / "environment", time.monotonic()
    process = subprocess.Popen(["sh", "-c", f"{command}\ncode=$?\nenv -0 >'{left}'\nexit $code"], cwd=folder,
                               env=dict(environment), stdin=theirs, stdout=theirs, stderr=theirs,
                               start_new_session=True)  # fmt: skip
    os.close(theirs)
    widest, answered = "", float("nan")
    for line in lines_of(ours):
        widest = max(widest, line, key=cell_len)
        if answered != answered and ANSWER.search(line):
            answered = time.monotonic() - begin
            print(f"         the first answer, after {answered:.1f} s: {line.strip()}", flush=True)
    os.close(ours)
    code = process.wait()
    step = Step(command, time.monotonic() - begin, code, answered, widest)
    pairs = (entry.partition("=") for entry in left.read_text(encoding="utf-8").split("\0") if entry)
    return step, {name: value for name, _, value in pairs}


def main(first: int | None = None) -> bool:
    """Walk the path, or its first commands; whether the answer came in time and every command ended with 0."""
    steps: list[Step] = []
    with tempfile.TemporaryDirectory() as place:
        clone = Path(place) / "panelproof"
        subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(REPOSITORY), str(clone)], check=True)
        environment = fresh(Path(place))
        for command in commands(clone / "README.md")[:first]:
            step, environment = walk(command, clone, environment)
            print(step, flush=True)
            steps.append(step)
    widest = max(steps, key=lambda step: cell_len(step.widest))
    print(f"the widest line has {cell_len(widest.widest)} columns, of `{widest.command}`:\n{widest.widest}")
    answered = next((step.answered for step in steps if step.command == DEMO), float("nan"))
    print(f"{DEMO}: the first answer after {answered:.0f} s; the bar is {BAR:.0f} s")
    return answered <= BAR and not any(step.code for step in steps)


if __name__ == "__main__":
    raise SystemExit(0 if main(int(sys.argv[1]) if len(sys.argv) > 1 else None) else 1)
