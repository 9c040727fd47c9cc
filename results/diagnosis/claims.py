"""What a study asks of its estimators: which measure of which terms, and which departure matters in practice."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, Literal, get_args

from scipy.special import betainc, ndtr, stdtr, stdtrit

from estimators.core.estimator import Layout
from results.diagnosis.measures import Z95
from sim.errors import BadInput, Problem, closest, one_of

Measure = Literal["bias", "coverage", "size", "power", "screen"]
MEASURES: tuple[str, ...] = get_args(Measure)
BIAS = 0.2  # standard errors of the estimator: 95% intervals that are this far off cover 94.5%
MOST_FAILED = 0.01  # of fits: whatever the lost fits would have given, a share moves by no more than this
POWER = 0.80  # the power of a minimum detectable effect


@dataclass(frozen=True, slots=True)
class Claim:
    """A question that the verdict answers. It says how results are judged and changes none of them.

    measure: "bias" in standard errors of the estimator, "coverage" of intervals, "size" of tests where the truth is 0,
    "power" with the smallest effect that is found in 80% of panels, "screen" for the tests that an estimator makes
    before it is believed, such as one of pre-trends, and the bias of the fits that pass. terms: judged in every
    estimator that has them; () = its key terms. estimators, errors: those that are judged; () = all. over: the dial
    along which answers are given. tolerance: the departure that still does not matter, in standard errors for bias and
    as a share for coverage and size; None = .2 standard errors, and half of the level for shares.

    Raises BadInput for values that make no sense.
    """

    measure: Measure
    terms: tuple[str, ...] = ()
    estimators: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    over: str = ""
    tolerance: float | None = None

    def __post_init__(self) -> None:
        where, problems = "claim", []
        if self.measure not in MEASURES:
            problems.append(Problem(f"measure = {self.measure!r}", where,
                                    one_of(MEASURES, self.measure, "`panelproof kinds`"),
                                    closest(self.measure, MEASURES)))  # fmt: skip
        if self.tolerance is not None and not self.is_judged:
            problems.append(Problem(f"tolerance of {self.measure}, which is stated and not judged", where,
                                    "a tolerance of bias, coverage or size", "leave tolerance out"))  # fmt: skip
        if self.tolerance is not None and not 0 < self.tolerance < (float("inf") if self.measure == "bias" else 1):
            allowed = "a number above 0" if self.measure == "bias" else "a share above 0 and below 1, such as 0.02"
            problems.append(Problem(f"tolerance = {self.tolerance}", where, allowed, "correct the number"))
        if self.errors and not self.has_errors:
            problems.append(Problem(f"errors of {self.measure}, which is the same for all error types", where,
                                    "no errors", "leave errors out"))  # fmt: skip
        if problems:
            raise BadInput(*problems)

    @property
    def is_judged(self) -> bool:
        """Whether a departure can fail the claim; power and screens are only stated."""
        return self.measure in ("bias", "coverage", "size")

    @property
    def has_errors(self) -> bool:
        """Whether error types differ in the measure."""
        return self.measure in ("coverage", "size", "power")

    def nominal(self, alpha: float) -> float:
        """What is promised at a level alpha of tests and intervals: no bias, coverage 1 - alpha, rejection alpha."""
        return {"bias": 0.0, "coverage": 1 - alpha}.get(self.measure, alpha)

    def limit(self, alpha: float) -> float:
        """The tolerance at a level alpha of tests and intervals."""
        if self.tolerance is not None:
            return self.tolerance
        return BIAS if self.measure == "bias" else alpha / 2

    @property
    def settings(self) -> dict[str, Any]:
        """Plain data of what is stated, from which `Claim(**settings)` or a table [[claims]] makes it again."""
        held = {item.name: getattr(self, item.name) for item in fields(self)}
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in held.items()}
        return {name: value for name, value in plain.items() if value not in ([], "", None)}

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Claim:
        """From plain data as `settings` gives it."""
        held: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()
        }
        return cls(**held)


DEFAULTS = (Claim("bias"), Claim("coverage"), Claim("size"), Claim("power"))  # of a study that states none
NUISANCE = frozenset({"rho", "lambda", "sigma2"})  # parameters of the errors and of dependence, not effects
PARTS_OF_AN_EFFECT = ("event(", "overall:")  # of which `overall` is the sum


def terms_of(claim: Claim, layout: Layout, key_terms: Iterable[str]) -> tuple[str, ...]:
    """The terms of an estimator that a claim is about; none where the claim names others.

    Where it names none, of the key terms effects and slopes, or all where there are none.
    """
    if claim.terms:
        return tuple(term for term in layout.terms if term in claim.terms)
    found = tuple(key_terms)
    if "overall" in found:
        found = tuple(term for term in found if not term.startswith(PARTS_OF_AN_EFFECT))
    return tuple(term for term in found if term not in NUISANCE) or found


# When a measure is called off by more than its tolerance, over all that a study judges at once, and what that
# takes.
#
# Nominal value m, tolerance d. A measure departs too much where it lies beyond one of the edges m - d and m + d:
# tests of both edges, whose p value is twice the smaller one, and over all judgements of a study Holm's (1979,
# Scandinavian Journal of Statistics 6:65) adjustment. It holds where its 95% Monte Carlo interval lies between the
# edges: both one-sided tests of non-equivalence reject at 2.5% (Wellek 2010, Testing Statistical Hypotheses of
# Equivalence and Noninferiority). All cells of a verdict must hold, so that this part needs no adjustment (Berger
# 1982, Technometrics 24:295).


FAMILYWISE = 0.05  # chance that a study in which nothing lies beyond its tolerance says "fails" somewhere
ROUNDING = 1e-12  # of shares and of standard errors: an end of an interval this near an edge lies on it
MOST = 1e9  # replications, beyond which nobody goes


@cache
def interval_point(worlds: int) -> float:
    """Monte Carlo errors on either side of a 95% interval: 1.96, or the point of t where worlds are few."""
    return float(stdtrit(worlds - 1, 0.975)) if worlds > 1 else Z95


def within(lower: float, upper: float, tolerance: float) -> bool:
    """Whether an interval of departures lies between the edges, which belong to what is tolerated; not if NaN."""
    return -tolerance - ROUNDING <= lower and upper <= tolerance + ROUNDING


def beyond(lower: float, upper: float, tolerance: float) -> bool:
    """Whether an interval of departures lies wholly beyond an edge."""
    return lower > tolerance + ROUNDING or upper < -tolerance - ROUNDING


def beyond_mean(value: float, mcse: float, worlds: int, tolerance: float) -> float:
    """The p value of a mean's departure against the nearer edge, twice that of one side; 1 between the edges."""
    over = abs(value) - tolerance
    if not over > ROUNDING:
        return 1.0
    return min(1.0, 2 * _tail(over / mcse if mcse > 0 else math.inf, worlds))


def beyond_share(value: float, mcse: float, n: float, worlds: int, low: float, high: float) -> float:
    """The p value of a share against the nearer of the edges low and high, twice that of one side; 1 between them.

    mcse, n: its Monte Carlo error and fits. The error is the one that the edge implies, as much wider than that of
    independent fits as the share's own is; the larger of the p values of t and of the binomial distribution with as
    many fits as the error is worth counts, because a share near 0 or 1 is not normal.
    """
    edge = high if value > high else low
    if low - ROUNDING <= value <= high + ROUNDING or not 0 < edge < 1:
        return 1.0
    fits = min(n, value * (1 - value) / mcse**2) if 0 < value < 1 and mcse > 0 else n
    score = abs(value - edge) * math.sqrt(fits / (edge * (1 - edge)))
    hits = fits * value
    exact = betainc(hits, fits - hits + 1, edge) if value > high else betainc(fits - hits, hits + 1, 1 - edge)
    return min(1.0, 2 * max(_tail(score, worlds), float(exact)))


def _tail(score: float, worlds: int) -> float:
    return float(stdtr(worlds - 1, -score) if worlds > 1 else ndtr(-score))


def fits_needed(nominal: float, tolerance: float, *, share: bool, cells: int = 1, worlds: int = 1,
                at: float | None = None) -> float:  # fmt: skip
    """Independent fits a cell with which all of so many cells are told right in 80% of studies; infinite if never.

    To tell right is an interval between the edges, or beyond the nearer one where the measure really lies there. share:
    whether the measure is one, else a bias in standard errors of the estimator. worlds: behind an interval, whose point
    of t is that of as many. at: what the measure really is in every cell; None: the nominal value.
    """
    real = nominal if at is None else at
    spread = max(math.sqrt(max(real * (1 - real), 0.0)), ROUNDING) if share else 1.0
    edges = [(abs(edge - real), math.sqrt(max(edge * (1 - edge), 0.0)) if share else 1.0)
             for edge in (nominal - tolerance, nominal + tolerance) if not share or 0 < edge < 1]  # fmt: skip
    nearest = min(edges, default=(math.inf, 0.0))
    if not nearest[0] > ROUNDING:
        return math.inf
    if abs(real - nominal) > tolerance:
        edges = [nearest]
    point, wanted = interval_point(worlds), POWER ** (1 / cells)

    def is_enough(n: float) -> bool:
        parts = [float(ndtr((far * math.sqrt(n) - point * own) / spread)) for far, own in edges]
        return sum(parts) - (len(parts) - 1) >= wanted

    low, high = 1.0, MOST
    if not is_enough(high):
        return math.inf
    while high / low > 1.001:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high


def replications_needed(fits: float, n: float, inflation: float, worlds: int) -> tuple[float, int]:
    """Replications a cell that are worth so many independent fits, and worlds where only more of them help.

    n, inflation: replications so far and the factor by which worlds widen the variance. Fits of one world have the
    correlation r = (inflation - 1) / (n / G - 1) (Kish 1965), so that n replications in G worlds are worth
    n / (1 + (n / G - 1) r), never more than G / r. Where that is too few the replications are infinite, and the worlds
    those in which as many replications a world as now are worth enough; else the worlds are 0.
    """
    a_world = n / worlds
    if worlds == 1 or inflation <= 1 or a_world <= 1 or math.isinf(fits):
        return fits, 0
    r = min((inflation - 1) / (a_world - 1), 1.0)
    if fits * r < worlds:
        return fits * (1 - r) / (1 - fits * r / worlds), 0
    return math.inf, math.ceil(fits * inflation / a_world)


def about(count: float) -> float:
    """A count with two digits, rounded up."""
    unit = 10.0 ** max(math.floor(math.log10(count)) - 1, 0)
    return math.ceil(count / unit - 1e-9) * unit
