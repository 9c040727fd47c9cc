"""Arrays by what their numbers are, for annotations; docstrings say the shapes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]  # whole numbers that stand for something: places, clusters, groups, paths
Flags = NDArray[np.bool_]
