"""A share of a study's blocks, which a store of its own holds until `merge` joins all of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from sim.errors import bad


@dataclass(frozen=True, slots=True)
class Shard:
    """Share `number` (from 1) of `of`: every `of`-th block, counted over the cells of one block after the other."""

    number: int
    of: int

    @classmethod
    def read(cls, text: str, where: str = "--shard") -> Shard:
        """From "2/4"; raises BadInput for anything else."""
        found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text.strip())
        number, of = (int(part) for part in found.groups()) if found else (0, 0)
        if not 1 <= number <= of:
            raise bad(f"{text!r} is no share", where=where, allowed="I/N with I from 1 to N, such as 1/4",
                      remedy="correct it")  # fmt: skip
        return cls(number, of)

    def holds(self, cell: Any, index: Any, cells: int) -> Any:
        """Whether a block belongs to it, or which of some arrays of blocks; more replications change nothing about
        earlier blocks."""
        return (index * cells + cell) % self.of == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @property
    def suffix(self) -> str:
        """What the name of its store ends in."""
        return f"-{self.number}-of-{self.of}"
