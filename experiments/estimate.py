"""The paper's models on a real panel: the same estimators and the same runner as in a study."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from estimators.did import TwoWayDID, outcome_of
from estimators.estimator import Estimates, Estimator, Status
from estimators.regression import check_fixed
from estimators.spatial import SpatialPanel
from experiments.index_section import index_facts
from experiments.runner import run
from experiments.study import Study
from results.tables.records import Document, Fit, Record, Statistic, records_of, statistics_of
from sim.errors import bad, listed, one_of
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
    notes, failures = list(real.notes), list[str]()
    check_fixed(panel, (*panel.roles.regressors, outcome_of(None, panel.schema, "estimation")), "estimation")
    square = real.balanced() if panel.weights else panel
    notes += _left_out(panel, square)
    failures += _fit(panel, {_did(real.spec): Fit("did")}, records, statistics)
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
        failures += _fit(square, fits, records, statistics)
    if not records:
        raise bad("no model can be fitted", where="estimation", allowed="an outcome that varies, sound regressors",
                  remedy="; ".join(failures))  # fmt: skip
    if panel.roles.treatment is None:
        notes.append("No treatment is named: coefficients are those of the controls.")
    return Document(_facts(real), tuple(records), tuple(statistics), (*notes, *failures), len(failures))


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


def _left_out(panel: Panel, square: Panel) -> list[str]:
    """In words, what the spatial models leave out to have a balanced panel."""
    units = [unit for unit in panel.units if unit not in set(square.units)]
    periods = [period for period in panel.periods if period not in set(square.periods)]
    lost = [f"{what} {listed(items)}" for what, items in (("units", units), ("periods", periods)) if items]
    if not lost:
        return []
    return [f"The spatial models leave out {' and '.join(lost)}, to be balanced; the DID column does not."]


def _fit(panel: Panel, fits: dict[Any, Fit], records: list[Record], statistics: list[Statistic]) -> list[str]:
    """Fit all estimators on one panel through the runner and collect their records; in words, the fits that failed."""
    failures = []
    study = Study("estimate", Observed(panel), tuple(fits), replications=1, block=64)
    block = next(iter(run(study).blocks(0)))
    for estimator, fit in fits.items():
        estimates = block.estimates[estimator.name]
        status = Status(int(estimates.status[0]))
        if status is not Status.OK:
            failures.append(f"No column {estimator.name}: {_why(estimator, estimates, status)}.")
            continue
        records += records_of(fit, estimates, panel.nobs, len(panel.units), len(panel.periods))
        statistics += statistics_of(fit, estimates)
    return failures


def _why(estimator: Estimator, estimates: Estimates, status: Status) -> str:
    """Why a fit failed, with the place where the search for rho or lambda ended."""
    for name in ("rho", "lambda"):
        if status is Status.NOT_CONVERGED and name in estimates.terms:
            at = estimates.estimate[0, estimates.terms.index(name)]
            return f"the likelihood rises to the edge of the interval, {name} = {at:.4f}"
    return status.meaning


def _facts(real: RealPanel) -> dict[str, Any]:
    panel, section = real.panel, real.spec.index
    index = {} if section is None or real.index is None else {"index": index_facts(section, real.index)}
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
        "treatment_column": real.spec.panel.treatment or real.spec.panel.first_treated,
        "controls": list(panel.roles.controls),
        "weights": {name: {"digest": w.digest, "standardize": w.standardize} for name, w in panel.weights.items()},
        **index,
    }
