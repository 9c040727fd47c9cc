"""One tile of panels with its demeaned and lagged variables, each computed once whoever asks.

What an estimator offers when many treatments of one panel are asked for: all else computed once, no fit of each.

Studies of placebo designs and permutation tests find it through the estimator: `Estimator.treatment_kernel`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from sim.arrays import Floats
from sim.errors import bad, one_of
from sim.panel import Panel
from sim.schema import Schema

ROWS = 24  # of every product of small matrices: always as many, so that a draw's bits do not depend on the batch


@dataclass(frozen=True, eq=False, slots=True)
class TreatmentFits:
    """R outcomes under B treatments: estimate, se (R, B, K), NaN where there is none; status (R, B)."""

    terms: tuple[str, ...]
    estimate: Floats
    se: Floats
    status: NDArray[np.uint8]


@dataclass(frozen=True, eq=False, slots=True)
class ShiftedFits:
    """A coefficient and its variance up to a factor when the outcome is y - c D with the real treatment D.

    b (R, B) and slope (1, B): coefficients of y and of D; the variance is v0 + c v1 + c^2 v2, v0 and v1 (R, B), v2
    (1, B). rounding: likewise of the variance up to which there is none.
    """

    b: Floats
    slope: Floats
    v0: Floats
    v1: Floats
    v2: Floats
    rounding: tuple[Floats, Floats, Floats]

    @np.errstate(divide="ignore", invalid="ignore")  # a degenerate draw is NaN
    def t(self, c: Floats) -> Floats:
        """t statistics up to a factor, (R, B), at c (R,)."""
        at = c[:, None]
        variance, rounding = (x + at * y + at**2 * z for x, y, z in ((self.v0, self.v1, self.v2), self.rounding))
        return (self.b - at * self.slope) / np.sqrt(np.where(variance > rounding, variance, np.nan))


class AssignedTreatments(ABC):
    """B treatments of a panel, ready for any outcome; outcomes y (R, T, N) are raw.

    linear: whether the one term is linear in the outcome, so that its tests have intervals by inversion.
    """

    linear: ClassVar[bool] = False

    @abstractmethod
    def estimates(self, y: Floats) -> Floats:
        """Estimates alone, (R, B, K), NaN where a fit fails."""

    @abstractmethod
    def fit(self, y: Floats) -> TreatmentFits:
        """Estimates and standard errors."""

    def shifted(self, y: Floats, real: Floats) -> ShiftedFits:
        """The fits of y - c D, D = real (1, T, N), as functions of c; of a linear term alone."""
        raise TypeError(f"{type(self).__name__} is not linear in the outcome")


class TreatmentKernel(ABC):
    """An estimator on a panel whose treatment is left open: what outcome-free numbers follow from all else."""

    terms: tuple[str, ...]

    @abstractmethod
    def assign(self, given: Any) -> AssignedTreatments:
        """B treatments: first treated periods (B, N), T = never; D (B, T, N); or `treatments.PathCodes`."""


def product(left: Floats, right: Floats) -> Floats:
    """left @ right by blocks of ROWS rows, the last one filled with zeros."""
    padded = -(-len(left) // ROWS) * ROWS
    full = left
    if padded > len(left):
        full = np.zeros((padded, left.shape[1]))
        full[: len(left)] = left
    return np.matmul(full.reshape(-1, ROWS, left.shape[1]), right).reshape(padded, -1)[: len(left)]


# Within transformations: what is left of a variable after unit and time effects, or after others of a panel.


TINY = 1e-10  # share of the largest eigenvalue below which one counts as zero


def observed_mask(panel: Panel) -> Floats:
    """1 where observed, 0 elsewhere, (T, N); raises BadInput when replications differ in their masks."""
    if panel.observed is None:
        return np.ones((len(panel.periods), len(panel.units)))
    if (panel.observed != panel.observed[:1]).any():
        raise bad("replications differ in which unit-periods are observed", where="panel observed",
                  allowed="one pattern for all replications", remedy="fit the replications one by one")  # fmt: skip
    return panel.observed[0].astype(np.float64)


@dataclass(frozen=True, eq=False, slots=True)
class WithinTransform:
    """Q of a pattern of observations: the closed form when balanced, else an exact projection.

    With m_it = 1 where observed, the time effects solve (diag(n_t) - M diag(1/n_i) M') l = sum_i m (x - xbar_i), the
    normal equations after unit means are taken out (Wansbeek and Kapteyn 1989); unobserved cells come out as zero.
    `effects` is the number of free unit and time effects.
    """

    effects: int
    mask: Floats | None = None  # (T, N), None = balanced
    solver: Floats | None = None  # (T, T), pseudo-inverse of the matrix above

    @classmethod
    def of(cls, panel: Panel) -> WithinTransform:
        """The transformation of a panel; raises BadInput when the mask is not the same in every replication."""
        n, t = len(panel.units), len(panel.periods)
        if panel.balanced or panel.observed is None:
            return cls(effects=n + t - 1)
        mask = observed_mask(panel)
        per_unit = np.maximum(mask.sum(axis=0), 1.0)
        normal = np.diag(mask.sum(axis=1)) - (mask / per_unit) @ mask.T
        solver = np.linalg.pinv(normal, rcond=1e-10, hermitian=True)
        rank = int(np.linalg.matrix_rank(normal, tol=1e-10 * t, hermitian=True))
        return cls(int((mask.sum(axis=0) > 0).sum()) + rank, mask, solver)

    def __call__(self, x: Floats) -> Floats:
        """Q x, (R, T, N) -> (R, T, N)."""
        if self.mask is None or self.solver is None:
            return balanced_split(x)[0]
        observed = np.where(self.mask > 0, x, 0.0)
        per_unit = np.maximum(self.mask.sum(axis=0), 1.0)
        out = (observed - observed.sum(axis=1, keepdims=True) / per_unit) * self.mask
        time = out.sum(axis=2) @ self.solver
        out = observed - self.mask * time[:, :, None]
        return (out - out.sum(axis=1, keepdims=True) / per_unit) * self.mask


def balanced_split(x: Floats) -> tuple[Floats, Floats]:
    """Q x (R, T, N), and what unit and time effects take of the sum of squares around the grand mean, (R,).

    Means are of differences from each unit's first period, so that a level costs no digits and a constant is zero.
    """
    _, t, n = x.shape
    first = x[:, :1]
    within = x - first
    unit = np.matmul(np.ones(t), within)[:, None] / t  # sums by BLAS
    within -= unit
    time = np.matmul(within, np.ones(n))[:, :, None] / n
    within -= time
    unit += first - first[:, :, :1]
    unit -= unit.sum(axis=2, keepdims=True) / n
    return within, t * np.square(unit).sum(axis=(1, 2)) + n * np.square(time).sum(axis=(1, 2))


PanelEffects = Literal["two-way", "unit", "period", "none"]
TAKEN_OUT: dict[PanelEffects, tuple[str, ...]] = {
    "two-way": ("unit", "period"), "unit": ("unit",), "period": ("period",), "none": (),
}  # fmt: skip


def without_effects(values: Floats, effects: Collection[str]) -> Floats:
    """Values (..., T, N) of a balanced panel without the effects, or without their mean where there are none."""
    if not effects:
        return values - values.mean(axis=(-2, -1), keepdims=True)
    if "unit" in effects:
        values = values - values.mean(axis=-2, keepdims=True)
    if "period" in effects:
        values = values - values.mean(axis=-1, keepdims=True)
    return values


def demeaned(values: Floats, effects: PanelEffects = "two-way") -> Floats:
    """The same, of effects by the name of a set of them."""
    return without_effects(values, TAKEN_OUT[effects])


@dataclass(frozen=True, eq=False, slots=True)
class WeightedWithin:
    """What is left of a variable after a weighted projection on unit and time effects.

    weights (T, N), 0 or more, 0 = left out; a balanced or an unbalanced panel with unit weights are special cases.
    The time effects solve (diag(sum_i w_it) - W diag(1 / sum_t w_it) W') l = sum_i w_it (x_it - xbar_i), xbar_i the
    weighted mean of a unit: the normal equations of least squares with dummies after unit effects are solved for.
    `effects` is the number of free unit and time effects; cells left out come out as zero.
    """

    weights: Floats
    solver: Floats
    effects: int

    @classmethod
    def of(cls, weights: Floats) -> WeightedWithin:
        """The transformation of weights (T, N); their scale does not matter."""
        per_unit = sums_by_unit_or_one(weights)
        normal = np.diag(weights.sum(axis=1)) - (weights / per_unit) @ weights.T
        scale = float(weights.sum(axis=1).max())
        solver = np.linalg.pinv(normal / scale, rcond=1e-10, hermitian=True) / scale
        rank = int(np.linalg.matrix_rank(normal / scale, tol=1e-10 * len(weights), hermitian=True))
        return cls(weights, solver, int((weights.sum(axis=0) > 0).sum()) + rank)

    def __call__(self, x: Floats) -> Floats:
        """(R, T, N) -> (R, T, N)."""
        per_unit = sums_by_unit_or_one(self.weights)
        seen = self.weights > 0
        x = np.where(seen, x, 0.0)
        unit = (self.weights * x).sum(axis=1, keepdims=True) / per_unit
        time = (self.weights * (x - unit)).sum(axis=2) @ self.solver
        x = x - time[:, :, None]
        return np.where(seen, x - (self.weights * x).sum(axis=1, keepdims=True) / per_unit, 0.0)


def sums_by_unit_or_one(weights: Floats) -> Floats:
    """Each unit's sum of weights, 1 for a unit without any, (N,)."""
    total = weights.sum(axis=0)
    return np.asarray(np.where(total > 0, total, 1.0))


@dataclass(frozen=True, eq=False, slots=True)
class ScaledWithin:
    """Two-way Q of variables that are times the root of weights, (T, N): root x -> root (x - effects by weights)."""

    within: WeightedWithin
    root: Floats

    @classmethod
    def of(cls, root: Floats) -> ScaledWithin:
        """That of the roots of weights, 0 = not observed."""
        return cls(WeightedWithin.of(np.square(root)), root)

    @property
    def effects(self) -> int:
        """Free unit and time effects."""
        return self.within.effects

    def __call__(self, x: Floats) -> Floats:
        """Q x, (R, T, N) -> (R, T, N)."""
        return self.root * self.within(x / np.where(self.root > 0, self.root, 1.0))


def weight_root(panel: Panel) -> Floats | None:
    """Roots of the panel's weights, which are brought to a sum of n over its n observed cells, (T, N), 0 elsewhere.

    None where the panel has none. Least squares of root y on root x are weighted ones, so that all errors follow from
    scaled variables and residuals. Raises BadInput for weights that are not positive, or that replications differ in.
    """
    name = panel.roles.weight
    if name is None:
        return None
    values, mask = panel.variables[panel.schema.require(name, "weight")], observed_mask(panel)
    if len(values) > 1 and (values != values[:1])[:, mask > 0].any():
        raise bad(f"replications differ in the weight {name!r}", where="panel weight",
                  allowed="one weight of each unit-period", remedy="fit the replications one by one")  # fmt: skip
    wrong = np.argwhere((mask > 0) & ~(values[0] > 0))
    if wrong.size:
        t, i = wrong[0]
        raise bad(f"the weight {name!r} is {values[0, t, i]:g} for unit {panel.units[i]} in {panel.periods[t]}",
                  where="panel weight", allowed="positive numbers",
                  remedy="correct it, or leave those rows out")  # fmt: skip
    weights = np.where(mask > 0, values[0], 0.0)
    return np.sqrt(weights / weights.max() * (mask.sum() / (weights / weights.max()).sum()))


@dataclass(frozen=True, eq=False, slots=True)
class EffectsProjection:
    """Q of effects of each unit and time effects of each group of units, any pattern of observations; exact.

    Unit i's own effects are the columns of a basis B (T, q) on its observed rows, with annihilator A_i (T, T); the time
    effects of group g then solve (sum_i A_i) l = sum_i A_i x_i over the units of g (Frisch and Waugh), and
    Q x_i = A_i (x_i - l). `effects` is the number of free effects; unobserved cells come out as zero.

    root: of weights; all columns are then times the root, and so must be x: with r_i the root on the diagonal the
    columns of B are r_i B, (sum_i r_i A_i r_i) l = sum_i r_i A_i x_i and Q x_i = A_i (x_i - r_i l).
    """

    effects: int
    mask: Floats  # (T, N)
    annihilators: Floats  # (N, T, T)
    members: Floats | None = None  # (G, N), 1 where unit i has the time effects of group g; None = no time effects
    solvers: Floats | None = None  # (G, T, T), pseudo-inverses of the matrices above
    root: Floats | None = None  # (T, N), None = no weights

    @classmethod
    def of(
        cls, panel: Panel, basis: Floats, groups: NDArray[np.intp] | None, root: Floats | None = None
    ) -> EffectsProjection:
        """The projection of a panel: basis (T, q) of unit effects, groups (N,) coded 0, 1, ... of the time effects."""
        mask = observed_mask(panel)
        own = (mask if root is None else root).T[:, :, None] * basis  # (N, T, q)
        effects = int(np.linalg.matrix_rank(own, rtol=TINY).sum()) if basis.shape[1] else 0
        annihilators = mask.T[:, :, None] * np.eye(len(mask)) - own @ np.linalg.pinv(own, rtol=TINY)
        if groups is None:
            return cls(effects, mask, annihilators)
        members = (np.arange(int(groups.max()) + 1)[:, None] == groups).astype(np.float64)
        pulled, sizes = annihilators, members.sum(axis=1)
        if root is not None:
            pulled = root.T[:, :, None] * annihilators * root.T[:, None, :]
            sizes = (members @ np.square(root).T).max(axis=1)
        normal = np.tensordot(members, pulled, axes=1)
        values, vectors = np.linalg.eigh(normal)
        free = values > TINY * sizes[:, None]
        inverses = np.where(free, 1.0 / np.where(free, values, 1.0), 0.0)
        solvers = (vectors * inverses[:, None, :]) @ vectors.transpose(0, 2, 1)
        return cls(effects + int(free.sum()), mask, annihilators, members, solvers, root)

    def __call__(self, x: Floats) -> Floats:
        """Q x, (R, T, N) -> (R, T, N)."""
        by_unit = np.where(self.mask > 0, x, 0.0).transpose(2, 1, 0)
        if self.members is not None and self.solvers is not None:
            root = None if self.root is None else self.root.T[:, :, None]
            left = self.annihilators @ by_unit
            sums = np.tensordot(self.members, left if root is None else root * left, axes=1)
            time = np.tensordot(self.members.T, self.solvers @ sums, axes=1)
            by_unit = by_unit - (time if root is None else root * time)
        return np.ascontiguousarray((self.annihilators @ by_unit).transpose(2, 1, 0))


@dataclass(frozen=True, eq=False, slots=True)
class GrandMean:
    """Takes out the grand mean over observed cells (effects = 1), or nothing (0); unobserved cells come out as zero.

    root: of weights, times which x and the column of ones are; None = no weights.
    """

    effects: int
    mask: Floats  # (T, N)
    root: Floats | None = None  # (T, N)

    def __call__(self, x: Floats) -> Floats:
        """x less its mean, (R, T, N) -> (R, T, N)."""
        observed = np.where(self.mask > 0, x, 0.0)
        if not self.effects:
            return observed
        if self.root is not None:
            mean = (self.root * observed).sum(axis=(1, 2), keepdims=True) / np.square(self.root).sum()
            return np.asarray(observed - mean * self.root)
        return (observed - observed.sum(axis=(1, 2), keepdims=True) / self.mask.sum()) * self.mask


Transform = WithinTransform | ScaledWithin | EffectsProjection | GrandMean
BY_PERIOD = "-by-period"


def check_effects(effects: tuple[str, ...], schema: Schema, asked_by: str) -> None:
    """Raise BadInput for effects that do not exist, repeat or do not go together."""
    grouped = [name for name in effects if name.endswith(BY_PERIOD)]
    allowed = ("unit", "period", "unit-trend", *(f"{name}{BY_PERIOD}" for name in schema.attributes))
    faults = {
        "repeat": len(set(effects)) < len(effects),
        "are unknown": not set(effects) <= set(allowed),
        "hold more than one attribute by period": len(grouped) > 1,
        "hold unit-trend without unit": "unit-trend" in effects and "unit" not in effects,
    }
    for fault, present in faults.items():
        if present:
            raise bad(f"effects = {list(effects)} {fault}", where=asked_by, allowed=one_of(allowed),
                      remedy='set effects = ["unit", "period"]')  # fmt: skip


def transform_of(effects: tuple[str, ...], panel: Panel, *, constant: bool, root: Floats | None = None) -> Transform:
    """The projection that takes out checked effects; without any it takes out the constant, if there is one.

    root (T, N): of weights, as `weight_root` makes it; the projection is then of variables times it.
    """
    if not effects:
        return GrandMean(int(constant), observed_mask(panel), root)
    if set(effects) == {"unit", "period"}:
        return WithinTransform.of(panel) if root is None else ScaledWithin.of(root)
    years = np.array(panel.periods, dtype=np.float64)
    columns = []
    if "unit" in effects:
        columns.append(np.ones_like(years))
    if "unit-trend" in effects:
        columns.append((years - years.mean()) / max(np.ptp(years), 1.0))
    basis = np.column_stack(columns) if columns else np.empty((len(years), 0))
    grouped = [name.removesuffix(BY_PERIOD) for name in effects if name.endswith(BY_PERIOD)]
    groups = None
    if grouped:
        groups = np.unique(panel.attributes[grouped[0]], return_inverse=True)[1]
    elif "period" in effects:
        groups = np.zeros(len(panel.units), dtype=np.intp)
    return EffectsProjection.of(panel, basis, groups, root)


def nested_in(clusters: tuple[str, ...], effects: tuple[str, ...], panel: Panel) -> tuple[str, ...]:
    """The effects whose every level lies within one cluster of some of the groupings: unit, period, attributes."""
    units, found = len(panel.units), []
    for effect in effects:
        by_period, nested = effect.endswith(BY_PERIOD), False
        for cluster in clusters:
            if cluster == "period":
                nested |= effect == "period" or by_period
            elif not by_period:
                nested |= effect != "period"
            else:
                inner = np.unique(panel.attributes[effect.removesuffix(BY_PERIOD)], return_inverse=True)[1]
                codes = np.arange(units) if cluster == "unit" else panel.attributes[cluster]
                outer = np.unique(codes, return_inverse=True)[1]
                nested |= len(np.unique(inner * units + outer)) == len(np.unique(inner))
        if nested:
            found.append(effect)
    return tuple(found)


def without_singletons(panel: Panel, effects: tuple[str, ...]) -> Panel:
    """The panel without observations that are the only one of a unit, a period or a group in a period (Correia 2015).

    They have no residual beside the effects. Taking one out may leave another alone, so it is repeated; a panel of
    nothing but singletons is returned as it is, for its regressors to be refused.
    """
    seen = observed_mask(panel) > 0
    levels = [effect_levels(effect, panel) for effect in effects if effect != "unit-trend"]
    left = seen
    while True:
        kept = left.copy()
        for codes in levels:
            alone = np.bincount(codes[kept], minlength=int(codes.max()) + 1) == 1
            kept &= ~alone[codes]
        if (kept == left).all():
            break
        left = kept
    return panel if (left == seen).all() or not left.any() else replace(panel, observed=left[None])


def effect_levels(effect: str, panel: Panel) -> NDArray[np.intp]:
    """The level of an effect, other than a trend, of every cell, coded 0, 1, ..., (T, N)."""
    t, n = len(panel.periods), len(panel.units)
    if effect == "unit":
        return np.tile(np.arange(n), (t, 1))
    if effect == "period":
        return np.repeat(np.arange(t)[:, None], n, axis=1)
    groups = np.unique(panel.attributes[effect.removesuffix(BY_PERIOD)], return_inverse=True)[1]
    return np.asarray(groups + (groups.max() + 1) * np.arange(t)[:, None], dtype=np.intp)


UNDATED = -1  # in place of dates: the treatment is not absorbing


class Tile:
    """A view of a panel that remembers what estimators derive from it. Arrays are (1 or R, T, N).

    weighted: whether demeaned variables and sums of squares are those of the panel's weights, where it has some, as
    `ScaledWithin` has them; lags never are.
    """

    def __init__(self, panel: Panel, *, weighted: bool = False) -> None:
        self.panel = panel
        self.root = weight_root(panel) if weighted else None
        self._memo: dict[tuple[str, ...], Floats] = {}
        self._adoptions: dict[str, NDArray[np.int16] | None] = {}

    @cached_property
    def transform(self) -> WithinTransform:
        """The two-way within transformation of this panel's pattern of observations."""
        return WithinTransform.of(self.panel)

    @cached_property
    def _weighted(self) -> WeightedWithin:
        assert self.root is not None
        return WeightedWithin.of(np.square(self.root))

    def raw(self, name: str) -> Floats:
        """A variable as it is in the panel."""
        return self.panel.variables[name]

    def lag(self, name: str, weights: str) -> Floats:
        """The spatial lag W x."""
        return self._remember(("lag", name, weights))

    def within(self, name: str, effects: PanelEffects = "two-way") -> Floats:
        """The variable without unit and time effects, Q x; of a balanced panel without other effects."""
        return self._remember(("within", name) if effects == "two-way" else ("without", effects, name))

    def within_lag(self, name: str, weights: str, effects: PanelEffects = "two-way") -> Floats:
        """Q (W x): lagged first, then demeaned (equal to time dummies)."""
        if effects == "two-way":
            return self._remember(("within lag", name, weights))
        return self._remember(("without", effects, name, weights))

    def first_treated(self, name: str) -> NDArray[np.int16] | None:
        """As `first_treated`, of a variable of a balanced panel; None where cells are missing."""
        if name not in self._adoptions:
            balanced = self.transform.mask is None
            self._adoptions[name] = first_treated(self.raw(name)) if balanced else None
        return self._adoptions[name]

    def raw_sum_of_squares(self, name: str) -> Floats:
        """Sum of squares over observed cells, (1 or R,)."""
        return self._remember(("raw squares", name))

    def within_sum_of_squares(self, name: str) -> Floats:
        """Sum of squares of Q x, (1 or R,)."""
        return self._remember(("within squares", name))

    def total_sum_of_squares(self, name: str) -> Floats:
        """Sum of squares around the grand mean over observed cells, (R,)."""
        return self._remember(("total", name))

    def _remember(self, key: tuple[str, ...]) -> Floats:
        if key in self._memo:
            return self._memo[key]
        match key:
            case ("lag", name, weights):
                values = self.panel.weights[weights].lag(self.raw(name))
            case ("without", effects, name, *weights):
                values = self.lag(name, weights[0]) if weights else self.raw(name)
                values = demeaned(values, effects)  # type: ignore[arg-type]
            case ("within", name) if self.root is not None:
                values = self.root * self._weighted(self.raw(name))
            case ("within", name) if self.transform.mask is None:
                values, self._memo["between squares", name] = balanced_split(self.raw(name))
            case ("within", name):
                values = self.transform(self.raw(name))
            case ("within squares", name):
                values = _squares(self.within(name).reshape(-1, self.raw(name)[0].size))
            case ("raw squares", name):
                values = _squares(self._observed(name))
            case ("total", name) if self.root is not None:
                root, seen = self.root[self.root > 0], self._observed(name)
                values = _squares(seen - root * (seen @ root / root.size)[:, None])
            case ("total", name) if self.transform.mask is None:  # what is left within, and between units and periods
                values = self.within_sum_of_squares(name) + self._memo["between squares", name]
            case ("total", name):
                seen = self._observed(name)
                values = np.asarray(np.square(seen - seen.mean(axis=1, keepdims=True)).sum(axis=1))
            case (_, name, weights):  # Q W x; where Q W x = Q_N W Q x it needs one demeaning less
                w = self.panel.weights[weights]
                if w.row_stochastic and self.transform.mask is None:
                    values = w.lag(self.within(name), centred=True)
                else:
                    values = self.transform(self.lag(name, weights))
        self._memo[key] = values
        return values

    def _observed(self, name: str) -> Floats:
        """Values of observed cells, (1 or R, cells)."""
        x, mask = self.raw(name), self.transform.mask
        if self.root is not None:
            return x[:, self.root > 0] * self.root[self.root > 0]
        return x.reshape(x.shape[0], -1) if mask is None else x[:, mask > 0]


def _squares(flat: Floats) -> Floats:
    """Sums of squares over the last axis."""
    return np.asarray(np.vecdot(flat, flat))


def first_treated(d: Floats) -> NDArray[np.int16] | None:
    """First treated periods (B, N), T = never, of treatments d (B, T, N); None unless all are 0/1 and absorbing."""
    first = dates_of(d)
    return None if (first == UNDATED).any() else first


def dates_of(d: Floats) -> NDArray[np.int16]:
    """The same with UNDATED in the rows of treatments that are not."""
    absorbing = ((d == 0) | (d == 1)).all(axis=(1, 2)) & (d[:, 1:] >= d[:, :-1]).all(axis=(1, 2))
    return np.where(absorbing[:, None], d.shape[1] - d.sum(axis=1), UNDATED).astype(np.int16)


def spread(array: Floats, rows: int) -> Floats:
    """The same for every one of `rows` replications when the leading axis is 1: (1 or R, ...) -> (R, ...)."""
    return array if array.shape[0] == rows else np.broadcast_to(array, (rows, *array.shape[1:]))
