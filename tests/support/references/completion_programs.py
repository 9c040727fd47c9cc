"""Slow programs for completed matrices and interactive effects: one panel, one unit, one period at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim import Panel, Roles

Floats = NDArray[np.float64]


def factor_panel(
    *, seed: int = 1, replications: int = 1, units: int = 24, periods: int = 16, treated: int = 6, last: int = 5,
    covariate: float | None = None, staggered: bool = False, effect: float = 1.0, strength: float = 1.0,
    noise: float = 1.0,
) -> Panel:  # fmt: skip
    """Two factors, a trend and a wave; who has more of the trend adopts, so that two-way DID is biased by factors.

    staggered: every other treated unit adopts three periods earlier. Errors are redrawn in every replication.
    """
    rng = np.random.default_rng(seed)
    time = np.arange(periods) / periods
    paths = strength * np.stack([3 * time, 1.5 * np.sin(7 * time)])
    loadings = rng.standard_normal((2, units))
    adopts = np.argsort(-loadings[0] - rng.gumbel(size=units))[:treated]
    did = np.zeros((periods, units))
    for k, i in enumerate(adopts):
        did[periods - last - 3 * (staggered and k % 2) :, i] = 1.0
    x = rng.standard_normal((1, periods, units)) + 0.7 * (paths.T @ loadings)
    signal = paths.T @ loadings + rng.standard_normal(units) + rng.standard_normal(periods)[:, None] + effect * did
    signal = signal + (0.0 if covariate is None else covariate * x[0])
    y = signal + noise * rng.standard_normal((replications, periods, units))
    variables = {"y": y, "did": did[None]} | ({} if covariate is None else {"x": x})
    return Panel(
        units=tuple(f"unit {i:02d}" for i in range(units)), periods=tuple(range(2001, 2001 + periods)),
        variables=variables, roles=Roles("y", "did", () if covariate is None else ("x",)),
    )  # fmt: skip


@dataclass(frozen=True)
class PlainCompletion:
    """Matrix completion of one panel, units as rows: y, seen (N, T)."""

    y: Floats
    seen: Floats

    def two_way(self) -> tuple[Floats, Floats]:
        """Unit and period effects by dummies."""
        n, t = self.y.shape
        cells = [(i, s) for i in range(n) for s in range(t) if self.seen[i, s]]
        design = np.zeros((len(cells), n + t))
        for row, (i, s) in enumerate(cells):
            design[row, i] = design[row, n + s] = 1.0
        found = np.linalg.lstsq(design, np.array([self.y[cell] for cell in cells]), rcond=None)[0]
        return found[:n], found[n:]

    def objective(self, low: Floats, unit: Floats, period: Floats, penalty: float) -> float:
        """Mean squared residual plus the penalty times the nuclear norm."""
        rest = self.seen * (self.y - low - unit[:, None] - period)
        return float((rest**2).sum() / self.seen.sum() + penalty * np.linalg.svd(low, compute_uv=False).sum())

    def sweeps(
        self, low: Floats, unit: Floats, period: Floats, penalty: float, tolerance: float, floor: float
    ) -> tuple[Floats, Floats, Floats]:
        """Coordinate descent until a sweep's share of the objective is below the tolerance."""
        n, t = self.y.shape
        before = self.objective(low, unit, period, penalty)
        for _ in range(400):
            for i in range(n):
                own = [s for s in range(t) if self.seen[i, s]]
                unit = unit.copy()
                unit[i] = np.mean([self.y[i, s] - low[i, s] - period[s] for s in own]) if own else 0.0
            for s in range(t):
                own = [i for i in range(n) if self.seen[i, s]]
                period = period.copy()
                period[s] = np.mean([self.y[i, s] - low[i, s] - unit[i] for i in own]) if own else 0.0
            target = np.where(self.seen > 0, self.y - unit[:, None] - period, low)
            left, sizes, right = np.linalg.svd(target, full_matrices=False)
            low = left @ np.diag(np.maximum(sizes - penalty * self.seen.sum() / 2, 0)) @ right
            now = self.objective(low, unit, period, penalty)
            if now <= floor or 0 <= (before - now) / before < tolerance:
                break
            before = now
        return low, unit, period

    def start(self) -> tuple[Floats, Floats, float, float]:
        """Effects without L, the least penalty for L = 0, and the objective that counts as zero."""
        unit, period = self.two_way()
        rest = self.seen * (self.y - unit[:, None] - period)
        largest = 2 * np.linalg.norm(rest, 2) / self.seen.sum()
        return unit, period, float(largest), 1e-8 * float((rest**2).sum() / self.seen.sum())

    def along(self, path: list[float], tolerance: float) -> list[Floats]:
        """Completed panels at each penalty of a falling path."""
        unit, period, _, floor = self.start()
        low, found = np.zeros_like(self.y), []
        for penalty in path:
            low, unit, period = self.sweeps(low, unit, period, penalty, tolerance, floor)
            found.append(low + unit[:, None] + period)
        return found


def plain_matrix_completion(y: Floats, did: Floats, kept: NDArray[np.bool_], tolerance: float) -> tuple[float, float]:
    """Effect and penalty of one panel, y, did (T, N), with cross-validation over folds kept (F, T, N)."""
    y, seen = y.T, 1.0 - did.T
    folds = [PlainCompletion(y, seen * fold.T) for fold in kept]
    top = max(fold.start()[2] for fold in folds)
    path = [*(top * 10 ** (-3 * k / 18) for k in range(19)), 0.0]
    errors = np.zeros(20)
    for fold in folds:
        held = seen - fold.seen
        for k, completed in enumerate(fold.along(path, tolerance)):
            errors[k] += (held * (y - completed) ** 2).sum() / held.sum()
    best = int(errors.argmin())
    completed = PlainCompletion(y, seen).along(path[: best + 1], tolerance)[-1]
    return float((did.T * (y - completed)).sum() / did.sum()), path[best]


def plain_interactive(y: Floats, x: list[Floats], rank: int) -> tuple[Floats, Floats, Floats]:
    """Slopes, factors (T, r) and their part (T, N) of y (T, N) on regressors and factors, effects by demeaning.

    Units' loadings, periods' factors and slopes are regressed in turn, each given the others, until they stand still.
    """

    def within(z: Floats) -> Floats:
        return z - z.mean(axis=0) - z.mean(axis=1, keepdims=True) + z.mean()

    y, x = within(y), [within(z) for z in x]
    t, n = y.shape
    b = np.linalg.lstsq(np.column_stack([z.ravel() for z in x]), y.ravel(), rcond=None)[0] if x else np.zeros(0)
    rest = y - sum((k * z for k, z in zip(b, x, strict=True)), np.zeros_like(y))
    factors = np.linalg.svd(rest)[0][:, :rank]
    common = np.zeros_like(y)
    for _ in range(20_000):
        rest = y - sum((k * z for k, z in zip(b, x, strict=True)), np.zeros_like(y))
        loadings = np.column_stack([np.linalg.lstsq(factors, rest[:, i], rcond=None)[0] for i in range(n)])
        factors = np.stack([np.linalg.lstsq(loadings.T, rest[s], rcond=None)[0] for s in range(t)])
        new = factors @ loadings
        if x:
            columns = np.column_stack([z.ravel() for z in x])
            b = np.linalg.lstsq(columns, (y - new).ravel(), rcond=None)[0]
        moved = np.abs(new - common).max()
        common = new
        if moved < 1e-12:
            break
    return b, factors, common


def plain_generalised_synthetic(y: Floats, did: Floats, x: list[Floats], rank: int) -> float:
    """Effect of one panel (T, N): factors of never treated units, loadings of treated ones before they adopt."""
    never = ~did.any(axis=0)
    b, factors, _ = plain_interactive(y[:, never], [z[:, never] for z in x], rank)
    rest = y - sum((k * z for k, z in zip(b, x, strict=True)), np.zeros_like(y))
    common = rest[:, never].mean(axis=1)
    gaps = []
    for i in np.flatnonzero(~never):
        date = int(did[:, i].argmax())
        basis = np.column_stack([np.ones(len(y)), factors])
        own = np.linalg.lstsq(basis[:date], rest[:date, i] - common[:date], rcond=None)[0]
        gaps += (rest[date:, i] - common[date:] - basis[date:] @ own).tolist()
    return float(np.mean(gaps))
