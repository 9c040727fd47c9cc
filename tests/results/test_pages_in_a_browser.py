"""Reports of built-in studies and trust pages in a real browser: heights, phone width, console, requests, sorting,
first screen, printed sheets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import made_cities
import pytest
from verdict_worlds import SMALL, World

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
from results.page import page
from results.report.html import html_report
from results.report.panel_pages import race_page, trust_page
from results.store.zarr_store import ZarrStore
from results.verdict.answer import answer
from tests.support.browser import Browser, binary, browser

STUDIES = ("size", "power", "spillover")
TALLEST = 6000
WIDE, PHONE = (1280, 800), (390, 844)
CHROMIUM = binary()
WITH_CHROMIUM = pytest.mark.skipif(
    CHROMIUM is None,
    reason="NO CHROMIUM: pages were not looked at in a browser; install one (apt-get install chromium)",
)
pytestmark = [pytest.mark.browser, WITH_CHROMIUM]
ESCAPES = """(() => [...document.querySelectorAll('body *')].filter(e => !e.closest('.wide, svg'))
  .filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName + '.' + e.className))()"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, str]]:
    """The page of each study and the first sentence of its answer."""
    folder = tmp_path_factory.mktemp("pages")
    found = {}
    for name in STUDIES:
        study = replace(builtin_study(name), replications=64, block=64)
        store = run(study, store=folder / f"{name}.zarr")
        assert isinstance(store, ZarrStore)
        diagnosis = diagnose(store)
        text, page = (
            html_report(diagnosis, facts_of(store), further=further_charts(store, diagnosis)),
            folder / f"{name}.html",
        )
        page.write_text(text, encoding="utf-8")
        found[name] = page, answer(diagnosis).sentences[0]
    return found


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    assert CHROMIUM is not None
    with browser(CHROMIUM) as found:
        yield found


def assert_readable(chromium: Browser, page: Path, size: tuple[int, int], dark: bool, tallest: float) -> None:
    """Opened, it has no text beside the window, no requests, no complaints, a height, and the colours asked for."""
    chromium.open(page.as_uri(), *size, dark=dark)
    assert chromium.run("document.documentElement.scrollWidth <= innerWidth"), chromium.run(ESCAPES)
    assert chromium.run("document.documentElement.scrollHeight") <= tallest
    assert chromium.run("[...document.querySelectorAll('[id]')].filter(one => document.getElementById(one.id) != one)"
                        ".map(one => one.id)") == []  # fmt: skip
    assert (chromium.complaints, chromium.requests) == ([], [page.as_uri()])
    ink, ground = (chromium.run(f"getComputedStyle(document.body).{key}") for key in ("color", "backgroundColor"))
    assert (_light(ground), _light(ink)) == ((False, True) if dark else (True, False))


@pytest.mark.parametrize(("name", "size", "dark"), [
    ("size", WIDE, False), ("size", PHONE, True), ("power", WIDE, True), ("power", PHONE, False),
    ("spillover", WIDE, False), ("spillover", PHONE, True),
])  # fmt: skip
def test_pages_are_readable_everywhere(
    pages: dict[str, tuple[Path, str]], chromium: Browser, name: str, size: tuple[int, int], dark: bool
) -> None:
    page, sentence = pages[name]
    assert_readable(chromium, page, size, dark, TALLEST if size == WIDE else float("inf"))
    assert chromium.run("document.querySelectorAll('details[open]').length") == 0
    assert " ".join(chromium.run("document.querySelector('main').textContent").split()).find(sentence) >= 0
    top = chromium.run(
        "document.querySelector('main section .lead, main section .verdicts').getBoundingClientRect().top"
    )
    assert top < size[1] - 100  # the answer begins on the first screen


def test_a_click_on_a_heading_sorts_and_words_filter(pages: dict[str, tuple[Path, str]], chromium: Browser) -> None:
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


def test_a_filter_takes_no_word_from_two_cells(tmp_path: Path, chromium: Browser) -> None:
    script = page("results.report").get_template("tables.js").render()
    rows = "".join(f"<tr><td>{units}</td><td>0.6</td></tr>" for units in (*range(200, 209), 2000))
    made = tmp_path / "table.html"
    made.write_text(f"<table class=sortable><thead><tr><th>units</th><th>effect</th></tr></thead><tbody>{rows}</tbody>"
                    f"</table><script>{script}</script>", encoding="utf-8")  # fmt: skip
    chromium.open(made.as_uri(), *WIDE)
    chromium.run("""(() => { const field = document.querySelector('input.filter');
        field.value = '2000'; field.dispatchEvent(new Event('input')); })()""")
    shown = "[...document.querySelectorAll('tbody tr')].filter(row => !row.hidden).map(row => row.cells[0].textContent)"
    assert chromium.run(shown) == ["2000"]


@pytest.mark.parametrize(("first", "texts"), [
    ("number", ["-0.5 (0.1)", "-2.0e-03 (1.0e-03)", "1.5e-05 (2e-06)!", "0.25 (0.01)", "0.3 (0.1)", "12.0 (<13)", "-"]),
    ("fits", ["64/64", "512/1,024", "1,000/1,024", "1,024/1,024"]),
    ("words", ["2sls", "b9", "b10", "x = -0.5", "x = -0.1", "x = 0.15", "x = 0.3", "x = none"]),
])  # fmt: skip
def test_numbers_with_their_errors_and_numbers_among_words_are_sorted_by_size(
    tmp_path: Path, chromium: Browser, first: str, texts: list[str]
) -> None:
    script = page("results.report").get_template("tables.js").render()
    rows = "".join(f"<tr><td>{escape(text)}</td></tr>" for text in sorted(texts, key=str.swapcase))
    made = tmp_path / "table.html"
    made.write_text(f"<table class=sortable><thead><tr><th>{first}</th></tr></thead><tbody>{rows}</tbody></table>"
                    f"<script>{script}</script>", encoding="utf-8")  # fmt: skip
    chromium.open(made.as_uri(), *WIDE)
    chromium.run("document.querySelector('th button').click()")
    assert chromium.run("[...document.querySelectorAll('td')].map(cell => cell.textContent)") == texts


# Trust pages

SIZES = [WIDE, (500, 844), PHONE]
CITIES = f"""{made_cities.PANEL}
groups = ["province"]
{made_cities.PLACES}
[[weights]]
kind = "knn"
k = 4
[twin]
draws = 100
"""
PAGES = ("supported", "contradicted", "no claim")


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, dict[str, Any]]]:
    """The page of each answer and its numbers; the first has all error types, methods and checks."""
    folder = tmp_path_factory.mktemp("trusted")
    world = World("small staggered", **SMALL, dates=((4, 7), (6, 7), (8, 6)))
    drift = world.drift_of(2.0 * world.detectable())
    real = {
        "supported": made_cities.real_panel(folder, CITIES),
        "contradicted": world.real(folder, 1, drift=drift),
        "no claim": world.real(folder, 1),
    }
    found = {}
    for name, one in real.items():
        held = document(trust(one, replications=64, benchmarks=32, race=name == "supported"))
        assert held["verdict"]["answer"] == name
        page = folder / f"{name.replace(' ', '-')}.html"
        page.write_text(trust_page(held), encoding="utf-8")
        found[name] = page, held
    return found


EVERY_SIZE = [("supported", WIDE, True), ("supported", PHONE, False), ("contradicted", (500, 844), True),
              ("contradicted", WIDE, False), ("no claim", PHONE, True), ("no claim", (500, 844), False)]  # fmt: skip


@pytest.mark.parametrize(("name", "size", "dark"), EVERY_SIZE)
def test_trust_pages_are_readable_and_have_verdict_reason_estimate_and_errors_on_the_first_screen(
    trusted: dict[str, tuple[Path, dict[str, Any]]], chromium: Browser, name: str, size: tuple[int, int], dark: bool
) -> None:
    page, held = trusted[name]
    assert_readable(chromium, page, size, dark, TALLEST * (1 if size == WIDE else 1.5))
    assert chromium.run(ESCAPES) == []
    seen = """[...document.querySelectorAll('header h1, header p')]
      .filter(e => e.getBoundingClientRect().bottom < innerHeight).map(e => e.innerText).join(' ')"""
    said = " ".join(str(chromium.run(seen)).split())
    advised = next(row for row in held["errors"] if row["recommended"])
    estimate = f"{held['claim']['estimate']:.4g}".replace("-", "\N{MINUS SIGN}")
    assert held["verdict"]["reason"] in said
    assert f"Is this result safe? {name.capitalize()}" in said
    assert f"{held['claim']['outcome']}: {estimate}" in said
    assert f"Print {advised['named']}: s.e. " in said


@pytest.mark.parametrize("name", PAGES)
def test_a_trust_page_prints_on_three_sheets(
    trusted: dict[str, tuple[Path, dict[str, Any]]], chromium: Browser, name: str
) -> None:
    chromium.open(trusted[name][0].as_uri(), *WIDE)
    assert 1 <= chromium.printed() <= 3


def test_all_columns_of_a_trust_page_have_room_on_a_tablet(
    trusted: dict[str, tuple[Path, dict[str, Any]]], chromium: Browser
) -> None:
    chromium.open(trusted["supported"][0].as_uri(), 900, 1200)
    right = chromium.run("[...document.querySelectorAll('th, td')].map(e => e.getBoundingClientRect().right)")
    assert len(right) > 50
    assert max(right) <= 900


@pytest.mark.parametrize("size", SIZES[1:])
def test_tables_of_a_trust_page_are_read_on_a_phone(
    trusted: dict[str, tuple[Path, dict[str, Any]]], chromium: Browser, size: tuple[int, int]
) -> None:
    """No name runs into the next column or is a word a line, no caption is cut, the answer is seen without scrolling,
    and the letters of the figure are not smaller than 8 pixels."""
    chromium.open(trusted["supported"][0].as_uri(), *size)
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


# Boxes of every kind of page: nothing is cut, no letters run into each other, the first screen has answer and picture

KINDS = ("size", "spillover", "power", "supported", "twin", "placebo", "race", "tables")
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


@pytest.fixture(scope="module")
def every_page(
    pages: dict[str, tuple[Path, str]],
    trusted: dict[str, tuple[Path, dict[str, Any]]],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    """A page of every kind."""
    folder = tmp_path_factory.mktemp("every")
    real = made_cities.real_panel(folder, CITIES)
    write_twin(twin(real), folder)
    ask = question(real, draws=99)
    write_placebo(answer_of(ask, run(ask.study)), folder)
    raced = race(real, kinds=("imputation",), replications=64)
    write_files(estimate(real), folder, ("html",))
    (folder / "race.html").write_text(race_page(document_of(raced), raced.decisive), encoding="utf-8")
    found = {name: page for name, (page, _) in pages.items()} | {name: page for name, (page, _) in trusted.items()}
    files = {"twin": "fidelity.html", "placebo": "placebo.html", "race": "race.html", "tables": "tables.html"}
    return found | {name: folder / file for name, file in files.items()}


@pytest.mark.parametrize(
    ("name", "size"), [(name, size) for at, name in enumerate(KINDS) for size in (SIZES[at % 2], PHONE)]
)
def test_no_text_is_cut_and_the_first_screen_has_answer_and_picture(
    every_page: dict[str, Path], chromium: Browser, name: str, size: tuple[int, int]
) -> None:
    chromium.open(every_page[name].as_uri(), *size)
    assert chromium.run("document.documentElement.scrollWidth <= innerWidth"), chromium.run(ESCAPES)
    assert 0 < chromium.run(ANSWERED) < size[1]
    assert chromium.run(SEEN) >= 0.5
    chromium.run("document.querySelectorAll('details').forEach(item => { item.open = true; })")
    assert chromium.run("document.documentElement.scrollWidth <= innerWidth"), chromium.run(ESCAPES)
    assert (chromium.run(CUT), chromium.run(COLLIDING), chromium.run(OUTSIDE)) == ([], [], [])
    assert chromium.complaints == []


@pytest.mark.parametrize("name", ["twin", "race", "tables"])
def test_names_of_rows_do_not_run_into_numbers_on_a_phone(
    every_page: dict[str, Path], chromium: Browser, name: str
) -> None:
    chromium.open(every_page[name].as_uri(), *PHONE)
    wide = "[...document.querySelectorAll('tbody tr:not(.head) th')].filter(e => e.scrollWidth > e.clientWidth + 1)"
    assert chromium.run(f"{wide}.map(e => e.innerText)") == []


def test_all_columns_of_a_twins_page_have_room_on_a_screen(every_page: dict[str, Path], chromium: Browser) -> None:
    chromium.open(every_page["twin"].as_uri(), 1000, 1200)
    right = chromium.run("[...document.querySelectorAll('th, td')].map(e => e.getBoundingClientRect().right)")
    assert len(right) > 50
    assert max(right) <= 1000


def _light(colour: Any) -> bool:
    """Whether a colour such as "rgb(18, 23, 29)" is a light one."""
    return sum(int(part) for part in str(colour).strip("rgba()").split(",")[:3]) > 384
