"""The dials of a grid and the values of a measure over it, as pictures and pivots need them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

from results.diagnosis.diagnose import PROPORTIONS, Diagnosis
from results.diagnosis.measures import MEANINGS
from results.plots.chart import LONGEST
from results.text import (
    bracketed,
    dial_names,
    dial_value,
    error_words,
    fixed,
    plain_dial,
    plain_error,
    share_text,
)
from results.verdict.wording import LEAST_FITS, clear, has_test, is_off, key_terms
from sim.errors import bad, closest, one_of

# The measures that pictures and pivots show: their words, unit, nominal value, and where they are defined.


Where = Literal["all", "null", "known"]


@dataclass(frozen=True, slots=True)
class ShownMeasure:
    """One measure. where: it is defined in all cells, where the truth is 0, or where it is known.

    words: of an axis. short: of a title. nominal: the value that it should have at a level alpha, None where none is.
    by_error: whether it has one value an error type.
    """

    name: str
    words: str
    short: str
    by_error: bool = False
    where: Where = "all"
    nominal: Callable[[float], float] | None = None

    @property
    def column(self) -> str:
        """Its name in a diagnosis, where size and power are rejection."""
        return "rejection" if self.name in {"power", "size"} else self.name

    @property
    def share(self) -> bool:
        """Whether it is a proportion, shown in percent."""
        return self.column in PROPORTIONS or self.column == "between_worlds" or self.column == "relative_bias"


MEASURES = {
    measure.name: measure
    for measure in (
        ShownMeasure("power", "share of tests that reject", "Power", True, "known"),
        ShownMeasure("size", "share of tests that reject a true null", "Size", True, "null", lambda alpha: alpha),
        ShownMeasure("coverage", "share of intervals that hold the truth", "Coverage", True,
                     nominal=lambda alpha: 1 - alpha),
        ShownMeasure("bias", "bias: mean of estimate minus truth", "Bias", nominal=lambda _: 0.0),
        ShownMeasure("relative_bias", "bias in percent of the truth", "Relative bias", nominal=lambda _: 0.0),
        ShownMeasure("rmse", "root mean squared error", "RMSE"),
        ShownMeasure("empirical_se", "spread of the estimates", "Empirical standard error"),
        ShownMeasure("mean_se", "mean standard error", "Mean standard error", True),
        ShownMeasure("se_error", "error of the standard error, percent", "Error of the standard error", True,
                     nominal=lambda _: 0.0),
        ShownMeasure("bias_eliminated_coverage", "share of intervals that hold the truth once moved by the bias",
                     "Bias-eliminated coverage", True, nominal=lambda alpha: 1 - alpha),
        ShownMeasure("rejection", "share of tests that reject", "Rejection", True),
        ShownMeasure("size_adjusted_power", "share of tests that reject at the right size", "Size-adjusted power",
                     True),
        ShownMeasure("type_s", "share of significant estimates with the wrong sign", "Type S", True),
        ShownMeasure("type_m", "factor by which significant estimates exaggerate", "Type M", True),
        ShownMeasure("mean_estimate", "mean estimate", "Mean estimate"),
        ShownMeasure("truth", "true value", "Truth"),
        ShownMeasure("mse", "mean squared error", "MSE"),
        ShownMeasure("between_worlds", "share of the variance between worlds", "Between worlds"),
    )
}  # fmt: skip


def measures_of(diagnosis: Diagnosis) -> dict[str, ShownMeasure]:
    """Every measure that a picture or pivot of a diagnosis can show, the user's own included."""
    own = {name: ShownMeasure(name, MEANINGS.get(name, name), name, _by_error(diagnosis, name))
           for name in diagnosis.own}  # fmt: skip
    return MEASURES | own


def _by_error(diagnosis: Diagnosis, name: str) -> bool:
    frame = diagnosis.frame
    return bool((frame.loc[frame["measure"] == name, "error"] != "").any())


OF_TESTS = frozenset({"rejection", "size_adjusted_power", "type_s", "type_m"})
PlaceInDiagnosis = tuple[int, str, str, str]  # cell, estimator, term, error type ("" where the measure has none)


@dataclass(frozen=True, slots=True)
class Value:
    """A measure at a place with its Monte Carlo error, 95% interval, fits and worlds. null: the truth is exactly 0."""

    place: PlaceInDiagnosis
    value: float
    mcse: float
    lower: float
    upper: float
    n: int
    attempted: int
    worlds: int
    null: bool

    def departs(self, measure: ShownMeasure, alpha: float) -> bool:
        """Whether it is clearly not what it should be (`results.verdict.wording`)."""
        if measure.nominal is None or (measure.name != "size" and measure.column == "rejection"):
            return False
        row: dict[Any, Any] = {
            measure.column: self.value,
            f"{measure.column}_mcse": self.mcse,
            "n": self.n,
            "worlds": self.worlds,
        }
        if measure.share and measure.column != "relative_bias":
            return is_off(row, measure.column, measure.nominal(alpha))
        return is_clear(self, measure.nominal(alpha))

    def text(self, measure: ShownMeasure) -> str:
        """Value (MCSE), in percent of a share."""
        if measure.column == "relative_bias":
            return bracketed(100 * self.value, 100 * self.mcse, ".1f")
        if measure.share:
            return share_text(self.value, self.mcse, self.lower, self.upper)
        return bracketed(self.value, self.mcse, fixed((self.value,), self.mcse))


def is_clear(value: Value, nominal: float) -> bool:
    """Whether a number that is no share is clear of its nominal value."""
    return value.n >= LEAST_FITS and abs(value.value - nominal) > clear(value.worlds) * value.mcse


@dataclass(frozen=True)  # without slots: what is worked out of its values is asked for at every mark
class Dial:
    """A dial of the grid with several values, in order. at: which of them each cell has; names: as text."""

    name: str
    values: tuple[object, ...]
    at: tuple[int, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Its values as text."""
        return tuple(map(dial_text, self.values))

    @property
    def words(self) -> str:
        """Its name as an axis or title has it."""
        return plain_dial(self.name)

    @cached_property
    def is_number(self) -> bool:
        """Whether it is an axis: all values are numbers."""
        return all(isinstance(value, int | float) and not isinstance(value, bool) for value in self.values)

    @cached_property
    def places(self) -> tuple[float, ...]:
        """Where its values stand on an axis: themselves, or their ranks where some would fall together."""
        if not self.is_number:
            return tuple(map(float, range(len(self.values))))
        numbers = [float(value) for value in self.values]  # type: ignore[arg-type]
        gaps = [b - a for a, b in pairwise(numbers)]
        crowded = bool(gaps) and min(gaps) * 20 < max(gaps)
        return tuple(map(float, range(len(numbers)))) if crowded else tuple(numbers)


def place_of(grid: Sequence[Dial], cell: int) -> str:
    """The value of each dial in a cell, in words: "effect 0.1, autocorrelation of errors 0.4"."""
    return ", ".join(f"{dial.words} {dial.names[dial.at[cell]]}" for dial in grid)


def dial_text(value: object) -> str:
    """A dial's value as text."""
    return "none" if value is None else dial_value(value)


def dials(cells: Sequence[Mapping[str, object]], wanted: Iterable[int] | None = None) -> list[Dial]:
    """The dials that have several values over (some of) the cells, in the order of the grid."""
    chosen = range(len(cells)) if wanted is None else list(wanted)
    found = []
    for name in dial_names(cells):
        texts = [repr(cell.get(name)) for cell in cells]
        values = {texts[cell]: cells[cell].get(name) for cell in chosen}
        if len(values) > 1:
            order = _ordered(values)
            at = {text: k for k, text in enumerate(order)}
            found.append(Dial(name, tuple(values[text] for text in order), tuple(at.get(text, -1) for text in texts)))
    return found


def _ordered(values: Mapping[str, object]) -> list[str]:
    """Numbers by size, all else as it appears."""
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values.values()):
        return sorted(values, key=lambda text: float(values[text]))  # type: ignore[arg-type]
    return list(values)


def lead_terms(diagnosis: Diagnosis, term: str | None = None) -> dict[str, str]:
    """The term that is shown of each estimator: the one asked for, where it has it, else its first key term."""
    if term is not None:
        return {name: term for name, layout in diagnosis.layouts.items() if term in layout.terms}
    return {name: key_terms(layout)[0] for name, layout in diagnosis.layouts.items()}


def values_of(
    diagnosis: Diagnosis, measure: ShownMeasure, terms: Mapping[str, str], sample: str = "own"
) -> list[Value]:
    """The measure's values of these terms (by estimator), where it is defined, in the order of cells and estimators."""
    frame = diagnosis.frame
    keep = (frame["sample"] == sample) & frame["term"].isin(set(terms.values()))
    frame = frame[keep & frame["measure"].isin({measure.column, "truth"})]
    columns = ("cell", "estimator", "term", "error", "measure", "value", "mcse", "lower", "upper", "n", "attempted",
               "worlds")  # fmt: skip
    nulls: dict[tuple[int, str], bool] = {}
    found: list[tuple[Any, ...]] = []
    for cell, name, term, error, column, *numbers in zip(*(frame[key].tolist() for key in columns), strict=True):
        if terms.get(name) != term:
            continue
        if column == "truth":
            nulls[cell, name] = numbers[0] == 0 and numbers[1] == 0
        if column == measure.column and math.isfinite(numbers[0]):
            found.append(((cell, name, term, error), *numbers))
    tested = measure.column not in OF_TESTS
    return [Value(*(*one, nulls.get(one[0][:2]) is True)) for one in found
            if _is_wanted(measure.where, nulls.get(one[0][:2])) and (tested or has_test(one[0][2]))]  # fmt: skip


def _is_wanted(where: Where, null: bool | None) -> bool:
    """Whether a measure is defined where the truth is 0 (True), another (False) or unknown (None)."""
    return where == "all" or (null is not None and (where == "known" or null))


def lines_of(values: Sequence[Value]) -> dict[tuple[str, str], str]:
    """What each (estimator, error type) is called: by what tells it from the others."""
    keys = list(dict.fromkeys((value.place[1], value.place[3]) for value in values))
    several, errors = len({name for name, _ in keys}) > 1, {error for _, error in keys}
    many = {name for name, _ in keys if len({error for one, error in keys if one == name}) > 1}
    if not several:
        return {(name, error): plain_error(error) if len(errors) > 1 else name for name, error in keys}
    return {(name, error): _line_of(name, error) if name in many else name for name, error in keys}


def _line_of(name: str, error: str) -> str:
    """An estimator with one of its error types: in words where a picture has room for them."""
    words = f"{name}, {plain_error(error)}"
    return words if len(words) <= LONGEST else f"{name}, {error}"


def subject_of(values: Sequence[Value]) -> str:
    """The estimator and error type that all values have in common, in words; "" where they have neither."""
    names, errors = {value.place[1] for value in values}, {value.place[3] for value in values}
    parts = [f"estimator {name}" for name in names if len(names) == 1]
    parts += [error_words(error) for error in errors if len(errors) == 1 and error]
    return " with ".join(parts)


# Names of terms and error types that a user asks pictures and tables for, held to what a diagnosis has.


def check_names(diagnosis: Diagnosis, where: str, term: str | None = None, error: str | None = None) -> None:
    """Raise BadInput for a term or an error type that no estimator has; None is one that was not asked for."""
    layouts = diagnosis.layouts.values()
    terms = [name for layout in layouts for name in layout.terms]
    errors = [name for layout in layouts for name in layout.errors]
    for kind, what, value, names in (("term", "term", term, terms), ("error", "error type", error, errors)):
        known = list(dict.fromkeys(names))
        if value is not None and value not in known:
            raise bad(f"no estimator has the {what} {value!r}", where=f"{where}, {kind}", allowed=one_of(known, value),
                      remedy=closest(value, known))  # fmt: skip
