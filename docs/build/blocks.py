"""The blocks of code on a page of the documents: which there are, and how they are run in a folder of their own.

A fenced block runs when its language is `python` or `sh`. A block with `title="NAME"` is saved as the file NAME. Marks
are HTML comments on the lines just above a block:

    <!-- skip: REASON -->       the block does not run
    <!-- same: PAGE... -->      its commands stand on those pages too, where they run; a short run leaves them out
    <!-- short: OLD => NEW -->  a short run has NEW in place of OLD, which the block must hold
    <!-- exit: CODE -->         the last command of the block ends with this exit code
    <!-- output -->             the block of text shows what the block before it printed; `output: 7 from Table 2`
                                shows seven lines of it, from the first that begins with "Table 2" on
    <!-- picture: FILE => images/NAME -->  `make docs-refresh` copies the FILE that the block wrote
    <!-- screen: FILE 900x1085 => images/NAME -->  it takes a picture of the first screen of a page that the block wrote

Lines of `sh` begin with `panelproof` or `python`. They run in one process, through the function that the installed
command calls. A short run adds `--cluster serial` to a `run` that names no cluster, which changes no number, and keeps
every sixth city of the panel that `panel example` writes.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import json
import os
import re
import runpy
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^( *)```([\w-]*)(.*)$")
MARK = re.compile(r"^ *<!-- (skip|same|short|exit|output|picture|screen)(?:: (.*?))? -->$")
TITLE = re.compile(r'title="([^"]+)"')
RUN = ("python", "sh")
RESULT = "result-of-the-page.json"
SERIAL = ("run", "solve", "breakdown")  # commands with --cluster


@dataclass(frozen=True)
class Block:
    """A fenced block: `line` is that of its fence (from 1), `marks` holds (mark, text) in order."""

    line: int
    language: str
    title: str
    text: str
    marks: tuple[tuple[str, str], ...]
    last: int = 0

    def marked(self, mark: str) -> list[str]:
        """The texts of all marks of a kind."""
        return [text for name, text in self.marks if name == mark]

    @property
    def kind(self) -> str:
        """run, skip, same, file, output or shown."""
        if self.marked("output"):
            return "output"
        if self.title:
            return "file"
        if self.language in RUN:
            return next((mark for mark in ("skip", "same") if self.marked(mark)), "run")
        return "shown"

    def shortened(self) -> str:
        """The text of a short run; raises ValueError when a mark names what the block lacks."""
        text = self.text
        for change in self.marked("short"):
            old, _, new = change.partition(" => ")
            if old not in text:
                raise ValueError(f"line {self.line}: the block does not hold {old!r}")
            text = text.replace(old, new)
        return text


def blocks_of(text: str) -> list[Block]:
    """All fenced blocks of a page."""
    found, marks, lines = list[Block](), list[tuple[str, str]](), text.splitlines()
    position = 0
    while position < len(lines):
        if mark := MARK.match(lines[position]):
            marks.append((mark[1], mark[2] or ""))
        elif fence := FENCE.match(lines[position]):
            begin, indent = position, fence[1]
            position += 1
            while not lines[position].startswith(f"{indent}```"):
                position += 1
            body = "".join(f"{line.removeprefix(indent)}\n" for line in lines[begin + 1 : position])
            title = TITLE.search(fence[3])
            found.append(Block(begin + 1, fence[2], title[1] if title else "", body, tuple(marks), position + 1))
            marks = []
        elif lines[position].strip():
            marks = []
        position += 1
    return found


def pages() -> list[Path]:
    """Every page with blocks that a reader may run: those of docs/ and the READMEs."""
    found = [*REPOSITORY.glob("README*.md"), *(REPOSITORY / "docs").rglob("*.md")]
    return sorted(page for page in found if any(block.language in RUN for block in blocks_of(page.read_text("utf-8"))))


def commands(text: str) -> Iterator[list[str]]:
    """The command lines of a block without comments, each as words."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while "&&" in words:
            end = words.index("&&")
            yield words[:end]
            words = words[end + 1 :]
        if words:
            yield words


@dataclass(frozen=True)
class Ran:
    """What came of a block: run, skip, same, file or failed, and what it printed (or why it was left out)."""

    line: int
    kind: str
    printed: str
    seconds: float = 0.0


def run_page(page: Path, *, short: bool = True) -> Iterator[tuple[Block, Ran]]:
    """Run the blocks of a page in order in the folder where the process stands; ends at the first that fails."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks_of(page.read_text(encoding="utf-8")):
        begin = time.monotonic()
        if block.kind == "skip":
            yield block, Ran(block.line, "skip", block.marked("skip")[0])
        elif block.kind == "same" and short:
            yield block, Ran(block.line, *_found(block))
        elif block.kind in ("run", "same", "file"):
            kind, printed = _tried(block, names, page.name, short=short)
            yield block, Ran(block.line, kind, printed, time.monotonic() - begin)
            if kind == "failed":
                return


def _found(block: Block) -> tuple[str, str]:
    """Whether the commands of a block run on the pages that its mark names."""
    pages = block.marked("same")[0]
    others = [other for page in pages.split() for other in blocks_of((REPOSITORY / page).read_text(encoding="utf-8"))]
    there = [
        words for other in others if other.kind == "run" and other.language == "sh" for words in commands(other.text)
    ]
    lacking = [" ".join(words) for words in commands(block.text) if words not in there]
    return ("failed", f"{pages}: does not run: {'; '.join(lacking)}") if lacking else ("same", pages)


def _tried(block: Block, names: dict[str, Any], page: str, *, short: bool) -> tuple[str, str]:
    """How a block ended and what it printed, on both streams."""
    out = io.StringIO()
    try:
        text = block.shortened() if short else block.text
        if block.kind == "file":
            Path(block.title).parent.mkdir(parents=True, exist_ok=True)
            Path(block.title).write_text(text, encoding="utf-8")
            return "file", ""
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            if block.language == "python":
                exec(compile(text, f"{page}:{block.line}", "exec", dont_inherit=True), names)
            else:
                _run_commands(block, text, out, short=short)
    except (Exception, SystemExit) as error:  # noqa: BLE001  (a block may raise anything, and the page says what)
        return "failed", f"{out.getvalue()}\n{type(error).__name__}: {error}"
    return "run", out.getvalue()


def _run_commands(block: Block, text: str, out: io.StringIO, *, short: bool) -> None:
    from experiments.cli import run_command

    wanted = int((block.marked("exit") or ["0"])[0])
    lines = list(commands(text))
    for position, words in enumerate(lines):
        if words[0] == "panelproof":
            if short and words[1] in SERIAL and "--cluster" not in words:
                words += ["--cluster", "serial"]
            code = run_command(words[1:])
            if short and words[1:3] == ["panel", "example"]:
                import pandas as pd

                panel = Path(words[3]) / "panel.csv"
                frame = pd.read_csv(panel)
                frame[frame["city"].isin(frame["city"].unique()[::6])].to_csv(panel, index=False)
        elif words[0] == "python":
            runpy.run_path(words[1], run_name="__main__")
            code = 0
        else:
            raise ValueError(
                f"{words[0]} is neither panelproof nor python: mark the block with its reason to be skipped"
            )
        if code != (wanted if position == len(lines) - 1 else 0):
            raise ValueError(f"exit code {code} of: {' '.join(words)}")


def in_process(pages: list[Path], folder: Path, *, short: bool = True) -> list[list[Ran]]:
    """What came of each page, run by another Python in a folder of its own below `folder`; raises when one dies."""
    command = [sys.executable, str(Path(__file__)), "short" if short else "full", *map(str, pages)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=surroundings())
    if done.returncode != 0:
        raise RuntimeError(done.stdout + done.stderr)
    made = [json.loads((folder / str(number) / RESULT).read_text("utf-8")) for number in range(len(pages))]
    return [[Ran(**item) for item in page] for page in made]


def surroundings() -> Mapping[str, str]:
    """The environment of a page: this repository first, a wide plain terminal, figures without a screen."""
    own = {"PYTHONPATH": str(REPOSITORY), "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb", "MPLBACKEND": "Agg"}
    return os.environ | own | {"OPENBLAS_NUM_THREADS": "1"}


def main() -> None:
    """`python docs/build/blocks.py short|full PAGE...` runs pages, each in a fork in the folder 0, 1, ... below this.

    A fork spares the second import of all packages. What came of a page is in the file `RESULT` of its folder.
    """
    sys.path[0] = ""
    for name in ("experiments.trust.trust", "experiments.replication", "experiments.search.solve"):  # and what they use
        importlib.import_module(name)
    gc.freeze()  # a fork need not look at what is there
    for number, page in enumerate(sys.argv[2:]):
        folder = Path(str(number))
        folder.mkdir()
        child = os.fork()
        if child == 0:
            os.chdir(folder)
            ran = [result for _, result in run_page(Path(page), short=sys.argv[1] == "short")]
            Path(RESULT).write_text(json.dumps([vars(result) for result in ran]), encoding="utf-8")
            sys.stdout.flush()
            os._exit(0)
        if os.waitpid(child, 0)[1] != 0:
            sys.exit(f"the process of {page} died")


if __name__ == "__main__":
    main()
