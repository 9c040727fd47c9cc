"""The effect without each group of units, each cohort and each unit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from estimators.core.inference import critical_values, p_values
from estimators.linear.equal_effects import group_labels
from estimators.sensitivity.leave_one_out import LeftOut
from experiments.application.warnings.case import NEVER, SIGNIFICANT, Case
from experiments.application.warnings.wording import number
from results.tables.records import LEVEL
from results.tables.typography import short_p
from results.tables.warning import INFORMS, OVERTURNS, SILENT, WEAKENS, PanelWarning, Specification
from sim.arrays import Codes, Flags, Floats

ORDER = 65
MOST_CELLS = 2e7  # of the panels without each unit in turn, beyond which they take seconds


def check(case: Case) -> Iterator[PanelWarning]:
    """One record a way to leave units out."""
    if case.effect is not None:
        for what, codes, labels in ways(case):
            yield _range(case, what, case.left_out(codes), labels)
        units = len(case.panel.units)
        if units**2 * len(case.panel.periods) <= MOST_CELLS:
            yield _range(case, case.unit, case.left_out(np.arange(units)), case.panel.units)


def ways(case: Case) -> Iterator[tuple[str, Codes, tuple[str, ...]]]:
    """Groups of units that are left out one by one: what they are, codes (N,), and labels."""
    for name, codes in case.groups.items():
        labels = group_labels(case.panel.attributes[name])
        yield name, codes, tuple(str(labels[codes == code][0]) for code in range(int(codes.max()) + 1))
    if case.panel.roles.treatment is not None and len(case.cohorts[1]) > 2:
        yield "cohort", *case.cohorts  # units that are never treated are no cohort, and stay


def tests(found: LeftOut) -> tuple[Floats, Flags]:
    """p values (G,) and which estimates have one."""
    with np.errstate(divide="ignore", invalid="ignore"):
        pvalues = np.asarray(p_values(found.estimate / found.se, found.clusters - 1.0))
    return pvalues, np.isfinite(pvalues)


def specifications(case: Case) -> Iterator[Specification]:
    """The effect without each group and each cohort, for the specification curve."""
    for what, codes, labels in ways(case):
        found = case.left_out(codes)
        pvalues, sound = tests(found)
        margin = critical_values(found.clusters - 1.0, LEVEL) * found.se
        for k in np.flatnonzero(sound & kept(labels)):
            low, high = found.estimate[k] - margin[k], found.estimate[k] + margin[k]
            yield Specification("left out", f"without {what} {labels[k]}", float(found.estimate[k]), case.main_error,
                                float(pvalues[k]), float(low), float(high))  # fmt: skip


def _range(case: Case, what: str, found: LeftOut, labels: tuple[str, ...]) -> PanelWarning:
    """The estimate that is nearest to zero or beyond it, and between which the others lie."""
    assert case.effect is not None
    assert case.effect.estimate is not None
    effect, code = case.effect.estimate, f"leave-out:{what}"
    pvalues, sound = tests(found)
    sound &= kept(labels)
    if not sound.any():
        return PanelWarning(code, SILENT, f"Without a {what} nothing is left to estimate.")
    sign = np.sign(effect)
    towards = np.where(sound, sign * found.estimate, np.inf)
    worst = int(towards.argmin())
    lost = sound & (pvalues > SIGNIFICANT)
    low, high = float(found.estimate[sound].min()), float(found.estimate[sound].max())
    numbers = {"lowest": low, "highest": high, "worst": float(found.estimate[worst]),
               "worst_pvalue": float(pvalues[worst]), "without_significance": float(lost.sum())}  # fmt: skip
    if towards[worst] < 0:
        severity = OVERTURNS
    elif case.claimed is not None and lost.any():
        severity = WEAKENS if what != case.unit else INFORMS
    else:
        severity = SILENT
    said = (
        f"Without {what} {labels[worst]} the effect is {number(float(found.estimate[worst]))} (p "
        f"{short_p(float(pvalues[worst]))}).{_count(lost, sound, what) if case.claimed is not None else ''}"
    )
    quiet = f"Without any one {what} the effect lies between {number(low)} and {number(high)}."
    return PanelWarning.of(code, severity, said, quiet, numbers)


def kept(labels: tuple[str, ...]) -> Flags:
    """Which groups may be left out, (G,): all but the units that are never treated."""
    return np.array([label != NEVER for label in labels])


def _count(lost: Flags, sound: Flags, what: str) -> str:
    """How many single groups take the significance away."""
    return f" Leaving out one {what} takes its significance at 10% in {int(lost.sum())} of {int(sound.sum())} cases."
