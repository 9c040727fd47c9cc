"""Columns that make an effect something else: controls made of the treatment, or the outcome in another form."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from experiments.application.tables.columns import treated_units
from experiments.application.warnings.case import Case
from experiments.application.warnings.wording import number, some, starred
from results.tables.warning import INFORMS, OVERTURNS, SILENT, WEAKENS, PanelWarning
from sim.arrays import Floats
from sim.panel.panel import seen_in

ORDER = 20
SAME = 0.95  # correlation, without effects, from which a control is the outcome in another form
MOVED_T, MOVED_SHARE = (
    5.0,
    0.10,
)  # t with the main errors and share of the control's variance that the treatment explains
ROUNDING = 1e-9


def check(case: Case) -> Iterator[PanelWarning]:
    """Every control, then how many units are treated and since when."""
    roles = case.panel.roles
    if roles.treatment is not None:
        for name in roles.controls:
            yield _of_the_treatment(case, name)
        yield from _treated(case)
    for name in roles.controls if roles.outcome else ():
        yield _outcome_again(case, name)


def _of_the_treatment(case: Case, name: str) -> PanelWarning:
    """A control that is a product of the treatment, or that the treatment moves."""
    code, quiet = f"control-of-treatment:{name}", f"The control {name} is no function of the treatment."
    did, control = case.panel.variables[str(case.panel.roles.treatment)][0], case.panel.variables[name][0]
    seen = seen_in(case.panel)
    untreated, treated = control[seen & (did == 0)], control[seen & (did != 0)]
    spread = float(np.ptp(control[seen]))
    made_of_it = bool(untreated.size and treated.size) and np.ptp(untreated) <= ROUNDING * spread < np.ptp(treated)
    if made_of_it:
        said = (
            f"The control {name} is a function of the treatment (all untreated rows have the same value): the "
            f"coefficient of DID beside it is not the mean effect{_effect(case)}."
        )
        return PanelWarning(code, OVERTURNS, said)
    t, share = _moved(case, case.within(name))
    said = (
        f"The treatment moves the control {name} (t = {t:.1f}, {share:.0%} of its variance): the coefficient of DID "
        "leaves out the part of the effect that goes through it."
    )
    moved = abs(t) > MOVED_T and share > MOVED_SHARE
    return PanelWarning.of(code, WEAKENS if moved else SILENT, said, quiet, {"t": t, "share": share})


def _effect(case: Case) -> str:
    """How the effect changes when controls that are functions of the treatment are there, as an aside."""
    if case.effect is None or case.effect.estimate is None:
        return ""
    alone = float((case.treatment * case.outcome).sum() / np.square(case.treatment).sum())
    return f" ({starred(case.effect.estimate, case.effect.pvalue)}; without any control {number(alone)})"


def _moved(case: Case, control: Floats) -> tuple[float, float]:
    """t, clustered, of the treatment in a regression of a demeaned control on it, and the share it explains."""
    d = case.treatment
    square = float(np.square(d).sum())
    slope = float((d * control).sum()) / square
    scores = (d * (control - slope * d)).sum(axis=0)
    error = np.sqrt(np.square(np.bincount(case.clusters, scores)).sum()) / square
    share = slope**2 * square / float(np.square(control).sum())
    return (slope / error if error > 0 else float("nan")), share


def _outcome_again(case: Case, name: str) -> PanelWarning:
    control = case.within(name)
    correlation = float((control * case.outcome).sum()
                        / np.sqrt(np.square(control).sum() * np.square(case.outcome).sum()))  # fmt: skip
    said = (
        f"The control {name} is the outcome in another form (correlation within units and periods {correlation:.3f}): "
        "the effect is what the treatment does to the rest."
    )
    quiet = f"The control {name} is not the outcome in another form."
    severity = OVERTURNS if abs(correlation) > SAME else SILENT
    return PanelWarning.of(f"outcome-again:{name}", severity, said, quiet, {"correlation": correlation})


def _treated(case: Case) -> Iterator[PanelWarning]:
    """One treated unit; treated units that are never seen untreated."""
    treated = treated_units(case.panel)
    count, name = int(treated.sum()), case.panel.units[int(treated.argmax())]
    effect = case.effect
    stars = starred(effect.estimate, effect.pvalue) if effect is not None and effect.estimate is not None else "DID"
    said = (
        f"Only {name} is treated: errors clustered by {case.unit} know nothing of its own shocks, so that the stars of "
        f"{stars} mean nothing. Use panelproof placebo."
    )
    numbers: dict[str, float | None] = {"treated_units": float(count)}
    severity = OVERTURNS if count == 1 else SILENT
    yield PanelWarning.of("one-treated-unit", severity, said, f"{count} units are treated.", numbers)
    did = case.panel.variables[str(case.panel.roles.treatment)][0]
    before = (seen_in(case.panel) & (did == 0)).any(axis=0)
    late = [case.panel.units[i] for i in np.flatnonzero(treated & ~before)]
    severity = WEAKENS if len(late) > count / 2 else INFORMS if late else SILENT
    said = (
        f"{len(late)} of {count} treated units are never seen untreated ({some(late)}): the panel starts after their "
        "adoption, and they serve only as comparisons."
    )
    quiet = "All treated units are seen before treatment."
    yield PanelWarning.of("without-pre-periods", severity, said, quiet, numbers | {"units": float(len(late))})
