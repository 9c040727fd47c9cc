"""How many replications a budget of seconds allows, from a timed pilot."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sim.errors import bad

BUDGET = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h)?")
SECONDS = {None: 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
UNIT = 64  # replications come in multiples of it
LEAST, MOST = 128, 20_000
MAIN = 0.6  # share of the budget that the first method gets


@dataclass(frozen=True, slots=True)
class Cost:
    """What a study costs: cells, and seconds a replication in a cell."""

    cells: int
    seconds: float


def seconds_of(text: str) -> float:
    """A budget such as 60s, 2m or 1h in seconds; raises BadInput for what is none or is zero."""
    found = BUDGET.fullmatch(text.strip())
    seconds = float(found[1]) * SECONDS[found[2]] if found else 0.0
    if seconds <= 0:
        raise bad(f"budget {text!r}", where="--budget", allowed="a time above zero such as 60s, 2m or 1h",
                  remedy="use 60s")  # fmt: skip
    return seconds


def timed(work: Callable[[int], object], replications: int) -> float:
    """Seconds a replication of some work, which is told how many to do; a first small round is not timed."""
    work(UNIT)
    begin = time.perf_counter()
    work(replications)
    return (time.perf_counter() - begin) / replications


def shared_out(costs: Mapping[str, Cost], budget: float, workers: int = 1) -> dict[str, int]:
    """Replications a cell of each study: the first gets most of the budget, the others equal parts of the rest."""
    first, *others = costs
    parts = {first: MAIN if others else 1.0} | dict.fromkeys(others, (1.0 - MAIN) / max(len(others), 1))
    return {
        name: _whole(parts[name] * budget * workers / (cost.cells * max(cost.seconds, 1e-9)))
        for name, cost in costs.items()
    }


def _whole(count: float) -> int:
    """The largest multiple of `UNIT` within it, from `LEAST` to `MOST`."""
    return int(min(max(count // UNIT * UNIT, LEAST), MOST // UNIT * UNIT))
