"""The tables of the short report: one a claim, with the rows that matter, a dial of the grid in its columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from results.report.answer import ClaimAnswer
from results.report.bias_table import plain, setting_text, varying
from results.report.detectable import Curve
from results.report.numbers import DASH, number, own_text
from results.report.verdicts import Grade, Judged, Verdict

Dials = Sequence[Mapping[str, object]]
MOST_COLUMNS = 7  # values of a dial side by side
MARKS = {Grade.FAILS: "!", Grade.OPEN: "?", Grade.HARMLESS: "~", Grade.HOLDS: "", Grade.STATED: ""}
UNITS = {
    "bias": "in standard errors",
    "coverage": "in %",
    "size": "rejected, in %",
    "power": "found, in %",
    "screen": "",
}


@dataclass(frozen=True, slots=True)
class ShortTable:
    """A table as text. names: how many of the first columns are names, on the left. first: which row comes first."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    names: int
    first: str = "the worst"


def short_table(part: ClaimAnswer, dials: Dials) -> ShortTable:
    """The table of a claim: rows by verdict, the worst first, and by the dials that are not in the columns."""
    if part.claim.measure == "screen":
        return _of_screens(part)
    dial = column_dial(part, dials)
    values = _values(dial, [item.cell for verdict in part.verdicts for item in verdict.cells], dials)
    rows = list(_of_power(part, dial, values, dials) if part.curves else _of_verdicts(part, dial, values, dials))
    first = "the smallest effect" if part.curves else "the worst"
    by = f", by {dial}" if dial else ""
    title = f"{part.claim.measure.capitalize()} {UNITS[part.claim.measure]}{by}"
    own = ("estimator", "term", "errors", "setting")
    kept = [place for place in range(len(own)) if _tells(rows, place)] or [0]
    heads = (*(own[place] for place in kept), *(values or ["value"]), *(["80% found"] if part.curves else []))
    shown = tuple((*(row[place] for place in kept), *row[len(own) :]) for row in rows)
    return ShortTable(title, heads, shown, len(kept), first)


def _tells(rows: Sequence[tuple[str, ...]], place: int) -> bool:
    """Whether a column of names tells rows apart; terms and error types only those of one estimator."""
    if place not in (1, 2):
        return len({row[place] for row in rows}) > 1
    return len({(row[0], row[place]) for row in rows}) > len({row[0] for row in rows})


def column_dial(part: ClaimAnswer, dials: Dials) -> str:
    """The dial whose values are the columns: that of the claim, else the one with most values that fit."""
    cells = sorted({item.cell for verdict in part.verdicts for item in verdict.cells})
    counts = {name: len(_values(name, cells, dials)) for name in varying([dials[cell] for cell in cells])}
    if part.curves:
        (_, drawn), *_ = part.curves
        dial = drawn[0].dial if drawn else ""
    else:
        dial = part.claim.over
    if 1 < counts.get(dial, 0) <= MOST_COLUMNS:
        return dial
    fitting = {name: count for name, count in counts.items() if 1 < count <= MOST_COLUMNS}
    return max(fitting, key=lambda name: fitting[name], default="")


def _values(dial: str, cells: Sequence[int], dials: Dials) -> list[str]:
    """The values of a dial over cells, as text; none where there is no dial."""
    return list(dict.fromkeys(plain(dials[cell].get(dial)) for cell in sorted(set(cells)))) if dial else []


def _names(verdict: Verdict, setting: str) -> tuple[str, str, str, str]:
    return verdict.estimator, verdict.term, verdict.error, setting


def _of_verdicts(part: ClaimAnswer, dial: str, values: Sequence[str], dials: Dials) -> Iterator[tuple[str, ...]]:
    """A row for each verdict and setting of the other dials; within a verdict the worst first."""
    for verdict in part.verdicts:
        by_setting: dict[str, dict[str, Judged]] = {}
        own_dials = [dials[item.cell] for item in verdict.cells]
        for item in verdict.cells:
            rest = {name: value for name, value in dials[item.cell].items() if name != dial}
            by_setting.setdefault(setting_text(rest, own_dials), {})[plain(dials[item.cell].get(dial))] = item

        def badness(cells: Mapping[str, Judged], own: Verdict = verdict) -> tuple[int, float]:
            return max((item.grade.rank, item.departure(own.nominal)) for item in cells.values())

        for setting, cells in sorted(by_setting.items(), key=lambda pair: badness(pair[1]), reverse=True):
            columns = values or [plain(dials[0].get(dial))]
            yield *_names(verdict, setting), *(_cell(verdict, cells.get(value)) for value in columns)


def _cell(verdict: Verdict, item: Judged | None) -> str:
    if item is None:
        return f"{DASH} "
    mark = MARKS[item.grade] or " "
    if verdict.measure == "bias":
        return f"{number(item.value, '.2f')}{mark}"
    return f"{number(100 * item.value, '.1f')}{mark}"


def _of_power(part: ClaimAnswer, dial: str, values: Sequence[str], dials: Dials) -> Iterator[tuple[str, ...]]:
    """A row a curve, the smallest detectable effect first."""
    rows = [(verdict, curve) for verdict, drawn in part.curves for curve in drawn]
    for verdict, curve in sorted(rows, key=lambda row: (row[1].beyond, row[1].mde != row[1].mde, row[1].mde)):
        cells = {plain(dials[item.cell].get(dial)): item for item in curve.cells}
        shown = [_cell(verdict, cells.get(value)) for value in values] or [_cell(verdict, curve.largest)]
        yield *_names(verdict, curve.setting), *shown, _detectable(curve)


def _detectable(curve: Curve) -> str:
    if curve.beyond:
        return f"above {abs(curve.largest.row['truth']):.3g}"
    return number(curve.mde, ".3g")


def _of_screens(part: ClaimAnswer) -> ShortTable:
    heads = ("estimator", "setting", "rejects %", "bias of all", "bias of fits that pass")
    found = sorted(part.screens, key=lambda item: -abs(item.passing) if item.passing == item.passing else 0.0)
    rows = tuple(
        (item.estimator, item.setting, number(100 * item.rejects, ".1f"), number(item.bias, ".2f"),
         number(item.passing, ".2f"))
        for item in found
    )  # fmt: skip
    return ShortTable("Screens; bias in standard errors", heads, rows, 2)


def own_tables(table: pd.DataFrame, own: Sequence[str]) -> list[ShortTable]:
    """The measures of the user's own, from the bias table; no table where there are none."""
    rows = table[table["n"] > 0].to_dict("records") if own else []
    if not rows:
        return []
    names = ("estimator", "term", "error", "setting")
    kept = [name for name in names if len({row[name] for row in rows}) > 1] or ["estimator"]
    shown = tuple((*(row[name] for name in kept), *(own_text(row, name) for name in own)) for row in rows)
    heads = (*(name.replace("error", "errors") for name in kept), *(f"{name} (MCSE)" for name in own))
    return [ShortTable("Your own measures", heads, shown, len(kept), "the first cells")]
