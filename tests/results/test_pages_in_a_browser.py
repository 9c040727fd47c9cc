"""The report of built-in studies in a real browser: heights, phone width, console, requests, sorting, first screen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from experiments.running.reporting import facts_of, further_charts
from experiments.running.runner import run
from experiments.study.builtin import builtin
from results.diagnosis.diagnose import diagnose
from results.report.answer import answer
from results.report.html import html_report
from results.store.zarr_store import ZarrStore
from tests.support.browser import Browser, binary, browser

STUDIES = ("bias", "size", "power", "staggered")
TALLEST = 6000
WIDE, PHONE = (1280, 800), (390, 844)
CHROMIUM = binary()
WITH_CHROMIUM = pytest.mark.skipif(
    CHROMIUM is None,
    reason="NO CHROMIUM: pages were not looked at in a browser; install one (apt-get install chromium)",
)
pytestmark = [pytest.mark.long, WITH_CHROMIUM]
ESCAPES = """(() => [...document.querySelectorAll('body *')].filter(e => !e.closest('.wide, svg'))
  .filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName + '.' + e.className))()"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, str]]:
    """The page of each study and the first sentence of its answer."""
    folder = tmp_path_factory.mktemp("pages")
    found = {}
    for name in STUDIES:
        study = replace(builtin(name), replications=64, block=64)
        store = run(study, store=folder / f"{name}.zarr")
        assert isinstance(store, ZarrStore)
        diagnosis = diagnose(store)
        page = folder / f"{name}.html"
        page.write_text(
            html_report(diagnosis, facts_of(store), further=further_charts(store, diagnosis)), encoding="utf-8"
        )
        found[name] = page, answer(diagnosis).sentences[0]
    return found


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    assert CHROMIUM is not None
    with browser(CHROMIUM) as found:
        yield found


@pytest.mark.parametrize("name", STUDIES)
@pytest.mark.parametrize(("size", "dark"), [(WIDE, False), (WIDE, True), (PHONE, False), (PHONE, True)])
def test_pages_are_readable_everywhere(
    pages: dict[str, tuple[Path, str]], chromium: Browser, name: str, size: tuple[int, int], dark: bool
) -> None:
    page, sentence = pages[name]
    chromium.open(page.as_uri(), *size, dark=dark)
    assert chromium.run("document.documentElement.scrollWidth <= innerWidth"), chromium.run(ESCAPES)
    assert size != WIDE or chromium.run("document.documentElement.scrollHeight") <= TALLEST
    assert chromium.run("document.querySelectorAll('details[open]').length") == 0
    assert " ".join(chromium.run("document.querySelector('main section').innerText").split()).find(sentence) >= 0
    top = chromium.run(
        "document.querySelector('main section .lead, main section .verdicts').getBoundingClientRect().top"
    )
    assert top < size[1] - 100  # the answer begins on the first screen
    assert chromium.complaints == []
    assert chromium.requests == [page.as_uri()]
    ink, ground = (chromium.run(f"getComputedStyle(document.body).{key}") for key in ("color", "backgroundColor"))
    assert (_light(ground), _light(ink)) == ((False, True) if dark else (True, False))


@pytest.mark.parametrize("name", STUDIES)
def test_nothing_is_cut_when_all_is_unfolded_on_a_phone(
    pages: dict[str, tuple[Path, str]], chromium: Browser, name: str
) -> None:
    chromium.open(pages[name][0].as_uri(), *PHONE)
    chromium.run("document.querySelectorAll('details').forEach(item => { item.open = true; })")
    assert chromium.run("document.documentElement.scrollWidth <= innerWidth"), chromium.run(ESCAPES)
    cut = """[...document.querySelectorAll('figure.picture svg')].filter(s => {
      const b = s.getBoundingClientRect();
      return b.right > innerWidth + 1 || [...s.querySelectorAll('text')].some(
        t => t.getBoundingClientRect().right > innerWidth || t.getBoundingClientRect().left < -1);
    }).map(s => s.getAttribute('aria-labelledby'))"""
    assert chromium.run(cut) == []
    assert chromium.run(
        "[...document.querySelectorAll('svg')].every(s => s.querySelector('title') && s.querySelector('desc'))"
    )


def test_a_click_on_a_heading_sorts_and_words_filter(pages: dict[str, tuple[Path, str]], chromium: Browser) -> None:
    chromium.open(pages["power"][0].as_uri(), *WIDE)
    table = "document.querySelector('.pivot table.sortable')"
    cells = f"[...{table}.tBodies[0].rows].map(row => Number(row.cells[row.cells.length - 1].dataset.v))"
    before = chromium.run(cells)
    click = f"[...{table}.tHead.rows[{table}.tHead.rows.length - 1].cells].at(-1).querySelector('button').click()"
    chromium.run(click)
    assert chromium.run(cells) == sorted(before) != before
    chromium.run(click)
    assert chromium.run(cells) == sorted(before, reverse=True)
    assert chromium.run(f"[...{table}.tHead.querySelectorAll('[aria-sort]')].length") == 1
    chromium.run("""(() => { const field = document.querySelector('input.filter');
        field.value = '200 0.6'; field.dispatchEvent(new Event('input')); })()""")
    rows = chromium.run(f"[...{table}.tBodies[0].rows].filter(row => !row.hidden).map(row => row.innerText)")
    assert 0 < len(rows) < len(before)
    assert all("200" in row and "0.6" in row for row in rows)


def _light(colour: Any) -> bool:
    """Whether a colour such as "rgb(18, 23, 29)" is a light one."""
    return sum(int(part) for part in str(colour).strip("rgba()").split(",")[:3]) > 384
