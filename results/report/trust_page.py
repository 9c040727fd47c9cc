"""The page of `panelproof trust`: HTML that needs nothing else, from the numbers of trust.json."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from markupsafe import Markup

from estimators.core.error_types import error_label
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
NOTHING = "–"


def number(value: float | None, digits: int = 3) -> str:
    """Significant digits with a true minus sign; a dash for none."""
    if value is None:
        return NOTHING
    return f"{value:.{digits}g}".replace("-", "\N{MINUS SIGN}")


def share(value: float | None) -> str:
    """A share in per cent with one decimal."""
    return NOTHING if value is None else f"{value:.1%}"


def probability(value: float | None) -> str:
    """A p value with three decimals."""
    if value is None:
        return NOTHING
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def interval(lower: float | None, upper: float | None, form: Callable[[float | None], str]) -> str:
    """Two ends, each written by `form`; a dash where there is none."""
    return NOTHING if lower is None or upper is None else f"{form(lower)} to {form(upper)}"


def p_value(value: float | None) -> str:
    """A p value in a sentence: "p = 0.034", "p < 0.001"."""
    text = probability(value)
    return f"p < {text[1:]}" if text.startswith("<") else f"p = {text}"


def trust_page(held: Mapping[str, Any]) -> str:
    """The page; held: trust.json as plain data."""
    pages = page("results.report", number=number, share=share, probability=probability, p_value=p_value,
                 label=error_label)  # fmt: skip
    answer = held["verdict"]["answer"]
    return pages.get_template("trust.html").render(
        held=held, title=ANSWERS[answer], marks=MARKS, mark=MARKS[answer], figure=figure(held), advised=advised(held),
        printed=next(row for row in held["errors"] if row["printed"]), marked=marked(held), interval=interval,
        number=number, share=share, rows=[row for row in held["checks"] if row["difference"] is not None],
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
    pages = page("results.report", number=lambda value: f"{value:.4g}".replace("-", "−"))
    rows = document["fidelity"]
    twins = [
        dict(twin) | {"rows": [row for row in rows if row["method"] == twin["method"]]} for twin in document["twins"]
    ]
    return pages.get_template("fidelity.html").render(twins=twins, caution=caution)
