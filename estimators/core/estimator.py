"""The estimator protocol: frozen settings and a function from R panels to their estimates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import numpy as np
from numpy.typing import NDArray

from estimators.core import frames
from estimators.core.tile import Tile
from estimators.core.treatment_kernels import TreatmentKernel
from sim.arrays import Floats
from sim.design import Design
from sim.errors import bad, choice_problems, closest, one_of, refuse
from sim.panel import Panel, Text
from sim.registry import discover, find
from sim.schema import Schema
from sim.streams import Streams

if TYPE_CHECKING:
    import pandas as pd


ROWS_AT_ONCE = 4096  # replications solved together: enough to spread the calls, few enough for the cache


class Status(IntEnum):
    """How a fit ended; `meaning` is the text that users see."""

    NOT_RUN = 0
    OK = 1
    NOT_CONVERGED = 2
    SINGULAR = 3
    REFUSED = 4
    ERROR = 5

    @property
    def meaning(self) -> str:
        """The help text of this status."""
        return (
            "not run yet",
            "fitted",
            "the search for the optimum did not converge",
            "regressors are collinear, or they fit without error",
            "the estimator cannot be used on this panel",
            "the estimator raised an error or gave no finite number; the reason is kept",
        )[self]


@dataclass(frozen=True, slots=True)
class Layout:
    """What an estimator will return, known before any data."""

    terms: tuple[str, ...]
    errors: tuple[str, ...]
    statistics: tuple[str, ...]
    targets: Mapping[str, str]  # term -> estimand; of a test statistic what its null hypothesis sets to 0
    stored: tuple[str, ...] = ()  # which of pvalue, lower, upper do not follow from estimate, se and dof
    tests: bool = False  # whether terms are test statistics, which test their targets and estimate none
    screen: str = ""  # p value of a test without which, by custom, estimates are not shown
    perhaps: tuple[str, ...] = ()  # terms that are NaN, without a failure, where no cell of the calendar tells them

    def only(self, terms: tuple[str, ...] | None, asked_by: str) -> Layout:
        """The same with some of its terms, None = all; raises BadInput for others."""
        if terms is None:
            return self
        for term in terms:
            if term not in self.terms:
                raise bad(f"no term {term!r}", where=f"{asked_by} terms", allowed=one_of(self.terms),
                          remedy=closest(term, self.terms))  # fmt: skip
        targets = {term: self.targets[term] for term in terms if term in self.targets}
        return replace(self, terms=terms, targets=targets, perhaps=tuple(x for x in self.perhaps if x in terms))

    @property
    def pvalues(self) -> tuple[str, ...]:
        """Statistics that are p values of tests beside those of terms: all that end in _p."""
        return tuple(name for name in self.statistics if name.endswith("_p"))


@dataclass(frozen=True, slots=True)
class Estimates:
    """Answers on R panels.

    estimate (R, K); se, dof (R, E, K): one row an error type, dof = inf for normal inference; status (R,);
    pvalue, lower, upper (R, E, K) only where they do not follow from estimate, se and dof; statistics name -> (R,).
    """

    terms: tuple[str, ...]
    errors: tuple[str, ...]
    estimate: Floats
    se: Floats
    dof: Floats
    status: NDArray[np.uint8]
    statistics: Mapping[str, Floats] = field(default_factory=dict)
    pvalue: Floats | None = None
    lower: Floats | None = None
    upper: Floats | None = None

    @property
    def params(self) -> pd.Series:
        """The estimates by term; of several panels by (replication, term).

        >>> import panelproof as pp
        >>> found = pp.TwoWayDID()(pp.example_panel().panel)
        >>> print(found.params.round(3)["did"])
        0.03
        """
        return frames.params(self)

    @property
    def std_errors(self) -> pd.Series:
        """Standard errors, indexed as `params`: clustered ones where there are such, see `with_errors`.

        >>> import panelproof as pp
        >>> found = pp.TwoWayDID(errors=("iid", "cluster:unit"))(pp.example_panel().panel)
        >>> found.std_errors.equals(found.with_errors("cluster:unit").std_errors)
        True
        """
        return frames.std_errors(self)

    @property
    def tstats(self) -> pd.Series:
        """Estimates over their standard errors, indexed as `params`."""
        return frames.tstats(self)

    @property
    def pvalues(self) -> pd.Series:
        """Two-sided p values against 0, indexed as `params`."""
        return frames.pvalues(self)

    def conf_int(self, alpha: float = 0.05) -> pd.DataFrame:
        """Ends of intervals at level 1 - alpha in columns lower and upper, indexed as `params`; raises BadInput.

        >>> import panelproof as pp
        >>> pp.TwoWayDID()(pp.example_panel().panel).conf_int().loc["did"].round(3).tolist()
        [0.022, 0.038]
        """
        return frames.conf_int(self, alpha)

    def with_errors(self, kind: str) -> Estimates:
        """The same with one of its error types, such as "hc1". Raises BadInput for one that it lacks."""
        return replace(self, **frames.of_error(self, kind))

    def summary(self) -> Text:
        """Estimates with standard errors, t, p values and intervals as text; of several panels means over them.

        >>> import panelproof as pp
        >>> print(pp.TwoWayDID()(pp.example_panel().panel).summary().splitlines()[0])
        Estimates with cluster:unit errors
        """
        return frames.summary(self)

    def _repr_html_(self) -> str:
        values, counts = np.unique(self.status, return_counts=True)
        ends = [Status(int(value)).meaning for value in values]
        many = [f"{count:,} {end}" for count, end in zip(counts, ends, strict=True)]
        status = ", ".join(many if len(self.status) > 1 else ends)
        return frames.estimates_card(self.take(slice(0, 1)), len(self.status), status)

    def take(self, rows: slice | NDArray[np.intp]) -> Estimates:
        """The same record for some of the panels."""
        return _each_array(self, lambda arrays: arrays[0][rows])

    def only(self, terms: tuple[str, ...]) -> Estimates:
        """The same record with some of its terms."""
        if terms == self.terms:
            return self
        at = [self.terms.index(term) for term in terms]
        arrays = {name: getattr(self, name) for name in ("estimate", "se", "dof", "pvalue", "lower", "upper")}
        return replace(self, terms=terms, **{name: x[..., at] for name, x in arrays.items() if x is not None})

    @staticmethod
    def of(
        layout: Layout, estimate: Floats, se: Floats, dof: Floats, statistics: Mapping[str, Floats], **further: Any
    ) -> Estimates:
        """What a fit found, of its statistics those of the layout; SINGULAR where an estimate is not finite, unless
        `further` says its status (R,)."""
        status = np.where(np.isfinite(estimate).all(axis=1), Status.OK, Status.SINGULAR).astype(np.uint8)
        kept = {name: statistics[name] for name in layout.statistics}
        own: dict[str, Any] = {"status": status, "statistics": kept} | further
        return Estimates(layout.terms, layout.errors, estimate, se, dof, **own)

    @staticmethod
    def failed(layout: Layout, status: Status) -> Estimates:
        """One panel's record when there is no answer: NaN everywhere and a status that says why."""
        k, e = len(layout.terms), len(layout.errors)
        extra = {name: np.full((1, e, k), np.nan) for name in layout.stored}
        return Estimates(
            terms=layout.terms,
            errors=layout.errors,
            estimate=np.full((1, k), np.nan),
            se=np.full((1, e, k), np.nan),
            dof=np.full((1, e, k), np.nan),
            status=np.array([status], dtype=np.uint8),
            statistics={name: np.full(1, np.nan) for name in layout.statistics},
            **extra,
        )

    @staticmethod
    def join(parts: Sequence[Estimates]) -> Estimates:
        """One record from consecutive ones."""
        return parts[0] if len(parts) == 1 else _each_array(parts[0], np.concatenate, parts[1:])


def _each_array(first: Estimates, combine: Any, rest: Sequence[Estimates] = ()) -> Estimates:
    changed: dict[str, Any] = {}
    for item in fields(first):
        value = getattr(first, item.name)
        if isinstance(value, np.ndarray):
            changed[item.name] = combine([value, *(getattr(other, item.name) for other in rest)])
        elif isinstance(value, Mapping):
            changed[item.name] = {
                key: combine([array, *(other.statistics[key] for other in rest)]) for key, array in value.items()
            }
    return replace(first, **changed)


@dataclass(frozen=True, eq=False, slots=True)
class Pieces:
    """Arrays (R, ...) of consecutive tiles, too large to be copied into one; their other axes may differ in length."""

    parts: tuple[Floats, ...]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __getitem__(self, rows: slice) -> Pieces:
        return Pieces(tuple(part for _, part in self._within(rows)))

    def _within(self, rows: slice) -> Iterator[tuple[int, Floats]]:
        """What some rows are of each array, with the first of them."""
        first, last, begin = *rows.indices(len(self))[:2], 0
        for part in self.parts:
            low, high = max(first - begin, 0), min(last - begin, len(part))
            if low < high:
                yield begin + low, part[low:high]
            begin += len(part)

    def chunks(self, most: int) -> Iterator[tuple[slice, Floats]]:
        """All rows, at most so many at a time, and which they are."""
        for begin, part in self._within(slice(None)):
            for start in range(0, len(part), most):
                some = part[start : start + most]
                yield slice(begin + start, begin + start + len(some)), some


class Moments:
    """A record of arrays or `Pieces` with leading R (or None), of a tile or a block; subclasses are dataclasses.

    Fields without `init` hold what was made of the others; joined and taken records begin without it.
    """

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """One record from consecutive tiles, joined by field."""
        if len(parts) == 1:
            return parts[0]
        names = [item.name for item in fields(cast(Any, cls)) if item.init]
        columns = {name: [getattr(part, name) for part in parts] for name in names}
        return cls(**{name: None if column[0] is None else _joined(column) for name, column in columns.items()})

    def take(self, rows: slice) -> Self:
        """The same record for some of the panels."""
        values = {item.name: getattr(self, item.name) for item in fields(cast(Any, self)) if item.init}
        return type(self)(**{name: None if value is None else value[rows] for name, value in values.items()})

    def locked(self) -> Self:
        """The same record, its arrays read-only: several estimators solve from them."""
        for item in fields(cast(Any, self)):
            value = getattr(self, item.name)
            for array in value.parts if isinstance(value, Pieces) else (value,):
                if isinstance(array, np.ndarray):
                    array.setflags(write=False)
        return self

    @property
    def rows(self) -> int:
        """R."""
        values = (getattr(self, item.name) for item in fields(cast(Any, self)))
        return next(len(value) for value in values if value is not None)


def _joined(column: list[Any]) -> Any:
    if isinstance(column[0], Pieces):
        return Pieces(tuple(part for pieces in column for part in pieces.parts))
    return np.concatenate(column)


class Reduction(ABC):
    """The work on T x N numbers that several estimators share; frozen, hashable, compared by value."""

    @abstractmethod
    def prepare(self, panel: Panel) -> Any:
        """All that follows from the variables that do not change between replications; once a cell and worker."""

    def for_worlds(self, plan: Any, worlds: int) -> Any:
        """The plan of one of so many worlds of a cell: without what pays only where one world has all replications."""
        return plan

    @abstractmethod
    def reduce(self, plan: Any, tile: Tile) -> Moments:
        """One tile's sufficient statistics."""

    def rows(self, plan: Any) -> int:
        """How many replications `solve` may take at once (memory is that many moments)."""
        return ROWS_AT_ONCE


class Estimator(ABC):
    """Frozen settings; the same object serves real and synthetic panels. Subclasses are frozen dataclasses."""

    kind: ClassVar[str]

    def __post_init__(self) -> None:
        """Raise BadInput for settings of listed values that hold another one; who has checks of its own calls this."""
        refuse(choice_problems(self, f"estimator {self.kind}"))

    @property
    def name(self) -> str:
        """What tables and stores call it, distinct within a study: its label, by default its kind."""
        return getattr(self, "label", "") or self.kind

    @property
    @abstractmethod
    def home(self) -> tuple[Design, tuple[str, ...]]:
        """A design on which the named terms must be right."""

    @abstractmethod
    def layout(self, schema: Schema) -> Layout:
        """Terms, error types and statistics on panels of this schema; raises BadInput when the panel cannot serve."""

    @abstractmethod
    def variables(self, schema: Schema) -> frozenset[str]:
        """The variables that it reads."""

    def used(self, panel: Panel) -> Panel:
        """The part of a real panel that its estimates rest on, for the sizes that tables print."""
        return panel

    def reduction(self, schema: Schema) -> Reduction | None:
        """The shared part of the work, or None when `__call__` does all of it."""
        return None

    def solve(self, plan: Any, moments: Any, schema: Schema, streams: Streams) -> Estimates:
        """Estimates from the reduction's moments; every row must depend on its own moments alone."""
        raise TypeError(f"{type(self).__name__} has no reduction and must define __call__")

    def for_redrawn_treatments(self, schema: Schema) -> Estimator:
        """The same with those terms and error types alone that a kernel has; itself where there is no kernel."""
        return self

    def treatment_kernel(self, panel: Panel, terms: tuple[str, ...], *, errors: bool) -> TreatmentKernel | None:
        """Its terms, with the errors of its last type if asked for, under many treatments of a panel; None without.

        All variables but the outcome are the same in all replications. Raises BadInput for a panel that cannot serve.
        """
        return None

    def __call__(self, panel: Panel, streams: Streams | None = None) -> Estimates:
        """Fit R panels. Deterministic estimators ignore `streams`. Raises BadInput for a panel that cannot serve."""
        self.layout(panel.schema)
        reduction = self.reduction(panel.schema)
        if reduction is None:
            raise TypeError(f"{type(self).__name__} has no reduction and must define __call__")
        plan = reduction.prepare(panel)
        moments = reduction.reduce(plan, Tile(panel))
        return self.solve(plan, moments, panel.schema, streams or Streams(0))


def estimators() -> dict[str, type[Estimator]]:
    """Every estimator that estimators/ holds, by kind."""
    return discover("estimators", Estimator)


def find_estimator(kind: str, where: str = "[[estimators]] kind") -> type[Estimator]:
    """The estimator called `kind` or named "module:Object"; raises BadInput."""
    return find("estimators", Estimator, kind, where)
