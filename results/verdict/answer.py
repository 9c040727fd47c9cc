"""The answer to a study's question: what failed, a sentence a claim, what a reader must know beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from estimators.core.estimator import holm
from results.diagnosis.claims import DEFAULTS, FAMILYWISE, MOST_FAILED, POWER, Claim, beyond_share, interval_point
from results.diagnosis.diagnose import Diagnosis
from results.text import joined, level, rounded
from results.verdict.sentences import PowersBySize, claim_sentence, curves, power_sentence
from results.verdict.verdicts import (
    LEAST_FITS,
    TOO_FEW,
    Grade,
    Screened,
    Verdict,
    claims_table,
    clear,
    failure_counts,
    grade_of,
    judgements,
    needed,
    reasons,
    screen_sentence,
    screened,
    settings,
    verdicts,
    worst_of,
)
from sim.errors import amount
from sim.streams import TILE

# What a reader must know before the verdict: fits that failed, numbers that are missing, terms without a truth.


Rows = list[dict[Any, Any]]
MOST = 8  # items of a list before the rest is counted


@dataclass(frozen=True, slots=True)
class Failed:
    """The failed fits of an estimator over all cells.

    counted: by reason. grade: "fails" where in some cell clearly more than 1 in 100 fits failed, so that nothing about
    the estimator can hold. setting, share, mcse, lower, upper: of the cell where the largest share failed.
    """

    estimator: str
    attempted: int
    counted: Counter[str]
    grade: Grade
    setting: str
    share: float
    mcse: float
    lower: float
    upper: float

    @property
    def count(self) -> int:
        """How many fits failed."""
        return self.counted.total()

    @property
    def sentence(self) -> str:
        """How many fits failed, and why."""
        lost = f"{self.count:,} of {self.attempted:,} fits ({rounded(100 * self.count / self.attempted)}%)"
        return f"{self.estimator} failed in {lost}: {reasons(self.counted)}"


def failed_fits(diagnosis: Diagnosis) -> list[Failed]:
    """The estimators of which some fit failed, those that fail most first."""
    counts: dict[str, Counter[str]] = {}
    for _, name, _, counted in failure_counts(diagnosis):
        counts.setdefault(name, Counter()).update(counted)
    frame = diagnosis.frame[(diagnosis.frame["measure"] == "convergence") & diagnosis.frame["estimator"].isin(counts)]
    rows: dict[str, Rows] = {}
    for row in frame.to_dict("records"):
        rows.setdefault(row["estimator"], []).append(row)
    texts, found = settings(diagnosis), []
    every = int((diagnosis.frame["measure"] == "convergence").sum())
    # too many fits failed where Holm's p value says so over every cell of every estimator
    judged = [row for name in counts for row in rows[name]]  # shares of fits that succeeded
    single = np.ones(every)
    single[: len(judged)] = [beyond_share(1 - row["value"], row["mcse"], row["attempted"], row["worlds"], 0.0,
                                          MOST_FAILED) for row in judged]  # fmt: skip
    grades = {}
    for row, pvalue in zip(judged, holm(single), strict=False):
        grade = grade_of(1 - row["upper"], 1 - row["lower"], MOST_FAILED, clear=row["value"] < 1,
                         usable=row["attempted"] >= LEAST_FITS)  # fmt: skip
        lucky = grade is Grade.FAILS and pvalue > FAMILYWISE
        grades[row["estimator"], row["cell"]] = Grade.OPEN if lucky else grade

    for name, counted in counts.items():
        worst = min(rows[name], key=lambda row: row["value"])
        grade = worst_of(grades[name, row["cell"]] for row in rows[name])
        found.append(Failed(name, sum(int(row["attempted"]) for row in rows[name]), counted, grade,
                            texts[worst["cell"]], 1 - worst["value"],
                            worst["mcse"], 1 - worst["upper"], 1 - worst["lower"]))  # fmt: skip
    return sorted(found, key=lambda item: (-item.grade.rank, -item.share))


def failure_notice(found: Sequence[Failed]) -> str:
    """How many fits failed, of which estimators and why: the first words of the answer; "" where none failed."""
    if not found:
        return ""
    words = _listed(item.sentence for item in found)
    lost = " No claim about an estimator holds where more than 1% of its fits failed." if any(
        item.grade is Grade.FAILS for item in found) else ""  # fmt: skip
    return f"Failed fits: {words}.{lost}"


def notices(table: pd.DataFrame) -> list[str]:
    """Estimates or errors that some usable fits lack, and terms without a truth, from the rows of the bias table."""
    rows = by_estimator(table)
    found = {"Missing in usable fits": list(missing(rows)), "No truth in this design": list(_without_truth(rows))}
    return [f"{what}: {_listed(items)}." for what, items in found.items() if items]


def missing(of_estimators: list[tuple[str, Rows]]) -> Iterator[str]:
    """Terms and error types that some usable fits of an estimator lack although its other fits or terms have them."""
    for name, rows in of_estimators:
        usable = {cell: max(row["n"] for row in own) for cell, own in _groups(rows, "cell")}
        for term, own in _groups(rows, "term"):
            cells = {row["cell"]: row["n"] for row in own}
            if lacks := sum(usable[cell] - n for cell, n in cells.items()):
                yield f"the estimate of {term} by {name} ({lacks:,.0f} of {sum(usable[cell] for cell in cells):,.0f})"
        for error, own in _groups(rows, "error"):
            with_errors = [row for row in own if row["n_error"] > 0]  # other terms have none by their nature
            cells = {}
            for row in with_errors or own:
                cells[row["cell"]] = max(row["n"] - row["n_error"], cells.get(row["cell"], 0.0))
            if error and (lacks := sum(cells.values())):
                fits = sum(usable[cell] for cell in cells)
                yield f"{error} errors of {name} ({lacks:,.0f} of {fits:,.0f})"


def _without_truth(of_estimators: list[tuple[str, Rows]]) -> Iterator[str]:
    """Terms that are estimated and have no truth, by estimator, with the number of cells where only some have none."""
    for name, rows in of_estimators:
        terms = []
        for term, own in _groups([row for row in rows if row["n"] > 0], "term"):
            known = {row["cell"]: row["truth"] == row["truth"] for row in own}
            lacks, cells = list(known.values()).count(False), len(known)
            if lacks:
                terms.append(term if lacks == cells else f"{term} (in {lacks} of {cells} cells)")
        if terms:
            yield f"{_listed(terms, ', ')} of {name}"


_NEEDED = ["cell", "estimator", "term", "error", "n", "n_error", "truth"]


def by_estimator(table: pd.DataFrame) -> list[tuple[str, Rows]]:
    """Rows of a bias table that have fits, by estimator, with what is looked at here."""
    return _groups([row for row in table[_NEEDED].to_dict("records") if row["n"] == row["n"]], "estimator")


def _groups(rows: Rows, key: str) -> list[tuple[Any, Rows]]:
    """Rows by the value of a column, in order of appearance."""
    found: dict[Any, Rows] = {}
    for row in rows:
        found.setdefault(row[key], []).append(row)
    return list(found.items())


def _listed(items: Iterable[str], between: str = "; ") -> str:
    """Items in one line, the rest counted where there are many."""
    every = list(items)
    rest = [f"{len(every) - MOST} more"] if len(every) > MOST + 1 else []
    return between.join([*every[:MOST], *rest] if rest else every)


# What a study held fixed, and what its numbers therefore are about: the first lines of every verdict.


FEW = 10  # worlds, below which a mark takes more than 7 Monte Carlo errors


def fixed_sentence(diagnosis: Diagnosis) -> str:
    """One sentence on what was held fixed and in how many worlds; "" where everything drawn is drawn anew."""
    worlds, reached, held = diagnosis.worlds, worlds_reached(diagnosis), diagnosis.held_fixed
    if not held:
        spread = f"Replications are spread over {reached} worlds, by which Monte Carlo errors are clustered."
        return spread if reached > 1 else ""
    what, was = joined(held), "were" if len(held) > 1 or held[0].endswith("s") else "was"
    if reached <= 1:
        so_far = f" The study has {worlds} worlds, and its replications reach only one of them." if worlds > 1 else ""
        return f"All numbers are conditional on one drawn world: {what} {was} drawn once.{so_far}"
    of = f" of {worlds}" if reached < worlds else ""
    return (f"{what[0].upper()}{what[1:]} {was} drawn in {reached}{of} worlds: numbers are averages over such worlds, "
            "and Monte Carlo errors include them.")  # fmt: skip


def judged_sentence(count: int, worlds: int, reached: int) -> str:
    """How many numbers are judged at once, and with few worlds what can be told; "" for a lone number in one world.

    count: of judgements. worlds, reached: that the study has, and that lie behind a number.
    """
    parts = []
    if count > 1:
        parts.append(f"{count:,} numbers are judged at once, by Holm's method: chance alone fails at most "
                     f"{level(FAMILYWISE)} of studies.")  # fmt: skip
    if reached > 1:
        mark = f"{clear(reached):.{0 if reached < FEW else 1}f}"
        parts.append(f"Monte Carlo errors of {reached} worlds have {reached - 1} degree{'s' * (reached > 2)} of "
                     f"freedom: an interval takes {interval_point(reached):.1f} of them on either side and a mark "
                     f"{mark}, in place of 2.0 and 4.")  # fmt: skip
    if reached < worlds:
        parts.append(f"{worlds * TILE:,} replications reach all {worlds} worlds.")
    elif 1 < reached < FEW:
        parts.append("Only departures as large as that can be told: more worlds make these factors smaller, more "
                     "replications only the part of an error that lies within worlds.")  # fmt: skip
    return " ".join(parts)


def worlds_reached(diagnosis: Diagnosis) -> int:
    """The most worlds that lie behind a number."""
    return max((int(count) for count in diagnosis.frame["worlds"]), default=1)


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
    curves: tuple[tuple[Verdict, tuple[PowersBySize, ...]], ...] = ()
    screens: tuple[Screened, ...] = ()

    @property
    def grade(self) -> Grade:
        """The worst grade of its verdicts; "stated" of power and screens."""
        return worst_of(item.grade for item in self.verdicts)


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
        return worst_of([*(item.grade for item in self.claims), *(item.grade for item in self.failed)])


def answer(diagnosis: Diagnosis, table: pd.DataFrame | None = None) -> Answer:
    """The answer to the claims of a diagnosis; table: its bias table, where that is there already."""
    table = claims_table(diagnosis, table)
    failed = failed_fits(diagnosis)
    found = verdicts(diagnosis, table)
    wrong_size = {(item.estimator, item.term, item.error) for item in found
                  if item.measure == "size" and item.grade is Grade.FAILS}  # fmt: skip
    parts = []
    for claim in diagnosis.claims or DEFAULTS:
        own = tuple(item for item in found if item.claim is claim)
        if claim.measure == "screen":
            if screens := tuple(screened(claim, diagnosis)):
                parts.append(ClaimAnswer(claim, screen_sentence(screens, diagnosis), screens=screens))
        elif own and claim.measure == "power":
            drawn, count = [], 0
            for item in own:  # none of those that come after `MOST_CURVES` curves
                fitted = tuple(curves(item, diagnosis.cells)) if count < MOST_CURVES else ()
                count += len(fitted)
                drawn.append((item, fitted))
            sentence = power_sentence(drawn, wrong_size, diagnosis.alpha)
            parts.append(ClaimAnswer(claim, sentence, own, tuple(drawn)))
        elif own:
            sentence = claim_sentence(claim, own, diagnosis.cells, diagnosis.alpha)
            parts.append(ClaimAnswer(claim, sentence, own))
    judged = judged_sentence(judgements(found), diagnosis.worlds, worlds_reached(diagnosis))
    basis = " ".join(part for part in (fixed_sentence(diagnosis), judged) if part)
    notes = (*([basis] if basis else []), *notices(table))
    nothing = ""
    if table.empty:
        nothing = NOTHING
    elif not (table["n"] >= LEAST_FITS).any():
        most = int(np.nan_to_num(table["n"].max()))
        nothing = f"{TOO_FEW}: at most {amount(most, 'usable fit')} per cell; a verdict needs {LEAST_FITS}."
    return Answer(tuple(parts), failure_notice(failed), tuple(failed), notes, nothing)


def verdict_records(found: Answer) -> Iterator[dict[str, Any]]:
    """Plain data of every verdict, one record each, of power and minimum detectable effects one a setting."""
    for item in found.failed:
        about = "failed fits", item.estimator, "", "", item.setting
        yield _record(item.grade, about, item.sentence, value=item.share, mcse=item.mcse, lower=item.lower,
                      upper=item.upper)  # fmt: skip
    for part in found.claims:
        for one in part.verdicts:
            worst = one.worst
            is_open = one.grade is Grade.OPEN and np.isfinite(worst.value)
            about = one.measure, one.estimator, one.term, one.error, worst.row["setting"]
            yield _record(one.grade, about, part.sentence, value=worst.value, mcse=worst.mcse, lower=worst.lower,
                          upper=worst.upper, nominal=one.nominal if part.claim.is_judged else np.nan,
                          tolerance=one.tolerance, times_tolerance=one.times, pvalue=worst.pvalue,
                          replications_needed=needed(one, worst).replications if is_open else np.nan)  # fmt: skip
        for one, drawn in part.curves:
            for curve in drawn:
                about = "mde", one.estimator, one.term, one.error, curve.setting
                yield _record(Grade.STATED, about, part.sentence, value=curve.mde, lower=curve.lower,
                              upper=curve.upper, nominal=POWER)  # fmt: skip
        for screen in part.screens:
            about = "screen", screen.estimator, screen.term, "", screen.setting
            yield _record(Grade.STATED, about, part.sentence, value=screen.rejects, mcse=screen.mcse,
                          lower=screen.lower, upper=screen.upper)  # fmt: skip


ABOUT = ("measure", "estimator", "term", "error", "setting")
NUMBERS = ("value", "mcse", "lower", "upper", "nominal", "tolerance", "times_tolerance", "pvalue",
           "replications_needed")  # fmt: skip


def _record(grade: Grade, about: Sequence[str], sentence: str, **numbers: float) -> dict[str, Any]:
    """A verdict as plain data; None for numbers that it does not have."""
    plain = {name: float(number) if np.isfinite(number := numbers.get(name, np.nan)) else None for name in NUMBERS}
    return {"class": str(grade)} | dict(zip(ABOUT, about, strict=True)) | plain | {"sentence": sentence}
