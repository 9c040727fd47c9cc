"""The report of a study as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from results.charts.chart import Chart
from results.charts.html import figure
from results.charts.measure import Measure
from results.diagnosis.diagnose import Diagnosis
from results.page import page
from results.pivots.html import pivot_html
from results.pivots.pivot import Pivot
from results.report.answer import answer
from results.report.beside import NOT_JUDGED, side_tests
from results.report.bias_table import bias_table, failures, settings
from results.report.cells import cell_table
from results.report.facts import ReportFacts
from results.report.lead import lead_of
from results.report.numbers import LEAST_FITS, TOO_FEW, departures
from results.report.pictures import LONG, folded_parts, lead_part
from results.report.worlds import said, worlds_reached

__all__ = ["ReportFacts", "html_report"]

SHORT_LIST = 8  # rows of a list from which on it is folded


def html_report(diagnosis: Diagnosis, about: ReportFacts, *, lead: Measure | None = None,
                pivots: Sequence[Pivot] = (), further: Sequence[Chart] = ()) -> str:  # fmt: skip
    """Verdict, the picture and table that answer the question, then the rest, folded; no links to other files.

    lead: the measure of the first picture, else the one that the study asks for. pivots: tables asked for. further:
    pictures of single replications. One inline script makes tables sortable; without it everything is read as it is.
    """
    table = bias_table(diagnosis)
    attempted = table["attempted"].dropna()
    names = [name or "all draws" for name in settings(diagnosis)]
    measure, term = (lead, None) if lead is not None else lead_of(diagnosis)
    draw = page("results.report", figure=figure, pivot=pivot_html)
    return draw.get_template("report.html").render(
        about=about,
        alpha=diagnosis.alpha,
        departures=departures(diagnosis.alpha, worlds_reached(diagnosis)),
        worlds=worlds_reached(diagnosis),
        held_fixed=said(diagnosis.held_fixed),
        too_few=TOO_FEW,
        least_fits=LEAST_FITS,
        cells=len(diagnosis.cells),
        own=diagnosis.own,
        replications="" if attempted.empty else f"{int(attempted.max()):,}",
        answer=answer(diagnosis, table),
        lead=lead_part(diagnosis, measure, term, pivots),
        parts=list(folded_parts(diagnosis, measure, term, further)),
        long=LONG,
        short_list=SHORT_LIST,
        table=cell_table(diagnosis, table),
        common=cell_table(diagnosis, bias_table(diagnosis, sample="common")),
        not_judged=NOT_JUDGED,
        beside=[(names[test.cell], test) for test in side_tests(diagnosis)],
        passing=cell_table(diagnosis, bias_table(diagnosis, sample="passing")),
        failures=[(names[cell], *rest) for cell, *rest in failures(diagnosis)],
        script=Markup(draw.get_template("tables.js").render()),
    )  # fmt: skip
