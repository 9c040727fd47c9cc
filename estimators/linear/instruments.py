"""Two-stage least squares on arrays: both stages, and what the first stage and the reduced form say of instruments.

Variables come without effects: outcome y, L endogenous regressors d, K controls w, M instruments z. y and d on (w, z)
are the reduced form and the first stages; their coefficients of z are stacked, y first. All tests rest on these
coefficients, their residuals, and a covariance matrix of one error type (Anderson and Rubin 1949; Kleibergen and Paap
2006; Montiel Olea and Pflueger 2013; Andrews, Stock and Sun 2019).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import chndtrix

from estimators.core import regression as ols
from estimators.core.regression import flat, gram
from estimators.linear.covariances import ScoreSum, cancelled
from estimators.linear.influence import SUMMED, meat
from sim.arrays import Flags, Floats

LEVEL = 0.05  # of confidence sets and of the test of weak instruments
TOLERATED = 0.10  # tau: bias of 2SLS, as a share of its worst case, that counts as weak
UNKNOWN, EMPTY, INTERVAL, RAYS, LINE = range(-1, 4)  # shapes of a confidence set
SHAPES = ("empty", "interval", "two rays", "whole line")


@dataclass(frozen=True, eq=False, slots=True)
class Instrumented:
    """Variables without effects: y (R, T, N), d (R, L, T, N), w (1 or R, K, T, N), z (1 or R, M, T, N)."""

    y: Floats
    d: Floats
    w: Floats
    z: Floats


def joined(*columns: Floats) -> Floats:
    """Columns (1 or R, K, T, N) side by side."""
    rows = max(len(part) for part in columns)
    return np.concatenate([np.broadcast_to(part, (rows, *part.shape[1:])) for part in columns], axis=1)


@dataclass(frozen=True, eq=False, slots=True)
class ReducedForms:
    """y and d on controls and instruments: coefficients of the instruments (R, 1 + L, M), y first, and residuals
    (R, 1 + L, T, N). psi (1 or R, M, T, N): influence of residuals on these coefficients. spread (1 or R, M, M): cross
    products of the instruments without controls."""

    coefficients: Floats
    residuals: Floats
    psi: Floats
    spread: Floats

    @classmethod
    def fit(cls, system: Instrumented) -> ReducedForms:
        """NaN where controls and instruments are collinear."""
        exogenous, controls = joined(system.w, system.z), system.w.shape[1]
        bread = ols.invert(gram(exogenous))[0]
        outcomes, rows = joined(system.y[:, None], system.d), flat(exogenous)
        slopes = np.matmul(np.matmul(flat(outcomes), rows.transpose(0, 2, 1)), bread)
        residuals = outcomes - np.matmul(slopes, rows).reshape(outcomes.shape)
        psi = ols.influences(bread, exogenous)[:, controls:]
        return cls(slopes[:, :, controls:], residuals, psi, ols.invert(bread[:, controls:, controls:])[0])

    @property
    def first(self) -> Floats:
        """First-stage coefficients, (R, M, L)."""
        return self.coefficients[:, 1:].transpose(0, 2, 1)


def stacked_covariance(
    psi: Floats, residuals: Floats, error: str, total: ScoreSum | None, factor: float, free: int
) -> Floats:
    """Covariance of M coefficients in each of J regressions on the same regressors, stacked, (R, J M, J M).

    psi (1 or R, M, T, N), residuals (R, J, T, N). Independent errors: E'E/free x psi psi'; else the sum of products of
    psi_it e_it times `factor`.
    """
    r, j, m = residuals.shape[0], residuals.shape[1], psi.shape[1]
    if error == "iid" or total is None:
        both = (gram(residuals) / free)[:, :, None, :, None] * gram(psi)[:, None, :, None, :]
        return np.reshape(both, (r, j * m, j * m))
    scores = (residuals[:, :, None] * psi[:, None]).reshape(r, j * m, *psi.shape[2:])
    if total.floors or (total.kind != "hc1" and total.kind not in SUMMED):
        return total.matrix(scores, np.ones((r, *psi.shape[2:])))[0] * factor
    sums = meat(total, scores)
    alike = np.square(residuals).mean(axis=(2, 3))[:, :, None] * np.square(psi).sum(axis=(2, 3))[:, None]
    rounding = cancelled(np.diagonal(sums, axis1=1, axis2=2), scores, alike.reshape(r, j * m))
    return np.where(rounding[:, :, None] | rounding[:, None, :], np.nan, sums) * factor


def two_stages(system: Instrumented, forms: ReducedForms) -> tuple[Floats, Floats, Floats, Floats]:
    """2SLS: fitted regressors (R, L + K, T, N), their (X'X)^-1, coefficients (R, L + K), residuals u (R, T, N) with the
    endogenous regressors themselves; NaN where the instruments move no endogenous regressor, or move several alike."""
    fitted = system.d - forms.residuals[:, 1:]
    x = joined(fitted, system.w)
    cross, moved = gram(x), np.matmul(forms.first.transpose(0, 2, 1), np.matmul(forms.spread, forms.first))
    left = np.diagonal(moved, axis1=1, axis2=2)
    whole = np.square(flat(system.d)).sum(axis=2)
    cross[(left <= ols.ROUNDING * whole).any(axis=1)] = np.nan
    bread = ols.invert(cross)[0]
    beta = ols.solved(bread, x, system.y)
    return x, bread, beta, ols.residual(system.y, joined(system.d, system.w), beta)


# Strength of the instruments.


def wald(coefficients: Floats, covariance: Floats) -> Floats:
    """b' V^-1 b, (R,), of b (R, M) and V (R, M, M); NaN where V is singular."""
    inverse = ols.invert(covariance)[0]
    return np.asarray(np.vecdot(coefficients, np.matmul(inverse, coefficients[:, :, None])[:, :, 0]))


def definite_wald(gap: Floats, variance: Floats) -> Floats:
    """d' V^-1 d, (R,), of d (R, K) and a difference of covariances V (R, K, K); NaN where it is not positive
    definite."""
    inverse = ols.definite_inverse(variance, ols.COLLINEAR)
    return np.asarray(np.vecdot(np.matmul(inverse, gap[:, :, None])[:, :, 0], gap))


def root_of(matrices: Floats) -> Floats:
    """Upper triangular G with G'G = matrix, (R, K, K); NaN where a matrix is not positive definite."""
    values = np.linalg.eigvalsh(np.where(np.isfinite(matrices).all(axis=(1, 2), keepdims=True), matrices, 0.0))
    sound = (values[:, 0] > 0)[:, None, None]
    roots = np.linalg.cholesky(np.where(sound, matrices, np.eye(matrices.shape[-1]))).transpose(0, 2, 1)
    return np.where(sound, roots, np.nan)


def rank_f(first: Floats, covariance: Floats, spread: Floats, errors: Floats) -> Floats:
    """The rank statistic of Kleibergen and Paap (2006) for L - 1 against L, over M, (R,).

    first (R, M, L), their covariance (R, L M, L M), spread (1 or R, M, M) = Z'Z, errors (R, L, L) = V'V. With G'G = Z'Z
    and F'F = (V'V)^-1 the last singular vectors U_2, v_2 of G Pi F' give lambda = U_2' G Pi F' v_2 and rk = lambda'
    var(lambda)^-1 lambda. With one endogenous regressor it is the Wald statistic of the instruments; with independent
    errors it is that of Cragg and Donald (1993).
    """
    _, m, count = first.shape
    if count == 1:
        return wald(first[:, :, 0], covariance) / m
    g, f = root_of(spread), root_of(ols.invert(errors)[0])
    theta = np.matmul(np.matmul(g, first), f.transpose(0, 2, 1))
    sound = np.isfinite(theta).all(axis=(1, 2))
    left, _, right = np.linalg.svd(np.where(sound[:, None, None], theta, 0.0))
    last = left[:, :, count - 1 :]
    to_rows = np.matmul(last.transpose(0, 2, 1), g)  # (R, M - L + 1, M)
    to_columns = np.matmul(right[:, -1:], f)  # (R, 1, L)
    both = (to_columns[:, 0, None, :, None] * to_rows[:, :, None, :]).reshape(len(first), m - count + 1, count * m)
    spreads = np.matmul(np.matmul(both, covariance), both.transpose(0, 2, 1))
    vector = np.matmul(np.matmul(last.transpose(0, 2, 1), theta), right[:, -1, :, None])[:, :, 0]
    return np.where(sound, wald(vector, spreads) / m, np.nan)


def effective_f(first: Floats, covariance: Floats, spread: Floats) -> tuple[Floats, Floats]:
    """The effective F of one endogenous regressor and its critical value, (R,) each (Montiel Olea and Pflueger 2013).

    first (R, M), covariance V (R, M, M), spread (1 or R, M, M) = Z'Z: F = pi' Z'Z pi / tr(V Z'Z). The critical value is
    that of a bias of `TOLERATED` in the worst case at level `LEVEL`, by their simplified, conservative formula, x =
    1/tau: the quantile of a noncentral chi-square with K_eff degrees of freedom and noncentrality x K_eff over K_eff,
    K_eff = tr(W)^2 (1 + 2 x) / (tr(W W) + 2 x tr(W) max eigenvalue of W), W = (Z'Z)^(1/2) V (Z'Z)^(1/2).
    """
    g = root_of(spread)
    w = np.matmul(np.matmul(g, covariance), g.transpose(0, 2, 1))
    sound = np.isfinite(w).all(axis=(1, 2))
    values = np.linalg.eigvalsh(np.where(sound[:, None, None], w, np.eye(w.shape[-1])))
    trace, x = values.sum(axis=1), 1 / TOLERATED
    f = np.vecdot(first, np.matmul(spread, first[:, :, None])[:, :, 0]) / trace
    freedom = trace**2 * (1 + 2 * x) / (np.square(values).sum(axis=1) + 2 * x * trace * values[:, -1])
    critical = chndtrix(1 - LEVEL, freedom, x * freedom) / freedom
    return np.where(sound, f, np.nan), np.where(sound, critical, np.nan)


# The confidence set of Anderson and Rubin.


@dataclass(frozen=True, eq=False, slots=True)
class ConfidenceSets:
    """Sets of R panels: shape (R,), see `SHAPES`; ends lower, upper (R,).

    Of an interval its ends; of two rays the ends of the gap between them, lower < upper; infinite of the whole line,
    NaN of the empty set, and of an unknown one.
    """

    shape: NDArray[np.intp]
    lower: Floats
    upper: Floats

    def holds(self, value: Floats | float) -> Flags:
        """Whether each set holds a value, (R,)."""
        inside = (self.lower <= value) & (value <= self.upper)
        outside = (value <= self.lower) | (value >= self.upper)
        return np.asarray(np.where(self.shape == RAYS, outside, inside | (self.shape == LINE)))

    def hull(self, rejected: Floats) -> tuple[Floats, Floats]:
        """Ends of the least interval that holds the set: infinite of two rays; of the empty set both are a value (R,)
        that every test rejects, so that the interval is a point beside it."""
        shapes = [self.shape == RAYS, self.shape == EMPTY]
        return np.select(shapes, [-np.inf, rejected], self.lower), np.select(shapes, [np.inf, rejected], self.upper)


@np.errstate(divide="ignore", invalid="ignore", over="ignore")
def anderson_rubin_set(coefficients: Floats, covariance: Floats, most: float) -> ConfidenceSets:
    """All b at which g(b)' V(b)^-1 g(b) <= most, with g(b) = pi_y - b pi_d and V(b) its covariance.

    coefficients (R, 2, M): of reduced form and first stage; covariance (R, 2 M, 2 M) of both. b is inside where B(b) =
    most V(b) - g(b) g(b)' = B_0 + b B_1 + b^2 B_2 is positive semidefinite. The ends are among the 2 M roots of
    det B(b) = 0, a quadratic eigenvalue problem; with one instrument, or independent errors, a quadratic equation has
    them. Between roots the statistic decides, far out that of the first stage. With several instruments and other
    errors the set may have more pieces; then the least interval, or all but the widest gap, stands for it.
    """
    r, m = coefficients.shape[0], coefficients.shape[2]
    unit = np.sqrt(
        np.trace(covariance[:, :m, :m], axis1=1, axis2=2) / np.trace(covariance[:, m:, m:], axis1=1, axis2=2)
    )
    pi_y, pi_d = coefficients[:, 0] / unit[:, None], coefficients[:, 1]
    yy, dd = covariance[:, :m, :m] / unit[:, None, None] ** 2, covariance[:, m:, m:]
    cross = covariance[:, :m, m:] / unit[:, None, None]
    cross = cross + cross.transpose(0, 2, 1)
    mixed = pi_y[:, :, None] * pi_d[:, None, :]
    zero = most * yy - pi_y[:, :, None] * pi_y[:, None, :]
    one = mixed + mixed.transpose(0, 2, 1) - most * cross
    two = most * dd - pi_d[:, :, None] * pi_d[:, None, :]
    sound = np.isfinite(zero + one + two).all(axis=(1, 2)) & (np.linalg.slogdet(np.nan_to_num(two))[0] != 0)
    zero, one, two = (np.where(sound[:, None, None], part, np.eye(m)) for part in (zero, one, two))
    companion = np.zeros((r, 2 * m, 2 * m))
    companion[:, :m, m:] = np.eye(m)
    companion[:, m:] = -np.linalg.solve(two, np.concatenate([zero, one], axis=2))
    roots = np.sort(np.linalg.eigvals(companion).real, axis=1)

    middle = (roots[:, 1:] + roots[:, :-1])[:, :, None] / 2
    spreads = yy[:, None] - middle[..., None] * cross[:, None] + middle[..., None] ** 2 * dd[:, None]
    apart = pi_y[:, None] - middle * pi_d[:, None]
    within = np.reshape(wald(apart.reshape(-1, m), spreads.reshape(-1, m, m)) <= most, middle.shape[:2])
    beyond = wald(pi_d, dd)
    sound, far, roots = sound & np.isfinite(beyond), beyond <= most, roots * unit[:, None]

    # from the sorted roots, whether the intervals between them are inside, and whether all beyond is
    rows = np.arange(r)
    first, last = within.argmax(axis=1), within.shape[1] - 1 - within[:, ::-1].argmax(axis=1)
    low, high = roots[rows, first], roots[rows, last + 1]
    gap_low, gap_high, start = np.full(r, np.nan), np.full(r, np.nan), roots[:, 0].copy()
    for column in range(within.shape[1]):  # the widest run of intervals that are outside
        start = np.where(within[:, column], roots[:, column + 1], start)
        wider = ~within[:, column] & ~(roots[:, column + 1] - start <= gap_high - gap_low)
        gap_low, gap_high = np.where(wider, start, gap_low), np.where(wider, roots[:, column + 1], gap_high)
    some, whole = within.any(axis=1), within.all(axis=1)
    shape = np.where(far, np.where(whole, LINE, RAYS), np.where(some, INTERVAL, EMPTY))
    shape = np.where(sound, shape, UNKNOWN)
    shapes = [shape == LINE, shape == RAYS, shape == INTERVAL]
    lower = np.select(shapes, [-np.inf, gap_low, low], np.nan)
    return ConfidenceSets(shape, lower, np.select(shapes, [np.inf, gap_high, high], np.nan))


# Validity and need of the instruments.


def sargan(forms: ReducedForms, u: Floats, nobs: int) -> Floats:
    """n u'P u / u'u with P the projection on the instruments without controls, (R,) (Sargan 1958)."""
    slopes = ols.inner(forms.psi, u)
    explained = np.vecdot(slopes, np.matmul(forms.spread, slopes[:, :, None])[:, :, 0])
    return np.asarray(nobs * explained / ols.sum_of_squares(u))


def hansen_j(forms: ReducedForms, covariance: Floats) -> Floats:
    """J of two-step GMM, (R,) (Hansen 1982): the least (pi_y - Pi b)' V^-1 (pi_y - Pi b) over b.

    covariance V (R, M, M): of the instruments' coefficients in the regression of the 2SLS residuals, without a
    small-sample factor.
    """
    inverse = ols.invert(covariance)[0]
    weighted = np.matmul(inverse, forms.first)
    bread = ols.invert(np.matmul(forms.first.transpose(0, 2, 1), weighted))[0]
    b = np.matmul(bread, np.matmul(weighted.transpose(0, 2, 1), forms.coefficients[:, 0, :, None]))
    left = forms.coefficients[:, 0] - np.matmul(forms.first, b)[:, :, 0]
    return np.asarray(np.vecdot(left, np.matmul(inverse, left[:, :, None])[:, :, 0]))
