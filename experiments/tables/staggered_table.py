"""Tables S to S4: the treatment's effect when adoption is staggered, by estimators that survive it, and diagnostics.

S holds one column an estimator, all on the balanced panel; S2 what the two-way coefficient averages and what a test of
pre-trends can see; S3 bounds when trends may differ; S4 local spillovers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

import numpy as np

from estimators.core.error_types import PLACE
from estimators.core.estimator import Estimates, Estimator, Status
from estimators.linear.covariances import ClusterK
from estimators.linear.did import TwoWayDID
from estimators.staggered.adoption_effects import Cohorts, event_of
from estimators.staggered.callaway_santanna import CallawaySantAnna, Controls
from estimators.staggered.dummy_regression import EventStudy, SunAbraham
from estimators.staggered.imputation import Imputation, TwoStage
from estimators.staggered.spatial_did import Rings, SpatialDID
from estimators.staggered.stacked import Stacked, StackedSample
from estimators.staggered.trend_evidence import EventTimes
from experiments.panel_spec.spec import RealPanel
from experiments.tables.adoption_checks import BOUNDS, COMPARISONS, add_diagnostics
from experiments.tables.ledger import (
    ALONE,
    FEW_TREATED,
    TOO_SMALL,
    FittedColumn,
    Ledger,
    balanced_for,
    known_terms,
    main_cluster,
    reasons,
    say_balanced,
    say_what_has_no_error,
    undated,
)
from results.plots.event_plot import EventPath, event_figure, event_path
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
from results.tables.records import STAGGERED, Fit
from results.tables.typography import AVERAGES, COUNTS, count, heading, probability, variant
from sim.errors import BadInput, listed
from sim.panel import Panel, part
from sim.streams import Streams

SPILLOVERS = "S4"
FEW_CONTROLS = 20  # spare ones, from which on a 5% test rejects less than 8% (`CallawaySantAnna.spare_controls`)
SEEN_PART = "cohorts enter with the part of the window that the panel covers"
DRAWN = ("event-study", "callaway-santanna", "imputation", "sun-abraham")  # in the figure, a column of each


type Choice = tuple[Estimator, Panel, str]  # that may fill a column, and what was changed for it in words


@dataclass(frozen=True, eq=False, slots=True)
class StaggeredTable:
    """A panel with staggered adoption. panel: the balanced panel; core: without units treated from the start on.

    errors: the spec's clusters, the main one first. cluster_k: of [inference], for the estimators that have it.
    """

    ledger: Ledger
    panel: Panel
    core: Panel
    cohorts: Cohorts
    errors: tuple[str, ...]
    cluster_k: ClusterK

    @property
    def treatment(self) -> str:
        """Name of the treatment."""
        return str(self.panel.roles.treatment)

    @property
    def never(self) -> bool:
        """Whether a unit is never treated."""
        return bool(self.cohorts.never.any())


def add(real: RealPanel, ledger: Ledger) -> None:
    """Tables and figures of [robustness] staggered and honest; what the panel does not allow is a note."""
    found = _sample_of(real, ledger)
    if found is not None:
        estimates = dict(_effects(found))
        paths: dict[str, EventPath] = {}  # Callaway and Sant'Anna's by the first comparison group that the panel has
        for (model, transform), one in estimates.items():
            if model in DRAWN and model not in paths and any(term.startswith("event(") for term in one.terms):
                paths[model] = event_path(one, heading(model, transform))
        if paths:
            ledger.draw(event_figure, tuple(paths.values()), ledger.name(found.panel.roles.outcome))
        add_diagnostics(found.panel, found.core, ledger, found.errors, honest=real.spec.robustness.honest)

        # Table S4: neighbours' treatment by every W, and rings where there are coordinates.
        estimators: list[tuple[str | None, Estimator]] = [
            (name, SpatialDID(weights=name, errors=found.errors, cluster_k=found.cluster_k))
            for name in found.panel.weights
        ]
        if set(PLACE) <= set(found.panel.attributes):
            estimators.append((None, Rings(errors=found.errors, cluster_k=found.cluster_k)))
        for column, (weights, estimator) in enumerate(estimators, start=1):
            fit = Fit((SPILLOVERS, column), estimator.kind, weights=weights)
            label = heading(fit.model, None) + f" {weights}" * (weights is not None)
            try:
                fitted = estimator(found.panel)
            except BadInput as refusal:
                found.ledger.note(f"Table {SPILLOVERS} has no column {label}: {reasons(refusal)}.")
                continue
            if fitted.status[0] != Status.OK:
                found.ledger.note(f"Table {SPILLOVERS} has no column {label}: the exposures are collinear, or no unit "
                                  "is exposed.")  # fmt: skip
                continue
            shown = tuple(term for term in fitted.terms if term not in found.panel.roles.controls)
            found.ledger.keep(found.panel, fit, fitted.only(shown))
            say_what_has_no_error(found.ledger, fit, found.panel, fitted.only(shown))
            if isinstance(estimator, Rings):
                did = found.panel.variables[found.treatment]
                rings = dict(zip(estimator.exposures, estimator.exposed_to(found.panel, did)[0], strict=True))
                rings["treated beyond"] = did[0] * (1 - sum(rings.values()))
                held = {name: int(ring.any(axis=0).sum()) for name, ring in rings.items()}
                if few := [f"{name}: {units}" for name, units in held.items() if units < FEW_TREATED]:
                    found.ledger.note(f"Table {SPILLOVERS}, {label}, units in rings with fewer than {FEW_TREATED} "
                                      f"({'; '.join(few)}): {TOO_SMALL}.")  # fmt: skip
        if found.panel is not real.panel:
            say_balanced(ledger, found.panel, (STAGGERED, COMPARISONS, BOUNDS, SPILLOVERS))


def add_effects(real: RealPanel, ledger: Ledger) -> None:
    """The columns of table S alone, without diagnostics and figures."""
    found = _sample_of(real, ledger)
    if found is not None:
        dict(_effects(found))


def _sample_of(real: RealPanel, ledger: Ledger) -> StaggeredTable | None:
    """The panel that the tables are of; None, and a note, where the spec or the panel gives none."""
    if not real.spec.robustness.staggered or real.panel.roles.treatment is None:
        return None
    if undated(real, ledger, f"No table {STAGGERED}"):
        return None
    panel = balanced_for(real, ledger, STAGGERED)
    if panel is None:
        return None
    treatment, none = str(real.panel.roles.treatment), f"No table {STAGGERED}"
    none += "" if real.panel.balanced else " of the balanced part"
    try:
        cohorts = Cohorts.of(panel, treatment, f"table {STAGGERED}")
    except BadInput as refusal:
        ledger.note(f"{none}: {reasons(refusal)}.")
        return None
    if len(cohorts.firsts) == 1 and (cohorts.first == cohorts.firsts[0]).all():
        ledger.note(f"{none}: all units become treated in {cohorts.labels[0]}, and there are no units "
                    "to compare with.")  # fmt: skip
        return None
    core = part(panel, cohorts.first > 0, np.ones(len(panel.periods), dtype=bool))
    one_way = {"cluster:unit", *(f"cluster:{name}" for name in panel.attributes)}
    errors = (main_cluster(real.spec), *(error for error in real.spec.inference.errors if error in one_way))
    found = StaggeredTable(
        ledger, panel, core, Cohorts.of(core, treatment, ""), tuple(dict.fromkeys(errors)),
        real.spec.inference.cluster_k,
    )  # fmt: skip
    always = int((cohorts.first == 0).sum())
    if always:
        found.ledger.note(f"{always} units are treated from the first period on. The two-way column of table "
                          f"{STAGGERED} keeps them; the other columns need periods before adoption and leave them out."
                          )  # fmt: skip
    if not found.never:
        found.ledger.note(f"All units become treated: the columns of table {STAGGERED} compare with units not treated "
                          "yet, and periods in which all units are treated identify no effect.")  # fmt: skip
    if len(cohorts.firsts) == 1 and not always:
        found.ledger.note(f"All treated units adopt in {cohorts.labels[0]}: adoption is not staggered, and the two-way "
                          "coefficient contains no comparison with units already treated.")  # fmt: skip
    if found.cohorts.firsts[-1] == 1:
        found.ledger.note(
            "Only one period lies before adoption: there is no test of pre-trends, and there are no bounds."
        )
    return found


def _effects(found: StaggeredTable) -> Iterator[tuple[tuple[str, str | None], Estimates]]:
    """Table S: estimates by model and variant of the columns that can be."""
    spare: dict[str, int] = {}
    for column, (transform, choices) in enumerate(_columns(found), start=1):
        kind = choices[0][0].kind
        one = _first_possible(found, choices, Fit((STAGGERED, column), kind, transform))
        if one is None:
            continue
        found.ledger.fitted.append(one)
        shown = _completed(found, one)
        # Sizes of the column's sample: of stacks what they hold, of other estimators their panel.
        panel, fit, stacks = one.panel, one.fit, _stacks(one.estimator, one.panel)
        cohorts = Cohorts.of(panel, found.treatment, "")
        treated, dates, rows = int((cohorts.first < len(panel.periods)).sum()), len(cohorts.firsts), panel.nobs
        if stacks is not None:
            panel = part(panel, stacks.units, stacks.periods)
            treated, dates, rows = stacks.treated, len(stacks.cohorts), stacks.rows
            lacking = [label for label in found.cohorts.labels if label not in stacks.cohorts]
            for cut, reason in ((False, "no unit is untreated to the end of the window"),
                                (True, "the panel does not cover the whole window")):  # fmt: skip
                if labels := [label for label in lacking if (label in stacks.cut) == cut]:
                    found.ledger.note(f"Table {STAGGERED}, {heading(Stacked.kind, None)}: "
                                      f"{'cohorts' if len(labels) > 1 else 'cohort'} {listed(labels, 12)} left out, "
                                      f"because {reason}.")  # fmt: skip
        found.ledger.keep(panel, fit, shown, rows)
        say_what_has_no_error(found.ledger, fit, panel, shown, lambda _: ALONE)
        found.ledger.values(fit, {"treated_units": float(treated), "cohorts": float(dates)})
        if isinstance(one.estimator, CallawaySantAnna):
            spare[variant(str(transform))] = one.estimator.spare_controls(one.panel)
        yield (kind, transform), shown
    if few := {name: count for name, count in spare.items() if count < FEW_CONTROLS}:
        some = "; ".join(f"{name}: {count}" for name, count in few.items())
        found.ledger.note("Callaway and Sant'Anna's errors have no small-sample correction and are too small where a "
                          f"comparison has few controls: fewer than {FEW_CONTROLS} more than coefficients ({some})."
                          )  # fmt: skip


def _columns(found: StaggeredTable) -> Iterator[tuple[str | None, Sequence[Choice]]]:
    """Variant, and what may fill the column: the first that the panel allows does."""
    errors, controls = found.errors, found.panel.roles.controls
    two_way = TwoWayDID(None, (found.treatment, *controls), errors, found.cluster_k, label="two-way")
    yield None, [(two_way, found.panel, "")]
    yield None, list(_choices(found, EventStudy(errors=errors)))
    groups: tuple[Controls, ...] = ("never", "not-yet") if found.never else ("not-yet",)
    methods: tuple[Literal["unconditional", "dr"], ...] = ("unconditional", "dr") if controls else ("unconditional",)
    for method, group in product(methods, groups):
        callaway = CallawaySantAnna(  # the period before adoption is the base of all others; with a band
            controls=group, method=method, covariates=controls if method == "dr" else (), base="universal",
            errors=errors, band="rademacher",
        )  # fmt: skip
        yield f"{group}{', dr' * (method == 'dr')}", [(callaway, found.core, "")]
    yield None, list(_choices(found, Imputation(errors=errors)))
    yield None, list(_choices(found, TwoStage(errors=errors)))
    yield None, [(SunAbraham(errors=errors), found.core, "")]

    # Stacks with their whole window, then of all that have clean controls; what keeps more cohorts first.
    whole = Stacked(errors=found.errors)
    choices = [*_choices(found, whole)]
    for estimator, panel, remedy in _choices(found, replace(whole, complete=False)):
        stacks = _stacks(estimator, panel)
        seen = f"{SEEN_PART}, {listed(stacks.cut, 12)} with a part only" if stacks and stacks.cut else ""
        choices.append((estimator, panel, "; ".join(filter(None, (seen, remedy)))))
    kept = [_stacks(estimator, panel) for estimator, panel, _ in choices]
    less = [0 if stacks is None else -len(stacks.cohorts) for stacks in kept]
    yield None, [choices[i] for i in np.argsort(less, kind="stable")]


def _stacks(estimator: Estimator, panel: Panel) -> StackedSample | None:
    """What stacks hold; None for other estimators and for panels without cohorts."""
    if not isinstance(estimator, Stacked):
        return None
    try:
        return estimator.sample(panel)
    except BadInput:
        return None


def _choices(found: StaggeredTable, estimator: Estimator) -> Iterator[Choice]:
    """The estimator on all periods, and where nobody is never treated on those before the last cohort adopts."""
    yield estimator, found.core, ""
    last = found.cohorts.firsts[-1]
    if not found.never and last > 1:
        before = part(found.core, np.ones(len(found.core.units), dtype=bool), np.arange(len(found.core.periods)) < last)
        cut = f"periods from {found.core.periods[last]} on, in which all are treated, are left out"
        yield estimator, before, cut


def _first_possible(found: StaggeredTable, choices: Sequence[Choice], fit: Fit) -> FittedColumn | None:
    """The first choice that fits; a note when none does."""
    refusals: dict[str, None] = {}
    label = heading(fit.model, fit.transform)
    for estimator, panel, remedy in choices:
        try:
            estimates = estimator(panel, Streams(found.ledger.seed, f"{STAGGERED} {fit.place[1]}"))
        except BadInput as refusal:
            refusals[reasons(refusal)] = None
            continue
        if estimates.status[0] != Status.OK:
            refusals[Status(int(estimates.status[0])).meaning] = None
            continue
        if remedy:
            found.ledger.note(f"Table {STAGGERED}, {label}: {remedy}.")
        return FittedColumn(panel, estimator, fit, estimates)
    found.ledger.note(f"Table {STAGGERED} has no column {label}: {listed(tuple(refusals))}.")
    return None


def _completed(found: StaggeredTable, one: FittedColumn) -> Estimates:
    """Estimates as the table shows them: known terms, of Callaway and Sant'Anna with the statistics of the others."""
    estimator, estimates = one.estimator, one.estimates
    if isinstance(estimator, TwoWayDID):
        return replace(estimates, statistics={}).only((found.treatment,))
    if isinstance(estimator, CallawaySantAnna):
        path = EventTimes.of(estimator, one.panel)
        statistics = {name: estimates.statistics[name] for name in ("cells", "left_out")}
        events = [term.startswith("event(") for term in estimates.terms]
        banded = np.isfinite(estimates.se[0, 0, events]).any()
        statistics["uniform"] = estimates.statistics["critical:event"] if banded else np.full(1, np.nan)
        names = ("pretrend", "pretrend_p", "pretrend_hotelling_p")
        statistics |= {name: np.array([value]) for name, value in zip(names, path.pretrend(), strict=True)}
        estimates = replace(estimates, statistics=statistics)
    return estimates.only(known_terms(estimates))


# How it is arranged: the records of a document as a table.


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
    "unit alone has no error, but in the two-way column."
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
    "number of clusters that are treated, or compared with. Intervals with the uniform critical value hold for all "
    "event times together."
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
        two_way = str(setting.treatment) if term == "overall" else term  # its coefficient stands for its only average
        found = [setting.shown_record(column, two_way if column.model == "did" else term) for column in columns]
        if any(found):
            rows += coefficient_rows(label, found)
    rows.append(Row("Periods since adoption", kind="head"))
    events = {event for column in columns for term in column.terms if (event := event_of(term)) is not None}
    inside = events and min(events) < -1 < max(events) and any(column.model in _REFERENCE for column in columns)
    for event in sorted(events | ({-1} if inside else set())):
        number, below, *_ = [*coefficient_rows(f"  {event:+d}" if event else "  0",
                                               setting.shown_records(columns, f"event({event})")),
                             Row("")]  # fmt: skip
        if event == -1:
            shown = (cell or ("ref." if column.model in _REFERENCE else "")
                     for cell, column in zip(number.cells, columns, strict=True))  # fmt: skip
            number = Row(number.label, tuple(shown))
        rows += [number, below] if below.cells else [number]
    without = [column.model == "callaway-santanna" and not str(column.transform).endswith("dr") for column in columns]
    controls = tuple("no" if one else "yes" for one in without)
    rows += [
        Row("Compared with", tuple(_compared(column) for column in columns), rule=True),
        *([Row("Controls", controls)] if setting.controls else []),
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


def _compared(column: FitColumn) -> str:
    if column.transform is not None:
        return "never" if column.transform.startswith("never") else "not yet"
    return _COMPARED.get(column.model, "")


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
        who, _, ring = term.partition(":")
        of_ring = f"{who.capitalize()}, other at {ring} km" if who in ("treated", "untreated") and ring else ""
        label = named.get(term) or of_ring or setting.label(term)
        rows += coefficient_rows(label, setting.shown_records(columns, term))
    rows += value_rows(
        columns, {"vif:did": f"VIF of {setting.treatment_name}", "unexposed": "Untreated unexposed, share"}
    )
    rows += size_rows(columns, setting.units, setting.periods)
    note = (
        "Two-way DID with the controls, the unit's own treatment and the treatment of others: the neighbours' "
        "treatment summed by W, where rows sum to one a share of treated neighbours (Delgado and Florax 2015), or "
        "the ring in km that contains the nearest other treated unit (Butts 2021). The effect on the treated "
        "includes the effect of their neighbours' treatment. The own effect plus the bias equals the coefficient of "
        "DID without spillovers."
    )
    title = f"Local spillovers: {setting.about}"
    return [JournalTable(SPILLOVERS, title, tuple(heads), tuple(rows), setting.notes(columns, note))]


TABLES = (STAGGERED, SPILLOVERS)
LAYOUTS = {10: staggered, 13: spillovers}
