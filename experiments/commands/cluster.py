"""`panelproof cluster`: where studies can run, and whether a cluster is fit for one."""

from __future__ import annotations

from typing import Any

import click

from experiments.commands.options import Command, as_json_option, cluster_options, print_json


@click.group("cluster")
def command() -> None:
    """List back ends and their options, or check a cluster before a run."""


@command.command("kinds", cls=Command)
@as_json_option
def kinds(as_json: bool) -> None:
    """Every back end with the options that [cluster] of a study file and --cluster-option take."""
    import dataclasses

    from cluster import back_ends

    found = []
    for kind in sorted(back_ends().values(), key=lambda item: item.form):
        names = [item.name for item in dataclasses.fields(kind) if item.name not in {"address", "insecure"}]
        found.append({"form": kind.form, "meaning": " ".join((kind.__doc__ or "").split()), "options": names})
    if as_json:
        print_json(found)
        return
    for item in found:
        click.echo(f"{item['form']}\n    {item['meaning']}\n    options: {', '.join(item['options'])}\n")


@command.command("numbers", cls=Command)
def numbers() -> None:
    """Lines of a shell that set what a process must start with to compute portable numbers.

    `eval "$(panelproof cluster numbers)"` sets them for Python, a notebook or `dask worker` in that shell.
    """
    from shlex import quote

    from cluster.numbers import check_machine
    from experiments.run.places import as_bad_input

    with as_bad_input():
        settings = check_machine()
    for name, value in settings.items():
        click.echo(f"export {name}={quote(value)}")


@command.command("check", cls=Command)
@click.argument("where", metavar="WHERE")
@click.option("--study", metavar="STUDY|FILE.toml", default="bias", show_default=True,
              help="The study that is tried; its [cluster] table gives options.")  # fmt: skip
@cluster_options("local", place=False)
@as_json_option
def check(where: str, study: str, as_json: bool, **chosen: Any) -> int:
    """Open WHERE and say what its workers are, how fast, and which of them a run would leave out.

    Exit code 0: all workers may compute; 1: some or all may not, or nobody answers; 2: bad input.
    """
    from experiments.run.checking import check_cluster
    from experiments.run.places import named_place, table_of
    from experiments.study import study_of

    place = named_place({**chosen, "cluster": where}, table_of(study))
    return check_cluster(place, study_of(study), as_json=as_json)
