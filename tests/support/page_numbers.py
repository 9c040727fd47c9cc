"""Numbers that a page shows, and whether data hold them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from typing import Any

NUMBER = re.compile(r"(?<![\w.])[−-]?\d[\d,]*(?:\.\d+)?(?:e[+-−]?\d+)?%?")
SILENT = {"style", "svg", "script"}


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.depth, self.parts = 0, list[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.depth += tag in SILENT

    def handle_endtag(self, tag: str) -> None:
        self.depth -= tag in SILENT

    def handle_data(self, data: str) -> None:
        if not self.depth:
            self.parts.append(data)


def text_of(page: str) -> str:
    """The words of a page without its figures."""
    reader = _Text()
    reader.feed(page)
    return " ".join(" ".join(reader.parts).split())


def numbers_in(text: str) -> list[str]:
    """Every number as it is written."""
    return NUMBER.findall(text)


def values_in(held: Any) -> Iterator[float]:
    """Every number of data; texts are left out."""
    if isinstance(held, Mapping):
        for value in held.values():
            yield from values_in(value)
    elif isinstance(held, list | tuple):
        for value in held:
            yield from values_in(value)
    elif isinstance(held, int | float) and not isinstance(held, bool):
        yield float(held)


def is_shown(written: str, values: list[float]) -> bool:
    """Whether a written number is one of the values, rounded to its digits."""
    plain = written.replace("−", "-").replace(",", "")
    scale = 0.01 if plain.endswith("%") else 1.0
    body = plain.rstrip("%")
    number, mantissa = float(body) * scale, body.partition("e")[0]
    unit = 10.0 ** -len(mantissa.partition(".")[2]) * scale
    unit *= 10.0 ** int(body.partition("e")[2]) if "e" in body else 1.0
    return any(abs(abs(value) - abs(number)) <= 0.5001 * unit for value in values)
