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

from dataclasses import dataclass
from numbers import Integral
from typing import ClassVar, Literal, get_args

import numpy as np

from estimators.core import regression as ols
from estimators.core.estimator import Home, Moments
from estimators.synthetic.imputed_effects import Completion, ImputedEffects, UnitPanels, UnitSamples, small_world
from sim.arrays import Codes, Flags, Floats
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
class PeriodMoments(Moments):
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

    def of_rest(self, b: Floats) -> Floats:
        """Second moments of y - X b, (B, T, T), of slopes (B, K); those that are not known count as zero."""
        weights = np.concatenate([np.ones((len(b), 1)), -np.where(np.isfinite(b), b, 0.0)], axis=1)
        pairs = weights[:, :, None] * weights[:, None, :]
        return np.asarray((pairs[:, :, :, None, None] * self.products).sum(axis=(1, 2)))

    def slopes(self, factors: Floats) -> Floats:
        """b (B, K) given factors (B, T, r); NaN where covariates are collinear with one another or with factors."""
        keep = np.eye(factors.shape[1]) - factors @ factors.transpose(0, 2, 1)
        inner = (keep[:, None, None] * self.products).sum(axis=(3, 4))
        inverse, _ = ols.invert(inner[:, 1:, 1:])
        return (inverse @ inner[:, 1:, :1])[:, :, 0]


# Slopes b (B, K), factors (B, T, r), orthonormal, and whether they were found (B,).
FactorFit = tuple[Floats, Floats, Flags]


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
    left = np.diagonal(np.trace(moments.products, axis1=3, axis2=4), axis1=1, axis2=2)[:, 1:]
    lost = ols.absorbed(left, moments.spread, moments.total).any(axis=1)  # nothing of a covariate is left
    b = moments.slopes(np.zeros((rows, t, 0)))
    if near is not None and rank:
        b = np.where(np.isfinite(near) & np.isfinite(b), near, b)
    b = np.where(lost[:, None], np.nan, b)
    found = _alternated(moments, rank, b)
    if near is not None or not count or not rank:
        return found
    first = np.where(np.isfinite(b), moments.slopes(first_vectors(moments.of_rest(np.zeros_like(b)), rank)), np.nan)
    other = _alternated(moments, rank, first)
    unexplained, own = (np.linalg.eigvalsh(moments.of_rest(b))[:, : t - rank].sum(axis=1) for b, *_ in (other, found))
    better = (unexplained < own * (1 - CLOSER)) & other[2]
    return (
        np.where(better[:, None], other[0], found[0]),
        np.where(better[:, None, None], other[1], found[1]),
        np.where(better, other[2], found[2]),
    )


def _alternated(moments: PeriodMoments, rank: int, b: Floats) -> FactorFit:
    """Slopes given factors and factors given slopes in turn, from slopes b (B, K)."""
    b = b.copy()
    live = np.flatnonzero(np.isfinite(b).all(axis=1)) if b.shape[1] and rank else np.arange(0)
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
    return b, first_vectors(moments.of_rest(b), rank), converged


def chosen_ranks(moments: PeriodMoments, criterion: Criterion, most: Codes) -> Codes:
    """The number of factors (B,), 0 to `most` (B,), by an information criterion of least squares with each number."""
    t = moments.products.shape[3]
    least, both = np.minimum(moments.units, t), (moments.units + t) / (moments.units * t)
    price = {"ic1": -both * np.log(both), "ic2": both * np.log(least), "ic3": np.log(least) / least}[criterion]
    values = np.linalg.eigvalsh(moments.of_rest(fitted(moments, 0)[0]))
    total = values.sum(axis=1)
    most = np.minimum(most, (values >= (total / least)[:, None]).sum(axis=1))
    floor = FLOOR * np.maximum(total, np.finfo(float).tiny)
    scores = np.full((len(most), int(most.max(initial=0)) + 1), np.inf)
    for number in range(scores.shape[1]):
        rows = np.flatnonzero(most >= number)
        some = moments.take(rows)
        rest = np.linalg.eigvalsh(some.of_rest(fitted(some, number)[0]))[:, : t - number].sum(axis=1)
        scores[rows, number] = np.log(np.maximum(rest, floor[rows])) + number * price[rows]
    return np.asarray(scores.argmin(axis=1))


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
    own_statistics: ClassVar[tuple[str, ...]] = ("factors",)
    # home: a world with a factor and a covariate
    home: ClassVar[Home] = (small_world(1), ("overall",))

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

    def complete(
        self, panels: UnitPanels, streams: Streams, again: tuple[UnitSamples, Completion] | None = None
    ) -> Completion:
        """With the number of factors chosen, in samples of units with that of the whole panel."""
        # outcome, in the regression form the treatment, covariates (B, K + 1, T, N), and the units fitted (B, N)
        rows, t, n = panels.y.shape
        columns = [panels.y, *([panels.treated] if self.form == "regression" else [])]
        parts = [np.stack(columns, axis=1)]
        if panels.x.size:
            parts.append(np.broadcast_to(panels.x, (rows, panels.x.shape[1], t, n)))
        variables = np.concatenate(parts, axis=1)
        used = panels.first == t if self.form == "imputation" else panels.first > 0
        moments, near = PeriodMoments.of(variables, used), None
        if again is None:
            ranks = self._ranks(panels, moments)
        else:
            samples, whole = again
            ranks, near = whole.tuning[samples.rows].astype(np.intp), whole.slopes[samples.rows]

        outcome, converged = np.empty_like(panels.y), np.empty(rows, dtype=bool)
        b = np.empty((rows, variables.shape[1] - 1))
        for rank in np.unique(ranks):
            group = np.flatnonzero(ranks == rank)
            some = moments.take(group)
            slopes, factors, converged[group] = fitted(some, int(rank), None if near is None else near[group])
            b[group] = slopes
            if self.form == "imputation":
                outcome[group] = _imputed(panels.take(group), variables[group], some, slopes, factors)
            else:  # less the treatment's coefficient where treated
                outcome[group] = panels.y[group] - slopes[:, :1, None] * variables[group, 1]
        lacking = moments.units < ranks + FEWEST  # samples may hold too few: every slope fits them
        b[lacking], outcome[lacking], converged[lacking] = np.nan, np.nan, False
        number = ranks.astype(np.float64)
        return Completion(outcome, number, b, {"factors": number}, converged)

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


def _imputed(panels: UnitPanels, variables: Floats, moments: PeriodMoments, b: Floats, factors: Floats) -> Floats:
    """Outcomes without treatment by factors of the never treated and each unit's own loadings, (B, T, N); NaN for a
    unit whose periods before adoption do not tell its loadings."""
    weights = np.concatenate([np.ones((len(b), 1)), -b], axis=1)
    rest = (weights[:, :, None, None] * variables).sum(axis=1)
    level = (weights[:, :, None] * moments.means).sum(axis=1)
    away = rest - level[:, :, None]
    rows, t, n = away.shape
    basis = np.concatenate([np.ones((rows, t, 1)), np.sqrt(t) * factors], axis=2)
    found = np.full((rows, t, n), np.nan)
    for date in np.unique(panels.first[panels.first > 0]):
        early = basis[:, :date]
        inverse, _ = ols.invert(early.transpose(0, 2, 1) @ early)
        own = basis @ (inverse @ (early.transpose(0, 2, 1) @ away[:, :date]))
        found = np.where((panels.first == date)[:, None, :], own, found)
    return found + level[:, :, None] + panels.y - rest
