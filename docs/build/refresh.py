"""Run pages in full and put what they printed and drew into them: `python docs/build/refresh.py [PAGE...]`.

Without pages it takes every page that shows an output or a picture. A block of text below `<!-- output -->` becomes
what the block before it printed (`output: 7 from Table 2`: seven lines from the first on that begins so), and
`<!-- picture: FILE => images/NAME -->` copies a file.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import blocks

DOCS = blocks.REPOSITORY / "docs"
SHOWN = ("output", "picture")


def refreshed(text: str, ran: list[blocks.Ran]) -> str:
    """The page with its outputs as they were printed; `ran` is what came of its blocks."""
    printed = {result.line: result.printed for result in ran}
    lines, before = text.splitlines(), ""
    changes = []
    for block in blocks.blocks_of(text):
        if block.kind in ("run", "same"):
            before = printed[block.line]
        elif block.kind == "output":
            changes.append((block.line, block.last - 1, part(before, block.marked("output")[0])))
    for first, last, shown in reversed(changes):
        lines[first:last] = shown
    return "\n".join(lines) + "\n"


def part(printed: str, which: str) -> list[str]:
    """Lines of an output: all of them, or N from the first line on that begins with a text ("N from TEXT").

    Raises ValueError when no line begins with it.
    """
    lines = [line.rstrip() for line in printed.strip("\n").splitlines()]
    if not which:
        return lines
    count, _, beginning = which.partition(" from ")
    starts = [position for position, line in enumerate(lines) if line.startswith(beginning)]
    if not starts:
        raise ValueError(f"no line of the output begins with {beginning!r}")
    return lines[starts[0] : starts[0] + int(count)]


def copy_pictures(text: str, folder: Path) -> None:
    """Copy the files that the blocks of a page wrote into `folder` to where the page shows them."""
    for block in blocks.blocks_of(text):
        for mark in block.marked("picture"):
            source, _, target = mark.partition(" => ")
            (DOCS / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / source, DOCS / target)


def shows(page: Path) -> bool:
    """Whether a page shows an output or a picture."""
    found = blocks.blocks_of(page.read_text(encoding="utf-8"))
    return any(block.marked(mark) for block in found for mark in SHOWN)


def refresh(page: Path) -> None:
    """Run a page in full and write it again; exits with what failed."""
    text = page.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        (ran,) = blocks.in_process([page], Path(folder), short=False)
        if failed := [result for result in ran if result.kind == "failed"]:
            sys.exit(f"{page}:{failed[0].line}: {failed[0].printed}")
        copy_pictures(text, Path(folder) / "0")
    page.write_text(refreshed(text, ran), encoding="utf-8")
    print(f"{page.relative_to(blocks.REPOSITORY)}: {sum(result.seconds for result in ran):.0f} s")


def main() -> None:
    """Refresh the pages that are named, or all that show an output or a picture."""
    named = [Path(name).resolve() for name in sys.argv[1:]]
    for page in named or filter(shows, blocks.pages()):
        refresh(page)


if __name__ == "__main__":
    main()
