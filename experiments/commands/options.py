"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Command = Callable[..., Any]


def search_options(command: Command) -> Command:
    """Those of searches: what is judged, between which values, how precisely, where it runs and is kept."""
    options = (
        click.option("--out", type=click.Path(path_type=Path, file_okay=False),
                     help="Folder of answer.json and the stores (default: runs/search-NAME)."),
        click.option("--estimator", help="The estimator's name (default: the first)."),
        click.option("--term", help="Its term (default: the first key term)."),
        click.option("--error", help="Its error type (default: the first)."),
        click.option("--seed", type=click.IntRange(0), help="The seed (default: the study's)."),
        click.option("--from", "low", type=float, help="Where the search begins (default: the dial's own value)."),
        click.option("--to", "high", type=float, help="Where it ends (default: as far as it takes)."),
        click.option("--precision", type=float, default=0.02, show_default=True,
                     help="Half the interval over the answer, at which the search ends."),
        click.option("--budget", type=click.IntRange(1), default=200_000, show_default=True,
                     help="Replications of one answer, at most."),
        click.option("--cluster", default="local", metavar="WHERE", show_default=True,
                     help="serial, local or tcp://HOST:PORT (tls://)."),
        click.option("--workers", type=click.IntRange(1), help="Worker processes of a local cluster."),
        click.option("--insecure", is_flag=True, help="Allow plain tcp to another machine."),
        click.option("--json", "as_json", is_flag=True, help="Print the answer as one JSON document, nothing else."),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command
