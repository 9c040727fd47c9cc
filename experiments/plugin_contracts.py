"""What designs and estimators return, checked where a study receives it: types, names, shapes, finite truths.

Anyone may write a design or an estimator, so what they return is input. Shapes and names are looked at once a tile or
once a block; no check passes over the numbers of a panel.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from types import FunctionType, ModuleType
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from estimators.core import functions as fitting
from estimators.core.estimator import Estimates, Estimator, Layout, Moments, Status
from estimators.core.functions import FunctionEstimator
from estimators.linear.formula import Formula
from sim import functions as drawing
from sim.design import A_UNIT, Design, Draw, Estimand, Wanted
from sim.errors import NO_THREAD, BadInput, Problem, bad, listed, one_of, reason
from sim.functions import MAIN, FunctionDesign, Naming, Truth, place_of
from sim.panel import Panel
from sim.presets import Preset
from sim.real_panels import Observed
from sim.registry import aside
from sim.schema import Schema
from sim.streams import Streams
from sim.world.dials import PanelDials
from sim.world.draw import POLICY_MEANS
from sim.world.panel_design import MEANS

Plugin = Design | Estimator
STORED = ("pvalue", "lower", "upper")


class PluginRaised(BadInput):
    """A design or an estimator raised where it had to answer: bad input before a run, a poisoned block within one."""


class WrongAnswer(BadInput):
    """An estimator returned what its layout does not say: bad input before a run, a failed fit within one."""


@contextmanager
def asking(plugin: Plugin | ModuleType | Callable[..., Any], doing: str) -> Iterator[None]:
    """Say in one line which plugin raised, in what and where; a BadInput is its own message.

    plugin: a module, or a function of it, is a file of tables, figures, formats or checks. What it prints is no part of
    what a command prints, and a machine that has no room is no fault of its own.
    """
    if isinstance(plugin, FunctionType):
        plugin = sys.modules[plugin.__module__]
    try:
        with aside() if isinstance(plugin, ModuleType) else nullcontext():
            yield
    except BadInput:
        raise
    except Exception as error:
        file: str | None = None  # where there is none, as in a session
        if isinstance(plugin, ModuleType):
            if isinstance(error, MemoryError | OSError) or NO_THREAD in str(error):
                raise
            file = plugin.__file__
        elif isinstance(plugin, FunctionDesign | FunctionEstimator):
            file = str(plugin.recipe.function.__code__.co_filename)
        else:
            with suppress(OSError, TypeError):
                file = inspect.getsourcefile(type(plugin))
        raised = Problem(f"{doing} raised {reason(error, file)}", whose(plugin), "a result, or BadInput",
                         f"correct {doing}")  # fmt: skip
        raise PluginRaised(raised) from error


def whose(plugin: Plugin | ModuleType | Callable[..., Any]) -> str:
    """A plugin as messages call it."""
    if isinstance(plugin, ModuleType):
        return str(plugin.__file__)
    role = "design" if isinstance(plugin, Design) else "estimator"
    return f"{role} {getattr(plugin, 'kind', '')!r} ({type(plugin).__name__})"


def schema_of_design(design: Design) -> Schema:
    """Its schema; raises BadInput when there is none or its roles name variables that it lacks."""
    with asking(design, "schema"):
        schema = design.schema
    _check_type(design, "schema", schema, Schema)
    roles = schema.roles
    named = [name for name in (roles.outcome, *roles.regressors, *roles.mediators) if name]
    _check_names(design, "schema.roles", named, schema.variables)
    return schema


def layout_of(estimator: Estimator, schema: Schema) -> Layout:
    """What an estimator will return; raises BadInput when it contradicts itself or reads what no panel holds."""
    with asking(estimator, "layout"):
        layout = estimator.layout(schema)
    _check_type(estimator, "layout", layout, Layout)
    for field in ("terms", "errors", "statistics"):
        names = getattr(layout, field)
        if isinstance(names, str) or len(set(names)) < len(names) or not all(isinstance(name, str) for name in names):
            raise _wrong(estimator, f"layout.{field}", repr(names), "a tuple of distinct names")
    _check_names(estimator, "layout.targets", layout.targets, layout.terms)
    _check_names(estimator, "layout.stored", layout.stored, STORED)
    with asking(estimator, "variables"):
        read = estimator.variables(schema)
    _check_names(estimator, "variables", read, schema.variables)
    return layout


def check_draw(design: Design, schema: Schema, draw: Draw, wanted: Wanted, replications: int) -> None:
    """Raise BadInput unless a tile is what the schema says, with every truth that was asked for; shapes alone."""
    _check_type(design, "draw", draw, Draw)
    _check_type(design, "draw: panel", draw.panel, Panel)
    panel = draw.panel
    sizes, said = (len(panel.periods), len(panel.units)), (schema.periods, schema.units)
    if sizes != said:
        came, due = (f"{units} units x {periods} periods" for periods, units in (sizes, said))
        raise _wrong(design, "draw: panel", came, f"{due}, as its schema says")
    expected = 1 if isinstance(design, Observed) else replications
    if panel.replications != expected:
        raise _wrong(design, "draw: panel", f"{panel.replications} replications", f"the {expected} of the streams")
    if lacking := wanted.variables - panel.variables.keys():
        raise _wrong(design, "draw: panel.variables", f"no {listed(sorted(lacking))}", "all variables that are wanted")
    if tuple(panel.weights) != schema.weights or set(panel.attributes) != set(schema.attributes):
        raise _wrong(design, "draw: panel", f"weights {[*panel.weights]} and attributes {[*panel.attributes]}",
                     f"those of its schema, {[*schema.weights]} and {[*schema.attributes]}")  # fmt: skip
    if missing := [name for name in wanted.estimands if name not in draw.truth]:
        raise _wrong(design, "draw: truth", f"{[*draw.truth]} without {listed(missing)}",
                     "every estimand of `wanted` (NaN where the world has none)")  # fmt: skip
    for name in wanted.estimands:
        if np.shape(draw.truth[name]) != (expected,):
            raise _wrong(design, f"draw: truth of {name}", f"shape {np.shape(draw.truth[name])}", f"({expected},)")


def check_truths(design: Design, truths: Mapping[str, NDArray[np.float64]], tile: int) -> None:
    """Raise BadInput for truths that are infinite, or NaN in some replications of a tile only; once a block.

    A mean over the treated cells of a window, as att(2010,2012), may be of no cells in some draws. In a world of parts
    so may any mean: where units adopt on their own, nobody is treated in some draws, or nobody of a group.
    """
    for name, values in truths.items():
        finite = np.isfinite(values)
        if finite.all():
            continue
        if np.isinf(values).any():
            raise _wrong(design, f"draw: truth of {name}", "an infinite value", "finite numbers, or NaN throughout")
        ask = Estimand.parse(name)
        if ask.kind in POLICY_MEANS and ask.arguments:
            continue
        if isinstance(design, PanelDials | Preset) and ask.kind.removeprefix(A_UNIT) in MEANS:
            continue
        starts = np.arange(0, len(values), tile)
        if (np.logical_or.reduceat(finite, starts) & ~np.logical_and.reduceat(finite, starts)).any():
            raise _wrong(design, f"draw: truth of {name}", "NaN in some replications of a tile",
                         "a number in each, or NaN in all where the world has no such estimand")  # fmt: skip


def check_moments(estimator: Estimator, moments: Moments, rows: int) -> None:
    """Raise BadInput unless a reduction returned moments of as many panels as it was given."""
    _check_type(estimator, "reduce", moments, Moments)
    if moments.rows != rows:
        raise _wrong(estimator, "reduce", f"moments of {moments.rows} panels", f"those of {rows}")


def check_estimates(estimator: Estimator, layout: Layout, estimates: Estimates, rows: int) -> None:
    """Raise WrongAnswer unless an estimator returned what its layout says, for as many panels as it was given."""
    try:
        _check_type(estimator, "estimates", estimates, Estimates)
        for field in ("terms", "errors"):
            came, said = [*getattr(estimates, field)], [*getattr(layout, field)]
            if came != said:
                raise _wrong(estimator, field, str(came), f"its layout's {said}")
        if set(estimates.statistics) != set(layout.statistics):
            raise _wrong(estimator, "statistics", str([*estimates.statistics]), f"its layout's {[*layout.statistics]}")
        by_term, by_error = (rows, len(layout.terms)), (rows, len(layout.errors), len(layout.terms))
        shapes = {"estimate": by_term, "se": by_error, "dof": by_error, "status": (rows,)}
        shapes |= dict.fromkeys(layout.stored, by_error)
        arrays = {name: (getattr(estimates, name), shape) for name, shape in shapes.items()}
        arrays |= {f"statistic {name}": (values, (rows,)) for name, values in estimates.statistics.items()}
        for name, (values, shape) in arrays.items():
            if not isinstance(values, np.ndarray) or values.shape != shape:
                kind = f"{type(values).__name__}, no array"
                came_as = f"shape {values.shape}" if isinstance(values, np.ndarray) else kind
                raise _wrong(estimator, name, came_as, f"an array of shape {shape}")
    except BadInput as error:
        raise WrongAnswer(*error.problems) from None


def check_repeated(design: Design, first: Draw, again: Draw) -> None:
    """Raise BadInput when two draws of the same replications differ in a bit."""
    pairs = {name: (values, again.panel.variables.get(name)) for name, values in first.panel.variables.items()}
    pairs |= {f"the truth of {name}": (values, again.truth.get(name)) for name, values in first.truth.items()}
    for name, (one, other) in pairs.items():
        if other is None or not np.array_equal(one, other, equal_nan=True):
            raise _wrong(design, "draw", f"other numbers of {name} when the same replications were drawn twice",
                         "the same numbers each time, from the streams that it is given alone")  # fmt: skip


def check_fitted_again(estimator: Estimator, first: Estimates, again: Estimates) -> None:
    """Raise BadInput when two fits of the same panels with the same random numbers differ in a bit."""
    names = ("estimate", "se", "dof", "status", *STORED)
    pairs = {name: (getattr(first, name), getattr(again, name)) for name in names}
    pairs |= {name: (values, again.statistics[name]) for name, values in first.statistics.items()}
    for name, (one, other) in pairs.items():
        if one is not None and not np.array_equal(one, other, equal_nan=True):
            raise _wrong(estimator, "fit", f"other numbers of {name} when the same panels were fitted twice",
                         "the same numbers each time; random ones from the streams that it is given")  # fmt: skip


def _check_type(plugin: Plugin, what: str, value: object, expected: type) -> None:
    if not isinstance(value, expected):
        raise _wrong(plugin, what, type(value).__name__, expected.__name__)


def _check_names(plugin: Plugin, what: str, names: Iterable[str], allowed: Iterable[str]) -> None:
    unknown = [name for name in names if name not in allowed]
    if unknown:
        raise _wrong(plugin, what, f"the name {listed(map(repr, unknown))}", f"names among {listed(allowed, 12)}")


def _wrong(plugin: Plugin, what: str, came: str, allowed: str) -> BadInput:
    return bad(
        f"{what} is wrong: {came}", where=whose(plugin), allowed=allowed, remedy=f"correct {what.partition(':')[0]}"
    )


def lacking(estimates: Estimates, layout: Layout, *, with_errors: bool) -> dict[int, str]:
    """What is missing, in words, by row, of fits with status OK; those of other statuses hold what they can.

    An error type is there for a term when its standard error is finite and not negative and its degrees of freedom are
    above 0, or a p value or bound that is stored beside it is finite. Where some are stored, an error type may
    leave out terms that it does not serve, such as Sobel's of a proportion, but not all of them. Terms that the layout
    says are there only perhaps may be NaN as long as another is not, and so may their errors, as those of a cohort of
    one unit. `with_errors` says whether errors count: on a real panel a missing one is an empty line of a table, with a
    note, and no failure.
    """
    ok = estimates.status == Status.OK
    found: dict[int, str] = {}
    infinite = ~np.isfinite(estimates.estimate)
    perhaps = np.isin(estimates.terms, layout.perhaps)
    infinite &= ~(perhaps & np.isnan(estimates.estimate) & ~infinite.all(axis=1, keepdims=True))
    for row in np.flatnonzero(ok & infinite.any(axis=1)):
        term = int(np.flatnonzero(infinite[row])[0])
        found[int(row)] = f"the estimate of {estimates.terms[term]} is {estimates.estimate[row, term]}"
    if not with_errors or not estimates.errors:
        return found
    there = np.isfinite(estimates.se) & (estimates.se >= 0) & (estimates.dof > 0) | perhaps
    for name in layout.stored:
        there |= np.isfinite(getattr(estimates, name))
    absent = ~there.any(axis=2) if layout.stored else ~there.all(axis=2)  # (R, E)
    for row in np.flatnonzero(ok & absent.any(axis=1)):
        error = int(np.flatnonzero(absent[row])[0])
        term = int(np.flatnonzero(~there[row, error])[0])
        what = f"the {estimates.errors[error]} error of {estimates.terms[term]} is {estimates.se[row, error, term]}"
        if not estimates.dof[row, error, term] > 0 and np.isfinite(estimates.se[row, error, term]):
            what += f" with {estimates.dof[row, error, term]:g} degrees of freedom"
        found.setdefault(int(row), what)
    return found


# The parts of a study that are plain functions: a world, its truth, and estimators.


DrawFunction = Callable[..., Any] | Design
Fit = Callable[..., Any] | Estimator


def tried(estimators: Iterable[Estimator], design: Design) -> tuple[Estimator, ...]:
    """Estimators that are functions say what they return, by one fit of a panel of the design; others as they are."""
    found = list[Estimator]()
    for item in estimators:
        if asks_for_a_trial(item):
            with asking(design, "draw"):
                schema = design.schema
                panel = design.draw(Streams(0, "trial")).panel.replication(0)
            found.append(item.tried_on(panel, schema))
        else:
            found.append(item)
    return tuple(found)


def asks_for_a_trial(item: Estimator) -> TypeGuard[FunctionEstimator | Formula]:
    """Whether a fit of one panel must say what an estimator returns."""
    return isinstance(item, FunctionEstimator | Formula) and not item.terms


def design_of(draw: DrawFunction, truth: Truth, naming: Naming, dials: Mapping[str, Any]) -> Design:
    """The design that a function makes; a design, or a class of them, as it is. Raises BadInput."""
    if isinstance(draw, Design) or (isinstance(draw, type) and issubclass(draw, Design)):
        if truth is not None:
            raise bad("truth beside a design", where="Study.from_functions", allowed="truth of a draw function",
                      remedy="leave truth out: the design has its own")  # fmt: skip
        return draw(**dials) if isinstance(draw, type) else draw
    if not callable(draw):
        raise bad(f"draw is {type(draw).__name__}", where="Study.from_functions", allowed="a function or a design",
                  remedy="pass draw = a function of a generator and dials")  # fmt: skip
    cls = drawing.DesignRecipe(draw, truth, naming, main=main_estimand(truth)).inline_class()
    known = cls.parameters.dials
    if unknown := [name for name in dials if name not in known]:
        raise bad(f"no dial {unknown[0]!r}", where=place_of(draw), allowed=one_of(known, unknown[0]),
                  remedy="make it a parameter with a default")  # fmt: skip
    return cls(**dials)


def estimators_of(fit: Fit | Iterable[Fit] | Mapping[str, Fit], target: str, naming: Naming) -> tuple[Estimator, ...]:
    """The estimators that one function, several, or a dict of them by name make; estimators as they are."""
    if isinstance(fit, Mapping):
        named = list(fit.items())
    elif isinstance(fit, Estimator) or callable(fit):
        named = [("", fit)]
    else:
        named = [("", item) for item in (fit if isinstance(fit, Iterable) else (fit,))]
    made = list[Estimator]()
    for label, item in named:
        if isinstance(item, Estimator):
            made.append(item)
        elif isinstance(item, type) and issubclass(item, Estimator):
            made.append(item())
        elif callable(item) and isinstance(label, str):
            recipe = fitting.EstimatorRecipe(item, target=target, label=label, unit=naming.unit, period=naming.period)
            made.append(recipe.inline_class()())
        else:
            said = f"is {type(item).__name__}" if isinstance(label, str) else f"has the name {label!r}"
            raise bad(f"fit {said}", where="Study.from_functions",
                      allowed="a function or an estimator, in a dict by names that are texts",
                      remedy="pass fit = a function of a panel, or a dict of them by name")  # fmt: skip
    return tuple(made)


def main_estimand(truth: Truth) -> str:
    """The estimand of an estimate without a term: that of a truth of one estimand, else att."""
    return str(next(iter(truth))) if isinstance(truth, Mapping) and len(truth) == 1 else MAIN
