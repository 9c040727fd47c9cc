"""Table K and its figure: the SDM under weights by distance bands, how the answer moves with the cut-off."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from estimators.core.error_types import error_label
from estimators.core.estimator import usual_error
from estimators.spatial.spatial_panel import SpatialPanel
from experiments.panel_spec.spec import RealPanel
from experiments.tables.ledger import Ledger, balanced_for, clustered_enough, main_cluster
from experiments.tables.spatial_models import (
    EFFECTS_GIVEN,
    TRANSFORMS,
    effects_of,
    error_types,
    likelihood_of,
    main_rows,
    transforms_of,
    with_effects,
)
from results.plots.marginal_plot import cutoff_figure
from results.tables.journal_table import Heading, JournalTable, TableSetting, fit_columns
from results.tables.records import CUTOFFS, EFFECTS, Fit
from sim.weights import band


def add(real: RealPanel, ledger: Ledger) -> None:
    """A column a cut-off of [spatial] cutoffs, and the figure of rho and effects over them."""
    asked, roles = real.spec.spatial.cutoffs, real.panel.roles
    if not asked or not roles.regressors:
        return
    balanced = balanced_for(real, ledger, CUTOFFS)
    if balanced is None:
        return
    places = [np.asarray(balanced.attributes[name], dtype=np.float64) for name in ("longitude", "latitude")]
    effects, main = real.spec.spatial.effects[0], roles.treatment or roles.regressors[0]
    found: list[float] = []
    for column, km in enumerate(asked, start=1):
        weights = band(balanced.units, *places, km=km, islands="nearest")
        name, panel = weights.name, replace(balanced, weights={weights.name: weights})
        transform = transforms_of(weights, effects)[-1]
        fit = Fit((CUTOFFS, column), "sdm", with_effects(transform, effects), weights=name)
        errors = tuple(error for error in clustered_enough(panel, error_types(real.spec)) if error != "simulation")
        own = SpatialPanel("sdm", transform, weights=name, full_fit=True, errors=errors, effects=effects,
                           label=f"table-{CUTOFFS}-column-{column}")  # fmt: skip
        if own in ledger.fit(panel, {own: fit}):
            found.append(km)
            ledger.value(fit, "neighbours", float((weights.matrix != 0).sum() / len(panel.units)))
    if len(found) < 2:
        return

    # The figure: rho and the treatment's effects with the intervals of the printed errors.
    records = [record for record in ledger.records if record.table == CUTOFFS]
    known, cluster = tuple(dict.fromkeys(record.se_type for record in records)), main_cluster(real.spec)
    error = cluster if cluster in known else usual_error(known)
    series = {
        term.partition(":")[0]: np.array([
            (record.estimate, record.lower, record.upper)
            for record in records if record.term == term and record.se_type == error
        ], dtype=np.float64)
        for term in ("rho", *(f"{effect}:{main}" for effect in EFFECTS))
    }  # fmt: skip
    outcome, called = ledger.name(roles.outcome), ledger.name(main)
    ledger.draw(cutoff_figure, outcome, called, tuple(found), series, error_label(error))


def cutoffs(setting: TableSetting) -> list[JournalTable]:
    """Table K: a column a cut-off."""
    columns = [column for column in fit_columns(setting.document, CUTOFFS) if column.records]
    main = setting.treatment or next(iter(setting.controls), None)
    if not columns or main is None:
        return []
    setting = setting.balanced_part
    heads = tuple(
        Heading(str(column.weights).removeprefix("band-") + " km", f"({column.column})") for column in columns
    )
    given, method = EFFECTS_GIVEN[effects_of(columns[0].transform)][0], likelihood_of(columns[0].transform)
    note = (f"SDM with {given}, controls and their lags, by {TRANSFORMS[method]}. W holds all units within the "
            "distance, rows sum to one; a unit without any is linked to the nearest.")  # fmt: skip
    title = f"The SDM by distance cut-off: {setting.about}"
    return [JournalTable(CUTOFFS, title, heads, tuple(main_rows(setting, columns, main)), setting.notes(columns, note))]


TABLES = (CUTOFFS,)
LAYOUTS = {19: cutoffs}
