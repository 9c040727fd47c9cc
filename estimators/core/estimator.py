"""The estimator protocol: frozen settings and a function from R panels to their estimates."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from enum import IntEnum
from functools import wraps
from numbers import Real
from types import NoneType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, cast

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from estimators.core.tile import Tile, TreatmentKernel
from sim.arrays import Flags, Floats
from sim.design import A_UNIT, Design
from sim.errors import BadInput, bad, choice_problems, closest, listed, one_of, refuse, type_problems
from sim.panel import Panel, Text, card
from sim.registry import discover, find
from sim.schema import UNWEIGHTED, Schema, refuse_weights
from sim.streams import Streams, repr_of

if TYPE_CHECKING:
    import pandas as pd


# Statistics, p values and intervals from an estimate, its standard error and degrees of freedom.


def p_values(statistic: Floats, dof: Floats) -> Floats:
    """Two-sided p values of t statistics; dof = inf means the normal distribution. Shapes broadcast."""
    tail = -np.abs(statistic)
    finite = np.where(np.isinf(dof), 1.0, dof)
    return 2 * np.where(np.isinf(dof), ndtr(tail), stdtr(finite, tail))


def check_level(alpha: float, where: str) -> float:
    """The level of tests and intervals; raises BadInput for what is none."""
    allowed, remedy = "a number between 0 and 1", "write 0.05 for tests at 5% and intervals of 95%"
    refuse(type_problems(alpha, Real, "alpha", where=where, allowed=allowed, remedy=remedy))
    if not 0 < alpha < 1:
        raise bad(f"alpha = {alpha}", where=where, allowed=allowed, remedy=remedy)
    return alpha


def critical_values(dof: Floats, alpha: float) -> Floats:
    """Two-sided critical values at level alpha, of the shape of dof; each distinct value is computed once."""
    distinct, inverse = np.unique(dof, return_inverse=True)
    finite = np.where(np.isinf(distinct), 1.0, distinct)
    values = np.where(np.isinf(distinct), ndtri(1 - alpha / 2), stdtrit(finite, 1 - alpha / 2))
    return values[inverse].reshape(dof.shape)


def holm(pvalues: Floats) -> Floats:
    """p-values of M tests adjusted so that the chance of any false rejection keeps to the level (Holm 1979), (M,)."""
    order = np.argsort(pvalues, kind="stable")
    steps = pvalues[order] * np.arange(len(pvalues), 0, -1)
    out = np.empty(len(pvalues))
    out[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return out


def usual_error(kinds: Sequence[str], asked: str | None = None) -> str:
    """The error type asked for where there is one; else the first cluster, else information or the last; "" of none."""
    if asked in kinds:
        return str(asked)
    clustered = [kind for kind in kinds if kind.startswith("cluster:")]
    return next(iter([*clustered, *(kind for kind in kinds if kind == "information"), *kinds[-1:]]), "")


Home = tuple[Design, tuple[str, ...]]  # a design, and the terms that must be right on it
WeightUse = Literal["used", "ignored", "refused"]  # what an estimator does with the weights of a panel
LEVEL = 0.05
HEADS = ("term", "estimate", "std. error", "t", "p", "lower", "upper")
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


def status_where(sound: Flags) -> NDArray[np.uint8]:
    """OK where a fit is sound, else SINGULAR."""
    return np.where(sound, Status.OK, Status.SINGULAR).astype(np.uint8)


@dataclass(frozen=True, eq=False, slots=True)
class Pieces:
    """Arrays (R, ...) of consecutive tiles, too large to be copied into one; their other axes may differ in length."""

    parts: tuple[Floats, ...]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __getitem__(self, rows: slice) -> Pieces:
        first, last, _ = rows.indices(len(self))
        begin, kept = 0, []
        for part in self.parts:
            low, high = max(first - begin, 0), min(last - begin, len(part))
            if low < high:
                kept.append(part[low:high])
            begin += len(part)
        return Pieces(tuple(kept))

    def chunks(self, most: int) -> Iterator[tuple[slice, Floats]]:
        """All rows, at most so many at a time, and which they are."""
        begin = 0
        for part in self.parts:
            for start in range(0, len(part), most):
                some = part[start : start + most]
                yield slice(begin + start, begin + start + len(some)), some
            begin += len(part)


class Moments:
    """A record of arrays or `Pieces` with leading R (or None), of a tile or a block; subclasses are dataclasses.

    Mappings hold such arrays by name; other values are those of all panels. Fields without `init` hold what was made of
    the others; joined and taken records begin without it.
    """

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """One record from consecutive tiles, joined by field."""
        if len(parts) == 1:
            return parts[0]
        joined: dict[str, Any] = {}
        for name in (item.name for item in fields(cast(Any, cls)) if item.init):
            column = [getattr(part, name) for part in parts]
            first = column[0]
            if isinstance(first, np.ndarray):
                joined[name] = np.concatenate(column)
            elif isinstance(first, Pieces):
                joined[name] = Pieces(tuple(part for pieces in column for part in pieces.parts))
            elif isinstance(first, Mapping):
                joined[name] = {key: np.concatenate([one[key] for one in column]) for key in first}
            else:
                joined[name] = first
        return cls(**joined)

    def take(self, rows: slice | NDArray[np.intp] | Flags) -> Self:
        """The same record for some of the panels."""
        taken: dict[str, Any] = {}
        for name in (item.name for item in fields(cast(Any, self)) if item.init):
            value = getattr(self, name)
            if isinstance(value, np.ndarray | Pieces):
                taken[name] = value[rows]  # type: ignore[index]
            elif isinstance(value, Mapping):
                taken[name] = {key: array[rows] for key, array in value.items()}
            else:
                taken[name] = value
        return type(self)(**taken)

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
        return next(len(value) for value in values if isinstance(value, np.ndarray | Pieces))


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
                raise bad(f"no term {term!r}", where=f"{asked_by} terms", allowed=one_of(self.terms, term),
                          remedy=closest(term, self.terms))  # fmt: skip
        targets = {term: self.targets[term] for term in terms if term in self.targets}
        return replace(self, terms=terms, targets=targets, perhaps=tuple(x for x in self.perhaps if x in terms))

    @property
    def pvalues(self) -> tuple[str, ...]:
        """Statistics that are p values of tests beside those of terms: all that end in _p."""
        return tuple(name for name in self.statistics if name.endswith("_p"))


@dataclass(frozen=True, slots=True)
class Estimates(Moments):
    """Answers on R panels.

    As pandas objects they have the names of statsmodels and linearmodels, and one standard error: the usual one, which
    is the first clustered type, else that of the information matrix, else the last; `with_errors` chooses another.

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
        return self._series(self.estimate, "parameter")

    @property
    def std_errors(self) -> pd.Series:
        """Standard errors, indexed as `params`: clustered ones where there are such, see `with_errors`.

        >>> import panelproof as pp
        >>> found = pp.TwoWayDID(errors=("iid", "cluster:unit"))(pp.example_panel().panel)
        >>> found.std_errors.equals(found.with_errors("cluster:unit").std_errors)
        True
        """
        return self._series(self._usual(self.se), "std_error")

    @property
    def tstats(self) -> pd.Series:
        """Estimates over their standard errors, indexed as `params`."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self._series(self.estimate / self._usual(self.se), "tstat")

    @property
    def pvalues(self) -> pd.Series:
        """Two-sided p values against 0: the estimator's own if it gave some, else those of t, indexed as `params`."""
        computed = p_values(self.tstats.to_numpy().reshape(self.estimate.shape), self._usual(self.dof))
        return self._series(self._stored(self.pvalue, computed), "pvalue")

    def conf_int(self, alpha: float = 0.05) -> pd.DataFrame:
        """Ends of intervals at level 1 - alpha in columns lower and upper, indexed as `params`.

        Raises BadInput for another level than 95% where the estimator gave the ends itself.

        >>> import panelproof as pp
        >>> pp.TwoWayDID()(pp.example_panel().panel).conf_int().loc["did"].round(3).tolist()
        [0.022, 0.038]
        """
        check_level(alpha, "conf_int")
        own = [ends is not None and bool(np.isfinite(ends).any()) for ends in (self.lower, self.upper)]
        if any(own) and alpha != LEVEL:
            raise bad(f"alpha = {alpha} of intervals that are kept as they were estimated", where="conf_int",
                      allowed=f"{LEVEL}", remedy="leave alpha out, or choose another error type")  # fmt: skip
        margin = critical_values(self._usual(self.dof), alpha) * self._usual(self.se)
        lower = self._stored(self.lower, self.estimate - margin)
        upper = self._stored(self.upper, self.estimate + margin)
        return self._series(lower, "lower").to_frame().assign(upper=self._series(upper, "upper"))

    def with_errors(self, kind: str) -> Estimates:
        """The same with one of its error types, such as "hc1". Raises BadInput for one that it lacks."""
        if kind not in self.errors:
            raise bad(f"no error type {kind!r}", where="with_errors", allowed=one_of(self.errors, kind),
                      remedy=closest(kind, self.errors))  # fmt: skip
        at = [self.errors.index(kind)]
        arrays = {name: getattr(self, name) for name in ("se", "dof", "pvalue", "lower", "upper")}
        return replace(self, errors=(kind,), **{name: x[:, at] for name, x in arrays.items() if x is not None})

    def summary(self) -> Text:
        """Estimates with standard errors, t, p values and intervals as text; of several panels means over them.

        >>> import panelproof as pp
        >>> print(pp.TwoWayDID()(pp.example_panel().panel).summary().splitlines()[0])
        Estimates with cluster:unit errors
        """
        table, panels = self._coefficients(), len(self.estimate)
        if panels > 1:
            table = table.groupby(level="term", sort=False).mean()
        return Text(f"{self._title}\n{table.to_string(float_format='{:.4g}'.format)}")

    def _repr_html_(self) -> str:
        values, counts = np.unique(self.status, return_counts=True)
        ends = [Status(int(value)).meaning for value in values]
        many = [f"{count:,} {end}" for count, end in zip(counts, ends, strict=True)]
        panels, first = len(self.status), self.take(slice(0, 1))
        rows = [(term, *map(float, values)) for term, values in
                zip(self.terms, first._coefficients().itertuples(index=False), strict=True)]  # fmt: skip
        notes = [f"The first of {panels:,} panels."] if panels > 1 else []
        return card(first._title, [("status", ", ".join(many if panels > 1 else ends))], HEADS, rows, notes)

    def _coefficients(self) -> pd.DataFrame:
        """All of them side by side, indexed as `params`."""
        import pandas as pd

        columns = [self.params, self.std_errors, self.tstats, self.pvalues]
        return pd.concat([*columns, self.conf_int()], axis=1).set_axis(list(HEADS[1:]), axis=1)

    @property
    def _title(self) -> str:
        kind, panels = usual_error(self.errors), len(self.estimate)
        many = f" (means over {panels:,} panels)" if panels > 1 else ""
        return f"Estimates with {kind} errors{many}" if kind else f"Estimates{many}"

    def _usual(self, array: Floats) -> Floats:
        """(R, K) of (R, E, K): the usual error type; NaN where there is none."""
        if not self.errors:
            return np.full(self.estimate.shape, np.nan)
        return array[:, self.errors.index(usual_error(self.errors))]

    def _stored(self, kept: Floats | None, computed: Floats) -> Floats:
        """What the estimator gave itself, and what follows from se and dof where it gave none."""
        if kept is None or not self.errors:
            return computed
        own = self._usual(kept)
        return np.where(np.isnan(own), computed, own)

    def _series(self, values: Floats, name: str) -> pd.Series:
        """(R, K) as a series by term, or by replication and term."""
        import pandas as pd  # loaded where a table is asked for

        if len(values) == 1:
            return pd.Series(values[0], pd.Index(self.terms, name="term"), name=name)
        index = pd.MultiIndex.from_product([range(len(values)), self.terms], names=["replication", "term"])
        return pd.Series(values.ravel(), index, name=name)

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
        status = status_where(np.isfinite(estimate).all(axis=1))
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


@dataclass(frozen=True, eq=False, slots=True)
class TermCovariance:
    """The covariance of an estimator's terms under one error type: terms (K,), matrix (R, K, K), dof of their t."""

    terms: tuple[str, ...]
    matrix: Floats
    dof: float


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


LISTS = re.compile(r"tuple\[(?!tuple|int|float).*, \.\.\.\]( \| None)?$")  # the type of settings that list texts


def of_a_panel(call: Callable[..., Estimates]) -> Callable[..., Estimates]:
    """A method that fits panels and raises BadInput for what is none, such as a panel with its spec, or a table."""

    @wraps(call)
    def checked(self: Estimator, panel: Any, *further: Any, **named: Any) -> Estimates:
        if not isinstance(panel, Panel):
            real = isinstance(getattr(panel, "panel", None), Panel)
            remedy = "give its .panel" if real else "panelproof.read_panel(...).panel makes one of a table"
            refuse(type_problems(panel, Panel, "the panel", where=f"estimator {self.kind}", allowed="a Panel",
                                 remedy=remedy))  # fmt: skip
        return call(self, panel, *further, **named)

    return checked


class Estimator(ABC):
    """Frozen settings; the same object serves real and synthetic panels. Subclasses are frozen dataclasses."""

    kind: ClassVar[str]
    weight_use: ClassVar[WeightUse] = "refused"
    gaps: ClassVar[bool] = True  # whether it takes panels that lack unit-periods

    def __init_subclass__(cls, **further: Any) -> None:
        """Let every estimator refuse what is no panel in the same words, whoever defines how it is called."""
        super().__init_subclass__(**further)
        if "__call__" in vars(cls):
            setattr(cls, "__call__", of_a_panel(vars(cls)["__call__"]))  # noqa: B010  (mypy: a method is assigned)

    def __post_init__(self) -> None:
        """Raise BadInput for settings of listed values that hold another one; who has checks of its own calls this.

        A setting that lists texts takes a single one, and a list, as the tuple that it holds.
        """
        where, cls = f"estimator {self.kind}", cast(Any, type(self))
        for name in (item.name for item in fields(cls) if LISTS.match(str(item.type))):
            given = getattr(self, name)
            refuse(type_problems(given, (str, list, tuple, NoneType), name, where=where, remedy=f"correct {name}",
                                 allowed='a text, or several in brackets: ["a", "b"]'))  # fmt: skip
            if isinstance(given, str | list):
                object.__setattr__(self, name, (given,) if isinstance(given, str) else tuple(given))
        refuse(choice_problems(self, f"estimator {self.kind}"))

    def __repr__(self) -> str:  # of those that leave theirs to it: streams are keyed by it
        return repr_of(self) if is_dataclass(self) else object.__repr__(self)

    @property
    def name(self) -> str:
        """What tables and stores call it, distinct within a study: its label, by default its kind."""
        return getattr(self, "label", "") or self.kind

    @property
    @abstractmethod
    def home(self) -> Home:
        """A design on which the named terms must be right."""

    @abstractmethod
    def layout(self, schema: Schema) -> Layout:
        """Terms, error types and statistics on panels of this schema; raises BadInput when the panel cannot serve."""

    @abstractmethod
    def variables(self, schema: Schema) -> frozenset[str]:
        """The variables that it reads."""

    def weight(self, schema: Schema) -> tuple[str, ...]:
        """The variable of the panel's weights, none without; raises BadInput where it cannot take weights."""
        name = schema.roles.weight
        if name is None or self.weight_use == "ignored":
            return ()
        if self.weight_use == "refused":
            takers = sorted(kind for kind, found in estimators().items() if found.weight_use == "used")
            refuse_weights(schema.roles, f"the estimator {self.kind}",  # labels of tables are not the user's words
                           f"estimators that take weights: {listed(takers, 20)}",
                           f"choose one of them, or {UNWEIGHTED}", self.name)  # fmt: skip
        return (schema.require(name, f"{self.name} weight"),)

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

    def covariance(self, panel: Panel, error: str) -> TermCovariance:
        """The covariance of its terms under one of its error types; its diagonal holds the squared standard errors.

        Raises BadInput for an estimator that has variances alone, and for a panel that cannot serve.
        """
        raise bad(f"the estimator {self.name} has no covariance of its terms", where="covariance",
                  allowed="a linear regression or a spatial model", remedy="test one term at a time")  # fmt: skip

    @of_a_panel
    def __call__(self, panel: Panel, streams: Streams | None = None) -> Estimates:
        """Fit R panels. Deterministic estimators ignore `streams`. Raises BadInput for a panel that cannot serve."""
        self.layout(panel.schema)
        reduction = self.reduction(panel.schema)
        if reduction is None:
            raise TypeError(f"{type(self).__name__} has no reduction and must define __call__")
        plan = reduction.prepare(panel)
        moments = reduction.reduce(plan, Tile(panel))
        return self.solve(plan, moments, panel.schema, streams or Streams(0))


class TileEstimator(Estimator, Reduction):
    """An estimator whose work on a tile is its answer, so that it is its own reduction: what no replication changes is
    prepared once; `prepare` raises BadInput for a panel that cannot serve."""

    @abstractmethod
    def reduce(self, plan: Any, tile: Tile) -> Estimates:
        """The estimates of one tile; every row must depend on its own panel alone."""

    def reduction(self, schema: Schema) -> Reduction | None:
        """Itself."""
        return self

    def solve(self, plan: Any, moments: Any, schema: Schema, streams: Streams) -> Estimates:
        """The moments, which are the answers."""
        assert isinstance(moments, Estimates)
        return moments


def one_by_one(panel: Panel, answer: Callable[[Panel], Estimates], refused: Estimates) -> Estimates:
    """Every replication by itself; `refused` is the answer where it raises BadInput."""
    found = []
    for row in range(panel.replications):
        try:
            found.append(answer(panel.replication(row)))
        except BadInput:
            found.append(refused)
    return Estimates.join(found)


def estimators() -> dict[str, type[Estimator]]:
    """Every estimator that estimators/ holds, by kind."""
    return discover("estimators", Estimator)


def find_estimator(kind: str, where: str = "[[estimators]] kind") -> type[Estimator]:
    """The estimator called `kind` or named "module:Object"; raises BadInput."""
    return find("estimators", Estimator, kind, where)


# What an estimator is asked to use: the outcome, the treatment, the weights, and that names exist and stand once.


def outcome_of(outcome: str | None, schema: Schema, asked_by: str) -> str:
    """The outcome asked for, or the panel's own; raises BadInput when neither is named."""
    name = outcome or schema.roles.outcome
    if name is None:
        raise bad("no outcome is named", where=asked_by, allowed=one_of(schema.variables),
                  remedy='set outcome = "..."')  # fmt: skip
    return name


def treatment_of(treatment: str | None, schema: Schema, asked_by: str) -> str:
    """The treatment asked for, or the panel's own; raises BadInput when neither is named."""
    name = treatment or schema.roles.treatment
    if name is None:
        raise bad("the panel has no treatment", where=asked_by, allowed=one_of(schema.variables),
                  remedy='set treatment = "..."')  # fmt: skip
    return name


class RegressionEstimator(Estimator):
    """An estimator with settings `outcome` and `regressors`, names of variables; None = the panel's own roles."""

    outcome: str | None
    regressors: tuple[str, ...] | None

    def names(self, schema: Schema) -> tuple[str, tuple[str, ...]]:
        """Outcome and regressors; raises BadInput when no outcome is named, and for weights that are refused."""
        self.weight(schema)
        regressors = schema.roles.regressors if self.regressors is None else self.regressors
        return outcome_of(self.outcome, schema, self.name), regressors

    def variables(self, schema: Schema) -> frozenset[str]:
        """Outcome and regressors, and the weights."""
        outcome, regressors = self.names(schema)
        return frozenset((outcome, *regressors, *self.weight(schema)))


class TreatmentEstimator(Estimator):
    """An estimator of the panel's treatment with settings `outcome` and `controls`; None = the panel's own roles."""

    outcome: str | None
    controls: tuple[str, ...] | None

    def names(self, schema: Schema) -> tuple[str, str, tuple[str, ...]]:
        """Outcome, treatment and controls; raises BadInput when one is missing, and for weights that are refused."""
        self.weight(schema)
        treatment = treatment_of(None, schema, self.name)
        controls = schema.roles.controls if self.controls is None else self.controls
        return outcome_of(self.outcome, schema, self.name), treatment, controls

    def variables(self, schema: Schema) -> frozenset[str]:
        """Outcome, treatment and controls, and the weights."""
        outcome, treatment, controls = self.names(schema)
        return frozenset((outcome, treatment, *controls, *self.weight(schema)))


def slope_targets(schema: Schema, regressors: tuple[str, ...], of_treatment: str) -> dict[str, str]:
    """The estimands of slopes: a control's is its coefficient, the treatment's the given one."""
    treatment = schema.roles.treatment or "did"
    own = of_a_dose(schema, of_treatment) if of_treatment == "att" else of_treatment
    return {name: own if name == treatment else f"beta({name})" for name in regressors}


def of_a_dose(schema: Schema, estimand: str) -> str:
    """What a regression finds in place of an effect of treatment: the same a unit of a continuous treatment."""
    if not schema.roles.continuous:
        return estimand
    return f"beta({schema.roles.treatment})" if estimand == "att" else f"{A_UNIT}{estimand}"


def check_names(schema: Schema, outcome: str, regressors: tuple[str, ...], asked_by: str) -> None:
    """Raise BadInput for variables that the panel lacks, that repeat, or when there are none to explain with."""
    for name in (outcome, *regressors):
        schema.require(name, asked_by)
    if not regressors:
        raise bad("there are no regressors", where=asked_by, allowed="a treatment, controls or both",
                  remedy="name at least one")  # fmt: skip
    if outcome in regressors or len(set(regressors)) < len(regressors):
        raise bad(f"a variable is used twice among {one_of((outcome, *regressors))}", where=asked_by,
                  allowed="each variable once", remedy="remove the repeated name")  # fmt: skip


def weights_of(weights: str | None, schema: Schema, asked_by: str) -> str:
    """The weights asked for, or the panel's first; raises BadInput when the panel has none or not these."""
    if not schema.weights:
        raise bad("the panel has no spatial weights", where=asked_by, allowed="one or more [[weights]]",
                  remedy="add a [[weights]] table")  # fmt: skip
    name = weights or schema.weights[0]
    if name not in schema.weights:
        raise bad(f"no weights {name!r}", where=asked_by, allowed=one_of(schema.weights, name),
                  remedy=closest(name, schema.weights))  # fmt: skip
    return name
