"""Solving for a dial, and the departure at which a result breaks down, along one dial or two."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cluster import Executor
from experiments.running.runner import schema_of
from experiments.searching.answers import Answer
from experiments.searching.points import Bench, Listener, settings_of_rest
from experiments.searching.question import Question, question_of
from experiments.searching.root import Found, Limits, search
from experiments.study.dials import dial_names, value_of
from experiments.study.study import Study
from sim.errors import bad, closest, one_of

NAMED = {"effect": ("effect.size", "effect"), "units": ("units",), "periods": ("periods",),
         "treated": ("adoption.treated", "treated")}  # fmt: skip
LEAST = {"units": 4, "periods": 2, "adoption.treated": 1, "treated": 1}  # of dials that count something
MOST_TIMES = 50  # as many units or periods as the study has, at most
FRONTIER = 5  # values of a second dial, its own breakdown left out
SIGNS = {"coverage": 1, "size": -1, "rejection": -1, "bias": -1, "power": 1, "type_s": -1}  # of y where all is well


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
    raise bad(f"design {study.design.kind!r} has no dial {name!r}", where=where, allowed=one_of((*short, *dials)),
              remedy=closest(name, dials))  # fmt: skip


def solve(bench: Bench, dial: str, options: Search) -> list[Answer]:
    """The value of the dial at which the measure crosses its level, in each cell of the other dials."""
    asks = f"{bench.question.whole_measure} reaches {_level(bench.question)}"
    asks = f"the {asks}".replace("the bias", "the absolute bias")
    return [_answer(bench, dial, rest, options, asks, 0) for rest in settings_of_rest(bench.study, [dial])]


def breakdown(bench: Bench, dial: str, options: Search) -> list[Answer]:
    """The smallest departure along the dial that takes the measure beyond its level, in each cell of other dials."""
    sign = SIGNS[bench.question.measure]
    return [_answer(bench, dial, rest, options, bench.question.words, sign)
            for rest in settings_of_rest(bench.study, [dial])]  # fmt: skip


def frontier(bench: Bench, dial: str, second: str, options: Search) -> list[Answer]:
    """The breakdown along `dial` for values of a second dial, from its own value up to `options.second`.

    Without that, up to the breakdown along the second dial alone, which is then the last answer. Raises BadInput where
    there is none, and where the grid has further dials.
    """
    rest = settings_of_rest(bench.study, [dial, second])
    if len(rest) > 1:
        raise bad(f"the grid has other dials: {', '.join(rest[0])}", where="--dial2", allowed="a grid of the two dials",
                  remedy="leave the others out of [grid]")  # fmt: skip
    words, sign, end, alone = bench.question.words, SIGNS[bench.question.measure], options.second, list[Answer]()
    if end is None:
        alone = [_answer(bench, second, rest[0], replace(options, low=None, high=None), words, sign)]
        if alone[0].state == "passed":
            return alone
        if alone[0].state != "found":
            raise bad(f"there is no breakdown along {second} up to {alone[0].value:g}", where="--dial2",
                      allowed="a dial that breaks the result, or its last value", remedy="say --to2")  # fmt: skip
    steps = _between(bench.study, second, alone[0].value if end is None else end, last=end is not None)
    return [*(_answer(bench, dial, {**rest[0], second: x}, options, words, sign) for x in steps), *alone]


def _between(study: Study, dial: str, end: float, *, last: bool) -> list[float | int]:
    """Values from a dial's own up to `end`, that one included where `last`."""
    begin = _own_value(study, dial)
    steps = [begin + (end - begin) * i / FRONTIER for i in range(FRONTIER + last)]
    return list(dict.fromkeys(round(x) if _counts(study, dial) else float(f"{x:.6g}") for x in steps))


def _level(question: Question) -> str:
    if question.measure == "bias":
        return f"{100 * question.level:g}% of the effect" if question.share else f"{question.level:g}"
    return f"{100 * question.level:g}%"


def _answer(bench: Bench, dial: str, rest: Mapping[str, Any], options: Search, asks: str, sign: int) -> Answer:
    """One search."""
    before = len(bench.taken)
    whole = _counts(bench.study, dial)
    measure = bench.along(dial, rest, whole)
    found = search(measure, _limits(bench, dial, rest, options, whole), sign)
    first = _first_whole(found) if whole and found.state == "found" else None
    return Answer(asks, dial, dict(rest), found.state, found.value, found.lower, found.upper, first, found.replications,
                  tuple(bench.taken[before:]))  # fmt: skip


def _first_whole(found: Found) -> int:
    """The first whole value beyond the crossing, on the side that the search went to."""
    begin = found.points[0].x
    return math.ceil(found.value) if found.value >= begin or found.rising else math.floor(found.value)


def _limits(bench: Bench, dial: str, rest: Mapping[str, Any], options: Search, whole: bool) -> Limits:
    """Where a search begins and how it goes on."""
    own = _own_value(bench.study, dial)
    common = {"whole": whole, "first": bench.first, "budget": options.budget, "precision": options.precision,
              "freedom": bench.freedom}  # fmt: skip
    limits: Callable[..., Limits] = lambda **more: Limits(**(common | more))  # noqa: E731
    if whole:
        return _counting(bench, dial, rest, options, int(own), limits)
    effect = dial in NAMED["effect"]
    start = options.low if options.low is not None else 0.0 if effect else own
    most = math.inf if options.high is None else options.high
    if options.high is not None:
        return limits(start=start, origin=start, step=(options.high - start) / 8, factor=2.0, least=start, most=most)
    if effect:
        step = 3 * _spread(bench, {**rest, dial: start})
        return limits(start=start, origin=start, step=step, factor=2.0, least=start)
    return limits(start=start, origin=start, step=abs(start) / 4 or 0.01, factor=3.0, least=start)


def _counting(bench: Bench, dial: str, rest: Mapping[str, Any], options: Search, own: int,
              limits: Callable[..., Limits]) -> Limits:  # fmt: skip
    """Of a dial that counts something: up from its value where power falls short there, and down where it does not."""
    start = own if options.low is None else int(options.low)
    least, most = LEAST.get(dial, 0), MOST_TIMES * max(start, 1)
    if dial in NAMED["treated"]:  # power is largest where half of the units are treated
        most = max(bench.study.design.schema.units // 2, start)
    if options.high is not None:
        return limits(start=start, step=max(1, (int(options.high) - start) // 8), factor=2.0, least=start,
                      most=int(options.high))  # fmt: skip
    begin = bench.along(dial, rest, True)(float(start), bench.first)
    if begin.y < 0:
        return limits(start=start, step=max(start, 1), factor=2.0, least=least, most=most)
    return limits(start=start, step=-max(start // 2, 1), factor=1.5, least=least, most=most)


def _spread(bench: Bench, dials: Mapping[str, Any]) -> float:
    """The standard deviation of the estimate at some values of dials, a step that moves power."""
    other = replace(bench.question, measure="bias", error="", share=False, level=1.0)
    small = replace(bench, question=other, taken=[], listen=None)
    taken = small.measure(dials, bench.first)
    return taken.mcse * math.sqrt(taken.n)


def _own_value(study: Study, dial: str) -> float:
    """A dial's value in the design; of a number of treated units that the design leaves open, half of the units."""
    value = value_of(study.design, dial)
    if value is None and dial == "adoption.treated":
        share = value_of(study.design, "adoption.share")
        return float(round((share or 0.5) * study.design.schema.units))
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise bad(f"{dial} = {value!r} is no number", where="--dial", allowed="a dial that holds a number",
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
