"""Indirect inference: parameters at which a simulated panel's statistics are those of the real one.

Gourieroux, Monfort and Renault (1993). The statistics need not be unbiased for anything: within-unit autoregressions,
Moran's I of residuals and the like are biased in short panels, and equally so in the simulated ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sim.arrays import Flags, Floats
from sim.streams import Streams
from sim.world.context import WorldContext
from sim.world.parts.errors import Process, SettledProcess

# Errors of many small worlds on common random numbers, by the part of the design that draws them in studies.


@dataclass(frozen=True, slots=True)
class CommonStreams(Streams):
    """Streams that remember their normals, so that they are drawn once for all parameters."""

    drawn: dict[Any, Floats] = field(default_factory=dict, compare=False, repr=False)

    def normals(self, purpose: str, *shape: int) -> Floats:
        """A copy of the same numbers whenever they are asked for, (R, *shape)."""
        key = (purpose, shape)
        if key not in self.drawn:
            self.drawn[key] = Streams.normals(self, purpose, *shape)
        return self.drawn[key].copy()


def simulated_errors(
    part: Process, context: WorldContext, streams: CommonStreams, treatment: Floats | None = None
) -> Floats:
    """Errors (R, T, N) of R worlds under a treatment (1, T, N), each with scales of its own for the units."""
    scales = np.ones((streams.replications, 1, 1))
    if part.unit_heteroskedastic:
        logs = part.unit_heteroskedastic * streams.normals("scales of units", context.units)
        scales = (np.exp(logs) / np.sqrt(np.square(np.exp(logs)).mean(axis=1, keepdims=True)))[:, None, :]
    spatial = context.spatial(part.spatial)
    loadings = np.zeros((0, context.units))
    process = SettledProcess(part, context, loadings, part.size * scales, True, spatial, None)
    errors = process.spread(process.draw(streams))
    cells = part.cells(np.zeros((1, *context.shape)) if treatment is None else treatment)
    return errors if cells is None else errors * cells


State = tuple[Floats, Floats, Floats]  # parameters, statistics, their Monte Carlo errors
Moments = Callable[[Floats], tuple[Floats, Floats]]

MOST_STEPS, HALVINGS = 30, 6
WIDTH = 1e-3  # of a difference quotient, as a share of the parameter's range of sense
LEAST = 1e-12  # Monte Carlo error that is taken for none


@dataclass(frozen=True, eq=False, slots=True)
class Calibration:
    """What Newton's method found: parameters (P,), their statistics (S,) with Monte Carlo errors, and how it ended.

    edge (P,): parameters at an end of their range that would go beyond. matched: every mismatch is below its Monte
    Carlo error. slopes (S, P): of the statistics by the parameters, in units of the ranges.
    """

    values: Floats
    statistics: Floats
    mcse: Floats
    edge: Flags
    matched: bool
    steps: int
    slopes: Floats


def calibrated(
    moments: Moments, target: Floats, start: Floats, low: Floats, high: Floats, short: Moments | None = None
) -> Calibration:
    """Damped Newton steps from `start` within [low, high] until mismatches are below their Monte Carlo errors.

    moments: parameters -> mean statistics (as many as parameters, each with the one that moves it most) and their Monte
    Carlo errors, on common random numbers, so that differences between parameters are those of the parameters. short:
    the same of fewer panels, which is enough for slopes. Slopes are brought up to date by each step (Broyden 1965), and
    taken anew at the end and where a step does not bring the statistics nearer. A step is halved until it does. A
    parameter that would leave its range stays at its end, and its own statistic is left as it is.
    """
    at, ends = np.clip(start, low, high), (low, high)
    now, mcse = moments(at)
    slopes, fresh = _slopes(short or moments, at, ends), True
    free = np.ones(len(at), dtype=bool)
    for step in range(MOST_STEPS):
        gap = (target - now) / np.maximum(mcse, LEAST)
        move, free = _newton(slopes / np.maximum(mcse, LEAST)[:, None], gap, at, low, high)
        matched = bool((np.abs(gap[free]) <= 1.0).all())
        following = None if matched else _damped(moments, target, (at, now, mcse), move, free, ends)
        if following is None and fresh:
            return Calibration(at, now, mcse, ~free, matched, step, slopes)
        if following is None:
            slopes, fresh = _slopes(short or moments, at, ends), True
            continue
        moved = (following[0] - at) / (high - low)
        slopes = slopes + np.outer(following[1] - now - slopes @ moved, moved) / max(float(moved @ moved), LEAST**2)
        fresh = False
        at, now, mcse = following
    return Calibration(at, now, mcse, ~free, matched=False, steps=MOST_STEPS, slopes=slopes)


def neighbourhood(found: Calibration, statistics: Floats, low: Floats, high: Floats) -> Floats:
    """Parameters that panels of the fitted world would give in one Newton step each, (R, P).

    statistics (R, S): those of panels at the fit, on the common random numbers. theta_r = theta + J^+ (s_r - mean s),
    within the ranges; parameters at an end of theirs stay there and their statistics are left out.
    """
    free = ~found.edge
    out = np.tile(found.values, (len(statistics), 1))
    apart = statistics[:, free] - statistics[:, free].mean(axis=0)
    scale = np.maximum(apart.std(axis=0), LEAST)
    inverse = np.linalg.pinv(found.slopes[np.ix_(free, free)] / scale[:, None], rcond=1e-8)
    out[:, free] += (apart / scale) @ inverse.T * (high - low)[free]
    return np.asarray(np.clip(out, low, high))


def few_of(draws: Floats, count: int, low: Floats, high: Floats) -> Floats:
    """The first draws (count, P) of (R, P), moved so that their means and covariances are those of all draws.

    Few draws of a fixed seed would have a spread of their own, the same for every panel of a size. With A = C^1/2
    C_few^-1/2, symmetric roots of covariances: mean + A (draw - mean of the few), within the ranges (P,). Draws that
    are no more than the parameters stay as they are.
    """
    some = draws[:count]
    if len(some) <= draws.shape[1] + 1:
        return some
    scale = np.maximum(draws.std(axis=0), LEAST)
    every, own = draws / scale, some / scale
    move = _root(np.cov(every, rowvar=False), 0.5) @ _root(np.cov(own, rowvar=False), -0.5)
    found = (every.mean(axis=0) + (own - own.mean(axis=0)) @ move.T) * scale
    return np.where(draws.std(axis=0) > LEAST, np.clip(found, low, high), some)


def _root(covariance: Floats, power: float) -> Floats:
    """A symmetric power of a covariance (P, P), 0 in directions without variance."""
    values, vectors = np.linalg.eigh(np.atleast_2d(covariance))
    kept = values > 1e-9 * max(float(values.max()), LEAST)
    return np.asarray((vectors[:, kept] * values[kept] ** power) @ vectors[:, kept].T)


def _slopes(moments: Moments, at: Floats, ends: tuple[Floats, Floats]) -> Floats:
    """Difference quotients (S, P) in units of the ranges, inwards from their ends."""
    now, spans, columns = moments(at)[0], ends[1] - ends[0], []
    for k in range(len(at)):
        share = WIDTH if at[k] + WIDTH * spans[k] <= ends[1][k] else -WIDTH
        other = at.copy()
        other[k] += share * spans[k]
        columns.append((moments(other)[0] - now) / share)
    return np.stack(columns, axis=1)


def _newton(slopes: Floats, gap: Floats, at: Floats, low: Floats, high: Floats) -> tuple[Floats, Flags]:
    """The step, and which parameters take part in it: one that would leave its range from an end of it does not.

    Slopes are in units of the ranges, so that a parameter's unit of measurement does not matter.
    """
    spans = high - low
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
