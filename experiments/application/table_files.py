"""The files of `panelproof estimate`: numbers, tables in several formats, figures; all of them or none."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from results.tables.journal_table import JournalTable
from results.tables.records import Document
from results.tables.terminal import journal_tables
from results.tables.word import check_word
from sim.errors import bad, one_of

FORMATS = {"json": "estimates.json", "html": "tables.html", "tex": "tables.tex", "docx": "tables.docx"}


def check_formats(text: str, folder: Path | None = None) -> tuple[str, ...]:
    """The formats of a comma-separated list, JSON always first.

    Raises BadInput for one that is not written or cannot be here, and for tables without a folder to hold them.
    """
    chosen = tuple(dict.fromkeys(part.strip().lower() for part in text.split(",") if part.strip()))
    unknown = [part for part in chosen if part not in FORMATS]
    if unknown or not chosen:
        raise bad(f"format {one_of(unknown) if unknown else repr(text)}", where="--format", allowed=one_of(FORMATS),
                  remedy="choose among them")  # fmt: skip
    if folder is None and set(chosen) != {"json"}:
        raise bad("--format without --out", where="--format", allowed="a folder for the files", remedy="add --out DIR")
    if "docx" in chosen:
        check_word()
    return tuple(dict.fromkeys(("json", *chosen)))


def write_files(
    document: Document, folder: str | Path, formats: Sequence[str], errors: str | None = None
) -> list[Path]:
    """Write estimates.json, tables.html, tables.tex, tables.docx as asked, and each figure as NAME.svg, into FOLDER.

    Every file is made before the first is put in place; raises BadInput when the folder cannot be written.
    """
    folder = Path(folder)
    tables = journal_tables(document, errors)
    files = {FORMATS[name]: _content(name, document, tables) for name in formats}
    files |= {f"{figure.name}.svg": figure.svg.encode() for figure in document.figures}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _put(folder, files)
    except OSError as error:
        raise bad(f"cannot be written: {error.strerror}", where=str(folder), allowed="a writable folder",
                  remedy="choose another --out") from error  # fmt: skip
    return [folder / name for name in files]


def _content(name: str, document: Document, tables: Sequence[JournalTable]) -> bytes:
    if name == "html":
        from results.tables.html import html_tables

        return html_tables(document, tables).encode()
    if name == "tex":
        from results.tables.latex import latex_tables

        return latex_tables(document, tables).encode()
    if name == "docx":
        from results.tables.word import word_tables

        return word_tables(document, tables)
    return document.to_json().encode()


def _put(folder: Path, files: Mapping[str, bytes]) -> None:
    """All files beside their places first, then each into its place; nothing is left behind when one fails."""
    waiting: dict[str, str] = {}
    try:
        for name, content in files.items():
            with tempfile.NamedTemporaryFile("wb", dir=folder, suffix=".partial", delete=False) as file:
                waiting[name] = file.name
                file.write(content)
            os.chmod(file.name, 0o644)
        if taken := [name for name in files if (folder / name).is_dir()]:
            raise IsADirectoryError(errno.EISDIR, f"{taken[0]} is a folder")
        for name in list(waiting):
            os.replace(waiting[name], folder / name)
            del waiting[name]
    finally:
        for path in waiting.values():
            Path(path).unlink(missing_ok=True)
