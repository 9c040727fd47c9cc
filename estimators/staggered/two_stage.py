"""Gardner's (2022) two-stage difference-in-differences, on R panels at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from estimators.core import regression as ols
from estimators.staggered.adoption_effects import CohortEffects, LinearFit
from estimators.staggered.aggregation import on_units
from estimators.staggered.cohorts import Cohorts
from estimators.staggered.untreated_fit import Averages, UntreatedFit, sums_by_unit, units_first
from sim.arrays import Codes, Floats
from sim.design import Design
from sim.panel import Panel
from sim.presets import Paper


@dataclass(frozen=True, slots=True)
class TwoStage(CohortEffects):
    """Unit and period effects and controls fitted on untreated observations, then adjusted outcomes on dummies.

    The second stage, without an intercept, has a dummy of being treated for `overall`, of every event time for event(K)
    and overall:event, of every cohort's treated periods for cohort(G) and overall:cohort, of every period's treated
    units for calendar(T) and overall:calendar, of every cohort and period for att(G,T). Estimates after adoption equal
    those of `imputation`; event(K) before it is the mean residual of the first stage at K. Units treated from the first
    period on are left out.

    Errors are those of the two stages as one GMM problem, W_i = X2_i'e2_i - X2'X1 (X10'X10)^-1 X10_i'e1_i for unit i,
    e1, e2 the stages' residuals, summed by cluster, no small-sample factor, normal inference (Gardner 2022, section 4;
    did2s and pyfixest). A dummy of few observations takes away what the error should measure: on the `paper` design,
    cohorts of 1 to 12 cities, 95% intervals of `overall` and event(0) to event(5) cover 94 to 95%, of overall:event,
    overall:cohort and overall:calendar 84, 92 and 81%; `imputation` has errors that hold. The error of a term all of
    whose weight falls on dummies of one observation is NaN.

    >>> import panelproof as pp
    >>> found = pp.TwoStage()(pp.example_panel().panel)
    >>> print(f"{found.params['event(0)']:.3f} ({found.std_errors['event(0)']:.3f})")
    0.036 (0.014)
    """

    kind: ClassVar[str] = "two-stage"

    @property
    def home(self) -> tuple[Design, tuple[str, ...]]:
        """The `paper` design without spillovers."""
        return Paper(), ("overall", "event(0)", "event(3)")

    def fit(self, panel: Panel) -> TwoStageFit:
        """Weights of all terms; raises BadInput for periods without untreated units."""
        _, treatment, controls = self.names(panel.schema)
        cohorts = Cohorts.of(panel, treatment, self.name)
        first_stage = UntreatedFit.of(panel, cohorts, controls, self.name)
        everywhere = np.ones((len(cohorts.firsts), len(cohorts.periods)), dtype=bool)
        w = on_units(self.terms(), cohorts, everywhere)
        identified = np.isfinite(w).all(axis=(1, 2))
        w = np.nan_to_num(w)
        families = np.array([_family(term) for term in self.terms()])
        certain = np.ones(len(w), dtype=bool)
        second = []
        for family, groups in _dummies(cohorts).items():
            places = np.flatnonzero(families == family)
            if places.size:
                averages = Averages.of(groups)
                certain[places] = ~averages.alone(w[places])
                second.append(SecondStage(averages, places, units_first(w[places])))
        return TwoStageFit(
            identified=identified,
            certain=certain,
            used=cohorts.first > 0,
            treated=(cohorts.first > 0) & ~cohorts.never,
            compared=cohorts.later,
            averaged=(w != 0).any(axis=1),
            sample=None,
            sound=first_stage.sound,
            first_stage=first_stage,
            weights=w,
            owed=units_first(first_stage.first_stage(w)),
            second=tuple(second),
        )


def _family(term: str) -> str:
    """Which second stage a term comes from."""
    return term.partition(":")[2] or term.partition("(")[0]


def _dummies(cohorts: Cohorts) -> Mapping[str, Codes]:
    """The dummy that is 1 in each cell, (T, N), -1 for none, of every second stage."""
    t = len(cohorts.periods)
    period = np.arange(t)[:, None]
    since = period - cohorts.first
    ever = ~cohorts.never & (cohorts.first > 0)
    treated = ever & (since >= 0)
    return {
        "overall": np.where(treated, 0, -1),
        "event": np.where(ever, since + t, -1),
        "cohort": np.where(treated, cohorts.first, -1),
        "calendar": np.where(treated, period, -1),
        "att": np.where(ever, cohorts.first * t + period, -1),
    }


@dataclass(frozen=True, eq=False, slots=True)
class SecondStage:
    """One regression on dummies: places (K',) of its terms, weights (N, T, K') on adjusted outcomes."""

    averages: Averages
    places: Codes
    weights: Floats


@dataclass(frozen=True, eq=False, slots=True)
class TwoStageFit(LinearFit):
    """weights (K, T, N): terms' weights on adjusted outcomes; owed (N, T, K): their first-stage part."""

    first_stage: UntreatedFit
    weights: Floats
    owed: Floats
    second: tuple[SecondStage, ...]

    def __call__(self, y: Floats) -> tuple[Floats, Floats]:
        """Terms (R, K) and contributions (R, K, N)."""
        u = self.first_stage.adjusted(y)
        estimate = ols.inner(self.weights[None], u)
        contributions = -sums_by_unit(u, self.owed)
        for stage in self.second:
            contributions[:, stage.places] += sums_by_unit(stage.averages.residuals(u), stage.weights)
        return estimate, contributions
