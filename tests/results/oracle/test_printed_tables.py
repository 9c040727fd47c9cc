"""Every table in every format: printed from distinct known numbers, read back, held to tables that were approved; and
the warnings before them, each found once and in its order.

The approved tables stand in tests/data/tables: those of the usual way of asking whole, of every other way those that
differ, or their notes where these alone do. `python tests/results/oracle/test_printed_tables.py` writes them anew; a
change that is meant shows in them.
"""

from __future__ import annotations

import io
import json
import re
import sys
import textwrap
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from html import unescape
from itertools import pairwise
from pathlib import Path

import pytest
import table_parsers as parsers
from known_tables import ASKED, UNBALANCED, known_document
from rich.console import Console

from experiments.estimation import warnings_text
from experiments.tables.ledger import journal_tables, layouts
from results.plots.specification_curve import curve_figure
from results.tables.html_tables import html_tables
from results.tables.journal_table import JournalTable, TableSetting
from results.tables.latex import latex_tables
from results.tables.records import Check, Document, Fit, Specification, heading, sentences, spoken
from results.tables.rtf import rtf_tables
from results.tables.terminal_tables import print_estimates
from results.tables.word import word_tables

APPROVED = Path(__file__).resolve().parents[2] / "data/tables"
WIDTHS = {"terminal": 2000, "narrow terminal": 100}
PLAIN = ("terminal", "html")  # in every way of asking; the other formats in those that change columns and notes most
PRINTED = [pytest.param(asked, kind, id=f"{asked}-{kind}") for asked in ASKED
           for kind in ("terminal", "narrow terminal", "html", "latex", "word", "rtf")
           if kind in PLAIN or asked in ("usual", "wild", "unbalanced")]  # fmt: skip
LABEL_ROOM = 30  # letters of a row's label in a terminal
NOTES = ("The first note of the document: 5% of a_b.", "The second note.")
CONTINUED = " (continued)"


def made(asked: str) -> tuple[Document, tuple[JournalTable, ...]]:
    error, facts = ASKED[asked]
    document = known_document(facts, NOTES)
    return document, journal_tables(document, error)


def text_of(table: JournalTable) -> str:
    """A table as its approved text: caption, three lines of headings, a line a row ("=" before a heading), notes."""
    heads = [(column.group, column.number, column.label) for column in table.columns]
    lines = [table.caption, *("\t".join(["", *line]) for line in zip(*heads, strict=True))]
    lines += [f"= {row.label}" if row.kind == "head" else "\t".join([row.label, *row.cells]) for row in table.rows]
    return "\n".join([*lines, f"Notes: {' '.join(table.notes)}"])


def texts_of(asked: str) -> list[str]:
    """The tables as approved texts, each under the name of its layout."""
    (document, tables), error = made(asked), ASKED[asked][0]
    names = [layout.__name__ for layout in layouts() for _ in layout(TableSetting(document, error))]
    return [f"# {name}\n{text_of(table)}" for name, table in zip(names, tables, strict=True)]


@cache
def approved(asked: str) -> tuple[tuple[str, parsers.Printed], ...]:
    """The approved tables in order, each with its layout: of another way of asking those of the usual one as well."""
    found = {} if asked == "usual" else {table.caption: (name, table) for name, table in approved("usual")}
    for block in filter(None, (APPROVED / f"{asked}.txt").read_text(encoding="utf-8").strip("\n").split("\n\n")):
        name, caption, *rest, last = block.split("\n")
        if not rest:
            found[caption] = name[2:], replace(found[caption][1], notes=last.removeprefix("Notes: "))
            continue
        heads, rows = rest[:3], rest[3:]
        split = [(row, tuple(row.split("\t"))) for row in rows]
        lines: list[parsers.Line] = [
            (row[2:], None) if row.startswith("= ") else (own[0], own[1:]) for row, own in split
        ]
        columns = tuple(zip(*(line.split("\t")[1:] for line in heads), strict=True))
        found[caption] = name[2:], parsers.Printed(caption, columns, tuple(lines), last.removeprefix("Notes: "))
    return tuple(found.values())


@cache
def printed(kind: str, asked: str) -> tuple[parsers.Printed, ...]:
    document, tables = made(asked)
    if kind in WIDTHS:
        raw = io.BytesIO()
        file = io.TextIOWrapper(raw, encoding="utf-8")
        console = Console(file=file, width=WIDTHS[kind], color_system=None, highlight=False)
        print_estimates(document, tables, console, shown=("all",))
        file.flush()
        text = raw.getvalue().decode()
        assert all(note in text for note in NOTES)
        return tuple(parsers.from_terminal(text))
    if kind == "html":
        return tuple(parsers.from_html(html_tables(document, tables)))
    if kind == "latex":
        return tuple(parsers.from_latex(latex_tables(document, tables)))
    if kind == "rtf":
        return tuple(parsers.from_rtf(rtf_tables(document, tables)))
    return tuple(parsers.from_word(word_tables(document, tables)))


def check(table: parsers.Printed, parts: list[parsers.Printed], widest_label: int | None) -> None:
    """Assert that the parts of a table together hold its heads, every cell of it, and its notes.

    widest_label: letters after which the format cuts labels of rows off, with an ellipsis in the last place.
    """
    first, blocks = 0, parsers.joined(parts)
    for block in blocks:
        columns = range(first, first + len(block.heads))
        assert block.heads == table.heads[columns.start : columns.stop]
        lines = table.lines if len(blocks) == 1 else selected(table.lines, columns)
        assert block.lines == tuple((cut(label, widest_label if cells else None), cells) for label, cells in lines)
        first = columns.stop
    assert (first, blocks[-1].notes) == (len(table.heads), parsers.plain(table.notes))


def selected(lines: tuple[parsers.Line, ...], columns: range) -> list[parsers.Line]:
    """Lines of some columns, without those of which all cells are empty and headings that nothing stands under."""
    kept = [(label, None if cells is None else tuple(cells[j] for j in columns)) for label, cells in lines]
    kept = [(label, cells) for label, cells in kept if cells is None or any(cells)]
    return [line for j, line in enumerate(kept)
            if line[1] is not None or (j + 1 < len(kept) and kept[j + 1][1] is not None)]  # fmt: skip


def cut(label: str, widest: int | None) -> str:
    label = label.rstrip()
    return parsers.plain(label if widest is None or len(label) <= widest else f"{label[: widest - 1]}…")


def in_terminal(caption: str) -> bool:
    return not caption.startswith("Table A")


@pytest.mark.parametrize(("asked", "kind"), PRINTED)
@pytest.mark.parametrize("layout", [layout.__name__ for layout in layouts()])
def test_every_cell_of_a_table(layout: str, asked: str, kind: str) -> None:
    tables = [table for name, table in approved(asked) if name == layout]
    assert tables, "approve the new table: known numbers in known_tables.py, then run this file"
    for table in tables:
        parts = [part for part in printed(kind, asked) if part.caption.removesuffix(CONTINUED) == table.caption]
        if kind in WIDTHS and not in_terminal(table.caption):
            assert not parts
            continue
        assert [part.caption.endswith(CONTINUED) for part in parts] == [False, *[True] * (len(parts) - 1)]
        check(table, parts, LABEL_ROOM if kind in WIDTHS else None)


@pytest.mark.parametrize(("asked", "kind"), PRINTED)
def test_tables_stand_in_order_and_there_are_no_others(asked: str, kind: str) -> None:
    wanted = [table.caption for _, table in approved(asked) if kind not in WIDTHS or in_terminal(table.caption)]
    assert list(dict.fromkeys(part.caption.removesuffix(CONTINUED) for part in printed(kind, asked))) == wanted


WITHOUT_STARS = ("sigma2", "proportion")


def stars(p: float | None) -> str:
    return "" if p is None or p >= 0.10 else "***" if p < 0.01 else "**" if p < 0.05 else "*"


def cells_of(asked: str) -> Iterator[tuple[str, str, str, str]]:
    for table in (table for _, table in approved(asked) if in_terminal(table.caption)):
        for (label, cells), (_, under) in pairwise([*table.lines, ("", None)]):
            for cell, below in zip(cells or (), under or [""] * len(table.heads), strict=cells is not None):
                yield table.caption, label.strip(), cell, below


@pytest.mark.parametrize("asked", ["usual", "hc1", "wild"])
def test_a_standard_error_and_stars_are_those_of_the_estimate_above(asked: str) -> None:
    """Whatever was approved."""
    document, error = made(asked)[0], ASKED[asked][0]
    estimates = {f"{record.estimate:.4f}": record for record in document.records if record.estimate is not None}
    errors = {f"({record.se:.4f})": record for record in document.records if record.se is not None}
    served: dict[Fit, set[str]] = defaultdict(set)
    for item in document.records:
        served[Fit(**item.identity)].add(item.se_type)
    wild = next(item for item in document.records if item.se_type == "wild:unit")
    bootstrap = f"[{wild.lower:.4f}, {wild.upper:.4f}]"
    found = set()
    for caption, label, cell, below in cells_of(asked):
        record, own = estimates.get(cell.rstrip("*")), errors.get(below)
        if record is None or record.table == "6":
            continue
        told, fit = (caption, label, cell, below), Fit(**record.identity)
        if own is None:
            assert (record.place, error) == (("2", 5), "wild:unit"), told
            assert below == bootstrap, told
            continue
        assert (own.identity, own.term) == (record.identity, record.term), told
        usual = {"5": "delta" if record.model == "mediation" else "cluster:unit", "C": "jackknife:unit", "I2": "delta"}
        first = usual.get(record.table, "cluster:unit")
        assert own.se_type == (error if error in served[fit] - {"wild:unit"} else first), told
        bare = record.term in WITHOUT_STARS or record.table == "T"  # whose stars stand beside p values
        assert cell == cell.rstrip("*") + stars(None if bare else own.pvalue), told
        found.add((fit, record.term))
    elsewhere = {wild.identity["place"]} if error == "wild:unit" else set()
    wanted = {(Fit(**item.identity), item.term) for item in document.records
              if item.table != "6" and item.term != "did x north" and item.estimate is not None
              and not (item.place in elsewhere and item.term == "did")}  # fmt: skip
    assert wanted == found


def test_p_values_at_the_edges_of_stars() -> None:
    """Below, not at, .01, .05 and .10."""
    (table,) = (table for name, table in approved("usual") if name == "robustness")
    assert [cell[len(cell.rstrip("*")) :] for cell in table.lines[0][1] or ()] == ["**", "*", "", "***", "**", "*"]


def test_json_holds_every_number_under_its_name() -> None:
    document = known_document(UNBALANCED, NOTES)
    found = json.loads(document.to_json())
    names = ("model", "transform", "sample", "weights", "year", "mediator", "term", "estimate", "se", "se_type",
             "statistic", "pvalue", "lower", "upper", "nobs", "units", "periods", "effects_method")  # fmt: skip
    assert found["records"] == [
        {"table": item.place[0], "column": item.place[1], **{name: getattr(item, name) for name in names}}
        for item in document.records
    ]
    assert [(item["name"], item["term"], item["value"]) for item in found["statistics"]] == [
        (item.name, item.term, item.estimate) for item in document.statistics
    ]
    assert found["notes"] == list(NOTES)
    assert [(item["table"], item["compared"], item["largest"]) for item in found["cross_check"]] == [
        (item.table, item.compared, item.largest) for item in document.cross_check
    ]


# What stands before the tables

SEVERITIES = (0, 1, 3, 2, 0, 3, 1, 2, 2, 0, 1, 3)
WORDS = {3: "against", 2: "weakens", 1: "note"}
ORDER = (2, 5, 11, 3, 7, 8, 1, 6, 10)  # by severity, then as given
WARNINGS = tuple(
    Check.fact(f"code-{i}", severity, f"Finding number {i}: the effect of {i}.25 is no longer there with 5% of a_b.",
                 "", {"estimate": 0.25 + i, "none": float("nan")})
    for i, severity in enumerate(SEVERITIES)
)  # fmt: skip
KINDS = ("terminal", "narrow", "html", "file")


def document(warnings: tuple[Check, ...] = WARNINGS) -> Document:
    return replace(known_document(notes=("A note.",)), warnings=warnings)


def words_of(kind: str, found: Document) -> str:
    """The words of a format without its marks, white space as single blanks."""
    if kind in ("terminal", "narrow"):
        raw = io.BytesIO()
        file = io.TextIOWrapper(raw, encoding="utf-8")
        width = 300 if kind == "terminal" else 60
        console = Console(file=file, width=width, color_system=None, highlight=False)
        print_estimates(found, journal_tables(found), console, shown=("all",))
        file.flush()
        text = raw.getvalue().decode()
    elif kind == "html":
        page = html_tables(found, journal_tables(found))
        text = unescape(re.sub(r"<[^>]*>", " ", page[page.index("<main") :]))
    elif kind == "file":
        text = warnings_text(found).replace("\n- ", "\n")
    elif kind == "latex":
        text = latex_tables(found, journal_tables(found)).replace(r"\%", "%").replace(r"\_", "_").replace(r"\item", " ")
    else:
        package = zipfile.ZipFile(io.BytesIO(word_tables(found, journal_tables(found))))
        text = unescape(re.sub(r"<[^>]*>", " ", package.read("word/document.xml").decode()))
    return re.sub(r"\s+", " ", text)


def shown_in(kind: str) -> tuple[int, ...]:
    """Which warnings a format must show: all, and in a narrow terminal those that fit into 14 lines."""
    if kind != "narrow":
        return ORDER
    lines, fit = 0, []
    for i in ORDER:
        lines += len(textwrap.wrap(f"- {WARNINGS[i].sentence}", 60))
        if lines <= 14:
            fit.append(i)
    return tuple(fit)


@pytest.mark.parametrize("kind", KINDS)
def test_warnings_stand_before_the_tables_most_serious_first(kind: str) -> None:
    text = words_of(kind, document())
    first_table = len(text) if kind == "file" else text.index("Table 1. ")
    assert text.index("Before the tables: 9 warnings, the most serious first (3 checks found nothing)") < first_table
    places = [text.find(WARNINGS[i].sentence) for i in shown_in(kind)]
    assert -1 not in places
    assert places == sorted(places)
    assert places[-1] < first_table
    for i in set(range(len(WARNINGS))) - set(shown_in(kind)):
        said = text.count(WARNINGS[i].sentence)
        assert said == (1 if kind in ("html", "file") and SEVERITIES[i] == 0 else 0)
    assert ("more: see warnings.md, which --out writes." in text) == (kind == "narrow")
    if kind == "narrow":
        assert f"{len(ORDER) - len(shown_in(kind))} more: see warnings.md, which --out writes." in text
    if kind == "html":
        for i in ORDER:
            assert f"{WORDS[SEVERITIES[i]]} {WARNINGS[i].sentence}" in text


@pytest.mark.parametrize("kind", [*KINDS, "latex", "word"])
def test_silence_is_said(kind: str) -> None:
    """And nothing where nothing was checked; what is sent to a journal holds no warnings."""
    assert "Before the tables" not in words_of(kind, document(()))
    silent = tuple(warning for warning in WARNINGS if not warning.severity)
    if kind in KINDS:
        assert "Before the tables: no warnings (3 checks found nothing)" in words_of(kind, document(silent))
    else:
        assert not re.search("Before the tables|Finding number", words_of(kind, document()))


def test_json_has_every_check() -> None:
    plain = json.loads(document().to_json())["warnings"]
    first = ("code", "severity", "sentence", "numbers")
    assert [{name: one[name] for name in first} for one in plain] == [
        {"code": f"code-{i}", "severity": severity, "sentence": WARNINGS[i].sentence,
         "numbers": {"estimate": 0.25 + i, "none": None}}
        for i, severity in enumerate(SEVERITIES)
    ]  # fmt: skip
    one = (WARNINGS[2], WARNINGS[0])
    assert heading(one) == "Before the tables: 1 warning (1 check found nothing)"
    assert (sentences(one), spoken(one)) == ((WARNINGS[2].sentence,), (WARNINGS[2],))
    answers = ("consistent", "cannot tell", "cannot tell", "contradicts")
    assert [one["answer"] for one in plain] == [answers[severity] for severity in SEVERITIES]
    assert all(one["difference"] is None for one in plain)


def test_the_curve_shows_every_specification_with_its_numbers() -> None:
    ways = [
        Specification("effects", "trends", 0.25, "hc1", 0.04, 0.01, 0.49),
        Specification("controls", "no controls", -0.5, "hc1", 0.01, -0.9, -0.1),
        Specification("errors", "errors iid", 0.75, "iid", 0.08, float("nan"), float("nan")),
        Specification("left out", "without east", 0.5, "hc1", 0.3, -0.4, 1.4),
    ]
    figure = curve_figure(ways, 0.75, "jobs")
    assert figure.title == "Effect on jobs in 4 specifications"
    assert "Of 4, 3 have its sign, 1 of them are significant at 5% (filled) and 2 at 10%" in figure.caption
    titles = re.findall(r'id="specification-curve-way-(\d)"><title>([^<]*)</title>', figure.svg)
    assert titles == [
        ("0", "no controls: \N{MINUS SIGN}0.5, p = 0.010 (hc1)"), ("1", "trends: 0.25, p = 0.040 (hc1)"),
        ("2", "without east: 0.5, p = 0.300 (hc1)"), ("3", "errors iid: 0.75, p = 0.080 (iid)"),
    ]  # fmt: skip
    for words in ("error type", "other effects", "controls", "left out"):
        assert f">{words}</text>" in figure.svg
    assert "sample (tables" not in figure.svg
    assert figure.svg.count("stroke-opacity: 0.55") == 3  # intervals, which one of them has not
    assert figure.svg == curve_figure(ways, 0.75, "jobs").svg
    assert "cuts" not in figure.caption
    many = [replace(ways[0], lower=-0.01 * k, upper=0.5 + 0.01 * k) for k in range(60)]  # 2% of ends on either side
    cut = curve_figure([*many, replace(ways[0], lower=-9.0)], 0.75, "jobs").caption
    assert "The picture cuts 1 interval that" in cut


def write() -> None:
    usual = texts_of("usual")
    cells = {text.rpartition("\n")[0] for text in usual}
    for asked in ASKED:
        texts = usual if asked == "usual" else [text for text in texts_of(asked) if text not in usual]
        for at, text in enumerate(texts if asked != "usual" else ()):
            name, caption, *_, notes = text.split("\n")
            texts[at] = "\n".join([name, caption, notes]) if text.rpartition("\n")[0] in cells else text
        (APPROVED / f"{asked}.txt").write_text("\n\n".join(texts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(write())
