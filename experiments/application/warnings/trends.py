"""What stands behind staggered effects: trends before adoption, bounds when trends differ, negative weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from estimators.staggered.cohorts import Cohorts
from estimators.staggered.dcdh import coefficient_weights
from estimators.staggered.honest import BoundsQuestion, breakdown
from estimators.staggered.pretrends import pretrend_power
from experiments.application.tables.adoption_checks import EventTimes, reference_estimator
from experiments.application.warnings.case import Case
from experiments.application.warnings.wording import number
from results.tables.typography import short_p
from results.tables.warning import INFORMS, OVERTURNS, SILENT, WEAKENS, PanelWarning
from sim.panel import Panel
from sim.panel.panel import part

ORDER = 40
LEVEL = 0.05
FRAGILE = 1.0  # breakdown value of relative magnitudes below which an effect is fragile
MUCH = 0.05  # sum of negative weights from which an average is none
FOUND = 0.5  # share of samples in which the pre-trend test finds the trend that is spoken of


@dataclass(frozen=True, eq=False, slots=True)
class Adoption:
    """Effects by event time on the balanced panel, without units treated from the first period on."""

    panel: Panel
    path: EventTimes


def check(case: Case) -> Iterator[PanelWarning]:
    """Weights of every 0/1 treatment, then what needs a balanced panel with absorbing adoption."""
    if case.effect is None:
        return
    yield _weights(case)
    adoption = _adoption(case)
    path = adoption.path
    if not path.pre or path.pre == len(path.events):
        yield PanelWarning("pre-trend", SILENT, f"There is no test of pre-trends: {path.lacking}.")
        return
    yield _pretrend(case, path)
    yield _bounds(case, path)


def _adoption(case: Case) -> Adoption:
    """Raises BadInput for a panel that event times cannot be had of."""
    panel = case.real.balanced()
    treatment = str(panel.roles.treatment)
    cohorts = Cohorts.of(panel, treatment, "warnings")
    core = part(panel, cohorts.first > 0, np.ones(len(panel.periods), dtype=bool))
    return Adoption(core, EventTimes.of(reference_estimator(core, (case.main_error,)), core))


def _weights(case: Case) -> PanelWarning:
    """Share and sum of the negative weights with which the two-way coefficient averages effects."""
    found = coefficient_weights(case.panel, controls=case.panel.roles.controls)
    share, total = found.negative_share, found.negative_sum
    said = (
        f"{share:.0%} of the weights in the two-way coefficient are negative (their sum is {total:.3f}): where effects "
        "differ, it is no average of them. See the estimators of table S ([robustness] staggered = true)."
    )
    severity = WEAKENS if abs(total) >= MUCH else INFORMS if share >= MUCH else SILENT
    quiet = f"{share:.1%} of the weights in the two-way coefficient are negative (their sum is {total:.4f})."
    return PanelWarning.of("negative-weights", severity, said, quiet, {"negative_share": share, "negative_sum": total})


def _pretrend(case: Case, path: EventTimes) -> PanelWarning:
    """The joint test of no effect before adoption, and when it is passed, the bias that it would not have seen."""
    wald, _, pvalue = path.pretrend()
    power = pretrend_power(path.estimate, path.covariance, path.pre, (FOUND,))
    later = slice(path.pre, None)
    mean, bias = float(path.estimate[later].mean()), float(power.after[0].expected[later].mean())
    numbers = {"wald": wald, "pvalue": pvalue, "mean_effect": mean, "unseen_bias": bias,
               "slope": float(power.slopes[0])}  # fmt: skip
    if pvalue < LEVEL:
        said = (
            f"Treated and other units differ in their trends before adoption (joint test: p {short_p(pvalue)}): the "
            "effect may be this difference."
        )
        return PanelWarning("pre-trend", OVERTURNS, said, numbers)
    passed = f"The pre-trend test is passed (p {short_p(pvalue)})"
    said = (
        f"{passed}, but half the time it misses a linear trend that biases the mean effect of {number(mean)} by "
        f"{number(bias)}."
    )
    severity = SILENT if abs(bias) <= abs(mean) else WEAKENS if case.claimed else INFORMS
    return PanelWarning.of("pre-trend", severity, said, f"{passed}.", numbers)


def _bounds(case: Case, path: EventTimes) -> PanelWarning:
    """The breakdown value of the mean effect after adoption under relative magnitudes."""
    post = len(path.events) - path.pre
    question = BoundsQuestion(path.estimate, path.covariance, path.pre, np.full(post, 1.0 / post))
    value = breakdown(question, "relative magnitudes")
    low, high = question.original
    numbers = {"breakdown": value, "original_lower": low, "original_upper": high}
    if value == 0.0:
        said = (
            f"The honest breakdown value is 0: even with parallel trends the interval of the mean effect by time since "
            f"adoption, {number(low)} to {number(high)}, holds zero."
        )
        return PanelWarning("honest-breakdown", OVERTURNS if case.claimed else INFORMS, said, numbers)
    said = (
        f"The honest breakdown value is {value:.2f}: the mean effect is not told from zero once trends after adoption "
        f"differ {value:.2f} times as much a period as the most they did before."
    )
    return PanelWarning("honest-breakdown", WEAKENS if value < FRAGILE else SILENT, said, numbers)
