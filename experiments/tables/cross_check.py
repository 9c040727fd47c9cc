"""The user's own panel through linearmodels, spreg and esda: how far their numbers are from ours, table by table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby

import numpy as np

from estimators.core.estimator import Estimates
from estimators.linear.did import TwoWayDID
from estimators.linear.panel_iv import PanelIV
from estimators.linear.random_effects import RandomEffects
from estimators.spatial.spatial_panel import SpatialPanel
from experiments.references import linearmodels, pysal
from experiments.references.reference import ReferenceFit
from experiments.tables.ledger import FittedColumn
from results.tables.journal_table import Heading, JournalTable, Row, TableSetting
from results.tables.records import CROSS_CHECK, Agreement, Record
from sim.errors import first_line
from sim.panel import Panel

ERRORS = ("iid", "hc1", "cluster:unit")


def cross_check(
    fitted: Sequence[FittedColumn], records: Sequence[Record], balanced: Panel | None
) -> tuple[Agreement, ...]:
    """Largest differences by table and program: of errors relative, of estimates in units of estimate or error.

    fitted: what our estimators were asked and said; records: all that was kept, `balanced` the balanced panel that
    autocorrelation was measured on. Regressions are compared with all effects counted in clustered errors, which is
    what linearmodels can do; spatial models under the likelihood with dummies, which is what spreg can do. What a
    program cannot recompute is an agreement over no numbers that names the column and the reason.
    """
    differences: dict[tuple[str, str, str], list[float]] = {}
    for table, program, found in _compared(fitted, records, balanced):
        for what, values in found:
            differences.setdefault((table, program, what), []).extend(values)
    return tuple(
        Agreement(table, program, what, len(values), max(values, default=0.0))
        for (table, program, what), values in sorted(differences.items())
    )


def _differences(
    which: str, ask: Callable[[], ReferenceFit], compare: Callable[[ReferenceFit], Iterable[tuple[str, list[float]]]]
) -> Iterator[tuple[str, list[float]]]:
    """How another program's answer differs from ours: (what, relative differences). Its failure is no fault of our
    column, and no difference."""
    try:
        reference = ask()
    except Exception as error:  # noqa: BLE001  (what other programs raise is theirs, spreg and linearmodels Exception)
        why = first_line(error).partition(". ")[0].rstrip(".")
        yield f"{which} could not be recomputed: {why}", []
        return
    for what, values in compare(reference):
        finite = [value for value in values if np.isfinite(value)]
        yield what, finite
        if len(finite) < len(values):
            yield f"{which} could not be recomputed: {what} are not finite there", []


def _compared(
    fitted: Sequence[FittedColumn], records: Sequence[Record], balanced: Panel | None
) -> Iterator[tuple[str, str, Iterator[tuple[str, list[float]]]]]:
    """Table, program and differences of all that a program can recompute."""
    for one in fitted:
        if (asked := _asked(one)) is not None:
            (table, column), (program, ask, ours) = one.fit.place, asked
            yield table, program, _differences(f"column {column}", ask, partial(_of_fit, one.estimates, ours))
    if balanced is None or balanced.roles.outcome is None:
        return
    outcome = balanced.variables[balanced.roles.outcome][0]
    for record in records:
        if record.se_type not in ("normality", "randomisation") or record.year is None or record.weights is None:
            continue
        if record.model in ("moran", "geary"):
            values, weights = outcome[balanced.periods.index(record.year)], balanced.weights[record.weights]
            ask = partial(pysal.autocorrelation, values, weights, record.model)  # type: ignore[arg-type]
            which = f"{record.model} of {record.year}"
            yield record.table, "esda", _differences(which, ask, partial(_of_autocorrelation, record))


def _asked(one: FittedColumn) -> tuple[str, Callable[[], ReferenceFit], Estimates] | None:
    """Who can do one fit, how it is asked, and our estimates with errors that it can make; None when no program can."""
    match one.estimator:
        case TwoWayDID() as ols if set(ols.effects) <= {"unit", "period"}:
            ask = partial(
                linearmodels.least_squares, one.panel, outcome=ols.outcome, regressors=ols.regressors,
                effects=ols.effects, constant=ols.constant, errors=ERRORS,
            )  # fmt: skip
            return "linearmodels", ask, replace(ols, errors=ERRORS, cluster_k="all")(one.panel)
        case PanelIV(effects=("unit", "period")) as iv:
            names = iv.all_names(one.panel.schema)
            ask = partial(
                linearmodels.two_stages, one.panel, outcome=names.outcome, regressors=names.regressors,
                endogenous=names.endogenous, instruments=names.instruments, errors=ERRORS,
            )  # fmt: skip
            return "linearmodels", ask, replace(iv, errors=ERRORS, cluster_k="all")(one.panel)
        case RandomEffects() as random if not random.periods:
            ask = partial(
                linearmodels.random_effects, one.panel, outcome=random.outcome, regressors=random.regressors
            )  # fmt: skip
            return "linearmodels", ask, one.estimates
        case (
            SpatialPanel(
                model="sar" | "sem" | "sdm" as model, transform="direct", effects="two-way" | "unit" as effects
            ) as spatial
        ) if model != "sem" or effects == "unit" or one.panel.weights[str(one.fit.weights)].row_stochastic:
            ask = partial(
                pysal.spatial_panel, one.panel, model, outcome=spatial.outcome, regressors=spatial.regressors,
                weights=spatial.weights, effects=effects,
            )  # fmt: skip
            return "spreg", ask, one.estimates
        case _:
            return None


def _of_fit(estimates: Estimates, ours: Estimates, reference: ReferenceFit) -> Iterator[tuple[str, list[float]]]:
    """Estimates and errors of one fit. Where we give no error, for it is rounding, theirs must be nothing beside the
    estimate or its first error."""
    errors = next(iter(reference.se.values()))
    scale = np.maximum(np.abs(reference.estimate), errors)
    yield "estimates", (np.abs(reference.ours(estimates) - reference.estimate) / scale).tolist()
    for error, theirs in reference.se.items():
        if error in ours.errors:
            own = reference.our_se(ours, error)
            absent = np.isnan(own)
            unit = np.where(absent | (theirs == 0), scale, theirs)
            yield f"errors {error}", (np.abs(np.where(absent, 0.0, own) - theirs) / unit).tolist()


def _of_autocorrelation(record: Record, found: ReferenceFit) -> Iterator[tuple[str, list[float]]]:
    yield record.model, [float(abs(record.estimate / found.estimate[0] - 1))]
    if record.se is not None:
        yield f"sd under {record.se_type}", [abs(record.se / float(found.se[record.se_type][0]) - 1)]


def agreement(setting: TableSetting) -> list[JournalTable]:
    """How far other programs' numbers are from ours, where they were asked."""
    heads = tuple(Heading(label) for label in ("numbers", "largest difference"))
    asked = setting.document.cross_check
    rows = [row for table, found in groupby((item for item in asked if item.compared), lambda item: item.table)
            for row in (Row(f"Table {table}", kind="head"),
                        *(Row(f"{item.program}: {item.what}", (f"{item.compared:,}", f"{item.largest:.1e}"))
                          for item in found))]  # fmt: skip
    silent = tuple(f"Table {item.table}, {item.program}: {item.what}." for item in asked if not item.compared)
    notes = (
        "Largest relative difference between this program's numbers and the other's, on this panel.",
        "The other programs do not recompute Lee and Yu's likelihood, SLX, SDEM, SAC, direct, indirect, total and "
        "mediated effects, other errors than those named, tests of equal effects, permutations, bootstraps, matching "
        "and tables S.",
        *silent,
    )
    return [JournalTable("", "Agreement with other programs", heads, tuple(rows), notes)] if asked else []


TABLES = (CROSS_CHECK,)
LAYOUTS = {30: agreement}
