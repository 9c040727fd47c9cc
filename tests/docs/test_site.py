"""The site: it builds without a warning, its links and anchors lead somewhere, and it needs no network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
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


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, str]:
    """Every page of the site but the one that a server shows for a wrong address."""
    return {path: path.read_text("utf-8") for path in site.rglob("*.html") if path.name != "404.html"}


def addresses(page: str, tag: str, attribute: str) -> list[str]:
    """What elements of a kind of a page load or link to."""
    return re.findall(rf'<{tag}\b[^>]*\s{attribute}="([^"]*)"', page)


def test_every_page_of_the_documents_is_there(site: Path, pages: dict[Path, str]) -> None:
    """And addresses of pages are files."""
    sources = {path.relative_to(REPOSITORY / "docs") for path in (REPOSITORY / "docs").rglob("*.md")}
    wanted = {str(path.with_name("index.html") if path.name == "README.md" else path.with_suffix(".html"))
              for path in sources}  # fmt: skip
    assert {str(path.relative_to(site)) for path in pages} == wanted
    links = [link.partition("#")[0] for page in pages.values() for link in addresses(page, "a", "href")]
    assert len(links) > 100
    assert not [link for link in links if "://" not in link and link.endswith("/")]


def test_the_site_loads_nothing_from_the_network(site: Path, pages: dict[Path, str]) -> None:
    loaded = [(path.name, address) for path, page in pages.items() for tag, attribute in LOADED.items()
              for address in addresses(page, tag, attribute)]  # fmt: skip
    assert len(loaded) > len(pages)
    assert [one for one in loaded if one[1].startswith(("http:", "https:", "//", "/"))] == []
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*['\"]?(https?:)?//", sheet.read_text("utf-8")), sheet.name
    for picture in site.rglob("*.svg"):
        assert not re.search(r"(xlink:href|src)=\"https?:|@import|url\(['\"]?https?:", picture.read_text("utf-8"))


def test_the_search_works_without_a_server(site: Path, pages: dict[Path, str]) -> None:
    assert (site / "search" / "search_index.js").read_text("utf-8").startswith("var __index")
    assert all("iframe-worker.js" in " ".join(addresses(page, "script", "src")) for page in pages.values())


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
