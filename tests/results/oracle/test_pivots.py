"""Pivot tables: every cell in every format is a number of the frame."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from typing import Any

import numpy as np
import openpyxl
import pytest
from made_records import Sample, made_up
from reports import tables_of
from rich.console import Console

from estimators.core.estimator import Status
from results.diagnosis.diagnose import diagnose
from results.plots.grid import MEASURES
from results.report.pivot import (
    csv_file,
    default_pivot,
    journal_table,
    pivot,
    pivot_by,
    pivot_html,
    resolved_names,
    terminal_table,
    xlsx_file,
)
from results.tables.latex import latex_tables
from results.tables.records import Document
from results.tables.word import word_tables
from sim.errors import BadInput

DRAWS = 150
EFFECTS, TREATED = (0.0, 0.3, 0.9), (5, 20)
NAMES, ERRORS = ("plain", "wide"), ("one", "two")
Place = tuple[float, int, str, str]


@pytest.fixture(scope="module")
def diagnosis() -> Any:
    rng, cells = np.random.default_rng(77), []
    for effect in EFFECTS:
        for treated in TREATED:
            theta, samples = np.full((DRAWS, 1), effect), {}
            status = np.where(np.arange(DRAWS) < treated, Status.REFUSED, Status.OK)
            for name in NAMES:
                estimate = theta + rng.standard_normal((DRAWS, 1)) * (0.5 if name == "plain" else 0.9) + 0.1
                estimate[status != Status.OK] = 500.0
                samples[name] = Sample(theta, estimate, np.abs(rng.normal(0.45, 0.05, (DRAWS, 2, 1))), status=status)
            cells.append(({"effect.size": effect, "treated": treated}, samples))
    return diagnose(made_up(cells))


def counted(diagnosis: Any, measure: str, place: Place) -> tuple[float, float]:
    """A measure and its Monte Carlo error in the frame: in percent of a share, NaN where it is a bound."""
    effect, treated, name, error = place
    wanted = {"effect.size": effect, "treated": treated, "estimator": name, "error": error, "sample": "own",
              "measure": MEASURES[measure].column}  # fmt: skip
    (row,) = diagnosis.frame[(diagnosis.frame[list(wanted)] == list(wanted.values())).all(axis=1)].itertuples()
    if measure == "bias":
        return row.value, row.mcse
    return 100 * row.value, 100 * row.mcse if 0 < row.value < 1 else float("nan")


def same(number: str, mcse: str, wanted: tuple[float, float]) -> None:
    """Assert that a printed number and error are the counted ones, as far as their digits go."""
    for shown, value in ((number, wanted[0]), (mcse, wanted[1])):
        if value != value:
            assert shown[:1] in "<>"
            continue
        text = shown.rstrip("!").replace("\N{MINUS SIGN}", "-").replace("$-$", "-")
        assert abs(float(text) - value) <= 0.5 * 10.0 ** -len(text.partition(".")[2]) + 1e-9, (shown, value)


def pairs(cells: list[str]) -> list[tuple[str, str]]:
    """Number and error of cells such as "12.0 (1.3)" or "12.0!(1.3)"."""
    found = [re.fullmatch(r"([^\s()]+?)!?\s*\(([^()]+)\)!?", cell.strip()) for cell in cells]
    assert all(found), cells
    return [(one[1], one[2]) for one in found if one]


@pytest.mark.parametrize("measure", ["power", "coverage", "bias"])
def test_every_cell_of_every_format(diagnosis: Any, measure: str) -> None:
    table = pivot_by(diagnosis, MEASURES[measure], ["size", "treated"])
    assert table is not None
    errors = () if measure == "bias" else ("error",)
    assert (table.down, table.across) == (("effect.size", "estimator", *errors), ("treated",))
    expected = {}
    for keys in table.rows:
        effect, name, error = float(keys[0]), keys[1], keys[2] if errors else ""
        expected[keys] = [
            counted(diagnosis, measure, (effect, int(treated), name, error)) for (treated,) in table.columns
        ]
    assert len(expected) == len(EFFECTS) * len(NAMES) * (len(ERRORS) if errors else 1)
    document = Document({"outcome": "study"}, ())
    width = len(table.heads)
    html = str(pivot_html(table))
    ((_, rows),) = tables_of(html)
    for row in rows[2:]:
        for (number, mcse), wanted in zip(pairs(row[width:]), expected[tuple(row[:width])], strict=True):
            same(number, mcse, wanted)
    assert len(rows) == 2 + len(expected)
    scale = 1 if measure == "bias" else 100
    flat = [value for wanted in expected.values() for value, _ in wanted]
    assert np.allclose(np.array([float(key) for key in re.findall(r'data-v="([^"]*)"', html)]) * scale, flat)
    check_terminal(terminal_table(table), expected, width)
    check_csv(csv_file([table]), expected, scale)
    check_xlsx(xlsx_file([table]), expected, width, scale)
    check_latex(latex_tables(document, [journal_table(table)]), [one for wanted in expected.values() for one in wanted])
    check_word(word_tables(document, [journal_table(table)]), [one for wanted in expected.values() for one in wanted])


def check_terminal(table: Any, expected: dict[Any, Any], width: int) -> None:
    out = io.StringIO()
    Console(file=out, width=200, color_system=None, highlight=False).print(table)
    lines = [line for line in out.getvalue().splitlines() if "(" in line and "(columns)" not in line]
    for line, (keys, wanted) in zip(lines, expected.items(), strict=True):
        cells = re.findall(r"\S+ \([<>]?[\d.]+\)!?", line)
        assert line.split(cells[0])[0].split()[-1] == keys[-1]
        for (number, mcse), one in zip(pairs(cells), wanted, strict=True):
            same(number, mcse, one)


def check_csv(text: str, expected: dict[Any, Any], scale: float) -> None:
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == sum(len(wanted) for wanted in expected.values())
    flat = [one for wanted in expected.values() for one in wanted]
    for row, (value, mcse) in zip(rows, flat, strict=True):
        assert float(row["value"]) * scale == pytest.approx(value)
        if mcse == mcse:
            assert float(row["mcse"]) * scale == pytest.approx(mcse)
        assert int(row["n"]) == DRAWS - int(row["treated"])
        assert row["term"] == "t0"


def check_xlsx(content: bytes, expected: dict[Any, Any], width: int, scale: float) -> None:
    (sheet,) = openpyxl.load_workbook(io.BytesIO(content)).worksheets
    rows = list(sheet.iter_rows(min_row=3, max_row=2 + len(expected), values_only=True))
    for row, (keys, wanted) in zip(rows, expected.items(), strict=True):
        assert row[0] == float(keys[0])
        assert row[1:width] == keys[1:]
        numbers = row[width:]
        for (value, mcse), one in zip(zip(numbers[::2], numbers[1::2], strict=True), wanted, strict=True):
            assert float(value) * scale == pytest.approx(one[0])  # type: ignore[arg-type]
            assert one[1] != one[1] or float(mcse) * scale == pytest.approx(one[1])  # type: ignore[arg-type]


def check_latex(text: str, flat: list[tuple[float, float]]) -> None:
    body = text.partition(r"\midrule")[2].partition(r"\bottomrule")[0]
    body = body.replace(r"\rlap{)}", ")").replace("$-$", "-").replace("$<$", "<").replace("$>$", ">")
    check_lines([[cell.strip() for cell in line.rstrip("\\ ").split("&")[1:]] for line in body.splitlines()], flat)


def check_word(content: bytes, flat: list[tuple[float, float]]) -> None:
    xml = zipfile.ZipFile(io.BytesIO(content)).read("word/document.xml").decode()
    rows = [[re.sub("<[^>]+>", "", cell) for cell in re.findall(r"<w:tc>.*?</w:tc>", row, flags=re.S)][1:]
            for row in re.findall(r"<w:tr>.*?</w:tr>", xml, flags=re.S)[1:]]  # fmt: skip
    unescaped = [[cell.replace("&lt;", "<").replace("&gt;", ">") for cell in row] for row in rows]
    check_lines(unescaped, flat)


def check_lines(lines: list[list[str]], flat: list[tuple[float, float]]) -> None:
    """Numbers in one line, their errors in brackets in the next."""
    lines = [line for line in lines if line]
    numbers = [cell for line in lines[::2] for cell in line]
    errors = [cell.strip("()") for line in lines[1::2] for cell in line]
    for number, mcse, wanted in zip(numbers, errors, flat, strict=True):
        same(number, mcse, wanted)


def test_nothing_is_averaged_and_everything_that_varies_has_its_keys(diagnosis: Any) -> None:
    table = pivot(diagnosis, MEASURES["coverage"], ["estimator"], ["error"])
    assert table is not None
    assert table.down == ("estimator", "effect.size", "treated")
    held = [cell for row in table.cells for cell in row if cell is not None]
    assert len(held) == len({cell.value.place for cell in held}) == 2 * 2 * 6
    size = default_pivot(diagnosis, MEASURES["size"])
    assert size is not None
    assert {cell.value.place[0] for row in size.cells for cell in row if cell is not None} == {0, 1}
    assert pivot_by(diagnosis, MEASURES["bias"], ["treated"]).across == ("estimator",)  # type: ignore[union-attr]


@pytest.mark.parametrize(("values", "across"), [(8, ("x",)), (9, ())])
def test_a_dial_stands_in_the_columns_as_far_as_they_have_room(values: int, across: tuple[str, ...]) -> None:
    truth = np.ones((64, 1))
    found = Sample(truth, truth + np.random.default_rng(1).standard_normal((64, 1)), np.ones((64, 1, 1)))
    table = default_pivot(diagnose(made_up([({"x": x}, {"a": found}) for x in range(values)])), MEASURES["bias"])
    assert table is not None
    assert table.across == across
    sheet = openpyxl.load_workbook(io.BytesIO(xlsx_file([table]))).active
    assert sheet.freeze_panes == ("A3" if across else "B3")  # below the heads, behind the keys of rows


def test_marks_are_those_of_clear_departures(diagnosis: Any) -> None:
    table = pivot_by(diagnosis, MEASURES["bias"], ["treated"])
    assert table is not None
    for cell in [cell for row in table.cells for cell in row if cell is not None]:
        assert cell.clear == (abs(cell.value.value) > 4 * cell.value.mcse)


def test_short_names_and_all_faults_at_once(diagnosis: Any) -> None:
    assert resolved_names(diagnosis.cells, ["size", "treated"], "--by") == ("effect.size", "treated")
    assert resolved_names(diagnosis.cells, ["effect"], "--by") == ("effect.size",)
    with pytest.raises(BadInput) as error:
        resolved_names(diagnosis.cells, ["sise", "treated", "treated", "term", "what"], "--by")
    assert [problem.what for problem in error.value.problems] == [
        "'sise' is no dial of this study's grid", "'treated' stands twice", "'what' is no dial of this study's grid"
    ]  # fmt: skip
