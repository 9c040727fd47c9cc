"""How the claims of a study turn out: one verdict a claim, estimator, term and error type, ranked by practical size.

A cell departs by value - what is promised, with a 95% Monte Carlo interval. Its grade: "fails" where the departure is
clear of the Monte Carlo error (`numbers.is_biased`, `numbers.is_off`), the interval lies beyond the tolerance, and so
does the departure by Holm's p value over all that the study judges (`diagnosis.judging`); "detectable but harmless"
where it is clear and the interval lies within the tolerance; "holds" where it is not clear and the interval lies
within; else "cannot be told". A verdict has the worst grade of its cells.

Here stand too the bias table that verdicts read, and words for estimators, error types, settings and departures.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache, partial
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtr, stdtrit

from estimators.core.estimator import Layout, Status, holm
from results.diagnosis.claims import (
    DEFAULTS,
    FAMILYWISE,
    MOST_FAILED,
    Claim,
    about,
    beyond,
    beyond_mean,
    beyond_share,
    fits_needed,
    interval_point,
    replications_needed,
    terms_of,
    within,
)
from results.diagnosis.diagnose import NO_ESTIMATE, PROPORTIONS, Diagnosis
from results.text import (
    DASH,
    bracketed,
    fixed,
    is_extreme,
    level,
    per_cent,
    setting_text,
    share_text,
    span_text,
    standard_errors,
    written,
)
from sim.design import OF_A_VARIABLE, Estimand
from sim.streams import TILE

# The bias table: one row a cell, estimator, term and error type, with the measures side by side.


BY_TERM = ("truth", "mean_estimate", "bias", "relative_bias", "empirical_se", "between_worlds", "rmse")
BY_ERROR = ("mean_se", "se_error", "coverage", "bias_eliminated_coverage", "rejection", "size_adjusted_power", "type_s",
            "type_m")  # fmt: skip
INFERENCE = frozenset({"mean_se", "coverage", "rejection"})  # what a fit has of an error type, at least one of them
# The indirect effect is what a mediation study is about, so that it goes before the direct one.
ORDER = ("did", "overall", "nie", "nde", "w_did", "rho", "lambda", "direct:did", "indirect:did", "total:did", "sigma2")


def bias_table(diagnosis: Diagnosis, *, all_terms: bool = False, sample: str = "own") -> pd.DataFrame:
    """Measures in columns, rows by cell, estimator, term and error type, key terms first.

    A measure has the columns NAME and NAME_mcse, a proportion also NAME_lower and NAME_upper, its 95% interval. Other
    columns: cell, the cell's parameters, setting (those that differ between cells, as text), estimator, term, estimand,
    tests (whether the term is a test statistic), error, n, attempted, n_error (fits with a standard error, an interval
    or a test of this error type), worlds (behind the estimates). Controls only with `all_terms`. An estimator none
    of whose fits succeeded has rows of NaN; sample "common" has rows only where it differs from "own".
    """
    frame = diagnosis.frame[(diagnosis.frame["sample"] == sample) & (diagnosis.frame["term"] != "")]
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    columns = ("cell", "estimator", "term", "error", "measure", "value", "mcse", "lower", "upper", "n", "attempted",
               "worlds")  # fmt: skip
    for cell, one, term, error, name, value, mcse, lower, upper, n, attempted, worlds in zip(
        *(frame[key] for key in columns), strict=True
    ):
        row = found.setdefault((cell, one, term, error), {})
        row |= {name: value, f"{name}_mcse": mcse}
        if name in PROPORTIONS:
            row |= {f"{name}_lower": lower, f"{name}_upper": upper}
        if name == "mean_estimate":
            row |= {"n": n, "attempted": attempted, "worlds": worlds}
        if name in INFERENCE:
            row["n_error"] = max(n, row.get("n_error", 0))
    lines = [(one, term, error) for one, layout in diagnosis.layouts.items()
             for term in key_terms(layout, all_terms) for error in layout.errors or ("",)]  # fmt: skip
    rows = []
    for cell, (text, parameters) in enumerate(zip(settings(diagnosis), diagnosis.cells, strict=True)):
        head = {"cell": cell, "setting": text}
        head |= {name: str(value) for name, value in zip(diagnosis.parameters, parameters.values(), strict=True)}
        for one, term, error in lines:
            if (cell, one, term, "") in found:
                both = found[cell, one, term, ""] | found.get((cell, one, term, error), {})
                layout = diagnosis.layouts[one]
                about = {"estimand": layout.targets.get(term, ""), "tests": layout.tests}
                rows.append(head | {"estimator": one, "term": term, "error": error} | about | both)
    names = [f"{name}{part}" for name in (*BY_TERM, *BY_ERROR, *diagnosis.own)
             for part in ("", "_mcse", *(("_lower", "_upper") if name in PROPORTIONS else ()))]  # fmt: skip
    labels = ("setting", "estimator", "term", "estimand", "tests", "error")
    ordered = ["cell", *diagnosis.parameters, *labels, *names, "n", "attempted", "n_error", "worlds"]
    return pd.DataFrame(rows, columns=ordered)


def first_rows(diagnosis: Diagnosis, sample: str) -> dict[tuple[int, str, str], dict[Any, Any]]:
    """The row of the first error type of a sample's bias table by cell, estimator and term."""
    rows: dict[tuple[int, str, str], dict[Any, Any]] = {}
    for row in bias_table(diagnosis, sample=sample).to_dict("records"):
        rows.setdefault((row["cell"], row["estimator"], row["term"]), row)
    return rows


def key_terms(layout: Layout, all_terms: bool = False) -> list[str]:
    """The terms a reader looks at first: policy and spatial parameters, the policy's effects; all if there are none."""
    terms = [term for term in layout.terms if all_terms or not _of_a_control(term, layout)]
    return in_order(terms) or list(layout.terms)


def in_order(terms: Iterable[str]) -> list[str]:
    """Distinct terms, those of `ORDER` first."""
    return sorted(dict.fromkeys(terms), key=lambda term: ORDER.index(term) if term in ORDER else len(ORDER))


def _of_a_control(term: str, layout: Layout) -> bool:
    if term in ORDER:
        return False
    target = layout.targets.get(term)
    if target is None:
        return True
    estimand = Estimand.parse(target)
    return estimand.kind in OF_A_VARIABLE and estimand.arguments not in (("did",), ("w_did",))


def settings(diagnosis: Diagnosis) -> list[str]:
    """The parameters of each cell that differ between cells, e.g. "effect = 0, rho = .3"; "" for a lone cell."""
    return [setting_text(cell, diagnosis.cells) for cell in diagnosis.cells]


def failures(diagnosis: Diagnosis) -> list[tuple[int, str, int, int, str]]:
    """(cell, estimator, failed, attempted, reasons) wherever a fit failed."""
    return [(cell, one, sum(counted.values()), attempted, reasons(counted))
            for cell, one, attempted, counted in failure_counts(diagnosis)]  # fmt: skip


def reasons(counted: Mapping[str, int]) -> str:
    """Why fits failed, and how many for each reason."""
    return "; ".join(f"{why} ({n:,})" for why, n in counted.items())


def failure_counts(diagnosis: Diagnosis) -> list[tuple[int, str, int, dict[str, int]]]:
    """(cell, estimator, attempted, failed fits by reason) wherever a fit failed."""
    frame = diagnosis.frame[diagnosis.frame["measure"].str.startswith("status:")]
    counts: dict[tuple[int, str, int], dict[str, int]] = {}
    columns = ("cell", "estimator", "attempted", "measure", "value")
    for cell, one, attempted, name, value in zip(*(frame[key] for key in columns), strict=True):
        if name != "status:ok":
            status = name.removeprefix("status:")
            said = "no estimate is finite" if status == NO_ESTIMATE else Status[status.upper()].meaning
            counts.setdefault((cell, one, attempted), {})[said] = int(value)
    return [(*key, counted) for key, counted in counts.items()]


# How numbers with Monte Carlo errors are written, and when a departure is called one.


CLEAR = 4.0  # MCSEs from which a departure is called one: chance alone gives 6 in 100,000
LEAST_FITS = 30  # usable fits that a judgement takes: with fewer an MCSE is itself no more than a guess
TOO_FEW = "Too few replications to judge"
EXTREMES = (
    "At 0 and 100% the brackets hold the other end of Wilson's 95% interval, because sqrt(p (1 - p) / n) would be 0."
)
Row = Mapping[Hashable, Any]  # a row of the bias table


def has_test(term: str) -> bool:
    """Whether a test against 0 makes sense: a variance cannot be 0."""
    return term != "sigma2"


def is_biased(row: Row) -> bool:
    """Whether the bias is clear of its Monte Carlo error."""
    return bool(row["n"] >= LEAST_FITS) and bool(abs(row["bias"]) > clear(worlds_of(row)) * row["bias_mcse"])


def worlds_of(row: Row) -> int:
    """The worlds behind a row, by which its Monte Carlo errors are clustered where there are several."""
    worlds = row["worlds"]
    return int(worlds) if worlds == worlds else 1  # NaN where nothing succeeded


@cache
def clear(worlds: int) -> float:
    """MCSEs from which a departure is called one: 4, or the point of t with as small a chance where worlds are few."""
    return float(stdtrit(worlds - 1, ndtr(CLEAR))) if worlds > 1 else CLEAR


def is_off(row: Row, name: str, nominal: float) -> bool:
    """Whether a proportion, of the fits with errors, is clear of its nominal value, by the MCSE that this implies.

    Where replications share worlds this MCSE is as much wider than that of independent fits as the proportion's own.
    """
    share, n = row[name], row["n_error"]
    if not n >= LEAST_FITS or not np.isfinite(share):
        return False
    wide, worlds = 1.0, worlds_of(row)
    if worlds > 1 and not is_extreme(share):
        wide = max(1.0, row[f"{name}_mcse"] / float(np.sqrt(share * (1 - share) / n)))
    return abs(share - nominal) > clear(worlds) * wide * float(np.sqrt(nominal * (1 - nominal) / n))


NORMAL = "Tests and intervals that are not stored have the critical values of N(0,1) in place of t."


def departures(alpha: float, worlds: int = 1) -> str:
    """What is marked, for a legend: the rules of `is_biased` and `is_off`; worlds: that replications share."""
    coverage, size, far = level(1 - alpha), level(alpha), f"{clear(worlds):.1f}".removesuffix(".0")
    few = (f" With {worlds} worlds, {far} MCSE are as rare by chance as 4 MCSE of independent fits. This MCSE is "
           "wider, by the factor by which worlds widen the one in brackets.") if worlds > 1 else ""  # fmt: skip
    return (f"a bias more than {far} MCSE from 0, coverage more than {far} MCSE from {coverage}, or rejection of a "
            f"true null hypothesis more than {far} MCSE from {size}. For coverage and rejection, this MCSE is that of "
            f"the nominal level, not the one in brackets.{few}")  # fmt: skip


def is_null(row: Row) -> bool:
    """Whether the truth is exactly 0 in every draw."""
    return bool(row["truth"] == 0 and row["truth_mcse"] == 0)


def marked(row: Row, alpha: float) -> list[str]:
    """The measures of a row that are marked: bias, coverage, rejection."""
    off = {
        "bias": is_biased(row),
        "coverage": is_off(row, "coverage", 1 - alpha),
        "rejection": has_test(row["term"]) and is_null(row) and is_off(row, "rejection", alpha),
    }
    return [name for name, departs in off.items() if departs]


def own_text(row: Row, name: str) -> str:
    """A measure of the user's own with its MCSE, as many decimals as that shows; "-" where there is none."""
    value, mcse = row[name], row[f"{name}_mcse"]
    return bracketed(value, mcse, fixed((value,), mcse) if np.isfinite(value) else ".4f")


def percent(row: Row, name: str) -> str:
    """A measure and its MCSE in percent; of a proportion of 0 or 1 the other end of Wilson's interval, as in (<11)."""
    if f"{name}_lower" in row:
        return share_text(row[name], row[f"{name}_mcse"], row[f"{name}_lower"], row[f"{name}_upper"])
    return bracketed(100 * row[name], 100 * row[f"{name}_mcse"], ".1f")


def row_texts(row: Row, alpha: float) -> dict[str, Any]:
    """A row of the bias table as text, by measure; `flags` names the measures that clearly depart."""
    form = fixed((row["truth"], row["mean_estimate"]), row["bias_mcse"])
    longer = ".2e" if form == ".1e" else form
    truth = written(row["truth"], longer)
    if is_null(row):
        truth = "0"  # a bare one, where it is exactly that
    elif row["tests"] and np.isfinite(row["truth"]):
        truth = "not 0"  # of a test statistic: its null hypothesis is false
    tested = has_test(row["term"])
    return {
        **{name: row[name] for name in ("estimator", "term", "error")},
        "flags": marked(row, alpha),
        "truth": truth,
        "mean": written(row["mean_estimate"], longer),
        "bias": bracketed(row["bias"], row["bias_mcse"], form),
        "relative_bias": percent(row, "relative_bias"),
        "empirical_se": bracketed(row["empirical_se"], row["empirical_se_mcse"], form),
        "between_worlds": bracketed(100 * row["between_worlds"], 100 * row["between_worlds_mcse"], ".1f"),
        "spread": written(row["empirical_se"], longer),
        "rmse": bracketed(row["rmse"], row["rmse_mcse"], form),
        "mean_se": written(row["mean_se"], longer),
        "se_error": bracketed(row["se_error"], row["se_error_mcse"], ".1f"),
        "coverage": percent(row, "coverage"),
        "bias_eliminated_coverage": percent(row, "bias_eliminated_coverage"),
        "rejection": percent(row, "rejection") if tested else DASH,
        "size_adjusted_power": percent(row, "size_adjusted_power") if tested else DASH,
        "type_s": percent(row, "type_s") if tested else DASH,
        "type_m": bracketed(row["type_m"], row["type_m_mcse"], ".3f") if tested else DASH,
        "fits": DASH if row["n"] != row["n"] else f"{int(row['n']):,}/{int(row['attempted']):,}",
    }


RowOfTable = dict[Any, Any]


class Grade(StrEnum):
    """How a claim turns out, from the best to the worst; power and screens are stated and have none."""

    STATED = "stated"
    HOLDS = "holds"
    HARMLESS = "detectable but harmless"
    OPEN = "cannot be told"
    FAILS = "fails"

    @property
    def rank(self) -> int:
        """Its place among the grades; higher is worse."""
        return _RANKS[self]


def worst_of(grades: Iterable[Grade]) -> Grade:
    """The worst of some grades; "stated" where there is none."""
    return max(grades, key=lambda grade: grade.rank, default=Grade.STATED)


_RANKS = {grade: place for place, grade in enumerate(Grade)}


@dataclass(frozen=True, slots=True)
class Judged:
    """A measure in one cell: its value with the ends of its 95% Monte Carlo interval, and its row of the bias table.

    Bias is in standard errors of the estimator, shares are between 0 and 1. pvalue: of a departure beyond the
    tolerance, by Holm over all that the study judges; NaN where the interval does not lie beyond.
    """

    cell: int
    value: float
    mcse: float
    lower: float
    upper: float
    grade: Grade
    row: RowOfTable
    pvalue: float = np.nan

    def departure(self, nominal: float) -> float:
        """How far the value is from what is promised; 0 where there is none."""
        away = abs(self.value - nominal)
        return away if away == away else 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """A claim judged for one estimator, term and error type ("" where the measure has none).

    cells: in the order of the grid, those where the measure is defined; at least one. nominal: what is promised (0 for
    bias). tolerance: the departure that does not matter; NaN where the measure is stated and not judged. worlds: of the
    study, of which the replications so far may reach some.
    """

    claim: Claim
    estimator: str
    term: str
    error: str
    nominal: float
    tolerance: float
    cells: tuple[Judged, ...]
    worlds: int = 1

    @property
    def measure(self) -> str:
        """What is judged: bias, coverage, size or power."""
        return self.claim.measure

    @property
    def told(self) -> tuple[Judged, ...]:
        """The cells that the answer is about: all, but of power those with an effect."""
        return tuple(item for item in self.cells if self.measure != "power" or not is_null(item.row))

    @property
    def grade(self) -> Grade:
        """The worst grade of the cells."""
        return worst_of(item.grade for item in self.cells)

    @property
    def worst(self) -> Judged:
        """The cell of the worst grade that departs most; where it is only stated, the lowest value."""
        if (grade := self.grade) is Grade.STATED:
            return min(self.told, key=lambda item: item.value)
        return max(self.of_grade(grade), key=lambda item: item.departure(self.nominal))

    @property
    def times(self) -> float:
        """The departure in the worst cell as a multiple of the tolerance: how much it matters; NaN where not judged."""
        return self.worst.departure(self.nominal) / self.tolerance

    def of_grade(self, grade: Grade) -> tuple[Judged, ...]:
        """The cells of a grade."""
        return tuple(item for item in self.cells if item.grade is grade)

    @property
    def span(self) -> tuple[float, float]:
        """The smallest and the largest value over cells; of power those with an effect."""
        values = [item.value for item in self.told if item.value == item.value]
        return (min(values), max(values)) if values else (np.nan, np.nan)


def worst_first(found: Iterable[Verdict]) -> list[Verdict]:
    """By grade, and within a grade by practical size."""
    return sorted(found, key=lambda item: (-item.grade.rank, -np.nan_to_num(item.times)))


def claims_table(diagnosis: Diagnosis, table: pd.DataFrame | None = None) -> pd.DataFrame:
    """The bias table with all terms that claims name; `table` where it has them."""
    named = {term for claim in (diagnosis.claims or DEFAULTS) for term in claim.terms}
    shown = {term for layout in diagnosis.layouts.values() for term in key_terms(layout)}
    if table is not None and named <= shown:
        return table
    return bias_table(diagnosis, all_terms=not named <= shown)


def verdicts(diagnosis: Diagnosis, table: pd.DataFrame | None = None) -> list[Verdict]:
    """Every verdict, by claim and within a claim the worst first; table: the bias table, where it is there already.

    A claim of screens has no verdict: `results.verdict.verdicts` states it.
    """
    rows: dict[tuple[str, str], dict[str, list[RowOfTable]]] = {}  # by (estimator, term) and error type
    for row in claims_table(diagnosis, table)[list(_COLUMNS)].to_dict("records"):
        rows.setdefault((row["estimator"], row["term"]), {}).setdefault(row["error"], []).append(row)
    single = [list(_judged(claim, diagnosis, rows)) for claim in diagnosis.claims or DEFAULTS]
    together = iter(_adjusted([item for of_claim in single for item in of_claim]))
    return [item for of_claim in single for item in worst_first([next(together) for _ in of_claim])]


def judgements(found: Iterable[Verdict]) -> int:
    """How many numbers are judged at once: cells of all verdicts that can fail, where the measure is known."""
    return sum(item.value == item.value for verdict in found if verdict.claim.is_judged for item in verdict.cells)


def _adjusted(found: list[Verdict]) -> list[Verdict]:
    """The verdicts with p values over all of them: a cell fails only where its own keeps below `FAMILYWISE`.

    A cell that does not fail alone has the p value 1, which makes those of others no smaller.
    """
    failing = [(place, index) for place, verdict in enumerate(found) for index, item in enumerate(verdict.cells)
               if item.grade is Grade.FAILS]  # fmt: skip
    single = np.ones(max(judgements(found), len(failing)))
    single[: len(failing)] = [found[place].cells[index].pvalue for place, index in failing]
    cells = [list(verdict.cells) for verdict in found]
    for (place, index), pvalue in zip(failing, holm(single), strict=False):
        grade = Grade.FAILS if pvalue <= FAMILYWISE else Grade.OPEN
        cells[place][index] = replace(cells[place][index], grade=grade, pvalue=float(pvalue))
    changed = {place for place, _ in failing}
    return [replace(item, cells=tuple(cells[place])) if place in changed else item for place, item in enumerate(found)]


_COLUMNS = ("cell", "setting", "estimator", "term", "estimand", "tests", "error", "truth", "truth_mcse",
            "mean_estimate", "bias", "bias_mcse", "empirical_se", "coverage", "coverage_mcse", "coverage_lower",
            "coverage_upper", "rejection", "rejection_mcse", "rejection_lower", "rejection_upper", "n", "attempted",
            "n_error", "worlds")  # fmt: skip


def _judged(
    claim: Claim, diagnosis: Diagnosis, rows: dict[tuple[str, str], dict[str, list[RowOfTable]]]
) -> Iterator[Verdict]:
    alpha = diagnosis.alpha
    nominal = claim.nominal(alpha)
    for name, layout in diagnosis.layouts.items():
        if claim.measure == "screen" or (claim.estimators and name not in claim.estimators):
            continue
        for term in terms_of(claim, layout, key_terms(layout)):
            by_error = rows.get((name, term), {})
            if not claim.has_errors:
                by_error = {"": next(iter(by_error.values()), [])}
            for error, own in by_error.items():
                if claim.errors and error not in claim.errors:
                    continue
                cells = tuple(item for row in own if (item := _judge(claim, row, alpha, nominal)) is not None)
                if cells and (claim.measure != "power" or any(not is_null(item.row) for item in cells)):
                    tolerance = claim.limit(alpha) if claim.is_judged else np.nan
                    yield Verdict(claim, name, term, error, nominal, tolerance, cells, diagnosis.worlds)


def _judge(claim: Claim, row: RowOfTable, alpha: float, nominal: float) -> Judged | None:
    """A cell, or None where the measure is not defined there."""
    match claim.measure:
        case "bias":
            if row["tests"] or not np.isfinite(row["bias"]):
                return None
            value, mcse, lower, upper = standardised(row)
            clear = is_biased(row)
        case "coverage":
            value, mcse, lower, upper = (row[f"coverage{part}"] for part in ("", "_mcse", "_lower", "_upper"))
            clear = is_off(row, "coverage", nominal)
        case _:
            wanted = is_null(row) if claim.measure == "size" else np.isfinite(row["truth"])
            if not wanted or not has_test(row["term"]):
                return None
            value, mcse, lower, upper = (row[f"rejection{part}"] for part in ("", "_mcse", "_lower", "_upper"))
            clear = is_off(row, "rejection", nominal)
    if value != value and not (claim.measure == "bias" and row["n"] > 0):
        return None
    if not claim.is_judged:
        return Judged(row["cell"], value, mcse, lower, upper, Grade.STATED, row)
    tolerance = claim.limit(alpha)
    n = row["n_error"] if claim.has_errors else row["n"]
    usable = bool(n >= LEAST_FITS and n >= (1 - MOST_FAILED) * row["attempted"])
    grade = grade_of(lower - nominal, upper - nominal, tolerance, clear=clear, usable=usable)
    pvalue = np.nan
    if grade is Grade.FAILS and claim.measure == "bias":
        pvalue = beyond_mean(value, mcse, worlds_of(row), tolerance)
    elif grade is Grade.FAILS:
        pvalue = beyond_share(value, mcse, row["n_error"], worlds_of(row), nominal - tolerance, nominal + tolerance)
    return Judged(row["cell"], value, mcse, lower, upper, grade, row, pvalue)


def grade_of(lower: float, upper: float, tolerance: float, *, clear: bool, usable: bool = True) -> Grade:
    """The grade of a departure with a Monte Carlo interval from lower to upper, judged alone.

    clear: whether the departure is clear of its Monte Carlo error. usable: whether there are fits enough, and few of
    them failed; otherwise nothing can hold.
    """
    if clear and beyond(lower, upper, tolerance):
        return Grade.FAILS
    if not usable or not within(lower, upper, tolerance):
        return Grade.OPEN
    return Grade.HARMLESS if clear else Grade.HOLDS


def standardised(row: RowOfTable) -> tuple[float, float, float, float]:
    """Bias in standard errors of the estimator, with its MCSE and the ends of its interval.

    The standard error is taken as known: its own error is a part 1 / sqrt(2 n) of it.
    """
    scale = row["empirical_se"]
    if scale == 0:  # estimates that do not vary about the truth
        value = float(np.sign(row["bias"]) * np.inf) if row["bias"] else 0.0
        return value, 0.0, value, value
    value, mcse = row["bias"] / scale, row["bias_mcse"] / scale
    wide = interval_point(worlds_of(row)) * mcse
    return value, mcse, value - wide, value + wide


@dataclass(frozen=True, slots=True)
class Needed:
    """What would tell whether an open cell holds.

    replications: a cell, with two digits; infinite where no number is enough. worlds: that it takes where that is for
    the few worlds of now, else 0. at_value: whether that is so for the value that was found, because as many as are
    planned are there; else it is for a measure as promised, in all cells of the verdict with a chance of 80%.
    """

    replications: float
    worlds: int
    at_value: bool


def needed(verdict: Verdict, item: Judged) -> Needed:
    """The replications that a cell of a judged verdict takes: planned ones, or those for its value beyond these.

    While they do not reach all worlds of the study, further ones lie in new worlds, a tile in each.
    """
    share, reached, worlds = verdict.measure != "bias", worlds_of(item.row), max(verdict.worlds, worlds_of(item.row))
    n = float(item.row["n_error"] if share else item.row["n"])
    alone = (item.value * (1 - item.value) if share else 1.0) / n
    inflation = max(item.mcse**2 / alone, 1.0) if reached > 1 and alone > 0 else 1.0
    goal = partial(fits_needed, verdict.nominal, verdict.tolerance, share=share, cells=len(verdict.cells))
    planned = goal(worlds=worlds)
    if at_value := n / inflation >= planned:
        goal = partial(goal, cells=1, at=item.value)
        planned = goal(worlds=worlds)
    whole = n if reached == worlds else float(worlds * TILE)
    if reached < worlds and planned * inflation <= whole:
        return Needed(about(planned * inflation), 0, at_value)
    count, wider = replications_needed(planned, whole, inflation, worlds)
    if wider:  # of which the point of t is a smaller one
        wider = max(replications_needed(goal(worlds=wider), whole, inflation, worlds)[1], worlds + 1)
    return Needed(about(count) if np.isfinite(count) else count, wider, at_value)


# Screens, such as a test of pre-trends: how often they reject, and the bias of the estimates that pass.


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
    own, passing = (first_rows(diagnosis, sample) for sample in ("own", "passing"))
    for name, layout in diagnosis.layouts.items():
        if not layout.screen or (claim.estimators and name not in claim.estimators):
            continue
        if not (terms := terms_of(claim, layout, key_terms(layout))):
            continue
        term = terms[0]
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
            text += (f", and {worst.term} of fits that pass is {side} by up to {standard_errors(abs(worst.passing))} "
                     f"(all fits: {standard_errors(abs(worst.bias))}){when}")  # fmt: skip
        parts.append(text)
    return f"Screens: {'; '.join(parts)}."
