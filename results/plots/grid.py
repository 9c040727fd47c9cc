"""The dials of a grid and the values of a measure over it, as pictures and pivots need them.

The pictures are curves against a dial, or dots where no dial is an axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, product
from typing import Any, Literal

from results.diagnosis.diagnose import PROPORTIONS, Diagnosis
from results.diagnosis.measures import MEANINGS
from results.plots.chart import (
    LONGEST,
    Axis,
    Chart,
    Facet,
    Loop,
    Point,
    Series,
    axis_of,
    key_of,
    percent,
    span,
)
from results.text import (
    bracketed,
    dial_names,
    dial_value,
    error_words,
    fixed,
    level,
    number,
    plain_dial,
    plain_error,
    share_text,
)
from results.verdict.verdicts import LEAST_FITS, clear, has_test, is_off, key_terms
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
    with_errors = set(diagnosis.frame.loc[diagnosis.frame["error"] != "", "measure"]) if diagnosis.own else set()
    own = {name: ShownMeasure(name, MEANINGS.get(name, name), name, name in with_errors) for name in diagnosis.own}
    return MEASURES | own


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
        """Whether it is clearly not what it should be (`results.verdict.verdicts`)."""
        if measure.nominal is None or (measure.name != "size" and measure.column == "rejection"):
            return False
        row: dict[Any, Any] = {
            measure.column: self.value,
            f"{measure.column}_mcse": self.mcse,
            "n_error": self.n,
            "worlds": self.worlds,
        }
        if measure.share and measure.column != "relative_bias":
            return is_off(row, measure.column, measure.nominal(alpha))
        # a number that is no share, against its Monte Carlo error
        return self.n >= LEAST_FITS and abs(self.value - measure.nominal(alpha)) > clear(self.worlds) * self.mcse

    def text(self, measure: ShownMeasure) -> str:
        """Value (MCSE), in percent of a share."""
        if measure.column == "relative_bias":
            return bracketed(100 * self.value, 100 * self.mcse, ".1f")
        if measure.share:
            return share_text(self.value, self.mcse, self.lower, self.upper)
        return bracketed(self.value, self.mcse, fixed((self.value,), self.mcse))


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
    """The dials that have several values over (some of) the cells, in the order of the grid; numbers by size."""
    chosen = range(len(cells)) if wanted is None else list(wanted)
    found = []
    for name in dial_names(cells):
        texts = [repr(cell.get(name)) for cell in cells]
        values = {texts[cell]: cells[cell].get(name) for cell in chosen}
        if len(values) > 1:
            order = list(values)
            if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values.values()):
                order.sort(key=lambda text: float(values[text]))  # type: ignore[arg-type]
            at = {text: k for k, text in enumerate(order)}
            found.append(Dial(name, tuple(values[text] for text in order), tuple(at.get(text, -1) for text in texts)))
    return found


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
    wanted = {"all": (True, False, None), "known": (True, False)}.get(measure.where, (True,))
    return [Value(*(*one, nulls.get(one[0][:2]) is True)) for one in found
            if nulls.get(one[0][:2]) in wanted and (tested or has_test(one[0][2]))]  # fmt: skip


def lines_of(values: Sequence[Value]) -> dict[tuple[str, str], str]:
    """What each (estimator, error type) is called: by what tells it from the others."""
    keys = list(dict.fromkeys((value.place[1], value.place[3]) for value in values))
    several, errors = len({name for name, _ in keys}) > 1, {error for _, error in keys}
    many = {name for name, _ in keys if len({error for one, error in keys if one == name}) > 1}
    if not several:
        return {(name, error): plain_error(error) if len(errors) > 1 else name for name, error in keys}
    named = {}
    for name, error in keys:
        words = f"{name}, {plain_error(error)}"
        both = words if len(words) <= LONGEST else f"{name}, {error}"  # where a picture has no room for words
        named[name, error] = both if name in many else name
    return named


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


PANELS = 12  # small multiples of one picture
LINES = 14  # direct labels that a panel has room for
WANTED_POWER = 0.8


CurveRoles = tuple[Dial | None, Dial | None, tuple[Dial, ...]]  # axis, lines (None: estimators), dials of panels


def measure_chart(diagnosis: Diagnosis, measure: ShownMeasure, *, term: str | None = None, error: str | None = None,
                  axis: str | None = None) -> Chart | None:  # fmt: skip
    """The measure over the whole grid; None where it is defined nowhere.

    term: of the estimators that have it, else each one's first key term. error: one error type of several. axis: the
    dial to draw against, else the one with the most values. Where one line would be drawn, the lines are a dial.
    """
    values = values_of(diagnosis, measure, lead_terms(diagnosis, term))
    if error is not None:
        values = [value for value in values if value.place[3] in {error, ""}]
    roles = _roles(diagnosis, measure, values, axis)
    if measure.name == "power" and not (roles[0] and _moves(roles[0], values)):
        values = [value for value in values if not value.null]  # no curve leads from size to power
        roles = _roles(diagnosis, measure, values, axis)
    if not values:
        return None
    (dial, lines, multiples), alpha = roles, diagnosis.alpha
    if dial is None:
        panels, places = _dots(values, multiples, measure, alpha)
    else:
        panels, places = _curves(values, dial, lines, multiples, measure, alpha)
    terms = [value.place[2] for value in values]  # the most frequent one comes first
    what = " or ".join(sorted(dict.fromkeys(terms), key=lambda term: -terms.count(term)))
    said: Mapping[str, str] = {
        "power": (
            f"Power: the share of {level(alpha)} tests of {what} that reject; where the truth is 0 this is the size."
        ),
        "size": f"Size: the share of {level(alpha)} tests of {what} that reject although the truth is 0.",
        "coverage": f"Coverage: the share of {level(1 - alpha)} intervals for {what} that hold the truth.",
        "bias": f"Bias of {what}: the mean of estimate minus truth; it should be 0.",
    }
    first = said.get(measure.name, f"{measure.short} of {what}: {measure.words}.")
    marked = " Filled marks depart clearly from the line." if measure.nominal is not None else ""
    return Chart(
        key_of(measure.name, what, error or "", "chart"), "dots" if dial is None else "curves",
        f"{measure.short} {'for' if measure.by_error else 'of'} {what}", places,
        value_axis(measure, values, alpha), panels, references(measure, alpha),
        f"{first} Bars are 95% Monte Carlo intervals.{marked}", subject_of(values),
    )  # fmt: skip


def references(measure: ShownMeasure, alpha: float) -> tuple[tuple[float, str], ...]:
    """The lines at values that matter: nominal, and of power the level and 80%."""
    if measure.name == "power":
        return (alpha, percent(alpha)), (WANTED_POWER, percent(WANTED_POWER))
    if measure.nominal is None:
        return ()
    nominal = measure.nominal(alpha)
    return ((nominal, percent(nominal) if measure.share else number(nominal)),)


def value_axis(measure: ShownMeasure, values: Sequence[Value], alpha: float) -> Axis:
    """An axis that holds all values with their intervals, and the nominal one; power and type S from 0 to 1."""
    ends = [end for value in values for end in (value.value, value.lower, value.upper)]
    if measure.name in {"power", "size_adjusted_power"}:
        low, high = 0.0, 1.0
    elif measure.nominal is not None:
        low, high = span([*ends, measure.nominal(alpha)])
    else:
        low, high = span([*ends, 0.0] if measure.share else ends)
    if measure.column in {"coverage", "bias_eliminated_coverage"}:
        low, high = max(min(low, 0.9), 0.0), 1.0
    if measure.name in {"size", "rejection", "type_s"}:
        low, high = 0.0, min(max(high, 2 * alpha), 1.0)
    return axis_of(measure.words, low, high, percent if measure.share else number)


def _roles(diagnosis: Diagnosis, measure: ShownMeasure, values: Sequence[Value], axis: str | None) -> CurveRoles:
    """The axis is a number with at least three values; a lone line gives its place to the dial with the most values."""
    grid = dials(diagnosis.cells, sorted({value.place[0] for value in values}))
    numbers = [dial for dial in grid if dial.is_number and (len(dial.values) > 2 or dial.name == axis)]
    if axis is not None:
        numbers = [dial for dial in numbers if dial.name == axis]
    if not numbers:
        return None, None, tuple(grid)
    effects = [dial for dial in numbers if _moves(dial, values)] if measure.where == "known" else []
    chosen = max(effects or numbers, key=lambda dial: len(dial.values))
    rest = [dial for dial in grid if dial is not chosen]
    by = max(rest, key=lambda dial: len(dial.values), default=None) if len(lines_of(values)) == 1 else None
    if by is not None and len(by.values) > LINES:
        by = None
    return chosen, by, tuple(dial for dial in rest if dial is not by)


def _moves(dial: Dial, values: Sequence[Value]) -> bool:
    """Whether the dial moves the truth away from 0: power is drawn against such a one."""
    by_level: dict[int, set[bool]] = {}
    for value in values:
        by_level.setdefault(dial.at[value.place[0]], set()).add(value.null)
    return len({frozenset(found) for found in by_level.values()}) > 1


def _by_setting(values: Sequence[Value], panels: Sequence[Dial]) -> list[tuple[str, list[Value]]]:
    """The values of each setting of some dials that has any, beside the setting in words, in the order of the grid."""
    found: dict[tuple[int, ...], list[Value]] = {
        setting: [] for setting in product(*(range(len(dial.values)) for dial in panels))
    }
    for value in values:
        found[tuple(dial.at[value.place[0]] for dial in panels)].append(value)
    return [(place_of(panels, here[0].place[0]), here) for here in found.values() if here]


def _curves(
    values: Sequence[Value], dial: Dial, by: Dial | None, multiples: Sequence[Dial], measure: ShownMeasure, alpha: float
) -> tuple[tuple[Facet, ...], Axis]:
    names = lines_of(values)
    panels = []
    for title, here in _by_setting(values, multiples):
        drawn: dict[tuple[str, int], list[Point]] = {}
        for value in here:
            cell, name, _, error = value.place
            line = ((f"{by.words} {by.names[by.at[cell]]}", by.at[cell]) if by is not None
                    else (names[name, error], list(names).index((name, error))))  # fmt: skip
            at = dial.at[cell]
            drawn.setdefault(line, []).append(
                point(value, measure, alpha, dial.places[at], f"{dial.words} {dial.names[at]}")
            )
        for points in drawn.values():  # a cell without the measure parts the line
            there = [one.at for one in points]
            points += [Point(place, math.nan, math.nan, math.nan, "") for place in dial.places
                       if min(there) < place < max(there) and place not in there]  # fmt: skip
        order = sorted(drawn, key=lambda line: line[1])
        series = (Series(*line, tuple(sorted(drawn[line], key=lambda one: one.at))) for line in order)
        panels.append(Facet(title, tuple(series)))
    places = list(zip(dial.places, dial.names, strict=True))  # as many are marked as there is room for
    step = -(-len(places) // 8)
    low, high = span(dial.places, 0.03)
    return tuple(panels), Axis(dial.words, low, high, tuple(places[::step]))


def _dots(
    values: Sequence[Value], multiples: Sequence[Dial], measure: ShownMeasure, alpha: float
) -> tuple[tuple[Facet, ...], Axis]:
    """One row an estimator and error type, one panel a cell."""
    names = lines_of(values)
    errors = list(dict.fromkeys(error for _, error in names))
    rows = {key: float(row) for row, key in enumerate(names)}
    panels = []
    for title, here in _by_setting(values, multiples):
        series = []
        for value in here:
            key = value.place[1], value.place[3]
            one = point(value, measure, alpha, rows[key], "")
            series.append(Series(names[key], errors.index(key[1]), (one,)))
        panels.append(Facet(title, tuple(series)))
    label = "estimator" if len({name for name, _ in names}) > 1 else "errors"
    marks = tuple((rows[key], names[key]) for key in names)
    return tuple(panels), Axis(label, -0.5, len(rows) - 0.5, marks)


def point(value: Value, measure: ShownMeasure, alpha: float, at: float, where: str) -> Point:
    """A value at a place of the picture."""
    text = value.text(measure)
    if measure.share:
        text = text.replace(" (", "% (") if " (" in text else f"{text}%"
    clear = value.departs(measure, alpha)
    said = f"{where}: {text}" if where else text
    return Point(at, value.value, value.lower, value.upper, said + ("!" if clear else ""), clear)


def fits_one_picture(chart: Chart) -> bool:
    """Whether its panels and lines have room; else the nested-loop picture shows it."""
    lines = max((len(panel.series) for panel in chart.panels), default=0)
    most = PANELS if chart.form == "dots" else PANELS + 4
    return len(chart.panels) <= most and (chart.form == "dots" or lines <= LINES) and math.isfinite(chart.values.low)


# The nested-loop picture: every cell of a grid of many dials from left to right, and below which value each dial
# has.
#
# Rücker and Schwarzer (2014, BMC Medical Research Methodology 14:129).


def nested_chart(diagnosis: Diagnosis, measure: ShownMeasure, *, term: str | None = None,
                 error: str | None = None) -> Chart | None:  # fmt: skip
    """One step a cell, in the order of the grid's dials, the first the slowest; None where the measure is undefined."""
    values = values_of(diagnosis, measure, lead_terms(diagnosis, term))
    if error is not None:
        values = [value for value in values if value.place[3] in {error, ""}]
    if not values:
        return None
    cells = sorted({value.place[0] for value in values})
    grid = dials(diagnosis.cells, cells)
    order = sorted(cells, key=lambda cell: tuple(dial.at[cell] for dial in grid))
    places = {cell: float(place) for place, cell in enumerate(order)}
    names = lines_of(values)
    series = []
    for kind, key in enumerate(names):
        points = [
            point(value, measure, diagnosis.alpha, places[cell := value.place[0]],
                  place_of(grid, cell))
            for value in values if (value.place[1], value.place[3]) == key
        ]  # fmt: skip
        series.append(Series(names[key], kind, tuple(sorted(points, key=lambda one: one.at))))
    loops = tuple(Loop(dial.words, tuple(dial.at[cell] for cell in order), dial.names) for dial in grid)
    what = " or ".join(dict.fromkeys(value.place[2] for value in values))
    axis = Axis("cells of the grid", -0.5, len(order) - 0.5, ())
    caption = (f"{measure.short} of {what} in all {len(order)} cells of the grid, from left to right: the first dial "
               "changes slowest. The steps below say which value each dial has there.")  # fmt: skip
    return Chart(
        key_of("nested", measure.name, what, error or ""), "nested", f"{measure.short} of {what} in every cell", axis,
        value_axis(measure, values, diagnosis.alpha), (Facet("", tuple(series)),),
        references(measure, diagnosis.alpha), caption, subject_of(values), loops,
    )  # fmt: skip
