"""A study's records in memory, with the interface of the Zarr store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from estimators.core.estimator import Layout
from results.store.block import Block
from results.store.skeleton import StoreSchema


@dataclass(eq=False)
class MemoryStore:
    """A study's results in memory; the same interface as ZarrStore for those who run and those who read."""

    schema: StoreSchema
    kept: dict[tuple[int, int], Block] = field(default_factory=dict)
    notes: dict[str, object] = field(default_factory=dict)

    @property
    def cells(self) -> Sequence[Mapping[str, object]]:
        """The grid parameters of each cell."""
        return self.schema.cells

    @property
    def layouts(self) -> Mapping[str, Layout]:
        """The layout of each estimator, by name."""
        return self.schema.layouts

    def blocks(self, cell: int) -> Iterator[Block]:
        """The finished blocks of a cell, in order."""
        for key in sorted(self.kept):
            if key[0] == cell:
                yield self.kept[key]

    def pending(self) -> list[tuple[int, int]]:
        """(cell, block) of every block."""
        count = -(-self.schema.replications // self.schema.block)
        return [(cell, index) for index in range(count) for cell in range(len(self.cells))]

    def write(self, cell: int, index: int, block: Block) -> str:
        """Keep a block."""
        self.kept[cell, index] = block
        return ""

    def poison(self, cell: int, index: int) -> None:
        """Leave a block out."""

    def note(self, key: str, value: object) -> None:
        """Keep something beside the results."""
        self.notes[key] = value

    def noted(self, key: str, default: object = None) -> object:
        """What `note` kept."""
        return self.notes.get(key, default)
