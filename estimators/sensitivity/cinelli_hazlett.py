"""How strong an omitted confounder must be to overturn a coefficient, in partial R2 (Cinelli and Hazlett 2020).

All follows from t statistics with classical errors and their degrees of freedom: the partial R2 of a regressor is
t^2 / (t^2 + dof), whatever errors are printed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import stdtrit


@dataclass(frozen=True, slots=True)
class Confounder:
    """An omitted variable: the shares that it explains of what the regressors leave of treatment and outcome.

    estimate: the coefficient of the treatment beside it, if it works against the estimate.
    """

    r2_treatment: float
    r2_outcome: float
    estimate: float


def partial_r2(t: float, dof: float) -> float:
    """Share of the outcome's residual variance that a regressor explains."""
    return t * t / (t * t + dof)


def robustness_value(t: float, dof: float, q: float = 1.0, alpha: float = 1.0) -> float:
    """The share of residual variance, of treatment and outcome alike, at which a confounder takes q of the estimate.

    alpha < 1: at which the estimate less q is no longer significant at alpha; alpha = 1: at which it is zero. Their
    section 4.2, with the case of a treatment that explains more than the critical value allows.
    """
    taken = q * abs(t) / math.sqrt(dof)
    critical = 0.0 if alpha >= 1.0 else -float(stdtrit(dof - 1, alpha / 2.0)) / math.sqrt(dof - 1)
    left = taken - critical
    if left <= 0.0:
        return 0.0
    if critical and taken > 1.0 / critical:
        return (taken**2 - critical**2) / (1.0 + taken**2)
    return 0.5 * (math.sqrt(left**4 + 4.0 * left**2) - left**2)


def adjusted(estimate: float, se: float, dof: float, r2_treatment: float, r2_outcome: float) -> float:
    """The estimate without the bias of a confounder with these partial R2 that works against it; se classical."""
    bias = se * math.sqrt(dof * r2_outcome * r2_treatment / (1.0 - r2_treatment))
    return math.copysign(1.0, estimate) * (abs(estimate) - bias)


def benchmark(
    estimate: float, se: float, dof: float, t_treatment: float, t_outcome: float, times: float = 1.0
) -> Confounder | None:
    """A confounder `times` as strong as an observed control; None where that would explain all of something.

    t_treatment: of the control in the regression of the treatment on all controls, which has dof + 1 degrees of
    freedom; t_outcome: in that of the outcome on treatment and controls. Their section 4.4 and appendix B.1.
    """
    own, outcome = partial_r2(t_treatment, dof + 1.0), partial_r2(t_outcome, dof)
    explained = times * own / (1.0 - own)
    if explained >= 1.0 or times * own >= 1.0:
        return None
    both = times * own**2 / ((1.0 - times * own) * (1.0 - own))
    if both >= 1.0:
        return None
    share = ((math.sqrt(times) + math.sqrt(both)) / math.sqrt(1.0 - both)) ** 2 * outcome / (1.0 - outcome)
    share = min(share, 1.0)
    return Confounder(explained, share, adjusted(estimate, se, dof, explained, share))
