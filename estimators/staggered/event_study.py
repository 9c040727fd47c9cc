"""The two-way event study with binned endpoints, on R panels at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from estimators.staggered.adoption_effects import AdoptionEffects
from estimators.staggered.aggregation import event_averages, event_terms
from estimators.staggered.cohorts import Cohorts
from estimators.staggered.dummy_regression import DummyRegression
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

    @property
    def home(self) -> tuple[Design, tuple[str, ...]]:
        """The `paper` design: effects are the same in all cohorts and event times."""
        return Paper(), ("overall", "overall:event", "event(0)", "event(3)")

    def terms(self) -> tuple[str, ...]:
        """Two averages and the window's event times but the reference."""
        return (*event_terms(self.window), "overall", "overall:event")

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
        counts = dummies.sum(axis=(1, 2))
        fit = DummyRegression.of(
            panel, np.broadcast_to(used, since.shape), dummies, controls,
            event_averages(self.terms(), events, counts), used & cohorts.later,
        )  # fmt: skip
        if not fit.sound and not controls:
            raise bad("event times are collinear with the effects", where=self.name,
                      allowed="never treated units, or a window whose ends hold several event times",
                      remedy="choose a shorter window")  # fmt: skip
        return fit
