"""How many files run for table 7 of a minimal spec and for a block of a study: who reads must follow the walk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import walk

from estimators.spatial.spectrum import PiecewiseChebyshev

MOST_FILES = 35  # of table 7 alone
MOST_OF_A_BLOCK = 29, 14  # files and crossings; 30 and 15 are the bars


def test_table_7_walks_through_few_files(tmp_path: Path) -> None:
    panel, spec = walk.minimal_panel(tmp_path)
    found, captions = walk.walked(lambda: walk.table_7(panel, spec))
    assert any(caption.startswith("Table 7a. Spatial models of y") for caption in captions)
    assert len(set(found.files)) == len(found.files)
    models = "estimators/spatial/spatial_panel.py", "experiments/tables/spatial_models.py"
    assert {"sim/panel.py", *models} <= set(found.files)
    assert len(found.files) <= MOST_FILES, found.text


def test_a_block_walks_through_few_files_and_rooms(tmp_path: Path) -> None:
    found = walk.block(tmp_path)
    assert {"sim/world/panel_design.py", "estimators/linear/did.py", "results/store/chunks.py"} <= set(found.files)
    assert len(found.files) <= MOST_OF_A_BLOCK[0], found.text
    assert len(found.crossings) <= MOST_OF_A_BLOCK[1], found.text


def test_a_climb_is_a_call_from_a_lower_room_into_a_higher_one() -> None:
    """A decorator of sim/ that runs a method of estimators/; what tests and libraries call counts for nothing."""
    found, values = walk.walked(lambda: PiecewiseChebyshev(np.atleast_1d, 1.0)(np.array([0.1])))
    np.testing.assert_allclose(values, [[0.1]])
    assert found.files == ("estimators/spatial/spectrum.py", "sim/weights.py")
    assert found.climbs == (("sim/weights.py", "estimators/spatial/spectrum.py"),)
    assert "2 files, 1 climbs" in found.text
