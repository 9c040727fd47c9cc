"""Periods as whole numbers: how far apart they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def period_step(years: NDArray[np.int64] | Sequence[int]) -> int:
    """Years from one period to the next: the greatest common divisor of all gaps, 1 for a single period.

    So 1 where a year is missing from an annual panel, and 2 in a biennial one.
    """
    return int(np.gcd.reduce(np.diff(np.unique(years)))) or 1
