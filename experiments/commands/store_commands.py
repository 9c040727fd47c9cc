"""The commands of stores and clusters: `store` and `cluster`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from experiments.commands.command_options import (
    STORE,
    STUDY_PLACE,
    Command,
    accept_options,
    as_json_option,
    cluster_options,
    print_json,
    say,
    say_fact,
)

if TYPE_CHECKING:
    from results.store import Store
    from results.store.bucket import StorePath


# `panelproof store`: what a store holds and whether it is sound.


@click.group("store")
def store() -> None:
    """Verify, hash, describe, merge or pack stores."""


@store.command("hash", cls=Command)
@click.argument("store", type=STORE)
def hash_(store: StorePath) -> None:
    """SHA-256 over decoded arrays, coordinates and fingerprint: equal for equal runs."""
    from results.store.zarr_store import ZarrStore

    say(ZarrStore.open(store).content_hash())


@store.command("verify", cls=Command)
@click.argument("store", type=STORE)
@as_json_option
def verify(store: StorePath, as_json: bool) -> int:
    """Compare everything in a store with its digests; exit 1 when anything is missing or damaged."""
    from results.store.repair import verified

    found = verified(store)
    if as_json:
        print_json({"sound": found.sound, "lines": list(found.lines)})
        return 0 if found.sound else 1
    for line in found.lines:
        say(line)
    return 0 if found.sound else 1


@store.command("info", cls=Command)
@click.argument("store", type=STORE)
@as_json_option
def info(store: StorePath, as_json: bool) -> None:
    """The study, its sizes and where it was made."""
    from results.store.zarr_store import ZarrStore

    records = ZarrStore.open(store)
    study = records.facts["study"]
    if as_json:
        print_json(_facts(records, study))
        return
    say_fact("study", f"{study['name']}: {study['question']}")
    say_fact("cells", str(len(records.cells)))
    say_fact("replications", f"{records.replications} per cell, in blocks of {records.block}")
    if records.stopped is not None:
        say_fact("until", records.stopped.sentence)
    say_fact("estimators", ", ".join(records.layouts))
    say_fact("seed", str(study["seed"]))
    say_fact("fingerprint", records.fingerprint)
    _say_environments(records)
    _say_failures(records)


@store.command("merge", cls=Command)
@click.argument("stores", type=STORE, nargs=-1, required=True)
@click.option("--out", type=STORE, required=True, help="The new store; nothing may be there yet.")
@accept_options
@as_json_option
def merge_(stores: tuple[StorePath, ...], out: StorePath, as_json: bool, **accepted: bool) -> int:
    """Join STORES of one study, such as its shards, into one; exit 3 when blocks are missing in it."""
    from results.store.merge import merge

    merged = merge(stores, out, **accepted)
    if as_json:
        print_json({"store": str(out), **asdict(merged)})
        return 3 if merged.total > merged.done else 0
    say(f"merged {len(stores)} stores: {merged.sentence}")
    say(f"store   {out}")
    if missing := merged.total - merged.done:
        say(f"{missing:,} blocks are missing; run the study with --store {out} to compute them")
    return 3 if missing else 0


@store.command("pack", cls=Command)
@click.argument("store", type=STORE)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The zip (default: STORE.zip, of an address here); nothing may be there yet.",
)
def pack_(store: StorePath, out: Path | None) -> None:
    """Write STORE into one zip that is read in place; the store stays as it is."""
    from results.store.merge import pack

    target = out or (store.with_name(f"{store.name}.zip") if isinstance(store, Path) else Path(f"{store.name}.zip"))
    say(f"packed {pack(store, target):,} files")
    say(f"store   {target}")


def _facts(records: Store, study: Mapping[str, Any]) -> dict[str, Any]:
    """What `store info` prints, as plain data."""
    failed = {name: {status.name.lower(): count for status, count in sorted(counts.items())}
              for name, counts in records.status_counts().items()}  # fmt: skip
    stopped = records.stopped
    return {
        "study": study, "fingerprint": records.fingerprint, "cells": list(records.cells),
        "replications": records.replications, "block": records.block, "estimators": list(records.layouts),
        "until": None if stopped is None else stopped.sentence, "fits": failed,
        "environments": [asdict(origin) for origin in records.environments], "tracebacks": dict(records.tracebacks),
    }  # fmt: skip


def _say_environments(records: Store) -> None:
    """Where its blocks were computed: one line an environment, with what differs from the first."""
    for origin in records.environments:
        differs = f"; differs from the first: {', '.join(origin.differs)}" if origin.differs else ""
        say_fact("made with", f"{origin.text} ({origin.blocks} block{'s' * (origin.blocks != 1)}{differs})")


def _say_failures(records: Store) -> None:
    """Fits that are not OK, by estimator and status, and the last line of every traceback that is kept."""
    from estimators.core.estimator import Status

    for name, counts in records.status_counts().items():
        for status, count in sorted(counts.items()):
            if status is not Status.OK:
                say_fact("failed fits", f"{name}: {count} of {counts.total()}, {status.meaning}")
    for key, text in records.tracebacks.items():
        say_fact("traceback", f"{key}: {(text.strip().splitlines() or ['(empty)'])[-1]}")
    if records.tracebacks:
        say("`panelproof replay STORE CELL REPLICATION` prints the full traceback of a fit")


# `panelproof cluster`: where studies can run, and whether a cluster is fit for one.


@click.group("cluster")
def cluster() -> None:
    """List back ends and their options, or check a cluster before a run."""


@cluster.command("kinds", cls=Command)
@as_json_option
def cluster_kinds(as_json: bool) -> None:
    """Every back end with the options that [cluster] of a study file and --cluster-option take."""
    import dataclasses

    from cluster import back_ends
    from experiments.run.places import as_bad_input

    found = []
    with as_bad_input():
        kinds = back_ends()
    for kind in sorted(kinds.values(), key=lambda item: item.form):
        names = [item.name for item in dataclasses.fields(kind) if item.name not in {"address", "insecure"}]
        found.append({"form": kind.form, "meaning": " ".join((kind.__doc__ or "").split()), "options": names})
    if as_json:
        print_json(found)
        return
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    console = Console(highlight=False)
    for item in found:
        console.print(Text(str(item["form"])))
        console.print(Padding(Text(f"{item['meaning']}\noptions: {', '.join(item['options'])}\n"), (0, 0, 0, 4)))


@cluster.command("numbers", cls=Command)
def cluster_numbers() -> None:
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


@cluster.command("check", cls=Command)
@click.argument("where", metavar="WHERE")
@click.option("--study", metavar="STUDY|FILE.toml", default="bias", show_default=True,
              help="The study that is tried; its [cluster] table gives options.")  # fmt: skip
@cluster_options(STUDY_PLACE, place=False, told=True)
@as_json_option
def cluster_check(where: str, study: str, as_json: bool, **chosen: Any) -> int:
    """Open WHERE and say what its workers are, how fast, and which of them a run would leave out.

    Exit code 0: all workers may compute; 1: some or all may not, or nobody answers; 2: bad input.
    """
    from experiments.run.checking import check_cluster
    from experiments.run.places import named_place, table_of
    from experiments.study import study_of

    place = named_place({**chosen, "cluster": where}, table_of(study))
    return check_cluster(place, study_of(study), as_json=as_json)
