"""De Chaisemartin and D'Haultfoeuille (2020): the weights behind a two-way DID coefficient, and their DID_M estimator.

Theorem 1: under common trends the coefficient estimates sum w_it effect_it over treated unit-periods, with w
proportional to the residual of the treatment on the effects and the controls; some w may be negative. Corollary 1 gives
the standard deviations of effects that would make such a coefficient mislead. Every unit is a group of the paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from estimators.core import regression as ols
from estimators.core.estimator import Estimates, Estimator, Home, Layout, check_names, outcome_of, status_where
from estimators.core.tile import WithinTransform, observed_mask
from estimators.linear.covariances import sums_within, unit_clusters
from estimators.staggered.adoption_effects import check_binary, check_clusters
from sim.arrays import Codes, Flags, Floats
from sim.errors import bad
from sim.panel import Panel, check_balanced
from sim.presets import Paper
from sim.schema import Schema, period_step, refuse_weights
from sim.streams import Streams

ROUNDING = 1e-12  # share of the largest weight below which a weight counts as zero, and a difference as none


@dataclass(frozen=True, eq=False, slots=True)
class CoefficientWeights:
    """What a two-way coefficient averages.

    weights (T, N): of each unit-period's effect, summing to one, zero where untreated. coefficient (R,). sensitivity
    (R,): the smallest standard deviation of effects over treated unit-periods at which their mean may be zero;
    reversal (R,): the one at which all may have the other sign than the coefficient, inf when no weight is negative.
    """

    weights: Floats
    treated: Flags
    coefficient: Floats
    sensitivity: Floats
    reversal: Floats

    @property
    def negative(self) -> Flags:
        """Treated unit-periods with a negative weight, (T, N)."""
        return np.asarray(self.weights < -ROUNDING * np.abs(self.weights).max())

    @property
    def negative_share(self) -> float:
        """The share of treated unit-periods that are weighted negatively."""
        return float(self.negative.sum() / self.treated.sum())

    @property
    def negative_sum(self) -> float:
        """The sum of the negative weights."""
        return float(self.weights[self.negative].sum())


def coefficient_weights(
    panel: Panel, outcome: str | None = None, treatment: str | None = None, controls: tuple[str, ...] = ()
) -> CoefficientWeights:
    """Weights and robustness of the two-way DID coefficient on a 0/1 treatment, for R outcomes.

    outcome, treatment: names; None = the panel's own roles. controls: other regressors. The panel may be unbalanced and
    the treatment may switch off. Raises BadInput for a treatment that is not 0/1, for regressors that differ between
    replications and for those that the effects absorb.
    """
    asked_by = "coefficient weights"
    y_name, d_name = outcome_of(outcome, panel.schema, asked_by), treatment or panel.roles.treatment or "did"
    check_names(panel.schema, y_name, (d_name, *controls), asked_by)
    for name in (d_name, *controls):
        values = panel.variables[name]
        if not np.array_equal(values, np.broadcast_to(values[:1], values.shape), equal_nan=True):
            raise bad(f"{name!r} differs between replications", where=asked_by,
                      allowed="the same in all replications",
                      remedy="take them one by one: panel.replication(i)")  # fmt: skip
    fixed = {name: panel.variables[name][:1] for name in (d_name, *controls)}
    panel = panel.with_variables(fixed)
    ols.check_fixed(panel, (d_name, *controls), asked_by)
    refuse_weights(panel.roles, "the decomposition of the two-way coefficient")
    mask = observed_mask(panel) > 0
    d = np.where(mask, fixed[d_name][0], 0.0)
    check_binary(d, d_name, asked_by)
    within = WithinTransform.of(panel)
    x = ols.stack([within(fixed[name]) for name in controls])
    residual = within(fixed[d_name])
    if controls:
        bread, _ = ols.invert(ols.gram(x))
        residual = ols.residual(residual, x, ols.solved(bread, x, residual))
    treated = d > 0
    weights = np.where(treated, residual[0], 0.0)
    weights /= weights.sum()
    y = np.where(mask, panel.variables[y_name], 0.0)
    coefficient = np.tensordot(y, residual[0], axes=2) / np.square(residual).sum()
    relative = weights[treated] * float(treated.sum())  # mean one
    spread, reversed_spread = _spreads(relative)
    return CoefficientWeights(weights, treated, coefficient, np.abs(coefficient) * spread,
                              np.abs(coefficient) * reversed_spread)  # fmt: skip


def _spreads(weights: Floats) -> tuple[float, float]:
    """Corollary 1's two standard deviations for a coefficient of one; weights (M,) of equal cells, mean one."""
    largest_first = np.sort(weights)[::-1]
    m = len(weights)
    deviation = float(np.sqrt(np.square(weights - 1.0).mean()))
    alike = largest_first[0] - largest_first[-1] <= ROUNDING * largest_first[0]
    both = float("inf") if alike else 1.0 / deviation
    if largest_first[-1] >= -ROUNDING * largest_first[0]:
        return both, float("inf")
    total = largest_first[::-1].cumsum()[::-1] / m  # S, T and 1 - P of the paper, of the cells from i on
    squares = np.square(largest_first)[::-1].cumsum()[::-1] / m
    rest = np.arange(m) / m
    start = int(np.flatnonzero(largest_first * rest < -total)[0])
    return both, float(1.0 / np.sqrt(squares[start] + total[start] ** 2 / rest[start]))


@dataclass(frozen=True, slots=True)
class DCDH(Estimator):
    """DID_M: the effect in the period of a switch, against units that keep the treatment they had (their theorem 3).

    Mean over all switchers of their outcome's change less the mean change of those who stay untreated (or, for units
    that switch off, stay treated); periods in which nobody stays are left out. `placebo` does the same one period
    earlier, with units whose treatment was the same before. Changes across a period that the panel lacks are left out:
    nobody knows when in it a unit switched. Errors are clustered, from each switcher's deviation from
    the estimate and each stayer's from its period's mean, with factor G/(G-1) and t of G-1 degrees of freedom, where G
    counts the clusters that hold a switcher: the calendar's cells are too small to centre each of them. There is no
    error where switchers, or stayers, lie in one cluster (`adoption_effects.has_error`).

    outcome, treatment: names; None = the panel's own roles. errors: cluster:unit or cluster:ATTRIBUTE.
    label: its name in tables.

    >>> import panelproof as pp
    >>> found = pp.DCDH()(pp.example_panel().panel)
    >>> print(f"{found.params['event(0)']:.3f} ({found.std_errors['event(0)']:.3f})")
    0.038 (0.019)
    """

    kind: ClassVar[str] = "dcdh"
    gaps: ClassVar[bool] = False
    # home: the `paper` design without spillovers
    home: ClassVar[Home] = (Paper(), ("event(0)",))

    outcome: str | None = None
    treatment: str | None = None
    errors: tuple[str, ...] = ("cluster:unit",)
    label: str = "dcdh"

    def _names(self, schema: Schema) -> tuple[str, str]:
        return outcome_of(self.outcome, schema, self.label), self.treatment or schema.roles.treatment or "did"

    def layout(self, schema: Schema) -> Layout:
        """The instantaneous effect and its placebo."""
        self.weight(schema)
        outcome, treatment = self._names(schema)
        check_names(schema, outcome, (treatment,), self.label)
        check_clusters(self.errors, schema, self.label)
        return Layout(("event(0)", "placebo"), self.errors, ("switchers",), {"event(0)": "event(0)"})

    def variables(self, schema: Schema) -> frozenset[str]:
        """Outcome and treatment; raises BadInput for weights."""
        self.weight(schema)
        return frozenset(self._names(schema))

    def __call__(self, panel: Panel, streams: Streams | None = None) -> Estimates:
        """Fit R panels; raises BadInput for an unbalanced panel and a treatment that is not 0/1."""
        layout = self.layout(panel.schema)
        outcome, treatment = self._names(panel.schema)
        check_balanced(panel, self.label)
        did = panel.variables[treatment]
        check_binary(did, treatment, self.label)
        if (did != did[:1]).any():
            return Estimates.join([self(panel.replication(i)) for i in range(panel.replications)])
        change = np.diff(panel.variables[outcome], axis=1)
        clusters = [unit_clusters(error, panel) for error in self.errors]
        near = np.diff(panel.periods) == period_step(panel.periods)
        found = [did_m(did[0], change, near, clusters, placebo=placebo) for placebo in (False, True)]
        estimate = np.stack([one for one, *_ in found], axis=1)
        se, dof = np.stack([se for _, se, *_ in found], axis=2), np.stack([dof for _, _, dof, _ in found], axis=1)
        se = np.where(
            np.square(se) > ols.EXACT * change.var(axis=(1, 2))[:, None, None], se, np.nan
        )  # more than rounding
        rows, shape = panel.replications, (panel.replications, *dof.shape)
        switchers = np.full(rows, float(found[0][3]))
        estimate, se, dof = (
            np.broadcast_to(x, y).copy() for x, y in ((estimate, (rows, 2)), (se, shape), (dof, shape))
        )
        return Estimates.of(layout, estimate, se, dof, {"switchers": switchers}, status=status_where(switchers > 0))


def did_m(
    did: Floats, change: Floats, near: Flags, clusters: list[Codes], *, placebo: bool
) -> tuple[Floats, Floats, Floats, int]:  # fmt: skip
    """DID_M of a treatment (T, N), or of the period before each switch: estimate (R,) of the outcome's changes
    (R, T - 1, N) of which those over one period count, near (T - 1,), standard errors (R, E) and degrees of freedom
    (E,), NaN without switchers; and how many there are."""
    step, counted = np.diff(did, axis=0), np.repeat(near[:, None], did.shape[1], axis=1)
    if placebo:  # one period earlier, among units that did not change in it
        counted &= (step == 0) & np.append(near[1:], False)[:, None]
        step = np.vstack([step[1:], np.zeros((1, did.shape[1]))])

    # of units untreated, treated before the change: weights of changes, and the stayers' 1/n_t in periods that count
    weights, stayers = np.zeros((2, *step.shape)), np.zeros((2, *step.shape))
    switching = np.zeros_like(step)
    for before, sign in enumerate((1.0, -1.0)):
        moving = counted & (step == sign)
        staying = counted & (step == 0) & (did[:-1] == before)
        there = (moving.any(axis=1) & staying.any(axis=1))[:, None]
        stayers[before] = there * staying / np.maximum(staying.sum(axis=1, keepdims=True), 1)
        weights[before] = sign * there * (moving - moving.sum(axis=1, keepdims=True) * stayers[before])
        switching += there * moving
    rows, count = len(change), int(switching.sum())
    if not count:
        return np.full(rows, np.nan), np.full((rows, len(clusters)), np.nan), np.full(len(clusters), np.nan), 0
    weights, switches = weights / count, switching.sum(axis=0) / count

    # each switcher's deviation from the estimate, each stayer's from its period's mean
    scores = np.einsum("rtn,tn->rn", change, weights.sum(axis=0))
    estimate = scores.sum(axis=1)
    for of_group, share in zip(weights, stayers, strict=True):
        scores = scores - np.einsum("rtn,tn->rt", change, share) @ of_group
    scores = scores - estimate[:, None] * switches
    variances, dofs, stays = [], [], stayers.any(axis=(0, 1))
    for codes in clusters:
        holding, beside = (len(np.unique(codes[units])) for units in (switches > 0, stays))
        known = holding > 1 and beside > 1
        factor = holding / (holding - 1) if known else np.nan
        variances.append(factor * np.square(sums_within(scores, codes)).sum(axis=1))
        dofs.append(float(holding - 1) if known else np.nan)
    return estimate, np.sqrt(np.stack(variances, axis=1)), np.array(dofs), count
