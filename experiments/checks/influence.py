"""The effect without each group of units, each cohort and each unit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from experiments.checks.case import NEVER, Case, number
from results.tables.records import INFORMS, SILENT, Check
from sim.panel import group_labels

NAME = "one influential group, cohort or unit"
ORDER = 65
MOST_CELLS = 2e7  # of the panels without each unit in turn, beyond which they take seconds


def ways(case: Case) -> Iterator[tuple[str, dict[str, str]]]:
    """Groups of units that are left out one by one: what they are, and each alternative in words."""
    for name in case.groups:
        labels = np.unique(group_labels(case.panel.attributes[name])).tolist()
        yield name, {f"without:{name}={label}": f"without {name} {label}" for label in labels}
    if case.treated and len(case.cohorts[1]) > 2:
        labels = [label for label in case.cohorts[1] if label != NEVER]  # others are no cohort, and stay
        yield "cohort", {f"without-cohort:{label}": f"without cohort {label}" for label in labels}


def alternatives(case: Case) -> Iterator[str]:
    """The effect without each group and each cohort."""
    for _, words in ways(case):
        yield from words


def check(case: Case) -> Iterator[Check]:
    """One record a way to leave units out, and one for each unit alone."""
    if case.effect is None:
        return
    for what, words in ways(case):
        judged = case.judged(f"leave-out:{what}", tuple(words), words, remedy=f"say what is special about it, or show "
                             f"the effect by {what}")  # fmt: skip
        yield judged or Check.fact(f"leave-out:{what}", SILENT, f"Without a {what} nothing is left to estimate.")
    units = len(case.panel.units)
    if not case.headline or units**2 * len(case.panel.periods) > MOST_CELLS:
        return

    # The single unit whose absence moves the effect most towards zero. Its own noise and its influence cannot be told
    # apart: the difference has about the size of its error.
    code, effect = f"leave-out:{case.unit}", case.effect_value
    found = case.left_out(np.arange(units))
    sound = np.isfinite(found.estimate)
    if not sound.any():
        yield Check.fact(code, SILENT, f"Without a {case.unit} nothing is left to estimate.")
        return
    towards = np.where(sound, case.sign * (effect - found.estimate), -np.inf)
    worst = int(towards.argmax())
    low, high = float(found.estimate[sound].min()), float(found.estimate[sound].max())
    enough = case.needed is not None and towards[worst] >= case.needed
    numbers = {"lowest": low, "highest": high, "worst": float(found.estimate[worst]), "effect": effect}
    said = (
        f"Without {case.unit} {case.panel.units[worst]} alone the effect is {number(float(found.estimate[worst]))} "
        f"instead of {number(effect)}, which is as much as takes the claim's support away."
    )
    quiet = f"Without any one {case.unit} the effect lies between {number(low)} and {number(high)}."
    needed = None if case.needed is None else -case.sign * case.needed
    yield Check.fact(code, INFORMS if enough else SILENT, said, quiet, numbers,
                     alternative=f"without {case.unit} {case.panel.units[worst]}", unit=case.outcome_name,
                     difference=float(found.estimate[worst]) - effect, needed=needed)  # fmt: skip
