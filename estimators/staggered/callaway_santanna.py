"""Effects of cohorts in periods and their averages after Callaway and Sant'Anna (2021), on R panels at once.

att(G,T) compares the change of cohort G's outcome from its base period to T with that of units not treated by then.
Standard errors come from units' influence functions and hold the covariates' propensity scores and regressions and the
cohort shares to be estimated; there is no small-sample factor, and inference is normal, so they are too small where a
comparison has few controls (`CallawaySantAnna.spare_controls`). In a cohort of one unit the unit's own noise leaves no
trace in them, so they are too small where very small cohorts weigh much: on the `paper` design's calendar 95% intervals
cover .94 for event(0) to event(5), overall and overall:cohort, .84 for overall:event and overall:calendar, which rest
on the earliest cohorts of one city each.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from estimators.core.estimator import (
    Estimates,
    Estimator,
    Home,
    Layout,
    Moments,
    Reduction,
    Status,
    WeightUse,
    outcome_of,
    treatment_of,
)
from estimators.core.regression import EXACT, invert, logit
from estimators.core.tile import Tile, spread
from estimators.linear.covariances import sums_within, unit_clusters
from estimators.staggered.adoption_effects import (
    Aggregation,
    CohortPeriods,
    Cohorts,
    Multipliers,
    check_clusters,
    check_terms,
    has_error,
    multipliers,
    simultaneous_critical_values,
    staggered_targets,
    staggered_terms,
    told_by_cells,
)
from sim.arrays import Codes, Flags, Floats
from sim.errors import BadInput, bad, one_of
from sim.panel import Panel
from sim.presets import Paper
from sim.schema import Schema
from sim.streams import Streams

# Two groups, two periods: difference-in-differences with covariates as a fixed linear map of the outcome's change.
#
# With changes d (n,), treated D, covariates x with a constant, b the controls' least squares of d on x, e = d -
# x'b, p the logit probability of treatment and control weights w = p/(1 - p) (1 - D) / sum p/(1 - p) (1 - D):
#
#     regression  sum D e / n1                      (Heckman, Ichimura and Todd 1997)
#     ipw         sum D d / n1 - sum w d            (Abadie 2005, with normalised weights)
#     dr          sum D e / n1 - sum w e            (Sant'Anna and Zhao 2020, equation 2.5 with b and p of section 2)
#
# For given covariates each is linear in d, and so is each unit's influence, including that of estimated b and p: a
# diagonal matrix plus one of low rank. Influences are scaled so that the variance is their sum of squares, without
# small-sample factor. With weights of units all sums, the logit and the regression among them, are weighted.


Adjustment = Literal["regression", "ipw", "dr"]


def contrast(
    treated: Flags, covariates: Floats, method: Adjustment, units: Floats | None = None
) -> tuple[Floats, Floats, Floats] | None:
    """The map for treated (n,), covariates (n, p) without a constant, and weights of units (n,), None = 1.

    It is a (n,), left (n, r) and right (r, n): the estimate d'a and the units' influences d * a + (d'left) right.

    None when the data do not identify it: covariates that are collinear (among controls, for the regression), that
    separate the treated from the controls, for which the logit has no maximum, or that are as many as the controls,
    which a regression then fits exactly: nothing would show how much they move by themselves.
    """
    controls = ~treated
    deviation = covariates.std(axis=0)  # in units of it, which no result depends on
    centred = covariates - covariates.mean(axis=0)
    x = np.column_stack([np.ones(len(covariates)), centred / np.where(deviation > 0, deviation, 1.0)])
    n, p = x.shape
    own = np.ones(n) if units is None else units
    share = own * treated / (own * treated).sum()
    weights, scores, regressed = np.zeros(n), np.zeros((n, p)), np.zeros((n, p))
    if method != "regression":
        fit = logit(covariates, treated, units)
        if not fit.converged:
            return None
        odds = own * controls * fit.score / (1 - fit.score)
        weights = odds / odds.sum()
        inverse, _ = invert((x.T @ (x * (own * fit.score * (1 - fit.score))[:, None]))[None])
        scores = (own * (treated - fit.score))[:, None] * (x @ inverse[0])
    if method != "ipw":
        others = x[controls]
        scaled = others if units is None else others * units[controls, None]
        inverse, sound = invert((others.T @ scaled)[None])
        if not sound[0] or 1 < len(x[0]) >= controls.sum():
            return None
        regressed = (own * controls)[:, None] * (x @ inverse[0])  # b = d @ regressed
    deviations = weights[:, None] * (x - weights @ x)
    means = np.column_stack([share, weights, deviations])  # of e: among treated, among weighted controls, by the score
    means = means - regressed @ (x.T @ means)
    a = means[:, 0] - means[:, 1]
    left = np.column_stack([regressed, means])
    right = np.vstack([-(x * a[:, None]).T, -share, weights, -scores.T])
    used = (left != 0).any(axis=0)
    return a, left[:, used], right[used]


# Which cohorts are compared with whom, and the linear maps from outcomes to averages and units' influences.


Controls = Literal["never", "not-yet"]
Base = Literal["varying", "universal"]


@dataclass(frozen=True, eq=False, slots=True)
class Comparisons:
    """Cohort-periods (C,) with their base periods (C,) and the cohorts that serve as controls.

    groups (N,): position in `Cohorts.firsts`, G for never treated, -1 for units treated throughout, which serve
    nowhere. counts (G + 1,): units of each; sizes (G + 1,): the sums of their weights, counts without weights. controls
    (C, G + 1): whose units are the controls of a cell.
    """

    cohorts: Cohorts
    cells: CohortPeriods
    base: Codes
    groups: Codes
    counts: Codes
    sizes: Floats
    controls: Flags

    @classmethod
    def of(cls, cohorts: Cohorts, controls: Controls, base: Base, anticipation: int) -> Comparisons:
        """Every cell that has a base period and controls, of cohorts that have such a treated cell.

        A cell of cohort g from g - anticipation on has the base g - anticipation - 1; before, the period before it
        (varying) or the same (universal). Controls of cell (g, t) with base b are the units never treated, or those
        treated after max(t, b) + anticipation.
        """
        firsts, periods = np.array(cohorts.firsts), len(cohorts.periods)
        cohort = np.repeat(np.arange(len(firsts)), periods)
        period = np.tile(np.arange(periods), len(firsts))
        from_on = firsts[cohort] - anticipation
        before = period < from_on if base == "varying" else np.zeros_like(period, dtype=bool)
        chosen = np.where(before, period - 1, from_on - 1)
        adopted = np.append(firsts, periods)
        if controls == "never":
            serves = np.tile(adopted == periods, (len(cohort), 1))
        else:
            serves = adopted > np.maximum(period, chosen)[:, None] + anticipation
            serves |= adopted == periods
        serves &= np.arange(len(adopted)) != cohort[:, None]
        position = np.searchsorted(adopted, cohorts.first)
        groups = np.where(cohorts.first == 0, -1, position).astype(np.intp)
        within, own = groups >= 0, cohorts.weights
        counts = np.bincount(groups[within], minlength=len(adopted))
        sizes = counts.astype(np.float64)
        if own is not None:
            sizes = np.bincount(groups[within], own[within], minlength=len(adopted))
        possible = (chosen >= 0) & (serves @ sizes > 0)
        lasting = np.isin(cohort, cohort[possible & (period >= firsts[cohort])])
        cells = CohortPeriods(cohort, period)
        return cls(cohorts, cells, chosen, groups, counts, sizes, serves).take(possible & lasting)

    @property
    def treated(self) -> Flags:
        """Which cells are of treated units, (C,)."""
        return np.asarray(self.cells.period >= np.array(self.cohorts.firsts)[self.cells.cohort])

    @property
    def change(self) -> Floats:
        """1 in a cell's period, -1 in its base, (C, T); zero in a cell that is its own base."""
        rows, out = np.arange(len(self.base)), np.zeros((len(self.base), len(self.cohorts.periods)))
        out[rows, self.cells.period] += 1.0
        out[rows, self.base] -= 1.0
        return out

    def take(self, chosen: Flags) -> Comparisons:
        """Some of them."""
        cells, controls = self.cells.take(chosen), self.controls[chosen]
        return Comparisons(self.cohorts, cells, self.base[chosen], self.groups, self.counts, self.sizes, controls)


@dataclass(frozen=True, eq=False, slots=True)
class MeansMap:
    """Without covariates: all follows from cohorts' means and each unit's own path, for units in order of cohort.

    order (N',): the units that serve; edges (G + 2,): where each group begins in it; averaging (N', G + 1): from paths
    to group means. estimates (T (G + 1), K) and offsets (T (G + 1), K (G + 1)) act on means by period and group, own
    (G + 1, K, T) on the path of a unit of each group, whose influence is the sum of own and offset, times its weight.
    units: N. weights (N',): in that order, None = 1.
    """

    order: Codes
    edges: Codes
    averaging: Floats
    estimates: Floats
    own: Floats
    offsets: Floats
    units: int
    weights: Floats | None = None

    @classmethod
    def of(cls, found: Comparisons, aggregation: Aggregation) -> MeansMap:
        """The map of comparisons and averages of them."""
        cells, change = found.cells, found.change
        count, groups, periods = len(cells.cohort), len(found.sizes), change.shape[1]
        treated = np.zeros((count, groups))
        treated[np.arange(count), cells.cohort] = 1.0
        control_sizes = found.controls * found.sizes
        control = control_sizes / control_sizes.sum(axis=1, keepdims=True)
        per_unit = treated / found.sizes[cells.cohort][:, None] - found.controls / control_sizes.sum(axis=1)[:, None]
        weights = aggregation.weights
        own = np.einsum("kc,ch,ct->hkt", weights, per_unit, change, optimize=True)
        treated_mean = (change[:, :, None] * treated[:, None, :]).reshape(count, -1)
        control_mean = (change[:, :, None] * control[:, None, :]).reshape(count, -1)
        shares = np.concatenate([aggregation.slopes, np.zeros((len(weights), 1, count))], axis=1)
        of_treated = -weights[:, None, :] * (treated / found.sizes[cells.cohort][:, None]).T
        of_control = weights[:, None, :] * (found.controls / control_sizes.sum(axis=1)[:, None]).T
        offsets = (of_treated + shares) @ treated_mean + (of_control - shares) @ control_mean  # (K, G + 1, T (G + 1))
        order = np.argsort(found.groups, kind="stable")
        order = order[found.groups[order] >= 0]
        edges = np.append(0, np.cumsum(found.counts)).astype(np.intp)
        member = found.groups[order][:, None] == np.arange(groups)
        every = found.cohorts.weights
        each = None if every is None else every[order]
        return cls(
            order=order,
            edges=edges,
            averaging=(member if each is None else member * each[:, None])
            / np.where(found.counts > 0, found.sizes, 1.0),
            estimates=(weights @ (treated_mean - control_mean)).T,
            own=own,
            offsets=offsets.reshape(-1, periods * groups).T,
            units=len(found.groups),
            weights=each,
        )

    def __call__(self, y: Floats) -> tuple[Floats, Floats]:
        """Averages (R, K) of outcomes (R, T, N) and influences of units on them, (R, K, N)."""
        r, (groups, k, _) = len(y), self.own.shape
        paths = y[:, :, self.order]
        paths -= paths.mean(axis=1, keepdims=True)
        means = (paths @ self.averaging).reshape(r, -1)
        offsets = (means @ self.offsets).reshape(r, k, groups)
        influence = np.zeros((r, k, self.units))
        sorted_influence = np.empty((r, k, len(self.order)))
        for h, (start, stop) in enumerate(zip(self.edges[:-1], self.edges[1:], strict=True)):
            sorted_influence[:, :, start:stop] = self.own[h] @ paths[:, :, start:stop] + offsets[:, :, h, None]
        influence[:, :, self.order] = sorted_influence if self.weights is None else sorted_influence * self.weights
        return means @ self.estimates, influence


@dataclass(frozen=True, eq=False, slots=True)
class CovariateMap:
    """With covariates: one fixed linear contrast for each set of cells that share cohort, base and controls.

    A unit's influence on a term is its own path times `own` (N, K, T), plus coefficients of all contrasts' columns,
    which depend on the outcomes, times the rows of `right` (sum r, N).
    """

    parts: tuple[_Part, ...]
    own: Floats
    right: Floats
    aggregation: Aggregation
    cohort: Codes
    weights: Floats | None = None

    @classmethod
    def of(
        cls, found: Comparisons, terms: tuple[str, ...], covariates: Floats, method: Adjustment
    ) -> tuple[CovariateMap, Comparisons]:
        """The map for covariates (T, N, p), read in the base period, and the comparisons that they identify."""
        keys = np.column_stack([found.cells.cohort, found.base, found.controls])
        _, first, which = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        n, weights, contrasts = len(found.groups), found.cohorts.weights, []
        for at, cell in enumerate(first):
            treated = found.groups == found.cells.cohort[cell]
            units = np.flatnonzero(treated | np.isin(found.groups, np.flatnonzero(found.controls[cell])))
            own = None if weights is None else weights[units]
            linear = contrast(treated[units], covariates[found.base[cell], units], method, own)
            if linear is not None:  # among all units
                a, left, right = np.zeros(n), np.zeros((n, linear[1].shape[1])), np.zeros((len(linear[2]), n))
                a[units], left[units], right[:, units] = linear
                contrasts.append((at, a, left, right))

        kept = np.isin(which.ravel(), [at for at, *_ in contrasts])
        found, which = found.take(kept), which.ravel()[kept]
        aggregation, change = Aggregation.of(terms, found.cells, found.cohorts), found.change
        parts, averaged, begin = [], [], 0
        for at, a, left, right in contrasts:
            cells = np.flatnonzero(which == at)
            moved, share = change[cells], aggregation.weights[:, cells]
            periods, active = np.flatnonzero((moved != 0).any(axis=0)), np.flatnonzero((share != 0).any(axis=1))
            rows = slice(int(active[0]), int(active[-1]) + 1)
            columns = slice(begin, begin + len(right))
            parts.append(_Part(left=np.column_stack([left, a]), periods=periods, cells=cells, change=moved[:, periods],
                               terms=rows, averaged=share[rows] @ moved[:, periods], columns=columns))  # fmt: skip
            averaged.append(share @ moved)
            begin += len(right)

        shape = (len(terms), covariates.shape[0])
        on_path = np.array([a for _, a, _, _ in contrasts]).reshape(-1, n).T
        own_path = on_path @ np.array(averaged).reshape(len(contrasts), shape[0] * shape[1])
        every = np.concatenate([np.empty((0, n)), *(right for *_, right in contrasts)])
        cohort = np.where(found.groups == len(found.cohorts.firsts), -1, found.groups)
        return cls(tuple(parts), own_path.reshape(n, *shape), every, aggregation, cohort, weights), found

    def __call__(self, y: Floats) -> tuple[Floats, Floats]:
        """Averages (R, K) of outcomes (R, T, N) and influences of units on them, (R, K, N)."""
        y = y - y.mean(axis=1, keepdims=True)
        r, k = len(y), len(self.aggregation.terms)
        att = np.empty((r, self.aggregation.weights.shape[1]))
        coefficients = np.zeros((r, k, len(self.right)))
        for part in self.parts:
            products = y[:, part.periods] @ part.left
            att[:, part.cells] = products[:, :, -1] @ part.change.T
            coefficients[:, part.terms, part.columns] = part.averaged @ products[:, :, :-1]
        influence = (coefficients.reshape(r * k, -1) @ self.right).reshape(r, k, -1)
        influence += (self.own @ np.ascontiguousarray(y.transpose(2, 1, 0))).transpose(2, 1, 0)
        shares = self.aggregation.of_shares(att, self.cohort)
        influence += shares if self.weights is None else shares * self.weights
        return self.aggregation.estimate(att), influence


@dataclass(frozen=True, eq=False, slots=True)
class _Part:
    """What one contrast needs of the outcomes: in its `periods` (P,), their products with `left` (N, r + 1), a last.

    cells (C',) get `change` (C', P) times the last product; coefficients of the columns `columns` in `terms` are
    `averaged` (K', P) times the others.
    """

    left: Floats
    periods: Codes
    cells: Codes
    change: Floats
    terms: slice
    averaged: Floats
    columns: slice


FAMILIES = ("event", "cohort", "calendar", "att")  # of terms; each has a band of its own
ROWS_WITH_INFLUENCE = 64  # replications solved together when units' influences travel with them


@dataclass(frozen=True, slots=True)
class CallawaySantAnna(Estimator):
    """Staggered difference-in-differences by cohort and period, and averages of it (`staggered.adoption_effects`).

    outcome, treatment: names of variables; None = the panel's own roles. controls: units never treated, or not yet
    treated in either period. method: of comparison, without covariates (unconditional), or `staggered.two_groups`'.
    covariates: their variables, read in the base period; none leaves the constant, with which all methods agree. base:
    of periods before adoption (less anticipation), the preceding one or that of treated periods. anticipation: periods
    before adoption in which units may already respond. window: event terms; cohorts, years: those reported as att(G,T),
    cohort(G), calendar(T). errors: cluster:unit or cluster:ATTRIBUTE (sums of influences within). band: "" or the
    multipliers of a bootstrap (rademacher, mammen) whose critical values, simultaneous at 1 - alpha for the event
    terms, and for cohort, calendar and att terms where reported, are statistics critical:event and so on, clustered as
    the first error type. draws: of that bootstrap. alpha: one minus the level at which the band holds. label: its name
    in tables, by default its kind.

    Where the panel has a weight, units have that of the first period in all means, the logit, the regressions and the
    cohorts' shares, as with `weightsname` of the R package did.

    A term that averages one treated unit, or compares with one other, has no error: `adoption_effects.has_error`.

    Statistics: cells, the number of treated att(G,T) that enter; left_out, of those that nothing identifies.

    >>> import panelproof as pp
    >>> found = pp.CallawaySantAnna()(pp.example_panel().panel)
    >>> print(f"{found.params['overall:event']:.3f} ({found.std_errors['overall:event']:.3f})")
    0.046 (0.008)
    """

    kind: ClassVar[str] = "callaway-santanna"
    weight_use: ClassVar[WeightUse] = "used"
    gaps: ClassVar[bool] = False
    # home: one cohort of 48 cities, and controls that are redrawn: fixed ones would be a difference in trends
    home: ClassVar[Home] = (
        Paper(calendar="single", redraw=("controls",)),
        ("event(0)", "event(5)", "overall", "overall:event", "overall:cohort", "overall:calendar"),
    )

    outcome: str | None = None
    treatment: str | None = None
    controls: Controls = "never"
    method: Literal["unconditional", "regression", "ipw", "dr"] = "unconditional"
    covariates: tuple[str, ...] = ()
    base: Base = "varying"
    anticipation: int = 0
    window: tuple[int, int] = (-5, 5)
    cohorts: tuple[int, ...] = ()
    years: tuple[int, ...] = ()
    errors: tuple[str, ...] = ("cluster:unit",)
    band: str = ""
    draws: int = 999
    alpha: float = 0.05
    label: str = ""

    def layout(self, schema: Schema) -> Layout:
        """Terms in the order of `aggregation.staggered_terms`."""
        for name in self.variables(schema):
            schema.require(name, self.name)
        check_terms(self.window, self.cohorts, self.years, self.name)
        if self.covariates and self.method == "unconditional":
            raise bad("covariates without a method that uses them", where=self.name, allowed="regression, ipw, dr",
                      remedy='set method = "dr"')  # fmt: skip
        if len(set(self.covariates)) < len(self.covariates):
            raise bad(f"covariates = {list(self.covariates)} repeat", where=self.name, allowed="each variable once",
                      remedy="remove the repeated name")  # fmt: skip
        check_clusters(self.errors, schema, self.name)
        if not 0 <= self.anticipation < schema.periods:
            raise bad(f"anticipation = {self.anticipation}", where=self.name, allowed="0 or more, below T",
                      remedy="correct the number of periods")  # fmt: skip
        if self.band not in ("", *get_args(Multipliers)) or self.draws < 1 or not 0 < self.alpha < 1:
            raise bad(f"band = {self.band!r}, draws = {self.draws}, alpha = {self.alpha}", where=self.name,
                      allowed='"", rademacher or mammen; 1 or more; between 0 and 1',
                      remedy="correct them")  # fmt: skip
        terms = staggered_terms(self.window, self.cohorts, self.years)
        bands = tuple(f"critical:{family}" for family in self._families) if self.band else ()
        targets = staggered_targets(terms)
        return Layout(terms, self.errors, ("cells", "left_out", *bands), targets, perhaps=told_by_cells(terms))

    @property
    def _families(self) -> tuple[str, ...]:
        terms = staggered_terms(self.window, self.cohorts, self.years)
        return tuple(family for family in FAMILIES if any(term.startswith(f"{family}(") for term in terms))

    def variables(self, schema: Schema) -> frozenset[str]:
        """Outcome, treatment and covariates, and the weights."""
        named = (outcome_of(self.outcome, schema, self.name), treatment_of(self.treatment, schema, self.name))
        return frozenset((*named, *self.covariates, *self.weight(schema)))

    def reduction(self, schema: Schema) -> CallawaySantAnnaReduction:
        """Averages and the variances of their influences."""
        terms = staggered_terms(self.window, self.cohorts, self.years)
        method = None if self.method == "unconditional" else self.method
        return CallawaySantAnnaReduction(
            outcome_of(self.outcome, schema, self.name), treatment_of(self.treatment, schema, self.name),
            self.controls, method, self.covariates, self.base, self.anticipation, terms, self.errors,
            bool(self.band and self._families), self.name,
        )  # fmt: skip

    def influence(self, panel: Panel) -> tuple[Floats, Floats]:
        """Estimates (R, K) and units' influences (R, K, N), whose sums of products are the terms' covariances.

        Terms as in the layout, NaN and 0 where not identified. Raises BadInput for a panel that cannot serve.
        """
        self.layout(panel.schema)
        reduction = self.reduction(panel.schema)
        answers = [reduction.answer(one, reduction.plan(one)) for one in reduction.alike(panel)]
        estimates, influences = zip(*answers, strict=True)
        return np.concatenate(estimates), np.concatenate(influences)

    def spare_controls(self, panel: Panel) -> int:
        """How many controls the smallest comparison of a reported term has beyond the coefficients of its regression.

        Errors take residuals as they are: of normal outcomes a 5% test rejects 12 to 19% of true null hypotheses with 4
        spare controls, 8 to 11% with 9 and 6 to 8% with 19 (test). Raises BadInput as a fit does.
        """
        return self.reduction(panel.schema).plan(panel).controls - 1 - len(self.covariates)

    def solve(self, plan: Any, moments: Any, schema: Schema, streams: Streams) -> Estimates:
        """Standard errors, and critical values of bands if asked for."""
        layout, status = self.layout(schema), moments.status.astype(np.uint8)
        statistics = {"cells": moments.cells, "left_out": moments.left_out}
        if self.band:
            rows, units = moments.influence.shape[0], moments.influence.shape[2]
            streams = streams if streams.replications == rows else Streams(0, "", 0, rows)
            kind: Multipliers = "mammen" if self.band == "mammen" else "rademacher"
            found: dict[str, list[Floats]] = {family: [] for family in self._families}
            for row, generator in enumerate(streams.each("multipliers")):  # of each replication's own
                drawn = multipliers(kind, self.draws, units, generator)
                for family, values in found.items():
                    chosen = [k for k, term in enumerate(layout.terms) if term.startswith(f"{family}(")]
                    influence = moments.influence[row : row + 1, chosen]
                    values.append(simultaneous_critical_values(influence, drawn, self.alpha))
            statistics |= {f"critical:{family}": np.concatenate(values) for family, values in found.items()}
        with np.errstate(invalid="ignore"):
            se = np.sqrt(np.where(moments.variance > 0, moments.variance, np.nan))
        return Estimates.of(layout, moments.estimate, se, np.full(se.shape, np.inf), statistics, status=status)


@dataclass(frozen=True, eq=False, slots=True)
class CohortMoments(Moments):
    """estimate (R, K), variance (R, E, K), status, cells, left_out (R,); influence (R, K, clusters) for bands, zero for
    terms without an error."""

    estimate: Floats
    variance: Floats
    status: Floats
    cells: Floats
    left_out: Floats
    influence: Floats | None


@dataclass(frozen=True, eq=False, slots=True)
class CallawaySantAnnaPlan:
    """What one calendar and its covariates fix: the map from outcomes, which terms have cells, and counts.

    certain (E, K): whether terms have an error of each type, as in `adoption_effects`. controls: of the smallest
    comparison.
    """

    map: MeansMap | CovariateMap
    identified: Flags
    certain: Flags
    cells: int
    left_out: int
    controls: int


@dataclass(frozen=True, slots=True)
class CallawaySantAnnaReduction(Reduction):
    """att(G,T) of one outcome, their averages and variances; calendars that differ are taken one by one."""

    outcome: str
    treatment: str
    controls: Controls
    method: Adjustment | None
    covariates: tuple[str, ...]
    base: Base
    anticipation: int
    terms: tuple[str, ...]
    errors: tuple[str, ...]
    keep_influence: bool
    asked_by: str = field(compare=False)

    def prepare(self, panel: Panel) -> CallawaySantAnnaPlan | None:
        """The plan of a calendar and covariates that do not change, else None; raises BadInput."""
        return self.plan(panel) if self._fixed(panel) else None

    def rows(self, plan: Any) -> int:
        """Few where influences are kept."""
        return ROWS_WITH_INFLUENCE if self.keep_influence else Reduction.rows(self, plan)

    def _fixed(self, panel: Panel) -> bool:
        return all(panel.variables[name].shape[0] == 1 for name in (self.treatment, *self.covariates))

    def alike(self, panel: Panel) -> list[Panel]:
        """The panel itself, or its replications when treatment or covariates differ."""
        return [panel] if self._fixed(panel) else [panel.replication(row) for row in range(panel.replications)]

    def plan(self, panel: Panel) -> CallawaySantAnnaPlan:
        """Comparisons and maps of the one calendar of a panel."""
        cohorts = Cohorts.of(panel, self.treatment, self.asked_by)
        possible = Comparisons.of(cohorts, self.controls, self.base, self.anticipation)
        if self.controls == "never" and not cohorts.never.any():
            raise bad("no unit is never treated", where=self.asked_by, allowed='never treated units, which '
                                                                               'controls = "never" needs',
                      remedy='set controls = "not-yet"')  # fmt: skip
        if min(cohorts.firsts) <= self.anticipation >= max(cohorts.firsts):
            raise bad(f"no period lies before an adoption and its {self.anticipation} periods of "
                      "anticipation", where=self.asked_by,
                      allowed="a base period for some cohort", remedy="lower anticipation, or add periods")  # fmt: skip
        if not possible.treated.any():
            raise bad("no unit is untreated when others are treated", where=self.asked_by,
                      allowed="units never or later treated", remedy="add units that are never treated or treated "
                                                                     "later")  # fmt: skip

        found = possible.take((Aggregation.of(self.terms, possible.cells, cohorts).weights != 0).any(axis=0))
        linear: MeansMap | CovariateMap
        if self.method is None:
            aggregation = Aggregation.of(self.terms, found.cells, cohorts)
            linear = MeansMap.of(found, aggregation)
        else:
            shape = (len(cohorts.periods), len(cohorts.first), 0)
            covariates = [panel.variables[name][0] for name in self.covariates]
            x = np.stack(covariates, axis=-1) if covariates else np.empty(shape)
            linear, found = CovariateMap.of(found, self.terms, x, self.method)
            aggregation = linear.aggregation
            if not found.treated.any():
                raise bad(f"no cohort can be compared given {one_of(self.covariates)}", where=self.asked_by,
                          allowed="covariates that overlap and are not collinear", remedy="use fewer")  # fmt: skip

        treated = sum(len(cohorts.periods) - g for g in cohorts.firsts)
        used = int(found.treated.sum())
        averaged = (aggregation.weights != 0) @ (cohorts.first == np.array(cohorts.firsts)[found.cells.cohort, None])
        serves = (aggregation.weights != 0) @ found.controls  # (K, G + 1)
        compared = np.where(found.groups >= 0, serves[:, found.groups], False)
        certain = np.stack([has_error(averaged, compared, error, panel) for error in self.errors])
        fewest = int((found.controls @ found.counts).min())
        return CallawaySantAnnaPlan(linear, aggregation.identified, certain, used, treated - used, fewest)

    def reduce(self, plan: Any, tile: Tile) -> CohortMoments:
        """One tile's estimates and variances; a replication whose own calendar cannot serve is NaN with a status."""
        if plan is not None:
            return self._moments(tile.panel, plan)
        found = []
        for panel in self.alike(tile.panel):
            try:
                own = self.plan(panel)
            except BadInput:
                k, e, clusters = len(self.terms), len(self.errors), int(unit_clusters(self.errors[0], panel).max()) + 1
                kept = np.full((1, k, clusters), np.nan) if self.keep_influence else None
                missing, status = np.full((1, e, k), np.nan), np.full(1, float(Status.REFUSED))
                found.append(CohortMoments(missing[:, 0], missing, status, np.zeros(1), np.full(1, np.nan), kept))
            else:
                found.append(self._moments(panel, own))
        return CohortMoments.join(found)

    def _moments(self, panel: Panel, plan: CallawaySantAnnaPlan) -> CohortMoments:
        estimate, influence = self.answer(panel, plan)
        r = panel.replications
        sums = [sums_within(influence, unit_clusters(error, panel)) for error in self.errors]
        variance = np.where(plan.certain, np.stack([np.vecdot(each, each) for each in sums], axis=1), np.nan)
        rounding = EXACT * np.nanvar(panel.variables[self.outcome], axis=(1, 2))[:, None, None]
        variance = np.where(variance > rounding, variance, np.nan)
        return CohortMoments(
            estimate=spread(estimate, r),
            variance=spread(variance, r),
            status=np.full(r, float(Status.OK)),
            cells=np.full(r, float(plan.cells)),
            left_out=np.full(r, float(plan.left_out)),
            influence=spread(sums[0] * plan.certain[0][:, None], r) if self.keep_influence else None,
        )

    def answer(self, panel: Panel, plan: CallawaySantAnnaPlan) -> tuple[Floats, Floats]:
        """Estimates and influences, (1 or R, K) and (1 or R, K, N), of a panel with the plan's calendar."""
        estimate, influence = plan.map(panel.variables[self.outcome])
        return np.where(plan.identified, estimate, np.nan), influence
