"""The answer to a study's question: what failed, a sentence a claim, what a reader must know beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from results.diagnosis.claims import POWER, Claim
from results.diagnosis.diagnose import Diagnosis
from results.report.detectable import Curve, curves
from results.report.notices import Failed, failed_fits, failure_notice, notices
from results.report.numbers import LEAST_FITS, TOO_FEW
from results.report.power_sentences import power_sentence
from results.report.screens import Screened, screen_sentence, screened
from results.report.sentences import claim_sentence
from results.report.verdicts import Grade, Verdict, claims_of, claims_table, grades, judgements, needed, verdicts
from results.report.worlds import fixed_sentence, judged_sentence, worlds_reached

MOST_CURVES = 500  # that are fitted of a claim on power: more than anybody reads
NOTHING = "There are no finished replications yet."


@dataclass(frozen=True, slots=True)
class ClaimAnswer:
    """What became of one claim: a sentence, the verdicts behind it (the worst first), and of power the curves.

    curves: of each verdict on power, one for each setting of the dials other than the effect. screens: of a claim of
    screens, one a cell and estimator.
    """

    claim: Claim
    sentence: str
    verdicts: tuple[Verdict, ...] = ()
    curves: tuple[tuple[Verdict, tuple[Curve, ...]], ...] = ()
    screens: tuple[Screened, ...] = ()

    @property
    def grade(self) -> Grade:
        """The worst grade of its verdicts; "stated" of power and screens."""
        return grades(self.verdicts)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a diagnosis.

    failures: how many fits failed and why; "" where none did. claims: in the order of the study, those that found
    something to judge. notes: what was held fixed and how much is judged at once, numbers that are missing,
    terms without a truth.
    """

    claims: tuple[ClaimAnswer, ...]
    failures: str
    failed: tuple[Failed, ...]
    notes: tuple[str, ...]
    nothing: str = ""

    @property
    def sentences(self) -> tuple[str, ...]:
        """Failures first, then a sentence a claim: the first lines of a report."""
        said = (self.failures, self.nothing, *(item.sentence for item in self.claims))
        return tuple(sentence for sentence in said if sentence)

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """All verdicts, the claims in order."""
        return tuple(item for claim in self.claims for item in claim.verdicts)

    @property
    def grade(self) -> Grade:
        """The worst grade, of failed fits too; "stated" where nothing was judged."""
        every = [*(item.grade for item in self.claims), *(item.grade for item in self.failed)]
        return max(every, key=lambda grade: grade.rank, default=Grade.STATED)


def answer(diagnosis: Diagnosis, table: pd.DataFrame | None = None) -> Answer:
    """The answer to the claims of a diagnosis; table: its bias table, where that is there already."""
    table = claims_table(diagnosis, table)
    failed = failed_fits(diagnosis)
    found = verdicts(diagnosis, table)
    wrong_size = {(item.estimator, item.term, item.error) for item in found
                  if item.measure == "size" and item.grade is Grade.FAILS}  # fmt: skip
    parts = []
    for claim in claims_of(diagnosis):
        own = [item for item in found if item.claim is claim]
        if part := _answered(claim, own, diagnosis, wrong_size):
            parts.append(part)
    judged = judged_sentence(judgements(found), diagnosis.worlds, worlds_reached(diagnosis))
    basis = " ".join(part for part in (fixed_sentence(diagnosis), judged) if part)
    notes = (*([basis] if basis else []), *notices(table))
    return Answer(tuple(parts), failure_notice(failed), tuple(failed), notes, _nothing(table))


def _answered(
    claim: Claim, found: Sequence[Verdict], diagnosis: Diagnosis, wrong_size: set[tuple[str, str, str]]
) -> ClaimAnswer | None:
    """What became of a claim; None where there is nothing to say."""
    if claim.measure == "screen":
        screens = tuple(screened(claim, diagnosis))
        return ClaimAnswer(claim, screen_sentence(screens, diagnosis), screens=screens) if screens else None
    if not found:
        return None
    if claim.measure == "power":
        drawn = tuple(_drawn(found, diagnosis))
        sentence = power_sentence(drawn, wrong_size, diagnosis.alpha)
        return ClaimAnswer(claim, sentence, tuple(found), drawn)
    return ClaimAnswer(claim, claim_sentence(claim, found, diagnosis.cells, diagnosis.alpha), tuple(found))


def _drawn(found: Sequence[Verdict], diagnosis: Diagnosis) -> Iterator[tuple[Verdict, tuple[Curve, ...]]]:
    """The curves of verdicts on power; none of those that come after `MOST_CURVES` curves."""
    count = 0
    for item in found:
        own = tuple(curves(item, diagnosis.cells)) if count < MOST_CURVES else ()
        count += len(own)
        yield item, own


def _nothing(table: pd.DataFrame) -> str:
    """Why there is no answer; "" where there is one."""
    if table.empty:
        return NOTHING
    if not (table["n"] >= LEAST_FITS).any():
        most = int(np.nan_to_num(table["n"].max()))
        return f"{TOO_FEW}: at most {most} usable fit{'s' * (most != 1)} per cell; a verdict needs {LEAST_FITS}."
    return ""


def verdict_records(found: Answer) -> Iterator[dict[str, Any]]:
    """Plain data of every verdict, one record each, of power and minimum detectable effects one a setting."""
    for item in found.failed:
        yield _record("failed fits", item.grade, item.estimator, "", "", item.setting, item.share, item.mcse,
                      item.lower, item.upper, sentence=item.sentence)  # fmt: skip
    for part in found.claims:
        for verdict in part.verdicts:
            worst = verdict.worst
            yield _record(verdict.measure, verdict.grade, verdict.estimator, verdict.term, verdict.error,
                          worst.row["setting"], worst.value, worst.mcse, worst.lower, worst.upper,
                          nominal=verdict.nominal if part.claim.is_judged else np.nan, tolerance=verdict.tolerance,
                          times=verdict.times, pvalue=worst.pvalue, replications=_needed(verdict),
                          sentence=part.sentence)  # fmt: skip
        for verdict, drawn in part.curves:
            for curve in drawn:
                yield _record("mde", Grade.STATED, verdict.estimator, verdict.term, verdict.error, curve.setting,
                              curve.mde, np.nan, curve.lower, curve.upper, nominal=POWER,
                              sentence=part.sentence)  # fmt: skip
        for screen in part.screens:
            yield _record("screen", Grade.STATED, screen.estimator, screen.term, "", screen.setting, screen.rejects,
                          screen.mcse, screen.lower, screen.upper, sentence=part.sentence)  # fmt: skip


def _needed(verdict: Verdict) -> float:
    """The replications that an open verdict needs, planned or for its value; NaN for others."""
    worst = verdict.worst
    return needed(verdict, worst).replications if verdict.grade is Grade.OPEN and np.isfinite(worst.value) else np.nan


def _record(measure: str, grade: Grade, estimator: str, term: str, error: str, setting: str, value: float,
            mcse: float, lower: float, upper: float, *, nominal: float = np.nan, tolerance: float = np.nan,
            times: float = np.nan, pvalue: float = np.nan, replications: float = np.nan,
            sentence: str) -> dict[str, Any]:  # fmt: skip
    numbers = {"value": value, "mcse": mcse, "lower": lower, "upper": upper, "nominal": nominal,
               "tolerance": tolerance, "times_tolerance": times, "pvalue": pvalue,
               "replications_needed": replications}  # fmt: skip
    plain = {name: float(number) if np.isfinite(number) else None for name, number in numbers.items()}
    about = {"class": str(grade), "measure": measure, "estimator": estimator, "term": term, "error": error}
    return about | {"setting": setting} | plain | {"sentence": sentence}
