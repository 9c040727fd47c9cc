"""The bias table: one row a cell, estimator, term and error type, with the measures side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from estimators.core.estimator import Layout, Status
from results.diagnosis.diagnose import NO_ESTIMATE, PROPORTIONS, Diagnosis
from sim.design import Estimand

BY_TERM = ("truth", "mean_estimate", "bias", "relative_bias", "empirical_se", "between_worlds", "rmse")
BY_ERROR = ("mean_se", "se_error", "coverage", "bias_eliminated_coverage", "rejection", "size_adjusted_power", "type_s",
            "type_m")  # fmt: skip
INFERENCE = frozenset({"mean_se", "coverage", "rejection"})  # what a fit has of an error type, at least one of them
# The indirect effect is what a mediation study is about, so that it goes before the direct one.
ORDER = ("did", "overall", "nie", "nde", "w_did", "rho", "lambda", "direct:did", "indirect:did", "total:did", "sigma2")
OF_A_VARIABLE = frozenset({"beta", "direct", "indirect", "total"})


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


def setting_text(dials: Mapping[str, object], cells: Sequence[Mapping[str, object]]) -> str:
    """Those of some dials that differ between cells, as text; without dials that the kind of a part lacks."""
    return ", ".join(f"{name} = {plain(dials[name])}" for name in varying(cells) if dials.get(name) is not None)


def varying(cells: Sequence[Mapping[str, object]]) -> list[str]:
    """Names of the dials that differ between cells."""
    names = dict.fromkeys(name for cell in cells for name in cell)
    return [name for name in names if any(cell.get(name) != cells[0].get(name) for cell in cells)]


def by_cell(table: pd.DataFrame, cells: int) -> list[pd.DataFrame]:
    """The rows of each cell, those of a cell without rows empty."""
    found = dict(list(table.groupby("cell")))
    return [found.get(cell, table.iloc[:0]) for cell in range(cells)]


def plain(value: object) -> str:
    """The value of a dial as text."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return " + ".join(map(str, value)) or "none"
    return str(value)


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
            counts.setdefault((cell, one, attempted), {})[_meaning(name.removeprefix("status:"))] = int(value)
    return [(*key, counted) for key, counted in counts.items()]


def _meaning(status: str) -> str:
    return "no estimate is finite" if status == NO_ESTIMATE else Status[status.upper()].meaning
