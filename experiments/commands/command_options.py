"""Options that several commands share."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

CommandFunction = Callable[..., Any]
QUIET = "panelproof.quiet"  # of a context: nothing that would be printed need be computed
STUDY_PLACE = "[cluster] of the study file, else local"
ADVANCED = {"writes", "reread", "block", "block_timeout", "insecure", "ship_code"}  # options that few need
CLUSTER_OPTIONS = ("cluster", "workers", "cluster_option", "block_timeout", "ship_code", "insecure", "numbers")
as_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")


class StoreType(click.Path):
    """A store: a path, or an address in an object store."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A path as it is, an address as such; raises BadInput for a study in place of a store that is read."""
        text, path = str(value), Path(str(value))
        if isinstance(param, click.Argument):
            from experiments.listing import builtin_names

            if (path.suffix == ".toml" and path.is_file()) or (text in builtin_names() and not path.exists()):
                from sim.errors import bad

                raise bad("is a study and no store", where=text, allowed="the folder that `panelproof run` made of it",
                          remedy=f"run it first: panelproof run {text}; its results are in "
                                 f"runs/{path.stem}.zarr")  # fmt: skip
        if ":/" not in text:
            whole = os.path.abspath(text) if text.startswith("-") else value  # printed commands take "-d" for an option
            return super().convert(whole, param, ctx)
        from results.store.bucket import store_path  # loads zarr

        return store_path(value)


STORE = StoreType()


class Command(click.Command):
    """A command with `--quiet`: it prints warnings, errors and, where `--json` is said too, the JSON document."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.params.append(click.Option(["-q", "--quiet"], is_flag=True, help="Print warnings and errors alone."))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Print the options; those that few need stand below the others."""
        rows = [(item.name in ADVANCED, row) for item in self.get_params(ctx)
                if isinstance(item, click.Option) and (row := item.get_help_record(ctx))]  # fmt: skip
        for title, of_few in (("Options", False), ("Advanced", True)):
            if chosen := [row for advanced, row in rows if advanced is of_few]:
                with formatter.section(title):
                    formatter.write_dl(chosen)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the function, its standard output thrown away where `--quiet` says so."""
        if ctx.params.pop("quiet", False) and not ctx.params.get("as_json"):
            ctx.meta[QUIET] = True
            with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
                return super().invoke(ctx)
        return super().invoke(ctx)


def print_json(document: object) -> None:
    """One JSON document on standard output."""
    from sim.errors import visible_json

    click.echo(visible_json(json.dumps(document, indent=1, ensure_ascii=False)))


def say(text: str) -> None:
    """A line on standard output, in which names of a store or a bundle are text whatever they hold."""
    from sim.errors import visible

    click.echo(visible(text))


def say_fact(name: str, text: str) -> None:
    """A name and what it is, within the width of a terminal; one line elsewhere, which other programs read."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from sim.errors import visible

    console = Console(highlight=False)
    if not console.is_terminal:
        say(f"{name:<14}{text}")
        return
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=13)
    grid.add_column(overflow="fold")
    grid.add_row(Text(name), Text(visible(text)))
    console.print(grid)


def complete_study(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Built-in studies and TOML files that begin with what was typed."""
    from experiments.listing import builtin_names

    files = CompletionItem(incomplete, type="file")
    return [*(CompletionItem(name) for name in builtin_names() if name.startswith(incomplete)), files]


def budget_option(default: str) -> Callable[[CommandFunction], CommandFunction]:
    """The time that simulations may take."""
    return click.option("--budget", default=default, show_default=True, metavar="TIME", is_eager=True,
                        help="Time for the simulations, such as 50s, 2m or 1h; a pilot turns it into "
                             "replications.")  # fmt: skip


def _one_of_both(ctx: click.Context, _: click.Parameter, replications: int | None) -> int | None:
    """Replications, if any; raises BadInput beside a budget."""
    if replications is not None and ctx.get_parameter_source("budget") is ParameterSource.COMMANDLINE:
        from sim.errors import bad

        raise bad(f"{replications} beside --budget {ctx.params['budget']}", where="--replications",
                  allowed="one of the two", remedy="leave --budget out")  # fmt: skip
    return replications


in_place_of_budget = click.option(
    "--replications", type=click.IntRange(64), callback=_one_of_both,
    help="Twins a cell, in place of a budget: every machine gives the same numbers.",
)  # fmt: skip


def panel_and_spec(command: CommandFunction) -> CommandFunction:
    """A panel's file and its spec."""
    spec = click.option("--spec", required=True, type=click.Path(path_type=Path), help="The SPEC.toml of this panel.")
    return click.argument("panel", type=click.Path(path_type=Path))(spec(command))


alpha_option = click.option(
    "--alpha", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.05, show_default=True,
    callback=lambda _, __, alpha: import_module("estimators.core.estimator").check_level(alpha, "--alpha"),  # NaN too
    help="Level of tests and intervals.",
)  # fmt: skip


def _called_otherwise(ctx: click.Context, param: click.Parameter, given: bool) -> None:
    """Raise BadInput for the old name of --load-code."""
    if given:
        from sim.errors import bad

        raise bad("this option is called --load-code now, because that is what it does", where="--trust",
                  allowed="--load-code", remedy="say --load-code")  # fmt: skip


def load_code_option(purpose: str) -> Callable[[CommandFunction], CommandFunction]:
    """What lets the code run that a store or a bundle names; nothing else does."""
    old = click.option("--trust", is_flag=True, hidden=True, expose_value=False, callback=_called_otherwise)

    def add(command: CommandFunction) -> CommandFunction:
        return click.option("--load-code", is_flag=True, help=purpose)(old(command))

    return add


def search_options(command: CommandFunction) -> CommandFunction:
    """Those of searches: what is judged, between which values, how precisely, where it runs and is kept."""
    options = (
        click.option("--out", type=click.Path(path_type=Path, file_okay=False),
                     help=f"Folder of answer.json and the stores (default: runs/{command.__name__}-NAME)."),
        click.option("--estimator", help="The estimator's name (default: the first)."),
        click.option("--term", help="Its term (default: the first key term)."),
        click.option("--error", help="Its error type (default: the first clustered one, else the first)."),
        click.option("--seed", type=click.IntRange(0), help="The seed (default: the study's)."),
        click.option("--from", "low", type=float, help="Where it begins (default: no effect; else the dial's own)."),
        click.option("--to", "high", type=float, help="Where it ends, on either side (default: as far as it takes)."),
        click.option("--precision", type=float, default=0.02, show_default=True,
                     help="Half the interval over the answer, at which the search ends."),
        click.option("--budget", type=click.IntRange(1), default=200_000, show_default=True,
                     help="Replications of one answer, after the first points, which take 512 or more each; the step "
                          "in which they are spent is the last."),
        as_json_option,
    )  # fmt: skip
    command = cluster_options(STUDY_PLACE)(command)
    for option in reversed(options):
        command = option(command)
    return command


def accept_options(command: CommandFunction) -> CommandFunction:
    """What lets blocks of one store come from several environments."""
    numbers = click.option(
        "--accept-other-numbers", is_flag=True,
        help="Let blocks, and workers, differ in the last digits of their numbers; the store says so.",
    )  # fmt: skip
    code = click.option(
        "--accept-code-change", is_flag=True, help="Let blocks of a store come from other code or other versions."
    )
    return code(numbers(command))


def cluster_options(
    default: str, *, place: bool = True, told: bool = False
) -> Callable[[CommandFunction], CommandFunction]:
    """Options of where a study runs.

    default: in words, the place when nothing says another. place: --cluster is one of them; it is not where the command
    has an argument WHERE. told: the help explains them all; else --cluster alone, which says where they are explained.
    """
    where = f"serial, local, slurm, pbs, sge, lsf, ssh, tcp://HOST:PORT or tls://HOST:PORT (default: {default})."
    short = f"Where it runs (default: {default}); for this and its further options see `panelproof run --help`."
    options = (
        click.option("--cluster", metavar="WHERE", help=where if told else short),
        click.option("--workers", type=click.IntRange(1), hidden=not told,
                     help="Workers of a cluster that is started (local: default one a core; ssh: on each host)."),
        click.option("--cluster-option", multiple=True, metavar="KEY=VALUE", hidden=not told,
                     help="Another option of the cluster, such as partition=short; see `panelproof cluster kinds`."),
        click.option("--block-timeout", type=float, metavar="SECONDS", hidden=not told,
                     help="Time that a block may take (default: 20 times the slowest so far, at least a minute)."),
        click.option("--ship-code", is_flag=True, hidden=not told,
                     help="Send this code to workers whose own is another."),
        click.option("--insecure", is_flag=True, hidden=not told,
                     help="Allow plain tcp to another machine (anyone there can run code)."),
        click.option("--numbers", type=click.Choice(["default", "portable"]), hidden=not told,
                     help="portable: the same bits on every processor of x86-64-v3 (default: as this one computes)."),
    )  # fmt: skip

    def add(command: CommandFunction) -> CommandFunction:
        for option in reversed(options if place else options[1:]):
            command = option(command)
        return command

    return add
