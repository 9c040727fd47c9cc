"""The parts of a study that are plain functions: a world, its truth, and estimators."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self, cast

from estimators.core import functions as fitting
from estimators.core.estimator import Estimator
from estimators.core.functions import FunctionEstimator
from experiments.study.border import asking
from sim import functions as drawing
from sim.design import Design
from sim.errors import bad
from sim.functions import MAIN, Naming, Truth, place_of
from sim.streams import Streams

Draw = Callable[..., Any] | Design
Fit = Callable[..., Any] | Estimator


class FromFunctions:
    """Studies whose parts are plain functions."""

    @classmethod
    def from_functions(
        cls,
        *,
        draw: Draw,
        fit: Fit | Iterable[Fit] | Mapping[str, Fit],
        truth: Truth = None,
        dials: Mapping[str, Any] | None = None,
        name: str = "functions",
        outcome: str = "",
        treatment: str = "",
        controls: Iterable[str] = (),
        unit: str = "unit",
        period: str = "period",
        **settings: Any,
    ) -> Self:
        """A study of plain functions: draw(rng, DIAL=default, ...) makes one panel a call, fit(panel) estimates on it.

        What they take and return, and what truth, outcome, treatment, controls, unit and period are: as of `@design`
        and `@estimator`, whose classes may be given instead, as may any design and estimator. fit: one, several, or a
        dict by name. dials: values of dials that the grid leaves alone. settings: those of a study, such as
        grid = {"effect": [0, 1]}. Raises BadInput.
        """
        naming = Naming(outcome, treatment, tuple(controls), unit, period)
        made: Self = cast(Any, cls)(
            name=name,
            design=design_of(draw, truth, naming, dials or {}),
            estimators=estimators_of(fit, main_estimand(truth), naming),
            **settings,
        )
        return made


def tried(estimators: Iterable[Estimator], design: Design) -> tuple[Estimator, ...]:
    """Estimators that are functions say what they return, by one fit of a panel of the design; others as they are."""

    def tried_on(item: Estimator) -> Estimator:
        if not isinstance(item, FunctionEstimator) or item.terms:
            return item
        with asking(design, "draw"):
            schema = design.schema
            panel = design.draw(Streams(0, "trial")).panel.replication(0)
        return item.tried_on(panel, schema)

    return tuple(map(tried_on, estimators))


def design_of(draw: Draw, truth: Truth, naming: Naming, dials: Mapping[str, Any]) -> Design:
    """The design that a function makes; a design, or a class of them, as it is. Raises BadInput."""
    if isinstance(draw, Design):
        _refuse("truth", truth, "draw")
        return draw
    if isinstance(draw, type) and issubclass(draw, Design):
        _refuse("truth", truth, "draw")
        return draw(**dials)
    if not callable(draw):
        raise bad(f"draw is {type(draw).__name__}", where="Study.from_functions", allowed="a function or a design",
                  remedy="pass draw = a function of a generator and dials")  # fmt: skip
    cls = drawing.inline_class(drawing.Recipe(draw, truth, naming, main=main_estimand(truth)))
    known = cls.parameters.dials
    if unknown := [name for name in dials if name not in known]:
        raise bad(f"no dial {unknown[0]!r}", where=place_of(draw), allowed=", ".join(known) or "(none)",
                  remedy="make it a parameter with a default")  # fmt: skip
    return cls(**dials)


def estimators_of(fit: Fit | Iterable[Fit] | Mapping[str, Fit], target: str, naming: Naming) -> tuple[Estimator, ...]:
    """The estimators that one function, several, or a dict of them by name make; estimators as they are."""
    if isinstance(fit, Mapping):
        named = list(fit.items())
    elif isinstance(fit, Estimator) or callable(fit):
        named = [("", fit)]
    else:
        named = [("", item) for item in fit]
    return tuple(_estimator(item, label, target, naming) for label, item in named)


def main_estimand(truth: Truth) -> str:
    """The estimand of an estimate without a term: that of a truth of one estimand, else att."""
    return str(next(iter(truth))) if isinstance(truth, Mapping) and len(truth) == 1 else MAIN


def _estimator(fit: Fit, label: str, target: str, naming: Naming) -> Estimator:
    if isinstance(fit, Estimator):
        return fit
    if isinstance(fit, type) and issubclass(fit, Estimator):
        return fit()
    if not callable(fit):
        raise bad(f"fit is {type(fit).__name__}", where="Study.from_functions", allowed="a function or an estimator",
                  remedy="pass fit = a function of a panel, or a dict of them by name")  # fmt: skip
    recipe = fitting.Recipe(fit, target=target, label=label, unit=naming.unit, period=naming.period)
    return fitting.inline_class(recipe)()


def _refuse(name: str, value: object, beside: str) -> None:
    if value is not None:
        raise bad(f"{name} beside a design", where="Study.from_functions", allowed=f"{name} of a {beside} function",
                  remedy=f"leave {name} out: the design has its own")  # fmt: skip
