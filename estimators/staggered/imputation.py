"""Imputation and two-stage estimators.

The imputation estimator of Borusyak, Jaravel and Spiess (2024), on R panels at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from estimators.core import regression as ols
from estimators.core.estimator import Home, WeightUse
from estimators.staggered.adoption_effects import (
    CohortEffects,
    Cohorts,
    LinearFit,
    event_of,
    on_units,
    untreated_beside,
)
from estimators.staggered.dummy_regression import Averages, UntreatedFit, sums_by_unit, units_first
from sim.arrays import Codes, Flags, Floats
from sim.panel import Panel
from sim.presets import Paper

Averaging = Literal["treated", "event", "cohort-period"]


@dataclass(frozen=True, slots=True)
class Imputation(CohortEffects):
    """Unit and period effects and controls fitted on untreated observations; effects are what these do not explain.

    Untreated are never and not yet treated unit-periods. Terms with K >= 0 are weighted means of the imputed effects.
    event(K), K < 0, are coefficients of dummies of K in a regression on untreated observations, against all earlier
    periods and the never treated; where the window holds every period before adoption the earliest is the reference and
    no term. One that controls or effects absorb has no estimate. Units treated from the first period on are left out.

    Errors are the conservative ones of theorem 3: with v the weights of theta = v'y, the sum over units of
    (sum_t v_it e_it)^2, e the residual where untreated and the imputed effect less a mean of its group where treated;
    no small-sample factor, normal inference. averages: the groups, all treated (the default), by event time, or by
    cohort and period (the least conservative and BJS's own default). Groups must be large, for an average over few
    cells takes away what it should measure: on the `paper` design, cohorts of 1 to 12 cities, 95% intervals of the
    overall terms and event(0) to event(5) cover 94 to 96% with treated, 83% (overall:event) to 95% with event, 61 to
    92% with cohort-period groups. Means are simple, which for cohort-period groups are those of the theorem's equation
    8. The error of a term all of whose weight is in groups of one cell is NaN.

    >>> import panelproof as pp
    >>> found = pp.Imputation()(pp.example_panel().panel)
    >>> print(f"{found.params['event(0)']:.3f} ({found.std_errors['event(0)']:.3f})")
    0.036 (0.014)
    """

    kind: ClassVar[str] = "imputation"
    weight_use: ClassVar[WeightUse] = "used"

    averages: Averaging = "treated"

    @property
    def home(self) -> Home:
        """The `paper` design, with one date where groups are cohorts by period: its own cohorts are too small."""
        design = Paper(calendar="single") if self.averages == "cohort-period" else Paper()
        return design, ("overall", "event(0)", "event(3)")

    def fit(self, panel: Panel) -> ImputationFit:
        """Weights of all terms; raises BadInput for periods without untreated units."""
        _, treatment, controls = self.names(panel.schema)
        cohorts = Cohorts.of(panel, treatment, self.name)
        first_stage = UntreatedFit.of(panel, cohorts, controls, self.name)
        period = np.arange(len(cohorts.periods))[:, None]
        since = period - cohorts.first
        codes = {"event": since, "cohort-period": cohorts.first * len(period) + period, "treated": np.zeros_like(since)}
        of_treated = np.where((since >= 0) & (cohorts.first > 0), codes[self.averages], -1)
        averages = Averages.of(of_treated, cohorts.weights)

        w = on_units(self.terms(), cohorts, np.array(cohorts.firsts)[:, None] <= period.T)
        early = np.array([(event_of(term) or 0) < 0 for term in self.terms()])
        after = np.nan_to_num(w[~early])
        events = [k for term in self.terms() if (k := event_of(term)) is not None and k < 0]
        # the regression on dummies of event times before adoption, on untreated rows: kept, places of those that are
        # identified; raw, their dummies; x, what effects and controls leave of them; psi, theta = psi'y, (P, T, N) each
        ever = ~cohorts.never & (cohorts.first > 0)
        present = np.unique(since[(since < 0) & ever])
        kept = [place for place, k in enumerate(events) if k in present and k != present[0]]
        raw = np.array([((since == events[place]) & ever) * 1.0 for place in kept]).reshape(-1, *since.shape)
        x = first_stage.adjusted(raw) * first_stage.seen
        told = ols.sum_of_squares(x) > ols.ABSORBED * ols.sum_of_squares(raw)  # by what is more than rounding
        kept, raw, x = [place for place, more in zip(kept, told, strict=True) if more], raw[told], x[told]
        bread, sound = ols.invert(ols.gram((x * np.sqrt(first_stage.mask))[None]))
        if not sound[0]:
            kept, raw, x, bread = [], raw[:0], x[:0], bread[:, :0, :0]
        psi = np.tensordot(bread[0], x * first_stage.mask, axes=1)
        places = np.flatnonzero(early)[np.array(kept, dtype=np.intp)]
        identified = np.isfinite(w).all(axis=(1, 2))
        identified[early] = False
        identified[places] = True
        certain = np.ones(len(w), dtype=bool)
        certain[~early] = ~averages.alone(after)
        averaged = (np.nan_to_num(w) != 0).any(axis=1)
        averaged[places] = raw.any(axis=1)
        return ImputationFit(
            identified=identified,
            certain=certain,
            used=cohorts.first > 0,
            treated=(cohorts.first > 0) & ~cohorts.never,
            compared=untreated_beside(w, cohorts),
            averaged=averaged,
            sample=None,
            sound=first_stage.sound,
            first_stage=first_stage,
            averages=averages,
            early=early,
            after=after,
            weights=units_first(after - first_stage.first_stage(after)),
            places=places,
            x=x,
            psi=psi,
            psi_by_unit=units_first(psi),
        )


@dataclass(frozen=True, eq=False, slots=True)
class ImputationFit(LinearFit):
    """early (K,): terms before adoption; after (K', T, N): weights of the others on imputed effects; weights
    (N, T, K'): their v on outcomes. places (P,): terms of the regression on dummies before adoption, x (P, T, N) what
    effects and controls leave of these, psi (P, T, N) and psi_by_unit (N, T, P) its weights, theta = psi'y."""

    first_stage: UntreatedFit
    averages: Averages
    early: Flags
    after: Floats
    weights: Floats
    places: Codes
    x: Floats
    psi: Floats
    psi_by_unit: Floats

    def __call__(self, y: Floats) -> tuple[Floats, Floats]:
        """Terms (R, K) and contributions (R, K, N)."""
        u = self.first_stage.adjusted(y)
        r, _, n = u.shape
        estimate, contributions = np.zeros((r, self.early.size)), np.zeros((r, self.early.size, n))
        estimate[:, ~self.early] = ols.inner(self.after[None], u)
        contributions[:, ~self.early] = sums_by_unit(self.averages.residuals(u), self.weights)
        b = ols.inner(self.psi[None], u)
        estimate[:, self.places] = b
        contributions[:, self.places] = sums_by_unit(ols.residual(u, self.x[None], b), self.psi_by_unit)
        return estimate, contributions


# Gardner's (2022) two-stage difference-in-differences, on R panels at once.


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
    whose weight falls on dummies of one unit is NaN.

    >>> import panelproof as pp
    >>> found = pp.TwoStage()(pp.example_panel().panel)
    >>> print(f"{found.params['event(0)']:.3f} ({found.std_errors['event(0)']:.3f})")
    0.036 (0.014)
    """

    kind: ClassVar[str] = "two-stage"
    weight_use: ClassVar[WeightUse] = "used"
    # home: the `paper` design without spillovers
    home: ClassVar[Home] = (Paper(), ("overall", "event(0)", "event(3)"))

    def fit(self, panel: Panel) -> TwoStageFit:
        """Weights of all terms; raises BadInput for periods without untreated units."""
        _, treatment, controls = self.names(panel.schema)
        cohorts = Cohorts.of(panel, treatment, self.name)
        first_stage = UntreatedFit.of(panel, cohorts, controls, self.name)
        everywhere = np.ones((len(cohorts.firsts), len(cohorts.periods)), dtype=bool)
        w = on_units(self.terms(), cohorts, everywhere)
        identified = np.isfinite(w).all(axis=(1, 2))
        w = np.nan_to_num(w)
        owed = first_stage.first_stage(w)
        identified &= ols.sum_of_squares(w - owed) > ols.COLLINEAR * ols.sum_of_squares(w)  # else the residual is 0
        families = np.array([term.partition(":")[2] or term.partition("(")[0] for term in self.terms()])
        certain = np.ones(len(w), dtype=bool)
        second = []
        # the dummy that is 1 in each cell, (T, N), -1 for none, of every second stage
        t = len(cohorts.periods)
        period = np.arange(t)[:, None]
        since = period - cohorts.first
        ever = ~cohorts.never & (cohorts.first > 0)
        treated = ever & (since >= 0)
        dummies = {
            "overall": np.where(treated, 0, -1),
            "event": np.where(ever, since + t, -1),
            "cohort": np.where(treated, cohorts.first, -1),
            "calendar": np.where(treated, period, -1),
            "att": np.where(ever, cohorts.first * t + period, -1),
        }
        for family, groups in dummies.items():
            places = np.flatnonzero(families == family)
            if places.size:
                averages = Averages.of(groups, cohorts.weights)
                certain[places] = ~averages.alone(w[places])
                second.append((averages, places, units_first(w[places])))
        return TwoStageFit(
            identified=identified,
            certain=certain,
            used=cohorts.first > 0,
            treated=(cohorts.first > 0) & ~cohorts.never,
            compared=untreated_beside(w, cohorts),
            averaged=(w != 0).any(axis=1),
            sample=None,
            sound=first_stage.sound,
            first_stage=first_stage,
            weights=w,
            owed=units_first(owed),
            second=tuple(second),
        )


@dataclass(frozen=True, eq=False, slots=True)
class TwoStageFit(LinearFit):
    """weights (K, T, N): terms' weights on adjusted outcomes; owed (N, T, K): their first-stage part. second: of each
    regression on dummies the groups, the places (K',) of its terms, and weights (N, T, K') on adjusted outcomes."""

    first_stage: UntreatedFit
    weights: Floats
    owed: Floats
    second: tuple[tuple[Averages, Codes, Floats], ...]

    def __call__(self, y: Floats) -> tuple[Floats, Floats]:
        """Terms (R, K) and contributions (R, K, N)."""
        u = self.first_stage.adjusted(y)
        estimate = ols.inner(self.weights[None], u)
        contributions = -sums_by_unit(u, self.owed)
        for averages, places, weights in self.second:
            contributions[:, places] += sums_by_unit(averages.residuals(u), weights)
        return estimate, contributions
