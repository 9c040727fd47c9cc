"""By how much a two-way estimate changes when it is estimated in another way, with the error of the difference.

That one estimate is significant and another is not says nothing of their difference (Gelman and Stern 2006). A
coefficient that is linear in the outcome moves with the influence of each unit, b - beta = sum_i psi_i with
psi_i = sum_t w_it e_it; an alternative a moves with phi_i in the same units, and phi_i = 0 for a unit that it leaves
out. The difference d = a - b has the variance

    Var(d) = c sum_g (sum_{i in g} (phi_i - psi_i))^2

over the clusters g of the claim's errors, with the claim's small-sample factor c: one regression of both, stacked and
clustered, gives the same sum. Weights w and projections follow from regressors alone and are prepared once.

How an alternative is written:

| text | the estimate |
|---|---|
| effects:NAME-by-period, effects:unit-trend | with effects of groups by period; with a linear trend of every unit |
| controls:none, controls:-NAME | without controls, without one of them |
| without:ATTRIBUTE=VALUE, without-cohort:PERIOD, without-unit:UNIT | on the panel without these units |
| balanced | on the units without a missing cell |
| neighbours:W | beside the treatment of the neighbours, W D (Butts 2023) |
| outcome:NAME | of another outcome, brought to the standard deviation of the outcome |
| trend | less kappa g, the bias of unequal linear trends |
| lead:K | less the placebo in time: the estimate with adoption K periods earlier, without treated cells |
| cohort-wise | plus Callaway and Sant'Anna's (2021) mean effect less the two-way one, both without controls |
| imputed | the mean imputed effect (Borusyak, Jaravel and Spiess 2024), with the claim's controls |

g is the slope of units that are ever treated against those that never are, over all untreated cells, with the claim's
effects and controls; kappa is the claim's coefficient when the variable of that slope takes the outcome's place. The
cohort-wise comparison is on the balanced part of the panel without units that are treated from the first period on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from estimators.core import regression as ols
from estimators.core.estimator import (
    Estimates,
    Home,
    Layout,
    Moments,
    RegressionEstimator,
    Status,
    TileEstimator,
    WeightUse,
    check_names,
    one_by_one,
    status_where,
    treatment_of,
)
from estimators.core.tile import BY_PERIOD, Tile, check_effects, spread
from estimators.linear.covariances import ClusterK, counted_parameters, sums_within, unit_clusters
from estimators.linear.least_squares import LeastSquares, LinearPlan
from estimators.staggered.adoption_effects import Cohorts, check_clusters
from estimators.staggered.callaway_santanna import CallawaySantAnnaReduction
from estimators.staggered.imputation import Imputation
from sim.arrays import Codes, Flags, Floats
from sim.errors import BadInput, amount, bad, closest, one_of
from sim.panel import Panel, group_labels, part, seen_in, seen_part
from sim.presets import Paper
from sim.schema import Schema, period_step

DIFFERENCE, ALTERNATIVE = "difference:", "alternative:"  # how terms begin
FORMS = (
    "effects:NAME-by-period", "effects:unit-trend", "controls:none", "controls:-NAME", "without:ATTRIBUTE=VALUE",
    "without-cohort:PERIOD", "without-unit:UNIT", "balanced", "neighbours:W", "outcome:NAME", "trend", "lead:K",
    "cohort-wise", "imputed",
)  # fmt: skip
ALONE = ("balanced", "trend", "cohort-wise", "imputed")
NAMED = ("effects", "controls", "without", "without-cohort", "without-unit", "neighbours", "outcome", "lead")
SLOPE, EXPOSURE, MOVED = "(slope)", "(exposure)", "(moved adoption)"  # variables that are made for an alternative
SAME = 1e-20  # share of the claim's variance below which a difference's is rounding: both are one estimate


@dataclass(frozen=True, slots=True)
class Alternative:
    """One other way to estimate. kind: the word before the colon; name: what follows it; value: what follows "="."""

    text: str
    kind: str
    name: str = ""
    value: str = ""

    @classmethod
    def parse(cls, text: str, asked_by: str = "differences") -> Alternative:
        """Raises BadInput, with the list of forms, for a text that has none of them."""
        kind, colon, name = text.partition(":")
        name, equal, value = name.partition("=") if kind == "without" else (name, "", "")
        known = (kind in ALONE and not colon) or (kind in NAMED and bool(name))
        faults = {
            "without": not equal,
            "lead": not name.isdecimal() or name == "0",
            "controls": name != "none" and (not name.startswith("-") or name == "-"),
            "effects": name != "unit-trend" and not name.endswith(BY_PERIOD),
        }
        if not known or faults.get(kind, False):
            raise bad(f"alternative {text!r}", where=asked_by, allowed=one_of(FORMS), remedy="write one of these forms")
        return cls(text, kind, name, value)


@dataclass(frozen=True, slots=True)
class Differences(RegressionEstimator, TileEstimator):
    """Differences of other estimates to the coefficient of a two-way regression, with clustered errors.

    Terms are the coefficient itself and, for each alternative, difference:ALTERNATIVE (it less the coefficient) and
    alternative:ALTERNATIVE (its own estimate). On a panel with treatments that are redrawn, what an alternative cannot
    have is NaN in that replication; on a real panel it is bad input.

    outcome, regressors: names of variables; None = the panel's own roles. effects: as in `TwoWayDID`. term: the
    regressor that is asked about, None = the treatment. error: cluster:unit or cluster:ATTRIBUTE. cluster_k: which
    parameters count in the factor of clusters, as in `TwoWayDID`. alternatives: how each is written stands in the
    module's docstring. label: its name in tables.

    >>> import panelproof as pp
    >>> found = pp.Differences(alternatives=("controls:none",))(pp.example_panel().panel)
    >>> found.terms
    ('did', 'difference:controls:none', 'alternative:controls:none')
    """

    kind: ClassVar[str] = "differences"
    weight_use: ClassVar[WeightUse] = "used"
    # home: the `paper` design without spillovers
    home: ClassVar[Home] = (Paper(), ("did",))

    outcome: str | None = None
    regressors: tuple[str, ...] | None = None
    effects: tuple[str, ...] = ("unit", "period")
    term: str | None = None
    error: str = "cluster:unit"
    cluster_k: ClusterK = "nonnested"
    alternatives: tuple[str, ...] = ("effects:unit-trend",)
    label: str = "differences"

    def asked(self, schema: Schema) -> str:
        """The term that is asked about; raises BadInput where it is no regressor."""
        term = self.term or treatment_of(None, schema, self.name)
        regressors = self.names(schema)[1]
        if term not in regressors:
            raise bad(f"the term {term!r} is no regressor", where=self.name, allowed=one_of(regressors, term),
                      remedy=closest(term, regressors))  # fmt: skip
        return term

    def layout(self, schema: Schema) -> Layout:
        """The coefficient, then two terms an alternative, which have no estimand; raises BadInput."""
        outcome, regressors = self.names(schema)
        check_names(schema, outcome, regressors, self.name)
        check_effects(self.effects, schema, self.name)
        check_clusters((self.error,), schema, self.name)
        if self.cluster_k not in ("slopes", "nonnested", "all"):
            raise bad(f"cluster_k = {self.cluster_k!r}", where=self.name, allowed="slopes, nonnested, all",
                      remedy='set cluster_k = "nonnested"')  # fmt: skip
        if len(set(self.alternatives)) < len(self.alternatives):
            raise bad(f"alternatives = {list(self.alternatives)} repeat", where=self.name, allowed="each once",
                      remedy="remove the repeated one")  # fmt: skip
        term = self.asked(schema)
        for one in self.read:
            self._check(one, schema, term)
        target = "att" if term == schema.roles.treatment and not schema.roles.continuous else f"beta({term})"
        others = (f"{head}{text}" for text in self.alternatives for head in (DIFFERENCE, ALTERNATIVE))
        return Layout((term, *others), (self.error,), (), {term: target})

    @property
    def read(self) -> tuple[Alternative, ...]:
        """The alternatives; raises BadInput for one that has no form."""
        return tuple(Alternative.parse(text, self.name) for text in self.alternatives)

    def _check(self, one: Alternative, schema: Schema, term: str) -> None:
        """Raise BadInput for a name that the panel does not have."""
        held: dict[str, tuple[str, ...]] = {
            "effects": ("unit-trend", *(f"{name}{BY_PERIOD}" for name in schema.attributes)),
            "controls": ("none", *(f"-{name}" for name in self.names(schema)[1] if name != term)),
            "without": schema.attributes,
            "neighbours": schema.weights,
            "outcome": schema.variables,
        }
        allowed = held.get(one.kind, (one.name,))
        if one.name not in allowed:
            raise bad(f"alternative {one.text!r}", where=self.name, allowed=one_of(allowed, one.name),
                      remedy=closest(one.name, allowed))  # fmt: skip

    def variables(self, schema: Schema) -> frozenset[str]:
        """Outcome, regressors and the other outcomes."""
        own = super(Differences, self).variables(schema)
        treatment = {schema.roles.treatment} if schema.roles.treatment else set()
        return own | treatment | {one.name for one in self.read if one.kind == "outcome"}

    def ways(self, schema: Schema) -> Ways:
        """How its estimates are made."""
        outcome, regressors = self.names(schema)
        return Ways(outcome, regressors, self.effects, self.asked(schema), self.error, self.cluster_k,
                                    self.read, self.name)  # fmt: skip

    def prepare(self, panel: Panel) -> Plan | None:
        """The plan of regressors that do not change, else None; raises BadInput for what the panel cannot have."""
        ways = self.ways(panel.schema)
        if set(self.effects) == {"unit", "period"}:
            ols.check_fixed(panel, ways.regressors, self.name)
        names = {*ways.regressors, *([panel.roles.treatment] if panel.roles.treatment else [])}
        if any(panel.variables[name].shape[0] > 1 for name in names):
            return None
        return ways.plan(panel)

    def reduce(self, plan: Plan | None, tile: Tile) -> Estimates:
        """All terms; of redrawn regressors one by one, SINGULAR where there is no claim."""
        panel, ways = tile.panel, self.ways(tile.panel.schema)
        if plan is not None:
            return self.estimates(ways.stacked(plan, panel), panel.schema)

        def alone(one: Panel) -> Estimates:
            return self.estimates(ways.stacked(ways.plan(one, strict=False), one), panel.schema)

        return one_by_one(panel, alone, Estimates.failed(self.layout(panel.schema), Status.SINGULAR))

    def estimates(self, found: StackedScores, schema: Schema) -> Estimates:
        """What a stack says, term by term; SINGULAR where there is no claim."""
        variance = found.variance
        with np.errstate(invalid="ignore"):
            se = np.sqrt(np.where(variance > 0, variance, np.nan))[:, None]
        status = status_where(np.isfinite(found.estimate[:, 0]))
        return Estimates.of(self.layout(schema), found.estimate, se, found.dof[:, None], {}, status=status)

    def available(self, panel: Panel) -> dict[str, str]:
        """Why each alternative cannot be had of a panel, by its text; "" = it can. Raises BadInput for the claim."""
        bare = replace(self, alternatives=())
        bare.layout(panel.schema)
        ways = bare.ways(panel.schema)
        claim = ways.claim(panel.replication(0))
        found = {}
        for text in self.alternatives:
            try:
                one = Alternative.parse(text, self.name)
                self._check(one, panel.schema, self.asked(panel.schema))
                ways.way(one, panel.replication(0), claim)
            except BadInput as error:
                found[text] = "; ".join(problem.what for problem in error.problems)
            else:
                found[text] = ""
        return found

    def served(self, panel: Panel) -> Differences:
        """The same with those alternatives that a panel can have; raises BadInput for the claim."""
        return replace(self, alternatives=tuple(text for text, why in self.available(panel).items() if not why))

    def stacked(self, panel: Panel) -> StackedScores:
        """Terms with the influence of every cluster on each; raises BadInput for a panel that cannot serve."""
        self.layout(panel.schema)
        ways, plan = self.ways(panel.schema), self.prepare(panel)
        if plan is not None:
            return ways.stacked(plan, panel)
        panels = (panel.replication(row) for row in range(panel.replications))
        return StackedScores.join([ways.stacked(ways.plan(one), one) for one in panels])


@dataclass(frozen=True, eq=False, slots=True)
class StackedScores(Moments):
    """estimate (R, K) of the terms; influence (R, K, G) of clusters, whose sums of squares are the variances and sums
    of products the covariances, the small-sample factor in them; dof (R, K)."""

    estimate: Floats
    influence: Floats
    dof: Floats

    @property
    def variance(self) -> Floats:
        """(R, K)."""
        return np.asarray(np.vecdot(self.influence, self.influence))


@dataclass(frozen=True, eq=False, slots=True)
class DifferenceFit:
    """Coefficients (R,) and what every unit adds to their errors, (R, N); factor of its clustered variance, its dof."""

    estimate: Floats
    influence: Floats
    factor: float
    dof: float

    def plus(self, other: DifferenceFit, times: float) -> DifferenceFit:
        """This and a multiple of another, with the factor and the degrees of freedom of this."""
        moved, influence = self.estimate + times * other.estimate, self.influence + times * other.influence
        return DifferenceFit(moved, influence, self.factor, self.dof)


@dataclass(frozen=True, eq=False, slots=True)
class PreparedRegression:
    """One coefficient of a regression on some cells of a panel, prepared for all outcomes.

    units, periods: places of those that it uses, of `count` units. at: place of the coefficient. weights (T, N) on the
    panel's cells: the coefficient is their sum with the outcome.
    """

    plan: LinearPlan
    at: int
    units: Codes
    periods: Codes
    count: int
    factor: float
    dof: float

    @property
    def psi(self) -> Floats:
        """Weights of the used cells, times the root of the panel's weights, (T', N')."""
        assert self.plan.regressors is not None
        return np.asarray(self.plan.regressors.slopes.psi[0, self.at])

    def of(self, values: Floats) -> float:
        """The coefficient of a variable (T, N) of the panel in place of the outcome."""
        used = values[np.ix_(self.periods, self.units)]
        return float((self.psi * (used if self.plan.root is None else used * self.plan.root)).sum())

    def seen(self, y: Floats) -> Floats:
        """The used part of a variable (R, T, N)."""
        return y[:, self.periods[:, None], self.units]

    def __call__(self, y: Floats) -> DifferenceFit:
        """Outcomes (R, T, N) of the whole panel."""
        found = self.plan.regressors
        assert found is not None
        y = self.seen(y)
        if self.plan.root is not None:
            y = np.where(self.plan.mask > 0, y, 0.0) * self.plan.root
        y = self.plan.transform(y)
        slopes = ols.solved(found.bread, found.x, y)
        e = ols.residual(y, found.x, slopes)
        influence = np.zeros((len(y), self.count))
        influence[:, self.units] = (self.psi * e).sum(axis=1)
        return DifferenceFit(slopes[:, self.at], influence, self.factor, self.dof)


# A prepared alternative: outcomes by name (R, T, N) and the claim on them -> the alternative.
Way = Callable[[Mapping[str, Floats], DifferenceFit], DifferenceFit]


def shifted(side: PreparedRegression, times: float, outcome: str) -> Way:
    """The claim and a multiple of a coefficient of another regression: an estimate of its bias."""
    return lambda outcomes, claim: claim.plus(side(outcomes[outcome]), times)


# The claim and its alternatives, None where one cannot be had.
Plan = tuple[PreparedRegression, tuple[Way | None, ...]]


@dataclass(frozen=True, slots=True)
class Ways:
    """The claim and its alternatives as regressions of a panel; settings as in `Differences`."""

    outcome: str
    regressors: tuple[str, ...]
    effects: tuple[str, ...]
    term: str
    error: str
    cluster_k: ClusterK
    alternatives: tuple[Alternative, ...]
    asked_by: str

    def plan(self, panel: Panel, *, strict: bool = True) -> Plan:
        """strict: raise BadInput for an alternative that the panel cannot have; else it is None."""
        claim = self.claim(panel)
        ways: list[Way | None] = []
        for one in self.alternatives:
            try:
                ways.append(self.way(one, panel, claim))
            except BadInput:
                if strict:
                    raise
                ways.append(None)
        return claim, tuple(ways)

    def claim(self, panel: Panel) -> PreparedRegression:
        """The regression that is claimed."""
        return self._regression(panel, self.effects, self.regressors)

    def _regression(
        self, panel: Panel, effects: tuple[str, ...], regressors: tuple[str, ...], *, cells: Flags | None = None,
        outcome: str = "", asked: str = "",
    ) -> PreparedRegression:  # fmt: skip
        """A regression on some cells (T, N), None = all, for its coefficient of `asked`."""
        name = outcome or self.outcome
        kept = {one: panel.variables[one] for one in regressors} | {name: panel.variables[name][:2]}
        kept |= {one: panel.variables[one] for one in (panel.roles.weight,) if one is not None}
        whole = replace(panel, variables=kept, weights={})
        seen = seen_in(panel)
        chosen = seen if cells is None else cells & seen
        if not chosen.any():
            raise bad("nothing is left to estimate", where=self.asked_by, allowed="cells", remedy="leave it out")
        used = whole if chosen.all() else seen_part(whole, chosen)
        own = LeastSquares(name, regressors, (self.error,), effects, asked_by=self.asked_by)
        plan = own.prepare(used)
        counted = counted_parameters(len(regressors), plan.effects, plan.nested[self.error], self.cluster_k)
        factor, dof = plan.totals[self.error].factor(plan.nobs, plan.nobs - len(regressors) - plan.effects, counted)
        units, periods = np.flatnonzero(chosen.any(axis=0)), np.flatnonzero(chosen.any(axis=1))
        return PreparedRegression(plan, regressors.index(asked or self.term), units, periods, len(panel.units), factor,
                                  dof)  # fmt: skip

    def way(self, one: Alternative, panel: Panel, claim: PreparedRegression) -> Way:
        """An alternative on the panel; raises BadInput where it cannot be had."""
        match one.kind:
            case "trend":
                return self._trend(one, panel, claim)
            case "lead":
                return self._lead(one, panel)
            case "cohort-wise":
                return self._cohort_wise(one, panel)
            case "imputed":
                return self._imputed(one, panel)
        side, outcome = self._changed(one, panel), one.name if one.kind == "outcome" else self.outcome

        def refit(outcomes: Mapping[str, Floats], claim: DifferenceFit) -> DifferenceFit:
            found = side(outcomes[outcome])
            if outcome == self.outcome:
                return found
            cells = side.plan.mask > 0  # another outcome is brought to the scale of the first
            own, other = (side.seen(outcomes[name])[:, cells].std(axis=1) for name in (self.outcome, outcome))
            with np.errstate(divide="ignore", invalid="ignore"):
                scale = own / other
            return replace(found, estimate=found.estimate * scale, influence=found.influence * scale[:, None])

        return refit

    def _changed(self, one: Alternative, panel: Panel) -> PreparedRegression:
        """The claim's regression with other effects or regressors, of another outcome, or without some units."""
        effects, regressors, outcome = self.effects, self.regressors, self.outcome
        seen, gone = seen_in(panel), np.zeros(len(panel.units), dtype=bool)
        match one.kind:
            case "effects":
                if one.name != "unit-trend":
                    effects = tuple(name for name in effects if name != "period" and not name.endswith(BY_PERIOD))
                effects = (*effects, one.name)
                if set(effects) == set(self.effects):
                    raise self._refused(one, "the claim has these effects")
                check_effects(effects, panel.schema, self.asked_by)
            case "controls":
                if one.name == "none":
                    regressors = tuple(name for name in regressors if name in (self.term, panel.roles.treatment))
                else:
                    regressors = tuple(name for name in regressors if f"-{name}" != one.name)
                if regressors == self.regressors:
                    raise self._refused(one, "the claim has no controls")
            case "neighbours":
                treatment = self._treatment(one, panel)
                if not panel.balanced:
                    raise self._refused(one, "cells are missing")
                exposure = panel.weights[one.name].lag(panel.variables[treatment])
                panel, regressors = panel.with_variables({EXPOSURE: exposure}), (*regressors, EXPOSURE)
            case "outcome":
                outcome = one.name
                if outcome in (self.outcome, *regressors):
                    raise self._refused(one, "it is in the claim's regression")
            case "without":
                gone = group_labels(panel.attributes[one.name]) == one.value
            case "without-unit":
                gone = np.array(panel.units) == one.name
            case "without-cohort":
                gone = np.array([*map(str, panel.periods), ""])[self._first(panel)] == one.name
            case "balanced":
                gone = ~seen.all(axis=0)
        if not gone.any() and (one.kind == "balanced" or one.kind.startswith("without")):
            raise self._refused(one, "no cell is missing" if one.kind == "balanced" else "there are no such units")
        return self._regression(panel, effects, regressors, cells=~gone & seen, outcome=outcome)

    def _trend(self, one: Alternative, panel: Panel, claim: PreparedRegression) -> Way:
        treatment, first = self._treatment(one, panel), self._first(panel)
        never, untreated = first == len(panel.periods), np.arange(len(panel.periods))[:, None] < first
        if not never.any():
            raise self._refused(one, "no unit is never treated")
        if not ((untreated & seen_in(panel)).sum(axis=0)[~never] > 1).any():
            raise self._refused(one, "no treated unit is seen in two periods before adoption")
        years = np.array(panel.periods, dtype=np.float64)
        slope = (years - years.mean())[:, None] * ~never
        others = tuple(name for name in self.regressors if name != treatment)
        sloped = panel.with_variables({SLOPE: slope[None]})
        side = self._regression(sloped, self.effects, (SLOPE, *others), cells=untreated & seen_in(panel), asked=SLOPE)
        return shifted(side, -claim.of(slope), self.outcome)

    def _lead(self, one: Alternative, panel: Panel) -> Way:
        treatment, first = self._treatment(one, panel), self._first(panel)
        periods = np.array(panel.periods)[:, None]
        adopted = np.append(periods, np.inf)[first]
        moved = adopted - int(one.name) * period_step(panel.periods)  # by the calendar, across a gap too
        cells = seen_in(panel) & (periods < adopted) & (moved > periods[0])
        if not (cells & (periods >= moved)).any():
            early = amount(int(one.name), "period")
            raise self._refused(one, f"no treated unit is seen earlier than {early} before adoption")
        placebo = panel.with_variables({MOVED: (periods >= moved)[None].astype(np.float64)})
        names = tuple(MOVED if name == treatment else name for name in self.regressors)
        return shifted(self._regression(placebo, self.effects, names, cells=cells, asked=MOVED), -1.0, self.outcome)

    def _cohort_wise(self, one: Alternative, panel: Panel) -> Way:
        """The claim and what the cohort-wise mean effect differs by from the two-way one, both without controls."""
        treatment, whole = self._treatment(one, panel), seen_in(panel).all(axis=0)
        core = whole & (self._first(panel) > 0)
        if len(np.unique(self._first(panel)[core & (self._first(panel) < len(panel.periods))])) < 2:
            raise self._refused(one, "the balanced part has fewer than two cohorts")
        cells = np.broadcast_to(core, seen_in(panel).shape)
        side = self._regression(panel, ("unit", "period"), (treatment,), cells=cells, asked=treatment)
        own = {one: panel.variables[one] for one in (treatment, panel.roles.weight) if one is not None}
        sample = part(replace(panel, variables=own, weights={}), core,
                      np.ones(len(panel.periods), dtype=bool))  # fmt: skip
        sample = replace(sample, roles=replace(sample.roles, outcome=self.outcome, controls=(), mediators=()))
        never = Cohorts.of(sample, treatment, self.asked_by).never.any()
        reduction = CallawaySantAnnaReduction(self.outcome, treatment, "never" if never else "not-yet", None, (),
                                              "varying", 0, ("overall",), (self.error,), False,
                                              self.asked_by)  # fmt: skip
        plan = reduction.plan(sample)
        if not plan.certain[0, 0] or not plan.identified[0]:
            raise self._refused(one, "the cohort-wise mean effect has no error")

        def way(outcomes: Mapping[str, Floats], claim: DifferenceFit) -> DifferenceFit:
            y = outcomes[self.outcome]
            estimate, own = reduction.answer(sample.with_variables({self.outcome: side.seen(y)}), plan)
            influence = np.zeros((len(y), side.count))
            influence[:, side.units] = own[:, 0] / np.sqrt(claim.factor)  # its variance has no factor
            effect = replace(claim, estimate=estimate[:, 0], influence=influence)
            return claim.plus(effect, 1.0).plus(side(y), -1.0)

        return way

    def _imputed(self, one: Alternative, panel: Panel) -> Way:
        treatment = self._treatment(one, panel)
        if not panel.balanced:
            raise self._refused(one, "cells are missing")
        if set(self.effects) != {"unit", "period"}:
            raise self._refused(one, "the claim has other effects")
        others = tuple(name for name in self.regressors if name != treatment)
        own = Imputation(outcome=self.outcome, controls=others, window=(0, 0), label=self.asked_by)
        fit, at = own.fit(panel), own.terms().index("overall")
        if not fit.sound:
            raise self._refused(one, "where nobody is treated, effects absorb a control or controls are collinear")
        if not fit.identified[at] or not fit.certain[at]:
            raise self._refused(one, "the mean imputed effect has no error")

        def way(outcomes: Mapping[str, Floats], claim: DifferenceFit) -> DifferenceFit:
            estimate, influence = fit(outcomes[self.outcome])
            own = influence[:, at] / np.sqrt(claim.factor)  # its variance has no factor
            return replace(claim, estimate=estimate[:, at], influence=own)

        return way

    def _treatment(self, one: Alternative, panel: Panel) -> str:
        """The treatment, where it is what is asked about; raises BadInput where it is not."""
        if self.term != panel.roles.treatment:
            raise self._refused(one, f"{self.term!r} is not the treatment")
        return self.term

    def _first(self, panel: Panel) -> Codes:
        """First treated period of every unit, T = never, (N,); raises BadInput for a treatment that is not 0/1 and
        absorbing where it is observed."""
        seen, d = seen_in(panel), panel.variables[treatment_of(None, panel.schema, self.asked_by)][0]
        treated = seen & (d > 0)
        first = np.where(treated.any(axis=0), treated.argmax(axis=0), len(panel.periods))
        expected = np.arange(len(panel.periods))[:, None] >= first
        if (seen & (d != expected)).any():
            raise bad("the treatment is not 0/1 and absorbing", where=self.asked_by,
                      allowed="0 before adoption, 1 after", remedy="leave this alternative out")  # fmt: skip
        return first.astype(np.intp)

    def _refused(self, one: Alternative, why: str) -> BadInput:
        return bad(f"{one.text}: {why}", where=self.asked_by, allowed="alternatives that the panel can have",
                   remedy="leave it out")  # fmt: skip

    @np.errstate(divide="ignore", invalid="ignore")
    def stacked(self, plan: Plan, panel: Panel) -> StackedScores:
        """All terms on a panel with the plan's regressors."""
        rows = panel.replications
        wanted = {self.outcome, *(one.name for one in self.alternatives if one.kind == "outcome")}
        outcomes = {name: spread(panel.variables[name], rows) for name in wanted}
        regression, ways = plan
        claim = regression(outcomes[self.outcome])
        fits, factors, dofs = [claim], [claim.factor], [claim.dof]
        for way in ways:
            if way is None:  # it cannot be had
                none = np.full_like(claim.estimate, np.nan), np.full_like(claim.influence, np.nan)
                found = DifferenceFit(*none, claim.factor, claim.dof)
            else:
                found = way(outcomes, claim)
            fits += [found.plus(claim, -1.0), found]
            factors += [claim.factor, found.factor]
            dofs += [claim.dof, found.dof]
        influence = np.stack([fit.influence for fit in fits], axis=1)
        sums = sums_within(influence, unit_clusters(self.error, panel))
        sums = sums * np.sqrt(np.array(factors))[:, None]
        estimate = np.stack([fit.estimate for fit in fits], axis=1)
        variance = np.vecdot(sums, sums)
        same = variance <= SAME * variance[:, :1]
        apart = np.arange(len(fits)) % 2 == 1  # an alternative whose scores cancel is an estimate all the same
        return StackedScores(np.where(same & apart, 0.0, estimate), np.where(same[:, :, None], 0.0, sums),
                       np.broadcast_to(np.array(dofs, dtype=np.float64), estimate.shape).copy())  # fmt: skip
