"""The Goodman-Bacon picture: each two-by-two comparison's estimate against its weight in the two-way coefficient.

Weights stand on a square-root scale, since most are small. Comparisons with units that are already treated, the ones
that may mislead, are drawn in warm colours.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from estimators.staggered.bacon import ALWAYS, EARLIER, KINDS, LATER, NEVER, Decomposition
from results.plots.paper import BLUE, INK, ORANGE, RED, SKY, figure, frame, handle, mark, span
from results.tables.records import Figure
from results.text import number
from sim.errors import bad

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

NAME = "goodman-bacon"
SIZE = 518.4, 345.6  # points
BOX = 0.11, 0.30, 0.87, 0.63
COLOURS = {NEVER: BLUE, EARLIER: SKY, LATER: RED, ALWAYS: ORANGE}
WORDS = {
    NEVER: "treated v never treated",
    EARLIER: "earlier treated v later treated, not treated yet",
    LATER: "later treated v earlier treated, already treated",
    ALWAYS: "treated v always treated",
}
MARKER = {NEVER: 0, EARLIER: 2, LATER: 3, ALWAYS: 1}


def bacon_figure(found: Decomposition, outcome: str) -> Figure:
    """The figure of one decomposition, the same bytes for the same numbers; raises BadInput for R > 1 outcomes."""
    if len(found.twfe) != 1:
        raise bad(f"{len(found.twfe)} outcomes", where="figure of the decomposition", allowed="one",
                  remedy="decompose panel.replication(i)")  # fmt: skip
    title = f"Two-by-two comparisons behind the two-way DID coefficient of {outcome}"
    kinds = [f"{WORDS[kind]}: weight {found.share(kind):.1%}, mean {number(found.average(kind)[0])}"
             for kind in KINDS if found.share(kind)]  # fmt: skip
    caption = (
        f"Goodman-Bacon (2021) decomposition of the two-way DID coefficient of {outcome}, {number(found.twfe[0])}, "
        f"into {len(found.comparisons)} comparisons without controls. {'; '.join(kinds)}."
    )
    return figure(NAME, SIZE, title, caption, partial(_paint, found=found, title=title))


def _paint(canvas: Canvas, found: Decomposition, title: str) -> dict[str, str]:
    twfe = float(found.twfe[0])
    axes = frame(canvas, BOX, title)
    # weights on a square-root scale from zero, estimates with zero and the two-way coefficient among them
    from matplotlib.ticker import FixedLocator, MaxNLocator

    top = 1.06 * float(found.weights.max())
    axes.set_xscale("function", functions=(lambda x: np.sqrt(np.maximum(x, 0.0)), np.square))
    axes.set(xlim=(0.0, top), xlabel="weight (square-root scale)", ylabel="two-by-two estimate")
    axes.set_ylim(*span(found.estimates[0].tolist(), [0.0, float(found.twfe[0])]))
    roots = MaxNLocator(6).tick_values(0.0, float(np.sqrt(top)))
    axes.xaxis.set_major_locator(FixedLocator(sorted({float(root**2) for root in roots if 0 <= root**2 <= top})))
    axes.xaxis.set_major_formatter(lambda weight, _: f"{weight:.4g}")
    axes.yaxis.set_major_formatter(lambda estimate, _: number(estimate))
    axes.grid(axis="y")
    axes.axhline(0.0, color=INK, linewidth=0.8, zorder=2)
    line = axes.axhline(twfe, color=INK, linewidth=1.2, linestyle=(0, (6, 3)), zorder=3)
    line.set_label(f"two-way coefficient {number(twfe)}")
    said = {}
    for i in np.argsort(-found.weights, kind="stable"):  # the heaviest first, so that light ones are not hidden
        one, estimate = found.comparisons[i], float(found.estimates[0, i])
        against = f" v {one.control}" if one.control is not None else f" ({one.kind})"
        said[f"comparison-{i}"] = f"{one.treated}{against}: estimate {number(estimate)}, weight {one.weight:.4f}"
        mark(axes, one.weight, estimate, MARKER[one.kind], COLOURS[one.kind], gid=f"comparison-{i}")
    handles = [handle(MARKER[kind], COLOURS[kind], f"{WORDS[kind]} ({found.share(kind):.1%})")
               for kind in KINDS if found.share(kind)]  # fmt: skip
    canvas.legend(handles=[line, *handles], loc="lower left", bbox_to_anchor=(0.1, 0.0), borderaxespad=0.2)
    return said
