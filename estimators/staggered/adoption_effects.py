"""Estimators of staggered adoption that are linear in the outcome: what they share.

Given who adopts when and the fixed controls, every term is theta = A y and its sampling error is a sum of what each
unit contributes, so that a batch of R outcomes costs a few matrix products; all else is prepared once. Panels whose
calendar or controls differ between replications are prepared and fitted one by one.

Clustered errors are sqrt(factor x sum over clusters of squared contributions). Statistics: `pretrend`, the Wald
statistic W of event(K) = 0 for all q event times K < 0 of the window, with the covariance of the first error type (a
generalised inverse where event times are dependent); `pretrend_p`, its usual p value, F(q, G - 1) of W/q where
inference is by t and chi-squared where it is normal; `pretrend_hotelling_p`, that of Hotelling's T^2, F(q, m - q) of
W (m - q) / (q (m - 1)) with m the clusters that hold treated units, for the covariance of event times rests on these
and no more: with 48 treated units of 285 and four or five event times the usual test rejects 8 to 10% of true nulls
at 5%, this one 5%; `uniform`, the critical value with which the intervals of all event(K) of the window hold together
with probability .95 (sup-t of simulated normal vectors with their correlation, the same draws in every replication;
Montiel Olea and Plagborg-Moller 2019). It is as optimistic as the errors: intervals cover 95% where 142 cities adopt at
one date, and 92% with the published cohorts of 1 to 12 cities.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
from scipy.special import chdtrc, fdtrc

from estimators.core import regression as ols
from estimators.core.estimator import (
    Estimates,
    Layout,
    Status,
    TileEstimator,
    TreatmentEstimator,
    one_by_one,
    status_where,
)
from estimators.core.tile import Tile, spread
from estimators.linear.covariances import check_two_clusters, sums_by_cluster
from estimators.staggered.aggregation import (
    Window,
    check_clusters,
    check_terms,
    event_of,
    event_terms,
    staggered_targets,
    staggered_terms,
    told_by_cells,
)
from sim.arrays import Codes, Flags, Floats
from sim.errors import bad, one_of
from sim.panel import Panel
from sim.schema import Schema

PRETREND = ("pretrend", "pretrend_p", "pretrend_hotelling_p")
UNIFORM_LEVEL = 0.95
DEPENDENT = 1e-9  # share of the largest eigenvalue of a correlation matrix below which one counts as zero


@dataclass(frozen=True, eq=False, slots=True)
class LinearFit(ABC):
    """An estimator with its calendar and controls: outcomes in, terms and what units contribute out.

    identified (K,): terms that the panel identifies; certain (K,): those among them that leave residuals to tell their
    error from. used, treated (N,): units that take part, and those of them that adopt; compared (N,): those that are
    untreated when others are treated; averaged (K, N): treated units that a term averages. sample: n and the number of
    parameters that count in the factor G/(G-1) (n-1)/(n-k) of clusters, with t of G - 1 degrees of freedom; None: no
    factor and normal inference. sound: whether regressors can be told apart.
    """

    identified: Flags
    certain: Flags
    used: Flags
    treated: Flags
    compared: Flags
    averaged: Flags
    sample: tuple[int, int] | None
    sound: bool

    @abstractmethod
    def __call__(self, y: Floats) -> tuple[Floats, Floats]:
        """Outcomes (R, T, N) -> terms (R, K) and contributions of units to their errors (R, K, N)."""


@dataclass(frozen=True, slots=True)
class AdoptionEffects(TreatmentEstimator, TileEstimator):
    """Base of the estimators of dynamic effects of an absorbing treatment.

    outcome, controls: names of variables; None = the panel's own roles. window: first and last event time of the terms
    event(K). errors: cluster:unit, cluster:ATTRIBUTE. uniform_draws: draws behind the statistic `uniform`; 0 leaves it
    out. label: its name in tables.

    Where the panel has a weight, effects are fitted and averaged by it: by that of each unit in the first period, but
    for `event-study`, a regression, by that of each unit-period.
    """

    gaps: ClassVar[bool] = False

    outcome: str | None = None
    controls: tuple[str, ...] | None = None
    window: Window = (-5, 5)
    errors: tuple[str, ...] = ("cluster:unit",)
    uniform_draws: int = 999
    label: str = ""

    def terms(self) -> tuple[str, ...]:
        """The terms that it reports: two averages and the window's event times but the reference."""
        return (*event_terms(self.window), "overall", "overall:event")

    @abstractmethod
    def fit(self, panel: Panel) -> LinearFit:
        """What follows from the first replication's calendar and controls; raises BadInput when they cannot serve."""

    def targets(self) -> dict[str, str]:
        """Estimands of the terms; event times before adoption have none."""
        return staggered_targets(self.terms())

    def check(self) -> None:
        """Raise BadInput for settings that cannot be."""
        check_terms(self.window, (), (), self.name)
        if not self.window[0] <= 0 <= self.window[1]:
            raise bad(f"window = {list(self.window)}", where=self.name, allowed="a first event time of 0 or less "
                                                                                "and a last one of 0 or more",
                      remedy="set window = [-5, 5]")  # fmt: skip
        if self.uniform_draws < 0:
            raise bad(f"uniform_draws = {self.uniform_draws}", where=self.name, allowed="0 (none) or more",
                      remedy="set uniform_draws = 999")  # fmt: skip

    def check_size(self, schema: Schema) -> None:
        """Raise BadInput for settings that no panel of this size can serve."""

    def layout(self, schema: Schema) -> Layout:
        """Terms by name; the statistics of the module's docstring."""
        named = self.names(schema)
        for name in (*named[:2], *named[2]):
            schema.require(name, self.name)
        if len({*named[:2], *named[2]}) < 2 + len(named[2]):
            raise bad(f"a variable is used twice among {one_of((*named[:2], *named[2]))}", where=self.name,
                      allowed="each variable once", remedy="remove the repeated name")  # fmt: skip
        self.check()
        self.check_size(schema)
        check_clusters(self.errors, schema, self.name)
        statistics = (*PRETREND, *(("uniform",) if self.uniform_draws else ()))
        terms = self.terms()
        return Layout(terms, self.errors, statistics, self.targets(), screen=PRETREND[-1], perhaps=told_by_cells(terms))

    def prepare(self, panel: Panel) -> LinearFit | None:
        """The prepared fit, None if calendar or controls differ between replications; raises BadInput for a panel that
        cannot serve and for controls that the effects absorb or that cannot be told apart."""
        _, treatment, controls = self.names(panel.schema)
        ols.check_fixed(panel, controls, self.name)
        if any(panel.variables[name].shape[0] > 1 for name in (treatment, *controls)):
            return None
        fit = self.fit(panel)
        if not fit.sound:
            raise bad("the controls are collinear with one another or with the effects", where=self.name,
                      allowed="controls that vary over the observations used", remedy="remove some")  # fmt: skip
        return fit

    def answer(self, plan: LinearFit | None, tile: Tile) -> Estimates:
        """All terms and statistics: by one prepared fit, or one by one where calendar or controls are redrawn."""
        panel = tile.panel
        if plan is not None:
            return self._estimates(plan, panel)
        refused = Estimates.failed(self.layout(panel.schema), Status.REFUSED)
        return one_by_one(panel, lambda one: self._estimates(self.fit(one), one), refused)

    @np.errstate(divide="ignore", invalid="ignore")  # a degenerate draw is NaN with a status
    def _estimates(self, fit: LinearFit, panel: Panel) -> Estimates:
        layout, outcome = self.layout(panel.schema), self.names(panel.schema)[0]
        estimate, contributions = fit(spread(panel.variables[outcome], panel.replications))
        estimate = np.where(fit.identified & fit.sound, estimate, np.nan)
        known = [
            fit.identified & fit.certain & fit.sound & has_error(fit.averaged, fit.compared, error, panel)
            for error in self.errors
        ]
        sums, factors, dofs = zip(*(_clustered(contributions, error, fit, panel, self.name) for error in self.errors),
                                  strict=True)  # fmt: skip
        variances = [
            np.where(has, np.square(own).sum(axis=2) * factor, np.nan)
            for has, own, factor in zip(known, sums, factors, strict=True)
        ]
        events = [i for i, term in enumerate(layout.terms) if event_of(term) is not None and known[0][i]]
        early = [i for i in events if (event_of(layout.terms[i]) or 0) < 0]
        before, treated = sums[0][:, early], int(_clusters_of(fit.treated, self.errors[0], panel))
        covariance = before @ before.transpose(0, 2, 1) * factors[0]
        tests = pretrend_tests(estimate[:, early], covariance, dofs[0], treated)
        uniform = _uniform(sums[0][:, events], self.uniform_draws)
        statistics = dict(zip(PRETREND, tests.T, strict=True)) | {"uniform": uniform}
        se = np.sqrt(np.stack(variances, axis=1))
        status = status_where(np.isfinite(estimate[:, layout.terms.index("overall")]))
        dof = np.broadcast_to(np.array(dofs)[:, None], se.shape).copy()
        return Estimates.of(layout, estimate, se, dof, statistics, status=status)


@dataclass(frozen=True, slots=True)
class CohortEffects(AdoptionEffects):
    """Base of those that report every average of att(G,T).

    cohorts, years: labels for which att(G,T), cohort(G) and calendar(T) are terms; none by default.
    """

    has_reference: ClassVar[bool] = False  # whether event(-1) is zero by construction

    cohorts: tuple[int, ...] = ()
    years: tuple[int, ...] = ()

    def terms(self) -> tuple[str, ...]:
        """The window's event times, the overall averages, and what cohorts and years add."""
        return tuple(
            term
            for term in staggered_terms(self.window, self.cohorts, self.years)
            if not (self.has_reference and event_of(term) == -1)
        )

    def check(self) -> None:
        """Raise BadInput for settings that cannot be."""
        AdoptionEffects.check(self)
        check_terms(self.window, self.cohorts, self.years, self.name)


def _clustered(
    contributions: Floats, error: str, fit: LinearFit, panel: Panel, asked_by: str
) -> tuple[Floats, float, float]:
    """Sums of contributions by cluster (R, K, G), the small-sample factor and the degrees of freedom."""
    groups = int(_clusters_of(fit.used, error, panel))
    check_two_clusters(error, groups, asked_by)
    sums = sums_by_cluster(contributions, error, panel)
    if fit.sample is None:
        return sums, 1.0, np.inf
    n, k = fit.sample
    return sums, groups / (groups - 1) * (n - 1) / (n - k), groups - 1.0


def has_error(averaged: Flags, compared: Flags, error: str, panel: Panel) -> Flags:
    """Terms (K,) whose treated units (K, N), and units compared with (N,), lie in two clusters or more.

    With one alone on either side nothing shows how much its outcome moves by itself, and the formula's error, made of
    what the other side does, is far too small: 95% intervals cover a third of the time.
    """
    return np.asarray((_clusters_of(averaged, error, panel) > 1) & (_clusters_of(compared, error, panel) > 1))


def _clusters_of(units: Flags, error: str, panel: Panel) -> Codes:
    """How many clusters hold any of the marked units, (..., N) -> (...)."""
    return np.asarray((sums_by_cluster(units, error, panel) > 0).sum(axis=-1))


@np.errstate(divide="ignore", invalid="ignore")
def pretrend_tests(estimate: Floats, covariance: Floats, dof: float, treated: int) -> Floats:
    """Wald statistic of terms (R, K) with covariances (R, K, K) being zero and its two p values, (R, 3); NaN without
    terms. treated: clusters that hold treated units."""
    rows, terms = estimate.shape
    if not terms or not np.isfinite(covariance).all():
        return np.full((rows, len(PRETREND)), np.nan)
    scale, values, vectors = _principal_axes(covariance)
    free = values > DEPENDENT * np.maximum(values[:, -1:], 1e-300)
    turned = np.matmul((estimate / scale)[:, None, :], vectors)[:, 0]
    wald = np.where(free, turned**2 / np.where(free, values, 1.0), 0.0).sum(axis=1)
    rank = free.sum(axis=1)
    usual = chdtrc(rank, wald) if np.isinf(dof) else fdtrc(rank, dof, wald / rank)
    free_rank = treated - rank
    hotelling = np.where(free_rank > 0, fdtrc(rank, free_rank, wald * free_rank / (rank * (treated - 1.0))), np.nan)
    return np.column_stack([wald, usual, hotelling])


def _principal_axes(covariance: Floats) -> tuple[Floats, Floats, Floats]:
    """Standard deviations (R, K), 1 for constants, and eigenvalues (R, K) and vectors (R, K, K) of the correlations."""
    scale = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    scale = np.where(scale > 0, scale, 1.0)
    values, vectors = np.linalg.eigh(covariance / (scale[:, :, None] * scale[:, None, :]))
    return scale, values, vectors


def _uniform(contributions: Floats, draws: int) -> Floats:
    """Critical value of the largest |t| of jointly normal terms with this correlation, (R,)."""
    rows, terms, _ = contributions.shape
    if not draws or not terms or not np.isfinite(contributions).all():
        return np.full(rows, np.nan)
    _, values, vectors = _principal_axes(contributions @ contributions.transpose(0, 2, 1))
    root = vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]
    largest = np.abs(root @ _normals(draws, terms).T).max(axis=1)
    return np.asarray(np.quantile(largest, UNIFORM_LEVEL, axis=1))


@cache
def _normals(draws: int, terms: int) -> Floats:
    return np.random.Generator(np.random.Philox(key=0)).standard_normal((draws, terms))
