"""A diagnosis that answers in Python: tables, pictures, contrasts, labelled arrays, a summary."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from estimators.core.estimator import check_level, usual_error
from results.diagnosis.comparison import Target, contrast
from results.diagnosis.diagnose import Diagnosis
from results.diagnosis.diagnose import diagnose as reduce
from results.diagnosis.fits import with_normal
from results.plots.chart import Chart
from results.plots.grid import check_names, dial_text, dials, fits_one_picture, measure_chart, measures_of, nested_chart
from results.plots.replications import replication_charts
from results.report.grids import lead_of
from results.report.pivot import (
    ERROR,
    ESTIMATOR,
    TERM,
    Keys,
    Pivot,
    PivotCell,
    default_pivot,
    measure_named,
    pivot,
    resolved_names,
)
from results.store.block import Records
from results.store.labelled import axes_of, label, spread
from results.text import dial_names, level
from results.verdict.answer import answer
from results.verdict.verdicts import key_terms
from sim.errors import amount, bad, closest, listed, one_of, refuse, type_problems
from sim.panel import MOST_ROWS, Text, card

if TYPE_CHECKING:
    from results.plots.picture import Picture


# A diagnosis as labelled arrays of xarray: each measure by dials, estimator, term and error type.


KEYS = ("estimator", "term", "error")
SPREADS = ("mcse", "lower", "upper", "n")  # groups beside the values, which stand at the root


# Paired contrasts of two estimators in every cell of a grid.


def _target(records: Records, given: str | Target, argument: str) -> Target:
    """A triple as it is; of an estimator its key term and its usual error type."""
    if not isinstance(given, str):
        if not isinstance(given, tuple | list) or len(given) != 3:
            raise bad(f"{given!r}", where=f"contrast {argument}", remedy="give one of the two",
                      allowed="an estimator, or (estimator, term, error type)")  # fmt: skip
        return given
    if given not in records.layouts:
        raise bad(f"no estimator {given!r}", where=f"contrast {argument}", allowed=one_of(records.layouts, given),
                  remedy=closest(given, records.layouts))  # fmt: skip
    layout = records.layouts[given]
    return given, key_terms(layout)[0], usual_error(layout.errors)


# What a diagnosis says of itself, as text and in a notebook.


HEADS = {"truth": "truth", "bias": "bias", "empirical_se": "empirical s.e.", "mean_se": "mean s.e.",
         "coverage": "coverage", "rejection": "rejection"}  # fmt: skip


def _overview(diagnosis: Diagnosis) -> list[dict[str, Any]]:
    """Of each cell and estimator the key term: measures without error types, and with the usual one."""
    terms = {name: key_terms(layout)[0] for name, layout in diagnosis.layouts.items()}
    errors = {name: usual_error(layout.errors) for name, layout in diagnosis.layouts.items()}
    frame = diagnosis.frame[(diagnosis.frame["sample"] == "own") & diagnosis.frame["measure"].isin(set(HEADS))]
    found: dict[tuple[int, str], dict[str, Any]] = {}
    columns = (frame[name].tolist() for name in ("cell", "estimator", "term", "error", "measure", "value"))
    for cell, name, term, error, measure, value in zip(*columns, strict=True):
        if terms[name] == term and error in ("", errors[name]):
            blank = {"cell": cell, "estimator": name, "term": term} | dict.fromkeys(HEADS, math.nan)
            found.setdefault((cell, name), blank)[measure] = value
    return list(found.values())


# Pivot tables as pandas tables, with the dials' own values as labels.


NumberShown = Literal["value", "mcse", "lower", "upper", "n"]
PLACES = {ESTIMATOR: 1, TERM: 2, ERROR: 3}  # of a value's place
NUMBERS: tuple[NumberShown, ...] = ("value", "mcse", "lower", "upper", "n")
SAMPLES = ("own", "common", "passing")


def frame_of(found: Pivot, diagnosis: Diagnosis, number: NumberShown = "value") -> pd.DataFrame:
    """A pivot table of one number of its cells; NaN where the measure is not defined."""
    down = _labels(diagnosis, found.down, found.rows, found.cells)
    across = _labels(diagnosis, found.across, found.columns, zip(*found.cells, strict=True))
    values = [[float("nan") if cell is None else float(getattr(cell.value, number)) for cell in row]
              for row in found.cells]  # fmt: skip
    if not found.across:
        across = pd.Index([found.measure.name])
    return pd.DataFrame(values, pd.RangeIndex(1) if not found.down else down, across)


def _labels(diagnosis: Diagnosis, names: Keys, keys: Sequence[Keys],
            lines: Iterable[Sequence[PivotCell | None]]) -> pd.Index:  # fmt: skip
    """The keys of rows or columns with the dials' values in place of their text."""
    found = []
    for _, line in zip(keys, lines, strict=True):
        key: list[object] = []
        cell = next(each for each in line if each is not None)  # a key is there because a value has it
        for name in names:
            if name in PLACES:
                key.append(cell.value.place[PLACES[name]])
                continue
            value = diagnosis.cells[cell.value.place[0]].get(name)
            key.append(value if isinstance(value, int | float | str) else dial_text(value))
        found.append(tuple(key))
    if len(names) == 1:
        return pd.Index([label for (label,) in found], name=names[0])
    return pd.MultiIndex.from_tuples(found, names=list(names)) if names else pd.Index([])


# Pictures of a diagnosis in Python: `diagnosis.plot.power()` and its like.


@dataclass(frozen=True, slots=True)
class Plots:
    """Pictures of one diagnosis, as figures of matplotlib that are saved by `.savefig`.

    term: of the estimators that have it, by default the key term of each. error: one error type of several. axis: the
    dial to draw against, by default the one with the most values. All raise BadInput for names that there are not.

    >>> import panelproof as pp
    >>> study = pp.Study("mine", pp.Paper(), (pp.TwoWayDID(),), {"effect": [0.0, 0.01]}, replications=64, block=64)
    >>> plot = pp.diagnose(pp.run(study)).plot
    >>> figures = plot.power(axis="effect"), plot.size(error="cluster:unit"), plot.zip(term="did"), plot("mean_se")
    """

    diagnosis: Diagnosis
    records: Records

    def __getattr__(self, name: str) -> Any:
        """Raise AttributeError for a picture that there is not, with the nearest one."""
        pictures = [each for each in vars(Plots) if not each.startswith("_")]
        own = "" if name.startswith("_") or name not in measures_of(self.diagnosis) else f'write plot("{name}")'
        raise AttributeError(f"no picture {name!r}; {own or closest(name, pictures, 'see dir(plot)')}")

    def __call__(self, measure: str, *, term: str | None = None, error: str | None = None,
                 axis: str | None = None) -> Picture:  # fmt: skip
        """Any measure of docs/measures.md, or one of your own."""
        return _drawn(chart_of(self.diagnosis, measure, term=term, error=error, axis=axis))

    def power(self, *, term: str | None = None, error: str | None = None, axis: str | None = None) -> Picture:
        """The share of tests that reject, against the true effect where the grid has one."""
        return self("power", term=term, error=error, axis=axis)

    def size(self, *, term: str | None = None, error: str | None = None, axis: str | None = None) -> Picture:
        """The share of tests that reject where the truth is 0."""
        return self("size", term=term, error=error, axis=axis)

    def coverage(self, *, term: str | None = None, error: str | None = None, axis: str | None = None) -> Picture:
        """The share of intervals that hold the truth."""
        return self("coverage", term=term, error=error, axis=axis)

    def bias(self, *, term: str | None = None, axis: str | None = None) -> Picture:
        """The mean of estimate minus truth with its Monte Carlo interval."""
        return self("bias", term=term, axis=axis)

    def rmse(self, *, term: str | None = None, axis: str | None = None) -> Picture:
        """The root mean squared error."""
        return self("rmse", term=term, axis=axis)

    def zip(self, *, term: str | None = None) -> Picture:
        """Intervals of some hundred replications, those that miss the truth in another colour."""
        return _drawn(_of_replications(self.diagnosis, self.records, term, "zip"))

    def scatter(self, *, term: str | None = None) -> Picture:
        """Estimates of some hundred replications against their standard errors."""
        return _drawn(_of_replications(self.diagnosis, self.records, term, "scatter"))


def chart_of(diagnosis: Diagnosis, measure: str, *, term: str | None = None, error: str | None = None,
             axis: str | None = None) -> Chart:  # fmt: skip
    """The picture of a measure as a record: curves or dots, nested loops where these have no room. Raises BadInput."""
    where = f"plot.{measure}"
    asked = measure_named(measures_of(diagnosis), measure, "plot")
    check_names(diagnosis, where, term, error)
    if axis is not None:
        (axis_name,) = resolved_names(diagnosis.cells, [axis], f"{where}, axis")
        numbers = [dial.name for dial in dials(diagnosis.cells) if dial.is_number]
        if axis_name not in numbers:
            raise bad(f"{axis!r} is no dial with several numbers", where=f"{where}, axis", allowed=one_of(numbers),
                      remedy="choose a dial with several numbers, or leave axis out")  # fmt: skip
        axis = axis_name
    chart = measure_chart(diagnosis, asked, term=term, error=error, axis=axis)
    if chart is not None and not fits_one_picture(chart):
        chart = nested_chart(diagnosis, asked, term=term, error=error) or chart
    if chart is None:
        raise bad(f"{measure} has no value in any cell", where=where, allowed=asked.words,
                  remedy="choose another measure or term")  # fmt: skip
    return chart


def _of_replications(diagnosis: Diagnosis, records: Records, term: str | None, form: str) -> Chart:
    check_names(diagnosis, f"plot.{form}", term)
    for chart in replication_charts(records, diagnosis, term=term):
        if chart.form == form:
            return chart
    raise bad("no interval is known", where=f"plot.{form}", allowed="estimators with standard errors or intervals",
              remedy="choose another term")  # fmt: skip


def _drawn(chart: Chart) -> Picture:
    from results.plots.picture import picture_of  # matplotlib is slow to import

    return picture_of(chart)


def diagnose(
    records: Records, alpha: float = 0.05, measures: Mapping[str, Callable[..., Any]] | None = None, *,
    normal: bool = False,
) -> Diagnosed:  # fmt: skip
    """Every measure of docs/measures.md; alpha is the level of tests and of intervals that are not stored.

    measures: functions of your own by name, as `results/diagnosis/own_measures.py` says; its `RejectionAt` and
    `Equivalence` test other hypotheses. normal: critical values of N(0,1) in place of those of t. Raises BadInput for
    faults of measures.

    >>> import panelproof as pp
    >>> study = pp.Study("mine", pp.Paper(), (pp.TwoWayDID(),), replications=64, block=64)
    >>> diagnosis = pp.diagnose(pp.run(study))
    >>> diagnosis.frame.query("measure == 'coverage' and term == 'did'")["error"].tolist()
    ['iid', 'hc1', 'cluster:unit']
    """
    if not hasattr(records, "blocks"):  # a protocol that no class says it has
        refuse(type_problems(records, (), "records", where="diagnose", allowed="what run or open_store returned",
                             remedy='open_store("runs/mine.zarr") opens a store'))  # fmt: skip
    found = reduce(records, check_level(alpha, "diagnose"), measures, normal=normal)
    kept = with_normal(records) if normal else records
    return Diagnosed(**{each.name: getattr(found, each.name) for each in fields(found)}, records=kept)


@dataclass(frozen=True, slots=True, eq=False)
class Diagnosed(Diagnosis):
    """A diagnosis with the records that it was made of.

    >>> import panelproof as pp
    >>> study = pp.Study(
    ...     "mine", pp.Paper(), (pp.TwoWayDID(),), {"effect": [0.0, 0.01]}, replications=128, block=64, worlds=2
    ... )
    >>> diagnosis = pp.diagnose(pp.run(study))
    """

    records: Records = field(kw_only=True, repr=False)

    def __repr__(self) -> str:
        return (f"Diagnosed({amount(len(self.cells), 'cell')}, {', '.join(self.layouts)}: "
                f"{amount(len(self.frame), 'measure')}; .table() and .plot show them, .frame holds them)")  # fmt: skip

    def table(self, rows: str | Sequence[str] = (), columns: str | Sequence[str] = (), measure: str = "", *,
              term: str | None = None, number: NumberShown = "value", sample: str = "own") -> pd.DataFrame:  # fmt: skip
        """One measure as a table. rows, columns: dials, "estimator", "term" or "error"; whatever else varies is added
        to the rows.

        measure: power, size, coverage, bias, rmse or another of docs/measures.md, by default the one that answers the
        study. term: by default the key term of each estimator. number: its value, its Monte Carlo error (mcse), an end
        of its 95% Monte Carlo interval (lower, upper), or the fits behind it (n). Raises BadInput for unknown names.

        >>> import panelproof as pp
        >>> study = pp.Study("mine", pp.Paper(), (pp.TwoWayDID(),), {"effect": [0.0, 0.01]}, replications=64, block=64)
        >>> diagnosis = pp.diagnose(pp.run(study))
        >>> table = diagnosis.table(rows="effect", columns="error", measure="power")
        >>> table.shape
        (2, 3)
        """
        names: dict[str, tuple[str, ...]] = {}
        for argument, given in (("rows", rows), ("columns", columns)):
            allowed = 'a dial, or several in brackets, such as ["effect", "estimator"]'
            refuse(type_problems(given, (str, list, tuple), argument, where="table", allowed=allowed))
            names[argument] = (given,) if isinstance(given, str) else tuple(given)
            refuse(problem for name in names[argument] for problem in
                   type_problems(name, str, f"one of {argument}", where="table", allowed=allowed))  # fmt: skip
        refuse(type_problems(measure, str, "measure", where="table", allowed='the name of one, such as "power"'))
        for name, value, known in (("number", number, NUMBERS), ("sample", sample, SAMPLES)):
            if value not in known:
                raise bad(f"{name} = {value!r}", where="table", allowed=one_of(known, value),
                          remedy=closest(value, known, "choose one of them"))  # fmt: skip
        check_names(self, "table", term)

        asked, lead_term = lead_of(self)
        if measure:
            asked, lead_term = measure_named(measures_of(self), measure, "table, measure"), None
        term = term or lead_term
        if names["rows"] or names["columns"] or sample != "own":
            found = pivot(self, asked, names["rows"], names["columns"], term=term, sample=sample)
        else:
            found = default_pivot(self, asked, term)
        if found is None:
            raise bad(f"{asked.name} has no value in any cell", where="table, measure", allowed=asked.words,
                      remedy="choose another measure, term or sample")  # fmt: skip
        return frame_of(found, self, number)

    @property
    def plot(self) -> Plots:
        """Pictures: `.plot.power()`, `.coverage()`, `.bias()`, `.size()`, `.rmse()`, `.zip()`, `.scatter()`, or
        `.plot("mean_se")` of any other measure; each is a figure of matplotlib.

        >>> import panelproof as pp
        >>> study = pp.Study("mine", pp.Paper(), (pp.TwoWayDID(),), {"effect": [0.0, 0.01]}, replications=64, block=64)
        >>> figure = pp.diagnose(pp.run(study)).plot.coverage()
        >>> figure.savefig("coverage.pdf")
        """
        return Plots(self, self.records)

    def contrast(self, a: str | Target, b: str | Target, *, cell: int | None = None) -> pd.DataFrame:
        """A minus B on the draws where both succeeded, with paired Monte Carlo errors, in every cell or in one.

        a, b: names of estimators, which stand for their key terms and usual errors, or (estimator, term, error type).
        Rows are the dials and measure (bias_difference, mse_difference, coverage_difference, relative_precision);
        columns value, mcse, lower, upper, n, attempted. Raises BadInput for unknown names.

        >>> import panelproof as pp
        >>> both = pp.TwoWayDID(), pp.TwoWayDID(errors=("iid",), label="iid")
        >>> diagnosis = pp.diagnose(pp.run(pp.Study("mine", pp.Paper(), both, replications=64, block=64)))
        >>> float(diagnosis.contrast("did", "iid").loc["bias_difference", "value"])
        0.0
        """
        records = self.records
        one, other = (_target(records, each, name) for name, each in (("a", a), ("b", b)))
        if cell is not None and cell not in range(len(records.cells)):
            raise bad(f"no cell {cell}", where="contrast", allowed=f"0 to {len(records.cells) - 1}",
                      remedy="choose one of them, or leave cell out")  # fmt: skip
        frames = []
        for number in range(len(records.cells)) if cell is None else [cell]:
            found = contrast(records, one, other, number, self.alpha)
            dials = records.cells[number].values()
            labels = [value if isinstance(value, int | float | str) else label(value) for value in dials]
            levels: list[Any] = [pd.Index([value] * len(found), name=name)
                                 for name, value in zip(self.parameters, labels, strict=True)]  # fmt: skip
            frames.append(found.set_index([*levels, "measure"]))
        return pd.concat(frames)

    def to_xarray(self, sample: str = "own") -> xr.DataTree:
        """Every measure by dials, estimator, term and error type; its `mcse`, `lower`, `upper` and `n` are groups.

        A measure has the dimensions that it needs; NaN where it is not defined. Raises BadInput for an unknown sample.

        >>> import panelproof as pp
        >>> study = pp.Study("mine", pp.Paper(), (pp.TwoWayDID(),), {"effect": [0.0, 0.01]}, replications=64, block=64)
        >>> found = pp.diagnose(pp.run(study)).to_xarray()
        >>> found["coverage"].dims
        ('effect', 'estimator', 'term', 'error')
        >>> found["mcse/bias"].dims
        ('effect', 'estimator', 'term')
        """
        frame = self.frame[self.frame["sample"] == sample]
        if frame.empty:
            known = self.frame["sample"].unique()
            raise bad(f"no sample {sample!r}", where="to_xarray", allowed=one_of(known),
                      remedy=closest(sample, known, "choose one of them"))  # fmt: skip
        axes = axes_of(self.cells, {*KEYS, *SPREADS, *frame["measure"].unique()})
        arrays: dict[str, dict[str, xr.DataArray]] = {name: {} for name in ("value", *SPREADS)}
        for measure, rows in frame.groupby("measure", sort=False):
            keys = [key for key in KEYS if key == "estimator" or (rows[key] != "").any()]
            labels = {key: list(dict.fromkeys(rows[key])) for key in keys}
            places = [rows[key].map({label: at for at, label in enumerate(labels[key])}).to_numpy() for key in keys]
            coordinates = dict(zip(axes.names, axes.values, strict=True)) | {key: np.array(labels[key]) for key in keys}
            for name, own in arrays.items():
                values = np.full((len(self.cells), *map(len, labels.values())), np.nan)
                values[(rows["cell"].to_numpy(), *places)] = rows[name].to_numpy(dtype=np.float64)
                own[str(measure)] = xr.DataArray(spread(values, axes, np.nan), coordinates, (*axes.names, *keys))
        found = {name: xr.Dataset(own) for name, own in arrays.items()}
        found["value"].attrs = {"alpha": self.alpha, "worlds": self.worlds, "held_fixed": ", ".join(self.held_fixed)}
        return xr.DataTree.from_dict({"/": found["value"], **{f"/{name}": found[name] for name in SPREADS}})

    def summary(self) -> Text:
        """The answer of the study in sentences, then one line an estimator, as text.

        >>> import panelproof as pp
        >>> study = pp.Study("mine", pp.Paper(), (pp.TwoWayDID(),), replications=64, block=64)
        >>> "did" in pp.diagnose(pp.run(study)).summary()
        True
        """
        dials = dial_names(self.cells)
        rows = _overview(self)
        named = [{name: label(self.cells[row["cell"]].get(name)) for name in dials} | row for row in rows]
        table = pd.DataFrame(named, columns=[*dials, "estimator", "term", *HEADS]).rename(columns=HEADS)
        lines = table.to_string(index=False, float_format="{:.4g}".format, na_rep="", max_rows=MOST_ROWS)
        said = answer(self)
        return Text("\n".join([*said.sentences, *said.notes, "", lines]).strip())

    def _repr_html_(self) -> str:
        """What was held fixed, and of each cell and estimator the key term's measures."""
        dials = dial_names(self.cells)
        heads = (*dials, "estimator", "term", *HEADS.values())
        rows = [(*(label(self.cells[row["cell"]].get(name)) for name in dials), row["estimator"], row["term"],
                 *(row[name] for name in HEADS)) for row in _overview(self)]  # fmt: skip
        facts = [
            ("cells", len(self.cells)),
            ("estimators", listed(self.layouts, 8)),
            ("level of tests", level(self.alpha)),
            ("distribution", "N(0,1) in place of t" if self.normal else ""),
            ("held fixed", ", ".join(self.held_fixed)),
        ]
        said = answer(self)
        return card("Diagnosis", facts, heads, rows, answer=[*said.sentences, *said.notes])
