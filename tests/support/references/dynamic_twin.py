"""A slow program for one dynamic spatial panel: dense matrices, powers of A one by one, derivatives by differences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.linalg
import scipy.optimize
from numpy.typing import NDArray

from sim import Panel

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DynamicTwin:
    """y (T, N), lags (L, T, N) of y, x (P, T, N), all after unit means and F_N; w: F_N'WF_N; which: names of lags."""

    y: Floats
    lags: Floats
    x: Floats
    w: Floats
    which: tuple[str, ...]

    @classmethod
    def of(cls, panel: Panel, model: str, effects: Literal["two-way", "unit"]) -> DynamicTwin:
        """Of a panel with one W."""
        w = next(iter(panel.weights.values())).dense
        y = panel.variables[panel.roles.outcome or ""][0]
        x = [panel.variables[name][0] for name in panel.roles.regressors]
        x += [values @ w.T for values in x] if model == "sdm" else []
        f = scipy.linalg.null_space(np.ones((1, len(w)))) if effects == "two-way" else np.eye(len(w))
        which = ("gamma",) if model == "ar" else ("rho", "gamma", "eta")
        lags = {"rho": (y @ w.T)[1:], "gamma": y[:-1], "eta": (y @ w.T)[:-1]}

        def within(values: Floats) -> Floats:
            return (values - values.mean(axis=0)) @ f

        return cls(within(y[1:]), np.stack([within(lags[name]) for name in which]),
                   np.stack([within(values[1:]) for values in x]), f.T @ w @ f, which)  # fmt: skip

    @property
    def sizes(self) -> tuple[int, int]:
        periods, units = self.y.shape
        return periods, units

    def residual(self, p: Floats) -> tuple[Floats, Floats]:
        """e (T, N) and slopes at lags p."""
        left = self.y - np.tensordot(p, self.lags, axes=1)
        x = self.x.reshape(len(self.x), -1).T
        slopes = np.linalg.lstsq(x, left.ravel())[0]
        return left - np.tensordot(slopes, self.x, axes=1), slopes

    def matrices(self, p: Floats) -> tuple[Floats, Floats, Floats]:
        at = dict(zip(self.which, p, strict=True))
        one = np.eye(len(self.w))
        s = np.linalg.inv(one - at.get("rho", 0.0) * self.w)
        return s, self.w @ s, s @ (at["gamma"] * one + at.get("eta", 0.0) * self.w)

    def loglik(self, p: Floats) -> float:
        """Concentrated log-likelihood; -inf outside."""
        periods, units = self.sizes
        n = periods * units
        rho = dict(zip(self.which, p, strict=True)).get("rho", 0.0)
        _, log_det = np.linalg.slogdet(np.eye(units) - rho * self.w)
        e, _ = self.residual(p)
        return float(-n / 2 * (np.log(2 * np.pi * np.square(e).sum() / n) + 1) + periods * log_det)

    def given(self, rho: float) -> Floats:
        """The lags at one rho, the others by least squares."""
        z = np.concatenate([self.lags[1:], self.x]).reshape(-1, self.y.size).T
        return np.r_[rho, np.linalg.lstsq(z, (self.y - rho * self.lags[0]).ravel())[0][:2]]

    def maximum(self) -> Floats:
        """The lags of the uncorrected maximum: others by least squares given rho, rho by a bounded search."""
        if "rho" not in self.which:
            z = np.concatenate([self.lags, self.x]).reshape(-1, self.y.size).T
            return np.linalg.lstsq(z, self.y.ravel())[0][:1]
        found = scipy.optimize.minimize_scalar(lambda rho: -self.loglik(self.given(rho)), bounds=(-0.9, 0.9),
                                               method="bounded", options={"xatol": 1e-12})  # fmt: skip
        return self.given(float(found.x))

    def means(self, p: Floats, *, infinite: bool = False) -> Floats:
        """Minus the means of the scores of the lags: sums over powers of A, as traces of dense matrices."""
        periods, units = self.sizes
        s, g, a = self.matrices(p)
        total, power = np.zeros_like(a), np.eye(units)
        for h in range(2000 if infinite else periods - 1):
            total += power * (1.0 if infinite else (periods - 1 - h) / periods)
            power = power @ a
        own = {"rho": np.trace(g) + np.trace(self.w @ s @ total @ a), "gamma": np.trace(total @ s),
               "eta": np.trace(self.w @ total @ s)}  # fmt: skip
        return np.array([own[name] for name in self.which])

    def scores(self, p: Floats) -> Floats:
        """Adjusted scores of the lags, slopes and sigma2 concentrated out."""
        periods, units = self.sizes
        e, _ = self.residual(p)
        sigma2 = np.square(e).sum() / (units * (periods - 1))
        _, g, _ = self.matrices(p)
        plain = np.array([(lag * e).sum() / sigma2 for lag in self.lags])
        plain[0] -= periods * np.trace(g) * (self.which[0] == "rho")
        return plain + self.means(p)

    def root(self, start: Floats) -> Floats:
        """The root of the adjusted scores near a start."""
        found = scipy.optimize.root(self.scores, start, tol=1e-12)
        assert np.abs(found.fun).max() < 1e-7
        return np.asarray(found.x)

    def whole(self, p: Floats, *, corrected: bool) -> Floats:
        periods, units = self.sizes
        e, slopes = self.residual(p)
        return np.r_[slopes, p, np.square(e).sum() / (units * (periods - corrected))]

    def gradient(self, values: Floats, *, corrected: bool) -> Floats:
        """Scores of slopes, lags, sigma2, those of the lags and sigma2 adjusted or not."""
        periods, units = self.sizes
        count, n = len(self.x), units * periods
        p, sigma2 = values[count:-1], values[-1]
        e = self.y - np.tensordot(values[:count], self.x, axes=1) - np.tensordot(p, self.lags, axes=1)
        lags = np.array([(lag * e).sum() / sigma2 for lag in self.lags])
        lags[0] -= periods * np.trace(self.matrices(p)[1]) * (self.which[0] == "rho")
        if corrected:
            lags, n = lags + self.means(p), n - units
        slopes = np.array([(x * e).sum() / sigma2 for x in self.x])
        return np.r_[slopes, lags, np.square(e).sum() / (2 * sigma2**2) - n / (2 * sigma2)]

    def information(self, values: Floats, *, corrected: bool) -> Floats:
        """Minus the derivatives of the scores, by central differences."""
        steps = 1e-6 * np.eye(len(values))
        rows = [(self.gradient(values - h, corrected=corrected) - self.gradient(values + h, corrected=corrected)) / 2e-6
                for h in steps]  # fmt: skip
        return np.array(rows)

    def analytic(self) -> Floats:
        """The maximum plus I^-1 a (Yu, de Jong and Lee 2008)."""
        _, units = self.sizes
        plain = self.whole(self.maximum(), corrected=False)
        a = np.r_[np.zeros(len(self.x)), self.means(plain[len(self.x) : -1], infinite=True), units / (2 * plain[-1])]
        return plain + np.linalg.solve(self.information(plain, corrected=False), a)


def impacts(values: Floats, w: Floats, regressors: int, durbin: bool, long: bool) -> Floats:
    """Direct, indirect, total effects (3 K,) at slopes, rho, gamma, eta, sigma2 from N x N matrices."""
    rho, gamma, eta = values[-4:-1]
    one = np.eye(len(w))
    inverse = np.linalg.inv((1 - gamma) * one - (rho + eta) * w if long else one - rho * w)
    effects = [inverse @ (values[k] * one + (values[regressors + k] * w if durbin else 0.0)) for k in range(regressors)]
    direct, total = (np.array([f(m) for m in effects]) / len(w) for f in (np.trace, np.sum))
    return np.r_[direct, total - direct, total]
