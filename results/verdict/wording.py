"""The bias table that verdicts read, and words for what stands in it.

Words for estimators, error types, settings and departures, and how they are listed.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtr, stdtrit

from estimators.core.estimator import Layout, Status
from results.diagnosis.diagnose import NO_ESTIMATE, PROPORTIONS, Diagnosis
from results.text import DASH, bracketed, fixed, is_extreme, level, setting_text, share_text, written
from sim.design import OF_A_VARIABLE, Estimand

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
    rows = []
    for cell, (text, parameters) in enumerate(zip(settings(diagnosis), diagnosis.cells, strict=True)):
        head = {"cell": cell, "setting": text}
        head |= {name: str(value) for name, value in zip(diagnosis.parameters, parameters.values(), strict=True)}
        for one, term, error in _lines(diagnosis.layouts, all_terms):
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


def _lines(layouts: Mapping[str, Layout], all_terms: bool) -> Iterator[tuple[str, str, str]]:
    for one, layout in layouts.items():
        for term in key_terms(layout, all_terms):
            for error in layout.errors or ("",):
                yield one, term, error


def settings(diagnosis: Diagnosis) -> list[str]:
    """The parameters of each cell that differ between cells, e.g. "effect = 0, rho = .3"; "" for a lone cell."""
    return [setting_text(cell, diagnosis.cells) for cell in diagnosis.cells]


def by_cell(table: pd.DataFrame, cells: int) -> list[pd.DataFrame]:
    """The rows of each cell, those of a cell without rows empty."""
    found = dict(list(table.groupby("cell")))
    return [found.get(cell, table.iloc[:0]) for cell in range(cells)]


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


def is_test(row: Row) -> bool:
    """Whether the term is a test statistic, which estimates nothing."""
    return bool(row["tests"])


def is_judged(row: Row) -> bool:
    """Whether there are usable fits enough to call a departure one."""
    return bool(row["n"] >= LEAST_FITS)


def is_biased(row: Row) -> bool:
    """Whether the bias is clear of its Monte Carlo error."""
    return is_judged(row) and bool(abs(row["bias"]) > clear(worlds_of(row)) * row["bias_mcse"])


def worlds_of(row: Row) -> int:
    """The worlds behind a row, by which its Monte Carlo errors are clustered where there are several."""
    worlds = row["worlds"]
    return int(worlds) if worlds == worlds else 1  # NaN where nothing succeeded


@cache
def clear(worlds: int) -> float:
    """MCSEs from which a departure is called one: 4, or the point of t with as small a chance where worlds are few."""
    return float(stdtrit(worlds - 1, ndtr(CLEAR))) if worlds > 1 else CLEAR


def is_off(row: Row, name: str, nominal: float) -> bool:
    """Whether a proportion is clear of its nominal value, by the MCSE that the nominal value implies.

    Where replications share worlds this MCSE is as much wider than that of independent fits as the proportion's own.
    """
    share, n = row[name], row["n"]
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


def is_wrong_size(row: Row, alpha: float) -> bool:
    """Whether a true null is rejected clearly more or less often than alpha."""
    return has_test(row["term"]) and is_null(row) and is_off(row, "rejection", alpha)


def marked(row: Row, alpha: float) -> list[str]:
    """The measures of a row that are marked: bias, coverage, rejection."""
    off = {
        "bias": is_biased(row),
        "coverage": is_off(row, "coverage", 1 - alpha),
        "rejection": is_wrong_size(row, alpha),
    }
    return [name for name, departs in off.items() if departs]


def truth_text(row: Row, form: str) -> str:
    """The truth, a bare 0 where it is exactly that; of a test statistic whether its null hypothesis is true."""
    if is_null(row):
        return "0"
    return "not 0" if is_test(row) and np.isfinite(row["truth"]) else written(row["truth"], form)


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
    tested = has_test(row["term"])
    return {
        **{name: row[name] for name in ("estimator", "term", "error")},
        "flags": marked(row, alpha),
        "truth": truth_text(row, longer),
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
