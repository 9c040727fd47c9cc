"""The interaction-weighted estimator of Sun and Abraham (2021), on R panels at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from estimators.staggered.adoption_effects import CohortEffects
from estimators.staggered.aggregation import Aggregation, CohortPeriods
from estimators.staggered.cohorts import Cohorts
from estimators.staggered.dummy_regression import DummyRegression, Shares
from sim.design import Design
from sim.errors import bad
from sim.panel import Panel
from sim.presets import Paper


@dataclass(frozen=True, slots=True)
class SunAbraham(CohortEffects):
    """Outcome on cohort by period dummies, controls, unit and period effects; averages of these by cohort size.

    Every cohort's last period before adoption is its reference, and never treated units are the control group; without
    any the last cohort is, and the periods from its adoption on are left out. Units treated from the first period on
    are left out. Without controls att(G,T) is the cohort's change since G - 1 less that of the control group: the
    estimator of Callaway and Sant'Anna with never treated controls and a universal base period. event(K), K < 0, uses
    the cohorts seen at K.

    Errors are clustered with the factor G/(G-1) (n-1)/(n-k), k counting slopes and period effects, and t of G - 1.

    cohorts, years: those reported as att(G,T), cohort(G) and calendar(T). estimated_shares: whether errors add the
    sampling error of the cohorts' shares (Sun and Abraham, proposition 3), which holds the error to the average effect
    of a population; without it (fixest, pyfixest), to that of the panel's own units. Either needs cohorts of several
    units, for a unit alone in its cohort has no residual: the error of a term of such cohorts only is NaN, that of an
    average that holds some too small. On the `paper` design, cohorts of 1 to 12 cities, 95% intervals of `overall` and
    event(0) to event(5) cover 94 to 96% with the shares' error, 87 to 91% without, those of overall:event and
    overall:calendar 87 and 73%.

    >>> import panelproof as pp
    >>> found = pp.SunAbraham()(pp.example_panel().panel)
    >>> print(f"{found.params['event(3)']:.3f}")
    0.035
    """

    kind: ClassVar[str] = "sun-abraham"
    has_reference: ClassVar[bool] = True

    estimated_shares: bool = True

    @property
    def home(self) -> tuple[Design, tuple[str, ...]]:
        """The `paper` design with one date: its own cohorts, of one to twelve cities, are too small for the errors."""
        return Paper(calendar="single"), ("overall", "overall:event", "event(0)", "event(3)")

    def fit(self, panel: Panel) -> DummyRegression:
        """The saturated regression; raises BadInput without a control group."""
        _, treatment, controls = self.names(panel.schema)
        cohorts = Cohorts.of(panel, treatment, self.name)
        t = len(cohorts.periods)
        last = t if cohorts.never.any() else cohorts.firsts[-1]
        shown = np.arange(t) < last
        treated = np.array([first for first in cohorts.firsts if first < last])
        if not treated.size:
            raise bad("all units adopt at once", where=self.name, allowed="never treated units, or a later cohort",
                      remedy="add untreated units")  # fmt: skip
        cells = CohortPeriods(*np.nonzero(shown & (np.array(cohorts.firsts)[:, None] < last)))
        aggregation = Aggregation.of(self.terms(), cells, cohorts)
        weights = aggregation.known
        several = np.array([cohorts.size(first) > 1 for first in cohorts.firsts])[cells.cohort]
        moves = cells.period != np.array(cohorts.firsts)[cells.cohort] - 1  # the others are references
        dummies = np.zeros((int(moves.sum()), t, len(cohorts.first)))
        for row, (g, period) in enumerate(zip(cells.cohort[moves], cells.period[moves], strict=True)):
            dummies[row, period] = cohorts.first == cohorts.firsts[g]
        shares = None
        if self.estimated_shares:
            derivatives = np.pad(aggregation.slopes[:, :, moves].transpose(2, 0, 1), ((0, 0), (0, 0), (0, 1)))
            places = np.searchsorted(cohorts.firsts, cohorts.first)  # never treated units come last
            shares = Shares(derivatives, np.where(cohorts.first > 0, places, len(cohorts.firsts)))
        return DummyRegression.of(
            panel, shown[:, None] & (cohorts.first > 0), dummies, controls, weights[:, moves],
            cohorts.first >= last, (np.nan_to_num(weights)[:, several] != 0).any(axis=1), shares,
        )  # fmt: skip
