"""Products whose parts are no regressors, and the square of the treatment beside it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from experiments.checks.case import Case, number, without
from results.tables.records import INFORMS, SILENT, WEAKENS, Check
from sim.errors import listed
from sim.panel import seen_in

NAME = "interactions"
ORDER = 22
ROUNDING = 1e-10  # share of a variable's squares that counts as nothing
LEAST_VALUES = 4  # of a treatment: any function of three values is a polynomial of degree two


def check(case: Case) -> Iterator[Check]:
    """Every product that [transform] makes, then every square of the treatment."""
    for name, parts in case.real.spec.products.items():  # do effects and the other regressors hold every part?
        own = case.variable(name)
        beside = case.with_variables(parts)
        others = [beside.within(one) for one in case.real.panel.roles.regressors if one != own]
        x = np.stack(others) if others else np.empty((0, *beside.mask.shape))
        seen = seen_in(beside.panel)
        lacking = []
        for part in parts:
            values = beside.panel.variables[case.variable(part)][0]
            left = np.square(without(beside.demeaned(values), x)).sum()
            held = left <= ROUNDING * float(np.square(values[seen] - values[seen].mean()).sum())
            if not held:
                lacking.append(part)

        code, made = f"interaction-parts:{name}", "square" if len(parts) == 1 else "product"
        none = "is no regressor" if len(lacking) == 1 else "are no regressors"
        quiet = f"All parts of the {made} {name} are among regressors and effects."
        said = (
            f"{name} is the {made} of {listed(parts)}, and {listed(lacking)} {none}: "
            f"the coefficient of the {made} holds the effect of what is left out."
        )
        of_treatment = case.panel.roles.treatment in (own, *map(case.variable, parts))
        severity = (WEAKENS if of_treatment else INFORMS) if lacking else SILENT
        yield Check.fact(code, severity, said, quiet, {"parts": float(len(parts)), "lacking": float(len(lacking))},
                         unit="parts", remedy=f"add {listed(lacking)} to the controls" if lacking else "")  # fmt: skip
    if not case.panel.roles.treatment:
        return

    # The coefficient of the treatment beside its square is the slope where the square is flat.
    called = case.real.called
    d = case.panel.variables[case.panel.roles.treatment][0][seen_in(case.panel)]
    low, high = float(d.min()), float(d.max())
    for name in case.panel.roles.controls:
        turn = turning_point(case, name)
        if turn is None:
            continue
        outside = "" if low <= turn <= high else f", outside of its values ({number(low)} to {number(high)})"
        said = (
            f"The control {name} is the square of {called}: the coefficient of {called} is the slope of its effect "
            f"where {called} is {turn:.4g}{outside}, and no mean effect."
        )
        yield Check.fact(f"square-of-treatment:{name}", INFORMS, said, "", {"at": turn, "lowest": low, "highest": high},
                         unit=called, remedy=f"centre {called} before it is squared")  # fmt: skip


def turning_point(case: Case, name: str) -> float | None:
    """Where a control that is a polynomial of degree two of the treatment is flat; None for every other control."""
    seen = seen_in(case.panel)
    d, control = (case.panel.variables[one][0][seen] for one in (str(case.panel.roles.treatment), name))
    if len(np.unique(d)) < LEAST_VALUES:
        return None
    middle, scale = float(d.mean()), float(d.std())
    z = (d - middle) / scale
    terms = np.column_stack([np.ones_like(z), z, z * z])
    slopes = np.linalg.lstsq(terms, control)[0]
    spread = float(np.square(control - control.mean()).sum())
    curved = float(np.square(slopes[2] * (z * z - np.mean(z * z))).sum())
    if np.square(control - terms @ slopes).sum() > ROUNDING * spread or curved <= ROUNDING * spread:
        return None
    turn = middle - scale * float(slopes[1] / (2.0 * slopes[2]))
    return 0.0 if abs(turn) < ROUNDING**0.5 * (abs(middle) + scale) else turn
