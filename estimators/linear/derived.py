"""Least squares on variables that are made of a panel's own: products, means over periods.

What such an estimator adds to `TwoWayDID` is a panel: that of the new variables. Plans, moments, error types and
degrees of freedom are those of the regression on it.

Experiments with one date: post-period means of the outcome on who is treated, with or without the mean before.

With means over m periods before and r after the date, equal variances and correlation c between periods, the variance
of the estimate is proportional to (Frison and Pocock 1992, Statistics in Medicine 11:1685; McKenzie 2012, Journal of
Development Economics 99:210)

    post-only   (1 + (r - 1) c)/r
    DID         (1 - c)/r + (1 - c)/m
    ANCOVA      (1 + (r - 1) c)/r - m c^2/(1 + (m - 1) c)

so that ANCOVA is never worse than the others where treatment is assigned at random. It is biased where it is not:
units that begin apart do not differ by the mean before alone, as DID has it.

Where the panel has a weight w_it, all means over periods are by weight, and a unit's row has the mean of w_it over the
observed periods after the date. A panel without gaps then gives the coefficients of least squares of the outcomes after
the date, weighted by w_it; equal weights give the regression without weights, with gaps too.

Effects that differ with a moderator or between two groups: products with the treatment in a two-way regression.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from estimators.core import regression as ols
from estimators.core.error_types import kind_of
from estimators.core.estimator import (
    Estimates,
    Home,
    Layout,
    Moments,
    Reduction,
    Status,
    TermCovariance,
    TreatmentEstimator,
    WeightUse,
    of_a_dose,
    one_by_one,
    slope_targets,
)
from estimators.core.tile import Tile, observed_mask, weight_root
from estimators.linear.covariances import ClusterK
from estimators.linear.did import TwoWayDID
from estimators.linear.few_clusters import PLACEBOS
from estimators.linear.least_squares import LeastSquares, LinearPlan
from sim.arrays import Flags, Floats
from sim.errors import bad, listed, one_of
from sim.panel import Panel, group_labels, part, seen_in
from sim.presets import Paper
from sim.schema import Schema
from sim.streams import Streams
from sim.world.panel_design import PanelDesign
from sim.world.parts.adoption import Random
from sim.world.parts.covariates import Normal
from sim.world.parts.effect import Effect
from sim.world.parts.errors import Process
from sim.world.parts.levels import Effects
from sim.world.parts.mediators import Linear


class DerivedRegression(TreatmentEstimator):
    """A regression on the panel that `derived` makes of another one, weighted where that one has a weight."""

    weight_use: ClassVar[WeightUse] = "used"

    errors: tuple[str, ...]

    @abstractmethod
    def regression(self, schema: Schema) -> TwoWayDID:
        """The regression on the panel that is made of one of this schema; raises BadInput when it cannot serve."""

    @abstractmethod
    def derived(self, panel: Panel) -> Panel:
        """The panel (R replications) with the variables of the regression; raises BadInput when it cannot be made."""

    def rows_differ(self, panel: Panel) -> bool:
        """Whether replications may differ in which rows that panel has."""
        return False

    @abstractmethod
    def derived_schema(self, schema: Schema) -> Schema:
        """What is known of that panel before its numbers."""

    @abstractmethod
    def targets(self, schema: Schema) -> dict[str, str]:
        """The estimand of each term that has one."""

    def layout(self, schema: Schema) -> Layout:
        """That of the regression, with targets of its own."""
        for name in sorted(self.variables(schema)):
            schema.require(name, self.name)
        placebos = [error for error in self.errors if kind_of(error) in PLACEBOS]
        if placebos:
            raise bad(f"{placebos[0]} of a treatment beside its products", where=f"{self.name} errors",
                      allowed="error types that need no placebos", remedy="choose another error type")  # fmt: skip
        whole = self.regression(schema).layout(self.derived_schema(schema))
        targets = self.targets(schema)
        return replace(whole, targets={term: targets[term] for term in whole.terms if term in targets})

    def used(self, panel: Panel) -> Panel:
        """The part of the panel that is made, without singletons where they are dropped."""
        return self.regression(panel.schema).used(self.derived(panel))

    def reduction(self, schema: Schema) -> Reduction:
        """Least squares on the panel that is made."""
        return DerivedLeastSquares(self, self.regression(schema).reduction(self.derived_schema(schema)))

    def solve(self, plan: Any, moments: Any, schema: Schema, streams: Streams) -> Estimates:
        """The answers of the regression."""
        if isinstance(moments, Estimates):
            return moments
        return self.regression(schema).solve(plan, moments, self.derived_schema(schema), streams)

    def covariance(self, panel: Panel, error: str) -> TermCovariance:
        """Those of the regression."""
        self.layout(panel.schema)
        return self.regression(panel.schema).covariance(self.derived(panel), error)


@dataclass(frozen=True, slots=True)
class DerivedLeastSquares(Reduction):
    """Least squares on the panel that an estimator makes of a tile's."""

    estimator: DerivedRegression
    inner: LeastSquares

    def prepare(self, panel: Panel) -> LinearPlan | None:
        """The plan of the regression, None where its rows differ between replications, which are then fitted one by
        one. Raises BadInput for what it cannot serve, such as collinear regressors."""
        if not self.estimator.rows_differ(panel):
            return self.inner.prepare(self.estimator.derived(panel))
        if drawn := [error for error in self.estimator.errors if error.startswith("wild:")]:
            raise bad(f"{drawn[0]} of replications that differ in the units that they can use",
                      where=f"{self.estimator.name} errors", allowed="a panel without gaps, or one date",
                      remedy="choose another error type")  # fmt: skip
        return None

    def reduce(self, plan: LinearPlan | None, tile: Tile) -> Moments:
        """The moments of the regression, or the answers of each replication."""
        if plan is not None:
            return self.inner.reduce(plan, Tile(self.estimator.derived(tile.panel)))
        refused = Estimates.failed(self.estimator.layout(tile.panel.schema), Status.REFUSED)  # too few treated are left
        return one_by_one(tile.panel, self.estimator, refused)

    def rows(self, plan: LinearPlan | None) -> int:
        """As the regression."""
        return Reduction.rows(self, plan) if plan is None else self.inner.rows(plan)


def with_variables(schema: Schema, *names: str) -> Schema:
    """A schema with variables at its end that it has not."""
    return replace(schema, variables=tuple(dict.fromkeys((*schema.variables, *names))))


def observed_mean(panel: Panel, name: str) -> Floats:
    """The mean of a variable over observed unit-periods, by weight where the panel has one, (1 or R, 1, 1)."""
    values, root = panel.variables[name], weight_root(panel)
    if root is not None:
        seen = np.where(root > 0, values, 0.0) * np.square(root)
        return np.asarray(seen.sum(axis=(1, 2), keepdims=True) / np.square(root).sum())
    if panel.observed is None:
        return np.asarray(values.mean(axis=(1, 2), keepdims=True))
    total = np.where(panel.observed, values, 0.0).sum(axis=(1, 2), keepdims=True)
    return np.asarray(total / panel.observed.sum(axis=(1, 2), keepdims=True))


BEFORE = "before"  # the term of the outcome's mean before the date
WEIGHT = "weight after the date"  # the derived panel's, apart from a control of the same name


@dataclass(frozen=True, slots=True)
class PostPeriodRegression(DerivedRegression):
    """A regression over units of post-period means, on the treatment and on means before the date."""

    # home: units that are treated at random from one date on, with lasting differences between them
    home: ClassVar[Home] = (
        PanelDesign(
            units=120, periods=10, levels=Effects(unit_sd=1.0, period_sd=0.5), covariates=(Normal("x", effect=0.4),),
            errors=Process(sd=1.0), adoption=Random(independent=True), effect=Effect(size=0.5),
            redraw=("adoption", "covariates"),
        ),
        ("did",),
    )  # fmt: skip

    outcome: str | None = None
    controls: tuple[str, ...] | None = ()
    errors: tuple[str, ...] = ("iid", "hc1")
    label: str = ""

    @property
    @abstractmethod  # so that this class is a base, and no estimator that lacks a kind
    def baseline(self) -> bool:
        """Whether the outcome's mean before the date is a regressor."""

    def regression(self, schema: Schema) -> TwoWayDID:
        """On the treatment, the outcome before, and controls, with a constant."""
        outcome, treatment, controls = self.names(schema)
        own = (BEFORE,) if self.baseline else ()
        return TwoWayDID(outcome, (treatment, *own, *controls), self.errors, label=self.label, effects=(),
                         constant=True)  # fmt: skip

    def derived_schema(self, schema: Schema) -> Schema:
        """One period, with the outcome before it."""
        more = (BEFORE, WEIGHT) if self.weight(schema) else (BEFORE,)
        roles = replace(schema.roles, weight=WEIGHT if self.weight(schema) else None)
        return replace(with_variables(schema, *more), periods=1, weights=(), roles=roles)

    def rows_differ(self, panel: Panel) -> bool:
        """Where dates are redrawn and units lack the first or the last period, or have weights: one date may leave them
        periods before and after it, and another not. Raises BadInput for a treatment that is not of one date."""
        d, seen = panel.variables[self.names(panel.schema)[1]], seen_in(panel)
        self._after(panel, np.where(seen, d, 0.0), seen[None])
        return len(d) > 1 and (panel.roles.weight is not None or not seen[:, seen.any(axis=0)][[0, -1]].all())

    def derived(self, panel: Panel) -> Panel:
        """One period: who is treated, means of the outcome after the date and before it, of controls before it; units
        are seen that have all of these."""
        outcome, treatment, controls = self.names(panel.schema)
        observed_mask(panel)  # one pattern for all replications
        seen = np.ones((1, 1, 1), dtype=bool) if panel.observed is None else panel.observed[:1]
        d = np.where(seen, panel.variables[treatment], 0.0)
        after, root = seen & self._after(panel, d, seen), weight_root(panel)
        w = np.ones((1, 1)) if root is None else np.square(root)
        found: dict[str, Floats] = {outcome: _means(panel.variables[outcome], after, w)}
        found[treatment] = d.any(axis=1, keepdims=True).astype(np.float64)
        before = (outcome, *controls) if self.baseline else controls
        found |= {
            BEFORE if name == outcome else name: _means(panel.variables[name], seen & ~after, w) for name in before
        }
        whole = [np.isfinite(values) for values in found.values()]
        kept = np.logical_and.reduce([each.all(axis=0, keepdims=True) for each in whole])
        if any((each != each[:1]).any() for each in whole):
            raise bad("replications differ in the units that have periods before and after their date",
                      where=self.label, allowed="the same units in all replications",
                      remedy="take the replications one by one: panel.replication(i)")  # fmt: skip
        if root is not None:
            found[WEIGHT] = _means(w[None], after, np.ones((1, 1)))
        roles = self.derived_schema(panel.schema).roles
        return Panel(panel.units, panel.periods[-1:], found, roles, panel.attributes,
                     None if kept.all() else kept)  # fmt: skip

    def _after(self, panel: Panel, d: Floats, seen: Flags) -> Flags:
        """Periods from the date on, (1 or R, T, 1), the middle where nobody is treated; raises BadInput for a treatment
        that is not 0/1, absorbing and of one date with a period before it."""
        t = len(panel.periods)
        ever = d.any(axis=1, keepdims=True)
        begun = d.any(axis=2, keepdims=True)
        first = np.where(begun.any(axis=1), begun.argmax(axis=1), t // 2)[:, None]  # (1 or R, 1, 1)
        after = np.arange(t)[:, None] >= first
        if (d != (ever & after & seen)).any():
            firsts = [{panel.periods[t] for t in row.argmax(axis=0)[row.any(axis=0)]} for row in d]
            what = "it ends for some units"
            if not np.isin(d, (0.0, 1.0)).all():
                what = "it has values other than 0 and 1"
            elif several := [sorted(dates) for dates in firsts if len(dates) > 1]:
                what = f"units begin in {listed(several[0])}"
            raise bad(f"the treatment is not that of one date: {what}", where=self.label,
                      allowed="a 0/1 treatment that all treated units get in one period and keep",
                      remedy="choose an estimator of staggered adoption, such as imputation")  # fmt: skip
        if (first == 0).any():
            raise bad(f"treatment begins in {panel.periods[0]}, the first period", where=self.label,
                      allowed="one period before it, or more", remedy="add earlier periods")  # fmt: skip
        return np.asarray(after)

    def targets(self, schema: Schema) -> dict[str, str]:
        """The treatment's is the ATT; the others have none."""
        return {self.names(schema)[1]: "att"}


@dataclass(frozen=True, slots=True)
class Ancova(PostPeriodRegression):
    """Post-period means on the treatment and the mean before the date, over units (analysis of covariance).

    For a treatment that is assigned at random and has one date. Its variance is the smallest of the three in the head
    of this module, and the more so the less the outcome lasts.

    outcome: the name of a variable, None = the panel's own. controls: means of these before the date are regressors;
    None = the panel's own. errors: iid, hc1, cluster:ATTRIBUTE; each unit is one row. label: its name in tables. Terms:
    the treatment, before (the outcome's mean before the date), controls, constant.

    Where the panel has a weight, means are by weight, and a row has the unit's mean weight after the date.

    >>> import panelproof as pp
    >>> from sim import Streams
    >>> panel = pp.Paper(calendar="single", assignment="random").draw(Streams(1)).panel
    >>> found = pp.Ancova()(panel)
    >>> print(f"{found.params['did']:.3f} ({found.std_errors['did']:.3f})")
    0.014 (0.002)
    """

    kind: ClassVar[str] = "ancova"
    baseline: ClassVar[bool] = True

    label: str = "ancova"


@dataclass(frozen=True, slots=True)
class PostOnly(PostPeriodRegression):
    """Post-period means on the treatment, over units: the difference of means after the date.

    For a treatment that is assigned at random and has one date.

    outcome: the name of a variable, None = the panel's own. controls: means of these before the date are regressors;
    None = the panel's own. errors: iid, hc1, cluster:ATTRIBUTE; each unit is one row. label: its name in tables. Terms:
    the treatment, controls, constant.

    Where the panel has a weight, means are by weight, and a row has the unit's mean weight after the date.

    >>> import panelproof as pp
    >>> from sim import Streams
    >>> panel = pp.Paper(calendar="single", assignment="random").draw(Streams(1)).panel
    >>> found = pp.PostOnly()(panel)
    >>> print(f"{found.params['did']:.3f} ({found.std_errors['did']:.3f})")
    0.026 (0.016)
    """

    kind: ClassVar[str] = "post-only"
    baseline: ClassVar[bool] = False

    label: str = "post-only"


def _means(values: Floats, among: Flags, weights: Floats) -> Floats:
    """Means by weights (T, N) over some periods, (1 or R, 1, N), NaN where a unit has none of them."""
    counts = (among * weights).sum(axis=1, keepdims=True)
    total = (np.where(among, values, 0.0) * weights).sum(axis=1, keepdims=True)
    return np.divide(total, counts, out=np.full(np.broadcast(total, counts).shape, np.nan), where=counts > 0)


@dataclass(frozen=True, slots=True)
class Moderation(DerivedRegression):
    """Two-way DID with D x M beside D, the moderator M and controls: how the effect changes with M.

    y = b D + g D (M - m) + h M + X c + unit and period effects, so that b is the effect at M = m and b + g (M - m) that
    at M (Aiken and West 1991; Brambor, Clark and Golder 2006, Political Analysis 14:63). M itself is always in, unless
    the unit effects absorb it.

    moderator: the name of M, a variable; the default is that of its home. main: whether M is a regressor; false for one
    that does not change within units. at: m; None = the mean of M over observed unit-periods. outcome, controls: names
    of variables, None = the panel's own; M is taken out of them. errors, cluster_k, effects, draws, terms:
    as in `TwoWayDID`, but for placebos. label: its name in tables. Terms: the treatment, "did x M", M, controls.

    Where the panel has a weight, the regression is weighted by it, as in `TwoWayDID`, and m is the mean by weight.

    >>> import panelproof as pp
    >>> found = pp.Moderation("inv")(pp.example_panel().panel)
    >>> print(f"{found.params['did x inv']:.3f} ({found.std_errors['did x inv']:.3f})")
    0.052 (0.023)
    """

    kind: ClassVar[str] = "moderation"
    # home: a panel whose effect is .5 + .3 M, M with errors of its own
    home: ClassVar[Home] = (
        PanelDesign(
            units=80, periods=8, covariates=(Normal("x", effect=0.4),), adoption=Random(),
            effect=Effect(size=0.5), mediators=(Linear("m", a=0.0, b=0.6, sd=1.0, interaction=0.3),),
        ),
        ("did", "did x m"),
    )  # fmt: skip

    moderator: str = "m"
    main: bool = True
    at: float | None = None
    outcome: str | None = None
    controls: tuple[str, ...] | None = None
    errors: tuple[str, ...] = ("iid", "hc1", "cluster:unit")
    cluster_k: ClusterK = "nonnested"
    effects: tuple[str, ...] = ("unit", "period")
    draws: int = 999
    terms: tuple[str, ...] | None = None
    label: str = "moderation"

    def names(self, schema: Schema) -> tuple[str, str, tuple[str, ...]]:
        """Outcome, treatment and controls without the moderator; raises BadInput for a moderator that is one of the
        first two."""
        outcome, treatment, controls = DerivedRegression.names(self, schema)
        if self.moderator in (outcome, treatment):
            what = "the outcome" if self.moderator == outcome else "the treatment"
            raise bad(f"the moderator {self.moderator!r} is {what}", where=self.label, allowed="another variable",
                      remedy="name what the effect may differ with")  # fmt: skip
        return outcome, treatment, tuple(name for name in controls if name != self.moderator)

    def variables(self, schema: Schema) -> frozenset[str]:
        """Outcome, treatment, moderator and controls, and the weights."""
        outcome, treatment, controls = self.names(schema)
        return frozenset((outcome, treatment, self.moderator, *controls, *self.weight(schema)))

    def product(self, schema: Schema) -> str:
        """The term of D x M."""
        return f"{self.names(schema)[1]} x {self.moderator}"

    def regression(self, schema: Schema) -> TwoWayDID:
        """On the treatment, its product with the moderator, the moderator, and controls."""
        outcome, treatment, controls = self.names(schema)
        own = (self.moderator,) if self.main else ()
        return TwoWayDID(
            outcome, (treatment, self.product(schema), *own, *controls), self.errors, self.cluster_k, label=self.label,
            effects=self.effects, draws=self.draws, terms=self.terms,
        )  # fmt: skip

    def derived_schema(self, schema: Schema) -> Schema:
        """With the product."""
        return with_variables(schema, self.product(schema))

    def derived(self, panel: Panel) -> Panel:
        """With the product of the treatment and the moderator less m."""
        _, treatment, _ = self.names(panel.schema)
        centre = observed_mean(panel, self.moderator) if self.at is None else self.at
        d, m = panel.variables[treatment], panel.variables[self.moderator]
        return panel.with_variables({self.product(panel.schema): d * (m - centre)})

    def targets(self, schema: Schema) -> dict[str, str]:
        """Level and slope of the effect over M; those of M and controls are their coefficients. No level at another
        value than the mean."""
        _, treatment, controls = self.names(schema)
        own = {treatment: of_a_dose(schema, f"level({self.moderator})")} if self.at is None else {}
        others = slope_targets(schema, (self.moderator, *controls), "")
        return own | {self.product(schema): of_a_dose(schema, f"slope({self.moderator})")} | others


@dataclass(frozen=True, slots=True)
class TripleDifference(DerivedRegression):
    """The difference between the DID of two groups of units, beside unit effects and period effects of each group.

    y = b D + g D 1[group = second] + X c + unit effects + effects of GROUP by period (Gruber 1994; Olden and Moen 2022,
    Econometrics Journal 25:531): b is the first group's DID, g the triple difference, the second group's DID less it.
    Without controls it is the difference of two regressions; controls have one slope for both groups, whereas
    `InteractionTest` gives each group its own.

    group: an attribute of the units, or a variable that does not change within them; the defaults are those of the
    `paper` design. values: the two that are compared, as tables write them; units with others are left out. outcome,
    controls: names of variables, None = the panel's own without the group. errors, cluster_k, draws, terms:
    as in `TwoWayDID`, but for placebos. label: its name in tables. Terms: the treatment, "did x SECOND", controls.

    Where the panel has a weight, the regression is weighted by it, as in `TwoWayDID`.

    >>> import panelproof as pp
    >>> found = pp.TripleDifference("region", ("east", "west"))(pp.example_panel().panel)
    >>> print(f"{found.params['did x west']:.3f} ({found.std_errors['did x west']:.3f})")
    -0.019 (0.006)
    """

    kind: ClassVar[str] = "triple-difference"
    # home: the `paper` design with one date, where cities differ a little in their effects
    home: ClassVar[Home] = (Paper(calendar="single", heterogeneity=0.1), ("did", "did x central"))

    group: str = "region"
    values: tuple[str, ...] = ("east", "central")
    outcome: str | None = None
    controls: tuple[str, ...] | None = None
    errors: tuple[str, ...] = ("iid", "hc1", "cluster:unit")
    cluster_k: ClusterK = "nonnested"
    draws: int = 999
    terms: tuple[str, ...] | None = None
    label: str = "triple-difference"

    def names(self, schema: Schema) -> tuple[str, str, tuple[str, ...]]:
        """Outcome, treatment and controls without the group; raises BadInput for a group that is one of the first two,
        or unknown."""
        outcome, treatment, controls = DerivedRegression.names(self, schema)
        known = (*schema.attributes, *(name for name in schema.variables if name not in (outcome, treatment)))
        if self.group not in known:
            raise bad(f"group is {self.group!r}", where=self.label, allowed=one_of(known),
                      remedy="name an attribute of the units")  # fmt: skip
        if len(self.values) != 2 or self.values[0] == self.values[1]:
            raise bad(f"values = {list(self.values)}", where=self.label, allowed="two distinct values",
                      remedy="name the two groups, the one to compare with first")  # fmt: skip
        return outcome, treatment, tuple(name for name in controls if name != self.group)

    def variables(self, schema: Schema) -> frozenset[str]:
        """Outcome, treatment and controls, a group that is a variable, and the weights."""
        outcome, treatment, controls = self.names(schema)
        own = () if self.group in schema.attributes else (self.group,)
        return frozenset((outcome, treatment, *own, *controls, *self.weight(schema)))

    def product(self, schema: Schema) -> str:
        """The term of the triple difference."""
        return f"{self.names(schema)[1]} x {self.values[1]}"

    def regression(self, schema: Schema) -> TwoWayDID:
        """On the treatment, its product with the second group, and controls."""
        outcome, treatment, controls = self.names(schema)
        return TwoWayDID(
            outcome, (treatment, self.product(schema), *controls), self.errors, self.cluster_k, label=self.label,
            effects=("unit", f"{self.group}-by-period"), draws=self.draws,
            terms=self.terms,
        )  # fmt: skip

    def derived_schema(self, schema: Schema) -> Schema:
        """With the product, and the group as an attribute."""
        attributes = tuple(dict.fromkeys((*schema.attributes, self.group)))
        return replace(with_variables(schema, self.product(schema)), attributes=attributes)

    def derived(self, panel: Panel) -> Panel:
        """The units of both groups, with the treatment of the second; raises BadInput for a group that varies within
        units or replications, for values that no unit has, and for a fixed treatment that is none within a group."""
        # the group of each unit as text, (N,)
        _, treatment, _ = self.names(panel.schema)
        if self.group in panel.attributes:
            labels = group_labels(panel.attributes[self.group])
        else:
            values = panel.variables[self.group]
            seen = np.ones(values.shape[1:], dtype=bool) if panel.observed is None else panel.observed[0]
            first = np.take_along_axis(values[0], seen.argmax(axis=0)[None], axis=0)[0]
            if len(values) > 1 or (np.where(seen, values[0], first) != first).any():
                raise bad(f"the group {self.group!r} varies within units", where=self.label,
                          allowed="one value for each unit", remedy="name a group that units keep")  # fmt: skip
            labels = group_labels(first)

        kept = np.isin(labels, self.values)
        d = panel.variables[treatment]
        periods = np.ones(len(panel.periods), dtype=bool)
        for value in self.values:
            units: Flags = labels == value
            if not units.any():
                raise bad(f"no unit has {self.group} = {value}", where=self.label,
                          allowed=one_of(dict.fromkeys(labels.tolist())), remedy="correct values")  # fmt: skip
            if len(d) > 1:
                continue
            own = Tile(part(replace(panel, variables={treatment: d}, weights={}), units, periods))
            left, raw = own.within_sum_of_squares(treatment), own.raw_sum_of_squares(treatment)
            if left[0] <= ols.ABSORBED * raw[0]:
                raise bad(f"the treatment does not differ within {self.group} = {value}", where=self.label,
                          allowed="units that are treated and others that are not in both groups",
                          remedy="choose another group")  # fmt: skip
        whole = panel.with_variables({self.product(panel.schema): d * (labels == self.values[1])})
        whole = replace(whole, attributes={**panel.attributes, self.group: labels})
        return whole if kept.all() else part(whole, kept, periods)

    def targets(self, schema: Schema) -> dict[str, str]:
        """The mean effect in the first group, and what the second has more; controls' coefficients."""
        _, treatment, controls = self.names(schema)
        first, second = self.values
        own = {treatment: f"att_of({self.group},{first})", self.product(schema): f"ddd({self.group},{first},{second})"}
        return {term: of_a_dose(schema, effect) for term, effect in own.items()} | slope_targets(schema, controls, "")
