"""`panelproof solve`: the effect, number of units or replications at which a measure reaches a level."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from experiments.commands.options import Command, search_options


@click.command("solve", cls=Command)
@click.argument("goal", metavar="GOAL")
@click.argument("study", metavar="STUDY|FILE.toml")
@click.option("--for", "name", required=True, metavar="DIAL",
              help="effect, units, periods, treated, any dial that holds a number, or replications.")  # fmt: skip
@search_options
def command(
    goal: str, study: str, name: str, out: Path | None, estimator: str | None, term: str | None, error: str | None,
    seed: int | None, low: float | None, high: float | None, precision: float, budget: int,
    as_json: bool, **where: Any,
) -> int:  # fmt: skip
    """Find where a measure reaches a level, with an interval.

    GOAL is MEASURE:LEVEL, such as power:0.8 or coverage:0.9, or mcse:MEASURE=ERROR, such as mcse:coverage=0.003 --for
    replications. Every value that is tried is a store under --out: the same command resumes the search.
    """
    from experiments.search.launch import options_of, run_solve

    chosen = {"estimator": estimator, "term": term, "error": error, "seed": seed}
    return run_solve(study, goal, name, out, chosen, options_of(low, high, precision, budget), where, as_json)
