"""Products with G = W (I - rho W)^-1, each row at its own rho, as a Chebyshev series of sparse lags.

With V = W / radius, s = (1 - a^2)^1/2, a = rho radius and b = a / (1 + s): G / radius = (b / s) I +
sum_k 2 b^(k - 1) / (s (1 + s)) T_k(V) (Mason and Handscomb 2003, 5.2), b about half as large as a: half the lags of the
powers of W. T_{k+1} = 2 V T_k - T_{k-1} takes one sparse product, added to an array that is there. How T_k(V) grows
(eigenvalues off the real line, W far from symmetric) is seen on probes once a W; powers of W take its place where they
need fewer terms. Terms that count for less than SINGLE are made in single precision.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from estimators.spatial.multipliers import Multiplier
from sim.arrays import Floats, one_thread
from sim.weights import add_product

Single = NDArray[np.float32]

ERROR = 1e-12  # of the result, as a share of the argument
SINGLE = 1e-5  # share of the argument from which on terms are made in single precision: 6e-8 of it is below ERROR
MOST = 96  # terms, from which on a solution of its own is as fast
STEP = 3  # between numbers of terms, so that rows share them
PROBES = 8
CELLS = 42_000  # of an array: three of them fit the second cache


@dataclass(frozen=True, slots=True)
class Expansion:
    """T_k(V), or V^k: ratio b of its coefficients at a = rho radius, and how norms of its terms grow, (MOST + 1,)."""

    powers: bool
    growth: Floats

    def ratio(self, a: Floats) -> Floats:
        """b, (R,)."""
        return np.abs(a) if self.powers else np.abs(a) / (1 + np.sqrt(1 - a**2))

    def terms(self, a: Floats) -> NDArray[np.intp]:
        """How many give ERROR, a multiple of STEP, (R,); 0 for more than MOST and for a that is not in (-1, 1)."""
        counts = np.arange(STEP, MOST + 1, STEP)
        inside = np.abs(a) < 1  # false for NaN
        b = self.ratio(np.where(inside, a, 0.0))[:, None]
        enough = 2 * b**counts * self.growth[counts] <= ERROR * (1 - b)
        return np.where(inside & enough.any(axis=1), counts[enough.argmax(axis=1)], 0)

    def coefficients(self, a: Floats, count: int) -> Floats:
        """Of terms 0 to `count`, with the signs of the recursion below, (count + 1, R)."""
        k = np.arange(count + 1)[:, None]
        if self.powers:
            return np.where(k == 0, 0.0, a ** np.maximum(k - 1, 0))
        s = np.sqrt(1 - a**2)
        b = a / (1 + s)
        return self.signs(count) * np.where(k == 0, b / s, 2 * b ** np.maximum(k - 1, 0) / (s * (1 + s)))

    def signs(self, count: int) -> Floats:
        """With which the recursion below makes terms 0 to `count`, (count + 1, 1)."""
        k = np.arange(count + 1)[:, None]
        return np.where((k % 4 < 2) | self.powers, 1.0, -1.0)


class Series:
    """G x for rows of x at their own rho; one a weights matrix."""

    def __init__(self, multiplier: Multiplier) -> None:
        self._multiplier = multiplier
        self.weights = multiplier.weights
        self._sums: dict[int, Floats] = {}

    def terms(self, rho: Floats) -> NDArray[np.intp]:
        """How many serve each rho, (R,); 0 where a solution of its own does."""
        return self._expansion.terms(rho * self.weights.radius)

    def coefficients(self, rho: Floats, count: int) -> Floats:
        """Of T_0(V) to T_count(V) in G, (R, count + 1)."""
        signed = self._expansion.coefficients(rho * self.weights.radius, count)
        return np.ascontiguousarray((self.weights.radius * signed * self._expansion.signs(count)).T)

    def lagged(self, coefficients: Floats) -> Floats:
        """Those of W p(W), one more, from those of p(W), (R, K) -> (R, K + 1)."""
        up = np.pad(coefficients, ((0, 0), (1, 0)))
        if not self._expansion.powers:  # V T_k = (T_{k+1} + T_{|k-1|}) / 2
            up[:, 2:] *= 0.5
            up[:, :-2] += 0.5 * coefficients[:, 1:]
        return np.asarray(up * self.weights.radius)

    def each_term(self, x: Floats, terms: int) -> Iterator[Floats]:
        """T_k(V) x for k < terms, units first, x (N, M); each is valid until the next is asked for."""
        old, new = np.zeros_like(x), x.copy()
        yield new
        self._add(np.float64, 1, new, old)
        for _ in range(terms - 1):
            old, new = new, old
            yield new
            if self._expansion.powers:
                old[:] = 0
                self._add(np.float64, 1, new, old)
            else:
                np.negative(old, out=old)
                self._add(np.float64, 2, new, old)

    def sums(self, terms: int) -> Floats:
        """Sums over units, 1'T_k(V) for k < terms, (terms, N)."""
        if terms not in self._sums:
            v = sp.csr_array(self.weights.matrix.T) / self.weights.radius
            out = [np.ones(v.shape[0]), v @ np.ones(v.shape[0])]
            for _ in range(2, terms):
                lagged = v @ out[-1]
                out.append(lagged if self._expansion.powers else 2 * lagged - out[-2])
            self._sums[terms] = np.array(out[:terms])
        return self._sums[terms]

    def apply(self, rho: Floats, x: Floats) -> Floats:
        """G x over the last axis, rho (R,), x (R, T, N) -> (R, T, N); NaN where rho is."""
        a, out = rho * self.weights.radius, np.empty_like(x)
        terms = self._expansion.terms(a)
        together = 1 if self.dense else max(1, round(CELLS / x[0].size))
        for count in np.unique(terms):
            rows = np.flatnonzero(terms == count)
            if count == 0:
                for row in rows:
                    out[row] = self._multiplier.apply(float(rho[row]), x[row])
                continue
            for start in range(0, rows.size, together):
                some = rows[start : start + together]
                out[some] = self._total(int(count), a[some], x[some])
        return out

    @property
    def dense(self) -> bool:
        """Whether its products are dense: their bits depend on how many rows they serve."""
        return isinstance(self.weights.operator, np.ndarray)

    @cached_property
    def _expansion(self) -> Expansion:
        """That which needs fewer terms at a = 1/2."""
        polynomials, powers = (Expansion(kind, self._growth(kind)) for kind in (False, True))
        few, many = (int(kind.terms(np.array([0.5]))[0]) or MOST + 1 for kind in (polynomials, powers))
        return polynomials if few <= many else powers

    @one_thread
    def _growth(self, powers: bool) -> Floats:
        """Largest norm of a probe's terms up to each, as a share of the probe's own, (MOST + 1,)."""
        probes = np.random.default_rng(0).standard_normal((len(self.weights.units), PROBES))
        first, second = probes, self._probed(probes)
        norms = [np.linalg.norm(value, axis=0) for value in (first, second)]
        with np.errstate(over="ignore", invalid="ignore"):
            for _ in range(2, MOST + 1):
                lagged = self._probed(second)
                first, second = second, lagged if powers else 2 * lagged - first
                norms.append(np.linalg.norm(second, axis=0))
            grown = np.max(np.array(norms) / norms[0], axis=1)
        return np.maximum.accumulate(np.where(np.isfinite(grown), np.maximum(grown, 1.0), np.inf))

    def _probed(self, x: Floats) -> Floats:
        return np.asarray(self.weights.operator @ x) / self.weights.radius

    @cached_property
    def _operators(self) -> dict[tuple[type, float], sp.csr_array | Floats]:
        """V times 1, 2 and -2, in both precisions."""
        own = self.weights.operator / self.weights.radius
        return {
            (kind, factor): (factor * own).astype(kind) for kind in (np.float64, np.float32) for factor in (1, 2, -2)
        }

    def _total(self, count: int, a: Floats, x: Floats) -> Floats:
        """The terms up to `count` of some rows, (R, T, N), units first and side by side."""
        r, t, n = x.shape
        coefficients = np.repeat(self._expansion.coefficients(a, count), t, axis=1)
        ordered = np.ascontiguousarray(x.transpose(2, 0, 1)).reshape(n, r * t)
        total, scratch = coefficients[0] * ordered, np.empty_like(ordered)
        old, new = ordered, np.zeros_like(ordered)
        self._add(np.float64, 1, ordered, new)
        single = self._single_from(count)
        for k in range(1, min(single, count) + 1):
            total += np.multiply(new, coefficients[k], out=scratch)
            if k < count:
                old, new = new, self._next(np.float64, k, old, new)
        if single < count:
            tail = self._tail(single + 1, count, old, new, coefficients)
            total += tail
        total *= self.weights.radius
        return total.reshape(n, r, t).transpose(1, 2, 0)

    def _single_from(self, count: int) -> int:
        """After which term single precision serves: where the largest ratio that `count` terms serve is at SINGLE."""
        return -(-count * int(np.log10(SINGLE)) // int(np.log10(ERROR))) + 1

    def _tail(self, first: int, last: int, old: Floats, new: Floats, coefficients: Floats) -> Single:
        """Terms `first` to `last`, of which `new` is the first, (N, R T)."""
        before, now = old.astype(np.float32), new.astype(np.float32)
        weights = coefficients.astype(np.float32)
        total, scratch = weights[first] * now, np.empty_like(now)
        for k in range(first, last):
            before, now = now, self._next(np.float32, k, before, now)
            total += np.multiply(now, weights[k + 1], out=scratch)
        return total

    def _next(self, kind: type, k: int, old: NDArray[Any], new: NDArray[Any]) -> NDArray[Any]:
        """Term k + 1 from terms k - 1 and k, in the place of the former."""
        if self._expansion.powers:
            old[:] = 0
            self._add(kind, 1, new, old)
        else:
            self._add(kind, -2 if k % 2 else 2, new, old)
        return old

    def _add(self, kind: type, factor: float, x: NDArray[Any], out: NDArray[Any]) -> None:
        operator = self._operators[kind, factor]
        if isinstance(operator, np.ndarray):
            out += operator @ x
        else:
            add_product(operator, x, out)
