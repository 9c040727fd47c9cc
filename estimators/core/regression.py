"""Least squares on demeaned arrays: cross products, residuals, robust variances, for fixed or redrawn regressors.

Regressors are (1 or R, K, T, N), outcomes (R, T, N). A leading 1 means the same regressors in every replication, and
then one matrix product serves the whole tile.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from estimators.core.tile import PanelEffects, Tile
from sim.arrays import Flags, Floats
from sim.errors import BadInput, Problem, listed
from sim.panel import Panel

ABSORBED = 1e-10  # share of a regressor's variation that survives demeaning, below which it counts as absorbed
ROUNDING = 1e-24  # share of its sum of squares below which what is left of a regressor is rounding
EXACT = 1e-20  # share of the outcome's total sum of squares below which residuals are rounding: the fit is exact
FEW = 6  # columns whose products one by one are faster than BLAS makes them together
TOGETHER = 8  # replications of one product with fixed regressors
COLLINEAR = 1e-9  # 1 / sum of variance inflation factors, below which regressors count as collinear


def stack(parts: list[Floats]) -> Floats:
    """Variables (1 or R, T, N) each -> regressors (1 or R, K, T, N)."""
    if not parts:
        return np.empty((1, 0, 0, 0))
    return np.ascontiguousarray(np.stack(np.broadcast_arrays(*parts), axis=1))


def flat(x: Floats) -> Floats:
    """Periods and units as one axis, (..., T, N) -> (..., T N)."""
    return x.reshape(*x.shape[: x.ndim - 2], x.shape[-2] * x.shape[-1])


def inner(x: Floats, y: Floats) -> Floats:
    """X'y, (R, K), in products of one shape: their bits are the same whatever the batch."""
    rows, outcomes = flat(x), flat(y)
    if x.shape[1] == 0:
        return np.zeros((y.shape[0], 0))
    if x.shape[0] > 1 or x.shape[1] == 1:
        return np.asarray(np.vecdot(rows, outcomes[:, None]))

    # A few replications at a time and always as many: BLAS repacks the factors of larger products, which takes longer.
    # The few rows come first: faster than y X.
    out = np.empty((len(outcomes), x.shape[1]))
    for start in range(0, len(outcomes), TOGETHER):
        some = outcomes[start : start + TOGETHER]
        if len(some) < TOGETHER:
            some = np.concatenate([some, np.zeros((TOGETHER - len(some), some.shape[1]))])
        out[start : start + TOGETHER] = (rows[0] @ some.T).T[: len(outcomes) - start]
    return out


def solved(bread: Floats, x: Floats, y: Floats) -> Floats:
    """(X'X)^-1 X'y, (R, K), of bread = (X'X)^-1, (1 or R, K, K)."""
    return np.asarray(np.matmul(bread, inner(x, y)[:, :, None])[:, :, 0])


def influences(bread: Floats, x: Floats) -> Floats:
    """psi = (X'X)^-1 x_it, by which each outcome moves each slope, of the shape of x, (1 or R, K, T, N)."""
    return np.reshape(np.matmul(bread, flat(x)), x.shape)


def gram(x: Floats) -> Floats:
    """X'X, (1 or R, K, K)."""
    rows = flat(x)
    if x.shape[1] > FEW:
        return np.asarray(rows @ rows.transpose(0, 2, 1))
    out = np.empty((*x.shape[:2], x.shape[1]))
    for k in range(x.shape[1]):
        out[:, k, k:] = out[:, k:, k] = np.vecdot(rows[:, k:], rows[:, k, None])
    return out


def sum_of_squares(x: Floats) -> Floats:
    """Sum of squares over T and N, (R,)."""
    return dot(x, x)


def dot(x: Floats, y: Floats) -> Floats:
    """Inner product over T and N, (R,)."""
    return np.asarray(np.vecdot(flat(x), flat(y)))


def squared_correlation(x: Floats, y: Floats) -> Floats:
    """Over all values of each panel, (R, ...) each -> (R,); NaN where one of them is constant."""
    x, y = x.reshape(x.shape[0], -1), y.reshape(y.shape[0], -1)
    x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.vecdot(x, y) ** 2 / (np.vecdot(x, x) * np.vecdot(y, y)))


def residual(y: Floats, x: Floats, beta: Floats) -> Floats:
    """y - X beta, (R, T, N)."""
    if x.shape[1] == 0:
        return y
    if x.shape[0] == 1:
        fitted = np.reshape(beta @ flat(x)[0], y.shape)
        return np.subtract(y, fitted, out=fitted)
    return y - np.reshape(np.matmul(beta[:, None, :], flat(x))[:, 0], y.shape)


def invert(matrices: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Inverses of cross products (R, K, K) and which of them are sound, (R,); the rest are NaN.

    Sound are those whose variance inflation factors, the diagonal of the inverse correlation matrix, are finite and sum
    to less than 1 / COLLINEAR; its smallest eigenvalue is then above COLLINEAR.
    """
    k = matrices.shape[-1]
    if k == 0:
        return matrices, np.ones(matrices.shape[0], dtype=bool)
    scale = np.sqrt(np.diagonal(matrices, axis1=-2, axis2=-1))
    outer = scale[:, :, None] * scale[:, None, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = matrices / outer
    correlation[~np.isfinite(correlation).all(axis=(1, 2))] = 1.0
    try:
        inverse = np.linalg.inv(correlation)
    except np.linalg.LinAlgError:
        singular = np.linalg.slogdet(correlation)[0] == 0
        inverse = np.linalg.inv(np.where(singular[:, None, None], np.eye(k), correlation))
        inverse[singular] = np.inf
    inflation = np.abs(np.diagonal(inverse, axis1=1, axis2=2)).sum(axis=1)
    sound = inflation < 1 / COLLINEAR
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse /= outer
    inverse[~sound] = np.nan
    return inverse, sound


def definite_inverse(matrices: Floats, least: float = 0.0) -> Floats:
    """Inverses of symmetric matrices (R, K, K), NaN where one is not positive definite: where no eigenvalue in units of
    the diagonal's roots may be `least` or less."""
    scale = np.sqrt(np.abs(np.diagonal(matrices, axis1=1, axis2=2)))
    scaled = matrices / (scale[:, :, None] * scale[:, None, :])
    finite = np.isfinite(scaled).all(axis=(1, 2))
    lowest = np.linalg.eigvalsh(np.where(finite[:, None, None], scaled, np.eye(scale.shape[1])))[:, 0]
    return invert(np.where((finite & (lowest > least))[:, None, None], matrices, np.nan))[0]


def absorbed(left: Floats, spread: Floats, total: Floats) -> NDArray[np.bool_]:
    """Whether effects absorb regressors, by sums of squares: demeaned, around the mean, and as they are."""
    return np.asarray((left <= ABSORBED * spread) | (left <= ROUNDING * total))


def absorbed_in(tile: Tile, names: tuple[str, ...], left: Floats) -> NDArray[np.bool_]:
    """Whether effects absorb each of some variables, of whose squares `left` (1 or R, K) are left, (1 or R, K)."""
    spread = np.broadcast_arrays(*(tile.total_sum_of_squares(name) for name in names))
    total = np.broadcast_arrays(*(tile.raw_sum_of_squares(name) for name in names))
    return absorbed(left, np.stack(spread, axis=1), np.stack(total, axis=1))


def any_absorbed(tile: Tile, names: tuple[str, ...], left: Floats) -> NDArray[np.bool_]:
    """Whether effects absorb one of some variables, (1 or R,)."""
    return absorbed_in(tile, names, left).any(axis=1)


ALLOWED = "variables that the effects do not absorb"
REMOVE = "remove it from treatment or controls"


@dataclass(frozen=True, eq=False, slots=True)
class RegressorColumn:
    """A regressor that no replication changes: name, what messages call it, observed and demeaned values, remedy."""

    name: str
    label: str
    raw: Floats
    within: Floats
    remedy: str = REMOVE


def check_fixed(panel: Panel, names: tuple[str, ...], asked_by: str) -> None:
    """Raise BadInput for regressors, the same in all replications, that unit and time effects absorb or that are
    collinear."""
    tile = Tile(panel)
    if problems := useless(fixed_columns(tile, names), asked_by):
        raise BadInput(*problems)


def fixed_columns(tile: Tile, names: tuple[str, ...], effects: PanelEffects = "two-way") -> list[RegressorColumn]:
    """Those of the variables that are the same in all replications."""
    seen = slice(None) if tile.transform.mask is None else tile.transform.mask > 0
    return [
        RegressorColumn(name, f"variable {name!r}", tile.raw(name)[:, seen], tile.within(name, effects))
        for name in names
        if tile.raw(name).shape[0] == 1
    ]


def useless(
    columns: Iterable[RegressorColumn], asked_by: str, *, two_way: bool = True, centred: bool = True
) -> list[Problem]:
    """What is wrong with columns that the effects absorb or that are collinear with those before them.

    two_way: whether the effects are those of units and time; centred: whether they, or a constant, take out the mean.
    """
    absorbed_by = "is absorbed by the unit and time effects" if two_way else "is absorbed by the effects"
    allowed = "variables that vary within units over time and differ between them" if two_way else ALLOWED
    problems = []
    kept: list[str] = []
    basis: list[Floats] = []
    for column in columns:
        around, total = (np.square(values).sum() for values in (column.raw - column.raw.mean(), column.raw))
        left = np.square(column.within).sum()
        if absorbed(left, around if centred else total, total):
            kind = "is constant" if around <= ROUNDING * total else absorbed_by
            problems.append(Problem(f"{column.label} {kind}", asked_by, allowed, column.remedy))
            continue
        vector = column.within.ravel() / np.sqrt(left)
        rest = vector - sum((b * (b @ vector) for b in basis), np.zeros_like(vector))
        if float(rest @ rest) <= COLLINEAR:
            problems.append(Problem(f"{column.label} is collinear with {listed(kept)} and the effects", asked_by,
                                    "linearly independent variables",
                                    "remove one of them" if column.remedy == REMOVE else column.remedy))  # fmt: skip
            continue
        basis.append(rest / np.sqrt(float(rest @ rest)))
        kept.append(column.name)
    return problems


# Propensity scores: the logit of belonging to a group on covariates.


MOST_STEPS = 50  # of Newton's method
STEP = 1e-12  # of the linear predictor, below which Newton's method has arrived
MOST_PENALISED, LONGEST = 1000, 5.0  # steps on a penalised likelihood, and their length in the linear predictor
LEAST_PART, ROUNDED = 1e-6, 1e-12  # of a step of a logit; of its log-likelihood


@dataclass(frozen=True, eq=False, slots=True)
class Logit:
    """A fitted logit: coefficient and se (1 + K,), the constant first; score (N,) = fitted probabilities; converged.

    ratio: the likelihood ratio statistic of all covariates, chi-squared with K degrees of freedom.
    """

    coefficient: Floats
    se: Floats
    score: Floats
    loglik: float
    converged: bool
    ratio: float

    @property
    def pseudo_r2(self) -> float:
        """1 - loglik / loglik of a constant alone (McFadden 1974)."""
        share = float(self.score.mean())  # the score equation of the constant: the mean of the outcome
        null = self.score.size * (share * np.log(share) + (1 - share) * np.log(1 - share))
        return 1.0 - self.loglik / float(null)


def _loglik(z: Floats, w: Floats, chosen: Flags, b: Floats) -> float:
    eta = z @ b
    return -float((w * np.logaddexp(0.0, np.where(chosen, -eta, eta))).sum())


def logit_or_firth(x: Floats, chosen: Flags) -> Logit:
    """The logit; where its likelihood has no maximum, the penalised one (not converged: collinear covariates)."""
    found = logit(x, chosen)
    return found if found.converged else logit(x, chosen, penalised=True)


def logit(x: Floats, chosen: Flags, weights: Floats | None = None, *, penalised: bool = False) -> Logit:
    """P(chosen) = 1 / (1 + exp(-b0 - x b)) by Newton's method (iteratively reweighted least squares).

    x (N, K), chosen (N,), weights (N,) of the log-likelihood, None = 1; errors from the information matrix. Not
    converged: collinear covariates, groups of one kind, or covariates that separate the groups, for which the
    likelihood has no maximum. penalised: by half the logarithm of the information's determinant, which always has one
    (Firth 1993; the ratio as in Heinze and Schemper 2002); without weights.
    """
    centre, scale = x.mean(axis=0), x.std(axis=0)
    failed = Logit(np.full(x.shape[1] + 1, np.nan), np.full(x.shape[1] + 1, np.nan), np.full(len(x), np.nan), np.nan,
                   converged=False, ratio=np.nan)  # fmt: skip
    varies = np.square(scale) > ROUNDING * np.square(x).mean(axis=0)
    if chosen.all() or not chosen.any() or not varies.all():
        return failed
    z = np.column_stack([np.ones(len(x)), (x - centre) / scale])
    w = np.ones(len(x)) if weights is None else weights
    b = np.zeros(z.shape[1])
    b[0] = np.log(chosen.mean() / (1 - chosen.mean()))
    for _ in range(MOST_PENALISED if penalised else MOST_STEPS):
        p = expit(z @ b)
        information, score = w * (p * (1 - p)), w * (chosen - p)
        inverse, sound = invert((z.T @ (z * information[:, None]))[None])
        if not sound[0]:
            return failed
        if penalised:
            score += information * np.einsum("ij,jk,ik->i", z, inverse[0], z) * (0.5 - p)
        step = inverse[0] @ (z.T @ score)
        arrived = np.abs(z @ step).max() < STEP
        if penalised:
            step *= LONGEST / max(np.abs(z @ step).max(), LONGEST)
        else:
            # half of it, and so on, until the log-likelihood, which is negative, is no smaller than before
            before, part = _loglik(z, w, chosen, b), 1.0
            while part > LEAST_PART and _loglik(z, w, chosen, b + part * step) < before * (1 + ROUNDED):
                part /= 2
            step *= part
        b = b + step
        if arrived:
            break
    else:
        return failed
    back = np.diag(np.r_[1.0, 1 / scale])
    back[0, 1:] = -centre / scale
    loglik, share = _loglik(z, w, chosen, b), float(w @ chosen / w.sum())
    even, gain = share, 0.0
    if penalised:  # a constant alone: as if (1 + K) / 2 more units were in each group
        even = float((w @ chosen + z.shape[1] / 2) / (w.sum() + z.shape[1]))
        gain = float(np.linalg.slogdet(z.T @ (z * information[:, None]))[1]) / 2
        gain -= float(np.linalg.slogdet(z.T @ (z * (w * even * (1 - even))[:, None]))[1]) / 2
    alone = float(w.sum()) * float(share * np.log(even) + (1 - share) * np.log(1 - even))
    variance = np.einsum("ij,jk,ik->i", back, inverse[0], back)
    return Logit(back @ b, np.sqrt(variance), expit(z @ b), loglik, converged=True, ratio=2 * (loglik - alone + gain))
