"""Pictures of single replications, some hundreds of them: the zip of intervals, and estimates against their errors.

The zip plot is that of Morris, White and Crowther (2019, Statistics in Medicine 38:2074, section 7).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from results.diagnosis.comparison import contrast
from results.diagnosis.diagnose import Diagnosis
from results.diagnosis.fits import fits_of
from results.plots.chart import Axis, Chart, Facet, Point, Series, axis_of, key_of, span
from results.plots.grid import MEASURES, PlaceInDiagnosis, dials, lead_terms, lines_of, place_of, values_of
from results.store.block import Block, Records
from results.text import bracketed, fixed, level, number
from sim.arrays import Floats
from sim.errors import amount

MOST = 200  # replications of a panel
PANELS = 6


@dataclass(frozen=True, slots=True)
class Sampled:
    """Replications of one estimator, term and error type in one cell: which (absolute), and numbers (n,) of each."""

    label: str
    replication: NDArray[np.intp]
    estimate: Floats
    truth: Floats
    se: Floats
    lower: Floats
    upper: Floats

    @property
    def missed(self) -> NDArray[np.bool_]:
        """Whether the interval misses the truth."""
        return (self.truth < self.lower) | (self.truth > self.upper)


def replication_charts(records: Records, diagnosis: Diagnosis, *, term: str | None = None,
                       most: int = MOST) -> list[Chart]:  # fmt: skip
    """The zip and the scatter of the cell whose coverage is farthest from nominal; none where no interval is known."""
    values = values_of(diagnosis, MEASURES["coverage"], lead_terms(diagnosis, term))
    if not values:
        return []
    nominal = 1 - diagnosis.alpha
    cell = max(values, key=lambda value: abs(value.value - nominal)).place[0]
    names = lines_of(values)
    wanted = {value.place: names[value.place[1], value.place[3]] for value in values if value.place[0] == cell}
    found = sampled(records, cell, dict(list(wanted.items())[:PANELS]), diagnosis.alpha, most)
    if not found:
        return []
    where = place_of(dials(diagnosis.cells), cell)
    what = " or ".join(dict.fromkeys(place[2] for place in wanted))
    return [zip_chart(found, what, where, diagnosis.alpha), scatter_chart(found, what, where)]


def sampled(
    records: Records, cell: int, places: dict[PlaceInDiagnosis, str], alpha: float, most: int = MOST
) -> list[Sampled]:
    """Usable fits of the cell's first block, evenly spaced, at most so many of each place (named by its label)."""
    block = next(iter(records.blocks(cell)), None)
    if block is None:
        return []
    found = []
    for (_, name, term, error), label in places.items():
        layout = records.layouts[name]
        fits = fits_of(block, name, layout, alpha, records.worlds)
        if fits is not None and error in layout.errors:
            k, e = layout.terms.index(term), layout.errors.index(error)
            columns = [
                fits.estimate[:, k],
                fits.truth[:, k],
                fits.se[:, e, k],
                fits.lower[:, e, k],
                fits.upper[:, e, k],
            ]
            usable = np.flatnonzero(fits.ok & np.isfinite(columns).all(axis=0))
            chosen = usable[np.unique(np.linspace(0, len(usable) - 1, min(most, len(usable))).astype(np.intp))]
            one = Sampled(label, block.start + chosen, *(column[chosen] for column in columns))
            found += [one] if len(one.replication) else []
    return found


def zip_chart(found: Sequence[Sampled], what: str, where: str, alpha: float) -> Chart:
    """Intervals minus the truth, ordered by how far the estimate lies from the truth in standard errors."""
    panels = []
    for one in found:
        order = np.argsort(np.abs(one.estimate - one.truth) / one.se)[::-1]
        places = 100 * (np.arange(len(order)) + 0.5) / len(order)  # from the top
        points = []
        for r, place in zip(order, places, strict=True):
            error, low, high = (float(values[r] - one.truth[r]) for values in (one.estimate, one.lower, one.upper))
            said = (f"replication {one.replication[r]}: {number(one.lower[r])} to {number(one.upper[r])}, truth "
                    f"{number(one.truth[r])}")  # fmt: skip
            points.append(Point(float(place), error, low, high, said, bool(one.missed[r])))
        share = f"{100 * float(one.missed.mean()):.0f}% miss"
        panels.append(Facet(f"{one.label}: {share}", (Series(one.label, 0, tuple(points)),)))
    low, high = span([end for panel in panels for point in panel.points for end in (point.low, point.high)])
    nominal = 100 * (1 - alpha)  # of which the caption speaks
    centiles = [nominal, *(centile for centile in (75, 50, 25) if centile < nominal - 5)]
    marks = tuple((100.0 - centile, level(centile / 100)) for centile in centiles)
    shown = level(1 - alpha)
    caption = (f"{shown} intervals for {what} minus the truth in {_counted(found, where)}, the estimates farthest from "
               "the truth on top. Intervals that miss the truth stand in the second colour; they should be those above "
               f"the {shown} mark.")  # fmt: skip
    return Chart(key_of("zip", what), "zip", f"Intervals for {what}, one by one",
                 Axis("centile of |estimate minus truth| / standard error", 0.0, 100.0, marks),
                 axis_of("interval minus truth", low, high),
                 tuple(panels), ((0.0, "0"),), caption, where)  # fmt: skip


def scatter_chart(found: Sequence[Sampled], what: str, where: str) -> Chart:
    """Each estimate against its standard error; filled where the interval misses the truth."""
    panels = []
    for one in found:
        points = tuple(
            Point(float(one.estimate[r]), float(one.se[r]), np.nan, np.nan,
                  f"replication {one.replication[r]}: {number(one.estimate[r])} (SE {number(one.se[r])})",
                  bool(one.missed[r]))
            for r in range(len(one.replication))
        )  # fmt: skip
        panels.append(Facet(one.label, (Series(one.label, 0, points),)))
    left, right = span([point.at for panel in panels for point in panel.points])
    low, high = span([point.value for panel in panels for point in panel.points])
    caption = (f"Estimates of {what} against their standard errors in {_counted(found, where)}. Filled marks are "
               "estimates whose interval misses the truth.")  # fmt: skip
    axes = axis_of(f"estimate of {what}", left, right, about=4), axis_of("standard error", low, high, about=4)
    return Chart(key_of("scatter", what), "scatter", f"Estimates of {what} against their standard errors", *axes,
                 tuple(panels), (), caption, where)  # fmt: skip


def _counted(found: Sequence[Sampled], where: str) -> str:
    most = max(len(one.replication) for one in found)
    return f"{amount(most, 'replication')}{f' where {where}' if where else ''}"


# The picture of paired contrasts: how other estimators differ from the first on the very same draws.


CELLS, FITS = 6, 2048  # cells of a picture, and replications of each from which on no further block is read
WORDS = {"bias_difference": "bias minus the bias of {}", "mse_difference": "mean squared error minus that of {}",
         "coverage_difference": "coverage minus that of {}"}  # fmt: skip


def contrast_chart(records: Records, diagnosis: Diagnosis, measure: str = "bias_difference", *,
                   term: str | None = None, most: int = FITS) -> Chart | None:  # fmt: skip
    """Paired differences from the first estimator with 95% Monte Carlo intervals; None where no two are comparable.

    Only estimators of the same estimand are compared, on the first replications of each cell (at least `most`, in whole
    blocks) and in the first cells. measure: bias_difference, mse_difference or coverage_difference.
    """
    # the estimators with error types whose terms estimate the same: the largest such group
    terms, groups = lead_terms(diagnosis, term), dict[str, list[str]]()
    for name, own in terms.items():
        layout = records.layouts[name]
        if layout.errors and not layout.tests and own in layout.targets:
            groups.setdefault(layout.targets[own], []).append(name)
    first, *others = max(groups.values(), key=len, default=[""])
    if not others:
        return None

    cells = range(min(len(records.cells), CELLS))
    grid = dials(records.cells, cells)
    panels, fits = [], 0
    for cell in cells:
        blocks: list[Block] = []
        for block in records.blocks(cell):
            blocks.append(block)
            if sum(one.replications for one in blocks) >= most:
                break
        series = []
        for row, name in enumerate(others):
            targets = [(one, terms[one], records.layouts[one].errors[0]) for one in (name, first)]
            frame = contrast(records, targets[0], targets[1], cell, diagnosis.alpha, blocks)
            found = frame[frame["measure"] == measure].iloc[0]
            value, mcse, low, high = (float(found[key]) for key in ("value", "mcse", "lower", "upper"))
            fits = max(fits, int(found["n"]))
            said = bracketed(value, mcse, fixed((value,), mcse))
            series.append(Series(name, 0, (Point(float(row), value, low, high, said),)))
        panels.append(Facet(place_of(grid, cell), tuple(series)))
    if not fits:  # whose truth no draw knows
        return None

    low, high = span([end for panel in panels for point in panel.points for end in (point.low, point.high, 0.0)])
    words, what = WORDS[measure].format(first), terms[first]
    caption = (f"Estimators against {first} on the same draws, the first {fits:,} of each cell: {words}. The pairing "
               "takes out what the draws have in common. Bars are 95% Monte Carlo intervals.")  # fmt: skip
    return Chart(
        key_of("contrast", measure, what), "dots", f"Difference from {first}, paired",
        Axis("estimator", -0.5, len(others) - 0.5, tuple((float(row), name) for row, name in enumerate(others))),
        axis_of(words, low, high),
        tuple(panels), ((0.0, "0"),), caption, what,
    )  # fmt: skip
