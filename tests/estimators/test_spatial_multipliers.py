"""Multipliers that a batch of errors shares: against dense inverses, between nodes and without nodes."""

from __future__ import annotations

import numpy as np
import pytest

from estimators import SpatialPanel, Tile
from estimators.spatial import spectrum
from estimators.spatial import spectrum as spectrum_module
from estimators.spatial.spectrum import SPARSE_FROM, spectrum_of
from references.small_panels import small_panel, small_weights


def test_errors_of_large_panels_interpolate_the_multiplier() -> None:
    """G(rho) between nodes, exact to rounding over the whole interval, for dense and for sparse factors."""
    for n in (30, SPARSE_FROM):
        w = spectrum_of(small_weights(n))
        dense = w.weights.dense
        for rho in (-0.97, -0.3, 0.0, 0.42, 0.9, 0.999):
            wanted = np.linalg.solve(np.eye(n) - rho * dense, dense)
            scale = np.abs(wanted).max()
            for got in (w.multiplier(rho), w.near_multiplier(rho)):
                np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-11 * scale)
            x = np.random.default_rng(1).standard_normal((2, 3, n))
            np.testing.assert_allclose(w.multiplier.apply(rho, x), x @ wanted.T, rtol=0, atol=1e-10 * scale)
            sums = [np.vdot(wanted, wanted), *(np.square(wanted.sum(axis=0)).sum() / n,), wanted.sum() / n,
                    (wanted @ wanted).sum() / n]  # fmt: skip
            np.testing.assert_allclose(w.multiplier.norms(rho), sums, rtol=1e-10)
    assert w.multiplier.sparse


def test_a_batch_of_sandwiches_inverts_nothing_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replications share the multipliers at the nodes of a few segments, which the first fit leaves behind."""
    panel, real = small_panel(41, 6, seed=11, rho=0.4, replications=64), np.linalg.inv
    estimator = SpatialPanel("sar", errors=("qmle", "cluster:unit", "driscoll-kraay"))
    reduction = estimator.reduction(panel.schema)
    plan = reduction.prepare(panel)
    moments = reduction.reduce(plan, Tile(panel))
    wanted = estimator.solve(plan, moments, panel.schema, None)
    solved = []
    monkeypatch.setattr(np.linalg, "solve", lambda *args: solved.append(args))
    monkeypatch.setattr(np.linalg, "inv", lambda a: solved.append(a) if a.shape[-1] > 30 else real(a))
    again = estimator.solve(plan, moments, panel.schema, None)
    np.testing.assert_array_equal(again.se, wanted.se)
    assert not solved


@pytest.mark.parametrize("model", ["sar", "sac"])
def test_a_large_panel_computes_without_nodes_what_a_small_one_interpolates(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = small_panel(40, 6, seed=4)
    estimator = SpatialPanel(model, errors=("information", "cluster:unit"))
    wanted = estimator(panel)
    spectrum_module._KEPT.clear()
    monkeypatch.setattr(spectrum, "INTERPOLATED_UP_TO", 30)
    monkeypatch.setattr(spectrum, "SPARSE_FROM", 30)
    monkeypatch.setattr(spectrum, "MOST_FILL", 1.0)
    got = estimator(panel)
    spectrum_module._KEPT.clear()
    np.testing.assert_allclose(got.se, wanted.se, rtol=1e-9)
