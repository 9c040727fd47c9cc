"""Callaway and Sant'Anna by loops over cells and plain weighted least squares and logits: a twin for tests.

Every unit has a weight in all that is estimated, cohort sizes included; the influence of a unit is the derivative of
an estimate with respect to its weight (the infinitesimal jackknife).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Cell = tuple[int, int]


@dataclass(frozen=True)
class Twin:
    """y (T, N), first treated period (N,) as an index with T = never, weights (N,), covariates (T, N, p)."""

    y: Floats
    first: NDArray[np.int_]
    weights: Floats
    covariates: Floats
    controls: str = "never"
    method: str = "unconditional"
    base: str = "varying"
    anticipation: int = 0

    def cells(self) -> dict[Cell, float]:
        """att(g,t) by indices of periods."""
        periods = len(self.y)
        found = {}
        for g in sorted(set(self.first.tolist()) - {0, periods}):
            for t in range(periods):
                b = t - 1 if self.base == "varying" and t < g - self.anticipation else g - self.anticipation - 1
                latest = max(t, b) + self.anticipation
                untreated = self.first == periods if self.controls == "never" else self.first > latest
                untreated = (untreated | (self.first == periods)) & (self.first != g)
                if b >= 0 and untreated.any():
                    found[g, t] = self._contrast(self.first == g, untreated, self.y[t] - self.y[b], self.covariates[b])
        return {(g, t): value for (g, t), value in found.items() if any(h == g and s >= g for h, s in found)}

    def _contrast(self, treated: Floats, untreated: Floats, change: Floats, covariates: Floats) -> float:
        x, w = np.column_stack([np.ones(len(change)), covariates]), self.weights
        if self.method == "unconditional":
            return float(_mean(change, w * treated) - _mean(change, w * untreated))
        expected = np.zeros_like(change)
        if self.method in {"regression", "dr"}:
            root = np.sqrt(w[untreated])
            beta = np.linalg.lstsq(x[untreated] * root[:, None], change[untreated] * root, rcond=None)[0]
            expected = x @ beta
        of_treated = _mean(change - expected, w * treated)
        if self.method == "regression":
            return float(of_treated)
        both = treated | untreated
        p = np.full(len(change), 0.5)
        p[both] = logit(x[both], treated[both].astype(float), w[both])
        return float(of_treated - _mean(change - expected, w * untreated * p / (1 - p)))

    def terms(self) -> dict[str, float]:
        """Averages by their definitions, with periods 0, 1, ... as labels."""
        att, periods = self.cells(), len(self.y)
        size = {g: float(self.weights[self.first == g].sum()) for g, _ in att}
        treated = [c for c in att if c[1] >= c[0]]

        def average(cells: list[Cell]) -> float:
            return float(np.average([att[c] for c in cells], weights=[size[c[0]] for c in cells]))

        out = {f"att({g},{t})": value for (g, t), value in att.items()}
        for k in range(-periods, periods):
            if cells := [c for c in att if c[1] - c[0] == k]:
                out[f"event({k})"] = average(cells)
        for t in range(periods):
            if cells := [c for c in treated if c[1] == t]:
                out[f"calendar({t})"] = average(cells)
        for g in size:
            if cells := [c for c in treated if c[0] == g]:
                out[f"cohort({g})"] = average(cells)
        out["overall"] = average(treated)
        out["overall:event"] = float(np.mean([v for n, v in out.items() if n.startswith("event") and "-" not in n]))
        out["overall:calendar"] = float(np.mean([v for n, v in out.items() if n.startswith("calendar")]))
        cohorts = [g for g in size if f"cohort({g})" in out]
        out["overall:cohort"] = float(
            np.average([out[f"cohort({g})"] for g in cohorts], weights=[size[g] for g in cohorts])
        )
        return out

    def influence(self, step: float = 1e-5) -> Mapping[str, Floats]:
        """d term / d weight of each unit at these weights, by central differences, (N,) each."""
        columns = []
        for unit in range(len(self.first)):
            moved = []
            for sign in (1, -1):
                weights = self.weights.copy()
                weights[unit] += sign * step
                moved.append(replace(self, weights=weights).terms())
            columns.append({name: (moved[0][name] - moved[1][name]) / (2 * step) for name in moved[0]})
        return {name: np.array([column[name] for column in columns]) for name in columns[0]}


def _mean(values: Floats, weights: Floats) -> float:
    return float((values * weights).sum() / weights.sum())


def logit(x: Floats, chosen: Floats, weights: Floats) -> Floats:
    """Fitted probabilities of a weighted logit by Newton's method."""
    b = np.zeros(x.shape[1])
    for _ in range(60):
        p = 1 / (1 + np.exp(-x @ b))
        step = np.linalg.solve((x.T * (weights * p * (1 - p))) @ x, x.T @ (weights * (chosen - p)))
        b = b + step
        if np.abs(step).max() < 1e-14:
            break
    return 1 / (1 + np.exp(-x @ b))
