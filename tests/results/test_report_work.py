"""The work of a report grows with the cells, not with their square."""

from __future__ import annotations

import io
import itertools
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from results.diagnosis.diagnose import Diagnosis, diagnose
from results.report.facts import ReportFacts
from results.report.html import html_report
from results.report.terminal import print_bias_table


def screened(fabricate: Any, sample_of: Any, cells: int) -> Diagnosis:
    """Cells of two estimators that have a test of pre-trends, and some fits that failed."""
    rng = np.random.default_rng(1)
    theta = np.ones((40, 1))
    status = np.where(np.arange(40) < 3, 3, 1)

    def sample() -> Any:
        return sample_of(theta, theta + rng.standard_normal(theta.shape), np.ones((40, 2, 1)), status=status)

    records = fabricate([({"n": n, "k": 1}, {"a": sample(), "b": sample()}) for n in range(cells)])
    for name, layout in records.layouts.items():
        records.layouts[name] = replace(layout, statistics=("pre_p",), screen="pre_p")
    for draw in records.draws:
        for name, fits in draw.estimates.items():
            draw.estimates[name] = replace(fits, statistics={"pre_p": rng.random(40)})
    return diagnose(records)


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
def test_twice_the_cells_take_twice_the_work(fabricate: Any, sample_of: Any, report: Any) -> None:
    few, many = (screened(fabricate, sample_of, cells) for cells in (12, 24))
    report(few)  # what is made once, such as a template, is made here
    assert calls(lambda: report(many)) < 2.2 * calls(lambda: report(few))


def test_a_page_of_200_cells_and_10_estimators_is_small_and_soon_there(fabricate: Any, sample_of: Any) -> None:
    """2 s of CPU and 2.6 MB when this was written; an allowance of five times for the machine, of two for the page."""
    rng = np.random.default_rng(4)
    cells = []
    for effect, treated, serial in itertools.product(np.arange(10) / 10, (10, 20, 50, 100, 200), (0.0, 0.3, 0.6, 0.9)):
        theta = np.full((40, 1), effect)
        samples = {f"estimator {i}": sample_of(theta, theta + rng.standard_normal((40, 1)), np.ones((40, 1, 1)))
                   for i in range(10)}  # fmt: skip
        cells.append(({"effect": float(effect), "treated": treated, "serial": serial}, samples))
    diagnosis = diagnose(fabricate(cells))
    as_html(screened(fabricate, sample_of, 2))  # what is made once, such as a template, is made here
    begin = time.process_time()
    page = html_report(diagnosis, ReportFacts("work"))
    assert time.process_time() - begin < 10
    assert len(page.encode()) < 5e6
    assert page.count("estimator 9") > 200
