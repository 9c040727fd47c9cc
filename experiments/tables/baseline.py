"""Table 2: the outcome on the treatment, alone and with controls and effects."""

from __future__ import annotations

from estimators.did import TwoWayDID
from experiments.spec import RealPanel, Spec
from experiments.tables.ledger import Ledger
from results.tables.places import BASELINE
from results.tables.records import Fit


def add(real: RealPanel, ledger: Ledger) -> None:
    """Column 5, two-way fixed effects."""
    ledger.fit(real.panel, {_did(real.spec): Fit(BASELINE["controls, units, periods"], "did")})
    if real.panel.roles.treatment is None:
        ledger.note("No treatment is named: coefficients are those of the controls.")


def _did(spec: Spec) -> TwoWayDID:
    cluster = spec.panel.cluster
    own = cluster is None or cluster == spec.panel.unit
    return TwoWayDID(errors=("iid", "hc1", "cluster:unit" if own else f"cluster:{cluster}"))
