"""A picture as a figure of a page: small multiples that stand beside or, on a phone, below each other."""

from __future__ import annotations

from markupsafe import Markup

from results.charts.chart import Chart
from results.charts.svg import panel_svgs

COLUMNS = {1: "one", 2: "two", 4: "two"}  # otherwise as many as there is room for


def figure(chart: Chart) -> Markup:
    """The figure element with its title, panels and caption."""
    subject = Markup(" <small>{}</small>").format(chart.subject) if chart.subject else Markup("")
    css = COLUMNS.get(len(chart.panels), "many")
    panels = Markup("\n").join(panel_svgs(chart))
    return Markup('<figure class="picture" id="{}"><h3>{}{}</h3>\n<div class="panels {}">\n{}\n</div>\n'
                  "<figcaption>{}</figcaption></figure>").format(
        chart.key, chart.title, subject, css, panels, chart.caption)  # fmt: skip
