"""Placebo designs that go through all assignments instead of drawing some."""

from __future__ import annotations

import numpy as np
import pytest

from references.small_panels import small_panel
from sim import BadInput, Streams, Wanted
from sim.real_panels import Placebo
from sim.schemes import scheme_of


@pytest.mark.parametrize("scheme", ["space", "mixed:restricted", "time"])
def test_exact_placebos_are_each_assignment_once(scheme: str) -> None:
    panel = small_panel(6, 5, seed=4, model="none")
    did = np.zeros((1, 5, 6))
    did[0, 4:, 1], did[0, 3:, 3] = 1.0, 1.0
    panel = panel.with_variables({"did": did})
    found = scheme_of(scheme).on(panel)
    assert found.every is not None
    assert found.count == len(list(found.every()))
    drawn = Placebo.of(panel, scheme, exact=True).draw(Streams(3).tile(0, 64), Wanted(frozenset({"did"}), ()))
    anew = drawn.panel.variables["did"].astype(int)
    size = found.count - (scheme != "time")
    assert len(np.unique(anew[:size], axis=0)) == size
    assert not (anew == did[0]).all(axis=(1, 2)).any()
    np.testing.assert_array_equal(anew[size:], anew[np.arange(size, 64) % size])


@pytest.mark.parametrize("scheme", ["blocks", "space"])
def test_assignments_that_cannot_be_gone_through(scheme: str) -> None:
    with pytest.raises(BadInput, match=r"draw them: exact = false"):
        Placebo.of(small_panel(40, 6, seed=4), scheme, exact=True).settle(Streams(1))
