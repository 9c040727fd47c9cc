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

The restricted wild cluster bootstrap of t statistics (Cameron, Gelbach and Miller 2008, WCR), without refitting.

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

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, product
from math import prod
from typing import Literal

import numpy as np

from estimators.core.error_types import kind_of, size_of
from estimators.core.hypotheses import NullTests, linear_interval, permutation_p_values, searched_interval
from estimators.core.regression import flat, gram, invert, sum_of_squares
from estimators.core.tile import Transform, effect_levels, nested_in, observed_mask, transform_of
from estimators.linear.covariances import ScoreSum, cancelled, cluster_sums, sums_within
from estimators.linear.influence import Influence
from sim.arrays import Codes, Flags, Floats
from sim.errors import amount, bad
from sim.panel import Panel
from sim.schema import UNWEIGHTED, refuse_weights

ADJUSTED = ("cv3", "cr2")  # kinds that are made here
SPANNED = 1e-10  # 1 - a squared singular value of W_g below which a direction is that of the cluster alone
LOST = 1e-10  # share of psi'psi outside the span of all A_g above which a coefficient needs some cluster
CELLS = 2**22  # of the columns W of replications that are decomposed together


# What effects and clusters give before any regressor: M, orthonormal columns (q, T, N) of the other effects after M,
# and the cells of each cluster, in T N.
ClusterSpan = tuple[Transform, Floats, tuple[Codes, ...]]


def cluster_span(
    panel: Panel, effects: tuple[str, ...], total: ScoreSum, *, constant: bool, root: Floats | None = None
) -> ClusterSpan:
    """Of an error type by clusters of units; constant: whether a regression without effects has one; root: of weights,
    (T, N)."""
    groups = tuple(total.error.partition(":")[2:])
    inside = nested_in(groups, effects, panel)
    seen = np.flatnonzero(observed_mask(panel) > 0)
    codes = np.reshape(total.cells[0], -1)[seen]
    counts = np.bincount(codes)
    cells = np.split(seen[np.argsort(codes, kind="stable")], np.cumsum(counts[counts > 0])[:-1])
    outside = tuple(effect for effect in effects if effect not in inside)
    nested = transform_of(inside, panel, constant=False, root=root)
    columns = effect_columns(panel, outside, constant=constant and not effects)
    columns = columns if root is None else columns * root
    return nested, orthonormal(nested(columns), columns), tuple(cells)


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


def _adjusted(kind: str, span: ClusterSpan, x: Floats, bread: Floats, psi: Floats) -> tuple[Floats, Floats]:
    """l (R, K, T, N) and degrees of freedom (R, K)."""
    (rows, terms, t, n), (nested, reaching, clusters) = psi.shape, span
    columns = np.broadcast_to(reaching, (rows, *reaching.shape))
    w = flat(np.concatenate([columns, regressor_columns(x, bread)], axis=1))
    inside = flat(nested(psi.reshape(-1, t, n)).reshape(psi.shape))
    out = np.zeros_like(inside)
    whole = np.vecdot(flat(psi), flat(psi))
    lost = whole - np.vecdot(inside, inside)
    reach = np.empty((rows, terms, w.shape[1], len(clusters)))
    for g, cells in enumerate(clusters):
        here = inside[:, :, cells]
        u, singular, _ = np.linalg.svd(w[:, :, cells].transpose(0, 2, 1), full_matrices=False)
        kept = 1 - np.square(singular)  # f(A_g) = M_g + U diag(change) U'
        alone = (kept <= SPANNED).astype(np.float64)  # 1 where a direction is the cluster's alone
        left = np.where(alone > 0, 1.0, kept)
        change = np.where(alone > 0, -1.0, (1 / left if kind == "cv3" else 1 / np.sqrt(left)) - 1)
        seen = here @ u  # (R, K, m)
        lost += (np.square(seen) * alone[:, None]).sum(axis=2)
        out[:, :, cells] = here + (seen * change[:, None]) @ u.transpose(0, 2, 1)
        reach[:, :, :, g] = out[:, :, cells] @ w[:, :, cells].transpose(0, 2, 1)
    sound = lost <= LOST * whole
    left = np.where(sound[:, :, None], out, np.nan).reshape(psi.shape)
    if kind == "cv3":
        return left, np.full(sound.shape, len(clusters) - 1.0)
    squares = np.stack([np.square(out[:, :, cells]).sum(axis=2) for cells in clusters], axis=2)
    return left, np.where(sound, satterthwaite(squares, reach), np.nan)


@np.errstate(divide="ignore", invalid="ignore")  # of a coefficient that every cluster loses all is zero
def satterthwaite(squares: Floats, reach: Floats) -> Floats:
    """(tr P)^2 / tr P^2 of P = diag(l_g'l_g) - C'C, (R, K): squares (R, K, G), C = W_g l_g (R, K, q, G)."""
    own = np.square(reach).sum(axis=2)
    crossed = reach @ reach.transpose(0, 1, 3, 2)
    second = np.square(squares).sum(axis=2) - 2 * (squares * own).sum(axis=2) + np.square(crossed).sum(axis=(2, 3))
    return np.asarray(np.square((squares - own).sum(axis=2)) / second)


def adjusted_influences(
    spans: Mapping[str, ClusterSpan], x: Floats, bread: Floats, psi: Floats
) -> dict[str, tuple[Influence, Floats]]:
    """By error type what residuals move all coefficients by, adjusted within clusters (l), and the degrees of freedom
    of t, (1 or R, K).

    psi (1 or R, K, T, N), demeaned regressors x (1 or R, P, T, N), bread = (X'X)^-1. Of coefficients that are not
    identified without one of the clusters the influence is NaN, and CR2's dof.
    """
    found = {}
    for error, span in spans.items():
        columns = len(span[1]) + x.shape[1]
        step = max(1, CELLS // (columns * psi[0, 0].size))
        rows = [slice(start, start + step) for start in range(0, len(psi), step)]
        parts = [_adjusted(kind_of(error), span, x[some], bread[some], psi[some]) for some in rows]
        left, dof = (np.concatenate(each) for each in zip(*parts, strict=True))
        own = sum_of_squares(left.reshape(-1, *left.shape[2:])).reshape(left.shape[:2])
        found[error] = Influence.of(left, own), dof
    return found


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


def facts_of(psi: Floats, treatment: Floats, codes: Codes, mask: Floats, root: Floats | None = None) -> ClusterFacts:
    """Of a coefficient's psi (1 or R, T, N), treatment (1 or R, T, N), clusters of units (N,), used cells (T, N), the
    root of weights."""
    used = sums_within(mask.sum(axis=0), codes) > 0
    own = np.where(mask > 0, treatment, 0.0) != 0  # (R, T, N)
    begun = np.logical_or.accumulate(own.any(axis=2), axis=1)[:, :, None]
    ever, beside = own.any(axis=1), (begun & ~own & (mask > 0)).any(axis=1)  # (R, N)
    treated, untreated = ((sums_within(units, codes) > 0).sum(axis=1) for units in (ever, beside))
    whole = psi if root is None else psi * root
    shares = sums_within(np.square(psi).sum(axis=1), codes), np.square(sums_within(whole, codes)).sum(axis=1)
    effective, shared = (effective_clusters(each[:, used]) for each in shares)
    return ClusterFacts(int(used.sum()), treated.astype(float), untreated.astype(float), effective, shared)


def effective_clusters(shares: Floats) -> Floats:
    """G* of the clusters' parts of a variance (R, G), (R,); NaN where no cluster has a part."""
    with np.errstate(invalid="ignore"):
        relative = shares / shares.mean(axis=1, keepdims=True) - 1
    return np.asarray(shares.shape[1] / (1 + np.square(relative).mean(axis=1)))


# Tests of a treatment that few units have, by placebos of units that are never treated.
#
# With few treated units the error of a two-way DID is theirs: no law of large numbers helps, clustered errors are
# far too small. With g_j the treatment of unit j less its mean over the periods of j, and c_j = g_j'g_j / sum_i
# g_i'g_i, Conley and Taber (2011, REStat 93:113, section 2) have, where units that are never treated are many,
#
#     b - beta = sum_j c_j w_j,     w_j = g_j'eta_j / g_j'g_j
#
# and take the law of w_j from the residuals of never treated units l, given the dates of j: w_jl = g_j'e_l /
# g_j'g_j. All assignments of never treated units to the treated ones are used once each, repetitions included, when
# they are no more than the draws asked for; else so many are drawn. Treated units with several dates each bring
# their own dates, and a unit with missing cells brings its pattern: g_jl is over the cells that j and l both have.
#
# Ferman and Pinto (2019, REStat 101:452) let the variance of w depend on what makes units unequal. With the
# variance of independent cells, q = 1 / (g'g size), Var(w_jl) = A_j + B_j q_jl is fitted by least squares of w_jl^2
# over l, A and B not negative, and placebos are rescaled by sqrt((A_j + B_j q_j)/(A_j + B_j q_jl)). Squares of
# large variance are noisy: least squares are weighted by 1/Var^2 of the fit before, five times, where Ferman and
# Pinto fit once. Without a size it is the number of cells, before and from adoption on, that matters; in a balanced
# panel without a size nothing does, and both types are equal.
#
# Two factors that tend to one bring placebos of small samples to the scale of the estimate. w_jl is divided by the
# root of the share of its variance that residuals keep, by I - H as in `few_clusters`. The sum over j is multiplied
# by the root of psi'psi sum_j g_j'g_j, for the mean of the never treated units has an error too.
#
# p = (1 + number of placebos with |w| >= |b|)/(1 + placebos). Placebos do not depend on the hypothesis: the
# interval is b -+ a quantile of |w|. Below 19 placebos nothing is rejected at 5%. It fails where the shocks of
# treated units have another law than those of the others, or where shocks reach several units.


PLACEBOS = ("conley-taber", "ferman-pinto")  # kinds that are made here
FEWEST_CONTROLS = 2
FEWEST_TO_REJECT = 19  # placebos, below which no p value of theirs is 5%
VARIES = 1e-10  # share of its sum of squares above which a unit's treatment varies
REWEIGHTED = 5  # times that a variance function is fitted again
HELD = 1e-8  # share of the variance of a placebo that its residuals must keep


@dataclass(frozen=True, eq=False, slots=True)
class Placebos:
    """What one treatment (T, N) gives to the placebos of J treated units by N units.

    paths, seen (J, T): d_j and the cells of j, zero where unobserved; mean (J, N): of d_j over common cells. scale (J,
    N): 1 over g_jl'g_jl and the root of the share of the variance of w_jl that residuals keep. usable (J, N): who can
    serve j. squares (J, N), own (J,): g_jl'g_jl and g_j'g_j. treated (J,): which units.
    """

    paths: Floats
    seen: Floats
    mean: Floats
    scale: Floats
    usable: Flags
    squares: Floats
    own: Floats
    treated: Codes

    @classmethod
    @np.errstate(divide="ignore", invalid="ignore")  # who cannot serve has nothing to divide by
    def of(cls, treatment: Floats, mask: Floats, columns: Floats) -> Placebos:
        """Of a treatment and used cells (T, N), and the orthonormal columns of H after unit effects (q, T, N)."""
        d = np.where(mask > 0, treatment, 0.0)
        treated, never = treated_and_never(d, mask)
        paths, seen = np.ascontiguousarray(d[:, treated].T), np.ascontiguousarray(mask[:, treated].T)
        shared = seen @ mask
        mean = (paths @ mask) / shared
        squares = np.square(paths) @ mask - shared * mean**2
        own = np.square(paths).sum(axis=1) - paths.sum(axis=1) ** 2 / seen.sum(axis=1)
        taken = np.zeros_like(squares)
        for column in columns:
            taken += np.square(paths @ column - mean * (seen @ column))
        held = 1 - taken / squares
        usable = never & (squares > VARIES * np.square(paths).sum(axis=1, keepdims=True)) & (held > HELD)
        scale = 1 / (squares * np.sqrt(held))
        return cls(paths, seen, mean, scale, usable, squares, own, np.flatnonzero(treated))

    @np.errstate(divide="ignore", invalid="ignore")  # residuals that are all zero have no variance
    def rescaled(self, w: Floats, size: Floats) -> Floats:
        """The same brought to the variance of the treated units, by sizes (N,)."""
        cells = np.where(self.usable, 1 / (self.squares * size), 0.0)
        own = 1 / (self.own * size[self.treated])
        constant, slope = variance_lines(np.square(w), cells, self.usable)
        there = constant[:, :, None] + slope[:, :, None] * np.where(self.usable, cells, 1.0)
        return w * np.sqrt((constant + slope * own)[:, :, None] / there)

    def assignments(self, draws: int) -> Codes | None:
        """Every assignment of units to the treated ones, (B, J); of several None where they are more than the draws."""
        able = [np.flatnonzero(row) for row in self.usable]
        if len(able) == 1:
            return able[0][:, None]
        if prod(map(len, able)) > draws:
            return None
        return np.array(list(product(*able)), dtype=np.intp)

    def drawn(self, generators: Iterable[np.random.Generator], draws: int) -> Iterator[Codes]:
        """Of each generator assignments at random, each unit that can serve alike, (B, J)."""
        order = np.argsort(~self.usable, axis=1, kind="stable")  # those who can serve first
        treated, able = np.arange(len(self.own)), self.usable.sum(axis=1)
        for generator in generators:
            at = (generator.random((draws, len(self.own))) * able).astype(np.intp)
            yield order[treated, at]


def treated_and_never(d: Floats, mask: Floats) -> tuple[Flags, Flags]:
    """Units whose treatment (T, N; zero where unobserved) varies over their cells, and those that never have one."""
    count = np.maximum(mask.sum(axis=0), 1.0)
    left = np.square(d).sum(axis=0) - d.sum(axis=0) ** 2 / count
    return left > VARIES * np.square(d).sum(axis=0), (d == 0).all(axis=0) & (mask.sum(axis=0) > 1)


def variance_lines(squares: Floats, cells: Floats, usable: Flags) -> tuple[Floats, Floats]:
    """A and B of Var = A + B q with A, B >= 0, (R, J): squares (R, J, N), q and who counts (J, N).

    Least squares, then `REWEIGHTED` times weighted by 1/Var^2.
    """
    constant, slope = _line(squares, cells, np.broadcast_to(usable.astype(np.float64), squares.shape))
    for _ in range(REWEIGHTED):
        fitted = constant[:, :, None] + slope[:, :, None] * np.where(usable, cells, 1.0)
        weights = usable / np.square(fitted / fitted.mean(axis=2, keepdims=True))
        constant, slope = _line(squares, cells, weights)
    return constant, slope


def _line(squares: Floats, cells: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Weighted least squares; a line that falls is a constant, one that begins below zero goes through the origin."""
    count = weights.sum(axis=2)
    mean, middle = (weights * squares).sum(axis=2) / count, (weights * cells).sum(axis=2) / count
    away = cells - middle[:, :, None]
    spread, size = (weights * away**2).sum(axis=2), (weights * cells**2).sum(axis=2)
    uneven = spread > VARIES * size
    slope = np.where(uneven, (weights * squares * away).sum(axis=2) / np.where(uneven, spread, 1.0), 0.0)
    constant = mean - slope * middle
    slope = np.where(constant < 0, (weights * squares * cells).sum(axis=2) / size, np.maximum(slope, 0.0))
    return np.where(constant < 0, 0.0, np.where(slope > 0, constant, mean)), slope


@dataclass(frozen=True, eq=False, slots=True)
class FewTreated:
    """Error types by placebos on a panel.

    mask (T, N): used cells. reaching (q, T, N): orthonormal columns of period effects after unit effects. sizes: of
    units (N,) by error type; None = placebos are not rescaled. fixed: where no regressor is redrawn.
    """

    mask: Floats
    reaching: Floats
    sizes: dict[str, Floats | None]
    fixed: Placebos | None = None

    @classmethod
    def of(cls, errors: tuple[str, ...], panel: Panel, asked_by: str) -> FewTreated | None:
        """None where no such error type is asked for; raises BadInput for sizes that are none, and for too few units
        that are never treated where the treatment is the same in all replications."""
        names = [error for error in errors if kind_of(error) in PLACEBOS]
        if not names:
            return None
        refuse_weights(panel.roles, names[0], "other error types, such as cv3:unit or wild:unit",
                       f"choose one, or {UNWEIGHTED}", f"{asked_by} errors")  # fmt: skip
        mask, treatment = observed_mask(panel), panel.variables[str(panel.roles.treatment)]
        if len(treatment) == 1:
            never = int(treated_and_never(np.where(mask > 0, treatment[0], 0.0), mask)[1].sum())
            if never < FEWEST_CONTROLS:
                raise bad(f"{names[0]} with {amount(never, "unit")} that {'are' if never != 1 else 'is'} never treated",
                          where=asked_by, allowed=f"{FEWEST_CONTROLS} or more ({FEWEST_TO_REJECT} to reject at 5%)",
                          remedy="choose another error type")  # fmt: skip
        columns = effect_columns(panel, ("period",))
        reaching = orthonormal(transform_of(("unit",), panel, constant=False)(columns), columns)
        alike = {"conley-taber": None, "ferman-pinto": np.ones(len(panel.units))}
        return cls(mask, reaching, {
            error: unit_sizes(panel, size_of(error), asked_by) if size_of(error) else alike[error] for error in names
        })  # fmt: skip

    def placebos(self, treatment: Floats, x: Floats, bread: Floats) -> Placebos:
        """Of a treatment (1, T, N) beside demeaned regressors (1, K, T, N), bread (1, K, K)."""
        columns = np.concatenate([self.reaching, regressor_columns(x, bread)[0]])
        return Placebos.of(treatment[0], self.mask, columns)

    def tests(
        self, error: str, fit: tuple[Floats, Floats, Floats], redrawn: tuple[Floats, Floats] | None,
        generators: Iterable[np.random.Generator], draws: int,
    ) -> tuple[NullTests, Floats]:  # fmt: skip
        """Of R panels, with the numbers of units that serve as placebos, (R,).

        fit: the treatment's coefficient b and psi'psi (R,), residuals e (R, T, N). redrawn: where regressors are, the
        treatment (R, T, N) and demeaned regressors (R, K, T, N). generators: one a replication, asked only where
        assignments are drawn.
        """
        given, size = iter(generators), self.sizes[error]
        if self.fixed is not None:
            return _tests(self.fixed, *fit, given, draws, size)
        assert redrawn is not None
        parts = []
        for row, (treatment, x) in enumerate(zip(*redrawn, strict=True)):
            found = self.placebos(treatment[None], x[None], invert(gram(x[None]))[0])
            b, own, e = (values[row : row + 1] for values in fit)
            parts.append(_tests(found, b, own, e, iter([next(given)]), draws, size))
        tests, controls = zip(*parts, strict=True)
        return NullTests.join(tests), np.concatenate(controls)


def _tests(
    found: Placebos, b: Floats, own: Floats, e: Floats, given: Iterator[np.random.Generator], draws: int,
    size: Floats | None,
) -> tuple[NullTests, Floats]:  # fmt: skip
    """Tests of R panels with one treatment and their numbers of controls; size: None = placebos are not rescaled."""
    usable, count = found.usable, len(b)
    enough = len(found.own) > 0 and bool((usable.sum(axis=1) >= FEWEST_CONTROLS).all())
    if not enough or not np.isfinite(b).any():
        return NullTests.none(b.shape), np.full(count, np.nan)

    # w_jl of the residuals, zero for units that cannot serve, with c_j and a factor, (R, J, N)
    weights = found.own / found.own.sum() * np.sqrt(own * found.own.sum())[:, None]
    w = found.paths @ e - found.mean * (found.seen @ e)
    w = np.where(usable, w * np.where(usable, found.scale, 0.0), 0.0)
    w = (w if size is None else found.rescaled(w, size)) * weights[:, :, None]

    every, treated = found.assignments(draws), np.arange(len(found.own))
    if every is not None:
        placebos = w[:, treated, every].sum(axis=2)
    else:
        pairs = zip(w, found.drawn(given, draws), strict=False)  # the first panel's draws come from the first generator
        placebos = np.stack([row[treated, units].sum(axis=1) for row, units in pairs])
    lower, upper = linear_interval(b, placebos, np.zeros((1, placebos.shape[1])))
    sound = np.isfinite(b) & np.isfinite(placebos).all(axis=1)
    tests = NullTests(permutation_p_values(b, placebos), lower, upper).where(sound)
    return tests, np.full(count, float(usable.any(axis=0).sum()))


def unit_sizes(panel: Panel, name: str, asked_by: str) -> Floats:
    """Sizes of units (N,) by an attribute; raises BadInput unless they are positive numbers."""
    try:
        values = np.asarray(panel.attributes[name]).astype(np.float64)
    except ValueError:
        values = np.full(len(panel.units), np.nan)
    wrong = ~(np.isfinite(values) & (values > 0))
    if wrong.any():
        at = int(wrong.argmax())
        raise bad(f"{name!r} is {panel.attributes[name][at]} for unit {panel.units[at]}",
                  where=f"{asked_by}, ferman-pinto:{name}", allowed="a positive number for every unit",
                  remedy="name a column of sizes, such as the mean population")  # fmt: skip
    return values


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

    def tests(self, e: Floats, beta: Floats, v: Floats) -> NullTests:
        """Tests of all coefficients of R panels with residuals e (R, T, N), beta (R, K), signs v (R, draws, G)."""
        tests = [self._test(k, e, beta[:, k], v) for k in range(beta.shape[1])]
        columns = zip(*((test.pvalue, test.lower, test.upper) for test in tests), strict=True)
        return NullTests(*(np.stack(column, axis=1) for column in columns))

    def _test(self, k: int, e: Floats, beta: Floats, v: Floats) -> NullTests:
        psi = self.psi[:, k]
        flat = psi.reshape(len(psi), -1)
        whole = np.vecdot(flat, flat)
        left = psi / whole[:, None, None]  # x of the module's docstring
        scores = psi * e
        own = cluster_sums(scores, self.codes)
        squares = np.vecdot(own, own)
        (numerators, one), (numerators_by_d, other) = self._draws(k, (e, left), v)
        constant, linear, square = np.vecdot(one, one), 2 * np.vecdot(one, other), np.vecdot(other, other)
        errors = np.sqrt(squares)  # the denominator of t

        def pvalue(d: Floats) -> Floats:
            """p of the hypotheses that coefficients are b - d, (R,)."""
            d = d[:, None]
            numerator = np.abs(numerators + d * numerators_by_d)
            squared = constant + d * (linear + d * square)
            extreme = numerator * errors[:, None] >= np.abs(d) * np.sqrt(np.maximum(squared, 0.0)) * (1 - TIE)
            return np.asarray((1 + extreme.sum(axis=1)) / (1 + extreme.shape[1]))

        lower, upper = searched_interval(beta, errors, lambda c: pvalue(beta - c))
        sound = np.isfinite(beta) & ~cancelled(squares, scores, whole * np.square(e).mean(axis=(1, 2)))
        return NullTests(pvalue(beta), lower, upper).where(sound)

    def _draws(self, k: int, residuals: tuple[Floats, ...], v: Floats) -> list[tuple[Floats, Floats]]:
        """Numerators (R, draws) and cluster sums (R, draws, G) of the draws for each residual u (1 or R, T, N)."""
        columns = [u.reshape(len(u), -1, 1) for u in residuals]
        products: list[list[Floats]] = [[] for _ in residuals]
        rows, coefficients, t, n = self.psi.shape
        groups = len(self.cells)
        step = max(1, CELLS_AT_ONCE // (rows * t * n))
        keep = rows * coefficients * groups * t * n <= KEPT
        for start in range(0, groups, step):
            # Q 1_g psi_k for consecutive clusters g, (1 or R, g, T N)
            chunk = self.kept.get((k, start))
            if chunk is None:
                chosen = self.codes == np.arange(start, min(start + step, groups))[:, None, None]
                alone = self.psi[:, k, None] * chosen
                chunk = self.project(alone.reshape(-1, t, n)).reshape(*alone.shape[:2], -1)
                if keep:
                    self.kept[k, start] = chunk
            for parts, u in zip(products, columns, strict=True):
                parts.append(np.concatenate([chunk[:, :, cells] @ u[:, cells] for cells in self.cells], axis=2))
        drawn = []
        for u, parts in zip(residuals, products, strict=True):
            scores = cluster_sums(self.psi * u[:, None], self.codes)  # (R, K, G)
            matrix = np.concatenate(parts, axis=1) - self.weights[:, k].transpose(0, 2, 1) @ scores
            drawn.append(((v @ scores[:, k, :, None])[:, :, 0], v @ matrix.transpose(0, 2, 1)))
        return drawn
