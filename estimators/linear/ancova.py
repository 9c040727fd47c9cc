"""Experiments with one date: post-period means of the outcome on who is treated, with or without the mean before.

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
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from estimators.core.tile import observed_mask, weight_root
from estimators.linear.derived import DerivedRegression, with_variables
from estimators.linear.did import TwoWayDID
from sim.arrays import Flags, Floats
from sim.design import Design
from sim.errors import bad, listed
from sim.panel import Panel
from sim.schema import Schema
from sim.world.panel_design import PanelDesign
from sim.world.parts.adoption import Random
from sim.world.parts.covariates import Normal
from sim.world.parts.effect import Effect
from sim.world.parts.errors import Process
from sim.world.parts.levels import Effects

BEFORE = "before"  # the term of the outcome's mean before the date
WEIGHT = "weight after the date"  # the derived panel's, apart from a control of the same name


@dataclass(frozen=True, slots=True)
class PostPeriodRegression(DerivedRegression):
    """A regression over units of post-period means, on the treatment and on means before the date."""

    outcome: str | None = None
    controls: tuple[str, ...] | None = ()
    errors: tuple[str, ...] = ("iid", "hc1")
    label: str = ""

    @property
    @abstractmethod
    def baseline(self) -> bool:
        """Whether the outcome's mean before the date is a regressor."""

    @property
    def home(self) -> tuple[Design, tuple[str, ...]]:
        """Units that are treated at random from one date on, with lasting differences between them."""
        design = PanelDesign(
            units=120, periods=10, levels=Effects(unit_sd=1.0, period_sd=0.5), covariates=(Normal("x", effect=0.4),),
            errors=Process(sd=1.0), adoption=Random(independent=True), effect=Effect(size=0.5),
            redraw=("adoption", "covariates"),
        )  # fmt: skip
        return design, ("did",)

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
        kept = np.logical_and.reduce([np.isfinite(values).all(axis=0, keepdims=True) for values in found.values()])
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
            raise bad(f"the treatment is not that of one date: {self._dates(panel, d)}", where=self.label,
                      allowed="a 0/1 treatment that all treated units get in one period and keep",
                      remedy="choose an estimator of staggered adoption, such as imputation")  # fmt: skip
        if (first == 0).any():
            raise bad(f"treatment begins in {panel.periods[0]}, the first period", where=self.label,
                      allowed="one period before it, or more", remedy="add earlier periods")  # fmt: skip
        return np.asarray(after)

    @staticmethod
    def _dates(panel: Panel, d: Floats) -> str:
        """That it is no 0/1 treatment, the first treated periods of a replication with several, or that it ends."""
        if not np.isin(d, (0.0, 1.0)).all():
            return "it has values other than 0 and 1"
        for row in d:
            firsts = sorted({panel.periods[t] for t in row.argmax(axis=0)[row.any(axis=0)]})
            if len(firsts) > 1:
                return f"units begin in {listed(firsts)}"
        return "it ends for some units"

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
