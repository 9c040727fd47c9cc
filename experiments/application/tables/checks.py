"""Table 3: column 5 of table 2 without provincial capitals, and beside the dummy of another policy."""

from __future__ import annotations

import numpy as np

from estimators.core.tile import Tile
from experiments.application.spec.spec import RealPanel
from experiments.application.tables.columns import two_way
from experiments.application.tables.ledger import Ledger
from results.tables.places import OTHER_POLICY, WITHOUT_CAPITALS
from results.tables.records import Fit


def add(real: RealPanel, ledger: Ledger) -> None:
    """The columns whose key (capital, other_policy) the spec gives."""
    if not real.panel.roles.regressors:
        return
    if real.spec.panel.capital:
        _without_capitals(real, ledger)
    if real.spec.panel.other_policy:
        _beside_other_policy(real, ledger, real.spec.panel.other_policy)


def _without_capitals(real: RealPanel, ledger: Ledger) -> None:
    capital = real.panel.attributes["capital"].astype(bool)
    if not capital.any() or capital.all():
        which = "every" if capital.all() else "no"
        ledger.note(f"Table 3 has no column 1: {which} unit is a capital ({real.spec.panel.capital}).")
        return
    fit = Fit(WITHOUT_CAPITALS, "did", sample="without capitals")
    if two_way(real, ledger, real.subset(~capital, weights=False), fit):
        ledger.value(fit, "units_left_out", float(capital.sum()))


def _beside_other_policy(real: RealPanel, ledger: Ledger, other: str) -> None:
    """With the correlation of the two dummies over unit-periods, as they are and without unit and period effects."""
    treatment = real.panel.roles.treatment
    if treatment is None:
        ledger.note(f"Table 3 has no column 2: {other} is added to a treatment, and the spec names no treatment.")
        return
    fit = Fit(OTHER_POLICY, "did")
    regressors = (treatment, other, *real.panel.roles.controls)
    if not two_way(real, ledger, real.panel, fit, regressors):
        return
    tile = Tile(real.panel)
    seen = np.ones(tile.raw(treatment).shape, dtype=bool) if real.panel.observed is None else real.panel.observed
    for name, view in (("correlation", tile.raw), ("correlation_within", tile.within)):
        ledger.value(fit, name, float(np.corrcoef(view(treatment)[seen], view(other)[seen])[0, 1]), term=other)
