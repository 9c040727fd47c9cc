"""Fingerprints of what a study is made of: by them a store knows what of it a larger study has in common."""

from __future__ import annotations

import hashlib

from experiments.settings import kind_of, to_settings
from experiments.study.study import Cell, Study, canonical_json


def cell_print(study: Study, cell: Cell) -> str:
    """SHA-256 of all that a cell's draws hang on: its design, key, seed and worlds."""
    design = {"kind": kind_of(cell.design, "sim"), **to_settings(cell.design)}
    return _sha({"design": design, "design_identity": cell.design.identity, "key": cell.key, "seed": study.seed,
                 "worlds": study.world_count})  # fmt: skip


def estimator_prints(study: Study) -> dict[str, str]:
    """SHA-256 of the settings of each estimator, by name."""
    return {item.name: _sha({"kind": kind_of(item, "estimators"), **to_settings(item)}) for item in study.estimators}


def _sha(value: object) -> str:
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
