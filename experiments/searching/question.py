"""What a search asks: a measure of one estimator's term, and the level that it is to cross."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
from scipy.special import ndtri

from estimators.core.estimator import Layout
from results.diagnosis.diagnose import PROPORTIONS
from results.report.bias_table import key_terms
from sim.errors import BadInput, Problem, bad, closest, one_of

MEASURES = ("coverage", "size", "power", "rejection", "bias", "type_s")
REJECTIONS = ("size", "power", "rejection")  # names of one measure: where the truth is 0, where it is not, either
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
        of = f"of {self.term} by {self.estimator}" + (f" ({self.error} errors)" if self.error else "")
        level = f"{100 * self.level:g}%" if self.column in PROPORTIONS or self.share else f"{self.level:g}"
        size = " of the effect" if self.share else ""
        name = "the absolute bias" if self.measure == "bias" else f"the {self.measure.replace('_', ' ')}"
        return f"{name} {of} {'rises above' if RISES[self.measure] else 'falls below'} {level}{size}"

    @property
    def whole_measure(self) -> str:
        """The measure and its object, without the level."""
        return f"{self.measure} of {self.term} by {self.estimator}" + (f" ({self.error} errors)" if self.error else "")

    def value(self, frame: pd.DataFrame) -> tuple[float, float]:
        """The measure and its Monte Carlo error, of the one cell of a diagnosis; raises BadInput without one."""
        rows = frame[(frame["estimator"] == self.estimator) & (frame["term"] == self.term) & (frame["sample"] == "own")]
        found = {(row["measure"], row["error"]): row for row in rows.to_dict("records")}
        row, truth = found.get((self.column, self.error)), found.get(("truth", ""))
        if row is None or not math.isfinite(row["value"]):
            raise bad(f"there is no {self.measure} of {self.term}", where="search",
                      allowed="a measure that the estimator has in this design",
                      remedy="choose another measure")  # fmt: skip
        mean = 0.0 if truth is None else abs(float(truth["value"]))
        if self.measure == "size" and mean:
            raise bad(f"the truth of {self.term} is {mean:g}", where="search", allowed="size where the truth is 0",
                      remedy="set the effect to 0, or ask for power")  # fmt: skip
        if self.share and not mean:
            raise bad(f"the truth of {self.term} is 0", where="search", allowed="a share of a truth that is not 0",
                      remedy="set an effect, or give the bias as a number")  # fmt: skip
        scale = mean if self.share else 1.0
        return float(row["value"]) / scale, float(row["mcse"]) / scale

    def distance(self, value: float, mcse: float, n: int) -> tuple[float, float]:
        """How far a value lies from the level, and the standard error of that: 0 at the level.

        Shares on the probit scale, in which power is linear in the effect; biases relative to the level.
        """
        if self.column not in PROPORTIONS:
            return abs(value) / self.level - 1.0, mcse / self.level
        inner = (value * n + 0.5) / (n + 1.0)
        z = float(ndtri(inner))
        return z - float(ndtri(self.level)), mcse * math.sqrt(2 * math.pi) * math.exp(z * z / 2)


def question_of(text: str, layouts: Mapping[str, Layout], estimator: str | None, term: str | None, error: str | None,
                where: str) -> Question:  # fmt: skip
    """From "power:0.8", "coverage:0.90" or "bias:25%"; raises BadInput with all that is wrong.

    By default the first estimator's first key term with its first error type.
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
    if chosen not in layout.terms:
        problems.append(Problem(f"term {chosen!r}", "--term", one_of(layout.terms), closest(chosen, layout.terms)))
    kind = "" if measure == "bias" else error or (layout.errors[0] if layout.errors else "")
    if kind and kind not in layout.errors:
        problems.append(Problem(f"error type {kind!r}", "--error", one_of(layout.errors), closest(kind, layout.errors)))
    if problems:
        raise BadInput(*problems)
    return Question(measure, number, share and measure == "bias", name, chosen, kind)


def _number(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        return math.nan
    return found if math.isfinite(found) else math.nan
