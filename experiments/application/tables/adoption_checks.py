"""Tables S2 and S3: what stands behind staggered effects - weights, pre-trend tests, bounds when trends differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from estimators.linear.covariances import membership, unit_clusters
from estimators.staggered.adoption_effects import pretrend_tests
from estimators.staggered.aggregation import event_of
from estimators.staggered.bacon import KINDS, decompose
from estimators.staggered.callaway_santanna import CallawaySantAnna
from estimators.staggered.dcdh import DCDH, coefficient_weights
from estimators.staggered.honest import BoundsQuestion, Restriction, sensitivity
from estimators.staggered.pretrends import pretrend_power
from experiments.application.tables.columns import known_terms
from experiments.application.tables.ledger import Ledger, reasons
from results.figures.bacon import bacon_figure
from results.tables.places import BOUNDS, COMPARISONS
from results.tables.records import Fit
from sim.arrays import Floats
from sim.errors import BadInput
from sim.panel import Panel

POWERS = (0.5, 0.8)  # of the pre-trend test
MAGNITUDES = (0.5, 1.0, 1.5, 2.0)  # Mbar
CURVATURES = (0.0, 0.1, 0.25, 0.5, 1.0)  # M, in standard errors of the effect asked about
RESTRICTIONS: tuple[tuple[Restriction, tuple[float, ...]], ...] = (
    ("relative magnitudes", MAGNITUDES),
    ("smoothness", CURVATURES),
)


@dataclass(frozen=True, eq=False, slots=True)
class EventTimes:
    """Effects by event time around the reference period -1 and their clustered covariance.

    events (P,): without -1, ascending and without gaps; estimate (P,); covariance (P, P). treated: clusters that hold
    treated units. without_error: of the event times beside the reference period, -2 and 0, those without an error where
    both have an estimate.
    """

    events: NDArray[np.int_]
    estimate: Floats
    covariance: Floats
    treated: int
    without_error: tuple[int, ...] = ()

    @classmethod
    def of(cls, estimator: CallawaySantAnna, panel: Panel) -> EventTimes:
        """The window's event times that are identified with an error, next to the reference period without gaps."""
        answer, certain = estimator.influence(panel), np.isfinite(estimator(panel).se[0, 0])
        terms = estimator.layout(panel.schema).terms
        estimated = {event_of(term) for k, term in enumerate(terms) if np.isfinite(answer.estimate[0, k])}
        codes = unit_clusters(estimator.errors[0], panel)
        sums = answer.influence[0] @ membership(codes)
        known = {event: k for k, term in enumerate(terms) if (event := event_of(term)) is not None and certain[k]}
        early, late = -2, 0
        while early in known:
            early -= 1
        while late in known:
            late += 1
        events = [event for event in range(early + 1, late) if event != -1]
        places = [known[event] for event in events]
        treated = panel.variables[str(panel.roles.treatment)][0].any(axis=0)
        return cls(
            np.array(events, dtype=np.int_),
            answer.estimate[0, places],
            sums[places] @ sums[places].T,
            len(np.unique(codes[treated])),
            tuple(event for event in (-2, 0) if event not in known) if {-2, 0} <= estimated else (),
        )

    @property
    def pre(self) -> int:
        """How many event times lie before the reference period."""
        return int((self.events < 0).sum())

    @property
    def lacking(self) -> str:
        """Why there are not event times with an error on both sides of the reference period."""
        if not self.without_error:
            return "they need event times before and after adoption"
        return (
            f"there is no error of {' and '.join(f'event({event})' for event in self.without_error)}: an error needs "
            "two or more clusters of treated units and two or more clusters of comparison units"
        )

    def pretrend(self) -> tuple[float, float, float]:
        """Wald statistic of no effect before adoption, its chi-squared p value and that of Hotelling's T^2."""
        own = self.covariance[None, : self.pre, : self.pre]
        wald, usual, hotelling = pretrend_tests(self.estimate[None, : self.pre], own, np.inf, self.treated)[0]
        return float(wald), float(usual), float(hotelling)


def add(panel: Panel, core: Panel, ledger: Ledger, errors: tuple[str, ...], *, honest: bool) -> None:
    """Both tables. panel: balanced; core: without units treated from the first period on."""
    _attempt(ledger, "Goodman-Bacon decomposition", partial(_bacon, panel, ledger))
    for column, controls in enumerate(dict.fromkeys(((), panel.roles.controls)), start=1):
        _attempt(ledger, "weights of the two-way coefficient", partial(_weights, panel, ledger, column, controls))
    _attempt(ledger, "DID_M", partial(_switchers, panel, ledger, errors))
    try:
        path = EventTimes.of(reference_estimator(core, errors), core)
    except BadInput as refusal:
        ledger.note(f"No power of the pre-trend test and no bounds: {reasons(refusal)}.")
        return
    if not path.pre or path.pre == len(path.events):
        ledger.note(f"No power of the pre-trend test and no bounds: {path.lacking}.")
        return
    _attempt(ledger, "power of the pre-trend test", partial(_roth, path, ledger))
    if honest:
        _attempt(ledger, "bounds under other trends", partial(_bounds, path, ledger))


def _attempt(ledger: Ledger, what: str, make: Callable[[], None]) -> None:
    try:
        make()
    except BadInput as refusal:
        ledger.note(f"Table {COMPARISONS if 'bounds' not in what else BOUNDS} has no {what}: {reasons(refusal)}.")


def reference_estimator(core: Panel, errors: tuple[str, ...]) -> CallawaySantAnna:
    """Against never treated units, or against those not treated yet where all are treated in the end."""
    never = bool((core.variables[str(core.roles.treatment)][0] == 0).all(axis=0).any())
    return CallawaySantAnna(controls="never" if never else "not-yet", base="universal", errors=errors[:1])


def _bacon(panel: Panel, ledger: Ledger) -> None:
    found, fit = decompose(panel), Fit((COMPARISONS, 1), "goodman-bacon")
    for kind in KINDS:
        count = sum(comparison.kind == kind for comparison in found.comparisons)
        if count:
            own = {"weight": found.share(kind), "mean": float(found.average(kind)[0]), "comparisons": float(count)}
            ledger.values(fit, own, kind)
    ledger.value(fit, "twfe", float(found.twfe[0]))
    ledger.figures.append(bacon_figure(found, str(panel.roles.outcome)))


def _weights(panel: Panel, ledger: Ledger, column: int, controls: tuple[str, ...]) -> None:
    found = coefficient_weights(panel, controls=controls)
    fit = Fit((COMPARISONS, 1 + column), "dcdh-weights", "controls" if controls else None)
    ledger.values(fit, {
        "coefficient": float(found.coefficient[0]),
        "cells": float(found.treated.sum()),
        "negative_share": found.negative_share,
        "negative_sum": found.negative_sum,
        "sensitivity": float(found.sensitivity[0]),
        "reversal": float(found.reversal[0]),
    })  # fmt: skip


def _switchers(panel: Panel, ledger: Ledger, errors: tuple[str, ...]) -> None:
    estimates = DCDH(errors=errors)(panel)
    if not np.isfinite(estimates.estimate[0, 0]):
        ledger.note(f"Table {COMPARISONS} has no DID_M: no unit switches while others keep their treatment.")
        return
    ledger.keep(panel, Fit((COMPARISONS, 4), "dcdh"), estimates.only(known_terms(estimates)))


def _roth(path: EventTimes, ledger: Ledger) -> None:
    found, fit = pretrend_power(path.estimate, path.covariance, path.pre, POWERS), Fit((COMPARISONS, 5), "roth")
    ledger.values(fit, {"size": found.size, "before": float(path.pre), "after": float(len(path.events) - path.pre),
                        "mean_effect": float(path.estimate[path.pre :].mean())})  # fmt: skip
    for power, slope, after, ratio in zip(POWERS, found.slopes, found.after, found.likelihood_ratio, strict=True):
        later = slice(path.pre, None)
        ledger.values(fit, {
            "slope": slope,
            "bias_untested": after.trend[later].mean(),
            "bias_passed": after.expected[later].mean(),
            "bayes_factor": after.bayes_factor,
            "likelihood_ratio": ratio,
        }, f"{power:g}")  # fmt: skip


def _bounds(path: EventTimes, ledger: Ledger) -> None:
    """Intervals for the effect at adoption and for the mean of all later event times."""
    post = len(path.events) - path.pre
    asked = {"event(0)": np.eye(1, post)[0]}
    if post > 1:
        asked[f"mean of event(0) to event({path.events[-1]})"] = np.full(post, 1.0 / post)
    for column, (label, weights) in enumerate(asked.items(), start=1):
        question = BoundsQuestion(path.estimate, path.covariance, path.pre, weights)
        error = float(np.sqrt(question.direction @ question.sigma @ question.direction))
        for restriction, bounds in RESTRICTIONS:
            scale = error if restriction == "smoothness" else 1.0
            found = sensitivity(question, restriction, np.array(bounds) * scale)
            fit = Fit((BOUNDS, column), "honest", restriction, label)
            ledger.values(fit, {"original_lower": found.original[0], "original_upper": found.original[1],
                                "breakdown": found.breakdown, "scale": scale})  # fmt: skip
            for bound, lower, upper in zip(bounds, found.lower, found.upper, strict=True):
                ledger.values(fit, {"lower": lower, "upper": upper}, f"{bound:g}")
