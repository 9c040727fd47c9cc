"""Numbers, lists, levels, p values, dials and error types in words: one way for reports, pages and pictures."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

DASH = "-"  # in a table, for what is not defined
NOTHING = "\N{EN DASH}"  # the same on a page
MINUS = "\N{MINUS SIGN}"


# Numbers of pictures and pages: significant digits with a true minus sign.


def number(value: float | None, digits: int = 4) -> str:
    """Significant digits with a true minus sign; a dash for none."""
    return NOTHING if value is None else f"{value:.{digits}g}".replace("-", MINUS)


def share(value: float | None) -> str:
    """A share in per cent with one decimal; a dash for none."""
    return NOTHING if value is None else f"{value:.1%}"


def probability(value: float | None) -> str:
    """A p value with three decimals; a dash for none."""
    if value is None:
        return NOTHING
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def p_value(value: float | None) -> str:
    """A p value in a sentence: "p = 0.034", "p < 0.001"."""
    text = probability(value)
    return f"p < {text[1:]}" if text.startswith("<") else f"p = {text}"


def above(value: float, bound: float, digits: int) -> str:
    """A number above a bound with as many decimals as show that it is, `digits` or more: 0.1004 is not 0.10."""
    return f"{value:.{next((k for k in range(digits, 9) if round(value, k) > bound), digits)}f}"


def interval(lower: float | None, upper: float | None, form: Callable[[float | None], str]) -> str:
    """Two ends, each written by `form`; a dash where there is none."""
    return NOTHING if lower is None or upper is None else f"{form(lower)} to {form(upper)}"


def level(value: float) -> str:
    """A level that somebody chose, in per cent: "5%"."""
    return f"{100 * value:g}%"


# Numbers of tables, with as many decimals as their Monte Carlo errors (MCSE) show.


def fixed(values: Sequence[float], mcse: float) -> str:
    """A number format for numbers known up to `mcse`: as many decimals as show its first digit."""
    size = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    if not math.isfinite(mcse) or mcse <= 0:
        return ".4f" if size == 0 or 1e-3 <= size < 1e4 else ".2e"
    decimals = math.ceil(-math.log10(mcse))
    if decimals > 6 or size >= 1e6:
        return ".1e"
    return f".{max(decimals, 0)}f"


def written(value: float, form: str) -> str:
    """A number in a format, or a dash where there is none."""
    return f"{value:z{form}}" if math.isfinite(value) else DASH  # a zero without a sign


def bracketed(value: float, mcse: float, form: str) -> str:
    """Value (MCSE), or a dash."""
    if not math.isfinite(value):
        return DASH
    text = f"{value:{form}}"
    text = text.removeprefix("-") if float(text) == 0 else text
    return text if not math.isfinite(mcse) else f"{text} ({mcse:{form}})"


def share_text(value: float, mcse: float, lower: float, upper: float) -> str:
    """A proportion with its MCSE in percent, or with the other end of its interval where it is 0 or 1."""
    if not is_extreme(value):
        return bracketed(100 * value, 100 * mcse, ".1f")
    far = 100 * (upper if value == 0 else 1 - lower)
    if not far > 0:
        return f"{100 * value:.1f}"
    decimals = 0 if far >= 10 else max(1, math.ceil(-math.log10(far)))
    far = math.ceil(far * 10**decimals) / 10**decimals
    end = f"<{far:.{decimals}f}" if value == 0 else f">{100 - far:.{decimals}f}"
    return f"{100 * value:.1f} ({end})"


def is_extreme(value: float) -> bool:
    """Whether a proportion is 0 or 1, where an interval says more than the MCSE."""
    return value in {0.0, 1.0}


# Numbers of sentences.


def rounded(value: float) -> str:
    """Two digits, all of a whole number."""
    return f"{value:.0f}" if value >= 99.5 else f"{value:.2g}"


def standard_errors(value: float) -> str:
    """A number of standard errors of the estimator."""
    return f"{rounded(value)} standard errors"


def per_cent(value: float) -> str:
    """A share in percent with one decimal, as few as say it above 10%."""
    if is_extreme(value):
        return f"{100 * value:.0f}%"
    return f"{100 * value:.1f}%" if value < 0.0995 or value > 0.9005 else f"{100 * value:.0f}%"


def span_text(low: float, high: float) -> str:
    """Two shares as a range, one where they print alike."""
    ends = per_cent(low), per_cent(high)
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


# Lists.


def joined(items: Sequence[str], most: int | None = None) -> str:
    """ "a", "a and b", "a, b and c"; beyond `most` items the rest is counted."""
    if most is not None and len(items) > most:
        items = [*items[: most - 1], f"{len(items) - most + 1} more"]
    return " and ".join(part for part in (", ".join(items[:-1]), *items[-1:]) if part)


# The dials of a grid and their values.


def dial_value(value: object) -> str:
    """The value of a dial as text, which tells it from others: tables find cells by it."""
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else f"{value:.12g}"
    if isinstance(value, list | tuple):
        return " + ".join(map(str, value)) or "none"
    return str(value)


def dial_names(cells: Sequence[Mapping[str, object]]) -> list[str]:
    """Names of all dials of some cells."""
    return list(dict.fromkeys(name for cell in cells for name in cell))


def varying(cells: Sequence[Mapping[str, object]]) -> list[str]:
    """Names of the dials that differ between cells."""
    return [name for name in dial_names(cells) if any(cell.get(name) != cells[0].get(name) for cell in cells)]


def setting_text(
    dials: Mapping[str, object], cells: Sequence[Mapping[str, object]], named: Callable[[str], str] = str
) -> str:
    """Those of some dials that differ between cells, as text; without dials that the kind of a part lacks.

    named: how a dial is called, by its own name or, with `plain_dial`, in words.
    """
    return ", ".join(f"{named(name)} = {dial_value(dials[name])}" for name in varying(cells)
                     if dials.get(name) is not None)  # fmt: skip


PLAIN_DIALS = {
    "adoption.concentration": "strength of the instruments",
    "adoption.endogeneity": "endogeneity of the dose",
    "adoption.on": "adoption by",
    "adoption.share": "share of units that adopt",
    "adoption.strength": "strength of selection",
    "anticipation": "periods of anticipation",
    "effect.size": "size of the effect",
    "errors.covariate_slope": "variance of errors over the covariate",
    "errors.serial": "autocorrelation of errors",
    "errors.spatial": "spatial correlation of errors",
    "indicators.noise": "noise of the indicators",
    "indicators.treated": "indicators that the treatment moves",
    "levels.factor_share": "share of common factors",
    "levels.factors": "number of common factors",
    "missing.pattern": "pattern of missing values",
    "missing.share": "share of missing values",
    "rho": "spatial lag of the outcome",
    "serial": "autocorrelation of errors",
    "shape": "shape of the effect",
    "spatial_error": "spatial correlation of errors",
    "treated": "number of treated units",
    "trend_gap": "gap between trends",
    "weights.k": "number of neighbours in W",
    "weights.kind": "kind of W",
}  # of the designs of this package; other names are words as they are


def last_part(name: str, names: Iterable[str]) -> str:
    """A dial by what follows its last dot, where no other of these names ends so: "errors.serial" as "serial"."""
    last = name.rpartition(".")[2]
    return last if sum(other.rpartition(".")[2] == last for other in names) == 1 else name


def plain_dial(name: str) -> str:
    """A dial in words: "errors.serial" as "autocorrelation of errors", a name of others as "some name"."""
    return PLAIN_DIALS.get(name) or name.replace("_", " ").replace(".", " ")


def region(cells: Sequence[int], every: Sequence[int], dials: Sequence[Mapping[str, object]]) -> str:
    """What tells some cells from the others of `every`, as "spillover = paper"; "" where no dials do so exactly."""
    told: dict[str, list[object]] = {}
    words = []
    for name in varying([dials[cell] for cell in every]):
        inside, outside = list[object](), list[object]()  # distinct values, which need not be hashable
        for distinct, group in ((inside, cells), (outside, every)):
            for cell in group:
                if (value := dials[cell].get(name)) not in distinct:
                    distinct.append(value)
        if len(inside) < len(outside):
            told[name] = inside
            words.append(_values_text(name, inside, outside))
    if any(value is None for kept in told.values() for value in kept):  # a dial that the kind of a part lacks
        return ""
    matching = {cell for cell in every if all(dials[cell].get(name) in kept for name, kept in told.items())}
    return ", ".join(words) if told and matching == set(cells) else ""


def _values_text(name: str, inside: list[object], outside: list[object]) -> str:
    """Some values of a dial: "serial from 0.4", "shape = growing or fading"."""
    numbers = [value for value in outside if isinstance(value, int | float)]
    if len(numbers) == len(outside) and len(inside) > 1:
        chosen = sorted(value for value in numbers if value in inside)
        if chosen == sorted(numbers)[-len(chosen) :]:
            return f"{name} from {dial_value(chosen[0])}"
        if chosen == sorted(numbers)[: len(chosen)]:
            return f"{name} up to {dial_value(chosen[-1])}"
    return f"{name} = {' or '.join(map(dial_value, inside))}"


# Subjects of sentences, error types among them.


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


def plain_error(error: str) -> str:
    """An error type as a head or a mark names it: "clustered by unit", "iid", "wild bootstrap by unit"."""
    words = error_words(error).removeprefix("errors ").removeprefix(ALONE)
    return words.replace("'s errors", "").replace(" errors clustered", ", clustered").removesuffix(" errors")


def of_errors(error: str) -> Subject:
    """An error type as the subject of a sentence."""
    words = error_words(error)
    return Subject(words, plural=not words.startswith(ALONE))


def in_columns(text: str, width: int, first: str = "", rest: str = "  ", *, at_hyphens: bool = False) -> list[str]:
    """Lines that a terminal of so many columns shows whole, where Chinese letters take two.

    first, rest: how the first line and the others begin. at_hyphens: whether words are parted there.
    """
    from rich.cells import cell_len
    from rich.console import Console
    from rich.text import Text

    if cell_len(text) == len(text):
        return textwrap.wrap(text, width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=at_hyphens)
    room = width - max(len(first), len(rest))
    lines = Text(text).wrap(Console(width=room), room)
    return [f"{rest if number else first}{line.plain.rstrip()}" for number, line in enumerate(lines)]
