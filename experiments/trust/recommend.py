"""Which error type to print: one rule, from sizes on the twin."""

from __future__ import annotations

from collections.abc import Mapping

from experiments.trust.studies import LEVEL, Measure

NEAR = 2.0  # Monte Carlo errors within which a size counts as the nominal one


def recommended(sizes: Mapping[str, Measure], printed: str) -> str:
    """The printed error type where its size lies within 2 Monte Carlo errors of 5%, else that of the nearest size.

    Of sizes that differ from 5%, those above it count double: too many false findings are worse than too few.
    """
    if _excess(sizes[printed]) == 0.0:
        return printed
    known = [error for error, size in sizes.items() if size.value == size.value]
    return min(known, key=lambda error: (_excess(sizes[error]), abs(sizes[error].value - LEVEL)), default=printed)


def _excess(size: Measure) -> float:
    gap = size.value - LEVEL
    beyond = max(abs(gap) - NEAR * size.mcse, 0.0)
    return beyond * (2.0 if gap > 0 else 1.0)
