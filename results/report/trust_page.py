"""The page of `panelproof trust`: HTML that needs nothing else, from the numbers of trust.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from estimators.core.error_types import error_label
from results import text
from results.page import page
from results.plots.power_plot import PowerPlot, power_figure

ANSWERS = {"supported": "Supported", "not decided": "Not decided", "contradicted": "Contradicted",
           "no claim": "No claim"}  # fmt: skip
MARKS = {
    "supported": "holds",
    "not decided": "open",
    "contradicted": "departs",
    "no claim": "open",
    "consistent": "holds",
    "differs": "open",
    "cannot tell": "open",
    "contradicts": "departs",
}  # of the stylesheet


def number(value: float | None, digits: int = 3) -> str:
    """Significant digits, as few as a page of many numbers has room for."""
    return text.number(value, digits)


def trust_page(held: Mapping[str, Any]) -> str:
    """The page; held: trust.json as plain data."""
    pages = page("results.report", number=number, share=text.share, probability=text.probability,
                 p_value=text.p_value,
                 label=error_label)  # fmt: skip
    answer = held["verdict"]["answer"]
    return pages.get_template("trust.html").render(
        held=held, title=ANSWERS[answer], marks=MARKS, mark=MARKS[answer], figure=figure(held), advised=advised(held),
        printed=next(row for row in held["errors"] if row["printed"]), marked=marked(held), interval=text.interval,
        number=number, share=text.share, rows=[row for row in held["checks"] if row["difference"] is not None],
        facts=[row for row in held["checks"] if row["difference"] is None and row["severity"] > 0],
        silent=sum(row["difference"] is None and row["severity"] == 0 for row in held["checks"]),
    )  # fmt: skip


def advised(held: Mapping[str, Any]) -> Mapping[str, Any]:
    """The row of the recommended error type."""
    return next(row for row in held["errors"] if row["recommended"])


def marked(held: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Rows of the power table, in words: the effect that was asked for, half the estimate, the estimate, twice it."""
    estimate, asked = held["claim"]["estimate"], held["effect"]
    wanted = {"the effect asked for": asked["value"]} if asked["asked"] else {}
    wanted |= {"half the estimate": 0.5 * estimate, "the estimate": estimate, "twice the estimate": 2.0 * estimate}
    return [(words, min(held["power"], key=lambda row: abs(row["effect"] - effect)))
            for words, effect in wanted.items()]  # fmt: skip


def figure(held: Mapping[str, Any]) -> Markup:
    """The power curve."""
    rows, sign = held["power"], -1.0 if held["claim"]["estimate"] < 0 else 1.0
    plot = PowerPlot(
        [row["effect"] for row in rows], [row["power"] for row in rows], [row["mcse"] for row in rows],
        [(x, y) for x, y in held["curve"]], held["claim"]["estimate"], sign * held["mde"]["value"],
        held["mde"]["power"],
    )  # fmt: skip
    return Markup(power_figure(plot))


# The fidelity report of a twin as one HTML page that needs nothing else.


def fidelity_page(document: Mapping[str, Any], caution: str) -> str:
    """Parameters, features and what each twin misses; document: as `panelproof twin --json` prints it."""
    pages = page("results.report", number=text.number)
    rows = document["fidelity"]
    twins = [
        dict(twin) | {"rows": [row for row in rows if row["method"] == twin["method"]]} for twin in document["twins"]
    ]
    return pages.get_template("fidelity.html").render(twins=twins, caution=caution)
