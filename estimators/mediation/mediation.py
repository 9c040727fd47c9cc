"""Mediation by two regressions with unit and time effects (table 5 of the study), on R panels at once.

    M = a D + X g + effects + u,        Y = c' D + b M + X h + effects + e.

The indirect effect of D is a b, the direct one c'; the total is the coefficient of D in the regression of Y without M.
On one sample total = c' + a b is an identity of least squares, for by Frisch, Waugh and Lovell b = u'v / u'u and
c' = total - a b, with v the residual of Y on D and X. Sources: Baron and Kenny (1986); Sobel (1982); MacKinnon,
Lockwood and Williams (2004) for the interval from draws; Imai, Keele and Yamamoto (2010) for the sensitivity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from estimators.core import regression as ols
from estimators.core.error_types import check_error_types, served
from estimators.core.estimator import Estimates, Estimator, Layout, Status
from estimators.core.names import check_names, outcome_of
from estimators.core.tile import Tile
from estimators.linear.covariances import ClusterK
from estimators.mediation.paths import (
    TERMS,
    MediationPaths,
    System,
    Variables,
    bootstrap,
    correlations,
    root_of,
    terms_of,
)
from sim.arrays import Codes, Floats
from sim.design import Design
from sim.errors import bad, one_of
from sim.panel import Panel
from sim.presets import Paper
from sim.schema import Schema
from sim.streams import Streams

STATISTICS = ("rho_at_zero", "r2_product_at_zero", "r2_total_product_at_zero", "sd_ratio", "corr_ab")
STORED = ("pvalue", "lower", "upper")
LEVEL = 0.05  # of percentile intervals


@dataclass(frozen=True, slots=True)
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
    draws: of monte-carlo and of the bootstrap. cluster_k: as in `did`. label: its name in tables.

    Statistics: rho_at_zero, r2_product_at_zero, r2_total_product_at_zero and sd_ratio as `indirect_at` says;
    corr_ab, the correlation of the estimates of a and b under delta.

    >>> import panelproof as pp
    >>> found = pp.Mediation()(pp.example_panel().panel)
    >>> print(f"{found.params['nie']:.3f} ({found.std_errors['nie']:.3f})")
    0.002 (0.001)
    """

    kind: ClassVar[str] = "mediation"

    mediator: str | None = None
    outcome: str | None = None
    regressors: tuple[str, ...] | None = None
    errors: tuple[str, ...] = ("delta", "sobel", "monte-carlo")
    draws: int = 999
    cluster: str = "unit"
    cluster_k: ClusterK = "nonnested"
    label: str = "mediation"

    @property
    def home(self) -> tuple[Design, tuple[str, ...]]:
        """The `paper` design without spillovers and without confounding of the mediator."""
        return Paper(), ("b", "nde", "nie", "total")

    def layout(self, schema: Schema) -> Layout:
        """Six terms; b is held to the mediator's coefficient, the effects to their natural namesakes and the ATT.

        Where the panel has further mediators, the indirect effect is that through this one, and the rest is direct.
        """
        variables = self._variables(schema)
        check_names(schema, variables.outcome, (*variables.regressors, variables.mediator), self.label)
        self._check_settings(schema)
        of = f"({variables.mediator})" if len(schema.roles.mediators) > 1 else ""
        targets = {"b": f"beta({variables.mediator})", "nde": f"nde{of}", "nie": f"nie{of}", "total": "att"}
        drawn = any(error == "monte-carlo" or error.startswith("bootstrap:") for error in self.errors)
        return Layout(TERMS, self.errors, STATISTICS, targets, STORED if drawn else ())

    def variables(self, schema: Schema) -> frozenset[str]:
        """Outcome, mediator and regressors."""
        variables = self._variables(schema)
        return frozenset((variables.outcome, variables.mediator, *variables.regressors))

    @np.errstate(divide="ignore", invalid="ignore")  # a degenerate draw is NaN with a status
    def __call__(self, panel: Panel, streams: Streams | None = None) -> Estimates:
        """Fit R panels; raises BadInput for regressors that the effects absorb and for fewer than two clusters."""
        layout = self.layout(panel.schema)
        fit, rows = self.fitted(panel), panel.replications
        paths, covariance = fit.paths, fit.paths.covariance(fit.clusters, fit.roots)
        streams = streams or Streams(0)
        streams = streams.tile(streams.start, streams.start + rows)
        answers = []
        for error in self.errors:
            if error.startswith("bootstrap:"):
                own = _clusters(error.removeprefix("bootstrap:"), panel, self.label)
                answers.append(MediatedEffects.from_draws(bootstrap(fit.system, own, fit.mask, self.draws, streams)))
            elif error == "monte-carlo":
                normals = streams.normals("monte-carlo", self.draws, 3)
                path_draws = paths.values[:, None, :3] + normals @ root_of(covariance[:, :3, :3])
                answers.append(MediatedEffects.from_draws(path_draws))
            else:
                answers.append(MediatedEffects.analytic(paths, covariance, fit.dof, error == "sobel"))
        stored = {name: np.stack([getattr(item, name) for item in answers], axis=1) for name in layout.stored}
        se = np.stack([item.se for item in answers], axis=1)
        dof = np.stack([np.full((rows, len(TERMS)), item.dof) for item in answers], axis=1)
        sound = np.isfinite(paths.values).all(axis=1)  # the proportion of a total of zero is infinite
        status = np.where(sound, Status.OK, Status.SINGULAR).astype(np.uint8)
        statistics = paths.sensitivity() | {"corr_ab": correlations(covariance)[0][:, 0, 1]}
        return Estimates.of(layout, paths.terms, se, dof, statistics, status=status, **stored)

    @np.errstate(divide="ignore", invalid="ignore")
    def sensitivity(self, panel: Panel, rho: Floats) -> tuple[Floats, Floats]:
        """nie and its standard error if the equations' errors correlate by each of rho (J,) in (-1, 1): (R, J) each.

        The formula is `indirect_at`'s, the error the delta method's over a, u'u, v'v and u'v, clustered as `cluster`
        says with the factors of a and b; at rho = 0 it is that of "delta".
        """
        self.layout(panel.schema)
        fit = self.fitted(panel)
        return fit.paths.indirect(rho, fit.clusters, fit.roots)

    def fitted(self, panel: Panel) -> MediationFit:
        """The paths of R panels with what their errors need; raises BadInput as a fit does."""
        names = self._variables(panel.schema)
        ols.check_fixed(panel, (*names.regressors, names.mediator), self.label)
        tile = Tile(panel)
        system = System.of(tile, names)
        clusters = _clusters(self.cluster, panel, self.label)
        roots = self._roots_of_factors(tile, len(names.regressors), clusters)
        return MediationFit(
            system, MediationPaths.fit(system, panel.replications), clusters, roots, tile.transform.mask
        )

    def _variables(self, schema: Schema) -> Variables:
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
        return Variables(outcome_of(self.outcome, schema, self.label), mediator, (*controls, treatment))

    def _check_settings(self, schema: Schema) -> None:
        check_error_types(self.errors, schema, self.label, "mediation")
        if not served(f"bootstrap:{self.cluster}", schema.attributes, "mediation"):
            raise bad(f"cluster = {self.cluster!r}", where=self.label, allowed=one_of(("unit", *schema.attributes)),
                      remedy="choose one of them")  # fmt: skip
        if self.draws < 99:
            raise bad(f"draws = {self.draws}", where=self.label, allowed="99 or more (999 is a good choice)",
                      remedy="draw more")  # fmt: skip

    def _roots_of_factors(self, tile: Tile, regressors: int, clusters: Codes) -> Floats:
        """Square roots of the small-sample factors of a, b, nde, total, (4,)."""
        panel, effects = tile.panel, tile.transform.effects
        units = len(panel.units) if panel.observed is None else int(panel.observed[0].any(axis=0).sum())
        beside = {"slopes": 0, "nonnested": effects - units + 1, "all": effects}[self.cluster_k]
        slopes = np.array([regressors, regressors + 1, regressors + 1, regressors])
        groups = clusters.max() + 1
        n = panel.nobs
        return np.asarray(np.sqrt(groups / (groups - 1) * (n - 1) / (n - slopes - beside)))


@dataclass(frozen=True, eq=False, slots=True)
class MediationFit:
    """A fitted system; clusters (N,), roots of the equations' factors (4,), mask (T, N) or None when balanced."""

    system: System
    paths: MediationPaths
    clusters: Codes
    roots: Floats
    mask: Floats | None

    @property
    def dof(self) -> float:
        """G - 1."""
        return float(self.clusters.max())


@dataclass(frozen=True, eq=False, slots=True)
class MediatedEffects:
    """What one error type says: se, pvalue, lower, upper (R, 6), the latter three NaN where they follow from se."""

    se: Floats
    dof: float
    pvalue: Floats
    lower: Floats
    upper: Floats

    @classmethod
    def analytic(cls, paths: MediationPaths, covariance: Floats, dof: float, sobel: bool) -> MediatedEffects:
        """The delta method; Sobel's error has no proportion."""
        if sobel:
            covariance = covariance.copy()
            covariance[:, 0, 1] = covariance[:, 1, 0] = 0.0
        jacobian = paths.jacobian
        variance = np.matmul(np.matmul(jacobian, covariance) * jacobian, np.ones((4, 1)))[:, :, 0]
        se = np.sqrt(variance)
        if sobel:
            se[:, TERMS.index("proportion")] = np.nan
        nothing = np.full(se.shape, np.nan)
        return cls(se, dof, nothing, nothing, nothing)

    @classmethod
    def from_draws(cls, draws: Floats) -> MediatedEffects:
        """Percentile intervals from draws of (a, b, nde), (R, B, 3); draws with NaN are left out."""
        a, b, nde = draws.transpose(2, 0, 1)
        ordered = np.sort(terms_of(a, b, nde, nde + a * b), axis=1)
        known = ~np.isnan(ordered)
        count = known.sum(axis=1)
        mean = np.where(known, ordered, 0.0).sum(axis=1) / count
        squares = np.square(np.where(known, ordered - mean[:, None], 0.0)).sum(axis=1)
        below, above = (ordered <= 0).sum(axis=1), (ordered >= 0).sum(axis=1)
        pvalue = np.minimum(2 * (1 + np.minimum(below, above)) / (1 + count), 1.0)
        lower, upper = _percentile_interval(ordered, count)
        return cls(
            se=np.sqrt(squares / np.maximum(count - 1, 0)),
            dof=np.inf,
            pvalue=np.where(count > 0, pvalue, np.nan),
            lower=lower,
            upper=upper,
        )


def _percentile_interval(ordered: Floats, count: Codes) -> tuple[Floats, Floats]:
    """Ends (R, K) of the interval from the first `count` (R, K) of ordered draws (R, B, K), NaN without draws.

    They are the floor(LEVEL / 2 (count + 1))-th draws from below and from above; too few draws exclude nothing.
    """
    tail = np.floor(np.round((count + 1) * (LEVEL / 2), 9)).astype(np.intp)
    places = (np.maximum(tail, 1), np.minimum(count + 1 - tail, ordered.shape[1]))
    lower, upper = (np.take_along_axis(ordered, place[:, None] - 1, axis=1)[:, 0] for place in places)
    endless = np.where(count > 0, np.inf, np.nan)
    return np.where(tail > 0, lower, -endless), np.where(tail > 0, upper, endless)


def _clusters(cluster: str, panel: Panel, asked_by: str) -> Codes:
    """Cluster of each unit, (N,), numbered from 0; raises BadInput for fewer than two.

    Units that are never observed, which count for nothing, are put to the first that is.
    """
    names: NDArray[Any] = np.arange(len(panel.units)) if cluster == "unit" else panel.attributes[cluster]
    if panel.observed is not None:
        seen = panel.observed[0].any(axis=0)
        names = np.where(seen, names, names[seen.argmax()])
    codes = np.unique(names, return_inverse=True)[1]
    if codes.max() < 1:
        raise bad(f"{cluster} has 1 cluster", where=asked_by, allowed="2 or more clusters",
                  remedy="choose a finer grouping")  # fmt: skip
    return np.asarray(codes)
