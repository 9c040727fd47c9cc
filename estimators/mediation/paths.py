"""The two equations of a mediation on arrays: paths, their clustered covariance, bootstrap samples, sensitivity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from estimators.core import regression as ols
from estimators.core.tile import Tile, spread
from estimators.linear.covariances import membership
from sim.arrays import Codes, Floats
from sim.streams import Streams

TERMS = ("a", "b", "nde", "nie", "total", "proportion")


@dataclass(frozen=True, slots=True)
class Variables:
    """Names: outcome, mediator, and regressors with the treatment last."""

    outcome: str
    mediator: str
    regressors: tuple[str, ...]


@dataclass(frozen=True, eq=False, slots=True)
class System:
    """Variables without unit and time effects: x (1 or R, K, T, N) with the treatment last, m and y (1 or R, T, N)."""

    x: Floats
    m: Floats
    y: Floats

    @classmethod
    def of(cls, tile: Tile, names: Variables) -> System:
        """The demeaned variables of a tile; NaN where the effects absorb a regressor or the mediator."""
        x = ols.stack([tile.within(name) for name in names.regressors])
        m, y = tile.within(names.mediator), tile.within(names.outcome)
        x[ols.any_absorbed(tile, names.regressors, np.square(x).sum(axis=(2, 3)))] = np.nan
        none = ols.any_absorbed(tile, (names.mediator,), ols.sum_of_squares(m)[:, None])
        return cls(x, np.where(none[:, None, None], np.nan, m), y)

    def replication(self, row: int) -> Floats:
        """All variables of one panel: controls, treatment, mediator, outcome, (K + 2, T, N)."""
        x, m, y = (part[row if len(part) > 1 else 0] for part in (self.x, self.m, self.y))
        return np.concatenate([x, m[None], y[None]])


@dataclass(frozen=True, eq=False, slots=True)
class MediationPaths:
    """The fitted system: values (R, 4) of a, b, nde, total; influence (R, 4, N), each unit's share in their errors.

    squares (R, 3, N): each unit's u'u, v'v, u'v, where u, v are the residuals of mediator and outcome on treatment and
    controls; totals (R, 2): m'm, y'y.
    """

    values: Floats
    influence: Floats
    squares: Floats
    totals: Floats

    @classmethod
    def fit(cls, system: System, rows: int) -> MediationPaths:
        """Least squares of both equations; NaN where treatment, controls and mediator are collinear."""
        m, y = spread(system.m, rows), spread(system.y, rows)
        bread = ols.invert(ols.gram(system.x))[0]
        to_mediator = np.matmul(bread, ols.inner(system.x, m)[:, :, None])[:, :, 0]
        to_outcome = np.matmul(bread, ols.inner(system.x, y)[:, :, None])[:, :, 0]
        u, v = ols.residual(m, system.x, to_mediator), ols.residual(y, system.x, to_outcome)
        squares = np.stack([(one * two).sum(axis=1) for one, two in ((u, u), (v, v), (u, v))], axis=1)
        uu, uv, mm = squares[:, 0].sum(axis=1), squares[:, 2].sum(axis=1), ols.sum_of_squares(m)
        uu = np.where(uu > ols.COLLINEAR * mm, uu, np.nan)
        a, total, b = to_mediator[:, -1], to_outcome[:, -1], uv / uu
        policy = np.matmul(bread[:, -1:], system.x.reshape(*system.x.shape[:2], -1)).reshape(-1, *m.shape[1:])
        on_a, on_total = (policy * u).sum(axis=1), (policy * v).sum(axis=1)
        on_b = (squares[:, 2] - b[:, None] * squares[:, 0]) / uu[:, None]
        on_nde = on_total - a[:, None] * on_b - b[:, None] * on_a
        return cls(
            values=np.stack([a, b, total - a * b, total], axis=1),
            influence=np.stack([on_a, on_b, on_nde, on_total], axis=1),
            squares=squares,
            totals=np.stack([mm, ols.sum_of_squares(y)], axis=1),
        )

    @property
    def terms(self) -> Floats:
        """Estimates of TERMS, (R, 6)."""
        a, b, nde, total = self.values.T
        return terms_of(a, b, nde, total)

    @property
    def jacobian(self) -> Floats:
        """Derivatives of TERMS with respect to a, b, nde, total, (R, 6, 4); the proportion's as a b / total."""
        a, b, _, total = self.values.T
        out = np.zeros((len(a), len(TERMS), 4))
        out[:, [0, 1, 2, 4], [0, 1, 2, 3]] = 1.0
        out[:, 3, 0], out[:, 3, 1] = b, a
        out[:, 5, 0], out[:, 5, 1], out[:, 5, 3] = b / total, a / total, -a * b / total**2
        return out

    def covariance(self, clusters: Codes, roots: Floats) -> Floats:
        """Clustered covariance of a, b, nde, total, (R, 4, 4); clusters (N,), roots of the equations' factors (4,)."""
        shares = summed(self.influence, clusters) * roots[:, None]
        return np.asarray(np.matmul(shares, shares.transpose(0, 2, 1)))

    def indirect(self, rho: Floats, clusters: Codes, roots: Floats) -> tuple[Floats, Floats]:
        """`indirect_at` each of rho (J,) and its clustered error by the delta method, (R, J) each.

        nie = a g with g = (u'v - rho q) / u'u and q^2 = (u'u v'v - (u'v)^2) / (1 - rho^2); g does not change with the
        scale of the three sums, so that its derivatives times each unit's share of them sum to zero.
        """
        uu, vv, uv = self.squares.sum(axis=2).T[:, :, None]
        q = np.sqrt((uu * vv - uv**2) / (1 - rho**2))
        g, slope = (uv - rho * q) / uu, rho / (q * (1 - rho**2))
        gradient = np.stack([-(g / uu + slope * vv / (2 * uu)), -slope / 2, (1 + slope * uv) / uu], axis=2)
        on_g = np.matmul(gradient, self.squares) * roots[1]
        a, on_a = self.values[:, :1], self.influence[:, :1] * roots[0]
        shares = summed(a[:, :, None] * on_g + g[:, :, None] * on_a, clusters)
        return a * g, np.sqrt(np.vecdot(shares, shares))

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


def summed(shares: Floats, clusters: Codes) -> Floats:
    """Units' shares (R, K, N) summed over clusters (N,), (R, K, G)."""
    return np.asarray(np.matmul(shares, membership(clusters)))


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


def bootstrap(system: System, clusters: Codes, mask: Floats | None, draws: int, streams: Streams) -> Floats:
    """(a, b, nde) in samples of whole clusters with replacement, (R, draws, 3); NaN where not identified."""
    groups = int(clusters.max()) + 1
    out = np.empty((streams.replications, draws, 3))
    for row, generator in enumerate(streams.each("bootstrap")):
        picks = generator.integers(0, groups, size=(draws, groups))
        picks += groups * np.arange(draws)[:, None]
        counts = np.bincount(picks.ravel(), minlength=draws * groups).reshape(draws, groups).astype(np.float64)
        out[row] = weighted_paths(system.replication(row), counts[:, clusters], mask)
    return out


def weighted_paths(variables: Floats, weights: Floats, mask: Floats | None = None) -> Floats:
    """(a, b, nde) of samples in which unit i stands w_i times, each copy with its own effect, (B, 3).

    variables (P, T, N): controls, treatment, mediator, outcome, each with mean zero within every unit; weights (B, N);
    mask (T, N) or None when balanced. Time effects are projected out anew in each sample: with h_t = sum_i w_i z_it,

        S(w) = sum_i w_i sum_t z_it z_it' - h' A(w)^+ h,  A(w) = sum_i w_i (diag(m_i) - m_i m_i' / n_i),

    where A(w)^+ h = h / sum_i w_i when balanced. Sums over units are matrix products over samples.
    """
    p, t, n = variables.shape
    rows, columns = np.triu_indices(p)
    products = np.einsum("ptn,ptn->np", variables[rows], variables[columns])
    half = (weights @ products).T
    cross = np.empty((p, p, len(weights)))
    cross[rows, columns] = cross[columns, rows] = half
    sums = (weights @ variables.transpose(2, 1, 0).reshape(n, t * p)).reshape(-1, t, p)
    if mask is None:
        projected = sums / weights.sum(axis=1)[:, None, None]
    else:
        projected = np.matmul(np.linalg.pinv(_time_matrices(weights, mask), rcond=1e-10, hermitian=True), sums)
    cross -= np.matmul(sums.transpose(0, 2, 1), projected).transpose(1, 2, 0)
    return _eliminated(cross, half[np.flatnonzero(rows == columns)])


def _time_matrices(weights: Floats, mask: Floats) -> Floats:
    """A(w) of every sample, (B, T, T)."""
    t, n = mask.shape
    pairs = np.einsum("sn,tn->nst", mask / np.maximum(mask.sum(axis=0), 1.0), mask)
    matrices = -(weights @ pairs.reshape(n, t * t)).reshape(-1, t, t)
    matrices[:, np.arange(t), np.arange(t)] += weights @ mask.T
    return matrices


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
