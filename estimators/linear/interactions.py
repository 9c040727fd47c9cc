"""Effects that differ with a moderator or between two groups: products with the treatment in a two-way regression."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from estimators.core import regression as ols
from estimators.core.estimator import of_a_dose, slope_targets
from estimators.core.tile import Tile
from estimators.linear.covariances import ClusterK
from estimators.linear.derived import DerivedRegression, observed_mean, with_variables
from estimators.linear.did import TwoWayDID
from sim.arrays import Flags
from sim.design import Design
from sim.errors import bad, one_of
from sim.panel import Panel, group_labels, part
from sim.presets import Paper
from sim.schema import Schema
from sim.world.panel_design import PanelDesign
from sim.world.parts.adoption import Random
from sim.world.parts.covariates import Normal
from sim.world.parts.effect import Effect
from sim.world.parts.mediators import Linear


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

    >>> import panelproof as pp
    >>> found = pp.Moderation("inv")(pp.example_panel().panel)
    >>> print(f"{found.params['did x inv']:.3f} ({found.std_errors['did x inv']:.3f})")
    0.052 (0.023)
    """

    kind: ClassVar[str] = "moderation"

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

    @property
    def home(self) -> tuple[Design, tuple[str, ...]]:
        """A panel whose effect is .5 + .3 M, M with errors of its own."""
        design = PanelDesign(
            units=80, periods=8, covariates=(Normal("x", effect=0.4),), adoption=Random(),
            effect=Effect(size=0.5), mediators=(Linear("m", a=0.0, b=0.6, sd=1.0, interaction=0.3),),
        )  # fmt: skip
        return design, ("did", "did x m")

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
        """Outcome, treatment, moderator and controls."""
        outcome, treatment, controls = self.names(schema)
        return frozenset((outcome, treatment, self.moderator, *controls))

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

    >>> import panelproof as pp
    >>> found = pp.TripleDifference("region", ("east", "west"))(pp.example_panel().panel)
    >>> print(f"{found.params['did x west']:.3f} ({found.std_errors['did x west']:.3f})")
    -0.019 (0.006)
    """

    kind: ClassVar[str] = "triple-difference"

    group: str = "region"
    values: tuple[str, ...] = ("east", "central")
    outcome: str | None = None
    controls: tuple[str, ...] | None = None
    errors: tuple[str, ...] = ("iid", "hc1", "cluster:unit")
    cluster_k: ClusterK = "nonnested"
    draws: int = 999
    terms: tuple[str, ...] | None = None
    label: str = "triple-difference"

    @property
    def home(self) -> tuple[Design, tuple[str, ...]]:
        """The `paper` design with one date, where cities differ a little in their effects."""
        return Paper(calendar="single", heterogeneity=0.1), ("did", "did x central")

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
        """Outcome, treatment and controls, and a group that is a variable."""
        outcome, treatment, controls = self.names(schema)
        own = () if self.group in schema.attributes else (self.group,)
        return frozenset((outcome, treatment, *own, *controls))

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
        """The units of both groups, with the treatment of the second."""
        labels = self._labels(panel)
        kept = np.isin(labels, self.values)
        _, treatment, _ = self.names(panel.schema)
        d = panel.variables[treatment]
        self._check_groups(panel, labels, treatment)
        whole = panel.with_variables({self.product(panel.schema): d * (labels == self.values[1])})
        whole = replace(whole, attributes={**panel.attributes, self.group: labels})
        return whole if kept.all() else part(whole, kept, np.ones(len(panel.periods), dtype=bool))

    def _labels(self, panel: Panel) -> np.ndarray:
        """The group of each unit as text, (N,); raises BadInput for one that varies within units or replications."""
        if self.group in panel.attributes:
            return group_labels(panel.attributes[self.group])
        values = panel.variables[self.group]
        seen = np.ones(values.shape[1:], dtype=bool) if panel.observed is None else panel.observed[0]
        first = np.take_along_axis(values[0], seen.argmax(axis=0)[None], axis=0)[0]
        if len(values) > 1 or (np.where(seen, values[0], first) != first).any():
            raise bad(f"the group {self.group!r} varies within units", where=self.label,
                      allowed="one value for each unit", remedy="name a group that units keep")  # fmt: skip
        return group_labels(first)

    def _check_groups(self, panel: Panel, labels: np.ndarray, treatment: str) -> None:
        """Raise BadInput for values that no unit has, and for a fixed treatment that is none within a group."""
        for value in self.values:
            units: Flags = labels == value
            if not units.any():
                raise bad(f"no unit has {self.group} = {value}", where=self.label,
                          allowed=one_of(dict.fromkeys(labels.tolist())), remedy="correct values")  # fmt: skip
            if panel.variables[treatment].shape[0] > 1:
                continue
            own = part(replace(panel, variables={treatment: panel.variables[treatment]}, weights={}), units,
                       np.ones(len(panel.periods), dtype=bool))  # fmt: skip
            left, raw = Tile(own).within_sum_of_squares(treatment), Tile(own).raw_sum_of_squares(treatment)
            if left[0] <= ols.ABSORBED * max(raw[0], 1.0):
                raise bad(f"the treatment does not differ within {self.group} = {value}", where=self.label,
                          allowed="units that are treated and others that are not in both groups",
                          remedy="choose another group")  # fmt: skip

    def targets(self, schema: Schema) -> dict[str, str]:
        """The mean effect in the first group, and what the second has more; controls' coefficients."""
        _, treatment, controls = self.names(schema)
        first, second = self.values
        own = {treatment: f"att_of({self.group},{first})", self.product(schema): f"ddd({self.group},{first},{second})"}
        return {term: of_a_dose(schema, effect) for term, effect in own.items()} | slope_targets(schema, controls, "")
