"""Slow programs for one panel that share no code with the kernels: dummies, dense matrices, one root search at a time.

`direct` keeps every unit and time dummy as a regressor, in the fit and in the information matrix. `lee-yu` forms Lee
and Yu's transformed data F_N' Y F_T and W** = F_N' W F_N and fits a model without effects to them. Derivatives of
effects are complex-step ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.linalg
import scipy.optimize
from numpy.typing import NDArray

from references.reference import Reference
from sim import Panel

Floats = NDArray[np.float64]
STEP = 1e-20  # of the complex-step derivative


def dummies(n: int, t: int) -> Floats:
    """Unit dummies and all but the first time dummy, (T N, N + T - 1), rows time-major."""
    return np.hstack([np.tile(np.eye(n), (t, 1)), np.repeat(np.eye(t), n, axis=0)[:, 1:]])


def twoway_did(panel: Panel, regressors: tuple[str, ...] | None = None) -> Reference:
    """Least squares with a dummy for every unit and period, on observed rows; iid, HC1, clustered errors (k = all)."""
    names = panel.roles.regressors if regressors is None else regressors
    n, t = len(panel.units), len(panel.periods)
    seen = np.ones(n * t, dtype=bool) if panel.observed is None else panel.observed[0].ravel()
    y = panel.variables[panel.roles.outcome or ""][0].ravel()[seen]
    x = np.column_stack([panel.variables[name][0].ravel() for name in names] + [dummies(n, t)])[seen]
    unit = np.tile(np.arange(n), t)[seen]
    coefficients, _, rank, _ = np.linalg.lstsq(x, y)
    e = y - x @ coefficients
    bread = np.linalg.pinv(x.T @ x)
    scores = x * e[:, None]
    by_unit = np.stack([scores[unit == i].sum(axis=0) for i in range(n)])
    nobs, free, k = len(y), len(y) - rank, len(names)
    variance = {
        "iid": bread * (e @ e) / free,
        "hc1": bread @ (scores.T @ scores) @ bread * nobs / free,
        "cluster:unit": bread @ (by_unit.T @ by_unit) @ bread * n / (n - 1) * (nobs - 1) / free,
    }
    se = {error: np.sqrt(np.diag(v))[:k] for error, v in variance.items()}
    return Reference("brute force", tuple(names), coefficients[:k], se,
                     {"r2": 1 - e @ e / np.square(y - y.mean()).sum(), "sigma2": e @ e / free})  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Stacked:
    """Stacked data: y (n,), the slopes' regressors z (n, P), nuisance regressors d (n, D), one period's W."""

    y: Floats
    z: Floats
    d: Floats
    w: Floats
    periods: int

    def lag(self, values: Floats) -> Floats:
        """(I x W) values."""
        return np.kron(np.eye(self.periods), self.w) @ values


def twoway_spatial(
    panel: Panel, model: Literal["sar", "sem", "sdm"], transform: Literal["direct", "lee-yu"] = "direct"
) -> Reference:
    """SAR, SEM or SDM of one panel with its information errors and delta-method effects."""
    w = next(iter(panel.weights.values())).dense
    data = _stack(panel, w, model, transform)
    maximum = _maximise(data, model)
    slopes, nuisance, ssr, e = _fit(data, maximum, model)
    n = len(e)
    sigma2 = ssr / n
    covariance = _covariance(data, maximum, slopes, nuisance, sigma2, model)
    names = panel.roles.regressors
    lagged = tuple(f"w_{name}" for name in names) if model == "sdm" else ()
    parameters = np.array([*slopes, maximum, sigma2])
    effects, effect_se, effect_names = _effects(parameters, covariance, w, names, model)
    return Reference(
        program="brute force",
        terms=(*names, *lagged, "lambda" if model == "sem" else "rho", "sigma2", *effect_names),
        estimate=np.array([*parameters, *effects]),
        se={"information": np.array([*np.sqrt(np.diag(covariance)), *effect_se])},
        statistics={"loglik": _log_likelihood(data, maximum, model)},
    )


def _stack(panel: Panel, w: Floats, model: str, transform: str) -> Stacked:
    n, t = len(panel.units), len(panel.periods)
    y = panel.variables[panel.roles.outcome or ""][0]
    x = [panel.variables[name][0] for name in panel.roles.regressors]
    if model == "sdm":
        x += [values @ w.T for values in x]
    if transform == "direct":
        return Stacked(y.ravel(), np.column_stack([v.ravel() for v in x]), dummies(n, t), w, t)
    f_n, f_t = scipy.linalg.null_space(np.ones((1, n))), scipy.linalg.null_space(np.ones((1, t)))
    y, x = f_t.T @ y @ f_n, [f_t.T @ v @ f_n for v in x]
    z = np.column_stack([v.ravel() for v in x])
    return Stacked(y.ravel(), z, np.empty((len(z), 0)), f_n.T @ w @ f_n, t - 1)


def _fit(data: Stacked, rho: float, model: str) -> tuple[Floats, Floats, float, Floats]:
    """Slopes, nuisance coefficients, e'e and residuals given rho or lambda."""
    y = data.y - rho * data.lag(data.y)
    z = data.z - rho * data.lag(data.z) if model == "sem" else data.z
    both = np.hstack([z, data.d])
    coefficients = np.linalg.lstsq(both, y)[0]
    e = y - both @ coefficients
    p = data.z.shape[1]
    return coefficients[:p], coefficients[p:], float(e @ e), e


def _log_likelihood(data: Stacked, rho: float, model: str) -> float:
    *_, ssr, _ = _fit(data, rho, model)
    n = len(data.y)
    log_det = np.linalg.slogdet(np.eye(len(data.w)) - rho * data.w)[1]
    return float(-n / 2 * np.log(2 * np.pi * ssr / n) - n / 2 + data.periods * log_det)


def _score(data: Stacked, rho: float, model: str) -> float:
    """d lnL / d rho with everything else concentrated out (envelope theorem)."""
    slopes, _, ssr, e = _fit(data, rho, model)
    moved = data.lag(data.y - data.z @ slopes) if model == "sem" else data.lag(data.y)
    trace = np.trace(np.linalg.solve(np.eye(len(data.w)) - rho * data.w, data.w))
    return float(len(e) * (e @ moved) / ssr - data.periods * trace)


def _maximise(data: Stacked, model: str) -> float:
    """The best of a coarse grid of the log-likelihood, polished as a root of the score."""
    radius = np.abs(np.linalg.eigvals(data.w)).max()
    grid = np.linspace(-0.99, 0.99, 67) / max(radius, 1.0)
    best = int(np.argmax([_log_likelihood(data, rho, model) for rho in grid]))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    return float(scipy.optimize.brentq(lambda rho: _score(data, rho, model), low, high, xtol=1e-14))


def _covariance(data: Stacked, rho: float, slopes: Floats, nuisance: Floats, sigma2: float, model: str) -> Floats:
    """The inverse of the whole information matrix, rows of slopes, rho and sigma2 kept."""
    p, q, n = data.z.shape[1], data.d.shape[1], len(data.y)
    g = np.linalg.solve(np.eye(len(data.w)) - rho * data.w, data.w)
    information = np.zeros((p + q + 2, p + q + 2))
    z = data.z - rho * data.lag(data.z) if model == "sem" else data.z
    both = np.hstack([z, data.d])
    information[: p + q, : p + q] = both.T @ both / sigma2
    at_rho, at_s2 = p + q, p + q + 1
    information[at_rho, at_rho] = data.periods * (np.trace(g @ g) + np.trace(g.T @ g))
    if model != "sem":
        moved = np.kron(np.eye(data.periods), g) @ (both @ np.concatenate([slopes, nuisance]))
        information[: p + q, at_rho] = information[at_rho, : p + q] = both.T @ moved / sigma2
        information[at_rho, at_rho] += moved @ moved / sigma2
    information[at_rho, at_s2] = information[at_s2, at_rho] = data.periods * np.trace(g) / sigma2
    information[at_s2, at_s2] = n / (2 * sigma2**2)
    keep = [*range(p), at_rho, at_s2]
    return np.linalg.inv(information)[np.ix_(keep, keep)]


def _effects(
    parameters: Floats, covariance: Floats, w: Floats, names: tuple[str, ...], model: str
) -> tuple[Floats, Floats, tuple[str, ...]]:
    kinds = ("direct", "total") if model == "sem" else ("direct", "indirect", "total")

    def at(values: NDArray[np.complex128]) -> NDArray[np.complex128]:
        return np.array([_effect(kind, j, values, w, len(names), model) for kind in kinds for j in range(len(names))])

    point = parameters.astype(np.complex128)
    jacobian = np.empty((len(kinds) * len(names), len(parameters)))
    for j in range(len(parameters)):
        moved = point.copy()
        moved[j] += 1j * STEP
        jacobian[:, j] = at(moved).imag / STEP
    variance = np.einsum("ij,jk,ik->i", jacobian, covariance, jacobian)
    return at(point).real, np.sqrt(variance), tuple(f"{kind}:{name}" for kind in kinds for name in names)


def _effect(kind: str, j: int, values: NDArray[np.complex128], w: Floats, k: int, model: str) -> complex:
    """Average effect of regressor j from the N x N matrix of all derivatives."""
    n = len(w)
    lagged = values[k + j] if model == "sdm" else 0.0
    matrix = values[j] * np.eye(n) + lagged * w
    if model != "sem":
        matrix = np.linalg.solve(np.eye(n) - values[-2] * w, matrix)
    direct, total = np.trace(matrix) / n, matrix.sum() / n
    return complex({"direct": direct, "total": total, "indirect": total - direct}[kind])


def profile(
    panel: Panel, model: Literal["sar", "sem", "sdm"], transform: Literal["direct", "lee-yu"], grid: Floats
) -> Floats:
    """The concentrated log-likelihood over a grid of rho or lambda, (len(grid),)."""
    data = _stack(panel, next(iter(panel.weights.values())).dense, model, transform)
    return np.array([_log_likelihood(data, float(rho), model) for rho in grid])
