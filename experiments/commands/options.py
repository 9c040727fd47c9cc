"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Command = Callable[..., Any]
CLUSTER_OPTIONS = ("cluster", "workers", "cluster_option", "block_timeout", "ship_code", "insecure")


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
        click.option("--json", "as_json", is_flag=True, help="Print the answer as one JSON document, nothing else."),
    )  # fmt: skip
    command = cluster_options("local")(command)
    for option in reversed(options):
        command = option(command)
    return command


def cluster_options(default: str, *, place: bool = True) -> Callable[[Command], Command]:
    """Those of where a study runs; default: the place when nothing says another; place: the command has no WHERE."""
    options = (
        click.option("--cluster", metavar="WHERE", help="serial, local, slurm, ssh, tcp://HOST:PORT or tls://HOST:PORT "
                     f"(default: [cluster] of the study file, else {default})."),
        click.option("--workers", type=click.IntRange(1),
                     help="Workers of a cluster that is started (local: default one a core; ssh: on each host)."),
        click.option("--cluster-option", multiple=True, metavar="KEY=VALUE",
                     help="Another option of the cluster, such as partition=short; see `panelproof cluster kinds`."),
        click.option("--block-timeout", type=float, metavar="SECONDS",
                     help="Time that a block may take (default: 20 times the slowest so far, at least a minute)."),
        click.option("--ship-code", is_flag=True, help="Send this code to workers whose own is another."),
        click.option("--insecure", is_flag=True,
                     help="Allow plain tcp to another machine (anyone there can run code)."),
    )  # fmt: skip

    def add(command: Command) -> Command:
        for option in reversed(options if place else options[1:]):
            command = option(command)
        return command

    return add
