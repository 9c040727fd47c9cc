"""The table of all cells: one row a cell, estimator, term and error type, the cell's dials in columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from results.charts.grid import dials, lead_terms, words_of
from results.diagnosis.diagnose import Diagnosis
from results.report.numbers import (
    DASH,
    bracketed,
    fixed,
    has_test,
    is_test,
    marked,
    number,
    own_text,
    percent,
    truth_text,
)
from sim.estimands import null_hypothesis

MOST_ROWS = 1500  # of the table in a page; beyond, only the first term of each estimator, then none
TOO_LONG = 2500


@dataclass(frozen=True, slots=True)
class CellTable:
    """The table as text. dials: heads of the cells' columns. left_out: rows that a page has no room for."""

    dials: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]
    left_out: int = 0


def cell_table(diagnosis: Diagnosis, table: pd.DataFrame) -> CellTable:
    """Rows of a bias table as text; `flags` names the measures that clearly depart."""
    varying = dials(diagnosis.cells)
    kept = table[table["attempted"].notna()]
    if len(kept) > MOST_ROWS:
        lead = lead_terms(diagnosis)
        kept = kept[[lead[name] == term for name, term in zip(kept["estimator"], kept["term"], strict=True)]]
    if len(kept) > TOO_LONG:
        kept = kept.iloc[:0]
    rows = []
    for row in kept.to_dict("records"):
        own_ones = {name: own_text(row, name) for name in diagnosis.own}
        settings = tuple(dial.names[dial.at[row["cell"]]] for dial in varying)
        rows.append(_texts(row, diagnosis.alpha) | own_ones | {"dials": settings})
    return CellTable(tuple(words_of(dial.name) for dial in varying), tuple(rows), len(table) - len(kept))


def purpose(rows: list[dict[Any, Any]]) -> str:
    """What a term is for: "estimates att, beta(did)", "tests rho = 0"; "" where that has no name."""
    named = [row for row in rows if row["estimand"]]
    estimated = dict.fromkeys(row["estimand"] for row in named if not is_test(row))
    tested = dict.fromkeys(null_hypothesis(row["estimand"]) for row in named if is_test(row))
    parts = (("estimates", estimated), ("tests", tested))
    return "; ".join(f"{verb} {', '.join(names)}" for verb, names in parts if names)


def _texts(row: dict[Any, Any], alpha: float) -> dict[str, Any]:
    form = fixed((row["truth"], row["mean_estimate"]), row["bias_mcse"])
    level = ".2e" if form == ".1e" else form
    tested = has_test(row["term"])
    return {
        **{name: row[name] for name in ("estimator", "term", "error")},
        "purpose": purpose([row]),
        "flags": marked(row, alpha),
        "truth": truth_text(row, level),
        "mean": number(row["mean_estimate"], level),
        "bias": bracketed(row["bias"], row["bias_mcse"], form),
        "relative_bias": percent(row, "relative_bias"),
        "empirical_se": bracketed(row["empirical_se"], row["empirical_se_mcse"], form),
        "between_worlds": bracketed(100 * row["between_worlds"], 100 * row["between_worlds_mcse"], ".1f"),
        "rmse": bracketed(row["rmse"], row["rmse_mcse"], form),
        "mean_se": number(row["mean_se"], level),
        "se_error": bracketed(row["se_error"], row["se_error_mcse"], ".1f"),
        "coverage": percent(row, "coverage"),
        "bias_eliminated_coverage": percent(row, "bias_eliminated_coverage"),
        "rejection": percent(row, "rejection") if tested else DASH,
        "size_adjusted_power": percent(row, "size_adjusted_power") if tested else DASH,
        "type_s": percent(row, "type_s") if tested else DASH,
        "type_m": bracketed(row["type_m"], row["type_m_mcse"], ".3f") if tested else DASH,
        "fits": DASH if np.isnan(row["n"]) else f"{int(row['n']):,}/{int(row['attempted']):,}",
    }
