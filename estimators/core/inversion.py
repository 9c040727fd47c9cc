"""p values of permutation tests and intervals by inverting them, from the statistics of all draws at once.

The hypothesis that a constant effect is c moves the outcome to y - c D. A coefficient that is linear in the outcome is
then b - c g, with g the coefficient of D itself under the same assignment: g = 1 for the real one. p(c) = (1 + number
of draws as extreme as the sample)/(1 + draws), two-sided on absolute values; the sample counts among its draws
(Phipson and Smyth 2010). The interval holds every c that is not rejected at `LEVEL`, up to the first rejected one on
either side of the estimate. Draws without a statistic count as extreme.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from estimators.core.estimator import Moments
from sim.arrays import Flags, Floats

LEVEL = 0.05  # of intervals
TIE = 1e-9  # relative distance of two statistics that counts as none
DOUBLINGS = 14  # of the distance at which a rejected value is sought; then there is none
BISECTIONS = 50


@dataclass(frozen=True, eq=False, slots=True)
class NullTests(Moments):
    """p values of 0 and interval ends, which do not follow from a standard error, (R,) or (R, K) each; NaN where there
    is none, infinite on an endless side."""

    pvalue: Floats
    lower: Floats
    upper: Floats

    @classmethod
    def none(cls, shape: tuple[int, ...]) -> NullTests:
        """No test."""
        return cls(*(np.full(shape, np.nan) for _ in range(3)))

    def where(self, sound: Flags) -> NullTests:
        """The same, NaN elsewhere."""
        return NullTests(*(np.where(sound, values, np.nan) for values in (self.pvalue, self.lower, self.upper)))


def p_values(real: Floats, drawn: Floats) -> Floats:
    """p of R samples, real (R,), against B draws each, drawn (R, B); NaN where the sample has no statistic."""
    less = np.abs(drawn) < np.abs(real)[:, None] * (1 - TIE)
    return np.where(np.isnan(real), np.nan, (1.0 + (~less).sum(axis=1)) / (1.0 + drawn.shape[1]))


def p_value_errors(pvalue: Floats, draws: int) -> Floats:
    """Monte Carlo standard errors sqrt(p (1 - p)/B)."""
    return np.sqrt(pvalue * (1.0 - pvalue) / draws)


@np.errstate(divide="ignore", invalid="ignore")
def linear_interval(real: Floats, drawn: Floats, slope: Floats) -> tuple[Floats, Floats]:
    """Lower and upper ends, (R,), when statistics are linear: real - c against drawn - c slope.

    real (R,), drawn (R, B), slope (1 or R, B). A draw is as extreme as the sample where (drawn - c slope)^2 >= (real -
    c)^2: between the roots (drawn - real)/(slope - 1) and (drawn + real)/(slope + 1) when |slope| < 1, outside them
    when it is larger. Both cases leave a side of c = real at one root and may enter again at the other.
    """
    gap, total = drawn - real[:, None], drawn + real[:, None]
    small = TIE * np.maximum(np.abs(real)[:, None], np.abs(drawn))
    same = (np.abs(gap) <= small) & (np.abs(slope - 1) <= TIE)
    opposite = (np.abs(total) <= small) & (np.abs(slope + 1) <= TIE)
    always = same | opposite | ~np.isfinite(drawn)
    roots = np.stack([gap / (slope - 1), total / (slope + 1)])
    roots[:, always] = np.nan
    roots -= real[:, None]
    inside = np.broadcast_to((np.abs(slope) < 1) | (slope == -1), drawn.shape)  # at -1 the far root is total / +0
    ends = [_first_exit(side * roots, inside, _needed(drawn.shape[1])) for side in (-1.0, 1.0)]
    return real - ends[0], real + ends[1]


def _first_exit(roots: Floats, inside: NDArray[np.bool_], needed: int) -> Floats:
    """Least distance >= 0 beyond which fewer than `needed` draws are extreme, (R,), on the side where roots (2, R, B)
    are positive; infinite when that never happens.
    """
    near, far = np.fmin(*roots), np.fmax(*roots)
    if needed <= 0:
        return np.full(near.shape[0], np.inf)
    ahead = near + far > 0  # outside the roots both lie on one side of the estimate
    leaves = np.where(inside, far, np.where(ahead, near, np.nan))
    enters = np.where(~inside & ahead, far, np.nan)
    enters[~np.isfinite(leaves)] = np.nan
    leaves = np.maximum(leaves, 0.0)
    places = np.concatenate([enters, leaves], axis=1)  # who enters counts before who leaves at the same place
    places = np.where(np.isfinite(places), places, np.inf)
    change = np.concatenate([np.ones_like(enters), -np.ones_like(leaves)], axis=1)
    order = np.argsort(places, axis=1, kind="stable")
    sorted_places = np.take_along_axis(places, order, axis=1)
    change = np.where(np.isinf(sorted_places), 0.0, np.take_along_axis(change, order, axis=1))
    extreme = near.shape[1] + np.cumsum(change, axis=1)
    rejected = extreme < needed
    first = np.where(rejected.any(axis=1), rejected.argmax(axis=1), places.shape[1] - 1)
    ends = np.take_along_axis(sorted_places, first[:, None], axis=1)[:, 0]
    return np.where(rejected.any(axis=1), ends, np.inf)


def searched_interval(real: Floats, scale: Floats, pvalue: Callable[[Floats], Floats]) -> tuple[Floats, Floats]:
    """Lower and upper ends, (R,), by doubling and bisection from `scale`, (R,); pvalue maps c (R,) to p (R,)."""
    ends = []
    for side in (-1.0, 1.0):
        inside, outside = np.zeros_like(real), np.where(scale > 0, scale, 1.0)
        found = np.zeros(real.shape, dtype=bool)
        for _ in range(DOUBLINGS):
            found |= pvalue(real + side * outside) <= LEVEL
            if found.all():
                break
            inside, outside = np.where(found, inside, outside), np.where(found, outside, 2 * outside)
        for _ in range(BISECTIONS):
            middle = (inside + outside) / 2
            rejected = pvalue(real + side * middle) <= LEVEL
            inside, outside = np.where(rejected, inside, middle), np.where(rejected, middle, outside)
        ends.append(real + side * np.where(found, (inside + outside) / 2, np.inf))
    return ends[0], ends[1]


def _needed(draws: int) -> int:
    """How many extreme draws keep a value from being rejected: the least k with (1 + k)/(1 + draws) > LEVEL."""
    return int(np.floor(LEVEL * (1 + draws) + TIE))
