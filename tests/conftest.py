"""Fixtures that every test may ask for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets that are not part of the repository; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("PANELPROOF_DATA", "../shared/data"))
    if not folder.is_dir():
        pytest.skip(f"no data at {folder}; set PANELPROOF_DATA")
    return folder
