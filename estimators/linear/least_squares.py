"""Least squares of one outcome beside effects, with what every error type needs: the reduction of `TwoWayDID`.

Effects are taken out by a projection Q (Frisch and Waugh 1933; Lovell 1963). The constant, where it is reported, takes
Stata's form: Qy + ybar is regressed on Qx + xbar and 1, so that it is ybar - xbar'b, the mean of the effects over
observations, and has an error.

With weights w that sum to n every column, effects and the constant too, is times root w. Q, coefficients, residuals and
influences are those of the scaled columns, and all errors follow from them as without weights: iid are those of errors
with variance sigma2 / w, sums of scores are of w x e (Solon, Haider and Wooldridge 2015, J. Human Resources 50:301).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from estimators.core import regression as ols
from estimators.core.error_types import without_se
from estimators.core.estimator import ROWS_AT_ONCE, Moments, Reduction
from estimators.core.tile import (
    GrandMean,
    Tile,
    Transform,
    observed_mask,
    spread,
    transform_of,
    weight_root,
    without_singletons,
)
from estimators.core.treatments import Fields, Projection, TreatmentMoments
from estimators.linear.covariances import (
    ClusterK,
    ScoreSum,
    cells_of,
    check_two_clusters,
    counted_parameters,
    nested_effects,
    outer,
)
from estimators.linear.few_clusters import ADJUSTED, ClusterSpan, FewTreated, adjusted_influences, cluster_span
from estimators.linear.influence import Influence, RedrawnInfluence
from estimators.linear.redrawn_did import DIDKernel, RedrawnRegression
from sim.arrays import Codes, Flags, Floats
from sim.errors import amount, bad, refuse
from sim.panel import Panel

Singletons = Literal["drop", "keep"]

TWO_WAY = {"unit", "period"}
RESIDUALS_AT_ONCE = 256  # panels whose residuals are kept for the wild bootstrap
REGRESSORS_AT_ONCE = 64  # panels whose redrawn regressors are kept with them


@dataclass(frozen=True, eq=False, slots=True)
class Regressors:
    """Demeaned regressors x (1 or R, K, T, N), raw means (1 or R, K), bread (1 or R, K, K), the influence of residuals
    on slopes and, where it is reported, on the constant: apart, so that it changes no bit of the slopes' errors.
    adjusted: influence on all terms, and dof, under error types that adjust it within clusters."""

    x: Floats
    means: Floats
    bread: Floats
    slopes: Influence | RedrawnInfluence
    level: Influence | None
    adjusted: Mapping[str, tuple[Influence, Floats]] = field(default_factory=dict)

    @property
    def psi(self) -> Floats:
        """Influence on all terms, (1 or R, K, T, N)."""
        return self.slopes.psi if self.level is None else np.concatenate([self.slopes.psi, self.level.psi], axis=1)

    @property
    def own(self) -> Floats:
        """Variances of all terms where errors are independent with variance one, (1 or R, K)."""
        return self.slopes.own if self.level is None else np.column_stack([self.slopes.own, self.level.own])

    def variances(self, total: ScoreSum, e: Floats, ssr: Floats, *, together: bool) -> tuple[Floats, Flags]:
        """As `Influence.variances`, of all terms (R, K).

        together: whether the matrix of all terms is floored, as in a pooled regression; beside effects a reported
        constant changes no other variance, and that of the slopes is floored by itself.
        """
        if total.error in self.adjusted:
            return self.adjusted[total.error][0].variances(total, e, ssr)
        if self.level is None:
            return self.slopes.variances(total, e, ssr)
        variance, floored = self.slopes.variances(total, e, ssr)
        if not total.floors:
            return np.column_stack([variance, self.level.variances(total, e, ssr)[0]]), floored
        whole, more = Influence(self.psi, self.own).variances(total, e, ssr)
        return whole if together else np.column_stack([variance, whole[:, -1]]), floored | more

    def matrix(self, total: ScoreSum, e: Floats, *, together: bool) -> Floats:
        """The covariance of all terms before its factor, (R, K, K), whose diagonal is that of `variances`."""
        if total.error in self.adjusted:
            return total.matrix(self.adjusted[total.error][0].psi, e)[0]
        whole = total.matrix(self.psi, e)[0]
        if self.level is not None and total.floors and not together:
            whole[:, :-1, :-1] = total.matrix(self.slopes.psi, e)[0]
        return whole

    def dof(self, errors: tuple[str, ...], rows: int) -> Floats | None:
        """Degrees of freedom of t where an error type has its own for each coefficient, (R, M, K); None without."""
        if not self.adjusted:
            return None
        out = np.full((rows, len(errors), self.own.shape[1]), np.nan)
        for error, (_, dof) in self.adjusted.items():
            out[:, errors.index(error)] = dof
        return out

    def entering(self, scale: Floats) -> Floats:
        """The regressors as they enter, (1 or R, K, T, N): where the constant is reported Qx + xbar and 1, of the
        column of ones."""
        if self.level is None:
            return self.x
        ones = np.broadcast_to(scale, (len(self.x), 1, *scale.shape))
        return np.concatenate([self.x + self.means[:, :, None, None] * scale, ones], axis=1)


@dataclass(frozen=True, eq=False, slots=True)
class LinearPlan:
    """What a cell's fixed variables give.

    used: the panel without singletons. transform: Q; None = the tile's own two-way one. mask (T, N): used cells.
    regressors: None when redrawn. totals: what each error type that is a sum of scores adds up; nested: how many
    effects its clusters nest; spans: those that adjust scores within clusters. wild: clusters of cells (T, N) by error
    type. few: for error types by placebos. redrawn: where one regressor alone differs. root (T, N): of weights.
    """

    used: Panel
    transform: Transform
    shared: bool
    mask: Floats
    regressors: Regressors | None
    totals: dict[str, ScoreSum]
    nested: dict[str, int]
    wild: dict[str, Codes]
    spans: dict[str, ClusterSpan] = field(default_factory=dict)
    few: FewTreated | None = None
    redrawn: RedrawnRegression | None = None
    root: Floats | None = None

    @property
    def scale(self) -> Floats:
        """The column of ones, (T, N): the root of weights in used cells, 1 without weights."""
        return self.mask if self.root is None else self.root

    @property
    def tests(self) -> bool:
        """Whether error types without a standard error are asked for, which need residuals."""
        return bool(self.wild) or self.few is not None

    @property
    def effects(self) -> int:
        """Free effects; 1 for a pooled constant."""
        return self.transform.effects

    @property
    def nobs(self) -> int:
        """Observations used."""
        return self.used.nobs

    def factor(self, error: str, slopes: int, cluster_k: ClusterK) -> tuple[float, float]:
        """Small-sample factor and degrees of freedom of an error type that is a sum of scores, of so many slopes; a
        pooled constant always counts."""
        cluster_k = "all" if isinstance(self.transform, GrandMean) else cluster_k
        counted = counted_parameters(slopes, self.effects, self.nested[error], cluster_k)
        return self.totals[error].factor(self.nobs, self.nobs - slopes - self.effects, counted)

    def within(self, tile: Tile, name: str) -> Floats:
        """A variable without effects, (1 or R, T, N), zero where unused."""
        if self.root is not None:
            return self.transform(self.seen(tile, name))
        return tile.within(name) if self.shared else self.transform(tile.raw(name))

    def seen(self, tile: Tile, name: str) -> Floats:
        """Used values times the root of weights, zero elsewhere, (1 or R, T, N)."""
        values = np.where(self.mask > 0, tile.raw(name), 0.0)
        return values if self.root is None else values * self.root

    def means(self, tile: Tile, names: tuple[str, ...]) -> Floats:
        """Weighted means over used cells, (1 or R, K)."""
        columns = [(self.seen(tile, name) * self.scale).sum(axis=(1, 2)) / self.nobs for name in names]
        return np.stack(np.broadcast_arrays(*columns), axis=1)

    def total(self, tile: Tile, name: str, *, centred: bool) -> Floats:
        """Weighted sum of squares of used values around their mean or around zero, (1 or R,)."""
        if self.shared and centred:
            return tile.total_sum_of_squares(name)
        values = self.seen(tile, name)
        if centred:
            values = values - (values * self.scale).sum(axis=(1, 2), keepdims=True) / self.nobs * self.scale
        return ols.sum_of_squares(values)


@dataclass(frozen=True, eq=False, slots=True)
class LinearMoments(Moments):
    """beta (R, K) of all terms, residual and total sums of squares (R,), robust (R, M, K): variances before their
    factors; floored (R, M); own (R, K): of redrawn regressors; what the wild bootstrap and placebos need of them: e (R,
    T, N), psi and z (R, K, T, N), the treatment d (R, T, N); dof (R, M, K) where it is not the same for all.
    """

    beta: Floats
    ssr: Floats
    tss: Floats
    tss_within: Floats
    robust: Floats
    floored: Flags
    own: Floats | None
    e: Floats | None
    psi: Floats | None
    z: Floats | None
    d: Floats | None = None
    dof: Floats | None = None


def moments_of_redrawn(found: RedrawnRegression, waiting: TreatmentMoments) -> LinearMoments:
    """The moments of regressions in which the treatment alone differs."""
    numbers = waiting.complete(found.fit)
    b, ssr, own = numbers[:, 0], numbers[:, 1], numbers[:, 2]
    floored = np.zeros((len(b), len(found.kernel.clusters)), dtype=bool)
    tss, within = np.full_like(b, found.total), np.full_like(b, found.within)
    robust = numbers[:, 3:, None]
    return LinearMoments(b[:, None], ssr, tss, within, robust, floored, own[:, None], None, None, None)


@dataclass(frozen=True, slots=True)
class LeastSquares(Reduction):
    """The regression with the variances of some error types; settings as in `TwoWayDID`.

    alone: a regressor whose coefficient alone is asked for, "" = none. Where nothing else differs between replications
    and errors are iid or clustered by units, no replication is then fitted by itself.
    """

    outcome: str
    regressors: tuple[str, ...]
    errors: tuple[str, ...]
    effects: tuple[str, ...] = ("unit", "period")
    constant: bool = False
    singletons: Singletons = "drop"
    alone: str = ""
    asked_by: str = field(default="", compare=False)  # for messages; who asks does not matter to the numbers

    @property
    def summed(self) -> tuple[str, ...]:
        """Error types that are sums of scores."""
        return tuple(error for error in self.errors if error != "iid" and not without_se(error))

    def rows(self, plan: LinearPlan) -> int:
        """Fewer panels at once where their residuals are kept."""
        if not plan.tests:
            return ROWS_AT_ONCE
        return RESIDUALS_AT_ONCE if plan.regressors else REGRESSORS_AT_ONCE

    def prepare(self, panel: Panel) -> LinearPlan:
        """Raises BadInput for regressors or an outcome that the effects absorb, collinear regressors, too few
        observations or clusters."""
        mask = observed_mask(panel)
        used = without_singletons(panel, self.effects) if self.singletons == "drop" else panel
        root = weight_root(used)
        shared = set(self.effects) == TWO_WAY and used is panel and root is None
        transform = transform_of(self.effects, used, constant=self.constant, root=root)
        mask = mask if used is panel else observed_mask(used)
        totals = {error: ScoreSum.of(error, used, self.asked_by) for error in self.summed}
        nested = {error: nested_effects(error, self.effects, used) for error in self.summed}
        wild = {}
        for error in (each for each in self.errors if each.startswith("wild:")):
            codes = cells_of(error.removeprefix("wild:"), used)
            codes = np.where(mask > 0, codes, codes[mask > 0][0])  # clusters never observed take no sign
            wild[error] = np.unique(codes, return_inverse=True)[1].reshape(codes.shape)
            check_two_clusters(error, int(wild[error].max()) + 1, self.asked_by)
        few = FewTreated.of(self.errors, used, self.asked_by)
        plan = LinearPlan(used, transform, shared, mask, None, totals, nested, wild, few=few, root=root)
        self._check(plan, panel)
        spans = {
            error: cluster_span(used, self.effects, total, constant=self.constant, root=root)
            for error, total in plan.totals.items()
            if total.kind in ADJUSTED
        }
        plan, tile = replace(plan, spans=spans), Tile(panel)
        anew = {name for name in (self.outcome, *self.regressors) if panel.variables[name].shape[0] > 1}
        if not anew & set(self.regressors):
            found = self.regressors_of(plan, tile)
            if few is not None:
                treatment = panel.variables[str(panel.roles.treatment)]
                few = replace(few, fixed=few.placebos(treatment, found.x, found.bread))
            return replace(plan, regressors=found, few=few)
        if anew != {self.alone} or (kernel := self.kernel(plan, panel)) is None:
            return plan
        within, y = tile.within_sum_of_squares(self.outcome), kernel.projection(tile.raw(self.outcome))
        whole = plan.total(tile, self.outcome, centred=True)
        redrawn = RedrawnRegression(kernel, y[0], float(ols.sum_of_squares(y)[0]), float(within[0]), float(whole[0]))
        return replace(plan, redrawn=redrawn)

    def kernel(self, plan: LinearPlan, panel: Panel) -> DIDKernel | None:
        """The coefficient of `alone` with this regressor left open; None where it is not asked for alone, beside other
        effects or a constant, and under other errors. All other regressors are fixed."""
        clusters = [total.unit_codes for total in plan.totals.values()]
        if not self.alone or not plan.shared or self.constant or plan.tests or plan.spans:
            return None
        if any(codes is None for codes in clusters):
            return None
        tile = Tile(panel)
        shape = (0, *plan.mask.shape)
        others = [tile.within(name) for name in self.regressors if name != self.alone]
        projection = Projection.of(tile.transform, np.concatenate([np.empty(shape), *others]))
        return DIDKernel(
            (self.alone,), projection, Fields(projection.basis), tuple(c for c in clusters if c is not None)
        )

    def _check(self, plan: LinearPlan, panel: Panel) -> None:
        tile, cells = Tile(panel), plan.mask > 0
        columns = [
            ols.RegressorColumn(name, f"variable {name!r}", tile.raw(name)[:, cells], plan.within(tile, name))
            for name in self.regressors
            if tile.raw(name).shape[0] == 1
        ]
        centred = self.constant or bool(self.effects)
        refuse(ols.useless(columns, self.asked_by, two_way=set(self.effects) == TWO_WAY, centred=centred))
        if plan.nobs - len(self.regressors) - plan.effects < 1:
            raise bad(f"{amount(plan.nobs, 'observation')} for {len(self.regressors) + plan.effects} parameters",
                      where=self.asked_by, allowed="more observations than parameters",
                      remedy="drop effects or regressors")  # fmt: skip
        if tile.raw(self.outcome).shape[0] == 1:
            left, whole = plan.within(tile, self.outcome), plan.seen(tile, self.outcome)
            if np.square(left).sum() <= ols.ROUNDING * np.square(whole).sum():
                raise bad(f"the outcome {self.outcome!r} is constant or absorbed by the effects", where=self.asked_by,
                          allowed="an outcome that the effects do not absorb",
                          remedy="name another outcome")  # fmt: skip

    def regressors_of(self, plan: LinearPlan, tile: Tile) -> Regressors:
        """Regressors of a tile and what follows from them alone."""
        x = ols.stack([plan.within(tile, name) for name in self.regressors])
        gram = ols.gram(x)
        if plan.regressors is None and len(x) > 1:
            centred = self.constant or bool(self.effects)
            around = [plan.total(tile, name, centred=centred) for name in self.regressors]
            raw = [tile.raw_sum_of_squares(name) for name in self.regressors]
            spreads, totals = (np.stack(np.broadcast_arrays(*sums), axis=1) for sums in (around, raw))
            left = np.diagonal(gram, axis1=1, axis2=2)
            gram[ols.absorbed(left, spreads, totals).any(axis=1)] = np.nan
        bread = ols.invert(gram)[0]
        slopes: Influence | RedrawnInfluence = RedrawnInfluence(x, bread)
        if len(x) == 1:
            slopes = Influence.of(slopes.psi, slopes.own)
        if not self.constant:
            adjusted = adjusted_influences(plan.spans, x, bread, slopes.psi) if plan.spans else {}
            return Regressors(x, np.zeros((1, 0)), bread, slopes, None, adjusted)
        means = plan.means(tile, self.regressors)
        last = plan.scale / plan.nobs - np.einsum("rk,rktn->rtn", spread(means, len(x)), slopes.psi)
        level = Influence.of(last[:, None], ols.sum_of_squares(last)[:, None])
        found = Regressors(x, means, bread, slopes, level)
        return replace(found, adjusted=adjusted_influences(plan.spans, x, bread, found.psi)) if plan.spans else found

    def reduce(self, plan: LinearPlan, tile: Tile) -> LinearMoments | TreatmentMoments:
        """One tile: projection, residuals, variances; of a treatment that alone is redrawn, its dates."""
        if plan.redrawn is not None:
            return TreatmentMoments.of(tile, self.alone, plan.redrawn.size, plan.redrawn.fit)
        r = tile.panel.replications
        found = plan.regressors or self.regressors_of(plan, tile)
        y = spread(plan.within(tile, self.outcome), r)  # one outcome for all: a placebo
        slopes = ols.solved(found.bread, found.x, y)
        e = ols.residual(y, found.x, slopes)
        ssr = ols.sum_of_squares(e)
        robust = np.empty((r, len(self.summed), len(self.regressors) + self.constant))
        floored = np.zeros((r, len(self.summed)), dtype=bool)
        for i, error in enumerate(self.summed):
            total = plan.totals[error]
            robust[:, i], floored[:, i] = found.variances(total, e, ssr, together=not self.effects)
        redrawn, beta = plan.regressors is None, slopes
        if self.constant:
            ybar = plan.means(tile, (self.outcome,))[:, 0]
            beta = np.column_stack([slopes, ybar - np.vecdot(slopes, np.broadcast_to(found.means, slopes.shape))])
        return LinearMoments(
            beta=beta,
            ssr=ssr,
            tss=spread(plan.total(tile, self.outcome, centred=self.constant or bool(self.effects)), r),
            tss_within=spread(tile.within_sum_of_squares(self.outcome) if plan.shared else ols.sum_of_squares(y), r),
            robust=robust,
            floored=floored,
            own=spread(found.own, r) if redrawn else None,
            e=e if plan.tests else None,
            psi=found.psi if plan.tests and redrawn else None,
            z=found.entering(plan.scale) if plan.tests and redrawn else None,
            d=spread(tile.raw(str(tile.panel.roles.treatment)), r) if plan.few and redrawn else None,
            dof=found.dof(self.summed, r),
        )

    def covariance(self, plan: LinearPlan, tile: Tile, error: str) -> Floats:
        """The covariance of all terms under an error type before its factor, (R, K, K); of iid errors the whole; NaN of
        a fit without residuals."""
        found = plan.regressors or self.regressors_of(plan, tile)
        y = spread(plan.within(tile, self.outcome), tile.panel.replications)
        e = ols.residual(y, found.x, ols.solved(found.bread, found.x, y))
        ssr, free = ols.sum_of_squares(e), plan.nobs - len(self.regressors) - plan.effects
        if error == "iid":
            matrix = outer(found.psi) * (ssr / free)[:, None, None]
        else:
            matrix = found.matrix(plan.totals[error], e, together=not self.effects)
        whole = plan.total(tile, self.outcome, centred=self.constant or bool(self.effects))
        return np.where((ssr <= ols.EXACT * whole)[:, None, None], np.nan, matrix)
