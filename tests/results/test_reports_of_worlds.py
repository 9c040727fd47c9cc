"""What reports say of replications that share worlds, and their marks."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fits_of_worlds import DOF, draw, value_of
from rich.console import Console
from scipy import stats

from results.diagnosis.diagnose import diagnose
from results.report.html import ReportFacts, html_report
from results.report.terminal import print_bias_table
from results.verdict.wording import clear, is_biased, is_off


def row(**changes: float) -> dict[Any, Any]:
    return {"bias": 0.0, "bias_mcse": 1.0, "coverage": 0.9, "coverage_mcse": 0.03, "n": 400.0, "worlds": 1} | changes


def test_marks_allow_for_worlds() -> None:
    """4 MCSE are as rare as 4.62 of 32 worlds; a coverage's own widening is that of its nominal error."""
    assert clear(1) == 4.0
    assert clear(32) == pytest.approx(stats.t.isf(stats.norm.sf(4.0), 31))
    assert is_biased(row(bias=4.3))
    assert not is_biased(row(bias=4.3, worlds=32))
    assert is_biased(row(bias=4.7, worlds=32))
    low = row(coverage=0.88, coverage_mcse=2 * np.sqrt(0.88 * 0.12 / 400))
    assert is_off(low, "coverage", 0.95)  # .07 / .0109 = 6.4
    assert not is_off(low | {"worlds": 32}, "coverage", 0.95)  # 3.2, for the error is twice that of independent fits
    assert is_off(row(worlds=32, coverage=0.8, coverage_mcse=0.02), "coverage", 0.95)
    assert is_off(row(worlds=32, coverage=1.0, coverage_mcse=0.004), "coverage", 0.90)


@pytest.fixture
def shared(fabricate: Any, sample_of: Any) -> Callable[..., Any]:
    def records(worlds: int, held: tuple[str, ...], rows: int = 320) -> Any:
        x = draw(np.random.default_rng(9), rows, 1, 5)
        samples = {"a": sample_of(x["theta"], x["estimate"], x["se"][:, None, :], DOF)}
        return diagnose(fabricate([({}, samples)], worlds=worlds, held_fixed=held))

    return records


def texts(diagnosis: Any) -> tuple[str, str]:
    out = io.StringIO()
    print_bias_table(diagnosis, Console(file=out, width=160, color_system=None, highlight=False), full=True)
    page = html_report(diagnosis, ReportFacts("study"))
    return " ".join(out.getvalue().split()), " ".join(page.split())


@pytest.mark.parametrize(
    ("worlds", "held", "rows", "said"),
    [
        (5, ("calendar", "controls"), 320,
         "Calendar and controls were drawn in 5 worlds: numbers are averages over such worlds, and Monte Carlo errors "
         "include them."),
        (64, ("calendar",), 320, "Calendar was drawn in 10 of 64 worlds:"),
        (1, ("calendar",), 320, "All numbers are conditional on one drawn world: calendar was drawn once."),
        (1, ("calendar", "controls", "city levels"), 320,
         "All numbers are conditional on one drawn world: calendar, controls and city levels were drawn once."),
        (8, ("city levels",), 32, "The study has 8 worlds, and its replications reach only one of them."),
        (5, (), 320, "Replications are spread over 5 worlds, by which Monte Carlo errors are clustered."),
    ],
)  # fmt: skip
def test_the_first_lines_say_what_was_held_fixed(
    shared: Callable[..., Any], worlds: int, held: tuple[str, ...], rows: int, said: str
) -> None:
    for text in texts(shared(worlds, held, rows)):
        assert said in text


def test_nothing_is_said_where_nothing_is_held_fixed(shared: Callable[..., Any]) -> None:
    terminal, page = texts(shared(1, ()))
    assert "world" not in terminal
    assert "world" not in page


def test_reports_show_the_share_between_worlds_and_explain_it(shared: Callable[..., Any]) -> None:
    diagnosis = shared(5, ("calendar",))
    share = value_of(diagnosis.frame, "between_worlds")
    terminal, page = texts(diagnosis)
    assert f"{100 * share['value']:.1f}" in terminal
    assert "Worlds %: the share of the variance" in terminal
    assert f"{100 * share['value']:.1f} ({100 * share['mcse']:.1f})" in page
    assert "it is clustered by world" in page
    assert "set <code>worlds</code> in the study" not in page
    terminal, page = texts(shared(1, ("calendar",)))
    assert "Worlds %" not in terminal
    assert "set <code>worlds</code> in the study" in page
