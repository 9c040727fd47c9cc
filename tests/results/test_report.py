"""The bias report. In a terminal: what it says, how wide it is, what it marks. As a page: it stands alone, is well
formed, says what the numbers say, and its work grows with the cells."""

from __future__ import annotations

import io
import itertools
import math
import re
import sys
import time
import webbrowser
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_records import Sample, made_up
from reports import outline, printed, tables_of
from rich.console import Console

import results.page
from estimators.core.estimator import Layout, Status
from experiments.run.reporting import open_page, print_chart
from results.diagnosis.claims import Claim, terms_of
from results.diagnosis.diagnose import Diagnosis, diagnose
from results.plots.chart import Axis, Chart, Facet, Point, Series, text_chart
from results.plots.grid import MEASURES, measure_chart
from results.report import grids
from results.report.html import first_picture, html_report, keys_of
from results.report.terminal import MOST_SAID, print_bias_table
from results.verdict import verdicts
from results.verdict.answer import ClaimAnswer, answer
from results.verdict.verdicts import Grade, Judged, Screened, Verdict, bias_table, in_order, is_off, key_terms

TOY = grids.ReportFacts("toy", "Does it hold?", seed=42)
FACTS = grids.ReportFacts("bias <study>", "Is it & does it?", "A test.", 7, "abc123", provenance={"numpy": "2.x"},
                    toml='[design]\nkind = "<x>"')  # fmt: skip


def toy(status: np.ndarray | None = None) -> Any:
    rng = np.random.default_rng(3)
    theta = np.full((400, 2), 0.0157)
    theta[:, 1] = np.nan
    estimate = 0.0157 + np.array([0.005, 0.0]) + 0.01 * rng.standard_normal((400, 2))
    sample = Sample(theta, estimate, np.full((400, 2, 2), 0.01), status=status)
    return diagnose(made_up([({}, {"ols": sample})]))


def test_nothing_usable_nothing_finished_and_an_incomplete_store() -> None:
    assert "0/400" in printed(toy(np.full(400, Status.REFUSED)))
    empty = Sample(np.empty((0, 1)), np.empty((0, 1)), np.empty((0, 1, 1)))
    assert "no replications" in printed(diagnose(made_up([({}, {"ols": empty})])))
    lines = printed(toy(), 120, grids.ReportFacts("toy", done=8, blocks=50), full=False).splitlines()
    assert lines[2] == "incomplete: 8 of 50 blocks are finished; the same run command resumes the study"
    assert "incomplete" not in printed(toy())


def test_a_terminal_is_never_overrun_and_its_table_has_one_row_an_error_type(paper_records: Any) -> None:
    diagnosis = diagnose(paper_records)
    for width in (90, 100, 120):
        text = printed(diagnosis, width, TOY, terminal=True)
        assert max(map(len, text.splitlines())) <= width
        assert "…" not in text
        assert "clustered by unit" in text
    table = bias_table(diagnosis)
    did = table[(table["cell"] == 1) & (table["estimator"] == "did")]
    assert (list(did["error"]), did["bias"].nunique()) == (["iid", "hc1", "cluster:unit"], 1)
    assert set(did["setting"]) == {"effect = 0, spillover = paper"}
    sdm = table[(table["cell"] == 0) & (table["estimator"] == "sdm-lee-yu")]
    assert list(sdm["term"]) == ["did", "w_did", "rho", "direct:did", "indirect:did", "total:did", "sigma2"]
    assert bias_table(diagnosis, sample="common").empty
    assert len(bias_table(diagnosis, all_terms=True)) > len(table)


def test_key_terms_of_unknown_names() -> None:
    layout = Layout(("eip", "size"), ("iid",), (), {"eip": "beta(eip)", "size": "beta(size)"})
    assert key_terms(layout) == ["eip", "size"]
    layout = Layout(("inv", "nie", "did"), ("iid",), (), {"inv": "beta(inv)", "nie": "nie", "did": "att"})
    assert key_terms(layout) == ["did", "nie"]
    assert key_terms(Layout(("did", "x"), ("iid",), (), {"did": "att"})) == ["did"]
    assert terms_of(Claim("bias"), layout, ["overall", "event(0)", "overall:cohort", "rho"]) == ("overall",)
    assert in_order(["z", "rho", "z"]) == ["rho", "z"]
    assert in_order(["nde", "total", "nie"]) == ["nie", "nde", "total"]


def covers_off(share: float, n: float, n_error: float | None = None) -> bool:
    mcse = np.sqrt(share * (1 - share) / max(n, 1))
    row: dict[Any, Any] = {"coverage": share, "coverage_mcse": mcse, "n": n, "n_error": n_error or n, "worlds": 1}
    return is_off(row, "coverage", 0.95)


def test_a_share_is_off_where_it_is_clear_of_its_nominal_value() -> None:
    """Fits that have intervals count."""
    asked = ((0.90, 1000), (0.94, 1000), (float("nan"), 0), (0.90, 1000, 200))
    assert [covers_off(*one) for one in asked] == [True, False, False, False]


def test_the_legend_names_the_error_that_marks_use() -> None:
    """33.3 (27.2) is 2.3 of the errors in brackets from 95%, and 4.9 of those that 95% itself has with 3 fits."""
    text = " ".join(printed(toy(), facts=TOY).split())
    assert text.startswith("toy: Does it hold? Synthetic data, 400 replications, seed 42 ")
    for said in ("400 fits, all usable", "! marks a bias more than 4 MCSE from 0", "- marks what is not defined"):
        assert said in text
    assert (
        "coverage more than 4 MCSE from 95%, or rejection of a true null hypothesis more than 4 MCSE from 5%. "
        "For coverage and rejection, this MCSE is that of the nominal level, not the one in brackets." in text
    )
    n, share = 400, 0.90
    assert abs(share - 0.95) / np.sqrt(share * (1 - share) / n) < 4 < abs(share - 0.95) / np.sqrt(0.95 * 0.05 / n)
    assert covers_off(share, n)


def test_all_cells_have_the_same_columns() -> None:
    rng = np.random.default_rng(2)
    cells = []
    for size, failed in ((1.0, 0), (1e5, 1)):
        theta = np.full((100, 1), 0.123456 * size)
        estimate = theta + 1e-4 * rng.standard_normal((100, 1))
        status = np.where(np.arange(100) < failed, Status.SINGULAR, Status.OK)
        sample = Sample(theta, estimate, np.full((100, 1, 1), 1e-4), status=status)
        cells.append(({"size": size}, {"ols": sample}))
    for width in range(75, 130, 3):
        text = printed(diagnose(made_up(cells)), width, terminal=True)
        heads = [line.split() for line in text.splitlines() if line.startswith("estimator")]
        assert (len(heads), heads[0]) == (2, heads[1])


def test_a_long_answer_is_told_in_brief_on_the_first_screen_alone() -> None:
    rng = np.random.default_rng(9)
    theta, se = np.full((400, 3), 1.0), np.ones((400, 2, 3))
    off = {"right": 0.0, "low": -0.8, "lower": -0.9, "lowest": -1.5, "high": 0.7, "higher": 0.85, "highest": 1.2}
    samples = {f"estimator-{name}": Sample(theta, theta + shift + rng.standard_normal((400, 3)), se)
               for name, shift in off.items()}  # fmt: skip
    diagnosis = diagnose(made_up([({}, samples)]))
    facts = grids.ReportFacts("toy", "Does it hold?", expected="All that is off by nothing is right.")
    answer = printed(diagnosis, 80, facts, full=False).split("\n\n")[0]
    assert len(answer.splitlines()) <= 2 + MOST_SAID
    said = " ".join(answer.split())
    for words in ("- Bias of t2, t1 and t0: \N{CHECK MARK} 3 \N{MIDDLE DOT} \N{BALLOT X} 18 of 21", "Expected",
                  "\N{CHECK MARK} holds: at most 0.", "\N{BALLOT X} fails: at worst t",
                  "of estimator-lowest is too low by 1."):  # fmt: skip
        assert words in said
    full = " ".join(printed(diagnosis).split())
    assert "estimator-highest is too high by" in full


# The first lines: chips, their marks, what they come to, and the picture in letters.


@pytest.fixture(scope="module")
def sized() -> Any:
    """Three error types over two dials of a grid: right, right in one cell alone and hard to tell, and wrong."""
    rng = np.random.default_rng(5)
    cells = []
    for serial in (0.0, 0.4, 0.8):
        theta = np.zeros((4000, 1))
        sizes = 1.0, 1.0 - 0.075 * (serial > 0), 1.0 - serial / 2
        se = np.stack([np.full((4000, 1), size) for size in sizes], axis=1)
        cells.append(({"errors.serial": serial}, {"did": Sample(theta, rng.standard_normal((4000, 1)), se, 1e6)}))
    return diagnose(replace(made_up(cells), claims=({"measure": "size", "over": "errors.serial"},)))


def test_chips_say_who_holds_who_fails_and_who_cannot_be_told(sized: Any) -> None:
    """Without letters by marks of ASCII, and the page as the terminal."""
    (item,) = grids.glances(answer(sized), sized.cells, 0.05)
    ((_, chips),) = item.rows
    assert [(chip.name, chip.grade) for chip in chips] == [
        ("one", Grade.HOLDS), ("two", Grade.OPEN), ("three", Grade.FAILS)]  # fmt: skip
    said = " ".join(printed(sized, 80, full=False).split())
    shown = " \N{MIDDLE DOT} ".join(("one \N{CHECK MARK}", "two ?", "three \N{BALLOT X}"))
    worst = next(one for one in answer(sized).verdicts if one.error == "three").worst
    for words in (
        f"5% tests of t0 where the truth is 0: {shown}",
        f"at worst three errors reject {worst.value:.1%} when autocorrelation of errors = 0.8",
        "Size rejected, in %, by autocorrelation of errors (errors.serial)",
        "Dials in words: errors.serial: autocorrelation of errors.",
        "Marks: \N{CHECK MARK} holds, ~ detectable but too small to matter, ? cannot be told, \N{BALLOT X}",
    ):
        assert words in said  # fmt: skip
    held = io.BytesIO()
    console = Console(file=io.TextIOWrapper(held, encoding="ascii", write_through=True), width=80)
    print_bias_table(sized, console, grids.ReportFacts("toy"))
    print_chart(sized, console)
    text = held.getvalue().decode("ascii")
    assert "one ok | two ? | three !" in text
    assert "Marks: ok holds, ~ detectable but too small to matter, ? cannot be told, ! fails" in " ".join(text.split())
    assert " o one" in text
    lines = printed(sized, 100, full=False).splitlines()
    at = next(place for place, line in enumerate(lines) if line.startswith("Size rejected"))
    page = html_report(sized, TOY)
    rows = dict(tables_of(page))["Size rejected, in %"]
    assert [[text for text in row if text] for row in rows[-3:]] == [line.split() for line in lines[at + 2 : at + 5]]
    assert rows[0][-1] == "autocorrelation of errors errors.serial"
    assert page.index('class="beside"') < page.index("Size rejected, in %")


def test_the_page_opens_with_the_picture_of_what_fails() -> None:
    rng = np.random.default_rng(6)
    theta = np.ones((2000, 1))
    cells = [({"n": n}, {"ols": Sample(theta, theta + rng.standard_normal((2000, 1)), np.full((2000, 1, 1), 0.5))})
             for n in (1, 2, 3)]  # fmt: skip
    claims = ({"measure": "bias"}, {"measure": "coverage"})
    diagnosis = diagnose(replace(made_up(cells), claims=claims))
    found = answer(diagnosis)
    assert [part.grade for part in found.claims] == [Grade.HOLDS, Grade.FAILS]
    assert (grids.lead_of(diagnosis)[0].name, grids.opened_by(diagnosis, found)[0].name) == ("bias", "coverage")
    page = html_report(diagnosis, TOY)
    assert page.index("<h3>Coverage for t0") < page.index("Bias in standard errors")
    held = diagnose(replace(made_up(cells), claims=claims[:1]))
    assert grids.opened_by(held, answer(held))[0].name == "bias"


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_picture_in_letters_has_its_values_where_they_are(sized: Any, width: int) -> None:
    chart = measure_chart(sized, MEASURES["size"])
    lines = text_chart(chart, width)
    assert lines[0] == "Size for t0: share of tests that reject a true null"
    assert max(map(len, lines)) <= width
    plot = lines[1:14]
    (last,) = (row for row, line in enumerate(plot) if line.endswith("three"))
    high = max(point.value for point in chart.panels[0].points)
    assert last == round(12 * (1 - high / chart.values.high))  # from the top, in rows of a thirteenth
    assert "0.4" in lines[14]
    assert lines[15].strip() == "autocorrelation of errors"
    assert (text_chart(replace(chart, panels=chart.panels * 2), width), text_chart(chart, 20)) == ([], [])


def test_a_picture_of_rows_has_marks_intervals_and_values() -> None:
    rng = np.random.default_rng(7)
    theta = np.zeros((500, 1))
    samples = {name: Sample(theta, shift + 0.1 * rng.standard_normal((500, 1)), np.full((500, 1, 1), 0.1))
               for name, shift in (("low", -1.0), ("right", 0.0), ("high", 1.0))}  # fmt: skip
    chart = measure_chart(diagnose(made_up([({}, samples)])), MEASURES["bias"])
    lines = text_chart(chart, 90)
    low, right, high = (line.index("\N{BLACK CIRCLE}") for line in lines[1:4])
    assert low < right < high
    assert abs(high - 2 * right + low) <= 1
    assert [line.split()[0] for line in lines[1:4]] == ["low", "right", "high"]
    assert "-1.0" in lines[1]
    assert "!" in lines[1]
    (one, *_), wide = chart.panels[0].series, chart.values
    point = replace(one.points[0], value=0.0, low=wide.low, high=wide.high, said="0")
    line = text_chart(replace(chart, panels=(Facet("", (replace(one, points=(point,)),)),)), 90)[1]
    assert set(line[7:-2]) == {"─", "●"}  # of the whole axis, between the name and the value


@pytest.mark.parametrize("away", ["CI", "SSH_CONNECTION", "SSH_TTY"])
def test_a_page_is_opened_on_a_desktop_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, away: str) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: bool(opened.append(address)) or True)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    for name in ("CI", "SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DISPLAY", ":0")
    page = tmp_path / "page.html"
    assert open_page(page)
    assert opened == [page.as_uri()]
    monkeypatch.setenv(away, "1")
    assert not open_page(page)
    monkeypatch.delenv(away)
    monkeypatch.setattr("sys.stdout.isatty", lambda: False)
    assert not open_page(page)
    assert len(opened) == 1


# The page


def test_it_needs_nothing_else_is_well_formed_and_says_what_it_is(paper_records: Any) -> None:
    diagnosis = diagnose(paper_records)
    html, found = html_report(diagnosis, FACTS), answer(diagnosis)
    assert not re.search(r"https?:|//[a-z]|url\(|@import", html)
    (script,) = re.findall(r"<script>(.*?)</script>", html, flags=re.S)  # of the program, without what users wrote
    assert script.strip() == (Path(results.page.__file__).parent / "tables.js").read_text(encoding="utf-8").strip()
    assert not re.search("fetch|XMLHttp|import|eval|innerHTML|localStorage|cookie", script)
    parser = outline(html)
    assert not [pair for pair in parser.attributes if pair[0] in {"src", "href", "srcset", "data"}]
    assert len(set(parser.ids)) == len(parser.ids)
    labelled = " ".join(value for name, value in parser.attributes if name == "aria-labelledby").split()
    assert set(labelled) <= set(parser.ids)
    assert "<study>" not in html
    for wanted in ("bias &lt;study&gt;", "kind = &#34;&lt;x&gt;&#34;", "prefers-color-scheme: dark", "@media print"):
        assert wanted in html
    text = " ".join(" ".join(parser.words).split())
    assert found.sentences
    first, *_ = sorted(found.claims, key=lambda part: -part.grade.rank)
    assert text.index(first.sentence) < text.index("Bias of did: the mean of estimate minus truth"), (
        "the answer opens it"
    )
    for wanted in (*found.sentences, "All data are synthetic", "abc123", "seed 7", "How to read this",
                   "4 cells, 128 replications each", "None: every fit that was attempted succeeded.",
                   "estimates att, beta(did)"):  # fmt: skip
        assert wanted in text
    charts = [ET.fromstring(chart) for chart in re.findall(r"<svg.*?</svg>", html, flags=re.S)]
    assert len(charts) > 8
    for root in charts:  # images with text alternatives
        assert root.attrib["role"] == "img"
        assert root.findtext("title")
        assert "Values:" in (root.findtext("desc") or "")


def test_a_page_that_opens_with_a_later_term_shows_nothing_twice() -> None:
    """Its ids, by which pictures are named for readers of screens, stand once each."""
    theta = np.zeros((200, 2))
    estimate = theta + [0.0, 1.0] + 0.1 * np.random.default_rng(3).standard_normal(theta.shape)
    cells = [({"units": units}, {"ols": Sample(theta, estimate, np.full((200, 1, 2), 0.1))}) for units in (50, 100)]
    diagnosis = diagnose(made_up(cells))
    assert grids.opened_by(diagnosis, answer(diagnosis))[1] == "t1"
    ids = outline(html_report(diagnosis, grids.ReportFacts("later"))).ids
    assert [name for name in ids if ids.count(name) > 1] == []
    assert {"pivot-bias-of-t1-units", "pivot-bias-of-t0-units"} <= set(ids)


def test_a_page_without_truth_or_fits() -> None:
    nothing, ones = np.full((20, 1), np.nan), np.ones((20, 1, 1))
    samples = {
        "unknown": Sample(nothing, np.linspace(-1, 1, 20)[:, None], ones),
        "refuses": Sample(ones[:, 0], nothing, ones, status=np.full(20, Status.REFUSED)),
    }
    text = html_report(diagnose(made_up([({}, samples)])), grids.ReportFacts("empty", synthetic=False))
    assert "re-randomised from a real panel" in text
    assert Status.REFUSED.meaning in text
    assert "No truth in this design: t0 of unknown." in text
    assert "Failed fits: refuses failed in 20 of 20 fits (100%)" in text


def test_few_fits_have_no_mark() -> None:
    theta = np.zeros((29, 1))
    estimate = theta + 1.0 + 0.001 * np.random.default_rng(3).standard_normal((29, 1))
    diagnosis = diagnose(made_up([({}, {"ols": Sample(theta, estimate, np.full((29, 1, 1), 0.01))})]))
    text = html_report(diagnosis, grids.ReportFacts("few", done=1, blocks=3))
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
    (_, name, sentence), *more = grids.passing_fits(diagnosis)
    assert (name, more) == ("a", [])
    assert set(diagnosis.frame[diagnosis.frame["sample"] == "passing"]["estimator"]) == {"a"}
    assert [(name, test) for _, name, test, _ in grids.side_tests(diagnosis)] == [("a", "pre"), ("b", "pre")]
    text, page = printed(diagnosis), html_report(diagnosis, grids.ReportFacts("beside"))
    assert f"a: {sentence}" in text
    assert "a: rejects % (MCSE) by pre " in text
    assert "Tests beside the terms" in page
    assert "Fits that pass" in page
    assert grids.NOT_JUDGED in text
    assert grids.NOT_JUDGED in page


def test_tables_list_what_they_judge_by_dials_and_size() -> None:
    grid = [dict(zip(("effect", "k", "n"), at, strict=True)) for at in itertools.product((0, 1), (1, 2), (1, 2, 3))]
    cells = tuple(Judged(cell, 0.05, 0.01, 0.04, 0.06, Grade.HOLDS, {}) for cell in range(6))  # without an effect
    size = Verdict(Claim("size"), "a", "did", "iid", 0.05, 0.025, cells)
    table = grids.short_table(ClaimAnswer(size.claim, "", (size,)), grid)
    assert (table.dial, [names for names, _ in table.rows]) == ("n", [("k = 1",), ("k = 2",)])
    found = [Screened(0, "", name, "did", "pre", 0.1, 0.01, 0.08, 0.12, 0.0, passing)
             for name, passing in (("a", 0.5), ("b", -2.0), ("c", math.nan))]  # fmt: skip
    table = grids.short_table(ClaimAnswer(Claim("screen"), "", screens=tuple(found)), [{}])
    assert [names[0] for names, _ in table.rows] == ["b", "a", "c"]


@pytest.mark.parametrize(("clearly", "first"), [(True, "far"), (False, "near")])
def test_the_first_picture_departs_most_to_either_side_and_clearly(clearly: bool, first: str) -> None:
    panels = [Facet(title, (Series("a", 0, (Point(0.0, value, value, value, "", clear),)),))
              for title, value, clear in (("far", -0.9, clearly), ("near", 0.3, True))]  # fmt: skip
    chart = Chart("k", "dots", "Bias", Axis("", -1, 1, ()), Axis("", -1, 1, ()), tuple(panels), (), "")
    assert first_picture([chart]).title == f"Bias, {first}"


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


def as_html(diagnosis: Diagnosis) -> object:
    return html_report(diagnosis, grids.ReportFacts("work"))


@pytest.mark.parametrize("report", [printed, as_html])
def test_twice_the_cells_take_twice_the_work(report: Callable[[Diagnosis], object]) -> None:
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
    assert seconds("page", lambda: html_report(diagnosis, grids.ReportFacts("work"))) < 10
    assert len(found["page"].encode()) < 5e6
    assert found["page"].count("estimator 9") > 200


def test_the_page_has_the_worst_claim_first_and_the_classes_of_grades(sized: Any) -> None:
    theta = np.ones((400, 1))
    noise = np.random.default_rng(6).standard_normal((400, 1))
    cells = [({"n": n}, {"ols": Sample(theta, theta + noise, np.full((400, 1, 1), 0.5))}) for n in (1, 2)]
    page = html_report(diagnose(made_up(cells, claims=({"measure": "bias"}, {"measure": "coverage"}))), TOY)
    assert re.findall(r'<div class="who">(\w+)<', page) == ["coverage", "bias"]
    page = html_report(sized, TOY)
    assert re.findall(r'class="chip (\w*)">(one|two|three)', page) == [
        ("holds", "one"), ("open", "two"), ("departs", "three")]  # fmt: skip


def test_the_page_says_what_it_judges_by_how_many_it_drew_and_names_in_words() -> None:
    theta = np.ones((40, 1))
    cells = [
        ({"errors.serial": n, "x": n}, {"ols": Sample(theta[:n], 2 * theta[:n], np.ones((n, 1, 1)))}) for n in (32, 40)
    ]
    diagnosis = diagnose(made_up(cells))
    pages = [html_report(replace(diagnosis, normal=normal), TOY) for normal in (False, True)]
    assert [verdicts.NORMAL in page for page in pages] == [False, True]
    assert "2 cells, 40 replications each" in pages[0]
    assert keys_of(diagnosis) == {"errors.serial": "autocorrelation of errors"}  # "x" and "one" are their own words
