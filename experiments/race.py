"""Estimators raced on the twins of a panel: which one misses the effect least there, and what each says of the panel.

Every estimator that serves the claim's estimand is fitted to the same draws of each twin that can serve as a world with
a known effect, and of one more: a factor twin in which who adopts hangs on the factors as it does in the panel
(Arkhangelsky, Athey, Hirshberg, Imbens and Wager 2021, section 3). Where trends of the treated differ because factors
move them, this is the world in which that costs something.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from estimators.core.estimator import Estimator, Layout, critical_values, estimators, usual_error
from estimators.linear.did import TwoWayDID
from experiments.panel_spec.spec import RealPanel
from experiments.run.reporting import without_nan
from experiments.study import Study
from experiments.tables.ledger import treated_units
from experiments.trust.claim import EFFECT, HEADLINE, PanelClaim, claim_of
from experiments.trust.studies import BLOCK, Means, SimulatedStudy, in_memory, timed
from experiments.twins.real import section_of
from experiments.twins.twin import Twin, twin
from results.text import bracketed, fixed, joined
from sim.arrays import Floats
from sim.errors import BadInput, bad, closest, one_of
from sim.streams import Streams
from sim.world.context import LARGEST
from sim.world.panel_design import PanelDesign

if TYPE_CHECKING:
    import pandas as pd

CONTESTANTS = ("imputation", "two-stage", "callaway-santanna", "sun-abraham", "synthetic-did", "synthetic-control",
               "demeaned-synthetic-control", "matrix-completion", "interactive-effects")  # fmt: skip
JACKKNIFE, PLACEBO = "jackknife:unit", "placebo:unit"  # of synthetic estimators
TRENDS = "unit-trends"  # the two-way regression with a linear trend a unit
SELECTION = "selection on factors"
LEVEL, NOMINAL = 0.10, 0.95
LEAST_COVERAGE = 0.90  # of nominal 95% intervals, below which an estimator is not recommended
MOST_BIAS = 0.5  # of its standard deviation, above which an estimator is not recommended
BEYOND = 2.0  # Monte Carlo errors within which a bound is not exceeded
SAMPLES = 999  # of the bootstrap behind the model confidence set
LEAST, MOST, TIMED = 128, 4096, 64  # replications
NONE = float("nan")
SAME = 1e-12  # of the largest mean loss: what rounding leaves of no difference
CLEAR = 0.02  # of the root mean squared error, by which another estimator must be smaller


@dataclass(frozen=True, slots=True)
class RaceResult:
    """How an estimator did in a world: its misses of the effect, with Monte Carlo errors.

    spread: standard deviation of its estimates. coverage, width: of its 95% intervals; power: how often it rejects 0.
    failures: share of fits without an answer; n: fits. confidence: p value of the model confidence set, NaN outside of
    the race for it.
    """

    world: str
    estimator: str
    error: str
    bias: float = NONE
    bias_mcse: float = NONE
    rmse: float = NONE
    rmse_mcse: float = NONE
    spread: float = NONE
    coverage: float = NONE
    coverage_mcse: float = NONE
    width: float = NONE
    power: float = NONE
    failures: float = NONE
    n: int = 0
    confidence: float = NONE

    @property
    def valid(self) -> bool:
        """Whether bias and coverage allow to recommend it."""
        covers = self.coverage + BEYOND * self.coverage_mcse >= LEAST_COVERAGE
        return covers and abs(self.bias) - BEYOND * self.bias_mcse <= MOST_BIAS * self.spread


@dataclass(frozen=True, slots=True)
class OnPanel:
    """What an estimator says of the panel: estimate, standard error, 95% interval; left_out: why it did not race."""

    estimator: str
    error: str = ""
    estimate: float = NONE
    se: float = NONE
    lower: float = NONE
    upper: float = NONE
    left_out: str = ""


@dataclass(frozen=True)
class Race:
    """What was found. own: the claim's estimator. effect: that was planted. best: the estimator to use, the claim's own
    where none is clearly better; agree: whether all worlds say so. notes: what a reader should know."""

    claim: PanelClaim
    own: str
    effect: float
    results: tuple[RaceResult, ...]
    panel: tuple[OnPanel, ...]
    best: str
    agree: bool
    notes: tuple[str, ...]
    seconds: float

    @property
    def worlds(self) -> tuple[str, ...]:
        """In the order of the race."""
        return tuple(dict.fromkeys(result.world for result in self.results))

    @cached_property
    def frame(self) -> pd.DataFrame:
        """A row a world and estimator."""
        import pandas as pd  # loaded where a table is asked for

        return pd.DataFrame([_plain(one) for one in self.results])

    def result(self, world: str, estimator: str) -> RaceResult:
        """How an estimator did in a world."""
        return next(one for one in self.results if (one.world, one.estimator) == (world, estimator))

    def valid(self, estimator: str) -> bool:
        """Whether bias and coverage of an estimator are good in every world."""
        return all(one.valid for one in self.results if one.estimator == estimator)

    @property
    def answer(self) -> str:
        """The race in a few sentences."""
        if not self.valid(self.best):
            return (f"On panels like yours no estimator that raced is valid in every world; your {self.own} is not in "
                    f"{joined([one.world for one in self.results if one.estimator == self.own and not one.valid])}."
                    f"{self._dissent()}")  # fmt: skip
        if self.best == self.own:
            return f"On panels like yours no estimator is clearly better than your {self.own}, which is valid there."
        worst = max(self.worlds, key=lambda world: self.result(world, self.own).rmse)
        ours, theirs = self.result(worst, self.own), self.result(worst, self.best)
        here = next(one for one in self.panel if one.estimator == self.best)
        bias = f" (bias {ours.bias:.3g})" if abs(ours.bias) > BEYOND * ours.bias_mcse else ""
        interval = f"{here.estimate:.4g}, error {here.se:.3g}, interval {here.lower:.4g} to {here.upper:.4g}"
        return (f"On panels like yours {self.best} misses the effect by {theirs.rmse:.3g}, your {self.own} by "
                f"{ours.rmse:.3g}{bias}. Use {self.best} with errors {here.error}: {interval}."
                f"{self._dissent()}")  # fmt: skip

    def _dissent(self) -> str:
        """Who misses least where the worlds do not agree."""
        leaders = {}
        for world in self.worlds:
            sound = [one for one in self.results if one.world == world and one.valid]
            if sound:
                leaders[world] = min(sound, key=lambda one: one.rmse).estimator
        if self.agree or len(set(leaders.values())) < 2:
            return ""
        said = [f"{name} in the world {world}" for world, name in leaders.items()]
        return f" The worlds disagree: the least miss is that of {joined(said)}."


def race(
    real: RealPanel,
    claim: str = HEADLINE,
    *,
    effect: float | None = None,
    kinds: Sequence[str] = (),
    budget: float = 120.0,
    replications: int | None = None,
    means: Means | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Race:
    """Race every estimator that can serve a claim on twins of its panel.

    effect: planted in the twins; None = as estimated. kinds: estimators that race beside the claim's own, none = all
    that serve. budget: seconds of the simulations, turned into replications by a pilot; replications: in its place.
    Raises BadInput for claims that are no effect, unknown estimators, and panels of which no twin can be made.
    """
    begin, means = time.perf_counter(), means or Means()
    if effect is not None and not abs(effect) < LARGEST:
        raise bad(f"effect {effect:g}", where="--effect", allowed=f"a number below {LARGEST:g} in size",
                  remedy="correct it")  # fmt: skip
    named = claim_of(real, claim)
    if named.dial != EFFECT:
        raise bad(f"the claim {claim!r} is no effect of the treatment itself", where="--claim",
                  allowed="did, or another estimate of the effect", remedy="leave --claim out")  # fmt: skip
    size = named.estimate if effect is None else effect
    field, panel = contestants(named, kinds)
    worlds, notes = worlds_of(named.sample)
    counts = _replications(named, field, worlds, budget, replications, means)
    results: list[RaceResult] = []
    for world, design in worlds.items():
        say(f"{world}: {len(field)} estimators on up to {max(counts.values()):,} panels")
        found, fits = [], {}
        for name, (estimator, term, error) in field.items():
            study = _study(named, f"race-{world}-{name}", design, estimator, size, counts[name])
            simulated = SimulatedStudy(world, study, means.run(study.name, study), term)
            found.append(result_of(simulated, name, error))
            fits[name] = simulated.fits(error).estimate
        results += with_confidence(found, fits, size, study.seed)
    best, agree = chosen(results, next(iter(field)))
    fewer = [f"{name} on {count:,}" for name, count in counts.items() if count < max(counts.values())]
    if fewer:
        notes = (*notes, f"Slow estimators raced on fewer panels: {joined(fewer)}.")
    return Race(named, next(iter(field)), size, tuple(results), panel, best, agree, notes, time.perf_counter() - begin)


# Who races, and where.


Field = Mapping[str, tuple[Estimator, str, str]]  # estimator, term and error type, by name


def contestants(claim: PanelClaim, kinds: Sequence[str] = ()) -> tuple[Field, tuple[OnPanel, ...]]:
    """The estimators that can serve a claim's panel, the claim's own first, and what each says of it.

    Raises BadInput for unknown kinds.
    """
    found = estimators()
    for kind in kinds:
        if kind not in found and kind != TRENDS:
            raise bad(f"no estimator {kind!r}", where="--estimator", allowed=one_of(sorted((*found, TRENDS))),
                      remedy=closest(kind, (*found, TRENDS)))  # fmt: skip
    field: dict[str, tuple[Estimator, str, str]] = {}
    panel: list[OnPanel] = []
    own = replace(claim, errors=(claim.printed,) if claim.errors else ()).estimator
    alone = treated_units(claim.panel).sum() == 1
    for estimator in (own, *_further(kinds or (TRENDS, *CONTESTANTS), alone=bool(alone))):
        name = getattr(claim.fitted.estimator, "kind", "") if estimator is own else estimator.name
        try:
            term, error, said = _on_panel(claim, estimator, name, claim.term if estimator is own else "")
        except BadInput as fault:
            if estimator is own:
                raise
            panel.append(OnPanel(name, left_out=fault.problems[0].what))
            continue
        if name not in field:
            field[name] = estimator, term, error
            panel.append(said)
    return field, tuple(panel)


def _further(kinds: Sequence[str], *, alone: bool) -> Iterator[Estimator]:
    """Estimators by kind at their defaults; with one treated unit, errors by placebos where they have them."""
    found = estimators()
    for kind in kinds:
        if kind == TRENDS:
            yield TwoWayDID(errors=("cluster:unit",), effects=("unit", "period", "unit-trend"), label=TRENDS)
            continue
        made = found[kind]()
        held: Any = made
        yield replace(held, errors=(PLACEBO,)) if alone and JACKKNIFE in getattr(made, "errors", ()) else made


def _on_panel(claim: PanelClaim, estimator: Estimator, name: str, term: str) -> tuple[str, str, OnPanel]:
    """The term that is the effect, the error type, and the estimate on the panel; raises BadInput for none."""
    layout = estimator.layout(claim.panel.schema)
    term = term or _effect(layout, estimator, str(claim.panel.roles.treatment))
    if not layout.errors:
        raise bad("it has no standard errors", where=name, allowed="estimators with errors", remedy="leave it out")
    error = claim.printed if claim.printed in layout.errors else usual_error(layout.errors)
    found = estimator(claim.panel, Streams(claim.real.spec.inference.seed, "race"))
    k, e = found.terms.index(term), found.errors.index(error)
    estimate, se, dof = found.estimate[0, k], found.se[0, e, k], found.dof[0, e, k]
    if not np.isfinite(estimate):
        raise bad("it has no estimate on this panel", where=name, allowed="panels that it fits", remedy="leave it out")
    width = critical_values(np.array(dof), 1 - NOMINAL) * se
    lower, upper = float(estimate - width), float(estimate + width)
    return term, error, OnPanel(name, error, float(estimate), float(se), lower, upper)


def _effect(layout: Layout, estimator: Estimator, treatment: str) -> str:
    """The term that is held to the average effect on the treated; raises BadInput where there is none."""
    terms = [term for term, target in layout.targets.items() if target == "att"]
    if not terms:
        raise bad("it does not estimate the average effect on the treated", where=estimator.name,
                  allowed="estimators of the effect", remedy="leave it out")  # fmt: skip
    return treatment if treatment in terms else terms[0]


def worlds_of(sample: RealPanel) -> tuple[dict[str, PanelDesign], tuple[str, ...]]:
    """Designs with a known effect: twins that serve as a null, and one with selection on factors where there are any.

    With sentences on those that are left out. Raises BadInput where none is left.
    """
    fitted = twin(sample)
    worlds = {one.method: one.design for one in fitted.all if one.null}
    notes = [f"Twins by the method {one.method} cannot serve as a known world." for one in fitted.all if not one.null]
    try:
        selected = _selected(sample)
        worlds |= {} if selected is None else {SELECTION: selected}
    except BadInput as fault:
        notes.append(f"There is no world with selection on factors: {fault.problems[0].what}.")
    if not worlds:
        raise bad("no twin of this panel can serve as a known world", where="[twin]",
                  allowed="a kept or redrawn adoption", remedy="leave levels out of keep")  # fmt: skip
    return worlds, tuple(notes)


def _selected(sample: RealPanel) -> PanelDesign | None:
    """A factor twin whose adoption is drawn by a logit on its factors; None where the panel has no factors."""
    plain = _factor_twin(sample, {})
    rank = next((int(item.value) for item in plain.parameters if item.dial == "rank"), 0)
    if rank == 0:
        return None
    return _factor_twin(sample, {"adoption": {"kind": "propensity", "on": "factors"}}).design


def _factor_twin(sample: RealPanel, changes: Mapping[str, Any]) -> Twin:
    own = section_of(sample.spec)
    written = own.model_dump(exclude_unset=True) | {"method": ["factor"], **changes}
    section = type(own).model_validate(written | {"keep": [name for name in own.keep if name != "levels"]})
    return twin(replace(sample, spec=sample.spec.model_copy(update={"twin": section})))


def _study(claim: PanelClaim, name: str, design: PanelDesign, estimator: Estimator, effect: float, count: int) -> Study:
    """One estimator in one world; others of the same world get the same draws."""
    return Study(name, design, (estimator,), grid=((claim.dial, (effect,)),), replications=count, block=BLOCK,
                 seed=claim.real.spec.inference.seed,
                 question="How do estimators of the effect do on twins?")  # fmt: skip


def _replications(
    claim: PanelClaim, field: Field, worlds: Mapping[str, PanelDesign], budget: float, asked: int | None, means: Means
) -> dict[str, int]:
    """Panels a world for each estimator: equal parts of the time, as measured by a pilot in the first world."""
    if asked is not None:
        return dict.fromkeys(field, asked)
    design, counts = next(iter(worlds.values())), {}
    share = budget * means.executor.workers / (len(field) * len(worlds))
    for name, (estimator, _, _) in field.items():
        study = _study(claim, "pilot", design, estimator, 0.0, TIMED)
        cost = timed(partial(in_memory, study), TIMED)
        counts[name] = int(np.clip(share / max(cost, 1e-9) // 64 * 64, LEAST, MOST))
    return counts


# What a race found: misses in each world, the model confidence set, and whom to use.


def result_of(found: SimulatedStudy, name: str, error: str) -> RaceResult:
    """What a study of one estimator in a world says, its Monte Carlo errors clustered by worlds as in every report."""
    bias, rmse = found.measure("bias"), found.measure("rmse")
    coverage, fits = found.measure("coverage", error), found.fits(error)
    return RaceResult(
        found.method, name, error, bias.value, bias.mcse, rmse.value, rmse.mcse, found.measure("empirical_se").value,
        coverage.value, coverage.mcse, float(np.nanmean(2 * critical_values(fits.dof, 1 - NOMINAL) * fits.se)),
        found.measure("rejection", error).value, float(np.mean(~np.isfinite(fits.estimate))), bias.n,
    )  # fmt: skip


def with_confidence(
    found: Sequence[RaceResult], fits: Mapping[str, Floats], effect: float, seed: int
) -> list[RaceResult]:
    """Results of one world with the model confidence set of those that are valid; fits: estimates by name, (R,)."""
    sound = [one for one in found if one.valid]
    if len(sound) < 2:
        return [replace(one, confidence=1.0) if one.valid else one for one in found]
    shortest = min(len(fits[one.estimator]) for one in sound)
    losses = np.column_stack([np.square(fits[one.estimator][:shortest] - effect) for one in sound])
    p = confidence_set(losses[np.isfinite(losses).all(axis=1)], np.random.default_rng(seed))
    known = dict(zip((one.estimator for one in sound), p.tolist(), strict=True))
    return [replace(one, confidence=known.get(one.estimator, NONE)) for one in found]


def confidence_set(losses: Floats, rng: np.random.Generator, samples: int = SAMPLES) -> Floats:
    """p values of the model confidence set of losses (R, M): those of at least a level stay in it, (M,).

    Hansen, Lunde and Nason (2011, Econometrica 79(2)), with their statistic T_max: the model whose mean loss lies most
    standard errors above the mean of those that are left goes first; rows are independent, and are drawn anew.
    """
    rows, models = losses.shape
    weights = rng.multinomial(rows, np.full(rows, 1 / rows), size=samples) / rows
    means, drawn = losses.mean(axis=0), weights @ losses
    left, p, so_far = list(range(models)), np.ones(models), 0.0
    while len(left) > 1:
        apart = means[left] - means[left].mean()
        moved = drawn[:, left] - drawn[:, left].mean(axis=1, keepdims=True) - apart
        scale = np.sqrt(np.square(moved).mean(axis=0))
        if not (scale > SAME * means.max()).all():  # models whose losses are the same
            break
        worst = int(np.argmax(apart / scale))
        so_far = max(so_far, float(np.mean((moved / scale).max(axis=1) >= (apart / scale).max())))
        p[left[worst]] = so_far
        del left[worst]
    return p


def chosen(results: Sequence[RaceResult], own: str) -> tuple[str, bool]:
    """The estimator to use, and whether all worlds agree.

    The claim's own stays where it is valid in every world and in no world clearly behind: in the model confidence set,
    or within 2% of the least root mean squared error. Else it is the estimator, valid in most worlds, whose root mean
    squared error is on average the fewest times that of the best valid one.
    """
    worlds = list(dict.fromkeys(one.world for one in results))
    least = {world: min((one.rmse for one in results if one.world == world and one.valid), default=np.nan)
             for world in worlds}  # fmt: skip

    def near(one: RaceResult) -> bool:
        return one.valid and (one.confidence > LEVEL or one.rmse <= (1 + CLEAR) * least[one.world])

    by_name: dict[str, list[RaceResult]] = {}
    for one in results:
        by_name.setdefault(one.estimator, []).append(one)
    agreed = [name for name, of_name in by_name.items() if all(map(near, of_name))]
    if own in agreed:
        return own, True
    ratios = {name: (-sum(one.valid for one in of_name), np.mean([one.rmse / least[one.world] for one in of_name]))
              for name, of_name in by_name.items()}  # fmt: skip
    best = min(agreed or ratios, key=lambda name: ratios[name])
    return best, bool(agreed)


# What is printed and kept.


def document(found: Race) -> dict[str, Any]:
    """Every number that is shown, as plain data."""

    return {
        "claim": found.claim.text,
        "estimator": found.own,
        "effect": found.effect,
        "best": found.best,
        "agree": found.agree,
        "answer": found.answer,
        "worlds": [without_nan(_plain(one)) for one in found.results],
        "panel": [without_nan(asdict(one)) for one in found.panel],
        "notes": list(found.notes),
        "seconds": found.seconds,
    }


def _plain(one: RaceResult) -> dict[str, Any]:
    return asdict(one) | {"valid": one.valid}


def print_race(found: Race, console: Console) -> None:
    """The answer, a table a world, and the estimators on the panel."""
    console.print(Text(found.answer, style="bold"))
    for world in found.worlds:
        console.print()
        console.print(Text(f"In the world {world}, effect {found.effect:.4g}"))
        table = Table("estimator", "bias", "RMSE", "coverage", "power", "in the set", box=None, pad_edge=False)
        rows = sorted((one for one in found.results if one.world == world), key=lambda one: one.rmse)
        for one in rows:
            within = f"{one.confidence:.2f}" if one.valid else "not valid"
            table.add_row(one.estimator, _with(one.bias, one.bias_mcse), _with(one.rmse, one.rmse_mcse),
                          f"{one.coverage:.1%}", f"{one.power:.1%}", within)  # fmt: skip
        console.print(table)
    console.print()
    console.print(Text("On the panel itself"))
    table = Table("estimator", "errors", "estimate", "s.e.", "95% interval", box=None, pad_edge=False)
    for here in found.panel:
        if here.left_out:
            table.add_row(here.estimator, "", Text(f"left out: {here.left_out}"))
        else:
            table.add_row(here.estimator, here.error, f"{here.estimate:.4g}", f"{here.se:.3g}",
                          f"{here.lower:.4g} to {here.upper:.4g}")  # fmt: skip
    console.print(table)
    for note in found.notes:
        console.print(Text(note, style="dim"))


def _with(value: float, mcse: float) -> str:
    return bracketed(value, mcse, fixed([value], mcse))
