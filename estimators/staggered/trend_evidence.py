"""Evidence on parallel trends that needs the whole path of effects: the pre-trend test, and bounds under other trends.

`EventTimes` is that path with its covariance. `TrendEvidence` makes numbers of it that can be had on many panels, so
that what a sound panel shows is known: the largest change of trends before adoption is the largest of noisy numbers,
and grows with the noise and the number of periods even where trends are parallel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri, chndtr, fdtri, ncfdtr, ndtr, ndtri

from estimators.core.estimator import (
    Estimates,
    Estimator,
    Home,
    Layout,
    Status,
    outcome_of,
    status_where,
    treatment_of,
)
from estimators.linear.covariances import sums_within, unit_clusters
from estimators.staggered.adoption_effects import Cohorts, check_clusters, event_of, fewest_clusters, pretrend_tests
from estimators.staggered.callaway_santanna import CallawaySantAnna
from estimators.staggered.honest import BoundsQuestion, breakdown
from sim.arrays import Floats
from sim.errors import BadInput, bad, one_of
from sim.panel import Panel, part
from sim.presets import Paper
from sim.schema import Schema
from sim.streams import Streams

# What a test of pre-trends can and cannot see: its power, and the bias that remains after passing (Roth 2022).
#
# Event-study estimates are ordered in time, K = pre + post of them, without the reference period, which lies
# between the two; consecutive ones are one period apart, so that a linear trend of slope s is s (-pre, ..., -1, 1,
# ..., post). They are normal with covariance sigma. The test is passed when no estimate before the reference is
# significant by itself ("individual", the paper's main case), or when their Wald statistic is below its critical
# value ("joint"): of chi-square or, where the covariance is itself an estimate from some clusters of treated units,
# of Hotelling's T^2.


PreTest = Literal["individual", "joint"]

POINTS = 15  # log2 of the points of the integration: probabilities are good to about 1e-5, of one estimate exact


@dataclass(frozen=True, eq=False, slots=True)
class AfterPassing:
    """What a hypothesised difference in trends does to a study whose pre-trends are tested first.

    trend (K,): the difference in trends, with the bias of the untested estimates after the reference period; power: the
    probability that the test finds it; expected (K,): means of the estimates given that it does not, when there is no
    effect (after the reference period: the bias). bayes_factor: probability of passing under the trend over that under
    parallel trends.
    """

    trend: Floats
    power: float
    expected: Floats
    bayes_factor: float


@dataclass(frozen=True, eq=False, slots=True)
class PreTrendPower:
    """A study's pre-trend test: its size, and for each power the linear trend that it finds so often.

    size: probability of rejecting parallel trends; slopes (P,): a period's change of the difference in trends (a
    falling one is found as often); after: what those trends do. likelihood_ratio (P,): of the estimates before the
    reference period, under the trend (of the sign that suits them better) against parallel trends.
    """

    size: float
    slopes: Floats
    after: tuple[AfterPassing, ...]
    likelihood_ratio: Floats


def linear_trend(pre: int, post: int, slope: float = 1.0) -> Floats:
    """A linear difference in trends that is zero at the reference period, (K,)."""
    return slope * np.r_[np.arange(-pre, 0), np.arange(1, post + 1)]


def power(
    sigma: Floats, pre: int, trend: Floats, test: PreTest = "individual", level: float = 0.05, treated: float = np.inf
) -> float:
    """Probability that the test rejects when the difference in trends is `trend` (K,) and the covariance sigma (K, K).

    treated: clusters that hold treated units, for a joint test by Hotelling's T^2; inf where sigma is known. Raises
    BadInput for shapes that do not fit, a covariance that is not positive definite, too few clusters and an unknown
    test.
    """
    _check(sigma, pre, trend, test, level, treated)
    return 1.0 - _passing(sigma[:pre, :pre], trend[:pre], test, level, treated)[0]


def slope_found(
    sigma: Floats, pre: int, share: float, test: PreTest = "individual", level: float = 0.05, treated: float = np.inf
) -> float:
    """The slope a period of the linear trend that the test finds with probability `share`; raises BadInput.

    share lies above the test's size and below one. treated: see `power`.
    """
    from scipy.optimize import brentq  # a tenth of a second that most runs do without

    unit = linear_trend(pre, len(sigma) - pre)
    size = power(sigma, pre, 0.0 * unit, test, level, treated)
    if not size < share < 1.0:
        raise bad(f"power = {share}", where="pre-trend test", allowed=f"above the test's size of {size:.4f}, below 1",
                  remedy="ask for another power")  # fmt: skip
    high = float(np.sqrt(sigma.diagonal()[:pre]).min())
    while power(sigma, pre, high * unit, test, level, treated) < share:
        high *= 2.0
    found = brentq(lambda slope: power(sigma, pre, slope * unit, test, level, treated) - share, 0.0, high, xtol=1e-14)
    return float(found)


def after_passing(
    sigma: Floats, pre: int, trend: Floats, test: PreTest = "individual", level: float = 0.05, treated: float = np.inf
) -> AfterPassing:
    """Means of all estimates given that the test is passed (Roth 2022, proposition 1); raises BadInput.

    After the reference period the mean is trend_post + sigma_21 sigma_11^-1 (E[estimate_pre | passed] - trend_pre).
    treated: see `power`.
    """
    _check(sigma, pre, trend, test, level, treated)
    own = sigma[:pre, :pre]
    probability, mean = _passing(own, trend[:pre], test, level, treated)
    parallel = _passing(own, np.zeros(pre), test, level, treated)[0]
    later = trend[pre:] + sigma[pre:, :pre] @ np.linalg.solve(own, mean - trend[:pre])
    return AfterPassing(trend, 1.0 - probability, np.r_[mean, later], probability / parallel)


def pretrend_power(
    beta: Floats,
    sigma: Floats,
    pre: int,
    powers: tuple[float, ...] = (0.5, 0.8),
    test: PreTest = "individual",
    level: float = 0.05,
    treated: float = np.inf,
) -> PreTrendPower:
    """The report on estimates beta (K,) with covariance sigma (K, K), the first `pre` of them before the reference.

    treated: see `power`. Raises BadInput for shapes that do not fit, a covariance that is not positive definite, too
    few clusters and an unknown test.
    """
    _check(sigma, pre, beta, test, level, treated)
    slopes = np.array([slope_found(sigma, pre, share, test, level, treated) for share in powers])
    unit = linear_trend(pre, len(beta) - pre)
    precision = np.linalg.solve(sigma[:pre, :pre], np.column_stack([beta[:pre], unit[:pre]]))
    size = power(sigma, pre, 0.0 * unit, test, level, treated)
    ratio = np.exp(np.abs(slopes * (unit[:pre] @ precision[:, 0])) - slopes**2 * (unit[:pre] @ precision[:, 1]) / 2)
    after = tuple(after_passing(sigma, pre, slope * unit, test, level, treated) for slope in slopes)
    return PreTrendPower(size, slopes, after, ratio)


def _check(sigma: Floats, pre: int, values: Floats, test: str, level: float, treated: float) -> None:
    k = len(values)
    faults = {
        f"sigma has shape {sigma.shape}, the estimates {values.shape}": sigma.shape != (k, k) or values.ndim != 1,
        f"pre = {pre}": not 1 <= pre <= k,
        f"test = {test!r}": test not in get_args(PreTest),
        f"level = {level}": not 0 < level < 1,
        f"{treated} clusters of treated units": not treated > pre,
    }
    for fault, present in faults.items():
        if present:
            raise bad(fault, where="pre-trend test", remedy="correct it",
                      allowed=f"sigma (K, K), 1 <= pre <= K, pre < clusters, {one_of(get_args(PreTest))}")  # fmt: skip
    try:
        np.linalg.cholesky(sigma[:pre, :pre])
    except np.linalg.LinAlgError:
        raise bad("the covariance of the estimates is not positive definite", where="pre-trend test",
                  allowed="more clusters than estimates",
                  remedy="shorten the window of event times") from None  # fmt: skip


@np.errstate(invalid="ignore")  # so far off that none passes, there is no mean: the search for a slope looks there too
def _passing(sigma: Floats, mean: Floats, test: PreTest, level: float, treated: float) -> tuple[float, Floats]:
    """Probability that normal estimates (P,) pass, and their means given that they do, (P,).

    T^2 / (treated - 1) is the ratio of b' sigma^-1 b to an independent chi-square with treated - P degrees of freedom.
    """
    if test == "joint":
        k, rest, far = len(mean), treated - len(mean), float(mean @ np.linalg.solve(sigma, mean))
        if np.isfinite(rest):
            limit = float(fdtri(k, rest, 1.0 - level))
            probability = float(ncfdtr(k, rest, far, limit))
            return probability, mean * ncfdtr(k + 2, rest, far, limit * k / (k + 2)) / probability
        limit = float(chdtri(k, level))
        probability = float(chndtr(limit, k, far))
        return probability, mean * chndtr(limit, k + 2, far) / probability
    half = ndtri(1.0 - level / 2.0) * np.sqrt(sigma.diagonal())
    return _in_box(np.linalg.cholesky(sigma), mean, -half - mean, half - mean)


def _in_box(root: Floats, mean: Floats, low: Floats, high: Floats) -> tuple[float, Floats]:
    """Probability that root z, z standard normal, lies between low and high, and the mean of mean + root z if it does.

    One coordinate after the other is drawn within its bounds, given those before (Genz 1992), from the same
    quasi-random points whatever the arguments; the last one is integrated exactly.
    """
    k = len(mean)
    points = _points(k - 1)
    z = np.zeros((len(points), k))
    weight = np.ones(len(points))
    for j in range(k):
        given = z[:, :j] @ root[j, :j]
        lower, upper = (low[j] - given) / root[j, j], (high[j] - given) / root[j, j]
        mirrored = lower + upper > 0  # work in the tail where probabilities keep their digits
        lower, upper = np.where(mirrored, -upper, lower), np.where(mirrored, -lower, upper)
        start, end = ndtr(lower), ndtr(upper)
        inside = np.maximum(end - start, 1e-300)
        if j < k - 1:
            draw = ndtri(np.maximum(start + points[:, j] * inside, 1e-300))
        else:
            draw = (np.exp(-np.square(lower) / 2) - np.exp(-np.square(upper) / 2)) / np.sqrt(2 * np.pi) / inside
        z[:, j] = np.where(mirrored, -draw, draw)
        weight *= inside
    return float(weight.mean()), mean + root @ (weight @ z / weight.sum())


@cache
def _points(axes: int) -> Floats:
    """Points of the unit cube, (M, axes): Sobol's, scrambled once and for all."""
    if axes == 0:
        return np.zeros((1, 0))
    from scipy.stats import qmc  # half a second of imports that nothing else needs

    return np.asarray(qmc.Sobol(axes, scramble=True, rng=1).random_base2(POINTS))


MOST = 20.0  # breakdown value that stands for all larger ones
TERMS = ("pre-trend", "breakdown:first", "breakdown:mean")


@dataclass(frozen=True, eq=False, slots=True)
class EventTimes:
    """Effects by event time around the reference period -1 and their clustered covariance.

    events (P,): without -1, ascending and without gaps; estimate (P,); covariance (P, P). fewest: clusters that hold
    treated units, or units compared with, whichever are fewer. without_error: of the event times beside the reference
    period, -2 and 0, those without an error where both have an estimate.
    """

    events: NDArray[np.int_]
    estimate: Floats
    covariance: Floats
    fewest: int
    without_error: tuple[int, ...] = ()

    @classmethod
    def of(cls, estimator: CallawaySantAnna, panel: Panel) -> EventTimes:
        """Of one panel: the window's event times that have an error, next to the reference period without gaps."""
        return cls.each(estimator, panel)[0]

    @classmethod
    def each(cls, estimator: CallawaySantAnna, panel: Panel) -> list[EventTimes]:
        """Of every replication of a panel, whose treatment is the same in all; each with the bits that it has alone."""
        reduction = estimator.reduction(panel.schema)
        plan, certain = reduction.plan(panel), np.isfinite(estimator(panel).se[:, 0])
        answers = [reduction.answer(panel.replication(row), plan) for row in range(panel.replications)]
        named = [event_of(term) for term in estimator.layout(panel.schema).terms]
        error = estimator.errors[0]
        clusters = unit_clusters(error, panel)
        ever = panel.variables[str(panel.roles.treatment)][0].any(axis=0)
        cohorts = Cohorts.of(panel, str(panel.roles.treatment), estimator.name)
        beside = cohorts.never if estimator.controls == "never" else cohorts.later
        fewest = fewest_clusters(ever, beside, error, panel)
        found = []
        for (estimates, influences), sound in zip(answers, certain, strict=True):
            estimate, sums = estimates[0], sums_within(influences[0], clusters)  # (K,); (K, G)
            estimated = {event for event, value in zip(named, estimate, strict=True) if np.isfinite(value)}
            known = {event: k for k, event in enumerate(named) if event is not None and sound[k]}
            early, late = -2, 0
            while early in known:
                early -= 1
            while late in known:
                late += 1
            events = [event for event in range(early + 1, late) if event != -1]
            places = [known[event] for event in events]
            lacking = tuple(event for event in (-2, 0) if event not in known) if {-2, 0} <= estimated else ()
            covariance = sums[places] @ sums[places].T
            found.append(cls(np.array(events, dtype=np.int_), estimate[places], covariance, fewest, lacking))
        return found

    @property
    def pre(self) -> int:
        """How many event times lie before the reference period."""
        return int((self.events < 0).sum())

    @property
    def lacking(self) -> str:
        """Why there are not event times with an error on both sides of the reference period."""
        if not self.without_error:
            return "they need event times before and after adoption"
        return (
            f"there is no error of {' and '.join(f'event({event})' for event in self.without_error)}: an error needs "
            "two or more clusters of treated units and two or more clusters of comparison units"
        )

    def pretrend(self) -> tuple[float, float, float]:
        """Wald statistic of no effect before adoption, its chi-squared p value and that of Hotelling's T^2."""
        own = self.covariance[None, : self.pre, : self.pre]
        wald, usual, hotelling = pretrend_tests(self.estimate[None, : self.pre], own, np.inf, self.fewest)[0]
        return float(wald), float(usual), float(hotelling)


def reference_estimator(core: Panel, errors: tuple[str, ...]) -> CallawaySantAnna:
    """Against never treated units, or against those not treated yet where all are treated in the end."""
    never = bool((core.variables[str(core.roles.treatment)][0] == 0).all(axis=0).any())
    return CallawaySantAnna(controls="never" if never else "not-yet", base="universal", errors=errors[:1])


def core_of(panel: Panel, treatment: str, asked_by: str) -> Panel:
    """A balanced panel without units that are treated from the first period on; raises BadInput where dates are not
    final."""
    cohorts = Cohorts.of(panel, treatment, asked_by)
    return part(panel, cohorts.first > 0, np.ones(len(panel.periods), dtype=bool))


def breakdowns(path: EventTimes, tolerance: float = 1e-8) -> tuple[float, float]:
    """The Mbar of relative magnitudes at which the effect of the first period after adoption, and the mean over all
    later event times, are not told from zero (Rambachan and Roth 2023); tolerance: relative one. Raises BadInput
    without event times on both sides."""
    post = len(path.events) - path.pre
    weights = (np.eye(1, post)[0] if post else np.zeros(0), np.full(post, 1.0 / max(post, 1)))
    questions = (BoundsQuestion(path.estimate, path.covariance, path.pre, own) for own in weights)
    first, mean = (breakdown(one, "relative magnitudes", tolerance=tolerance) for one in questions)
    return first, mean


@dataclass(frozen=True, slots=True)
class TrendEvidence(Estimator):
    """The joint pre-trend test of cohort-wise effects, and on request the breakdown values of their bounds.

    Terms: pre-trend, the |z| of the test's p value (that of Hotelling's T^2); breakdown:first and breakdown:mean, the
    Mbar of relative magnitudes for the first period after adoption and for the mean, at most 20, without an error. The
    test's target says in which worlds nothing is treated. Units treated from the first period on are left out. Of fewer
    treated units than event times before adoption there is no joint test, but breakdown values there are.

    outcome, treatment: names of variables; None = the panel's own roles. error: cluster:unit or cluster:ATTRIBUTE.
    bounds: whether there are breakdown values, of some tens of milliseconds each. tolerance: relative one of these.
    label: its name in tables.
    """

    kind: ClassVar[str] = "trend-evidence"
    # home: one cohort, and controls that are redrawn; no term is an estimate
    home: ClassVar[Home] = (Paper(calendar="single", redraw=("controls",)), ())

    outcome: str | None = None
    treatment: str | None = None
    error: str = "cluster:unit"
    bounds: bool = False
    tolerance: float = 1e-8
    label: str = "trend-evidence"

    def layout(self, schema: Schema) -> Layout:
        """The test, and breakdown values on request."""
        for name in self.variables(schema):
            schema.require(name, self.name)
        check_clusters((self.error,), schema, self.name)
        terms = TERMS if self.bounds else TERMS[:1]
        return Layout(terms, (self.error,), (), {TERMS[0]: "att"}, tests=True, perhaps=terms)

    def variables(self, schema: Schema) -> frozenset[str]:
        """Outcome and treatment; raises BadInput for weights."""
        self.weight(schema)
        return frozenset((outcome_of(self.outcome, schema, self.name), treatment_of(self.treatment, schema, self.name)))

    def __call__(self, panel: Panel, streams: Streams | None = None) -> Estimates:
        """One replication at a time; raises BadInput for a real panel that cannot serve."""
        layout = self.layout(panel.schema)
        outcome = outcome_of(self.outcome, panel.schema, self.name)
        treatment = treatment_of(self.treatment, panel.schema, self.name)
        roles = replace(panel.roles, outcome=outcome, treatment=treatment, controls=(), mediators=())
        bare = replace(panel, variables={name: panel.variables[name] for name in (outcome, treatment)}, roles=roles,
                       weights={})  # fmt: skip
        found = []
        for path in self._paths(bare):
            try:
                if isinstance(path, BadInput):
                    raise path
                pvalue = path.pretrend()[2] if path.pre else float("nan")
                values = [abs(float(ndtri(pvalue / 2.0)))]
                if self.bounds:
                    values += [min(value, MOST) for value in breakdowns(path, self.tolerance)]
                se = np.where(np.arange(len(values)) == 0, 1.0, np.nan)[None, None]
                told = status_where(np.isfinite(values[1:] or values).all(keepdims=True))
                df = np.full(se.shape, np.inf)
                found.append(Estimates.of(layout, np.array(values)[None], se, df, {}, status=told))
            except BadInput:
                if panel.replications == 1:
                    raise
                found.append(Estimates.failed(layout, Status.REFUSED))
        return Estimates.join(found)

    def _paths(self, panel: Panel) -> Iterator[EventTimes | BadInput]:
        """Of every replication, together where all have one treatment; or why there is none."""
        treatment = str(panel.roles.treatment)
        alike = len(panel.variables[treatment]) == 1 and (panel.observed is None or len(panel.observed) == 1)
        for one in [panel] if alike else [panel.replication(row) for row in range(panel.replications)]:
            try:
                core = core_of(one, treatment, self.name)
                yield from EventTimes.each(reference_estimator(core, (self.error,)), core)
            except BadInput as refusal:
                yield from [refusal] * one.replications
