"""How sentences write numbers, and what they call a unit."""

from __future__ import annotations

from collections.abc import Sequence

from results.tables.typography import stars


def number(value: float) -> str:
    """Four decimals, or three significant digits of what is smaller or larger."""
    return f"{value:.4f}" if value == 0 or 5e-5 <= abs(value) < 1e4 else f"{value:.3g}"


def starred(value: float, pvalue: float | None) -> str:
    """With its stars, as in the tables."""
    return number(value) + (stars(pvalue) if pvalue is not None else "")


def some(names: Sequence[str], most: int = 3) -> str:
    """Names, the first of many."""
    return ", ".join(names) if len(names) <= most else f"{', '.join(names[:most])} and {len(names) - most} more"
