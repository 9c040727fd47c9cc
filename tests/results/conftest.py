"""Records of the paper design in memory, and a small finished store."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from made_records import MadeUpRecords, fit_paper

from experiments.run.runner import run
from studies import quick_study


@pytest.fixture(scope="session")
def paper_records() -> MadeUpRecords:
    return fit_paper(128)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished store of a small study."""
    store = tmp_path_factory.mktemp("made") / "x.zarr"
    run(quick_study(128), store=store)
    return store


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "x.zarr")
    return tmp_path / "x.zarr"
