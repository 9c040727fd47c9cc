"""Common factors and autoregressive errors (Arkhangelsky, Athey, Hirshberg, Imbens and Wager 2021, section 3).

Unit and period effects are kept; what units share over time are factors, and errors are an autoregression.

With the real calendar, factors are those of the residuals, and each twin draws loadings anew from a centred normal
law with the fitted variances, so that they have nothing to do with who is treated. Where adoption is drawn anew,
the whole signal stays as it is: the first singular terms of the outcome. A unit's errors have the covariance s R
then: R holds the correlations of an AR(p) with the coefficients of pooled least squares, and s makes the Frobenius
norm that of the empirical covariance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.settings import build
from experiments.twins.laws import CommonStreams, simulated_errors
from experiments.twins.methods import (
    NEARBY,
    MethodFit,
    Parameter,
    kept_levels,
    kept_variables,
    parameters_with_errors,
)
from experiments.twins.real import Real, additive_part
from experiments.twins.statistics import autoregression
from sim.arrays import Floats, arma_matrix, is_stationary
from sim.errors import bad
from sim.world.parts.errors import Process

KIND = "factor"
ADDITIVE = 2  # terms of a decomposition that unit and period effects take
ORDER = 1  # of the autoregression, where the spec says nothing
LARGEST = 0.995  # root of an autoregression that correction ends at
ROUNDS, NEAR = 60, 1e-8  # of the correction of autoregressions
KEPT_SIGNAL = (
    "The signal and the calendar are both kept: what the signal does to an estimate is the same in every twin. That is "
    "no sampling error, so this twin has no vote on size, power and p values. Leave levels out of keep, or draw "
    "adoption again."
)
RANK = "number of factors by Bai and Ng (2002), beside that by Ahn and Horenstein (2013)"


def low_rank(values: Floats, rank: int) -> tuple[Floats, Floats, Floats]:
    """The first terms of the singular value decomposition of (T, N): signal (T, N), loadings (N, r) = sqrt(N) times the
    vectors of units, each with a positive sum, rest (T, N)."""
    left, sizes, right = np.linalg.svd(values, full_matrices=False)
    signal = (left[:, :rank] * sizes[:rank]) @ right[:rank]
    vectors = right[:rank].T * np.where(right[:rank].sum(axis=1) < 0, -1.0, 1.0)
    return signal, np.sqrt(values.shape[1]) * vectors, values - signal


def factors_of(residuals: Floats) -> tuple[int, int]:
    """Numbers of factors of residuals (T, N) without unit and period effects, 0 allowed: by ratio, by criterion.

    By ratio: argmax of l_k / l_(k+1) with the mock value l_0 = V(0) / ln m, m = min(N, T) (Ahn and Horenstein 2013,
    section 3). By criterion: argmin of ln V(k) + k (N + T) / (N T) ln(N T / (N + T)) (Bai and Ng 2002, IC_p1). V(k) is
    the sum of the eigenvalues l after the first k of the second moments; k is at most the number of those above V(0) /
    m, and below m / 2.
    """
    periods, units = residuals.shape
    least = min(periods, units)
    values = np.square(np.linalg.svd(residuals, compute_uv=False)) / (periods * units)
    total = float(values.sum())
    if total <= 0:
        return 0, 0
    most = min(int((values >= total / least).sum()), max((least - 1) // 2, 1), len(values) - 1)
    floor = total * 1e-14
    ladder = np.maximum(np.r_[total / np.log(least), values], floor)
    left = np.maximum(total - np.r_[0.0, np.cumsum(values)], floor)[: most + 1]
    penalty = (units + periods) / (units * periods) * np.log(units * periods / (units + periods))
    by_ratio = int(np.argmax(ladder[: most + 1] / ladder[1 : most + 2]))
    return by_ratio, int(np.argmin(np.log(left) + penalty * np.arange(most + 1)))


@dataclass(frozen=True, eq=False, slots=True)
class Interactive:
    """A fitted law of the residuals: sd and AR coefficients of the errors, paths (k, T) on which loadings are standard
    normal, and the panel's own statistics: root mean square and AR coefficients of the rest."""

    sd: float
    serial: tuple[float, ...]
    paths: Floats
    size: float
    raw: tuple[float, ...]

    @classmethod
    def of(cls, residuals: Floats, rank: int, order: int, units: float, digits: int | None) -> Interactive:
        """The law of residuals (T, N); units: how many their squares are worth, N less what the regression took.

        Factors are the first eigenvectors of the second moments. Autoregressions of what is left are corrected for unit
        means and factors: the coefficients are those at which the expected moments have the panel's. The variance has
        the degrees of freedom of the rest, and loadings have the variance along the factors that the errors do not.
        """
        periods = len(residuals)
        second = residuals @ residuals.T / units
        values, vectors = np.linalg.eigh(second)
        factors = vectors[:, ::-1][:, :rank]
        rest = residuals - factors @ (factors.T @ residuals)
        raw = autoregression(rest[None], order)[0]
        outside = np.column_stack([np.ones(periods) / np.sqrt(periods), factors])
        keep = np.eye(periods) - outside @ np.linalg.pinv(outside, rcond=1e-10)
        serial = unbiased_autoregression(raw, keep)
        serial = serial if digits is None else np.round(serial, digits)
        correlation = arma_matrix(tuple(serial), (), periods)
        squares = float(np.square(rest).sum())
        variance = squares / max(units - rank, 1.0) / float(np.vdot(keep, keep @ correlation))
        own = np.einsum("tk,ts,sk->k", factors, correlation, factors)
        signal = np.sqrt(np.maximum(values[::-1][:rank] - variance * own, 0.0))
        return cls(float(np.sqrt(variance)), tuple(serial.tolist()), (factors * signal).T,
                   float(np.sqrt(squares / rest.size)), tuple(raw.tolist()))  # fmt: skip

    @property
    def table(self) -> dict[str, Any]:
        """The table [design.errors]."""
        paths = [path for path in self.paths.tolist() if any(path)]
        held = {"kind": "process", "sd": self.sd, "serial": [*self.serial], "scale": 1.0}
        return held | ({"common_paths": paths} if paths else {})

    @property
    def named(self) -> dict[str, float]:
        """Its dials."""
        return {"errors.sd": self.sd} | {f"errors.serial {k}": value for k, value in enumerate(self.serial, 1)}


def unbiased_autoregression(raw: Floats, keep: Floats) -> Floats:
    """AR coefficients at which the expected moments of errors, projected by `keep` (T, T), have the coefficients `raw`.

    So the bias of short panels (Nickell 1981), and that of factors taken out, are gone. A step that leaves the
    stationary processes is halved until it does not.
    """
    order, periods = len(raw), len(keep)
    at = np.zeros(order)
    for _ in range(ROUNDS):
        moments = keep @ arma_matrix(tuple(at), (), periods) @ keep
        lags = [
            [np.einsum("tt->", moments[order - j : periods - j, order - k : periods - k]) for k in range(order + 1)]
            for j in range(order + 1)
        ]
        table = np.array(lags)
        step = raw - np.linalg.solve(table[1:, 1:], table[1:, 0])
        while not is_stationary(tuple((at + step) / LARGEST ** np.arange(1, order + 1))):
            step = step / 2
        at = at + step
        if np.abs(step).max() < NEAR:
            break
    return np.asarray(at)


def fit(real: Real) -> MethodFit:
    """The decomposition of what the effect and the controls leave of the outcome."""
    kept = real.redraws_adoption or "levels" in real.section.keep
    return _with_signal(real) if kept else _with_loadings(real)


def _with_loadings(real: Real) -> MethodFit:
    """Factors of the residuals, loadings to be drawn."""
    residuals = real.parts.residuals[0]
    order, (by_ratio, by_criterion) = real.section.ar or ORDER, factors_of(residuals)
    rank = by_ratio if real.section.rank is None else real.section.rank
    freedom = real.freedom
    arguments = (rank, order, freedom.sum() / (len(freedom) - 1), real.section.round)
    law = Interactive.of(residuals, *arguments)

    # residuals of panels of the law, (NEARBY, T, N), and the laws that they would give
    part = build(Process, {key: x for key, x in law.table.items() if key != "kind"}, "twin")
    streams = CommonStreams(real.spec.inference.seed, "twin factors", 0, NEARBY)
    residuals_of_law = real.regression(simulated_errors(part, real.ground, streams)).residuals
    drawn = [Interactive.of(e, *arguments) for e in residuals_of_law]
    lags = [(f"coefficient of lag {k}", value) for k, value in enumerate(law.raw, 1)]
    words = [("root mean square of the rest", law.size), *lags]
    draws = np.array([[*item.named.values()] for item in drawn])
    parameters, covariance = parameters_with_errors(law.named, words, draws)
    levels = kept_levels(KIND)
    covariance = np.pad(covariance, ((1, 0), (1, 0)))
    return MethodFit(
        levels,
        law.table,
        (Parameter("rank", float(rank), RANK, float(by_criterion)), *parameters),
        kept_variables(KIND, real.additive),
        covariance=covariance,
        nearby=tuple((levels, item.table) for item in drawn),
    )


def _with_signal(real: Real) -> MethodFit:
    """The first terms of the outcome, kept as they are."""
    rank = real.section.rank
    if rank is None:
        rank = min(ADDITIVE + factors_of(real.parts.residuals[0])[0], min(real.y.shape[1:]) - 1)
    order = real.section.ar or ORDER
    signal, loadings, rest = low_rank(real.rest, rank)
    raw = autoregression(rest[None], order)[0]
    digits = real.section.round
    coefficients = raw if digits is None else np.round(raw, digits)
    if not is_stationary(tuple(coefficients)):
        raise bad(f"the residuals of rank {rank} follow no stationary AR({order})",
                  where=f"{real.spec.file}, [twin] method = factor", allowed="a stationary autoregression",
                  remedy="choose another rank or ar")  # fmt: skip
    periods, units = rest.shape
    sd = float(np.sqrt(np.linalg.norm(rest @ rest.T / units) / np.sqrt(periods)))
    serial = [float(value) for value in coefficients]
    additive = additive_part(signal)
    return MethodFit(
        levels=kept_levels(KIND),
        errors={"kind": "process", "sd": sd, "serial": serial, "keeps": "norm", "scale": 1.0},
        parameters=(
            Parameter("errors.sd", sd, "root mean square of the rest", float(np.sqrt(np.square(rest).mean()))),
            *(
                Parameter(f"errors.serial {k}", value, f"coefficient of lag {k}", float(own))
                for k, (value, own) in enumerate(zip(serial, raw, strict=True), 1)
            ),
        ),
        variables=kept_variables(KIND, additive, signal - additive),
        attributes={f"{KIND}.factor{k}": column for k, column in enumerate(loadings.T, 1)},
        notes=() if real.redraws_adoption else (KEPT_SIGNAL,),
        null=real.redraws_adoption,
    )
