"""Propensity scores: the logit of belonging to a group on covariates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from estimators.core.regression import invert
from sim.arrays import Flags, Floats

MOST_STEPS = 50  # of Newton's method
STEP = 1e-12  # of the linear predictor, below which Newton's method has arrived
SEPARATED = 30.0  # linear predictor beyond which a unit's group is known for certain: there is no maximum


@dataclass(frozen=True, eq=False, slots=True)
class Logit:
    """A fitted logit: coefficient and se (1 + K,), the constant first; score (N,) = fitted probabilities; converged."""

    coefficient: Floats
    se: Floats
    score: Floats
    loglik: float
    converged: bool

    @property
    def pseudo_r2(self) -> float:
        """1 - loglik / loglik of a constant alone (McFadden 1974)."""
        share = float(self.score.mean())  # the score equation of the constant: the mean of the outcome
        null = self.score.size * (share * np.log(share) + (1 - share) * np.log(1 - share))
        return 1.0 - self.loglik / float(null)


def logit(x: Floats, chosen: Flags) -> Logit:
    """P(chosen) = 1 / (1 + exp(-b0 - x b)) by Newton's method (iteratively reweighted least squares).

    x (N, K), chosen (N,); errors from the information matrix. Not converged: collinear covariates, groups of one kind,
    or covariates that separate the groups, for which the likelihood has no maximum.
    """
    centre, scale = x.mean(axis=0), x.std(axis=0)
    failed = Logit(np.full(x.shape[1] + 1, np.nan), np.full(x.shape[1] + 1, np.nan), np.full(len(x), np.nan), np.nan,
                   converged=False)  # fmt: skip
    if chosen.all() or not chosen.any() or not (scale > 0).all():
        return failed
    z = np.column_stack([np.ones(len(x)), (x - centre) / scale])
    b = np.zeros(z.shape[1])
    b[0] = np.log(chosen.mean() / (1 - chosen.mean()))
    for _ in range(MOST_STEPS):
        p = expit(z @ b)
        inverse, sound = invert((z.T @ (z * (p * (1 - p))[:, None]))[None])
        if not sound[0]:
            return failed
        step = inverse[0] @ (z.T @ (chosen - p))
        b = b + step
        if np.abs(z @ b).max() > SEPARATED:
            return failed
        if np.abs(z @ step).max() < STEP:
            break
    else:
        return failed
    back = np.diag(np.r_[1.0, 1 / scale])
    back[0, 1:] = -centre / scale
    eta = z @ b
    loglik = -float(np.logaddexp(0.0, np.where(chosen, -eta, eta)).sum())
    variance = np.einsum("ij,jk,ik->i", back, inverse[0], back)
    return Logit(back @ b, np.sqrt(variance), expit(eta), loglik, converged=True)
