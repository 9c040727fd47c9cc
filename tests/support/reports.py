"""Reports of a diagnosis as text: what the terminal prints, and the tables of a page."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from typing import Any

from rich.console import Console

from results.diagnosis.diagnose import Diagnosis
from results.report.grids import ReportFacts
from results.report.terminal import print_bias_table


def printed(diagnosis: Diagnosis, width: int = 400, facts: ReportFacts | None = None, *, terminal: bool = False,
            full: bool = True, **options: Any) -> str:  # fmt: skip
    """What the bias report prints without colours; terminal: at no more than its width."""
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=terminal, color_system=None, highlight=False)
    print_bias_table(diagnosis, console, facts or ReportFacts("toy"), full=full, **options)
    assert console.width == width
    return out.getvalue()


def tables_of(page: str) -> list[tuple[str, list[list[str]]]]:
    """The caption of each table of a page, and its rows as text."""
    tables = [ET.fromstring(text) for text in re.findall(r"<table.*?</table>", page, flags=re.S)]
    return [("".join(caption.itertext() if (caption := table.find("caption")) is not None else ()),
             [["".join(cell.itertext()).strip() for cell in row] for row in table.iter("tr")])
            for table in tables]  # fmt: skip


class Outline(HTMLParser):
    """Ids, attributes and text of a page; fails on a tag that is closed out of turn."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.ids: list[str] = []
        self.words: list[str] = []
        self.attributes: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in {"meta", "link", "br", "hr", "img", "input"}:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def outline(page: str) -> Outline:
    """A page, all tags of which are closed."""
    parser = Outline()
    parser.feed(page)
    parser.close()
    assert parser.stack == []
    return parser
