"""Table 5: each mediator's two equations, the effect through it with its intervals, and how fragile that effect is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from estimators.core.error_types import error_label
from estimators.core.estimator import Estimates, critical_values
from estimators.mediation import Mediation
from experiments.panel_spec.spec import RealPanel
from experiments.study import NAME
from experiments.tables.ledger import (
    Ledger,
    clustered_enough,
    error_types,
    main_cluster,
    regression,
    say_what_has_no_error,
    unfit,
)
from results.tables.journal_table import (
    FitColumn,
    Heading,
    JournalTable,
    Row,
    TableSetting,
    bracket,
    coefficient,
    fit_columns,
    interval,
    regressions,
    shown_numbers,
    value_rows,
)
from results.tables.records import LEVEL, Fit, Style
from results.tables.typography import IN_BRACKETS, digits

CORRELATIONS = tuple(step / 10 for step in range(-9, 10))  # of the two equations' errors


def add(real: RealPanel, ledger: Ledger) -> None:
    """Two columns a mediator, and the indirect effect at the second; nothing without a treatment or a mediator."""
    roles = real.panel.roles
    if roles.treatment is None:
        if roles.mediators:
            ledger.note("There is no table 5: the spec names no treatment, so mediators have no effect to pass on.")
        return
    for position, mediator in enumerate(roles.mediators):
        _add_mediator(real, ledger, mediator, position)


def _add_mediator(real: RealPanel, ledger: Ledger, mediator: str, position: int) -> None:
    panel = real.panel
    first, second = ("5", 2 * position + 1), ("5", 2 * position + 2)
    treatment, *controls = panel.roles.regressors
    why = unfit(panel, (*panel.roles.regressors, mediator))
    if why:
        ledger.note(f"Table 5 has no columns for {mediator}: {why}.")
        return
    cluster = main_cluster(real.spec).removeprefix("cluster:")
    paths = Mediation(
        mediator,
        errors=("delta", "sobel", "monte-carlo", f"bootstrap:{cluster}"),  # tables read the cluster off the last
        draws=real.spec.inference.draws,
        cluster=cluster,
        cluster_k=real.spec.inference.cluster_k,
        label=f"mediation-{mediator if NAME.fullmatch(mediator) else position + 1}",
    )
    errors = clustered_enough(panel, error_types(real.spec))
    equations = [
        regression(real.spec, f"{model}-{paths.label}", regressors, outcome=outcome, errors=errors)
        for model, outcome, regressors in (
            ("mediator", mediator, panel.roles.regressors),
            ("outcome", None, (treatment, mediator, *controls)),
        )
    ]
    effects = Fit(second, "mediation", mediator=mediator)
    fits = (Fit(first, "mediator", mediator=mediator), Fit(second, "outcome", mediator=mediator), effects)
    found = ledger.fit(panel, dict(zip((*equations, paths), fits, strict=True)))
    for one, fit in zip(equations, fits, strict=False):
        if one in found:
            say_what_has_no_error(ledger, fit, panel, found[one])
    if paths in found:
        say_what_has_no_error(ledger, effects, panel, found[paths].only(("nie", "nde", "total")))

        # the indirect effect and its 95% interval if the equations' errors correlated, over a grid of correlations
        own = found[paths]
        effect, error = (values[0] for values in paths.sensitivity(real.panel, np.array(CORRELATIONS)))
        dof = own.dof[:1, own.errors.index("delta"), own.terms.index("nie")]
        margin = critical_values(dof, LEVEL) * error
        for at, nie, half in zip(CORRELATIONS, effect, margin, strict=True):
            ends = {"nie_at_rho": nie, "nie_at_rho_lower": nie - half, "nie_at_rho_upper": nie + half}
            ledger.values(effects, ends, term=f"rho = {at:g}")
        _add_note(ledger, mediator, found[paths])


def _add_note(ledger: Ledger, mediator: str, estimates: Estimates) -> None:
    """That a share of an effect which may be zero says nothing; that the share hangs on an assumption."""
    total, row = estimates.terms.index("total"), estimates.errors.index("delta")
    t = estimates.estimate[0, total] / estimates.se[0, row, total]
    if abs(t) < critical_values(estimates.dof[:1, row, total], LEVEL)[0]:  # as its 95% interval says
        ledger.note(f"Table 5, {mediator}: the total effect is not distinguishable from zero (t = {t:.2f}), so the "
                    "proportion mediated is not meaningful.")  # fmt: skip
    ledger.note("Table 5: an indirect effect is causal only if no unobserved variable affects both mediator and "
                "outcome. ρ at which a × b is 0 (rho_at_zero in the files) is the correlation of the two equations' "
                "errors at which the indirect effect would be zero.")  # fmt: skip


# How it is arranged: the records of a document as a table.


_EFFECTS = (
    ("nie", "Indirect effect (a × b)"),
    ("nde", "Direct effect"),
    ("total", "Total effect"),
    ("proportion", "Share of the total"),
)
_INTERVALS = {"delta": "delta method", "sobel": "Sobel", "monte-carlo": "Monte Carlo"}
_BOOTSTRAP = "bootstrap:"
_SENSITIVITY = {"rho_at_zero": "ρ at which a × b is 0", "r2_product_at_zero": "R² product at which a × b is 0"}


def mediation(setting: TableSetting) -> list[JournalTable]:
    """Table 5: two columns a mediator, the effects through it under that of the outcome."""
    columns = fit_columns(setting.document, "5", ("mediator", "outcome"))
    found = {column.mediator: column for column in fit_columns(setting.document, "5", ("mediation",))}
    named = [setting.name(column.mediator) for column in columns]
    heads = [Heading(name if column.model == "mediator" else setting.outcome, f"({column.column})", f"Mediator {name}")
             for name, column in zip(named, columns, strict=True)]  # fmt: skip
    paths = [found.get(column.mediator) if column.model == "outcome" else None for column in columns]
    rows = [row for term, label in _EFFECTS for row in _through(term, label, paths, setting.style)]
    rows += value_rows([path or FitColumn(("5", 0), "") for path in paths], _SENSITIVITY)
    own = [_clustered(path) for path in paths]
    if any(kind and kind != column.shown_error(setting.asked) for kind, column in zip(own, columns, strict=True)):
        rows = [Row("Standard errors", tuple(own)), *rows]
    rows = [Row("Effects through the mediator", kind="head"), *rows] if rows else []
    kinds = "".join(f"{error_label(kind)}; " for kind in dict.fromkeys(filter(None, own)))
    brackets = setting.style.brackets
    held = f"{IN_BRACKETS[brackets]} in brackets{' and 95% interval' * (brackets != 'ci')}"
    note = (f"Effects through the mediator: {kinds}each method's {held}; the "
            "stars are those of the first method. The effects are causal only without confounding of mediator and "
            "outcome.")  # fmt: skip
    title = f"Mediation: {setting.about}"
    return regressions(setting, "5", title, columns, heads, None, note if rows else "", rows=rows)


def _clustered(path: FitColumn | None) -> str:
    """The error type that all methods of an effect through a mediator have, which the bootstrap's name tells."""
    drawn = (kind.removeprefix(_BOOTSTRAP) for kind in path.errors if kind.startswith(_BOOTSTRAP)) if path else ()
    return next((f"cluster:{name}" for name in drawn), "")


def _through(term: str, label: str, paths: Sequence[FitColumn | None], style: Style) -> list[Row]:
    """An effect with its standard error and interval: of that through the mediator by every method."""
    bare: dict[str, Any] = {"statistic": None, "pvalue": None} if term == "proportion" else {}  # of which none is shown
    records = [{} if path is None else {record.se_type: replace(record, **bare) for record in path.records
                                        if record.term == term} for path in paths]  # fmt: skip
    kinds = list(dict.fromkeys(kind for found in records for kind in found))
    every = shown_numbers(record for found in records for record in found.values())
    rows = (
        [Row(label, tuple(coefficient(next(iter(found.values()), None), every) for found in records))] if kinds else []
    )
    for kind in kinds if term in ("nie", "proportion") else kinds[:1]:
        chosen = [found.get(kind) for found in records]
        drawn = kind.removeprefix(_BOOTSTRAP)
        name = f"  {f'{drawn} bootstrap' if drawn != kind else _INTERVALS.get(kind, kind)}"
        both = [tuple(bracket(record, every) for record in chosen), tuple(interval(record, every) for record in chosen)]
        both = both[1:] if style.brackets == "ci" else list(dict.fromkeys(both))
        rows += [Row(name if number == 0 else "", cells, "error") for number, cells in enumerate(both) if any(cells)]
    return rows


def confounded_mediation(setting: TableSetting) -> list[JournalTable]:
    """The indirect effect were mediator and outcome confounded: under each correlation of the two equations' errors."""
    tables = []
    for column in fit_columns(setting.document, "5", ("mediation",)):
        names = ("nie_at_rho", "nie_at_rho_lower", "nie_at_rho_upper")
        terms = list(dict.fromkeys(term for name, term in column.by_term if name == names[0]))
        values = {term: [column.by_term.get((name, term)) for name in names] for term in terms}
        rows = tuple(Row(term.replace("rho", "ρ"), tuple(digits(value, found) for value in found))
                     for term, found in values.items())  # fmt: skip
        title = (
            f"Indirect effect through {setting.name(column.mediator)} by the correlation ρ of the two equations' errors"
        )
        heads = (Heading("Indirect effect"), Heading("95% from"), Heading("to"))
        note = (
            "ρ = 0 is the assumption of table 5: mediator and outcome have no common unobserved cause (Imai, "
            "Keele and Yamamoto, 2010)."
        )
        tables.append(JournalTable("A", title, heads, rows, (note, setting.data), appendix=True))
    return [table for table in tables if table.rows]


TABLES = ("5",)
LAYOUTS = {5: mediation, 103: confounded_mediation}
