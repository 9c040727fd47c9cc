"""The effect with other effects, trends and controls, and under every error type, sample, W and estimator of tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from estimators.core.error_types import error_label
from estimators.core.estimator import critical_values, p_values
from estimators.sensitivity.differences import ALTERNATIVE
from experiments.checks import influence
from experiments.checks.case import Case, number
from experiments.checks.check import LEVELS
from results.plots.specification_curve import counts, curve_figure
from results.tables.records import (
    EQUAL_EFFECTS,
    INFORMS,
    LEVEL,
    ROBUSTNESS,
    SILENT,
    SPATIAL,
    STAGGERED,
    WEAKENS,
    Check,
    Record,
    Specification,
)
from results.tables.typography import heading, short_p

NAME = "other effects and controls"
ORDER = 10
SAME = 1e-9  # relative distance of two estimates that are one
LISTED = 3  # specifications of the tables that are named when they have another sign
TRENDS = "effects:unit-trend"
ALIKE = "Effects that grow and trends that differ look alike beside unit trends."


def ways(case: Case) -> Iterator[tuple[str, str, str]]:
    """What is always tried: kind of the curve, label, alternative."""
    period = case.real.spec.panel.period
    for name in case.groups:
        yield "effects", f"{name}-by-{period} effects", f"effects:{name}-by-period"
    yield "effects", f"{case.unit}-specific linear trends", TRENDS
    yield "controls", "no controls", "controls:none"


def single_controls(case: Case) -> dict[str, str]:
    """Without each control in turn, in words, where there is more than one."""
    names = [name for name in case.panel.roles.controls if name != case.term]
    return {f"controls:-{name}": f"without the control {name}" for name in names} if len(names) > 1 else {}


def alternatives(case: Case) -> Iterator[str]:
    """Other effects, no controls, without each control."""
    for _, _, text in ways(case):
        if text != "controls:none" or case.panel.roles.controls:
            yield text
    yield from single_controls(case)


def check(case: Case) -> Iterator[Check]:
    """A record for each specification that is always tried, then the error types and counts over all."""
    if case.effect is None or case.effect.estimate is None:
        return
    for _, label, text in ways(case):
        found = case.judged(f"specification:{label}", (text,), {text: f"with {label}"}, remedy=f"show the effect with "
                            f"{label} beside it")  # fmt: skip
        if found is not None:
            yield _trends(found) if text == TRENDS else found
    one_by_one = case.judged("leave-out:control", tuple(single_controls(case)), single_controls(case),
                             remedy="say why the control belongs there")  # fmt: skip
    if one_by_one is not None:
        yield one_by_one
    if case.effect.pvalue is None:
        return
    yield _error_types(case)
    if case.headline:
        every = [*_of_tables(case)]
        for one in tried(case):  # once, where tables have it too
            if not any(np.isclose(one.estimate, own.estimate, SAME, 0.0) for own in every if own.kind != "errors"):
                every.append(one)

        # A count is no test: specifications are no independent samples, and some are only less precise.
        same, at5, at10 = counts(every, case.effect_value)  # significant: with the sign of the effect
        n, values = len(every), sorted(one.estimate for one in every)
        other = sorted((one for one in every if one.estimate * case.effect_value <= 0), key=lambda one: one.pvalue)
        against = "; ".join(f"{one.label} {number(one.estimate)}" for one in other[:LISTED])
        are = "is" if at5 == 1 else "are"
        said = (
            f"Of {n} specifications, {same} have the sign of the effect, {at5} {are} significant at 5% and {at10} at "
            f"10%, from {number(values[0])} to {number(values[-1])}.{f' Others: {against}.' if against else ''}"
        )
        numbers = {"specifications": n, "same_sign": same, "significant_5": at5, "significant_10": at10,
                   "lowest": values[0], "highest": values[-1]}  # fmt: skip
        yield Check.fact("specification-curve", INFORMS if same < n else SILENT, said, "",
                         {name: float(value) for name, value in numbers.items()})  # fmt: skip
        case.ledger.specifications += every
        case.ledger.draw(curve_figure, every, case.effect.estimate, case.ledger.name(case.outcome_name))


def _trends(found: Check) -> Check:
    """Unit trends: a difference there never contradicts."""
    d = abs(found.difference or 0.0)
    if found.answer == "consistent" or found.se is None or d <= (found.numbers["critical"] or 0.0) * found.se:
        return found
    head = found.sentence.partition(", which may be")[0].partition(", more than chance")[0]
    return replace(found, sentence=f"{head}, more than chance. {ALIKE}", weight=WEAKENS)


def tried(case: Case) -> Iterator[Specification]:
    """The alternatives of the family that are specifications of their own, for the curve."""
    family = case.family
    if family is None:
        return
    own = [(kind, label, text) for kind, label, text in ways(case)]
    own += [("left out", label, text) for _, words in influence.ways(case) for text, label in words.items()]
    for kind, label, text in own:
        if text in family.estimator.alternatives:
            estimate, se, dof = family.value(text, ALTERNATIVE)
            pvalue = float(p_values(np.array(estimate / se), np.array(dof))) if se > 0 else float("nan")
            half = float(critical_values(np.array([dof]), LEVEL)[0]) * se
            if np.isfinite(pvalue):
                yield Specification(kind, label, estimate, family.estimator.error, pvalue, estimate - half,
                                    estimate + half)  # fmt: skip


def _error_types(case: Case) -> Check:
    """Whether the significance of the effect depends on the error type."""
    assert case.effect is not None
    place, term = case.effect.place, case.effect.term
    found = [r for r in case.ledger.records if (r.place, r.term) == (place, term) and r.pvalue is not None]
    not_significant = [r for r in found if r.pvalue is not None and r.pvalue > LEVELS[-1]]
    numbers = {r.se_type: r.pvalue for r in found}
    listed = ", ".join(f"{short_p(r.pvalue)} ({error_label(r.se_type)})" for r in found if r.pvalue is not None)
    differ = 0 < len(not_significant) < len(found)
    severity = SILENT if not differ else WEAKENS if case.claimed is not None else INFORMS
    said = f"Whether the effect is significant depends on the error type: p {listed}."
    quiet = f"p of the effect by error type: {listed}."
    return Check.fact("error-types", severity, said, quiet, numbers,
                      remedy="print the error type whose assumptions hold" if differ else "")  # fmt: skip


def _of_tables(case: Case) -> Iterator[Specification]:
    """Every estimate of the effect in tables 2 (two-way), 3, 4, 7, R and S, with the main errors where it has them; NaN
    for an end that it lacks."""
    assert case.effect is not None
    place, term = case.effect.place, str(case.effect.term)
    other = {f"outcome {name}" for name in case.real.spec.robustness.outcomes}
    best: dict[tuple[object, ...], tuple[int, str, str, Record]] = {}
    for record in case.ledger.records:
        if record.estimate is None or record.pvalue is None or record.sample in other:
            continue
        if record.place == place and record.term == term:
            best[place, record.se_type] = 0, "errors", f"errors {error_label(record.se_type)}", record
            continue
        named = None  # kind and label of a record that is an estimate of the effect
        if record.term == term and record.table == ROBUSTNESS:
            named = "check", record.sample
        elif record.term == term and record.table in ("3", "4"):
            if record.model == "did" and record.place != EQUAL_EFFECTS:
                named = "sample", "beside the other policy" if record.sample == "all" else record.sample
        elif record.table == STAGGERED and record.term == "overall":
            named = "estimator", heading(record.model, record.transform)
        elif record.table == SPATIAL["sdm"][0] and record.term == f"direct:{term}":
            named = "W", f"{heading(record.model, None)} {record.transform}, W {record.weights}"
        if named is not None:
            classical = record.se_type in ("iid", "information", "simulation")
            rank = 0 if record.se_type == case.main_error else 2 if classical else 1  # lower is better
            key = (*record.identity.values(),)
            if key not in best or rank < best[key][0]:
                best[key] = rank, *named, record
    for _, kind, label, record in best.values():
        assert record.estimate is not None
        assert record.pvalue is not None
        lower, upper = (float("nan") if end is None else end for end in (record.lower, record.upper))
        yield Specification(kind, label, record.estimate, record.se_type, record.pvalue, lower, upper)
