"""The dials of the `panel` design: sizes, names and slots for parts, with what they must agree on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from sim.design import Design
from sim.errors import BadInput, Problem, choice_problems
from sim.schema import Roles, Schema
from sim.weights import DEGREES
from sim.world.context import DesignSummary, Part
from sim.world.parts.adoption import Adoption, Random
from sim.world.parts.covariates import Covariate
from sim.world.parts.effect import Effect, EffectPart
from sim.world.parts.errors import Errors, Process
from sim.world.parts.geography import Geography, Uniform
from sim.world.parts.indicators import Entropy, IndicatorsPart
from sim.world.parts.levels import Effects, Levels
from sim.world.parts.measurement import Classical, MeasurementPart
from sim.world.parts.mediators import MediatorPart, total_problems
from sim.world.parts.missing import MissingPart, Pattern
from sim.world.parts.spillover import Neighbours, SpilloverPart
from sim.world.parts.weights import Knn, WeightsPart

LEAST_NOISE = 1e-9  # a standard deviation below which noise drowns in the rounding of fits
MOST_UNITS, MOST_PERIODS = 20_000, 1_000
UNITS = 100
SINGLE = (
    "geography",
    "weights",
    "levels",
    "errors",
    "adoption",
    "effect",
    "spillover",
    "indicators",
    "missing",
    "measurement",
)  # slots of one part


@dataclass(frozen=True, slots=True)
class PanelDials(Design):
    """The dials of a world made of parts: sizes, names, and a slot for each part."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"arbitrary_types_allowed": True}  # parts are built on their own

    units: int | None = None
    periods: int = 12
    first_period: int = 2001
    outcome: str = "y"
    treatment: str = "did"
    geography: Geography = field(default_factory=Uniform)
    weights: WeightsPart = field(default_factory=Knn)
    other_weights: tuple[WeightsPart, ...] = ()
    levels: Levels = field(default_factory=Effects)
    covariates: tuple[Covariate, ...] = ()
    errors: Errors = field(default_factory=Process)
    adoption: Adoption = field(default_factory=Random)
    effect: EffectPart = field(default_factory=Effect)
    spillover: SpilloverPart = field(default_factory=Neighbours)
    mediators: tuple[MediatorPart, ...] = ()
    indicators: IndicatorsPart = field(default_factory=Entropy)
    missing: MissingPart = field(default_factory=Pattern)
    measurement: MeasurementPart = field(default_factory=Classical)
    redraw: tuple[Literal["adoption", "covariates"], ...] = ()

    def __post_init__(self) -> None:
        if problems := [*self._problems()]:
            raise BadInput(*problems)

    @property
    def size(self) -> int:
        """N."""
        return self.units or self.geography.fixed_units or UNITS

    @property
    def labels(self) -> tuple[int, ...]:
        """The periods."""
        return tuple(range(self.first_period, self.first_period + self.periods))

    @property
    def summary(self) -> DesignSummary:
        """What parts must agree on."""
        return DesignSummary(
            units=self.size,
            periods=self.labels,
            groups=min(self.geography.group_count, self.size),  # the others have no units
            placed={*DEGREES} <= {*self.geography.attributes},
            covariates=tuple(item.name for item in self.covariates),
            moved=tuple(item.name for item in self.covariates if item.shift),
            mediators=tuple(item.name for item in self.mediators),
            absorbing=self.adoption.absorbing,
            indicators=self.indicators.names,
        )

    @property
    def parts(self) -> Iterator[tuple[str, Part]]:
        """Every part with the table that it is written in."""
        for slot in SINGLE:
            yield f"[design.{slot}]", getattr(self, slot)
        for slot in ("other_weights", "covariates", "mediators"):
            for number, part in enumerate(getattr(self, slot), 1):
                yield f"[[design.{slot}]] {number}", part

    def _problems(self) -> Iterator[Problem]:
        """What is wrong with sizes and names, then what each part says."""
        sizes = {"units": (self.size, 2, MOST_UNITS), "periods": (self.periods, 1, MOST_PERIODS)}
        wrong = {name: (value, low, high) for name, (value, low, high) in sizes.items() if not low <= value <= high}
        for name, (value, low, high) in wrong.items():
            yield Problem(f"{name} = {value}", "[design]", f"a whole number, {low} to {high:,}", f"correct {name}")
        fixed = self.geography.fixed_units
        if self.units is not None and fixed not in (None, self.units):
            what = f"units = {self.units}, but the geography {self.geography.kind!r} has {fixed}"
            yield Problem(what, "[design]", f"{fixed}, or another geography", "leave units out")

        # variables, weights and attributes that share a name
        summary = self.summary
        names = [self.outcome, self.treatment, *summary.covariates, *summary.mediators, *summary.indicators]
        labels = [item.label for item in (self.weights, *self.other_weights)]
        attributes = [*self.geography.attributes, *self.size_attributes]
        for what, given in (("variables", names), ("weights", labels), ("attributes", attributes)):
            if twice := sorted({name for name in given if given.count(name) > 1}):
                yield Problem(f"{what} share the name {twice[0]!r}", "[design]", "a name for each",
                              "rename one of them")  # fmt: skip
        yield from choice_problems(self, "[design]")

        # parts that take what is drawn later than they are
        for table, part in self.parts if "covariates" in self.redraw else ():
            if part.follows:
                what = f"follows the covariate {part.follows[0]!r}, which redraw changes in every replication"
                yield Problem(what, table, 'redraw without "covariates"', "leave it out of redraw")

        summary = replace(summary, units=MOST_UNITS) if "units" in wrong else summary
        sound = not wrong
        for table, part in self.parts if "periods" not in wrong else ():
            for problem in part.problems(summary):
                sound = sound and not isinstance(part, Errors | MediatorPart)
                yield replace(problem, where=table)
        if sound:  # mediators within the outcome's error may still not fit into it
            total = self.errors.period_sd(self.periods)
            for problem in total_problems([part for part in self.mediators if part.within], total):
                yield replace(problem, where="[[design.mediators]]")

    @property
    def size_attributes(self) -> tuple[str, ...]:
        """Attributes that hold sizes of units made of covariates."""
        return tuple(item.size_attribute for item in self.covariates if item.size_attribute)

    @property
    def schema(self) -> Schema:
        """Sizes, names and roles."""
        covariates, mediators = self.summary.covariates, self.summary.mediators
        treatment = self.treatment if self.adoption.treats else None
        return Schema(
            units=self.size,
            periods=self.periods,
            variables=(self.outcome, *filter(None, (treatment,)), *covariates, *mediators, *self.indicators.names),
            attributes=(*self.geography.attributes, *self.size_attributes),
            weights=tuple(item.label for item in (self.weights, *self.other_weights) if item.exists),
            roles=Roles(
                self.outcome, treatment, tuple(name for name in covariates if name not in self.adoption.moved_by),
                mediators, self.adoption.continuous, self.adoption.moved_by,
            ),
        )  # fmt: skip

    @property
    def held_fixed(self) -> tuple[str, ...]:
        """What its parts draw once in a world; of redrawn covariates the units' part."""
        covariates = next((item.held_fixed for item in self.covariates if item.held_fixed), ())
        if covariates and "covariates" in self.redraw:
            covariates = ("unit parts of covariates",) if any(x.has_unit_part for x in self.covariates) else ()
        adoption = () if "adoption" in self.redraw else self.adoption.held_fixed
        others = (self.levels, self.errors, self.missing, self.geography)
        return (*adoption, *covariates, *(words for part in others for words in part.held_fixed))

    @property
    def noiseless(self) -> bool:
        """Whether no errors of any kind and no effects vary, so that estimates differ by rounding alone."""
        errors, index = self.errors, self.indicators
        others = (
            self.measurement.outcome_sd,
            isinstance(errors, Process) and errors.scale and errors.common_paths,
            isinstance(index, Entropy) and index.names and index.noise,
            *(part.sd and (part.b or part.interaction) for part in self.mediators if not part.within),
        )
        assigned = "adoption" in self.redraw and self.levels.interacts  # other units are compared in each replication
        return (
            errors.size < LEAST_NOISE
            and not assigned
            and not (self.effect.varies and self.effect.size_of_units)
            and not any(others)
        )
