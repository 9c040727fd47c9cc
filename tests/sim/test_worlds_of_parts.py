"""Every part combines with every other: outcomes and truths of drawn worlds against a slow plain program.

Rows of `made_worlds` are a pairwise covering array over all parts, their kinds and their main dials. The worlds of
`paper` are parts too: a few of its departures, three dials at a time, on the 285 cities.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import made_worlds
import numpy as np
import pytest
from covering import allowed_pairs, pairs_of

from references.panel_oracle import PanelPieces
from sim import Draw, Streams, Wanted
from sim.presets import Paper
from sim.world.context import slots_of
from sim.world.draw import DrawnWorld
from sim.world.panel_design import PanelDesign

FIRST, ROWS = 3, 2  # replications 3 and 4: not the first tile's first
POLICY = (
    "att", "att_event", "att_cohort", "att_calendar", "contrast", "att_own", "spill(treated)", "spill(untreated)",
    "spill(never)", "nde", "nie", "nie(m)", "nde(n)", "nie(n)", "nde(m)", "att(2004,2005)", "att(2003,2003)",
    "att(2004,2003)", "event(0)", "event(2)", "event(-1)", "cohort(2004)", "cohort(2002)", "calendar(2004)",
    "calendar(2002)", "slope(x)", "level(x)", "slope(z)", "level(z)", "slope(b)", "slope(m)", "level(m)", "slope(q)",
)  # fmt: skip
PAPER: tuple[dict[str, Any], ...] = (
    {"heterogeneity": 0.5, "spillover": "paper", "mediator": "ent", "confounding": 0.5},
    {"heterogeneity": 0.5, "spillover": "lag", "rho": -0.3, "treated": 142, "anticipation": 1},
    {"redraw": ("calendar",), "shape": "growing", "spillover": "lag", "serial": -0.4, "assignment": "random"},
    {"redraw": ("calendar", "controls"), "shape": "fading", "anticipation": 3, "trend_gap": 0.002, "serial": 0.6},
    {"calendar": "single", "spillover": "error", "effect": -0.03, "treated": 20},
)
OF_PAPER = (
    "att", "att_event", "att_cohort", "att_calendar", "contrast", "nde", "nie",
    *(f"att({cohort},{year})" for cohort in (2014, 2016, 2020) for year in (2013, 2014, 2016, 2017, 2023)),
    *(f"event({since})" for since in (-1, 0, 4, 7, 15)), *(f"cohort({cohort})" for cohort in (2008, 2016, 2019)),
    *(f"calendar({year})" for year in (2007, 2010, 2016, 2023)), "nde(2016,2018)", "nie(2016,2018)", "nie(2014,2013)",
)  # fmt: skip


def of_variables(names: tuple[str, ...], lagged: tuple[str, ...]) -> tuple[str, ...]:
    kinds = {"beta": (*names, *lagged), "direct": names, "indirect": names, "total": names}
    return tuple(f"{kind}({name})" for kind, some in kinds.items() for name in some)


PARAMETERS = ("rho", "lambda", "dependence", "sigma2")
NAMES = (*POLICY, *of_variables(("did", "x", "z", "m", "n"), ("w_did", "w_x", "w_z")), *PARAMETERS)
NAMES_OF_PAPER = (*OF_PAPER, *of_variables(("did", "inv", "tech", "gpat", "ent"), ("w_did", "w_inv", "w_gpat")), "rho",
                  "lambda", "dependence")  # fmt: skip
NUMBERS = range(len(PAPER) + len(made_worlds.rows()))
# all tests of a row run one after the other, so that processes that share the tests draw few rows twice
every_row = pytest.mark.parametrize("number", NUMBERS, scope="module")


@cache
def drawn(number: int) -> tuple[PanelDesign, Draw, tuple[PanelPieces, ...]]:
    """The design of a row, its draw, and the oracle's reading of each replication."""
    streams, design = Streams(number, "oracle"), design_of(number)
    world: Any = design.settle(streams)
    tile = streams.tile(FIRST, FIRST + ROWS)
    wanted = Wanted(frozenset(design.schema.variables), names_of(number))
    design = design.parts if isinstance(design, Paper) else design
    world.draw(streams.tile(0, ROWS), wanted)  # what it remembers of another tile is no harm
    return design, world.draw(tile, wanted), tuple(pieces(design, world.settled, tile, row) for row in range(ROWS))


def design_of(number: int) -> Any:
    if number < len(PAPER):
        return Paper(**PAPER[number])
    return made_worlds.world_of(made_worlds.rows()[number - len(PAPER)])


def names_of(number: int) -> tuple[str, ...]:
    """Without a unit's own effect where units are so many: each is one more potential outcome."""
    if number < len(PAPER):
        return NAMES_OF_PAPER
    own = ("att_own", "spill(treated)") if design_of(number).schema.units > made_worlds.UNITS else ()
    return tuple(name for name in NAMES if name not in own)


def pieces(design: PanelDesign, settled: Any, tile: Streams, row: int) -> PanelPieces:
    """What was drawn of one replication, before anything was made of it."""
    made = DrawnWorld(settled, tile)

    def one(values: np.ndarray) -> np.ndarray:
        return np.array(values[0] if len(values) == 1 else values[row])

    redrawn = tile if "covariates" in design.redraw else None
    fixed = {name: item(redrawn) for name, item in settled.covariates.items()}
    others = made.untreated_mediators
    mediators = {part.name: one(others[part.name]) for part in design.mediators if not part.within}
    shape = settled.context.shape
    panel = settled.frame if not design.missing.follows_outcome else settled_panel(settled, tile)
    seen = np.ones(shape) if panel.observed is None else one(panel.observed).astype(float)
    places = settled.context.places
    return PanelPieces(
        design=design,
        weights=None if settled.context.weights is None else settled.context.weights.dense,
        place=np.stack([places.longitude, places.latitude], axis=1),
        levels=settled.levels,
        covariates={name: one(values) for name, values in fixed.items()},
        mediators=mediators,
        drawn=one(made.did),
        errors=one(settled.errors.draw(tile)),
        deviations=tile.normals("heterogeneity", shape[1])[row],
        noise={name: tile.normals(f"indicator {name}", *shape)[row] for name in design.indicators.names},
        seen=seen,
    )


def settled_panel(settled: Any, tile: Streams) -> Any:
    """The panel of a tile, for its gaps."""
    from sim.world.panel_design import PanelWorld

    return PanelWorld(settled).draw(tile, Wanted(frozenset(), ())).panel


def of(draw: Draw, name: str, row: int) -> np.ndarray:
    values = draw.panel.variables[name]
    return np.asarray(values[0] if values.shape[0] == 1 else values[row])


def test_every_slot_is_in_the_array_and_every_pair_that_may_meet_does() -> None:
    slots = slots_of(PanelDesign)
    assert set(made_worlds.PARTS) == {*slots, "redraw"} - {"other_weights"}
    for name, slot in slots.items():
        if name != "other_weights":
            given = [item if isinstance(item, list) else [item] for item in made_worlds.PARTS[name].values()]
            kinds = {part.get("kind", slot.base.default) for parts in given for part in parts}
            assert kinds == set(slot.kinds), name
    dials = {dial: tuple(values) for dial, values in made_worlds.PARTS.items()}
    met = set().union(*(pairs_of(row, dials) for row in made_worlds.rows()))
    assert met == allowed_pairs(dials, made_worlds.forbidden)
    assert not any(map(made_worlds.forbidden, made_worlds.rows()))


@every_row
def test_the_drawn_outcome_is_the_potential_outcome_of_the_drawn_treatment(number: int) -> None:
    design, draw, read = drawn(number)
    rounding = design.measurement.rounding  # type: ignore[attr-defined]
    tile = Streams(number, "oracle").tile(FIRST, FIRST + ROWS)
    errors = tile.normals("measurement of the outcome", *read[0].drawn.shape)
    for row, oracle in enumerate(read):
        expected = oracle.true_outcome + design.measurement.outcome_sd * errors[row]
        got, seen = of(draw, design.outcome, row), oracle.seen > 0
        assert np.isnan(got[~seen]).all()
        np.testing.assert_allclose(got[seen], expected[seen], rtol=0, atol=max(0.5 * rounding, 0) + 1e-9)
        if rounding:
            np.testing.assert_allclose(got[seen] / rounding, np.round(got[seen] / rounding), rtol=0, atol=1e-6)


@every_row
def test_every_truth_is_taken_from_potential_outcomes(number: int) -> None:
    _, draw, read = drawn(number)
    for name in names_of(number):
        expected = [oracle.truth(name) for oracle in read]
        assert draw.truth[name].shape == (ROWS,)
        np.testing.assert_allclose(draw.truth[name], expected, rtol=1e-8, atol=1e-11, err_msg=name)


@every_row
def test_what_is_seen_of_treatment_covariates_and_indicators(number: int) -> None:
    design, draw, read = drawn(number)
    for row, oracle in enumerate(read):
        seen = oracle.seen > 0
        if design.adoption.treats:
            np.testing.assert_array_equal(of(draw, "did", row)[seen], oracle.drawn[seen])
        for name in oracle.mediators:
            responds = oracle.mediator(name, oracle.drawn)
            np.testing.assert_allclose(of(draw, name, row)[seen], responds[seen], rtol=0, atol=1e-9)
        for part in design.covariates:
            moved = oracle.covariates[part.name] + part.shift * oracle.drawn
            gap = of(draw, part.name, row)[seen] - moved[seen]
            if not design.measurement.covariate_sd:
                assert np.abs(gap).max() <= 0.5 * design.measurement.rounding + 1e-12  # type: ignore[attr-defined]
            else:
                assert 0.6 < gap.std() / design.measurement.covariate_sd < 1.4
        y, without = oracle.outcome(oracle.drawn), oracle.outcome(oracle.untreated)
        for name, values in oracle.indicators(y, without).items():
            np.testing.assert_allclose(of(draw, name, row)[seen], values[seen], rtol=0, atol=1e-9)
