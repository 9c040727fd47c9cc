"""Which picture opens a report, which shows every cell at once, and that long names leave room for dots in a file."""

from __future__ import annotations

import io
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from PIL import Image

from results.diagnosis.claims import Claim
from results.diagnosis.diagnose import Diagnosis, diagnose
from results.plots.curves import measure_chart
from results.plots.grid import MEASURES
from results.plots.paper import figure_bytes
from results.report.facts import lead_of
from results.report.html import every_cell

DRAWS = 60
LONG = ("callaway-santanna-not-yet", "two-way-difference")


def diagnosed(fabricate: Any, sample_of: Any, **grid: tuple[object, ...]) -> Diagnosis:
    """Two estimators with long names, the first with a term `overall`, the second with `did`."""
    rng = np.random.default_rng(20260310)
    cells = []
    for values in product(*grid.values()):
        theta = np.full((DRAWS, 1), 0.5)
        samples = {name: sample_of(theta, theta + rng.standard_normal((DRAWS, 1)), np.ones((DRAWS, 1, 1)))
                   for name in LONG}  # fmt: skip
        cells.append((dict(zip(grid, values, strict=True)), samples))
    made = fabricate(cells)
    for name, term in zip(LONG, ("overall", "did"), strict=True):
        layout = made.layouts[name]
        made.layouts[name] = replace(layout, terms=(term,), targets={term: layout.targets["t0"]})
        for block in made.draws:
            block.estimates[name] = replace(block.estimates[name], terms=(term,))
    return diagnose(made)


@pytest.mark.parametrize(
    ("terms", "wanted"),
    [(("did", "overall"), None), (("overall", "did", "rho"), None), (("did",), "did"), (("rho", "overall"), "overall"),
     ((), None)],
)  # fmt: skip
def test_a_claim_about_every_first_term_is_shown_for_every_estimator(
    fabricate: Any, sample_of: Any, terms: tuple[str, ...], wanted: str | None
) -> None:
    diagnosis = replace(diagnosed(fabricate, sample_of, kind=("a", "b")), claims=(Claim("bias", terms),))
    measure, term = lead_of(diagnosis)
    assert (measure.name, term) == ("bias", wanted)
    chart = measure_chart(diagnosis, measure, term=term)
    assert chart is not None
    assert len(chart.panels[0].series) == (2 if wanted is None else 1)


def test_every_cell_is_one_picture_from_three_dials_on(fabricate: Any, sample_of: Any) -> None:
    many = diagnosed(fabricate, sample_of, kind=("a", "b"), n=(1, 2, 3), shape=("flat", "steep"))
    (chart,) = every_cell(many, MEASURES["bias"])
    assert (chart.form, len(chart.panels[0].series[0].points)) == ("nested", 12)
    assert every_cell(diagnosed(fabricate, sample_of, kind=("a", "b"), n=(1, 2, 3)), MEASURES["bias"]) == []


def test_dots_with_long_names_stand_within_the_width_of_a_page(fabricate: Any, sample_of: Any) -> None:
    shapes, serial = ("constant", "growing", "fading"), ("independent", "autocorrelated")
    chart = measure_chart(diagnosed(fabricate, sample_of, shape=shapes, serial=serial), MEASURES["bias"])
    assert chart is not None
    assert (chart.form, len(chart.panels)) == ("dots", 6)
    with Image.open(io.BytesIO(figure_bytes(chart, "png"))) as picture:
        pixels = np.asarray(picture.convert("L"))
    assert pixels.shape[1] == 2160
    assert (pixels < 128).any()
    assert (pixels[:, -20:] > 250).all()
    assert (pixels[:, :5] > 250).all()
