"""Tables I and I2: two-stage least squares beside least squares, and a mediator with instruments of its own.

Table I shows both stages, the reduced form, and how strong and how valid instruments are. First stage and reduced form
are the regressions of all tables; the tests are those of `PanelIV`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from estimators.core.error_types import error_label, served
from estimators.core.estimator import Estimator
from estimators.linear.instruments import EMPTY, INTERVAL, RAYS
from estimators.linear.panel_iv import PanelIV
from estimators.mediation import Mediation
from experiments.panel_spec.sections import Spec
from experiments.panel_spec.spec import RealPanel
from experiments.tables.ledger import (
    Ledger,
    clustered_enough,
    error_types,
    main_cluster,
    reasons,
    regression,
    say_what_has_no_error,
    say_what_is_left_out,
    with_further,
)
from results.tables.journal_table import (
    FitColumn,
    Heading,
    JournalTable,
    Row,
    TableSetting,
    coefficient_rows,
    fit_columns,
    regressions,
    size_rows,
    value_rows,
)
from results.tables.records import INSTRUMENTED_MEDIATOR, INSTRUMENTS, Fit
from results.tables.typography import decimals, digits, legend, model_label, probability
from sim.errors import BadInput, listed
from sim.panel import Panel
from sim.schema import TREATMENT

OLS, TWO_STAGES, FIRST, REDUCED = ((INSTRUMENTS, column) for column in range(1, 5))


def add(real: RealPanel, ledger: Ledger) -> None:
    """What [iv] asks for; a note where there cannot be such a table."""
    section = real.spec.iv
    for table, names, make in (
        (INSTRUMENTS, () if section is None else section.instruments, _add_instruments),
        (INSTRUMENTED_MEDIATOR, () if section is None else section.mediator, _add_mediator),
    ):
        if not names:
            continue
        try:
            make(real, ledger, names)
        except BadInput as refusal:
            ledger.note(f"No table {table}: {reasons(refusal)}.")


def endogenous_of(spec: Spec) -> str:
    """The endogenous regressor as the panel's variables call it."""
    own = None if spec.iv is None else spec.iv.endogenous
    return TREATMENT if own is None else spec.variable(own)


def two_stages(real: RealPanel, instruments: tuple[str, ...], errors: tuple[str, ...]) -> PanelIV:
    """The estimator of column 2, tests clustered as the spec says."""
    return PanelIV(
        endogenous=(endogenous_of(real.spec),), instruments=instruments, errors=errors, test=main_cluster(real.spec),
        cluster_k=real.spec.inference.cluster_k, label=f"table-{INSTRUMENTS}-2sls",
    )  # fmt: skip


def _part(real: RealPanel, ledger: Ledger, table: str, names: Sequence[str]) -> Panel:
    """The rows that have all variables; a note on rows that are left out."""
    panel, without = with_further(real, tuple(dict.fromkeys(names)), "[iv]")
    if without:
        ledger.note(f"Table {table}: {without}.")
    return panel


def _add_instruments(real: RealPanel, ledger: Ledger, instruments: tuple[str, ...]) -> None:
    endogenous = endogenous_of(real.spec)
    panel = _part(real, ledger, INSTRUMENTS, (endogenous, *instruments))
    wanted = tuple(error for error in error_types(real.spec) if served(error, tuple(panel.attributes), "iv"))
    errors = clustered_enough(panel, wanted)
    estimator = two_stages(real, instruments, errors)
    names = estimator.all_names(panel.schema)
    estimator.prepare(panel)  # a trial: the runner would keep the status, not the reason
    columns: dict[Estimator, Fit] = {
        regression(real.spec, f"table-{INSTRUMENTS}-{model}", regressors, outcome=outcome, errors=errors): Fit(
            at, model
        )
        for at, model, outcome, regressors in (
            (OLS, "ols", None, names.regressors),
            (FIRST, "first-stage", endogenous, (*instruments, *names.controls)),
            (REDUCED, "reduced-form", None, (*instruments, *names.controls)),
        )
    }
    columns[estimator] = Fit(TWO_STAGES, "iv")
    for one, estimates in ledger.fit(panel, columns).items():
        say_what_has_no_error(ledger, columns[one], panel, estimates)
    say_what_is_left_out(ledger, columns[estimator], wanted, panel)
    if lacking := [error for error in error_types(real.spec) if error not in wanted]:
        ledger.note(f"Table {INSTRUMENTS} has no {listed(lacking)} errors: 2SLS does not offer them.")


def _add_mediator(real: RealPanel, ledger: Ledger, instruments: tuple[str, ...]) -> None:
    (mediator,) = real.panel.roles.mediators
    panel = _part(real, ledger, INSTRUMENTED_MEDIATOR, instruments)
    cluster = main_cluster(real.spec).removeprefix("cluster:")
    plain = Mediation(
        mediator, errors=(f"bootstrap:{cluster}", "delta"), draws=real.spec.inference.draws, cluster=cluster,
        cluster_k=real.spec.inference.cluster_k, label=f"table-{INSTRUMENTED_MEDIATOR}-ols",
    )  # fmt: skip
    moved = replace(plain, label=f"table-{INSTRUMENTED_MEDIATOR}-2sls", instruments=instruments)
    moved.fitted(panel)  # a trial, for the reason
    ledger.fit(panel, {
        plain: Fit((INSTRUMENTED_MEDIATOR, 1), "mediation", mediator=mediator),
        moved: Fit((INSTRUMENTED_MEDIATOR, 2), "instrumented-mediation", mediator=mediator),
    })  # fmt: skip


# How it is arranged: the records of a document as tables.


_STRENGTH = {
    "first_stage_f": "First-stage F, iid",
    "kp_f": "Kleibergen-Paap F",
    "effective_f": "Effective F",
    "effective_f_critical": "  critical, bias 10%",
}
_TESTS = {
    "ar_p": "Anderson-Rubin p, no effect",
    "sargan_p": "Sargan p",
    "hansen_p": "Hansen J p",
    "endogeneity_p": "Endogeneity p",
}
_STRENGTH_NOTE = (
    "Effective F below its critical value (Montiel Olea and Pflueger 2013): instruments may be weak, so that 2SLS and "
    "its intervals mislead; the Anderson-Rubin set is right however weak they are. Endogeneity: whether OLS and 2SLS "
    "agree."
)
_AGREEMENT_NOTE = (
    "Sargan, Hansen J: whether several instruments agree; a small p value speaks against one of them, or for effects "
    "that differ."
)
_MEDIATION = ("a", "b", "nie", "nde", "total", "proportion")
_MEDIATION_NOTE = (
    "2SLS: the mediator in the outcome's equation has instruments, which are regressors of its own equation; a, b, "
    "direct and indirect effect are then free of confounding of mediator and outcome, if the instruments reach the "
    "outcome through the mediator alone."
)


def instruments(setting: TableSetting) -> list[JournalTable]:
    """Table I: OLS, 2SLS, first stage, reduced form; strength and tests under the column of 2SLS."""
    columns = fit_columns(setting.document, INSTRUMENTS)
    own = next((column for column in columns if column.model == "iv"), None)
    stages = [column for column in columns if column.model in ("first-stage", "reduced-form")]
    if own is None or not stages:
        return []
    moved, used = _only_in(own, stages[0]), _only_in(stages[0], own)
    heads = [Heading(model_label(column.model), f"({column.column})") for column in columns]
    shown = [column if column is own else FitColumn(column.place, column.model) for column in columns]
    rows = value_rows(shown, _STRENGTH, decimals) + value_rows(shown, _TESTS, probability)
    sets = tuple(written_set(column.statistics) for column in shown)
    rows = [*rows, Row("Anderson-Rubin 95%", sets)] if any(sets) else rows
    tested = own.shown_error(None)
    said = f"Instruments of {listed(map(setting.label, moved))}: {listed(map(setting.label, used))}."
    agree = _AGREEMENT_NOTE if "hansen_p" in own.statistics else ""
    under = f"Kleibergen-Paap, effective F, Anderson-Rubin{', Hansen J' * bool(agree)} and endogeneity: " \
            f"{error_label(tested)}."  # fmt: skip
    names = [setting.treatment_name if term == setting.treatment else term for term in moved]
    title = f"Instrumental variables: {setting.outcome} on {listed(names)}"
    return regressions(setting, INSTRUMENTS, title, columns, heads, None, said, under, _STRENGTH_NOTE, agree, rows=rows)


def _only_in(column: FitColumn, other: FitColumn) -> list[str]:
    """Terms of one column that the other lacks, without a constant."""
    return [term for term in column.terms if term not in (*other.terms, "constant")]


def written_set(statistics: Mapping[str, float]) -> str:
    """The confidence set of Anderson and Rubin in a cell; "" where there is none."""
    shape, ends = statistics.get("ar_shape"), (statistics.get("ar_lower"), statistics.get("ar_upper"))
    if shape is None:
        return ""
    if shape in (INTERVAL, RAYS):
        low, high = (digits(end, ends) for end in ends)
        return f"[{low}, {high}]" if shape == INTERVAL else f"up to {low}, from {high}"
    return "empty" if shape == EMPTY else "all values"


def instrumented_mediator(setting: TableSetting) -> list[JournalTable]:
    """Table I2: the effects through a mediator by least squares and with its instruments."""
    columns = [column for column in fit_columns(setting.document, INSTRUMENTED_MEDIATOR) if column.records]
    if not columns:
        return []
    names = {"mediation": "OLS", "instrumented-mediation": "2SLS"}
    heads = tuple(Heading(names[column.model], f"({column.column})") for column in columns)
    rows: list[Row] = []
    for term in _MEDIATION:
        shown = setting.shown_records(columns, term)
        if term == "proportion":  # zero is no hypothesis of it
            shown = [record and replace(record, statistic=None, pvalue=None) for record in shown]
        rows += coefficient_rows(term, shown)
    rows += value_rows(columns, _STRENGTH, decimals) + size_rows(columns, setting.units, setting.periods)
    title = f"Mediation with an instrumented mediator, {setting.name(columns[0].mediator)}: {setting.about}"
    notes = setting.notes(columns, legend(_MEDIATION), _MEDIATION_NOTE, factor=_MEDIATION_FACTOR)
    return [JournalTable(INSTRUMENTED_MEDIATOR, title, heads, tuple(rows), notes)]


_MEDIATION_FACTOR = "each equation's factor is that of its own regression; t with G - 1 degrees of freedom."


TABLES = (INSTRUMENTS, INSTRUMENTED_MEDIATOR)
LAYOUTS = {17: instruments, 18: instrumented_mediator}
