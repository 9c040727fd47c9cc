"""Pages that are made of the code are those that it makes, and no key is without a meaning; pictures have words."""

from __future__ import annotations

import io
import re
from dataclasses import fields
from pathlib import Path
from typing import get_args

import blocks
import numpy as np
import pytest
import reference_pages
import refresh
import screen
import study_pages
from PIL import Image

from experiments.cli import COMMANDS, run_command
from experiments.panel_spec import sections, weights
from experiments.panel_spec.sections import TwinSection
from experiments.settings import Table
from experiments.study import StudyTables, builtin_names, builtin_study
from results.diagnosis.claims import MEASURES, Claim

TABLES: list[type[Table]] = [
    sections.PanelSection, sections.CollapseSection, sections.IndexSection, sections.InferenceSection,
    sections.RobustnessSection, sections.PsmSection, TwinSection, StudyTables,
    *get_args(get_args(weights.AnyWeights)[0]),
]  # fmt: skip


@pytest.mark.parametrize("name", reference_pages.PAGES)
def test_a_reference_is_what_the_code_makes(name: str) -> None:
    """Written anew by `python docs/build/reference_pages.py`."""
    page = (reference_pages.FOLDER / name).read_text(encoding="utf-8")
    assert page == reference_pages.PAGES[name]().rstrip() + "\n", "run: python docs/build/reference_pages.py"


@pytest.mark.parametrize("model", TABLES, ids=lambda model: model.__name__)
def test_every_key_of_a_file_has_a_meaning(model: type[Table]) -> None:
    rows = reference_pages.keys(model)
    assert {str(row[0]).strip("`") for row in rows} == set(model.model_fields) - {"kind"}
    assert [row[0] for row in rows if not row[3]] == []


def test_every_table_of_a_spec_and_every_command_is_in_the_reference() -> None:
    page, commands = reference_pages.spec_page(), reference_pages.commands_page()
    for name in sections.SpecTables.model_fields:
        assert f"## [[{name}]]" in page or f"## [{name}]" in page, name
    assert [kind for kind, _ in reference_pages.weights_sections() if f'### kind = "{kind}"' not in page] == []
    assert [name for name in COMMANDS if f"## panelproof {name}\n" not in commands] == []
    assert "### panelproof store verify" in commands
    index = (study_pages.PAGES / "README.md").read_text(encoding="utf-8")
    assert index == study_pages.index() + "\n", "the list of studies is what the code makes"


def test_every_key_of_a_claim_is_in_the_reference_with_a_meaning() -> None:
    rows = reference_pages.claim_keys()
    assert [str(row[0]).strip("`") for row in rows] == [item.name for item in fields(Claim)]
    assert [row[0] for row in rows if not row[3]] == []
    page = (reference_pages.FOLDER / "study.md").read_text(encoding="utf-8").partition("## [[claims]]")[2]
    assert all(f"| `{item.name}` |" in page for item in fields(Claim))
    guide = (reference_pages.FOLDER.parent / "monte-carlo.md").read_text(encoding="utf-8")
    assert all(f"`{measure}`" in guide for measure in MEASURES)


@pytest.mark.parametrize("name", builtin_names())
def test_a_built_in_study_has_a_page_of_its_own_results(name: str) -> None:
    """Written anew by `python docs/build/study_pages.py NAME`, its opening, the answer of its report, by --opening."""
    study, page = builtin_study(name), (study_pages.PAGES / f"study-{name}.md").read_text(encoding="utf-8")
    assert f"<!-- study: {study_pages.digest(study)} -->" in page, "the study has changed: run it again"
    assert all(text in page for text in (study.question, study.expected, f"seed {study.seed}"))
    assert page == study_pages.reopened(page)
    first = page.split("\n\n")[1]
    assert first.startswith(study_pages.OPENS)
    said = first.removeprefix(study_pages.OPENS)
    assert not said.startswith("Failed fits")
    report = " ".join(page.partition("```text")[2].split())
    assert [part for part in re.split(r"[.;] ", said.rstrip(".")) if part not in report] == []
    pictures = re.findall(r"!\[([^\]]{40,})\]\(\.\./images/([\w.-]+)\)", page)
    assert len(pictures) == 1, "the page has one picture, with words that say what it shows"
    size = (study_pages.PAGES.parent / "images" / pictures[0][1]).stat().st_size
    assert 2_000 < size <= (study_pages.MOST if pictures[0][1].endswith("svg") else screen.MOST)


def test_a_report_without_an_answer_makes_no_page() -> None:
    report = "size: why?\nSynthetic data\n- Calendars were drawn in 2 worlds.\n\nSize, in %\n- Bias of x: y.\n"
    with pytest.raises(ValueError, match="begins with no answer to a claim"):
        study_pages.opening(report)
    found = study_pages.opening(report.replace("- Cal", "- Failed fits: did.\n- 5% tests of did: a\n  b.\n- Cal"))
    assert found == "**Answer.** 5% tests of did: a b.\n\n- Failed fits: did.\n"


def test_a_page_of_a_study_is_made_of_a_run(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    study_pages.write("two-mediators", 64, tmp_path / "pages", tmp_path / "stores", "serial")
    page = (tmp_path / "pages" / "study-two-mediators.md").read_text(encoding="utf-8")
    study = builtin_study("two-mediators")
    assert f"{len(study.cells)} cells, 64 replications each" in page
    assert "The study itself has 2,000." in page
    assert "panelproof report runs/two-mediators.zarr --full" in page
    assert str(tmp_path) not in page
    assert page.count(study.question) >= 1
    assert "(../images/study-two-mediators.svg)" in page
    store, figures = tmp_path / "stores" / "runs" / "two-mediators.zarr", tmp_path / "figures"
    assert run_command(["report", str(store), "--figures", str(figures), "--quiet"]) == 0
    made = (tmp_path / "images" / "study-two-mediators.svg").read_bytes()
    assert made == (figures / "bias-nie-chart.svg").read_bytes()
    assert 'kind = "panel"' in page.partition("## World")[2]


# Pictures

IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)]+)\)")


def png(pixels: np.ndarray) -> bytes:
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


def test_every_picture_has_words_is_used_is_made_by_a_command_and_is_not_large() -> None:
    shown, silent, files = set(), [], set((blocks.REPOSITORY / "docs" / "images").iterdir())
    for page in [*blocks.REPOSITORY.glob("README*.md"), *(blocks.REPOSITORY / "docs").rglob("*.md")]:
        for words, target in IMAGE.findall(page.read_text("utf-8")):
            shown.add((page.parent / target).resolve())
            silent += [(page.name, target)] if len(words) < 8 else []
    assert silent == []
    assert files == shown
    assert [path.name for path in files if path.stat().st_size > 250_000] == []
    marks = [mark for page in blocks.pages() for block in blocks.blocks_of(page.read_text("utf-8"))
             for kind in ("picture", "screen") for mark in block.marked(kind)]  # fmt: skip
    made = {mark.partition(" => ")[2].rpartition("/")[2] for mark in marks}
    assert {path.name for path in files if not path.name.startswith("study-")} <= made
