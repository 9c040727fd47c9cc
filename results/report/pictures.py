"""The pictures and pivots of a report: first what answers the question, then the rest, folded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from results.charts.chart import Chart
from results.charts.curves import fits_one_picture, measure_chart
from results.charts.grid import dials, lead_terms, values_of
from results.charts.measure import MEASURES, Measure, measures_of
from results.charts.nested import nested_chart
from results.diagnosis.diagnose import Diagnosis
from results.pivots.pivot import Pivot, default_pivot
from results.report.bias_table import in_order, key_terms
from results.report.numbers import has_test
from sim.estimands import null_hypothesis

FOLDED = ("power", "size", "coverage", "bias", "rmse", "empirical_se", "se_error")
OF_A_TERM = ("bias", "coverage", "size", "power")
CHARTED = 8  # further key terms with pictures; the rest is left to the tables
MANY_DIALS = 3  # from which on every cell is shown at once too
LONG = 26  # rows of a table from which on it is folded


@dataclass(frozen=True, slots=True)
class Part:
    """Pictures and tables under one heading."""

    title: str
    charts: tuple[Chart, ...]
    pivots: tuple[Pivot, ...] = ()
    says: str = ""


def pictures_of(diagnosis: Diagnosis, measure: Measure, term: str | None = None) -> list[Chart]:
    """The measure over the grid in one picture, one an error type where the lines have no room in one."""
    chart = measure_chart(diagnosis, measure, term=term)
    if chart is None:
        return []
    if fits_one_picture(chart):
        return [chart]
    errors = dict.fromkeys(value.place[3] for value in values_of(diagnosis, measure, lead_terms(diagnosis, term)))
    found = [measure_chart(diagnosis, measure, term=term, error=error) for error in errors]
    if all(one is not None and fits_one_picture(one) for one in found):
        return [one for one in found if one is not None]
    nested = [nested_chart(diagnosis, measure, term=term, error=error) for error in errors]
    return [one for one in nested if one is not None]


def every_cell(diagnosis: Diagnosis, measure: Measure, term: str | None = None) -> list[Chart]:
    """The nested-loop picture of a grid of many dials; none of others."""
    if len(dials(diagnosis.cells)) < MANY_DIALS:
        return []
    nested = nested_chart(diagnosis, measure, term=term)
    return [] if nested is None else [nested]


def lead_part(diagnosis: Diagnosis, measure: Measure, term: str | None, pivots: Sequence[Pivot] = ()) -> Part:
    """What answers the question: its pictures, and the tables asked for or else one of the same measure."""
    table = default_pivot(diagnosis, measure, term)
    tables = tuple(pivots) or ((table,) if table is not None else ())
    terms = dict.fromkeys(lead_terms(diagnosis, term).values())
    purposes = ((one, _purpose(diagnosis, one)) for one in terms)
    says = "; ".join(f"{one} {purpose}" for one, purpose in purposes if purpose)
    return Part(measure.short, tuple(pictures_of(diagnosis, measure, term)), tables, says)


def folded_parts(
    diagnosis: Diagnosis, lead: Measure, term: str | None, further: Sequence[Chart] = ()
) -> Iterator[Part]:
    """The other measures, every cell at once, single replications, the other terms."""
    for measure in [MEASURES[name] for name in FOLDED] + [measures_of(diagnosis)[name] for name in diagnosis.own]:
        if measure is not lead or term is not None:
            charts, table = pictures_of(diagnosis, measure), default_pivot(diagnosis, measure)
            if charts and table is not None:
                yield Part(measure.short, tuple(charts), (table,), measure.words)
    shown = {chart.key for chart in pictures_of(diagnosis, lead, term)}
    for nested in every_cell(diagnosis, lead, term):
        if nested.key not in shown:
            yield Part("Every cell at once", (nested,), (), f"nested loops of {lead.short.lower()}")
    if further:
        yield Part("Single replications", tuple(further), (), "; ".join(chart.title.lower() for chart in further))
    yield from _other_terms(diagnosis)


def _other_terms(diagnosis: Diagnosis) -> Iterator[Part]:
    lead = set(lead_terms(diagnosis).values())
    terms = in_order(term for layout in diagnosis.layouts.values() for term in key_terms(layout))
    others = [term for term in terms if term not in lead and has_test(term)]
    for term in others[:CHARTED]:
        charts = [chart for name in OF_A_TERM for chart in pictures_of(diagnosis, MEASURES[name], term)]
        if charts:
            yield Part(f"Term {term}", tuple(charts), (), _purpose(diagnosis, term))


def _purpose(diagnosis: Diagnosis, term: str) -> str:
    """What the estimators that have a term estimate or test by it; "" where that has no name."""
    layouts = [layout for layout in diagnosis.layouts.values() if layout.targets.get(term)]
    estimated = dict.fromkeys(layout.targets[term] for layout in layouts if not layout.tests)
    tested = dict.fromkeys(null_hypothesis(layout.targets[term]) for layout in layouts if layout.tests)
    parts = (("estimates", estimated), ("tests", tested))
    return "; ".join(f"{verb} {', '.join(names)}" for verb, names in parts if names)
