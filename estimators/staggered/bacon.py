"""What two-way DID averages: the decomposition of its coefficient into two-by-two comparisons (Goodman-Bacon 2021).

With shares of units and periods, the comparison of a treated group a with a group b that keeps its status during the
window weighs n_a n_b T_pre T_post / T^2 over the variance of the demeaned treatment: equations 7-10 of the paper, whose
(n_a + n_b)^2 n_ab (1 - n_ab) is n_a n_b and whose window^2 D (1 - D) is T_pre T_post / T^2.

With controls (his section on them) the coefficient is that of y on d = D - X b, both demeaned. d differs between units
of one cohort, as D does not: a share of the coefficient compares units treated alike whose controls differ. The rest
compares the mean paths of two cohorts, whatever the window: with shares n, sum_k n_k z_k'w_k of paths that average to
zero is sum_k<l n_k n_l (z_k - z_l)'(w_k - w_l), so that a pair weighs n_k n_l |d_k - d_l|^2 over the variance of d.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from estimators.core.estimator import check_names, outcome_of
from estimators.core.regression import ABSORBED, check_fixed
from estimators.core.tile import WithinTransform
from estimators.staggered.adoption_effects import Cohorts
from sim.arrays import Flags, Floats, least_squares
from sim.errors import bad, one_of
from sim.panel import Panel
from sim.schema import refuse_weights

NEVER, EARLIER, LATER, ALWAYS = "treated v never", "earlier v later", "later v earlier", "treated v always"
KINDS = (NEVER, EARLIER, LATER, ALWAYS)
DATES, WITHIN = "two dates", "one cohort"
CONTROLLED_KINDS = (NEVER, DATES, WITHIN)  # of a decomposition with controls


@dataclass(frozen=True, slots=True)
class BaconComparison:
    """One comparison of two cohorts by first treated period (None: never treated or always treated, as the kind says).

    Without controls, a two-by-two DID. With controls, the earlier and the later cohort over all periods, or, twice the
    same, units of one. weight: its share in the coefficient. units: of the treated and of the control group. window:
    periods before and after, None where it is all periods.
    """

    kind: str
    treated: int | None
    control: int | None
    units: tuple[int, int]
    window: tuple[int, int] | None
    weight: float


@dataclass(frozen=True, eq=False, slots=True)
class Decomposition:
    """All comparisons, their estimates (R, C) and the coefficient that they average to, (R,)."""

    comparisons: tuple[BaconComparison, ...]
    estimates: Floats
    twfe: Floats

    @property
    def weights(self) -> Floats:
        """Weights of the comparisons, (C,); they are positive and sum to one."""
        return np.array([comparison.weight for comparison in self.comparisons])

    def share(self, kind: str) -> float:
        """The total weight of a kind of comparison."""
        return float(self.weights[self._of(kind)].sum())

    def average(self, kind: str) -> Floats:
        """The weighted mean estimate of a kind of comparison, (R,); NaN when there is none."""
        own = self._of(kind)
        if not own.any():
            return np.full(len(self.twfe), np.nan)
        return np.asarray(self.estimates[:, own] @ self.weights[own] / self.weights[own].sum())

    def _of(self, kind: str) -> Flags:
        if kind not in (*KINDS, *CONTROLLED_KINDS):
            raise bad(f"no comparisons of kind {kind!r}", where="decomposition",
                      allowed=one_of(dict.fromkeys((*KINDS, *CONTROLLED_KINDS))),
                      remedy="choose one of them")  # fmt: skip
        return np.array([comparison.kind == kind for comparison in self.comparisons])


def decompose(panel: Panel, outcome: str | None = None, treatment: str | None = None) -> Decomposition:
    """The decomposition of the two-way DID coefficient without controls, on a balanced panel of R outcomes.

    outcome, treatment: names of variables; None = the panel's own roles. Raises BadInput for an unbalanced panel, a
    treatment that is not 0/1 and absorbing or differs between replications, and when no group serves as a control.
    """
    asked_by = "decomposition"
    y_name, d_name = outcome_of(outcome, panel.schema, asked_by), treatment or panel.roles.treatment or "did"
    check_names(panel.schema, y_name, (d_name,), asked_by)
    refuse_weights(panel.roles, "the Goodman-Bacon decomposition")
    cohorts = Cohorts.of(panel, d_name, asked_by, even=False)
    pairs = list(_pairs(cohorts))
    if not pairs:
        raise bad("all units become treated at the same time", where=asked_by,
                  allowed="two cohorts, or one cohort and units that are never or always treated",
                  remedy="add units with another date")  # fmt: skip
    y, demeaned = panel.variables[y_name], WithinTransform.of(panel)(panel.variables[d_name][:1])[0]
    variance = float(np.square(demeaned).sum())
    scale = 1.0 / (variance * cohorts.first.size * len(cohorts.periods))
    comparisons, changes = [], np.zeros((len(pairs), len(cohorts.periods)))
    for change, (kind, treated, control, span) in zip(changes, pairs, strict=True):
        # the mean from the date of treatment on less the mean before it, within the window
        window = (treated - span.start, span.stop - treated)
        change[span.start : treated], change[treated : span.stop] = -1.0 / window[0], 1.0 / window[1]
        units = (cohorts.size(treated), cohorts.size(control))
        weight = units[0] * units[1] * window[0] * window[1] * scale
        label = cohorts.periods[control] if kind in {EARLIER, LATER} else None
        comparisons.append(BaconComparison(kind, cohorts.periods[treated], label, units, window, weight))

    groups, places = np.unique([(treated, control) for _, treated, control, _ in pairs], return_inverse=True)
    means = y @ ((cohorts.first[:, None] == groups) / [cohorts.size(int(group)) for group in groups])  # (R, T, G)
    moved = changes @ means
    own, other = places.reshape(-1, 2).T
    rows = np.arange(len(pairs))
    estimates = moved[:, rows, own] - moved[:, rows, other]
    return Decomposition(tuple(comparisons), estimates, np.tensordot(y, demeaned, axes=2) / variance)


def decompose_with_controls(
    panel: Panel, outcome: str | None = None, treatment: str | None = None, controls: tuple[str, ...] | None = None
) -> Decomposition:
    """The decomposition of the two-way DID coefficient with controls, on a balanced panel of R outcomes.

    Comparisons are of pairs of cohorts (NEVER, DATES) and of units of one cohort (WITHIN), those with a weight.

    outcome, treatment, controls: names of variables; None = the panel's own roles. Units treated from the first period
    on are a cohort too. Raises BadInput as `decompose`, for controls that differ between replications, that effects
    absorb or that are collinear, and where there are none.
    """
    asked_by = "decomposition with controls"
    y_name, d_name = outcome_of(outcome, panel.schema, asked_by), treatment or panel.roles.treatment or "did"
    names = panel.roles.controls if controls is None else controls
    check_names(panel.schema, y_name, (d_name, *names), asked_by)
    refuse_weights(panel.roles, "the Goodman-Bacon decomposition with controls")
    if not names:
        raise bad("there are no controls", where=asked_by, allowed="one or more controls",
                  remedy="name them, or decompose without controls")  # fmt: skip
    for name in names:
        if panel.variables[name].shape[0] > 1:
            raise bad(f"the control {name!r} differs between replications", where=asked_by,
                      allowed="the same controls in all replications", remedy="fit them one by one")  # fmt: skip
    cohorts = Cohorts.of(panel, d_name, asked_by, even=False)
    check_fixed(panel, (d_name, *names), asked_by)
    within = WithinTransform.of(panel)
    x = np.concatenate([within(panel.variables[name][:1]) for name in names]).reshape(len(names), -1)
    treated = within(panel.variables[d_name][:1])[0]
    d = (treated.ravel() - x.T @ least_squares(x.T, treated.ravel())).reshape(treated.shape)

    # the coefficient of y (R, T, N) on d (T, N), both demeaned, by pairs of cohorts and by units within cohorts
    y = within(panel.variables[y_name])
    variance, groups = float(np.square(d).sum()), np.unique(cohorts.first)
    member = cohorts.first[:, None] == groups  # (N, G)
    sizes = member.sum(axis=0)
    own, of_d = y @ (member / sizes), d @ (member / sizes)  # (R, T, G) and (T, G)
    one, other = np.triu_indices(groups.size, 1)
    gap = of_d[:, one] - of_d[:, other]
    left = d - of_d[:, np.searchsorted(groups, cohorts.first)]
    shares = sizes[one] * sizes[other] / cohorts.first.size  # of pairs
    squares = np.concatenate([shares * np.square(gap).sum(axis=0), np.square(left).sum(axis=0) @ member])
    products = np.concatenate([shares * ((own[:, :, one] - own[:, :, other]) * gap).sum(axis=1),
                               (y * left).sum(axis=1) @ member], axis=1)  # fmt: skip
    dates = [*cohorts.periods, None]
    kept = np.flatnonzero(squares > ABSORBED * variance)
    first, second = (np.concatenate([pairs, np.arange(groups.size)]) for pairs in (one, other))
    comparisons = tuple(
        BaconComparison(
            WITHIN if place >= one.size else NEVER if dates[groups[second[place]]] is None else DATES,
            dates[groups[first[place]]], dates[groups[second[place]]],
            (int(sizes[first[place]]), int(sizes[second[place]])), None, float(squares[place]) / variance,
        )
        for place in kept
    )  # fmt: skip
    return Decomposition(comparisons, products[:, kept] / squares[kept], np.tensordot(y, d, axes=2) / variance)


def _pairs(cohorts: Cohorts) -> Iterator[tuple[str, int, int, range]]:
    """Kind, first treated index of treated and of control group, and the window of periods of every comparison."""
    end = len(cohorts.periods)
    for k in cohorts.firsts:
        if cohorts.never.any():
            yield NEVER, k, end, range(end)
        if cohorts.size(0):
            yield ALWAYS, k, 0, range(end)
        for other in cohorts.firsts:
            if k < other:
                yield EARLIER, k, other, range(other)
            elif k > other:
                yield LATER, k, other, range(other, end)
