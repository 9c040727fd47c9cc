"""Two-way DID with local spillovers: neighbours' treatment, or rings around treated units.

    y_it = a_i + l_t + b D_it + sum_j c_j E_jit + x_it'g + e_it

`spatial-did` (Delgado and Florax 2015): E = W D, the share of treated neighbours. `rings` (Butts 2021): E are dummies
of the ring, by distance to the nearest other treated unit, that a treated or an untreated unit lies in. Spillovers are
local: what a neighbour's outcome does in turn is the Durbin model's. Besides coefficients they report

    att              b + sum c_j mean(E_j | D = 1), the effect on treated units with their neighbours' treatment
    spill:treated    sum c_j mean(E_j | D = 1)
    spill:untreated  sum c_j mean(E_j | D = 0), over untreated unit-periods from the first adoption on
    did_bias         sum c_j g_j, with g_j the coefficient of D in the two-way regression of E_j on D and the controls

so that b + did_bias is exactly what DID without the E_j gives on the same data. With one adoption date and no controls
g_j = mean(E_j | D = 1) - mean(E_j | D = 0), and did_bias is Butts's bias, spill:treated - spill:untreated. Their errors
take the panel's D and E as given. What they rest on shows in the statistics: vif:did, how much of D's variation its
own exposure explains (large when treatment clusters in space), and unexposed, the share of those untreated
unit-periods that no spillover reaches (at zero the c_j are identified by functional form alone).
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import numpy as np

from estimators.core import regression as ols
from estimators.core.error_types import PLACE, check_error_types, may_be_floored
from estimators.core.estimator import (
    Estimates,
    Home,
    Layout,
    TileEstimator,
    TreatmentEstimator,
    check_names,
    weights_of,
)
from estimators.core.tile import Tile, spread, transform_of
from estimators.linear.covariances import ClusterK, Sample, ScoreSum, covariance
from estimators.staggered.adoption_effects import check_binary
from sim.arrays import Floats
from sim.errors import bad
from sim.panel import Panel, check_balanced
from sim.presets import Paper
from sim.schema import Schema
from sim.weights import great_circle_km, within_km

Reach = Literal["both", "untreated"]


EFFECTS = ("unit", "period")
SPILLS = {"treated": "spill:treated", "untreated": "spill:untreated"}


@dataclass(frozen=True, slots=True)
class _ExposureDID(TreatmentEstimator, TileEstimator):
    """What both estimators share: names, layout, and the answer from their moments."""

    gaps: ClassVar[bool] = False

    outcome: str | None = None
    controls: tuple[str, ...] | None = None
    errors: tuple[str, ...] = ("iid", "hc1", "cluster:unit")
    cluster_k: ClusterK = "nonnested"
    label: str = ""

    @property
    @abstractmethod
    def exposures(self) -> tuple[str, ...]:
        """Names of the exposures E, by which others' treatment reaches a unit, (J,)."""

    @property
    @abstractmethod
    def spills(self) -> tuple[str, ...]:
        """Whose mean spillovers are reported: treated, untreated."""

    @abstractmethod
    def exposed_to(self, panel: Panel, did: Floats) -> Floats:
        """E of a treatment path (1 or R, T, N), (1 or R, J, T, N)."""

    @abstractmethod
    def check_settings(self, schema: Schema) -> None:
        """Raise BadInput for settings that such panels cannot serve."""

    def check_exposures(self, panel: Panel, did: Floats) -> None:
        """Raise BadInput for one treatment path (T, N) on which an exposure is empty or reaches everybody."""

    def _lags(self, schema: Schema) -> tuple[str, ...]:
        """Controls that enter with their spatial lags too."""
        return ()

    def layout(self, schema: Schema) -> Layout:
        """Treatment, exposures, controls; then att, spillovers and the bias of plain DID."""
        outcome, treatment, controls = self.names(schema)
        check_names(schema, outcome, (treatment, *controls), self.name)
        check_error_types(self.errors, schema, self.name, "least-squares")
        self.check_settings(schema)
        terms = (
            treatment, *self.exposures, *controls, *(f"w_{name}" for name in self._lags(schema)),
            "att", *(SPILLS[who] for who in self.spills), "did_bias",
        )  # fmt: skip
        if len(set(terms)) < len(terms):
            twice = [term for term in terms if terms.count(term) > 1]
            raise bad(f"a control has the name of a term: {twice[0]!r}", where=self.name,
                      allowed="names other than att, w_..., spill:..., did_bias", remedy="rename it")  # fmt: skip
        targets = {treatment: f"beta({treatment})" if "treated" in self.spills else "att"}  # with spillovers among them
        targets |= {name: f"beta({name})" for name in self.exposures if name == "w_did"}
        targets["att"] = "att"
        targets |= {SPILLS[who]: f"spill({who})" for who in self.spills}
        targets |= {name: f"beta({name})" for name in (*controls, *(f"w_{name}" for name in self._lags(schema)))}
        floored = (f"floored:{error}" for error in self.errors if may_be_floored(error, schema.attributes))
        return Layout(terms, self.errors, ("r2", "r2_within", "sigma2", "vif:did", "unexposed", *floored), targets)

    def prepare(self, panel: Panel) -> tuple[Sample, ExposureRegression | None]:
        """What factors of errors need, and the regression when no replication changes its regressors.

        Raises BadInput for an unbalanced panel, a treatment other than 0/1, rings without units, absorbed or collinear
        regressors and fewer than two clusters.
        """
        check_balanced(panel, self.name)  # others' treatment must be known
        treatment = self.names(panel.schema)[1]
        did = panel.variables[treatment]
        check_binary(did, treatment, self.name, "0 untreated, 1 treated")
        if did.shape[0] == 1:
            self.check_exposures(panel, did[0])
        exposed, names = self._exposed(panel)
        ols.check_fixed(exposed, names, self.name)
        effects = transform_of(EFFECTS, panel, constant=False).effects
        for error in self.errors:
            ScoreSum.of(error, panel, self.name)
        sample = Sample.of(panel, self.errors, len(names), effects, EFFECTS, self.cluster_k)
        sample.check(self.name, "drop controls or rings")
        fixed = all(exposed.variables[name].shape[0] == 1 for name in names)
        return sample, self._regression(panel) if fixed else None

    @np.errstate(divide="ignore", invalid="ignore")  # a degenerate draw is NaN with a status
    def reduce(self, plan: tuple[Sample, ExposureRegression | None], tile: Tile) -> Estimates:
        """Least squares on D, its exposures and the controls: every term under every error type."""
        layout, outcome, r = self.layout(tile.panel.schema), self.names(tile.panel.schema)[0], tile.panel.replications
        sample, fixed = plan
        found = fixed or self._regression(tile.panel)
        y = spread(tile.within(outcome), r)
        beta = ols.inner(found.psi, y)
        e = ols.residual(y, found.x, beta)
        every = [covariance(error, found.psi, e, sample) for error in self.errors]
        matrices = np.stack([item.matrix for item in every], axis=1)  # (R, E, K, K)
        terms, none = found.terms[:, None], np.isnan(np.diagonal(matrices, axis1=2, axis2=3))
        variances = np.vecdot(terms @ np.where(np.isnan(matrices), 0.0, matrices), terms)
        variances[((terms != 0) & none[:, :, None]).any(axis=3)] = np.nan  # what takes a coefficient without an error
        ssr, total = ols.sum_of_squares(e), spread(tile.total_sum_of_squares(outcome), r)
        variances[ssr <= ols.EXACT * total] = np.nan
        statistics = {
            "r2": 1 - ssr / total,
            "r2_within": 1 - ssr / spread(tile.within_sum_of_squares(outcome), r),
            "sigma2": ssr / sample.free,
            "vif:did": spread(found.inflation, r),
            "unexposed": spread(found.unexposed, r),
            **{f"floored:{error}": item.floored.astype(float) for error, item in zip(self.errors, every, strict=True)},
        }
        estimate = np.matmul(found.terms, beta[:, :, None])[:, :, 0]
        dof = np.broadcast_to(np.array([[item.dof] for item in every], dtype=np.float64), variances.shape).copy()
        return Estimates.of(layout, estimate, np.sqrt(variances), dof, statistics)

    def _exposed(self, panel: Panel) -> tuple[Panel, tuple[str, ...]]:
        """The panel with exposures and lags as variables, and the names of all regressors."""
        _, treatment, controls = self.names(panel.schema)
        values = self.exposed_to(panel, panel.variables[treatment])
        exposures = {name: values[:, j] for j, name in enumerate(self.exposures)}
        lags = {f"w_{name}": self.exposed_to(panel, panel.variables[name])[:, 0] for name in self._lags(panel.schema)}
        return panel.with_variables(exposures | lags), (treatment, *self.exposures, *controls, *lags)

    def _regression(self, panel: Panel) -> ExposureRegression:
        exposed, names = self._exposed(panel)
        tile, j = Tile(exposed), len(self.exposures)
        x = ols.stack([tile.within(name) for name in names])
        gram = ols.gram(x)
        bread = ols.invert(gram)[0]
        raw = ols.stack([tile.raw(name) for name in names[: j + 1]])
        did, others = raw[:, 0], raw[:, 1:]
        begun = np.logical_or.accumulate(did.any(axis=2, keepdims=True), axis=1)  # from the first adoption on
        untreated = (1 - did) * begun
        means = {"treated": _means(others, did), "untreated": _means(others, untreated)}
        kept = [0, *range(j + 1, len(names))]  # the regressors of plain DID
        short = ols.invert(gram[:, kept][:, :, kept])[0]
        omitted = (short @ gram[:, kept, 1 : j + 1])[:, 0]
        rows = [means["treated"], *(means[who] for who in self.spills), omitted]
        terms = np.zeros((len(x), len(names) + len(rows), len(names)))
        terms[:, : len(names)] = np.eye(len(names))
        terms[:, len(names) :, 1 : j + 1] = np.stack(rows, axis=1)
        terms[:, len(names), 0] = 1.0
        reached = _means((others != 0).any(axis=1, keepdims=True).astype(np.float64), untreated)[:, 0]
        return ExposureRegression(x, ols.influences(bread, x), terms, bread[:, 0, 0] * gram[:, 0, 0], 1 - reached)


@dataclass(frozen=True, slots=True)
class SpatialDID(_ExposureDID):
    """DID with the neighbours' treatment W D beside the own (Delgado and Florax 2015).

    outcome, controls: names of variables; None = the panel's own roles. weights: name of the panel's W; None = its
    first. lag_controls: the controls' lags W x too. errors: see `linear.covariances`. cluster_k: as in `did`.
    label: its name in tables, by default its kind.

    >>> import panelproof as pp
    >>> found = pp.SpatialDID()(pp.example_panel().panel)
    >>> print(f"{found.params['w_did']:.3f} ({found.std_errors['w_did']:.3f})")
    0.027 (0.017)
    """

    kind: ClassVar[str] = "spatial-did"
    exposures: ClassVar[tuple[str, ...]] = ("w_did",)
    spills: ClassVar[tuple[str, ...]] = ("treated", "untreated")

    weights: str | None = None
    lag_controls: bool = False

    @property
    def home(self) -> Home:
        """The `paper` design; with lagged controls that of local spillovers."""
        own = ("did", "w_did", "att", "inv", "road", "book", "tech")
        return (Paper(spillover="paper", rho=0.0), (*own, "w_inv")) if self.lag_controls else (Paper(), own)

    def check_settings(self, schema: Schema) -> None:
        """Raise BadInput for a W that the panel lacks."""
        weights_of(self.weights, schema, self.name)

    def exposed_to(self, panel: Panel, did: Floats) -> Floats:
        """The lag of D, or of a control. Every unit has neighbours, since W has no empty rows: collinearity alone can
        spoil it."""
        return panel.weights[weights_of(self.weights, panel.schema, self.name)].lag(did)[:, None]

    def _lags(self, schema: Schema) -> tuple[str, ...]:
        return self.names(schema)[2] if self.lag_controls else ()


@dataclass(frozen=True, slots=True)
class Rings(_ExposureDID):
    """DID with rings around treated units (Butts 2021); units beyond the last are unexposed.

    outcome, controls, errors, cluster_k: as in `spatial-did`. ends: outer ends of the rings in km, great-circle. reach:
    both (treated units have rings too, the treatment's term is the effect without other treated near) | untreated (it
    is the effect on the treated with all spillovers among them).
    label: its name in tables, by default its kind.

    >>> import panelproof as pp
    >>> found = pp.Rings(ends=(400.0, 800.0))(pp.example_panel().panel)
    >>> print(f"{found.params['did']:.3f} ({found.std_errors['did']:.3f})")
    0.040 (0.007)
    """

    kind: ClassVar[str] = "rings"
    # home: the `paper` design without spillovers
    home: ClassVar[Home] = (Paper(), ("did", "att", "inv", "road", "book", "tech"))

    ends: tuple[float, ...] = (100.0, 200.0)
    reach: Reach = "both"

    @property
    def exposures(self) -> tuple[str, ...]:
        """E.g. untreated:0-100 and treated:0-100."""
        rings = [f"{low:g}-{high:g}" for low, high in pairwise((0.0, *self.ends))]
        return tuple(f"{who}:{ring}" for who in reversed(self.spills) for ring in rings)

    @property
    def spills(self) -> tuple[str, ...]:
        """The untreated, and the treated if they have rings too."""
        return ("treated", "untreated") if self.reach == "both" else ("untreated",)

    def check_settings(self, schema: Schema) -> None:
        """Raise BadInput for a panel without coordinates and for ends that do not ascend."""
        if not set(PLACE) <= set(schema.attributes):
            raise bad("the panel has no coordinates", where=self.name, allowed="longitude and latitude of every unit",
                      remedy="name their columns")  # fmt: skip
        ascending = all(low < high < np.inf for low, high in pairwise((0.0, *self.ends)))
        if not self.ends or not ascending:
            raise bad(f"ends = {list(self.ends)}", where=self.name, allowed="ascending distances above 0, in km",
                      remedy="set ends = [100, 200]")  # fmt: skip

    def exposed_to(self, panel: Panel, did: Floats) -> Floats:
        """Dummies of the ring that the nearest other treated unit lies in: [0, ends[0]], (ends[0], ends[1]], ... in km.

        A ring holds a unit when one treated lies within its outer but none within its inner end.
        """
        distance = great_circle_km(*(panel.attributes[name].astype(np.float64) for name in PLACE))
        np.fill_diagonal(distance, np.inf)
        within = [did @ within_km(distance, end).astype(np.float64) > 0 for end in self.ends]
        rings = [within[0], *(outer & ~inner for inner, outer in pairwise(within))]
        sides = [side * ring for side in ([1 - did, did] if self.reach == "both" else [1 - did]) for ring in rings]
        return np.stack(sides, axis=1)

    def check_exposures(self, panel: Panel, did: Floats) -> None:
        """Every ring holds a unit, and beyond the last lie some of those that have rings."""
        coordinates = np.array([panel.attributes[name] for name in PLACE], dtype=np.float64)
        if not np.isfinite(coordinates).all():
            raise bad("coordinates are missing", where=self.name, allowed="longitude and latitude in degrees of every "
                      "unit", remedy="fill them")  # fmt: skip
        exposures = self.exposed_to(panel, did[None])[0]
        for name, exposure in zip(self.exposures, exposures, strict=True):
            if not exposure.any():
                who, _, ring = name.partition(":")
                raise bad(f"no {who} unit lies {ring} km from the nearest other treated unit",
                          where=f"{self.name} ends", allowed="rings that hold units", remedy="widen or drop that ring"
                          + (', or set reach = "untreated"' if who == "treated" else ""))  # fmt: skip
        beyond = ~exposures.any(axis=0) & did.any(axis=1)[:, None]
        far = {"untreated": beyond & (did == 0), "treated": beyond & (did > 0)}
        for who in self.spills:
            if not far[who].any():
                raise bad(f"no {who} unit lies beyond the last ring", where=f"{self.name} ends",
                          allowed=f"rings that leave some {who} out", remedy="end the rings earlier")  # fmt: skip


@dataclass(frozen=True, eq=False, slots=True)
class ExposureRegression:
    """What the regressors give, (1 or R, ...): x demeaned and psi = bread x (K, T, N), terms (L, K) that each reported
    term takes of the coefficients, inflation of D and the share of unexposed untreated."""

    x: Floats
    psi: Floats
    terms: Floats
    inflation: Floats
    unexposed: Floats


def _means(values: Floats, among: Floats) -> Floats:
    """Means of variables (1 or R, J, T, N) over marked unit-periods (1 or R, T, N), (1 or R, J)."""
    return np.asarray((values * among[:, None]).sum(axis=(2, 3)) / among.sum(axis=(1, 2))[:, None])
