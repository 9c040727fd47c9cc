"""Sizes of simulations: small ones in the suite, full ones where the variable FULL is set.

`FULL=1 python -m pytest TEST` runs a test at its full size; `python tests/campaigns/run.py full` runs all that have one.
"""

from __future__ import annotations

import os

VARIABLE = "FULL"


def size(small: int, full: int) -> int:
    """The small one, or the full one where the variable is set."""
    return full if os.environ.get(VARIABLE) else small
