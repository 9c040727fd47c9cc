"""Two-way fixed-effects difference-in-differences (equation 8 of the study), on R panels at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from estimators.core import regression as ols
from estimators.core.estimator import Estimates, Estimator, Layout, Moments, Reduction, Status
from estimators.core.names import check_names, outcome_of
from estimators.core.tile import Tile, spread
from sim.design import Design
from sim.designs.paper import Paper
from sim.errors import bad, one_of
from sim.panel import Panel, Schema
from sim.streams import Streams

Floats = NDArray[np.float64]
ClusterK = Literal["slopes", "nonnested", "all"]


@dataclass(frozen=True, slots=True)
class TwoWayDID(Estimator):
    """Outcome on treatment and controls with unit and time effects, by the within transformation.

    outcome, regressors: names of variables; None = the panel's own roles. errors: any of iid, hc1, cluster:unit,
    cluster:ATTRIBUTE (an attribute of the units). cluster_k: which parameters count in the cluster factor
    G/(G-1) (n-1)/(n-k): slopes alone, also the effects that are not nested in the clusters, or all.
    target: the estimand that the treatment's coefficient is held to. label: its name in tables.
    Two units' scores cancel beside period effects: a panel that compares no more has no clustered error (NaN).
    """

    kind: ClassVar[str] = "did"

    outcome: str | None = None
    regressors: tuple[str, ...] | None = None
    errors: tuple[str, ...] = ("iid", "hc1", "cluster:unit")
    cluster_k: ClusterK = "nonnested"
    target: str = "att"
    label: str = "did"

    @property
    def name(self) -> str:
        """Its label."""
        return self.label

    @property
    def home(self) -> tuple[Design, tuple[str, ...]]:
        """The `paper` design without spillovers."""
        return Paper(), ("did", "inv", "road", "book", "tech")

    def _names(self, schema: Schema) -> tuple[str, tuple[str, ...]]:
        regressors = schema.roles.regressors if self.regressors is None else self.regressors
        return outcome_of(self.outcome, schema, self.label), regressors

    def layout(self, schema: Schema) -> Layout:
        """One term a regressor; the treatment's target is the ATT, a control's its coefficient."""
        outcome, regressors = self._names(schema)
        check_names(schema, outcome, regressors, self.label)
        if not self.errors or len(set(self.errors)) < len(self.errors):
            raise bad(f"errors = {list(self.errors)}", where=self.label, allowed="one or more distinct error types",
                      remedy='set errors = ["cluster:unit"]')  # fmt: skip
        for error in self.errors:
            check_error_type(error, schema, self.label)
        targets = {
            name: self.target if name == (schema.roles.treatment or "did") else f"beta({name})" for name in regressors
        }
        return Layout(regressors, self.errors, ("r2", "r2_within", "sigma2"), targets)

    def variables(self, schema: Schema) -> frozenset[str]:
        """Outcome and regressors."""
        outcome, regressors = self._names(schema)
        return frozenset((outcome, *regressors))

    def reduction(self, schema: Schema) -> Reduction:
        """Least squares and the variances of the robust error types asked for."""
        outcome, regressors = self._names(schema)
        robust = tuple(error for error in self.errors if error != "iid")
        return LeastSquares(outcome, regressors, robust, self.label)

    @np.errstate(divide="ignore", invalid="ignore")  # a degenerate draw is NaN with a status
    def solve(self, plan: Any, moments: Any, schema: Schema, streams: Streams) -> Estimates:
        """Coefficients, and errors of every type."""
        plan, moments = _typed(plan), _typed_moments(moments)
        terms = self.layout(schema).terms
        bread = plan.bread if moments.bread is None else moments.bread
        n, k, r = plan.nobs, len(terms), moments.beta.shape[0]
        free = n - k - plan.effects
        variances, dofs = [], []
        for error in self.errors:
            if error == "iid":
                diagonal = np.diagonal(bread, axis1=1, axis2=2) * (moments.ssr / free)[:, None]
                dof = free
            else:
                factor, dof = self._factor(error, plan, k)
                diagonal = moments.robust[:, plan.robust.index(error)] * factor
                if error != "hc1" and plan.compared <= 2:
                    diagonal = np.full_like(diagonal, np.nan)
            variances.append(spread(diagonal, r))
            dofs.append(np.full((r, k), float(dof)))
        sound = np.isfinite(moments.beta).all(axis=1)
        statistics = {
            "r2": 1.0 - moments.ssr / moments.tss,
            "r2_within": 1.0 - moments.ssr / moments.tss_within,
            "sigma2": moments.ssr / free,
        }
        return Estimates(
            terms=terms,
            errors=self.errors,
            estimate=moments.beta,
            se=np.sqrt(np.stack(variances, axis=1)),
            dof=np.stack(dofs, axis=1),
            status=np.where(sound, Status.OK, Status.SINGULAR).astype(np.uint8),
            statistics=statistics,
        )

    def _factor(self, error: str, plan: Plan, k: int) -> tuple[float, float]:
        """Small-sample factor of a robust variance and the degrees of freedom of its t."""
        n = plan.nobs
        if error == "hc1":
            free = n - k - plan.effects
            return n / free, free
        groups = plan.groups[error]
        counted = {"slopes": k, "nonnested": k + plan.time_effects, "all": k + plan.effects}[self.cluster_k]
        return groups / (groups - 1) * (n - 1) / (n - counted), groups - 1


@dataclass(frozen=True, eq=False, slots=True)
class Plan:
    """What a cell's fixed variables give: demeaned regressors with their influence, bread (1, K, K); None if redrawn.

    effects: free unit and time effects; time_effects: those beside the units' own, which clusters of units nest, and
    the constant: T when balanced; compared: units that share a period with others (`compared_units`).
    """

    influence: ols.Influence | None
    bread: Floats | None
    nobs: int
    effects: int
    time_effects: int
    compared: int
    robust: tuple[str, ...]
    clusters: dict[str, NDArray[np.intp] | None]
    groups: dict[str, int]


@dataclass(frozen=True, eq=False, slots=True)
class LeastSquaresMoments(Moments):
    """beta (R, K), residual and total sums of squares (R,), robust (R, M, K): variances before their small-sample
    factors, bread (R, K, K) when redrawn.
    """

    beta: Floats
    ssr: Floats
    tss: Floats
    tss_within: Floats
    robust: Floats
    bread: Floats | None


def _typed(plan: Any) -> Plan:
    assert isinstance(plan, Plan)
    return plan


def _typed_moments(moments: Any) -> LeastSquaresMoments:
    assert isinstance(moments, LeastSquaresMoments)
    return moments


@dataclass(frozen=True, slots=True)
class LeastSquares(Reduction):
    """Two-way within regression of one outcome with the variances of some robust error types."""

    outcome: str
    regressors: tuple[str, ...]
    robust: tuple[str, ...]
    asked_by: str = field(compare=False)  # for messages; who asks does not matter to the numbers

    def prepare(self, panel: Panel) -> Plan:
        """Demeaned regressors and bread; raises BadInput for regressors that the effects absorb."""
        ols.check_fixed(panel, self.regressors, self.asked_by)
        tile = Tile(panel)
        fixed = all(panel.variables[name].shape[0] == 1 for name in self.regressors)
        x = ols.stack([tile.within(name) for name in self.regressors]) if fixed else None
        bread = None if x is None else ols.invert(ols.gram(x))[0]
        clusters = {error: _clusters(error, panel) for error in self.robust if error.startswith("cluster:")}
        seen = np.ones(len(panel.units), dtype=bool) if panel.observed is None else panel.observed[0].any(axis=0)
        groups = {
            error: int(seen.sum()) if codes is None else len(np.unique(codes[seen]))
            for error, codes in clusters.items()
        }
        for error, count in groups.items():
            if count < 2:
                raise bad(f"{error} has {count} cluster", where=self.asked_by, allowed="2 or more clusters",
                          remedy="choose a finer grouping")  # fmt: skip
        return Plan(
            influence=None if x is None or bread is None else ols.Influence.of(x, bread),
            bread=bread,
            nobs=panel.nobs,
            effects=tile.transform.effects,
            time_effects=tile.transform.effects - int(seen.sum()) + 1,
            compared=compared_units(panel),
            robust=self.robust,
            clusters=clusters,
            groups=groups,
        )

    def reduce(self, plan: Any, tile: Tile) -> LeastSquaresMoments:
        """One tile: projection, residuals, variances."""
        plan = _typed(plan)
        y = tile.within(self.outcome)
        influence, bread = plan.influence, plan.bread
        if influence is None or bread is None:
            x = ols.stack([tile.within(name) for name in self.regressors])
            gram = ols.gram(x)
            bread, _ = ols.invert(gram)
            bread[ols.any_absorbed(tile, self.regressors, np.diagonal(gram, axis1=1, axis2=2))] = np.nan
            influence = ols.Influence.of(x, bread)
        x = influence.x
        r, k = tile.panel.replications, x.shape[1]
        y = spread(y, r)  # one outcome for all: a placebo
        beta = np.matmul(bread, ols.inner(x, y)[:, :, None])[:, :, 0]
        e = ols.residual(y, x, beta)
        robust = np.empty((r, len(self.robust), k))
        for i, error in enumerate(self.robust):
            robust[:, i] = (
                influence.heteroskedastic(e) if error == "hc1" else influence.clustered(e, plan.clusters[error])
            )
        return LeastSquaresMoments(
            beta=beta,
            ssr=ols.square(e),
            tss=spread(tile.total_sum_of_squares(self.outcome), r),
            tss_within=spread(tile.within_sum_of_squares(self.outcome), r),
            robust=robust,
            bread=None if plan.bread is not None else spread(bread, r),
        )


def compared_units(panel: Panel) -> int:
    """Units left when, as long as there are any, periods of one unit and units of one period are taken out.

    Unit and period effects fit what is taken out exactly: it has no residual, and regressors have nothing left there.
    """
    if panel.observed is None:
        return len(panel.units)
    left = panel.observed[0]
    while True:
        kept = left & (left.sum(axis=1, keepdims=True) > 1)
        kept &= kept.sum(axis=0) > 1
        if (kept == left).all():
            return int(left.any(axis=0).sum())
        left = kept


def check_error_type(error: str, schema: Schema, asked_by: str) -> None:
    """Raise BadInput for an error type that does not exist or whose attribute the panel lacks."""
    allowed = ("iid", "hc1", "cluster:unit", *(f"cluster:{name}" for name in schema.attributes))
    if error not in allowed:
        raise bad(f"unknown error type {error!r}", where=f"{asked_by} errors", allowed=one_of(allowed),
                  remedy="choose among them")  # fmt: skip


def _clusters(error: str, panel: Panel) -> NDArray[np.intp] | None:
    """Cluster of each unit, (N,), or None when every unit is its own."""
    attribute = error.removeprefix("cluster:")
    if attribute == "unit":
        return None
    return np.unique(panel.attributes[attribute], return_inverse=True)[1]
