"""The power curve between simulated effects, and the effect that a test finds with a given power.

Rejections y of n panels at effects d are binomial with P(d) = Phi(|d|/s - c) + Phi(-|d|/s - c): a two-sided test whose
estimate has the standard deviation s and whose critical value is c of them, so that P(0) = 2 Phi(-c) is its size. Both
are fitted by maximum likelihood; the interval of the minimum detectable effect is by the delta method on its logarithm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq, minimize
from scipy.special import ndtr

from sim.arrays import Floats

POWER = 0.80
Z95 = 1.959963984540054
STEP = 1e-5  # of difference quotients
SCORINGS, SMALL = 50, 1e-8  # steps of Fisher scoring at most, and the step at which it ends
EXPLAINED = 1e-11  # loss a panel at which none is left: every effect is found always or never


@dataclass(frozen=True, slots=True)
class Curve:
    """A fitted power curve: sd (s) and critical value (c); covariance (2, 2) of (log s, c)."""

    sd: float
    critical: float
    covariance: tuple[tuple[float, float], tuple[float, float]]

    def at(self, effects: Floats) -> Floats:
        """Power at effects (D,)."""
        return power(effects, self.sd, self.critical)


@dataclass(frozen=True, slots=True)
class Detectable:
    """The effect that is found with a power, and the ends of its 95% Monte Carlo interval."""

    power: float
    value: float
    lower: float
    upper: float


def power(effects: Floats, sd: float, critical: float) -> Floats:
    """P(d) of effects (D,)."""
    shift = np.abs(effects) / sd
    return np.asarray(ndtr(shift - critical) + ndtr(-shift - critical))


def fitted_curve(effects: Floats, rejected: Floats, counts: Floats, sd: float) -> Curve:
    """The curve through rejections of `counts` panels at each effect, (D,) each; sd: where the search begins."""

    def loss(parameters: Floats) -> float:
        p = np.clip(power(effects, float(np.exp(parameters[0])), float(parameters[1])), 1e-12, 1 - 1e-12)
        return -float((rejected * np.log(p) + (counts - rejected) * np.log1p(-p)).sum())

    found = _scored(effects, rejected, counts, np.array([np.log(sd), Z95]), loss)
    slopes = _slopes(effects, found)
    p = np.clip(power(effects, float(np.exp(found[0])), float(found[1])), 1e-12, 1 - 1e-12)
    information = (slopes * (counts / (p * (1 - p)))[:, None]).T @ slopes
    covariance = np.linalg.pinv(information)
    rows = tuple((float(row[0]), float(row[1])) for row in covariance)
    return Curve(float(np.exp(found[0])), float(found[1]), (rows[0], rows[1]))


def _scored(
    effects: Floats, rejected: Floats, counts: Floats, start: Floats, loss: Callable[[Floats], float]
) -> Floats:
    """The parameters of the largest likelihood: Fisher scoring with halved steps; a simplex where that gets stuck.

    Where every effect is found always or never the likelihood has no maximum, and the search ends on its way there.
    """
    at, here = start, loss(start)
    for _ in range(SCORINGS):
        if here <= EXPLAINED * counts.sum():
            return at
        p = np.clip(power(effects, float(np.exp(at[0])), float(at[1])), 1e-12, 1 - 1e-12)
        slopes = _slopes(effects, at)
        weight = (counts / (p * (1 - p)))[:, None]
        score = slopes.T @ ((rejected - counts * p) / (p * (1 - p)))
        step = np.clip(np.linalg.pinv((slopes * weight).T @ slopes) @ score, -1.0, 1.0)
        while np.abs(step).max() > SMALL and not (there := loss(at + step)) <= here:
            step = step / 2
        if np.abs(step).max() <= SMALL:
            return at
        at, here = at + step, there
    options = {"xatol": 1e-7, "fatol": 1e-9, "maxiter": 4000}
    return np.asarray(minimize(loss, start, method="Nelder-Mead", options=options).x)


def detectable(curve: Curve, wanted: float = POWER) -> Detectable:
    """The minimum detectable effect of a curve."""

    def log_effect(parameters: Floats) -> float:
        c = float(parameters[1])
        reach = brentq(lambda u: float(power(np.array([u]), 1.0, c)[0]) - wanted, 0.0, max(c, 0.0) + 10.0)
        return float(parameters[0] + np.log(reach))

    at = np.array([np.log(curve.sd), curve.critical])
    value = log_effect(at)
    gradient = np.array([log_effect(at + step) - log_effect(at - step) for step in STEP * np.eye(2)]) / (2 * STEP)
    half = Z95 * float(np.sqrt(gradient @ np.array(curve.covariance) @ gradient))
    with np.errstate(over="ignore"):  # effects that are all found, or none of them, say nothing of the curve between
        return Detectable(wanted, *(float(np.exp(x)) for x in (value, value - half, value + half)))


def _slopes(effects: Floats, at: Floats) -> Floats:
    """Derivatives of P by (log s, c), (D, 2)."""
    columns = []
    for step in STEP * np.eye(2):
        ends = [power(effects, float(np.exp(x[0])), float(x[1])) for x in (at + step, at - step)]
        columns.append((ends[0] - ends[1]) / (2 * STEP))
    return np.stack(columns, axis=1)
