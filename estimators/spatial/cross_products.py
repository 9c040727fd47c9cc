"""Cross products of y, Wy, X and WX: the T x N work that all spatial panel models share."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from estimators.core import regression as ols
from estimators.core.estimator import ROWS_AT_ONCE, Moments, Pieces, Reduction
from estimators.core.tile import (
    UNDATED,
    PanelEffects,
    Tile,
    balanced_split,
    dates_of,
    demeaned,
    product,
    spread,
)
from estimators.core.treatments import adjoint_lag, centred
from estimators.spatial.likelihood import Sizes, SpatialForm, determinant
from estimators.spatial.spectrum import (
    NODES,
    SPARSE_FROM,
    NodeMatrices,
    PiecewiseChebyshev,
    PowerSeries,
    Spectrum,
    Transform,
    spectrum_of,
)
from sim.arrays import Codes, Flags, Floats
from sim.errors import BadInput, Problem
from sim.panel import Panel, check_balanced
from sim.weights import Weights, one_thread

# Forms in G where one absorbing treatment D alone is redrawn and W is row-stochastic: no work of T x N in any fit.
#
# QD holds C dates. With s_c the centred steps 1[t >= c] and kappa = s s' = L L', the products of QD under matrices
# of units are those of u = Q_N E L (N, C), E the dates' dummies: D'(Q_T x A)D = sum_c u_c'A u_c. GQD and GQWD are
# sums of u_k = T_k(V) u, so that one table of products u_k'u_l serves every rho and every slope. Products of D with
# fields that no replication changes are sums over the treated of tails, h_it + h_i,t+1 + ...: what the other
# regressors X and D give one another, D'GX, X'GD, D'G'QGX and the same of WD, are look-ups at the nodes of rho
# between which all forms are interpolated.


TERMS = (15, 24, 36)  # of a series, by classes of rho; rows that need more are served one by one
ROWS = 8  # treatments whose terms the cache holds
MOST_FIELDS = 16  # fixed regressors and lags: at most so many have tables
MOST_BYTES = 2**29  # of the tables that are kept

Dates = NDArray[np.int16]
Met = dict[tuple[Literal["products", "sums"], int], Floats]
_KEPT: OrderedDict[tuple[int, int], tuple[FixedSide, Floats]] = OrderedDict()


@dataclass(frozen=True, eq=False)
class FixedSide:
    """Fixed regressors and their lags z (P, T, N), demeaned, as the forms need them; series, matrices: those of W.

    At each node of rho: Z'GZ and Z'G'QGZ (P, P); and, as tails (T N, 6 P) of fields that D meets, GZ, W'QGZ, G'Z,
    W'G'Z, G'QGZ and W'G'QGZ around their means over units.
    """

    z: Floats
    series: PowerSeries
    matrices: NodeMatrices
    _forms: dict[int, Floats] = field(default_factory=dict)

    @classmethod
    def of(cls, z: Floats, spectrum: Spectrum) -> FixedSide | None:
        """None where W lets time effects through or is dense, and where matrices of so many units cost seconds."""
        series, w = spectrum.series, spectrum.weights
        able = w.row_stochastic and not series.dense and len(w.units) < SPARSE_FROM
        return cls(z, series, spectrum.near_multiplier) if able else None

    def forms(self, segment: int) -> Floats:
        """Z'GZ and Z'G'QGZ at the nodes of a segment, (NODES, 2, P, P)."""
        if segment not in self._forms:
            self.tails(segment)
        return self._forms[segment]

    def tails(self, segment: int) -> Floats:
        """Of the fields at the nodes of a segment, (T N, NODES 6 P)."""
        key = (id(self), segment)
        if key not in _KEPT:
            _KEPT[key] = self, self._made(segment)
            while len(_KEPT) > 1 and sum(table.nbytes for _, table in _KEPT.values()) > MOST_BYTES:
                _KEPT.popitem(last=False)
        _KEPT.move_to_end(key)
        return _KEPT[key][1]

    @one_thread
    def _made(self, segment: int) -> Floats:
        """The same, and with them the forms."""
        p, periods, units = self.z.shape
        z, w = self.z.reshape(p * periods, units), self.series.weights
        all_forms, all_tails = [], []
        for g in self.matrices.at_nodes(segment):
            gz = centred(z @ g.T)
            fields = [one for x in (gz, z @ g, gz @ g) for one in (centred(x), centred(adjoint_lag(x, w)))]
            tails = np.concatenate(fields).reshape(6 * p, periods, units)
            for t in reversed(range(periods - 1)):
                tails[:, t] += tails[:, t + 1]
            all_forms.append(np.stack([left.reshape(p, -1) @ gz.reshape(p, -1).T for left in (z, gz)]))
            all_tails.append(tails.reshape(6 * p, periods * units).T)
        self._forms[segment] = np.stack(all_forms)
        return np.ascontiguousarray(np.stack(all_tails, axis=1).reshape(periods * units, -1))


@dataclass(frozen=True, eq=False, slots=True)
class AbsorbingForms:
    """The forms of `redrawn_forms` for rows whose treatment is known by its dates (R, N), first treated periods.

    met is filled in and belongs to these dates: tables of products by class of rho, look-ups by segment; NaN for other
    rows.
    """

    dates: Dates
    fixed: FixedSide
    met: Met

    def __call__(self, rho: Floats, b: Floats, own: Codes, zgzb: Floats, squares: Floats) -> Flags:
        """Fill in Z'GZb (R, P) and |QGZb|^2 (R,) and say of which rows, (R,); own: where D, WD stand among the P."""
        counts = self.fixed.series.terms(rho)
        served = (counts > 0) & (counts <= TERMS[-1]) & (self.dates[:, 0] != UNDATED)
        old, classes = np.setdiff1d(np.arange(b.shape[1]), own), np.searchsorted(TERMS, counts)
        zgzb[served], squares[served] = 0.0, 0.0
        for kind in np.unique(classes[served]):
            rows = np.flatnonzero(served & (classes == kind))
            table = self._products(int(kind), rows)
            zgzb[rows[:, None], own], squares[rows] = self._among_treatments(table, rho[rows], b[np.ix_(rows, own)])
        among, p = np.flatnonzero(served), old.size
        if not (p and among.size):
            return served

        # what fixed regressors give one another and the treatment
        for segment, inside, shares in self.fixed.matrices.segments.parts(rho[among]):
            rows = among[inside]
            slopes = b[rows]  # taken so that rows are side by side: strides move the bits of sums
            x, d = slopes.take(old, axis=1), slopes.take(own, axis=1)
            nodes = np.ascontiguousarray(shares.T)
            forms = product(nodes, self.fixed.forms(segment)[:, :, :p, :p].reshape(NODES, -1)).reshape(-1, 2, p, p)
            sums = self._sums(segment, rows).reshape(len(rows), NODES, -1)
            near = np.matmul(nodes[:, None, :], sums).reshape(len(rows), 6, -1)[:, :, :p]
            zgzb[rows[:, None], own] += np.vecdot(near[:, : own.size], x[:, None, :])
            crossed = np.matmul(d[:, None, :], near[:, 2 : 2 + own.size])[:, 0]
            zgzb[rows[:, None], old] += np.matmul(forms[:, 0], x[:, :, None])[:, :, 0] + crossed
            twice = 2 * np.matmul(d[:, None, :], near[:, 4 : 4 + own.size])[:, 0]
            squares[rows] += np.vecdot(twice + np.matmul(forms[:, 1], x[:, :, None])[:, :, 0], x)
        return served

    def _among_treatments(self, table: Floats, rho: Floats, b: Floats) -> tuple[Floats, Floats]:
        """What D and WD, slopes b (R, 1 or 2), give one another: their parts of Z'GZb, (R, 1 or 2), and |QGZb|^2."""
        series, terms = self.fixed.series, table.shape[1]
        c = series.coefficients(rho, terms - 2)
        one, unit = np.pad(c, ((0, 0), (0, 1))), np.eye(1, terms)
        weights = b[:, :1] * one
        if b.shape[1] > 1:
            weights += b[:, 1:] * series.lagged(c)
            unit = np.concatenate([unit, series.lagged(np.eye(1, terms - 1))])
        moved = np.matmul(table, weights[:, :, None])[:, :, 0]
        return np.vecdot(moved[:, None, :], unit), np.vecdot(moved, weights)

    def _sums(self, segment: int, rows: Codes) -> Floats:
        """Look-ups of some rows at the nodes of a segment, (R, NODES, 6, P)."""
        p, periods, units = self.fixed.z.shape
        size = NODES * 6 * p
        kept = self.met.setdefault(("sums", segment), np.full((len(self.dates), size), np.nan))
        missing = rows[np.isnan(kept[rows, 0])]
        if missing.size:
            dates = self.dates[missing]
            which, unit = np.nonzero(dates < periods)
            places = dates[which, unit].astype(np.intp) * units + unit
            starts = np.searchsorted(which, np.arange(missing.size + 1))
            chosen = sp.csr_array((np.ones(places.size), places, starts), shape=(missing.size, periods * units))
            kept[missing] = chosen @ self.fixed.tails(segment)
        return kept[rows].reshape(-1, NODES, 6, p)

    def _products(self, kind: int, rows: Codes) -> Floats:
        """u_k'u_l of some rows, (R, K, K)."""
        terms, periods = TERMS[kind] + 2, self.fixed.z.shape[1]
        kept = self.met.setdefault(("products", kind), np.full((len(self.dates), terms, terms), np.nan))
        missing = rows[np.isnan(kept[rows, 0, 0])]
        if not missing.size:
            return kept[rows]

        # which dates rows hold, but always and never treated: of these the unit effects leave nothing
        present = np.zeros((missing.size, periods + 1), dtype=bool)
        present[np.arange(missing.size)[:, None], self.dates[missing]] = True
        present[:, [0, periods]] = False
        sizes = present.sum(axis=1)
        for size in np.unique(sizes):
            alike = np.flatnonzero(sizes == size)
            for start in range(0, alike.size, ROWS):
                some = alike[start : start + ROWS]
                if some.size == 1:  # twice, for the sums of one alone are made in another order
                    some = some.repeat(2)
                at = missing[some]
                kinds, which = np.unique(present[some], axis=0, return_inverse=True)
                roots = np.stack([_root(one.tobytes()) for one in kinds])  # (kinds, T + 1, C)
                u = np.ascontiguousarray(roots[which[:, None], self.dates[at]].swapaxes(0, 1))  # E L, (N, R, C)
                kept[at] = _gram(self.fixed.series, u, terms)
        return kept[rows]


@lru_cache(maxsize=4096)
def _root(present: bytes) -> Floats:
    """L of the dates that are present, flags of T + 1 periods as bytes; zero in the rows of other dates, (T + 1, C)."""
    flags = np.frombuffer(present, dtype=bool)
    at = np.flatnonzero(flags)
    steps = (np.arange(flags.size - 1) >= at[:, None]).astype(np.float64)
    root = np.zeros((flags.size, at.size))
    root[at] = np.linalg.qr((steps - steps.mean(axis=1, keepdims=True)).T, mode="r").T
    return root


def _gram(series: PowerSeries, u: Floats, terms: int) -> Floats:
    """Products of T_k(V) Q_N u, k < terms, around their means over units, u (N, R, C) -> (R, terms, terms)."""
    n, r, c = u.shape
    u = u - u.sum(axis=0) / n
    own = np.empty((r, terms, n, c))
    for k, term in enumerate(series.each_term(u.reshape(n, r * c), terms)):
        own[:, k] = term.reshape(n, r, c).swapaxes(0, 1)
    means = np.matmul(series.sums(terms) / n, own[:, 0])
    flat = own.reshape(r, terms, n * c)
    return np.asarray(np.matmul(flat, flat.swapaxes(1, 2)) - n * np.matmul(means, means.swapaxes(1, 2)))


# Forms in G that the information matrix of SAR and SDM needs: Z'GZb and |QGZb|^2 (Lee and Yu 2010; Elhorst 2014).
#
# Z is two-way demeaned and GZb demeaned over units again, which equals time dummies in the regression. A W that is
# not row-stochastic lets time effects through G: Zb then stands for Zb + m_t, m_t = mean over i of (I - rho W) y,
# the drift.


FEW = 3  # regressors whose multiples are added one by one
TOGETHER = 32  # replications whose regressors differ


class FixedForms:
    """The forms for regressors that no replication changes, Z (P, T, N): interpolated matrices, contracted with b."""

    def __init__(self, z: Floats, spectrum: Spectrum, effects: PanelEffects = "two-way") -> None:
        self._own, self._effects = z.shape[0], effects
        self._z = z
        if lets_through(spectrum.weights, effects):  # beside them one dummy a period
            _, t, n = z.shape
            self._z = np.concatenate([z, np.repeat(np.eye(t)[:, :, None], n, axis=2)])
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
        centred = (gz - _returned(gz, self._effects)).reshape(p, -1)
        cross = self._z.reshape(p, -1) @ gz.reshape(p, -1).T
        twice = np.where(self._upper[0] == self._upper[1], 1.0, 2.0)  # a symmetric form, of which a triangle is kept
        return np.concatenate([cross.ravel(), (centred @ centred.T)[self._upper] * twice])


def lets_through(weights: Weights, effects: PanelEffects) -> bool:
    """Whether W makes of period effects, or of the constant where there are no effects, what these do not absorb."""
    return not weights.row_stochastic and effects != "unit"


def _returned(moved: Floats, effects: PanelEffects) -> Floats | float:
    """What a matrix of units brings back of the effects into demeaned fields (..., T, N): no unit effects."""
    if effects == "unit":
        return 0.0
    return moved.mean(axis=-1 if effects != "none" else (-2, -1), keepdims=True)


@dataclass(frozen=True, eq=False)
class Columns:
    """Which of K regressors a batch redraws: positions (V,); the others and their lags, demeaned: fixed (F, T, N)."""

    names: int
    anew: NDArray[np.intp]
    fixed: Floats
    effects: PanelEffects = "two-way"

    def among(self, p: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Where redrawn and fixed columns stand among the first P of [X, WX, ...], lag by lag."""
        block = np.arange(-(-p // max(self.names, 1)))[:, None] * self.names
        kept = np.setdiff1d(np.arange(self.names), self.anew)
        return (block + self.anew).ravel(), (block + kept).ravel()

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


def redrawn_forms(
    z: Pieces, spectrum: Spectrum, columns: Columns, rho: Floats, b: Floats, drift: Floats | None = None,
    dates: Dates | None = None, by_dates: AbsorbingForms | None = None,
) -> tuple[Floats, Floats]:  # fmt: skip
    """Z'GZb (R, P) and |QGZb|^2 (R,) at rho (R,), b (R, P), drift (R, T) unless W is row-stochastic, where regressors
    differ between replications.

    z (R, V (1 + lags), T, N): those that are redrawn; without columns where the dates of the treatment stand for it.
    dates (R, N): first treated periods of the one that is redrawn. by_dates: the forms of such rows.
    """
    zgzb, squares = np.empty_like(b), np.empty_like(rho)
    new, old = columns.among(b.shape[1])
    left, fixed = np.ones(len(rho), dtype=bool), columns.fixed[: old.size]
    if by_dates is not None:
        left = ~by_dates(rho, b, new, zgzb, squares)
    for rows, chunk in z.chunks(TOGETHER):
        some = np.flatnonzero(left[rows])
        if not some.size:
            continue
        if some.size < 2:  # a product of one row may round otherwise than the same row among others
            some = some.repeat(2)
        at = rows.start + some
        if dates is None or chunk.shape[1]:
            own = chunk if some.size == len(chunk) > 1 else chunk[some]
        else:
            own = columns.of_dates(dates[at], spectrum.weights)
        own = own[:, : new.size]

        # Zb
        slopes = b[at][:, new]
        if own.shape[1] > FEW:
            fitted = np.matmul(slopes[:, None, :], ols.flat(own)).reshape(len(own), *own.shape[2:])
        else:
            fitted = slopes[:, 0, None, None] * own[:, 0]
            for k in range(1, own.shape[1]):
                fitted += slopes[:, k, None, None] * own[:, k]
        if old.size:
            fitted += product(b[at][:, old], ols.flat(fixed)).reshape(fitted.shape)
        if drift is not None:
            fitted += drift[at][:, :, None]

        q = spectrum.series.apply(rho[at], fitted)
        q -= _returned(q, columns.effects)
        zgzb[at[:, None], new] = np.vecdot(ols.flat(own), ols.flat(q)[:, None])
        zgzb[at[:, None], old] = ols.inner(fixed[None], q)
        squares[at] = ols.sum_of_squares(q)
    return zgzb, squares


@dataclass(frozen=True, eq=False, slots=True)
class TimeEffects:
    """What a W that is not row-stochastic makes of time effects in the score of lambda: QHd, H = W (I - lambda W)^-1.

    d (R, T): the time effects of (I - lambda W)(y - rho Wy - Zb), around their mean; profile (R, N): Q_N H1; so QHd =
    d_t (Q_N H1)_i.
    """

    d: Floats
    lam: Floats
    profile: Floats

    @classmethod
    def of(
        cls, drift: Floats, form: SpatialForm, rho: Floats, lam: Floats, slopes: Floats, spectrum: Spectrum
    ) -> TimeEffects:
        """From cross-section means (R, 1 + L + P, T) of y and Z, each with its L lags, and the estimates."""
        lags, p = form.lags, slopes.shape[1]
        y, z = drift[:, : 1 + lags], drift[:, 1 + lags :]
        k = p // 2 if form.durbin else p
        rho, at = rho[:, None], lam[:, None]
        d = y[:, 0] - (rho + at) * y[:, 1]
        if form.lag:
            d = d + rho * at * y[:, 2]
        filtered = z[:, :p] - at[:, :, None] * z[:, k : k + p]
        h = spectrum.row_sums(lam)
        return cls(d - np.matmul(slopes[:, None, :], filtered)[:, 0], lam, h - h.mean(axis=1, keepdims=True))

    def squared_norm(self) -> Floats:
        """|QHd|^2, (R,)."""
        return np.square(self.d).sum(axis=1) * np.square(self.profile).sum(axis=1)

    def across(self, z: Floats, k: int, p: int) -> Floats:
        """Z*'QHd, (R, P), Z* = Q(Z - lambda WZ): z (1 or R, K + P and more, T, N) holds lags K columns further on."""
        rows, columns, t, n = z.shape
        met = np.matmul(z.reshape(rows, columns * t, n), self.profile[:, :, None]).reshape(-1, columns, t)
        sums = np.matmul(met, self.d[:, :, None])[:, :, 0]
        return sums[:, :p] - self.lam[:, None] * sums[:, k : k + p]

    def along(self, z: Floats, b: Floats, drift: Floats, rho: Floats, spectrum: Spectrum) -> Floats:
        """(QGf)'QHd, (R,), f = Zb + drift for the first columns of z: the score of rho meets that of lambda."""
        p = b.shape[1]
        pulled = np.matmul(self.d[:, None, None, :], z[:, :p])[:, :, 0]  # sum_t d_t z_t, (R, P, N)
        f = np.matmul(b[:, None, :], pulled)[:, 0] + (self.d * drift).sum(axis=1)[:, None]
        moved = np.stack([spectrum.multiplier.apply(float(at), row) for at, row in zip(rho, f, strict=True)])
        return np.asarray(np.vecdot(moved, self.profile))


OTHER_MODEL = "choose other weights, or a model without spatial lags of regressors"
CELLS = 2**18  # of redrawn columns whose products are made together
LEAST_ROWS, ARRAYS = 32, 2**26  # replications solved together at least, and bytes of whole arrays in their moments


@dataclass(frozen=True, eq=False, slots=True)
class SpatialPlan:
    """What a cell's fixed variables give: Z = [QX, QWX] (P, T, N), Z'Z (1, P, P), forms by P; None where redrawn.

    With two lags Z has QW^2X as well. columns: which regressors are redrawn, and Z of the others. beside: what the
    fixed ones and one that is redrawn need for forms by its dates, where these can take the place of its values;
    dated: whether they do in the panel that the plan was made of. labels of the units, attributes (N,) and years, the
    labels of periods, serve clustered errors. useless_lags: what is wrong with fixed WX, which is for models that have
    them as regressors to raise.
    """

    names: tuple[str, ...]
    units: int
    periods: int
    spectrum: Spectrum
    z: Floats | None
    gram: Floats
    forms: dict[int, FixedForms] | None
    columns: Columns
    beside: FixedSide | None
    dated: bool
    keeps_arrays: bool
    labels: tuple[str, ...]
    attributes: Mapping[str, NDArray[Any]]
    useless_lags: tuple[Problem, ...] = ()
    years: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False, slots=True)
class SpatialMoments(Moments):
    """Z'Qy, Z'QWy (R, P); (Qy)'(Qy), (Qy)'(QWy), (QWy)'(QWy), raw total sum of squares (R,); Z'Z and, as
    `Columns` says, redrawn regressors (R, V, T, N) or dates in their place (R, N) where there are any.

    drift (R, 2 + P, T), cross-section means of y, Wy, X and WX around their own mean over time, only when W is not
    row-stochastic. y (R, T, N) and x (R, P, T, N), raw, only when a full fit is asked for. With two lags also Z'QWWy
    (R, P), the products of QWWy with Qy, QWy and itself (R, 3), and WWy and WWX in drift.
    """

    zy: Floats
    zwy: Floats
    yy: Floats
    ywy: Floats
    wyy: Floats
    tss: Floats
    gram: Floats | None
    z: Pieces | None
    dates: NDArray[np.int16] | None
    drift: Floats | None
    y: Floats | None
    x: Floats | None
    zwwy: Floats | None = None
    wwy: Floats | None = None
    met: Met = field(default_factory=dict, init=False, repr=False)


@dataclass(frozen=True, slots=True)
class SpatialCrossProducts(Reduction):
    """One demeaning, one lag, one projection for every spatial model of an outcome, its regressors and a W.

    lags = 2: also those of W^2, for SDEM and SAC. effects: which are taken out of all.
    """

    outcome: str
    names: tuple[str, ...]
    weights: str
    keep_arrays: bool
    lags: int = 1
    effects: PanelEffects = "two-way"

    def prepare(self, panel: Panel) -> SpatialPlan:
        """Cross products and forms of fixed regressors; raises BadInput for absorbed ones and unbalanced panels."""
        asked_by = f"spatial model of {self.outcome}"
        check_balanced(panel, asked_by)
        tile = Tile(panel)
        two_way = self.effects == "two-way"
        columns = ols.fixed_columns(tile, self.names, self.effects)
        if problems := ols.useless(columns, asked_by, two_way=two_way):
            raise BadInput(*problems)
        lagged = [
            ols.RegressorColumn(f"w_{column.name}", f"the spatial lag of {column.name!r}",
                                tile.lag(column.name, self.weights),
                                tile.within_lag(column.name, self.weights, self.effects), OTHER_MODEL)
            for column in columns
        ]  # fmt: skip
        spectrum = spectrum_of(panel.weights[self.weights])
        anew = np.array([k for k, name in enumerate(self.names) if panel.variables[name].shape[0] > 1], dtype=np.intp)
        p = 2 * len(self.names)
        kept = tuple(name for name in self.names if panel.variables[name].shape[0] == 1)
        fixed = ols.stack(self._columns(tile, kept))[0] if kept else np.empty((0, len(panel.periods), len(panel.units)))
        columns_of = Columns(len(self.names), anew, fixed, self.effects)
        z, gram, forms = None, ols.gram(fixed[None]), None
        if not anew.size:
            z, forms = fixed, {size: FixedForms(fixed[:size], spectrum, self.effects) for size in (p // 2, p)}
        by_dates = two_way and anew.size == 1 and len(fixed) <= MOST_FIELDS and not self.keep_arrays
        beside = FixedSide.of(fixed[: p - 2], spectrum) if by_dates else None
        dated = beside is not None and bool((dates_of(panel.variables[self.names[anew[0]]]) != UNDATED).all())
        return SpatialPlan(self.names, len(panel.units), len(panel.periods), spectrum, z, gram, forms, columns_of,
                           beside, dated, self.keep_arrays, panel.units, dict(panel.attributes),
                           tuple(ols.useless([*columns, *lagged], asked_by, two_way=two_way)),
                           panel.periods)  # fmt: skip

    def for_worlds(self, plan: SpatialPlan, worlds: int) -> SpatialPlan:
        """Tables of what dates meet take some 50 ms and 24 MB a world, a hundred replications' worth."""
        return plan if worlds == 1 else replace(plan, beside=None, dated=False)

    def rows(self, plan: SpatialPlan) -> int:
        """Fewer when the moments hold arrays of T x N."""
        redrawn = plan.columns.anew.size + 1 if plan.columns.anew.size and not plan.dated else 0
        arrays = (1 + self.lags) * redrawn + (1 + 2 * len(plan.names)) * plan.keeps_arrays
        if not arrays:
            return ROWS_AT_ONCE
        return int(np.clip(ARRAYS // (8 * arrays * plan.periods * plan.units), LEAST_ROWS, ROWS_AT_ONCE))

    def _columns(self, tile: Tile, names: tuple[str, ...]) -> list[Floats]:
        """QX, QWX of some variables, with two lags QW^2X too, (1 or R, T, N) each."""
        lagged = [tile.within_lag(name, self.weights, self.effects) for name in names]
        further = [self._within_second_lag(tile, name) for name in names] if self.lags == 2 else []
        return [tile.within(name, self.effects) for name in names] + lagged + further

    def _within_second_lag(self, tile: Tile, name: str) -> Floats:
        """Q (W W x), (1 or R, T, N)."""
        w = tile.panel.weights[self.weights]
        if self.effects != "two-way":
            return demeaned(w.lag(tile.lag(name, self.weights)), self.effects)
        if w.row_stochastic:
            return w.lag(tile.within_lag(name, self.weights), centred=True)
        return tile.transform(w.lag(tile.lag(name, self.weights)))

    def reduce(self, plan: SpatialPlan, tile: Tile) -> SpatialMoments:
        """One tile's cross products."""
        if plan.z is None:
            return self._of_redrawn(plan, tile)
        y = tile.within(self.outcome, self.effects)
        wy = tile.within_lag(self.outcome, self.weights, self.effects)
        z, rows = plan.z[None], tile.panel.replications
        y, wy = (spread(v, rows) for v in (y, wy))  # one outcome for all: a placebo
        zwwy, products = None, None
        if self.lags == 2:
            wwy = spread(self._within_second_lag(tile, self.outcome), rows)
            zwwy = ols.inner(z, wwy)
            products = np.stack([ols.dot(v, wwy) for v in (y, wy, wwy)], axis=1)
        return SpatialMoments(
            zy=ols.inner(z, y),
            zwy=ols.inner(z, wy),
            yy=spread(tile.within_sum_of_squares(self.outcome), rows) if self.effects == "two-way" else ols.dot(y, y),
            ywy=ols.dot(y, wy),
            wyy=ols.sum_of_squares(wy),
            gram=None,
            z=None,
            dates=None,
            zwwy=zwwy,
            wwy=products,
            **self._further(plan, tile),
        )

    def _of_redrawn(self, plan: SpatialPlan, tile: Tile) -> SpatialMoments:
        """The same where regressors differ: one product of all redrawn columns a replication, one with the fixed."""
        at, rows, blocks = plan.columns, tile.panel.replications, 1 + self.lags
        own = self._columns(tile, tuple(self.names[k] for k in at.anew))
        moved = [spread(values, rows) for values in own + self._columns(tile, (self.outcome,))]
        n, fixed = len(own), ols.flat(at.fixed).T
        together = max(1, CELLS // (len(moved) * plan.periods * plan.units))
        products, across = np.empty((rows, len(moved), len(moved))), np.empty((rows, len(moved), fixed.shape[1]))
        dates = dates_of(tile.raw(self.names[at.anew[0]])) if plan.beside else None
        kept = n if dates is None or (dates == UNDATED).any() else 0
        z = np.empty((rows, len(moved) if kept else 0, plan.periods, plan.units))
        for start in range(0, rows, together):
            some = slice(start, start + together)
            stacked = np.stack([values[some] for values in moved], axis=1, out=z[some] if kept else None)
            products[some], across[some] = ols.gram(stacked), np.matmul(ols.flat(stacked), fixed)
        new, old = at.among(blocks * at.names)
        gram, cross = np.empty((rows, *2 * (blocks * at.names,))), np.empty((rows, blocks, blocks * at.names))
        gram[:, new[:, None], new], gram[:, old[:, None], old] = products[:, :n, :n], plan.gram
        gram[:, new[:, None], old] = across[:, :n]
        gram[:, old[:, None], new] = across[:, :n].swapaxes(1, 2)
        cross[:, :, new], cross[:, :, old] = products[:, n:, :n], across[:, n:]

        # exactly zero for redrawn regressors that the effects absorb: rounding is no variation
        left = np.diagonal(gram, axis1=1, axis2=2)
        absorbed = ols.absorbed_in(tile, self.names * blocks, left).reshape(rows, blocks, at.names)
        if absorbed.any():
            absorbed = np.reshape(absorbed | absorbed[:, :1], gram.shape[:2])
            gram[absorbed[:, :, None] | absorbed[:, None, :]] = 0.0

        o = products[:, n:, n:]
        return SpatialMoments(
            zy=np.ascontiguousarray(cross[:, 0]),
            zwy=np.ascontiguousarray(cross[:, 1]),
            yy=np.ascontiguousarray(o[:, 0, 0]),
            ywy=np.ascontiguousarray(o[:, 0, 1]),
            wyy=np.ascontiguousarray(o[:, 1, 1]),
            gram=gram,
            z=Pieces((z[:, :kept],)),
            dates=dates,
            zwwy=np.ascontiguousarray(cross[:, 2]) if blocks == 3 else None,
            wwy=np.ascontiguousarray(o[:, :, 2]) if blocks == 3 else None,
            **self._further(plan, tile),
        )

    def _further(self, plan: SpatialPlan, tile: Tile) -> dict[str, Any]:
        """Total sum of squares, and what some models and errors ask for besides."""
        rows, raw, drift = tile.panel.replications, None, None
        if self.keep_arrays:
            parts = [tile.raw(name) for name in self.names] + [tile.lag(name, self.weights) for name in self.names]
            raw = spread(ols.stack(parts), rows)

        # of means over units what is no unit effect; without effects the constant, in every period
        if lets_through(plan.spectrum.weights, self.effects):
            variables = [[tile.raw(name), tile.lag(name, self.weights)] for name in (self.outcome, *self.names)]
            if self.lags == 2:
                variables = [[*lagged, plan.spectrum.weights.lag(lagged[1])] for lagged in variables]
            own, *others = ([values.mean(axis=2) for values in lagged] for lagged in variables)
            means = []
            for mean in (*own, *(each for order in zip(*others, strict=True) for each in order)):
                level = mean.mean(axis=1, keepdims=True)
                if self.effects == "none":
                    mean = np.broadcast_to(level, mean.shape)
                elif self.effects == "two-way":
                    mean = mean - level
                means.append(spread(mean, rows))
            drift = np.stack(means, axis=1)
        return {
            "tss": spread(tile.total_sum_of_squares(self.outcome), rows),
            "drift": drift,
            "y": spread(tile.raw(self.outcome), rows) if self.keep_arrays else None,
            "x": raw,
        }


def regressors(plan: SpatialPlan, m: SpatialMoments) -> Floats:
    """Z with all its lags, (1 or R, P, T, N)."""
    if m.z is None:
        return plan.columns.fixed[None]
    w, parts = plan.spectrum.weights, []
    for rows, z in m.z.chunks(len(m.z)):
        parts.append(z if m.dates is None or z.shape[1] else plan.columns.of_dates(m.dates[rows], w))
    return plan.columns.whole(np.concatenate(parts))


@dataclass(frozen=True, eq=False, slots=True)
class SpatialRegression:
    """One model and transform on the cross products of R panels: what every fit and every covariance starts from."""

    form: SpatialForm
    transform: Transform
    plan: SpatialPlan
    moments: SpatialMoments

    @property
    def sizes(self) -> Sizes:
        """Effective numbers of observations and periods."""
        return Sizes.of(self.plan.units, self.plan.periods, self.transform, self.effects)

    @property
    def effects(self) -> PanelEffects:
        """Which are in the model."""
        return self.plan.columns.effects

    @property
    def determinant(self) -> Transform:
        """Whose log-determinant the likelihood has."""
        return determinant(self.transform, self.effects)

    @property
    def slopes(self) -> int:
        """P, how many slopes the model has."""
        return self.form.slopes(len(self.plan.names))

    @property
    def gram(self) -> Floats:
        """Z'Z, (1 or R, P, P)."""
        return self.plan.gram if self.moments.gram is None else self.moments.gram

    @property
    def raw(self) -> tuple[Floats, Floats]:
        """y (R, T, N) and the model's regressors (R, P, T, N) as they are, of a reduction that keeps arrays."""
        assert self.moments.y is not None
        assert self.moments.x is not None
        return self.moments.y, self.moments.x[:, : self.slopes]


def lagged_gram(model: SpatialRegression) -> Floats:
    """Cross products of y, Wy, X, WX, with two lags of y, Wy, WWy, X, WX, WWX, all demeaned, (R, M, M)."""
    m, gram = model.moments, model.gram
    crosses = [m.zy, m.zwy]
    outcomes = [[m.yy, m.ywy], [m.ywy, m.wyy]]
    if m.wwy is not None and m.zwwy is not None:
        crosses.append(m.zwwy)
        outcomes = [[*row, last] for row, last in zip([*outcomes, [*m.wwy.T[:2]]], m.wwy.T, strict=True)]
    o = len(crosses)
    out = np.empty((m.yy.size, *2 * (o + gram.shape[-1],)))
    out[:, :o, :o] = np.moveaxis(np.array(outcomes), -1, 0)
    out[:, :o, o:] = np.stack(crosses, axis=1)
    out[:, o:, :o] = out[:, :o, o:].swapaxes(1, 2)
    out[:, o:, o:] = gram
    return out
