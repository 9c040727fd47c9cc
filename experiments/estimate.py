"""The paper's models on a real panel: the same estimators and the same runner as in a study."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from estimators.did import TwoWayDID
from estimators.estimator import Estimator, Status
from estimators.spatial import SpatialPanel
from experiments.runner import run
from experiments.study import Study
from results.tables.records import Document, Fit, Record, Statistic, records_of, statistics_of
from sim.errors import bad, one_of
from sim.observed import Observed
from sim.panel import Panel

if TYPE_CHECKING:
    from experiments.spec import RealPanel, Spec

FORMATS = ("json",)
MODELS = ("sem", "sar", "sdm")


def check_formats(text: str) -> tuple[str, ...]:
    """The formats of a comma-separated list; raises BadInput for one that is not written."""
    chosen = tuple(part.strip() for part in text.split(",") if part.strip())
    unknown = [part for part in chosen if part not in FORMATS]
    if unknown or not chosen:
        raise bad(f"format {one_of(unknown) if unknown else text!r}", where="--format", allowed=one_of(FORMATS),
                  remedy="choose among them")  # fmt: skip
    return chosen


def estimate(real: RealPanel) -> Document:
    """Two-way DID on the panel, and with weights SEM, SAR and SDM (direct and Lee-Yu) on its balanced part."""
    panel = real.panel
    records: list[Record] = []
    statistics: list[Statistic] = []
    notes = list(real.notes)
    square = real.balanced() if panel.weights else panel
    _fit(panel, {_did(real.spec): Fit("did")}, records, statistics)
    if panel.weights:
        fits: dict[Estimator, Fit] = {}
        for name, weights in square.weights.items():
            transforms = ("direct", "lee-yu") if weights.row_stochastic else ("direct",)
            if not weights.row_stochastic:
                notes.append(f"No Lee-Yu columns for weights {name}: the transformation needs rows that sum to one.")
            for transform in transforms:
                for model in MODELS:
                    label = f"{model}-{transform}-{name}"
                    estimator = SpatialPanel(model, transform, weights=name, full_fit=True, label=label)  # type: ignore[arg-type]
                    fits[estimator] = Fit(model, transform, weights=name)
        _fit(square, fits, records, statistics)
    if panel.roles.treatment is None:
        notes.append("No treatment is named: coefficients are those of the controls.")
    return Document(_facts(panel), tuple(records), tuple(statistics), tuple(notes))


def to_json(document: Document) -> str:
    """The document as text."""
    return document.to_json()


def write_json(document: Document, folder: Path) -> Path:
    """Write FOLDER/estimates.json, whole or not at all; raises BadInput when the folder cannot be written."""
    path = folder / "estimates.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=folder, suffix=".partial", delete=False, encoding="utf-8") as file:
            file.write(document.to_json())
        os.chmod(file.name, 0o644)
        os.replace(file.name, path)
    except OSError as error:
        raise bad(f"cannot be written: {error.strerror}", where=str(path), allowed="a writable folder",
                  remedy="choose another --out") from error  # fmt: skip
    return path


def _did(spec: Spec) -> TwoWayDID:
    cluster = spec.panel.cluster
    own = cluster is None or cluster == spec.panel.unit
    return TwoWayDID(errors=("iid", "hc1", "cluster:unit" if own else f"cluster:{cluster}"))


def _fit(panel: Panel, fits: dict[Any, Fit], records: list[Record], statistics: list[Statistic]) -> None:
    """Fit all estimators on one panel through the runner and collect their records; raises BadInput on a bad fit."""
    study = Study("estimate", Observed(panel), tuple(fits), replications=1, block=64)
    block = next(iter(run(study).blocks(0)))
    for estimator, fit in fits.items():
        estimates = block.estimates[estimator.name]
        status = Status(int(estimates.status[0]))
        if status is not Status.OK:
            raise bad(f"{estimator.name}: {status.meaning}", where="estimation", allowed="a model that can be fitted",
                      remedy="look at the regressors and weights")  # fmt: skip
        records += records_of(fit, estimates, panel.nobs, len(panel.units), len(panel.periods))
        statistics += statistics_of(fit, estimates)


def _facts(panel: Panel) -> dict[str, Any]:
    return {
        "digest": panel.digest,
        "units": len(panel.units),
        "periods": len(panel.periods),
        "first_period": panel.periods[0],
        "last_period": panel.periods[-1],
        "nobs": panel.nobs,
        "balanced": panel.balanced,
        "outcome": panel.roles.outcome,
        "treatment": panel.roles.treatment,
        "controls": list(panel.roles.controls),
        "weights": {name: {"digest": w.digest, "standardize": w.standardize} for name, w in panel.weights.items()},
    }
