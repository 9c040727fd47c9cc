"""Synthetic difference-in-differences, synthetic control and its demeaned form, on R panels at once.

Outcomes less what covariates explain, and adoption, of R panels: what synthetic estimators are fitted to.

y - x b with b of the two-way regression of y on covariates x over untreated cells, those before each unit's adoption
(Arkhangelsky, Athey, Hirshberg, Imbens and Wager 2021, footnote 4; Clarke, Pailanir, Athey and Imbens 2023, section
2.4, by projection). b is that of the whole sample wherever parts of it are fitted again, as in a jackknife.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from estimators.core import regression as ols
from estimators.core.error_types import check_error_types, kind_of
from estimators.core.estimator import (
    Estimates,
    Home,
    Layout,
    Moments,
    Pieces,
    Reduction,
    Status,
    TreatmentEstimator,
)
from estimators.core.tile import UNDATED, Tile, dates_of, spread
from estimators.staggered.adoption_effects import Cohorts
from estimators.staggered.dummy_regression import UntreatedFit
from estimators.synthetic.imputed_effects import UnitSamples, check_draws, standard_error
from estimators.synthetic.left_out import (
    SampleFit,
    Weighting,
    fit_samples,
    jackknife,
    zetas_of,
)
from sim.arrays import Codes, Floats
from sim.errors import BadInput, bad, listed, one_of
from sim.panel import Panel, check_balanced
from sim.schema import Schema
from sim.streams import Streams
from sim.world.panel_design import PanelDesign
from sim.world.parts.adoption import Random
from sim.world.parts.covariates import Normal
from sim.world.parts.effect import Effect


@dataclass(frozen=True, eq=False, slots=True)
class AdjustedOutcomes(Moments):
    """Outcomes less covariates, Pieces (R, T, N); first treated periods (R, N), T = never; status (R,)."""

    y: Pieces
    first: Codes
    status: NDArray[np.uint8]


# First treated periods (N,) and the fit of the covariates where no replication changes these; else None.
AdoptionPlan = tuple[Codes | None, UntreatedFit | None]


@dataclass(frozen=True, slots=True)
class Adjustment(Reduction):
    """Outcome, treatment and covariates of a panel; fewest: periods before adoption that every date must have."""

    outcome: str
    treatment: str
    covariates: tuple[str, ...]
    fewest: int
    asked_by: str

    def prepare(self, panel: Panel) -> AdoptionPlan:
        """What no replication changes; raises BadInput for a panel that cannot serve, and for covariates that the
        effects absorb or that cannot be told apart."""
        check_balanced(panel, self.asked_by)
        ols.check_fixed(panel, self.covariates, self.asked_by)
        if panel.variables[self.treatment].shape[0] > 1:
            return None, None
        cohorts = Cohorts.of(panel, self.treatment, self.asked_by, even=False)
        if not cohorts.never.any():
            raise bad("every unit is treated in the end", where=self.asked_by, allowed="units that are never treated",
                      remedy="leave out the periods in which all are treated")  # fmt: skip
        if cohorts.firsts[0] < self.fewest:
            early = [cohorts.periods[date] for date in cohorts.firsts if date < self.fewest]
            raise bad(f"units that adopt in {listed(early)} have fewer than {self.fewest} periods before",
                      where=self.asked_by, allowed=f"{self.fewest} or more periods before adoption",
                      remedy="leave out those units, or add earlier periods")  # fmt: skip
        if not self.covariates or any(panel.variables[name].shape[0] > 1 for name in self.covariates):
            return cohorts.first, None
        fit = UntreatedFit.of(panel, cohorts, self.covariates, self.asked_by)
        if not fit.sound:
            raise bad("the controls are collinear with one another or with the effects where nobody is treated",
                      where=self.asked_by, allowed="controls that vary over untreated cells",
                      remedy="remove some")  # fmt: skip
        return cohorts.first, fit

    def reduce(self, plan: AdoptionPlan, tile: Tile) -> AdjustedOutcomes:
        """One tile's outcomes, adjusted, and who adopts when."""
        panel, rows, periods = tile.panel, tile.panel.replications, len(tile.panel.periods)
        y = spread(tile.raw(self.outcome), rows)
        dates, fit = plan
        if dates is not None and (fit is not None or not self.covariates):
            first = np.broadcast_to(dates, (rows, dates.size)).copy()
            adjusted = y.copy() if fit is None else self._without_covariates(y, fit, panel)
            return AdjustedOutcomes(Pieces((adjusted,)), first, np.full(rows, Status.OK, dtype=np.uint8))

        # redrawn adoption must leave something to compare with
        found = dates_of(tile.raw(self.treatment)).astype(np.intp)
        first = np.broadcast_to(found, (rows, found.shape[1]))
        dated = (first > 0) & (first < periods)
        early = dated & (first < self.fewest)
        served = ((first != UNDATED).all(axis=1) & dated.any(axis=1) & (first == periods).any(axis=1)
                  & ~early.any(axis=1))  # fmt: skip
        status = np.where(served, Status.OK, Status.REFUSED).astype(np.uint8)
        first = np.where(first == UNDATED, periods, first)
        if not self.covariates:
            return AdjustedOutcomes(Pieces((y.copy(),)), first, status)
        parts = [self._alone(panel.replication(row), status[row : row + 1]) for row in range(rows)]
        return AdjustedOutcomes(Pieces((np.concatenate(parts),)), first, status)

    def _alone(self, panel: Panel, status: NDArray[np.uint8]) -> Floats:
        """Adjusted outcomes of one replication, (1, T, N); notes in its status (1,) what is wrong."""
        y = panel.variables[self.outcome]
        if status[0] != Status.OK:
            return y
        try:
            cohorts = Cohorts.of(panel, self.treatment, self.asked_by, even=False)
            fit = UntreatedFit.of(panel, cohorts, self.covariates, self.asked_by)
        except BadInput:
            status[0] = Status.REFUSED
            return y
        if not fit.sound:
            status[0] = Status.SINGULAR
            return y
        return self._without_covariates(y, fit, panel)

    def _without_covariates(self, y: Floats, fit: UntreatedFit, panel: Panel) -> Floats:
        """y - x b, (R, T, N), with the slopes of a fit on untreated cells."""
        x = np.stack([panel.variables[name][0] for name in self.covariates])  # (C, T, N)
        effects = replace(fit, x=fit.x[:0], bread=fit.bread[:0, :0])
        visible = (fit.x * fit.mask).reshape(len(x), -1)
        left = effects.adjusted(y).reshape(len(y), -1, 1)
        b = np.matmul(fit.bread, np.matmul(visible, left))
        return y - np.matmul(b.transpose(0, 2, 1), x.reshape(len(x), -1)).reshape(y.shape)


PANELS_AT_ONCE = 64
HOME = PanelDesign(units=80, periods=12, covariates=(Normal(effect=0.5),), effect=Effect(size=0.5),
                   adoption=Random(treated=25, last_periods=4))  # fmt: skip
STATISTICS = ("pre_rmse", "effective_units", "effective_periods")


@dataclass(frozen=True, eq=False, slots=True)
class SyntheticPath:
    """Units that adopt at one date beside their synthetic control.

    adopted: the first treated period. treated: their names. units: weights (N,) of the panel's units; periods: weights
    (T,) of the panel's periods, zero from adoption on. observed, synthetic: mean of the treated and weighted mean of
    the controls, (T,), in units of the outcome less covariates. estimate: the effect; shift: the level by which the
    observed path stands above the synthetic one before adoption, over the periods' weights (0 where there are none),
    so that estimate is the mean gap after adoption less shift. treated_cells: its weight among the dates.
    """

    adopted: int
    treated: tuple[str, ...]
    units: Floats
    periods: Floats
    observed: Floats
    synthetic: Floats
    estimate: float
    shift: float
    treated_cells: int

    @property
    def gap(self) -> Floats:
        """Observed less synthetic path, (T,)."""
        return self.observed - self.synthetic


@dataclass(frozen=True, slots=True)
class SyntheticEstimator(TreatmentEstimator):
    """Base of the estimators that weight control units, periods before adoption, or both.

    outcome, controls: names of variables; None = the panel's own roles. Controls are covariates: the outcome is taken
    less x b, b of the two-way regression on untreated cells of the whole sample. errors: jackknife:unit,
    bootstrap:unit, placebo:unit, with normal inference. The jackknife takes two treated units or more; the placebo is
    the only one for a single treated unit, takes more controls than treated units, and assumes that both have errors of
    one variance. draws: samples of bootstrap and placebo. refit: whether the jackknife fits weights anew
    without each unit, or those of the whole sample are renormalised, which is the paper's algorithm 3 and wrong for
    weights of units alone (docs/formulas/synthetic.md: intervals cover too much there, and too little of synthetic
    DID). label: its name in tables.
    """

    gaps: ClassVar[bool] = False
    # home: a world of 80 units whose 25 treated ones are chosen at random: as many periods as the weights can
    # serve
    home: ClassVar[Home] = (HOME, ("did",))

    outcome: str | None = None
    controls: tuple[str, ...] | None = None
    errors: tuple[str, ...] = ("jackknife:unit",)
    draws: int = 200
    refit: bool = True
    label: str = ""

    @property
    @abstractmethod
    def weighting(self) -> Weighting:
        """How units and periods are weighted."""

    def layout(self, schema: Schema) -> Layout:
        """The treatment alone. Statistics, means over dates by treated cells: pre_rmse, the root mean squared gap
        before adoption, less its mean where there is an intercept; effective_units and effective_periods, one over the
        sum of squared weights (0 where periods have none)."""
        outcome, treatment, controls = self.names(schema)
        for name in (outcome, treatment, *controls):
            schema.require(name, self.name)
        if len({outcome, treatment, *controls}) < 2 + len(controls):
            raise bad(f"a variable is used twice among {one_of((outcome, treatment, *controls))}", where=self.name,
                      allowed="each variable once", remedy="remove the repeated name")  # fmt: skip
        if schema.roles.continuous:
            raise bad(f"{treatment!r} has any strength", where=self.name, allowed="a treatment of 0 and 1",
                      remedy='choose another estimator, such as "did"')  # fmt: skip
        check_error_types(self.errors, schema, self.name, "synthetic")
        check_draws(self.draws, self.name)
        return Layout((treatment,), self.errors, STATISTICS, {treatment: "att"})

    def reduction(self, schema: Schema) -> Adjustment:
        """Outcomes less covariates, and adoption."""
        return Adjustment(*self.names(schema), self.weighting.fewest_before, self.name)

    @np.errstate(divide="ignore", invalid="ignore")  # a degenerate draw is NaN with a status
    def solve(self, plan: Any, moments: Any, schema: Schema, streams: Streams) -> Estimates:
        """Weights, estimates and errors."""
        assert isinstance(moments, AdjustedOutcomes)
        rows = len(moments.first)
        estimate, se = np.full(rows, np.nan), np.full((rows, len(self.errors)), np.nan)
        statistics, status = np.full((rows, len(STATISTICS)), np.nan), moments.status.copy()
        for some, y in moments.y.chunks(PANELS_AT_ONCE):
            first = moments.first[some]
            first = np.where((status[some] == Status.OK)[:, None], first, 0)  # units that take no part
            found = fit_samples(y, first, self.weighting)
            own = streams.tile(streams.start + some.start, streams.start + some.stop)
            estimate[some], statistics[some] = found.estimate, summaries(y, found, self.weighting)
            for column, error in enumerate(self.errors):
                se[some, column] = self._errors(error, y, first, found, own)
            missed = (status[some] == Status.OK) & ~(found.optimal & np.isfinite(found.estimate))
            kind = np.where(np.isfinite(y).all(axis=(1, 2)), Status.NOT_CONVERGED, Status.SINGULAR)
            status[some] = np.where(missed, kind, status[some])
        failed = status != Status.OK
        estimate[failed], se[failed], statistics[failed] = np.nan, np.nan, np.nan
        named = dict(zip(STATISTICS, statistics.T, strict=True))
        dof = np.full((rows, len(self.errors), 1), np.inf)
        return Estimates.of(self.layout(schema), estimate[:, None], se[:, :, None], dof, named, status=status)

    def _errors(self, error: str, y: Floats, first: Codes, found: SampleFit, streams: Streams) -> Floats:
        """Standard errors of one type of some panels, (R,); samples that are drawn keep the penalties of the panel."""
        if kind_of(error) == "jackknife":
            return jackknife(y, first, found, self.weighting, refit=self.refit)

        def estimated(samples: UnitSamples) -> Floats:
            zetas = zetas_of(found, samples.rows)
            return fit_samples(samples.of(y), samples.first, self.weighting, zetas).estimate

        se = standard_error(error, first, y.shape[1], estimated, streams, self.draws)
        several = (first == y.shape[1]).sum(axis=1) > 1  # a control alone shows not how much it moves by itself
        return np.where(several, se, np.nan)

    def paths(self, panel: Panel, replication: int = 0) -> tuple[SyntheticPath, ...]:
        """Weights and paths of one panel, the earliest date of adoption first. Raises BadInput as a fit does, and for a
        draw that cannot be fitted."""
        self.layout(panel.schema)
        alone = panel.replication(replication)
        reduction = self.reduction(panel.schema)
        moments = reduction.reduce(reduction.prepare(alone), Tile(alone))
        y, first = moments.y.parts[0], moments.first
        found = fit_samples(y, first, self.weighting)
        out = []
        for _, block, fit in found.dates:
            date, own = block.date, block.treated[0] > 0
            periods = np.zeros(y.shape[1])
            periods[:date] = fit.periods[0]
            synthetic = y[0] @ fit.units[0]
            observed = y[0] @ (own / own.sum())
            names = tuple(str(name) for name in np.array(panel.units)[own])
            shift = float(periods @ (observed - synthetic))
            out.append(SyntheticPath(int(panel.periods[date]), names, fit.units[0], periods, observed, synthetic,
                                     float(fit.estimate[0]), shift, int(block.cells[0])))  # fmt: skip
        return tuple(out)


def average_weights(paths: Sequence[SyntheticPath]) -> tuple[Floats, Floats]:
    """Weights of units (N,) and of periods (T,) of one panel's dates, averaged by treated cells as estimates are."""
    cells = np.array([path.treated_cells for path in paths], dtype=np.float64)
    share = cells / cells.sum()
    return share @ np.stack([path.units for path in paths]), share @ np.stack([path.periods for path in paths])


def summaries(y: Floats, found: SampleFit, how: Weighting) -> Floats:
    """The statistics of each sample of outcomes (P, T, N), (P, 3); a gap that is rounding is 0."""
    out = np.zeros((len(found.estimate), len(STATISTICS)))
    for rows, block, fit in found.dates:
        before = fit.gap[:, : block.date]
        if how.units != "fitted":
            before = before - before.mean(axis=1, keepdims=True)
        squares = np.vecdot(fit.periods, fit.periods)
        periods = np.where(squares > 0, 1 / np.where(squares > 0, squares, 1.0), 0.0)
        apart = np.square(before).mean(axis=1)
        apart = np.where(apart > ols.EXACT * y[rows].var(axis=(1, 2)), apart, 0.0)
        own = [np.sqrt(apart), 1 / np.vecdot(fit.units, fit.units), periods]
        out[rows] += block.cells[:, None] * np.stack(own, axis=1)
    return out / np.where(found.cells > 0, found.cells, np.nan)[:, None]


@dataclass(frozen=True, slots=True)
class SyntheticDID(SyntheticEstimator):
    """Synthetic difference-in-differences: a double difference with weights of units and of periods.

    Controls are weighted so that, up to a constant, they move as the treated did before adoption; periods before it so
    that they resemble those after it (Arkhangelsky, Athey, Hirshberg, Imbens and Wager 2021). Every date of adoption is
    compared with the never treated, and dates are averaged by treated cells (Clarke, Pailanir, Athey and Imbens 2023).
    Unbalanced panels are refused. `paths` has weights and paths of one panel.

    >>> import panelproof as pp
    >>> found = pp.SyntheticDID()(pp.example_panel().panel)
    >>> print(f"{found.params['did']:.3f} ({found.std_errors['did']:.3f})")
    0.035 (0.011)
    """

    kind: ClassVar[str] = "synthetic-did"
    weighting: ClassVar[Weighting] = Weighting("demeaned", "fitted", penalised=True)


@dataclass(frozen=True, slots=True)
class SyntheticControl(SyntheticEstimator):
    """Synthetic control: the treated less weighted controls that were at their level before adoption.

    Weights are those of outcomes alone (Abadie, Diamond and Hainmueller 2010, without their weights of predictors), in
    the form of Arkhangelsky and others (2021, section 2). regularised: with the penalty of synthetic DID, else hardly
    penalised. Dates of adoption as in `SyntheticDID`.

    >>> import panelproof as pp
    >>> found = pp.SyntheticControl()(pp.example_panel().panel)
    >>> print(f"{found.params['did']:.3f} ({found.std_errors['did']:.3f})")
    0.038 (0.012)
    """

    kind: ClassVar[str] = "synthetic-control"

    regularised: bool = False

    @property
    def weighting(self) -> Weighting:
        """Units without an intercept, no periods."""
        return Weighting("fitted", "none", self.regularised)


@dataclass(frozen=True, slots=True)
class DemeanedSyntheticControl(SyntheticEstimator):
    """Demeaned synthetic control: as synthetic control, but controls need only move as the treated did (DIFP).

    The weights have an intercept, and gaps are differences from their mean before adoption (Doudchenko and Imbens 2016;
    Ferman and Pinto 2021). regularised: with the penalty of synthetic DID, else hardly penalised. Dates of adoption as
    in `SyntheticDID`.

    >>> import panelproof as pp
    >>> found = pp.DemeanedSyntheticControl()(pp.example_panel().panel)
    >>> print(f"{found.params['did']:.3f} ({found.std_errors['did']:.3f})")
    0.034 (0.011)
    """

    kind: ClassVar[str] = "demeaned-synthetic-control"

    regularised: bool = False

    @property
    def weighting(self) -> Weighting:
        """Units with an intercept, all periods alike."""
        return Weighting("demeaned", "equal", self.regularised)


@dataclass(frozen=True, slots=True)
class EquallyWeightedDID(SyntheticEstimator):
    """The double difference with equal weights of controls and of periods before adoption: DID with these errors.

    With one date of adoption it equals `did`; of several, each is compared with the never treated alone, and dates are
    averaged by treated cells, so that no treated unit serves as a control.

    >>> import panelproof as pp
    >>> found = pp.EquallyWeightedDID()(pp.example_panel().panel)
    >>> print(f"{found.params['did']:.3f} ({found.std_errors['did']:.3f})")
    0.035 (0.010)
    """

    kind: ClassVar[str] = "equally-weighted-did"
    weighting: ClassVar[Weighting] = Weighting("equal", "equal", penalised=False)
