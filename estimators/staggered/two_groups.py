"""Two groups, two periods: difference-in-differences with covariates as a fixed linear map of the outcome's change.

With changes d (n,), treated D, covariates x with a constant, b the controls' least squares of d on x, e = d - x'b,
p the logit probability of treatment and control weights w = p/(1 - p) (1 - D) / sum p/(1 - p) (1 - D):

    regression  sum D e / n1                      (Heckman, Ichimura and Todd 1997)
    ipw         sum D d / n1 - sum w d            (Abadie 2005, with normalised weights)
    dr          sum D e / n1 - sum w e            (Sant'Anna and Zhao 2020, equation 2.5 with b and p of section 2)

For given covariates each is linear in d, and so is each unit's influence, including that of estimated b and p: a
diagonal matrix plus one of low rank. Influences are scaled so that the variance is their sum of squares, without
small-sample factor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from estimators.core.logit import logit
from estimators.core.regression import invert
from sim.arrays import Codes, Flags, Floats

Adjustment = Literal["regression", "ipw", "dr"]


@dataclass(frozen=True, eq=False, slots=True)
class LinearContrast:
    """The estimate d'a and the influences d * a + (d'left) right of n units: a (n,), left (n, r), right (r, n)."""

    a: Floats
    left: Floats
    right: Floats

    def estimate(self, change: Floats) -> Floats:
        """(..., n) -> (...)."""
        return np.asarray(change @ self.a)

    def influence(self, change: Floats) -> Floats:
        """(..., n) -> (..., n)."""
        return change * self.a + (change @ self.left) @ self.right

    def embedded(self, units: Codes, count: int) -> LinearContrast:
        """The same among `count` units, of which `units` (n,) take part."""
        a, left, right = np.zeros(count), np.zeros((count, self.left.shape[1])), np.zeros((self.right.shape[0], count))
        a[units], left[units], right[:, units] = self.a, self.left, self.right
        return LinearContrast(a, left, right)


def contrast(treated: Flags, covariates: Floats, method: Adjustment) -> LinearContrast | None:
    """The map for treated (n,) and covariates (n, p) without a constant.

    None when the data do not identify it: covariates that are collinear (among controls, for the regression), or that
    separate the treated from the controls, for which the logit has no maximum.
    """
    controls = ~treated
    x = _standardised(covariates)
    n, p = x.shape
    share = treated / treated.sum()
    weights, scores, regressed = np.zeros(n), np.zeros((n, p)), np.zeros((n, p))
    if method != "regression":
        fit = logit(covariates, treated)
        if not fit.converged:
            return None
        odds = controls * fit.score / (1 - fit.score)
        weights = odds / odds.sum()
        inverse, _ = invert((x.T @ (x * (fit.score * (1 - fit.score))[:, None]))[None])
        scores = (treated - fit.score)[:, None] * (x @ inverse[0])
    if method != "ipw":
        inverse, sound = invert((x[controls].T @ x[controls])[None])
        if not sound[0]:
            return None
        regressed = controls[:, None] * (x @ inverse[0])  # b = d @ regressed
    deviations = weights[:, None] * (x - weights @ x)
    means = np.column_stack([share, weights, deviations])  # of e: among treated, among weighted controls, by the score
    means = means - regressed @ (x.T @ means)
    a = means[:, 0] - means[:, 1]
    left = np.column_stack([regressed, means])
    right = np.vstack([-(x * a[:, None]).T, -share, weights, -scores.T])
    used = (left != 0).any(axis=0)
    return LinearContrast(a, left[:, used], right[used])


def _standardised(covariates: Floats) -> Floats:
    """A constant and the covariates in units of their spread, which no result depends on, (n, 1 + p)."""
    spread = covariates.std(axis=0)
    centred = covariates - covariates.mean(axis=0)
    return np.column_stack([np.ones(len(covariates)), centred / np.where(spread > 0, spread, 1.0)])
