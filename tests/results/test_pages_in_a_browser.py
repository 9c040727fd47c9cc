"""Reports of built-in studies and trust pages in a real browser: heights, phone width, console, requests, sorting,
first screen, printed sheets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_cities
import pytest
from verdict_worlds import SMALL, World

from estimators.core.error_types import error_label
from experiments.estimation import estimate, write_files
from experiments.placebo import answer as answer_of
from experiments.placebo import question, write_placebo
from experiments.run.reporting import facts_of, further_charts
from experiments.run.runner import run
from experiments.study import builtin_study
from experiments.trust.document import document
from experiments.trust.race import document as document_of
from experiments.trust.race import race
from experiments.trust.trust import trust
from experiments.twins.twin import twin, write_twin
from results.diagnosis.diagnose import diagnose
from results.report.html import html_report
from results.report.panel_pages import race_page, trust_page
from results.verdict.answer import answer
from tests.support.browser import Browser, binary, browser

STUDIES = ("size", "power", "spillover")
TALLEST = 6000
WIDE, SMALL_SCREEN, PHONE = (1280, 800), (500, 844), (390, 844)
CHROMIUM = binary()
WITH_CHROMIUM = pytest.mark.skipif(
    CHROMIUM is None,
    reason="NO CHROMIUM: pages were not looked at in a browser; install one (apt-get install chromium)",
)
pytestmark = [pytest.mark.browser, pytest.mark.timeout(900), WITH_CHROMIUM]
ESCAPES = """(() => [...document.querySelectorAll('body *')].filter(e => !e.closest('.wide, svg'))
  .filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName + '.' + e.className))()"""
CITIES = f"""{made_cities.PANEL}
groups = ["province"]
{made_cities.PLACES}
[[weights]]
kind = "knn"
k = 4
[twin]
draws = 100
"""
TRUSTED = ("supported", "contradicted", "no claim")
KINDS = (*STUDIES, "supported", "twin", "placebo", "race", "tables")
SIZES = ((WIDE, SMALL_SCREEN), (PHONE, PHONE))
EVERY = [*((name, sizes[at % 2], bool((at + row) % 2)) for at, name in enumerate(KINDS)
           for row, sizes in enumerate(SIZES)),
         ("spillover", WIDE, False), ("supported", WIDE, True), ("power", WIDE, True),
         *((name, size, dark) for at, name in enumerate(TRUSTED[1:])
           for size, dark in ((SMALL_SCREEN, not at), ((WIDE, PHONE)[at], bool(at))))]  # fmt: skip
TEXTS = "h1, h2, h3, p, li, dt, dd, summary, figcaption, .chip, .who, .row-label"
CUT = f"""(() => [...document.querySelectorAll('{TEXTS}')].filter(e => e.offsetParent !== null
  && (e.scrollWidth > e.clientWidth + 1
    || e.getBoundingClientRect().right > innerWidth + 1)).map(e => e.tagName + ': ' + e.innerText))()"""
OF_SVGS = """[...document.querySelectorAll('svg.chart')].filter(s => s.getBoundingClientRect().width > 0)"""
COLLIDING = f"""(() => {OF_SVGS}.flatMap(s => {{
  const b = [...s.querySelectorAll('text')].map(t => [t.textContent, t.getBoundingClientRect()]);
  const over = (p, q, a, z) => Math.min(p[z], q[z]) - Math.max(p[a], q[a]);
  return b.flatMap(([m, p], i) => b.slice(i + 1).filter(
    ([n, q]) => over(p, q, 'left', 'right') > 1 && over(p, q, 'top', 'bottom') > 4
  ).map(([n]) => m + ' | ' + n)); }}))()"""
OUTSIDE = f"""(() => {OF_SVGS}.flatMap(s => [...s.querySelectorAll('text')].filter(t => {{
  const b = t.getBoundingClientRect(), p = s.getBoundingClientRect();
  return b.left < p.left - 1 || b.right > p.right + 1 || t.textContent.includes('\u2026'); }})
  .map(t => t.textContent)))()"""
ANSWERED = "document.querySelector('.chips, .reason, .headline .lead').getBoundingClientRect().bottom"
SEEN = """(() => { const b = document.querySelector('svg').getBoundingClientRect();
  return (Math.min(b.bottom, innerHeight) - Math.max(b.top, 0)) / b.height; })()"""
FIRST = """[...document.querySelectorAll('header h1, header p')]
  .filter(e => e.getBoundingClientRect().bottom < innerHeight).map(e => e.innerText).join(' ')"""
LEAD = "document.querySelector('main section .lead, main section .verdicts').getBoundingClientRect().top"
type Pages = dict[str, tuple[Path, tuple[str, ...]]]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Pages:
    """A page of each study and of each answer of `trust`, with words of it; the first has all errors and checks."""
    folder, found = tmp_path_factory.mktemp("pages"), dict[str, tuple[Path, tuple[str, ...]]]()
    for name in STUDIES:
        store = run(replace(builtin_study(name), replications=64, block=64), store=folder / f"{name}.zarr")
        diagnosis, page = diagnose(store), folder / f"{name}.html"
        text = html_report(diagnosis, facts_of(store), further=further_charts(store, diagnosis))
        page.write_text(text, encoding="utf-8")
        found[name] = page, (answer(diagnosis).sentences[0],)
    world = World("small staggered", **SMALL, dates=((4, 7), (6, 7), (8, 6)))
    drift = world.drift_of(2.0 * world.detectable())
    real = (made_cities.real_panel(folder, CITIES), world.real(folder, 1, drift=drift), world.real(folder, 1))
    for name, one in zip(TRUSTED, real, strict=True):
        held = document(trust(one, replications=64, benchmarks=32, race=name == "supported"))
        assert held["verdict"]["answer"] == name
        page = folder / f"{name.replace(' ', '-')}.html"
        page.write_text(trust_page(held), encoding="utf-8")
        advised = next(row for row in held["errors"] if row["recommended"])
        estimate = f"{held['claim']['estimate']:.4g}".replace("-", "\N{MINUS SIGN}")
        found[name] = page, (held["verdict"]["reason"], f"Is this result safe? {name.capitalize()}",
                             f"{held['claim']['outcome']}: {estimate}",
                             f"Print errors {error_label(advised['se_type'])}: s.e. ")  # fmt: skip
    return found


@pytest.fixture(scope="module")
def every_page(pages: Pages, tmp_path_factory: pytest.TempPathFactory) -> Pages:
    folder = tmp_path_factory.mktemp("every")
    real = made_cities.real_panel(folder, CITIES)
    write_twin(twin(real), folder)
    ask = question(real, draws=99)
    write_placebo(answer_of(ask, run(ask.study)), folder)
    raced = race(real, kinds=("imputation",), replications=64)
    write_files(estimate(real), folder, ("html",))
    (folder / "race.html").write_text(race_page(document_of(raced), raced.decisive), encoding="utf-8")
    files = {"twin": "fidelity.html", "placebo": "placebo.html", "race": "race.html", "tables": "tables.html"}
    return pages | {name: (folder / file, ()) for name, file in files.items()}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    assert CHROMIUM is not None
    with browser(CHROMIUM) as found:
        yield found


def assert_within(chromium: Browser) -> None:
    assert chromium.run("document.documentElement.scrollWidth <= innerWidth"), chromium.run(ESCAPES)


@pytest.mark.parametrize(("name", "size", "dark"), EVERY)
def test_pages_are_readable_everywhere(
    every_page: Pages, chromium: Browser, name: str, size: tuple[int, int], dark: bool
) -> None:
    """No text beside the window, no requests, no complaints, a height, the colours asked for; the first screen has the
    answer, of trust with its reason, estimate and errors, and a picture; nothing is cut, also when all is opened."""
    page, words = every_page[name]
    chromium.open(page.as_uri(), *size, dark=dark)
    assert_within(chromium)
    if name in TRUSTED or (name in STUDIES and size == WIDE):
        tallest = TALLEST * (1.5 if size != WIDE else 1)
        assert chromium.run("document.documentElement.scrollHeight") <= tallest
    assert chromium.requests == [page.as_uri()]
    ink, ground = (chromium.run(f"getComputedStyle(document.body).{key}") for key in ("color", "backgroundColor"))
    assert (_light(ground), _light(ink)) == ((False, True) if dark else (True, False))
    seen = " ".join(
        str(chromium.run(FIRST if name in TRUSTED else "document.querySelector('main').textContent")).split()
    )
    assert [text for text in words if text not in " ".join(seen)] == []
    if name in STUDIES:
        assert chromium.run("document.querySelectorAll('details[open]').length") == 0
        assert chromium.run(LEAD) < size[1] - 100  # the answer begins on the first screen
    if name in TRUSTED:
        assert chromium.run(ESCAPES) == []
    if name in KINDS:
        assert 0 < chromium.run(ANSWERED) < size[1]
        assert chromium.run(SEEN) >= 0.5
        chromium.run("document.querySelectorAll('details').forEach(item => { item.open = true; })")
        assert_within(chromium)
        for what in (CUT, COLLIDING, OUTSIDE):
            assert chromium.run(what) == []
    assert chromium.complaints == []


def test_a_click_on_a_heading_sorts_and_words_filter(pages: Pages, chromium: Browser) -> None:
    chromium.open(pages["power"][0].as_uri(), *WIDE)
    chromium.run("document.querySelectorAll('details').forEach(item => { item.open = true; })")
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


@pytest.mark.parametrize("name", TRUSTED)
def test_a_trust_page_prints_on_three_sheets(pages: Pages, chromium: Browser, name: str) -> None:
    chromium.open(pages[name][0].as_uri(), *WIDE)
    assert 1 <= chromium.printed() <= 3


def test_all_columns_of_a_trust_page_have_room_on_a_tablet(pages: Pages, chromium: Browser) -> None:
    chromium.open(pages["supported"][0].as_uri(), 900, 1200)
    right = chromium.run("[...document.querySelectorAll('th, td')].map(e => e.getBoundingClientRect().right)")
    assert len(right) > 50
    assert max(right) <= 900


@pytest.mark.parametrize("size", [SMALL_SCREEN, PHONE])
def test_tables_of_a_trust_page_are_read_on_a_phone(pages: Pages, chromium: Browser, size: tuple[int, int]) -> None:
    """No name runs into the next column or is a word a line, no caption is cut, the answer is seen without scrolling,
    and the letters of the figure are not smaller than 8 pixels."""
    chromium.open(pages["supported"][0].as_uri(), *size)
    assert chromium.run("[...document.querySelectorAll('tbody th')].length") > 15
    assert (
        chromium.run("""[...document.querySelectorAll('tbody th')].filter(e => e.scrollWidth > e.clientWidth + 1
      || e.getBoundingClientRect().width < 120).map(e => e.innerText)""")
        == []
    )
    words = "document.createRange()"
    right = f"""[...document.querySelectorAll('caption')].map(e => {{ const r = {words}; r.selectNodeContents(e);
      return r.getBoundingClientRect().right; }})"""
    assert all(end <= size[0] for end in chromium.run(right))
    answers = chromium.run("[...document.querySelectorAll('td.answer')].map(e => e.getBoundingClientRect().right)")
    assert len(answers) > 5
    assert max(answers) < size[0]
    letters = "[...document.querySelectorAll('.paper svg text')].map(e => e.getBoundingClientRect().height)"
    assert min(chromium.run(letters)) > 8


def _light(colour: Any) -> bool:
    """Whether a colour such as "rgb(18, 23, 29)" is a light one."""
    return sum(int(part) for part in str(colour).strip("rgba()").split(",")[:3]) > 384
