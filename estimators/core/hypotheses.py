"""Tests of linear hypotheses on an estimator's terms, written as users write them.

    did - 2 * inv                one combination, held against 0
    did = 0.02                   against another number; terms may stand on both sides
    did = 0, inv = road          several hypotheses together, by Wald's F
    -0.01 < did < 0.01           equivalence: two one-sided tests (Schuirmann 1987)

A term is written as it is printed; one with signs in its name, such as `a-b`, stands between backticks.

p values of permutation tests and intervals by inverting them, from the statistics of all draws at once.

The hypothesis that a constant effect is c moves the outcome to y - c D. A coefficient that is linear in the outcome is
then b - c g, with g the coefficient of D itself under the same assignment: g = 1 for the real one. p(c) = (1 + number
of draws as extreme as the sample)/(1 + draws), two-sided on absolute values; the sample counts among its draws
(Phipson and Smyth 2010). The interval holds every c that is not rejected at `LEVEL`, up to the first rejected one on
either side of the estimate. Draws without a statistic count as extreme.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, fdtrc, ndtr, stdtr

from estimators.core.estimator import Moments, TermCovariance, critical_values, p_values
from sim.arrays import Flags, Floats
from sim.errors import bad, closest, one_of, refuse, type_problems
from sim.schema import TREATMENT

LEVEL = 0.05  # of intervals
TIE = 1e-9  # distance of two statistics, as a share of their size, that counts as none
DOUBLINGS = 14  # of the distance at which a rejected value is sought; then there is none
BISECTIONS = 50
ROUNDED = 1e-14  # share of its terms' own variances below which that of a combination is rounding


@dataclass(frozen=True, eq=False, slots=True)
class NullTests(Moments):
    """p values of 0 and interval ends, which do not follow from a standard error, (R,) or (R, K) each; NaN where there
    is none, infinite on an endless side."""

    pvalue: Floats
    lower: Floats
    upper: Floats

    @classmethod
    def none(cls, shape: tuple[int, ...]) -> NullTests:
        """No test."""
        return cls(*(np.full(shape, np.nan) for _ in range(3)))

    def where(self, sound: Flags) -> NullTests:
        """The same, NaN elsewhere."""
        return NullTests(*(np.where(sound, values, np.nan) for values in (self.pvalue, self.lower, self.upper)))


def permutation_p_values(real: Floats, drawn: Floats) -> Floats:
    """p of R samples, real (R,), against B draws each, drawn (R, B); NaN where the sample has no statistic.

    Two statistics are equal within `TIE` of the sample's own or of the draws' median, whichever is larger: one that is
    0 but for rounding is 0.
    """
    sizes, own = np.abs(drawn), np.abs(real)[:, None]
    usual = np.median(np.nan_to_num(sizes, posinf=0.0), axis=1, keepdims=True)
    less = sizes < own - TIE * np.maximum(own, usual)
    return np.where(np.isnan(real), np.nan, (1.0 + (~less).sum(axis=1)) / (1.0 + drawn.shape[1]))


def p_value_errors(pvalue: Floats, draws: int) -> Floats:
    """Monte Carlo standard errors sqrt(p (1 - p)/B)."""
    return np.sqrt(pvalue * (1.0 - pvalue) / draws)


@np.errstate(divide="ignore", invalid="ignore")
def linear_interval(real: Floats, drawn: Floats, slope: Floats) -> tuple[Floats, Floats]:
    """Lower and upper ends, (R,), when statistics are linear: real - c against drawn - c slope.

    real (R,), drawn (R, B), slope (1 or R, B). A draw is as extreme as the sample where (drawn - c slope)^2 >= (real -
    c)^2: between the roots (drawn - real)/(slope - 1) and (drawn + real)/(slope + 1) when |slope| < 1, outside them
    when it is larger. Both cases leave a side of c = real at one root and may enter again at the other.
    """
    needed = int(np.floor(LEVEL * (1 + drawn.shape[1]) + TIE))  # least k of extreme draws with (1 + k)/(1 + B) > LEVEL
    gap, total = drawn - real[:, None], drawn + real[:, None]
    small = TIE * np.maximum(np.abs(real)[:, None], np.abs(drawn))
    same = (np.abs(gap) <= small) & (np.abs(slope - 1) <= TIE)
    opposite = (np.abs(total) <= small) & (np.abs(slope + 1) <= TIE)
    always = same | opposite | ~np.isfinite(drawn)
    roots = np.stack([gap / (slope - 1), total / (slope + 1)])
    roots[:, always] = np.nan
    roots -= real[:, None]
    inside = np.broadcast_to((np.abs(slope) < 1) | (slope == -1), drawn.shape)  # at -1 the far root is total / +0
    ends = [_first_exit(side * roots, inside, needed) for side in (-1.0, 1.0)]
    return real - ends[0], real + ends[1]


def _first_exit(roots: Floats, inside: NDArray[np.bool_], needed: int) -> Floats:
    """Least distance >= 0 beyond which fewer than `needed` draws are extreme, (R,), on the side where roots (2, R, B)
    are positive; infinite when that never happens.
    """
    near, far = np.fmin(*roots), np.fmax(*roots)
    if needed <= 0:
        return np.full(near.shape[0], np.inf)
    if inside.all():  # draws only leave: the value is where so many have left
        leaves = np.where(np.isfinite(far), np.maximum(far, 0.0), np.inf)
        return np.partition(leaves, leaves.shape[1] - needed, axis=1)[:, leaves.shape[1] - needed]
    ahead = near + far > 0  # outside the roots both lie on one side of the estimate
    leaves = np.where(inside, far, np.where(ahead, near, np.nan))
    enters = np.where(~inside & ahead, far, np.nan)
    enters[~np.isfinite(leaves)] = np.nan
    leaves = np.maximum(leaves, 0.0)
    places = np.concatenate([enters, leaves], axis=1)  # who enters counts before who leaves at the same place
    places = np.where(np.isfinite(places), places, np.inf)
    change = np.concatenate([np.ones_like(enters), -np.ones_like(leaves)], axis=1)
    order = np.argsort(places, axis=1, kind="stable")
    sorted_places = np.take_along_axis(places, order, axis=1)
    change = np.where(np.isinf(sorted_places), 0.0, np.take_along_axis(change, order, axis=1))
    extreme = near.shape[1] + np.cumsum(change, axis=1)
    rejected = extreme < needed
    first = np.where(rejected.any(axis=1), rejected.argmax(axis=1), places.shape[1] - 1)
    ends = np.take_along_axis(sorted_places, first[:, None], axis=1)[:, 0]
    return np.where(rejected.any(axis=1), ends, np.inf)


def searched_interval(real: Floats, scale: Floats, pvalue: Callable[[Floats], Floats]) -> tuple[Floats, Floats]:
    """Lower and upper ends, (R,), by doubling and bisection from `scale`, (R,); pvalue maps c (R,) to p (R,)."""
    ends = []
    for side in (-1.0, 1.0):
        inside, outside = np.zeros_like(real), np.where(scale > 0, scale, 1.0)
        found = np.zeros(real.shape, dtype=bool)
        for _ in range(DOUBLINGS):
            found |= pvalue(real + side * outside) <= LEVEL
            if found.all():
                break
            inside, outside = np.where(found, inside, outside), np.where(found, outside, 2 * outside)
        for _ in range(BISECTIONS):
            middle = (inside + outside) / 2
            rejected = pvalue(real + side * middle) <= LEVEL
            inside, outside = np.where(rejected, inside, middle), np.where(rejected, middle, outside)
        ends.append(real + side * np.where(found, (inside + outside) / 2, np.inf))
    return ends[0], ends[1]


Kind = Literal["combination", "joint", "equivalence"]
ALPHA = 0.05
_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|`(?P<quoted>[^`]+)`|(?P<sign>[-+*/()=,<]))"
)
_WORD = re.compile(r"\s*([^-+*/()=,<\s][^-+*/()=,<]*)")
FORMS = 'a combination such as "did - inv", "did = 0.02", "did = 0, inv = 0" or "-0.01 < did < 0.01"'


@dataclass(frozen=True, eq=False, slots=True)
class LinearHypothesis:
    """What is tested: rows of weights (Q, K) on terms (K,), and what each combination is held against, (Q,).

    lower, upper: bounds of equivalence, for that kind alone.
    """

    text: str
    kind: Kind
    weights: Floats
    null: Floats
    lower: float = float("nan")
    upper: float = float("nan")

    @property
    def alone(self) -> int | None:
        """The one term that a single combination is of, None where it is of several."""
        used = np.flatnonzero(self.weights.any(axis=0))
        return int(used[0]) if len(self.weights) == 1 and used.size == 1 else None


@dataclass(frozen=True, slots=True)
class HypothesisTest:
    """The answer to a hypothesis.

    estimate, se: of the combination, None of several together. statistic: t of the combination less the null, F of
    several; of equivalence the smaller t of the two one-sided tests. pvalue: two-sided; of equivalence the larger of
    both. lower, upper: the interval of the combination, of 95%, or of 90% with equivalence, which is shown at 5% where
    it lies within the bounds. dof: of t, or the second of F; inf for the normal distribution. restrictions: how many
    hypotheses are tested together.

    >>> import panelproof as pp
    >>> found = pp.estimate(pp.example_panel())["2", 5].test("did = 0.02")
    >>> print(f"{found.estimate:.4f} ({found.se:.4f}), p = {found.pvalue:.3f}")
    0.0303 (0.0039), p = 0.011
    """

    hypothesis: str
    kind: Kind
    statistic: float
    pvalue: float
    dof: float
    restrictions: int = 1
    estimate: float | None = None
    se: float | None = None
    lower: float | None = None
    upper: float | None = None


def parse_hypothesis(text: str, terms: Sequence[str], where: str = "test", treatment: str = "") -> LinearHypothesis:
    """The hypothesis in a text on an estimator's terms; treatment: what a file calls did, which may stand for it.

    Raises BadInput for names that are no terms, what is not linear, bounds that are reversed, hypotheses that repeat or
    contradict one another, and anything else that is none.
    """
    refuse(type_problems(text, str, "the hypothesis", where=where, allowed=FORMS,
                         remedy='write it as one text, such as "did - inv"'))  # fmt: skip
    reader = _Reader(text, tuple(terms), where, treatment)
    if "<" in text:
        return reader.equivalence()
    parts = reader.equations()
    weights, null = np.array([part[0] for part in parts]), np.array([part[1] for part in parts])
    if len(parts) > 1 and np.linalg.matrix_rank(weights) < len(parts):
        raise bad(f"{text!r}: one hypothesis follows from the others, or contradicts them", where=where,
                  allowed="hypotheses of which none follows from others", remedy="leave one out")  # fmt: skip
    return LinearHypothesis(text.strip(), "joint" if len(parts) > 1 else "combination", weights, null)


class _Reader:
    """Reads sums of multiples of terms from left to right; (K + 1,) vectors hold weights and, last, a number."""

    def __init__(self, text: str, terms: tuple[str, ...], where: str, treatment: str = "") -> None:
        self.text, self.terms, self.where = text, terms, where
        called = (re.sub(rf"\b{TREATMENT}\b", lambda _: treatment or TREATMENT, term) for term in terms)
        self.places = dict(zip(called, itertools.count())) | {term: k for k, term in enumerate(terms)}
        self.tokens = [*self._tokens(), ""]
        self.at = 0

    def fault(self, what: str, remedy: str = "correct the hypothesis") -> Exception:
        """The problem, in one line."""
        return bad(f"{self.text!r}: {what}", where=self.where, allowed=FORMS, remedy=remedy)

    def _tokens(self) -> Iterator[str | float | int]:
        """Signs as text, numbers as float, terms as their positions (int)."""
        longest, at = sorted(self.places, key=len, reverse=True), 0
        while self.text[at:].strip():
            rest = self.text[at:]
            start = at + len(rest) - len(rest.lstrip())
            term = None
            for name in longest:  # that stands there, where no longer word does
                end = self.text[start + len(name) : start + len(name) + 1]
                if self.text.startswith(name, start) and not (end.isalnum() or (end and end in "_:")):
                    term = name
                    break
            found = _TOKEN.match(self.text, at)
            if term is not None:
                yield self.places[term]
                at = start + len(term)
            elif found is not None:
                at = found.end()
                if found["quoted"] is not None:
                    yield self._named(found["quoted"])
                elif found["number"]:
                    if not np.isfinite(number := float(found["number"])):
                        raise self.fault(f"{found['number']} is too large",
                                         "write a number that a computer can hold")  # fmt: skip
                    yield number
                else:
                    yield found["sign"]
            else:
                word = _WORD.match(self.text, at)
                named = word[1] if word else rest
                yield self._named(named.strip())
                at = start + len(named)

    def _named(self, name: str) -> int:
        if name not in self.places:
            raise bad(f"no term {name!r}", where=self.where, allowed=one_of(self.terms, name),
                      remedy=closest(name, self.terms))  # fmt: skip
        return self.places[name]

    def _next(self) -> str | float | int:
        return self.tokens[self.at]

    def _take(self) -> str | float | int:
        self.at += 1
        return self.tokens[self.at - 1]

    def equations(self) -> list[tuple[Floats, float]]:
        """Weights (K,) and null of each combination, or difference of two sides; commas stand between them."""
        found: list[tuple[Floats, float]] = []
        while True:
            left, right = self._sum(), np.zeros(len(self.terms) + 1)
            if self._next() == "=":
                self._take()
                right = self._sum()
            if not left[:-1].any():  # 0.02 = did
                left, right = right, left
            both = left - right if right[:-1].any() else left
            found.append((self._checked(both), float(right[-1] - left[-1])))
            if self._next() != ",":
                break
            self._take()
        if self._next() != "":
            raise self.fault(f"{self._shown(self._next())} stands where nothing can follow")
        return found

    def equivalence(self) -> LinearHypothesis:
        """LOWER < combination < UPPER."""
        bounds: list[Floats] = [self._sum()]
        while self._next() == "<":
            self._take()
            bounds.append(self._sum())
        if len(bounds) != 3 or self._next() != "" or bounds[0][:-1].any() or bounds[2][:-1].any():
            raise self.fault("bounds of equivalence are two numbers", "write it as -0.01 < did < 0.01")
        lower, upper = (float(bound[-1] - bounds[1][-1]) for bound in (bounds[0], bounds[2]))
        if not lower < upper:
            raise self.fault("the lower bound is not below the upper", "write the smaller number first")
        return LinearHypothesis(self.text.strip(), "equivalence", self._checked(bounds[1])[None], np.zeros(1), lower,
                                upper)  # fmt: skip

    def _checked(self, combination: Floats) -> Floats:
        if not combination[:-1].any():
            raise self.fault("it is of no term", f"name one: {one_of(self.terms)}")
        return combination[:-1]

    def _sum(self) -> Floats:
        total = self._product()
        while self._next() in ("+", "-"):
            sign = 1.0 if self._take() == "+" else -1.0
            total = total + sign * self._product()
        return total

    def _product(self) -> Floats:
        value = self._factor()
        while self._next() in ("*", "/"):
            over = self._take() == "/"
            other = self._factor()
            if over and (other[:-1].any() or other[-1] == 0):
                raise self.fault("it divides by a term or by 0")
            if value[:-1].any() and other[:-1].any():
                raise self.fault("it multiplies terms, which is not linear")
            number, rest = (other[-1], value) if not other[:-1].any() else (value[-1], other)
            value = rest / number if over else rest * number
        return value

    def _factor(self) -> Floats:
        token = self._take()
        out = np.zeros(len(self.terms) + 1)
        if token in ("+", "-"):
            return self._factor() if token == "+" else -self._factor()
        if token == "(":
            out = self._sum()
            if self._take() != ")":
                raise self.fault("a bracket is not closed")
        elif isinstance(token, str):
            raise self.fault(f"{self._shown(token)} stands where a term or a number should")
        else:
            out[token if isinstance(token, int) else -1] = 1.0 if isinstance(token, int) else token
        return out

    def _shown(self, token: str | float | int) -> str:
        if token == "":
            return "the end"
        return repr(self.terms[token]) if isinstance(token, int) else repr(token)


# The tests, of one panel.


def combine(estimate: Floats, covariance: TermCovariance, weights: Floats) -> tuple[Floats, Floats]:
    """Combinations (Q,) of the terms of one panel, (K,), and their standard errors (Q,), by weights (Q, K).

    An error is NaN where a term that counts has none, and 0 where it is rounding beside those of the terms.
    """
    counts = weights.any(axis=0)
    matrix = np.where(counts[:, None] & counts, covariance.matrix[0], 0.0)
    variance, alone = np.einsum("qk,kl,ql->q", weights, matrix, weights), np.square(weights) @ np.diagonal(matrix)
    variance = np.where(np.abs(variance) <= ROUNDED * alone, 0.0, variance)
    return weights @ estimate, np.sqrt(np.where(variance >= 0, variance, np.nan))


def hypothesis_test(found: LinearHypothesis, estimate: Floats, covariance: TermCovariance) -> HypothesisTest:
    """The test of a hypothesis on the terms of one panel, (K,); NaN where the combination has no standard error but 0.

    A combination: t with the dof of the error type. Several: F = d' (L V L')^-1 d / Q with Q and dof degrees of
    freedom, chi-square over Q where dof is infinite. Equivalence: t of both one-sided tests. Raises BadInput for a term
    that has no standard error, and for several combinations with a singular covariance.
    """
    own = np.isfinite(np.diagonal(covariance.matrix[0]))
    lacking = np.flatnonzero(~own & found.weights.any(axis=0))
    if lacking.size:
        raise bad(f"the term {covariance.terms[int(lacking[0])]!r} has no standard error", where="test",
                  allowed="terms with one", remedy="choose another error type, or another term")  # fmt: skip
    values, se = combine(estimate, covariance, found.weights)
    dof = np.array([covariance.dof])
    infinite = np.isinf(covariance.dof)

    if found.kind == "joint":
        weights, distance, count = found.weights[:, own], values - found.null, len(values)
        variance = weights @ covariance.matrix[0][own][:, own] @ weights.T
        scale = np.sqrt(np.maximum(np.diagonal(variance), 0.0))  # whose units tell nothing of the rank
        scale = np.where(scale > 0, scale, 1.0)
        variance, distance = variance / np.outer(scale, scale), distance / scale
        if np.linalg.matrix_rank(variance, rtol=1e-10, hermitian=True) < count:
            raise bad(f"{found.text!r}: the covariance of its combinations is singular", where="test",
                      allowed="fewer hypotheses than clusters", remedy="test fewer together")  # fmt: skip
        f = float(distance @ np.linalg.solve(variance, distance)) / count
        tail = chdtrc(count, f * count) if infinite else fdtrc(count, covariance.dof, f)
        return HypothesisTest(found.text, "joint", f, float(tail), covariance.dof, count)

    value, error = float(values[0]), float(se[0])
    level = 2 * ALPHA if found.kind == "equivalence" else ALPHA
    se = np.where(se > 0, se, np.nan)
    margin = float(critical_values(dof, level)[0] * se[0])
    with np.errstate(divide="ignore", invalid="ignore"):
        if found.kind == "equivalence":
            statistic = float(min(values[0] - found.lower, found.upper - values[0]) / se[0])
            pvalue = float(ndtr(-statistic) if infinite else stdtr(covariance.dof, -statistic))
        else:
            statistic = float((values[0] - found.null[0]) / se[0])
            pvalue = float(p_values(np.array([statistic]), dof)[0])
    return HypothesisTest(found.text, found.kind, statistic, pvalue, covariance.dof, 1, value, error, value - margin,
                          value + margin)  # fmt: skip
