"""Mediation by two regressions with unit and time effects (table 5 of the study), on R panels at once.

    M = a D + X g + effects + u,        Y = c' D + b M + X h + effects + e.

The indirect effect of D is a b, the direct one c'; the total is the coefficient of D in the regression of Y without M.
On one sample total = c' + a b is an identity of least squares, for by Frisch, Waugh and Lovell b = u'v / u'u and
c' = total - a b, with v the residual of Y on D and X.

Where M and Y have a common unobserved cause, instruments Z that move M and reach Y through M alone identify b: both
equations are then 2SLS, with Z among the regressors of M. With r the part of u that Z explains, b = r'v / r'u; c' =
t_0 - a_0 b of the coefficients t_0, a_0 of D in the regressions of Y and M on D and X alone; and total = c' + a b
(Wooldridge 2010, chapter 5; Froelich and Huber 2017 for what such instruments identify). Sources: Baron and Kenny
(1986); Sobel (1982); MacKinnon, Lockwood and Williams (2004) for the interval from draws; Imai, Keele and Yamamoto
(2010) for the sensitivity.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from estimators.core import regression as ols
from estimators.core.error_types import check_error_types, served
from estimators.core.estimator import (
    Estimates,
    Estimator,
    Home,
    Layout,
    WeightUse,
    check_names,
    of_a_dose,
    outcome_of,
    status_where,
)
from estimators.core.hypotheses import NullTests
from estimators.core.tile import Tile, spread, without_singletons
from estimators.linear.covariances import DEGENERATE, ClusterK, check_two_clusters, sums_within
from estimators.linear.instruments import joined
from estimators.linear.panel_iv import PanelIV
from sim.arrays import Codes, Floats
from sim.errors import bad, closest, one_of
from sim.panel import Panel
from sim.presets import Paper
from sim.schema import Schema
from sim.streams import LATER, Streams

# The two equations of a mediation on arrays: paths, their clustered covariance, bootstrap samples, sensitivity.


TERMS = ("a", "b", "nde", "nie", "total", "proportion")


@dataclass(frozen=True, eq=False, slots=True)
class System:
    """Variables without unit and time effects: x (1 or R, K, T, N) with the treatment last, m and y (1 or R, T, N), and
    instruments z (1 or R, M, T, N) of m, None without; whole (1 or R,): the outcome's squares around its mean; mask
    (T, N) or None when balanced; where there are weights mask is their root."""

    x: Floats
    m: Floats
    y: Floats
    whole: Floats
    z: Floats | None
    mask: Floats | None

    def replication(self, row: int) -> Floats:
        """All variables of one panel: controls, treatment, instruments, mediator, outcome, (K + M + 2, T, N)."""
        x, m, y = (part[row if len(part) > 1 else 0] for part in (self.x, self.m, self.y))
        z = np.empty((0, *y.shape)) if self.z is None else self.z[row if len(self.z) > 1 else 0]
        return np.concatenate([x, z, m[None], y[None]])


@dataclass(frozen=True, eq=False, slots=True)
class MediationPaths:
    """The fitted system: values (R, 4) of a, b, nde, total; influence (R, 4, N), each unit's share in their errors.

    squares (R, 3, N): each unit's u'u, v'v, u'v, where u, v are the residuals of mediator and outcome on treatment and
    controls; totals (R, 2): m'm, y'y. alike (R, 4): variances of the values were all residuals of an equation alike,
    infinite of an outcome that is fitted without error: what is no more than rounding beside them is no variance.
    clusters (N,) of the errors, roots of the factors of the values' equations (4,).
    """

    values: Floats
    influence: Floats
    squares: Floats
    totals: Floats
    alike: Floats
    clusters: Codes
    roots: Floats

    @classmethod
    def fit(cls, system: System, rows: int, clusters: Codes, roots: Floats) -> MediationPaths:
        """Least squares of both equations; NaN where treatment, controls and mediator are collinear."""
        if system.z is not None:
            return cls._instrumented(system, system.z, rows, clusters, roots)
        m, y = spread(system.m, rows), spread(system.y, rows)
        bread = ols.invert(ols.gram(system.x))[0]
        to_mediator = ols.solved(bread, system.x, m)
        to_outcome = ols.solved(bread, system.x, y)
        u, v = ols.residual(m, system.x, to_mediator), ols.residual(y, system.x, to_outcome)
        squares = np.stack([(one * two).sum(axis=1) for one, two in ((u, u), (v, v), (u, v))], axis=1)
        uu, uv, mm = squares[:, 0].sum(axis=1), squares[:, 2].sum(axis=1), ols.sum_of_squares(m)
        uu = np.where(uu > ols.COLLINEAR * mm, uu, np.nan)
        a, total, b = to_mediator[:, -1], to_outcome[:, -1], uv / uu
        policy = np.matmul(bread[:, -1:], system.x.reshape(*system.x.shape[:2], -1)).reshape(-1, *m.shape[1:])
        on_a, on_total = (policy * u).sum(axis=1), (policy * v).sum(axis=1)
        on_b = (squares[:, 2] - b[:, None] * squares[:, 0]) / uu[:, None]
        on_nde = on_total - a[:, None] * on_b - b[:, None] * on_a
        own, rest = bread[:, -1, -1], _rest(v - b[:, None, None] * u, system.whole)
        alike = [own * uu, rest / uu, (own + a**2 / uu) * rest, own * squares[:, 1].sum(axis=1)]
        return cls(
            values=np.stack([a, b, total - a * b, total], axis=1),
            influence=np.stack([on_a, on_b, on_nde, on_total], axis=1),
            squares=squares,
            totals=np.stack([mm, ols.sum_of_squares(y)], axis=1),
            alike=np.stack(alike, axis=1) / m[0].size,
            clusters=clusters,
            roots=roots,
        )

    @classmethod
    def _instrumented(cls, system: System, z: Floats, rows: int, clusters: Codes, roots: Floats) -> MediationPaths:
        """2SLS of the outcome; NaN where instruments are collinear with the others or do not move the mediator."""
        m, y = spread(system.m, rows), spread(system.y, rows)
        both, k = joined(system.x, z), system.x.shape[1]
        bread, alone = ols.invert(ols.gram(both))[0], ols.invert(ols.gram(system.x))[0]
        first = ols.solved(bread, both, m)
        own = ols.residual(m, both, first)  # of the mediator's equation
        u = ols.residual(m, system.x, ols.solved(alone, system.x, m))
        v = ols.residual(y, system.x, ols.solved(alone, system.x, y))
        r = u - own
        moved, whole = ols.sum_of_squares(r), ols.sum_of_squares(u)
        moved = np.where(moved > ols.ROUNDING * whole, moved, np.nan)
        b = ols.dot(r, v) / moved
        e = v - b[:, None, None] * u
        of_a = ols.influences(bread, both)[:, k - 1]
        on_a = (of_a * own).sum(axis=1)
        policy = ols.influences(alone, system.x)[:, -1]
        a_0, t_0 = ols.dot(policy, m), ols.dot(policy, y)
        on_b = (r * e).sum(axis=1) / moved[:, None]
        on_nde = (policy * e).sum(axis=1) - a_0[:, None] * on_b
        a, nde = first[:, k - 1], t_0 - a_0 * b
        on_total = on_nde + a[:, None] * on_b + b[:, None] * on_a
        squares = np.stack([(one * two).sum(axis=1) for one, two in ((u, u), (v, v), (u, v))], axis=1)
        of_d, rest = ols.sum_of_squares(policy), _rest(e, system.whole)
        alike = [ols.sum_of_squares(of_a) * ols.sum_of_squares(own), rest / moved, (of_d + a_0**2 / moved) * rest]
        alike += [(of_d + (a - a_0) ** 2 / moved) * rest + b**2 * alike[0]]
        return cls(
            values=np.stack([a, b, nde, nde + a * b], axis=1),
            influence=np.stack([on_a, on_b, on_nde, on_total], axis=1),
            squares=squares,
            totals=np.stack([ols.sum_of_squares(m), ols.sum_of_squares(y)], axis=1),
            alike=np.stack(alike, axis=1) / m[0].size,
            clusters=clusters,
            roots=roots,
        )

    @property
    def jacobian(self) -> Floats:
        """Derivatives of TERMS with respect to a, b, nde, total, (R, 6, 4); the proportion's as a b / total."""
        a, b, _, total = self.values.T
        out = np.zeros((len(a), len(TERMS), 4))
        out[:, [0, 1, 2, 4], [0, 1, 2, 3]] = 1.0
        out[:, 3, 0], out[:, 3, 1] = b, a
        out[:, 5, 0], out[:, 5, 1], out[:, 5, 3] = b / total, a / total, -a * b / total**2
        return out

    @property
    def covariance(self) -> Floats:
        """Clustered covariance of a, b, nde, total, (R, 4, 4), NaN of those whose variance is rounding."""
        shares = sums_within(self.influence, self.clusters) * self.roots[:, None]
        found = np.matmul(shares, shares.transpose(0, 2, 1))
        none = np.diagonal(found, axis1=1, axis2=2) <= DEGENERATE * self.alike
        return np.where(none[:, :, None] | none[:, None, :], np.nan, found)

    def indirect(self, rho: Floats) -> tuple[Floats, Floats]:
        """`indirect_at` each of rho (J,) and its clustered error by the delta method, (R, J) each.

        nie = a g with g = (u'v - rho q) / u'u and q^2 = (u'u v'v - (u'v)^2) / (1 - rho^2); g does not change with the
        scale of the three sums, so that its derivatives times each unit's share of them sum to zero.
        """
        uu, vv, uv = self.squares.sum(axis=2).T[:, :, None]
        q = np.sqrt((uu * vv - uv**2) / (1 - rho**2))
        g, slope = (uv - rho * q) / uu, rho / (q * (1 - rho**2))
        gradient = np.stack([-(g / uu + slope * vv / (2 * uu)), -slope / 2, (1 + slope * uv) / uu], axis=2)
        on_g = np.matmul(gradient, self.squares) * self.roots[1]
        a, on_a = self.values[:, :1], self.influence[:, :1] * self.roots[0]
        shares = sums_within(a[:, :, None] * on_g + g[:, :, None] * on_a, self.clusters)
        none = np.isnan(self.covariance[:, :2, :2]).any(axis=(1, 2))
        return a * g, np.where(none[:, None], np.nan, np.sqrt(np.vecdot(shares, shares)))

    def sensitivity(self) -> dict[str, Floats]:
        """What `indirect_at` needs and where it is zero, (R,) each."""
        uu, vv, uv = self.squares.sum(axis=2).T
        rho = uv / np.sqrt(uu * vv)
        unexplained = uu / self.totals[:, 0] * (vv - uv**2 / uu) / self.totals[:, 1]
        return {
            "rho_at_zero": rho,
            "r2_product_at_zero": rho**2,
            "r2_total_product_at_zero": rho**2 * unexplained,
            "sd_ratio": np.sqrt(vv / uu),
        }


def _rest(e: Floats, whole: Floats) -> Floats:
    """e'e (R,), infinite where it is rounding beside the outcome's squares, (1 or R,)."""
    squares = ols.sum_of_squares(e)
    return np.where(squares <= ols.EXACT * whole, np.inf, squares)


def indirect_at(rho: Floats, a: Floats, rho_at_zero: Floats, sd_ratio: Floats) -> Floats:
    """The indirect effect if the errors of the two equations correlated by rho; shapes broadcast.

    With s_u, s_v the residuals' standard deviations and r their correlation, u'v and v'v are those of v = b u + e under
    any rho = corr(u, e): r s_v = b s_u + rho s_e and s_v^2 (1 - r^2) = s_e^2 (1 - rho^2). So
    a b = a (s_v / s_u) (r - rho sqrt((1 - r^2) / (1 - rho^2))) (Imai, Keele and Yamamoto 2010), least
    squares at rho = 0 and zero at rho = r: `rho_at_zero`; `sd_ratio` is s_v / s_u. A confounder that explains shares
    R2_m and R2_y of what the equations leave unexplained makes rho^2 = R2_m R2_y (one that is constant in a unit
    or common to a period is absorbed and does no harm): `r2_product_at_zero` is r^2, and
    `r2_total_product_at_zero` r^2 (1 - R2 of M) (1 - R2 of Y), the same in shares of all variation within.
    """
    return np.asarray(a * sd_ratio * (rho_at_zero - rho * np.sqrt((1 - rho_at_zero**2) / (1 - rho**2))))


def bootstrap(system: System, clusters: Codes, draws: int, streams: Streams) -> Floats:
    """(a, b, nde) in samples of whole clusters with replacement, (R, draws, 3); NaN where not identified."""
    groups, instruments = int(clusters.max()) + 1, 0 if system.z is None else system.z.shape[1]
    out = np.empty((streams.replications, draws, 3))
    for row, generator in enumerate(streams.each("bootstrap")):
        picks = generator.integers(0, groups, size=(draws, groups))
        picks += groups * np.arange(draws)[:, None]
        counts = np.bincount(picks.ravel(), minlength=draws * groups).reshape(draws, groups).astype(np.float64)
        out[row] = weighted_paths(system.replication(row), counts[:, clusters], system.mask, instruments)
    return out


def weighted_paths(variables: Floats, weights: Floats, mask: Floats | None = None, instruments: int = 0) -> Floats:
    """(a, b, nde) of samples in which unit i stands w_i times, each copy with its own effect, (B, 3).

    variables (P, T, N): controls, treatment, so many instruments, mediator, outcome, each with mean zero within every
    unit; weights (B, N); mask (T, N) or None when balanced. Time effects are projected out anew in each sample: with
    h_t = sum_i w_i z_it,

        S(w) = sum_i w_i sum_t z_it z_it' - h' A(w)^+ h,  A(w) = sum_i w_i (diag(m_i) - m_i m_i' / n_i),

    where A(w)^+ h = h / sum_i w_i when balanced. Sums over units are matrix products over samples. In a panel with
    weights of its own variables are times their root r, mask is r, m_i is r_i^2, n_i its sum, and h_t is
    sum_i w_i r_it z_it.
    """
    p, t, n = variables.shape
    rows, columns = np.triu_indices(p)
    products = np.einsum("ptn,ptn->np", variables[rows], variables[columns])
    half = (weights @ products).T
    cross = np.empty((p, p, len(weights)))
    cross[rows, columns] = cross[columns, rows] = half
    pulled = variables if mask is None else variables * mask
    sums = (weights @ pulled.transpose(2, 1, 0).reshape(n, t * p)).reshape(-1, t, p)
    if mask is None:
        projected = sums / weights.sum(axis=1)[:, None, None]
    else:  # by A(w) of every sample, (B, T, T)
        seen = np.square(mask)
        total = seen.sum(axis=0)
        pairs = np.einsum("sn,tn->nst", seen / np.where(total > 0, total, 1.0), seen)
        matrices = -(weights @ pairs.reshape(n, t * t)).reshape(-1, t, t)
        matrices[:, np.arange(t), np.arange(t)] += weights @ seen.T
        projected = np.matmul(np.linalg.pinv(matrices, rcond=1e-10, hermitian=True), sums)
    cross -= np.matmul(sums.transpose(0, 2, 1), projected).transpose(1, 2, 0)
    scale = half[np.flatnonzero(rows == columns)]
    return _eliminated_with(cross, scale, instruments) if instruments else _eliminated(cross, scale)


@np.errstate(divide="ignore", invalid="ignore")
def _eliminated(cross: Floats, scale: Floats) -> Floats:
    """(a, b, nde), (B, 3), from cross products (P, P, B), variables eliminated one by one, the outcome last."""
    p = len(cross)
    ratios = []
    for j in range(p - 1):
        pivot = np.where(cross[j, j] > ols.COLLINEAR * scale[j], cross[j, j], np.nan)
        ratios.append(cross[j, j + 1 :] / pivot)
        cross[j + 1 :, j + 1 :] -= cross[j, j + 1 :, None] * ratios[-1]
    (a, total), (b,) = ratios[-2:]
    return np.stack([a, b, total - a * b], axis=1)


@np.errstate(divide="ignore", invalid="ignore")
def _eliminated_with(cross: Floats, scale: Floats, instruments: int) -> Floats:
    """The same by 2SLS: the `instruments` variables before the mediator are eliminated last but two.

    What each of them takes from the products of mediator and outcome sums to r'u and r'v.
    """
    last = len(cross) - 2
    first = last - instruments
    own = np.zeros((2, scale.shape[1]))  # r'u and r'v
    coefficients = np.empty(0)
    for j in range(last):
        pivot = np.where(cross[j, j] > ols.COLLINEAR * scale[j], cross[j, j], np.nan)
        ratio = cross[j, j + 1 :] / pivot
        if j == first - 1:
            coefficients = ratio.copy()  # of the treatment, in instruments, mediator, outcome
            a_0, t_0 = coefficients[-2].copy(), coefficients[-1].copy()
        elif j >= first:
            own += ratio[-2] * cross[j, last:]
            coefficients[j - first + 1 :] -= ratio * coefficients[j - first]
        cross[j + 1 :, j + 1 :] -= cross[j, j + 1 :, None] * ratio
    b = own[1] / own[0]
    return np.stack([coefficients[-2], b, t_0 - a_0 * b], axis=1)


def terms_of(a: Floats, b: Floats, nde: Floats, total: Floats) -> Floats:
    """TERMS along a new last axis."""
    return np.stack([a, b, nde, a * b, total, a * b / total], axis=-1)


def correlations(covariance: Floats) -> tuple[Floats, Floats]:
    """Correlations (R, K, K), zero between constants, and standard deviations (R, K)."""
    sd = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    outer = sd[:, :, None] * sd[:, None, :]
    return np.where(outer == 0.0, 0.0, covariance / np.where(outer == 0.0, 1.0, outer)), sd


def root_of(covariance: Floats) -> Floats:
    """Upper triangular L' with L L' = covariance, (R, K, K); a variate without variance of its own gets a zero row."""
    correlation, sd = correlations(covariance)
    size = correlation.shape[-1]
    lower = np.zeros_like(correlation)
    for j in range(size):
        left = correlation[:, j:, j] - np.matmul(lower[:, j:, :j], lower[:, j, :j, None])[:, :, 0]
        pivot = np.sqrt(np.maximum(left[:, :1], 0.0))
        lower[:, j:, j] = np.where(pivot > 1e-8, left / np.maximum(pivot, 1e-8), 0.0)
    return np.asarray((lower * sd[:, :, None]).transpose(0, 2, 1))


STATISTICS = ("rho_at_zero", "r2_product_at_zero", "r2_total_product_at_zero", "sd_ratio", "corr_ab")
STRENGTH = ("kp_f", "effective_f", "effective_f_critical")  # of instruments
STORED = ("pvalue", "lower", "upper")
LEVEL = 0.05  # of percentile intervals


@dataclass(frozen=True, slots=True, repr=False)
class Mediation(Estimator):
    """The effect of the treatment through one mediator and beside it, both equations with unit and time effects.

    Terms: a (treatment on mediator), b (mediator on outcome), nde = c', nie = a b, total, proportion = nie / total.
    mediator: None = the panel's first. outcome, regressors: names; None = the panel's own roles; the panel's treatment
    must be among the regressors. errors: any of

    - delta: the stacked sandwich of all equations, clustered, so with the covariance of a and b; t with G - 1 degrees;
    - sobel: for nie sqrt(a^2 var b + b^2 var a) with the same variances, a and b taken as independent; none for the
      proportion; else as delta;
    - monte-carlo: `draws` of (a, b, c') from their joint normal distribution with the covariance of delta;
    - bootstrap:unit, bootstrap:ATTRIBUTE: `draws` samples of whole clusters, each copy with a unit effect of its own.
      Samples in which the system is not identified are left out.

    The last two have percentile intervals at 95%, from the c-th of B ordered draws to the c-th from above, c =
    floor(.025 (B + 1)), endless when that is 0; p = 2 min(1 + #(draws <= 0), 1 + #(draws >= 0)) / (B + 1), which
    rejects at 5% exactly where the interval excludes 0; and se = sd of the draws. B counts the draws that are kept.
    cluster: unit or an attribute, of delta, sobel and monte-carlo. Each equation has the factor of its own regression,
    G/(G-1) (n-1)/(n-k), k as cluster_k says.
    draws: of monte-carlo and of the bootstrap. cluster_k: as in `did`. label: its name in tables. instruments: of the
    mediator in the outcome's equation, which is then 2SLS; they are regressors of the mediator's own equation.

    Where the panel has a weight, all equations are weighted by it, as in `did`, those of 2SLS too.

    Statistics, with instruments: kp_f, effective_f, effective_f_critical as in `iv`, clustered by `cluster`, and
    corr_ab; without: rho_at_zero, r2_product_at_zero, r2_total_product_at_zero and sd_ratio as `indirect_at` says;
    corr_ab, the correlation of the estimates of a and b under delta.

    >>> import panelproof as pp
    >>> found = pp.Mediation()(pp.example_panel().panel)
    >>> print(f"{found.params['nie']:.3f} ({found.std_errors['nie']:.3f})")
    0.002 (0.001)
    """

    kind: ClassVar[str] = "mediation"
    weight_use: ClassVar[WeightUse] = "used"
    # home: the `paper` design without spillovers and without confounding of the mediator
    home: ClassVar[Home] = (Paper(), ("b", "nde", "nie", "total"))

    mediator: str | None = None
    outcome: str | None = None
    regressors: tuple[str, ...] | None = None
    errors: tuple[str, ...] = ("delta", "sobel", "monte-carlo")
    draws: int = 999
    cluster: str = "unit"
    cluster_k: ClusterK = "nonnested"
    label: str = "mediation"
    instruments: tuple[str, ...] = field(default=(), metadata={LATER: True})

    def layout(self, schema: Schema) -> Layout:
        """Six terms; b is held to the mediator's coefficient, the effects to their natural namesakes and the ATT.

        Where the panel has further mediators, the indirect effect is that through this one, and the rest is direct.
        """
        outcome, mediator, regressors = self._names(schema)
        check_names(schema, outcome, (*regressors, mediator), self.label)
        if self.instruments:
            self._second_stage(schema).layout(schema)
        check_error_types(self.errors, schema, self.label, "mediation")
        if not served(f"bootstrap:{self.cluster}", schema.attributes, "mediation"):
            raise bad(f"cluster = {self.cluster!r}", where=self.label,
                      allowed=one_of(("unit", *schema.attributes), self.cluster),
                      remedy=closest(self.cluster, ("unit", *schema.attributes), "choose one of them"))  # fmt: skip
        if self.draws < 99:
            raise bad(f"draws = {self.draws}", where=self.label, allowed="99 or more (999 is a good choice)",
                      remedy="draw more")  # fmt: skip
        self.weight(schema)

        of = f"({mediator})" if len(schema.roles.mediators) > 1 else ""
        effects = {"nde": f"nde{of}", "nie": f"nie{of}", "total": "att"}
        targets = {"b": f"beta({mediator})"}
        targets |= {term: of_a_dose(schema, effect) for term, effect in effects.items()}
        drawn = any(error == "monte-carlo" or error.startswith("bootstrap:") for error in self.errors)
        statistics = (*STRENGTH, "corr_ab") if self.instruments else STATISTICS
        return Layout(TERMS, self.errors, statistics, targets, STORED if drawn else ())

    def variables(self, schema: Schema) -> frozenset[str]:
        """Outcome, mediator, regressors and instruments, and the weights."""
        outcome, mediator, regressors = self._names(schema)
        return frozenset((outcome, mediator, *regressors, *self.instruments, *self.weight(schema)))

    def used(self, panel: Panel) -> Panel:
        """Without singletons, as both equations alone."""
        return without_singletons(panel, ("unit", "period"))

    @np.errstate(divide="ignore", invalid="ignore")  # a degenerate draw is NaN with a status
    def __call__(self, panel: Panel, streams: Streams | None = None) -> Estimates:
        """Fit R panels; raises BadInput for regressors that the effects absorb and for fewer than two clusters."""
        layout, panel = self.layout(panel.schema), self.used(panel)
        system, paths = self.fitted(panel)
        rows, covariance = panel.replications, paths.covariance
        streams = (streams or Streams(0)).rows(rows)
        answers = []
        for error in self.errors:
            if error.startswith("bootstrap:"):
                own = _clusters(error.removeprefix("bootstrap:"), panel, self.label)
                answers.append(MediatedEffects.from_draws(bootstrap(system, own, self.draws, streams), paths))
            elif error == "monte-carlo":
                normals = streams.normals("monte-carlo", self.draws, 3)
                path_draws = paths.values[:, None, :3] + normals @ root_of(covariance[:, :3, :3])
                answers.append(MediatedEffects.from_draws(path_draws))
            else:
                answers.append(MediatedEffects.analytic(paths, covariance, sobel=error == "sobel"))
        stored = {name: np.stack([getattr(item, name) for item in answers], axis=1) for name in layout.stored}
        se = np.stack([item.se for item in answers], axis=1)
        dof = np.stack([np.full((rows, len(TERMS)), item.dof) for item in answers], axis=1)
        sound = np.isfinite(paths.values).all(axis=1)  # the proportion of a total of zero is infinite
        status = status_where(sound)
        found = self._second_stage(panel.schema)(panel).statistics if self.instruments else paths.sensitivity()
        statistics = {**found, "corr_ab": correlations(covariance)[0][:, 0, 1]}
        return Estimates.of(layout, terms_of(*paths.values.T), se, dof, statistics, status=status, **stored)

    @np.errstate(divide="ignore", invalid="ignore")
    def sensitivity(self, panel: Panel, rho: Floats) -> tuple[Floats, Floats]:
        """nie and its standard error if the equations' errors correlate by each of rho (J,) in (-1, 1): (R, J) each.

        The formula is `indirect_at`'s, the error the delta method's over a, u'u, v'v and u'v, clustered as `cluster`
        says with the factors of a and b; at rho = 0 it is that of "delta". Raises BadInput with instruments.
        """
        self.layout(panel.schema)
        if self.instruments:
            raise bad("sensitivity of a mediator that has instruments", where=self.label, allowed="least squares",
                      remedy="leave instruments out")  # fmt: skip
        return self.fitted(panel)[1].indirect(rho)

    def fitted(self, panel: Panel) -> tuple[System, MediationPaths]:
        """R panels without effects, and their paths; raises BadInput as a fit does."""
        outcome, mediator, regressors = self._names(panel.schema)
        panel = self.used(panel)
        ols.check_fixed(panel, (*regressors, mediator), self.label)
        if self.instruments:
            self._second_stage(panel.schema).prepare(panel)

        # the demeaned variables; NaN where the effects absorb a regressor or the mediator
        tile = Tile(panel, weighted=True)
        x = ols.stack([tile.within(name) for name in regressors])
        m, y = tile.within(mediator), tile.within(outcome)
        x[ols.any_absorbed(tile, regressors, np.square(x).sum(axis=(2, 3)))] = np.nan
        none = ols.any_absorbed(tile, (mediator,), ols.sum_of_squares(m)[:, None])
        z = ols.stack([tile.within(name) for name in self.instruments]) if self.instruments else None
        mask = tile.transform.mask if tile.root is None else tile.root
        m = np.where(none[:, None, None], np.nan, m)
        system = System(x, m, y, tile.total_sum_of_squares(outcome), z, mask)

        # square roots of the small-sample factors of a, b, nde, total
        clusters, effects = _clusters(self.cluster, panel, self.label), tile.transform.effects
        units = len(panel.units) if panel.observed is None else int(panel.observed[0].any(axis=0).sum())
        beside = {"slopes": 0, "nonnested": effects - units + 1, "all": effects}[self.cluster_k]
        k, instruments = len(regressors), len(self.instruments)
        total = k + 1 if instruments else k  # of 2SLS the sum of what both equations say
        slopes = np.array([k + instruments, k + 1, k + 1, total])
        groups, n = clusters.max() + 1, panel.nobs
        roots = np.asarray(np.sqrt(groups / (groups - 1) * (n - 1) / (n - slopes - beside)))
        return system, MediationPaths.fit(system, panel.replications, clusters, roots)

    def _names(self, schema: Schema) -> tuple[str, str, tuple[str, ...]]:
        """Outcome, mediator, and regressors with the treatment last."""
        mediator = self.mediator or next(iter(schema.roles.mediators), None)
        if mediator is None:
            free = [name for name in schema.variables if name not in (schema.roles.outcome, *schema.roles.regressors)]
            remedy = 'name one, or choose a design that draws one: paper does, except with spillover = "error"'
            allowed = one_of(free) if free else "a variable other than outcome, treatment and controls"
            raise bad("no mediator is named, and the panel has none", where=self.label, allowed=allowed, remedy=remedy)
        regressors = schema.roles.regressors if self.regressors is None else self.regressors
        treatment = schema.roles.treatment
        if treatment is None or treatment not in regressors:
            what = "the panel has no treatment" if treatment is None else f"{treatment!r} is not among the regressors"
            raise bad(what, where=self.label, allowed="a treatment that affects the mediator",
                      remedy="name one")  # fmt: skip
        controls = tuple(name for name in regressors if name != treatment)
        outcome = outcome_of(self.outcome, schema, self.label)
        return outcome, mediator, (*controls, treatment)

    def _second_stage(self, schema: Schema) -> PanelIV:
        """2SLS of the outcome on mediator, treatment and controls, whose tests are of the mediator's instruments."""
        outcome, mediator, regressors = self._names(schema)
        error = f"cluster:{self.cluster}"
        return PanelIV(outcome, regressors, (mediator,), self.instruments, (error,), error, self.cluster_k,
                       label=self.label)  # fmt: skip


@dataclass(frozen=True, eq=False, slots=True)
class MediatedEffects(NullTests):
    """What one error type says, (R, 6) each: tests, NaN where they follow from se and dof."""

    se: Floats
    dof: float

    @classmethod
    def analytic(cls, paths: MediationPaths, covariance: Floats, *, sobel: bool) -> MediatedEffects:
        """The delta method, NaN of what rests on a path without variance; Sobel's error has no proportion."""
        none = np.isnan(np.diagonal(covariance, axis1=1, axis2=2))
        covariance = np.where(np.isnan(covariance), 0.0, covariance)
        if sobel:
            covariance[:, 0, 1] = covariance[:, 1, 0] = 0.0
        jacobian = paths.jacobian
        variance = np.matmul(np.matmul(jacobian, covariance) * jacobian, np.ones((4, 1)))[:, :, 0]
        se = np.sqrt(np.where((none[:, None] & (jacobian != 0)).any(axis=2), np.nan, variance))
        if sobel:
            se[:, TERMS.index("proportion")] = np.nan
        nothing = np.full(se.shape, np.nan)
        return cls(nothing, nothing, nothing, se, float(paths.clusters.max()))  # G - 1

    @classmethod
    def from_draws(cls, draws: Floats, paths: MediationPaths | None = None) -> MediatedEffects:
        """Percentile intervals from draws of (a, b, nde), (R, B, 3); draws with NaN are left out.

        The interval's ends are the floor(LEVEL / 2 (B + 1))-th draws from below and from above; too few draws exclude
        nothing. paths: those of the panel, beside which all is NaN where the draws are one up to rounding: of two
        clusters, say, that are not identified alone.
        """
        a, b, nde = draws.transpose(2, 0, 1)
        ordered = np.sort(terms_of(a, b, nde, nde + a * b), axis=1)
        known = ~np.isnan(ordered)
        count = known.sum(axis=1)
        mean = np.where(known, ordered, 0.0).sum(axis=1) / count
        squares = np.square(np.where(known, ordered - mean[:, None], 0.0)).sum(axis=1)
        below, above = (ordered <= 0).sum(axis=1), (ordered >= 0).sum(axis=1)
        pvalue = np.minimum(2 * (1 + np.minimum(below, above)) / (1 + count), 1.0)
        pvalue = np.where(count > 0, pvalue, np.nan)
        se = np.sqrt(squares / np.maximum(count - 1, 0))

        tail = np.floor(np.round((count + 1) * (LEVEL / 2), 9)).astype(np.intp)
        places = (np.maximum(tail, 1), np.minimum(count + 1 - tail, ordered.shape[1]))
        ends = [np.take_along_axis(ordered, place[:, None] - 1, axis=1)[:, 0] for place in places]
        endless = np.where(count > 0, np.inf, np.nan)
        lower, upper = np.where(tail > 0, ends[0], -endless), np.where(tail > 0, ends[1], endless)

        if paths is not None:
            jacobian = paths.jacobian
            alike = np.where(jacobian == 0, 0.0, np.square(jacobian) * paths.alike[:, None]).sum(axis=2)
            told = np.square(se) > DEGENERATE * alike
            pvalue, lower, upper, se = (np.where(told, values, np.nan) for values in (pvalue, lower, upper, se))
        return cls(pvalue, lower, upper, se, np.inf)


def _clusters(cluster: str, panel: Panel, asked_by: str) -> Codes:
    """Cluster of each unit, (N,), numbered from 0; raises BadInput for fewer than two.

    Units that are never observed, which count for nothing, are put to the first that is.
    """
    names: NDArray[Any] = np.arange(len(panel.units)) if cluster == "unit" else panel.attributes[cluster]
    if panel.observed is not None:
        seen = panel.observed[0].any(axis=0)
        names = np.where(seen, names, names[seen.argmax()])
    codes = np.unique(names, return_inverse=True)[1]
    check_two_clusters(cluster, int(codes.max()) + 1, asked_by)
    return np.asarray(codes)
