"""Where the cells of a store stopped at a target."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stopped:
    """Where the cells of a store stopped because their Monte Carlo errors were small enough.

    rule: the targets. replications: of each cell. met: whether each cell reached the targets.
    """

    rule: str
    replications: tuple[int, ...]
    met: tuple[bool, ...]

    @property
    def sentence(self) -> str:
        """What a reader of the store must know, in one line."""
        ends = sorted(count for count, met in zip(self.replications, self.met, strict=True) if met)
        cells, rule = len(self.met), f"Monte Carlo errors of at most {self.rule.replace(',', ', ')}"
        if not ends:
            return f"{rule} were not reached in {'the cell' if cells == 1 else f'any of {cells} cells'}"
        span = f"{ends[0]:,}" if ends[0] == ends[-1] else f"{ends[0]:,} to {ends[-1]:,}"
        where = "" if cells == 1 else f" in {len(ends)} of {cells} cells"
        return f"stopped at {rule}{where}, after {span} replications"
