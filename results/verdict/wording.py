"""Words for estimators, error types, settings and departures, and how they are listed."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy.special import ndtr, stdtrit

from results.diagnosis.measures import Z95
from results.verdict.bias_table import plain, varying

# How numbers with Monte Carlo errors are written, and when a departure is called one.


DASH = "-"
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


def departures(alpha: float, worlds: int = 1) -> str:
    """What is marked, for a legend: the rules of `is_biased` and `is_off`; worlds: that replications share."""
    coverage, size, far = f"{100 * (1 - alpha):g}%", f"{100 * alpha:g}%", f"{clear(worlds):.1f}".removesuffix(".0")
    few = (f" With {worlds} worlds, {far} MCSE are as rare by chance as 4 MCSE of independent fits. This MCSE is "
           "wider, by the factor by which worlds widen the one in brackets.") if worlds > 1 else ""  # fmt: skip
    return (f"a bias more than {far} MCSE from 0, coverage more than {far} MCSE from {coverage}, or rejection of a "
            f"true null hypothesis more than {far} MCSE from {size}. For coverage and rejection, this MCSE is that of "
            f"the nominal level, not the one in brackets.{few}")  # fmt: skip


def fixed(values: Sequence[float], mcse: float) -> str:
    """A number format for numbers known up to `mcse`: as many decimals as show its first digit."""
    size = max((abs(value) for value in values if np.isfinite(value)), default=0.0)
    if not np.isfinite(mcse) or mcse <= 0:
        return ".4f" if size == 0 or 1e-3 <= size < 1e4 else ".2e"
    decimals = int(np.ceil(-np.log10(mcse)))
    if decimals > 6 or size >= 1e6:
        return ".1e"
    return f".{max(decimals, 0)}f"


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
    return "not 0" if is_test(row) and np.isfinite(row["truth"]) else number(row["truth"], form)


def number(value: float, form: str) -> str:
    """A number, or a dash where there is none."""
    return f"{value:{form}}" if np.isfinite(value) else DASH


def bracketed(value: float, mcse: float, form: str) -> str:
    """Value (MCSE), or a dash."""
    if not np.isfinite(value):
        return DASH
    text = f"{value:{form}}"
    text = text.removeprefix("-") if float(text) == 0 else text
    return text if not np.isfinite(mcse) else f"{text} ({mcse:{form}})"


def own_text(row: Row, name: str) -> str:
    """A measure of the user's own with its MCSE, as many decimals as that shows; "-" where there is none."""
    value, mcse = row[name], row[f"{name}_mcse"]
    return bracketed(value, mcse, fixed((value,), mcse) if np.isfinite(value) else ".4f")


def percent(row: Row, name: str) -> str:
    """A measure and its MCSE in percent; of a proportion of 0 or 1 the other end of Wilson's interval, as in (<11)."""
    if f"{name}_lower" in row:
        return share_text(row[name], row[f"{name}_mcse"], row[f"{name}_lower"], row[f"{name}_upper"])
    return bracketed(100 * row[name], 100 * row[f"{name}_mcse"], ".1f")


def share_text(value: float, mcse: float, lower: float, upper: float) -> str:
    """A proportion with its MCSE in percent, or with the other end of its interval where it is 0 or 1."""
    if not is_extreme(value):
        return bracketed(100 * value, 100 * mcse, ".1f")
    far = 100 * (upper if value == 0 else 1 - lower)
    if not far > 0:
        return f"{100 * value:.1f}"
    decimals = 0 if far >= 10 else max(1, int(np.ceil(-np.log10(far))))
    far = float(np.ceil(far * 10**decimals)) / 10**decimals
    end = f"<{far:.{decimals}f}" if value == 0 else f">{100 - far:.{decimals}f}"
    return f"{100 * value:.1f} ({end})"


def is_extreme(value: float) -> bool:
    """Whether a proportion is 0 or 1, where an interval says more than the MCSE."""
    return value in {0.0, 1.0}


def share_ends(row: Row, name: str) -> tuple[float, float]:
    """1.96 MCSE either side of a proportion, Wilson's interval where it is 0 or 1."""
    value, wide = row[name], Z95 * row[f"{name}_mcse"]
    if is_extreme(value):
        return float(row[f"{name}_lower"]), float(row[f"{name}_upper"])
    return max(value - wide, 0.0), min(value + wide, 1.0)


ERRORS = {
    "chi-square": "the chi-square distribution",
    "iid": "iid errors",
    "hc1": "HC1 errors",
    "information": "information-matrix errors",
    "driscoll-kraay": "Driscoll-Kraay errors",
    "delta": "delta-method errors",
    "sobel": "Sobel's errors",
    "monte-carlo": "Monte Carlo intervals",
    "conley-taber": "Conley and Taber's placebos",
    "ferman-pinto": "Ferman and Pinto's placebos",
}
BEGINNINGS = {
    "cluster:": "errors clustered by {}",
    "conley:": "Conley's errors within {} km",
    "cv3:": "the cluster jackknife by {}",
    "cr2:": "bias-reduced errors clustered by {}",
    "wild:": "the wild bootstrap by {}",
    "ferman-pinto:": "Ferman and Pinto's placebos, rescaled by {}",
    "bootstrap:": "the bootstrap by {}",
    "permutation:": "the permutation test ({})",
}
ALONE = "the "  # begins the words for an error type that is one thing


@dataclass(frozen=True, slots=True)
class Subject:
    """What a sentence is about; plural: whether its verb is."""

    text: str
    plural: bool = False

    def does(self, verb: str) -> str:
        """The subject with a regular verb, such as "hold"."""
        return f"{self.text} {verb}{'' if self.plural else 's'}"

    @property
    def is_(self) -> str:
        """The subject with "is" or "are"."""
        return f"{self.text} {'are' if self.plural else 'is'}"


def error_words(error: str) -> str:
    """An error type in words."""
    for beginning, words in BEGINNINGS.items():
        if error.startswith(beginning):
            return words.format(error.removeprefix(beginning).replace("+", " and "))
    return ERRORS.get(error, f"{error} errors")


def of_errors(error: str) -> Subject:
    """An error type as the subject of a sentence."""
    words = error_words(error)
    return Subject(words, plural=not words.startswith(ALONE))


def joined(items: Sequence[str], most: int = 6) -> str:
    """ "a", "a and b", "a, b and c"; beyond `most` items the rest is counted."""
    if len(items) > most:
        items = [*items[: most - 1], f"{len(items) - most + 1} more"]
    return " and ".join(part for part in (", ".join(items[:-1]), *items[-1:]) if part)


def per_cent(share: float) -> str:
    """A share in percent with one decimal, as few as say it above 10%."""
    if share in {0.0, 1.0}:
        return f"{100 * share:.0f}%"
    return f"{100 * share:.1f}%" if share < 0.0995 or share > 0.9005 else f"{100 * share:.0f}%"


def span_text(low: float, high: float) -> str:
    """Two shares as a range, one where they print alike."""
    ends = per_cent(low), per_cent(high)
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def bias_text(row: Mapping[Any, Any], standardised: float, beside: str = "") -> str:
    """A bias in words: its side, size, standard errors and share of the truth, and what else the brackets hold."""
    form = fixed((row["truth"], row["mean_estimate"]), row["bias_mcse"])
    shares = [f"{errors_text(abs(standardised))}"] if abs(standardised) < float("inf") else []
    if not is_null(row) and row["truth"]:
        shares.append(f"{rounded(100 * abs(row['bias'] / row['truth']))}% of the true {number(row['truth'], form)}")
    inside = "; ".join(part for part in (", ".join(shares), beside) if part)
    rest = f" ({inside})" if inside else ""
    return f"too {'high' if row['bias'] > 0 else 'low'} by {abs(row['bias']):{form}}{rest}"


def errors_text(value: float) -> str:
    """A number of standard errors of the estimator."""
    return f"{rounded(value)} standard errors"


def rounded(value: float) -> str:
    """Two digits, all of a whole number."""
    return f"{value:.0f}" if value >= 99.5 else f"{value:.2g}"


def region(cells: Sequence[int], every: Sequence[int], dials: Sequence[Mapping[str, object]]) -> str:
    """What tells some cells from the others of `every`, as "spillover = paper"; "" where no dials do so exactly."""
    told: dict[str, list[object]] = {}
    words = []
    for name in varying([dials[cell] for cell in every]):
        inside, outside = (_distinct(dials[cell].get(name) for cell in group) for group in (cells, every))
        if len(inside) < len(outside):
            told[name] = inside
            words.append(_values_text(name, inside, outside))
    if any(value is None for kept in told.values() for value in kept):  # a dial that the kind of a part lacks
        return ""
    matching = {cell for cell in every if all(dials[cell].get(name) in kept for name, kept in told.items())}
    return ", ".join(words) if told and matching == set(cells) else ""


def _distinct(values: Iterable[object]) -> list[object]:
    """Values without repetition, which need not be hashable."""
    found: list[object] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found


def _values_text(name: str, inside: list[object], outside: list[object]) -> str:
    """Some values of a dial: "serial from 0.4", "shape = growing or fading"."""
    numbers = [value for value in outside if isinstance(value, int | float)]
    if len(numbers) == len(outside) and len(inside) > 1:
        chosen = sorted(value for value in numbers if value in inside)
        if chosen == sorted(numbers)[-len(chosen) :]:
            return f"{name} from {plain(chosen[0])}"
        if chosen == sorted(numbers)[: len(chosen)]:
            return f"{name} up to {plain(chosen[-1])}"
    return f"{name} = {' or '.join(map(plain, inside))}"
