"""Forms in G that the information matrix of SAR and SDM needs: Z'GZb and |QGZb|^2 (Lee and Yu 2010; Elhorst 2014).

Z is two-way demeaned and GZb demeaned over units again, which equals time dummies in the regression. A W that is not
row-stochastic lets time effects through G: Zb then stands for Zb + m_t, m_t = mean over i of (I - rho W) y, the drift.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from estimators.core import regression as ols
from estimators.core.estimator import Pieces
from estimators.core.treatment_kernels import product
from estimators.core.within import balanced_split
from estimators.spatial.absorbing import AbsorbingForms
from estimators.spatial.form import SpatialForm
from estimators.spatial.interpolation import PiecewiseChebyshev
from estimators.spatial.spectrum import Spectrum
from sim.arrays import Floats
from sim.weights import Weights

FEW = 3  # regressors whose multiples are added one by one
TOGETHER = 32  # replications whose regressors differ


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


@dataclass(frozen=True, eq=False)
class Columns:
    """Which of K regressors a batch redraws: positions (V,); the others and their lags, demeaned: fixed (F, T, N)."""

    names: int
    anew: NDArray[np.intp]
    fixed: Floats

    @cached_property
    def kept(self) -> NDArray[np.intp]:
        """Positions of the fixed ones."""
        return np.setdiff1d(np.arange(self.names), self.anew)

    def among(self, p: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Where redrawn and fixed columns stand among the first P of [X, WX, ...], lag by lag."""
        block = np.arange(-(-p // max(self.names, 1)))[:, None] * self.names
        return (block + self.anew).ravel(), (block + self.kept).ravel()

    def whole(self, z: Floats) -> Floats:
        """Redrawn columns (R, V (1 + lags), T, N) with the fixed ones in their places, (R, P, T, N)."""
        p = z.shape[1] + len(self.fixed)
        out, (new, old) = np.empty((len(z), p, *z.shape[2:])), self.among(p)
        out[:, new], out[:, old] = z, self.fixed
        return out

    def of_dates(self, dates: NDArray[np.int16], weights: Weights, lags: int = 1) -> Floats:
        """[QD, QWD, ...] of absorbing treatments with these first treated periods (R, N), (R, 1 + lags, T, N)."""
        on = np.arange(self.fixed.shape[1])[:, None] >= dates[:, None, :]
        z = [balanced_split(on.astype(np.float64))[0]]
        for _ in range(lags):
            z.append(weights.lag(z[-1], centred=True))
        return np.stack(z, axis=1)


@dataclass(frozen=True, eq=False, slots=True)
class RedrawnForms:
    """The forms where regressors differ between replications.

    z (R, V (1 + lags), T, N): those that are redrawn; without columns where the dates of the treatment stand for it.
    dates (R, N): first treated periods of the one that is redrawn. by_dates: the forms of such rows.
    """

    z: Pieces
    spectrum: Spectrum
    columns: Columns
    dates: NDArray[np.int16] | None = None
    by_dates: AbsorbingForms | None = None

    def __call__(self, rho: Floats, b: Floats, drift: Floats | None = None) -> tuple[Floats, Floats]:
        """Z'GZb (R, P) and |QGZb|^2 (R,) at rho (R,), b (R, P), drift (R, T) unless W is row-stochastic."""
        zgzb, squares = np.empty_like(b), np.empty_like(rho)
        left = np.ones(len(rho), dtype=bool)
        if self.by_dates is not None:
            left = ~self.by_dates(rho, b, self.columns.among(b.shape[1])[0], zgzb, squares)
        for rows, z in self.z.chunks(TOGETHER):
            some = np.flatnonzero(left[rows])
            if not some.size:
                continue
            if some.size < 2:  # a product of one row may round otherwise than the same row among others
                some = some.repeat(2)
            at = rows.start + some
            if self.dates is None or z.shape[1]:
                own_z = z if some.size == len(z) > 1 else z[some]
            else:
                own_z = self.columns.of_dates(self.dates[at], self.spectrum.weights)
            zgzb[at], squares[at] = self._of(own_z, rho[at], b[at], None if drift is None else drift[at])
        return zgzb, squares

    def _of(self, z: Floats, rho: Floats, b: Floats, drift: Floats | None) -> tuple[Floats, Floats]:
        """The forms of some rows."""
        zgzb, (new, old) = np.empty_like(b), self.columns.among(b.shape[1])
        fixed, z = self.columns.fixed[: old.size], z[:, : new.size]
        fitted = _combined(b[:, new], z)
        if old.size:
            fitted += product(b[:, old], ols.flat(fixed)).reshape(fitted.shape)
        if drift is not None:
            fitted += drift[:, :, None]
        q = self.spectrum.series.apply(rho, fitted)
        q -= q.mean(axis=2, keepdims=True)
        zgzb[:, new] = np.vecdot(ols.flat(z), ols.flat(q)[:, None])
        zgzb[:, old] = ols.inner(fixed[None], q)
        return zgzb, ols.sum_of_squares(q)


def _combined(b: Floats, z: Floats) -> Floats:
    """Zb, z (R, V, T, N), b (R, V) -> (R, T, N)."""
    if z.shape[1] > FEW:
        return np.matmul(b[:, None, :], ols.flat(z)).reshape(len(z), *z.shape[2:])
    out = b[:, 0, None, None] * z[:, 0]
    for k in range(1, z.shape[1]):
        out += b[:, k, None, None] * z[:, k]
    return out


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


def _time_dummies(z: Floats) -> Floats:
    """One dummy a period, (T, T, N), for regressors (P, T, N)."""
    _, t, n = z.shape
    return np.repeat(np.eye(t)[:, :, None], n, axis=2)
