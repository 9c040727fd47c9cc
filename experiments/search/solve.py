"""Solving for a dial, and the departure at which a result breaks down, along one dial or two."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri

from cluster import Executor
from estimators.core.estimator import Layout
from experiments.run.reporting import without_nan
from experiments.run.runner import run, schema_of
from experiments.run.tasks import runner_of
from experiments.search.root import LEVEL, Found, Limits, SearchPoint, search, settled
from experiments.settings import dial_names, value_of
from experiments.study import Study
from results.diagnosis.diagnose import PROPORTIONS, diagnose
from results.store import Store
from results.verdict.verdicts import key_terms
from sim.arrays import Floats
from sim.errors import BadInput, Problem, all_of, bad, closest, number_in, one_of, refuse, type_problems
from sim.streams import TILE

# What a search asks: a measure of one estimator's term, and the level that it is to cross.


MEASURES = ("coverage", "size", "power", "rejection", "bias", "type_s")
REJECTIONS = ("size", "power", "rejection")  # names of one measure: where the truth is 0, where it is not, either
OF_A_TRUTH = ("coverage", "size", "power", "bias", "type_s")  # what a term that estimates nothing known lacks
OF_AN_ESTIMATE = ("coverage", "bias", "type_s")  # what a test statistic lacks
RISES = {"size": True, "rejection": True, "bias": True, "coverage": False, "power": False, "type_s": True}


@dataclass(frozen=True, slots=True)
class SearchQuestion:
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
        """The measure on its way beyond its level, for a sentence."""
        return self.reaching("rises above" if RISES[self.measure] else "falls below")

    def reaching(self, how: str) -> str:
        """The measure and its level with a verb between them, for a sentence."""
        level = f"{100 * self.level:g}%" if self.column in PROPORTIONS or self.share else f"{self.level:g}"
        size = " of the effect" if self.share else ""
        return f"the {'absolute ' * (self.measure == 'bias')}{self.whole_measure} {how} {level}{size}"

    @property
    def whole_measure(self) -> str:
        """The measure and its object, without the level."""
        errors = f" ({self.error} errors)" if self.error else ""
        return f"{self.said} of {self.term} by {self.estimator}{errors}"

    @property
    def said(self) -> str:
        """The measure's name in a sentence."""
        return self.measure.replace("_", " ")

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
            errors = f" ({self.error} errors)" if self.error else ""
            raise bad(f"there is no {self.said} of {self.term}{errors}", where="search",
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
                where: str) -> SearchQuestion:  # fmt: skip
    """From "power:0.8", "coverage:0.90" or "bias:25%"; raises BadInput with all that is wrong.

    By default the first estimator's first key term with its main error type.
    """
    refuse([
        *type_problems(text, str, "measure", where=where, allowed='a text, such as "coverage:0.90"'),
        *type_problems(estimator or "", str, "estimator", where="--estimator", allowed=one_of(layouts)),
    ])  # fmt: skip
    problems: list[Problem] = []
    measure, _, level = text.partition(":")
    if measure not in MEASURES:
        problems.append(Problem(f"measure {measure!r}", where, one_of(MEASURES), closest(measure, MEASURES)))
    share = level.endswith("%")
    number = number_in(level.removesuffix("%")) / (100 if share else 1)
    if not 0 < number < math.inf or (measure != "bias" and not number < 1):
        allowed = "a number above 0" if measure == "bias" else "a share between 0 and 1"
        problems.append(Problem(f"level {level!r}", where, allowed, 'write for instance "coverage:0.90"'))
    name = estimator or next(iter(layouts))
    if name not in layouts:
        problems.append(Problem(f"estimator {name!r}", "--estimator", one_of(layouts, name),
                                closest(name, tuple(layouts))))  # fmt: skip
        raise BadInput(*problems)
    layout = layouts[name]
    chosen = term or key_terms(layout)[0]
    kind = error or main_error(layout.errors)
    if chosen not in layout.terms:
        problems.append(Problem(f"term {chosen!r}", "--term", one_of(layout.terms, chosen),
                                closest(chosen, layout.terms)))  # fmt: skip
    if kind and kind not in layout.errors:
        problems.append(Problem(f"error type {kind!r}", "--error", one_of(layout.errors, kind),
                                closest(kind, layout.errors)))  # fmt: skip
    refuse(problems or _lacking(measure, layout, name, chosen, where))
    return SearchQuestion(measure, number, share and measure == "bias", name, chosen, "" if measure == "bias" else kind)


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


# Measuring at a value of a dial: one store a value, run and resumed by the ordinary runner.
#
# A point is read from the first replications of its store alone, so that a search which is repeated or resumed
# takes the same steps whatever its stores hold already.


BLOCK = 256  # replications stored together in a search: its steps are small
FIRST = 512  # replications of a point of the bracket

Listener = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was measured at values of the dials: the measure, its Monte Carlo error, from n replications in a store.

    fits: of the replications, those that the measure is a mean of.
    """

    dials: Mapping[str, Any]
    value: float
    mcse: float
    n: int
    store: str
    fits: int


@dataclass(eq=False, slots=True)
class Evaluator:
    """Where points of a study are measured.

    study: its grid is left out. folder: of the stores; None keeps them in memory. evaluations: all so far, in order.
    stores: of the points, by name.
    """

    study: Study
    question: SearchQuestion
    folder: Path | None
    executor: Executor | None = None
    listen: Listener | None = None
    evaluations: list[Evaluation] = field(default_factory=list)
    stores: dict[str, Store] = field(default_factory=dict)

    @property
    def first(self) -> int:
        """Replications of a point of the bracket: a tile in every world, in whole blocks."""
        return -(-max(FIRST, self.study.world_count * TILE) // BLOCK) * BLOCK

    def study_at(self, dials: Mapping[str, Any], replications: int) -> Study:
        """The study of one cell; its draws are independent of those of other values."""
        return replace(self.study, grid=tuple((dial, (value,)) for dial, value in dials.items()), block=BLOCK,
                       replications=replications, common_random_numbers=False)  # fmt: skip

    def measure(self, dials: Mapping[str, Any], replications: int) -> Evaluation:
        """The measure at some values of dials, from so many replications in whole blocks; raises BadInput for values
        that it lacks."""
        replications = -(-replications // BLOCK) * BLOCK
        study = self.study_at(dials, replications)
        name, place = self._place(study)
        held = self.stores.get(name)
        if held is None or held.replications < replications:
            held = self.stores[name] = run(study, store=place, executor=self.executor)
        value, mcse, fits = self.question.value(diagnose(held.only(0, range(replications // BLOCK))).frame)
        evaluation = Evaluation(dials, value, mcse, replications, "" if self.folder is None else f"points/{name}", fits)
        if evaluation in self.evaluations:
            return evaluation
        self.evaluations.append(evaluation)
        if self.listen:
            words = ", ".join(
                f"{dial} = {x:g}" if isinstance(x, float) else f"{dial} = {x}" for dial, x in dials.items()
            )
            found = f"{self.question.measure} {value:.4g} (MCSE {mcse:.2g}), {replications:,} replications"
            self.listen(f"{words or 'pilot'}: {found}")
        return evaluation

    def truth(self, dials: Mapping[str, Any]) -> tuple[str, Floats]:
        """The estimand that is asked of, and one tile of its truth at values of the dials; none of a term without."""
        study = self.study_at(dials, BLOCK)
        asked = tuple(item for item in study.estimators if item.name == self.question.estimator)
        study = replace(study, estimators=asked, claims=())  # the others need not be prepared
        target = study.layouts(study.cells[0].design.schema)[self.question.estimator].targets.get(self.question.term)
        return ("", np.empty(0)) if target is None else (target, runner_of(study, 0).draw(0).truth[target])

    def check(self, dials: Mapping[str, Any]) -> None:
        """Raise BadInput for a measure that cannot be had of the truth at values of the dials."""
        target, truth = self.truth(dials)
        if target:
            where = ", ".join(f"{dial} = {value}" for dial, value in dials.items())
            self.question.check_truth(truth, target, where)

    def probe(self, dials: Mapping[str, Any]) -> None:
        """Fit one tile unless that place was measured before; raises BadInput where fits that succeed have no such
        measure, as of an error type without intervals."""
        study = self.study_at(dials, TILE)
        name, place = self._place(study)
        if name in self.stores or (place is not None and place.exists()):
            return
        frame = diagnose(run(study, executor=self.executor)).frame
        mine = frame[frame["estimator"] == self.question.estimator]
        if bool(mine[mine["measure"] == "convergence"]["n"].any()):
            column = {"type_s": "rejection"}.get(self.question.column, self.question.column)
            replace(self.question, measure=column, share=False).value(frame)

    def _place(self, study: Study) -> tuple[str, Path | None]:
        """The name of a point's store, and where it is kept."""
        name = f"{study.cells[0].key or 'all'}.zarr"
        return name, None if self.folder is None else self.folder / "points" / name

    def store_at(self, dials: Mapping[str, Any]) -> Store:
        """The store of a point that was measured."""
        return self.stores[self._place(self.study_at(dials, BLOCK))[0]]

    def along(self, dial: str, others: Mapping[str, Any], whole: bool) -> Callable[[float, int], SearchPoint]:
        """The distance from the level as a function of one dial, the others as given."""

        def measure(x: float, replications: int) -> SearchPoint:
            evaluation = self.measure({**others, dial: int(x) if whole else x}, replications)
            found = evaluation.value, evaluation.mcse, evaluation.fits
            return SearchPoint(x, *self.question.distance(*found), evaluation.n, self.question.apart(*found))

        return measure


def settings_of_rest(study: Study, dials: Sequence[str]) -> list[dict[str, Any]]:
    """The values of the other dials of a study's grid in each of its cells; one empty set without such dials."""
    found: dict[str, dict[str, Any]] = {}
    for cell in study.cells:
        rest = {name: value for name, value in cell.parameters.items() if name not in dials}
        found.setdefault(repr(rest), rest)
    return list(found.values())


# What a search answers: a value with its interval, in a sentence and as plain data.


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """Where a measure crosses its level along a dial, with a 99% interval.

    asks: the measure and level in words, "the coverage of ... falls below 90%". dial: its name. setting: values of the
    other dials. state: found | passed | tied | not reached. value, lower, upper: the dial's value and interval; of a
    state other than found the value at which the search began or ended. whole: the first whole value beyond the
    crossing, of a dial that counts something. replications: of all points. points: all that was measured. note: what a
    reader must know beside it, a sentence with a space before.
    """

    asks: str
    dial: str
    setting: Mapping[str, Any]
    state: str
    value: float
    lower: float
    upper: float
    whole: int | None
    replications: int
    points: tuple[Evaluation, ...] = ()
    note: str = ""

    @property
    def sentence(self) -> str:
        """The answer in plain English."""
        where = "".join(f"{name} = {value}, " for name, value in self.setting.items()).removesuffix(", ")
        head = f"With {where}, {self.asks}" if where else self.asks[:1].upper() + self.asks[1:]
        values = len({tuple(item.dials.items()) for item in self.points})
        work = f"from {self.replications:,} replications" + (f" at {values} values" if values > 1 else "")
        if self.state == "passed":
            return f"{head} already at {self.dial} = {self.value:.4g}, where the search begins, {work}.{self.note}"
        if self.state == "tied":
            place = f"{self.dial} = {self.value:.4g}, where the search begins"
            return f"{head} at {place}, or so near to it that it cannot be told, {work}.{self.note}"
        if self.state == "not reached":
            begin = self.points[0].dials.get(self.dial) if self.points else None
            way = "down" if begin is not None and self.value < begin else "up"
            since = "" if begin in {None, self.value} else f" from {begin:.4g} on"
            return f"{head} nowhere {way} to {self.dial} = {self.value:.4g}{since}, {work}.{self.note}"
        ends = f"{100 * LEVEL:g}% interval {self.lower:.4g} to {self.upper:.4g}"
        first = "" if self.whole in {None, self.value} else f", so at {self.whole:,}"
        return f"{head} at {self.dial} = {self.value:.4g} ({ends}){first}, {work}.{self.note}"

    @property
    def plain(self) -> dict[str, Any]:
        """The answer as JSON has it; numbers that are not there are null."""
        points = [{"dials": dict(item.dials), "value": item.value, "mcse": item.mcse, "replications": item.n,
                   "store": item.store} for item in self.points]  # fmt: skip
        plain: dict[str, Any] = without_nan({
            "asks": self.asks, "dial": self.dial, "setting": dict(self.setting), "state": self.state,
            "value": self.value, "lower": self.lower, "upper": self.upper, "whole": self.whole,
            "replications": self.replications, "sentence": self.sentence, "points": points,
        })  # fmt: skip
        return plain


NAMED = {"effect": ("effect.size", "effect"), "units": ("units",), "periods": ("periods",),
         "treated": ("adoption.treated", "treated")}  # fmt: skip
LEAST = {"units": 4, "periods": 2, "adoption.treated": 1, "treated": 1}  # of dials that count something
MOST_TIMES = 50  # as many units or periods as the study has, at most
FRONTIER = 5  # values of a second dial, its own breakdown left out
SIGNS = {"coverage": 1, "size": -1, "rejection": -1, "bias": -1, "power": 1, "type_s": -1}  # of y where all is well
SPREADS = (
    3.0  # standard deviations of the estimate: the first step along an effect, a little beyond what 80% power takes
)
MOST_SPREADS = 100.0  # of them: as far as a search along an effect goes unless it is told to
LEAST_SPREADS = 0.25  # of them: where it begins for a measure that needs an effect


@dataclass(frozen=True, slots=True)
class Search:
    """How answers are looked for.

    low, high: between which values of the dial, None for the dial's own value and for as far as it takes. precision:
    half the interval over the answer. budget: replications of one answer. second: the last value of a second dial.
    """

    low: float | None = None
    high: float | None = None
    precision: float = 0.02
    budget: int = 200_000
    second: float | None = None


def evaluator_of(
    study: Study, measure: str, folder: Path | None, *, estimator: str | None = None, term: str | None = None,
    error: str | None = None, where: str = "GOAL", executor: Executor | None = None, listen: Listener | None = None,
) -> Evaluator:  # fmt: skip
    """A study with the question that a text asks of it; raises BadInput."""
    question = question_of(measure, schema_of(study).layouts, estimator, term, error, where)
    return Evaluator(study, question, folder, executor, listen)


def dial_of(study: Study, name: str, where: str) -> str:
    """The dial of a name such as effect, units, periods, treated, or of its own; raises BadInput."""
    refuse(type_problems(name, str, "dial", where=where, allowed='the name of a dial, such as "effect"'))
    dials = dial_names(study.design, dict(study.grid))
    for dial in (*NAMED.get(name, ()), name):
        if dial in dials:
            return dial
    short = [short for short, own in NAMED.items() if any(dial in dials for dial in own)]
    near = difflib.get_close_matches(name, dials, n=3, cutoff=0.5)
    raise bad(f"design {study.design.kind!r} has no dial {name!r}", where=where,
              allowed=f"{one_of((*short, *near))}, or another dial that holds a number (all: {all_of(study.design)})",
              remedy=closest(name, (*short, *dials), "name another dial"))  # fmt: skip


def solve(evaluator: Evaluator, dial: str, options: Search) -> list[SearchAnswer]:
    """The value of the dial at which the measure crosses its level, in each cell of the other dials."""
    rests = _possible_rests(evaluator, dial, options)
    asks = evaluator.question.reaching("reaches")
    return [_answer(evaluator, dial, rest, options, asks) for rest in rests]


def breakdown(evaluator: Evaluator, dial: str, options: Search) -> list[SearchAnswer]:
    """The smallest departure along the dial that takes the measure beyond its level, in each cell of other dials."""
    rests = _possible_rests(evaluator, dial, options)
    return [_answer(evaluator, dial, rest, options, evaluator.question.words, breaks=True) for rest in rests]


def _possible_rests(evaluator: Evaluator, dial: str, options: Search) -> list[dict[str, Any]]:
    """The settings of the other dials; raises BadInput, after one tile of fits at most, for what cannot be searched."""
    rests = settings_of_rest(evaluator.study, [dial])
    check_possible(evaluator, dial, rests, options)
    start = start_of(evaluator, dial, options)
    evaluator.probe({**rests[0], dial: int(start) if _counts(evaluator.study, dial) else start})
    return rests


def check_possible(evaluator: Evaluator, dial: str, rests: Sequence[Mapping[str, Any]], options: Search,
                   to: str = "--to") -> None:  # fmt: skip
    """Raise BadInput for a search that cannot be, before anything is fitted: tiles of truths are drawn, no more.

    What `check_settings` refuses, ends that the design does not allow, and a measure that there is not where the search
    begins or goes. to: the option that says where it ends.
    """
    check_settings(evaluator, dial, options, to)
    whole, start = _counts(evaluator.study, dial), start_of(evaluator, dial, options)
    effect, needs = dial in NAMED["effect"], evaluator.question.needs_effect
    beyond = own_value(evaluator.study, dial) or 1.0
    end = beyond if effect and options.high is None else options.high
    if effect and needs and end is not None:
        target, truth = evaluator.truth({**rests[0], dial: start})
        if target and np.isfinite(truth).all() and np.array_equal(truth, evaluator.truth({**rests[0], dial: end})[1]):
            raise bad(f"{dial} does not move the truth of {target}, {truth.mean():.4g}", where="the dial",
                      allowed="a dial that does", remedy="name another dial, or another --term")  # fmt: skip
    ends = [start] if end is None else [start, end]
    for value in ends:
        if not (effect and needs and not value):  # without an effect power is the size; others begin beside it
            for rest in rests:
                evaluator.check({**rest, dial: int(value) if whole else value})


def check_settings(evaluator: Evaluator, dial: str, options: Search, to: str = "--to") -> None:
    """Raise BadInput for what names and settings alone say, before anything is drawn: a dial without a number, ends
    that are none or equal, and a precision or a budget that is none."""
    numbers = {"precision": options.precision, "budget": options.budget, "low": options.low, "high": options.high}
    refuse(
        problem
        for name, value in numbers.items()
        if value is not None or name in ("precision", "budget")
        for problem in type_problems(value, (int, float, np.number), name, where="search", allowed="a number")
    )
    if not 0 < options.precision < 1:
        raise bad(f"precision {options.precision:g}", where="--precision", allowed="above 0, below 1",
                  remedy="correct the number")  # fmt: skip
    if not options.budget >= 1:
        raise bad(f"budget {options.budget:g}", where="--budget", allowed="a whole number from 1",
                  remedy="correct the number")  # fmt: skip
    whole, start = _counts(evaluator.study, dial), start_of(evaluator, dial, options)
    for name, value in (("--from", options.low), (to, options.high)):
        if value is not None and not (math.isfinite(value) and (float(value).is_integer() or not whole)):
            raise bad(f"{dial} = {value:g}", where=name, allowed="a whole number" if whole else "a finite number",
                      remedy="correct the number")  # fmt: skip
    if options.high == start:
        raise bad(f"the search begins at {dial} = {start:g} too", where=to, allowed="another value",
                  remedy="correct it, or say --from")  # fmt: skip


def start_of(evaluator: Evaluator, dial: str, options: Search) -> float:
    """Where a search begins: at no effect, and along another dial at the dial's own value."""
    own = own_value(evaluator.study, dial)
    if options.low is not None:
        return options.low
    return 0.0 if dial in NAMED["effect"] else own


def frontier(evaluator: Evaluator, dial: str, second: str, options: Search) -> list[SearchAnswer]:
    """The breakdown along `dial` for values of a second dial, from its own value up to `options.second`.

    Without that, up to the breakdown along the second dial alone, which is then the last answer, and the only one where
    the result does not break down there. Raises BadInput where the grid has further dials.
    """
    rest = check_frontier(evaluator, dial, second, options)
    evaluator.probe(rest)
    words, end, alone = evaluator.question.words, options.second, list[SearchAnswer]()
    if end is None:
        alone = [_answer(evaluator, second, rest, replace(options, low=None, high=None), words, breaks=True)]
        if alone[0].state != "found":
            note = " Say with --to2 where the frontier ends." if alone[0].state == "not reached" else alone[0].note
            return [replace(alone[0], note=note)]
    begin, last = own_value(evaluator.study, second), alone[0].value if end is None else end
    steps = [begin + (last - begin) * i / FRONTIER for i in range(FRONTIER + (end is not None))]
    whole = _counts(evaluator.study, second)
    values = dict.fromkeys(round(x) if whole else float(f"{x:.6g}") for x in steps)
    return [*(_answer(evaluator, dial, {**rest, second: x}, options, words, breaks=True) for x in values), *alone]


def check_frontier(evaluator: Evaluator, dial: str, second: str, options: Search) -> dict[str, Any]:
    """The setting of the other dials, none of which a grid may have; raises BadInput for what cannot be searched."""
    rests = settings_of_rest(evaluator.study, [dial, second])
    if len(rests) > 1:
        raise bad(f"the grid has other dials: {', '.join(rests[0])}", where="--dial2", allowed="a grid of both dials",
                  remedy="leave the others out of [grid]")  # fmt: skip
    along_second = replace(options, low=None, high=options.second)
    check_settings(evaluator, dial, options)
    check_settings(evaluator, second, along_second, "--to2")
    check_possible(evaluator, dial, rests, options)
    check_possible(evaluator, second, rests, along_second, "--to2")
    return rests[0]


def _answer(evaluator: Evaluator, dial: str, rest: Mapping[str, Any], options: Search, asks: str,
            breaks: bool = False) -> SearchAnswer:  # fmt: skip
    """One search; breaks: for the place where all is no longer well, on the way from where it is."""
    before = len(evaluator.evaluations)
    whole, question = _counts(evaluator.study, dial), evaluator.question
    limits = _limits(evaluator, dial, rest, options, whole)
    sign = SIGNS[question.measure] if breaks else _sign_at_start(question.measure, dial, limits)
    found = search(evaluator.along(dial, rest, whole), limits, sign)
    first = None
    if whole and found.state == "found":
        first = _first_whole(found, limits, question.measure == "power" and not breaks)
    evaluations = tuple(evaluator.evaluations[before:])
    note = _note(found, evaluator, dial, rest, limits, evaluations)
    return SearchAnswer(asks, dial, dict(rest), found.state, found.value, found.lower, found.upper, first,
                        found.replications, evaluations, note)  # fmt: skip


def _sign_at_start(measure: str, dial: str, limits: Limits) -> int:
    """The sign that y has where a search for a level begins, 0 where either may be.

    Along an effect, away from none, power rises and the share of wrong signs falls.
    """
    away = abs(limits.start + limits.step) > abs(limits.start)
    rises = {"power": -1, "type_s": 1}.get(measure, 0) if dial in NAMED["effect"] else 0
    return rises if away else 0


def _first_whole(found: Found, limits: Limits, reached: bool) -> int:
    """The first whole value beyond the crossing, as the search went; reached: the nearest at which y is above 0."""
    up = found.rising if reached else limits.step > 0
    return math.ceil(found.value) if up else math.floor(found.value)


def _note(found: Found, evaluator: Evaluator, dial: str, rest: Mapping[str, Any], limits: Limits,
          evaluations: Sequence[Evaluation]) -> str:  # fmt: skip
    """What a reader must know beside an answer."""
    if found.state == "found" and not found.short:
        return " The interval is wider than --precision asks: raise --budget."
    if found.state == "not reached" and limits.least == limits.start and math.isinf(limits.most):
        with suppress(BadInput):  # as of a spread below 0
            evaluator.check({**rest, dial: limits.start - limits.step})
            return f" Values below {limits.start:.4g} were not tried: a --to below it leads there."
    last = [item for item in evaluations if item.dials[dial] == found.value]
    if found.state not in {"passed", "tied"} or not last:
        return ""
    at, question = max(last, key=lambda item: item.n), evaluator.question
    scale, unit = (100.0, "%") if question.measure != "bias" or question.share else (1.0, "")
    value = f"{scale * abs(at.value):.3g}{unit} (Monte Carlo error {scale * at.mcse:.2g}{unit})"
    if question.measure == "power" and not evaluator.truth(at.dials)[1].any():
        return f" There it is the size of the test: {value} where no effect is."
    return f" There it is {value}."


def _limits(evaluator: Evaluator, dial: str, rest: Mapping[str, Any], options: Search, whole: bool) -> Limits:
    """Where a search begins and how it goes on."""
    worlds = evaluator.study.world_count
    limits = partial(Limits, whole=whole, first=evaluator.first, budget=options.budget, precision=options.precision,
                     freedom=float(worlds - 1) if worlds > 1 else math.inf)  # fmt: skip
    own, start, high = own_value(evaluator.study, dial), start_of(evaluator, dial, options), options.high
    question, effect = evaluator.question, dial in NAMED["effect"]
    # a measure that is none without an effect begins beside it; power is then the size
    beside_none = effect and not start and question.needs_effect and question.measure != "power"
    if high is not None:
        if beside_none:
            beside = LEAST_SPREADS * _spread(evaluator, {**rest, dial: start})
            start = math.copysign(min(beside, abs(high) / 2), high)
        step = (high - start) / 8
        step = math.copysign(max(1.0, abs(step)), step) if whole else step
        return limits(start=start, origin=0.0 if whole or effect else start, step=step, factor=2.0,
                      least=min(start, high), most=max(start, high))  # fmt: skip
    if whole:  # up from a value that is too small for the level, and down from one that is not
        count, units = int(start), evaluator.study.design.schema.units
        # power is largest where half of the units are treated
        far = max(units // 2, count) if dial in NAMED["treated"] else MOST_TIMES * max(count, 1)
        up = limits(start=count, step=max(count, 1), factor=2.0, least=LEAST.get(dial, 0), most=far)
        begin = settled(evaluator.along(dial, rest, True), up, 0)[-1]
        if begin.y * SIGNS[question.measure] < 0:
            return up
        return replace(up, step=-max(count // 2, 1), factor=1.5)
    if effect:  # to the side on which the design's own effect lies
        sd = math.copysign(_spread(evaluator, {**rest, dial: start}) or abs(own) or 1.0, own)
        start = LEAST_SPREADS * sd if beside_none else start
        least, most = sorted((start, start + MOST_SPREADS * sd))
        return limits(start=start, step=SPREADS * sd, factor=2.0, least=least, most=most)
    step = abs(start) / 4 or 0.01
    if not start and dial.startswith("effect."):  # in units of the outcome, as a jump: a step is a part of the spread
        step *= max(_spread(evaluator, {**rest, dial: start}), 1.0)
    return limits(start=start, origin=start, step=step, factor=3.0, least=start)


def _spread(evaluator: Evaluator, dials: Mapping[str, Any]) -> float:
    """The standard deviation of the estimate at some values of dials, a step that moves power; 0 of what is no
    estimate."""
    other = replace(evaluator.question, measure="bias", error="", share=False, level=1.0)
    small = replace(evaluator, question=other, evaluations=[], listen=None)
    try:
        evaluation = small.measure(dials, evaluator.first)
    except BadInput:
        return 0.0
    return evaluation.mcse * math.sqrt(evaluation.n)


def own_value(study: Study, dial: str) -> float:
    """A dial's value in the design; of a number of treated units that the design leaves open, half of the units."""
    value = value_of(study.design, dial)
    if value is None and dial == "adoption.treated":
        share = value_of(study.design, "adoption.share")
        return float(round((share or 0.5) * study.design.schema.units))
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise bad(f"{dial} = {value!r} is no number", where="the dial", allowed="a dial that holds a number",
                  remedy="name another dial, or set it in [design]")  # fmt: skip
    return float(value)


def _counts(study: Study, dial: str) -> bool:
    """Whether a dial holds whole numbers alone."""
    value = value_of(study.design, dial)
    return dial in LEAST or (isinstance(value, int) and not isinstance(value, bool))
