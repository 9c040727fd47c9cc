"""The cohort-wise estimates around adoption that threats look at: those of tables S and S2."""

from __future__ import annotations

import numpy as np

from estimators.staggered.callaway_santanna import CallawaySantAnna
from estimators.staggered.cohorts import Cohorts
from estimators.staggered.trend_evidence import reference_estimator
from experiments.application.tables.columns import main_cluster
from experiments.trust.claim import Claim
from sim.panel import Panel
from sim.panel.panel import part


def core_of(claim: Claim) -> Panel:
    """The balanced panel without units treated from the first period on; raises BadInput where dates are not final."""
    panel = claim.panel if claim.panel.balanced else claim.real.balanced()
    cohorts = Cohorts.of(panel, str(panel.roles.treatment), "cohorts of adopters")
    return part(panel, cohorts.first > 0, np.ones(len(panel.periods), dtype=bool))


def cohort_wise(claim: Claim, core: Panel) -> CallawaySantAnna:
    """Callaway and Sant'Anna's estimator with the errors of the spec's main cluster."""
    return reference_estimator(core, (main_cluster(claim.real.spec),))
