"""Interactive fixed effects (Bai 2009) and the generalised synthetic control (Xu 2017), on R panels at once.

y_it = x_it'b + a_i + l_t + lambda_i'f_t + e_it. With X and y less unit and period means, least squares over b and r
factors alternates two closed forms (Bai 2009, equations 11 and 12; section 6 for additive effects): given b, F holds
the first r eigenvectors of the periods' second moments of y - X b; given F, b is least squares of M_F y on M_F X,
M_F = I - F F'. All of it is algebra of T x T moments of pairs of variables, so a step costs one small eigenproblem.

`imputation` (Xu 2017, section 3.1) fits this on never treated units. A treated unit's a_i and lambda_i are least
squares over its own periods before adoption; the effect is the mean over treated cells of y less what this implies.
`regression` is Bai's own form: the treatment is one of the regressors, of all units.

The number of factors minimises an information criterion of Bai and Ng (2002, equation 9), ln V(k) + k g, with V(k) the
mean squared residual of least squares with k factors:
ic1: g = (N + T)/(N T) ln(N T/(N + T)); ic2: (N + T)/(N T) ln m; ic3: ln(m)/m; m = min(N, T). k is at most the number of
eigenvalues above their mean V(0)/m (Ahn and Horenstein 2013, section 3): in small panels the criteria take too many.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from typing import ClassVar, Literal, get_args

import numpy as np

from estimators.core import regression as ols
from estimators.synthetic.imputed_effects import Completion, ImputedEffects, UnitPanels, UnitSamples, small_world
from sim.arrays import Codes, Flags, Floats
from sim.design import Design
from sim.errors import bad, listed, one_of
from sim.streams import Streams

FactorForm = Literal["imputation", "regression"]
Criterion = Literal["ic1", "ic2", "ic3"]
CRITERIA = get_args(Criterion)
FLOOR = 1e-14  # share of the sum of squares below which what factors leave is rounding
ARRIVED = 1e-10  # change of X b as a share of y, both as root sums of squares, at which slopes are found
STEPS = 2_000  # of alternating least squares
FEWEST = 2  # units, and periods, beyond the number of factors
CLOSER = 1e-6  # share of the unexplained by which another minimum is lower
SPARE = 1  # periods before adoption beyond a treated unit's parameters, where the number of factors is chosen


@dataclass(frozen=True, eq=False, slots=True)
class PeriodMoments:
    """Second moments of K + 1 variables, the outcome first, over the units used, less unit and period means.

    products (B, K + 1, K + 1, T, T): sums over units of outer products of pairs; means (B, K + 1, T): means of the
    units used; units (B,): how many they are; spread, total (B, K): sums of squares of covariates around their mean and
    as they are.
    """

    products: Floats
    means: Floats
    units: Floats
    spread: Floats
    total: Floats

    @classmethod
    def of(cls, variables: Floats, used: Flags) -> PeriodMoments:
        """Of variables (B, K + 1, T, N) over the units used (B, N)."""
        weight = used[:, None, None, :] * 1.0
        units = used.sum(axis=1).astype(np.float64)
        means = (variables * weight).sum(axis=3) / units[:, None, None]
        within = variables - variables.mean(axis=2, keepdims=True)
        level = means - means.mean(axis=2, keepdims=True)
        rest = np.where(weight > 0, within - level[:, :, :, None], 0.0)
        products = rest[:, :, None] @ rest[:, None].swapaxes(3, 4)
        seen = ols.flat(np.where(weight > 0, variables[:, 1:], 0.0))
        total = np.vecdot(seen, seen)
        cells = units[:, None] * variables.shape[2]
        spread = total - np.square(seen.sum(axis=2)) / cells
        return cls(products, means, units, spread, total)

    @property
    def slopes_known(self) -> Flags:
        """Where effects leave something of every covariate, (B,)."""
        left = np.trace(self.products, axis1=3, axis2=4)
        own = np.diagonal(left, axis1=1, axis2=2)[:, 1:]
        return ~ols.absorbed(own, self.spread, self.total).any(axis=1)

    def take(self, rows: Codes | Flags) -> PeriodMoments:
        """Some of the panels."""
        return PeriodMoments(*(getattr(self, name)[rows] for name in PeriodMoments.__slots__))

    def of_rest(self, b: Floats) -> Floats:
        """Second moments of y - X b, (B, T, T), of slopes (B, K)."""
        weights = np.concatenate([np.ones((len(b), 1)), -b], axis=1)
        pairs = weights[:, :, None] * weights[:, None, :]
        return np.asarray((pairs[:, :, :, None, None] * self.products).sum(axis=(1, 2)))

    def slopes(self, factors: Floats) -> Floats:
        """b (B, K) given factors (B, T, r); NaN where covariates are collinear with one another or with factors."""
        keep = np.eye(factors.shape[1]) - factors @ factors.transpose(0, 2, 1)
        inner = (keep[:, None, None] * self.products).sum(axis=(3, 4))
        inverse, _ = ols.invert(inner[:, 1:, 1:])
        return (inverse @ inner[:, 1:, :1])[:, :, 0]


@dataclass(frozen=True, eq=False, slots=True)
class FactorFit:
    """Slopes b (B, K), factors (B, T, most), orthonormal, zero beyond a panel's own number rank (B,); converged."""

    b: Floats
    factors: Floats
    rank: Codes
    converged: Flags


def first_vectors(moments: Floats, rank: int) -> Floats:
    """The first eigenvectors of symmetric matrices (B, T, T), (B, T, rank), the sum of each not negative."""
    vectors = np.linalg.eigh(moments)[1][:, :, ::-1][:, :, :rank]
    return vectors * np.where(vectors.sum(axis=1, keepdims=True) < 0, -1.0, 1.0)


def fitted(moments: PeriodMoments, rank: int, near: Floats | None = None) -> FactorFit:
    """Least squares over slopes and so many factors, alternating; a panel's iterations depend on itself alone.

    From slopes `near` (B, K); else from those without factors and from those beside the factors of the outcome, of
    which the end with less unexplained counts: the sum of squares can have several minima.
    """
    rows, count, t = len(moments.units), moments.products.shape[1] - 1, moments.products.shape[3]
    known = moments.slopes_known
    b = moments.slopes(np.zeros((rows, t, 0)))
    if near is not None and rank:
        b = np.where(np.isfinite(near) & np.isfinite(b), near, b)
    b = np.where(known[:, None], b, np.nan)
    found = _alternated(moments, rank, b)
    if near is not None or not count or not rank:
        return found
    first = np.where(np.isfinite(b), moments.slopes(first_vectors(moments.of_rest(np.zeros_like(b)), rank)), np.nan)
    other = _alternated(moments, rank, first)
    with np.errstate(invalid="ignore"):  # of NaN
        better = _unexplained(moments, rank, other.b) < _unexplained(moments, rank, found.b) * (1 - CLOSER)
    better &= other.converged
    return FactorFit(np.where(better[:, None], other.b, found.b),
                     np.where(better[:, None, None], other.factors, found.factors), found.rank,
                     np.where(better, other.converged, found.converged))  # fmt: skip


def _unexplained(moments: PeriodMoments, rank: int, b: Floats) -> Floats:
    """The sum of squares that slopes and so many factors leave, (B,)."""
    values = np.linalg.eigvalsh(moments.of_rest(np.where(np.isfinite(b), b, 0.0)))
    return np.asarray(values[:, : values.shape[1] - rank].sum(axis=1))


def _alternated(moments: PeriodMoments, rank: int, b: Floats) -> FactorFit:
    """Slopes given factors and factors given slopes in turn, from slopes b (B, K)."""
    rows, count = len(b), b.shape[1]
    b = b.copy()
    live = np.flatnonzero(np.isfinite(b).all(axis=1)) if count and rank else np.arange(0)
    some = moments.take(live)
    for _ in range(STEPS):
        if not live.size:
            break
        new = some.slopes(first_vectors(some.of_rest(b[live]), rank))
        size = np.diagonal(np.trace(some.products, axis1=3, axis2=4), axis1=1, axis2=2)
        moved = np.vecdot(np.square(new - b[live]), size[:, 1:])
        b[live] = new
        still = moved > ARRIVED**2 * size[:, 0]  # not where a slope became NaN
        live, some = live[still], some.take(still)
    converged = np.isfinite(b).all(axis=1)
    converged[live] = False
    safe = np.where(np.isfinite(b), b, 0.0)
    return FactorFit(b, first_vectors(moments.of_rest(safe), rank), np.full(rows, rank), converged)


def chosen_ranks(moments: PeriodMoments, criterion: Criterion, most: Codes) -> Codes:
    """The number of factors (B,), 0 to `most` (B,), by an information criterion of least squares with each number."""
    t = moments.products.shape[3]
    least, both = np.minimum(moments.units, t), (moments.units + t) / (moments.units * t)
    price = {"ic1": -both * np.log(both), "ic2": both * np.log(least), "ic3": np.log(least) / least}[criterion]
    values = _eigenvalues(moments, 0)
    total = values.sum(axis=1)
    most = np.minimum(most, (values >= (total / least)[:, None]).sum(axis=1))
    floor = FLOOR * np.maximum(total, np.finfo(float).tiny)
    scores = np.full((len(most), int(most.max(initial=0)) + 1), np.inf)
    for number in range(scores.shape[1]):
        rows = np.flatnonzero(most >= number)
        rest = _eigenvalues(moments.take(rows), number)[:, : t - number].sum(axis=1)
        scores[rows, number] = np.log(np.maximum(rest, floor[rows])) + number * price[rows]
    return np.asarray(scores.argmin(axis=1))


def _eigenvalues(moments: PeriodMoments, rank: int) -> Floats:
    """Of the second moments of y - X b with so many factors, ascending, (B, T)."""
    b = fitted(moments, rank).b
    return np.linalg.eigvalsh(moments.of_rest(np.where(np.isfinite(b), b, 0.0)))


@dataclass(frozen=True, slots=True)
class InteractiveEffects(ImputedEffects):
    """The mean effect over treated cells beside common factors of which each unit has loadings of its own.

    Unit and period effects are always in. Treatment from different dates is served; units treated from the first period
    on are left out; unbalanced panels are refused. As factors are estimated, there is a bias of the order 1/N, and of
    1/T where errors are correlated or unequal (Bai 2009); too few factors leave the bias of two-way DID. Samples of
    placebo, jackknife and bootstrap keep the panel's number of factors.

    form: imputation (factors of never treated units, loadings of treated ones from before adoption: effects may differ
    in any way) | regression (the treatment as a regressor, with one effect). factors: their number, or the criterion
    that chooses it: ic1 | ic2 | ic3 of Bai and Ng (2002). most_factors: the largest number that a criterion tries; at
    most half of the units and periods, and in the imputation form so many that the periods before adoption leave the
    loadings of every treated unit a degree of freedom.

    Statistics: factors, their number.

    >>> import panelproof as pp
    >>> found = pp.InteractiveEffects()(pp.example_panel().panel)
    >>> print(f"{found.params['overall']:.3f} ({found.std_errors['overall']:.3f})")
    0.035 (0.010)
    """

    kind: ClassVar[str] = "interactive-effects"

    form: FactorForm = "imputation"
    factors: int | Criterion = "ic2"
    most_factors: int = 8

    def __post_init__(self) -> None:
        """Raise BadInput for settings that cannot be."""
        ImputedEffects.__post_init__(self)
        known = self.factors in CRITERIA if isinstance(self.factors, str) else isinstance(self.factors, Integral)
        if not known or self.number < 0:
            raise bad(f"factors = {self.factors!r}", where=f"estimator {self.name}",
                      allowed=f"a number, 0 or more, or {one_of(CRITERIA)}", remedy='set factors = "ic2"')  # fmt: skip
        if self.most_factors < 0:
            raise bad(f"most_factors = {self.most_factors}", where=f"estimator {self.name}", allowed="0 or more",
                      remedy="leave it out for the default")  # fmt: skip

    @property
    def number(self) -> int:
        """The number of factors asked for, 0 where a criterion chooses it."""
        return 0 if isinstance(self.factors, str) else self.factors

    @property
    def home(self) -> tuple[Design, tuple[str, ...]]:
        """A world with a factor and a covariate."""
        return small_world(1), ("overall",)

    def own_statistics(self) -> tuple[str, ...]:
        """The number of factors."""
        return ("factors",)

    def check_calendar(self, first: Codes, periods: tuple[int, ...]) -> None:
        """Raise BadInput for too few never treated units, and for too few periods before adoption."""
        used = first > 0
        units = int((first == len(periods)).sum()) if self.form == "imputation" else int(used.sum())
        least = self.number + FEWEST
        if units < least or len(periods) < least:
            who = "never treated units" if self.form == "imputation" else "units"
            raise bad(f"{units} {who} and {len(periods)} periods", where=self.name, allowed=f"{least} or more of both",
                      remedy="ask for fewer factors, or choose another estimator")  # fmt: skip
        early = [periods[g] for g in np.unique(first[used]) if g < self.number + 1]
        if self.form == "imputation" and early:
            raise bad(f"units adopt in {listed(early)}, after too few periods for {self.number} factors",
                      where=self.name, allowed=f"{self.number + 1} or more periods before adoption",
                      remedy="ask for fewer factors, or leave those units out")  # fmt: skip

    def complete(self, panels: UnitPanels, streams: Streams) -> Completion:
        """Choose the number of factors, then fit."""
        variables, used = self._variables(panels)
        moments = PeriodMoments.of(variables, used)
        return self._completed(panels, variables, moments, self._ranks(panels, moments), None)

    def complete_again(self, panels: UnitPanels, samples: UnitSamples, whole: Completion) -> Completion:
        """With the number of factors of the whole panel."""
        variables, used = self._variables(panels)
        ranks = whole.tuning[samples.rows].astype(np.intp)
        near = whole.slopes[samples.rows]
        return self._completed(panels, variables, PeriodMoments.of(variables, used), ranks, near)

    def _variables(self, panels: UnitPanels) -> tuple[Floats, Flags]:
        """Outcome, in the regression form the treatment, covariates (B, K + 1, T, N), and the units fitted (B, N)."""
        columns = [panels.y, *([panels.treated] if self.form == "regression" else [])]
        x = (
            np.broadcast_to(panels.x, (len(panels.y), panels.x.shape[1], *panels.y.shape[1:]))
            if panels.x.size
            else None
        )
        parts = [np.stack(columns, axis=1), *([] if x is None else [x])]
        never = panels.first == panels.y.shape[1]
        return np.concatenate(parts, axis=1), never if self.form == "imputation" else panels.first > 0

    def _ranks(self, panels: UnitPanels, moments: PeriodMoments) -> Codes:
        """The number of factors of each panel, (B,)."""
        rows, t = len(panels.y), panels.y.shape[1]
        if not isinstance(self.factors, str):
            return np.full(rows, self.number, dtype=np.intp)
        adopts = (panels.first > 0) & (panels.first < t)
        before = np.where(adopts, panels.first, t).min(axis=1)
        most = np.minimum(self.most_factors, (np.minimum(moments.units, t) - 1) // 2)
        if self.form == "imputation":
            most = np.minimum(most, before - 1 - SPARE)
        return chosen_ranks(moments, self.factors, np.maximum(most, 0).astype(np.intp))

    def _completed(
        self, panels: UnitPanels, variables: Floats, moments: PeriodMoments, ranks: Codes, near: Floats | None
    ) -> Completion:
        outcome, converged = np.empty_like(panels.y), np.empty(len(panels.y), dtype=bool)
        b = np.empty((len(panels.y), variables.shape[1] - 1))
        complete: Callable[..., Floats] = _imputed if self.form == "imputation" else _without_treatment
        for rank in np.unique(ranks):
            group = np.flatnonzero(ranks == rank)
            fit = fitted(moments.take(group), int(rank), None if near is None else near[group])
            b[group] = fit.b
            outcome[group] = complete(panels.take(group), variables[group], moments.take(group), fit)
            converged[group] = fit.converged
        lacking = moments.units < ranks + FEWEST  # samples may hold too few: every slope fits them
        b[lacking], outcome[lacking], converged[lacking] = np.nan, np.nan, False
        number = ranks.astype(np.float64)
        return Completion(outcome, number, b, {"factors": number}, converged)


def _without_treatment(panels: UnitPanels, variables: Floats, moments: PeriodMoments, fit: FactorFit) -> Floats:
    """Outcomes less the treatment's coefficient where treated, (B, T, N)."""
    return panels.y - fit.b[:, :1, None] * variables[:, 1]


def _imputed(panels: UnitPanels, variables: Floats, moments: PeriodMoments, fit: FactorFit) -> Floats:
    """Outcomes without treatment by factors of the never treated and each unit's own loadings, (B, T, N); NaN for a
    unit whose periods before adoption do not tell its loadings."""
    weights = np.concatenate([np.ones((len(fit.b), 1)), -fit.b], axis=1)
    rest = (weights[:, :, None, None] * variables).sum(axis=1)
    level = (weights[:, :, None] * moments.means).sum(axis=1)
    away = rest - level[:, :, None]
    rows, t, n = away.shape
    basis = np.concatenate([np.ones((rows, t, 1)), np.sqrt(t) * fit.factors], axis=2)
    found = np.full((rows, t, n), np.nan)
    for date in np.unique(panels.first[panels.first > 0]):
        early = basis[:, :date]
        inverse, _ = ols.invert(early.transpose(0, 2, 1) @ early)
        own = basis @ (inverse @ (early.transpose(0, 2, 1) @ away[:, :date]))
        found = np.where((panels.first == date)[:, None, :], own, found)
    return found + level[:, :, None] + panels.y - rest
