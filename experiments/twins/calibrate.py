"""Indirect inference: parameters at which a simulated panel's statistics are those of the real one.

Gourieroux, Monfort and Renault (1993). The statistics need not be unbiased for anything: within-unit autoregressions,
Moran's I of residuals and the like are biased in short panels, and equally so in the simulated ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Moments = Callable[[Floats], tuple[Floats, Floats]]

MOST_STEPS, HALVINGS = 30, 6
WIDTH = 1e-3  # of a difference quotient, as a share of the parameter's range of sense
LEAST = 1e-12  # Monte Carlo error that is taken for none


@dataclass(frozen=True, eq=False, slots=True)
class Calibration:
    """What Newton's method found: parameters (P,), their statistics (S,) with Monte Carlo errors, and how it ended.

    edge (P,): parameters at an end of their range that would go beyond. matched: every mismatch is below its Monte
    Carlo error.
    """

    values: Floats
    statistics: Floats
    mcse: Floats
    edge: NDArray[np.bool_]
    matched: bool
    steps: int


def calibrated(moments: Moments, target: Floats, start: Floats, low: Floats, high: Floats) -> Calibration:
    """Damped Newton steps from `start` within [low, high] until mismatches (S,) are below their Monte Carlo errors.

    moments: parameters -> mean statistics and their Monte Carlo errors, on common random numbers, so that differences
    between parameters are those of the parameters. A step is halved while it does not bring the statistics nearer.
    """
    at = np.clip(start, low, high)
    now, mcse = moments(at)
    free = np.ones(len(at), dtype=bool)
    for step in range(MOST_STEPS):
        gap = target - now
        weight = 1.0 / np.maximum(mcse, LEAST)
        if (np.abs(gap) * weight <= 1.0).all():
            return Calibration(at, now, mcse, ~free, matched=True, steps=step)
        slopes = _slopes(moments, at, now, low, high)
        move, free = _newton(slopes * weight[:, None], gap * weight, at, low, high)
        following = _damped(moments, target, at, move, np.linalg.norm(gap * weight), weight, (low, high))
        if following is None:
            return Calibration(at, now, mcse, ~free, matched=False, steps=step)
        at, now, mcse = following
    return Calibration(at, now, mcse, ~free, matched=False, steps=MOST_STEPS)


def _slopes(moments: Moments, at: Floats, now: Floats, low: Floats, high: Floats) -> Floats:
    """Difference quotients (S, P), inwards from the ends of the range."""
    columns = []
    for k in range(len(at)):
        width = WIDTH * (high[k] - low[k])
        step = width if at[k] + width <= high[k] else -width
        other = at.copy()
        other[k] += step
        columns.append((moments(other)[0] - now) / step)
    return np.stack(columns, axis=1)


def _newton(slopes: Floats, gap: Floats, at: Floats, low: Floats, high: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """The step, and which parameters take part in it: one that would leave its range from an end of it does not."""
    free = np.ones(len(at), dtype=bool)
    move = np.zeros(len(at))
    for _ in range(len(at)):
        move = np.zeros(len(at))
        move[free] = np.linalg.lstsq(slopes[:, free], gap, rcond=1e-8)[0]
        outwards = ((at <= low) & (move < 0)) | ((at >= high) & (move > 0))
        if not (outwards & free).any():
            break
        free &= ~outwards
    return move, free


def _damped(
    moments: Moments, target: Floats, at: Floats, move: Floats, distance: float, weight: Floats,
    ends: tuple[Floats, Floats],
) -> tuple[Floats, Floats, Floats] | None:  # fmt: skip
    """The first of the step, its half, its quarter, ... that brings the statistics nearer; None where none does."""
    for half in range(HALVINGS):
        there = np.clip(at + move / 2**half, *ends)
        found, mcse = moments(there)
        if np.isfinite(found).all() and np.linalg.norm((target - found) * weight) < distance * (1 - 1e-4):
            return there, found, mcse
    return None
