"""The pages of what was found on a real panel, as HTML that needs nothing else: trust, twin, race, placebo."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from estimators.core.error_types import error_label
from results import text
from results.diagnosis.measures import Z95
from results.page import page
from results.plots.chart import Axis, Chart, Facet, Point, Series, axis_of, span
from results.plots.chart import figure as chart_figure
from results.plots.power_plot import power_figure
from results.text import bracketed, fixed, plain_error

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
    said = (held["verdict"]["reason"], *held["verdict"]["sentences"])
    answer, advised = held["verdict"]["answer"], next(row for row in held["errors"] if row["recommended"])
    return pages.get_template("trust.html").render(
        held=held, title=ANSWERS[answer], marks=MARKS, mark=MARKS[answer], figure=figure(held), advised=advised,
        printed=next(row for row in held["errors"] if row["printed"]), marked=marked(held), interval=text.interval,
        number=number, share=text.share, rows=[row for row in held["checks"] if row["difference"] is not None],
        facts=[row for row in held["checks"]
               if row["difference"] is None and row["severity"] > 0 and row["sentence"] not in said],
        silent=sum(row["difference"] is None and row["severity"] == 0 for row in held["checks"]),
        first=chart_figure(claim_chart(held), "h2"),
    )  # fmt: skip


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
    return Markup(power_figure(
        [(row["effect"], row["power"], row["mcse"]) for row in rows], [(x, y) for x, y in held["curve"]],
        held["claim"]["estimate"], sign * held["mde"]["value"], held["mde"]["power"],
    ))  # fmt: skip


# The pictures of first screens: one row a name, its value with an interval.


MOST_ROWS = 6  # of one kind in the picture of a claim


def dots(key: str, title: str, label: str, rows: Sequence[tuple[str, float, float, float, bool]], line: float | None,
         caption: str) -> Chart:  # fmt: skip
    """A picture of names with values, interval ends, and whether the mark is filled; line: a value that is drawn."""
    points = [Point(float(at), value, low, high, text.number(value, 3), clear)
              for at, (_, value, low, high, clear) in enumerate(rows)]  # fmt: skip
    ends = [end for _, value, low, high, _ in rows for end in (value, low, high)] + [0.0 if line is None else line]
    places = Axis("", -0.5, len(rows) - 0.5, tuple((float(at), row[0]) for at, row in enumerate(rows)))
    references = () if line is None else ((line, text.number(line)),)
    series = tuple(Series(row[0], 0, (point,)) for row, point in zip(rows, points, strict=True))
    return Chart(key, "dots", title, places, axis_of(label, *span(ends, 0.08)), (Facet("", series),), references,
                 caption)  # fmt: skip


def claim_chart(held: Mapping[str, Any]) -> Chart:
    """The claim with the interval of each error type, the one to print filled, and the other estimates that raced."""
    errors = sorted((row for row in held["errors"] if row["lower"] is not None), key=lambda row: not row["recommended"])
    rows = [(plain_error(row["se_type"]), row["estimate"], row["lower"], row["upper"], row["recommended"])
            for row in errors[:MOST_ROWS]]  # fmt: skip
    others = held["race"][1:MOST_ROWS]  # the claim's own estimator is the first
    rows += [(row["estimator"], row["estimate"], row["lower"], row["upper"], False) for row in others
             if row["lower"] is not None]  # fmt: skip
    caption = "95% intervals of the claim by error type; the filled mark has the one to print."
    caption += " Below them what other estimators say of the panel." if len(rows) > len(errors[:MOST_ROWS]) else ""
    claim = held["claim"]
    name = claim["term"] if ":" in claim["text"] else claim["text"]
    title = f"{name} on {claim['outcome']}"
    return dots("claim-picture", title, "estimate with its 95% interval", rows, 0.0, caption)


def fidelity_chart(twin: Mapping[str, Any]) -> Chart:
    """Each feature of the panel on the scale of its band, which reaches from -1 to 1; one outside is filled."""
    rows = []
    for row in twin["rows"]:
        middle, half = 0.5 * (row["lower"] + row["upper"]), 0.5 * (row["upper"] - row["lower"])
        away = row["real"] - middle
        place = away / half if half > 0 else math.copysign(FARTHEST, away) if away else 0.0
        rows.append((row["feature"], min(max(place, -FARTHEST), FARTHEST), -1.0, 1.0, not row["inside"]))
    caption = (f"Bars are the bands of 95% of twins, marks the panel; filled ones lie outside, at most {FARTHEST:g} "
               "half bands away as drawn.")  # fmt: skip
    return dots(f"fidelity-{twin['method']}", f"The panel among its {twin['method']} twins", "half widths of the band",
                rows, None, caption)  # fmt: skip


FARTHEST = 3.0  # half bands from the middle at which a feature is drawn at most


OF_RACES = ("estimator", "bias", "RMSE", "coverage", "power", "in the set")
ON_PANEL = ("estimator", "errors", "estimate", "s.e.", "from", "to")


def race_page(document: Mapping[str, Any], world: str) -> str:
    """The answer of a race, how far each estimator misses, and what each says of the panel.

    document: as `panelproof race --json` prints it. world: the one that decides.
    """
    tables = []
    for name in dict.fromkeys(row["world"] for row in document["worlds"]):
        own = [row for row in document["worlds"] if row["world"] == name]
        own.sort(key=lambda row: (row["rmse"] is None, row["rmse"] or 0.0))  # the best first, without fits last
        rows = []
        for row in own:
            known = ((row[key], row[f"{key}_mcse"] or math.nan) for key in ("bias", "rmse"))
            misses = (number(value) if value is None
                      else bracketed(value, mcse, fixed([value], mcse)).replace("-", text.MINUS)
                      for value, mcse in known)  # fmt: skip
            within = number(row["confidence"], 2) if row["valid"] else "not valid"
            rows.append((row["estimator"], *misses, text.share(row["coverage"]), text.share(row["power"]), within))
        tables.append((f"In the world {name}, effect {number(document['effect'])}", OF_RACES, rows))
    said = ("estimate", "se", "lower", "upper")
    on_panel = [(row["estimator"], plain_error(row["error"]), *(number(row[key]) for key in said))
                for row in document["panel"] if not row["left_out"]]  # fmt: skip
    left_out = [f"Left out: {row['estimator']}: {row['left_out']}." for row in document["panel"] if row["left_out"]]
    tables.append(("On the panel itself", ON_PANEL, on_panel))
    # how far each estimator misses the effect in the world that decides, the best one filled
    raced = sorted((row for row in document["worlds"] if row["world"] == world and row["rmse"] is not None),
                   key=lambda row: float(row["rmse"]))  # fmt: skip
    wide = [Z95 * (row["rmse_mcse"] or 0.0) for row in raced]
    shown = [(row["estimator"], row["rmse"], row["rmse"] - half, row["rmse"] + half,
              row["estimator"] == document["best"]) for row, half in zip(raced, wide, strict=True)]  # fmt: skip
    caption = "Bars are 95% Monte Carlo intervals; the filled mark is the estimator to use."
    chart = dots("race", f"Misses in the world {world}", "root mean squared error", shown, 0.0, caption)
    notes = [document["legend"], *left_out, *document["notes"]]
    return _answer_page("Which estimator to use", document["answer"], chart_figure(chart, "h2"), tables, notes)


def placebo_page(title: str, lines: Sequence[tuple[str, str]], document: Mapping[str, Any], svg: str) -> str:
    """The real estimate among its placebos; lines: names and values as the terminal prints them. document: as
    `panelproof placebo --json` prints it."""
    (_, estimate), _, (name, value), *_ = lines
    answer = f"{name[:1].upper()}{name[1:]} {value}. Real estimate {estimate}."
    table = "All numbers", ("number", "value"), lines
    # the estimate with the interval of its own test, and the middle 95% of the placebos
    ends = [document["placebo_quantiles"].get(q) for q in ("0.025", "0.975")]
    low, high = ends if None not in ends else (math.nan, math.nan)
    se = document["se"] or math.nan
    rows = [("real estimate", document["estimate"], document["estimate"] - Z95 * se, document["estimate"] + Z95 * se,
             True), ("placebos", document["placebo_mean"], low, high, False)]  # fmt: skip
    around = " with 1.96 of its own standard errors on either side" if document["se"] else ""
    caption = f"The filled mark is the estimate{around}, the other is the mean of the placebos with their middle 95%."
    chart = dots("placebos", f"{document['called']} and its placebos", "estimate", rows, 0.0, caption)
    return _answer_page(title, answer, chart_figure(chart, "h2"), [table], document["notes"], svg)


def _answer_page(title: str, answer: str, figure: Markup, tables: Sequence[Any], notes: Sequence[str],
                 svg: str = "") -> str:  # fmt: skip
    """A page that opens with its answer beside its picture; tables: titles, heads and rows of text. svg: one more
    picture below."""
    return page("results.report").get_template("answer.html").render(
        title=title, answer=answer, figure=figure, tables=tables, notes=notes, further=Markup(svg))  # fmt: skip


# The fidelity report of a twin as one HTML page that needs nothing else.


def fidelity_page(document: Mapping[str, Any], caution: str) -> str:
    """Parameters, features and what each twin misses; document: as `panelproof twin --json` prints it."""
    pages = page("results.report", number=text.number)
    rows = document["fidelity"]
    twins = [
        dict(twin) | {"rows": [row for row in rows if row["method"] == twin["method"]]} for twin in document["twins"]
    ]
    for number, twin in enumerate(twins):  # the first picture stands under the title
        twin["inside"] = sum(row["inside"] for row in twin["rows"])
        twin["figure"] = chart_figure(fidelity_chart(twin), "h3" if number else "h2")
    return pages.get_template("fidelity.html").render(twins=twins, caution=caution)
