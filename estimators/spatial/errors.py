"""Covariances of spatial panel estimates other than the inverse information; all but hessian one panel at a time.

hessian: the inverse of the observed Hessian. qmle: I^-1 (I + Omega) I^-1 for errors that are not normal. cluster:unit,
cluster:ATTRIBUTE, driscoll-kraay, conley:KM: I^-1 M I^-1 with M made of the scores of every unit and period, those of
rho and lambda split as martingale differences along units (Kelejian and Prucha 2001), clusters kept together. Without
that split e'Ge is forgotten, and errors of rho are too small even when all is independent. No small-sample factor, but
in SLX, which is least squares: hc1 n/(n - k), clusters G/(G - 1) (n - 1)/(n - k), k as in `TwoWayDID`. Errors that
depend on each other across clusters move rho itself, and so does heteroskedasticity between units (Lin and Lee 2010):
its interval is then about a pseudo-true value. Driscoll and Kraay's errors need many periods: with ten of them a 95%
interval of rho covers .81. Kernels and lags are those of `covariances`; a Conley meat with negative eigenvalues, in
units of the scores' root sums of squares, has them set to zero, and the statistic floored:ERROR says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from estimators.core.error_types import Family, check_error_types
from estimators.linear.covariances import (
    bartlett_lag,
    bartlett_sum,
    check_periods,
    conley_sum,
    floor_eigenvalues,
    nearness,
    outer,
)
from estimators.spatial.cross_products import SpatialMoments, SpatialPlan
from estimators.spatial.form import SpatialForm
from estimators.spatial.hessian import inverse_at_maximum, observed_information
from estimators.spatial.likelihood import Sizes
from estimators.spatial.scores import SpatialScores, inverse
from estimators.spatial.spectrum import Transform
from sim.arrays import Floats
from sim.errors import bad
from sim.schema import Schema

CONLEY = "conley:"


def check_errors(errors: tuple[str, ...], form: SpatialForm, schema: Schema, asked_by: str) -> None:
    """Raise BadInput for error types that are unknown, repeat, or need attributes that the panel lacks."""
    family: Family = "spatial" if form.parameters else "durbin-least-squares"
    check_error_types(errors, schema, asked_by, family)


def independent_sums(error: str, plan: SpatialPlan) -> float:
    """How many sums of scores a covariance is made of: clusters, periods under Driscoll and Kraay; else infinite."""
    if error == "driscoll-kraay":
        return plan.periods
    return Kernel.of(error, plan).groups or np.inf if error.startswith("cluster:") else np.inf


def needs_scores(errors: tuple[str, ...]) -> bool:
    """Whether an error type is made of each panel's own scores, and not of cross products alone."""
    return not {"information", "hessian"}.issuperset(errors)


@dataclass(frozen=True, eq=False, slots=True)
class Sandwiches:
    """Covariances of the parameters by error type, (R, E, K, K), NaN where none; whether floored, (R, E)."""

    matrices: Floats
    floored: NDArray[np.bool_]


def covariances(
    errors: tuple[str, ...],
    parameters: Floats,
    form: SpatialForm,
    transform: Transform,
    plan: SpatialPlan,
    moments: SpatialMoments,
) -> Sandwiches:
    """Every error type but information at the estimate, parameters (R, K): slopes, spatial parameters, sigma2."""
    rows, size = parameters.shape
    p = form.slopes(len(plan.names))
    kernels = {error: Kernel.of(error, plan) for error in errors if error not in {"hessian", "qmle", "hc1"}}
    matrices = np.full((rows, len(errors), size, size), np.nan)
    floored = np.zeros((rows, len(errors)), dtype=bool)
    if "hessian" in errors:
        sizes = Sizes.of(plan.units, plan.periods, transform)
        observed = observed_information(form, plan, moments, sizes, transform, parameters)
        matrices[:, errors.index("hessian")] = inverse_at_maximum(observed)
    if not needs_scores(errors):
        return Sandwiches(matrices, floored)
    assert moments.y is not None
    assert moments.x is not None
    for row in np.flatnonzero(np.isfinite(parameters).all(axis=1)):
        scores = SpatialScores.at(moments.y[row], moments.x[row, :p], parameters[row], form, plan.spectrum, transform)
        bread = inverse(scores.information())
        for e, error in enumerate(errors):
            if error == "hessian":
                continue
            matrices[row, e], floored[row, e] = _covariance(error, scores, bread, kernels.get(error))
    return Sandwiches(matrices, floored)


def _covariance(error: str, scores: SpatialScores, bread: Floats, kernel: Kernel | None) -> tuple[Floats, bool]:
    """The sandwich (K, K), and whether it was floored."""
    if error == "qmle":
        return bread + bread @ scores.excess() @ bread, False
    if kernel is None:  # of least squares, whose scores have no e'Ge
        meat, floored = outer(scores.by_observation(np.arange(scores.e.shape[1]))[None])[0], False
    else:
        meat, floored = kernel.meat(scores)
    return _factor(error, scores, kernel) * (bread @ meat @ bread), floored


def unit_influence(
    error: str, parameters: Floats, form: SpatialForm, transform: Transform, plan: SpatialPlan, moments: SpatialMoments
) -> Floats:
    """What every unit of the first panel adds to the errors of its parameters (K,) under a clustered error type.

    (K, N), the bread times the unit's scores. Raises BadInput for one cluster.
    """
    assert moments.y is not None
    assert moments.x is not None
    kernel, p = Kernel.of(error, plan), form.slopes(len(plan.names))
    scores = SpatialScores.at(moments.y[0], moments.x[0, :p], parameters, form, plan.spectrum, transform)
    order = np.argsort(np.array(plan.labels), kind="stable").astype(np.intp)  # any one serves: units by name
    own = scores.by_observation(order).sum(axis=1)
    return np.asarray(np.sqrt(_factor(error, scores, kernel)) * (inverse(scores.information()) @ own))


def _factor(error: str, scores: SpatialScores, kernel: Kernel | None) -> float:
    """The small-sample factor of least squares; 1 in models with spatial parameters."""
    if scores.form.parameters:
        return 1.0
    (periods, units), k = scores.e.shape, scores.z.shape[0]
    n = units * periods
    if error == "hc1":
        return n / (n - k - units - periods + 1)
    if kernel is not None and kernel.groups is not None:
        g = kernel.groups
        return g / (g - 1) * (n - 1) / (n - k - periods)
    return 1.0


@dataclass(frozen=True, eq=False, slots=True)
class Kernel:
    """Which scores may be correlated: within clusters, within periods near in time, or near in space.

    clusters (N,) codes; nearness (N, N) weights of pairs of units, and the order (N,) of units along which e'Ge is then
    split: by places, from west to east, so that what units are called and where a file has them does not matter;
    neither: Driscoll and Kraay, whose sums over all units no order changes.
    """

    clusters: NDArray[np.intp] | None = None
    nearness: Floats | None = None
    order: NDArray[np.intp] | None = None

    @classmethod
    def of(cls, error: str, plan: SpatialPlan) -> Kernel:
        """The kernel of an error type on a plan's units; raises BadInput for one cluster, two periods, no places."""
        if error.startswith(CONLEY):
            near = nearness(error, plan.attributes)  # checks the places
            order = np.lexsort((np.array(plan.labels), plan.attributes["latitude"], plan.attributes["longitude"]))
            return cls(nearness=near, order=order.astype(np.intp))
        if error == "driscoll-kraay":
            check_periods(error, plan.periods)
            return cls()
        name = error.removeprefix("cluster:")
        if name == "unit":
            return cls(np.arange(plan.units))
        codes = np.unique(plan.attributes[name], return_inverse=True)[1]
        if not codes.any():
            raise bad(f"{error} has 1 cluster", where="errors", allowed="2 or more clusters",
                      remedy="choose a finer grouping")  # fmt: skip
        return cls(codes)

    @property
    def groups(self) -> int | None:
        """Number of clusters."""
        return None if self.clusters is None else int(self.clusters.max()) + 1

    def meat(self, scores: SpatialScores) -> tuple[Floats, bool]:
        """Variance of the sum of scores, (K, K), and whether negative eigenvalues were set to zero."""
        if self.clusters is not None:
            return scores.cluster_meat(self.clusters), False
        periods, units = scores.e.shape
        each, lag = scores.by_observation(np.arange(units) if self.order is None else self.order), bartlett_lag(periods)
        if self.nearness is None:
            return bartlett_sum(each.sum(axis=2)[None], lag)[0], False
        scale = np.sqrt(np.square(each).sum(axis=(1, 2)))
        meat, floored = floor_eigenvalues(conley_sum(each[None], self.nearness, lag), scale[None])
        return meat[0], bool(floored[0])
