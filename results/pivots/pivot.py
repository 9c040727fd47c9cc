"""A pivot table: one measure, some dials down and some across, every cell with its Monte Carlo error beneath."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from results.charts.chart import key_of
from results.charts.grid import Dial, Value, dials, grid_names, lead_terms, subject_of, values_of, words_of
from results.charts.measure import Measure
from results.diagnosis.diagnose import Diagnosis
from sim.errors import BadInput, Problem, closest, one_of

ESTIMATOR, TERM, ERROR = "estimator", "term", "error"
OTHERS = (ESTIMATOR, TERM, ERROR)  # what rows and columns may be besides dials
WIDEST = 8  # columns that a table has where the user does not say which
Keys = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PivotCell:
    """A value at its place, and how it is printed: its number, its Monte Carlo error, whether it clearly departs."""

    value: Value
    number: str
    mcse: str
    clear: bool


@dataclass(frozen=True, slots=True)
class Pivot:
    """The table. down, across: names of what rows and columns are; rows, columns: their keys in order.

    cells: one row a row key, one cell a column key, None where the measure is not defined. fixed: what all cells have
    in common besides the measure, in words. note: how to read a cell.
    """

    measure: Measure
    title: str
    down: Keys
    across: Keys
    rows: tuple[Keys, ...]
    columns: tuple[Keys, ...]
    cells: tuple[tuple[PivotCell | None, ...], ...]
    fixed: str
    note: str

    @property
    def key(self) -> str:
        """Its id in a page."""
        return key_of("pivot", self.measure.name, *self.down, *self.across)

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of the row keys, in words."""
        return tuple(words_of(name) for name in self.down)

    @property
    def column_heads(self) -> tuple[str, ...]:
        """What stands above each column, the name of a dial with its first value only."""
        if not self.across:
            return (self.measure.short,)
        return tuple(", ".join(map(_named, self.across, keys)) for keys in self.columns)

    @property
    def across_words(self) -> str:
        """What its columns are, in words."""
        return ", ".join(words_of(name) for name in self.across)

    @property
    def values(self) -> list[PivotCell]:
        """All its cells that hold a value."""
        return [cell for row in self.cells for cell in row if cell is not None]


def pivot(diagnosis: Diagnosis, measure: Measure, rows: Sequence[str] = (), columns: Sequence[str] = (), *,
          term: str | None = None, sample: str = "own") -> Pivot | None:  # fmt: skip
    """The table; None where the measure is defined nowhere.

    rows, columns: dials by name, "estimator", "term" or "error". Whatever else varies is added to the rows, so that no
    cell is an average over cells. Raises BadInput for names that are none, or that stand twice.
    """
    names = resolved(diagnosis, (*rows, *columns), "rows and columns")
    down, across = names[: len(rows)], names[len(rows) :]
    values = values_of(diagnosis, measure, lead_terms(diagnosis, term), sample)
    if not values:
        return None
    keys = _keys(diagnosis, values)
    varying = [name for name, key in keys.items() if len({key(value) for value in values}) > 1]
    lines = {value.place[1:] for value in values}  # an estimator has one term here, and may have one error type
    told = {TERM} if len(lines) > len({name for name, *_ in lines}) else {TERM, ERROR}
    down = (*down, *(name for name in varying if name not in {*names, *told}))
    ordered_rows, ordered_columns = (_ordered(diagnosis, values, keys, part) for part in (down, across))
    found: dict[tuple[Keys, Keys], PivotCell] = {}
    for value in values:
        place = tuple(keys[name](value) for name in down), tuple(keys[name](value) for name in across)
        found[place] = _cell(value, measure, diagnosis.alpha)
    cells = tuple(tuple(found.get((row, column)) for column in ordered_columns) for row in ordered_rows)
    what = " or ".join(dict.fromkeys(value.place[2] for value in values))
    title = f"{measure.short} {'for' if measure.by_error else 'of'} {what}"
    return Pivot(measure, title, down, across, ordered_rows, ordered_columns, cells, subject_of(values), _note(measure))


def pivot_by(diagnosis: Diagnosis, measure: Measure, names: Sequence[str], term: str | None = None) -> Pivot | None:
    """The table whose columns are the last of the names, and whose rows are all else; of one name alone its rows."""
    if len(names) > 1:
        return pivot(diagnosis, measure, names[:-1], names[-1:], term=term)
    lines = {value.place[1] for value in values_of(diagnosis, measure, lead_terms(diagnosis, term))}
    across = (ESTIMATOR,) if 1 < len(lines) <= WIDEST and ESTIMATOR not in names else ()
    return pivot(diagnosis, measure, names, across, term=term)


def default_pivot(diagnosis: Diagnosis, measure: Measure, term: str | None = None) -> Pivot | None:
    """The table whose columns are the dial with the most values that have room; all else stands down."""
    values = values_of(diagnosis, measure, lead_terms(diagnosis, term))
    grid = [dial for dial in dials(diagnosis.cells, sorted({value.place[0] for value in values}))
            if len(dial.values) <= WIDEST]  # fmt: skip
    across = (max(grid, key=lambda dial: len(dial.values)).name,) if grid else ()
    return pivot(diagnosis, measure, (), across, term=term)


def resolved(diagnosis: Diagnosis, names: Sequence[str], where: str) -> tuple[str, ...]:
    """Full names of dials, estimator, term and error from full or short ones ("serial" for "errors.serial").

    Raises BadInput with all faults at once.
    """
    return resolved_names(grid_names(diagnosis.cells), names, where)


def resolved_names(dials_of_grid: Sequence[str], names: Sequence[str], where: str) -> tuple[str, ...]:
    """The same from the names of the grid's dials."""
    every = [*dials_of_grid, *OTHERS]
    found, problems = [], []
    for name in names:
        fits = [name] if name in every else [one for one in every if name in (one.split(".")[0], one.split(".")[-1])]
        if len(fits) != 1:
            what = "no dial of this study's grid" if not fits else f"may mean {one_of(fits)}"
            problems.append(Problem(f"{name!r} is {what}" if not fits else f"{name!r} {what}", where=where,
                                    allowed=one_of(every), remedy=closest(name, every)))  # fmt: skip
        elif fits[0] in found:
            problems.append(Problem(f"{name!r} stands twice", where=where, allowed="each name once",
                                    remedy="name it once"))  # fmt: skip
        found += fits[:1]
    if problems:
        raise BadInput(*problems)
    return tuple(found)


def measure_named(measures: Mapping[str, Measure], name: str, where: str) -> Measure:
    """The measure of a name. Raises BadInput for none."""
    if name not in measures:
        raise BadInput(unknown_measure(measures, name, where))
    return measures[name]


def unknown_measure(measures: Iterable[str], name: str, where: str) -> Problem:
    """That a name is no measure's, and which there are."""
    return Problem(f"{name!r} is no measure", where=where, allowed=one_of(measures),
                   remedy=closest(name, measures))  # fmt: skip


def _named(name: str, key: str) -> str:
    """A key with the name of its dial; what is no dial says by itself what it is."""
    return key if name in OTHERS else f"{words_of(name)} {key}"


def _keys(diagnosis: Diagnosis, values: Sequence[Value]) -> dict[str, Callable[[Value], str]]:
    """How to read from a value each thing that rows and columns may be, in the order in which rows have them."""

    def of_dial(dial: Dial) -> Callable[[Value], str]:
        return lambda value: dial.names[dial.at[value.place[0]]]

    found = {dial.name: of_dial(dial) for dial in dials(diagnosis.cells, sorted({value.place[0] for value in values}))}
    constant = {name: str(cell[name]) for cell in diagnosis.cells for name in cell if name not in found}
    for name, text in constant.items():
        found[name] = lambda value, text=text: text  # type: ignore[misc]
    for k, name in enumerate(OTHERS, start=1):
        found[name] = lambda value, k=k: str(value.place[k])  # type: ignore[misc]
    return found


def _ordered(diagnosis: Diagnosis, values: Sequence[Value], keys: Mapping[str, Callable[[Value], str]],
             names: Sequence[str]) -> tuple[Keys, ...]:  # fmt: skip
    """The keys that occur, each thing in its own order: dials by value, the rest as it appears."""
    ranks: list[dict[str, int]] = []
    by_dial = {dial.name: dial.names for dial in dials(diagnosis.cells)}
    for name in names:
        order = by_dial.get(name) or tuple(dict.fromkeys(keys[name](value) for value in values))
        ranks.append({text: rank for rank, text in enumerate(order)})
    seen = dict.fromkeys(tuple(keys[name](value) for name in names) for value in values)
    return tuple(sorted(seen, key=lambda key: tuple(rank[text] for rank, text in zip(ranks, key, strict=True))))


def _cell(value: Value, measure: Measure, alpha: float) -> PivotCell:
    number, _, rest = value.text(measure).partition(" (")
    return PivotCell(value, number, rest.rstrip(")"), value.departs(measure, alpha))


def _note(measure: Measure) -> str:
    unit = "Percent. " if measure.share else ""
    unit += "Where the truth is 0, power is the size. " if measure.name == "power" else ""
    ends = " At 0 and 100% it is the other end of Wilson's 95% interval." if measure.share else ""
    error = "In brackets the Monte Carlo standard error."
    marked = " ! marks a clear departure." if measure.nominal is not None else ""
    return f"{unit}{error}{ends}{marked}"
