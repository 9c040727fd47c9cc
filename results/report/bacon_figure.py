"""The Goodman-Bacon picture: each two-by-two comparison's estimate against its weight in the two-way coefficient.

Weights stand on a square-root scale, since most are small. One SVG that needs no style sheet; text stays text.
Comparisons with units that are already treated, the ones that may mislead, are drawn in warm colours; every kind has a
shape of its own as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from markupsafe import Markup

from estimators.staggered.bacon import ALWAYS, EARLIER, KINDS, LATER, NEVER, Decomposition
from results.report.svg import span, ticks
from results.tables.moran_figure import FAMILIES, INK, LINE, SOFT
from results.tables.records import Figure
from sim.errors import bad

Place = Callable[[float], float]

NAME = "goodman-bacon"
WIDTH, HEIGHT = 720, 480
LEFT, RIGHT, TOP, FOOT = 72, 700, 40, 340
COLOURS = {NEVER: "#1f5fa8", EARLIER: "#7db4f0", LATER: "#b45309", ALWAYS: "#f2a65a"}
WORDS = {
    NEVER: "treated v never treated",
    EARLIER: "earlier treated v later treated, not treated yet",
    LATER: "later treated v earlier treated, already treated",
    ALWAYS: "treated v always treated",
}
SHAPES = {  # outlines of radius about 5 around the point; never treated is a circle
    EARLIER: ((0.0, -5.4), (5.4, 0.0), (0.0, 5.4), (-5.4, 0.0)),
    LATER: ((0.0, -5.2), (5.0, 4.0), (-5.0, 4.0)),
    ALWAYS: ((-4.0, -4.0), (4.0, -4.0), (4.0, 4.0), (-4.0, 4.0)),
}


def bacon_figure(found: Decomposition, outcome: str) -> Figure:
    """The figure of one decomposition, the same bytes for the same numbers; raises BadInput for R > 1 outcomes."""
    if len(found.twfe) != 1:
        raise bad(f"{len(found.twfe)} outcomes", where="figure of the decomposition", allowed="one",
                  remedy="decompose panel.replication(i)")  # fmt: skip
    title = f"Two-by-two comparisons behind the two-way DID coefficient of {outcome}"
    caption = _caption(found, outcome)
    low, high = span(found.estimates[0].tolist(), [0.0, float(found.twfe[0])])
    top = 1.06 * float(found.weights.max())

    def x(weight: float) -> float:
        return LEFT + math.sqrt(weight / top) * (RIGHT - LEFT)

    def y(estimate: float) -> float:
        return FOOT - (estimate - low) / (high - low) * (FOOT - TOP)

    opening = Markup(
        '<svg role="img" aria-labelledby="{0}-t {0}-d" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {1} {2}" '
        'width="{1}" height="{2}" style="font-family: {3}" font-size="12">'
    )
    parts = [
        opening.format(NAME, WIDTH, HEIGHT, FAMILIES),
        Markup('<title id="{0}-t">{1}</title><desc id="{0}-d">{2}</desc>').format(NAME, title, caption),
        Markup('<rect width="{}" height="{}" fill="#ffffff"/>').format(WIDTH, HEIGHT),
        _text(LEFT, 22, title, INK, weight=600),
        *_axes(low, high, top, x, y),
        *_points(found, x, y),
        *_legend(found, y),
        Markup("</svg>\n"),
    ]
    return Figure(NAME, title, caption, str(Markup("\n").join(parts)))


def _caption(found: Decomposition, outcome: str) -> str:
    kinds = [
        f"{WORDS[kind]}: weight {found.share(kind):.1%}, mean {_number(found.average(kind)[0])}"
        for kind in KINDS
        if found.share(kind)
    ]
    return (
        f"Goodman-Bacon (2021) decomposition of the two-way DID coefficient of {outcome}, {_number(found.twfe[0])}, "
        f"into {len(found.comparisons)} comparisons without controls. {'; '.join(kinds)}."
    )


def _points(found: Decomposition, x: Place, y: Place) -> Iterator[Markup]:
    """The comparisons, the heaviest first, so that light ones are not hidden."""
    for i in np.argsort(-found.weights, kind="stable"):
        one, estimate = found.comparisons[i], float(found.estimates[0, i])
        against = f" v {one.control}" if one.control is not None else f" ({one.kind})"
        says = f"{one.treated}{against}: estimate {_number(estimate)}, weight {one.weight:.4f}"
        yield _mark(one.kind, x(one.weight), y(estimate), says)


def _mark(kind: str, x: float, y: float, says: str) -> Markup:
    if kind == NEVER:
        shape = Markup('<circle cx="{:.1f}" cy="{:.1f}" r="4.4"').format(x, y)
    else:
        path = "L".join(f"{x + dx:.1f} {y + dy:.1f}" for dx, dy in SHAPES[kind])
        shape = Markup('<path d="M{}Z"').format(path)
    style = Markup(' fill="{}" fill-opacity=".85" stroke="#ffffff" stroke-width=".7">').format(COLOURS[kind])
    return shape + style + Markup("<title>{}</title></{}>").format(says, "circle" if kind == NEVER else "path")


def _axes(low: float, high: float, top: float, x: Place, y: Place) -> Iterator[Markup]:
    for tick in ticks(low, high, 6):
        yield _line(LEFT, RIGHT, y(tick), y(tick), INK if tick == 0 else LINE)
        yield _text(LEFT - 8, y(tick) + 4, _number(tick), SOFT, anchor="end")
    for root in ticks(0.0, math.sqrt(top), 6):
        yield _text(x(root**2), FOOT + 18, f"{root**2:g}", SOFT, anchor="middle")
    yield _line(LEFT, RIGHT, FOOT, FOOT, INK)
    yield _text((LEFT + RIGHT) / 2, FOOT + 38, "weight (square-root scale)", SOFT, anchor="middle")
    yield Markup('<g transform="translate(18 {}) rotate(-90)">{}</g>').format(
        (TOP + FOOT) / 2, _text(0, 0, "two-by-two estimate", SOFT, anchor="middle"))  # fmt: skip


def _legend(found: Decomposition, y: Place) -> Iterator[Markup]:
    """The line of the coefficient, and under the axis what it and the shapes are."""
    twfe, at = float(found.twfe[0]), FOOT + 62.0
    dashes = Markup('<line x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}" stroke="{}" stroke-width="1.6" '
                    'stroke-dasharray="7 4"/>')  # fmt: skip
    yield dashes.format(LEFT, RIGHT, y(twfe), y(twfe), INK)
    yield dashes.format(LEFT - 6, LEFT + 16, at - 4, at - 4, INK)
    yield _text(LEFT + 24, at, f"two-way coefficient {_number(twfe)}", INK, weight=600)
    for kind in [kind for kind in KINDS if found.share(kind)]:
        at += 18
        yield _mark(kind, LEFT + 5, at - 4, WORDS[kind])
        yield _text(LEFT + 24, at, f"{WORDS[kind]} ({found.share(kind):.1%})", SOFT)


def _line(x1: float, x2: float, y1: float, y2: float, colour: str) -> Markup:
    return Markup('<line x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}" stroke="{}"/>').format(x1, x2, y1, y2, colour)


def _text(x: float, y: float, text: str, colour: str, *, anchor: str = "start", weight: int = 400) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" fill="{}" text-anchor="{}" font-weight="{}">{}</text>').format(
        x, y, colour, anchor, weight, text)  # fmt: skip


def _number(value: float) -> str:
    """Four significant digits with a true minus sign."""
    return f"{value:.4g}".replace("-", "−")
