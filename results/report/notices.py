"""What a reader must know before the verdict: fits that failed, numbers that are missing, terms without a truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd

from results.diagnosis.diagnose import Diagnosis
from results.report.bias_table import failure_counts, reasons

Rows = list[dict[Any, Any]]
MOST = 8  # items of a list before the rest is counted


def failed_fits(diagnosis: Diagnosis) -> dict[str, Counter[str]]:
    """Failed fits over all cells by estimator and reason; estimators without a failure are left out."""
    found: dict[str, Counter[str]] = {}
    for _, name, _, counted in failure_counts(diagnosis):
        found.setdefault(name, Counter()).update(counted)
    return found


def attempted_fits(diagnosis: Diagnosis) -> Counter[str]:
    """Fits attempted over all cells by estimator."""
    frame = diagnosis.frame[diagnosis.frame["measure"] == "convergence"]
    counts: Counter[str] = Counter()
    for name, fits in zip(frame["estimator"], frame["attempted"], strict=True):
        counts[name] += int(fits)
    return counts


def failure_notice(diagnosis: Diagnosis) -> str:
    """How many fits failed, of which estimators and why: the first words of the verdict; "" where none failed."""
    failed, attempted = failed_fits(diagnosis), attempted_fits(diagnosis)
    if not failed:
        return ""
    each = (
        f"{name} {counted.total():,} of {attempted[name]:,}: {reasons(counted)}" for name, counted in failed.items()
    )
    count = sum(why.total() for why in failed.values())
    return f"{count:,} of {sum(attempted.values()):,} fits failed: {_listed(each)}."


def notices(table: pd.DataFrame) -> list[str]:
    """Estimates or errors that some usable fits lack, and terms without a truth, from the rows of the bias table."""
    found = {"Missing in usable fits": list(missing(table)), "No truth in this design": list(_without_truth(table))}
    return [f"{what}: {_listed(items)}." for what, items in found.items() if items]


def missing(table: pd.DataFrame) -> Iterator[str]:
    """Terms and error types that some usable fits of an estimator lack although its other fits or terms have them."""
    for name, rows in _by_estimator(table):
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


def _without_truth(table: pd.DataFrame) -> Iterator[str]:
    """Terms that are estimated and have no truth, by estimator, with the number of cells where only some have none."""
    for name, rows in _by_estimator(table):
        terms = []
        for term, own in _groups([row for row in rows if row["n"] > 0], "term"):
            known = {row["cell"]: row["truth"] == row["truth"] for row in own}
            lacks, cells = list(known.values()).count(False), len(known)
            if lacks:
                terms.append(term if lacks == cells else f"{term} (in {lacks} of {cells} cells)")
        if terms:
            yield f"{_listed(terms, ', ')} of {name}"


def _by_estimator(table: pd.DataFrame) -> Iterator[tuple[str, Rows]]:
    """Rows of a bias table that have fits, by estimator."""
    return iter(_groups([row for row in table.to_dict("records") if row["n"] == row["n"]], "estimator"))


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
