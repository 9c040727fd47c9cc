"""Words for estimators, error types, settings and departures, and how they are listed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from results.report.bias_table import plain, varying
from results.report.numbers import fixed, is_null, number

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
