"""Estimators of staggered adoption that are linear in the outcome: what they share.

Given who adopts when and the fixed controls, every term is theta = A y and its sampling error is a sum of what each
unit contributes, so that a batch of R outcomes costs a few matrix products; all else is prepared once. Panels whose
calendar or controls differ between replications are prepared and fitted one by one.

Clustered errors are sqrt(factor x sum over clusters of squared contributions). Statistics: `pretrend`, the Wald
statistic W of event(K) = 0 for all q event times K < 0 of the window, with the covariance of the first error type (a
generalised inverse where event times are dependent); `pretrend_p`, its usual p value, F(q, G - 1) of W/q where
inference is by t and chi-squared where it is normal; `pretrend_hotelling_p`, that of Hotelling's T^2, F(q, m - q) of
W (m - q) / (q (m - 1)) with m the clusters that hold treated units, or units compared with, whichever are fewer, for
the covariance of event times rests on these: with 48 treated units of 285 and four or five event times the usual test
rejects 8 to 10% of true nulls at 5%, this one 5%; with 30 treated and 5 never treated ones 26% and less than 1%;
`uniform`, the critical value with which the intervals of all event(K) of the window hold together with probability
.95 (sup-t of simulated normal vectors with their correlation, the same draws in every replication; Montiel Olea and
Plagborg-Moller 2019). It is as optimistic as the errors: intervals cover 95% where 142 cities adopt at one date, and
92% with the published cohorts of 1 to 12 cities.

From effects of cohorts in periods, att(G,T), to averages over events, cohorts and calendar time.

Every average here is a mean of ratios sum_c n_g(c) q_c att_c / sum_c n_g(c) q_c over cells c = (G,T), with n_g the
number of units in cohort g, or the sum of their weights (Callaway and Sant'Anna 2021, section 3.1):

| term | cells, q = 1 unless said |
|---|---|
| att(G,T) | one |
| event(K) | those K periods after adoption; K < 0 is before |
| cohort(G), calendar(T) | treated cells of cohort G, of period T |
| overall | all treated cells: treated unit-periods count alike |
| overall:event, overall:calendar | plain mean of event(K) over K >= 0, of calendar(T) over T |
| overall:cohort | all treated cells with q = 1 / number of the cohort's: cohort(G) weighted by size |

The n_g are the sample's estimates of cohort shares, which adds to the influence of a unit of cohort h
(q_c - w_c sum_{c' in h} q_c') / sum n q times att_c, summed over c of h alike: the derivative of the ratio with respect
to n_h (their corollary 2). Cells that are not identified are left out, and the rest weighted up.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Literal

import numpy as np
from scipy.special import chdtrc, fdtrc

from estimators.core import regression as ols
from estimators.core.estimator import (
    Estimates,
    Layout,
    Moments,
    Status,
    TileEstimator,
    TreatmentEstimator,
    one_by_one,
    status_where,
)
from estimators.core.tile import Tile, spread, weight_root
from estimators.linear.covariances import check_two_clusters, sums_within, unit_clusters
from sim.arrays import Codes, Flags, Floats
from sim.design import Estimand
from sim.errors import bad, one_of
from sim.panel import Panel, check_balanced, check_steps
from sim.schema import Schema

# Who is treated from when: the cohorts of a staggered, absorbing treatment, and the names of what is estimated of
# it.
#
# Terms: att(G,T) of cohort G in period T, event(K) of K periods since adoption, cohort(G), calendar(T), and the
# overall averages overall (over treated unit-periods), overall:event, overall:cohort, overall:calendar (Callaway
# and Sant'Anna 2021, section 3). K counts periods, whatever their labels: event(1) is two years after adoption in a
# biennial panel.


@dataclass(frozen=True, eq=False, slots=True)
class Cohorts:
    """Adoption of a panel's units.

    first (N,): index of the first treated period, T for never. firsts: those indices that occur, ascending, without
    never and without 0 (units treated from the first period on have no period before and compare with nobody).
    weights (N,): of units, mean 1; None = the panel has none. Those of the first period, which no treatment has moved:
    a weight that follows the treatment would change what is averaged.
    """

    periods: tuple[int, ...]
    first: Codes
    firsts: tuple[int, ...]
    weights: Floats | None = None

    @classmethod
    def of(cls, panel: Panel, treatment: str, asked_by: str, *, even: bool = True) -> Cohorts:
        """The cohorts of an absorbing 0/1 variable, the same in all replications; raises BadInput for any other.

        even: also for periods that are not all one step apart, where K periods since adoption would mean several times.
        """
        did = panel.variables[treatment]
        seen = np.ones((1, 1, 1), dtype=bool) if panel.observed is None else panel.observed
        known = np.where(seen, did, 0.0)
        if not np.isin(known, (0.0, 1.0)).all() or (seen & (known < np.maximum.accumulate(known, axis=1))).any():
            raise bad(f"{treatment!r} is not 0/1 and absorbing", where=asked_by, allowed="0 before adoption, 1 after",
                      remedy="code it so, or leave those units out")  # fmt: skip
        check_balanced(panel, asked_by)  # later: a treatment without dates has none in the balanced part either
        if even:
            check_steps(panel, asked_by)
        if (did != did[:1]).any():
            raise bad("the dates of adoption differ between replications", where=asked_by,
                      allowed="the same dates in all replications", remedy="fit them one by one")  # fmt: skip
        path = did[0]
        first = np.where(path.any(axis=0), path.argmax(axis=0), len(panel.periods)).astype(np.intp)
        occurring = np.unique(first)
        firsts = tuple(int(g) for g in occurring if 0 < g < len(panel.periods))
        if not firsts:
            raise bad("no unit becomes treated within the panel", where=asked_by,
                      allowed="units that are first untreated and later treated",
                      remedy="add earlier periods")  # fmt: skip
        root = weight_root(panel)
        weights = None if root is None else np.square(root[0]) / np.square(root[0]).mean()
        return cls(panel.periods, first, firsts, weights)

    @property
    def never(self) -> Flags:
        """Units that are never treated, (N,)."""
        return np.asarray(self.first == len(self.periods))

    @property
    def later(self) -> Flags:
        """Units that are untreated when the first adopt, (N,): never treated ones and later cohorts."""
        return np.asarray(self.first > self.firsts[0])

    @property
    def labels(self) -> tuple[int, ...]:
        """The cohorts' first treated periods as the panel names them."""
        return tuple(self.periods[g] for g in self.firsts)

    def size(self, first: int) -> int:
        """Units that adopt at this index."""
        return int((self.first == first).sum())

    def mass(self, first: int) -> float:
        """Sum of the weights of units that adopt at this index, their number without weights."""
        return float(self.size(first)) if self.weights is None else float(self.weights[self.first == first].sum())


def check_binary(
    treatment: Floats, name: str, asked_by: str, allowed: str = "0 where untreated, 1 where treated"
) -> None:
    """Raise BadInput for a treatment with other values than 0 and 1."""
    if not np.isin(treatment, (0.0, 1.0)).all():
        raise bad(f"{name!r} is not 0/1", where=asked_by, allowed=allowed, remedy="code it so")


def check_clusters(errors: tuple[str, ...], schema: Schema, asked_by: str) -> None:
    """Raise BadInput unless errors are one or more distinct clusterings of units."""
    allowed = ("cluster:unit", *(f"cluster:{name}" for name in schema.attributes))
    if not errors or len(set(errors)) < len(errors) or not set(errors) <= set(allowed):
        raise bad(f"errors = {list(errors)}", where=asked_by, allowed=f"distinct names among {one_of(allowed)}",
                  remedy='set errors = ["cluster:unit"]')  # fmt: skip


Window = tuple[int, int]
OVERALL = ("overall", "overall:event", "overall:cohort", "overall:calendar")
_TARGETS = dict(zip(OVERALL, ("att", "att_event", "att_cohort", "att_calendar"), strict=True))


def event_of(term: str) -> int | None:
    """K of event(K), None for any other term."""
    return int(term[6:-1]) if term.startswith("event(") else None


def staggered_terms(window: Window, cohorts: tuple[int, ...], years: tuple[int, ...]) -> tuple[str, ...]:
    """Names of the terms: events of the window, the overall averages, cohort(G), calendar(T), att(G,T)."""
    return (
        *(f"event({k})" for k in range(window[0], window[1] + 1)),
        *OVERALL,
        *(f"cohort({g})" for g in cohorts),
        *(f"calendar({t})" for t in years),
        *(f"att({g},{t})" for g in cohorts for t in years),
    )


def staggered_targets(terms: Iterable[str]) -> dict[str, str]:
    """Estimand of each term; what lies before adoption has none."""
    targets = {}
    for term in terms:
        if term in _TARGETS:
            targets[term] = _TARGETS[term]
            continue
        kind, numbers = _parsed(term)
        before = (kind == "event" and numbers[0] < 0) or (kind == "att" and numbers[1] < numbers[0])
        if not before:
            targets[term] = term
    return targets


def told_by_cells(terms: Iterable[str]) -> tuple[str, ...]:
    """Those of the terms that not every calendar tells: all but the overall averages."""
    return tuple(term for term in terms if term not in OVERALL)


def check_terms(window: Window, cohorts: tuple[int, ...], years: tuple[int, ...], asked_by: str) -> None:
    """Raise BadInput for a window that is empty, or cohorts or years that repeat."""
    if len(window) != 2 or window[0] > window[1]:
        raise bad(f"window = {list(window)}", where=asked_by, allowed="first and last period relative to adoption",
                  remedy="set window = [-5, 5]")  # fmt: skip
    for name, labels in (("cohorts", cohorts), ("years", years)):
        if len(set(labels)) < len(labels):
            raise bad(f"{name} = {list(labels)} repeat", where=asked_by, allowed="each once",
                      remedy="remove the repeated label")  # fmt: skip


@dataclass(frozen=True, eq=False, slots=True)
class CohortPeriods(Moments):
    """The identified effects: position in `Cohorts.firsts` and index of the period, each (C,)."""

    cohort: Codes
    period: Codes


@dataclass(frozen=True, eq=False, slots=True)
class Aggregation:
    """Averages of C cells in K terms for G cohorts.

    weights (K, C); slopes (K, G, C): what a unit of cohort g adds through the estimated shares, per att_c; identified
    (K,): terms that have a cell (weights of the others are 0).
    """

    terms: tuple[str, ...]
    weights: Floats
    slopes: Floats
    identified: Flags

    @classmethod
    def of(cls, terms: tuple[str, ...], cells: CohortPeriods, cohorts: Cohorts) -> Aggregation:
        """The averages named `terms` over identified cells."""
        sizes = np.array([cohorts.mass(g) for g in cohorts.firsts], dtype=np.float64)
        weights = np.zeros((len(terms), len(cells.cohort)))
        slopes = np.zeros((len(terms), len(sizes), len(cells.cohort)))
        identified = np.zeros(len(terms), dtype=bool)
        cohort, places = cells.cohort, np.arange(len(sizes))[:, None]
        for k, term in enumerate(terms):
            parts = _ratios(term, cells, cohorts)
            for q in parts:  # sum n q att / sum n q, and its derivatives with respect to each n_h, (G, C)
                total = float(sizes[cohort] @ q)
                weight = sizes[cohort] * q / total
                own = (places == cohort) * q
                weights[k] += weight / len(parts)
                slopes[k] += (own - own.sum(axis=1, keepdims=True) * weight) / total / len(parts)
            identified[k] = bool(parts)
        return cls(terms, weights, slopes, identified)

    @property
    def known(self) -> Floats:
        """The weights (K, C), NaN for terms without a cell."""
        return np.where(self.identified[:, None], self.weights, np.nan)

    def estimate(self, att: Floats) -> Floats:
        """The averages, (R, C) -> (R, K); NaN where not identified."""
        return np.asarray(np.where(self.identified, att @ self.weights.T, np.nan))

    def of_shares(self, att: Floats, cohort: Codes) -> Floats:
        """The part of units' influence that comes from the estimated cohort shares, (R, K, N), zero where not
        identified.

        att (R, C); cohort (N,): position of the unit's cohort in `Cohorts.firsts`, -1 for a unit of none.
        """
        by_cohort = np.tensordot(att, self.slopes, axes=(1, 2))  # (R, K, G)
        padded = np.concatenate([by_cohort, np.zeros((*by_cohort.shape[:2], 1))], axis=2)
        return np.asarray(padded[:, :, cohort])


def _ratios(term: str, cells: CohortPeriods, cohorts: Cohorts) -> list[Floats]:
    """q (C,) of each ratio whose plain mean the term is; none when no cell serves."""
    firsts, periods = np.array(cohorts.firsts), np.array(cohorts.periods)
    since, year, adopted = cells.period - firsts[cells.cohort], periods[cells.period], periods[firsts[cells.cohort]]
    treated = since >= 0
    kind, numbers = (term, ()) if term in OVERALL else _parsed(term)
    match kind, numbers:
        case "overall", ():
            found = [treated]
        case "overall:event", ():
            found = [since == k for k in np.unique(since[treated])]
        case "overall:calendar", ():
            found = [treated & (year == t) for t in np.unique(year[treated])]
        case "overall:cohort", ():
            count = np.bincount(cells.cohort[treated], minlength=len(firsts))
            found = [treated / np.maximum(count[cells.cohort], 1)]
        case "event", (k,):
            found = [since == k]
        case "cohort", (g,):
            found = [(adopted == g) & treated]
        case "calendar", (t,):
            found = [(year == t) & treated]
        case "att", (g, t):
            found = [(adopted == g) & (year == t)]
        case _:
            raise ValueError(f"not a term of a staggered estimator: {term!r}")
    return [q.astype(np.float64) for q in found if q.any()]


def on_units(terms: tuple[str, ...], cohorts: Cohorts, identified: Flags) -> Floats:
    """Weights of terms on unit-periods (K, T, N), a cohort's units alike or by weight; identified (G, T); NaN as
    `known`."""
    cells = CohortPeriods(*np.nonzero(identified))
    weights = Aggregation.of(terms, cells, cohorts).known
    out = np.zeros((len(terms), len(cohorts.periods), len(cohorts.first)))
    for weight, g, t in zip(weights.T, cells.cohort, cells.period, strict=True):
        members = cohorts.first == cohorts.firsts[g]
        mass = members.sum() if cohorts.weights is None else cohorts.weights[members].sum() / cohorts.weights[members]
        out[:, t, members] = weight[:, None] / mass
    out[np.isnan(weights).any(axis=1)] = np.nan
    return out


def untreated_beside(w: Floats, cohorts: Cohorts) -> Flags:
    """Units untreated in some period in which a term weighs treated ones (K, N), w (K, T, N); of terms that weigh none
    those that are untreated when the first adopt."""
    untreated = np.arange(w.shape[1])[:, None] < cohorts.first
    periods = ((np.nan_to_num(w) != 0) & ~untreated).any(axis=2)
    return np.where(periods.any(axis=1)[:, None], periods @ untreated, cohorts.later)


def event_averages(terms: tuple[str, ...], events: list[int], treated: Floats) -> Floats:
    """Weights of terms on slopes of event dummies, (K, P): overall by treated cells (P,), overall:event equal ones."""
    late = np.array(events) >= 0
    rows = {"overall": treated * late / (treated * late).sum(), "overall:event": late / late.sum()}
    rows |= {f"event({k})": 1.0 * (np.array(events) == k) for k in events}
    missing = np.full(len(events), np.nan)
    return np.stack([rows.get(term, missing) for term in terms])


def _parsed(term: str) -> tuple[str, tuple[int, ...]]:
    parsed = Estimand.parse(term)
    return parsed.kind, tuple(map(int, parsed.arguments))


# Uniform confidence bands: one critical value for many terms, by a multiplier bootstrap of units' influence.


Multipliers = Literal["rademacher", "mammen"]

MAMMEN_HIGH = (1 + np.sqrt(5)) / 2
MAMMEN_SHARE = (np.sqrt(5) + 1) / (2 * np.sqrt(5))  # probability of the low value


def multipliers(kind: Multipliers, draws: int, count: int, generator: np.random.Generator) -> Floats:
    """Independent multipliers of mean 0 and variance 1, (B, count).

    rademacher: -1 or 1, equally likely. mammen: (1 - sqrt 5)/2 with probability (sqrt 5 + 1)/(2 sqrt 5), else
    (1 + sqrt 5)/2, whose third moment is 1 (Mammen 1993).
    """
    if kind == "rademacher":
        words = generator.bytes(-(-draws * count // 8))
        bits = np.unpackbits(np.frombuffer(words, dtype=np.uint8), count=draws * count)
        return np.asarray(2.0 * bits.reshape(draws, count) - 1.0, dtype=np.float64)
    low = generator.random((draws, count), dtype=np.float32) < np.float32(MAMMEN_SHARE)
    return np.asarray(MAMMEN_HIGH - np.sqrt(5) * low, dtype=np.float64)


def largest_t(influence: Floats, drawn: Floats) -> Floats:
    """max over terms of |sum_i v_i psi_ki| / se_k in every bootstrap draw, (R, B).

    influence (R, K, N) with se_k^2 = sum_i psi_ki^2; drawn (B, N), or (R, B, N) for multipliers of each replication's
    own. Terms without variation are left out; NaN where no term has any.
    """
    se = np.sqrt(np.vecdot(influence, influence))
    moves = se > 0
    scaled = np.where(moves[:, :, None], influence, 0.0) / np.where(moves, se, 1.0)[:, :, None]
    largest = np.abs(drawn @ scaled.swapaxes(1, 2)).max(axis=2)
    return np.where(moves.any(axis=1)[:, None], largest, np.nan)


def simultaneous_critical_values(influence: Floats, drawn: Floats, alpha: float) -> Floats:
    """Critical values of bands estimate +- c se that cover all terms at once with probability 1 - alpha, (R,).

    The smallest c that at least a share 1 - alpha of the bootstrap draws does not exceed, of `largest_t` (Callaway and
    Sant'Anna 2021, algorithm 1, with the analytic standard error in place of an interquartile range of the draws).
    """
    largest = largest_t(influence, drawn)
    found = np.full(len(largest), np.nan)
    sound = np.isfinite(largest).all(axis=1)
    if sound.any():
        found[sound] = np.quantile(largest[sound], 1 - alpha, axis=1, method="inverted_cdf")
    return found


PRETREND = ("pretrend", "pretrend_p", "pretrend_hotelling_p")
UNIFORM_LEVEL = 0.95
DEPENDENT = 1e-9  # share of the largest eigenvalue of a correlation matrix below which one counts as zero


@dataclass(frozen=True, eq=False, slots=True)
class LinearFit(ABC):
    """An estimator with its calendar and controls: outcomes in, terms and what units contribute out.

    identified (K,): terms that the panel identifies; certain (K,): those among them that leave residuals to tell their
    error from. used, treated (N,): units that take part, and those of them that adopt; compared (N,) or (K, N): those
    that are untreated when others are treated, or when the term's are; averaged (K, N): treated units that a term
    averages. sample: n and the number of parameters that count in the factor G/(G-1) (n-1)/(n-k) of clusters, with t of
    G - 1 degrees of freedom; None: no factor and normal inference. sound: whether regressors can be told apart.
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
        first, last = self.window
        events = (f"event({k})" for k in range(first, last + 1) if k != -1)
        return (*events, "overall", "overall:event")

    @abstractmethod
    def fit(self, panel: Panel) -> LinearFit:
        """What follows from the first replication's calendar and controls; raises BadInput when they cannot serve."""

    def targets(self) -> dict[str, str]:
        """Estimands of the terms; event times before adoption have none."""
        return staggered_targets(self.terms())

    def check(self, schema: Schema) -> None:
        """Raise BadInput for settings that cannot be, or that no panel of this size can serve."""
        check_terms(self.window, (), (), self.name)
        if not self.window[0] <= 0 <= self.window[1]:
            raise bad(f"window = {list(self.window)}", where=self.name, allowed="a first event time of 0 or less "
                                                                                "and a last one of 0 or more",
                      remedy="set window = [-5, 5]")  # fmt: skip
        if self.uniform_draws < 0:
            raise bad(f"uniform_draws = {self.uniform_draws}", where=self.name, allowed="0 (none) or more",
                      remedy="set uniform_draws = 999")  # fmt: skip

    def layout(self, schema: Schema) -> Layout:
        """Terms by name; the statistics of the module's docstring."""
        named = self.names(schema)
        for name in (*named[:2], *named[2]):
            schema.require(name, self.name)
        if len({*named[:2], *named[2]}) < 2 + len(named[2]):
            raise bad(f"a variable is used twice among {one_of((*named[:2], *named[2]))}", where=self.name,
                      allowed="each variable once", remedy="remove the repeated name")  # fmt: skip
        self.check(schema)
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

    def reduce(self, plan: LinearFit | None, tile: Tile) -> Estimates:
        """All terms and statistics: by one prepared fit, or one by one where calendar or controls are redrawn."""
        panel = tile.panel
        if plan is not None:
            return self._estimates(plan, panel)
        refused = Estimates.failed(self.layout(panel.schema), Status.REFUSED)
        return one_by_one(panel, lambda one: self._estimates(self.fit(one), one), refused)

    @np.errstate(divide="ignore", invalid="ignore")  # a degenerate draw is NaN with a status
    def _estimates(self, fit: LinearFit, panel: Panel) -> Estimates:
        layout, outcome = self.layout(panel.schema), self.names(panel.schema)[0]
        y = spread(panel.variables[outcome], panel.replications)
        estimate, contributions = fit(y)
        variation = np.square(y - y.mean(axis=(1, 2), keepdims=True)).mean(axis=(1, 2))
        noise = _normals(1, 1, *y.shape[1:])
        usual = variation[:, None] * np.square(fit(noise)[0])  # about the variance under such noise
        estimate = np.where(fit.identified & fit.sound, estimate, np.nan)

        known, exact, sums, factors, dofs, variances = [], [], [], [], [], []
        for error in self.errors:
            groups = int(_clusters_of(fit.used, error, panel))
            check_two_clusters(error, groups, self.name)
            factor, freedom = 1.0, np.inf
            if fit.sample is not None:
                n, k = fit.sample
                factor, freedom = groups / (groups - 1) * (n - 1) / (n - k), groups - 1.0
            known.append(fit.identified & fit.certain & fit.sound & has_error(fit.averaged, fit.compared, error, panel))
            sums.append(sums_within(contributions, unit_clusters(error, panel)))
            variance = np.square(sums[-1]).sum(axis=2) * factor
            exact.append(variance <= ols.EXACT * usual)  # the residuals are rounding
            variances.append(np.where(known[-1] & ~exact[-1], variance, np.nan))
            factors.append(factor)
            dofs.append(freedom)

        events = [i for i, term in enumerate(layout.terms) if event_of(term) is not None and known[0][i]]
        early = [i for i in events if (event_of(layout.terms[i]) or 0) < 0]
        before = sums[0][:, early]
        fewest = fewest_clusters(fit.treated, fit.compared, self.errors[0], panel)
        covariance = before @ before.transpose(0, 2, 1) * factors[0]
        tests = pretrend_tests(estimate[:, early], covariance, dofs[0], fewest)
        tests[exact[0][:, early].any(axis=1)] = np.nan
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

    def check(self, schema: Schema) -> None:
        """Raise BadInput for settings that cannot be."""
        AdoptionEffects.check(self, schema)
        check_terms(self.window, self.cohorts, self.years, self.name)


def has_error(averaged: Flags, compared: Flags, error: str, panel: Panel) -> Flags:
    """Terms (K,) whose treated units (K, N), and units compared with (N,) or (K, N), lie in two clusters or more.

    With one alone on either side nothing shows how much its outcome moves by itself, and the formula's error, made of
    what the other side does, is far too small: 95% intervals cover a third of the time.
    """
    return np.asarray((_clusters_of(averaged, error, panel) > 1) & (_clusters_of(compared, error, panel) > 1))


def _clusters_of(units: Flags, error: str, panel: Panel) -> Codes:
    """How many clusters hold any of the marked units, (..., N) -> (...)."""
    return np.asarray((sums_within(units, unit_clusters(error, panel)) > 0).sum(axis=-1))


def fewest_clusters(treated: Flags, compared: Flags, error: str, panel: Panel) -> int:
    """Clusters that hold treated units (N,), or units compared with (..., N), whichever are fewer."""
    beside = compared if compared.ndim == 1 else compared.any(axis=0)
    return int(min(_clusters_of(treated, error, panel), _clusters_of(beside, error, panel)))


@np.errstate(divide="ignore", invalid="ignore")
def pretrend_tests(estimate: Floats, covariance: Floats, dof: float, fewest: int) -> Floats:
    """Wald statistic of terms (R, K) with covariances (R, K, K) being zero and its two p values, (R, 3); NaN without
    terms. fewest: clusters that hold treated units, or units compared with, whichever are fewer."""
    rows, terms = estimate.shape
    if not terms or not np.isfinite(covariance).all():
        return np.full((rows, len(PRETREND)), np.nan)
    scale, values, vectors = _principal_axes(covariance)
    free = values > DEPENDENT * np.maximum(values[:, -1:], 1e-300)
    turned = np.matmul((estimate / scale)[:, None, :], vectors)[:, 0]
    wald = np.where(free, turned**2 / np.where(free, values, 1.0), 0.0).sum(axis=1)
    rank = free.sum(axis=1)
    usual = chdtrc(rank, wald) if np.isinf(dof) else fdtrc(rank, dof, wald / rank)
    free_rank = fewest - rank
    hotelling = np.where(free_rank > 0, fdtrc(rank, free_rank, wald * free_rank / (rank * (fewest - 1.0))), np.nan)
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
    root = (vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]) @ vectors.transpose(0, 2, 1)  # symmetric: unique
    largest = np.abs(root @ _normals(0, draws, terms).T).max(axis=1)
    return np.asarray(np.quantile(largest, UNIFORM_LEVEL, axis=1))


@cache
def _normals(key: int, *shape: int) -> Floats:
    """Standard normals that are the same in every fit."""
    return np.random.Generator(np.random.Philox(key=key)).standard_normal(shape)
