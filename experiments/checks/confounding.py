"""How strong an omitted confounder must be to remove the effect, beside the observed controls."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from estimators.sensitivity.sensitivity import SHARE, ShortAndLong, benchmark, partial_r2, robustness_value
from experiments.checks.case import Case, number, without
from results.tables.records import INFORMS, SILENT, WEAKENS, Check
from sim.arrays import Floats

NAME = "an omitted confounder"
ORDER = 70
UNIT = "share of what is left of treatment and outcome that a confounder explains"
FAR = 10.0  # size of Oster's delta from which its denominator is next to zero
LEAST_GAIN = 0.05  # share of the R2 within that controls must add for their selection to say anything


def check(case: Case) -> Iterator[Check]:
    """Cinelli and Hazlett's robustness value of the effect, then Oster's delta where there are controls."""
    if case.effect is None or not case.treated:
        return
    if _free(case) >= 2:
        yield _robustness(case)
    if case.panel.roles.controls:
        yield _selection(case)


def t_value(y: Floats, x: Floats, others: Floats, dof: float) -> tuple[float, float, float]:
    """Coefficient of a demeaned x (T, N) beside others (K, T, N), its classical error and t."""
    left = without(x, others)
    square = float(np.square(left).sum())
    slope = float((left * y).sum()) / square
    e = without(y, np.concatenate([x[None], others]))
    error = float(np.sqrt(np.square(e).sum() / dof / square))
    return slope, error, slope / error


def _robustness(case: Case) -> Check:
    """RV for all of the effect and for its significance, and what a confounder like the strongest control would do."""
    names, d, y, x = case.panel.roles.controls, case.treatment, case.outcome, case.controls
    dof = _free(case)
    slope, error, t = t_value(y, d, x, dof)
    rv, significant = robustness_value(t, dof), robustness_value(t, dof, alpha=0.05)
    numbers: dict[str, float | None] = {"rv": rv, "rv_5": significant, "partial_r2": partial_r2(t, dof), "t": t}
    strongest, least = "", abs(slope)
    for k, name in enumerate(names):
        others = np.delete(x, k, axis=0)
        like = benchmark(slope, error, dof, t_value(d, x[k], others, dof + 1)[2],
                         t_value(y, x[k], np.concatenate([d[None], others]), dof)[2])  # fmt: skip
        if like is None:
            continue
        r2_treatment, r2_outcome, beside_it = like
        numbers |= {f"r2_treatment:{name}": r2_treatment, f"r2_outcome:{name}": r2_outcome,
                    f"estimate:{name}": beside_it}  # fmt: skip
        if np.sign(slope) * beside_it < least:
            strongest, least = name, float(np.sign(slope) * beside_it)
    weak = bool(strongest) and least <= 0
    beside = f" One as strong as {strongest} would leave {number(float(np.sign(slope)) * least)}." if strongest else ""
    said = (
        f"A confounder that explains {rv:.1%} of what is left of both treatment and outcome would remove the effect "
        f"(robustness value).{beside}"
    )
    severity = WEAKENS if weak and case.claimed is not None else INFORMS if weak else SILENT
    shares = [min(numbers[f"r2_treatment:{name}"] or 0.0, numbers[f"r2_outcome:{name}"] or 0.0)
              for name in names if f"r2_treatment:{name}" in numbers]  # fmt: skip
    return Check.fact("robustness-value", severity, said, "", numbers, unit=UNIT, benchmark=max(shares, default=None),
                      remedy="name confounders of this strength, or argue that there is none")  # fmt: skip


def _free(case: Case) -> int:
    """Degrees of freedom that regressors, unit and period effects leave."""
    units, periods = int(case.mask.any(axis=0).sum()), int(case.mask.any(axis=1).sum())
    return case.panel.nobs - (units + periods - 1) - len(case.panel.roles.regressors)


def _selection(case: Case) -> Check:
    """Oster's delta at r2_max = 1.3 R2, and the effect if unobservables were selected as strongly as controls."""
    found = ShortAndLong.of(case.outcome, case.treatment, case.controls)
    most = found.most()
    delta, bound = found.delta(most), found.effect(most)
    numbers = {"delta": delta, "effect_at_1": bound, "r2_max": most, "r2_short": found.r2_short,
               "r2_long": found.r2_long, "short": found.short, "long": found.long}  # fmt: skip
    told = found.r2_long - found.r2_short >= LEAST_GAIN * found.r2_long
    fragile = told and 0 < delta < 1
    size = f"{delta:.2f}" if abs(delta) <= FAR else f"beyond {FAR:g} in size"
    said = (
        f"Oster's delta is {delta:.2f}: selection on unobservables that is {delta:.2f} times as strong as that on the "
        f"controls would remove the effect (R2 within up to {SHARE} times {found.r2_long:.3f})."
    )
    quiet = f"Oster's delta is {size}, which is not between 0 and 1."
    if not abs(delta) <= FAR:
        quiet = f"Oster's delta is {size}: controls and treatment hardly go together, so that it says nothing."
    if not told:
        quiet = "The controls explain next to nothing beside the treatment: Oster's delta says nothing."
    severity = (WEAKENS if case.claimed is not None else INFORMS) if fragile else SILENT
    return Check.fact("oster-delta", severity, said, quiet, numbers, unit="times the selection on controls",
                      benchmark=1.0)  # fmt: skip
