"""The notebook of the first hour: twelve cells from a file to tables, trust, a race, a study and a plot."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "tutorials" / "first-hour.ipynb"
CELLS, MOST_LINES, MOST_SECONDS = 12, 40, 90


def lines_of(output: Any) -> int:
    """Lines that a reader sees of an output: of a text, and of a card the rows of its table and its sentences."""
    if output["output_type"] == "stream":
        return len(output["text"].splitlines())
    shown = output["data"]
    if "image/png" in shown or "image/svg+xml" in shown:
        return 1
    html = shown.get("text/html")
    return len(shown["text/plain"].splitlines()) if html is None else len(re.findall(r"<(?:tr|div|img|svg)\b", html))


@pytest.mark.documents
def test_the_first_hour_runs_and_is_read_in_minutes(tmp_path: Path) -> None:
    """In a folder of its own and a kernel of this environment; less time than a reader waits."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert all(not cell.get("outputs") for cell in notebook.cells), "the notebook is kept without outputs"
    client = nbclient.NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}})
    begin = time.monotonic()
    client.execute()
    took = time.monotonic() - begin
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) == CELLS
    printed = {number: sum(map(lines_of, cell.outputs)) for number, cell in enumerate(code, 1)}
    assert {number: count for number, count in printed.items() if not 1 <= count <= MOST_LINES} == {}
    shown = [output for cell in code for output in cell.outputs if output["output_type"] == "execute_result"]
    assert sum("text/html" in output["data"] for output in shown) >= 9, "tables, verdict, race, study, store: cards"
    assert not [output for cell in code for output in cell.outputs if output.get("name") == "stderr"]
    assert {"panel.csv", "spec.toml", "trust", "serial.zarr"} <= {path.name for path in tmp_path.iterdir()}
    assert took < 3 * MOST_SECONDS  # on a machine that does nothing else it takes a third of this
