"""The site: it builds without a warning, its links and anchors lead somewhere, and it needs no network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import browser
import pytest

pytestmark = pytest.mark.documents

REPOSITORY = Path(__file__).resolve().parents[2]
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href", "object": "data"}
BOXES = """[...document.querySelectorAll(".md-typeset pre > code")].map(box => [
    box.scrollWidth - box.clientWidth, Math.max(...box.innerText.split("\\n").map(line => line.length)),
    box.innerText.slice(0, 80)])"""
WARNING = re.compile(r"^(WARNING|ERROR)", re.MULTILINE)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built with warnings as errors, which include links and anchors that lead nowhere."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False,
                          env=os.environ | {"NO_MKDOCS_2_WARNING": "1"})  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not WARNING.search(done.stderr)
    return folder


class Page(HTMLParser):
    """What a page loads and links to, and the places in it that links may name."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag in LOADED and LOADED[tag] in found:
            self.loaded.append(found[LOADED[tag]])
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        self.places |= {found[name] for name in ("id", "name") if name in found}


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    """Every page of the site but the one that a server shows for a wrong address."""
    return {path: Page(path.read_text("utf-8")) for path in site.rglob("*.html") if path.name != "404.html"}


def test_every_page_of_the_documents_is_there(site: Path, pages: dict[Path, Page]) -> None:
    sources = {path.relative_to(REPOSITORY / "docs") for path in (REPOSITORY / "docs").rglob("*.md")}
    made = {str(path.relative_to(site)) for path in pages}
    wanted = {str(path.with_name("index.html") if path.name == "README.md" else path.with_suffix(".html"))
              for path in sources}  # fmt: skip
    assert made == wanted


def test_the_site_loads_nothing_from_the_network(site: Path, pages: dict[Path, Page]) -> None:
    outside = [(path.name, address) for path, page in pages.items() for address in page.loaded
               if address.startswith(("http:", "https:", "//", "/"))]  # fmt: skip
    assert outside == []
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*['\"]?(https?:)?//", sheet.read_text("utf-8")), sheet.name
    for picture in site.rglob("*.svg"):
        assert not re.search(r"(xlink:href|src)=\"https?:|@import|url\(['\"]?https?:", picture.read_text("utf-8"))


def test_the_search_works_without_a_server(site: Path, pages: dict[Path, Page]) -> None:
    assert (site / "search" / "search_index.js").read_text("utf-8").startswith("var __index")
    assert all(any("iframe-worker.js" in address for address in page.loaded) for page in pages.values())


def test_pages_about_development_stand_under_development() -> None:
    text = (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8")
    parts = dict(re.findall(r"^  - ([\w ]+):\n((?:      .*\n?)+)", text, re.MULTILINE))
    assert all(page in parts["Development"] for page in ("architecture.md", "threat-model.md", "scaling.md"))
    assert "coming-from.md" in parts["Guide"]


@pytest.mark.browser
def test_boxes_of_code_hold_their_lines_and_no_page_is_wider_than_a_phone(site: Path) -> None:
    path = browser.binary()
    if path is None:
        pytest.skip("no Chromium")
    with browser.browser(path) as opened:
        for name in ("coming-from.html", "estimates.html", "studies/study-size.html", "reference/python.html"):
            opened.open((site / name).as_uri(), 1280, 900)
            boxes = opened.run(BOXES)
            assert boxes
            assert [text for cut, longest, text in boxes if cut > 1 and longest <= 120] == [], name
            opened.open((site / name).as_uri(), 390, 844)
            assert opened.run("document.documentElement.scrollWidth") <= 390, name


def test_addresses_of_pages_are_files(pages: dict[Path, Page]) -> None:
    inside = [link.partition("#")[0] for page in pages.values() for link in page.links if "://" not in link]
    assert not [link for link in inside if link.endswith("/")]
