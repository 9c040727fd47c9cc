"""2SLS the slow way: dummies for all effects, one panel, loops over clusters, and sets of Anderson and Rubin by search.

`made_panel` draws a panel with one or two endogenous regressors, three instruments and a control.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from references.small_panels import small_panel
from sim import Panel

Floats = NDArray[np.float64]
INSTRUMENTS = ("z1", "z2", "z3")


def made_panel(
    n: int = 30, t: int = 6, *, seed: int = 1, missing: int = 0, strength: float = 0.6, replications: int = 1
) -> Panel:
    """y on d and e (endogenous), inv and road (controls), with three instruments; errors differ between units."""
    base = small_panel(n, t, seed=seed, missing=missing, model="none", replications=1)
    rng = np.random.default_rng(seed + 1000)
    z = [rng.standard_normal((1, t, n)) + 0.5 * base.variables["inv"] for _ in INSTRUMENTS]
    scale = np.exp(0.4 * rng.standard_normal(n))
    shape = (replications, t, n)
    u = scale * rng.standard_normal(shape) + 0.4 * rng.standard_normal((replications, 1, n))
    d = strength * (z[0] + 0.5 * z[1]) + 0.3 * base.variables["inv"] + 0.7 * u + rng.standard_normal(shape)
    e = strength * (z[2] - 0.5 * z[0]) + 0.2 * d - 0.5 * u + rng.standard_normal(shape)
    y = 1.0 * d + 0.5 * base.variables["inv"] - 0.2 * base.variables["road"] + u
    y = y + rng.standard_normal(n) + rng.standard_normal(t)[:, None]
    variables = {"y": y, "d": d, "e": e, "inv": base.variables["inv"], "road": base.variables["road"],
                 **dict(zip(INSTRUMENTS, z, strict=True))}  # fmt: skip
    roles = replace(base.roles, treatment="d", continuous=True, instruments=INSTRUMENTS)
    return replace(base, variables=variables, roles=roles, weights={})


@dataclass(frozen=True, eq=False)
class DummyIV:
    """One panel as matrices: y (n,), endogenous d (n, L), controls with all dummies w (n, K + effects), instruments z
    (n, M), clusters (n,); all times the root of the panel's weights, where it has some, brought to a mean
    of 1."""

    y: Floats
    d: Floats
    w: Floats
    z: Floats
    clusters: NDArray[np.intp]
    error: str = "cluster"

    @classmethod
    def of(
        cls, panel: Panel, endogenous: tuple[str, ...], controls: tuple[str, ...], instruments: tuple[str, ...],
        error: str = "cluster",
    ) -> DummyIV:  # fmt: skip
        seen = np.ones((len(panel.periods), len(panel.units)), bool) if panel.observed is None else panel.observed[0]
        period, unit = np.nonzero(seen)

        def columns(names: tuple[str, ...]) -> Floats:
            return np.column_stack([np.empty((len(unit), 0)), *(panel.variables[name][0][seen] for name in names)])

        dummies = np.column_stack(
            [unit[:, None] == np.arange(seen.shape[1]), period[:, None] == np.arange(1, len(seen))]
        )
        w = np.column_stack([columns(controls), dummies.astype(np.float64)])
        weight = panel.roles.weight
        weights = columns((weight,)) if weight else np.ones((len(unit), 1))
        root = np.sqrt(weights / weights.mean())
        y, d, z = (columns(names) * root for names in (("y",), endogenous, instruments))
        return cls(y[:, 0], d, w * root, z, unit, error)

    def fit(self, x: Floats, y: Floats, z: Floats | None = None) -> tuple[Floats, Floats, Floats]:
        """Coefficients, residuals, covariance of 2SLS of y on x with instruments z; all parameters count in factors."""
        z = x if z is None else z
        hat = z @ np.linalg.lstsq(z, x, rcond=None)[0]
        bread = np.linalg.inv(hat.T @ hat)
        b = bread @ hat.T @ y
        u = y - x @ b
        return b, u, bread @ self.meat(hat, u, x.shape[1]) @ bread

    def meat(self, x: Floats, u: Floats, k: int, *, corrected: bool = True) -> Floats:
        """X' Omega X with the small-sample factor; without one and with n in the place of n - k."""
        n = len(u)
        if self.error == "iid":
            return x.T @ x * (u @ u) / (n - k if corrected else n)
        if self.error == "hc1":
            return sum(np.outer(row, row) * e**2 for row, e in zip(x, u, strict=True)) * (
                n / (n - k) if corrected else 1
            )
        groups = np.unique(self.clusters)
        sums = [x[self.clusters == g].T @ u[self.clusters == g] for g in groups]
        factor = len(groups) / (len(groups) - 1) * (n - 1) / (n - k) if corrected else 1.0
        return sum(np.outer(s, s) for s in sums) * factor

    def anderson_rubin(self, b: float) -> float:
        """The F statistic of the instruments in y - b d on instruments and controls, over M."""
        x = np.column_stack([self.z, self.w])
        m = self.z.shape[1]
        slopes, _, covariance = self.fit(x, self.y - b * self.d[:, 0])
        return float(slopes[:m] @ np.linalg.solve(covariance[:m, :m], slopes[:m])) / m

    def set_ends(self, most: float, steps: int = 120) -> list[float]:
        """Where the statistic crosses a critical value, by a grid over the angle of b and by bisection."""

        def excess(angle: float) -> float:
            return self.anderson_rubin(np.tan(angle)) - most

        grid = np.linspace(-np.pi / 2 + 1e-4, np.pi / 2 - 1e-4, steps)
        values = np.array([excess(angle) for angle in grid])
        return [float(np.tan(brentq(excess, grid[i], grid[i + 1], xtol=1e-14)))
                for i in np.flatnonzero(values[1:] * values[:-1] < 0)]  # fmt: skip

    def kleibergen_paap(self) -> float:
        """rk over M by the formulas of Kleibergen and Paap (2006), from blocks of the singular vectors."""
        m, count = self.z.shape[1], self.d.shape[1]
        z = self.z - self.w @ np.linalg.lstsq(self.w, self.z, rcond=None)[0]
        d = self.d - self.w @ np.linalg.lstsq(self.w, self.d, rcond=None)[0]
        pi = np.linalg.lstsq(z, d, rcond=None)[0]
        v = d - z @ pi
        n, k = len(z), m + self.w.shape[1]
        scores = (v[:, :, None] * z[:, None, :]).reshape(n, count * m)
        if self.error == "iid":
            meat = np.kron(v.T @ v / (n - k), z.T @ z)
        elif self.error == "hc1":
            meat = scores.T @ scores * n / (n - k)
        else:
            groups = np.unique(self.clusters)
            sums = np.array([scores[self.clusters == g].sum(axis=0) for g in groups])
            meat = sums.T @ sums * len(groups) / (len(groups) - 1) * (n - 1) / (n - k)
        inverse = np.kron(np.eye(count), np.linalg.inv(z.T @ z))
        omega = inverse @ meat @ inverse
        g, f = np.linalg.cholesky(z.T @ z).T, np.linalg.cholesky(np.linalg.inv(v.T @ v)).T
        theta = g @ pi @ f.T
        u, _, vt = np.linalg.svd(theta)
        q = count - 1
        u12, u22 = u[:q, q:], u[q:, q:]
        v12, v22 = vt.T[:q, q:], vt.T[q:, q:]

        def root(a: Floats) -> Floats:
            values, vectors = np.linalg.eigh(a)
            return (vectors * np.sqrt(values)) @ vectors.T

        a = np.vstack([u12, u22]) @ np.linalg.inv(u22) @ root(u22 @ u22.T)
        b = root(v22 @ v22.T) @ np.linalg.inv(v22.T) @ np.hstack([v12.T, v22.T])
        lam = a.T @ theta @ b.T
        both = np.kron(b, a.T) @ np.kron(f, g)
        vector = lam.ravel(order="F")
        return float(vector @ np.linalg.solve(both @ omega @ both.T, vector)) / m
