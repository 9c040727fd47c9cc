"""The restricted wild cluster bootstrap of t statistics (Cameron, Gelbach and Miller 2008, WCR), without refitting.

For the hypothesis that coefficient k is c, outcomes are drawn around the fit restricted to it: y* = fit + v_g e_c with
one sign v_g a cluster, e_c the restricted residual. Effects are estimated again in every draw. With d = b_k - c, the
restricted residual is e + d x, x = psi_k / psi_k'psi_k what is left of regressor k, so that numerators and cluster sums
of every draw are linear in d. For a residual u (e or x), with s_g = psi_g'u_g and Q symmetric,

    numerator = v's,   sums = L v,   L_gh = (Q 1_g psi)_h'u_h - sum_m (psi_g'z_mg) (psi_mh'u_h),

and two products of (draws, G) with (G, G) serve all hypotheses (Roodman et al. 2019); the vectors Q 1_g psi are the
same in all replications when the regressors are. Small-sample factors cancel between t and t*.

Signs are Rademacher's, below ten clusters Webb's six points; Rademacher's are enumerated when all 2^G are no more
than the draws asked for. p = (1 + number of draws with |t*| >= |t|) / (1 + draws): the sample counts among its draws,
so p is never zero and its test is exact where signs are exchangeable. The interval ends on either side
at the first value that is rejected at `LEVEL` and that the search meets: it can pass over a narrow rejected stretch.

Where it fails (MacKinnon and Webb 2017, 2018): with few treated clusters this restricted bootstrap rejects too seldom,
with a single one almost never, since the restricted residuals of treated clusters hold the effect; one drawn around the
unrestricted fit rejects far too often instead. Permuting who is treated keeps its level then, if clusters are alike
otherwise, in size too. Rademacher's signs have 2^(G - 1) values of |t*|: with five clusters p is at least 1/16 and
nothing is rejected at 5%, hence Webb's. Theirs is no exact test either: with a regressor and errors that share shocks
within 5 groups (`clustered`) it rejects 6.8% with 99 draws, 7.1% with 199 and 7.3% with 999, Rademacher's with 10
groups 5.6%, where CR1 against 1.96 rejects 21% and 13%.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np

from estimators.core.inversion import NullTests, searched_interval
from estimators.linear.covariances import cancelled, cluster_sums
from sim.arrays import Codes, Floats

Project = Callable[[Floats], Floats]
Points = Literal["rademacher", "webb"]

WEBB_BELOW = 10  # clusters
WEBB = np.sqrt(np.array([0.5, 1.0, 1.5]))
TIE = 1e-9  # |t*| that differ from |t| by rounding alone are equal to it
CELLS_AT_ONCE = 4_000_000  # numbers that are projected together
KEPT = 32_000_000  # numbers of all projections that are kept for the next panels; beyond, they are computed again
DRAWN_AT_ONCE = 200_000  # signs of replications that are tested together: their arrays stay in the cache


def signs(generator: np.random.Generator, draws: int, clusters: int, points: Points | None = None) -> Floats:
    """v_g of every draw, (draws, G): mean 0, variance 1; by default Rademacher, or Webb's points for few clusters.

    All 2^G of Rademacher's signs, when these are no more than `draws`, come once each without v = 1, which is the
    sample itself: (2^G - 1, G), and p is that of the full enumeration.
    """
    if points is None:
        points = "webb" if clusters < WEBB_BELOW else "rademacher"
    if points == "rademacher" and 2**clusters <= draws:
        bits = np.arange(1, 2**clusters)[:, None] >> np.arange(clusters)
        return np.where(bits & 1, -1.0, 1.0)
    rademacher = np.where(generator.integers(0, 2, (draws, clusters)) > 0, 1.0, -1.0)
    if points == "rademacher":
        return rademacher
    return rademacher * WEBB[generator.integers(0, len(WEBB), (draws, clusters))]


def wild_clusters(
    psi: Floats, e: Floats, beta: Floats, z: Floats, project: Project, codes: Codes,
    generators: Iterable[np.random.Generator], draws: int, points: Points | None = None,
) -> NullTests:  # fmt: skip
    """Tests and intervals of every coefficient of R panels at once, (R, K); NaN for panels without estimates, and for
    coefficients whose scores cancel within every cluster, so that there is no t statistic.

    psi (1 or R, K, T, N): (Z'Z)^-1 z_it; e (R, T, N): residuals; beta (R, K); z (1 or R, K, T, N): regressors after
    `project`, the projection (R, T, N) -> (R, T, N) that takes effects out; codes (T, N): clusters 0..G-1; generators:
    one a replication, from which each draws its own signs.
    """
    rows, groups = len(e), int(codes.max()) + 1
    step = max(1, DRAWN_AT_ONCE // (draws * groups))
    given = iter(generators)
    fixed = _Clusters.of(psi, z, project, codes) if len(psi) == 1 else None
    parts = []
    for start in range(0, rows, step):
        some = slice(start, min(start + step, rows))
        v = np.stack([signs(generator, draws, groups, points) for generator in islice(given, some.stop - start)])
        clusters = fixed or _Clusters.of(psi[some], z[some], project, codes)
        parts.append(clusters.tests(e[some], beta[some], v))
    return NullTests.join(parts)


@dataclass(frozen=True, eq=False, slots=True)
class _Clusters:
    """What the regressors of 1 or R panels give to the draws.

    psi (1 or R, K, T, N); z: regressors after `project`; weights (1 or R, K, K, G): psi_kg'z_mg; cells: of each cluster
    in T N; kept: Q 1_g psi_k of one k and some clusters g, (1 or R, g, T N) each, where all fit into `KEPT` numbers.
    """

    psi: Floats
    project: Project
    weights: Floats
    codes: Codes
    cells: tuple[Codes, ...]
    kept: dict[tuple[int, int], Floats]

    @classmethod
    def of(cls, psi: Floats, z: Floats, project: Project, codes: Codes) -> _Clusters:
        weights = np.stack([cluster_sums(psi[:, [j]] * z, codes) for j in range(psi.shape[1])], axis=1)
        cells = tuple(np.flatnonzero(codes == g) for g in range(int(codes.max()) + 1))
        return cls(psi, project, weights, codes, cells, {})

    def _projected(self, k: int) -> Iterator[Floats]:
        """Q 1_g psi_k for consecutive clusters g, (1 or R, g, T N), a few at a time."""
        rows, coefficients, t, n = self.psi.shape
        groups = len(self.cells)
        step = max(1, CELLS_AT_ONCE // (rows * t * n))
        keep = rows * coefficients * groups * t * n <= KEPT
        for start in range(0, groups, step):
            chunk = self.kept.get((k, start))
            if chunk is None:
                chosen = self.codes == np.arange(start, min(start + step, groups))[:, None, None]
                alone = self.psi[:, k, None] * chosen
                chunk = self.project(alone.reshape(-1, t, n)).reshape(*alone.shape[:2], -1)
                if keep:
                    self.kept[k, start] = chunk
            yield chunk

    def tests(self, e: Floats, beta: Floats, v: Floats) -> NullTests:
        """Tests of all coefficients of R panels with residuals e (R, T, N), beta (R, K), signs v (R, draws, G)."""
        tests = [self._test(k, e, beta[:, k], v) for k in range(beta.shape[1])]
        columns = zip(*((test.pvalue, test.lower, test.upper) for test in tests), strict=True)
        return NullTests(*(np.stack(column, axis=1) for column in columns))

    def _test(self, k: int, e: Floats, beta: Floats, v: Floats) -> NullTests:
        psi = self.psi[:, k]
        flat = psi.reshape(len(psi), -1)
        left = psi / np.vecdot(flat, flat)[:, None, None]  # x of the module's docstring
        scores = psi * e
        own = cluster_sums(scores, self.codes)
        squares = np.vecdot(own, own)
        constant, slope = self._draws(k, (e, left), v)
        curve = _Curves(np.sqrt(squares), constant, slope)
        lower, upper = searched_interval(beta, curve.errors, lambda c: curve.pvalue(beta - c))
        sound = np.isfinite(beta) & ~cancelled(squares, scores)
        return NullTests(curve.pvalue(beta), lower, upper).where(sound)

    def _draws(self, k: int, residuals: tuple[Floats, ...], v: Floats) -> list[tuple[Floats, Floats]]:
        """Numerators (R, draws) and cluster sums (R, draws, G) of the draws for each residual u (1 or R, T, N)."""
        columns = [u.reshape(len(u), -1, 1) for u in residuals]
        products: list[list[Floats]] = [[] for _ in residuals]
        for chunk in self._projected(k):
            for parts, u in zip(products, columns, strict=True):
                parts.append(np.concatenate([chunk[:, :, cells] @ u[:, cells] for cells in self.cells], axis=2))
        drawn = []
        for u, parts in zip(residuals, products, strict=True):
            scores = cluster_sums(self.psi * u[:, None], self.codes)  # (R, K, G)
            matrix = np.concatenate(parts, axis=1) - self.weights[:, k].transpose(0, 2, 1) @ scores
            drawn.append(((v @ scores[:, k, :, None])[:, :, 0], v @ matrix.transpose(0, 2, 1)))
        return drawn


class _Curves:
    """p values of one coefficient of R panels as functions of d = b - c: the draws are linear in d."""

    def __init__(self, errors: Floats, constant: tuple[Floats, Floats], slope: tuple[Floats, Floats]) -> None:
        """errors (R,): sqrt of the sum of squared cluster sums, the denominator of t; numerators and sums by power of
        d."""
        self.errors = errors
        self._numerators = constant[0], slope[0]
        one, other = constant[1], slope[1]
        self._squares = np.vecdot(one, one), 2 * np.vecdot(one, other), np.vecdot(other, other)

    def pvalue(self, d: Floats) -> Floats:
        """p of the hypotheses that coefficients are b - d, (R,)."""
        d = d[:, None]
        numerator = np.abs(self._numerators[0] + d * self._numerators[1])
        squared = self._squares[0] + d * (self._squares[1] + d * self._squares[2])
        extreme = numerator * self.errors[:, None] >= np.abs(d) * np.sqrt(np.maximum(squared, 0.0)) * (1 - TIE)
        return np.asarray((1 + extreme.sum(axis=1)) / (1 + extreme.shape[1]))
