"""Permutation tests of DID and of the spatial Durbin model without a fit of each draw, for many outcomes at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from estimators.core.estimator import Estimator, Status
from estimators.core.inversion import linear_interval, p_values, searched_interval
from estimators.linear.did import TwoWayDID
from estimators.placebo.assignments import Draws
from estimators.placebo.kernels import AssignedDID, of_units
from estimators.placebo.permuted_did import PermutedDID, assigned, first_periods, shifted_variances
from estimators.placebo.spatial_kernels import TERMS, AssignedSDM, SDMPlacebo
from estimators.spatial.spatial_panel import SpatialPanel
from sim.panel import Panel

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class Tests:
    """p values and interval ends of K terms in R panels, (R, K) each; NaN where there is none."""

    pvalue: Floats
    lower: Floats
    upper: Floats

    @staticmethod
    def none(rows: int, terms: int) -> Tests:
        """No test."""
        return Tests(*(np.full((rows, terms), np.nan) for _ in range(3)))


@dataclass(frozen=True, slots=True)
class Ask:
    """What a kernel must answer: terms of an estimator with this outcome, which statistic, and whether an interval."""

    inner: Estimator
    outcome: str
    terms: tuple[str, ...]
    scheme: str
    statistic: Literal["raw", "studentised"]
    interval: bool

    @property
    def of_treatment(self) -> bool:
        """Whether the scheme assigns the treatment anew on the same sample."""
        return self.scheme.split(":")[0] in {"space", "strata", "blocks", "mixed"}


@dataclass(frozen=True, eq=False, slots=True)
class DIDKernel:
    """Two-way DID under assignments of which the first is the real one; scores only for studentised statistics."""

    ask: Ask
    draws: Draws
    treatment: str
    plain: PermutedDID
    scores: AssignedDID | None

    @classmethod
    def serves(cls, panel: Panel, ask: Ask) -> bool:
        """The treatment's term, studentised by clustered errors alone, with the same regressors in all replications."""
        inner = ask.inner
        if type(inner) is not TwoWayDID or not ask.of_treatment or ask.terms != (panel.roles.treatment,):
            return False
        if set(inner.effects) != {"unit", "period"} or inner.constant:
            return False
        studentised = ask.statistic == "studentised" and not of_units(inner.errors[-1], panel.schema)
        return not studentised and _fixed(panel, ask)

    @classmethod
    def of(cls, panel: Panel, ask: Ask, draws: Draws) -> DIDKernel:
        """Prepare the draws."""
        inner, treatment = ask.inner, panel.roles.treatment or ""
        assert isinstance(inner, TwoWayDID)
        regressors = panel.roles.regressors if inner.regressors is None else inner.regressors
        controls = tuple(name for name in regressors if name != treatment)
        codes = draws.with_real
        plain = PermutedDID.of(panel, draws.randomisation, codes, controls)
        scores = None
        if ask.statistic == "studentised":
            scores = assigned(panel, draws.randomisation, codes, controls, ask.outcome, inner.errors[-1])
        return cls(ask, draws, treatment, plain, scores)

    @np.errstate(divide="ignore", invalid="ignore")  # a degenerate draw is NaN and counts as extreme
    def test(self, panel: Panel) -> Tests:
        """R outcomes under all assignments."""
        plain, scores = self.plain, self.scores
        y, d = plain.outcomes(panel.variables[self.ask.outcome]), plain.outcomes(panel.variables[self.treatment])
        b, slope = plain.coefficients(y), plain.coefficients(d)
        real = b[:, 0]
        ends = (np.full_like(real, np.nan),) * 2
        if scores is None:
            p = p_values(real, b[:, 1:])
            if self.ask.interval:
                ends = linear_interval(real, b[:, 1:], slope[:, 1:])
        else:
            v0, v1, v2 = shifted_variances(scores, y, d, b, slope)

            def pvalue(c: Floats) -> Floats:
                at = c[:, None]
                t = (b - at * slope) / np.sqrt(np.maximum(v0 + at * v1 + at**2 * v2, 0.0))
                return p_values(t[:, 0], t[:, 1:])

            p = pvalue(np.zeros_like(real))
            if self.ask.interval:
                ends = searched_interval(real, np.sqrt(v0[:, 0]), pvalue)
        return Tests(p[:, None], ends[0][:, None], ends[1][:, None])


@dataclass(frozen=True, eq=False, slots=True)
class SDMKernel:
    """The spatial Durbin model under assignments of which the first is the real one; no interval."""

    ask: Ask
    draws: Draws
    columns: tuple[int, ...]
    assigned: AssignedSDM

    @classmethod
    def serves(cls, panel: Panel, ask: Ask) -> bool:
        """Terms of an absorbing treatment, of rho or effects, studentised by the observed Hessian alone."""
        inner, treatment = ask.inner, panel.roles.treatment
        if type(inner) is not SpatialPanel or inner.model != "sdm" or not ask.of_treatment or treatment is None:
            return False
        studentised = ask.statistic == "studentised" and (inner.errors[-1] != "hessian" or inner.simulate > 0)
        known = inner.regressors is None and set(ask.terms) <= set(_own_terms(treatment))
        return known and not studentised and panel.balanced and _fixed(panel, ask)

    @classmethod
    def of(cls, panel: Panel, ask: Ask, draws: Draws) -> SDMKernel:
        """Prepare the draws."""
        inner = ask.inner
        assert isinstance(inner, SpatialPanel)
        own = _own_terms(panel.roles.treatment or "")
        kernel = SDMPlacebo.of(panel, inner.weights, inner.transform, outcome=ask.outcome)
        given = first_periods(draws.randomisation, draws.with_real)
        return cls(ask, draws, tuple(own.index(term) for term in ask.terms), kernel.assign(given))

    @np.errstate(divide="ignore", invalid="ignore")
    def test(self, panel: Panel) -> Tests:
        """R outcomes under all assignments."""
        fits = self.assigned.fit(panel.variables[self.ask.outcome])
        values = fits.estimate[:, :, self.columns]
        if self.ask.statistic == "studentised":
            values = values / fits.se[:, :, self.columns]
        values = np.where((fits.status == Status.OK)[:, :, None], values, np.nan)
        p = np.stack([p_values(values[:, 0, k], values[:, 1:, k]) for k in range(len(self.columns))], axis=1)
        absent = Tests.none(*p.shape)
        return Tests(p, absent.lower, absent.upper)


Kernel = DIDKernel | SDMKernel


def kernel_of(panel: Panel, ask: Ask, draw: Callable[[Panel], Draws]) -> Kernel | None:
    """The kernel that answers for this panel with its draws, or None when each draw must be fitted."""
    for kind in (DIDKernel, SDMKernel):
        if kind.serves(panel, ask):
            return kind.of(panel, ask, draw(panel))
    return None


def _fixed(panel: Panel, ask: Ask) -> bool:
    names = ask.inner.variables(panel.schema) - {ask.outcome}
    return all(panel.variables[name].shape[0] == 1 for name in names)


def _own_terms(treatment: str) -> list[str]:
    """TERMS of the placebo kernel with this treatment's name."""
    return [term.replace("did", treatment) for term in TERMS]
