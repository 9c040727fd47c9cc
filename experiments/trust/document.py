"""trust.json: every number that the page shows, as plain data."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np

from experiments.trust.diagnostics import diagnostics
from experiments.trust.trust import Trust
from experiments.trust.verdict import verdict
from experiments.twins.fidelity import misses
from results.tables.records import Record

POINTS = 61  # of the fitted power curve
LIMITS = (
    "Trends are parallel in twins by the methods parametric and residual. Those by the method factor keep the panel's "
    "factors; their bias shows what these do to the claim. No simulation of this kind can test parallel trends.",
    "Twins show how an estimator does in the world that was fitted. Where that world is wrong, sizes and rankings can "
    "mislead (Advani, Kitagawa and Sloczynski 2019). So several methods are compared, and what twins miss is listed.",
    "The treatment of the twins is that of the panel or as good as the fitted adoption. What moves both adoption and "
    "outcome, and is in no column of the panel, is in no twin.",
)  # fmt: skip
KEPT = {"covariates": "controls", "weights": "spatial weights", "calendar": "who is treated and when",
        "missing": "missing cells", "levels": "unit and period effects"}  # fmt: skip


def document(found: Trust) -> dict[str, Any]:
    """The contract's keys, then studies, limits and notes."""
    judged, p, mde = verdict(found), found.calibrated(), found.mde
    plain: dict[str, Any] = {
        "claim": _record(found.record) | {"text": found.claim.text, "outcome": found.claim.panel.roles.outcome},
        "verdict": {"grade": judged.grade, "sentences": list(judged.sentences)},
        "errors": _errors(found),
        "calibrated": asdict(p) | {"se_type": found.recommended},
        "power": _power(found),
        "curve": _curve(found),
        "mde": asdict(mde),
        "diagnostics": diagnostics(found),
        "placebos": [asdict(one) for one in found.placebos],
        "threats": [asdict(one) for one in found.threats],
        "fidelity": [row.record for one in found.twin.all for row in one.fidelity],
        "held_fixed": _held_fixed(found),
        "studies": [_study(found, k) for k in range(len(found.simulated))],
        "misses": [{"method": one.method, "sentences": list(misses(one.fidelity)),
                    "inside": sum(row.inside for row in one.fidelity), "features": len(one.fidelity)}
                   for one in found.twin.all],
        "limits": list(LIMITS),
        "notes": list(dict.fromkeys(found.notes)),
    }  # fmt: skip
    cleaned: dict[str, Any] = _finite(plain)
    return cleaned


def _record(record: Record) -> dict[str, Any]:
    return {name: value for name, value in record.plain.items() if name != "name"}


def _errors(found: Trust) -> list[dict[str, Any]]:
    rows = []
    for error in found.main.errors:
        size, record = found.main.size(error), found.shown[error]
        rows.append({
            "se_type": error, "size": size.value, "mcse": size.mcse, "estimate": record.estimate, "se": record.se,
            "pvalue": record.pvalue, "lower": record.lower, "upper": record.upper,
            "recommended": error == found.recommended, "printed": error == found.printed,
            "coverage": found.main.measure("coverage", error).value,
        })  # fmt: skip
    return rows


def _power(found: Trust) -> list[dict[str, Any]]:
    """Simulated power at every effect of the grid, under the recommended error type."""
    rows = []
    for cell, effect in enumerate(found.main.effects):
        rejected = found.main.measure("rejection", found.recommended, cell)
        kinds = {name: found.main.measure(name, found.recommended, cell).value for name in ("type_s", "type_m")}
        rows.append({"effect": effect, "power": rejected.value, "mcse": rejected.mcse, **kinds})
    return rows


def _curve(found: Trust) -> list[list[float]]:
    """Points (effect, power) of the fitted curve, evenly over the grid."""
    ends = min(found.main.effects), max(found.main.effects)
    effects = np.linspace(*ends, POINTS)
    return [list(point) for point in zip(effects.tolist(), found.curve.at(effects).tolist(), strict=True)]


def _study(found: Trust, number: int) -> dict[str, Any]:
    """What one method's twins say, under the recommended error type."""
    one = found.simulated[number]
    error = found.recommended
    cell = min(range(len(one.effects)), key=lambda k: abs(one.effects[k] - found.claim.estimate))
    size, power, bias = one.size(error), one.measure("rejection", error, cell), one.measure("bias", cell=cell)
    cover, printed = one.measure("coverage", error, cell), one.size(found.printed)
    return {
        "method": one.method, "replications": one.replications, "cells": len(one.effects),
        "worlds": one.study.world_count, "size": size.value, "size_mcse": size.mcse, "printed_size": printed.value,
        "power": power.value, "power_mcse": power.mcse, "coverage": cover.value, "coverage_mcse": cover.mcse,
        "bias": bias.value, "bias_mcse": bias.mcse, "calibrated": found.calibrated(one).pvalue,
    }  # fmt: skip


def _held_fixed(found: Trust) -> list[str]:
    kept = (
        [f"as in the panel: {KEPT[name]}" for name in found.claim.real.spec.twin.keep]
        if (found.claim.real.spec.twin)
        else [f"as in the panel: {words}" for key, words in KEPT.items() if key != "levels"]
    )
    drawn = [f"drawn once a world: {words}" for words in found.main.study.held_fixed]
    return list(dict.fromkeys([*kept, *drawn]))


def _finite(value: Any) -> Any:
    """The same with None for numbers that are not finite."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
