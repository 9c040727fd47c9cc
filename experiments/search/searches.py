"""Searches from the command line: what a goal says, progress, and what is printed and written at the end."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.special import stdtrit

from experiments.run.checking import projected
from experiments.run.places import named_place, table_of
from experiments.search.root import LEVEL
from experiments.search.solve import (
    BLOCK,
    MEASURES,
    NAMED,
    Evaluator,
    Search,
    SearchAnswer,
    SearchQuestion,
    breakdown,
    check_frontier,
    check_possible,
    dial_of,
    evaluator_of,
    frontier,
    own_value,
    settings_of_rest,
    solve,
    start_of,
)
from experiments.study import MOST_REPLICATIONS, Study, study_of
from results.diagnosis.diagnose import PROPORTIONS, diagnose
from results.plots.power_plot import FrontierPoint, frontier_svg
from results.store import Store
from results.store.disk import check_folder, write_whole
from results.tables.terminal_tables import NamesConsole
from sim.errors import bad, closest, number_in, one_of, refuse, type_problems

# How many replications give a measure a wanted Monte Carlo error, with an interval.


GROUPS = 8  # of blocks, of which one after the other is left out
SURE = 0.05  # half the interval of the Monte Carlo error over itself
CALLED = "replications"


def replications_for(evaluator: Evaluator, target: float, budget: int) -> list[SearchAnswer]:
    """The replications at which its measure has the Monte Carlo error `target`, in each cell of the grid.

    The pilot doubles until its own error is known up to 5%, or it has reached the answer or the budget. Raises
    BadInput, after one tile of fits at most, for a measure that there is not.
    """
    rests, worlds = settings_of_rest(evaluator.study, []), evaluator.study.world_count
    for rest in rests:
        evaluator.check(rest)
    evaluator.probe(rests[0])
    asks = f"the Monte Carlo error of {evaluator.question.whole_measure} is {target:g}"
    point, ends = (float(stdtrit(GROUPS - 1, (1 + level) / 2)) for level in (0.95, LEVEL))
    answers = []
    for rest in rests:
        before, n = len(evaluator.evaluations), -(-evaluator.first // (BLOCK * GROUPS)) * BLOCK * GROUPS
        while True:
            evaluator.measure(rest, n)
            mcse, alone, log_se = spread_of(evaluator.store_at(rest), n, evaluator.question)
            value = needed(mcse, alone, n, worlds, target)
            if point * log_se <= SURE or n >= min(value, budget):
                break
            n = min(2 * n, -(-budget // BLOCK) * BLOCK)
        wide = math.exp(ends * log_se)
        lower, upper = (needed(mcse * by, alone * by**2, n, worlds, target) for by in (1 / wide, wide))
        state, whole, note = "found", None, ""
        if math.isfinite(value):
            whole = math.ceil(value)
        else:
            state, value, lower, upper = "not reached", float(MOST_REPLICATIONS), math.nan, math.nan
            floor = projected(mcse, alone, n, worlds, 1e9)
            note = f" {worlds} worlds leave an error of {floor:.2g}: ask for more worlds."
        evaluations = tuple(evaluator.evaluations[before:])
        answers.append(SearchAnswer(asks, CALLED, dict(rest), state, value, lower, upper, whole, n, evaluations, note))
    return answers


def needed(mcse: float, alone: float, n: int, worlds: int, target: float) -> float:
    """Replications at which the projected Monte Carlo error is the target; infinite where worlds keep it above.

    mcse: of n replications; alone: the variance that independent fits would have.
    """

    def error(factor: float) -> float:
        return projected(mcse, alone, n, worlds, factor)

    low, high = 1.0 / n, MOST_REPLICATIONS / n
    if error(high) > target:
        return math.inf
    for _ in range(200):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if error(middle) > target else (low, middle)
    return n * high


def spread_of(store: Store, replications: int, question: SearchQuestion) -> tuple[float, float, float]:
    """The Monte Carlo error of a measure in the first replications of a store with one cell, the variance that
    independent fits would have, and the standard error of the error's logarithm.

    The last is the jackknife's over eight groups of blocks; with worlds, on which few
    numbers of one world each bear, it is no less than 1 / sqrt(2 (worlds - 1)) of the part that worlds add.
    """
    blocks = replications // BLOCK
    whole, alone = _mcse(store, range(blocks), question)
    parts = np.array_split(np.arange(blocks), GROUPS)
    logs = np.log([_mcse(store, np.setdiff1d(np.arange(blocks), part).tolist(), question)[0] for part in parts])
    jackknife = math.sqrt((GROUPS - 1) / GROUPS * float(np.square(logs - logs.mean()).sum()))
    added = max(1 - alone / whole**2, 0.0) if store.worlds > 1 and alone > 0 else 0.0
    return whole, alone, math.hypot(jackknife, added / math.sqrt(2 * max(store.worlds - 1, 1)))


def _mcse(store: Store, indices: Any, question: SearchQuestion) -> tuple[float, float]:
    """The Monte Carlo error from some blocks, and the variance that independent fits would have."""
    frame = diagnose(store.only(0, indices)).frame
    value, mcse, n = question.value(frame)
    rows = frame[(frame["estimator"] == question.estimator) & (frame["term"] == question.term)]
    if question.column in PROPORTIONS:
        return mcse, value * (1 - value) / n
    spread = rows[(rows["measure"] == "empirical_se") & (rows["sample"] == "own")]["value"]
    return mcse, float(spread.iloc[0]) ** 2 / n if question.measure == "bias" else math.nan


FIGURE = "frontier.svg"

type Searching = Callable[[], list[SearchAnswer]]


def solving(study: Study, goal: str, name: str, folder: Path | None, options: Search,
            **chosen: Any) -> tuple[Evaluator, Searching]:  # fmt: skip
    """The evaluator of a goal, and the search with it; raises BadInput, before any run, for what cannot be searched.

    name: of the dial, or "replications". chosen: estimator, term, error.
    """
    refuse(type_problems(goal, str, "goal", where="GOAL", allowed='a text, such as "power:0.8"'))
    if goal.startswith("mcse:") or name == CALLED:
        measure, _, number = goal.removeprefix("mcse:").partition("=")
        target = number_in(number)
        if not goal.startswith("mcse:") or name != CALLED or not 0 < target < float("inf"):
            raise bad(f"goal {goal!r} --for {name}", where="GOAL",
                      allowed=f'"mcse:MEASURE=ERROR" --for {CALLED}; MEASURE:LEVEL --for {one_of((*NAMED, "a dial"))}',
                      remedy='write for instance mcse:coverage=0.003 --for replications')  # fmt: skip
        if measure not in MEASURES:
            raise bad(f"measure {measure!r}", where="GOAL", allowed=one_of(MEASURES), remedy=closest(measure, MEASURES))
        evaluator = evaluator_of(study, f"{measure}:0.5", folder, where="GOAL", **chosen)
        for rest in settings_of_rest(evaluator.study, []):
            evaluator.check(rest)
        return evaluator, lambda: replications_for(evaluator, target, options.budget)
    evaluator = evaluator_of(study, goal, folder, where="GOAL", **chosen)
    dial = dial_of(study, name, "--for")
    check_possible(evaluator, dial, settings_of_rest(study, [dial]), options)
    return evaluator, lambda: solve(evaluator, dial, options)


def breaking(study: Study, measure: str, dial: str, second: str | None, folder: Path | None, options: Search,
             **chosen: Any) -> tuple[Evaluator, Searching]:  # fmt: skip
    """The evaluator of a departure, or of a frontier of two, and the search with it; what is raised as of `solving`."""
    evaluator = evaluator_of(study, measure, folder, where="--measure", **chosen)
    if second is None and options.second is not None:
        raise bad("an end of a second dial, and no second dial", where="--to2", allowed="both, or neither",
                  remedy="name it with --dial2, or leave --to2 out")  # fmt: skip
    if second is None:
        name = dial_of(study, dial, "--dial")
        check_possible(evaluator, name, settings_of_rest(study, [name]), options)
        return evaluator, lambda: breakdown(evaluator, name, options)
    first, other = (dial_of(study, name, "--dial2") for name in (dial, second))
    if first == other:
        raise bad(f"{first} is named twice", where="--dial2", allowed="two dials", remedy="name another dial")
    check_frontier(evaluator, first, other, options)

    def both() -> list[SearchAnswer]:
        answers = frontier(evaluator, first, other, options)
        if folder is not None:
            own = own_value(study, first)  # where the second dial is searched alone
            points = [
                FrontierPoint(item.value, own, item.lower, item.upper, along_second=True) if item.dial == other
                else FrontierPoint(item.setting[other], item.value, item.lower, item.upper)
                for item in answers if item.state == "found"
            ]  # fmt: skip
            svg = frontier_svg(points, first, other, evaluator.question.words, level=LEVEL,
                               begin=start_of(evaluator, first, options))  # fmt: skip
            write_whole(folder, {FIGURE: svg})
        return answers

    return evaluator, both


def run_search(
    verb: str, prepare: Callable[..., tuple[Evaluator, Searching]], text: str, out: Path | None, options: Search,
    where: dict[str, Any], *, seed: int | None, as_json: bool,
) -> int:  # fmt: skip
    """`panelproof solve` and `breakdown`: search, write answer.json and print the answers; 1 where a measure never
    crosses its level.

    verb: it names the folder where `out` does not. prepare: `solving` or `breaking`, which gets a study, `folder` and
    `options`. text: the study as the user named it.
    """
    place = named_place(where, table_of(text))
    folder = out or Path("runs") / f"{verb}-{Path(text).stem}"
    check_folder(folder)
    evaluator, search = prepare(study_of(text).resized(seed=seed), folder=folder, options=options)

    console = NamesConsole()
    if not as_json:
        evaluator.listen = lambda line: console.print(line, style="dim", markup=False, soft_wrap=True)
    evaluator.executor = place.open()
    try:
        answers = search()
    finally:
        evaluator.executor.close()

    held = evaluator.study.settings
    about = {"study": held["name"], "seed": held["seed"], "worlds": held["worlds"]}
    document = json.dumps(about | {"answers": [item.plain for item in answers]}, indent=1, ensure_ascii=False)
    (file,) = write_whole(folder, {"answer.json": document})
    if as_json:
        click.echo(document)
    else:
        print_answers(answers, console)
        console.print(f"answer  {file}", markup=False, soft_wrap=True)
    return 0 if any(item.state == "found" for item in answers) else 1


def print_answers(answers: Sequence[SearchAnswer], console: Console) -> None:
    """A sentence each, and a table where there are several."""
    if len(answers) > 1:
        dials = list(dict.fromkeys(name for item in answers for name in (*item.setting, item.dial)))
        table = Table(box=None, pad_edge=False, header_style="bold")
        for head in (*dials, f"{100 * LEVEL:g}% interval", "replications"):
            table.add_column(head, justify="right")
        for item in answers:
            value = f"{item.value:.4g}" if item.state == "found" else item.state
            cells = {name: str(held) for name, held in item.setting.items()} | {item.dial: value}
            ends = f"{item.dial} {item.lower:.4g} to {item.upper:.4g}" if item.state == "found" else ""
            table.add_row(*(cells.get(name, "") for name in dials), ends, f"{item.replications:,}")
        console.print(table)
    for item in answers:
        console.print(item.sentence, markup=False, soft_wrap=True)
