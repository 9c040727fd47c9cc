"""Permutation tests: any estimator's term held against its own values under assignments drawn anew by a scheme."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, ClassVar, Literal

import numpy as np

from estimators.core.estimator import (
    Estimates,
    Estimator,
    Home,
    Layout,
    Reduction,
    Status,
    TileEstimator,
    WeightUse,
    find_estimator,
    outcome_of,
)
from estimators.core.hypotheses import (
    NullTests,
    linear_interval,
    p_value_errors,
    permutation_p_values,
    searched_interval,
)
from estimators.core.tile import AssignedTreatments, ShiftedFits, Tile
from estimators.core.treatments import PathCodes
from sim.arrays import Codes, Floats
from sim.errors import bad, closest, listed, naming, one_of
from sim.panel import Panel
from sim.registry import discover
from sim.schema import Schema
from sim.schemes import FORMS, Randomisation, Relabel, Time, assigned_anew, redraws_treatment, scheme_of, terms_tested
from sim.streams import Streams

# An estimator inside another: how its settings are written, and the estimator that reports some of its terms.


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
            raise bad(f"unknown setting {name!r}", where=f"{asked_by} of {kind}", allowed=one_of(names, name),
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
    >>> from estimators.permutation import SomeTerms
    >>> found = SomeTerms.of(pp.SunAbraham(), ("event(3)",))(pp.example_panel().panel)
    >>> print(found.terms, f"{found.params['event(3)']:.3f}")
    ('event(3)',) 0.035
    """

    kind: ClassVar[str] = "some-terms"
    weight_use: ClassVar[WeightUse] = "used"

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
    def home(self) -> Home:
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


# The assignments that permutation tests compare with the real one, and tests by an estimator's own kernel for
# redrawn treatments: no fit of each draw, many outcomes at once.


Statistic = Literal["raw", "studentised"]


@dataclass(frozen=True, eq=False, slots=True)
class Draws:
    """B assignments of a panel, codes (B, N), without the real one; exact: all that there are."""

    randomisation: Randomisation
    codes: Codes
    exact: bool

    @classmethod
    def of(cls, panel: Panel, scheme: str, draws: int, seed: int, rng: np.random.Generator | None = None) -> Draws:
        """All assignments when they are no more than `draws`, else that many from `rng`, or from the seed.

        Raises BadInput when the panel leaves nothing to draw.
        """
        randomisation = scheme_of(scheme).on(panel)
        if randomisation.count is not None and randomisation.every and randomisation.count <= draws:
            every = np.array(list(randomisation.every()))
            return cls(randomisation, every[(every != randomisation.real).any(axis=1)], True)
        own = Streams(seed, "permutation").tile(0, draws)
        generators: Iterator[np.random.Generator] = itertools.repeat(rng, draws) if rng else own.each(scheme)
        return cls(randomisation, np.array([randomisation.draw(generator) for generator in generators]), False)

    def treatments(self) -> PathCodes:
        """Those of the one variable that is assigned, (1 + B, N), the real one first."""
        (paths,) = self.randomisation.paths.values()
        codes = np.concatenate([self.randomisation.real[None], self.codes])
        return PathCodes(np.concatenate([paths, np.zeros((1, paths.shape[1]))]), codes)


@dataclass(frozen=True, eq=False, slots=True)
class KernelTest:
    """Terms under assignments of which the first is the real one; an interval where estimates are linear in y.

    real: the treatment as it was, (1, T, N), zero where unobserved. columns: of the kernel's terms, those tested.
    """

    draws: Draws
    assigned: AssignedTreatments
    real: Floats
    columns: tuple[int, ...]
    statistic: Statistic
    interval: bool

    @np.errstate(divide="ignore", invalid="ignore")  # a degenerate draw is NaN and counts as extreme
    def test(self, y: Floats) -> NullTests:
        """Outcomes (R, T, N) under all assignments."""
        if self.statistic == "studentised" and self.interval:
            return _searched(self.assigned.shifted(y, self.real))
        if self.statistic == "raw":
            drawn = self.assigned.estimates(y)[:, :, self.columns]
        else:  # NaN where a fit fails
            fits = self.assigned.fit(y)
            t = np.where((fits.status == Status.OK)[:, :, None], fits.estimate / fits.se, np.nan)
            drawn = t[:, :, self.columns]
        p = np.stack([permutation_p_values(drawn[:, 0, k], drawn[:, 1:, k]) for k in range(len(self.columns))], axis=1)
        if not self.interval:
            return replace(NullTests.none(p.shape), pvalue=p)
        b, slope = drawn[:, :, 0], self.assigned.estimates(self.real)[:, :, 0]
        lower, upper = linear_interval(b[:, 0], b[:, 1:], slope[:, 1:])
        return NullTests(p, lower[:, None], upper[:, None])


def _searched(fits: ShiftedFits) -> NullTests:
    """The studentised test of one linear estimate, inverted by bisection."""

    def pvalue(c: Floats) -> Floats:
        t = fits.t(c)
        return permutation_p_values(t[:, 0], t[:, 1:])

    real = fits.b[:, 0]
    lower, upper = searched_interval(real, np.sqrt(fits.v0[:, 0]), pvalue)
    p = pvalue(np.zeros_like(real))[:, None]
    return NullTests(p, lower[:, None], upper[:, None]).where(~np.isnan(p))


LEAST_DRAWS = 99
DRAWS_AT_ONCE = 64  # assignments fitted together by estimators without a kernel of their own
LINEAR = 1e-8  # relative deviation below which a coefficient counts as linear in the outcome


@dataclass(frozen=True, slots=True)
class PermutationTest(TileEstimator):
    """An estimator whose p values and intervals come from assignments drawn anew; --estimator does not take it.

    estimator, settings: kind and settings of the estimator, as pairs (in a study file as a table, {errors = ["hc1"]});
    `PermutationTest.of` takes them from an object. scheme: see `sim.schemes`, which says what must be exchangeable;
    time is refused, for it is no test. draws: assignments besides the real one, 99 or more; when there are no more than
    that in all, every one is used and the test is exact. terms: those tested, by default the treatment; spatial terms
    under `relabel`, the mediators under `mediator`; what the null hypothesis of the scheme leaves free (`nulls`) is
    refused. statistic: raw (the estimate) or studentised (over the standard error of the estimator's last error type;
    in large samples it then also tests that the effect is zero on average: DiCiccio and Romano 2017). seed: of the
    draws. common: the same draws in all replications, else each has its own from the streams of the call. interval:
    also the interval. fit_every_draw: whether to do without the estimator's kernel. label: its name in tables, by
    default of estimator and scheme.

    p = (1 + c)/(B + 1) where c of B assignments give |statistic| at least as large; failed fits count as large. The 95%
    interval holds the constant effects of the treatment, y - c D, that are not rejected; terms other than what is
    assigned anew have none. Estimators that are linear in the outcome, which is checked and not assumed, are inverted
    exactly from two passes over the draws; others are not inverted. Studentised DID with clustered errors is inverted
    by bisection. An estimator's `treatment_kernel` takes the place of a fit of every draw, as of DID and of the
    spatial Durbin model.

    Error types: permutation:SCHEME (p value and interval, no standard error), then the estimator's own. Statistics:
    draws (B), exact (1 when every assignment was used), mcse:TERM, the Monte Carlo error of p, 0 when exact.

    >>> import panelproof as pp
    >>> found = pp.PermutationTest(draws=99)(pp.example_panel().panel)
    >>> print(found.with_errors("permutation:space").pvalues["did"].round(2))
    0.01
    """

    kind: ClassVar[str] = "permutation"
    weight_use: ClassVar[WeightUse] = "used"

    estimator: str = "did"
    settings: tuple[tuple[str, Value], ...] = ()
    scheme: str = "space"
    draws: int = 999
    terms: tuple[str, ...] = ()
    statistic: Statistic = "raw"
    seed: int = 0
    common: bool = True
    interval: bool = True
    fit_every_draw: bool = False
    label: str = ""

    def __post_init__(self) -> None:
        Estimator.__post_init__(self)
        if isinstance(scheme_of(self.scheme), Time):
            raise bad("the scheme time has no p value, for placebo dates are always earlier than the real ones",
                      where="permutation test", allowed=one_of(form for form in FORMS if form != Time.kind),
                      remedy="choose another scheme, or look at placebo dates with `panelproof placebo`")  # fmt: skip
        if self.draws < LEAST_DRAWS:
            raise bad(f"draws = {self.draws}", where="permutation test", allowed=f"{LEAST_DRAWS} or more",
                      remedy="999 draws give p to .007 at .05")  # fmt: skip

    @classmethod
    def of(cls, estimator: Estimator, **settings: Any) -> PermutationTest:
        """The test of an estimator's term; settings are the fields of the test."""
        return cls(*inside(estimator), **settings)

    @property
    def inner(self) -> Estimator:
        """The estimator that is tested; raises BadInput for a kind or settings that do not exist, and for a test."""
        found = outside(self.estimator, self.settings, "permutation test")
        if isinstance(found, PermutationTest):
            raise bad("a permutation test of a permutation test", where="estimator", allowed="any other estimator",
                      remedy='name the estimator whose term is tested, e.g. estimator = "did"')  # fmt: skip
        return found

    @property
    def name(self) -> str:
        """Its label, or e.g. did-space, did-space-t when studentised."""
        own = re.sub(r"[^A-Za-z0-9._+-]+", "-", f"{self.inner.name}-{self.scheme}")
        return self.label or (own if self.statistic == "raw" else f"{own}-t")

    @property
    def home(self) -> Home:
        """The estimator's own, for the treatment."""
        design, terms = self.inner.home
        return design, tuple(term for term in terms if term == design.schema.roles.treatment)

    def layout(self, schema: Schema) -> Layout:
        """The tested terms with the estimator's targets; raises BadInput for terms that it lacks or cannot test."""
        scheme = scheme_of(self.scheme)
        for what, there in {"attribute": schema.attributes, "weights": schema.weights}.items():
            name = getattr(scheme, what, None)
            if name is not None and name not in there:
                raise bad(f"no {what} {name!r} in the panel", where=f"{self.name}, scheme {self.scheme}",
                          allowed=one_of(there, name), remedy=closest(name, there))  # fmt: skip
        with naming(self.name):
            inner = self.inner.layout(schema)
        tested = terms_tested(scheme, inner.terms, inner.targets, schema.roles)
        terms = self.terms
        if not terms and isinstance(scheme, Relabel):
            terms = tuple(term for term in inner.terms if term in {"rho", "lambda"} or term.startswith("w_"))
        elif not terms:
            terms = tuple(name for name in assigned_anew(scheme, schema.roles) if name in inner.terms)
        missing = [term for term in terms if term not in inner.terms]
        if missing or not terms:
            what = f"no terms {listed(missing)}" if missing else f"nothing that {self.scheme} assigns is a term"
            raise bad(what, where=self.name, allowed=one_of(tested, missing[0] if missing else ""),
                      remedy=closest(missing[0], tested) if missing else "set terms")  # fmt: skip
        if untested := [term for term in terms if term not in tested]:
            raise bad(f"{self.scheme} does not test {listed(untested)}", where=self.name, allowed=one_of(tested),
                      remedy="choose among these terms, or a scheme that tests it")  # fmt: skip
        return Layout(
            terms=terms,
            errors=(f"permutation:{self.scheme}", *inner.errors),
            statistics=("draws", "exact", *(f"mcse:{term}" for term in terms)),
            targets={term: inner.targets[term] for term in terms if term in inner.targets},
            stored=("pvalue", "lower", "upper"),
        )

    def variables(self, schema: Schema) -> frozenset[str]:
        """The estimator's, and what is assigned anew."""
        return self.inner.variables(schema) | set(assigned_anew(scheme_of(self.scheme), schema.roles))

    def reduction(self, schema: Schema) -> Reduction | None:
        """Everything, with draws that all replications share; None where each has its own."""
        return TileEstimator.reduction(self, schema) if self.common else None

    def __call__(self, panel: Panel, streams: Streams | None = None) -> Estimates:
        """Test in R panels. Raises BadInput when the panel leaves nothing to draw."""
        if self.common:
            return Estimator.__call__(self, panel, streams)
        self.layout(panel.schema)
        own = (streams or Streams(self.seed)).rows(panel.replications).each("assignments")
        return self._panel_by_panel(panel, own)

    def prepare(self, panel: Panel) -> KernelTest | None:
        """The kernel where there is one for the tested estimator; else each draw of each panel is fitted."""
        with naming(self.name):
            reduction = self.inner.reduction(panel.schema)
            if reduction is not None:
                reduction.prepare(panel)
            return self._kernel(panel)

    def _kernel(self, panel: Panel, rng: np.random.Generator | None = None) -> KernelTest | None:
        """None where every draw is fitted: as asked, where other variables than the outcome are redrawn, and where a
        class below that which defines the kernel changes how panels are fitted."""
        treatment = panel.roles.treatment
        others = self.inner.variables(panel.schema) - {self._outcome(panel)}
        fixed = all(panel.variables[name].shape[0] == 1 for name in others)
        asked = not self.fit_every_draw and redraws_treatment(scheme_of(self.scheme))
        methods, classes = ("treatment_kernel", "__call__", "reduction", "solve"), type(self.inner).__mro__
        depth, *further = (next(i for i, one in enumerate(classes) if name in vars(one)) for name in methods)
        if not asked or treatment is None or not fixed or depth > min(further):
            return None
        terms = self.layout(panel.schema).terms
        kernel = self.inner.treatment_kernel(panel, terms, errors=self.statistic == "studentised")
        if kernel is None:
            return None
        draws = Draws.of(panel, self.scheme, self.draws, self.seed, rng)
        assigned, columns = kernel.assign(draws.treatments()), tuple(kernel.terms.index(term) for term in terms)
        interval = self.interval and assigned.linear
        return KernelTest(draws, assigned, _observed(panel, treatment), columns, self.statistic, interval)

    def reduce(self, plan: KernelTest | None, tile: Tile) -> Estimates:
        """All outcomes of a tile against all assignments, which they share, or panel by panel."""
        if plan is None:
            return self._panel_by_panel(tile.panel, itertools.repeat(None, tile.panel.replications))
        tests = plan.test(tile.panel.variables[self._outcome(tile.panel)])
        return self._answers(tile.panel, self._fitted(tile.panel), plan.draws, tests)

    def _panel_by_panel(self, panel: Panel, generators: Iterable[np.random.Generator | None]) -> Estimates:
        """R panels, each with draws from a generator of its own, None = from the test's seed; NaN where the estimator
        fails on the real assignment."""
        fitted, terms, found = self._fitted(panel), self.layout(panel.schema).terms, []
        for row, rng in enumerate(generators):
            one, own = panel.replication(row), fitted.take(slice(row, row + 1))
            draws, tests = None, NullTests.none((1, len(terms)))
            if own.status[0] == Status.OK:
                kernel = self._kernel(one, rng)
                if kernel is None:
                    draws, tests = self._apart(one, own, rng)
                else:
                    draws, tests = kernel.draws, kernel.test(one.variables[self._outcome(one)])
            found.append(self._answers(one, own, draws, tests))
        return Estimates.join(found)

    def _fitted(self, panel: Panel) -> Estimates:
        return self.inner(panel, Streams(self.seed))

    def _outcome(self, panel: Panel) -> str:
        return outcome_of(getattr(self.inner, "outcome", None), panel.schema, self.name)

    def _apart(
        self, panel: Panel, fitted: Estimates, rng: np.random.Generator | None
    ) -> tuple[Draws, NullTests]:  # fmt: skip
        """One panel, any estimator and terms: it fits every assignment."""
        terms = self.layout(panel.schema).terms
        draws = Draws.of(panel, self.scheme, self.draws, self.seed, rng)
        real, drawn = self._statistics(fitted, terms)[0], self._drawn(panel, draws, terms)
        p = permutation_p_values(real, drawn.T)[None]
        lower, upper = np.full((2, 1, len(terms)), np.nan)
        if self.interval and self.statistic == "raw" and not isinstance(scheme_of(self.scheme), Relabel):
            for k, name in enumerate(terms):
                if name in draws.randomisation.paths:
                    lower[0, k], upper[0, k] = self._inverted(panel, draws, terms, k, real[k], drawn[:, k])
        return draws, NullTests(p, lower, upper)

    def _inverted(
        self, panel: Panel, draws: Draws, terms: tuple[str, ...], k: int, real: float, drawn: Floats
    ) -> tuple[float, float]:
        """The interval of term k when the estimator is linear in the outcome, else NaN: seen at two more outcomes."""
        outcome = self._outcome(panel)
        y, d = panel.variables[outcome], _observed(panel, terms[k])
        step = max(abs(real), float(np.where(np.isfinite(drawn), drawn, 0.0).std()))
        there = [panel.with_variables({outcome: y + side * step * d}) for side in (-1.0, 1.0)]
        own = [float(self._statistics(self._fitted(at), terms)[0, k]) for at in there]
        if not abs(own[0] + own[1] - 2 * real) <= LINEAR * step:
            return np.nan, np.nan
        below, above = (self._drawn(at, draws, terms)[:, k] for at in there)
        sound = np.isfinite(drawn) & np.isfinite(below) & np.isfinite(above)
        if (np.abs(below + above - 2 * drawn)[sound] > LINEAR * step).any():
            return np.nan, np.nan
        unit, slope = (own[1] - own[0]) / (2 * step), (above - below) / (2 * step)  # unit is 1 for the treatment
        lower, upper = linear_interval(np.array([real / unit]), drawn[None] / unit, slope[None] / unit)
        return float(lower[0]), float(upper[0])

    def _drawn(self, panel: Panel, draws: Draws, terms: tuple[str, ...]) -> Floats:
        """Statistics of the terms under every assignment, (B, K)."""
        parts = []
        for start in range(0, len(draws.codes), DRAWS_AT_ONCE):
            codes = draws.codes[start : start + DRAWS_AT_ONCE]
            padded = codes if len(codes) > 1 else np.repeat(codes, 2, axis=0)  # a single row would count as fixed
            fitted = self._fitted(draws.randomisation.assigned(panel, padded))
            parts.append(self._statistics(fitted, terms)[: len(codes)])
        return np.concatenate(parts)

    @np.errstate(divide="ignore", invalid="ignore")
    def _statistics(self, fitted: Estimates, terms: tuple[str, ...]) -> Floats:
        """Raw or studentised statistics of the terms, (R, K); NaN where a fit failed."""
        columns = [fitted.terms.index(term) for term in terms]
        values = fitted.estimate[:, columns]
        if self.statistic == "studentised":
            values = values / fitted.se[:, -1, columns]
        return np.where((fitted.status == Status.OK)[:, None], values, np.nan)

    def _answers(self, panel: Panel, fitted: Estimates, draws: Draws | None, tests: NullTests) -> Estimates:
        """The tests beside the estimator's own estimates and errors."""
        layout = self.layout(panel.schema)
        fitted, rows = fitted.only(layout.terms), fitted.status.size
        count, exact = (len(draws.codes), draws.exact) if draws else (0, False)
        failed = (fitted.status != Status.OK)[:, None]
        tests = tests.where(~failed)
        mcse = np.zeros_like(tests.pvalue) if exact or not count else p_value_errors(tests.pvalue, count)
        none = np.full_like(fitted.se, np.nan)

        def beside(first: Floats, own: Floats | None) -> Floats:
            """What the test says, then what the estimator's own error types do."""
            return np.concatenate([first[:, None], none if own is None else own], axis=1)

        return Estimates(
            layout.terms, layout.errors, fitted.estimate,
            se=beside(np.full_like(tests.pvalue, np.nan), fitted.se),
            dof=beside(np.full_like(tests.pvalue, np.inf), fitted.dof),
            status=fitted.status,
            statistics={
                "draws": np.full(rows, float(count)),
                "exact": np.full(rows, float(exact)),
                **{f"mcse:{term}": mcse[:, k] for k, term in enumerate(layout.terms)},
            },
            pvalue=beside(tests.pvalue, fitted.pvalue),
            lower=beside(tests.lower, fitted.lower),
            upper=beside(tests.upper, fitted.upper),
        )  # fmt: skip


def _observed(panel: Panel, name: str) -> Floats:
    """A variable, zero where nothing was observed."""
    values = panel.variables[name]
    return values if panel.observed is None else np.where(panel.observed, values, 0.0)
