"""The potential-outcome oracle: outcomes and every truth of a drawn world against a slow plain program.

The `paper` design is drawn under a covering array of its dials: every pair of values of two dials meets in some row.
"""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from typing import Any

import numpy as np
import pytest
from covering import Row, allowed_pairs, covering_rows, pairs_of

from references.potential_outcomes import CHANNELS, CONTROLS, PaperPanel, first_years, persistent
from sim import Draw, Streams, Wanted
from sim.presets import Paper

FIRST, ROWS = 3, 2  # replications 3 and 4: not the first tile's first
DIALS: dict[str, tuple[Any, ...]] = {
    "effect": (0.0157, -0.03),
    "spillover": ("none", "paper", "lag", "error"),
    "rho": (None, 0.4, -0.3),
    "spatial_error": (None, 0.3),
    "shape": ("constant", "growing", "fading"),
    "heterogeneity": (0.0, 0.5),
    "anticipation": (0, 1, 3),
    "trend_gap": (0.0, 0.002),
    "serial": (0.0, 0.6, -0.4),
    "sigma": (0.029, 0.0),
    "calendar": ("staggered", "single"),
    "controls": ("paper", "none"),
    "redraw": ((), ("calendar",), ("controls",), ("calendar", "controls")),
    "mediator": ("gpat", "ent"),
    "confounding": (0.0, 0.5),
    "assignment": ("rich", "random"),
    "treated": (48, 20, 142),
}
# Three dials at a time: impacts of unequal effects exist where the dose is the dummy; truths of a redrawn calendar.
TRIPLES: tuple[dict[str, Any], ...] = (
    {"heterogeneity": 0.5, "spillover": "paper"},
    {"heterogeneity": 0.5, "spillover": "lag", "rho": -0.3},
    {"redraw": ("calendar",), "shape": "growing", "spillover": "lag"},
)
POLICY = (
    "att", "att_event", "att_cohort", "att_calendar", "contrast", "nde", "nie",
    *(f"att({cohort},{year})" for cohort in (2014, 2016, 2020) for year in (2013, 2014, 2016, 2017, 2023)),
    *(f"event({since})" for since in (-1, 0, 1, 4, 5, 7, 15)),
    *(f"cohort({cohort})" for cohort in (2008, 2016, 2019)),
    *(f"calendar({year})" for year in (2007, 2010, 2016, 2023)),
    "nde(2016,2018)", "nie(2016,2018)", "nie(2014,2013)",
)  # fmt: skip
OF_VARIABLES = tuple(
    f"{kind}({name})"
    for kind in ("beta", "direct", "indirect", "total")
    for name in ("did", *CONTROLS, "gpat", "ent", *(("w_did", "w_inv", "w_road", "w_gpat") if kind == "beta" else ()))
)
NAMES = (*POLICY, *OF_VARIABLES, "rho", "lambda", "dependence", "sigma2")


@cache
def rows() -> tuple[Row, ...]:
    """Rows of dials in which all pairs of values meet, and the triples."""
    return (*covering_rows(DIALS), *({dial: values[0] for dial, values in DIALS.items()} | row for row in TRIPLES))


@cache
def drawn(number: int) -> tuple[Paper, Draw, tuple[PaperPanel, ...]]:
    """The design of a row, its draw, and the oracle's reading of each replication."""
    design = Paper(**rows()[number])
    streams = Streams(number, "oracle")
    world: Any = design.settle(streams)
    tile = streams.tile(FIRST, FIRST + ROWS)
    world.draw(streams.tile(0, ROWS), Wanted(frozenset({"icr"}), NAMES))  # what it remembers of another tile is no harm
    draw = world.draw(tile, Wanted(frozenset(design.schema.variables), NAMES))
    shocks, deviations = tile.normals("errors", 18, 285), tile.normals("heterogeneity", 285)
    dials = {item.name: getattr(design, item.name) for item in fields(design)}
    panel = draw.panel
    read = tuple(
        PaperPanel(
            dials, panel.periods, first_years(values_of(draw, "did", row), panel.periods),
            panel.weights["knn-6"].dense, world.settled.levels,
            tuple(values_of(draw, name, row) for name in panel.roles.controls), shocks[row], deviations[row],
        )
        for row in range(ROWS)
    )  # fmt: skip
    return design, draw, read


def values_of(draw: Draw, name: str, row: int) -> np.ndarray:
    """A variable of one replication, (T, N)."""
    values = draw.panel.variables[name]
    return np.asarray(values[0] if values.shape[0] == 1 else values[row])


every_row = pytest.mark.parametrize("number", range(len(rows())))


def test_every_dial_is_in_the_array_and_every_pair_of_values_meets() -> None:
    assert set(DIALS) == {item.name for item in fields(Paper)}
    assert set().union(*(pairs_of(row, DIALS) for row in rows())) == allowed_pairs(DIALS)


@every_row
def test_the_drawn_outcome_is_the_potential_outcome_of_the_drawn_adoption(number: int) -> None:
    _, draw, read = drawn(number)
    for row, oracle in enumerate(read):
        np.testing.assert_allclose(values_of(draw, "icr", row), oracle.drawn, rtol=0, atol=1e-10)


@every_row
def test_the_drawn_dummy_is_that_of_an_absorbing_adoption(number: int) -> None:
    design, draw, read = drawn(number)
    for row, oracle in enumerate(read):
        np.testing.assert_array_equal(values_of(draw, "did", row), oracle.treated(oracle.adoption))
        assert sum(first is not None for first in oracle.adoption) == design.treated
    changes = {name: values.shape[0] == ROWS for name, values in draw.panel.variables.items()}
    assert changes["did"] == ("calendar" in design.redraw)
    assert all(changes[name] == ("controls" in design.redraw) for name in draw.panel.roles.controls)


@every_row
def test_every_truth_is_taken_from_potential_outcomes(number: int) -> None:
    design, draw, read = drawn(number)
    for name in NAMES:
        if name == "sigma2" and design.serial:
            continue  # what a model without serial correlation should find then is a matter of its own
        expected = [oracle.truth(name) for oracle in read]
        assert draw.truth[name].shape == (ROWS,)
        np.testing.assert_allclose(draw.truth[name], expected, rtol=1e-9, atol=1e-13, err_msg=name)


@every_row
def test_the_mediator_responds_to_the_policy_and_shares_errors_as_its_dials_say(number: int) -> None:
    """Its error u is made of the outcome's e and shocks of its own: sd as published, corr(u, e - b u) = confounding."""
    design, draw, read = drawn(number)
    if read[0].channel is None:
        assert design.mediator not in draw.panel.variables
        return
    own = Streams(number, "oracle").tile(FIRST, FIRST + ROWS).normals(f"mediator {design.mediator}", 18, 285)
    sd = CHANNELS[design.mediator][2]
    for row, oracle in enumerate(read):
        assert oracle.channel is not None
        a, b = oracle.channel
        levels = values_of(draw, design.mediator, row) - a * oracle.treated(oracle.adoption)
        parts = [np.ones(levels.size), oracle.levels.ravel(), oracle.errors.ravel(),
                 persistent(own[row], design.serial).ravel()]  # fmt: skip
        (_, _, slope, spread), left, *_ = np.linalg.lstsq(np.stack(parts, axis=1), levels.ravel())
        assert left[0] < 1e-16  # nothing else is in it
        variance_e = design.sigma**2
        assert slope**2 * variance_e + spread**2 == pytest.approx(sd**2, rel=1e-8)
        shared = slope * variance_e - b * sd**2  # cov(u, e - b u)
        rest = variance_e - 2 * b * slope * variance_e + b**2 * sd**2  # var(e - b u)
        assert shared / (sd * np.sqrt(rest)) == pytest.approx(design.confounding, abs=1e-8)
