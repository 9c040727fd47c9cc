"""Whether 2SLS with the instruments of a spec gives another effect than OLS."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from estimators.linear.instruments import EMPTY, ConfidenceSets
from experiments.checks.case import Case, number, starred
from experiments.checks.weak_instruments import statistics_at
from experiments.tables.iv_table import OLS, TWO_STAGES, endogenous_of, written_set
from results.tables.records import INFORMS, SILENT, WEAKENS, Check, Record
from results.tables.typography import short_p
from sim.schema import TREATMENT

NAME = "endogeneity"
ORDER = 44
LEVEL = 0.05
DISAGREE = "ols-and-2sls"


def check(case: Case) -> Iterator[Check]:
    """One record where there is a table I that speaks of the claim, or no claim."""
    spec = case.real.spec
    if spec.iv is None or not spec.iv.instruments:
        return
    own = endogenous_of(spec)
    least, two = (_record(case, place, own) for place in (OLS, TWO_STAGES))
    about = case.term == own or case.headline or case.effect is None
    if least is None or two is None or not about:
        return

    # They disagree where the endogeneity test rejects, or the Anderson-Rubin set leaves out the claim (else OLS).
    statistics = statistics_at(case, TWO_STAGES)
    claim = case.effect_value if case.effect is not None and case.term == own else least.estimate or 0.0
    p, shape = statistics.get("endogeneity_p", np.nan), int(statistics.get("ar_shape", EMPTY))
    ends = (np.array([statistics.get(f"ar_{end}", np.nan)]) for end in ("lower", "upper"))
    outside = shape != EMPTY and not ConfidenceSets(np.array([shape]), *ends).holds(claim)[0]
    name = case.real.called if own == TREATMENT else own
    other = f"{starred(two.estimate or 0.0, two.pvalue)}"
    if two.lower is not None and two.upper is not None:
        other += f" ({number(two.lower)} to {number(two.upper)})"
    said = (
        f"OLS and 2SLS disagree: the effect of {name} is {starred(least.estimate or 0.0, least.pvalue)} by OLS and "
        f"{other} by 2SLS with the instruments of [iv]; endogeneity p {short_p(p)}, Anderson-Rubin set "
        f"{written_set(statistics) or 'unknown'}{', without the claim' if outside else ''}. If the instruments are "
        "valid, OLS is biased."
    )
    quiet = f"OLS and 2SLS do not disagree on the effect of {name} (endogeneity p {short_p(p)})."
    if np.isnan(p):
        quiet = f"No test tells whether OLS and 2SLS disagree on the effect of {name}: it has no error."
    severity = (WEAKENS if case.claimed and case.term == own else INFORMS) if p < LEVEL or outside else SILENT
    numbers = {"ols": least.estimate, "two_stages": two.estimate, "two_stages_lower": two.lower,
               "two_stages_upper": two.upper, "endogeneity_p": p}  # fmt: skip
    yield Check.fact(DISAGREE, severity, said, quiet, numbers, benchmark=LEVEL, unit="p",
                     remedy="show the effect by 2SLS beside it, and argue which of the two holds"
                     if severity else "")  # fmt: skip


def _record(case: Case, place: tuple[str, int], term: str) -> Record | None:
    """A coefficient with the main errors, or the first that has any."""
    found = [r for r in case.ledger.records if r.place == place and r.term == term and r.estimate is not None]
    return next((r for r in found if r.se_type == case.main_error), found[0] if found else None)
