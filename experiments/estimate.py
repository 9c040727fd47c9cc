"""The paper's models on a real panel: the same estimators and the same runner as in a study."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from estimators.did import outcome_of
from estimators.regression import check_fixed
from experiments.index_section import index_facts
from experiments.tables import baseline, spatial_models
from experiments.tables.ledger import Ledger
from results.tables.records import Document
from sim.errors import bad, one_of

if TYPE_CHECKING:
    from experiments.spec import RealPanel

FORMATS = ("json",)
TABLES = (baseline, spatial_models)  # in the order of the paper


def check_formats(text: str) -> tuple[str, ...]:
    """The formats of a comma-separated list; raises BadInput for one that is not written."""
    chosen = tuple(part.strip() for part in text.split(",") if part.strip())
    unknown = [part for part in chosen if part not in FORMATS]
    if unknown or not chosen:
        raise bad(f"format {one_of(unknown) if unknown else text!r}", where="--format", allowed=one_of(FORMATS),
                  remedy="choose among them")  # fmt: skip
    return chosen


def estimate(real: RealPanel) -> Document:
    """All tables of a panel; raises BadInput when no model can be fitted."""
    panel = real.panel
    check_fixed(panel, (*panel.roles.regressors, outcome_of(None, panel.schema, "estimation")), "estimation")
    ledger = Ledger(seed=real.spec.inference.seed, notes=list(real.notes))
    for table in TABLES:
        table.add(real, ledger)
    if not ledger.records:
        raise bad("no model can be fitted", where="estimation", allowed="an outcome that varies, sound regressors",
                  remedy="; ".join(ledger.failures))  # fmt: skip
    return Document(
        _facts(real),
        tuple(ledger.records),
        tuple(ledger.statistics),
        (*ledger.notes, *ledger.failures),
        len(ledger.failures),
        tuple(ledger.figures),
    )


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
