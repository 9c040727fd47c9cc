"""The HTML report stands alone, is well formed, says what the numbers say, and its work grows with the cells."""

from __future__ import annotations

import io
import itertools
import math
import re
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_records import Sample, made_up
from reports import printed
from rich.console import Console

import results.page
from estimators.core.estimator import Status
from results.diagnosis.claims import Claim
from results.diagnosis.diagnose import Diagnosis, diagnose
from results.plots.chart import Axis, Chart, Facet, Point, Series
from results.report.grids import NOT_JUDGED, ReportFacts, passing_fits, short_table, side_tests
from results.report.html import first_picture, html_report
from results.report.terminal import print_bias_table
from results.verdict import verdicts
from results.verdict.answer import ClaimAnswer, answer
from results.verdict.verdicts import Grade, Judged, Screened, Verdict

VOID = {"meta", "link", "br", "hr", "img", "input"}
FACTS = ReportFacts(
    "bias <study>",
    "Is it & does it?",
    "A test.",
    7,
    "abc123",
    provenance={"numpy": "2.x"},
    toml='[design]\nkind = "<x>"',
)


class Outline(HTMLParser):
    """Open tags, ids and text; fails on a tag that is closed out of turn."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.ids: list[str] = []
        self.words: list[str] = []
        self.attributes: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def html(paper_records: Any) -> str:
    return html_report(diagnose(paper_records), FACTS)


def outline(html: str) -> Outline:
    parser = Outline()
    parser.feed(html)
    parser.close()
    assert parser.stack == []
    return parser


def test_it_needs_nothing_else(html: str) -> None:
    assert not re.search(r"https?:|//[a-z]|url\(|@import", html)
    (script,) = re.findall(r"<script>(.*?)</script>", html, flags=re.S)  # of the program, without what users wrote
    assert script.strip() == (Path(results.page.__file__).parent / "tables.js").read_text(encoding="utf-8").strip()
    assert not re.search("fetch|XMLHttp|import|eval|innerHTML|localStorage|cookie", script)
    assert not [pair for pair in outline(html).attributes if pair[0] in {"src", "href", "srcset", "data"}]


def test_it_is_well_formed_and_escapes_what_users_wrote(html: str) -> None:
    parser = outline(html)
    assert len(set(parser.ids)) == len(parser.ids)
    labelled = " ".join(value for name, value in parser.attributes if name == "aria-labelledby").split()
    assert set(labelled) <= set(parser.ids)
    assert "<study>" not in html
    assert "bias &lt;study&gt;" in html
    assert "kind = &#34;&lt;x&gt;&#34;" in html


def test_it_states_data_seed_and_fingerprint(html: str) -> None:
    text = " ".join(outline(html).words)
    assert "estimates att, beta(did)" in text
    for wanted in ("All data are synthetic", "abc123", "seed 7", "How to read this", "4 cells, 128 replications each",
                   "None: every fit that was attempted succeeded."):  # fmt: skip
        assert wanted in text
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html


def test_charts_are_images_with_text_alternatives(html: str) -> None:
    charts = re.findall(r"<svg.*?</svg>", html, flags=re.S)
    assert len(charts) > 8
    for chart in charts:
        root = ET.fromstring(chart)
        assert root.attrib["role"] == "img"
        assert root.findtext("title")
        assert "Values:" in (root.findtext("desc") or "")


def test_the_page_opens_with_the_answer(paper_records: Any) -> None:
    diagnosis = diagnose(paper_records)
    text = " ".join(" ".join(outline(html_report(diagnosis, FACTS)).words).split())
    found = answer(diagnosis)
    assert found.sentences
    assert all(sentence in text for sentence in found.sentences)
    first, *_ = sorted(found.claims, key=lambda part: -part.grade.rank)
    assert text.index(first.sentence) < text.index("Bias of did: the mean of estimate minus truth")


def test_a_page_without_truth_or_fits() -> None:
    nothing, ones = np.full((20, 1), np.nan), np.ones((20, 1, 1))
    samples = {
        "unknown": Sample(nothing, np.linspace(-1, 1, 20)[:, None], ones),
        "refuses": Sample(ones[:, 0], nothing, ones, status=np.full(20, Status.REFUSED)),
    }
    text = html_report(diagnose(made_up([({}, samples)])), ReportFacts("empty", synthetic=False))
    assert "re-randomised from a real panel" in text
    assert Status.REFUSED.meaning in text
    assert "No truth in this design: t0 of unknown." in text
    assert "Failed fits: refuses failed in 20 of 20 fits (100%)" in text


def test_few_fits_have_no_mark() -> None:
    theta = np.zeros((29, 1))
    estimate = theta + 1.0 + 0.001 * np.random.default_rng(3).standard_normal((29, 1))
    diagnosis = diagnose(made_up([({}, {"ols": Sample(theta, estimate, np.full((29, 1, 1), 0.01))})]))
    text = html_report(diagnosis, ReportFacts("few", done=1, blocks=3))
    assert "Too few replications to judge: at most 29 usable fits per cell; a verdict needs 30." in text
    assert "Too few replications to judge where there are fewer than 30 usable fits" in printed(diagnosis)
    assert "incomplete: 1 of 3 blocks is finished; the same run command resumes the study" in text
    assert 'class="flag"' not in text


def screened(cells: int, screens: str = "ab") -> Diagnosis:
    """Cells of two estimators that have a test of pre-trends, and some fits that failed."""
    rng = np.random.default_rng(1)
    theta = np.ones((40, 1))
    status = np.where(np.arange(40) < 3, 3, 1)

    def sample() -> Any:
        return Sample(theta, theta + rng.standard_normal(theta.shape), np.ones((40, 2, 1)), status=status)

    records = made_up([({"n": n, "k": 1}, {"a": sample(), "b": sample()}) for n in range(cells)])
    for name, layout in records.layouts.items():
        records.layouts[name] = replace(layout, statistics=("pre_p",), screen="pre_p" if name in screens else "")
    for draw in records.draws:
        for name, fits in draw.estimates.items():
            draw.estimates[name] = replace(fits, statistics={"pre_p": rng.random(40)})
    return diagnose(records)


def test_bias_of_fits_that_pass_is_in_standard_errors_of_all_fits() -> None:
    diagnosis = screened(1)
    own = diagnosis.frame[diagnosis.frame["estimator"] == "a"].set_index(["sample", "measure"])["value"]
    first, _ = verdicts.screened(Claim("screen"), diagnosis)
    bias, spread = own.loc[("passing", "bias")].item(), own.loc[("own", "empirical_se")].item()
    assert first.passing == pytest.approx(bias / spread)
    assert list(verdicts.screened(Claim("screen", terms=("other",)), diagnosis)) == []


def test_tests_beside_the_terms_and_fits_that_pass_are_reported() -> None:
    """Of b the test is no screen: nothing is said of fits that pass."""
    diagnosis = screened(1, screens="a")
    (_, name, sentence), *more = passing_fits(diagnosis)
    assert (name, more) == ("a", [])
    assert set(diagnosis.frame[diagnosis.frame["sample"] == "passing"]["estimator"]) == {"a"}
    assert [(name, test) for _, name, test, _ in side_tests(diagnosis)] == [("a", "pre"), ("b", "pre")]
    text, page = printed(diagnosis), html_report(diagnosis, ReportFacts("beside"))
    assert f"a: {sentence}" in text
    assert "a: rejects % (MCSE) by pre " in text
    assert "Tests beside the terms" in page
    assert "Fits that pass" in page
    assert NOT_JUDGED in text
    assert NOT_JUDGED in page


def test_rows_of_a_table_name_the_dials_that_vary_among_the_cells_judged() -> None:
    grid = [dict(zip(("effect", "k", "n"), at, strict=True)) for at in itertools.product((0, 1), (1, 2), (1, 2, 3))]
    cells = tuple(Judged(cell, 0.05, 0.01, 0.04, 0.06, Grade.HOLDS, {}) for cell in range(6))  # without an effect
    size = Verdict(Claim("size"), "a", "did", "iid", 0.05, 0.025, cells)
    table = short_table(ClaimAnswer(size.claim, "", (size,)), grid)
    assert (table.dial, [names for names, _ in table.rows]) == ("n", [("k = 1",), ("k = 2",)])


def test_screens_are_listed_by_the_bias_of_what_passes_whatever_its_sign() -> None:
    found = [Screened(0, "", name, "did", "pre", 0.1, 0.01, 0.08, 0.12, 0.0, passing)
             for name, passing in (("a", 0.5), ("b", -2.0), ("c", math.nan))]  # fmt: skip
    table = short_table(ClaimAnswer(Claim("screen"), "", screens=tuple(found)), [{}])
    assert [names[0] for names, _ in table.rows] == ["b", "a", "c"]


def test_the_first_picture_is_of_the_panel_that_departs_most_to_either_side() -> None:
    panels = [Facet(title, (Series("a", 0, (Point(0.0, value, value, value, "", True),)),))
              for title, value in (("up", 0.3), ("down", -0.9))]  # fmt: skip
    chart = Chart("k", "dots", "Bias", Axis("", -1, 1, ()), Axis("", -1, 1, ()), tuple(panels), (), "")
    first = first_picture([chart])
    assert first is not None
    assert first.title == "Bias, down"


def calls(work: Callable[[], object]) -> int:
    """Calls of functions, in Python and C, that some work makes."""
    count = 0

    def take_note(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(take_note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def on_a_terminal(diagnosis: Diagnosis) -> object:
    return print_bias_table(diagnosis, Console(file=io.StringIO(), width=120), full=True)


def as_html(diagnosis: Diagnosis) -> object:
    return html_report(diagnosis, ReportFacts("work"))


@pytest.mark.parametrize("report", [on_a_terminal, as_html])
def test_twice_the_cells_take_twice_the_work(report: Any) -> None:
    few, many = (screened(cells) for cells in (12, 24))
    report(few)  # what is made once, such as a template, is made here
    assert calls(lambda: report(many)) < 2.2 * calls(lambda: report(few))


@pytest.mark.long
def test_200_cells_and_10_estimators_are_judged_in_half_the_time_of_their_diagnosis_on_a_small_page() -> None:
    """2 s of CPU and 2.6 MB when this was written; an allowance of five times for the machine, of two for the page."""
    rng = np.random.default_rng(4)
    cells = []
    for effect, treated, serial in itertools.product(np.arange(10) / 10, (10, 20, 50, 100, 200), (0.0, 0.3, 0.6, 0.9)):
        theta = np.full((40, 1), effect)
        samples = {f"estimator {i}": Sample(theta, theta + rng.standard_normal((40, 1)), np.ones((40, 1, 1)))
                   for i in range(10)}  # fmt: skip
        cells.append(({"effect": float(effect), "treated": treated, "serial": serial}, samples))
    found: dict[str, Any] = {}

    def seconds(name: str, work: Callable[[], object]) -> float:
        begin = time.process_time()
        found[name] = work()
        return time.process_time() - begin

    diagnosing = seconds("diagnosis", lambda: diagnose(made_up(cells)))
    diagnosis, table = found["diagnosis"], verdicts.bias_table(found["diagnosis"])
    assert min(seconds("answer", lambda: answer(diagnosis, table)) for _ in range(2)) < diagnosing / 2
    as_html(screened(2))  # what is made once, such as a template, is made here
    assert seconds("page", lambda: html_report(diagnosis, ReportFacts("work"))) < 10
    assert len(found["page"].encode()) < 5e6
    assert found["page"].count("estimator 9") > 200
