"""Regressions with unit and period effects and an effect of each cohort in each treated period.

So effects that grow, fade or differ by cohort leave the residuals. Equal to imputing treated unit-periods by cohort
(Borusyak, Jaravel and Spiess 2024, section 4; Wooldridge 2021). The regression falls into two parts that are
orthogonal: deviations from the means of cohorts, which are free of the effects and know the units' effects alone, and
the means of cohorts, of which the untreated ones alone decide on period effects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from experiments.twins.statistics import Split, lead_dummies, least_squares, ratio, split, without
from sim.arrays import Floats

TINY = 1e-10  # share of the largest eigenvalue below which one counts as zero


@dataclass(frozen=True, eq=False)
class CohortEffects:
    """Cohorts of a calendar, or of R calendars: members (1 or R, G, N), 1 where a unit belongs to a cohort; untreated
    (1 or R, G, T), 1 where a cohort is not treated yet."""

    members: Floats
    untreated: Floats

    @classmethod
    def of(cls, treatment: Floats | None) -> CohortEffects | None:
        """The cohorts of a treatment (1 or R, T, N) of 0 and 1 that lasts; None for another one, or where one
        calendar has no cohort of two units, so that no residual of a treated unit-period is left."""
        if treatment is None or not np.isin(treatment, (0.0, 1.0)).all() or (np.diff(treatment, axis=1) < 0).any():
            return None
        periods = treatment.shape[1]
        first = periods - treatment.sum(axis=1).astype(np.intp)  # T where a unit is never treated
        dates = np.unique(first) if len(first) == 1 else np.arange(periods + 1)
        members = (first[:, None, :] == dates[:, None]).astype(np.float64)
        treated = (dates > 0) & (dates < periods)
        if len(first) == 1 and members[0][treated].sum(axis=1).max(initial=0.0) < 2:
            return None
        untreated = (np.arange(periods) < dates[:, None]).astype(np.float64)
        return cls(members, np.broadcast_to(untreated, (len(members), *untreated.shape)))

    @cached_property
    def sizes(self) -> Floats:
        """Units of each cohort, (1 or R, G)."""
        return np.asarray(self.members.sum(axis=2))

    @cached_property
    def spans(self) -> Floats:
        """Untreated periods of each cohort, at least 1, (1 or R, G)."""
        return np.maximum(self.untreated.sum(axis=2), 1.0)

    @cached_property
    def solver(self) -> Floats:
        """Inverse of the normal equations of the period effects after the cohorts' means are out, (1 or R, T, T)."""
        weight = self.sizes[:, :, None] * self.untreated
        normal = -np.einsum("rgt,rgs->rts", weight / self.spans[:, :, None], self.untreated)
        at = np.arange(normal.shape[1])
        normal[:, at, at] += weight.sum(axis=1)
        return np.asarray(np.linalg.pinv(normal, rcond=TINY, hermitian=True))

    def means(self, y: Floats) -> Floats:
        """Means of the cohorts of (R, T, N), (R, G, T); 0 for a cohort without units."""
        sums = np.matmul(y, self.members.transpose(0, 2, 1)).transpose(0, 2, 1)
        return np.asarray(sums / np.maximum(self.sizes, 1.0)[:, :, None])

    def levels(self, means: Floats) -> tuple[Floats, Floats]:
        """Effects of cohorts (R, G) and of periods (R, T) by the untreated means (R, G, T).

        A period in which all are treated, and a cohort that always is, are taken as untreated: their effect is 0.
        """
        own = (means * self.untreated).sum(axis=2) / self.spans
        sums = (self.sizes[:, :, None] * self.untreated * (means - own[:, :, None])).sum(axis=1)
        period = np.matmul(self.solver, sums[:, :, None])[:, :, 0]
        cohort = own - (self.untreated * period[:, None, :]).sum(axis=2) / self.spans
        begun = self.untreated.any(axis=2)
        weight = self.sizes * begun
        later = (weight[:, :, None] * (means - cohort[:, :, None])).sum(axis=1) / weight.sum(axis=1, keepdims=True)
        seen = (weight[:, :, None] * self.untreated).any(axis=1)
        period = np.where(seen, period, later)
        return np.where(begun, cohort, (means - period[:, None, :]).mean(axis=2)), period

    def residuals(self, y: Floats) -> Floats:
        """What the regression leaves of (R, T, N); differences from the first period, so that a level costs no
        digits."""
        y = y - y[:, :1]
        means = self.means(y)
        cohort, period = self.levels(means)
        between = self.untreated * (means - cohort[:, :, None] - period[:, None, :])
        shift = between - means + means.mean(axis=2, keepdims=True)
        out = np.matmul(shift.transpose(0, 2, 1), self.members)
        out += y
        out -= y.mean(axis=1, keepdims=True)
        return out

    def effects(self, y: Floats) -> tuple[Floats, Floats]:
        """Effects of units (R, N) and of periods (R, T), without their means."""
        means = self.means(y)
        cohort, period = self.levels(means)
        unit = y.mean(axis=1) + np.matmul((cohort - means.mean(axis=2))[:, None, :], self.members)[:, 0]
        return unit - unit.mean(axis=1, keepdims=True), period - period.mean(axis=1, keepdims=True)

    @cached_property
    def freedom(self) -> Floats:
        """Share of an independent error's variance that is left in each unit-period of one calendar, (1, T, N): 1
        less its leverage."""
        groups, periods = self.untreated.shape[1:]
        alone = np.eye(groups * periods).reshape(-1, groups, periods)
        cohort, period = self.levels(alone)
        left = self.untreated * (alone - cohort[:, :, None] - period[:, None, :])
        between = np.einsum("kk->k", left.reshape(len(alone), -1)).reshape(groups, periods)
        size = np.maximum(self.sizes[0], 1.0)[:, None]
        share = (1 - 1 / size) * (1 - 1 / periods) + between / size
        return np.asarray((share.T @ self.members[0])[None])


@dataclass(frozen=True, eq=False)
class Regression:
    """What an outcome is regressed on beside unit and period effects.

    regressors: (1 or R, T, N) each; effects are free of the first `removed`. cohorts: with effects of cohorts in each
    treated period, in which case the treatment is no regressor.
    """

    regressors: tuple[Floats, ...]
    removed: int
    cohorts: CohortEffects | None = None

    @classmethod
    def of(
        cls, treatment: Floats | None, controls: Sequence[Floats], *, controls_out: bool, by_cohort: bool = True
    ) -> Regression:
        """That of a treatment and controls; controls_out: whether effects are free of the controls too. by_cohort:
        whether there are effects of cohorts where the treatment allows it."""
        cohorts = CohortEffects.of(treatment) if by_cohort else None
        policy = () if treatment is None or cohorts is not None else (treatment,)
        return cls((*policy, *controls), len(policy) + (len(controls) if controls_out else 0), cohorts)

    def __call__(self, y: Floats) -> Split:
        """The regression of R outcomes (R, T, N)."""
        return self.with_further(y, ())

    def with_further(self, y: Floats, further: Sequence[Floats]) -> Split:
        """The regression with further regressors, (1 or R, T, N) each."""
        regressors = (*self.regressors, *further)
        if self.cohorts is None:
            return split(y, regressors, self.removed)
        moved = [self._moved(x, self.cohorts) for x in regressors]
        slopes, residuals = least_squares(self.cohorts.residuals(y), moved)
        return Split(slopes, residuals, *self.cohorts.effects(without(y, slopes, regressors[: self.removed])))

    @staticmethod
    def _moved(x: Floats, cohorts: CohortEffects) -> Floats:
        """What is left of a regressor; nothing but rounding is nothing."""
        left = cohorts.residuals(x)
        kept = np.square(left).sum(axis=(1, 2)) > TINY**2 * np.square(x).sum(axis=(1, 2))
        return np.asarray(left * kept[:, None, None])

    @property
    def count(self) -> Floats:
        """Coefficients besides unit and period effects, (1 or R,)."""
        if self.cohorts is None:
            return np.array([float(len(self.regressors))])
        filled = (self.cohorts.sizes > 0)[:, :, None]
        return np.asarray((filled & (self.cohorts.untreated == 0)).sum(axis=(1, 2)) + float(len(self.regressors)))


def pretrend_f(y: Floats, regression: Regression, treatment: Floats, leads: int) -> Floats:
    """F of the leads of adoption, (R,): whether treated units move apart 2 to leads + 1 periods before they are
    treated.

    y (R, T, N); treatment (1 or R, T, N): units that stay treated. NaN where nobody has such a period.
    """
    dummies = [x for x in lead_dummies(treatment, leads) if x.any()]
    rows, periods, units = y.shape
    if not dummies:
        return np.full(rows, np.nan)
    before, after = (
        np.square(regression.with_further(y, further).residuals).sum(axis=(1, 2)) for further in ((), dummies)
    )
    free = periods * units - periods - units + 1 - regression.count - len(dummies)
    return ratio((before - after) / len(dummies), after / np.maximum(free, 1))
