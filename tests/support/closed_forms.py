"""What two-way DID with one date of adoption estimates and how precisely, in closed form: variances, spillovers.

N_T treated and N_C control units, m periods before and r from adoption on, errors with within-unit covariances:

    Var(tau) = (1/N_T + 1/N_C) [ (m + r)/(m r) s2 + (m - 1)/m psi_B + (r - 1)/r psi_A - 2 psi_X ]

s2 is the variance of an error; psi_B, psi_A and psi_X are the mean covariances of errors of a unit in two different
periods before, from adoption on, and one of each (Burlig, Preonas and Woerman 2020, Journal of Development Economics
144:102458, equation 2). Errors that are independent over periods have psi = 0 (McKenzie 2012, Journal of Development
Economics 99:210, with unit effects taken out). Units are independent of one another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from sim.arrays import Floats
from sim.errors import bad


@dataclass(frozen=True, slots=True)
class Covariances:
    """The variance of an error, and mean covariances between two periods of a unit, in squared units of the outcome."""

    variance: float
    before: float = 0.0
    after: float = 0.0
    across: float = 0.0

    @classmethod
    def of(cls, matrix: Floats, pre: int) -> Covariances:
        """Those of a covariance matrix (T, T) of a unit's errors, of which `pre` periods lie before adoption.

        The variance is the one that makes the formula exact
        where it differs between periods: the mean over periods weighted by 1/m^2 before and 1/r^2 after.
        """
        post = len(matrix) - pre
        own = np.diagonal(matrix)
        variance = (own[:pre].mean() / pre + own[pre:].mean() / post) / (1 / pre + 1 / post)
        return cls(float(variance), _between(matrix[:pre, :pre]), _between(matrix[pre:, pre:]),
                   float(matrix[:pre, pre:].mean()))  # fmt: skip

    @classmethod
    def autoregressive(cls, variance: float, serial: float, pre: int, post: int) -> Covariances:
        """Those of a stationary AR(1): variance serial^|t - s|."""
        gaps = np.abs(np.subtract.outer(np.arange(pre + post), np.arange(pre + post)))
        return cls.of(variance * np.power(float(serial), gaps), pre)


def did_variance(treated: int, controls: int, pre: int, post: int, errors: Covariances) -> float:
    """The variance of two-way DID with one date."""
    inner = (
        (pre + post) / (pre * post) * errors.variance
        + (pre - 1) / pre * errors.before
        + (post - 1) / post * errors.after
        - 2 * errors.across
    )
    return (1 / treated + 1 / controls) * inner


@dataclass(frozen=True, slots=True)
class SpilloverBias:
    """The bias of two-way DID where neighbours' treatment reaches a unit, by what is to be estimated.

    total: held to the mean effect on treated unit-periods, spillovers on them included (`att`). own: held to the mean
    effect of their own treatment (`att_own`).
    """

    total: float
    own: float


def spillover_bias(on_treated: float, on_controls: float) -> SpilloverBias:
    """Biases that mean spillovers on treated and on control units cause after adoption.

    DID estimates the own effect plus the spillover on the treated less that on controls (Butts 2023, proposition 2.1).
    """
    return SpilloverBias(total=-on_controls, own=on_treated - on_controls)


def exposure_of_random_adopters(units: int, treated: int) -> tuple[float, float]:
    """The expected share of treated neighbours of a treated and of a control unit, W row-standardised.

    Where `treated` of `units` are drawn at random, each other unit of a treated one is treated with probability
    (treated - 1)/(units - 1), and of a control one with treated/(units - 1), whatever W is.
    """
    return (treated - 1) / (units - 1), treated / (units - 1)


def _between(matrix: Floats) -> float:
    """The mean of a covariance matrix off its diagonal; 0 where there is one period."""
    periods = len(matrix)
    return float((matrix.sum() - np.trace(matrix)) / (periods * (periods - 1))) if periods > 1 else 0.0


def minimum_detectable_effect(
    variance: float, *, power: float = 0.8, alpha: float = 0.05, dof: float = np.inf
) -> float:
    """The effect that a two-sided t test of level alpha finds with this power: (t_power + t_{1-alpha/2}) sqrt(Var).

    Burlig, Preonas and Woerman (2020, section 2): both quantiles are those of t with `dof` degrees of freedom.
    """
    if not 0 < alpha < power < 1:
        raise bad(f"power = {power:g} and alpha = {alpha:g}", where="minimum detectable effect",
                  allowed="0 < alpha < power < 1", remedy="correct them")  # fmt: skip
    return float((stdtrit(dof, power) + stdtrit(dof, 1 - alpha / 2)) * np.sqrt(variance))


def power_at(effect: float, variance: float, *, alpha: float = 0.05, dof: float = np.inf) -> float:
    """How often the same test finds an effect, in either direction; the inverse of the MDE up to the far tail."""
    critical, shift = stdtrit(dof, 1 - alpha / 2), effect / np.sqrt(variance)
    return float(stdtr(dof, shift - critical) + stdtr(dof, -critical - shift))
