"""Staggered adoption: negative weights of the two-way coefficient, and the cohort-wise mean effect beside it."""

from __future__ import annotations

from collections.abc import Iterator

from estimators.staggered.dcdh import coefficient_weights
from experiments.checks.case import Case
from results.tables.records import INFORMS, SILENT, WEAKENS, Check

NAME = "effects that differ between cohorts"
ORDER = 42
MUCH = 0.05  # share, or sum, of negative weights from which an average is none
COHORT_WISE = "cohort-wise"


def alternatives(case: Case) -> Iterator[str]:
    """The cohort-wise mean effect."""
    if case.dated:
        yield COHORT_WISE


def check(case: Case) -> Iterator[Check]:
    """Weights of every 0/1 treatment, then the cohort-wise mean effect where there are cohorts."""
    if case.effect is None or not case.treated:
        return
    found = case.judged("cohort-wise", (COHORT_WISE,), {COHORT_WISE: "averaged cohort by cohort"},
                        remedy="print an estimator of table S ([robustness] staggered = true)")  # fmt: skip
    if found is not None:
        yield found

    if case.panel.roles.continuous:  # a dose has no such weights
        return
    weights = coefficient_weights(case.panel, controls=case.panel.roles.controls)
    share, total = weights.negative_share, weights.negative_sum
    said = (
        f"{share:.0%} of the weights in the two-way coefficient are negative (their sum is {total:.3f}): where effects "
        "differ, it is no average of them. See the estimators of table S ([robustness] staggered = true)."
    )
    severity = WEAKENS if abs(total) >= MUCH else INFORMS if share >= MUCH else SILENT
    quiet = f"{share:.1%} of the weights in the two-way coefficient are negative (their sum is {total:.4f})."
    numbers = {"negative_share": share, "negative_sum": total}
    yield Check.fact("negative-weights", severity, said, quiet, numbers, unit="share of weights", benchmark=MUCH,
                     remedy="print an estimator of table S" if severity else "")  # fmt: skip
