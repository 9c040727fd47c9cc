"""Slow programs for one panel that share no code with the kernels: dummies, dense matrices, one root search at a time.

`direct` keeps every unit and time dummy as a regressor, in the fit and in the information matrix. `lee-yu` forms Lee
and Yu's transformed data F_N' Y F_T and W** = F_N' W F_N and fits a model without effects to them. Derivatives of
effects and of the likelihood are complex-step ones.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.linalg
import scipy.optimize
from numpy.typing import NDArray

from experiments.references.reference import ReferenceFit
from sim import Panel

Floats = NDArray[np.float64]
STEP = 1e-20  # of the complex-step derivative
Model = Literal["sar", "sem", "sdm", "slx", "sdem", "sac"]
Transform = Literal["direct", "lee-yu"]
Effects = Literal["two-way", "unit", "period", "none"]
SPATIAL = {"sar": ("rho",), "sem": ("lambda",), "sdm": ("rho",), "slx": (), "sdem": ("lambda",),
           "sac": ("rho", "lambda")}  # fmt: skip
DURBIN = {"sdm", "slx", "sdem"}


def dummies(n: int, t: int, effects: Effects = "two-way") -> Floats:
    """Unit dummies and all but the first time dummy, (T N, N + T - 1), rows time-major; or those of some effects."""
    unit, period = np.tile(np.eye(n), (t, 1)), np.repeat(np.eye(t), n, axis=0)
    return {
        "two-way": np.hstack([unit, period[:, 1:]]), "unit": unit, "period": period, "none": np.ones((n * t, 1)),
    }[effects]  # fmt: skip


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


def spatial_panel(
    panel: Panel, model: Model, transform: Transform = "direct", effects: Effects = "two-way"
) -> ReferenceFit:
    """A spatial model of one panel with its information errors and delta-method effects."""
    w = next(iter(panel.weights.values())).dense
    data = _stack(panel, w, model, transform, effects)
    spatial = _maximise(data, model)
    slopes, nuisance, ssr, e = _fit(data, spatial)
    sigma2 = ssr / len(e)
    covariance = _covariance(data, spatial, slopes, nuisance, sigma2)
    names = panel.roles.regressors
    parameters = np.array([*slopes, *spatial.values(), sigma2])
    impacts, effect_se, effect_names = _effects(parameters, covariance, w, names, model)
    return ReferenceFit(
        program="brute force",
        terms=(*slope_names(panel, model), *spatial, "sigma2", *effect_names),
        estimate=np.array([*parameters, *impacts]),
        se={"information": np.array([*np.sqrt(np.diag(covariance)), *effect_se])},
        statistics={"loglik": _log_likelihood(data, spatial)},
    )


def slope_names(panel: Panel, model: Model) -> tuple[str, ...]:
    """The regressors and in Durbin models their lags."""
    names = panel.roles.regressors
    return (*names, *(f"w_{name}" for name in names)) if model in DURBIN else names


def _stack(panel: Panel, w: Floats, model: str, transform: str, effects: Effects = "two-way") -> Stacked:
    n, t = len(panel.units), len(panel.periods)
    y = panel.variables[panel.roles.outcome or ""][0]
    x = [panel.variables[name][0] for name in panel.roles.regressors]
    if model in DURBIN:
        x += [values @ w.T for values in x]
    if transform == "direct" or effects == "none":
        return Stacked(y.ravel(), np.column_stack([v.ravel() for v in x]), dummies(n, t, effects), w, t)
    f_n = np.eye(n) if effects == "unit" else scipy.linalg.null_space(np.ones((1, n)))
    f_t = np.eye(t) if effects == "period" else scipy.linalg.null_space(np.ones((1, t)))
    y, x = f_t.T @ y @ f_n, [f_t.T @ v @ f_n for v in x]
    z = np.column_stack([v.ravel() for v in x])
    return Stacked(y.ravel(), z, np.empty((len(z), 0)), f_n.T @ w @ f_n, f_t.shape[1])


def _filtered(data: Stacked, spatial: dict[str, float]) -> tuple[Floats, Floats]:
    """B A y and B Z; the dummies stay as they are."""
    y = data.y - spatial.get("rho", 0.0) * data.lag(data.y)
    lam = spatial.get("lambda", 0.0)
    return y - lam * data.lag(y), data.z - lam * data.lag(data.z)


def _fit(data: Stacked, spatial: dict[str, float]) -> tuple[Floats, Floats, float, Floats]:
    """Slopes, nuisance coefficients, e'e and residuals given rho, lambda or both."""
    y, z = _filtered(data, spatial)
    both = np.hstack([z, data.d])
    coefficients = np.linalg.lstsq(both, y)[0]
    e = y - both @ coefficients
    p = data.z.shape[1]
    return coefficients[:p], coefficients[p:], float(e @ e), e


def _log_likelihood(data: Stacked, spatial: dict[str, float]) -> float:
    *_, ssr, _ = _fit(data, spatial)
    n = len(data.y)
    identity = np.eye(len(data.w))
    log_det = sum(np.linalg.slogdet(identity - value * data.w)[1] for value in spatial.values())
    return float(-n / 2 * np.log(2 * np.pi * ssr / n) - n / 2 + data.periods * log_det)


def _score(data: Stacked, spatial: dict[str, float]) -> Floats:
    """d lnL by rho, lambda or both, with everything else concentrated out (envelope theorem)."""
    slopes, _, ssr, e = _fit(data, spatial)
    rho, lam = spatial.get("rho", 0.0), spatial.get("lambda", 0.0)
    wy = data.lag(data.y)
    moved = {"rho": wy - lam * data.lag(wy), "lambda": data.lag(data.y - rho * wy - data.z @ slopes)}
    identity = np.eye(len(data.w))
    traces = [np.trace(np.linalg.solve(identity - value * data.w, data.w)) for value in spatial.values()]
    forms = [e @ moved[name] for name in spatial]
    return len(e) * np.array(forms) / ssr - data.periods * np.array(traces)


def _maximise(data: Stacked, model: Model) -> dict[str, float]:
    """The best of a coarse grid of the log-likelihood, polished as a root of the score."""
    names = SPATIAL[model]
    if not names:
        return {}
    radius = np.abs(np.linalg.eigvals(data.w)).max()
    grid = np.linspace(-0.99, 0.99, 67 if len(names) == 1 else 23) / max(radius, 1.0)
    points = [dict(zip(names, point, strict=True)) for point in itertools.product(grid, repeat=len(names))]
    best = points[int(np.argmax([_log_likelihood(data, point) for point in points]))]
    if len(names) == 1:
        middle, step = best[names[0]], grid[1] - grid[0]
        low, high = max(middle - step, grid[0]), min(middle + step, grid[-1])
        root = scipy.optimize.brentq(lambda rho: _score(data, {names[0]: rho})[0], low, high, xtol=1e-14)
        return {names[0]: float(root)}
    found = scipy.optimize.root(
        lambda point: _score(data, dict(zip(names, point, strict=True))), list(best.values()), tol=1e-13
    )
    assert np.abs(found.fun).max() < 1e-8
    return dict(zip(names, map(float, found.x), strict=True))


def _covariance(data: Stacked, spatial: dict[str, float], slopes: Floats, nuisance: Floats, sigma2: float) -> Floats:
    """The inverse of the whole information matrix, rows of slopes, spatial parameters and sigma2 kept.

    Dummies, which stand outside the filter I - lambda W, move with lambda when W is not row-stochastic.
    """
    p, q, n, s = data.z.shape[1], data.d.shape[1], len(data.y), len(spatial)
    identity = np.eye(len(data.w))
    g = {name: np.linalg.solve(identity - value * data.w, data.w) for name, value in spatial.items()}
    _, z = _filtered(data, spatial)
    both = np.hstack([z, data.d])
    information = np.zeros((p + q + s + 1, p + q + s + 1))
    information[: p + q, : p + q] = both.T @ both / sigma2
    for a, one in enumerate(spatial, start=p + q):
        for b, other in enumerate(spatial, start=p + q):
            information[a, b] = data.periods * (np.trace(g[one] @ g[other]) + np.trace(g[one].T @ g[other]))
        information[a, -1] = information[-1, a] = data.periods * np.trace(g[one]) / sigma2
    fitted = {"rho": both @ np.concatenate([slopes, nuisance]), "lambda": data.d @ nuisance}
    moved = [np.kron(np.eye(data.periods), g[name]) @ fitted[name] for name in spatial]
    for a, one in enumerate(moved):
        information[: p + q, p + q + a] = information[p + q + a, : p + q] = both.T @ one / sigma2
        for b, other in enumerate(moved):
            information[p + q + a, p + q + b] += one @ other / sigma2
    information[-1, -1] = n / (2 * sigma2**2)
    keep = [*range(p), *range(p + q, p + q + s + 1)]
    return np.linalg.inv(information)[np.ix_(keep, keep)]


def covariance(panel: Panel, model: Model, transform: Transform = "direct", effects: Effects = "two-way") -> Floats:
    """The covariance of slopes, spatial parameters and sigma2 from the information matrix."""
    data = _stack(panel, next(iter(panel.weights.values())).dense, model, transform, effects)
    spatial = _maximise(data, model)
    slopes, nuisance, ssr, e = _fit(data, spatial)
    return _covariance(data, spatial, slopes, nuisance, ssr / len(e))


def observed_hessian(
    panel: Panel, model: Model, transform: Transform, parameters: Floats, effects: Effects = "two-way"
) -> Floats:
    """Minus the Hessian of the log-likelihood by slopes, spatial parameters and sigma2, effects projected out.

    Central differences of complex-step gradients: some nine digits.
    """
    data = _stack(panel, next(iter(panel.weights.values())).dense, model, transform, effects)
    names, p = SPATIAL[model], data.z.shape[1]
    annihilator = np.eye(len(data.y)) - data.d @ np.linalg.pinv(data.d, rcond=1e-10)
    identity = np.eye(len(data.w))

    def log_likelihood(values: NDArray[np.complex128]) -> complex:
        spatial = dict(zip(names, values[p:-1], strict=True))
        y, z = _filtered(data, spatial)  # type: ignore[arg-type]
        e = annihilator @ (y - z @ values[:p])
        signs, sizes = zip(*(np.linalg.slogdet(identity - v * data.w) for v in spatial.values()), strict=True)
        log_det = np.sum(np.log(signs)) + np.sum(sizes)
        return -len(e) / 2 * np.log(values[-1]) - e @ e / (2 * values[-1]) + data.periods * log_det

    def gradient(values: Floats) -> Floats:
        moved = values.astype(np.complex128) + 1j * STEP * np.eye(len(values))
        return np.array([log_likelihood(row).imag / STEP for row in moved])

    steps = 1e-5 * np.maximum(np.abs(parameters), 0.1)
    columns = [(gradient(parameters + h) - gradient(parameters - h)) for h in np.diag(steps)]
    hessian = -np.array(columns) / (2 * steps[:, None])
    return (hessian + hessian.T) / 2


def _effects(
    parameters: Floats, covariance: Floats, w: Floats, names: tuple[str, ...], model: Model
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


def effect_errors(panel: Panel, model: Model, parameters: Floats, covariance: Floats) -> Floats:
    """Delta-method errors of the effects with any covariance of slopes, spatial parameters and sigma2."""
    w = next(iter(panel.weights.values())).dense
    return _effects(parameters, covariance, w, panel.roles.regressors, model)[1]


def _effect(kind: str, j: int, values: NDArray[np.complex128], w: Floats, k: int, model: Model) -> complex:
    """Average effect of regressor j from the N x N matrix of all derivatives."""
    n = len(w)
    lagged = values[k + j] if model in DURBIN else 0.0
    matrix = values[j] * np.eye(n) + lagged * w
    if "rho" in SPATIAL[model]:
        matrix = np.linalg.solve(np.eye(n) - values[2 * k if model in DURBIN else k] * w, matrix)
    direct, total = np.trace(matrix) / n, matrix.sum() / n
    return complex({"direct": direct, "total": total, "indirect": total - direct}[kind])


def profile(panel: Panel, model: Model, transform: Transform, grid: Floats, effects: Effects = "two-way") -> Floats:
    """The concentrated log-likelihood over a grid of rho and lambda, (len(grid),) or (len(grid), len(grid))."""
    height, count = height_of(panel, model, transform, effects), len(SPATIAL[model])
    values = [height(*point) for point in itertools.product(map(float, grid), repeat=count)]
    return np.array(values).reshape((len(grid),) * count)


def height_of(panel: Panel, model: Model, transform: Transform, effects: Effects = "two-way") -> Callable[..., float]:
    """The concentrated log-likelihood as a function of the spatial parameters."""
    data, names = _stack(panel, next(iter(panel.weights.values())).dense, model, transform, effects), SPATIAL[model]
    return lambda *point: _log_likelihood(data, dict(zip(names, point, strict=True)))
