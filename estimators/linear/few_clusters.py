"""Errors for few or uneven clusters, from the regressors alone, and how many clusters a coefficient really rests on.

With all effects as dummies among the regressors Z, H = Z (Z'Z)^- Z', the residuals e = (I - H) y and b_k = psi_k'y,
let A_g be the block of I - H of cluster g. Both error types are sums of squares of l_g'e_g over clusters:

    cv3:  l_g = A_g^+ psi_g         b - b_(g) = l_g'e_g, b_(g) without the cluster; V = (G - 1)/G sum_g (b_(g) - b)^2
    cr2:  l_g = (A_g^+)^(1/2) psi_g     V = sum_g (l_g'e_g)^2, unbiased where errors are independent with one variance

MacKinnon, Nielsen and Webb (2023, Journal of Econometrics 232:272, CV3 around b), t with G - 1 degrees of freedom; Bell
and McCaffrey (2002, Survey Methodology 28:169), t with those of Imbens and Kolesar (2016, REStat 98:701): V is y'BB'y
with B = (I - H) L, L the l_g side by side, and dof = (tr B'B)^2 / tr (B'B)^2.

Effects that lie within clusters, such as those of units, make A_g singular in directions in which e is zero; they are
taken out first, by M (Pustejovsky and Tipton 2018, JBES 36:672). Effects that reach over clusters, such as those of
periods, belong in H: with W the orthonormal columns of what M leaves of them and of the regressors, A_g is M_g less
W_g W_g', whose powers the singular values of W_g give. A coefficient that is not identified without a cluster (of one
treated cluster) has psi_g outside the span of A_g; then b_(g) does not exist, CR2 is biased, and its variance is NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from estimators.core.error_types import kind_of
from estimators.core.regression import flat, sum_of_squares
from estimators.core.tile import Transform, effect_levels, nested_in, observed_mask, transform_of
from estimators.linear.covariances import ScoreSum, membership
from estimators.linear.influence import Influence
from sim.arrays import Codes, Floats
from sim.panel import Panel

ADJUSTED = ("cv3", "cr2")  # kinds that are made here
SPANNED = 1e-10  # 1 - a squared singular value of W_g below which a direction is that of the cluster alone
LOST = 1e-10  # share of psi'psi outside the span of all A_g above which a coefficient needs some cluster
CELLS = 2**22  # of the columns W of replications that are decomposed together


@dataclass(frozen=True, eq=False, slots=True)
class ClusterSpan:
    """What effects and clusters give before any regressor.

    nested: M; reaching (q, T, N): orthonormal columns of the other effects after M; cells: of each cluster, in T N.
    """

    nested: Transform
    reaching: Floats
    cells: tuple[Codes, ...]

    @classmethod
    def of(cls, panel: Panel, effects: tuple[str, ...], total: ScoreSum, *, constant: bool) -> ClusterSpan:
        """Of an error type by clusters of units; constant: whether a regression without effects has one."""
        groups = tuple(total.error.partition(":")[2:])
        inside = nested_in(groups, effects, panel)
        mask, codes = observed_mask(panel) > 0, total.cells[0]
        cells = (np.flatnonzero((codes == g) & mask) for g in range(int(codes.max()) + 1))
        outside = tuple(effect for effect in effects if effect not in inside)
        nested = transform_of(inside, panel, constant=False)
        columns = effect_columns(panel, outside, constant=constant and not effects)
        return cls(nested, orthonormal(nested(columns), columns), tuple(each for each in cells if len(each)))


def effect_columns(panel: Panel, effects: tuple[str, ...], *, constant: bool = False) -> Floats:
    """A column of ones and zeros for each level of some effects, and one of the constant, (q, T, N)."""
    mask = observed_mask(panel)
    levels = [effect_levels(effect, panel) for effect in effects]
    columns = [np.equal.outer(np.arange(int(codes.max()) + 1), codes) * mask for codes in levels]
    return np.concatenate([np.empty((0, *mask.shape)), *columns, *([mask[None]] if constant else [])])


def orthonormal(left: Floats, columns: Floats) -> Floats:
    """Orthonormal columns (p, T, N) of the span of what a projection has left of columns, (q, T, N) each."""
    if not len(left):
        return left
    rows = flat(left)
    values, vectors = np.linalg.eigh(rows @ rows.T)
    kept = values > SPANNED * sum_of_squares(columns).max()
    whole = (vectors[:, kept] / np.sqrt(values[kept])).T @ rows
    return np.ascontiguousarray(whole.reshape(-1, *left.shape[1:]))


def regressor_columns(x: Floats, bread: Floats) -> Floats:
    """Orthonormal columns of demeaned regressors (1 or R, K, T, N), of the same shape; (X'X)^-1 (1 or R, K, K)."""
    sound = np.isfinite(bread).all(axis=(1, 2), keepdims=True)
    root = np.linalg.cholesky(np.where(sound, bread, np.eye(bread.shape[1])))
    return np.reshape(root.transpose(0, 2, 1) @ flat(x), x.shape)


@dataclass(frozen=True, eq=False, slots=True)
class AdjustedInfluence:
    """What residuals move coefficients by, adjusted within clusters (l), and the degrees of freedom of t, (1 or R, K).

    Of coefficients that are not identified without one of the clusters the influence is NaN, and CR2's dof.
    """

    influence: Influence
    dof: Floats

    @classmethod
    def of(cls, kind: str, span: ClusterSpan, x: Floats, bread: Floats, psi: Floats) -> AdjustedInfluence:
        """Of all coefficients: psi (1 or R, K, T, N), demeaned regressors x (1 or R, P, T, N), (X'X)^-1."""
        columns = len(span.reaching) + x.shape[1]
        step = max(1, CELLS // (columns * psi[0, 0].size))
        rows = [slice(start, start + step) for start in range(0, len(psi), step)]
        parts = [_adjusted(kind, span, x[some], bread[some], psi[some]) for some in rows]
        left, dof = (np.concatenate(each) for each in zip(*parts, strict=True))
        return cls(Influence.of(left, sum_of_squares(left.reshape(-1, *left.shape[2:])).reshape(left.shape[:2])), dof)


def _adjusted(kind: str, span: ClusterSpan, x: Floats, bread: Floats, psi: Floats) -> tuple[Floats, Floats]:
    """l (R, K, T, N) and degrees of freedom (R, K)."""
    rows, terms, t, n = psi.shape
    reaching = np.broadcast_to(span.reaching, (rows, *span.reaching.shape))
    w = flat(np.concatenate([reaching, regressor_columns(x, bread)], axis=1))
    inside = flat(span.nested(psi.reshape(-1, t, n)).reshape(psi.shape))
    out = np.zeros_like(inside)
    whole = np.vecdot(flat(psi), flat(psi))
    lost = whole - np.vecdot(inside, inside)
    reach = np.empty((rows, terms, w.shape[1], len(span.cells)))
    for g, cells in enumerate(span.cells):
        here = inside[:, :, cells]
        u, singular, _ = np.linalg.svd(w[:, :, cells].transpose(0, 2, 1), full_matrices=False)
        change, alone = _powers(kind, np.square(singular))
        seen = here @ u  # (R, K, m)
        lost += (np.square(seen) * alone[:, None]).sum(axis=2)
        out[:, :, cells] = here + (seen * change[:, None]) @ u.transpose(0, 2, 1)
        reach[:, :, :, g] = out[:, :, cells] @ w[:, :, cells].transpose(0, 2, 1)
    sound = lost <= LOST * whole
    left = np.where(sound[:, :, None], out, np.nan).reshape(psi.shape)
    if kind == "cv3":
        return left, np.full(sound.shape, len(span.cells) - 1.0)
    squares = np.stack([np.square(out[:, :, cells]).sum(axis=2) for cells in span.cells], axis=2)
    return left, np.where(sound, satterthwaite(squares, reach), np.nan)


def _powers(kind: str, s: Floats) -> tuple[Floats, Floats]:
    """f of f(A_g) = M_g + U diag(f) U', and 1 where a direction is the cluster's alone; s: squared singular values."""
    alone = (1 - s <= SPANNED).astype(np.float64)
    left = np.where(alone > 0, 1.0, 1 - s)
    return np.where(alone > 0, -1.0, (1 / left if kind == "cv3" else 1 / np.sqrt(left)) - 1), alone


def satterthwaite(squares: Floats, reach: Floats) -> Floats:
    """(tr P)^2 / tr P^2 of P = diag(l_g'l_g) - C'C, (R, K): squares (R, K, G), C = W_g l_g (R, K, q, G)."""
    own = np.square(reach).sum(axis=2)
    crossed = reach @ reach.transpose(0, 1, 3, 2)
    second = np.square(squares).sum(axis=2) - 2 * (squares * own).sum(axis=2) + np.square(crossed).sum(axis=(2, 3))
    return np.asarray(np.square((squares - own).sum(axis=2)) / second)


def adjusted_influences(
    spans: Mapping[str, ClusterSpan], x: Floats, bread: Floats, psi: Floats
) -> dict[str, AdjustedInfluence]:
    """Those of every error type that has a span."""
    return {error: AdjustedInfluence.of(kind_of(error), span, x, bread, psi) for error, span in spans.items()}


@dataclass(frozen=True, eq=False, slots=True)
class ClusterFacts:
    """What errors clustered by a group of units can rest on, of one coefficient; arrays (1 or R,).

    clusters: with an observed cell. treated: with a treated cell; untreated: with a unit that is untreated while others
    are treated, never treated or later.
    effective: G* = G/(1 + squared coefficient of variation of the clusters' shares of the variance) of Carter, Schnepel
    and Steigerwald (2017, REStat 99:698) where errors are independent. shared: G* where all units of a
    cluster have the same error in a period; with clusters of units it is `effective`.
    """

    clusters: int
    treated: Floats
    untreated: Floats
    effective: Floats
    shared: Floats


def facts_of(psi: Floats, treatment: Floats, codes: Codes, mask: Floats) -> ClusterFacts:
    """Of a coefficient's psi (1 or R, T, N), treatment (1 or R, T, N), clusters of units (N,), used cells (T, N)."""
    members = membership(codes)
    seen = mask.sum(axis=0) > 0
    used = (members[seen] > 0).any(axis=0)
    own = np.where(mask > 0, treatment, 0.0) != 0  # (R, T, N)
    begun = np.logical_or.accumulate(own.any(axis=2), axis=1)[:, :, None]
    ever, beside = own.any(axis=1), (begun & ~own & (mask > 0)).any(axis=1)  # (R, N)
    treated, untreated = (((units @ members) > 0).sum(axis=1) for units in (ever * 1.0, beside * 1.0))
    shares = np.square(psi).sum(axis=1) @ members, np.square(psi @ members).sum(axis=1)
    effective, shared = (effective_clusters(each[:, used]) for each in shares)
    return ClusterFacts(int(used.sum()), treated.astype(float), untreated.astype(float), effective, shared)


def effective_clusters(shares: Floats) -> Floats:
    """G* of the clusters' parts of a variance (R, G), (R,); NaN where no cluster has a part."""
    with np.errstate(invalid="ignore"):
        relative = shares / shares.mean(axis=1, keepdims=True) - 1
    return np.asarray(shares.shape[1] / (1 + np.square(relative).mean(axis=1)))
