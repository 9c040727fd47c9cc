"""Solving for a dial, and the departure at which a result breaks down, along one dial or two."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cluster import Executor
from experiments.running.runner import schema_of
from experiments.searching.answers import Answer
from experiments.searching.points import Bench, Listener, Taken, settings_of_rest
from experiments.searching.question import Question, question_of
from experiments.searching.root import Found, Limits, search, settled
from experiments.study.dials import dial_names, value_of
from experiments.study.study import Study
from sim.errors import BadInput, bad, one_of

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


def bench_of(study: Study, measure: str, folder: Path | None, *, estimator: str | None = None, term: str | None = None,
             error: str | None = None, where: str = "GOAL", executor: Executor | None = None,
             listen: Listener | None = None) -> Bench:  # fmt: skip
    """A study with the question that a text asks of it; raises BadInput."""
    question = question_of(measure, schema_of(study).layouts, estimator, term, error, where)
    return Bench(study, question, folder, executor, listen)


def dial_of(study: Study, name: str, where: str) -> str:
    """The dial of a name such as effect, units, periods, treated, or of its own; raises BadInput."""
    dials = dial_names(study.design, dict(study.grid))
    for dial in (*NAMED.get(name, ()), name):
        if dial in dials:
            return dial
    short = [short for short, own in NAMED.items() if any(dial in dials for dial in own)]
    near = difflib.get_close_matches(name, dials, n=3, cutoff=0.5)
    raise bad(f"design {study.design.kind!r} has no dial {name!r}", where=where,
              allowed=f"{one_of(dict.fromkeys((*short, *near)))}, or another dial that holds a number",
              remedy=f"`panelproof kinds {study.design.kind}` lists them")  # fmt: skip


def solve(bench: Bench, dial: str, options: Search) -> list[Answer]:
    """The value of the dial at which the measure crosses its level, in each cell of the other dials."""
    rests = _possible_rests(bench, dial, options)
    asks = f"{bench.question.whole_measure} reaches {_level(bench.question)}"
    asks = f"the {asks}".replace("the bias", "the absolute bias")
    return [_answer(bench, dial, rest, options, asks) for rest in rests]


def breakdown(bench: Bench, dial: str, options: Search) -> list[Answer]:
    """The smallest departure along the dial that takes the measure beyond its level, in each cell of other dials."""
    rests = _possible_rests(bench, dial, options)
    return [_answer(bench, dial, rest, options, bench.question.words, breaks=True) for rest in rests]


def _possible_rests(bench: Bench, dial: str, options: Search) -> list[dict[str, Any]]:
    """The settings of the other dials; raises BadInput, after one tile of fits at most, for what cannot be searched."""
    rests = settings_of_rest(bench.study, [dial])
    check_possible(bench, dial, rests, options)
    start = _start(bench, dial, options)
    bench.probe({**rests[0], dial: int(start) if _counts(bench.study, dial) else start})
    return rests


def check_possible(bench: Bench, dial: str, rests: Sequence[Mapping[str, Any]], options: Search,
                   to: str = "--to") -> None:  # fmt: skip
    """Raise BadInput for a search that cannot be, before anything is fitted: tiles of truths are drawn, no more.

    A dial without a number, ends that the design does not allow, ends that are equal, and a measure that there is not
    where the search begins or goes. to: the option that says where it ends.
    """
    whole, start = _counts(bench.study, dial), _start(bench, dial, options)
    for name, value in (("--from", options.low), (to, options.high)):
        if value is not None and not (math.isfinite(value) and (float(value).is_integer() or not whole)):
            raise bad(f"{dial} = {value:g}", where=name, allowed="a whole number" if whole else "a finite number",
                      remedy="correct the number")  # fmt: skip
    if options.high == start:
        raise bad(f"the search begins at {dial} = {start:g} too", where=to, allowed="another value",
                  remedy="correct it, or say --from")  # fmt: skip
    effect, needs = dial in NAMED["effect"], bench.question.needs_effect
    beyond = _own_value(bench.study, dial) or 1.0
    end = beyond if effect and options.high is None else options.high
    if effect and needs and end is not None:
        _check_moved(bench, dial, {**rests[0], dial: start}, {**rests[0], dial: end})
    ends = [start] if end is None else [start, end]
    for value in ends:
        if not (effect and needs and not value):  # without an effect power is the size; others begin beside it
            for rest in rests:
                bench.check({**rest, dial: int(value) if whole else value})


def _check_moved(bench: Bench, dial: str, start: Mapping[str, Any], end: Mapping[str, Any]) -> None:
    """Raise BadInput for an effect that the truth in question does not hang on."""
    target, truth = bench.truth(start)
    if target and np.isfinite(truth).all() and np.array_equal(truth, bench.truth(end)[1]):
        raise bad(f"{dial} does not move the truth of {target}, {truth.mean():.4g}", where="the dial",
                  allowed="a dial that does", remedy="name another dial, or another --term")  # fmt: skip


def _start(bench: Bench, dial: str, options: Search) -> float:
    """Where a search begins: at no effect, and along another dial at the dial's own value."""
    own = _own_value(bench.study, dial)
    if options.low is not None:
        return options.low
    return 0.0 if dial in NAMED["effect"] else own


def frontier(bench: Bench, dial: str, second: str, options: Search) -> list[Answer]:
    """The breakdown along `dial` for values of a second dial, from its own value up to `options.second`.

    Without that, up to the breakdown along the second dial alone, which is then the last answer, and the only one where
    the result does not break down there. Raises BadInput where the grid has further dials.
    """
    rest = check_frontier(bench, dial, second, options)
    bench.probe(rest)
    words, end, alone = bench.question.words, options.second, list[Answer]()
    if end is None:
        alone = [_answer(bench, second, rest, replace(options, low=None, high=None), words, breaks=True)]
        if alone[0].state != "found":
            note = " Say with --to2 where the frontier ends." if alone[0].state == "not reached" else alone[0].note
            return [replace(alone[0], note=note)]
    steps = _between(bench.study, second, alone[0].value if end is None else end, last=end is not None)
    return [*(_answer(bench, dial, {**rest, second: x}, options, words, breaks=True) for x in steps), *alone]


def check_frontier(bench: Bench, dial: str, second: str, options: Search) -> dict[str, Any]:
    """The setting of the other dials, none of which a grid may have; raises BadInput for what cannot be searched."""
    rests = settings_of_rest(bench.study, [dial, second])
    if len(rests) > 1:
        raise bad(f"the grid has other dials: {', '.join(rests[0])}", where="--dial2", allowed="a grid of both dials",
                  remedy="leave the others out of [grid]")  # fmt: skip
    check_possible(bench, dial, rests, options)
    check_possible(bench, second, rests, replace(options, low=None, high=options.second), "--to2")
    return rests[0]


def _between(study: Study, dial: str, end: float, *, last: bool) -> list[float | int]:
    """Values from a dial's own up to `end`, that one included where `last`."""
    begin = _own_value(study, dial)
    steps = [begin + (end - begin) * i / FRONTIER for i in range(FRONTIER + last)]
    return list(dict.fromkeys(round(x) if _counts(study, dial) else float(f"{x:.6g}") for x in steps))


def _level(question: Question) -> str:
    if question.measure == "bias":
        return f"{100 * question.level:g}% of the effect" if question.share else f"{question.level:g}"
    return f"{100 * question.level:g}%"


def _answer(bench: Bench, dial: str, rest: Mapping[str, Any], options: Search, asks: str,
            breaks: bool = False) -> Answer:  # fmt: skip
    """One search; breaks: for the place where all is no longer well, on the way from where it is."""
    before = len(bench.taken)
    whole, question = _counts(bench.study, dial), bench.question
    limits = _limits(bench, dial, rest, options, whole)
    sign = SIGNS[question.measure] if breaks else _sign_at_start(question.measure, dial, limits)
    found = search(bench.along(dial, rest, whole), limits, sign)
    first = None
    if whole and found.state == "found":
        first = _first_whole(found, limits, question.measure == "power" and not breaks)
    taken = tuple(bench.taken[before:])
    return Answer(asks, dial, dict(rest), found.state, found.value, found.lower, found.upper, first, found.replications,
                  taken, _note(found, bench, dial, taken))  # fmt: skip


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


def _note(found: Found, bench: Bench, dial: str, taken: Sequence[Taken]) -> str:
    """What a reader must know beside an answer."""
    if found.state == "found" and not found.short:
        return " The interval is wider than --precision asks: raise --budget."
    last = [item for item in taken if item.dials[dial] == found.value]
    if found.state not in {"passed", "tied"} or not last:
        return ""
    at, question = max(last, key=lambda item: item.n), bench.question
    scale, unit = (100.0, "%") if question.measure != "bias" or question.share else (1.0, "")
    value = f"{scale * abs(at.value):.3g}{unit} (Monte Carlo error {scale * at.mcse:.2g}{unit})"
    if question.measure == "power" and not bench.truth(at.dials)[1].any():
        return f" There it is the size of the test: {value} where no effect is."
    return f" There it is {value}."


def _limits(bench: Bench, dial: str, rest: Mapping[str, Any], options: Search, whole: bool) -> Limits:
    """Where a search begins and how it goes on."""
    own = _own_value(bench.study, dial)
    common = {"whole": whole, "first": bench.first, "budget": options.budget, "precision": options.precision,
              "freedom": bench.freedom}  # fmt: skip
    limits: Callable[..., Limits] = lambda **more: Limits(**(common | more))  # noqa: E731
    start, high = _start(bench, dial, options), options.high
    if high is not None:
        step = (high - start) / 8
        step = math.copysign(max(1.0, abs(step)), step) if whole else step
        origin = 0.0 if whole or dial in NAMED["effect"] else start
        return limits(start=start, origin=origin, step=step, factor=2.0, least=min(start, high),
                      most=max(start, high))  # fmt: skip
    if whole:
        return _counting(bench, dial, rest, int(start), limits)
    if dial in NAMED["effect"]:
        return _of_effect(bench, dial, rest, start, own, limits)
    return limits(start=start, origin=start, step=abs(start) / 4 or 0.01, factor=3.0, least=start)


def _of_effect(bench: Bench, dial: str, rest: Mapping[str, Any], start: float, own: float,
               limits: Callable[..., Limits]) -> Limits:  # fmt: skip
    """Along an effect, to the side on which the design's own effect lies."""
    sd = math.copysign(_spread(bench, {**rest, dial: start}) or abs(own) or 1.0, own)
    if bench.question.needs_effect and bench.question.measure != "power" and not start:
        start = LEAST_SPREADS * sd
    least, most = sorted((start, start + MOST_SPREADS * sd))
    return limits(start=start, step=SPREADS * sd, factor=2.0, least=least, most=most)


def _counting(bench: Bench, dial: str, rest: Mapping[str, Any], start: int, limits: Callable[..., Limits]) -> Limits:
    """Of a dial that counts something: up from its value where that is too few for the level, and down where it is
    not."""
    least, most = LEAST.get(dial, 0), MOST_TIMES * max(start, 1)
    if dial in NAMED["treated"]:  # power is largest where half of the units are treated
        most = max(bench.study.design.schema.units // 2, start)
    up = limits(start=start, step=max(start, 1), factor=2.0, least=least, most=most)
    begin = settled(bench.along(dial, rest, True), up, 0)[-1]
    if begin.y * SIGNS[bench.question.measure] < 0:
        return up
    return limits(start=start, step=-max(start // 2, 1), factor=1.5, least=least, most=most)


def _spread(bench: Bench, dials: Mapping[str, Any]) -> float:
    """The standard deviation of the estimate at some values of dials, a step that moves power; 0 of what is no
    estimate."""
    other = replace(bench.question, measure="bias", error="", share=False, level=1.0)
    small = replace(bench, question=other, taken=[], listen=None)
    try:
        taken = small.measure(dials, bench.first)
    except BadInput:
        return 0.0
    return taken.mcse * math.sqrt(taken.n)


def _own_value(study: Study, dial: str) -> float:
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


def dials_of(study: Study, names: Sequence[str], where: str) -> list[str]:
    """Several dials, all different; raises BadInput."""
    found = [dial_of(study, name, where) for name in names]
    if len(set(found)) < len(found):
        raise bad(f"{found[0]} is named twice", where=where, allowed="two dials", remedy="name another dial")
    return found
