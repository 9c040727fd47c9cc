"""Two-way regressions on dummies of adoption and fixed controls, prepared once for all outcomes of a calendar.

The two-way event study with binned endpoints, on R panels at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from scipy.sparse import csr_array

from estimators.core import regression as ols
from estimators.core.estimator import Home, WeightUse
from estimators.core.tile import ScaledWithin, WeightedWithin, WithinTransform, sums_by_unit_or_one, weight_root
from estimators.staggered.adoption_effects import (
    AdoptionEffects,
    Aggregation,
    CohortEffects,
    CohortPeriods,
    Cohorts,
    LinearFit,
    event_averages,
)
from sim.arrays import Codes, Flags, Floats
from sim.errors import bad, listed
from sim.panel import Panel
from sim.presets import Paper

# The first stage of imputation and two-stage estimators: effects and controls fitted on untreated observations.
#
# y_it = mu_i + lambda_t + x_it'b over untreated (i, t), extended to all (i, t) of the units; the adjusted outcome
# u_it = y_it - mu_i - lambda_t - x_it'b is the residual where untreated and the imputed effect where treated. A
# weighted sum w'u is linear in y, w'u = v'y with v = w - Z0 (Z0'Z0)^-1 Z'w on untreated rows, v = w elsewhere
# (Borusyak, Jaravel and Spiess 2024, proposition 2). With weights W of untreated rows the fit is weighted least
# squares and v = w - W Z0 (Z0'W Z0)^-1 Z'w there.


@dataclass(frozen=True, eq=False, slots=True)
class UntreatedFit:
    """Prepared effects and controls of the untreated observations.

    mask (T, N): 1, or the unit's weight, where untreated and used; solver (T, T) of its time effects; x (C, T, N):
    controls less the effects fitted on untreated rows, in all rows; bread (C, C): inverse of their cross products over
    untreated rows, by weight. sound: the controls can be told apart there.
    """

    mask: Floats
    solver: Floats
    x: Floats
    bread: Floats
    sound: bool

    @classmethod
    def of(cls, panel: Panel, cohorts: Cohorts, controls: tuple[str, ...], asked_by: str) -> UntreatedFit:
        """The fit of a panel's first replication; raises BadInput for periods in which every unit is treated.

        Units treated from the first period on have no untreated observation and take no part.
        """
        t = len(cohorts.periods)
        mask = (np.arange(t)[:, None] < cohorts.first).astype(np.float64)
        empty = [period for period, row in zip(cohorts.periods, mask, strict=True) if not row.any()]
        if empty:
            raise bad(f"no unit is untreated in {listed(empty)}", where=asked_by,
                      allowed="a never or not yet treated unit in every period",
                      remedy="leave out those periods, or add untreated units")  # fmt: skip
        if cohorts.weights is not None:
            mask = mask * cohorts.weights
            solver = WeightedWithin.of(mask).solver
        else:
            within = WithinTransform.of(replace(panel, observed=mask[None] > 0))
            assert within.solver is not None  # treated cells are gaps
            solver = within.solver
        empty_fit = cls(mask, solver, np.empty((0, *mask.shape)), np.empty((0, 0)), sound=True)
        if not controls:
            return empty_fit
        raw = np.stack([panel.variables[name][0] for name in controls])
        x = empty_fit.adjusted(raw)
        root = np.sqrt(mask[mask > 0])
        bread, sound = invert_partialled(root * raw[:, mask > 0], root * x[:, mask > 0])
        return cls(mask, solver, x, bread, sound)

    @property
    def seen(self) -> Floats:
        """1 where untreated and used, (T, N)."""
        return (self.mask > 0).astype(np.float64)

    def adjusted(self, y: Floats) -> Floats:
        """u of outcomes, (R, T, N) -> (R, T, N); without meaning for units without untreated rows."""
        per_unit = sums_by_unit_or_one(self.mask)
        visible = y * self.mask
        mean = visible.sum(axis=1) / per_unit
        time = (visible.sum(axis=2) - mean @ self.mask.T) @ self.solver
        u = y - (mean - time @ self.mask / per_unit)[:, None, :]
        u -= time[:, :, None]
        if not len(self.x):
            return u
        visible = (self.x * self.mask).reshape(len(self.x), -1)
        b = u.reshape(len(u), u.shape[1] * u.shape[2]) @ visible.T @ self.bread
        return u - np.reshape(b @ self.x.reshape(len(self.x), -1), u.shape)

    def first_stage(self, w: Floats) -> Floats:
        """Z0 (Z0'Z0)^-1 Z'w, what a weighted sum w'u owes to the first stage, (K, T, N) -> (K, T, N)."""
        per_unit = sums_by_unit_or_one(self.mask)
        unit, time = w.sum(axis=1), w.sum(axis=2)
        dual_time = (time - (unit / per_unit) @ self.mask.T) @ self.solver
        dual_unit = (unit - dual_time @ self.mask) / per_unit
        owed = (dual_unit[:, None, :] + dual_time[:, :, None]) * self.mask
        if not len(self.x):
            return owed
        through = w.reshape(len(w), -1) @ self.x.reshape(len(self.x), -1).T @ self.bread
        return owed + np.reshape(through @ (self.x * self.mask).reshape(len(self.x), -1), owed.shape)


def invert_partialled(raw: Floats, left: Floats) -> tuple[Floats, bool]:
    """Inverse cross products of what is left of regressors (C, n) after a projection, and whether they are sound.

    NaN when nothing is left of one, `raw` (C, n) being what there was, or when they are collinear.
    """
    before = np.square(raw - raw.mean(axis=1, keepdims=True)).sum(axis=1)
    absorbed = (np.square(left).sum(axis=1) <= ols.ABSORBED * before).any()
    bread, sound = ols.invert((left @ left.T)[None])
    if absorbed or not sound[0]:
        return np.full_like(bread[0], np.nan), False
    return bread[0], True


@dataclass(frozen=True, eq=False, slots=True)
class Averages:
    """Group means of adjusted outcomes over some cells, and what is left after them.

    cells (n,): flat places in (T, N); codes (n,): group of each, 0, 1, ...; every group has a cell. weights (n,): of
    the means, None = simple ones.
    """

    cells: Codes
    codes: Codes
    weights: Floats | None = None

    @classmethod
    def of(cls, groups: Codes, weights: Floats | None = None) -> Averages:
        """The averages over groups (T, N); a negative group is left alone. weights (N,): of units."""
        cells = np.flatnonzero(groups.ravel() >= 0)
        own = None if weights is None else np.broadcast_to(weights, groups.shape).ravel()[cells]
        return cls(cells, np.unique(groups.ravel()[cells], return_inverse=True)[1], own)

    def residuals(self, u: Floats) -> Floats:
        """u less the mean of its group, (R, T, N) -> (R, T, N)."""
        member = self.codes[:, None] == np.arange(self.codes.max() + 1)
        share = member / np.bincount(self.codes)
        if self.weights is not None:
            share = member * self.weights[:, None] / (self.weights @ member)
        out = u.copy()
        flat = out.reshape(len(u), -1)
        among = flat[:, self.cells]
        flat[:, self.cells] = among - (among @ share)[:, self.codes]
        return out

    def alone(self, w: Floats) -> Flags:
        """Terms whose weights (K, T, N) fall on groups of one unit only, whose mean is all that it does, (K,)."""
        weights, n = w.reshape(len(w), -1)[:, self.cells] != 0, w.shape[-1]
        units = np.bincount(np.unique(self.codes * n + self.cells % n) // n)  # of each group
        return np.asarray(weights.any(axis=1) & ~weights[:, units[self.codes] > 1].any(axis=1))


def sums_by_unit(e: Floats, by_unit: Floats) -> Floats:
    """sum_t v_it e_it, (R, K, N), of e (R, T, N) and weights with units first, (N, T, K)."""
    return np.matmul(e.transpose(2, 0, 1), by_unit).transpose(1, 2, 0)


def units_first(v: Floats) -> Floats:
    """(K, T, N) -> (N, T, K), contiguous."""
    return np.ascontiguousarray(v.transpose(2, 1, 0))


# What units add to errors through estimated weights of cohorts: derivatives (P, K, G + 1) of terms with respect to the
# number of units in a cohort, by the dummies' slopes, the last for units of none; cohort (N,): place of each; weights
# (N,): of units, None = 1.
Shares = tuple[Floats, Codes, Floats | None]


@dataclass(frozen=True, eq=False, slots=True)
class DummyRegression(LinearFit):
    """y on dummies, controls, unit and period effects by least squares; terms are combinations of the dummies' slopes.

    dummies (P, T N), sparse; x (C, T, N): controls less the effects; solution (P + C, P + C): inverse cross products of
    both less the effects; combine (K, P + C); psi (N, T, K): theta = psi'y. Contributions are psi_it e_it summed over a
    unit's periods. root (T, N): of weights, None = none; all columns and outcomes are then times it.
    """

    within: WithinTransform | ScaledWithin
    dummies: csr_array
    x: Floats
    solution: Floats
    combine: Floats
    psi: Floats
    shares: Shares | None = None
    root: Floats | None = None

    @classmethod
    def of(
        cls, panel: Panel, cells: Flags, dummies: Floats, controls: tuple[str, ...], combine: Floats, compared: Flags,
        certain: Flags | None = None, shares: Shares | None = None, root: Floats | None = None,
    ) -> DummyRegression:  # fmt: skip
        """The regression on some cells (T, N) of dummies (P, T, N); combine (K, P), NaN for what is not identified.

        compared (N,), certain (K,) as in `LinearFit`, None = all; root (T, N): of weights, None = none.

        The factor of clusters counts slopes and period effects, as `did` does by default.
        """
        own = None if root is None else root * cells
        within = WithinTransform.of(replace(panel, observed=cells[None])) if own is None else ScaledWithin.of(own)
        scale = cells if own is None else own
        raw = np.concatenate([dummies, *(panel.variables[name][:1] for name in controls)]) * scale
        x = within(raw)
        solution, sound = invert_partialled(raw[:, cells], x[:, cells])
        identified = np.isfinite(combine).all(axis=1)
        padded = np.column_stack([np.nan_to_num(combine), np.zeros((len(combine), len(controls)))])
        psi = np.reshape(padded @ solution @ x.reshape(len(x), -1), (len(combine), *cells.shape))
        periods = int(cells.any(axis=1).sum())
        return cls(
            identified=identified,
            certain=identified if certain is None else certain,
            used=cells.any(axis=0),
            treated=dummies.any(axis=(0, 1)),
            compared=compared,
            averaged=(np.nan_to_num(combine) != 0) @ (dummies * cells).any(axis=1),
            sample=(int(cells.sum()), len(x) + periods),
            sound=sound,
            within=within,
            dummies=csr_array((dummies if own is None else dummies * own).reshape(len(dummies), -1)),
            x=x[len(dummies) :],
            solution=solution,
            combine=padded,
            psi=units_first(psi),
            shares=shares,
            root=own,
        )

    def __call__(self, y: Floats) -> tuple[Floats, Floats]:
        """Terms (R, K) and contributions (R, K, N)."""
        qy = self.within(y if self.root is None else y * self.root)
        flat = qy.reshape(len(y), -1)
        slopes = np.column_stack([(self.dummies @ flat.T).T, ols.inner(self.x[None], qy)]) @ self.solution
        split = self.dummies.shape[0]
        explained = np.reshape((self.dummies.T @ slopes[:, :split].T).T, qy.shape)
        e = ols.residual(qy - self.within(explained), self.x[None], slopes[:, split:])
        contributions = sums_by_unit(e, self.psi)
        if self.shares is not None:
            derivatives, cohort, weights = self.shares
            each = np.tensordot(slopes[:, :split], derivatives, axes=1)[:, :, cohort]
            contributions = contributions + (each if weights is None else each * weights)
        return slopes @ self.combine.T, contributions


@dataclass(frozen=True, slots=True)
class EventStudy(AdoptionEffects):
    """Outcome on dummies of periods since adoption, controls, unit and period effects (two-way fixed effects).

    The last period before adoption is the reference; the ends of the window stand for all earlier and all later periods
    (binned; earlier ones have a dummy of their own that is not reported where the window starts at -1 or 0), so that
    event(K) of the last bin has no estimand. Never treated units have no dummy; units treated from
    the first period on are left out. `overall` weights event(K), K >= 0, by treated unit-periods, overall:event weights
    them equally. Coefficients mix effects of other event times when cohorts differ (Sun and Abraham 2021);
    `sun-abraham` and the others of its kind do not.

    Errors are clustered with the factor G/(G-1) (n-1)/(n-k), k counting slopes and period effects, and t of G - 1.

    >>> import panelproof as pp
    >>> found = pp.EventStudy()(pp.example_panel().panel)
    >>> print(f"{found.params['event(0)']:.3f} ({found.std_errors['event(0)']:.3f})")
    0.037 (0.018)
    """

    kind: ClassVar[str] = "event-study"
    weight_use: ClassVar[WeightUse] = "used"
    # home: the `paper` design: effects are the same in all cohorts and event times
    home: ClassVar[Home] = (Paper(), ("overall", "overall:event", "event(0)", "event(3)"))

    def targets(self) -> dict[str, str]:
        """Estimands of the averages and of event times from adoption to the one before the last bin."""
        exact = {f"event({k})": f"event({k})" for k in range(self.window[1])}
        return {"overall": "att", "overall:event": "att_event"} | exact

    def fit(self, panel: Panel) -> DummyRegression:
        """The regression; raises BadInput when no unit is seen before adoption or dummies are collinear."""
        _, treatment, controls = self.names(panel.schema)
        cohorts = Cohorts.of(panel, treatment, self.name)
        low, high = min(self.window[0], -2), self.window[1]
        since = np.arange(len(cohorts.periods))[:, None] - cohorts.first
        used = cohorts.first > 0
        binned = np.where(used & ~cohorts.never, np.clip(since, low, high), -1)
        events = [k for k in range(low, high + 1) if k != -1 and (binned == k).any()]
        dummies = np.array([(binned == k) & used for k in events], dtype=np.float64)
        root = weight_root(panel)
        counts = (dummies if root is None else dummies * np.square(root)).sum(axis=(1, 2))
        cells, combine = np.broadcast_to(used, since.shape), event_averages(self.terms(), events, counts)
        compared = used & cohorts.later
        fit = DummyRegression.of(panel, cells, dummies, controls, combine, compared, root=root)
        if not (fit.sound or DummyRegression.of(panel, cells, dummies, (), combine, compared, root=root).sound):
            raise bad("event times are collinear with the effects", where=self.name,
                      allowed="never treated units, or a window whose ends hold several event times",
                      remedy="choose a shorter window")  # fmt: skip
        return fit


# The interaction-weighted estimator of Sun and Abraham (2021), on R panels at once.


@dataclass(frozen=True, slots=True)
class SunAbraham(CohortEffects):
    """Outcome on cohort by period dummies, controls, unit and period effects; averages of these by cohort size.

    Every cohort's last period before adoption is its reference, and never treated units are the control group; without
    any the last cohort is, and the periods from its adoption on are left out. Units treated from the first period on
    are left out. Without controls att(G,T) is the cohort's change since G - 1 less that of the control group: the
    estimator of Callaway and Sant'Anna with never treated controls and a universal base period. event(K), K < 0, uses
    the cohorts seen at K.

    Errors are clustered with the factor G/(G-1) (n-1)/(n-k), k counting slopes and period effects, and t of G - 1.

    cohorts, years: those reported as att(G,T), cohort(G) and calendar(T). estimated_shares: whether errors add the
    sampling error of the cohorts' shares (Sun and Abraham, proposition 3), which holds the error to the average effect
    of a population; without it (fixest, pyfixest), to that of the panel's own units. Either needs cohorts of several
    units, for a unit alone in its cohort has no residual: the error of a term of such cohorts only is NaN, that of an
    average that holds some too small. On the `paper` design, cohorts of 1 to 12 cities, 95% intervals of `overall` and
    event(0) to event(5) cover 94 to 96% with the shares' error, 87 to 91% without, those of overall:event and
    overall:calendar 87 and 73%.

    >>> import panelproof as pp
    >>> found = pp.SunAbraham()(pp.example_panel().panel)
    >>> print(f"{found.params['event(3)']:.3f}")
    0.035
    """

    kind: ClassVar[str] = "sun-abraham"
    weight_use: ClassVar[WeightUse] = "used"
    has_reference: ClassVar[bool] = True
    # home: the `paper` design with one date: its own cohorts, of one to twelve cities, are too small for the
    # errors
    home: ClassVar[Home] = (Paper(calendar="single"), ("overall", "overall:event", "event(0)", "event(3)"))

    estimated_shares: bool = True

    def fit(self, panel: Panel) -> DummyRegression:
        """The saturated regression; raises BadInput without a control group."""
        _, treatment, controls = self.names(panel.schema)
        cohorts = Cohorts.of(panel, treatment, self.name)
        t = len(cohorts.periods)
        last = t if cohorts.never.any() else cohorts.firsts[-1]
        shown = np.arange(t) < last
        treated = np.array([first for first in cohorts.firsts if first < last])
        if not treated.size:
            raise bad("all units adopt at once", where=self.name, allowed="never treated units, or a later cohort",
                      remedy="add untreated units")  # fmt: skip
        cells = CohortPeriods(*np.nonzero(shown & (np.array(cohorts.firsts)[:, None] < last)))
        aggregation = Aggregation.of(self.terms(), cells, cohorts)
        weights = aggregation.known
        several = np.array([cohorts.size(first) > 1 for first in cohorts.firsts])[cells.cohort]
        moves = cells.period != np.array(cohorts.firsts)[cells.cohort] - 1  # the others are references
        dummies = np.zeros((int(moves.sum()), t, len(cohorts.first)))
        for row, (g, period) in enumerate(zip(cells.cohort[moves], cells.period[moves], strict=True)):
            dummies[row, period] = cohorts.first == cohorts.firsts[g]
        shares = None
        if self.estimated_shares:
            derivatives = np.pad(aggregation.slopes[:, :, moves].transpose(2, 0, 1), ((0, 0), (0, 0), (0, 1)))
            places = np.searchsorted(cohorts.firsts, cohorts.first)  # never treated units come last
            shares = derivatives, np.where(cohorts.first > 0, places, len(cohorts.firsts)), cohorts.weights
        return DummyRegression.of(
            panel, shown[:, None] & (cohorts.first > 0), dummies, controls, weights[:, moves],
            cohorts.first >= last, (np.nan_to_num(weights)[:, several] != 0).any(axis=1), shares,
            None if cohorts.weights is None else np.sqrt(np.broadcast_to(cohorts.weights, (t, len(cohorts.first)))),
        )  # fmt: skip
