"""Pairwise covering arrays: few rows of settings in which every allowed pair of values of two dials meets."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

Row = dict[str, Any]
Pair = tuple[tuple[str, Any], tuple[str, Any]]  # in the order of the dials


def anything_goes(row: Row) -> bool:
    """No row is forbidden."""
    return False


def allowed_pairs(dials: Mapping[str, Sequence[Any]], forbidden: Callable[[Row], bool] = anything_goes) -> set[Pair]:
    """All pairs of values of two dials that may stand in one row."""
    return {
        ((one, a), (two, b))
        for one, two in itertools.combinations(dials, 2)
        for a, b in itertools.product(dials[one], dials[two])
        if not forbidden({one: a, two: b})
    }


def pairs_of(row: Row, dials: Mapping[str, Sequence[Any]]) -> set[Pair]:
    """The pairs of a row, which need not be complete."""
    return set(itertools.combinations([(dial, row[dial]) for dial in dials if dial in row], 2))


def covering_rows(dials: Mapping[str, Sequence[Any]], forbidden: Callable[[Row], bool] = anything_goes) -> list[Row]:
    """Rows of all dials that hold every allowed pair; `forbidden` says so of a row that may not be complete.

    Each row begins with a missing pair and takes greedily, one dial after the other; the first values of dials must
    go with everything. Nothing is drawn: the same dials give the same rows.
    """
    if len(dials) == 1:
        return [{dial: value} for dial, values in dials.items() for value in values]
    missing = allowed_pairs(dials, forbidden)
    rows: list[Row] = []
    while missing:
        row = dict(min(missing, key=in_order))
        for dial in dials:
            if dial not in row:
                fitting = [value for value in dials[dial] if not forbidden(row | {dial: value})]
                row[dial] = max(fitting, key=lambda value: len(pairs_of(row | {dial: value}, dials) & missing))
        row = {dial: row[dial] for dial in dials}
        missing -= pairs_of(row, dials)
        rows.append(row)
    return rows


def in_order(pair: Pair) -> list[tuple[str, str]]:
    """What pairs are sorted by, whatever their values are."""
    return sorted((dial, str(value)) for dial, value in pair)


def covered(**dials: Sequence[Any]) -> pytest.MarkDecorator:
    """A test of some cases in which every two values of two of its arguments meet, in place of all cases."""
    rows = covering_rows({name: tuple(values) for name, values in dials.items()})
    return pytest.mark.parametrize(tuple(dials), [tuple(row[name] for name in dials) for row in rows])
