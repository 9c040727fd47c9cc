"""Matching of units on propensity scores, and how alike the matched groups are.

A link matrix (treated, controls) holds what each control weighs in the comparison of each treated unit; its rows sum to
one, or to zero for a treated unit without a match. A control's matching weight is its column's sum, a matched treated
unit's is one: the weights of the effect on the treated (Heckman, Ichimura and Todd 1997; Rosenbaum and Rubin 1983).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import stdtr

from sim.arrays import Flags, Floats


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
    out["p"] = 2 * stdtr(dof, -np.abs(out["t"]))
    return out
