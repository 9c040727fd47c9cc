"""What a reader must know before the tables: what disagrees in a panel's own estimates, most serious first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

MOST_LINES, LEAST_SHOWN = 14, 3  # of a terminal, and sentences whatever their length; the files hold all
OVERTURNS, WEAKENS, INFORMS, SILENT = 3, 2, 1, 0


@dataclass(frozen=True, slots=True)
class PanelWarning:
    """One check of a panel and its estimates.

    code: its stable name. severity: 3 it speaks against the effect, 2 it weakens it, 1 a reader should know, 0 nothing
    is wrong. sentence: what was found, in words. numbers: what the sentence rests on, by name, None where there is
    none.
    """

    code: str
    severity: int
    sentence: str
    numbers: Mapping[str, float | None] = field(default_factory=dict)

    @classmethod
    def of(
        cls, code: str, severity: int, said: str, quiet: str, numbers: Mapping[str, float | None] | None = None
    ) -> PanelWarning:
        """One that says `said` where something is wrong, and `quiet` where nothing is."""
        return cls(code, severity, said if severity else quiet, numbers or {})

    @property
    def plain(self) -> dict[str, Any]:
        """As estimates.json holds it."""
        numbers = {
            name: None if value is None or not np.isfinite(value) else value for name, value in self.numbers.items()
        }
        return {"code": self.code, "severity": self.severity, "sentence": self.sentence, "numbers": numbers}


@dataclass(frozen=True, slots=True)
class Specification:
    """One way to estimate the effect: a group of ways, its name, the estimate with its test and 95% interval."""

    kind: str
    label: str
    estimate: float
    se_type: str
    pvalue: float
    lower: float
    upper: float

    @property
    def plain(self) -> dict[str, Any]:
        """As estimates.json holds it."""
        return {name: value if isinstance(value, str) or np.isfinite(value) else None
                for name, value in asdict(self).items()}  # fmt: skip


def spoken(warnings: Sequence[PanelWarning]) -> tuple[PanelWarning, ...]:
    """Those that have something to say, most serious first, in their own order where they are alike."""
    said = [warning for warning in warnings if warning.severity > SILENT]
    return tuple(sorted(said, key=lambda warning: -warning.severity))


def heading(warnings: Sequence[PanelWarning]) -> str:
    """How many there are, and how many checks found nothing."""
    said = len(spoken(warnings))
    silent = len(warnings) - said
    counted = f"{said or 'no'} warning{'s' * (said != 1)}"
    order = ", the most serious first" if said > 1 else ""
    return f"Before the tables: {counted}{order} ({silent} check{'s' * (silent != 1)} found nothing)"


def sentences(warnings: Sequence[PanelWarning], most: int | None = None) -> tuple[str, ...]:
    """The sentences, at most so many, and then how many more the files hold."""
    said = spoken(warnings)
    shown = [warning.sentence for warning in said[:most]]
    more = len(said) - len(shown)
    return (*shown, f"{more} more: see estimates.json.") if more else tuple(shown)
