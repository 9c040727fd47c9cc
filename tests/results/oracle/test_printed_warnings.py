"""What stands before the tables in every format: made-up warnings, each found once and in its order."""

from __future__ import annotations

import io
import json
import re
import textwrap
import zipfile
from dataclasses import replace
from html import unescape

import pytest
from known_tables import known_document
from rich.console import Console

from experiments.estimation import warnings_text
from experiments.tables.ledger import journal_tables
from results.plots.specification_curve import curve_figure
from results.tables.html_tables import html_tables
from results.tables.latex import latex_tables
from results.tables.records import Check, Document, Specification, heading, sentences, spoken
from results.tables.terminal_tables import print_estimates
from results.tables.word import word_tables

SEVERITIES = (0, 1, 3, 2, 0, 3, 1, 2, 2, 0, 1, 3)
WORDS = {3: "against", 2: "weakens", 1: "note"}
ORDER = (2, 5, 11, 3, 7, 8, 1, 6, 10)  # by severity, then as given
WARNINGS = tuple(
    Check.fact(f"code-{i}", severity, f"Finding number {i}: the effect of {i}.25 is no longer there with 5% of a_b.",
                 "", {"estimate": 0.25 + i, "none": float("nan")})
    for i, severity in enumerate(SEVERITIES)
)  # fmt: skip
FORMATS = ("terminal", "narrow", "html", "file")


def document(warnings: tuple[Check, ...] = WARNINGS) -> Document:
    return replace(known_document(notes=("A note.",)), warnings=warnings)


def text_of(kind: str, found: Document) -> str:
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


@pytest.mark.parametrize("kind", FORMATS)
def test_warnings_stand_before_the_tables_most_serious_first(kind: str) -> None:
    text = text_of(kind, document())
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


@pytest.mark.parametrize("kind", FORMATS)
def test_nothing_is_said_where_nothing_was_checked(kind: str) -> None:
    assert "Before the tables" not in text_of(kind, document(()))


@pytest.mark.parametrize("kind", FORMATS)
def test_silence_is_said(kind: str) -> None:
    silent = tuple(warning for warning in WARNINGS if not warning.severity)
    assert "Before the tables: no warnings (3 checks found nothing)" in text_of(kind, document(silent))


@pytest.mark.parametrize("kind", ["latex", "word"])
def test_what_is_sent_to_a_journal_holds_no_warnings(kind: str) -> None:
    text = text_of(kind, document())
    assert "Before the tables" not in text
    assert "Finding number" not in text


def test_one_warning() -> None:
    one = (WARNINGS[2], WARNINGS[0])
    assert heading(one) == "Before the tables: 1 warning (1 check found nothing)"
    assert sentences(one) == (WARNINGS[2].sentence,)
    assert spoken(one) == (WARNINGS[2],)


def test_json_has_every_check() -> None:
    plain = json.loads(document().to_json())["warnings"]
    first = ("code", "severity", "sentence", "numbers")
    assert [{name: one[name] for name in first} for one in plain] == [
        {"code": f"code-{i}", "severity": severity, "sentence": WARNINGS[i].sentence,
         "numbers": {"estimate": 0.25 + i, "none": None}}
        for i, severity in enumerate(SEVERITIES)
    ]  # fmt: skip
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
    assert figure.svg == curve_figure(ways, 0.75, "jobs").svg
