"""Tables in Chinese: their words and sentences by the vocabulary in chinese.toml, names of variables as they are."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import cache, partial
from importlib.resources import files

from results.tables.journal_table import JournalTable
from results.tables.records import Document
from results.tables.typography import NumberCell

PLACES = {  # what they hold, where it is not any text
    **dict.fromkeys(("number", "start", "end"), "[-0-9.,e]+"),
    "opening": r"Standard errors in brackets,|(?:t statistics|p values|95% intervals) in brackets; standard errors",
}
PLACE = re.compile(r"\\\{(\w+)\\\}")
ERRORS = re.compile(r" \(((?!\d+\))(?:[^()]|\([^()]*\))+)\)")  # in brackets behind stars
OPENING = ("standard errors", "t statistics", "p values", "95% intervals", "brackets hold")  # of notes on columns
OF_COLUMNS = ("columns", "column", "none", "Pooled OLS", "Random effects", "Fixed effects",
              "test of equal effects")  # words in a list of columns  # fmt: skip
Templates = tuple[tuple[re.Pattern[str], str], ...]


def wording(document: Document) -> Callable[[str], str]:
    """What writes a word or a sentence of the program in the language of a document."""
    names = names_of(document)

    def said(text: str) -> str:
        found = sentence(text, names)
        return found if found != text else chinese(text, names)

    return said if document.style.language == "zh" else str


def notes_of(document: Document) -> tuple[str, ...]:
    """A document's notes in its language; those that the vocabulary does not hold stay as they are."""
    names = names_of(document) if document.style.language == "zh" else None
    return document.notes if names is None else tuple(sentence(note, names) for note in document.notes)


def in_language(table: JournalTable, document: Document) -> JournalTable:
    """A table in Chinese; what the user called something keeps its name."""
    names = names_of(document)
    said = partial(chinese, names=names)
    columns = (replace(one, label=said(one.label), group=said(one.group)) for one in table.columns)
    rows = (
        replace(
            row,
            label=said(row.label),
            cells=tuple(cell if isinstance(cell, NumberCell) else chinese(cell) for cell in row.cells),
        )
        for row in table.rows
    )
    notes = tuple(sentence(note, names) for note in table.notes)
    return replace(table, title=said(table.title), columns=tuple(columns), rows=tuple(rows), notes=notes, word="表",
                   more="（续）")  # fmt: skip


def names_of(document: Document) -> frozenset[str]:
    """What the user has called variables, columns and W, groups and units."""
    facts = document.panel
    own = (facts.get(name) for name in ("outcome", "treatment_column", "unit", "period", "weight"))
    mediators = (record.mediator for record in document.records)
    groups = (part for record in document.records for part in re.split(" = | less ", record.sample)[1:])
    units = (one.term for one in document.statistics if one.name in ("unit_weight", "local_i"))
    return frozenset(str(name) for name in (*own, *facts.get("controls", ()), *facts.get("weights", ()), *mediators,
                                            *groups, *units, *document.style.labels.values()) if name)  # fmt: skip


def chinese(text: str, names: Collection[str] = ()) -> str:
    """A label in Chinese; one that the vocabulary does not hold, and a name, as they are."""
    body = text.strip()
    start = text[: len(text) - len(text.lstrip())]
    if not body or body in names:
        return text
    words, labels, *_ = _vocabulary()
    return start + (words.get(body) or _filled(body, labels, names) or body)


def sentence(text: str, names: Collection[str] = ()) -> str:
    """A note in Chinese; one that the vocabulary does not hold as it is."""
    words, _, sentences, _ = _vocabulary()
    if said := words.get(text) or _filled(text, sentences, names):
        return said
    columns, _, note = text.partition(": ")
    named = _columns(columns, names) if re.search(r"\(\d+\)", columns) else words.get(columns)  # a test has no number
    if named and note.startswith(OPENING):
        whole = note if note.startswith(("t ", "p ")) else note[0].upper() + note[1:]
        return f"{named}：{sentence(whole, names)}"
    return text


def _filled(text: str, templates: Templates, names: Collection[str]) -> str:
    """A text by the first template that it fits, its parts in their turn; "" where it fits none."""
    for pattern, said in templates:
        if found := pattern.fullmatch(text):
            return said.format(**{name: _part(name, part, names) for name, part in found.groupdict().items()})
    return ""


def _part(name: str, text: str, names: Collection[str]) -> str:
    if name in ("raw", "number"):
        return text
    if name == "items":
        for pattern, said in _vocabulary()[3]:
            text = pattern.sub(re.sub(r"\{(\w+)\}", r"\\g<\1>", said), text)
        return text
    if name == "columns":
        return _columns(text, names)
    return "；".join(chinese(part, names) for part in text.split("; ")) if name == "list" else chinese(text, names)


def _columns(text: str, names: Collection[str]) -> str:
    """Columns by their numbers, with the words beside them, and error types in brackets."""
    words, *_ = _vocabulary()
    text = ERRORS.sub(lambda found: f"（{' / '.join(chinese(one, names) for one in found[1].split(' / '))}）", text)
    for word in OF_COLUMNS:
        text = re.sub(rf"\b{word}\b", words[word], text)
    return text.replace(") to (", ")至(").replace("; ", "；")


@cache
def _vocabulary() -> tuple[dict[str, str], Templates, Templates, Templates]:
    """Words; labels, sentences and parts of lists as patterns, those with most letters of their own first."""
    held = tomllib.loads(files("results.tables").joinpath("chinese.toml").read_text(encoding="utf-8"))
    made: list[Templates] = []
    for name in ("labels", "sentences", "lists"):
        ordered = sorted(held[name].items(), key=lambda pair: -len(re.sub(r"\{\w+\}", "", pair[0])))
        patterns = [PLACE.sub(lambda found: f"(?P<{found[1]}>{PLACES.get(found[1], '.+?')})", re.escape(english))
                    for english, _ in ordered]  # fmt: skip
        made.append(tuple((re.compile(pattern), said) for pattern, (_, said) in zip(patterns, ordered, strict=True)))
    labels, sentences, lists = made
    return held["words"], labels, sentences, lists
