"""Pictures of a diagnosis in Python: `diagnosis.plot.power()` and its like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from results.charts.chart import Chart
from results.charts.curves import fits_one_picture, measure_chart
from results.charts.grid import dials
from results.charts.measure import measures_of
from results.charts.nested import nested_chart
from results.charts.replications import replication_charts
from results.charts.terms import checked_error, checked_term
from results.diagnosis.diagnose import Diagnosis
from results.pivots.pivot import measure_named, resolved
from results.store.block import Records
from sim.errors import bad, one_of

if TYPE_CHECKING:
    from results.charts.picture import Picture


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
    checked_term(diagnosis, term, where)
    checked_error(diagnosis, error, where)
    chart = measure_chart(diagnosis, asked, term=term, error=error, axis=_axis(diagnosis, axis, where))
    if chart is not None and not fits_one_picture(chart):
        chart = nested_chart(diagnosis, asked, term=term, error=error) or chart
    if chart is None:
        raise bad(f"{measure} has no value in any cell", where=where, allowed=asked.words,
                  remedy="choose another measure or term")  # fmt: skip
    return chart


def _axis(diagnosis: Diagnosis, axis: str | None, where: str) -> str | None:
    """The full name of a dial with several numbers; raises BadInput for another."""
    if axis is None:
        return None
    (name,) = resolved(diagnosis, [axis], f"{where}, axis")
    numbers = [dial.name for dial in dials(diagnosis.cells) if dial.is_number]
    if name not in numbers:
        raise bad(f"{axis!r} is no dial with several numbers", where=f"{where}, axis", allowed=one_of(numbers),
                  remedy="choose a dial with several numbers, or leave axis out")  # fmt: skip
    return name


def _of_replications(diagnosis: Diagnosis, records: Records, term: str | None, form: str) -> Chart:
    checked_term(diagnosis, term, f"plot.{form}")
    for chart in replication_charts(records, diagnosis, term=term):
        if chart.form == form:
            return chart
    raise bad("no interval is known", where=f"plot.{form}", allowed="estimators with standard errors or intervals",
              remedy="choose another term")  # fmt: skip


def _drawn(chart: Chart) -> Picture:
    from results.charts.paper import picture_of  # matplotlib is slow to import

    return picture_of(chart)
