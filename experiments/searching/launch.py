"""Searches from the command line: what a goal says, progress, and what is printed and written at the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from experiments.running.places import Place, named_place, table_of
from experiments.running.reporting import unwritable
from experiments.searching.answers import Answer, document, keep
from experiments.searching.points import Bench, settings_of_rest
from experiments.searching.question import MEASURES
from experiments.searching.replications import CALLED, replications_for
from experiments.searching.root import LEVEL
from experiments.searching.solve import (
    NAMED,
    Search,
    bench_of,
    breakdown,
    check_frontier,
    check_possible,
    dial_of,
    dials_of,
    frontier,
    solve,
)
from experiments.study.builtin import study_of
from results.plots.frontier_plot import FrontierPoint, frontier_svg
from sim.errors import bad, one_of

FIGURE = "frontier.svg"


def check_search(text: str, out: Path | None, options: Search, where: dict[str, Any]) -> tuple[Path, Place]:
    """Folder and place of a search; raises BadInput for what cannot be: a folder, a cluster, a precision."""
    place = named_place(where, table_of(text))
    folder = out or Path("runs") / f"search-{Path(text).stem}"
    if reason := unwritable(folder):
        raise bad(f"cannot be written: {reason}", where=str(folder), allowed="a writable folder",
                  remedy="choose another --out")  # fmt: skip
    if not 0 < options.precision < 1:
        raise bad(f"precision {options.precision:g}", where="--precision", allowed="above 0, below 1",
                  remedy="correct the number")  # fmt: skip
    return folder, place


def run_solve(text: str, goal: str, name: str, out: Path | None, chosen: dict[str, Any], options: Search,
              where: dict[str, Any], as_json: bool) -> int:  # fmt: skip
    """`panelproof solve`."""
    folder, place = check_search(text, out, options, where)
    study = study_of(text).resized(seed=chosen.pop("seed", None))
    if goal.startswith("mcse:") or name == CALLED:
        measure, target = _error_goal(goal, name)
        bench = bench_of(study, f"{measure}:0.5", folder, where="GOAL", **chosen)
        return _searched(bench, place, as_json, lambda: replications_for(bench, target, options.budget))
    bench = bench_of(study, goal, folder, where="GOAL", **chosen)
    dial = dial_of(study, name, "--for")
    check_possible(bench, dial, settings_of_rest(study, [dial]), options)
    return _searched(bench, place, as_json, lambda: solve(bench, dial, options))


def _error_goal(goal: str, name: str) -> tuple[str, float]:
    """The measure and the Monte Carlo error of "mcse:coverage=0.003"; raises BadInput."""
    measure, _, number = goal.removeprefix("mcse:").partition("=")
    try:
        target = float(number)
    except ValueError:
        target = 0.0
    if not goal.startswith("mcse:") or name != CALLED or not 0 < target < float("inf"):
        raise bad(f"goal {goal!r} --for {name}", where="GOAL",
                  allowed=f'"mcse:MEASURE=ERROR" --for {CALLED}; MEASURE:LEVEL --for {one_of((*NAMED, "a dial"))}',
                  remedy='write for instance mcse:coverage=0.003 --for replications')  # fmt: skip
    if measure not in MEASURES:
        raise bad(f"measure {measure!r}", where="GOAL", allowed=one_of(MEASURES), remedy="choose one of them")
    return measure, target


def run_breakdown(text: str, dial: str, second: str | None, measure: str, out: Path | None, chosen: dict[str, Any],
                  options: Search, where: dict[str, Any], as_json: bool) -> int:  # fmt: skip
    """`panelproof breakdown`."""
    folder, place = check_search(text, out, options, where)
    study = study_of(text).resized(seed=chosen.pop("seed", None))
    bench = bench_of(study, measure, folder, where="--measure", **chosen)
    if second is None:
        name = dial_of(study, dial, "--dial")
        check_possible(bench, name, settings_of_rest(study, [name]), options)
        return _searched(bench, place, as_json, lambda: breakdown(bench, name, options))
    first, other = dials_of(study, (dial, second), "--dial2")
    check_frontier(bench, first, other, options)

    def both() -> list[Answer]:
        answers = frontier(bench, first, other, options)
        keep(frontier_svg(points_of(answers, first, other), first, other, bench.question.words), folder, FIGURE)
        return answers

    return _searched(bench, place, as_json, both)


def points_of(answers: list[Answer], first: str, second: str) -> list[FrontierPoint]:
    """The frontier's points that were found, as the figure draws them."""
    return [
        FrontierPoint(item.setting.get(second, 0.0) if item.dial == first else item.value, item.value, item.lower,
                      item.upper, along_second=item.dial == second)
        for item in answers if item.state == "found"
    ]  # fmt: skip


def _searched(bench: Bench, place: Place, as_json: bool, search: Callable[[], list[Answer]]) -> int:
    """Search, write answer.json and print the answers; 1 where a measure never crosses its level."""
    assert bench.folder is not None
    console = Console(highlight=False)
    if not as_json:
        bench.listen = lambda line: console.print(line, style="dim", markup=False, soft_wrap=True)
    bench.executor = place.open()
    try:
        answers = search()
    finally:
        bench.executor.close()
    text = document(answers, bench.study.settings)
    file = keep(text, bench.folder)
    if as_json:
        click.echo(text)
    else:
        _print(answers, console)
        console.print(f"answer  {file}", markup=False, soft_wrap=True)
    return 0 if any(item.state == "found" for item in answers) else 1


def _print(answers: list[Answer], console: Console) -> None:
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


def options_of(low: float | None, high: float | None, precision: float, budget: int,
               second: float | None = None) -> Search:  # fmt: skip
    """What the command line says of how to search."""
    return Search(low, high, precision, budget, second)
