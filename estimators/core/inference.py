"""Statistics, p values and intervals from an estimate, its standard error and degrees of freedom."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from sim.arrays import Floats


def p_values(statistic: Floats, dof: Floats) -> Floats:
    """Two-sided p values of t statistics; dof = inf means the normal distribution. Shapes broadcast."""
    tail = -np.abs(statistic)
    finite = np.where(np.isinf(dof), 1.0, dof)
    return 2 * np.where(np.isinf(dof), ndtr(tail), stdtr(finite, tail))


def critical_values(dof: Floats, alpha: float) -> Floats:
    """Two-sided critical values at level alpha, of the shape of dof; each distinct value is computed once."""
    distinct, inverse = np.unique(dof, return_inverse=True)
    finite = np.where(np.isinf(distinct), 1.0, distinct)
    values = np.where(np.isinf(distinct), ndtri(1 - alpha / 2), stdtrit(finite, 1 - alpha / 2))
    return values[inverse].reshape(dof.shape)


def holm(pvalues: Floats) -> Floats:
    """p-values of M tests adjusted so that the chance of any false rejection keeps to the level (Holm 1979), (M,)."""
    order = np.argsort(pvalues, kind="stable")
    steps = pvalues[order] * np.arange(len(pvalues), 0, -1)
    out = np.empty(len(pvalues))
    out[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return out


def usual_error(kinds: Sequence[str], asked: str | None = None) -> str:
    """The error type asked for where there is one; else the first cluster, else information or the last; "" of none."""
    if asked in kinds:
        return str(asked)
    clustered = [kind for kind in kinds if kind.startswith("cluster:")]
    return next(iter([*clustered, *(kind for kind in kinds if kind == "information"), *kinds[-1:]]), "")
