"""Rejection rates of bootstrap and permutation tests from few draws a replication (Boos and Zhang 2000).

A test that rejects when its p value (1 + number of extreme draws)/(1 + B) is at most alpha rejects when the count is
below k = alpha (B + 1). Where endless draws would give the p value u, that has the probability P(U > u), U a beta(k,
B + 1 - k) variate. Over replications, with F the distribution function of u, the rate with B draws is therefore E F(U),
and U has the mean alpha and the variance alpha (1 - alpha)/(B + 2):

    rate(B) = F(alpha) + F''(alpha) alpha (1 - alpha) / (2 (B + 2)) + ...

An exact test (F(u) = u) has its size at every such B; any other rate, power above all, is off by a multiple of
1/(B + 2). Rates at two or more numbers of draws, nested in one another, lie on a line whose value at zero is the rate
with endless draws: a few dozen draws a replication do for thousands. Subsets need no drawing either: given the count
among B draws, the count among m of them is hypergeometric, and so a stored p value holds the rates at every m < B.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.errors import bad

Floats = NDArray[np.float64]

ROUNDING = 1e-9


def level_draws(draws: int, alpha: float = 0.05) -> tuple[int, ...]:
    """Every number m <= draws with alpha (m + 1) whole: 19, 39, 59, ... at 5%."""
    whole = (k / alpha - 1 for k in range(1, int(alpha * (draws + 1) + ROUNDING) + 1))
    return tuple(round(m) for m in whole if abs(m - round(m)) < 1e-6)


def nested_rejections(pvalue: Floats, draws: int, subsets: tuple[int, ...], alpha: float = 0.05) -> Floats:
    """Probability, for each of R replications, that m random draws among its B reject, (R, M); NaN where p is.

    pvalue (R,): (1 + number of extreme draws)/(1 + B), B = draws; subsets (M,): numbers m. Raises BadInput for p values
    of another number of draws, and for an m above B or with alpha (m + 1) not whole (its size is not alpha).
    """
    from scipy.stats import hypergeom  # half a second of imports that nothing else needs

    _check(draws, subsets, alpha)
    count = pvalue * (draws + 1) - 1
    known = np.isfinite(count)
    whole = np.where(known, np.round(count), 0.0)
    if (np.abs(count - whole)[known] > 1e-6 * draws).any() or ((whole < 0) | (whole > draws)).any():
        raise bad(f"p values are not (1 + count)/{draws + 1}", where="nested_rejections", allowed="p values of that "
                  "many draws", remedy="state the number of draws that they come from")  # fmt: skip
    most = [round(alpha * (m + 1)) - 1 for m in subsets]  # extreme draws with which m still reject
    rates = [hypergeom.cdf(k, draws, whole, m) for k, m in zip(most, subsets, strict=True)]
    return np.where(known[:, None], np.stack(rates, axis=1), np.nan)


def extrapolation_weights(draws: tuple[int, ...]) -> Floats:
    """Weights (M,) that give, from rates at M numbers of draws, their least-squares line's value at 1/(B + 2) = 0."""
    if len(set(draws)) < 2 or min(draws) < 1:
        raise bad(f"draws = {list(draws)}", where="extrapolation_weights", allowed="two or more distinct numbers",
                  remedy="give the rejection rates at two numbers of draws")  # fmt: skip
    line = np.column_stack([np.ones(len(draws)), 1.0 / (np.array(draws) + 2.0)])
    return np.asarray(np.linalg.pinv(line)[0])


def extrapolated_rate(rejections: Floats, draws: tuple[int, ...]) -> tuple[float, float]:
    """Rate with endless draws and its Monte Carlo standard error, from nested rejections (R, M) at M numbers of draws.

    Rejections are 0, 1 or probabilities; replications with NaN do not count.
    """
    values = rejections[np.isfinite(rejections).all(axis=1)] @ extrapolation_weights(draws)
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def endless_draws_rate(pvalue: Floats, draws: int, alpha: float = 0.05) -> tuple[float, float]:
    """Rejection rate with endless draws and its Monte Carlo standard error, from stored p values (R,)."""
    subsets = level_draws(draws, alpha)
    return extrapolated_rate(nested_rejections(pvalue, draws, subsets, alpha), subsets)


def _check(draws: int, subsets: tuple[int, ...], alpha: float) -> None:
    for m in subsets:
        k = alpha * (m + 1)
        if not 1 <= m <= draws or round(k) < 1 or abs(k - round(k)) > ROUNDING * m:
            raise bad(f"{m} of {draws} draws at level {alpha:g}", where="nested_rejections",
                      allowed=f"up to {draws}, alpha (m + 1) whole", remedy="take 19, 39, 59, ... at 5%")  # fmt: skip
