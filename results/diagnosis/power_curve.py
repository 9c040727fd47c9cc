"""The power curve between simulated effects, and the effect that a test finds with a given power.

Rejections y of n panels at effects d are binomial with P(d) = Phi(|d|/s - c) + Phi(-|d|/s - c): a two-sided test whose
estimate has the standard deviation s and whose critical value is c of them, so that P(0) = 2 Phi(-c) is its size. Both
are fitted by maximum likelihood. The interval of the minimum detectable effect m holds the values that a likelihood
ratio test does not reject (Venzon and Moolgavkar 1988, Applied Statistics 37:87):

    2 [ l(s, c) - max over c of l(m / u(c), c) ] < 3.84,  u(c) where P(u) = power with s = 1

The delta method fails where effects are few, or are found nearly always: its interval then lies between them at will.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.optimize import brentq, minimize
from scipy.special import ndtr, stdtr, stdtrit, xlog1py, xlogy

from results.diagnosis.claims import POWER
from sim.arrays import Floats
from sim.errors import bad

Z95 = 1.959963984540054
STEP = 1e-5  # of difference quotients
SCORINGS, SMALL = 50, 1e-8  # steps of Fisher scoring at most, and the step at which it ends
EXPLAINED = 1e-11  # loss a panel at which none is left: every effect is found always or never
FARTHEST = (
    1e4  # times the effect, or a part of it, at which the end of an interval is looked for: beyond, there is none
)
CRITICALS = np.linspace(0.0, 8.0, 1601)  # the critical values among which the likeliest is found
COARSE = 16  # of them in one step of a first look
NEAR = 0.05  # of the logarithm of the effect: the first step away from it
WIDEST = 3.0  # times the effect that its interval may reach, or a part of it: the simulated effects do not tell more


@dataclass(frozen=True, slots=True)
class Curve:
    """A fitted power curve: sd (s) and critical value (c); covariance (2, 2) of (log s, c).

    simulated: what it was fitted to, rows of effect, rejections and panels.
    """

    sd: float
    critical: float
    covariance: tuple[tuple[float, float], tuple[float, float]]
    simulated: tuple[tuple[float, float, float], ...]

    def at(self, effects: Floats) -> Floats:
        """Power at effects (D,)."""
        return power(effects, self.sd, self.critical)


@dataclass(frozen=True, slots=True)
class Detectable:
    """The effect that is found with a power, and the ends of its 95% Monte Carlo interval: 0 and infinity where the
    simulated effects give none."""

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
    simulated = tuple((float(d), float(y), float(n)) for d, y, n in zip(effects, rejected, counts, strict=True))
    return Curve(float(np.exp(found[0])), float(found[1]), (rows[0], rows[1]), simulated)


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
    """The minimum detectable effect of a curve; 0 for a test that rejects more often than that without an effect."""
    value = curve.sd * _reach(np.array([curve.critical]), wanted)[0]
    if not value > 0:
        return Detectable(wanted, 0.0, 0.0, 0.0)
    effects, rejected, counts = np.array(curve.simulated).T
    best = float(_log_likelihood(curve.at(effects), rejected, counts))
    reach = _reaches(wanted)

    def root(log: float) -> float:
        likely = _profile(value * float(np.exp(log)), reach, effects, rejected, counts)
        return float(np.sqrt(2 * max(best - likely, 0.0)))

    return Detectable(wanted, float(value), *(float(value * np.exp(_end(way, root))) for way in (-1, 1)))


def _end(way: int, root: Callable[[float], float]) -> float:
    """Where an interval ends on one side, as the logarithm of its end over the effect; infinite where it does not.

    root: the signed root of the likelihood ratio, which is nearly a line.
    """
    near, far = 0.0, way * NEAR
    while (reached := root(far)) <= Z95:
        near, far = far, far * min(max(1.2 * Z95 / max(reached, 1e-3), 1.2), 4.0)
        if abs(far) > np.log(FARTHEST):
            return way * np.inf
    return float(brentq(lambda log: root(log) - Z95, near, far, xtol=1e-8))


def _profile(effect: float, reach: Floats, effects: Floats, rejected: Floats, counts: Floats) -> float:
    """The log likelihood of curves that find an effect with a power, at the likeliest of their critical values.

    reach (C,): the effects, in standard deviations, that `CRITICALS` find with it. Between them by a parabola.
    """

    def likely(some: slice) -> Floats:
        c, shift = CRITICALS[some, None], effects * (reach[some] / effect)[:, None]
        found = _log_likelihood(ndtr(shift - c) + ndtr(-shift - c), rejected, counts)
        return np.where(reach[some] > 0, found, -np.inf)

    near = COARSE * int(np.argmax(likely(slice(None, None, COARSE))))
    values = likely(slice(max(near - COARSE, 0), near + COARSE + 1))
    at = int(np.argmax(values))
    if not 0 < at < len(values) - 1:
        return float(values[at])
    left, best, right = values[at - 1 : at + 2]
    bend = left - 2 * best + right
    return float(best - (right - left) ** 2 / (8 * bend)) if -np.inf < bend < 0 else float(best)


def _log_likelihood(p: Floats, rejected: Floats, counts: Floats) -> Floats:
    """Of rejections (D,) under powers (..., D)."""
    p = np.clip(p, 1e-12, 1 - 1e-12)
    return np.asarray((xlogy(rejected, p) + xlog1py(counts - rejected, -p)).sum(axis=-1))


def _reach(criticals: Floats, wanted: float) -> Floats:
    """The effects u, in standard deviations, that are found with a power; 0 where the size is above it.

    By halves: P rises in u.
    """
    low, high = np.zeros(criticals.shape), np.maximum(criticals, 0.0) + 10.0
    for _ in range(60):
        middle = (low + high) / 2
        below = ndtr(middle - criticals) + ndtr(-middle - criticals) < wanted
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.where(2 * ndtr(-criticals) < wanted, (low + high) / 2, 0.0)


@cache
def _reaches(wanted: float) -> Floats:
    """Those of `CRITICALS`."""
    return _reach(CRITICALS, wanted)


def told_effect(effects: Floats, shares: Floats, counts: Floats, sd: float, wanted: float = POWER) -> Detectable | None:
    """The minimum detectable effect of shares of `counts` panels at effects (D,), as far as these tell it.

    sd: where the search for the standard deviation begins. Infinite where it is larger than every effect; None where
    the effects do not tell, as where each is found always or never.
    """
    telling = (effects > 0) & (shares > 0) & (shares < 1)  # effects that are found always tell only an upper bound
    if np.unique(effects).size < 2 or not shares.max() > shares.min() or not telling.any():
        return None
    curve = fitted_curve(effects, shares * counts, counts, sd)
    if not curve.at(np.zeros(1))[0] < wanted:  # a test that rejects nearly always finds no effect
        return None
    found = detectable(curve, wanted)
    if found.value > effects.max():
        return Detectable(wanted, np.inf, np.inf, np.inf) if shares.max() < wanted else None
    if found.value < effects.min() or not found.value / WIDEST < found.lower < found.upper < WIDEST * found.value:
        return None
    return found


def minimum_detectable_effect(
    variance: float, *, power: float = POWER, alpha: float = 0.05, dof: float = np.inf
) -> float:
    """The effect that a two-sided t test of level alpha finds with this power: (t_power + t_{1-alpha/2}) sqrt(Var).

    Burlig, Preonas and Woerman (2020, section 2): both quantiles are those of t with `dof` degrees of freedom. Raises
    BadInput for a power below alpha or outside of (0, 1).
    """
    if not 0 < alpha < power < 1:
        raise bad(f"power = {power:g} and alpha = {alpha:g}", where="minimum detectable effect",
                  allowed="0 < alpha < power < 1", remedy="correct them")  # fmt: skip
    return float((stdtrit(dof, power) + stdtrit(dof, 1 - alpha / 2)) * np.sqrt(variance))


def power_at(effect: float, variance: float, *, alpha: float = 0.05, dof: float = np.inf) -> float:
    """How often the same test finds an effect, in either direction; the inverse of the MDE up to the far tail."""
    critical, shift = stdtrit(dof, 1 - alpha / 2), effect / np.sqrt(variance)
    return float(stdtr(dof, shift - critical) + stdtr(dof, -critical - shift))


def _slopes(effects: Floats, at: Floats) -> Floats:
    """Derivatives of P by (log s, c), (D, 2)."""
    columns = []
    for step in STEP * np.eye(2):
        ends = [power(effects, float(np.exp(x[0])), float(x[1])) for x in (at + step, at - step)]
        columns.append((ends[0] - ends[1]) / (2 * STEP))
    return np.stack(columns, axis=1)
