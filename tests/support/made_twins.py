"""Panels whose law is known, for twins to find again, and a plain program of the published calibrated simulations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from experiments.panel_spec.spec import RealPanel, read_spec
from experiments.settings import build
from references.cohort_effects_twin import logit
from sim import Streams
from sim.world.panel_design import PanelDesign

Floats = NDArray[np.float64]

SPEC = """
[panel]
unit = "unit"
period = "period"
outcome = "y"
treatment = "did"
groups = ["group"]
longitude = "longitude"
latitude = "latitude"

[[weights]]
kind = "knn"
k = 6

[twin]
method = "parametric"
"""

KNOWN: dict[str, Any] = {
    "units": 100,
    "periods": 12,
    "geography": {"groups": 10},
    "levels": {"unit_sd": 1.0, "period_sd": 0.5, "unit_spatial": 0.4},
    "errors": {"sd": 1.0, "serial": 0.7, "spatial": 0.3, "group_share": 0.2},
    "effect": {"size": 0.5},
}
TRUTH = {f"{part}.{dial}": value for part in ("errors", "levels") for dial, value in KNOWN[part].items()}

ALONE = """
[panel]
unit = "unit"
period = "period"
outcome = "y"
treatment = "did"
[twin]
method = "parametric"
draws = 100
"""
SERIAL: dict[str, Any] = {
    "units": 60, "periods": 12, "levels": {"unit_sd": 1.0, "period_sd": 0.5}, "errors": {"sd": 1.0, "serial": 0.8},
    "weights": {"kind": "none"}, "adoption": {"kind": "random", "share": 0.5},
}  # fmt: skip


def drawn_panel(folder: Path, number: int, dials: Mapping[str, Any] = KNOWN, spec: str = SPEC) -> RealPanel:
    """One panel of a known design as a real one."""
    (folder / "spec.toml").write_text(spec, encoding="utf-8")
    design = build(PanelDesign, dials, "a known design")
    panel = design.draw(Streams(20250301, f"panel {number}")).panel.replication(0)
    return RealPanel(panel, read_spec(folder / "spec.toml"), panel.units, ())


def low_rank_table(seed: int = 11, units: int = 30, periods: int = 16) -> pd.DataFrame:
    """A long table: y = two effects + two factors + AR(2) noise, and a law that units of one factor's loadings have."""
    rng = np.random.default_rng(seed)
    loadings, paths = rng.standard_normal((units, 2)), np.cumsum(rng.standard_normal((periods, 2)), axis=0)
    noise = rng.standard_normal((periods + 20, units))
    for t in range(2, periods + 20):
        noise[t] += 0.3 * noise[t - 1] - 0.2 * noise[t - 2]
    y = 3 * rng.standard_normal(units) + np.linspace(0, 4, periods)[:, None] + paths @ loadings.T + 0.8 * noise[20:]
    law = (loadings[:, 0] + rng.standard_normal(units) > 0).astype(int)
    index = [(f"u{i:02d}", 2000 + t, y[t, i], law[i]) for i in range(units) for t in range(periods)]
    return pd.DataFrame(index, columns=["unit", "period", "y", "law"])


@dataclass(frozen=True, eq=False)
class FiveSteps:
    """The five steps of the method factor in plain numpy: F, M (T, N), Sigma = s R (T, T), chances (N,)."""

    additive: Floats
    interactive: Floats
    covariance: Floats
    chances: Floats
    most: int
    last: int

    @classmethod
    def of(cls, table: pd.DataFrame, rank: int, order: int, digits: int, most: int, last: int) -> FiveSteps:
        """Fit a long table with the columns unit, period, y and law."""
        wide = table.pivot(index="unit", columns="period", values="y").to_numpy()
        y = (wide - wide.mean()) / wide.std()
        u, d, v = np.linalg.svd(y, full_matrices=False)
        signal = u[:, :rank] @ np.diag(d[:rank]) @ v[:rank]
        additive = signal.mean(axis=1, keepdims=True) + signal.mean(axis=0, keepdims=True) - signal.mean()
        e = y - signal
        t = e.shape[1]
        x = np.column_stack([e[:, order - k : t - k].ravel() for k in range(1, order + 1)])
        phi = np.round(np.linalg.lstsq(x, e[:, order:].ravel(), rcond=None)[0], digits)
        r = autocorrelations(phi, t)
        empirical = e.T @ e / len(e)
        s = np.linalg.norm(empirical) / np.linalg.norm(r)
        design = np.column_stack([np.ones(len(y)), np.sqrt(len(y)) * u[:, :rank]])
        law = table.groupby("unit")["law"].last().to_numpy(float)
        return cls(additive.T, (signal - additive).T, s * r, logit(design, law, np.ones(len(law))), most, last)

    def estimates(self, count: int, seed: int, *, additive: float = 1.0, interactive: float = 1.0, scale: float = 1.0,
                  iid: bool = False, share: float | None = None) -> Floats:  # fmt: skip
        """DID estimates of simulated panels, (count,)."""
        rng = np.random.default_rng(seed)
        t, n = self.additive.shape
        cov = np.eye(t) * np.linalg.norm(self.covariance) / np.sqrt(t) if iid else self.covariance
        root, signal = np.linalg.cholesky(cov), additive * self.additive + interactive * self.interactive
        out = np.empty(count)
        for k in range(count):
            y = signal + scale * (root @ rng.standard_normal((t, n)))
            chosen = np.flatnonzero(rng.random(n) < (self.chances if share is None else share))
            chosen = rng.permutation(chosen if chosen.size else n)[: self.most]
            treated = np.isin(np.arange(n), chosen)
            change = y[-self.last :].mean(axis=0) - y[: -self.last].mean(axis=0)
            out[k] = change[treated].mean() - change[~treated].mean()
        return out


def autocorrelations(phi: Floats, periods: int) -> Floats:
    """Correlation matrix of an AR(2) by its Yule-Walker recursion, (T, T)."""
    first, second = phi
    rho = [1.0, first / (1 - second)]
    while len(rho) < periods:
        rho.append(first * rho[-1] + second * rho[-2])
    at = np.arange(periods)
    return np.array(rho)[np.abs(at[:, None] - at)]
