"""The spatial Durbin model of one panel under thousands of treatments: y, W and controls fixed, D differs.

Of the likelihood of `SpatialPanel("sdm")` only the columns D and WD change. With M the projection off effects, controls
and their lags, y~ = My and w~ = MWy, it needs the products of MD and MWD with y~, w~ and one another; (WD)'x = D'(W'x)
moves the lag to the fixed side. Errors come from the observed Hessian at the estimate, in which the other slopes are
partialled out exactly: they meet rho through Z'Wy alone and sigma2 not at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estimators.core import regression as ols
from estimators.core.estimator import ROWS_AT_ONCE, Moments, Reduction, Status
from estimators.core.tile import AssignedTreatments, Tile, TreatmentFits, TreatmentKernel
from estimators.core.treatments import (
    Fields,
    Given,
    Projection,
    TreatmentMoments,
    Treatments,
    WeightForms,
    adjoint_lag,
    outcomes,
    sound,
    treatments,
)
from estimators.spatial.cross_products import SpatialCrossProducts, SpatialMoments, SpatialPlan
from estimators.spatial.fits import Slopes, impacts
from estimators.spatial.likelihood import FORMS, Sizes, log_likelihood, maximise_lag
from estimators.spatial.spectrum import Spectrum, Transform
from sim.arrays import Floats
from sim.errors import BadInput
from sim.panel import Panel

DURBIN_NUMBERS = 8  # of a draw: two products with y~, two with w~, the inverse of Z'Z


def terms_of(treatment: str) -> tuple[str, ...]:
    """The terms of the kernel: slope, that of the lag, rho and the effects."""
    return (treatment, f"w_{treatment}", "rho", *(f"{kind}:{treatment}" for kind in ("direct", "indirect", "total")))


@dataclass(frozen=True, eq=False, slots=True)
class DurbinFits(Moments):
    """One outcome under B treatments: estimate, se (B, K), status, ssr, log_det (B,)."""

    estimate: Floats
    se: Floats
    status: NDArray[np.uint8]
    ssr: Floats
    log_det: Floats


@dataclass(frozen=True, eq=False, slots=True)
class DurbinKernel(TreatmentKernel):
    """The spatial Durbin model with the treatment left open.

    projection: off effects, controls and their lags; controls: its basis and W' of it; forms, spectrum: of W.
    """

    terms: tuple[str, ...]
    projection: Projection
    controls: Fields
    forms: WeightForms
    spectrum: Spectrum
    sizes: Sizes
    transform: Transform

    @classmethod
    def of(cls, panel: Panel, products: SpatialCrossProducts, treatment: str, transform: Transform) -> DurbinKernel:
        """Of a panel and the cross products of its model.

        Raises BadInput for missing cells, and for fixed regressors and lags that the effects absorb or that are
        collinear.
        """
        plan = products.prepare(panel)
        if plan.useless_lags:
            raise BadInput(*plan.useless_lags)
        tile, w = Tile(panel), plan.spectrum.weights
        names = [name for name in products.names if name != treatment]
        fields = [tile.within(name) for name in names] + [tile.within_lag(name, products.weights) for name in names]
        projection = Projection.of(tile.transform, np.concatenate([np.empty((0, plan.periods, plan.units)), *fields]))
        met = Fields(np.concatenate([projection.basis, adjoint_lag(projection.basis, w)]))
        sizes = Sizes.of(plan.units, plan.periods, transform)
        return cls(terms_of(treatment), projection, met, WeightForms.of(w), plan.spectrum, sizes, transform)

    def assign(self, given: Given) -> AssignedDurbin:
        """B treatments, ready for any outcome, as `treatments` takes them."""
        k = len(self.projection.basis)
        drawn = treatments(given, self.projection, "sdm of redrawn treatments")
        c = drawn.meet(self.controls)
        c, lagged = c[:, :k], c[:, k:]
        within = drawn.square()
        own = within - np.vecdot(c, c)
        across, square = drawn.lagged_squares(self.forms)
        across, rest = across - np.vecdot(c, lagged), square - np.vecdot(lagged, lagged)
        enough = sound(own, within, drawn) & (rest > ols.COLLINEAR * square)
        gram = np.stack([own, across, across, rest], axis=1).reshape(-1, 2, 2)
        gram[~enough] = np.eye(2)
        bread, independent = ols.invert(gram)
        bread[~(enough & independent)] = np.nan
        return AssignedDurbin(self, drawn, bread)

    def fields_of(self, raw: Floats) -> tuple[Fields, Floats]:
        """Of an outcome, raw (1, T, N), before any treatment: fields (4, T, N) = y~, w~ and W' of both, and products of
        y~ and w~, (2, 2)."""
        both = np.concatenate([self.projection(raw), self.projection(self.forms.weights.lag(raw))])
        fields = np.concatenate([both, adjoint_lag(both, self.forms.weights)])
        return Fields(fields), ols.gram(both[None])[0]

    def solve(self, zy: Floats, zwy: Floats, bread: Floats, products: Floats) -> DurbinFits:
        """One outcome, products of y~ and w~ (2, 2), under B treatments; every row by itself.

        Z'y~ and Z'w~ (B, 2) and the inverse of Z'Z (B, 2, 2), Z = [MD, MWD], NaN where singular.
        """
        pieces = (slice(start, start + ROWS_AT_ONCE) for start in range(0, len(zy), ROWS_AT_ONCE))
        return DurbinFits.join([self._rows(zy[some], zwy[some], bread[some], products) for some in pieces])

    @np.errstate(divide="ignore", invalid="ignore")  # a degenerate draw is NaN with a status
    def _rows(self, zy: Floats, zwy: Floats, bread: Floats, outcome: Floats) -> DurbinFits:
        sizes, transform, spectrum = self.sizes, self.transform, self.spectrum
        b0, b1 = (np.matmul(bread, z[:, :, None])[:, :, 0] for z in (zy, zwy))
        a = outcome[0, 0] - np.vecdot(zy, b0)
        b = outcome[0, 1] - np.vecdot(zy, b1)
        c = outcome[1, 1] - np.vecdot(zwy, b1)
        rho, converged = maximise_lag(a, b, c, spectrum, sizes, transform)
        ssr = a - 2 * rho * b + rho**2 * c
        slopes, sigma2 = b0 - rho[:, None] * b1, ssr / sizes.nobs
        traces = spectrum.traces(rho, transform)
        curvature = c / sigma2 + sizes.periods * traces.hh - 2 * (b - rho * c) ** 2 / (sizes.nobs * sigma2**2)
        rho_variance = 1 / curvature
        own = Slopes(slopes, sigma2, rho, rho_variance, bread, b1)
        effects, spread = impacts(own, traces, len(self.forms.columns), FORMS["sdm"])
        slope_variance = sigma2[:, None] * np.diagonal(bread, axis1=1, axis2=2) + rho_variance[:, None] * b1**2
        estimate = np.concatenate([slopes, rho[:, None], effects], axis=1)
        variance = np.concatenate([slope_variance, rho_variance[:, None], spread], axis=1)
        se = np.sqrt(np.where(variance >= 0, variance, np.nan))
        defined = np.isfinite(estimate).all(axis=1) & np.isfinite(se).all(axis=1)
        status = np.select([defined & converged, ~converged & np.isfinite(rho)], [Status.OK, Status.NOT_CONVERGED],
                           Status.SINGULAR)  # fmt: skip
        return DurbinFits(estimate, se, status.astype(np.uint8), ssr, traces.log_det)


@dataclass(frozen=True, eq=False, slots=True)
class AssignedDurbin(AssignedTreatments):
    """B treatments of a panel and the inverse of [MD, MWD]'[MD, MWD], bread (B, 2, 2), NaN where singular."""

    kernel: DurbinKernel
    drawn: Treatments
    bread: Floats

    def estimates(self, y: Floats) -> Floats:
        """Those of fits that succeed, (R, B, K)."""
        fits = self.fit(y)
        return np.where((fits.status == Status.OK)[:, :, None], fits.estimate, np.nan)

    def fit(self, y: Floats) -> TreatmentFits:
        """Outcomes y (R, T, N), raw, under each treatment; errors from the observed Hessian."""
        kernel, fits = self.kernel, []
        for raw in outcomes(y, kernel.projection, "sdm of redrawn treatments"):
            fields, products = kernel.fields_of(raw)
            fits.append(kernel.solve(*self.products(fields), self.bread, products))
        estimate, se, status = (np.stack([getattr(one, name) for one in fits]) for name in ("estimate", "se", "status"))
        return TreatmentFits(kernel.terms, estimate, se, status)

    def products(self, fields: Fields) -> tuple[Floats, Floats]:
        """Z'y~ and Z'w~ of B treatments and the fields of an outcome, (B, 2) each."""
        met = self.drawn.meet(fields)
        return np.ascontiguousarray(met[:, 0::2]), np.ascontiguousarray(met[:, 1::2])


@dataclass(frozen=True, slots=True)
class RedrawnDurbin(Reduction):
    """The kernel where the treatment alone differs between replications, else the cross products."""

    products: SpatialCrossProducts
    treatment: str
    transform: Transform

    def prepare(self, panel: Panel) -> RedrawnDurbinPlan | SpatialPlan:
        """Raises BadInput as `SpatialCrossProducts` and `DurbinKernel` do."""
        own, outcome = self.products, self.products.outcome
        if {name for name in (outcome, *own.names) if panel.variables[name].shape[0] > 1} != {self.treatment}:
            return own.prepare(panel)
        kernel, tile = DurbinKernel.of(panel, own, self.treatment, self.transform), Tile(panel)
        within, total = tile.within_sum_of_squares(outcome), tile.total_sum_of_squares(outcome)
        return RedrawnDurbinPlan(kernel, *kernel.fields_of(tile.raw(outcome)), float(within[0]), float(total[0]))

    def for_worlds(self, plan: RedrawnDurbinPlan | SpatialPlan, worlds: int) -> RedrawnDurbinPlan | SpatialPlan:
        """That of the cross products."""
        return self.products.for_worlds(plan, worlds) if isinstance(plan, SpatialPlan) else plan

    def reduce(self, plan: Any, tile: Tile) -> TreatmentMoments | SpatialMoments:
        """Sufficient statistics of either; of the kernel, an absorbing treatment's dates."""
        if not isinstance(plan, RedrawnDurbinPlan):
            return self.products.reduce(plan, tile)
        return TreatmentMoments.of(tile, self.treatment, DURBIN_NUMBERS, plan.numbers)

    def rows(self, plan: Any) -> int:
        """As many as either allows."""
        return ROWS_AT_ONCE if isinstance(plan, RedrawnDurbinPlan) else self.products.rows(plan)


@dataclass(frozen=True, eq=False, slots=True)
class RedrawnDurbinPlan:
    """A cell whose treatment alone is redrawn: sums of squares of the outcome, within and total."""

    kernel: DurbinKernel
    fields: Fields
    products: Floats
    within: float
    total: float

    @property
    def spectrum(self) -> Spectrum:
        """Of W."""
        return self.kernel.spectrum

    def numbers(self, given: NDArray[Any]) -> Floats:
        """Z'y~, Z'w~ and the inverse of Z'Z of B treatments, (B, 8)."""
        assigned = self.kernel.assign(given)
        return np.concatenate([*assigned.products(self.fields), assigned.bread.reshape(-1, 4)], axis=1)

    def solve(self, waiting: TreatmentMoments) -> tuple[DurbinFits, dict[str, Floats]]:
        """The maximum of the likelihood, and the statistics of the fits."""
        zy, zwy, bread = (np.ascontiguousarray(x) for x in np.split(waiting.complete(self.numbers), [2, 4], axis=1))
        fits = self.kernel.solve(zy, zwy, bread.reshape(-1, 2, 2), self.products)
        loglik = log_likelihood(fits.ssr, fits.log_det, self.kernel.sizes)
        return fits, {"loglik": loglik, "r2": 1 - fits.ssr / self.total, "r2_within": 1 - fits.ssr / self.within}
