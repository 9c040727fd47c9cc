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
| cv3:A, cr2:A | pairs within a cluster, contributions adjusted (`linear.few_clusters`) | (G-1)/G; 1 | G - 1; its own |

With A nested in B, cluster:A+B is cluster:B. L = floor(4 (T/100)^(2/9)); k counts slopes and all effects, k_A those
that the estimator's `cluster_k` names. Two-way clusters follow Cameron, Gelbach and Miller (2011) with the factor of
fixest, pyfixest and reghdfe; Driscoll and Kraay (1998) that of fixest and pyfixest; Conley (1999) has no agreed
factor and takes HC1's, to which it falls with KM = 0 and T = 1. Two-way and Conley matrices need not be positive
semidefinite: negative eigenvalues, in units of sqrt(diag sum psi psi'), are set to zero (Cameron, Gelbach and Miller,
section 2.3; fixest and reghdfe do so, pyfixest and linearmodels do not), and the result says so. T counts periods
with an observation; lags are counted by the calendar; what is unobserved, or a year that the panel lacks, adds
nothing. A term whose contributions cancel in every sum, as those of two units beside period effects do within each
unit, has no such error: its variance is NaN, for all that is computed is rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from estimators.core.error_types import PLACE, distance_of, groups_of, kind_of
from estimators.core.tile import nested_in, transform_of
from sim.arrays import Codes, Flags, Floats
from sim.errors import amount, bad
from sim.panel import Panel
from sim.schema import period_step
from sim.weights import great_circle_km, within_km

ClusterK = Literal["slopes", "nonnested", "all"]

FEWEST_PERIODS = 3  # whose scores may be summed: with unit effects those of two periods are equal and sum to zero
DENSE = 2**22  # cells of a matrix of units and clusters above which sums are made without it
DEGENERATE = 1e-14  # share of the variance without clusters below which one of summed contributions is rounding


@dataclass(frozen=True, eq=False, slots=True)
class Sample:
    """What the factors need: the panel, n, k of slopes and all effects, and k of each cluster type's factor."""

    panel: Panel
    nobs: int
    parameters: int
    clustered: Mapping[str, int]

    @classmethod
    def of(
        cls, panel: Panel, errors: tuple[str, ...], slopes: int, free_effects: int, effects: tuple[str, ...],
        cluster_k: ClusterK,
    ) -> Sample:  # fmt: skip
        """Of a regression with slopes and some effects, so many of which are free."""
        counted = counted_by_cluster(errors, slopes, free_effects, effects, panel, cluster_k)
        return cls(panel, panel.nobs, slopes + free_effects, counted)

    @property
    def free(self) -> int:
        """n - k."""
        return self.nobs - self.parameters

    def check(self, asked_by: str, remedy: str) -> None:
        """Raise BadInput where no observation is left for the residuals."""
        if self.free < 1:
            raise bad(f"{self.nobs} observations for {self.parameters} parameters", where=asked_by,
                      allowed="more observations than parameters", remedy=remedy)  # fmt: skip


@dataclass(frozen=True, eq=False, slots=True)
class Covariance:
    """matrix (R, K, K), the dof of its t, and where negative eigenvalues were set to zero, (R,)."""

    matrix: Floats
    dof: float
    floored: Flags


def bartlett_lag(periods: int) -> int:
    """floor(4 (T/100)^(2/9)), at most T - 1 (Newey and West 1994)."""
    return min(int(4 * (periods / 100) ** (2 / 9)), periods - 1)


def cells_of(name: str, panel: Panel) -> Codes:
    """Cluster of every cell, coded 0, 1, ..., (T, N): by unit, period or an attribute of the units."""
    t, n = len(panel.periods), len(panel.units)
    if name == "period":
        return np.repeat(np.arange(t)[:, None], n, axis=1)
    units = np.arange(n) if name == "unit" else np.unique(panel.attributes[name], return_inverse=True)[1]
    return np.tile(units, (t, 1))


def unit_clusters(error: str, panel: Panel) -> Codes:
    """Cluster of every unit under an error type cluster:A of one grouping of units, coded 0, 1, ..., (N,)."""
    return np.asarray(cells_of(error.removeprefix("cluster:"), panel)[0])


def membership(codes: Codes) -> Floats:
    """1 where a unit is in a cluster, of codes (N,), (N, G)."""
    return (codes[:, None] == np.arange(int(codes.max()) + 1)).astype(np.float64)


def sums_within(units: Floats | Flags, codes: Codes) -> Floats:
    """What units (..., N) bring, summed within clusters, of codes (N,) without gaps, (..., G); as it is where every
    unit is its own cluster, in the order of the units."""
    groups = int(codes.max()) + 1
    if groups == len(codes):
        ordered = (codes[:-1] < codes[1:]).all()
        return np.asarray(units if ordered else np.take(units, np.argsort(codes), axis=-1))
    if codes.size * groups > DENSE:
        return cluster_sums(np.asarray(units, np.float64)[..., None, :], codes[None])
    return np.asarray(units @ membership(codes))


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


def absent_before(periods: tuple[int, ...], lag: int) -> tuple[int, ...]:
    """The place before which the calendar has a period that the panel lacks, for each of these, `lag` of a gap."""
    absent = np.clip(np.diff(periods) // period_step(periods) - 1, 0, lag)
    return tuple(np.repeat(np.arange(1, len(periods)), absent).tolist())


def bartlett_sum(u: Floats, lag: int, absent: tuple[int, ...] = ()) -> Floats:
    """sum_l (1 - l/(L+1)) sum_t (u_t u_{t-l}' + transpose for l > 0), (R, K, T, ...) -> (R, K, K); absent: as
    `absent_before` has it."""
    u = np.insert(u, absent, 0.0, axis=2) if absent else u
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


def conley_sum(u: Floats, kernel: Floats, lag: int, absent: tuple[int, ...] = ()) -> Floats:
    """sum_t sum_ij K_ij u_it u_jt' and own lags with Bartlett weights, (R, K, T, N) -> (R, K, K) (Conley 1999)."""
    flat = u.reshape(*u.shape[:2], -1)
    rows = u.reshape(len(u), -1, u.shape[-1])  # one product a panel, not one a regressor
    near = (rows @ kernel).reshape(flat.shape) @ flat.transpose(0, 2, 1)
    return near + bartlett_sum(u, lag, absent) - outer(u)


def floor_eigenvalues(matrix: Floats, scale: Floats) -> tuple[Floats, Flags]:
    """Matrices (R, K, K) with negative eigenvalues set to zero in units of scale (R, K), and which had any, (R,)."""
    units = scale[:, :, None] * scale[:, None, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = matrix / units
    finite = np.isfinite(relative).all(axis=(1, 2))
    values, vectors = np.linalg.eigh(np.where(finite[:, None, None], relative, 0.0))
    floored = finite & (values[:, 0] < -1e-12 * np.abs(values[:, -1]))
    sound = (vectors * np.clip(values, 0.0, None)[:, None, :]) @ vectors.transpose(0, 2, 1) * units
    return np.where(floored[:, None, None], sound, matrix), floored


@dataclass(frozen=True, eq=False)
class ScoreSum:
    """What one error type adds up on a panel, prepared once.

    kind: its word. cells: clusters of unit-periods (T, N), one grouping or two with that of both; groups: G, the fewer
    of two; T for Driscoll and Kraay. lag: of Bartlett weights; absent: as `absent_before` has it. nearness (N, N):
    Conley's kernel.
    """

    error: str
    kind: str
    groups: int
    cells: tuple[Codes, ...] = ()
    lag: int = 0
    nearness: Floats | None = None
    absent: tuple[int, ...] = ()

    @classmethod
    def of(cls, error: str, panel: Panel, asked_by: str = "errors") -> ScoreSum:
        """Raises BadInput for fewer than two clusters, for two periods' sums, for missing coordinates."""
        kind = kind_of(error)
        periods = count_clusters(cells_of("period", panel), panel)
        lag = bartlett_lag(periods)
        absent = absent_before(panel.periods, lag)
        if kind == "driscoll-kraay":
            check_periods(error, periods)
            return cls(error, kind, periods, lag=lag, absent=absent)
        if kind == "conley":
            return cls(error, kind, 0, lag=lag, nearness=nearness(error, panel.attributes), absent=absent)
        names = groups_of(error, tuple(panel.attributes))
        if not names:
            return cls(error, kind, 0)

        # clusters of one grouping, or of two and of both together unless one is nested in the other
        cells = [cells_of(name, panel) for name in names]
        counts = [count_clusters(codes, panel) for codes in cells]
        if "period" in names:
            check_periods(error, counts[names.index("period")])
        groups = min(counts)
        check_two_clusters(error, groups, asked_by)
        if len(cells) == 2:
            both = np.unique(cells[0] * (cells[1].max() + 1) + cells[1], return_inverse=True)[1].reshape(cells[0].shape)
            nested = count_clusters(both, panel) == max(counts)
            cells = [cells[counts.index(groups)]] if nested else [*cells, both]
        return cls(error, kind, groups, tuple(cells))

    @property
    def floors(self) -> bool:
        """Whether its matrix may have negative eigenvalues."""
        return self.kind == "conley" or len(self.cells) > 1

    @cached_property
    def unit_codes(self) -> Codes | None:
        """Clusters of units, (N,), when that is what it adds up; None otherwise."""
        if len(self.cells) != 1 or (self.cells[0] != self.cells[0][:1]).any():
            return None
        return self.cells[0][0]

    @cached_property
    def membership(self) -> Floats | None:
        """1 where a unit is in a cluster of units, (G, N); None where each unit is its own."""
        codes = self.unit_codes
        if codes is None or (codes == np.arange(len(codes))).all():
            return None
        return np.ascontiguousarray(membership(codes).T)

    def matrix(self, psi: Floats, e: Floats) -> tuple[Floats, Flags]:
        """The sum before its factor, (R, K, K), NaN where it is rounding, and whether it was floored, (R,).

        psi (1 or R, K, T, N), e (R, T, N): zero where unobserved.
        """
        u = psi * e[:, None]
        floored = np.zeros(len(u), dtype=bool)
        if self.kind == "hc1":
            matrix = outer(u)
        elif self.kind == "driscoll-kraay":
            matrix = bartlett_sum(u.sum(axis=3), self.lag, self.absent)
        elif self.nearness is not None:
            matrix = conley_sum(u, self.nearness, self.lag, self.absent)
        else:
            parts = [outer(cluster_sums(u, codes)) for codes in self.cells]
            matrix = parts[0] if len(parts) == 1 else parts[0] + parts[1] - parts[2]
        if self.floors:
            scale = np.sqrt(np.diagonal(outer(psi), axis1=1, axis2=2))
            matrix, floored = floor_eigenvalues(matrix, np.broadcast_to(scale, (len(u), scale.shape[1])))
        alike = np.square(psi).sum(axis=(2, 3)) * np.square(e).mean(axis=(1, 2))[:, None]
        rounding = cancelled(np.diagonal(matrix, axis1=1, axis2=2), u, alike)
        return np.where(rounding[:, :, None] | rounding[:, None, :], np.nan, matrix), floored

    def factor(self, nobs: int, free: int, counted: int) -> tuple[float, float]:
        """Small-sample factor and the degrees of freedom of t, NaN where each coefficient has its own; counted:
        parameters in the factor of clusters."""
        if self.kind == "cv3":
            return (self.groups - 1) / self.groups, self.groups - 1
        if self.kind == "cr2":
            return 1.0, np.nan
        if self.kind == "driscoll-kraay":
            return self.groups / (self.groups - 1) * (nobs - 1) / free, self.groups - 1
        if not self.cells:
            return nobs / free if free > 0 else np.nan, free
        if nobs <= counted:
            return np.nan, self.groups - 1
        return self.groups / (self.groups - 1) * (nobs - 1) / (nobs - counted), self.groups - 1


def equal_to(error: str, panel: Panel) -> str | None:
    """The one-way type that a two-way one equals because its groups are nested, e.g. cluster:province; else None."""
    names = groups_of(error, tuple(panel.attributes))
    if len(names) < 2 or len(ScoreSum.of(error, panel).cells) > 1:
        return None
    return f"cluster:{min(names, key=lambda name: count_clusters(cells_of(name, panel), panel))}"


def nested_effects(error: str, effects: tuple[str, ...], panel: Panel) -> int:
    """How many free effects the clusters of an error type nest, but for the constant; 0 of other error types."""
    nested = nested_in(groups_of(error, tuple(panel.attributes)), effects, panel)
    return transform_of(nested, panel, constant=True).effects - 1 if nested else 0


def counted_parameters[N: (int, Floats)](slopes: int, effects: N, nested: N, cluster_k: ClusterK) -> N:
    """k in the factor of a clustered error type: slopes, and those of all effects that `cluster_k` counts.

    effects: their number, of one panel or of several; nested: of those, what `nested_effects` says.
    """
    return slopes + {"slopes": 0 * effects, "nonnested": effects - nested, "all": effects}[cluster_k]


def counted_by_cluster(
    errors: tuple[str, ...], slopes: int, all_effects: int, effects: tuple[str, ...], panel: Panel, cluster_k: ClusterK
) -> dict[str, int]:
    """`counted_parameters` of every clustered error type."""
    return {
        error: counted_parameters(slopes, all_effects, nested_effects(error, effects, panel), cluster_k)
        for error in errors
        if kind_of(error) == "cluster"
    }


def covariance(error: str, psi: Floats, e: Floats, sample: Sample) -> Covariance:
    """The covariance of one error type; psi (1 or R, K, T, N), e (R, T, N), zero where unobserved. Raises BadInput for
    fewer than two clusters."""
    if error == "iid":
        s2 = np.vecdot(e.reshape(len(e), -1), e.reshape(len(e), -1)) / sample.free
        return Covariance(outer(psi) * s2[:, None, None], sample.free, np.zeros(e.shape[0], dtype=bool))
    total = ScoreSum.of(error, sample.panel)
    matrix, floored = total.matrix(psi, e)
    factor, dof = total.factor(sample.nobs, sample.free, sample.clustered.get(error, 0))
    return Covariance(matrix * factor, dof, floored)


def cancelled(variance: Floats, u: Floats, alike: Floats | float = 0.0) -> Flags:
    """Whether variances (R, ...) of sums of contributions u (R, ..., T, N) are nothing but rounding.

    alike (R, ...): the variance were all residuals alike. Beside it contributions are rounding themselves where a
    coefficient rests on cells that are fitted without error.
    """
    flat = u.reshape(*u.shape[:-2], -1)
    return np.asarray(variance <= DEGENERATE * np.maximum(np.vecdot(flat, flat), alike))


def check_two_clusters(error: str, groups: int, asked_by: str) -> None:
    """Raise BadInput for errors that add up scores within one cluster: they sum to zero."""
    if groups < 2:
        raise bad(f"{error} has {groups} cluster", where=asked_by, allowed="2 or more clusters",
                  remedy="choose a finer grouping")  # fmt: skip


def check_periods(error: str, periods: int) -> None:
    """Raise BadInput for errors that add up periods' scores when there are two: they cancel beside unit effects."""
    if periods < FEWEST_PERIODS:
        raise bad(f"{error} with {amount(periods, "period")}", where="errors",
                  allowed=f"{FEWEST_PERIODS} or more periods", remedy="choose another error type")  # fmt: skip


def nearness(error: str, attributes: Mapping[str, NDArray[Any]]) -> Floats:
    """The kernel of a Conley error type on units with these attributes, (N, N); raises BadInput for missing places."""
    setting = distance_of(error)
    assert setting is not None
    longitude, latitude = (np.asarray(attributes[name], np.float64) for name in PLACE)
    if not np.isfinite(longitude + latitude).all():
        raise bad("coordinates are missing", where=error, allowed="longitude and latitude in degrees of every unit",
                  remedy="fill them, or choose another error type")  # fmt: skip
    return conley_kernel(great_circle_km(longitude, latitude), *setting)
