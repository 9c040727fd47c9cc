"""A real panel as a twin is fitted to it: its outcome, what is kept, and the effect that is taken out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from experiments.estimation import check_estimable
from experiments.panel_spec.sections import Spec, TwinSection
from experiments.panel_spec.spec import RealPanel
from experiments.twins.statistics import CohortRegression, Split, TreatmentStatus, split
from sim.arrays import Floats
from sim.errors import BadInput, Problem, bad, gathering
from sim.panel import Panel, check_balanced
from sim.schema import TREATMENT, refuse_weights
from sim.weights import Weights
from sim.world.context import Places, WorldContext

FIXED = {"kept", "kept-paths", "never"}  # kinds of adoption that are the same in every replication
TINY = 1e-6  # share of variance that residuals keep at least


@dataclass(frozen=True, eq=False)
class Real:
    """A balanced panel and what its spec asks of a twin.

    y (1, T, N): the outcome, standardised where the spec says so.
    """

    panel: Panel
    spec: Spec
    y: Floats
    indicator: Floats | None

    @classmethod
    def of(cls, real: RealPanel) -> Real:
        """The balanced part of a panel; raises BadInput where no twin can be made of it."""
        check_twins(real)
        panel = real.panel if real.panel.balanced else real.balanced()
        y = panel.variables[panel.roles.outcome or ""]
        if section_of(real.spec).standardize:
            y = (y - y.mean()) / y.std()
        return cls(panel, real.spec, y, _indicator(real, panel))

    @property
    def section(self) -> TwinSection:
        """What the spec asks of twins."""
        return section_of(self.spec)

    @property
    def outcome(self) -> str:
        """The outcome's name."""
        return self.panel.roles.outcome or ""

    @property
    def treatment(self) -> str:
        """The treatment's name, that of a twin where the panel has none."""
        return self.panel.roles.treatment or TREATMENT

    @cached_property
    def policy(self) -> Floats | None:
        """The treatment (1, T, N), None where the panel has none."""
        name = self.panel.roles.treatment
        return None if name is None else self.panel.variables[name]

    @property
    def covariates(self) -> Mapping[str, Floats]:
        """Controls by name, (1, T, N) each."""
        return {name: self.panel.variables[name] for name in self.panel.roles.controls}

    @property
    def weights(self) -> Weights | None:
        """The main W."""
        return next(iter(self.panel.weights.values()), None)

    @cached_property
    def grouping(self) -> str:
        """The attribute whose units may share shocks: the first of the spec's that groups them; "" = none."""
        named = (name for name in (*self.spec.panel.groups, self.spec.panel.cluster) if name)
        for name in (name for name in named if name in self.panel.attributes):
            if 1 < len(np.unique(self.panel.attributes[name])) < len(self.panel.units):
                return name
        return ""

    @cached_property
    def group(self) -> NDArray[np.intp]:
        """Codes of the groups, (N,)."""
        if not self.grouping:
            return np.zeros(len(self.panel.units), dtype=np.intp)
        return np.unique(self.panel.attributes[self.grouping], return_inverse=True)[1].astype(np.intp)

    @cached_property
    def ground(self) -> WorldContext:
        """Its units, nowhere but in their groups, periods and W: what errors and levels of twins are drawn for."""
        origin = np.zeros(len(self.panel.units))
        places = Places(self.panel.units, origin, origin, self.group, origin)
        return WorldContext(places, self.panel.periods, self.weights)

    @cached_property
    def controls(self) -> tuple[Floats, ...]:
        """The controls, (1, T, N) each."""
        return tuple(self.covariates.values())

    @cached_property
    def regression(self) -> CohortRegression:
        """What residuals are free of: unit and period effects, controls, and an effect of each cohort in each treated
        period, or one effect where the treatment is not of that kind.

        Controls that stay real have their means over units and periods in the effects, as a twin's have.
        """
        return CohortRegression.of(self.policy, self.controls, controls_out=self.controls_out)

    @property
    def controls_out(self) -> bool:
        """Whether unit and period effects are free of the controls."""
        return "covariates" not in self.section.keep

    @cached_property
    def status(self) -> TreatmentStatus:
        """Unit-periods by treatment."""
        return TreatmentStatus.of(~self.policy_off[None], self.freedom)

    @cached_property
    def freedom(self) -> Floats:
        """Share of an independent error's variance that residuals keep, (T, N): 1 less the leverage, controls
        evenly."""
        periods, units = self.y.shape[1:]
        cohorts = self.regression.cohorts
        share = (
            np.full((periods, units), (1 - 1 / periods) * (1 - 1 / units)) if cohorts is None else cohorts.freedom[0]
        )
        return np.asarray(share * max(1 - len(self.regression.regressors) / share.sum(), TINY))

    @property
    def redraws_adoption(self) -> bool:
        """Whether who is treated, or when, differs between twins."""
        if asked := self.section.own_adoption:
            return asked.get("kind") not in FIXED or bool(asked.get("permuted"))
        return "calendar" not in self.section.keep

    @cached_property
    def estimates(self) -> Floats:
        """Two-way estimates of the effect (0 without a treatment) and of the controls, (1 + K,)."""
        policy = () if self.policy is None else (self.policy,)
        found = split(self.y, (*policy, *self.controls)).slopes[0]
        return found if policy else np.r_[0.0, found]

    @cached_property
    def effect(self) -> float:
        """The effect in the twin: as the spec has it, else the two-way estimate.

        It is 0 where an indicator takes the place of the treatment, so that the outcome is fitted as it is.
        """
        if self.section.effect is not None:
            return self.section.effect
        return 0.0 if self.section.indicator else float(self.estimates[0])

    @cached_property
    def slopes(self) -> Mapping[str, float]:
        """Coefficients of the controls, given the effect."""
        untreated = self.y if self.policy is None else self.y - self.effect * self.policy
        found = split(untreated, self.controls).slopes[0]
        return dict(zip(self.covariates, found.tolist(), strict=True))

    @cached_property
    def rest(self) -> Floats:
        """The outcome without the effect and the controls' part, (T, N)."""
        out = self.y if self.policy is None else self.y - self.effect * self.policy
        for name, values in self.covariates.items():
            out = out - self.slopes[name] * values
        return np.asarray(out[0])

    @cached_property
    def untreated(self) -> Floats:
        """The outcome without one estimated effect, (1, T, N)."""
        return self.y if self.policy is None else self.y - self.estimates[0] * self.policy

    @cached_property
    def mean(self) -> float:
        """Of the outcome without what unit and period effects are free of."""
        removed = () if "covariates" in self.section.keep else self.controls
        out = (float(slope * x.mean()) for slope, x in zip(self.estimates[1:], removed, strict=False))
        return float(self.untreated.mean()) - sum(out)

    @cached_property
    def additive(self) -> Floats:
        """Unit and period effects with their mean, of what the effect and the controls leave of the outcome, (T, N)."""
        if self.regression.cohorts is None:
            return additive_part(self.rest)
        units, periods = self.regression.cohorts.effects(self.rest[None])
        residuals = self.regression.cohorts.residuals(self.rest[None])
        level = (self.rest - units - periods[0][:, None] - residuals[0])[self.policy_off].mean()
        return np.asarray(level + units + periods[0][:, None])

    @cached_property
    def policy_off(self) -> NDArray[np.bool_]:
        """Unit-periods that are not treated, (T, N); all where the treatment has any strength."""
        plain = self.policy is None or self.panel.roles.continuous
        return np.ones(self.y.shape[1:], dtype=bool) if plain else np.asarray(self.policy)[0] == 0

    @cached_property
    def parts(self) -> Split:
        """Effects and residuals of the outcome by `regression`."""
        return self.regression(self.untreated if self.regression.cohorts else self.y)


def additive_part(values: Floats) -> Floats:
    """Row means plus column means less the grand mean, (T, N)."""
    out = values.mean(axis=0) + values.mean(axis=1)[:, None] - values.mean()
    return np.asarray(out)


def section_of(spec: Spec) -> TwinSection:
    """The table [twin] of a spec, its defaults where there is none."""
    return spec.twin or TwinSection()


def check_twins(real: RealPanel) -> None:
    """Raise BadInput, all at once, for panels that no twin can be fitted to."""
    spec, panel, where = real.spec, real.panel, f"{real.spec.file}, [twin]"
    problems: list[Problem] = []
    with gathering(problems):
        refuse_weights(panel.roles, "twins")
    if panel.roles.treatment is None and not section_of(spec).adoption:
        allowed = "treatment or first_treated, or a table [twin.adoption]"
        problems.append(Problem("the panel has no treatment", f"{spec.file}, [panel]", allowed, "name the treatment"))
    if spec.panel.balance == "error":
        with gathering(problems):
            check_balanced(panel, where)
    if taken := sorted({"unit", "period"} & {*panel.variables}):
        problems.append(Problem(f"a variable is called {taken[0]!r}", where, "another name", "rename the column"))

    section, units, periods = section_of(spec), len(panel.units), len(panel.periods)
    order, most = section.ar or 1, min(units, periods) - 1
    if periods < order + 3:
        what = f"ar = {order} of {periods} periods"
        what = what if section.ar else f"{periods} periods, too few for errors that last"
        remedy = "choose a lower order, or a longer panel" if order > 1 else "take more periods"
        problems.append(Problem(what, where, f"a panel of {order + 3} or more periods", remedy))
    if section.rank is not None and section.rank > most:
        problems.append(Problem(f"rank = {section.rank} of {units} units and {periods} periods", where, f"0 to {most}",
                                "choose a lower rank"))  # fmt: skip
    if problems:
        raise BadInput(*problems)
    if panel.roles.regressors:
        check_estimable(real)


def _indicator(real: RealPanel, panel: Panel) -> Floats | None:
    """The last period's value of the indicator, else whether a unit is ever treated, (N,); None where neither is."""
    name = section_of(real.spec).indicator
    if name is None:
        policy = panel.roles.treatment
        dated = policy is not None and not panel.roles.continuous
        return (panel.variables[str(policy)][0] > 0).any(axis=0).astype(np.float64) if dated else None
    held = panel.variables.get(name, real.further.get(name))
    assert held is not None
    kept = [real.panel.units.index(unit) for unit in panel.units]
    at = real.panel.periods.index(panel.periods[-1])
    values = held[0, -1] if name in panel.variables else held[0, at, kept]
    if not np.isin(values, (0.0, 1.0)).all() or values.min() == values.max():
        raise bad(f"indicator = {name!r} is not 0 and 1 in {panel.periods[-1]}",
                  where=f"{real.spec.file}, [twin.adoption]", allowed="a column of 0 and 1, both of them",
                  remedy="name another column")  # fmt: skip
    return np.asarray(values, dtype=np.float64)
