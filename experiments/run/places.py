"""Where a run computes: the table [cluster] of a study file, and what the command line says in its place."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster import BackEnd, Executor, Refused, back_end, back_ends, prepare_process
from cluster.numbers import check_numbers
from experiments.settings import read_toml
from sim.errors import BadInput, Problem, bad

TABLE = "cluster"  # of a study file; it changes no result, so it is no part of the study
WHERE = "where"  # the key of the table that names the back end
TIMEOUT, SHIP, NUMBERS = "block_timeout", "ship_code", "numbers"
FORM = "KEY=VALUE, such as partition=short"


@dataclass(frozen=True, slots=True)
class ClusterPlace:
    """A back end with its options, as a run opens it.

    where: its text, such as local. limit: seconds that a block may take. ship: send this code to workers whose own is
    another.
    """

    where: str
    back: BackEnd
    limit: float | None = None
    ship: bool = False

    def open(self, say: Any = lambda _: None) -> Executor:
        """Start it or connect to it; raises BadInput and ClusterLost."""
        prepare_process()
        with as_bad_input():
            return self.back.open(self.limit, say)


@contextmanager
def as_bad_input() -> Iterator[None]:
    """What a back end refuses, as bad input."""
    try:
        yield
    except Refused as error:
        problems = (Problem(fault.what, fault.where, fault.allowed, fault.remedy) for fault in error.faults)
        raise BadInput(*problems) from error


def require_numbers(asked: Any, where: str = "--numbers") -> None:
    """Raise BadInput unless this process computes the numbers that are asked for, such as "portable"; None: any."""
    with as_bad_input():
        check_numbers(asked, where)


def place_of(
    where: str | None,
    workers: int | None = None,
    *,
    insecure: bool = False,
    table: Mapping[str, Any] | None = None,
    options: Sequence[str] = (),
    timeout: float | None = None,
    ship: bool = False,
    numbers: str | None = None,
    default: str = "local",
) -> ClusterPlace:
    """The place that a command line names, with the rest from a table; raises BadInput with all faults.

    options: "KEY=VALUE" each. numbers: those that this process must compute. default: the place when neither names one.
    """
    table = dict(table or {})
    in_table = table.pop(WHERE, None)
    timeout = table.pop(TIMEOUT, None) if timeout is None else timeout
    ship = bool(table.pop(SHIP, False)) or ship
    in_file = table.pop(NUMBERS, None)
    require_numbers(numbers or in_file, "--numbers" if numbers else "[cluster]")
    if in_table is not None and not isinstance(in_table, str):
        raise bad(f"where = {in_table!r}", where="[cluster]", allowed='a text, such as "local"', remedy="correct where")
    chosen = where or in_table or default
    given = table if where in (None, in_table) else {}  # options belong to the place that stands beside them
    for text in options:
        key, sign, value = text.partition("=")
        if not (sign and key.strip()):
            raise bad(f"{text!r}", where="--cluster-option", allowed=FORM, remedy="write the key, =, and the value")
        given[key.strip().replace("-", "_")] = value.strip()
    if insecure and chosen.startswith("tcp://"):
        given["insecure"] = True
    if workers is not None:
        given["workers"] = workers
    source = "[cluster]" if given and not options and workers is None else "--cluster-option"
    with as_bad_input():
        kind = back_ends().get(chosen.partition("://")[0])
        if workers is not None and kind is not None and "workers" not in kind.__dataclass_fields__:
            starting = [name for name, found in back_ends().items() if "workers" in found.__dataclass_fields__]
            raise bad(f"--workers {workers} with cluster {chosen!r}", where="--workers",
                      allowed=f"--cluster {', '.join(sorted(starting))}", remedy="leave --workers out")  # fmt: skip
        back = back_end(chosen, given, source=source)
    if back.lacks:
        raise bad(f"cluster {chosen} needs a library that is not installed", where="--cluster",
                  allowed=f"panelproof with the extra {back.lacks}",
                  remedy=f'install it: pip install "panelproof[{back.lacks}]"')  # fmt: skip
    if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, int | float)
                                or not 0 < timeout < math.inf):  # fmt: skip
        raise bad(f"block timeout {timeout!r}", where="--block-timeout", allowed="seconds above 0",
                  remedy="correct the number")  # fmt: skip
    return ClusterPlace(chosen, back, None if timeout is None else float(timeout), ship)


def named_place(
    chosen: Mapping[str, Any], table: Mapping[str, Any] | None = None, default: str = "local"
) -> ClusterPlace:
    """The place that the options of `cluster_options` name."""
    return place_of(chosen["cluster"], chosen["workers"], insecure=chosen["insecure"], table=table,
                    options=chosen["cluster_option"], timeout=chosen["block_timeout"], ship=chosen["ship_code"],
                    numbers=chosen["numbers"], default=default)  # fmt: skip


def table_of(study: str) -> Mapping[str, Any]:
    """The table [cluster] of the study file that a command line names; empty for a built-in study."""
    path = Path(study)
    if not study.endswith(".toml") or not path.is_file():
        return {}
    table = read_toml(path, "a study file").get(TABLE, {})
    if not isinstance(table, Mapping):
        raise bad(f"cluster = {table!r}", where=str(path), allowed='a table, such as [cluster] where = "local"',
                  remedy="write it as a table")  # fmt: skip
    return table
