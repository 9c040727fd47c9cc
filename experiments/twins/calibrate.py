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
Flags = NDArray[np.bool_]
State = tuple[Floats, Floats, Floats]  # parameters, statistics, their Monte Carlo errors
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
    edge: Flags
    matched: bool
    steps: int


def calibrated(moments: Moments, target: Floats, start: Floats, low: Floats, high: Floats) -> Calibration:
    """Damped Newton steps from `start` within [low, high] until mismatches are below their Monte Carlo errors.

    moments: parameters -> mean statistics (as many as parameters, each with the one that moves it most) and their Monte
    Carlo errors, on common random numbers, so that differences between parameters are those of the parameters. A step
    is halved while it does not bring the statistics nearer. A parameter that would leave its range stays at its end,
    and its own statistic is left as it is.
    """
    at = np.clip(start, low, high)
    now, mcse = moments(at)
    free = np.ones(len(at), dtype=bool)
    for step in range(MOST_STEPS):
        gap = (target - now) / np.maximum(mcse, LEAST)
        if (np.abs(gap[free]) <= 1.0).all():
            return Calibration(at, now, mcse, ~free, matched=True, steps=step)
        slopes = _slopes(moments, at, now, low, high) / np.maximum(mcse, LEAST)[:, None]
        move, free = _newton(slopes, gap, at, low, high)
        following = _damped(moments, target, (at, now, mcse), move, free, (low, high))
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


def _newton(slopes: Floats, gap: Floats, at: Floats, low: Floats, high: Floats) -> tuple[Floats, Flags]:
    """The step, and which parameters take part in it: one that would leave its range from an end of it does not.

    Steps are solved in units of the ranges, so that a parameter's unit of measurement does not matter.
    """
    spans = high - low
    slopes = slopes * spans
    free = np.ones(len(at), dtype=bool)
    move = np.zeros(len(at))
    for _ in range(len(at)):
        move = np.zeros(len(at))
        move[free] = np.linalg.lstsq(slopes[np.ix_(free, free)], gap[free], rcond=1e-8)[0] * spans[free]
        outwards = ((at <= low) & (move < 0)) | ((at >= high) & (move > 0))
        if not (outwards & free).any():
            break
        free &= ~outwards
    return move, free


def _damped(
    moments: Moments, target: Floats, state: State, move: Floats, free: Flags, ends: tuple[Floats, Floats]
) -> State | None:
    """The first of the step, its half, its quarter, ... that brings the statistics nearer; None where none does."""
    at, now, mcse = state
    distance = _distance(target - now, mcse, free)
    for half in range(HALVINGS):
        there = np.clip(at + move / 2**half, *ends)
        found, mcse = moments(there)
        if np.isfinite(found).all() and _distance(target - found, mcse, free) < distance:
            return there, found, mcse
    return None


def _distance(gap: Floats, mcse: Floats, free: Flags) -> float:
    """Root of the sum of squares of mismatches in Monte Carlo errors."""
    return float(np.linalg.norm(gap[free] / np.maximum(mcse[free], LEAST)))
