"""[output]: which tables are printed, labels, stars, brackets, digits; the effect above all tables."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise

import pytest
from known_tables import ASKED, known_document
from rich.console import Console
from table_parsers import Printed, from_html

from experiments.estimation import check_tables
from experiments.tables.ledger import journal_tables
from results.plots.specification_curve import effect_chart
from results.tables.html_tables import html_tables
from results.tables.journal_table import JournalTable, TableSetting
from results.tables.records import PLAIN, Document, Record, Style
from results.tables.terminal_tables import print_estimates
from sim.errors import BadInput

STYLES = {
    "t": Style(brackets="t"), "p": Style(brackets="p", stars=()), "ci": Style(brackets="ci", digits=2),
    "levels": Style(stars=(0.05, 0.01), digits=6),
}  # fmt: skip
LABELS = {"park": "Eco-park", "growth": "GDP", "rain": "Rainfall", "fdi": "Foreign capital", "income": "Wealth"}


@cache
def known() -> Document:
    return known_document(ASKED["usual"][1])


def tables_in(style: Style) -> tuple[JournalTable, ...]:
    return journal_tables(replace(known(), style=style))


def by_texts() -> dict[tuple[str, str], Record]:
    """Records by the estimate and the standard error that a table prints in the usual style."""
    return {(f"{one.estimate:.4f}", f"({one.se:.4f})"): one for one in known().records
            if one.estimate is not None and one.se is not None}  # fmt: skip


def with_below(table: Printed) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """Labelled rows, each with the cells of the row without a label under it."""
    lines = [(label, cells) for label, cells in table.lines if cells is not None]
    return [(label, cells, under if not below_label else ("",) * len(cells))
            for (label, cells), (below_label, under) in pairwise([*lines, ("end", ())]) if label]  # fmt: skip


def below(record: Record, style: Style) -> str:
    """What stands in brackets, from the record alone."""
    if style.brackets == "ci":
        return f"[{record.lower:.{style.digits}f}, {record.upper:.{style.digits}f}]"
    if record.term == "proportion" and style.brackets != "se":
        return ""
    if style.brackets == "p":
        p = record.pvalue
        return "" if p is None else "(<0.0001)" if p < 0.00005 else f"({p:.4f})"
    if style.brackets == "t":
        return "" if record.statistic is None else f"({record.statistic:,.3f})"
    return f"({record.se:.{style.digits}f})"


def marks(record: Record, style: Style) -> str:
    if record.pvalue is None or record.term in ("sigma2", "proportion"):
        return ""
    return "*" * sum(record.pvalue < level for level in style.stars)


@pytest.mark.parametrize("name", STYLES)
def test_every_estimate_has_the_brackets_digits_and_stars_that_are_asked_for(name: str) -> None:
    """Read back from the page, beside the record that the usual table shows in the same place."""
    style, records, seen = STYLES[name], by_texts(), 0
    usual = from_html(html_tables(known(), tables_in(PLAIN)))
    asked = from_html(html_tables(replace(known(), style=style), tables_in(style)))
    for one, other in zip(usual, asked, strict=True):
        for (label, cells, under), (own, written, beneath) in zip(with_below(one), with_below(other), strict=True):
            assert (one.caption, label) == (other.caption, own)
            for cell, error, text, bracket in zip(cells, under, written, beneath, strict=True):
                record = records.get((cell.rstrip("*"), error))
                if record is not None:
                    seen += 1
                    starred = "" if one.caption.startswith("Table T.") else marks(record, style)
                    assert text == f"{record.estimate:.{style.digits}f}{starred}", (label, record)
                    assert bracket == below(record, style), (label, record)
    assert seen > 400


def test_notes_say_what_brackets_and_stars_are() -> None:
    said = {
        name: " ".join(note for table in tables_in(style) for note in table.notes) for name, style in STYLES.items()
    }
    assert "t statistics in brackets; standard errors clustered by unit" in said["t"]
    assert "p values in brackets" in said["p"]
    assert "95% intervals in brackets" in said["ci"]
    assert not any("Standard errors in brackets" in said[name] for name in ("t", "p", "ci"))
    assert "** p < 0.01, * p < 0.05." in said["levels"]
    assert "***" not in said["levels"]
    assert "* p <" not in said["p"]
    assert "stars of park depend" not in said["p"]


def test_labels_stand_in_place_of_names_everywhere() -> None:
    tables = tables_in(Style(labels=LABELS))
    for table, usual in zip(tables, tables_in(PLAIN), strict=True):
        said = [table.title, *(text for one in table.columns for text in (one.group, one.label)),
                *(row.label for row in table.rows if table.name != "T"), *table.notes]  # fmt: skip
        words = {word.strip(".,:;()") for text in said for word in text.split()}
        assert not words & {"park", "growth", "rain", "fdi", "DID,"}, table.caption
        assert [row.cells for row in table.rows] == [row.cells for row in usual.rows]
    assert "Effect of Eco-park on GDP" in TableSetting(replace(known(), style=Style(labels=LABELS))).headline
    assert tables_in(Style(labels={"did": "Eco-park"}))[1].title == "Regressions of growth on Eco-park"


def test_the_effect_in_a_sentence_is_that_of_table_2() -> None:
    one = next(r for r in known().records
               if (r.place, r.model, r.term, r.se_type) == (("2", 5), "did", "did", "cluster:unit"))  # fmt: skip
    said = TableSetting(known()).headline
    ends = f"{one.lower:.4f} to {one.upper:.4f}"
    assert said == (f"Effect of park on growth: {one.estimate:.4f}, 95% interval {ends}, "
                    f"p = {one.pvalue:.4f} (two-way fixed effects with controls; errors: "
                    "clustered by unit).")  # fmt: skip
    other = TableSetting(known(), "hc1").headline
    assert "errors: heteroskedasticity-robust (HC1)" in other
    chart = effect_chart(known())
    assert chart is not None
    (filled,) = [point for point in chart.panels[0].points if point.clear]
    assert (filled.value, filled.low, filled.high) == (one.estimate, one.lower, one.upper)
    assert [text for _, text in chart.places.ticks][-1] == "(5) controls, both effects"
    assert TableSetting(Document({**known().panel, "treatment": None}, known().records)).headline == ""


def shown(document: Document, tables: Sequence[JournalTable], names: Sequence[str] = ()) -> str:
    file = io.StringIO()
    console = Console(file=file, width=80, color_system=None, highlight=False)
    print_estimates(document, tables, console, None, names)
    return " ".join(file.getvalue().split())


def test_a_terminal_shows_the_effect_then_the_tables_that_are_asked_for() -> None:
    document = replace(known(), notes=("Table 5: of interest.", "For all."))
    text = shown(document, tables_in(PLAIN))
    assert text.startswith("Effect of park on growth: ")
    assert "Table 2. Regressions" in text
    assert "Table T." in text
    assert "Table 7" not in text
    assert "more tables: 1, 3, 4, 5, 6a" in text
    assert "Table 5: of interest." not in text
    assert "For all." in text
    assert "Neither panel" not in text
    text = shown(document, tables_in(PLAIN), ["7", "A1", "9", "11"])
    assert "Neither panel nor spec gives a table 9, 11." in text
    assert "Table 7a." in text
    assert "Table 7h." in text
    assert "Table A1." in text
    assert "Table 2." not in text
    assert "Table 7b." not in shown(document, tables_in(PLAIN), ["7A"])
    assert "Table 1." in shown(document, [table for table in tables_in(PLAIN) if table.name == "1"])


def test_only_the_tables_of_the_style_are_made() -> None:
    names = [table.name for table in tables_in(Style(tables=("7", "1")))]
    assert names == ["1", *(f"7{letter}" for letter in "abcdefgh")]


def test_a_table_that_no_panel_has_is_refused_by_name() -> None:
    assert check_tables("2, 7b,a3,S2") == ("2", "7b", "a3", "S2")
    assert check_tables("C2,c3") == ("C2", "c3")  # weights beside table C
    assert check_tables(None) == ()
    for text in ("9", "two", "", "Q2"):
        with pytest.raises(BadInput, match="--tables"):
            check_tables(text)
