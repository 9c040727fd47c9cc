"""What speaks for and against an estimate of a panel: one record a check, most serious first.

A check that estimates in another way tests the difference to the claim; one that looks at a fact says whether anything
is wrong. Both have one of four answers. "consistent": nothing differs, and what would take the claim's support away is
excluded, or a fact is as it should be. "cannot tell": the difference's interval holds both nothing and what would take
the support away, or a fact weakens the claim. "differs": there is a difference, and the claim stands. "contradicts":
there is a difference towards zero, and the other estimate does not support the claim.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

import numpy as np

Answer = Literal["consistent", "cannot tell", "differs", "contradicts"]  # the less serious first
ANSWERS: tuple[Answer, ...] = get_args(Answer)
MOST_LINES, LEAST_SHOWN = 14, 3  # of a terminal, and sentences whatever their length; the files hold all
OVERTURNS, WEAKENS, INFORMS, SILENT = 3, 2, 1, 0


@dataclass(frozen=True, slots=True)
class Check:
    """One check of a claim, or of a panel.

    name: its stable code. sentence: what was found, in words. answer: see the module. weight: how serious it is where
    it differs or cannot tell, 2 it weakens the claim, 1 a reader should know. numbers: what the sentence rests on, by
    name, None where there is none. alternative: how else the claim is estimated, in words, "" for a fact. difference,
    se, lower, upper: that estimate less the claim, its error and interval, in `unit`. needed: the difference that takes
    the claim's support away (of the other sign than the claim), None without a claim. benchmark: what the number is
    held against by convention or on panels without a fault. false_alarm, power: how often it gives an alarm where
    nothing is wrong, and where the difference is `needed`; None until they are simulated. remedy: what to do.
    alternatives: of the estimator `Differences`, those that the check looks at.
    """

    name: str
    sentence: str
    answer: Answer = "consistent"
    weight: int = INFORMS
    numbers: Mapping[str, float | None] = field(default_factory=dict)
    alternative: str = ""
    difference: float | None = None
    se: float | None = None
    lower: float | None = None
    upper: float | None = None
    needed: float | None = None
    unit: str = ""
    benchmark: float | None = None
    false_alarm: float | None = None
    power: float | None = None
    remedy: str = ""
    alternatives: tuple[str, ...] = ()

    @classmethod
    def fact(
        cls, name: str, severity: int, said: str, quiet: str = "", numbers: Mapping[str, float | None] | None = None,
        **more: Any,
    ) -> Check:  # fmt: skip
        """One that says `said` where something is wrong, and `quiet` where nothing is; by its severity, 0 to 3."""
        answer: Answer = "contradicts" if severity == OVERTURNS else "cannot tell" if severity else "consistent"
        sentence = said if severity or not quiet else quiet
        return cls(name, sentence, answer, min(max(severity, INFORMS), WEAKENS), numbers or {}, **more)

    @property
    def severity(self) -> int:
        """3 it speaks against the effect, 2 it weakens it, 1 a reader should know, 0 nothing is wrong."""
        return {"contradicts": OVERTURNS, "consistent": SILENT}.get(self.answer, self.weight)

    @property
    def record(self) -> dict[str, Any]:
        """The check's own fields as trust.json holds them, without the sentence and its numbers."""
        names = ("name", "alternative", "difference", "se", "lower", "upper", "needed", "unit", "benchmark", "answer",
                 "false_alarm", "power", "remedy")  # fmt: skip
        return {name: _plain(getattr(self, name)) for name in names}

    @property
    def plain(self) -> dict[str, Any]:
        """As estimates.json holds it."""
        own = self.record
        numbers = {name: _plain(value) for name, value in self.numbers.items()}
        first = {"code": own.pop("name"), "severity": self.severity, "sentence": self.sentence, "numbers": numbers}
        return first | own


def _plain(value: Any) -> Any:
    """None for a number that is not finite."""
    return None if isinstance(value, float) and not np.isfinite(value) else value


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
        return {name: _plain(value) for name, value in asdict(self).items()}


def spoken(checks: Sequence[Check]) -> tuple[Check, ...]:
    """Those that have something to say, most serious first, in their own order where they are alike."""
    said = [check for check in checks if check.severity > SILENT]
    return tuple(sorted(said, key=lambda check: -check.severity))


def heading(checks: Sequence[Check]) -> str:
    """How many there are, and how many checks found nothing."""
    said = len(spoken(checks))
    silent = len(checks) - said
    counted = f"{said or 'no'} warning{'s' * (said != 1)}"
    order = ", the most serious first" if said > 1 else ""
    return f"Before the tables: {counted}{order} ({silent} check{'s' * (silent != 1)} found nothing)"


def sentences(checks: Sequence[Check], most: int | None = None) -> tuple[str, ...]:
    """The sentences, at most so many, and then how many more the files hold."""
    said = spoken(checks)
    shown = [check.sentence for check in said[:most]]
    more = len(said) - len(shown)
    return (*shown, f"{more} more: see estimates.json.") if more else tuple(shown)
