"""Tables S2 and S3: what stands behind staggered effects - weights, pre-trend tests, bounds when trends differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np

from estimators.staggered.bacon import CONTROLLED_KINDS, KINDS, decompose, decompose_with_controls
from estimators.staggered.dcdh import DCDH, coefficient_weights
from estimators.staggered.honest import BoundsQuestion, Restriction, sensitivity
from estimators.staggered.trend_evidence import EventTimes, pretrend_power, reference_estimator
from experiments.tables.ledger import Ledger, known_terms, reasons
from results.plots.bacon_plot import bacon_figure
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
from results.tables.records import Fit
from results.tables.typography import count, digits, span
from sim.errors import BadInput
from sim.panel import Panel

COMPARISONS, BOUNDS = "S2", "S3"
FEWEST = 20  # clusters from which intervals under smoothness hold (estimators/staggered/honest.py)
POWERS = (0.5, 0.8)  # of the pre-trend test
MAGNITUDES = (0.5, 1.0, 1.5, 2.0)  # Mbar
CURVATURES = (0.0, 0.1, 0.25, 0.5, 1.0)  # M, in standard errors of the effect asked about
RESTRICTIONS: tuple[tuple[Restriction, tuple[float, ...]], ...] = (
    ("relative magnitudes", MAGNITUDES),
    ("smoothness", CURVATURES),
)


def add_diagnostics(panel: Panel, core: Panel, ledger: Ledger, errors: tuple[str, ...], *, honest: bool) -> None:
    """Both tables. panel: balanced; core: without units treated from the first period on."""
    with _attempt(ledger, "Goodman-Bacon decomposition"):
        _add_bacon(panel, ledger, None)
    if panel.roles.controls:
        with _attempt(ledger, "Goodman-Bacon decomposition with controls"):
            _add_bacon(panel, ledger, "controls")
    for column, controls in enumerate(dict.fromkeys(((), panel.roles.controls)), start=1):
        with _attempt(ledger, "weights of the two-way coefficient"):
            _add_weights(panel, ledger, column, controls)
    with _attempt(ledger, "DID_M"):
        estimates = DCDH(errors=errors)(panel)
        if np.isfinite(estimates.estimate[0, 0]):
            ledger.keep(panel, Fit((COMPARISONS, 4), "dcdh"), estimates.only(known_terms(estimates)))
        else:
            ledger.note(f"Table {COMPARISONS} has no DID_M: no unit switches while others keep their treatment.")
    try:
        path = EventTimes.of(reference_estimator(core, errors), core)
    except BadInput as refusal:
        ledger.note(f"No power of the pre-trend test and no bounds: {reasons(refusal)}.")
        return
    if not path.pre or path.pre == len(path.events):
        ledger.note(f"No power of the pre-trend test and no bounds: {path.lacking}.")
        return
    with _attempt(ledger, "power of the pre-trend test"):
        _add_power(path, ledger)
    if honest:
        with _attempt(ledger, "bounds under other trends"):
            _add_bounds(path, ledger)


@contextmanager
def _attempt(ledger: Ledger, what: str) -> Iterator[None]:
    """A note where the panel does not allow it."""
    try:
        yield
    except BadInput as refusal:
        ledger.note(f"Table {COMPARISONS if 'bounds' not in what else BOUNDS} has no {what}: {reasons(refusal)}.")


def _add_bacon(panel: Panel, ledger: Ledger, transform: str | None) -> None:
    found = decompose_with_controls(panel) if transform else decompose(panel)
    fit = Fit((COMPARISONS, 1), "goodman-bacon", transform)
    for kind in CONTROLLED_KINDS if transform else KINDS:
        count = sum(comparison.kind == kind for comparison in found.comparisons)
        if count:
            own = {"weight": found.share(kind), "mean": float(found.average(kind)[0]), "comparisons": float(count)}
            ledger.values(fit, own, kind)
    ledger.value(fit, "twfe", float(found.twfe[0]))
    if not transform:
        ledger.draw(bacon_figure, found, ledger.name(panel.roles.outcome))


def _add_weights(panel: Panel, ledger: Ledger, column: int, controls: tuple[str, ...]) -> None:
    found = coefficient_weights(panel, controls=controls)
    fit = Fit((COMPARISONS, 1 + column), "dcdh-weights", "controls" if controls else None)
    ledger.values(fit, {
        "coefficient": float(found.coefficient[0]),
        "cells": float(found.treated.sum()),
        "negative_share": found.negative_share,
        "negative_sum": found.negative_sum,
        "sensitivity": float(found.sensitivity[0]),
        "reversal": float(found.reversal[0]),
    })  # fmt: skip


def _add_power(path: EventTimes, ledger: Ledger) -> None:
    found, fit = pretrend_power(path.estimate, path.covariance, path.pre, POWERS), Fit((COMPARISONS, 5), "roth")
    ledger.values(fit, {"size": found.size, "before": float(path.pre), "after": float(len(path.events) - path.pre),
                        "mean_effect": float(path.estimate[path.pre :].mean())})  # fmt: skip
    for power, slope, after, ratio in zip(POWERS, found.slopes, found.after, found.likelihood_ratio, strict=True):
        later = slice(path.pre, None)
        ledger.values(fit, {
            "slope": slope,
            "bias_untested": after.trend[later].mean(),
            "bias_passed": after.expected[later].mean(),
            "bayes_factor": after.bayes_factor,
            "likelihood_ratio": ratio,
        }, f"{power:g}")  # fmt: skip


def _add_bounds(path: EventTimes, ledger: Ledger) -> None:
    """Intervals for the effect at adoption and for the mean of all later event times."""
    if path.fewest < FEWEST:
        ledger.note(f"Table {BOUNDS}: the covariance of its estimates is made of {path.fewest} clusters of treated "
                    "units or of units compared with, whichever are fewer. Intervals under smoothness are too short "
                    "then: of simulated 95% intervals with M = 0, 57% held the effect with 5 clusters, 82% with 10 and "
                    "94% with 20. Those of relative magnitudes hold.")  # fmt: skip
    post = len(path.events) - path.pre
    asked = {"event(0)": np.eye(1, post)[0]}
    if post > 1:
        asked[f"mean of event(0) to event({path.events[-1]})"] = np.full(post, 1.0 / post)
    for column, (label, weights) in enumerate(asked.items(), start=1):
        question = BoundsQuestion(path.estimate, path.covariance, path.pre, weights)
        error = float(np.sqrt(question.direction @ question.sigma @ question.direction))
        for restriction, bounds in RESTRICTIONS:
            scale = error if restriction == "smoothness" else 1.0
            found = sensitivity(question, restriction, np.array(bounds) * scale)
            fit = Fit((BOUNDS, column), "honest", restriction, label)
            ledger.values(fit, {"original_lower": found.original[0], "original_upper": found.original[1],
                                "breakdown": found.breakdown, "scale": scale})  # fmt: skip
            for bound, lower, upper in zip(bounds, found.lower, found.upper, strict=True):
                ledger.values(fit, {"lower": lower, "upper": upper}, f"{bound:g}")


# How it is arranged: the records of a document as a table.


_KINDS = {
    "treated v never": "Treated v never treated",
    "earlier v later": "Earlier v later cohort",
    "later v earlier": "Later v earlier cohort",
    "treated v always": "Treated v always treated",
    "two dates": "Cohorts of two dates",
    "one cohort": "Units of one cohort",
}
_WITHOUT_CONTROLS = (
    "Goodman-Bacon (2021): without controls, the two-way coefficient is the mean of all two-by-two comparisons of "
    "cohorts, weighted by size and by the variance of treatment. An earlier cohort is compared with a later cohort "
    "until the later one is treated. A later cohort is compared with an earlier cohort that is already treated. This "
    "last comparison takes changes of the earlier cohort's effect for a trend: it is biased where effects grow or "
    "fade."
)
_WITH_CONTROLS = (
    "Goodman-Bacon (2021): with controls, the two-way coefficient is the mean of comparisons of the mean paths of two "
    "cohorts, earlier and later together, and of units of one cohort, which are treated alike but whose controls "
    "differ. Units treated from the first period on are a cohort of that date. Weights are those of the treatment "
    "less what effects and controls explain of it."
)
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
    "slope": "Slope per period",
    "bias_untested": "Mean bias, without a test",
    "bias_passed": "Mean bias, test passed",
    "bayes_factor": "Bayes factor of passing",
    "likelihood_ratio": "Likelihood ratio",
}
_RESTRICTIONS = {"relative magnitudes": "Relative magnitudes", "smoothness": "Smoothness"}


def comparisons(setting: TableSetting) -> list[JournalTable]:
    """Tables S2: comparisons behind the two-way coefficient, its weights, and the power of the pre-trend test."""
    setting = setting.balanced_part
    tables = [*_bacon(setting), *_negative_weights(setting), *_instantaneous(setting), *_power(setting)]
    return [table for table in tables if table.rows]


def _bacon(setting: TableSetting) -> Iterable[JournalTable]:
    for column in fit_columns(setting.document, COMPARISONS, ("goodman-bacon",)):
        twfe = column.statistics.get("twfe")
        means = [twfe, *(value for (name, _), value in column.by_term.items() if name == "mean")]
        rows = []
        for kind, label in _KINDS.items():
            if ("weight", kind) in column.by_term:
                weight, mean, number = (column.by_term.get((name, kind)) for name in ("weight", "mean", "comparisons"))
                rows.append(Row(label, (digits(weight), digits(mean, row=means), count(number))))
        total = sum(value for (name, _), value in column.by_term.items() if name == "comparisons")
        rows.append(Row("Two-way coefficient", (digits(1.0), digits(twfe, row=means), count(total)), rule=True))
        notes = (_WITH_CONTROLS if column.transform else _WITHOUT_CONTROLS, setting.data)
        heads = (Heading("Weight"), Heading("Mean estimate"), Heading("Comparisons"))
        with_or_not = "with" if column.transform else "without"
        title = f"What the two-way coefficient compares: {setting.about}, {with_or_not} controls"
        yield JournalTable(COMPARISONS, title, heads, tuple(rows), notes)


def _negative_weights(setting: TableSetting) -> Iterable[JournalTable]:
    columns = fit_columns(setting.document, COMPARISONS, ("dcdh-weights",))
    if not columns:
        return
    heads = tuple(Heading("with controls" if column.transform else "without controls") for column in columns)
    effects = [column.statistics.get(name) for column in columns for name in _OF_EFFECTS]
    rows = []
    for name, label in _WEIGHTS.items():
        values = [column.statistics.get(name) for column in columns]
        beside = effects if name in _OF_EFFECTS else ()
        cells = ("none" if value is None else digits(value, row=beside) for value in values)
        rows.append(Row(label, tuple(map(count, values) if name == "cells" else cells)))
    notes = (
        "De Chaisemartin and D'Haultfoeuille (2020): under common trends the two-way coefficient is a weighted sum of "
        "the effects in all treated unit-periods. The first standard deviation is the smallest spread of these "
        "effects at which their mean could be zero (none: all weights are equal, so that the coefficient is always the "
        "mean effect). The second is the smallest spread at which all effects could have the other sign (none: no "
        "weight is negative). If they are small relative to plausible effects, the coefficient may mislead.",
        setting.data,
    )
    yield JournalTable(COMPARISONS, f"Weights of the two-way coefficient: {setting.about}", heads, tuple(rows), notes)


def _instantaneous(setting: TableSetting) -> Iterable[JournalTable]:
    columns = fit_columns(setting.document, COMPARISONS, ("dcdh",))
    if not columns:
        return
    rows: list[Row] = []
    for term, label in (("event(0)", "Period of the switch"), ("placebo", "One period before")):
        if any(term in column.terms for column in columns):
            rows += coefficient_rows(label, setting.shown_records(columns, term))
    rows += value_rows(columns, {"switchers": "Switches"}, count) + size_rows(columns, setting.units, setting.periods)
    factor = "factor G/(G - 1) and t with G - 1 degrees of freedom; G counts the clusters that contain a switch."
    note = (
        "DID_M: the change of the outcome in units that switch minus the change in units that keep their treatment, "
        "without controls (de Chaisemartin and D'Haultfoeuille 2020). One period before the switch it should be zero."
    )
    title = f"Effect in the period of a switch: {setting.about}"
    yield JournalTable(
        COMPARISONS, title, (Heading("DID_M"),), tuple(rows), setting.notes(columns, note, factor=factor)
    )


def _power(setting: TableSetting) -> Iterable[JournalTable]:
    for column in fit_columns(setting.document, COMPARISONS, ("roth",)):
        powers = list(dict.fromkeys(term for _, term in column.by_term))
        heads = tuple(Heading(f"power {power}") for power in powers)
        values = {label: [column.by_term.get((name, power)) for power in powers] for name, label in _POWER.items()}
        rows = number_rows(values)
        before, after = (count(column.statistics.get(name)) for name in ("before", "after"))
        notes = (
            f"Roth (2022): the slope of the linear difference in trends that the test of {before} event times before "
            "adoption finds with this probability. The test is passed when none is significant at 5%; parallel trends "
            f"fail the test with probability {digits(column.statistics.get('size'))}. Mean bias, of either sign: over "
            f"the {after} event times from adoption on, whose mean estimate is "
            f"{digits(column.statistics.get('mean_effect'))}. If the Bayes factor is near 1, passing the test says "
            "little. The likelihood ratio compares this trend, of the sign that suits the estimates before adoption "
            "better, with parallel trends, given these estimates.",
            "Callaway-Sant'Anna estimates without controls, compared with never treated units where there are any, and "
            "their clustered covariance.",
            setting.data,
        )
        yield JournalTable(COMPARISONS, f"What the test of pre-trends can find: {setting.about}", heads, rows, notes)


def bounds(setting: TableSetting) -> list[JournalTable]:
    """Table S3: intervals under growing departures from parallel trends, a column an effect."""
    setting = setting.balanced_part
    columns = fit_columns(setting.document, BOUNDS, ("honest",))
    samples = list(dict.fromkeys(column.sample for column in columns))
    first = {column.sample: column for column in reversed(columns)}
    rows = [Row("Parallel trends", tuple(_interval(first[sample], None) for sample in samples))]
    for restriction, label in _RESTRICTIONS.items():
        found = {column.sample: column for column in columns if column.transform == restriction}
        if not found:
            continue
        terms = dict.fromkeys(term for sample in samples if sample in found for _, term in found[sample].by_term)
        rows.append(Row(label, kind="head"))
        for term in terms:
            rows.append(Row(f"  M = {term}", tuple(_interval(found.get(sample), term) for sample in samples)))
        cells = []
        for column in map(found.get, samples):  # in the unit of M in the rows above
            value = None if column is None else column.statistics.get("breakdown")
            if column is None or value is None:
                cells.append("" if column is None else "none")
            else:
                cells.append(digits(value / column.statistics.get("scale", 1.0)))
        rows.append(Row("  breakdown M", tuple(cells)))
    if not columns:
        return []
    notes = (
        "95% intervals of Rambachan and Roth (2023). Relative magnitudes: after adoption, the difference in trends "
        "changes from one period to the next by at most M times its largest change before adoption. Smoothness: the "
        "slope of the difference in trends changes per period by at most M standard errors of the effect; M = 0 "
        "extrapolates a linear trend. Breakdown: the smallest M whose interval contains zero; 0 where the interval of "
        "M = 0 contains zero.",
        "Callaway-Sant'Anna estimates without controls, compared with never treated units where there are any.",
        setting.data,
    )
    heads = tuple(Heading(sample) for sample in samples)
    return [JournalTable(BOUNDS, f"Bounds when trends may differ: {setting.about}", heads, tuple(rows), notes)]


def _interval(column: FitColumn | None, term: str | None) -> str:
    if column is None:
        return ""
    ends = [column.statistics.get(f"original_{end}") if term is None else column.by_term.get((end, term))
            for end in ("lower", "upper")]  # fmt: skip
    return "none" if None in ends else span(*ends)


TABLES = (COMPARISONS, BOUNDS)
LAYOUTS = {11: comparisons, 12: bounds}
