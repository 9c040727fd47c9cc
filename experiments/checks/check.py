"""The answers: what a difference between two estimates says of a claim, on one panel and on many at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estimators.core.estimator import Estimates, critical_values
from estimators.sensitivity.differences import ALTERNATIVE, DIFFERENCE
from results.tables.records import ANSWERS
from sim.arrays import Flags, Floats
from sim.errors import bad
from sim.registry import modules_in

Answers = NDArray[np.str_]

NOT_CHECKS = ("case", "check")  # files of the folder that hold what the others share
LEVEL = 0.05
ROUNDING = 1e-9  # of a rank
EXACT = 1e-9  # of a difference: an error that is smaller is rounding
LEVELS = (0.05, 0.10)  # at which an estimate may be claimed
USUAL = 1.0  # mean t on sound panels, in size, above which a difference belongs to them
CAPPED = ("effects:unit-trend",)  # growing effects look like unequal trends there, so that none contradicts


@cache
def modules() -> tuple[Any, ...]:
    """All modules of checks, in their order: the files beside this one; raises BadInput for one that is no check."""
    found = modules_in(__name__.rpartition(".")[0], NOT_CHECKS)
    for module in found:
        named = {name: getattr(module, name, None) for name in ("NAME", "ORDER", "check")}
        if not (isinstance(named["NAME"], str) and isinstance(named["ORDER"], int) and callable(named["check"])):
            given = ", ".join(f"{name} = {value!r:.40}" for name, value in named.items())
            raise bad(f"this file is no check: {given}", where=str(module.__file__),
                      allowed="NAME, a text, ORDER, a whole number, and a function check(case)",
                      remedy="correct it or move it elsewhere")  # fmt: skip
    return tuple(sorted(found, key=lambda module: module.ORDER))


def has_error(difference: Floats | float, se: Floats | float) -> Flags:
    """Whether a difference has an error: one of 0, as scores of two clusters give, is none unless there is nothing."""
    return np.asarray((np.asarray(difference) == 0) | (np.asarray(se) > EXACT * np.abs(difference)))


def answer_of(
    difference: Floats, se: Floats, critical: Floats | float, needed: Floats | float | None, sign: Floats | float,
    supports: Flags | bool,
) -> Answers:  # fmt: skip
    """Answers by intervals difference -+ critical se; arguments broadcast, a difference or error of NaN cannot tell.

    needed (0 or more): the change towards zero that takes the claim's support away, None = nothing is claimed. sign:
    of the claim. supports: whether the alternative's own interval excludes 0 with that sign.
    """
    difference, half = np.asarray(difference, np.float64), np.asarray(critical * np.asarray(se), np.float64)
    towards = -np.sign(sign) * difference
    differs = np.abs(difference) > half
    if needed is None:
        found = np.where(differs, "differs", "consistent")
    else:
        reaches = towards + half >= needed
        against = (towards > 0) & ~np.asarray(supports)
        found = np.where(
            differs, np.where(against, "contradicts", "differs"), np.where(reaches, "cannot tell", "consistent")
        )
    return np.where(np.isfinite(towards) & np.isfinite(half) & has_error(difference, se), found, "cannot tell")


def needed_of(estimate: Floats, half: Floats) -> Floats:
    """The change towards zero that brings an interval estimate -+ half to zero: 0 where it holds zero already."""
    return np.asarray(np.maximum(np.abs(estimate) - half, 0.0))


def answers_of(
    found: Estimates, alternatives: Sequence[str], critical: float, *, level: float | None = LEVEL,
    needed: Floats | float | None = None, usual: Mapping[str, float] | None = None,
) -> Answers:  # fmt: skip
    """Answers of some alternatives of `Differences` on R panels, (R, A).

    critical: of the family's |t|. level: at which the claim is made, None = nothing is claimed. needed: of every panel,
    (R,) or one number, in place of what its own clustered interval has. usual: t that sound panels have; what is no
    farther from it contradicts nothing. Each panel's claim is its own estimate.
    """
    estimate, se = found.estimate, found.se[:, 0]
    margin = critical_values(found.dof[:, 0], level or LEVEL) * se
    if needed is None:
        needed = needed_of(estimate[:, 0], margin[:, 0])
    own = np.broadcast_to(np.asarray(needed, np.float64), (len(estimate),))[:, None]
    sign = np.sign(estimate[:, :1])
    d, a = ([found.terms.index(f"{head}{text}") for text in alternatives] for head in (DIFFERENCE, ALTERNATIVE))
    error = np.where(estimate[:, d] == 0, 0.0, se[:, d])  # an alternative that is the claim itself
    supports = sign * estimate[:, a] > margin[:, a]
    answers = answer_of(estimate[:, d], error, critical, None if level is None else own, sign, supports)
    capped = np.isin(alternatives, CAPPED) | as_usual(found, alternatives, critical, usual or {})
    return np.where(capped & (answers == "contradicts"), "cannot tell", answers)


def worst_of(answers: Answers) -> Answers:
    """The most serious answer along the last axis, (R, A) -> (R,)."""
    places = np.array([ANSWERS.index(one) for one in answers.ravel().tolist()], dtype=np.intp).reshape(answers.shape)
    return np.asarray(np.array(ANSWERS)[places.max(axis=-1)])


def alternatives_of(found: Estimates) -> tuple[str, ...]:
    """Those of which there are differences."""
    return tuple(term.removeprefix(DIFFERENCE) for term in found.terms if term.startswith(DIFFERENCE))


def statistics_of(found: Estimates, alternatives: Sequence[str], usual: Mapping[str, float] | None = None) -> Floats:
    """t of differences, (R, A), less their usual values; 0 where there is none."""
    at = [found.terms.index(f"{DIFFERENCE}{text}") for text in alternatives]
    with np.errstate(divide="ignore", invalid="ignore"):
        t = found.estimate[:, at] / found.se[:, 0, at]
    return np.where(np.isfinite(t), t - [(usual or {}).get(text, 0.0) for text in alternatives], 0.0)


def usual_of(found: Estimates) -> dict[str, float]:
    """The mean t of differences that panels without a departure have as well, by alternative, R of them: a control that
    matters moves the effect wherever it is left out."""
    texts = alternatives_of(found)
    t = statistics_of(found, texts)
    mean = t.sum(axis=0) / np.maximum((t != 0).sum(axis=0), 1)
    return {text: value for text, value in zip(texts, mean.tolist(), strict=True) if abs(value) > USUAL}


def as_usual(found: Estimates, alternatives: Sequence[str], critical: float, usual: Mapping[str, float]) -> Flags:
    """Which differences are such as sound panels have them, (R, A)."""
    return np.isin(alternatives, list(usual)) & (np.abs(statistics_of(found, alternatives, usual)) <= critical)


def family_critical(found: Estimates, level: float = LEVEL, usual: Mapping[str, float] | None = None) -> float:
    """The |t| that the largest of all differences of `Differences` exceeds in at most a share `level` of further panels
    without a departure, by R of them; what a panel cannot have is left out, and t is less its usual value.

    The next of R + 1 panels in exchangeable order is beyond the k-th of the R with probability 1 - k / (R + 1).
    """
    largest = np.abs(statistics_of(found, alternatives_of(found), usual)).max(axis=1)
    rank = min(math.ceil((1.0 - level) * (len(largest) + 1) - ROUNDING), len(largest))
    return float(np.sort(largest)[rank - 1])


def with_departure(found: Estimates, alternatives: Sequence[str], by: Floats | float) -> Estimates:
    """The same panels if these alternatives differed from the claim by so much more, `by` (R,) or one number: what a
    departure of that size does to a difference whose error it does not change."""
    estimate = found.estimate.copy()
    for text in alternatives:
        for head in (DIFFERENCE, ALTERNATIVE):
            estimate[:, found.terms.index(f"{head}{text}")] += by
    return replace(found, estimate=estimate)
