"""Matrix completion with nuclear norm (Athey, Bayati, Doudchenko, Imbens and Khosravi 2021), on R panels at once.

With O the untreated cells and y less the part of covariates, their estimator (equation 4.3 and section 4.2) minimises

    |O|^-1 sum_O (y_it - L_it - u_i - v_t)^2 + penalty ||L||_*

over L, unit effects u and period effects v, which are free. One sweep is u, then v by their first order conditions,
then L by singular value thresholding at penalty |O| / 2 of L + P_O(y - L - u - v) (Mazumder, Hastie and Tibshirani
2010). Sweeps go along falling penalties, each from the last one's end.

The penalty is chosen by cross-validation: `folds` times each untreated cell is kept with chance `kept`, and the mean
squared error in the others decides among penalties from the least that makes L zero in every fold down to a
thousandth of it in equal steps of its logarithm, and zero.

Where a sweep lowers the objective by less than the share `tolerance`, sweeps end. The authors' program, `mcnnm_cv` of
the R package MCPanel (Athey et al. 2021; numbers of Arkhangelsky et al. 2021 are with 20 penalties), stops at 1e-5,
which is before the minimum: what is published is that, and so are the defaults here. With 1e-10 it is the minimum.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np

from estimators.core import regression as ols
from estimators.core.estimator import Home, Moments
from estimators.synthetic.imputed_effects import (
    CellEffects,
    Completion,
    ImputedEffects,
    UnitPanels,
    UnitSamples,
    small_world,
    untreated_slopes,
)
from sim.arrays import Codes, Flags, Floats
from sim.errors import bad, listed
from sim.streams import Streams

SPAN = 1e-3  # the smallest positive penalty as a share of the largest
EXPLAINED = 1e-8  # share of the two-way fit's objective below which nothing is left to fit


@dataclass(frozen=True, eq=False, slots=True)
class State(Moments):
    """L (B, T, N) with its nuclear norm (B,), u (B, N), v (B, T)."""

    low_rank: Floats
    norm: Floats
    unit: Floats
    period: Floats

    def residual(self, y: Floats) -> Floats:
        """y - L - u - v."""
        return y - self.low_rank - self.unit[:, None, :] - self.period[:, :, None]

    def put(self, rows: Codes, other: State) -> None:
        """Set some of the panels to another state, in place."""
        for item in fields(self):
            getattr(self, item.name)[rows] = getattr(other, item.name)


@dataclass(frozen=True, eq=False, slots=True)
class Masked(Moments):
    """Outcomes (B, T, N) seen where mask is 1; counts as in `CellEffects`; floor (B,): objective that counts as 0."""

    y: Floats
    mask: Floats
    of_units: Floats
    of_periods: Floats
    cells: Floats
    floor: Floats

    @classmethod
    def of(cls, y: Floats, effects: CellEffects) -> tuple[Masked, State, Floats]:
        """With the state of L = 0 and the least penalties (B,) of which it is the solution."""
        unit, period = effects(y)
        rest = np.where(effects.mask > 0, y - unit[:, None, :] - period[:, :, None], 0.0)
        state = State(np.zeros_like(y), np.zeros(len(y)), unit, period)
        floor = EXPLAINED * ols.dot(rest, rest) / effects.cells
        masked = cls(y, effects.mask, effects.of_units, effects.of_periods, effects.cells, floor)
        largest = np.sqrt(np.maximum(np.linalg.eigvalsh(second_moments(rest))[:, -1], 0.0))
        return masked, state, 2 * largest / effects.cells

    def error(self, state: State) -> Floats:
        """Mean squared residual of the cells seen, (B,)."""
        rest = self.mask * state.residual(self.y)
        return np.asarray(ols.dot(rest, rest) / self.cells)

    def sweep(self, state: State, penalty: Floats) -> State:
        """u, v and L in turn, each at its optimum given the others."""
        rest = self.mask * (self.y - state.low_rank)
        unit = (rest - self.mask * state.period[:, :, None]).sum(axis=1) / self.of_units
        period = (rest - self.mask * unit[:, None, :]).sum(axis=2) / self.of_periods
        target = state.low_rank + rest - self.mask * (unit[:, None, :] + period[:, :, None])
        return State(*thresholded(target, penalty * self.cells / 2), unit, period)


def second_moments(x: Floats) -> Floats:
    """Products of the shorter side of (B, T, N), (B, T, T) or (B, N, N)."""
    other = x.transpose(0, 2, 1)
    return np.asarray(x @ other if x.shape[1] <= x.shape[2] else other @ x)


def thresholded(x: Floats, by: Floats) -> tuple[Floats, Floats]:
    """x (B, T, N) with its singular values lowered by (B,), none below zero, and their sums (B,)."""
    values, vectors = np.linalg.eigh(second_moments(x))
    sizes = np.sqrt(np.maximum(values, 0.0))
    left = np.maximum(sizes - by[:, None], 0.0)
    share = np.where(left > 0, left / np.where(left > 0, sizes, 1.0), 0.0)
    shrink = (vectors * share[:, None, :]) @ vectors.transpose(0, 2, 1)
    return shrink @ x if x.shape[1] <= x.shape[2] else x @ shrink, left.sum(axis=1)


def path_of(largest: Floats, penalties: int) -> Floats:
    """Falling penalties (B, P) from the largest (B,), the last one zero."""
    return np.column_stack([largest[:, None] * SPAN ** np.linspace(0.0, 1.0, penalties - 1), np.zeros(len(largest))])


@dataclass(frozen=True, slots=True)
class MatrixCompletion(ImputedEffects):
    """The mean effect over treated cells, their outcomes without treatment completed by a matrix of low rank.

    Unit and period effects are free, the nuclear norm of the rest is penalised, the penalty chosen by cross-validation
    over untreated cells. Covariates are taken out first, with the slopes of the two-way regression over untreated
    cells. Treated from different dates is served, also without never treated units; units treated from the first
    period on are left out; unbalanced panels are refused. Where no factor is worth its penalty, it is imputation with
    two-way effects. Shrinking L leaves part of what factors do in the effect.

    penalty: of the nuclear norm, by cell; None = cross-validation. folds, kept: how often cells are held out, and the
    share of them that is not. penalties: how many are tried. reselect: whether samples of placebo and bootstrap choose
    their own penalty, as in published placebo errors (up to twenty times the time); else they take the panel's, as
    samples of the jackknife always do. tolerance, sweeps: sweeps at a penalty end where one lowers the objective by
    less than this share, or after so many.

    Statistics: penalty; rank of L.

    >>> import panelproof as pp
    >>> found = pp.MatrixCompletion(penalty=0.001)(pp.example_panel().panel)
    >>> print(f"{found.params['overall']:.3f} ({found.std_errors['overall']:.3f})")
    0.035 (0.011)
    """

    kind: ClassVar[str] = "matrix-completion"
    own_statistics: ClassVar[tuple[str, ...]] = ("penalty", "rank")
    # home: a world of two-way effects with a covariate
    home: ClassVar[Home] = (small_world(), ("overall",))

    penalty: float | None = None
    folds: int = 5
    kept: float = 0.8
    penalties: int = 20
    reselect: bool = False
    tolerance: float = 1e-5
    sweeps: int = 400

    def __post_init__(self) -> None:
        """Raise BadInput for settings that cannot be."""
        ImputedEffects.__post_init__(self)
        for name, sound, allowed in (
            ("penalty", self.penalty is None or 0 <= self.penalty < np.inf, "0 or more, or none"),
            ("folds", self.folds >= 1, "1 or more"),
            ("kept", 0 < self.kept < 1, "a share between 0 and 1"),
            ("penalties", self.penalties >= 3, "3 or more"),
            ("tolerance", 0 < self.tolerance < 1, "a share between 0 and 1"),
            ("sweeps", self.sweeps >= 1, "1 or more"),
        ):
            if not sound:
                raise bad(f"{name} = {getattr(self, name)}", where=f"estimator {self.name}", allowed=allowed,
                          remedy="leave it out for the default")  # fmt: skip

    def check_calendar(self, first: Codes, periods: tuple[int, ...]) -> None:
        """Raise BadInput for periods in which every unit is treated."""
        empty = [period for t, period in enumerate(periods) if not (first > t).any()]
        if empty:
            raise bad(f"no unit is untreated in {listed(empty)}", where=self.name,
                      allowed="a never or not yet treated unit in every period",
                      remedy="leave out those periods, or add untreated units")  # fmt: skip

    def complete(
        self, panels: UnitPanels, streams: Streams, again: tuple[UnitSamples, Completion] | None = None
    ) -> Completion:
        """With the penalty chosen, in samples of units with that of the whole panel or one of each sample's own."""
        folds: Iterable[np.random.Generator] = ()
        penalty = None
        if again is None and self.penalty is None:
            folds = streams.each("folds")
        elif again is None:
            penalty = np.full(len(panels.y), self.penalty)
        elif self.reselect and self.penalty is None and again[0].seeds is not None:
            folds = (np.random.Generator(np.random.SFC64(int(seed))) for seed in again[0].seeds)
        else:
            samples, whole = again
            penalty = whole.tuning[samples.rows]

        effects = CellEffects.of(panels.untreated)
        b = untreated_slopes(panels, effects)
        y = np.where(np.isfinite(b).all(axis=1)[:, None, None], panels.without_covariates(b), 0.0)
        problem, state, largest = Masked.of(y, effects)
        if penalty is None:
            shape = (self.folds, *y.shape[1:])
            path, last = self._validated(problem, np.stack([fold.random(shape) < self.kept for fold in folds]))
        else:
            path = path_of(largest, self.penalties)
            above = path > penalty[:, None]
            last = above.sum(axis=1)  # those above the penalty, and then itself
            path = np.where(above, path, np.where(np.arange(path.shape[1]) == last[:, None], penalty[:, None], 0.0))
        end, converged = self.along(problem, state, path, last)

        fitted, chosen = y - end.residual(y), path[np.arange(len(y)), last]
        outcome = fitted + panels.y - panels.without_covariates(b)
        values = np.linalg.eigvalsh(second_moments(end.low_rank))
        ranks = (values > ols.COLLINEAR * np.maximum(values[:, -1:], 1e-300)).sum(axis=1).astype(np.float64)
        return Completion(outcome, chosen, b, {"penalty": chosen, "rank": ranks}, converged)

    def _validated(self, problem: Masked, drawn: Flags) -> tuple[Floats, Codes]:
        """The path of penalties (B, P) and the place (B,) of the best by mean squared errors in cells held out."""
        rows, folds = drawn.shape[:2]
        panel = np.repeat(np.arange(rows), folds)
        mask = problem.mask[panel] * drawn.reshape(-1, *drawn.shape[2:])
        told = (mask.sum(axis=1, keepdims=True) > 0) & (mask.sum(axis=2, keepdims=True) > 0)
        held = (problem.mask[panel] - mask) * told  # but where a fold leaves no cell that an effect could be fitted to
        training, state, largest = Masked.of(problem.y[panel], CellEffects.of(mask))
        path = path_of(largest.reshape(rows, folds).max(axis=1), self.penalties)
        count = np.maximum(ols.dot(held, held), 1.0)
        errors = np.empty((len(panel), self.penalties))
        for place in range(self.penalties):
            state, _ = self.descend(training, state, path[panel, place])
            missed = held * state.residual(training.y)
            errors[:, place] = ols.dot(missed, missed) / count
        mean = (errors.reshape(rows, folds, -1)).mean(axis=1)
        return path, mean.argmin(axis=1)

    def descend(self, problem: Masked, state: State, penalty: Floats) -> tuple[State, Flags]:
        """Sweeps of every panel until its own end, and which of them came to it, (B,)."""
        end, converged = state.take(np.arange(len(penalty))), np.zeros(len(penalty), dtype=bool)
        live, before = np.arange(len(penalty)), problem.error(state) + penalty * state.norm
        for _ in range(self.sweeps):
            state = problem.sweep(state, penalty)
            value = problem.error(state) + penalty * state.norm
            fall = (before - value) / before
            done = (value <= problem.floor) | ((fall >= 0) & (fall < self.tolerance)) | ~np.isfinite(value)
            before = value
            if done.any():
                end.put(live[done], state.take(done))
                converged[live[done]] = np.isfinite(value[done])
                going = ~done
                live, before, penalty = live[going], before[going], penalty[going]
                problem, state = problem.take(going), state.take(going)
                if not live.size:
                    break
        end.put(live, state)
        return end, converged

    def along(self, problem: Masked, state: State, penalties: Floats, last: Codes) -> tuple[State, Flags]:
        """From one penalty (B, P) to the next, each panel to its own last one (B,)."""
        end, converged = state.take(np.arange(len(last))), np.zeros(len(last), dtype=bool)
        for place in range(int(last.max(initial=-1)) + 1):
            rows = np.flatnonzero(last >= place)
            found, converged[rows] = self.descend(problem.take(rows), end.take(rows), penalties[rows, place])
            end.put(rows, found)
        return end, converged
