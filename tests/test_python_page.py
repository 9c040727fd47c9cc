"""Every block of docs/python.md runs, in order, and shows what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import blocks
import pytest
import xarray as xr

import panelproof as pp
from results.diagnosed import chart_of

pytestmark = pytest.mark.documents

PAGE = Path(__file__).resolve().parent.parent / "docs" / "python.md"
README = PAGE.parent.parent / "README.md"
NAME = re.compile(r"\bpp\.(\w+)")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All names of the page once its blocks have run, and the folder where they did."""
    names: dict[str, Any] = {"folder": tmp_path_factory.mktemp("page")}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(names["folder"])
        for block in blocks.blocks_of(PAGE.read_text(encoding="utf-8")):
            if block.language == "python":
                exec(block.shortened(), names)
    return names


def test_the_page_names_every_function_of_pp_and_no_other_page_names_what_is_not_there() -> None:
    named = {page: set(NAME.findall(page.read_text(encoding="utf-8"))) for page in (*PAGE.parent.rglob("*.md"), README)}
    assert set(pp.__all__) - set(pp._classes()) - named[PAGE] == set()
    assert {page.name: names - set(dir(pp)) for page, names in named.items() if names - set(dir(pp))} == {}
    assert len(named[PAGE]) > 30


def test_every_block_runs_and_files_are_there(page: dict[str, Any]) -> None:
    found = {path.name: path for path in page["folder"].iterdir()}
    assert {"power.pdf", "bias.svg", "zip.png", "mine.zarr"} <= set(found)
    assert found["power.pdf"].read_bytes().startswith(b"%PDF")
    assert found["zip.png"].read_bytes().startswith(b"\x89PNG")
    assert "effect of the policy" in found["bias.svg"].read_text(encoding="utf-8")


def test_the_power_curve_is_the_diagnosis(page: dict[str, Any]) -> None:
    diagnosis = page["diagnosis"]
    rows = diagnosis.frame.query("measure == 'rejection'")
    wanted = {(row.noise, row.estimator, row.effect): row.value for row in rows.itertuples()}
    assert len(wanted) == 20
    chart = chart_of(diagnosis, "power")
    drawn = {(panel.title, series.label, point.at): point.value
             for panel in chart.panels for series in panel.series for point in series.points}  # fmt: skip
    named = {(f"noise {noise:g}", name, effect): value for (noise, name, effect), value in wanted.items()}
    assert drawn == named
    table = diagnosis.table(rows="effect", columns=["noise", "estimator"], measure="power")
    assert {(noise, name, effect): table.loc[effect, (noise, name)] for noise, name, effect in wanted} == wanted


def test_the_fitted_line_of_the_page_is_that_of_the_tables(page: dict[str, Any]) -> None:
    fitted, column = page["found"], page["column"]
    assert fitted.params["did"] == pytest.approx(column.params["did"], rel=1e-12)
    assert fitted.std_errors["did"] == pytest.approx(column.std_errors["did"], rel=1e-12)
    record = next(each for each in page["tables"].records if each.place == ("2", 5) and each.term == "did"
                  and each.se_type == "cluster:unit")  # fmt: skip
    assert (record.estimate, record.se) == (column.params["did"], column.std_errors["did"])


def test_the_arrays_as_they_are_stored_open_without_the_entry_point(page: dict[str, Any]) -> None:
    plain = xr.open_datatree(page["folder"] / "mine.zarr", engine="zarr", consolidated=False)
    assert plain["did/estimate"].dims == ("cell", "replication", "term")
    assert plain["effect"].dims == ("cell",)
