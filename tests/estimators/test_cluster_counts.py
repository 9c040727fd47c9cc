"""How many parameters count in the factor of every clustered error, against ranks of matrices of dummies.

The factor is G/(G-1) (n-1)/(n-k), so that the squared errors of two settings of cluster_k have the ratio of their
n - k, and k follows from that of "slopes", which counts the slopes alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from estimators import Estimates, SpatialDID, TwoWayDID
from references.regressions import panel_ols
from references.small_panels import small_panel
from sim import Panel

Codes = NDArray[np.intp]
EFFECTS: dict[str, tuple[str, ...]] = {
    "pooled": (),
    "unit": ("unit",),
    "period": ("period",),
    "two-way": ("unit", "period"),
    "by province": ("unit", "province-by-period"),
}
CLUSTERS = ("unit", "province", "period", "unit+period", "province+period")
SETTINGS = ("slopes", "nonnested", "all")


def codes_of(name: str, panel: Panel) -> Codes:
    """Level of every observed cell, (n,): of unit, period, an attribute, or an attribute by period."""
    t, n = len(panel.periods), len(panel.units)
    period, unit = np.repeat(np.arange(t)[:, None], n, axis=1), np.repeat(np.arange(n)[None], t, axis=0)
    attribute = name.removesuffix("-by-period")
    if attribute in panel.attributes:
        own = np.unique(panel.attributes[attribute], return_inverse=True)[1][unit]
        levels = own * t + period if name.endswith("-by-period") else own
    else:
        levels = {"unit": unit, "period": period}[name]
    seen = np.ones((t, n), dtype=bool) if panel.observed is None else panel.observed[0]
    return np.asarray(levels[seen])


def rank_with_constant(effects: list[str], panel: Panel) -> int:
    """Rank of a constant and the dummies of effects."""
    levels = [codes_of(effect, panel) for effect in effects]
    columns = [np.equal.outer(own, np.unique(own)).astype(float) for own in levels]
    return int(np.linalg.matrix_rank(np.hstack([np.ones((panel.nobs, 1)), *columns])))


def is_nested(effect: str, grouping: str, panel: Panel) -> bool:
    """Whether every level of an effect lies within one cluster."""
    levels, clusters = codes_of(effect, panel), codes_of(grouping, panel)
    return all(len(set(clusters[levels == level])) == 1 for level in set(levels))


def counted(effects: tuple[str, ...], grouping: str, cluster_k: str, slopes: int, panel: Panel) -> int:
    """Parameters of the factor: with "nonnested", all effects that clusters nest count as one constant."""
    if cluster_k == "slopes" and effects:
        return slopes
    everything = slopes + rank_with_constant(list(effects), panel)
    if cluster_k == "all" or not effects:
        return everything  # without effects the constant is a regressor like any other
    nested = [effect for effect in effects if any(is_nested(effect, one, panel) for one in grouping.split("+"))]
    return everything - (rank_with_constant(nested, panel) - 1)


def implied(fits: dict[str, Estimates], row: int, column: int, slopes: int, nobs: int) -> dict[str, float]:
    """k of each setting, from its errors beside those of "slopes"."""
    variance = {setting: float(fit.se[0, row, column]) ** 2 for setting, fit in fits.items()}
    return {setting: nobs - variance["slopes"] / own * (nobs - slopes) for setting, own in variance.items()}


def panel_of(missing: int) -> Panel:
    panel = small_panel(24, 6, seed=5, missing=missing)
    number = np.random.default_rng(2).permutation(24)
    places = {"longitude": 100 + number * 0.7, "latitude": 25 + (number % 5) * 1.3}
    return replace(panel, attributes={**panel.attributes, **places})


both = pytest.mark.parametrize("missing", [0, 17], ids=["balanced", "unbalanced"])


@both
@pytest.mark.parametrize("name", EFFECTS)
def test_panel_ols_counts_what_dummies_count(name: str, missing: int) -> None:
    panel, effects = panel_of(missing), EFFECTS[name]
    errors = tuple(f"cluster:{one}" for one in CLUSTERS)
    slopes = 3 + (not effects)
    fits = {k: panel_ols(effects=effects, errors=errors, cluster_k=k, singletons="keep")(panel) for k in SETTINGS}  # type: ignore[arg-type]
    for row, grouping in enumerate(CLUSTERS):
        got = implied(fits, row, 0, slopes, panel.nobs)
        for setting in SETTINGS:
            expected = counted(effects, grouping, setting, 3, panel)
            assert got[setting] == pytest.approx(expected, abs=1e-6), (grouping, setting)


@both
@pytest.mark.parametrize("grouping", ["unit", "province"])
def test_did_and_its_kernel_count_what_dummies_count(grouping: str, missing: int) -> None:
    panel, error = panel_of(missing), f"cluster:{grouping}"
    never = np.repeat(panel.variables["did"][:1], 2, axis=0)
    never[1] = never[1][:, ::-1]
    redrawn = panel.with_variables({"did": never})
    makers: list[tuple[Any, Panel]] = [
        (lambda k: TwoWayDID(errors=(error,), cluster_k=k), panel),
        (lambda k: TwoWayDID(errors=(error,), cluster_k=k, terms=("did",)), redrawn),
    ]
    for make, data in makers:
        fits = {setting: make(setting)(data) for setting in SETTINGS}
        got = implied(fits, 0, 0, 3, panel.nobs)
        for setting in SETTINGS:
            expected = counted(("unit", "period"), grouping, setting, 3, panel)
            assert got[setting] == pytest.approx(expected, abs=1e-6), setting


@pytest.mark.parametrize("grouping", CLUSTERS)
def test_spatial_did_counts_what_dummies_count(grouping: str) -> None:
    panel, error = panel_of(0), f"cluster:{grouping}"
    fits = {k: SpatialDID(errors=(error,), cluster_k=k)(panel) for k in SETTINGS}  # type: ignore[arg-type]
    slopes = len([term for term in fits["all"].terms if term in {"did", "w_did", "inv", "road"}])
    got = implied(fits, 0, 0, slopes, panel.nobs)
    for setting in SETTINGS:
        expected = counted(("unit", "period"), grouping, setting, slopes, panel)
        assert got[setting] == pytest.approx(expected, abs=1e-6), setting


@both
def test_the_factor_itself_is_that_of_the_slopes(missing: int) -> None:
    """The level of the errors, not their ratio alone: sums over clusters from residuals on dummies, G and n counted."""
    panel = panel_of(missing)
    seen = np.ones((6, 24), dtype=bool) if panel.observed is None else panel.observed[0]
    x = np.stack([np.broadcast_to(panel.variables[name], (1, 6, 24))[0][seen] for name in ("did", "inv", "road")], 1)
    y = panel.variables["y"][0][seen]
    dummies = np.hstack([np.equal.outer(own, np.unique(own)).astype(float)
                         for own in (codes_of("unit", panel), codes_of("period", panel))])  # fmt: skip
    x, y = (values - dummies @ np.linalg.lstsq(dummies, values)[0] for values in (x, y))
    bread = np.linalg.inv(x.T @ x)
    scores = x * (y - x @ bread @ x.T @ y)[:, None]
    for name in ("unit", "province", "period"):
        codes = codes_of(name, panel)
        groups = len(np.unique(codes))
        sums = np.array([scores[codes == code].sum(axis=0) for code in np.unique(codes)])
        for setting in SETTINGS:
            k = counted(("unit", "period"), name, setting, 3, panel)
            factor = groups / (groups - 1) * (len(y) - 1) / (len(y) - k)
            expected = np.sqrt(np.diag(bread @ sums.T @ sums @ bread) * factor)
            fit = panel_ols(errors=(f"cluster:{name}",), cluster_k=setting)(panel)  # type: ignore[arg-type]
            np.testing.assert_allclose(fit.se[0, 0, :3], expected, rtol=1e-8, err_msg=f"{name} {setting}")
            assert fit.dof[0, 0, 0] == groups - 1
