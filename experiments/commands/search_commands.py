"""The commands of searches: `solve` and `breakdown`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from experiments.commands.command_options import Command, search_options

# `panelproof solve`: the effect, number of units or replications at which a measure reaches a level.


@click.command("solve", cls=Command)
@click.argument("goal", metavar="GOAL")
@click.argument("study", metavar="STUDY|FILE.toml")
@click.option("--for", "name", required=True, metavar="DIAL",
              help="effect, units, periods, treated, any dial that holds a number, or replications.")  # fmt: skip
@search_options
def solve(
    goal: str, study: str, name: str, out: Path | None, estimator: str | None, term: str | None, error: str | None,
    seed: int | None, low: float | None, high: float | None, precision: float, budget: int,
    as_json: bool, **where: Any,
) -> int:  # fmt: skip
    """Find where a measure reaches a level, with an interval.

    GOAL is MEASURE:LEVEL, such as power:0.8 or coverage:0.9, or mcse:MEASURE=ERROR, such as mcse:coverage=0.003 --for
    replications. Every value that is tried is a store under --out: the same command resumes the search.
    """
    from experiments.search.searches import run_solve
    from experiments.search.solve import Search

    chosen = {"estimator": estimator, "term": term, "error": error, "seed": seed}
    return run_solve(study, goal, name, out, chosen, Search(low, high, precision, budget), where, as_json)


# `panelproof breakdown`: the departure at which coverage, size or bias is no longer acceptable.


@click.command("breakdown", cls=Command)
@click.argument("study", metavar="STUDY|FILE.toml")
@click.option("--dial", required=True, help="The departure: a dial such as trend_gap or errors.serial.")
@click.option("--dial2", "second", help="A second departure: the frontier along both, and a map of it.")
@click.option("--to2", "to_second", type=float, help="Where it ends (default: its own breakdown).")
@click.option("--measure", default="coverage:0.90", show_default=True, metavar="MEASURE:LEVEL",
              help="coverage:0.90, size:0.10, or bias:25% (of the effect).")  # fmt: skip
@search_options
def breakdown(
    study: str, dial: str, second: str | None, to_second: float | None, measure: str, out: Path | None,
    estimator: str | None, term: str | None, error: str | None, seed: int | None, low: float | None, high: float | None,
    precision: float, budget: int, as_json: bool, **where: Any,
) -> int:  # fmt: skip
    """Find the smallest departure at which a measure passes a level, with an interval.

    Every value that is tried is a store under --out: the same command resumes the search.
    """
    from experiments.search.searches import run_breakdown
    from experiments.search.solve import Search

    chosen = {"estimator": estimator, "term": term, "error": error, "seed": seed}
    options = Search(low, high, precision, budget, to_second)
    return run_breakdown(study, dial, second, measure, out, chosen, options, where, as_json)
