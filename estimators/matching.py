"""Propensity scores by logit, matching of units on them, and how alike the matched groups are.

A link matrix (treated, controls) holds what each control weighs in the comparison of each treated unit; its rows sum to
one, or to zero for a treated unit without a match. A control's matching weight is its column's sum, a matched treated
unit's is one: the weights of the effect on the treated (Heckman, Ichimura and Todd 1997; Rosenbaum and Rubin 1983).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import t as student

from estimators.regression import invert

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

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


def on_support(score: Floats, treated: Flags) -> Flags:
    """Treated units whose score lies within the range of the controls' scores, (N,) (Dehejia and Wahba 1999)."""
    controls = score[~treated]
    return np.asarray(treated & (score >= controls.min()) & (score <= controls.max()))


def nearest_links(of: Floats, among: Floats, neighbours: int, caliper: float, replacement: bool) -> Floats:
    """Each treated unit linked to its `neighbours` nearest controls within the caliper, equally.

    of (treated,) and among (controls,): scores; caliper: the largest distance of two scores, inf = none. Without
    replacement the treated choose in descending order of their scores, and a control serves once. Of controls at equal
    distance the first is taken.
    """
    distance = np.abs(of[:, None] - among)
    distance[distance > caliper] = np.inf
    chosen = np.zeros(distance.shape, dtype=bool)
    if replacement:
        order = np.argsort(distance, axis=1, kind="stable")[:, :neighbours]
        np.put_along_axis(chosen, order, True, axis=1)
        return _shares(chosen & np.isfinite(distance))
    for row in np.argsort(-of, kind="stable"):
        order = np.argsort(distance[row], kind="stable")[:neighbours]
        taken = order[np.isfinite(distance[row, order])]
        chosen[row, taken] = True
        distance[:, taken] = np.inf
    return _shares(chosen)


def radius_links(of: Floats, among: Floats, radius: float) -> Floats:
    """Each treated unit linked to all controls whose scores are within the radius, equally."""
    return _shares(np.abs(of[:, None] - among) <= radius)


def kernel_links(of: Floats, among: Floats, bandwidth: float) -> Floats:
    """Each treated unit linked to all controls by the Epanechnikov kernel of the distance of scores / bandwidth."""
    ratio = (of[:, None] - among) / bandwidth
    return _shares(np.maximum(1.0 - ratio**2, 0.0))


def matching_weights(links: Floats, treated: Flags, eligible: Flags) -> Floats:
    """Weights (N,) of a link matrix between the eligible treated and the eligible controls; 0 = not matched."""
    weights = np.zeros(treated.size)
    weights[treated & eligible] = (links.sum(axis=1) > 0).astype(np.float64)
    weights[~treated & eligible] = links.sum(axis=0)
    return weights


def _shares(strength: Floats | Flags) -> Floats:
    """Rows that sum to one, or to zero where nothing is linked."""
    total = strength.sum(axis=1, keepdims=True)
    return np.asarray(strength / np.where(total > 0, total, 1.0), dtype=np.float64)


def balance(x: Floats, treated: Flags, weights: Floats, *, before: Flags) -> Mapping[str, Floats]:
    """How alike treated and controls are in each covariate, before matching and after, each (K,).

    x (N, K); weights (N,) of the matching; before (N,): the units that were to be matched. bias_*: standardised bias in
    percent, 100 (mean_1 - mean_0) / sqrt((s_1^2 + s_0^2) / 2), with the variances of the unmatched groups both times
    (Rosenbaum and Rubin 1985). variance_ratio_*: s_1^2 / s_0^2 with s^2 = n / (n - 1) sum w (x - mean)^2 / sum w.
    t_*, p_*: t-test of equal means from the (weighted) regression on a dummy, with n - 2 degrees of freedom.
    """
    whole = before.astype(np.float64)
    first, second = _contrast(x, treated, whole), _contrast(x, treated, weights)
    pooled = np.sqrt((first["variance_1"] + first["variance_0"]) / 2)
    out: dict[str, Floats] = {}
    for when, found in (("before", first), ("after", second)):
        out |= {
            f"mean_treated_{when}": found["mean_1"],
            f"mean_control_{when}": found["mean_0"],
            f"bias_{when}": 100 * (found["mean_1"] - found["mean_0"]) / pooled,
            f"variance_ratio_{when}": found["variance_1"] / found["variance_0"],
            f"t_{when}": found["t"],
            f"p_{when}": found["p"],
        }
    return out


def _contrast(x: Floats, treated: Flags, weights: Floats) -> Mapping[str, Floats]:
    """Weighted means and variances of both groups and the t-test of their difference, each (K,)."""
    out: dict[str, Floats] = {}
    squares, inverse_sizes = np.zeros(x.shape[1]), 0.0
    for group, members in ((1, treated & (weights > 0)), (0, ~treated & (weights > 0))):
        w, count = weights[members], int(members.sum())
        mean = w @ x[members] / w.sum()
        deviation = w @ (x[members] - mean) ** 2
        out[f"mean_{group}"] = mean
        with np.errstate(divide="ignore", invalid="ignore"):  # a group of one has no variance
            out[f"variance_{group}"] = deviation / w.sum() * (count / np.float64(count - 1))
        squares += deviation
        inverse_sizes += 1.0 / float(w.sum())
    dof = int((weights > 0).sum()) - 2
    with np.errstate(divide="ignore", invalid="ignore"):
        out["t"] = (out["mean_1"] - out["mean_0"]) / np.sqrt(squares / np.float64(dof) * inverse_sizes)
    out["p"] = 2 * student.sf(np.abs(out["t"]), dof)
    return out
