"""The picture of paired contrasts: how other estimators differ from the first on the very same draws."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from estimators.core.estimator import Layout
from results.charts.chart import Axis, Chart, Panel, Point, Reference, Series, key_of, plain, span, ticks
from results.charts.grid import dials, lead_terms
from results.diagnosis.contrast import contrast
from results.diagnosis.diagnose import Diagnosis
from results.report.numbers import bracketed, fixed
from results.store.block import Block, Records

CELLS, FITS = 6, 2048  # cells of a picture, and replications of each from which on no further block is read
WORDS = {"bias_difference": "bias minus the bias of {}", "mse_difference": "mean squared error minus that of {}",
         "coverage_difference": "coverage minus that of {}"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Kept:
    """The first blocks of one cell, read once."""

    layouts: Mapping[str, Layout]
    cells: Sequence[Mapping[str, object]]
    worlds: int
    held_fixed: tuple[str, ...]
    claims: Sequence[Mapping[str, Any]]
    kept: Mapping[int, list[Block]]

    def blocks(self, cell: int) -> Iterator[Block]:
        return iter(self.kept[cell])


def contrast_chart(records: Records, diagnosis: Diagnosis, measure: str = "bias_difference", *,
                   term: str | None = None, most: int = FITS) -> Chart | None:  # fmt: skip
    """Paired differences from the first estimator with 95% Monte Carlo intervals; None where no two are comparable.

    Only estimators of the same estimand are compared, on the first replications of each cell (at least `most`, in whole
    blocks) and in the first cells. measure: bias_difference, mse_difference or coverage_difference.
    """
    terms = lead_terms(diagnosis, term)
    first, *others = _comparable(records, terms) or [""]
    if not others:
        return None
    cells = range(min(len(records.cells), CELLS))
    grid = dials(records.cells, cells)
    panels, fits = [], 0
    for cell in cells:
        kept = _kept(records, cell, most)
        series = []
        for row, name in enumerate(others):
            targets = [(one, terms[one], records.layouts[one].errors[0]) for one in (name, first)]
            frame = contrast(kept, targets[0], targets[1], cell, diagnosis.alpha)
            found = frame[frame["measure"] == measure].iloc[0]
            value, mcse, low, high = (float(found[key]) for key in ("value", "mcse", "lower", "upper"))
            fits = max(fits, int(found["n"]))
            said = bracketed(value, mcse, fixed((value,), mcse))
            series.append(Series(name, 0, (Point(float(row), value, low, high, said),)))
        panels.append(Panel(", ".join(f"{dial.words} {dial.names[dial.at[cell]]}" for dial in grid), tuple(series)))
    return _chart(panels, first, others, terms[first], measure, fits)


def _comparable(records: Records, terms: Mapping[str, str]) -> list[str]:
    """The estimators with error types whose terms estimate the same: the largest such group."""
    groups: dict[str | None, list[str]] = {}
    for name, term in terms.items():
        layout = records.layouts[name]
        if layout.errors and not layout.tests:
            groups.setdefault(layout.targets.get(term), []).append(name)
    return max(groups.values(), key=len, default=[])


def _kept(records: Records, cell: int, most: int) -> _Kept:
    """The cell's first blocks, until they hold so many replications."""
    blocks: list[Block] = []
    for block in records.blocks(cell):
        blocks.append(block)
        if sum(one.replications for one in blocks) >= most:
            break
    return _Kept(records.layouts, records.cells, records.worlds, records.held_fixed, records.claims,
                 {cell: blocks})  # fmt: skip


def _chart(panels: Sequence[Panel], first: str, others: Sequence[str], what: str, measure: str, fits: int) -> Chart:
    low, high = span([end for panel in panels for point in panel.points for end in (point.low, point.high, 0.0)])
    words = WORDS[measure].format(first)
    caption = (f"Estimators against {first} on the same draws, the first {fits:,} of each cell: {words}. The pairing "
               "takes out what the draws have in common. Bars are 95% Monte Carlo intervals.")  # fmt: skip
    return Chart(
        key_of("contrast", measure, what), "dots", f"Difference from {first}, paired",
        Axis("estimator", -0.5, len(others) - 0.5, tuple((float(row), name) for row, name in enumerate(others))),
        Axis(words, low, high, tuple((tick, plain(tick)) for tick in ticks(low, high))),
        tuple(panels), (Reference(0.0, "0"),), caption, what,
    )  # fmt: skip
