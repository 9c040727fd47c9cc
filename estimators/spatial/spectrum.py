"""Log-determinant and traces of a spatial weights matrix as functions of the spatial coefficient.

Ord (1975) for the eigenvalue form. Where W is large and sparse, eigenvalues would take N^3 operations: the
log-determinant of sparse factors and its derivatives, tr G and tr G^2, take their place. Lee and Yu (2010, JoE 154:165)
for the transformed traces, with H = Q_N G.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache, reduce
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from scipy.sparse.linalg import SuperLU, splu

from sim.arrays import Floats
from sim.weights import Weights, add_product, one_thread

# Functions of rho as piecewise Chebyshev interpolants, built only where they are asked for.
#
# Everything that a spatial likelihood needs of W - log-determinant, traces of G = W (I - rho W)^-1, forms in G - is
# analytic in rho with its singularities at the inverse eigenvalues, none nearer than 1/radius. Segments shrink in
# proportion to the distance from there, so that twelve nodes give some 1e-13 everywhere (Trefethen 2013, theorem
# 8.2).


NODES = 12
WIDTH = 0.25  # of a segment in -ln(1 - |rho| radius); singularities stay 8 half-widths from its centre
_ANGLES = (np.arange(NODES) + 0.5) * np.pi / NODES
_POINTS = np.cos(_ANGLES)  # Chebyshev points of the first kind on [-1, 1]
_BARYCENTRIC = (np.where(np.arange(NODES) % 2, -1.0, 1.0) * np.sin(_ANGLES))[:, None]
FEW = 8  # values up to which rows are the inner loop
ROWS = 512  # up to which one call for all nodes is faster than one a node
BEYOND, FITTED = 1.5, 18  # of a fit whose derivatives are asked for: its length in segments, its points


class PiecewiseChebyshev:
    """An interpolant of `function(rho) -> (E,)` on (-1/radius, 1/radius).

    Each row of a batch is computed by itself (no BLAS, sums over nodes one by one), so that its bits do not depend on
    the batch.
    """

    def __init__(self, function: Callable[[float], Floats], radius: float) -> None:
        self._function = function
        self._radius = radius
        self._segments: dict[int, tuple[Floats, Floats]] = {}

    def __call__(self, rho: Floats) -> Floats:
        """Values at rho (R,) -> (R, E); NaN where rho is NaN or outside the interval."""
        inside = self.inside(rho)
        at = np.where(inside, rho, 0.0)
        alike = rho.size > 1 and bool((at == at[0]).all())  # where every search starts
        at = at[:1] if alike else at
        segments = np.floor(self._stretch(at)).astype(np.intp)
        first, last = int(segments.min()), int(segments.max())
        if first == last:
            out = self._in_segment(first, at)
        else:
            out = np.empty((at.size, self._segment(first)[1].shape[1]))
            for segment in range(first, last + 1):
                rows = np.flatnonzero(segments == segment)
                if rows.size:
                    out[rows] = self._in_segment(segment, at[rows])
        if alike:
            out = np.repeat(out, rho.size, axis=0)
        out[~inside] = np.nan
        return out

    def inside(self, rho: Floats) -> NDArray[np.bool_]:
        """Whether rho (R,) lies inside the interval, NaN not."""
        return np.asarray(np.abs(rho) * self._radius < 1.0)

    def parts(self, rho: Floats) -> Iterator[tuple[int, NDArray[np.intp], Floats]]:
        """Segments that hold rho (R,), inside the interval: their number, which rows, shares of the nodes there."""
        segments = np.floor(self._stretch(rho)).astype(np.intp)
        for segment in np.unique(segments):
            rows = np.flatnonzero(segments == segment)
            yield int(segment), rows, shares(rho[rows], self.nodes(int(segment)))

    def nodes(self, segment: int) -> Floats:
        """The points of a segment between which it interpolates, (NODES,)."""
        low, high = self._edge(segment), self._edge(segment + 1)
        return (low + high) / 2 + (high - low) / 2 * _POINTS

    def _in_segment(self, segment: int, rho: Floats) -> Floats:
        nodes, values = self._segment(segment)
        weights = shares(rho, nodes)
        if values.shape[1] > FEW:
            return np.asarray(np.einsum("nr,ne->re", weights, values))
        if rho.size <= ROWS:
            return _by_node(values[:, :, None] * weights[:, None]).T
        return reduce(np.add, (value[:, None] * share for value, share in zip(values, weights, strict=True))).T

    def _stretch(self, rho: Floats) -> Floats:
        return -np.sign(rho) * np.log1p(-np.abs(rho) * self._radius) / WIDTH

    def _edge(self, segment: int) -> float:
        return float(-np.sign(segment) * np.expm1(-abs(segment) * WIDTH) / self._radius)

    def _segment(self, segment: int) -> tuple[Floats, Floats]:
        """Nodes (NODES,) and the function there (NODES, E), computed when first asked for."""
        if segment not in self._segments:
            self._segments[segment] = self._build(segment)
        return self._segments[segment]

    @one_thread
    def _build(self, segment: int) -> tuple[Floats, Floats]:
        nodes = self.nodes(segment)
        return nodes, np.stack([self._function(float(node)) for node in nodes])


class WithSlopes(PiecewiseChebyshev):
    """An interpolant of f, -f' and -f'' of a scalar function f, which alone is computed.

    f is fitted on an interval half as long again as the segment, away from whose ends derivatives lose few digits: from
    log-determinants of 285 and 1,000 units the first has relative errors up to 1e-12, the second up to 2e-10.
    """

    @one_thread
    def _build(self, segment: int) -> tuple[Floats, Floats]:
        low, high = self._edge(segment), self._edge(segment + 1)
        centre, half = (low + high) / 2, BEYOND * (high - low) / 2
        points = chebyshev.chebpts1(FITTED)
        values = np.array([float(self._function(float(centre + half * point))[0]) for point in points])
        fit = chebyshev.chebfit(points, values, FITTED - 1)
        nodes = self.nodes(segment)
        at = (nodes - centre) / half
        slopes = [-chebyshev.chebval(at, chebyshev.chebder(fit, order)) / half**order for order in (1, 2)]
        return nodes, np.stack([chebyshev.chebval(at, fit), *slopes], axis=1)


def shares(at: Floats, nodes: Floats) -> Floats:
    """What the value at each node contributes, (NODES, R): the barycentric formula (Berrut and Trefethen 2004)."""
    difference = at - nodes[:, None]
    hit = difference == 0.0
    anywhere = bool(hit.any())
    if anywhere:
        difference[:, hit.any(axis=0)] = np.inf
        difference[hit] = 1.0
    terms = _BARYCENTRIC / difference
    if anywhere:
        terms[hit] = 1.0
    terms /= _by_node(terms)
    return np.asarray(terms)


def _by_node(terms: Floats) -> Floats:
    """The sum over nodes, (NODES, ...) -> (...), one node after the other."""
    if terms.shape[-1] == 1:  # numpy would add a single column in another order
        return np.add.reduce(terms.repeat(2, axis=-1))[..., :1]
    return np.asarray(np.add.reduce(terms))


# G = W (I - rho W)^-1 of one W: its products with arrays, G itself, its norms, and G interpolated between nodes.


SPARSE_FROM = 500  # units, above which a sparse factorisation of I - rho W is looked at
MOST_FILL = 0.1  # share of entries that its factors may have: with more the dense solution is the faster one
COLUMNS = 64  # of G at a time, where not all are kept
INTERPOLATED_UP_TO = 1200  # units: the nodes of one segment are twelve N x N matrices, 138 MB here
MOST_SEGMENTS = 6  # whose matrices are kept
MOST_BYTES = 2**29  # of the matrices that are kept


class Multiplier:
    """G at any rho: by sparse factors where W is large and sparse, else by dense ones.

    The choice depends on W alone, so that every rho has the same sums in the same order.
    """

    def __init__(self, weights: Weights) -> None:
        self.weights = weights

    @cached_property
    def sparse(self) -> bool:
        """Whether it works by sparse factors."""
        units, links = len(self.weights.units), self.weights.matrix.nnz
        if units < SPARSE_FROM or links > MOST_FILL * units**2:
            return False
        return bool(self._factors(0.5 / self.weights.radius).nnz <= MOST_FILL * units**2)

    def log_determinant(self, rho: float) -> float:
        """ln|I - rho W| from the factors."""
        factors = self._factors(rho)
        return float(np.log(np.abs(factors.U.diagonal())).sum() + np.log(np.abs(factors.L.diagonal())).sum())

    def _factors(self, rho: float) -> SuperLU:
        system = sp.eye_array(len(self.weights.units)) - rho * self.weights.matrix
        return splu(sp.csc_array(system))

    def __call__(self, rho: float) -> Floats:
        """G, (N, N)."""
        if self.sparse:
            return np.ascontiguousarray(np.concatenate(list(self._columns(rho)), axis=1))
        dense = self.weights.dense
        return np.asarray(np.linalg.solve(np.eye(len(dense)) - rho * dense, dense))

    def apply(self, rho: float, x: Floats) -> Floats:
        """G x over the last axis, (..., N) -> (..., N); NaN without a finite rho."""
        if not np.isfinite(rho):
            return np.full_like(x, np.nan)
        n = x.shape[-1]
        if not self.sparse and x.size > n**2:
            return np.asarray(x @ self(rho).T)
        lagged = np.ascontiguousarray(self.weights.lag(x).reshape(-1, n).T)
        if self.sparse:
            solved = self._factors(rho).solve(lagged)
        else:
            solved = np.linalg.solve(np.eye(n) - rho * self.weights.dense, lagged)
        return np.ascontiguousarray(solved.T).reshape(x.shape)

    def norms(self, rho: float) -> Floats:
        """tr G'G, |G'1|^2 / N, 1'G1 / N and 1'G^2 1 / N."""
        n = len(self.weights.units)
        squares, rows, columns = 0.0, np.zeros(n), []
        for part in self._columns(rho) if self.sparse else [self(rho)]:
            squares += float(np.vdot(part, part))
            rows += part.sum(axis=1)
            columns.append(part.sum(axis=0))
        by_column = np.concatenate(columns)
        return np.array([squares, np.vdot(by_column, by_column) / n, rows.sum() / n, np.vdot(by_column, rows) / n])

    def row_sums(self, rho: float) -> Floats:
        """G1, (N,)."""
        return self.apply(rho, np.ones(len(self.weights.units)))

    def _columns(self, rho: float) -> Iterator[Floats]:
        """G, some columns at a time, from sparse factors."""
        factors, links = self._factors(rho), sp.csc_array(self.weights.matrix)
        for start in range(0, links.shape[1], COLUMNS):
            yield factors.solve(links[:, start : start + COLUMNS].toarray())


class NodeMatrices:
    """`function(a) -> (N, N)` on (-1/radius, 1/radius), kept at the nodes of the segments that were last asked for."""

    def __init__(self, function: Callable[[float], Floats], radius: float, units: int) -> None:
        self._function = function
        self.segments = PiecewiseChebyshev(lambda _: np.empty(0), radius)
        self._kept: OrderedDict[int, Floats] = OrderedDict()
        self.large = units > INTERPOLATED_UP_TO
        self._tables: dict[tuple[int, int], Floats] = {}

    def __call__(self, a: float) -> Floats:
        """The function at a, (N, N): interpolated, from a dozen matrices that serve every a nearby, or computed.

        The same for any batch: which of the two depends on N alone.
        """
        if self.large:
            return self._function(a)
        ((segment, _, shares),) = self.segments.parts(np.array([a]))
        stack = self.at_nodes(segment)
        return np.reshape(shares[:, 0] @ stack.reshape(len(stack), -1), stack.shape[1:])

    def products(self, a: Floats, b: Floats) -> Floats:
        """tr F(a)'F(b) and (F(a)'1)'(F(b)'1)/N, (R, 2), at a, b (R,) inside the interval, NaN elsewhere: what rho and
        lambda together need of W.

        F(a) is a sum of its values at the nodes of a's segment, so that one table of products of the nodes' matrices,
        small for a pair of segments, serves all points in them. Each row of a batch is computed by itself.
        """
        out = np.full((a.size, 2), np.nan)
        sound = np.flatnonzero(self.segments.inside(a) & self.segments.inside(b))
        if self.large:
            for row in sound:
                one, other = (self(float(value))[None] for value in (a[row], b[row]))
                out[row] = _products(one, other)[:, 0, 0]
            return out
        for first, rows, left in self.segments.parts(a[sound]):
            for second, among, right in self.segments.parts(b[sound[rows]]):
                if (first, second) not in self._tables:
                    self._tables[first, second] = _products(self.at_nodes(first), self.at_nodes(second))
                weights = np.ascontiguousarray(left.T[among])[:, None, None, :]
                values = np.matmul(weights, self._tables[first, second])
                out[sound[rows[among]]] = np.vecdot(values[:, :, 0], np.ascontiguousarray(right.T)[:, None, :])
        return out

    def at_nodes(self, segment: int) -> Floats:
        """The function at the nodes of a segment, (NODES, N, N)."""
        if segment not in self._kept:
            self._keep(segment)
        self._kept.move_to_end(segment)
        return self._kept[segment]

    @one_thread
    def _keep(self, segment: int) -> None:
        stack = np.ascontiguousarray([self._function(float(a)) for a in self.segments.nodes(segment)])
        most = max(2, min(MOST_SEGMENTS, MOST_BYTES // stack.nbytes))
        while len(self._kept) >= most:
            self._kept.popitem(last=False)
        self._kept[segment] = stack


@one_thread
def _products(left: Floats, right: Floats) -> Floats:
    """tr A'B and (A'1)'(B'1)/N of every pair of matrices (I, N, N) and (J, N, N), (2, I, J)."""
    columns = [part.sum(axis=1) for part in (left, right)]
    traces = left.reshape(len(left), -1) @ right.reshape(len(right), -1).T
    return np.stack([traces, columns[0] @ columns[1].T / left.shape[-1]])


# Products with G = W (I - rho W)^-1, each row at its own rho, as a Chebyshev series of sparse lags.
#
# With V = W / radius, s = (1 - a^2)^1/2, a = rho radius and b = a / (1 + s): G / radius = (b / s) I + sum_k 2 b^(k
# - 1) / (s (1 + s)) T_k(V) (Mason and Handscomb 2003, 5.2), b about half as large as a: half the lags of the powers
# of W. T_{k+1} = 2 V T_k - T_{k-1} takes one sparse product, added to an array that is there. How T_k(V) grows
# (eigenvalues off the real line, W far from symmetric) is seen on probes once a W; powers of W take its place where
# they need fewer terms. Terms that count for less than SINGLE are made in single precision.


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

    def terms(self, a: Floats) -> NDArray[np.intp]:
        """How many give ERROR, a multiple of STEP, (R,); 0 for more than MOST and for a that is not in (-1, 1)."""
        counts = np.arange(STEP, MOST + 1, STEP)
        inside = np.abs(a) < 1  # false for NaN
        size = np.abs(np.where(inside, a, 0.0))[:, None]
        b = size if self.powers else size / (1 + np.sqrt(1 - size**2))
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


class PowerSeries:
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
        operator, radius = self.weights.operator, self.weights.radius
        first, second = probes, np.asarray(operator @ probes) / radius
        norms = [np.linalg.norm(value, axis=0) for value in (first, second)]
        with np.errstate(over="ignore", invalid="ignore"):
            for _ in range(2, MOST + 1):
                lagged = np.asarray(operator @ second) / radius
                first, second = second, lagged if powers else 2 * lagged - first
                norms.append(np.linalg.norm(second, axis=0))
            grown = np.max(np.array(norms) / norms[0], axis=1)
        return np.maximum.accumulate(np.where(np.isfinite(grown), np.maximum(grown, 1.0), np.inf))

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
        # single precision serves after the term where the largest ratio that `count` terms serve is at SINGLE
        single = -(-count * int(np.log10(SINGLE)) // int(np.log10(ERROR))) + 1
        for k in range(1, min(single, count) + 1):
            total += np.multiply(new, coefficients[k], out=scratch)
            if k < count:
                old, new = new, self._next(np.float64, k, old, new)
        if single < count:  # `new` is the first of the others
            before, now = old.astype(np.float32), new.astype(np.float32)
            weights = coefficients.astype(np.float32)
            tail, product = weights[single + 1] * now, np.empty_like(now)
            for k in range(single + 1, count):
                before, now = now, self._next(np.float32, k, before, now)
                tail += np.multiply(now, weights[k + 1], out=product)
            total += tail
        total *= self.weights.radius
        return total.reshape(n, r, t).transpose(1, 2, 0)

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


Transform = Literal["direct", "lee-yu"]

FLAT = 1e-4  # share of rho's information from W below which it is told from sigma2 by next to nothing


@dataclass(frozen=True, slots=True)
class Traces:
    """ln|I - rho W| and traces of G = W (I - rho W)^-1, all (R,).

    Likelihoods use those of the chosen transform (h: tr H, hh: tr H^2, hth: tr H'H; H = G under `direct`), effects the
    plain ones (g: tr G, gg: tr G^2) and the sums over all pairs (sum_g: 1'G1/N, sum_gg: 1'G^2 1/N).
    """

    log_det: Floats
    h: Floats
    hh: Floats
    hth: Floats
    g: Floats
    gg: Floats
    sum_g: Floats
    sum_gg: Floats


class Spectrum:
    """Functions of rho that depend on W alone, interpolated; one a weights matrix and process.

    multiplier(rho): G itself, and multiplier.apply(rho, x) its products; near_multiplier(rho): G from matrices kept at
    nodes, which pays where many rho's are near each other. series.apply(rho, x): products of rows at their own rho.
    row_sums(rho): G1 at rho (R,), (R, N).
    """

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.multiplier = Multiplier(weights)
        self.series = PowerSeries(self.multiplier)
        self.near_multiplier = NodeMatrices(self.multiplier, weights.radius, len(weights.units))
        self._sums = PiecewiseChebyshev(self._eigenvalue_sums, weights.radius)  # ln|I - rho W|, tr G and tr G^2
        if self.multiplier.sparse:
            log_det = self.multiplier.log_determinant
            self._sums = WithSlopes(lambda rho: np.array([log_det(rho)]), weights.radius)
        self._norms = PiecewiseChebyshev(self.multiplier.norms, weights.radius)
        self.row_sums = PiecewiseChebyshev(self.multiplier.row_sums, weights.radius)

    def is_flat(self, transform: Transform) -> bool:
        """Whether the likelihood of a row-stochastic W hardly depends on rho or lambda, whatever the data are.

        The direct likelihood always does: there tr W = 0 stands for tr A.
        """
        return transform == "lee-yu" and own_information(self.weights) < FLAT

    def slopes(self, rho: Floats, transform: Transform) -> tuple[Floats, ...]:
        """ln|I - rho W|, tr G and tr G^2 of the transform at rho (R,)."""
        log_det, g, gg = self._sums(rho).T
        return _transformed(log_det, g, gg, rho, transform)

    def traces(self, rho: Floats, transform: Transform) -> Traces:
        """All of them at rho (R,)."""
        log_det, g, gg = self._sums(rho).T
        log_det, h, hh = _transformed(log_det, g, gg, rho, transform)
        hth, columns, sum_g, sum_gg = self._norms(rho).T
        if transform == "lee-yu":
            hth = hth - columns
        return Traces(log_det, h, hh, hth, g, gg, sum_g, sum_gg)

    def at(self, rho: float) -> Traces:
        """Those of `direct` at one rho of any size, without interpolation."""
        log_det, g, gg = self._eigenvalue_sums(rho)[:, None]
        hth, _, sum_g, sum_gg = self.multiplier.norms(rho)[:, None]
        return Traces(log_det, g, gg, hth, g, gg, sum_g, sum_gg)

    def joint(self, rho: Floats, lam: Floats, transform: Transform) -> tuple[Floats, Floats]:
        """tr GH and tr G'H of the transform, (R,) each: G at rho, H at lambda."""
        eigenvalues = self.weights.eigenvalues
        at_rho, at_lam = (1.0 - value[:, None] * eigenvalues for value in (rho, lam))
        gh = (eigenvalues / at_rho * (eigenvalues / at_lam)).real.sum(axis=1)
        gth, columns = self.near_multiplier.products(rho, lam).T
        if transform == "direct":
            return gh, gth
        return gh - 1 / ((1 - rho) * (1 - lam)), gth - columns

    def _eigenvalue_sums(self, rho: float) -> Floats:
        eigenvalues = self.weights.eigenvalues
        left = 1.0 - rho * eigenvalues
        ratio = eigenvalues / left
        return np.array([np.log(np.abs(left)).sum(), ratio.real.sum(), (ratio**2).real.sum()])


@lru_cache(maxsize=16)
def own_information(weights: Weights) -> float:
    """What sigma2 leaves of W's part of the information about rho = 0 or lambda = 0 with time effects, from 0 to 1.

    1 - 2 (tr A)^2 / ((N - 1) tr(A^2 + A'A)), A = Q_N W Q_N: one minus the squared correlation of the scores of rho and
    sigma2 (Lee and Yu 2010). 0 for the uniform W: A is then -Q_N/(N - 1), a lag is a multiple of the variable itself,
    and the transformed likelihood is the same for every rho. An ordinary W has shares above .1, one whose entries
    differ from the uniform ones by a hundredth of them about FLAT.
    """
    w, n = weights.matrix, len(weights.units)
    columns, rows, mean = w.sum(axis=0), w.sum(axis=1), float(w.sum()) / n
    squares = float(w.multiply(w.T).sum() + w.multiply(w).sum()) + 2 * mean**2
    squares -= float(2 * columns @ rows + columns @ columns + rows @ rows) / n
    return 1.0 - 2.0 * mean**2 / ((n - 1) * squares)


def _transformed(log_det: Floats, g: Floats, gg: Floats, rho: Floats, transform: Transform) -> tuple[Floats, ...]:
    """Under Lee and Yu without the eigenvalue of W that the time effects take out, 1."""
    if transform == "direct":
        return log_det, g, gg
    return log_det - np.log1p(-rho), g - 1 / (1 - rho), gg - 1 / (1 - rho) ** 2


_KEPT: OrderedDict[str, Spectrum] = OrderedDict()
_MOST = 16


def spectrum_of(weights: Weights) -> Spectrum:
    """The (cached) spectrum of a weights matrix; a worker keeps the last sixteen."""
    key = weights.digest
    if key not in _KEPT:
        _KEPT[key] = Spectrum(weights)
        while len(_KEPT) > _MOST:
            _KEPT.popitem(last=False)
    _KEPT.move_to_end(key)
    return _KEPT[key]
