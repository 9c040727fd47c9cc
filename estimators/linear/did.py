"""Two-way fixed-effects difference-in-differences (equation 8 of the study), on R panels at once.

The same estimator takes out other effects, or none: all linear columns of the tables, all studies and the placebo are
its fits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from estimators.core import regression as ols
from estimators.core.error_types import check_error_types, groups_of, kind_of, may_be_floored, without_se
from estimators.core.estimator import (
    Estimates,
    Estimator,
    Home,
    Layout,
    RegressionEstimator,
    TermCovariance,
    WeightUse,
    check_names,
    slope_targets,
    treatment_of,
)
from estimators.core.hypotheses import NullTests
from estimators.core.tile import Tile, TreatmentKernel, check_effects, spread, without_singletons
from estimators.linear.covariances import ClusterK
from estimators.linear.few_clusters import (
    ADJUSTED,
    PLACEBOS,
    ClusterFacts,
    facts_of,
    wild_clusters,
)
from estimators.linear.least_squares import LeastSquares, LinearMoments, LinearPlan, Singletons, moments_of_redrawn
from sim.arrays import Floats
from sim.errors import bad, one_of
from sim.panel import Panel
from sim.presets import Paper
from sim.schema import Schema
from sim.streams import Streams


@dataclass(frozen=True, slots=True)
class TwoWayDID(RegressionEstimator):
    """Outcome on treatment and controls with unit and time effects, by the within transformation.

    outcome, regressors: names of variables; None = the panel's own roles. errors: see `core.error_types`: iid, hc1,
    cluster:unit, cluster:ATTRIBUTE, cluster:A+B, driscoll-kraay, conley:KM; for few clusters cv3:unit, cv3:ATTRIBUTE,
    cr2:unit, cr2:ATTRIBUTE; and, with p value and interval and no standard error, wild:unit, wild:ATTRIBUTE, and for
    few treated units conley-taber, ferman-pinto, ferman-pinto:SIZE (two-way effects, the treatment alone). cluster_k:
    which parameters count in the cluster factor G/(G-1) (n-1)/(n-k): slopes alone, also the effects that are not nested
    in the clusters, or all; a pooled constant always counts. target: the estimand that the treatment's coefficient is
    held to; of a continuous treatment att is its coefficient. label: its name in tables. effects: any of unit, period,
    unit-trend (linear, beside unit) and ATTRIBUTE-by-period; none = pooled. constant: whether it is a term, the last.
    draws: of the wild bootstrap, and of placebos of several treated units. singletons: drop or keep observations that
    are the only one of a level of an effect (they have no residual; Correia 2015); the statistic nobs counts what is
    used. terms: those that are reported, None = all; the treatment's alone, with iid or clustered errors, is quick
    where the treatment alone is redrawn.

    Where the panel has a weight, least squares are weighted by it (`linear.least_squares`), under all error types but
    conley-taber and ferman-pinto; r2 are shares of weighted sums of squares, sigma2 is that of weights of mean 1.

    >>> import panelproof as pp
    >>> found = pp.TwoWayDID()(pp.example_panel().panel)
    >>> print(f"{found.params['did']:.3f} ({found.std_errors['did']:.3f})")
    0.030 (0.004)
    """

    kind: ClassVar[str] = "did"
    weight_use: ClassVar[WeightUse] = "used"
    # home: the `paper` design without spillovers
    home: ClassVar[Home] = (Paper(), ("did", "inv", "road", "book", "tech"))

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

    def layout(self, schema: Schema) -> Layout:
        """One term a regressor, then the constant; the treatment's target is the ATT, a control's its coefficient.

        floored:ERROR is 1 where negative eigenvalues of a covariance were set to zero.
        """
        outcome, regressors = self.names(schema)
        check_names(schema, outcome, regressors, self.label)
        check_effects(self.effects, schema, self.label)
        check_error_types(self.errors, schema, self.label, "regression")
        for error in (each for each in self.errors if kind_of(each) in PLACEBOS):
            if schema.roles.treatment not in regressors or set(self.effects) != {"unit", "period"}:
                raise bad(f"{error} without a treatment beside unit and period effects", where=f"{self.label} errors",
                          allowed="a treatment among the regressors, effects of units and periods alone",
                          remedy="choose another error type")  # fmt: skip
        if self.draws < 1:
            raise bad(f"draws = {self.draws}", where=self.label, allowed="1 or more", remedy="set draws = 999")
        targets = slope_targets(schema, regressors, self.target)
        within = ("r2_within",) if self.effects else ()
        floored = (f"floored:{error}" for error in self.errors if may_be_floored(error, schema.attributes))
        tests = any(without_se(error) for error in self.errors)
        whole = Layout(
            (*regressors, "constant") if self.constant else regressors,
            self.errors,
            ("r2", *within, "r2_adjusted", "sigma2", "nobs", *floored),
            targets,
            ("pvalue", "lower", "upper") if tests else (),
        )
        return whole.only(self.terms, self.label)

    def used(self, panel: Panel) -> Panel:
        """Without singletons, where they are dropped."""
        return without_singletons(panel, self.effects) if self.singletons == "drop" else panel

    def cluster_facts(self, panel: Panel, group: str) -> ClusterFacts:
        """What errors of the treatment's coefficient clustered by unit or an attribute can rest on, of R panels.

        Raises BadInput for what the regression cannot serve, and for a group that the panel lacks or that is one.

        >>> import panelproof as pp
        >>> found = pp.TwoWayDID().cluster_facts(pp.example_panel().panel, "unit")
        >>> print(f"{found.clusters} clusters, {found.treated[0]:.0f} treated, G* = {found.effective[0]:.1f}")
        57 clusters, 7 treated, G* = 7.7
        """
        alone = replace(self, errors=(f"cv3:{group}",))  # of one group of units
        alone.layout(panel.schema)
        treatment = treatment_of(None, panel.schema, self.label)
        panel.schema.require(treatment, self.label)
        if treatment not in self.names(panel.schema)[1]:
            raise bad(f"the treatment {treatment!r} is no regressor", where=self.label,
                      allowed=one_of(self.names(panel.schema)[1]), remedy="add it")  # fmt: skip
        reduction = replace(alone.reduction(panel.schema), errors=(f"cluster:{group}",), alone="")
        plan, tile = reduction.prepare(panel), Tile(panel)
        found = plan.regressors or reduction.regressors_of(plan, tile)
        k = reduction.regressors.index(treatment)
        codes = plan.totals[f"cluster:{group}"].unit_codes
        assert codes is not None
        return facts_of(found.slopes.psi[:, k], tile.raw(treatment), codes, plan.mask, plan.root)

    def covariance(self, panel: Panel, error: str) -> TermCovariance:
        """The covariance of its terms under an error type; raises BadInput for a test, and for cr2, whose degrees of
        freedom are those of one coefficient.

        >>> import panelproof as pp
        >>> found = pp.TwoWayDID().covariance(pp.example_panel().panel, "cluster:unit")
        >>> print(found.terms[0], f"{found.matrix[0, 0, 0] ** 0.5:.4f}", found.dof)
        did 0.0039 56
        """
        if without_se(error) or kind_of(error) == "cr2":
            raise bad(f"{error} has no covariance of several terms", where=self.label,
                      allowed="an error type with one number of degrees of freedom",
                      remedy="choose another, such as cluster:unit")  # fmt: skip
        alone = replace(self, errors=(error,), terms=None)
        terms = alone.layout(panel.schema).terms
        reduction = alone.reduction(panel.schema)
        plan = reduction.prepare(panel)
        factor, dof = (1.0, float(plan.nobs - len(reduction.regressors) - plan.effects))
        if error != "iid":
            factor, dof = plan.factor(error, len(reduction.regressors), self.cluster_k)
        matrix = reduction.covariance(plan, Tile(panel), error) * factor
        kept = [terms.index(term) for term in self.terms or terms]
        return TermCovariance(self.terms or terms, matrix[:, kept][:, :, kept], dof)

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
        if not kernel.clusters:
            return None
        return replace(kernel, factor=plan.factor(error, len(reduction.regressors), self.cluster_k)[0])

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
        terms = layout.terms
        if not plan.redrawn:  # all of them, whichever are reported
            terms = (*reduction.regressors, "constant") if self.constant else reduction.regressors
        shape = (r, len(self.errors), len(terms))
        variance, dof = np.full(shape, np.nan), np.empty(shape)
        stored = {name: np.full(shape, np.nan) for name in layout.stored}
        for row, error in enumerate(self.errors):
            if error == "iid":
                assert own is not None
                variance[:, row], dof[:, row] = spread(own * (moments.ssr / free)[:, None], r), free
            elif error in plan.wild:
                dof[:, row] = plan.wild[error].max()
                for name, values in self._wild(error, plan, moments, streams).items():
                    stored[name][:, row] = values
            elif without_se(error):
                k = terms.index(str(schema.roles.treatment))
                tests, controls = self._placebos(error, plan, moments, k, reduction, streams)
                dof[:, row] = controls[:, None] - 1
                for name in layout.stored:
                    stored[name][:, row, k] = getattr(tests, name)
            else:
                factor, dof[:, row] = plan.factor(error, len(reduction.regressors), self.cluster_k)
                at = reduction.summed.index(error)
                variance[:, row] = moments.robust[:, at] * factor
                if moments.dof is not None and kind_of(error) in ADJUSTED:
                    dof[:, row] = moments.dof[:, at]
        exact = moments.ssr <= ols.EXACT * moments.tss
        for values in (variance, *stored.values()):
            values[exact] = np.nan

        r2, around = 1.0 - moments.ssr / moments.tss, 1 if self.effects or self.constant else 0
        statistics = {
            "r2": r2,
            "r2_within": 1.0 - moments.ssr / moments.tss_within,
            "r2_adjusted": 1.0 - (1.0 - r2) * (plan.nobs - around) / free,
            "sigma2": moments.ssr / free,
            "nobs": np.full(r, float(plan.nobs)),
            **{f"floored:{error}": moments.floored[:, i].astype(float) for i, error in enumerate(reduction.summed)},
        }
        whole = replace(layout, terms=terms)
        return Estimates.of(whole, moments.beta, np.sqrt(variance), dof, statistics, **stored).only(layout.terms)

    def _placebos(
        self, error: str, plan: LinearPlan, moments: LinearMoments, k: int, reduction: LeastSquares, streams: Streams
    ) -> tuple[NullTests, Floats]:
        """Tests of the treatment, regressor k, by placebos of never treated units, and how many these are, (R,)."""
        assert plan.few is not None
        assert moments.e is not None
        own, x = moments.own, moments.z
        if own is None:
            assert plan.regressors is not None
            own = plan.regressors.own
        if x is not None:
            x = x[:, : len(reduction.regressors)]
            x = x - (x.sum(axis=(2, 3), keepdims=True) / plan.nobs) * plan.mask  # a reported constant's means are in it
        b = moments.beta[:, k]
        redrawn = None if moments.d is None or x is None else (moments.d, x)
        draws = streams.rows(len(b)).each("placebos")
        return plan.few.tests(error, (b, spread(own[:, k], len(b)), moments.e), redrawn, draws, self.draws)

    def _wild(self, error: str, plan: LinearPlan, moments: LinearMoments, streams: Streams) -> dict[str, Floats]:
        """p values and intervals of all terms, (R, K) each."""
        assert moments.e is not None
        if moments.psi is not None and moments.z is not None:
            psi, z = moments.psi, moments.z
        else:
            assert plan.regressors is not None
            psi, z = plan.regressors.psi, plan.regressors.entering(plan.scale)
        ones = plan.scale

        def project(x: Floats) -> Floats:
            mean = (x * ones).sum(axis=(1, 2), keepdims=True) / plan.nobs
            return plan.transform(x) + mean * ones if self.constant else plan.transform(x)

        own = streams.rows(len(moments.e))
        tests = wild_clusters(psi, moments.e, moments.beta, z, project, plan.wild[error], own.each(error), self.draws)
        return {"pvalue": tests.pvalue, "lower": tests.lower, "upper": tests.upper}
