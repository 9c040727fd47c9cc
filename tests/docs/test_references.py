"""The pages that are made of the code: they are those that the code makes, and no key is without a meaning."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import get_args

import pytest
import reference_pages
import screen
import study_pages

from experiments.cli import COMMANDS, run_command
from experiments.panel_spec import sections, weights
from experiments.panel_spec.sections import TwinSection
from experiments.settings import Table
from experiments.study import StudyTables, builtin_names, builtin_study
from results.diagnosis.claims import MEASURES, Claim

TABLES: list[type[Table]] = [
    sections.PanelSection,
    sections.CollapseSection,
    sections.IndexSection,
    sections.InferenceSection,
    sections.RobustnessSection,
    sections.PsmSection,
    TwinSection,
    StudyTables,
    *get_args(get_args(weights.AnyWeights)[0]),
]


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


def test_every_table_of_a_spec_is_in_the_reference() -> None:
    page = reference_pages.spec_page()
    for name in sections.SpecTables.model_fields:
        assert f"## [[{name}]]" in page or f"## [{name}]" in page, name
    for kind, _ in reference_pages.weights_sections():
        assert f'### kind = "{kind}"' in page


def test_every_key_of_a_claim_is_in_the_reference_with_a_meaning() -> None:
    rows = reference_pages.claim_keys()
    assert [str(row[0]).strip("`") for row in rows] == [item.name for item in fields(Claim)]
    assert [row[0] for row in rows if not row[3]] == []
    page = (reference_pages.FOLDER / "study.md").read_text(encoding="utf-8").partition("## [[claims]]")[2]
    assert all(f"| `{item.name}` |" in page for item in fields(Claim))
    guide = (reference_pages.FOLDER.parent / "monte-carlo.md").read_text(encoding="utf-8")
    assert all(f"`{measure}`" in guide for measure in MEASURES)


def test_every_command_is_in_the_reference() -> None:
    page = reference_pages.commands_page()
    assert all(f"## panelproof {name}\n" in page for name in COMMANDS)
    assert "### panelproof store verify" in page


@pytest.mark.parametrize("name", builtin_names())
def test_a_built_in_study_has_a_page_of_its_own_results(name: str) -> None:
    """Written anew by `python docs/build/study_pages.py NAME`."""
    study = builtin_study(name)
    page = (study_pages.PAGES / f"study-{name}.md").read_text(encoding="utf-8")
    assert f"<!-- study: {study_pages.digest(study)} -->" in page, "the study has changed: run it again"
    assert study.question in page
    assert study.expected in page
    assert f"seed {study.seed}" in page


@pytest.mark.parametrize("name", builtin_names())
def test_a_page_of_a_study_opens_with_the_answer_of_its_own_report(name: str) -> None:
    """Written anew by `python docs/build/study_pages.py --opening`."""
    page = (study_pages.PAGES / f"study-{name}.md").read_text(encoding="utf-8")
    assert page == study_pages.reopened(page)
    first = page.split("\n\n")[1]
    assert first.startswith(study_pages.OPENS)
    said = first.removeprefix(study_pages.OPENS)
    assert not said.startswith("Failed fits")
    report = " ".join(page.partition("```text")[2].split())
    assert [part for part in re.split(r"[.;] ", said.rstrip(".")) if part not in report] == []


def test_a_report_without_an_answer_makes_no_page() -> None:
    report = "size: why?\nSynthetic data\n- Calendars were drawn in 2 worlds.\n\nSize, in %\n- Bias of x: y.\n"
    with pytest.raises(ValueError, match="begins with no answer to a claim"):
        study_pages.opening(report)
    found = study_pages.opening(report.replace("- Cal", "- Failed fits: did.\n- 5% tests of did: a\n  b.\n- Cal"))
    assert found == "**Answer.** 5% tests of did: a b.\n\n- Failed fits: did.\n"


def test_the_list_of_studies_is_what_the_code_makes() -> None:
    assert (study_pages.PAGES / "README.md").read_text(encoding="utf-8") == study_pages.index() + "\n"


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


@pytest.mark.parametrize("name", builtin_names())
def test_the_picture_of_a_study_is_small_and_is_there(name: str) -> None:
    page = (study_pages.PAGES / f"study-{name}.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[([^\]]{40,})\]\(\.\./images/([\w.-]+)\)", page)
    assert len(pictures) == 1, "the page has one picture, with words that say what it shows"
    size = (study_pages.PAGES.parent / "images" / pictures[0][1]).stat().st_size
    assert 2_000 < size <= (study_pages.MOST if pictures[0][1].endswith("svg") else screen.MOST)
