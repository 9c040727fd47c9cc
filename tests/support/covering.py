"""Pairwise covering arrays: few rows of settings in which every allowed pair of values of two dials meets."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

Row = dict[str, str]
Pair = frozenset[tuple[str, str]]


def allowed_pairs(dials: Mapping[str, Sequence[str]], forbidden: Callable[[Row], bool]) -> set[Pair]:
    """All pairs of values of two dials that may stand in one row."""
    return {
        frozenset({(one, a), (two, b)})
        for one, two in itertools.combinations(dials, 2)
        for a, b in itertools.product(dials[one], dials[two])
        if not forbidden({one: a, two: b})
    }


def pairs_of(row: Row) -> set[Pair]:
    """The pairs of a row."""
    return {frozenset(pair) for pair in itertools.combinations(row.items(), 2)}


def covering_rows(dials: Mapping[str, Sequence[str]], forbidden: Callable[[Row], bool]) -> list[Row]:
    """Rows of all dials that hold every allowed pair; `forbidden` says so of a row that may not be complete.

    Each row begins with a missing pair and takes greedily, one dial after the other; the first values of dials must
    go with everything.
    """
    missing = allowed_pairs(dials, forbidden)
    rows: list[Row] = []
    while missing:
        row = dict(sorted(min(missing, key=sorted)))
        for dial in dials:
            if dial not in row:
                fitting = [value for value in dials[dial] if not forbidden(row | {dial: value})]
                row[dial] = max(fitting, key=lambda v: len(pairs_of(row | {dial: v}) & missing))
        missing -= pairs_of(row)
        rows.append({dial: row[dial] for dial in dials})
    return rows
