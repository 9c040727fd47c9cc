"""The tables of a document as one HTML page that needs nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence

from markupsafe import Markup

from results.page import SYNTHETIC, page
from results.tables.chinese import notes_of, wording
from results.tables.journal_table import JournalTable, TableFormat, TableSetting
from results.tables.records import INFORMS, OVERTURNS, WEAKENS, Document, Figure, heading, spoken
from results.tables.typography import split_stars, with_minus
from sim.errors import amount

FACTS = {
    "outcome": "outcome",
    "treatment_column": "treatment",
    "units": "units",
    "periods": "periods",
    "nobs": "rows",
    "digest": "digest of the panel",
}
SIGNS = {OVERTURNS: "against", WEAKENS: "weakens", INFORMS: "note"}  # words before a warning, and its class
_SCRIPT = re.compile(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>", re.DOTALL)


def html_tables(
    document: Document, tables: Sequence[JournalTable], errors: str | None = None, picture: str = ""
) -> str:  # fmt: skip
    """The main effect, tables in the order given, figures, the panel's facts and the document's notes; no scripts, no
    other files. errors: the error type of the tables; picture: the element of a page that stands under the effect.
    """
    facts, said = document.panel, wording(document)
    treatment = TableSetting(document).treatment_name
    outcome = document.style.name(facts.get("outcome"))
    span = f"{facts.get('first_period')} to {facts.get('last_period')}"
    counted = [f"{facts[name]:,} {name}" for name in ("units", "periods") if facts.get(name) is not None]
    numbered = [(f"t{number}", table) for number, table in enumerate(tables, start=1)]
    pages = page("results.tables", minus=with_minus, cell=_cell, said=said)
    return pages.get_template("tables.html").render(
        title=said(f"{outcome} on {treatment}") if treatment else outcome,
        size=said(", ".join([*counted, span])),
        statement=said(SYNTHETIC if facts.get("synthetic") else "Estimates on the user's own panel."),
        headline=said(TableSetting(document, errors).headline),
        language=document.style.language,
        picture=Markup(picture),  # made by results.plots.chart, which escapes what it is given
        tables=[(anchor, table) for anchor, table in numbered if not table.appendix],
        appendix=[(anchor, table) for anchor, table in numbered if table.appendix],
        figures=[_picture(figure) for figure in document.figures],
        facts=[(label, facts[name]) for name, label in FACTS.items() if facts.get(name) is not None],
        span=said(span),
        controls=facts.get("controls", ()),
        weights=facts.get("weights", {}),
        before=said(heading(document.warnings)) if document.warnings else "",
        warnings=[(SIGNS[one.severity], one.sentence) for one in spoken(document.warnings)],
        silent=[one.sentence for one in document.warnings if not one.severity],
        notes=notes_of(document),
        failed=said(f"{amount(document.failed, 'fit')} gave no column; the notes say which and why.")
        if document.failed else "",
    )  # fmt: skip


def _cell(text: str) -> tuple[str, str]:
    """A cell's text without its stars, and the stars."""
    body, stars = split_stars(text)
    return with_minus(body), stars


def _picture(figure: Figure) -> dict[str, str]:
    """A figure with its SVG ready for a page: without XML declaration and metadata; ids carry the figure's name, in
    letters that an id may have, so that two figures do not share one."""
    prefix = "".join(letter if letter.isalnum() else "-" for letter in figure.name)
    foreign = re.compile(rf'\b(id="|url\(#|href="#)(?!{prefix}-)')
    svg = foreign.sub(lambda found: f"{found[0]}{prefix}-", _SCRIPT.sub("", figure.svg)).strip()
    if 'role="img"' not in svg.partition(">")[0]:
        svg = svg.replace("<svg ", f'<svg role="img" aria-labelledby="{prefix}-says" ', 1)
    return {"name": prefix, "title": figure.title, "caption": figure.caption, "svg": Markup(svg)}


FORMATS = (
    TableFormat("html", "tables.html", lambda document, tables, errors, picture: html_tables(
        document, tables, errors, picture()).encode()),
)  # fmt: skip
