"""The worlds of a race: twins of a panel with a known effect, in which stands what the panel shows beside it.

A world is a twin that can serve as a null, or a factor twin in which who adopts hangs on the factors as it does in the
panel (Arkhangelsky, Athey, Hirshberg, Imbens and Wager 2021, section 3), where a logit on loadings tells that it does.

In twins trends are parallel, the effect is one number and reaches nobody else. Three departures from that are told by
differences of other estimates to the two-way one, with the clustered errors of the differences: a linear trend of the
treated (slopes in untreated cells), effects that differ by time since adoption and date (the mean imputed effect),
and effects on neighbours (the exposure W D). What a departure of size 1 does to each difference is known, so that sizes
follow from a linear system. The trend is looked for first, then, beside those that were found, the more significant of
the others; one that is not significant beside those that came after it is given up: effects on neighbours look like a
trend. Departures that are significant at 5% are planted in every world as they are estimated; where adoption hangs
on factors, these are the trend. Errors rest on the clusters that hold treated units, or on those that hold others where
these are fewer: t has one degree of freedom less.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import chdtrc

from estimators.core.estimator import p_values
from estimators.core.regression import logit_or_firth
from estimators.sensitivity.differences import Differences
from estimators.staggered.adoption_effects import Cohorts
from estimators.staggered.imputation import Imputation
from estimators.synthetic.interactive_effects import InteractiveEffects
from experiments.panel_spec.spec import RealPanel
from experiments.tables.ledger import fewest_clusters, main_cluster, treated_units
from experiments.trust.claim import PanelClaim
from experiments.trust.evidence import LEVEL
from experiments.twins.methods import fit_by
from experiments.twins.real import Real, section_of
from experiments.twins.twin import Twin, twin
from sim.arrays import Flags, Floats
from sim.errors import BadInput, bad
from sim.panel import Panel
from sim.schema import period_step
from sim.world.panel_design import PanelDesign
from sim.world.parts.effect import Effect
from sim.world.parts.spillover import Neighbours

SELECTION, FACTOR = "selection on factors", "factor"
TREND, COHORTS, NEIGHBOURS = "trend", "cohorts", "neighbours"
SAID = {
    TREND: "Treated units have a trend of their own of {:.3g} a period",
    COHORTS: "Effects differ by time since adoption and date",
    NEIGHBOURS: "The treatment of all neighbours moves a unit by {:.3g}",
}
WHETHER = {
    TREND: "Whether treated units have a trend of their own",
    COHORTS: "Whether effects differ by time since adoption and date",
    NEIGHBOURS: "Whether the treatment moves neighbours",
}
SMALL = 0.05  # of the spread of effects over treated cells: a mean effect below cannot be told in shares of itself
SLOPES = np.linspace(-0.8, 2.0, 57)  # changes of an effect from the earliest date to the latest that are tried
UNTOLD = 1e8  # condition number above which departures cannot be told apart


@dataclass(frozen=True, slots=True)
class Departure:
    """What a panel shows beside one effect under parallel trends: its size with a clustered error.

    size: of a trend, the slope a period; of neighbours, the coefficient of W D; of effects that differ, how much an
    effect would have to grow a period since adoption to move the two-way estimate as far. change: what it does to the
    outcome, (T, N).
    """

    name: str
    size: float
    se: float
    pvalue: float
    change: Floats

    @property
    def sentence(self) -> str:
        """In words, with its p value."""
        return f"{SAID[self.name].format(self.size)} on the panel (p = {self.pvalue:.2g}), and in every world."


def departures_of(claim: PanelClaim) -> tuple[dict[str, Departure], tuple[str, ...]]:
    """Departures that the panel of a claim shows, by name, and sentences on those of which it cannot tell.

    Of a panel with gaps they are those of its balanced part, which twins are of.
    """
    panel, error = claim.sample.balanced(), main_cluster(claim.sample.spec)
    treatment = panel.roles.treatment
    if treatment is None or panel.roles.continuous:
        return {}, ()

    # what each departure of size 1 does to the outcome, (T, N)
    d = panel.variables[treatment]
    steps = np.array(panel.periods) / period_step(panel.periods)
    changes = {TREND: (steps - steps.mean())[:, None] * d[0].any(axis=0),
               COHORTS: np.maximum(np.cumsum(d[0], axis=0) - 1.0, 0.0)}  # fmt: skip
    if panel.weights:
        changes[NEIGHBOURS] = next(iter(panel.weights.values())).lag(d)[0]

    asked = {TREND: "trend", COHORTS: "imputed", NEIGHBOURS: f"neighbours:{next(iter(panel.weights), '')}"}
    asked = {name: text for name, text in asked.items() if name in changes}
    few = fewest_clusters(panel, error)
    every = Differences(term=treatment, error=error, alternatives=tuple(asked.values()))
    try:
        reasons = every.available(panel)
        if few < 2 or treated_units(panel).all():
            raise bad("fewer than two clusters are treated, or are not", where="race", allowed="two", remedy="none")
    except BadInput as fault:
        return {}, (f"Departures from parallel trends and one effect cannot be told: {fault.problems[0].what}.",)
    untold = tuple(f"{WHETHER[name]} cannot be told: {reasons[text].removeprefix(f'{text}: ')}."
                   for name, text in asked.items() if reasons[text])  # fmt: skip
    told = {name: text for name, text in asked.items() if not reasons[text]}
    if not told:
        return {}, untold
    return _shown(panel, replace(every, alternatives=tuple(told.values())), {name: changes[name] for name in told},
                  few), untold  # fmt: skip


def _shown(panel: Panel, every: Differences, changes: Mapping[str, Floats], few: int) -> dict[str, Departure]:
    """Departures that are significant; changes: what each does to the outcome, as the alternatives are ordered; few:
    clusters that errors rest on."""
    found, outcome = every.stacked(panel), str(panel.roles.outcome)
    differences, influence, names = found.estimate[0, 1::2], found.influence[0, 1::2], list(changes)
    moved = [every.stacked(panel.with_variables({outcome: panel.variables[outcome] + change})).estimate[0, 1::2]
             for change in changes.values()]  # fmt: skip
    response = np.array(moved).T - differences[:, None]

    def solved(some: list[int]) -> list[Departure]:
        """Sizes of some departures, if there are no others."""
        if not np.linalg.cond(response[np.ix_(some, some)]) < UNTOLD:
            return []
        inverse = np.linalg.inv(response[np.ix_(some, some)])
        sizes = inverse @ differences[some]
        se = np.sqrt(few / (few - 1)) * np.sqrt(np.square(inverse @ influence[some]).sum(axis=1))
        p = p_values(sizes / se, np.full(len(some), few - 1.0))
        rows = zip(some, sizes.tolist(), se.tolist(), p.tolist(), strict=True)
        return [Departure(names[k], value, error, pvalue, changes[names[k]]) for k, value, error, pvalue in rows]

    def pvalue(k: int) -> float:
        """Of a departure beside those that are kept; 1 where it cannot be told from them."""
        beside = solved([*kept, k])
        return float(np.nan_to_num(beside[-1].pvalue, nan=1.0)) if beside else 1.0

    kept: list[int] = []
    kept += [k for k, name in enumerate(names) if name == TREND and pvalue(k) <= LEVEL]
    waiting = [k for k, name in enumerate(names) if name != TREND]
    while waiting:
        best = min(waiting, key=pvalue)
        if pvalue(best) > LEVEL:
            break
        kept.append(best)
        waiting.remove(best)
    while kept:
        beside = solved(kept)
        last = max(beside, key=lambda one: one.pvalue)
        if last.pvalue <= LEVEL:
            return {one.name: one for one in beside}
        kept.remove(names.index(last.name))
    return {}


def planted(design: PanelDesign, departures: Mapping[str, Departure], effects: Mapping[str, Any]) -> PanelDesign:
    """A world with departures of a panel; effects: the dials of effects that differ."""
    assert isinstance(design.effect, Effect)
    gap: dict[str, Any] = {"trend_gap": departures[TREND].size} if TREND in departures else {}
    spread = departures.get(NEIGHBOURS)
    spillover = design.spillover if spread is None else Neighbours(w_effect=spread.size)
    return replace(design, effect=replace(design.effect, **gap, **effects), spillover=spillover)


def effects_that_differ(panel: Panel, departures: Mapping[str, Departure], size: float) -> dict[str, Any]:
    """The dials path and by_cohort of effects with the mean `size` over treated cells that differ as imputed ones do.

    A mean imputed effect of a cohort in a period is taken for size times path(periods since adoption) (1 + by_cohort
    date), by least squares over treated cells. What other departures do is taken out first. None where the mean effect
    is small beside what it varies.
    """
    treatment, outcome = str(panel.roles.treatment), str(panel.roles.outcome)
    y = panel.variables[outcome] - sum(one.size * one.change for name, one in departures.items() if name != COHORTS)
    try:
        fit = Imputation().fit(panel)
    except BadInput:
        return {}
    effects = fit.first_stage.adjusted(y)[0]
    first = Cohorts.of(panel, treatment, "race").first
    since = np.arange(len(panel.periods))[:, None] - first
    cells = (since >= 0) & (first > 0) & (panel.variables[treatment][0] > 0)
    tau, late = effects[cells], np.broadcast_to(first, cells.shape)[cells] / max(int(first[cells.any(axis=0)].max()), 1)
    tau = tau - tau.mean() + size
    at = since[cells]

    def path(slope: float) -> tuple[float, Floats]:
        factor = 1.0 + slope * late
        sums = np.bincount(at, factor * tau), np.bincount(at, factor * factor)
        means = sums[0] / np.where(sums[1] > 0, sums[1], 1.0)
        fitted = factor * means[at]
        return float(np.square(tau - fitted).sum()), (means + (size - fitted.mean()) / factor.mean()) / size

    if abs(size) < SMALL * tau.std():
        return {}
    slope = min(SLOPES.tolist(), key=lambda one: path(one)[0])
    last = int(first[cells.any(axis=0)].max())
    return {"path": tuple(path(slope)[1].tolist()), "by_cohort": slope / last}


def worlds_of(
    sample: RealPanel, departures: Mapping[str, Departure], size: float, fitted: Twin | None = None
) -> tuple[dict[str, PanelDesign], dict[str, list[PanelDesign]], tuple[str, ...]]:
    """Designs by name, worlds near those that have some, and sentences on what is in them and what was left out.

    size: the mean effect. fitted: the twin of the sample, where it is there. Raises BadInput where no world is left.
    """
    fitted = fitted or twin(sample)
    votes, selected, without = [one for one in fitted.all if one.null], None, tuple[str, ...]()
    try:
        selected = _selected(sample, fitted)
    except BadInput as fault:
        without = (f"There is no world with selection on factors: {fault.problems[0].what}.",)
    if selected is not None:  # factors hold the trend of the treated
        departures = {name: one for name, one in departures.items() if name != TREND}
    effects = effects_that_differ(sample.balanced(), departures, size) if COHORTS in departures else {}
    if COHORTS in departures and not effects:
        without = (*without, "Effects differ on the panel, which worlds of so small an effect cannot hold.")
        departures = {name: one for name, one in departures.items() if name != COHORTS}
    designs = {one.method: one.design for one in votes} | ({} if selected is None else {SELECTION: selected})
    if not designs:
        raise bad("no twin of this panel can serve as a known world", where="[twin]",
                  allowed="a kept or redrawn adoption", remedy="leave levels out of keep")  # fmt: skip
    near = {one.method: [planted(design, departures, effects) for design in one.nearby] for one in votes if one.nearby}
    notes = (*(one.sentence for one in departures.values()), *without,
             *(f"Twins by the method {one.method} cannot serve as a known world." for one in fitted.all
               if not one.null))  # fmt: skip
    return {name: planted(design, departures, effects) for name, design in designs.items()}, near, notes


def _selected(sample: RealPanel, fitted: Twin) -> PanelDesign | None:
    """A factor twin whose adoption is drawn by a logit on its factors; None where there are none, or a likelihood ratio
    test does not tell that adoption hangs on them."""
    real = Real.of(_by_factors(sample, {}))
    there = (one.parameters for one in fitted.all if one.method == FACTOR)
    parameters = next(there, None) or fit_by(FACTOR, real).parameters
    rank = next((int(item.value) for item in parameters if item.dial == "rank"), 0)
    if rank == 0 or sample.panel.roles.treatment is None:
        return None
    treated = treated_units(real.panel)
    loadings = loadings_before(real, treated, rank)
    if loadings is None:
        return None
    if not chdtrc(rank, logit_or_firth(loadings, treated).ratio) <= LEVEL:
        return None

    # the effect by interactive effects (Xu 2017), where there is one, leaves in the outcome what factors do to the
    # treated; that of the two-way regression would take it out
    changes: dict[str, Any] = {"adoption": {"kind": "propensity", "on": "factors"}}
    with contextlib.suppress(BadInput):
        effect = float(InteractiveEffects(form="imputation")(real.panel).estimate[0, 0])
        changes |= {"effect": effect} if np.isfinite(effect) else {}
    return twin(_by_factors(sample, changes)).design


def loadings_before(real: Real, treated: Flags, rank: int) -> Floats | None:
    """Loadings (N, rank) of all units on the factors of the never treated, from the periods before any adoption (Xu
    2017, step 2); None where these are too few."""
    y, before = real.rest, int(real.policy_off.all(axis=1).argmin()) if treated.any() else len(real.rest)
    if treated.all() or (~treated).sum() <= rank or before < rank + 2:
        return None
    y = y - y[:, ~treated].mean(axis=1, keepdims=True)
    controls = y[:, ~treated]
    factors = np.linalg.svd(controls - controls.mean(axis=0), full_matrices=False)[0][:, :rank]
    x = np.column_stack([np.ones(before), factors[:before]])
    return np.asarray(np.linalg.lstsq(x, y[:before], rcond=None)[0][1:].T)


def _by_factors(sample: RealPanel, changes: Mapping[str, Any]) -> RealPanel:
    """The panel with [twin] that asks for a factor twin alone, and further keys of it."""
    own = section_of(sample.spec)
    written = own.model_dump(exclude_unset=True) | {"method": [FACTOR], **changes}
    section = type(own).model_validate(written | {"keep": [name for name in own.keep if name != "levels"]})
    return replace(sample, spec=sample.spec.model_copy(update={"twin": section}))
