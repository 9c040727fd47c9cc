"""`panelproof breakdown`: the departure at which coverage, size or bias is no longer acceptable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from experiments.commands.options import Command, search_options


@click.command("breakdown", cls=Command)
@click.argument("study", metavar="STUDY|FILE.toml")
@click.option("--dial", required=True, help="The departure: a dial such as trend_gap or errors.serial.")
@click.option("--dial2", "second", help="A second departure: the frontier along both, and a map of it.")
@click.option("--to2", "to_second", type=float, help="Where it ends (default: its own breakdown).")
@click.option("--measure", default="coverage:0.90", show_default=True, metavar="MEASURE:LEVEL",
              help="coverage:0.90, size:0.10, or bias:25% (of the effect).")  # fmt: skip
@search_options
def command(
    study: str, dial: str, second: str | None, to_second: float | None, measure: str, out: Path | None,
    estimator: str | None, term: str | None, error: str | None, seed: int | None, low: float | None, high: float | None,
    precision: float, budget: int, as_json: bool, **where: Any,
) -> int:  # fmt: skip
    """Find the smallest departure at which a measure passes a level, with an interval.

    Every value that is tried is a store under --out: the same command resumes the search.
    """
    from experiments.search.launch import options_of, run_breakdown

    chosen = {"estimator": estimator, "term": term, "error": error, "seed": seed}
    options = options_of(low, high, precision, budget, to_second)
    return run_breakdown(study, dial, second, measure, out, chosen, options, where, as_json)
