"""Two-way fixed-effects difference-in-differences (equation 8 of the study), on R panels at once.

The same estimator takes out other effects, or none: all linear columns of the tables, all studies and the placebo are
its fits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from estimators.core.error_types import check_error_types, groups_of, kind_of, may_be_floored
from estimators.core.estimator import Estimates, Estimator, Layout
from estimators.core.names import RegressionEstimator, check_names, slope_targets
from estimators.core.tile import spread
from estimators.core.treatment_kernels import TreatmentKernel
from estimators.core.within import check_effects, without_singletons
from estimators.linear.covariances import ClusterK, counted_parameters
from estimators.linear.least_squares import LeastSquares, LinearMoments, LinearPlan, Singletons, moments_of_redrawn
from estimators.linear.wild import wild_clusters
from sim.arrays import Floats
from sim.design import Design
from sim.designs.paper import Paper
from sim.errors import bad
from sim.panel import Panel, Schema
from sim.streams import Streams


@dataclass(frozen=True, slots=True)
class TwoWayDID(RegressionEstimator):
    """Outcome on treatment and controls with unit and time effects, by the within transformation.

    outcome, regressors: names of variables; None = the panel's own roles. errors: see `core.error_types`: iid, hc1,
    cluster:unit, cluster:ATTRIBUTE, cluster:A+B, driscoll-kraay, conley:KM, and wild:unit, wild:ATTRIBUTE (p value and
    interval, no standard error). cluster_k: which parameters count in the cluster factor G/(G-1) (n-1)/(n-k): slopes
    alone, also the effects that are not nested in the clusters, or all; a pooled constant always counts. target: the
    estimand that the treatment's coefficient is held to; of a continuous treatment att is its coefficient. label: its
    name in tables. effects: any of unit, period, unit-trend (linear, beside unit) and ATTRIBUTE-by-period; none =
    pooled. constant: whether it is a term, the last. draws: of the wild bootstrap. singletons: drop or keep
    observations that are the only one of a level of an effect (they have no residual; Correia 2015); the statistic nobs
    counts what is used. terms: those that are reported, None = all; the treatment's alone, with iid or clustered
    errors, is quick where the treatment alone is redrawn.

    >>> import panelproof as pp
    >>> found = pp.TwoWayDID()(pp.example_panel().panel)
    >>> print(f"{found.params['did']:.3f} ({found.std_errors['did']:.3f})")
    0.030 (0.004)
    """

    kind: ClassVar[str] = "did"

    outcome: str | None = None
    regressors: tuple[str, ...] | None = None
    errors: tuple[str, ...] = ("iid", "hc1", "cluster:unit")
    cluster_k: ClusterK = "nonnested"
    target: str = "att"
    label: str = "did"
    effects: tuple[str, ...] = ("unit", "period")
    constant: bool = False
    draws: int = 999
    singletons: Singletons = "drop"
    terms: tuple[str, ...] | None = None

    @property
    def home(self) -> tuple[Design, tuple[str, ...]]:
        """The `paper` design without spillovers."""
        return Paper(), ("did", "inv", "road", "book", "tech")

    def layout(self, schema: Schema) -> Layout:
        """One term a regressor, then the constant; the treatment's target is the ATT, a control's its coefficient.

        floored:ERROR is 1 where negative eigenvalues of a covariance were set to zero.
        """
        outcome, regressors = self.names(schema)
        check_names(schema, outcome, regressors, self.label)
        check_effects(self.effects, schema, self.label)
        check_error_types(self.errors, schema, self.label, "regression")
        if self.draws < 1:
            raise bad(f"draws = {self.draws}", where=self.label, allowed="1 or more", remedy="set draws = 999")
        own = self.target if self.target != "att" or not schema.roles.continuous else f"beta({schema.roles.treatment})"
        targets = slope_targets(schema, regressors, own)
        within = ("r2_within",) if self.effects else ()
        floored = (f"floored:{error}" for error in self.errors if may_be_floored(error, schema.attributes))
        wild = any(error.startswith("wild:") for error in self.errors)
        whole = Layout(
            self._all_terms(schema),
            self.errors,
            ("r2", *within, "r2_adjusted", "sigma2", "nobs", *floored),
            targets,
            ("pvalue", "lower", "upper") if wild else (),
        )
        return whole.only(self.terms, self.label)

    def _all_terms(self, schema: Schema) -> tuple[str, ...]:
        regressors = self.names(schema)[1]
        return (*regressors, "constant") if self.constant else regressors

    def used(self, panel: Panel) -> Panel:
        """Without singletons, where they are dropped."""
        return without_singletons(panel, self.effects) if self.singletons == "drop" else panel

    def reduction(self, schema: Schema) -> LeastSquares:
        """Least squares and the variances of the error types asked for."""
        treatment = schema.roles.treatment or ""
        alone = treatment if self.terms == (treatment,) else ""
        return LeastSquares(
            *self.names(schema), self.errors, self.effects, self.constant, self.singletons, alone, self.label
        )

    def for_redrawn_treatments(self, schema: Schema) -> Estimator:
        """The treatment's term with the last error type, where it is clustered by units."""
        treatment, error = schema.roles.treatment, self.errors[-1]
        served = error == "iid" or (kind_of(error) == "cluster" and "period" not in groups_of(error, schema.attributes))
        if treatment not in self.names(schema)[1] or not served:
            return self
        return replace(self, terms=(str(treatment),), errors=(error,))

    def treatment_kernel(self, panel: Panel, terms: tuple[str, ...], *, errors: bool) -> TreatmentKernel | None:
        """The treatment's term, studentised by errors clustered by units."""
        treatment, error = panel.roles.treatment, self.errors[-1]
        if terms != (treatment,) or treatment not in self.names(panel.schema)[1]:
            return None
        alone = replace(self, terms=terms, errors=(error,) if errors else ("iid",))
        alone.layout(panel.schema)
        reduction = alone.reduction(panel.schema)
        plan = reduction.prepare(panel)
        kernel = reduction.kernel(plan, panel)
        if kernel is None or not errors:
            return kernel
        return replace(kernel, factor=self._factor(error, plan, reduction)[0]) if kernel.clusters else None

    def _factor(self, error: str, plan: LinearPlan, reduction: LeastSquares) -> tuple[float, float]:
        """Small-sample factor and degrees of freedom of an error type that is a sum of scores."""
        slopes = len(reduction.regressors)
        counting: ClusterK = self.cluster_k if self.effects else "all"
        counted = counted_parameters(slopes, plan.effects, plan.nested[error], counting)
        return plan.totals[error].factor(plan.nobs, plan.nobs - slopes - plan.effects, counted)

    @np.errstate(divide="ignore", invalid="ignore")  # a degenerate draw is NaN with a status
    def solve(self, plan: Any, moments: Any, schema: Schema, streams: Streams) -> Estimates:
        """Coefficients, and errors of every type."""
        assert isinstance(plan, LinearPlan)
        if plan.redrawn is not None:
            moments = moments_of_redrawn(plan.redrawn, moments)
        assert isinstance(moments, LinearMoments)
        layout, reduction = self.layout(schema), self.reduction(schema)
        r, free = len(moments.beta), plan.nobs - len(reduction.regressors) - plan.effects
        own = plan.regressors.own if moments.own is None and plan.regressors else moments.own
        terms = layout.terms if plan.redrawn else self._all_terms(schema)
        shape = (r, len(self.errors), len(terms))
        variance, dof = np.full(shape, np.nan), np.empty(shape)
        stored = {name: np.full(shape, np.nan) for name in layout.stored}
        for row, error in enumerate(self.errors):
            if error == "iid":
                assert own is not None
                variance[:, row], dof[:, row] = spread(own * (moments.ssr / free)[:, None], r), free
            elif error in plan.wild:
                dof[:, row] = plan.wild[error].max()
                for name, values in self._wild(error, plan, moments, reduction, streams).items():
                    stored[name][:, row] = values
            else:
                factor, dof[:, row] = self._factor(error, plan, reduction)
                variance[:, row] = moments.robust[:, reduction.summed.index(error)] * factor
        statistics = self._statistics(plan, moments, free, reduction)
        whole = replace(layout, terms=terms)
        return Estimates.of(whole, moments.beta, np.sqrt(variance), dof, statistics, **stored).only(layout.terms)

    def _statistics(
        self, plan: LinearPlan, moments: LinearMoments, free: int, reduction: LeastSquares
    ) -> dict[str, Floats]:
        r2 = 1.0 - moments.ssr / moments.tss
        around = 1 if self.effects or self.constant else 0
        return {
            "r2": r2,
            "r2_within": 1.0 - moments.ssr / moments.tss_within,
            "r2_adjusted": 1.0 - (1.0 - r2) * (plan.nobs - around) / free,
            "sigma2": moments.ssr / free,
            "nobs": np.full(len(r2), float(plan.nobs)),
            **{f"floored:{error}": moments.floored[:, i].astype(float) for i, error in enumerate(reduction.summed)},
        }

    def _wild(
        self, error: str, plan: LinearPlan, moments: LinearMoments, reduction: LeastSquares, streams: Streams
    ) -> dict[str, Floats]:
        """p values and intervals of all terms, (R, K) each."""
        assert moments.e is not None
        if moments.psi is not None and moments.z is not None:
            psi, z = moments.psi, moments.z
        else:
            assert plan.regressors is not None
            psi, z = plan.regressors.psi, reduction.entering(plan)
        mask = plan.mask

        def project(x: Floats) -> Floats:
            mean = (x * mask).sum(axis=(1, 2), keepdims=True) / mask.sum()
            return plan.transform(x) + mean * mask if self.constant else plan.transform(x)

        own = streams.tile(streams.start, streams.start + len(moments.e))
        tests = wild_clusters(psi, moments.e, moments.beta, z, project, plan.wild[error], own.each(error), self.draws)
        return {"pvalue": tests.pvalue, "lower": tests.lower, "upper": tests.upper}
