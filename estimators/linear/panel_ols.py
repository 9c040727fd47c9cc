"""Least squares on panels: pooled, with unit or period effects, attribute-by-period effects or unit trends.

With effects the constant takes Stata's form: Qy + ybar is regressed on Qx + xbar and 1, so that it is
ybar - xbar'b, the mean of the effects over observations, and has an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from estimators.core import regression as ols
from estimators.core.estimator import Estimates, Estimator, Layout, Status
from estimators.core.names import check_names, outcome_of
from estimators.core.tile import spread
from estimators.core.within import Transform, check_effects, nested_in, observed_mask, transform_of
from estimators.linear.covariances import (
    Covariance,
    Sample,
    cells_of,
    check_error_types,
    cluster_names,
    covariance,
    may_be_floored,
)
from estimators.linear.did import ClusterK
from estimators.linear.wild import WildTest, wild_clusters
from sim.design import Design
from sim.designs.paper import Paper
from sim.errors import BadInput, Problem, bad, listed
from sim.panel import Panel, Schema
from sim.streams import Streams

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PanelOLS(Estimator):
    """Least squares of an outcome on regressors and effects; the constant is the last term.

    outcome, regressors: names of variables; None = the panel's own roles. effects: any of unit, period, unit-trend
    (linear, beside unit) and ATTRIBUTE-by-period; () = pooled. errors: see `linear.covariances`, and wild:unit,
    wild:ATTRIBUTE (`linear.wild`: p value and interval, no standard error). cluster_k: which parameters count in
    the factor of clusters: slopes alone, also the effects that are not nested in a cluster, or all; a pooled constant
    always counts. draws: of the wild bootstrap. target: the treatment's estimand.
    """

    kind: ClassVar[str] = "ols"

    outcome: str | None = None
    regressors: tuple[str, ...] | None = None
    effects: tuple[str, ...] = ("unit", "period")
    constant: bool = True
    errors: tuple[str, ...] = ("iid", "hc1", "cluster:unit")
    cluster_k: ClusterK = "nonnested"
    draws: int = 999
    label: str = ""
    target: str = "att"

    @property
    def name(self) -> str:
        """Its label, or its kind."""
        return self.label or self.kind

    @property
    def home(self) -> tuple[Design, tuple[str, ...]]:
        """The `paper` design without spillovers."""
        return Paper(), ("did", "inv", "road", "book", "tech")

    def _names(self, schema: Schema) -> tuple[str, tuple[str, ...]]:
        regressors = schema.roles.regressors if self.regressors is None else self.regressors
        return outcome_of(self.outcome, schema, self.name), regressors

    def layout(self, schema: Schema) -> Layout:
        """One term a regressor and the constant; floored:ERROR is 1 where negative eigenvalues were set to zero."""
        outcome, regressors = self._names(schema)
        check_names(schema, outcome, regressors, self.name)
        check_effects(self.effects, schema, self.name)
        check_error_types(self.errors, schema, self.name)
        if self.draws < 1:
            raise bad(f"draws = {self.draws}", where=self.name, allowed="1 or more", remedy="set draws = 999")
        targets = {
            name: self.target if name == (schema.roles.treatment or "did") else f"beta({name})" for name in regressors
        }
        return Layout(
            (*regressors, "constant") if self.constant else regressors,
            self.errors,
            (
                *(("r2", "r2_within") if self.effects else ("r2",)),
                "r2_adjusted",
                "sigma2",
                *(f"floored:{error}" for error in self.errors if may_be_floored(error, schema.attributes)),
            ),
            targets,
            ("pvalue", "lower", "upper") if any(error.startswith("wild:") for error in self.errors) else (),
        )

    def variables(self, schema: Schema) -> frozenset[str]:
        """Outcome and regressors."""
        outcome, regressors = self._names(schema)
        return frozenset((outcome, *regressors))

    @np.errstate(divide="ignore", invalid="ignore")  # a degenerate draw is NaN with a status
    def __call__(self, panel: Panel, streams: Streams | None = None) -> Estimates:
        """Fit R panels. Raises BadInput for a panel that cannot serve: absorbed or collinear regressors, an absorbed
        outcome, too few observations or clusters."""
        layout = self.layout(panel.schema)
        outcome, regressors = self._names(panel.schema)
        transform = transform_of(self.effects, panel, constant=self.constant)
        fit = _fit(panel, outcome, regressors, transform, constant=self.constant, asked_by=self.name)
        sample = Sample(panel, panel.nobs, len(regressors) + transform.effects, self._clustered(panel, transform))
        if sample.free < 1:
            raise bad(f"{sample.nobs} observations for {sample.parameters} parameters", where=self.name,
                      allowed="more observations than parameters", remedy="drop effects or regressors")  # fmt: skip
        shape = (len(fit.e), len(self.errors), len(layout.terms))
        se, dof = np.full(shape, np.nan), np.empty(shape)
        stored = {name: np.full(shape, np.nan) for name in layout.stored}
        statistics = self._statistics(fit, sample)
        for row, error in enumerate(self.errors):
            if error.startswith("wild:"):
                dof[:, row], tests = self._wild(error, panel, fit, transform, streams)
                for name, values in stored.items():
                    values[:, row] = getattr(tests, name)
                continue
            variance, found = self._variances(error, fit, sample)
            se[:, row], dof[:, row] = np.sqrt(variance), found.dof
            statistics[f"floored:{error}"] = found.floored.astype(np.float64)
        return Estimates(
            terms=layout.terms,
            errors=self.errors,
            estimate=fit.beta,
            se=se,
            dof=dof,
            status=np.where(np.isfinite(fit.beta).all(axis=1), Status.OK, Status.SINGULAR).astype(np.uint8),
            statistics={name: statistics[name] for name in layout.statistics},
            **stored,
        )

    def _variances(self, error: str, fit: _Fit, sample: Sample) -> tuple[Floats, Covariance]:
        """Variances of all terms, (R, K), and the covariance that they come from.

        Beside effects, whether the constant is reported changes no other variance: the slopes' matrix is floored alone.
        """
        found = covariance(error, fit.psi, fit.e, sample)
        variance = np.diagonal(found.matrix, axis1=1, axis2=2)
        if not (found.floored.any() and self.effects and self.constant):
            return variance, found
        slopes = covariance(error, fit.psi[:, :-1], fit.e, sample)
        return np.column_stack([np.diagonal(slopes.matrix, axis1=1, axis2=2), variance[:, -1]]), slopes

    def _clustered(self, panel: Panel, transform: Transform) -> dict[str, int]:
        """Parameters that count in the factor of each clustered error type; of all that clusters nest, one counts."""
        slopes = len(self._names(panel.schema)[1])
        counted = {}
        for error in self.errors:
            names = cluster_names(error, tuple(panel.attributes)) if error.startswith("cluster:") else ()
            if not self.effects or self.cluster_k == "all":
                counted[error] = slopes + transform.effects
            elif self.cluster_k == "slopes":
                counted[error] = slopes
            else:
                nested = nested_in(names, self.effects, panel)
                lost = transform_of(nested, panel, constant=True).effects - 1 if nested else 0
                counted[error] = slopes + transform.effects - lost
        return counted

    def _statistics(self, fit: _Fit, sample: Sample) -> dict[str, Floats]:
        n, free = sample.nobs, sample.free
        ssr = ols.square(fit.e)
        r2 = 1 - ssr / fit.tss
        around = 1 if self.effects or self.constant else 0
        return {
            "r2": r2,
            "r2_within": 1 - ssr / fit.tss_within,
            "r2_adjusted": 1 - (1 - r2) * (n - around) / free,
            "sigma2": ssr / free,
        }

    def _wild(
        self, error: str, panel: Panel, fit: _Fit, transform: Transform, streams: Streams | None
    ) -> tuple[int, WildTest]:
        """G - 1 and the tests of all panels; without streams the signs are those of seed 0."""
        mask = observed_mask(panel)
        codes = cells_of(error.removeprefix("wild:"), panel)
        seen = np.where(mask > 0, codes, codes[mask > 0][0])  # clusters never observed take no sign
        codes = np.unique(seen, return_inverse=True)[1].reshape(codes.shape)
        groups = int(codes.max()) + 1
        if groups < 2:
            raise bad(f"{error} has {groups} cluster", where=self.name, allowed="2 or more clusters",
                      remedy="choose a finer grouping")  # fmt: skip

        def project(x: Floats) -> Floats:
            mean = (x * mask).sum(axis=(1, 2), keepdims=True) / mask.sum()
            return transform(x) + mean * mask if self.constant else transform(x)

        streams = streams if streams and streams.replications == len(fit.e) else Streams(0, "", 0, len(fit.e))
        tests = wild_clusters(fit.psi, fit.e, fit.beta, fit.z, project, codes, streams.each(error), self.draws)
        return groups - 1, tests


@dataclass(frozen=True, eq=False, slots=True)
class _Fit:
    """beta (R, K); e (R, T, N); psi, z (1 or R, K, T, N): contributions' weights and the regressors as they enter, both
    with the constant last; tss around the mean or zero, tss_within of Qy, (R,)."""

    beta: Floats
    e: Floats
    psi: Floats
    z: Floats
    tss: Floats
    tss_within: Floats


def _fit(
    panel: Panel, outcome: str, regressors: tuple[str, ...], transform: Transform, *, constant: bool, asked_by: str
) -> _Fit:
    """Slopes of the transformed variables, and the constant that goes with them."""
    mask, nobs = observed_mask(panel), panel.nobs
    raw = np.where(mask > 0, ols.stack([panel.variables[name] for name in regressors]), 0.0)
    r, k = panel.replications, len(regressors)
    y = spread(np.where(mask > 0, panel.variables[outcome], 0.0), r)
    x = transform(raw.reshape(-1, *mask.shape)).reshape(raw.shape)
    fixed = np.array([panel.variables[name].shape[0] == 1 for name in regressors])
    centred = constant or transform.effects > 0
    absorbed = are_absorbed(raw, x, nobs, centred=centred)
    check_regressors(regressors, fixed, raw, x, absorbed, nobs, asked_by)
    gram = ols.gram(x)
    gram[absorbed.any(axis=1)] = np.nan
    bread = ols.invert(gram)[0]
    qy = transform(y)
    if panel.variables[outcome].shape[0] == 1:
        check_outcome(outcome, y[:1], qy[:1], asked_by)
    beta = np.matmul(bread, ols.inner(x, qy)[:, :, None])[:, :, 0]
    e = ols.residual(qy, x, beta)
    psi = np.reshape(bread @ x.reshape(len(x), k, -1), x.shape)
    ybar, xbar = y.sum(axis=(1, 2)) / nobs, raw.sum(axis=(2, 3)) / nobs
    tss = ols.square((y - ybar[:, None, None]) * mask) if centred else ols.square(y)
    if not constant:
        return _Fit(beta, e, psi, x, tss, ols.square(qy))
    last = mask / nobs - np.einsum("rk,rktn->rtn", xbar, psi)
    psi = np.concatenate([psi, last[:, None]], axis=1)
    ones = np.broadcast_to(mask, (len(x), 1, *mask.shape))
    z = np.concatenate([x + xbar[:, :, None, None] * mask, ones], axis=1)
    beta = np.column_stack([beta, ybar - np.vecdot(beta, np.broadcast_to(xbar, beta.shape))])
    return _Fit(beta, e, psi, z, tss, ols.square(qy))


def are_absorbed(raw: Floats, within: Floats, nobs: int, *, centred: bool) -> NDArray[np.bool_]:
    """Which regressors the effects leave nothing of, (1 or R, K)."""
    spread_of = np.square(raw).sum(axis=(2, 3)) - (raw.sum(axis=(2, 3)) ** 2 / nobs if centred else 0.0)
    left = np.square(within).sum(axis=(2, 3))
    return np.asarray(left <= ols.ABSORBED * np.maximum(spread_of, 0.0))


def check_outcome(name: str, raw: Floats, within: Floats, asked_by: str) -> None:
    """Raise BadInput for an outcome (1, T, N), zero where unobserved, of which the effects leave rounding alone."""
    if (np.square(within).sum() <= ols.ROUNDING * np.square(raw).sum()).any():
        raise bad(f"the outcome {name!r} is constant or absorbed by the effects", where=asked_by,
                  allowed="an outcome that varies beside the effects", remedy="name another outcome")  # fmt: skip


def check_regressors(
    names: tuple[str, ...], fixed: NDArray[np.bool_], raw: Floats, within: Floats, absorbed: NDArray[np.bool_],
    nobs: int, asked_by: str,
) -> None:  # fmt: skip
    """Raise BadInput for regressors, the same in all replications, that effects absorb or that are collinear."""
    problems: list[Problem] = []
    kept: list[str] = []
    basis = np.empty((0, within[0, 0].size))
    for k in np.flatnonzero(fixed):
        name, vector = names[k], within[0, k].ravel()
        if absorbed[0, k]:
            constant = np.ptp(raw[0, k][np.isfinite(raw[0, k])]) == 0.0
            kind = "is constant" if constant else "is absorbed by the effects"
            problems.append(Problem(f"variable {name!r} {kind}", asked_by, "variables that vary beside the effects",
                                    "remove it from treatment or controls"))  # fmt: skip
            continue
        vector = vector / np.sqrt(vector @ vector)
        rest = vector - basis.T @ (basis @ vector)
        if float(rest @ rest) <= ols.COLLINEAR:
            problems.append(Problem(f"variable {name!r} is collinear with {listed(kept)} and the effects", asked_by,
                                    "linearly independent variables", "remove one of them"))  # fmt: skip
            continue
        basis = np.vstack([basis, rest / np.sqrt(rest @ rest)])
        kept.append(name)
    if problems:
        raise BadInput(*problems)
