"""What a search asks: a measure of one estimator's term, and the level that it is to cross."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import ndtri

from estimators.core.estimator import Layout
from results.diagnosis.diagnose import PROPORTIONS
from results.verdict.bias_table import key_terms
from sim.arrays import Floats
from sim.errors import BadInput, Problem, bad, closest, one_of, refuse

MEASURES = ("coverage", "size", "power", "rejection", "bias", "type_s")
REJECTIONS = ("size", "power", "rejection")  # names of one measure: where the truth is 0, where it is not, either
OF_A_TRUTH = ("coverage", "size", "power", "bias", "type_s")  # what a term that estimates nothing known lacks
OF_AN_ESTIMATE = ("coverage", "bias", "type_s")  # what a test statistic lacks
RISES = {"size": True, "rejection": True, "bias": True, "coverage": False, "power": False, "type_s": True}


@dataclass(frozen=True, slots=True)
class Question:
    """A measure of an estimator's term (and error type, "" where the measure has none) and its level.

    share: whether the level of a bias is a share of the mean truth and not a number.
    """

    measure: str
    level: float
    share: bool
    estimator: str
    term: str
    error: str

    @property
    def column(self) -> str:
        """The measure's name in a diagnosis."""
        return "rejection" if self.measure in REJECTIONS else self.measure

    @property
    def words(self) -> str:
        """The measure and its level, for a sentence."""
        of = f"of {self.term} by {self.estimator}{self.of_errors}"
        level = f"{100 * self.level:g}%" if self.column in PROPORTIONS or self.share else f"{self.level:g}"
        size = " of the effect" if self.share else ""
        name = "the absolute bias" if self.measure == "bias" else f"the {self.said}"
        return f"{name} {of} {'rises above' if RISES[self.measure] else 'falls below'} {level}{size}"

    @property
    def whole_measure(self) -> str:
        """The measure and its object, without the level."""
        return f"{self.said} of {self.term} by {self.estimator}{self.of_errors}"

    @property
    def said(self) -> str:
        """The measure's name in a sentence."""
        return self.measure.replace("_", " ")

    @property
    def of_errors(self) -> str:
        """The error type that an answer is about, in brackets."""
        return f" ({self.error} errors)" if self.error else ""

    @property
    def needs_effect(self) -> bool:
        """Whether the measure is one of a truth that is not 0."""
        return self.share or self.measure in {"power", "type_s"}

    def check_truth(self, truth: Floats, target: str, where: str) -> None:
        """Raise BadInput where the measure cannot be had of some draws of the truth (R,) of an estimand."""
        known = truth[np.isfinite(truth)]
        if not known.size and self.measure in OF_A_TRUTH:
            raise bad(f"the design has no truth of {target}, which {self.term} estimates", where=where,
                      allowed="a term whose truth the design knows, or rejection",
                      remedy="choose another --term")  # fmt: skip
        if self.measure == "size" and known.any():
            raise bad(f"the truth of {self.term} is {abs(float(known.mean())):.4g}", where=where,
                      allowed="size where the truth is 0", remedy="set the effect to 0, or ask for power")  # fmt: skip
        if self.needs_effect and not known.any():
            said = "a share of a truth that is not 0" if self.share else f"{self.said} where the truth is not 0"
            remedy = "give the bias as a number" if self.share else "ask for rejection"
            raise bad(f"the truth of {self.term} is 0", where=where, allowed=said,
                      remedy=f"set an effect, or {remedy}")  # fmt: skip

    def value(self, frame: pd.DataFrame) -> tuple[float, float, int]:
        """The measure, its Monte Carlo error and the number of fits behind it, of the one cell of a diagnosis.

        Raises BadInput without one.
        """
        rows = frame[(frame["estimator"] == self.estimator) & (frame["term"] == self.term) & (frame["sample"] == "own")]
        found = {(row["measure"], row["error"]): row for row in rows.to_dict("records")}
        row, truth = found.get((self.column, self.error)), found.get(("truth", ""))
        if row is None or not math.isfinite(row["value"]):
            raise bad(f"there is no {self.said} of {self.term}{self.of_errors}", where="search",
                      allowed="a measure that the estimator has in this design",
                      remedy="choose another measure or --error")  # fmt: skip
        mean = 0.0 if truth is None else abs(float(truth["value"]))
        if self.share or self.measure == "size":
            self.check_truth(np.array([mean]), self.term, "search")
        scale = mean if self.share else 1.0
        return float(row["value"]) / scale, float(row["mcse"]) / scale, int(row["n"])

    def distance(self, value: float, mcse: float, n: int) -> tuple[float, float]:
        """How far a value of n fits lies from the level, and the standard error of that: 0 at the level.

        Shares on the probit scale, in which power is linear in the effect; biases relative to the level.
        """
        if self.column not in PROPORTIONS:
            return abs(value) / self.level - 1.0, mcse / self.level
        inner = (value * n + 0.5) / (n + 1.0)
        z = float(ndtri(inner))
        return z - float(ndtri(self.level)), mcse * math.sqrt(2 * math.pi) * math.exp(z * z / 2)

    def apart(self, value: float, mcse: float, n: int) -> float:
        """How many standard errors a value of n fits lies from the level; of a share with the error that it has there.

        On the probit scale shares of nearly none or all are so uncertain that their side would never be believed.
        """
        if self.column not in PROPORTIONS:
            return abs(abs(value) - self.level) / mcse if mcse else math.inf
        return abs(value - self.level) / max(mcse, math.sqrt(self.level * (1 - self.level) / n))


def question_of(text: str, layouts: Mapping[str, Layout], estimator: str | None, term: str | None, error: str | None,
                where: str) -> Question:  # fmt: skip
    """From "power:0.8", "coverage:0.90" or "bias:25%"; raises BadInput with all that is wrong.

    By default the first estimator's first key term with its main error type.
    """
    problems: list[Problem] = []
    measure, _, level = text.partition(":")
    if measure not in MEASURES:
        problems.append(Problem(f"measure {measure!r}", where, one_of(MEASURES), closest(measure, MEASURES)))
    share = level.endswith("%")
    number = _number(level.removesuffix("%")) / (100 if share else 1)
    if not number > 0 or (measure != "bias" and not number < 1):
        allowed = "a number above 0" if measure == "bias" else "a share between 0 and 1"
        problems.append(Problem(f"level {level!r}", where, allowed, 'write for instance "coverage:0.90"'))
    name = estimator or next(iter(layouts))
    if name not in layouts:
        problems.append(Problem(f"estimator {name!r}", "--estimator", one_of(layouts), closest(name, tuple(layouts))))
        raise BadInput(*problems)
    layout = layouts[name]
    chosen = term or key_terms(layout)[0]
    kind = error or main_error(layout.errors)
    if chosen not in layout.terms:
        problems.append(Problem(f"term {chosen!r}", "--term", one_of(layout.terms), closest(chosen, layout.terms)))
    if kind and kind not in layout.errors:
        problems.append(Problem(f"error type {kind!r}", "--error", one_of(layout.errors), closest(kind, layout.errors)))
    refuse(problems or _lacking(measure, layout, name, chosen, where))
    return Question(measure, number, share and measure == "bias", name, chosen, "" if measure == "bias" else kind)


def main_error(errors: Sequence[str]) -> str:
    """The error type that answers are about unless another is named: the first clustered one, else the first.

    Of a twin it is the one that its spec clusters by, as `estimate` and `trust` read the claim; "" where there is none.
    """
    clustered = [error for error in errors if error.startswith("cluster:")]
    return next(iter((*clustered, *errors)), "")


def _lacking(measure: str, layout: Layout, estimator: str, term: str, where: str) -> Iterator[Problem]:
    """What an estimator's term never has, whatever is drawn."""
    if layout.tests and measure in OF_AN_ESTIMATE:
        yield Problem(f"{estimator} tests and estimates nothing: it has no {measure}", where, one_of(REJECTIONS),
                      "choose one of them, or another --estimator")  # fmt: skip
    elif term not in layout.targets and measure in OF_A_TRUTH:
        yield Problem(f"{term} of {estimator} has no truth that it could be held to", where,
                      one_of(("rejection", *(f"--term {name}" for name in layout.terms if name in layout.targets))),
                      "choose one of them")  # fmt: skip
    if not layout.errors and measure != "bias":
        yield Problem(f"{estimator} has no error type, so that it has no {measure}", where, "bias",
                      "ask for bias, or choose another --estimator")  # fmt: skip


def _number(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        return math.nan
    return found if math.isfinite(found) else math.nan
