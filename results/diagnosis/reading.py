"""How the passes of a diagnosis read: cells beside each other, and each block once where all of a cell has room."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

from results.store.block import Block, Records

BUDGET = 256 * 2**20  # bytes of blocks that are kept between passes
PIECE = 8192  # replications that are judged together, at most: memory is then that of a piece
JOINED = 2048  # replications of small blocks that are judged together
WORKERS = 4  # at most, and no more than cores: each holds a block and what is made of it


class Reading:
    """The blocks of records for several passes: of cells that fit into the budget they are read and checked once."""

    def __init__(self, records: Records, budget: int | None = None) -> None:
        self.records = records
        self._left = BUDGET if budget is None else budget
        self._kept: dict[int, list[Block]] = {}
        self._lock = Lock()

    def pieces(self, cell: int) -> Iterator[Block]:
        """The finished blocks of a cell, in order and in pieces of about equal size."""
        for block in self._blocks(cell):
            if block.replications <= PIECE:
                yield block
            else:
                yield from (block.take(slice(start, start + PIECE)) for start in range(0, block.replications, PIECE))

    def _blocks(self, cell: int) -> Iterator[Block]:
        if cell in self._kept:
            yield from self._kept[cell]
            return
        held: list[Block] | None = []
        taken = 0
        blocks = together(self.records.blocks(cell))
        for block in ahead(blocks) if len(self.records.cells) < _cores() else blocks:
            size = size_of(block)
            if held is not None and self._take(size):
                taken += size
                held.append(block)
            elif held is not None:  # the cell has no room: what was kept of it makes room for others
                held = None
                self._take(-taken)
            yield block
        if held is not None:
            self._kept[cell] = held

    def _take(self, size: int) -> bool:
        """Take bytes of the budget, which all threads share, or give them back."""
        with self._lock:
            if size > self._left:
                return False
            self._left -= size
            return True


def together(blocks: Iterator[Block]) -> Iterator[Block]:
    """Small blocks that follow one another joined, because each piece costs a pass as much as thousands of rows."""
    held: list[Block] = []
    for block in blocks:
        end = held[-1].start + held[-1].replications if held else block.start
        if held and (block.start != end or end + block.replications - held[0].start > JOINED):
            yield Block.join(held)
            held = []
        held.append(block)
    if held:
        yield Block.join(held)


def size_of(block: Block) -> int:
    """Bytes of a block's arrays."""
    arrays = [*block.truth.values()]
    for fits in block.estimates.values():
        further = (part for part in (fits.pvalue, fits.lower, fits.upper) if part is not None)
        arrays += [fits.estimate, fits.se, fits.dof, *further, *fits.statistics.values()]
    return sum(array.nbytes for array in arrays)


def ahead[T](items: Iterator[T]) -> Iterator[T]:
    """The same, while a thread gets the next one: where cells are fewer than cores, one of these has nothing to do."""
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(list, itertools.islice(items, 1))
        while item := following.result():
            following = pool.submit(list, itertools.islice(items, 1))
            yield item[0]


def _cores() -> int:
    """On how many cells are read beside each other."""
    return min(os.cpu_count() or 1, WORKERS)


def for_each[T](items: Iterable[int], work: Callable[[int], T]) -> dict[int, T]:
    """What some work makes of each item, on several cores; numpy lets threads run beside each other."""
    wanted = list(items)
    workers = min(len(wanted), _cores())
    if workers < 2:
        return {item: work(item) for item in wanted}
    with ThreadPoolExecutor(workers) as pool:
        return dict(zip(wanted, pool.map(work, wanted), strict=True))
