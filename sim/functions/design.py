"""A design made of a function that draws one panel a call: `@design`, and the class behind it.

The function's settings become the dials. It is called once a replication with the replication's own generator, so that
its numbers depend neither on blocks nor on their order.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, ClassVar, overload

import numpy as np

from sim.arrays import Floats
from sim.design import Design, Draw, Wanted
from sim.discovery import INLINE, enrol, enrolled
from sim.errors import BadInput, Problem, bad, closest, listed
from sim.estimands import Estimand
from sim.functions.code import code_digest
from sim.functions.panels import Naming, check_alike, joined, panel_of_data
from sim.functions.parameters import (
    Function,
    Parameters,
    called_by_name,
    dashed,
    made_class,
    name_of,
    parameters_of,
    place_of,
)
from sim.panel import Panel, Schema
from sim.streams import Streams

Truth = float | str | Mapping[str, Any] | Function | None
MAIN = "att"  # the estimand that a truth without a name is of
FIXED = "fixed_rng"  # the parameter of what is drawn once for all replications
RESERVED = {"kind", "draw", "settle", "schema", "noiseless", "identity", "recipe", "panel", "data"}


@dataclass(frozen=True, eq=False)
class Recipe:
    """A function that draws, and what was said of it. found_as: how studies name its class, "" = by its module."""

    function: Function
    truth: Truth = None
    naming: Naming = field(default_factory=Naming)
    batched: bool = False
    main: str = MAIN
    found_as: str = ""

    @property
    def where(self) -> str:
        """The function, as messages call it."""
        return place_of(self.function)


class FunctionDesign(Design):
    """A world drawn by a function of the user's; its dials are the function's parameters with defaults."""

    recipe: ClassVar[Recipe]
    parameters: ClassVar[Parameters]
    found_as: ClassVar[str]

    @property
    @abstractmethod
    def dials(self) -> dict[str, Any]:
        """The dials by name, as the function takes them."""

    @property
    def schema(self) -> Schema:
        """That of one trial draw."""
        return trial_panel(self).schema

    @property
    def held_fixed(self) -> tuple[str, ...]:
        """With `fixed_rng`, what it draws."""
        return (f"what {FIXED} draws",) if FIXED in self.parameters.given else ()

    def settle(self, streams: Streams) -> FunctionWorld:
        """A world that calls the function; what it draws from `fixed_rng` is the same in every call."""
        return FunctionWorld(self, streams)

    def __reduce__(self) -> str | tuple[Any, ...]:
        if not self.found_as:  # its class is found again by its module
            return super().__reduce__()
        return (_again, (self.recipe, self.dials))


@dataclass(frozen=True, eq=False)
class FunctionWorld:
    """The function at work in one cell."""

    design: FunctionDesign
    settled: Streams

    def draw(self, streams: Streams, wanted: Wanted) -> Draw:
        """R panels with the truths that are asked for; raises BadInput for what is no panel and no truth."""
        first = trial_panel(self.design)
        gaps = first.observed is not None
        panel, truths = self._batch(streams) if self.design.recipe.batched else self._singly(streams, gaps=gaps)
        check_alike(first, panel, self.design.recipe.where)
        missing = np.full(streams.replications, np.nan)
        return Draw(panel, {name: truths.get(name, missing) for name in wanted.estimands})

    def trial(self, streams: Streams) -> tuple[Panel, dict[str, Floats]]:
        """One draw with its truths, as the function gives it."""
        (generator,) = streams.each("draw")
        panel, truth = self._call(generator)
        return panel, {name: np.asarray([value], dtype=np.float64) for name, value in truth.items()}

    def _singly(self, streams: Streams, *, gaps: bool) -> tuple[Panel, dict[str, Floats]]:
        """One call a replication."""
        drawn = [self._call(generator) for generator in streams.each("draw")]
        names = list(dict.fromkeys(name for _, truth in drawn for name in truth))
        truths = {name: np.array([truth.get(name, np.nan) for _, truth in drawn], dtype=np.float64) for name in names}
        return joined([panel for panel, _ in drawn], self.design.recipe.where, gaps=gaps), truths

    def _batch(self, streams: Streams) -> tuple[Panel, dict[str, Floats]]:
        """One call for all replications."""
        rows = streams.replications
        panel, truth = self._call(streams, rows)
        if panel.replications < rows:  # nothing that it returned differs between replications
            name = next(iter(panel.variables))
            array = np.broadcast_to(panel.variables[name], (rows, *panel.variables[name].shape[1:])).copy()
            panel = panel.with_variables({name: array})
        return panel, {name: np.broadcast_to(np.asarray(value, float), (rows,)).copy() for name, value in truth.items()}

    def _call(self, source: object, rows: int | None = None) -> tuple[Panel, dict[str, Any]]:
        """What the function draws, as a panel, with the truths of this draw by estimand."""
        recipe, dials = self.design.recipe, self.design.dials
        given = {name: self.settled.fixed("draw") if name == FIXED else source
                 for name in self.design.parameters.given}  # fmt: skip
        data = recipe.function(**given, **dials)
        own: Any = None
        if isinstance(data, tuple) and len(data) == 2:
            data, own = data
        panel = panel_of_data(data, recipe.naming, recipe.where, rows)
        if own is not None and recipe.truth is not None:
            raise bad("returned a truth beside truth = ...", where=recipe.where, allowed="one of the two",
                      remedy="leave one out")  # fmt: skip
        offers = {**dials, "panel": panel, "data": data}
        return panel, truths_of(recipe.truth if own is None else own, offers, recipe, rows)


def truths_of(truth: Truth, offers: Mapping[str, Any], recipe: Recipe, rows: int | None) -> dict[str, Any]:
    """The true values by estimand: a number, the name of a dial, a function, or a dict of them.

    rows: R of a batched design, whose truths may be arrays (R,). Raises BadInput for what is no number.
    """
    if callable(truth):
        truth = called_by_name(truth, offers)
    by_name = dict(truth) if isinstance(truth, Mapping) else {} if truth is None else {recipe.main: truth}
    found = {}
    for name, value in by_name.items():
        value = called_by_name(value, offers) if callable(value) else value
        value = offers[value] if isinstance(value, str) and value in offers else value
        array = np.asarray(value)
        if array.dtype.kind not in "fiub" or array.shape not in ((), (rows,)):
            shown = repr(value) if array.dtype.kind not in "fiub" else f"of shape {array.shape}"
            raise bad(f"the truth of {name} is {shown}", where=recipe.where,
                      allowed="a number, the name of a dial, or a function that returns a number",
                      remedy="correct truth")  # fmt: skip
        found[str(name)] = value
    return found


@lru_cache(maxsize=64)
def trial_panel(design: FunctionDesign) -> Panel:
    """One draw, from which names and sizes are known; of a batched design two replications."""
    streams = Streams(0, "trial", 0, 2 if design.recipe.batched else 1)
    world = FunctionWorld(design, streams)
    panel, truths = world._batch(streams) if design.recipe.batched else world.trial(streams)
    problems = [Problem(f"{name!r} is no name of an estimand", design.recipe.where,
                        "small letters, digits and _, or one such as beta(did)", "rename it in truth")
                for name in truths if not _is_estimand(name)]  # fmt: skip
    if problems:
        raise BadInput(*problems)
    return panel


def class_of(recipe: Recipe, name: str = "") -> type[FunctionDesign]:
    """The class of designs that a function makes; raises BadInput for parameters that it cannot be called with."""
    function = recipe.function
    parameters = parameters_of(function, RESERVED)
    source = [item for item in parameters.given if item != FIXED]
    if len(source) != 1:
        allowed = "one without a default, the generator: draw(rng, units=50, effect=1.0); fixed_rng beside it"
        raise bad(f"{len(source)} parameters without a default ({listed(source)})", where=recipe.where, allowed=allowed,
                  remedy="give the dials defaults")  # fmt: skip
    name = name or name_of(function, "draw")
    names = parameters.dials
    members = {
        "kind": dashed(name),
        "recipe": recipe,
        "parameters": parameters,
        "found_as": recipe.found_as,
        "dials": property(lambda self: {dial: getattr(self, dial) for dial in names}),
    }
    made: type[FunctionDesign] = made_class(name, FunctionDesign, parameters.settings, members, function)
    _check_truth(recipe, parameters)
    if recipe.found_as:
        enrol(recipe.found_as, made)
    return made


def inline_class(recipe: Recipe) -> type[FunctionDesign]:
    """The same, for a function that no module can be asked for: studies name it by a digest of its code."""
    digest = code_digest(recipe.function, recipe.truth, recipe.naming, recipe.batched, recipe.main)
    return class_of(replace(recipe, found_as=f"{INLINE}{name_of(recipe.function, 'draw')}@{digest}"))


def is_importable(function: Function) -> bool:
    """Whether workers and later processes can ask a module for what a decorator makes of a function."""
    name = getattr(function, "__qualname__", "")
    return function.__module__ != "__main__" and name.isidentifier()


@overload
def design(function: Function, /) -> type[FunctionDesign]: ...
@overload
def design(
    function: None = None,
    /,
    *,
    truth: Truth = None,
    outcome: str = "",
    treatment: str = "",
    controls: tuple[str, ...] = (),
    unit: str = "unit",
    period: str = "period",
    batched: bool = False,
) -> Callable[[Function], type[FunctionDesign]]: ...
def design(
    function: Function | None = None,
    /,
    *,
    truth: Truth = None,
    outcome: str = "",
    treatment: str = "",
    controls: tuple[str, ...] = (),
    unit: str = "unit",
    period: str = "period",
    batched: bool = False,
) -> Any:
    """Make a class of designs from a function `draw(rng, DIAL=default, ...)` that draws one panel a call.

    It returns a long table with the columns `unit` and `period`, a dict of arrays (T, N), or a Panel; with
    batched = True it is given streams instead of a generator and returns arrays (R, T, N). truth: of one number the
    true `att`, or a dict by estimand; a text is the name of a dial, a function gets dials, `panel` and `data` by name.
    A draw may return (panel, truth) instead. outcome, treatment, controls: names of variables, y and did by default.
    A parameter `fixed_rng` is a generator that gives the same numbers in every replication of a world.

    >>> import numpy as np
    >>> import panelproof as pp
    >>> @pp.design(truth="effect")
    ... def two_groups(rng, units: int = 40, effect: float = 0.5):
    ...     did = 1.0 * np.outer(np.arange(6) >= 3, np.arange(units) < units // 2)
    ...     return {"y": effect * did + rng.standard_normal(did.shape), "did": did}
    >>> two_groups(units=60).schema.units
    60
    """
    naming = Naming(outcome, treatment, tuple(controls), unit, period)

    def made(function: Function) -> type[FunctionDesign]:
        recipe = Recipe(function, truth, naming, batched)
        return class_of(recipe) if is_importable(function) else inline_class(recipe)

    return made if function is None else made(function)


def _again(recipe: Recipe, dials: Mapping[str, Any]) -> FunctionDesign:
    """A design in another process: its class is made there once."""
    cls = enrolled(recipe.found_as) or class_of(recipe)
    made: FunctionDesign = cls(**dials)
    return made


def _check_truth(recipe: Recipe, parameters: Parameters) -> None:
    """Raise BadInput for a text that names no dial."""
    given = recipe.truth if isinstance(recipe.truth, Mapping) else {recipe.main: recipe.truth}
    for name, value in given.items():
        if isinstance(value, str) and value not in parameters.dials:
            raise bad(f"the truth of {name} is {value!r}, which is no dial", where=recipe.where,
                      allowed=listed(parameters.dials, 12) or "(no dials)",
                      remedy=closest(value, parameters.dials))  # fmt: skip


def _is_estimand(name: str) -> bool:
    try:
        Estimand.parse(name)
    except ValueError:
        return False
    return True
