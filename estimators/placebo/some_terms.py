"""An estimator inside another: how its settings are written, and the estimator that reports some of its terms."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from estimators.core.estimator import Estimates, Estimator, Layout, Reduction, Status, find_estimator
from sim.design import Design
from sim.errors import bad, closest, naming, one_of
from sim.panel import Panel
from sim.registry import discover
from sim.schema import Schema
from sim.streams import Streams

Value = bool | int | float | str | tuple[str, ...] | tuple[int, ...] | None
Pairs = tuple[tuple[str, Value], ...]


def inside(estimator: Estimator) -> tuple[str, Pairs]:
    """Kind and settings that differ from the defaults of an estimator, from which `outside` makes it again."""
    own = type(estimator)
    known = discover("estimators", Estimator).get(own.kind) is own
    pairs = tuple(
        (item.name, getattr(estimator, item.name))
        for item in fields(own)  # type: ignore[arg-type]
        if getattr(estimator, item.name) != item.default
    )
    return own.kind if known else f"{own.__module__}:{own.__qualname__}", pairs


@lru_cache(maxsize=64)
def outside(kind: str, settings: Pairs, asked_by: str) -> Estimator:
    """The estimator of a kind and its settings; raises BadInput for those that do not exist."""
    cls = find_estimator(kind, f"{asked_by}, estimator")
    names = [item.name for item in fields(cls)]  # type: ignore[arg-type]
    for name, _ in settings:
        if name not in names:
            raise bad(f"unknown setting {name!r}", where=f"{asked_by} of {kind}", allowed=one_of(names),
                      remedy=closest(name, names))  # fmt: skip
    return cls(**dict(settings))


@dataclass(frozen=True, slots=True)
class SomeTerms(Estimator):
    """An estimator with some of its terms, so that what the others lack on a panel is no failure of these.

    estimator, settings: kind and settings of the estimator, as pairs (in a study file as a table, {errors = ["hc1"]});
    `SomeTerms.of` takes them from an object. terms: those reported; none = all. label: its name in tables, by default
    that of the estimator.

    Everything is computed by the estimator itself; a fit without an estimate of a reported term is singular.

    >>> import panelproof as pp
    >>> from estimators.placebo.some_terms import SomeTerms
    >>> found = SomeTerms.of(pp.SunAbraham(), ("event(3)",))(pp.example_panel().panel)
    >>> print(found.terms, f"{found.params['event(3)']:.3f}")
    ('event(3)',) 0.035
    """

    kind: ClassVar[str] = "some-terms"

    estimator: str = "did"
    settings: tuple[tuple[str, Value], ...] = ()
    terms: tuple[str, ...] = ()
    label: str = ""

    @classmethod
    def of(cls, estimator: Estimator, terms: tuple[str, ...]) -> SomeTerms:
        """An estimator with some of its terms, under its own name."""
        return cls(*inside(estimator), terms, estimator.name)

    @property
    def inner(self) -> Estimator:
        """The estimator itself; raises BadInput for a kind or settings that do not exist, and for one of its kind."""
        found = outside(self.estimator, self.settings, self.kind)
        if isinstance(found, SomeTerms):
            raise bad("some terms of some terms", where="estimator", allowed="any other estimator",
                      remedy='name the estimator, e.g. estimator = "did"')  # fmt: skip
        return found

    @property
    def name(self) -> str:
        """Its label, else the estimator's name."""
        return self.label or self.inner.name

    @property
    def home(self) -> tuple[Design, tuple[str, ...]]:
        """The estimator's own."""
        design, terms = self.inner.home
        return design, tuple(term for term in terms if term in (self.terms or terms))

    def layout(self, schema: Schema) -> Layout:
        """The estimator's with some of its terms; raises BadInput for others."""
        with naming(self.name):
            return self.inner.layout(schema).only(self.terms or None, self.name)

    def variables(self, schema: Schema) -> frozenset[str]:
        """The estimator's."""
        return self.inner.variables(schema)

    def used(self, panel: Panel) -> Panel:
        """The estimator's."""
        return self.inner.used(panel)

    def reduction(self, schema: Schema) -> Reduction | None:
        """The estimator's own, which equal estimators share."""
        return self.inner.reduction(schema)

    def solve(self, plan: Any, moments: Any, schema: Schema, streams: Streams) -> Estimates:
        """The estimator's answers, of the terms alone."""
        return self._of(self.inner.solve(plan, moments, schema, streams))

    def __call__(self, panel: Panel, streams: Streams | None = None) -> Estimates:
        """Fit R panels with the estimator; raises what it raises."""
        self.layout(panel.schema)
        return self._of(self.inner(panel, streams))

    def _of(self, found: Estimates) -> Estimates:
        found = found.only(self.terms or found.terms)
        missing = (found.status == Status.OK) & ~np.isfinite(found.estimate).all(axis=1)
        return replace(found, status=np.where(missing, Status.SINGULAR, found.status).astype(np.uint8))
