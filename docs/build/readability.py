"""Sentences that a second-language reader would read twice: `python docs/build/readability.py [PAGE...]`.

It prints, longest first, the sentences with more than 30 words of the documents and of the help of the command line.
Code, tables, pictures and what commands printed are left out. A clause after a colon or semicolon counts as the same
sentence.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
MOST = 30
FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
NOT_PROSE = re.compile(r"^ *(\||#|!\[|<!--|    \S).*$", re.MULTILINE)
ITEM = re.compile(r"^ *(?:[-*]|\d+\.) +", re.MULTILINE)
LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
CODE = re.compile(r"`[^`]*`")
END = re.compile(r"(?<=[.?!])[\"')*]*\s+(?=[A-Z0-9*`\"(])|\n\s*\n")
SHORT_FOR = re.compile(r"\b(e\.g|i\.e|cf|vs|et al|eq|p|s\.e|MC err)\.(?=\s)")


def sentences(text: str) -> Iterator[str]:
    """The sentences of the prose of a Markdown page."""
    prose = NOT_PROSE.sub("\n", FENCE.sub("\n", text))
    prose = CODE.sub("CODE", LINK.sub(r"\1", ITEM.sub("\n\n", prose)))
    for sentence in END.split(SHORT_FOR.sub(r"\1", prose)):
        if words := " ".join(sentence.split()):
            yield words


def helps() -> Iterator[tuple[str, str]]:
    """The help of every command and option, by its path."""
    import click

    from experiments.cli import COMMANDS
    from experiments.cli import panelproof as program

    def below(command: click.Command, path: str) -> Iterator[tuple[str, str]]:
        yield path, command.help or ""
        for item in command.params:
            yield f"{path} {item.opts[0]}", getattr(item, "help", "") or ""
        if isinstance(command, click.Group):
            for name, one in command.commands.items():
                yield from below(one, f"{path} {name}")

    for name in COMMANDS:
        command = program.get_command(click.Context(program), name)
        assert command is not None
        yield from below(command, name)


def pages() -> list[Path]:
    """The English pages that are written by hand."""
    found = [*REPOSITORY.glob("README.md"), *(REPOSITORY / "docs").rglob("*.md")]
    made = (REPOSITORY / "docs" / "reference", REPOSITORY / "docs" / "studies")
    return sorted(page for page in found if "zh-CN" not in page.name and page.parent not in made)


def main() -> None:
    """Print the long sentences with where they stand."""
    sys.path.insert(0, str(REPOSITORY))
    named = [Path(name).resolve() for name in sys.argv[1:]]
    texts = [(str(page.relative_to(REPOSITORY)), page.read_text("utf-8")) for page in named or pages()]
    if not named:
        texts += helps()
    found = [(len(one.split()), where, one) for where, text in texts for one in sentences(text)
             if len(one.split()) > MOST]  # fmt: skip
    for count, where, sentence in sorted(found, reverse=True):
        print(f"{count:3} {where}: {sentence}")
    print(f"{len(found)} sentences with more than {MOST} words, of {sum(len(list(sentences(t))) for _, t in texts)}")


if __name__ == "__main__":
    main()
