"""Pictures of the documents: how they are taken and made small, and that each one that a page shows has words."""

from __future__ import annotations

import io
import re
from pathlib import Path

import blocks
import numpy as np
import pytest
import refresh
import screen
from PIL import Image

IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)]+)\)")
BIG = 250_000  # bytes of any picture of the documents


def png(pixels: np.ndarray) -> bytes:
    """A PNG of pixels (height, width, 3)."""
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def test_a_picture_keeps_its_size_and_colours_with_fewer_bytes() -> None:
    pixels = np.full((300, 400, 3), 255)
    pixels[50:60, :, :] = (213, 94, 0)
    pixels[:, 100:103, :] = (0, 114, 178)
    made = screen.small(png(pixels))
    with Image.open(io.BytesIO(made)) as picture:
        assert picture.size == (400, 300)
        assert picture.mode == "P"
        back = np.asarray(picture.convert("RGB")).astype(int)
    assert np.abs(back - pixels).max() <= 8
    assert len(made) < 2_000


@pytest.mark.long
def test_a_picture_that_stays_large_is_refused() -> None:
    noise = np.random.default_rng(20260101).integers(0, 256, (700, 700, 3))
    with pytest.raises(ValueError, match="200,000; take a smaller screen"):
        screen.small(png(noise))


def test_a_page_without_a_browser_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen.shutil, "which", lambda name: None)
    with pytest.raises(RuntimeError, match="install it"):
        screen.first_screen(tmp_path / "page.html", 100, 100)


@pytest.mark.browser
@pytest.mark.skipif(not any(map(screen.shutil.which, screen.NAMES)), reason="NO CHROMIUM: no page was photographed")
def test_the_first_screen_of_a_page_is_taken_at_two_dots_a_pixel(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<body style='margin:0;background:#d55e00'><div style='height:2000px'></div></body>")
    with Image.open(io.BytesIO(screen.first_screen(page, 600, 500))) as picture:
        assert picture.size == (1200, 1000)
        assert np.abs(np.asarray(picture.convert("RGB")).astype(int)[500, 600] - (213, 94, 0)).max() <= 8


def test_marks_of_pictures_copy_files_and_take_screens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """<!-- picture: a.svg => images/a.svg -->
<!-- picture: b.png => images/b.png -->
<!-- screen: c.html 900x400 => images/c.png -->
```sh
panelproof studies
```
"""
    (tmp_path / "a.svg").write_text("<svg/>")
    (tmp_path / "b.png").write_bytes(png(np.zeros((20, 30, 3))))
    monkeypatch.setattr(refresh, "DOCS", tmp_path / "docs")
    monkeypatch.setattr(screen, "first_screen", lambda *asked: repr(asked[1:]).encode())
    refresh.copy_pictures(text, tmp_path)
    images = tmp_path / "docs" / "images"
    assert (images / "a.svg").read_text() == "<svg/>"
    with Image.open(images / "b.png") as picture:
        assert picture.size == (30, 20)
    assert (images / "c.png").read_text() == "(900, 400)"


def test_every_picture_has_words_and_is_used_and_is_not_large() -> None:
    shown, silent = set(), []
    for page in [*blocks.REPOSITORY.glob("README*.md"), *(blocks.REPOSITORY / "docs").rglob("*.md")]:
        for words, target in IMAGE.findall(page.read_text("utf-8")):
            shown.add((page.parent / target).resolve())
            silent += [(page.name, target)] if len(words) < 8 else []
    assert silent == []
    files = set((blocks.REPOSITORY / "docs" / "images").iterdir())
    assert files == shown
    assert [path.name for path in files if path.stat().st_size > BIG] == []


def test_every_picture_is_made_by_a_command() -> None:
    made = {path.name for path in (blocks.REPOSITORY / "docs" / "images").glob("study-*")}
    for page in blocks.pages():
        for block in blocks.blocks_of(page.read_text("utf-8")):
            made |= {mark.partition(" => ")[2].rpartition("/")[2] for kind in ("picture", "screen")
                     for mark in block.marked(kind)}  # fmt: skip
    assert {path.name for path in (blocks.REPOSITORY / "docs" / "images").iterdir()} <= made
