"""Worlds of the campaign of verdicts: what a page is held to is the law of the panel that it was made of."""

from __future__ import annotations

import numpy as np
from verdict_worlds import World


def test_the_calendar_of_a_panel_is_the_walk_that_its_units_load_on() -> None:
    world = World("factors", factor=50.0, ar=0.0)
    noise = world.noise(np.random.default_rng([3, *world.name.encode()]), 1)[0]
    within = noise - noise.mean(axis=0)
    within -= within.mean(axis=1, keepdims=True)
    walk = np.array(world.on_calendar_of(3).calendar)
    first = np.linalg.svd(within, full_matrices=False)[0][:, 0]
    assert abs(np.corrcoef(first, walk - walk.mean())[0, 1]) > 0.99
    other = np.array(world.on_calendar_of(4).calendar)
    assert abs(np.corrcoef(first, other)[0, 1]) < 0.99


def test_panels_of_one_calendar_share_their_walk_and_redraw_all_else() -> None:
    world = World("factors", factor=50.0, ar=0.0).on_calendar_of(3)
    one, other = world.noise(np.random.default_rng(1), 2)
    firsts = []
    for noise in (one, other):
        within = noise - noise.mean(axis=0)
        within -= within.mean(axis=1, keepdims=True)
        firsts.append(np.linalg.svd(within, full_matrices=False)[0][:, 0])
    assert abs(firsts[0] @ firsts[1]) > 0.99
    assert not np.allclose(one, other)
