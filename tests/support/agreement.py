"""Two fits that must agree: of a batch and of its panels, of units in another order, of an outcome that was moved."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from estimators import Estimates, Estimator
from sim import Panel, Streams
from sim.panel import part

Floats = NDArray[np.float64]


def assert_agree(
    got: Estimates, wanted: Estimates, *, rtol: float = 1e-9, atol: float = 1e-11, scale: Floats | float = 1.0
) -> None:
    """Estimates, up to `atol` too, errors, degrees of freedom, and what is stored; scale: of estimates and errors."""
    np.testing.assert_array_equal(got.status, wanted.status)
    np.testing.assert_allclose(got.estimate, wanted.estimate * scale, rtol=rtol, atol=atol)
    np.testing.assert_allclose(got.se, wanted.se * scale, rtol=rtol)
    np.testing.assert_allclose(got.dof, wanted.dof, rtol=rtol)
    for name, factor in (("pvalue", 1.0), ("lower", scale), ("upper", scale)):
        one, other = getattr(got, name), getattr(wanted, name)
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_allclose(one, other * factor, rtol=rtol, atol=atol, err_msg=name)


def assert_batch_is_its_panels(
    estimator: Estimator, panel: Panel, streams: Streams | None = None, *, rtol: float = 1e-9, atol: float = 1e-11
) -> Estimates:
    """The same numbers, statistics among them, for all replications at once and for each by itself; gives the first."""
    whole, rows = estimator(panel, streams), range(panel.replications)
    own = [streams and streams.tile(streams.start + row, streams.start + row + 1) for row in rows]
    alone = Estimates.join([estimator(panel.replication(row), one) for row, one in zip(rows, own, strict=True)])
    assert_agree(whole, alone, rtol=rtol, atol=atol)
    assert whole.statistics.keys() == alone.statistics.keys()
    for name, values in whole.statistics.items():
        np.testing.assert_allclose(values, alone.statistics[name], rtol=rtol, err_msg=name)
    return whole


def in_another_order(panel: Panel, seed: int = 1) -> tuple[Panel, NDArray[np.intp]]:
    """The panel with its units permuted, and the order (N,)."""
    order = np.random.default_rng(seed).permutation(len(panel.units))
    units = tuple(panel.units[i] for i in order)
    moved = replace(
        panel,
        units=units,
        variables={name: np.ascontiguousarray(values[:, :, order]) for name, values in panel.variables.items()},
        attributes={name: values[order] for name, values in panel.attributes.items()},
        observed=None if panel.observed is None else panel.observed[:, :, order],
        weights={name: w.reordered(units) for name, w in panel.weights.items()},
    )
    return moved, order


def with_effects(panel: Panel, scale: float = 1.0) -> Panel:
    """Its outcome times `scale`, with unit and period effects added."""
    units, periods = np.arange(len(panel.units)), np.arange(len(panel.periods))[:, None]
    return panel.with_variables({"y": scale * panel.variables["y"] + 3.0 * units + periods**2.0})


def of_units(panel: Panel, kept: NDArray[np.bool_]) -> Panel:
    """The panel of some units (N,), without weights."""
    return part(panel, kept, np.ones(len(panel.periods), dtype=bool))
