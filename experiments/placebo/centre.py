"""Where placebos lie: a scheme that keeps what an estimate comes from has placebos around the estimate, not zero."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sim.arrays import Floats

MOST = 0.5  # share of the estimate that the placebos' mean may be, with its sign, without a word
CLEAR = 4.0  # Monte Carlo errors of the mean from which it is no zero


def centre_notes(estimate: float, placebos: Floats, scheme: str, *, before: bool = False) -> Iterator[str]:
    """A note when the mean of placebos (B,) is half of the estimate or more, and clearly not zero.

    before: placebos use the time before adoption alone. Their mean is then nothing that an assignment keeps but what
    treated units did before they were treated, of either sign.
    """
    if len(placebos) < 2:
        return
    mean = float(placebos.mean())
    error = float(placebos.std(ddof=1)) / np.sqrt(len(placebos))
    if before and abs(mean) > max(CLEAR * error, MOST * abs(estimate)):
        yield (
            f"The placebos in time have mean {mean:.4g}, and the estimate is {estimate:.4g}. So much did treated units "
            "and others move apart before adoption. This is evidence against parallel trends; the check of placebos in "
            "time that `estimate` prints has its sampling error."
        )
    elif abs(mean) > CLEAR * error and mean * np.sign(estimate) >= MOST * abs(estimate) > 0:
        yield (
            f"The placebos have mean {mean:.4g}, and the estimate is {estimate:.4g}. Most of the estimate comes from "
            f"what the assignment by {scheme} keeps, such as how many units of each group are treated and when. The "
            "test is of the rest alone."
        )
