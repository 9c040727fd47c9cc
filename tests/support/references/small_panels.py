"""Small made-up panels for tests: any size, weights, mask and model, from a seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sim import Panel, Roles, Weights

Floats = NDArray[np.float64]
Kind = Literal["knn", "inverse-distance", "contiguity", "spectral", "uneven"]
CONTROLS = ("inv", "road")


def small_weights(n: int, kind: Kind = "knn", seed: int = 1) -> Weights:
    """W of n points in a square: 4 nearest (complex eigenvalues), inverse distance (dense), a ring; not row-stochastic
    are spectral (inverse distance, symmetric) and uneven (the same with units of unequal pull, so that row sums and
    column sums differ).
    """
    points = np.random.default_rng(seed).random((n, 2))
    distance = np.hypot(*(points[:, None] - points).T)
    if kind == "contiguity":
        raw = np.zeros((n, n))
        steps = np.arange(n)
        for gap in (1, 3):
            raw[steps, (steps + gap) % n] = raw[(steps + gap) % n, steps] = 1.0
    elif kind == "knn":
        nearest = np.argsort(distance + np.diag(np.full(n, np.inf)), axis=1)[:, :4]
        raw = np.zeros((n, n))
        np.put_along_axis(raw, nearest, 1.0, axis=1)
    else:
        np.fill_diagonal(distance, np.inf)
        raw = 1.0 / distance
    if kind == "uneven":
        raw = raw * np.linspace(0.3, 3.0, n)
    return Weights.of(names(n), raw, "spectral" if kind in {"spectral", "uneven"} else "row", kind)


def names(n: int) -> tuple[str, ...]:
    return tuple(f"unit {i:03d}" for i in range(n))


def small_panel(
    n: int = 30,
    t: int = 6,
    *,
    seed: int = 1,
    replications: int = 1,
    weights: Kind = "knn",
    rho: float = 0.4,
    model: Literal["none", "sar", "sem", "sdm"] = "sdm",
    sigma: float = 1.0,
    redrawn: bool = False,
    missing: int = 0,
) -> Panel:
    """y on a staggered `did` and two controls, with unit and time effects and the model's spatial terms.

    redrawn: other regressors in each replication. missing: cells taken out at random, never a whole unit or period.
    """
    rng = np.random.default_rng(seed)
    w = small_weights(n, weights, seed)
    rows = replications if redrawn else 1
    adoption = np.stack(
        [rng.permutation(np.r_[np.full(n // 3, np.inf), rng.integers(1, t, n - n // 3)]) for _ in range(rows)]
    )
    did = (np.arange(t)[:, None] >= adoption[:, None, :]).astype(float)
    controls = [rng.standard_normal((rows, t, n)) + 0.5 * rng.standard_normal((rows, 1, n)) for _ in CONTROLS]
    signal = 1.0 * did + 0.7 * controls[0] - 0.4 * controls[1]
    if model == "sdm":
        signal = signal + 0.3 * w.lag(did) - 0.2 * w.lag(controls[0]) + 0.25 * w.lag(controls[1])
    multiplier = np.linalg.inv(np.eye(n) - rho * w.dense)
    noise = sigma * rng.standard_normal((replications, t, n))
    if model == "sem":
        noise = noise @ multiplier.T
    y = signal + noise
    if model in {"sar", "sdm"}:
        y = y @ multiplier.T
    y = y + 2.0 * rng.standard_normal(n) + rng.standard_normal(t)[:, None]
    return Panel(
        units=w.units,
        periods=tuple(range(2001, 2001 + t)),
        variables={"y": y, "did": did, **dict(zip(CONTROLS, controls, strict=True))},
        roles=Roles("y", "did", CONTROLS),
        attributes={"province": np.array([f"p{i % 7}" for i in range(n)])},
        observed=_mask(n, t, missing, rng),
        weights={weights: w},
    )


def located(panel: Panel, seed: int = 4, degrees: tuple[float, float] = (20.0, 15.0)) -> Panel:
    """With coordinates of its units, within so many degrees of longitude and latitude."""
    east, north = np.random.default_rng(seed).random((2, len(panel.units)))
    places = {"longitude": 100.0 + degrees[0] * east, "latitude": 25.0 + degrees[1] * north}
    return replace(panel, attributes={**panel.attributes, **places})


def unseen(panel: Panel, *cells: tuple[object, object]) -> Panel:
    """The panel without some cells, (periods, units) each."""
    seen = np.ones((1, len(panel.periods), len(panel.units)), dtype=bool)
    for periods, units in cells:
        seen[0, periods, units] = False
    return replace(panel, observed=seen)


def adopting(panel: Panel, *starts: tuple[int, object]) -> Panel:
    """The panel with a treatment that begins at a place of its periods for some units, and for no other."""
    did = np.zeros((1, len(panel.periods), len(panel.units)))
    for first, units in starts:
        did[0][first:, units] = 1.0
    return panel.with_variables({"did": did})


def bare(values: Mapping[str, Floats], roles: Roles | None = None, **more: Any) -> Panel:
    """A panel of arrays, (R, T, N) or (T, N) each, of an outcome y and a treatment did unless roles are given."""
    arrays = {name: np.array(array, dtype=np.float64, ndmin=3) for name, array in values.items()}
    t, n = next(iter(arrays.values())).shape[1:]
    return Panel(names(n), tuple(range(2001, 2001 + t)), arrays, roles or Roles("y", "did"), **more)


def changed(panel: Panel, name: str, at: object, value: object) -> Panel:
    """The panel with another value of a variable in some of its cells."""
    values = np.array(panel.variables[name])
    values[at] = value
    return panel.with_variables({name: values})


def _mask(n: int, t: int, missing: int, rng: np.random.Generator) -> NDArray[np.bool_] | None:
    if not missing:
        return None
    mask = np.ones(t * n, dtype=bool)
    mask[rng.choice(t * n, missing, replace=False)] = False
    mask = mask.reshape(1, t, n)
    assert (mask[0].sum(axis=0) > 1).all()
    assert (mask[0].sum(axis=1) > 1).all()
    return mask


def weighted(panel: Panel, weights: Floats) -> Panel:
    """The panel with `pop`, weights that broadcast to (1, T, N), NaN where nothing is observed."""
    pop = np.broadcast_to(weights, (1, len(panel.periods), len(panel.units)))
    pop = pop.copy() if panel.observed is None else np.where(panel.observed, pop, np.nan)
    return replace(panel, variables={**panel.variables, "pop": pop}, roles=replace(panel.roles, weight="pop"))


def uneven(panel: Panel, seed: int = 3, *, fixed: bool = False) -> Panel:
    """With weights between 0.1 and 5 that vary over time, or one a unit."""
    rng, (t, n) = np.random.default_rng(seed), (len(panel.periods), len(panel.units))
    return weighted(panel, rng.gamma(1.0, 1.0, (1, n) if fixed else (t, n)) + 0.1)
