"""What a diagnosis says in plain words: one verdict an estimator, on the first of its key terms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from results.diagnosis.diagnose import Diagnosis
from results.report.bias_table import key_terms
from results.report.numbers import bracketed, fixed, has_test, is_biased, is_null, is_off, is_wrong_size, number

ERRORS = {"iid": "iid errors", "hc1": "HC1 errors", "information": "information-matrix errors"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Sentences on one estimator; `departs` where bias, coverage or size is clearly not what it should be."""

    estimator: str
    term: str
    departs: bool
    sentences: tuple[str, ...]


def verdicts(diagnosis: Diagnosis, table: pd.DataFrame) -> list[Verdict]:
    """A verdict an estimator from the rows of the bias table."""
    out = []
    for name, layout in diagnosis.layouts.items():
        term = key_terms(layout)[0]
        rows = table[(table["estimator"] == name) & (table["term"] == term)].to_dict("records")
        if rows:
            found = [_bias(rows), _coverage(rows, diagnosis.alpha), _size(rows, diagnosis.alpha)]
            sentences = tuple(text for text, _ in found if text)
            out.append(Verdict(name, term, any(departs for _, departs in found), sentences))
    return out


def headline(found: list[Verdict]) -> str:
    """One sentence over all estimators."""
    departing = [verdict.estimator for verdict in found if verdict.departs]
    if not found:
        return "There are no finished replications yet."
    if not departing:
        return "No estimator departs from what it promises for its policy term, within the Monte Carlo error."
    if len(departing) == len(found):
        who = "The estimator departs" if len(found) == 1 else f"All {len(found)} estimators depart"
    else:
        who = f"{len(departing)} of {len(found)} estimators depart{'s' * (len(departing) == 1)}"
    return f"{who} from the promise in some cell: {', '.join(departing)}."


def error_words(error: str) -> str:
    """An error type in words."""
    if error.startswith("cluster:"):
        return f"errors clustered by {error.removeprefix('cluster:')}"
    return ERRORS.get(error, f"{error} errors")


def _bias(rows: list[dict[Any, Any]]) -> tuple[str, bool]:
    by_cell = list({row["cell"]: row for row in rows}.values())
    known = [row for row in by_cell if np.isfinite(row["bias"])]
    if not known:
        if not any(row["n"] > 0 for row in rows):
            return "No fit succeeded.", True
        return "It has no true value in this design (or is a test, which estimates nothing): no bias to report.", False
    biased = [row for row in known if is_biased(row)]
    worst = max(biased or known, key=lambda row: abs(row["bias"]))
    form = fixed((worst["truth"], worst["mean_estimate"]), worst["bias_mcse"])
    size = f"{abs(worst['bias']):{form}} (MCSE {number(worst['bias_mcse'], form)})"
    if not biased:
        where = f" in any of the {len(known)} cells" if len(known) > 1 else ""
        return f"No clear bias{where}: at most {size}{_when(worst)}.", False
    shares = []
    if not is_null(worst) and worst["truth"]:
        shares.append(f"{100 * abs(worst['bias'] / worst['truth']):.3g}% of the true {number(worst['truth'], form)}")
    if worst["empirical_se"] > 0:
        shares.append(f"{abs(worst['bias']) / worst['empirical_se']:.2g} times its standard error")
    count = f" Bias is clear in {len(biased)} of {len(known)} cells." if len(known) > 1 else ""
    side = "high" if worst["bias"] > 0 else "low"
    return f"Biased: too {side} by {size}, {', '.join(shares)}{_when(worst)}.{count}", True


def _coverage(rows: list[dict[Any, Any]], alpha: float) -> tuple[str, bool]:
    phrases, departs = _by_error(rows, "coverage", 1 - alpha, lambda row: is_off(row["coverage"], row["n"], 1 - alpha))
    return (f"{100 * (1 - alpha):g}% intervals cover {'; '.join(phrases)}." if phrases else ""), departs


def _size(rows: list[dict[Any, Any]], alpha: float) -> tuple[str, bool]:
    null = [row for row in rows if is_null(row) and has_test(row["term"])]
    phrases, departs = _by_error(null, "rejection", alpha, lambda row: is_wrong_size(row, alpha))
    if not phrases:
        return "", False
    return f"Where the truth is 0, a {100 * alpha:g}% test finds an effect in {'; '.join(phrases)}.", departs


def _by_error(
    rows: list[dict[Any, Any]], name: str, nominal: float, departs: Callable[[dict[Any, Any]], bool]
) -> tuple[list[str], bool]:
    """One phrase an error type: the worst cell where one departs, else the range over cells."""
    phrases: list[str] = []
    settings: list[str] = []
    departs_anywhere = False
    for error in dict.fromkeys(row["error"] for row in rows):
        known = [row for row in rows if row["error"] == error and np.isfinite(row[name])]
        if not known:
            continue
        off = [row for row in known if departs(row)]
        worst = max(off or known, key=lambda row: abs(row[name] - nominal))
        if off:
            departs_anywhere = True
            percent = bracketed(100 * worst[name], 100 * worst[f"{name}_mcse"], ".1f").replace(" (", "% (MCSE ")
            phrases.append(f"{percent} with {error_words(error)}")
            settings.append(_when(worst))
        else:
            low, high = (f"{100 * pick(row[name] for row in known):.1f}" for pick in (min, max))
            share = f"{low}%" if low == high else f"{low}% to {high}%"
            mcse = max(100 * row[f"{name}_mcse"] for row in known)
            phrases.append(f"{share} (MCSE {mcse:.1f}) with {error_words(error)}")
            settings.append("")
    if len(set(settings)) == 1:  # said once, at the end
        phrases[-1] += settings[-1]
    else:
        phrases = [phrase + when for phrase, when in zip(phrases, settings, strict=True)]
    return phrases, departs_anywhere


def _when(row: dict[Any, Any]) -> str:
    return f" when {row['setting']}" if row["setting"] else ""
