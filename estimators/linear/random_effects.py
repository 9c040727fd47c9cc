"""Random effects by generalised least squares (Swamy and Arora 1972), on R panels at once, balanced or not.

y_it = a + x_it'b + u_i + e_it with u_i independent of x. sigma_e^2 = e_w'e_w / (n - N - rank) of the within regression;
sigma_u^2 = max(0, e_b'e_b / (N - rank) - sigma_e^2 / Tbar) of the regression of unit means, Tbar the harmonic mean of
T_i; theta_i = 1 - sqrt(sigma_e^2 / (T_i sigma_u^2 + sigma_e^2)); then least squares of y - theta_i ybar_i on the
regressors and the constant so transformed (Baltagi 2021, chapters 2 and 9; Stata's `xtreg, re` and linearmodels).

Two tests ask whether regressors are free of the unit effects. Hausman's (1978) is d'(V_f - V_r)^-1 d of the slopes'
distance d to those of fixed effects, each V = s2 (X'X)^-1 of its own regression, chi-square with K degrees of freedom;
it holds for independent errors alone, and is NaN where V_f - V_r is not positive definite. Mundlak's (1978) adds the
regressors' unit means to the transformed regression and is Wald's test of them with clustered errors (Wooldridge 2010,
section 10.7.3): over K it is F(K, G - 1).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from scipy.special import chdtrc, fdtrc

from estimators.core import regression as ols
from estimators.core.error_types import check_error_types, kind_of, may_be_floored
from estimators.core.estimator import Estimates, Home, Layout, RegressionEstimator, check_names, slope_targets
from estimators.core.tile import WithinTransform, observed_mask, spread
from estimators.linear.covariances import Sample, covariance
from estimators.linear.instruments import definite_wald
from sim.arrays import Floats
from sim.design import Design, Draw, Wanted, World
from sim.errors import bad
from sim.panel import Panel
from sim.schema import Roles, Schema
from sim.streams import LATER, Streams

TESTS = ("hausman", "hausman_df", "hausman_p", "mundlak", "mundlak_df", "mundlak_p")
STATISTICS = ("r2_overall", "r2_within", "r2_between", "sigma_u", "sigma_e", "theta")
RANK = 1e-10  # share of the largest singular value below which one counts as zero


@dataclass(frozen=True, slots=True, repr=False)
class RandomEffects(RegressionEstimator):
    """Random effects of units; the constant is the last term.

    outcome, regressors: names of variables; None = the panel's own roles. Regressors must vary beside unit and period
    effects, as those of the fixed-effects columns beside it; a draw in which they do not is SINGULAR. periods: dummies
    of all observed periods but the first among the regressors, not reported. errors: as of `linear.covariances`,
    without wild; iid is s2 (X*'X*)^-1 with s2 = e*'e* / (n - k) of the transformed regression, and k counts the
    constant and the period dummies. target: the estimand that the treatment's coefficient is held to. label: its name
    in tables. tests: also Hausman's test and Mundlak's, clustered by the first clustered type of `errors`, or by unit.

    Statistics: squared correlations of y and x'b over all observations, within units and between unit means (period
    dummies count as regressors), as Stata reports them; sigma_u, sigma_e; theta, the mean of theta_i over units.

    >>> import panelproof as pp
    >>> found = pp.RandomEffects()(pp.example_panel().panel)
    >>> print(f"{found.params['did']:.3f} ({found.std_errors['did']:.3f})")
    0.051 (0.006)
    """

    kind: ClassVar[str] = "random"

    outcome: str | None = None
    regressors: tuple[str, ...] | None = None
    periods: bool = False
    errors: tuple[str, ...] = ("iid", "cluster:unit")
    label: str = ""
    target: str = "att"
    tests: bool = field(default=False, metadata={LATER: True})

    @property
    def home(self) -> Home:
        """Unit effects independent of the regressors."""
        return ErrorComponents(), ("did", "x")

    def layout(self, schema: Schema) -> Layout:
        """One term a regressor, and the constant."""
        outcome, regressors = self.names(schema)
        check_names(schema, outcome, regressors, self.name)
        check_error_types(self.errors, schema, self.name, "least-squares")
        floors = (f"floored:{error}" for error in self.errors if may_be_floored(error, schema.attributes))
        targets = slope_targets(schema, regressors, self.target)
        tests = TESTS if self.tests else ()
        return Layout((*regressors, "constant"), self.errors, (*STATISTICS, *floors, *tests), targets)

    @np.errstate(divide="ignore", invalid="ignore")  # a degenerate draw is NaN with a status
    def __call__(self, panel: Panel, streams: Streams | None = None) -> Estimates:
        """Fit R panels. Raises BadInput for a panel that cannot serve."""
        layout = self.layout(panel.schema)
        outcome, regressors = self.names(panel.schema)
        ols.check_fixed(panel, regressors, self.name)
        data = _Data.of(panel, outcome, regressors, periods=self.periods)

        # whether regressors are linearly independent beside unit and period effects, (1 or R,)
        x = data.x[:, : len(regressors)]
        within = WithinTransform.of(panel)(x.reshape(-1, *x.shape[2:])).reshape(x.shape)
        left, total = np.square(within).sum(axis=(2, 3)), np.square(x).sum(axis=(2, 3))
        around = np.maximum(total - x.sum(axis=(2, 3)) ** 2 / panel.nobs, 0.0)
        sound = ols.invert(ols.gram(within))[1] & ~ols.absorbed(left, around, total).any(axis=1)

        sigma2_e, sigma2_u = (np.where(sound, each, np.nan) for each in _components(data, self.name))
        counts = np.maximum(data.counts, 1.0)
        theta = 1 - np.sqrt(sigma2_e[:, None] / (counts * sigma2_u[:, None] + sigma2_e[:, None]))  # (R, N)
        fitted, beta, psi, e = _generalised(data, theta)
        k = int(data.x.shape[1])
        sample = Sample(panel, panel.nobs, k, dict.fromkeys(self.errors, k))
        reported = [*range(len(regressors)), k - 1]
        found = {error: covariance(error, psi[:, reported], e, sample) for error in self.errors}
        se = np.sqrt([np.diagonal(each.matrix, axis1=1, axis2=2) for each in found.values()]).swapaxes(0, 1)
        se[ols.sum_of_squares(e) <= ols.EXACT * ols.sum_of_squares(data.y)] = np.nan  # the residuals are rounding
        statistics = fitted | {
            "sigma_u": np.sqrt(sigma2_u),
            "sigma_e": np.sqrt(sigma2_e),
            "theta": theta[:, data.counts > 0].mean(axis=1),
            **{f"floored:{error}": each.floored.astype(np.float64) for error, each in found.items()},
        }
        if self.tests:
            of_random = covariance("iid", psi, e, sample).matrix
            statistics |= _hausman(data, len(regressors), beta, of_random)
            cluster = next((error for error in self.errors if kind_of(error) == "cluster"), "cluster:unit")
            statistics |= _mundlak(data, len(regressors), theta, cluster, panel)
        r = len(beta)
        dof = np.stack([np.full((r, len(reported)), float(each.dof)) for each in found.values()], axis=1)
        return Estimates.of(layout, beta[:, reported], se, dof, statistics)


@dataclass(frozen=True, eq=False, slots=True)
class _Data:
    """mask (T, N), counts T_i (N,), y (R, T, N), x (1 or R, K, T, N): regressors, period dummies, constant; zero where
    unobserved. The outcome and regressors are without their levels, means (R,) and (1 or R, K), zero of all other
    columns: that changes the constant alone, and cross products keep the digits of what varies.
    """

    mask: Floats
    counts: Floats
    y: Floats
    x: Floats
    y_level: Floats
    x_level: Floats

    @classmethod
    def of(cls, panel: Panel, outcome: str, regressors: tuple[str, ...], *, periods: bool) -> _Data:
        """The variables of a panel."""
        mask = observed_mask(panel)
        y = spread(np.where(mask > 0, panel.variables[outcome], 0.0), panel.replications)
        dummies = np.eye(len(mask))[mask.any(axis=1), :, None][1:] * mask if periods else np.empty((0, *mask.shape))
        parts = [panel.variables[name] for name in regressors]
        parts += [column[None] for column in (*dummies, mask)]
        x = np.where(mask > 0, ols.stack(parts), 0.0)
        y_level, x_level = y.sum(axis=(1, 2)) / mask.sum(), x.sum(axis=(2, 3)) / mask.sum()
        x_level[:, len(regressors) :] = 0.0
        y, x = y - y_level[:, None, None] * mask, x - x_level[:, :, None, None] * mask
        return cls(mask, mask.sum(axis=0), y, x, y_level, x_level)

    def means(self, values: Floats) -> Floats:
        """Unit means over observed periods, (..., T, N) -> (..., N); 0 of a unit that is never observed."""
        return values.sum(axis=-2) / np.maximum(self.counts, 1.0)


def _generalised(data: _Data, theta: Floats) -> tuple[dict[str, Floats], Floats, Floats, Floats]:
    """Least squares less shares theta (R, N) of unit means: squared correlations, beta (R, K) with the constant of the
    variables as they are, psi (R, K, T, N) and e (R, T, N)."""
    x = data.x - theta[:, None, None, :] * data.means(data.x)[:, :, None, :] * data.mask
    y = data.y - theta[:, None, :] * data.means(data.y)[:, None, :] * data.mask
    bread = ols.invert(ols.gram(x))[0]
    beta = ols.solved(bread, x, y)
    e = ols.residual(y, x, beta)
    psi = ols.influences(bread, x)

    # squared correlations of y with x'b: overall, within and between, (R,) each
    fitted = data.y - ols.residual(data.y, data.x, beta)
    cells, seen = data.mask > 0, data.counts > 0
    means = [data.means(values) for values in (data.y, fitted)]
    changes = [values - mean[:, None, :] for values, mean in zip((data.y, fitted), means, strict=True)]
    squares = {
        "r2_overall": ols.squared_correlation(data.y[:, cells], fitted[:, cells]),
        "r2_within": ols.squared_correlation(changes[0][:, cells], changes[1][:, cells]),
        "r2_between": ols.squared_correlation(means[0][:, seen], means[1][:, seen]),
    }

    beta[:, -1] += data.y_level - np.vecdot(np.broadcast_to(data.x_level, beta.shape), beta)
    psi[:, -1] -= (data.x_level[:, :, None, None] * psi).sum(axis=1)
    return squares, beta, psi, e


def _hausman(data: _Data, k: int, beta: Floats, of_random: Floats) -> dict[str, Floats]:
    """Hausman's test of the first K slopes against those of fixed unit effects, (R,) each."""
    fixed, bread, ssr = _within(data)
    free = int(data.counts.sum()) - int((data.counts > 0).sum()) - bread.shape[1]
    of_fixed = (ssr / free)[:, None, None] * bread[:, :k, :k]
    statistic = definite_wald(fixed[:, :k] - beta[:, :k], of_fixed - of_random[:, :k, :k])
    return {"hausman": statistic, "hausman_df": np.full_like(statistic, k), "hausman_p": chdtrc(k, statistic)}


def _mundlak(data: _Data, k: int, theta: Floats, cluster: str, panel: Panel) -> dict[str, Floats]:
    """Wald's test of unit means of the first K regressors, clustered, (R,) each."""
    means = data.means(data.x[:, :k])[:, :, None, :] * data.mask
    x_level = np.insert(data.x_level, [data.x.shape[1] - 1] * k, 0.0, axis=1)
    wider = replace(data, x=np.concatenate([data.x[:, :-1], means, data.x[:, -1:]], axis=1), x_level=x_level)
    _, beta, psi, e = _generalised(wider, theta)
    size, added = wider.x.shape[1], slice(wider.x.shape[1] - 1 - k, wider.x.shape[1] - 1)
    found = covariance(cluster, psi[:, added], e, Sample(panel, panel.nobs, size, {cluster: size}))
    statistic = definite_wald(beta[:, added], found.matrix)
    pvalue = fdtrc(k, found.dof, statistic / k)
    return {"mundlak": statistic, "mundlak_df": np.full_like(statistic, k), "mundlak_p": pvalue}


def _within(data: _Data) -> tuple[Floats, Floats, Floats]:
    """Slopes of the regression with fixed unit effects (R, K), its (X'X)^-1 and sum of squares (R,)."""
    slopes = data.x[:, :-1]
    x = slopes - data.means(slopes)[:, :, None, :] * data.mask
    y = data.y - data.means(data.y)[:, None, :] * data.mask
    bread = ols.invert(ols.gram(x))[0]
    beta = ols.solved(bread, x, y)
    return beta, bread, ols.sum_of_squares(ols.residual(y, x, beta))


def _components(data: _Data, asked_by: str) -> tuple[Floats, Floats]:
    """sigma_e^2 and sigma_u^2 of each panel, (R,)."""
    seen = data.counts > 0
    units, nobs = int(seen.sum()), int(data.counts.sum())
    slopes, within = data.x[:, :-1], _within(data)[2]
    between_x = data.means(data.x)[:, :, seen].transpose(0, 2, 1)  # (1 or R, N, K)
    between_y = data.means(data.y)[:, seen, None]
    between_x = between_x / np.linalg.norm(between_x, axis=1, keepdims=True)
    u, values, _ = np.linalg.svd(np.nan_to_num(between_x), full_matrices=False)
    u = u * (values > RANK * values[:, :1])[:, None, :]
    rank = (values > RANK * values[:, :1]).sum(axis=1)
    rest = between_y - u @ (u.transpose(0, 2, 1) @ between_y)
    free_within, free_between = nobs - units - slopes.shape[1], units - rank
    if free_within < 1 or (free_between < 1).any():
        raise bad(f"{nobs} observations of {units} units for {data.x.shape[1]} coefficients", where=asked_by,
                  allowed="more units, and more periods, than coefficients", remedy="drop regressors")  # fmt: skip
    sigma2_e = within / free_within
    harmonic = units / (1.0 / data.counts[seen]).sum()
    sigma2_u = np.square(rest[:, :, 0]).sum(axis=1) / free_between - sigma2_e / harmonic
    return sigma2_e, np.maximum(sigma2_u, 0.0)


@dataclass(frozen=True, slots=True)
class ErrorComponents(Design):
    """The world of random effects: y = did + x / 2 + u_i + e_it, u and e normal and redrawn, did and x fixed.

    units, periods: N and T; sigma_u, sigma_e: standard deviations of unit effects and errors. Two fifths of the units
    are treated, from dates on that are spread over all periods but the first.
    """

    kind: ClassVar[str] = "error-components"

    units: int = 100
    periods: int = 14
    sigma_u: float = 0.7
    sigma_e: float = 1.0

    @property
    def schema(self) -> Schema:
        """y, did and x of N units and T periods."""
        return Schema(self.units, self.periods, ("y", "did", "x"), (), (), Roles("y", "did", ("x",)))

    def settle(self, streams: Streams) -> World:
        """Nothing is random but what a draw redraws, and x, which `fixed` streams give."""
        return _Components(self, streams)


@dataclass(frozen=True, slots=True)
class _Components:
    """The settled world."""

    design: ErrorComponents
    streams: Streams

    def draw(self, streams: Streams, wanted: Wanted) -> Draw:
        """R panels and the truth of att and beta(x)."""
        own, t, n = self.design, self.design.periods, self.design.units
        x = self.streams.fixed("x").standard_normal((2, t, n))
        x = x[:1] + x[1:, :1]  # varies within units and between them
        adoption = np.where(np.arange(n) < 2 * n // 5, 1 + np.arange(n) % (t - 1), t)
        did = (np.arange(t)[:, None] >= adoption).astype(np.float64)[None]
        y = did + 0.5 * x + own.sigma_u * streams.normals("unit effects", 1, n)
        y = y + own.sigma_e * streams.normals("errors", t, n)
        panel = Panel(
            tuple(f"unit {i}" for i in range(n)), tuple(range(1, t + 1)), {"y": y, "did": did, "x": x}, own.schema.roles
        )
        truth = {"att": 1.0, "beta(did)": 1.0, "beta(x)": 0.5}
        return Draw(panel, {name: np.full(len(y), truth.get(name, np.nan)) for name in wanted.estimands})
