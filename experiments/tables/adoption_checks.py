"""Tables S2 and S3: what stands behind staggered effects - weights, pre-trend tests, bounds when trends differ."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from estimators.staggered.bacon import KINDS, decompose
from estimators.staggered.dcdh import DCDH, coefficient_weights
from estimators.staggered.honest import BoundsQuestion, Restriction, sensitivity
from estimators.staggered.trend_evidence import EventTimes, pretrend_power, reference_estimator
from experiments.tables.columns import known_terms
from experiments.tables.ledger import Ledger, reasons
from results.plots.bacon_plot import bacon_figure
from results.tables.records import BOUNDS, COMPARISONS, Fit
from sim.errors import BadInput
from sim.panel import Panel

POWERS = (0.5, 0.8)  # of the pre-trend test
MAGNITUDES = (0.5, 1.0, 1.5, 2.0)  # Mbar
CURVATURES = (0.0, 0.1, 0.25, 0.5, 1.0)  # M, in standard errors of the effect asked about
RESTRICTIONS: tuple[tuple[Restriction, tuple[float, ...]], ...] = (
    ("relative magnitudes", MAGNITUDES),
    ("smoothness", CURVATURES),
)


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


def _bacon(panel: Panel, ledger: Ledger) -> None:
    found, fit = decompose(panel), Fit((COMPARISONS, 1), "goodman-bacon")
    for kind in KINDS:
        count = sum(comparison.kind == kind for comparison in found.comparisons)
        if count:
            own = {"weight": found.share(kind), "mean": float(found.average(kind)[0]), "comparisons": float(count)}
            ledger.values(fit, own, kind)
    ledger.value(fit, "twfe", float(found.twfe[0]))
    ledger.draw(bacon_figure, found, str(panel.roles.outcome))


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
