"""DID and the spatial Durbin model for panels of which the treatment alone is drawn anew: placebo designs.

Where outcome and controls are the same in all replications, `placebo.kernels` and `placebo_spatial` take the
place of a fit of each panel; the numbers are those of `TwoWayDID` and `SpatialPanel`. On any other panel, a real one
included, it is these estimators themselves that are run.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from estimators.core.estimator import Estimates, Estimator, Layout, Moments, Reduction
from estimators.core.tile import Tile
from estimators.linear.covariances import ClusterK
from estimators.linear.did import TwoWayDID
from estimators.placebo.kernels import DIDPlacebo, PlaceboFits, of_units
from estimators.placebo.spatial_kernels import TERMS, OutcomeSDM, SDMPlacebo
from estimators.placebo.treatments import first_treated
from estimators.spatial.spatial_panel import SpatialPanel
from estimators.spatial.spectrum import Transform
from sim.design import Design
from sim.errors import bad
from sim.panel import Panel, Schema
from sim.streams import Streams

Floats = NDArray[np.float64]


class Redrawn(Estimator):
    """The terms of the treatment by the estimator that `general` names, with one type of errors."""

    @abstractmethod
    def general(self, schema: Schema) -> Estimator:
        """The estimator whose numbers these are; raises BadInput when the panel has no treatment."""

    @abstractmethod
    def terms(self, treatment: str) -> tuple[str, ...]:
        """Those of its terms that are reported."""

    @abstractmethod
    def kernel(self, panel: Panel) -> Kernel:
        """What follows from a panel's outcome and controls."""

    def layout(self, schema: Schema) -> Layout:
        """The treatment's terms and their targets; no statistics."""
        whole, terms = self.general(schema).layout(schema), self.terms(treatment_of(schema, self.name))
        return Layout(terms, whole.errors, (), {term: whole.targets[term] for term in terms})

    def variables(self, schema: Schema) -> frozenset[str]:
        """Outcome, treatment and controls."""
        return self.general(schema).variables(schema)

    def reduction(self, schema: Schema) -> Reduction:
        """The kernel, or the reduction of the general estimator."""
        return Assigned(self)

    def solve(self, plan: Any, moments: Any, schema: Schema, streams: Streams) -> Estimates:
        """Estimates of the kernel, or the general estimator's."""
        layout = self.layout(schema)
        if not isinstance(plan, Planned):
            general = self.general(schema).solve(plan, moments, schema, streams)
            columns = [general.terms.index(term) for term in layout.terms]
            chosen = {name: getattr(general, name)[..., columns] for name in ("estimate", "se", "dof")}
            return replace(general, terms=layout.terms, statistics={}, **chosen)
        fits = plan.kernel.solve(moments)
        se = fits.se[0][:, None, :]
        return Estimates(layout.terms, layout.errors, fits.estimate[0], se, np.full_like(se, fits.dof), fits.status[0])


@dataclass(frozen=True, slots=True)
class RedrawnDID(Redrawn):
    """`TwoWayDID` of panels with a redrawn treatment: its coefficient with clustered errors.

    outcome, controls: names of variables; None = the panel's own roles. error: cluster:unit or cluster:ATTRIBUTE.
    cluster_k, target, label: as in `TwoWayDID`.
    """

    kind: ClassVar[str] = "redrawn-did"

    outcome: str | None = None
    controls: tuple[str, ...] | None = None
    error: str = "cluster:unit"
    cluster_k: ClusterK = "nonnested"
    target: str = "att"
    label: str = "did-redrawn"

    def __post_init__(self) -> None:
        if not self.error.startswith("cluster:"):
            raise bad(f"error = {self.error!r}", where=self.label, allowed="cluster:unit, cluster:ATTRIBUTE",
                      remedy='use "cluster:unit"')  # fmt: skip

    @property
    def name(self) -> str:
        """Its label."""
        return self.label

    @property
    def home(self) -> tuple[Design, tuple[str, ...]]:
        """That of `TwoWayDID`, for the treatment."""
        return TwoWayDID().home[0], ("did",)

    def general(self, schema: Schema) -> TwoWayDID:
        """`TwoWayDID` with the same settings."""
        regressors = _regressors(schema, self.controls, self.name)
        return TwoWayDID(self.outcome, regressors, (self.error,), self.cluster_k, self.target, self.label)

    def terms(self, treatment: str) -> tuple[str, ...]:
        """The treatment."""
        return (treatment,)

    def kernel(self, panel: Panel) -> Kernel:
        """Projections of outcome and controls."""
        kernel = DIDPlacebo.of(
            panel, outcome=self.outcome, controls=self.controls, error=self.error, cluster_k=self.cluster_k
        )
        return DIDKernel(kernel, panel.variables[kernel.outcome])


@dataclass(frozen=True, slots=True)
class RedrawnSDM(Redrawn):
    """`SpatialPanel("sdm")` of panels with a redrawn treatment: slopes and effects of the treatment, and rho.

    Errors come from the observed Hessian. outcome, controls, weights: names; None = the panel's own roles and first W.
    transform: direct | lee-yu. label: its name in tables, by default sdm-TRANSFORM-redrawn.
    """

    kind: ClassVar[str] = "redrawn-sdm"

    transform: Transform = "direct"
    outcome: str | None = None
    controls: tuple[str, ...] | None = None
    weights: str | None = None
    label: str = ""

    def __post_init__(self) -> None:
        SpatialPanel("sdm", self.transform)

    @property
    def name(self) -> str:
        """Its label, or e.g. sdm-lee-yu-redrawn."""
        return self.label or f"sdm-{self.transform}-redrawn"

    @property
    def home(self) -> tuple[Design, tuple[str, ...]]:
        """That of `SpatialPanel("sdm")`."""
        design, terms = SpatialPanel("sdm", self.transform).home
        return design, tuple(term for term in TERMS if term in terms)

    def general(self, schema: Schema) -> SpatialPanel:
        """`SpatialPanel` with the same settings."""
        regressors = _regressors(schema, self.controls, self.name)
        return SpatialPanel("sdm", self.transform, self.outcome, regressors, self.weights, label=self.name,
                            errors=("hessian",))  # fmt: skip

    def terms(self, treatment: str) -> tuple[str, ...]:
        """Its slope, that of its lag, rho and its effects."""
        return (
            treatment,
            f"w_{treatment}",
            "rho",
            *(f"{kind}:{treatment}" for kind in ("direct", "indirect", "total")),
        )

    def kernel(self, panel: Panel) -> Kernel:
        """Projections of outcome, controls and their lags."""
        kernel = SDMPlacebo.of(panel, self.weights, self.transform, outcome=self.outcome, controls=self.controls)
        return SDMKernel(kernel, kernel.fields_of(panel.variables[kernel.outcome]))


def redrawn_of(estimator: Estimator, schema: Schema) -> Redrawn | None:
    """The estimator here whose numbers are those of this one, its last error type alone; None when there is none."""
    treatment = schema.roles.treatment
    regressors = getattr(estimator, "regressors", None)
    names = schema.roles.regressors if regressors is None else regressors
    if treatment is None or treatment not in names:
        return None
    controls = tuple(name for name in names if name != treatment)
    if isinstance(estimator, TwoWayDID) and of_units(estimator.errors[-1], schema):
        return RedrawnDID(estimator.outcome, controls, estimator.errors[-1], estimator.cluster_k, estimator.target,
                          estimator.label)  # fmt: skip
    if isinstance(estimator, SpatialPanel) and estimator.model == "sdm":
        return RedrawnSDM(estimator.transform, estimator.outcome, controls, estimator.weights, estimator.name)
    return None


@dataclass(frozen=True, slots=True)
class Assigned(Reduction):
    """What a tile's treatments meet: tables for absorbing ones, else the treatments themselves."""

    estimator: Redrawn

    def prepare(self, panel: Panel) -> Any:
        """The kernel where the treatment alone differs between replications, else the general estimator's plan."""
        treatment = treatment_of(panel.schema, self.estimator.name)
        redrawn = {name for name in self.estimator.variables(panel.schema) if panel.variables[name].shape[0] > 1}
        if redrawn == {treatment}:
            return Planned(treatment, panel.balanced, self.estimator.kernel(panel))
        return self._general(panel).prepare(panel)

    def reduce(self, plan: Any, tile: Tile) -> Moments:
        """Sufficient statistics of the kernel or of the general estimator."""
        if not isinstance(plan, Planned):
            return self._general(tile.panel).reduce(plan, tile)
        d = tile.raw(plan.treatment)
        first = first_treated(d) if plan.balanced else None
        return plan.kernel.reduce(d if first is None else first)

    def _general(self, panel: Panel) -> Reduction:
        reduction = self.estimator.general(panel.schema).reduction(panel.schema)
        assert reduction is not None
        return reduction


@dataclass(frozen=True, eq=False, slots=True)
class Planned:
    """A cell whose treatment alone is redrawn."""

    treatment: str
    balanced: bool
    kernel: Kernel


@dataclass(frozen=True, eq=False, slots=True)
class DIDMoments(Moments):
    """The coefficient and its error, (R, 1), and status (R,)."""

    estimate: Floats
    se: Floats
    status: NDArray[np.uint8]


@dataclass(frozen=True, eq=False, slots=True)
class SDMMoments(Moments):
    """Z'y~ and Z'w~ (R, 2) and the inverse of Z'Z (R, 2, 2), Z = [MD, MWD]."""

    zy: Floats
    zwy: Floats
    bread: Floats


@dataclass(frozen=True, eq=False, slots=True)
class DIDKernel:
    """The DID kernel and its outcome (1, T, N)."""

    kernel: DIDPlacebo
    y: Floats

    def reduce(self, given: NDArray[Any]) -> DIDMoments:
        """R treatments as `DIDPlacebo.assign` takes them."""
        fits = self.kernel.assign(given).fit(self.y)
        return DIDMoments(fits.estimate[0], fits.se[0], fits.status[0])

    def solve(self, moments: DIDMoments) -> PlaceboFits:
        """The moments hold the answers."""
        parts = (moments.estimate[None], moments.se[None], moments.status[None])
        return PlaceboFits(("did",), *parts, self.kernel.dof)


@dataclass(frozen=True, eq=False, slots=True)
class SDMKernel:
    """The SDM kernel and its outcome."""

    kernel: SDMPlacebo
    outcome: OutcomeSDM

    def reduce(self, given: NDArray[Any]) -> SDMMoments:
        """R treatments as `SDMPlacebo.assign` takes them."""
        drawn = self.kernel.assign(given)
        return SDMMoments(*drawn.moments(self.outcome), drawn.bread)

    def solve(self, moments: SDMMoments) -> PlaceboFits:
        """The maximum of the likelihood."""
        return self.kernel.solve(moments.zy, moments.zwy, self.outcome.products, moments.bread)


Kernel = DIDKernel | SDMKernel


def treatment_of(schema: Schema, asked_by: str) -> str:
    """The panel's treatment; raises BadInput when it has none."""
    if schema.roles.treatment is None:
        raise bad("the panel has no treatment", where=asked_by, allowed="a panel with a treatment",
                  remedy='set treatment = "..." in [panel]')  # fmt: skip
    return schema.roles.treatment


def _regressors(schema: Schema, controls: tuple[str, ...] | None, asked_by: str) -> tuple[str, ...]:
    return (treatment_of(schema, asked_by), *(schema.roles.controls if controls is None else controls))
