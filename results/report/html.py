"""The report of a study as one HTML file that needs nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
from markupsafe import Markup

from estimators.core.estimator import Layout
from results.diagnosis.diagnose import Diagnosis
from results.page import page
from results.plots.chart import Chart, Facet, figure
from results.plots.grid import (
    MEASURES,
    ShownMeasure,
    dials,
    fits_one_picture,
    lead_terms,
    measure_chart,
    measures_of,
    nested_chart,
    values_of,
)
from results.report.grids import (
    BRIEFLY,
    MARKS,
    NOT_JUDGED,
    ReportFacts,
    ShortTable,
    glances,
    opened_by,
    short_table,
    side_tests,
)
from results.report.pivot import Pivot, default_pivot, pivot_html, with_key
from results.text import joined, plain_dial, plain_error, varying
from results.verdict.answer import answer, fixed_sentence, worlds_reached
from results.verdict.verdicts import (
    LEAST_FITS,
    NORMAL,
    TOO_FEW,
    Grade,
    bias_table,
    departures,
    failures,
    has_test,
    in_order,
    key_terms,
    own_text,
    row_texts,
    settings,
)
from sim.design import null_hypothesis

# The table of all cells: one row a cell, estimator, term and error type, the cell's dials in columns.


MOST_ROWS = 1500  # of the table in a page; beyond, only the first term of each estimator, then none
TOO_LONG = 2500


def cell_table(diagnosis: Diagnosis, table: pd.DataFrame) -> dict[str, Any]:
    """A bias table as text: its `rows`, the names of their `dials`, and how many are `left_out` for want of room.

    In a row `flags` names the measures that clearly depart.
    """
    dialled = dials(diagnosis.cells)
    kept = table[table["attempted"].notna()]
    if len(kept) > MOST_ROWS:
        lead = lead_terms(diagnosis)
        kept = kept[[lead[name] == term for name, term in zip(kept["estimator"], kept["term"], strict=True)]]
    if len(kept) > TOO_LONG:
        kept = kept.iloc[:0]
    rows = []
    for row in kept.to_dict("records"):
        own_ones = {name: own_text(row, name) for name in diagnosis.own}
        settings = tuple(dial.names[dial.at[row["cell"]]] for dial in dialled)
        about = {"dials": settings, "purpose": purpose([diagnosis.layouts[row["estimator"]]], row["term"])}
        rows.append(row_texts(row, diagnosis.alpha) | own_ones | about)
    return {"dials": [dial.name for dial in dialled], "rows": rows, "left_out": len(table) - len(kept)}


def purpose(layouts: Sequence[Layout], term: str) -> str:
    """What a term is for: "estimates att, beta(did)", "tests rho = 0"; "" where that has no name."""
    named = [layout for layout in layouts if layout.targets.get(term)]
    estimated = dict.fromkeys(layout.targets[term] for layout in named if not layout.tests)
    tested = dict.fromkeys(null_hypothesis(layout.targets[term]) for layout in named if layout.tests)
    parts = (("estimates", estimated), ("tests", tested))
    return "; ".join(f"{verb} {', '.join(names)}" for verb, names in parts if names)


# The pictures and pivots of a report: first what answers the question, then the rest, folded.


FOLDED = ("power", "size", "coverage", "bias", "rmse", "empirical_se", "se_error")
OF_A_TERM = ("bias", "coverage", "size", "power")
CHARTED = 8  # further key terms with pictures; the rest is left to the tables
MANY_DIALS = 3  # from which on every cell is shown at once too
LONG = 26  # rows of a table from which on it is folded


@dataclass(frozen=True, slots=True)
class PagePart:
    """Pictures and tables under one heading."""

    title: str
    charts: tuple[Chart, ...]
    pivots: tuple[Pivot, ...] = ()
    says: str = ""


def pictures_of(diagnosis: Diagnosis, measure: ShownMeasure, term: str | None = None) -> list[Chart]:
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


def every_cell(diagnosis: Diagnosis, measure: ShownMeasure, term: str | None = None) -> list[Chart]:
    """The nested-loop picture of a grid of many dials; none of others."""
    if len(dials(diagnosis.cells)) < MANY_DIALS:
        return []
    nested = nested_chart(diagnosis, measure, term=term)
    return [] if nested is None else [nested]


def folded_parts(
    diagnosis: Diagnosis, lead: ShownMeasure, term: str | None, further: Sequence[Chart] = ()
) -> Iterator[PagePart]:
    """The other measures, every cell at once, single replications, the other terms."""
    for measure in [MEASURES[name] for name in FOLDED] + [measures_of(diagnosis)[name] for name in diagnosis.own]:
        if measure is not lead or term is not None:
            charts, table = pictures_of(diagnosis, measure), default_pivot(diagnosis, measure)
            if charts and table is not None:
                yield PagePart(measure.short, tuple(charts), (table,), measure.words)
    shown = {chart.key for chart in pictures_of(diagnosis, lead, term)}
    for nested in every_cell(diagnosis, lead, term):
        if nested.key not in shown:
            yield PagePart("Every cell at once", (nested,), (), f"nested loops of {lead.short.lower()}")
    if further:
        yield PagePart("Single replications", tuple(further), (), "; ".join(chart.title.lower() for chart in further))
    firsts = set(lead_terms(diagnosis).values())
    terms = in_order(one for layout in diagnosis.layouts.values() for one in key_terms(layout))
    for other in [one for one in terms if one not in firsts and has_test(one)][:CHARTED]:
        charts = [
            chart
            for name in OF_A_TERM
            for chart in pictures_of(diagnosis, MEASURES[name], other)
            if chart.key not in shown
        ]
        if charts:
            yield PagePart(f"Term {other}", tuple(charts), (), purpose(list(diagnosis.layouts.values()), other))


# The first screen: the claims, the worst first, beside one picture.


def first_picture(charts: Sequence[Chart]) -> Chart | None:
    """What stands beside the claims: the first picture, or of several panels the one that departs most.

    None where there is no picture.
    """
    if not charts:
        return None
    chart = charts[0]
    if len(chart.panels) == 1:
        return chart
    known = [point for panel in chart.panels for point in panel.points if math.isfinite(point.value)]
    nominal = chart.references[0][0] if chart.references else 0.0
    far = max(known, key=lambda point: (point.clear, abs(point.value - nominal)), default=None)
    panel = next((panel for panel in chart.panels if far in panel.points), chart.panels[0])
    title = f"{chart.title}, {panel.title}" if panel.title else chart.title
    return replace(chart, key=f"{chart.key}-first", title=title, panels=(Facet("", panel.series),))


def keys_of(diagnosis: Diagnosis) -> dict[str, str]:
    """Dials and error types that have another name in words, by their keys."""
    errors = dict.fromkeys(error for layout in diagnosis.layouts.values() for error in layout.errors)
    found = {name: plain_dial(name) for name in varying(diagnosis.cells)} | {one: plain_error(one) for one in errors}
    return {key: words for key, words in found.items() if words.lower() != key.lower()}


CLASSES = {Grade.FAILS: "departs", Grade.OPEN: "open", Grade.HARMLESS: "open", Grade.HOLDS: "holds", Grade.STATED: ""}


def grid_html(table: ShortTable) -> Markup:
    """A table of marks: numbers as the terminal has them, coloured by their marks."""
    names, columns = table.heads[: table.names], table.heads[table.names :]
    heads = Markup("").join(Markup('<th scope="col" class="left">{}</th>').format(name) for name in names)
    heads += Markup("").join(Markup('<th scope="col">{}</th>').format(name) for name in columns)
    above = Markup('<tr class="over"><td colspan="{}"></td><th scope="colgroup" colspan="{}" class="group"><span>{}'
                   "</span></th></tr>").format(table.names, len(columns), with_key(table.dial)
                                               ) if table.dial else Markup("")  # fmt: skip
    rows = []
    for own, entries in table.rows:
        cells = Markup("").join(Markup('<th scope="row" class="left">{}</th>').format(text) for text in own)
        cells += Markup("").join(
            Markup('<td class="{}">{}<span class="sign">{}</span></td>').format(
                CLASSES[entry.grade], entry.text, entry.marked(MARKS).removeprefix(entry.text).strip())
            for entry in entries)  # fmt: skip
        rows.append(Markup("<tr>{}</tr>").format(cells))
    return Markup('<div class="wide dense pivot marks" tabindex="0" role="region" aria-label="{0}">\n<table><caption>'
                  "{0}</caption><thead>{1}<tr>{2}</tr></thead>\n<tbody>{3}</tbody></table></div>").format(
        table.title, above, heads, Markup("\n").join(rows))  # fmt: skip


__all__ = ["ReportFacts", "html_report"]

GRID_ROWS = 14  # of a table of marks, from which on it is folded
SHORT_LIST = 8  # rows of a list from which on it is folded


def html_report(diagnosis: Diagnosis, about: ReportFacts, *, lead: ShownMeasure | None = None,
                pivots: Sequence[Pivot] = (), further: Sequence[Chart] = ()) -> str:  # fmt: skip
    """Verdict, the picture and table that answer the question, then the rest, folded; no links to other files.

    lead: the measure of the first picture, else the one that the study asks for. pivots: tables asked for. further:
    pictures of single replications. One inline script makes tables sortable; without it everything is read as it is.
    """
    table = bias_table(diagnosis)
    attempted = table["attempted"].dropna()
    names = [name or "all draws" for name in settings(diagnosis)]
    found, fixed = answer(diagnosis, table), fixed_sentence(diagnosis)
    measure, term = (lead, None) if lead is not None else opened_by(diagnosis, found)
    # what answers the question: its pictures, and the tables asked for or else one of the same measure
    charts, default = pictures_of(diagnosis, measure, term), default_pivot(diagnosis, measure, term)
    terms = dict.fromkeys(lead_terms(diagnosis, term).values())
    purposes = ((one, purpose(list(diagnosis.layouts.values()), one)) for one in terms)
    says = "; ".join(f"{one} {what}" for one, what in purposes if what)
    shown = PagePart(measure.short, tuple(charts), tuple(pivots) or ((default,) if default is not None else ()), says)
    held = {(one.title, one.down, one.across) for one in shown.pivots}
    parts = [replace(part, pivots=tuple(one for one in part.pivots if (one.title, one.down, one.across) not in held))
             for part in folded_parts(diagnosis, measure, term, further)]  # fmt: skip
    draw = page("results.report", figure=figure, pivot=pivot_html, grid=grid_html, named=with_key)
    return draw.get_template("report.html").render(
        about=about,
        alpha=diagnosis.alpha,
        departures=departures(diagnosis.alpha, worlds_reached(diagnosis)) + f" {NORMAL}" * diagnosis.normal,
        worlds=worlds_reached(diagnosis),
        held_fixed=joined(diagnosis.held_fixed),
        too_few=TOO_FEW,
        least_fits=LEAST_FITS,
        cells=len(diagnosis.cells),
        own=diagnosis.own,
        replications="" if attempted.empty else f"{int(attempted.max()):,}",
        answer=found,
        glances=sorted(
            glances(found, diagnosis.cells, diagnosis.alpha),
            key=lambda item: (-item.grade.rank, item.measure != measure.name),
        ),
        marks=MARKS,
        classes=CLASSES,
        briefly=BRIEFLY,
        fixed=fixed,
        notes=[note for note in (note.removeprefix(fixed).strip() for note in found.notes) if note],
        grids=[short_table(part, diagnosis.cells, plain_dial) for part in found.claims],
        keys=keys_of(diagnosis),
        first=first_picture(shown.charts),
        lead=shown,
        parts=parts,
        long=LONG,
        asked=bool(pivots),
        short_list=SHORT_LIST,
        grid_rows=GRID_ROWS,
        table=cell_table(diagnosis, table),
        common=cell_table(diagnosis, bias_table(diagnosis, sample="common")),
        not_judged=NOT_JUDGED,
        beside=[(names[cell], *rest) for cell, *rest in side_tests(diagnosis)],
        passing=cell_table(diagnosis, bias_table(diagnosis, sample="passing")),
        failures=[(names[cell], *rest) for cell, *rest in failures(diagnosis)],
        script=Markup(draw.get_template("tables.js").render()),
    )  # fmt: skip
