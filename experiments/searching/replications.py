"""How many replications give a measure a wanted Monte Carlo error, with an interval."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import stdtrit

from experiments.running.pilot import projected
from experiments.running.until import Selection
from experiments.searching.answers import Answer
from experiments.searching.points import BLOCK, Bench, settings_of_rest
from experiments.searching.question import Question
from experiments.searching.root import LEVEL
from experiments.study.study import MOST_REPLICATIONS
from results.diagnosis.diagnose import PROPORTIONS, diagnose
from results.store import Store

GROUPS = 8  # of blocks, of which one after the other is left out
SURE = 0.05  # half the interval of the Monte Carlo error over itself
CALLED = "replications"


@dataclass(frozen=True, slots=True)
class Spread:
    """A Monte Carlo error, the variance that independent fits would have, and the standard error of its logarithm."""

    mcse: float
    alone: float
    log_se: float


def replications_for(bench: Bench, target: float, budget: int) -> list[Answer]:
    """The replications at which the bench's measure has the Monte Carlo error `target`, in each cell of the grid.

    The pilot doubles until its own error is known up to 5%, or it has reached the answer or the budget. Raises
    BadInput, after one tile of fits at most, for a measure that there is not.
    """
    rests = settings_of_rest(bench.study, [])
    for rest in rests:
        bench.check(rest)
    bench.probe(rests[0])
    return [_answer(bench, rest, target, budget) for rest in rests]


def _answer(bench: Bench, rest: Mapping[str, Any], target: float, budget: int) -> Answer:
    asks = f"the Monte Carlo error of {bench.question.whole_measure} is {target:g}"
    before, n = len(bench.taken), -(-bench.first // (BLOCK * GROUPS)) * BLOCK * GROUPS
    point = float(stdtrit(GROUPS - 1, 0.975))
    while True:
        bench.measure(rest, n)
        spread = spread_of(bench.store_at(rest), n, bench.question)
        worlds = bench.study.world_count
        value = needed(spread, n, worlds, target)
        if point * spread.log_se <= SURE or n >= min(value, budget):
            break
        n = min(2 * n, -(-budget // BLOCK) * BLOCK)
    wide = math.exp(float(stdtrit(GROUPS - 1, (1 + LEVEL) / 2)) * spread.log_se)
    lower, upper = (
        needed(replace(spread, mcse=mcse), n, worlds, target) for mcse in (spread.mcse / wide, spread.mcse * wide)
    )
    taken = tuple(bench.taken[before:])
    if not math.isfinite(value):
        floor = projected(spread.mcse, spread.alone, n, worlds, 1e9)
        note = f" {worlds} worlds leave an error of {floor:.2g}: ask for more worlds."
        return Answer(asks, CALLED, dict(rest), "not reached", float(MOST_REPLICATIONS), math.nan, math.nan, None, n,
                      taken, note)  # fmt: skip
    return Answer(asks, CALLED, dict(rest), "found", value, lower, upper, math.ceil(value), n, taken)


def needed(spread: Spread, n: int, worlds: int, target: float) -> float:
    """Replications at which the projected Monte Carlo error is the target; infinite where worlds keep it above."""

    def error(factor: float) -> float:
        return projected(spread.mcse, spread.alone, n, worlds, factor)

    low, high = 1.0 / n, MOST_REPLICATIONS / n
    if error(high) > target:
        return math.inf
    for _ in range(200):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if error(middle) > target else (low, middle)
    return n * high


def spread_of(store: Store, replications: int, question: Question) -> Spread:
    """The Monte Carlo error of a measure in the first replications of a store with one cell.

    The standard error of its logarithm is the jackknife's over eight groups of blocks; with worlds, on which few
    numbers of one world each bear, it is no less than 1 / sqrt(2 (worlds - 1)) of the part that worlds add.
    """
    blocks = replications // BLOCK
    whole, alone = _mcse(store, range(blocks), question)
    parts = np.array_split(np.arange(blocks), GROUPS)
    logs = np.log([_mcse(store, np.setdiff1d(np.arange(blocks), part).tolist(), question)[0] for part in parts])
    jackknife = math.sqrt((GROUPS - 1) / GROUPS * float(np.square(logs - logs.mean()).sum()))
    added = max(1 - alone / whole**2, 0.0) if store.worlds > 1 and alone > 0 else 0.0
    return Spread(whole, alone, math.hypot(jackknife, added / math.sqrt(2 * max(store.worlds - 1, 1))))


def _mcse(store: Store, indices: Any, question: Question) -> tuple[float, float]:
    """The Monte Carlo error from some blocks, and the variance that independent fits would have."""
    frame = diagnose(Selection(store, 0, indices)).frame
    value, mcse, _ = question.value(frame)
    rows = frame[(frame["estimator"] == question.estimator) & (frame["term"] == question.term)]
    n = float(rows[rows["measure"] == question.column]["n"].max())
    if question.column in PROPORTIONS:
        return mcse, value * (1 - value) / n
    spread = rows[(rows["measure"] == "empirical_se") & (rows["sample"] == "own")]["value"]
    return mcse, float(spread.iloc[0]) ** 2 / n if question.measure == "bias" else math.nan
