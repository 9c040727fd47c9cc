"""Tables S to S4: effects of staggered adoption, what the two-way coefficient averages, bounds, local spillovers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from estimators.staggered.adoption_terms import event_of
from results.tables.columns import FitColumn, coefficient_rows, fit_columns, size_rows, value_rows
from results.tables.journal_table import Column, JournalTable, Row
from results.tables.setting import Setting, of_columns
from results.tables.typography import COUNTS, STARS_NOTE, digits, error_label, probability

EFFECTS, COMPARISONS, BOUNDS, SPILLOVERS = "S", "S2", "S3", "S4"

_HEADINGS = {
    "did": "Two-way DID", "event-study": "Event study", "callaway-santanna": "Callaway-Sant'Anna",
    "imputation": "Imputation", "two-stage": "Two-stage", "sun-abraham": "Sun-Abraham", "stacked": "Stacked",
    "spatial-did": "Neighbours' treatment", "rings": "Rings",
}  # fmt: skip
_COMPARED = {
    "did": "all", "event-study": "all", "imputation": "untreated", "two-stage": "untreated", "sun-abraham": "never",
    "stacked": "not yet",
}  # fmt: skip
_AVERAGES = {
    "overall": "ATT, unit-periods alike",
    "overall:event": "ATT, event times alike",
    "overall:cohort": "ATT, cohorts by size",
    "overall:calendar": "ATT, periods alike",
}
_REFERENCE = ("event-study", "callaway-santanna", "sun-abraham", "stacked")  # event(-1) is zero
_PRETREND = {"pretrend_p": "Pre-trends, p", "pretrend_hotelling_p": "Pre-trends, p (Hotelling)"}
_FACTOR_NOTE = (
    "factor G/(G - 1) × (n - 1)/(n - k) and t with G - 1 degrees of freedom in the two-way, event-study, Sun-Abraham "
    "and stacked columns; no factor and the normal distribution in the others. Where cohorts of one or two units weigh "
    "much, errors are too small (except those of the event study, and of imputation); where one unit is all, there are "
    "none."
)
_AVERAGE_NOTE = (
    "ATT: the mean effect on the treated, all treated unit-periods counting alike (in the two-way column its "
    "coefficient, whose weights are in table S2); or event times alike, in the event study and in stacks those of the "
    "window; or cohorts, each with its own mean, by size; or treated periods alike."
)
_COMPARED_NOTE = (
    "Compared with: units never treated; units not treated yet; untreated observations of all units, on which effects "
    "and controls are fitted; or all, units treated already among them. Stacks take units untreated to the end of the "
    "window, as far as it is seen, and hold the cohorts that have such units; their N counts a unit-period once in "
    "every stack that holds it. Sun-Abraham takes the last cohort where nobody is never treated."
)
_EVENT_NOTE = (
    "Periods since adoption; ref.: the reference period, zero by construction. The ends of the event study's window "
    "stand for all earlier and all later periods. Before adoption, imputation compares with the periods before the "
    "window, or the earliest one, and two-stage with the mean of all."
)
_CONTROLS_NOTE = (
    "Doubly robust columns condition on the controls of the period before adoption; other columns with controls hold "
    "their current values fixed, which is right only if the treatment does not move them. Cohort-periods left out: in "
    "which the controls tell treated from untreated units for certain, or are too many for the units."
)
_PRETREND_NOTE = (
    "Pre-trends: joint test of no effect before adoption, within the window; Hotelling's p value allows for the few "
    "treated clusters behind it. The uniform critical value makes intervals that hold for all event times together."
)
_KINDS = {
    "treated v never": "Treated v never treated",
    "earlier v later": "Earlier v later cohort",
    "later v earlier": "Later v earlier cohort",
    "treated v always": "Treated v always treated",
}
_WEIGHTS = {
    "coefficient": "Two-way coefficient",
    "cells": "Treated unit-periods",
    "negative_share": "Share with a negative weight",
    "negative_sum": "Sum of the negative weights",
    "sensitivity": "SD of effects, mean may be 0",
    "reversal": "SD of effects, all reversed",
}
_OF_EFFECTS = ("coefficient", "sensitivity", "reversal")  # of the rows above, those in the outcome's unit
_POWER = {
    "slope": "Slope a period",
    "bias_untested": "Mean bias, no test made",
    "bias_passed": "Mean bias, test passed",
    "bayes_factor": "Bayes factor of passing",
    "likelihood_ratio": "Likelihood ratio",
}
_RESTRICTIONS = {"relative magnitudes": "Relative magnitudes", "smoothness": "Smoothness"}


def heading(model: str, transform: str | None) -> str:
    """An estimator as a column's heading, with its comparison group where it has several."""
    name = _HEADINGS.get(model, model)
    return name if transform is None else f"{name}, {_variant(transform)}"


def staggered(setting: Setting) -> list[JournalTable]:
    """Table S: an estimator a column; averages of the effects, then event times."""
    setting = setting.square
    columns = fit_columns(setting.document, EFFECTS)
    columns = [column for column in columns if column.records]
    if not columns:
        return []
    heads = [Column(heading(column.model, None) if column.transform is None else _variant(column.transform),
                    f"({column.column})", "" if column.transform is None else heading(column.model, None))
             for column in columns]  # fmt: skip
    rows: list[Row] = []
    for term, label in _AVERAGES.items():
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
    rows += value_rows(columns, counts, _count) + setting.error_row(columns)
    notes = (_AVERAGE_NOTE, _COMPARED_NOTE, _CONTROLS_NOTE if setting.controls else "", _EVENT_NOTE, _PRETREND_NOTE)
    title = f"Staggered adoption: {setting.about}"
    return [JournalTable(EFFECTS, title, tuple(heads), tuple(rows), _notes(setting, columns, _FACTOR_NOTE, *notes))]


def _notes(setting: Setting, columns: Sequence[FitColumn], factor: str, *more: str) -> tuple[str, ...]:
    """Notes under a table: the treatment, errors and their factors, what else is given, stars, the data."""
    kinds = setting.error_kinds(columns)
    errors = (of_columns(f"Standard errors in brackets, {error_label(kind)}: {factor}", found, columns, len(kinds) > 1)
              for (kind, _), found in kinds.items())  # fmt: skip
    counts = setting.cluster_counts(columns)
    return tuple(text for text in (setting.treatment_note, *errors, *counts, *more, STARS_NOTE, setting.data) if text)


def _variant(transform: str) -> str:
    group, _, method = transform.partition(", ")
    return f"{'never treated' if group == 'never' else 'not yet treated'}{', doubly robust' if method else ''}"


def _own(setting: Setting, column: FitColumn, term: str) -> str:
    """The two-way column's coefficient stands for its only average."""
    return str(setting.treatment) if column.model == "did" and term == "overall" else term


def _events(columns: Sequence[FitColumn]) -> list[int]:
    """Event times that a column has, and the reference period where it lies among them."""
    found = {event for column in columns for term in column.terms if (event := event_of(term)) is not None}
    inside = found and min(found) < -1 < max(found) and any(column.model in _REFERENCE for column in columns)
    return sorted(found | ({-1} if inside else set()))


def _event(setting: Setting, columns: Sequence[FitColumn], event: int) -> list[Row]:
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


def _count(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def comparisons(setting: Setting) -> list[JournalTable]:
    """Tables S2: comparisons behind the two-way coefficient, its weights, and the power of the pre-trend test."""
    setting = setting.square
    tables = [*_bacon(setting), *_negative_weights(setting), *_instantaneous(setting), *_power(setting)]
    return [table for table in tables if table.rows]


def _bacon(setting: Setting) -> Iterable[JournalTable]:
    for column in fit_columns(setting.document, COMPARISONS, ("goodman-bacon",)):
        twfe = column.statistics.get("twfe")
        means = [twfe, *(value for (name, _), value in column.by_term.items() if name == "mean")]
        rows = [Row(label, _compared_with(column, kind, means)) for kind, label in _KINDS.items()
                if ("weight", kind) in column.by_term]  # fmt: skip
        total = sum(value for (name, _), value in column.by_term.items() if name == "comparisons")
        rows.append(Row("Two-way coefficient", ("1.0000", digits(twfe, row=means), _count(total)), rule=True))
        notes = (
            "Goodman-Bacon (2021): without controls the two-way coefficient is the mean of all two-by-two comparisons "
            "of cohorts, weighted by size and by the variance of treatment. An earlier cohort is compared with a later "
            "one until that is treated; a later cohort with an earlier one that is treated already, and the change of "
            "whose effects is taken for a trend: these comparisons are biased where effects grow or fade.",
            setting.data,
        )
        heads = (Column("Weight"), Column("Mean estimate"), Column("Comparisons"))
        title = f"What the two-way coefficient compares: {setting.about}, without controls"
        yield JournalTable(COMPARISONS, title, heads, tuple(rows), notes)


def _compared_with(column: FitColumn, kind: str, means: Sequence[float | None]) -> tuple[str, ...]:
    """Weight, mean and number of one kind of comparison; means: of all kinds."""
    weight, mean, count = (column.by_term.get((name, kind)) for name in ("weight", "mean", "comparisons"))
    return digits(weight), digits(mean, row=means), _count(count)


def _negative_weights(setting: Setting) -> Iterable[JournalTable]:
    columns = fit_columns(setting.document, COMPARISONS, ("dcdh-weights",))
    if not columns:
        return
    heads = tuple(Column("with controls" if column.transform else "without controls") for column in columns)
    effects = [column.statistics.get(name) for column in columns for name in _OF_EFFECTS]
    rows = []
    for name, label in _WEIGHTS.items():
        form = _count if name == "cells" else partial(_or_none, row=effects if name in _OF_EFFECTS else ())
        rows.append(Row(label, tuple(form(column.statistics.get(name)) for column in columns)))
    notes = (
        "De Chaisemartin and D'Haultfoeuille (2020): under common trends the two-way coefficient is a weighted sum of "
        "the effects in all treated unit-periods. The standard deviations are the smallest spread of these effects at "
        "which their mean could be zero (none: all effects weigh alike, so that the coefficient is their mean however "
        "they differ), and at which all could have the other sign (none: no weight is negative). Where they are small "
        "beside the effects that are plausible, the coefficient may mislead.",
        setting.data,
    )
    yield JournalTable(COMPARISONS, f"Weights of the two-way coefficient: {setting.about}", heads, tuple(rows), notes)


def _or_none(value: float | None, row: Sequence[float | None] = ()) -> str:
    return "none" if value is None else digits(value, row=row)


def _instantaneous(setting: Setting) -> Iterable[JournalTable]:
    columns = fit_columns(setting.document, COMPARISONS, ("dcdh",))
    if not columns:
        return
    rows: list[Row] = []
    for term, label in (("event(0)", "Period of the switch"), ("placebo", "One period before")):
        if any(term in column.terms for column in columns):
            rows += coefficient_rows(label, [setting.shown(column, term) for column in columns])
    rows += value_rows(columns, {"switchers": "Switches"}, _count) + size_rows(columns, setting.units, setting.periods)
    factor = "factor G/(G - 1) and t with G - 1 degrees of freedom, G the clusters that hold a switch."
    note = (
        "DID_M: the outcome's change of units that switch less that of units that keep the same treatment, without "
        "controls (de Chaisemartin and D'Haultfoeuille 2020); one period before the switch it should be zero."
    )
    title = f"Effect in the period of a switch: {setting.about}"
    yield JournalTable(COMPARISONS, title, (Column("DID_M"),), tuple(rows), _notes(setting, columns, factor, note))


def _power(setting: Setting) -> Iterable[JournalTable]:
    for column in fit_columns(setting.document, COMPARISONS, ("roth",)):
        powers = list(dict.fromkeys(term for _, term in column.by_term))
        heads = tuple(Column(f"power {power}") for power in powers)
        values = {label: [column.by_term.get((name, power)) for power in powers] for name, label in _POWER.items()}
        rows = tuple(Row(label, tuple(digits(value, row=found) for value in found)) for label, found in values.items())
        before, after = (_count(column.statistics.get(name)) for name in ("before", "after"))
        notes = (
            f"Roth (2022): the slope of the linear difference in trends that the test of {before} event times before "
            "adoption finds with this probability. The test is passed when none is significant at 5%; parallel trends "
            f"fail it with probability {digits(column.statistics.get('size'))}. Mean bias, of either sign: over the "
            f"{after} event times "
            f"from adoption on, whose mean estimate is {digits(column.statistics.get('mean_effect'))}. A Bayes factor "
            "near 1 says that passing tells little; the likelihood ratio is of the estimates before adoption, this "
            "trend against parallel trends.",
            "Callaway-Sant'Anna estimates without controls, against units never treated where there are any, and their "
            "clustered covariance.",
            setting.data,
        )
        yield JournalTable(COMPARISONS, f"What the test of pre-trends can find: {setting.about}", heads, rows, notes)


def bounds(setting: Setting) -> list[JournalTable]:
    """Table S3: intervals under growing departures from parallel trends, a column an effect."""
    setting = setting.square
    columns = fit_columns(setting.document, BOUNDS, ("honest",))
    samples = list(dict.fromkeys(column.sample for column in columns))
    first = {column.sample: column for column in reversed(columns)}
    rows = [Row("Parallel trends", tuple(_interval(first[sample], None) for sample in samples))]
    for restriction, label in _RESTRICTIONS.items():
        found = {column.sample: column for column in columns if column.transform == restriction}
        if found:
            rows += _bounded(label, [found.get(sample) for sample in samples])
    if not columns:
        return []
    notes = (
        "95% intervals of Rambachan and Roth (2023). Relative magnitudes: from one period to the next the difference "
        "in trends changes after adoption by at most M times its largest change before. Smoothness: its slope changes "
        "by at most M standard errors of the effect a period; M = 0 extrapolates a linear trend. Breakdown: the "
        "smallest M whose interval holds zero; 0 where that of M = 0 does.",
        "Callaway-Sant'Anna estimates without controls, against units never treated where there are any.",
        setting.data,
    )
    heads = tuple(Column(sample) for sample in samples)
    return [JournalTable(BOUNDS, f"Bounds when trends may differ: {setting.about}", heads, tuple(rows), notes)]


def _bounded(label: str, columns: Sequence[FitColumn | None]) -> list[Row]:
    terms = list(dict.fromkeys(term for column in columns if column is not None for _, term in column.by_term))
    rows = [Row(label, kind="head")]
    rows += [Row(f"  M = {term}", tuple(_interval(column, term) for column in columns)) for term in terms]
    return [*rows, Row("  breakdown M", tuple(_breakdown(column) for column in columns))]


def _interval(column: FitColumn | None, term: str | None) -> str:
    if column is None:
        return ""
    ends = [column.statistics.get(f"original_{end}") if term is None else column.by_term.get((end, term))
            for end in ("lower", "upper")]  # fmt: skip
    return "none" if None in ends else f"[{digits(ends[0], ends)}, {digits(ends[1], ends)}]"


def _breakdown(column: FitColumn | None) -> str:
    """In the unit of M in the rows above."""
    if column is None:
        return ""
    value = column.statistics.get("breakdown")
    return "none" if value is None else digits(value / column.statistics.get("scale", 1.0))


def spillovers(setting: Setting) -> list[JournalTable]:
    """Table S4: two-way DID with neighbours' treatment, a column a W, and with rings."""
    setting = setting.square
    columns = fit_columns(setting.document, SPILLOVERS)
    if not columns:
        return []
    heads = [Column(f"W {column.weights}" if column.weights else "by distance", f"({column.column})",
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
        "Two-way DID with the controls and others' treatment beside the own: the share of treated neighbours (Delgado "
        "and Florax 2015), or the ring in km in which the nearest other treated unit lies (Butts 2021). The effect on "
        "the treated holds that of their neighbours' treatment; the own effect plus the bias is what DID without "
        "spillovers gives."
    )
    title = f"Local spillovers: {setting.about}"
    return [JournalTable(SPILLOVERS, title, tuple(heads), tuple(rows), setting.notes(columns, note))]


def _ring(term: str) -> str:
    """A ring's term as a row's label, "" for any other term."""
    who, _, ring = term.partition(":")
    return f"{who.capitalize()}, other at {ring} km" if who in ("treated", "untreated") and ring else ""
