"""Where the cells of a store stopped at a target."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stopped:
    """Where the cells of a store stopped because their Monte Carlo errors were small enough.

    rule: the targets. replications: of each cell. met: whether each cell reached the targets.
    worlds: that replications share, by which Monte Carlo errors are clustered.
    """

    rule: str
    replications: tuple[int, ...]
    met: tuple[bool, ...]
    worlds: int = 1

    @property
    def sentence(self) -> str:
        """What a reader of the store must know, in one line."""
        ends = sorted(count for count, met in zip(self.replications, self.met, strict=True) if met)
        cells, rule = len(self.met), f"Monte Carlo errors of at most {self.rule.replace(',', ', ')}"
        if not ends:
            return f"{rule} were not reached in {'the cell' if cells == 1 else f'any of {cells} cells'}{self._advice}"
        span = f"{ends[0]:,}" if ends[0] == ends[-1] else f"{ends[0]:,} to {ends[-1]:,}"
        where = "" if cells == 1 else f" in {len(ends)} of {cells} cells"
        return f"stopped at {rule}{where}, after {span} replications{'' if len(ends) == cells else self._advice}"

    @property
    def _advice(self) -> str:
        """What helps cells that did not reach the targets; "" where only more replications do."""
        if self.worlds == 1:
            return ""
        return (f"; with {self.worlds} worlds an error is judged by its upper confidence bound: set more worlds in the "
                "study, because more replications in the same worlds may not be enough")  # fmt: skip
