"""Table 7: spatial panel models by maximum likelihood, for every W, the direct transform and Lee and Yu's beside it."""

from __future__ import annotations

from estimators.estimator import Estimator
from estimators.spatial import SpatialPanel
from experiments.spec import RealPanel
from experiments.tables.ledger import Ledger
from results.tables.places import SPATIAL
from results.tables.records import Fit
from sim.errors import listed
from sim.panel import Panel

MODELS = ("sem", "sar", "sdm")


def add(real: RealPanel, ledger: Ledger) -> None:
    """The models on the balanced part of the panel; nothing without weights."""
    if not real.panel.weights:
        return
    square = real.balanced()
    for text in _left_out(real.panel, square):
        ledger.note(text)
    fits: dict[Estimator, Fit] = {}
    for name, weights in square.weights.items():
        transforms = ("direct", "lee-yu") if weights.row_stochastic else ("direct",)
        if not weights.row_stochastic:
            ledger.note(f"No Lee-Yu columns for weights {name}: the transformation needs rows that sum to one.")
        for transform in transforms:
            for model in MODELS:
                label = f"{model}-{transform}-{name}"
                estimator = SpatialPanel(model, transform, weights=name, full_fit=True, label=label)  # type: ignore[arg-type]
                fits[estimator] = Fit(SPATIAL[model], model, transform, weights=name)
    ledger.fit(square, fits)


def _left_out(panel: Panel, square: Panel) -> list[str]:
    """In words, what the spatial models leave out to have a balanced panel."""
    units = [unit for unit in panel.units if unit not in set(square.units)]
    periods = [period for period in panel.periods if period not in set(square.periods)]
    lost = [f"{what} {listed(items)}" for what, items in (("units", units), ("periods", periods)) if items]
    if not lost:
        return []
    return [f"The spatial models leave out {' and '.join(lost)}, to be balanced; the DID column does not."]
