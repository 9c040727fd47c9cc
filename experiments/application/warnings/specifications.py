"""The effect under every error type, sample, W and estimator of the tables, and under a few that are always tried."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from estimators.core.error_types import error_label
from estimators.core.estimator import Status
from experiments.application.tables.columns import UNIT_AND_PERIOD, regression
from experiments.application.warnings import influence
from experiments.application.warnings.case import SIGNIFICANT, Case
from experiments.application.warnings.wording import number, starred
from results.figures.specification_curve import counts, curve_figure
from results.tables.places import EQUAL_EFFECTS, ROBUSTNESS, SPATIAL, STAGGERED
from results.tables.records import Record, records_of
from results.tables.typography import heading, short_p
from results.tables.warning import INFORMS, OVERTURNS, SILENT, WEAKENS, PanelWarning, Specification
from sim.errors import BadInput

ORDER = 10
FEW = 0.5  # share of significant specifications below which the effect counts as fragile
SIGNS = 0.9  # share with the sign of the effect below which its sign does
NAMED = 3  # specifications of the tables that are named when they disagree
OWN = {"effects", "controls"}  # kinds with a sentence a specification


def check(case: Case) -> Iterator[PanelWarning]:
    """A sentence for each specification that is always tried and disagrees, then counts over all."""
    effect = case.effect
    if effect is None or effect.estimate is None or effect.pvalue is None:
        return
    tried = list(always(case))
    for one in tried:
        yield _compared(case, one)
    yield _error_types(case)
    every = [*_of_tables(case), *tried, *influence.specifications(case)]
    yield _counts(case, every)
    case.ledger.specifications += every
    case.ledger.figures.append(curve_figure(every, effect.estimate, str(case.panel.roles.outcome)))


def always(case: Case) -> Iterator[Specification]:
    """Effects of every group and period, trends of units, no controls: what the panel cannot have is left out."""
    period, unit = case.real.spec.panel.period, case.unit
    choices: list[tuple[str, str, tuple[str, ...]]] = [
        ("effects", f"{name}-by-{period} effects", ("unit", f"{name}-by-period")) for name in case.groups
    ]
    choices.append(("effects", f"{unit}-specific linear trends", (*UNIT_AND_PERIOD, "unit-trend")))
    for kind, label, effects in choices:
        yield from _fitted(case, kind, label, effects, None)
    treatment = str(case.panel.roles.treatment)
    if case.panel.roles.controls:
        yield from _fitted(case, "controls", "no controls", UNIT_AND_PERIOD, (treatment,))


def _fitted(
    case: Case, kind: str, label: str, effects: tuple[str, ...], regressors: tuple[str, ...] | None
) -> Iterator[Specification]:
    """The two-way regression with other effects or regressors, and the main errors."""
    panel = replace(case.panel, weights={})
    estimator = regression(case.real.spec, label, regressors, effects=effects, errors=(case.main_error,))
    try:
        estimates = estimator(panel)
    except BadInput:
        return
    if estimates.status[0] != Status.OK:
        return
    assert case.effect is not None
    for record in records_of(case.effect, estimates, 0, 0, 0):
        if record.term == case.effect.term and record.pvalue is not None:
            yield specification(record, kind, label)


def specification(record: Record, kind: str, label: str) -> Specification:
    """A record of the tables as one way to estimate the effect; NaN for an end that it lacks."""
    ends = [float("nan") if end is None else end for end in (record.lower, record.upper)]
    assert record.estimate is not None
    assert record.pvalue is not None
    return Specification(kind, label, record.estimate, record.se_type, record.pvalue, ends[0], ends[1])


def _compared(case: Case, one: Specification) -> PanelWarning:
    """Whether a specification speaks against the effect: another sign, or half of it and not significant."""
    assert case.effect is not None
    assert case.effect.estimate is not None
    effect, said = case.effect.estimate, _says(case, one)
    numbers = {"estimate": one.estimate, "pvalue": one.pvalue, "effect": effect}
    less = one.estimate / effect if effect else 1.0
    if case.claimed is not None and less < FEW and one.pvalue > SIGNIFICANT:
        severity = OVERTURNS
    elif case.claimed is not None and one.pvalue > SIGNIFICANT:
        severity = WEAKENS
    else:
        severity = INFORMS if less < FEW or less > 1 / FEW else SILENT
    return PanelWarning(f"specification:{one.label}", severity, said, numbers)


def _says(case: Case, one: Specification) -> str:
    assert case.effect is not None
    assert case.effect.estimate is not None
    effect = starred(case.effect.estimate, case.effect.pvalue)
    return f"The effect of {effect} is {starred(one.estimate, one.pvalue)} (p {short_p(one.pvalue)}) with {one.label}."


def _error_types(case: Case) -> PanelWarning:
    """Whether the significance of the effect depends on the error type."""
    assert case.effect is not None
    place, term = case.effect.place, case.effect.term
    found = [r for r in case.ledger.records if (r.place, r.term) == (place, term) and r.pvalue is not None]
    not_significant = [r for r in found if r.pvalue is not None and r.pvalue > SIGNIFICANT]
    numbers = {r.se_type: r.pvalue for r in found}
    listed = ", ".join(f"{short_p(r.pvalue)} ({error_label(r.se_type)})" for r in found if r.pvalue is not None)
    differ = 0 < len(not_significant) < len(found)
    severity = SILENT if not differ else WEAKENS if case.claimed is not None else INFORMS
    said = f"Whether the effect is significant depends on the error type: p {listed}."
    return PanelWarning(
        "error-types", severity, said if differ else f"p of the effect by error type: {listed}.", numbers
    )


def _of_tables(case: Case) -> Iterator[Specification]:
    """Every estimate of the effect in tables 2 (two-way), 3, 4, 7, R and S, with the main errors where it has them."""
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
        named = _named(record, term)
        if named is not None:
            rank = _rank(record.se_type, case.main_error)
            key = (*record.identity.values(),)
            if key not in best or rank < best[key][0]:
                best[key] = rank, *named, record
    for _, kind, label, record in best.values():
        yield specification(record, kind, label)


def _named(record: Record, term: str) -> tuple[str, str] | None:
    """Kind and label of a record that is an estimate of the effect, None for any other."""
    if record.table in ("3", "4") and record.model == "did" and record.term == term and record.place != EQUAL_EFFECTS:
        beside = "beside the other policy" if record.sample == "all" else record.sample
        return "sample", beside
    if record.table == ROBUSTNESS and record.term == term:
        return "check", record.sample
    if record.table == STAGGERED and record.term == "overall":
        return "estimator", heading(record.model, record.transform)
    if record.table == SPATIAL["sdm"][0] and record.term == f"direct:{term}":
        return "W", f"{heading(record.model, None)} {record.transform}, W {record.weights}"
    return None


def _rank(error: str, main: str) -> int:
    """Lower is better: the main errors, others that are robust, classical ones."""
    return 0 if error == main else 2 if error in ("iid", "information", "simulation") else 1


def _counts(case: Case, every: Sequence[Specification]) -> PanelWarning:
    """How many specifications have the sign of the effect, and how many are significant with that sign."""
    assert case.effect is not None
    assert case.effect.estimate is not None
    same, at5, at10 = counts(every, case.effect.estimate)
    n, values = len(every), sorted(one.estimate for one in every)
    other = sorted((one for one in every if one.estimate * case.effect.estimate <= 0), key=lambda one: one.pvalue)
    against = "; ".join(f"{one.label} {number(one.estimate)}" for one in other[:NAMED])
    said = (
        f"Of {n} specifications, {same} have the sign of the effect, {at5} are significant at 5% and {at10} at "
        f"10%, from {number(values[0])} to {number(values[-1])}.{f' Others: {against}.' if against else ''}"
    )
    if case.claimed is not None and same < SIGNS * n:
        severity = OVERTURNS
    else:
        severity = WEAKENS if case.claimed is not None and at10 < FEW * n else INFORMS if same < n else SILENT
    numbers = {"specifications": n, "same_sign": same, "significant_5": at5, "significant_10": at10,
               "lowest": values[0], "highest": values[-1]}  # fmt: skip
    return PanelWarning("specification-curve", severity, said, {name: float(value) for name, value in numbers.items()})
