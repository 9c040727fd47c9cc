"""The bias table as text: what it says, how wide it is, what it marks."""

from __future__ import annotations

import io
import webbrowser
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_records import Sample, made_up
from reports import printed, tables_of
from rich.console import Console

from estimators.core.estimator import Layout, Status
from experiments.run.reporting import open_page, print_chart
from results.diagnosis.claims import Claim, terms_of
from results.diagnosis.diagnose import diagnose
from results.plots.chart import Facet, text_chart
from results.plots.grid import MEASURES, measure_chart
from results.report.grids import ReportFacts, glances, lead_of, opened_by
from results.report.html import html_report
from results.report.terminal import MOST_SAID, print_bias_table
from results.verdict.answer import answer
from results.verdict.verdicts import Grade, bias_table, in_order, is_off, key_terms

FACTS = ReportFacts("toy", "Does it hold?", seed=42)


def toy(status: np.ndarray | None = None) -> Any:
    rng = np.random.default_rng(3)
    theta = np.full((400, 2), 0.0157)
    theta[:, 1] = np.nan
    estimate = 0.0157 + np.array([0.005, 0.0]) + 0.01 * rng.standard_normal((400, 2))
    sample = Sample(theta, estimate, np.full((400, 2, 2), 0.01), status=status)
    return diagnose(made_up([({}, {"ols": sample})]))


def test_nothing_usable_and_nothing_finished() -> None:
    assert "0/400" in printed(toy(np.full(400, Status.REFUSED)))
    empty = Sample(np.empty((0, 1)), np.empty((0, 1)), np.empty((0, 1, 1)))
    assert "no replications" in printed(diagnose(made_up([({}, {"ols": empty})])))


@pytest.mark.parametrize("width", [90, 100, 120])
def test_a_terminal_is_never_overrun(paper_records: Any, width: int) -> None:
    text = printed(diagnose(paper_records), width, FACTS, terminal=True)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert "clustered by unit" in text


def test_wide_table_has_one_row_an_error_type(paper_records: Any) -> None:
    diagnosis = diagnose(paper_records)
    table = bias_table(diagnosis)
    did = table[(table["cell"] == 1) & (table["estimator"] == "did")]
    assert list(did["error"]) == ["iid", "hc1", "cluster:unit"]
    assert did["bias"].nunique() == 1
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


def test_a_share_is_off_where_it_is_clear_of_its_nominal_value() -> None:
    assert is_off(covering(0.90, 1000), "coverage", 0.95)
    assert not is_off(covering(0.94, 1000), "coverage", 0.95)
    assert not is_off(covering(float("nan"), 0), "coverage", 0.95)
    assert not is_off(covering(0.90, 1000) | {"n_error": 200}, "coverage", 0.95)  # fits that have intervals count


def covering(share: float, n: float, worlds: int = 1, wider: float = 1.0) -> dict[Any, Any]:
    """A row of the bias table with a coverage whose Monte Carlo error worlds make `wider` times as wide."""
    mcse = wider * np.sqrt(share * (1 - share) / max(n, 1))
    return {"coverage": share, "coverage_mcse": mcse, "n": n, "n_error": n, "worlds": worlds}


def test_the_legend_names_the_error_that_marks_use() -> None:
    """33.3 (27.2) is 2.3 of the errors in brackets from 95%, and 4.9 of those that 95% itself has with 3 fits."""
    text = " ".join(printed(toy(), facts=FACTS).split())
    assert text.startswith("toy: Does it hold? Synthetic data, 400 replications, seed 42 ")
    for said in ("400 fits, all usable", "! marks a bias more than 4 MCSE from 0", "- marks what is not defined"):
        assert said in text
    assert (
        "coverage more than 4 MCSE from 95%, or rejection of a true null hypothesis more than 4 MCSE from 5%. "
        "For coverage and rejection, this MCSE is that of the nominal level, not the one in brackets." in text
    )
    n, share = 400, 0.90
    assert abs(share - 0.95) / np.sqrt(share * (1 - share) / n) < 4 < abs(share - 0.95) / np.sqrt(0.95 * 0.05 / n)
    assert is_off(covering(share, n), "coverage", 0.95)


def test_all_cells_have_the_same_columns() -> None:
    """One cell's numbers are wide, the other's narrow, and one lost a fit."""
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
        assert len(heads) == 2
        assert heads[0] == heads[1]


def test_an_incomplete_store_is_called_one() -> None:
    text = printed(toy(), 120, ReportFacts("toy", done=8, blocks=50), full=False)
    line = "incomplete: 8 of 50 blocks are finished; the same run command resumes the study"
    assert text.splitlines()[2] == line
    assert "incomplete" not in printed(toy())


def test_a_long_answer_is_told_in_brief_on_the_first_screen_alone() -> None:
    rng = np.random.default_rng(9)
    theta, se = np.full((400, 3), 1.0), np.ones((400, 2, 3))
    off = {"right": 0.0, "low": -0.8, "lower": -0.9, "lowest": -1.5, "high": 0.7, "higher": 0.85, "highest": 1.2}
    samples = {f"estimator-{name}": Sample(theta, theta + shift + rng.standard_normal((400, 3)), se)
               for name, shift in off.items()}  # fmt: skip
    diagnosis = diagnose(made_up([({}, samples)]))
    facts = ReportFacts("toy", "Does it hold?", expected="All that is off by nothing is right.")
    answer = printed(diagnosis, 80, facts, full=False).split("\n\n")[0]
    assert len(answer.splitlines()) <= 2 + MOST_SAID
    said = " ".join(answer.split())
    assert "- Bias of t2, t1 and t0: \N{CHECK MARK} 3 \N{MIDDLE DOT} \N{BALLOT X} 18 of 21" in said
    assert "\N{CHECK MARK} holds: at most 0." in said
    assert "\N{BALLOT X} fails: at worst t" in said
    assert "of estimator-lowest is too low by 1." in said
    assert "Expected" in said
    full = " ".join(printed(diagnosis).split())
    assert "estimator-highest is too high by" in full


# The first lines: chips, their marks, what they come to, and the picture in letters.


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


def test_chips_say_who_holds_who_fails_and_who_cannot_be_told() -> None:
    diagnosis = sized()
    (item,) = glances(answer(diagnosis), diagnosis.cells, 0.05)
    ((_, chips),) = item.rows
    assert [(chip.name, chip.grade) for chip in chips] == [
        ("one", Grade.HOLDS), ("two", Grade.OPEN), ("three", Grade.FAILS)]  # fmt: skip
    said = " ".join(printed(diagnosis, 80, full=False).split())
    shown = " \N{MIDDLE DOT} ".join(("one \N{CHECK MARK}", "two ?", "three \N{BALLOT X}"))
    assert f"5% tests of t0 where the truth is 0: {shown}" in said
    worst = next(one for one in answer(diagnosis).verdicts if one.error == "three").worst
    assert f"at worst three errors reject {worst.value:.1%} when autocorrelation of errors = 0.8" in said
    assert "Size rejected, in %, by autocorrelation of errors (errors.serial)" in said
    assert "Dials in words: errors.serial: autocorrelation of errors." in said
    assert "Marks: \N{CHECK MARK} holds, ~ detectable but too small to matter, ? cannot be told, \N{BALLOT X}" in said


def test_a_terminal_without_letters_gets_marks_of_ascii() -> None:
    diagnosis = sized()
    held = io.BytesIO()
    console = Console(file=io.TextIOWrapper(held, encoding="ascii", write_through=True), width=80)
    print_bias_table(diagnosis, console, ReportFacts("toy"))
    print_chart(diagnosis, console)
    text = held.getvalue().decode("ascii")
    assert "one ok | two ? | three !" in text
    assert "Marks: ok holds, ~ detectable but too small to matter, ? cannot be told, ! fails" in " ".join(text.split())
    assert " o one" in text


def test_the_page_has_the_numbers_and_marks_of_the_terminal() -> None:
    diagnosis = sized()
    lines = printed(diagnosis, 100, full=False).splitlines()
    at = next(place for place, line in enumerate(lines) if line.startswith("Size rejected"))
    on_terminal = [line.split() for line in lines[at + 2 : at + 5]]
    page = html_report(diagnosis, FACTS)
    rows = dict(tables_of(page))["Size rejected, in %"]
    assert [[text for text in row if text] for row in rows[-3:]] == on_terminal
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
    assert lead_of(diagnosis)[0].name == "bias"
    assert opened_by(diagnosis, found)[0].name == "coverage"
    page = html_report(diagnosis, FACTS)
    assert page.index("<h3>Coverage for t0") < page.index("Bias in standard errors")
    held = diagnose(replace(made_up(cells), claims=claims[:1]))
    assert opened_by(held, answer(held))[0].name == "bias"


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_picture_in_letters_has_its_values_where_they_are(width: int) -> None:
    diagnosis = sized()
    chart = measure_chart(diagnosis, MEASURES["size"])
    assert chart is not None
    lines = text_chart(chart, width)
    assert lines[0] == "Size for t0: share of tests that reject a true null"
    assert max(map(len, lines)) <= width
    plot = lines[1:14]
    (last,) = (row for row, line in enumerate(plot) if line.endswith("three"))
    high = max(point.value for point in chart.panels[0].points)
    assert last == round(12 * (1 - high / chart.values.high))  # from the top, in rows of a thirteenth
    assert "0.4" in lines[14]
    assert lines[15].strip() == "autocorrelation of errors"
    assert text_chart(replace(chart, panels=chart.panels * 2), width) == []
    assert text_chart(chart, 20) == []


def test_a_picture_of_rows_has_marks_intervals_and_values() -> None:
    rng = np.random.default_rng(7)
    theta = np.zeros((500, 1))
    samples = {name: Sample(theta, shift + 0.1 * rng.standard_normal((500, 1)), np.full((500, 1, 1), 0.1))
               for name, shift in (("low", -1.0), ("right", 0.0), ("high", 1.0))}  # fmt: skip
    chart = measure_chart(diagnose(made_up([({}, samples)])), MEASURES["bias"])
    assert chart is not None
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
