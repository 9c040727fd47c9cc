"""Parallel trends as numbers: unequal slopes, placebos in time, the pre-trend test with its power, bounds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from estimators.staggered.honest import BoundsQuestion
from estimators.staggered.trend_evidence import EventTimes, breakdowns, core_of, pretrend_power, reference_estimator
from experiments.checks.case import Case, number
from results.tables.records import INFORMS, SILENT, WEAKENS, Check
from results.tables.typography import short_p
from sim.schema import period_step

NAME = "unequal trends"
ORDER = 40
LEVEL = 0.05
FRAGILE = 1.0  # Mbar that is a benchmark by convention: changes as large as the largest before adoption
FOUND = 0.5  # share of samples in which the pre-trend test finds the trend that is spoken of
LEADS = (1, 2, 3)  # periods that a placebo in time is earlier
TREND = "trend"
UNIT = "times the largest change of trends before adoption"


def leads(case: Case) -> dict[str, str]:
    """Placebos in time, in words."""
    period, step = case.real.spec.panel.period, period_step(case.panel.periods)
    many = "s" * period.isascii()
    return {f"lead:{k}": f"less the placebo {k * step} {period}{many * (k * step > 1)} before adoption" for k in LEADS}


def alternatives(case: Case) -> Iterator[str]:
    """Less the bias of unequal slopes, less placebos in time."""
    if case.dated:
        yield TREND
        yield from leads(case)


def check(case: Case) -> Iterator[Check]:
    """The slopes, the placebos in time, then what needs a balanced panel with absorbing adoption."""
    if case.effect is None or not case.treated:
        return
    if not case.dated:
        yield Check.fact("unequal-trends", SILENT, "There is no slope of trends, no placebo in time and no test of "
                         f"pre-trends: {case.real.undated}.")  # fmt: skip
        return
    remedy = "argue why trends are parallel, or compare units with like trends"
    slope = case.judged("unequal-trends", (TREND,), {TREND: "less the bias of unequal linear trends"}, remedy)
    if slope is not None:
        yield slope
    elif case.family is not None:
        missing, why = "slope of trends", case.family.reasons.get(TREND, "").removeprefix(f"{TREND}: ")
        missing, why = ("test of a difference to another estimate", case.untold) if case.untold else (missing, why)
        yield Check.fact("unequal-trends", SILENT, f"There is no {missing}: {why}.")
    placebo = case.judged("placebo-in-time", tuple(leads(case)), leads(case), remedy)
    if placebo is not None and case.family is not None:
        values = [-case.family.value(text)[0] for text in placebo.alternatives]
        numbers = {**placebo.numbers, "mean": float(np.mean(values))}
        yield replace(placebo, numbers=numbers | dict(zip(placebo.alternatives, values, strict=True)))

    balanced = case.balanced  # BadInput for a panel whose effects by event time cannot be had
    panel = replace(balanced, roles=replace(balanced.roles, outcome=case.outcome_name), weights={})
    core = core_of(panel, str(panel.roles.treatment), "checks")
    path = EventTimes.of(reference_estimator(core, (case.main_error,)), core)
    if not path.pre or path.pre == len(path.events):
        yield Check.fact("pre-trend", SILENT, f"There is no test of pre-trends: {path.lacking}.")
        return
    yield _pretrend(case, path)

    # Breakdown values under relative magnitudes, for the first period after adoption and, of several, for the mean.
    post = len(path.events) - path.pre
    asked = {"honest-breakdown:first": ("effect in the first period", np.eye(1, post)[0]),
             "honest-breakdown": ("mean effect by time since adoption", np.full(post, 1.0 / post))}  # fmt: skip
    for (code, (what, weights)), value in list(zip(asked.items(), breakdowns(path), strict=True))[:post]:
        low, high = BoundsQuestion(path.estimate, path.covariance, path.pre, weights).original
        numbers = {"breakdown": value, "original_lower": low, "original_upper": high}
        said = (
            f"The honest breakdown value of the {what} is {value:.2f}: it is not told from zero once trends after "
            f"adoption differ {value:.2f} times as much a period as the most they did before."
        )
        if value == 0.0:
            said = (
                f"The honest breakdown value of the {what} is 0: even with parallel trends its interval, {number(low)} "
                f"to {number(high)}, holds zero."
            )
        if not np.isfinite(value):
            said = f"No change of trends that was tried takes the {what} to zero."
        severity = SILENT if value >= FRAGILE else WEAKENS if value == 0.0 and case.claimed else INFORMS
        yield Check.fact(code, severity, said, "", numbers, unit=UNIT, benchmark=FRAGILE)


def _pretrend(case: Case, path: EventTimes) -> Check:
    """The joint test of no effect before adoption, and the bias of a trend that it would not have seen (Roth 2022)."""
    wald, _, pvalue = path.pretrend()
    if path.fewest <= path.pre:
        said = (f"There is no joint test of pre-trends: it has {path.pre} event times and {path.fewest} clusters of "
                "treated units or of comparison units, whichever are fewer, and needs more clusters than event "
                "times.")  # fmt: skip
        return Check.fact("pre-trend", SILENT, said)
    power = pretrend_power(path.estimate, path.covariance, path.pre, (FOUND,), "joint", LEVEL, path.fewest)
    later = slice(path.pre, None)
    mean, bias = float(path.estimate[later].mean()), float(power.after[0].expected[later].mean())
    numbers = {"wald": wald, "pvalue": pvalue, "mean_effect": mean, "unseen_bias": bias,
               "slope": float(power.slopes[0])}  # fmt: skip
    more = {"unit": "p value", "benchmark": LEVEL}
    if pvalue < LEVEL:
        said = (
            f"Treated and other units differ in their trends before adoption (joint test: p {short_p(pvalue)}): the "
            "effect may be this difference."
        )
        return Check.fact("pre-trend", WEAKENS, said, "", numbers, **more)
    passed = f"The pre-trend test is passed (p {short_p(pvalue)})"
    said = (
        f"{passed}, but half the time it misses a linear trend that biases the mean effect of {number(mean)} by "
        f"{number(bias)}."
    )
    severity = SILENT if abs(bias) <= abs(mean) else WEAKENS if case.claimed else INFORMS
    return Check.fact("pre-trend", severity, said, f"{passed}.", numbers, **more)
