"""How the passes of a diagnosis read: cells beside each other, and each block once where all of a cell has room."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from results.store.block import Block, Records

BUDGET = 256 * 2**20  # bytes of blocks that are kept between passes
WORKERS = 4  # at most, and no more than cores: each holds a block and what is made of it


class Reading:
    """The blocks of records for several passes: of cells that fit into the budget they are read and checked once."""

    def __init__(self, records: Records, budget: int | None = None) -> None:
        self.records = records
        self._left = BUDGET if budget is None else budget
        self._kept: dict[int, list[Block]] = {}

    def blocks(self, cell: int) -> Iterator[Block]:
        """The finished blocks of a cell, in order."""
        if cell in self._kept:
            yield from self._kept[cell]
            return
        held: list[Block] | None = []
        size = 0
        for block in self.records.blocks(cell):
            size += size_of(block)
            if held is not None and size <= self._left:
                held.append(block)
            else:
                held = None
            yield block
        if held is not None and size <= self._left:
            self._left -= size
            self._kept[cell] = held


def size_of(block: Block) -> int:
    """Bytes of a block's arrays."""
    arrays = [*block.truth.values()]
    for fits in block.estimates.values():
        further = (part for part in (fits.pvalue, fits.lower, fits.upper) if part is not None)
        arrays += [fits.estimate, fits.se, fits.dof, *further, *fits.statistics.values()]
    return sum(array.nbytes for array in arrays)


def for_each[T](items: Iterable[int], work: Callable[[int], T]) -> dict[int, T]:
    """What some work makes of each item, on several cores; numpy lets threads run beside each other."""
    wanted = list(items)
    workers = min(len(wanted), os.cpu_count() or 1, WORKERS)
    if workers < 2:
        return {item: work(item) for item in wanted}
    with ThreadPoolExecutor(workers) as pool:
        return dict(zip(wanted, pool.map(work, wanted), strict=True))
