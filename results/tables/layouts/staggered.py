"""Tables S and S4: effects of staggered adoption by several estimators, local spillovers."""

from __future__ import annotations

from collections.abc import Sequence

from estimators.staggered.aggregation import event_of
from results.tables.journal_table import (
    FitColumn,
    Heading,
    JournalTable,
    Row,
    TableSetting,
    coefficient_rows,
    fit_columns,
    size_rows,
    value_rows,
)
from results.tables.records import SPILLOVERS, STAGGERED
from results.tables.typography import AVERAGES, COUNTS, count, heading, probability, variant

_COMPARED = {
    "did": "all", "event-study": "all", "imputation": "untreated", "two-stage": "untreated", "sun-abraham": "never",
    "stacked": "not yet",
}  # fmt: skip
_REFERENCE = ("event-study", "callaway-santanna", "sun-abraham", "stacked")  # event(-1) is zero
_PRETREND = {"pretrend_p": "Pre-trends, p", "pretrend_hotelling_p": "Pre-trends, p (Hotelling)"}
_FACTOR_NOTE = (
    "factor G/(G - 1) × (n - 1)/(n - k) and t with G - 1 degrees of freedom in the two-way, event-study, Sun-Abraham "
    "and stacked columns; no factor and the normal distribution in the others. Where cohorts of one or two units have "
    "large weights, errors are too small (except those of the event study and of imputation). A term that rests on one "
    "unit alone has no error."
)
_AVERAGE_NOTE = (
    "ATT: the mean effect on the treated. Unit-periods alike: all treated unit-periods have equal weights (the two-way "
    "column shows its coefficient, whose weights are in table S2). Event times alike: all event times have equal "
    "weights; the event study and the stacks use those of the window. Cohorts by size: means of cohorts, weighted by "
    "their sizes. Periods alike: all treated periods have equal weights."
)
_COMPARED_NOTE = (
    "Compared with: never: units that are never treated; not yet: units that are not treated yet; untreated: untreated "
    "observations of all units, to which effects and controls are fitted; all: all units, also those already treated. "
    "Stacks compare with units that are untreated to the end of the window, as far as the panel covers the window. "
    "They contain the cohorts that have such units. Their N counts a unit-period once in every stack. Sun-Abraham "
    "compares with the last cohort where all units become treated."
)
_EVENT_NOTE = (
    "Periods since adoption; ref.: the reference period, zero by construction. The ends of the event study's window "
    "stand for all earlier and all later periods. Before adoption, imputation compares with the periods before the "
    "window (or with the earliest period), and two-stage with the mean of all untreated periods."
)
_CONTROLS_NOTE = (
    "Doubly robust columns condition on the controls of the period before adoption. Other columns with controls hold "
    "their current values fixed, which is right only if the treatment does not affect them. Cohort-periods are left "
    "out where the controls separate treated from untreated units perfectly, or where there are too many controls for "
    "the units."
)
_PRETREND_NOTE = (
    "Pre-trends: joint test of no effect before adoption, within the window; Hotelling's p value allows for a small "
    "number of treated clusters. Intervals with the uniform critical value hold for all event times together."
)


def staggered(setting: TableSetting) -> list[JournalTable]:
    """Table S: an estimator a column; averages of the effects, then event times."""
    setting = setting.balanced_part
    columns = fit_columns(setting.document, STAGGERED)
    columns = [column for column in columns if column.records]
    if not columns:
        return []
    heads = [Heading(heading(column.model, None) if column.transform is None else variant(column.transform),
                    f"({column.column})", "" if column.transform is None else heading(column.model, None))
             for column in columns]  # fmt: skip
    rows: list[Row] = []
    for term, label in AVERAGES.items():
        found = [setting.shown(column, _own(setting, column, term)) for column in columns]
        if any(found):
            rows += coefficient_rows(label, found)
    rows.append(Row("Periods since adoption", kind="head"))
    for event in _events(columns):
        rows += _event(setting, columns, event)
    rows += [
        Row("Compared with", tuple(_compared(column) for column in columns), rule=True),
        *([Row("Controls", tuple(_controlled(column) for column in columns))] if setting.controls else []),
        *value_rows(columns, _PRETREND, probability),
        *value_rows(columns, {"uniform": "Uniform critical value"}),
    ]
    rows += size_rows(columns, setting.units, setting.periods)
    counts = {"treated_units": COUNTS["treated_units"], "cohorts": "Cohorts", "cells": "Cohort-periods used",
              "left_out": "Cohort-periods left out"}  # fmt: skip
    rows += value_rows(columns, counts, count) + setting.error_row(columns)
    notes = (_AVERAGE_NOTE, _COMPARED_NOTE, _CONTROLS_NOTE if setting.controls else "", _EVENT_NOTE, _PRETREND_NOTE)
    title = f"Staggered adoption: {setting.about}"
    return [
        JournalTable(STAGGERED, title, tuple(heads), tuple(rows), setting.notes(columns, *notes, factor=_FACTOR_NOTE))
    ]


def _own(setting: TableSetting, column: FitColumn, term: str) -> str:
    """The two-way column's coefficient stands for its only average."""
    return str(setting.treatment) if column.model == "did" and term == "overall" else term


def _events(columns: Sequence[FitColumn]) -> list[int]:
    """Event times that a column has, and the reference period where it lies among them."""
    found = {event for column in columns for term in column.terms if (event := event_of(term)) is not None}
    inside = found and min(found) < -1 < max(found) and any(column.model in _REFERENCE for column in columns)
    return sorted(found | ({-1} if inside else set()))


def _event(setting: TableSetting, columns: Sequence[FitColumn], event: int) -> list[Row]:
    number, below, *_ = [*coefficient_rows(f"  {event:+d}" if event else "  0",
                                           [setting.shown(column, f"event({event})") for column in columns]),
                         Row("")]  # fmt: skip
    if event == -1:
        shown = (cell or ("ref." if column.model in _REFERENCE else "")
                 for cell, column in zip(number.cells, columns, strict=True))  # fmt: skip
        number = Row(number.label, tuple(shown))
    return [number, below] if below.cells else [number]


def _compared(column: FitColumn) -> str:
    if column.transform is not None:
        return "never" if column.transform.startswith("never") else "not yet"
    return _COMPARED.get(column.model, "")


def _controlled(column: FitColumn) -> str:
    return "yes" if column.model != "callaway-santanna" or str(column.transform).endswith("dr") else "no"


def spillovers(setting: TableSetting) -> list[JournalTable]:
    """Table S4: two-way DID with neighbours' treatment, a column a W, and with rings."""
    setting = setting.balanced_part
    columns = fit_columns(setting.document, SPILLOVERS)
    if not columns:
        return []
    heads = [Heading(f"W {column.weights}" if column.weights else "by distance", f"({column.column})",
                    heading(column.model, None)) for column in columns]  # fmt: skip
    rows: list[Row] = []
    named = {"att": "Effect on the treated", "spill:treated": "  of it through others",
             "spill:untreated": "Spillover on the untreated", "did_bias": "Bias of DID without it"}  # fmt: skip
    terms = list(dict.fromkeys(term for column in columns for term in column.terms))
    for term in [*(term for term in terms if term not in named), *(term for term in named if term in terms)]:
        label = named.get(term) or _ring(term) or setting.label(term)
        rows += coefficient_rows(label, [setting.shown(column, term) for column in columns])
    rows += value_rows(columns, {"vif:did": "VIF of DID", "unexposed": "Untreated unexposed, share"})
    rows += size_rows(columns, setting.units, setting.periods)
    note = (
        "Two-way DID with the controls, the unit's own treatment and the treatment of others: the share of treated "
        "neighbours (Delgado and Florax 2015), or the ring in km that contains the nearest other treated unit (Butts "
        "2021). The effect on the treated includes the effect of their neighbours' treatment. The own effect plus the "
        "bias equals the coefficient of DID without spillovers."
    )
    title = f"Local spillovers: {setting.about}"
    return [JournalTable(SPILLOVERS, title, tuple(heads), tuple(rows), setting.notes(columns, note))]


def _ring(term: str) -> str:
    """A ring's term as a row's label, "" for any other term."""
    who, _, ring = term.partition(":")
    return f"{who.capitalize()}, other at {ring} km" if who in ("treated", "untreated") and ring else ""


TABLES = (STAGGERED, SPILLOVERS)
LAYOUTS = {10: staggered, 13: spillovers}
