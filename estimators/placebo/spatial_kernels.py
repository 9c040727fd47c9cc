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
from estimators.core.estimator import ROWS_AT_ONCE, Status
from estimators.core.names import outcome_of, weights_of
from estimators.core.tile import Tile
from estimators.placebo.kernels import DRAWS_AT_ONCE, PlaceboFits, fixed_controls, sound, within_stack
from estimators.placebo.treatments import (
    Fields,
    Projection,
    Treatments,
    WeightForms,
    adjoint_lag,
    outcomes,
    treatments,
)
from estimators.spatial.effects import Slopes, impacts
from estimators.spatial.form import FORMS
from estimators.spatial.likelihood import Sizes, maximise_lag
from estimators.spatial.spectrum import Spectrum, Transform, spectrum_of
from sim.errors import bad
from sim.panel import Panel

Floats = NDArray[np.float64]

TERMS = ("did", "w_did", "rho", "direct:did", "indirect:did", "total:did")


@dataclass(frozen=True, eq=False, slots=True)
class SDMPlacebo:
    """The spatial Durbin model with the treatment left open.

    outcome: its name in the panel; projection: off effects, controls and their lags; controls: its basis and W' of it;
    forms, spectrum: of W.
    """

    outcome: str
    projection: Projection
    controls: Fields
    forms: WeightForms
    spectrum: Spectrum
    sizes: Sizes
    transform: Transform

    @classmethod
    def of(
        cls, panel: Panel, weights: str | None = None, transform: Transform = "direct", *,
        outcome: str | None = None, controls: tuple[str, ...] | None = None,
    ) -> SDMPlacebo:  # fmt: skip
        """Of a balanced panel's outcome, controls (None = its roles) and weights (None = its first).

        Raises BadInput for missing cells, controls as in `DIDPlacebo`, and lee-yu with a W that is not row-stochastic.
        """
        name = outcome_of(outcome, panel.schema, "sdm placebo")
        controls = fixed_controls(panel, controls, "sdm placebo")
        if not panel.balanced:
            raise bad("unit-periods are missing", where="sdm placebo", allowed="a balanced panel",
                      remedy='set balance = "drop-units" or "drop-periods"')  # fmt: skip
        key = weights_of(weights, panel.schema, "sdm placebo")
        w, tile = panel.weights[key], Tile(panel)
        if transform not in ("direct", "lee-yu") or (transform == "lee-yu" and not w.row_stochastic):
            raise bad(f"transform = {transform!r}", where="sdm placebo",
                      allowed="direct, or lee-yu for row-stochastic W", remedy='use transform = "direct"')  # fmt: skip
        lags = [tile.within_lag(control, key) for control in controls]
        projection = Projection.of(tile.transform, np.concatenate([within_stack(tile, controls), *lags]))
        sizes = Sizes.of(len(panel.units), len(panel.periods), transform)
        basis = projection.basis
        controls_met = Fields(np.concatenate([basis, adjoint_lag(basis, w)]))
        return cls(name, projection, controls_met, WeightForms.of(w), spectrum_of(w), sizes, transform)

    def assign(self, given: NDArray[Any]) -> AssignedSDM:
        """B treatments, ready for any outcome: first treated periods (B, N), T = never, or D (B, T, N)."""
        k = len(self.projection.basis)
        drawn = treatments(given, self.projection, "sdm placebo")
        c = drawn.meet(self.controls)
        c, lagged = c[:, :k], c[:, k:]
        within = drawn.square()
        own = within - np.vecdot(c, c)
        across, square = drawn.lagged_squares(self.forms)
        across, rest = across - np.vecdot(c, lagged), square - np.vecdot(lagged, lagged)
        enough = sound(own, within, drawn.total) & (rest > ols.COLLINEAR * square)
        gram = np.stack([own, across, across, rest], axis=1).reshape(-1, 2, 2)
        gram[~enough] = np.eye(2)
        bread, independent = ols.invert(gram)
        bread[~(enough & independent)] = np.nan
        return AssignedSDM(self, drawn, bread)

    def fields_of(self, raw: Floats) -> OutcomeSDM:
        """An outcome, raw (1, T, N), as its products with any treatment need it."""
        both = np.concatenate([self.projection(raw), self.projection(self.forms.weights.lag(raw))])
        fields = np.concatenate([both, adjoint_lag(both, self.forms.weights)])
        return OutcomeSDM(Fields(fields), ols.gram(both[None])[0])

    def solve(self, zy: Floats, zwy: Floats, products: Floats, bread: Floats) -> PlaceboFits:
        """One outcome under B treatments from Z'y~, Z'w~ (B, 2) with Z = [MD, MWD], products of y~ and w~ (2, 2) and
        bread (B, 2, 2); every row by itself."""
        pieces = [
            self._rows(zy[rows], zwy[rows], products, bread[rows])
            for rows in (slice(start, start + ROWS_AT_ONCE) for start in range(0, len(zy), ROWS_AT_ONCE))
        ]
        estimate, se, converged = (np.concatenate(column) for column in zip(*pieces, strict=True))
        defined = np.isfinite(estimate).all(axis=1) & np.isfinite(se).all(axis=1)
        status = np.select([defined & converged, defined], [Status.OK, Status.NOT_CONVERGED], Status.SINGULAR)
        return PlaceboFits(TERMS, estimate[None], se[None], status.astype(np.uint8)[None], np.inf)

    @np.errstate(divide="ignore", invalid="ignore")  # a degenerate draw is NaN with a status
    def _rows(
        self, zy: Floats, zwy: Floats, outcome: Floats, bread: Floats
    ) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        sizes, transform, spectrum = self.sizes, self.transform, self.spectrum
        b0, b1 = (np.matmul(bread, z[:, :, None])[:, :, 0] for z in (zy, zwy))
        a = outcome[0, 0] - np.vecdot(zy, b0)
        b = outcome[0, 1] - np.vecdot(zy, b1)
        c = outcome[1, 1] - np.vecdot(zwy, b1)
        best = maximise_lag(a, b, c, spectrum, sizes, transform)
        rho = best.at
        slopes, sigma2 = b0 - rho[:, None] * b1, (a - 2 * rho * b + rho**2 * c) / sizes.nobs
        traces = spectrum.traces(rho, transform)
        curvature = c / sigma2 + sizes.periods * traces.hh - 2 * (b - rho * c) ** 2 / (sizes.nobs * sigma2**2)
        rho_variance = 1 / curvature
        own = Slopes(slopes, sigma2, rho, rho_variance, bread, b1)
        effects, spread = impacts(own, traces, len(self.forms.columns), FORMS["sdm"])
        slope_variance = sigma2[:, None] * np.diagonal(bread, axis1=1, axis2=2) + rho_variance[:, None] * b1**2
        estimate = np.concatenate([slopes, rho[:, None], effects], axis=1)
        variance = np.concatenate([slope_variance, rho_variance[:, None], spread], axis=1)
        return estimate, np.sqrt(np.where(variance >= 0, variance, np.nan)), best.converged


@dataclass(frozen=True, eq=False, slots=True)
class OutcomeSDM:
    """An outcome before any treatment: fields (4, T, N) = y~, w~ and W' of both; products of y~ and w~, (2, 2)."""

    fields: Fields
    products: Floats


@dataclass(frozen=True, eq=False, slots=True)
class AssignedSDM:
    """B treatments of a panel and the inverse of [MD, MWD]'[MD, MWD], bread (B, 2, 2), NaN where singular."""

    kernel: SDMPlacebo
    drawn: Treatments
    bread: Floats

    def fit(self, y: Floats) -> PlaceboFits:
        """Outcomes y (R, T, N), raw, under each treatment; errors from the observed Hessian."""
        fits = []
        for raw in outcomes(y, self.kernel.projection, "sdm placebo"):
            outcome = self.kernel.fields_of(raw)
            fits.append(self.kernel.solve(*self.moments(outcome), outcome.products, self.bread))
        estimate, se, status = (
            np.concatenate([getattr(one, name) for one in fits]) for name in ("estimate", "se", "status")
        )
        return PlaceboFits(TERMS, estimate, se, status, np.inf)

    def moments(self, outcome: OutcomeSDM) -> tuple[Floats, Floats]:
        """Z'y~ and Z'w~, Z = [MD, MWD], (B, 2) each."""
        moments = self.drawn.meet(outcome.fields)
        return np.ascontiguousarray(moments[:, 0::2]), np.ascontiguousarray(moments[:, 1::2])


def sdm_placebo(
    panel: Panel, given: NDArray[Any], weights: str | None = None, transform: Transform = "direct", *,
    outcome: str | None = None, controls: tuple[str, ...] | None = None,
) -> PlaceboFits:  # fmt: skip
    """`SpatialPanel("sdm", errors=("hessian",))` of a panel's R outcomes with each of B treatments in place of its own.

    given: first treated periods (B, N) as indices, T = never, of absorbing treatments (tables), or D (B, T, N). Terms
    are did, w_did, rho, direct:did, indirect:did and total:did. Bits of a draw depend on the others that it comes
    with only through the largest number of treated units among them.
    """
    kernel = SDMPlacebo.of(panel, weights, transform, outcome=outcome, controls=controls)
    y = panel.variables[kernel.outcome]
    batches = (given[start : start + DRAWS_AT_ONCE] for start in range(0, max(len(given), 1), DRAWS_AT_ONCE))
    return PlaceboFits.join([kernel.assign(batch).fit(y) for batch in batches])
