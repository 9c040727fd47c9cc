"""Arrays: their types, and standard scores.

Arrays by what their numbers are, for annotations; docstrings say the shapes.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, ndtr

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]  # whole numbers that stand for something: places, clusters, groups, paths
Flags = NDArray[np.bool_]


# Bounded variates from normal scores, and scores that last over periods.


FARTHEST, STEP = 6.0, 0.01  # of the grid of normal scores
IN_CACHE = 4  # replications of a panel of 285 units and 18 periods


def beta_variates(
    shocks: Floats, mean: float, sd: float, low: float, high: float, *, base: Floats | float = 0.0, scale: float = 1.0
) -> Floats:
    """The beta variates on [low, high] with this mean and sd at normal scores base + scale shocks, (..., T, N).

    Quantiles are interpolated linearly between scores; a score is taken to 1e-6. A few replications at a time stay in
    the processor's cache, which makes the whole several times faster.
    """
    quantiles, slopes = _quantiles(mean, sd, low, high)
    offset = ((np.asarray(base) + FARTHEST) / STEP).astype(np.float32)
    out = np.empty(np.broadcast_shapes(shocks.shape, offset.shape))
    rows = out.reshape(-1, *out.shape[-2:]) if out.ndim > 2 else out[None]
    given = np.broadcast_to(shocks, out.shape).reshape(rows.shape)
    position = np.empty((min(IN_CACHE, len(rows)), *rows.shape[1:]), dtype=np.float32)
    below, above = np.empty(position.shape, dtype=np.intp), np.empty(position.shape)
    for first in range(0, len(rows), IN_CACHE):
        chunk = rows[first : first + IN_CACHE]
        at, cell, more = position[: len(chunk)], below[: len(chunk)], above[: len(chunk)]
        np.multiply(given[first : first + IN_CACHE], scale / STEP, out=at, dtype=np.float32, casting="same_kind")
        at += offset
        np.clip(at, 0.0, len(slopes) - 0.01, out=at)
        np.copyto(cell, at, casting="unsafe")
        np.subtract(at, cell, out=at, casting="unsafe")
        np.take(
            quantiles, cell, out=chunk, mode="clip"
        )  # clipped above: without this, numpy looks at every index again
        np.take(slopes, cell, out=more, mode="clip")
        more *= at
        chunk += more
    return out


@cache
def _quantiles(mean: float, sd: float, low: float, high: float) -> tuple[Floats, Floats]:
    """Quantiles of that beta distribution over a grid of normal scores, and their differences."""
    share, variance = (mean - low) / (high - low), (sd / (high - low)) ** 2
    size = share * (1 - share) / variance - 1
    grid = np.arange(-FARTHEST, FARTHEST + STEP / 2, STEP)
    quantiles = low + (high - low) * betaincinv(share * size, (1 - share) * size, ndtr(grid))
    return quantiles, np.diff(quantiles)


def persistent(shocks: Floats, serial: float | tuple[float, ...], moving: tuple[float, ...] = ()) -> Floats:
    """Unit-variance shocks (..., T, N) made a stationary ARMA process of variance 1 over periods, in place for AR(1).

    serial: autoregressive coefficients; moving: moving-average ones. Beyond AR(1) the shocks are multiplied by the
    Cholesky root of the process's correlation matrix (T, T).
    """
    ar = (serial,) if isinstance(serial, int | float) else serial
    if len(ar) > 1 or moving:
        return np.matmul(_root(tuple(ar), moving, shocks.shape[-2]), shocks)
    phi = ar[0] if ar else 0.0
    if phi:
        fresh = np.sqrt(1 - phi**2)
        for t in range(1, shocks.shape[-2]):
            shocks[..., t, :] *= fresh
            shocks[..., t, :] += phi * shocks[..., t - 1, :]
    return shocks


def is_stationary(ar: tuple[float, ...]) -> bool:
    """Whether all roots of the autoregressive polynomial lie outside the unit circle."""
    return not ar or bool((np.abs(np.roots([1.0, *(-a for a in ar)])) < 1.0).all())


def arma_correlations(ar: tuple[float, ...], moving: tuple[float, ...], lags: int) -> Floats:
    """Autocorrelations at lags 0 to lags - 1 of a stationary ARMA process, from its infinite moving average."""
    # coefficients of the infinite moving average, until they have died out, at most 100,000 of them
    theta = [1.0, *moving]
    impulses: list[float] = []
    while len(impulses) < 100_000:
        k = len(impulses)
        value = theta[k] if k < len(theta) else 0.0
        value += sum(a * impulses[k - 1 - j] for j, a in enumerate(ar) if k - 1 - j >= 0)
        impulses.append(value)
        tail = impulses[-max(len(ar), 1) :]
        if k >= len(theta) and max(map(abs, tail)) < 1e-12:
            break
    weights = np.array(impulses)
    full = np.correlate(weights, weights, mode="full")[len(weights) - 1 :]
    out = np.zeros(lags)
    out[: min(lags, len(full))] = full[:lags]
    return np.asarray(out / out[0])


def arma_matrix(ar: tuple[float, ...], moving: tuple[float, ...], periods: int) -> Floats:
    """The correlation matrix of the periods of such a process, (T, T)."""
    at = np.arange(periods)
    return np.asarray(arma_correlations(ar, moving, periods)[np.abs(at[:, None] - at)])


@cache
def _root(ar: tuple[float, ...], moving: tuple[float, ...], periods: int) -> Floats:
    """Cholesky root of the correlation matrix, (T, T)."""
    return np.linalg.cholesky(arma_matrix(ar, moving, periods))


def least_squares(columns: Floats, values: Floats) -> Floats:
    """Coefficients (K,) or (K, M) of values (N,) or (N, M) on columns (N, K), the shortest where they are collinear.

    Columns are brought to one size first: the bound below which a direction counts as none is relative.
    """
    size = np.sqrt(np.square(columns).sum(axis=0))
    size[size == 0] = 1.0
    slopes = np.linalg.lstsq(columns / size, values, rcond=None)[0]
    return np.asarray((slopes.T / size).T)
