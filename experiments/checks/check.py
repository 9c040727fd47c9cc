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
from sim.registry import modules_in

Answers = NDArray[np.str_]

NOT_CHECKS = ("case", "check")  # files of the folder that hold what the others share
LEVEL = 0.05
ROUNDING = 1e-9  # of a rank
LEVELS = (0.05, 0.10)  # at which an estimate may be claimed
USUAL = 1.0  # mean t on sound panels, in size, above which a difference belongs to them
CAPPED = ("effects:unit-trend",)  # growing effects look like unequal trends there, so that none contradicts


@cache
def modules() -> tuple[Any, ...]:
    """All modules of checks, in their order: the files beside this one."""
    found = modules_in(__name__.rpartition(".")[0], NOT_CHECKS)
    return tuple(sorted(found, key=lambda module: int(module.ORDER)))


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
    return np.where(np.isfinite(towards) & np.isfinite(half), found, "cannot tell")


def needed_of(estimate: Floats, half: Floats) -> Floats:
    """The change towards zero that brings an interval estimate -+ half to zero: 0 where it holds zero already."""
    return np.asarray(np.maximum(np.abs(estimate) - half, 0.0))


def answers_of(
    found: Estimates, alternatives: Sequence[str], critical: float, *, level: float | None = LEVEL,
    needed: Floats | float | None = None,
) -> Answers:  # fmt: skip
    """Answers of some alternatives of `Differences` on R panels, (R, A).

    critical: of the family's |t|. level: at which the claim is made, None = nothing is claimed. needed: of every panel,
    (R,) or one number, in place of what its own clustered interval has. Each panel's claim is its own estimate.
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
    capped = np.isin(alternatives, CAPPED)
    return np.where(capped & (answers == "contradicts"), "cannot tell", answers)


def worst_of(answers: Answers) -> Answers:
    """The most serious answer along the last axis, (R, A) -> (R,)."""
    places = np.array([ANSWERS.index(one) for one in answers.ravel().tolist()], dtype=np.intp).reshape(answers.shape)
    return np.asarray(np.array(ANSWERS)[places.max(axis=-1)])


def usual_of(found: Estimates) -> dict[str, float]:
    """The mean t of differences that panels without a departure have as well, by alternative, R of them: a control that
    matters moves the effect wherever it is left out."""
    out = {}
    for k, term in enumerate(found.terms):
        t = found.estimate[:, k] / np.where(found.se[:, 0, k] > 0, found.se[:, 0, k], np.nan)
        mean = float(t[np.isfinite(t)].mean()) if term.startswith(DIFFERENCE) and np.isfinite(t).any() else 0.0
        if abs(mean) > USUAL:
            out[term.removeprefix(DIFFERENCE)] = mean
    return out


def family_critical(found: Estimates, level: float = LEVEL, usual: Mapping[str, float] | None = None) -> float:
    """The |t| that the largest of all differences of `Differences` exceeds in at most a share `level` of further panels
    without a departure, by R of them; what a panel cannot have is left out, and t is less its usual value.

    The next of R + 1 panels in exchangeable order is beyond the k-th of the R with probability 1 - k / (R + 1).
    """
    at = [k for k, term in enumerate(found.terms) if term.startswith(DIFFERENCE)]
    less = [(usual or {}).get(found.terms[k].removeprefix(DIFFERENCE), 0.0) for k in at]
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.abs(found.estimate[:, at] / found.se[:, 0, at] - less)
    largest = np.where(np.isfinite(size), size, 0.0).max(axis=1)
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
