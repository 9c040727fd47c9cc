"""Event times as terms, and the weights of terms on cohort-periods or on event dummies."""

from __future__ import annotations

import numpy as np

from estimators.staggered.aggregation import Aggregation, CohortPeriods
from estimators.staggered.cohorts import Cohorts
from sim.arrays import Flags, Floats

Window = tuple[int, int]


def event_terms(window: Window) -> tuple[str, ...]:
    """event(K) of a window without event(-1), which is zero where that is the reference period."""
    return tuple(f"event({k})" for k in range(window[0], window[1] + 1) if k != -1)


def event_of(term: str) -> int | None:
    """K of event(K), None for any other term."""
    return int(term[6:-1]) if term.startswith("event(") else None


def on_cells(terms: tuple[str, ...], cohorts: Cohorts, cells: CohortPeriods) -> tuple[Floats, Aggregation]:
    """Weights of terms on identified cells (K, C), NaN for terms without any, and the aggregation they come from."""
    found = Aggregation.of(terms, cells, cohorts)
    return np.where(found.identified[:, None], found.weights, np.nan), found


def on_units(terms: tuple[str, ...], cohorts: Cohorts, identified: Flags) -> Floats:
    """Weights of terms on unit-periods (K, T, N), a cohort's units alike; identified (G, T); NaN as in `on_cells`."""
    cells = CohortPeriods(*np.nonzero(identified))
    weights = on_cells(terms, cohorts, cells)[0]
    out = np.zeros((len(terms), len(cohorts.periods), len(cohorts.first)))
    for weight, g, t in zip(weights.T, cells.cohort, cells.period, strict=True):
        members = cohorts.first == cohorts.firsts[g]
        out[:, t, members] = weight[:, None] / members.sum()
    out[np.isnan(weights).any(axis=1)] = np.nan
    return out


def event_averages(terms: tuple[str, ...], events: list[int], treated: Floats) -> Floats:
    """Weights of terms on slopes of event dummies, (K, P): overall by treated cells (P,), overall:event equal ones."""
    late = np.array(events) >= 0
    rows = {"overall": treated * late / (treated * late).sum(), "overall:event": late / late.sum()}
    rows |= {f"event({k})": 1.0 * (np.array(events) == k) for k in events}
    missing = np.full(len(events), np.nan)
    return np.stack([rows.get(term, missing) for term in terms])
