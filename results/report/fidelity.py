"""The fidelity report of a twin as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from results.page import page


def fidelity_page(document: Mapping[str, Any], caution: str) -> str:
    """Parameters, features and what each twin misses; document: as `panelproof twin --json` prints it."""
    pages = page("results.report", number=lambda value: f"{value:.4g}".replace("-", "−"))
    rows = document["fidelity"]
    twins = [
        dict(twin) | {"rows": [row for row in rows if row["method"] == twin["method"]]} for twin in document["twins"]
    ]
    return pages.get_template("fidelity.html").render(twins=twins, caution=caution)
