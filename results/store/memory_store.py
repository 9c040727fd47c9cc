"""A study's records in memory, with the interface of the Zarr store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from results.store.block import Block, block_arrays
from results.store.skeleton import StoreSchema
from results.store.store import BlockState, Store


@dataclass(eq=False)
class MemoryStore(Store):
    """A study's results in memory; the same interface as ZarrStore for those who run and those who read."""

    schema: StoreSchema
    kept: dict[tuple[int, int], Block] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.states = np.zeros((len(self.cells), self.block_count), dtype=np.uint8)
        self.origins = np.zeros((*self.states.shape, len(self.schema.parts)), dtype=np.uint16)

    def sound(self, cell: int, index: int) -> Block:
        """A block that is there."""
        return self.kept[cell, index]

    def arrays_of(self, cell: int, index: int, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Arrays of a block that is there, by their paths in a store."""
        found = block_arrays(self.kept[cell, index], self.layouts, self.estimands)
        return {name: found[name] for name in names}

    def sound_parts(self, cell: int, index: int) -> Block | None:
        """What of a block is there."""
        return self.kept.get((cell, index))

    def intact(self, cell: int, index: int) -> bool:
        """Whether a block is there."""
        return self.state(cell, index) is BlockState.DONE

    def statuses(self, cell: int, index: int) -> Mapping[str, NDArray[np.uint8]]:
        """The status (R,) of each fit of a block that is there, by estimator."""
        return {name: estimates.status for name, estimates in self.kept[cell, index].estimates.items()}

    def note(self, key: str, value: Any) -> None:
        """Keep something beside the results."""
        self.notes[key] = value

    def noted(self, key: str, default: Any = None) -> Any:
        """What `note` kept."""
        return self.notes.get(key, default)

    def _put(
        self, cell: int, index: int, block: Block, origins: NDArray[np.uint16], state: BlockState, kept: Set[str]
    ) -> None:
        own = {**{name: self.kept[cell, index].estimates[name] for name in kept}, **block.estimates}
        self.kept[cell, index] = replace(block, estimates=own)

    def _mark_poisoned(self, cell: int, index: int) -> None:
        self.kept.pop((cell, index), None)
