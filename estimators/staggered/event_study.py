"""The two-way event study with binned endpoints, on R panels at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from estimators.core.estimator import WeightUse
from estimators.core.tile import weight_root
from estimators.staggered.adoption_effects import AdoptionEffects, CohortEffects
from estimators.staggered.aggregation import Aggregation, CohortPeriods, Cohorts, event_averages
from estimators.staggered.dummy_regression import DummyRegression, Shares
from sim.design import Design
from sim.errors import bad
from sim.panel import Panel
from sim.presets import Paper


@dataclass(frozen=True, slots=True)
class EventStudy(AdoptionEffects):
    """Outcome on dummies of periods since adoption, controls, unit and period effects (two-way fixed effects).

    The last period before adoption is the reference; the ends of the window stand for all earlier and all later periods
    (binned; earlier ones have a dummy of their own that is not reported where the window starts at -1 or 0), so that
    event(K) of the last bin has no estimand. Never treated units have no dummy; units treated from
    the first period on are left out. `overall` weights event(K), K >= 0, by treated unit-periods, overall:event weights
    them equally. Coefficients mix effects of other event times when cohorts differ (Sun and Abraham 2021);
    `sun-abraham` and the others of its kind do not.

    Errors are clustered with the factor G/(G-1) (n-1)/(n-k), k counting slopes and period effects, and t of G - 1.

    >>> import panelproof as pp
    >>> found = pp.EventStudy()(pp.example_panel().panel)
    >>> print(f"{found.params['event(0)']:.3f} ({found.std_errors['event(0)']:.3f})")
    0.037 (0.018)
    """

    kind: ClassVar[str] = "event-study"
    weight_use: ClassVar[WeightUse] = "used"

    @property
    def home(self) -> tuple[Design, tuple[str, ...]]:
        """The `paper` design: effects are the same in all cohorts and event times."""
        return Paper(), ("overall", "overall:event", "event(0)", "event(3)")

    def targets(self) -> dict[str, str]:
        """Estimands of the averages and of event times from adoption to the one before the last bin."""
        exact = {f"event({k})": f"event({k})" for k in range(self.window[1])}
        return {"overall": "att", "overall:event": "att_event"} | exact

    def fit(self, panel: Panel) -> DummyRegression:
        """The regression; raises BadInput when no unit is seen before adoption or dummies are collinear."""
        _, treatment, controls = self.names(panel.schema)
        cohorts = Cohorts.of(panel, treatment, self.name)
        low, high = min(self.window[0], -2), self.window[1]
        since = np.arange(len(cohorts.periods))[:, None] - cohorts.first
        used = cohorts.first > 0
        binned = np.where(used & ~cohorts.never, np.clip(since, low, high), -1)
        events = [k for k in range(low, high + 1) if k != -1 and (binned == k).any()]
        dummies = np.array([(binned == k) & used for k in events], dtype=np.float64)
        root = weight_root(panel)
        counts = (dummies if root is None else dummies * np.square(root)).sum(axis=(1, 2))
        fit = DummyRegression.of(
            panel, np.broadcast_to(used, since.shape), dummies, controls,
            event_averages(self.terms(), events, counts), used & cohorts.later, root=root,
        )  # fmt: skip
        if not fit.sound and not controls:
            raise bad("event times are collinear with the effects", where=self.name,
                      allowed="never treated units, or a window whose ends hold several event times",
                      remedy="choose a shorter window")  # fmt: skip
        return fit


# The interaction-weighted estimator of Sun and Abraham (2021), on R panels at once.


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
    weight_use: ClassVar[WeightUse] = "used"
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
            shares = Shares(derivatives, np.where(cohorts.first > 0, places, len(cohorts.firsts)), cohorts.weights)
        return DummyRegression.of(
            panel, shown[:, None] & (cohorts.first > 0), dummies, controls, weights[:, moves],
            cohorts.first >= last, (np.nan_to_num(weights)[:, several] != 0).any(axis=1), shares,
            None if cohorts.weights is None else np.sqrt(np.broadcast_to(cohorts.weights, (t, len(cohorts.first)))),
        )  # fmt: skip
