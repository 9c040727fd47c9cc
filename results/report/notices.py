"""What a reader must know before the verdict: fits that failed, numbers that are missing, terms without a truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from estimators.core.inference import holm
from results.diagnosis.claims import MOST_FAILED
from results.diagnosis.diagnose import Diagnosis
from results.diagnosis.judging import FAMILYWISE, beyond_share
from results.report.bias_table import failure_counts, reasons, settings
from results.report.numbers import LEAST_FITS
from results.report.verdicts import Grade, grade_of
from results.report.wording import rounded

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
    grades = _grades_of_failures([row for name in counts for row in rows[name]], every)
    for name, counted in counts.items():
        worst = min(rows[name], key=lambda row: row["value"])
        grade = max((grades[name, row["cell"]] for row in rows[name]), key=lambda grade: grade.rank)
        found.append(Failed(name, sum(int(row["attempted"]) for row in rows[name]), counted, grade,
                            texts[worst["cell"]], 1 - worst["value"],
                            worst["mcse"], 1 - worst["upper"], 1 - worst["lower"]))  # fmt: skip
    return sorted(found, key=lambda item: (-item.grade.rank, -item.share))


def _grades_of_failures(rows: Rows, every: int) -> dict[tuple[str, int], Grade]:
    """The grade of each (estimator, cell), of which a row holds the share of fits that succeeded.

    Too many failed where Holm's p value says so over `every` cell of every estimator.
    """
    single = np.ones(every)
    single[: len(rows)] = [beyond_share(1 - row["value"], row["mcse"], row["attempted"], row["worlds"], 0.0,
                                        MOST_FAILED) for row in rows]  # fmt: skip
    grades = {}
    for row, pvalue in zip(rows, holm(single), strict=False):
        grade = grade_of(1 - row["upper"], 1 - row["lower"], MOST_FAILED, clear=row["value"] < 1,
                         usable=row["attempted"] >= LEAST_FITS)  # fmt: skip
        lucky = grade is Grade.FAILS and pvalue > FAMILYWISE
        grades[row["estimator"], row["cell"]] = Grade.OPEN if lucky else grade
    return grades


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
    rows = _by_estimator(table)
    found = {"Missing in usable fits": list(_missing(rows)), "No truth in this design": list(_without_truth(rows))}
    return [f"{what}: {_listed(items)}." for what, items in found.items() if items]


def missing(table: pd.DataFrame) -> Iterator[str]:
    """Terms and error types that some usable fits of an estimator lack although its other fits or terms have them."""
    return _missing(_by_estimator(table))


def _missing(of_estimators: list[tuple[str, Rows]]) -> Iterator[str]:
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


def _by_estimator(table: pd.DataFrame) -> list[tuple[str, Rows]]:
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
