"""Forms in G where one absorbing treatment D alone is redrawn and W is row-stochastic: no work of T x N in any fit.

QD holds C dates. With s_c the centred steps 1[t >= c] and kappa = s s' = L L', the products of QD under matrices of
units are those of u = Q_N E L (N, C), E the dates' dummies: D'(Q_T x A)D = sum_c u_c'A u_c. GQD and GQWD are sums of
u_k = T_k(V) u, so that one table of products u_k'u_l serves every rho and every slope. Products of D with fields that
no replication changes are sums over the treated of tails, h_it + h_i,t+1 + ...: what the other regressors X and D
give one another, D'GX, X'GD, D'G'QGX and the same of WD, are look-ups at the nodes of rho between which all forms are
interpolated.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from estimators.core.tile import UNDATED
from estimators.core.treatment_kernels import product
from estimators.core.treatments import adjoint_lag
from estimators.spatial.interpolation import NODES
from estimators.spatial.multipliers import SPARSE_FROM, NodeMatrices
from estimators.spatial.series import Series
from estimators.spatial.spectrum import Spectrum
from sim.arrays import Codes, Flags, Floats, one_thread

TERMS = (15, 24, 36)  # of a series, by classes of rho; rows that need more are served one by one
ROWS = 8  # treatments whose terms the cache holds
MOST_FIELDS = 16  # fixed regressors and lags: at most so many have tables
MOST_BYTES = 2**29  # of the tables that are kept

Dates = NDArray[np.int16]
_KEPT: OrderedDict[tuple[int, int], tuple[FixedSide, Floats]] = OrderedDict()


@dataclass(frozen=True, eq=False)
class FixedSide:
    """Fixed regressors and their lags z (P, T, N), demeaned, as the forms need them; series, matrices: those of W.

    At each node of rho: Z'GZ and Z'G'QGZ (P, P); and, as tails (T N, 6 P) of fields that D meets, GZ, W'QGZ, G'Z,
    W'G'Z, G'QGZ and W'G'QGZ around their means over units.
    """

    z: Floats
    series: Series
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
        forms, tails = zip(*map(self._at, self.matrices.at_nodes(segment)), strict=True)
        self._forms[segment] = np.stack(forms)
        return np.ascontiguousarray(np.stack(tails, axis=1).reshape(len(tails[0]), -1))

    def _at(self, g: Floats) -> tuple[Floats, Floats]:
        """At one G: the forms (2, P, P), and the fields' tails (T N, 6 P)."""
        p, periods, units = self.z.shape
        z, w = self.z.reshape(p * periods, units), self.series.weights
        gz = _around(z @ g.T)
        fields = [one for x in (gz, z @ g, gz @ g) for one in (_around(x), _around(adjoint_lag(x, w)))]
        tails = np.concatenate(fields).reshape(6 * p, periods, units)
        for t in reversed(range(periods - 1)):
            tails[:, t] += tails[:, t + 1]
        forms = np.stack([left.reshape(p, -1) @ gz.reshape(p, -1).T for left in (z, gz)])
        return forms, tails.reshape(6 * p, periods * units).T


@dataclass(frozen=True, eq=False, slots=True)
class Met:
    """What treatments have met so far: tables of products by class of rho, look-ups by segment; NaN for other rows."""

    products: dict[int, Floats] = field(default_factory=dict)
    sums: dict[int, Floats] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, slots=True)
class AbsorbingForms:
    """The forms of `RedrawnForms` for rows whose treatment is known by its dates (R, N), first treated periods.

    met is filled in and belongs to these dates.
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
        among = np.flatnonzero(served)
        for segment, inside, shares in (
            self.fixed.matrices.segments.parts(rho[among]) if old.size and among.size else ()
        ):
            rows = among[inside]
            sums = self._sums(segment, rows)
            self._with_fixed(segment, sums, shares, (rows, own, old), b[rows], zgzb, squares)
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

    def _with_fixed(
        self, segment: int, sums: Floats, shares: Floats, at: tuple[Codes, Codes, Codes], b: Floats,
        zgzb: Floats, squares: Floats,
    ) -> None:  # fmt: skip
        """Add what fixed regressors give one another and the treatment; sums (R, NODES, 6, P) at these nodes."""
        rows, own, old = at
        p, x, d = old.size, b.take(old, axis=1), b.take(own, axis=1)  # rows side by side: strides move the bits of sums
        nodes = np.ascontiguousarray(shares.T)
        forms = product(nodes, self.fixed.forms(segment)[:, :, :p, :p].reshape(NODES, -1)).reshape(-1, 2, p, p)
        near = np.matmul(nodes[:, None, :], sums.reshape(len(rows), NODES, -1)).reshape(len(rows), 6, -1)[:, :, :p]
        zgzb[rows[:, None], own] += np.vecdot(near[:, : own.size], x[:, None, :])
        crossed = np.matmul(d[:, None, :], near[:, 2 : 2 + own.size])[:, 0]
        zgzb[rows[:, None], old] += np.matmul(forms[:, 0], x[:, :, None])[:, :, 0] + crossed
        twice = 2 * np.matmul(d[:, None, :], near[:, 4 : 4 + own.size])[:, 0]
        squares[rows] += np.vecdot(twice + np.matmul(forms[:, 1], x[:, :, None])[:, :, 0], x)

    def _sums(self, segment: int, rows: Codes) -> Floats:
        """Look-ups of some rows at the nodes of a segment, (R, NODES, 6, P)."""
        p, periods, units = self.fixed.z.shape
        size = NODES * 6 * p
        kept = self.met.sums.setdefault(segment, np.full((len(self.dates), size), np.nan))
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
        terms = TERMS[kind] + 2
        kept = self.met.products.setdefault(kind, np.full((len(self.dates), terms, terms), np.nan))
        missing = rows[np.isnan(kept[rows, 0, 0])]
        if missing.size:
            present = _present(self.dates[missing], self.fixed.z.shape[1])
            for some in _alike(present.sum(axis=1)):
                at = missing[some]
                kept[at] = _gram(self.fixed.series, _columns(self.dates[at], present[some]), terms)
        return kept[rows]


def _present(dates: Dates, periods: int) -> Flags:
    """Which dates rows hold, (R, T + 1), but always and never treated: of these the unit effects leave nothing."""
    present = np.zeros((len(dates), periods + 1), dtype=bool)
    present[np.arange(len(dates))[:, None], dates] = True
    present[:, [0, periods]] = False
    return present


def _alike(sizes: Codes) -> Iterator[Codes]:
    """Places of equal sizes, ROWS at a time; a lone one twice, for its sums are made in another order."""
    for size in np.unique(sizes):
        among = np.flatnonzero(sizes == size)
        for start in range(0, among.size, ROWS):
            some = among[start : start + ROWS]
            yield some if some.size > 1 else some.repeat(2)


def _columns(dates: Dates, present: Flags) -> Floats:
    """E L of rows with as many dates, (N, R, C)."""
    kinds, which = np.unique(present, axis=0, return_inverse=True)
    roots = np.stack([_root(kind.tobytes()) for kind in kinds])  # (kinds, T + 1, C)
    return np.ascontiguousarray(roots[which[:, None], dates].swapaxes(0, 1))


@lru_cache(maxsize=4096)
def _root(present: bytes) -> Floats:
    """L of the dates that are present, flags of T + 1 periods as bytes; zero in the rows of other dates, (T + 1, C)."""
    flags = np.frombuffer(present, dtype=bool)
    at = np.flatnonzero(flags)
    steps = (np.arange(flags.size - 1) >= at[:, None]).astype(np.float64)
    root = np.zeros((flags.size, at.size))
    root[at] = np.linalg.qr((steps - steps.mean(axis=1, keepdims=True)).T, mode="r").T
    return root


def _gram(series: Series, u: Floats, terms: int) -> Floats:
    """Products of T_k(V) Q_N u, k < terms, around their means over units, u (N, R, C) -> (R, terms, terms)."""
    n, r, c = u.shape
    u = u - u.sum(axis=0) / n
    own = np.empty((r, terms, n, c))
    for k, term in enumerate(series.each_term(u.reshape(n, r * c), terms)):
        own[:, k] = term.reshape(n, r, c).swapaxes(0, 1)
    means = np.matmul(series.sums(terms) / n, own[:, 0])
    flat = own.reshape(r, terms, n * c)
    return np.asarray(np.matmul(flat, flat.swapaxes(1, 2)) - n * np.matmul(means, means.swapaxes(1, 2)))


def _around(x: Floats) -> Floats:
    """Without the mean over units."""
    return x - x.mean(axis=-1, keepdims=True)
