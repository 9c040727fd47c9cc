"""Sizes of simulations: small ones in the suite, full ones where the variable FULL is set.

`FULL=1 python -m pytest TEST` runs a test at its full size, `python tests/campaigns/run.py full` all that have one.
"""

from __future__ import annotations

import os

VARIABLE = "FULL"


def size[Size](small: Size, full: Size) -> Size:
    """The small one, or the full one where the variable is set."""
    return full if os.environ.get(VARIABLE) else small
