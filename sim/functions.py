"""Plain functions as designs: what their parameters mean, what they return, and a digest of their code."""

from __future__ import annotations

import dataclasses
import dis
import hashlib
import inspect
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import lru_cache
from pathlib import Path
from types import CodeType, FunctionType, GenericAlias, ModuleType
from typing import Any, ClassVar, cast, get_args, get_origin, get_type_hints, overload

import numpy as np

from sim.arrays import Floats
from sim.design import Design, Draw, Estimand, Wanted
from sim.errors import BadInput, Problem, amount, bad, closest, listed, one_of
from sim.panel import Panel
from sim.registry import INLINE, INLINE_CLASSES
from sim.schema import Roles, Schema
from sim.streams import Streams
from sim.weights import Weights

# A digest of the code of functions that no module can be asked for again: written in a script, a cell or a call.
#
# It covers the compiled code, so that comments and places do not count, and all that the code reaches by name:
# other functions, constants, arrays, modules beside it. Installed packages are left out: their versions are
# compared elsewhere.


DIGITS = 12
GLOBAL = {"LOAD_GLOBAL", "LOAD_NAME"}


def code_digest(*items: Any) -> str:
    """A digest of functions and values: equal for the same code and the same values it can reach."""
    sha = hashlib.sha256()
    seen: set[int] = set()
    for item in items:
        for text in _texts(item, seen):
            sha.update(text.encode() + b"\x1f")
    return sha.hexdigest()[:DIGITS]


def _texts(item: Any, seen: set[int]) -> Iterator[str]:
    """All that decides what a value does, as texts."""
    match item:
        case None | bool() | int() | float() | complex() | str() | bytes():
            yield f"{type(item).__name__} {item!r}"
        case np.ndarray():
            yield f"array {item.dtype} {item.shape} {hashlib.sha256(np.ascontiguousarray(item).tobytes()).hexdigest()}"
        case CodeType():
            yield f"code {item.co_code.hex()} {item.co_names} {item.co_varnames} {item.co_freevars}"
            for constant in item.co_consts:
                yield from _texts(constant, seen)
        case _ if id(item) in seen:
            yield "again"
        case FunctionType() if _installed(item.__module__):
            seen.add(id(item))
            yield f"installed {item.__module__}.{item.__qualname__}"
        case FunctionType():
            seen.add(id(item))
            yield from _texts(item.__code__, seen)
            yield from _texts((item.__defaults__, item.__kwdefaults__), seen)
            for cell in item.__closure__ or ():
                yield from _texts(cell.cell_contents, seen)
            for name in sorted(_globals_of(item.__code__)):
                if name in item.__globals__:
                    yield name
                    yield from _texts(item.__globals__[name], seen)
        case ModuleType() | type():  # its file where it has one of its own, else the functions of the class
            seen.add(id(item))
            name = item.__name__ if isinstance(item, ModuleType) else item.__module__
            yield f"{name} {item.__name__}"
            file, installed = getattr(sys.modules.get(name), "__file__", None), _installed(name)
            if not installed and name != "__main__" and file and Path(file).is_file():
                yield hashlib.sha256(Path(file).read_bytes().replace(b"\r\n", b"\n")).hexdigest()
            elif not installed and isinstance(item, type):
                for key, member in vars(item).items():
                    inner = getattr(member, "__func__", getattr(member, "fget", member))
                    if isinstance(inner, FunctionType):
                        yield key
                        yield from _texts(inner, seen)
        case tuple() | list():
            yield f"{type(item).__name__} {len(item)}"
            for part in item:
                yield from _texts(part, seen)
        case set() | frozenset():
            yield f"set {sorted(map(repr, item))}"
        case Mapping():
            yield f"mapping {len(item)}"
            for key, part in item.items():
                yield repr(key)
                yield from _texts(part, seen)
        case _:
            yield f"{type(item).__module__}.{type(item).__qualname__}"
            for name in [part.name for part in fields(item)] if is_dataclass(item) else ():
                yield from _texts(getattr(item, name), seen)


def _globals_of(code: CodeType) -> set[str]:
    """Names that code looks up in its module, that of inner functions included."""
    own = {step.argval for step in dis.get_instructions(code) if step.opname in GLOBAL}
    return own.union(*(_globals_of(part) for part in code.co_consts if isinstance(part, CodeType)))


def _installed(module: str | None) -> bool:
    """Whether a module comes with Python, with an installed package or with this program."""
    top = (module or "").partition(".")[0]
    loaded = sys.modules.get(top)
    file = getattr(loaded, "__file__", None)
    if top == "__main__":
        return False
    if top in sys.stdlib_module_names or (loaded is not None and file is None and not hasattr(loaded, "__path__")):
        return True
    places = [file] if file else [*getattr(loaded, "__path__", ())]
    ours = Path(__file__).resolve().parents[2]
    rooms = {ours / room for room in ("sim", "estimators", "results", "cluster", "experiments")}
    resolved = [Path(place).resolve() for place in places]
    return any("site-packages" in path.parts or rooms & {*path.parents} or path == ours / "panelproof.py"
               for path in resolved)  # fmt: skip


# The parameters of a user's function: those with a default are settings, the others are given to it by name.


Function = Callable[..., Any]
BASIC = (bool, int, float, str)


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a function takes: names without a default, in order, and settings as (name, type, default)."""

    given: tuple[str, ...]
    settings: tuple[tuple[str, Any, Any], ...]

    @property
    def dials(self) -> tuple[str, ...]:
        """Names of the settings."""
        return tuple(name for name, _, _ in self.settings)


def parameters_of(function: Function, reserved: Collection[str] = ()) -> Parameters:
    """Read a signature; raises BadInput for what cannot be called by name and for settings with a reserved name.

    The type of a setting is its annotation, else that of its default: a whole number may then become a decimal one.
    """
    where = place_of(function)
    hints = hints_of(function)
    problems, given, settings = [], list[str](), list[tuple[str, Any, Any]]()
    for item in _signature(function, where):
        if item.kind not in (item.POSITIONAL_OR_KEYWORD, item.KEYWORD_ONLY):
            problems.append(Problem(f"parameter {item}", where, "parameters with names of their own",
                                    "write each parameter out"))  # fmt: skip
        elif item.default is item.empty:
            given.append(item.name)
        elif item.name in reserved or item.name.startswith("_"):
            problems.append(Problem(f"the setting {item.name!r} has a reserved name", where,
                                    f"other names than {listed(sorted(reserved), 20)}",
                                    "rename the parameter"))  # fmt: skip
        else:
            hint = _setting_type(hints.get(item.name, item.empty), item.default)
            if hint is None:
                problems.append(Problem(f"the setting {item.name!r} has the default {item.default!r}", where,
                                        "numbers, text, true or false, None, and lists of them",
                                        "change the default, or make it within the function"))  # fmt: skip
            default = tuple(item.default) if isinstance(item.default, list) else item.default
            settings.append((item.name, hint, default))
    if problems:
        raise BadInput(*problems)
    return Parameters(tuple(given), tuple(settings))


def called_by_name(function: Function, offers: Mapping[str, Any]) -> Any:
    """What a function returns when each of its parameters gets what is offered under its name.

    Raises BadInput for a parameter that nothing is offered for.
    """
    where, chosen = place_of(function), {}
    for item in _signature(function, where):
        if item.name in offers:
            chosen[item.name] = offers[item.name]
        elif item.default is item.empty:
            raise bad(f"parameter {item.name!r} is not known", where=where, allowed=", ".join(offers),
                      remedy="rename the parameter, or give it a default")  # fmt: skip
    return function(**chosen)


def dashed(name: str) -> str:
    """my_world -> my-world."""
    return re.sub(r"_+", "-", name.strip("_"))


def place_of(function: Function) -> str:
    """A function as messages call it, e.g. "function draw (study.py, line 12)"."""
    name = getattr(function, "__name__", type(function).__name__)
    code = getattr(function, "__code__", None)
    at = f" ({Path(code.co_filename).name}, line {code.co_firstlineno})" if code else ""
    return f"function {name}{at}"


@dataclass(frozen=True, eq=False)
class Recipe[T: MadeOfFunction](ABC):
    """A function, and what was said of the class that is made of it.

    found_as: how studies name the class, "" = by its module.
    """

    nameless: ClassVar[str]
    function: Function
    found_as: str = field(default="", kw_only=True)

    @property
    def where(self) -> str:
        """The function, as messages call it."""
        return place_of(self.function)

    @property
    def name(self) -> str:
        """The function's name, or what one without is called: a lambda, or an object that is called."""
        name = getattr(self.function, "__name__", "<none>")
        return name if name.isidentifier() else self.nameless

    def call(self, **given: Any) -> Any:
        """What the function returns; one that ends the program, as by `sys.exit`, has failed like one that raises."""
        try:
            return self.function(**given)
        except SystemExit as ending:
            said = f"it ends the program, with the code {ending.code!r}"
            raise RuntimeError(said).with_traceback(ending.__traceback__) from None

    @abstractmethod
    def digest_name(self) -> str:
        """NAME@DIGEST, by which studies call a class that no module can be asked for."""

    @abstractmethod
    def class_of(self, name: str = "") -> type[T]:
        """The class, by its own name or another; raises BadInput for a function that it cannot be made of."""

    def inline_class(self) -> type[T]:
        """The same, for a function that no module can be asked for: studies name it by a digest of its code."""
        return replace(self, found_as=f"{INLINE}{self.digest_name()}").class_of()

    def decorated(self) -> type[T]:
        """What a decorator makes of the function: workers and later processes ask its module for it, if they can."""
        name = getattr(self.function, "__qualname__", "")
        importable = getattr(self.function, "__module__", "__main__") != "__main__" and name.isidentifier()
        return self.class_of() if importable else self.inline_class()

    def instance(self, settings: Mapping[str, Any]) -> T:
        """An instance in another process: its class is made there once."""
        made: Any = INLINE_CLASSES.get(self.found_as) or self.class_of()
        return cast(T, made(**settings))


class MadeOfFunction(ABC):
    """What classes made of functions share: their settings are the function's parameters with defaults."""

    recipe: ClassVar[Any]
    parameters: ClassVar[Parameters]
    found_as: ClassVar[str]

    @property
    @abstractmethod
    def _settings(self) -> dict[str, Any]:
        """What the function's parameters with defaults get, by name."""

    def __reduce__(self) -> str | tuple[Any, ...]:
        if not self.found_as:  # its class is found again by its module
            return super().__reduce__()
        return self.recipe.instance, ({item.name: getattr(self, item.name) for item in fields(cast(Any, self))},)


def made_class(
    base: type, recipe: Recipe[Any], name: str, parameters: Parameters, own: Iterable[tuple[str, Any, Any]] = ()
) -> Any:
    """A frozen dataclass of `base`, named and documented as the function is; in INLINE_CLASSES when a digest names it.

    Its fields are the function's settings and then `own`, as (name, type, default).
    """
    columns = [(setting, hint, field(default=default)) for setting, hint, default in (*parameters.settings, *own)]
    members = {
        "kind": dashed(name),
        "recipe": recipe,
        "parameters": parameters,
        "found_as": recipe.found_as,
        "_settings": property(lambda self: {dial: getattr(self, dial) for dial in parameters.dials}),
    }
    made: Any = dataclasses.make_dataclass(name, columns, bases=(base,), namespace=members, frozen=True)
    made.__module__ = recipe.function.__module__
    made.__qualname__ = getattr(recipe.function, "__qualname__", name)
    made.__doc__ = inspect.getdoc(recipe.function) or f"The {recipe.where}."
    if recipe.found_as:
        INLINE_CLASSES[recipe.found_as] = made
    return made


def _signature(function: Function, where: str) -> Iterable[inspect.Parameter]:
    if not inspect.isfunction(function):
        raise bad(f"{function!r} is no function", where=where, allowed="a function, by def or lambda",
                  remedy="wrap it in one")  # fmt: skip
    return inspect.signature(function).parameters.values()


def hints_of(function: Function) -> dict[str, Any]:
    """Annotations as types; those that name nothing that is there are left out."""
    try:
        return get_type_hints(function)
    except (NameError, TypeError):
        return {}


def _setting_type(hint: Any, default: Any) -> Any:
    """The type of a setting; None when it cannot be one."""
    if hint is not inspect.Parameter.empty:
        return GenericAlias(tuple, (get_args(hint)[0], ...)) if get_origin(hint) is list and get_args(hint) else hint
    if isinstance(default, bool) or type(default) in (float, str):
        return type(default)
    if isinstance(default, int):
        return int | float
    if default is None:
        return bool | int | float | str | None
    if isinstance(default, list | tuple) and all(type(item) in BASIC for item in default):
        kinds = {type(item) for item in default} or {*BASIC}
        union: Any = int | float if kinds <= {int, float} else bool | int | float | str
        return GenericAlias(tuple, (kinds.pop() if kinds in ({str}, {bool}) else union, ...))
    return None


# Panels of what a user's function returns: a long table, a dict of arrays, or a panel.


LABELS = ("units", "periods", "observed")  # keys of a dict that are no variables
ALLOWED = "a DataFrame, a dict of arrays (periods, units), or a Panel"


@dataclass(frozen=True, slots=True)
class Naming:
    """How the variables of a drawn panel are read.

    outcome, treatment: names of variables, "" = y and did where the panel has them. controls: names of variables.
    unit, period: columns of a long table.
    """

    outcome: str = ""
    treatment: str = ""
    controls: tuple[str, ...] = ()
    unit: str = "unit"
    period: str = "period"

    def roles(self, variables: Sequence[str], where: str) -> Roles:
        """Roles of the variables; raises BadInput for names that the panel lacks."""
        named = [name for name in (self.outcome, self.treatment, *self.controls) if name]
        if lacking := [name for name in named if name not in variables]:
            raise bad(f"no variable {listed(map(repr, lacking))}", where=where, allowed=one_of(variables, lacking[0]),
                      remedy="correct outcome, treatment or controls")  # fmt: skip
        outcome = self.outcome or ("y" if "y" in variables else None)
        treatment = self.treatment or ("did" if "did" in variables else None)
        return Roles(outcome, treatment, self.controls)


def panel_of_data(data: Any, naming: Naming, where: str, rows: int | None = None) -> Panel:
    """A panel; raises BadInput for what cannot be one.

    rows: how many replications the leading axes of arrays hold (or 1); None = arrays (T, N) of one replication.
    """
    if isinstance(data, Panel):
        panel = data
    elif isinstance(data, Mapping):
        panel = _of_arrays(data, where, batched=rows is not None)
    elif hasattr(data, "columns"):
        panel = _of_table(data, naming, where)
    else:
        raise bad(f"returned {type(data).__name__}", where=where, allowed=ALLOWED, remedy="return one of them")
    if panel.replications not in (1, rows or 1):
        raise bad(f"returned {amount(panel.replications, 'replication')}", where=where, allowed=f"{rows or 1}",
                  remedy="return one panel a call, or say batched = True")  # fmt: skip
    if isinstance(data, Panel) and data.roles != Roles():
        return panel
    return replace(panel, roles=naming.roles(tuple(panel.variables), where))


def joined(panels: Sequence[Panel], where: str, *, gaps: bool) -> Panel:
    """R panels of one replication as one panel; raises BadInput where more than variables and gaps differ.

    gaps: whether the world has any; each replication then keeps its own, and is fitted on its own.
    """
    first = panels[0]
    for panel in panels[1:]:
        check_alike(first, panel, where)
        varying = [name for name, x in first.attributes.items() if not np.array_equal(x, panel.attributes[name])]
        varying += [name for name, w in first.weights.items() if w.digest != panel.weights[name].digest]
        if varying:
            raise bad(f"{listed(varying)} of units differ between draws", where=where,
                      allowed="the same in each replication",
                      remedy="draw it from fixed_rng, or make it a variable")  # fmt: skip
    arrays = {name: np.concatenate([panel.variables[name] for panel in panels]) for name in first.variables}
    if not gaps and any(panel.observed is not None for panel in panels):  # estimators are prepared for whole panels
        raise bad("a draw has gaps, and the trial draw had none", where=where, allowed="gaps in none, or in every draw",
                  remedy="return arrays with observed = ..., all true where nothing is missing")  # fmt: skip
    if not gaps:
        return replace(first, variables=arrays)
    whole = np.ones((1, len(first.periods), len(first.units)), dtype=bool)
    seen = np.concatenate([whole if panel.observed is None else panel.observed for panel in panels])
    return replace(first, variables=arrays, observed=seen)


def check_alike(first: Panel, other: Panel, where: str) -> None:
    """Raise BadInput when two draws have other units, periods or names."""
    for what, one, two in (
        ("units", first.units, other.units),
        ("periods", first.periods, other.periods),
        ("variables", tuple(first.variables), tuple(other.variables)),
        ("attributes", tuple(first.attributes), tuple(other.attributes)),
        ("weights", tuple(first.weights), tuple(other.weights)),
    ):
        if one != two:
            differ = (
                f"{len(one)} and {len(two)} of them" if len(one) != len(two) else f"{listed(one)} and {listed(two)}"
            )
            raise bad(f"{what} differ between draws: {differ}", where=where, allowed="the same in each replication",
                      remedy="draw numbers, not names or sizes")  # fmt: skip


def _of_arrays(data: Mapping[str, Any], where: str, *, batched: bool) -> Panel:
    """A dict of arrays: variables have one axis more than attributes (N,), Weights are weights."""
    weights = {name: value for name, value in data.items() if isinstance(value, Weights)}
    rest = {name: np.asanyarray(value) for name, value in data.items() if name not in (*weights, *LABELS)}
    axes = 3 if batched else 2
    attributes = {str(name): values for name, values in rest.items() if values.ndim == 1}
    variables = {str(name): values for name, values in rest.items() if values.ndim == axes}
    if wrong := [name for name in rest if name not in {*attributes, *variables}]:
        raise bad(f"{listed(f'{name!r} of shape {rest[name].shape}' for name in wrong)} is no array of a panel",
                  where=where, allowed=f"arrays ({'replications, ' if batched else ''}periods, units), or (units,)",
                  remedy="correct the shape")  # fmt: skip
    if not variables:
        raise bad("returned no variable", where=where, allowed=ALLOWED, remedy="return arrays by name")
    for name, values in variables.items():
        if values.dtype.kind not in "fiub":
            raise bad(f"{name!r} holds {values.dtype}", where=where, allowed="numbers",
                      remedy="convert it to numbers")  # fmt: skip
        copied = values.astype(np.float64)  # a panel makes its arrays read-only, and these are the user's
        variables[name] = copied if batched else copied[None]
    t, n = next(iter(variables.values())).shape[-2:]
    observed = data.get("observed")
    return Panel(
        units=tuple(map(str, data.get("units", range(1, n + 1)))),
        periods=tuple(map(int, data.get("periods", range(1, t + 1)))),
        variables=variables,
        attributes=attributes,
        observed=None if observed is None else np.array(observed, dtype=bool).reshape(-1, t, n),
        weights=weights,
    )


def _of_table(frame: Any, naming: Naming, where: str) -> Panel:
    """A long table: columns of numbers are variables, other columns are attributes of units.

    Units are in the order of their names, 9 before 10, so that they are in one order whichever rows a draw lacks.
    """
    import pandas as pd  # slow to import

    from sim.panel_files import index_as_columns, read_table, unit_labels

    frame, keys = index_as_columns(frame), (naming.unit, naming.period)
    if lacking := [key for key in keys if key not in frame.columns]:
        raise bad(f"no column {listed(map(repr, lacking))}", where=where, allowed=one_of(frame.columns, lacking[0]),
                  remedy="name the columns: unit = ..., period = ...")  # fmt: skip
    words = [str(name) for name in frame.columns if name not in keys and frame[name].dtype.kind not in "fiub"]
    frame = frame.assign(**{name: frame[name].astype(float) for name in frame.columns
                            if name not in keys and frame[name].dtype.kind == "b"})  # fmt: skip
    codes, units = pd.factorize(frame[naming.unit])
    labels = unit_labels(pd.Series(units))
    places = np.lexsort((labels.astype(str), np.array([*map(len, labels)]))).argsort()  # of the units
    order = np.append(places, len(units))[codes].argsort(kind="stable")  # -1 is of a row without a unit
    frame = frame.iloc[order]
    frame.attrs = {"file": where, "positions": order.tolist()}
    numbers = [str(name) for name in frame.columns if name not in (*keys, *words)]
    return Panel(**read_table(frame, *keys, Roles(), words, variables=numbers).parts)


# A design made of a function that draws one panel a call: `@design`, and the class behind it.
#
# The function's settings become the dials. It is called once a replication with the replication's own generator, so
# that its numbers depend neither on blocks nor on their order.


Truth = float | str | Mapping[str, Any] | Function | None
MAIN = "att"  # the estimand that a truth without a name is of
FIXED = "fixed_rng"  # the parameter of what is drawn once for all replications
RESERVED = {"kind", "draw", "settle", "schema", "noiseless", "identity", "recipe", "panel", "data", "parameters",
            "found_as"}  # fmt: skip


@dataclass(frozen=True, eq=False)
class DesignRecipe(Recipe["FunctionDesign"]):
    """A function that draws, and what was said of it."""

    nameless: ClassVar[str] = "draw"
    truth: Truth = None
    naming: Naming = field(default_factory=Naming)
    batched: bool = False
    main: str = MAIN

    def digest_name(self) -> str:
        """By the code, and all that decides which panels and truths are made of what it draws."""
        return f"{self.name}@{code_digest(self.function, self.truth, self.naming, self.batched, self.main)}"

    def class_of(self, name: str = "") -> type[FunctionDesign]:
        """A class of designs; raises BadInput for parameters that the function cannot be called with."""
        parameters = parameters_of(self.function, RESERVED)
        source = [item for item in parameters.given if item != FIXED]
        if len(source) != 1:
            allowed = "one without a default, the generator: draw(rng, units=50, effect=1.0); fixed_rng beside it"
            raise bad(f"{len(source)} parameters without a default ({listed(source)})", where=self.where,
                      allowed=allowed, remedy="give the dials defaults")  # fmt: skip
        for of, value in (self.truth if isinstance(self.truth, Mapping) else {self.main: self.truth}).items():
            if isinstance(value, str) and value not in parameters.dials:
                raise bad(f"the truth of {of} is {value!r}, which is no dial", where=self.where,
                          allowed=one_of(parameters.dials, value),
                          remedy=closest(value, parameters.dials))  # fmt: skip
        return made_class(FunctionDesign, self, name or self.name, parameters)


class FunctionDesign(MadeOfFunction, Design):
    """A world drawn by a function of the user's; its dials are the function's parameters with defaults."""

    recipe: ClassVar[DesignRecipe]

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


@dataclass(frozen=True, eq=False)
class FunctionWorld:
    """The function at work in one cell."""

    design: FunctionDesign
    settled: Streams

    def draw(self, streams: Streams, wanted: Wanted) -> Draw:
        """R panels with the truths that are asked for; raises BadInput for what is no panel and no truth."""
        first = trial_panel(self.design)
        gaps = first.observed is not None
        if self.design.recipe.batched:
            panel, truths = self._batch(streams)
        else:
            drawn = [self._call(generator) for generator in streams.each("draw")]
            panel = joined([panel for panel, _ in drawn], self.design.recipe.where, gaps=gaps)
            names = dict.fromkeys(name for _, truth in drawn for name in truth)
            truths = {name: np.array([truth.get(name, np.nan) for _, truth in drawn], np.float64) for name in names}
        check_alike(first, panel, self.design.recipe.where)
        missing = np.full(streams.replications, np.nan)
        return Draw(panel, {name: truths.get(name, missing) for name in wanted.estimands})

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
        recipe, dials = self.design.recipe, self.design._settings
        given = {name: self.settled.fixed("draw") if name == FIXED else source
                 for name in self.design.parameters.given}  # fmt: skip
        data = recipe.call(**given, **dials)
        own: Any = None
        if isinstance(data, tuple) and len(data) == 2:
            data, own = data
        panel = panel_of_data(data, recipe.naming, recipe.where, rows)
        if own is not None and recipe.truth is not None:
            raise bad("returned a truth beside truth = ...", where=recipe.where, allowed="one of the two",
                      remedy="leave one out")  # fmt: skip
        offers = {**dials, "panel": panel, "data": data}
        return panel, truths_of(recipe.truth if own is None else own, offers, recipe, rows)


def truths_of(truth: Truth, offers: Mapping[str, Any], recipe: DesignRecipe, rows: int | None) -> dict[str, Any]:
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
    if design.recipe.batched:
        panel, truths = world._batch(streams)
    else:
        (generator,) = streams.each("draw")
        panel, truths = world._call(generator)
    problems = []
    for name in truths:
        try:
            Estimand.parse(name)
        except ValueError:
            problems.append(Problem(f"{name!r} is no name of an estimand", design.recipe.where,
                                    "small letters, digits and _, or one such as beta(did)",
                                    "rename it in truth"))  # fmt: skip
    if problems:
        raise BadInput(*problems)
    return panel


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
        return DesignRecipe(function, truth, naming, batched).decorated()

    return made if function is None else made(function)
