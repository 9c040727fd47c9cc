"""Tables C to C3: synthetic control and its relatives, an estimator a column, and the weights of units and periods.

Of several dates of adoption, C shows the effect of each; statistics and weights are averaged by treated unit-periods,
as the estimate is. Figures show the paths of each estimator and the weights of units.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from estimators.staggered.adoption_effects import Cohorts
from estimators.synthetic.synthetic_did import (
    DemeanedSyntheticControl,
    EquallyWeightedDID,
    SyntheticControl,
    SyntheticDID,
    SyntheticEstimator,
    SyntheticPath,
    average_weights,
)
from experiments.panel_spec.sections import Spec, SyntheticSection
from experiments.panel_spec.spec import RealPanel
from experiments.tables.ledger import Ledger, balanced_for, reasons, say_balanced, say_what_has_no_error, undated
from results.plots.synthetic_plot import (
    SyntheticPlot,
    WeightsPlot,
    paths_figure,
    paths_picture,
    weights_figure,
    weights_picture,
)
from results.tables.journal_table import (
    FitColumn,
    Heading,
    JournalTable,
    Row,
    TableSetting,
    coefficient_rows,
    fit_columns,
    number_rows,
    size_rows,
    value_rows,
)
from results.tables.records import SYNTHETIC_TABLE, Fit
from results.tables.typography import COUNTS, NumberCell, count, decimals, heading
from sim.errors import BadInput, bad, closest, listed, one_of, refuse, type_problems
from sim.panel import Panel, part

if TYPE_CHECKING:
    from results.plots.picture import Picture

FEWEST_CONTROLS = 2
LEAST, FEWEST, MOST = 0.01, 10, 40  # weight from which a row is shown, and how many rows there are at least and most
SHOWN_AT_ALL = 5e-5  # weights below are written as zero
CLASSES: dict[str, type[SyntheticEstimator]] = {
    cls.kind: cls for cls in (SyntheticDID, SyntheticControl, DemeanedSyntheticControl, EquallyWeightedDID)
}
Weights = Mapping[str, Mapping[str, float]]  # by kind of the estimator, then by unit or period


type Paths = Mapping[SyntheticEstimator, tuple[SyntheticPath, ...]]  # an entry a column


def add(real: RealPanel, ledger: Ledger) -> None:
    """Tables and figures of [robustness.synthetic]; what the panel does not allow is a note."""
    if real.spec.robustness.synthetic is None or real.panel.roles.treatment is None:
        return
    if undated(real, ledger, f"No table {SYNTHETIC_TABLE}"):
        return
    panel = balanced_for(real, ledger, SYNTHETIC_TABLE)
    if panel is None:
        return
    try:
        core = compared_part(panel)
    except BadInput as refusal:
        ledger.note(f"No table {SYNTHETIC_TABLE}: {reasons(refusal)}.")
        return
    found = dict(_columns(core, ledger, real.spec))
    if not found:
        return

    columns = {record.model: Fit(**record.identity) for record in ledger.records if record.table == SYNTHETIC_TABLE}
    of_units, of_periods = _weights(core, found)
    for name, weights in (("unit_weight", of_units), ("period_weight", of_periods)):
        for kind, own in weights.items():
            for term, weight in own.items():
                ledger.value(columns[kind], name, weight, term)

    outcome, adjusted = ledger.name(core.roles.outcome), tuple(map(ledger.name, core.roles.controls))
    for estimator, paths in found.items():
        ledger.draw(paths_figure, SyntheticPlot(estimator.kind, paths, core.periods, outcome, adjusted))
    ledger.draw(weights_figure, WeightsPlot(*_largest_of(of_units), outcome))
    if len(core.units) < len(panel.units):
        ledger.note(f"{len(panel.units) - len(core.units)} units are treated from the first period on and take no part "
                    f"in table {SYNTHETIC_TABLE}.")  # fmt: skip
    if panel is not real.panel:
        say_balanced(ledger, panel, (SYNTHETIC_TABLE,))


def compared_part(panel: Panel) -> Panel:
    """The panel without units that are treated from the first period on.

    Raises BadInput for a panel with gaps or several replications, for a treatment that is not 0/1 and absorbing, and
    where nobody adopts or fewer than two units are never treated.
    """
    asked_by = f"table {SYNTHETIC_TABLE}"
    cohorts = _cohorts(panel, asked_by)
    never = int(cohorts.never.sum())
    if never < FEWEST_CONTROLS:
        said = "no unit is never treated" if not never else "only one unit is never treated"
        raise bad(f"{said}, and synthetic controls are made of {FEWEST_CONTROLS} or more", where=asked_by,
                  allowed=f"{FEWEST_CONTROLS} or more units that are never treated",
                  remedy="leave out the periods in which all are treated")  # fmt: skip
    return part(panel, cohorts.first > 0, np.ones(len(panel.periods), dtype=bool))


def _cohorts(panel: Panel, asked_by: str) -> Cohorts:
    return Cohorts.of(panel, str(panel.roles.treatment), asked_by, even=False)


def estimator_of(kind: str, panel: Panel, spec: Spec) -> SyntheticEstimator:
    """A column's estimator with the errors and draws of the spec; raises BadInput for a kind that is none of them."""
    if kind not in CLASSES:
        raise bad(f"estimator {kind!r}", where="synthetic controls", allowed=one_of(CLASSES, kind),
                  remedy=closest(kind, CLASSES, "choose one of them"))  # fmt: skip
    asked = (spec.robustness.synthetic or SyntheticSection()).errors
    cohorts = _cohorts(panel, "")
    usual = "placebo:unit" if int((~cohorts.never).sum()) == 1 else "jackknife:unit"
    return CLASSES[kind](errors=(asked or usual,), draws=spec.inference.draws)


def _columns(
    panel: Panel, ledger: Ledger, spec: Spec
) -> Iterator[tuple[SyntheticEstimator, tuple[SyntheticPath, ...]]]:
    """The columns that can be, kept; a note for each reason why others cannot."""
    assert spec.robustness.synthetic is not None
    refused: dict[str, list[str]] = {}
    kinds = spec.robustness.synthetic.estimators
    for column, kind in enumerate(kinds, start=1):
        estimator, fit = estimator_of(kind, panel, spec), Fit((SYNTHETIC_TABLE, column), kind)
        try:
            paths = estimator.paths(panel)
        except BadInput as refusal:
            refused.setdefault(reasons(refusal), []).append(heading(kind, None))
            continue
        estimates = ledger.fit(panel, {estimator: fit}).get(estimator)
        if estimates is None:
            continue
        say_what_has_no_error(ledger, fit, panel, estimates, _why_no_error)
        treated = sum(len(path.treated) for path in paths)
        ledger.values(fit, {"treated_units": float(treated), "control_units": float(len(panel.units) - treated),
                            "treated_cells": float(sum(path.treated_cells for path in paths))})  # fmt: skip
        for path in paths:
            of_date = {"effect": path.estimate, "units": float(len(path.treated)), "cells": float(path.treated_cells)}
            ledger.values(fit, of_date, str(path.adopted))
        yield estimator, paths
    for reason, names in refused.items():
        some = f"Table {SYNTHETIC_TABLE} has no column {listed(names)}"
        ledger.note(f"{f'No table {SYNTHETIC_TABLE}' if len(names) == len(kinds) else some}: {reason}.")


def _why_no_error(error: str) -> str:
    """What a panel lacks for an error type."""
    if error == "placebo:unit":
        return "placebos need more never treated than treated units"
    return "without one of the units, nothing is left to compare"


def _weights(panel: Panel, found: Paths) -> tuple[Weights, Weights]:
    """Of all control units, and of all periods before the last date of adoption, averaged over dates."""
    never = _cohorts(panel, "").never
    last = max((path.adopted for paths in found.values() for path in paths), default=0)
    of_units: dict[str, dict[str, float]] = {}
    of_periods: dict[str, dict[str, float]] = {}
    for estimator, paths in found.items():
        by_unit, by_period = (weights.tolist() for weights in average_weights(paths))
        of_units[estimator.kind] = {unit: weight for unit, weight, control
                                    in zip(panel.units, by_unit, never, strict=True) if control}  # fmt: skip
        of_periods[estimator.kind] = {str(period): weight for period, weight
                                      in zip(panel.periods, by_period, strict=True) if period < last}  # fmt: skip
    return of_units, of_periods


def _largest_of(weights: Weights) -> tuple[Weights, Mapping[str, float]]:
    """The weights of the rows that are shown, and what the others have."""
    rows = largest(weights)
    shown = {kind: {row: own[row] for row in rows} for kind, own in weights.items()}
    return shown, {kind: sum(own.values()) - sum(shown[kind].values()) for kind, own in weights.items()}


def largest(weights: Weights) -> list[str]:
    """The rows to show, the heaviest first: of .01 or more in any column, 10 at least where so many have weight, 40 at
    most. Columns that weight all alike do not count where others do not."""
    told = {kind: own for kind, own in weights.items() if max(own.values()) - min(own.values()) > SHOWN_AT_ALL}
    size: dict[str, float] = {}
    for own in (told or weights).values():
        for name, weight in own.items():
            size[name] = max(size.get(name, 0.0), weight)
    order = [name for name in sorted(size, key=lambda name: -size[name]) if size[name] >= SHOWN_AT_ALL]
    notable = sum(size[name] >= LEAST for name in order)
    return order[: min(max(notable, FEWEST), MOST)]


# The pictures in Python, without the tables.


def plot_paths(real: RealPanel, kind: str) -> Picture:
    """The picture of one estimator's paths; raises BadInput where table C would have no such column."""
    core, found = _fitted(real, (kind,))
    ((estimator, paths),) = found.items()
    roles = core.roles
    return paths_picture(SyntheticPlot(estimator.kind, paths, core.periods, str(roles.outcome), roles.controls))


def plot_weights(real: RealPanel, kinds: Sequence[str]) -> Picture:
    """The picture of the weights of control units; raises BadInput where table C would lack one of the columns."""
    core, found = _fitted(real, kinds)
    return weights_picture(WeightsPlot(*_largest_of(_weights(core, found)[0]), str(core.roles.outcome)))


def _fitted(real: RealPanel, kinds: Sequence[str]) -> tuple[Panel, Paths]:
    """The panel without units that are treated from the first period on, and the paths."""
    refuse(problem for kind in kinds for problem in type_problems(
        kind, str, "an estimator", where="synthetic controls", allowed="the name of a kind"))  # fmt: skip
    if real.panel.roles.treatment is None:
        raise bad("there is no treatment", where=f"table {SYNTHETIC_TABLE}", allowed="treatment or first_treated",
                  remedy="name it in [panel]")  # fmt: skip
    core = compared_part(real.balanced())
    estimators = [estimator_of(kind, core, real.spec) for kind in dict.fromkeys(kinds)]
    return core, {estimator: estimator.paths(core) for estimator in estimators}


# How it is arranged: the records of a document as tables.


_FACTOR_NOTE = "normal distribution, no small-sample factor."
_EFFECT_NOTE = (
    "The treated units of each date of adoption are compared with a weighted mean of units that are never treated. "
    "Synthetic DID weights units and periods, demeaned synthetic control units alone beside an intercept, synthetic "
    "control units alone without one, equally weighted DID neither."
)
_DATES_NOTE = "The estimate, the statistics and the weights are means over dates of adoption, by treated unit-periods."
_GAP_NOTE = (
    "Gap before adoption: root mean square of observed less synthetic path, less its mean where there is an intercept. "
    "Effective units and periods: one over the sum of squared weights; empty where periods have none."
)
_WEIGHT_NOTE = (
    "Weights of a column sum to 1. Shown are those of 0.01 or more in any column, ten at least where so many have "
    f"weight and {MOST} at most; columns that weight all alike do not count for this."
)


def effects(setting: TableSetting) -> list[JournalTable]:
    """Table C: an estimator a column; the effect, that of each date, fit before adoption, sizes."""
    setting = setting.balanced_part
    columns = [column for column in fit_columns(setting.document, SYNTHETIC_TABLE) if column.records]
    if not columns:
        return []
    treatment = str(setting.treatment)
    rows = coefficient_rows(setting.label(treatment), setting.shown_records(columns, treatment))
    dates = _terms(columns, "effect")
    if len(dates) > 1:
        rows.append(Row("Effect by first treated period", kind="head"))
        by_date = {}
        for date in dates:
            units = next(column.by_term["units", date] for column in columns if ("units", date) in column.by_term)
            label = f"  {date} ({units:.0f} unit{'s' * (units != 1)})"
            by_date[label] = [column.by_term.get(("effect", date)) for column in columns]
        rows += number_rows(by_date)
    rows += value_rows(columns, {"pre_rmse": "Gap before adoption"})
    rows += value_rows(columns, {"effective_units": "Effective control units",
                                 "effective_periods": "Effective periods"},
                       lambda value: decimals(value) if value else "")  # fmt: skip
    rows += size_rows(columns, setting.units, setting.periods)
    counts = {"treated_units": COUNTS["treated_units"], "control_units": "Control units",
              "treated_cells": "Treated unit-periods"}  # fmt: skip
    rows += value_rows(columns, counts, count) + setting.error_row(columns)
    names = listed(map(setting.name, setting.controls))
    adjusted = f"The outcome is taken less the controls ({names}), by their coefficients where nobody is treated."
    adjusted = adjusted if setting.controls else ""
    notes = setting.notes(columns, _EFFECT_NOTE, adjusted, _DATES_NOTE if len(dates) > 1 else "", _GAP_NOTE,
                          factor=_FACTOR_NOTE)  # fmt: skip
    heads = tuple(Heading(heading(column.model, None), f"({column.column})") for column in columns)
    return [JournalTable(SYNTHETIC_TABLE, f"Synthetic controls: {setting.about}", heads, tuple(rows), notes)]


def unit_weights(setting: TableSetting) -> list[JournalTable]:
    """Table C2: weights of control units, the heaviest first."""
    return _weights_table(setting, "unit", "C2", "control units")


def period_weights(setting: TableSetting) -> list[JournalTable]:
    """Table C3: weights of periods before adoption, where an estimator fits them."""
    return _weights_table(setting, "period", "C3", "periods before adoption")


def _weights_table(setting: TableSetting, sort: str, number: str, what: str) -> list[JournalTable]:
    """Weights of one sort, a row each and one for the rest; none where no column weights them unequally."""
    name, called = f"{sort}_weight", setting.document.panel.get(sort)
    setting = setting.balanced_part
    columns = [column for column in fit_columns(setting.document, SYNTHETIC_TABLE) if column.records]
    weights = {one.model: {term: one.by_term.get((name, term), 0.0) for term in _terms(columns, name)}
               for one in columns}  # fmt: skip
    uneven = any(max(own.values()) - min(own.values()) > SHOWN_AT_ALL for own in weights.values() if own)
    if not uneven and name == "period_weight":
        return []
    shown, rest = _largest_of(weights)
    names = largest(weights)
    if name == "period_weight":
        names = [term for term in _terms(columns, name) if term in names]
    rows = [Row(term, tuple(_weight(shown[one.model][term], weights[one.model]) for one in columns)) for term in names]
    others = len(_terms(columns, name)) - len(names)
    if others:
        cells = tuple(_weight(rest[one.model], weights[one.model]) for one in columns)
        rows.append(Row(f"All others ({others})", cells, rule=True))
    several = _DATES_NOTE if len(_terms(columns, "effect")) > 1 else ""
    notes = tuple(filter(None, (_WEIGHT_NOTE, several, setting.data)))
    title = f"Weights of {what}{f' ({called})' if called else ''}: {setting.about}"
    heads = tuple(Heading(heading(column.model, None), f"({column.column})") for column in columns)
    return [JournalTable(number, title, heads, tuple(rows), notes)]


def _terms(columns: Sequence[FitColumn], name: str) -> list[str]:
    """Terms of which a column holds a statistic, in order."""
    return list(dict.fromkeys(term for column in columns for found, term in column.by_term if found == name))


def _weight(value: float, column: Mapping[str, float]) -> NumberCell:
    """Four decimals, so that a column sums to 1; "" in a column without weights."""
    return NumberCell(f"{abs(value):.4f}", abs(value)) if any(column.values()) else NumberCell("")


TABLES = (SYNTHETIC_TABLE,)
LAYOUTS = {14: effects, 15: unit_weights, 16: period_weights}
