"""Forms in G that the information matrix of SAR and SDM needs: Z'GZb and |QGZb|^2 (Lee and Yu 2010; Elhorst 2014).

Z is two-way demeaned and GZb demeaned over units again, which equals time dummies in the regression. A W that is not
row-stochastic lets time effects through G: Zb then stands for Zb + m_t, m_t = mean over i of (I - rho W) y, the drift.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from estimators.core import regression as ols
from estimators.spatial.form import SpatialForm
from estimators.spatial.interpolation import PiecewiseChebyshev
from estimators.spatial.spectrum import Spectrum

Floats = NDArray[np.float64]

SERIES_UP_TO = 0.9  # |rho| radius from which the series is slower than a dense solve
SERIES_ERROR = 1e-14


class FixedForms:
    """The forms for regressors that no replication changes, Z (P, T, N): interpolated matrices, contracted with b."""

    def __init__(self, z: Floats, spectrum: Spectrum) -> None:
        self._own = z.shape[0]
        self._z = z if spectrum.weights.row_stochastic else np.concatenate([z, _time_dummies(z)])
        self._spectrum = spectrum
        self._upper = np.triu_indices(self._z.shape[0])
        self._forms = PiecewiseChebyshev(self._forms_at, spectrum.weights.radius)

    def __call__(self, rho: Floats, b: Floats, drift: Floats | None = None) -> tuple[Floats, Floats]:
        """Z'GZb (R, P) and |QGZb|^2 (R,) at rho (R,), b (R, P), drift (R, T) unless W is row-stochastic."""
        values = self._forms(rho)
        p = self._z.shape[0]
        b = b if drift is None else np.concatenate([b, drift], axis=1)
        cross = values[:, : p * p].reshape(-1, p, p)
        rows, columns = self._upper
        zgzb = np.matmul(cross, b[:, :, None])[:, : self._own, 0]
        return zgzb, (values[:, p * p :] * (b.take(rows, axis=1) * b.take(columns, axis=1))).sum(axis=1)

    def _forms_at(self, rho: float) -> Floats:
        gz = self._spectrum.multiplier.apply(rho, self._z)
        p = self._z.shape[0]
        centred = (gz - gz.mean(axis=2, keepdims=True)).reshape(p, -1)
        cross = self._z.reshape(p, -1) @ gz.reshape(p, -1).T
        twice = np.where(self._upper[0] == self._upper[1], 1.0, 2.0)  # a symmetric form, of which a triangle is kept
        return np.concatenate([cross.ravel(), (centred @ centred.T)[self._upper] * twice])


@dataclass(frozen=True, eq=False, slots=True)
class RedrawnForms:
    """The forms for regressors of each replication, Z (R, P, T, N): by the series of G, dense near the edge."""

    z: Floats
    spectrum: Spectrum

    def __call__(self, rho: Floats, b: Floats, drift: Floats | None = None) -> tuple[Floats, Floats]:
        """Z'GZb (R, P) and |QGZb|^2 (R,) at rho (R,), b (R, P), drift (R, T) unless W is row-stochastic."""
        r, p, t, n = self.z.shape
        fitted = np.matmul(b[:, None, :], self.z.reshape(r, p, t * n)).reshape(r, t, n)
        multiplied = self._apply(rho, fitted if drift is None else fitted + drift[:, :, None])
        zgzb = ols.inner(self.z, multiplied)
        return zgzb, ols.sum_of_squares(multiplied - multiplied.mean(axis=2, keepdims=True))

    def _apply(self, rho: Floats, x: Floats) -> Floats:
        """G x = W x + rho W^2 x + ..., each row with as many terms as its own rho asks for."""
        weights = self.spectrum.weights
        strength = np.abs(rho) * weights.radius
        near_edge = ~(strength < SERIES_UP_TO)
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = np.ceil(np.log(SERIES_ERROR) / np.log(np.where(near_edge, 0.0, strength)))
        terms = np.where(near_edge, 0, np.maximum(terms, 1))
        r, t, n = x.shape
        operator = weights.operator
        if isinstance(operator, np.ndarray):  # a product for each panel: one for all would have other bits in a batch
            total = _series(lambda v: v @ operator.T, x, rho[:, None, None], terms[:, None, None])
        else:
            units_first = np.ascontiguousarray(x.transpose(2, 0, 1)).reshape(n, r * t)
            series = _series(lambda v: operator @ v, units_first, np.repeat(rho, t), np.repeat(terms, t))
            total = np.ascontiguousarray(series.reshape(n, r, t).transpose(1, 2, 0))
        for row in np.flatnonzero(near_edge):
            total[row] = self.spectrum.multiplier.apply(float(rho[row]), x[row])
        return total


@dataclass(frozen=True, eq=False, slots=True)
class TimeEffects:
    """What a W that is not row-stochastic makes of time effects in the score of lambda: QHd, H = W (I - lambda W)^-1.

    d (R, T): the time effects of (I - lambda W)(y - rho Wy - Zb), around their mean; so QHd = d_t (Q_N H1)_i.
    """

    d: Floats
    lam: Floats

    @classmethod
    def of(cls, drift: Floats, form: SpatialForm, rho: Floats, lam: Floats, slopes: Floats) -> TimeEffects:
        """From cross-section means (R, 1 + L + P, T) of y and Z, each with its L lags, and the estimates."""
        lags, p = form.lags, slopes.shape[1]
        y, z = drift[:, : 1 + lags], drift[:, 1 + lags :]
        k = p // 2 if form.durbin else p
        rho, at = rho[:, None], lam[:, None]
        d = y[:, 0] - (rho + at) * y[:, 1]
        if form.lag:
            d = d + rho * at * y[:, 2]
        filtered = z[:, :p] - at[:, :, None] * z[:, k : k + p]
        return cls(d - np.matmul(slopes[:, None, :], filtered)[:, 0], lam)

    def profile(self, spectrum: Spectrum) -> Floats:
        """Q_N H1, (R, N)."""
        h = spectrum.row_sums(self.lam)
        return h - h.mean(axis=1, keepdims=True)

    def squared_norm(self, spectrum: Spectrum) -> Floats:
        """|QHd|^2, (R,)."""
        return np.square(self.d).sum(axis=1) * np.square(self.profile(spectrum)).sum(axis=1)

    def across(self, z: Floats, k: int, p: int, spectrum: Spectrum) -> Floats:
        """Z*'QHd, (R, P), Z* = Q(Z - lambda WZ): z (1 or R, K + P and more, T, N) holds lags K columns further on."""
        rows, columns, t, n = z.shape
        met = np.matmul(z.reshape(rows, columns * t, n), self.profile(spectrum)[:, :, None]).reshape(-1, columns, t)
        sums = np.matmul(met, self.d[:, :, None])[:, :, 0]
        return sums[:, :p] - self.lam[:, None] * sums[:, k : k + p]

    def along(self, z: Floats, b: Floats, drift: Floats, rho: Floats, spectrum: Spectrum) -> Floats:
        """(QGf)'QHd, (R,), f = Zb + drift for the first columns of z: the score of rho meets that of lambda."""
        p = b.shape[1]
        pulled = np.matmul(self.d[:, None, None, :], z[:, :p])[:, :, 0]  # sum_t d_t z_t, (R, P, N)
        f = np.matmul(b[:, None, :], pulled)[:, 0] + (self.d * drift).sum(axis=1)[:, None]
        moved = np.stack([spectrum.multiplier.apply(float(at), row) for at, row in zip(rho, f, strict=True)])
        return np.asarray(np.vecdot(moved, self.profile(spectrum)))


def _series(lag: Callable[[Floats], Floats], x: Floats, rho: Floats, terms: Floats) -> Floats:
    """W x + rho W^2 x + ...: `terms` powers of W more than one, rho and terms shaped like x or to be spread over it."""
    power = lag(x)
    total = power.copy()
    for step in range(1, int(terms.max(initial=0)) + 1):
        power = lag(power)
        power *= np.where(terms < step, 0.0, rho)
        total += power
    return total


def _time_dummies(z: Floats) -> Floats:
    """One dummy a period, (T, T, N), for regressors (P, T, N)."""
    _, t, n = z.shape
    return np.repeat(np.eye(t)[:, :, None], n, axis=2)
