"""What a diagnosis says in plain words: one verdict an estimator, on the first of its key terms and marks elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from results.diagnosis.diagnose import Diagnosis
from results.report.bias_table import key_terms, reasons
from results.report.notices import attempted_fits, failed_fits
from results.report.numbers import (
    LEAST_FITS,
    TOO_FEW,
    fixed,
    has_test,
    is_biased,
    is_extreme,
    is_judged,
    is_null,
    is_off,
    is_test,
    is_wrong_size,
    marked,
    number,
    percent,
)
from sim.errors import listed
from sim.estimands import null_hypothesis

ERRORS = {
    "chi-square": "the chi-square distribution",
    "iid": "iid errors",
    "hc1": "HC1 errors",
    "information": "information-matrix errors",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Sentences on one estimator; `departs` where bias, coverage or size is clearly not what it should be.

    judged: whether any cell has usable fits enough to tell. elsewhere: where `term` holds, the other key terms that are
    marked in some cell. failed: fits that failed, over all cells.
    """

    estimator: str
    term: str
    departs: bool
    sentences: tuple[str, ...]
    judged: bool = True
    elsewhere: tuple[str, ...] = ()
    failed: int = 0

    @property
    def mark(self) -> str:
        """The verdict in a word or two."""
        if self.departs:
            return "! departs"
        if self.elsewhere:
            return "! other terms marked"
        if self.failed:
            return "! fits failed"
        return "✓ holds" if self.judged else "? too few to judge"

    @property
    def is_clean(self) -> bool:
        """Whether nothing is marked, in `term` or elsewhere."""
        return not self.departs and not self.elsewhere


def verdicts(diagnosis: Diagnosis, table: pd.DataFrame) -> list[Verdict]:
    """A verdict an estimator from the rows of the bias table."""
    out = []
    failed, attempted = failed_fits(diagnosis), attempted_fits(diagnosis)
    for name, layout in diagnosis.layouts.items():
        term, *others = key_terms(layout)
        own = table[table["estimator"] == name].to_dict("records")
        rows = [row for row in own if row["term"] == term]
        if rows:
            found = _verdict(name, term, rows, diagnosis.alpha)
            off = {row["term"] for row in own if marked(row, diagnosis.alpha)}
            if found.judged and not found.departs:
                found = _with_elsewhere(found, tuple(item for item in others if item in off))
            out.append(_with_failures(found, failed[name], attempted[name]) if name in failed else found)
    return out


def _with_failures(verdict: Verdict, failed: Counter[str], attempted: int) -> Verdict:
    """The verdict with its failed fits before all else; where all failed it says so already."""
    count = failed.total()
    said = () if count == attempted else (f"{count:,} of {attempted:,} fits failed: {reasons(failed)}.",)
    return replace(verdict, failed=count, sentences=(*said, *verdict.sentences))


def _with_elsewhere(verdict: Verdict, terms: tuple[str, ...]) -> Verdict:
    """The verdict with the key terms that are marked although its own is not."""
    if not terms:
        return verdict
    sentence = f"{verdict.term} holds its promise; other marked terms: {listed(terms)}."
    return replace(verdict, elsewhere=terms, sentences=(sentence, *verdict.sentences))


def _verdict(name: str, term: str, rows: list[dict[Any, Any]], alpha: float) -> Verdict:
    if not any(row["n"] > 0 for row in rows):
        return Verdict(name, term, True, ("No fit succeeded.",))
    enough = [row for row in rows if is_judged(row)]
    if not enough:
        nothing = () if any(np.isfinite(row["bias"]) for row in rows) else (_no_bias(rows),)
        most = max(int(row["n"]) for row in rows if row["n"] > 0)
        few = f"{TOO_FEW}: at most {most} usable fit{'s' * (most != 1)} per cell; a verdict needs {LEAST_FITS}."
        return Verdict(name, term, False, (*nothing, few), judged=False)
    found = [_bias(enough), _coverage(enough, alpha), _size(enough, alpha)]
    sentences = [text for text, _ in found if text]
    cells, judged = (len({row["cell"] for row in part}) for part in (rows, enough))
    if judged < cells:
        sentences.append(f"{TOO_FEW} in {cells - judged} of {cells} cells.")
    return Verdict(name, term, any(departs for _, departs in found), tuple(sentences))


def headline(found: list[Verdict], failed: str = "") -> str:
    """What failed (a sentence of `failure_notice`), then one sentence over all estimators that can be judged."""
    return f"{failed} {_headline(found)}".lstrip()


def _headline(found: list[Verdict]) -> str:
    if not found:
        return "There are no finished replications yet."
    judged = [verdict for verdict in found if verdict.judged]
    unjudged = [verdict.estimator for verdict in found if not verdict.judged]
    if not judged:
        return f"{TOO_FEW}: a verdict needs {LEAST_FITS} usable fits."
    rest = f" {TOO_FEW}: {', '.join(unjudged)}." if unjudged else ""
    return _over(judged) + rest


def _over(judged: list[Verdict]) -> str:
    departing = [_named(verdict) for verdict in judged if not verdict.is_clean]
    if not departing:
        return "No estimator departs from its promise for any key term, within the Monte Carlo error."
    if len(departing) == len(judged):
        who = "The estimator departs" if len(judged) == 1 else f"All {len(judged)} estimators depart"
    else:
        who = f"{len(departing)} of {len(judged)} estimators depart{'s' * (len(departing) == 1)}"
    return f"{who} from the promise in some cell: {', '.join(departing)}."


def _named(verdict: Verdict) -> str:
    return f"{verdict.estimator} (for {listed(verdict.elsewhere)})" if verdict.elsewhere else verdict.estimator


def error_words(error: str) -> str:
    """An error type in words."""
    if error.startswith("cluster:"):
        return f"errors clustered by {error.removeprefix('cluster:')}"
    return ERRORS.get(error, f"{error} errors")


def _bias(rows: list[dict[Any, Any]]) -> tuple[str, bool]:
    by_cell = list({row["cell"]: row for row in rows}.values())
    known = [row for row in by_cell if np.isfinite(row["bias"])]
    if not known:
        return _no_bias(rows), False
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


def _no_bias(rows: list[dict[Any, Any]]) -> str:
    if all(is_test(row) for row in rows):
        return f"The term tests {null_hypothesis(rows[0]['estimand'])}: it estimates nothing and has no bias."
    return "The term has no true value in this design, so there is no bias to report."


def _coverage(rows: list[dict[Any, Any]], alpha: float) -> tuple[str, bool]:
    phrases, departs = _by_error(rows, "coverage", 1 - alpha, lambda row: is_off(row, "coverage", 1 - alpha))
    return (f"{100 * (1 - alpha):g}% intervals cover {'; '.join(phrases)}." if phrases else ""), departs


def _size(rows: list[dict[Any, Any]], alpha: float) -> tuple[str, bool]:
    null = [row for row in rows if is_null(row) and has_test(row["term"])]
    phrases, departs = _by_error(null, "rejection", alpha, lambda row: is_wrong_size(row, alpha))
    if not phrases:
        return "", False
    if is_test(null[0]):
        return f"Where its null hypothesis is true, the {100 * alpha:g}% test rejects in {'; '.join(phrases)}.", departs
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
            phrases.append(f"{_share(worst, name)} with {error_words(error)}")
            settings.append(_when(worst))
        else:
            phrases.append(f"{_range(known, name)} with {error_words(error)}")
            settings.append("")
    if len(set(settings)) == 1:  # said once, at the end
        phrases[-1] += settings[-1]
    else:
        phrases = [phrase + when for phrase, when in zip(phrases, settings, strict=True)]
    return phrases, departs_anywhere


def _share(row: dict[Any, Any], name: str) -> str:
    """A proportion in words, with its MCSE or the other end of its interval."""
    return percent(row, name).replace(" (", "% (" if is_extreme(row[name]) else "% (MCSE ")


def _range(rows: list[dict[Any, Any]], name: str) -> str:
    """The range of a proportion over cells, with the largest MCSE."""
    lowest, highest = (pick(rows, key=lambda row: row[name]) for pick in (min, max))
    if lowest[name] == highest[name]:
        return _share(max(rows, key=lambda row: row[f"{name}_mcse"]), name)
    low, high = (f"{100 * row[name]:.1f}" for row in (lowest, highest))
    mcse = max(100 * row[f"{name}_mcse"] for row in rows)
    return f"{low}%{'' if low == high else f' to {high}%'} (MCSE {mcse:.1f})"


def _when(row: dict[Any, Any]) -> str:
    return f" when {row['setting']}" if row["setting"] else ""
