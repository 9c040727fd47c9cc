"""Stopping at a target: a cell ends at the first checkpoint where its Monte Carlo errors are small enough.

Checkpoints are fixed numbers of whole blocks, and a cell is judged on all blocks before one of them, never on fewer: so
what a run keeps depends neither on the order in which blocks end nor on kills and resumes. Blocks beyond a checkpoint
are not computed before it is judged.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from estimators.core.estimator import Layout
from results.diagnosis.diagnose import diagnose
from results.diagnosis.fits import bound_factor
from results.diagnosis.measures import MEANINGS
from results.diagnosis.passes import OF_A_TERM
from results.store import BlockState, Stopped, Store
from results.verdict.wording import key_terms
from sim.errors import BadInput, Problem, closest, one_of
from sim.streams import TILE

LEAST = 512  # replications of the first checkpoint: a Monte Carlo error from fewer is itself a guess
GROWTH = 1.5  # from one checkpoint to the next: Monte Carlo errors end at most a fifth below the target
OF_TWO_CELLS = "size_adjusted_power"  # needs another cell
JUDGED = tuple(name for name in MEANINGS if name != OF_TWO_CELLS)  # measures that one cell gives
FORM = "MEASURE:MCSE or MEASURE:ERROR TYPE OR TERM:MCSE"


@dataclass(frozen=True, slots=True)
class Target:
    """The Monte Carlo error that a measure may have at most; which: one error type or one term, "" for all."""

    measure: str
    which: str
    mcse: float


@dataclass(frozen=True, slots=True)
class Until:
    """Targets that all must be met in a cell; rule: the text they were read from."""

    rule: str
    targets: tuple[Target, ...]

    @classmethod
    def read(cls, rule: str, layouts: Mapping[str, Layout], where: str = "--until") -> Until:
        """From "coverage:0.005,bias:did:1e-4"; raises BadInput with all that is wrong."""
        names = dict.fromkeys(name for layout in layouts.values() for name in (*layout.errors, *layout.terms))
        targets: list[Target] = []
        problems: list[Problem] = []
        for text in map(str.strip, rule.split(",")):
            found = list(_problems(text, layouts, tuple(names), where))
            problems += found
            if not found:
                measure, *middle, mcse = text.split(":")
                targets.append(Target(measure.strip(), ":".join(middle).strip(), float(mcse)))
        if problems:
            raise BadInput(*problems)
        return cls(",".join(f"{item.measure}{':' * bool(item.which)}{item.which}:{item.mcse:g}" for item in targets),
                   tuple(targets))  # fmt: skip

    def met(self, store: Store, cell: int, blocks: int) -> bool:
        """Whether the first `blocks` blocks of a cell meet every target, for every estimator's key terms.

        Where replications share worlds it is the upper confidence bound of a Monte Carlo error that is held against the
        target: the error itself is a guess from a few worlds, and a run would stop where it is small by luck.
        """
        frame = diagnose(store.only(cell, range(blocks))).frame
        frame = frame[(frame["sample"] == "own") & (frame["n"] > 0)]
        key = {(name, term) for name, layout in store.layouts.items() for term in key_terms(layout)}
        for target in self.targets:
            rows = frame[frame["measure"] == target.measure]
            named = (rows["term"] == target.which) | (rows["error"] == target.which)
            pairs = zip(rows["estimator"], rows["term"], strict=True)
            chosen = named if target.which else np.array([pair in key or not pair[1] for pair in pairs], dtype=bool)
            bounds = (rows["mcse"].to_numpy() * bound_factor(rows["worlds"].to_numpy()))[np.asarray(chosen)]
            if not len(bounds) or not bool((bounds <= target.mcse).all()):  # NaN is no small error
                return False
        return True


def _problems(text: str, layouts: Mapping[str, Layout], names: tuple[str, ...], where: str) -> Iterator[Problem]:
    """What is wrong with one target."""
    measure, *middle = (part.strip() for part in text.split(":"))
    which = ":".join(middle[:-1])
    if not middle:
        yield Problem(f"target {text!r}", where, FORM, 'write for instance "coverage:0.005,bias:1e-4"')
        return
    if measure not in JUDGED:
        yield Problem(f"measure {measure!r}", where, one_of(JUDGED), closest(measure, JUDGED))
    if which and which not in names:
        yield Problem(f"{which!r} is no error type and no term of this study", where, one_of(names, which),
                      closest(which, names))  # fmt: skip
    elif which and measure in OF_A_TERM and not any(which in layout.terms for layout in layouts.values()):
        yield Problem(f"{measure} has no error types, so {which!r} does not fit", where, f"{measure}:TERM:MCSE",
                      "leave the error type out")  # fmt: skip
    try:
        good = 0 < float(middle[-1]) < math.inf
    except ValueError:
        good = False
    if not good:
        yield Problem(f"Monte Carlo error {middle[-1]!r}", where, "a number above 0", "correct the number")


def checkpoints(blocks: int, block: int, worlds: int) -> tuple[int, ...]:
    """Numbers of blocks after which a cell is judged; the last is all of them.

    The first has 512 replications, and a tile in every world: Monte Carlo errors need the spread between worlds.
    """
    found = [min(blocks, math.ceil(max(LEAST, worlds * TILE) / block))]
    while found[-1] < blocks:
        found.append(min(blocks, math.ceil(found[-1] * GROWTH)))
    return tuple(found)


@dataclass(eq=False, slots=True)
class Stopping:
    """Which blocks of a store a run still needs, round by round, and where each cell stopped.

    missing: (cell, block) of what is to compute; who computes one takes it out. ended: by cell the blocks at which it
    stopped and whether the targets were met there; None where a block of it cannot be computed.
    """

    store: Store
    until: Until
    missing: set[tuple[int, int]]
    ended: dict[int, tuple[int, bool] | None] = field(default_factory=dict)
    at: dict[int, int] = field(default_factory=dict)  # position of the checkpoint that a cell is on its way to

    def next_round(self) -> list[tuple[int, int]]:
        """(cell, block) of what all cells that go on need to their next checkpoint; empty when all have ended."""
        marks = checkpoints(self.store.block_count, self.store.block, self.store.worlds)
        needed = {cell: self._needed(cell, marks) for cell in range(len(self.store.cells)) if cell not in self.ended}
        most = max(map(len, needed.values()), default=0)
        return [(cell, blocks[i]) for i in range(most) for cell, blocks in needed.items() if i < len(blocks)]

    def _needed(self, cell: int, marks: tuple[int, ...]) -> list[int]:
        """Blocks of a cell to its next checkpoint, judging it at those that it has reached."""
        while cell not in self.ended:
            count = marks[self.at.setdefault(cell, 0)]
            if needed := [index for index in range(count) if (cell, index) in self.missing]:
                return needed
            if any(self.store.state(cell, index) is not BlockState.DONE for index in range(count)):
                self.ended[cell] = None
            elif self.until.met(self.store, cell, count):
                self.ended[cell] = count, True
            elif count == marks[-1]:
                self.ended[cell] = count, False
            else:
                self.at[cell] += 1
        return []

    @property
    def stopped(self) -> Stopped:
        """What the store keeps of where its cells stopped."""
        whole = self.store.block_count
        found = [self.ended.get(cell) or (whole, False) for cell in range(len(self.store.cells))]
        counts = tuple(min(blocks * self.store.block, self.store.replications) for blocks, _ in found)
        return Stopped(self.until.rule, counts, tuple(met for _, met in found), self.store.worlds)
