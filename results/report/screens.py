"""Screens, such as a test of pre-trends: how often they reject, and the bias of the estimates that pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from results.diagnosis.claims import Claim, terms_of
from results.diagnosis.diagnose import Diagnosis
from results.report.bias_table import bias_table, key_terms, settings
from results.report.verdicts import standardised
from results.report.wording import errors_text, per_cent, span_text


@dataclass(frozen=True, slots=True)
class Screened:
    """One estimator in one cell: how often its screen rejects, and the bias of all fits and of those that pass.

    bias, passing: in standard errors of the estimator over all its fits; NaN where there is none.
    """

    cell: int
    setting: str
    estimator: str
    term: str
    test: str
    rejects: float
    mcse: float
    lower: float
    upper: float
    bias: float
    passing: float


def screened(claim: Claim, diagnosis: Diagnosis) -> Iterator[Screened]:
    """Every estimator with a screen, cell by cell."""
    frame, texts = diagnosis.frame, settings(diagnosis)
    own, passing = (_first_rows(bias_table(diagnosis, sample=sample)) for sample in ("own", "passing"))
    for name, layout in diagnosis.layouts.items():
        if not layout.screen or (claim.estimators and name not in claim.estimators):
            continue
        term = terms_of(claim, layout, key_terms(layout))[0]
        rows = frame[(frame["measure"] == f"rejection:{layout.screen}") & (frame["estimator"] == name)]
        for row in rows[rows["n"] > 0].to_dict("records"):
            place = row["cell"], name, term
            biased = standardised(own[place])[0] if place in own else float("nan")
            scale = own[place]["empirical_se"] if place in own else 0.0
            left = passing[place]["bias"] / scale if place in passing and scale > 0 else float("nan")
            yield Screened(row["cell"], texts[row["cell"]], name, term, layout.screen.removesuffix("_p"),
                           row["value"], row["mcse"], row["lower"], row["upper"], biased, left)  # fmt: skip


def screen_sentence(found: Sequence[Screened], diagnosis: Diagnosis) -> str:
    """The range of rejections of each screen, and the largest bias of the estimates that pass."""
    parts = []
    for name in dict.fromkeys(item.estimator for item in found):
        own = [item for item in found if item.estimator == name]
        shares = [item.rejects for item in own]
        text = f"{own[0].test} of {name} rejects in {span_text(min(shares), max(shares))} of panels"
        if known := [item for item in own if item.passing == item.passing]:
            worst = max(known, key=lambda item: abs(item.passing))
            side = "too high" if worst.passing > 0 else "too low"
            when = f" when {worst.setting}, where it rejects in {per_cent(worst.rejects)}" if worst.setting else ""
            text += (f", and {worst.term} of fits that pass is {side} by up to {errors_text(abs(worst.passing))} "
                     f"(all fits: {errors_text(abs(worst.bias))}){when}")  # fmt: skip
        parts.append(text)
    return f"Screens: {'; '.join(parts)}."


def _first_rows(table: Any) -> dict[tuple[int, str, str], dict[Any, Any]]:
    """The row of the first error type by cell, estimator and term."""
    rows: dict[tuple[int, str, str], dict[Any, Any]] = {}
    for row in table.to_dict("records"):
        rows.setdefault((row["cell"], row["estimator"], row["term"]), row)
    return rows
