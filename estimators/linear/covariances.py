"""Covariances of linear estimators under every error type, from what each observation adds to the estimate.

An estimator that is linear in the outcome has b - beta = sum_it psi_it e_it. Its contributions u_it = psi_it e_it with
residuals e, an array (R, K, T, N) that is zero where unobserved, hold all that a sandwich needs: the sum over which
pairs of observations u_it u_js' is taken is the error type. Small-sample factors and degrees of freedom of t:

| error type | sum over | factor | dof |
|---|---|---|---|
| iid | s2 sum psi psi' | s2 = e'e / (n - k) | n - k |
| hc1 | own pair | n / (n - k) | n - k |
| cluster:A | pairs within a cluster | G/(G-1) (n-1)/(n-k_A) | G - 1 |
| cluster:A+B | within A + within B - within both | the same with G = min(G_A, G_B) in all three | G - 1 |
| driscoll-kraay | all pairs up to L periods apart, Bartlett weights | T/(T-1) (n-1)/(n-k) | T - 1 |
| conley:KM | pairs nearer than KM in a period, own pairs up to L periods apart | n / (n - k) | n - k |

L = floor(4 (T/100)^(2/9)); k counts slopes and all effects, k_A those that the estimator's `cluster_k` names. Two-way
clusters follow Cameron, Gelbach and Miller (2011) with the factor of fixest, pyfixest and reghdfe; Driscoll and Kraay
(1998) that of fixest and pyfixest; Conley (1999) has no agreed factor and takes HC1's, to which it falls with KM = 0
and T = 1. Two-way and Conley matrices need not be positive semidefinite: negative eigenvalues, in units of
sqrt(diag sum psi psi'), are set to zero (Cameron, Gelbach and Miller, section 2.3; fixest and reghdfe do so, pyfixest
and linearmodels do not), and the result says so. T counts periods with an observation; lags are counted in the
panel's periods; what is unobserved adds nothing. A term whose contributions cancel in every sum, as those of two units
beside period effects do within each unit, has no such error: its variance is NaN, for all that is computed is rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.distances import great_circle_km, within_km
from sim.errors import bad, one_of
from sim.panel import Panel, Schema

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

PLACE = ("longitude", "latitude")
KERNELS = ("uniform", "bartlett")
FEWEST_PERIODS = 3  # whose scores may be summed: with unit effects those of two periods are equal and sum to zero
DEGENERATE = 1e-14  # share of the variance without clusters below which one of summed contributions is rounding


@dataclass(frozen=True, eq=False, slots=True)
class Sample:
    """What the factors need: the panel, n, k of slopes and all effects, and k of each cluster type's factor."""

    panel: Panel
    nobs: int
    parameters: int
    clustered: Mapping[str, int]

    @property
    def free(self) -> int:
        """n - k."""
        return self.nobs - self.parameters


@dataclass(frozen=True, eq=False, slots=True)
class Covariance:
    """matrix (R, K, K), the dof of its t, and where negative eigenvalues were set to zero, (R,)."""

    matrix: Floats
    dof: float
    floored: NDArray[np.bool_]


def bartlett_lag(periods: int) -> int:
    """floor(4 (T/100)^(2/9)), at most T - 1 (Newey and West 1994)."""
    return min(int(4 * (periods / 100) ** (2 / 9)), periods - 1)


def cluster_names(error: str, attributes: tuple[str, ...]) -> tuple[str, ...]:
    """The one or two groupings of "cluster:A" and "cluster:A+B"; an attribute's own name may hold a +."""
    text = error.removeprefix("cluster:")
    return (text,) if text in attributes else tuple(text.split("+"))


def may_be_floored(error: str, attributes: tuple[str, ...]) -> bool:
    """Whether the matrix of an error type can have negative eigenvalues."""
    if error.startswith("conley:"):
        return True
    return error.startswith("cluster:") and len(cluster_names(error, attributes)) > 1


def check_error_types(errors: tuple[str, ...], schema: Schema, asked_by: str, *, wild: bool = True) -> None:
    """Raise BadInput for error types that do not exist, repeat, or need what the panel lacks."""
    if not errors or len(set(errors)) < len(errors):
        raise bad(f"errors = {list(errors)}", where=asked_by, allowed="one or more distinct error types",
                  remedy='set errors = ["cluster:unit"]')  # fmt: skip
    for error in errors:
        _check_error_type(error, schema, asked_by, wild)


def _check_error_type(error: str, schema: Schema, asked_by: str, wild: bool) -> None:
    units = ("unit", *schema.attributes)
    kind, _, rest = error.partition(":")
    if kind == "conley" and conley_setting(rest) is not None:
        if not set(PLACE) <= set(schema.attributes):
            raise bad(f"{error} without coordinates", where=f"{asked_by} errors", allowed="a panel with longitude and "
                      "latitude", remedy="name their columns, or choose another error type")  # fmt: skip
        return
    names = cluster_names(error, schema.attributes) if kind == "cluster" else ()
    sound = (
        error in {"iid", "hc1", "driscoll-kraay"}
        or (0 < len(set(names)) == len(names) <= 2 and set(names) <= {*units, "period"})
        or (wild and kind == "wild" and rest in units)
    )
    if not sound:
        allowed = ["iid", "hc1", *(f"cluster:{name}" for name in (*units, "period")), "cluster:A+B", "driscoll-kraay",
                   "conley:KM", "conley:KM:bartlett"]  # fmt: skip
        raise bad(f"unknown error type {error!r}", where=f"{asked_by} errors",
                  allowed=one_of([*allowed, *(f"wild:{name}" for name in units if wild)]),
                  remedy="choose among them")  # fmt: skip


def conley_setting(text: str) -> tuple[float, str] | None:
    """Cutoff in km and kernel of "KM" or "KM:KERNEL"; None when it is neither."""
    distance, _, kernel = text.partition(":")
    try:
        cutoff = float(distance)
    except ValueError:
        return None
    kernel = kernel or "uniform"
    return (cutoff, kernel) if 0 <= cutoff < np.inf and kernel in KERNELS else None


def cells_of(name: str, panel: Panel) -> Codes:
    """Cluster of every cell, coded 0, 1, ..., (T, N): by unit, period or an attribute of the units."""
    t, n = len(panel.periods), len(panel.units)
    if name == "period":
        return np.repeat(np.arange(t)[:, None], n, axis=1)
    units = np.arange(n) if name == "unit" else np.unique(panel.attributes[name], return_inverse=True)[1]
    return np.tile(units, (t, 1))


def count_clusters(codes: Codes, panel: Panel) -> int:
    """G: clusters with an observed cell."""
    return len(np.unique(codes if panel.observed is None else codes[panel.observed[0]]))


def cluster_sums(u: Floats, codes: Codes) -> Floats:
    """Sums of contributions over the cells of each cluster, (..., T, N) -> (..., G)."""
    order = np.argsort(codes, axis=None, kind="stable")
    starts = np.flatnonzero(np.diff(codes.ravel()[order], prepend=-1))
    flat = u.reshape(*u.shape[:-2], codes.size)
    return np.add.reduceat(flat[..., order], starts, axis=-1)


def outer(u: Floats) -> Floats:
    """sum of u u' over all but the leading two axes, (R, K, ...) -> (R, K, K)."""
    flat = u.reshape(*u.shape[:2], -1)
    return flat @ flat.transpose(0, 2, 1)


def bartlett_sum(u: Floats, lag: int) -> Floats:
    """sum_l (1 - l/(L+1)) sum_t (u_t u_{t-l}' + transpose for l > 0), (R, K, T, ...) -> (R, K, K)."""
    total = outer(u)
    for step in range(1, lag + 1):
        late, early = (part.reshape(*u.shape[:2], -1) for part in (u[:, :, step:], u[:, :, :-step]))
        crossed = late @ early.transpose(0, 2, 1)
        total += (1 - step / (lag + 1)) * (crossed + crossed.transpose(0, 2, 1))
    return total


def conley_kernel(distance: Floats, cutoff: float, shape: str) -> Floats:
    """K(d_ij), (N, N): 1 up to the cutoff (uniform) or 1 - d/cutoff (bartlett); a unit with itself always 1."""
    if shape == "bartlett":
        kernel = np.clip(1 - distance / cutoff, 0.0, None) if cutoff else np.zeros_like(distance)
    else:
        kernel = within_km(distance, cutoff).astype(np.float64)
    np.fill_diagonal(kernel, 1.0)
    return kernel


def conley_sum(u: Floats, kernel: Floats, lag: int) -> Floats:
    """sum_t sum_ij K_ij u_it u_jt' and own lags with Bartlett weights, (R, K, T, N) -> (R, K, K) (Conley 1999)."""
    flat = u.reshape(*u.shape[:2], -1)
    rows = u.reshape(len(u), -1, u.shape[-1])  # one product a panel, not one a regressor
    near = (rows @ kernel).reshape(flat.shape) @ flat.transpose(0, 2, 1)
    return near + bartlett_sum(u, lag) - outer(u)


def floor_eigenvalues(matrix: Floats, scale: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Matrices (R, K, K) with negative eigenvalues set to zero in units of scale (R, K), and which had any, (R,)."""
    units = scale[:, :, None] * scale[:, None, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = matrix / units
    finite = np.isfinite(relative).all(axis=(1, 2))
    values, vectors = np.linalg.eigh(np.where(finite[:, None, None], relative, 0.0))
    floored = finite & (values[:, 0] < -1e-12 * np.abs(values[:, -1]))
    sound = (vectors * np.clip(values, 0.0, None)[:, None, :]) @ vectors.transpose(0, 2, 1) * units
    return np.where(floored[:, None, None], sound, matrix), floored


def covariance(error: str, psi: Floats, e: Floats, sample: Sample) -> Covariance:
    """The covariance of one error type; psi (1 or R, K, T, N), e (R, T, N), zero where unobserved. Raises BadInput for
    fewer than two clusters."""
    n, free = sample.nobs, sample.free
    none = np.zeros(e.shape[0], dtype=bool)
    if error == "iid":
        s2 = np.vecdot(e.reshape(len(e), -1), e.reshape(len(e), -1)) / free
        return Covariance(outer(psi) * s2[:, None, None], free, none)
    u = psi * e[:, None]
    if error == "hc1":
        return Covariance(outer(u) * (n / free), free, none)
    found = _summed(error, psi, u, sample)
    rounding = cancelled(np.diagonal(found.matrix, axis1=1, axis2=2), u)
    if not rounding.any():
        return found
    return replace(found, matrix=np.where(rounding[:, :, None] | rounding[:, None, :], np.nan, found.matrix))


def cancelled(variance: Floats, u: Floats) -> NDArray[np.bool_]:
    """Whether variances (R, ...) of sums of contributions u (R, ..., T, N) are nothing but rounding."""
    flat = u.reshape(*u.shape[:-2], -1)
    return np.asarray(variance <= DEGENERATE * np.vecdot(flat, flat))


def _summed(error: str, psi: Floats, u: Floats, sample: Sample) -> Covariance:
    """Of the error types that add contributions of several observations."""
    panel, n, free = sample.panel, sample.nobs, sample.free
    scale = np.sqrt(np.diagonal(outer(psi), axis1=1, axis2=2))
    t = count_clusters(cells_of("period", panel), panel)
    if error == "driscoll-kraay":
        check_periods(error, t)
        factor = t / (t - 1) * (n - 1) / free
        matrix = bartlett_sum(u.sum(axis=3), bartlett_lag(t)) * factor
        return Covariance(matrix, t - 1, np.zeros(len(u), dtype=bool))
    if error.startswith("conley:"):
        matrix = conley_sum(u, nearness(error, panel.attributes), bartlett_lag(t)) * (n / free)
        return Covariance(*_floored(matrix, free, scale))
    return _clustered(error, u, scale, sample)


def _floored(matrix: Floats, dof: float, scale: Floats) -> tuple[Floats, float, NDArray[np.bool_]]:
    matrix, floored = floor_eigenvalues(matrix, np.broadcast_to(scale, (matrix.shape[0], scale.shape[1])))
    return matrix, dof, floored


def check_periods(error: str, periods: int) -> None:
    """Raise BadInput for errors that add up periods' scores when there are two: they cancel beside unit effects."""
    if periods < FEWEST_PERIODS:
        raise bad(f"{error} with {periods} period{'s' * (periods > 1)}", where="errors",
                  allowed=f"{FEWEST_PERIODS} or more periods", remedy="choose another error type")  # fmt: skip


def nearness(error: str, attributes: Mapping[str, NDArray[Any]]) -> Floats:
    """The kernel of a Conley error type on units with these attributes, (N, N); raises BadInput for missing places."""
    setting = conley_setting(error.removeprefix("conley:"))
    assert setting is not None
    longitude, latitude = (np.asarray(attributes[name], np.float64) for name in PLACE)
    if not np.isfinite(longitude + latitude).all():
        raise bad("coordinates are missing", where=error, allowed="longitude and latitude in degrees of every unit",
                  remedy="fill them, or choose another error type")  # fmt: skip
    return conley_kernel(great_circle_km(longitude, latitude), *setting)


def _clustered(error: str, u: Floats, scale: Floats, sample: Sample) -> Covariance:
    """One-way, or two-way as the sum of both less that of their intersection."""
    names = cluster_names(error, tuple(sample.panel.attributes))
    cells = [cells_of(name, sample.panel) for name in names]
    counts = [count_clusters(codes, sample.panel) for codes in cells]
    groups = min(counts)
    if "period" in names:
        check_periods(error, counts[names.index("period")])
    if groups < 2:
        raise bad(f"{error} has {groups} cluster", where="errors", allowed="2 or more clusters",
                  remedy="choose a finer grouping")  # fmt: skip
    factor = groups / (groups - 1) * (sample.nobs - 1) / (sample.nobs - sample.clustered[error])
    parts = [outer(cluster_sums(u, codes)) for codes in cells]
    if len(cells) == 1:
        return Covariance(parts[0] * factor, groups - 1, np.zeros(u.shape[0], dtype=bool))
    both = np.unique(cells[0] * (cells[1].max() + 1) + cells[1], return_inverse=True)[1].reshape(cells[0].shape)
    matrix = (parts[0] + parts[1] - outer(cluster_sums(u, both))) * factor
    return Covariance(*_floored(matrix, groups - 1, scale))
